/** The vector extension apart from what single instructions compute (test/riscv-diff): state, faults in the middle, what is illegal, encodings. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GuestFault } from '#lib/engine/cpu.js';
import { RiscvCpu } from '#lib/engine/guest/riscv/cpu.js';
import { Cause, Csr, Ms, Priv, X, xreg } from '#lib/engine/guest/riscv/defs.js';
import { UsageError } from '#lib/errors.js';
import { isaString, riscvHelpers, riscvLifter } from '#lib/engine/guest/riscv/guest.js';
import { parseRiscvCpu } from '#lib/engine/guest/riscv/model.js';
import { FORMS, Kind, VECTOR_INSNS } from '#lib/engine/guest/riscv/vector-table.js';
import { Engine } from '#lib/engine/jit/engine.js';
import { NONE, Slot, STATE_BYTES } from '#lib/engine/state.js';
import { riscv } from '#lib/machine/guests/riscv.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { hostTool, skipFor } from '../../boot/guests.js';

const RAM = 0x8000_0000;
const BYTES = 0x2_0000;
/** Page tables, level 2 to 0; the pages that they map at linear address 0x4000 on. */
const TABLES = 0x8000_4000;
const PAGES = 0x8001_0000;
const LINEAR = 0x4000;

interface Parts {
  cpu: RiscvCpu;
  memory: PhysicalMemory;
}

function make(vectors = true): Parts {
  const vlen = vectors ? 128 : undefined;
  const memory = new PhysicalMemory(new ArrayBuffer(BYTES), 0);
  memory.mapRam(RAM, BYTES, 0);
  const helpers = riscvHelpers();
  const cpu = new RiscvCpu({
    index: 0, state: { buffer: new ArrayBuffer(STATE_BYTES), address: 0 }, map: memory, isDevice: () => false, clock: { now: () => 0 }, time: () => 0, helpers,
    timer: () => ({ arm: () => undefined, disarm: () => undefined }), lifter: riscvLifter(helpers, vectors ? ['v'] : []), vlen,
  });
  cpu.csr.write(Csr.PMPADDR0, -1, -1);
  cpu.csr.write(Csr.PMPCFG0, 0x1f, 0);
  cpu.csr.write(Csr.MSTATUS, Ms.VS | Ms.FS, 0);
  return { cpu, memory };
}

/** Executes one instruction as lifted code does. */
function run(cpu: RiscvCpu, insn: number): void {
  cpu.vector!.execute(insn, xreg((insn >>> 7) & 31), xreg((insn >>> 15) & 31), xreg((insn >>> 20) & 31));
}

/** @returns the cause of the exception that it raises, or null */
function cause(cpu: RiscvCpu, insn: number): Cause | null {
  try {
    run(cpu, insn);
    return null;
  } catch (e) {
    if (!(e instanceof GuestFault)) throw e;
    return e.vector;
  }
}

const vtype = (sewBits: number, lmul: number): number => (Math.log2(sewBits / 8) << 3) | (Math.log2(lmul) & 7);
/** VSETIVLI x0, avl, vtype. */
const configure = (cpu: RiscvCpu, sewBits: number, lmul: number, avl: number): void => run(cpu, 0xc000_7057 | (vtype(sewBits, lmul) << 20) | (avl << 15));
const csr = (cpu: RiscvCpu, n: Csr): number => (cpu.csr.read(n, false) ? cpu.csr.lo : NaN);
const bytes = (cpu: RiscvCpu, v: number, n = 16): number[] => [...cpu.U8.subarray(X.V * 8 + v * 16, X.V * 8 + v * 16 + n)];
/** Loads and stores with the base in x10. */
const access = (op: 0x07 | 0x27, width: number, vd: number, o: { vm?: number; mop?: number; rs2?: number; nf?: number } = {}): number =>
  (((o.nf ?? 1) - 1) << 29) | ((o.mop ?? 0) << 26) | ((o.vm ?? 1) << 25) | ((o.rs2 ?? 0) << 20) | (10 << 15) | (width << 12) | (vd << 7) | op;

/** In S-mode, pages from LINEAR on as given: RAM or not there. */
function paged(p: Parts, present: readonly boolean[]): void {
  const { cpu, memory } = p;
  const pte = (at: number, to: number, bits: number): void => {
    memory.write32(at, (to >>> 12) << 10 | bits);
    memory.write32(at + 4, 0);
  };
  pte(TABLES, TABLES + 0x1000, 1);
  pte(TABLES + 0x1000, TABLES + 0x2000, 1);
  present.forEach((there, i) => pte(TABLES + 0x2000 + 8 * ((LINEAR >> 12) + i), PAGES + 0x1000 * i, there ? 0xc7 : 0));
  cpu.csr.write(Csr.SATP, TABLES >>> 12, 8 << 28);
  cpu.priv = Priv.S;
  cpu.updateMode();
  cpu.mmu.flushAll();
}

const setX = (cpu: RiscvCpu, r: number, lo: number): void => cpu.setReg(xreg(r), lo | 0, lo < 0 ? -1 : 0);

describe('vector state', () => {
  it('is not there without the extension', () => {
    const { cpu } = make(false);
    expect(cpu.vector === null).toBe(true);
    expect(csr(cpu, Csr.VLENB)).toBeNaN();
    expect(csr(cpu, Csr.MISA) & (1 << 21)).toBe(0);
    cpu.csr.write(Csr.MSTATUS, Ms.VS, 0);
    expect(csr(cpu, Csr.MSTATUS) & Ms.VS).toBe(0);
    expect(isaString(false, [])).toMatch(/^rv64imafdc_/);
    expect(isaString(false, ['v'])).toMatch(/^rv64imafdcv_/);
  });

  it('has mstatus.VS: Off is illegal, everything else makes it Dirty', () => {
    const { cpu } = make();
    const status = (): number => (csr(cpu, Csr.MSTATUS) & Ms.VS) / (Ms.VS / 3);
    expect(csr(cpu, Csr.MISA) & (1 << 21)).not.toBe(0);
    const set = (vs: number): void => cpu.csr.write(Csr.MSTATUS, vs * (Ms.VS / 3), 0);
    set(0);
    expect(cause(cpu, 0xc080_7057 | 0)).toBe(Cause.ILLEGAL);
    for (const n of [Csr.VSTART, Csr.VXSAT, Csr.VXRM, Csr.VCSR, Csr.VL, Csr.VTYPE, Csr.VLENB]) expect(cpu.csr.read(n, false), n.toString(16)).toBe(false);
    for (const vs of [1, 2]) {
      set(vs);
      expect(csr(cpu, Csr.VLENB)).toBe(16);
      expect(status()).toBe(vs);
      configure(cpu, 8, 1, 4);
      expect(status()).toBe(3);
      expect(cpu.csr.hi >>> 31, 'SD').toBe(1);
      expect(cpu.csr.read(Csr.SSTATUS, false) && cpu.csr.hi >>> 31).toBe(1);
      set(vs);
      cpu.csr.write(Csr.VXRM, 7, 0);
      expect(status()).toBe(3);
      expect(csr(cpu, Csr.VCSR)).toBe(6);
    }
    // The others are read-only.
    expect(cpu.csr.read(Csr.VL, true)).toBe(false);
  });

  it('has floating point only with mstatus.FS, and with a rounding mode that there is', () => {
    const { cpu } = make();
    const vfadd = 0x0220_9057 | (8 << 20) | (16 << 7);
    configure(cpu, 32, 1, 4);
    expect(cause(cpu, vfadd)).toBeNull();
    cpu.csr.write(Csr.FRM, 5, 0);
    expect(cause(cpu, vfadd)).toBe(Cause.ILLEGAL);
    cpu.csr.write(Csr.FRM, 0, 0);
    cpu.csr.write(Csr.MSTATUS, Ms.VS, 0);
    expect(cause(cpu, vfadd)).toBe(Cause.ILLEGAL);
    expect(cause(cpu, 0x0220_0057 | (16 << 7)), 'vadd.vv').toBeNull();
    cpu.csr.write(Csr.MSTATUS, Ms.VS | (Ms.FS / 3), 0);
    expect(cause(cpu, vfadd)).toBeNull();
    expect(csr(cpu, Csr.MSTATUS) & Ms.FS).toBe(Ms.FS);
  });

  it('is vill after reset and after a vtype that there is not', () => {
    const { cpu } = make();
    expect([csr(cpu, Csr.VTYPE), cpu.csr.hi]).toEqual([0, 0x8000_0000 | 0]);
    expect(cause(cpu, 0x0220_0057)).toBe(Cause.ILLEGAL);
    configure(cpu, 8, 1, 4);
    expect(cause(cpu, 0x0220_0057)).toBeNull();
    for (const bad of [4, 0x20, 0x38, 0x100, vtype(64, 0.25), vtype(32, 0.125)]) {
      setX(cpu, 5, bad);
      setX(cpu, 6, 4);
      // VSETVL x7, x6, x5.
      run(cpu, 0x8053_73d7 | 0);
      expect([csr(cpu, Csr.VTYPE), cpu.csr.hi, csr(cpu, Csr.VL), cpu.V[xreg(7) * 2]], bad.toString(16)).toEqual([0, 0x8000_0000 | 0, 0, 0]);
    }
    // Loads, stores and moves of whole registers do not need vtype, other than VMV<NR>R.
    setX(cpu, 10, RAM);
    expect(cause(cpu, access(0x07, 0, 8, { rs2: 8 }))).toBeNull();
    expect(cause(cpu, access(0x27, 0, 8, { rs2: 8 }))).toBeNull();
    expect(cause(cpu, access(0x07, 0, 8))).toBe(Cause.ILLEGAL);
  });

  it('has vl from AVL', () => {
    const { cpu } = make();
    const length = (rd: number, rs1: number, avl: number): number => {
      cpu.setReg(xreg(6), avl % 2 ** 32 | 0, Math.floor(avl / 2 ** 32));
      run(cpu, (vtype(16, 2) << 20) | (rs1 << 15) | 0x7057 | (rd << 7));
      return csr(cpu, Csr.VL);
    };
    expect([length(5, 6, 3), length(5, 6, 16), length(5, 6, 17), length(5, 6, 2 ** 32), length(5, 6, 0)]).toEqual([3, 16, 16, 16, 0]);
    expect(length(5, 0, 0)).toBe(16);
    expect([length(5, 6, 7), length(0, 0, 0)]).toEqual([7, 7]);
  });
});

describe('an access that faults in the middle', () => {
  it('stops at the element, and goes on there', () => {
    const p = make();
    const { cpu, memory } = p;
    paged(p, [true, false, true]);
    for (let i = 0; i < 64; i++) (memory.ram8[PAGES - RAM + 0xff0 + i] = i + 1);
    setX(cpu, 10, LINEAR + 0xff6);
    configure(cpu, 16, 1, 8);
    cpu.csr.write(Csr.SSTATUS, Ms.VS / 3, 0);
    expect(cause(cpu, access(0x07, 5, 8))).toBe(Cause.LOAD_PAGE);
    expect(csr(cpu, Csr.VSTART)).toBe(5);
    expect(csr(cpu, Csr.SSTATUS) & Ms.VS).toBe(Ms.VS);
    expect(bytes(cpu, 8)).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 0, 0, 0, 0, 0]);
    // The page comes, and what has been loaded is not loaded again.
    paged(p, [true, true, true]);
    memory.ram8[PAGES - RAM + 0xff6] = 99;
    expect(cause(cpu, access(0x07, 5, 8))).toBeNull();
    expect(csr(cpu, Csr.VSTART)).toBe(0);
    expect(bytes(cpu, 8)).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]);
  });

  it('tells the address of the element, of stores too, and with strides, segments and indexes', () => {
    const p = make();
    const { cpu, memory } = p;
    paged(p, [true, false]);
    configure(cpu, 32, 1, 4);
    const fault = (insn: number): (number | null)[] => {
      const c = cause(cpu, insn);
      cpu.deliverFault(cpu.fault(c ?? 0, 0, 0));
      const at = csr(cpu, Csr.VSTART);
      cpu.priv = Priv.S;
      cpu.updateMode();
      cpu.csr.write(Csr.VSTART, 0, 0);
      return [c, at];
    };
    setX(cpu, 10, LINEAR + 0xff4);
    for (let i = 0; i < 16; i++) cpu.U8[X.V * 8 + 8 * 16 + i] = 0xa0 + i;
    expect(fault(access(0x27, 6, 8))).toEqual([Cause.STORE_PAGE, 3]);
    expect([...memory.ram8.subarray(PAGES - RAM + 0xff4, PAGES - RAM + 0x1000)]).toEqual(bytes(cpu, 8, 12));
    setX(cpu, 11, 12);
    expect(fault(access(0x07, 6, 8, { mop: 2, rs2: 11 }))).toEqual([Cause.LOAD_PAGE, 1]);
    expect(fault(access(0x07, 6, 8, { nf: 2 }))).toEqual([Cause.LOAD_PAGE, 1]);
    // Indexes 0, 4, 16, 8: only the third is outside.
    for (const [i, v] of [0, 4, 16, 8].entries()) cpu.V[(X.V + 2 * 9) * 2 + i] = v;
    expect(fault(access(0x07, 6, 8, { mop: 3, rs2: 9 }))).toEqual([Cause.LOAD_PAGE, 2]);
    // Masked elements do not fault.
    cpu.U8[X.V * 8] = 0b0111;
    expect(fault(access(0x27, 6, 8, { vm: 0 }))).toEqual([null, 0]);
  });

  it('shortens vl of a fault-only-first load, unless it is the first', () => {
    const p = make();
    const { cpu } = p;
    paged(p, [true, false]);
    configure(cpu, 8, 1, 16);
    const first = access(0x07, 0, 8, { rs2: 16 });
    setX(cpu, 10, LINEAR + 0xffb);
    expect(cause(cpu, first)).toBeNull();
    expect([csr(cpu, Csr.VL), csr(cpu, Csr.VSTART)]).toEqual([5, 0]);
    setX(cpu, 10, LINEAR + 0x1000);
    expect(cause(cpu, first)).toBe(Cause.LOAD_PAGE);
    expect([csr(cpu, Csr.VL), csr(cpu, Csr.VSTART)]).toEqual([5, 0]);
    // Segments: of one that is only partly there nothing is loaded.
    configure(cpu, 16, 1, 4);
    cpu.U8.fill(0xee, X.V * 8 + 8 * 16, X.V * 8 + 10 * 16);
    setX(cpu, 10, LINEAR + 0xffa);
    expect(cause(cpu, access(0x07, 5, 8, { rs2: 16, nf: 2 }))).toBeNull();
    expect(csr(cpu, Csr.VL)).toBe(1);
    expect(bytes(cpu, 8, 4)).toEqual([0, 0, 0xee, 0xee]);
  });
});

describe('illegal vector instructions', () => {
  const word = (funct6: number, funct3: number, vm: number, vs2: number, vs1: number, vd: number): number => (funct6 << 26) | (vm << 25) | (vs2 << 20) | (vs1 << 15) | (funct3 << 12) | (vd << 7) | 0x57;
  it.each<[string, number, number, number]>([
    ['a group that does not begin at a multiple of LMUL: vd', 8, 2, word(0, 0, 1, 8, 16, 3)],
    ['vs2', 8, 4, word(0, 0, 1, 6, 16, 4)],
    ['vs1', 8, 8, word(0, 0, 1, 8, 12, 16)],
    ['a masked destination over the mask', 8, 1, word(0, 0, 0, 8, 16, 0)],
    ['a masked source over the mask', 8, 1, word(0, 0, 0, 0, 16, 8)],
    ['twice 64 bits', 64, 1, word(0x31, 2, 1, 8, 16, 24)],
    ['a widening group of 16 registers', 8, 8, word(0x31, 2, 1, 8, 16, 24)],
    ['a wide destination over the lower part of a source', 8, 1, word(0x31, 2, 1, 8, 16, 8)],
    ['a wide accumulator over a source', 8, 1, word(0x3d, 2, 1, 9, 16, 8)],
    ['a narrow destination over the upper part of the source', 8, 1, word(0x2c, 0, 1, 8, 16, 9)],
    ['a slide up onto itself', 8, 1, word(0x0e, 3, 1, 8, 1, 8)],
    ['a gather onto its indexes', 8, 1, word(0x0c, 0, 1, 8, 16, 16)],
    ['VADC without a mask', 8, 1, word(0x10, 0, 1, 8, 16, 24)],
    ['VMERGE into the mask', 8, 1, word(0x17, 0, 0, 8, 16, 0)],
    ['VMV.V.V with vs2', 8, 1, word(0x17, 0, 1, 8, 16, 24)],
    ['a masked mask operation', 8, 1, word(0x19, 2, 0, 8, 16, 24)],
    ['VMSBF onto its source', 8, 1, word(0x14, 2, 1, 8, 1, 8)],
    ['extension of less than a byte', 16, 1, word(0x12, 2, 1, 8, 4, 16)],
    ['a move of three registers', 8, 1, word(0x27, 3, 1, 8, 2, 16)],
    ['floating point of 8 bits', 8, 1, word(0, 1, 1, 8, 16, 24)],
    ['half precision', 16, 1, word(0, 1, 1, 8, 16, 24)],
    ['funct6 that nothing has', 8, 1, word(0x35, 0, 1, 8, 16, 24)],
    ['VSUB with an immediate', 8, 1, word(0x02, 3, 1, 8, 16, 24)],
    ['a load with mew', 8, 1, access(0x07, 0, 8) | (1 << 28)],
    ['EMUL of 16', 8, 2, access(0x07, 7, 8)],
    ['EMUL of 1/16', 64, 0.5, access(0x07, 0, 8)],
    ['segments of more than eight registers', 8, 4, access(0x07, 0, 8, { nf: 3 })],
    ['segments beyond v31', 8, 1, access(0x07, 0, 30, { nf: 3 })],
    ['three whole registers', 8, 1, access(0x07, 0, 8, { rs2: 8, nf: 3 })],
    ['a whole store of halfwords', 8, 1, access(0x27, 5, 8, { rs2: 8 })],
    ['a mask load of words', 8, 1, access(0x07, 6, 8, { rs2: 11 })],
    ['a fault-only-first store', 8, 1, access(0x27, 0, 8, { rs2: 16 })],
    ['an indexed load over its indexes', 32, 1, access(0x07, 0, 8, { mop: 1, rs2: 8, nf: 2 })],
  ])('%s', (_what, sewBits, lmul, insn) => {
    const { cpu } = make();
    setX(cpu, 10, RAM);
    configure(cpu, sewBits, lmul, 1);
    expect(cause(cpu, insn)).toBe(Cause.ILLEGAL);
  });

  it('need vstart = 0 where they say so', () => {
    const { cpu } = make();
    configure(cpu, 8, 1, 8);
    for (const insn of [word(0x00, 2, 1, 8, 16, 24), word(0x17, 2, 1, 8, 16, 24), word(0x10, 2, 1, 8, 16, 5), word(0x10, 2, 1, 8, 17, 5), word(0x14, 2, 1, 8, 1, 24), word(0x14, 2, 1, 8, 16, 24)]) {
      cpu.csr.write(Csr.VSTART, 1, 0);
      expect(cause(cpu, insn), insn.toString(16)).toBe(Cause.ILLEGAL);
      cpu.csr.write(Csr.VSTART, 0, 0);
      expect(cause(cpu, insn), insn.toString(16)).toBeNull();
    }
  });
});

describe('vector code', () => {
  it('raises and computes in blocks: VS Off, then on', () => {
    const { cpu, memory } = make();
    const engine = new Engine(memory, [cpu], { host: null, passes: {}, maxInsns: 64, stepBit: riscv.stepBit, fpHelperBit: riscv.fpHelperBit, mask32: () => false });
    // vsetivli x5, 4, e32,m1; vid.v v8; vmv.x.s x6, v8; wfi. The trap handler: wfi.
    [0xcd02_72d7, 0x5208_a457, 0x4280_2357, 0x1050_0073].forEach((w, i) => memory.write32(RAM + 4 * i, w));
    memory.write32(RAM + 0x100, 0x1050_0073);
    cpu.csr.write(Csr.MTVEC, RAM + 0x100, 0);
    const go = (status: number): number => {
      cpu.csr.write(Csr.MSTATUS, status, 0);
      cpu.V[Slot.PC * 2] = RAM | 0;
      cpu.V[Slot.PC * 2 + 1] = 0;
      cpu.halted = false;
      engine.runSlice(cpu);
      return cpu.V[Slot.PC * 2]! >>> 0;
    };
    expect(go(0)).toBe(RAM + 0x104);
    expect([csr(cpu, Csr.MCAUSE), csr(cpu, Csr.MTVAL) >>> 0]).toEqual([Cause.ILLEGAL, 0xcd02_72d7]);
    expect(go(Ms.VS / 3)).toBe(RAM + 16);
    expect([cpu.V[xreg(5) * 2], cpu.V[xreg(6) * 2]]).toEqual([4, 0]);
    expect([...cpu.V.subarray((X.V + 16) * 2, (X.V + 16) * 2 + 4)]).toEqual([0, 1, 2, 3]);
  });
});

describe('floating-point vector code of U-mode', () => {
  it('makes FS Dirty, which is part of the mode, goes on behind the instruction and is counted once', () => {
    const { cpu, memory } = make();
    const engine = new Engine(memory, [cpu], { host: null, passes: {}, maxInsns: 64, stepBit: riscv.stepBit, fpHelperBit: riscv.fpHelperBit, mask32: () => false });
    // vsetivli x5, 4, e32,m1; vfadd.vv v24, v8, v8; addi x6, x6, 1; ecall. The trap handler: wfi.
    [0xcd02_72d7, 0x0284_1c57, 0x0013_0313, 0x0000_0073].forEach((w, i) => memory.write32(RAM + 4 * i, w));
    memory.write32(RAM + 0x100, 0x1050_0073);
    cpu.csr.write(Csr.MTVEC, RAM + 0x100, 0);
    csr(cpu, Csr.MINSTRET);
    const go = (status: number): number => {
      cpu.csr.write(Csr.MSTATUS, status, 0);
      cpu.csr.setPlain(Csr.MEPC, RAM | 0, 0);
      const before = csr(cpu, Csr.MINSTRET);
      cpu.trapReturn(true);
      cpu.halted = false;
      engine.runSlice(cpu);
      return csr(cpu, Csr.MINSTRET) - before;
    };
    for (let i = 0; i < 4; i++) cpu.V[(X.V + 16) * 2 + i] = 0x3f80_0000;
    // VS and FS Initial; then Dirty.
    const counts = [go(Ms.VS / 3 | Ms.FS / 3), go(Ms.VS | Ms.FS)];
    expect(csr(cpu, Csr.MSTATUS) & (Ms.FS | Ms.VS)).toBe(Ms.FS | Ms.VS);
    expect(cpu.V[xreg(6) * 2]).toBe(2);
    expect([...cpu.V.subarray((X.V + 48) * 2, (X.V + 48) * 2 + 4)]).toEqual([0x4000_0000, 0x4000_0000, 0x4000_0000, 0x4000_0000]);
    // Three, and the WFI of the handler; ECALL does not retire.
    expect(counts).toEqual([4, 4]);
    // With FS Off it is illegal, and the first instruction is not.
    go(Ms.VS / 3);
    expect([csr(cpu, Csr.MCAUSE), csr(cpu, Csr.MEPC) >>> 0]).toEqual([Cause.ILLEGAL, RAM + 4]);
  });
});

describe.skipIf(skipFor(hostTool('riscv64-linux-gnu-as', 'riscv64-linux-gnu-objdump')))('encodings', () => {
  /** What rows that are groups have by vs1; other rows are called like their instruction. */
  const GROUPS: Readonly<Record<string, Readonly<Record<number, string>>>> = {
    vwxunary0: { 0: 'vmv.x.s', 16: 'vcpop.m', 17: 'vfirst.m' },
    vxunary0: { 2: 'vzext.vf8', 3: 'vsext.vf8', 4: 'vzext.vf4', 5: 'vsext.vf4', 6: 'vzext.vf2', 7: 'vsext.vf2' },
    vmunary0: { 1: 'vmsbf.m', 2: 'vmsof.m', 3: 'vmsif.m', 16: 'viota.m', 17: 'vid.v' },
    vfunary0: {
      0: 'vfcvt.xu.f.v', 1: 'vfcvt.x.f.v', 2: 'vfcvt.f.xu.v', 3: 'vfcvt.f.x.v', 6: 'vfcvt.rtz.xu.f.v', 7: 'vfcvt.rtz.x.f.v', 8: 'vfwcvt.xu.f.v', 9: 'vfwcvt.x.f.v', 10: 'vfwcvt.f.xu.v',
      11: 'vfwcvt.f.x.v', 12: 'vfwcvt.f.f.v', 14: 'vfwcvt.rtz.xu.f.v', 15: 'vfwcvt.rtz.x.f.v', 16: 'vfncvt.xu.f.w', 17: 'vfncvt.x.f.w', 18: 'vfncvt.f.xu.w', 19: 'vfncvt.f.x.w', 20: 'vfncvt.f.f.w',
      21: 'vfncvt.rod.f.f.w', 22: 'vfncvt.rtz.xu.f.w', 23: 'vfncvt.rtz.x.f.w',
    },
    vfunary1: { 0: 'vfsqrt.v', 4: 'vfrsqrt7.v', 5: 'vfrec7.v', 16: 'vfclass.v' },
    'vmv.s.x': { 1: 'vmv.s.x' }, 'vfmv.f.s': { 0: 'vfmv.f.s' }, 'vfmv.s.f': { 1: 'vfmv.s.f' }, vmvnr: { 0: 'vmv1r.v', 1: 'vmv2r.v', 3: 'vmv4r.v', 7: 'vmv8r.v' },
  };

  it('are those of GNU binutils, all of them', () => {
    const words: number[] = [];
    const names: string[] = [];
    for (const row of VECTOR_INSNS) {
      for (const form of row.forms) {
        const masked = row.kind === Kind.CARRY || row.kind === Kind.MERGE || row.kind === Kind.FLOAT_MERGE;
        const vs2 = /s\.[xf]$/.test(row.name) ? 0 : 16;
        for (const [vs1, name] of Object.entries(GROUPS[row.name] ?? { 9: row.name })) {
          words.push(((row.f6 << 26) | ((masked ? 0 : 1) << 25) | ((name === 'vid.v' ? 0 : vs2) << 20) | (Number(vs1) << 15) | (FORMS.indexOf(form) << 12) | (8 << 7) | 0x57) >>> 0);
          names.push(name);
        }
      }
    }
    const dir = mkdtempSync(join(tmpdir(), 'vmx-rvv-'));
    try {
      writeFileSync(join(dir, 'a.s'), words.map((w) => `.insn 4, ${w}\n`).join(''));
      execFileSync('riscv64-linux-gnu-as', ['-march=rv64gcv', '-o', join(dir, 'a.o'), join(dir, 'a.s')]);
      const text = execFileSync('riscv64-linux-gnu-objdump', ['-d', '-M', 'no-aliases', join(dir, 'a.o')], { encoding: 'utf8' });
      const lines = [...text.matchAll(/^ +[0-9a-f]+:\t([0-9a-f]{8}) +\t(\S+)/gm)];
      expect(lines).toHaveLength(words.length);
      for (const [i, m] of lines.entries()) {
        expect(Number.parseInt(m[1]!, 16)).toBe(words[i]);
        // Of ordinary rows the suffix says the form: vadd.vv; vwadd.w is vwadd.wv.
        expect(`${m[2]!}.`.startsWith(names[i]!.includes('.w') && !/cvt/.test(names[i]!) ? names[i]! : `${names[i]!}.`), `${m[1]!} ${m[2]!} ${names[i]!}`).toBe(true);
      }
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

describe('--cpu of RISC-V guests', () => {
  it('has vectors when asked for', () => {
    const vlen = (text: string): number | undefined => parseRiscvCpu(text).vlen;
    expect(['rv64', 'max', 'rv64,v=on', 'rv64,+v', 'max,-v', 'max,v=off', 'max,vlen=256', 'rv64,vlen=256,v=on'].map(vlen)).toEqual([undefined, 128, 128, 128, undefined, undefined, 256, 256]);
  });

  it('has half precision when asked for, and says so', () => {
    const optional = (text: string): readonly string[] => parseRiscvCpu(text).optional;
    expect(['rv64', 'max', 'rv64,zfh=on', 'rv64,+zfh,v=on', 'max,-zfh', 'max,zfh=off,-v'].map(optional)).toEqual([[], ['v', 'zfh'], ['zfh'], ['v', 'zfh'], ['v'], []]);
    expect(isaString(false, ['v', 'zfh'])).toMatch(/^rv64imafdcv_.*_zihpm_zfh_zba_/);
    for (const bad of ['rv64,zfh', 'rv64,zfh=1', 'rv64,zfa=on']) expect(() => parseRiscvCpu(bad), bad).toThrow(UsageError);
  });

  it('runs without operands that have a slot', () => {
    const { cpu } = make();
    configure(cpu, 8, 1, 4);
    expect(() => cpu.vector!.execute(0x0220_0057 | (8 << 7), NONE, NONE, NONE)).not.toThrow();
  });
});
