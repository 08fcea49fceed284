/** The RISC-V CPU: privilege, mode word, traps, interrupts, timer; its parts are Csrs, RiscvMmu and Float. */
import { FlushKind, type GuestClock, type GuestCpu, GuestFault, type Lifter, type PhysicalMap } from '../../cpu.js';
import type { HelperRegistry } from '../../helpers.js';
import { NONE, Pending, STATE_BYTES, Slot } from '../../state.js';
import { Aia, firstByDefault, type HartImsic } from './aia.js';
import { Csrs, INHIBIT_IR, slowFrm } from './csr.js';
import { Cause, Csr, Env, Mmu, Mode, Ms, Priv, S_IRQS, X } from './defs.js';
import { divide } from './divide.js';
import { runFirst } from './first-run.js';
import { Float } from './float.js';
import { RiscvMmu } from './mmu.js';
import { Triggers } from './triggers.js';
import { VectorUnit } from './vector.js';

/** Ticks of `time` per second. */
export const TIMEBASE_HZ = 10_000_000;
const TICK_NS = 1e9 / TIMEBASE_HZ;
/** Further away than this the timer need not be exact. */
const FAR_TICKS = 2 ** 50;

/** A one-shot timer of the machine, ns since its start. */
export interface CpuTimer {
  arm(deadlineNs: number): void;
  disarm(): void;
}

export interface RiscvCpuOptions {
  index: number;
  /** The state region: STATE_BYTES at host address `address`. */
  state: { buffer: ArrayBufferLike; address: number };
  map: PhysicalMap;
  /** Something answers at this physical address that is not RAM. */
  isDevice: (pa: number) => boolean;
  clock: GuestClock;
  timer: (fire: () => void) => CpuTimer;
  /** The `time` counter: MTIME, in ticks of TIMEBASE_HZ, below 2^53. */
  time: () => number;
  helpers: HelperRegistry<RiscvCpu>;
  lifter: Lifter;
  /** The hart's IMSIC; with it come Smaia and Ssaia. */
  imsic?: HartImsic | null;
  /** VLEN in bits, 128 or 256: there are vectors. */
  vlen?: number;
  log?: (message: string) => void;
}

/** Told of what traces show besides blocks. */
export interface RiscvTrace {
  trap(cpu: RiscvCpu, cause: number, interrupt: boolean, epcLo: number, epcHi: number, tvalLo: number, tvalHi: number): void;
  modeChanged(cpu: RiscvCpu): void;
}

const PC = Slot.PC * 2;
/** fflags from and to the exception flags of MXCSR. */
const NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16;
/** pmpcfg: naturally aligned power of two, read, write, execute. */
const PMP_ALL = 0x1f;
/** Different illegal instructions logged. */
const MAX_LOGGED = 100;

export class RiscvCpu implements GuestCpu {
  readonly index: number;
  readonly V: Int32Array;
  readonly U8: Uint8Array;
  readonly stateAddress: number;
  readonly helpers: HelperRegistry<never>;
  readonly map: PhysicalMap;
  lifter: Lifter;
  readonly isDevice: (pa: number) => boolean;
  halted = false;
  shutdown = false;
  onFlush: (kind: FlushKind, lo: number, hi: number) => void = () => undefined;
  /** In M and S: floating point has been used since the last trap or return. Kernels hardly do, and change FS often. */
  usesFp = false;
  /** Interrupt lines from outside: MSI, MTI, MEI, SEI as bits of mip. */
  lines = 0;
  /** Answers ECALL from S-mode in place of firmware in M-mode; null: that traps. */
  onSbi: (() => void) | null = null;
  private theTrace: RiscvTrace | null = null;
  private shown = 0;
  /** Null without the extension V. */
  readonly vector: VectorUnit | null;
  readonly csr: Csrs;
  /** Null without an IMSIC. */
  readonly aia: Aia | null;
  readonly mmu: RiscvMmu;
  readonly triggers: Triggers;
  readonly float: Float;
  readonly time: () => number;
  private readonly clock: GuestClock;
  private readonly timer: CpuTimer;
  private readonly log: (message: string) => void;
  private readonly theFault = new GuestFault();
  private tvalLo = 0;
  private tvalHi = 0;
  private readonly logged = new Set<number>();

  constructor(o: RiscvCpuOptions) {
    this.index = o.index;
    this.V = new Int32Array(o.state.buffer, 0, STATE_BYTES >> 2);
    this.U8 = new Uint8Array(o.state.buffer, 0, STATE_BYTES);
    this.stateAddress = o.state.address;
    // The executors pass this very CPU to its helpers; the interface cannot name the type.
    this.helpers = o.helpers as unknown as HelperRegistry<never>;
    this.map = o.map;
    this.lifter = o.lifter;
    this.isDevice = o.isDevice;
    this.clock = o.clock;
    this.time = o.time;
    this.log = o.log ?? ((): void => undefined);
    this.vector = o.vlen === undefined ? null : new VectorUnit(this, o.vlen >> 3);
    this.csr = new Csrs(this);
    this.aia = o.imsic ? new Aia(this, o.imsic) : null;
    this.mmu = new RiscvMmu(this);
    this.triggers = new Triggers(this);
    this.float = new Float(this);
    this.timer = o.timer(() => this.timerFired());
    this.reset(0, 0);
  }

  /** Generated code changes the mode (op SETMODE), so it lies in its slot. */
  get mode(): number {
    return this.V[Slot.MODE * 2]!;
  }
  get mmuIdx(): number {
    return this.V[Slot.MODE * 2 + 1]!;
  }
  get priv(): Priv {
    return this.V[Slot.MODE * 2]! & Mode.PRIV;
  }
  /** `updateMode` must follow. */
  set priv(p: Priv) {
    const V = this.V;
    V[Slot.MODE * 2] = (V[Slot.MODE * 2]! & ~Mode.PRIV) | p;
  }

  get trace(): RiscvTrace | null {
    return this.theTrace;
  }
  set trace(t: RiscvTrace | null) {
    this.theTrace = t;
    this.csr.updateSlow();
  }

  /** @param lo @param hi where execution begins. */
  reset(lo: number, hi: number): void {
    const V = this.V;
    V.fill(0, Slot.GPR * 2, Slot.X_CALL * 2);
    V.fill(0, X.F * 2, (X.F + 32) * 2);
    this.vector?.reset();
    V[X.RES_ADDR * 2] = V[X.RES_ADDR * 2 + 1] = -1;
    V[Slot.MXCSR * 2] = 0x1f80;
    V[Slot.PENDING * 2] = 0;
    this.priv = Priv.M;
    this.usesFp = false;
    this.halted = this.shutdown = false;
    this.csr.reset();
    this.aia?.reset();
    this.triggers.reset();
    this.mmu.pmp.reset();
    this.mmu.configure(0, 0);
    this.mmu.flushAll();
    this.timer.disarm();
    this.updateMode();
    V[PC] = lo;
    V[PC + 1] = hi;
    this.restartAt();
    this.updateIntr();
  }

  /**
   * As firmware hands a hart over: in S-mode without translation, everything delegated but ECALL from S, a0 the hart's number, a1 as given
   * (RISC-V SBI Specification 2.0, chapter 9).
   */
  startSupervisor(pcLo: number, pcHi: number, argLo: number, argHi: number): void {
    this.reset(pcLo, pcHi);
    const { csr } = this;
    this.mmu.pmp.setAddr(0, -1, -1);
    this.mmu.pmp.setCfg(0, PMP_ALL);
    csr.write(Csr.MEDELEG, ~(1 << Cause.ECALL_S), 0);
    csr.write(Csr.MIDELEG, S_IRQS, 0);
    csr.write(Csr.MCOUNTEREN, 7, 0);
    // Linux leaves it as it finds it, and its vDSO reads time.
    csr.write(Csr.SCOUNTEREN, 7, 0);
    csr.write(Csr.MENVCFG, Env.CBIE | Env.CBCFE | Env.CBZE, Env.ADUE_HI | Env.PBMTE_HI | Env.STCE_HI);
    this.priv = Priv.S;
    this.updateMode();
    this.mmu.flushAll();
    this.setReg(Slot.GPR + 10, this.index, 0);
    this.setReg(Slot.GPR + 11, argLo, argHi);
    this.updateIntr();
  }

  // ---- mode --------------------------------------------------------------------------------------------------------------

  /** Recomputes `mode` and `mmuIdx` as defs.ts documents them. */
  updateMode(): void {
    const ms = this.csr.mstatus;
    let idx: Mmu = this.priv === Priv.M ? Mmu.M : this.priv === Priv.U ? Mmu.U : ms & Ms.SUM ? Mmu.S_SUM : Mmu.S;
    if (this.priv === Priv.M && ms & Ms.MPRV) {
      const mpp = (ms & Ms.MPP) >>> Ms.MPP_SHIFT;
      if (mpp === Priv.U) idx = Mmu.MPRV_U;
      else if (mpp === Priv.S) idx = ms & Ms.SUM ? Mmu.MPRV_S_SUM : Mmu.MPRV_S;
    }
    const fs = (ms & Ms.FS) >>> Ms.FS_SHIFT;
    const { frm } = this.csr;
    const fp = Mode.FP | (frm << Mode.FRM_SHIFT) | slowFrm(frm);
    const count = this.counts() ? Mode.COUNT : 0;
    const on = fs !== 0 && (this.priv === Priv.U || this.usesFp);
    const step = this.mmu.watchpoints.any || this.triggers.steps(this.priv) ? Mode.STEP : 0;
    const m = this.priv | step | (on ? fp | (fs === 3 ? Mode.FP_DIRTY : 0) : 0) | (idx << Mode.MMU_SHIFT) | count;
    const { V } = this;
    V[X.U_MODE_OFF * 2] = count;
    V[X.U_MODE_FP * 2] = fp | count;
    V[Slot.MODE * 2] = m;
    V[Slot.MODE * 2 + 1] = idx;
    if (this.theTrace === null) return;
    const changed = m !== this.shown;
    this.shown = m;
    if (changed) this.theTrace.modeChanged(this);
  }

  private counts(): boolean {
    return this.csr.counting && (this.csr.plain(Csr.MCOUNTINHIBIT) & INHIBIT_IR) === 0;
  }

  /** The running instruction ends its block in a helper that goes on elsewhere: lifted code has not counted it. */
  retired(): void {
    if (!this.counts()) return;
    const V = this.V;
    V[X.INSTRET * 2] = (V[X.INSTRET * 2]! + 1) | 0;
    if (V[X.INSTRET * 2] === 0) V[X.INSTRET * 2 + 1] = (V[X.INSTRET * 2 + 1]! + 1) | 0;
  }

  // ---- floating-point flags ------------------------------------------------------------------------------------------------

  get fflags(): number {
    const m = this.V[Slot.MXCSR * 2]!;
    return (m & 0x20 ? NX : 0) | (m & 0x10 ? UF : 0) | (m & 8 ? OF : 0) | (m & 4 ? DZ : 0) | (m & 1 ? NV : 0);
  }

  set fflags(f: number) {
    const V = this.V;
    V[Slot.MXCSR * 2] = (V[Slot.MXCSR * 2]! & ~0x3f) | (f & NX ? 0x20 : 0) | (f & UF ? 0x10 : 0) | (f & OF ? 8 : 0) | (f & DZ ? 4 : 0) | (f & NV ? 1 : 0);
  }

  // ---- time ------------------------------------------------------------------------------------------------------------------

  /** Cycles are counted as one a nanosecond. */
  cycles(): number {
    return this.clock.now();
  }

  /** `time`, if S and U may read it whatever else holds. */
  counterNow(): bigint | null {
    return this.csr.plain(Csr.MCOUNTEREN) & this.csr.plain(Csr.SCOUNTEREN) & 2 ? BigInt(Math.floor(this.time())) : null;
  }

  timeReached(lo: number, hi: number): boolean {
    return (hi >>> 0) < 2 ** 21 && this.time() >= (hi >>> 0) * 2 ** 32 + (lo >>> 0);
  }

  /** Sets the timer for stimecmp (Sstc). */
  armTimer(): void {
    const { stimecmpLo, stimecmpHi, stce } = this.csr;
    const at = (stimecmpHi >>> 0) * 2 ** 32 + (stimecmpLo >>> 0);
    const now = this.time();
    if (stce && at < FAR_TICKS && at > now) this.timer.arm(this.clock.now() + (at - now) * TICK_NS);
    else this.timer.disarm();
  }

  private timerFired(): void {
    this.updateIntr();
    // Fired a little early by rounding: once more.
    if (this.csr.stce && !this.timeReached(this.csr.stimecmpLo, this.csr.stimecmpHi)) this.armTimer();
  }

  // ---- interrupts ----------------------------------------------------------------------------------------------------------------

  /** Sets or clears lines (bits of mip). */
  setLines(mask: number, on: boolean): void {
    const lines = on ? this.lines | mask : this.lines & ~mask;
    if (lines === this.lines) return;
    this.lines = lines;
    this.updateIntr();
  }

  private takenByMachine(): boolean {
    return this.priv < Priv.M || (this.csr.mstatus & Ms.MIE) !== 0;
  }

  private takenBySupervisor(): boolean {
    return this.priv < Priv.S || (this.priv === Priv.S && (this.csr.mstatus & Ms.SIE) !== 0);
  }

  /** Sets or clears Pending.INTR; ends WFI when something is pending. */
  updateIntr(): void {
    const V = this.V;
    const m = this.csr.machinePending();
    const s = this.csr.supervisorPending();
    V[X.S_PENDING * 2] = s !== 0 ? Pending.INTR : 0;
    if ((m !== 0 && this.takenByMachine()) || (s !== 0 && this.takenBySupervisor())) V[Slot.PENDING * 2]! |= Pending.INTR;
    else V[Slot.PENDING * 2]! &= ~Pending.INTR;
    if (this.halted && (m | s) !== 0) {
      this.halted = false;
      // The run loop looks at it as if it had an event.
      V[Slot.PENDING * 2]! |= Pending.EVENT;
    }
  }

  /** WFI ends when an enabled interrupt is pending, whether or not it can be taken (vol. II, 3.3.3; AIA 4.6). */
  wakes(): boolean {
    return this.csr.machinePending() !== 0 || this.csr.supervisorPending() !== 0;
  }

  servicePending(): void {
    const V = this.V;
    V[Slot.PENDING * 2]! &= ~Pending.EVENT;
    if (!(V[Slot.PENDING * 2]! & Pending.INTR)) return;
    const m = this.csr.machinePending();
    if (m !== 0 && this.takenByMachine()) this.interrupt(m, true);
    else {
      const s = this.csr.supervisorPending();
      if (s !== 0 && this.takenBySupervisor()) this.interrupt(s, false);
    }
    this.updateIntr();
  }

  /** Takes the first of these interrupts, into M-mode or S-mode. */
  private interrupt(pending: number, machine: boolean): void {
    const code = this.aia === null ? firstByDefault(pending) : this.aia.top(pending, machine);
    this.halted = false;
    this.trap(code, true, !machine, this.V[PC]!, this.V[PC + 1]!, 0, 0);
  }

  // ---- exceptions ----------------------------------------------------------------------------------------------------------------

  /** The preallocated fault, filled in: `throw cpu.fault(...)`. */
  fault(cause: Cause, tvalLo = 0, tvalHi = 0): GuestFault {
    this.theFault.vector = cause;
    this.tvalLo = tvalLo;
    this.tvalHi = tvalHi;
    return this.theFault;
  }

  /** Linear address of page offset `off` of the running block, to pcLo and pcHi. */
  pcLo = 0;
  pcHi = 0;
  private linear(off: number): void {
    const V = this.V;
    const base = V[Slot.PCBASE * 2]!;
    this.pcLo = (base + off) | 0;
    this.pcHi = V[Slot.PCBASE * 2 + 1]!;
    if ((this.pcLo >>> 0) < (base >>> 0)) this.pcHi = (this.pcHi + 1) | 0;
  }

  insnPc(): void {
    this.linear(this.V[Slot.X_INSN * 2]! & 0xffff);
  }

  setPcToInsn(): void {
    this.insnPc();
    this.V[PC] = this.pcLo;
    this.V[PC + 1] = this.pcHi;
  }

  setPcToNext(): void {
    this.linear(this.V[Slot.X_INSN * 2]! >>> 16);
    this.V[PC] = this.pcLo;
    this.V[PC + 1] = this.pcHi;
  }

  /** Makes the instruction at PC the one that faults are reported for. */
  restartAt(): void {
    const V = this.V;
    const off = V[PC]! & 0xfff;
    V[Slot.PCBASE * 2] = V[PC]! & ~0xfff;
    V[Slot.PCBASE * 2 + 1] = V[PC + 1]!;
    V[Slot.X_INSN * 2] = off | (off << 16);
  }

  deliverFault(f: GuestFault): void {
    this.insnPc();
    this.trap(f.vector, false, this.priv <= Priv.S && ((this.csr.medeleg >>> f.vector) & 1) !== 0, this.pcLo, this.pcHi, this.tvalLo, this.tvalHi);
    this.updateIntr();
  }

  /** Trap entry (vol. II, 3.1.6.1, 3.1.7, 12.1.1). @param delegated into S-mode */
  private trap(code: number, interrupt: boolean, delegated: boolean, epcLo: number, epcHi: number, tvalLo: number, tvalHi: number): void {
    const { csr, V } = this;
    this.triggers.trapped();
    this.usesFp = false;
    const cause = interrupt ? 0x8000_0000 | 0 : 0;
    let ms = csr.mstatus;
    let vecLo: number;
    let vecHi: number;
    if (delegated) {
      csr.setPlain(Csr.SEPC, epcLo, epcHi);
      csr.setPlain(Csr.SCAUSE, code, cause);
      csr.setPlain(Csr.STVAL, tvalLo, tvalHi);
      ms = (ms & ~(Ms.SPIE | Ms.SPP | Ms.SIE)) | (ms & Ms.SIE ? Ms.SPIE : 0) | (this.priv === Priv.S ? Ms.SPP : 0);
      this.priv = Priv.S;
      vecLo = csr.stvecLo;
      vecHi = csr.stvecHi;
    } else {
      csr.setPlain(Csr.MEPC, epcLo, epcHi);
      csr.setPlain(Csr.MCAUSE, code, cause);
      csr.setPlain(Csr.MTVAL, tvalLo, tvalHi);
      ms = (ms & ~(Ms.MPIE | Ms.MPP | Ms.MIE)) | (ms & Ms.MIE ? Ms.MPIE : 0) | (this.priv << Ms.MPP_SHIFT);
      this.priv = Priv.M;
      vecLo = csr.mtvecLo;
      vecHi = csr.mtvecHi;
    }
    csr.mstatus = ms;
    const base = vecLo & ~3;
    V[PC] = vecLo & 1 && interrupt ? (base + 4 * code) | 0 : base;
    V[PC + 1] = vecHi + ((V[PC]! >>> 0) < (base >>> 0) ? 1 : 0);
    this.updateMode();
    if (this.trace !== null) this.trace.trap(this, code, interrupt, epcLo, epcHi, tvalLo, tvalHi);
  }

  /** MRET and SRET. */
  trapReturn(machine: boolean): void {
    const { csr, V } = this;
    this.usesFp = false;
    let ms = csr.mstatus;
    if (machine) {
      const mpp = (ms & Ms.MPP) >>> Ms.MPP_SHIFT;
      ms = (ms & ~(Ms.MIE | Ms.MPP)) | (ms & Ms.MPIE ? Ms.MIE : 0) | Ms.MPIE;
      if (mpp !== Priv.M) ms &= ~Ms.MPRV;
      this.priv = mpp;
      V[PC] = csr.plain(Csr.MEPC);
      V[PC + 1] = csr.plainHigh(Csr.MEPC);
    } else {
      const spp = ms & Ms.SPP ? Priv.S : Priv.U;
      ms = (ms & ~(Ms.SIE | Ms.SPP | Ms.MPRV)) | (ms & Ms.SPIE ? Ms.SIE : 0) | Ms.SPIE;
      this.priv = spp;
      V[PC] = csr.plain(Csr.SEPC);
      V[PC + 1] = csr.plainHigh(Csr.SEPC);
    }
    csr.mstatus = ms;
    this.updateMode();
    this.updateIntr();
  }

  /** An instruction that does not exist, or not here. tval is the instruction. */
  illegal(insn: number): GuestFault {
    return this.fault(Cause.ILLEGAL, insn, 0);
  }

  /** The same for one that no CPU of this kind has: worth a line in the log, once each. */
  unknown(insn: number): GuestFault {
    if (!this.logged.has(insn) && this.logged.size < MAX_LOGGED) {
      this.logged.add(insn);
      this.insnPc();
      this.log(`CPU ${this.index}: illegal instruction ${(insn >>> 0).toString(16).padStart((insn & 3) === 3 ? 8 : 4, '0')} at ${hex(this.pcHi, this.pcLo)}`);
    }
    return this.illegal(insn);
  }

  /** Is a cache block instruction enabled here (vol. II, 3.1.18)? @param bits of menvcfg and senvcfg */
  envAllows(bits: Env): boolean {
    if (this.priv === Priv.M) return true;
    return (this.csr.plain(Csr.MENVCFG) & bits) !== 0 && (this.priv === Priv.S || (this.csr.plain(Csr.SENVCFG) & bits) !== 0);
  }

  /** Another hart may want the turn (PAUSE). */
  onPause: () => boolean = () => false;

  afterStep(): void {
    this.triggers.retired();
  }

  // ---- GuestCpu memory -----------------------------------------------------------------------------------------------------------

  fetchAddress(): number {
    const V = this.V;
    this.restartAt();
    const lo = V[PC]!;
    const hi = V[PC + 1]!;
    if (V[Slot.MODE * 2]! & Mode.STEP) this.triggers.fetch(lo, hi);
    const pa = this.mmu.fetch(lo, hi);
    if (this.map.pageOffset(pa) < 0) throw this.fault(Cause.FETCH_ACCESS, lo, hi);
    return pa;
  }

  fetchNextPage(): number {
    const V = this.V;
    this.restartAt();
    const lo = ((V[PC]! & ~0xfff) + 0x1000) | 0;
    const hi = lo === 0 ? (V[PC + 1]! + 1) | 0 : V[PC + 1]!;
    const pa = this.mmu.fetch(lo, hi);
    if (this.map.pageOffset(pa) < 0) throw this.fault(Cause.FETCH_ACCESS, lo, hi);
    return pa;
  }

  get fetchGlobal(): boolean {
    return this.mmu.fetchGlobal;
  }
  set fetchGlobal(on: boolean) {
    this.mmu.fetchGlobal = on;
  }

  runFirst(pageOff: number, run: (cpu: GuestCpu, watched: number) => number): number {
    return runFirst(this, pageOff, run);
  }

  tryLoad(w: number, addr: number, dst: number, acc: number): GuestFault | null | undefined {
    return this.mmu.tryLoad(w, addr, dst, acc);
  }
  tryStore(w: number, addr: number, val: number, acc: number): GuestFault | null | undefined {
    return this.mmu.tryStore(w, addr, val, acc);
  }
  load(w: number, addr: number, dst: number, acc: number): void {
    this.mmu.load(w, addr, dst, acc);
  }
  store(w: number, addr: number, val: number, acc: number): void {
    this.mmu.store(w, addr, val, acc);
  }
  loadVec(): never {
    throw new Error('RISC-V code has no vector loads');
  }
  storeVec(): never {
    throw new Error('RISC-V code has no vector stores');
  }
  segmentCheck(): never {
    throw new Error('RISC-V code has no segments');
  }

  divide(signed: boolean, w: number, quot: number, rem: number, lo: number, _hi: number, divisor: number): void {
    divide(this.V, signed, w, quot, rem, lo, divisor);
  }

  /** The running instruction, read again; not a compressed one. */
  private currentInsn(): number {
    this.insnPc();
    let insn = 0;
    for (let i = 0; i < 4; i++) {
      const lo = (this.pcLo + i) | 0;
      const pa = this.mmu.fetch(lo, (lo >>> 0) < (this.pcLo >>> 0) ? (this.pcHi + 1) | 0 : this.pcHi);
      insn |= this.map.ram8[this.map.pageOffset(pa) + (pa % 4096)]! << (8 * i);
    }
    return insn;
  }

  /** The running instruction, an atomic, is SC. */
  isSc(): boolean {
    return this.currentInsn() >>> 27 === 3;
  }

  /** An atomic that is not aligned: LR is a load, everything else a store. The instruction is read again to find its address. */
  alignmentFault(): never {
    const V = this.V;
    const insn = this.currentInsn();
    const rs1 = Slot.GPR + ((insn >>> 15) & 31);
    throw this.fault(insn >>> 27 === 2 ? Cause.LOAD_MISALIGNED : Cause.STORE_MISALIGNED, V[rs1 * 2]!, V[rs1 * 2 + 1]!);
  }

  noteCodePage(ramOffset: number): void {
    this.mmu.noteCodePage(ramOffset);
  }

  flushTlb(): void {
    this.mmu.flushAll();
  }

  /** Writes a 64-bit result to a slot. */
  setReg(dst: number, lo: number, hi: number): void {
    if (dst === NONE) return;
    this.V[dst * 2] = lo;
    this.V[dst * 2 + 1] = hi;
  }

  /** One line for humans: where the CPU is. */
  describe(): string {
    const V = this.V;
    const c = this.csr;
    return `pc ${hex(V[PC + 1]!, V[PC]!)} ra ${hex(V[(Slot.GPR + 1) * 2 + 1]!, V[(Slot.GPR + 1) * 2]!)} priv ${'US?M'[this.priv]!} mstatus ${(c.mstatus >>> 0).toString(16)} mcause ${c.plain(Csr.MCAUSE)} mepc ${hex(c.plainHigh(Csr.MEPC), c.plain(Csr.MEPC))} scause ${c.plain(Csr.SCAUSE)} sepc ${hex(c.plainHigh(Csr.SEPC), c.plain(Csr.SEPC))} stval ${hex(c.plainHigh(Csr.STVAL), c.plain(Csr.STVAL))}`;
  }
}

function hex(hi: number, lo: number): string {
  return (hi >>> 0).toString(16).padStart(8, '0') + (lo >>> 0).toString(16).padStart(8, '0');
}
