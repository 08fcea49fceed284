/** Control and status registers (vol. II, chapters 2, 3, 12; Sstc, Zicntr, Zihpm, Smepmp not; those of AIA in aia.ts, of Sdtrig in triggers.ts). */
import { dropTimeScale, NONE, Slot } from '../../state.js';
import type { RiscvCpu } from './cpu.js';
import { Cause, Csr, Env, Irq, Ms, Mode, Priv, S_IRQS, X } from './defs.js';
import { PMP_ENTRIES } from './pmp.js';

/** Registers that only hold bits: number, writable bits of the low and the high word. */
const PLAIN: readonly (readonly [Csr, number, number])[] = [
  [Csr.MSCRATCH, -1, -1], [Csr.SSCRATCH, -1, -1], [Csr.MEPC, -2, -1], [Csr.SEPC, -2, -1], [Csr.MCAUSE, -1, -1], [Csr.SCAUSE, -1, -1], [Csr.MTVAL, -1, -1],
  [Csr.STVAL, -1, -1], [Csr.MCOUNTEREN, 7, 0], [Csr.SCOUNTEREN, 7, 0], [Csr.MCOUNTINHIBIT, 5, 0],
  [Csr.SENVCFG, Env.FIOM | Env.CBIE | Env.CBCFE | Env.CBZE, 0], [Csr.MENVCFG, Env.FIOM | Env.CBIE | Env.CBCFE | Env.CBZE, Env.ADUE_HI | Env.PBMTE_HI | Env.STCE_HI],
];
const PLAIN_AT = new Int8Array(4096).fill(-1);
PLAIN.forEach(([n], i) => (PLAIN_AT[n] = i));

const HAS_EFFECT: ReadonlySet<number> = new Set([Csr.MENVCFG, Csr.MCOUNTINHIBIT, Csr.MCOUNTEREN, Csr.SCOUNTEREN]);

/** State slot of a register that only holds bits and whose writing has no effect beyond that, NONE for others. */
export function plainSlot(n: number): number {
  const p = PLAIN_AT[n]!;
  return p < 0 || HAS_EFFECT.has(n) ? NONE : X.CSR + p;
}
/** Writable bits of such a register: low word, high word. */
export function plainMask(n: number): readonly [number, number] {
  const [, lo, hi] = PLAIN[PLAIN_AT[n]!]!;
  return [lo, hi];
}

/** Exceptions that may be delegated: all but ECALL from M, and the reserved ones. */
const MEDELEG = 0xb3ff;
const MSTATUS = Ms.SIE | Ms.MIE | Ms.SPIE | Ms.MPIE | Ms.SPP | Ms.FS | Ms.MPRV | Ms.SUM | Ms.MXR | Ms.TVM | Ms.TW | Ms.TSR;
/** sstatus: those of mstatus' bits that it has. */
export const SSTATUS = Ms.SIE | Ms.SPIE | Ms.SPP | Ms.FS | Ms.SUM | Ms.MXR;
/** SXL and UXL: 64 bits. */
const MSTATUS_HI = 0xa;
export const SSTATUS_HI = 0x2;
export const SD_HI = 0x8000_0000 | 0;
/** RV64 with A C D F I M S U. */
const MISA_LO = (1 << 0) | (1 << 2) | (1 << 3) | (1 << 5) | (1 << 8) | (1 << 12) | (1 << 18) | (1 << 20);
const MISA_HI = 0x8000_0000 | 0;
const MISA_V = 1 << 21;
const HPM = 29;
/** mcountinhibit. */
export const INHIBIT_IR = 4;

export class Csrs {
  /** Result of `read`. */
  lo = 0;
  hi = 0;
  mie = 0;
  /** Bits of mip that software sets: SSIP, SEIP (with mvien bit 9 it is mvip's alone), and STIP without Sstc. */
  soft = 0;
  /** Smaia: interrupts that M-mode passes on itself, bits of SSI and SEI. */
  mvien = 0;
  /** Bits of sie that mie does not have: interrupts that come by mvien. */
  private virtualEnable = 0;
  /** SSIP of mvip, while mvien bit 1 makes it one of its own. */
  private virtualSsip = 0;
  private delegated = 0;
  mideleg = 0;
  satpLo = 0;
  satpHi = 0;
  mtvecLo = 0;
  mtvecHi = 0;
  frm = 0;
  stimecmpLo = -1;
  stimecmpHi = -1;
  /** What was added to the counters by writing them (ticks). */
  private cycleOffset = 0;
  /** Somebody has asked for the number of instructions: from now on they are counted. */
  counting = false;

  /** mstatus.VS, if there are vectors. */
  private readonly vs: number;
  private readonly V: Int32Array;

  constructor(private readonly cpu: RiscvCpu) {
    this.V = cpu.V;
    this.vs = cpu.vector === null ? 0 : Ms.VS;
  }

  get mstatus(): number {
    return this.V[X.MSTATUS * 2]!;
  }
  set mstatus(v: number) {
    this.V[X.MSTATUS * 2] = v;
    if ((v & Ms.TSR) !== 0 !== this.trapsSret) this.updateSlow();
  }
  get medeleg(): number {
    return this.delegated;
  }
  set medeleg(v: number) {
    this.delegated = v;
    this.updateSlow();
  }
  get stvecLo(): number {
    return this.V[X.STVEC * 2]!;
  }
  get stvecHi(): number {
    return this.V[X.STVEC * 2 + 1]!;
  }

  private trapsSret = false;
  /** Slot SLOW_TRAP anew. */
  updateSlow(): void {
    this.trapsSret = (this.mstatus & Ms.TSR) !== 0;
    this.V[X.SLOW_TRAP * 2] = (this.delegated >>> Cause.ECALL_U) & 1 && !this.trapsSret && this.cpu.trace === null && !this.cpu.triggers.armed ? 0 : 1;
  }

  reset(): void {
    this.mstatus = 0;
    this.mvien = this.virtualEnable = this.virtualSsip = 0;
    this.mie = this.soft = this.medeleg = this.mideleg = this.satpLo = this.satpHi = 0;
    this.mtvecLo = this.mtvecHi = this.frm = 0;
    this.V.fill(0, X.STVEC * 2, (X.CSR + PLAIN.length) * 2);
    this.stimecmpLo = this.stimecmpHi = -1;
    // Accessed and dirty bits are updated by hardware, as the device tree says (Svadu).
    this.setPlain(Csr.MENVCFG, 0, Env.ADUE_HI);
    this.cycleOffset = 0;
    this.counting = false;
  }

  /** Word of a plain register. */
  plain(n: Csr): number {
    return this.V[(X.CSR + PLAIN_AT[n]!) * 2]!;
  }
  plainHigh(n: Csr): number {
    return this.V[(X.CSR + PLAIN_AT[n]!) * 2 + 1]!;
  }
  setPlain(n: Csr, lo: number, hi: number): void {
    const at = (X.CSR + PLAIN_AT[n]!) * 2;
    this.V[at] = lo;
    this.V[at + 1] = hi;
  }

  get adue(): boolean {
    return (this.plainHigh(Csr.MENVCFG) & Env.ADUE_HI) !== 0;
  }
  get pbmte(): boolean {
    return (this.plainHigh(Csr.MENVCFG) & Env.PBMTE_HI) !== 0;
  }
  get stce(): boolean {
    return (this.plainHigh(Csr.MENVCFG) & Env.STCE_HI) !== 0;
  }

  /** Pending interrupts. */
  mip(): number {
    let v = (this.soft & ~(this.mvien & Irq.SEI)) | this.cpu.lines;
    if (this.stce) v = (v & ~Irq.STI) | (this.cpu.timeReached(this.stimecmpLo, this.stimecmpHi) ? Irq.STI : 0);
    return v;
  }

  /** mvip (AIA 4.4). */
  mvip(): number {
    const own = this.mvien & Irq.SSI;
    return (this.soft & (Irq.SEI | (own ? 0 : Irq.SSI) | (this.stce ? 0 : Irq.STI))) | (own & this.virtualSsip);
  }

  writeMvip(v: number): void {
    const own = this.mvien & Irq.SSI;
    const mask = Irq.SEI | (own ? 0 : Irq.SSI) | (this.stce ? 0 : Irq.STI);
    this.soft = (this.soft & ~mask) | (v & mask);
    if (own) this.virtualSsip = v & Irq.SSI;
  }

  /** Interrupts that come to S-mode by mvien. */
  private get virtual(): number {
    return this.mvien & ~this.mideleg;
  }

  /** sip. */
  private sip(): number {
    return (this.mip() & this.mideleg) | (this.mvien === 0 ? 0 : this.mvip() & this.virtual);
  }

  /** Pending and enabled for M-mode. */
  machinePending(): number {
    return this.mip() & this.mie & ~this.mideleg;
  }

  /** Pending and enabled for S-mode. */
  supervisorPending(): number {
    return (this.mip() & this.mie & this.mideleg) | (this.mvien === 0 ? 0 : this.mvip() & this.virtual & this.virtualEnable);
  }

  private set(lo: number, hi: number): boolean {
    this.lo = lo;
    this.hi = hi;
    return true;
  }

  private setNumber(v: number): boolean {
    return this.set(v % 2 ** 32 | 0, Math.floor(v / 2 ** 32) | 0);
  }

  /** @returns false if the access is illegal at the present privilege. */
  private permitted(n: number, write: boolean): boolean {
    const { priv } = this.cpu;
    if (priv < ((n >>> 8) & 3) || (write && n >>> 10 === 3)) return false;
    if (n <= Csr.FCSR) return (this.mstatus & Ms.FS) !== 0;
    if (n <= Csr.VCSR || (n >= Csr.VL && n <= Csr.VLENB)) return n !== Csr.SEED && (this.mstatus & this.vs) !== 0;
    if (n === Csr.SATP) return priv !== Priv.S || !(this.mstatus & Ms.TVM);
    if (n === Csr.STIMECMP) return priv === Priv.M || (this.stce && (this.plain(Csr.MCOUNTEREN) & 2) !== 0);
    if (n >= Csr.CYCLE && n <= Csr.HPMCOUNTER31) {
      const bit = 1 << (n & 31);
      return priv === Priv.M || ((this.plain(Csr.MCOUNTEREN) & bit) !== 0 && (priv === Priv.S || (this.plain(Csr.SCOUNTEREN) & bit) !== 0));
    }
    return true;
  }

  /** Reads a CSR to lo, hi. @returns false if that is illegal. `write`: it is going to be written as well. */
  read(n: number, write: boolean): boolean {
    return this.permitted(n, write) && this.peek(n);
  }

  /** Reads a CSR to lo, hi whatever the privilege is, as `read`. */
  peek(n: number): boolean {
    const p = PLAIN_AT[n]!;
    if (p >= 0) return this.set(this.plain(n as Csr), this.plainHigh(n as Csr));
    const dirty = (this.mstatus & Ms.FS) === Ms.FS || (this.mstatus & Ms.VS) === Ms.VS ? SD_HI : 0;
    switch (n as Csr) {
      case Csr.FFLAGS: return this.set(this.cpu.fflags, 0);
      case Csr.FRM: return this.set(this.frm, 0);
      case Csr.FCSR: return this.set(this.cpu.fflags | (this.frm << 5), 0);
      case Csr.MSTATUS: return this.set(this.mstatus, MSTATUS_HI | dirty);
      case Csr.SSTATUS: return this.set(this.mstatus & (SSTATUS | this.vs), SSTATUS_HI | dirty);
      case Csr.MISA: return this.set(MISA_LO | (this.vs === 0 ? 0 : MISA_V), MISA_HI);
      case Csr.MEDELEG: return this.set(this.medeleg, 0);
      case Csr.MIDELEG: return this.set(this.mideleg, 0);
      case Csr.MIE: return this.set(this.mie, 0);
      case Csr.SIE: return this.set((this.mie & this.mideleg) | (this.virtualEnable & this.virtual), 0);
      case Csr.MIP: return this.set(this.mip(), 0);
      case Csr.SIP: return this.set(this.sip(), 0);
      case Csr.MTVEC: return this.set(this.mtvecLo, this.mtvecHi);
      case Csr.STVEC: return this.set(this.stvecLo, this.stvecHi);
      case Csr.SATP: return this.set(this.satpLo, this.satpHi);
      case Csr.STIMECMP: return this.set(this.stimecmpLo, this.stimecmpHi);
      case Csr.TIME: return this.setNumber(this.cpu.time());
      case Csr.CYCLE: case Csr.MCYCLE: return this.setNumber(this.cpu.cycles() + this.cycleOffset);
      case Csr.INSTRET: case Csr.MINSTRET: return this.readInstret();
      case Csr.MHARTID: return this.set(this.cpu.index, 0);
      case Csr.MVENDORID: case Csr.MARCHID: case Csr.MIMPID: case Csr.MCONFIGPTR: return this.set(0, 0);
      case Csr.SEED: return false;
      default: return this.readRange(n);
    }
  }

  private readRange(n: number): boolean {
    if ((n >= Csr.VSTART && n <= Csr.VCSR) || (n >= Csr.VL && n <= Csr.VLENB)) return this.cpu.vector !== null && this.cpu.vector.read(n) && this.set(this.cpu.vector.lo, this.cpu.vector.hi);
    if (n >= Csr.PMPCFG0 && n <= Csr.PMPCFG15) {
      if (n & 1) return false;
      const { cfg } = this.cpu.mmu.pmp;
      const at = (n - Csr.PMPCFG0) * 4;
      const word = (i: number): number => (i >= PMP_ENTRIES ? 0 : cfg[i]! | (cfg[i + 1]! << 8) | (cfg[i + 2]! << 16) | (cfg[i + 3]! << 24));
      return this.set(word(at), word(at + 4));
    }
    if (n >= Csr.PMPADDR0 && n <= Csr.PMPADDR63) {
      const i = n - Csr.PMPADDR0;
      const { pmp } = this.cpu.mmu;
      return i < PMP_ENTRIES ? this.set(pmp.addrLo[i]!, pmp.addrHi[i]!) : this.set(0, 0);
    }
    // Performance counters that count nothing.
    if ((n >= Csr.MHPMEVENT3 && n <= Csr.MHPMEVENT31) || (n >= Csr.MHPMCOUNTER3 && n <= Csr.MHPMCOUNTER31)) return this.set(0, 0);
    if (n >= Csr.HPMCOUNTER3 && n < Csr.HPMCOUNTER3 + HPM) return this.set(0, 0);
    const { aia, triggers } = this.cpu;
    if (triggers.read(n)) return this.set(triggers.lo, triggers.hi);
    return aia !== null && aia.read(n) && this.set(aia.lo, aia.hi);
  }

  /** Writes a CSR that `read` has allowed. */
  write(n: number, lo: number, hi: number): void {
    const p = PLAIN_AT[n]!;
    if (p >= 0) {
      this.writePlain(n, p, lo, hi);
      return;
    }
    switch (n as Csr) {
      case Csr.FFLAGS:
        this.cpu.fflags = lo & 31;
        this.dirtyFp();
        break;
      case Csr.FRM:
        this.setFrm(lo & 7);
        break;
      case Csr.FCSR:
        this.cpu.fflags = lo & 31;
        this.setFrm((lo >>> 5) & 7);
        break;
      case Csr.MSTATUS:
        this.writeStatus(lo, MSTATUS | this.vs, true);
        break;
      case Csr.SSTATUS:
        this.writeStatus(lo, SSTATUS | this.vs, false);
        break;
      case Csr.MEDELEG:
        this.medeleg = lo & MEDELEG;
        break;
      case Csr.MIDELEG:
        this.mideleg = lo & S_IRQS;
        break;
      case Csr.MIE:
        this.mie = lo & (S_IRQS | Irq.MSI | Irq.MTI | Irq.MEI);
        break;
      case Csr.SIE:
        this.mie = (this.mie & ~this.mideleg) | (lo & this.mideleg);
        this.virtualEnable = lo & this.virtual;
        break;
      case Csr.MIP: {
        const mask = Irq.SSI | (Irq.SEI & ~this.mvien) | (this.stce ? 0 : Irq.STI);
        this.soft = (this.soft & ~mask) | (lo & mask);
        break;
      }
      case Csr.SIP:
        this.soft = (this.soft & ~(Irq.SSI & this.mideleg)) | (lo & Irq.SSI & this.mideleg);
        if (this.virtual & Irq.SSI) this.virtualSsip = lo & Irq.SSI;
        break;
      case Csr.MTVEC:
        if (!(lo & 2)) this.mtvecLo = lo;
        this.mtvecHi = hi;
        break;
      case Csr.STVEC:
        if (!(lo & 2)) this.V[X.STVEC * 2] = lo;
        this.V[X.STVEC * 2 + 1] = hi;
        break;
      case Csr.SATP:
        this.writeSatp(lo, hi);
        break;
      case Csr.STIMECMP:
        this.stimecmpLo = lo;
        this.stimecmpHi = hi;
        this.cpu.armTimer();
        break;
      case Csr.MCYCLE:
        this.cycleOffset += (hi >>> 0) * 2 ** 32 + (lo >>> 0) - (this.cpu.cycles() + this.cycleOffset);
        break;
      case Csr.MINSTRET:
        this.writeInstret(lo, hi);
        break;
      case Csr.VSTART: case Csr.VXSAT: case Csr.VXRM: case Csr.VCSR:
        this.cpu.vector!.write(n, lo);
        break;
      default:
        if (!this.cpu.triggers.write(n, lo, hi) && this.cpu.aia?.write(n, lo, hi) !== true) this.writePmp(n, lo, hi);
        break;
    }
    this.cpu.updateIntr();
  }

  /** Counting costs time, so it begins with the first access; what the counter then holds is as good as any (vol. II, 3.1.10). */
  private startCounting(): void {
    if (this.counting) return;
    this.counting = true;
    this.cpu.updateMode();
  }

  private readInstret(): boolean {
    this.startCounting();
    const { V } = this.cpu;
    return this.set(V[X.INSTRET * 2]!, V[X.INSTRET * 2 + 1]!);
  }

  /** The instruction that writes the counter does not change it: it is counted once more after this. */
  private writeInstret(lo: number, hi: number): void {
    this.startCounting();
    const { V } = this.cpu;
    const own = this.plain(Csr.MCOUNTINHIBIT) & INHIBIT_IR ? 0 : 1;
    V[X.INSTRET * 2] = (lo - own) | 0;
    V[X.INSTRET * 2 + 1] = lo === 0 && own === 1 ? (hi - 1) | 0 : hi;
  }

  private writePlain(n: number, p: number, lo: number, hi: number): void {
    const [, maskLo, maskHi] = PLAIN[p]!;
    this.setPlain(n as Csr, lo & maskLo, hi & maskHi);
    if (n === Csr.MENVCFG) {
      // Entries may mean something else now.
      this.cpu.mmu.flushAll();
      this.cpu.armTimer();
      this.cpu.updateIntr();
    } else if (n === Csr.MCOUNTEREN || n === Csr.SCOUNTEREN) {
      dropTimeScale(this.V);
    } else if (n === Csr.MCOUNTINHIBIT) {
      this.cpu.updateMode();
    }
  }

  private writePmp(n: number, lo: number, hi: number): void {
    const { pmp } = this.cpu.mmu;
    if (n >= Csr.PMPCFG0 && n <= Csr.PMPCFG15) {
      const at = (n - Csr.PMPCFG0) * 4;
      for (let i = 0; i < 8; i++) pmp.setCfg(at + i, ((i < 4 ? lo : hi) >>> ((i & 3) * 8)) & 0xff);
    } else if (n >= Csr.PMPADDR0 && n <= Csr.PMPADDR63) {
      pmp.setAddr(n - Csr.PMPADDR0, lo, hi);
    } else {
      return;
    }
    this.cpu.mmu.flushAll();
  }

  private dirtyFp(): void {
    this.mstatus |= Ms.FS;
    this.cpu.updateMode();
  }

  private setFrm(v: number): void {
    this.frm = v;
    // MXCSR.RC has the same modes in another order.
    const rc = v === 1 ? 3 : v === 2 ? 1 : v === 3 ? 2 : 0;
    const V = this.cpu.V;
    V[Slot.MXCSR * 2] = (V[Slot.MXCSR * 2]! & ~0x6000) | (rc << 13);
    this.dirtyFp();
  }

  private writeStatus(lo: number, mask: number, machine: boolean): void {
    const old = this.mstatus;
    let v = (old & ~mask) | (lo & mask);
    if (machine) {
      const mpp = (lo & Ms.MPP) >>> Ms.MPP_SHIFT;
      // There is no privilege 2: the field keeps its value.
      if (mpp !== 2) v = (v & ~Ms.MPP) | (mpp << Ms.MPP_SHIFT);
    }
    this.mstatus = v;
    if ((old ^ v) & Ms.MXR) this.cpu.mmu.flushAll();
    this.cpu.updateMode();
  }

  private writeSatp(lo: number, hi: number): void {
    const mode = hi >>> 28;
    // A mode that is not supported makes the write have no effect (vol. II, 12.1.11).
    if (mode !== 0 && mode !== 8 && mode !== 9 && mode !== 10) return;
    if (lo === this.satpLo && hi === this.satpHi) return;
    const modeChanged = mode !== this.satpHi >>> 28;
    this.satpLo = lo;
    this.satpHi = hi;
    this.cpu.mmu.configure(lo, hi);
    // The TLB has no address space identifiers.
    if (modeChanged) this.cpu.mmu.flushAll();
    else this.cpu.mmu.flushNonGlobal();
  }
}

/** True if rounding by frm cannot be left to the host. */
export const slowFrm = (frm: number): number => (frm >= 4 ? Mode.SLOW_FRM : 0);
