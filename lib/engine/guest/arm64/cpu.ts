/**
 * An Armv8-A CPU with EL0 and EL1 in AArch64: registers that are not in the state region, reset, mode word, exceptions.
 * EL2 and EL3 do not exist for the guest; HVC and SMC reach PSCI (psci.ts) by way of `firmwareCall`.
 */
import { type CodeWindow, FlushKind, type GuestCpu, GuestFault, type Lifter, type PhysicalMap } from '../../cpu.js';
import type { HelperRegistry } from '../../helpers.js';
import { Pending, STATE_BYTES, Slot } from '../../state.js';
import { Debug } from './debug.js';
import { divide } from './divide.js';
import { ANY_BTYPE, acceptedBtypes, isIndirect } from './bti.js';
import { Arm64Mmu, Fsc } from './mmu.js';
import type { Arm64Model } from './model.js';
import { PAC_ENABLES, PointerAuthentication } from './pauth.js';
import { Pmu } from './pmu.js';
import { A, BTYPE_BY_PAGE, Ec, Mode, Ps, flagsToNzcv, mmuIndexOf, nzcvToFlags } from './regs.js';
import { GenericTimer, type TimerWiring } from './timer.js';

/** The interrupt controller as a CPU sees it. */
export interface ArmInterrupts {
  /** Levels of the CPU's interrupt inputs. */
  readonly irq: boolean;
  readonly fiq: boolean;
  /** GICv3 CPU interface registers, numbered CRn << 8 | CRm << 4 | op2. */
  readIcc(reg: number): number;
  writeIcc(reg: number, lo: number, hi: number): void;
}

export interface Arm64CpuOptions {
  index: number;
  model: Arm64Model;
  /** The state region: STATE_BYTES at host address `address`. */
  state: { buffer: ArrayBufferLike; address: number };
  map: PhysicalMap;
  helpers: HelperRegistry<Arm64Cpu>;
  lifter?: Lifter;
  intc: ArmInterrupts;
  /** The GIC has system registers (GICv3). */
  gicSystemRegisters: boolean;
  timer: TimerWiring;
  /** All CPUs of the machine, for broadcast TLB maintenance. Filled by the owner. */
  peers?: readonly Arm64Cpu[];
  log?: (message: string) => void;
}

export interface Arm64Trace {
  delivered(cpu: Arm64Cpu, text: string): void;
  modeChanged(cpu: Arm64Cpu): void;
}

const NO_LIFTER: Lifter = {
  lift(_win: CodeWindow): never {
    throw new Error('the CPU has no lifter');
  },
};

const PC = Slot.PC * 2;
const DAIF = A.DAIF * 2;

/** Bits of SCTLR_EL1. */
export const enum Sctlr {
  M = 1, A = 2, SA = 8, SA0 = 16, UMA = 1 << 9, DZE = 1 << 14, UCT = 1 << 15, NTWI = 1 << 16, NTWE = 1 << 18, WXN = 1 << 19, SPAN = 1 << 23, UCI = 1 << 26,
}
/** RES1 bits of SCTLR_EL1 in this implementation, and those that can be set. */
const SCTLR_RES1 = 0x30d0_0800 & ~(Sctlr.SPAN | 0x10_0000);
const SCTLR_WRITABLE = Sctlr.M | Sctlr.A | 4 | Sctlr.SA | Sctlr.SA0 | Sctlr.UMA | 0x1000 | Sctlr.DZE | Sctlr.UCT | Sctlr.NTWI | Sctlr.NTWE | Sctlr.WXN | Sctlr.SPAN | Sctlr.UCI;

/** The same with FEAT_PAuth, and of the high word with FEAT_BTI: BT0, BT1. */
const SCTLR_PAUTH = PAC_ENABLES.reduce((all, bit) => all | bit, 0);
const enum SctlrHi { BT0 = 1 << 3, BT1 = 1 << 4 }

/** FPCR bits that exist: AHP DN FZ RMode FZ16. */
const FPCR_BITS = 0x07c8_0000;
const FPCR_SLOW = 0x0708_0000;
/** FPCR.RMode (nearest, up, down, zero) to MXCSR.RC. */
const RMODE: readonly number[] = [0, 2, 1, 3];

/** Exception classes that report an address. GuestFault.vector is the EC here, errorCode the ISS. */
const FAULTS_WITH_FAR = new Set<number>([Ec.IABT_LOWER, Ec.IABT_SAME, Ec.DABT_LOWER, Ec.DABT_SAME, Ec.PC_ALIGN, Ec.WATCHPOINT_LOWER, Ec.WATCHPOINT_SAME]);

export class Arm64Cpu implements GuestCpu {
  readonly index: number;
  readonly model: Arm64Model;
  readonly V: Int32Array;
  readonly U8: Uint8Array;
  readonly stateAddress: number;
  readonly helpers: HelperRegistry<never>;
  readonly map: PhysicalMap;
  lifter: Lifter;
  readonly intc: ArmInterrupts;
  readonly gicSystemRegisters: boolean;
  readonly timer: GenericTimer;
  readonly pmu: Pmu;
  readonly debug: Debug;
  readonly mmu: Arm64Mmu;
  readonly pauth: PointerAuthentication;
  peers: readonly Arm64Cpu[];
  private theTrace: Arm64Trace | null = null;
  private shown = 0;

  halted = false;
  shutdown = false;
  onFlush: (kind: FlushKind, lo: number, hi: number) => void = () => undefined;

  sctlr = SCTLR_RES1;
  sctlrHi = 0;
  cpacr = 0;
  ttbr0Lo = 0;
  ttbr0Hi = 0;
  ttbr1Lo = 0;
  ttbr1Hi = 0;
  tcrLo = 0;
  tcrHi = 0;
  /** PSTATE.IL: the next instruction raises an Illegal Execution State exception. */
  illegal = false;
  /** The CPU is off (PSCI). */
  off = false;
  /** A sleeping WFE is woken by SEV: the event register. */
  event = false;

  /** 64-bit result of parts that return one. */
  outLo = 0;
  outHi = 0;

  private faultFarLo = 0;
  private faultFarHi = 0;
  private readonly theFault = new GuestFault();
  private readonly logged = new Set<string>();
  private readonly log: (message: string) => void;

  constructor(o: Arm64CpuOptions) {
    this.index = o.index;
    this.model = o.model;
    this.V = new Int32Array(o.state.buffer, 0, STATE_BYTES >> 2);
    this.U8 = new Uint8Array(o.state.buffer, 0, STATE_BYTES);
    this.stateAddress = o.state.address;
    // The executors pass this very CPU to its helpers; the interface cannot name the type.
    this.helpers = o.helpers as unknown as HelperRegistry<never>;
    this.map = o.map;
    this.lifter = o.lifter ?? NO_LIFTER;
    this.intc = o.intc;
    this.gicSystemRegisters = o.gicSystemRegisters;
    this.timer = new GenericTimer(o.timer);
    this.pmu = new Pmu(this, { now: () => this.timer.now(), arm: (t) => o.timer.arm(2, t), line: (level) => o.timer.line(2, level) });
    this.debug = new Debug(this);
    this.peers = o.peers ?? [this];
    this.log = o.log ?? ((): void => undefined);
    this.mmu = new Arm64Mmu(this);
    this.pauth = new PointerAuthentication(this);
    this.reset();
  }

  /** MPIDR_EL1 affinity: 16 CPUs per cluster, as GICv3 target lists want it. */
  get affinity(): number {
    return (this.index & 15) | ((this.index >> 4) << 8);
  }

  /** Generated code changes the mode (op SETMODE), so it lies in its slot. */
  get mode(): number {
    return this.V[Slot.MODE * 2]!;
  }
  set mode(m: number) {
    this.V[Slot.MODE * 2] = m;
  }
  get mmuIdx(): number {
    return this.V[Slot.MODE * 2 + 1]!;
  }

  get pan(): boolean {
    return (this.V[A.PAN_UAO * 2]! & Ps.PAN) !== 0;
  }
  set pan(on: boolean) {
    const V = this.V;
    V[A.PAN_UAO * 2] = (V[A.PAN_UAO * 2]! & ~Ps.PAN) | (on ? Ps.PAN : 0);
  }
  get uao(): boolean {
    return (this.V[A.PAN_UAO * 2]! & Ps.UAO) !== 0;
  }
  set uao(on: boolean) {
    const V = this.V;
    V[A.PAN_UAO * 2] = (V[A.PAN_UAO * 2]! & ~Ps.UAO) | (on ? Ps.UAO : 0);
  }

  get trace(): Arm64Trace | null {
    return this.theTrace;
  }
  set trace(t: Arm64Trace | null) {
    this.theTrace = t;
    this.updateSlow();
  }

  /** Slots SLOW_TRAP and ZVA_OFF anew. */
  private updateSlow(): void {
    this.V[A.ZVA_OFF * 2] = (this.sctlr & Sctlr.DZE) !== 0 ? 0 : 1;
    this.V[A.SLOW_TRAP * 2] = (this.sctlr & Sctlr.SPAN) !== 0 || ((this.cpacr >>> 20) & 3) !== 3 || this.theTrace !== null || this.pmu.timed ? 1 : 0;
  }

  // ---- reset and mode ------------------------------------------------------------------------------------------------

  /** Warm reset: EL1h, MMU off, everything masked; PC = 0. */
  reset(): void {
    const V = this.V;
    V.fill(0, Slot.GPR * 2, Slot.X_CALL * 2);
    // Not the slots between them, which are the executors'.
    V.fill(0, A.FAR_EL1 * 2, Slot.X_NATIVE_XMM * 2);
    V.fill(0, Slot.VEC * 2, Slot.TEMP * 2);
    V.fill(0x7fff_ffff, A.FP_ABS_32 * 2, A.FP_ABS_32 * 2 + 4);
    V.set([-1, 0x7fff_ffff, -1, 0x7fff_ffff], A.FP_ABS_64 * 2);
    V.fill(0x0080_0000, A.FP_MIN_32 * 2, A.FP_MIN_32 * 2 + 4);
    V.set([0, 0x0010_0000, 0, 0x0010_0000], A.FP_MIN_64 * 2);
    V[Slot.FLAGS * 2] = nzcvToFlags(0);
    V[Slot.MXCSR * 2] = 0x1f80;
    V[DAIF] = Ps.DAIF;
    V.fill(-1, A.EXCL_ADDR * 2, A.EXCL_ADDR * 2 + 2);
    V[Slot.PENDING * 2] = 0;
    this.sctlr = SCTLR_RES1;
    this.sctlrHi = 0;
    this.cpacr = 0;
    this.ttbr0Lo = this.ttbr0Hi = this.ttbr1Lo = this.ttbr1Hi = this.tcrLo = this.tcrHi = 0;
    this.pan = this.uao = this.illegal = this.event = false;
    this.halted = this.shutdown = false;
    this.mode = Mode.EL1 | Mode.SPSEL;
    this.updatePauth();
    this.timer.reset();
    this.debug.reset();
    this.pmu.reset();
    this.mmu.flushAll();
    V[PC] = V[PC + 1] = 0;
    this.updateMode(true, true);
    this.updateIrq();
    this.restartAt();
  }

  /** Starts at a physical address with x0 = context (direct boot, PSCI CPU_ON). */
  startAt(pc: number, context: number): void {
    const V = this.V;
    V[PC] = pc | 0;
    V[PC + 1] = Math.floor(pc / 0x1_0000_0000);
    V[A.X0 * 2] = context | 0;
    V[A.X0 * 2 + 1] = Math.floor(context / 0x1_0000_0000);
    this.restartAt();
  }

  /** Recomputes `mode` and `mmuIdx` for exception level and stack pointer selection given. */
  private updateMode(el1: boolean, spsel: boolean): void {
    // Counters that run by the clock may have filters.
    if (this.pmu.timed && el1 !== ((this.mode & Mode.EL1) !== 0)) this.pmu.sync();
    let m = 0;
    const aligned = (this.sctlr & Sctlr.M) === 0 || (this.sctlr & Sctlr.A) !== 0;
    const fpen = (this.cpacr >>> 20) & 3;
    if (el1) {
      m = Mode.EL1 | (spsel ? Mode.SPSEL : 0) | (this.pan ? Mode.PAN : 0) | (this.uao ? Mode.UAO : 0);
      if ((fpen & 1) === 0) m |= Mode.FP_TRAP;
    } else if (fpen !== 3) m |= Mode.FP_TRAP;
    if (aligned) m |= Mode.ALIGN;
    if (this.V[A.FPCR * 2]! & FPCR_SLOW) m |= Mode.FP_SLOW;
    if (this.pacTop) m |= Mode.PAC_TOP;
    m |= this.V[(el1 ? A.BTI_EL1 : A.BTI_EL0) * 2]!;
    if (this.debug.active || this.pmu.stepping || this.mmu.watchpoints.any) m |= Mode.STEP;
    const { V } = this;
    V[Slot.MODE * 2] = m;
    V[Slot.MODE * 2 + 1] = mmuIndexOf(m);
    this.updateSlow();
    if (this.theTrace === null) return;
    const changed = m !== this.shown;
    this.shown = m;
    if (changed) this.theTrace.modeChanged(this);
  }

  /** The mode word anew. */
  refresh(): void {
    const landing = this.mode & Mode.LANDING;
    this.updateMode((this.mode & Mode.EL1) !== 0, (this.mode & Mode.SPSEL) !== 0);
    this.setLanding(landing);
  }

  // ---- branch target identification and pointer authentication -----------------------------------------------------

  /** Bits of `Mode.LANDING` replaced. */
  private setLanding(bits: number): void {
    const { V } = this;
    const m = (V[Slot.MODE * 2]! & ~Mode.LANDING) | bits;
    V[Slot.MODE * 2] = m;
    V[Slot.MODE * 2 + 1] = mmuIndexOf(m);
  }

  /** PSTATE.BTYPE. While PCBASE is still the branch's, what depends on its page is found out. */
  private btype(): number {
    const { V } = this;
    if ((this.mode & Mode.LANDING) === 0) return 0;
    const at = A.BTYPE * 2;
    if (V[at] === BTYPE_BY_PAGE) V[at] = this.mmu.guarded(V[Slot.PCBASE * 2]!, V[Slot.PCBASE * 2 + 1]!) ? 3 : 1;
    return V[at]!;
  }

  /**
   * What the instruction at physical address pa, in the page just fetched from, means for PSTATE.BTYPE. Where every branch that leads to
   * blocks of the mode would be let through the mode stays, and the jump cache remembers the place (docs/adr/0068); otherwise BTYPE is done with here.
   * @throws GuestFault Branch Target exception
   */
  private land(pa: number, single: boolean): void {
    const el1 = (this.mode & Mode.EL1) !== 0;
    const guarded = this.mmu.fetchGuarded;
    const seen = (el1 ? A.BTI_EL1 : A.BTI_EL0) * 2;
    if (guarded && this.V[seen] === 0) {
      this.V[seen] = Mode.BTI;
      this.refresh();
      this.arrive();
    }
    const landing = this.mode & Mode.LANDING;
    if (landing === 0) return;
    let accepted = ANY_BTYPE;
    if (guarded) {
      const word = this.map.ramView.getInt32(this.map.pageOffset(pa) + (pa % 4096), true);
      accepted = acceptedBtypes(word, (this.sctlrHi & (el1 ? SctlrHi.BT1 : SctlrHi.BT0)) !== 0);
      if (((accepted >> this.btype()) & 1) === 0) throw this.fault(Ec.BRANCH_TARGET, this.btype());
    }
    const all = landing === (Mode.LANDING_C as number) ? 0b0110 : 0b1010;
    if (single || (accepted & all) !== all) this.setLanding(0);
  }

  /** The branch that has led to the first guarded page of its exception level has not set BTYPE yet. */
  private arrive(): void {
    const { V } = this;
    const word = this.mmu.peekInsn(this.cameLo, this.cameHi);
    const n = (word >>> 5) & 31;
    // X_INSN may be out of date, but then no other page has just been reached that the register has the address of (authenticated or not).
    if (!isIndirect(word) || n === 31 || ((V[(A.X0 + n) * 2]! ^ V[PC]!) & 0x1ff_ffff) !== 0 || ((this.cameLo ^ V[PC]!) & ~0xfff) === 0) return;
    // Its own page is not guarded.
    const call = (word & 0x20_0000) !== 0;
    this.setSlot(A.BTYPE, call ? 2 : 1, 0);
    this.setLanding(call || n === 16 || n === 17 ? Mode.LANDING_C : Mode.LANDING_J);
  }

  /** Address of the instruction that ran before the fetch, while nothing has been fetched from guarded pages. */
  private cameLo = 0;
  private cameHi = 0;

  /** Bit 63 of an address chooses the half for pointer authentication. */
  private pacTop = false;

  /** SCTLR_EL1 or TCR_EL1 has changed. */
  private updatePauth(): void {
    if (this.model.pauth) this.pacTop = this.pauth.update();
  }

  /** Slots hold the stack pointer in use in A.SP: swaps it for the other one. */
  private selectSp(from: number, to: number): void {
    if (from === to) return;
    this.copySlot(from, A.SP);
    this.copySlot(A.SP, to);
  }

  private copySlot(to: number, from: number): void {
    const V = this.V;
    V[to * 2] = V[from * 2]!;
    V[to * 2 + 1] = V[from * 2 + 1]!;
  }

  private get spSlot(): number {
    return this.mode & Mode.EL1 && this.mode & Mode.SPSEL ? A.SP_EL1 : A.SP_EL0;
  }

  setSpsel(on: number): void {
    const to = on ? A.SP_EL1 : A.SP_EL0;
    this.selectSp(this.spSlot, to);
    this.updateMode(true, on !== 0);
  }

  setPan(on: boolean): void {
    this.pan = on;
    this.refresh();
  }

  setUao(on: boolean): void {
    this.uao = on;
    this.refresh();
  }

  setDaif(v: number): void {
    this.V[DAIF] = v & Ps.DAIF;
    this.updateIrq();
  }

  setSlot(slot: number, lo: number, hi: number): void {
    this.V[slot * 2] = lo;
    this.V[slot * 2 + 1] = hi;
  }

  // ---- system registers ------------------------------------------------------------------------------------------------

  setSctlr(lo: number, hi = 0): void {
    const now = (lo & (SCTLR_WRITABLE | (this.model.pauth ? SCTLR_PAUTH : 0))) | SCTLR_RES1;
    const nowHi = this.model.bti ? hi & (SctlrHi.BT0 | SctlrHi.BT1) : 0;
    const changed = now ^ this.sctlr;
    const targets = nowHi !== this.sctlrHi;
    this.sctlr = now;
    this.sctlrHi = nowHi;
    if (changed & (Sctlr.M | Sctlr.WXN)) this.mmu.flushAll();
    // What the jump caches have of branch targets is for the BT bits as they were.
    else if (targets) this.onFlush(FlushKind.ALL, 0, 0);
    if (changed & SCTLR_PAUTH) this.updatePauth();
    this.refresh();
  }

  setCpacr(v: number): void {
    this.cpacr = v & (3 << 20);
    this.refresh();
  }

  /** TCR_EL1.A1 chooses which TTBR holds the ASID; entries of another ASID must not be seen. */
  setTtbr(n: 0 | 1, lo: number, hi: number): void {
    if (n === 0) {
      const same = this.ttbr0Lo === lo && this.ttbr0Hi === hi;
      this.ttbr0Lo = lo;
      this.ttbr0Hi = hi;
      if (!same) this.mmu.flushNonGlobal();
    } else {
      const table = this.ttbr1Lo !== lo || ((this.ttbr1Hi ^ hi) & 0xffff) !== 0;
      const asid = ((this.ttbr1Hi ^ hi) & 0xffff_0000) !== 0;
      this.ttbr1Lo = lo;
      this.ttbr1Hi = hi;
      // A new table takes effect for translations not cached: only an invalidation drops the others.
      if (table) this.mmu.flushAll();
      else if (asid) this.mmu.flushNonGlobal();
    }
  }

  setTcr(lo: number, hi: number): void {
    if (this.tcrLo === lo && this.tcrHi === hi) return;
    this.tcrLo = lo;
    this.tcrHi = hi;
    this.mmu.flushAll();
    this.updatePauth();
    this.refresh();
  }

  setMair(lo: number, hi: number): void {
    const V = this.V;
    const m = A.MAIR_EL1 * 2;
    if (V[m] === lo && V[m + 1] === hi) return;
    V[m] = lo;
    V[m + 1] = hi;
    this.mmu.flushAll();
  }

  setFpcr(v: number): void {
    const V = this.V;
    const f = v & FPCR_BITS;
    V[A.FPCR * 2] = f;
    V[Slot.MXCSR * 2] = (V[Slot.MXCSR * 2]! & ~0x6000) | (RMODE[(f >>> 22) & 3]! << 13);
    this.refresh();
  }

  /** FPSR: IOC DZC OFC UFC IXC are the sticky bits of MXCSR; QC and IDC are kept apart. */
  fpsr(): number {
    const m = this.V[Slot.MXCSR * 2]!;
    return (m & 1) | ((m >>> 1) & 0x1e) | this.V[A.QC * 2]!;
  }

  setFpsr(v: number): void {
    const V = this.V;
    V[Slot.MXCSR * 2] = (V[Slot.MXCSR * 2]! & ~0x3f) | (v & 1) | ((v & 0x1e) << 1);
    V[A.QC * 2] = v & 0x0800_0080;
  }

  zvaAllowed(): boolean {
    return (this.mode & Mode.EL1) !== 0 || (this.sctlr & Sctlr.DZE) !== 0;
  }

  // ---- interrupts ------------------------------------------------------------------------------------------------------

  /** The interrupt controller's outputs or DAIF may have changed. */
  updateIrq(): void {
    const V = this.V;
    const { irq, fiq } = this.intc;
    const any = irq || fiq;
    V[A.IRQ_LINE * 2] = any ? Pending.INTR : 0;
    if (any && !this.off) this.halted = false;
    const d = V[DAIF]!;
    if (!this.off && ((irq && (d & Ps.I) === 0) || (fiq && (d & Ps.F) === 0))) V[Slot.PENDING * 2]! |= Pending.INTR;
    else V[Slot.PENDING * 2]! &= ~Pending.INTR;
  }

  servicePending(): void {
    const V = this.V;
    if (V[Slot.PENDING * 2]! & Pending.EVENT) V[Slot.PENDING * 2]! &= ~Pending.EVENT;
    if (!(V[Slot.PENDING * 2]! & Pending.INTR)) return;
    // DAIF changes inline, so the request may be out of date.
    const d = V[DAIF]!;
    const { irq, fiq } = this.intc;
    if (fiq && (d & Ps.F) === 0) this.enter(0x100, V[PC]!, V[PC + 1]!, 'fiq');
    else if (irq && (d & Ps.I) === 0) this.enter(0x80, V[PC]!, V[PC + 1]!, 'irq');
    this.updateIrq();
  }

  counterNow(): bigint {
    this.timer.count(this);
    return (BigInt(this.outHi >>> 0) << 32n) | BigInt(this.outLo >>> 0);
  }

  /** The word of the instruction that is stepped, for the performance monitors. */
  private stepWord = 0;

  afterStep(): void {
    this.debug.stepDone();
    this.pmu.retired(this.stepWord);
  }

  /** Another CPU may want the turn (WFE, YIELD). */
  onPause: () => boolean = () => false;
  /** HVC and SMC with the PSCI and SMCCC conventions: result in X0. */
  firmwareCall: () => void = () => {
    this.setSlot(A.X0, -1, -1);
  };

  // ---- exceptions --------------------------------------------------------------------------------------------------------

  /** PSTATE as SPSR_ELx shows it. */
  pstate(): number {
    const V = this.V;
    const el1 = (this.mode & Mode.EL1) !== 0;
    return (
      flagsToNzcv(V[Slot.FLAGS * 2]!) | V[DAIF]! | (this.btype() << 10) | (this.pan ? Ps.PAN : 0) | (this.uao ? Ps.UAO : 0) | (this.illegal ? Ps.IL : 0) | (this.debug.ss ? Ps.SS : 0) |
      (el1 ? 4 | (this.mode & Mode.SPSEL ? 1 : 0) : 0)
    );
  }

  /** Exception entry to EL1 (D1.3.1). offset: 0 synchronous, 0x80 IRQ, 0x100 FIQ. */
  private enter(offset: number, retLo: number, retHi: number, what: string): void {
    const V = this.V;
    const el1 = (this.mode & Mode.EL1) !== 0;
    const vector = offset + (el1 ? (this.mode & Mode.SPSEL ? 0x200 : 0) : 0x400);
    this.setSlot(A.SPSR_EL1, this.pstate(), 0);
    this.setSlot(A.ELR_EL1, retLo, retHi);
    this.selectSp(this.spSlot, A.SP_EL1);
    V[DAIF] = Ps.DAIF;
    this.illegal = false;
    this.debug.ss = false;
    this.uao = false;
    if ((this.sctlr & Sctlr.SPAN) === 0) this.pan = true;
    // The local monitor is not cleared by entry, but by return (ERET).
    const base = A.VBAR_EL1 * 2;
    V[PC] = (V[base]! & ~0x7ff) + vector;
    V[PC + 1] = V[base + 1]!;
    this.halted = false;
    this.updateMode(true, true);
    V[Slot.PENDING * 2]! &= ~Pending.INTR;
    if (this.trace !== null) this.trace.delivered(this, `${what} at ${hex(retHi, retLo)} -> ${hex(V[PC + 1]!, V[PC]!)}`);
  }

  /** Synchronous exception with syndrome; the return address is hi:lo. */
  takeSync(ec: number, iss: number, lo: number, hi: number): void {
    this.setSlot(A.ESR_EL1, ((ec << 26) | (1 << 25) | iss) | 0, 0);
    this.enter(0, lo, hi, `sync ec ${ec.toString(16)} iss ${iss.toString(16)}`);
  }

  deliverFault(f: GuestFault): void {
    this.insnPc();
    if (FAULTS_WITH_FAR.has(f.vector)) this.setSlot(A.FAR_EL1, this.faultFarLo, this.faultFarHi);
    this.takeSync(f.vector, f.errorCode, this.outLo, this.outHi);
  }

  fault(ec: number, iss: number): GuestFault {
    const f = this.theFault;
    f.vector = ec;
    f.errorCode = iss;
    return f;
  }

  isFault(e: unknown): boolean {
    return e === this.theFault;
  }

  /** Data or instruction abort at hi:lo. */
  abort(lo: number, hi: number, fsc: number, fetch: boolean, write: boolean): GuestFault {
    this.faultFarLo = lo;
    this.faultFarHi = hi;
    const lower = (this.mode & Mode.EL1) === 0;
    if (fetch) return this.fault(lower ? Ec.IABT_LOWER : Ec.IABT_SAME, fsc);
    return this.fault(lower ? Ec.DABT_LOWER : Ec.DABT_SAME, fsc | (write ? 0x40 : 0) | this.cacheMaintenance);
  }

  /** Watchpoint exception for an access at hi:lo. */
  watchpoint(lo: number, hi: number, iss: number): GuestFault {
    this.faultFarLo = lo;
    this.faultFarHi = hi;
    return this.fault((this.mode & Mode.EL1) === 0 ? Ec.WATCHPOINT_LOWER : Ec.WATCHPOINT_SAME, iss);
  }

  /** ISS.CM (and WnR) while a cache or address translation instruction translates. */
  cacheMaintenance = 0;

  undefinedInstruction(): never {
    throw this.fault(Ec.UNKNOWN, 0);
  }

  /** Tells once per message. */
  logOnce(message: string): void {
    if (this.logged.has(message) || this.logged.size > 100) return;
    this.logged.add(message);
    this.log(message);
  }

  /** ERET (D1.4.4) to the address in a slot. */
  eret(target: number = A.ELR_EL1): void {
    const V = this.V;
    const spsr = V[A.SPSR_EL1 * 2]!;
    const lo = V[target * 2]!;
    const hi = V[target * 2 + 1]!;
    const m = spsr & 0x1f;
    const debugged = this.debug.enabledNow;
    V.fill(-1, A.EXCL_ADDR * 2, A.EXCL_ADDR * 2 + 2);
    V[Slot.FLAGS * 2] = nzcvToFlags(spsr);
    V[DAIF] = spsr & Ps.DAIF;
    if (m !== 0 && m !== 4 && m !== 5) {
      // Illegal return: the exception level stays (D1.4.5).
      this.illegal = true;
      V[PC] = lo;
      V[PC + 1] = hi;
      this.updateIrq();
      return;
    }
    this.illegal = (spsr & Ps.IL) !== 0;
    this.pan = (spsr & Ps.PAN) !== 0;
    this.uao = (spsr & Ps.UAO) !== 0;
    this.selectSp(this.spSlot, m === 5 ? A.SP_EL1 : A.SP_EL0);
    this.updateMode(m !== 0, m === 5);
    const btype = (spsr >>> 10) & 3;
    if (btype !== 0 && this.model.bti) {
      this.setSlot(A.BTYPE, btype, 0);
      this.setLanding(btype === 3 ? Mode.LANDING_J : Mode.LANDING_C);
    }
    this.debug.returned(spsr, debugged);
    V[PC] = lo;
    V[PC + 1] = hi;
    this.updateIrq();
  }

  // ---- instruction pointer -------------------------------------------------------------------------------------------------

  private linear(off: number): void {
    const V = this.V;
    const base = V[Slot.PCBASE * 2]!;
    const lo = (base + off) | 0;
    this.outLo = lo;
    this.outHi = V[Slot.PCBASE * 2 + 1]! + ((lo >>> 0) < (base >>> 0) ? 1 : 0);
  }

  /** Address of the running instruction, to outLo, outHi. */
  insnPc(): void {
    this.linear(this.V[Slot.X_INSN * 2]! & 0xffff);
  }

  /** Address of the next instruction, to outLo, outHi. */
  nextPc(): void {
    this.linear(this.V[Slot.X_INSN * 2]! >>> 16);
  }

  setPcToNext(): void {
    this.nextPc();
    this.V[PC] = this.outLo;
    this.V[PC + 1] = this.outHi;
  }

  /** Makes the instruction at PC the one that faults are reported for. */
  restartAt(): void {
    const V = this.V;
    const off = V[PC]! & 0xfff;
    V[Slot.PCBASE * 2] = V[PC]! & ~0xfff;
    V[Slot.PCBASE * 2 + 1] = V[PC + 1]!;
    V[Slot.X_INSN * 2] = off | (off << 16);
  }

  // ---- GuestCpu memory --------------------------------------------------------------------------------------------------------

  fetchAddress(single = false): number {
    const V = this.V;
    // Asks for the page of the branch, which is what PCBASE still says.
    if (this.model.bti) {
      this.btype();
      this.insnPc();
      this.cameLo = this.outLo;
      this.cameHi = this.outHi;
    }
    this.restartAt();
    const stepping = (this.mode & Mode.STEP) !== 0;
    if (stepping) this.debug.step();
    if (this.illegal) throw this.fault(Ec.ILLEGAL_STATE, 0);
    let hi = V[PC + 1]!;
    const tag = hi >>> 24;
    if (tag !== 0 && tag !== 255) {
      // A branch to a tagged address clears the tag where tags are ignored (D8.8.1).
      const upper = (hi & 0x80_0000) !== 0;
      if (this.mmu.ignoresTag(upper, true)) {
        hi = upper ? hi | 0xff00_0000 : hi & 0xff_ffff;
        V[PC + 1] = hi;
        this.restartAt();
      }
    }
    if (V[PC]! & 3) {
      this.faultFarLo = V[PC]!;
      this.faultFarHi = hi;
      throw this.fault(Ec.PC_ALIGN, 0);
    }
    const pa = this.mmu.fetch(V[PC]!, hi);
    if (this.map.pageOffset(pa) < 0) throw this.abort(V[PC]!, hi, Fsc.EXTERNAL, true, false);
    if (stepping) {
      this.debug.breakpoint(V[PC]!, hi);
      this.stepWord = this.map.ramView.getInt32(this.map.pageOffset(pa) + (pa % 4096), true);
    }
    if (this.mmu.fetchGuarded || (this.mode & Mode.LANDING) !== 0) this.land(pa, single || stepping);
    return pa;
  }

  /** Instructions are aligned: none spans two pages. */
  fetchNextPage(): number {
    throw new Error('an A64 instruction does not span pages');
  }

  get fetchGlobal(): boolean {
    return this.mmu.fetchGlobal;
  }
  set fetchGlobal(on: boolean) {
    this.mmu.fetchGlobal = on;
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
  noteCodePage(ramOffset: number): void {
    this.mmu.noteCodePage(ramOffset);
  }
  flushTlb(): void {
    this.mmu.flushAll();
  }

  divide(signed: boolean, w: number, quot: number, _rem: number, lo: number, _hi: number, divisor: number): void {
    divide(this.V, signed, w, quot, lo, divisor);
  }

  segmentCheck(): void {
    throw new Error('no segments');
  }

  /** A CHKALIGN failed: exclusives and ordered accesses, whose base register is in bits 9..5. */
  alignmentFault(): never {
    const V = this.V;
    this.insnPc();
    const word = this.mmu.peekInsn(this.outLo, this.outHi);
    const n = (word >>> 5) & 31;
    const slot = n === 31 ? A.SP : A.X0 + n;
    // Loads have bit 22 set; the atomics that are neither plain loads nor stores count as writes.
    const atomic = (word & 0x3f20_0c00) === 0x3820_0000 || (word & 0x3fa0_7c00) === 0x08a0_7c00 || (word & 0xbfa0_7c00) === 0x0820_7c00;
    const write = atomic || (word & (1 << 22)) === 0;
    throw this.abort(V[slot * 2]!, V[slot * 2 + 1]!, Fsc.ALIGNMENT, false, write);
  }

  // ---- others -------------------------------------------------------------------------------------------------------------------

  describe(): string {
    const V = this.V;
    const at = (slot: number): string => hex(V[slot * 2 + 1]!, V[slot * 2]!);
    return `pc ${at(Slot.PC)} sp ${at(A.SP)} el${this.mode & Mode.EL1 ? 1 : 0} elr ${at(A.ELR_EL1)} esr ${at(A.ESR_EL1)} far ${at(A.FAR_EL1)} lr ${at(A.X30)}`;
  }
}

const hex = (hi: number, lo: number): string => `${(hi >>> 0).toString(16).padStart(8, '0')}${(lo >>> 0).toString(16).padStart(8, '0')}`;
