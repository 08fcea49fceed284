/** Control registers, EFER and XCR0: reserved bits, consistency checks and effects (SDM vol. 3, 2.5, 2.6, 4.1; AMD APM vol. 2, 3.1). */
import { dropTimeScale } from '../../state.js';
import { At, Cr0, Cr4, Efer, Vec, canonical } from './defs.js';
import { Mode, Seg } from './mode.js';
import type { X86Cpu } from './cpu.js';

const CR0_BITS = Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS | Cr0.ET | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG;
/** CR4 bits whose change invalidates translations (SDM vol. 3, 4.10.4.1). */
const CR4_FLUSH = Cr4.PSE | Cr4.PAE | Cr4.PGE | Cr4.PCIDE | Cr4.SMEP | Cr4.SMAP | Cr4.LA57;

export class Control {
  /** CR4 bits this model has. */
  private readonly cr4Mask: number;
  private readonly eferMask: number;

  constructor(private readonly cpu: X86Cpu) {
    const f = cpu.model.features;
    let m = Cr4.TSD | Cr4.PCE | Cr4.MCE;
    const bit = (name: string, b: number): void => {
      if (f.has(name)) m |= b;
    };
    bit('vme', Cr4.VME | Cr4.PVI);
    bit('de', Cr4.DE);
    bit('pse', Cr4.PSE);
    bit('pae', Cr4.PAE);
    bit('pge', Cr4.PGE);
    bit('fxsr', Cr4.OSFXSR);
    bit('sse', Cr4.OSXMMEXCPT);
    bit('umip', Cr4.UMIP);
    bit('la57', Cr4.LA57);
    bit('fsgsbase', Cr4.FSGSBASE);
    bit('pcid', Cr4.PCIDE);
    bit('xsave', Cr4.OSXSAVE);
    bit('smep', Cr4.SMEP);
    bit('smap', Cr4.SMAP);
    this.cr4Mask = m;
    let e = 0;
    if (f.has('syscall')) e |= Efer.SCE;
    if (f.has('lm')) e |= Efer.LME | Efer.LMA;
    if (f.has('nx')) e |= Efer.NXE;
    if (f.has('fxsr_opt')) e |= Efer.FFXSR;
    if (f.has('autoibrs')) e |= Efer.AIBRSE;
    this.eferMask = e;
  }

  private gp(): never {
    throw this.cpu.fault(Vec.GP, 0);
  }

  private privileged(): void {
    if (this.cpu.cpl !== 0) this.gp();
  }

  /** Result in cpu.outLo, cpu.outHi. */
  read(n: number): void {
    const { cpu } = this;
    this.privileged();
    cpu.outHi = 0;
    switch (n) {
      case 0:
        cpu.outLo = cpu.cr0;
        break;
      case 2:
        cpu.outLo = cpu.cr2Lo;
        cpu.outHi = cpu.cr2Hi;
        break;
      case 3:
        cpu.outLo = cpu.cr3Lo;
        cpu.outHi = cpu.cr3Hi;
        break;
      case 4:
        cpu.outLo = cpu.cr4;
        break;
      case 8:
        cpu.outLo = cpu.intc.getCr8();
        break;
      default:
        throw cpu.fault(Vec.UD);
    }
  }

  write(n: number, lo: number, hi: number): void {
    const { cpu } = this;
    this.privileged();
    switch (n) {
      case 0:
        if (hi) this.gp();
        this.setCr0(lo);
        break;
      case 2:
        cpu.cr2Lo = lo;
        cpu.cr2Hi = hi;
        break;
      case 3:
        this.movCr3(lo, hi);
        break;
      case 4:
        if (hi) this.gp();
        this.setCr4(lo);
        break;
      case 8:
        if (hi || lo & ~15) this.gp();
        cpu.intc.setCr8(lo);
        cpu.updateIntr();
        break;
      default:
        throw cpu.fault(Vec.UD);
    }
  }

  setCr0(v: number): void {
    const { cpu } = this;
    v = (v & CR0_BITS) | Cr0.ET;
    const pg = v < 0;
    if (pg && !(v & Cr0.PE)) this.gp();
    if (v & Cr0.NW && !(v & Cr0.CD)) this.gp();
    const old = cpu.cr0;
    if (pg && old >= 0) {
      if (cpu.efer & Efer.LME) {
        // Activation of IA-32e mode (SDM vol. 3, 10.8.5).
        if (!(cpu.cr4 & Cr4.PAE) || cpu.seg.attr[Seg.CS]! & At.L) this.gp();
        cpu.efer |= Efer.LMA;
      }
    } else if (!pg && old < 0) {
      if ((cpu.mode & Mode.CODE_MASK) === Mode.CODE64 || cpu.cr4 & Cr4.PCIDE) this.gp();
      cpu.efer &= ~Efer.LMA;
    }
    cpu.cr0 = v;
    if (!(v & Cr0.PE)) cpu.cpl = 0;
    // PE changes no translation: paging is off before and after.
    if ((old ^ v) & (Cr0.PG | Cr0.WP)) {
      cpu.mmu.configure();
      cpu.mmu.flushTranslations();
    }
    cpu.updateMode();
  }

  lmsw(v: number): void {
    this.privileged();
    // LMSW can set PE but not clear it.
    this.setCr0((this.cpu.cr0 & ~0xe) | (v & 0xf));
  }

  /** CR0 for SMSW. */
  smsw(): number {
    this.umip();
    return this.cpu.cr0;
  }

  /** SGDT, SIDT, SLDT, STR, SMSW are privileged with CR4.UMIP. */
  umip(): void {
    const { cpu } = this;
    if (cpu.cr4 & Cr4.UMIP && cpu.cpl !== 0 && (cpu.isProtected || cpu.mode & Mode.V86)) this.gp();
  }

  clts(): void {
    this.privileged();
    this.cpu.cr0 &= ~Cr0.TS;
    this.cpu.updateMode();
  }

  /** MOV to CR3 with its checks; bit 63 (PCIDE) keeps translations. */
  private movCr3(lo: number, hi: number): void {
    const { cpu } = this;
    if (cpu.efer & Efer.LMA) {
      const pcids = (cpu.cr4 & Cr4.PCIDE) !== 0;
      const keep = pcids && hi < 0;
      if (pcids) hi &= 0x7fff_ffff;
      if (hi & ~((1 << (cpu.model.physBits - 32)) - 1)) this.gp();
      if (keep && lo === cpu.cr3Lo && hi === cpu.cr3Hi) return;
      if (pcids) {
        const from = cpu.cr3Lo & 0xfff;
        cpu.cr3Lo = lo;
        cpu.cr3Hi = hi;
        cpu.mmu.configure();
        cpu.mmu.switchContext(from, lo & 0xfff, keep);
        return;
      }
    } else hi = 0;
    this.loadCr3(lo, hi);
  }

  loadCr3(lo: number, hi: number): void {
    const { cpu } = this;
    cpu.cr3Lo = lo;
    cpu.cr3Hi = hi;
    cpu.mmu.configure();
    cpu.mmu.flushNonGlobal();
  }

  setCr4(v: number): void {
    const { cpu } = this;
    if (v & ~this.cr4Mask) this.gp();
    const old = cpu.cr4;
    if (cpu.efer & Efer.LMA && (!(v & Cr4.PAE) || (v ^ old) & Cr4.LA57)) this.gp();
    if (v & Cr4.PCIDE && !(old & Cr4.PCIDE) && (!(cpu.efer & Efer.LMA) || cpu.cr3Lo & 0xfff)) this.gp();
    cpu.cr4 = v;
    if ((v ^ old) & Cr4.TSD) dropTimeScale(cpu.V);
    if ((v ^ old) & Cr4.OSXSAVE) cpu.answers.forget();
    if ((v ^ old) & CR4_FLUSH) {
      cpu.mmu.configure();
      cpu.mmu.flushTranslations();
    }
    cpu.updateMode();
  }

  setEfer(lo: number, hi: number): void {
    const { cpu } = this;
    if (hi || lo & ~this.eferMask) this.gp();
    if (cpu.cr0 < 0 && (lo ^ cpu.efer) & Efer.LME) this.gp();
    const old = cpu.efer;
    // LMA is read-only.
    cpu.efer = (lo & ~Efer.LMA) | (old & Efer.LMA);
    if ((old ^ cpu.efer) & Efer.NXE) {
      cpu.mmu.configure();
      cpu.mmu.flushTranslations();
    }
    cpu.updateMode();
  }

  xsetbv(index: number, lo: number, hi: number): void {
    const { cpu } = this;
    if (!(cpu.cr4 & Cr4.OSXSAVE)) throw cpu.fault(Vec.UD);
    this.privileged();
    if (index !== 0 || hi || !(lo & 1) || lo & ~cpu.model.xcr0Mask || (lo & 4 && !(lo & 2))) this.gp();
    cpu.xcr0 = lo;
    cpu.answers.forget();
    cpu.updateMode();
  }

  /** Result in cpu.outLo, cpu.outHi. XGETBV(1) tells which components are in use; here: all enabled ones. */
  xgetbv(index: number): void {
    const { cpu } = this;
    if (!(cpu.cr4 & Cr4.OSXSAVE)) throw cpu.fault(Vec.UD);
    if (index !== 0 && !(index === 1 && cpu.model.features.has('xgetbv1'))) this.gp();
    cpu.outLo = cpu.xcr0;
    cpu.outHi = 0;
  }

  /** INVPCID (SDM vol. 2): may drop more than asked. */
  invpcid(typeLo: number, typeHi: number, pcidLo: number, pcidHi: number, lo: number, hi: number): void {
    const { cpu } = this;
    this.privileged();
    if (typeHi || typeLo >>> 0 > 3) this.gp();
    if (typeLo <= 1 && (pcidLo & ~0xfff || pcidHi)) this.gp();
    if (typeLo <= 1 && !(cpu.cr4 & Cr4.PCIDE) && pcidLo & 0xfff) this.gp();
    if (typeLo === 0 && !canonical(hi, cpu.model.linearBits)) this.gp();
    const present = cpu.cr4 & Cr4.PCIDE ? cpu.cr3Lo & 0xfff : 0;
    if (typeLo <= 1 && pcidLo !== present) cpu.mmu.forgetContext(pcidLo);
    else if (typeLo === 0) cpu.mmu.flushPage(lo, hi);
    else if (typeLo === 1) cpu.mmu.switchContext(present, present, false);
    else if (typeLo === 2) cpu.mmu.flushTranslations();
    else cpu.mmu.flushNonGlobal();
  }
}
