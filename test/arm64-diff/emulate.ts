/** Runs cases of runner.c's format on our executors: EL0 code with the MMU on, one instruction block at a time or generated code. */
import { Arm64Cpu } from '#lib/engine/guest/arm64/cpu.js';
import { arm64Helpers, arm64Lifter } from '#lib/engine/guest/arm64/guest.js';
import { ARM64_DEFAULT_CPU, parseArm64Cpu } from '#lib/engine/guest/arm64/model.js';
import { A, vreg } from '#lib/engine/guest/arm64/regs.js';
import { X64Host } from '#lib/engine/host/x64/host.js';
import { Engine, SliceEnd } from '#lib/engine/jit/engine.js';
import { STATE_BYTES } from '#lib/engine/state.js';
import { arm64 } from '#lib/machine/guests/arm64.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { loadNative } from '#lib/native.js';
import { At, CODE, DATA, DATA_BYTES, RECORD, checksum, fillData } from './state.js';

const BASE = 0x1000_0000;
const RAM = 0x10_0000;
const TABLES = 0x1008_0000;
const VECTORS = 0x100c_0000;
const WFI = 0xd503_207f | 0;
const SVC = 0xd400_0001 | 0;

/** Signals as Linux gives them for the exceptions that occur. */
function signalOf(esr: number): number {
  const ec = esr >>> 26;
  switch (ec) {
    case 0x15: return 0;
    case 0x00: return 4;
    case 0x20: case 0x24: return (esr & 0x3f) === 0x21 ? 7 : 11;
    case 0x22: case 0x26: return 7;
    case 0x3c: return 5;
    default: return -ec;
  }
}

export class Emulator {
  readonly cpu: Arm64Cpu;
  private readonly engine: Engine;
  private readonly memory: PhysicalMemory;
  private readonly data: BigUint64Array;

  /** What TCR_EL1 and SCTLR_EL1 have beside the bits that the cases need. */
  tcr: [number, number] = [25 << 16, 0];
  sctlr = 0;
  /** APIAKeyLo_EL1, APIAKeyHi_EL1, those of IB, DA, DB and GA. */
  keys: bigint[] = [];

  constructor(jit: boolean, cpu = ARM64_DEFAULT_CPU) {
    const model = parseArm64Cpu(cpu);
    const native = loadNative();
    const ram = native.allocRam(RAM);
    const state = native.allocState(STATE_BYTES);
    this.memory = new PhysicalMemory(ram.buffer, ram.address);
    this.memory.mapRam(BASE, RAM, 0);
    const helpers = arm64Helpers();
    this.cpu = new Arm64Cpu({
      index: 0, model, state, map: this.memory, helpers, lifter: arm64Lifter(helpers, model), gicSystemRegisters: false,
      intc: { irq: false, fiq: false, readIcc: () => 0, writeIcc: () => undefined },
      timer: { now: () => 0, arm: () => undefined, line: () => undefined },
    });
    const exec = jit ? native.allocExec(64 * 1024 * 1024, false) : null;
    const context = exec === null ? null : native.createContext(state, exec);
    const host = exec === null ? null : new X64Host(exec, [context!], native.cpuFeatures(), arm64.pinned);
    this.engine = new Engine(this.memory, [this.cpu], { host, passes: {}, maxInsns: 64, stepBit: arm64.stepBit, fpHelperBit: arm64.fpHelperBit, mask32: () => false });
    // One block descriptor of 1 GiB maps everything for EL0; the vectors lie in a second mapping without EL0 access (EL1 may not
    // execute what EL0 can write).
    this.memory.write32(TABLES, (BASE & 0xc000_0000) | 0x741);
    this.memory.write32(TABLES + 4, 0);
    this.memory.write32(TABLES + 8, (BASE & 0xc000_0000) | 0x701);
    this.memory.write32(TABLES + 12, 0);
    for (let i = 0; i < 16; i++) this.memory.write32(VECTORS + i * 0x80, WFI >>> 0);
    this.data = new BigUint64Array(ram.buffer, DATA - BASE, DATA_BYTES / 8);
  }

  /** Runs the case at byte `at` of input and writes the result to the same place of output. */
  run(input: DataView, output: DataView, at: number): void {
    const { cpu, memory } = this;
    const V = cpu.V;
    cpu.reset();
    cpu.cpacr = 3 << 20;
    cpu.setTcr(25 | (1 << 23) | this.tcr[0], 2 | this.tcr[1]);
    cpu.setMair(0xff, 0);
    cpu.setTtbr(0, TABLES, 0);
    cpu.setSctlr(1 | (1 << 26) | (1 << 14) | (1 << 15) | this.sctlr);
    this.keys.forEach((k, i) => cpu.setSlot(A.APIA + i, Number(k & 0xffff_ffffn) | 0, Number(k >> 32n) | 0));
    cpu.setSlot(A.VBAR_EL1, (VECTORS - BASE + BASE) | 0x4000_0000, 0);
    for (let i = 0; i < 31; i++) cpu.setSlot(A.X0 + i, input.getInt32(at + At.X + 8 * i, true), input.getInt32(at + At.X + 8 * i + 4, true));
    cpu.setSlot(A.X0 + 28, 0x1002_0000, 0);
    cpu.setSlot(A.SP_EL0, input.getInt32(at + At.SP, true), input.getInt32(at + At.SP + 4, true));
    for (let r = 0; r < 32; r++) for (let i = 0; i < 4; i++) V[vreg(r) * 2 + i] = input.getInt32(at + At.V + 16 * r + 4 * i, true);
    const seed = input.getBigUint64(at + At.MEMORY, true);
    if (seed !== 0n) fillData(this.data, seed);
    const count = input.getUint32(at + At.COUNT, true);
    const code = CODE + input.getUint32(at + At.OFFSET, true);
    for (let i = 0; i < count; i++) memory.write32(code + 4 * i, input.getUint32(at + At.CODE + 4 * i, true));
    memory.write32(code + 4 * count, SVC >>> 0);
    cpu.setFpcr(input.getInt32(at + At.FPCR, true));
    cpu.setSlot(A.SPSR_EL1, input.getInt32(at + At.NZCV, true), 0);
    cpu.setSlot(A.ELR_EL1, code, 0);
    // ERET to EL0.
    cpu.eret();
    const end = this.engine.runSlice(cpu);
    if (end !== SliceEnd.HALTED) throw new Error(`slice ended with ${end}`);
    const nzcv = V[A.SPSR_EL1 * 2]! & 0xf000_0000;
    const signal = signalOf(V[A.ESR_EL1 * 2]!);
    for (let i = 0; i < RECORD; i += 4) output.setUint32(at + i, input.getUint32(at + i, true), true);
    output.setBigInt64(at + At.SIGNAL, BigInt(signal), true);
    if (seed !== 0n) output.setBigUint64(at + At.MEMORY, checksum(this.data), true);
    if (signal !== 0) return;
    for (let i = 0; i < 62; i++) output.setInt32(at + At.X + 4 * i, V[A.X0 * 2 + i]!, true);
    output.setInt32(at + At.SP, V[A.SP_EL0 * 2]!, true);
    output.setInt32(at + At.SP + 4, V[A.SP_EL0 * 2 + 1]!, true);
    output.setUint32(at + At.NZCV, nzcv >>> 0, true);
    output.setUint32(at + At.FPSR, cpu.fpsr() >>> 0, true);
    for (let r = 0; r < 32; r++) for (let i = 0; i < 4; i++) output.setInt32(at + At.V + 16 * r + 4 * i, V[vreg(r) * 2 + i]!, true);
  }
}
