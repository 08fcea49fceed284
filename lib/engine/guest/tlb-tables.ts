/**
 * The tables of the software TLB (state.ts) as the MMUs of all guests fill and empty them: lists of the entries that are filled, so that a flush
 * takes as long as there are entries, and who may write to which page of RAM. Addresses are (lo, hi) int32 pairs.
 */
import type { PhysicalMap } from '../cpu.js';
import { dropHints, initHints, initTlb, MMU_INDEXES, TLB_BASE, TLB_BITS, TLB_CODE, TLB_ENTRIES, TLB_TABLE_BYTES } from '../state.js';
import { WriteTags } from './write-tags.js';

/** Word index of the first TLB entry, words per table, and the bits of a page number that choose the entry. */
const TLB_W = TLB_BASE >> 2;
const TABLE_W = TLB_TABLE_BYTES >> 2;
const IDX_MASK = (1 << TLB_BITS) - 1;
const TWO32 = 0x1_0000_0000;
/** Pages around a miss in a large page that are entered with it. */
const AROUND = 16;
export const AROUND_BYTES = AROUND * 4096;

/** Bits of an entry's flags that every guest has: the translation is there in all address spaces; it may be written through. */
const GLOBAL = 1;
const WRITE = 2;

export class TlbTables {
  /** Filled entries of each table, as two lists: non-global and global ones. An entry may be in both after reuse. */
  private readonly lists: Uint16Array;
  private readonly counts: Int32Array;
  /** Bit 0: entry is in the non-global list; bit 1: in the global list. */
  private readonly listed: Uint8Array;
  private readonly writeTags: WriteTags;

  /** @param tables how many MMU indexes, from 0 on, may have entries @param probed how many are ever used */
  constructor(private readonly map: PhysicalMap, private readonly V: Int32Array, private readonly tables = MMU_INDEXES, probed = MMU_INDEXES) {
    this.lists = new Uint16Array(tables * 2 * TLB_ENTRIES);
    this.counts = new Int32Array(tables * 2);
    this.listed = new Uint8Array(tables * TLB_ENTRIES);
    initTlb(V, probed);
    initHints(V);
    this.writeTags = new WriteTags(map.codePages.length, V);
  }

  /**
   * Enters the page of hi:lo, which is in RAM from byte `off` on.
   * @param flags 0 to 15, with GLOBAL in bit 0, for the low bits of the RAM_PAGE word
   * @param write stores may use the entry
   * @param code they may not only because the page has code
   */
  enter(idx: number, lo: number, hi: number, off: number, flags: number, write: boolean, code: boolean): void {
    const { V, map } = this;
    const pageLo = lo & ~0xfff;
    const n = (lo >>> 12) & IDX_MASK;
    const e = TLB_W + idx * TABLE_W + n * 8;
    V[e] = pageLo;
    V[e + 1] = hi;
    if (write) {
      this.writeTags.note(off >>> 12, e);
      if (map.written?.[off >>> 21] === 0) map.firstWrite!(off >>> 21);
    }
    V[e + 2] = write ? pageLo : -1;
    V[e + 3] = write ? hi : -1;
    const host = map.ramAddress + off;
    const hostLo = host | 0;
    V[e + 4] = hostLo - pageLo;
    V[e + 5] = Math.floor(host / TWO32) - hi - ((hostLo >>> 0) < (pageLo >>> 0) ? 1 : 0);
    V[e + 6] = off | flags | (code ? TLB_CODE : 0);
    V[e + 7] = pageLo | 1;
    this.list(idx, n, flags & GLOBAL);
  }

  /** Notes that entry n of a table is filled. */
  private list(idx: number, n: number, g: number): void {
    const l = idx * TLB_ENTRIES + n;
    if (this.listed[l]! & (1 << g)) return;
    this.listed[l]! |= 1 << g;
    const t = idx * 2 + g;
    this.lists[t * TLB_ENTRIES + this.counts[t]!] = n;
    this.counts[t]!++;
  }

  /** Entries in the list of a table: t = 2 * MMU index, + 1 for global ones. Some may have gone, or be of the other kind by now. */
  count(t: number): number {
    return this.counts[t]!;
  }

  /** Index in V of entry i of list t. */
  entry(t: number, i: number): number {
    return TLB_W + (t >> 1) * TABLE_W + this.lists[t * TLB_ENTRIES + i]! * 8;
  }

  /** A non-global entry has been put back at word e of V. */
  putBack(e: number): void {
    const { V } = this;
    if (V[e + 2] !== -1) this.writeTags.note(V[e + 6]! >>> 12, e);
    const at = (e - TLB_W) / 8;
    this.list(Math.floor(at / TLB_ENTRIES), at % TLB_ENTRIES, 0);
  }

  /** Where the last miss of a read and of a write was in a large page: number of the first page around it. */
  private nearRead = -1;
  private nearWrite = -1;

  /**
   * The page of hi:lo, at physical address pa, has just been entered, and has missed. Those around it have the same translation and rights, and are entered, too (docs/adr/0049), but
   * not where there is code or no plain memory. In place of others only if the last miss of the kind was near: the kernel's map of all memory would push out everything else.
   * @param write it was a store that missed
   */
  enterAround(idx: number, lo: number, hi: number, pa: number, flags: number, write: boolean): void {
    const { V, map } = this;
    const n = lo >>> 12;
    const first = n & ~(AROUND - 1);
    const before = write ? this.nearWrite : this.nearRead;
    if (write) this.nearWrite = first;
    else this.nearRead = first;
    const near = Math.abs(first - before) <= AROUND;
    const page = pa - (pa & 0xfff);
    const mayWrite = (flags & WRITE) !== 0;
    for (let k = first; k < first + AROUND; k++) {
      const e = TLB_W + idx * TABLE_W + (k & IDX_MASK) * 8;
      const known = V[e] === k << 12 && V[e + 1] === hi;
      if (k === n || (known ? !write || V[e + 2] !== -1 : V[e + 7] !== 0 && !near)) continue;
      const to = page + (k - n) * 4096;
      const off = map.pageOffset(to);
      if (off < 0 || map.codePages[off >>> 12] !== 0 || map.isRom(to)) continue;
      this.enter(idx, k << 12, hi, off, flags, mayWrite, false);
    }
  }

  /** Byte offset in RAM for a read of n bytes that the TLB covers, or -1. */
  read(lo: number, hi: number, idx: number, n: number): number {
    const { V } = this;
    const e = TLB_W + idx * TABLE_W + ((lo >>> 12) & IDX_MASK) * 8;
    if (V[e] === (lo & ~0xfff) && V[e + 1] === hi && (lo & 0xfff) + n <= 4096) return ((V[e + 6]! & ~0xfff) >>> 0) + (lo & 0xfff);
    return -1;
  }

  /** The same for a write. */
  write(lo: number, hi: number, idx: number, n: number): number {
    const { V } = this;
    const e = TLB_W + idx * TABLE_W + ((lo >>> 12) & IDX_MASK) * 8;
    if (V[e + 2] === (lo & ~0xfff) && V[e + 3] === hi && (lo & 0xfff) + n <= 4096) return ((V[e + 6]! & ~0xfff) >>> 0) + (lo & 0xfff);
    return -1;
  }

  /** Empties all tables. */
  dropAll(): void {
    for (let t = 0; t < this.tables * 2; t++) this.dropList(t);
    dropHints(this.V);
  }

  /** Empties them but for global pages. */
  dropNonGlobal(): void {
    for (let t = 0; t < this.tables * 2; t += 2) this.dropList(t);
    dropHints(this.V);
  }

  /** One page of 4 KiB, in every table. @param mask the bits of the high word that count */
  dropPage(lo: number, hi: number, mask = -1): void {
    const { V } = this;
    const pageLo = lo & ~0xfff;
    const n = (lo >>> 12) & IDX_MASK;
    for (let idx = 0; idx < this.tables; idx++) {
      const e = TLB_W + idx * TABLE_W + n * 8;
      if (V[e] === pageLo && ((V[e + 1]! ^ hi) & mask) === 0) this.dropEntry(e);
    }
    dropHints(V);
  }

  /** Every entry whose address has the bits of hi:lo that `mask` (of the low word) and the whole high word are. */
  dropRegion(lo: number, hi: number, mask: number): void {
    const { V } = this;
    for (let t = 0; t < this.tables * 2; t++) {
      for (let i = 0, c = this.counts[t]!; i < c; i++) {
        const e = this.entry(t, i);
        if (((V[e]! ^ lo) & mask) === 0 && V[e + 1] === hi) this.dropEntry(e);
      }
    }
    dropHints(V);
  }

  /** The RAM page at ramOffset has got its first translation: writes to it must take the slow path from now on. */
  noteCodePage(ramOffset: number): void {
    const page = (ramOffset & ~0xfff) | 0;
    const { writeTags } = this;
    if (!writeTags.any(page)) return;
    dropHints(this.V);
    if (writeTags.drop(page)) return;
    for (let t = 0; t < this.tables * 2; t++) for (let i = 0, c = this.counts[t]!; i < c; i++) writeTags.dropFrom(this.entry(t, i), page);
  }

  private dropEntry(e: number): void {
    const { V } = this;
    V[e] = V[e + 1] = V[e + 2] = V[e + 3] = -1;
    V[e + 7] = 0;
  }

  /** Drops the entries of list t (table * 2 + global). */
  private dropList(t: number): void {
    const c = this.counts[t]!;
    if (c === 0) return;
    const g = t & 1;
    const table = TLB_W + (t >> 1) * TABLE_W;
    const l = (t >> 1) * TLB_ENTRIES;
    const base = t * TLB_ENTRIES;
    for (let i = 0; i < c; i++) {
      const n = this.lists[base + i]!;
      const e = table + n * 8;
      // The entry may have been taken over by a translation of the other kind meanwhile.
      if ((this.V[e + 6]! & GLOBAL) === g) this.dropEntry(e);
      this.listed[l + n]! &= ~(1 << g);
    }
    this.counts[t] = 0;
  }
}
