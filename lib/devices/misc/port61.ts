/**
 * System control port B of the PC/AT, 61h (82371SB "NMI Status and Control Register"): timer 2 gate, speaker, refresh
 * toggle, output of timer 2. NMI sources are not there, so their bits read as clear.
 */
import { ByteIo } from '../byte-io.js';
import type { Device, DeviceClock, IoHandler, SavedState } from '../device.js';
import { loadState, saveState, u8, type Schema } from '../saved.js';

const VERSION = 1;
/** The refresh request toggles every 15.085 us. */
const REFRESH_NS = 15085;

const enum Bit {
  GATE2 = 0x01,
  SPEAKER = 0x02,
  REFRESH = 0x10,
  OUT2 = 0x20,
  WRITABLE = 0x0f,
}

interface State {
  control: number;
}

const SCHEMA: Schema<State> = { control: u8 };

/** What the port needs of the PIT. */
export interface Pit2 {
  setGate2(on: boolean): void;
  readonly out2: boolean;
  readonly tone: number;
}

export interface Port61Options {
  clock: DeviceClock;
  pit: Pit2;
  /** The speaker's frequency in Hz, 0 for silence; called when the port changes. */
  onSpeaker?: (hz: number) => void;
}

export class Port61 extends ByteIo implements Device {
  readonly name = 'port61';
  /** One port. */
  readonly ports: IoHandler = this;

  private s: State = { control: 0 };

  constructor(private readonly o: Port61Options) {
    super(1);
  }

  reset(): void {
    this.s.control = 0;
    this.apply();
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
  }

  read8(): number {
    const refresh = Math.floor(this.o.clock.now() / REFRESH_NS) & 1;
    return this.s.control | (refresh ? Bit.REFRESH : 0) | (this.o.pit.out2 ? Bit.OUT2 : 0);
  }

  write8(_offset: number, v: number): void {
    this.s.control = v & Bit.WRITABLE;
    this.apply();
  }

  private apply(): void {
    const c = this.s.control;
    this.o.pit.setGate2((c & Bit.GATE2) !== 0);
    this.o.onSpeaker?.(c & Bit.SPEAKER ? this.o.pit.tone : 0);
  }
}
