/**
 * The code cache as the engine sees it: an index over the records of all chunks, the comparison of a record with guest memory,
 * and the chunk that new records are gathered in. Where chunks are kept is the store's business (lib/aot).
 */
import { VmxError } from '../../errors.js';
import { type ConstPool, looksLikeAddress } from '../ir/builder.js';
import { extract, GROUP_HEAD, GroupChooser, groupOf, Grp, MAX_GROUP_BLOCKS, type RecordAt, writeGroup } from './page-group.js';
import { Reg, regionFits } from './region-record.js';
import {
  GROUP_SHIFT, OPERAND_SYMBOL, Rec, REC_HEAD, RecFlag, RecordWriter, blockHash, blockPrefix, codeAt, guestAt, symbolCount, symbolsAt,
} from './record.js';

/** A chunk's index: hash and word offset of each record. */
export type ChunkIndex = Int32Array;

export type AddChunk = (index: ChunkIndex, load: () => Int32Array | null) => void;

export interface CacheStore {
  /**
   * Calls `add` for every chunk there is. `load` gives the payload once it has been verified, or null if it is refused. `hot` gets what
   * `writeHot` was given, `regions` what `writeRegions` was.
   */
  open(add: AddChunk, hot: (hashes: Int32Array) => void, regions: AddChunk): void;
  /** Keeps a chunk. The arrays are the store's from now on, but must not change. */
  write(index: ChunkIndex, payload: Int32Array): void;
  /** Keeps hashes (`blockHash`) of blocks at which hot loops begin. */
  writeHot(hashes: Int32Array): void;
  /** Keeps a chunk of regions' records (region-record.ts), under the hashes of the blocks that they begin with. */
  writeRegions(index: ChunkIndex, payload: Int32Array): void;
  /** All that was written before, hashes too, is going to be written again in another form: it may be dropped once that has been done. */
  startAnew(): void;
}

export interface CodeCacheStats {
  /** Records known when the machine started. */
  known: number;
  /** Blocks installed from the cache, and look-ups without success. */
  hits: number;
  misses: number;
  /** Guest instructions of the blocks installed. */
  hitInsns: number;
  /** Bytes of code installed. */
  hitBytes: number;
  /** Page groups that brought in what they have for a page. */
  groups: number;
  /** Records added, and blocks too large to be kept. */
  added: number;
  skipped: number;
  /** Payloads read, and refused. */
  loaded: number;
  refused: number;
  /** Hot loops that earlier runs have found, and regions installed from the cache. */
  hot: number;
  regions: number;
  /** Records recompiled for comparison, and how many of them differed. */
  verified: number;
  different: number;
}

/** Words of payload after which a chunk is closed. */
const CHUNK_WORDS = 1 << 18;
/** Entries of earlier runs after the one found last that are tried before the table: they met blocks in nearly the same order. */
const AHEAD = 6;
/** Most hot loops that are remembered. */
const MAX_HOT = 4096;
/** Records are put together by page when there are so many that this brings together, so many of a page at least. */
const REGROUP = 64;
const SMALLEST_GROUP = 2;
/** Groups that the blocks of one page are divided into at most: it has been patched, or several programs have been in it. */
const GROUPS_OF_PAGE = 16;
/** Most regions that are remembered for one block: with all hints, with less of them, of one place and another. */
const MAX_VERSIONS = 8;
const PAGE = 4096;

/** In `CodeCache.fits`. */
export const enum Fits {
  NO = 0,
  YES = 1,
  /** And its code depends on pool slots. */
  WITH_SLOTS = 2,
}

function sameWords(A: Int32Array, a: number, B: Int32Array, b: number, n: number): boolean {
  for (let i = 0; i < n; i++) if (A[a + i] !== B[b + i]) return false;
  return true;
}

function bitsSet(x: number): number {
  let n = 0;
  for (; x !== 0; x &= x - 1) n++;
  return n;
}

const noSecondPage: SecondPage = () => -1;

/** RAM offset of the page after the one a block lies in: asked for only if the block's first part matches. */
export type SecondPage = () => number;

export class CodeCache {
  readonly stats: CodeCacheStats = { known: 0, hits: 0, misses: 0, hitInsns: 0, hitBytes: 0, groups: 0, added: 0, skipped: 0, loaded: 0, refused: 0, hot: 0, regions: 0, verified: 0, different: 0 };
  /** The record `find` found: payload, its bytes, and where the record begins. */
  W: Int32Array = new Int32Array(0);
  at = 0;
  /** RAM offset of the second page of a block that spans two, else -1. */
  page2 = -1;
  /** Recompile what is found and compare (`compare`), instead of using it. */
  verify = false;
  onDifferent: (where: string) => void = () => undefined;
  /** Slots of the record's constants and symbols, see `resolve`. */
  readonly slots = new Int32Array(OPERAND_SYMBOL * 2);

  /** Which records of a group are of what is in the page; see `groupFits`. */
  readonly fits = new Uint8Array(MAX_GROUP_BLOCKS);
  /** There are some `WITH_SLOTS` among them. */
  groupSlots = false;

  /** Open addressing: number of an entry + 1, 0 = free. */
  private table = new Int32Array(1 << 15);
  private hashes = new Int32Array(1 << 13);
  private chunkOf = new Int32Array(1 << 13);
  private offsetOf = new Int32Array(1 << 13);
  /** `CodePage.id` of the page that the entry's record was last used in on its own, 0 = none. */
  private homes = new Int32Array(1 << 13);
  private entries = 0;
  private readonly payloads: (Int32Array | null)[] = [];
  private readonly bytes: (Uint8Array | null)[] = [];
  private readonly loaders: ((() => Int32Array | null) | null)[] = [];
  private U8: Uint8Array = new Uint8Array(0);
  /** Guest RAM of the last `find`, to be read in words. */
  private ram: Uint8Array = this.U8;
  private ramView = new DataView(this.U8.buffer);
  /** Of the last `find`. */
  private hash = 0;
  /** Entry found last. */
  private last = 0;

  /** Hashes of blocks at which hot loops begin, those that the store has not got yet, and those it got from this machine. */
  private readonly hot = new Set<number>();
  private newHot: number[] = [];
  private readonly ownHot: number[] = [];
  /** By the low bits of a hash: there may be one in `hot`. */
  private readonly mayBeHot = new Uint8Array(256);

  /** By hash of the block that they begin with: chunks and word offsets of regions, in turn. */
  private readonly regions = new Map<number, number[]>();
  private newRegions = new RecordWriter();
  private newRegionIndex: number[] = [];
  private readonly ownRegions: { index: ChunkIndex; payload: Int32Array }[] = [];

  /** The chunk that is being filled. */
  private out = new RecordWriter();
  private outIndex: number[] = [];
  private outChunk = -1;

  constructor(private readonly store: CacheStore, private readonly pool: ConstPool) {
    const found: { index: ChunkIndex; chunk: number }[] = [];
    store.open((index, load) => {
      found.push({ index, chunk: this.newChunk(null, load) });
    }, (hashes) => {
      for (const h of hashes) if (this.hot.size < MAX_HOT) this.addHot(h);
    }, (index, load) => {
      const chunk = this.newChunk(null, load);
      for (let i = 0; i < index.length && this.regions.size < MAX_HOT; i += 2) this.enterRegion(index[i]!, chunk, index[i + 1]!);
    });
    this.stats.hot = this.hot.size;
    this.reserve(found.reduce((n, f) => n + (f.index.length >> 1), 0));
    // Of records that are there twice, those in page groups are to be found: chunks that begin with one come first.
    for (const grouped of [true, false]) {
      for (const { index, chunk } of found) {
        if ((index[1] === GROUP_HEAD) === grouped) this.enterAll(index, chunk);
      }
    }
    this.stats.known = this.entries;
  }

  private newChunk(payload: Int32Array | null, load: (() => Int32Array | null) | null): number {
    this.payloads.push(payload);
    this.bytes.push(payload === null ? null : new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength));
    this.loaders.push(load);
    return this.payloads.length - 1;
  }

  /** Makes room for n entries at once. */
  private reserve(n: number): void {
    let entries = this.hashes.length;
    while (entries < n) entries *= 2;
    if (entries > this.hashes.length) this.growEntries(entries);
    let length = this.table.length;
    while (length < n * 2) length *= 2;
    if (length > this.table.length) this.table = new Int32Array(length);
  }

  /** As `enter` with each pair of an index, for which there is room. One loop without calls: V8 replaces it while it runs. */
  private enterAll(index: ChunkIndex, chunk: number): void {
    const { hashes, offsetOf, table } = this;
    const mask = table.length - 1;
    const first = this.entries;
    let n = first;
    for (let i = 0; i < index.length; i += 2) {
      const hash = index[i]!;
      hashes[n] = hash;
      offsetOf[n] = index[i + 1]!;
      let at = hash & mask;
      while (table[at] !== 0) at = (at + 1) & mask;
      table[at] = ++n;
    }
    this.chunkOf.fill(chunk, first, n);
    this.entries = n;
  }

  private enter(hash: number, chunk: number, offset: number): void {
    const n = this.entries++;
    if (n >= this.hashes.length) this.growEntries(this.hashes.length * 2);
    this.hashes[n] = hash;
    this.chunkOf[n] = chunk;
    this.offsetOf[n] = offset;
    if (this.entries * 2 > this.table.length) this.growTable();
    else this.link(n);
  }

  private link(n: number): void {
    const mask = this.table.length - 1;
    let i = this.hashes[n]! & mask;
    while (this.table[i] !== 0) i = (i + 1) & mask;
    this.table[i] = n + 1;
  }

  private growEntries(length: number): void {
    const grown = (a: Int32Array): Int32Array<ArrayBuffer> => {
      const b = new Int32Array(length);
      b.set(a);
      return b;
    };
    this.hashes = grown(this.hashes);
    this.homes = grown(this.homes);
    this.chunkOf = grown(this.chunkOf);
    this.offsetOf = grown(this.offsetOf);
  }

  private growTable(): void {
    this.table = new Int32Array(this.table.length * 2);
    for (let n = 0; n < this.entries; n++) this.link(n);
  }

  /**
   * Looks for code of the block at page offset `offset` of the page at `pageOff` in RAM.
   * @returns true if there is; W, at and page2 tell where
   */
  find(ram: Uint8Array, pageOff: number, offset: number, mode: number, second: SecondPage): boolean {
    if (ram !== this.ram) {
      this.ram = ram;
      this.ramView = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
    }
    const h = (this.hash = blockHash(offset, mode, blockPrefix(ram, pageOff + offset, PAGE - offset)));
    const { hashes } = this;
    const end = Math.min(this.last + 1 + AHEAD, this.stats.known);
    for (let n = this.last + 1; n < end; n++) {
      if (hashes[n] !== h || !this.open(n) || !this.matches(ram, pageOff, offset, mode, second)) continue;
      this.last = n;
      return true;
    }
    const mask = this.table.length - 1;
    for (let i = h & mask; this.table[i] !== 0; i = (i + 1) & mask) {
      const n = this.table[i]! - 1;
      if (hashes[n] !== h || !this.open(n) || !this.matches(ram, pageOff, offset, mode, second)) continue;
      this.last = n;
      return true;
    }
    return false;
  }

  /** The present record is installed in the page with this `CodePage.id`: counts it. */
  used(page: number): void {
    const s = this.stats;
    this.homes[this.last] = page;
    s.hits++;
    s.hitInsns += this.W[this.at + Rec.GUEST]! >>> 16;
    s.hitBytes += this.W[this.at + Rec.CODE]!;
  }

  /** True if an earlier run has found that a hot loop begins at the present record's block, or at one that looks like it. */
  get isHot(): boolean {
    return this.hot.size > 0 && this.hot.has(this.hash);
  }

  /** A hot loop begins at the block. */
  noteHot(ram: Uint8Array, block: { ram: number; offset: number; mode: number }): void {
    const h = this.hashAt(ram, block);
    if (this.hot.has(h) || this.hot.size >= MAX_HOT) return;
    this.addHot(h);
    this.newHot.push(h);
  }

  private hashAt(ram: Uint8Array, block: { ram: number; offset: number; mode: number }): number {
    return blockHash(block.offset, block.mode, blockPrefix(ram, block.ram, PAGE - block.offset));
  }

  private addHot(hash: number): void {
    this.hot.add(hash);
    this.mayBeHot[hash & 255] = 1;
  }

  /** Head of the page group that the present record is in, or -1. */
  get group(): number {
    return groupOf(this.W, this.at);
  }

  /** A number for the group, of which no other has the same. */
  groupId(g: number): number {
    return this.chunkOf[this.last]! * 0x1_0000_0000 + g;
  }

  /**
   * Compares the records of the group at word `g`, which the present record is in, with the page at `pageOff` in RAM.
   * @returns how many fit; `fits` says which
   */
  groupFits(pageOff: number, g: number): number {
    const { W, U8, ram, ramView, fits, at: present } = this;
    const n = W[g + Grp.BLOCKS]!;
    let count = 0;
    let slots = false;
    for (let k = 0, at = g + GROUP_HEAD; k < n; k++) {
      const place = W[at + Rec.PLACE]!;
      const next = at + W[at + Rec.LENGTH]!;
      let fit = Fits.NO;
      if ((W[at + Rec.COUNTS]! & 0xffff) === 0 && (place & 0xff_0000) === 0) {
        const bytes = W[at + Rec.GUEST]! & 0xffff;
        let pos = pageOff + (place & (PAGE - 1));
        let w = next - ((bytes + 3) >> 2);
        const end = w + (bytes >> 2);
        for (; w < end && ramView.getInt32(pos, true) === W[w]; w++) pos += 4;
        if (w === end) {
          let left = bytes & 3;
          for (let b = w * 4; left > 0 && ram[pos] === U8[b]; b++, pos++) left--;
          if (left === 0) fit = Fits.YES;
        }
      } else {
        this.at = at;
        if (this.matches(ram, pageOff, place & (PAGE - 1), W[at + Rec.MODE]!, noSecondPage)) {
          fit = Fits.WITH_SLOTS;
          slots = true;
        }
      }
      fits[k] = fit;
      if (fit !== Fits.NO) count++;
      at = next;
    }
    this.at = present;
    this.groupSlots = slots;
    // The present record's symbols have their slots where those of the others have been since.
    if (symbolCount(W, present) > 0) this.findSymbols(pageOff);
    return count;
  }

  /** Slots of the constants and symbols of the record at word `at`, which `groupFits` has found to need some. */
  slotsOf(pageOff: number, at: number): Int32Array {
    this.at = at;
    this.findSymbols(pageOff);
    return this.resolve();
  }

  /** Finds the slots of the present record's symbols again. */
  private findSymbols(pageOff: number): void {
    const { W, at } = this;
    if (!this.symbolsFit(this.ram, pageOff + (W[at + Rec.PLACE]! & (PAGE - 1)), W[at + Rec.GUEST]! & 0xffff)) throw new VmxError('ERR_INTERNAL', 'symbols of a page group have changed');
  }

  /** The records of the group at word `g` that `fits` names are installed: counts them. What follows the group is likely to be found next. */
  usedGroup(g: number): void {
    const { W, fits, stats: s } = this;
    this.last += W[g + Grp.BLOCKS]! - 1 - (W[this.at + Rec.GROUP]! >>> GROUP_SHIFT);
    s.groups++;
    for (let k = 0, at = g + GROUP_HEAD, n = W[g + Grp.BLOCKS]!; k < n; k++, at += W[at + Rec.LENGTH]!) {
      if (fits[k] === Fits.NO) continue;
      s.hits++;
      s.hitInsns += W[at + Rec.GUEST]! >>> 16;
      s.hitBytes += W[at + Rec.CODE]!;
    }
  }

  /** Numbers of those records of the present one's group that `fits` names and at which an earlier run has found hot loops. */
  hotInGroup(g: number): number[] {
    const into: number[] = [];
    if (this.hot.size === 0) return into;
    const { W, fits, hashes, mayBeHot } = this;
    const first = this.last - (W[this.at + Rec.GROUP]! >>> GROUP_SHIFT);
    for (let k = 0, n = W[g + Grp.BLOCKS]!; k < n; k++) {
      const h = hashes[first + k]!;
      if (fits[k] !== Fits.NO && mayBeHot[h & 255] !== 0 && this.hot.has(h)) into.push(k);
    }
    return into;
  }

  private enterRegion(hash: number, chunk: number, offset: number): void {
    const list = this.regions.get(hash);
    if (list === undefined) this.regions.set(hash, [chunk, offset]);
    else if (list.length < MAX_VERSIONS * 2) list.push(chunk, offset);
  }

  /**
   * Looks for the region that begins with the block, in the page at `pageOff` in RAM. Of several, which differ in what hints they
   * have, the one with the fewest: it was made when the others had missed.
   */
  findRegion(ram: Uint8Array, block: { ram: number; offset: number; mode: number }): boolean {
    const list = this.regions.get(this.hashAt(ram, block)) ?? [];
    let best = -1;
    let least = -1;
    for (let i = 0; i < list.length; i += 2) {
      if (!this.openAt(list[i]!, list[i + 1]!) || !this.beginsWith(block) || !regionFits(this.W, this.at, ram, block.ram - block.offset)) continue;
      const guest = guestAt(this.W, this.at);
      const off = bitsSet(this.W[guest + Reg.HINTS_OFF]!) + bitsSet(this.W[guest + Reg.ADDENDS_OFF]!);
      if (off <= least) continue;
      least = off;
      best = i;
    }
    return best >= 0 && this.openAt(list[best]!, list[best + 1]!);
  }

  private beginsWith(block: { offset: number; mode: number }): boolean {
    return (this.W[this.at + Rec.PLACE]! & (PAGE - 1)) === block.offset && this.W[this.at + Rec.MODE] === block.mode;
  }

  /** The writer for the record of a region just made; `addedRegion` is to be called then. */
  get regionWriter(): RecordWriter {
    return this.newRegions;
  }

  /** The record of a region that begins with the block has been appended at word `at` of `regionWriter`. */
  addedRegion(ram: Uint8Array, block: { ram: number; offset: number; mode: number }, at: number): void {
    const hash = this.hashAt(ram, block);
    const { W, n } = this.newRegions;
    const list = this.regions.get(hash) ?? [];
    for (let i = 0; i < list.length; i += 2) {
      // Made again although it is there: it was found by samples.
      if (this.openAt(list[i]!, list[i + 1]!) && sameWords(this.W, this.at, W, at, n - at)) {
        this.newRegions.n = at;
        return;
      }
    }
    this.newRegionIndex.push(hash, at);
  }

  /** Makes the record of entry n the present one. */
  private open(n: number): boolean {
    return this.openAt(this.chunkOf[n]!, this.offsetOf[n]!);
  }

  private openAt(chunk: number, offset: number): boolean {
    const W = this.payloads[chunk] ?? this.load(chunk);
    if (W === null) return false;
    this.W = W;
    this.U8 = this.bytes[chunk]!;
    this.at = offset;
    return true;
  }

  private load(chunk: number): Int32Array | null {
    const load = this.loaders[chunk]!;
    if (load === null) return null;
    this.loaders[chunk] = null;
    const W = load();
    if (W === null) {
      this.stats.refused++;
      return null;
    }
    this.stats.loaded++;
    this.payloads[chunk] = W;
    this.bytes[chunk] = new Uint8Array(W.buffer, W.byteOffset, W.byteLength);
    return W;
  }

  /** True if the present record is of the code in RAM. */
  private matches(ram: Uint8Array, pageOff: number, offset: number, mode: number, second: SecondPage): boolean {
    const W = this.W;
    const at = this.at;
    const place = W[at + Rec.PLACE]!;
    if ((place & (PAGE - 1)) !== offset || W[at + Rec.MODE] !== mode) return false;
    const total = W[at + Rec.GUEST]! & 0xffff;
    const spans = (place & RecFlag.SPANS) !== 0;
    const head = spans ? PAGE - offset : total;
    const guest = guestAt(W, at) * 4;
    const whole = head >> 2;
    const { ramView } = this;
    const word = guest >> 2;
    for (let k = 0; k < whole; k++) {
      const differ = ramView.getInt32(pageOff + offset + k * 4, true) ^ W[word + k]!;
      if (differ !== 0 && !this.symbolsCover(k * 4, differ)) return false;
    }
    if (!this.same(ram, pageOff + offset + whole * 4, guest + whole * 4, whole * 4, head)) return false;
    this.page2 = -1;
    if (spans) {
      // The bytes so far decide that the instruction needs more: to ask for them is what the decoder would do, too.
      this.page2 = second();
      if (this.page2 < 0 || !this.same(ram, this.page2, guest + head, head, total)) return false;
    }
    return symbolCount(W, at) === 0 || this.symbolsFit(ram, pageOff + offset, head);
  }

  /** Compares guest bytes `from` to `to` of the record, which lie at `pos` in RAM, but for the upper halves of symbols. */
  private same(ram: Uint8Array, pos: number, guest: number, from: number, to: number): boolean {
    const U8 = this.U8;
    const n = to - from;
    for (let k = 0; k < n; k++) {
      if (ram[pos + k] !== U8[guest + k] && !this.inSymbol(from + k)) return false;
    }
    return true;
  }

  /** True if the bytes of the word at `at` that are not zero in `differ` belong to upper halves of symbols. */
  private symbolsCover(at: number, differ: number): boolean {
    for (let k = 0; k < 4; k++) {
      if (((differ >>> (8 * k)) & 0xff) !== 0 && !this.inSymbol(at + k)) return false;
    }
    return true;
  }

  private inSymbol(byte: number): boolean {
    const W = this.W;
    const first = symbolsAt(W, this.at);
    const last = first + symbolCount(W, this.at);
    for (let i = first; i < last; i++) {
      const d = byte - (W[i]! & 0xffff);
      if (d === 2 || d === 3) return true;
    }
    return false;
  }

  /** Gives every symbol its value in RAM; false if the translator would not have made symbols of these values. */
  private symbolsFit(ram: Uint8Array, pos: number, head: number): boolean {
    const W = this.W;
    const first = symbolsAt(W, this.at);
    const n = symbolCount(W, this.at);
    const slots = this.slots;
    for (let k = 0; k < n; k++) {
      const w = W[first + k]!;
      const at = w & 0xffff;
      const value =
        at + 4 <= head
          ? ram[pos + at]! | (ram[pos + at + 1]! << 8) | (ram[pos + at + 2]! << 16) | (ram[pos + at + 3]! << 24)
          : this.spanning(ram, pos, at, head);
      if (!looksLikeAddress(value)) return false;
      const s = this.pool.symbol(value);
      if (s < 0) return false;
      // Fields that had the same value share a slot: they have to be the same here.
      const same = w >>> 16;
      if (same < k && slots[OPERAND_SYMBOL + same] !== s) return false;
      slots[OPERAND_SYMBOL + k] = s;
    }
    return true;
  }

  private spanning(ram: Uint8Array, pos: number, at: number, head: number): number {
    let v = 0;
    for (let k = 0; k < 4; k++) v |= ram[at + k < head ? pos + at + k : this.page2 + at + k - head]! << (8 * k);
    return v;
  }

  /** Slots of the present record's constants; those of its symbols are known since it was found. */
  resolve(): Int32Array {
    const W = this.W;
    const n = W[this.at + Rec.COUNTS]! & 0xffff;
    const pool = this.pool;
    let p = this.at + REC_HEAD;
    for (let k = 0; k < n; k++, p += 2) this.slots[k] = pool.slot(W[p]!, W[p + 1]!);
    return this.slots;
  }

  /** Where the next record goes: write it there, then call `added`. */
  get writer(): RecordWriter {
    if (this.outChunk < 0) this.outChunk = this.newChunk(null, null);
    return this.out;
  }

  /** A record of the block that `find` did not find has been appended at word `at` of the writer. `page`: `CodePage.id`, 0 if it is in two. */
  added(at: number, page: number): void {
    this.outIndex.push(this.hash, at);
    this.payloads[this.outChunk] = this.out.W;
    this.bytes[this.outChunk] = this.out.U8;
    this.enter(this.hash, this.outChunk, at);
    this.homes[this.entries - 1] = page;
    this.stats.added++;
    if (this.out.n >= CHUNK_WORDS) this.flush();
  }

  /** Gives what was added to the store. */
  flush(): void {
    if (this.newHot.length > 0) this.store.writeHot(Int32Array.from(this.newHot));
    this.ownHot.push(...this.newHot);
    this.newHot = [];
    if (this.newRegionIndex.length > 0) {
      const regions = { index: Int32Array.from(this.newRegionIndex), payload: this.newRegions.W.slice(0, this.newRegions.n) };
      this.store.writeRegions(regions.index, regions.payload);
      this.ownRegions.push(regions);
      this.newRegions.n = 0;
      this.newRegionIndex = [];
    }
    if (this.outIndex.length === 0) return;
    // Shared memory, so that V8 does not collect garbage for the sake of what stays.
    const payload = new Int32Array(new SharedArrayBuffer(this.out.n * 4));
    payload.set(this.out.W.subarray(0, this.out.n));
    this.store.write(Int32Array.from(this.outIndex), payload);
    this.payloads[this.outChunk] = payload;
    this.bytes[this.outChunk] = new Uint8Array(payload.buffer);
    this.out.n = 0;
    this.outIndex = [];
    this.outChunk = -1;
  }

  /**
   * Compares the present record, which `find` found in RAM, with one made anew of the same code. They are the same words, but
   * for the values of symbols in the guest bytes.
   */
  compare(other: RecordWriter): boolean {
    if (this.group >= 0) {
      const alone = new RecordWriter();
      extract(this.W, this.at, alone);
      this.W = alone.W;
      this.U8 = alone.U8;
      this.at = 0;
    }
    const W = this.W;
    const at = this.at;
    this.stats.verified++;
    const n = W[at + Rec.LENGTH]!;
    const guest = guestAt(W, at);
    const code = codeAt(W, at);
    let equal = other.n === n;
    for (let i = 0; equal && i < n; i++) {
      if (W[at + i] === other.W[i]) continue;
      equal = at + i >= guest && at + i < code && this.same(other.U8, i * 4, (at + i) * 4, (at + i - guest) * 4, (at + i - guest) * 4 + 4);
    }
    return equal;
  }

  /** `compare` has found a difference, or the record could not be made again. */
  different(block: { ram: number; mode: number }): void {
    this.stats.different++;
    this.onDifferent(`page offset 0x${(block.ram & 0xfff).toString(16)}, mode 0x${block.mode.toString(16)}`);
  }

  /**
   * Puts the records that were used on their own together by page, so that later runs bring in a page at a time. What this machine has
   * written is written anew. For the end of a run.
   */
  regroup(): void {
    this.flush();
    const groups = this.chooseGroups();
    if (groups.reduce((n, list) => n + list.length, 0) < REGROUP) return;
    this.store.startAnew();
    if (this.ownHot.length > 0) this.store.writeHot(Int32Array.from(this.ownHot));
    for (const r of this.ownRegions) this.store.writeRegions(r.index, r.payload);
    const out = new RecordWriter();
    let index: number[] = [];
    const emit = (): void => {
      if (out.n === 0) return;
      this.store.write(Int32Array.from(index), out.W.slice(0, out.n));
      out.n = 0;
      index = [];
    };
    const done = new Uint8Array(this.entries);
    const places: number[] = [];
    for (const list of groups) {
      places.length = 0;
      writeGroup(list, out, places);
      list.forEach((r, k) => {
        done[r.n] = 1;
        index.push(this.hashes[r.n]!, places[k]!);
      });
      if (out.n >= CHUNK_WORDS) emit();
    }
    for (let n = this.stats.known; n < this.entries; n++) {
      if (done[n] !== 0 || !this.open(n)) continue;
      const words = this.W[this.at + Rec.LENGTH]!;
      out.reserve(words);
      out.W.set(this.W.subarray(this.at, this.at + words), out.n);
      index.push(this.hashes[n]!, out.n);
      out.n += words;
      if (out.n >= CHUNK_WORDS) emit();
    }
    emit();
  }

  /** Records that were used on their own and are in no group, by page; the entry of each is with it. */
  private chooseGroups(): (RecordAt & { n: number })[][] {
    const pages = new Map<number, (RecordAt & { n: number })[]>();
    for (let n = 0; n < this.entries; n++) {
      const home = this.homes[n]!;
      if (home === 0 || !this.open(n) || this.group >= 0) continue;
      const r = { W: this.W, at: this.at, n };
      if (n < this.stats.known && this.inGroup(this.hashes[n]!)) continue;
      const list = pages.get(home);
      if (list === undefined) pages.set(home, [r]);
      else list.push(r);
    }
    const chooser = new GroupChooser();
    const groups: (RecordAt & { n: number })[][] = [];
    for (const list of pages.values()) {
      let left = list;
      for (let k = 0; left.length >= SMALLEST_GROUP && k < GROUPS_OF_PAGE; k++) {
        const { chosen, rest } = chooser.choose(left);
        if (chosen.length >= SMALLEST_GROUP) groups.push(chosen);
        left = chosen.length > 0 ? rest : rest.slice(1);
      }
    }
    return groups;
  }

  /** True if an entry with this hash is of a record in a group: it stands for others that are alike. */
  private inGroup(hash: number): boolean {
    const mask = this.table.length - 1;
    for (let i = hash & mask; this.table[i] !== 0; i = (i + 1) & mask) {
      const n = this.table[i]! - 1;
      if (this.hashes[n] === hash && this.open(n) && this.group >= 0) return true;
    }
    return false;
  }

  /** Every record there is, with its payload loaded; for tools. */
  *records(): Generator<{ W: Int32Array; at: number }> {
    for (let n = 0; n < this.entries; n++) if (this.open(n)) yield { W: this.W, at: this.at };
  }
}
