/**
 * What in a block's code depends on where it lies and on which pool slots its constants got: the assembler notes every such
 * 32-bit field as it emits it, so that the code can be stored and put elsewhere (see image.ts).
 */

import { HINT_BYTES } from '../../state.js';

/** Kind of a relocation, in its low bits; pool slots above them. */
export const enum Reloc {
  /** rel32 to a stub: what it holds shrinks as the code moves up. */
  STUB = 0,
  /** Position in the code (site id). */
  POSITION = 1,
  /** Displacement from the state register of a pool slot, plus 0..7. */
  POOL_DISP = 2,
  /** Number of a pool slot. */
  POOL_IMM = 3,
  KIND_MASK = 3,
  SLOT_SHIFT = 2,
}

/** Bytes by which a field that belongs to a region's hint grows with the hint's number: its entry, its addend, its count of misses. */
export const HINT_UNITS: readonly number[] = [HINT_BYTES, 8, 4];

export class RelocList {
  /** Entries in use. */
  n = 0;
  /** Of a region, beside them: position of each field that belongs to a hint, the hint's number in the region, and index in HINT_UNITS. */
  hints: number[] = [];
  /** Position of each field, and `Reloc` kind with slot. */
  at = new Int32Array(1024);
  what = new Int32Array(1024);

  /** Code begins. */
  begin(): void {
    this.n = 0;
    this.hints.length = 0;
  }

  add(at: number, what: number): void {
    const n = this.n++;
    if (n >= this.at.length) this.grow();
    this.at[n] = at;
    this.what[n] = what;
  }

  private grow(): void {
    const at = new Int32Array(this.at.length * 2);
    at.set(this.at);
    this.at = at;
    const what = new Int32Array(at.length);
    what.set(this.what);
    this.what = what;
  }
}
