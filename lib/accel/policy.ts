/**
 * When a vCPU moves between a hypervisor and the engine. Times in ns of the host.
 *
 * After a failure the engine executes one instruction and hands back. When failures follow each other closely, the hypervisor is
 * of little use where the guest is: the engine's share doubles each time, up to MAX_INSNS, and halves when the hypervisor
 * has made progress.
 *
 * Where the hypervisor emulates kernel mode (system.ts measures that), the engine keeps the CPU as long as it is in
 * kernel mode, and hands it over when it has been in user mode for a while. It comes back with the first exception, system call or
 * interrupt; a stay that was not worth its switches doubles the patience for the next.
 */

/** As many instructions are run one by one at most; above, the engine runs freely for the time they take. */
export const STEP_MAX = 64;
const MAX_INSNS = 1 << 24;
/** What the engine does with translated code, ns an instruction: only to turn a number of instructions into a time. */
const ENGINE_NS = 3;
/** The hypervisor has made progress if it has run this long without a failure: some hundred times what moving the state takes. */
const PROGRESS_NS = 2_000_000;

/** How often the engine's CPU is looked at, and how long it must have been in user mode each time, at first and at most. */
const SAMPLE_NS = 1_000_000;
const PATIENCE_MIN = 5_000_000;
const PATIENCE_MAX = 1_000_000_000;
/** After a stay that was worth while, an interrupt is handled and user mode goes on: looked at sooner. */
const SOON_NS = 100_000;
/** A stay in the hypervisor is worth its two switches if it lasts this long. */
const WORTH_NS = 2_000_000;

export class FallbackPolicy {
  /** Instructions that the engine executes at the next failure. */
  private share = 1;
  private left = 0;
  private userNs = 0;
  private patience = PATIENCE_MIN;
  private soon = false;
  private enteredAt = 0;

  /** @param slowKernel the hypervisor emulates kernel mode */
  constructor(readonly slowKernel: boolean) {}

  /** The hypervisor has taken the CPU over. */
  entered(now: number): void {
    this.enteredAt = now;
    this.userNs = 0;
  }

  /** The hypervisor could not go on. */
  failed(now: number): void {
    if (now - this.enteredAt < PROGRESS_NS) this.share = Math.min(this.share * 2, MAX_INSNS);
    else this.share = Math.max(1, this.share >> 1);
    this.left = this.share;
  }

  /** It has left user mode, and the hypervisor's kernel mode is slow. */
  retreated(now: number): void {
    this.soon = now - this.enteredAt >= WORTH_NS;
    this.patience = this.soon ? Math.max(PATIENCE_MIN, this.patience / 2) : Math.min(this.patience * 2, PATIENCE_MAX);
  }

  /** What the engine may execute next: instructions to be run one by one (0: freely), and the most time to take. */
  allowance(): { insns: number; ns: number } {
    if (this.left > 0 && this.left <= STEP_MAX) return { insns: this.left, ns: Infinity };
    if (this.left > 0) return { insns: 0, ns: this.left * ENGINE_NS };
    return { insns: 0, ns: this.slowKernel ? (this.soon ? SOON_NS : SAMPLE_NS) : Infinity };
  }

  /** The engine has executed: so many instructions, or for so long. @param user the CPU is in user mode now */
  executed(insns: number, ns: number, user: boolean): void {
    this.left = Math.max(0, this.left - (insns > 0 ? insns : Math.max(1, Math.ceil(ns / ENGINE_NS))));
    this.userNs = user ? this.userNs + ns : 0;
  }

  /** The hypervisor shall have the CPU now. */
  wantsHypervisor(): boolean {
    if (this.left > 0) return false;
    return !this.slowKernel || (this.userNs > 0 && (this.soon || this.userNs >= this.patience));
  }
}
