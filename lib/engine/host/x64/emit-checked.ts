/**
 * Vector ops whose result the host may get wrong: floating point of guests that differ from x86 in NaNs and in how tiny results are found (`NativeForm.checked`).
 * The host's instruction makes the result in XMM0; where that may be wrong the helper does all of it again, on the cold path. Needs AVX.
 */
import type { Checked, NativeForm } from '../../helpers.js';
import { F } from '../../ir/ops.js';
import { Cc, NONE, Yield } from '../../state.js';
import { mem } from './asm.js';
import { addCold, CF, Cold, landCold, yieldCall } from './emit-mem.js';
import { pinned, prepare } from './emit-vec.js';
import { coldFip, flushFip } from './emit-x87.js';
import { type Emitter, Fpu } from './emitter.js';
import type { Stubs } from './stubs.js';

/** Opcodes: moves, AND, comparisons, insertion of one element. */
const enum Sse { MOVUPS = 0x10, MOVQ = 0x7e, ANDPS = 0x54, UCOMIS = 0x2e, CMP = 0xc2, PTEST = 0x17, INSERTPS = 0x21 }
/** Predicate of VCMPPS: EQ_UQ. */
const EQUAL_OR_UNORDERED = 8;
/** INSERTPS: element 0 to element 0, the others zero. */
const LOWEST = 0x0e;

/** Operand code of vector slot s: its register, or memory. */
const operand = (e: Emitter, s: number): number => {
  const r = pinned(e, s);
  return r >= 0 ? r : mem(s);
};

/** Register with vector slot s: its own, or x after a load. */
function inRegister(e: Emitter, x: number, s: number): number {
  const r = pinned(e, s);
  if (r >= 0) return r;
  e.asm.movups(x, mem(s));
  return x;
}

/** The op as emitVop has it, w = 4. */
export function emitChecked(e: Emitter, p: number, f: NativeForm, checked: Checked): void {
  const { asm, ir } = e;
  const [dst, a, b, c] = [ir[p + F.DST]!, ir[p + F.A]!, ir[p + F.B]!, ir[p + F.C]!];
  flushFip(e);
  e.preFlags(0);
  e.hostF = 0;
  prepare(e, p, 0);
  if (f.form === 'fma') {
    const from = pinned(e, c);
    if (from >= 0) asm.sse(0, 1, 0, 0x28, 0, from);
    else asm.movups(0, mem(c));
    asm.vex(f.pp, f.map, f.w, 0, f.opcode, 0, inRegister(e, 1, a), operand(e, b));
  } else if (f.form === 'rm') {
    asm.vex(f.pp, f.map, f.w, 0, f.opcode, 0, checked.packed ? 0 : inRegister(e, 1, a), operand(e, a));
  } else {
    asm.vex(f.pp, f.map, f.w, 0, f.opcode, 0, inRegister(e, 1, a), operand(e, b));
  }
  // A NaN, or the smallest normal number, of either sign.
  const packedPp = checked.bits === 64 ? 1 : 0;
  asm.vex(0, 1, 0, 0, Sse.ANDPS, 1, 0, mem(checked.abs));
  if (checked.packed) {
    asm.vex(packedPp, 1, 0, 0, Sse.CMP, 1, 1, mem(checked.min));
    asm.b(EQUAL_OR_UNORDERED);
    asm.vex(1, 2, 0, 0, Sse.PTEST, 1, 0, 1);
  } else {
    asm.vex(packedPp, 1, 0, 0, Sse.UCOMIS, 1, 0, mem(checked.min));
  }
  const q = addCold(e, Cold.VOP, asm.jccLater(checked.packed ? Cc.NE : Cc.E), ir[p + F.INSN]!, p, 0, 0, 0);
  const pd = pinned(e, dst);
  const x = pd >= 0 ? pd : 0;
  if (checked.packed) {
    if (pd >= 0) asm.sse(0, 1, 0, 0x28, pd, 0);
  } else if (checked.bits === 64) {
    asm.vex(2, 1, 0, 0, Sse.MOVQ, x, 0, 0);
  } else {
    asm.vex(1, 3, 0, 0, Sse.INSERTPS, x, 0, 0);
    asm.b(LOWEST);
  }
  if (pd < 0) asm.movupsStore(mem(dst), 0);
  e.cold[q + CF.BACK] = asm.p;
  e.vecTemp = NONE;
}

/** Cold path VOP: the helper reads and writes slots. */
export function emitColdChecked(e: Emitter, q: number, stubs: Stubs): void {
  const C = e.cold;
  const { ir } = e;
  const p = C[q + CF.A]!;
  landCold(e, q);
  coldFip(e, C[q + CF.FIP]!);
  yieldCall(e, stubs.yields[Yield.CALL]!, C[q + CF.INSN]!, ir[p + F.AUX]!, ir[p + F.DST]!, ir[p + F.A]!, ir[p + F.B]!, ir[p + F.C]!, ir[p + F.IMM]!);
  if (C[q + CF.XMM] === Fpu.HOST) e.asm.call(stubs.vecLoad);
  if (C[q + CF.FPU] === Fpu.HOST) e.asm.call(stubs.fpuLoad);
  e.asm.jmp(C[q + CF.BACK]!);
}
