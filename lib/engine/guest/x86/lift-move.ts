/**
 * Data movement: MOV family, extensions, conditional moves and sets, the stack, flag transfers.
 * Intel SDM vol. 1 sections 7.3.1-7.3.2, 6.2 (stack).
 */
import { Fl, NONE, Slot } from '../../state.js';
import { Op } from '../../ir/ops.js';
import { Ef } from './defs.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { gpr, Mode, X } from './mode.js';
import { Imm, M64, Mod, P, row, Size, type Row } from './opcodes.js';

function evenWidth(c: LiftContext): number {
  return (c.insn.opcode & 1) !== 0 ? c.insn.opsize : 0;
}

function movEG(c: LiftContext): void {
  const w = evenWidth(c);
  c.writeRm(w, c.readReg(c.insn.reg, w));
}

function movGE(c: LiftContext): void {
  const i = c.insn;
  const w = evenWidth(c);
  if (i.mod !== 3 && !c.isHigh(i.reg, w)) {
    c.b.ld(w, gpr(i.reg), c.ea(1 << w, false));
    return;
  }
  c.writeReg(i.reg, w, c.readRm(w));
}

function movEI(c: LiftContext): void {
  c.writeRm(evenWidth(c), c.immSlot());
}

/** B0+r. */
function movRegImm8(c: LiftContext): void {
  c.writeReg(c.insn.opreg, 0, c.immSlot());
}

/** B8+r. */
function movRegImm(c: LiftContext): void {
  c.b.mov(c.insn.opsize, gpr(c.insn.opreg), c.immSlot());
}

/** A0..A3: accumulator and an absolute offset. */
function movOffs(c: LiftContext): void {
  const i = c.insn;
  const w = evenWidth(c);
  const store = (i.opcode & 2) !== 0;
  const a = c.linear(c.absolute(), 1 << w, store);
  if (store) c.b.st(w, a, X.RAX);
  else c.b.ld(w, X.RAX, a);
}

function lea(c: LiftContext): void {
  c.leaTo(c.insn.reg, c.insn.opsize);
}

/** MOVZX and MOVSX; arg = 1 for the signed form. Opcode bit 0 selects a 16-bit source. */
function movExtend(c: LiftContext): void {
  const i = c.insn;
  const from = i.opcode & 1;
  const w = i.opsize;
  const src = c.readRm(from);
  if (w === from) c.b.mov(w, gpr(i.reg), src);
  else if (c.arg !== 0) c.b.sx(from, 8 << w, gpr(i.reg), src);
  else if (w === 1) {
    const t = c.b.temp();
    c.b.zx(0, t, src);
    c.b.mov(1, gpr(i.reg), t);
  } else c.b.zx(from, gpr(i.reg), src);
}

function movsxd(c: LiftContext): void {
  const i = c.insn;
  const w = i.opsize;
  if (w === 3) c.b.sx(2, 64, gpr(i.reg), c.readRm(2));
  else c.b.mov(w, gpr(i.reg), c.readRm(w));
}

function cmov(c: LiftContext): void {
  const i = c.insn;
  const r = gpr(i.reg);
  c.b.cmov(i.opcode & 15, i.opsize, r, c.readRm(i.opsize), r);
}

function setcc(c: LiftContext): void {
  const i = c.insn;
  const cc = i.opcode & 15;
  if (i.mod === 3) {
    const d = c.regDst(i.rm, 0);
    c.b.setcc(cc, d);
    c.regDone(i.rm, d);
    return;
  }
  const t = c.b.temp();
  c.b.setcc(cc, t);
  c.writeRm(0, t);
}

/** MOVNTI: a plain store. */
function movnti(c: LiftContext): void {
  c.writeRm(c.insn.opsize, gpr(c.insn.reg));
}

function xlat(c: LiftContext): void {
  const b = c.b;
  const i = c.insn;
  const al = b.temp();
  b.zx(0, al, X.RAX);
  const off = b.temp();
  b.lea(i.addrsize, off, X.RBX, al, 0, 0);
  b.ld(0, X.RAX, c.segLinear(i.seg >= 0 ? i.seg : 3, off, 1, false));
}

// ---- stack ----

function pushReg(c: LiftContext): void {
  c.push(c.insn.opsize, gpr(c.insn.opreg));
}

function popReg(c: LiftContext): void {
  const w = c.insn.opsize;
  const r = gpr(c.insn.opreg);
  if (w >= 2 && r !== X.RSP) {
    c.stackLoad(w, r);
    c.addSp(1 << w);
    return;
  }
  const t = c.b.temp();
  c.stackLoad(w, t);
  c.addSp(1 << w);
  c.b.mov(w, r, t);
}

function pushImm(c: LiftContext): void {
  c.push(c.insn.opsize, c.immSlot());
}

function pushRm(c: LiftContext): void {
  c.push(c.insn.opsize, c.readRm(c.insn.opsize));
}

/** POP rm: an address that uses RSP is computed after the increment. */
function popRm(c: LiftContext): void {
  const i = c.insn;
  const w = i.opsize;
  const t = c.b.temp();
  c.stackLoad(w, t);
  if (i.mod === 3) {
    c.addSp(1 << w);
    c.writeReg(i.rm, w, t);
    return;
  }
  if (i.base === 4) {
    i.disp = (i.disp + (1 << w)) | 0;
    // It is no longer what the code says.
    i.dispAt = -1;
  }
  c.writeRm(w, t);
  c.addSp(1 << w);
}

/** PUSHA: every store before the stack pointer moves, so that a fault leaves it as it was. */
function pusha(c: LiftContext): void {
  const b = c.b;
  const w = c.insn.opsize;
  for (let r = 0; r < 8; r++) {
    const off = b.temp();
    b.lea(c.sw, off, X.RSP, NONE, 0, -((r + 1) << w));
    b.st(w, c.stackLinear(off, 1 << w, true), gpr(r));
  }
  c.addSp(-(8 << w));
}

function popa(c: LiftContext): void {
  const b = c.b;
  const w = c.insn.opsize;
  // popped in the order DI SI BP (SP skipped) BX DX CX AX
  const first = b.tempEnd;
  for (let k = 0; k < 8; k++) b.temp();
  for (let k = 0; k < 8; k++) if (k !== 3) c.stackLoad(w, first + k, k << w);
  c.addSp(8 << w);
  for (let k = 0; k < 8; k++) if (k !== 3) b.mov(w, gpr(7 - k), first + k);
}

function pushf(c: LiftContext): void {
  const b = c.b;
  const w = c.insn.opsize;
  const v = b.temp();
  if ((c.mode & Mode.V86) !== 0) {
    c.call(H.PUSHF, v, NONE, NONE, NONE, w);
  } else {
    const f = b.temp();
    const s = b.temp();
    b.emit(Op.GETF, 2, 0, 0, f, NONE, NONE, NONE, 0, 0);
    b.alu(Op.AND, 2, s, X.EFLAGS, c.k(0xfcffff), 0);
    b.alu(Op.OR, 2, v, f, s, 0);
  }
  c.push(w, v);
}

/**
 * POPF. Inline in 64-bit and 32-bit code with flat privilege rules (CPL 0, or CPL 3 with IOPL 0) as long as TF and AC, which are part of
 * the mode, stay what they are: kernels enable interrupts with it.
 */
function popf(c: LiftContext): void {
  const b = c.b;
  const w = c.insn.opsize;
  const kernel = (c.mode & Mode.CPL0) !== 0;
  if (w === 1 || (c.mode & Mode.REAL) !== 0 || (c.mode & (Mode.CPL0 | Mode.USER)) === 0 || !c.mayChangeMode) {
    const t = b.temp();
    c.stackLoad(w, t);
    c.call(H.POPF, NONE, t, NONE, NONE, w);
    c.addSp(1 << w);
    c.endNext();
    return;
  }
  const v = b.temp();
  c.stackLoad(w, v);
  const differs = b.temp();
  let rare = b.temp();
  b.alu(Op.XOR, 2, differs, v, X.EFLAGS, 0);
  b.alu(Op.AND, 2, rare, differs, c.k(Ef.TF | Ef.AC), 0);
  if (!kernel) {
    const iopl = b.temp();
    const either = b.temp();
    b.alu(Op.AND, 2, iopl, X.EFLAGS, c.k(Ef.IOPL), 0);
    b.alu(Op.OR, 2, either, rare, iopl, 0);
    rare = either;
  }
  c.callIf(H.POPF_RARE, 2, rare, v, w);
  c.addSp(1 << w);
  // RF is cleared (SDM vol. 2, POPF).
  const changes = Ef.DF | Ef.NT | Ef.ID | (kernel ? Ef.IF | Ef.IOPL : 0);
  const kept = b.temp();
  const taken = b.temp();
  b.alu(Op.AND, 2, kept, X.EFLAGS, c.k(~(changes | Ef.RF)), 0);
  b.alu(Op.AND, 2, taken, v, c.k(changes), 0);
  b.emit(Op.PUTF, 2, 0, Fl.ALL, NONE, v, NONE, NONE, 0, 0);
  b.alu(Op.OR, 2, X.EFLAGS, kept, taken, 0);
  if (!kernel) return;
  // An interrupt that was held off.
  const bit = b.temp();
  const due = b.temp();
  b.alu(Op.SHR, 2, bit, v, c.k(9), 0);
  b.alu(Op.AND, 2, due, bit, X.IRQ, 0);
  b.alu(Op.OR, 0, Slot.PENDING, Slot.PENDING, due, 0);
  b.jmp(c.insn.next);
  b.checkPending();
}

/** ENTER: nesting level 0 inline. */
function enter(c: LiftContext): void {
  const b = c.b;
  const i = c.insn;
  const w = i.opsize;
  if ((i.imm2 & 31) !== 0) {
    c.call(H.ENTER, NONE, NONE, NONE, NONE, i.imm | ((i.imm2 & 31) << 16) | (w << 24));
    return;
  }
  const frame = b.temp();
  b.lea(c.sw, frame, X.RSP, NONE, 0, -(1 << w));
  b.st(w, c.stackLinear(frame, 1 << w, true), X.RBP);
  const sp = b.temp();
  b.lea(c.sw, sp, frame, NONE, 0, -i.imm);
  b.mov(w, X.RBP, frame);
  b.mov(c.sw, X.RSP, sp);
}

function leave(c: LiftContext): void {
  const b = c.b;
  const w = c.insn.opsize;
  let bp: number = X.RBP;
  if (c.sw !== 3) {
    bp = b.temp();
    b.lea(c.sw, bp, X.RBP, NONE, 0, 0);
  }
  const t = b.temp();
  b.ld(w, t, c.stackLinear(bp, 1 << w, false));
  const sp = b.temp();
  b.lea(c.sw, sp, bp, NONE, 0, 1 << w);
  b.mov(c.sw, X.RSP, sp);
  b.mov(w, X.RBP, t);
}

// ---- flags ----

/** CLC 0, STC 1, CMC 2. */
function setCarry(c: LiftContext): void {
  c.b.emit(Op.SETCF, 0, 0, Fl.CF, NONE, NONE, NONE, NONE, c.arg, 0);
}

function sahf(c: LiftContext): void {
  const t = c.b.temp();
  c.b.emit(Op.EXTH, 0, 0, 0, t, X.RAX, NONE, NONE, 0, 0);
  c.b.emit(Op.PUTF, 2, 0, Fl.CF | Fl.PF | Fl.AF | Fl.ZF | Fl.SF, NONE, t, NONE, NONE, 0, 0);
}

function lahf(c: LiftContext): void {
  const f = c.b.temp();
  const t = c.b.temp();
  c.b.emit(Op.GETF, 2, 0, 0, f, NONE, NONE, NONE, 0, 0);
  c.b.alu(Op.OR, 2, t, f, c.k(2), 0);
  c.b.emit(Op.INSH, 0, 0, 0, X.RAX, t, NONE, NONE, 0, 0);
}

/** CLD, STD; arg = 1 to set. */
function direction(c: LiftContext): void {
  if (c.arg !== 0) c.b.alu(Op.OR, 2, X.EFLAGS, X.EFLAGS, c.k(0x400), 0);
  else c.b.alu(Op.AND, 2, X.EFLAGS, X.EFLAGS, c.k(~0x400), 0);
}

const not64 = M64.NOT64;

export const MOVE_ROWS: readonly Row[] = [
  row(0, 0x88, 'mov', movEG, { n: 2, modrm: true }),
  row(0, 0x8a, 'mov', movGE, { n: 2, modrm: true }),
  row(0, 0x8d, 'lea', lea, { mod: Mod.MEM }),
  row(0, 0xa0, 'mov', movOffs, { n: 4, imm: Imm.MOFFS }),
  row(0, 0xb0, 'mov', movRegImm8, { n: 8, imm: Imm.IB }),
  row(0, 0xb8, 'mov', movRegImm, { n: 8, imm: Imm.IV }),
  row(0, 0xc6, 'mov', movEI, { digit: 0, imm: Imm.IB }),
  row(0, 0xc7, 'mov', movEI, { digit: 0, imm: Imm.IZ }),
  row(1, 0xb6, 'movzx', movExtend, { n: 2, modrm: true }),
  row(1, 0xbe, 'movsx', movExtend, { n: 2, modrm: true, arg: 1 }),
  row(0, 0x63, 'movsxd', movsxd, { modrm: true, m64: M64.ONLY64 }),
  row(1, 0x40, 'cmovcc', cmov, { n: 16, modrm: true, feature: 'cmov' }),
  row(1, 0x90, 'setcc', setcc, { n: 16, modrm: true }),
  row(1, 0xc3, 'movnti', movnti, { p: P.NP, mod: Mod.MEM, feature: 'sse2' }),
  row(0, 0xd7, 'xlat', xlat),

  row(0, 0x50, 'push', pushReg, { n: 8, size: Size.D64 }),
  row(0, 0x58, 'pop', popReg, { n: 8, size: Size.D64 }),
  row(0, 0x68, 'push', pushImm, { imm: Imm.IZ, size: Size.D64 }),
  row(0, 0x6a, 'push', pushImm, { imm: Imm.IB, size: Size.D64 }),
  row(0, 0xff, 'push', pushRm, { digit: 6, size: Size.D64 }),
  row(0, 0x8f, 'pop', popRm, { digit: 0, size: Size.D64 }),
  row(0, 0x60, 'pusha', pusha, { m64: not64 }),
  row(0, 0x61, 'popa', popa, { m64: not64 }),
  row(0, 0x9c, 'pushf', pushf, { size: Size.D64 }),
  row(0, 0x9d, 'popf', popf, { size: Size.D64 }),
  row(0, 0xc8, 'enter', enter, { imm: Imm.IWIB, size: Size.D64 }),
  row(0, 0xc9, 'leave', leave, { size: Size.D64 }),

  row(0, 0xf8, 'clc', setCarry, { arg: 0 }),
  row(0, 0xf9, 'stc', setCarry, { arg: 1 }),
  row(0, 0xf5, 'cmc', setCarry, { arg: 2 }),
  row(0, 0x9e, 'sahf', sahf),
  row(0, 0x9f, 'lahf', lahf),
  row(0, 0xfc, 'cld', direction, { arg: 0 }),
  row(0, 0xfd, 'std', direction, { arg: 1 }),
];
