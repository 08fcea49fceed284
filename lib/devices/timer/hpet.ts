/**
 * High precision event timer (IA-PC HPET Specification 1.0a, sections 2.3 "Memory Mapped Registers" and 2.4): 64-bit main
 * counter at 100 MHz, three comparators, of which all can be periodic; legacy replacement routing; no FSB delivery. A
 * comparator that is set to a time just gone fires at once instead of after a full turn of the counter. The additional
 * interrupt of a 32-bit one-shot comparator when the counter wraps is not generated.
 */
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import { array, bool, int, loadState, saveState, struct, time, u32, type Schema } from '../saved.js';

const VERSION = 1;
const NS_PER_TICK = 10;
const PERIOD_FS = 10_000_000;
/** Interrupts never come more often than this. */
const MIN_PERIOD_TICKS = 2000;
/** Farther away than this need not be armed (52 days). */
const MAX_DISTANCE = 2 ** 48;

/** Offsets; 64-bit registers, the high half 4 bytes on. */
const enum Reg {
  CAPABILITIES = 0x000,
  CONFIG = 0x010,
  STATUS = 0x020,
  COUNTER = 0x0f0,
  TIMERS = 0x100,
}

/** Offsets within the 32 bytes of a timer. */
const enum TimerReg {
  CONFIG = 0x00,
  COMPARATOR = 0x08,
}

const enum Cap {
  REVISION = 1,
  COUNT_64 = 1 << 13,
  LEGACY = 1 << 15,
}

const enum Config {
  ENABLE = 1,
  LEGACY = 2,
}

const enum Tn {
  LEVEL = 1 << 1,
  INT_ENABLE = 1 << 2,
  PERIODIC = 1 << 3,
  PERIODIC_CAP = 1 << 4,
  SIZE_CAP = 1 << 5,
  VAL_SET = 1 << 6,
  MODE_32 = 1 << 8,
  ROUTE_SHIFT = 9,
  WRITABLE = 0x3f4e,
}

interface TimerState {
  config: number;
  cmpLo: number;
  cmpHi: number;
  periodLo: number;
  periodHi: number;
  /** A comparator was written and has not fired (one-shot). */
  armed: boolean;
}

interface State {
  config: number;
  status: number;
  /** Counter value at `since` (or for good, while halted). */
  lo: number;
  hi: number;
  since: number;
  timers: TimerState[];
}

export interface HpetOptions {
  clock: DeviceClock;
  /** I/O APIC pins. */
  gsis: readonly IrqLine[];
  /** ISA interrupts 0 and 8 as the board wires them (8259A and I/O APIC), which the HPET takes over in legacy mode. */
  irq0: IrqLine;
  irq8: IrqLine;
  /** Pins a timer may use. Default 20 to 23. */
  routes?: number;
  /** Number of comparators, 3 to 8. Default 3. */
  timers?: number;
}

export class Hpet implements Device {
  readonly name = 'hpet';
  /** 1 KiB, at FED00000h. */
  readonly mmio: IoHandler = {
    read: (offset, size) => this.read(offset, size),
    write: (offset, size, value) => this.write(offset, size, value),
  };
  /** The PIT's output and the RTC's interrupt go through here: legacy mode cuts them off. */
  readonly pitIrq0: IrqLine = { set: (level) => this.setLegacyInput(0, level) };
  readonly rtcIrq8: IrqLine = { set: (level) => this.setLegacyInput(1, level) };

  private readonly o: HpetOptions;
  private readonly n: number;
  private readonly routes: number;
  private readonly schema: Schema<State>;
  private readonly hostTimers: DeviceTimer[];

  private s: State;
  /** Levels of PIT and RTC, which those devices set again after a restore. */
  private readonly inputs = [false, false];
  private curLo = 0;
  private curHi = 0;

  constructor(o: HpetOptions) {
    this.o = o;
    this.n = Math.min(8, Math.max(3, o.timers ?? 3));
    this.routes = o.routes ?? 0x00f00000;
    const timer: Schema<TimerState> = {
      config: int(0, 0x7fff),
      cmpLo: u32,
      cmpHi: u32,
      periodLo: u32,
      periodHi: u32,
      armed: bool,
    };
    this.schema = { config: int(0, 3), status: u32, lo: u32, hi: u32, since: time, timers: array(this.n, struct(timer)) };
    this.hostTimers = Array.from({ length: this.n }, (_, i) => o.clock.timer(() => this.expired(i)));
    this.s = this.initial();
  }

  private initial(): State {
    const timers = Array.from({ length: this.n }, () => ({
      config: Tn.PERIODIC_CAP | Tn.SIZE_CAP,
      cmpLo: 0xffffffff,
      cmpHi: 0xffffffff,
      periodLo: 0,
      periodHi: 0,
      armed: false,
    }));
    return { config: 0, status: 0, lo: 0, hi: 0, since: 0, timers };
  }

  reset(): void {
    for (let i = 0; i < this.n; i++) {
      this.line(i).set(false);
      this.hostTimers[i].disarm();
    }
    this.s = this.initial();
    this.legacyChanged();
  }

  save(): SavedState {
    return saveState(this.schema, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, this.schema, VERSION, saved);
    this.legacyChanged();
    for (let i = 0; i < this.n; i++) {
      this.arm(i);
      if (this.s.timers[i].config & Tn.LEVEL) this.syncIrq(i);
    }
  }

  // ---- counter ----

  private running(): boolean {
    return (this.s.config & Config.ENABLE) !== 0;
  }

  /** Puts the main counter into curLo, curHi. */
  private sample(): void {
    const s = this.s;
    if (!this.running()) {
      this.curLo = s.lo;
      this.curHi = s.hi;
      return;
    }
    const ticks = Math.max(0, Math.floor((this.o.clock.now() - s.since) / NS_PER_TICK));
    const low = s.lo + (ticks % 0x100000000);
    this.curLo = low % 0x100000000;
    this.curHi = (s.hi + Math.floor(ticks / 0x100000000) + (low >= 0x100000000 ? 1 : 0)) % 0x100000000;
  }

  /** Ticks from the counter (as sampled) to the comparator: negative when just passed. */
  private distance(t: TimerState): number {
    if (t.config & Tn.MODE_32) {
      const ahead = (t.cmpLo - this.curLo) >>> 0;
      // Half a turn and more ahead counts as passed, unless the period is as long as that.
      const reach = Math.max(0x7fffffff, t.config & Tn.PERIODIC ? t.periodLo : 0);
      return ahead <= reach ? ahead : ahead - 0x100000000;
    }
    return ((t.cmpHi - this.curHi) | 0) * 0x100000000 + (t.cmpLo - this.curLo);
  }

  private period(t: TimerState): number {
    return t.config & Tn.MODE_32 ? t.periodLo : t.periodHi * 0x100000000 + t.periodLo;
  }

  // ---- interrupts ----

  private legacy(): boolean {
    return (this.s.config & Config.LEGACY) !== 0;
  }

  private line(i: number): IrqLine {
    if (this.legacy() && i < 2) return i === 0 ? this.o.irq0 : this.o.irq8;
    return this.o.gsis[(this.s.timers[i].config >> Tn.ROUTE_SHIFT) & 31] ?? NOWHERE;
  }

  private setLegacyInput(i: number, level: boolean): void {
    this.inputs[i] = level;
    if (!this.legacy()) (i === 0 ? this.o.irq0 : this.o.irq8).set(level);
  }

  private legacyChanged(): void {
    this.o.irq0.set(!this.legacy() && this.inputs[0]);
    this.o.irq8.set(!this.legacy() && this.inputs[1]);
  }

  /** Level of a level-triggered timer's line. */
  private syncIrq(i: number): void {
    const on = (this.s.status >> i) & 1 && this.s.timers[i].config & Tn.INT_ENABLE;
    this.line(i).set(on !== 0);
  }

  private fire(i: number): void {
    const c = this.s.timers[i].config;
    if (c & Tn.LEVEL) {
      this.s.status |= 1 << i;
      this.syncIrq(i);
    } else if (c & Tn.INT_ENABLE) {
      // The line stays up until the next edge: an 8259A wants to find it so when the CPU acknowledges.
      this.line(i).set(false);
      this.line(i).set(true);
    }
  }

  private expired(i: number): void {
    const t = this.s.timers[i];
    this.sample();
    if (this.distance(t) <= 0) {
      if (t.config & Tn.PERIODIC) this.advance(t);
      else t.armed = false;
      this.fire(i);
      // Whatever the comparator says now (periods beyond 2^53 ticks lose digits), not again at once.
      this.arm(i, MIN_PERIOD_TICKS);
    } else {
      this.arm(i);
    }
  }

  /** Moves a periodic comparator past the counter, by whole periods. */
  private advance(t: TimerState): void {
    const p = this.period(t);
    if (p === 0) {
      t.armed = false;
      return;
    }
    const behind = -this.distance(t) + (p < MIN_PERIOD_TICKS ? MIN_PERIOD_TICKS : 0);
    const step = (Math.floor(behind / p) + 1) * p;
    const low = t.cmpLo + (step % 0x100000000);
    t.cmpLo = low % 0x100000000;
    if (!(t.config & Tn.MODE_32)) {
      t.cmpHi = (t.cmpHi + Math.floor(step / 0x100000000) + (low >= 0x100000000 ? 1 : 0)) % 0x100000000;
    }
  }

  private arm(i: number, atLeast = 0): void {
    const t = this.s.timers[i];
    if (!this.running() || !t.armed) {
      this.hostTimers[i].disarm();
      return;
    }
    this.sample();
    const d = Math.max(this.distance(t), atLeast);
    // The counter stands until a clock that went back has come to where it was.
    const now = Math.max(this.o.clock.now(), this.s.since);
    if (d > MAX_DISTANCE) this.hostTimers[i].disarm();
    else this.hostTimers[i].arm(d <= 0 ? now : now + d * NS_PER_TICK - ((now - this.s.since) % NS_PER_TICK));
  }

  // ---- registers ----

  private read(offset: number, size: number): number {
    const v = this.readWord(offset & 0x3fc) >>> (8 * (offset & 3));
    return size === 4 ? v : v & (size === 2 ? 0xffff : 0xff);
  }

  private readWord(a: number): number {
    const s = this.s;
    switch (a) {
      case Reg.CAPABILITIES:
        return (Cap.REVISION | ((this.n - 1) << 8) | Cap.COUNT_64 | Cap.LEGACY | (0x8086 << 16)) >>> 0;
      case Reg.CAPABILITIES + 4:
        return PERIOD_FS;
      case Reg.CONFIG:
        return s.config;
      case Reg.STATUS:
        return s.status;
      case Reg.COUNTER:
        this.sample();
        return this.curLo;
      case Reg.COUNTER + 4:
        this.sample();
        return this.curHi;
    }
    const i = (a - Reg.TIMERS) >> 5;
    if (i < 0 || i >= this.n) return 0;
    const t = s.timers[i];
    switch (a & 0x1f) {
      case TimerReg.CONFIG:
        return t.config;
      case TimerReg.CONFIG + 4:
        return this.routes >>> 0;
      case TimerReg.COMPARATOR:
        return t.cmpLo;
      case TimerReg.COMPARATOR + 4:
        return t.cmpHi;
      default:
        return 0;
    }
  }

  private write(offset: number, size: number, value: number): void {
    // The specification allows aligned 32-bit and 64-bit accesses only.
    if (size !== 4 || offset & 3) return;
    const v = value >>> 0;
    const s = this.s;
    switch (offset) {
      case Reg.CONFIG:
        this.writeConfig(v);
        return;
      case Reg.STATUS:
        s.status = (s.status & ~v) >>> 0;
        for (let i = 0; i < this.n; i++) if ((v >>> i) & 1 && s.timers[i].config & Tn.LEVEL) this.syncIrq(i);
        return;
      case Reg.COUNTER:
      case Reg.COUNTER + 4:
        // Defined while halted only; while running, take it as a jump.
        this.sample();
        s.lo = offset === Reg.COUNTER ? v : this.curLo;
        s.hi = offset === Reg.COUNTER ? this.curHi : v;
        s.since = this.o.clock.now();
        for (let i = 0; i < this.n; i++) this.arm(i);
        return;
    }
    const i = (offset - Reg.TIMERS) >> 5;
    if (i >= 0 && i < this.n) this.writeTimer(i, offset & 0x1f, v);
  }

  private writeConfig(v: number): void {
    const s = this.s;
    const changed = (s.config ^ v) & 3;
    if (changed & Config.ENABLE) {
      this.sample();
      s.lo = this.curLo;
      s.hi = this.curHi;
      s.since = this.o.clock.now();
    }
    s.config = v & 3;
    if (changed & Config.LEGACY) this.legacyChanged();
    if (changed & Config.ENABLE) for (let i = 0; i < this.n; i++) this.arm(i);
  }

  private writeTimer(i: number, reg: number, v: number): void {
    const t = this.s.timers[i];
    switch (reg) {
      case TimerReg.CONFIG: {
        let route = (v >> Tn.ROUTE_SHIFT) & 31;
        // A pin the timer cannot use is not stored: that is how software finds out.
        if (!((this.routes >>> route) & 1)) route = (t.config >> Tn.ROUTE_SHIFT) & 31;
        const before = this.line(i);
        t.config = (v & Tn.WRITABLE & 0x1ff) | (route << Tn.ROUTE_SHIFT) | Tn.PERIODIC_CAP | Tn.SIZE_CAP;
        if (this.line(i) !== before) before.set(false);
        if (t.config & Tn.LEVEL) this.syncIrq(i);
        else this.s.status = (this.s.status & ~(1 << i)) >>> 0;
        if (t.config & Tn.MODE_32) t.cmpHi = t.periodHi = 0;
        break;
      }
      case TimerReg.COMPARATOR:
      case TimerReg.COMPARATOR + 4:
        this.writeComparator(t, reg !== TimerReg.COMPARATOR, v);
        break;
    }
    this.arm(i);
  }

  private writeComparator(t: TimerState, high: boolean, v: number): void {
    if (high && t.config & Tn.MODE_32) return;
    const periodic = (t.config & Tn.PERIODIC) !== 0;
    // In periodic mode VAL_SET lets one write reach the comparator; every write sets the period.
    if (!periodic || t.config & Tn.VAL_SET) {
      if (high) t.cmpHi = v;
      else t.cmpLo = v;
    }
    if (periodic) {
      if (high) t.periodHi = v;
      else t.periodLo = v;
      // The high half of a 64-bit write follows, for which the flag must still stand.
      if (high || t.config & Tn.MODE_32) t.config &= ~Tn.VAL_SET;
    }
    t.armed = true;
  }
}

const NOWHERE: IrqLine = { set: () => {} };
