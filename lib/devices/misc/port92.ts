/** System control port A of the PS/2, 92h (82371SB "Port 92 Register"): fast A20 gate and fast reset. */
import { ByteIo } from '../byte-io.js';
import type { Device, IoHandler, SavedState } from '../device.js';
import { loadState, saveState, u8, type Schema } from '../saved.js';

const VERSION = 1;

const enum Bit {
  FAST_RESET = 0x01,
  A20 = 0x02,
}

interface State {
  value: number;
}

const SCHEMA: Schema<State> = { value: u8 };

export interface Port92Options {
  onA20: (enabled: boolean) => void;
  onReset: () => void;
}

export class Port92 extends ByteIo implements Device {
  readonly name = 'port92';
  /** One port. */
  readonly ports: IoHandler = this;

  private s: State = { value: Bit.A20 };

  constructor(private readonly o: Port92Options) {
    super(1);
  }

  reset(): void {
    this.s.value = Bit.A20;
    this.o.onA20(true);
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
    this.o.onA20((this.s.value & Bit.A20) !== 0);
  }

  read8(): number {
    return this.s.value;
  }

  write8(_offset: number, v: number): void {
    const rise = v & ~this.s.value & Bit.FAST_RESET;
    this.s.value = v;
    this.o.onA20((v & Bit.A20) !== 0);
    if (rise) this.o.onReset();
  }
}
