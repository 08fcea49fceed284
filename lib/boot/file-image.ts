/** A kernel's or initrd's file on its way into guest memory: read straight into it, for a copy in between costs as much as all else that loading does. */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { UsageError } from '../errors.js';
import type { PhysicalMemory } from '../memory/physical.js';

/** What no kernel has: more than a machine's memory. */
const MOST_BYTES = 3 * 2 ** 30;

export class FileImage {
  /** Bytes in the file. */
  readonly size: number;
  /** All of it, once somebody wanted it, or if it is no regular file (a pipe has no size and is read once). */
  private whole: Buffer | null = null;

  private constructor(private readonly file: string, private readonly option: string, private readonly fd: number) {
    const s = fstatSync(fd);
    if (!s.isFile()) this.whole = readFileSync(fd);
    this.size = this.whole?.length ?? s.size;
  }

  /**
   * Opens a file for the time of `use`.
   * @param option what the user has named it by, for messages
   * @throws UsageError if it cannot be read or is empty
   */
  static use<T>(file: string, option: string, use: (image: FileImage) => T): T {
    let fd = -1;
    try {
      fd = openSync(file, 'r');
      const image = new FileImage(file, option, fd);
      if (image.size === 0) throw new UsageError(`${option}: ${file} is empty`);
      return use(image);
    } catch (e) {
      // Not of the file system.
      if ((e as NodeJS.ErrnoException).syscall === undefined) throw e;
      throw new UsageError(`${option}: ${file}: ${(e as Error).message}`, { cause: e });
    } finally {
      if (fd >= 0) closeSync(fd);
    }
  }

  /** All bytes. @throws UsageError if there are more than 3 GiB */
  bytes(): Buffer {
    if (this.whole === null) {
      if (this.size > MOST_BYTES) throw new UsageError(`${this.option}: ${this.file} (${this.size} bytes) is too large`);
      const b = Buffer.allocUnsafe(this.size);
      this.read(b, 0);
      this.whole = b;
    }
    return this.whole;
  }

  /** The first n bytes, or all if there are fewer. */
  head(n: number): Buffer {
    if (this.whole !== null) return this.whole.subarray(0, n);
    const b = Buffer.allocUnsafe(Math.min(n, this.size));
    this.read(b, 0);
    return b;
  }

  /** Puts the bytes from `from` on into guest memory at pa. @returns false if there is no RAM for all of them */
  put(memory: PhysicalMemory, pa: number, from = 0): boolean {
    if (from >= this.size) return true;
    const to = this.whole === null ? memory.viewForWrite(pa, this.size - from) : null;
    if (to === null) return memory.writeFrom(pa, this.bytes().subarray(from));
    this.read(to, from);
    return true;
  }

  private read(to: Uint8Array, from: number): void {
    for (let done = 0; done < to.length; ) {
      const n = readSync(this.fd, to, done, to.length - done, from + done);
      if (n === 0) throw new UsageError(`${this.option}: ${this.file} became shorter while it was read`);
      done += n;
    }
  }
}
