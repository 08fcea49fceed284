/**
 * A folder of the host that a guest may use, and nothing outside it. Names come from the guest and are hostile, and other programs
 * may change the folder at any time. So no path is ever handed to the kernel: each operation opens the folders on its way one
 * after the other, relative to the one before (/proc/self/fd/N/NAME) with O_NOFOLLOW and O_DIRECTORY, from a descriptor of the
 * shared folder that stays open. A symbolic link is never followed, wherever it stands and whoever put it there.
 *
 * Names are bytes, kept as 'latin1' text.
 */
import {
  type BigIntStats, chmodSync, closeSync, constants, type Dirent, fchmodSync, fdatasyncSync, fstatSync, fsyncSync, ftruncateSync, linkSync, lstatSync, lutimesSync, mkdirSync,
  openSync, readdirSync, readlinkSync, readSync, renameSync, rmdirSync, type StatsFs, statfsSync, symlinkSync, truncateSync, unlinkSync, utimesSync, writeSync,
} from 'node:fs';
import { UsageError } from '../errors.js';
import { Errno, FolderError } from './errno.js';

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW, O_DIRECTORY, O_NONBLOCK } = constants;
/** Linux: only a place in the file system, nothing is opened (open(2)). The same on every architecture that Node runs on. */
const O_PATH = 0x20_0000;
const NAME_MAX = 255;
/** Folders within folders: each operation opens all of them. */
export const MAX_DEPTH = 256;
/** No set-user-ID and set-group-ID: what a guest leaves there must not give rights on the host. */
const FILE_MODE = 0o777;
const FOLDER_MODE = 0o1777;

/** A place below the shared folder: names from the top. */
export type Path = readonly string[];

/** How a file is opened: the access, and whether it is cut to nothing first. */
export interface OpenHow {
  write: boolean;
  read: boolean;
  truncate: boolean;
}

/** What is to be changed; the rest stays. Times in seconds since the epoch. */
export interface Attributes {
  mode?: number;
  size?: number;
  atime?: number;
  mtime?: number;
}

/** @throws FolderError for what is not a name of something in a folder. */
export function checkName(name: string): void {
  if (name.length > NAME_MAX) throw new FolderError(Errno.ENAMETOOLONG);
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) throw new FolderError(Errno.EINVAL);
}

const bytes = (path: string): Buffer => Buffer.from(path, 'latin1');
const fdPath = (fd: number): string => `/proc/self/fd/${fd}`;

export class HostFolder {
  private readonly root: number;

  /** @throws UsageError */
  constructor(
    folder: string,
    readonly readonly: boolean,
  ) {
    if (process.platform !== 'linux') throw new UsageError('--share: this needs a Linux host');
    try {
      this.root = openSync(folder, O_PATH | O_DIRECTORY);
    } catch (e) {
      const { code, message } = e as NodeJS.ErrnoException;
      throw new UsageError(`--share: ${folder}: ${code === 'ENOENT' ? 'no such folder' : code === 'ENOTDIR' ? 'not a folder' : message}`, { cause: e });
    }
  }

  close(): void {
    closeSync(this.root);
  }

  /** Opens the folders of `path` one after the other and calls `fn` with how the last one is named while it is open. */
  private inFolder<T>(path: Path, fn: (base: string) => T): T {
    if (path.length > MAX_DEPTH) throw new FolderError(Errno.ENAMETOOLONG);
    let fd = this.root;
    try {
      for (const name of path) {
        checkName(name);
        const next = openSync(bytes(`${fdPath(fd)}/${name}`), O_PATH | O_NOFOLLOW | O_DIRECTORY);
        if (fd !== this.root) closeSync(fd);
        fd = next;
      }
      return fn(fdPath(fd));
    } finally {
      if (fd !== this.root) closeSync(fd);
    }
  }

  /** Calls `fn` with what names the last member of `path`. Only for calls that do not follow a link there. */
  private at<T>(path: Path, fn: (file: Buffer) => T): T {
    const name = path.at(-1);
    if (name === undefined) throw new FolderError(Errno.EINVAL);
    checkName(name);
    return this.inFolder(path.slice(0, -1), (base) => fn(bytes(`${base}/${name}`)));
  }

  /** Calls `fn` with what stands at `path`, whatever that is, and a name that leads to just that, following nothing. */
  private place<T>(path: Path, fn: (stat: BigIntStats, itself: string) => T): T {
    if (path.length === 0) return fn(fstatSync(this.root, { bigint: true }), fdPath(this.root));
    return this.at(path, (file) => {
      const fd = openSync(file, O_PATH | O_NOFOLLOW);
      try {
        return fn(fstatSync(fd, { bigint: true }), fdPath(fd));
      } finally {
        closeSync(fd);
      }
    });
  }

  private changes(): void {
    if (this.readonly) throw new FolderError(Errno.EROFS);
  }

  stat(path: Path): BigIntStats {
    return path.length === 0 ? fstatSync(this.root, { bigint: true }) : this.at(path, (file) => lstatSync(file, { bigint: true }));
  }

  statfs(path: Path): StatsFs {
    return this.place(path, (_, itself) => statfsSync(itself));
  }

  /** Opens a file or a folder. Devices, pipes and sockets are not for guests. @returns a descriptor */
  open(path: Path, how: OpenHow): number {
    if (how.write || how.truncate) this.changes();
    return this.place(path, (stat, itself) => {
      if (stat.isDirectory()) {
        if (how.write || how.truncate) throw new FolderError(Errno.EISDIR);
        return openSync(itself, O_RDONLY | O_DIRECTORY);
      }
      if (stat.isSymbolicLink()) throw new FolderError(Errno.ELOOP);
      if (!stat.isFile()) throw new FolderError(Errno.ENXIO);
      return openSync(itself, access(how) | (how.truncate ? O_TRUNC : 0) | O_NONBLOCK);
    });
  }

  /** Makes a file, or opens it if it is there already (unless `exclusive`). @returns a descriptor */
  create(path: Path, how: OpenHow, exclusive: boolean, mode: number): number {
    this.changes();
    try {
      return this.at(path, (file) => {
        const fd = openSync(file, access(how) | O_CREAT | O_EXCL | O_NOFOLLOW, mode & FILE_MODE);
        // Not less than asked for because of this process's umask.
        fchmodSync(fd, mode & FILE_MODE);
        return fd;
      });
    } catch (e) {
      if (exclusive || (e as NodeJS.ErrnoException).code !== 'EEXIST') throw e;
      return this.open(path, how);
    }
  }

  mkdir(path: Path, mode: number): void {
    this.changes();
    this.at(path, (file) => mkdirSync(file, mode & FOLDER_MODE));
    this.place(path, (stat, itself) => {
      if (stat.isDirectory()) chmodSync(itself, mode & FOLDER_MODE);
    });
  }

  symlink(path: Path, target: string): void {
    this.changes();
    this.at(path, (file) => symlinkSync(bytes(target), file));
  }

  readlink(path: Path): string {
    return this.at(path, (file) => readlinkSync(file, { encoding: 'buffer' }).toString('latin1'));
  }

  link(from: Path, to: Path): void {
    this.changes();
    this.at(from, (a) => this.at(to, (b) => linkSync(a, b)));
  }

  rename(from: Path, to: Path): void {
    this.changes();
    this.at(from, (a) => this.at(to, (b) => renameSync(a, b)));
  }

  unlink(path: Path, folder: boolean): void {
    this.changes();
    this.at(path, (file) => (folder ? rmdirSync(file) : unlinkSync(file)));
  }

  setAttributes(path: Path, a: Attributes): void {
    this.changes();
    this.place(path, (stat, itself) => {
      if (a.mode !== undefined) {
        if (stat.isSymbolicLink()) throw new FolderError(Errno.EOPNOTSUPP);
        chmodSync(itself, a.mode & (stat.isDirectory() ? FOLDER_MODE : FILE_MODE));
      }
      if (a.size !== undefined) {
        if (!stat.isFile()) throw new FolderError(stat.isDirectory() ? Errno.EISDIR : Errno.EINVAL);
        truncateSync(itself, a.size);
      }
      if (a.atime === undefined && a.mtime === undefined) return;
      const atime = a.atime ?? Number(stat.atimeNs) / 1e9;
      const mtime = a.mtime ?? Number(stat.mtimeNs) / 1e9;
      if (stat.isSymbolicLink()) this.at(path, (file) => lutimesSync(file, atime, mtime));
      else utimesSync(itself, atime, mtime);
    });
  }

  // ---- by descriptor ----

  fstat(fd: number): BigIntStats {
    return fstatSync(fd, { bigint: true });
  }

  read(fd: number, into: Uint8Array, offset: number): number {
    return readSync(fd, into, 0, into.length, offset);
  }

  write(fd: number, from: Uint8Array, offset: number): number {
    return writeSync(fd, from, 0, from.length, offset);
  }

  ftruncate(fd: number, size: number): void {
    this.changes();
    ftruncateSync(fd, size);
  }

  sync(fd: number, dataOnly: boolean): void {
    if (dataOnly) fdatasyncSync(fd);
    else fsyncSync(fd);
  }

  closeFile(fd: number): void {
    closeSync(fd);
  }

  /** Members of an open folder. */
  list(fd: number): Dirent<Buffer>[] {
    return readdirSync(fdPath(fd), { withFileTypes: true, encoding: 'buffer' });
  }

  /** What stands in an open folder; a link itself. */
  statIn(fd: number, name: Buffer): BigIntStats {
    return lstatSync(Buffer.concat([bytes(`${fdPath(fd)}/`), name]), { bigint: true });
  }
}

const access = (how: OpenHow): number => (how.write ? (how.read ? O_RDWR : O_WRONLY) : O_RDONLY);
