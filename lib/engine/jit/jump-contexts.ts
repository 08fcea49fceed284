/** Jump cache entries of an address space or a mode that does not run (docs/adr/0061). */

/** Most entries kept of one table. */
export const MOST_ASIDE = 4096;
/** Words of an entry: its number, linear address, host address. */
export const ASIDE = 5;

export class Aside {
  /** Mode of the blocks. */
  mode = 0;
  /** Entries, in `W`. */
  n = 0;
  W = new Int32Array(64 * ASIDE);
  /** They may be of global pages, and of others. */
  global = 0;
  nonGlobal = 0;

  /** Room for n entries; what is there is lost. */
  room(n: number): void {
    if (n * ASIDE > this.W.length) this.W = new Int32Array(2 ** Math.ceil(Math.log2(n)) * ASIDE);
  }
}
