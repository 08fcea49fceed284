/**
 * Far control transfers: JMP, CALL, RET, IRET through segments and call gates (SDM vol. 3, 5.8; vol. 2 under each name), and
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT. Checks come first; registers change only when nothing can fault any more.
 */
import { At, Cr4, Ef, Efer, Vec, canonical } from './defs.js';
import { Mmu, Mode, Seg, X } from './mode.js';
import type { X86Cpu } from './cpu.js';
import { Stack } from './stack.js';
import { TaskCause } from './tasks.js';

const CODE_SEG = At.S | At.CODE;

export class Transfer {
  private readonly stack: Stack;
  private readonly outer: Stack;
  /** Parameters copied by a call gate. */
  private readonly params = new Int32Array(32);

  constructor(private readonly cpu: X86Cpu) {
    this.stack = new Stack(cpu);
    this.outer = new Stack(cpu);
  }

  private gp(sel: number): never {
    throw this.cpu.fault(Vec.GP, sel & 0xfffc);
  }

  /** Checks that hi:lo is a valid target in the code segment whose descriptor was read last. */
  private checkTarget(lo: number, hi: number): void {
    const { cpu } = this;
    const a = cpu.seg.dAttr;
    if (cpu.efer & Efer.LMA && a & At.L) {
      if (!canonical(hi, cpu.mmu.canonicalBits)) this.gp(0);
    } else if (lo >>> 0 > cpu.seg.dLimit >>> 0) this.gp(0);
  }

  private longAttr(sel: number): void {
    const { cpu } = this;
    if (cpu.efer & Efer.LMA && (cpu.seg.dAttr & (At.L | At.DB)) === (At.L | At.DB)) this.gp(sel);
  }

  /** Checks of JMP and CALL to a code segment (SDM vol. 2, JMP). */
  private checkCode(sel: number): void {
    const { cpu } = this;
    const { seg } = cpu;
    const dpl = seg.dDpl;
    if (seg.dAttr & At.CONFORM ? dpl > cpu.cpl : (sel & 3) > cpu.cpl || dpl !== cpu.cpl) this.gp(sel);
    if (!(seg.dAttr & At.P)) throw cpu.fault(Vec.NP, sel & 0xfffc);
    this.longAttr(sel);
  }

  /** Loads CS from d0, d1 with the present CPL and jumps. */
  private enter(sel: number, lo: number, hi: number): void {
    const { cpu } = this;
    cpu.seg.markAccessed();
    cpu.seg.load(Seg.CS, (sel & 0xfffc) | cpu.cpl);
    cpu.updateMode();
    cpu.setIp(lo, hi);
  }

  private realTarget(sel: number, lo: number, w: number): void {
    const { cpu } = this;
    if (w === 1) lo &= 0xffff;
    if (lo >>> 0 > cpu.seg.limit[Seg.CS]! >>> 0) this.gp(0);
    cpu.seg.loadReal(Seg.CS, sel);
    cpu.updateMode();
    cpu.setIp(lo, 0);
  }

  jump(sel: number, lo: number, hi: number, w: number): void {
    const { cpu } = this;
    const { seg } = cpu;
    sel &= 0xffff;
    if (w === 1) lo &= 0xffff;
    if (w !== 3) hi = 0;
    if (!cpu.isProtected) {
      this.realTarget(sel, lo, w);
      return;
    }
    if (!(sel & 0xfffc)) this.gp(0);
    seg.fetch(sel, Vec.GP);
    if ((seg.dAttr & CODE_SEG) === CODE_SEG) {
      this.checkCode(sel);
      this.checkTarget(lo, hi);
      this.enter(sel, lo, hi);
      return;
    }
    if (seg.dAttr & At.S) this.gp(sel);
    const type = seg.dAttr & 15;
    const long = (cpu.efer & Efer.LMA) !== 0;
    if (type === 12 || (type === 4 && !long)) {
      this.gate(sel, type, false, 0, 0);
      return;
    }
    if (long || (type !== 5 && type !== 1 && type !== 9)) this.gp(sel);
    cpu.tasks.jumpOrCall(sel, type, TaskCause.JMP);
  }

  call(sel: number, lo: number, hi: number, w: number): void {
    const { cpu, stack } = this;
    const { seg } = cpu;
    sel &= 0xffff;
    if (w === 1) lo &= 0xffff;
    if (w !== 3) hi = 0;
    cpu.nextIp();
    const retLo = cpu.ipLo;
    const retHi = cpu.ipHi;
    stack.current();
    if (!cpu.isProtected) {
      if (lo >>> 0 > seg.limit[Seg.CS]! >>> 0) this.gp(0);
      stack.push(w, seg.sel[Seg.CS]!);
      stack.push(w, retLo);
      stack.commit();
      this.realTarget(sel, lo, w);
      return;
    }
    if (!(sel & 0xfffc)) this.gp(0);
    seg.fetch(sel, Vec.GP);
    if ((seg.dAttr & CODE_SEG) === CODE_SEG) {
      this.checkCode(sel);
      this.checkTarget(lo, hi);
      const d0 = seg.d0;
      const d1 = seg.d1;
      stack.push(w, seg.sel[Seg.CS]!);
      stack.push(w, retLo, retHi);
      stack.commit();
      seg.d0 = d0;
      seg.d1 = d1;
      this.enter(sel, lo, hi);
      return;
    }
    if (seg.dAttr & At.S) this.gp(sel);
    const type = seg.dAttr & 15;
    const long = (cpu.efer & Efer.LMA) !== 0;
    if (type === 12 || (type === 4 && !long)) {
      this.gate(sel, type, true, retLo, retHi);
      return;
    }
    if (long || (type !== 5 && type !== 1 && type !== 9)) this.gp(sel);
    cpu.tasks.jumpOrCall(sel, type, TaskCause.CALL);
  }

  /** Through the call gate in d0, d1 (SDM vol. 3, 5.8.4 to 5.8.6). */
  private gate(gsel: number, type: number, isCall: boolean, retLo: number, retHi: number): void {
    const { cpu, stack } = this;
    const { seg, mmu } = cpu;
    const long = (cpu.efer & Efer.LMA) !== 0;
    const gdpl = seg.dDpl;
    if (gdpl < cpu.cpl || (gsel & 3) > gdpl) this.gp(gsel);
    if (!(seg.dAttr & At.P)) throw cpu.fault(Vec.NP, gsel & 0xfffc);
    let hi = 0;
    if (long) {
      seg.fetchUpper(gsel, Vec.GP);
      hi = seg.d2;
    }
    const cs = seg.d0 >>> 16;
    const count = seg.d1 & 31;
    const w = long ? 3 : type === 12 ? 2 : 1;
    const lo = w === 1 ? seg.d0 & 0xffff : (seg.d1 & 0xffff_0000) | (seg.d0 & 0xffff);
    if (!(cs & 0xfffc)) this.gp(0);
    seg.fetch(cs, Vec.GP);
    const a = seg.dAttr;
    const dpl = seg.dDpl;
    if ((a & CODE_SEG) !== CODE_SEG || dpl > cpu.cpl) this.gp(cs);
    if (long && (a & (At.L | At.DB)) !== At.L) this.gp(cs);
    if (!isCall && !(a & At.CONFORM) && dpl !== cpu.cpl) this.gp(cs);
    if (!(a & At.P)) throw cpu.fault(Vec.NP, cs & 0xfffc);
    this.checkTarget(lo, hi);
    if (!isCall) {
      this.enter(cs, lo, hi);
      return;
    }
    seg.markAccessed();
    const c0 = seg.d0;
    const c1 = seg.d1;
    const V = cpu.V;
    if (!(a & At.CONFORM) && dpl < cpu.cpl) {
      const oldSs = seg.sel[Seg.SS]!;
      const oldLo = V[X.RSP * 2]!;
      const oldHi = V[X.RSP * 2 + 1]!;
      let s0 = 0;
      let s1 = 0;
      let ss = dpl;
      if (long) {
        cpu.tasks.rsp(4 + dpl * 8, 0);
        if (!canonical(mmu.hi, mmu.canonicalBits)) throw cpu.fault(Vec.SS, 0);
        stack.flat(mmu.lo, mmu.hi, Mmu.KERNEL);
      } else {
        cpu.tasks.innerStack(dpl, 0);
        ss = cpu.tasks.newSs;
        const esp = cpu.tasks.newSp;
        if (!(ss & 0xfffc)) throw cpu.fault(Vec.TS, 0);
        seg.fetch(ss, Vec.TS);
        const sa = seg.dAttr;
        if ((ss & 3) !== dpl || seg.dDpl !== dpl || (sa & (At.S | At.CODE | At.RW)) !== (At.S | At.RW)) throw cpu.fault(Vec.TS, ss & 0xfffc);
        if (!(sa & At.P)) throw cpu.fault(Vec.SS, ss & 0xfffc);
        seg.markAccessed();
        s0 = seg.d0;
        s1 = seg.d1;
        this.outer.current();
        for (let i = 0; i < count; i++) this.params[i] = this.outer.pop(w);
        stack.inner(esp, seg.dBase, seg.dLimit, sa, Mmu.KERNEL, ss & 0xfffc);
      }
      stack.push(w, oldSs);
      stack.push(w, oldLo, oldHi);
      if (!long) for (let i = count - 1; i >= 0; i--) stack.push(w, this.params[i]!);
      stack.push(w, seg.sel[Seg.CS]!);
      stack.push(w, retLo, retHi);
      cpu.cpl = dpl;
      if (long) {
        seg.sel[Seg.SS] = dpl;
        seg.attr[Seg.SS] = At.NULL | At.DB | (dpl << 5);
      } else {
        seg.d0 = s0;
        seg.d1 = s1;
        seg.load(Seg.SS, ss);
      }
      stack.commitNew();
    } else {
      stack.current();
      // A 64-bit gate pushes eight-byte values even when the caller runs in compatibility mode.
      stack.push(w, seg.sel[Seg.CS]!);
      stack.push(w, retLo, retHi);
      stack.commit();
    }
    seg.d0 = c0;
    seg.d1 = c1;
    this.enter(cs, lo, hi);
  }

  ret(w: number, bytes: number): void {
    const { cpu, stack } = this;
    const { seg } = cpu;
    stack.current();
    const lo = stack.pop(w);
    const hi = stack.hi;
    const cs = stack.pop(w) & 0xffff;
    if (!cpu.isProtected) {
      stack.release(bytes);
      if (lo >>> 0 > seg.limit[Seg.CS]! >>> 0) this.gp(0);
      stack.commit();
      this.realTarget(cs, lo, w);
      return;
    }
    this.checkReturn(cs);
    const rpl = cs & 3;
    this.checkTarget(lo, hi);
    const d0 = seg.d0;
    const d1 = seg.d1;
    stack.release(bytes);
    if (rpl === cpu.cpl) {
      stack.commit();
      this.enter(cs, lo, hi);
      return;
    }
    const spLo = stack.pop(w);
    const spHi = stack.hi;
    const ss = stack.pop(w) & 0xffff;
    this.toOuter(cs, d0, d1, ss, spLo, spHi);
    // Parameters are released from the outer stack as well.
    stack.current();
    stack.release(bytes);
    stack.commit();
    cpu.setIp(lo, hi);
  }

  /** Checks on the CS that RET and IRET pop. */
  private checkReturn(cs: number): void {
    const { cpu } = this;
    const { seg } = cpu;
    if (!(cs & 0xfffc)) this.gp(0);
    const rpl = cs & 3;
    seg.fetch(cs, Vec.GP);
    const a = seg.dAttr;
    if ((a & CODE_SEG) !== CODE_SEG || rpl < cpu.cpl) this.gp(cs);
    if (a & At.CONFORM ? seg.dDpl > rpl : seg.dDpl !== rpl) this.gp(cs);
    if (!(a & At.P)) throw cpu.fault(Vec.NP, cs & 0xfffc);
    this.longAttr(cs);
    seg.markAccessed();
  }

  /** Loads CS (descriptor d0, d1), SS and RSP for a return to privilege cs.RPL and nulls segments that it may not keep. */
  private toOuter(cs: number, d0: number, d1: number, ss: number, spLo: number, spHi: number): void {
    const { cpu } = this;
    const { seg } = cpu;
    const rpl = cs & 3;
    const to64 = (cpu.efer & Efer.LMA) !== 0 && (d1 & 0x20_0000) !== 0;
    const nullSs = !(ss & 0xfffc);
    if (nullSs) {
      if (!to64 || rpl === 3 || (ss & 3) !== rpl) this.gp(0);
    } else {
      seg.fetch(ss, Vec.GP);
      const a = seg.dAttr;
      if ((ss & 3) !== rpl || seg.dDpl !== rpl || (a & (At.S | At.CODE | At.RW)) !== (At.S | At.RW)) this.gp(ss);
      if (!(a & At.P)) throw cpu.fault(Vec.SS, ss & 0xfffc);
      seg.markAccessed();
    }
    if (rpl === 0) {
      seg.forgetIret();
      seg.note(X.IRET_SS_AT);
    }
    const outward = rpl > cpu.cpl;
    cpu.cpl = rpl;
    if (nullSs) seg.loadNull(Seg.SS, ss);
    else seg.load(Seg.SS, ss);
    seg.d0 = d0;
    seg.d1 = d1;
    seg.load(Seg.CS, cs);
    const V = cpu.V;
    if (to64) {
      V[X.RSP * 2] = spLo;
      V[X.RSP * 2 + 1] = spHi;
    } else {
      V[X.RSP * 2] = seg.attr[Seg.SS]! & At.DB ? spLo : (V[X.RSP * 2]! & ~0xffff) | (spLo & 0xffff);
      V[X.RSP * 2 + 1] = 0;
    }
    if (outward) {
      this.dropSeg(Seg.ES);
      this.dropSeg(Seg.DS);
      this.dropSeg(Seg.FS);
      this.dropSeg(Seg.GS);
    }
    cpu.updateMode();
  }

  /** A data or nonconforming code segment with DPL below the new CPL becomes null (SDM vol. 2, RET). The base stays. */
  private dropSeg(s: number): void {
    const { seg, cpl } = this.cpu;
    const a = seg.attr[s]!;
    if (a & At.NULL || ((a & At.DPL) >> 5) >= cpl || (a & (At.CODE | At.CONFORM)) === (At.CODE | At.CONFORM)) return;
    seg.sel[s] = 0;
    seg.attr[s] = At.NULL;
    seg.updateLimit(s);
  }

  iret(w: number): void {
    const { cpu, stack } = this;
    const { seg } = cpu;
    cpu.unblockNmi();
    stack.current();
    if (!cpu.isProtected) {
      this.iretReal(w);
      return;
    }
    const long = (cpu.efer & Efer.LMA) !== 0;
    if (cpu.eflagsSystem & Ef.NT) {
      if (long) this.gp(0);
      cpu.tasks.iret();
      return;
    }
    const lo = stack.pop(w);
    const hi = stack.hi;
    const cs = stack.pop(w) & 0xffff;
    const fl = stack.pop(w);
    if (fl & Ef.VM && w === 2 && cpu.cpl === 0 && !long) {
      this.toV86(lo, cs, fl);
      return;
    }
    const oldCpl = cpu.cpl;
    this.checkReturn(cs);
    this.checkTarget(lo, hi);
    let mask = Ef.ARITH | Ef.TF | Ef.DF | Ef.NT;
    if (w > 1) mask |= Ef.RF | Ef.AC | Ef.ID;
    if (oldCpl <= cpu.flags.iopl) mask |= Ef.IF;
    if (oldCpl === 0) mask |= Ef.IOPL | (w > 1 ? Ef.VIF | Ef.VIP : 0);
    if ((cpu.mode & Mode.CODE_MASK) === Mode.CODE64 || (cs & 3) !== cpu.cpl) {
      const d0 = seg.d0;
      const d1 = seg.d1;
      if ((cs & 3) === 0) {
        seg.forgetIret();
        seg.note(X.IRET_CS_AT);
      }
      const spLo = stack.pop(w);
      const spHi = stack.hi;
      const ss = stack.pop(w) & 0xffff;
      this.toOuter(cs, d0, d1, ss, spLo, spHi);
      cpu.flags.change(fl, mask);
      cpu.setIp(lo, hi);
      if (w === 3) this.noteIret(cs, ss);
    } else {
      stack.commit();
      seg.load(Seg.CS, cs);
      cpu.flags.change(fl, mask);
      cpu.setIp(lo, hi);
    }
  }

  /** CS and SS have been loaded by IRETQ: the next one may do without this helper (`iret` in lift-fastcall.ts). */
  private noteIret(cs: number, ss: number): void {
    const { seg, V } = this.cpu;
    const flat = (s: Seg, attr: number): boolean => seg.attr[s] === attr && seg.limit[s] === -1 && seg.baseLo(s) === 0 && seg.baseHi(s) === 0;
    if ((cs | ss) & 7 || !flat(Seg.CS, 0x9b | At.G | At.L) || (ss !== 0 && !flat(Seg.SS, 0x93 | At.G | At.DB))) return;
    V[X.IRET_SEL * 2] = cs;
    V[X.IRET_SEL * 2 + 1] = ss;
  }

  /** POPF outside virtual-8086 mode; v has been read from the stack. */
  popf(v: number, w: number): void {
    const { cpu, stack } = this;
    stack.current();
    stack.release(1 << w);
    stack.commit();
    cpu.setPcToNext();
    cpu.flags.popf(v, w);
  }

  private iretReal(w: number): void {
    const { cpu, stack } = this;
    const v86 = (cpu.eflagsSystem & Ef.VM) !== 0;
    const vme = v86 && cpu.flags.iopl < 3;
    if (vme && (w > 1 || !(cpu.cr4 & Cr4.VME))) this.gp(0);
    const lo = stack.pop(w);
    const cs = stack.pop(w) & 0xffff;
    let fl = stack.pop(w);
    if (lo >>> 0 > cpu.seg.limit[Seg.CS]! >>> 0) this.gp(0);
    let mask = Ef.ARITH | Ef.TF | Ef.DF | Ef.NT;
    if (w > 1) mask |= Ef.AC | Ef.ID | Ef.RF;
    if (vme) {
      if (fl & Ef.TF || (fl & Ef.IF && cpu.eflagsSystem & Ef.VIP)) this.gp(0);
      fl = (fl & ~Ef.VIF) | (fl & Ef.IF ? Ef.VIF : 0);
      mask |= Ef.VIF;
    } else mask |= v86 ? Ef.IF : Ef.IF | Ef.IOPL;
    stack.commit();
    cpu.seg.loadReal(Seg.CS, cs);
    cpu.flags.change(fl, mask);
    cpu.setIp(lo, 0);
  }

  /** IRETD with VM set in the popped flags: ESP SS ES DS FS GS follow (SDM vol. 2, IRET, RETURN-TO-VIRTUAL-8086-MODE). */
  private toV86(ip: number, cs: number, fl: number): void {
    const { cpu, stack } = this;
    const { seg } = cpu;
    const esp = stack.pop(2);
    const ss = stack.pop(2) & 0xffff;
    const es = stack.pop(2) & 0xffff;
    const ds = stack.pop(2) & 0xffff;
    const fs = stack.pop(2) & 0xffff;
    const gs = stack.pop(2) & 0xffff;
    cpu.V[X.EFLAGS * 2]! |= Ef.VM;
    cpu.cpl = 3;
    seg.loadReal(Seg.CS, cs);
    seg.loadReal(Seg.SS, ss);
    seg.loadReal(Seg.ES, es);
    seg.loadReal(Seg.DS, ds);
    seg.loadReal(Seg.FS, fs);
    seg.loadReal(Seg.GS, gs);
    cpu.V[X.RSP * 2] = esp;
    cpu.V[X.RSP * 2 + 1] = 0;
    cpu.flags.set(fl);
    cpu.setIp(ip & 0xffff, 0);
  }

  // ---- fast system calls -------------------------------------------------------------------------------------------------

  /** Flat code and stack segments as the fast system calls load them. `csType` adds At.L or At.DB. */
  private flatSegments(cs: number, ss: number, cpl: number, csType: number): void {
    const { cpu } = this;
    const dpl = cpl << 5;
    cpu.cpl = cpl;
    cpu.seg.set(Seg.CS, cs & 0xffff, 0, -1, 0x9b | dpl | At.G | csType);
    cpu.seg.set(Seg.SS, ss & 0xffff, 0, -1, 0x93 | dpl | At.G | At.DB);
  }

  /** SYSCALL (AMD APM vol. 3; compatibility mode enters at CSTAR as AMD processors do). */
  syscall(): void {
    const { cpu } = this;
    if (!(cpu.efer & Efer.SCE) || !(cpu.efer & Efer.LMA)) throw cpu.fault(Vec.UD);
    const V = cpu.V;
    const { msr } = cpu;
    cpu.nextIp();
    const code64 = (cpu.mode & Mode.CODE_MASK) === Mode.CODE64;
    const fl = cpu.flags.get();
    V[X.RCX * 2] = cpu.ipLo;
    V[X.RCX * 2 + 1] = cpu.ipHi;
    V[X.R11 * 2] = fl & ~Ef.RF;
    V[X.R11 * 2 + 1] = 0;
    const cs = msr.starHi & 0xfffc;
    this.flatSegments(cs, cs + 8, 0, At.L);
    cpu.flags.set(fl & ~msr.fmask & ~Ef.RF);
    if (code64) cpu.setIp(msr.lstarLo, msr.lstarHi);
    else cpu.setIp(msr.cstarLo, msr.cstarHi);
    cpu.debug.afterFastCall();
  }

  sysret(w: number): void {
    const { cpu } = this;
    if (!(cpu.efer & Efer.SCE) || !(cpu.efer & Efer.LMA)) throw cpu.fault(Vec.UD);
    if (cpu.cpl !== 0) this.gp(0);
    const V = cpu.V;
    const cs = cpu.msr.starHi >>> 16;
    const fl = V[X.R11 * 2]!;
    if (w === 3) this.flatSegments((cs + 16) | 3, (cs + 8) | 3, 3, At.L);
    else this.flatSegments(cs | 3, (cs + 8) | 3, 3, At.DB);
    cpu.flags.set(fl & (Ef.ALL & ~(Ef.RF | Ef.VM)));
    cpu.setIp(V[X.RCX * 2]!, w === 3 ? V[X.RCX * 2 + 1]! : 0);
    cpu.debug.afterFastCall();
  }

  sysenter(): void {
    const { cpu } = this;
    const { msr } = cpu;
    if (!cpu.isProtected && !(cpu.eflagsSystem & Ef.VM)) this.gp(0);
    const cs = msr.sysenterCs;
    if (!(cs & 0xfffc)) this.gp(0);
    const long = (cpu.efer & Efer.LMA) !== 0;
    cpu.V[X.EFLAGS * 2]! &= ~(Ef.VM | Ef.IF | Ef.RF);
    this.flatSegments(cs & 0xfffc, (cs & 0xfffc) + 8, 0, long ? At.L : At.DB);
    const V = cpu.V;
    V[X.RSP * 2] = msr.sysenterEspLo;
    V[X.RSP * 2 + 1] = long ? msr.sysenterEspHi : 0;
    cpu.updateMode();
    cpu.updateIntr();
    cpu.setIp(msr.sysenterEipLo, long ? msr.sysenterEipHi : 0);
  }

  sysexit(w: number): void {
    const { cpu } = this;
    const cs = cpu.msr.sysenterCs;
    if (!(cs & 0xfffc) || !cpu.isProtected || cpu.cpl !== 0) this.gp(0);
    const V = cpu.V;
    const lo = V[X.RDX * 2]!;
    const hi = V[X.RDX * 2 + 1]!;
    if (w === 3) {
      const bits = cpu.mmu.canonicalBits;
      if (!canonical(hi, bits) || !canonical(V[X.RCX * 2 + 1]!, bits)) this.gp(0);
      this.flatSegments((cs + 32) | 3, (cs + 40) | 3, 3, At.L);
    } else this.flatSegments((cs + 16) | 3, (cs + 24) | 3, 3, At.DB);
    V[X.RSP * 2] = V[X.RCX * 2]!;
    V[X.RSP * 2 + 1] = w === 3 ? V[X.RCX * 2 + 1]! : 0;
    cpu.updateMode();
    cpu.setIp(lo, w === 3 ? hi : 0);
  }
}
