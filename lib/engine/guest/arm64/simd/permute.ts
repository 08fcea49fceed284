/** Permutations and table look-ups (Arm ARM, C4.1.90). */
import { HelperResult, type NativeForm } from '../../../helpers.js';
import { ALL, type Es, type Fn, type SimdOp, T, at, bitsOf, bytesOf, finish, lanesOf, sse, views } from './def.js';
import { Slot, VEC_STRIDE } from '../../../state.js';

const OPS: SimdOp[] = [];
function op(name: string, es: number, fn: Fn, native?: NativeForm): void {
  OPS.push({ name: `${name}.${bitsOf(es)}`, fn, ...(native ? { native } : {}) });
}

/** d[i] = (a:b)[index(i, n)], n lanes per operand. */
function shuffle(es: Es, index: (i: number, n: number) => number): Fn {
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    const bytes = bytesOf(imm);
    const n = bytes >> es;
    for (let i = 0; i < n; i++) {
      const k = index(i, n);
      const from = k < n ? a : b;
      if (es === 3) T.u64[i] = v.u64[from + (k % n)]!;
      else lanesOf(T, es, false)[i] = lanesOf(v, es, false)[at(from, es) + (k % n)]!;
    }
    return finish(cpu, d, bytes);
  };
}

/** PACKUSWB: signed words of a, then of b, as unsigned bytes with saturation. */
op('n.pack', 0, (cpu, d, a, b) => {
  const v = views(cpu);
  for (let i = 0; i < 16; i++) T.u8[i] = Math.min(Math.max(v.i16[((i < 8 ? a : b) << 2) + (i & 7)]!, 0), 255);
  return finish(cpu, d, 16);
}, sse('rvm', 0x67));

// PUNPCKL and PUNPCKH for whole registers.
const ZIP1 = [0x60, 0x61, 0x62, 0x6c];
const ZIP2 = [0x68, 0x69, 0x6a, 0x6d];
for (const es of ALL) {
  op('zip1', es, shuffle(es, (i, n) => (i >> 1) + (i & 1) * n), sse('rvm', ZIP1[es]!));
  op('zip2.q', es, shuffle(es, (i, n) => n / 2 + (i >> 1) + (i & 1) * n), sse('rvm', ZIP2[es]!));
  op('zip2', es, shuffle(es, (i, n) => n / 2 + (i >> 1) + (i & 1) * n));
  op('uzp1', es, shuffle(es, (i) => 2 * i));
  op('uzp2', es, shuffle(es, (i) => 2 * i + 1));
  op('trn1', es, shuffle(es, (i, n) => (i & ~1) + (i & 1) * n));
  op('trn2', es, shuffle(es, (i, n) => (i | 1) + (i & 1) * n));
  // DUP from lane (literal Q | lane << 1), from a general register.
  op('dup', es, (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    const bytes = bytesOf(imm);
    if (es === 3) T.u64.fill(v.u64[a + (imm >> 1)]!);
    else lanesOf(T, es, false).fill(lanesOf(v, es, false)[at(a, es) + (imm >> 1)]!);
    return finish(cpu, d, bytes);
  });
  op('dupg', es, (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    if (es === 3) T.u64.fill(v.u64[a]!);
    else lanesOf(T, es, false).fill(v.u32[a << 1]!);
    return finish(cpu, d, bytesOf(imm));
  });
  // Lane moves keep the other lanes: literal Q (unused) | destination lane << 1 | source lane << 5.
  op('ins', es, (cpu, d, a, _b, _c, imm) => {
    const v = views(cpu);
    const [to, from] = [(imm >> 1) & 15, (imm >> 5) & 15];
    if (es === 3) v.u64[d + to] = v.u64[a + from]!;
    else lanesOf(v, es, false)[at(d, es) + to] = lanesOf(v, es, false)[at(a, es) + from]!;
    return HelperResult.CONTINUE;
  });
}

/** EXT: bytes n.. of a, then b. Literal Q | n << 1. */
OPS.push({
  name: 'ext',
  fn: (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    const bytes = bytesOf(imm);
    const n = imm >> 1;
    for (let i = 0; i < bytes; i++) T.u8[i] = i + n < bytes ? v.u8[(a << 3) + i + n]! : v.u8[(b << 3) + i + n - bytes]!;
    return finish(cpu, d, bytes);
  },
});
/** The same for whole registers as PALIGNR: a = upper part (b of EXT), b = lower part; the literal is the count. */
OPS.push({
  name: 'n.ext',
  fn: (cpu, d, a, b, _c, n) => {
    const v = views(cpu);
    for (let i = 0; i < 16; i++) T.u8[i] = i + n < 16 ? v.u8[(b << 3) + i + n]! : v.u8[(a << 3) + i + n - 16]!;
    return finish(cpu, d, 16);
  },
  native: sse('rvmi', 0x0f, { map: 3, feature: 'ssse3' }),
});

/** Low 64 bits, upper half cleared: MOVQ. */
OPS.push({
  name: 'n.low64',
  fn: (cpu, d, a) => {
    const { V } = cpu;
    V[d * 2] = V[a * 2]!;
    V[d * 2 + 1] = V[a * 2 + 1]!;
    V[d * 2 + 2] = V[d * 2 + 3] = 0;
    return HelperResult.CONTINUE;
  },
  native: sse('rm', 0x7e, { pp: 2 }),
});

/** TBL, TBX: literal Q | (registers - 1) << 1 | first register << 3; b = indices. TBX keeps lanes out of range. */
for (const keep of [false, true]) {
  OPS.push({
    name: keep ? 'tbx' : 'tbl',
    fn: (cpu, d, _a, b, _c, imm) => {
      const v = views(cpu);
      const bytes = bytesOf(imm);
      const size = (((imm >> 1) & 3) + 1) * 16;
      const first = (imm >> 3) & 31;
      for (let i = 0; i < bytes; i++) {
        const k = v.u8[(b << 3) + i]!;
        const r = (first + (k >> 4)) & 31;
        T.u8[i] = k < size ? v.u8[((Slot.VEC + r * VEC_STRIDE) << 3) + (k & 15)]! : keep ? v.u8[(d << 3) + i]! : 0;
      }
      return finish(cpu, d, bytes);
    },
  });
}

export const PERMUTE_OPS: readonly SimdOp[] = OPS;
