/**
 * qcow2 images: reading, writing, backing files, compressed and zero clusters.
 *
 * Metadata is written back by `flush`, in an order that keeps the file consistent whenever the process or the host stops: refcounts
 * of new clusters and their data first, then the L2 tables that refer to them, then the L1 table; only then are clusters
 * freed. Killed at any moment, the file at worst has clusters that nobody uses.
 */
import { VmxError } from '../../errors.js';
import type { BlockBackend } from '../backend.js';
import type { Extent, SparseBackend } from '../extent.js';
import type { ImageFile } from '../file.js';
import { Decompressor } from './compress.js';
import { ENTRY_ZERO, EntryHi, Header, Incompatible, OFFSET_LO_MASK, type QcowHeader, readHeader } from './layout.js';
import { Refcounts } from './refcounts.js';
import { type Table, TableCache } from './table-cache.js';

const SECTOR = 512;
const L1_SECTOR_ENTRIES = SECTOR / 8;

/** What an L2 entry says; one object per image, filled by `lookup`. */
class Mapping {
  /** Of the data in the file; 0: none. For compressed clusters, of their first byte. */
  host = 0;
  copied = false;
  zero = false;
  /** Bytes of compressed data that may belong to the cluster; 0: not compressed. */
  compressed = 0;
}

export class Qcow2Image implements SparseBackend {
  readonly size: number;
  readonly readonly: boolean;
  readonly header: QcowHeader;
  readonly refcounts: Refcounts;
  readonly clusterSize: number;
  /** L1 entries as in the file: high and low words. */
  readonly l1Hi: Uint32Array;
  readonly l1Lo: Uint32Array;
  private readonly l2: TableCache;
  private readonly l2Entries: number;
  private l1From = 0;
  private l1To = 0;
  /** Clusters to be freed once nothing in the file refers to them; `punch`: give their space back. */
  private readonly toFree: number[] = [];
  private readonly map = new Mapping();
  private readonly scratch: Uint8Array;
  private readonly decompressor: Decompressor;
  /** Where the next compressed cluster may go: within an allocated cluster. */
  private packAt = 0;

  /** @throws UsageError if the image is malformed or has features that are not known here. */
  constructor(
    readonly file: ImageFile,
    readonly backing: BlockBackend | null,
  ) {
    const h = (this.header = readHeader(file));
    this.size = Math.floor(h.size / SECTOR) * SECTOR;
    this.readonly = !file.writable;
    if (file.writable && h.incompatible & (Incompatible.DIRTY | Incompatible.CORRUPT)) {
      throw file.malformed(h.incompatible & Incompatible.CORRUPT ? 'is marked as corrupt: it can be read only' : 'was not closed properly by a program that keeps refcounts lazily: repair it, or open it read-only');
    }
    this.clusterSize = h.clusterSize;
    this.l2Entries = h.clusterSize / 8;
    this.scratch = new Uint8Array(h.clusterSize);
    this.decompressor = new Decompressor(h.compression, h.clusterSize);
    this.l1Hi = new Uint32Array(h.l1Size);
    this.l1Lo = new Uint32Array(h.l1Size);
    const l1 = file.bytes(h.l1Offset, h.l1Size * 8, 'the L1 table');
    for (let i = 0; i < h.l1Size; i++) {
      this.l1Hi[i] = l1.readUInt32BE(i * 8);
      this.l1Lo[i] = l1.readUInt32BE(i * 8 + 4);
    }
    const writeBack = (): void => this.writeBack();
    this.refcounts = new Refcounts(file, h, writeBack);
    this.l2 = new TableCache(file, h.clusterSize, writeBack);
    if (file.writable && h.autoclear !== 0) {
      // What these features describe (dirty bitmaps) is not kept up to date here.
      file.write(Header.AUTOCLEAR, new Uint8Array(8));
      h.autoclear = 0;
    }
  }

  // ---- tables ----

  private corrupt(why: string): never {
    throw new VmxError('ERR_IO', `${this.file.path}: corrupt qcow2 image: ${why}`);
  }

  /** A cluster's offset must be one of the file. */
  private checked(offset: number, what: string): number {
    if (offset % this.clusterSize !== 0 || offset >= this.refcounts.end) this.corrupt(`${what} lies at ${offset}, which is no cluster of the file`);
    return offset;
  }

  private l1Offset(i: number): number {
    return (this.l1Hi[i]! & EntryHi.OFFSET) * 0x1_0000_0000 + ((this.l1Lo[i]! & OFFSET_LO_MASK) >>> 0);
  }

  /** Decodes the mapping of guest cluster `c` into `map`. @returns its L2 table, or null. */
  private lookup(c: number): Table | null {
    const m = this.map;
    m.host = m.compressed = 0;
    m.copied = m.zero = false;
    const i1 = Math.floor(c / this.l2Entries);
    const at = this.l1Offset(i1);
    if (at === 0) return null;
    const t = this.l2.get(this.checked(at, 'an L2 table'));
    const i = (c % this.l2Entries) * 8;
    const b = t.bytes;
    const hi = ((b[i]! << 24) | (b[i + 1]! << 16) | (b[i + 2]! << 8) | b[i + 3]!) >>> 0;
    const lo = ((b[i + 4]! << 24) | (b[i + 5]! << 16) | (b[i + 6]! << 8) | b[i + 7]!) >>> 0;
    if (hi & EntryHi.COMPRESSED) {
      // Offset in bits 0..x-1, further sectors in bits x..61.
      const x = 62 - (this.header.clusterBits - 8) - 32;
      m.host = (hi & ((1 << x) - 1)) * 0x1_0000_0000 + lo;
      m.compressed = (((hi & 0x3fff_ffff) >>> x) + 1) * SECTOR - (m.host % SECTOR);
      if (m.host >= this.refcounts.end) this.corrupt('compressed data lie outside the file');
      return t;
    }
    m.host = (hi & EntryHi.OFFSET) * 0x1_0000_0000 + ((lo & OFFSET_LO_MASK) >>> 0);
    m.copied = hi >= EntryHi.COPIED;
    m.zero = this.header.version === 3 && (lo & ENTRY_ZERO) !== 0;
    if (m.host !== 0) this.checked(m.host, 'a data cluster');
    return t;
  }

  /** The L2 table of guest cluster c, for changing: made or copied if need be. */
  private l2ForWrite(c: number): Table {
    const i1 = Math.floor(c / this.l2Entries);
    const at = this.l1Offset(i1);
    if (at !== 0 && this.l1Hi[i1]! >= EntryHi.COPIED) return this.l2.get(this.checked(at, 'an L2 table'));
    const old = at === 0 ? null : Uint8Array.from(this.l2.get(this.checked(at, 'an L2 table')).bytes);
    const host = this.refcounts.allocate();
    const t = this.l2.create(host, old);
    this.setL1(i1, host);
    if (at !== 0) this.toFree.push(at / this.clusterSize);
    return t;
  }

  private setL1(i: number, host: number): void {
    this.l1Hi[i] = (Math.floor(host / 0x1_0000_0000) | EntryHi.COPIED) >>> 0;
    this.l1Lo[i] = host >>> 0;
    if (this.l1To > this.l1From) {
      this.l1From = Math.min(this.l1From, i);
      this.l1To = Math.max(this.l1To, i + 1);
    } else {
      this.l1From = i;
      this.l1To = i + 1;
    }
  }

  /** Sets the L2 entry of guest cluster c. */
  private setEntry(c: number, hi: number, lo: number): void {
    const t = this.l2ForWrite(c);
    const i = (c % this.l2Entries) * 8;
    for (let k = 0; k < 4; k++) {
      t.bytes[i + k] = hi >>> (24 - 8 * k);
      t.bytes[i + 4 + k] = lo >>> (24 - 8 * k);
    }
    t.touch(i, 8);
  }

  private setHost(c: number, host: number): void {
    this.setEntry(c, Math.floor(host / 0x1_0000_0000) | EntryHi.COPIED, host >>> 0);
  }

  /** Remembers the clusters that an entry held, to be freed by the next flush. */
  private release(host: number, compressed: number): void {
    if (host === 0) return;
    const first = Math.floor(host / this.clusterSize);
    const last = compressed === 0 ? first : Math.floor((host + compressed - 1) / this.clusterSize);
    for (let k = first; k <= last; k++) this.toFree.push(k);
  }

  // ---- BlockBackend ----

  read(offset: number, dst: Uint8Array): void {
    const cs = this.clusterSize;
    // A run of bytes that lie together, in the file (kind HOST) or in the backing file.
    let runAt = 0;
    let runLength = 0;
    let runHost = -1;
    let runAbsent = false;
    const end = (): void => {
      if (runLength === 0) return;
      const part = dst.subarray(runAt, runAt + runLength);
      if (runAbsent) this.readBacking(offset + runAt, part);
      else this.file.readPadded(runHost, part);
      runLength = 0;
    };
    for (let at = 0; at < dst.length; ) {
      const c = Math.floor((offset + at) / cs);
      const within = (offset + at) % cs;
      const n = Math.min(cs - within, dst.length - at);
      this.lookup(c);
      const m = this.map;
      if (m.compressed !== 0) {
        end();
        dst.set(this.decompressed(m.host, m.compressed).subarray(within, within + n), at);
      } else if (m.zero) {
        end();
        dst.fill(0, at, at + n);
      } else {
        const absent = m.host === 0;
        const host = m.host + within;
        if (runLength > 0 && (absent !== runAbsent || (!absent && host !== runHost + runLength))) end();
        if (runLength === 0) {
          runAt = at;
          runHost = host;
          runAbsent = absent;
        }
        runLength += n;
      }
      at += n;
    }
    end();
  }

  private readBacking(offset: number, dst: Uint8Array): void {
    const n = this.backing === null ? 0 : Math.max(0, Math.min(dst.length, this.backing.size - offset));
    if (n > 0) this.backing!.read(offset, n === dst.length ? dst : dst.subarray(0, n));
    dst.fill(0, n);
  }

  private decompressed(host: number, bytes: number): Uint8Array {
    const hit = this.decompressor.cached(host);
    if (hit !== null) return hit;
    const input = new Uint8Array(bytes);
    this.file.readPadded(host, input);
    const out = this.decompressor.decompress(host, input);
    return out ?? this.corrupt(`compressed data at ${host} cannot be decompressed`);
  }

  write(offset: number, src: Uint8Array): void {
    const cs = this.clusterSize;
    let runAt = 0;
    let runLength = 0;
    let runHost = -1;
    for (let at = 0; at < src.length; ) {
      const within = (offset + at) % cs;
      const n = Math.min(cs - within, src.length - at);
      const host = this.hostForWrite(Math.floor((offset + at) / cs), within, n);
      if (runLength > 0 && host !== runHost + runLength) {
        this.file.write(runHost, src.subarray(runAt, runAt + runLength));
        runLength = 0;
      }
      if (runLength === 0) {
        runAt = at;
        runHost = host;
      }
      runLength += n;
      at += n;
    }
    if (runLength > 0) this.file.write(runHost, src.subarray(runAt, runAt + runLength));
  }

  /** Where bytes [within, within + n) of guest cluster c go; what else is in a new cluster has been written then. */
  private hostForWrite(c: number, within: number, n: number): number {
    this.lookup(c);
    const { host: old, copied, zero, compressed } = this.map;
    if (old !== 0 && copied && !zero && compressed === 0) return old + within;
    const keep = zero && copied && old !== 0;
    const fresh = this.refcounts.end;
    const cs = this.clusterSize;
    let rest: Uint8Array | null = null;
    if (n < cs) {
      rest = this.scratch;
      if (zero || (old === 0 && (this.backing === null || c * cs >= this.backing.size))) rest.fill(0);
      else if (compressed !== 0) rest.set(this.decompressed(old, compressed));
      else if (old !== 0) this.file.readPadded(old, rest);
      else this.readBacking(c * cs, rest);
    }
    const host = keep ? old : this.refcounts.allocate();
    // Behind the end of the file there are zeros already.
    if (rest !== null && !(host >= fresh && isZero(rest))) {
      if (within > 0) this.file.write(host, rest.subarray(0, within));
      if (within + n < cs) this.file.write(host + within + n, rest.subarray(within + n));
    }
    this.setHost(c, host);
    if (!keep) this.release(old, compressed);
    return host + within;
  }

  flush(): void {
    if (this.readonly) return;
    this.writeBack();
    this.file.sync();
  }

  /** Writes all metadata in order. Afterwards every table is clean; what was written last may not be on stable storage yet. */
  private writeBack(): void {
    if (this.refcounts.end > this.file.size) this.file.truncate(this.refcounts.end);
    const newRefs = this.refcounts.dirty;
    this.refcounts.flush();
    const l1Dirty = this.l1To > this.l1From;
    if (this.l2.dirty || l1Dirty) {
      if (newRefs) this.file.sync();
      this.l2.flush();
    }
    if (l1Dirty) {
      this.file.sync();
      this.writeL1(this.l1From, this.l1To);
      this.l1From = this.l1To = 0;
    }
    if (this.toFree.length > 0) this.freeReleased();
  }

  /** Writes L1 entries [from, to), in whole sectors. */
  private writeL1(first: number, last: number): void {
    const from = Math.floor(first / L1_SECTOR_ENTRIES) * L1_SECTOR_ENTRIES;
    const to = Math.min(this.l1Hi.length, Math.ceil(last / L1_SECTOR_ENTRIES) * L1_SECTOR_ENTRIES);
    const b = Buffer.alloc((to - from) * 8);
    for (let i = from; i < to; i++) {
      b.writeUInt32BE(this.l1Hi[i]!, (i - from) * 8);
      b.writeUInt32BE(this.l1Lo[i]!, (i - from) * 8 + 4);
    }
    this.file.write(this.header.l1Offset + from * 8, b);
  }

  /** Nothing in the file refers to these clusters any more, once it is on stable storage. */
  private freeReleased(): void {
    this.file.sync();
    const list = this.toFree.splice(0).sort((a, b) => a - b);
    let punchFrom = 0;
    let punchTo = 0;
    for (const k of list) {
      if (!this.refcounts.decrement(k)) continue;
      this.l2.drop(k * this.clusterSize);
      if (this.packAt > 0 && Math.floor(this.packAt / this.clusterSize) === k) this.packAt = 0;
      if (k !== punchTo) {
        if (punchTo > punchFrom) this.file.punch(punchFrom * this.clusterSize, (punchTo - punchFrom) * this.clusterSize);
        punchFrom = k;
      }
      punchTo = k + 1;
    }
    if (punchTo > punchFrom) this.file.punch(punchFrom * this.clusterSize, (punchTo - punchFrom) * this.clusterSize);
    this.refcounts.flush();
  }

  discard(offset: number, length: number): void {
    this.whole(offset, length, (c) => {
      this.lookup(c);
      const { host, compressed, zero } = this.map;
      if (host === 0 && (zero || this.backing === null)) return;
      if (this.backing === null) this.setEntry(c, 0, 0);
      else if (this.header.version === 3) this.setEntry(c, 0, ENTRY_ZERO);
      else return;
      this.release(host, compressed);
    });
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): void {
    const zeroCluster = (c: number): void => {
      this.lookup(c);
      const { host, copied, zero, compressed } = this.map;
      if (zero && (host === 0 || !mayUnmap)) return;
      if (host === 0 && compressed === 0 && this.backing === null) return;
      if (this.header.version === 2) {
        if (this.backing === null && mayUnmap) {
          this.setEntry(c, 0, 0);
          this.release(host, compressed);
        } else {
          this.write(c * this.clusterSize, new Uint8Array(Math.min(this.clusterSize, this.size - c * this.clusterSize)));
        }
        return;
      }
      if (host !== 0 && compressed === 0 && !mayUnmap) {
        this.setEntry(c, (Math.floor(host / 0x1_0000_0000) | (copied ? EntryHi.COPIED : 0)) >>> 0, (host >>> 0) | ENTRY_ZERO);
      } else {
        this.setEntry(c, 0, ENTRY_ZERO);
        this.release(host, compressed);
      }
    };
    const last = this.whole(offset, length, zeroCluster);
    // What is left are pieces of clusters at both ends.
    const piece = (from: number, to: number): void => {
      if (to > from) this.write(from, new Uint8Array(to - from));
    };
    if (last.to <= last.from) return piece(offset, offset + length);
    piece(offset, last.from);
    piece(last.to, offset + length);
  }

  /** Calls fn for each cluster that lies within the range (the last one of the disk may be cut). @returns the bytes covered. */
  private whole(offset: number, length: number, fn: (c: number) => void): { from: number; to: number } {
    const cs = this.clusterSize;
    const first = Math.ceil(offset / cs);
    const end = offset + length;
    const last = end >= this.size ? Math.ceil(this.size / cs) : Math.floor(end / cs);
    for (let c = first; c < last; c++) fn(c);
    return { from: first * cs, to: Math.min(last * cs, this.size) };
  }

  close(): void {
    if (!this.readonly) this.flush();
    this.file.close();
    this.backing?.close();
  }

  // ---- for the image commands ----

  /** At most to the end of its L2 table. */
  extent(offset: number): Extent {
    const kind = (c: number): Extent['kind'] => {
      this.lookup(c);
      return this.map.zero ? 'zero' : this.map.host === 0 ? 'absent' : 'data';
    };
    let c = Math.floor(offset / this.clusterSize);
    const first = kind(c);
    const limit = Math.min(Math.ceil(this.size / this.clusterSize), (Math.floor(c / this.l2Entries) + 1) * this.l2Entries);
    if (first === 'absent' && this.l1Offset(Math.floor(c / this.l2Entries)) === 0) c = limit;
    else for (c++; c < limit && kind(c) === first; c++);
    return { kind: first, length: Math.min(c * this.clusterSize, this.size) - offset };
  }

  /** Gives up what this file has in [offset, offset + length): whole clusters; the backing file shows through. */
  forget(offset: number, length: number): void {
    this.whole(offset, length, (c) => {
      this.lookup(c);
      const { host, compressed, zero } = this.map;
      if (host === 0 && !zero) return;
      this.setEntry(c, 0, 0);
      this.release(host, compressed);
    });
  }

  /** Compressed data, raw as they go into the file, for guest cluster c, which must be absent. */
  writeCompressed(c: number, data: Uint8Array): void {
    const cs = this.clusterSize;
    if (this.packAt > 0 && (this.packAt % cs) + data.length > cs) {
      // The next cluster, if it is free, is as good as more room in this one.
      const next = this.refcounts.allocate();
      if (next === Math.ceil(this.packAt / cs) * cs) {
        this.refcounts.increment(Math.floor(this.packAt / cs));
      } else {
        this.packAt = next;
      }
    } else if (this.packAt > 0) {
      this.refcounts.increment(Math.floor(this.packAt / cs));
    } else {
      this.packAt = this.refcounts.allocate();
    }
    const host = this.packAt;
    this.file.write(host, data);
    this.packAt = host + data.length;
    if (this.packAt % cs === 0) this.packAt = 0;
    const x = 62 - (this.header.clusterBits - 8) - 32;
    const sectors = Math.ceil(((host % SECTOR) + data.length) / SECTOR) - 1;
    this.setEntry(c, (EntryHi.COMPRESSED | (sectors << x) | Math.floor(host / 0x1_0000_0000)) >>> 0, host >>> 0);
  }

  /** Metadata on stable storage, caches empty: what follows changes tables behind their back. */
  quiesce(): void {
    this.flush();
    this.l2.clear();
  }
}

export function isZero(b: Uint8Array): boolean {
  for (let i = 0; i < b.length; i++) if (b[i] !== 0) return false;
  return true;
}
