/** Consistency check of qcow2 images: counts every reference to every cluster and compares with the refcounts. */
import { ImageFile } from '../file.js';
import { EntryHi, OFFSET_LO_MASK, type QcowHeader, readHeader } from './layout.js';
import { readCount, Refcounts } from './refcounts.js';
import { readSnapshots } from './snapshots.js';

export interface CheckResult {
  /** Clusters that are used more often than they are counted, or offsets that make no sense: data may be lost. */
  corruptions: number;
  /** Clusters that nobody uses. */
  leaks: number;
  totalClusters: number;
  allocatedClusters: number;
  compressedClusters: number;
  /** What was found, a line each, the first ones. */
  messages: string[];
}

const MAX_MESSAGES = 20;

class Checker {
  readonly result: CheckResult = { corruptions: 0, leaks: 0, totalClusters: 0, allocatedClusters: 0, compressedClusters: 0, messages: [] };
  readonly used: Uint32Array;
  private readonly cs: number;

  constructor(
    private readonly file: ImageFile,
    private readonly h: QcowHeader,
  ) {
    this.cs = h.clusterSize;
    this.used = new Uint32Array(Math.ceil(file.size / this.cs));
    this.result.totalClusters = Math.ceil(h.size / this.cs);
  }

  corrupt(message: string): void {
    this.result.corruptions++;
    this.say(message);
  }

  say(message: string): void {
    if (this.result.messages.length < MAX_MESSAGES) this.result.messages.push(message);
  }

  /** [offset, offset + bytes) is used once. @returns false if it does not lie in the file. */
  use(offset: number, bytes: number, what: string): boolean {
    const first = Math.floor(offset / this.cs);
    const last = Math.floor((offset + bytes - 1) / this.cs);
    if (!(offset >= 0) || last >= this.used.length) {
      this.corrupt(`${what} at ${offset} lies outside the file`);
      return false;
    }
    for (let c = first; c <= last; c++) this.used[c]!++;
    return true;
  }

  /** Everything an L1 table leads to. @param active its entries say whether they are the only ones: check that later */
  l1(offset: number, entries: number, active: boolean, singles: Map<number, string>): void {
    if (entries === 0 || !this.use(offset, entries * 8, 'an L1 table')) return;
    const table = Buffer.alloc(entries * 8);
    this.file.readPadded(offset, table);
    const l2 = Buffer.alloc(this.cs);
    for (let i = 0; i < entries; i++) {
      const hi = table.readUInt32BE(i * 8);
      const at = (hi & EntryHi.OFFSET) * 0x1_0000_0000 + ((table.readUInt32BE(i * 8 + 4) & OFFSET_LO_MASK) >>> 0);
      if (at === 0) continue;
      if (at % this.cs !== 0) {
        this.corrupt(`L1 entry ${i} points to ${at}, no cluster boundary`);
        continue;
      }
      if (!this.use(at, this.cs, 'an L2 table')) continue;
      // Each L1 table uses an L2 table once: what is used more often is damage, and not walked again.
      if (this.used[at / this.cs]! > 1 + this.h.snapshots) {
        this.corrupt(`L1 entry ${i} points to an L2 table at ${at} that is in use already`);
        continue;
      }
      if (active) singles.set(at / this.cs, hi >= EntryHi.COPIED ? 'once' : 'shared');
      this.file.readPadded(at, l2);
      this.l2(l2, active, singles);
    }
  }

  private l2(b: Buffer, active: boolean, singles: Map<number, string>): void {
    const x = 62 - (this.h.clusterBits - 8) - 32;
    for (let i = 0; i < b.length; i += 8) {
      const hi = b.readUInt32BE(i);
      const lo = b.readUInt32BE(i + 4);
      if (hi & EntryHi.COMPRESSED) {
        const host = (hi & ((1 << x) - 1)) * 0x1_0000_0000 + lo;
        const bytes = (((hi & 0x3fff_ffff) >>> x) + 1) * 512 - (host % 512);
        // Sectors may be counted that are no longer in the file.
        this.use(host, Math.min(bytes, Math.max(1, this.used.length * this.cs - host)), 'compressed data');
        if (active) {
          this.result.allocatedClusters++;
          this.result.compressedClusters++;
        }
        continue;
      }
      const at = (hi & EntryHi.OFFSET) * 0x1_0000_0000 + ((lo & OFFSET_LO_MASK) >>> 0);
      if (at === 0) continue;
      if (at % this.cs !== 0) {
        this.corrupt(`an L2 entry points to ${at}, no cluster boundary`);
        continue;
      }
      if (!this.use(at, this.cs, 'a data cluster')) continue;
      if (active) {
        this.result.allocatedClusters++;
        singles.set(at / this.cs, hi >= EntryHi.COPIED ? 'once' : 'shared');
      }
    }
  }
}

/**
 * @param repair sets refcounts to what is really used (the file must be writable); other damage stays.
 * @throws UsageError if the header makes no sense.
 */
export function checkQcow2(file: ImageFile, repair: boolean): CheckResult {
  const h = readHeader(file);
  const c = new Checker(file, h);
  const refs = new Refcounts(file, h, () => refs.flush());
  c.use(0, h.clusterSize, 'the header');
  c.use(h.refcountOffset, h.refcountClusters * h.clusterSize, 'the refcount table');
  for (const at of refs.table) {
    if (at !== 0 && !(at % h.clusterSize === 0)) c.corrupt(`the refcount table points to ${at}, no cluster boundary`);
    else if (at !== 0) c.use(at, h.clusterSize, 'a refcount block');
  }
  const singles = new Map<number, string>();
  c.l1(h.l1Offset, h.l1Size, true, singles);
  if (h.snapshots > 0) {
    const { list, bytes } = readSnapshots(file, h);
    c.use(h.snapshotsOffset, bytes, 'the snapshot table');
    for (const s of list) c.l1(s.l1Offset, s.l1Size, false, singles);
  }
  compare(c, refs, h, singles, repair);
  if (repair) {
    refs.flush();
    file.sync();
  }
  return c.result;
}

function compare(c: Checker, refs: Refcounts, h: QcowHeader, singles: ReadonlyMap<number, string>, repair: boolean): void {
  for (let k = 0; k < c.used.length; k++) {
    const used = c.used[k]!;
    const counted = refs.get(k);
    if (counted !== used) {
      if (counted > used) c.result.leaks++;
      else c.result.corruptions++;
      c.say(`cluster ${k} is used ${used} times, its refcount is ${counted}${repair ? ': set' : ''}`);
      if (repair) refs.put(k, used);
    }
    const single = singles.get(k);
    if (single !== undefined && (used === 1) !== (single === 'once')) c.corrupt(`cluster ${k} is marked as used ${single === 'once' ? 'once' : 'by several'} and is used ${used} times`);
  }
  // Clusters behind the end of the file cannot be used.
  for (let b = 0; b < refs.table.length; b++) {
    const first = Math.max(b * refs.perBlock, c.used.length);
    const at = refs.table[b]!;
    if (at === 0 || at % h.clusterSize || at + h.clusterSize > refs.end || first >= (b + 1) * refs.perBlock) continue;
    const block = refs.cache.get(at).bytes;
    for (let k = first; k < (b + 1) * refs.perBlock; k++) {
      const n = readCount(block, k % refs.perBlock, h.refcountOrder);
      if (n === 0) continue;
      c.result.leaks++;
      c.say(`cluster ${k} lies behind the end of the file, its refcount is ${n}${repair ? ': set' : ''}`);
      if (repair) refs.put(k, 0);
    }
  }
}

