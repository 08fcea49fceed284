/**
 * Operations that move lanes: unpack, pack, shuffle, blend, broadcast, insert, extract, widen, masks, register moves.
 * 256-bit forms act on each 128-bit lane on its own unless the text says otherwise. Intel SDM vol. 2.
 */
import { HelperResult } from '../../../helpers.js';
import { Fl, Slot, eflagsToFlags } from '../../../state.js';
import { type Enc, type VW, type VectorOp, widths } from './def.js';
import { sw } from './ops-int.js';
import { T, type VectorFn, type Views, fromScratch, views } from './views.js';

type Element = 'u8' | 'u16' | 'u32' | 'u64';
const SHIFT: Record<Element, number> = { u8: 3, u16: 2, u32: 1, u64: 0 };

/** Runs `k` on each 128-bit lane (or the 64 bits of an MMX operand): k fills scratch from lanes at slots a and b. */
type LaneKernel = (v: Views, a: number, b: number, imm: number, bytes: number) => void;
const perLane = (k: LaneKernel) => (w: VW): VectorFn => {
  const total = 1 << w;
  const lane = Math.min(16, total);
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    for (let o = 0; o < total; o += lane) {
      const s = o >> 3;
      k(v, a + s, b + s, imm, lane);
      fromScratch(v, d + s, lane);
    }
    return HelperResult.CONTINUE;
  };
};

/** PUNPCKx: interleaves the low (high) halves of a and b. */
const unpack = (size: 1 | 2 | 4 | 8, high: boolean): ((w: VW) => VectorFn) =>
  perLane((v, a, b, _imm, bytes) => {
    const base = high ? bytes >> 1 : 0;
    const p = (a << 3) + base;
    const q = (b << 3) + base;
    for (let i = 0; i < bytes >> 1; i++) {
      const o = Math.floor(i / size) * 2 * size + (i % size);
      T.u8[o] = v.u8[p + i]!;
      T.u8[o + size] = v.u8[q + i]!;
    }
  });

const ub = (x: number): number => (x < 0 ? 0 : x > 255 ? 255 : x);
const sb = (x: number): number => (x < -128 ? -128 : x > 127 ? 127 : x);
const uw = (x: number): number => (x < 0 ? 0 : x > 65535 ? 65535 : x);

/** PACKxx: narrows a into the low half and b into the high half, with saturation. */
const pack = (from: 'i16' | 'i32', f: (x: number) => number): ((w: VW) => VectorFn) =>
  perLane((v, a, b, _imm, bytes) => {
    const s = from === 'i16' ? 2 : 1;
    const n = bytes >> (3 - s);
    for (let i = 0; i < n; i++) {
      const x = f(v[from][(a << s) + i]!);
      const y = f(v[from][(b << s) + i]!);
      if (from === 'i16') {
        T.u8[i] = x;
        T.u8[n + i] = y;
      } else {
        T.u16[i] = x;
        T.u16[n + i] = y;
      }
    }
  });

const pshufb = perLane((v, a, b, _imm, bytes) => {
  for (let i = 0; i < bytes; i++) {
    const m = v.u8[(b << 3) + i]!;
    T.u8[i] = m & 0x80 ? 0 : v.u8[(a << 3) + (m & (bytes - 1))]!;
  }
});

/** PALIGNR: bytes imm.. of the pair a:b (b low). */
const palignr = perLane((v, a, b, imm, bytes) => {
  const n = imm & 0xff;
  for (let i = 0; i < bytes; i++) {
    const j = i + n;
    T.u8[i] = j < bytes ? v.u8[(b << 3) + j]! : j < 2 * bytes ? v.u8[(a << 3) + j - bytes]! : 0;
  }
});

const pshufd = perLane((v, a, _b, imm) => {
  for (let i = 0; i < 4; i++) T.u32[i] = v.u32[(a << 1) + ((imm >> (2 * i)) & 3)]!;
});
/** PSHUFW (bytes = 8), PSHUFLW, PSHUFHW: four words of one half permuted, the other half copied. */
const pshufw = (high: boolean): ((w: VW) => VectorFn) =>
  perLane((v, a, _b, imm, bytes) => {
    const base = a << 2;
    const h = high ? 4 : 0;
    for (let i = 0; i < 4; i++) T.u16[h + i] = v.u16[base + h + ((imm >> (2 * i)) & 3)]!;
    if (bytes === 16) for (let i = 0; i < 4; i++) T.u16[(h ^ 4) + i] = v.u16[base + (h ^ 4) + i]!;
  });
const shufps = perLane((v, a, b, imm) => {
  for (let i = 0; i < 4; i++) T.u32[i] = v.u32[((i < 2 ? a : b) << 1) + ((imm >> (2 * i)) & 3)]!;
});
/** SHUFPD uses two more immediate bits for the upper lane, so it is not lane-uniform. */
const shufpd = (w: VW): VectorFn => (cpu, d, a, b, _c, imm) => {
  const u = views(cpu).u64;
  for (let s = 0; s < 1 << (w - 3); s += 2) {
    const x = u[a + s + ((imm >> s) & 1)]!;
    const y = u[b + s + ((imm >> (s + 1)) & 1)]!;
    u[d + s] = x;
    u[d + s + 1] = y;
  }
  return HelperResult.CONTINUE;
};

/** Takes element i of dst from a lane of `a` by index table (MOVSLDUP, MOVSHDUP, MOVDDUP). */
const dup32 = (pick: readonly [number, number, number, number]): ((w: VW) => VectorFn) =>
  perLane((v, a) => {
    for (let i = 0; i < 4; i++) T.u32[i] = v.u32[(a << 1) + pick[i]!]!;
  });

/** VPERMILPS by register, VPERMILPD by register (selector bit 1 of each quadword). */
const permilpsV = perLane((v, a, b) => {
  for (let i = 0; i < 4; i++) T.u32[i] = v.u32[(a << 1) + (v.u32[(b << 1) + i]! & 3)]!;
});
const permilpdV = perLane((v, a, b) => {
  for (let i = 0; i < 2; i++) T.u64[i] = v.u64[a + ((v.u32[(b + i) << 1]! >> 1) & 1)]!;
});
const permilpdI = (w: VW): VectorFn => (cpu, d, a, _b, _c, imm) => {
  const u = views(cpu).u64;
  for (let s = 0; s < 1 << (w - 3); s += 2) {
    const x = u[a + s + ((imm >> s) & 1)]!;
    const y = u[a + s + ((imm >> (s + 1)) & 1)]!;
    u[d + s] = x;
    u[d + s + 1] = y;
  }
  return HelperResult.CONTINUE;
};

/** Blends by immediate: bit i chooses element i of b. For PBLENDW the eight bits serve both lanes. */
const blendI = (t: Element) => (w: VW): VectorFn => {
  const s = SHIFT[t];
  const n = (1 << w) >> (3 - s);
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu)[t];
    for (let i = 0; i < n; i++) v[(d << s) + i] = v[(((imm >> (i & 7)) & 1 ? b : a) << s) + i]!;
    return HelperResult.CONTINUE;
  };
};
/** Blends by the sign bits of c. */
const blendV = (bytes: 1 | 4 | 8) => (w: VW): VectorFn => (cpu, d, a, b, c) => {
  const u = views(cpu).u8;
  d <<= 3;
  a <<= 3;
  b <<= 3;
  c <<= 3;
  for (let o = 0; o < 1 << w; o += bytes) {
    const s = u[c + o + bytes - 1]! & 0x80 ? b : a;
    for (let i = 0; i < bytes; i++) u[d + o + i] = u[s + o + i]!;
  }
  return HelperResult.CONTINUE;
};

// --- across lanes (AVX, AVX2) ---

/** Copies n 64-bit words to scratch and then to d. */
function copy64(v: Views, d: number, ...src: number[]): HelperResult {
  for (let i = 0; i < src.length; i++) T.u64[i] = src[i]! < 0 ? 0n : v.u64[src[i]!]!;
  fromScratch(v, d, src.length * 8);
  return HelperResult.CONTINUE;
}
const permq: VectorFn = (cpu, d, a, _b, _c, imm) => copy64(views(cpu), d, a + (imm & 3), a + ((imm >> 2) & 3), a + ((imm >> 4) & 3), a + ((imm >> 6) & 3));
const perm2f128: VectorFn = (cpu, d, a, b, _c, imm) => {
  const pick = (k: number): number => (k & 8 ? -2 : (k & 2 ? b : a) + (k & 1) * 2);
  const lo = pick(imm);
  const hi = pick(imm >> 4);
  return copy64(views(cpu), d, lo, lo + (lo < 0 ? 0 : 1), hi, hi + (hi < 0 ? 0 : 1));
};
const insertf128: VectorFn = (cpu, d, a, b, _c, imm) =>
  imm & 1 ? copy64(views(cpu), d, a, a + 1, b, b + 1) : copy64(views(cpu), d, b, b + 1, a + 2, a + 3);
const extractf128: VectorFn = (cpu, d, a, _b, _c, imm) => copy64(views(cpu), d, a + (imm & 1) * 2, a + (imm & 1) * 2 + 1, -1, -1);
/** VPERMD/VPERMPS: indices in a, data in b. */
const permd: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu);
  for (let i = 0; i < 8; i++) T.u32[i] = v.u32[(b << 1) + (v.u32[(a << 1) + i]! & 7)]!;
  fromScratch(v, d, 32);
  return HelperResult.CONTINUE;
};
const broadcast = (t: Element) => (w: VW): VectorFn => {
  const s = SHIFT[t];
  const n = (1 << w) >> (3 - s);
  return (cpu, d, a) => {
    const v = views(cpu)[t];
    v.fill(v[a << s]! as never, d << s, (d << s) + n);
    return HelperResult.CONTINUE;
  };
};
const broadcast128: VectorFn = (cpu, d, a) => copy64(views(cpu), d, a, a + 1, a, a + 1);

/** PMOVSX/PMOVZX: the low elements of a, widened. */
const widen = (from: 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32', to: 'i16' | 'i32' | 'u64') => (w: VW): VectorFn => {
  const sf = from.endsWith('8') ? 3 : from.endsWith('16') ? 2 : 1;
  const st = to === 'i16' ? 2 : to === 'i32' ? 1 : 0;
  const n = (1 << w) >> (3 - st);
  return (cpu, d, a) => {
    const v = views(cpu);
    const src = v[from];
    for (let i = 0; i < n; i++) {
      const x = src[(a << sf) + i]!;
      if (to === 'i16') T.i16[i] = x;
      else if (to === 'i32') T.i32[i] = x;
      else {
        T.i32[2 * i] = x;
        T.i32[2 * i + 1] = x < 0 ? -1 : 0;
      }
    }
    fromScratch(v, d, 1 << w);
    return HelperResult.CONTINUE;
  };
};

// --- between vector and general registers ---

/** PMOVMSKB, MOVMSKPS, MOVMSKPD: sign bits to a zero-extended general register. */
const signMask = (bytes: 1 | 4 | 8) => (w: VW): VectorFn => (cpu, d, a) => {
  const u = views(cpu).u8;
  let m = 0;
  for (let i = 0, p = (a << 3) + bytes - 1; i < (1 << w) / bytes; i++, p += bytes) m |= (u[p]! >> 7) << i;
  cpu.V[d << 1] = m;
  cpu.V[(d << 1) + 1] = 0;
  return HelperResult.CONTINUE;
};
/** PEXTRx: dst general register (zero-extended) = element imm. */
const extract = (t: Element) => (w: VW): VectorFn => {
  const s = SHIFT[t];
  const mask = ((1 << w) >> (3 - s)) - 1;
  return (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    if (t === 'u64') v.u64[d] = v.u64[a + (imm & mask)]!;
    else {
      cpu.V[d << 1] = v[t][(a << s) + (imm & mask)]!;
      cpu.V[(d << 1) + 1] = 0;
    }
    return HelperResult.CONTINUE;
  };
};
/** PINSRx: dst = a with element imm replaced by the low bits of general register b. */
const insert = (t: Element) => (w: VW): VectorFn => {
  const s = SHIFT[t];
  const n = 1 << (w - 3);
  const mask = ((1 << w) >> (3 - s)) - 1;
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    const e = (d << s) + (imm & mask);
    for (let i = 0; i < n; i++) v.u64[d + i] = v.u64[a + i]!;
    if (t === 'u64') v.u64[e] = v.u64[b]!;
    else v[t][e] = v[t][b << s]!;
    return HelperResult.CONTINUE;
  };
};
/**
 * INSERTPS: element from b (imm 7..6) into a (imm 5..4), then zero by imm 3..0. The lifter only uses imm 7..6 = 0, because
 * the host's memory form ignores those bits: a back end may take b from memory.
 */
const insertps: VectorFn = (cpu, d, a, b, _c, imm) => {
  const v = views(cpu);
  const x = v.u32[(b << 1) + ((imm >> 6) & 3)]!;
  for (let i = 0; i < 4; i++) T.u32[i] = (imm >> i) & 1 ? 0 : i === ((imm >> 4) & 3) ? x : v.u32[(a << 1) + i]!;
  fromScratch(v, d, 16);
  return HelperResult.CONTINUE;
};
/** MOVD, MOVQ to a vector: the rest of the low 128 bits is cleared. */
const fromGpr = (wide: boolean) => (w: VW): VectorFn => (cpu, d, a) => {
  const V = cpu.V;
  const hi = wide ? V[(a << 1) + 1]! : 0;
  V[d << 1] = V[a << 1]!;
  V[(d << 1) + 1] = hi;
  if (w === 4) V[(d << 1) + 2] = V[(d << 1) + 3] = 0;
  return HelperResult.CONTINUE;
};
const toGpr = (wide: boolean) => (): VectorFn => (cpu, d, a) => {
  const V = cpu.V;
  const hi = wide ? V[(a << 1) + 1]! : 0;
  V[d << 1] = V[a << 1]!;
  V[(d << 1) + 1] = hi;
  return HelperResult.CONTINUE;
};

// --- register-to-register moves with merging ---

const movlhps: VectorFn = (cpu, d, a, b) => {
  const u = views(cpu).u64;
  const hi = u[b]!;
  u[d] = u[a]!;
  u[d + 1] = hi;
  return HelperResult.CONTINUE;
};
const movq: VectorFn = (cpu, d, a) => {
  const u = views(cpu).u64;
  u[d] = u[a]!;
  u[d + 1] = 0n;
  return HelperResult.CONTINUE;
};

/** PTEST (bits), VTESTPS/VTESTPD (sign bits): ZF = (a & b == 0), CF = (~a & b == 0), other flags 0. */
const test = (mask: readonly [number, number]) => (w: VW): VectorFn => (cpu, _d, a, b) => {
  const V = cpu.V;
  let and = 0;
  let andn = 0;
  for (let i = 0; i < (1 << w) >> 2; i++) {
    const x = V[(a << 1) + i]!;
    const y = V[(b << 1) + i]! & mask[i & 1]!;
    and |= x & y;
    andn |= ~x & y;
  }
  V[Slot.FLAGS << 1] = eflagsToFlags((and === 0 ? 0x40 : 0) | (andn === 0 ? 1 : 0));
  return HelperResult.CONTINUE;
};

const A2 = { v256: 'avx2' };
const MA2 = { mmx: 'mmx', v256: 'avx2' };
const A1 = { v256: 'avx' };
const x3 = (op: number, w: 0 | 1 = 0): Enc => ({ form: 'rvmi', map: 3, op, w, feature: 'sse4_1' });
const vex = (form: Enc['form'], map: 2 | 3, op: number, feature: string, w: 0 | 1 = 0): Enc => ({ form, map, op, feature, w, vexOnly: true });

function unpackOps(): VectorOp[] {
  const out: VectorOp[] = [];
  const t: readonly (readonly [string, 1 | 2 | 4 | 8, boolean, number, boolean])[] = [
    ['punpcklbw', 1, false, 0x60, true], ['punpcklwd', 2, false, 0x61, true], ['punpckldq', 4, false, 0x62, true],
    ['punpckhbw', 1, true, 0x68, true], ['punpckhwd', 2, true, 0x69, true], ['punpckhdq', 4, true, 0x6a, true],
    ['punpcklqdq', 8, false, 0x6c, false], ['punpckhqdq', 8, true, 0x6d, false],
  ];
  for (const [name, size, high, op, m] of t) out.push(...widths(name, unpack(size, high), { form: 'rvm', op }, m ? MA2 : A2));
  for (const [name, size, pp] of [['ps', 4, 0], ['pd', 8, 1]] as const) {
    const feature = pp === 0 ? 'sse' : 'sse2';
    out.push(...widths(`unpckl${name}`, unpack(size, false), { form: 'rvm', pp, op: 0x14, feature }, A1));
    out.push(...widths(`unpckh${name}`, unpack(size, true), { form: 'rvm', pp, op: 0x15, feature }, A1));
  }
  out.push(
    ...widths('packsswb', pack('i16', sb), { form: 'rvm', op: 0x63 }, MA2),
    ...widths('packuswb', pack('i16', ub), { form: 'rvm', op: 0x67 }, MA2),
    ...widths('packssdw', pack('i32', sw), { form: 'rvm', op: 0x6b }, MA2),
    ...widths('packusdw', pack('i32', uw), { form: 'rvm', map: 2, op: 0x2b, feature: 'sse4_1' }, A2),
  );
  return out;
}

function shuffleOps(): VectorOp[] {
  return [
    ...widths('pshufb', pshufb, { form: 'rvm', map: 2, op: 0x00, feature: 'ssse3' }, { mmx: 'ssse3', v256: 'avx2' }),
    ...widths('palignr', palignr, { form: 'rvmi', map: 3, op: 0x0f, feature: 'ssse3' }, { mmx: 'ssse3', v256: 'avx2' }),
    ...widths('pshufw', pshufw(false), { form: 'rmi', op: 0x70 }, { mmx: 'sse', no128: true }),
    ...widths('pshufd', pshufd, { form: 'rmi', op: 0x70 }, A2),
    ...widths('pshufhw', pshufw(true), { form: 'rmi', pp: 2, op: 0x70 }, A2),
    ...widths('pshuflw', pshufw(false), { form: 'rmi', pp: 3, op: 0x70 }, A2),
    ...widths('shufps', shufps, { form: 'rvmi', pp: 0, op: 0xc6, feature: 'sse' }, A1),
    ...widths('shufpd', shufpd, { form: 'rvmi', op: 0xc6 }, A1),
    ...widths('movsldup', dup32([0, 0, 2, 2]), { form: 'rm', pp: 2, op: 0x12, feature: 'pni' }, A1),
    ...widths('movshdup', dup32([1, 1, 3, 3]), { form: 'rm', pp: 2, op: 0x16, feature: 'pni' }, A1),
    ...widths('movddup', dup32([0, 1, 0, 1]), { form: 'rm', pp: 3, op: 0x12, feature: 'pni' }, A1),
    ...widths('vpermilps', permilpsV, vex('rvm', 2, 0x0c, 'avx'), A1),
    ...widths('vpermilpd', permilpdV, vex('rvm', 2, 0x0d, 'avx'), A1),
    ...widths('vpermilps.i', pshufd, vex('rmi', 3, 0x04, 'avx'), A1),
    ...widths('vpermilpd.i', permilpdI, vex('rmi', 3, 0x05, 'avx'), A1),
    ...widths('blendps', blendI('u32'), x3(0x0c), A1),
    ...widths('blendpd', blendI('u64'), x3(0x0d), A1),
    ...widths('pblendw', blendI('u16'), x3(0x0e), A2),
    ...widths('vpblendd', blendI('u32'), vex('rvmi', 3, 0x02, 'avx2'), A2),
    ...widths('blendvps', blendV(4), vex('rvmr', 3, 0x4a, 'avx'), A1),
    ...widths('blendvpd', blendV(8), vex('rvmr', 3, 0x4b, 'avx'), A1),
    ...widths('pblendvb', blendV(1), vex('rvmr', 3, 0x4c, 'avx'), A2),
    ...widths('vpermq', () => permq, vex('rmi', 3, 0x00, 'avx2', 1), { v256: 'avx2', no128: true }),
    ...widths('vpermpd', () => permq, vex('rmi', 3, 0x01, 'avx2', 1), { v256: 'avx2', no128: true }),
    ...widths('vpermd', () => permd, vex('rvm', 2, 0x36, 'avx2'), { v256: 'avx2', no128: true }),
    ...widths('vpermps', () => permd, vex('rvm', 2, 0x16, 'avx2'), { v256: 'avx2', no128: true }),
    ...widths('vperm2f128', () => perm2f128, vex('rvmi', 3, 0x06, 'avx'), { v256: 'avx', no128: true }),
    ...widths('vperm2i128', () => perm2f128, vex('rvmi', 3, 0x46, 'avx2'), { v256: 'avx2', no128: true }),
    ...widths('vinsertf128', () => insertf128, vex('rvmi', 3, 0x18, 'avx'), { v256: 'avx', no128: true }),
    ...widths('vinserti128', () => insertf128, vex('rvmi', 3, 0x38, 'avx2'), { v256: 'avx2', no128: true }),
    ...widths('vextractf128', () => extractf128, vex('mri', 3, 0x19, 'avx'), { v256: 'avx', no128: true }),
    ...widths('vextracti128', () => extractf128, vex('mri', 3, 0x39, 'avx2'), { v256: 'avx2', no128: true }),
    ...widths('vbroadcastss', broadcast('u32'), vex('rm', 2, 0x18, 'avx2'), A2),
    ...widths('vbroadcastsd', broadcast('u64'), vex('rm', 2, 0x19, 'avx2'), { v256: 'avx2', no128: true }),
    // No register form: on the host VINSERTF128 with both halves equal would do; the lifter loads first.
    ...widths('vbroadcast128', () => broadcast128, null, { v256: 'avx', no128: true }),
    ...widths('vpbroadcastb', broadcast('u8'), vex('rm', 2, 0x78, 'avx2'), A2),
    ...widths('vpbroadcastw', broadcast('u16'), vex('rm', 2, 0x79, 'avx2'), A2),
    ...widths('vpbroadcastd', broadcast('u32'), vex('rm', 2, 0x58, 'avx2'), A2),
    ...widths('vpbroadcastq', broadcast('u64'), vex('rm', 2, 0x59, 'avx2'), A2),
  ];
}

function widenOps(): VectorOp[] {
  const t = [
    ['bw', '8', 'i16', 0x20], ['bd', '8', 'i32', 0x21], ['bq', '8', 'u64', 0x22],
    ['wd', '16', 'i32', 0x23], ['wq', '16', 'u64', 0x24], ['dq', '32', 'u64', 0x25],
  ] as const;
  return t.flatMap(([n, from, to, op]) => [
    ...widths(`pmovsx${n}`, widen(`i${from}`, to), { form: 'rm', map: 2, op, feature: 'sse4_1' }, A2),
    ...widths(`pmovzx${n}`, widen(`u${from}`, to), { form: 'rm', map: 2, op: op + 0x10, feature: 'sse4_1' }, A2),
  ]);
}
function registerOps(): VectorOp[] {
  const e = (form: Enc['form'], map: 1 | 2 | 3, op: number, feature: string, w: 0 | 1 = 0): Enc => ({ form, map, op, feature, w });
  return [
    ...widths('pmovmskb', signMask(1), e('rg', 1, 0xd7, 'sse2'), { mmx: 'sse', v256: 'avx2' }),
    ...widths('movmskps', signMask(4), { form: 'rg', pp: 0, op: 0x50, feature: 'sse' }, A1),
    ...widths('movmskpd', signMask(8), { form: 'rg', op: 0x50 }, A1),
    ...widths('pextrw', extract('u16'), e('rgi', 1, 0xc5, 'sse2'), { mmx: 'sse' }),
    ...widths('pextrb', extract('u8'), e('mgi', 3, 0x14, 'sse4_1'), {}),
    ...widths('pextrd', extract('u32'), e('mgi', 3, 0x16, 'sse4_1'), {}),
    ...widths('pextrq', extract('u64'), e('mgi', 3, 0x16, 'sse4_1', 1), {}),
    ...widths('pinsrw', insert('u16'), e('gri', 1, 0xc4, 'sse2'), { mmx: 'sse' }),
    ...widths('pinsrb', insert('u8'), e('gri', 3, 0x20, 'sse4_1'), {}),
    ...widths('pinsrd', insert('u32'), e('gri', 3, 0x22, 'sse4_1'), {}),
    ...widths('pinsrq', insert('u64'), e('gri', 3, 0x22, 'sse4_1', 1), {}),
    ...widths('insertps', () => insertps, x3(0x21), {}),
    ...widths('movd', fromGpr(false), e('gr', 1, 0x6e, 'sse2'), { mmx: 'mmx' }),
    ...widths('movq.g', fromGpr(true), e('gr', 1, 0x6e, 'sse2', 1), { mmx: 'mmx' }),
    ...widths('movd.r', toGpr(false), e('mg', 1, 0x7e, 'sse2'), { mmx: 'mmx' }),
    ...widths('movq.r', toGpr(true), e('mg', 1, 0x7e, 'sse2', 1), { mmx: 'mmx' }),
    // dst = low quadword of a, low quadword of b: MOVLHPS, MOVHPS and MOVHPD loads.
    ...widths('movlhps', () => movlhps, { form: 'rvm', pp: 0, op: 0x16, feature: 'sse' }, {}),
    ...widths('movq', () => movq, { form: 'rm', pp: 2, op: 0x7e }, {}),
    ...widths('ptest', test([-1, -1]), { form: 'cmp', map: 2, op: 0x17, feature: 'sse4_1' }, A1, { writesFlags: Fl.ALL }),
    ...widths('vtestps', test([-0x8000_0000, -0x8000_0000]), vex('cmp', 2, 0x0e, 'avx'), A1, { writesFlags: Fl.ALL }),
    ...widths('vtestpd', test([0, -0x8000_0000]), vex('cmp', 2, 0x0f, 'avx'), A1, { writesFlags: Fl.ALL }),
  ];
}

export const SHUFFLE_OPS: readonly VectorOp[] = [...unpackOps(), ...shuffleOps(), ...widenOps(), ...registerOps()];
