/**
 * Conversions: between integers, singles, doubles and halves (CVTxx2xx, VCVTPH2PS, VCVTPS2PH).
 * Out-of-range and NaN inputs give the integer indefinite and raise IE (SDM vol. 1, 4.8.3.7 and E.4.2). Narrowing 256-bit
 * forms clear the upper half of the destination, so that every w = 5 operation defines all 256 bits.
 */
import { HelperResult } from '../../../helpers.js';
import { F16, F32, F64, FpFlag, convert, fromInt, toInt } from '../../../softfloat/softfloat.js';
import { type Enc, type VW, type VectorOp, widths } from './def.js';
import { IN, IN_U32, IN_U64, OUT, OUT_U64, daz32, daz64, f32bits, f32value, fpBegin, fpEnd, st } from './fp.js';
import { loadQ, mergeScalar, roundInt } from './ops-float.js';
import { T, type VectorFn, type Views, fromScratch, views } from './views.js';

const INDEFINITE = -0x8000_0000;

/** Rounds a finite double to int32, with flags. */
function toInt32(x: number, rm: number): number {
  const r = roundInt(x, rm);
  if (r >= -0x8000_0000 && r <= 0x7fff_ffff) {
    if (r !== x) st.flags |= FpFlag.PE;
    return r | 0;
  }
  st.flags |= FpFlag.IE;
  return INDEFINITE;
}
const single2int = (b: number, rm: number): number => {
  if ((b & 0x7f80_0000) === 0x7f80_0000) {
    st.flags |= FpFlag.IE;
    return INDEFINITE;
  }
  return toInt32(f32value(daz32(b)), rm);
};
/** IN[0] to int32. */
const double2int = (rm: number): number => {
  if ((IN_U32[1]! & 0x7ff0_0000) === 0x7ff0_0000) {
    st.flags |= FpFlag.IE;
    return INDEFINITE;
  }
  daz64(0);
  return toInt32(IN[0]!, rm);
};

const int2single = (x: number): number => {
  const f = Math.fround(x);
  if (f === x) return f32bits(f);
  if (st.rm !== 0) return Number(fromInt(F32, BigInt(x), st));
  st.flags |= FpFlag.PE;
  return f32bits(f);
};
/** OUT[0] = the single b as a double. */
function single2double(b: number): void {
  const e = b & 0x7f80_0000;
  if ((e !== 0 && e !== 0x7f80_0000) || (b & 0x7fff_ffff) === 0) OUT[0] = f32value(b);
  else OUT_U64[0] = convert(F32, F64, BigInt(b >>> 0), st);
}
/** IN[0] as a single. */
function double2single(): number {
  const e = (IN_U32[1]! >>> 20) & 0x7ff;
  // Exponents -125..126: neither overflow nor underflow, even after rounding.
  if (e > 898 && e < 1150) {
    const x = IN[0]!;
    const f = Math.fround(x);
    if (f === x) return f32bits(f);
    if (st.rm === 0) {
      st.flags |= FpFlag.PE;
      return f32bits(f);
    }
  }
  return Number(convert(F64, F32, IN_U64[0]!, st));
}

/** Fills scratch from lanes of a, then writes `bytes` bytes; 256-bit operations clear what they do not fill. */
const packed = (lanes: (w: VW) => number, k: (v: Views, a: number, i: number) => void) => (w: VW): VectorFn => {
  const n = lanes(w);
  return (cpu, d, a) => {
    const v = views(cpu);
    fpBegin(cpu);
    T.u64.fill(0n);
    for (let i = 0; i < n; i++) k(v, a, i);
    fpEnd(cpu);
    fromScratch(v, d, 1 << w);
    return HelperResult.CONTINUE;
  };
};
const lanes32 = (w: VW): number => (1 << w) >> 2;
const lanes64 = (w: VW): number => 1 << (w - 3);

const TRUNCATE = 3;
const dq2ps = packed(lanes32, (v, a, i) => (T.u32[i] = int2single(v.i32[(a << 1) + i]!)));
const ps2dq = packed(lanes32, (v, a, i) => (T.i32[i] = single2int(v.u32[(a << 1) + i]!, st.rm)));
const tps2dq = packed(lanes32, (v, a, i) => (T.i32[i] = single2int(v.u32[(a << 1) + i]!, TRUNCATE)));
const dq2pd = packed(lanes64, (v, a, i) => (T.f64[i] = v.i32[(a << 1) + i]!));
const pd2dq = (truncate: boolean): ((w: VW) => VectorFn) => packed(lanes64, (v, a, i) => {
  loadQ(v, 0, a + i);
  T.i32[i] = double2int(truncate ? TRUNCATE : st.rm);
});
const ps2pd = packed(lanes64, (v, a, i) => {
  single2double(v.u32[(a << 1) + i]!);
  T.u64[i] = OUT_U64[0]!;
});
const pd2ps = packed(lanes64, (v, a, i) => {
  loadQ(v, 0, a + i);
  T.u32[i] = double2single();
});

// --- scalar ---

const ss2sd: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu);
  fpBegin(cpu);
  single2double(v.u32[b << 1]!);
  T.u64[0] = OUT_U64[0]!;
  fpEnd(cpu);
  mergeScalar(v, d, a, 2);
  return HelperResult.CONTINUE;
};
const sd2ss: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu);
  fpBegin(cpu);
  loadQ(v, 0, b);
  T.u32[0] = double2single();
  fpEnd(cpu);
  mergeScalar(v, d, a, 1);
  return HelperResult.CONTINUE;
};
/** CVTSI2SS/CVTSI2SD: b is a general register. */
const si2f = (double: boolean, wide: boolean): VectorFn => (cpu, d, a, b) => {
  const v = views(cpu);
  fpBegin(cpu);
  if (wide) {
    const x = BigInt.asIntN(64, v.u64[b]!);
    if (double) T.u64[0] = fromInt(F64, x, st);
    else T.u32[0] = Number(fromInt(F32, x, st));
  } else if (double) T.f64[0] = v.i32[b << 1]!;
  else T.u32[0] = int2single(v.i32[b << 1]!);
  fpEnd(cpu);
  mergeScalar(v, d, a, double ? 2 : 1);
  return HelperResult.CONTINUE;
};
/** CVT(T)SS2SI, CVT(T)SD2SI: dst is a general register, zero-extended. */
const f2si = (double: boolean, wide: boolean, truncate: boolean): VectorFn => (cpu, d, a) => {
  const v = views(cpu);
  fpBegin(cpu);
  const rm = truncate ? TRUNCATE : st.rm;
  if (double) loadQ(v, 0, a);
  if (wide) {
    const r = double ? toInt(F64, IN_U64[0]!, 64, true, rm, st) : toInt(F32, BigInt(v.u32[a << 1]!), 64, true, rm, st);
    fpEnd(cpu);
    v.u64[d] = r;
  } else {
    const r = double ? double2int(rm) : single2int(v.u32[a << 1]!, rm);
    fpEnd(cpu);
    v.i32[d << 1] = r;
    v.i32[(d << 1) + 1] = 0;
  }
  return HelperResult.CONTINUE;
};

function scalarOps(): VectorOp[] {
  const FP = { fp: true };
  const out: VectorOp[] = [
    ...widths('cvtss2sd', () => ss2sd, { form: 'rvm', pp: 2, op: 0x5a }, {}, FP),
    ...widths('cvtsd2ss', () => sd2ss, { form: 'rvm', pp: 3, op: 0x5a }, {}, FP),
  ];
  for (const double of [false, true]) {
    const f = double ? 'sd' : 'ss';
    const pp = double ? 3 : 2;
    const feature = double ? 'sse2' : 'sse';
    for (const wide of [false, true]) {
      const q = wide ? 'q' : 'd';
      const w = wide ? 1 : 0;
      out.push(...widths(`cvtsi2${f}.${q}`, () => si2f(double, wide), { form: 'rvg', pp, op: 0x2a, w, feature }, {}, FP));
      out.push(...widths(`cvtt${f}2si.${q}`, () => f2si(double, wide, true), { form: 'rg', pp, op: 0x2c, w, feature }, {}, FP));
      out.push(...widths(`cvt${f}2si.${q}`, () => f2si(double, wide, false), { form: 'rg', pp, op: 0x2d, w, feature }, {}, FP));
    }
  }
  return out;
}

// --- MMX operands: no host form, they are rare and mix register files ---

/** CVTPI2PS: low two singles of dst from the MMX register b, the rest from a. */
const pi2ps: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu);
  fpBegin(cpu);
  T.u32[0] = int2single(v.i32[b << 1]!);
  T.u32[1] = int2single(v.i32[(b << 1) + 1]!);
  fpEnd(cpu);
  mergeScalar(v, d, a, 2);
  return HelperResult.CONTINUE;
};
const pi2pd: VectorFn = (cpu, d, a) => {
  const v = views(cpu);
  const x = v.i32[a << 1]!;
  const y = v.i32[(a << 1) + 1]!;
  v.f64[d] = x;
  v.f64[d + 1] = y;
  return HelperResult.CONTINUE;
};
/** CVT(T)PS2PI, CVT(T)PD2PI: dst is an MMX register. */
const toMmx = (double: boolean, truncate: boolean): VectorFn => (cpu, d, a) => {
  const v = views(cpu);
  fpBegin(cpu);
  const rm = truncate ? TRUNCATE : st.rm;
  for (let i = 0; i < 2; i++) {
    if (double) loadQ(v, 0, a + i);
    T.i32[i] = double ? double2int(rm) : single2int(v.u32[(a << 1) + i]!, rm);
  }
  fpEnd(cpu);
  fromScratch(v, d, 8);
  return HelperResult.CONTINUE;
};

// --- halves (F16C) ---

/** VCVTPH2PS: exact; DAZ does not apply and denormal halves raise nothing (SDM vol. 2). */
const ph2ps = packed(lanes32, (v, a, i) => {
  const h = v.u16[(a << 2) + i]!;
  const daz = st.daz;
  const flags = st.flags;
  st.daz = false;
  T.u32[i] = Number(convert(F16, F32, BigInt(h), st));
  st.daz = daz;
  st.flags = flags | (st.flags & ~FpFlag.DE);
});
/** VCVTPS2PH: imm bit 2 = use MXCSR.RC, bits 1..0 = rounding mode; FTZ does not apply. dst has half the width. */
const ps2ph = (w: VW): VectorFn => {
  const n = lanes32(w);
  return (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    fpBegin(cpu);
    if ((imm & 4) === 0) st.rm = imm & 3;
    st.ftz = false;
    T.u64.fill(0n);
    for (let i = 0; i < n; i++) T.u16[i] = Number(convert(F32, F16, BigInt(v.u32[(a << 1) + i]!), st));
    fpEnd(cpu);
    fromScratch(v, d, 1 << w);
    return HelperResult.CONTINUE;
  };
};

function packedOps(): VectorOp[] {
  const e = (pp: 0 | 1 | 2 | 3, op: number): Enc => ({ form: 'rm', pp, op });
  const A = { v256: 'avx' };
  const FP = { fp: true };
  return [
    ...widths('cvtdq2ps', dq2ps, e(0, 0x5b), A, FP),
    ...widths('cvtps2dq', ps2dq, e(1, 0x5b), A, FP),
    ...widths('cvttps2dq', tps2dq, e(2, 0x5b), A, FP),
    ...widths('cvtdq2pd', dq2pd, e(2, 0xe6), A, FP),
    ...widths('cvtpd2dq', pd2dq(false), e(3, 0xe6), A, FP),
    ...widths('cvttpd2dq', pd2dq(true), e(1, 0xe6), A, FP),
    ...widths('cvtps2pd', ps2pd, e(0, 0x5a), A, FP),
    ...widths('cvtpd2ps', pd2ps, e(1, 0x5a), A, FP),
    ...widths('cvtpi2ps', () => pi2ps, null, {}, FP),
    ...widths('cvtpi2pd', () => pi2pd, null, {}, FP),
    ...widths('cvtps2pi', () => toMmx(false, false), null, { mmx: 'sse', no128: true }, FP),
    ...widths('cvttps2pi', () => toMmx(false, true), null, { mmx: 'sse', no128: true }, FP),
    ...widths('cvtpd2pi', () => toMmx(true, false), null, { mmx: 'sse2', no128: true }, FP),
    ...widths('cvttpd2pi', () => toMmx(true, true), null, { mmx: 'sse2', no128: true }, FP),
    ...widths('vcvtph2ps', ph2ps, { form: 'rm', map: 2, op: 0x13, feature: 'f16c', vexOnly: true }, { v256: 'f16c' }, FP),
    ...widths('vcvtps2ph', ps2ph, { form: 'mri', map: 3, op: 0x1d, feature: 'f16c', vexOnly: true }, { v256: 'f16c' }, FP),
  ];
}

export const CONVERT_OPS: readonly VectorOp[] = [...packedOps(), ...scalarOps()];
