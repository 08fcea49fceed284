/** F and D operations done with the host's numbers give what exact software floating point gives, results and flags. */
import { describe, expect, it } from 'vitest';
import type { RiscvCpu } from '#lib/engine/guest/riscv/cpu.js';
import { Float } from '#lib/engine/guest/riscv/float.js';
import { Slot, STATE_BYTES } from '#lib/engine/state.js';
import { randomFrom } from '../../devices/fuzz.js';

const FLAGS = 0x3d;
const [A, B, FAST, EXACT] = [256, 257, 258, 259];

function setup(): { V: Int32Array; float: Float } {
  const V = new Int32Array(STATE_BYTES >> 2);
  const cpu = {
    V, csr: { frm: 0 },
    setReg: (dst: number, lo: number, hi: number) => {
      V[dst * 2] = lo;
      V[dst * 2 + 1] = hi;
    },
  };
  return { V, float: new Float(cpu as unknown as RiscvCpu) };
}

/** Words that matter: zeros, ones, infinities, NaNs of both kinds, denormals, limits of integers. */
const TOP_D = [0, 0x8000_0000, 0x3ff0_0000, 0xbff0_0000, 0x7ff0_0000, 0xfff0_0000, 0x7ff8_0000, 0x7ff0_0001, 0xfff7_ffff, 1, 0x43ef_ffff, 0x43f0_0000, 0x41ef_ffff, 0x41f0_0000, 0xbfe0_0000, 0x3fe0_0000];
const TOP_S = [0, 0x8000_0000, 0x3f80_0000, 0xbf80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 1, 0x5f7f_ffff, 0x5f80_0000, 0x4f7f_ffff, 0x4f80_0000, 0xbf00_0000];

describe('fast floating point', () => {
  const op = (f7: number, rs2: number, f3: number): number => ((f7 << 25) | (rs2 << 20) | (f3 << 12) | 0x53) | 0;
  const instructions: [string, number][] = [];
  for (const fmt of [0, 1]) {
    instructions.push([`fmin ${fmt}`, op(0x14 | fmt, 0, 0)], [`fmax ${fmt}`, op(0x14 | fmt, 0, 1)], [`fclass ${fmt}`, op(0x70 | fmt, 0, 1)]);
    for (const n of [1, 3]) for (const rm of [0, 1, 2, 7]) instructions.push([`fcvt to ${n} from ${fmt} rm ${rm}`, op(0x60 | fmt, n, rm)], [`fcvt from ${n} to ${fmt} rm ${rm}`, op(0x68 | fmt, n, rm)]);
  }

  it.each(instructions)('%s', (_name, insn) => {
    const { V, float } = setup();
    const random = randomFrom(insn);
    const single = ((insn >>> 25) & 3) === 0;
    const word = (list: number[]): number => (random() & 1 ? random() : list[random() % list.length]! + (random() % 3 === 0 ? (random() % 3) - 1 : 0)) | 0;
    for (let n = 0; n < 4000; n++) {
      for (const s of [A, B]) {
        V[s * 2] = single ? word(TOP_S) : random() & 1 ? random() : 0;
        V[s * 2 + 1] = single ? (random() % 8 === 0 ? random() : -1) : word(TOP_D);
      }
      const rm = (insn >>> 12) & 7;
      V[Slot.MXCSR * 2] = 0;
      float.execute(insn, FAST, A, B, B);
      // Without the flag for denormal operands, which this architecture does not have.
      const flags = V[Slot.MXCSR * 2]! & FLAGS;
      V[Slot.MXCSR * 2] = 0;
      float.exact(insn, rm === 7 ? 0 : rm, EXACT, A, B, B);
      const show = (s: number): string => `${(V[s * 2 + 1]! >>> 0).toString(16)}:${(V[s * 2]! >>> 0).toString(16)}`;
      const got = `${show(FAST)} flags ${flags}`;
      const want = `${show(EXACT)} flags ${V[Slot.MXCSR * 2]! & FLAGS}`;
      if (got !== want) expect.fail(`${show(A)}, ${show(B)}: ${got}, not ${want}`);
    }
  });
});

describe('half precision', () => {
  const BOX = 0xffff_0000 | 0;
  const op = (f7: number, rs2: number, rm: number): number => ((f7 << 25) | (rs2 << 20) | (rm << 12) | 0x53) | 0;
  const [INVALID, DIVIDE, OVERFLOW, UNDERFLOW, INEXACT] = [1, 4, 8, 16, 32];

  // Low words of operands and result, the latter's high word, flags (at their places in MXCSR, without the one for denormals).
  it.each([
    ['one and one are two', op(0x02, 0, 0), 0x3c00, 0x3c00, 0x4000, 0],
    ['what is not boxed counts as a NaN', op(0x02, 0, 0), 0x3c00 - BOX, 0x3c00, 0x7e00, 0],
    ['a signalling NaN is invalid', op(0x0a, 0, 0), 0x7c01, 0x3c00, 0x7e00, INVALID],
    ['the largest and half its step overflow to nearest', op(0x02, 0, 0), 0x7bff, 0x4c00, 0x7c00, OVERFLOW | INEXACT],
    ['and do not towards zero', op(0x02, 0, 1), 0x7bff, 0x4c00, 0x7bff, INEXACT],
    ['the smallest times a half underflows', op(0x0a, 0, 0), 0x0001, 0x3800, 0, UNDERFLOW | INEXACT],
    ['one by zero', op(0x0e, 0, 0), 0xbc00, 0, 0xfc00, DIVIDE],
    ['square root of two', op(0x2e, 0, 0), 0x4000, 0, 0x3da8, INEXACT],
    ['the smaller of zeros is the negative one', op(0x16, 0, 0), 0, 0x8000, 0x8000, 0],
  ])('%s', (_name, insn, a, b, want, flags) => {
    const { V, float } = setup();
    for (const [s, v] of [[A, a], [B, b]] as const) {
      V[s * 2] = v < 0x1_0000 ? v | BOX : v & 0xffff;
      V[s * 2 + 1] = -1;
    }
    float.execute(insn, FAST, A, B, B);
    expect([(V[FAST * 2]! & 0xffff).toString(16), V[FAST * 2]! >> 16, V[FAST * 2 + 1], V[Slot.MXCSR * 2]! & FLAGS]).toEqual([want.toString(16), -1, -1, flags]);
  });

  it.each([
    ['single to half rounds once', op(0x22, 0, 0), 0x477f_f000, -1, 0xffff_7c00 | 0, -1, OVERFLOW | INEXACT],
    ['half to double is exact', op(0x21, 2, 0), 0xffff_0001 | 0, -1, 0, 0x3e70_0000, 0],
    ['to a word', op(0x62, 0, 0), 0xffff_c100 | 0, -1, -2, -1, INEXACT],
    ['a NaN to an unsigned long is the largest', op(0x62, 3, 0), 0xffff_7e00 | 0, -1, -1, -1, INVALID],
    ['from a long that is too large', op(0x6a, 2, 0), 0, 1, 0xffff_7c00 | 0, -1, OVERFLOW | INEXACT],
  ])('%s', (_name, insn, lo, hi, wantLo, wantHi, flags) => {
    const { V, float } = setup();
    V[A * 2] = lo;
    V[A * 2 + 1] = hi;
    float.execute(insn, FAST, A, B, B);
    expect([V[FAST * 2], V[FAST * 2 + 1], V[Slot.MXCSR * 2]! & FLAGS]).toEqual([wantLo, wantHi, flags]);
  });
});
