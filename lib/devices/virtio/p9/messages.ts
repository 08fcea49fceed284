/** Messages of 9P2000.L (the 9P2000.L protocol description of diod; include/net/9p/9p.h of Linux). */
import { Errno, FolderError } from '../../../share/errno.js';

/** Requests; a reply is one more. */
export const enum T {
  LERROR = 6, STATFS = 8, LOPEN = 12, LCREATE = 14, SYMLINK = 16, MKNOD = 18, RENAME = 20, READLINK = 22, GETATTR = 24, SETATTR = 26, XATTRWALK = 30,
  XATTRCREATE = 32, READDIR = 40, FSYNC = 50, LOCK = 52, GETLOCK = 54, LINK = 70, MKDIR = 72, RENAMEAT = 74, UNLINKAT = 76, VERSION = 100, AUTH = 102,
  ATTACH = 104, FLUSH = 108, WALK = 110, READ = 116, WRITE = 118, CLUNK = 120, REMOVE = 122,
}
/** size[4] type[1] tag[2]. */
export const HEADER_BYTES = 7;
export const RLERROR = 7;
/** Elements of one walk. */
export const MAX_WALK = 16;

/** Open flags: those of Linux on x86. */
export const enum Open { ACCMODE = 3, WRONLY = 1, RDWR = 2, CREAT = 0o100, EXCL = 0o200, TRUNC = 0o1000 }
/** Types of qids. */
export const enum Qt { DIR = 0x80, SYMLINK = 0x02, FILE = 0 }
/** What Tsetattr changes. */
export const enum Set { MODE = 1, UID = 2, GID = 4, SIZE = 8, ATIME = 0x10, MTIME = 0x20, CTIME = 0x40, ATIME_SET = 0x80, MTIME_SET = 0x100 }
/** Everything but generation, version and birth time: what Rgetattr has. */
export const GETATTR_BASIC = 0x7ff;
export const AT_REMOVEDIR = 0x200;

/** Takes a request apart. Everything beyond its end is an error of the protocol. */
export class Reader {
  private at = HEADER_BYTES;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  private take(n: number): number {
    const at = this.at;
    if (at + n > this.bytes.length) throw new FolderError(Errno.EPROTO);
    this.at += n;
    return at;
  }

  u8(): number {
    return this.bytes[this.take(1)]!;
  }

  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  /** @throws FolderError EINVAL from 2^53 on. */
  u64(): number {
    const at = this.take(8);
    const v = this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32;
    if (v > Number.MAX_SAFE_INTEGER) throw new FolderError(Errno.EINVAL);
    return v;
  }

  skip(n: number): void {
    this.take(n);
  }

  /** Bytes as 'latin1' text. */
  string(): string {
    return Buffer.from(this.data(this.u16())).toString('latin1');
  }

  /** The next n bytes; a view. */
  data(n: number): Uint8Array {
    const at = this.take(n);
    return this.bytes.subarray(at, at + n);
  }
}

/** Puts a reply together, in a buffer of a fixed size. */
export class Writer {
  length = HEADER_BYTES;
  private readonly view: DataView;

  constructor(readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  begin(): void {
    this.length = HEADER_BYTES;
  }

  private take(n: number): number {
    const at = this.length;
    // A reply longer than what the driver agreed on.
    if (at + n > this.bytes.length) throw new FolderError(Errno.EPROTO);
    this.length += n;
    return at;
  }

  u8(v: number): void {
    this.bytes[this.take(1)] = v;
  }

  u16(v: number): void {
    this.view.setUint16(this.take(2), v, true);
  }

  u32(v: number): void {
    this.view.setUint32(this.take(4), v, true);
  }

  u64(v: bigint | number): void {
    this.view.setBigUint64(this.take(8), BigInt.asUintN(64, BigInt(v)), true);
  }

  string(s: string): void {
    this.u16(s.length);
    Buffer.from(this.bytes.buffer, this.bytes.byteOffset + this.take(s.length), s.length).write(s, 'latin1');
  }

  qid(type: number, version: number, path: bigint): void {
    this.u8(type);
    this.u32(version);
    this.u64(path);
  }

  /** Room for n bytes more; a view. */
  space(n: number): Uint8Array {
    const at = this.take(n);
    return this.bytes.subarray(at, at + n);
  }

  /** Puts a number in where it was left out. */
  patch32(at: number, v: number): void {
    this.view.setUint32(at, v, true);
  }

  /** Fills in the header. @returns the whole reply. */
  finish(type: number, tag: number): Uint8Array {
    this.view.setUint32(0, this.length, true);
    this.bytes[4] = type;
    this.view.setUint16(5, tag, true);
    return this.bytes.subarray(0, this.length);
  }
}
