/**
 * The directory of the code cache: where it is, that nobody but the user can have written to it, the user's key, and the segment
 * files in it. Nothing here follows a symbolic link below the directory's own name.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, existsSync, fstatSync, linkSync, lstatSync, mkdirSync, openSync, readSync, readdirSync, unlinkSync, writeSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../errors.js';
import { KEY_BYTES } from './segment.js';

/** `~/.cache/vmx-accel/aot` and what other systems call it. */
export function defaultDirectory(): string {
  const env = process.env;
  if (process.platform === 'win32') return join(env['LOCALAPPDATA'] ?? join(homedir(), 'AppData', 'Local'), 'vmx-accel', 'aot');
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'vmx-accel', 'aot');
  const xdg = env['XDG_CACHE_HOME'];
  // XDG Base Directory Specification 0.8: a relative path is to be ignored.
  return join(xdg !== undefined && xdg.startsWith('/') ? xdg : join(homedir(), '.cache'), 'vmx-accel', 'aot');
}

/** Windows has no owners and modes in this sense: the profile folder is private by its access list. */
const hasOwners = process.getuid !== undefined;
const NOFOLLOW = process.platform === 'win32' ? 0 : constants.O_NOFOLLOW;

/** `DOMAIN.PID-RANDOM.seg` */
const NAME = /^([0-9a-f]{32})\.(\d+)-[0-9a-f]{16}\.seg$/;

export interface SegmentName {
  name: string;
  domain: string;
  /** Process that writes or wrote it. */
  pid: number;
  bytes: number;
  /** Last use, ms since the epoch. */
  usedMs: number;
}

export class CacheDirectory {
  private constructor(readonly path: string, readonly key: Uint8Array) {}

  /**
   * Opens the directory, making it if it is not there.
   * @throws UsageError with one line if it is not private to the user, or no directory can be made there
   */
  static open(path: string): CacheDirectory {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    } catch (e) {
      throw new UsageError(`--aot-dir: ${path}: cannot make this directory (${(e as NodeJS.ErrnoException).code ?? String(e)})`, { cause: e });
    }
    checkPrivate(path);
    return new CacheDirectory(path, loadKey(join(path, 'key')));
  }

  /** The same for a directory that must exist; null if it does not. */
  static existing(path: string): CacheDirectory | null {
    return existsSync(path) ? CacheDirectory.open(path) : null;
  }

  segments(): SegmentName[] {
    const list: SegmentName[] = [];
    for (const name of readdirSync(this.path)) {
      const m = NAME.exec(name);
      if (m === null) continue;
      const st = lstatSync(join(this.path, name), { throwIfNoEntry: false });
      if (st === undefined || !st.isFile()) continue;
      list.push({ name, domain: m[1]!, pid: Number(m[2]), bytes: st.size, usedMs: st.mtimeMs });
    }
    return list.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Descriptor of a segment for reading, or null if it is gone or is nobody's but not ours. */
  openSegment(name: string): number | null {
    let fd: number;
    try {
      fd = openSync(join(this.path, name), constants.O_RDONLY | NOFOLLOW);
    } catch {
      return null;
    }
    const st = fstatSync(fd);
    if (st.isFile() && (!hasOwners || (st.uid === process.getuid!() && (st.mode & 0o022) === 0))) return fd;
    closeSync(fd);
    return null;
  }

  /** Makes a new segment of this process, open for appending. */
  createSegment(domain: string): { name: string; fd: number } {
    const name = `${domain}.${process.pid}-${randomBytes(8).toString('hex')}.seg`;
    return { name, fd: openSync(join(this.path, name), constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_EXCL | NOFOLLOW, 0o600) };
  }

  /** @returns false if it was gone already */
  remove(name: string): boolean {
    try {
      unlinkSync(join(this.path, name));
      return true;
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw e;
    }
  }
}

/** Nobody but the user may be able to put files there. */
function checkPrivate(path: string): void {
  const st = lstatSync(path);
  if (!st.isDirectory()) throw new UsageError(`--aot-dir: ${path} is ${st.isSymbolicLink() ? 'a symbolic link' : 'no directory'}`);
  if (!hasOwners) return;
  if (st.uid !== process.getuid!()) throw new UsageError(`--aot-dir: ${path} belongs to another user`);
  if ((st.mode & 0o077) !== 0) throw new UsageError(`--aot-dir: ${path} is open to other users (mode ${(st.mode & 0o777).toString(8)}; it must be 700)`);
}

function loadKey(file: string): Uint8Array {
  for (;;) {
    const key = readKey(file);
    if (key !== null) return key;
    // Whole or not at all, whichever process is first.
    const temp = `${file}.${process.pid}-${randomBytes(8).toString('hex')}`;
    const fd = openSync(temp, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NOFOLLOW, 0o600);
    try {
      writeSync(fd, randomBytes(KEY_BYTES));
      closeSync(fd);
      linkSync(temp, file);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'EEXIST') throw e;
    } finally {
      unlinkSync(temp);
    }
  }
}

/** @returns null if there is none yet */
function readKey(file: string): Uint8Array | null {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | NOFOLLOW);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new UsageError(`--aot-dir: ${file}: cannot read the key of the cache (${(e as NodeJS.ErrnoException).code ?? String(e)})`, { cause: e });
  }
  try {
    const st = fstatSync(fd);
    if (hasOwners && (st.uid !== process.getuid!() || (st.mode & 0o077) !== 0)) throw new UsageError(`--aot-dir: ${file} is open to other users or not yours`);
    const key = new Uint8Array(KEY_BYTES);
    if (!st.isFile() || st.size !== KEY_BYTES || readSync(fd, key, 0, KEY_BYTES, 0) !== KEY_BYTES) throw new UsageError(`--aot-dir: ${file} is not a key of this cache (remove the directory to start anew)`);
    return key;
  } finally {
    closeSync(fd);
  }
}
