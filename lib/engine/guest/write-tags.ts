/** Which TLB entries let writes to a page of RAM through: asked when the page gets its first translation. */

export class WriteTags {
  /** By RAM page: index in V of the one entry that may, -1 if there may be several, 0 if none does. */
  private readonly of: Int32Array;

  /** @param pages of RAM @param V the state region, of whose TLB entries word 2 is the write tag (-1: none) and word 6 the RAM page with flags below */
  constructor(pages: number, private readonly V: Int32Array) {
    this.of = new Int32Array(pages);
  }

  /** Entry e has a write tag for the RAM page. */
  writes(e: number, page: number): boolean {
    return this.V[e + 6]! >>> 12 === page && this.V[e + 2] !== -1;
  }

  /** Entry e is about to have one. */
  note(page: number, e: number): void {
    const before = this.of[page]!;
    if (before === e) return;
    this.of[page] = before === 0 || (before > 0 && !this.writes(before, page)) ? e : -1;
  }

  /** Forgets the page. @returns its one entry, 0: none, -1: any */
  take(page: number): number {
    const e = this.of[page]!;
    this.of[page] = 0;
    return e;
  }
}
