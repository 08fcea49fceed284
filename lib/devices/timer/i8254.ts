/**
 * Intel 8254 programmable interval timer (data sheet 231164-005): six modes, BCD, latch and read-back commands.
 * Nothing ticks: counts and outputs are computed from the clock when somebody looks. Only channel 0 needs a timer, for the
 * edges of its output (IRQ 0).
 */
import { nsToTicks, ticksToNs } from '../clock.js';
import { bytePorts } from '../byte-io.js';
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import { array, bool, int, loadState, saveState, struct, u16, u8, type Schema } from '../saved.js';

const VERSION = 1;
export const PIT_HZ = 1193182;
/** Channel 0 never interrupts more often than this: a guest could stop the machine with a count of 1. */
const MIN_PERIOD_NS = 20_000;

/** Port offsets: three counters, then the control word. */
const enum Port {
  CONTROL = 3,
}

/** Control word fields. */
const enum Control {
  BCD = 0x01,
  READ_BACK = 3,
}

/** Bits of the read-back command (active low for the first two). */
const enum ReadBack {
  NO_STATUS = 0x10,
  NO_COUNT = 0x20,
}

const enum Access {
  LATCH = 0,
  LSB = 1,
  MSB = 2,
  BOTH = 3,
}

const enum Mode {
  TERMINAL_COUNT = 0,
  ONE_SHOT = 1,
  RATE = 2,
  SQUARE = 3,
  SOFT_STROBE = 4,
  HARD_STROBE = 5,
}

interface ChannelState {
  access: number;
  mode: number;
  bcd: boolean;
  gate: boolean;
  /** Count in effect, 1..65536 (2..10000 in BCD); 0 before the first is written. */
  count: number;
  /** Written while counting in mode 2 or 3: takes effect at the end of the cycle. 0: none. */
  next: number;
  /** In modes 1 and 5 a written count waits here for the trigger. */
  armed: boolean;
  /** Tick at which counting began; while paused, the ticks counted so far. */
  origin: number;
  running: boolean;
  paused: boolean;
  /** Low byte waiting for the high byte; -1: none. */
  low: number;
  /** The next read of a BOTH channel gives the high byte. */
  readHigh: boolean;
  latched: boolean;
  latch: number;
  statusLatched: boolean;
  status: number;
}

/** Ticks a paused counter may have counted: 119 years. */
const MAX_ELAPSED = 2 ** 52;

const CHANNEL: Schema<ChannelState> = {
  access: int(1, 3),
  mode: int(0, 5),
  bcd: bool,
  gate: bool,
  count: int(0, 65536),
  next: int(0, 65536),
  armed: bool,
  // Before time zero where the clock went back while the gate was low.
  origin: int(-MAX_ELAPSED, Number.MAX_SAFE_INTEGER),
  running: bool,
  paused: bool,
  low: int(-1, 255),
  readHigh: bool,
  latched: bool,
  latch: u16,
  statusLatched: bool,
  status: u8,
};

interface State {
  channels: ChannelState[];
}

const SCHEMA: Schema<State> = { channels: array(3, struct(CHANNEL)) };

function initial(gate: boolean): ChannelState {
  return {
    access: Access.BOTH,
    mode: Mode.TERMINAL_COUNT,
    bcd: false,
    gate,
    count: 0,
    next: 0,
    armed: false,
    origin: 0,
    running: false,
    paused: false,
    low: -1,
    readHigh: false,
    latched: false,
    latch: 0,
    statusLatched: false,
    status: 0,
  };
}

function toBcd(v: number): number {
  return (v % 10) | ((Math.floor(v / 10) % 10) << 4) | ((Math.floor(v / 100) % 10) << 8) | ((Math.floor(v / 1000) % 10) << 12);
}

function fromBcd(v: number): number {
  return (v & 15) + ((v >> 4) & 15) * 10 + ((v >> 8) & 15) * 100 + ((v >> 12) & 15) * 1000;
}

/** One counter. Times are ticks of the 1.193182 MHz clock since machine start. */
class Channel {
  s: ChannelState;

  constructor(gate: boolean) {
    this.s = initial(gate);
  }

  control(v: number): void {
    const s = this.s;
    const mode = (v >> 1) & 7;
    s.access = (v >> 4) & 3;
    s.mode = mode > 5 ? mode & 3 : mode;
    s.bcd = (v & Control.BCD) !== 0;
    s.count = s.next = 0;
    s.armed = s.running = s.paused = false;
    s.low = -1;
    s.readHigh = s.latched = s.statusLatched = false;
  }

  writeByte(v: number, now: number): void {
    const s = this.s;
    if (s.access === Access.LSB) this.load(v, now);
    else if (s.access === Access.MSB) this.load(v << 8, now);
    else if (s.low < 0) {
      s.low = v;
      // Mode 0: the first byte stops the count, OUT goes low.
      if (s.mode === Mode.TERMINAL_COUNT) s.running = s.paused = false;
    } else {
      const low = s.low;
      s.low = -1;
      this.load(low | (v << 8), now);
    }
  }

  private load(raw: number, now: number): void {
    const s = this.s;
    const n = s.bcd ? fromBcd(raw) || 10000 : raw || 65536;
    switch (s.mode) {
      case Mode.ONE_SHOT:
      case Mode.HARD_STROBE:
        // Waits for the gate; a pulse under way is not affected.
        s.next = n;
        s.armed = true;
        return;
      case Mode.RATE:
      case Mode.SQUARE:
        this.settle(now);
        if (s.running) {
          s.next = n;
          return;
        }
        break;
    }
    s.count = n;
    s.next = 0;
    this.start(now);
  }

  private start(now: number): void {
    const s = this.s;
    s.running = true;
    s.paused = !s.gate && s.mode !== Mode.ONE_SHOT && s.mode !== Mode.HARD_STROBE;
    s.origin = s.paused ? 0 : now;
  }

  setGate(on: boolean, now: number): void {
    const s = this.s;
    if (on === s.gate) return;
    this.settle(now);
    s.gate = on;
    switch (s.mode) {
      case Mode.TERMINAL_COUNT:
      case Mode.SOFT_STROBE:
        if (!s.running || s.paused === !on) return;
        s.paused = !on;
        s.origin = on ? now - Math.min(s.origin, MAX_ELAPSED) : Math.max(0, now - s.origin);
        return;
      case Mode.RATE:
      case Mode.SQUARE:
        if (!s.running) return;
        if (s.next) {
          s.count = s.next;
          s.next = 0;
        }
        this.start(now);
        return;
      default:
        if (!on || !(s.armed || s.count)) return;
        if (s.next) {
          s.count = s.next;
          s.next = 0;
        }
        s.armed = false;
        this.start(now);
    }
  }

  private elapsed(now: number): number {
    return this.s.paused ? this.s.origin : Math.max(0, now - this.s.origin);
  }

  /** Takes a waiting count into effect if a cycle has ended since. */
  settle(now: number): void {
    const s = this.s;
    if (!s.next || !s.running || s.paused || (s.mode !== Mode.RATE && s.mode !== Mode.SQUARE)) return;
    if (this.elapsed(now) < s.count) return;
    // The waiting count was written in the cycle that contained its writing, and every access settles: one cycle at most
    // has ended with the old count.
    s.origin += s.count;
    s.count = s.next;
    s.next = 0;
  }

  /** The counting element, as a program reads it. */
  value(now: number): number {
    const s = this.s;
    this.settle(now);
    if (s.count === 0) return 0;
    const modulus = s.bcd ? 10000 : 65536;
    if (!s.running) return this.encode(s.count % modulus);
    const e = this.elapsed(now);
    switch (s.mode) {
      case Mode.RATE:
        return this.encode((s.count - (e % s.count)) % modulus);
      case Mode.SQUARE: {
        const high = (s.count + 1) >> 1;
        const p = e % s.count;
        return this.encode(((s.count & ~1) - 2 * (p < high ? p : p - high) + modulus) % modulus);
      }
      default:
        return this.encode((((s.count - e) % modulus) + modulus) % modulus);
    }
  }

  private encode(v: number): number {
    return this.s.bcd ? toBcd(v) : v & 0xffff;
  }

  output(now: number): boolean {
    const s = this.s;
    this.settle(now);
    if (!s.running) return s.mode !== Mode.TERMINAL_COUNT;
    const e = this.elapsed(now);
    switch (s.mode) {
      case Mode.TERMINAL_COUNT:
      case Mode.ONE_SHOT:
        return e >= s.count;
      case Mode.RATE:
        return s.paused || e % s.count !== s.count - 1;
      case Mode.SQUARE:
        return s.paused || e % s.count < (s.count + 1) >> 1;
      default:
        return e !== s.count;
    }
  }

  /** The first tick after `now` at which the output rises, or Infinity. */
  nextRise(now: number): number {
    const s = this.s;
    this.settle(now);
    if (!s.running || s.paused) return Infinity;
    const e = this.elapsed(now);
    const end = s.origin + s.count;
    switch (s.mode) {
      case Mode.TERMINAL_COUNT:
      case Mode.ONE_SHOT:
        return e < s.count ? end : Infinity;
      case Mode.RATE:
      case Mode.SQUARE:
        return s.origin + (Math.floor(e / s.count) + 1) * s.count;
      default:
        return e <= s.count ? end + 1 : Infinity;
    }
  }

  latchCount(now: number): void {
    if (this.s.latched) return;
    this.s.latch = this.value(now);
    this.s.latched = true;
  }

  latchStatus(now: number): void {
    const s = this.s;
    if (s.statusLatched) return;
    const isNull = s.count === 0 || s.next !== 0;
    s.status =
      (this.output(now) ? 0x80 : 0) | (isNull ? 0x40 : 0) | (s.access << 4) | (s.mode << 1) | (s.bcd ? Control.BCD : 0);
    s.statusLatched = true;
  }

  readByte(now: number): number {
    const s = this.s;
    if (s.statusLatched) {
      s.statusLatched = false;
      return s.status;
    }
    const v = s.latched ? s.latch : this.value(now);
    if (s.access === Access.BOTH) {
      s.readHigh = !s.readHigh;
      if (s.readHigh) return v & 0xff;
    }
    s.latched = false;
    return s.access === Access.LSB ? v & 0xff : v >> 8;
  }
}

export interface I8254Options {
  clock: DeviceClock;
  /** Output of channel 0. */
  irq0: IrqLine;
}

export class I8254 implements Device {
  readonly name = 'i8254';
  /** 40h-43h. */
  readonly ports: IoHandler;

  private readonly clock: DeviceClock;
  private readonly irq0: IrqLine;
  private readonly timer: DeviceTimer;

  /** The gates of channels 0 and 1 are tied high; that of channel 2 is port 61h, bit 0. */
  private readonly ch = [new Channel(true), new Channel(true), new Channel(false)];
  /** Edges closer than MIN_PERIOD_NS are dropped; this is the tick of the last one, not saved. */
  private lastEdge = -1;

  constructor(o: I8254Options) {
    this.clock = o.clock;
    this.irq0 = o.irq0;
    this.timer = o.clock.timer(() => this.edge());
    this.ports = bytePorts(
      4,
      (a) => this.read(a),
      (a, v) => this.write(a, v),
    );
  }

  reset(): void {
    for (let i = 0; i < 3; i++) this.ch[i].s = initial(i !== 2);
    this.syncIrq();
  }

  save(): SavedState {
    // A restore looks at the clock and takes a waiting count into effect: what is saved has done so, too.
    const now = this.now();
    for (const c of this.ch) c.settle(now);
    return saveState(SCHEMA, VERSION, { channels: this.ch.map((c) => c.s) });
  }

  restore(saved: SavedState): void {
    const s = loadState(this.name, SCHEMA, VERSION, saved);
    for (let i = 0; i < 3; i++) this.ch[i].s = s.channels[i];
    // The line is left alone: its level, a pending edge included, is in the interrupt controllers' own state.
    this.arm(this.now());
  }

  /** Gate of channel 2. */
  setGate2(on: boolean): void {
    this.ch[2].setGate(on, this.now());
  }

  get gate2(): boolean {
    return this.ch[2].s.gate;
  }

  /** Output of channel 2. */
  get out2(): boolean {
    return this.ch[2].output(this.now());
  }

  /** Frequency of the square wave at channel 2, for a speaker; 0 if it is silent. */
  get tone(): number {
    const s = this.ch[2].s;
    return s.mode === Mode.SQUARE && s.running && s.gate && s.count > 0 ? PIT_HZ / s.count : 0;
  }

  private now(): number {
    return nsToTicks(this.clock.now(), PIT_HZ);
  }

  private read(a: number): number {
    return a === Port.CONTROL ? 0xff : this.ch[a].readByte(this.now());
  }

  private write(a: number, v: number): void {
    const now = this.now();
    if (a !== Port.CONTROL) {
      this.ch[a].writeByte(v, now);
      if (a === 0) this.syncIrq();
      return;
    }
    const n = v >> 6;
    if (n === Control.READ_BACK) {
      for (let i = 0; i < 3; i++) {
        if (!(v & (2 << i))) continue;
        if (!(v & ReadBack.NO_COUNT)) this.ch[i].latchCount(now);
        if (!(v & ReadBack.NO_STATUS)) this.ch[i].latchStatus(now);
      }
    } else if (((v >> 4) & 3) === Access.LATCH) {
      this.ch[n].latchCount(now);
    } else {
      this.ch[n].control(v);
      if (n === 0) this.syncIrq();
    }
  }

  /** Sets IRQ 0 to the present output and arms the timer for the next edge. */
  private syncIrq(): void {
    const now = this.now();
    this.irq0.set(this.ch[0].output(now));
    this.arm(now);
  }

  private arm(now: number): void {
    const rise = this.ch[0].nextRise(now);
    if (rise === Infinity) {
      this.timer.disarm();
      return;
    }
    const at = ticksToNs(rise, PIT_HZ);
    this.timer.arm(this.lastEdge >= 0 && at < this.lastEdge + MIN_PERIOD_NS ? this.lastEdge + MIN_PERIOD_NS : at);
  }

  /** A rising edge. The low phase before it was of interest to nobody, so the line pulses now. */
  private edge(): void {
    this.lastEdge = this.clock.now();
    this.irq0.set(false);
    this.irq0.set(true);
    this.syncIrq();
  }
}
