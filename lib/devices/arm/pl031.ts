/** PrimeCell real-time clock PL031 (ARM DDI 0224C): seconds since the epoch, with a match interrupt. */
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import { int, loadState, saveState, u32, type Schema } from '../saved.js';

const enum R { DR = 0x00, MR = 0x04, LR = 0x08, CR = 0x0c, IMSC = 0x10, RIS = 0x14, MIS = 0x18, ICR = 0x1c }
/** RTCPeriphID0..3, RTCPCellID0..3. */
const IDS = [0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

interface State {
  /** Seconds to add to the wall clock. */
  offset: number;
  match: number;
  load: number;
  imsc: number;
  ris: number;
}
const SCHEMA: Schema<State> = { offset: int(-0xffff_ffff, 0xffff_ffff), match: u32, load: u32, imsc: int(0, 1), ris: int(0, 1) };
const initial = (): State => ({ offset: 0, match: 0, load: 0, imsc: 0, ris: 0 });

export interface Pl031Options {
  irq: IrqLine;
  clock: DeviceClock;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
}

export class Pl031 implements Device, IoHandler {
  readonly name = 'pl031';
  private s = initial();
  private readonly timer: DeviceTimer;

  constructor(private readonly o: Pl031Options) {
    this.timer = o.clock.timer(() => {
      this.s.ris = 1;
      this.syncIrq();
    });
  }

  reset(): void {
    // The clock goes on across a reset.
    this.s = { ...initial(), offset: this.s.offset };
    this.timer.disarm();
    this.syncIrq();
  }

  save(): SavedState {
    return saveState(SCHEMA, 1, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, 1, saved);
    this.arm();
    this.syncIrq();
  }

  private get wall(): number {
    return Math.floor(this.o.wallClock() / 1000);
  }

  private get now(): number {
    return (this.wall + this.s.offset) >>> 0;
  }

  private syncIrq(): void {
    this.o.irq.set((this.s.ris & this.s.imsc) !== 0);
  }

  private arm(): void {
    const wait = (this.s.match - this.now) >>> 0;
    if (wait === 0) {
      this.s.ris = 1;
      this.timer.disarm();
    } else this.timer.arm(this.o.clock.now() + wait * 1e9 - (this.o.wallClock() % 1000) * 1e6);
  }

  read(offset: number, size: number): number {
    const v = this.read32(offset & ~3) >>> ((offset & 3) * 8);
    return size === 4 ? v : size === 2 ? v & 0xffff : v & 0xff;
  }

  private read32(offset: number): number {
    const s = this.s;
    switch (offset as R) {
      case R.DR: return this.now;
      case R.MR: return s.match;
      case R.LR: return s.load;
      case R.CR: return 1;
      case R.IMSC: return s.imsc;
      case R.RIS: return s.ris;
      case R.MIS: return s.ris & s.imsc;
      default: return offset >= 0xfe0 && offset < 0x1000 ? IDS[(offset - 0xfe0) >> 2]! : 0;
    }
  }

  write(offset: number, size: number, v: number): void {
    if (size !== 4) return;
    const s = this.s;
    switch (offset as R) {
      case R.MR:
        s.match = v;
        this.arm();
        break;
      case R.LR:
        s.load = v;
        s.offset = v - (this.wall >>> 0);
        this.arm();
        break;
      case R.IMSC: s.imsc = v & 1; break;
      case R.ICR: s.ris &= ~(v & 1); break;
      default: return;
    }
    this.syncIrq();
  }
}
