/** Integer operations on lanes of one size (Arm ARM, C4.1.90: three same, two-register miscellaneous, shifts). */
import { HelperResult, type NativeForm } from '../../../helpers.js';
import { ALL, BHS, type Es, type Fn, HS, type N3, type Q3, type SimdOp, T, at, beginSat, bitsOf, bytesOf, endSat, finish, lanesOf, one, pairwise, sat, satBig, sse, three, views } from './def.js';

const OPS: SimdOp[] = [];

function op(name: string, es: Es, fn: Fn, native?: NativeForm): void {
  OPS.push({ name: `${name}.${bitsOf(es)}`, fn, ...(native ? { native } : {}) });
}

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);

/** Signed (s) and unsigned (u) variants by element size. */
function both(name: string, sizes: readonly Es[], f: (signed: boolean, bits: number) => readonly [N3, Q3], native: (signed: boolean, es: Es) => NativeForm | undefined = () => undefined): void {
  for (const es of sizes) {
    for (const signed of [true, false]) {
      const [n, q] = f(signed, bitsOf(es));
      op(`${signed ? 's' : 'u'}${name}`, es, three(es, signed, n, q), native(signed, es));
    }
  }
}

/** Opcode by element size, or none. */
const by = (es: Es, ops: readonly (number | null)[], o: Parameters<typeof sse>[2] = {}): NativeForm | undefined => {
  const x = ops[es];
  return x === null || x === undefined ? undefined : sse('rvm', x, o);
};

// Halving and saturating addition and subtraction.
both('hadd', BHS, () => [(x, y) => Math.floor((x + y) / 2), (x, y) => (x + y) >> 1n]);
both('rhadd', BHS, () => [(x, y) => Math.floor((x + y + 1) / 2), (x, y) => (x + y + 1n) >> 1n], (signed, es) => (signed ? undefined : by(es, [0xe0, 0xe3])));
both('hsub', BHS, () => [(x, y) => Math.floor((x - y) / 2), (x, y) => (x - y) >> 1n]);
both('qadd', ALL, (s, bits) => [(x, y) => sat(x + y, bits, s), (x, y) => satBig(x + y, bits, s)]);
both('qsub', ALL, (s, bits) => [(x, y) => sat(x - y, bits, s), (x, y) => satBig(x - y, bits, s)]);
both('max', BHS, () => [(x, y) => (x > y ? x : y), (x) => x], (s, es) => (s ? [sse('rvm', 0x3c, { map: 2 }), sse('rvm', 0xee), sse('rvm', 0x3d, { map: 2 })] : [sse('rvm', 0xde), sse('rvm', 0x3e, { map: 2 }), sse('rvm', 0x3f, { map: 2 })])[es]);
both('min', BHS, () => [(x, y) => (x < y ? x : y), (x) => x], (s, es) => (s ? [sse('rvm', 0x38, { map: 2 }), sse('rvm', 0xea), sse('rvm', 0x39, { map: 2 })] : [sse('rvm', 0xda), sse('rvm', 0x3a, { map: 2 }), sse('rvm', 0x3b, { map: 2 })])[es]);
both('abd', BHS, () => [(x, y) => Math.abs(x - y), (x) => x]);
both('aba', BHS, () => [(x, y, d) => d + Math.abs(x - y), (x) => x]);
for (const es of BHS) {
  for (const s of [true, false]) {
    op(`${s ? 's' : 'u'}maxp`, es, pairwise(es, s, Math.max, (x) => x));
    op(`${s ? 's' : 'u'}minp`, es, pairwise(es, s, Math.min, (x) => x));
  }
}

// Comparisons. Greater-than of signed lanes is a host instruction; equality too.
both('cmgt', ALL, () => [(x, y) => (x > y ? -1 : 0), (x, y) => (x > y ? -1n : 0n)], (s, es) => (s ? (es === 3 ? sse('rvm', 0x37, { map: 2, feature: 'sse4_2' }) : by(es, [0x64, 0x65, 0x66])) : undefined));
both('cmge', ALL, () => [(x, y) => (x >= y ? -1 : 0), (x, y) => (x >= y ? -1n : 0n)]);
for (const es of ALL) {
  op('cmeq', es, three(es, false, (x, y) => (x === y ? -1 : 0), (x, y) => (x === y ? u64(-1n) : 0n)), es === 3 ? sse('rvm', 0x29, { map: 2 }) : by(es, [0x74, 0x75, 0x76]));
  op('cmtst', es, three(es, false, (x, y) => ((x & y) !== 0 ? -1 : 0), (x, y) => ((x & y) !== 0n ? u64(-1n) : 0n)));
  op('add', es, three(es, false, (x, y) => x + y, (x, y) => u64(x + y)), sse('rvm', [0xfc, 0xfd, 0xfe, 0xd4][es]!));
  op('sub', es, three(es, false, (x, y) => x - y, (x, y) => u64(x - y)), sse('rvm', [0xf8, 0xf9, 0xfa, 0xfb][es]!));
  op('addp', es, pairwise(es, false, (x, y) => x + y, (x, y) => u64(x + y)));
  op('cmle0', es, one(es, true, (x) => (x <= 0 ? -1 : 0), (x) => (x <= 0n ? -1n : 0n)));
  op('cmlt0', es, one(es, true, (x) => (x < 0 ? -1 : 0), (x) => (x < 0n ? -1n : 0n)));
  op('abs', es, one(es, true, (x) => Math.abs(x), (x) => (x < 0n ? -x : x)), es === 3 ? undefined : sse('rm', [0x1c, 0x1d, 0x1e][es]!, { map: 2, feature: 'ssse3' }));
  op('neg', es, one(es, true, (x) => -x, (x) => -x));
  op('sqabs', es, one(es, true, (x) => sat(Math.abs(x), bitsOf(es), true), (x) => satBig(x < 0n ? -x : x, 64, true)));
  op('sqneg', es, one(es, true, (x) => sat(-x, bitsOf(es), true), (x) => satBig(-x, 64, true)));
  // SUQADD: signed d + unsigned a; USQADD: unsigned d + signed a.
  op('suqadd', es, three(es, true, (x, _y, d) => sat(d + (x < 0 ? x + 2 ** bitsOf(es) : x), bitsOf(es), true), (x, _y, d) => satBig(d + u64(x), 64, true)));
  op('usqadd', es, three(es, false, (x, _y, d) => sat(d + (x >= 2 ** (bitsOf(es) - 1) ? x - 2 ** bitsOf(es) : x), bitsOf(es), false), (x, _y, d) => satBig(d + BigInt.asIntN(64, x), 64, false)));
}

// Multiplication.
for (const es of BHS) {
  op('mul', es, three(es, false, (x, y) => Math.imul(x, y), (x) => x), es === 0 ? undefined : es === 1 ? sse('rvm', 0xd5) : sse('rvm', 0x40, { map: 2 }));
  op('mla', es, three(es, false, (x, y, d) => (d + Math.imul(x, y)) | 0, (x) => x));
  op('mls', es, three(es, false, (x, y, d) => (d - Math.imul(x, y)) | 0, (x) => x));
}
op('pmul', 0, three(0, false, polynomial8, (x) => x));

/** Carry-less product of bytes, low 8 bits. */
function polynomial8(x: number, y: number): number {
  let r = 0;
  for (let i = 0; i < 8; i++) if ((y >> i) & 1) r ^= x << i;
  return r;
}
for (const es of HS) {
  const bits = bitsOf(es);
  const high = (x: number, y: number, round: number): number => Number(satBig((2n * BigInt(x) * BigInt(y) + BigInt(round)) >> BigInt(bits), bits, true));
  const half = 2 ** (bits - 1);
  op('sqdmulh', es, three(es, true, (x, y) => high(x, y, 0), (x) => x));
  op('sqrdmulh', es, three(es, true, (x, y) => high(x, y, half), (x) => x));
  const acc = (x: number, y: number, d: number, sign: bigint): number => Number(satBig(((BigInt(d) << BigInt(bits)) + sign * 2n * BigInt(x) * BigInt(y) + BigInt(half)) >> BigInt(bits), bits, true));
  op('sqrdmlah', es, three(es, true, (x, y, d) => acc(x, y, d, 1n), (x) => x));
  op('sqrdmlsh', es, three(es, true, (x, y, d) => acc(x, y, d, -1n), (x) => x));
}

// Logic.
const logic = (name: string, f: (x: number, y: number, d: number) => number, native?: NativeForm): void => {
  OPS.push({ name, fn: three(2, true, f, (x) => x), ...(native ? { native } : {}) });
};
logic('and', (x, y) => x & y, sse('rvm', 0xdb));
logic('bic', (x, y) => x & ~y);
logic('orr', (x, y) => x | y, sse('rvm', 0xeb));
logic('orn', (x, y) => x | ~y);
logic('eor', (x, y) => x ^ y, sse('rvm', 0xef));
logic('bsl', (x, y, d) => (x & d) | (y & ~d));
logic('bit', (x, y, d) => (d & ~y) | (x & y));
logic('bif', (x, y, d) => (d & y) | (x & ~y));
logic('not', (x) => ~x);
/** PANDN: ~a & b; BIC with its operands exchanged. */
logic('andn', (x, y) => ~x & y, sse('rvm', 0xdf));

// ---- shifts ----

/** Shifts by a signed amount: left if positive; with rounding and saturation as asked (SSHL, SQRSHL ...). */
function shiftBig(x: bigint, n: number, bits: number, signed: boolean, round: boolean, saturate: boolean): bigint {
  if (n >= 0) {
    const r = n > bits ? (x === 0n ? 0n : x << BigInt(bits)) : x << BigInt(n);
    return saturate ? satBig(r, bits, signed) : r;
  }
  const k = -n;
  if (k > bits + 1) return round || !signed || x >= 0n ? 0n : -1n;
  return (x + (round ? 1n << BigInt(k - 1) : 0n)) >> BigInt(k);
}

for (const es of ALL) {
  const bits = bitsOf(es);
  for (const signed of [true, false]) {
    for (const [name, round, saturate] of [['shl', false, false], ['rshl', true, false], ['qshl', false, true], ['qrshl', true, true]] as const) {
      op(`${signed ? 's' : 'u'}${name}`, es, shiftRegister(es, bits, signed, round, saturate));
    }
  }
}

function shiftRegister(es: Es, bits: number, signed: boolean, round: boolean, saturate: boolean): Fn {
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    const bytes = bytesOf(imm);
    beginSat();
    for (let i = 0; i < bytes >> es; i++) {
      const n = v.i8[(b << 3) + (i << es)]!;
      const x = es === 3 ? (signed ? BigInt.asIntN(64, v.u64[a + i]!) : v.u64[a + i]!) : BigInt(lanesOf(v, es, signed)[at(a, es) + i]!);
      const r = shiftBig(x, n, bits, signed, round, saturate);
      if (es === 3) T.u64[i] = r;
      else lanesOf(T, es, false)[i] = Number(BigInt.asUintN(32, r));
    }
    endSat(cpu);
    return finish(cpu, d, bytes);
  };
}

/** Shifts by a constant: literal Q | amount << 1. How d enters: none, accumulated, inserted. */
function shiftImmediate(es: Es, f: (x: bigint, n: number, d: bigint) => bigint, signed: boolean): Fn {
  return (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    const bytes = bytesOf(imm);
    const n = imm >> 1;
    beginSat();
    for (let i = 0; i < bytes >> es; i++) {
      if (es === 3) T.u64[i] = f(signed ? BigInt.asIntN(64, v.u64[a + i]!) : v.u64[a + i]!, n, v.u64[d + i]!);
      else lanesOf(T, es, false)[i] = Number(BigInt.asUintN(32, f(BigInt(lanesOf(v, es, signed)[at(a, es) + i]!), n, BigInt(lanesOf(v, es, false)[at(d, es) + i]!))));
    }
    endSat(cpu);
    return finish(cpu, d, bytes);
  };
}

for (const es of ALL) {
  const bits = bitsOf(es);
  const all = (1n << BigInt(bits)) - 1n;
  const rounded = (x: bigint, n: number): bigint => (x + (1n << BigInt(n - 1))) >> BigInt(n);
  for (const signed of [true, false]) {
    const p = signed ? 's' : 'u';
    op(`${p}shri`, es, shiftImmediate(es, (x, n) => x >> BigInt(n), signed));
    op(`${p}srai`, es, shiftImmediate(es, (x, n, d) => d + (x >> BigInt(n)), signed));
    op(`${p}rshri`, es, shiftImmediate(es, (x, n) => rounded(x, n), signed));
    op(`${p}rsrai`, es, shiftImmediate(es, (x, n, d) => d + rounded(x, n), signed));
    op(`${p}qshli`, es, shiftImmediate(es, (x, n) => satBig(x << BigInt(n), bits, signed), signed));
  }
  op('sqshlui', es, shiftImmediate(es, (x, n) => satBig(x << BigInt(n), bits, false), true));
  op('shli', es, shiftImmediate(es, (x, n) => x << BigInt(n), false));
  op('slii', es, shiftImmediate(es, (x, n, d) => (d & ((1n << BigInt(n)) - 1n)) | ((x << BigInt(n)) & all), false));
  op('srii', es, shiftImmediate(es, (x, n, d) => (n === bits ? d : (d & (all & ~(all >> BigInt(n)))) | (x >> BigInt(n))), false));
}
// Shifts of whole registers by a constant as host instructions: the literal is the count alone.
const HOST_SHIFTS: readonly (readonly [string, Es, number, number, (x: bigint, n: number) => bigint, boolean])[] = [
  ['n.shl', 1, 0x71, 6, (x, n) => x << BigInt(n), false], ['n.shl', 2, 0x72, 6, (x, n) => x << BigInt(n), false], ['n.shl', 3, 0x73, 6, (x, n) => x << BigInt(n), false],
  ['n.ushr', 1, 0x71, 2, (x, n) => x >> BigInt(n), false], ['n.ushr', 2, 0x72, 2, (x, n) => x >> BigInt(n), false], ['n.ushr', 3, 0x73, 2, (x, n) => x >> BigInt(n), false],
  ['n.sshr', 1, 0x71, 4, (x, n) => x >> BigInt(n), true], ['n.sshr', 2, 0x72, 4, (x, n) => x >> BigInt(n), true],
];
for (const [name, es, opcode, digit, f, signed] of HOST_SHIFTS) {
  const fn = shiftImmediate(es, f, signed);
  op(name, es, (cpu, d, a, b, c, imm) => fn(cpu, d, a, b, c, 1 | (imm << 1)), sse('vmi', opcode, { digit }));
}

// ---- counting, reversing ----

const clz = (x: number, bits: number): number => Math.clz32(x) - (32 - bits);
for (const es of BHS) {
  const bits = bitsOf(es);
  op('clz', es, one(es, false, (x) => clz(x, bits), (x) => x));
  op('cls', es, one(es, true, (x) => clz((x ^ (x >> 31)) & (bits === 32 ? -1 : (1 << bits) - 1), bits) - 1, (x) => x));
}
const pop8 = (x: number): number => {
  let n = 0;
  for (; x !== 0; x &= x - 1) n++;
  return n;
};
op('cnt', 0, one(0, false, pop8, (x) => x));
op('rbit', 0, one(0, false, (x) => {
  let r = 0;
  for (let i = 0; i < 8; i++) r |= ((x >> i) & 1) << (7 - i);
  return r;
}, (x) => x));

/** REV16, REV32, REV64: reverses elements of size es within containers of 1 << container bytes. */
function rev(es: Es, container: number): Fn {
  return (cpu, d, a, _b, _c, imm) => {
    const v = lanesOf(views(cpu), es, false);
    const bytes = bytesOf(imm);
    const flip = (1 << (container - es)) - 1;
    const t = lanesOf(T, es, false);
    for (let i = 0; i < bytes >> es; i++) t[i] = v[at(a, es) + (i ^ flip)]!;
    return finish(cpu, d, bytes);
  };
}
op('rev16', 0, rev(0, 1));
for (const es of [0, 1] as const) op('rev32', es, rev(es, 2));
for (const es of BHS) op('rev64', es, rev(es, 3));

// ---- dot product: four bytes per word ----

for (const signed of [true, false]) {
  OPS.push({
    name: signed ? 'sdot' : 'udot',
    fn: (cpu, d, a, b, _c, imm) => {
      const v = views(cpu);
      const l = signed ? v.i8 : v.u8;
      for (let i = 0; i < bytesOf(imm) >> 2; i++) {
        let s = v.i32[(d << 1) + i]!;
        for (let k = 0; k < 4; k++) s += l[(a << 3) + i * 4 + k]! * l[(b << 3) + i * 4 + k]!;
        v.i32[(d << 1) + i] = s;
      }
      if ((imm & 1) === 0) v.u64[d + 1] = 0n;
      return HelperResult.CONTINUE;
    },
  });
}

// ---- estimates of reciprocals of unsigned fixed-point numbers ----

/** RecipEstimate (Arm ARM, J1.2): 256 <= a < 512, result 256 <= r < 512. */
export function recipEstimate(a: number): number {
  const x = a * 2 + 1;
  const b = Math.floor((1 << 19) / x);
  return (b + 1) >> 1;
}
/** RecipSqrtEstimate: 128 <= a < 512. */
export function recipSqrtEstimate(a: number): number {
  let x: number;
  if (a < 256) x = a * 2 + 1;
  else x = (((a >> 1) << 1) + 1) * 2;
  let b = 512;
  while (x * (b + 1) * (b + 1) < 2 ** 28) b++;
  return (b + 1) >> 1;
}
OPS.push({ name: 'urecpe', fn: three(2, false, (x) => (x < 0x8000_0000 ? 0xffff_ffff : recipEstimate(x >>> 23) * 2 ** 23), (x) => x) });
OPS.push({ name: 'ursqrte', fn: three(2, false, (x) => (x < 0x4000_0000 ? 0xffff_ffff : recipSqrtEstimate(x >>> 23) * 2 ** 23), (x) => x) });

export const INT_OPS: readonly SimdOp[] = OPS;
