/**
 * Timers of one machine: a binary heap over an injected guest clock. Arming, moving and disarming a timer allocates
 * nothing; timers with equal deadlines fire in the order they were armed.
 */
import type { GuestClock } from '../engine/cpu.js';
import type { DeviceClock, DeviceTimer } from './device.js';

/** A device that always re-arms into the past must not hang the machine: the rest runs on the next call. */
const MAX_EXPIRIES_PER_RUN = 4096;

class QueuedTimer implements DeviceTimer {
  deadline = Infinity;
  /** Position in the heap, -1 when not armed. */
  index = -1;
  /** Order of arming, to break ties. */
  order = 0;

  constructor(
    private readonly queue: TimerQueue,
    readonly cb: (deadline: number) => void,
  ) {}

  arm(deadlineNs: number): void {
    this.queue.place(this, deadlineNs);
  }

  disarm(): void {
    this.queue.remove(this);
  }
}

export class TimerQueue implements DeviceClock {
  private readonly heap: QueuedTimer[] = [];
  private armed = 0;
  private order = 0;
  private running = false;
  private earlier: (deadline: number) => void = () => {};

  constructor(private readonly clock: GuestClock) {}

  now(): number {
    return this.clock.now();
  }

  timer(cb: (deadline: number) => void): DeviceTimer {
    return new QueuedTimer(this, cb);
  }

  /** The earliest armed deadline, or Infinity. */
  nextDeadline(): number {
    return this.armed === 0 ? Infinity : this.heap[0]!.deadline;
  }

  /**
   * Sets the listener for "the earliest deadline has moved forward". It is not called from within runExpired, whose
   * caller looks at nextDeadline() afterwards anyway.
   */
  onEarlier(cb: (deadline: number) => void): void {
    this.earlier = cb;
  }

  /** Fires every timer due at `now`, earliest first. Returns how many fired. */
  runExpired(now: number = this.clock.now()): number {
    let fired = 0;
    this.running = true;
    try {
      while (this.armed > 0 && this.heap[0]!.deadline <= now && fired < MAX_EXPIRIES_PER_RUN) {
        const t = this.heap[0]!;
        const deadline = t.deadline;
        this.remove(t);
        fired++;
        t.cb(deadline);
      }
    } finally {
      this.running = false;
    }
    return fired;
  }

  /** For timers of this queue only. A deadline that is not a number disarms. */
  place(t: QueuedTimer, deadline: number): void {
    if (!(deadline < Infinity)) {
      this.remove(t);
      return;
    }
    const before = this.nextDeadline();
    t.deadline = deadline;
    t.order = ++this.order;
    if (t.index < 0) {
      t.index = this.armed;
      this.heap[this.armed++] = t;
    }
    this.up(t.index);
    this.down(t.index);
    if (!this.running && deadline < before) this.earlier(deadline);
  }

  /** For timers of this queue only. */
  remove(t: QueuedTimer): void {
    const i = t.index;
    t.deadline = Infinity;
    if (i < 0) return;
    t.index = -1;
    const last = this.heap[--this.armed]!;
    if (last === t) return;
    this.heap[i] = last;
    last.index = i;
    this.up(i);
    this.down(last.index);
  }

  private static before(a: QueuedTimer, b: QueuedTimer): boolean {
    return a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
  }

  private up(start: number): void {
    let i = start;
    const t = this.heap[i]!;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const p = this.heap[parent]!;
      if (!TimerQueue.before(t, p)) break;
      this.heap[i] = p;
      p.index = i;
      i = parent;
    }
    this.heap[i] = t;
    t.index = i;
  }

  private down(start: number): void {
    let i = start;
    const t = this.heap[i]!;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.armed) break;
      if (child + 1 < this.armed && TimerQueue.before(this.heap[child + 1]!, this.heap[child]!)) child++;
      const c = this.heap[child]!;
      if (!TimerQueue.before(c, t)) break;
      this.heap[i] = c;
      c.index = i;
      i = child;
    }
    this.heap[i] = t;
    t.index = i;
  }
}

/** Guest time that moves only when told to: for tests and for replay. */
export class ManualClock extends TimerQueue {
  private readonly time: { t: number };

  constructor(start = 0) {
    const time = { t: start };
    super({ now: () => time.t });
    this.time = time;
  }

  /** Moves on by ns; every timer on the way sees its own deadline as the present. Returns how many fired. */
  advance(ns: number): number {
    const end = this.time.t + ns;
    let steps = 0;
    let fired = 0;
    // The bound keeps a device that re-arms without progress from hanging a test; the rest is jumped over.
    while (this.nextDeadline() <= end && steps++ < 100_000) {
      this.time.t = Math.max(this.time.t, this.nextDeadline());
      fired += this.runExpired(this.time.t);
    }
    this.time.t = end;
    return fired + this.runExpired(end);
  }

  /** Jumps without stopping at deadlines in between, as a machine does whose host was away. */
  jump(ns: number): number {
    this.time.t += ns;
    return this.runExpired(this.time.t);
  }
}

/** floor(ns * hz / 1e9), exact for times below 2^53 and rates up to 9 MHz. */
export function nsToTicks(ns: number, hz: number): number {
  const s = Math.floor(ns / 1e9);
  return s * hz + Math.floor(((ns - s * 1e9) * hz) / 1e9);
}

/** The first nanosecond at which nsToTicks reaches `ticks`. */
export function ticksToNs(ticks: number, hz: number): number {
  const s = Math.floor(ticks / hz);
  return s * 1e9 + Math.ceil(((ticks - s * hz) * 1e9) / hz);
}
