/** One hart with memory and an engine, without a board: for tests of instructions. */
import type { OptionalExt } from '#lib/engine/guest/riscv/model.js';
import { RiscvCpu } from '#lib/engine/guest/riscv/cpu.js';
import { riscvHelpers, riscvLifter } from '#lib/engine/guest/riscv/guest.js';
import { X64Host } from '#lib/engine/host/x64/host.js';
import type { PassOptions } from '#lib/engine/ir/passes.js';
import { Engine } from '#lib/engine/jit/engine.js';
import { STATE_BYTES } from '#lib/engine/state.js';
import { riscv } from '#lib/machine/guests/riscv.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { loadNative } from '#lib/native.js';

const CODE_BYTES = 64 * 1024 * 1024;

export interface HartOptions {
  /** Where RAM begins, and its bytes. */
  base: number;
  bytes: number;
  /** False: the interpreter. */
  jit: boolean;
  passes?: PassOptions;
  /** Cold code is executed from its bytes (docs/adr/0070). */
  firstRun?: boolean;
  optional?: readonly OptionalExt[];
  vlen?: number;
}

export class Hart {
  readonly memory: PhysicalMemory;
  readonly ram: ArrayBuffer;
  readonly cpu: RiscvCpu;
  readonly engine: Engine;

  constructor(o: HartOptions) {
    const native = loadNative();
    const ram = native.allocRam(o.bytes);
    const state = native.allocState(STATE_BYTES);
    this.ram = ram.buffer;
    this.memory = new PhysicalMemory(ram.buffer, ram.address);
    this.memory.mapRam(o.base, o.bytes, 0);
    const helpers = riscvHelpers();
    this.cpu = new RiscvCpu({
      index: 0, state, map: this.memory, isDevice: () => false, clock: { now: () => 0 }, timer: () => ({ arm: () => undefined, disarm: () => undefined }), time: () => 0, helpers,
      lifter: riscvLifter(helpers, o.optional), vlen: o.vlen,
    });
    const passes = o.passes ?? {};
    const exec = o.jit ? native.allocExec(CODE_BYTES, false) : null;
    const host = exec === null ? null : new X64Host(exec, [native.createContext(state, exec)], native.cpuFeatures(), riscv.pinned, passes);
    this.engine = new Engine(this.memory, [this.cpu], { host, passes, maxInsns: 64, stepBit: riscv.stepBit, fpHelperBit: riscv.fpHelperBit, mask32: () => false, firstRun: o.firstRun });
  }
}
