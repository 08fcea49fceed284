/**
 * Local APIC of one CPU: xAPIC, x2APIC and TSC-deadline timer.
 * Intel SDM volume 3A, chapter "Advanced Programmable Interrupt Controller (APIC)".
 * IPIs are delivered at once: the delivery status always reads idle. Remote read is not implemented (the APIC answers
 * "invalid"). The timer is in lapic-timer.ts.
 */
import type { InterruptSource } from '../../engine/cpu.js';
import type { Device, DeviceClock, IoHandler, IrqLine, SavedState } from '../device.js';
import { loadState, saveState } from '../saved.js';
import type { ApicBus, ApicTarget } from './apic-bus.js';
import { clearBit, highest, initialLapic, LAPIC_STATE, setBit, testBit, type LapicState } from './lapic-state.js';
import { LapicTimer, type TscSource } from './lapic-timer.js';
import {
  ApicBase,
  DeliveryMode,
  Esr,
  Icr,
  LAPIC_DIRECTED_EOI,
  LAPIC_VERSION,
  LapicReg,
  Lvt,
  LVT_WRITABLE,
  LvtBit,
  Msr,
  Shorthand,
  Svr,
} from './lapic.spec.js';

const VERSION = 1;
const DEFAULT_BASE = 0xfee00000;
/** Events for the CPU this APIC belongs to. */
export interface LapicCpu {
  /** pending() may have changed. */
  onIntrChange(): void;
  onNmi(): void;
  onInit(): void;
  onSipi(vector: number): void;
  onSmi(): void;
}

export interface LapicOptions {
  id: number;
  bsp: boolean;
  clock: DeviceClock;
  bus: ApicBus;
  cpu: LapicCpu;
  tsc: TscSource;
  /** The 8259A behind LINT0, for ExtINT; null where there is none. */
  extInt?: { acknowledge(): number } | null;
  /** LINT0 of the boot CPU starts as ExtINT, as firmware leaves it ("virtual wire"). Default true. */
  virtualWire?: boolean;
  /** Offer EOI broadcast suppression; needs an I/O APIC with an EOI register. Default false. */
  directedEoi?: boolean;
  /** x2APIC in CPUID, so that the mode can be entered. Default true. */
  x2apic?: boolean;
  /** Width of physical addresses, for the reserved bits of APIC_BASE. Default 52. */
  physBits?: number;
  /** The register page moved or went away (enabled: xAPIC mode). */
  onBaseChange?: (base: number, enabled: boolean) => void;
}

export class LocalApic implements Device, InterruptSource, ApicTarget {
  readonly name: string;
  readonly mmio: IoHandler = {
    read: (offset, size) => this.mmioRead(offset, size),
    write: (offset, size, value) => this.mmioWrite(offset, size, value),
  };
  /** Input pins. LINT0 is the 8259A's INT output, LINT1 is NMI. */
  readonly lint0: IrqLine = { set: (level) => this.setLint0(level) };
  readonly lint1: IrqLine = { set: (level) => this.setLint1(level) };

  /** Vectors (256 bits) that a hypervisor interface (Hyper-V's SynIC) ends by itself when they are delivered; null: none. Belongs to that interface. */
  autoEoi: Int32Array | null = null;

  private readonly version: number;
  private readonly virtualWire: boolean;
  private readonly x2apicAllowed: boolean;

  private readonly timer: LapicTimer;

  private s: LapicState;
  // Derived from s by sync(), never saved.
  private isrTop = -1;
  private irrTop = -1;
  private ready = false;
  private inError = false;
  /** A hypervisor has the state: what is here is out of date but for the pins. */
  private lent = false;
  /** While it is: LINT0 asks for an ExtINT here. */
  private lentExtInt = false;

  constructor(private readonly o: LapicOptions) {
    this.name = `lapic@${o.id}`;
    this.version = (LAPIC_VERSION | (o.directedEoi ? LAPIC_DIRECTED_EOI : 0)) >>> 0;
    this.virtualWire = o.bsp && o.virtualWire !== false;
    this.x2apicAllowed = o.x2apic !== false;
    this.timer = new LapicTimer(o.clock, o.tsc, () => {
      this.deliverLvt(Lvt.TIMER);
      this.sync();
    });
    this.s = this.initial((DEFAULT_BASE | ApicBase.EN | (o.bsp ? ApicBase.BSP : 0)) >>> 0, 0);
    this.timer.s = this.s.timer;
    o.bus.addLapic(this);
  }

  // ---- Device ----

  reset(): void {
    const { lint0, lint1 } = this.s;
    this.s = this.initial((DEFAULT_BASE | ApicBase.EN | (this.o.bsp ? ApicBase.BSP : 0)) >>> 0, 0);
    // The pins belong to other devices, which set them again if their own reset changes them.
    this.s.lint0 = lint0;
    this.s.lint1 = lint1;
    this.adoptTimer();
    this.baseChanged();
    this.sync();
  }

  private initial(baseLo: number, baseHi: number): LapicState {
    return initialLapic(this.o.id, this.virtualWire, baseLo, baseHi);
  }

  /** The effect of INIT on the APIC: all but base, mode and ID. */
  private init(): void {
    const old = this.s;
    this.s = this.initial(old.baseLo, old.baseHi);
    this.s.id = old.id;
    if (this.x2()) this.s.ldr = this.x2Ldr();
    this.s.lint0 = old.lint0;
    this.s.lint1 = old.lint1;
    this.adoptTimer();
    this.sync();
  }

  save(): SavedState {
    return saveState(LAPIC_STATE, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, LAPIC_STATE, VERSION, saved);
    this.adoptTimer();
    this.baseChanged();
    this.sync();
  }

  // ---- hypervisors with local APICs of their own ----

  /**
   * A hypervisor has the APIC from now on, in the state returned; ApicBus.remote says where messages go.
   * @param extInt the 8259A is not the hypervisor's: what it asks for at LINT0 is still delivered here
   */
  lend(extInt: boolean): LapicState {
    this.timer.stop();
    this.lent = true;
    this.lentExtInt = extInt;
    this.sync();
    return this.s;
  }

  /** It is here again, in that state but for the pins; null: whatever it was, it is of no use any more (a reset follows). */
  takeBack(s: LapicState | null): void {
    this.lent = false;
    if (s === null) return;
    s.lint0 = this.s.lint0;
    s.lint1 = this.s.lint1;
    this.s = s;
    this.adoptTimer();
    this.baseChanged();
    this.sync();
  }

  /** What the timer's current-count register reads. */
  get timerCount(): number {
    return this.timer.current();
  }

  // ---- InterruptSource ----

  pending(): boolean {
    return this.ready;
  }

  acknowledge(): number {
    const s = this.s;
    if (this.lent ? this.ready : this.extIntWaiting()) {
      s.extMessage = false;
      // The 8259A answers with its spurious vector if the request went away; so there always is one.
      const v = this.o.extInt ? this.o.extInt.acknowledge() : -1;
      this.sync();
      return v;
    }
    if (!this.ready) return -1;
    const v = this.irrTop;
    clearBit(s.irr, v);
    if (this.autoEoi === null || !testBit(this.autoEoi, v)) setBit(s.isr, v);
    this.sync();
    return v;
  }

  enabled(): boolean {
    return (this.s.baseLo & ApicBase.EN) !== 0;
  }

  sendTo(apicId: number, command: number): boolean {
    const mode: DeliveryMode = (command >> 8) & 7;
    // All ones would be everybody.
    if (apicId >= 0xffff_ffff || (mode !== DeliveryMode.FIXED && mode !== DeliveryMode.NMI)) return false;
    return this.o.bus.send(apicId, false, true, mode, command & 0xff, false);
  }

  getCr8(): number {
    return this.s.tpr >> 4;
  }

  setCr8(v: number): void {
    this.s.tpr = (v & 15) << 4;
    this.sync();
  }

  readMsr(msr: number, out: { lo: number; hi: number }): boolean {
    const s = this.s;
    out.hi = 0;
    if (msr === Msr.APIC_BASE) {
      out.lo = s.baseLo;
      out.hi = s.baseHi;
      return true;
    }
    if (msr === Msr.TSC_DEADLINE) {
      this.timer.readDeadline(out);
      return true;
    }
    if (msr < Msr.X2APIC_FIRST || msr > Msr.X2APIC_LAST || !this.x2()) return false;
    const reg = (msr - Msr.X2APIC_FIRST) << 4;
    switch (reg) {
      case LapicReg.EOI:
      case LapicReg.DFR:
      case LapicReg.APR:
      case LapicReg.REMOTE_READ:
      case LapicReg.ICR_HI:
      case LapicReg.SELF_IPI:
        return false;
      case LapicReg.ICR_LO:
        out.lo = s.icrLo;
        out.hi = s.icrHi;
        return true;
    }
    if (!isRegister(reg)) return false;
    out.lo = this.readReg(reg);
    return true;
  }

  writeMsr(msr: number, lo: number, hi: number): boolean {
    lo >>>= 0;
    hi >>>= 0;
    if (msr === Msr.APIC_BASE) return this.writeBase(lo, hi);
    if (msr === Msr.TSC_DEADLINE) {
      this.timer.writeDeadline(lo, hi);
      this.sync();
      return true;
    }
    if (msr < Msr.X2APIC_FIRST || msr > Msr.X2APIC_LAST || !this.x2()) return false;
    return this.writeX2((msr - Msr.X2APIC_FIRST) << 4, lo, hi);
  }

  /** The guest changed its TSC: the deadline is now nearer or farther. */
  tscChanged(): void {
    this.timer.tscChanged();
    this.sync();
  }

  /** A local interrupt of the CPU itself. */
  raiseThermal(): void {
    this.deliverLvt(Lvt.THERMAL);
    this.sync();
  }

  raisePerf(): void {
    // The perf entry masks itself when it fires: SDM, "Local Vector Table".
    const e = this.s.lvt[Lvt.PERF];
    this.deliverLvt(Lvt.PERF);
    this.s.lvt[Lvt.PERF] = e | LvtBit.MASKED;
    this.sync();
  }

  // ---- ApicTarget ----

  matches(dest: number, logical: boolean, wide: boolean): boolean {
    const s = this.s;
    if (!(s.baseLo & ApicBase.EN)) return false;
    const x2 = this.x2();
    if (wide ? dest === 0xffffffff : dest === 0xff) return true;
    if (!logical) return dest === s.id;
    if (x2) return dest >>> 16 === s.ldr >>> 16 && (dest & s.ldr & 0xffff) !== 0;
    if (dest > 0xff) return false;
    const mine = s.ldr >>> 24;
    if (s.dfr >>> 28 === 0xf) return (mine & dest) !== 0;
    if (s.dfr >>> 28 !== 0) return false;
    const cluster = dest >>> 4;
    return (cluster === 0xf || cluster === mine >>> 4) && (dest & mine & 0xf) !== 0;
  }

  arbitrationPriority(): number {
    if (!this.softwareEnabled()) return 256;
    return Math.max(this.s.tpr, this.isrTop, this.irrTop, 0);
  }

  accept(mode: DeliveryMode, vector: number, level: boolean): boolean {
    if (!(this.s.baseLo & ApicBase.EN)) return false;
    switch (mode) {
      case DeliveryMode.FIXED:
      case DeliveryMode.LOWEST:
        if (!this.softwareEnabled()) return false;
        this.acceptFixed(vector, level);
        this.sync();
        return true;
      case DeliveryMode.NMI:
        this.o.cpu.onNmi();
        return true;
      case DeliveryMode.SMI:
        this.o.cpu.onSmi();
        return true;
      case DeliveryMode.INIT:
        this.init();
        this.o.cpu.onInit();
        return true;
      case DeliveryMode.STARTUP:
        this.o.cpu.onSipi(vector);
        return true;
      case DeliveryMode.EXTINT:
        this.s.extMessage = true;
        this.sync();
        return true;
      default:
        return false;
    }
  }

  private acceptFixed(vector: number, level: boolean): void {
    const s = this.s;
    if (vector < 16) {
      this.error(Esr.RECEIVE_ILLEGAL_VECTOR);
      return;
    }
    setBit(s.irr, vector);
    if (level) setBit(s.tmr, vector);
    else clearBit(s.tmr, vector);
  }

  // ---- state helpers ----

  private x2(): boolean {
    return (this.s.baseLo & (ApicBase.EXTD | ApicBase.EN)) === (ApicBase.EXTD | ApicBase.EN);
  }

  private softwareEnabled(): boolean {
    return (this.s.svr & Svr.ENABLE) !== 0 && (this.s.baseLo & ApicBase.EN) !== 0;
  }

  private x2Ldr(): number {
    return (((this.o.id >>> 4) << 16) | (1 << (this.o.id & 15))) >>> 0;
  }

  private lvt(n: Lvt): number {
    return n === Lvt.TIMER ? this.s.timer.lvt : this.s.lvt[n];
  }

  /** The timer works on the part of the state that is its own. */
  private adoptTimer(): void {
    this.timer.s = this.s.timer;
    this.timer.arm();
  }

  private ppr(): number {
    const isr = this.isrTop < 0 ? 0 : this.isrTop & 0xf0;
    return this.s.tpr >> 4 >= isr >> 4 ? this.s.tpr : isr;
  }

  private extIntWaiting(): boolean {
    const s = this.s;
    if (s.extMessage) return true;
    if (!s.lint0) return false;
    if (!(s.baseLo & ApicBase.EN)) return true;
    return (s.lvt[Lvt.LINT0] & (LvtBit.MASKED | 0x700)) === DeliveryMode.EXTINT << 8;
  }

  /** Recomputes what the CPU is told from the state. */
  private sync(): void {
    if (this.lent) {
      const asked = this.ready;
      this.ready = this.lentExtInt && this.s.lint0;
      if (this.ready || asked) this.o.cpu.onIntrChange();
      return;
    }
    this.isrTop = highest(this.s.isr);
    this.irrTop = highest(this.s.irr);
    const before = this.ready;
    this.ready =
      this.extIntWaiting() ||
      ((this.s.baseLo & ApicBase.EN) !== 0 && this.irrTop >= 0 && this.irrTop >> 4 > this.ppr() >> 4);
    if (this.ready || before) this.o.cpu.onIntrChange();
  }

  private error(bit: Esr): void {
    this.s.newErrors |= bit;
    // The error interrupt may itself have an illegal vector.
    if (this.inError) return;
    this.inError = true;
    this.deliverLvt(Lvt.ERROR);
    this.inError = false;
  }

  private deliverLvt(n: Lvt): void {
    const e = this.lvt(n);
    if (e & LvtBit.MASKED || !(this.s.baseLo & ApicBase.EN)) return;
    const mode: DeliveryMode = n === Lvt.TIMER || n === Lvt.ERROR ? DeliveryMode.FIXED : (e >> 8) & 7;
    switch (mode) {
      case DeliveryMode.FIXED:
        if (this.softwareEnabled()) this.acceptFixed(e & 0xff, n === Lvt.LINT0 && (e & LvtBit.LEVEL) !== 0);
        break;
      case DeliveryMode.SMI:
        this.o.cpu.onSmi();
        break;
      case DeliveryMode.NMI:
        this.o.cpu.onNmi();
        break;
      case DeliveryMode.INIT:
        this.init();
        this.o.cpu.onInit();
        break;
    }
  }

  // ---- LINT pins ----

  private setLint0(level: boolean): void {
    const rose = level && !this.s.lint0;
    this.s.lint0 = level;
    if (this.lent) {
      this.sync();
      return;
    }
    const e = this.s.lvt[Lvt.LINT0];
    if ((e & 0x700) === 0 && e & LvtBit.LEVEL) this.serviceLint0();
    else if (rose && (e & 0x700) !== DeliveryMode.EXTINT << 8) this.deliverLvt(Lvt.LINT0);
    this.sync();
  }

  /** LINT0 as a level-triggered fixed interrupt: sent once until its EOI. */
  private serviceLint0(): void {
    const e = this.s.lvt[Lvt.LINT0];
    if (!this.s.lint0 || e & (LvtBit.MASKED | LvtBit.REMOTE_IRR | 0x700) || !(e & LvtBit.LEVEL)) return;
    if (!this.softwareEnabled()) return;
    this.s.lvt[Lvt.LINT0] = e | LvtBit.REMOTE_IRR;
    this.deliverLvt(Lvt.LINT0);
  }

  private setLint1(level: boolean): void {
    const rose = level && !this.s.lint1;
    this.s.lint1 = level;
    if (!rose) return;
    // Without a local APIC the pin is the CPU's NMI input.
    if (!(this.s.baseLo & ApicBase.EN)) this.o.cpu.onNmi();
    else this.deliverLvt(Lvt.LINT1);
    this.sync();
  }

  // ---- registers ----

  private mmioRead(offset: number, size: number): number {
    const byte = offset & 15;
    // Off, or in x2APIC mode, nothing answers at the address.
    if ((this.s.baseLo & (ApicBase.EN | ApicBase.EXTD)) !== ApicBase.EN) return size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff;
    if (byte > 3) return 0;
    const reg = offset & 0xff0;
    if (!isRegister(reg)) {
      this.error(Esr.ILLEGAL_REGISTER);
      this.sync();
      return 0;
    }
    const v = this.readReg(reg) >>> (8 * byte);
    return size === 4 ? v : v & (size === 2 ? 0xffff : 0xff);
  }

  private mmioWrite(offset: number, size: number, value: number): void {
    // Registers take aligned 32-bit writes only: SDM, "The Local APIC Block Diagram".
    if ((offset & 15) !== 0 || size !== 4) return;
    if ((this.s.baseLo & (ApicBase.EN | ApicBase.EXTD)) !== ApicBase.EN) return;
    const reg = offset & 0xff0;
    const s = this.s;
    switch (reg) {
      case LapicReg.ID:
        s.id = value >>> 24;
        break;
      case LapicReg.LDR:
        s.ldr = (value & 0xff000000) >>> 0;
        break;
      case LapicReg.DFR:
        s.dfr = (value | 0x0fffffff) >>> 0;
        break;
      case LapicReg.ICR_HI:
        s.icrHi = (value & 0xff000000) >>> 0;
        break;
      default:
        if (isRegister(reg)) this.writeReg(reg, value >>> 0);
        else this.error(Esr.ILLEGAL_REGISTER);
    }
    this.sync();
  }

  private writeX2(reg: number, lo: number, hi: number): boolean {
    const s = this.s;
    if (reg === LapicReg.ICR_LO) {
      if (lo & ~Icr.WRITABLE) return false;
      s.icrHi = hi;
      this.writeReg(reg, lo);
      this.sync();
      return true;
    }
    if (hi !== 0) return false;
    switch (reg) {
      case LapicReg.EOI:
      case LapicReg.ESR:
        if (lo !== 0) return false;
        break;
      case LapicReg.SELF_IPI:
        if (lo > 0xff) return false;
        this.selfIpi(lo);
        this.sync();
        return true;
      case LapicReg.TPR:
        if (lo > 0xff) return false;
        break;
      case LapicReg.SVR:
        if (lo & ~this.svrWritable()) return false;
        break;
      case LapicReg.TIMER_DIVIDE:
        if (lo & ~0xb) return false;
        break;
      case LapicReg.TIMER_INITIAL:
        break;
      default: {
        const n = lvtIndex(reg);
        if (n < 0 || lo & ~(LVT_WRITABLE[n] | 0x1000 | LvtBit.REMOTE_IRR)) return false;
      }
    }
    this.writeReg(reg, lo);
    this.sync();
    return true;
  }

  private svrWritable(): number {
    return 0x1ff | (this.o.directedEoi ? Svr.SUPPRESS_EOI_BROADCAST : 0);
  }

  private readReg(reg: number): number {
    const s = this.s;
    if (reg >= LapicReg.ISR && reg < LapicReg.ESR) {
      const set = reg < LapicReg.TMR ? s.isr : reg < LapicReg.IRR ? s.tmr : s.irr;
      return set[(reg >> 4) & 7] >>> 0;
    }
    switch (reg) {
      case LapicReg.ID:
        return this.x2() ? s.id : (s.id << 24) >>> 0;
      case LapicReg.VERSION:
        return this.version;
      case LapicReg.TPR:
        return s.tpr;
      case LapicReg.APR:
        return Math.max(s.tpr, this.isrTop, this.irrTop, 0);
      case LapicReg.PPR:
        return this.ppr();
      case LapicReg.LDR:
        return s.ldr;
      case LapicReg.DFR:
        return s.dfr;
      case LapicReg.SVR:
        return s.svr;
      case LapicReg.ESR:
        return s.esr;
      case LapicReg.ICR_LO:
        return s.icrLo;
      case LapicReg.ICR_HI:
        return s.icrHi;
      case LapicReg.TIMER_INITIAL:
        return this.timer.initial;
      case LapicReg.TIMER_CURRENT:
        return this.timer.current();
      case LapicReg.TIMER_DIVIDE:
        return this.timer.divide;
    }
    const n = lvtIndex(reg);
    return n < 0 ? 0 : this.lvt(n);
  }

  private writeReg(reg: number, v: number): void {
    const s = this.s;
    switch (reg) {
      case LapicReg.TPR:
        s.tpr = v & 0xff;
        return;
      case LapicReg.EOI:
        this.eoi();
        return;
      case LapicReg.SVR:
        s.svr = v & this.svrWritable();
        if (!(s.svr & Svr.ENABLE)) {
          for (let i = 0; i < Lvt.COUNT; i++) s.lvt[i] |= LvtBit.MASKED;
          this.timer.setLvt(s.timer.lvt | LvtBit.MASKED);
        }
        return;
      case LapicReg.ESR:
        s.esr = s.newErrors;
        s.newErrors = 0;
        return;
      case LapicReg.ICR_LO:
        s.icrLo = v & Icr.WRITABLE;
        this.sendIpi();
        return;
      case LapicReg.TIMER_INITIAL:
        this.timer.setInitial(v);
        return;
      case LapicReg.TIMER_DIVIDE:
        this.timer.setDivide(v);
        return;
    }
    const n = lvtIndex(reg);
    if (n >= 0) this.writeLvt(n, v);
  }

  private writeLvt(n: Lvt, value: number): void {
    const s = this.s;
    let v = (value & LVT_WRITABLE[n]) | (s.lvt[n] & LvtBit.REMOTE_IRR);
    if (!(s.svr & Svr.ENABLE)) v |= LvtBit.MASKED;
    if (n === Lvt.TIMER) {
      this.timer.setLvt(v & LVT_WRITABLE[n]);
      return;
    }
    if (n === Lvt.LINT0 && ((v & 0x700) !== 0 || !(v & LvtBit.LEVEL))) v &= ~LvtBit.REMOTE_IRR;
    s.lvt[n] = v;
    if (n === Lvt.LINT0) this.serviceLint0();
  }

  private eoi(): void {
    const s = this.s;
    const v = highest(s.isr);
    if (v < 0) return;
    clearBit(s.isr, v);
    this.sync();
    if (!testBit(s.tmr, v)) return;
    const e = s.lvt[Lvt.LINT0];
    if (e & LvtBit.REMOTE_IRR && (e & 0xff) === v) {
      s.lvt[Lvt.LINT0] = e & ~LvtBit.REMOTE_IRR;
      this.serviceLint0();
    }
    if (!(s.svr & Svr.SUPPRESS_EOI_BROADCAST)) this.o.bus.eoi(v);
  }

  // ---- IPIs ----

  private selfIpi(vector: number): void {
    if (vector < 16) this.error(Esr.SEND_ILLEGAL_VECTOR);
    else this.accept(DeliveryMode.FIXED, vector, false);
  }

  private sendIpi(): void {
    const s = this.s;
    const lo = s.icrLo;
    const vector = lo & 0xff;
    const mode: DeliveryMode = (lo >> 8) & 7;
    if (mode === DeliveryMode.REMOTE_READ || mode === DeliveryMode.EXTINT) return;
    // INIT level de-assert sets arbitration IDs of processors long gone.
    if (mode === DeliveryMode.INIT && lo & Icr.LEVEL && !(lo & Icr.ASSERT)) return;
    if (vector < 16 && (mode === DeliveryMode.FIXED || mode === DeliveryMode.LOWEST)) {
      this.error(Esr.SEND_ILLEGAL_VECTOR);
      return;
    }
    // Level-triggered IPIs are treated as edges, as by all processors since the Pentium 4.
    switch (((lo >> Icr.SHORTHAND_SHIFT) & 3) as Shorthand) {
      case Shorthand.SELF:
        if (mode === DeliveryMode.FIXED) this.accept(mode, vector, false);
        return;
      case Shorthand.ALL:
        this.o.bus.broadcast(null, mode, vector, false);
        return;
      case Shorthand.OTHERS:
        this.o.bus.broadcast(this, mode, vector, false);
        return;
      default: {
        const wide = this.x2();
        this.o.bus.send(wide ? s.icrHi : s.icrHi >>> 24, (lo & Icr.LOGICAL) !== 0, wide, mode, vector, false);
      }
    }
  }

  // ---- IA32_APIC_BASE ----

  private writeBase(lo: number, hi: number): boolean {
    const s = this.s;
    const reserved = 0x2ff | (this.x2apicAllowed ? 0 : ApicBase.EXTD);
    if (lo & reserved || hi >>> ((this.o.physBits ?? 52) - 32) !== 0) return false;
    const from = s.baseLo & (ApicBase.EN | ApicBase.EXTD);
    const to = lo & (ApicBase.EN | ApicBase.EXTD);
    if (to === ApicBase.EXTD) return false;
    if (from !== to) {
      // Legal: off -> xAPIC -> x2APIC -> off, xAPIC -> off. SDM, "x2APIC State Transitions".
      const both = ApicBase.EN | ApicBase.EXTD;
      if (from === both && to === ApicBase.EN) return false;
      if (from === 0 && to === both) return false;
    }
    if (from !== to && to === 0) {
      const { lint0, lint1 } = s;
      this.s = this.initial(lo, hi);
      this.s.lint0 = lint0;
      this.s.lint1 = lint1;
      this.adoptTimer();
    } else {
      s.baseLo = lo;
      s.baseHi = hi;
      if (from !== to && to & ApicBase.EXTD) {
        s.id = this.o.id;
        s.ldr = this.x2Ldr();
        s.icrHi = 0;
      }
    }
    this.baseChanged();
    this.sync();
    return true;
  }

  private baseChanged(): void {
    const s = this.s;
    const base = s.baseHi * 0x100000000 + ((s.baseLo & 0xfffff000) >>> 0);
    this.o.onBaseChange?.(base, (s.baseLo & (ApicBase.EN | ApicBase.EXTD)) === ApicBase.EN);
  }
}

/** LVT entry of a register offset, or -1. */
function lvtIndex(reg: number): number {
  return reg >= LapicReg.LVT_TIMER && reg <= LapicReg.LVT_ERROR ? (reg - LapicReg.LVT_TIMER) >> 4 : -1;
}

function isRegister(reg: number): boolean {
  if (reg >= LapicReg.ISR && reg <= LapicReg.ESR) return true;
  if (reg >= LapicReg.ICR_LO && reg <= LapicReg.TIMER_CURRENT) return true;
  if (reg >= LapicReg.TPR && reg <= LapicReg.SVR) return true;
  return reg === LapicReg.ID || reg === LapicReg.VERSION || reg === LapicReg.TIMER_DIVIDE;
}
