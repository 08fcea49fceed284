/** Goldfish real-time clock (Android's virtual hardware; Linux drivers/rtc/rtc-goldfish.c): nanoseconds since the epoch, with an alarm. */
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import { bool, finite, loadState, saveState, u32, type Schema } from '../saved.js';

const VERSION = 1;
export const GOLDFISH_RTC_BYTES = 0x24;

const enum Reg { TIME_LOW = 0x00, TIME_HIGH = 0x04, ALARM_LOW = 0x08, ALARM_HIGH = 0x0c, IRQ_ENABLED = 0x10, CLEAR_ALARM = 0x14, ALARM_STATUS = 0x18, CLEAR_INTERRUPT = 0x1c }
const TWO32 = 0x1_0000_0000n;
/** ns that are waited for at once. */
const LONGEST = 2n ** 50n;

interface State {
  /** Milliseconds that the guest has added to the wall clock. */
  offset: number;
  /** Latched by a read of TIME_LOW. */
  timeHigh: number;
  alarmLow: number;
  alarmHigh: number;
  armed: boolean;
  pending: boolean;
  enabled: boolean;
}

const SCHEMA: Schema<State> = { offset: finite, timeHigh: u32, alarmLow: u32, alarmHigh: u32, armed: bool, pending: bool, enabled: bool };

export interface GoldfishRtcOptions {
  clock: DeviceClock;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
  irq: IrqLine;
}

export class GoldfishRtc implements Device {
  readonly name = 'goldfish-rtc';
  readonly mmio: IoHandler = { read: (o, s) => this.read(o, s), write: (o, s, v) => this.write(o, s, v) };
  private readonly o: GoldfishRtcOptions;
  private readonly timer: DeviceTimer;
  private s: State = fresh();

  constructor(o: GoldfishRtcOptions) {
    this.o = o;
    this.timer = o.clock.timer(() => this.ring());
  }

  /** Nanoseconds since the epoch: beyond 2^53, so read as whole microseconds. A counter of 64 bits: before the epoch is far in the future. */
  private now(): bigint {
    return BigInt.asUintN(64, BigInt(Math.floor((this.o.wallClock() + this.s.offset) * 1000)) * 1000n);
  }

  /** Nanoseconds to the alarm, negative when it is over. */
  private untilAlarm(): bigint {
    return BigInt(this.s.alarmHigh) * TWO32 + BigInt(this.s.alarmLow) - this.now();
  }

  /** The timer is due: the alarm, or the end of the longest time that is waited for at once. */
  private ring(): void {
    if (!this.s.armed) return;
    if (this.untilAlarm() > 0n) {
      this.arm();
      return;
    }
    this.s.armed = false;
    this.s.pending = true;
    this.syncIrq();
  }

  /** An alarm in the past rings at once, but by the timer, so that restoring a state changes nothing. */
  private arm(): void {
    if (!this.s.armed) {
      this.timer.disarm();
      return;
    }
    const delta = this.untilAlarm();
    this.timer.arm(this.o.clock.now() + (delta <= 0n ? 0 : delta < LONGEST ? Number(delta) : Number(LONGEST)));
  }

  private syncIrq(): void {
    this.o.irq.set(this.s.pending && this.s.enabled);
  }

  private read(offset: number, size: number): number {
    if (size !== 4) return 0;
    const { s } = this;
    switch (offset as Reg) {
      case Reg.TIME_LOW: {
        const t = this.now();
        s.timeHigh = Number((t / TWO32) % TWO32);
        return Number(t % TWO32);
      }
      case Reg.TIME_HIGH: return s.timeHigh;
      case Reg.ALARM_LOW: return s.alarmLow;
      case Reg.ALARM_HIGH: return s.alarmHigh;
      case Reg.IRQ_ENABLED: return s.enabled ? 1 : 0;
      case Reg.ALARM_STATUS: return s.armed ? 1 : 0;
      default: return 0;
    }
  }

  private write(offset: number, size: number, value: number): void {
    if (size !== 4) return;
    const { s } = this;
    switch (offset as Reg) {
      case Reg.TIME_LOW:
      case Reg.TIME_HIGH: {
        const t = this.now();
        const next = offset === (Reg.TIME_LOW as number) ? t - (t % TWO32) + BigInt(value) : BigInt(value) * TWO32 + (t % TWO32);
        s.offset += Number((next - t) / 1_000_000n);
        this.arm();
        break;
      }
      case Reg.ALARM_LOW:
        s.alarmLow = value;
        s.armed = true;
        this.arm();
        break;
      case Reg.ALARM_HIGH:
        s.alarmHigh = value;
        this.arm();
        break;
      case Reg.IRQ_ENABLED:
        s.enabled = (value & 1) !== 0;
        break;
      case Reg.CLEAR_ALARM:
        s.armed = false;
        this.timer.disarm();
        break;
      case Reg.CLEAR_INTERRUPT:
        s.pending = false;
        break;
    }
    this.syncIrq();
  }

  reset(): void {
    this.s = fresh();
    this.timer.disarm();
    this.syncIrq();
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
    this.arm();
    this.syncIrq();
  }
}

const fresh = (): State => ({ offset: 0, timeHigh: 0, alarmLow: 0, alarmHigh: 0, armed: false, pending: false, enabled: false });
