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

  /** `page` is a byte offset in RAM, as a signed word. @returns an entry, 0: none, -1: any */
  first(page: number): number {
    return this.firsts[page >>> 12]!;
  }
  /** The other entry if the first one is known, or 0. */
  second(page: number): number {
    return this.seconds[page >>> 12]!;
  }

  forget(page: number): void {
    this.firsts[page >>> 12] = this.seconds[page >>> 12] = 0;
  }

  /** True if TLB entry e has a write tag for the RAM page at byte offset `page`. */
  writes(e: number, page: number): boolean {
    return (this.V[e + 6]! & ~0xfff) === page && this.V[e + 2] !== -1;
  }

  /** Entry e is about to have a write tag for a RAM page, given by its number. */
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
