/**
 * Control flow: near and far jumps, calls and returns, loops, interrupts, system calls. Intel SDM vol. 1 section 6.4,
 * 7.3.8; vol. 3 chapter 6.
 */
import { Cc, NONE } from '../../state.js';
import { Op } from '../../ir/ops.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { iret, syscall, sysret } from './lift-fastcall.js';
import { X } from './mode.js';
import { Imm, M64, Mod, row, Size, type Row } from './opcodes.js';

function jcc(c: LiftContext): void {
  c.jccRel(c.insn.opcode & 15, c.insn.imm);
}

function jmpRel(c: LiftContext): void {
  c.jumpRel(c.insn.imm);
}

function callRel(c: LiftContext): void {
  c.push(c.insn.opsize, c.nextIp());
  c.jumpRel(c.insn.imm, 1);
}

function jmpRm(c: LiftContext): void {
  const w = c.insn.opsize;
  c.jumpTo(w, c.readRm(w), 0, c.insn.mod !== 3);
}

function callRm(c: LiftContext): void {
  const i = c.insn;
  const w = i.opsize;
  let target = c.readRm(w);
  if (target === X.RSP) {
    target = c.b.temp();
    c.b.mov(w, target, X.RSP);
  }
  c.push(w, c.nextIp());
  c.jumpTo(w, target, 1, i.mod !== 3);
}

/** RET, RET imm16. */
function ret(c: LiftContext): void {
  const i = c.insn;
  const w = i.opsize;
  const t = c.b.temp();
  c.stackLoad(w, t);
  c.addSp((1 << w) + (c.arg !== 0 ? i.imm : 0));
  c.jumpTo(w, t, 2, true);
}

/** Counts rCX (by address size) down, without flags. */
function countDown(c: LiftContext): void {
  const w = c.insn.addrsize;
  if (w === 1) c.b.alu(Op.SUB, 1, X.RCX, X.RCX, c.k(1), 0);
  else c.b.lea(w, X.RCX, X.RCX, NONE, 0, -1);
}

function loop(c: LiftContext): void {
  countDown(c);
  c.jnzRel(c.insn.addrsize, X.RCX, c.insn.imm);
}

/** LOOPE, LOOPNE; arg = condition. */
function loopCc(c: LiftContext): void {
  const b = c.b;
  countDown(c);
  const z = b.temp();
  const t = b.temp();
  b.setcc(c.arg, z);
  b.alu3(Op.SELNZ, c.insn.addrsize, t, X.RCX, z, c.k(0));
  c.jnzRel(0, t, c.insn.imm);
}

function jcxz(c: LiftContext): void {
  c.jnzRel(c.insn.addrsize, X.RCX, c.insn.imm, true);
}

/** CALL and JMP ptr16:16/32; arg = helper. */
function farImm(c: LiftContext): void {
  const i = c.insn;
  c.callEnd(c.arg as H, NONE, c.b.k64(i.imm, 0), c.k(i.imm2), NONE, i.opsize);
}

/** CALL and JMP m16:16/32/64; arg = helper. */
function farMem(c: LiftContext): void {
  const b = c.b;
  const w = c.insn.opsize;
  const a = c.ea((1 << w) + 2, false);
  const off = b.temp();
  const a2 = b.temp();
  const sel = b.temp();
  b.ld(w, off, a);
  b.lea(c.code64 ? 3 : 2, a2, a, NONE, 0, 1 << w);
  b.ld(1, sel, a2);
  c.callEnd(c.arg as H, NONE, off, sel, NONE, w);
}

/** RETF, RETF imm16. */
function retf(c: LiftContext): void {
  c.callEnd(H.RETF, NONE, NONE, NONE, NONE, c.insn.opsize | (c.arg !== 0 ? c.insn.imm << 8 : 0));
}

/** Helpers that leave with PC set and take the operand width; arg = helper. */
function transfer(c: LiftContext): void {
  c.callEnd(c.arg as H, NONE, NONE, NONE, NONE, c.insn.opsize);
}

function int(c: LiftContext): void {
  c.callEnd(H.INT, NONE, NONE, NONE, NONE, c.insn.imm & 0xff);
}

function into(c: LiftContext): void {
  c.call(H.INTO);
}

function ud(c: LiftContext): void {
  c.undefinedOpcode();
}

const not64 = M64.NOT64;

export const FLOW_ROWS: readonly Row[] = [
  row(0, 0x70, 'jcc', jcc, { n: 16, imm: Imm.JB, size: Size.F64 }),
  row(1, 0x80, 'jcc', jcc, { n: 16, imm: Imm.JZ, size: Size.F64 }),
  row(0, 0xeb, 'jmp', jmpRel, { imm: Imm.JB, size: Size.F64 }),
  row(0, 0xe9, 'jmp', jmpRel, { imm: Imm.JZ, size: Size.F64 }),
  row(0, 0xe8, 'call', callRel, { imm: Imm.JZ, size: Size.F64 }),
  row(0, 0xff, 'call', callRm, { digit: 2, size: Size.F64 }),
  row(0, 0xff, 'jmp', jmpRm, { digit: 4, size: Size.F64 }),
  row(0, 0xc2, 'ret', ret, { imm: Imm.IW, size: Size.F64, arg: 1 }),
  row(0, 0xc3, 'ret', ret, { size: Size.F64 }),
  row(0, 0xe0, 'loopne', loopCc, { imm: Imm.JB, size: Size.F64, arg: Cc.NE }),
  row(0, 0xe1, 'loope', loopCc, { imm: Imm.JB, size: Size.F64, arg: Cc.E }),
  row(0, 0xe2, 'loop', loop, { imm: Imm.JB, size: Size.F64 }),
  row(0, 0xe3, 'jcxz', jcxz, { imm: Imm.JB, size: Size.F64 }),

  row(0, 0x9a, 'callf', farImm, { imm: Imm.FAR, m64: not64, arg: H.CALLF }),
  row(0, 0xea, 'jmpf', farImm, { imm: Imm.FAR, m64: not64, arg: H.JMPF }),
  row(0, 0xff, 'callf', farMem, { digit: 3, mod: Mod.MEM, arg: H.CALLF }),
  row(0, 0xff, 'jmpf', farMem, { digit: 5, mod: Mod.MEM, arg: H.JMPF }),
  row(0, 0xca, 'retf', retf, { imm: Imm.IW, arg: 1 }),
  row(0, 0xcb, 'retf', retf),
  row(0, 0xcf, 'iret', iret),
  row(0, 0xcc, 'int3', transfer, { arg: H.INT3 }),
  row(0, 0xcd, 'int', int, { imm: Imm.IB }),
  row(0, 0xce, 'into', into, { m64: not64 }),
  row(0, 0xf1, 'int1', transfer, { arg: H.INT1 }),
  row(1, 0x05, 'syscall', syscall, { feature: 'syscall' }),
  row(1, 0x07, 'sysret', sysret, { feature: 'syscall' }),
  row(1, 0x34, 'sysenter', transfer, { arg: H.SYSENTER, feature: 'sep' }),
  row(1, 0x35, 'sysexit', transfer, { arg: H.SYSEXIT, feature: 'sep' }),
  row(1, 0xaa, 'rsm', transfer, { arg: H.RSM }),
  row(1, 0x0b, 'ud2', ud),
  row(1, 0xb9, 'ud1', ud, { modrm: true }),
  row(1, 0xff, 'ud0', ud, { modrm: true }),
];
