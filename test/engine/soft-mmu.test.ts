/** The software TLB of RISC-V and ARM64 guests as generated code sees it: page hints, and pages that hold code. */
import { describe, expect, it, vi } from 'vitest';
import { Arm64Cpu } from '#lib/engine/guest/arm64/cpu.js';
import { arm64Helpers, arm64Lifter } from '#lib/engine/guest/arm64/guest.js';
import { ARM64_DEFAULT_CPU, parseArm64Cpu } from '#lib/engine/guest/arm64/model.js';
import { RiscvCpu } from '#lib/engine/guest/riscv/cpu.js';
import { Priv, xreg } from '#lib/engine/guest/riscv/defs.js';
import { riscvHelpers, riscvLifter } from '#lib/engine/guest/riscv/guest.js';
import { type HelperFn, HelperResult } from '#lib/engine/helpers.js';
import { HINT_BASE, HINT_TABLE_BYTES, HINT_USED, MMU_INDEXES, NONE, Slot, STATE_BYTES, TLB_BASE, TLB_BITS, TLB_CODE, TLB_INVALID, TLB_TABLE_BYTES } from '#lib/engine/state.js';
import { PhysicalMemory } from '#lib/memory/physical.js';

const RAM = 0x4000_0000;
const BYTES = 0x10_0000;
const ROM = 0x1000;
const PAGE = 0x4000_3000;
const TABLES = 0x4000_8000;

function makeMemory(): PhysicalMemory {
  const memory = new PhysicalMemory(new ArrayBuffer(BYTES), 0);
  memory.mapRam(RAM, BYTES - 0x1000, 0);
  memory.mapRam(ROM, 0x1000, BYTES - 0x1000, true);
  return memory;
}

const state = (): { buffer: ArrayBuffer; address: number } => ({ buffer: new ArrayBuffer(STATE_BYTES), address: 0 });

function riscv(): RiscvCpu {
  const helpers = riscvHelpers();
  return new RiscvCpu({
    index: 0, state: state(), map: makeMemory(), isDevice: () => false, clock: { now: () => 0 }, timer: () => ({ arm: () => undefined, disarm: () => undefined }), time: () => 0, helpers,
    lifter: riscvLifter(helpers),
  });
}

function arm64(): Arm64Cpu {
  const helpers = arm64Helpers();
  const map = makeMemory();
  const cpu = new Arm64Cpu({
    index: 0, model: parseArm64Cpu(ARM64_DEFAULT_CPU), state: state(), map, helpers, lifter: arm64Lifter(helpers, parseArm64Cpu(ARM64_DEFAULT_CPU)), gicSystemRegisters: false,
    intc: { irq: false, fiq: false, readIcc: () => 0, writeIcc: () => undefined }, timer: { now: () => 0, arm: () => undefined, line: () => undefined },
  });
  // Without the MMU memory is Device, which has no entries: two blocks of 1 GiB, each where it is, for EL1.
  map.write32(TABLES, 0x701);
  map.write32(TABLES + 8, 0x4000_0701);
  cpu.setTcr(25 | (25 << 16) | (1 << 23), 2);
  cpu.setMair(0xff, 0);
  cpu.setTtbr(0, TABLES, 0);
  cpu.setSctlr(1);
  return cpu;
}

function store(cpu: RiscvCpu | Arm64Cpu, lo: number): void {
  cpu.V[Slot.TEMP * 2] = lo;
  cpu.V[Slot.TEMP * 2 + 1] = 0;
  cpu.store(2, Slot.TEMP, Slot.TEMP, 0);
}

describe.each([['RISC-V', riscv], ['ARM64', arm64]] as const)('%s', (_name, make) => {
  it('empties page hints whenever a translation or a right may go', () => {
    const cpu = make();
    const { V } = cpu;
    const first = HINT_BASE >> 2;
    const end = first + MMU_INDEXES * (HINT_TABLE_BYTES >> 2);
    const empty = (): boolean => V.subarray(first, end).every((w) => w === TLB_INVALID);
    expect(empty(), 'at first').toBe(true);
    const ways: Readonly<Record<string, () => void>> = {
      flushAll: () => cpu.mmu.flushAll(), flushNonGlobal: () => cpu.mmu.flushNonGlobal(), flushPage: () => cpu.mmu.flushPage(0x7000, 0), noteCodePage: () => cpu.mmu.noteCodePage(0x3000),
    };
    for (const [name, way] of Object.entries(ways)) {
      store(cpu, PAGE);
      // As generated code fills one.
      V[first] = PAGE;
      V[first + 1] = 0;
      V[HINT_USED >> 2] = 1;
      way();
      expect(empty(), name).toBe(true);
    }
  });

  it('tells pages that hold code from those that may not be written', () => {
    const cpu = make();
    const { V, map } = cpu;
    const entry = (lo: number): number => (TLB_BASE + cpu.mmuIdx * TLB_TABLE_BYTES) / 4 + ((lo >>> 12) & ((1 << TLB_BITS) - 1)) * 8;
    const flags = (lo: number): [written: boolean, code: boolean] => [V[entry(lo) + 2] === (lo & ~0xfff), (V[entry(lo) + 6]! & TLB_CODE) !== 0];
    store(cpu, PAGE);
    expect(flags(PAGE)).toEqual([true, false]);
    map.codePages[3] = 1;
    cpu.noteCodePage(0x3000);
    expect(flags(PAGE)).toEqual([false, true]);
    cpu.mmu.flushAll();
    store(cpu, PAGE + 4);
    expect(flags(PAGE)).toEqual([false, true]);
    map.codePages[3] = 0;
    store(cpu, PAGE + 8);
    expect(flags(PAGE)).toEqual([true, false]);
    store(cpu, ROM);
    expect(flags(ROM)).toEqual([false, false]);
  });
});

describe('instruction fetches of RISC-V guests', () => {
  it('walk again after their page has been flushed, not after another one has', () => {
    const cpu = riscv();
    const translate = vi.spyOn(cpu.mmu, 'translate');
    const walks = (): number => {
      const before = translate.mock.calls.length;
      expect(cpu.mmu.fetch(PAGE + 8, 0)).toBe(PAGE + 8);
      return translate.mock.calls.length - before;
    };
    expect(walks()).toBe(1);
    expect(walks()).toBe(0);
    cpu.mmu.flushPage(PAGE + 0x1000, 0);
    cpu.mmu.flushPage(PAGE, 1);
    expect(walks()).toBe(0);
    cpu.mmu.flushPage(PAGE, 0);
    expect(walks()).toBe(1);
    cpu.mmu.flushAll();
    expect(walks()).toBe(1);
  });
});

describe('registers of devices of RISC-V guests', () => {
  const UART = 0x1000_0000;

  it('are answered at once when the translation is known, as load and store answer them', () => {
    const seen: string[] = [];
    const memory = makeMemory();
    memory.mapMmio(UART, 0x100, { read: (o, size) => (seen.push(`read ${o} ${size}`), 0x89ab_cdef), write: (o, size, v) => void seen.push(`write ${o} ${size} ${v.toString(16)}`) });
    const helpers = riscvHelpers();
    const cpu = new RiscvCpu({
      index: 0, state: state(), map: memory, isDevice: (pa) => memory.isDevice(pa), clock: { now: () => 0 }, timer: () => ({ arm: () => undefined, disarm: () => undefined }), time: () => 0, helpers,
      lifter: riscvLifter(helpers),
    });
    const { V } = cpu;
    const at = (pa: number): void => {
      V[Slot.X_ADDR * 2] = pa;
      V[Slot.X_ADDR * 2 + 1] = 0;
    };
    at(UART + 4);
    expect(cpu.tryLoad(2, Slot.X_ADDR, Slot.X_VAL, 0), 'not known yet').toBe(null);
    cpu.load(2, Slot.X_ADDR, Slot.X_VAL, 0);
    V[Slot.X_VAL * 2 + 1] = 77;
    expect(cpu.tryLoad(2, Slot.X_ADDR, Slot.X_VAL, 0)).toBe(undefined);
    expect([V[Slot.X_VAL * 2], V[Slot.X_VAL * 2 + 1]]).toEqual([0x89ab_cdef | 0, 0]);
    for (const w of [0, 1, 2]) {
      V[Slot.X_VAL * 2] = 0xf123_4567 | 0;
      expect(cpu.tryStore(w, Slot.X_ADDR, Slot.X_VAL, 0)).toBe(undefined);
    }
    expect(seen).toEqual(['read 4 4', 'read 4 4', 'write 4 1 67', 'write 4 2 4567', 'write 4 4 f1234567']);
    expect(cpu.tryStore(3, Slot.X_ADDR, Slot.X_VAL, 0), 'eight bytes').toBe(null);
    expect(cpu.tryLoad(2, Slot.X_ADDR, Slot.X_VAL, 1), 'not a plain load').toBe(null);
    at(UART + 5);
    expect(cpu.tryLoad(2, Slot.X_ADDR, Slot.X_VAL, 0), 'not aligned').toBe(null);
    at(UART + 0x100);
    expect(cpu.tryLoad(0, Slot.X_ADDR, Slot.X_VAL, 0), 'nothing there').toBe(null);
    expect(() => cpu.load(0, Slot.X_ADDR, Slot.X_VAL, 0)).toThrow();
    at(UART + 4);
    cpu.mmu.flushPage(PAGE, 0);
    expect(cpu.tryStore(0, Slot.X_ADDR, Slot.X_VAL, 1), 'not a plain store').toBe(null);
    expect(cpu.tryLoad(2, Slot.X_ADDR, Slot.X_VAL, 0), 'another page has been flushed').toBe(undefined);
    seen.pop();
    cpu.mmu.flushPage(UART, 0);
    expect(cpu.tryLoad(2, Slot.X_ADDR, Slot.X_VAL, 0), 'this page has').toBe(null);
    cpu.load(2, Slot.X_ADDR, Slot.X_VAL, 0);
    seen.pop();
    cpu.flushTlb();
    expect(cpu.tryStore(0, Slot.X_ADDR, Slot.X_VAL, 0), 'forgotten').toBe(null);
    at(PAGE);
    store(cpu, PAGE);
    expect(cpu.tryStore(0, Slot.X_ADDR, Slot.X_VAL, 0), 'memory').toBe(null);
    expect(seen).toHaveLength(5);
  });
});

describe('large pages of RISC-V guests', () => {
  const entry = (cpu: RiscvCpu, lo: number): Int32Array => cpu.V.subarray((TLB_BASE + cpu.mmuIdx * TLB_TABLE_BYTES) / 4 + ((lo >>> 12) & ((1 << TLB_BITS) - 1)) * 8).subarray(0, 8);
  const known = (cpu: RiscvCpu, lo: number): [read: boolean, written: boolean] => [entry(cpu, lo)[0] === lo, entry(cpu, lo)[2] === lo];
  /** Sv39 with one page of 1 GiB (X, W, R, V), each address where it is, for S-mode. */
  function supervisor(): RiscvCpu {
    const cpu = riscv();
    cpu.map.write32(TABLES + 8, ((RAM >>> 12) << 10) | 0xcf);
    cpu.priv = Priv.S;
    cpu.mmu.configure(TABLES >>> 12, 0x8000_0000 | 0);
    cpu.updateMode();
    cpu.mmu.pmp.setAddr(15, -1, -1);
    cpu.mmu.pmp.setCfg(15, 0x1f);
    return cpu;
  }

  it.each([['paging', supervisor], ['none', riscv]] as const)('are entered around a miss but for code and what is no RAM: %s', (_name, make) => {
    const cpu = make();
    cpu.map.codePages[5] = 1;
    store(cpu, PAGE);
    expect(known(cpu, PAGE + 0x1000)).toEqual([true, true]);
    expect(known(cpu, RAM + 0x5000), 'code').toEqual([false, false]);
    expect(known(cpu, RAM + 0x1_0000), 'beyond').toEqual([false, false]);
    cpu.load(2, Slot.TEMP, Slot.TEMP, 0);
    expect(entry(cpu, PAGE + 0x1000)[4]).toBe(entry(cpu, PAGE)[4]);
    store(cpu, RAM + 0xf_e000);
    expect(known(cpu, RAM + 0xf_d000)).toEqual([true, true]);
    expect(known(cpu, RAM + 0xf_f000), 'ROM elsewhere').toEqual([false, false]);
    cpu.mmu.flushPage(PAGE + 0x1000, 0);
    expect(known(cpu, PAGE + 0x1000)).toEqual([false, false]);
    // Entries made from a large page are dropped together.
    expect(known(cpu, PAGE)).toEqual(make === riscv ? [true, true] : [false, false]);
  });

  it('are left alone where PMP tells their pages apart', () => {
    const cpu = supervisor();
    // Read only.
    cpu.mmu.pmp.setAddr(0, ((PAGE + 0x1000) >>> 2) | 0x1ff, 0);
    cpu.mmu.pmp.setCfg(0, 0x19);
    store(cpu, PAGE);
    expect(known(cpu, PAGE)).toEqual([true, true]);
    expect(known(cpu, PAGE + 0x1000)).toEqual([false, false]);
    expect(() => store(cpu, PAGE + 0x1000)).toThrow();
    store(cpu, PAGE + 0xe000);
    expect(known(cpu, PAGE + 0xf000)).toEqual([true, true]);
  });

  it('do not take the place of what is there', () => {
    const cpu = riscv();
    const far = PAGE + (1 << (12 + TLB_BITS));
    entry(cpu, far + 0x1000).set([far + 0x1000, 0, -1, -1, 0, 0, 0, (far + 0x1000) | 1]);
    store(cpu, PAGE);
    expect(known(cpu, PAGE + 0x1000)).toEqual([false, false]);
    expect(known(cpu, PAGE + 0x2000)).toEqual([true, true]);
  });

  it('are watched page by page', () => {
    const cpu = riscv();
    cpu.mmu.watchpoints.set([{ lo: PAGE + 0x1000, hi: 0, bytes: 4, write: true, read: false }], () => undefined);
    store(cpu, PAGE);
    expect(known(cpu, PAGE + 0x1000)).toEqual([false, false]);
  });
});

describe('SFENCE.VMA', () => {
  it('goes on in its block after the fence of another page', () => {
    const cpu = riscv();
    const fence = cpu.helpers.list[cpu.helpers.id('sfence_vma')]!.fn as HelperFn<RiscvCpu>;
    const { V } = cpu;
    V[Slot.PCBASE * 2] = PAGE;
    V[Slot.X_INSN * 2] = 0x10 | (0x14 << 16);
    V[xreg(10) * 2 + 1] = 0;
    const run = (insn: number, lo: number): HelperResult => {
      V[xreg(10) * 2] = lo;
      return fence(cpu, NONE, xreg(10), xreg(0), NONE, insn);
    };
    expect(run(0x1205_0073, PAGE + 0x1008)).toBe(HelperResult.CONTINUE);
    expect(run(0x1205_0073, PAGE + 0x800), 'its own page').toBe(HelperResult.DISPATCH);
    expect(V[Slot.PC * 2]).toBe(PAGE + 0x14);
    expect(run(0x1200_0073, PAGE + 0x1008), 'all pages').toBe(HelperResult.DISPATCH);
  });
});
