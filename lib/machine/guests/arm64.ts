/** ARM64 guests: the board virt. */
import { MAP, VirtArm64Board, type VirtHost } from '../../boards/virt-arm64.js';
import { Arm64Cpu } from '../../engine/guest/arm64/cpu.js';
import { arm64Helpers, arm64Lifter } from '../../engine/guest/arm64/guest.js';
import { ARM64_SWITCHES, parseArm64Cpu } from '../../engine/guest/arm64/model.js';
import { arm64SlotName, describeMode } from '../../engine/guest/arm64/names.js';
import { Psci } from '../../engine/guest/arm64/psci.js';
import { A, Mode, flagsToNzcv, mmuIndexOf } from '../../engine/guest/arm64/regs.js';
import type { HelperRegistry } from '../../engine/helpers.js';
import { Pending, Slot } from '../../engine/state.js';
import { arm64Gdb } from './arm64-gdb.js';
import { usedByKernel } from './used-first.js';
import type { Guest, GuestArch, GuestDebug, GuestEnv } from './guest.js';

function watchedSlots(): number[] {
  const s: number[] = [];
  for (let i: number = A.X0; i <= A.DAIF; i++) s.push(i);
  s.push(Slot.MXCSR, A.QC, A.EXCL_ADDR, A.EXCL_VAL);
  for (let i = 0; i < 32; i++) s.push(Slot.VEC + i * 8, Slot.VEC + i * 8 + 1);
  return s;
}

const debug: GuestDebug = {
  slotName: arm64SlotName,
  describeMode,
  objdump: () => 'aarch64',
  codeKind: (mode) => `64:${mode & Mode.EL1 ? 'kernel' : 'user'}`,
  outside: [A.IRQ_LINE],
  watched: watchedSlots(),
  flags: (V) => flagsToNzcv(V[Slot.FLAGS * 2]!),
  gdb: arm64Gdb,
  attachTrace(cpu, sink) {
    (cpu as Arm64Cpu).trace = { delivered: (c, text) => sink.event(c, text), modeChanged: (c) => sink.modeChanged(c) };
  },
};

/** Interrupt numbers of the EL1 physical and virtual timers and of the performance monitors. */
const TIMER_PPI = [30, 27, 23];

function build(env: GuestEnv): Guest {
  const { memory, clock } = env;
  const cpus: Arm64Cpu[] = [];
  const host: VirtHost = {
    ...env.board,
    irqChanged: (i) => {
      const c = cpus[i];
      if (c === undefined) return;
      c.updateIrq();
      if (c.V[Slot.PENDING * 2]! & Pending.INTR) env.hurryTo(i);
    },
    affinity: (i) => (i & 15) | ((i >> 4) << 8),
  };
  const board = new VirtArm64Board(host);
  const { core } = board.gic;
  const helpers = arm64Helpers();
  const model = parseArm64Cpu(env.config.cpu);
  const lifter = arm64Lifter(helpers, model);
  env.states.forEach((state, index) => {
    const timers = [0, 1, 2].map((k) => env.board.clock.timer(() => (k === 2 ? cpus[index]!.pmu.expired() : cpus[index]!.timer.update(k))));
    cpus.push(
      new Arm64Cpu({
        index, model, state, map: memory, helpers, lifter, gicSystemRegisters: board.gic.v3 !== null, peers: cpus,
        intc: {
          get irq() { return core.irq[index]!; },
          get fiq() { return core.fiq[index]!; },
          readIcc: (reg) => board.gic.v3!.readIcc(index, reg),
          writeIcc: (reg, lo, hi) => board.gic.v3!.writeIcc(index, reg, lo, hi),
        },
        timer: {
          now: () => clock.now(),
          arm: (k, deadline) => timers[k]!.arm(deadline),
          line: (k, level) => core.setPpi(index, TIMER_PPI[k]!, level),
        },
        log: (m) => env.board.log(m),
      }),
    );
  });
  const psci = new Psci({
    cpus,
    powerOff: () => env.board.powerOff(),
    reset: () => env.board.reset(),
    started: () => env.interruptSlice(),
  });
  for (const c of cpus) {
    c.onPause = () => cpus.some((o) => o !== c && !o.halted);
    c.firmwareCall = () => psci.call(c);
  }
  const reset = (): void => {
    const start = board.reset();
    for (const c of cpus) {
      c.reset();
      c.off = c.index !== 0;
      c.halted = c.off;
    }
    // Booting without firmware: x0 = device tree (Documentation/arch/arm64/booting.rst).
    cpus[0]!.startAt(start.entry, start.dtb);
  };
  return { cpus, board, reset, resume: reset, features: new Set(ARM64_SWITCHES.filter((f) => model[f])) };
}

/** Most used registers of compiled code: arguments and results, frame and stack, the first callee-saved ones. */
const PINNED: readonly number[] = [A.X0, A.X0 + 1, A.X0 + 2, A.X0 + 3, A.X0 + 19, A.X0 + 20, A.SP, A.X0 + 4, A.X0 + 21, A.X0 + 8];

export const arm64: GuestArch = {
  name: 'aarch64',
  stepBit: Mode.STEP,
  fpHelperBit: Mode.FP_SLOW,
  mask32: () => false,
  pinned: PINNED,
  // CNTFRQ_EL0 is 1 GHz.
  counterPerNs: 1,
  debug,
  translator: (features) => {
    const helpers = arm64Helpers();
    const model = { pauth: features.includes('pauth'), bti: features.includes('bti') };
    return { helpers: helpers as unknown as HelperRegistry<never>, lifter: arm64Lifter(helpers, model), mmuIndex: mmuIndexOf };
  },
  // Kernel, and at the top of the first 2 GiB device tree and initramfs (boot/linux-image.ts).
  usedFirst: (config) => (config.firmware === null ? usedByKernel(config, 0, Math.min(config.memory, 0x8000_0000)) : []),
  mapRam(memory, config) {
    memory.mapRam(MAP.ram.base, config.memory, 0);
  },
  build,
};
