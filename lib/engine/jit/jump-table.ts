/**
 * One table of the jump cache: host code by linear address, direct-mapped, in the state region where generated code probes it. What is filled is listed, so
 * that emptying a table costs what it holds; and which pages it has entries of, and where in RAM they were, so that it can be told what still holds after the guest has
 * flushed its TLB.
 *
 * An address is only looked up in the entry that it belongs to. So an entry with an address that belongs elsewhere is empty, as nearly all of a table
 * of zeros is, and one word makes it so.
 */
import { GLOBAL_PAGE } from '../cpu.js';
import { JC_BASE, JC_ENTRIES, JC_FOLD, JC_TABLE_BYTES } from '../state.js';
import { TARGET, type Targets } from './block-table.js';

const PAGE = 4096;
const PAGES = 4096;
/** Entries from which on all of the table is filled with zeros instead. */
const MANY = JC_ENTRIES / 4;
/** Most pages of a table, most of them with one mark, and most blocks that reach into another page: a guest can have any number of each. */
const MOST_PAGES = 8192;
const MOST_MARKED = 32;
const MOST_SPANS = 4096;
/** Words of a page's record in `P`. */
const RECORD = 5;
const enum Pf {
  /** Linear address, two words. */
  LO = 0,
  HI = 1,
  /** RAM page, or -1: the table has no entries of the linear page. */
  RAM = 2,
  /** Position of the next record of the same mark, or -1. */
  NEXT = 3,
  /** `Page` bits. */
  FLAGS = 4,
}
const enum Page {
  /** All its targets have been entered. */
  ALL = 1,
  /** Whether its entries hold depends on more than translation. */
  OTHER = 2,
}

const entryOf = (lo: number): number => (lo ^ (lo >>> JC_FOLD)) & (JC_ENTRIES - 1);
/** With bits 31..28, by which a kernel's code differs from that of programs. */
const markOf = (lo: number): number => ((lo >>> 12) ^ (lo >>> 20 & 0xf00)) & (PAGES - 1);

/** What the interpreter knows of a table's entries: the rows of their blocks, with `Bf.TURN`. */
export class Rows {
  readonly row = new Int32Array(JC_ENTRIES);
  readonly turn = new Int32Array(JC_ENTRIES);
}

/** Why a table is aside. */
export const enum Aside {
  NO = 0,
  /** It is of an address space that comes back as it was. */
  SPACE = 1,
  /** It is of another mode. */
  MODE = 2,
  /** The guest has flushed its translations: they have to be looked at again. */
  SUSPECT = 3,
}

export class JumpTable {
  /** It may hold entries of global pages, and of others. */
  global = false;
  nonGlobal = false;
  /** It may hold entries. */
  used = false;
  /** What is only true while it is aside: of what mode its blocks are, of what MMU index it is, its number among those of its kind, and when it was put aside (counted up). */
  aside = Aside.NO;
  mode = -1;
  place = 0;
  key = 0;
  since = 0;
  /** The address space in which it was filled (`GuestCpu.addressSpace`). */
  space = -1;
  /** Without generated code only. */
  rows: Rows | null = null;
  /** Word of the state region at which it begins. Entry: address (two words), host address. */
  private readonly base: number;
  /** By page number modulo PAGES: position of a record in `P`, plus 1. */
  private readonly marks = new Int32Array(PAGES);
  private P = new Int32Array(64 * RECORD);
  private pages = 0;
  /** Filled entries; some may have been emptied since, or be listed twice. Full: it may not have all. */
  private readonly list = new Uint16Array(JC_ENTRIES);
  private n = 0;
  /** Those of blocks that reach into the next page. */
  private spans: number[] = [];

  /**
   * A table of zeros.
   * @param number place in the state region
   */
  constructor(private readonly V: Int32Array, readonly number: number) {
    this.base = (JC_BASE + number * JC_TABLE_BYTES) >> 2;
  }

  /** Makes a table of zeros empty: before code probes it for the first time. What no guest needs is not touched. */
  begin(): void {
    this.V[this.base] = 1;
  }

  /** Word of the entry for hi:lo, -1 if something else or nothing is there. */
  find(lo: number, hi: number): number {
    const { V } = this;
    const e = this.base + entryOf(lo) * 4;
    return V[e] === lo && V[e + 1] === hi ? e : -1;
  }

  /** The entry that an address belongs to: index in `Rows`. */
  index(lo: number): number {
    return entryOf(lo);
  }

  /** Before `put`, and before it is said what kind of page that is: a table that knows too many pages is emptied. */
  makeRoom(lo: number): void {
    let marked = 0;
    for (let at = this.marks[markOf(lo)]! - 1; at >= 0; at = this.P[at + Pf.NEXT]!) marked++;
    if (marked >= MOST_MARKED || this.pages >= MOST_PAGES || this.spans.length >= MOST_SPANS) this.clear();
  }

  /**
   * @param to host address
   * @param ram page of RAM in which the block begins
   * @param spans it reaches into the next page
   * @param whole that it may be jumped to follows from the page's translation
   * @returns true if the page's targets have not been entered
   */
  put(lo: number, hi: number, to: number, ram: number, spans: boolean, whole: boolean): boolean {
    const { V } = this;
    const at = this.page(lo & ~(PAGE - 1), hi, ram);
    const idx = entryOf(lo);
    const e = this.base + idx * 4;
    if (entryOf(V[e]!) !== idx) {
      if (this.n < JC_ENTRIES) this.list[this.n++] = idx;
      this.used = true;
    }
    if (spans) this.spans.push(idx);
    V[e] = lo;
    V[e + 1] = hi;
    V[e + 2] = to | 0;
    V[e + 3] = Math.floor(to / 0x1_0000_0000);
    if (!whole) this.P[at + Pf.FLAGS]! |= Page.OTHER;
    return (this.P[at + Pf.FLAGS]! & Page.ALL) === 0;
  }

  /** Position of the record of a linear page, -1 if there is none. */
  private findPage(page: number, hi: number): number {
    const { P } = this;
    let at = this.marks[markOf(page)]! - 1;
    while (at >= 0 && (P[at + Pf.LO] !== page || P[at + Pf.HI] !== hi)) at = P[at + Pf.NEXT]!;
    return at;
  }

  /** Position of the record of a linear page that lies in a RAM page. */
  private page(page: number, hi: number, ram: number): number {
    let at = this.findPage(page, hi);
    if (at < 0) {
      at = this.pages * RECORD;
      if (at === this.P.length) {
        const P = new Int32Array(at * 2);
        P.set(this.P);
        this.P = P;
      }
      this.pages++;
      const mark = markOf(page);
      this.P[at + Pf.LO] = page;
      this.P[at + Pf.HI] = hi;
      this.P[at + Pf.NEXT] = this.marks[mark]! - 1;
      this.P[at + Pf.RAM] = -1;
      this.marks[mark] = at + 1;
    }
    const { P } = this;
    if (P[at + Pf.RAM] === ram) return at;
    // The guest has changed the translation and not said so yet.
    if (P[at + Pf.RAM] !== -1) this.dropPage(page);
    P[at + Pf.RAM] = ram;
    P[at + Pf.FLAGS] = 0;
    return at;
  }

  /** Enters the targets of a page that are of a mode, where the place is empty. @param lo any address in it; an entry for one has been put */
  putPage(lo: number, hi: number, targets: Targets | null, mode: number): void {
    const first = lo & ~(PAGE - 1);
    this.P[this.findPage(first, hi) + Pf.FLAGS]! |= Page.ALL;
    if (targets === null) return;
    const { V, base, list } = this;
    const { W, length } = targets;
    let { n } = this;
    for (let i = 0; i < length; i += TARGET) {
      const key = W[i]!;
      if (key >>> 12 !== mode) continue;
      const at = first | (key & (PAGE - 1));
      const idx = entryOf(at);
      const e = base + idx * 4;
      // Nothing there makes way for a guess.
      if (entryOf(V[e]!) === idx) continue;
      if (n < JC_ENTRIES) list[n++] = idx;
      V[e] = at;
      V[e + 1] = hi;
      V[e + 2] = W[i + 1]!;
      V[e + 3] = W[i + 2]!;
    }
    this.n = n;
  }

  /** Empties the entries for the linear page `page` (low word). They are all in one stretch of PAGE entries. */
  dropPage(page: number): void {
    const { P, V } = this;
    let any = false;
    for (let at = this.marks[markOf(page)]! - 1; at >= 0; at = P[at + Pf.NEXT]!) {
      if (P[at + Pf.LO] !== page || P[at + Pf.RAM] === -1) continue;
      P[at + Pf.RAM] = -1;
      any = true;
    }
    if (!any) return;
    let e = this.base + (entryOf(page) & ~(PAGE - 1)) * 4;
    for (const end = e + PAGE * 4; e < end; e += 4) {
      const lo = V[e]!;
      if ((lo & ~(PAGE - 1)) === page && this.base + entryOf(lo) * 4 === e) V[e] = lo ^ 1;
    }
  }

  /**
   * Of a table aside: empties the entries of pages that are not where they were.
   * @param look as `GuestCpu.codePage`
   */
  verify(look: (lo: number, hi: number) => number): void {
    const { P } = this;
    let gone = 0;
    this.global = this.nonGlobal = false;
    for (let at = 0, end = this.pages * RECORD; at < end; at += RECORD) {
      const ram = P[at + Pf.RAM]!;
      if (ram === -1) continue;
      const now = (P[at + Pf.FLAGS]! & Page.OTHER) !== 0 ? -1 : look(P[at + Pf.LO]!, P[at + Pf.HI]!);
      if (now === -1 || (now & ~GLOBAL_PAGE) !== ram) {
        P[at + Pf.RAM] = -1;
        gone++;
      } else if ((now & GLOBAL_PAGE) !== 0) {
        this.global = true;
      } else {
        this.nonGlobal = true;
      }
    }
    if ((!this.global && !this.nonGlobal) || this.n === JC_ENTRIES) {
      this.clear();
      return;
    }
    // Where the second page is has not been looked at.
    for (const idx of this.spans) this.empty(idx);
    this.spans = [];
    if (gone === 0) return;
    const { V, base, list, n } = this;
    for (let i = 0; i < n; i++) {
      const idx = list[i]!;
      const lo = V[base + idx * 4]!;
      if (entryOf(lo) === idx && P[this.findPage(lo & ~(PAGE - 1), V[base + idx * 4 + 1]!) + Pf.RAM] === -1) V[base + idx * 4] = lo ^ 1;
    }
  }

  private empty(idx: number): void {
    const e = this.base + idx * 4;
    const lo = this.V[e]!;
    if (entryOf(lo) === idx) this.V[e] = lo ^ 1;
  }

  clear(): void {
    if (!this.used) return;
    this.used = this.nonGlobal = this.global = false;
    const { V, base, list, n, P, marks } = this;
    for (let at = 0, end = this.pages * RECORD; at < end; at += RECORD) marks[markOf(P[at + Pf.LO]!)] = 0;
    this.n = this.pages = 0;
    this.spans = [];
    if (n >= MANY) {
      V.fill(0, base, base + (JC_TABLE_BYTES >> 2));
      this.begin();
      return;
    }
    for (let i = 0; i < n; i++) {
      const idx = list[i]!;
      const lo = V[base + idx * 4]!;
      if (entryOf(lo) === idx) V[base + idx * 4] = lo ^ 1;
    }
  }
}
