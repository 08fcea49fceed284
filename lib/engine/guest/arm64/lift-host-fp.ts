/**
 * IR for floating point on the host's FPU (simd/fp-host.ts): results are made in scratch, NaNs are looked for and made again by a helper.
 * Nothing here names a part of a vector register: those are in host registers (docs/adr/0012-lazy-vector-registers.md).
 */
import { Op } from '../../ir/ops.js';
import { Cc, Fl, NONE, Slot } from '../../state.js';
import type { LiftContext } from './lift-context.js';
import { A } from './regs.js';
import { REDO, type RedoName, vectorNumber } from './simd/fp-host.js';

const bitsOf = (es: number): number => 8 << es;

/** Element size for which the host is used. */
export const hostSize = (es: number): boolean => es === 2 || es === 3;

/** General register with the low element of vector slot v, zero-extended. */
export function fromVector(c: LiftContext, es: number, v: number): number {
  const t = c.b.temp();
  c.vop(es === 3 ? 'n.x64' : 'n.x32', t, v);
  return t;
}

/** Vector slot d = the low element of x, zero above. */
export function toVector(c: LiftContext, es: number, d: number, x: number): void {
  c.vop(es === 3 ? 'n.g64' : 'n.g32', d, x);
}

/** Vector slot d = the low element of vector slot a, zero above. */
export function lowElement(c: LiftContext, es: number, d: number, a: number): void {
  if (es === 3) c.vop('n.low64', d, a);
  else c.vop('n.low32', d, a, a, NONE, 0x0e);
}

/**
 * General register that is not 0 if an element of A.SCRATCH_A is one that the host and Arm disagree about: a NaN, or the smallest normal
 * number (either sign). Arm finds underflow before rounding, the host after it: what rounds up to that number is underflow to Arm alone.
 */
export function recheck(c: LiftContext, es: number, packed: boolean): number {
  const ir = c.b;
  const bits = bitsOf(es);
  const sign = ir.temp();
  c.vop('and', A.SCRATCH_C, A.SCRATCH_A, es === 3 ? A.FP_ABS_64 : A.FP_ABS_32, NONE, 1);
  c.vop(`n.${packed ? 'v' : ''}recheck.${bits}`, A.SCRATCH_C, A.SCRATCH_C, es === 3 ? A.FP_MIN_64 : A.FP_MIN_32, NONE, EQUAL_OR_UNORDERED);
  c.vop(`n.sign.${bits}`, sign, A.SCRATCH_C);
  if (packed) return sign;
  const low = ir.temp();
  ir.alu(Op.AND, 2, low, sign, c.k(1));
  return low;
}
/** Predicate of VCMPPS: EQ_UQ. */
const EQUAL_OR_UNORDERED = 8;

/** A.SCRATCH_A has a result: where the host may be wrong about it the helper makes it again. */
function fixResult(c: LiftContext, es: number, packed: boolean, literal: number): void {
  c.b.callIf(c.vopId('fp.again'), 2, recheck(c, es, packed), NONE, literal);
}

const again = (name: RedoName, es: number, packed: boolean, a: number, b: number, addend: number, q: number): number =>
  REDO.indexOf(name) | ((es - 2) << 4) | (packed ? 0x20 : 0) | (vectorNumber(a) << 6) | (vectorNumber(b) << 12) | (vectorNumber(addend) << 18) | (q << 24);

const BY_HOST: ReadonlySet<string> = new Set(['add', 'sub', 'mul', 'div', 'sqrt', 'mla', 'mls']);

/** True if `vf.NAME` on 64 (q = 0) or 128 bits is a host instruction. */
export function hostPacked(name: string, es: number, q: number): name is RedoName {
  // With the upper halves zero a division would divide zero by zero.
  return hostSize(es) && BY_HOST.has(name) && (q !== 0 || name !== 'div');
}

/** Vector arithmetic; `b` may be A.SCRATCH_B. */
export function packedArith(c: LiftContext, name: RedoName, es: number, q: number, d: number, a: number, b: number): void {
  const accumulates = name === 'mla' || name === 'mls';
  const one = name === 'sqrt';
  if (q === 0) {
    // Whatever lies above must not raise flags.
    c.vop('n.low64', A.SCRATCH_D, a);
    a = A.SCRATCH_D;
    if (!one) {
      c.vop('n.low64', A.SCRATCH_B, b);
      b = A.SCRATCH_B;
    }
  }
  if (accumulates) {
    if (q === 0) c.vop('n.low64', A.SCRATCH_A, d);
    else c.b.emit(Op.MOVV, 4, 0, 0, A.SCRATCH_A, d, NONE, NONE, 0, 0);
  }
  c.vop(`n.vf${name}.${bitsOf(es)}`, A.SCRATCH_A, a, one ? NONE : b, accumulates ? A.SCRATCH_A : NONE, 1);
  fixResult(c, es, true, again(name, es, true, a, one ? a : b, d, q));
  if (q === 0) c.vop('n.low64', d, A.SCRATCH_A);
  else c.b.emit(Op.MOVV, 4, 0, 0, d, A.SCRATCH_A, NONE, NONE, 0, 0);
}

/** FMADD and its like: d = +-c +- a * b. */
export function fused(c: LiftContext, name: RedoName, es: number, d: number, a: number, b: number, addend: number): void {
  c.b.emit(Op.MOVV, 4, 0, 0, A.SCRATCH_A, addend, NONE, NONE, 0, 0);
  c.vop(`n.${name}.${bitsOf(es)}`, A.SCRATCH_A, a, b, A.SCRATCH_A);
  fixResult(c, es, false, again(name, es, false, a, b, addend, 0));
  lowElement(c, es, d, A.SCRATCH_A);
}

/** Relation of two vector slots as `LiftContext.flagsFromRelation` wants it: 0 less, 1 equal, 2 greater, 0x80 unordered. */
export function relation(c: LiftContext, es: number, signaling: boolean, a: number, b: number): number {
  const ir = c.b;
  const [above, notBelow, unordered, sum, top, t] = [ir.temp(), ir.temp(), ir.temp(), ir.temp(), ir.temp(), ir.temp()];
  ir.vop(c.vopId(`n.fcmp${signaling ? 'e' : ''}.${bitsOf(es)}`), 4, NONE, a, b, NONE, 0, Fl.ALL);
  ir.setcc(Cc.A, above);
  ir.setcc(Cc.AE, notBelow);
  ir.setcc(Cc.P, unordered);
  ir.lea(2, sum, above, notBelow, 0, 0);
  ir.alu(Op.SHL, 2, top, unordered, c.k(7));
  ir.alu(Op.OR, 2, t, sum, top);
  return t;
}

/** Xd = Vn truncated to a signed integer of 32 or 64 bits. @param rd 0..30 */
export function truncate(c: LiftContext, es: number, rd: number, rn: number, wide: boolean): void {
  const ir = c.b;
  const [t, off, smallest] = [ir.temp(), ir.temp(), ir.temp()];
  const w = wide ? 3 : 2;
  c.vop(`n.ftoi.${bitsOf(es)}.${wide ? 64 : 32}`, t, c.v(rn));
  ir.alu(Op.XOR, w, off, t, wide ? ir.k64(0, 0x8000_0000 | 0) : c.k(0x8000_0000 | 0));
  ir.alu3(Op.SELNZ, w, smallest, off, c.k(0), c.k(1));
  // The helper writes the register once more.
  ir.mov(3, Slot.GPR + rd, t);
  ir.callIf(c.vopId('fp.toint'), 2, smallest, NONE, rn | (es << 6) | (wide ? 0x100 : 0) | (rd << 9));
}

/** Vd = integer x of `wide` bits, signed, rounded as FPCR says. */
export function fromInteger(c: LiftContext, es: number, d: number, x: number, wide: boolean): void {
  c.vop(`n.itof.${bitsOf(es)}.${wide ? 64 : 32}`, d, A.ZERO, x);
}

/** FCVT between single and double. Only to single can a result be tiny. */
export function convert(c: LiftContext, es: number, d: number, a: number): void {
  if (es === 2) {
    c.vop('n.fcvt.32', d, A.ZERO, a);
    return;
  }
  c.vop('n.fcvt.64', A.SCRATCH_A, A.ZERO, a);
  c.b.callIf(c.vopId('fp.narrow'), 2, recheck(c, 2, false), NONE, vectorNumber(a));
  lowElement(c, 2, d, A.SCRATCH_A);
}
