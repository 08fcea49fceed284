/**
 * Self-hosted debug (Arm ARM, D2): breakpoints, watchpoints and software step. While one of them can strike, the mode word has
 * Mode.STEP and the engine runs one instruction at a time; accesses to watched pages stay out of the TLB.
 */
import type { Arm64Cpu } from './cpu.js';
import { A, Ec, Mode, Ps } from './regs.js';

export const BREAKPOINTS = 6;
export const WATCHPOINTS = 4;
/** The highest-numbered breakpoints compare CONTEXTIDR_EL1 as well. */
export const CONTEXT_AWARE = 2;

/** Bits of MDSCR_EL1. */
const enum Mdscr { SS = 1, KDE = 1 << 13, MDE = 1 << 15 }
/** DBGBCR.BT. */
const enum Bt { ADDRESS = 0, LINKED_ADDRESS = 1, CONTEXT = 2, LINKED_CONTEXT = 3 }

/** ISS of debug exceptions: IFSC or DFSC is 100010. */
const DEBUG_EVENT = 0x22;
/** Bits of an address above 31 that DBGBVR and DBGWVR compare. */
const VA_HIGH = 0x1_ffff;

export class Debug {
  readonly bvrLo = new Int32Array(BREAKPOINTS);
  readonly bvrHi = new Int32Array(BREAKPOINTS);
  readonly bcr = new Int32Array(BREAKPOINTS);
  readonly wvrLo = new Int32Array(WATCHPOINTS);
  readonly wvrHi = new Int32Array(WATCHPOINTS);
  readonly wcr = new Int32Array(WATCHPOINTS);
  /** OSLSR_EL1.OSLK: holds debug exceptions back. */
  osLock = true;
  /** PSTATE.SS. */
  ss = false;
  /** Something may strike: the CPU steps. */
  active = false;
  /** A watchpoint may match: pages that hold one stay out of the TLB. */
  watching = false;
  private breaking = false;
  /** The instruction that runs is one that software step counts. */
  private stepped = false;
  /** The last instruction was stepped, and nothing came between: ISS.ISV. */
  private after = false;

  constructor(private readonly cpu: Arm64Cpu) {}

  reset(): void {
    for (const r of [this.bvrLo, this.bvrHi, this.bcr, this.wvrLo, this.wvrHi, this.wcr]) r.fill(0);
    this.osLock = true;
    this.ss = this.stepped = this.after = false;
    this.active = this.watching = this.breaking = false;
  }

  private get mdscr(): number {
    return this.cpu.V[A.MDSCR_EL1 * 2]!;
  }

  /** A debug register has been written. */
  changed(): void {
    const on = !this.osLock && (this.mdscr & Mdscr.MDE) !== 0;
    this.breaking = on && this.bcr.some((c) => c & 1);
    const watching = on && this.wcr.some((c) => c & 1);
    // Pages may hold a watchpoint that held none.
    if (watching || this.watching) this.cpu.mmu.flushAll();
    this.watching = watching;
    this.active = this.breaking || watching || (!this.osLock && (this.mdscr & Mdscr.SS) !== 0);
    this.cpu.refresh();
  }

  /** Debug exceptions are enabled at the present exception level (D2.4). */
  private get enabled(): boolean {
    const { cpu } = this;
    if (this.osLock) return false;
    return (cpu.mode & Mode.EL1) === 0 || ((this.mdscr & Mdscr.KDE) !== 0 && (cpu.V[A.DAIF * 2]! & Ps.D) === 0);
  }

  /** Software step, before an instruction is fetched. @throws GuestFault */
  step(): void {
    this.stepped = false;
    if ((this.mdscr & Mdscr.SS) === 0 || !this.enabled) return;
    if (!this.ss) {
      // ISV: an instruction has been stepped; EX (an exclusive one) is not told.
      const iss = DEBUG_EVENT | (this.after ? 1 << 24 : 0);
      this.after = false;
      throw this.fault(Ec.STEP_LOWER, iss);
    }
    this.stepped = true;
  }

  /** The instruction has been executed, or is one (SVC) whose exception returns behind it. */
  stepDone(): void {
    this.after = this.stepped;
    if (this.stepped) this.ss = false;
    this.stepped = false;
  }

  /** PSTATE.SS after a return to another state: `before` is whether debug exceptions were enabled where ERET ran. */
  get enabledNow(): boolean {
    return this.enabled;
  }
  returned(spsr: number, before: boolean): void {
    this.ss = (spsr & Ps.SS) !== 0 && (this.mdscr & Mdscr.SS) !== 0 && !before && this.enabled;
  }

  private fault(ec: Ec, iss: number): Error {
    return this.cpu.fault(this.cpu.mode & Mode.EL1 ? ec + 1 : ec, iss);
  }

  /** Breakpoints at hi:lo. @throws GuestFault */
  breakpoint(lo: number, hi: number): void {
    if (!this.breaking || !this.enabled) return;
    for (let n = 0; n < BREAKPOINTS; n++) {
      const bcr = this.bcr[n]!;
      if ((bcr & 1) === 0 || !this.level(bcr, (this.cpu.mode & Mode.EL1) === 0)) continue;
      const bt = (bcr >>> 20) & 15;
      if (bt === Bt.CONTEXT ? !this.context(n, bt) : !this.addressMatches(n, bt, lo, hi)) continue;
      throw this.fault(Ec.BREAKPOINT_LOWER, DEBUG_EVENT);
    }
  }

  private addressMatches(n: number, bt: number, lo: number, hi: number): boolean {
    if (bt !== Bt.ADDRESS && bt !== Bt.LINKED_ADDRESS) return false;
    if (this.bvrLo[n] !== lo || ((this.bvrHi[n]! ^ hi) & VA_HIGH) !== 0) return false;
    return bt === Bt.ADDRESS || this.context((this.bcr[n]! >>> 16) & 15, Bt.LINKED_CONTEXT);
  }

  /** Breakpoint n compares contexts as type `bt`, and this is its context. */
  private context(n: number, bt: Bt): boolean {
    if (n < BREAKPOINTS - CONTEXT_AWARE || n >= BREAKPOINTS) return false;
    const bcr = this.bcr[n]!;
    return (bcr & 1) !== 0 && ((bcr >>> 20) & 15) === bt && this.bvrLo[n] === this.cpu.V[A.CONTEXTIDR_EL1 * 2];
  }

  /** Fields PMC or PAC, HMC and SSC (tables D2-9 and D2-13) without EL2, EL3 and Secure state. */
  private level(control: number, user: boolean): boolean {
    if (((control >>> 14) & 3) === 2) return false;
    return ((control >>> 1) & (user ? 2 : 1)) !== 0;
  }

  /** The page at hi:lo holds a watchpoint, or may. */
  watches(lo: number, hi: number): boolean {
    for (let n = 0; n < WATCHPOINTS; n++) {
      if ((this.wcr[n]! & 1) === 0) continue;
      const mask = Math.max(12, (this.wcr[n]! >>> 24) & 31);
      if (((this.wvrLo[n]! ^ lo) >>> mask) === 0 && ((this.wvrHi[n]! ^ hi) & VA_HIGH) === 0) return true;
    }
    return false;
  }

  /** Watchpoints for an access of n bytes at hi:lo, which may be made; user: with the rights of EL0. @throws GuestFault */
  access(lo: number, hi: number, n: number, write: boolean, user: boolean): void {
    if (!this.enabled) return;
    for (let w = 0; w < WATCHPOINTS; w++) {
      const wcr = this.wcr[w]!;
      if ((wcr & 1) === 0 || ((wcr >>> 3) & (write ? 2 : 1)) === 0 || !this.level(wcr, user)) continue;
      if (wcr & (1 << 20) && !this.context((wcr >>> 16) & 15, Bt.LINKED_CONTEXT)) continue;
      if (this.overlaps(w, lo, hi, n)) throw this.cpu.watchpoint(lo, hi, DEBUG_EVENT | (write ? 0x40 : 0));
    }
  }

  private overlaps(w: number, lo: number, hi: number, n: number): boolean {
    const wcr = this.wcr[w]!;
    const base = this.wvrLo[w]!;
    const mask = (wcr >>> 24) & 31;
    for (let i = 0; i < n; i++) {
      const a = (lo + i) | 0;
      const h = (a >>> 0) < (lo >>> 0) ? hi + 1 : hi;
      if (((this.wvrHi[w]! ^ h) & VA_HIGH) !== 0) continue;
      if (mask >= 3) {
        if (((a ^ base) >>> mask) === 0) return true;
      } else if (((a ^ base) >>> 3) === 0) {
        // A doubleword with eight select bits, or (bit 2 of the address) the upper word of one with four.
        const bas = (wcr >>> 5) & 0xff;
        if (base & 4 ? (a & 4) !== 0 && (bas >>> (a & 3)) & 1 : (bas >>> (a & 7)) & 1) return true;
      }
    }
    return false;
  }
}
