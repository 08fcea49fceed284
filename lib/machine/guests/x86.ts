/** x86-64 guests: the boards pc and q35. */
import type { Accelerator } from '../../accel/accelerator.js';
import { KvmAccelerator } from '../../accel/kvm/kvm.js';
import { engineKeepsKernel, kvmModel } from '../../accel/kvm/system.js';
import type { PcBoardHost, PcBoardModel } from '../../boards/board.js';
import { MicrovmBoard } from '../../boards/microvm.js';
import { PcBoard } from '../../boards/pc.js';
import { Q35Board } from '../../boards/q35.js';
import { DeliveryMode } from '../../devices/irq/lapic.spec.js';
import type { PortRegisters } from '../../devices/input/vmmouse.js';
import { HIGH_RAM, ramLayout } from '../../boot/e820.js';
import { X86Cpu } from '../../engine/guest/x86/cpu.js';
import { CpuModel } from '../../engine/guest/x86/cpuid.js';
import { Vec } from '../../engine/guest/x86/defs.js';
import { x86Helpers, x86Lifter } from '../../engine/guest/x86/guest.js';
import { Src } from '../../engine/guest/x86/interrupts.js';
import { Mode, mmuIndexOf, X } from '../../engine/guest/x86/mode.js';
import type { HelperRegistry } from '../../engine/helpers.js';
import { HyperV } from '../../engine/guest/x86/hyperv.js';
import { codeBits, describeMode, x86SlotName } from '../../engine/guest/x86/names.js';
import { PvClock } from '../../engine/guest/x86/pvclock.js';
import { DEFAULT_PINNED } from '../../engine/host/x64/backend.js';
import { flagsToEflags, Pending, Slot } from '../../engine/state.js';
import { UsageError } from '../../errors.js';
import type { MachineName } from '../config.js';
import { startCpu } from '../start.js';
import { x86Gdb } from './x86-gdb.js';
import { hex64 } from '../debug/hex.js';
import { usedByKernel } from './used-first.js';
import type { Guest, GuestArch, GuestDebug, GuestEnv } from './guest.js';

const TSC_KHZ = 1_000_000;
/** Clock of the local APIC's timer. */
const APIC_KHZ = 1_000_000;
/** Where Linux asks to be loaded (its header's pref_address). */
const KERNEL_AT = 0x100_0000;

const BOARDS: Readonly<Partial<Record<MachineName, new (host: PcBoardHost) => PcBoardModel>>> = { pc: PcBoard, q35: Q35Board, microvm: MicrovmBoard };

/** Slots whose changes an instruction trace shows; FLAGS and EFLAGS are shown as one. */
function watchedSlots(): number[] {
  const s: number[] = [];
  for (let i: number = X.RAX; i < X.SEGBASE + 6; i++) s.push(i);
  s.push(Slot.MXCSR, Slot.FPU);
  for (let i = 0; i < 16; i++) for (let k = 0; k < 4; k++) s.push(Slot.VEC + i * 8 + k);
  for (let i = 0; i < 16; i++) s.push(Slot.X87 + i);
  return s;
}

const debug: GuestDebug = {
  slotName: x86SlotName,
  describeMode,
  objdump: (mode) => (codeBits(mode) === 64 ? 'i386:x86-64' : codeBits(mode) === 32 ? 'i386' : 'i8086'),
  codeKind: (mode) => `${codeBits(mode)}:${mode & Mode.USER ? 'user' : 'kernel'}`,
  watched: watchedSlots(),
  flags: (V) => flagsToEflags(V[Slot.FLAGS * 2]!) | V[X.EFLAGS * 2]!,
  gdb: x86Gdb,
  attachTrace(cpu, sink) {
    (cpu as X86Cpu).trace = {
      delivered: (c, vector, src, err, hasErr, retLo, retHi) => {
        const kind = src === Src.EXTERNAL ? 'irq' : src === Src.FAULT ? 'fault' : src === Src.TRAP ? 'trap' : 'int';
        let text = `${kind} ${vector}`;
        if (hasErr) text += ` error ${err.toString(16)}`;
        if (vector === (Vec.PF as number) && kind === 'fault') text += ` cr2 ${hex64(c.cr2Hi, c.cr2Lo)}`;
        sink.event(c, `${text} at ${hex64(retHi, retLo)} -> ${hex64(c.V[Slot.PC * 2 + 1]!, c.V[Slot.PC * 2]!)}`);
      },
      modeChanged: (c) => sink.modeChanged(c),
    };
  },
};

/** Low halves of general registers in a CPU's state region. Writing one clears its high half, as 32-bit instructions do. */
function portRegisters(V: Int32Array): PortRegisters {
  const at = (slot: number): PropertyDescriptor => ({
    get: () => V[slot * 2]! >>> 0,
    set: (v: number) => {
      V[slot * 2] = v | 0;
      V[slot * 2 + 1] = 0;
    },
  });
  return Object.defineProperties({}, { eax: at(X.RAX), ebx: at(X.RBX), ecx: at(X.RCX), edx: at(X.RDX) }) as PortRegisters;
}

function build(env: GuestEnv): Guest {
  const { config, memory, clock } = env;
  const cpus: X86Cpu[] = [];
  const asked = CpuModel.parse(config.cpu);
  const model = env.kvm === null ? asked : kvmModel(asked, env.kvm, engineKeepsKernel(config.accel.kvm.kernel, env.kvm));
  const tscKHz = env.kvm?.tscKHz ?? TSC_KHZ;
  let accelerator: Accelerator | null = null;
  const host: PcBoardHost = {
    ...env.board,
    tscKHz,
    x2apic: model.features.has('x2apic'),
    physBits: model.physBits,
    portRegisters: () => {
      const i = env.board.currentCpu();
      return accelerator?.owns(i) === true ? null : portRegisters(cpus[i]!.V);
    },
    tsc: (i) => cpus[i]?.tsc() ?? 0,
    suspend: () => env.suspend(),
    wake: () => env.wake(),
    setA20: (on) => {
      for (const c of cpus) c.setA20(on);
    },
    intrChanged: (i) => {
      const c = cpus[i];
      if (c === undefined) return;
      if (accelerator?.owns(i)) {
        accelerator.attention(i);
        return;
      }
      c.updateIntr();
      if (c.V[Slot.PENDING * 2]! & Pending.INTR) env.hurryTo(i);
    },
    nmi: (i) => {
      if (accelerator?.owns(i)) {
        accelerator.nmi(i);
        return;
      }
      cpus[i]?.signalNmi();
      env.hurryTo(i);
    },
    init: (i) => {
      cpus[i]?.signalInit();
      accelerator?.event(i);
      env.interruptSlice();
    },
    sipi: (i, vector) => {
      cpus[i]?.signalSipi(vector);
      accelerator?.event(i);
      env.interruptSlice();
    },
  };
  const make = BOARDS[config.machine];
  if (make === undefined) throw new UsageError(`--machine: x86_64 has no board '${config.machine}'`);
  const board = new make(host);
  const helpers = x86Helpers();
  const lifter = x86Lifter(helpers, model, config.cpus);
  const hyperv = !model.features.has('hv') ? null : new HyperV({
    map: memory, tscKHz, apicKHz: APIC_KHZ, ticks: () => env.tsc?.ticks() ?? (clock.now() * tscKHz) / 1e6, tsc: () => cpus[0]!.tsc(), reset: () => env.board.reset(),
    synic: (i) => ({
      timer: (fire) => {
        const t = env.board.clock.timer(fire);
        return (delay) => (delay === Infinity ? t.disarm() : t.arm(env.board.clock.now() + delay));
      },
      interrupt: (vector) => void board.irq.lapics[i]!.accept(DeliveryMode.FIXED, vector, false),
      autoEoi: (vectors) => (board.irq.lapics[i]!.autoEoi = vectors),
    }),
  });
  env.states.forEach((state, index) => {
    const paravirt = hyperv?.cpu(index) ?? new PvClock({
      map: memory,
      clock,
      tscKHz,
      wallMs: () => config.rtc + clock.now() / 1e6,
      tsc: (out) => {
        const t = cpus[index]!.tsc();
        out.lo = t % 0x1_0000_0000;
        out.hi = Math.floor(t / 0x1_0000_0000);
      },
    });
    cpus.push(
      new X86Cpu({ index, cpus: config.cpus, state, map: memory, ports: memory, intc: board.interruptSources[index]!, clock, model, helpers, lifter, tscKHz, ticks: env.tsc === null ? undefined : (): number => env.tsc!.ticks(), tscFixed: env.tsc?.fixed, paravirt, random: (buf) => env.board.random(buf) }),
    );
  });
  for (const c of cpus) c.onPause = () => cpus.some((o) => o !== c && !o.halted);
  const start = (how: ReturnType<PcBoardModel['reset']>): void => {
    if (how !== null) startCpu(cpus[0]!, how);
  };
  return {
    features: model.features,
    cpus,
    board,
    reset() {
      for (const c of cpus) c.reset();
      start(board.reset());
    },
    resume() {
      for (const c of cpus) c.reset();
      start(board.resume());
    },
    accelerate(deps) {
      const { irqchip } = deps.options;
      if (hyperv !== null && irqchip !== 'auto' && irqchip !== 'off') throw new UsageError(`--accel: irqchip=${irqchip} has no SynIC, which --cpu hv=on shows (use irqchip=off)`);
      const options = hyperv === null ? deps.options : { ...deps.options, irqchip: 'off' as const };
      return (accelerator = new KvmAccelerator({ ...deps, options, cpus, irq: board.irq }));
    },
  };
}

export const x86: GuestArch = {
  name: 'x86_64',
  stepBit: Mode.STEP,
  counterPerNs: TSC_KHZ / 1e6,
  fpHelperBit: Mode.FP_UNMASKED,
  mask32: (mode) => (mode & Mode.CODE_MASK) !== Mode.CODE64,
  pinned: DEFAULT_PINNED,
  debug,
  translator: (features, cpus) => {
    const helpers = x86Helpers();
    return { helpers: helpers as unknown as HelperRegistry<never>, lifter: x86Lifter(helpers, { features: new Set(features) }, cpus), mmuIndex: mmuIndexOf };
  },
  usedFirst(config) {
    // A Linux kernel is loaded to 16 MiB, the initramfs to the top of low memory (boot/bzimage.ts).
    return usedByKernel(config, KERNEL_AT, ramLayout(config.machine, config.memory).low);
  },
  mapRam(memory, config) {
    // Boards map C0000h-FFFFFh themselves: ROM and RAM share it.
    const { low, high } = ramLayout(config.machine, config.memory);
    memory.mapRam(0, 0xa_0000, 0);
    if (low > 0x10_0000) memory.mapRam(0x10_0000, low - 0x10_0000, 0x10_0000);
    if (high > 0) memory.mapRam(HIGH_RAM, high, low);
  },
  build,
};
