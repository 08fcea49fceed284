/**
 * Motorola MC146818A real-time clock and CMOS RAM, as in a PC/AT: index port 70h (bit 7 masks NMI), data port 71h, 128
 * bytes, century in byte 32h. The time of day is the host's wall clock plus an offset that the guest's settings change.
 * Periodic, alarm and update events are found by computation; a timer runs only for those that would interrupt.
 */
import { nsToTicks, ticksToNs } from '../clock.js';
import { bytePorts } from '../byte-io.js';
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import { bool, bytes, finite, loadState, saveState, time, u8, type Schema } from '../saved.js';

const VERSION = 1;
const PERIODIC_HZ = 32768;
/** UIP is set this long before an update, so that a program that sees it clear has time to read. */
const UIP_LEAD_MS = 0.244;
const DAY_S = 86400;

export const enum Cmos {
  SECONDS = 0x00,
  SECONDS_ALARM = 0x01,
  MINUTES = 0x02,
  MINUTES_ALARM = 0x03,
  HOURS = 0x04,
  HOURS_ALARM = 0x05,
  WEEKDAY = 0x06,
  DAY = 0x07,
  MONTH = 0x08,
  YEAR = 0x09,
  A = 0x0a,
  B = 0x0b,
  C = 0x0c,
  D = 0x0d,
  CENTURY = 0x32,
}

const enum A {
  RS = 0x0f,
  DV = 0x70,
  UIP = 0x80,
}

/** Divider settings of register A: the 32.768 kHz crystal; 110 and 111 hold the divider in reset. */
const DV_32KHZ = 0x20;
const DV_RESET = 0x60;

const enum B {
  DSE = 0x01,
  H24 = 0x02,
  BINARY = 0x04,
  UIE = 0x10,
  AIE = 0x20,
  PIE = 0x40,
  SET = 0x80,
}

const enum C {
  UF = 0x10,
  AF = 0x20,
  PF = 0x40,
  IRQF = 0x80,
}

const D_VRT = 0x80;
const ALARM_ANY = 0xc0;
const HOUR_PM = 0x80;

interface State {
  index: number;
  nmiMasked: boolean;
  /** All bytes; those of the time are valid only while updates are stopped. */
  ram: Uint8Array;
  flags: number;
  /** Guest time minus wall time, ms. */
  offset: number;
  /** Fraction of the second, ms, at which a stopped clock goes on. */
  heldMs: number;
  /** Seconds (guest epoch) up to which update and alarm flags are accounted for. */
  seenSecond: number;
  /** The same for the periodic flag, in periods' base ticks of machine time. */
  seenTick: number;
}

const SCHEMA: Schema<State> = {
  index: u8,
  nmiMasked: bool,
  ram: bytes(128),
  flags: u8,
  offset: finite,
  heldMs: finite,
  seenSecond: finite,
  seenTick: time,
};

export interface Mc146818Options {
  clock: DeviceClock;
  irq8: IrqLine;
  /** Wall clock in ms since 1970, in the zone the guest expects (UTC for Linux, local time for Windows). May be fractional. */
  wallClock: () => number;
  /** Initial NVRAM bytes 0Eh-7Fh, e.g. from a file; 128 bytes, of which the clock's own are ignored. */
  nvram?: Uint8Array;
  /** Called after the guest changed an NVRAM byte, to keep it. */
  onNvramWrite?: (index: number, value: number) => void;
  /** Index port bit 7. */
  onNmiMask?: (masked: boolean) => void;
}

export class Mc146818 implements Device {
  readonly name = 'mc146818';
  /** 70h-71h (also mirrored at 72h-73h for the upper bank by some boards). */
  readonly ports: IoHandler;

  private readonly o: Mc146818Options;
  private readonly timer: DeviceTimer;

  private s: State;

  constructor(o: Mc146818Options) {
    this.o = o;
    this.timer = o.clock.timer(() => this.syncIrq());
    this.ports = bytePorts(
      2,
      (a) => (a === 0 ? 0xff : this.readCmos(this.s.index)),
      (a, v) => {
        if (a === 0) {
          this.s.index = v & 0x7f;
          const masked = (v & 0x80) !== 0;
          if (masked !== this.s.nmiMasked) {
            this.s.nmiMasked = masked;
            o.onNmiMask?.(masked);
          }
        } else {
          this.writeCmos(this.s.index, v);
        }
      },
    );
    const ram = new Uint8Array(128);
    if (o.nvram) ram.set(o.nvram.subarray(0, 128));
    ram[Cmos.A] = DV_32KHZ | 6;
    ram[Cmos.B] = B.H24;
    ram[Cmos.SECONDS_ALARM] = ram[Cmos.MINUTES_ALARM] = ram[Cmos.HOURS_ALARM] = 0;
    this.s = {
      index: 0,
      nmiMasked: false,
      ram,
      flags: 0,
      offset: 0,
      heldMs: 0,
      seenSecond: 0,
      seenTick: 0,
    };
    this.s.seenSecond = this.second();
    this.s.seenTick = this.tick();
  }

  /** The RESET pin: interrupts off, time and memory kept (the battery). */
  reset(): void {
    const s = this.s;
    this.account();
    s.ram[Cmos.B] &= ~(B.PIE | B.AIE | B.UIE | 0x08);
    s.flags = 0;
    s.index = 0;
    s.nmiMasked = false;
    this.syncIrq();
  }

  save(): SavedState {
    this.account();
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
    this.syncIrq();
  }

  /** NVRAM for the board and firmware: memory sizes, boot order. Not for the clock's registers. */
  setNvram(index: number, value: number): void {
    if (index > Cmos.D && index < 128) this.s.ram[index] = value;
  }

  getNvram(index: number): number {
    return this.s.ram[index & 127];
  }

  // ---- time ----

  /** Guest time in ms since 1970. */
  private ms(): number {
    return this.o.wallClock() + this.s.offset;
  }

  private second(): number {
    return Math.floor(this.ms() / 1000);
  }

  private tick(): number {
    return nsToTicks(this.o.clock.now(), PERIODIC_HZ);
  }

  /** Updates happen: neither SET nor a divider reset. */
  private ticking(): boolean {
    return !(this.s.ram[Cmos.B] & B.SET) && this.dividerRuns();
  }

  private dividerRuns(): boolean {
    return (this.s.ram[Cmos.A] & DV_RESET) !== DV_RESET;
  }

  /** Base ticks per period of register A's rate; 0: none. */
  private period(): number {
    const rs = this.s.ram[Cmos.A] & A.RS;
    if (rs === 0 || !this.dividerRuns()) return 0;
    return rs < 3 ? 1 << (rs + 6) : 1 << (rs - 1);
  }

  private encode(v: number): number {
    return this.s.ram[Cmos.B] & B.BINARY ? v : (Math.floor(v / 10) << 4) | (v % 10);
  }

  private decode(v: number): number {
    return this.s.ram[Cmos.B] & B.BINARY ? v : (v >> 4) * 10 + (v & 15);
  }

  private encodeHour(h: number): number {
    if (this.s.ram[Cmos.B] & B.H24) return this.encode(h);
    return this.encode(h % 12 || 12) | (h >= 12 ? HOUR_PM : 0);
  }

  private decodeHour(v: number): number {
    if (this.s.ram[Cmos.B] & B.H24) return this.decode(v);
    const h = this.decode(v & 0x7f) % 12;
    return v & HOUR_PM ? h + 12 : h;
  }

  /** Writes the present time into its bytes. */
  private fillTime(): void {
    const r = this.s.ram;
    const t = new Date(this.second() * 1000);
    r[Cmos.SECONDS] = this.encode(t.getUTCSeconds());
    r[Cmos.MINUTES] = this.encode(t.getUTCMinutes());
    r[Cmos.HOURS] = this.encodeHour(t.getUTCHours());
    r[Cmos.WEEKDAY] = this.encode(t.getUTCDay() + 1);
    r[Cmos.DAY] = this.encode(t.getUTCDate());
    r[Cmos.MONTH] = this.encode(t.getUTCMonth() + 1);
    const year = t.getUTCFullYear();
    r[Cmos.YEAR] = this.encode(year % 100);
    r[Cmos.CENTURY] = this.encode(Math.floor(year / 100) % 100);
  }

  /** Makes the time bytes, which the guest has written, the present time; the next second begins in 1000 - fractionMs. */
  private takeTime(fractionMs: number): void {
    const r = this.s.ram;
    const year = this.decode(r[Cmos.CENTURY]) * 100 + this.decode(r[Cmos.YEAR]);
    const t = Date.UTC(
      year,
      this.decode(r[Cmos.MONTH]) - 1,
      this.decode(r[Cmos.DAY]),
      this.decodeHour(r[Cmos.HOURS]),
      this.decode(r[Cmos.MINUTES]),
      this.decode(r[Cmos.SECONDS]),
    );
    if (Number.isNaN(t)) return;
    this.s.offset = t + fractionMs - this.o.wallClock();
    this.s.seenSecond = this.second();
  }

  private fraction(): number {
    const ms = this.ms();
    return ms - Math.floor(ms / 1000) * 1000;
  }

  // ---- registers ----

  private readCmos(i: number): number {
    const s = this.s;
    switch (i) {
      case Cmos.SECONDS:
      case Cmos.MINUTES:
      case Cmos.HOURS:
      case Cmos.WEEKDAY:
      case Cmos.DAY:
      case Cmos.MONTH:
      case Cmos.YEAR:
      case Cmos.CENTURY:
        if (this.ticking()) this.fillTime();
        return s.ram[i];
      case Cmos.A:
        return s.ram[i] | (this.ticking() && this.fraction() >= 1000 - UIP_LEAD_MS ? A.UIP : 0);
      case Cmos.C: {
        this.account();
        const v = s.flags | (this.irqWanted() ? C.IRQF : 0);
        s.flags = 0;
        // The line falls even if the next event is due by now: an edge-triggered interrupt controller has to see each.
        this.o.irq8.set(false);
        this.syncIrq();
        return v;
      }
      case Cmos.D:
        return D_VRT;
      default:
        return s.ram[i];
    }
  }

  private writeCmos(i: number, v: number): void {
    const s = this.s;
    this.account();
    switch (i) {
      case Cmos.SECONDS:
      case Cmos.MINUTES:
      case Cmos.HOURS:
      case Cmos.WEEKDAY:
      case Cmos.DAY:
      case Cmos.MONTH:
      case Cmos.YEAR:
      case Cmos.CENTURY:
        if (this.ticking()) {
          this.fillTime();
          s.ram[i] = v;
          this.takeTime(this.fraction());
        } else {
          s.ram[i] = v;
        }
        break;
      case Cmos.A: {
        const was = this.ticking();
        const ran = this.dividerRuns();
        s.ram[i] = v & (A.RS | A.DV);
        // Half a second after the divider leaves reset comes the first update.
        if (!ran && this.dividerRuns()) s.heldMs = 500;
        if (was && !this.ticking()) this.hold();
        if (!was && this.ticking()) this.takeTime(s.heldMs);
        break;
      }
      case Cmos.B: {
        const was = this.ticking();
        if (was && v & B.SET) this.hold();
        s.ram[i] = v & B.SET ? v & ~B.UIE : v;
        if (!was && this.ticking()) this.takeTime(s.heldMs);
        break;
      }
      case Cmos.C:
      case Cmos.D:
        break;
      default:
        s.ram[i] = v;
        if (i > Cmos.D) this.o.onNvramWrite?.(i, v);
    }
    this.syncIrq();
  }

  /** Stops the clock in the bytes. */
  private hold(): void {
    this.fillTime();
    this.s.heldMs = this.fraction();
  }

  // ---- events ----

  /** Sets the flags of what has happened since the last look. */
  private account(): void {
    const s = this.s;
    const tick = this.tick();
    const p = this.period();
    if (p && Math.floor(tick / p) > Math.floor(s.seenTick / p)) s.flags |= C.PF;
    s.seenTick = tick;
    if (!this.ticking()) {
      s.seenSecond = this.second();
      return;
    }
    const now = this.second();
    if (now > s.seenSecond) {
      s.flags |= C.UF;
      if (this.nextAlarm(s.seenSecond) <= now) s.flags |= C.AF;
    }
    s.seenSecond = now;
  }

  /** The first second after `after` that matches the alarm bytes; Infinity if they match none. */
  private nextAlarm(after: number): number {
    const r = this.s.ram;
    const any = (v: number): boolean => (v & ALARM_ANY) === ALARM_ANY;
    const sec = any(r[Cmos.SECONDS_ALARM]) ? -1 : this.decode(r[Cmos.SECONDS_ALARM]);
    const min = any(r[Cmos.MINUTES_ALARM]) ? -1 : this.decode(r[Cmos.MINUTES_ALARM]);
    const hour = any(r[Cmos.HOURS_ALARM]) ? -1 : this.decodeHour(r[Cmos.HOURS_ALARM]);
    if (sec > 59 || min > 59 || hour > 23) return Infinity;
    let t = after + 1;
    const end = t + DAY_S + 3600;
    // Skips whole hours and minutes: at most 25 + 60 + 60 steps.
    while (t < end) {
      const inDay = ((t % DAY_S) + DAY_S) % DAY_S;
      if (hour >= 0 && Math.floor(inDay / 3600) !== hour) t += 3600 - (inDay % 3600);
      else if (min >= 0 && Math.floor(inDay / 60) % 60 !== min) t += 60 - (inDay % 60);
      else if (sec >= 0 && inDay % 60 !== sec) t++;
      else return t;
    }
    return Infinity;
  }

  private irqWanted(): boolean {
    // Flags and enables stand at the same bits.
    return (this.s.flags & this.s.ram[Cmos.B] & (C.UF | C.AF | C.PF)) !== 0;
  }

  private syncIrq(): void {
    const s = this.s;
    this.account();
    const wanted = this.irqWanted();
    this.o.irq8.set(wanted);
    // While the line is up nothing more can happen that the guest could notice before it reads C.
    this.timer.arm(wanted ? Infinity : this.nextEvent(s.ram[Cmos.B]));
  }

  private nextEvent(b: number): number {
    const now = this.o.clock.now();
    let at = Infinity;
    const p = this.period();
    if (b & B.PIE && p) at = ticksToNs((Math.floor(this.s.seenTick / p) + 1) * p, PERIODIC_HZ);
    if (b & (B.UIE | B.AIE) && this.ticking()) {
      const ms = this.ms();
      const second = Math.floor(ms / 1000);
      const next = b & B.UIE ? second + 1 : this.nextAlarm(second);
      // The wall clock may run at another pace than machine time, so look again at least 1 us later.
      at = Math.min(at, now + Math.max(1000, Math.ceil((next * 1000 - ms) * 1e6)));
    }
    return at;
  }
}
