/**
 * Flags that only a fault would see. An instruction that can fault must find all flags exact, but most of them are overwritten before
 * anything reads them. For these the emitter keeps a *recipe*: how to compute them again from operands that are still there. Only cold paths
 * do so. An operand that is about to change is kept in a slot of its own, which costs one store where saving the flags costs six host operations
 * (docs/adr/0024).
 */
import { F, Op } from '../../ir/ops.js';
import { Cc, Fl, NONE, Slot } from '../../state.js';
import { Alu, type Asm, MEM, R, Sh, mem } from './asm.js';
import type { Emitter } from './emitter.js';

/** How flags are computed again, from operands A and B at some width. NONE: there is no recipe. */
export const enum Recipe {
  NONE = 0,
  /** A - B, A & B; or A is the result of a logic operation. */
  SUB, AND, RESULT,
  /** A is the result of x - B, x + B, -x. */
  UNDO_SUB, UNDO_ADD, NEG,
  /** A << n, A >>> n, A >> n, A * B signed. */
  SHL, SHR, SAR, IMUL,
}

/** Added to a recipe whose flags are in the slot instead if byte X_FLAGS_V is not 0. */
export const MAYBE_SLOT = 0x80;

/** Registers that a recipe may name: those whose every change is a DST of some op. */
const isRegister = (s: number): boolean => s >= Slot.GPR && s < Slot.X_CALL;
const A = Slot.X_FLAGS_A;
const B = Slot.X_FLAGS_B;
const isTemp = (s: number): boolean => s >= Slot.TEMP && s < Slot.TEMP_END;

/** True if the flags that the current op produces are read by nobody, but something may fault before they are overwritten. */
function wanted(e: Emitter, fw: number): boolean {
  const live = e.liveIn[e.i + 1]!;
  return e.lazyFlags && live !== 0 && (live & ~fw) === 0 && (e.readIn[e.i + 1] === 0 || e.i === e.branchAt - 1);
}

/** Operand code of slot s for code that runs when temporaries' registers are something else. */
const at = (e: Emitter, s: number): number => (s < Slot.TEMP && e.reg[s]! >= 0 ? e.reg[s]! : mem(s));

/** Before an op is emitted. `fw`: flags it produces. */
export function beforeFlags(e: Emitter, p: number, op: number, fw: number): void {
  if (e.recipe !== 0 && (e.liveIn[e.i + 1]! & ~fw) !== 0) {
    if (fw !== 0) materialize(e);
    else {
      if (isRegister(e.recipeA) && e.writes(p, e.recipeA)) e.recipeA = keep(e, e.recipeA, Slot.X_FLAGS_A);
      if (isRegister(e.recipeB) && e.writes(p, e.recipeB)) e.recipeB = keep(e, e.recipeB, Slot.X_FLAGS_B);
    }
  }
  if (fw === 0 || !wanted(e, fw)) return;
  // What is computed may come to lie where it is computed from: in the register of a temporary that ends here, too.
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  e.sourceA = e.sourceB = NONE;
  switch (op as Op) {
    case Op.SUB:
      if (dst === NONE) e.sourceA = operand(e, a, A);
      if (b !== dst || dst === NONE) e.sourceB = operand(e, b, B);
      break;
    case Op.ADD:
      if (dst !== NONE && !(a === dst && b === dst)) e.sourceB = operand(e, b === dst ? a : b, B);
      break;
    case Op.AND:
    case Op.OR:
    case Op.XOR:
      if (dst !== NONE) break;
      e.sourceA = operand(e, a, A);
      if (a !== b) e.sourceB = operand(e, b, B);
      break;
    case Op.IMUL:
      e.sourceB = source(e, b, dst, B);
      e.sourceA = source(e, a, dst, A);
      break;
    case Op.SHL:
    case Op.SHR:
    case Op.SAR:
      e.sourceA = source(e, a, dst, A);
      break;
    default:
      break;
  }
}

/** Copies register slot s to slot `to`. */
function keep(e: Emitter, s: number, to: number): number {
  const asm = e.asm;
  const r = e.reg[s]!;
  if (r >= 0) {
    asm.store(3, mem(to), r);
    return to;
  }
  const locked = e.lock;
  const t = e.tmp();
  asm.load(3, t, mem(s));
  asm.store(3, mem(to), t);
  e.lock = locked;
  return to;
}

/** Where operand s of an op that writes dst can be found after it, or NONE. */
function source(e: Emitter, s: number, dst: number, to: number): number {
  return s === dst ? (isRegister(s) ? keep(e, s, to) : NONE) : operand(e, s, to);
}

/** Slot to find operand s in from now on, or NONE; `to` is free to keep it in. */
function operand(e: Emitter, s: number, to: number): number {
  if (s >= Slot.SYMBOL || isRegister(s)) return s;
  if (!isTemp(s)) return NONE;
  // In a loop the temporary gets its next value while the recipe still needs this one.
  if (e.inRegion) return keep(e, s, to);
  if (e.reg[s]! >= 0) e.toHome(s);
  return s;
}

/** After an op that produces the flags fw. */
export function afterFlags(e: Emitter, p: number, op: number, w: number, fw: number): void {
  e.recipe = Recipe.NONE;
  if (e.hostF !== fw || !wanted(e, fw)) return;
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const { sourceA, sourceB } = e;
  switch (op as Op) {
    case Op.SUB:
      if (dst === NONE) set(e, Recipe.SUB, w, sourceA, sourceB, 0);
      else if (b !== dst) set(e, Recipe.UNDO_SUB, w, operand(e, dst, A), sourceB, 0);
      break;
    case Op.ADD:
      if (dst === NONE || (a === dst && b === dst)) break;
      set(e, Recipe.UNDO_ADD, w, operand(e, dst, A), sourceB, 0);
      break;
    case Op.AND:
    case Op.OR:
    case Op.XOR:
      // The flags are those of the result.
      if (dst !== NONE) set(e, Recipe.RESULT, w, operand(e, dst, A), 0, 0);
      else if (a === b) set(e, Recipe.RESULT, w, sourceA, 0, 0);
      else set(e, Recipe.AND, w, sourceA, sourceB, 0);
      break;
    case Op.NEG:
      set(e, Recipe.NEG, w, operand(e, dst, A), 0, 0);
      break;
    case Op.SHL:
    case Op.SHR:
    case Op.SAR: {
      const n = e.constCount(op, p, w);
      if (n > 0) set(e, Recipe.SHL + op - Op.SHL, w, sourceA, 0, n);
      break;
    }
    case Op.IMUL:
      // Its widening forms are not worth it, nor is the 8-bit one.
      if (ir[p + F.C] === NONE && w !== 0) set(e, Recipe.IMUL, w, sourceA, sourceB, 0);
      break;
    default:
      break;
  }
}

function set(e: Emitter, recipe: Recipe, w: number, a: number, b: number, n: number): void {
  if (a === NONE || b === NONE) return;
  e.recipe = recipe | (w << 8) | (n << 16);
  e.recipeA = a;
  e.recipeB = b;
  // As far as hot code is concerned they are dead, unless a jump that follows reads them.
  if (e.readIn[e.i + 1] === 0) e.hostF = 0;
}

/** Puts the flags of a recipe into their slot. RAX is lost. */
function compute(asm: Asm, e: Emitter, recipe: number, a: number, b: number): void {
  let skip = 0;
  if (recipe & MAYBE_SLOT) {
    asm.alui(0, Alu.CMP, mem(Slot.X_FLAGS_V), 0);
    skip = asm.jccLater(Cc.NE);
  }
  flagsOf(asm, e, recipe, a, b);
  asm.lahf();
  asm.setcc(Cc.O, R.RAX);
  asm.store(1, mem(Slot.FLAGS), R.RAX);
  if (skip !== 0) asm.patch32(skip, asm.p);
}

/** Makes host flags those of a recipe. RAX is lost. */
function flagsOf(asm: Asm, e: Emitter, recipe: number, a: number, b: number): void {
  const w = (recipe >> 8) & 15;
  const n = recipe >>> 16;
  /** RAX (operation) B. */
  const alu = (digit: number): void => {
    if (e.isImm(b, w)) asm.alui(w, digit, R.RAX, e.klo(b));
    else asm.alu(w, digit, R.RAX, at(e, b));
  };
  const kind = (recipe & 0x7f) as Recipe;
  const x = at(e, a);
  // Some leave their operands alone.
  if (x < MEM && kind <= Recipe.RESULT) {
    if (kind === Recipe.RESULT) asm.test(w, x, x);
    else if (e.isImm(b, w)) {
      if (kind === Recipe.SUB) asm.alui(w, Alu.CMP, x, e.klo(b));
      else asm.testi(w, x, e.klo(b));
    } else if (kind === Recipe.SUB) asm.alu(w, Alu.CMP, x, at(e, b));
    else asm.test(w, at(e, b), x);
    return;
  }
  asm.load(3, R.RAX, x);
  switch (kind) {
    case Recipe.SUB:
      alu(Alu.CMP);
      break;
    case Recipe.AND:
      alu(Alu.AND);
      break;
    case Recipe.RESULT:
      asm.test(w, R.RAX, R.RAX);
      break;
    case Recipe.UNDO_SUB:
      alu(Alu.ADD);
      alu(Alu.CMP);
      break;
    case Recipe.UNDO_ADD:
      alu(Alu.SUB);
      alu(Alu.ADD);
      break;
    case Recipe.NEG:
      asm.opd(w, 0xf7, 3, R.RAX);
      asm.opd(w, 0xf7, 3, R.RAX);
      break;
    case Recipe.SHL:
    case Recipe.SHR:
    case Recipe.SAR:
      asm.shi(w, kind === Recipe.SHL ? Sh.SHL : kind === Recipe.SHR ? Sh.SHR : Sh.SAR, R.RAX, n);
      break;
    default:
      if (e.isImm(b, w)) asm.imuli(w, R.RAX, R.RAX, e.klo(b));
      else asm.op0f(w, 0xaf, R.RAX, at(e, b));
  }
}

/** In hot code: some of the flags go on to live, others will be overwritten. */
export function materialize(e: Emitter): void {
  const locked = e.lock;
  e.claim(R.RAX);
  compute(e.asm, e, e.recipe, e.recipeA, e.recipeB);
  e.lock = locked;
  e.recipe = Recipe.NONE;
  e.hostF = 0;
  e.slotF = Fl.ALL;
}

/** On a cold path, before TypeScript sees the flags. Registers are kept. */
export function coldFlags(e: Emitter, recipe: number, a: number, b: number): void {
  if (recipe === 0) return;
  const asm = e.asm;
  asm.push(R.RAX);
  compute(asm, e, recipe, a, b);
  asm.pop(R.RAX);
}
