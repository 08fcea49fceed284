/** Runs cases of runner.c's format on our executors: U-mode code, traps to a WFI in M-mode. */
import { RiscvCpu } from '#lib/engine/guest/riscv/cpu.js';
import { Csr, Ms, X, xreg } from '#lib/engine/guest/riscv/defs.js';
import { Engine, SliceEnd } from '#lib/engine/jit/engine.js';
import { NONE, Slot } from '#lib/engine/state.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { Hart } from '../engine/riscv/hart.js';
import { CODE, DATA, DATA_BYTES, checksum, fillData } from '../arm64-diff/state.js';
import { At, RECORD, VECTOR_RECORD } from './state.js';

const BASE = 0x1000_0000;
const RAM = 0x10_0000;
const VECTOR = 0x100c_0000;
const WFI = 0x1050_0073;
const ECALL = 0x73;
/** vsetvl x0, x1, x1 */
const VSETVL = 0x8010_f057 | 0;

/** Signals as Linux gives them for the exceptions that occur. */
const SIGNALS: Readonly<Record<number, number>> = { 0: 7, 1: 11, 2: 4, 3: 5, 4: 7, 5: 11, 6: 7, 7: 11, 8: 0, 12: 11, 13: 11, 15: 11 };

export class Emulator {
  private readonly cpu: RiscvCpu;
  private readonly engine: Engine;
  private readonly memory: PhysicalMemory;
  private readonly data: BigUint64Array;

  /**
   * @param vlen with vectors of so many bits
   * @param first what is simple is executed where it is met for the first time, as in machines (docs/adr/0065)
   */
  constructor(jit: boolean, private readonly vlen?: number, private readonly first = false) {
    const hart = new Hart({ base: BASE, bytes: RAM, jit, firstRun: first, optional: vlen === undefined ? ['zfh'] : ['v'], vlen });
    this.cpu = hart.cpu;
    this.engine = hart.engine;
    this.memory = hart.memory;
    this.memory.write32(VECTOR, WFI);
    this.data = new BigUint64Array(hart.ram, DATA - BASE, DATA_BYTES / 8);
  }

  /** Instructions executed where they were met for the first time. */
  get firstRuns(): number {
    return this.engine.stats.firstRuns;
  }

  /** No code has been met, and the TLB knows the data: what it does not know is not executed without being translated. */
  private meetAgain(): void {
    const { mmu, mmuIdx } = this.cpu;
    this.engine.flushTranslations();
    for (let at = DATA; at < DATA + DATA_BYTES; at += 4096) mmu.write(at, 0, 4, mmuIdx, mmu.read(at, 0, 4, mmuIdx));
  }

  /** Runs the case at byte `at` of input and writes the result to the same place of output. */
  run(input: DataView, output: DataView, at: number): void {
    const { cpu, memory } = this;
    const { V, csr } = cpu;
    cpu.reset(0, 0);
    // Everything is allowed: NAPOT over all addresses, R W X.
    csr.write(Csr.PMPADDR0, -1, -1);
    csr.write(Csr.PMPCFG0, 0x1f, 0);
    csr.write(Csr.MTVEC, VECTOR, 0);
    for (let i = 1; i < 32; i++) for (let k = 0; k < 2; k++) V[xreg(i) * 2 + k] = input.getInt32(at + At.X + 8 * i + 4 * k, true);
    for (let i = 0; i < 64; i++) V[X.F * 2 + i] = input.getInt32(at + At.F + 4 * i, true);
    const seed = input.getBigUint64(at + At.MEMORY, true);
    if (seed !== 0n) fillData(this.data, seed);
    const count = input.getUint32(at + At.COUNT, true);
    const code = CODE + input.getUint32(at + At.OFFSET, true);
    for (let i = 0; i < count; i++) memory.write32(code + 4 * i, input.getUint32(at + At.CODE + 4 * i, true));
    memory.write32(code + 4 * count, ECALL);
    csr.write(Csr.MSTATUS, Ms.FS | Ms.VS, 0);
    if (this.vlen !== undefined) this.loadVectors(input, at);
    csr.write(Csr.FCSR, input.getInt32(at + At.FCSR, true), 0);
    csr.setPlain(Csr.MEPC, code, 0);
    cpu.trapReturn(true);
    if (this.first) this.meetAgain();
    const end = this.engine.runSlice(cpu);
    if (end !== SliceEnd.HALTED) throw new Error(`slice ended with ${end}`);
    const signal = SIGNALS[csr.plain(Csr.MCAUSE)] ?? -1;
    const bytes = this.vlen === undefined ? RECORD : VECTOR_RECORD;
    for (let i = 0; i < bytes; i += 4) output.setUint32(at + i, input.getUint32(at + i, true), true);
    output.setBigInt64(at + At.SIGNAL, BigInt(signal), true);
    if (seed !== 0n) output.setBigUint64(at + At.MEMORY, checksum(this.data), true);
    if (signal !== 0) return;
    for (let i = 1; i < 32; i++) for (let k = 0; k < 2; k++) output.setInt32(at + At.X + 8 * i + 4 * k, V[xreg(i) * 2 + k]!, true);
    for (let i = 0; i < 64; i++) output.setInt32(at + At.F + 4 * i, V[X.F * 2 + i]!, true);
    output.setBigUint64(at + At.FCSR, BigInt(cpu.fflags | (csr.frm << 5)), true);
    if (this.vlen !== undefined) this.storeVectors(output, at);
  }

  private loadVectors(input: DataView, at: number): void {
    const { cpu } = this;
    for (let i = 0; i < 32 * (this.vlen! >> 3); i++) cpu.U8[X.V * 8 + i] = input.getUint8(at + At.V + i);
    cpu.csr.write(Csr.VCSR, input.getInt32(at + At.VCSR, true), 0);
    const [avl, type] = [Slot.HELPER_SCRATCH, Slot.HELPER_SCRATCH + 1];
    for (let k = 0; k < 2; k++) {
      cpu.V[avl * 2 + k] = input.getInt32(at + At.VL + 4 * k, true);
      cpu.V[type * 2 + k] = input.getInt32(at + At.VTYPE + 4 * k, true);
    }
    cpu.vector!.execute(VSETVL, NONE, avl, type);
    cpu.csr.write(Csr.VSTART, input.getInt32(at + At.VSTART, true), 0);
  }

  private storeVectors(output: DataView, at: number): void {
    const { cpu } = this;
    for (let i = 0; i < 32 * (this.vlen! >> 3); i++) output.setUint8(at + At.V + i, cpu.U8[X.V * 8 + i]!);
    for (const [n, off] of [[Csr.VCSR, At.VCSR], [Csr.VL, At.VL], [Csr.VTYPE, At.VTYPE], [Csr.VSTART, At.VSTART]] as const) {
      cpu.vector!.read(n);
      output.setInt32(at + off, cpu.vector!.lo, true);
      output.setInt32(at + off + 4, cpu.vector!.hi, true);
    }
  }
}
