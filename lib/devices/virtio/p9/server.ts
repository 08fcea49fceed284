/**
 * A server of 9P2000.L for one guest (the 9P2000.L protocol description of diod; net/9p and fs/9p of Linux): requests in, replies out.
 * No extended attributes; owners cannot be changed; locks are the guest's own business; devices, pipes and sockets are not made.
 */
import type { BigIntStats, Dirent } from 'node:fs';
import { VmxError } from '../../../errors.js';
import { Errno, errnoOf, FolderError } from '../../../share/errno.js';
import { type Attributes, checkName, type HostFolder, type OpenHow } from '../../../share/host-folder.js';
import { type Fid, Node } from './files.js';
import { AT_REMOVEDIR, GETATTR_BASIC, HEADER_BYTES, MAX_WALK, Open, Qt, Reader, RLERROR, Set, T, Writer } from './messages.js';

export const MAX_MESSAGE = 1 << 19;
const MIN_MESSAGE = 4096;
const VERSION = '9P2000.L';
/** Files that a guest may have names for, and open ones: a process has a limited number of descriptors. */
const MAX_FIDS = 1 << 16;
const MAX_OPEN = 512;
/** Header of a reply to Tread and Treaddir. */
const READ_HEADER = HEADER_BYTES + 4;
/** Types of directory entries (dirent.h). */
const enum Dt { FIFO = 1, CHR = 2, DIR = 4, BLK = 6, REG = 8, LNK = 10, SOCK = 12 }
const LOCK_SUCCESS = 0;
const F_UNLCK = 2;
/** Magic number of the file system that the guest is told of (V9FS_MAGIC). */
const V9FS_MAGIC = 0x0102_1997;

export class P9Server {
  private msize = MAX_MESSAGE;
  private readonly fids = new Map<number, Fid>();
  private open = 0;
  private readonly out = new Writer(new Uint8Array(MAX_MESSAGE));
  private readonly top = Node.top().use();
  /** Numbers of the file systems below the folder, so that equal inode numbers differ. */
  private readonly devices = new Map<bigint, bigint>();

  constructor(private readonly folder: HostFolder) {}

  /** @returns the reply; valid until the next call. Null for what is no request at all. */
  handle(request: Uint8Array): Uint8Array | null {
    if (request.length < HEADER_BYTES) return null;
    const v = new DataView(request.buffer, request.byteOffset, request.byteLength);
    const size = v.getUint32(0, true);
    const type = request[4]!;
    const tag = v.getUint16(5, true);
    this.out.begin();
    try {
      if (size < HEADER_BYTES || size > request.length || size > this.msize) throw new FolderError(Errno.EPROTO);
      const handler = HANDLERS[type];
      if (handler === undefined) throw new FolderError(Errno.EOPNOTSUPP);
      handler(this, new Reader(request.subarray(0, size)), this.out);
      return this.out.finish(type + 1, tag);
    } catch (e) {
      this.out.begin();
      this.out.u32(errnoOf(e));
      return this.out.finish(RLERROR, tag);
    }
  }

  reset(): void {
    for (const id of [...this.fids.keys()]) this.clunk(id);
    this.msize = MAX_MESSAGE;
  }

  version(r: Reader, w: Writer): void {
    const msize = r.u32();
    const asked = r.string();
    this.reset();
    if (msize < MIN_MESSAGE) throw new FolderError(Errno.EINVAL);
    this.msize = Math.min(msize, MAX_MESSAGE);
    w.u32(this.msize);
    w.string(asked === VERSION ? VERSION : 'unknown');
  }

  attach(r: Reader, w: Writer): void {
    const id = r.u32();
    this.add(id, this.top);
    this.qid(w, this.folder.stat([]));
  }

  walk(r: Reader, w: Writer): void {
    const from = this.fid(r.u32());
    const newId = r.u32();
    const count = r.u16();
    if (count > MAX_WALK) throw new FolderError(Errno.EINVAL);
    if (from.flags >= 0 && count > 0) throw new FolderError(Errno.EBADF);
    let node = from.node;
    const stats: BigIntStats[] = [];
    for (let i = 0; i < count; i++) {
      const name = r.string();
      let next: Node;
      try {
        if (name === '..') next = node.up;
        else {
          checkName(name);
          next = node.child(name);
        }
        stats.push(this.stat(next));
      } catch (e) {
        node.child(name).drop();
        if (i === 0) throw e;
        break;
      }
      node = next;
    }
    if (stats.length === count) {
      if (this.fids.get(newId) === from) this.clunk(newId);
      this.add(newId, node);
    } else {
      node.drop();
    }
    w.u16(stats.length);
    for (const s of stats) this.qid(w, s);
  }

  lopen(r: Reader, w: Writer): void {
    const f = this.fid(r.u32());
    const flags = r.u32();
    if (f.flags >= 0) throw new FolderError(Errno.EBADF);
    this.mayOpen();
    const stat = this.stat(f.node);
    f.fd = this.folder.open(f.node.path(), howOf(flags));
    this.opened(f, flags, stat.isDirectory());
    this.qid(w, stat);
    w.u32(0);
  }

  lcreate(r: Reader, w: Writer): void {
    const f = this.fid(r.u32());
    const name = r.string();
    const flags = r.u32();
    const mode = r.u32();
    checkName(name);
    if (f.flags >= 0) throw new FolderError(Errno.EBADF);
    this.mayOpen();
    const path = [...this.path(f.node), name];
    f.fd = this.folder.create(path, howOf(flags), (flags & Open.EXCL) !== 0, mode);
    const folder = f.node;
    f.node = folder.child(name).use();
    folder.unuse();
    const stat = this.folder.fstat(f.fd);
    // Somebody may have put a folder there.
    this.opened(f, flags, stat.isDirectory());
    this.qid(w, stat);
    w.u32(0);
  }

  symlink(r: Reader, w: Writer): void {
    const path = this.member(r);
    this.folder.symlink(path, r.string());
    this.qid(w, this.folder.stat(path));
  }

  mkdir(r: Reader, w: Writer): void {
    const path = this.member(r);
    this.folder.mkdir(path, r.u32());
    this.qid(w, this.folder.stat(path));
  }

  link(r: Reader): void {
    const folder = this.fid(r.u32()).node;
    const file = this.path(this.fid(r.u32()).node);
    const name = r.string();
    checkName(name);
    this.folder.link(file, [...this.path(folder), name]);
  }

  rename(r: Reader): void {
    const { node } = this.fid(r.u32());
    const folder = this.fid(r.u32()).node;
    this.move(node, folder, r.string());
  }

  renameat(r: Reader): void {
    const from = this.fid(r.u32()).node;
    const old = r.string();
    const to = this.fid(r.u32()).node;
    checkName(old);
    const node = from.child(old);
    try {
      this.move(node, to, r.string());
    } finally {
      node.drop();
    }
  }

  private move(node: Node, folder: Node, name: string): void {
    checkName(name);
    if (node === this.top) throw new FolderError(Errno.EINVAL);
    const to = this.path(folder);
    this.folder.rename(this.path(node), [...to, name]);
    node.move(folder, name);
  }

  unlinkat(r: Reader): void {
    const folder = this.fid(r.u32()).node;
    const name = r.string();
    checkName(name);
    this.unlink(folder.child(name), (r.u32() & AT_REMOVEDIR) !== 0);
  }

  private unlink(node: Node, isFolder: boolean): void {
    try {
      this.folder.unlink(this.path(node), isFolder);
      node.remove();
    } finally {
      node.drop();
    }
  }

  remove(r: Reader): void {
    const id = r.u32();
    const { node } = this.fid(id);
    try {
      this.unlink(node, this.stat(node).isDirectory());
    } finally {
      this.clunk(id);
    }
  }

  readlink(r: Reader, w: Writer): void {
    w.string(this.folder.readlink(this.path(this.fid(r.u32()).node)));
  }

  getattr(r: Reader, w: Writer): void {
    const f = this.fid(r.u32());
    const s = f.fd >= 0 ? this.folder.fstat(f.fd) : this.stat(f.node);
    w.u64(GETATTR_BASIC);
    this.qid(w, s);
    w.u32(Number(s.mode));
    w.u32(Number(s.uid));
    w.u32(Number(s.gid));
    for (const v of [s.nlink, s.rdev, s.size, s.blksize, s.blocks]) w.u64(v);
    for (const ns of [s.atimeNs, s.mtimeNs, s.ctimeNs]) {
      w.u64(ns / 1_000_000_000n);
      w.u64(ns % 1_000_000_000n);
    }
    // Birth time, generation, version.
    for (let i = 0; i < 4; i++) w.u64(0);
  }

  setattr(r: Reader): void {
    const f = this.fid(r.u32());
    const valid = r.u32();
    const mode = r.u32();
    const [uid, gid] = [r.u32(), r.u32()];
    const size = r.u64();
    const [atime, mtime] = [r.u64() + r.u64() / 1e9, r.u64() + r.u64() / 1e9];
    if (valid & (Set.UID | Set.GID)) {
      const s = f.fd >= 0 ? this.folder.fstat(f.fd) : this.stat(f.node);
      if ((valid & Set.UID && Number(s.uid) !== uid) || (valid & Set.GID && Number(s.gid) !== gid)) throw new FolderError(Errno.EPERM);
    }
    const a: Attributes = {};
    if (valid & Set.MODE) a.mode = mode;
    if (valid & Set.SIZE) {
      if (f.fd >= 0 && howOf(f.flags).write) this.folder.ftruncate(f.fd, size);
      else a.size = size;
    }
    const now = Date.now() / 1000;
    if (valid & Set.ATIME) a.atime = valid & Set.ATIME_SET ? atime : now;
    if (valid & Set.MTIME) a.mtime = valid & Set.MTIME_SET ? mtime : now;
    if (Object.keys(a).length > 0) this.folder.setAttributes(this.path(f.node), a);
  }

  statfs(r: Reader, w: Writer): void {
    const s = this.folder.statfs(this.path(this.fid(r.u32()).node));
    w.u32(V9FS_MAGIC);
    w.u32(s.bsize);
    for (const v of [s.blocks, s.bfree, s.bavail, s.files, s.ffree, 0]) w.u64(v);
    w.u32(255);
  }

  readdir(r: Reader, w: Writer): void {
    const f = this.opening(r.u32());
    const offset = r.u64();
    const count = Math.min(r.u32(), this.msize - READ_HEADER);
    if (!f.folder) throw new FolderError(Errno.ENOTDIR);
    if (offset === 0 || f.entries === null) f.entries = this.folder.list(f.fd);
    const start = w.length;
    w.u32(0);
    // The folder itself and the one above come first.
    for (let i = offset; i < f.entries.length + 2; i++) {
      const name = i === 0 ? Buffer.from('.') : i === 1 ? Buffer.from('..') : f.entries[i - 2]!.name;
      if (w.length - start - 4 + 13 + 8 + 1 + 2 + name.length > count) break;
      let stat: BigIntStats;
      try {
        stat = i === 0 ? this.folder.fstat(f.fd) : i === 1 ? this.aboveOf(f) : this.folder.statIn(f.fd, name);
      } catch {
        // Removed since.
        continue;
      }
      this.qid(w, stat);
      w.u64(i + 1);
      w.u8(i < 2 ? Dt.DIR : typeOf(f.entries[i - 2]!));
      w.string(name.toString('latin1'));
    }
    w.patch32(start, w.length - start - 4);
  }

  private aboveOf(f: Fid): BigIntStats {
    return f.node.gone ? this.folder.fstat(f.fd) : this.stat(f.node.up);
  }

  read(r: Reader, w: Writer): void {
    const f = this.opening(r.u32());
    const offset = r.u64();
    const count = Math.min(r.u32(), this.msize - READ_HEADER);
    if (f.folder) throw new FolderError(Errno.EISDIR);
    const start = w.length;
    w.u32(0);
    const got = this.folder.read(f.fd, w.space(count), offset);
    w.length = start + 4 + got;
    w.patch32(start, got);
  }

  write(r: Reader, w: Writer): void {
    const f = this.opening(r.u32());
    const offset = r.u64();
    w.u32(this.folder.write(f.fd, r.data(r.u32()), offset));
  }

  fsync(r: Reader): void {
    const f = this.opening(r.u32());
    this.folder.sync(f.fd, r.u32() !== 0);
  }

  lock(r: Reader, w: Writer): void {
    this.fid(r.u32());
    w.u8(LOCK_SUCCESS);
  }

  getlock(r: Reader, w: Writer): void {
    this.fid(r.u32());
    r.u8();
    const [start, length] = [r.data(8), r.data(8)];
    const proc = r.u32();
    w.u8(F_UNLCK);
    w.space(8).set(start);
    w.space(8).set(length);
    w.u32(proc);
    w.string(r.string());
  }

  clunked(r: Reader): void {
    const id = r.u32();
    this.fid(id);
    this.clunk(id);
  }

  // ---- fids ----

  private fid(id: number): Fid {
    const f = this.fids.get(id);
    if (f === undefined) throw new FolderError(Errno.EBADF);
    return f;
  }

  /** A fid that has been opened. */
  private opening(id: number): Fid {
    const f = this.fid(id);
    if (f.flags < 0) throw new FolderError(Errno.EBADF);
    // Open when the machine was saved, and not to be opened again.
    if (f.fd < 0) throw new FolderError(Errno.ESTALE);
    return f;
  }

  private add(id: number, node: Node): void {
    if (this.fids.has(id)) {
      node.drop();
      throw new FolderError(Errno.EBADF);
    }
    if (this.fids.size >= MAX_FIDS) {
      node.drop();
      throw new FolderError(Errno.EMFILE);
    }
    this.fids.set(id, { node: node.use(), fd: -1, flags: -1, folder: false, entries: null });
  }

  private clunk(id: number): void {
    const f = this.fids.get(id);
    if (f === undefined) return;
    this.fids.delete(id);
    if (f.fd >= 0) {
      this.open--;
      this.folder.closeFile(f.fd);
    }
    f.node.unuse();
  }

  private mayOpen(): void {
    if (this.open >= MAX_OPEN) throw new FolderError(Errno.EMFILE);
  }

  private opened(f: Fid, flags: number, folder: boolean): void {
    f.flags = flags & (Open.ACCMODE | Open.TRUNC);
    f.folder = folder;
    f.entries = null;
    this.open++;
  }

  /** A folder and the name of a member, as most requests begin. */
  private member(r: Reader): string[] {
    const folder = this.path(this.fid(r.u32()).node);
    const name = r.string();
    checkName(name);
    return [...folder, name];
  }

  private path(node: Node): readonly string[] {
    if (node.gone) throw new FolderError(Errno.ENOENT);
    return node.path();
  }

  private stat(node: Node): BigIntStats {
    return this.folder.stat(this.path(node));
  }

  /** Unique while the file exists: inode number, and in the high bits which file system. */
  private qid(w: Writer, s: BigIntStats): void {
    let device = this.devices.get(s.dev);
    if (device === undefined) this.devices.set(s.dev, (device = BigInt(this.devices.size)));
    const type = s.isDirectory() ? Qt.DIR : s.isSymbolicLink() ? Qt.SYMLINK : Qt.FILE;
    w.qid(type, Number(BigInt.asUintN(32, s.mtimeNs ^ (s.size << 8n))), s.ino ^ (device << 48n));
  }

  // ---- saved state ----

  save(): Record<string, unknown> {
    return { msize: this.msize, fids: [...this.fids].map(([id, f]) => ({ id, path: f.node.gone ? null : f.node.path(), flags: f.flags, folder: f.folder })) };
  }

  /** Files are opened again; those that are no more fail from then on. @throws VmxError, with nothing changed */
  restore(s: Record<string, unknown>): void {
    const bad = (): never => {
      throw new VmxError('ERR_BAD_STATE', 'virtio-9p: bad saved state');
    };
    const whole = (v: unknown, max: number, min = 0): v is number => typeof v === 'number' && Number.isInteger(v) && v >= min && v <= max;
    const { msize, fids } = s;
    if (!whole(msize, MAX_MESSAGE, MIN_MESSAGE) || !Array.isArray(fids) || fids.length > MAX_FIDS) bad();
    const list = (fids as unknown[]).map((raw) => {
      const f = (typeof raw === 'object' && raw !== null ? raw : {}) as Record<string, unknown>;
      const { id, path, flags, folder } = f;
      if (!whole(id, 0xffff_ffff) || !whole(flags, 0xffff, -1) || typeof folder !== 'boolean' || (path !== null && (!Array.isArray(path) || path.some((n) => typeof n !== 'string')))) return bad();
      try {
        for (const n of (path ?? []) as string[]) checkName(n);
      } catch {
        bad();
      }
      return { id: id as number, path: path as string[] | null, flags: flags as number, folder };
    });
    if (new globalThis.Set(list.map((f) => f.id)).size !== list.length) bad();
    this.reset();
    this.msize = msize as number;
    for (const f of list) this.reopen(f.id, f.path, f.flags, f.folder);
  }

  private reopen(id: number, path: readonly string[] | null, flags: number, folder: boolean): void {
    const node = path === null ? Node.top().child('gone') : path.reduce((n, name) => n.child(name), this.top);
    this.add(id, node);
    // A file without a name stays one.
    if (path === null) node.remove();
    const f = this.fids.get(id)!;
    f.flags = flags;
    f.folder = folder;
    if (flags < 0 || path === null || this.open >= MAX_OPEN) return;
    try {
      f.fd = this.folder.open(path, { ...howOf(flags), truncate: false });
      this.open++;
    } catch {
      f.fd = -1;
    }
  }
}

function howOf(flags: number): OpenHow {
  const mode = flags & Open.ACCMODE;
  return { read: mode !== (Open.WRONLY as number), write: mode === (Open.WRONLY as number) || mode === (Open.RDWR as number), truncate: (flags & Open.TRUNC) !== 0 };
}

function typeOf(e: Dirent<Buffer>): number {
  if (e.isDirectory()) return Dt.DIR;
  if (e.isSymbolicLink()) return Dt.LNK;
  if (e.isFile()) return Dt.REG;
  if (e.isFIFO()) return Dt.FIFO;
  if (e.isSocket()) return Dt.SOCK;
  return e.isBlockDevice() ? Dt.BLK : Dt.CHR;
}

/** By type of request. */
const HANDLERS: Readonly<Record<number, (s: P9Server, r: Reader, w: Writer) => void>> = {
  [T.VERSION]: (s, r, w) => s.version(r, w),
  [T.ATTACH]: (s, r, w) => s.attach(r, w),
  [T.WALK]: (s, r, w) => s.walk(r, w),
  [T.LOPEN]: (s, r, w) => s.lopen(r, w),
  [T.LCREATE]: (s, r, w) => s.lcreate(r, w),
  [T.SYMLINK]: (s, r, w) => s.symlink(r, w),
  [T.MKNOD]: () => {
    throw new FolderError(Errno.EPERM);
  },
  [T.RENAME]: (s, r) => s.rename(r),
  [T.READLINK]: (s, r, w) => s.readlink(r, w),
  [T.GETATTR]: (s, r, w) => s.getattr(r, w),
  [T.SETATTR]: (s, r) => s.setattr(r),
  [T.READDIR]: (s, r, w) => s.readdir(r, w),
  [T.FSYNC]: (s, r) => s.fsync(r),
  [T.LOCK]: (s, r, w) => s.lock(r, w),
  [T.GETLOCK]: (s, r, w) => s.getlock(r, w),
  [T.LINK]: (s, r) => s.link(r),
  [T.MKDIR]: (s, r, w) => s.mkdir(r, w),
  [T.RENAMEAT]: (s, r) => s.renameat(r),
  [T.UNLINKAT]: (s, r) => s.unlinkat(r),
  [T.STATFS]: (s, r, w) => s.statfs(r, w),
  // Requests are done one after the other: there is nothing left to flush.
  [T.FLUSH]: () => {},
  [T.READ]: (s, r, w) => s.read(r, w),
  [T.WRITE]: (s, r, w) => s.write(r, w),
  [T.CLUNK]: (s, r) => s.clunked(r),
  [T.REMOVE]: (s, r) => s.remove(r),
};
