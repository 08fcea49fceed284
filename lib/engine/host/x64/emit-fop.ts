/**
 * Scalar floating point of guests whose NaN results are all the canonical one and that keep single precision boxed (op FOP): SSE2 and
 * FMA with the guest's rounding mode and sticky flags in MXCSR, corrected where x86 differs. Operands stay in registers from one op to the next (float-cache.ts).
 */
import { FloatOp, F } from '../../ir/ops.js';
import { Cc, Slot } from '../../state.js';
import { Alu, mem } from './asm.js';
import { addCold, CF, Cold } from './emit-mem.js';
import { ensureSaved } from './emit-vec.js';
import type { Emitter } from './emitter.js';
import { canonicalNaN, Held } from './float-cache.js';

const ARITH: Readonly<Partial<Record<FloatOp, number>>> = { [FloatOp.ADD]: 0x58, [FloatOp.SUB]: 0x5c, [FloatOp.MUL]: 0x59, [FloatOp.DIV]: 0x5e, [FloatOp.SQRT]: 0x51 };
/** VFMADD231, VFMSUB231, VFNMADD231, VFNMSUB231. */
const FUSED: Readonly<Partial<Record<FloatOp, number>>> = { [FloatOp.MADD]: 0xb9, [FloatOp.MSUB]: 0xbb, [FloatOp.NMSUB]: 0xbd, [FloatOp.NMADD]: 0xbf };
const UCOMIS = 0x2e;
const COMIS = 0x2f;
const CONVERT = 0x5a;
const MOVAPS = 0x28;

/** Mandatory prefix of scalar instructions, and of UCOMIS. */
const scalar = (w: number): number => (w === 3 ? 3 : 2);
const packed = (w: number): number => (w === 3 ? 1 : 0);

/** A NaN in register xmm becomes the canonical one. */
function fixNaN(e: Emitter, w: number, xmm: number): void {
  e.asm.sse(packed(w), 1, 0, UCOMIS, xmm, xmm);
  coldNaN(e, e.asm.jccLater(Cc.P), w, xmm);
}

/** On a cold path, which the jump at `jump` leads to, xmm becomes the canonical NaN. */
function coldNaN(e: Emitter, jump: number, w: number, xmm: number): void {
  const q = addCold(e, Cold.NAN, jump, 0, xmm, w, 0, 0);
  e.cold[q + CF.BACK] = e.asm.p;
}

/** Cold path NAN. */
export function emitColdNaN(e: Emitter, q: number): void {
  const { asm, cold } = e;
  asm.patch32(cold[q + CF.JUMP]!, asm.p);
  canonicalNaN(asm, cold[q + CF.B]!, cold[q + CF.A]!);
  asm.jmp(cold[q + CF.BACK]!);
}

/** Register with slot s at width w, not to be changed. */
function operand(e: Emitter, w: number, s: number): number {
  const { asm, floats } = e;
  const held = w === 3 ? Held.DOUBLE : Held.SINGLE;
  const found = floats.find(s, held);
  if (found !== 0) return found;
  const x = floats.take(s, held);
  if (w === 3) {
    asm.movq(x, mem(s));
    return x;
  }
  asm.sse(2, 1, 0, 0x10, x, mem(s));
  if (!floats.isBoxed(s)) {
    asm.alui(2, Alu.CMP, mem(s) + 4, -1);
    coldNaN(e, asm.jccLater(Cc.NE), 2, x);
  }
  return x;
}

/** Stores xmm to slot dst, boxed. */
function store(e: Emitter, w: number, dst: number, xmm: number): void {
  const { asm, floats } = e;
  if (w === 3) {
    asm.movqStore(mem(dst), xmm);
    floats.unbox(dst);
    return;
  }
  asm.sse(2, 1, 0, 0x11, xmm, mem(dst));
  boxSlot(e, dst);
}

/** The upper half of slot s becomes all ones. */
function boxSlot(e: Emitter, s: number): void {
  if (!e.floats.isBoxed(s)) e.asm.movi(2, mem(s) + 4, -1);
  e.floats.box(s);
}

/** True if an OR (at word p) makes a single-precision value of a temporary's low half: `emitBox`. */
export function boxes(e: Emitter, p: number): boolean {
  const { ir } = e;
  const k = ir[p + F.B]!;
  const dst = ir[p + F.DST]!;
  return ir[p + F.A]! >= Slot.TEMP && ir[p + F.A]! < Slot.TEMP_END && k >= Slot.CONST && e.klo(k) === 0 && e.khi(k) === -1 && dst >= Slot.VEC && dst < Slot.TEMP;
}

/** Such an OR: the value is in a register, ready for FOP. */
export function emitBox(e: Emitter, p: number): void {
  const dst = e.ir[p + F.DST]!;
  ensureSaved(e, p);
  const r = e.src(e.ir[p + F.A]!, 2);
  const { asm, floats } = e;
  asm.store(2, mem(dst), r);
  boxSlot(e, dst);
  floats.loadedSingle(asm, dst, r);
}

/** d = opcode of a and b (one operand: of b). */
function compute(e: Emitter, pp: number, opcode: number, d: number, a: number, b: number, avx: boolean): void {
  const { asm } = e;
  if (avx) {
    asm.vex(pp, 1, 0, 0, opcode, d, a, b);
    return;
  }
  asm.sse(0, 1, 0, MOVAPS, 0, a);
  asm.sse(pp, 1, 0, opcode, 0, b);
  asm.sse(0, 1, 0, MOVAPS, d, 0);
}

/** @returns false if this host has no instruction for it: the op is then a helper call. */
export function emitFop(e: Emitter, p: number, w: number, kind: FloatOp, hasFma: boolean, avx: boolean): boolean {
  const { asm, ir, floats } = e;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const fused = FUSED[kind];
  if (fused !== undefined && !hasFma) return false;
  ensureSaved(e, p);
  e.preFlags(0);
  e.hostF = 0;
  const arith = ARITH[kind];
  const held = w === 3 ? Held.DOUBLE : Held.SINGLE;
  if (arith !== undefined || kind === FloatOp.CONVERT) {
    const from = kind === FloatOp.CONVERT ? w ^ 1 : w;
    const x = operand(e, from, a);
    const y = arith === undefined || kind === FloatOp.SQRT ? x : operand(e, w, b);
    const d = floats.take(dst, held);
    compute(e, scalar(from), arith ?? CONVERT, d, x, y, avx);
    fixNaN(e, w, d);
    store(e, w, dst, d);
  } else if (fused !== undefined) {
    emitFused(e, w, fused, dst, a, b, ir[p + F.C]!);
  } else if (kind === FloatOp.FROM_I64) {
    const x = e.operand(a);
    const d = floats.take(dst, held);
    asm.sse(0, 1, 0, 0x57, d, d);
    asm.sse(scalar(w), 1, 1, 0x2a, d, x);
    store(e, w, dst, d);
  } else if (kind === FloatOp.TRUNC_I64 || kind === FloatOp.TRUNC_I32) {
    emitTruncate(e, w, kind === FloatOp.TRUNC_I64 ? 3 : 2, dst, operand(e, w, a));
  } else {
    emitCompare(e, w, kind, dst, a, b);
  }
  return true;
}

/** dst = +-(a * b) +- c. Infinity times zero is invalid even if a quiet NaN is added, which x86 does not say. */
function emitFused(e: Emitter, w: number, opcode: number, dst: number, a: number, b: number, c: number): void {
  const { asm, floats } = e;
  const x = operand(e, w, a);
  const y = operand(e, w, b);
  asm.sse(0, 1, 0, MOVAPS, 2, operand(e, w, c));
  asm.vex(1, 2, w === 3 ? 1 : 0, 0, opcode, 2, x, y);
  asm.sse(packed(w), 1, 0, UCOMIS, 2, 2);
  const ok = asm.jccLater(Cc.NP);
  // The product alone: its flags count only if it is a NaN.
  asm.sse(0, 1, 0, 0xae, 3, mem(Slot.X_SCRATCH));
  asm.sse(0, 1, 0, MOVAPS, 0, x);
  asm.sse(scalar(w), 1, 0, 0x59, 0, y);
  asm.sse(packed(w), 1, 0, UCOMIS, 0, 0);
  const invalid = asm.jccLater(Cc.P);
  asm.sse(0, 1, 0, 0xae, 2, mem(Slot.X_SCRATCH));
  asm.patch32(invalid, asm.p);
  canonicalNaN(asm, w, 2);
  asm.patch32(ok, asm.p);
  const d = floats.take(dst, w === 3 ? Held.DOUBLE : Held.SINGLE);
  asm.sse(0, 1, 0, MOVAPS, d, 2);
  store(e, w, dst, d);
}

/** x towards zero to an integer of width iw; out of range saturates, a NaN counts as the largest number. */
function emitTruncate(e: Emitter, w: number, iw: number, dst: number, x: number): void {
  const { asm } = e;
  const t = e.tmp();
  const r = e.tmp();
  asm.sse(scalar(w), 1, iw === 3 ? 1 : 0, 0x2c, r, x);
  // Only the integer indefinite, the smallest number, overflows when one is subtracted.
  asm.alui(iw, Alu.CMP, r, 1);
  const ok = asm.jccLater(Cc.NO);
  asm.sse(packed(w), 1, 0, UCOMIS, x, x);
  const nan = asm.jccLater(Cc.P);
  asm.sse(packed(w), 1, 0, 0x50, t, x);
  asm.testi(2, t, 1);
  const negative = asm.jccLater(Cc.NE);
  asm.patch32(nan, asm.p);
  if (iw === 3) asm.movi64(r, -1, 0x7fff_ffff);
  else asm.movi(2, r, 0x7fff_ffff);
  asm.patch32(negative, asm.p);
  asm.patch32(ok, asm.p);
  if (iw === 2) asm.movsx(2, 3, r, r);
  e.endResult(3, dst, r);
  e.floats.written(dst);
}

/** Comparisons: 0 or 1; with a NaN 0. EQ is quiet, the others signal. */
function emitCompare(e: Emitter, w: number, kind: FloatOp, dst: number, a: number, b: number): void {
  const { asm } = e;
  const r = e.tmp();
  const t = e.tmp();
  const x = operand(e, w, a);
  const y = operand(e, w, b);
  if (kind === FloatOp.EQ) {
    asm.sse(packed(w), 1, 0, UCOMIS, x, y);
    asm.setcc(Cc.E, r);
    asm.setcc(Cc.NP, t);
    asm.alu(2, Alu.AND, r, t);
  } else {
    asm.sse(packed(w), 1, 0, COMIS, y, x);
    asm.setcc(kind === FloatOp.LT ? Cc.A : Cc.AE, r);
  }
  asm.movzx(0, r, r);
  e.endResult(3, dst, r);
  e.floats.written(dst);
}

