/**
 * The kit every board with a PCI bus is put together from. Each file beside this one adds one group of devices (`addDisks(p)`); a
 * board's constructor is the list of those calls. To add a device: write a part, call it from the boards that have it.
 */
import type { Device } from '../../devices/device.js';
import { type OptionalSource, type ScreenSource, SwitchedSource } from '../../display/screen-source.js';
import type { Xhci } from '../../devices/usb/xhci.js';
import { InputRouter } from '../../devices/input/router.js';
import type { FwCfg } from '../../devices/firmware/fw-cfg.js';
import { type PciBridgeFunction, PciBus, type PciFunction, type PciHost } from '../../devices/pci/pci.js';
import { UsageError } from '../../errors.js';
import type { PhysicalMemory } from '../../memory/physical.js';
import type { BoardHost } from '../board.js';
import type { BoardControls } from '../controls.js';
import type { Drive } from './drive.js';
import type { NetConnection } from './net.js';
import type { VirtioSlots } from './virtio-slots.js';

/** PCI interrupt pins wired together: PIRQ lines or GSIs. */
export interface PciIrqSink {
  set(n: number, level: boolean): void;
}

export class BusParts {
  readonly devices: Device[] = [];
  readonly memory: PhysicalMemory;
  readonly pci = new PciBus();
  /** Interrupt pins of bus 0. */
  readonly pciHost: PciHost;
  /** Where virtio devices go on boards without PCI; null: to the PCI bus. */
  slots: VirtioSlots | null = null;
  fw!: FwCfg;
  /** What is shown while none of `pictures` is active. */
  vga: ScreenSource | null = null;
  /** Displays whose driver takes over. */
  readonly pictures: OptionalSource[] = [];
  private switched: ScreenSource | null = null;
  readonly input = new InputRouter();
  readonly controls: BoardControls = { balloon: null, onBalloonChange: () => {}, vsock: null };
  /** Where PCI interrupt n (0..3, or 0..7 on boards with eight) goes: set by the board. */
  pirq: PciIrqSink = { set: () => {} };
  /** PCI interrupt of pin 1..4 of a device on bus 0; the usual swizzle unless the board says otherwise. */
  pirqOf = (slot: number, pin: number): number => (slot + pin - 1) & 3;
  /** All ports are PCI's, from port 0 on: set by the board. */
  portZero = false;
  /** Where message-signalled interrupts go: set by the board. */
  msi: (address: number, data: number, devfn: number) => void = () => {};
  /** Device numbers on bus 0 that belong to parts which come later or are optional. */
  readonly reservedSlots = new Set<number>();
  /**
   * Boot devices in the order they are tried, as Open Firmware paths (fw_cfg file `bootorder`), for instance
   * /pci@i0cf8/scsi@3/disk@0,0.
   */
  readonly bootOrder: string[] = [];
  /** Root ports with nothing behind them. */
  readonly freePorts: PciBridgeFunction[] = [];
  /** Network cards, in the order of the configuration. */
  readonly nets: NetConnection[] = [];
  /** Drives, in the order of the configuration. */
  readonly drives: Drive[] = [];
  /** The USB controller, once a device needs one. */
  usb: Xhci | null = null;
  /** Files to close at the end. */
  readonly onClose: (() => void)[] = [];
  /** Devices asserting each PCI interrupt. */
  private readonly asserted = new Array<number>(8).fill(0);

  constructor(readonly host: BoardHost) {
    this.memory = host.memory;
    this.pciHost = this.hostFor((slot, pin) => this.pirqOf(slot, pin));
  }

  /** What functions of a bus need of the board. @param pirq PCI interrupt of pin 1..4 of a device there. */
  private hostFor(pirq: (slot: number, pin: number) => number): PciHost {
    const levels = new Map<number, boolean>();
    const portZero = (): boolean => this.portZero;
    return {
      bus: this.memory,
      get portZero() {
        return portZero();
      },
      intx: (devfn, pin, level) => {
        const key = devfn * 4 + (pin - 1);
        if ((levels.get(key) ?? false) === level) return;
        levels.set(key, level);
        this.drive(pirq(devfn >> 3, pin), level);
      },
      msi: (address, data, devfn) => this.msi(address, data, devfn),
    };
  }

  /** What the machine's screen shows; null if it has none. Once all devices are there. */
  get screen(): ScreenSource | null {
    return this.pictures.length === 0 ? this.vga : (this.switched ??= new SwitchedSource(this.pictures, this.vga));
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
