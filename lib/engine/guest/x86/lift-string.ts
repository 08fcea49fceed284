/**
 * String instructions and port input and output. Without REP they are inline IR; with REP a helper does as many
 * iterations as it likes. Intel SDM vol. 1 section 7.3.9, vol. 2 REP.
 */
import { Fl, NONE } from '../../state.js';
import { Op } from '../../ir/ops.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { Mode, Seg, X } from './mode.js';
import { Imm, row, type Row } from './opcodes.js';

/** Kinds in the operand of helper x86.rep. */
export const enum StringKind { MOVS = 0, CMPS, STOS, LODS, SCAS, INS, OUTS }

function width(c: LiftContext): number {
  return (c.insn.opcode & 1) !== 0 ? c.insn.opsize : 0;
}

/** Ports have no 64-bit form. */
function portWidth(c: LiftContext): number {
  const w = width(c);
  return w > 2 ? 2 : w;
}

function source(c: LiftContext): number {
  return c.insn.seg >= 0 ? c.insn.seg : Seg.DS;
}

function operand(c: LiftContext, kind: StringKind, w: number): number {
  const i = c.insn;
  return w | (kind << 4) | (i.addrsize << 8) | (source(c) << 12) | (i.rep === 3 ? 1 << 16 : 0);
}

/** Linear address of seg:[reg] at the address size. */
function address(c: LiftContext, reg: number, seg: number, w: number, write: boolean): number {
  let off = reg;
  if (c.insn.addrsize !== 3) {
    off = c.b.temp();
    c.b.lea(c.insn.addrsize, off, reg, NONE, 0, 0);
  }
  return c.segLinear(seg, off, 1 << w, write);
}

/** Slot with the step: the element size, negative if DF is set. */
function step(c: LiftContext, w: number): number {
  const d = c.b.temp();
  const t = c.b.temp();
  c.b.alu(Op.AND, 2, d, X.EFLAGS, c.k(0x400), 0);
  c.b.alu3(Op.SELNZ, 2, t, d, c.k(-(1 << w)), c.k(1 << w));
  return t;
}

function advance(c: LiftContext, reg: number, by: number): void {
  const w = c.insn.addrsize;
  if (w === 1) c.b.alu(Op.ADD, 1, reg, reg, by, 0);
  else c.b.lea(w, reg, reg, by, 0, 0);
}

/**
 * REP MOVS and REP STOS through the TLB, as far as that goes; the helper does what is left, which is everything in segments that
 * are not flat, with DF set, or where there are no TLB entries yet.
 */
function inBulk(c: LiftContext, kind: StringKind, w: number): boolean {
  const b = c.b;
  const i = c.insn;
  const moves = kind === StringKind.MOVS;
  const flat = c.code64 ? i.addrsize === 3 && (!moves || source(c) < Seg.FS) : i.addrsize === 2 && (c.mode & Mode.FLAT) !== 0 && (!moves || (source(c) < Seg.FS && source(c) !== Seg.CS));
  if (!flat || !c.mayChangeMode) return false;
  const down = b.temp();
  const count = b.temp();
  const done = b.temp();
  b.alu(Op.AND, 2, down, X.EFLAGS, c.k(0x400), 0);
  b.alu3(Op.SELNZ, 2, count, down, c.k(0), X.RCX);
  b.bulk(moves ? Op.COPY : Op.FILL, w, done, X.RDI, moves ? X.RSI : X.RAX, count);
  if (moves) b.lea(i.addrsize, X.RSI, X.RSI, done, w, 0);
  b.lea(i.addrsize, X.RDI, X.RDI, done, w, 0);
  b.alu(Op.SUB, i.addrsize, X.RCX, X.RCX, done, 0);
  c.callIf(H.REP, i.addrsize, X.RCX, NONE, operand(c, kind, w));
  return true;
}

/** True if the instruction has REP or REPNE: then the helper call has been emitted. */
function repeated(c: LiftContext, kind: StringKind, w: number): boolean {
  if (c.insn.rep === 0) return false;
  if ((kind === StringKind.MOVS || kind === StringKind.STOS) && inBulk(c, kind, w)) return true;
  c.call(H.REP, NONE, NONE, NONE, NONE, operand(c, kind, w));
  return true;
}

function movs(c: LiftContext): void {
  const w = width(c);
  if (repeated(c, StringKind.MOVS, w)) return;
  const b = c.b;
  const t = b.temp();
  b.ld(w, t, address(c, X.RSI, source(c), w, false));
  b.st(w, address(c, X.RDI, Seg.ES, w, true), t);
  const by = step(c, w);
  advance(c, X.RSI, by);
  advance(c, X.RDI, by);
}

function cmps(c: LiftContext): void {
  const w = width(c);
  if (repeated(c, StringKind.CMPS, w)) return;
  const b = c.b;
  const s = b.temp();
  const d = b.temp();
  b.ld(w, s, address(c, X.RSI, source(c), w, false));
  b.ld(w, d, address(c, X.RDI, Seg.ES, w, false));
  b.alu(Op.SUB, w, NONE, s, d, Fl.ALL);
  const by = step(c, w);
  advance(c, X.RSI, by);
  advance(c, X.RDI, by);
}

function stos(c: LiftContext): void {
  const w = width(c);
  if (repeated(c, StringKind.STOS, w)) return;
  c.b.st(w, address(c, X.RDI, Seg.ES, w, true), X.RAX);
  advance(c, X.RDI, step(c, w));
}

function lods(c: LiftContext): void {
  const w = width(c);
  if (repeated(c, StringKind.LODS, w)) return;
  c.b.ld(w, X.RAX, address(c, X.RSI, source(c), w, false));
  advance(c, X.RSI, step(c, w));
}

function scas(c: LiftContext): void {
  const w = width(c);
  if (repeated(c, StringKind.SCAS, w)) return;
  const t = c.b.temp();
  c.b.ld(w, t, address(c, X.RDI, Seg.ES, w, false));
  c.b.alu(Op.SUB, w, NONE, X.RAX, t, Fl.ALL);
  advance(c, X.RDI, step(c, w));
}

function ins(c: LiftContext): void {
  const w = portWidth(c);
  if (!repeated(c, StringKind.INS, w)) c.call(H.INS, NONE, NONE, NONE, NONE, operand(c, StringKind.INS, w));
}

function outs(c: LiftContext): void {
  const w = portWidth(c);
  if (!repeated(c, StringKind.OUTS, w)) c.call(H.OUTS, NONE, NONE, NONE, NONE, operand(c, StringKind.OUTS, w));
}

/** IN; arg = 1 when the port is the immediate. */
function portIn(c: LiftContext): void {
  const w = portWidth(c);
  const t = c.b.temp();
  c.call(H.IN, t, c.arg !== 0 ? c.k(c.insn.imm & 0xff) : X.RDX, NONE, NONE, w);
  c.b.mov(w, X.RAX, t);
}

function portOut(c: LiftContext): void {
  c.call(H.OUT, NONE, c.arg !== 0 ? c.k(c.insn.imm & 0xff) : X.RDX, X.RAX, NONE, portWidth(c));
}

export const STRING_ROWS: readonly Row[] = [
  row(0, 0x6c, 'ins', ins, { n: 2 }),
  row(0, 0x6e, 'outs', outs, { n: 2 }),
  row(0, 0xa4, 'movs', movs, { n: 2 }),
  row(0, 0xa6, 'cmps', cmps, { n: 2 }),
  row(0, 0xaa, 'stos', stos, { n: 2 }),
  row(0, 0xac, 'lods', lods, { n: 2 }),
  row(0, 0xae, 'scas', scas, { n: 2 }),
  row(0, 0xe4, 'in', portIn, { n: 2, imm: Imm.IB, arg: 1 }),
  row(0, 0xe6, 'out', portOut, { n: 2, imm: Imm.IB, arg: 1 }),
  row(0, 0xec, 'in', portIn, { n: 2 }),
  row(0, 0xee, 'out', portOut, { n: 2 }),
];
