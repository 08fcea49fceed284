/** What read-only formats have in common: the disk is cut into blocks, and a table says where in the file each is. */
import { VmxError } from '../errors.js';
import type { Extent, SparseBackend } from './extent.js';
import type { ImageFile } from './file.js';

/** The block is nowhere: it reads as zeros. */
export const ABSENT = -1;

export abstract class MappedImage implements SparseBackend {
  readonly readonly = true;

  /** @param size of the disk in bytes @param blockSize in bytes */
  constructor(
    readonly file: ImageFile,
    readonly size: number,
    protected readonly blockSize: number,
  ) {}

  /** Offset of block n in the file, or ABSENT. */
  protected abstract locate(n: number): number;

  /** Reads from one block, at offset `at` of the file. Formats that compress blocks override this. */
  protected readBlock(at: number, within: number, dst: Uint8Array): void {
    this.file.read(at + within, dst);
  }

  read(offset: number, dst: Uint8Array): void {
    for (let done = 0; done < dst.length; ) {
      const n = Math.floor((offset + done) / this.blockSize);
      const within = (offset + done) % this.blockSize;
      const length = Math.min(this.blockSize - within, dst.length - done);
      const at = this.locate(n);
      if (at === ABSENT) dst.fill(0, done, done + length);
      else this.readBlock(at, within, dst.subarray(done, done + length));
      done += length;
    }
  }

  extent(offset: number): Extent {
    let n = Math.floor(offset / this.blockSize);
    const absent = this.locate(n) === ABSENT;
    const end = Math.min(Math.ceil(this.size / this.blockSize), n + 4096);
    for (n++; n < end && (this.locate(n) === ABSENT) === absent; n++);
    return { kind: absent ? 'zero' : 'data', length: Math.min(n * this.blockSize, this.size) - offset };
  }

  write(): never {
    throw new VmxError('ERR_IO', `${this.file.path}: this format is read-only`);
  }

  flush(): void {}

  discard(): never {
    return this.write();
  }

  writeZeroes(): never {
    return this.write();
  }

  close(): void {
    this.file.close();
  }
}

/** The 64-bit number at `at`, little-endian; NaN where it is not exact as a number. */
export function le64(b: Buffer, at: number): number {
  const hi = b.readUInt32LE(at + 4);
  return hi < 0x20_0000 ? hi * 0x1_0000_0000 + b.readUInt32LE(at) : NaN;
}

/** The same, big-endian. */
export function be64(b: Buffer, at: number): number {
  const hi = b.readUInt32BE(at);
  return hi < 0x20_0000 ? hi * 0x1_0000_0000 + b.readUInt32BE(at + 4) : NaN;
}

export const isPowerOfTwo = (n: number): boolean => n > 0 && Number.isInteger(Math.log2(n));
