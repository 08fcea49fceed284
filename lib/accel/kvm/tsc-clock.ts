/**
 * Guest time under KVM: the host's time-stamp counter, from which the hardware makes the guest's by adding an offset. Engine and
 * KVM then read the same counter, and time never goes back when a CPU moves between them. A KVM that adds no offset (`fixed`) gives
 * the guest the host's counter as it is, which goes on while guest time stands still.
 */
export class TscClock {
  /** Host ticks at guest time 0; while time stands still: the guest's ticks. */
  private base: number;
  private stopped: number | null = 0;
  private readonly perNs: number;
  private lo = 0;
  private hi = 0;
  private forBase = NaN;

  /** @param tsc reads the host's counter; @param hostNow its monotonic clock in ns */
  constructor(
    private readonly tsc: () => number,
    private readonly hostNow: () => number,
    tscKHz: number,
    readonly fixed: boolean,
  ) {
    this.perNs = tscKHz / 1e6;
    this.base = tsc();
  }

  now(): number {
    return (this.stopped ?? this.tsc() - this.base) / this.perNs;
  }

  /** The guest's counter, but for what the guest has added. */
  ticks(): number {
    return this.fixed ? this.tsc() : (this.stopped ?? this.tsc() - this.base);
  }

  stop(): void {
    this.stopped ??= this.tsc() - this.base;
  }

  start(): void {
    if (this.stopped === null) return;
    this.base = this.tsc() - this.stopped;
    this.stopped = null;
  }

  /** Host monotonic time of guest time t. */
  toHost(t: number): number {
    return this.hostNow() + (t - this.now());
  }

  /**
   * What the hardware adds to the host's counter for a guest whose counter is `off` ahead of guest time. The result is kept
   * in this object.
   */
  tscOffset(offLo: number, offHi: number): { lo: number; hi: number } {
    if (this.forBase !== this.base) {
      this.forBase = this.base;
      const negative = BigInt.asUintN(64, -BigInt(this.base));
      this.lo = Number(negative & 0xffff_ffffn) | 0;
      this.hi = Number(negative >> 32n) | 0;
    }
    const out = this.out;
    out.lo = (this.lo + offLo) | 0;
    out.hi = (this.hi + offHi + ((out.lo >>> 0) < (offLo >>> 0) ? 1 : 0)) | 0;
    return out;
  }

  private readonly out = { lo: 0, hi: 0 };
}
