/** TLB probes, yields and resumption, chaining, jump cache, helpers, faults: as machine code. */
import { describe, expect, it } from 'vitest';
import { GuestFault } from '#lib/engine/cpu.js';
import { HelperResult } from '#lib/engine/helpers.js';
import { Op } from '#lib/engine/ir/ops.js';
import { Access, Cc, ExitCode, Fl, flagsToEflags, JC_BASE, JC_ENTRIES, JC_FOLD, NONE, Slot, Yield } from '#lib/engine/state.js';
import { canRun, Jit, UNPINNED } from './jit.js';

const [R0, R1, R2, R3] = [8, 9, 10, 11] as const;
const W0123 = [0, 1, 2, 3];
const mask = (w: number): bigint => (1n << BigInt(8 << w)) - 1n;
const merged = (w: number, old: bigint, r: bigint): bigint => (w < 2 ? (old & ~mask(w)) | r : r);
const OLD = 0x1122334455667788n;

describe.skipIf(!canRun)('memory in x64 code', () => {
  it('loads and stores through the TLB at any alignment; misses across pages', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    cpu.mmuIdx = 3;
    for (let i = 0; i < 0x4000; i++) cpu.map.ram8[i] = i * 7 + 3;
    const base = 0xffff_8000_1234_5000n;
    cpu.mapPage(base, 0x2000, true, 3);
    for (const w of W0123) {
      const n = 1 << w;
      const load = jit.block((b) => {
        b.ld(w, R0, R1);
        b.ld(w, UNPINNED, R1);
        const t = b.temp();
        b.ld(w, t, R1, Access.RMW);
        b.mov(3, R2, t);
      });
      const store = jit.block((b) => b.st(w, R1, R3));
      const storeMem = jit.block((b) => b.st(w, R1, UNPINNED));
      const storeImm = jit.block((b) => b.st(w, R1, b.k(-0x12345679)));
      const storeConst = jit.block((b) => b.st(w, R1, b.k64(0x1234567, 0x89abcdef | 0)));
      for (let off = 0; off <= 4096 - n; off += off < 16 || off > 4070 ? 1 : 127) {
        cpu.set(R1, base + BigInt(off));
        cpu.set(R0, OLD);
        cpu.set(UNPINNED, OLD);
        cpu.setFlags(0x8d5);
        const get = (): bigint => {
          let v = 0n;
          for (let i = n - 1; i >= 0; i--) v = (v << 8n) | BigInt(cpu.map.ram8[0x2000 + off + i]!);
          return v;
        };
        const v = get();
        jit.run(load);
        expect(cpu.get(R0)).toBe(merged(w, OLD, v));
        expect(cpu.get(UNPINNED)).toBe(merged(w, OLD, v));
        expect(cpu.get(R2)).toBe(v);
        cpu.set(R3, 0xf1e2d3c4b5a69788n);
        const before = cpu.map.ram8[0x2000 + off + n];
        jit.run(store);
        expect(get()).toBe(0xf1e2d3c4b5a69788n & mask(w));
        cpu.set(UNPINNED, OLD);
        jit.run(storeMem);
        expect(get()).toBe(OLD & mask(w));
        jit.run(storeImm);
        expect(get()).toBe(BigInt.asUintN(64, -0x12345679n) & mask(w));
        jit.run(storeConst);
        expect(get()).toBe(0x89abcdef01234567n & mask(w));
        expect(cpu.map.ram8[0x2000 + off + n]).toBe(before);
        expect(flagsToEflags(cpu.V[0]!)).toBe(0x8d5);
      }
      expect(cpu.log).toEqual([]);
      if (w > 0) {
        cpu.set(R1, base + 4097n - BigInt(n));
        expect(() => jit.run(load)).toThrow(GuestFault);
        expect(() => jit.run(store)).toThrow(GuestFault);
        cpu.log.length = 0;
      }
      cpu.set(R1, base & 0xffffffffn);
      expect(() => jit.run(load)).toThrow(GuestFault);
      cpu.log.length = 0;
    }
  });

  it('accesses that cross from one known page to another do not yield; a page that may not be written does', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const base = 0xffff_8000_1234_5000n;
    // In RAM they do not follow each other; the third page is read-only.
    cpu.mapPage(base, 0x2000, true);
    cpu.mapPage(base + 0x1000n, 0x7000, true);
    cpu.mapPage(base + 0x2000n, 0x4000, false);
    const ram = (off: number): number => (off < 0x1000 ? 0x2000 + off : off < 0x2000 ? 0x7000 + off - 0x1000 : 0x4000 + off - 0x2000);
    for (const w of [1, 2, 3]) {
      const n = 1 << w;
      const load = jit.block((b) => {
        b.ld(w, R0, R1);
        b.ld(w, UNPINNED, R1);
      });
      const store = jit.block((b) => b.st(w, R1, R3));
      const storeImm = jit.block((b) => b.st(w, R1, b.k(-0x12345679)));
      for (const end of [0x1000, 0x2000]) {
        for (let off = end - n + 1; off < end; off++) {
          for (let i = -8; i < 16; i++) cpu.map.ram8[ram(end + i)] = (off * 31 + i * 7) & 0xff;
          const bytes = (): number[] => Array.from({ length: 24 }, (_, i) => cpu.map.ram8[ram(end - 8 + i)]!);
          const before = bytes();
          const asked = jit.yields[Yield.LOAD]! + jit.yields[Yield.STORE]!;
          const value = (all: readonly number[]): bigint => all.slice(off - end + 8, off - end + 8 + n).reduceRight((v, x) => (v << 8n) | BigInt(x), 0n);
          cpu.set(R1, base + BigInt(off));
          cpu.set(R0, OLD);
          cpu.set(UNPINNED, OLD);
          cpu.set(R3, 0xf1e2d3c4b5a69788n);
          cpu.setFlags(0x8d5);
          jit.run(load);
          expect(cpu.get(R0)).toBe(merged(w, OLD, value(before)));
          expect(cpu.get(UNPINNED)).toBe(merged(w, OLD, value(before)));
          expect(jit.yields[Yield.LOAD]! + jit.yields[Yield.STORE]!).toBe(asked);
          if (end === 0x2000) {
            expect(() => jit.run(store)).toThrow(GuestFault);
            expect(cpu.log).toEqual([`store ${w} 0`]);
            expect(bytes()).toEqual(before);
            cpu.log.length = 0;
            continue;
          }
          for (const [code, v] of [[store, 0xf1e2d3c4b5a69788n], [storeImm, BigInt.asUintN(64, -0x12345679n)]] as const) {
            jit.run(code);
            expect(value(bytes())).toBe(v & mask(w));
            expect(bytes().filter((_, i) => i < off - end + 8 || i >= off - end + 8 + n)).toEqual(before.filter((_, i) => i < off - end + 8 || i >= off - end + 8 + n));
          }
          expect(jit.yields[Yield.LOAD]! + jit.yields[Yield.STORE]! - asked).toBe(0);
          expect(flagsToEflags(cpu.V[0]!)).toBe(0x8d5);
        }
      }
    }
  });

  it('misses yield, resume with everything intact, and deliver exact flags', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    for (let i = 0; i < 64; i++) cpu.map.ram8[0x1000 + i] = i + 1;
    const seen: number[] = [];
    const load = cpu.load;
    cpu.load = (w, a, d, acc) => {
      seen.push(flagsToEflags(cpu.V[0]!));
      // What TypeScript does must not matter to registers in use.
      load(w, a, d, acc);
    };
    const c = jit.block((b) => {
      const t = [0, 1, 2, 3, 4, 5].map(() => b.temp());
      t.forEach((s, k) => b.lea(3, s, R0, NONE, 0, k + 1));
      b.alu(Op.ADD, 2, R2, R2, R2, Fl.ALL);
      const x = b.temp();
      b.ld(2, x, R1);
      b.mov(3, R3, x);
      b.ld(0, 12, R1);
      b.ld(1, UNPINNED, R1);
      b.st(2, R1, t[5]!);
      t.forEach((s) => b.alu(Op.XOR, 3, R2, R2, s));
    });
    for (let r = 8; r < 18; r++) cpu.set(r, BigInt(r) << 40n);
    cpu.set(R1, 0x1004n);
    cpu.set(R2, 0x8000_0000n);
    cpu.set(UNPINNED, OLD);
    jit.run(c);
    expect(seen).toEqual([0x845, 0x845, 0x845]);
    expect(cpu.log).toEqual(['load 2 0', 'load 0 0', 'load 1 0', 'store 2 0']);
    expect(cpu.get(R3)).toBe(0x08070605n);
    expect(cpu.get(12)).toBe((12n << 40n) | 5n);
    expect(cpu.get(UNPINNED)).toBe((OLD & ~0xffffn) | 0x605n);
    let v = 0n;
    for (let k = 0n; k < 6n; k++) v ^= (8n << 40n) + k + 1n;
    expect(cpu.get(R2)).toBe(v);
    expect(cpu.map.ram32[0x1004 >> 2]! >>> 0).toBe(6);
    for (const r of [13, 14, 15, 16, 17]) expect(cpu.get(r)).toBe(BigInt(r) << 40n);
    expect(jit.yields[Yield.LOAD]).toBe(3);
  });

  it('the store of a read-modify-write goes where its load went, to TypeScript if that did', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const rmw = (w: number) => jit.block((b) => {
      const t = b.temp();
      const u = b.temp();
      b.ld(w, t, R1, Access.RMW);
      b.alu(Op.ADD, w, u, t, R3, Fl.ALL);
      b.st(w, R1, u);
    });
    // The address of the store is another one: it looks for itself.
    const moved = jit.block((b) => {
      const t = b.temp();
      b.ld(2, t, R1, Access.RMW);
      b.alu(Op.ADD, 3, R1, R1, R2);
      b.st(2, R1, t);
    });
    cpu.mapPage(0x5000n, 0x2000, true);
    cpu.mapPage(0x6000n, 0x7000, true);
    cpu.set(R3, 0x0101_0101_0101_0101n);
    for (const w of W0123) {
      const code = rmw(w);
      for (const at of [0x10, 0xff8 + (8 - (1 << w))]) {
        for (let i = 0; i < 8; i++) cpu.map.ram8[0x2000 + at + i] = 0x10 + i;
        cpu.set(R1, 0x5000n + BigInt(at));
        jit.run(code);
        for (let i = 0; i < 8 && at + i < 0x1000; i++) expect(cpu.map.ram8[0x2000 + at + i]).toBe(0x10 + i + (i < 1 << w ? 1 : 0));
      }
      expect(cpu.log).toEqual([]);
    }
    cpu.map.ramView.setUint32(0x2020, 0x1234_5678, true);
    cpu.set(R1, 0x5020n);
    cpu.set(R2, 0x1000n);
    jit.run(moved);
    expect(cpu.map.ramView.getUint32(0x7020, true)).toBe(0x1234_5678);
    expect(cpu.log).toEqual([]);
    // A page that may be read but has no write tag.
    cpu.mapPage(0x3000n, 0x3000, false);
    cpu.map.ramView.setUint32(0x3020, 0x1234_5678, true);
    cpu.set(R1, 0x3020n);
    jit.run(rmw(2));
    expect(cpu.log).toEqual([`load 2 ${Access.RMW}`, 'store 2 0']);
    expect(cpu.map.ramView.getUint32(0x3020, true)).toBe(0x1335_5779);
  });

  it('clean pages, RMW and access overrides go to TypeScript', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    cpu.mapPage(0x1000n, 0x1000, false);
    cpu.set(R1, 0x1008n);
    cpu.set(R0, 0n);
    cpu.map.ram32[0x1008 >> 2] = 0x1234;
    jit.run(jit.block((b) => {
      b.ld(2, R0, R1);
      b.ld(2, R2, R1, Access.RMW);
      b.ld(1, R3, R1, Access.SYSTEM);
      b.st(0, R1, R0);
      b.st(3, R1, R0, Access.USER);
    }));
    expect(cpu.log).toEqual([`load 2 ${Access.RMW}`, `load 1 ${Access.SYSTEM}`, 'store 0 0', `store 3 ${Access.USER}`]);
    expect([cpu.get(R0), cpu.get(R2)]).toEqual([0x1234n, 0x1234n]);
  });

  it('vectors', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    cpu.mapPage(0x3000n, 0x3000, true);
    for (let i = 0; i < 64; i++) cpu.map.ram8[0x3000 + i] = i + 1;
    for (const slow of [false, true]) {
      if (slow) cpu.flushTlb();
      for (const w of [1, 2, 3, 4, 5]) {
        const n = 1 << w;
        const v = Slot.VEC + 16;
        cpu.U8.fill(0xee, v * 8, v * 8 + 32);
        cpu.set(R1, 0x3003n);
        cpu.set(R2, 0x3101n);
        cpu.map.ram8.fill(0, 0x3100, 0x3140);
        jit.run(jit.block((b) => {
          b.ldv(w, v, R1);
          b.stv(w, R2, v);
        }));
        const want = Array.from({ length: 32 }, (_, i) => (i < n ? i + 4 : i < 16 || w === 5 ? 0 : 0xee));
        expect([...cpu.U8.subarray(v * 8, v * 8 + 32)]).toEqual(want);
        expect([...cpu.map.ram8.subarray(0x3100, 0x3102 + n)]).toEqual([0, ...want.slice(0, n), 0]);
      }
      expect(cpu.log.length).toBe(slow ? 10 : 0);
    }
    const [a, d] = [Slot.VEC, Slot.VEC + 8];
    for (const [w, bytes] of [[3, 8], [4, 16], [5, 32]] as const) {
      cpu.U8.fill(0xaa, a * 8, a * 8 + 32);
      cpu.U8.fill(0xbb, d * 8, d * 8 + 32);
      jit.run(jit.block((b) => b.emit(Op.MOVV, w, 0, 0, d, a, NONE, NONE, 0, 0)));
      expect([...cpu.U8.subarray(d * 8, d * 8 + 32)]).toEqual([...Array(bytes).fill(0xaa), ...Array(32 - bytes).fill(0xbb)]);
    }
    jit.run(jit.block((b) => b.emit(Op.ZEROU, 5, 0, 0, d, NONE, NONE, NONE, 0, 0)));
    expect([...cpu.U8.subarray(d * 8, d * 8 + 32)]).toEqual([...Array(16).fill(0xaa), ...Array(16).fill(0)]);
  });

  it('segment limits and alignment', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    cpu.V[(32 + 3) * 2] = 0xffff;
    cpu.V[(38 + 3) * 2 + 1] = 1;
    cpu.V[(32 + 2) * 2] = -1;
    const check = (seg: number, off: bigint, write: boolean, bytes: number): ExitCode => {
      cpu.set(R0, off);
      return jit.run(jit.block((b) => b.segchk(seg, R0, write, bytes)));
    };
    check(3, 0xfffcn, false, 4);
    expect(() => check(3, 0xfffdn, false, 4)).toThrow(GuestFault);
    expect(() => check(3, 0n, true, 1)).toThrow(GuestFault);
    check(2, 0xfffffffen, false, 2);
    expect(() => check(2, 0xffffffffn, false, 2)).toThrow(GuestFault);
    expect(cpu.log).toEqual(['segmentCheck 3 65533 false 4', 'segmentCheck 3 0 true 1', 'segmentCheck 2 4294967295 false 2']);
    cpu.set(R0, 0x120n);
    jit.run(jit.block((b) => b.emit(Op.CHKALIGN, 0, 0, 0, NONE, R0, NONE, NONE, 31, 0)));
    cpu.set(R0, 0x128n);
    expect(() => jit.run(jit.block((b) => b.emit(Op.CHKALIGN, 0, 0, 0, NONE, R0, NONE, NONE, 15, 0)))).toThrow(GuestFault);
  });
});

describe.skipIf(!canRun)('calls from x64 code', () => {
  it('passes slots, and sees and changes registers and flags', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const args: number[][] = [];
    const f = cpu.helpers.define('f', (_cpu, dst, a, b, c, imm) => {
      args.push([dst, a, b, c, imm]);
      expect(flagsToEflags(cpu.V[0]!)).toBe(0x46 & ~2);
      cpu.set(dst, cpu.get(a) + cpu.get(b) * 2n + cpu.get(c));
      cpu.set(R3, 77n);
      cpu.setFlags(0x801);
      return HelperResult.CONTINUE;
    });
    let slots: number[] = [];
    const c = jit.block((b) => {
      const [x, y, keep, r] = [b.temp(), b.temp(), b.temp(), b.temp()];
      b.lea(3, x, R0, NONE, 0, 1);
      b.lea(3, y, R0, NONE, 0, 2);
      b.lea(3, keep, R0, NONE, 0, 3);
      b.alu(Op.SUB, 3, NONE, R0, R0, Fl.ALL);
      b.call(f, r, x, y, R1, -5);
      b.alu(Op.ADC, 3, R2, r, keep, 0);
      b.setcc(Cc.O, 12);
      slots = [r, x, y, R1, -5];
    });
    cpu.set(R0, 100n);
    cpu.set(R1, 1000n);
    cpu.set(12, 0n);
    jit.run(c);
    expect(args).toEqual([slots]);
    expect(cpu.get(R2)).toBe(101n + 204n + 1000n + 103n + 1n);
    expect(cpu.get(R3)).toBe(77n);
    expect(cpu.get(12)).toBe(1n);
    expect(flagsToEflags(cpu.V[0]!)).toBe(0x801);
  });
  it('DISPATCH abandons the block; a throw leaves the state as it was at the op', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const go = cpu.helpers.define('go', () => HelperResult.DISPATCH);
    const boom = cpu.helpers.define('boom', () => {
      throw new GuestFault('x');
    });
    cpu.set(R0, 1n);
    jit.run(jit.block((b) => {
      b.alu(Op.ADD, 3, R0, R0, R0);
      b.call(go);
      b.alu(Op.ADD, 3, R0, R0, R0);
    }));
    expect(cpu.get(R0)).toBe(2n);
    expect(() => jit.run(jit.block((b) => {
      b.alu(Op.ADD, 3, R0, R0, R0);
      b.call(boom);
      b.alu(Op.ADD, 3, R0, R0, R0);
    }))).toThrow(GuestFault);
    expect(cpu.get(R0)).toBe(4n);
  });
});

describe.skipIf(!canRun)('control flow in x64 code', () => {
  it('exits with PC and code', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    cpu.set(Slot.PCBASE, 0xffff_f000n);
    expect(jit.run(jit.block((b) => b.jmp(0x1010)))).toBe(ExitCode.NEXT);
    expect(cpu.get(Slot.PC)).toBe(0x1_0000_0010n);
    cpu.set(Slot.PCBASE, 0xffff_f000n);
    jit.run(jit.block((b) => b.jmp(0x1010), { mask32: true }));
    expect(cpu.get(Slot.PC)).toBe(0x10n);
    cpu.set(R0, 0x1_2345_6789n);
    jit.run(jit.block((b) => b.jmpi(R0), { mask32: true }));
    expect(cpu.get(Slot.PC)).toBe(0x2345_6789n);
    jit.run(jit.block((b) => b.jmpi(R0)));
    expect(cpu.get(Slot.PC)).toBe(0x1_2345_6789n);
    cpu.set(Slot.PCBASE, 0x1000n);
    expect(jit.run(jit.block((b) => b.exit(ExitCode.HALT, 0x1002)))).toBe(ExitCode.HALT);
    expect(cpu.get(Slot.PC)).toBe(0x2002n);
    cpu.set(Slot.PCBASE, 0x1000n);
    expect(jit.run(jit.block((b) => {
      b.mov(3, Slot.PC, R0);
      b.exit(ExitCode.SHADOW);
    }))).toBe(ExitCode.SHADOW);
    expect(cpu.get(Slot.PC)).toBe(0x1_2345_6789n);
  });

  it('chains within a page, unchains, and checks PENDING on loops', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    // R0 counts down to 0 in a loop of two blocks.
    const a = jit.block((b) => {
      b.alu(Op.DEC, 3, R0, R0, NONE, Fl.NOT_CF);
      b.jcc(Cc.NE, 0x100, 0x200);
    });
    const c = jit.block((b) => {
      b.insn(0x100, 0x104);
      b.alu(Op.ADD, 3, R1, R1, R0);
      b.jmp(0x10);
    });
    cpu.set(Slot.PCBASE, 0x7000n);
    cpu.set(R0, 1000n);
    cpu.set(R1, 0n);
    expect(jit.run(a)).toBe(ExitCode.CHAIN);
    expect(cpu.get(Slot.PC)).toBe(0x7100n);
    const taken = a.sites.indexOf(jit.lastSite);
    expect(a.sites[taken + 1]).toBe(0x100);
    expect(a.sites.length).toBe(6);
    jit.backend.patch(a.sites[taken]!, c.entryB);
    expect(jit.run(c)).toBe(ExitCode.CHAIN);
    expect(cpu.get(Slot.PC)).toBe(0x7010n);
    expect(jit.lastSite).toBe(c.sites[0]);
    jit.backend.patch(c.sites[0]!, a.entryB);
    expect(jit.run(a)).toBe(ExitCode.CHAIN);
    expect(cpu.get(Slot.PC)).toBe(0x7200n);
    expect(cpu.get(R0)).toBe(0n);
    expect(cpu.get(R1)).toBe((998n * 999n) / 2n + 999n);
    expect(jit.yields[Yield.EXIT]).toBe(3);
    for (const word of [0, 1]) {
      cpu.set(R0, 1000n);
      cpu.V[Slot.PENDING * 2 + word] = 1;
      expect(jit.run(a)).toBe(ExitCode.PENDING);
      expect(cpu.get(R0)).toBe(999n);
      expect(cpu.get(Slot.PC)).toBe(0x7010n);
      cpu.set(Slot.PENDING, 0n);
    }
    jit.backend.unpatch(c.sites[0]!, c.sites[2]!);
    expect(jit.run(a)).toBe(ExitCode.CHAIN);
    expect(jit.lastSite).toBe(c.sites[0]);
  });

  it('retires a block: who comes to it from the jump cache leaves, and code that runs goes on', () => {
    const jit = new Jit();
    const { cpu } = jit;
    cpu.set(Slot.PCBASE, 0x7000n);
    const callee = jit.block((b) => b.exit(ExitCode.HALT, 0x20));
    const from = jit.block((b) => b.jmpi(R0));
    cpu.set(R0, 0x9010n);
    const at = 0x9010;
    const e = (JC_BASE + cpu.V[Slot.JC_TABLE * 2 + cpu.mmuIdx]! + ((at ^ (at >>> JC_FOLD)) & (JC_ENTRIES - 1)) * 16) >> 2;
    cpu.V[e] = at;
    cpu.V[e + 1] = 0;
    jit.backend.writeAddress(cpu.V, (e + 2) >> 1, callee.entryA);
    expect(jit.run(from)).toBe(ExitCode.HALT);
    cpu.set(Slot.PCBASE, 0x7000n);
    jit.backend.retire(callee.entryA);
    expect(jit.run(from)).toBe(ExitCode.NEXT);
    expect(cpu.get(Slot.PC)).toBe(0x9010n);
    expect(cpu.get(Slot.PCBASE)).toBe(0x7000n);
    // A block that is nothing but a chained jump: undoing the chain does not bring it back.
    const jump = jit.block((b) => b.jmp(0x20));
    jit.backend.writeAddress(cpu.V, (e + 2) >> 1, jump.entryA);
    jit.backend.patch(jump.sites[0]!, callee.entryB);
    expect(jit.backend.retired(jump.entryA)).toBe(false);
    jit.backend.retire(jump.entryA);
    expect(jit.backend.retired(jump.entryA)).toBe(true);
    jit.backend.unpatch(jump.sites[0]!, jump.sites[2]!);
    expect(jit.run(from)).toBe(ExitCode.NEXT);
    expect(cpu.get(Slot.PC)).toBe(0x9010n);
  });

  it('chains to a block that spans pages through the jump cache', () => {
    for (const mask32 of [false, true]) {
      const jit = new Jit();
      const cpu = jit.cpu;
      const base = mask32 ? 0xffff_f000n : 0xffff_ffff_8000_7000n;
      const spanning = jit.block((b) => b.exit(ExitCode.HALT, 0x1002), { spans: true, mask32 });
      const from = jit.block((b) => b.jmp(0x10), { mask32 });
      const site = from.sites[0]!;
      cpu.set(Slot.PCBASE, base);
      jit.backend.patch(site, spanning.entryB);
      // Unknown: back to the run loop, which checks the second page.
      expect(jit.run(from)).toBe(ExitCode.NEXT);
      expect(cpu.get(Slot.PC)).toBe(base + 0x10n);
      jit.cache(base + 0x10n, spanning);
      expect(jit.run(from)).toBe(ExitCode.HALT);
      expect(cpu.get(Slot.PC)).toBe(mask32 ? 2n : base + 0x1002n);
    }
  });

  it('finds other pages in the jump cache and sets PCBASE', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    cpu.mmuIdx = 5;
    const target = jit.block((b) => {
      b.mov(3, R2, Slot.PCBASE);
      b.exit(ExitCode.HALT, 0x30);
    });
    const indirect = jit.block((b) => {
      const t = b.temp();
      b.lea(3, t, R0, NONE, 0, 8);
      b.jmpi(t, 1);
    });
    const direct = jit.block((b) => b.jmp(-0x1000 + 0x238));
    cpu.set(R0, 0xffff_ffff_8123_4230n);
    jit.cache(0xffff_ffff_8123_4238n, target);
    expect(jit.run(indirect)).toBe(ExitCode.HALT);
    expect(cpu.get(R2)).toBe(0xffff_ffff_8123_4000n);
    expect(cpu.get(Slot.PC)).toBe(0xffff_ffff_8123_4030n);
    cpu.set(Slot.PCBASE, 0xffff_ffff_8123_5000n);
    expect(jit.run(direct)).toBe(ExitCode.HALT);
    expect(cpu.get(R2)).toBe(0xffff_ffff_8123_4000n);
    cpu.set(Slot.PCBASE, 0xffff_fffe_8123_5000n);
    expect(jit.run(direct)).toBe(ExitCode.NEXT);
    expect(cpu.get(Slot.PC)).toBe(0xffff_fffe_8123_4238n);
    cpu.V[Slot.PENDING * 2 + 1] = 1;
    expect(jit.run(indirect)).toBe(ExitCode.PENDING);
    expect(cpu.get(Slot.PC)).toBe(0xffff_ffff_8123_4238n);
  });

  it('keeps MXCSR apart', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    cpu.V[Slot.MXCSR * 2] = 0x1d80;
    jit.run(jit.block((b) => b.exit(ExitCode.NEXT, 0)));
    expect(cpu.V[Slot.MXCSR * 2]).toBe(0x1d80);
    expect(0.1 + 0.2).toBe(0.30000000000000004);
  });

  it('a host fault comes back as a yield with the registers', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    // A page whose addend is wrong: the access hits nothing.
    cpu.mapPage(0x5000n, 0x1000, true);
    const e = 0x10_0000 / 4 + 5 * 8;
    cpu.V[e + 4] = 0;
    cpu.V[e + 5] = 0x4000_0000;
    cpu.set(R1, 0x5000n);
    cpu.set(R0, 5n);
    const c = jit.block((b) => {
      b.alu(Op.ADD, 3, R0, R0, R0);
      b.ld(2, R2, R1);
    });
    expect(() => jit.run(c)).toThrow(/host fault, signal 11/);
    expect(cpu.get(R0)).toBe(10n);
    expect(cpu.get(Slot.X_JIT_SP)).toBe(0n);
  });
});
