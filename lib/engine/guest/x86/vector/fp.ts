/**
 * Scalar floating-point kernels of the SSE and AVX operations: one lane, bit patterns in and out, exceptions collected in
 * `st.flags`. Ordinary values with round-to-nearest go through JavaScript doubles, with exact tests for the precision
 * exception; everything else (NaNs, infinities, denormals, near overflow or underflow, other rounding modes) goes to the
 * soft-float. Intel SDM vol. 1, chapters 4.8, 4.9, 11.5 and appendix E.
 */
import { Slot } from '../../../state.js';
import { F32, F64, FpFlag, type FpStatus, add, div, fma, mul, sqrt, sub } from '../../../softfloat/softfloat.js';
import type { VectorCpu } from './views.js';

/** Status of the running operation: MXCSR unpacked by `fpBegin`. */
export const st: FpStatus = { rm: 0, flags: 0, daz: false, ftz: false, unmasked: 0 };
/** MXCSR.PE is already set and masked: whether a result is exact makes no difference. */
let inexactKnown = false;

export function fpBegin(cpu: VectorCpu): void {
  const m = cpu.V[Slot.MXCSR << 1]!;
  st.rm = (m >> 13) & 3;
  st.daz = (m & 0x40) !== 0;
  st.ftz = (m & 0x8000) !== 0;
  st.unmasked = ~(m >> 7) & 0x3f;
  st.flags = 0;
  inexactKnown = (m & 0x1020) === 0x1020;
}

/**
 * Accumulates the flags, or raises the SIMD exception, before anything is written. Of several exceptions, an unmasked one
 * that precedes the computation (invalid, denormal, divide by zero) keeps the later ones from being detected
 * (SDM vol. 1, 11.5.3 and 4.9.2).
 */
export function fpEnd(cpu: VectorCpu): void {
  const f = st.flags;
  if (f === 0) return;
  const trap = f & st.unmasked!;
  if (trap !== 0) {
    cpu.V[Slot.MXCSR << 1]! |= trap & 7 ? f & 7 : f;
    cpu.raiseSimd();
  }
  cpu.V[Slot.MXCSR << 1]! |= f;
}

/** End of one of several steps of an operation: unmasked exceptions are raised before the next step. */
export function fpStage(cpu: VectorCpu): void {
  fpEnd(cpu);
  st.flags = 0;
}

const F = new Float64Array(2);
const U = new Uint32Array(F.buffer);
const G = new Float32Array(1);
const W = new Uint32Array(G.buffer);
const B64 = new BigUint64Array(F.buffer);

/** Fast paths read the operands from here: bit patterns as 32-bit words, or as floats. */
export const IN = new Float64Array(3);
export const IN_U32 = new Uint32Array(IN.buffer);
export const IN_U64 = new BigUint64Array(IN.buffer);
/** 64-bit kernels leave their result here. */
export const OUT = F;
export const OUT_U32 = U;
export const OUT_U64 = B64;

export const enum FpOp {
  ADD = 0,
  SUB = 1,
  MUL = 2,
  DIV = 3,
}
const SOFT = [add, sub, mul, div] as const;

/** Bits of a 32-bit pattern as a double. Not for NaNs, whose payload JavaScript may change. */
export function f32value(bits: number): number {
  W[0] = bits;
  return G[0]!;
}
export function f32bits(x: number): number {
  G[0] = x;
  return W[0]!;
}

/** Exponent field of a single: neither zero, denormal, infinite nor NaN. */
const ordinary32 = (b: number): boolean => {
  const e = b & 0x7f80_0000;
  return e !== 0 && e !== 0x7f80_0000;
};
const ordinary64 = (hi: number): boolean => {
  const e = hi & 0x7ff0_0000;
  return e !== 0 && e !== 0x7ff0_0000;
};
const plain32 = (b: number): boolean => (b & 0x7fff_ffff) === 0 || ordinary32(b);
const plain64 = (hi: number, lo: number): boolean => ((hi & 0x7fff_ffff) | lo) === 0 || ordinary64(hi);

/**
 * Result of rounding the double r (itself rounded to nearest, with `rest` !== 0 if it is inexact) to single: for + - * / and
 * sqrt double rounding is harmless because 53 >= 2 * 24 + 2. @returns -1 if the soft-float must decide.
 */
function finish32(r: number, exact: boolean): number {
  const s = Math.fround(r);
  const m = Math.abs(s);
  if (m < 2.4e-38 ? s !== 0 || !exact || r !== 0 : m > 3.4e38) return -1;
  if (!exact || s !== r) st.flags |= FpFlag.PE;
  return f32bits(s);
}

/** a op b in single precision. */
export function arith32(op: FpOp, a: number, b: number): number {
  if (st.rm === 0 && plain32(a) && plain32(b) && (op !== FpOp.DIV || (b & 0x7fff_ffff) !== 0)) {
    const x = f32value(a);
    const y = f32value(b);
    let r: number;
    let exact = true;
    switch (op) {
      case FpOp.MUL:
        r = x * y;
        break;
      case FpOp.DIV:
        r = x / y;
        // r * y has at most 53 + 24 bits: exact only if r is short, which fround tells; then the product is exact.
        exact = Math.fround(r) === r && r * y === x;
        break;
      default: {
        const z = op === FpOp.ADD ? y : -y;
        r = x + z;
        const t = r - x;
        exact = x - (r - t) + (z - t) === 0;
      }
    }
    const f = finish32(r, exact);
    if (f >= 0) return f;
  }
  return Number(SOFT[op]!(F32, BigInt(a >>> 0), BigInt(b >>> 0), st));
}

export function sqrt32(a: number): number {
  if (st.rm === 0 && ordinary32(a) && (a & 0x8000_0000) === 0) {
    const x = f32value(a);
    const r = Math.sqrt(x);
    const s = Math.fround(r);
    if (s * s !== x) st.flags |= FpFlag.PE;
    return f32bits(s);
  }
  return Number(sqrt(F32, BigInt(a >>> 0), st));
}

/** High and low half of a double (Veltkamp): both have at most 26 bits. */
const SPLIT = 134217729;
/** True if p is exactly x * y; all magnitudes must be moderate. */
function productExact(x: number, y: number, p: number): boolean {
  let t = SPLIT * x;
  const xh = t - (t - x);
  const xl = x - xh;
  t = SPLIT * y;
  const yh = t - (t - y);
  const yl = y - yh;
  return xl * yl - (p - xh * yh - xl * yh - xh * yl) === 0;
}

const moderate = (x: number): boolean => {
  const m = Math.abs(x);
  return m > 1e-140 && m < 1e140;
};

/** OUT[0] = IN[0] op IN[1] in double precision. */
export function arith64(op: FpOp): void {
  const ah = IN_U32[1]!;
  const bh = IN_U32[3]!;
  if (st.rm === 0 && plain64(ah, IN_U32[0]!) && plain64(bh, IN_U32[2]!)) {
    const x = IN[0]!;
    const y = IN[1]!;
    if (op <= FpOp.SUB) {
      const z = op === FpOp.ADD ? y : -y;
      const r = x + z;
      const m = Math.abs(r);
      if ((m > 1e-290 && m < 1e300) || (r === 0 && x === -z)) {
        if (!inexactKnown) {
          const t = r - x;
          if (x - (r - t) + (z - t) !== 0) st.flags |= FpFlag.PE;
        }
        OUT[0] = r;
        return;
      }
    } else if (y !== 0 && (x === 0 || (moderate(x) && moderate(y)))) {
      const r = op === FpOp.MUL ? x * y : x / y;
      if (!inexactKnown && x !== 0 && !(op === FpOp.MUL ? productExact(x, y, r) : r * y === x && productExact(r, y, x))) st.flags |= FpFlag.PE;
      OUT[0] = r;
      return;
    }
  }
  OUT_U64[0] = SOFT[op]!(F64, IN_U64[0]!, IN_U64[1]!, st);
}

/** OUT[0] = sqrt(IN[0]). */
export function sqrt64(): void {
  const ah = IN_U32[1]!;
  if (st.rm === 0 && ordinary64(ah) && ah >>> 31 === 0 && moderate(IN[0]!)) {
    const x = IN[0]!;
    const r = Math.sqrt(x);
    if (!inexactKnown && !(r * r === x && productExact(r, r, x))) st.flags |= FpFlag.PE;
    OUT[0] = r;
    return;
  }
  OUT_U64[0] = sqrt(F64, IN_U64[0]!, st);
}

/** Fused a * b + c in single precision (NaN precedence a, b, c). */
export function fma32(a: number, b: number, c: number): number {
  if (st.rm === 0 && ordinary32(a) && ordinary32(b) && plain32(c)) {
    const z = f32value(c);
    const p = f32value(a) * f32value(b);
    const s = p + z;
    const t = s - p;
    const e = p - (s - t) + (z - t);
    let r = s;
    if (e !== 0) {
      // Round to odd, so that the second rounding (to single) sees that something was lost.
      F[1] = s;
      if ((U[2]! & 1) === 0) {
        const away = e > 0 === s > 0;
        if (away) {
          if (++U[2]! === 0) U[3]!++;
        } else if (U[2]!-- === 0) U[3]!--;
        r = F[1]!;
      }
    }
    const f = s === 0 ? -1 : finish32(r, e === 0);
    if (f >= 0) return f;
  }
  return Number(fma(F32, BigInt(a >>> 0), BigInt(b >>> 0), BigInt(c >>> 0), st));
}

/** OUT[0] = IN[0] * IN[1] + IN[2], fused. */
export function fma64(): void {
  OUT_U64[0] = fma(F64, IN_U64[0]!, IN_U64[1]!, IN_U64[2]!, st);
}

// --- comparison: shared by MIN, MAX, CMP, COMI ---

export const enum Rel {
  LT = 0,
  EQ = 1,
  GT = 2,
  UNORDERED = 3,
}

const denormal32 = (b: number): boolean => (b & 0x7f80_0000) === 0 && (b & 0x7f_ffff) !== 0;
const nan32 = (b: number): boolean => (b & 0x7fff_ffff) > 0x7f80_0000;
/** DAZ: a denormal counts as a zero of its sign. */
export const daz32 = (b: number): number => (st.daz && denormal32(b) ? b & 0x8000_0000 : b) >>> 0;

/** Compares two singles. `quiet`: only a signalling NaN is invalid. */
export function compare32(a: number, b: number, quiet: boolean): Rel {
  if (nan32(a) || nan32(b)) {
    if (!quiet || (nan32(a) && (a & 0x40_0000) === 0) || (nan32(b) && (b & 0x40_0000) === 0)) st.flags |= FpFlag.IE;
    return Rel.UNORDERED;
  }
  if (!st.daz && (denormal32(a) || denormal32(b))) st.flags |= FpFlag.DE;
  const x = f32value(daz32(a));
  const y = f32value(daz32(b));
  return x < y ? Rel.LT : x > y ? Rel.GT : Rel.EQ;
}

const denormal64 = (hi: number, lo: number): boolean => (hi & 0x7ff0_0000) === 0 && ((hi & 0xf_ffff) | lo) !== 0;
const nan64 = (hi: number, lo: number): boolean => (hi & 0x7ff0_0000) === 0x7ff0_0000 && ((hi & 0xf_ffff) | lo) !== 0;

/** Applies DAZ to IN[i]. */
export function daz64(i: number): void {
  if (!st.daz || !denormal64(IN_U32[2 * i + 1]!, IN_U32[2 * i]!)) return;
  IN_U32[2 * i] = 0;
  IN_U32[2 * i + 1] = IN_U32[2 * i + 1]! & 0x8000_0000;
}

/** Compares IN[0] and IN[1] (DAZ is applied to them). */
export function compare64(quiet: boolean): Rel {
  const ah = IN_U32[1]!;
  const bh = IN_U32[3]!;
  const na = nan64(ah, IN_U32[0]!);
  const nb = nan64(bh, IN_U32[2]!);
  if (na || nb) {
    if (!quiet || (na && (ah & 0x8_0000) === 0) || (nb && (bh & 0x8_0000) === 0)) st.flags |= FpFlag.IE;
    return Rel.UNORDERED;
  }
  if (!st.daz && (denormal64(ah, IN_U32[0]!) || denormal64(bh, IN_U32[2]!))) st.flags |= FpFlag.DE;
  daz64(0);
  daz64(1);
  const x = IN[0]!;
  const y = IN[1]!;
  return x < y ? Rel.LT : x > y ? Rel.GT : Rel.EQ;
}
