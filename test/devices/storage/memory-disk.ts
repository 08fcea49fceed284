/** A disk for device tests: bytes in memory, with what happened to them, and errors where the test wants them. */
import type { BlockBackend } from '#lib/block/backend.js';

export class MemoryDisk implements BlockBackend {
  readonly data: Uint8Array;
  flushes = 0;
  discarded: [number, number][] = [];
  /** Sector that cannot be read or written, or -1. */
  badSector = -1;

  constructor(
    readonly size: number,
    readonly readonly = false,
  ) {
    this.data = new Uint8Array(size);
  }

  /** Every sector begins with its number (32 bits) and is filled with its low byte. */
  numbered(): this {
    const v = new DataView(this.data.buffer);
    for (let s = 0; s * 512 < this.size; s++) {
      this.data.fill(s & 0xff, s * 512, s * 512 + 512);
      v.setUint32(s * 512, s, true);
    }
    return this;
  }

  private check(offset: number, length: number): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) throw new Error(`outside the disk: ${offset} + ${length}`);
    const bad = this.badSector * 512;
    if (this.badSector >= 0 && offset < bad + 512 && offset + length > bad) throw new Error(`sector ${this.badSector} is bad`);
  }

  read(offset: number, dst: Uint8Array): void {
    this.check(offset, dst.length);
    dst.set(this.data.subarray(offset, offset + dst.length));
  }

  write(offset: number, src: Uint8Array): void {
    this.check(offset, src.length);
    if (this.readonly) throw new Error('read-only');
    this.data.set(src, offset);
  }

  flush(): void {
    this.flushes++;
  }

  discard(offset: number, length: number): void {
    this.check(offset, length);
    this.discarded.push([offset, length]);
  }

  writeZeroes(offset: number, length: number): void {
    this.check(offset, length);
    this.data.fill(0, offset, offset + length);
  }

  close(): void {}
}
