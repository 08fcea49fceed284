/** Regions: random loops of random blocks as one piece of code against the interpreter going from block to block. */
import { describe, expect, it } from 'vitest';
import { GuestFault } from '#lib/engine/cpu.js';
import { dumpHostCode } from '#lib/engine/host/x64/dump.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { IrBuilder } from '#lib/engine/ir/builder.js';
import { Op } from '#lib/engine/ir/ops.js';
import { printIr } from '#lib/engine/ir/print.js';
import { appendBlock, type Region, type RegionNode, targets } from '#lib/engine/ir/region.js';
import { REC } from '#lib/engine/ir/ops.js';
import { Cc, ExitCode, Fl, Slot } from '#lib/engine/state.js';
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
  for (let seed = 1; seed <= 8; seed++) {
    it(`seed ${seed}`, () => {
      const jit = new Jit();
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
