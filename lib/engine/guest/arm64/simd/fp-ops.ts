/** Floating-point vector operations: scalar (`f.`) and by lanes (`vf.`), for 16, 32 and 64 bits. */
import type { HelperResult, NativeForm } from '../../../helpers.js';
import type { Arm64Cpu } from '../cpu.js';
import { type Es, type Fn, type SimdOp, T, type Views, at, bitsOf, bytesOf, finish, lanesOf, sse, views } from './def.js';
import * as fast from './fp-fast.js';
import * as fp from './fp.js';
import { F16, F32, F64, FORMATS, type FpFormat, Rm } from './fp.js';

const OPS: SimdOp[] = [];
function op(name: string, fn: Fn, native?: NativeForm): void {
  OPS.push({ name, fn, fp: true, ...(native ? { native } : {}) });
}

/** Lane i of size es (1..3). */
function get(v: Views, slot: number, es: Es, i: number): bigint {
  return es === 3 ? v.u64[slot + i]! : BigInt(lanesOf(v, es, false)[at(slot, es) + i]!);
}
function put(es: Es, i: number, x: bigint): void {
  if (es === 3) T.u64[i] = x;
  else lanesOf(T, es, false)[i] = Number(BigInt.asUintN(32, x));
}

/** Result of one lane in scratch; the rest is cleared. */
function scalar(cpu: Arm64Cpu, d: number, es: Es): HelperResult {
  if (es === 1) T.u16[1] = 0;
  return finish(cpu, d, es === 3 ? 8 : 4);
}

type Lane = (f: FpFormat, a: bigint, b: bigint, d: bigint, imm: number) => bigint;

/** Registers scalar and vector forms of a lane function; b, c and d as the instruction has them. quick: kernel of the fast path. */
function lanes(name: string, k: Lane, quick?: fast.Kernel): void {
  for (const es of [1, 2, 3] as const) {
    const f = FORMATS[es]!;
    const two = es === 3 ? fast.two64 : fast.two32;
    op(`f.${name}.${bitsOf(es)}`, (cpu, d, a, b, _c, imm) => {
      const v = views(cpu);
      if (quick !== undefined && es > 1 && fast.usual(cpu) && two(cpu, v, quick, T.u32, 0, a << 1, b << 1)) return scalar(cpu, d, es);
      fp.begin(cpu);
      put(es, 0, k(f, get(v, a, es, 0), get(v, b < 0 ? a : b, es, 0), get(v, d, es, 0), imm));
      fp.end(cpu);
      return scalar(cpu, d, es);
    });
    op(`vf.${name}.${bitsOf(es)}`, (cpu, d, a, b, _c, imm) => {
      const v = views(cpu);
      const bytes = bytesOf(imm);
      const tryFast = quick !== undefined && es > 1 && fast.usual(cpu);
      const step = es === 3 ? 2 : 1;
      for (let i = 0; i < bytes >> es; i++) {
        if (tryFast && two(cpu, v, quick, T.u32, i * step, (a << 1) + i * step, (b << 1) + i * step)) continue;
        fp.begin(cpu);
        put(es, i, k(f, get(v, a, es, i), get(v, b < 0 ? a : b, es, i), get(v, d, es, i), imm >> 1));
        fp.end(cpu);
      }
      return finish(cpu, d, bytes);
    });
  }
}

const ones = (f: FpFormat): bigint => (1n << BigInt(f.width)) - 1n;
lanes('add', fp.fadd, 0);
lanes('sub', fp.fsub, 1);
lanes('mul', fp.fmul, 2);
lanes('div', fp.fdiv, 3);
lanes('nmul', fp.fnmul);
lanes('mulx', fp.fmulx);
lanes('abd', fp.fabd);
lanes('max', fp.fmax);
lanes('min', fp.fmin);
lanes('maxnm', fp.fmaxnm);
lanes('minnm', fp.fminnm);
lanes('recps', fp.frecps);
lanes('rsqrts', fp.frsqrts);
lanes('mla', (f, a, b, d) => fp.fmuladd(f, d, a, b));
lanes('mls', (f, a, b, d) => fp.fmuladd(f, d, fp.fneg(f, a), b));
lanes('cmeq', (f, a, b) => (fp.relation(f, a, b, false) === 0 ? ones(f) : 0n));
lanes('cmge', (f, a, b) => {
  const r = fp.relation(f, a, b, true);
  return r === 0 || r === 1 ? ones(f) : 0n;
});
lanes('cmgt', (f, a, b) => (fp.relation(f, a, b, true) === 1 ? ones(f) : 0n));
lanes('acge', (f, a, b) => {
  const r = fp.relation(f, fp.fabs(f, a), fp.fabs(f, b), true);
  return r === 0 || r === 1 ? ones(f) : 0n;
});
lanes('acgt', (f, a, b) => (fp.relation(f, fp.fabs(f, a), fp.fabs(f, b), true) === 1 ? ones(f) : 0n));
lanes('cmeq0', (f, a) => (fp.relation(f, a, 0n, false) === 0 ? ones(f) : 0n));
lanes('cmge0', (f, a) => {
  const r = fp.relation(f, a, 0n, true);
  return r === 0 || r === 1 ? ones(f) : 0n;
});
lanes('cmgt0', (f, a) => (fp.relation(f, a, 0n, true) === 1 ? ones(f) : 0n));
lanes('cmle0', (f, a) => {
  const r = fp.relation(f, a, 0n, true);
  return r === 0 || r === -1 ? ones(f) : 0n;
});
lanes('cmlt0', (f, a) => (fp.relation(f, a, 0n, true) === -1 ? ones(f) : 0n));
lanes('abs', fp.fabs);
lanes('neg', fp.fneg);
lanes('sqrt', fp.fsqrt);
lanes('recpe', fp.frecpe);
lanes('rsqrte', fp.frsqrte);
lanes('recpx', fp.frecpx);
// FRINTN P M Z A, X (exact), I.
const current = -1;
for (const [name, rm, exact] of [['rintn', Rm.NEAREST, false], ['rintp', Rm.UP, false], ['rintm', Rm.DOWN, false], ['rintz', Rm.ZERO, false], ['rinta', 4, false], ['rintx', current, true], ['rinti', current, false]] as const) {
  lanes(name, (f, a) => fp.frint(f, a, rm === current ? fp.currentRm() : rm, exact));
}
// Conversions to integers of the same size: literal = fraction bits.
for (const [name, rm] of [['n', Rm.NEAREST], ['p', Rm.UP], ['m', Rm.DOWN], ['z', Rm.ZERO], ['a', 4]] as const) {
  for (const signed of [true, false]) {
    lanes(`cvt${name}${signed ? 's' : 'u'}`, (f, a, _b, _d, imm) => fp.fptoint(f, a, f.width, signed, rm, imm));
  }
}
lanes('scvtf', (f, a, _b, _d, imm) => fp.fpfromint(f, BigInt.asIntN(f.width, a), imm));
lanes('ucvtf', (f, a, _b, _d, imm) => fp.fpfromint(f, a, imm));

/** FMADD, FMSUB, FNMADD, FNMSUB: d = c +- a * b. */
for (const es of [1, 2, 3] as const) {
  const f = FORMATS[es]!;
  for (const [name, negA, negC] of [['fmadd', false, false], ['fmsub', true, false], ['fnmadd', true, true], ['fnmsub', false, true]] as const) {
    op(`f.${name}.${bitsOf(es)}`, (cpu, d, a, b, c) => {
      const v = views(cpu);
      if (es === 2 && fast.usual(cpu)) {
        const sign = 0x8000_0000;
        if (fast.fused32(cpu, T.u32, 0, (v.u32[a << 1]! ^ (negA ? sign : 0)) >>> 0, v.u32[b << 1]!, (v.u32[c << 1]! ^ (negC ? sign : 0)) >>> 0)) return scalar(cpu, d, es);
      }
      fp.begin(cpu);
      const x = get(v, a, es, 0);
      const z = get(v, c, es, 0);
      put(es, 0, fp.fmuladd(f, negC ? fp.fneg(f, z) : z, negA ? fp.fneg(f, x) : x, get(v, b, es, 0)));
      fp.end(cpu);
      return scalar(cpu, d, es);
    });
  }
  /** Relation of a and b (or zero, if b is absent) to the general slot d: 0 less, 1 equal, 2 greater, 0x80 unordered. */
  for (const signaling of [false, true]) {
    op(`f.${signaling ? 'cmpe' : 'cmp'}.${bitsOf(es)}`, (cpu, d, a, b) => {
      const v = views(cpu);
      if (es > 1 && fast.usual(cpu)) {
        const q = fast.relation(v, es === 3, a << 1, b < 0 ? -1 : b << 1);
        if (q >= 0) {
          cpu.V[d * 2] = q;
          cpu.V[d * 2 + 1] = 0;
          return 0;
        }
      }
      fp.begin(cpu);
      const r = fp.relation(f, get(v, a, es, 0), b < 0 ? 0n : get(v, b, es, 0), signaling);
      fp.end(cpu);
      v.u64[d] = r === 2 ? 0x80n : BigInt(r + 1);
      return 0;
    });
  }
  /** Conversions with general registers: literal = fraction bits | rounding mode << 8 | 64-bit << 12 | signed << 13. */
  op(`f.toint.${bitsOf(es)}`, (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    // Signed truncation, the C conversion.
    if (es > 1 && (imm & 0x27ff) === 0x2300 && fast.usual(cpu)) {
      const t = fast.truncated(cpu, v, es === 3, a << 1, imm & 0x1000 ? 64 : 32);
      if (!Number.isNaN(t)) {
        cpu.V[d * 2] = t % 0x1_0000_0000;
        cpu.V[d * 2 + 1] = imm & 0x1000 ? Math.floor(t / 0x1_0000_0000) : 0;
        return 0;
      }
    }
    fp.begin(cpu);
    const r = fp.fptoint(f, get(v, a, es, 0), imm & 0x1000 ? 64 : 32, (imm & 0x2000) !== 0, (imm >> 8) & 7, imm & 0xff);
    fp.end(cpu);
    v.u64[d] = r;
    return 0;
  });
  op(`f.fromint.${bitsOf(es)}`, (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    // From 32-bit integers to doubles: exact.
    if (es === 3 && (imm & 0x10ff) === 0) {
      T.f64[0] = imm & 0x2000 ? v.i32[a << 1]! : v.u32[a << 1]!;
      return scalar(cpu, d, 3);
    }
    fp.begin(cpu);
    const bits = imm & 0x1000 ? 64 : 32;
    put(es, 0, fp.fpfromint(f, imm & 0x2000 ? BigInt.asIntN(bits, v.u64[a]!) : BigInt.asUintN(bits, v.u64[a]!), imm & 0xff));
    fp.end(cpu);
    return scalar(cpu, d, es);
  });
  for (const to of [1, 2, 3] as const) {
    if (to === es) continue;
    const g = FORMATS[to]!;
    op(`f.cvt.${bitsOf(es)}.${bitsOf(to)}`, (cpu, d, a) => {
      const v = views(cpu);
      if (es === 2 && to === 3 && fast.usual(cpu) && (v.u32[a << 1]! & 0x7f80_0000) !== 0x7f80_0000) {
        T.f64[0] = v.f32[a << 1]!;
        return scalar(cpu, d, 3);
      }
      fp.begin(cpu);
      put(to, 0, fp.fcvt(f, g, get(v, a, es, 0)));
      fp.end(cpu);
      return scalar(cpu, d, to);
    });
  }
}

/** FCVTL, FCVTN and FCVTXN of whole registers; literal Q: upper halves. */
for (const [from, to] of [[F16, F32], [F32, F64]] as const) {
  const es = (from === F16 ? 1 : 2) as Es;
  const wide = (es + 1) as Es;
  const n = 8 >> es;
  op(`vf.cvtl.${from.width}`, (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    fp.begin(cpu);
    for (let i = 0; i < n; i++) put(wide, i, fp.fcvt(from, to, get(v, a, es, (imm & 1 ? n : 0) + i)));
    fp.end(cpu);
    return finish(cpu, d, 16);
  });
  op(`vf.cvtn.${from.width}`, narrowing((v, a, i) => fp.fcvt(to, from, get(v, a, wide, i)), es));
}
op('vf.cvtxn.32', narrowing((v, a, i) => fp.roundToOdd(get(v, a, 3, i)), 2));
op('f.cvtxn.32', (cpu, d, a) => {
  const v = views(cpu);
  fp.begin(cpu);
  put(2, 0, fp.roundToOdd(get(v, a, 3, 0)));
  fp.end(cpu);
  return scalar(cpu, d, 2);
});

function narrowing(k: (v: Views, a: number, i: number) => bigint, es: Es): Fn {
  const n = 8 >> es;
  return (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    fp.begin(cpu);
    for (let i = 0; i < n; i++) put(es, i, k(v, a, i));
    fp.end(cpu);
    if ((imm & 1) === 0) return finish(cpu, d, 8);
    v.i32[(d << 1) + 2] = T.i32[0]!;
    v.i32[(d << 1) + 3] = T.i32[1]!;
    return 0;
  };
}

/** Pairwise and across forms. */
for (const [name, k] of [['add', fp.fadd], ['max', fp.fmax], ['min', fp.fmin], ['maxnm', fp.fmaxnm], ['minnm', fp.fminnm]] as const) {
  for (const es of [1, 2, 3] as const) {
    const f = FORMATS[es]!;
    op(`vf.${name}p.${bitsOf(es)}`, (cpu, d, a, b, _c, imm) => {
      const v = views(cpu);
      const bytes = bytesOf(imm);
      const half = bytes >> (es + 1);
      fp.begin(cpu);
      for (let i = 0; i < half; i++) {
        put(es, i, k(f, get(v, a, es, 2 * i), get(v, a, es, 2 * i + 1)));
        put(es, half + i, k(f, get(v, b, es, 2 * i), get(v, b, es, 2 * i + 1)));
      }
      fp.end(cpu);
      return finish(cpu, d, bytes);
    });
    op(`f.${name}p.${bitsOf(es)}`, (cpu, d, a) => {
      const v = views(cpu);
      fp.begin(cpu);
      put(es, 0, k(f, get(v, a, es, 0), get(v, a, es, 1)));
      fp.end(cpu);
      return scalar(cpu, d, es);
    });
    if (name === 'add' || es === 3) continue;
    op(`f.${name}v.${bitsOf(es)}`, (cpu, d, a, _b, _c, imm) => {
      const v = views(cpu);
      fp.begin(cpu);
      let n = bytesOf(imm) >> es;
      const x = Array.from({ length: n }, (_, i) => get(v, a, es, i));
      // Reduce: the lower half with the upper half, each reduced (Arm ARM, J1.2 Reduce).
      for (; n > 1; n >>= 1) for (let i = 0; i < n / 2; i++) x[i] = k(f, x[2 * i]!, x[2 * i + 1]!);
      put(es, 0, x[0]!);
      fp.end(cpu);
      return scalar(cpu, d, es);
    });
  }
}
/** Lowest single of a, zero above (INSERTPS); literal 0Eh. */
OPS.push({
  name: 'n.low32',
  fn: (cpu, d, a) => {
    const { V } = cpu;
    V[d * 2] = V[a * 2]!;
    V[d * 2 + 1] = V[d * 2 + 2] = V[d * 2 + 3] = 0;
    return 0;
  },
  native: sse('rvmi', 0x21, { map: 3 }),
});

export const FP_OPS: readonly SimdOp[] = OPS;
