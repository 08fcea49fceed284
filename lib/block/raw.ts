/** Raw image files: the bytes of the disk and nothing else. */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { UsageError, VmxError } from '../errors.js';
import { type BlockBackend, SECTOR } from './backend.js';

const ZEROS = 65536;

export class RawImage implements BlockBackend {
  readonly size: number;
  private readonly fd: number;
  private readonly zeros = new Uint8Array(ZEROS);

  /** @param what names the option in messages. @throws UsageError if the file cannot be opened as asked. */
  constructor(file: string, readonly readonly: boolean, what = '--disk') {
    try {
      this.fd = openSync(file, readonly ? 'r' : 'r+');
    } catch (e) {
      throw new UsageError(`${what}: ${file}: ${(e as Error).message}`, { cause: e });
    }
    this.size = Math.floor(fstatSync(this.fd).size / SECTOR) * SECTOR;
    if (this.size === 0) {
      closeSync(this.fd);
      throw new UsageError(`${what}: ${file} is empty`);
    }
  }

  read(offset: number, dst: Uint8Array): void {
    for (let done = 0; done < dst.length; ) {
      const n = readSync(this.fd, dst, done, dst.length - done, offset + done);
      if (n === 0) throw new VmxError('ERR_IO', `image is shorter than it was (offset ${offset + done})`);
      done += n;
    }
  }

  write(offset: number, src: Uint8Array): void {
    for (let done = 0; done < src.length; ) done += writeSync(this.fd, src, done, src.length - done, offset + done);
  }

  flush(): void {
    if (!this.readonly) fdatasyncSync(this.fd);
  }

  /** The range keeps its contents. */
  discard(): void {}

  writeZeroes(offset: number, length: number): void {
    for (let done = 0; done < length; done += ZEROS) this.write(offset + done, this.zeros.subarray(0, Math.min(ZEROS, length - done)));
  }

  close(): void {
    closeSync(this.fd);
  }
}
