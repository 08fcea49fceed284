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
