/** Code that has been met a few times only is executed without being translated (docs/adr/0065, 0070); what instructions do is compared with qemu-user in test/riscv-diff. */
import { describe, expect, it } from 'vitest';
import { COLD_COUNT_LIMIT } from '#lib/engine/cold-state.js';
import { Cause, Csr, Priv, X, xreg } from '#lib/engine/guest/riscv/defs.js';
import { SliceEnd } from '#lib/engine/jit/engine.js';
import { ColdCode } from '#lib/engine/jit/cold-code.js';
import { Slot } from '#lib/engine/state.js';
import { noAddon, skipFor } from '../../boot/guests.js';
import { Hart } from './hart.js';

const BASE = 0x1000_0000;
const RAM = 0x10_0000;
const WFI = 0x1050_0073;
const [A0, A1, A2, RA, T0] = [10, 11, 12, 1, 5];

const i = (op: number, f3: number, rd: number, rs1: number, imm: number): number => ((imm << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op) >>> 0;
const addi = (rd: number, rs1: number, imm: number): number => i(0x13, 0, rd, rs1, imm);
const add = (rd: number, rs1: number, rs2: number): number => (rs2 << 20) | (rs1 << 15) | (rd << 7) | 0x33;
const jal = (rd: number, by: number): number => (((by & 0x10_0000) << 11) | ((by & 0x7fe) << 20) | ((by & 0x800) << 9) | (by & 0xf_f000) | (rd << 7) | 0x6f) >>> 0;
const bne = (rs1: number, rs2: number, by: number): number => (((by & 0x1000) << 19) | ((by & 0x7e0) << 20) | (rs2 << 20) | (rs1 << 15) | 0x1000 | ((by & 0x1e) << 7) | ((by & 0x800) >> 4) | 0x63) >>> 0;
const sw = (rs2: number, rs1: number, imm: number): number => (((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | 0x2000 | ((imm & 31) << 7) | 0x23) >>> 0;

class Guest extends Hart {
  constructor(firstRun: boolean) {
    super({ base: BASE, bytes: RAM, jit: true, firstRun });
  }

  put(at: number, words: readonly number[]): void {
    words.forEach((w, k) => this.memory.write32(at + 4 * k, w));
  }

  /** Runs from BASE, in M-mode, to WFI. */
  run(): void {
    this.cpu.reset(0, 0);
    this.cpu.V[Slot.PC * 2] = BASE;
    this.cpu.V[Slot.PC * 2 + 1] = 0;
    expect(this.engine.runSlice(this.cpu)).toBe(SliceEnd.HALTED);
  }

  get a0(): number {
    return this.cpu.V[xreg(A0) * 2]!;
  }
}

/** a0 = 10 + 9 + ... + 1, by a function in another page. */
const LOOP = [addi(A0, 0, 0), addi(A1, 0, 10), jal(RA, 0xff8), addi(A1, A1, -1), bne(A1, 0, -8), WFI];
const FUNCTION = [add(A0, A0, A1), i(0x67, 0, 0, RA, 0)];

describe.skipIf(skipFor(noAddon))('code that has been met a few times only', () => {
  it('is executed a few times, and then translated', () => {
    const g = new Guest(true);
    g.put(BASE, LOOP);
    g.put(BASE + 0x1000, FUNCTION);
    const { stats } = g.engine;
    g.run();
    expect(g.a0).toBe(55);
    // Two instructions, ten times round the loop and through the function; only WFI is left to be translated.
    expect([stats.firstRuns, stats.blocks]).toEqual([2 + 10 * 5, 1]);
    for (let n = 0; n < COLD_COUNT_LIMIT; n++) g.run();
    expect(g.a0).toBe(55);
    expect(stats.blocks).toBeGreaterThan(2);
    const { firstRuns, blocks } = stats;
    g.run();
    expect(g.a0).toBe(55);
    expect([stats.firstRuns, stats.blocks]).toEqual([firstRuns, blocks]);
  });

  it('is translated at once where somebody watches blocks, with a code cache, and without the option', () => {
    const watched = new Guest(true);
    watched.engine.onBlock = () => undefined;
    const cached = new Guest(true);
    cached.engine.useCache({ open: () => undefined, write: () => undefined, writeHot: () => undefined, writeRegions: () => undefined, startAnew: () => undefined });
    for (const g of [watched, cached, new Guest(false)]) {
      g.put(BASE, LOOP);
      g.put(BASE + 0x1000, FUNCTION);
      g.run();
      expect(g.a0).toBe(55);
      expect(g.engine.stats.firstRuns).toBe(0);
    }
  });

  it('may change what follows', () => {
    const g = new Guest(true);
    const { cpu } = g;
    // auipc t0, 0; the instruction before WFI is overwritten.
    g.put(BASE, [0x17 | (T0 << 7), sw(A2, T0, 12), addi(A0, 0, 1), addi(A0, 0, 1), WFI]);
    cpu.reset(0, 0);
    cpu.mmu.write(BASE + 0x800, 0, 4, cpu.mmuIdx, 0);
    cpu.V[xreg(A2) * 2] = addi(A0, 0, 7) | 0;
    cpu.V[Slot.PC * 2] = BASE;
    expect(g.engine.runSlice(cpu)).toBe(SliceEnd.HALTED);
    expect(g.a0).toBe(7);
    expect(g.engine.stats.firstRuns).toBe(4);
  });

  it('raises exceptions as generated code does', () => {
    const g = new Guest(true);
    const { cpu } = g;
    // A handler right behind; lui t0, 0x40000: nothing is there.
    g.put(BASE, [addi(A0, 0, 1), 0x4000_0037 | (T0 << 7), i(0x03, 3, A1, T0, 8), addi(A0, 0, 2)]);
    g.put(BASE + 0x800, [addi(A0, A0, 4), WFI]);
    cpu.reset(BASE, 0);
    cpu.csr.write(Csr.MTVEC, BASE + 0x800, 0);
    expect(g.engine.runSlice(cpu)).toBe(SliceEnd.HALTED);
    expect([g.a0, cpu.csr.plain(Csr.MCAUSE), cpu.csr.plain(Csr.MEPC), cpu.csr.plain(Csr.MTVAL)]).toEqual([5, Cause.LOAD_ACCESS, BASE + 8, 0x4000_0008]);
    // WFI alone has been translated.
    expect(g.engine.stats.blocks).toBe(1);
  });

  it('is what the page table says, after a fence', () => {
    const g = new Guest(true);
    const { cpu, memory } = g;
    const [root, mid, leaf] = [BASE + 0x8_0000, BASE + 0x8_1000, BASE + 0x8_2000];
    const pte = (pa: number, flags: number): number => ((pa >>> 12) << 10) | flags;
    const [TABLE, RWXAD] = [1, 0xcf];
    // The first GiB is itself; page 0x40000000 is one of two functions.
    memory.write32(root, pte(0, RWXAD));
    memory.write32(root + 8, pte(mid, TABLE));
    memory.write32(mid, pte(leaf, TABLE));
    memory.write32(leaf, pte(BASE + 0x1000, RWXAD));
    g.put(BASE + 0x1000, [addi(A0, A0, 1), i(0x67, 0, 0, RA, 0)]);
    g.put(BASE + 0x2000, [addi(A0, A0, 0x100), i(0x67, 0, 0, RA, 0)]);
    const call = i(0x67, 0, RA, A1, 0);
    const SFENCE = 0x1200_0073;
    const ECALL = 0x73;
    g.put(BASE, [call, call, sw(A2, T0, 0), SFENCE, call, ECALL]);
    g.put(BASE + 0x800, [WFI]);
    cpu.reset(BASE, 0);
    cpu.mmu.pmp.setAddr(0, -1, -1);
    cpu.mmu.pmp.setCfg(0, 0x1f);
    cpu.csr.write(Csr.MTVEC, BASE + 0x800, 0);
    cpu.csr.write(Csr.SATP, root >>> 12, 0x8000_0000 | 0);
    cpu.priv = Priv.S;
    cpu.updateMode();
    cpu.mmu.flushAll();
    for (const [r, v] of [[A1, 0x4000_0000], [A2, pte(BASE + 0x2000, RWXAD)], [T0, leaf]] as const) cpu.V[xreg(r) * 2] = v;
    expect(g.engine.runSlice(cpu)).toBe(SliceEnd.HALTED);
    expect([g.a0, cpu.csr.plain(Csr.MCAUSE)]).toEqual([0x102, Cause.ECALL_S]);
    // ECALL and WFI have been translated, nothing else.
    expect([g.engine.stats.firstRuns, g.engine.stats.blocks]).toEqual([11, 2]);
  });

  it('has atomics, divisions and CSRs', () => {
    const g = new Guest(true);
    const { cpu } = g;
    const amo = (f5: number, rd: number, rs1: number, rs2: number): number => ((f5 << 27) | (rs2 << 20) | (rs1 << 15) | 0x302f | (rd << 7)) >>> 0;
    const DIVU = (1 << 25) | (A2 << 20) | (A1 << 15) | 0x5033 | (A1 << 7);
    // amoadd.d a1, a2, (t0); lr.d a0, (t0); divu a1, a1, a2; sc.d zero, a1, (t0); csrrw a0, mscratch, a0; csrrs a0, mscratch, zero
    g.put(BASE, [amo(0, A1, T0, A2), amo(2, A0, T0, 0), DIVU, amo(3, 0, T0, A1), 0x3405_1573, 0x3400_2573, WFI]);
    g.memory.write32(BASE + 0x3000, 100);
    cpu.reset(BASE, 0);
    cpu.V[xreg(A2) * 2] = 7;
    cpu.V[xreg(T0) * 2] = BASE + 0x3000;
    expect(g.engine.runSlice(cpu)).toBe(SliceEnd.HALTED);
    expect([g.a0, cpu.V[xreg(A1) * 2], g.memory.read32(BASE + 0x3000), cpu.V[X.RES_ADDR * 2]]).toEqual([107, 14, 14, -1]);
    expect([g.engine.stats.firstRuns, g.engine.stats.blocks]).toEqual([6, 1]);
  });
});

describe.skipIf(skipFor(noAddon))('ColdCode', () => {
  it('knows what has generated code, and begins anew when much has', () => {
    const { cpu } = new Guest(true);
    const cold = new ColdCode([cpu], () => null, true, { firstRuns: 0 });
    expect(cold.is(cpu, 3, 2)).toBe(true);
    cold.translated(cpu, 3, 2);
    expect([cold.is(cpu, 3, 2), cold.is(cpu, 3, 4), cold.is(cpu, 4, 2)]).toEqual([false, true, true]);
    cold.clear();
    expect(cold.is(cpu, 3, 2)).toBe(true);
    // A guest with more code than there are places does not end up with all of them reached.
    let last = 0;
    for (let page = 0; page < 512; page++) {
      for (let offset = 0; offset < 4096; offset += 2) {
        if (cold.is(cpu, page, offset)) last = page;
        cold.translated(cpu, page, offset);
      }
    }
    expect(last).toBe(511);
  });
});
