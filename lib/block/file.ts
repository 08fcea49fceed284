/** A file on the host that holds an image or a part of one: positioned I/O, holes, and locks against a second writer. */
import { closeSync, constants, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { UsageError, VmxError } from '../errors.js';
import { loadNative } from '../native.js';

/**
 * Locks as QEMU's file driver takes them, so that each refuses what the other has open: byte 100 + n is locked (shared) by whoever
 * uses permission n, byte 200 + n by whoever does not let others use it. Permissions: 0 consistent read, 1 write, 3 resize
 * (2, writing what is there already, is not used here).
 */
const USED = 100;
const REFUSED = 200;
const Permission = { READ: 0, WRITE: 1, RESIZE: 3 } as const;
const WRITER = [Permission.READ, Permission.WRITE, Permission.RESIZE];
const READER = [Permission.READ];
const NOT_SHARED = [Permission.WRITE, Permission.RESIZE];
const CONFLICT = 1;

export type FileLock = 'none' | 'read' | 'write';

/** Locks an open file. @returns false if another has it open in a way that excludes this; true also where there are no locks. */
export function lockFile(fd: number, lock: FileLock): boolean {
  if (lock === 'none') return true;
  const native = loadNative();
  const used = lock === 'write' ? WRITER : READER;
  for (const p of used) if (native.lockByte(fd, USED + p, true) === CONFLICT) return false;
  for (const p of NOT_SHARED) if (native.lockByte(fd, REFUSED + p, true) === CONFLICT) return false;
  for (const p of used) if (native.testByte(fd, REFUSED + p) === CONFLICT) return false;
  for (const p of NOT_SHARED) if (native.testByte(fd, USED + p) === CONFLICT) return false;
  return true;
}

/** @throws UsageError naming option and file. */
export function openLocked(path: string, flags: string, lock: FileLock, option: string): number {
  let fd: number;
  try {
    fd = openSync(path, flags);
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    const why = code === 'ENOENT' ? 'no such file' : code === 'EACCES' || code === 'EROFS' ? `no permission to ${flags === 'r' ? 'read' : 'write'}` : (e as Error).message;
    throw new UsageError(`${option}: ${path}: ${why}`, { cause: e });
  }
  if (lockFile(fd, lock)) return fd;
  closeSync(fd);
  throw new UsageError(`${option}: ${path} is in use by another machine or program${lock === 'write' ? '' : ' that writes to it'}`);
}

const ZEROS = new Uint8Array(65536);

export class ImageFile {
  readonly fd: number;

  /** @param option names the command line option in messages. @throws UsageError */
  constructor(readonly path: string, readonly writable: boolean, readonly option: string, lock: boolean) {
    this.fd = openLocked(path, writable ? 'r+' : 'r', lock ? (writable ? 'write' : 'read') : 'none', option);
    if (fstatSync(this.fd).isDirectory()) {
      closeSync(this.fd);
      throw new UsageError(`${option}: ${path} is a directory`);
    }
  }

  /** Bytes. Block devices have none in their inode: their end is sought. */
  get size(): number {
    const st = fstatSync(this.fd);
    if (!st.isBlockDevice()) return st.size;
    // The first byte that cannot be read, by bisection.
    const byte = new Uint8Array(1);
    let low = 0;
    let high = 2 ** 50;
    while (low < high) {
      const mid = Math.floor((low + high) / 2);
      if (readSync(this.fd, byte, 0, 1, mid) === 1) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Bytes the file takes on the host. */
  get allocated(): number {
    return fstatSync(this.fd).blocks * 512;
  }

  /** Fills dst. @throws VmxError ERR_IO if the file ends before. */
  read(offset: number, dst: Uint8Array): void {
    const n = this.readSome(offset, dst);
    if (n < dst.length) throw new VmxError('ERR_IO', `${this.path} ends at ${offset + n}, within what was to be read`);
  }

  /** Fills dst; what lies behind the end of the file is zeros. */
  readPadded(offset: number, dst: Uint8Array): void {
    dst.fill(0, this.readSome(offset, dst));
  }

  private readSome(offset: number, dst: Uint8Array): number {
    let done = 0;
    while (done < dst.length) {
      const n = readSync(this.fd, dst, done, dst.length - done, offset + done);
      if (n === 0) break;
      done += n;
    }
    return done;
  }

  /** A copy of [offset, offset + length). @throws UsageError, for headers and tables: the image is truncated. */
  bytes(offset: number, length: number, what: string): Buffer {
    const b = Buffer.alloc(length);
    if (this.readSome(offset, b) < length) throw this.malformed(`${what} lies beyond the end of the file`);
    return b;
  }

  malformed(why: string): UsageError {
    return new UsageError(`${this.option}: ${this.path}: ${why}`);
  }

  write(offset: number, src: Uint8Array): void {
    for (let done = 0; done < src.length; ) done += writeSync(this.fd, src, done, src.length - done, offset + done);
  }

  truncate(size: number): void {
    ftruncateSync(this.fd, size);
  }

  /** Makes [offset, offset + length) zero; `punch`: the space may go. */
  zero(offset: number, length: number, punch: boolean): void {
    if (length <= 0 || loadNative().zeroRange(this.fd, offset, length, punch)) return;
    for (let done = 0; done < length; done += ZEROS.length) this.write(offset + done, ZEROS.subarray(0, Math.min(ZEROS.length, length - done)));
  }

  /** Gives the space of a range back if the file system can; its contents are undefined afterwards. */
  punch(offset: number, length: number): void {
    loadNative().zeroRange(this.fd, offset, length, true);
  }

  /** First data (or hole) at or after offset; `offset` itself if the host cannot tell. */
  seek(offset: number, hole: boolean): number {
    const at = loadNative().seekExtent(this.fd, offset, hole);
    return at < 0 ? (hole ? this.size : offset) : at;
  }

  sync(): void {
    if (this.writable) fdatasyncSync(this.fd);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Creates an empty file for writing. @throws UsageError, also if it is there already and `replace` is not set. */
export function createFile(path: string, option: string, replace: boolean): ImageFile {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_CREAT | (replace ? 0 : constants.O_EXCL), 0o644));
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    throw new UsageError(`${option}: ${path}: ${code === 'EEXIST' ? 'exists already' : code === 'ENOENT' ? 'no such folder' : (e as Error).message}`, { cause: e });
  }
  const file = new ImageFile(path, true, option, true);
  file.truncate(0);
  return file;
}
