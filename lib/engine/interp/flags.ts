/**
 * Arithmetic flags in the format of Slot.FLAGS: bit 0 OF, 8 CF, 9 always one, 10 PF, 12 AF, 14 ZF, 15 SF.
 */
import { Cc, Fl } from '../state.js';

export const enum Ff {
  OF = 1,
  CF = 0x100,
  ONE = 0x200,
  PF = 0x400,
  AF = 0x1000,
  ZF = 0x4000,
  SF = 0x8000,
  ALL = 0xd501,
}

/** PF and the constant bit 9 for each low byte of a result. */
export const PARITY: Int32Array = (() => {
  const t = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let x = i ^ (i >> 4);
    x ^= x >> 2;
    x ^= x >> 1;
    t[i] = Ff.ONE | (x & 1 ? 0 : Ff.PF);
  }
  return t;
})();

/** `Fl` mask to a mask of FLAGS bits; bit 9 is in every mask but the empty one, so it can never get lost. */
export const FLAG_MASK: Int32Array = (() => {
  const t = new Int32Array(64);
  for (let i = 1; i < 64; i++) {
    t[i] = Ff.ONE | (i & Fl.CF ? Ff.CF : 0) | (i & Fl.PF ? Ff.PF : 0) | (i & Fl.AF ? Ff.AF : 0) |
      (i & Fl.ZF ? Ff.ZF : 0) | (i & Fl.SF ? Ff.SF : 0) | (i & Fl.OF ? Ff.OF : 0);
  }
  return t;
})();

/**
 * Conditions as one mask test: with g = `condBits(FLAGS)`, condition cc (even) holds if g & condMask(cc) is non-zero;
 * odd conditions are the negation. Bit 16 of g is SF != OF.
 */
const COND_MASKS = [Ff.OF, Ff.CF, Ff.ZF, Ff.CF | Ff.ZF, Ff.SF, Ff.PF, 0x10000, 0x10000 | Ff.ZF];
export function condMask(cc: Cc): number {
  return COND_MASKS[cc >> 1]!;
}
export function condBits(f: number): number {
  return (f & 0xffff) | ((((f >>> 15) ^ f) & 1) << 16);
}

/** ZF, SF, PF (and bit 9) of a result of width w (0..3) given as low and high word; other flags 0. */
export function resultFlags(w: number, lo: number, hi: number): number {
  const f = PARITY[lo & 0xff]!;
  switch (w) {
    case 0:
      return f | ((lo & 0xff) === 0 ? Ff.ZF : 0) | ((lo & 0x80) << 8);
    case 1:
      return f | ((lo & 0xffff) === 0 ? Ff.ZF : 0) | (lo & 0x8000);
    case 2:
      return f | (lo === 0 ? Ff.ZF : 0) | ((lo >>> 16) & Ff.SF);
    default:
      return f | ((lo | hi) === 0 ? Ff.ZF : 0) | ((hi >>> 16) & Ff.SF);
  }
}

/** Replaces the flags in mask m (FLAGS format). */
export function putFlags(V: Int32Array, f: number, m: number): void {
  V[0] = (V[0]! & ~m) | (f & m);
}
