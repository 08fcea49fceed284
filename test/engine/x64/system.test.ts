/** CALLIF, TIME, COPY, FILL and SETMODE, on the interpreter and as machine code. */
import { describe, expect, it } from 'vitest';
import { HelperResult } from '#lib/engine/helpers.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { IrBuilder } from '#lib/engine/ir/builder.js';
import { Op } from '#lib/engine/ir/ops.js';
import { runPasses } from '#lib/engine/ir/passes.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { Access, ExitCode, Fl, NONE, Slot, Yield } from '#lib/engine/state.js';
import { type FakeCpu, Random } from '../fake-cpu.js';
import { canRun, Jit, UNPINNED } from './jit.js';

const [R0, R1, R2, R3] = [8, 9, 10, 11] as const;
const W0123 = [0, 1, 2, 3];
const BASE = 0xffff_8000_1234_4000n;

/** Defines a helper that notes its operands and writes to registers, pinned and not. */
function define(cpu: FakeCpu, calls: unknown[], result = HelperResult.CONTINUE): number {
  return cpu.helpers.define('test', (_c, dst, a, b, c, imm) => {
    calls.push([dst, a === NONE ? NONE : cpu.get(a), b, c, imm]);
    cpu.set(R2, 0x77n);
    cpu.set(UNPINNED, 0x88n);
    if (dst !== NONE) cpu.set(dst, 0x1234_5678_9abc_def0n);
    return result;
  });
}

describe.skipIf(!canRun)('conditional calls', () => {
  it('call if the low bits are set, and go on with the state as the helper left it', () => {
    for (const w of W0123) {
      for (const slot of [R0, UNPINNED]) {
        const jit = new Jit();
        const { cpu } = jit;
        const calls: unknown[] = [];
        const h = define(cpu, calls);
        const make = (b: IrBuilder): void => {
          const t = b.temp();
          b.alu(Op.ADD, 3, t, R3, b.k(1), 0);
          b.alu(Op.SUB, 2, NONE, R1, b.k(1), Fl.ALL);
          b.callIf(h, w, slot, t, 5);
          b.alu(Op.ADD, 3, R1, R2, t, 0);
        };
        const c = jit.block(make);
        for (const v of [0n, 1n, 1n << BigInt((8 << w) - 1), w < 3 ? 1n << BigInt(8 << w) : 0n]) {
          const taken = (v & ((1n << BigInt(8 << w)) - 1n)) !== 0n;
          const start = (): void => {
            calls.length = 0;
            cpu.set(R1, 1n);
            cpu.set(R2, 2n);
            cpu.set(R3, 40n);
            cpu.set(slot, v);
          };
          const check = (): void => {
            expect(calls).toEqual(taken ? [[NONE, 41n, NONE, NONE, 5]] : []);
            expect(cpu.get(R1)).toBe(taken ? 0x77n + 41n : 43n);
            expect(cpu.V[0]! & 0x4000).toBe(0x4000);
          };
          start();
          expect(jit.run(c)).toBe(ExitCode.CHAIN);
          check();
          start();
          const b = new IrBuilder(cpu.pool);
          b.begin();
          b.insn(0x10, 0x14);
          make(b);
          b.jmp(0x14);
          runPasses(b, cpu.helpers);
          expect(new Interpreter().runBlock(cpu, compileForInterp(b))).toBe(ExitCode.NEXT);
          check();
        }
      }
    }
  });
  it('abandon the block if the helper says so', () => {
    const jit = new Jit();
    const h = define(jit.cpu, [], HelperResult.DISPATCH);
    const c = jit.block((b) => {
      b.callIf(h, 2, R0, NONE);
      b.mov(3, R1, b.k(7));
    });
    jit.cpu.set(R0, 1n);
    jit.cpu.set(R1, 1n);
    expect(jit.run(c)).toBe(ExitCode.NEXT);
    expect(jit.cpu.get(R1)).toBe(1n);
  });
});

describe.skipIf(!canRun)('the counter', () => {
  it('is what the helper says without a scale, and runs with the host otherwise', () => {
    const jit = new Jit();
    const { cpu } = jit;
    const calls: unknown[] = [];
    const h = define(cpu, calls);
    const c = jit.block((b) => {
      const t = b.temp();
      b.time(h, t, 3);
      b.mov(3, R0, t);
    });
    jit.run(c);
    expect(cpu.get(R0)).toBe(0x1234_5678_9abc_def0n);
    expect(calls).toHaveLength(1);
    jit.context.run(jit.backend.address(jit.backend.stubs.readTime));
    const host = cpu.get(Slot.X_VAL);
    cpu.set(Slot.TIME_HOST, host - (1n << 20n));
    cpu.set(Slot.TIME_GUEST, 1000n << 32n);
    cpu.set(Slot.TIME_SCALE, 1n << 31n);
    jit.run(c);
    const first = cpu.get(R0);
    expect(first).toBeGreaterThanOrEqual((1000n << 32n) + (1n << 19n));
    jit.run(c);
    expect(cpu.get(R0)).toBeGreaterThanOrEqual(first);
    expect(calls).toHaveLength(1);
  });
});

describe.skipIf(!canRun)('COPY and FILL', () => {
  const setup = (): Jit => {
    const jit = new Jit();
    const { cpu } = jit;
    cpu.mmuIdx = 2;
    // Four pages in a row in another order in RAM; the last may only be read.
    [3, 1, 2, 0].forEach((ram, i) => cpu.mapPage(BASE + BigInt(i * 0x1000), ram * 0x1000, i < 3, 2));
    return jit;
  };
  const at = (off: number): number => [3, 1, 2, 0][off >> 12]! * 0x1000 + (off & 0xfff);

  it('do what a loop over elements does, up to the first page without an entry', () => {
    const jit = setup();
    const { cpu } = jit;
    const ram = cpu.map.ram8;
    const rnd = new Random(7);
    for (const w of W0123) {
      const copy = jit.block((b) => {
        const t = b.temp();
        b.bulk(Op.COPY, w, t, R0, R1, R2);
        b.mov(3, R3, t);
      });
      const fill = jit.block((b) => {
        const t = b.temp();
        b.bulk(Op.FILL, w, t, R0, R1, R2);
        b.mov(3, R3, t);
      });
      const n = 1 << w;
      for (let round = 0; round < 300; round++) {
        const filling = round % 3 === 0;
        // Often overlapping, often near a page end.
        const to = rnd.below(0x3000);
        const from = rnd.below(2) === 0 ? Math.min(0x3fff, Math.max(0, to + rnd.below(40) - 20)) : rnd.below(0x4000);
        const count = rnd.below(4) === 0 ? rnd.below(3) : rnd.below(3000);
        for (let i = 0; i < 0x4000; i++) ram[i] = rnd.u32();
        const want = ram.slice(0, 0x4000);
        const value = rnd.u64();
        let done = 0;
        for (; done < count; done++) {
          const d = to + done * n;
          const s = from + done * n;
          if ((d & 0xfff) + n > 4096 || d >= 0x3000 || (!filling && ((s & 0xfff) + n > 4096 || s >= 0x4000))) break;
          const element = Array.from({ length: n }, (_, k) => (filling ? Number((value >> BigInt(8 * k)) & 0xffn) : want[at(s) + k]!));
          want.set(element, at(d));
        }
        cpu.set(R0, BASE + BigInt(to));
        cpu.set(R1, filling ? value : BASE + BigInt(from));
        cpu.set(R2, BigInt(count));
        jit.run(filling ? fill : copy);
        expect(cpu.get(R3)).toBe(BigInt(done));
        expect(Buffer.compare(ram.subarray(0, 0x4000), want)).toBe(0);
        expect([cpu.get(R0), cpu.get(R2)]).toEqual([BASE + BigInt(to), BigInt(count)]);
      }
    }
    expect(jit.yields[Yield.LOAD]! + jit.yields[Yield.STORE]!).toBe(0);
  });
  it('end after some pages, and keep temporaries and flags', () => {
    const jit = setup();
    const { cpu } = jit;
    for (let i = 0; i < 64; i++) cpu.mapPage(BASE + BigInt(i * 0x1000), 0x1000, true, 2);
    const c = jit.block((b) => {
      const [t, u, n] = [b.temp(), b.temp(), b.temp()];
      b.alu(Op.ADD, 3, t, R3, b.k(1), 0);
      b.alu(Op.ADD, 3, u, R3, b.k(2), 0);
      b.alu(Op.SUB, 3, NONE, R3, R3, Fl.ALL);
      b.bulk(Op.FILL, 0, n, R0, R1, R2);
      b.alu(Op.ADD, 3, R1, t, u, 0);
      b.mov(3, R2, n);
    });
    cpu.set(R0, BASE + 8n);
    cpu.set(R2, 1n << 40n);
    cpu.set(R3, 5n);
    jit.run(c);
    expect(cpu.get(R2)).toBe(16n * 4096n - 8n);
    expect(cpu.get(R1)).toBe(13n);
    expect(cpu.V[0]! & 0x4000).toBe(0x4000);
  });
});

describe.skipIf(!canRun)('SETMODE', () => {
  it('is seen by a jump within the page, whose site tells the mode', () => {
    const jit = new Jit();
    const c = jit.block((b) => {
      b.setMode(0x123, 2);
      b.jmp(0x100);
    });
    expect(jit.run(c)).toBe(ExitCode.CHAIN);
    expect([jit.cpu.V[Slot.MODE * 2], jit.cpu.V[Slot.MODE * 2 + 1]]).toEqual([0x123, 2]);
    expect(c.sites[1]).toBe(0x1100);
    const plain = jit.block((b) => b.jmp(0x100));
    expect(plain.sites[1]).toBe(0x100);
  });
  it.each(['a literal', 'a pinned register', 'a register in memory'])('sends an indirect jump to the other table, if that holds blocks of the mode: from %s', (from) => {
    const jit = new Jit();
    const { cpu } = jit;
    const target = 0xffff_ffff_8100_0020n;
    const c = jit.block((b) => {
      if (from === 'a literal') b.setMode(0x123, 2);
      else b.setModeFrom(from === 'a pinned register' ? R3 : UNPINNED, 2);
      b.jmpi(R0);
    });
    // Only the low word counts.
    for (const slot of [R3, UNPINNED]) cpu.set(slot, 0x7777_7777_0000_0123n);
    cpu.mmuIdx = 2;
    const there = jit.block((b) => {
      b.mov(3, R1, b.k(42));
      b.exit(ExitCode.HALT, 0x30);
    });
    jit.cache(target, there);
    cpu.set(R0, target);
    expect(jit.run(c)).toBe(ExitCode.NEXT);
    expect([cpu.V[Slot.MODE * 2], cpu.V[Slot.MODE * 2 + 1]]).toEqual([0x123, 2]);
    expect(cpu.get(Slot.PC)).toBe(target);
    cpu.V[Slot.JC_MODE * 2 + 2] = 0x123;
    expect(jit.run(c)).toBe(ExitCode.HALT);
    expect(cpu.get(R1)).toBe(42n);
    expect(cpu.get(Slot.PC)).toBe(0xffff_ffff_8100_0030n);
  });
  it('must be followed by a jump', () => {
    const b = new IrBuilder(new Jit().cpu.pool);
    b.begin();
    b.insn(0, 4);
    b.setMode(1, 0);
    b.ld(3, R0, R1, Access.NORMAL);
    b.jmp(4);
    expect(() => verifyIr(b)).toThrow('SETMODE must be followed by a jump');
  });
});

describe.skipIf(!canRun)('a forced look at PENDING', () => {
  it('happens before a forward jump too', () => {
    const jit = new Jit();
    const forward = (force: boolean): ReturnType<Jit['block']> =>
      jit.block((b) => {
        b.jnz(3, R0, 0x100, 0x200);
        if (force) b.checkPending();
      });
    jit.cpu.V[Slot.PENDING * 2] = 1;
    for (const v of [0n, 1n]) {
      jit.cpu.set(R0, v);
      expect(jit.run(forward(false))).toBe(ExitCode.CHAIN);
      expect(jit.run(forward(true))).toBe(ExitCode.PENDING);
      expect(jit.cpu.get(Slot.PC) & 0xfffn).toBe(v === 0n ? 0x200n : 0x100n);
    }
  });
});
