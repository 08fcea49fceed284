/**
 * Exact IEEE 754 arithmetic on bit patterns, with the exception and NaN rules of x86: SSE rules for F16, F32 and F64,
 * x87 rules for F80. Used by interpreters and by everything the host cannot do natively.
 * Intel SDM vol. 1: tables 4-7 and 4-8 (NaNs), 4.9 (exceptions and their precedence), 8.5, 11.5.
 */
import { Cls, FpFlag, bitLength, inf, isqrt, operand, roundInteger, roundPack, unpack, zero } from './format.js';
import type { FpFormat, FpStatus, Unpacked } from './format.js';

export { F16, F32, F64, F80, FpFlag, Rm, Cls, unpack, bitLength, isqrt, roundPack } from './format.js';
export type { FpFormat, FpStatus, Unpacked } from './format.js';

/** A fresh status: round to nearest, nothing flushed, no flags. */
export function fpStatus(rm = 0): FpStatus {
  return { rm, flags: 0, daz: false, ftz: false };
}

export const isNaN = (f: FpFormat, v: bigint): boolean => {
  const c = unpack(f, v).cls;
  return c === Cls.QNAN || c === Cls.SNAN;
};
export const isSNaN = (f: FpFormat, v: bigint): boolean => unpack(f, v).cls === Cls.SNAN;

const nan = (u: Unpacked): boolean => u.cls === Cls.QNAN || u.cls === Cls.SNAN;

export function invalid(f: FpFormat, st: FpStatus): bigint {
  st.flags |= FpFlag.IE;
  return f.defaultNaN;
}

/**
 * Result of an operation with a NaN operand. SSE: the first operand if it is a NaN, else the second (table 4-8).
 * x87: a quiet NaN beats a signalling one; of two alike the larger significand wins, then the positive one (table 4-7).
 */
function propagate(f: FpFormat, a: Unpacked, b: Unpacked, st: FpStatus): bigint {
  if (a.cls === Cls.SNAN || b.cls === Cls.SNAN) st.flags |= FpFlag.IE;
  const qa = a.bits | f.quietBit;
  const qb = b.bits | f.quietBit;
  if (!nan(a)) return qb;
  if (!nan(b) || !f.explicit) return qa;
  if (a.cls !== b.cls) return a.cls === Cls.QNAN ? qa : qb;
  const sa = qa & f.fieldMask;
  const sb = qb & f.fieldMask;
  if (sa !== sb) return sa > sb ? qa : qb;
  return a.sign ? qb : qa;
}

/** Handles NaNs and unsupported operands. @returns the result, or -1n if both are numbers. */
function special(f: FpFormat, a: Unpacked, b: Unpacked, st: FpStatus): bigint {
  if (a.cls === Cls.UNSUPPORTED || b.cls === Cls.UNSUPPORTED) return invalid(f, st);
  if (nan(a) || nan(b)) return propagate(f, a, b, st);
  return -1n;
}

function special1(f: FpFormat, a: Unpacked, st: FpStatus): bigint {
  if (a.cls === Cls.UNSUPPORTED) return invalid(f, st);
  if (a.cls === Cls.SNAN) st.flags |= FpFlag.IE;
  return nan(a) ? a.bits | f.quietBit : -1n;
}

const precisionOf = (f: FpFormat, st: FpStatus): number => (f.explicit ? st.precision ?? 64 : f.p);

/** Sum of two finite numbers of which at least one is not zero, as sign/significand/exponent, exact enough to round. */
function sumRound(f: FpFormat, as: boolean, am: bigint, ae: number, bs: boolean, bm: bigint, be: number, st: FpStatus): bigint {
  if (am === 0n || bm === 0n) {
    return am === 0n ? roundPack(f, bs, bm, be, st, precisionOf(f, st)) : roundPack(f, as, am, ae, st, precisionOf(f, st));
  }
  let topA = ae + bitLength(am);
  let topB = be + bitLength(bm);
  if (topA < topB) {
    [as, am, ae, topA, bs, bm, be, topB] = [bs, bm, be, topB, as, am, ae, topA];
  }
  // An operand far below every bit that matters only counts as "a little more or less".
  const floor = Math.min(ae, topA - 130) - 2;
  if (topB <= floor) {
    bm = 1n;
    be = floor;
  }
  const e = Math.min(ae, be);
  const x = am << BigInt(ae - e);
  const y = bm << BigInt(be - e);
  let m = as === bs ? x + y : x - y;
  let sign = as;
  if (m === 0n) return zero(f, st.rm === 1);
  if (m < 0n) {
    m = -m;
    sign = !sign;
  }
  return roundPack(f, sign, m, e, st, precisionOf(f, st));
}

function addSigned(f: FpFormat, av: bigint, bv: bigint, negate: boolean, st: FpStatus): bigint {
  const a = operand(f, av, st);
  const b = operand(f, bv, st);
  const s = special(f, a, b, st);
  if (s >= 0n) return s;
  const bs = b.sign !== negate;
  if (a.cls === Cls.INF && b.cls === Cls.INF && a.sign !== bs) return invalid(f, st);
  if (a.denormal || b.denormal) st.flags |= FpFlag.DE;
  if (a.cls === Cls.INF) return a.bits;
  if (b.cls === Cls.INF) return inf(f, bs);
  if (a.cls === Cls.ZERO && b.cls === Cls.ZERO) return zero(f, a.sign === bs ? bs : st.rm === 1);
  return sumRound(f, a.sign, a.sig, a.exp, bs, b.sig, b.exp, st);
}

export function add(f: FpFormat, a: bigint, b: bigint, st: FpStatus): bigint {
  return addSigned(f, a, b, false, st);
}

export function sub(f: FpFormat, a: bigint, b: bigint, st: FpStatus): bigint {
  return addSigned(f, a, b, true, st);
}

export function mul(f: FpFormat, av: bigint, bv: bigint, st: FpStatus): bigint {
  const a = operand(f, av, st);
  const b = operand(f, bv, st);
  const s = special(f, a, b, st);
  if (s >= 0n) return s;
  const sign = a.sign !== b.sign;
  if ((a.cls === Cls.INF && b.cls === Cls.ZERO) || (a.cls === Cls.ZERO && b.cls === Cls.INF)) return invalid(f, st);
  if (a.denormal || b.denormal) st.flags |= FpFlag.DE;
  if (a.cls === Cls.INF || b.cls === Cls.INF) return inf(f, sign);
  if (a.cls === Cls.ZERO || b.cls === Cls.ZERO) return zero(f, sign);
  return roundPack(f, sign, a.sig * b.sig, a.exp + b.exp, st, precisionOf(f, st));
}

export function div(f: FpFormat, av: bigint, bv: bigint, st: FpStatus): bigint {
  const a = operand(f, av, st);
  const b = operand(f, bv, st);
  const s = special(f, a, b, st);
  if (s >= 0n) return s;
  const sign = a.sign !== b.sign;
  if (a.cls === b.cls && (a.cls === Cls.INF || a.cls === Cls.ZERO)) return invalid(f, st);
  if (b.cls === Cls.ZERO && a.cls === Cls.FINITE) {
    // Divide-by-zero takes precedence over a denormal dividend (SDM vol. 1, 4.9.2).
    st.flags |= FpFlag.ZE;
    return inf(f, sign);
  }
  if (a.denormal || b.denormal) st.flags |= FpFlag.DE;
  if (a.cls === Cls.INF) return inf(f, sign);
  if (b.cls === Cls.INF || a.cls === Cls.ZERO) return zero(f, sign);
  const shift = Math.max(0, f.p + 3 + bitLength(b.sig) - bitLength(a.sig));
  const n = a.sig << BigInt(shift);
  let q = n / b.sig;
  if (q * b.sig !== n) q = (q << 1n) | 1n;
  else q <<= 1n;
  return roundPack(f, sign, q, a.exp - shift - b.exp - 1, st, precisionOf(f, st));
}

export function sqrt(f: FpFormat, av: bigint, st: FpStatus): bigint {
  const a = operand(f, av, st);
  const s = special1(f, a, st);
  if (s >= 0n) return s;
  if (a.cls === Cls.ZERO) return a.bits;
  if (a.sign) return invalid(f, st);
  if (a.denormal) st.flags |= FpFlag.DE;
  if (a.cls === Cls.INF) return a.bits;
  let shift = Math.max(0, 2 * (f.p + 3) - bitLength(a.sig));
  if (((a.exp - shift) & 1) !== 0) shift++;
  const x = a.sig << BigInt(shift);
  const r = isqrt(x);
  return roundPack(f, false, r * r === x ? r << 1n : (r << 1n) | 1n, (a.exp - shift) / 2 - 1, st, precisionOf(f, st));
}

/**
 * a * b + c with one rounding. NaN precedence a, b, c: the caller orders the operands as the instruction form demands
 * (SDM vol. 1, table 14-17). A NaN addend beats the invalid product of zero and infinity.
 */
export function fma(f: FpFormat, av: bigint, bv: bigint, cv: bigint, st: FpStatus): bigint {
  const a = operand(f, av, st);
  const b = operand(f, bv, st);
  const c = operand(f, cv, st);
  if (nan(a) || nan(b) || nan(c)) {
    if (a.cls === Cls.SNAN || b.cls === Cls.SNAN || c.cls === Cls.SNAN) st.flags |= FpFlag.IE;
    return (nan(a) ? a : nan(b) ? b : c).bits | f.quietBit;
  }
  if (a.cls === Cls.UNSUPPORTED || b.cls === Cls.UNSUPPORTED || c.cls === Cls.UNSUPPORTED) return invalid(f, st);
  const sign = a.sign !== b.sign;
  const infinite = a.cls === Cls.INF || b.cls === Cls.INF;
  if (infinite && (a.cls === Cls.ZERO || b.cls === Cls.ZERO)) return invalid(f, st);
  if (infinite && c.cls === Cls.INF && c.sign !== sign) return invalid(f, st);
  if (a.denormal || b.denormal || c.denormal) st.flags |= FpFlag.DE;
  if (infinite) return inf(f, sign);
  if (c.cls === Cls.INF) return c.bits;
  const m = a.sig * b.sig;
  if (m === 0n && c.sig === 0n) return zero(f, sign === c.sign ? sign : st.rm === 1);
  return sumRound(f, sign, m, a.exp + b.exp, c.sign, c.sig, c.exp, st);
}

/** Moves a NaN's payload into another format, quieted. */
function convertNaN(from: FpFormat, to: FpFormat, u: Unpacked): bigint {
  // Fractions are aligned at the top; the integer bit of F80 is not part of them.
  const fraction = u.bits & (from.explicit ? from.fieldMask >> 1n : from.fieldMask);
  const d = to.p - from.p;
  const moved = d >= 0 ? fraction << BigInt(d) : fraction >> BigInt(-d);
  return (u.sign ? to.signBit : 0n) | to.infinity | to.quietBit | moved;
}

/**
 * Format conversion. Widening is exact; a denormal source raises DE except from F80 (FST raises none, SDM vol. 2 FST).
 * The precision control does not apply.
 */
export function convert(from: FpFormat, to: FpFormat, v: bigint, st: FpStatus): bigint {
  const a = operand(from, v, st);
  switch (a.cls) {
    case Cls.UNSUPPORTED:
      return invalid(to, st);
    case Cls.SNAN:
      st.flags |= FpFlag.IE;
      return convertNaN(from, to, a);
    case Cls.QNAN:
      return convertNaN(from, to, a);
    case Cls.INF:
      return inf(to, a.sign);
    case Cls.ZERO:
      return zero(to, a.sign);
    default:
      if (a.denormal && !from.explicit) st.flags |= FpFlag.DE;
      return roundPack(to, a.sign, a.sig, a.exp, st);
  }
}

/** Widens without touching a NaN's quiet bit or raising anything: memory operands of x87 arithmetic. */
export function widen(from: FpFormat, to: FpFormat, v: bigint): bigint {
  const a = unpack(from, v);
  if (a.cls === Cls.FINITE && !a.denormal && to.explicit) {
    const bits = (BigInt(a.exp + from.p - 1 + to.bias) << to.fieldBits) | (a.sig << BigInt(to.p - from.p));
    return a.sign ? bits | to.signBit : bits;
  }
  if (a.cls !== Cls.SNAN) return convert(from, to, v, fpStatus());
  return convertNaN(from, to, a) & ~to.quietBit;
}

/**
 * Float to integer of `bits` bits. @returns the two's complement pattern (0 .. 2^bits - 1); NaN and out of range raise
 * IE and give the integer indefinite: 1 << (bits - 1) if signed, all ones if unsigned. Raises no DE.
 */
export function toInt(f: FpFormat, v: bigint, bits: number, signed: boolean, rm: number, st: FpStatus): bigint {
  const a = operand(f, v, st);
  const n = BigInt(bits);
  const indefinite = signed ? 1n << (n - 1n) : (1n << n) - 1n;
  if (a.cls === Cls.ZERO) return 0n;
  if (a.cls !== Cls.FINITE || a.exp > bits) {
    st.flags |= FpFlag.IE;
    return indefinite;
  }
  const before = st.flags;
  const m = roundInteger(a.sign, a.sig, a.exp, rm, false, st);
  const limit = signed ? (1n << (n - 1n)) - (a.sign ? 0n : 1n) : a.sign ? 0n : (1n << n) - 1n;
  if (m > limit) {
    st.flags = before | FpFlag.IE;
    return indefinite;
  }
  return BigInt.asUintN(bits, a.sign ? -m : m);
}

/** Integer (a signed bigint of any size) to float. */
export function fromInt(f: FpFormat, v: bigint, st: FpStatus): bigint {
  if (v === 0n) return 0n;
  return v < 0n ? roundPack(f, true, -v, 0, st) : roundPack(f, false, v, 0, st);
}

/** Rounds to an integral value in the same format. F80 (FRNDINT) raises DE for denormals, ROUNDSx does not. */
export function roundToInt(f: FpFormat, v: bigint, rm: number, suppressInexact: boolean, st: FpStatus): bigint {
  const a = operand(f, v, st);
  const s = special1(f, a, st);
  if (s >= 0n) return s;
  if (a.cls !== Cls.FINITE) return a.bits;
  if (a.denormal && f.explicit) st.flags |= FpFlag.DE;
  if (a.exp >= 0) return a.bits;
  const m = roundInteger(a.sign, a.sig, a.exp, rm, suppressInexact, st);
  if (m === 0n) return zero(f, a.sign);
  const up = st.roundedUp;
  const r = roundPack(f, a.sign, m, 0, st);
  st.roundedUp = up;
  return r;
}

/** Compares. @returns -1, 0, 1, or 2 for unordered. A quiet NaN raises IE only if `signaling`; a signalling one always. */
export function compare(f: FpFormat, av: bigint, bv: bigint, signaling: boolean, st: FpStatus): -1 | 0 | 1 | 2 {
  const a = operand(f, av, st);
  const b = operand(f, bv, st);
  if (a.cls === Cls.UNSUPPORTED || b.cls === Cls.UNSUPPORTED) {
    st.flags |= FpFlag.IE;
    return 2;
  }
  if (nan(a) || nan(b)) {
    if (signaling || a.cls === Cls.SNAN || b.cls === Cls.SNAN) st.flags |= FpFlag.IE;
    return 2;
  }
  if (a.denormal || b.denormal) st.flags |= FpFlag.DE;
  if (a.cls === Cls.ZERO && b.cls === Cls.ZERO) return 0;
  if (a.sign !== b.sign) {
    if (a.cls === Cls.ZERO) return b.sign ? 1 : -1;
    return a.sign ? -1 : 1;
  }
  let r: number;
  if (a.cls !== b.cls) {
    // ZERO < FINITE < INF by class number.
    r = a.cls < b.cls ? -1 : 1;
  } else if (a.cls !== Cls.FINITE) {
    return 0;
  } else {
    const ta = a.exp + bitLength(a.sig);
    const tb = b.exp + bitLength(b.sig);
    if (ta !== tb) {
      r = ta < tb ? -1 : 1;
    } else {
      const e = Math.min(a.exp, b.exp);
      const x = a.sig << BigInt(a.exp - e);
      const y = b.sig << BigInt(b.exp - e);
      r = x < y ? -1 : x > y ? 1 : 0;
    }
  }
  if (r === 0) return 0;
  return (r < 0) !== a.sign ? -1 : 1;
}
