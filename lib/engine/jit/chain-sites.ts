/**
 * Direct jumps that can be patched to go straight to another block of the same page. There are two for nearly every block, so they are
 * rows of typed arrays, numbered from 1 in the order of their positions in the exec region (code is placed upwards until all is dropped).
 */
import type { Block } from './block.js';
import { SITE_CHANGES_MODE, type HostCode } from './host-code.js';

/** First size of the tables. */
const ROWS = 1 << 14;
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
  private owners: Block[] = [];
  private n = 0;

  constructor(private readonly host: () => HostCode | null) {}

  /**
   * @param triples as `HostCode.compile` returns them, positions ascending and above all that are known
   * @returns row of the first one; the others follow
   */
  add(owner: Block, triples: readonly number[]): number {
    const first = this.n + 1;
    for (let i = 0; i < triples.length; i += 3) {
      const row = ++this.n;
      if (row >= this.at.length) this.grow();
      this.at[row] = triples[i]!;
      this.cold[row] = triples[i + 2]!;
      this.state[row] = (triples[i + 1]! & SITE_CHANGES_MODE) !== 0 ? Is.CHANGES_MODE : 0;
      this.owners[row] = owner;
    }
    return first;
  }

  private grow(): void {
    const more = (a: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const b = new Int32Array(a.length * 2);
      b.set(a);
      return b;
    };
    this.at = more(this.at);
    this.cold = more(this.cold);
    this.next = more(this.next);
    const s = new Uint8Array(this.state.length * 2);
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

  /** Makes the site at a position jump to the block, if it may. @returns true if it does from now on */
  chain(position: number, target: Block): boolean {
    const row = this.find(position);
    return row !== 0 && this.chainRow(row, target);
  }

  /** The same for the site in a row. */
  chainRow(row: number, target: Block): boolean {
    const owner = this.owners[row]!;
    const state = this.state[row]!;
    if ((state & Is.CHAINED) !== 0 || !owner.valid) return false;
    if ((state & Is.CHANGES_MODE) === 0 && owner.mode !== target.mode) return false;
    if ((owner.ram & ~0xfff) !== (target.ram & ~0xfff)) return false;
    this.host()!.patch(this.at[row]!, target.entryB);
    this.state[row] = state | Is.CHAINED;
    this.next[row] = target.incoming;
    target.incoming = row;
    return true;
  }

  /** No site jumps to the block any more. */
  unchain(target: Block): void {
    const host = this.host()!;
    for (let row = target.incoming; row !== 0; row = this.next[row]!) {
      host.unpatch(this.at[row]!, this.cold[row]!);
      this.state[row]! &= ~Is.CHAINED;
    }
    target.incoming = 0;
  }

  /** All code is dropped. */
  clear(): void {
    this.n = 0;
    this.owners = [];
  }
}
