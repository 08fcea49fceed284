/** Code that is met for the first time is executed without being translated (docs/adr/0065); what instructions do is compared with qemu-user in test/riscv-diff. */
import { describe, expect, it } from 'vitest';
import { RiscvCpu } from '#lib/engine/guest/riscv/cpu.js';
import { xreg } from '#lib/engine/guest/riscv/defs.js';
import { riscvHelpers, riscvLifter } from '#lib/engine/guest/riscv/guest.js';
import { X64Host } from '#lib/engine/host/x64/host.js';
import { Engine, SliceEnd } from '#lib/engine/jit/engine.js';
import { MetCode } from '#lib/engine/jit/met-code.js';
import { Slot, STATE_BYTES } from '#lib/engine/state.js';
import { riscv } from '#lib/machine/guests/riscv.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { loadNative } from '#lib/native.js';
import { noAddon, skipFor } from '../../boot/guests.js';

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

class Guest {
  readonly memory: PhysicalMemory;
  readonly cpu: RiscvCpu;
  readonly engine: Engine;

  constructor(firstRun: boolean) {
    const native = loadNative();
    const ram = native.allocRam(RAM);
    const state = native.allocState(STATE_BYTES);
    this.memory = new PhysicalMemory(ram.buffer, ram.address);
    this.memory.mapRam(BASE, RAM, 0);
    const helpers = riscvHelpers();
    this.cpu = new RiscvCpu({
      index: 0, state, map: this.memory, isDevice: () => false, clock: { now: () => 0 }, timer: () => ({ arm: () => undefined, disarm: () => undefined }), time: () => 0, helpers,
      lifter: riscvLifter(helpers),
    });
    const exec = native.allocExec(64 * 1024 * 1024, false);
    const host = new X64Host(exec, [native.createContext(state, exec)], native.cpuFeatures(), riscv.pinned);
    this.engine = new Engine(this.memory, [this.cpu], { host, passes: {}, maxInsns: 64, stepBit: riscv.stepBit, fpHelperBit: riscv.fpHelperBit, mask32: () => false, firstRun });
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

describe.skipIf(skipFor(noAddon))('code that is met for the first time', () => {
  it('is executed once, and translated when it is met again', () => {
    const g = new Guest(true);
    g.put(BASE, LOOP);
    g.put(BASE + 0x1000, FUNCTION);
    const { stats } = g.engine;
    g.run();
    expect(g.a0).toBe(55);
    expect(stats.firstRuns).toBeGreaterThanOrEqual(5);
    // The loop and the function ran in generated code most of the time.
    expect(stats.firstRuns).toBeLessThan(20);
    expect(stats.blocks).toBeGreaterThan(2);
    for (let n = 0; n < 2; n++) g.run();
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
});

describe('MetCode', () => {
  it('knows what has been met, and begins anew when much has', () => {
    const met = new MetCode();
    expect([met.fresh(3, 2), met.fresh(3, 2), met.fresh(3, 4), met.fresh(4, 2)]).toEqual([true, false, true, true]);
    met.clear();
    expect(met.fresh(3, 2)).toBe(true);
    // A guest with more code than there are places does not end up with all of them taken.
    let last = 0;
    for (let page = 0; page < 512; page++) for (let offset = 0; offset < 4096; offset += 2) last = met.fresh(page, offset) ? page : last;
    expect(last).toBe(511);
  });
});
