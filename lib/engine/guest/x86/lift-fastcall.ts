/**
 * SYSCALL and SYSRET between 64-bit user code and the kernel, and IRETQ within the kernel, inline. Mode.SYSCALL says that EFER and FMASK allow the former; everything
 * else is left to the helpers in transfer.ts. AMD APM vol. 3, SYSCALL and SYSRET; SDM vol. 2, IRET.
 */
import { Fl, NONE, Slot } from '../../state.js';
import { Op } from '../../ir/ops.js';
import { At, Ef } from './defs.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { mmuIndexOf, Mode, Seg, X } from './mode.js';

/** CS and SS as the fast system calls load them: flat, selectors in slot `sel`. */
function flatSegments(c: LiftContext, sel: number, cpl: number): void {
  const b = c.b;
  const dpl = cpl << 5;
  b.mov(3, X.SEL + 1, sel);
  b.mov(3, X.ATTR + 1, b.k64(0x9b | dpl | At.G | At.L, 0x93 | dpl | At.G | At.DB));
  b.mov(3, X.LIMIT + 1, b.k64(-1, -1));
  for (const seg of [Seg.CS, Seg.SS]) b.mov(3, X.SEGBASE + seg, b.k(0));
  // CS may be read, SS read and written.
  for (const slot of [X.LIMIT_R + Seg.CS, X.LIMIT_R + Seg.SS, X.LIMIT_W + Seg.SS]) b.mov(3, slot, b.k64(-1, 0));
  b.mov(3, X.LIMIT_W + Seg.CS, b.k64(-1, 1));
  b.mov(3, X.CPL, b.k(cpl));
}

/** EFLAGS = v without what is in slot FLAGS, and those flags. */
function setFlags(c: LiftContext, v: number, mask: number): void {
  const b = c.b;
  const t = b.temp();
  b.alu(Op.AND, 2, t, v, c.k(mask), 0);
  b.emit(Op.PUTF, 2, 0, Fl.ALL, NONE, v, NONE, NONE, 0, 0);
  b.alu(Op.OR, 2, X.EFLAGS, t, c.k(2), 0);
}

function enter(c: LiftContext, mode: number, target: number): void {
  c.b.setMode(mode, mmuIndexOf(mode));
  c.b.jmpi(target, 0);
}

export function syscall(c: LiftContext): void {
  const b = c.b;
  if (!c.code64 || (c.mode & (Mode.USER | Mode.AC | Mode.SYSCALL)) !== (Mode.USER | Mode.SYSCALL) || !c.mayChangeMode) {
    c.callEnd(H.SYSCALL, NONE, NONE, NONE, NONE, c.insn.opsize);
    return;
  }
  const arith = b.temp();
  const system = b.temp();
  const flags = b.temp();
  const masked = b.temp();
  const next = c.nextIp();
  b.emit(Op.GETF, 2, 0, 0, arith, NONE, NONE, NONE, 0, 0);
  b.alu(Op.AND, 2, system, X.EFLAGS, c.k((Ef.SYSTEM & ~Ef.RF) | 2), 0);
  b.alu(Op.OR, 2, flags, arith, system, 0);
  b.alu(Op.AND, 2, masked, flags, X.NFMASK, 0);
  b.mov(3, X.RCX, next);
  b.mov(2, X.R11, flags);
  setFlags(c, masked, Ef.SYSTEM & ~Ef.RF);
  flatSegments(c, X.SYSCALL_SEL, 0);
  enter(c, (c.mode & ~Mode.USER) | Mode.CPL0, X.LSTAR);
}

/** Temporary that is not 0 if v is no canonical address of 48 bits. */
export function notCanonical(c: LiftContext, v: number): number {
  const b = c.b;
  const up = b.temp();
  const back = b.temp();
  const differs = b.temp();
  b.alu(Op.SHL, 3, up, v, c.k(16), 0);
  b.alu(Op.SAR, 3, back, up, c.k(16), 0);
  b.alu(Op.XOR, 3, differs, back, v, 0);
  return differs;
}

/** An interrupt that was held off is looked at if the flags in v have IF. */
function letInterruptsIn(c: LiftContext, v: number): void {
  const b = c.b;
  const bit = b.temp();
  const due = b.temp();
  b.alu(Op.SHR, 2, bit, v, c.k(9), 0);
  b.alu(Op.AND, 2, due, bit, X.IRQ, 0);
  b.alu(Op.OR, 0, Slot.PENDING, Slot.PENDING, due, 0);
}

/** IRETQ at CPL 0 to where CS and SS are what they are already (X.IRET_SEL): interrupts of the kernel, and its way to serialise. */
export function iret(c: LiftContext): void {
  const b = c.b;
  const want = Mode.CPL0 | Mode.LONG;
  // RF counts only while instruction breakpoints are set, and code is run step by step then.
  if (!c.code64 || c.insn.opsize !== 3 || (c.mode & (want | Mode.AC | Mode.STEP)) !== want || !c.mayChangeMode) {
    c.callEnd(H.IRET, NONE, NONE, NONE, NONE, c.insn.opsize);
    return;
  }
  const alu = (op: Op, x: number, y: number): number => {
    const t = b.temp();
    b.alu(op, 3, t, x, y, 0);
    return t;
  };
  const pop = (at: number): number => {
    const t = b.temp();
    c.stackLoad(3, t, at);
    return t;
  };
  const low = (v: number): number => {
    const t = b.temp();
    b.zx(1, t, v);
    return t;
  };
  const rip = pop(0);
  const cs = pop(8);
  const flags = pop(16);
  const rsp = pop(24);
  const ss = pop(32);
  const selectors = alu(Op.OR, low(cs), alu(Op.SHL, low(ss), c.k(32)));
  let rare = alu(Op.OR, alu(Op.XOR, selectors, X.IRET_SEL), alu(Op.XOR, X.SEL + 1, X.IRET_SEL));
  rare = alu(Op.OR, rare, alu(Op.AND, flags, c.k(Ef.TF | Ef.NT | Ef.VM | Ef.AC | Ef.VIF | Ef.VIP)));
  rare = alu(Op.OR, rare, alu(Op.AND, X.EFLAGS, c.k(Ef.NT)));
  c.callIf(H.IRET, 3, alu(Op.OR, rare, notCanonical(c, rip)), NONE, 3);
  // The descriptors may have changed in memory.
  const csNow = b.temp();
  const ssNow = b.temp();
  b.ld(3, csNow, X.IRET_CS_AT);
  b.ld(3, ssNow, X.IRET_SS_AT);
  c.callIf(H.IRET, 3, alu(Op.OR, alu(Op.XOR, csNow, X.IRET_CS), alu(Op.XOR, ssNow, X.IRET_SS)), NONE, 3);
  setFlags(c, flags, Ef.SYSTEM & ~(Ef.RF | Ef.VM));
  letInterruptsIn(c, flags);
  b.mov(3, X.RSP, rsp);
  b.jmpi(rip, 0);
}

export function sysret(c: LiftContext): void {
  const b = c.b;
  const want = Mode.CPL0 | Mode.SYSCALL | Mode.LONG;
  if (!c.code64 || c.insn.opsize !== 3 || (c.mode & want) !== want || !c.mayChangeMode) {
    c.callEnd(H.SYSRET, NONE, NONE, NONE, NONE, c.insn.opsize);
    return;
  }
  // What makes another mode of it than plain user code.
  const rare = b.temp();
  b.alu(Op.AND, 2, rare, X.R11, c.k(Ef.TF | Ef.AC), 0);
  c.callIf(H.SYSRET, 2, rare, NONE, 3);
  setFlags(c, X.R11, Ef.SYSTEM & ~(Ef.RF | Ef.VM));
  letInterruptsIn(c, X.R11);
  flatSegments(c, X.SYSRET_SEL, 3);
  enter(c, (c.mode & ~(Mode.CPL0 | Mode.AC)) | Mode.USER, X.RCX);
}
