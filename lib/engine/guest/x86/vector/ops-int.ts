/**
 * Packed integer operations: arithmetic, comparison, logic, shifts. Lane by lane; dst may be an operand, which is
 * safe because each lane is read before it is written. Intel SDM vol. 2, one entry per mnemonic (PADDB ... PXOR).
 */
import { HelperResult } from '../../../helpers.js';
import { type Enc, type VW, type VectorOp, widths } from './def.js';
import { T, type VectorFn, fromScratch, views } from './views.js';

type LaneType = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'u64';
const SLOT_SHIFT: Record<LaneType, number> = { u8: 3, i8: 3, u16: 2, i16: 2, u32: 1, i32: 1, u64: 0 };
type F2 = (x: number, y: number) => number;

/** dst[i] = f(a[i], b[i]). The typed-array store truncates to the lane. */
export const lanes2 = (t: Exclude<LaneType, 'u64'>, f: F2) => (w: VW): VectorFn => {
  const s = SLOT_SHIFT[t];
  const n = (1 << w) >> (3 - s);
  return (cpu, d, a, b) => {
    const v = views(cpu)[t];
    d <<= s;
    a <<= s;
    b <<= s;
    for (let i = 0; i < n; i++) v[d + i] = f(v[a + i]!, v[b + i]!);
    return HelperResult.CONTINUE;
  };
};

/** dst[i] = f(a[i]). */
const lanes1 = (t: Exclude<LaneType, 'u64'>, f: (x: number) => number) => (w: VW): VectorFn => {
  const s = SLOT_SHIFT[t];
  const n = (1 << w) >> (3 - s);
  return (cpu, d, a) => {
    const v = views(cpu)[t];
    d <<= s;
    a <<= s;
    for (let i = 0; i < n; i++) v[d + i] = f(v[a + i]!);
    return HelperResult.CONTINUE;
  };
};

/** dst[i] = f(a[i], b[i]) on 64-bit lanes. */
const lanes2q = (f: (x: bigint, y: bigint) => bigint) => (w: VW): VectorFn => {
  const n = 1 << (w - 3);
  return (cpu, d, a, b) => {
    const v = views(cpu).u64;
    for (let i = 0; i < n; i++) v[d + i] = f(v[a + i]!, v[b + i]!);
    return HelperResult.CONTINUE;
  };
};

const sb = (x: number): number => (x < -128 ? -128 : x > 127 ? 127 : x);
const ub = (x: number): number => (x < 0 ? 0 : x > 255 ? 255 : x);
export const sw = (x: number): number => (x < -32768 ? -32768 : x > 32767 ? 32767 : x);
const uw = (x: number): number => (x < 0 ? 0 : x > 65535 ? 65535 : x);

/** [name, lane type, f, opcode, map, 128-bit feature, MMX feature or ''] */
type Row2 = readonly [string, Exclude<LaneType, 'u64'>, F2, number, 1 | 2, string, string];
const TWO: readonly Row2[] = [
  ['paddb', 'i8', (x, y) => x + y, 0xfc, 1, 'sse2', 'mmx'],
  ['paddw', 'i16', (x, y) => x + y, 0xfd, 1, 'sse2', 'mmx'],
  ['paddd', 'i32', (x, y) => x + y, 0xfe, 1, 'sse2', 'mmx'],
  ['psubb', 'i8', (x, y) => x - y, 0xf8, 1, 'sse2', 'mmx'],
  ['psubw', 'i16', (x, y) => x - y, 0xf9, 1, 'sse2', 'mmx'],
  ['psubd', 'i32', (x, y) => x - y, 0xfa, 1, 'sse2', 'mmx'],
  ['paddsb', 'i8', (x, y) => sb(x + y), 0xec, 1, 'sse2', 'mmx'],
  ['paddsw', 'i16', (x, y) => sw(x + y), 0xed, 1, 'sse2', 'mmx'],
  ['paddusb', 'u8', (x, y) => ub(x + y), 0xdc, 1, 'sse2', 'mmx'],
  ['paddusw', 'u16', (x, y) => uw(x + y), 0xdd, 1, 'sse2', 'mmx'],
  ['psubsb', 'i8', (x, y) => sb(x - y), 0xe8, 1, 'sse2', 'mmx'],
  ['psubsw', 'i16', (x, y) => sw(x - y), 0xe9, 1, 'sse2', 'mmx'],
  ['psubusb', 'u8', (x, y) => ub(x - y), 0xd8, 1, 'sse2', 'mmx'],
  ['psubusw', 'u16', (x, y) => uw(x - y), 0xd9, 1, 'sse2', 'mmx'],
  ['pmullw', 'i16', (x, y) => x * y, 0xd5, 1, 'sse2', 'mmx'],
  ['pmulhw', 'i16', (x, y) => (x * y) >> 16, 0xe5, 1, 'sse2', 'mmx'],
  ['pmulhuw', 'u16', (x, y) => (x * y) >>> 16, 0xe4, 1, 'sse2', 'sse'],
  ['pmulhrsw', 'i16', (x, y) => (((x * y) >> 14) + 1) >> 1, 0x0b, 2, 'ssse3', 'ssse3'],
  ['pmulld', 'i32', (x, y) => Math.imul(x, y), 0x40, 2, 'sse4_1', ''],
  ['pavgb', 'u8', (x, y) => (x + y + 1) >> 1, 0xe0, 1, 'sse2', 'sse'],
  ['pavgw', 'u16', (x, y) => (x + y + 1) >> 1, 0xe3, 1, 'sse2', 'sse'],
  ['pminub', 'u8', (x, y) => (x < y ? x : y), 0xda, 1, 'sse2', 'sse'],
  ['pmaxub', 'u8', (x, y) => (x > y ? x : y), 0xde, 1, 'sse2', 'sse'],
  ['pminsw', 'i16', (x, y) => (x < y ? x : y), 0xea, 1, 'sse2', 'sse'],
  ['pmaxsw', 'i16', (x, y) => (x > y ? x : y), 0xee, 1, 'sse2', 'sse'],
  ['pminsb', 'i8', (x, y) => (x < y ? x : y), 0x38, 2, 'sse4_1', ''],
  ['pminsd', 'i32', (x, y) => (x < y ? x : y), 0x39, 2, 'sse4_1', ''],
  ['pminuw', 'u16', (x, y) => (x < y ? x : y), 0x3a, 2, 'sse4_1', ''],
  ['pminud', 'u32', (x, y) => (x < y ? x : y), 0x3b, 2, 'sse4_1', ''],
  ['pmaxsb', 'i8', (x, y) => (x > y ? x : y), 0x3c, 2, 'sse4_1', ''],
  ['pmaxsd', 'i32', (x, y) => (x > y ? x : y), 0x3d, 2, 'sse4_1', ''],
  ['pmaxuw', 'u16', (x, y) => (x > y ? x : y), 0x3e, 2, 'sse4_1', ''],
  ['pmaxud', 'u32', (x, y) => (x > y ? x : y), 0x3f, 2, 'sse4_1', ''],
  ['pcmpeqb', 'i8', (x, y) => (x === y ? -1 : 0), 0x74, 1, 'sse2', 'mmx'],
  ['pcmpeqw', 'i16', (x, y) => (x === y ? -1 : 0), 0x75, 1, 'sse2', 'mmx'],
  ['pcmpeqd', 'i32', (x, y) => (x === y ? -1 : 0), 0x76, 1, 'sse2', 'mmx'],
  ['pcmpgtb', 'i8', (x, y) => (x > y ? -1 : 0), 0x64, 1, 'sse2', 'mmx'],
  ['pcmpgtw', 'i16', (x, y) => (x > y ? -1 : 0), 0x65, 1, 'sse2', 'mmx'],
  ['pcmpgtd', 'i32', (x, y) => (x > y ? -1 : 0), 0x66, 1, 'sse2', 'mmx'],
  ['psignb', 'i8', (x, y) => (y < 0 ? -x : y === 0 ? 0 : x), 0x08, 2, 'ssse3', 'ssse3'],
  ['psignw', 'i16', (x, y) => (y < 0 ? -x : y === 0 ? 0 : x), 0x09, 2, 'ssse3', 'ssse3'],
  ['psignd', 'i32', (x, y) => (y < 0 ? -x : y === 0 ? 0 : x), 0x0a, 2, 'ssse3', 'ssse3'],
];

const ONE: readonly (readonly [string, Exclude<LaneType, 'u64'>, (x: number) => number, number])[] = [
  ['pabsb', 'i8', (x) => (x < 0 ? -x : x), 0x1c],
  ['pabsw', 'i16', (x) => (x < 0 ? -x : x), 0x1d],
  ['pabsd', 'i32', (x) => (x < 0 ? -x : x), 0x1e],
];

/** 64-bit lanes. */
const QUAD: readonly (readonly [string, (x: bigint, y: bigint) => bigint, number, 1 | 2, string, string])[] = [
  ['paddq', (x, y) => x + y, 0xd4, 1, 'sse2', 'sse2'],
  ['psubq', (x, y) => x - y, 0xfb, 1, 'sse2', 'sse2'],
  ['pmuludq', (x, y) => (x & 0xffffffffn) * (y & 0xffffffffn), 0xf4, 1, 'sse2', 'sse2'],
  ['pmuldq', (x, y) => BigInt.asUintN(64, BigInt.asIntN(32, x) * BigInt.asIntN(32, y)), 0x28, 2, 'sse4_1', ''],
  ['pcmpeqq', (x, y) => (x === y ? 0xffffffffffffffffn : 0n), 0x29, 2, 'sse4_1', ''],
  ['pcmpgtq', (x, y) => (BigInt.asIntN(64, x) > BigInt.asIntN(64, y) ? 0xffffffffffffffffn : 0n), 0x37, 2, 'sse4_2', ''],
];

/** Bitwise logic: the most frequent vector operations. */
type Logic = (w: VW) => VectorFn;
const logic = (f: F2): Logic => lanes2('i32', f);
const pxor: Logic = (w) => {
  const n = (1 << w) >> 2;
  return (cpu, d, a, b) => {
    const V = cpu.V;
    d <<= 1;
    a <<= 1;
    b <<= 1;
    for (let i = 0; i < n; i++) V[d + i] = V[a + i]! ^ V[b + i]!;
    return HelperResult.CONTINUE;
  };
};
const pand = logic((x, y) => x & y);
const pandn = logic((x, y) => ~x & y);
const por = logic((x, y) => x | y);

function logicOps(): VectorOp[] {
  const out: VectorOp[] = [];
  const int: readonly (readonly [string, Logic, number])[] = [['pand', pand, 0xdb], ['pandn', pandn, 0xdf], ['por', por, 0xeb], ['pxor', pxor, 0xef]];
  for (const [name, f, op] of int) out.push(...widths(name, f, { form: 'rvm', op }, { mmx: 'mmx', v256: 'avx2' }));
  const fp: readonly (readonly [string, Logic, number])[] = [['andps', pand, 0x54], ['andnps', pandn, 0x55], ['orps', por, 0x56], ['xorps', pxor, 0x57]];
  for (const [name, f, op] of fp) {
    out.push(...widths(name, f, { form: 'rvm', pp: 0, op, feature: 'sse' }, { v256: 'avx' }));
    out.push(...widths(`${name.slice(0, -1)}d`, f, { form: 'rvm', op }, { v256: 'avx' }));
  }
  return out;
}

// --- shifts: count in the low 64 bits of b (an XMM register, or the MMX register), or in imm ---

type ShiftKind = 'l' | 'r' | 'a';
const SHIFT16: Record<ShiftKind, F2> = { l: (x, n) => x << n, r: (x, n) => (x & 0xffff) >>> n, a: (x, n) => x >> n };
const SHIFT32: Record<ShiftKind, F2> = { l: (x, n) => x << n, r: (x, n) => x >>> n, a: (x, n) => x >> n };

/** Shifts every lane of w bytes by n (already clipped to 0..255; more than the lane is allowed). */
function shiftAll(cpu: { V: Int32Array }, w: VW, size: 1 | 2 | 3, k: ShiftKind, d: number, a: number, n: number): void {
  const v = views(cpu);
  const lane = 8 << size;
  const over = n >= lane;
  if (over && k === 'a') n = lane - 1;
  const zero = over && k !== 'a';
  const bytes = 1 << w;
  if (size === 1) {
    const f = SHIFT16[k];
    for (let i = 0; i < bytes >> 1; i++) v.i16[(d << 2) + i] = zero ? 0 : f(v.i16[(a << 2) + i]!, n);
  } else if (size === 2) {
    const f = SHIFT32[k];
    for (let i = 0; i < bytes >> 2; i++) v.i32[(d << 1) + i] = zero ? 0 : f(v.i32[(a << 1) + i]!, n);
  } else {
    const s = BigInt(n);
    for (let i = 0; i < bytes >> 3; i++) v.u64[d + i] = zero ? 0n : k === 'l' ? v.u64[a + i]! << s : v.u64[a + i]! >> s;
  }
}

const shiftReg = (size: 1 | 2 | 3, k: ShiftKind) => (w: VW): VectorFn => (cpu, d, a, b) => {
  const lo = cpu.V[b << 1]!;
  const n = cpu.V[(b << 1) + 1] !== 0 || (lo & ~0xff) !== 0 ? 255 : lo;
  shiftAll(cpu, w, size, k, d, a, n);
  return HelperResult.CONTINUE;
};
const shiftImm = (size: 1 | 2 | 3, k: ShiftKind) => (w: VW): VectorFn => (cpu, d, a, _b, _c, imm) => {
  shiftAll(cpu, w, size, k, d, a, imm & 0xff);
  return HelperResult.CONTINUE;
};

/** PSLLDQ/PSRLDQ: bytes within each 128-bit lane. */
const shiftBytes = (left: boolean) => (w: VW): VectorFn => (cpu, d, a, _b, _c, imm) => {
  const v = views(cpu);
  const n = Math.min(imm & 0xff, 16);
  for (let lane = 0; lane < 1 << w; lane += 16) {
    const s = (a << 3) + lane;
    for (let i = 0; i < 16; i++) {
      const j = left ? i - n : i + n;
      T.u8[i] = j < 0 || j > 15 ? 0 : v.u8[s + j]!;
    }
    fromScratch(v, d + (lane >> 3), 16);
  }
  return HelperResult.CONTINUE;
};

/** VPSLLVD ...: each lane has its own count. */
const shiftVar32 = (k: ShiftKind) => lanes2(k === 'a' ? 'i32' : 'u32', (x, n) => {
  const over = n > 31 || n < 0;
  return k === 'a' ? x >> (over ? 31 : n) : over ? 0 : SHIFT32[k](x, n);
});
const shiftVar64 = (k: ShiftKind) => lanes2q((x, n) => (n > 63n ? 0n : k === 'l' ? BigInt.asUintN(64, x << n) : x >> n));

function shiftOps(): VectorOp[] {
  const out: VectorOp[] = [];
  const t: readonly (readonly [string, 1 | 2 | 3, ShiftKind, number, number, number])[] = [
    // name, lane, kind, opcode by register, opcode by immediate, digit
    ['psrlw', 1, 'r', 0xd1, 0x71, 2], ['psraw', 1, 'a', 0xe1, 0x71, 4], ['psllw', 1, 'l', 0xf1, 0x71, 6],
    ['psrld', 2, 'r', 0xd2, 0x72, 2], ['psrad', 2, 'a', 0xe2, 0x72, 4], ['pslld', 2, 'l', 0xf2, 0x72, 6],
    ['psrlq', 3, 'r', 0xd3, 0x73, 2], ['psllq', 3, 'l', 0xf3, 0x73, 6],
  ];
  for (const [name, size, k, op, opi, digit] of t) {
    out.push(...widths(name, shiftReg(size, k), { form: 'rvm', op }, { mmx: 'mmx', v256: 'avx2' }));
    out.push(...widths(`${name}.i`, shiftImm(size, k), { form: 'vmi', op: opi, digit }, { mmx: 'mmx', v256: 'avx2' }));
  }
  out.push(...widths('psrldq', shiftBytes(false), { form: 'vmi', op: 0x73, digit: 3 }, { v256: 'avx2' }));
  out.push(...widths('pslldq', shiftBytes(true), { form: 'vmi', op: 0x73, digit: 7 }, { v256: 'avx2' }));
  const vx = (op: number, w: 0 | 1): Enc => ({ form: 'rvm', map: 2, op, w, feature: 'avx2', vexOnly: true });
  out.push(...widths('vpsrlvd', shiftVar32('r'), vx(0x45, 0), { v256: 'avx2' }));
  out.push(...widths('vpsrlvq', shiftVar64('r'), vx(0x45, 1), { v256: 'avx2' }));
  out.push(...widths('vpsravd', shiftVar32('a'), vx(0x46, 0), { v256: 'avx2' }));
  out.push(...widths('vpsllvd', shiftVar32('l'), vx(0x47, 0), { v256: 'avx2' }));
  out.push(...widths('vpsllvq', shiftVar64('l'), vx(0x47, 1), { v256: 'avx2' }));
  return out;
}

// --- horizontal and multiply-add operations ---

/** PMADDWD: dst32[i] = a16[2i]*b16[2i] + a16[2i+1]*b16[2i+1]. */
const pmaddwd = (w: VW): VectorFn => (cpu, d, a, b) => {
  const v = views(cpu);
  const p = a << 2;
  const q = b << 2;
  for (let i = 0; i < (1 << w) >> 2; i++) {
    v.i32[(d << 1) + i] = v.i16[p + 2 * i]! * v.i16[q + 2 * i]! + v.i16[p + 2 * i + 1]! * v.i16[q + 2 * i + 1]!;
  }
  return HelperResult.CONTINUE;
};

/** PMADDUBSW: unsigned bytes of a times signed bytes of b, pairs added with saturation. */
const pmaddubsw = (w: VW): VectorFn => (cpu, d, a, b) => {
  const v = views(cpu);
  const p = a << 3;
  const q = b << 3;
  for (let i = 0; i < (1 << w) >> 1; i++) {
    v.i16[(d << 2) + i] = sw(v.u8[p + 2 * i]! * v.i8[q + 2 * i]! + v.u8[p + 2 * i + 1]! * v.i8[q + 2 * i + 1]!);
  }
  return HelperResult.CONTINUE;
};

/** PSADBW: sums of absolute differences of 8 bytes each, into 64-bit lanes. */
const psadbw = (w: VW): VectorFn => (cpu, d, a, b) => {
  const v = views(cpu);
  for (let q = 0; q < 1 << (w - 3); q++) {
    let sum = 0;
    for (let i = 0; i < 8; i++) sum += Math.abs(v.u8[(a << 3) + 8 * q + i]! - v.u8[(b << 3) + 8 * q + i]!);
    v.i32[(d + q) << 1] = sum;
    v.i32[((d + q) << 1) + 1] = 0;
  }
  return HelperResult.CONTINUE;
};

/** PHADDW ...: per 128-bit lane (64 for MMX), pairs of a fill the low half, pairs of b the high half. */
const horizontal = (t: 'i16' | 'i32', f: F2) => (w: VW): VectorFn => (cpu, d, a, b) => {
  const vs = views(cpu);
  const v = vs[t];
  const s = SLOT_SHIFT[t];
  const bytes = 1 << w;
  const lane = Math.min(16, bytes);
  // Lanes of the element type in half a 128-bit (or 64-bit) lane.
  const half = lane >> (4 - s);
  for (let o = 0; o < bytes; o += lane) {
    const e = o >> (3 - s);
    const p = (a << s) + e;
    const q = (b << s) + e;
    const out = T[t];
    for (let i = 0; i < half; i++) {
      out[i] = f(v[p + 2 * i]!, v[p + 2 * i + 1]!);
      out[half + i] = f(v[q + 2 * i]!, v[q + 2 * i + 1]!);
    }
    fromScratch(vs, d + (o >> 3), lane);
  }
  return HelperResult.CONTINUE;
};

/** PHMINPOSUW: smallest word and its index. */
const phminposuw: VectorFn = (cpu, d, a) => {
  const v = views(cpu);
  let best = 0;
  for (let i = 1; i < 8; i++) if (v.u16[(a << 2) + i]! < v.u16[(a << 2) + best]!) best = i;
  const min = v.u16[(a << 2) + best]!;
  v.u32[d << 1] = min | (best << 16);
  v.u32[(d << 1) + 1] = v.u32[(d << 1) + 2] = v.u32[(d << 1) + 3] = 0;
  return HelperResult.CONTINUE;
};

/** MPSADBW: eight sums of four absolute differences; imm bits 0..2 (3..5 for the upper lane) choose the blocks. */
const mpsadbw = (w: VW): VectorFn => (cpu, d, a, b, _c, imm) => {
  const v = views(cpu);
  for (let lane = 0; lane < 1 << w; lane += 16) {
    const k = lane === 0 ? imm : imm >> 3;
    const p = (a << 3) + lane + (k & 4);
    const q = (b << 3) + lane + (k & 3) * 4;
    for (let i = 0; i < 8; i++) {
      let sum = 0;
      for (let j = 0; j < 4; j++) sum += Math.abs(v.u8[p + i + j]! - v.u8[q + j]!);
      T.u16[i] = sum;
    }
    fromScratch(v, d + (lane >> 3), 16);
  }
  return HelperResult.CONTINUE;
};

function wideOps(): VectorOp[] {
  const h = (name: string, t: 'i16' | 'i32', f: F2, op: number): VectorOp[] =>
    widths(name, horizontal(t, f), { form: 'rvm', map: 2, op, feature: 'ssse3' }, { mmx: 'ssse3', v256: 'avx2' });
  return [
    ...widths('pmaddwd', pmaddwd, { form: 'rvm', op: 0xf5 }, { mmx: 'mmx', v256: 'avx2' }),
    ...widths('pmaddubsw', pmaddubsw, { form: 'rvm', map: 2, op: 0x04, feature: 'ssse3' }, { mmx: 'ssse3', v256: 'avx2' }),
    ...widths('psadbw', psadbw, { form: 'rvm', op: 0xf6 }, { mmx: 'sse', v256: 'avx2' }),
    ...h('phaddw', 'i16', (x, y) => x + y, 0x01),
    ...h('phaddd', 'i32', (x, y) => x + y, 0x02),
    ...h('phaddsw', 'i16', (x, y) => sw(x + y), 0x03),
    ...h('phsubw', 'i16', (x, y) => x - y, 0x05),
    ...h('phsubd', 'i32', (x, y) => x - y, 0x06),
    ...h('phsubsw', 'i16', (x, y) => sw(x - y), 0x07),
    ...widths('phminposuw', () => phminposuw, { form: 'rm', map: 2, op: 0x41, feature: 'sse4_1' }, {}),
    ...widths('mpsadbw', mpsadbw, { form: 'rvmi', map: 3, op: 0x42, feature: 'sse4_1' }, { v256: 'avx2' }),
  ];
}

export const INT_OPS: readonly VectorOp[] = [
  ...TWO.flatMap(([name, t, f, op, map, feature, m]) => widths(name, lanes2(t, f), { form: 'rvm', map, op, feature }, { v256: 'avx2', ...(m === '' ? {} : { mmx: m }) })),
  ...ONE.flatMap(([name, t, f, op]) => widths(name, lanes1(t, f), { form: 'rm', map: 2, op, feature: 'ssse3' }, { mmx: 'ssse3', v256: 'avx2' })),
  ...QUAD.flatMap(([name, f, op, map, feature, m]) => widths(name, lanes2q(f), { form: 'rvm', map, op, feature }, { v256: 'avx2', ...(m === '' ? {} : { mmx: m }) })),
  ...logicOps(),
  ...shiftOps(),
  ...wideOps(),
];
