/**
 * Regions of linear addresses that may have TLB entries made from blocks or pages larger than 4 KiB. The entries of one may lie anywhere in it, so that the
 * flush of a page there has to drop everything. Linux maps its memory by blocks and flushes pages tens of thousands of times beside them: a page must not be
 * taken for one of theirs.
 */
const SLOTS = 1024;
const enum State { EMPTY = 0, ONE = 1, SEVERAL = 2 }

export class LargeRegions {
  /** Two tables: regions of 2 MiB, then of 1 GiB, for what is larger than 2 MiB. */
  private readonly state = new Uint8Array(SLOTS * 2);
  private readonly tagLo = new Int32Array(SLOTS * 2);
  private readonly tagHi = new Int32Array(SLOTS * 2);
  private used = false;

  /** An entry has been made from a block or page of 2^shift bytes at hi:lo. */
  note(lo: number, hi: number, shift: number): void {
    const isGiant = shift > 21;
    const i = slot(lo, hi, isGiant);
    this.used = true;
    if (this.state[i] === State.EMPTY) {
      this.state[i] = State.ONE;
      this.tagLo[i] = regionLo(lo, isGiant);
      this.tagHi[i] = hi & 0xff_ffff;
    } else if (!this.holds(i, lo, hi, isGiant)) this.state[i] = State.SEVERAL;
  }

  /** Entries from a block or large page may lie around hi:lo, whatever the address tag. */
  has(lo: number, hi: number): boolean {
    return this.used && (this.holds(slot(lo, hi, false), lo, hi, false) || this.holds(slot(lo, hi, true), lo, hi, true));
  }

  clear(): void {
    if (this.used) this.state.fill(State.EMPTY);
    this.used = false;
  }

  private holds(i: number, lo: number, hi: number, isGiant: boolean): boolean {
    const s = this.state[i]!;
    return s === State.SEVERAL || (s === State.ONE && this.tagLo[i] === regionLo(lo, isGiant) && this.tagHi[i] === (hi & 0xff_ffff));
  }
}

const regionLo = (lo: number, isGiant: boolean): number => (isGiant ? lo & ~0x3fff_ffff : lo & ~0x1f_ffff);

function slot(lo: number, hi: number, isGiant: boolean): number {
  const high = (hi & 0xff_ffff) >>> 7;
  return isGiant ? SLOTS + (((lo >>> 30) ^ (hi << 2) ^ high) & (SLOTS - 1)) : ((lo >>> 21) ^ (hi << 6) ^ high) & (SLOTS - 1);
}
