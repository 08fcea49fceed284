/**
 * IR for floating point on the host's FPU (simd/fp-host.ts).
 * Nothing here names a part of a vector register: those are in host registers (docs/adr/0012-lazy-vector-registers.md).
 */
import { Op } from '../../ir/ops.js';
import { Cc, Fl, NONE, Slot } from '../../state.js';
import type { LiftContext } from './lift-context.js';
import { A } from './regs.js';
import { HOST_ARITH, type HostArith } from './simd/fp-host.js';

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

/** Vd = Vn op Vm (or op Vn). */
export function scalarArith(c: LiftContext, name: HostArith, es: number): void {
  c.vop(`h.${name}.${bitsOf(es)}`, c.v(c.rd), c.v(c.rn), name === 'sqrt' ? NONE : c.v(c.rm));
}

/** True if `vf.NAME` on 64 (q = 0) or 128 bits is a host instruction. */
export function hostPacked(name: string, es: number, q: number): boolean {
  // With the upper halves zero a division would divide zero by zero.
  return hostSize(es) && (accumulates(name) || (HOST_ARITH as readonly string[]).includes(name)) && (q !== 0 || name !== 'div');
}
const accumulates = (name: string): boolean => name === 'mla' || name === 'mls';

/** Vector arithmetic; `b` may be A.SCRATCH_B. */
export function packedArith(c: LiftContext, name: string, es: number, q: number, d: number, a: number, b: number): void {
  const one = name === 'sqrt';
  let addend = accumulates(name) ? d : NONE;
  if (q === 0) {
    // Whatever lies above must not raise flags. Of zeros may come -0, though.
    c.vop('n.low64', A.SCRATCH_D, a);
    a = A.SCRATCH_D;
    if (!one) {
      c.vop('n.low64', A.SCRATCH_B, b);
      b = A.SCRATCH_B;
    }
    if (addend !== NONE) {
      c.vop('n.low64', A.SCRATCH_A, d);
      addend = A.SCRATCH_A;
    }
  }
  c.vop(`h.v${name}.${bitsOf(es)}`, d, a, one ? NONE : b, addend);
  if (q === 0) c.vop('n.low64', d, d);
}

/** FMADD and its like: d = +-c +- a * b. */
export function fused(c: LiftContext, name: string, es: number, d: number, a: number, b: number, addend: number): void {
  c.vop(`h.${name}.${bitsOf(es)}`, d, a, b, addend);
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

/** FCVT between single and double. */
export function convert(c: LiftContext, es: number, d: number, a: number): void {
  c.vop(`n.fcvt.${bitsOf(es)}`, d, A.ZERO, a);
}
