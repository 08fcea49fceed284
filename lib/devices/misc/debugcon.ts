/** Debug console: each byte written is printed. Port E9h (Bochs) or 402h (firmware), where a read gives E9h: "I am there". */
import { ByteIo } from '../byte-io.js';
import type { Device, IoHandler, SavedState } from '../device.js';
import { loadState, saveState } from '../saved.js';

const VERSION = 1;
const PRESENT = 0xe9;

export interface DebugConOptions {
  /** The buffer is reused. */
  write: (data: Uint8Array) => void;
  /** For the name; default e9. */
  port?: number;
}

export class DebugCon extends ByteIo implements Device {
  readonly name: string;
  /** One port. */
  readonly ports: IoHandler = this;
  private readonly byte = new Uint8Array(1);

  constructor(private readonly o: DebugConOptions) {
    super(1);
    this.name = `debugcon@${(o.port ?? 0xe9).toString(16)}`;
  }

  reset(): void {}

  save(): SavedState {
    return saveState({}, VERSION, {});
  }

  restore(saved: SavedState): void {
    loadState(this.name, {}, VERSION, saved);
  }

  read8(): number {
    return PRESENT;
  }

  write8(_offset: number, v: number): void {
    this.byte[0] = v;
    this.o.write(this.byte);
  }
}
