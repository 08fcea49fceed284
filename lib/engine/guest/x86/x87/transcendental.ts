/**
 * Transcendental instructions. Intel SDM vol. 1, 8.3.7..8.3.10; vol. 2: F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS,
 * FSINCOS.
 *
 * Results are correctly rounded by FCW.RC to 64 bits (the precision control does not apply). Silicon promises less than
 * one ulp, so the last bit may differ from any given processor. Arguments of the trigonometric functions are reduced with
 * the true pi; processors use a 66-bit one, so for large arguments, and near multiples of pi, their results differ in
 * more than the last bit. Outside the documented domain (|x| > 1 in F2XM1) the result is the mathematical one where the
 * value exists.
 */
import { HelperResult } from '../../../helpers.js';
import type { HelperFn, HelperRegistry } from '../../../helpers.js';
import { NONE } from '../../../state.js';
import { Cls, F80, FpFlag, add, bitLength, invalid, roundPack, unpack } from '../../../softfloat/softfloat.js';
import type { FpStatus, Unpacked } from '../../../softfloat/softfloat.js';
import { ONE, W, arctan, expm1, ln, ln2, pi, sinCos } from '../../../softfloat/fixed.js';
import { binary, nanResult, unary } from './arith.js';
import { INDEFINITE, Sw, begin, finish, isEmpty, push, setCc, setSt, st, stackFault, startOp } from './state.js';
import type { X87Cpu } from './state.js';

type Fn = HelperFn<X87Cpu>;
const CONTINUE = HelperResult.CONTINUE;
const DISPATCH = HelperResult.DISPATCH;

/** Below 2^-TINY a function equals its leading term up to far less than the precision. */
const TINY = 70;
/** Guard bits when an exact leading term is nudged. */
const GUARD = 140;

/** Exponent of a finite number: it lies in [2^e, 2^(e+1)). */
const magnitude = (u: Unpacked): number => u.exp + bitLength(u.sig) - 1;

const abs = (x: bigint): bigint => (x < 0n ? -x : x);

/** Rounds an inexact fixed-point value v * 2^exp: the lowest bit stands for what follows. */
function inexact(sign: boolean, v: bigint, exp: number, s: FpStatus): bigint {
  return roundPack(F80, v < 0n ? !sign : sign, (abs(v) << 1n) | 1n, exp - 1, s);
}

/** x plus (direction 1) or minus (-1) a very little, in magnitude. */
function nudge(u: Unpacked, direction: 1 | -1, s: FpStatus): bigint {
  return roundPack(F80, u.sign, (u.sig << BigInt(GUARD)) + BigInt(direction), u.exp - GUARD, s);
}

/** u as fixed point with `bits` fraction bits (truncated; callers make sure that nothing that matters is lost). */
function fixed(u: Unpacked, bits = W): bigint {
  const shift = u.exp + bits;
  return shift >= 0 ? u.sig << BigInt(shift) : u.sig >> BigInt(-shift);
}

const one = F80.bias;
const ONE_F80 = (BigInt(one) << 64n) | (1n << 63n);

/** Reduced argument: |x| = n * pi/2 + r with |r| <= pi/4; r has W fraction bits. */
function reduce(u: Unpacked): { quadrant: number; r: bigint } {
  // 64 integer bits, and as many again for the cancellation next to a multiple of pi/2.
  const bits = W + 160;
  const half = pi(bits) >> 1n;
  const x = fixed(u, bits);
  const q = (2n * x + half) / (2n * half);
  return { quadrant: Number(q & 3n), r: (x - q * half) >> 160n };
}

const sinOf = (u: Unpacked, s: FpStatus): bigint => {
  if (magnitude(u) < -TINY) return nudge(u, -1, s);
  const { quadrant, r } = reduce(u);
  const sc = sinCos(r);
  const v = (quadrant & 1) !== 0 ? sc.cos : sc.sin;
  return inexact(u.sign !== quadrant >= 2, v, -W, s);
};

const cosOf = (u: Unpacked, s: FpStatus): bigint => {
  if (magnitude(u) < -TINY) return roundPack(F80, false, (1n << BigInt(GUARD)) - 1n, -GUARD, s);
  const { quadrant, r } = reduce(u);
  const sc = sinCos(r);
  const v = (quadrant & 1) !== 0 ? sc.sin : sc.cos;
  return inexact(quadrant === 1 || quadrant === 2, v, -W, s);
};

const tanOf = (u: Unpacked, s: FpStatus): bigint => {
  if (magnitude(u) < -TINY) return nudge(u, 1, s);
  const { quadrant, r } = reduce(u);
  const sc = sinCos(r);
  const odd = (quadrant & 1) !== 0;
  // tan(x + pi/2) = -cos/sin. The quotient keeps W bits below the smaller of both.
  const [n, d] = odd ? [-sc.cos, sc.sin] : [sc.sin, sc.cos];
  return inexact(u.sign !== d < 0n, (n << BigInt(W)) / abs(d), -W, s);
};

type Trig = (u: Unpacked, s: FpStatus) => bigint;

/** Operand of a trigonometric instruction: NaN, infinity, zero. @returns -1n to go on. */
function trigSpecial(u: Unpacked, x: bigint, atZero: bigint, s: FpStatus): bigint {
  if (u.cls >= Cls.QNAN) return add(F80, x, x, s);
  if (u.cls === Cls.INF) return invalid(F80, s);
  if (u.cls === Cls.ZERO) return atZero;
  if (u.denormal) s.flags |= FpFlag.DE;
  return -1n;
}

/** |x| >= 2^63: C2 is set and nothing happens. */
const outOfRange = (u: Unpacked): boolean => u.cls === Cls.FINITE && magnitude(u) >= 63;

function trig(f: Trig, isCos: boolean): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    setCc(cpu, Sw.C2, 0);
    if (isEmpty(cpu, 0)) {
      if (stackFault(cpu, false)) setSt(cpu, 0, INDEFINITE);
      return CONTINUE;
    }
    const s = startOp(cpu);
    const x = st(cpu, 0);
    const u = unpack(F80, x);
    if (outOfRange(u)) {
      setCc(cpu, Sw.C1 | Sw.C2, Sw.C2);
      return CONTINUE;
    }
    let v = trigSpecial(u, x, isCos ? ONE_F80 : x, s);
    if (v < 0n) v = f(u, s);
    if (finish(cpu, s)) setSt(cpu, 0, v);
    return CONTINUE;
  };
}

/** FSINCOS (ST(0) = sin, push cos) and FPTAN (ST(0) = tan, push 1.0). */
function trigPush(isTan: boolean): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    setCc(cpu, Sw.C2, 0);
    const under = isEmpty(cpu, 0);
    if (under || !isEmpty(cpu, -1)) {
      if (stackFault(cpu, !under)) {
        setSt(cpu, 0, INDEFINITE);
        push(cpu, INDEFINITE);
      }
      return CONTINUE;
    }
    const s = startOp(cpu);
    const x = st(cpu, 0);
    const u = unpack(F80, x);
    if (outOfRange(u)) {
      setCc(cpu, Sw.C1 | Sw.C2, Sw.C2);
      return CONTINUE;
    }
    let first = trigSpecial(u, x, x, s);
    let second = first >= 0n && u.cls !== Cls.ZERO ? first : ONE_F80;
    if (first < 0n) {
      first = (isTan ? tanOf : sinOf)(u, s);
      if (!isTan) {
        const up = s.roundedUp;
        second = cosOf(u, s);
        s.roundedUp = up;
      }
    }
    if (!finish(cpu, s)) return CONTINUE;
    setSt(cpu, 0, first);
    push(cpu, second);
    return CONTINUE;
  };
}

/** 2^x - 1. */
function f2xm1(x: bigint, s: FpStatus): bigint {
  const u = unpack(F80, x);
  if (u.cls >= Cls.QNAN) return add(F80, x, x, s);
  if (u.cls === Cls.INF) return u.sign ? F80.signBit | ONE_F80 : x;
  if (u.cls === Cls.ZERO) return x;
  if (u.denormal) s.flags |= FpFlag.DE;
  const e = magnitude(u);
  if (e < -TINY) {
    // x * ln 2 * (1 + a little with the sign of x)
    const m = u.sig * ln2();
    return roundPack(F80, u.sign, (m << 2n) + (u.sign ? -1n : 1n), u.exp - W - 2, s);
  }
  if (e >= 0) {
    // Outside (-1, 1) the instruction is undefined; -1 and 1 are exact.
    if (u.sig << BigInt(64 - bitLength(u.sig)) === 1n << 63n && e === 0) return u.sign ? F80.signBit | (ONE_F80 - (1n << 64n)) : ONE_F80;
    return x;
  }
  const t = (fixed(u) * ln2()) >> BigInt(W);
  return inexact(false, expm1(u.sign ? -t : t), -W, s);
}

/** log2 as fixed point with W fraction bits; `exact` if x is a power of two. */
function log2(u: Unpacked): { v: bigint; exact: boolean } {
  let e = magnitude(u);
  const n = bitLength(u.sig);
  if (u.sig === 1n << BigInt(n - 1)) return { v: BigInt(e) << BigInt(W), exact: true };
  let m = u.sig << BigInt(W - (n - 1));
  // Keep the logarithm small on both sides of 1, where cancellation would cost precision.
  if (m > ONE + (ONE >> 1n)) {
    m >>= 1n;
    e++;
  }
  return { v: (BigInt(e) << BigInt(W)) + (ln(m) << BigInt(W)) / ln2(), exact: false };
}

/** Product of a finite y and the fixed-point factor v. */
function scaled(y: Unpacked, v: bigint, exp: number, exact: boolean, s: FpStatus): bigint {
  const m = y.sig * v;
  const sign = y.sign;
  // Processors report every result of a computed logarithm as inexact.
  s.flags |= FpFlag.PE;
  return exact ? roundPack(F80, m < 0n ? !sign : sign, abs(m), exp + y.exp, s) : inexact(sign, m, exp + y.exp, s);
}

const signed = (negative: boolean, v: bigint): bigint => (negative ? v | F80.signBit : v);

/** ST(1) * log2(ST(0)); x = ST(0), y = ST(1). Special values: SDM vol. 2, table of FYL2X. */
function fyl2x(x: bigint, y: bigint, s: FpStatus): bigint {
  const n = nanResult(x, y, s);
  if (n >= 0n) return n;
  const a = unpack(F80, x);
  const b = unpack(F80, y);
  if (a.cls === Cls.ZERO) {
    if (b.cls === Cls.ZERO) return invalid(F80, s);
    if (b.cls === Cls.FINITE) s.flags |= FpFlag.ZE;
    return signed(!b.sign, F80.infinity);
  }
  if (a.sign) return invalid(F80, s);
  const isOne = a.cls === Cls.FINITE && x === ONE_F80;
  if (b.cls === Cls.INF) {
    if (isOne) return invalid(F80, s);
    if (a.denormal) s.flags |= FpFlag.DE;
    return signed(b.sign !== (a.cls === Cls.FINITE && magnitude(a) < 0), F80.infinity);
  }
  if (a.cls === Cls.INF) {
    if (b.cls === Cls.ZERO) return invalid(F80, s);
    if (b.denormal) s.flags |= FpFlag.DE;
    return signed(b.sign, F80.infinity);
  }
  if (a.denormal || b.denormal) s.flags |= FpFlag.DE;
  if (b.cls === Cls.ZERO) return signed(b.sign !== magnitude(a) < 0, 0n);
  if (isOne) return signed(b.sign, 0n);
  const l = log2(a);
  return scaled(b, l.v, -W, l.exact, s);
}

/** ST(1) * log2(ST(0) + 1). */
function fyl2xp1(x: bigint, y: bigint, s: FpStatus): bigint {
  const n = nanResult(x, y, s);
  if (n >= 0n) return n;
  const a = unpack(F80, x);
  const b = unpack(F80, y);
  const e = a.cls === Cls.FINITE ? magnitude(a) : 0;
  // log2 of zero or less
  if (a.sign && (a.cls === Cls.INF || (a.cls === Cls.FINITE && e >= 0))) {
    return invalid(F80, s);
  }
  if (a.cls === Cls.INF || b.cls === Cls.INF) {
    if (a.cls === Cls.ZERO || b.cls === Cls.ZERO) return invalid(F80, s);
    if (a.denormal || b.denormal) s.flags |= FpFlag.DE;
    return signed(a.sign !== b.sign, F80.infinity);
  }
  if (a.denormal || b.denormal) s.flags |= FpFlag.DE;
  if (a.cls === Cls.ZERO || b.cls === Cls.ZERO) return signed(a.sign !== b.sign, 0n);
  if (e < -TINY) {
    // x / ln 2 * (1 - x/2): a little less for positive x, more for negative.
    const inverse = (1n << BigInt(2 * W)) / ln2();
    const m = ((a.sig * b.sig * inverse) << 2n) + (a.sign ? 1n : -1n);
    return roundPack(F80, a.sign !== b.sign, m, a.exp + b.exp - W - 2, s);
  }
  if (e >= 64) {
    const l = log2(a);
    return scaled(b, l.v, -W, false, s);
  }
  // 1 + x is exact in fixed point: x has at most 64 bits and is at least 2^-TINY.
  const shift = 2 * TINY;
  const sum = (1n << BigInt(shift)) + (a.sign ? -fixed(a, shift) : fixed(a, shift));
  const l = log2({ ...a, sign: false, sig: sum, exp: -shift });
  return scaled(b, l.v, -W, l.exact, s);
}

/** pi * num/4 as a rounded number. */
const piFraction = (num: bigint, sign: boolean, s: FpStatus): bigint => roundPack(F80, sign, ((pi(W) * num) << 1n) | 1n, -W - 3, s);

/** arctan(ST(1) / ST(0)) in the full circle; x = ST(0), y = ST(1). */
function fpatan(x: bigint, y: bigint, s: FpStatus): bigint {
  const n = nanResult(x, y, s);
  if (n >= 0n) return n;
  const a = unpack(F80, x);
  const b = unpack(F80, y);
  if (a.denormal || b.denormal) s.flags |= FpFlag.DE;
  const sign = b.sign;
  if (b.cls === Cls.INF) return piFraction(a.cls === Cls.INF ? (a.sign ? 3n : 1n) : 2n, sign, s);
  if (a.cls === Cls.INF || b.cls === Cls.ZERO) return a.sign ? piFraction(4n, sign, s) : signed(sign, 0n);
  if (a.cls === Cls.ZERO) return piFraction(2n, sign, s);
  const d = magnitude(b) - magnitude(a);
  // A quotient beyond the precision: only the side from which the limit is approached matters.
  if (d > 2 * GUARD) return roundPack(F80, sign, (pi(W) << 1n) - 1n, -W - 2, s);
  if (d < -TINY) {
    if (a.sign) {
      const z = d < -2 * GUARD ? 1n : ((b.sig << BigInt(W)) / a.sig << BigInt(Math.max(0, b.exp - a.exp))) >> BigInt(Math.max(0, a.exp - b.exp));
      return inexact(sign, pi(W) - z, -W, s);
    }
    // y/x less a very little
    const q = (b.sig << BigInt(W)) / a.sig;
    return roundPack(F80, sign, (q << 8n) - (q * a.sig === b.sig << BigInt(W) ? 1n : -1n), b.exp - a.exp - W - 8, s);
  }
  // The quotient of the smaller by the larger, W bits.
  const e = Math.min(a.exp, b.exp);
  const p = b.sig << BigInt(b.exp - e);
  const q = a.sig << BigInt(a.exp - e);
  const steep = p > q;
  const t = arctan(((steep ? q : p) << BigInt(W)) / (steep ? p : q));
  const half = pi(W) >> 1n;
  let v = steep ? half - t : t;
  if (a.sign) v = pi(W) - v;
  return inexact(sign, v, -W, s);
}

export function defineTranscendental<C extends X87Cpu>(r: HelperRegistry<C>): void {
  r.define('x87.f2xm1', unary(f2xm1));
  r.define('x87.fyl2x', binary(true, fyl2x));
  r.define('x87.fyl2xp1', binary(true, fyl2xp1));
  r.define('x87.fpatan', binary(true, fpatan));
  r.define('x87.fsin', trig(sinOf, false));
  r.define('x87.fcos', trig(cosOf, true));
  r.define('x87.fsincos', trigPush(false));
  r.define('x87.fptan', trigPush(true));
}
