/** Pieces of guest memory that one transfer is about, in order, and the transfer between them and a disk image. */
import type { BlockBackend } from '../../block/backend.js';
import type { GuestMemory } from '../device.js';

/** Several pieces are gathered in steps of this many bytes: one call of the image for many pieces. */
const STEP = 1024 * 1024;

export class Segments {
  /** Bytes in all pieces. */
  total = 0;
  private count = 0;
  private addr: Float64Array = new Float64Array(256);
  private len: Float64Array = new Float64Array(256);
  private bounce: Uint8Array = new Uint8Array(65536);

  constructor(private readonly mem: GuestMemory) {}

  clear(): void {
    this.total = this.count = 0;
  }

  /** Appends [pa, pa + n); a piece right behind the last one makes that longer. */
  add(pa: number, n: number): void {
    if (n === 0) return;
    this.total += n;
    const last = this.count - 1;
    if (last >= 0 && this.addr[last]! + this.len[last]! === pa) {
      this.len[last] = this.len[last]! + n;
      return;
    }
    if (this.count === this.addr.length) {
      const bigger = (a: Float64Array): Float64Array => {
        const b = new Float64Array(a.length * 2);
        b.set(a);
        return b;
      };
      this.addr = bigger(this.addr);
      this.len = bigger(this.len);
    }
    this.addr[this.count] = pa;
    this.len[this.count] = n;
    this.count++;
  }

  /** Reads `total` bytes at `offset` of the disk. @returns false if some piece is not RAM; part may have been done. @throws what the disk throws */
  readFrom(disk: BlockBackend, offset: number): boolean {
    const whole = this.count === 1 ? this.mem.viewForWrite(this.addr[0]!, this.len[0]!) : null;
    if (whole !== null) {
      disk.read(offset, whole);
      return true;
    }
    for (let at = 0; at < this.total; at += STEP) {
      const b = this.buffer(Math.min(STEP, this.total - at));
      disk.read(offset + at, b);
      if (!this.scatter(b, at)) return false;
    }
    return true;
  }

  /** As readFrom, the other way. */
  writeTo(disk: BlockBackend, offset: number): boolean {
    const whole = this.count === 1 ? this.mem.view(this.addr[0]!, this.len[0]!) : null;
    if (whole !== null) {
      disk.write(offset, whole);
      return true;
    }
    for (let at = 0; at < this.total; at += STEP) {
      const b = this.buffer(Math.min(STEP, this.total - at));
      if (!this.gather(b, at)) return false;
      disk.write(offset + at, b);
    }
    return true;
  }

  /**
   * Fills the pieces with what `source` gives (fewer bytes than asked: the end), `limit` bytes at most. @returns bytes moved, or -1 if
   * some piece is not RAM.
   */
  fill(source: (dst: Uint8Array) => number, limit: number): number {
    const want = Math.min(this.total, limit);
    for (let at = 0; at < want; ) {
      const n = Math.min(STEP, want - at);
      const direct = this.count === 1 ? this.mem.viewForWrite(this.addr[0]! + at, n) : null;
      const b = direct ?? this.buffer(n);
      const got = source(b);
      if (direct === null && !this.scatter(b.subarray(0, got), at)) return -1;
      at += got;
      if (got < n) return at;
    }
    return want;
  }

  /** Hands what is in the pieces to `sink` (which takes fewer bytes than given at its end), `limit` bytes at most. @returns as fill. */
  drain(sink: (src: Uint8Array) => number, limit: number): number {
    const want = Math.min(this.total, limit);
    for (let at = 0; at < want; ) {
      const n = Math.min(STEP, want - at);
      const direct = this.count === 1 ? this.mem.view(this.addr[0]! + at, n) : null;
      const b = direct ?? this.buffer(n);
      if (direct === null && !this.gather(b, at)) return -1;
      const taken = sink(b);
      at += taken;
      if (taken < n) return at;
    }
    return want;
  }

  /** Copies src into the pieces, from byte `skip` on. @returns false if some piece is not RAM. */
  scatter(src: Uint8Array, skip = 0): boolean {
    let done = 0;
    for (let i = 0; i < this.count && done < src.length; i++) {
      const n = this.len[i]!;
      if (skip >= n) {
        skip -= n;
        continue;
      }
      const take = Math.min(n - skip, src.length - done);
      if (!this.mem.writeFrom(this.addr[i]! + skip, src.subarray(done, done + take))) return false;
      done += take;
      skip = 0;
    }
    return true;
  }

  /** Copies from the pieces, from byte `skip` on, into dst. @returns false if some piece is not RAM. */
  gather(dst: Uint8Array, skip = 0): boolean {
    let done = 0;
    for (let i = 0; i < this.count && done < dst.length; i++) {
      const n = this.len[i]!;
      if (skip >= n) {
        skip -= n;
        continue;
      }
      const take = Math.min(n - skip, dst.length - done);
      if (!this.mem.readInto(this.addr[i]! + skip, dst.subarray(done, done + take))) return false;
      done += take;
      skip = 0;
    }
    return true;
  }

  private buffer(n: number): Uint8Array {
    if (n > this.bounce.length) this.bounce = new Uint8Array(n);
    return this.bounce.subarray(0, n);
  }
}
