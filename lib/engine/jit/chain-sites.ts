/**
 * Direct jumps that can be patched to go straight to another block of the same page. There are two for nearly every block, so they are
 * rows of typed arrays, numbered from 1 in the order of their positions in the exec region (code is placed upwards until all is dropped).
 */
import { Fits } from '../aot/code-cache.js';
import { GROUP_HEAD, Grp } from '../aot/page-group.js';
import { POSITION_MASK, Rec, REC_HEAD, SITE_LINKED, SITE_MASK, SITE_SHIFT, siteCount, sitesAt } from '../aot/record.js';
import { Bf, BlockIs, type BlockTable, ROW } from './block-table.js';
import { SITE_CHANGES_MODE, type HostCode } from './host-code.js';

/** First size of the tables: as in `BlockTable`, more than nearly every guest needs. */
const ROWS = 1 << 18;
/** Bits of `state`. */
const enum Is {
  /** It leads to blocks of another mode. */
  CHANGES_MODE = 1,
  /** It is patched and in its target's list. */
  CHAINED = 2,
}

export class ChainSites {
  /** Position of the jump: what the host code calls the site. */
  private at = new Int32Array(ROWS);
  /** What the host code needs to undo the patch. */
  private cold = new Int32Array(ROWS);
  private state = new Uint8Array(ROWS);
  /** The next site that jumps to the same block, 0 = none. */
  private next = new Int32Array(ROWS);
  /** Row of the block it is in. */
  private owner = new Int32Array(ROWS);
  /** Page offset it goes to, with SITE_CHANGES_MODE. */
  private offset = new Int16Array(ROWS);
  private n = 0;

  constructor(private readonly host: () => HostCode | null, private readonly blocks: BlockTable) {}

  /** Row of the site added last. */
  get last(): number {
    return this.n;
  }

  /** Page offset that the site in a row goes to, with SITE_CHANGES_MODE. */
  target(row: number): number {
    return this.offset[row]!;
  }

  /**
   * @param owner row of the block
   * @param triples as `HostCode.compile` returns them, positions ascending and above all that are known
   * @returns row of the first one; the others follow
   */
  add(owner: number, triples: readonly number[]): number {
    const first = this.n + 1;
    for (let i = 0; i < triples.length; i += 3) this.enter(owner, triples[i]!, triples[i + 1]!, triples[i + 2]!);
    return first;
  }

  /** The same for a block that has been made of the record at word `at` of W, its code at `start`. */
  addRecord(owner: number, W: Int32Array, at: number, start: number): number {
    const first = this.n + 1;
    let s = sitesAt(W, at);
    for (let k = siteCount(W, at); k > 0; k--, s += 2) this.enter(owner, start + (W[s]! & POSITION_MASK), (W[s]! >>> SITE_SHIFT) & SITE_MASK, start + W[s + 1]!);
    return first;
  }

  /**
   * The same for the page group at word g of W, whose code lies at `start`.
   * @param fits which of its records have become blocks, in the rows from `first` on
   * @param rowAt by page offset: row of the block of the group that begins there, less than `first` if there is none
   * @param others finds blocks of the page that are not of the group, 0 if there is none; null if the page has no others
   * @returns number of sites that jump to blocks
   */
  addGroup(W: Int32Array, g: number, start: number, fits: Uint8Array, first: number, rowAt: Int32Array, others: ((offset: number) => number) | null): number {
    const { R } = this.blocks;
    const code = g + W[g + Grp.CODE_AT]!;
    let owner = first;
    let chained = 0;
    for (let k = 0, at = g + GROUP_HEAD, n = W[g + Grp.BLOCKS]!; k < n; k++) {
      if (fits[k] !== Fits.NO) {
        const place = W[at + Rec.PLACE]!;
        const own = start + ((at + W[at + Rec.CODE_AT]! - code) << 2);
        let s = at + REC_HEAD + (W[at + Rec.COUNTS]! & 0xffff) * 2 + ((place >>> 16) & 0xff);
        for (const last = s + (place >>> 24) * 2; s < last; s += 2) {
          const w = W[s]!;
          const target = (w >>> SITE_SHIFT) & SITE_MASK;
          const row = ++this.n;
          if (row >= this.at.length) this.grow(this.at.length * 2);
          const position = own + (w & POSITION_MASK);
          this.at[row] = position;
          this.cold[row] = own + W[s + 1]!;
          this.offset[row] = target;
          this.owner[row] = owner;
          const changes = (target & SITE_CHANGES_MODE) !== 0;
          this.state[row] = changes ? Is.CHANGES_MODE : 0;
          if ((w & SITE_LINKED) !== 0) {
            const to = rowAt[target]!;
            if (to >= first) {
              this.state[row] = Is.CHAINED;
              this.next[row] = R[to * ROW + Bf.INCOMING]!;
              R[to * ROW + Bf.INCOMING] = row;
              chained++;
              continue;
            }
            this.host()!.unpatch(position, own + W[s + 1]!);
          }
          if (others === null || changes) continue;
          const to = others(target);
          if (to !== 0 && this.chainRow(row, to)) chained++;
        }
        owner++;
      }
      at += W[at + Rec.LENGTH]!;
    }
    return chained;
  }

  private enter(owner: number, position: number, target: number, cold: number): void {
    const row = ++this.n;
    if (row >= this.at.length) this.grow(this.at.length * 2);
    this.at[row] = position;
    this.cold[row] = cold;
    this.offset[row] = target;
    this.state[row] = (target & SITE_CHANGES_MODE) !== 0 ? Is.CHANGES_MODE : 0;
    this.owner[row] = owner;
  }

  /** Makes room for so many sites at once. */
  reserve(rows: number): void {
    let length = this.at.length;
    while (length < rows) length *= 2;
    if (length > this.at.length) this.grow(length);
  }

  private grow(length: number): void {
    const more = (a: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const b = new Int32Array(length);
      b.set(a);
      return b;
    };
    this.at = more(this.at);
    this.cold = more(this.cold);
    this.next = more(this.next);
    this.owner = more(this.owner);
    const o = new Int16Array(length);
    o.set(this.offset);
    this.offset = o;
    const s = new Uint8Array(length);
    s.set(this.state);
    this.state = s;
  }

  /** Row of the site at a position, 0 if there is none. */
  private find(position: number): number {
    const at = this.at;
    let lo = 1;
    let hi = this.n;
    while (lo < hi) {
      const mid = (lo + hi + 1) >>> 1;
      if (at[mid]! <= position) lo = mid;
      else hi = mid - 1;
    }
    return at[lo] === position && this.n > 0 ? lo : 0;
  }

  /** Row of the block whose code holds the first site at or after a position, 0 if there is none. */
  ownerAt(position: number): number {
    const at = this.at;
    let lo = 1;
    let hi = this.n + 1;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if (at[mid]! < position) lo = mid + 1;
      else hi = mid;
    }
    return lo <= this.n ? this.owner[lo]! : 0;
  }

  /** Makes the site at a position jump to the block in row `target`, if it may. @returns true if it does from now on */
  chain(position: number, target: number): boolean {
    const row = this.find(position);
    return row !== 0 && this.chainRow(row, target);
  }

  /** The same for the site in a row. */
  chainRow(row: number, target: number): boolean {
    const state = this.state[row]!;
    if ((state & Is.CHAINED) !== 0) return false;
    const { R } = this.blocks;
    const from = this.owner[row]! * ROW;
    const to = target * ROW;
    if ((R[from + Bf.STATE]! & BlockIs.VALID) === 0 || R[from + Bf.PAGE] !== R[to + Bf.PAGE]) return false;
    if ((state & Is.CHANGES_MODE) === 0 && R[from + Bf.KEY]! >>> 12 !== R[to + Bf.KEY]! >>> 12) return false;
    this.host()!.patch(this.at[row]!, R[to + Bf.ENTRY_B]!);
    this.state[row] = state | Is.CHAINED;
    this.next[row] = R[to + Bf.INCOMING]!;
    R[to + Bf.INCOMING] = row;
    return true;
  }

  /** No site jumps to the block in row `target` any more. */
  unchain(target: number): void {
    const { R } = this.blocks;
    const at = target * ROW + Bf.INCOMING;
    const host = this.host()!;
    for (let row = R[at]!; row !== 0; row = this.next[row]!) {
      host.unpatch(this.at[row]!, this.cold[row]!);
      this.state[row]! &= ~Is.CHAINED;
    }
    R[at] = 0;
  }

  /** All code is dropped. */
  clear(): void {
    this.n = 0;
  }
}
