/**
 * Floating point as the Arm ARM has it (shared/functions/float, J1.3.3): NaN propagation, default NaNs, flushing, on bit patterns.
 * Ordinary singles and doubles take the fast kernels that the x86 guest uses too; the rest is soft-float.
 */
import { Slot } from '../../../state.js';
import type { Arm64Cpu } from '../cpu.js';
import { A } from '../regs.js';
import { Cls, F16, F32, F64, FpFlag, type FpFormat, Rm, add, compare as softCompare, convert, div, fma, fromInt as softFromInt, isNaN as isNaNBits, mul, roundPack, roundToInt, sqrt, sub, unpack } from '../../../softfloat/softfloat.js';
import { IN_U64, OUT_U64, arith32, arith64, fma32, fpBegin, sqrt32, sqrt64, st } from '../../x86/vector/fp.js';
import { recipEstimate, recipSqrtEstimate } from './int.js';

export { F16, F32, F64, Rm };
export type { FpFormat };
export const FORMATS: readonly (FpFormat | null)[] = [null, F16, F32, F64];

const enum Fpcr { FZ16 = 1 << 19, FZ = 1 << 24, DN = 1 << 25, AHP = 1 << 26 }

let fz = false;
let fz16 = false;
let dn = false;
let ahp = false;
/** Input denormals were flushed. */
let idc = false;

/** Starts an instruction. */
export function begin(cpu: Arm64Cpu): void {
  fpBegin(cpu as unknown as Parameters<typeof fpBegin>[0]);
  const f = cpu.V[A.FPCR * 2]!;
  fz = (f & Fpcr.FZ) !== 0;
  fz16 = (f & Fpcr.FZ16) !== 0;
  dn = (f & Fpcr.DN) !== 0;
  ahp = (f & Fpcr.AHP) !== 0;
  idc = false;
  st.tinyBefore = true;
}

/** Ends it: cumulative flags. Denormal operands raise nothing (IDC only when flushed). */
export function end(cpu: Arm64Cpu): void {
  st.tinyBefore = false;
  const f = st.flags & ~FpFlag.DE;
  if (f !== 0) cpu.V[Slot.MXCSR * 2]! |= f;
  if (idc) cpu.V[A.QC * 2]! |= 0x80;
}

const defaultNaN = (f: FpFormat): bigint => f.infinity | f.quietBit;
export function invalid(f: FpFormat): bigint {
  st.flags |= FpFlag.IE;
  return defaultNaN(f);
}

const flushes = (f: FpFormat): boolean => (f === F16 ? fz16 : fz);

/** An operand with denormals flushed if FPCR asks. */
function flushed(f: FpFormat, v: bigint): bigint {
  if (!flushes(f) || (v & f.infinity) !== 0n || (v & f.fieldMask) === 0n) return v;
  if (f !== F16) idc = true;
  return v & f.signBit;
}

const isNaN = (f: FpFormat, v: bigint): boolean => (v & ~f.signBit) > f.infinity;
const isSNaN = (f: FpFormat, v: bigint): boolean => isNaN(f, v) && (v & f.quietBit) === 0n;
const isInf = (f: FpFormat, v: bigint): boolean => (v & ~f.signBit) === f.infinity;
const isZero = (f: FpFormat, v: bigint): boolean => (v & ~f.signBit) === 0n;

/** FPProcessNaN. */
function processNaN(f: FpFormat, v: bigint): bigint {
  if ((v & f.quietBit) === 0n) st.flags |= FpFlag.IE;
  return dn ? defaultNaN(f) : v | f.quietBit;
}

/** FPProcessNaNs: signalling NaNs first, then quiet ones, in operand order. -1n if none. */
function nans(f: FpFormat, a: bigint, b: bigint): bigint {
  if (isSNaN(f, a)) return processNaN(f, a);
  if (isSNaN(f, b)) return processNaN(f, b);
  if (isNaN(f, a)) return processNaN(f, a);
  if (isNaN(f, b)) return processNaN(f, b);
  return -1n;
}

/** The soft-float's NaN of an invalid operation is negative; Arm's is positive. */
const fix = (f: FpFormat, r: bigint): bigint => (isNaNBits(f, r) ? defaultNaN(f) : r);

/** Flushing of results: the kernels do it themselves from here on. */
function withFlush(f: FpFormat, run: () => bigint): bigint {
  const on = flushes(f);
  st.ftz = on;
  const r = run();
  st.ftz = false;
  return r;
}

const enum Kernel { ADD = 0, SUB = 1, MUL = 2, DIV = 3 }
const SOFT = [add, sub, mul, div] as const;

function arith(k: Kernel, f: FpFormat, a: bigint, b: bigint): bigint {
  a = flushed(f, a);
  b = flushed(f, b);
  const n = nans(f, a, b);
  if (n >= 0n) return n;
  if (flushes(f) || f === F16) return fix(f, withFlush(f, () => SOFT[k]!(f, a, b, st)));
  if (f === F32) return fix(f, BigInt(arith32(k as number, Number(a), Number(b)) >>> 0));
  IN_U64[0] = a;
  IN_U64[1] = b;
  arith64(k as number);
  return fix(f, OUT_U64[0]!);
}

export type Fp2 = (f: FpFormat, a: bigint, b: bigint) => bigint;
export const fadd: Fp2 = (f, a, b) => arith(Kernel.ADD, f, a, b);
export const fsub: Fp2 = (f, a, b) => arith(Kernel.SUB, f, a, b);
export const fmul: Fp2 = (f, a, b) => arith(Kernel.MUL, f, a, b);
export const fdiv: Fp2 = (f, a, b) => arith(Kernel.DIV, f, a, b);
export const fneg = (f: FpFormat, a: bigint): bigint => a ^ f.signBit;
export const fabs = (f: FpFormat, a: bigint): bigint => a & ~f.signBit;
export const fnmul: Fp2 = (f, a, b) => fneg(f, fmul(f, a, b));
export const fabd: Fp2 = (f, a, b) => fabs(f, fsub(f, a, b));

export const fmulx: Fp2 = (f, a, b) => {
  const [x, y] = [flushed(f, a), flushed(f, b)];
  if ((isInf(f, x) && isZero(f, y)) || (isZero(f, x) && isInf(f, y))) return two(f) | ((x ^ y) & f.signBit);
  return fmul(f, a, b);
};

const two = (f: FpFormat): bigint => BigInt(f.bias + 1) << f.fieldBits;
const oneAndHalf = (f: FpFormat): bigint => (BigInt(f.bias) << f.fieldBits) | (1n << (f.fieldBits - 1n));

/** -1, 0, 1; 2 unordered. */
export function relation(f: FpFormat, a: bigint, b: bigint, signaling: boolean): -1 | 0 | 1 | 2 {
  return softCompare(f, flushed(f, a), flushed(f, b), signaling, st);
}

function minMax(f: FpFormat, a: bigint, b: bigint, max: boolean): bigint {
  a = flushed(f, a);
  b = flushed(f, b);
  const n = nans(f, a, b);
  if (n >= 0n) return n;
  if (isZero(f, a) && isZero(f, b)) return max ? a & b : a | b;
  const r = softCompare(f, a, b, false, st);
  return (r > 0) === max ? a : b;
}
export const fmax: Fp2 = (f, a, b) => minMax(f, a, b, true);
export const fmin: Fp2 = (f, a, b) => minMax(f, a, b, false);

function number(f: FpFormat, a: bigint, b: bigint, max: boolean): bigint {
  // A quiet NaN loses against a number.
  const qa = isNaN(f, a) && !isSNaN(f, a);
  const qb = isNaN(f, b) && !isSNaN(f, b);
  if (qa && !isNaN(f, b)) a = f.infinity | (max ? f.signBit : 0n);
  else if (qb && !isNaN(f, a)) b = f.infinity | (max ? f.signBit : 0n);
  return minMax(f, a, b, max);
}
export const fmaxnm: Fp2 = (f, a, b) => number(f, a, b, true);
export const fminnm: Fp2 = (f, a, b) => number(f, a, b, false);

/** FPMulAdd: addend + a * b, fused. */
export function fmuladd(f: FpFormat, addend: bigint, a: bigint, b: bigint): bigint {
  addend = flushed(f, addend);
  a = flushed(f, a);
  b = flushed(f, b);
  const bad = (isInf(f, a) && isZero(f, b)) || (isZero(f, a) && isInf(f, b));
  let n = isSNaN(f, addend) ? processNaN(f, addend) : isSNaN(f, a) ? processNaN(f, a) : isSNaN(f, b) ? processNaN(f, b) : -1n;
  if (n < 0n) n = isNaN(f, addend) ? processNaN(f, addend) : isNaN(f, a) ? processNaN(f, a) : isNaN(f, b) ? processNaN(f, b) : -1n;
  if (isNaN(f, addend) && !isSNaN(f, addend) && bad) return invalid(f);
  if (n >= 0n) return n;
  if (f === F32 && !flushes(f)) return fix(f, BigInt(fma32(Number(a), Number(b), Number(addend)) >>> 0));
  return fix(f, withFlush(f, () => fma(f, a, b, addend, st)));
}

/** FPRecipStepFused: 2 - a * b. */
export const frecps: Fp2 = (f, a, b) => {
  a = fneg(f, flushed(f, a));
  b = flushed(f, b);
  const n = nans(f, a, b);
  if (n >= 0n) return n;
  if ((isInf(f, a) && isZero(f, b)) || (isZero(f, a) && isInf(f, b))) return two(f);
  return fix(f, withFlush(f, () => fma(f, a, b, two(f), st)));
};

/** FPRSqrtStepFused: (3 - a * b) / 2 with one rounding. */
export const frsqrts: Fp2 = (f, a, b) => {
  a = fneg(f, flushed(f, a));
  b = flushed(f, b);
  const n = nans(f, a, b);
  if (n >= 0n) return n;
  const x = unpack(f, a);
  const y = unpack(f, b);
  if ((x.cls === Cls.INF && y.cls === Cls.ZERO) || (x.cls === Cls.ZERO && y.cls === Cls.INF)) return oneAndHalf(f);
  const sign = x.sign !== y.sign;
  if (x.cls === Cls.INF || y.cls === Cls.INF) return f.infinity | (sign ? f.signBit : 0n);
  const p = x.sig * y.sig;
  if (p === 0n) return oneAndHalf(f);
  const e = Math.min(x.exp + y.exp, 0);
  const sum = (3n << BigInt(-e)) + ((sign ? -p : p) << BigInt(x.exp + y.exp - e));
  if (sum === 0n) return st.rm === 1 ? f.signBit : 0n;
  return withFlush(f, () => roundPack(f, sum < 0n, sum < 0n ? -sum : sum, e - 1, st));
};

export type Fp1 = (f: FpFormat, a: bigint) => bigint;

export const fsqrt: Fp1 = (f, a) => {
  a = flushed(f, a);
  if (isNaN(f, a)) return processNaN(f, a);
  if (f === F32) return fix(f, BigInt(sqrt32(Number(a)) >>> 0));
  if (f === F16) return fix(f, sqrt(f, a, st));
  IN_U64[0] = a;
  sqrt64();
  return fix(f, OUT_U64[0]!);
};

/** FPRoundInt. rm 4: to nearest, ties away. */
export function frint(f: FpFormat, a: bigint, rm: number, exact: boolean): bigint {
  a = flushed(f, a);
  if (isNaN(f, a)) return processNaN(f, a);
  if (rm < 4) return roundToInt(f, a, rm, !exact, st);
  const t = tiesAway(f, a);
  return t === null ? a : t === 0n ? a & f.signBit : roundPack(f, (a & f.signBit) !== 0n, t, 0, st);
}

/** Magnitude of a finite value rounded to an integer, ties away from zero; null if it is one already. */
function tiesAway(f: FpFormat, a: bigint): bigint | null {
  const u = unpack(f, a);
  if (u.cls !== Cls.FINITE || u.exp >= 0) return null;
  const n = BigInt(-u.exp);
  const r = (u.sig + (1n << (n - 1n))) >> n;
  return r << n === u.sig ? null : r;
}

/** FPToFixed: to an integer of `bits` bits after scaling by 2^fbits, saturating; rm as `frint`. */
export function fptoint(f: FpFormat, a: bigint, bits: number, signed: boolean, rm: number, fbits: number): bigint {
  a = flushed(f, a);
  const u = unpack(f, a);
  if (u.cls === Cls.QNAN || u.cls === Cls.SNAN) {
    st.flags |= FpFlag.IE;
    return 0n;
  }
  const n = BigInt(bits);
  const max = signed ? (1n << (n - 1n)) - 1n : (1n << n) - 1n;
  const min = signed ? -(1n << (n - 1n)) : 0n;
  const out = (neg: boolean): bigint => {
    st.flags |= FpFlag.IE;
    return BigInt.asUintN(bits, neg ? min : max);
  };
  if (u.cls === Cls.INF) return out(u.sign);
  if (u.cls === Cls.ZERO) return 0n;
  const exp = u.exp + fbits;
  if (exp > 70) return out(u.sign);
  let m: bigint;
  let inexact = false;
  if (exp >= 0) m = u.sig << BigInt(exp);
  else {
    const k = BigInt(-exp);
    m = u.sig >> k;
    const rest = u.sig - (m << k);
    if (rest !== 0n) {
      inexact = true;
      const half = 1n << (k - 1n);
      const up = rm === Rm.NEAREST ? rest > half || (rest === half && (m & 1n) !== 0n) : rm === 4 ? rest >= half : rm === Rm.DOWN ? u.sign : rm === Rm.UP ? !u.sign : false;
      if (up) m++;
    }
  }
  const v = u.sign ? -m : m;
  if (v > max || v < min) return out(u.sign);
  if (inexact) st.flags |= FpFlag.PE;
  return BigInt.asUintN(bits, v);
}

/** FixedToFP. */
export function fpfromint(f: FpFormat, v: bigint, fbits: number): bigint {
  if (v === 0n) return 0n;
  if (fbits === 0) return softFromInt(f, v, st);
  // A half-precision result may be tiny.
  return withFlush(f, () => roundPack(f, v < 0n, v < 0n ? -v : v, -fbits, st));
}

/** FPConvert between formats, alternative half precision included. */
export function fcvt(from: FpFormat, to: FpFormat, a: bigint): bigint {
  const altFrom = from === F16 && ahp;
  const altTo = to === F16 && ahp;
  if (altFrom && (a & F16.infinity) === F16.infinity) {
    // No infinities or NaNs: the top exponent holds numbers.
    return roundPack(to, (a & F16.signBit) !== 0n, (a & F16.fieldMask) | (1n << F16.fieldBits), F16.expMax - F16.bias - (F16.p - 1), st);
  }
  // FPConvert flushes single and double inputs under FZ; half-precision ones never (FPUnpackCV).
  if (from !== F16) a = flushed(from, a);
  if (isNaN(from, a)) {
    if (altTo) {
      st.flags |= FpFlag.IE;
      return (a & from.signBit) !== 0n ? F16.signBit : 0n;
    }
    if ((a & from.quietBit) === 0n) st.flags |= FpFlag.IE;
    if (dn) return defaultNaN(to);
    const d = to.p - from.p;
    const fraction = a & from.fieldMask;
    return ((a & from.signBit) !== 0n ? to.signBit : 0n) | to.infinity | to.quietBit | (d >= 0 ? fraction << BigInt(d) : fraction >> BigInt(-d));
  }
  if (altTo) return toAlternative(from, a);
  const saved = st.ftz;
  st.ftz = to !== F16 && fz;
  const r = convert(from, to, a, st);
  st.ftz = saved;
  return r;
}

/** To alternative half precision: overflow and infinity become the largest number, with invalid operation. */
function toAlternative(from: FpFormat, a: bigint): bigint {
  const u = unpack(from, a);
  const sign = u.sign ? F16.signBit : 0n;
  if (u.cls === Cls.ZERO) return sign;
  const biggest = sign | 0x7fffn;
  if (u.cls === Cls.INF) {
    st.flags |= FpFlag.IE;
    return biggest;
  }
  const before = st.flags;
  // A format with one more exponent than half precision: round there, then put the top exponent together.
  const wide = roundPack(WIDE16, u.sign, u.sig, u.exp, st);
  if ((wide & WIDE16.infinity) === WIDE16.infinity || Number((wide >> WIDE16.fieldBits) & 0x3fn) - WIDE16.bias > 16) {
    st.flags = before | FpFlag.IE;
    return biggest;
  }
  const e = Number((wide >> WIDE16.fieldBits) & 0x3fn) - WIDE16.bias;
  if (e < -14) {
    st.flags = before;
    return roundPack(F16, u.sign, u.sig, u.exp, st);
  }
  return sign | (BigInt(e + 15) << 10n) | (wide & 0x3ffn);
}
/** Half-precision significands with six exponent bits. */
const WIDE16: FpFormat = { ...F16, name: 'f17', width: 17, bias: 31, expMax: 63, infinity: 63n << 10n, signBit: 1n << 16n, defaultNaN: 0n };

/** FPRecipEstimate. */
export const frecpe: Fp1 = (f, a) => {
  a = flushed(f, a);
  if (isNaN(f, a)) return processNaN(f, a);
  const sign = a & f.signBit;
  if (isInf(f, a)) return sign;
  if (isZero(f, a)) {
    st.flags |= FpFlag.ZE;
    return sign | f.infinity;
  }
  const u = unpack(f, a);
  // Very small: the reciprocal overflows.
  const top = u.exp + u.sig.toString(2).length - 1;
  if (top < -f.bias - 1) {
    const toInf = st.rm === Rm.NEAREST || (st.rm === Rm.DOWN && u.sign) || (st.rm === Rm.UP && !u.sign);
    st.flags |= FpFlag.OE | FpFlag.PE;
    return sign | (toInf ? f.infinity : f.infinity - 1n);
  }
  if (flushes(f) && top >= f.bias - 1) {
    st.flags |= FpFlag.UE;
    return sign;
  }
  // Fraction as 0.1xxx with 8 bits below the leading one.
  const n = u.sig.toString(2).length;
  const scaled = Number((n > 9 ? u.sig >> BigInt(n - 9) : u.sig << BigInt(9 - n)) & 0x1ffn);
  const estimate = recipEstimate(scaled);
  let exp = f.bias - 1 - top;
  let fraction = BigInt(estimate & 0xff) << (f.fieldBits - 8n);
  if (exp <= 0) {
    // Denormal result.
    fraction = ((1n << f.fieldBits) | fraction) >> BigInt(1 - exp);
    exp = 0;
  }
  return sign | (BigInt(exp) << f.fieldBits) | fraction;
};

/** FPRSqrtEstimate. */
export const frsqrte: Fp1 = (f, a) => {
  a = flushed(f, a);
  if (isNaN(f, a)) return processNaN(f, a);
  const sign = a & f.signBit;
  if (isZero(f, a)) {
    st.flags |= FpFlag.ZE;
    return sign | f.infinity;
  }
  if (sign !== 0n) return invalid(f);
  if (isInf(f, a)) return 0n;
  const u = unpack(f, a);
  const n = u.sig.toString(2).length;
  const top = u.exp + n - 1;
  const frac = n > 9 ? u.sig >> BigInt(n - 9) : u.sig << BigInt(9 - n);
  // Even biased exponents (odd real ones) take 0.1x, odd ones 0.01x (scaled to 8 bits of fraction).
  const even = ((top + f.bias) & 1) === 0;
  const scaled = even ? Number(frac) : Number(frac >> 1n);
  const estimate = recipSqrtEstimate(scaled);
  const exp = Math.floor((3 * f.bias - 1 - (top + f.bias)) / 2);
  return (BigInt(exp) << f.fieldBits) | (BigInt(estimate & 0xff) << (f.fieldBits - 8n));
};

/** FPRecpX: the exponent inverted. */
export const frecpx: Fp1 = (f, a) => {
  a = flushed(f, a);
  if (isNaN(f, a)) return processNaN(f, a);
  const e = Number((a >> f.fieldBits) & BigInt(f.expMax));
  const sign = a & f.signBit;
  return sign | (BigInt(e === 0 ? f.expMax - 1 : ~e & f.expMax) << f.fieldBits);
};

/** The rounding mode of FPCR, as `Rm`. */
export const currentRm = (): number => st.rm;

/** FCVTXN: double to single, rounding to odd. */
export function roundToOdd(a: bigint): bigint {
  a = flushed(F64, a);
  if (isNaN(F64, a) || isInf(F64, a) || isZero(F64, a)) return fcvt(F64, F32, a);
  const rm = st.rm;
  const before = st.flags;
  st.flags = 0;
  st.rm = Rm.ZERO;
  const r = fcvt(F64, F32, a);
  const f = st.flags;
  st.flags |= before;
  st.rm = rm;
  return f & FpFlag.PE ? r | 1n : r;
}
