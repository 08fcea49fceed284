/**
 * ACLINT (RISC-V Advanced Core Local Interruptor Specification 1.0): machine software interrupts and machine timer, laid out as
 * SiFive's CLINT, which drivers know: MSIP at 0, MTIMECMP at 4000h, MTIME at BFF8h.
 */
import { nsToTicks, ticksToNs } from '../clock.js';
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import { array, int, loadState, saveState, u32, type Schema } from '../saved.js';

const VERSION = 1;
export const ACLINT_BYTES = 0x1_0000;
const MTIMECMP = 0x4000;
const MTIME = 0xbff8;
/** Deadlines further away than this need no timer: 2^50 ticks. */
const FAR = 2 ** 50;

interface State {
  msip: number[];
  compareLo: number[];
  compareHi: number[];
  /** Added to the clock's ticks by writes of MTIME. */
  offset: number;
}

export interface AclintOptions {
  clock: DeviceClock;
  /** Ticks per second: a divisor of 10^9. */
  timebaseHz: number;
  /** Per hart: machine software interrupt, machine timer interrupt. */
  msi: readonly IrqLine[];
  mti: readonly IrqLine[];
}

export class Aclint implements Device {
  readonly name = 'aclint';
  readonly mmio: IoHandler = { read: (o, s) => this.read(o, s), write: (o, s, v) => this.write(o, s, v) };
  private readonly o: AclintOptions;
  private readonly timers: DeviceTimer[];
  private readonly schema: Schema<State>;
  private s: State;

  constructor(o: AclintOptions) {
    this.o = o;
    const n = o.msi.length;
    this.schema = { msip: array(n, int(0, 1)), compareLo: array(n, u32), compareHi: array(n, u32), offset: int(-(2 ** 52), 2 ** 52) };
    this.timers = o.mti.map((_, i) => o.clock.timer(() => this.syncTimer(i)));
    this.s = this.fresh();
  }

  private fresh(): State {
    const n = this.o.msi.length;
    return { msip: new Array<number>(n).fill(0), compareLo: new Array<number>(n).fill(0xffff_ffff), compareHi: new Array<number>(n).fill(0xffff_ffff), offset: 0 };
  }

  /** MTIME. Not before zero, should the clock go back further than the guest had set it on. */
  time(): number {
    return Math.max(0, nsToTicks(this.o.clock.now(), this.o.timebaseHz) + this.s.offset);
  }

  private syncTimer(i: number): void {
    const compare = this.s.compareHi[i]! * 2 ** 32 + this.s.compareLo[i]!;
    const due = this.time() >= compare;
    this.o.mti[i]!.set(due);
    if (due || compare >= FAR) this.timers[i]!.disarm();
    else this.timers[i]!.arm(ticksToNs(compare - this.s.offset, this.o.timebaseHz));
  }

  private sync(): void {
    this.s.msip.forEach((v, i) => this.o.msi[i]!.set(v !== 0));
    this.timers.forEach((_, i) => this.syncTimer(i));
  }

  private read(offset: number, size: number): number {
    if (size !== 4 || offset & 3) return 0;
    const { s } = this;
    if (offset < MTIMECMP) return s.msip[offset >> 2] ?? 0;
    if (offset === MTIME) return this.time() % 2 ** 32;
    if (offset === MTIME + 4) return Math.floor(this.time() / 2 ** 32) % 2 ** 32;
    return (offset & 4 ? s.compareHi : s.compareLo)[(offset - MTIMECMP) >> 3] ?? 0;
  }

  private write(offset: number, size: number, value: number): void {
    if (size !== 4 || offset & 3) return;
    const { s } = this;
    if (offset < MTIMECMP) {
      const i = offset >> 2;
      if (i >= s.msip.length) return;
      s.msip[i] = value & 1;
      this.o.msi[i]!.set((value & 1) !== 0);
    } else if (offset === MTIME || offset === MTIME + 4) {
      const now = this.time();
      // Beyond 2^52 time would not be exact: such values are cut.
      const next = offset === MTIME ? now - (now % 2 ** 32) + value : Math.min(value, 0xf_ffff) * 2 ** 32 + (now % 2 ** 32);
      s.offset += next - now;
      this.sync();
    } else {
      const i = (offset - MTIMECMP) >> 3;
      if (i >= s.msip.length) return;
      (offset & 4 ? s.compareHi : s.compareLo)[i] = value;
      this.syncTimer(i);
    }
  }

  reset(): void {
    this.s = this.fresh();
    this.sync();
  }

  save(): SavedState {
    return saveState(this.schema, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, this.schema, VERSION, saved);
    this.sync();
  }
}
