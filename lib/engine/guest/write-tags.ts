import { TLB_CODE } from '../state.js';

/**
 * Which TLB entries let writes to a page of RAM through: asked when the page gets its first translation. Two are known of each page, since Linux maps
 * its memory twice.
 */
export class WriteTags {
  /** By RAM page: indexes in V of the one or two entries that may, the first -1 if there may be more, 0 for none. */
  private readonly firsts: Int32Array;
  private readonly seconds: Int32Array;

  /** @param pages of RAM @param V the state region, of whose TLB entries word 2 is the write tag (-1: none) and word 6 the RAM page with flags below */
  constructor(pages: number, private readonly V: Int32Array) {
    this.firsts = new Int32Array(pages);
    this.seconds = new Int32Array(pages);
  }

  /** True if there may be such entries. Here and below, `page` is a byte offset in RAM, as a signed word. */
  any(page: number): boolean {
    return this.firsts[page >>> 12] !== 0;
  }

  /** Takes the tags away from the entries that are known, and forgets these. @returns false if there may be others */
  drop(page: number): boolean {
    const first = this.firsts[page >>> 12]!;
    const second = this.seconds[page >>> 12]!;
    this.firsts[page >>> 12] = this.seconds[page >>> 12] = 0;
    if (first < 0) return false;
    this.dropFrom(first, page);
    if (second > 0) this.dropFrom(second, page);
    return true;
  }

  /** Takes the tag away from entry e if it is for the page. */
  dropFrom(e: number, page: number): void {
    const { V } = this;
    if (!this.writes(e, page)) return;
    V[e + 2] = V[e + 3] = -1;
    V[e + 6]! |= TLB_CODE;
  }

  private writes(e: number, page: number): boolean {
    return (this.V[e + 6]! & ~0xfff) === page && this.V[e + 2] !== -1;
  }

  /** Entry e is about to have a write tag for a RAM page, given by its number here. */
  note(page: number, e: number): void {
    const before = this.firsts[page]!;
    if (before === e || before < 0) return;
    const at = (page << 12) | 0;
    if (before === 0 || !this.writes(before, at)) {
      this.firsts[page] = e;
      return;
    }
    const second = this.seconds[page]!;
    if (second === e) return;
    if (second === 0 || !this.writes(second, at)) this.seconds[page] = e;
    else this.firsts[page] = -1;
  }
}
