/** Which code has been met before, for CPUs that execute what they meet for the first time without translating it (docs/adr/0065). */

/** Bits of the set, and how many may be set before it begins anew. */
const BITS = 1 << 20;
const MOST = BITS >> 2;

export class MetCode {
  /** By hash: code of which another address has the same place counts as met. */
  private readonly bits = new Int32Array(BITS >> 5);
  private set = 0;

  /** @param offset in RAM, even. @returns true if it has not been met before; from now on it has */
  fresh(page: number, offset: number): boolean {
    const k = ((page << 11) | (offset >> 1)) & (BITS - 1);
    const bit = 1 << (k & 31);
    if ((this.bits[k >> 5]! & bit) !== 0) return false;
    if (this.set++ >= MOST) this.clear();
    this.bits[k >> 5]! |= bit;
    return true;
  }

  clear(): void {
    this.bits.fill(0);
    this.set = 0;
  }
}
