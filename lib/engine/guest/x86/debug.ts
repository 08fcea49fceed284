/** Debug registers, breakpoints and single step (SDM vol. 3, chapter 17). */
import { Cr4, Ef, Vec } from './defs.js';
import { Mode, X } from './mode.js';
import type { X86Cpu } from './cpu.js';
import { Src } from './interrupts.js';
import { type Watchpoint, Watchpoints } from '../watchpoints.js';

/** DR6 bits. */
const enum Dr6 { BD = 0x2000, BS = 0x4000, BT = 0x8000, ONES = 0xffff_0ff0 | 0 }
const GD = 0x2000;

export class Debug {
  private readonly lo = new Int32Array(4);
  private readonly hi = new Int32Array(4);
  dr6: number = Dr6.ONES;
  dr7 = 0x400;
  /** Enabled breakpoints by kind. */
  private dataCount = 0;
  private codeCount = 0;
  private ioCount = 0;
  /** Data and I/O breakpoints met by the running instruction: DR6 bits. */
  private hits = 0;
  /** TF was set when the next instruction to be stepped begins. */
  private armed = false;
  /** MOV SS or POP SS holds debug traps back until after the next instruction (SDM vol. 3, 6.8.3). */
  private held = false;
  /** Watchpoints of a debugger, beside the guest's own. */
  private readonly watchpoints = new Watchpoints();
  /** RF was set by the instruction itself (IRET, POPF): it covers the next one. */
  rfFresh = false;

  constructor(private readonly cpu: X86Cpu) {}

  reset(): void {
    this.lo.fill(0);
    this.hi.fill(0);
    this.dr6 = Dr6.ONES;
    this.hits = 0;
    this.armed = this.held = false;
    this.setDr7(0x400);
  }

  /** Any breakpoint enabled: blocks of one instruction. */
  get stepping(): boolean {
    return this.watchpoints.any || this.dataCount + this.codeCount + this.ioCount > 0;
  }

  /** Replaces the debugger's watchpoints. */
  setWatchpoints(list: readonly Watchpoint[], hit: (w: Watchpoint) => void): void {
    this.watchpoints.set(list, hit);
    this.cpu.mmu.flushAll();
    this.cpu.updateMode();
  }

  get codeBreakpoints(): boolean {
    return this.codeCount > 0;
  }

  /** DR0..DR3, low or high words. */
  addressLo(i: number): number {
    return this.lo[i]!;
  }
  addressHi(i: number): number {
    return this.hi[i]!;
  }

  /** Takes over all debug registers from another executor: addresses as four pairs of words. */
  adopt(addresses: Int32Array, dr6: number, dr7: number): void {
    for (let i = 0; i < 4; i++) {
      this.lo[i] = addresses[i * 2]!;
      this.hi[i] = addresses[i * 2 + 1]!;
    }
    this.dr6 = (dr6 & 0xe00f) | Dr6.ONES;
    this.hits = 0;
    this.armed = this.held = this.rfFresh = false;
    this.setDr7(dr7);
  }

  private type(i: number): number {
    return (this.dr7 >>> (16 + i * 4)) & 3;
  }

  private length(i: number): number {
    const l = (this.dr7 >>> (18 + i * 4)) & 3;
    return l === 2 ? 8 : l + 1;
  }

  private enabled(i: number): boolean {
    return (this.dr7 & (3 << (i * 2))) !== 0;
  }

  private setDr7(v: number): void {
    this.dr7 = (v & 0xffff_2fff) | 0x400;
    this.recount();
    this.cpu.mmu.flushAll();
    this.cpu.updateMode();
  }

  private recount(): void {
    this.dataCount = this.codeCount = this.ioCount = 0;
    for (let i = 0; i < 4; i++) {
      if (!this.enabled(i)) continue;
      const t = this.type(i);
      if (t === 0) this.codeCount++;
      else if (t === 2) this.ioCount++;
      else this.dataCount++;
    }
  }

  private access(n: number): number {
    const { cpu } = this;
    if (cpu.cpl !== 0) throw cpu.fault(Vec.GP, 0);
    if (n === 4 || n === 5) {
      if (cpu.cr4 & Cr4.DE) throw cpu.fault(Vec.UD);
      n += 2;
    }
    if (n > 7) throw cpu.fault(Vec.UD);
    if (this.dr7 & GD) {
      this.dr6 |= Dr6.BD;
      throw cpu.fault(Vec.DB);
    }
    return n;
  }

  /** Result in cpu.outLo, cpu.outHi. */
  read(n: number): void {
    const { cpu } = this;
    n = this.access(n);
    cpu.outHi = n < 4 ? this.hi[n]! : 0;
    cpu.outLo = n < 4 ? this.lo[n]! : n === 6 ? this.dr6 : this.dr7;
  }

  write(n: number, lo: number, hi: number): void {
    n = this.access(n);
    if (n < 4) {
      this.lo[n] = lo;
      this.hi[n] = hi;
      if (this.stepping) this.cpu.mmu.flushAll();
      return;
    }
    if (hi) throw this.cpu.fault(Vec.GP, 0);
    if (n === 6) this.dr6 = (lo & 0xe00f) | Dr6.ONES;
    else this.setDr7(lo);
  }

  /** True if the page holds an enabled data breakpoint: it may have no TLB entry. */
  watches(pageLo: number, hi: number): boolean {
    if (this.watchpoints.covers(pageLo, hi)) return true;
    if (this.dataCount === 0) return false;
    for (let i = 0; i < 4; i++) {
      if (this.enabled(i) && this.type(i) & 1 && (this.lo[i]! & ~0xfff) === pageLo && this.hi[i] === hi) return true;
    }
    return false;
  }

  /** A data access on the slow path: notes breakpoints that it meets. The trap comes after the instruction. */
  onData(lo: number, hi: number, size: number, write: boolean): void {
    if (this.watchpoints.any) this.watchpoints.access(lo, hi, size, write);
    if (this.dataCount === 0) return;
    for (let i = 0; i < 4; i++) {
      const t = this.type(i);
      if (!this.enabled(i) || !(t & 1) || (t === 1 && !write) || this.hi[i] !== hi) continue;
      const len = this.length(i);
      const at = this.lo[i]! & ~(len - 1);
      if (lo >>> 0 < (at >>> 0) + len && at >>> 0 < (lo >>> 0) + size) this.hits |= 1 << i;
    }
  }

  onIo(port: number, size: number): void {
    if (this.ioCount === 0 || !(this.cpu.cr4 & Cr4.DE)) return;
    for (let i = 0; i < 4; i++) {
      if (!this.enabled(i) || this.type(i) !== 2) continue;
      const len = this.length(i);
      const at = this.lo[i]! & 0xffff & ~(len - 1);
      if (port < at + len && at < port + size) this.hits |= 1 << i;
    }
  }

  /** Instruction breakpoints at linear hi:lo: raises #DB before the instruction unless RF is set. */
  onFetch(lo: number, hi: number): void {
    if (this.codeCount === 0 || this.cpu.eflagsSystem & Ef.RF) return;
    let b = 0;
    for (let i = 0; i < 4; i++) {
      if (this.enabled(i) && this.type(i) === 0 && this.lo[i] === lo && this.hi[i] === hi) b |= 1 << i;
    }
    if (!b) return;
    this.record(b);
    throw this.cpu.fault(Vec.DB);
  }

  /** Called when TF may have changed outside of stepped blocks: oldMode is the mode the change happened in. */
  arm(oldMode: number, tf: boolean): void {
    if (!(oldMode & Mode.STEP)) this.armed = tf;
  }

  /** Delivery of an event or SYSCALL: the instruction that led here is not single-stepped. */
  cancelStep(): void {
    this.armed = this.held = false;
  }

  /** MOV SS, POP SS. */
  holdTraps(): void {
    this.held = (this.cpu.mode & Mode.STEP) !== 0;
  }

  /** B0..B3 tell about this exception only; the other bits stay until software clears them (SDM vol. 3, 17.2.3). */
  private record(causes: number): void {
    this.dr6 = (this.dr6 & ~15) | causes;
  }

  /** INT1 takes along what waits. */
  icebp(): void {
    if (this.hits) this.record(this.hits);
    this.hits = 0;
  }

  /** SYSCALL and SYSRET trap at their end if they have left TF set (AMD APM vol. 3, SYSCALL). */
  afterFastCall(): void {
    const { cpu } = this;
    this.cancelStep();
    if (!(cpu.eflagsSystem & Ef.TF)) return;
    this.record(Dr6.BS);
    cpu.trap(Vec.DB, Src.TRAP);
  }

  /** T bit of a task switch. */
  taskSwitch(trap: boolean): void {
    // Local breakpoints end with their task.
    if (this.dr7 & 0x155) {
      this.dr7 &= ~0x155;
      this.setDr7(this.dr7);
    }
    if (trap) this.dr6 |= Dr6.BT;
  }

  /** #DB is being delivered: hardware clears GD so that the handler may use the debug registers. */
  entering(): void {
    this.dr7 &= ~GD;
  }

  /** After an instruction that ran alone: traps that it has earned, at the present PC. */
  afterStep(): void {
    const { cpu } = this;
    const V = cpu.V;
    const step = this.armed;
    this.armed = (V[X.EFLAGS * 2]! & Ef.TF) !== 0;
    if (this.rfFresh) this.rfFresh = false;
    else V[X.EFLAGS * 2]! &= ~Ef.RF;
    if (this.held) {
      this.held = false;
      return;
    }
    const cause = this.hits | (step ? Dr6.BS : 0);
    this.hits = 0;
    if (!cause) return;
    this.record(cause);
    cpu.trap(Vec.DB, Src.TRAP);
  }
}
