/**
 * The x86 CPU: registers that are not in the state region, reset, mode word, faults and events. The work is done by its
 * parts: X86Mmu, Segments, Interrupts, Transfer, Tasks, Control, Msrs, Debug, Strings.
 */
import { randomFillSync } from 'node:crypto';
import {
  type CodeWindow, FlushKind, type GuestClock, type GuestCpu, GuestFault, type InterruptSource, type Lifter, type PhysicalMap, type PortSpace,
} from '../../cpu.js';
import type { HelperRegistry } from '../../helpers.js';
import { NONE, Pending, STATE_BYTES, Slot } from '../../state.js';
import { Answers } from './answers.js';
import { Control } from './control.js';
import { type CpuModel, Cpuid } from './cpuid.js';
import { Debug } from './debug.js';
import { codePage } from './code-page.js';
import { At, Cr0, Cr4, Ef, Efer, Vec, canonical } from './defs.js';
import { divide } from './divide.js';
import { Eflags } from './eflags.js';
import { HAS_ERROR_CODE, Interrupts, Src } from './interrupts.js';
import { X86Mmu } from './mmu.js';
import { Mode, Seg, X, mmuIndexOf } from './mode.js';
import { Msrs, type ParavirtMsrs } from './msr.js';
import { Redecode } from './redecode.js';
import { Segments } from './segments.js';
import { Strings } from './strings.js';
import { Tasks } from './tasks.js';
import { Transfer } from './transfer.js';

export interface X86CpuOptions {
  index: number;
  /** The state region: STATE_BYTES at host address `address`. */
  state: { buffer: ArrayBufferLike; address: number };
  map: PhysicalMap;
  ports: PortSpace;
  intc: InterruptSource;
  clock: GuestClock;
  model: CpuModel;
  helpers: HelperRegistry<X86Cpu>;
  lifter?: Lifter;
  /** Number of CPUs of the machine; 1 if absent. */
  cpus?: number;
  /** Frequency of the guest's time-stamp counter; 1,000,000 (TSC = nanoseconds) if absent. */
  tscKHz?: number;
  /** Reads the counter that the time-stamp counter is made of, in ticks; guest time times the frequency if absent. */
  ticks?: () => number;
  /** Nobody can move the time-stamp counter: writes of TSC and TSC_ADJUST have no effect. */
  tscFixed?: boolean;
  /** Local APIC timer clock in kHz; 1,000,000 if absent. */
  apicKHz?: number;
  paravirt?: ParavirtMsrs;
  /** Fills a buffer with random bytes, for RDRAND and RDSEED. */
  random?: (buf: Uint8Array) => void;
}

/** Told of what traces show besides blocks. */
export interface CpuTrace {
  /** An exception or interrupt has been delivered (PC is in its handler); ret = return address. */
  delivered(cpu: X86Cpu, vector: number, src: Src, err: number, hasErr: boolean, retLo: number, retHi: number): void;
  /** `mode` is not what it was. */
  modeChanged(cpu: X86Cpu): void;
}

const NO_LIFTER: Lifter = {
  lift(_win: CodeWindow): never {
    throw new Error('the CPU has no lifter');
  },
};

const PC = Slot.PC * 2;
const EF = X.EFLAGS * 2;

export class X86Cpu implements GuestCpu {
  readonly index: number;
  readonly V: Int32Array;
  readonly U8: Uint8Array;
  readonly stateAddress: number;
  readonly helpers: HelperRegistry<never>;
  readonly map: PhysicalMap;
  lifter: Lifter;
  readonly ports: PortSpace;
  readonly intc: InterruptSource;
  readonly clock: GuestClock;
  readonly model: CpuModel;
  readonly tscKHz: number;
  readonly tscPerNs: number;
  readonly ticks: () => number;
  readonly tscFixed: boolean;

  halted = false;
  shutdown = false;
  onFlush: (kind: FlushKind, lo: number, hi: number) => void = () => undefined;

  cr0 = 0;
  cr3Lo = 0;
  cr3Hi = 0;
  cr4 = 0;
  efer = 0;
  xcr0 = 1;
  trace: CpuTrace | null = null;
  /** Set from the delivery of an NMI to the next IRET. */
  private nmiMasked = false;
  /** An NMI waits: one while another is handled, no more. Pending.NMI is set only when it can be taken. */
  private nmiLatched = false;
  /** An application processor waits for a start-up IPI. */
  waitSipi = false;

  /** 64-bit result of parts that return one (control registers, MSRs). */
  outLo = 0;
  outHi = 0;
  /** Result of insnIp, nextIp: offset in the code segment (RIP). */
  ipLo = 0;
  ipHi = 0;

  readonly mmu: X86Mmu;
  readonly seg: Segments;
  readonly flags: Eflags;
  readonly ints: Interrupts;
  readonly transfer: Transfer;
  readonly tasks: Tasks;
  readonly control: Control;
  readonly msr: Msrs;
  readonly debug: Debug;
  readonly strings: Strings;
  readonly cpuid: Cpuid;
  readonly answers: Answers;
  readonly redecode: Redecode;

  private readonly theFault = new GuestFault();
  private initRequested = false;
  private sipiVector = -1;
  private readonly random: (buf: Uint8Array) => void;
  private readonly randomBuf = new Int32Array(256);
  private randomPos = 256;

  constructor(o: X86CpuOptions) {
    this.index = o.index;
    this.V = new Int32Array(o.state.buffer, 0, STATE_BYTES >> 2);
    this.U8 = new Uint8Array(o.state.buffer, 0, STATE_BYTES);
    this.stateAddress = o.state.address;
    // The executors pass this very CPU to its helpers; the interface cannot name the type.
    this.helpers = o.helpers as unknown as HelperRegistry<never>;
    this.map = o.map;
    this.lifter = o.lifter ?? NO_LIFTER;
    this.ports = o.ports;
    this.intc = o.intc;
    this.clock = o.clock;
    this.model = o.model;
    this.tscKHz = o.tscKHz ?? 1_000_000;
    this.tscPerNs = this.tscKHz / 1e6;
    this.ticks = o.ticks ?? ((): number => this.clock.now() * this.tscPerNs);
    this.tscFixed = o.tscFixed ?? false;
    this.random = o.random ?? ((b): void => void randomFillSync(b));
    this.answers = new Answers(this);
    this.seg = new Segments(this);
    this.flags = new Eflags(this);
    this.debug = new Debug(this);
    this.mmu = new X86Mmu(this);
    this.redecode = new Redecode(this);
    this.ints = new Interrupts(this);
    this.tasks = new Tasks(this);
    this.transfer = new Transfer(this);
    this.control = new Control(this);
    this.msr = new Msrs(this);
    this.msr.paravirt = o.paravirt ?? null;
    this.strings = new Strings(this);
    this.cpuid = new Cpuid(o.model, { apicId: o.index, cpus: o.cpus ?? 1, tscKHz: this.tscKHz, apicKHz: o.apicKHz ?? 1_000_000 });
    this.reset();
  }

  // ---- reset -------------------------------------------------------------------------------------------------------------

  /** Power-up or RESET (SDM vol. 3, table 10-1). Application processors then wait for INIT and SIPI. */
  reset(): void {
    const V = this.V;
    V.fill(0, Slot.VEC * 2, Slot.TEMP * 2);
    V[Slot.MXCSR * 2] = 0x1f80;
    // FCW 0040, FSW 0, tag word 5555: every register holds a valid zero.
    V[Slot.FPU * 2] = 0x40;
    V[Slot.FPU * 2 + 1] = 0xff;
    V.fill(0, Slot.FPU_IP * 2, Slot.FPU_DP * 2 + 2);
    this.xcr0 = 1;
    this.efer = 0;
    this.msr.reset();
    this.msr.paravirt?.reset?.();
    this.cr0 = 0x6000_0010;
    V[Slot.PENDING * 2] = 0;
    this.shutdown = false;
    this.initRequested = false;
    this.sipiVector = -1;
    this.mmu.a20 = true;
    this.initState();
    this.waitSipi = this.index !== 0;
    this.halted = this.waitSipi;
  }

  /** What RESET and INIT have in common. */
  private initState(): void {
    const V = this.V;
    V.fill(0, X.RAX * 2, X.R15 * 2 + 2);
    this.cpuid.eval(1, 0, false, 0);
    V[X.RDX * 2] = this.cpuid.a;
    V[EF] = 2;
    V[Slot.FLAGS * 2] = 0x200;
    this.cr0 = (this.cr0 & (Cr0.CD | Cr0.NW)) | Cr0.ET;
    this.cr2Lo = this.cr2Hi = this.cr3Lo = this.cr3Hi = this.cr4 = 0;
    this.efer = 0;
    this.cpl = 0;
    this.nmiBlocked = false;
    this.nmiLatched = false;
    this.halted = false;
    this.seg.reset();
    this.mmu.configure();
    this.debug.reset();
    this.updateMode();
    this.setIp(0xfff0, 0);
    this.restartAt();
    this.updateIntr();
    this.updateNmi();
  }

  /** INIT (SDM vol. 3, 10.1): FPU, MSRs and caches keep their state. An application processor waits for SIPI. */
  private init(): void {
    this.initState();
    this.waitSipi = this.index !== 0;
    this.halted = this.waitSipi;
    this.sipiVector = -1;
  }

  /** Requests from the interrupt controller: taken by servicePending. */
  signalInit(): void {
    this.initRequested = true;
    this.sipiVector = -1;
    this.V[Slot.PENDING * 2]! |= Pending.EVENT;
  }

  signalSipi(vector: number): void {
    this.sipiVector = vector & 0xff;
    this.V[Slot.PENDING * 2]! |= Pending.EVENT;
  }

  /** An NMI waits to be taken. */
  get nmiWaiting(): boolean {
    return this.nmiLatched;
  }

  /** Another executor takes the waiting NMI, if there is one. */
  takeNmi(): boolean {
    const waiting = this.nmiLatched;
    this.nmiLatched = false;
    this.updateNmi();
    return waiting;
  }

  signalNmi(): void {
    this.nmiLatched = true;
    this.updateNmi();
  }

  /** NMIs are held off until the next IRET. */
  get nmiBlocked(): boolean {
    return this.nmiMasked;
  }
  set nmiBlocked(on: boolean) {
    this.nmiMasked = on;
    if (on) this.seg.forgetIret();
  }

  /** IRET ends the blocking of NMIs (SDM vol. 3, 6.7.1). */
  unblockNmi(): void {
    this.nmiBlocked = false;
    this.updateNmi();
  }

  private updateNmi(): void {
    const V = this.V;
    if (this.nmiLatched && !this.nmiBlocked && !this.waitSipi) V[Slot.PENDING * 2]! |= Pending.NMI;
    else V[Slot.PENDING * 2]! &= ~Pending.NMI;
  }

  // ---- registers that generated code knows ----------------------------------------------------------------------------------

  get mode(): number {
    return this.V[Slot.MODE * 2]!;
  }
  set mode(v: number) {
    this.V[Slot.MODE * 2] = v;
  }
  get mmuIdx(): number {
    return this.V[Slot.MODE * 2 + 1]!;
  }
  get cpl(): number {
    return this.V[X.CPL * 2]!;
  }
  set cpl(v: number) {
    this.V[X.CPL * 2] = v;
  }
  get cr2Lo(): number {
    return this.V[X.CR2 * 2]!;
  }
  set cr2Lo(v: number) {
    this.V[X.CR2 * 2] = v;
  }
  get cr2Hi(): number {
    return this.V[X.CR2 * 2 + 1]!;
  }
  set cr2Hi(v: number) {
    this.V[X.CR2 * 2 + 1] = v;
  }

  // ---- mode --------------------------------------------------------------------------------------------------------------

  /** Protected mode proper: not real mode, not virtual-8086. */
  get isProtected(): boolean {
    return (this.cr0 & Cr0.PE) !== 0 && (this.V[EF]! & Ef.VM) === 0;
  }

  /** EFLAGS without the arithmetic flags. */
  get eflagsSystem(): number {
    return this.V[EF]!;
  }

  /** Recomputes `mode` and `mmuIdx` as mode.ts documents them. */
  updateMode(): void {
    const V = this.V;
    const ef = V[EF]!;
    const { cr0, cr4, seg, cpl } = this;
    const csAttr = seg.attr[Seg.CS]!;
    let m: number;
    if (this.efer & Efer.LMA && csAttr & At.L) m = Mode.CODE64 | Mode.CSFLAT | Mode.FLAT;
    else m = (csAttr & At.DB ? Mode.CODE32 : Mode.CODE16) | (seg.csFlat ? Mode.CSFLAT : 0) | (seg.flat ? Mode.FLAT : 0);
    if (this.efer & Efer.LMA) m |= Mode.LONG;
    // In 64-bit code SS.B means nothing: leaving it out keeps one translation per block.
    if (!(m & Mode.CODE64) && seg.attr[Seg.SS]! & At.DB) m |= Mode.SS32;
    if (cpl === 3) m |= Mode.USER | (ef & Ef.AC && cr0 & Cr0.AM ? Mode.AC : 0);
    else if (ef & Ef.AC && cr4 & Cr4.SMAP) m |= Mode.AC;
    if (cpl === 0) m |= Mode.CPL0;
    let real = false;
    if (!(cr0 & Cr0.PE)) {
      m |= Mode.REAL;
      real = true;
    } else if (ef & Ef.VM) {
      m |= Mode.REAL | Mode.V86;
      real = true;
    }
    if (ef & Ef.TF || this.debug.stepping) m |= Mode.STEP;
    if (cr0 & (Cr0.TS | Cr0.EM)) m |= Mode.FPU_TRAP;
    if ((V[Slot.MXCSR * 2]! & 0x1f80) !== 0x1f80 || (V[Slot.FPU * 2]! & 0x3f) !== 0x3f) m |= Mode.FP_UNMASKED;
    if (cr4 & Cr4.OSFXSR && !(cr0 & Cr0.EM)) m |= Mode.SSE;
    if (cr4 & Cr4.OSXSAVE && (this.xcr0 & 6) === 6 && !real) m |= Mode.AVX;
    if (cr4 & Cr4.SMAP) m |= Mode.SMAP;
    if (cr4 & Cr4.FSGSBASE) m |= Mode.FSGSBASE;
    if ((this.efer & (Efer.SCE | Efer.LMA)) === (Efer.SCE | Efer.LMA) && (V[X.NFMASK * 2]! & (Ef.TF | Ef.AC)) === 0) m |= Mode.SYSCALL;
    this.debug.arm(this.mode, (ef & Ef.TF) !== 0);
    const changed = this.mode !== m;
    V[Slot.MODE * 2] = m;
    V[Slot.MODE * 2 + 1] = mmuIndexOf(m);
    if (changed && this.trace !== null) this.trace.modeChanged(this);
  }

  /** Sets or clears Pending.INTR. Call it when the interrupt line (whatever IF is) or IF has changed. */
  updateIntr(): void {
    const V = this.V;
    const line = !this.waitSipi && this.intc.pending();
    V[X.IRQ * 2] = line ? Pending.INTR : 0;
    if (V[EF]! & Ef.IF && line) V[Slot.PENDING * 2]! |= Pending.INTR;
    else V[Slot.PENDING * 2]! &= ~Pending.INTR;
  }

  // ---- instruction pointer -------------------------------------------------------------------------------------------------

  /** PC = offset hi:lo in the present code segment. */
  setIp(lo: number, hi: number): void {
    const V = this.V;
    if ((this.mode & Mode.CODE_MASK) === Mode.CODE64) {
      V[PC] = lo;
      V[PC + 1] = hi;
    } else {
      V[PC] = lo + V[(X.SEGBASE + Seg.CS) * 2]!;
      V[PC + 1] = 0;
    }
  }

  /** PC = linear address of this instruction (off = X_INSN & 0xffff) or of the next one (X_INSN >>> 16). */
  private linear(off: number): void {
    const V = this.V;
    const base = V[Slot.PCBASE * 2]!;
    const lo = (base + off) | 0;
    this.ipLo = lo;
    this.ipHi = V[Slot.PCBASE * 2 + 1]!;
    if ((lo >>> 0) < (base >>> 0) && this.mode & Mode.CODE64) this.ipHi = (this.ipHi + 1) | 0;
  }

  /** Linear address of the running instruction, to ipLo, ipHi. */
  insnPc(): void {
    this.linear(this.V[Slot.X_INSN * 2]! & 0xffff);
  }

  /** Linear address of the next instruction, to ipLo, ipHi. */
  nextPc(): void {
    this.linear(this.V[Slot.X_INSN * 2]! >>> 16);
  }

  /** Offset in CS of the next instruction (RIP), to ipLo, ipHi. */
  nextIp(): void {
    this.nextPc();
    if ((this.mode & Mode.CODE_MASK) !== Mode.CODE64) {
      this.ipLo = (this.ipLo - this.V[(X.SEGBASE + Seg.CS) * 2]!) | 0;
      this.ipHi = 0;
    }
  }

  setPcToInsn(): void {
    this.insnPc();
    this.V[PC] = this.ipLo;
    this.V[PC + 1] = this.ipHi;
  }

  setPcToNext(): void {
    this.nextPc();
    this.V[PC] = this.ipLo;
    this.V[PC + 1] = this.ipHi;
  }

  /** Makes the instruction at PC the one that faults are reported for. */
  restartAt(): void {
    const V = this.V;
    const off = V[PC]! & 0xfff;
    V[Slot.PCBASE * 2] = V[PC]! & ~0xfff;
    V[Slot.PCBASE * 2 + 1] = V[PC + 1]!;
    V[Slot.X_INSN * 2] = off | (off << 16);
  }

  // ---- faults and events -----------------------------------------------------------------------------------------------------

  /** The preallocated fault, filled in: `throw cpu.fault(...)`. */
  fault(vector: number, errorCode = 0): GuestFault {
    const f = this.theFault;
    f.vector = vector;
    f.errorCode = errorCode;
    f.hasErrorCode = vector < 32 && ((HAS_ERROR_CODE >>> vector) & 1) !== 0;
    return f;
  }

  /** #PF at hi:lo. */
  pageFault(lo: number, hi: number, code: number): GuestFault {
    this.cr2Lo = lo;
    this.cr2Hi = hi;
    return this.fault(Vec.PF, code);
  }

  deliverFault(f: GuestFault): void {
    this.insnPc();
    const db = f.vector === Vec.DB;
    if (db) this.debug.entering();
    this.ints.deliver(f.vector, db ? Src.TRAP : Src.FAULT, f.errorCode, f.hasErrorCode, this.ipLo, this.ipHi);
  }

  /** Delivers an event that comes between instructions: the return address is PC. */
  trap(vector: number, src: Src): void {
    const V = this.V;
    if (vector === Vec.DB) this.debug.entering();
    this.ints.deliver(vector, src, 0, false, V[PC]!, V[PC + 1]!);
  }

  /** INT n, INT3, INTO, INT1: the return address is the next instruction. */
  softInt(vector: number, src: Src): void {
    this.nextPc();
    this.ints.deliver(vector, src, 0, false, this.ipLo, this.ipHi);
  }

  servicePending(): void {
    const V = this.V;
    const P = Slot.PENDING * 2;
    if (V[P]! & Pending.EVENT) {
      V[P]! &= ~Pending.EVENT;
      if (this.initRequested) {
        this.initRequested = false;
        const sipi = this.sipiVector;
        this.init();
        this.sipiVector = sipi;
      }
      if (this.sipiVector >= 0 && this.waitSipi) {
        // SIPI: CS:IP = VV00:0000 (SDM vol. 3, 9.4.3).
        this.waitSipi = false;
        this.halted = false;
        this.seg.set(Seg.CS, this.sipiVector << 8, this.sipiVector << 12, 0xffff, 0x93);
        this.updateMode();
        this.setIp(0, 0);
      }
      this.sipiVector = -1;
    }
    if (this.waitSipi || this.shutdown) return;
    if (V[P]! & Pending.NMI) {
      this.nmiLatched = false;
      this.nmiBlocked = true;
      this.updateNmi();
      this.trap(Vec.NMI, Src.TRAP);
    }
    if (!(V[P]! & Pending.INTR)) return;
    // CLI at CPL 0 clears IF inline, so the request may be out of date.
    if (V[EF]! & Ef.IF) {
      const v = this.intc.acknowledge();
      if (v >= 0) this.trap(v, Src.EXTERNAL);
    }
    this.updateIntr();
  }

  /** The time-stamp counter, unless CR4.TSD makes reading it a matter of privilege. */
  counterNow(): bigint | null {
    if (this.cr4 & Cr4.TSD) return null;
    this.msr.tsc();
    return (BigInt(this.outHi >>> 0) << 32n) | BigInt(this.outLo >>> 0);
  }

  afterStep(): void {
    this.debug.afterStep();
  }

  // ---- GuestCpu memory -----------------------------------------------------------------------------------------------------------

  fetchAddress(): number {
    const V = this.V;
    const lo = V[PC]!;
    const hi = V[PC + 1]!;
    if ((this.mode & Mode.CODE_MASK) === Mode.CODE64 && !canonical(hi, this.mmu.canonicalBits)) {
      if (!this.redecode.undoBranch()) this.restartAt();
      throw this.fault(Vec.GP, 0);
    }
    this.restartAt();
    this.debug.onFetch(lo, hi);
    this.mmu.checkFetch(lo, hi);
    return this.mmu.fetch(lo, hi);
  }

  tryFetch(): GuestFault | null {
    const V = this.V;
    // An address that is none is the branch's fault: fetchAddress looks at X_INSN for that.
    if (this.debug.stepping || !(this.mode & Mode.CSFLAT) || !canonical(V[PC + 1]!, this.mmu.canonicalBits)) return null;
    this.restartAt();
    return this.mmu.tryFetch(V[PC]!, V[PC + 1]!);
  }

  /**
   * Physical address of the page after the one PC is in, for an instruction that spans both. A fault is reported for
   * the instruction at PC.
   */
  fetchNextPage(): number {
    const V = this.V;
    this.restartAt();
    const lo = ((V[PC]! & ~0xfff) + 0x1000) | 0;
    const hi = lo === 0 && this.mode & Mode.CODE64 ? (V[PC + 1]! + 1) | 0 : V[PC + 1]!;
    this.mmu.checkFetch(lo, hi);
    return this.mmu.fetch(lo, hi);
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
  loadVec(w: number, addr: number, dst: number): void {
    this.mmu.loadVec(w, addr, dst);
  }
  storeVec(w: number, addr: number, val: number): void {
    this.mmu.storeVec(w, addr, val);
  }

  divide(signed: boolean, w: number, quot: number, rem: number, lo: number, hi: number, divisor: number): void {
    if (!divide(this.V, signed, w, quot, rem, lo, hi, divisor)) throw this.fault(Vec.DE);
  }

  segmentCheck(seg: number, off: number, write: boolean, bytes: number): void {
    this.seg.check(seg, this.V[off * 2]!, write, bytes);
  }

  alignmentFault(): never {
    throw this.fault(Vec.GP, 0);
  }

  get fetchGlobal(): boolean {
    return this.mmu.fetchGlobal;
  }
  set fetchGlobal(on: boolean) {
    this.mmu.fetchGlobal = on;
  }
  /** Beside paging there is the limit of CS. */
  get fetchWhole(): boolean {
    return (this.mode & Mode.CSFLAT) !== 0;
  }

  addressSpace(): number {
    return this.mmu.root;
  }

  codePage(lo: number, hi: number): number {
    return codePage(this, lo, hi);
  }

  // ---- what vector and x87 helpers ask for ---------------------------------------------------------------------------------

  raise(vector: number, errorCode = 0): never {
    throw this.fault(vector, errorCode);
  }

  raiseError(vector: number, errorCode: number): never {
    throw this.fault(vector, errorCode);
  }

  /** #XM, or #UD if CR4.OSXMMEXCPT = 0 (SDM vol. 1, 11.5.1). */
  raiseSimd(): never {
    throw this.fault(this.cr4 & Cr4.OSXMMEXCPT ? Vec.XM : Vec.UD);
  }

  mxcsrChanged(): void {
    this.updateMode();
  }

  /** Called for a pending x87 error with CR0.NE = 0: the board's FERR# line (IRQ 13). True if IGNNE# is asserted. */
  onFerr: () => boolean = () => false;
  ferr(): boolean {
    return this.onFerr();
  }

  /** PAUSE: true if the CPU shall give up its turn. */
  onPause: () => boolean = () => false;

  /** Guest TSC in ticks, as a number. */
  tsc(): number {
    this.msr.tsc();
    return (this.outHi >>> 0) * 4294967296 + (this.outLo >>> 0);
  }

  /** One line for humans: where the CPU is. */
  describe(): string {
    const V = this.V;
    const hex = (slot: number): string => `${(V[slot * 2 + 1]! >>> 0).toString(16)}${(V[slot * 2]! >>> 0).toString(16).padStart(8, '0')}`;
    return `pc ${hex(Slot.PC)} sp ${hex(X.RSP)} cr0 ${(this.cr0 >>> 0).toString(16)} cr3 ${(this.cr3Lo >>> 0).toString(16)} cr2 ${(this.cr2Hi >>> 0).toString(16)}_${(this.cr2Lo >>> 0).toString(16)} cs ${this.seg.sel[Seg.CS]!.toString(16)}`;
  }

  flushTlb(): void {
    this.mmu.flushAll();
  }

  /** The RAM page at ramOffset has got its first translation. */
  noteCodePage(ramOffset: number): void {
    this.mmu.noteCodePage(ramOffset);
  }

  /** The A20 gate (port 0x92, keyboard controller). */
  setA20(on: boolean): void {
    if (this.mmu.a20 === on) return;
    this.mmu.a20 = on;
    this.mmu.flushAll();
  }

  /** I/O privilege (SDM vol. 1, 19.5): IOPL, else the permission bitmap. Raises #GP(0). */
  checkIo(port: number, size: number): void {
    if (!(this.cr0 & Cr0.PE)) return;
    if (this.V[EF]! & Ef.VM || this.cpl > this.flags.iopl) {
      if (!this.tasks.ioAllowed(port, size)) throw this.fault(Vec.GP, 0);
    }
  }

  /** Writes a result of width w to a slot: guest registers merge 8 and 16 bits, temporaries are zero-extended. */
  setReg(w: number, dst: number, lo: number, hi: number): void {
    const V = this.V;
    if (dst === NONE) return;
    const d = dst * 2;
    if (w === 3) {
      V[d] = lo;
      V[d + 1] = hi;
    } else if (w === 2) {
      V[d] = lo;
      V[d + 1] = 0;
    } else {
      const m = w === 1 ? 0xffff : 0xff;
      if (dst < Slot.TEMP) V[d] = (V[d]! & ~m) | (lo & m);
      else {
        V[d] = lo & m;
        V[d + 1] = 0;
      }
    }
  }

  /** 32 random bits. */
  random32(): number {
    if (this.randomPos >= this.randomBuf.length) {
      this.random(new Uint8Array(this.randomBuf.buffer));
      this.randomPos = 0;
    }
    return this.randomBuf[this.randomPos++]!;
  }
}
