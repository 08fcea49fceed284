/**
 * Delivery of exceptions and interrupts: real mode (SDM vol. 3, 21.1.4), protected mode gates (6.11, 6.12), virtual-8086
 * mode with VME (21.3), long mode with IST (6.14), nested faults (table 6-5).
 */
import { GuestFault } from '../../cpu.js';
import { At, Cr4, Ef, Efer, TR, Vec, canonical } from './defs.js';
import { Mmu, Mode, Seg, X } from './mode.js';
import type { X86Cpu } from './cpu.js';
import { Stack } from './stack.js';

/** Where an event comes from: decides privilege checks, the EXT bit and the pushed RF. */
export const enum Src {
  /** Exception of the fault class: RF is pushed as 1. */
  FAULT = 0,
  /** Debug trap or NMI or abort: RF is pushed as it is. */
  TRAP = 1,
  /** External interrupt. */
  EXTERNAL = 2,
  /** INT n: gate DPL is checked. */
  INT_N = 3,
  /** INT3, INTO: gate DPL is checked, no VME redirection. */
  INT3 = 4,
  /** INT1: no DPL check. */
  INT1 = 5,
}

/** Exceptions that push an error code in protected mode. */
export const HAS_ERROR_CODE = (1 << Vec.DF) | (1 << Vec.TS) | (1 << Vec.NP) | (1 << Vec.SS) | (1 << Vec.GP) | (1 << Vec.PF) | (1 << Vec.AC) | (1 << Vec.CP);
const CONTRIBUTORY = (1 << Vec.DE) | (1 << Vec.TS) | (1 << Vec.NP) | (1 << Vec.SS) | (1 << Vec.GP) | (1 << Vec.CP);

export class Interrupts {
  private readonly stack: Stack;

  constructor(private readonly cpu: X86Cpu) {
    this.stack = new Stack(cpu);
  }

  /**
   * Delivers an event whose return address is linear retHi:retLo. Faults during delivery become further exceptions, a
   * double fault or shutdown (SDM vol. 3, table 6-5). Software interrupts (INT_N, INT3) let their faults out, for the
   * instruction itself is what faults then.
   */
  deliver(vector: number, src: Src, err: number, hasErr: boolean, retLo: number, retHi: number): void {
    const cpu = this.cpu;
    if (src >= Src.INT_N) {
      this.once(vector, src, err, hasErr, retLo, retHi);
      return;
    }
    let cur = vector;
    // Only exceptions take part in the double-fault table; an external interrupt with the same number is benign.
    let isExc = src !== Src.EXTERNAL && vector !== Vec.NMI;
    const { switches } = cpu.tasks;
    for (;;) {
      try {
        this.once(cur, src, err, hasErr, retLo, retHi);
        return;
      } catch (e) {
        if (!(e instanceof GuestFault)) throw e;
        if (e.vector === Vec.DB) {
          // The T bit of a task behind a task gate: the event itself has been delivered.
          cpu.halted = false;
          cpu.deliverFault(e);
          return;
        }
        if (isExc && cur === Vec.DF) {
          cpu.shutdown = true;
          cpu.halted = true;
          return;
        }
        const first = isExc ? 1 << cur : 0;
        const next = e.vector;
        const contributory = (CONTRIBUTORY >>> next) & 1;
        if ((first & CONTRIBUTORY && contributory) || (isExc && cur === Vec.PF && (contributory || next === Vec.PF))) {
          cur = Vec.DF;
          err = 0;
          hasErr = true;
        } else {
          cur = next;
          hasErr = e.hasErrorCode;
          // EXT: the fault happened while an event from outside the program was delivered.
          err = next === Vec.PF ? e.errorCode : e.errorCode | 1;
        }
        isExc = true;
        src = Src.FAULT;
        if (cpu.tasks.switches !== switches) {
          // The fault belongs to the first instruction of the task that has just been entered.
          cpu.insnPc();
          retLo = cpu.ipLo;
          retHi = cpu.ipHi;
        }
      }
    }
  }

  private once(vector: number, src: Src, err: number, hasErr: boolean, retLo: number, retHi: number): void {
    const cpu = this.cpu;
    const mode = cpu.mode;
    if (cpu.efer & Efer.LMA) this.long(vector, src, err, hasErr, retLo, retHi);
    else {
      const eip = (retLo - cpu.V[(X.SEGBASE + Seg.CS) * 2]!) | 0;
      if (!(mode & Mode.REAL)) this.legacy(vector, src, err, hasErr, eip);
      else if (!(mode & Mode.V86)) this.real(vector, eip);
      else if (src === Src.INT_N) this.v86Int(vector, eip);
      else this.legacy(vector, src, err, hasErr, eip);
    }
    // Only after success: delivery ends a halt, and the single-step trap of the interrupted instruction.
    cpu.halted = false;
    cpu.debug.cancelStep();
    cpu.updateIntr();
    if (cpu.trace !== null) cpu.trace.delivered(cpu, vector, src, err, hasErr, retLo, retHi);
  }

  // ---- real mode -----------------------------------------------------------------------------------------------------

  private real(vector: number, eip: number): void {
    const { cpu } = this;
    const { mmu, seg } = cpu;
    if (vector * 4 + 3 > seg.idtLimit) throw cpu.fault(Vec.GP, 0);
    const e = mmu.read32((seg.idtLo + vector * 4) | 0, 0, Mmu.KERNEL);
    this.enterReal(e, eip, cpu.flags.get(), Ef.IF | Ef.TF | Ef.AC | Ef.RF);
  }

  /** Pushes FLAGS, CS, IP (16 bits each) and jumps to e = CS:IP. */
  private enterReal(e: number, eip: number, pushed: number, clear: number): void {
    const { cpu, stack } = this;
    stack.current();
    stack.push(1, pushed);
    stack.push(1, cpu.seg.sel[Seg.CS]!);
    stack.push(1, eip);
    stack.commit();
    cpu.seg.loadReal(Seg.CS, e >>> 16);
    cpu.flags.change(0, clear);
    cpu.setIp(e & 0xffff, 0);
  }

  /** INT n in virtual-8086 mode (SDM vol. 3, table 21-2): redirection bitmap with VME, IOPL rules. */
  private v86Int(vector: number, eip: number): void {
    const { cpu } = this;
    const { mmu, seg } = cpu;
    if (cpu.cr4 & Cr4.VME) {
      const io = mmu.read16((seg.trLo + 102) | 0, seg.trHi, Mmu.KERNEL);
      const at = io - 32 + (vector >> 3);
      if (at <= seg.limit[TR]! >>> 0 && !(mmu.read8((seg.trLo + at) | 0, seg.trHi, Mmu.KERNEL) & (1 << (vector & 7)))) {
        const e = mmu.read32(vector * 4, 0, cpu.mmuIdx);
        const f = cpu.flags.get();
        if (cpu.flags.iopl === 3) this.enterReal(e, eip, f, Ef.IF | Ef.TF | Ef.AC | Ef.RF);
        else this.enterReal(e, eip, (f & ~Ef.IF) | Ef.IOPL | (f & Ef.VIF ? Ef.IF : 0), Ef.VIF | Ef.TF | Ef.AC | Ef.RF);
        return;
      }
    }
    if (cpu.flags.iopl < 3) throw cpu.fault(Vec.GP, 0);
    this.legacy(vector, Src.INT_N, 0, false, eip);
  }

  // ---- protected mode ------------------------------------------------------------------------------------------------

  private pushedFlags(src: Src): number {
    const f = this.cpu.flags.get();
    // A restarted fault must not hit the same instruction breakpoint again (SDM vol. 3, 17.3.1.1).
    return src === Src.FAULT ? f | Ef.RF : src === Src.EXTERNAL || src === Src.TRAP ? f : f & ~Ef.RF;
  }

  private legacy(vector: number, src: Src, err: number, hasErr: boolean, eip: number): void {
    const { cpu, stack } = this;
    const { mmu, seg } = cpu;
    const ext = src === Src.INT_N || src === Src.INT3 ? 0 : 1;
    const idtErr = vector * 8 + 2 + ext;
    if (vector * 8 + 7 > seg.idtLimit) throw cpu.fault(Vec.GP, idtErr);
    mmu.read64((seg.idtLo + vector * 8) | 0, seg.idtHi, Mmu.KERNEL);
    const g0 = mmu.lo;
    const g1 = mmu.hi;
    const type = (g1 >>> 8) & 0x1f;
    if (type !== 5 && type !== 6 && type !== 7 && type !== 14 && type !== 15) throw cpu.fault(Vec.GP, idtErr);
    if ((src === Src.INT_N || src === Src.INT3) && ((g1 >>> 13) & 3) < cpu.cpl) throw cpu.fault(Vec.GP, idtErr);
    if (!(g1 & 0x8000)) throw cpu.fault(Vec.NP, idtErr);
    if (type === 5) {
      cpu.tasks.gate(g0 >>> 16, eip, src, err, hasErr);
      return;
    }
    const w = type & 8 ? 2 : 1;
    const interruptGate = (type & 1) === 0;
    const off = w === 2 ? (g1 & 0xffff_0000) | (g0 & 0xffff) : g0 & 0xffff;
    const cs = g0 >>> 16;
    if (!(cs & 0xfffc)) throw cpu.fault(Vec.GP, ext);
    seg.fetch(cs, Vec.GP, ext);
    const a = seg.dAttr;
    const dpl = seg.dDpl;
    const csErr = (cs & 0xfffc) | ext;
    if ((a & (At.S | At.CODE)) !== (At.S | At.CODE) || dpl > cpu.cpl) throw cpu.fault(Vec.GP, csErr);
    if (!(a & At.P)) throw cpu.fault(Vec.NP, csErr);
    const v86 = (cpu.mode & Mode.V86) !== 0;
    const conform = (a & At.CONFORM) !== 0;
    if (v86 && (conform || dpl !== 0)) throw cpu.fault(Vec.GP, csErr);
    seg.markAccessed();
    const c0 = seg.d0;
    const c1 = seg.d1;
    const limit = seg.dLimit;
    const flags = this.pushedFlags(src);
    const pushErr = hasErr ? 1 : 0;
    if (!conform && dpl < cpu.cpl) {
      // Inner privilege: new stack from the TSS, SS checked against the new level.
      cpu.tasks.innerStack(dpl, ext);
      const ss = cpu.tasks.newSs;
      const esp = cpu.tasks.newSp;
      if (!(ss & 0xfffc)) throw cpu.fault(Vec.TS, ext);
      const ssErr = (ss & 0xfffc) | ext;
      seg.fetch(ss, Vec.TS, ext);
      const sa = seg.dAttr;
      if ((ss & 3) !== dpl || seg.dDpl !== dpl || (sa & (At.S | At.CODE | At.RW)) !== (At.S | At.RW)) throw cpu.fault(Vec.TS, ssErr);
      if (!(sa & At.P)) throw cpu.fault(Vec.SS, ssErr);
      seg.markAccessed();
      const s0 = seg.d0;
      const s1 = seg.d1;
      stack.inner(esp, seg.dBase, seg.dLimit, sa, Mmu.KERNEL, ssErr);
      const V = cpu.V;
      if (v86) {
        stack.push(w, seg.sel[Seg.GS]!);
        stack.push(w, seg.sel[Seg.FS]!);
        stack.push(w, seg.sel[Seg.DS]!);
        stack.push(w, seg.sel[Seg.ES]!);
      }
      stack.push(w, seg.sel[Seg.SS]!);
      stack.push(w, V[X.RSP * 2]!);
      stack.push(w, flags);
      stack.push(w, seg.sel[Seg.CS]!);
      stack.push(w, eip);
      if (pushErr) stack.push(w, err);
      if (off >>> 0 > limit >>> 0) throw cpu.fault(Vec.GP, ext);
      seg.d0 = s0;
      seg.d1 = s1;
      cpu.cpl = dpl;
      seg.load(Seg.SS, ss);
      stack.commitNew();
      if (v86) {
        cpu.V[X.EFLAGS * 2]! &= ~Ef.VM;
        for (const r of V86_SEGS) seg.loadNull(r, 0);
      }
    } else {
      stack.current();
      stack.push(w, flags);
      stack.push(w, seg.sel[Seg.CS]!);
      stack.push(w, eip);
      if (pushErr) stack.push(w, err);
      if (off >>> 0 > limit >>> 0) throw cpu.fault(Vec.GP, ext);
      stack.commit();
    }
    seg.d0 = c0;
    seg.d1 = c1;
    seg.load(Seg.CS, (cs & 0xfffc) | cpu.cpl);
    cpu.flags.change(0, Ef.TF | Ef.NT | Ef.RF | Ef.VM | (interruptGate ? Ef.IF : 0));
    cpu.setIp(off, 0);
  }

  // ---- long mode -------------------------------------------------------------------------------------------------------

  private long(vector: number, src: Src, err: number, hasErr: boolean, retLo: number, retHi: number): void {
    const { cpu, stack } = this;
    const { mmu, seg } = cpu;
    const V = cpu.V;
    const ext = src === Src.INT_N || src === Src.INT3 ? 0 : 1;
    const idtErr = vector * 8 + 2 + ext;
    if (vector * 16 + 15 > seg.idtLimit) throw cpu.fault(Vec.GP, idtErr);
    const gLo = (seg.idtLo + vector * 16) | 0;
    const gHi = (gLo >>> 0) < (seg.idtLo >>> 0) ? seg.idtHi + 1 : seg.idtHi;
    mmu.read64(gLo, gHi, Mmu.KERNEL);
    const g0 = mmu.lo;
    const g1 = mmu.hi;
    const g2 = mmu.read32((gLo + 8) | 0, gHi, Mmu.KERNEL);
    const type = (g1 >>> 8) & 0x1f;
    if (type !== 14 && type !== 15) throw cpu.fault(Vec.GP, idtErr);
    if ((src === Src.INT_N || src === Src.INT3) && ((g1 >>> 13) & 3) < cpu.cpl) throw cpu.fault(Vec.GP, idtErr);
    if (!(g1 & 0x8000)) throw cpu.fault(Vec.NP, idtErr);
    const cs = g0 >>> 16;
    if (!(cs & 0xfffc)) throw cpu.fault(Vec.GP, ext);
    seg.fetch(cs, Vec.GP, ext);
    const a = seg.dAttr;
    const csErr = (cs & 0xfffc) | ext;
    let dpl = seg.dDpl;
    if ((a & (At.S | At.CODE)) !== (At.S | At.CODE) || dpl > cpu.cpl || (a & (At.L | At.DB)) !== At.L) throw cpu.fault(Vec.GP, csErr);
    if (!(a & At.P)) throw cpu.fault(Vec.NP, csErr);
    if (a & At.CONFORM) dpl = cpu.cpl;
    seg.markAccessed();
    const c0 = seg.d0;
    const c1 = seg.d1;

    const ist = g1 & 7;
    const inner = dpl < cpu.cpl;
    let spLo = V[X.RSP * 2]!;
    let spHi = V[X.RSP * 2 + 1]!;
    const oldLo = spLo;
    const oldHi = spHi;
    if (ist !== 0 || inner) {
      cpu.tasks.rsp(ist !== 0 ? 28 + ist * 8 : 4 + dpl * 8, ext);
      spLo = mmu.lo;
      spHi = mmu.hi;
    }
    if (!canonical(spHi, mmu.canonicalBits)) throw cpu.fault(Vec.SS, ext);
    const idx = dpl === 3 ? Mmu.USER : inner ? Mmu.KERNEL : cpu.mmuIdx;
    const flags = this.pushedFlags(src);
    const code64 = (cpu.mode & Mode.CODE64) !== 0;
    const bytes = hasErr ? 48 : 40;
    const frame = mmu.wordsToWrite(((spLo & ~15) - bytes) | 0, spHi, idx, bytes);
    stack.flat(spLo & ~15, spHi, idx);
    if (frame >= 0 && code64 && (spLo & ~15) >>> 0 >= bytes) {
      // Nearly always: all of it in one page of plain memory.
      const { ram32 } = cpu.map;
      let p = frame;
      if (hasErr) {
        ram32[p++] = err;
        ram32[p++] = 0;
      }
      ram32[p] = retLo;
      ram32[p + 1] = retHi;
      ram32[p + 2] = seg.sel[Seg.CS]!;
      ram32[p + 3] = 0;
      ram32[p + 4] = flags;
      ram32[p + 5] = 0;
      ram32[p + 6] = oldLo;
      ram32[p + 7] = oldHi;
      ram32[p + 8] = seg.sel[Seg.SS]!;
      ram32[p + 9] = 0;
      stack.release(-bytes);
    } else {
      stack.push(3, seg.sel[Seg.SS]!);
      stack.push(3, oldLo, oldHi);
      stack.push(3, flags);
      stack.push(3, seg.sel[Seg.CS]!);
      if (code64) stack.push(3, retLo, retHi);
      else stack.push(3, (retLo - seg.baseLo(Seg.CS)) | 0);
      if (hasErr) stack.push(3, err);
    }
    const ipHi = g2;
    const ipLo = (g1 & 0xffff_0000) | (g0 & 0xffff);
    if (!canonical(ipHi, mmu.canonicalBits)) throw cpu.fault(Vec.GP, ext);
    cpu.cpl = dpl;
    if (inner) {
      seg.sel[Seg.SS] = dpl;
      seg.attr[Seg.SS] = At.NULL | At.DB | (dpl << 5);
    }
    stack.commit();
    seg.d0 = c0;
    seg.d1 = c1;
    seg.reload(Seg.CS, (cs & 0xfffc) | dpl);
    V[X.EFLAGS * 2]! &= ~(Ef.TF | Ef.NT | Ef.RF | Ef.VM | (type === 14 ? Ef.IF : 0));
    cpu.updateMode();
    cpu.setIp(ipLo, ipHi);
  }
}

const V86_SEGS: readonly number[] = [Seg.GS, Seg.FS, Seg.DS, Seg.ES];
