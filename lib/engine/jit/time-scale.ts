/**
 * Keeps the TIME slots of a vCPU in step with its counter, so that op TIME can read the host's time-stamp counter instead of asking
 * TypeScript. The counter that generated code sees never runs backwards and follows the true one within microseconds.
 *
 * Uses BigInt, a few times per slice of execution.
 */
import { Slot } from '../state.js';

/** Host ticks to measure the rate over before it is used: tens of milliseconds. */
const MIN_BASE = 1n << 26n;
/** How much slower the counter runs while it is ahead. */
const SLOW = 0.9995;
/** Further ahead than this, in ns: the machine stood still. The guest has not run meanwhile, so going back is seen by nobody. */
const STOOD_STILL = 1e6;
/** What was read just before standing still may have been ahead by less than this, in ns. */
const MARGIN = 2e4;
const FRACTION = 0x1_0000_0000;

/** The host's monotonic clock, ms. Node loads what `performance` is on its first use, which takes 6 ms. */
export function nowMs(): number {
  const [s, ns] = process.hrtime();
  return s * 1e3 + ns / 1e6;
}

export class TimeScale {
  private readonly view: DataView;
  private host0 = 0n;
  private ns0 = 0;

  /**
   * @param V the state region
   * @param ticksPerNs frequency of the guest's counter
   */
  constructor(V: Int32Array, private readonly ticksPerNs: number) {
    this.view = new DataView(V.buffer, V.byteOffset, V.byteLength);
  }

  private get(slot: number): bigint {
    return this.view.getBigUint64(slot * 8, true);
  }

  private anchor(host: bigint, guest: bigint, rate: number): void {
    this.view.setBigUint64(Slot.TIME_HOST * 8, host, true);
    this.view.setBigUint64(Slot.TIME_GUEST * 8, BigInt.asUintN(64, guest), true);
    this.view.setBigUint64(Slot.TIME_SCALE * 8, BigInt(Math.round(rate * FRACTION)), true);
  }

  /**
   * Before the CPU runs.
   * @param host the host's counter now
   * @param ns host time now, monotonic
   * @param guest the guest's counter now, or null if generated code must not read it
   */
  sync(host: bigint, ns: number, guest: bigint | null): void {
    if (this.host0 === 0n) {
      this.host0 = host;
      this.ns0 = ns;
    }
    const scale = this.get(Slot.TIME_SCALE);
    if (guest === null || host - this.host0 < MIN_BASE) return;
    const rate = ((ns - this.ns0) * this.ticksPerNs) / Number(host - this.host0);
    if (scale === 0n) {
      this.anchor(host, guest, rate);
      return;
    }
    const seen = this.get(Slot.TIME_GUEST) + (((host - this.get(Slot.TIME_HOST)) * scale) >> 32n);
    const ahead = BigInt.asIntN(64, seen - guest);
    if (ahead <= 0n) this.anchor(host, guest, rate);
    else if (Number(ahead) < STOOD_STILL * this.ticksPerNs) this.anchor(host, seen, rate * SLOW);
    else this.anchor(host, guest + BigInt(Math.ceil(MARGIN * this.ticksPerNs)), rate);
  }
}
