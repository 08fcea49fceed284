/**
 * The local APIC's timer: one-shot, periodic and TSC-deadline (Intel SDM volume 3A, section "APIC Timer"). The input clock
 * is 1 GHz, so a count is nanoseconds times the divisor. A masked timer counts but arms nothing.
 */
import type { DeviceClock, DeviceTimer } from '../device.js';
import { bool, int, time, u32, type Schema } from '../saved.js';
import { LvtBit, TimerMode } from './lapic.spec.js';

/** A periodic timer never fires more often than this, or a guest could stop the machine with a count of 1. */
const MIN_PERIOD_NS = 20_000;
/** The longest a TSC deadline is armed for at once; when that expires early it is armed again. */
const MAX_TSC_WAIT_NS = 1e12;

/** The CPU's time stamp counter. */
export interface TscSource {
  readonly khz: number;
  /** The 64-bit counter as two unsigned halves. */
  read(out: { lo: number; hi: number }): void;
}

export interface LapicTimerState {
  /** LVT entry. */
  lvt: number;
  initial: number;
  divide: number;
  /** When the current count was loaded; meaningless while `initial` is 0. */
  start: number;
  /** The count has reached zero and stays there, in periodic mode too until the next initial count. */
  spent: boolean;
  deadlineLo: number;
  deadlineHi: number;
}

export const LAPIC_TIMER: Schema<LapicTimerState> = {
  lvt: int(0, 0x7ffff),
  initial: u32,
  divide: int(0, 15),
  start: time,
  spent: bool,
  deadlineLo: u32,
  deadlineHi: u32,
};

export function initialTimer(): LapicTimerState {
  return { lvt: LvtBit.MASKED, initial: 0, divide: 0, start: 0, spent: true, deadlineLo: 0, deadlineHi: 0 };
}

/** Nanoseconds per count, of the divide configuration register. */
export function timerDivisor(divide: number): number {
  return 1 << (((((divide >> 1) & 4) | (divide & 3)) + 1) & 7);
}

export class LapicTimer {
  /** Replaced as a whole by reset and restore, after which `arm` is due. */
  s = initialTimer();
  private readonly timer: DeviceTimer;
  private readonly tscNow = { lo: 0, hi: 0 };

  /** fire: raise the interrupt of the LVT entry. It is called from timers and from register writes alike. */
  constructor(
    private readonly clock: DeviceClock,
    private readonly tsc: TscSource,
    private readonly fire: () => void,
  ) {
    this.timer = clock.timer(() => this.expired());
  }

  get mode(): TimerMode {
    return (this.s.lvt >> 17) & 3;
  }

  private get masked(): boolean {
    return (this.s.lvt & LvtBit.MASKED) !== 0;
  }

  setLvt(v: number): void {
    const s = this.s;
    const old = this.mode;
    this.expireMasked();
    const count = this.current();
    s.lvt = v;
    const mode = this.mode;
    if (mode !== old) {
      if (mode === TimerMode.TSC_DEADLINE || old === TimerMode.TSC_DEADLINE) {
        // Going to or from deadline mode stops the timer: SDM, "TSC-Deadline Mode".
        s.initial = s.deadlineLo = s.deadlineHi = 0;
        s.spent = true;
      } else {
        // Between the others the present count goes on.
        s.spent = count === 0;
        this.rebase(count);
      }
    }
    this.arm();
  }

  get initial(): number {
    return this.mode === TimerMode.TSC_DEADLINE ? 0 : this.s.initial;
  }

  setInitial(v: number): void {
    if (this.mode === TimerMode.TSC_DEADLINE) return;
    this.s.initial = v;
    this.s.start = this.clock.now();
    this.s.spent = v === 0;
    this.arm();
  }

  get divide(): number {
    return this.s.divide;
  }

  /** A running count goes on from where it is at the new rate. */
  setDivide(v: number): void {
    const left = this.current();
    this.s.divide = v & 0xb;
    this.rebase(left);
    this.arm();
  }

  current(): number {
    const s = this.s;
    if (s.initial === 0 || s.spent || this.mode === TimerMode.TSC_DEADLINE) return 0;
    const elapsed = Math.floor((this.clock.now() - s.start) / this.divisor());
    if (elapsed < s.initial) return s.initial - Math.max(elapsed, 0);
    return this.mode === TimerMode.PERIODIC ? s.initial - (elapsed % s.initial) : 0;
  }

  readDeadline(out: { lo: number; hi: number }): void {
    this.expireMasked();
    const armed = this.mode === TimerMode.TSC_DEADLINE;
    out.lo = armed ? this.s.deadlineLo : 0;
    out.hi = armed ? this.s.deadlineHi : 0;
  }

  writeDeadline(lo: number, hi: number): void {
    if (this.mode !== TimerMode.TSC_DEADLINE) return;
    this.s.deadlineLo = lo;
    this.s.deadlineHi = hi;
    this.arm();
  }

  /** The guest changed its TSC: the deadline is now nearer or farther. */
  tscChanged(): void {
    if (this.mode === TimerMode.TSC_DEADLINE) this.arm();
  }

  /** Somebody else counts from now on, until `arm`. */
  stop(): void {
    this.timer.disarm();
  }

  /** Arms the host timer for the next interrupt the state asks for. */
  arm(): void {
    const s = this.s;
    const at = this.masked ? Infinity : this.nextEvent();
    if (at === -1) {
      this.timer.disarm();
      s.deadlineLo = s.deadlineHi = 0;
      this.fire();
    } else {
      this.timer.arm(at);
    }
  }

  /** Nanoseconds per count. */
  private divisor(): number {
    return timerDivisor(this.s.divide);
  }

  /** Sets the start so that `left` counts remain now. */
  private rebase(left: number): void {
    this.s.start = Math.max(0, Math.round(this.clock.now() - (this.s.initial - left) * this.divisor()));
  }

  /** TSC ticks until the deadline; negative when passed. */
  private distance(): number {
    const t = this.tscNow;
    this.tsc.read(t);
    return (this.s.deadlineHi - t.hi) * 0x100000000 + (this.s.deadlineLo - t.lo);
  }

  /** What ran out while masked is spent: unmasking later does not bring the interrupt back. */
  private expireMasked(): void {
    const s = this.s;
    if (!this.masked) return;
    if (this.mode === TimerMode.TSC_DEADLINE) {
      if ((s.deadlineLo | s.deadlineHi) !== 0 && this.distance() <= 0) s.deadlineLo = s.deadlineHi = 0;
    } else if (this.mode === TimerMode.ONE_SHOT && s.start + s.initial * this.divisor() <= this.clock.now()) {
      s.spent = true;
    }
  }

  /** When the next interrupt is due; Infinity: never; -1: a deadline has passed. */
  private nextEvent(): number {
    const s = this.s;
    const now = this.clock.now();
    switch (this.mode) {
      case TimerMode.TSC_DEADLINE: {
        if ((s.deadlineLo | s.deadlineHi) === 0) return Infinity;
        const d = this.distance();
        if (d <= 0) return -1;
        return now + Math.min(Math.ceil((d * 1e6) / this.tsc.khz), MAX_TSC_WAIT_NS);
      }
      case TimerMode.ONE_SHOT:
        return s.spent ? Infinity : s.start + s.initial * this.divisor();
      case TimerMode.PERIODIC: {
        if (s.initial === 0 || s.spent) return Infinity;
        const period = s.initial * this.divisor();
        const from = now - s.start + (period < MIN_PERIOD_NS ? MIN_PERIOD_NS : 0);
        return s.start + (Math.floor(from / period) + 1) * period;
      }
      default:
        return Infinity;
    }
  }

  private expired(): void {
    const s = this.s;
    switch (this.mode) {
      case TimerMode.TSC_DEADLINE:
        // A microsecond of disagreement between clock and TSC is not worth another wait.
        if (this.distance() > this.tsc.khz / 1000) {
          this.arm();
          return;
        }
        s.deadlineLo = s.deadlineHi = 0;
        break;
      case TimerMode.PERIODIC:
        this.arm();
        break;
      default:
        s.spent = true;
    }
    this.fire();
  }
}
