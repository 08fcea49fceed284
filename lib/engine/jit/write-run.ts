/** Tells writes that overwrite a page of code from those that patch it. */
import { CODE_GRANULE } from '../cpu.js';

const PAGE = 4096;
/** So many writes in a row, each near the end of the one before, overwrite the page; so many do that begin where the page does, which is how pages are cleared and copied. */
const OVERWRITES = 8;
const OVERWRITES_FIRST = 3;

export class WriteRun {
  private end = -1;
  /** Writes that have followed the first one. */
  private n = 0;
  private fromFirst = false;

  /** n bytes at RAM offset `off`, in a page with code, are written. @returns true if none of the page's blocks is worth keeping */
  overwrites(off: number, n: number): boolean {
    const first = off % PAGE === 0;
    this.n = off >= this.end && off - this.end <= CODE_GRANULE && !first ? this.n + 1 : 0;
    if (this.n === 0) this.fromFirst = first;
    this.end = off + n;
    return this.n >= (this.fromFirst ? OVERWRITES_FIRST : OVERWRITES);
  }
}
