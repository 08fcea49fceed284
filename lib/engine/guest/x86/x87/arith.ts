/**
 * x87 arithmetic and comparison. Intel SDM vol. 2: FADD ... FDIVR, FCOM, FUCOM, FCOMI, FTST, FXAM, FABS, FCHS, FSQRT,
 * FRNDINT, FSCALE, FXTRACT, FPREM, FPREM1; vol. 1, 8.3.5, 8.3.6, 8.5.
 *
 * imm = ST index (bits 0..2) | `Form` flags | FOP << 16. Memory forms: a = slot of the linear address, c = slot of
 * the operand's offset.
 */
import { HelperResult, X87Kind } from '../../../helpers.js';
import type { HelperFn, HelperRegistry } from '../../../helpers.js';
import { NONE } from '../../../state.js';
import {
  Cls, F32, F64, F80, FpFlag, add, bitLength, compare, div, fromInt, invalid, isNaN, mul, roundPack, roundToInt, sqrt, sub, unpack, widen,
} from '../../../softfloat/softfloat.js';
import type { FpStatus } from '../../../softfloat/softfloat.js';
import { INDEFINITE, REG, Sw, W, begin, finish, isEmpty, loading, native, pop, push, setC1, setCc, setSt, slots64, st, stackFault, startOp } from './state.js';
import type { X87Cpu } from './state.js';

type Fn = HelperFn<X87Cpu>;
const CONTINUE = HelperResult.CONTINUE;
const DISPATCH = HelperResult.DISPATCH;

/** Flags in imm of the register forms. */
export const enum Form {
  /** The result goes to ST(i) instead of ST(0). */
  TO_STI = 8,
  POP = 16,
  /** A second pop (FCOMPP). */
  POP2 = 32,
}

type Binary = (x: bigint, y: bigint, s: FpStatus) => bigint;

/** By the digit of D8..DE; x is ST(0), y the other operand. Digits 2 and 3 are the comparisons. */
export const ARITH: readonly { readonly name: string; readonly digit: number; readonly op: Binary }[] = [
  { name: 'fadd', digit: 0, op: (x, y, s) => add(F80, x, y, s) },
  { name: 'fmul', digit: 1, op: (x, y, s) => mul(F80, x, y, s) },
  { name: 'fsub', digit: 4, op: (x, y, s) => sub(F80, x, y, s) },
  { name: 'fsubr', digit: 5, op: (x, y, s) => sub(F80, y, x, s) },
  { name: 'fdiv', digit: 6, op: (x, y, s) => div(F80, x, y, s) },
  { name: 'fdivr', digit: 7, op: (x, y, s) => div(F80, y, x, s) },
];

/** Memory operand formats: reads the temporary as an F80 pattern (NaNs not yet quieted). */
export type MemFormat = 'f32' | 'f64' | 'i16' | 'i32';
const MEM_BYTES: Readonly<Record<MemFormat, number>> = { f32: 4, f64: 8, i16: 2, i32: 4 };

/** The last memory operand was a denormal single or double. */
let memDenormal = false;

function readMem(cpu: X87Cpu, f: MemFormat, a: number): bigint {
  memDenormal = false;
  const lo = cpu.V[a * 2]!;
  switch (f) {
    case 'f32':
      memDenormal = (lo & 0x7f80_0000) === 0 && (lo & 0x7f_ffff) !== 0;
      return widen(F32, F80, BigInt(lo >>> 0));
    case 'f64': {
      const hi = cpu.V[a * 2 + 1]!;
      memDenormal = (hi & 0x7ff0_0000) === 0 && ((hi & 0xf_ffff) | lo) !== 0;
      return widen(F64, F80, slots64(cpu.V)[a]!);
    }
    default: {
      const v = f === 'i16' ? (lo << 16) >> 16 : lo;
      if (v === 0) return 0n;
      const n = Math.clz32(Math.abs(v));
      return (BigInt((v < 0 ? 0x8000 : 0) | (16383 + 31 - n)) << 64n) | (BigInt(Math.abs(v)) << BigInt(32 + n));
    }
  }
}

/** DE for a denormal memory operand, which the widened value no longer shows; NaN, IE and ZE take precedence. */
function noteDenormal(s: FpStatus, other: bigint): void {
  if (memDenormal && (s.flags & (FpFlag.IE | FpFlag.ZE)) === 0 && !isNaN(F80, other)) s.flags |= FpFlag.DE;
}

function arithSt(op: Binary): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    const i = imm & 7;
    const dest = (imm & Form.TO_STI) !== 0 ? i : 0;
    if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
      if (!stackFault(cpu, false)) return CONTINUE;
      setSt(cpu, dest, INDEFINITE);
    } else {
      const s = startOp(cpu);
      const v = op(st(cpu, 0), st(cpu, i), s);
      if (!finish(cpu, s)) return CONTINUE;
      setSt(cpu, dest, v);
    }
    if ((imm & Form.POP) !== 0) pop(cpu);
    return CONTINUE;
  };
}

function arithMem(op: Binary, f: MemFormat): Fn {
  return loading(MEM_BYTES[f], (cpu, _d, a, _b, c, imm) => {
    if (begin(cpu, imm, c)) return DISPATCH;
    if (isEmpty(cpu, 0)) {
      if (stackFault(cpu, false)) setSt(cpu, 0, INDEFINITE);
      return CONTINUE;
    }
    const s = startOp(cpu);
    const x = st(cpu, 0);
    const v = op(x, readMem(cpu, f, a), s);
    noteDenormal(s, x);
    if (finish(cpu, s)) setSt(cpu, 0, v);
    return CONTINUE;
  });
}

const COMPARE_MASK = Sw.C0 | Sw.C2 | Sw.C3;
/** Condition codes of compare results 0, 1, 2 and (index 3) -1. */
const COMPARE_CC = [Sw.C3, 0, COMPARE_MASK, Sw.C0] as const;
const ccOf = (r: number): number => COMPARE_CC[r & 3]!;

function pops(cpu: X87Cpu, imm: number): void {
  if ((imm & (Form.POP | Form.POP2)) !== 0) pop(cpu);
  if ((imm & Form.POP2) !== 0) pop(cpu);
}

/** FCOM(P)(P) and, with `quiet`, FUCOM(P)(P): ST(0) with ST(i). */
function compareSt(quiet: boolean): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    const i = imm & 7;
    if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
      const masked = stackFault(cpu, false);
      setCc(cpu, COMPARE_MASK, COMPARE_MASK);
      if (masked) pops(cpu, imm);
      return CONTINUE;
    }
    const s = startOp(cpu);
    const r = compare(F80, st(cpu, 0), st(cpu, i), !quiet, s);
    const done = finish(cpu, s);
    setCc(cpu, COMPARE_MASK, ccOf(r));
    if (done) pops(cpu, imm);
    return CONTINUE;
  };
}

function compareMem(f: MemFormat): Fn {
  return loading(MEM_BYTES[f], (cpu, _d, a, _b, c, imm) => {
    if (begin(cpu, imm, c)) return DISPATCH;
    if (isEmpty(cpu, 0)) {
      const masked = stackFault(cpu, false);
      setCc(cpu, COMPARE_MASK, COMPARE_MASK);
      if (masked) pops(cpu, imm);
      return CONTINUE;
    }
    const s = startOp(cpu);
    const x = st(cpu, 0);
    const y = readMem(cpu, f, a);
    const r = compare(F80, x, y, true, s);
    if (r !== 2) noteDenormal(s, x);
    const done = finish(cpu, s);
    setCc(cpu, COMPARE_MASK, ccOf(r));
    if (done) pops(cpu, imm);
    return CONTINUE;
  });
}

/** FLAGS slot of compare results 0, 1, 2, -1: ZF, none, ZF PF CF, CF; OF SF AF are cleared. */
const COMPARE_FLAGS = [0x4200, 0x200, 0x4700, 0x300] as const;

/** FCOMI(P), FUCOMI(P). */
function compareFlags(quiet: boolean): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    const i = imm & 7;
    if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
      const masked = stackFault(cpu, false);
      cpu.V[W.FLAGS] = COMPARE_FLAGS[2];
      if (masked) pops(cpu, imm);
      return CONTINUE;
    }
    const s = startOp(cpu);
    const r = compare(F80, st(cpu, 0), st(cpu, i), !quiet, s);
    const done = finish(cpu, s);
    cpu.V[W.FLAGS] = COMPARE_FLAGS[r & 3]!;
    if (done) pops(cpu, imm);
    return CONTINUE;
  };
}

const ftst: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  if (isEmpty(cpu, 0)) {
    stackFault(cpu, false);
    setCc(cpu, COMPARE_MASK, COMPARE_MASK);
    return CONTINUE;
  }
  const s = startOp(cpu);
  const r = compare(F80, st(cpu, 0), 0n, true, s);
  finish(cpu, s);
  setCc(cpu, COMPARE_MASK, ccOf(r));
  return CONTINUE;
};

/** C3 C2 C0 of FXAM by class. */
const XAM_CC: Readonly<Record<Cls, number>> = {
  [Cls.ZERO]: Sw.C3,
  [Cls.FINITE]: Sw.C2,
  [Cls.INF]: Sw.C2 | Sw.C0,
  [Cls.QNAN]: Sw.C0,
  [Cls.SNAN]: Sw.C0,
  [Cls.UNSUPPORTED]: 0,
};

const fxam: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  const u = unpack(F80, st(cpu, 0));
  let cc = u.sign ? Sw.C1 : 0;
  if (isEmpty(cpu, 0)) cc |= Sw.C3 | Sw.C0;
  else if (u.denormal) cc |= Sw.C3 | Sw.C2;
  else cc |= XAM_CC[u.cls];
  setCc(cpu, Sw.CC, cc);
  return CONTINUE;
};

/** FABS (imm 1) and FCHS (imm 0): any bit pattern, no exceptions but stack underflow. */
const fsign: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  if (isEmpty(cpu, 0)) {
    if (stackFault(cpu, false)) setSt(cpu, 0, INDEFINITE);
    return CONTINUE;
  }
  setC1(cpu, false);
  const v = st(cpu, 0);
  setSt(cpu, 0, (imm & 1) !== 0 ? v & ~F80.signBit : v ^ F80.signBit);
  return CONTINUE;
};

/** One operand in ST(0), result to ST(0). */
export function unary(op: (x: bigint, s: FpStatus, cpu: X87Cpu) => bigint): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    if (isEmpty(cpu, 0)) {
      if (stackFault(cpu, false)) setSt(cpu, 0, INDEFINITE);
      return CONTINUE;
    }
    const s = startOp(cpu);
    const v = op(st(cpu, 0), s, cpu);
    if (finish(cpu, s)) setSt(cpu, 0, v);
    return CONTINUE;
  };
}

/** Operands in ST(0) and ST(1): result to ST(0), or to ST(1) with a pop. */
export function binary(popAfter: boolean, op: Binary): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    const dest = popAfter ? 1 : 0;
    if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) {
      if (!stackFault(cpu, false)) return CONTINUE;
      setSt(cpu, dest, INDEFINITE);
    } else {
      const s = startOp(cpu);
      const v = op(st(cpu, 0), st(cpu, 1), s);
      if (!finish(cpu, s)) return CONTINUE;
      setSt(cpu, dest, v);
    }
    if (popAfter) pop(cpu);
    return CONTINUE;
  };
}

/** NaN result of a two-operand instruction, by way of the addition's rules; -1n if there is none. */
export function nanResult(x: bigint, y: bigint, s: FpStatus): bigint {
  const a = unpack(F80, x).cls;
  const b = unpack(F80, y).cls;
  return a >= Cls.QNAN || b >= Cls.QNAN ? add(F80, x, y, s) : -1n;
}

/** FSCALE: x * 2^trunc(y). The precision control does not apply. */
function scale(x: bigint, y: bigint, s: FpStatus): bigint {
  const n = nanResult(x, y, s);
  if (n >= 0n) return n;
  const a = unpack(F80, x);
  const b = unpack(F80, y);
  if (b.cls === Cls.INF) {
    if (b.sign ? a.cls === Cls.INF : a.cls === Cls.ZERO) return invalid(F80, s);
    if (a.denormal) s.flags |= FpFlag.DE;
    const sign = a.sign ? F80.signBit : 0n;
    return b.sign ? sign : sign | F80.infinity;
  }
  if (a.denormal || b.denormal) s.flags |= FpFlag.DE;
  if (a.cls !== Cls.FINITE || b.cls === Cls.ZERO) {
    if (a.cls !== Cls.FINITE) return x;
    return roundPack(F80, a.sign, a.sig, a.exp, s);
  }
  // Exponents beyond 2^16 overflow or underflow whatever the rest.
  const limit = 1n << 17n;
  const e = -b.exp;
  let k = e >= 64 ? 0n : e >= 0 ? b.sig >> BigInt(e) : limit;
  if (k > limit) k = limit;
  return roundPack(F80, a.sign, a.sig, a.exp + Number(b.sign ? -k : k), s);
}

/** FXTRACT: ST(0) becomes the exponent, then the significand is pushed. */
const fxtract: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
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
  const a = unpack(F80, x);
  let exponent: bigint;
  let significand: bigint;
  if (a.cls >= Cls.QNAN) {
    exponent = significand = add(F80, x, x, s);
  } else if (a.cls === Cls.INF) {
    exponent = F80.infinity;
    significand = x;
  } else if (a.cls === Cls.ZERO) {
    s.flags |= FpFlag.ZE;
    exponent = F80.infinity | F80.signBit;
    significand = x;
  } else {
    if (a.denormal) s.flags |= FpFlag.DE;
    const n = bitLength(a.sig);
    exponent = fromInt(F80, BigInt(a.exp + n - 1), s);
    significand = roundPack(F80, a.sign, a.sig, 1 - n, s);
  }
  if (!finish(cpu, s)) return CONTINUE;
  setSt(cpu, 0, exponent);
  push(cpu, significand);
  return CONTINUE;
};

/**
 * FPREM (truncating) and FPREM1 (nearest). With an exponent difference of 64 or more only part of the reduction is done,
 * by 2^(D-N) with N between 32 and 63 (SDM vol. 2, FPREM), and C2 is set.
 */
function fprem(nearest: boolean): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) {
      if (stackFault(cpu, false)) setSt(cpu, 0, INDEFINITE);
      setCc(cpu, Sw.C2, 0);
      return CONTINUE;
    }
    const s = startOp(cpu);
    const x = st(cpu, 0);
    const y = st(cpu, 1);
    // C0 and C3 do not change when there is no quotient (NaN, invalid operation).
    let mask = Sw.C1 | Sw.C2;
    let cc = 0;
    let v = nanResult(x, y, s);
    if (v < 0n) {
      const a = unpack(F80, x);
      const b = unpack(F80, y);
      if (a.cls === Cls.INF || b.cls === Cls.ZERO) {
        v = invalid(F80, s);
      } else {
        if (a.denormal || b.denormal) s.flags |= FpFlag.DE;
        mask = Sw.CC;
        if (a.cls === Cls.ZERO) {
          v = x;
        } else if (b.cls === Cls.INF) {
          v = roundPack(F80, a.sign, a.sig, a.exp, s);
        } else {
          const d = a.exp + bitLength(a.sig) - (b.exp + bitLength(b.sig));
          let e = Math.min(a.exp, b.exp);
          const n = a.sig << BigInt(a.exp - e);
          let m = b.sig << BigInt(b.exp - e);
          let sign = a.sign;
          let q: bigint;
          let r: bigint;
          if (d >= 64) {
            m <<= BigInt(d - ((d & 31) | 32));
            r = n % m;
            cc = Sw.C2;
          } else {
            q = n / m;
            r = n - q * m;
            if (nearest && (r * 2n > m || (r * 2n === m && (q & 1n) !== 0n))) {
              r = m - r;
              q++;
              sign = !sign;
            }
            const low = Number(q & 7n);
            cc = ((low & 4) !== 0 ? Sw.C0 : 0) | ((low & 2) !== 0 ? Sw.C3 : 0) | ((low & 1) !== 0 ? Sw.C1 : 0);
          }
          if (r === 0n) {
            v = a.sign ? F80.signBit : 0n;
          } else {
            while ((r & 0xffff_ffffn) === 0n) {
              r >>= 32n;
              e += 32;
            }
            v = roundPack(F80, sign, r, e, s);
          }
        }
      }
    }
    if (!finish(cpu, s)) return CONTINUE;
    setCc(cpu, mask, cc);
    setSt(cpu, 0, v);
    return CONTINUE;
  };
}

export function defineArith<C extends X87Cpu>(r: HelperRegistry<C>): void {
  const formats: readonly MemFormat[] = ['f32', 'f64', 'i16', 'i32'];
  const reg = (name: string, fn: Fn): number => r.define(`x87.${name}`, fn, REG);
  const mem = (name: string, f: MemFormat, fn: Fn): number => r.define(`x87.${name}.${f}`, fn, native(X87Kind.READ, MEM_BYTES[f]));
  for (const { name, op } of ARITH) {
    reg(`${name}.st`, arithSt(op));
    for (const f of formats) mem(name, f, arithMem(op, f));
  }
  reg('fcom.st', compareSt(false));
  reg('fucom.st', compareSt(true));
  for (const f of formats) mem('fcom', f, compareMem(f));
  r.define('x87.fcomi', compareFlags(false), { writesFlags: 63, ...native(X87Kind.COMPARE, 0, Sw.C1) });
  r.define('x87.fucomi', compareFlags(true), { writesFlags: 63, ...native(X87Kind.COMPARE, 0, Sw.C1) });
  reg('ftst', ftst);
  reg('fxam', fxam);
  reg('fsign', fsign);
  reg('fsqrt', unary((x, s) => sqrt(F80, x, s)));
  reg('frndint', unary((x, s) => roundToInt(F80, x, s.rm, false, s)));
  reg('fscale', binary(false, scale));
  reg('fxtract', fxtract);
  // Quotient bits of an incomplete reduction, and how far it goes, differ between processors.
  r.define('x87.fprem', fprem(false));
  r.define('x87.fprem1', fprem(true));
}
