/**
 * F and D operations that the host's own numbers do exactly: FMIN, FMAX, FCLASS and conversions of unsigned integers. No BigInt: these
 * are called from generated code. What they do not handle is left to `Float` (exact software floating point).
 */
import { NONE } from '../../state.js';

/** Exception flags at their places in MXCSR. */
const INVALID = 1;
const INEXACT = 0x20;
const QNAN_D_HI = 0x7ff8_0000;
const QNAN_S = 0x7fc0_0000;
const TWO32 = 2 ** 32;

/** funct5 of OP-FP. */
const enum F5 { MINMAX = 0x05, TO_INT = 0x18, FROM_INT = 0x1a, CLASS = 0x1c }
const RNE = 0;
const RTZ = 1;

export class FastFloat {
  /** Flags that the last operation raised. */
  flags = 0;
  private readonly cell = new ArrayBuffer(8);
  private readonly f64 = new Float64Array(this.cell);
  private readonly f32 = new Float32Array(this.cell);
  private readonly i32 = new Int32Array(this.cell);

  constructor(private readonly V: Int32Array) {}

  /** @param frm rounding mode in effect. @returns false: nothing done. */
  execute(insn: number, frm: number, dst: number, a: number, b: number): boolean {
    this.flags = 0;
    const double = (insn >>> 25 & 3) !== 0;
    switch ((insn >>> 27) as F5) {
      case F5.MINMAX: return this.minmax(double, (insn & 0x1000) !== 0, dst, a, b);
      case F5.TO_INT: return frm === RTZ && this.toUnsigned(double, (insn >>> 20) & 3, dst, a);
      case F5.FROM_INT: return frm === RNE && this.fromUnsigned(double, (insn >>> 20) & 3, dst, a);
      // FMV.X.W shares the funct5 and is no arithmetic.
      case F5.CLASS: return (insn & 0x7000) === 0x1000 && this.classify(double, dst, a);
      default: return false;
    }
  }

  private put(dst: number, lo: number, hi: number): void {
    if (dst === NONE) return;
    this.V[dst * 2] = lo;
    this.V[dst * 2 + 1] = hi;
  }

  /** Low word of a single-precision operand: the canonical NaN if it is not boxed. */
  private single(slot: number): number {
    return this.V[slot * 2 + 1] === -1 ? this.V[slot * 2]! : QNAN_S;
  }

  /** The operand as a number; a NaN's payload and kind are lost. */
  private number(double: boolean, slot: number): number {
    if (double) {
      this.i32[0] = this.V[slot * 2]!;
      this.i32[1] = this.V[slot * 2 + 1]!;
      return this.f64[0]!;
    }
    this.i32[0] = this.single(slot);
    return this.f32[0]!;
  }

  /** The word with sign and exponent. */
  private top(double: boolean, slot: number): number {
    return double ? this.V[slot * 2 + 1]! : this.single(slot);
  }

  private signalling(double: boolean, slot: number): boolean {
    return (this.top(double, slot) & (double ? 0x8_0000 : 0x40_0000)) === 0;
  }

  private minmax(double: boolean, max: boolean, dst: number, a: number, b: number): boolean {
    const x = this.number(double, a);
    const y = this.number(double, b);
    const xNaN = x !== x;
    const yNaN = y !== y;
    if ((xNaN && this.signalling(double, a)) || (yNaN && this.signalling(double, b))) this.flags |= INVALID;
    if (xNaN && yNaN) {
      if (double) this.put(dst, 0, QNAN_D_HI);
      else this.put(dst, QNAN_S, -1);
      return true;
    }
    // Zeros: -0 is less than +0.
    const first = yNaN || (!xNaN && (x === y ? (this.top(double, a) < 0) !== max : x < y !== max));
    const from = first ? a : b;
    if (double) this.put(dst, this.V[from * 2]!, this.V[from * 2 + 1]!);
    else this.put(dst, this.single(from), -1);
    return true;
  }

  /** FCVT.WU and FCVT.LU with truncation; the signed ones are not for here. */
  private toUnsigned(double: boolean, kind: number, dst: number, a: number): boolean {
    if ((kind & 1) === 0) return false;
    const v = this.number(double, a);
    const limit = kind === 1 ? TWO32 : TWO32 * TWO32;
    const t = Math.trunc(v);
    if (!(t > -1 && t < limit)) {
      this.flags |= INVALID;
      // NaN counts as the largest number.
      const fill = v < 0 ? 0 : -1;
      this.put(dst, fill, fill);
      return true;
    }
    if (t !== v) this.flags |= INEXACT;
    const hi = Math.floor(t / TWO32);
    const lo = (t - hi * TWO32) | 0;
    // 32-bit results are sign-extended, unsigned ones too.
    this.put(dst, lo, kind === 1 ? lo >> 31 : hi | 0);
    return true;
  }

  /** FCVT.D.LU and FCVT.S.LU, rounding to nearest. */
  private fromUnsigned(double: boolean, kind: number, dst: number, a: number): boolean {
    if (kind !== 3) return false;
    const hi = (this.V[a * 2 + 1]! >>> 0) * TWO32;
    const lo = this.V[a * 2]! >>> 0;
    const v = hi + lo;
    if (double) {
      // One rounding; the part that was added tells whether it was exact.
      if (v - hi !== lo) this.flags |= INEXACT;
      this.f64[0] = v;
      this.put(dst, this.i32[0]!, this.i32[1]!);
      return true;
    }
    // Two roundings are one only if the first does nothing.
    if (v >= 2 ** 53) return false;
    this.f32[0] = v;
    if (this.f32[0] !== v) this.flags |= INEXACT;
    this.put(dst, this.i32[0]!, -1);
    return true;
  }

  private classify(double: boolean, dst: number, a: number): boolean {
    const t = this.top(double, a);
    const exponent = double ? (t >>> 20) & 0x7ff : (t >>> 23) & 0xff;
    const fraction = double ? (t & 0xf_ffff) | this.V[a * 2]! : t & 0x7f_ffff;
    const negative = t < 0;
    let bit: number;
    if (exponent === (double ? 0x7ff : 0xff)) bit = fraction === 0 ? (negative ? 0 : 7) : this.signalling(double, a) ? 8 : 9;
    else if (exponent !== 0) bit = negative ? 1 : 6;
    else if (fraction !== 0) bit = negative ? 2 : 5;
    else bit = negative ? 3 : 4;
    this.put(dst, 1 << bit, 0);
    return true;
  }
}
