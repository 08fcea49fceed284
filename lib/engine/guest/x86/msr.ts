/** Model-specific registers (SDM vol. 4; AMD APM vol. 2, appendix A). Unknown numbers raise #GP(0). */
import { dropTimeScale } from '../../state.js';
import { Msr, Vec, canonical } from './defs.js';
import { X } from './mode.js';
import type { X86Cpu } from './cpu.js';

const HWCR = 0xc001_0015 | 0;
/** The TSC counts at the P0 frequency. */
const HWCR_TSC_FREQ_SEL = 1 << 24;
/** Registers that are stored and read back without any effect: AMD system configuration and MTRRs. */
const STORED: readonly number[] = [
  Msr.MISC_ENABLE, Msr.MCG_STATUS, Msr.MTRR_DEF_TYPE,
  0xc001_0010 | 0, HWCR, 0xc001_001f | 0, 0xc001_0055 | 0, 0xc001_0058 | 0, 0xc001_0140 | 0, 0xc001_0141 | 0,
  0xc001_1020 | 0, 0xc001_1022 | 0, 0xc001_1023 | 0, 0xc001_1029 | 0, 0xc001_102a | 0,
];

/**
 * Performance counters that do not count: read as zero, writes are ignored, as under a hypervisor without a virtual PMU.
 * A guest that writes and reads back finds out. AMD: four legacy event selectors and counters (APM vol. 2, 13.2.1).
 */
function idleCounter(msr: number): boolean {
  return msr >= (0xc001_0000 | 0) && msr <= (0xc001_0007 | 0);
}

/** Sink for MSRs that another part of the machine owns (kvm-clock). Returns false if the MSR is not his. */
export interface ParavirtMsrs {
  readMsr(msr: number, out: { lo: number; hi: number }): boolean;
  writeMsr(msr: number, lo: number, hi: number): boolean;
  reset?(): void;
}

export class Msrs {
  private readonly star = new Int32Array(2);
  cstarLo = 0;
  cstarHi = 0;
  sysenterCs = 0;
  sysenterEspLo = 0;
  sysenterEspHi = 0;
  sysenterEipLo = 0;
  sysenterEipHi = 0;
  /** Added to the clock: 64 bits. */
  tscOffLo = 0;
  tscOffHi = 0;
  private adjustLo = 0;
  private adjustHi = 0;
  private patLo = 0x0007_0406;
  private patHi = 0x0007_0406;
  private specCtrl = 0;
  private readonly stored = new Map<number, { lo: number; hi: number }>();
  private readonly out = { lo: 0, hi: 0 };
  paravirt: ParavirtMsrs | null = null;

  constructor(private readonly cpu: X86Cpu) {
    this.reset();
  }

  reset(): void {
    for (const m of STORED) this.stored.set(m, { lo: m === Msr.MISC_ENABLE ? 1 : m === HWCR ? HWCR_TSC_FREQ_SEL : 0, hi: 0 });
    for (let m = 0x200; m < 0x210; m++) this.stored.set(m, { lo: 0, hi: 0 });
    for (const m of [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f]) this.stored.set(m, { lo: 0, hi: 0 });
    this.starLo = this.starHi = this.lstarLo = this.lstarHi = this.cstarLo = this.cstarHi = this.fmask = 0;
    this.kernelGsLo = this.kernelGsHi = this.tscAux = this.specCtrl = 0;
    this.sysenterCs = this.sysenterEspLo = this.sysenterEspHi = this.sysenterEipLo = this.sysenterEipHi = 0;
    this.patLo = this.patHi = 0x0007_0406;
    this.tscOffLo = this.tscOffHi = this.adjustLo = this.adjustHi = 0;
    dropTimeScale(this.cpu.V);
    this.cpu.answers.forget();
  }

  // What generated code uses lies in slots.
  get lstarLo(): number {
    return this.cpu.V[X.LSTAR * 2]!;
  }
  set lstarLo(v: number) {
    this.cpu.V[X.LSTAR * 2] = v;
  }
  get lstarHi(): number {
    return this.cpu.V[X.LSTAR * 2 + 1]!;
  }
  set lstarHi(v: number) {
    this.cpu.V[X.LSTAR * 2 + 1] = v;
  }
  get kernelGsLo(): number {
    return this.cpu.V[X.KGSBASE * 2]!;
  }
  set kernelGsLo(v: number) {
    this.cpu.V[X.KGSBASE * 2] = v;
  }
  get kernelGsHi(): number {
    return this.cpu.V[X.KGSBASE * 2 + 1]!;
  }
  set kernelGsHi(v: number) {
    this.cpu.V[X.KGSBASE * 2 + 1] = v;
  }
  get tscAux(): number {
    return this.cpu.V[X.TSC_AUX * 2]!;
  }
  set tscAux(v: number) {
    this.cpu.V[X.TSC_AUX * 2] = v;
  }
  get fmask(): number {
    return ~this.cpu.V[X.NFMASK * 2]!;
  }
  set fmask(v: number) {
    this.cpu.V[X.NFMASK * 2] = ~v;
  }
  get starLo(): number {
    return this.star[0]!;
  }
  set starLo(v: number) {
    this.star[0] = v;
  }
  get starHi(): number {
    return this.star[1]!;
  }
  /** The selectors that follow from it are kept with it. */
  set starHi(v: number) {
    const { V } = this.cpu;
    this.star[1] = v;
    const kernel = v & 0xfffc;
    const user = v >>> 16;
    V[X.SYSCALL_SEL * 2] = kernel;
    V[X.SYSCALL_SEL * 2 + 1] = (kernel + 8) & 0xffff;
    V[X.SYSRET_SEL * 2] = ((user + 16) | 3) & 0xffff;
    V[X.SYSRET_SEL * 2 + 1] = ((user + 8) | 3) & 0xffff;
  }

  /** Time-stamp counter to cpu.outLo, cpu.outHi. */
  tsc(): void {
    const { cpu } = this;
    const t = Math.floor(cpu.ticks());
    const lo = (t | 0) + this.tscOffLo;
    cpu.outLo = lo | 0;
    cpu.outHi = (Math.floor(t / 4294967296) + this.tscOffHi + ((lo >>> 0) < (t >>> 0) ? 1 : 0)) | 0;
  }

  private setTsc(lo: number, hi: number): void {
    const { cpu } = this;
    this.tsc();
    const dLo = (lo - cpu.outLo) | 0;
    const dHi = (hi - cpu.outHi - ((lo >>> 0) < (cpu.outLo >>> 0) ? 1 : 0)) | 0;
    this.shiftTsc(dLo, dHi);
  }

  /** Moves the counter and TSC_ADJUST by a signed 64-bit amount (SDM vol. 3, 17.17.3). */
  private shiftTsc(dLo: number, dHi: number): void {
    if (this.cpu.tscFixed) return;
    const o = (this.tscOffLo + dLo) | 0;
    this.tscOffHi = (this.tscOffHi + dHi + ((o >>> 0) < (dLo >>> 0) ? 1 : 0)) | 0;
    this.tscOffLo = o;
    dropTimeScale(this.cpu.V);
    const a = (this.adjustLo + dLo) | 0;
    this.adjustHi = (this.adjustHi + dHi + ((a >>> 0) < (dLo >>> 0) ? 1 : 0)) | 0;
    this.adjustLo = a;
  }

  private gp(): never {
    throw this.cpu.fault(Vec.GP, 0);
  }

  private ours(msr: number): boolean {
    // Interrupt controller: APIC_BASE, TSC_DEADLINE, x2APIC.
    return msr === Msr.APIC_BASE || msr === Msr.TSC_DEADLINE || (msr >= 0x800 && msr <= 0x8ff);
  }

  /** RDMSR: result in cpu.outLo, cpu.outHi. @returns true if it will be the same until the next WRMSR, or until all translations are dropped */
  read(msr: number): boolean {
    const { cpu } = this;
    const V = cpu.V;
    msr |= 0;
    let lo = 0;
    let hi = 0;
    if (this.ours(msr)) {
      if (!cpu.intc.readMsr(msr, this.out)) this.gp();
      cpu.outLo = this.out.lo | 0;
      cpu.outHi = this.out.hi | 0;
      return msr === Msr.APIC_BASE;
    }
    let steady = true;
    switch (msr) {
      case Msr.TSC:
        this.tsc();
        return false;
      case Msr.TSC_ADJUST:
        lo = this.adjustLo;
        hi = this.adjustHi;
        break;
      case Msr.SPEC_CTRL:
        if (!cpu.model.features.has('spec_ctrl')) this.gp();
        lo = this.specCtrl;
        break;
      case Msr.PATCH_LEVEL:
        lo = 0x0100_0065;
        break;
      case Msr.MTRRCAP:
        // Eight variable ranges, fixed ranges, write combining.
        lo = 0x508;
        break;
      case Msr.SYSENTER_CS:
        lo = this.sysenterCs;
        break;
      case Msr.SYSENTER_ESP:
        lo = this.sysenterEspLo;
        hi = this.sysenterEspHi;
        break;
      case Msr.SYSENTER_EIP:
        lo = this.sysenterEipLo;
        hi = this.sysenterEipHi;
        break;
      case Msr.MCG_CAP:
      case Msr.XSS:
        break;
      case Msr.PAT:
        lo = this.patLo;
        hi = this.patHi;
        break;
      case Msr.EFER:
        lo = cpu.efer;
        break;
      case Msr.STAR:
        lo = this.starLo;
        hi = this.starHi;
        break;
      case Msr.LSTAR:
        lo = this.lstarLo;
        hi = this.lstarHi;
        break;
      case Msr.CSTAR:
        lo = this.cstarLo;
        hi = this.cstarHi;
        break;
      case Msr.FMASK:
        lo = this.fmask;
        break;
      case Msr.FS_BASE:
        lo = V[X.FSBASE * 2]!;
        hi = V[X.FSBASE * 2 + 1]!;
        steady = false;
        break;
      case Msr.GS_BASE:
        lo = V[X.GSBASE * 2]!;
        hi = V[X.GSBASE * 2 + 1]!;
        steady = false;
        break;
      case Msr.KERNEL_GS_BASE:
        lo = this.kernelGsLo;
        hi = this.kernelGsHi;
        steady = false;
        break;
      case Msr.TSC_AUX:
        lo = this.tscAux;
        break;
      default: {
        const s = this.stored.get(msr);
        if (s) {
          lo = s.lo;
          hi = s.hi;
        } else if (this.paravirt?.readMsr(msr, this.out)) {
          lo = this.out.lo | 0;
          hi = this.out.hi | 0;
          steady = false;
        } else if (!idleCounter(msr)) this.gp();
      }
    }
    cpu.outLo = lo;
    cpu.outHi = hi;
    return steady;
  }

  private needCanonical(hi: number): void {
    if (!canonical(hi, this.cpu.model.linearBits)) this.gp();
  }

  write(msr: number, lo: number, hi: number): void {
    const { cpu } = this;
    msr |= 0;
    if (msr === Msr.APIC_BASE) cpu.answers.forget();
    else cpu.answers.forgetMsrs();
    if (this.ours(msr)) {
      if (!cpu.intc.writeMsr(msr, lo, hi)) this.gp();
      cpu.updateIntr();
      return;
    }
    switch (msr) {
      case Msr.TSC:
        this.setTsc(lo, hi);
        return;
      case Msr.TSC_ADJUST: {
        const dLo = (lo - this.adjustLo) | 0;
        this.shiftTsc(dLo, (hi - this.adjustHi - ((lo >>> 0) < (this.adjustLo >>> 0) ? 1 : 0)) | 0);
        return;
      }
      case Msr.SPEC_CTRL:
        if (!cpu.model.features.has('spec_ctrl') || hi || lo & ~7) this.gp();
        this.specCtrl = lo;
        return;
      case Msr.PRED_CMD:
        if (!cpu.model.features.has('ibpb') || hi || lo & ~1) this.gp();
        return;
      case Msr.PATCH_LEVEL:
      case 0xc001_0020 | 0:
        return;
      case Msr.SYSENTER_CS:
        this.sysenterCs = lo & 0xffff;
        return;
      case Msr.SYSENTER_ESP:
        this.needCanonical(hi);
        this.sysenterEspLo = lo;
        this.sysenterEspHi = hi;
        return;
      case Msr.SYSENTER_EIP:
        this.needCanonical(hi);
        this.sysenterEipLo = lo;
        this.sysenterEipHi = hi;
        return;
      case Msr.PAT:
        for (let i = 0; i < 8; i++) {
          const t = ((i < 4 ? lo : hi) >>> ((i & 3) * 8)) & 0xff;
          // Types 2, 3 and above 7 are reserved (SDM vol. 3, table 12-10).
          if (t > 7 || t === 2 || t === 3) this.gp();
        }
        this.patLo = lo;
        this.patHi = hi;
        return;
      case Msr.XSS:
        if (lo || hi || !cpu.model.features.has('xsaves')) this.gp();
        return;
      case Msr.EFER:
        cpu.control.setEfer(lo, hi);
        return;
      case Msr.STAR:
        this.starLo = lo;
        this.starHi = hi;
        return;
      case Msr.LSTAR:
        this.needCanonical(hi);
        this.lstarLo = lo;
        this.lstarHi = hi;
        return;
      case Msr.CSTAR:
        this.needCanonical(hi);
        this.cstarLo = lo;
        this.cstarHi = hi;
        return;
      case Msr.FMASK:
        if (hi) this.gp();
        this.fmask = lo;
        cpu.updateMode();
        return;
      case Msr.FS_BASE:
        this.needCanonical(hi);
        cpu.seg.setBase(4, lo, hi);
        return;
      case Msr.GS_BASE:
        this.needCanonical(hi);
        cpu.seg.setBase(5, lo, hi);
        return;
      case Msr.KERNEL_GS_BASE:
        this.needCanonical(hi);
        this.kernelGsLo = lo;
        this.kernelGsHi = hi;
        return;
      case Msr.TSC_AUX:
        if (hi) this.gp();
        this.tscAux = lo;
        return;
      default: {
        const s = this.stored.get(msr);
        if (s) {
          s.lo = lo;
          s.hi = hi;
        } else if (!this.paravirt?.writeMsr(msr, lo, hi) && !idleCounter(msr)) this.gp();
      }
    }
  }

  swapgs(): void {
    const V = this.cpu.V;
    const lo = V[X.GSBASE * 2]!;
    const hi = V[X.GSBASE * 2 + 1]!;
    V[X.GSBASE * 2] = V[X.KGSBASE * 2]!;
    V[X.GSBASE * 2 + 1] = V[X.KGSBASE * 2 + 1]!;
    V[X.KGSBASE * 2] = lo;
    V[X.KGSBASE * 2 + 1] = hi;
  }
}
