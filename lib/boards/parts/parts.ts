/**
 * The kit a PC board is put together from. Each file beside this one adds one group of devices (`addDisks(p)`); a board's
 * constructor is the list of those calls. To add a device: write a part, call it from the boards that have it.
 */
import type { Device, IoHandler, IrqLine } from '../../devices/device.js';
import type { VgaRenderer } from '../../devices/display/vga-render.js';
import type { I8237 } from '../../devices/dma/i8237.js';
import type { FwCfg } from '../../devices/firmware/fw-cfg.js';
import type { Ps2Keyboard } from '../../devices/input/ps2-keyboard.js';
import type { Ps2Mouse } from '../../devices/input/ps2-mouse.js';
import type { ApicBus } from '../../devices/irq/apic-bus.js';
import { type PciBridgeFunction, PciBus, type PciFunction, type PciHost } from '../../devices/pci/pci.js';
import type { Mc146818 } from '../../devices/timer/mc146818.js';
import type { InterruptSource } from '../../engine/cpu.js';
import { UsageError } from '../../errors.js';
import type { PhysicalMemory } from '../../memory/physical.js';
import type { PcBoardHost } from '../board.js';

/** PCI interrupt pins wired together: PIRQ lines or GSIs. */
export interface PciIrqSink {
  set(n: number, level: boolean): void;
}

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

export class Parts {
  readonly devices: Device[] = [];
  readonly interruptSources: InterruptSource[] = [];
  readonly memory: PhysicalMemory;
  readonly pci = new PciBus();
  /** Interrupt pins of bus 0. */
  readonly pciHost: PciHost;
  /** Global system interrupts, and the sixteen ISA lines (8259A input and I/O APIC pin together). */
  gsi: readonly IrqLine[] = [];
  isa: readonly IrqLine[] = [];
  apics!: ApicBus;
  dma!: I8237;
  rtc!: Mc146818;
  fw!: FwCfg;
  keyboard!: Ps2Keyboard;
  mouse!: Ps2Mouse;
  screen: VgaRenderer | null = null;
  /** Where else the real-time clock's interrupt goes: power management, which may wake the machine. */
  readonly rtcAlarm: IrqLine = { set: () => {} };
  /** Where PCI interrupt n (0..3, or 0..7 on boards with eight) goes: set by the board. */
  pirq: PciIrqSink = { set: () => {} };
  /** PCI interrupt of pin 1..4 of a device on bus 0; the usual swizzle unless the board says otherwise. */
  pirqOf = (slot: number, pin: number): number => (slot + pin - 1) & 3;
  /** Device numbers on bus 0 that belong to parts which come later or are optional. */
  readonly reservedSlots = new Set<number>();
  /**
   * Boot devices in the order they are tried, as Open Firmware paths (fw_cfg file `bootorder`), for instance
   * /pci@i0cf8/scsi@3/disk@0,0.
   */
  readonly bootOrder: string[] = [];
  /** There is a floppy controller (for ACPI). */
  floppy = false;
  /** Root ports with nothing behind them. */
  readonly freePorts: PciBridgeFunction[] = [];
  /** Files to close at the end. */
  readonly onClose: (() => void)[] = [];
  /** Devices asserting each PCI interrupt. */
  private readonly asserted = new Array<number>(8).fill(0);

  constructor(readonly host: PcBoardHost) {
    this.memory = host.memory;
    this.pciHost = this.hostFor((slot, pin) => this.pirqOf(slot, pin));
  }

  /** What functions of a bus need of the board. @param pirq PCI interrupt of pin 1..4 of a device there. */
  private hostFor(pirq: (slot: number, pin: number) => number): PciHost {
    const levels = new Map<number, boolean>();
    return {
      bus: this.memory,
      intx: (slot, pin, level) => {
        const key = slot * 4 + (pin - 1);
        if ((levels.get(key) ?? false) === level) return;
        levels.set(key, level);
        this.drive(pirq(slot, pin), level);
      },
      msi: (address, data) => void this.apics.msi(address, data),
    };
  }

  /** Registers a device for reset and saved state. */
  add<T extends Device>(d: T): T {
    this.devices.push(d);
    return d;
  }

  /** Registers a PCI function of bus 0. */
  addPci<T extends PciFunction>(f: T): T {
    this.pci.add(this.add(f));
    return f;
  }

  /**
   * Registers a PCI Express endpoint: behind a free root port as its device 0, or on bus 0 where there is none. Pins behind a
   * bridge are swizzled (PCI-to-PCI Bridge Architecture Specification 1.2, table 9-1).
   */
  addExpress<T extends PciFunction>(make: (host: PciHost, slot: number) => T): T {
    const port = this.freePorts.shift();
    if (port === undefined) return this.addPci(make(this.pciHost, this.freeSlot()));
    const f = this.add(make(this.hostFor((slot, pin) => this.pirqOf(port.devfn >> 3, ((pin - 1 + slot) & 3) + 1)), 0));
    port.child.add(f);
    return f;
  }

  /** The next free device number on bus 0, from `first` on. */
  freeSlot(first = 3): number {
    const taken = new Set(this.pci.list().map((f) => f.devfn >> 3));
    for (let slot = first; slot < 32; slot++) if (!taken.has(slot) && !this.reservedSlots.has(slot)) return slot;
    throw new UsageError('--device: all PCI slots are taken');
  }

  /** A PCI interrupt is the wire-OR of its devices. */
  private drive(n: number, level: boolean): void {
    const before = this.asserted[n]! > 0;
    this.asserted[n]! += level ? 1 : -1;
    const after = this.asserted[n]! > 0;
    if (before !== after) this.pirq.set(n, after);
  }
}
