/** Random blocks, fixed seeds: generated code against the interpreter, whole state compared. */
import { describe, expect, it } from 'vitest';
import { GuestFault } from '#lib/engine/cpu.js';
import { dumpHostCode } from '#lib/engine/host/x64/dump.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { IrBuilder } from '#lib/engine/ir/builder.js';
import { printIr } from '#lib/engine/ir/print.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { Slot } from '#lib/engine/state.js';
import { fakeCpu, Random, type FakeCpu } from '../fake-cpu.js';
import { defineHelper, Generator, prepare, REGS } from './generator.js';
import { canRun, Jit } from './jit.js';

describe.skipIf(!canRun)('random blocks', () => {
  for (let seed = 1; seed <= 12; seed++) {
    it(`seed ${seed}`, () => {
      const jit = new Jit();
      const a = jit.cpu;
      const b = fakeCpu();
      const interp = new Interpreter();
      const [ha, hb] = [defineHelper(a), defineHelper(b)];
      expect(ha).toBe(hb);
      prepare(a);
      prepare(b);
      const rnd = new Random(seed * 0x9e3779b1);
      for (let round = 0; round < 250; round++) {
        const n = 2 + rnd.below(30);
        const s = rnd.u32();
        // The same block twice, once per constant pool.
        const [ia, ib] = [a, b].map((cpu) => {
          const ir = new IrBuilder(cpu.pool);
          ir.begin();
          const g = new Generator(ir, new Random(s | 1), ha);
          for (let i = 0; i < n; i++) g.op();
          g.end();
          return ir;
        }) as [IrBuilder, IrBuilder];
        verifyIr(ia, { precise: false });
        const code = jit.compile(ia);
        const block = compileForInterp(ib);
        for (let pass = 0; pass < 2; pass++) {
          const f = rnd.below(0x1000) & 0x8d5;
          for (const r of REGS) {
            const v = rnd.u64();
            a.set(r, v);
            b.set(r, v);
          }
          for (const cpu of [a, b]) {
            cpu.setFlags(f);
            cpu.set(Slot.PCBASE, 0x40_0000n);
            cpu.set(Slot.PC, 0n);
            cpu.log.length = 0;
            for (let i = 0; i < 0x4000; i++) cpu.map.ram8[i] = i * 13;
          }
          let [fa, fb] = [-1, -1];
          try {
            jit.run(code);
          } catch (e) {
            if (!(e instanceof GuestFault)) throw e;
            fa = e.vector;
          }
          try {
            interp.runBlock(b, block);
          } catch (e) {
            if (!(e instanceof GuestFault)) throw e;
            fb = e.vector;
          }
          // Which divisions are done in line is up to the executor.
          const accesses = (cpu: FakeCpu): string[] => cpu.log.filter((x) => x !== 'divide');
          const state = (cpu: FakeCpu): string[] => [
            ...REGS.map((r) => `r${r} ${cpu.get(r).toString(16)}`), `flags ${cpu.V[0]! & 0xffff}`, ...accesses(cpu),
            `insn ${fa !== -1 ? cpu.V[Slot.X_INSN * 2] : 0}`,
          ];
          const [sa, sb] = [state(a), state(b)];
          if (fa === -1) {
            sa.push(`pc ${a.get(Slot.PC).toString(16)}`);
            sb.push(`pc ${b.get(Slot.PC).toString(16)}`);
          }
          if (fa !== fb || sa.join() !== sb.join() || Buffer.compare(a.map.ram8.subarray(0, 0x4000), b.map.ram8.subarray(0, 0x4000)) !== 0) {
            const bytes = new Uint8Array(jit.backend.exec.buffer).slice(code.start, code.end);
            const diff = [`fault ${fa}`, ...sa].map((x, i) => [x, [`fault ${fb}`, ...sb][i]]).filter(([x, y]) => x !== y);
            throw new Error(`round ${round}: ${diff.map((d) => d.join(' not ')).join('; ')}\n${printIr(ia)}\n${dumpHostCode(bytes, code.start)}`);
          }
        }
      }
    });
  }
});
