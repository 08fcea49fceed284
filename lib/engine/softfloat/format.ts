/**
 * Floating-point formats, unpacking and the one rounding routine. Values are bit patterns in bigints.
 * Intel SDM vol. 1: section 4.8 (formats, NaNs), 4.9 (exceptions), 8.2 (x87 formats), 11.5 (SSE exceptions).
 */

/** Rounding, modes and sticky exception flags of one operation. */
export interface FpStatus {
  /** Rounding mode in the encoding of MXCSR.RC and FCW.RC: 0 nearest even, 1 down, 2 up, 3 towards zero. */
  rm: number;
  /** Exceptions (`FpFlag`), ORed in. */
  flags: number;
  /** Denormal inputs count as zeros (and raise nothing). Not for F80. */
  daz: boolean;
  /** Tiny results become zeros. Not for F80. */
  ftz: boolean;
  /** Significand bits of F80 results of add, sub, mul, div and sqrt: 24, 53 or 64 (default). */
  precision?: number;
  /**
   * Exceptions that are not masked. Only matters for overflow and underflow: a tiny result raises underflow even
   * if it is exact, and F80 results get the adjusted exponent of SDM vol. 1, 8.5.4 and 8.5.5.
   */
  unmasked?: number;
  /** Tininess is detected before rounding, and a result flushed to zero raises underflow alone (Arm). Default: after rounding. */
  tinyBefore?: boolean;
  /** Output: the last rounding increased the magnitude (C1 of the x87). Only written when a rounding happens. */
  roundedUp?: boolean;
}

export const enum FpFlag {
  IE = 1,
  DE = 2,
  ZE = 4,
  OE = 8,
  UE = 16,
  PE = 32,
}

export const enum Rm {
  NEAREST = 0,
  DOWN = 1,
  UP = 2,
  ZERO = 3,
  /** To nearest, ties away from zero: no x86 has it, others do. */
  AWAY = 4,
}

export interface FpFormat {
  readonly name: string;
  /** Width of the bit pattern. */
  readonly width: number;
  /** Significand bits with the integer bit. */
  readonly p: number;
  readonly bias: number;
  /** Largest biased exponent (infinities and NaNs). */
  readonly expMax: number;
  /** The integer bit is stored (F80). */
  readonly explicit: boolean;
  /** Bits of the stored significand field. */
  readonly fieldBits: bigint;
  readonly fieldMask: bigint;
  readonly signBit: bigint;
  readonly quietBit: bigint;
  /** The NaN of invalid operations: negative, quiet, no payload ("real indefinite"). */
  readonly defaultNaN: bigint;
  /** Positive infinity. */
  readonly infinity: bigint;
}

function format(name: string, width: number, expBits: number, explicit: boolean): FpFormat {
  const field = width - 1 - expBits;
  const p = explicit ? field : field + 1;
  const expMax = (1 << expBits) - 1;
  const quietBit = 1n << BigInt(p - 2);
  const infinity = (BigInt(expMax) << BigInt(field)) | (explicit ? 1n << BigInt(field - 1) : 0n);
  const signBit = 1n << BigInt(width - 1);
  return {
    name, width, p, expMax, explicit, quietBit, infinity, signBit,
    bias: expMax >> 1,
    fieldBits: BigInt(field),
    fieldMask: (1n << BigInt(field)) - 1n,
    defaultNaN: signBit | infinity | quietBit,
  };
}

export const F16 = format('f16', 16, 5, false);
export const F32 = format('f32', 32, 8, false);
export const F64 = format('f64', 64, 11, false);
export const F80 = format('f80', 80, 15, true);

export const enum Cls {
  ZERO = 0,
  FINITE = 1,
  INF = 2,
  QNAN = 3,
  SNAN = 4,
  /** F80 encodings that the 387 and later do not support: unnormals, pseudo-infinities, pseudo-NaNs. */
  UNSUPPORTED = 5,
}

/** value = (-1)^sign * sig * 2^exp for FINITE; for NaNs sig is the significand field (with F80's integer bit). */
export interface Unpacked {
  cls: Cls;
  sign: boolean;
  exp: number;
  sig: bigint;
  denormal: boolean;
  bits: bigint;
}

/** Splits a bit pattern. Never raises anything; DAZ is up to the caller (see `operand`). */
export function unpack(f: FpFormat, bits: bigint): Unpacked {
  const sign = (bits & f.signBit) !== 0n;
  const e = Number(bits >> f.fieldBits) & f.expMax;
  const field = bits & f.fieldMask;
  const u: Unpacked = { cls: Cls.FINITE, sign, exp: 0, sig: field, denormal: false, bits };
  const integer = f.explicit ? field >> 63n !== 0n : e !== 0;
  if (e === f.expMax) {
    const fraction = f.explicit ? field & 0x7fff_ffff_ffff_ffffn : field;
    if (!integer) u.cls = Cls.UNSUPPORTED;
    else if (fraction === 0n) u.cls = Cls.INF;
    else u.cls = (field & f.quietBit) !== 0n ? Cls.QNAN : Cls.SNAN;
    return u;
  }
  if (e === 0) {
    if (field === 0n) {
      u.cls = Cls.ZERO;
    } else {
      // Includes the pseudo-denormals of F80 (integer bit set): value as with exponent 1, and they raise DE too.
      u.denormal = true;
      u.exp = 1 - f.bias - (f.p - 1);
    }
    return u;
  }
  if (!integer) {
    u.cls = Cls.UNSUPPORTED;
    return u;
  }
  if (!f.explicit) u.sig = field | (1n << f.fieldBits);
  u.exp = e - f.bias - (f.p - 1);
  return u;
}

/** Unpacks an operand of an arithmetic operation: applies DAZ. DE is raised later, when no NaN takes precedence. */
export function operand(f: FpFormat, bits: bigint, st: FpStatus): Unpacked {
  const u = unpack(f, bits);
  if (u.denormal && st.daz && !f.explicit) {
    u.cls = Cls.ZERO;
    u.sig = 0n;
    u.denormal = false;
    u.bits = bits & f.signBit;
  }
  return u;
}

const f64 = new Float64Array(1);
const u32 = new Uint32Array(f64.buffer);

/** Number of bits of a non-negative integer: 0 for 0. */
export function bitLength(x: bigint): number {
  if (x === 0n) return 0;
  f64[0] = Number(x);
  const e = (u32[1]! >>> 20) - 1022;
  if (e >= 1025) {
    const s = x.toString(16);
    return s.length * 4 - (Math.clz32(parseInt(s[0]!, 16)) - 28);
  }
  // The conversion may have rounded up to the next power of two.
  return e > 53 && x >> BigInt(e - 1) === 0n ? e - 1 : e;
}

export const zero = (f: FpFormat, sign: boolean): bigint => (sign ? f.signBit : 0n);
export const inf = (f: FpFormat, sign: boolean): bigint => (sign ? f.signBit | f.infinity : f.infinity);

/** True if rounding `sig` at bit `drop` (bits below are lost, not all zero) increases the magnitude. */
function roundsUp(sign: boolean, sig: bigint, drop: number, rm: number): boolean {
  switch (rm) {
    case Rm.NEAREST: {
      const half = 1n << BigInt(drop - 1);
      const rest = sig & ((half << 1n) - 1n);
      return rest > half || (rest === half && ((sig >> BigInt(drop)) & 1n) !== 0n);
    }
    case Rm.AWAY:
      return ((sig >> BigInt(drop - 1)) & 1n) !== 0n;
    case Rm.DOWN:
      return sign;
    case Rm.UP:
      return !sign;
    default:
      return false;
  }
}

/** Shifts right (or left, for drop < 0) and rounds. @returns the significand; sets lastInexact and lastUp. */
let lastInexact = false;
let lastUp = false;
function shiftRound(sign: boolean, sig: bigint, drop: number, rm: number): bigint {
  lastInexact = false;
  lastUp = false;
  if (drop <= 0) return drop === 0 ? sig : sig << BigInt(-drop);
  const q = sig >> BigInt(drop);
  if (q << BigInt(drop) === sig) return q;
  lastInexact = true;
  lastUp = roundsUp(sign, sig, drop, rm);
  return lastUp ? q + 1n : q;
}

/** Exponent adjustment of unmasked overflow and underflow on the x87. */
const F80_WRAP = 24576;

/**
 * Rounds (-1)^sign * sig * 2^exp (sig > 0) to the format and packs it. A sticky bit may stand for lost lower bits as
 * long as sig has at least p + 2 bits then. Tininess is detected after rounding (SDM vol. 1, 4.9.1.5).
 */
export function roundPack(f: FpFormat, sign: boolean, sig: bigint, exp: number, st: FpStatus, precision = f.p): bigint {
  const p = precision;
  const emin = 1 - f.bias;
  const unmasked = st.unmasked ?? 0;
  const n = bitLength(sig);
  let top = exp + n - 1;
  const tinyBefore = st.tinyBefore === true && top < emin;
  let drop = n - p;
  let m = shiftRound(sign, sig, drop, st.rm);
  if (m >> BigInt(p) !== 0n) {
    m >>= 1n;
    drop++;
    top++;
  }
  if (top < emin || tinyBefore) {
    // Tiny. `m` so far is the result with unbounded exponent range.
    if (st.ftz && !f.explicit && (unmasked & FpFlag.UE) === 0) {
      st.flags |= tinyBefore ? FpFlag.UE : FpFlag.UE | FpFlag.PE;
      st.roundedUp = false;
      return zero(f, sign);
    }
    if ((unmasked & FpFlag.UE) !== 0) {
      st.flags |= FpFlag.UE;
      if (f.explicit) {
        noteRounding(st);
        top += F80_WRAP;
        // Beyond even the adjusted range (FSCALE): the hardware delivers a zero.
        if (top < emin) {
          st.flags |= FpFlag.PE;
          st.roundedUp = false;
          return zero(f, sign);
        }
        return pack(f, sign, m << BigInt(f.p - p), top);
      }
      // SSE: no result is delivered, and whether it is inexact is judged with unbounded exponent range.
      noteRounding(st);
      return zero(f, sign);
    }
    m = shiftRound(sign, sig, emin - (p - 1) - exp, st.rm);
    if (lastInexact) st.flags |= FpFlag.UE;
    noteRounding(st);
    m <<= BigInt(f.p - p);
    // A carry into the integer bit makes the exponent field 1 by itself in the implicit formats.
    const bits = f.explicit && m >> 63n !== 0n ? (1n << f.fieldBits) | m : m;
    return sign ? bits | f.signBit : bits;
  }
  if (top > f.bias) {
    st.flags |= FpFlag.OE;
    if ((unmasked & FpFlag.OE) !== 0 && f.explicit) {
      noteRounding(st);
      top -= F80_WRAP;
      if (top > f.bias) {
        st.flags |= FpFlag.PE;
        st.roundedUp = true;
        return inf(f, sign);
      }
      return pack(f, sign, m << BigInt(f.p - p), top);
    }
    if ((unmasked & FpFlag.OE) !== 0) {
      noteRounding(st);
      return inf(f, sign);
    }
    st.flags |= FpFlag.PE;
    const toInf = st.rm === Rm.NEAREST || st.rm === Rm.AWAY || (st.rm === Rm.DOWN && sign) || (st.rm === Rm.UP && !sign);
    st.roundedUp = toInf;
    if (toInf) return inf(f, sign);
    return pack(f, sign, ((1n << BigInt(p)) - 1n) << BigInt(f.p - p), f.bias);
  }
  noteRounding(st);
  return pack(f, sign, m << BigInt(f.p - p), top);
}

function noteRounding(st: FpStatus): void {
  st.roundedUp = lastUp;
  if (lastInexact) st.flags |= FpFlag.PE;
}

/** Packs a normal number: m has exactly f.p bits, top is the unbiased exponent. */
function pack(f: FpFormat, sign: boolean, m: bigint, top: number): bigint {
  const bits = (BigInt(top + f.bias) << f.fieldBits) | (m & f.fieldMask);
  return sign ? bits | f.signBit : bits;
}

/** Rounds sig * 2^exp to an integer. @returns its magnitude; sets PE (unless suppressed) and roundedUp. */
export function roundInteger(sign: boolean, sig: bigint, exp: number, rm: number, suppressInexact: boolean, st: FpStatus): bigint {
  // Far below one half: keep the shift small. Two extra bits keep "less than half" apart from "half".
  let drop = -exp;
  const n = bitLength(sig);
  if (drop > n + 2) {
    sig = 1n;
    drop = 3;
  }
  const m = shiftRound(sign, sig, drop, rm);
  st.roundedUp = lastUp;
  if (lastInexact && !suppressInexact) st.flags |= FpFlag.PE;
  return m;
}

/** Integer square root, rounded down. */
export function isqrt(x: bigint): bigint {
  if (x < 2n) return x;
  const n = bitLength(x);
  let r: bigint;
  if (n <= 1000) {
    r = BigInt(Math.floor(Math.sqrt(Number(x))));
  } else {
    r = 1n << BigInt((n + 1) >> 1);
  }
  // Newton from any start: after one step r >= floor(sqrt(x)), then it falls until it is the root.
  r = (r + x / r) >> 1n;
  for (;;) {
    const q = (r + x / r) >> 1n;
    if (q >= r) break;
    r = q;
  }
  while (r * r > x) r--;
  while ((r + 1n) * (r + 1n) <= x) r++;
  return r;
}
