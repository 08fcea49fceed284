/**
 * x87 data transfer: loads, stores, integers, packed BCD, exchanges, conditional moves, constants.
 * Intel SDM vol. 2: FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, FXCH, FCMOVcc, FLD1 ... FLDZ; vol. 1, 8.3.3, 8.3.4.
 *
 * Operands of the helpers: imm = ST index (bits 0..2) | FOP << 16. Loads and stores: a = slot of the linear address, c = slot of the
 * operand's offset; the helper does the access (`loading` for loads), because nothing may change if it faults.
 */
import { HelperResult, X87Kind } from '../../../helpers.js';
import type { HelperFn, HelperRegistry } from '../../../helpers.js';
import { Access, NONE, Slot } from '../../../state.js';
import { F32, F64, F80, FpFlag, convert, fromInt, toInt } from '../../../softfloat/softfloat.js';
import type { FpFormat } from '../../../softfloat/softfloat.js';
import {
  DATA, ADDR, INDEFINITE, REG, Sw, W, addrPlus8, begin, fcw, finish, isEmpty, loading, native, phys, pop, push, setC1, setFsw, setSt, signal, slots64, st, stackFault, startOp, tags, top, fsw, setTop,
} from './state.js';
import type { X87Cpu } from './state.js';

type Fn = HelperFn<X87Cpu>;
const CONTINUE = HelperResult.CONTINUE;
const DISPATCH = HelperResult.DISPATCH;

/** ST(7) is not empty: a push overflows. @returns true if the push was handled (as an overflow). */
function overflowed(cpu: X87Cpu): boolean {
  if (isEmpty(cpu, -1)) return false;
  if (stackFault(cpu, true)) push(cpu, INDEFINITE);
  return true;
}

/** Pushes without BigInt: 64-bit significand hi:lo, sign and exponent. */
function pushRaw(cpu: X87Cpu, lo: number, hi: number, se: number): void {
  const t = (top(cpu) - 1) & 7;
  setTop(cpu, t);
  const V = cpu.V;
  const i = (Slot.X87 + 2 * t) * 2;
  V[i] = lo;
  V[i + 1] = hi;
  V[i + 2] = se;
  V[W.TAG] = V[W.TAG]! | (1 << t);
}

const fldF32: Fn = (cpu, _d, a, _b, c, imm) => {
  if (begin(cpu, imm, c)) return DISPATCH;
  if (overflowed(cpu)) return CONTINUE;
  const v = cpu.V[a * 2]!;
  const e = (v >>> 23) & 0xff;
  if ((e > 0 && e < 255) || (v & 0x7fff_ffff) === 0) {
    setC1(cpu, false);
    if (e === 0) pushRaw(cpu, 0, 0, (v >>> 16) & 0x8000);
    else pushRaw(cpu, 0, 0x8000_0000 | (v << 8), ((v >>> 16) & 0x8000) | (e - 127 + 16383));
    return CONTINUE;
  }
  return fldSlow(cpu, F32, BigInt(v >>> 0));
};

const fldF64: Fn = (cpu, _d, a, _b, c, imm) => {
  if (begin(cpu, imm, c)) return DISPATCH;
  if (overflowed(cpu)) return CONTINUE;
  const lo = cpu.V[a * 2]!;
  const hi = cpu.V[a * 2 + 1]!;
  const e = (hi >>> 20) & 0x7ff;
  if ((e > 0 && e < 0x7ff) || (lo | (hi & 0x7fff_ffff)) === 0) {
    setC1(cpu, false);
    if (e === 0) pushRaw(cpu, 0, 0, (hi >>> 16) & 0x8000);
    else pushRaw(cpu, lo << 11, 0x8000_0000 | ((hi & 0xf_ffff) << 11) | (lo >>> 21), ((hi >>> 16) & 0x8000) | (e - 1023 + 16383));
    return CONTINUE;
  }
  return fldSlow(cpu, F64, slots64(cpu.V)[a]!);
};

/** Denormals and NaNs. An unmasked DE does not keep the value from being loaded (silicon; SDM vol. 1, 8.5.2 is vague). */
function fldSlow(cpu: X87Cpu, f: FpFormat, bits: bigint): HelperResult {
  const s = startOp(cpu);
  const v = convert(f, F80, bits, s);
  setC1(cpu, false);
  if ((signal(cpu, s.flags) & FpFlag.IE) === 0) push(cpu, v);
  return CONTINUE;
}

const fldF80: Fn = (cpu, _d, a, b, c, imm) => {
  if (begin(cpu, imm, c)) return DISPATCH;
  if (overflowed(cpu)) return CONTINUE;
  setC1(cpu, false);
  pushRaw(cpu, cpu.V[a * 2]!, cpu.V[a * 2 + 1]!, cpu.V[b * 2]! & 0xffff);
  return CONTINUE;
};

const fldSt: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  // Underflow beats overflow (silicon).
  if (isEmpty(cpu, imm & 7)) {
    if (stackFault(cpu, false)) push(cpu, INDEFINITE);
    return CONTINUE;
  }
  if (overflowed(cpu)) return CONTINUE;
  setC1(cpu, false);
  const i = (Slot.X87 + 2 * phys(cpu, imm & 7)) * 2;
  pushRaw(cpu, cpu.V[i]!, cpu.V[i + 1]!, cpu.V[i + 2]!);
  return CONTINUE;
};

/** FILD of 16, 32 or 64 bits. */
function fild(bits: number): Fn {
  return (cpu, _d, a, _b, c, imm) => {
    if (begin(cpu, imm, c)) return DISPATCH;
    if (overflowed(cpu)) return CONTINUE;
    setC1(cpu, false);
    if (bits < 64) {
      const v = bits === 16 ? (cpu.V[a * 2]! << 16) >> 16 : cpu.V[a * 2]!;
      const m = Math.abs(v);
      const n = Math.clz32(m);
      if (m === 0) pushRaw(cpu, 0, 0, 0);
      else pushRaw(cpu, 0, m << n, (v < 0 ? 0x8000 : 0) | (16383 + 31 - n));
    } else {
      push(cpu, fromInt(F80, BigInt.asIntN(64, slots64(cpu.V)[a]!), startOp(cpu)));
    }
    return CONTINUE;
  };
}

/** FBLD: 18 BCD digits, sign in the top bit (SDM vol. 1, 4.7). Digits above 9 are undefined; they count as they are. */
const fbld: Fn = (cpu, _d, a, b, c, imm) => {
  if (begin(cpu, imm, c)) return DISPATCH;
  if (overflowed(cpu)) return CONTINUE;
  setC1(cpu, false);
  let bits = (BigInt(cpu.V[b * 2]! & 0xff) << 64n) | slots64(cpu.V)[a]!;
  let v = 0n;
  let scale = 1n;
  for (; bits !== 0n; bits >>= 4n, scale *= 10n) v += (bits & 15n) * scale;
  const r = fromInt(F80, v, startOp(cpu));
  push(cpu, (cpu.V[b * 2]! & 0x8000) !== 0 ? r | F80.signBit : r);
  return CONTINUE;
};

/** Stores the low 2^w bytes of slot DATA. */
const put = (cpu: X87Cpu, w: number, a: number): void => cpu.store(w, a, DATA, Access.NORMAL);

/** Stores 10 bytes: probes all of them first, so that a fault leaves memory as it was and tells the first byte that is missing. */
function put80(cpu: X87Cpu, a: number, v: bigint): void {
  const V = cpu.V;
  addrPlus8(cpu, a);
  cpu.load(3, a, DATA, Access.RMW);
  cpu.load(1, ADDR, DATA, Access.RMW);
  slots64(V)[DATA] = BigInt.asUintN(64, v);
  put(cpu, 3, a);
  V[DATA * 2] = Number(v >> 64n);
  put(cpu, 1, ADDR);
}

/**
 * The common part of stores to memory. `convertTo` computes the pattern with flags in `status`; `none` is what a
 * masked stack underflow stores. IE, OE and UE, when unmasked, keep memory and stack unchanged (SDM vol. 1, 8.5.4, 8.5.5).
 */
function storing(w: number, popAfter: boolean, none: bigint, convertTo: (v: bigint, cpu: X87Cpu) => bigint): Fn {
  const write = (cpu: X87Cpu, a: number, v: bigint): void => {
    if (w > 3) {
      put80(cpu, a, v);
    } else {
      slots64(cpu.V)[DATA] = v;
      put(cpu, w, a);
    }
  };
  return (cpu, _d, a, _b, c, imm) => {
    if (begin(cpu, imm, c)) return DISPATCH;
    if (isEmpty(cpu, 0)) {
      if ((fcw(cpu) & FpFlag.IE) !== 0) write(cpu, a, none);
      if (stackFault(cpu, false) && popAfter) pop(cpu);
      return CONTINUE;
    }
    const s = startOp(cpu);
    const v = convertTo(st(cpu, 0), cpu);
    if ((s.flags & (s.unmasked ?? 0) & (FpFlag.IE | FpFlag.OE | FpFlag.UE)) !== 0) {
      setC1(cpu, false);
      signal(cpu, (s.flags & FpFlag.IE) !== 0 ? FpFlag.IE : s.flags & ~FpFlag.PE);
      return CONTINUE;
    }
    write(cpu, a, v);
    finish(cpu, s);
    if (popAfter) pop(cpu);
    return CONTINUE;
  };
}

/** FST(P) to single or double, with an integer-only path for normal numbers that need no rounding. */
function fstFloat(f: FpFormat, popAfter: boolean): Fn {
  const slow = storing(f === F64 ? 3 : 2, popAfter, f.defaultNaN, (v, cpu) => convert(F80, f, v, startOp(cpu)));
  const bias = 16383 - f.bias;
  const expMax = f.expMax;
  return (cpu, d, a, b, c, imm) => {
    const V = cpu.V;
    const r = top(cpu);
    const i = (Slot.X87 + 2 * r) * 2;
    const se = V[i + 2]!;
    const e = (se & 0x7fff) - bias;
    const hi = V[i + 1]!;
    const lo = V[i]!;
    const zero = (se & 0x7fff) === 0 && (hi | lo) === 0;
    const exact = f === F64 ? (lo & 0x7ff) === 0 : lo === 0 && (hi & 0xff) === 0;
    if (((V[W.TAG]! >>> r) & 1) === 0 || !exact || !(zero || (hi < 0 && e > 0 && e < expMax))) return slow(cpu, d, a, b, c, imm);
    if (begin(cpu, imm, c)) return DISPATCH;
    const sign = (se & 0x8000) << 16;
    if (f === F64) {
      V[DATA * 2] = zero ? 0 : (lo >>> 11) | (hi << 21);
      V[DATA * 2 + 1] = zero ? sign : sign | (e << 20) | ((hi & 0x7fff_ffff) >>> 11);
      put(cpu, 3, a);
    } else {
      V[DATA * 2] = zero ? sign : sign | (e << 23) | ((hi & 0x7fff_ffff) >>> 8);
      put(cpu, 2, a);
    }
    setC1(cpu, false);
    if (popAfter) pop(cpu);
    return CONTINUE;
  };
}

/** FIST(P) (by RC) and FISTTP (towards zero). */
function fist(w: number, popAfter: boolean, truncate: boolean): Fn {
  const bits = 8 << w;
  return storing(w, popAfter, 1n << BigInt(bits - 1), (v, cpu) => {
    const s = startOp(cpu);
    return toInt(F80, v, bits, true, truncate ? 3 : s.rm, s);
  });
}

/** Packed BCD integer indefinite. */
const BCD_INDEFINITE = 0xffff_c000_0000_0000_0000n;
const BCD_LIMIT = 10n ** 18n;

function toBcd(v: bigint, cpu: X87Cpu): bigint {
  const s = startOp(cpu);
  const n = BigInt.asIntN(80, toInt(F80, v, 80, true, s.rm, s));
  const m = n < 0n ? -n : n;
  if ((s.flags & FpFlag.IE) !== 0 || m >= BCD_LIMIT) {
    s.flags = FpFlag.IE;
    return BCD_INDEFINITE;
  }
  return BigInt(`0x${m.toString()}`) | (v & F80.signBit);
}

/** FST(P) ST(i). */
function fstSt(popAfter: boolean): Fn {
  return (cpu, _d, _a, _b, _c, imm) => {
    if (begin(cpu, imm, NONE)) return DISPATCH;
    if (isEmpty(cpu, 0)) {
      if (!stackFault(cpu, false)) return CONTINUE;
      setSt(cpu, imm & 7, INDEFINITE);
    } else {
      setC1(cpu, false);
      const V = cpu.V;
      const from = (Slot.X87 + 2 * top(cpu)) * 2;
      const r = phys(cpu, imm & 7);
      const to = (Slot.X87 + 2 * r) * 2;
      V[to] = V[from]!;
      V[to + 1] = V[from + 1]!;
      V[to + 2] = V[from + 2]!;
      V[W.TAG] = V[W.TAG]! | (1 << r);
    }
    if (popAfter) pop(cpu);
    return CONTINUE;
  };
}

/** D9 D8+i, an undocumented FSTP ST(i) without stack underflow: an empty ST(0) is not stored, only popped. */
const fstpnce: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  setC1(cpu, false);
  if (!isEmpty(cpu, 0)) setSt(cpu, imm & 7, st(cpu, 0));
  pop(cpu);
  return CONTINUE;
};

const fxch: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  const i = imm & 7;
  const e0 = isEmpty(cpu, 0);
  const ei = isEmpty(cpu, i);
  if (e0 || ei) {
    if (!stackFault(cpu, false)) return CONTINUE;
    const x = e0 ? INDEFINITE : st(cpu, 0);
    const y = ei ? INDEFINITE : st(cpu, i);
    setSt(cpu, 0, y);
    setSt(cpu, i, x);
    return CONTINUE;
  }
  setC1(cpu, false);
  const V = cpu.V;
  const p = (Slot.X87 + 2 * top(cpu)) * 2;
  const q = (Slot.X87 + 2 * phys(cpu, i)) * 2;
  for (let k = 0; k < 3; k++) {
    const t = V[p + k]!;
    V[p + k] = V[q + k]!;
    V[q + k] = t;
  }
  return CONTINUE;
};

/** Masks of the FLAGS slot for B, E, BE, U; the row's digit selects, bit 2 inverts. */
const CMOV_FLAGS = [0x100, 0x4000, 0x4100, 0x400] as const;

/** FCMOVcc (C1 changes only on stack underflow): imm bits 4..6 = condition 0 B, 1 E, 2 BE, 3 U, +4 inverted. */
const fcmov: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  const i = imm & 7;
  const cc = (imm >> 4) & 7;
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
    if (stackFault(cpu, false)) setSt(cpu, 0, INDEFINITE);
    return CONTINUE;
  }
  const holds = (cpu.V[W.FLAGS]! & CMOV_FLAGS[cc & 3]!) !== 0;
  if (holds === cc < 4) setSt(cpu, 0, st(cpu, i));
  return CONTINUE;
};

/**
 * Constants FLD1 FLDL2T FLDL2E FLDPI FLDLG2 FLDLN2 FLDZ (imm bits 0..2): significand rounded down, exponent, and by
 * how the true value continues: 0 exact, 1 below half an ulp, 2 above.
 */
const CONSTANTS: readonly (readonly [bigint, number, 0 | 1 | 2])[] = [
  [0x8000_0000_0000_0000n, 0x3fff, 0],
  [0xd49a_784b_cd1b_8afen, 0x4000, 1],
  [0xb8aa_3b29_5c17_f0bbn, 0x3fff, 2],
  [0xc90f_daa2_2168_c234n, 0x4000, 2],
  [0x9a20_9a84_fbcf_f798n, 0x3ffd, 2],
  [0xb172_17f7_d1cf_79abn, 0x3ffe, 2],
  [0n, 0, 0],
];

const fldConst: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  if (overflowed(cpu)) return CONTINUE;
  setC1(cpu, false);
  const [m, e, rest] = CONSTANTS[imm & 7]!;
  const rm = (fcw(cpu) >>> 10) & 3;
  const up = (rm === 0 && rest === 2) || (rm === 2 && rest !== 0);
  push(cpu, (BigInt(e) << 64n) | (up ? m + 1n : m));
  return CONTINUE;
};

/** FFREE ST(i), FFREEP ST(i) (imm bit 3). */
const ffree: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  setC1(cpu, false);
  cpu.V[W.TAG] = cpu.V[W.TAG]! & ~(1 << phys(cpu, imm & 7));
  if ((imm & 8) !== 0) pop(cpu);
  return CONTINUE;
};

/** FINCSTP (imm 1) and FDECSTP (imm 7). */
const fstep: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if (begin(cpu, imm, NONE)) return DISPATCH;
  setFsw(cpu, fsw(cpu) & ~Sw.C1);
  setTop(cpu, top(cpu) + (imm & 7));
  return CONTINUE;
};

const fnop: Fn = (cpu, _d, _a, _b, _c, imm) => (begin(cpu, imm, NONE) ? DISPATCH : CONTINUE);

export function defineMoves<C extends X87Cpu>(r: HelperRegistry<C>): void {
  const read = (name: string, bytes: number, fn: Fn): number => r.define(`x87.${name}`, loading(bytes, fn), native(X87Kind.READ, bytes));
  const write = (name: string, bytes: number, fn: Fn): number => r.define(`x87.${name}`, fn, native(X87Kind.WRITE, bytes));
  const reg = (name: string, fn: Fn): number => r.define(`x87.${name}`, fn, REG);
  reg('fld.st', fldSt);
  read('fld.f32', 4, fldF32);
  read('fld.f64', 8, fldF64);
  read('fld.f80', 10, fldF80);
  for (const bits of [16, 32, 64]) read(`fild.i${bits}`, bits >> 3, fild(bits));
  r.define('x87.fbld', loading(10, fbld));
  reg('fst.st', fstSt(false));
  reg('fstp.st', fstSt(true));
  for (const f of [F32, F64]) {
    const bytes = f === F32 ? 4 : 8;
    write(`fst.${f.name}`, bytes, fstFloat(f, false));
    write(`fstp.${f.name}`, bytes, fstFloat(f, true));
  }
  write('fstp.f80', 10, storing(4, true, INDEFINITE, (v) => v));
  for (const w of [1, 2]) write(`fist.i${8 << w}`, 1 << w, fist(w, false, false));
  for (const w of [1, 2, 3]) {
    write(`fistp.i${8 << w}`, 1 << w, fist(w, true, false));
    write(`fisttp.i${8 << w}`, 1 << w, fist(w, true, true));
  }
  r.define('x87.fbstp', storing(4, true, BCD_INDEFINITE, toBcd));
  r.define('x87.fstpnce', fstpnce);
  reg('fxch', fxch);
  r.define('x87.fcmov', fcmov, { readsFlags: 63, ...native(X87Kind.MOVE_IF, 0, Sw.C1) });
  reg('fldconst', fldConst);
  r.define('x87.ffree', ffree, native(X87Kind.REG, 0, Sw.CC));
  reg('fstep', fstep);
  reg('fnop', fnop);
  r.define('x87.fnone', () => CONTINUE);
}

/** Number of registers in use; for tests and dumps. */
export function depth(cpu: X87Cpu): number {
  let n = 0;
  for (let t = tags(cpu); t !== 0; t >>= 1) n += t & 1;
  return n;
}
