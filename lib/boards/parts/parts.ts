/** What parts of a PC board share besides the PCI bus. */
import type { IoHandler, IrqLine } from '../../devices/device.js';
import type { I8237 } from '../../devices/dma/i8237.js';
import type { Ps2Mouse } from '../../devices/input/ps2-mouse.js';
import type { ApicBus } from '../../devices/irq/apic-bus.js';
import type { InterruptHardware } from '../../devices/irq/hardware.js';
import type { FloppyInfo } from '../../boot/acpi.js';
import type { Mc146818 } from '../../devices/timer/mc146818.js';
import type { InterruptSource } from '../../engine/cpu.js';
import type { PcBoardHost } from '../board.js';
import { BusParts } from './bus-parts.js';

/** A window of ports that a configuration register moves: call with its base, or -1 to switch it off. */
export function movable(p: Parts, handler: IoHandler, length: number): (base: number) => void {
  let at = -1;
  let unmap: (() => void) | null = null;
  return (base) => {
    if (base === at) return;
    unmap?.();
    at = base;
    unmap = base < 0 ? null : p.memory.mapPorts(base, length, handler);
  };
}

/** As `movable`, for a window of physical memory whose length may change, too. */
export function movableMmio(p: Parts, handler: IoHandler): (base: number, length: number) => void {
  let at = -1;
  let size = 0;
  let unmap: (() => void) | null = null;
  return (base, length) => {
    if (base === at && length === size) return;
    unmap?.();
    at = base;
    size = length;
    unmap = base < 0 ? null : p.memory.mapMmio(base, length, handler);
  };
}

export class Parts extends BusParts {
  readonly interruptSources: InterruptSource[] = [];
  /** Global system interrupts, and the sixteen ISA lines (8259A input and I/O APIC pin together). */
  gsi: readonly IrqLine[] = [];
  isa: readonly IrqLine[] = [];
  apics!: ApicBus;
  irq!: InterruptHardware;
  dma!: I8237;
  rtc!: Mc146818;
  ps2Mouse!: Ps2Mouse;
  /** Where else the real-time clock's interrupt goes: power management, which may wake the machine. */
  readonly rtcAlarm: IrqLine = { set: () => {} };
  /** Floppy drives, for ACPI. */
  readonly floppies: FloppyInfo[] = [];
  /** Serial ports besides COM1, for ACPI: index 1 is COM2. */
  readonly serialPorts: { index: number; base: number; irq: number }[] = [];
  /** Port of pvpanic, or null. */
  pvpanicPort: number | null = null;
  /** The bridge to ISA: device number << 3 | function number. */
  isaDevfn = 0;
  /** Place of the chipset's disk controller; -1: the board has none of its own, one goes where there is room. */
  ideDevfn = -1;
  ahciDevfn = -1;
  /** What firmware switches on before it starts a kernel, for kernels that are loaded without. */
  readonly onDirectBoot: (() => void)[] = [];
  /** CMOS equipment byte without drives. */
  equipment = 0;

  constructor(override readonly host: PcBoardHost) {
    super(host);
    this.msi = (address, data) => void this.apics.msi(address, data);
  }
}
