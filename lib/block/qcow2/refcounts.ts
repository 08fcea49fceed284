/** Reference counts of the clusters of a qcow2 file, and the allocator that rests on them. */
import { VmxError } from '../../errors.js';
import type { ImageFile } from '../file.js';
import { Header, type QcowHeader, read64, write64 } from './layout.js';
import { TableCache } from './table-cache.js';

const SECTOR = 512;
/** Known free clusters that are remembered for reuse. */
const FREED_LIMIT = 65536;
/** Refcounts beyond this are not exact as numbers; nothing gets there. */
const MAX_COUNT = 2 ** 32 - 1;

/** Reads count `i` of a refcount block. @param order log2 of the width in bits, 0..6. */
export function readCount(b: Uint8Array, i: number, order: number): number {
  switch (order) {
    case 4:
      return (b[i * 2]! << 8) | b[i * 2 + 1]!;
    case 3:
      return b[i]!;
    case 5:
      return ((b[i * 4]! << 24) | (b[i * 4 + 1]! << 16) | (b[i * 4 + 2]! << 8) | b[i * 4 + 3]!) >>> 0;
    case 6:
      return Math.min(read64(b, i * 8) || 0, MAX_COUNT);
    default: {
      const width = 1 << order;
      const per = 8 / width;
      return (b[Math.floor(i / per)]! >>> ((i % per) * width)) & ((1 << width) - 1);
    }
  }
}

export function writeCount(b: Uint8Array, i: number, order: number, v: number): void {
  if (order === 6) {
    write64(b, i * 8, v);
  } else if (order >= 3) {
    const bytes = 1 << (order - 3);
    for (let k = 0; k < bytes; k++) b[i * bytes + k] = v >>> (8 * (bytes - 1 - k));
  } else {
    const width = 1 << order;
    const per = 8 / width;
    const at = Math.floor(i / per);
    const shift = (i % per) * width;
    b[at] = (b[at]! & ~(((1 << width) - 1) << shift)) | (v << shift);
  }
}

export class Refcounts {
  /** Offsets of the refcount blocks. */
  table: Float64Array;
  readonly cache: TableCache;
  /** Counts per block. */
  readonly perBlock: number;
  readonly maxCount: number;
  /** End of what has been allocated, bytes: the file is at least this long once metadata has been written. */
  end: number;
  private tableOffset: number;
  private tableClusters: number;
  /** Entries of the table that differ from the file: [from, to). */
  private from = 0;
  private to = 0;
  private hint = 0;
  private readonly freed: number[] = [];
  private readonly order: number;
  private readonly clusterSize: number;

  /** @param writeBack as for TableCache. */
  constructor(
    private readonly file: ImageFile,
    h: QcowHeader,
    writeBack: () => void,
  ) {
    this.order = h.refcountOrder;
    this.clusterSize = h.clusterSize;
    this.perBlock = (h.clusterSize * 8) / (1 << h.refcountOrder);
    this.maxCount = h.refcountOrder >= 5 ? MAX_COUNT : 2 ** (1 << h.refcountOrder) - 1;
    this.tableOffset = h.refcountOffset;
    this.tableClusters = h.refcountClusters;
    const raw = file.bytes(h.refcountOffset, h.refcountClusters * h.clusterSize, 'the refcount table');
    this.table = new Float64Array(raw.length / 8);
    for (let i = 0; i < this.table.length; i++) this.table[i] = read64(raw, i * 8);
    this.end = Math.ceil(file.size / h.clusterSize) * h.clusterSize;
    this.cache = new TableCache(file, h.clusterSize, writeBack);
  }

  corrupt(why: string): never {
    throw new VmxError('ERR_IO', `${this.file.path}: corrupt qcow2 image: ${why}`);
  }

  private blockOffset(cluster: number): number {
    const at = this.table[Math.floor(cluster / this.perBlock)] ?? 0;
    if (at !== 0 && !(at % this.clusterSize === 0 && at + this.clusterSize <= this.end)) this.corrupt('a refcount block lies outside the file');
    return at;
  }

  /** Refcount of a cluster of the file. */
  get(cluster: number): number {
    const at = this.blockOffset(cluster);
    return at === 0 ? 0 : readCount(this.cache.get(at).bytes, cluster % this.perBlock, this.order);
  }

  private set(cluster: number, count: number): void {
    let at = this.blockOffset(cluster);
    if (at === 0) at = this.newBlock(Math.floor(cluster / this.perBlock));
    const t = this.cache.get(at);
    const i = cluster % this.perBlock;
    writeCount(t.bytes, i, this.order, count);
    const bits = 1 << this.order;
    t.touch(Math.floor((i * bits) / 8), Math.max(1, bits / 8));
  }

  /** Adds the block for the range `index`: it lies in the first cluster of that range and counts itself. @returns its offset. */
  private newBlock(index: number): number {
    if (index >= this.table.length) this.growTable(index + 1);
    // growTable may have needed this block itself.
    if (this.table[index] !== 0) return this.table[index]!;
    const cluster = index * this.perBlock;
    const at = cluster * this.clusterSize;
    const block = this.cache.create(at, null);
    writeCount(block.bytes, 0, this.order, 1);
    this.setEntry(index, at);
    this.end = Math.max(this.end, at + this.clusterSize);
    return at;
  }

  private setEntry(index: number, at: number): void {
    this.table[index] = at;
    if (this.to > this.from) {
      this.from = Math.min(this.from, index);
      this.to = Math.max(this.to, index + 1);
    } else {
      this.from = index;
      this.to = index + 1;
    }
  }

  /** Moves the table to a larger place at the end of the file. Rare: everything is written at once. */
  private growTable(entries: number): void {
    const perCluster = this.clusterSize / 8;
    const clusters = Math.ceil((Math.max(entries, this.table.length) * 1.5 + 2) / perCluster);
    const table = new Float64Array(clusters * perCluster);
    table.set(this.table);
    this.table = table;
    // In front of the table go the blocks of those ranges it reaches into that have none: they count the table and each other.
    const first = Math.ceil(this.end / this.clusterSize);
    const firstRange = Math.floor(first / this.perBlock);
    let ranges: number[] = [];
    for (let blocks = -1; blocks < ranges.length; ) {
      blocks = ranges.length;
      const last = Math.floor((first + blocks + clusters - 1) / this.perBlock);
      ranges = [];
      for (let r = firstRange; r <= last; r++) if (this.table[r] === 0) ranges.push(r);
    }
    ranges.forEach((r, i) => {
      const at = (first + i) * this.clusterSize;
      this.end = at + this.clusterSize;
      this.cache.create(at, null);
      this.table[r] = at;
    });
    for (let i = 0; i < ranges.length; i++) this.set(first + i, 1);
    this.place(first + ranges.length, clusters);
  }

  private place(first: number, clusters: number): void {
    const at = first * this.clusterSize;
    this.end = Math.max(this.end, at + clusters * this.clusterSize);
    for (let i = 0; i < clusters; i++) this.set(first + i, 1);
    this.file.truncate(Math.max(this.file.size, this.end));
    this.cache.flush();
    const bytes = new Uint8Array(clusters * this.clusterSize);
    for (let i = 0; i < this.table.length; i++) write64(bytes, i * 8, this.table[i]!);
    this.file.write(at, bytes);
    this.file.sync();
    const fields = new Uint8Array(12);
    write64(fields, 0, at);
    for (let k = 0; k < 4; k++) fields[8 + k] = clusters >>> (24 - 8 * k);
    this.file.write(Header.REFCOUNT_OFFSET, fields);
    this.file.sync();
    const old = this.tableOffset / this.clusterSize;
    const oldClusters = this.tableClusters;
    this.tableOffset = at;
    this.tableClusters = clusters;
    this.from = this.to = 0;
    for (let i = 0; i < oldClusters; i++) this.decrement(old + i);
  }

  /** Allocates `count` clusters in a row. @returns the offset of the first. */
  allocate(count = 1): number {
    if (count === 1) {
      for (let c = this.freed.pop(); c !== undefined; c = this.freed.pop()) {
        if (this.get(c) !== 0) continue;
        this.set(c, 1);
        return c * this.clusterSize;
      }
    }
    let first = this.hint;
    for (let n = 0; n < count; ) {
      const c = first + n;
      // Making a block takes a cluster of the range that was free until now.
      if (this.blockOffset(c) === 0) this.newBlock(Math.floor(c / this.perBlock));
      if (this.get(c) === 0) {
        n++;
      } else {
        first = c + 1;
        n = 0;
      }
    }
    if (first === 0) this.corrupt('the header is marked as free');
    for (let n = 0; n < count; n++) this.set(first + n, 1);
    if (count === 1 || first === this.hint) this.hint = first + count;
    this.end = Math.max(this.end, (first + count) * this.clusterSize);
    return first * this.clusterSize;
  }

  increment(cluster: number): void {
    const n = this.get(cluster);
    if (n >= this.maxCount) throw new VmxError('ERR_IO', `${this.file.path}: a refcount is as high as this image allows`);
    this.set(cluster, n + 1);
  }

  /** @returns true if the cluster is free now. */
  decrement(cluster: number): boolean {
    const n = this.get(cluster);
    if (n === 0) this.corrupt(`cluster ${cluster} is in use but marked as free`);
    this.set(cluster, n - 1);
    if (n > 1) return false;
    if (this.freed.length < FREED_LIMIT) this.freed.push(cluster);
    return true;
  }

  /** Sets a refcount: for repairs. */
  put(cluster: number, count: number): void {
    this.set(cluster, count);
  }

  get dirty(): boolean {
    return this.to > this.from || this.cache.dirty;
  }

  /** Writes blocks, then the table entries that lead to new ones. */
  flush(): void {
    this.cache.flush();
    if (this.to <= this.from) return;
    this.file.sync();
    const perSector = SECTOR / 8;
    const from = Math.floor(this.from / perSector) * perSector;
    const to = Math.min(this.table.length, Math.ceil(this.to / perSector) * perSector);
    const bytes = new Uint8Array((to - from) * 8);
    for (let i = from; i < to; i++) write64(bytes, (i - from) * 8, this.table[i]!);
    this.file.write(this.tableOffset + from * 8, bytes);
    this.from = this.to = 0;
  }
}
