/** RISC-V guests: the board virt. */
import { RISCV_RAM, type RiscvBoardHost, VirtRiscvBoard } from '../../boards/virt-riscv.js';
import { RiscvCpu, TIMEBASE_HZ } from '../../engine/guest/riscv/cpu.js';
import { Mode, X } from '../../engine/guest/riscv/defs.js';
import { RISCV_PINNED, riscvHelpers, riscvLifter } from '../../engine/guest/riscv/guest.js';
import { OPTIONAL, parseRiscvCpu } from '../../engine/guest/riscv/model.js';
import { describeRiscvMode, riscvSlotName } from '../../engine/guest/riscv/names.js';
import type { HelperRegistry } from '../../engine/helpers.js';
import { Pending, Slot } from '../../engine/state.js';
import { hex64 } from '../debug/hex.js';
import { riscvGdb, riscvGdbOf } from './riscv-gdb.js';
import { Sbi } from './riscv-sbi.js';
import { usedByKernel } from './used-first.js';
import type { Guest, GuestArch, GuestDebug, GuestEnv } from './guest.js';

/** From here on RAM is mapped by another table (see PhysicalMemory). */
const HIGH = 0x1_0000_0000;

const debug: GuestDebug = {
  slotName: riscvSlotName,
  describeMode: describeRiscvMode,
  objdump: () => 'riscv:rv64',
  codeKind: (mode) => `rv64:${['user', 'supervisor', '', 'machine'][mode & Mode.PRIV]!}`,
  watched: [...Array.from({ length: 31 }, (_, i) => Slot.GPR + 1 + i), ...Array.from({ length: 32 }, (_, i) => X.F + i), Slot.MXCSR],
  outside: [X.S_PENDING],
  flags: null,
  gdb: riscvGdb,
  attachTrace(cpu, sink) {
    (cpu as RiscvCpu).trace = {
      trap: (c, cause, interrupt, epcLo, epcHi, tvalLo, tvalHi) =>
        sink.event(c, `${interrupt ? 'irq' : 'trap'} ${cause} tval ${hex64(tvalHi, tvalLo)} at ${hex64(epcHi, epcLo)} -> ${hex64(c.V[Slot.PC * 2 + 1]!, c.V[Slot.PC * 2]!)}`),
      modeChanged: (c) => sink.modeChanged(c),
    };
  },
};

function build(env: GuestEnv): Guest {
  const { config, memory, clock } = env;
  const { vlen, optional } = parseRiscvCpu(config.cpu);
  const cpus: RiscvCpu[] = [];
  const host: RiscvBoardHost = {
    ...env.board,
    setLines: (hart, mask, on) => {
      const c = cpus[hart];
      if (c === undefined) return;
      c.setLines(mask, on);
      if (c.V[Slot.PENDING * 2]! & Pending.INTR) env.hurryTo(hart);
    },
  };
  const board = new VirtRiscvBoard(host);
  const helpers = riscvHelpers();
  const lifter = riscvLifter(helpers, optional);
  env.states.forEach((state, index) => {
    cpus.push(
      new RiscvCpu({
        index, state, map: memory, isDevice: (pa) => memory.isDevice(pa), clock, timer: (fire) => env.board.clock.timer(fire), time: () => board.aclint.time(), helpers, lifter, imsic: board.irq.imsics?.[index] ?? null, vlen,
        log: (m) => env.board.log(m),
      }),
    );
  });
  for (const c of cpus) c.onPause = () => cpus.some((other) => other !== c && !other.halted);
  const sbi = board.ownSbi ? new Sbi(cpus, { ...env.board, hurryTo: (i) => env.hurryTo(i), write: (b) => env.board.serialOutput(b), read: () => board.serialByte() }) : null;
  const reset = (): void => {
    const { pc, supervisor } = board.reset();
    for (const c of cpus) c.reset(pc, 0);
    if (sbi !== null && supervisor !== null) sbi.boot(supervisor.entry, supervisor.tree);
  };
  return { cpus, board, reset, resume: reset, features: new Set(optional), gdb: riscvGdbOf(vlen, board.irq.imsics !== null) };
}

export const riscv: GuestArch = {
  name: 'riscv64',
  stepBit: Mode.STEP,
  fpHelperBit: Mode.SLOW_FRM,
  mask32: () => false,
  pinned: RISCV_PINNED,
  counterPerNs: TIMEBASE_HZ / 1e9,
  debug,
  translator: (features) => {
    const helpers = riscvHelpers();
    return { helpers: helpers as unknown as HelperRegistry<never>, lifter: riscvLifter(helpers, OPTIONAL.filter((e) => features.includes(e))), mmuIndex: (mode) => (mode >> Mode.MMU_SHIFT) & 7 };
  },
  // Firmware, kernel, and at the top of the first 2 GiB device tree and initramfs (boot/linux-image.ts).
  usedFirst: (config) => usedByKernel(config, 0, Math.min(config.memory, 0x8000_0000)),
  mapRam(memory, config) {
    const low = Math.min(config.memory, HIGH - RISCV_RAM);
    memory.mapRam(RISCV_RAM, low, 0);
    if (config.memory > low) memory.mapRam(HIGH, config.memory - low, low);
  },
  build,
};
