/**
 * What a guest architecture is to the machine: how its CPUs and board are made, and what the executors and debugging tools need to
 * know of it. One file per architecture beside this one; `index.ts` lists them.
 */
import type { Accelerator } from '../../accel/accelerator.js';
import type { KvmDeps } from '../../accel/kvm/kvm.js';
import type { KvmHost } from '../../accel/kvm/system.js';
import type { TscClock } from '../../accel/kvm/tsc-clock.js';
import type { Board, BoardHost } from '../../boards/board.js';
import type { ObjdumpMachine } from '../../engine/debug/objdump.js';
import type { GuestClock, GuestCpu, Lifter } from '../../engine/cpu.js';
import type { HelperRegistry } from '../../engine/helpers.js';
import type { PhysicalMemory } from '../../memory/physical.js';
import type { ArchName, MachineConfig } from '../config.js';

/** What the machine needs of a CPU besides executing code. */
export interface MachineCpu extends GuestCpu {
  /** One line for people: where the CPU is. */
  describe(): string;
  /** Physical memory has been mapped anew: forgets every cached translation. */
  flushTlb(): void;
}

/** What the machine gives a guest to be built from. */
export interface GuestEnv {
  readonly config: MachineConfig;
  readonly memory: PhysicalMemory;
  readonly clock: GuestClock;
  /** The machine may run on this KVM: CPU features and TSC are to be what it has. */
  readonly kvm: KvmHost | null;
  /** Its clock: where time-stamp counters come from. */
  readonly tsc: TscClock | null;
  readonly board: BoardHost;
  /** State regions, one per CPU. */
  readonly states: readonly { buffer: ArrayBufferLike; address: number }[];
  /** CPU i has something to do while another may be running: turns become short for a while. */
  hurryTo(i: number): void;
  /** Makes whichever CPU is running leave its slice. */
  interruptSlice(): void;
  /** ACPI S3: the CPUs stop until wake(), when `Guest.resume` is called. */
  suspend(): void;
  wake(): void;
}

/** CPUs and board of one machine, connected. */
export interface Guest {
  /** CPU features on which translated code depends, besides the model's name: part of the identity of cached code. */
  readonly features?: ReadonlySet<string>;
  readonly cpus: readonly MachineCpu[];
  /** What a GDB client is told, where it is not the same for every CPU of the architecture (`GuestDebug.gdb`). */
  readonly gdb?: GdbArch;
  readonly board: Board;
  /** Power-up and reset: CPUs and devices in their reset state, firmware or kernel (again) in memory. */
  reset(): void;
  /** Leaves ACPI S3. */
  resume(): void;
  /** Makes KVM run the CPUs; absent where it cannot. */
  accelerate?(deps: Omit<KvmDeps, 'cpus' | 'irq'>): Accelerator;
}

/** Told of what a trace shows besides blocks. */
export interface TraceSink {
  /** An exception or interrupt has been delivered: PC is in its handler. `text` as docs/DEBUGGING.md describes it. */
  event(cpu: GuestCpu, text: string): void;
  /** `mode` is not what it was. */
  modeChanged(cpu: GuestCpu): void;
}

/** A range of addresses to watch; within one page. */
export interface WatchRange {
  lo: number;
  hi: number;
  bytes: number;
  read: boolean;
  write: boolean;
}

/** An architecture as GDB's remote protocol sees it. */
export interface GdbArch {
  /** Target description (GDB manual, "Target Descriptions"). */
  readonly targetXml: string;
  /** Bytes of each register, in the description's order. */
  readonly sizes: readonly number[];
  /** Stores register n at `at`, in target byte order. */
  read(cpu: MachineCpu, n: number, out: Uint8Array, at: number): void;
  /** @returns false for a register that cannot be set. */
  write(cpu: MachineCpu, n: number, value: Uint8Array): boolean;
  /** Physical address of a virtual one, without side effects; -1 if there is none. */
  translate(cpu: MachineCpu, lo: number, hi: number): number;
  /** Watches data accesses of this CPU; `hit` is called within the instruction. Absent: there are no watchpoints. */
  watch?(cpu: MachineCpu, ranges: readonly WatchRange[], hit: (w: WatchRange) => void): void;
}

/** The debugging tools' view of an architecture. */
export interface GuestDebug {
  /** Name of a state slot; undefined for one that has none. */
  slotName(slot: number): string | undefined;
  /** A mode word in words. */
  describeMode(mode: number): string;
  /** What objdump calls code of this mode. */
  objdump(mode: number): ObjdumpMachine;
  /** Short name of code size and privilege for profiles, such as `64:user`. */
  codeKind(mode: number): string;
  /** Slots whose changes an instruction trace shows. */
  readonly watched: readonly number[];
  /** Slots besides PENDING that devices change, by their interrupts. */
  readonly outside?: readonly number[];
  /** Flags in their architectural form, or null if the architecture has none. */
  flags: ((V: Int32Array) => number) | null;
  /** What a GDB client is told and may ask; absent: there is no debugger for this architecture. */
  readonly gdb?: GdbArch;
  /** Makes a CPU of this architecture report events. */
  attachTrace(cpu: MachineCpu, sink: TraceSink): void;
}

export interface GuestTranslator {
  readonly lifter: Lifter;
  readonly helpers: HelperRegistry<never>;
  /** The MMU index that belongs to a mode word. */
  mmuIndex(mode: number): number;
}

export interface GuestArch {
  /** Offsets in guest RAM, from and to, where a kernel that is loaded directly lies and begins to work: memory is backed ahead there. */
  readonly usedFirst?: (config: MachineConfig) => readonly (readonly [number, number])[];
  readonly name: ArchName;
  /** Mode bit that asks for blocks of one instruction. */
  readonly stepBit: number;
  /** Mode bits under which floating point must run in helpers. */
  readonly fpHelperBit: number;
  /** True if linear addresses wrap at 32 bits in this mode. */
  mask32(mode: number): boolean;
  /** Guest slots that generated code may keep in host registers, most used first. */
  readonly pinned: readonly number[];
  /** Ticks per ns of the counter that op TIME stands for, if the architecture uses it. */
  readonly counterPerNs?: number;
  readonly debug: GuestDebug;
  /** What translates code of this architecture without a machine around it: to check code caches. Absent: they cannot be checked. */
  translator?: (features: readonly string[], cpus: number) => GuestTranslator;
  /** Maps guest RAM: the first config.memory bytes of the host mapping. */
  mapRam(memory: PhysicalMemory, config: MachineConfig): void;
  /** @throws UsageError for what the configuration asks and this architecture does not have. */
  build(env: GuestEnv): Guest;
}
