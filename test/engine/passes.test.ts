import { describe, expect, it } from 'vitest';
import { HelperRegistry, HelperResult } from '#lib/engine/helpers.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { Op } from '#lib/engine/ir/ops.js';
import { runPasses, type PassOptions } from '#lib/engine/ir/passes.js';
import { printIr } from '#lib/engine/ir/print.js';
import { FLAGS_WRITTEN, undefinedFlags } from '#lib/engine/ir/undefined.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { Access, Cc, ExitCode, Fl, NONE, Slot } from '#lib/engine/state.js';
import { fakeCpu, Random, type FakeCpu } from './fake-cpu.js';

const NAMES = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];
const [RAX, RCX, RDX, RBX, RSP] = [8, 9, 10, 11, 12] as const;
const name = (s: number): string | undefined => (s >= 256 ? `v${(s - 256) >> 3}` : NAMES[s - 8]);

const registry = new HelperRegistry<never>();
const nothing = (): HelperResult => HelperResult.CONTINUE;
const pshufb = registry.define('pshufb', nothing);
const comiss = registry.define('comiss', nothing, { writesFlags: Fl.ALL, fp: true });
const ptest = registry.define('ptest', nothing, { writesFlags: Fl.ALL });
const addps = registry.define('addps', nothing, { fp: true });
const helper = (id: number): string => registry.list[id]!.name;

function build(make: (b: IrBuilder) => void): IrBuilder {
  const b = new IrBuilder(new ConstPool());
  b.begin();
  b.insn(0x100, 0x104);
  make(b);
  if (!b.ended) b.jmp(0x104);
  verifyIr(b, { helpers: registry });
  return b;
}
function optimised(make: (b: IrBuilder) => void, o?: PassOptions): string {
  const b = build(make);
  runPasses(b, registry, o);
  verifyIr(b, { helpers: registry });
  return printIr(b, { name, helper });
}
/** Lines without the indentation of the template. */
const text = (s: TemplateStringsArray): string => s[0]!.trim().split('\n').map((l) => (l.trim().startsWith('@') ? l.trim() : `  ${l.trim()}`)).join('\n') + '\n';

describe('printer', () => {
  it('prints every kind of operand', () => {
    const b = build((b) => {
      const t = b.temp();
      b.lea(3, t, RBX, RCX, 3, -8);
      b.ld(1, RAX, t, Access.RMW);
      b.alu(Op.ADD, 2, RAX, RAX, b.k64(-1, 0), Fl.ALL);
      b.alu(Op.SUB, 3, NONE, RAX, b.k(-5), Fl.ALL);
      b.insn(0x104, 0x108);
      b.setcc(Cc.BE, RDX);
      b.alu3(Op.MUL, 3, RAX, RAX, RCX, RDX, Fl.CF | Fl.OF);
      b.alu3(Op.MUL, 3, NONE, RAX, RCX, RDX);
      b.vop(pshufb, 4, 256, 256, 264);
      b.call(ptest, NONE, RAX, NONE, NONE, 7);
      b.jcc(Cc.NE, 0x90, 0x108);
    });
    expect(printIr(b, { name, helper })).toBe(text`
      @100:
        t0 = lea.64 rbx, rcx, 3, -8
        rax = ld.16 t0, 1
        rax = add.32 rax, #0xffffffff !cpazso
        sub.64 rax, #-5 !cpazso
      @104:
        rdx = setcc.be
        rax, rdx = mul.64 rax, rcx !co
        _, rdx = mul.64 rax, rcx
        v0 = vop.128 pshufb v0, v1, _, 0
        call ptest rax, _, _, 7
        jcc.ne 144, 264
    `);
    expect(printIr(b)).toContain('s8 = ld.16 t0, 1');
  });
});

describe('dead flags', () => {
  const alu = (b: IrBuilder): void => {
    b.alu(Op.ADD, 3, RAX, RAX, RCX, Fl.ALL);
    b.alu(Op.ADD, 3, RCX, RCX, RDX, Fl.ALL);
  };
  it('clears what is overwritten', () => {
    expect(optimised(alu)).toBe(text`
      @100:
        rax = add.64 rax, rcx
        rcx = add.64 rcx, rdx !cpazso
        jmp 260
    `);
    expect(optimised(alu, { deadFlags: false })).toContain('rax = add.64 rax, rcx !cpazso');
  });
  it('keeps what conditions, carry users and faults need', () => {
    expect(optimised((b) => {
      b.alu(Op.SUB, 2, NONE, RAX, RCX, Fl.ALL);
      b.setcc(Cc.L, RDX);
      b.alu(Op.ADD, 2, RAX, RAX, RCX, Fl.ALL);
      b.alu(Op.ADC, 2, RCX, RCX, RDX, Fl.ALL);
      b.alu(Op.SUB, 2, NONE, RAX, RCX, Fl.ALL);
      b.insn(0x104, 0x108);
      b.ld(2, RAX, RBX);
      b.alu(Op.INC, 2, RAX, RAX, NONE, Fl.NOT_CF);
      b.alu(Op.AND, 2, RAX, RAX, RCX, Fl.ALL);
    })).toBe(text`
      @100:
        sub.32 rax, rcx !so
        rdx = setcc.l
        rax = add.32 rax, rcx !c
        rcx = adc.32 rcx, rdx
        sub.32 rax, rcx !cpazso
      @104:
        rax = ld.32 rbx, 0
        rax = inc.32 rax
        rax = and.32 rax, rcx !cpazso
        jmp 260
    `);
  });
  it('knows that a shift may leave flags alone unless its count is constant', () => {
    expect(optimised((b) => {
      b.alu(Op.ADD, 2, RAX, RAX, RCX, Fl.ALL);
      b.alu(Op.SHL, 2, RDX, RDX, RCX, Fl.ALL);
      b.alu(Op.SHL, 2, RBX, RBX, RCX, Fl.ALL);
    })).toBe(text`
      @100:
        rax = add.32 rax, rcx !cpazso
        rdx = shl.32 rdx, rcx !cpazso
        rbx = shl.32 rbx, rcx !cpazso
        jmp 260
    `);
    expect(optimised((b) => {
      b.alu(Op.ADD, 2, RAX, RAX, RCX, Fl.ALL);
      b.alu(Op.SHL, 2, RDX, RDX, b.k(33), Fl.ALL);
      b.alu(Op.SHL, 2, RBX, RBX, b.k(32), Fl.ALL);
    })).toBe(text`
      @100:
        rax = add.32 rax, rcx
        rdx = shl.32 rdx, #33 !cpazso
        rbx = shl.32 rbx, #32
        jmp 260
    `);
  });
  it('does not count undefined flags that keep their value as written', () => {
    expect(optimised((b) => {
      b.alu(Op.ADD, 2, RAX, RAX, RCX, Fl.ALL);
      b.alu3(Op.IMUL, 2, RDX, RDX, RCX, NONE, Fl.ALL);
    })).toContain('rax = add.32 rax, rcx !pazs');
  });
  it('takes effects of VOP from its table entry', () => {
    expect(optimised((b) => {
      b.alu(Op.ADD, 2, RAX, RAX, RCX, Fl.ALL);
      b.vop(ptest, 4, NONE, 256, 264, NONE, 0, Fl.ALL);
      b.vop(comiss, 4, NONE, 256, 264, NONE, 0, Fl.ALL);
      b.alu(Op.ADD, 2, RDX, RDX, RCX, Fl.ALL);
    })).toBe(text`
      @100:
        rax = add.32 rax, rcx
        vop.128 comiss v0, v1, _, 0
        rdx = add.32 rdx, rcx !cpazso
        jmp 260
    `);
  });
  it('drops PUTF, SETCF and compares nobody reads', () => {
    expect(optimised((b) => {
      b.emit(Op.PUTF, 2, 0, Fl.ALL, NONE, RAX, NONE, NONE, 0, 0);
      b.emit(Op.SETCF, 0, 0, Fl.CF, NONE, NONE, NONE, NONE, 2, 0);
      b.alu(Op.SUB, 2, NONE, RAX, RCX, Fl.ALL);
      b.alu(Op.XOR, 2, RAX, RAX, RAX, Fl.ALL);
    }, { deadTemps: false })).toBe(text`
      @100:
        rax = xor.32 rax, rax !cpazso
        jmp 260
    `);
  });
});

describe('folding and dead temporaries', () => {
  it('propagates constants', () => {
    expect(optimised((b) => {
      const [t, u, v, x] = [b.temp(), b.temp(), b.temp(), b.temp()];
      b.mov(2, t, b.k(-2));
      b.sx(1, 64, u, t);
      b.lea(3, v, u, t, 0, 10);
      b.alu(Op.ADD, 3, x, v, b.k(1));
      b.ld(3, RAX, x);
    })).toBe(text`
      @100:
        rax = ld.64 #0x100000007, 0
        jmp 260
    `);
  });
  it('moves constant addends into the displacement', () => {
    expect(optimised((b) => {
      const [t, u, v] = [b.temp(), b.temp(), b.temp()];
      b.mov(3, t, b.k(0x20));
      b.lea(3, u, RBX, t, 2, 8);
      b.ld(3, RAX, u);
      b.insn(0x104, 0x108);
      b.lea(3, v, t, RCX, 0, 1);
      b.st(3, v, RAX);
    })).toBe(text`
      @100:
        t1 = lea.64 rbx, _, 0, 136
        rax = ld.64 t1, 0
      @104:
        t2 = lea.64 rcx, _, 0, 33
        st.64 t2, rax, 0
        jmp 260
    `);
  });
  it('uses copies of registers only while they hold', () => {
    expect(optimised((b) => {
      const t = b.temp();
      b.mov(3, t, RAX);
      b.alu(Op.ADD, 3, RCX, RCX, t);
      b.mov(3, RAX, RDX);
      b.mov(3, RDX, t);
    })).toBe(text`
      @100:
        t0 = mov.64 rax
        rcx = add.64 rcx, rax
        rax = mov.64 rdx
        rdx = mov.64 t0
        jmp 260
    `);
  });
  it('does not use a narrow copy for a wide read', () => {
    expect(optimised((b) => {
      const t = b.temp();
      b.zx(0, t, RAX);
      b.alu(Op.ADD, 0, RCX, RCX, t);
      b.alu(Op.ADD, 2, RDX, RDX, t);
    })).toBe(text`
      @100:
        t0 = zx.8 rax
        rcx = add.8 rcx, rax
        rdx = add.32 rdx, t0
        jmp 260
    `);
  });
  it('forgets copies at calls, and leaves operands of helpers alone', () => {
    expect(optimised((b) => {
      const t = b.temp();
      b.mov(3, t, RAX);
      b.call(pshufb, NONE, t);
      b.alu(Op.ADD, 3, RCX, RCX, t);
    })).toBe(text`
      @100:
        t0 = mov.64 rax
        call pshufb t0, _, _, 0
        rcx = add.64 rcx, t0
        jmp 260
    `);
  });
  it('keeps loads and floating point, drops the rest', () => {
    expect(optimised((b) => {
      const [t, u] = [b.temp(), b.temp()];
      const [x, y, z] = [b.vtemp(), b.vtemp(), b.vtemp()];
      b.ld(3, t, RBX);
      b.alu3(Op.MUL, 3, u, t, RAX, NONE);
      b.emit(Op.MOVV, 4, 0, 0, x, 256, NONE, NONE, 0, 0);
      b.vop(pshufb, 4, y, x, 264);
      b.vop(addps, 4, z, 256, 264);
    })).toBe(text`
      @100:
        t0 = ld.64 rbx, 0
        t12 = vop.128 addps v0, v1, _, 0
        jmp 260
    `);
  });
  it('sees reads of the upper half of a vector temporary', () => {
    expect(optimised((b) => {
      const x = b.vtemp();
      b.emit(Op.MOVV, 4, 0, 0, x, 256, NONE, NONE, 0, 0);
      b.mov(3, RAX, x + 1);
    })).toContain('t0 = movv.128 v0');
  });
  it('compacts to nothing but the terminator', () => {
    const b = build((b) => {
      for (let i = 0; i < 100; i++) b.mov(3, b.temp(), RAX);
      b.exit(ExitCode.HALT, 5);
    });
    runPasses(b, registry);
    expect(b.n).toBe(1);
    expect(b.ended).toBe(true);
  });
});

describe('passes against the interpreter', () => {
  const OPS2 = [Op.ADD, Op.SUB, Op.ADC, Op.SBB, Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR, Op.SAR, Op.ROL, Op.RCR, Op.BTS, Op.BSF, Op.TZCNT, Op.IMUL, Op.INC, Op.NEG, Op.POPCNT];

  function randomBlock(b: IrBuilder, rnd: Random, length: number): void {
    b.begin();
    const temps: number[] = [];
    const reg = (): number => RAX + rnd.below(5);
    const source = (): number => {
      const k = rnd.below(6);
      if (k === 0) return b.k64(rnd.u32(), rnd.below(2) ? 0 : rnd.u32());
      if (k === 1) return b.k(rnd.pick([0, 1, -1, 31, 32, 64, 0x7fffffff]));
      return k < 4 && temps.length > 0 ? rnd.pick(temps) : reg();
    };
    const target = (): number => {
      if (rnd.below(2)) return reg();
      const t = b.temp();
      fresh.push(t);
      return t;
    };
    let fresh: number[] = [];
    for (let i = 0; i < length; i++) {
      b.insn(i, i + 1);
      fresh = [];
      const w = rnd.below(4);
      switch (rnd.below(9)) {
        case 0:
          b.mov(w, target(), source());
          break;
        case 1:
          if (w === 3) b.zx(2, target(), source());
          else b.sx(w, rnd.pick(w === 0 ? [16, 32, 64] : w === 1 ? [32, 64] : [64]), target(), source());
          break;
        case 2: {
          const t = b.temp();
          fresh.push(t);
          b.lea(1 + rnd.below(3), t, rnd.below(4) ? source() : NONE, rnd.below(3) ? source() : NONE, rnd.below(4), rnd.u32() | 0);
          break;
        }
        case 3:
          b.setcc(rnd.below(16), target());
          break;
        case 4:
          b.cmov(rnd.below(16), w, target(), source(), source());
          break;
        case 5: {
          const t = b.temp();
          b.alu(Op.AND, 3, t, source(), b.k(0xffff));
          if (rnd.below(2)) b.ld(w, target(), t);
          else b.st(w, t, source());
          break;
        }
        case 6:
          b.emit(rnd.pick([Op.GETF, Op.SETCF]), 0, 0, Fl.CF, NONE, NONE, NONE, NONE, rnd.below(3), 0);
          if ((b.buf[(b.n - 1) * 8]! & 0xff) === Op.GETF) {
            b.n--;
            b.emit(Op.GETF, 2, 0, 0, target(), NONE, NONE, NONE, 0, 0);
          }
          break;
        default: {
          const op = rnd.pick(OPS2);
          const wide = op === Op.BTS || op === Op.BSF || op === Op.TZCNT || op === Op.POPCNT;
          const unary = op === Op.INC || op === Op.NEG || op === Op.POPCNT || op === Op.TZCNT;
          const dst = (op === Op.SUB || op === Op.AND) && rnd.below(2) ? NONE : target();
          b.alu(op, wide ? 1 + rnd.below(3) : w, dst, source(), unary ? NONE : source(), rnd.below(4) ? FLAGS_WRITTEN[op]! : 0);
          break;
        }
      }
      temps.push(...fresh);
    }
    b.jcc(rnd.below(16), 0x10, 0x20);
  }

  function prepare(cpu: FakeCpu, seed: number): void {
    const rnd = new Random(seed);
    for (let i = 0; i < 5; i++) cpu.set(RAX + i, rnd.u64());
    cpu.setFlags(rnd.u32() & 0x8d5);
    cpu.map.ram8.fill(0);
    for (let i = 0; i < 0x1000; i++) cpu.map.ram32[i * 4] = rnd.u32();
  }
  const snapshot = (cpu: FakeCpu, fault: boolean): string =>
    [cpu.V[0], ...[RAX, RCX, RDX, RBX, RSP, Slot.PC].map((s) => cpu.get(s).toString(16)), cpu.V[Slot.X_INSN * 2], fault].join(' ');

  it('leaves results, flags, memory and faults as they were', () => {
    const cpu = fakeCpu();
    const interp = new Interpreter();
    let faults = 0;
    let before = 0;
    let after = 0;
    for (let seed = 1; seed <= 3000; seed++) {
      const rnd = new Random(seed * 7919);
      const b = new IrBuilder(cpu.pool);
      randomBlock(b, rnd, 4 + rnd.below(24));
      verifyIr(b, { precise: false });
      const shown = printIr(b, { name });
      const go = (): [string, Int32Array] => {
        prepare(cpu, seed);
        let fault = false;
        try {
          interp.runBlock(cpu, compileForInterp(b));
        } catch {
          fault = true;
          faults++;
          cpu.set(Slot.PC, 0n);
        }
        return [snapshot(cpu, fault), cpu.map.ram32.slice()];
      };
      cpu.V[Slot.X_INSN * 2] = 0;
      const [want, wantRam] = go();
      before += b.n;
      const options: PassOptions = seed % 4 === 0 ? {} : { fold: seed % 4 !== 1, deadFlags: seed % 4 !== 2, deadTemps: seed % 4 !== 3 };
      runPasses(b, registry, options);
      verifyIr(b, { precise: false });
      after += b.n;
      cpu.V[Slot.X_INSN * 2] = 0;
      const [got, gotRam] = go();
      const same = got === want && gotRam.every((v, i) => v === wantRam[i]);
      if (!same) expect(`${got}\n${printIr(b, { name })}`, `seed ${seed}\n${shown}`).toBe(want);
    }
    expect(after).toBeLessThan(before);
    expect(faults).toBeGreaterThan(0);
  });
});

describe('undefined flags', () => {
  it('depends on the count of shifts', () => {
    expect(undefinedFlags(Op.ADD, 2, 5)).toBe(0);
    expect(undefinedFlags(Op.SHL, 2, 0)).toBe(0);
    expect(undefinedFlags(Op.SHL, 2, 1)).toBe(Fl.AF);
    expect(undefinedFlags(Op.SHL, 2, 2)).toBe(Fl.AF | Fl.OF);
    expect(undefinedFlags(Op.SHR, 0, 9)).toBe(Fl.AF | Fl.OF | Fl.CF);
    expect(undefinedFlags(Op.ROL, 2, 3)).toBe(Fl.OF);
    expect(undefinedFlags(Op.SHLD, 1, 17)).toBe(Fl.ALL);
  });
});
