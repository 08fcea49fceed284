/**
 * PCI hot-plug by ACPI methods: the registers with which the board tells which slots of bus 0 have got a device or are to lose one, and
 * the operating system says that one may go (QEMU, docs/specs/acpi_pci_hotplug, without bus selection; ACPI 6.5, 6.3.3 _EJ0).
 */
import { type Device, type IoHandler, type SavedState } from '../device.js';
import { loadState, saveState, type Schema, u32 } from '../saved.js';

/** Offsets. Sets of slots, bit n for slot n. */
const enum Reg {
  /** Slots with a new device; reading takes them off. */
  UP = 0,
  /** Slots whose device is to go; reading takes them off. */
  DOWN = 4,
  /** Written: these slots' devices go. */
  EJECT = 8,
  /** Slots whose device can go. */
  REMOVABLE = 12,
}
export const HOTPLUG_BYTES = 16;

interface State {
  up: number;
  down: number;
  /** Removals that the operating system has been asked for and that have not come. */
  asked: number;
}
const SCHEMA: Schema<State> = { up: u32, down: u32, asked: u32 };
const VERSION = 1;

export interface PciHotplugOptions {
  /** The general-purpose event that makes the operating system look. */
  raise(): void;
  /** The operating system lets the device in `slot` go. */
  eject(slot: number): void;
  /** Slots of devices that can go. */
  removable(): number;
}

export class AcpiPciHotplug implements Device {
  readonly name = 'pci-hotplug';
  readonly ports: IoHandler;
  private s: State = { up: 0, down: 0, asked: 0 };

  constructor(private readonly o: PciHotplugOptions) {
    // Double words only, as the methods access them.
    this.ports = { read: (at, size) => (size === 4 ? this.read(at) : 2 ** (8 * size) - 1), write: (at, size, v) => size === 4 && at === Reg.EJECT && this.eject(v) };
  }

  private read(at: number): number {
    const { s } = this;
    switch (at) {
      case Reg.UP: {
        const { up } = s;
        s.up = 0;
        return up;
      }
      case Reg.DOWN: {
        const { down } = s;
        s.down = 0;
        return down;
      }
      case Reg.REMOVABLE:
        return this.o.removable();
      default:
        return 0;
    }
  }

  private eject(slots: number): void {
    const gone = (slots & this.o.removable()) >>> 0;
    for (let slot = 0; slot < 32; slot++) if (gone & (1 << slot)) this.o.eject(slot);
    this.forget(gone);
  }

  private forget(slots: number): void {
    const { s } = this;
    s.up = (s.up & ~slots) >>> 0;
    s.down = (s.down & ~slots) >>> 0;
    s.asked = (s.asked & ~slots) >>> 0;
  }

  /** There is a new device in `slot`. */
  inserted(slot: number): void {
    this.s.up = (this.s.up | (1 << slot)) >>> 0;
    this.o.raise();
  }

  /** Asks the operating system to let the device in `slot` go. */
  ask(slot: number): void {
    this.s.down = (this.s.down | (1 << slot)) >>> 0;
    this.s.asked = (this.s.asked | (1 << slot)) >>> 0;
    this.o.raise();
  }

  /** Before the machine is reset: what was asked to go goes now, for nobody uses it. */
  settle(): void {
    this.eject(this.s.asked);
  }

  reset(): void {
    this.s = { up: 0, down: 0, asked: this.s.asked };
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(s: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, s);
  }
}
