/**
 * The Generic Event Device and the registers of hardware-reduced ACPI beside it (ACPI Specification 6.5, 5.6.9 "Interrupt-signaled
 * ACPI events", 4.8.3.7 "Sleep Control and Status Registers", 4.8.3.6 "Reset Register"): the power button of boards without fixed
 * ACPI hardware. The AML of the board reads which events there were; the two places are those of QEMU's board of the same name.
 */
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { loadState, saveState, type Schema, u32, u8 } from '../saved.js';

const VERSION = 1;
/** The word that says which events there were since it was last read. */
export const GED_EVENT_BYTES = 4;
/** Sleep control, sleep status, reset: a byte each. */
export const GED_REGISTER_BYTES = 3;
export const enum GedRegister { SLEEP_CONTROL = 0, SLEEP_STATUS = 1, RESET = 2 }
export const enum GedEvent { POWER_BUTTON = 2 }
/** SLP_TYP of S5 in the sleep control register, and what the reset register wants. */
export const GED_S5_TYPE = 5;
export const GED_RESET = 0x42;

/** Sleep control: SLP_TYPx in bits 2 to 4, SLP_EN in bit 5, which reads as 0. */
const enum Sleep { TYPE_SHIFT = 2, TYPE = 7, ENABLE = 0x20 }
/** WAK_STS: writing one clears it. Nothing here wakes. */
const WAK_STS = 0x80;

interface State {
  events: number;
  control: number;
  status: number;
}

const SCHEMA: Schema<State> = { events: u32, control: u8, status: u8 };

export interface AcpiGedOptions {
  /** Edge-triggered. */
  irq: IrqLine;
  onPowerOff: () => void;
  onReset: () => void;
}

export class AcpiGed implements Device {
  readonly name = 'acpi-ged';
  /** GED_EVENT_BYTES: a read of the whole word takes the events. */
  readonly events: IoHandler = {
    read: (offset, size) => {
      if (offset !== 0 || size !== 4) return 0;
      const { events } = this.s;
      this.s.events = 0;
      return events;
    },
    write: () => {},
  };
  /** GED_REGISTER_BYTES, one byte at a time. */
  readonly registers: IoHandler = {
    read: (offset, size) => {
      if (size !== 1) return 0;
      if (offset === (GedRegister.SLEEP_CONTROL as number)) return this.s.control;
      return offset === (GedRegister.SLEEP_STATUS as number) ? this.s.status : 0;
    },
    write: (offset, size, value) => {
      if (size === 1) this.write(offset, value & 0xff);
    },
  };
  private s: State = { events: 0, control: 0, status: 0 };

  constructor(private readonly o: AcpiGedOptions) {}

  private write(offset: number, v: number): void {
    switch (offset as GedRegister) {
      case GedRegister.SLEEP_CONTROL:
        this.s.control = v & ~Sleep.ENABLE;
        // There is no state but S5 to go to.
        if (v & Sleep.ENABLE && ((v >>> Sleep.TYPE_SHIFT) & Sleep.TYPE) === GED_S5_TYPE) this.o.onPowerOff();
        break;
      case GedRegister.SLEEP_STATUS:
        this.s.status &= ~(v & WAK_STS);
        break;
      case GedRegister.RESET:
        if (v === GED_RESET) this.o.onReset();
        break;
    }
  }

  powerButton(): void {
    this.s.events |= GedEvent.POWER_BUTTON;
    this.o.irq.set(true);
    this.o.irq.set(false);
  }

  reset(): void {
    this.s = { events: 0, control: 0, status: 0 };
    this.o.irq.set(false);
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
  }
}
