/**
 * EFLAGS: the six arithmetic flags live in slot FLAGS (LAHF/SETO order), all others in slot EFLAGS. POPF, PUSHF, CLI and
 * STI follow SDM vol. 2; VME and PVI rules are those of SDM vol. 3, 21.3 and 21.4.
 */
import { Slot, eflagsToFlags, flagsToEflags } from '../../state.js';
import { Cr4, Ef, Vec } from './defs.js';
import { X } from './mode.js';
import type { X86Cpu } from './cpu.js';

const EF = X.EFLAGS * 2;
const FL = Slot.FLAGS * 2;

export class Eflags {
  private readonly V: Int32Array;
  constructor(private readonly cpu: X86Cpu) {
    this.V = cpu.V;
  }

  /** The whole register. */
  get(): number {
    return (this.V[EF]! & Ef.SYSTEM) | flagsToEflags(this.V[FL]!) | 2;
  }

  /** Sets every flag, updates mode and the interrupt request. */
  set(v: number): void {
    // RF only matters, and is only cleared again, while instruction breakpoints are enabled.
    if (v & Ef.RF) {
      if (this.cpu.debug.codeBreakpoints) this.cpu.debug.rfFresh = true;
      else v &= ~Ef.RF;
    }
    this.V[FL] = eflagsToFlags(v);
    this.V[EF] = (v & Ef.SYSTEM) | 2;
    this.cpu.updateMode();
    this.cpu.updateIntr();
  }

  /** Replaces the flags in `mask`. */
  change(v: number, mask: number): void {
    this.set((this.get() & ~mask) | (v & mask));
  }

  get iopl(): number {
    return (this.V[EF]! >>> 12) & 3;
  }

  private vip(): boolean {
    return (this.V[EF]! & Ef.VIP) !== 0;
  }

  /** POPF of width w (1..3): which bits change depends on privilege (SDM vol. 2, POPF table). */
  popf(v: number, w: number): void {
    const cpu = this.cpu;
    let mask = Ef.ARITH | Ef.TF | Ef.DF | Ef.NT;
    if (w > 1) mask |= Ef.AC | Ef.ID | Ef.RF;
    if (this.V[EF]! & Ef.VM) {
      if (this.iopl < 3) {
        if (w > 1 || !(cpu.cr4 & Cr4.VME)) throw cpu.fault(Vec.GP, 0);
        if (v & Ef.TF || (v & Ef.IF && this.vip())) throw cpu.fault(Vec.GP, 0);
        // VME: the virtual interrupt flag takes the place of IF.
        this.change((v & ~Ef.VIF) | (v & Ef.IF ? Ef.VIF : 0), (mask & ~Ef.TF) | Ef.VIF);
        return;
      }
      mask |= Ef.IF;
    } else {
      if (cpu.cpl === 0) mask |= Ef.IOPL | Ef.IF;
      else if (cpu.cpl <= this.iopl) mask |= Ef.IF;
    }
    this.change(v & ~Ef.RF, mask);
  }

  /** Value PUSHF pushes; raises #GP in virtual-8086 mode as due. */
  pushf(w: number): number {
    const cpu = this.cpu;
    let v = this.get() & ~(Ef.VM | Ef.RF);
    if (this.V[EF]! & Ef.VM && this.iopl < 3) {
      if (w > 1 || !(cpu.cr4 & Cr4.VME)) throw cpu.fault(Vec.GP, 0);
      v = (v & ~Ef.IF) | Ef.IOPL | (v & Ef.VIF ? Ef.IF : 0);
    }
    return v;
  }

  /** True if CLI and STI act on VIF instead of IF; raises #GP(0) if they are not allowed at all. */
  private virtual(): boolean {
    const cpu = this.cpu;
    if (!cpu.isProtected && !(this.V[EF]! & Ef.VM)) return false;
    if (cpu.cpl <= this.iopl) return false;
    if (this.V[EF]! & Ef.VM ? cpu.cr4 & Cr4.VME : cpu.cpl === 3 && cpu.cr4 & Cr4.PVI) return true;
    throw cpu.fault(Vec.GP, 0);
  }

  cli(): void {
    if (this.virtual()) this.V[EF]! &= ~Ef.VIF;
    else this.V[EF]! &= ~Ef.IF;
    this.cpu.updateIntr();
  }

  sti(): void {
    if (this.virtual()) {
      if (this.vip()) throw this.cpu.fault(Vec.GP, 0);
      this.V[EF]! |= Ef.VIF;
    } else this.V[EF]! |= Ef.IF;
    this.cpu.updateIntr();
  }
}
