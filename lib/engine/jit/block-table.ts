/**
 * All blocks, as rows of numbers in one typed array, found by what they are: RAM page, page offset and mode (docs/adr/0048). There are
 * tens of thousands, most of which the engine meets once, when they come from the code cache: as objects they would be the larger part
 * of what the garbage collector has to copy. `Block` objects are made for those that somebody wants to see as one.
 */
import { Fits } from '../aot/code-cache.js';
import { GROUP_HEAD, Grp, recordsOfGroup } from '../aot/page-group.js';
import { Rec } from '../aot/record.js';
import { CODE_GRANULE } from '../cpu.js';
import { Block, blockKey } from './block.js';

/** Words of a row: a cache line. */
export const ROW = 16;
/** Fields of a row. */
export const enum Bf {
  /** RAM page (offset / 4096). */
  PAGE = 0,
  /** `blockKey` of page offset and mode. */
  KEY = 1,
  /** Host code offsets of the two entries, -1 if there is none. */
  ENTRY_A = 2,
  ENTRY_B = 3,
  /** Guest bytes | guest instructions << 16. */
  EXTENT = 4,
  /** Page offsets of the first byte it was made of | past the last one in its first page << 16. */
  RANGE = 5,
  /** Bytes of host code. */
  HOST = 6,
  /** First of the chain sites that jump here (`ChainSites`), 0 if there is none. */
  INCOMING = 7,
  /** RAM page of its tail if it spans two, else -1. */
  PAGE2 = 9,
  /** `BlockIs` bits, MMU index << MMU_SHIFT. */
  STATE = 10,
  /** Neighbours in the list of the page's blocks, 0 = none. */
  NEXT = 11,
  PREV = 12,
  /** Next row of the same hash, or next free row. */
  CHAIN = 13,
  /** Changes when the block goes: who has noted a row with its turn knows whether the block is still there. */
  TURN = 14,
}
export const enum BlockIs {
  VALID = 1,
  REGION = 2,
  /** It is in `CodePage.targets`. */
  TARGET = 4,
  /** It has been entered in a jump cache. */
  ENTERED = 8,
}
export const MMU_SHIFT = 8;
const PAGE = 4096;
const GRANULE_SHIFT = 31 - Math.clz32(CODE_GRANULE);

/** Words of a target. */
export const TARGET = 3;

/** Blocks of a page that jumps have led to from elsewhere more than once, but for those that reach into the next page: `Bf.KEY` and host address of each. */
export class Targets {
  W = new Int32Array(8 * TARGET);
  /** Words in use. */
  length = 0;

  add(key: number, address: number): void {
    const at = this.length;
    if (at === this.W.length) {
      const W = new Int32Array(at * 2);
      W.set(this.W);
      this.W = W;
    }
    this.W[at] = key;
    this.W[at + 1] = address | 0;
    this.W[at + 2] = Math.floor(address / 0x1_0000_0000);
    this.length = at + TARGET;
  }

  remove(key: number): void {
    const { W } = this;
    for (let at = 0; at < this.length; at += TARGET) {
      if (W[at] !== key) continue;
      this.length -= TARGET;
      W.copyWithin(at, this.length, this.length + TARGET);
      return;
    }
  }
}

/**
 * First size: more than nearly every guest needs. Memory that no row has touched takes none of the host's, and V8 takes it for granted that a table is never
 * replaced: when one is, all code that uses it has to be optimised again.
 */
const ROWS = 1 << 17;

/** What is known of a RAM page with blocks. A block that spans two pages is in the list of its first and a tail of its second. */
export class CodePage {
  /** `CodeCache.groupId` of the page groups that have been brought in. */
  groups: number[] | null = null;
  /** First row of the list, 0 = none, and how many there are. */
  first = 0;
  n = 0;
  /** Rows of blocks that begin in the page before and reach into this one. */
  tails: number[] | null = null;
  /** Blocks that have been entered in a jump cache twice. */
  targets: Targets | null = null;
  /** How often a write has taken its last block. */
  emptied = 0;
  /** Writes since then. */
  idle = 0;

  /** @param id from 1 on, of no other page before or after */
  constructor(readonly id: number) {}
}

export class BlockTable {
  /** The rows, from 1 on; replaced when it grows. */
  R = new Int32Array(ROW * ROWS);
  readonly pages = new Map<number, CodePage>();
  /** Rows in use and before: the next new one. */
  private n = 1;
  private free = 0;
  private heads = new Int32Array(ROWS);
  /** 32 less the binary logarithm of the length of `heads`. */
  private shift = Math.clz32(ROWS) + 1;
  private readonly views = new Map<number, Block>();
  /** Of the group added last, by page offset: row of its block that begins there, or a smaller number. */
  readonly groupRows = new Int32Array(PAGE);
  /** Where its code begins. */
  groupStart = 0;
  /** Granules of the page that its blocks cover: bits for the code map. */
  readonly groupMap = new Int32Array(PAGE / CODE_GRANULE / 32);

  private hash(page: number, key: number): number {
    return Math.imul(Math.imul(page, 0x9e37_79b1) ^ key, 0x85eb_ca6b) >>> this.shift;
  }

  /** Row of the block with this key in a RAM page, 0 if there is none. */
  find(page: number, key: number): number {
    const { R } = this;
    let row = this.heads[this.hash(page, key)]!;
    while (row !== 0) {
      const p = row * ROW;
      if (R[p + Bf.KEY] === key && R[p + Bf.PAGE] === page) return row;
      row = R[p + Bf.CHAIN]!;
    }
    return 0;
  }

  /** A row for a block of host code that begins at page offset `offset` of the page; the caller fills in entries and PAGE2. */
  add(page: number, info: CodePage, offset: number, mode: number, mmuIdx: number, extent: number): number {
    const key = blockKey(offset, mode);
    let row = this.free;
    if (row !== 0) this.free = this.R[row * ROW + Bf.CHAIN]!;
    else {
      row = this.n++;
      if (row * ROW >= this.R.length) this.resize(this.R.length * 2, row);
    }
    const { R } = this;
    const p = row * ROW;
    const h = this.hash(page, key);
    R[p + Bf.PAGE] = page;
    R[p + Bf.KEY] = key;
    R[p + Bf.ENTRY_A] = -1;
    R[p + Bf.ENTRY_B] = -1;
    R[p + Bf.EXTENT] = extent;
    R[p + Bf.RANGE] = offset | (Math.min(offset + (extent & 0xffff), PAGE) << 16);
    R[p + Bf.HOST] = 0;
    R[p + Bf.INCOMING] = 0;
    R[p + Bf.PAGE2] = -1;
    R[p + Bf.STATE] = BlockIs.VALID | (mmuIdx << MMU_SHIFT);
    const first = info.first;
    R[p + Bf.NEXT] = first;
    R[p + Bf.PREV] = 0;
    if (first !== 0) R[first * ROW + Bf.PREV] = row;
    info.first = row;
    info.n++;
    R[p + Bf.CHAIN] = this.heads[h]!;
    this.heads[h] = row;
    return row;
  }

  /** Takes those records of the page group at word g of W out of `fits` which the page has blocks for. @returns how many */
  known(page: number, W: Int32Array, g: number, fits: Uint8Array): number {
    let n = 0;
    for (let k = 0, at = g + GROUP_HEAD; k < W[g + Grp.BLOCKS]!; k++, at += W[at + Rec.LENGTH]!) {
      if (fits[k] === Fits.NO || this.find(page, blockKey(W[at + Rec.PLACE]! & (PAGE - 1), W[at + Rec.MODE]!)) === 0) continue;
      fits[k] = Fits.NO;
      n++;
    }
    return n;
  }

  /**
   * Rows, one after the other, for those records of the page group at word g of W that `fits` names; their code lies at `start`. None of
   * them is there yet.
   * @returns the first row
   */
  addGroup(page: number, info: CodePage, W: Int32Array, g: number, start: number, fits: Uint8Array, mmuIdx: number): number {
    const n = W[g + Grp.BLOCKS]!;
    while ((this.n + n) * ROW > this.R.length) this.resize(this.R.length * 2, this.n);
    const { R, heads, shift, groupRows, groupMap } = this;
    const code = g + W[g + Grp.CODE_AT]!;
    const pageHash = Math.imul(page, 0x9e37_79b1);
    const state = BlockIs.VALID | (mmuIdx << MMU_SHIFT);
    const firstRow = this.n;
    let row = firstRow;
    let next = info.first;
    groupMap.fill(0);
    this.groupStart = start;
    for (let k = 0, at = g + GROUP_HEAD; k < n; k++) {
      if (fits[k] !== Fits.NO) {
        const p = row * ROW;
        const offset = W[at + Rec.PLACE]! & (PAGE - 1);
        const key = offset | (W[at + Rec.MODE]! << 12);
        const guest = W[at + Rec.GUEST]!;
        const end = offset + (guest & 0xffff);
        const own = start + ((at + W[at + Rec.CODE_AT]! - code) << 2);
        const h = Math.imul(pageHash ^ key, 0x85eb_ca6b) >>> shift;
        R[p + Bf.PAGE] = page;
        R[p + Bf.KEY] = key;
        R[p + Bf.ENTRY_A] = own;
        R[p + Bf.ENTRY_B] = own + W[at + Rec.ENTRY_B]!;
        R[p + Bf.EXTENT] = guest;
        R[p + Bf.RANGE] = offset | (end << 16);
        R[p + Bf.HOST] = W[at + Rec.CODE]!;
        R[p + Bf.INCOMING] = 0;
        R[p + Bf.PAGE2] = -1;
        R[p + Bf.STATE] = state;
        R[p + Bf.NEXT] = next;
        R[p + Bf.PREV] = 0;
        if (next !== 0) R[next * ROW + Bf.PREV] = row;
        R[p + Bf.CHAIN] = heads[h]!;
        heads[h] = row;
        groupRows[offset] = row;
        for (let c = offset >> GRANULE_SHIFT, last = (end - 1) >> GRANULE_SHIFT; c <= last; c++) groupMap[c >> 5]! |= 1 << (c & 31);
        next = row;
        row++;
      }
      at += W[at + Rec.LENGTH]!;
    }
    info.first = next;
    info.n += row - firstRow;
    this.n = row;
    return firstRow;
  }

  /** Row of record k, which has become a block, of the group at word g of W added last. */
  groupRow(W: Int32Array, g: number, k: number): number {
    return this.groupRows[W[recordsOfGroup(W, g)[k]! + Rec.PLACE]! & (PAGE - 1)]!;
  }

  /** Past the last row that has been used. */
  get end(): number {
    return this.n;
  }

  /** A row for the block. */
  addBlock(page: number, info: CodePage, b: Block): number {
    const row = this.add(page, info, b.offset, b.mode, b.mmuIdx, b.bytes | (b.insns << 16));
    const { R } = this;
    const p = row * ROW;
    R[p + Bf.ENTRY_A] = b.entryA;
    R[p + Bf.ENTRY_B] = b.entryB;
    R[p + Bf.HOST] = b.hostBytes;
    R[p + Bf.RANGE] = (b.from & (PAGE - 1)) | ((b.to - (b.ram - b.offset)) << 16);
    if (b.page2 >= 0) R[p + Bf.PAGE2] = b.page2 / PAGE;
    if (b.region) R[p + Bf.STATE]! |= BlockIs.REGION;
    b.row = row;
    return row;
  }

  /** The block of a row, as an object: the same one as long as it is valid. */
  view(row: number): Block {
    let b = this.views.get(row);
    if (b !== undefined) return b;
    const { R } = this;
    const p = row * ROW;
    const key = R[p + Bf.KEY]!;
    const extent = R[p + Bf.EXTENT]!;
    const pageOff = R[p + Bf.PAGE]! * PAGE;
    b = new Block(pageOff + (key & (PAGE - 1)), key >>> 12, R[p + Bf.STATE]! >> MMU_SHIFT, extent & 0xffff, extent >>> 16);
    b.row = row;
    b.entryA = R[p + Bf.ENTRY_A]!;
    b.entryB = R[p + Bf.ENTRY_B]!;
    b.hostBytes = R[p + Bf.HOST]!;
    if (R[p + Bf.PAGE2]! >= 0) b.page2 = R[p + Bf.PAGE2]! * PAGE;
    this.views.set(row, b);
    return b;
  }

  /** Makes `view` return this object for its row: it knows what rows do not. */
  keepView(b: Block): void {
    this.views.set(b.row, b);
  }

  /** True if the block is valid still. `b` is what `view` has returned. */
  holds(b: Block): boolean {
    return this.views.get(b.row) === b;
  }

  /** A jump has led to the block from elsewhere, and its host address was not known: the second time it becomes one of `targetsOf`. */
  jumpedTo(row: number, address: number): void {
    const { R } = this;
    const p = row * ROW;
    const state = R[p + Bf.STATE]!;
    if ((state & BlockIs.TARGET) !== 0 || R[p + Bf.PAGE2]! >= 0) return;
    if ((state & BlockIs.ENTERED) === 0) {
      R[p + Bf.STATE] = state | BlockIs.ENTERED;
      return;
    }
    R[p + Bf.STATE] = state | BlockIs.TARGET;
    (this.pages.get(R[p + Bf.PAGE]!)!.targets ??= new Targets()).add(R[p + Bf.KEY]!, address);
  }

  /** What jumps lead to in a RAM page. */
  targetsOf(page: number): Targets | null {
    return this.pages.get(page)?.targets ?? null;
  }

  valid(row: number): boolean {
    return (this.R[row * ROW + Bf.STATE]! & BlockIs.VALID) !== 0;
  }

  /**
   * The block is not found any more. Its row is used again only if it had no host code: what is known of generated code, which may still
   * run, goes by rows until all is dropped.
   */
  remove(row: number): void {
    const { R } = this;
    const p = row * ROW;
    const page = R[p + Bf.PAGE]!;
    R[p + Bf.STATE]! &= ~BlockIs.VALID;
    const h = this.hash(page, R[p + Bf.KEY]!);
    const after = R[p + Bf.CHAIN]!;
    let at = this.heads[h]!;
    if (at === row) this.heads[h] = after;
    else {
      while (R[at * ROW + Bf.CHAIN] !== row) at = R[at * ROW + Bf.CHAIN]!;
      R[at * ROW + Bf.CHAIN] = after;
    }
    const info = this.pages.get(page)!;
    const next = R[p + Bf.NEXT]!;
    const prev = R[p + Bf.PREV]!;
    if (prev !== 0) R[prev * ROW + Bf.NEXT] = next;
    else info.first = next;
    if (next !== 0) R[next * ROW + Bf.PREV] = prev;
    info.n--;
    if ((R[p + Bf.STATE]! & BlockIs.TARGET) !== 0) info.targets!.remove(R[p + Bf.KEY]!);
    if (R[p + Bf.PAGE2]! >= 0) {
      const tails = this.pages.get(R[p + Bf.PAGE2]!)?.tails ?? null;
      const i = tails === null ? -1 : tails.indexOf(row);
      if (i >= 0) tails!.splice(i, 1);
    }
    this.views.delete(row);
    R[p + Bf.TURN]!++;
    if (R[p + Bf.ENTRY_A]! >= 0) return;
    R[p + Bf.CHAIN] = this.free;
    this.free = row;
  }

  /** Forgets all blocks and pages. */
  clear(): void {
    this.n = 1;
    this.free = 0;
    this.heads.fill(0);
    this.views.clear();
    this.groupRows.fill(0);
    this.pages.clear();
  }

  /** @param used rows below this one are in use */
  private resize(length: number, used: number): void {
    const R = new Int32Array(length);
    R.set(this.R.subarray(0, used * ROW));
    this.R = R;
    const heads = (this.heads = new Int32Array(length / ROW));
    this.shift = Math.clz32(heads.length) + 1;
    for (let row = 1; row < used; row++) {
      const p = row * ROW;
      if ((R[p + Bf.STATE]! & BlockIs.VALID) === 0) continue;
      const h = this.hash(R[p + Bf.PAGE]!, R[p + Bf.KEY]!);
      R[p + Bf.CHAIN] = heads[h]!;
      heads[h] = row;
    }
  }
}
