/**
 * GICv2m (ARM Server Base System Architecture, appendix E): a frame whose register turns the message-signalled interrupts of devices
 * into SPIs of a GIC without translation service.
 */
import type { Device, IoHandler, SavedState } from '../device.js';

export const V2M_BYTES = 0x1000;
const enum Reg { TYPER = 0x008, SETSPI = 0x040, IIDR = 0xfcc }
const IIDR = 0x0000_043b;

export interface GicV2mOptions {
  /** Interrupt number of the first SPI, and how many there are. */
  first: number;
  count: number;
  /** An edge at an interrupt. */
  pulse: (interrupt: number) => void;
}

export class GicV2m implements Device {
  readonly name = 'gicv2m';
  readonly mmio: IoHandler;

  constructor(private readonly o: GicV2mOptions) {
    this.mmio = {
      read: (offset, size) => (size !== 4 ? 0 : offset === Reg.TYPER ? (o.first << 16) | o.count : offset === Reg.IIDR ? IIDR : 0),
      write: (offset, _size, v) => this.write(offset, v),
    };
  }

  /** A register of the frame is written, by a CPU or a device. */
  write(offset: number, v: number): void {
    const n = v & 0x3ff;
    if (offset === Reg.SETSPI && n >= this.o.first && n < this.o.first + this.o.count) this.o.pulse(n);
  }

  // It keeps nothing.
  reset(): void {}

  save(): SavedState {
    return { version: 1 };
  }

  restore(_s: SavedState): void {}
}
