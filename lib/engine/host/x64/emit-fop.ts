/**
 * Scalar floating point of guests whose NaN results are all the canonical one and that keep single precision boxed (op FOP): SSE2 and
 * FMA with the guest's rounding mode and sticky flags in MXCSR, corrected where x86 differs. Operands are slots in memory.
 */
import { FloatOp, F } from '../../ir/ops.js';
import { Cc, Slot } from '../../state.js';
import { Alu, mem } from './asm.js';
import type { Emitter } from './emitter.js';

const ARITH: Readonly<Partial<Record<FloatOp, number>>> = { [FloatOp.ADD]: 0x58, [FloatOp.SUB]: 0x5c, [FloatOp.MUL]: 0x59, [FloatOp.DIV]: 0x5e, [FloatOp.SQRT]: 0x51 };
/** VFMADD231, VFMSUB231, VFNMADD231, VFNMSUB231. */
const FUSED: Readonly<Partial<Record<FloatOp, number>>> = { [FloatOp.MADD]: 0xb9, [FloatOp.MSUB]: 0xbb, [FloatOp.NMSUB]: 0xbd, [FloatOp.NMADD]: 0xbf };
const UCOMIS = 0x2e;
const COMIS = 0x2f;

/** Mandatory prefix of scalar instructions, and of UCOMIS. */
const scalar = (w: number): number => (w === 3 ? 3 : 2);
const packed = (w: number): number => (w === 3 ? 1 : 0);

/** xmm = the canonical NaN, through register t. */
function canonical(e: Emitter, w: number, xmm: number, t: number): void {
  if (w === 3) e.asm.movi64(t, 0, 0x7ff8_0000);
  else e.asm.movi(2, t, 0x7fc0_0000);
  e.asm.sse(1, 1, w === 3 ? 1 : 0, 0x6e, xmm, t);
}

/** xmm = slot s. Single precision that is not boxed is the canonical NaN. */
function operand(e: Emitter, w: number, xmm: number, s: number, t: number): void {
  const { asm } = e;
  if (w === 3) {
    asm.movq(xmm, mem(s));
    return;
  }
  asm.sse(2, 1, 0, 0x10, xmm, mem(s));
  asm.alui(2, Alu.CMP, mem(s) + 4, -1);
  const ok = asm.jccLater(Cc.E);
  canonical(e, 2, xmm, t);
  asm.patch32(ok, asm.p);
}

/** Stores xmm to slot dst, boxed; xmm 3 is used. */
function store(e: Emitter, w: number, dst: number, xmm: number): void {
  const { asm } = e;
  if (w === 2) {
    // PCMPEQD, PUNPCKLDQ: ones above it.
    asm.sse(1, 1, 0, 0x76, 3, 3);
    asm.sse(1, 1, 0, 0x62, xmm, 3);
  }
  asm.movqStore(mem(dst), xmm);
}

/** A NaN result becomes the canonical one. */
function fixNaN(e: Emitter, w: number, xmm: number, t: number): void {
  const { asm } = e;
  asm.sse(packed(w), 1, 0, UCOMIS, xmm, xmm);
  const ok = asm.jccLater(Cc.NP);
  canonical(e, w, xmm, t);
  asm.patch32(ok, asm.p);
}

/** @returns false if this host has no instruction for it: the op is then a helper call. */
export function emitFop(e: Emitter, p: number, w: number, kind: FloatOp, hasFma: boolean): boolean {
  const { asm, ir } = e;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const fused = FUSED[kind];
  if (fused !== undefined && !hasFma) return false;
  e.preFlags(0);
  e.hostF = 0;
  const t = e.tmp();
  const arith = ARITH[kind];
  if (arith !== undefined) {
    operand(e, w, 0, a, t);
    if (kind === FloatOp.SQRT) asm.sse(scalar(w), 1, 0, arith, 0, 0);
    else {
      operand(e, w, 1, b, t);
      asm.sse(scalar(w), 1, 0, arith, 0, 1);
    }
    fixNaN(e, w, 0, t);
    store(e, w, dst, 0);
  } else if (fused !== undefined) {
    emitFused(e, w, fused, dst, a, b, ir[p + F.C]!, t);
  } else if (kind === FloatOp.CONVERT) {
    operand(e, w ^ 1, 0, a, t);
    asm.sse(scalar(w ^ 1), 1, 0, 0x5a, 0, 0);
    fixNaN(e, w, 0, t);
    store(e, w, dst, 0);
  } else if (kind === FloatOp.FROM_I64) {
    asm.sse(0, 1, 0, 0x57, 0, 0);
    asm.sse(scalar(w), 1, 1, 0x2a, 0, e.operand(a));
    store(e, w, dst, 0);
  } else if (kind === FloatOp.TRUNC_I64 || kind === FloatOp.TRUNC_I32) {
    operand(e, w, 0, a, t);
    emitTruncate(e, w, kind === FloatOp.TRUNC_I64 ? 3 : 2, dst, t);
  } else {
    emitCompare(e, w, kind, dst, a, b, t);
  }
  return true;
}

/** xmm2 = +-(xmm0 * xmm1) +- xmm2. Infinity times zero is invalid even if a quiet NaN is added, which x86 does not say. */
function emitFused(e: Emitter, w: number, opcode: number, dst: number, a: number, b: number, c: number, t: number): void {
  const { asm } = e;
  operand(e, w, 0, a, t);
  operand(e, w, 1, b, t);
  operand(e, w, 2, c, t);
  asm.vex(1, 2, w === 3 ? 1 : 0, 0, opcode, 2, 0, 1);
  asm.sse(packed(w), 1, 0, UCOMIS, 2, 2);
  const ok = asm.jccLater(Cc.NP);
  // The product alone: its flags count only if it is a NaN.
  asm.sse(0, 1, 0, 0xae, 3, mem(Slot.X_SCRATCH));
  asm.sse(scalar(w), 1, 0, 0x59, 0, 1);
  asm.sse(packed(w), 1, 0, UCOMIS, 0, 0);
  const invalid = asm.jccLater(Cc.P);
  asm.sse(0, 1, 0, 0xae, 2, mem(Slot.X_SCRATCH));
  asm.patch32(invalid, asm.p);
  canonical(e, w, 2, t);
  asm.patch32(ok, asm.p);
  store(e, w, dst, 2);
}

/** xmm0 towards zero to an integer of width iw; out of range saturates, a NaN counts as the largest number. */
function emitTruncate(e: Emitter, w: number, iw: number, dst: number, t: number): void {
  const { asm } = e;
  const r = e.tmp();
  asm.sse(scalar(w), 1, iw === 3 ? 1 : 0, 0x2c, r, 0);
  // Only the integer indefinite, the smallest number, overflows when one is subtracted.
  asm.alui(iw, Alu.CMP, r, 1);
  const ok = asm.jccLater(Cc.NO);
  asm.sse(packed(w), 1, 0, UCOMIS, 0, 0);
  const nan = asm.jccLater(Cc.P);
  asm.sse(packed(w), 1, 0, 0x50, t, 0);
  asm.testi(2, t, 1);
  const negative = asm.jccLater(Cc.NE);
  asm.patch32(nan, asm.p);
  if (iw === 3) asm.movi64(r, -1, 0x7fff_ffff);
  else asm.movi(2, r, 0x7fff_ffff);
  asm.patch32(negative, asm.p);
  asm.patch32(ok, asm.p);
  if (iw === 2) asm.movsx(2, 3, r, r);
  e.endResult(3, dst, r);
}

/** Comparisons: 0 or 1; with a NaN 0. EQ is quiet, the others signal. */
function emitCompare(e: Emitter, w: number, kind: FloatOp, dst: number, a: number, b: number, t: number): void {
  const { asm } = e;
  const r = e.tmp();
  operand(e, w, 0, a, t);
  operand(e, w, 1, b, t);
  if (kind === FloatOp.EQ) {
    asm.sse(packed(w), 1, 0, UCOMIS, 0, 1);
    asm.setcc(Cc.E, r);
    asm.setcc(Cc.NP, t);
    asm.alu(2, Alu.AND, r, t);
  } else {
    asm.sse(packed(w), 1, 0, COMIS, 1, 0);
    asm.setcc(kind === FloatOp.LT ? Cc.A : Cc.AE, r);
  }
  asm.movzx(0, r, r);
  e.endResult(3, dst, r);
}

