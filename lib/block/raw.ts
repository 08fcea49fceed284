/**
 * Raw image files: the bytes of the disk and nothing else. Discarded and zeroed ranges become holes where the host's file system
 * has them (hole punching, zero ranges); elsewhere a discard does nothing and zeros are written.
 */
import { UsageError, VmxError } from '../errors.js';
import { SECTOR } from './backend.js';
import type { Extent, SparseBackend } from './extent.js';
import type { ImageFile } from './file.js';
import { containerFormat } from './formats.js';

export class RawImage implements SparseBackend {
  readonly size: number;
  readonly readonly: boolean;

  /**
   * @param probed the format is a guess: the guest may not write what would make the next guess another one, or it could have us
   * open any file of the host as a backing file.
   * @throws UsageError
   */
  constructor(readonly file: ImageFile, private readonly probed: boolean) {
    this.readonly = !file.writable;
    // A CD image may end within a sector of 512 bytes: the rest reads as zeros. Nobody writes there.
    const size = file.size;
    this.size = this.readonly ? Math.ceil(size / SECTOR) * SECTOR : Math.floor(size / SECTOR) * SECTOR;
    if (this.size === 0) throw new UsageError(`${file.option}: ${file.path} is empty`);
  }

  read(offset: number, dst: Uint8Array): void {
    if (this.readonly) this.file.readPadded(offset, dst);
    else this.file.read(offset, dst);
  }

  write(offset: number, src: Uint8Array): void {
    if (this.probed && offset === 0 && containerFormat(src) !== null) {
      throw new VmxError('ERR_IO', `${this.file.path}: refused to write the header of another image format into a disk whose format was not given (format=raw allows it)`);
    }
    this.file.write(offset, src);
  }

  flush(): void {
    this.file.sync();
  }

  discard(offset: number, length: number): void {
    this.file.punch(offset, length);
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): void {
    this.file.zero(offset, length, mayUnmap);
  }

  extent(offset: number): Extent {
    const data = this.file.seek(offset, false);
    if (data > offset) return { kind: 'zero', length: Math.min(data, this.size) - offset };
    return { kind: 'data', length: Math.max(SECTOR, Math.min(this.file.seek(offset, true), this.size) - offset) };
  }

  close(): void {
    this.file.close();
  }
}
