/** Operations between lanes of different sizes: long, wide and narrow forms, shifts of both, sums across a register (C4.1.90). */
import { HelperResult, type NativeForm } from '../../../helpers.js';
import { BHS, type Es, type Fn, HS, type SimdOp, T, type Views, at, beginSat, bitsOf, bytesOf, endSat, finish, lanesOf, satBig, sse, views } from './def.js';

const OPS: SimdOp[] = [];
function op(name: string, es: number, fn: Fn, native?: NativeForm): void {
  OPS.push({ name: `${name}.${bitsOf(es)}`, fn, ...(native ? { native } : {}) });
}

/** Lane i of size es (0..3) as a bigint. */
function get(v: Views, slot: number, es: Es, i: number, signed: boolean): bigint {
  if (es === 3) return signed ? BigInt.asIntN(64, v.u64[slot + i]!) : v.u64[slot + i]!;
  return BigInt(lanesOf(v, es, signed)[at(slot, es) + i]!);
}

/** Sets lane i of scratch. */
function put(es: number, i: number, x: bigint): void {
  if (es === 3) T.u64[i] = x;
  else lanesOf(T, es as Es, false)[i] = Number(BigInt.asUintN(32, x));
}

type Long = (x: bigint, y: bigint, d: bigint, bits: number) => bigint;

/**
 * Long: d (2 * es) = f(a, b) on the lower (Q = 0) or upper (Q = 1, the "2" forms) halves. `wideA`: a has lanes of the result's size.
 * es is the size of the narrow lanes.
 */
function long(es: Es, signed: boolean, f: Long, wideA = false): Fn {
  const to = (es + 1) as Es;
  const bits = bitsOf(to);
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    const n = 8 >> es;
    const from = imm & 1 ? n : 0;
    beginSat();
    for (let i = 0; i < n; i++) {
      const x = wideA ? get(v, a, to, i, signed) : get(v, a, es, from + i, signed);
      put(to, i, f(x, get(v, b, es, from + i, signed), get(v, d, to, i, signed), bits));
    }
    endSat(cpu);
    return finish(cpu, d, 16);
  };
}

const abs = (x: bigint): bigint => (x < 0n ? -x : x);
const EXTEND: Record<string, readonly number[]> = { s: [0x20, 0x23, 0x25], u: [0x30, 0x33, 0x35] };
for (const es of BHS) {
  for (const signed of [true, false]) {
    const p = signed ? 's' : 'u';
    op(`${p}addl`, es, long(es, signed, (x, y) => x + y));
    op(`${p}addw`, es, long(es, signed, (x, y) => x + y, true));
    op(`${p}subl`, es, long(es, signed, (x, y) => x - y));
    op(`${p}subw`, es, long(es, signed, (x, y) => x - y, true));
    op(`${p}abal`, es, long(es, signed, (x, y, d) => d + abs(x - y)));
    op(`${p}abdl`, es, long(es, signed, (x, y) => abs(x - y)));
    op(`${p}mlal`, es, long(es, signed, (x, y, d) => d + x * y));
    op(`${p}mlsl`, es, long(es, signed, (x, y, d) => d - x * y));
    op(`${p}mull`, es, long(es, signed, (x, y) => x * y));
    // SSHLL, USHLL: literal Q | amount << 1. The zero shift of the lower half is PMOVSX, PMOVZX.
    op(`${p}shll`, es, longShift(es, signed));
    op(`n.${p}xtl`, es, (cpu, d, a, b, c) => longShift(es, signed)(cpu, d, a, b, c, 0), sse('rm', EXTEND[p]![es]!, { map: 2 }));
    op(`${p}addlp`, es, addLongPairs(es, signed, false));
    op(`${p}adalp`, es, addLongPairs(es, signed, true));
    op(`${p}addlv`, es, across(es, signed, (x, y) => x + y, (es + 1) as Es));
    op(`${p}maxv`, es, across(es, signed, (x, y) => (x > y ? x : y), es));
    op(`${p}minv`, es, across(es, signed, (x, y) => (x < y ? x : y), es));
  }
  op('addv', es, across(es, false, (x, y) => x + y, es));
}

function longShift(es: Es, signed: boolean): Fn {
  const to = (es + 1) as Es;
  return (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    const n = 8 >> es;
    const from = imm & 1 ? n : 0;
    for (let i = 0; i < n; i++) put(to, i, get(v, a, es, from + i, signed) << BigInt(imm >> 1));
    return finish(cpu, d, 16);
  };
}

for (const es of HS) {
  op('sqdmull', es, long(es, true, (x, y, _d, bits) => satBig(2n * x * y, bits, true)));
  op('sqdmlal', es, long(es, true, (x, y, d, bits) => satBig(d + satBig(2n * x * y, bits, true), bits, true)));
  op('sqdmlsl', es, long(es, true, (x, y, d, bits) => satBig(d - satBig(2n * x * y, bits, true), bits, true)));
}

/** Carry-less product. */
export function polynomial(x: bigint, y: bigint): bigint {
  let r = 0n;
  for (let i = 0n; y !== 0n; i++, y >>= 1n) if (y & 1n) r ^= x << i;
  return r;
}
op('pmull', 0, long(0, false, polynomial));
OPS.push({
  name: 'pmull.64',
  fn: (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    const k = imm & 1;
    const r = polynomial(v.u64[a + k]!, v.u64[b + k]!);
    T.u64[0] = r;
    T.u64[1] = r >> 64n;
    return finish(cpu, d, 16);
  },
});
for (const k of [0, 1]) {
  // PCLMULQDQ of the lower or upper halves.
  OPS.push({
    name: `n.pmull${k}`,
    fn: (cpu, d, a, b) => {
      const v = views(cpu);
      const r = polynomial(v.u64[a + k]!, v.u64[b + k]!);
      T.u64[0] = r;
      T.u64[1] = r >> 64n;
      return finish(cpu, d, 16);
    },
    native: sse('rvmi', 0x44, { map: 3, feature: 'pclmulqdq' }),
  });
}

/** Narrowing into the lower half (upper cleared) or the upper half (lower kept): es is the narrow size. */
function narrow(es: Es, signed: boolean, f: (x: bigint, n: number) => bigint): Fn {
  const from = (es + 1) as Es;
  return (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    const n = 8 >> es;
    beginSat();
    for (let i = 0; i < n; i++) put(es, i, f(get(v, a, from, i, signed), imm >> 1));
    endSat(cpu);
    const o = d << 1;
    if (imm & 1) {
      v.i32[o + 2] = T.i32[0]!;
      v.i32[o + 3] = T.i32[1]!;
      return HelperResult.CONTINUE;
    }
    return finish(cpu, d, 8);
  };
}

/** High half of a sum or difference, narrowed: ADDHN, RADDHN, SUBHN, RSUBHN. */
function highNarrow(es: Es, sign: bigint, round: boolean): Fn {
  const from = (es + 1) as Es;
  const bits = bitsOf(es);
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    const n = 8 >> es;
    for (let i = 0; i < n; i++) {
      const s = get(v, a, from, i, false) + sign * get(v, b, from, i, false) + (round ? 1n << BigInt(bits - 1) : 0n);
      put(es, i, s >> BigInt(bits));
    }
    const o = d << 1;
    if (imm & 1) {
      v.i32[o + 2] = T.i32[0]!;
      v.i32[o + 3] = T.i32[1]!;
      return HelperResult.CONTINUE;
    }
    return finish(cpu, d, 8);
  };
}

for (const es of BHS) {
  const bits = bitsOf(es);
  op('addhn', es, highNarrow(es, 1n, false));
  op('raddhn', es, highNarrow(es, 1n, true));
  op('subhn', es, highNarrow(es, -1n, false));
  op('rsubhn', es, highNarrow(es, -1n, true));
  op('xtn', es, narrow(es, false, (x) => x));
  op('sqxtn', es, narrow(es, true, (x) => satBig(x, bits, true)));
  op('uqxtn', es, narrow(es, false, (x) => satBig(x, bits, false)));
  op('sqxtun', es, narrow(es, true, (x) => satBig(x, bits, false)));
  const r = (x: bigint, n: number): bigint => (x + (1n << BigInt(n - 1))) >> BigInt(n);
  const s = (x: bigint, n: number): bigint => x >> BigInt(n);
  op('shrn', es, narrow(es, false, s));
  op('rshrn', es, narrow(es, false, r));
  op('sqshrn', es, narrow(es, true, (x, n) => satBig(s(x, n), bits, true)));
  op('sqrshrn', es, narrow(es, true, (x, n) => satBig(r(x, n), bits, true)));
  op('uqshrn', es, narrow(es, false, (x, n) => satBig(s(x, n), bits, false)));
  op('uqrshrn', es, narrow(es, false, (x, n) => satBig(r(x, n), bits, false)));
  op('sqshrun', es, narrow(es, true, (x, n) => satBig(s(x, n), bits, false)));
  op('sqrshrun', es, narrow(es, true, (x, n) => satBig(r(x, n), bits, false)));
}

/** Sums of neighbouring lanes into lanes of twice the size. */
function addLongPairs(es: Es, signed: boolean, accumulate: boolean): Fn {
  const to = (es + 1) as Es;
  return (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    const bytes = bytesOf(imm);
    for (let i = 0; i < bytes >> to; i++) {
      put(to, i, get(v, a, es, 2 * i, signed) + get(v, a, es, 2 * i + 1, signed) + (accumulate ? get(v, d, to, i, false) : 0n));
    }
    return finish(cpu, d, bytes);
  };
}

/** Reduction of all lanes to one of size `to`. */
function across(es: Es, signed: boolean, f: (x: bigint, y: bigint) => bigint, to: Es): Fn {
  return (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    let r = get(v, a, es, 0, signed);
    for (let i = 1; i < bytesOf(imm) >> es; i++) r = f(r, get(v, a, es, i, signed));
    T.u64[0] = BigInt.asUintN(bitsOf(to), r);
    return finish(cpu, d, 8);
  };
}

export const WIDE_OPS: readonly SimdOp[] = OPS;
