/** Task-state segments: inner stacks and hardware task switches with 16- and 32-bit TSSs (SDM vol. 3, chapter 8). */
import { At, Cr0, Ef, Efer, LDTR, TR, Vec } from './defs.js';
import { Mmu, Seg, X } from './mode.js';
import type { X86Cpu } from './cpu.js';
import { Src } from './interrupts.js';
import { Stack } from './stack.js';

export const enum TaskCause { JMP = 0, CALL = 1, IRET = 2, INT = 3 }

const GPR_ORDER: readonly number[] = [X.RAX, X.RCX, X.RDX, X.RBX, X.RSP, X.RBP, X.RSI, X.RDI];

export class Tasks {
  /** Results of innerStack. */
  newSs = 0;
  newSp = 0;
  /** Task switches that reached the new task. */
  switches = 0;

  constructor(private readonly cpu: X86Cpu) {}

  private is32(attr: number): boolean {
    return (attr & 8) !== 0;
  }

  /** SS:ESP of privilege dpl from the current TSS (SDM vol. 3, 5.8.5). */
  innerStack(dpl: number, ext: number): void {
    const { seg, mmu } = this.cpu;
    const limit = seg.limit[TR]! >>> 0;
    const err = (seg.sel[TR]! & 0xfffc) | ext;
    if (this.is32(seg.attr[TR]!)) {
      const off = dpl * 8 + 4;
      if (off + 5 > limit) throw this.cpu.fault(Vec.TS, err);
      this.newSp = mmu.read32((seg.trLo + off) | 0, seg.trHi, Mmu.KERNEL);
      this.newSs = mmu.read16((seg.trLo + off + 4) | 0, seg.trHi, Mmu.KERNEL);
    } else {
      const off = dpl * 4 + 2;
      if (off + 3 > limit) throw this.cpu.fault(Vec.TS, err);
      this.newSp = mmu.read16((seg.trLo + off) | 0, seg.trHi, Mmu.KERNEL);
      this.newSs = mmu.read16((seg.trLo + off + 2) | 0, seg.trHi, Mmu.KERNEL);
    }
  }

  /** 64-bit stack pointer at byte `off` of the TSS (RSPn or ISTn), to mmu.lo and mmu.hi. */
  rsp(off: number, ext: number): void {
    const { seg, mmu } = this.cpu;
    if (off + 7 > seg.limit[TR]! >>> 0) throw this.cpu.fault(Vec.TS, (seg.sel[TR]! & 0xfffc) | ext);
    const lo = (seg.trLo + off) | 0;
    mmu.read64(lo, (lo >>> 0) < (seg.trLo >>> 0) ? seg.trHi + 1 : seg.trHi, Mmu.KERNEL);
  }

  /** I/O permission bitmap (SDM vol. 1, 19.5.2): may `size` ports from `port` on be used? */
  ioAllowed(port: number, size: number): boolean {
    const { seg, mmu } = this.cpu;
    const limit = seg.limit[TR]! >>> 0;
    if (!this.is32(seg.attr[TR]!) || seg.attr[TR]! & At.NULL || 103 > limit) return false;
    const at = mmu.read16((seg.trLo + 102) | 0, seg.trHi, Mmu.KERNEL) + (port >> 3);
    if (at + 1 > limit) return false;
    const bits = mmu.read16((seg.trLo + at) | 0, seg.trHi, Mmu.KERNEL);
    return ((bits >>> (port & 7)) & ((1 << size) - 1)) === 0;
  }

  /** JMP or CALL to the TSS or task gate whose descriptor was read last. */
  jumpOrCall(sel: number, type: number, cause: TaskCause): void {
    const { cpu } = this;
    const { seg } = cpu;
    const dpl = seg.dDpl;
    if (dpl < cpu.cpl || (sel & 3) > dpl) throw cpu.fault(Vec.GP, sel & 0xfffc);
    if (!(seg.dAttr & At.P)) throw cpu.fault(Vec.NP, sel & 0xfffc);
    cpu.nextIp();
    const ret = cpu.ipLo;
    let tss = sel;
    if (type === 5) {
      tss = seg.d0 >>> 16;
      this.fetchTss(tss, 0, false);
    } else if (sel & 4) throw cpu.fault(Vec.GP, sel & 0xfffc);
    this.switchTo(tss, cause, ret, 0);
    this.trap();
  }

  /** Interrupt through a task gate: g = selector of the TSS. */
  gate(tss: number, eip: number, src: Src, err: number, hasErr: boolean): void {
    const ext = src === Src.INT_N || src === Src.INT3 ? 0 : 1;
    this.fetchTss(tss, ext, false);
    const wide = this.is32(this.cpu.seg.dAttr);
    // As in a pushed image, RF is saved as 1 for a fault (SDM vol. 3, 17.3.1.1).
    this.switchTo(tss, TaskCause.INT, eip, ext, src === Src.FAULT ? Ef.RF : 0);
    if (hasErr) {
      const s = new Stack(this.cpu);
      s.current();
      s.push(wide ? 2 : 1, err);
      s.commit();
    }
    this.trap();
  }

  private trapPending = false;
  /** The debug trap of a TSS with the T bit: before the first instruction of the new task. */
  private trap(): void {
    if (!this.trapPending) return;
    this.trapPending = false;
    throw this.cpu.fault(Vec.DB);
  }

  iret(): void {
    const { cpu } = this;
    const { seg, mmu } = cpu;
    cpu.nextIp();
    const back = mmu.read16(seg.trLo, seg.trHi, Mmu.KERNEL);
    if (back & 4 || !(back & 0xfffc)) throw cpu.fault(Vec.TS, back & 0xfffc);
    if (!seg.read(back)) throw cpu.fault(Vec.TS, back & 0xfffc);
    const type = seg.dAttr & 0x1f;
    if (type !== 3 && type !== 11) throw cpu.fault(Vec.TS, back & 0xfffc);
    if (!(seg.dAttr & At.P)) throw cpu.fault(Vec.NP, back & 0xfffc);
    this.switchTo(back, TaskCause.IRET, cpu.ipLo, 0);
    this.trap();
  }

  /** Reads the descriptor of an available TSS in the GDT. */
  private fetchTss(sel: number, ext: number, busy: boolean): void {
    const { cpu } = this;
    const { seg } = cpu;
    const err = (sel & 0xfffc) | ext;
    if (sel & 4 || !(sel & 0xfffc) || !seg.read(sel)) throw cpu.fault(Vec.GP, err);
    const type = seg.dAttr & 0x1f;
    if (type !== (busy ? 3 : 1) && type !== (busy ? 11 : 9)) throw cpu.fault(Vec.GP, err);
    if (!(seg.dAttr & At.P)) throw cpu.fault(Vec.NP, err);
  }

  /** The switch itself (SDM vol. 3, 8.3). The new TSS descriptor has been read and checked but for its limit. */
  private switchTo(sel: number, cause: TaskCause, eip: number, ext: number, savedFlags = 0): void {
    const { cpu } = this;
    const { seg, mmu, V } = cpu;
    if (cpu.efer & Efer.LMA) throw cpu.fault(Vec.GP, (sel & 0xfffc) | ext);
    const attr = seg.dAttr;
    const base = seg.dBase;
    const limit = seg.dLimit;
    const wide = this.is32(attr);
    if (limit >>> 0 < (wide ? 0x67 : 0x2b)) throw cpu.fault(Vec.TS, (sel & 0xfffc) | ext);
    const K = Mmu.KERNEL;
    const oldWide = this.is32(seg.attr[TR]!);
    const old = seg.trLo;
    // Both segments must be accessible before anything changes.
    mmu.probeWrite(old, 0, oldWide ? 0x68 : 0x2c, K);
    mmu.probeRead(base, 0, wide ? 0x68 : 0x2c, K);
    const oldSel = seg.sel[TR]!;
    let flags = cpu.flags.get() | savedFlags;
    if (cause === TaskCause.JMP || cause === TaskCause.IRET) {
      if (seg.read(oldSel)) seg.setBusy(false);
    }
    if (cause === TaskCause.IRET) flags &= ~Ef.NT;
    // Save the old state.
    if (oldWide) {
      mmu.write32((old + 0x20) | 0, 0, K, eip);
      mmu.write32((old + 0x24) | 0, 0, K, flags);
      for (let i = 0; i < 8; i++) mmu.write32((old + 0x28 + i * 4) | 0, 0, K, V[GPR_ORDER[i]! * 2]!);
      for (let i = 0; i < 6; i++) mmu.write16((old + 0x48 + i * 4) | 0, 0, K, seg.sel[i]!);
    } else {
      mmu.write16((old + 0x0e) | 0, 0, K, eip & 0xffff);
      mmu.write16((old + 0x10) | 0, 0, K, flags & 0xffff);
      for (let i = 0; i < 8; i++) mmu.write16((old + 0x12 + i * 2) | 0, 0, K, V[GPR_ORDER[i]! * 2]! & 0xffff);
      for (let i = 0; i < 4; i++) mmu.write16((old + 0x22 + i * 2) | 0, 0, K, seg.sel[i]!);
    }
    // Read the new state.
    let newCr3 = 0;
    let trap = 0;
    const sels = this.sels;
    const regs = this.regs;
    let newEip: number;
    let newFlags: number;
    let ldt: number;
    if (wide) {
      newCr3 = mmu.read32((base + 0x1c) | 0, 0, K);
      newEip = mmu.read32((base + 0x20) | 0, 0, K);
      newFlags = mmu.read32((base + 0x24) | 0, 0, K);
      for (let i = 0; i < 8; i++) regs[i] = mmu.read32((base + 0x28 + i * 4) | 0, 0, K);
      for (let i = 0; i < 6; i++) sels[i] = mmu.read16((base + 0x48 + i * 4) | 0, 0, K);
      ldt = mmu.read16((base + 0x60) | 0, 0, K);
      trap = mmu.read16((base + 0x64) | 0, 0, K) & 1;
    } else {
      newEip = mmu.read16((base + 0x0e) | 0, 0, K);
      newFlags = mmu.read16((base + 0x10) | 0, 0, K);
      // Upper halves of the registers are undefined after a 16-bit switch; processors set them.
      for (let i = 0; i < 8; i++) regs[i] = mmu.read16((base + 0x12 + i * 2) | 0, 0, K) | 0xffff_0000;
      for (let i = 0; i < 4; i++) sels[i] = mmu.read16((base + 0x22 + i * 2) | 0, 0, K);
      sels[Seg.FS] = sels[Seg.GS] = 0;
      ldt = mmu.read16((base + 0x2a) | 0, 0, K);
    }
    if (cause === TaskCause.CALL || cause === TaskCause.INT) {
      mmu.write16(base, 0, K, oldSel);
      newFlags |= Ef.NT;
    }
    if (cause !== TaskCause.IRET && seg.read(sel)) seg.setBusy(true);

    // Commit: from here on faults belong to the new task.
    this.trapPending = false;
    seg.set(TR, sel, base, limit, attr | 2);
    cpu.cr0 |= Cr0.TS;
    if (wide && cpu.cr0 < 0) cpu.control.loadCr3(newCr3, 0);
    for (let i = 0; i < 8; i++) {
      V[GPR_ORDER[i]! * 2] = regs[i]!;
      V[GPR_ORDER[i]! * 2 + 1] = 0;
    }
    cpu.debug.taskSwitch(trap !== 0);
    // Present caches are stale: make every segment unusable until it is loaded.
    for (let s = 0; s < 6; s++) {
      seg.sel[s] = sels[s]!;
      seg.attr[s] = At.NULL;
      seg.limit[s] = 0;
      seg.setBase(s, 0, 0);
      seg.updateLimit(s);
    }
    seg.sel[LDTR] = ldt;
    seg.attr[LDTR] = At.NULL;
    const v86 = (newFlags & Ef.VM) !== 0;
    cpu.cpl = v86 ? 3 : sels[Seg.CS]! & 3;
    cpu.flags.set(newFlags);
    // A fault in loading the segments is reported at the first instruction of the new task.
    cpu.setIp(newEip, 0);
    cpu.restartAt();
    this.switches++;
    if (ldt & 0xfffc) {
      if (ldt & 4 || !seg.read(ldt) || (seg.dAttr & 0x1f) !== 2 || !(seg.dAttr & At.P)) throw cpu.fault(Vec.TS, (ldt & 0xfffc) | ext);
      seg.set(LDTR, ldt, seg.dBase, seg.dLimit, seg.dAttr);
      seg.ldtrHi = 0;
    }
    if (v86) {
      for (let s = 0; s < 6; s++) seg.loadReal(s, sels[s]!);
    } else this.loadSegments(sels, ext);
    cpu.updateMode();
    cpu.setIp(newEip, 0);
    cpu.restartAt();
    if (newEip >>> 0 > seg.limit[Seg.CS]! >>> 0) throw cpu.fault(Vec.GP, 0);
    this.trapPending = trap !== 0;
  }

  private readonly sels = new Int32Array(6);
  private readonly regs = new Int32Array(8);

  /** CS, SS and data segments of the new task, all faults as #TS, #NP or #SS (SDM vol. 3, table 8-1). */
  private loadSegments(sels: Int32Array, ext: number): void {
    const { cpu } = this;
    const { seg, cpl } = cpu;
    const cs = sels[Seg.CS]!;
    const err = (cs & 0xfffc) | ext;
    if (!(cs & 0xfffc) || !seg.read(cs)) throw cpu.fault(Vec.TS, err);
    let a = seg.dAttr;
    if ((a & (At.S | At.CODE)) !== (At.S | At.CODE) || (a & At.CONFORM ? seg.dDpl > cpl : seg.dDpl !== cpl)) throw cpu.fault(Vec.TS, err);
    if (!(a & At.P)) throw cpu.fault(Vec.NP, err);
    seg.markAccessed();
    seg.load(Seg.CS, cs);
    const ss = sels[Seg.SS]!;
    const sErr = (ss & 0xfffc) | ext;
    if (!(ss & 0xfffc) || !seg.read(ss)) throw cpu.fault(Vec.TS, sErr);
    a = seg.dAttr;
    if ((a & (At.S | At.CODE | At.RW)) !== (At.S | At.RW) || seg.dDpl !== cpl || (ss & 3) !== cpl) throw cpu.fault(Vec.TS, sErr);
    if (!(a & At.P)) throw cpu.fault(Vec.SS, sErr);
    seg.markAccessed();
    seg.load(Seg.SS, ss);
    for (const s of DATA_SEGS) {
      const sel = sels[s]!;
      if (!(sel & 0xfffc)) continue;
      const e = (sel & 0xfffc) | ext;
      if (!seg.read(sel)) throw cpu.fault(Vec.TS, e);
      a = seg.dAttr;
      if (!(a & At.S) || (a & At.CODE && !(a & At.RW))) throw cpu.fault(Vec.TS, e);
      if ((a & (At.CODE | At.CONFORM)) !== (At.CODE | At.CONFORM) && ((sel & 3) > seg.dDpl || cpl > seg.dDpl)) throw cpu.fault(Vec.TS, e);
      if (!(a & At.P)) throw cpu.fault(Vec.NP, e);
      seg.markAccessed();
      seg.load(s, sel);
    }
  }
}

const DATA_SEGS: readonly number[] = [Seg.ES, Seg.DS, Seg.FS, Seg.GS];
