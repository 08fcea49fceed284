/**
 * Floating-point operations on packed and scalar singles and doubles: SSE, SSE2, SSE3, SSE4.1, AVX, FMA3.
 * Results are collected in scratch and written only after `fpEnd` has found no unmasked exception.
 * Scalar operations take bits 32.. (64..) of the destination from operand a. Intel SDM vol. 2.
 */
import { HelperResult } from '../../../helpers.js';
import { Fl, Slot, eflagsToFlags } from '../../../state.js';
import { F32, F64, FpFlag, roundToInt } from '../../../softfloat/softfloat.js';
import { type Enc, type VW, type VectorOp, widths } from './def.js';
import { FpOp, IN, IN_U32, IN_U64, OUT, OUT_U64, Rel, arith32, arith64, compare32, compare64, daz32, daz64, f32bits, f32value, fma32, fma64, fpBegin, fpEnd, fpStage, sqrt32, sqrt64, st } from './fp.js';
import { T, type VectorCpu, type VectorFn, type Views, fromScratch, views } from './views.js';

/** Kernel of one lane of singles: bit patterns in and out; `i` is the lane. */
type K32 = (a: number, b: number, imm: number, i: number) => number;
/** Kernel of one lane of doubles: IN[0], IN[1] to OUT[0]. */
type K64 = (imm: number, i: number) => void;

const packed32 = (k: K32) => (w: VW): VectorFn => {
  const n = (1 << w) >> 2;
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    fpBegin(cpu);
    for (let i = 0; i < n; i++) T.u32[i] = k(v.u32[(a << 1) + i]!, v.u32[(b << 1) + i]!, imm, i);
    fpEnd(cpu);
    fromScratch(v, d, 1 << w);
    return HelperResult.CONTINUE;
  };
};
const packed64 = (k: K64) => (w: VW): VectorFn => {
  const n = 1 << (w - 3);
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    fpBegin(cpu);
    for (let i = 0; i < n; i++) {
      loadQ(v, 0, a + i);
      loadQ(v, 1, b + i);
      k(imm, i);
      T.u64[i] = OUT_U64[0]!;
    }
    fpEnd(cpu);
    fromScratch(v, d, 1 << w);
    return HelperResult.CONTINUE;
  };
};
/** IN[i] = the quadword at slot s, as words: a NaN must not pass through a JavaScript number. */
export function loadQ(v: Views, i: number, s: number): void {
  IN_U32[2 * i] = v.u32[s << 1]!;
  IN_U32[2 * i + 1] = v.u32[(s << 1) + 1]!;
}

/** Writes a scalar result: low `words` words from scratch, the rest of 128 bits from a. */
export function mergeScalar(v: Views, d: number, a: number, words: 1 | 2): void {
  if (d !== a) for (let i = words; i < 4; i++) v.i32[(d << 1) + i] = v.i32[(a << 1) + i]!;
  fromScratch(v, d, words * 4);
}
const scalar32 = (k: K32): VectorFn => (cpu, d, a, b, _c, imm) => {
  const v = views(cpu);
  fpBegin(cpu);
  T.u32[0] = k(v.u32[a << 1]!, v.u32[b << 1]!, imm, 0);
  fpEnd(cpu);
  mergeScalar(v, d, a, 1);
  return HelperResult.CONTINUE;
};
const scalar64 = (k: K64): VectorFn => (cpu, d, a, b, _c, imm) => {
  const v = views(cpu);
  fpBegin(cpu);
  loadQ(v, 0, a);
  loadQ(v, 1, b);
  k(imm, 0);
  T.u64[0] = OUT_U64[0]!;
  fpEnd(cpu);
  mergeScalar(v, d, a, 2);
  return HelperResult.CONTINUE;
};

// --- kernels ---

/** MIN/MAX return the second operand unless the comparison holds strictly: also for NaNs and for zeros of either sign. */
const minmax32 = (want: Rel): K32 => (a, b) => (compare32(a, b, false) === want ? daz32(a) : daz32(b));
const minmax64 = (want: Rel): K64 => () => {
  const r = compare64(false);
  if (r === Rel.UNORDERED) daz64(1);
  OUT_U64[0] = IN_U64[r === want ? 0 : 1]!;
};

/** Which relations (bit `Rel`) satisfy predicates 0..15; 16..31 repeat them with the other signalling behaviour. */
const PREDICATES = [0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111, 0b1010, 0b1001, 0b1011, 0b0000, 0b0101, 0b0110, 0b0100, 0b1111];
/** Predicates whose unordered result is not an exception for quiet NaNs: EQ, UNORD, NEQ, ORD, FALSE, TRUE. */
const quietPredicate = (p: number): boolean => ((p & 3) === 0 || (p & 3) === 3) === ((p & 16) === 0);
const cmp32: K32 = (a, b, imm) => ((PREDICATES[imm & 15]! >> compare32(a, b, quietPredicate(imm))) & 1 ? 0xffff_ffff : 0);
const cmp64: K64 = (imm) => {
  OUT_U64[0] = (PREDICATES[imm & 15]! >> compare64(quietPredicate(imm))) & 1 ? 0xffff_ffff_ffff_ffffn : 0n;
};

/** COMISx, UCOMISx: ZF PF CF = 111 unordered, 000 greater, 001 less, 100 equal. */
const COMI = [1, 0x40, 0, 0x45];
function setRelation(cpu: VectorCpu, r: Rel): HelperResult {
  fpEnd(cpu);
  cpu.V[Slot.FLAGS << 1] = eflagsToFlags(COMI[r]!);
  return HelperResult.CONTINUE;
}
const comis32 = (quiet: boolean): VectorFn => (cpu, _d, a, b) => {
  const v = views(cpu);
  fpBegin(cpu);
  return setRelation(cpu, compare32(v.u32[a << 1]!, v.u32[b << 1]!, quiet));
};
const comis64 = (quiet: boolean): VectorFn => (cpu, _d, a, b) => {
  const v = views(cpu);
  fpBegin(cpu);
  loadQ(v, 0, a);
  loadQ(v, 1, b);
  return setRelation(cpu, compare64(quiet));
};

/** Rounds x to an integer by mode 0..3; keeps the sign of zero. */
export function roundInt(x: number, rm: number): number {
  switch (rm) {
    case 1:
      return Math.floor(x);
    case 2:
      return Math.ceil(x);
    case 3:
      return Math.trunc(x);
    default: {
      const f = Math.floor(x);
      const d = x - f;
      const r = d > 0.5 || (d === 0.5 && f % 2 !== 0) ? f + 1 : f;
      return r === 0 && x < 0 ? -0 : r;
    }
  }
}
/** ROUNDxx: imm bit 2 = use MXCSR.RC, bits 1..0 = mode, bit 3 = no precision exception. */
const round32: K32 = (_a, b, imm) => {
  const rm = imm & 4 ? st.rm : imm & 3;
  const x = f32value(b);
  const e = (b >>> 23) & 0xff;
  if (e === 0 || e === 0xff) return Number(roundToInt(F32, BigInt(b >>> 0), rm, (imm & 8) !== 0, st));
  const r = roundInt(x, rm);
  if (r !== x && (imm & 8) === 0) st.flags |= FpFlag.PE;
  return f32bits(r);
};
const round64: K64 = (imm) => {
  const rm = imm & 4 ? st.rm : imm & 3;
  const e = (IN_U32[3]! >>> 20) & 0x7ff;
  if (e === 0 || e === 0x7ff) {
    OUT_U64[0] = roundToInt(F64, IN_U64[1]!, rm, (imm & 8) !== 0, st);
    return;
  }
  const x = IN[1]!;
  OUT[0] = roundInt(x, rm);
  if (OUT[0] !== x && (imm & 8) === 0) st.flags |= FpFlag.PE;
};

/**
 * RCPxx and RSQRTxx: relative error at most 1.5 * 2^-12 and no exceptions (SDM vol. 2). Processors differ in the bits; here
 * the correctly rounded single, cut to 12 fraction bits (round to nearest), which is well inside the bound. Denormal
 * inputs count as zeros, denormal results become zeros.
 */
const cut12 = (x: number): number => {
  const b = f32bits(Math.fround(x));
  if ((b & 0x7f80_0000) === 0x7f80_0000) return b;
  if ((b & 0x7f80_0000) === 0) return (b & 0x8000_0000) >>> 0;
  return ((b + 0x400) & ~0x7ff) >>> 0;
};
const flush = (b: number): number => ((b & 0x7f80_0000) === 0 ? (b & 0x8000_0000) >>> 0 : b);
const nan32 = (b: number): boolean => (b & 0x7fff_ffff) > 0x7f80_0000;
const rcp: K32 = (_a, b) => (nan32(b) ? (b | 0x40_0000) >>> 0 : cut12(1 / f32value(flush(b))));
const rsqrt: K32 = (_a, b) => {
  if (nan32(b)) return (b | 0x40_0000) >>> 0;
  const f = flush(b);
  if (f === 0x8000_0000) return 0xff80_0000;
  return f >>> 31 ? 0xffc0_0000 : cut12(1 / Math.sqrt(f32value(f)));
};

// --- tables ---

const FORMATS = [
  // suffix, mandatory prefix, packed?, feature
  ['ps', 0, true, 'sse'], ['pd', 1, true, 'sse2'], ['ss', 2, false, 'sse'], ['sd', 3, false, 'sse2'],
] as const;
const FP = { fp: true } as const;

/** One operation in the four formats. `unary`: packed forms have one source (rm), scalar forms merge (rvm). */
function four(name: string, op: number, k32: K32, k64: K64, o: { imm?: boolean; unary?: boolean } = {}): VectorOp[] {
  return FORMATS.flatMap(([suffix, pp, packed, feature]) => {
    const single = suffix.endsWith('s');
    const base = o.unary && packed ? 'rm' : 'rvm';
    const enc: Enc = { form: o.imm ? `${base}i` : base, pp, op, feature };
    if (!packed) return widths(name + suffix, () => (single ? scalar32(k32) : scalar64(k64)), enc, {}, FP);
    return widths(name + suffix, single ? packed32(unaryA(k32, o.unary)) : packed64(unaryA64(k64, o.unary)), enc, { v256: 'avx' }, FP);
  });
}
/** Unary kernels read their second operand (as the scalar forms do); in packed form the only source is a. */
const unaryA = (k: K32, unary: boolean | undefined): K32 => (unary ? (a, _b, imm, i) => k(a, a, imm, i) : k);
const unaryA64 = (k: K64, unary: boolean | undefined): K64 => (unary ? (imm, i) => {
  IN_U32[2] = IN_U32[0]!;
  IN_U32[3] = IN_U32[1]!;
  k(imm, i);
} : k);

const arithmetic = (name: string, opcode: number, op: FpOp): VectorOp[] => four(name, opcode, (a, b) => arith32(op, a, b), () => arith64(op));

const sqrtB: K64 = () => {
  IN_U32[0] = IN_U32[2]!;
  IN_U32[1] = IN_U32[3]!;
  sqrt64();
};

function comparisons(): VectorOp[] {
  const more = { fp: true, writesFlags: Fl.ALL };
  return [
    ...widths('comiss', () => comis32(false), { form: 'cmp', pp: 0, op: 0x2f, feature: 'sse' }, {}, more),
    ...widths('comisd', () => comis64(false), { form: 'cmp', op: 0x2f }, {}, more),
    ...widths('ucomiss', () => comis32(true), { form: 'cmp', pp: 0, op: 0x2e, feature: 'sse' }, {}, more),
    ...widths('ucomisd', () => comis64(true), { form: 'cmp', op: 0x2e }, {}, more),
  ];
}

function roundings(): VectorOp[] {
  const enc = (form: 'rmi' | 'rvmi', op: number): Enc => ({ form, map: 3, op, feature: 'sse4_1' });
  return [
    ...widths('roundps', packed32((a, _b, imm, i) => round32(a, a, imm, i)), enc('rmi', 0x08), { v256: 'avx' }, FP),
    ...widths('roundpd', packed64(unaryA64(round64, true)), enc('rmi', 0x09), { v256: 'avx' }, FP),
    ...widths('roundss', () => scalar32(round32), enc('rvmi', 0x0a), {}, FP),
    ...widths('roundsd', () => scalar64(round64), enc('rvmi', 0x0b), {}, FP),
  ];
}

function approximations(): VectorOp[] {
  const more = { fp: true, approximate: true };
  return ([['rcp', rcp, 0x53], ['rsqrt', rsqrt, 0x52]] as const).flatMap(([name, k, op]) => [
    ...widths(`${name}ps`, packed32((a) => k(a, a, 0, 0)), { form: 'rm', pp: 0, op, feature: 'sse' }, { v256: 'avx' }, more),
    ...widths(`${name}ss`, () => scalar32(k), { form: 'rvm', pp: 2, op, feature: 'sse' }, {}, more),
  ]);
}

// --- horizontal ---

/** HADDxx, HSUBxx: within each 128-bit lane, pairs of a, then pairs of b. */
const horizontal32 = (op: FpOp) => (w: VW): VectorFn => (cpu, d, a, b) => {
  const v = views(cpu);
  fpBegin(cpu);
  for (let o = 0; o < (1 << w) >> 2; o += 4) {
    for (let i = 0; i < 4; i++) {
      const s = ((i < 2 ? a : b) << 1) + o + (i & 1) * 2;
      T.u32[o + i] = arith32(op, v.u32[s]!, v.u32[s + 1]!);
    }
  }
  fpEnd(cpu);
  fromScratch(v, d, 1 << w);
  return HelperResult.CONTINUE;
};
const horizontal64 = (op: FpOp) => (w: VW): VectorFn => (cpu, d, a, b) => {
  const v = views(cpu);
  fpBegin(cpu);
  for (let o = 0; o < 1 << (w - 3); o++) {
    const s = (o & 1 ? b : a) + (o & ~1);
    loadQ(v, 0, s);
    loadQ(v, 1, s + 1);
    arith64(op);
    T.u64[o] = OUT_U64[0]!;
  }
  fpEnd(cpu);
  fromScratch(v, d, 1 << w);
  return HelperResult.CONTINUE;
};

/**
 * DPPS: products selected by imm 7..4, (p0 + p1) + (p2 + p3), stored where imm 3..0 says. Unmasked exceptions of one stage
 * (multiply, first additions, last addition) keep the later ones from being done (SDM vol. 2, DPPS).
 */
const dpps = (w: VW): VectorFn => (cpu, d, a, b, _c, imm) => {
  const v = views(cpu);
  const n = (1 << w) >> 2;
  const t = T.u32;
  fpBegin(cpu);
  for (let i = 0; i < n; i++) t[i] = (imm >> (4 + (i & 3))) & 1 ? arith32(FpOp.MUL, v.u32[(a << 1) + i]!, v.u32[(b << 1) + i]!) : 0;
  fpStage(cpu);
  for (let i = 0; i < n; i += 2) t[i] = arith32(FpOp.ADD, t[i]!, t[i + 1]!);
  fpStage(cpu);
  for (let o = 0; o < n; o += 4) {
    const s = arith32(FpOp.ADD, t[o]!, t[o + 2]!);
    for (let i = 0; i < 4; i++) t[o + i] = (imm >> i) & 1 ? s : 0;
  }
  fpEnd(cpu);
  fromScratch(v, d, 1 << w);
  return HelperResult.CONTINUE;
};
const dppd: VectorFn = (cpu, d, a, b, _c, imm) => {
  const v = views(cpu);
  fpBegin(cpu);
  for (let i = 0; i < 2; i++) {
    loadQ(v, 0, a + i);
    loadQ(v, 1, b + i);
    OUT_U64[0] = 0n;
    if ((imm >> (4 + i)) & 1) arith64(FpOp.MUL);
    T.u64[i] = OUT_U64[0]!;
  }
  fpStage(cpu);
  loadQ(T, 0, 0);
  loadQ(T, 1, 1);
  arith64(FpOp.ADD);
  for (let i = 0; i < 2; i++) T.u64[i] = (imm >> i) & 1 ? OUT_U64[0]! : 0n;
  fpEnd(cpu);
  fromScratch(v, d, 16);
  return HelperResult.CONTINUE;
};

function horizontals(): VectorOp[] {
  const e = (pp: 1 | 3, op: number): Enc => ({ form: 'rvm', pp, op, feature: 'pni' });
  const A = { v256: 'avx' };
  return [
    ...widths('addsubps', packed32((a, b, _imm, i) => arith32(i & 1 ? FpOp.ADD : FpOp.SUB, a, b)), e(3, 0xd0), A, FP),
    ...widths('addsubpd', packed64((_imm, i) => arith64(i & 1 ? FpOp.ADD : FpOp.SUB)), e(1, 0xd0), A, FP),
    ...widths('haddps', horizontal32(FpOp.ADD), e(3, 0x7c), A, FP),
    ...widths('haddpd', horizontal64(FpOp.ADD), e(1, 0x7c), A, FP),
    ...widths('hsubps', horizontal32(FpOp.SUB), e(3, 0x7d), A, FP),
    ...widths('hsubpd', horizontal64(FpOp.SUB), e(1, 0x7d), A, FP),
    ...widths('dpps', dpps, { form: 'rvmi', map: 3, op: 0x40, feature: 'sse4_1' }, A, FP),
    ...widths('dppd', () => dppd, { form: 'rvmi', map: 3, op: 0x41, feature: 'sse4_1' }, {}, FP),
  ];
}

// --- fused multiply-add ---

const neg32 = (b: number): number => (nan32(b) ? b : (b ^ 0x8000_0000) >>> 0);
/** Flips the sign of IN[i] unless it is a NaN. */
function neg64(i: number): void {
  const h = IN_U32[2 * i + 1]!;
  if ((h & 0x7ff0_0000) !== 0x7ff0_0000 || ((h & 0xf_ffff) | IN_U32[2 * i]!) === 0) IN_U32[2 * i + 1] = h ^ 0x8000_0000;
}

/** Order of multiplicand, multiplier, addend among the operands c (old destination), a (vvvv), b (rm). */
const ORDER = { 132: [0, 2, 1], 213: [1, 0, 2], 231: [1, 2, 0] } as const;
/** Sign changes per variant for even and odd lanes: bit 0 negates the product, bit 1 the addend. */
const VARIANTS = [
  ['vfmaddsub', 0x96, 2, 0], ['vfmsubadd', 0x97, 0, 2], ['vfmadd', 0x98, 0, 0], ['vfmsub', 0x9a, 2, 2], ['vfnmadd', 0x9c, 1, 1], ['vfnmsub', 0x9e, 3, 3],
] as const;
const src = new Int32Array(3);

const fmaFn = (order: readonly [number, number, number], even: number, odd: number, double: boolean, lanes: number): VectorFn => (cpu, d, a, b, c) => {
  const v = views(cpu);
  fpBegin(cpu);
  src[0] = c;
  src[1] = a;
  src[2] = b;
  const x = src[order[0]]!;
  const y = src[order[1]]!;
  const z = src[order[2]]!;
  const n = lanes === 0 ? 1 : lanes;
  for (let i = 0; i < n; i++) {
    const neg = i & 1 ? odd : even;
    if (double) {
      loadQ(v, 0, x + i);
      loadQ(v, 1, y + i);
      loadQ(v, 2, z + i);
      if (neg & 1) neg64(0);
      if (neg & 2) neg64(2);
      fma64();
      T.u64[i] = OUT_U64[0]!;
    } else {
      const p = v.u32[(x << 1) + i]!;
      const r = v.u32[(z << 1) + i]!;
      T.u32[i] = fma32(neg & 1 ? neg32(p) : p, v.u32[(y << 1) + i]!, neg & 2 ? neg32(r) : r);
    }
  }
  fpEnd(cpu);
  if (lanes === 0) mergeScalar(v, d, c, double ? 2 : 1);
  else fromScratch(v, d, lanes * (double ? 8 : 4));
  return HelperResult.CONTINUE;
};

function fused(): VectorOp[] {
  const out: VectorOp[] = [];
  for (const [i, o] of ([132, 213, 231] as const).entries()) {
    for (const [name, base, even, odd] of VARIANTS) {
      for (const double of [false, true]) {
        const e: Enc = { form: 'fma', map: 2, op: base + 0x10 * i, w: double ? 1 : 0, feature: 'fma', vexOnly: true };
        const t = double ? 'd' : 's';
        out.push(...widths(`${name}${o}p${t}`, (w) => fmaFn(ORDER[o], even, odd, double, (1 << w) >> (double ? 3 : 2)), e, { v256: 'fma' }, FP));
        if (base >= 0x98) out.push(...widths(`${name}${o}s${t}`, () => fmaFn(ORDER[o], even, odd, double, 0), { ...e, op: e.op + 1 }, {}, FP));
      }
    }
  }
  return out;
}

export const FLOAT_OPS: readonly VectorOp[] = [
  ...arithmetic('add', 0x58, FpOp.ADD),
  ...arithmetic('mul', 0x59, FpOp.MUL),
  ...arithmetic('sub', 0x5c, FpOp.SUB),
  ...arithmetic('div', 0x5e, FpOp.DIV),
  ...four('min', 0x5d, minmax32(Rel.LT), minmax64(Rel.LT)),
  ...four('max', 0x5f, minmax32(Rel.GT), minmax64(Rel.GT)),
  ...four('sqrt', 0x51, (_a, b) => sqrt32(b), sqrtB, { unary: true }),
  ...four('cmp', 0xc2, cmp32, cmp64, { imm: true }),
  ...comparisons(),
  ...roundings(),
  ...approximations(),
  ...horizontals(),
  ...fused(),
];
