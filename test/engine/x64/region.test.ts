/** Regions: random loops of random blocks as one piece of code against the interpreter going from block to block. */
import { describe, expect, it } from 'vitest';
import { GuestFault } from '#lib/engine/cpu.js';
import { dumpHostCode } from '#lib/engine/host/x64/dump.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { IrBuilder } from '#lib/engine/ir/builder.js';
import { Op } from '#lib/engine/ir/ops.js';
import type { PassOptions } from '#lib/engine/ir/passes.js';
import { printIr } from '#lib/engine/ir/print.js';
import { appendBlock, type Region, type RegionNode, targets } from '#lib/engine/ir/region.js';
import { REC } from '#lib/engine/ir/ops.js';
import { Cc, dropHints, ExitCode, Fl, HINT_MISSES, Slot, Yield } from '#lib/engine/state.js';
import { fakeCpu, Random, type FakeCpu } from '../fake-cpu.js';
import { defineHelper, Generator, prepare, REGS } from './generator.js';
import { canRun, Jit } from './jit.js';

const PAGE = 0x40_0000n;
/** A register that the generator does not know: how many more backward jumps there may be. */
const FUEL = 26;
const at = (k: number): number => 0x40 * (k + 1);
const EXIT = 0x900;

/** Node k of n: random ops, then a jump. Backward ones end when the fuel does. */
function block(b: IrBuilder, rnd: Random, k: number, n: number, helper: number): void {
  b.begin();
  const g = new Generator(b, rnd, helper);
  const length = rnd.below(8);
  for (let i = 0; i < length; i++) g.op();
  b.insn(at(k) + 0x20, at(k) + 0x24);
  const anywhere = (): number => (rnd.below(4) ? at(rnd.below(n)) : EXIT + rnd.below(16));
  const forward = (): number => (rnd.below(4) ? at(k + 1 + rnd.below(n)) : EXIT);
  switch (rnd.below(8)) {
    case 0:
    case 1:
    case 2:
      // The usual loop: the flags of the decrement decide.
      b.alu(Op.SUB, 2, FUEL, FUEL, b.k(1), Fl.ALL);
      b.jcc(Cc.NE, anywhere(), EXIT);
      break;
    case 3:
      b.alu(Op.ADD, 3, FUEL, FUEL, b.k(-1), rnd.below(2) ? Fl.ALL : 0);
      b.jnz(2, FUEL, anywhere(), EXIT);
      break;
    case 4:
      b.alu(Op.SUB, 3, -1, rnd.pick(REGS), rnd.pick(REGS), Fl.ALL);
      b.jcc(rnd.below(16), forward(), forward());
      break;
    case 5:
      b.jmp(forward());
      break;
    case 6:
      b.jcc(rnd.below(16), forward(), forward());
      break;
    default:
      if (rnd.below(2)) b.exit(ExitCode.SHADOW, 0x44);
      else b.jmpi(rnd.pick(REGS), 0);
  }
}

/** Appends the blocks and links those that lead to each other. Offsets that are no node's leave. */
function region(blocks: readonly IrBuilder[], ir: IrBuilder): Region {
  ir.begin();
  const nodes: RegionNode[] = [];
  const node = (offset: number): number => (offset >= at(0) && offset < at(blocks.length) ? offset / 0x40 - 1 : -1);
  blocks.forEach((b, k) => {
    const first = ir.n;
    expect(appendBlock(ir, b)).toBe(true);
    const p = (b.n - 1) * REC;
    const op: Op = b.buf[p]! & 0xff;
    const [t, n] = targets(b.buf, p);
    const opaque = op === Op.EXIT || op === Op.JMPI;
    nodes.push({ offset: at(k), first, end: ir.n, taken: node(t), next: node(n), leaves: opaque || node(t) < 0 || (op !== Op.JMP && node(n) < 0), opaque, loop: false });
  });
  nodes.forEach((x, k) => {
    for (const t of [x.taken, x.next]) if (t >= 0 && t <= k) nodes[t]!.loop = true;
  });
  return { ir, nodes, from: 0, to: 4096 };
}

/** Runs blocks until one goes somewhere else. */
function interpret(cpu: FakeCpu, blocks: readonly IrBuilder[]): ExitCode {
  const interp = new Interpreter();
  const compiled = blocks.map((b) => compileForInterp(b));
  for (let k = 0; ; ) {
    const code = interp.runBlock(cpu, compiled[k]!);
    const offset = Number(cpu.get(Slot.PC) - PAGE);
    const b = blocks[k]!;
    const to = targets(b.buf, (b.n - 1) * REC).includes(offset) ? offset / 0x40 - 1 : -1;
    if (to < 0 || to >= blocks.length) return code;
    k = to;
  }
}

describe.skipIf(!canRun)('regions', () => {
  // With everything, and without one of what regions have a share in.
  const off: readonly (keyof PassOptions)[] = ['lazyFlags', 'pageHints', 'returns'];
  for (let seed = 1; seed <= 8 + off.length; seed++) {
    const without = off[seed - 9];
    it(`seed ${seed}${without === undefined ? '' : `, without ${without}`}`, () => {
      const jit = new Jit(undefined, undefined, without === undefined ? {} : { [without]: false });
      const a = jit.cpu;
      const b = fakeCpu();
      const helper = defineHelper(a);
      expect(defineHelper(b)).toBe(helper);
      prepare(a);
      prepare(b);
      const rnd = new Random(seed * 0x9e37_79b1);
      for (let round = 0; round < 200; round++) {
        const n = 1 + rnd.below(6);
        const s = rnd.u32() | 1;
        const [ba, bb] = [a, b].map((cpu) => {
          const r = new Random(s);
          return Array.from({ length: n }, (_, k) => {
            const ir = new IrBuilder(cpu.pool);
            block(ir, r, k, n, helper);
            return ir;
          });
        }) as [IrBuilder[], IrBuilder[]];
        const r = region(ba, new IrBuilder(a.pool));
        const code = jit.region(r);
        for (let pass = 0; pass < 3; pass++) {
          const f = rnd.below(0x1000) & 0x8d5;
          for (const reg of [...REGS, FUEL]) {
            const v = reg === FUEL ? BigInt(1 + rnd.below(20)) : rnd.u64();
            a.set(reg, v);
            b.set(reg, v);
          }
          for (const cpu of [a, b]) {
            cpu.setFlags(f);
            cpu.set(Slot.PCBASE, PAGE);
            cpu.set(Slot.PC, 0n);
            cpu.log.length = 0;
            for (let i = 0; i < 0x4000; i++) cpu.map.ram8[i] = i * 13;
          }
          const outcome = (run: () => unknown): number => {
            try {
              run();
              return -1;
            } catch (e) {
              if (!(e instanceof GuestFault)) throw e;
              return e.vector;
            }
          };
          const [fa, fb] = [outcome(() => jit.run(code)), outcome(() => interpret(b, bb))];
          const state = (cpu: FakeCpu, fault: number): string[] => [
            `fault ${fault}`, ...[...REGS, FUEL].map((x) => `r${x} ${cpu.get(x).toString(16)}`), `flags ${cpu.V[0]! & 0xffff}`,
            ...cpu.log.filter((x) => x !== 'divide'), fault < 0 ? `pc ${cpu.get(Slot.PC).toString(16)}` : `insn ${cpu.V[Slot.X_INSN * 2]}`,
          ];
          const [sa, sb] = [state(a, fa), state(b, fb)];
          if (sa.join() !== sb.join() || Buffer.compare(a.map.ram8.subarray(0, 0x4000), b.map.ram8.subarray(0, 0x4000)) !== 0) {
            const bytes = new Uint8Array(jit.backend.exec.buffer).slice(code.start, code.end);
            const diff = sa.map((x, i) => [x, sb[i]]).filter(([x, y]) => x !== y);
            throw new Error(`round ${round}: ${diff.map((d) => d.join(' not ')).join('; ')}\n${JSON.stringify(r.nodes)}\n${printIr(r.ir)}\n${dumpHostCode(bytes, code.start)}`);
          }
        }
      }
    });
  }

  describe('page hints', () => {
    /** do { r10 += [r9]; (or [r9] = r10, r10 += 1) r9 += r11 } while (--FUEL) */
    const loop = (jit: Jit, w: number, store: boolean, off = 0, addendsOff = 0): ReturnType<Jit['region']> => {
      const ir = new IrBuilder(jit.cpu.pool);
      ir.begin();
      ir.insn(at(0), at(0) + 4);
      if (store) {
        ir.st(w, 9, 10);
        ir.alu(Op.ADD, 3, 10, 10, ir.k(1));
      } else {
        const t = ir.temp();
        ir.ld(w, t, 9);
        ir.alu(Op.ADD, 3, 10, 10, t);
      }
      ir.alu(Op.ADD, 3, 9, 9, 11);
      ir.alu(Op.SUB, 2, FUEL, FUEL, ir.k(1), Fl.ALL);
      ir.jcc(Cc.NE, at(0), EXIT);
      return jit.region(region([ir], new IrBuilder(jit.cpu.pool)), off, addendsOff);
    };
    const run = (jit: Jit, code: ReturnType<Jit['region']>, from: number, step: number, count: number): bigint => {
      const { cpu } = jit;
      cpu.set(9, BigInt(from));
      cpu.set(10, 0n);
      cpu.set(11, BigInt(step));
      cpu.set(FUEL, BigInt(count));
      cpu.set(Slot.PCBASE, PAGE);
      jit.run(code);
      return cpu.get(10);
    };
    const setUp = (): Jit => {
      const jit = new Jit();
      for (let i = 0; i < 0x8000; i++) jit.cpu.map.ram8[i] = i * 7 + (i >> 8);
      for (let k = 1; k < 8; k++) jit.cpu.mapPage(BigInt(k * 0x1000), k * 0x1000, true);
      return jit;
    };

    it('follow an access from page to page, whatever its alignment', () => {
      const jit = setUp();
      const view = jit.cpu.map.ramView;
      for (const [w, off, addendsOff] of [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [0, 1, 0], [3, 1, 0], [3, 1, 1]] as const) {
        const code = loop(jit, w, false, off, addendsOff);
        for (const [from, step, count] of [[0x1000, 1, 100], [0x1001, 8, 600], [0x1ff0, 4, 9], [0x1000, 4093, 6], [0x1000, 0x1000, 7], [0x3ffc, 1, 5]] as const) {
          let want = 0n;
          for (let i = 0; i < count; i++) {
            for (let k = 0; k < 1 << w; k++) want += BigInt(view.getUint8(from + i * step + k)) << BigInt(8 * k);
          }
          expect(run(jit, code, from, step, count)).toBe(BigInt.asUintN(64, want));
        }
      }
    });

    it('are used: a loop within a page leaves its hint once', () => {
      const jit = setUp();
      const code = loop(jit, 3, false);
      run(jit, code, 0x2000, 8, 500);
      expect(code.hints).toHaveLength(1);
      expect(jit.cpu.V[(HINT_MISSES >> 2) + code.hints![0]!]).toBe(1);
      // Switched off, it is not asked.
      const plain = loop(jit, 3, false, 1, 1);
      run(jit, plain, 0x3000, 8, 500);
      expect(jit.cpu.V[(HINT_MISSES >> 2) + plain.hints![0]!]).toBe(0);
    });

    it('are addends where the page changes too often: only another addend is a miss, and it is never believed', () => {
      const jit = setUp();
      const { cpu } = jit;
      const code = loop(jit, 0, false, 1);
      const misses = (HINT_MISSES >> 2) + code.hints![0]!;
      const sum = (pages: readonly number[]): bigint => BigInt(pages.reduce((n, page) => n + cpu.map.ram8[page + 0x10]!, 0));
      // All seven pages have the same addend.
      expect(run(jit, code, 0x1010, 0x1000, 7)).toBe(sum([0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000]));
      expect(cpu.V[misses]).toBe(1);
      cpu.mapPage(0x3000n, 0x5000, true);
      expect(run(jit, code, 0x1010, 0x1000, 7)).toBe(sum([0x1000, 0x2000, 0x5000, 0x4000, 0x5000, 0x6000, 0x7000]));
      expect(cpu.V[misses]).toBe(3);
      // Stores do not guess.
      const store = loop(jit, 0, true, 1);
      run(jit, store, 0x1010, 0x1000, 7);
      expect(cpu.V[(HINT_MISSES >> 2) + store.hints![0]!]).toBe(0);
    });

    it('end with the translation they come from, and with the right to write', () => {
      const jit = setUp();
      const { cpu } = jit;
      const load = loop(jit, 0, false);
      const store = loop(jit, 0, true);
      const before = run(jit, load, 0x2000, 1, 10);
      run(jit, store, 0x2100, 1, 10);
      expect(jit.yields[Yield.STORE]).toBe(0);
      // The linear page is another one now, and read-only.
      cpu.mapPage(0x2000n, 0x5000, false);
      dropHints(cpu.V);
      const after = run(jit, load, 0x2000, 1, 10);
      let want = 0;
      for (let i = 0; i < 10; i++) want += cpu.map.ram8[0x5000 + i]!;
      expect(after).toBe(BigInt(want));
      expect(after).not.toBe(before);
      run(jit, store, 0x2100, 1, 10);
      expect(jit.yields[Yield.STORE]).toBe(10);
    });
  });

  it('a pending request ends a loop at its head, with exact flags', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const stop = cpu.helpers.define('stop', () => {
      cpu.set(Slot.PENDING, 1n);
      return 0;
    });
    const ir = new IrBuilder(cpu.pool);
    ir.begin();
    ir.insn(at(0), at(0) + 4);
    ir.call(stop);
    ir.alu(Op.SUB, 3, 9, 9, ir.k(1), Fl.ALL);
    ir.jcc(Cc.NE, at(0), EXIT);
    const code = jit.region(region([ir], new IrBuilder(cpu.pool)));
    cpu.set(9, 0n);
    cpu.set(Slot.PCBASE, PAGE);
    expect(jit.run(code)).toBe(ExitCode.PENDING);
    expect(cpu.get(Slot.PC)).toBe(PAGE + BigInt(at(0)));
    expect(cpu.get(9)).toBe(0xffff_ffff_ffff_ffffn);
    // 0 - 1: CF, PF, AF, SF.
    expect(cpu.V[0]! & 0xd501).toBe(0x9500);
  });
});
