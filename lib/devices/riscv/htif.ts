/**
 * Host-target interface of the Berkeley simulators: two 64-bit words in memory, `tohost` and `fromhost`, by which test programs end
 * and print (riscv-software-src/riscv-isa-sim, fesvr). The page that holds them answers here instead of from RAM.
 */
import type { Device, IoHandler, SavedState } from '../device.js';
import { bytes, loadState, saveState, type Schema } from '../saved.js';

const VERSION = 1;
const PAGE = 4096;

interface State {
  memory: Uint8Array;
}

export interface HtifOptions {
  /** Page offsets of the words. */
  tohost: number;
  fromhost: number | null;
  exit: (code: number) => void;
  write: (bytes: Uint8Array) => void;
}

export class Htif implements Device {
  readonly name = 'htif';
  readonly mmio: IoHandler = { read: (o, s) => this.read(o, s), write: (o, s, v) => this.write(o, s, v) };
  private readonly schema: Schema<State> = { memory: bytes(PAGE) };
  private s: State = { memory: new Uint8Array(PAGE) };
  private view = new DataView(this.s.memory.buffer);

  constructor(private readonly o: HtifOptions) {}

  private read(offset: number, size: number): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + (this.s.memory[offset + i] ?? 0);
    return v;
  }

  private write(offset: number, size: number, value: number): void {
    const again = offset === this.o.tohost && size === 4 && this.view.getUint32(offset, true) === value && value !== 0;
    for (let i = 0; i < size && offset + i < PAGE; i++) this.s.memory[offset + i] = value >>> (8 * i);
    // A 64-bit store comes in two halves; programs that only store the lower one do so in a loop.
    if (again || (offset === this.o.tohost + 4 && size === 4)) this.command();
  }

  private command(): void {
    const at = this.o.tohost;
    const low = this.view.getUint32(at, true);
    const high = this.view.getUint32(at + 4, true);
    if (low === 0 && high === 0) return;
    this.view.setBigUint64(at, 0n);
    const device = high >>> 24;
    const command = (high >>> 16) & 0xff;
    if (device === 0 && low & 1) this.o.exit(low >>> 1);
    else if (device === 1 && command === 1) this.o.write(Uint8Array.of(low & 0xff));
    // Acknowledges, as the front end of the simulators does.
    if (this.o.fromhost !== null) this.view.setUint32(this.o.fromhost + 4, high, true);
  }

  reset(): void {
    this.s.memory.fill(0);
  }

  save(): SavedState {
    return saveState(this.schema, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, this.schema, VERSION, saved);
    this.view = new DataView(this.s.memory.buffer, this.s.memory.byteOffset);
  }
}
