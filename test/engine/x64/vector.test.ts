/** Table-driven vector ops: the host instruction must be used, and do what the table entry's form says. */
import { describe, expect, it } from 'vitest';
import { HelperResult, type NativeForm } from '#lib/engine/helpers.js';
import { Fl, flagsToEflags, NONE, Slot, Yield } from '#lib/engine/state.js';
import type { IrBuilder } from '#lib/engine/ir/builder.js';
import { canRun, Jit } from './jit.js';

const V = [0, 1, 2, 3].map((k) => Slot.VEC + k * 8) as [number, number, number, number];
const form = (o: Partial<NativeForm> & Pick<NativeForm, 'opcode' | 'form'>): NativeForm => ({ pp: 1, map: 1, w: 0, feature: 'sse2', ...o });

interface Case {
  name: string;
  native: NativeForm;
  w?: number;
  imm?: number;
  fw?: number;
  fp?: boolean;
  operands?: readonly [number, number, number, number];
  check: (get: (slot: number, word: number) => number, f64: (slot: number, k: number) => number) => unknown;
  want: unknown;
}

const words = (s: number, n: number) => (get: (slot: number, word: number) => number): number[] => Array.from({ length: n }, (_, i) => get(s, i));

const CASES: Case[] = [
  { name: 'paddd', native: form({ opcode: 0xfe, form: 'rvm' }), check: words(V[0], 8), want: [11, 22, 33, 44, -1, -1, -1, -1] },
  { name: 'paddd ymm', w: 5, native: form({ opcode: 0xfe, form: 'rvm' }), check: words(V[0], 8), want: [11, 22, 33, 44, 55, 66, 77, 88] },
  { name: 'paddd mm', w: 3, native: form({ pp: 0, opcode: 0xfe, form: 'rvm', mmx: true }), check: words(V[0], 4), want: [11, 22, -1, -1] },
  { name: 'pshufd', imm: 0x1b, native: form({ opcode: 0x70, form: 'rmi' }), check: words(V[0], 4), want: [4, 3, 2, 1] },
  { name: 'pslld imm', imm: 4, native: form({ opcode: 0x72, digit: 6, form: 'vmi' }), check: words(V[0], 5), want: [16, 32, 48, 64, -1] },
  { name: 'pslld imm ymm', w: 5, imm: 4, native: form({ opcode: 0x72, digit: 6, form: 'vmi' }), check: words(V[0], 8), want: [16, 32, 48, 64, 80, 96, 112, 128] },
  { name: 'sqrtsd keeps the upper half', fp: true, operands: [V[0], V[3], NONE, NONE], native: form({ pp: 3, opcode: 0x51, form: 'rm' }), check: (g, f) => [f(V[0], 0), g(V[0], 2), g(V[0], 3)], want: [1.5, -1, -1] },
  { name: 'addsd', fp: true, operands: [V[0], V[3], V[3], NONE], native: form({ pp: 3, opcode: 0x58, form: 'rvm' }), check: (_g, f) => [f(V[0], 0), f(V[0], 1)], want: [4.5, -8] },
  { name: 'comisd', fp: true, fw: Fl.ALL, operands: [NONE, V[3], V[0], NONE], native: form({ opcode: 0x2f, form: 'cmp' }), check: () => undefined, want: undefined },
  { name: 'cvtsi2sd', fp: true, operands: [V[0], 9, NONE, NONE], native: form({ pp: 3, w: 1, opcode: 0x2a, form: 'gr' }), check: (g, f) => [f(V[0], 0), g(V[0], 2)], want: [-7, -1] },
  { name: 'cvttsd2si', fp: true, operands: [10, V[3], NONE, NONE], native: form({ pp: 3, w: 1, opcode: 0x2c, form: 'rg' }), check: (g) => [g(10, 0), g(10, 1)], want: [2, 0] },
  { name: 'pmovmskb', operands: [10, V[0], NONE, NONE], native: form({ opcode: 0xd7, form: 'rg' }), check: (g) => [g(10, 0), g(10, 1)], want: [0xffff, 0] },
  { name: 'pextrw', imm: 2, operands: [10, V[1], NONE, NONE], native: form({ opcode: 0xc5, form: 'rgi' }), check: (g) => [g(10, 0), g(10, 1)], want: [2, 0] },
  { name: 'pinsrw', imm: 2, operands: [V[0], V[1], 9, NONE], native: form({ opcode: 0xc4, form: 'gri' }), check: words(V[0], 4), want: [1, 0xfff9, 3, 4] },
  { name: 'pblendvb', operands: [V[0], V[1], V[2], V[0]], native: form({ map: 2, opcode: 0x10, form: 'rvmr', feature: 'sse4_1' }), check: words(V[0], 4), want: [10, 20, 30, 40] },
  { name: 'vfmadd231pd', fp: true, operands: [V[3], V[3], V[3], NONE], native: form({ map: 2, w: 1, opcode: 0xb8, form: 'fma', feature: 'fma', vexOnly: true }), check: (_g, f) => [f(V[3], 0), f(V[3], 1)], want: [2.25 + 2.25 * 2.25, -8 + 64] },
];

describe.skipIf(!canRun)('vector ops in x64 code', () => {
  for (const c of CASES) {
    it(c.name, () => {
      const jit = new Jit();
      const cpu = jit.cpu;
      const view = new DataView(cpu.V.buffer);
      let called = 0;
      const id = cpu.helpers.define(c.name, () => {
        called++;
        return HelperResult.CONTINUE;
      }, { native: c.native, fp: c.fp ?? false, writesFlags: c.fw ?? 0 });
      const [d, a, b, s] = c.operands ?? [V[0], V[1], c.native.form === 'rvm' ? V[2] : NONE, NONE];
      const make = (nativeFp: boolean): void => {
        for (let i = 0; i < 8; i++) {
          cpu.V[V[0] * 2 + i] = -1;
          cpu.V[V[1] * 2 + i] = i + 1;
          cpu.V[V[2] * 2 + i] = (i + 1) * 10;
        }
        view.setFloat64(V[3] * 8, 2.25, true);
        view.setFloat64(V[3] * 8 + 8, -8, true);
        cpu.set(9, -7n);
        cpu.set(10, -1n);
        cpu.setFlags(0x8d5);
        jit.run(jit.block((ir) => ir.vop(id, c.w ?? 4, d, a, b, s, c.imm ?? 0, c.fw ?? 0), { nativeFp }));
      };
      make(true);
      expect(called).toBe(0);
      expect(c.check((slot, word) => cpu.V[slot * 2 + word]!, (slot, k) => view.getFloat64(slot * 8 + k * 8, true))).toEqual(c.want);
      // -1 as a double is a NaN: unordered.
      expect(flagsToEflags(cpu.V[0]!)).toBe(c.fw === undefined ? 0x8d5 : 0x45);
      make(false);
      expect(called).toBe(c.fp === true ? 1 : 0);
      expect(jit.yields[Yield.CALL]).toBe(called);
    });
  }

  it('falls back to TypeScript without the host feature, and for MMX forms that differ', () => {
    const jit = new Jit(['popcnt']);
    const cpu = jit.cpu;
    let called = 0;
    const define = (name: string, native: NativeForm): number => cpu.helpers.define(name, () => {
      called++;
      return HelperResult.CONTINUE;
    }, { native });
    const fma = define('fma', form({ map: 2, opcode: 0xb8, form: 'fma', feature: 'fma', vexOnly: true }));
    const pack = define('pack', form({ opcode: 0x63, form: 'rvm', mmx: true }));
    const wide = define('wide', form({ opcode: 0xfe, form: 'rvm' }));
    jit.run(jit.block((b) => {
      b.vop(fma, 4, V[0], V[1], V[2]);
      b.vop(pack, 3, Slot.X87, Slot.X87 + 2, Slot.X87 + 4);
      b.vop(wide, 5, V[0], V[1], V[2]);
    }));
    expect(called).toBe(3);
  });

  describe('pinned vector registers', () => {
    /** As in a block of a guest: paddd V0 += V1; the rest from `make`. */
    const run = (make: (b: IrBuilder, add: (d: number) => void, see: () => void) => void): { jit: Jit; seen: number[][] } => {
      const jit = new Jit();
      const cpu = jit.cpu;
      const paddd = cpu.helpers.define('paddd', () => HelperResult.CONTINUE, { native: form({ opcode: 0xfe, form: 'rvm' }) });
      const seen: number[][] = [];
      const look = cpu.helpers.define('look', () => {
        seen.push([...cpu.V.subarray(V[0] * 2, V[0] * 2 + 8)]);
        cpu.V[V[1] * 2] = 100;
        return HelperResult.CONTINUE;
      });
      for (let i = 0; i < 8; i++) {
        cpu.V[V[0] * 2 + i] = i;
        cpu.V[V[1] * 2 + i] = 10;
      }
      cpu.set(9, 0x2ff8n);
      jit.run(jit.block((b) => make(b, (d) => b.vop(paddd, 4, d, d, V[1]), () => b.call(look))));
      expect(cpu.V[Slot.X_FPU * 2]).toBe(0);
      return { jit, seen };
    };

    it('helpers see them, and their changes are seen', () => {
      const { jit, seen } = run((_b, add, see) => {
        add(V[0]);
        see();
        add(V[0]);
      });
      expect(seen).toEqual([[10, 11, 12, 13, 4, 5, 6, 7]]);
      expect([...jit.cpu.V.subarray(V[0] * 2, V[0] * 2 + 5)]).toEqual([110, 21, 22, 23, 4]);
    });

    it('accesses that miss the TLB store and load them', () => {
      const { jit } = run((b, add) => {
        add(V[0]);
        b.stv(4, 9, V[0]);
        add(V[0]);
        b.ldv(3, V[2], 9);
        b.ldv(4, V[3], 9);
        add(V[3]);
      });
      const v = jit.cpu.V;
      expect([...v.subarray(V[0] * 2, V[0] * 2 + 4)]).toEqual([20, 21, 22, 23]);
      expect([...v.subarray(V[2] * 2, V[2] * 2 + 4)]).toEqual([10, 11, 0, 0]);
      expect([...v.subarray(V[3] * 2, V[3] * 2 + 4)]).toEqual([20, 21, 22, 23]);
    });

    it('scalar ops on parts of them', () => {
      const { jit } = run((b, add) => {
        add(V[0]);
        b.mov(3, 10, V[0] + 1);
        b.mov(3, V[0], 10);
        add(V[0]);
      });
      const v = jit.cpu.V;
      expect([...v.subarray(10 * 2, 10 * 2 + 2)]).toEqual([12, 13]);
      expect([...v.subarray(V[0] * 2, V[0] * 2 + 4)]).toEqual([22, 23, 22, 23]);
    });

    it('vector ops on parts of them', () => {
      const jit = new Jit();
      const cpu = jit.cpu;
      const define = (name: string, native: NativeForm): number => cpu.helpers.define(name, () => HelperResult.CONTINUE, { native });
      const paddd = define('paddd', form({ opcode: 0xfe, form: 'rvm' }));
      const movq = define('movq', form({ w: 1, opcode: 0x6e, form: 'gr' }));
      const back = define('movq back', form({ w: 1, opcode: 0x7e, form: 'mg' }));
      for (let i = 0; i < 4; i++) cpu.V[V[0] * 2 + i] = cpu.V[V[1] * 2 + i] = i + 1;
      cpu.set(9, 0x2000n);
      jit.run(jit.block((b) => {
        b.vop(paddd, 4, V[0], V[0], V[1]);
        b.vop(movq, 4, V[2], V[0] + 1);
        b.vop(back, 4, V[1] + 1, V[0]);
        b.vop(paddd, 4, V[0], V[0], V[1]);
        b.stv(3, 9, V[0] + 1);
        b.ldv(3, V[3], 9);
      }));
      expect([...cpu.V.subarray(V[3] * 2, V[3] * 2 + 4)]).toEqual([8, 12, 0, 0]);
      expect([...cpu.V.subarray(V[2] * 2, V[2] * 2 + 4)]).toEqual([6, 8, 0, 0]);
      expect([...cpu.V.subarray(V[0] * 2, V[0] * 2 + 4)]).toEqual([3, 6, 8, 12]);
    });
  });

  it('guest exception flags reach MXCSR', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const div = cpu.helpers.define('divsd', () => HelperResult.CONTINUE, { native: form({ pp: 3, opcode: 0x5e, form: 'rvm' }), fp: true });
    const view = new DataView(cpu.V.buffer);
    view.setFloat64(V[1] * 8, 1, true);
    view.setFloat64(V[2] * 8, 3, true);
    // Round up, invalid unmasked for the guest.
    cpu.V[Slot.MXCSR * 2] = 0x1f00 | 0x4000;
    jit.run(jit.block((b) => b.vop(div, 4, V[0], V[1], V[2])));
    expect(view.getFloat64(V[0] * 8, true)).toBe(1 / 3 + 2 ** -54);
    expect(cpu.V[Slot.MXCSR * 2]).toBe(0x1f00 | 0x4000 | 0x20);
  });
});
