/**
 * Guest time that counts instructions (--clock virtual): a nanosecond each, added when their block begins. Two runs of the
 * same guest, on whichever executor, see the same time at the same instruction.
 */
import type { GuestClock } from '../../engine/cpu.js';

/** Guest time of the machine. */
export interface RunClock extends GuestClock {
  stop(): void;
  start(): void;
  /** Host monotonic time of guest time t, or 0 if the guest does not wait for the host. */
  toHost(t: number): number;
}

/** Guest time: host monotonic time minus pauses. */
export class HostClock implements RunClock {
  private offset: number;
  private stopped: number | null = 0;

  constructor(private readonly host: () => number) {
    this.offset = host();
  }

  now(): number {
    return this.stopped ?? this.host() - this.offset;
  }

  stop(): void {
    this.stopped ??= this.host() - this.offset;
  }

  start(): void {
    if (this.stopped === null) return;
    this.offset = this.host() - this.stopped;
    this.stopped = null;
  }

  toHost(t: number): number {
    return t + this.offset;
  }
}

export class VirtualClock implements RunClock {
  private t = 0;
  /** When the run loop wants to be asked. */
  deadline = Infinity;

  now(): number {
    return this.t;
  }

  /** Counts a block's instructions. @returns true when the deadline has come. */
  advance(insns: number): boolean {
    this.t += insns;
    return this.t >= this.deadline;
  }

  /** All CPUs are halted: goes to the next deadline. */
  skipTo(t: number): void {
    if (t > this.t) this.t = t;
  }

  stop(): void {
    // Time only passes when instructions do.
  }

  start(): void {
    // As stop.
  }

  toHost(): number {
    return 0;
  }
}

/** Random numbers that are the same in every run (xorshift32, Marsaglia 2003). */
export function repeatableRandom(): (buf: Uint8Array) => void {
  let x = 0x9e37_79b9;
  return (buf) => {
    for (let i = 0; i < buf.length; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      buf[i] = x;
    }
  };
}
