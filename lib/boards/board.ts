/** What a board needs of the machine around it, and what the machine needs of a board. */
import type { InterruptSource } from '../engine/cpu.js';
import type { InterruptHardware } from '../devices/irq/hardware.js';
import type { Device } from '../devices/device.js';
import type { TimerQueue } from '../devices/clock.js';
import type { ScreenSource } from '../display/screen-source.js';
import type { PanicEvent } from '../devices/misc/pvpanic.js';
import type { StreamClient, StreamPeer } from '../devices/stream.js';
import type { BoardControls } from './controls.js';
import type { PortRegisters } from '../devices/input/vmmouse.js';
import type { InputRouter } from '../devices/input/router.js';
import type { PciBus } from '../devices/pci/pci.js';
import type { HotPlug } from './parts/hotplug.js';
import type { Drive } from './parts/drive.js';
import type { NetConnection } from './parts/net.js';
import type { PhysicalMemory } from '../memory/physical.js';
import type { MachineConfig } from '../machine/config.js';

/** What happens when a watchdog has run out. */
export type WatchdogAction = 'reset' | 'poweroff' | 'none';

/** What the machine offers to every board, whatever the architecture. */
export interface BoardHost {
  readonly config: MachineConfig;
  readonly memory: PhysicalMemory;
  /**
   * Reserves `bytes` (page multiple) of host memory besides guest RAM: for ROM and flash contents, video memory. @returns its
   * ram offset, to be used with memory.mapRam and memory.ram8. Zero-filled.
   */
  extraRam(bytes: number): number;
  readonly clock: TimerQueue;
  /** Milliseconds since the epoch, as the guest's RTC shows it. */
  wallClock(): number;
  /** Fills a buffer with random bytes. */
  random(buf: Uint8Array): void;
  serialOutput(bytes: Uint8Array): void;
  /** Bytes written to the debug consoles (0xE9, 0x402). */
  debugOutput(byte: number): void;
  /** S5 or the like: the machine ends with status 0. */
  powerOff(): void;
  /** Reset of the whole machine. */
  reset(): void;
  /** isa-debug-exit, test finisher and the like: end with this status. */
  exit(status: number): void;
  /** Index of the CPU that executes. */
  currentCpu(): number;
  log(message: string): void;
  /** The event loop is to have its turn before the machine sleeps: something has been left to it that no descriptor announces. */
  idleTurn(): void;
  /** Gives guest memory back to the host: page multiples; it is zero from then on. What is no RAM is left alone. */
  releaseRam(pa: number, bytes: number): void;
  /** A stream to programs, which find it by its name. @throws UsageError if the name is taken. */
  port(name: string, client: StreamClient): StreamPeer;
  panicked(event: PanicEvent, exit: boolean): void;
  watchdog(action: WatchdogAction): void;
  /** A device that had come while the machine ran has gone. */
  deviceRemoved(id: string): void;
}

/** What a board with x86 CPUs needs besides. */
export interface PcBoardHost extends BoardHost {
  readonly tscKHz: number;
  /** What the CPU model says about the local APIC. */
  readonly x2apic: boolean;
  readonly physBits: number;
  /** Registers of the CPU that accesses a port just now; null if they are with a hypervisor. */
  portRegisters(): PortRegisters | null;
  /** Guest TSC of CPU i in ticks (number, < 2^53). */
  tsc(i: number): number;
  /** ACPI S3: the CPUs stop until wake(). */
  suspend(): void;
  /** The machine leaves S3: the CPUs are reset and CPU 0 starts as PcBoardModel.resume says. */
  wake(): void;
  setA20(on: boolean): void;
  /** pending() of the interrupt source of CPU i may have changed. */
  intrChanged(i: number): void;
  nmi(i: number): void;
  init(i: number): void;
  sipi(i: number, vector: number): void;
}

/** Where an x86 CPU starts when a loader has put a kernel into memory. */
export interface CpuStart {
  /**
   * `long64`: 4-level paging with cr3, flat 64-bit code; `protected32`: flat 32-bit segments, no paging; `real16`: real mode, cs
   * is the segment.
   */
  mode: 'long64' | 'protected32' | 'real16';
  /** The kernel counts on what a BIOS leaves behind. */
  bios?: boolean;
  /** Instruction pointer. */
  rip: number;
  /** Other general registers, by name (rax, rbx, rsi, ...); 0 if not given. */
  regs: Partial<Record<'rax' | 'rbx' | 'rcx' | 'rdx' | 'rsi' | 'rdi' | 'rsp' | 'rbp', number>>;
  cr3: number;
  /** Selectors loaded into CS and the data segments, with a GDT that holds them. */
  gdt: { base: number; limit: number };
  cs: number;
  ds: number;
}

export interface Board {
  readonly devices: readonly Device[];
  /** Bytes typed at the first serial port; @returns how many were taken (the rest must be offered again after onSerialRoom). */
  serialInput(bytes: Uint8Array): number;
  onSerialRoom: () => void;
  /** What a display shows; null if there is none. */
  readonly screen: ScreenSource | null;
  readonly controls: BoardControls;
  /** Keyboards and pointers. */
  readonly input: InputRouter;
  /** Network cards in the order of the configuration. */
  readonly nets: readonly NetConnection[];
  /** Drives in the order of the configuration. */
  readonly drives: readonly Drive[];
  /** PCI bus 0; null on boards without PCI. */
  readonly pci: PciBus | null;
  /** Devices that come and go; absent on boards where they cannot. */
  readonly hotplug?: HotPlug;
  /** The power button, as the board's operating system learns of it. */
  powerButton(): void;
  /** Closes files. */
  close(): void;
}

/** A board for x86 CPUs. */
export interface PcBoardModel extends Board {
  /** For hypervisors that have interrupt controllers of their own. */
  readonly irq: InterruptHardware;
  /** One per CPU. */
  readonly interruptSources: readonly InterruptSource[];
  /** Puts every device into its reset state and firmware tables and the kernel (again) into memory. @returns how CPU 0 starts, or null to start at the reset vector. */
  reset(): CpuStart | null;
  /** Puts every device into its reset state after ACPI S3; memory stays. @returns how CPU 0 starts. */
  resume(): CpuStart | null;
}
