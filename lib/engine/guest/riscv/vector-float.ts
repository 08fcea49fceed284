/**
 * Floating-point vector instructions (vol. I, 30.13, 30.14, 30.16). Each element is computed by the scalar instruction of F or D that does the same
 * (float.ts), so results and flags are exact; what has no scalar relative is here. There is no half precision (Zvfh).
 */
import { Slot } from '../../state.js';
import type { RiscvCpu } from './cpu.js';
import { Ms } from './defs.js';
import type { VectorPermute } from './vector-permute.js';
import type { VectorState } from './vector-state.js';
import { Convert, FloatUnary, Fp, Kind, type VecInsn, Vf } from './vector-table.js';

/** Slots of operands and result. */
const A = Slot.HELPER_SCRATCH;
const B = A + 1;
const C = A + 2;
const D = A + 3;
const MXCSR = Slot.MXCSR * 2;
/** Exception flags at their places in MXCSR. */
const FLAGS = 0x3f, NV = 1, DZ = 4, OF = 8, NX = 0x20;
const RTZ = 1, RDN = 2, RUP = 3;
const CANONICAL_S = 0x7fc0_0000;
const CANONICAL_D_HI = 0x7ff8_0000;
const SIGN = 0x8000_0000 | 0;
/** Widening of a single: FCVT.D.S; narrowing: FCVT.S.D. */
const WIDEN = Fp.CONVERT | Fp.DOUBLE;
const NARROW = Fp.CONVERT | (1 << 20);
const RM = 7 << 12;
/** rs2 of conversions from and to integers. */
const UNSIGNED = 1 << 20;
const LONG = 2 << 20;

/**
 * Seven bits after the point of the reciprocal of 1.x, by the upper seven bits of x (table 53); of the reciprocal square root, by the lowest bit of the
 * exponent and the upper six of x (table 51): of the middle of the interval, rounded.
 */
const RECIPROCAL = Uint8Array.from({ length: 128 }, (_, i) => Math.round((2 / (1 + (i + 0.5) / 128) - 1) * 128));
const RECIPROCAL_ROOT = Uint8Array.from({ length: 128 }, (_, i) => Math.round((2 / Math.sqrt((i < 64 ? 2 : 1) * (1 + ((i & 63) + 0.5) / 64)) - 1) * 128));

export class VectorFloat {
  private readonly cpu: RiscvCpu;
  private readonly V: Int32Array;
  private readonly f64 = new Float64Array(1);
  private readonly f32 = new Float32Array(this.f64.buffer);
  private readonly u32 = new Int32Array(this.f64.buffer);
  private isVector = false;

  constructor(private readonly s: VectorState, private readonly permute: VectorPermute) {
    this.cpu = s.cpu;
    this.V = s.i32;
  }

  /** @param dst slot of rd of VFMV.F.S @param a slot of the scalar operand */
  execute(row: VecInsn, dst: number, a: number): void {
    const { s, cpu } = this;
    const { sew, lmul, vd, vs1, vs2 } = s;
    s.require((cpu.csr.mstatus & Ms.FS) !== 0 && cpu.csr.frm <= 4);
    this.isVector = ((s.insn >>> 12) & 7) === 1;
    // A conversion may have a source or a result that is no floating-point number, of 16 bits.
    s.require((sew >= 2 && sew <= 3) || row.kind === Kind.FLOAT_CONVERT);
    const second = (): boolean => !this.isVector || s.source(vs1, lmul);
    switch (row.kind) {
      case Kind.FLOAT: case Kind.FLOAT_SIGN:
        s.require(s.notMask() && s.aligned(vd, lmul) && s.source(vs2, lmul) && second());
        if (row.kind === Kind.FLOAT) this.arithmetic(row, a);
        else this.signs(row.op, a);
        break;
      case Kind.FLOAT_WIDE: case Kind.FLOAT_WIDE_W: {
        const wide = row.kind === Kind.FLOAT_WIDE_W;
        s.require(this.widens() && (wide ? s.source(vs2, lmul + 1) : s.source(vs2, lmul) && s.separate(vd, lmul + 1, vs2, lmul)));
        s.require(!this.isVector || (s.source(vs1, lmul) && !(wide && s.overlap(vs1, lmul, vs2, lmul + 1)) && s.separate(vd, lmul + 1, vs1, lmul)));
        s.require((row.flags & Vf.ACC) === 0 || s.accumulates(this.isVector));
        this.widening(row, wide, a);
        break;
      }
      case Kind.FLOAT_COMPARE:
        s.require(s.source(vs2, lmul) && second() && (vd === vs2 || !s.overlap(vd, 0, vs2, lmul)) && (!this.isVector || vd === vs1 || !s.overlap(vd, 0, vs1, lmul)));
        this.compare(row, a);
        break;
      case Kind.FLOAT_REDUCE: case Kind.FLOAT_REDUCE_WIDE: {
        const wide = row.kind === Kind.FLOAT_REDUCE_WIDE;
        s.require(s.vstart === 0 && s.source(vs2, lmul) && (!wide || sew === 2));
        this.reduce(row.op, wide);
        break;
      }
      case Kind.FLOAT_CONVERT:
        this.conversion();
        break;
      case Kind.FLOAT_UNARY:
        s.require(s.notMask() && s.aligned(vd, lmul) && s.source(vs2, lmul));
        this.unary(vs1);
        break;
      default:
        this.moves(row.kind, dst, a);
    }
  }

  private widens(): boolean {
    const { s } = this;
    return s.sew === 2 && s.lmul <= 2 && s.notMask() && s.aligned(s.vd, s.lmul + 1);
  }

  // ---- operands

  /** An element to a slot, as F registers hold it. */
  private take(slot: number, base: number, i: number, w: number): void {
    const { V, s } = this;
    if (w === 3) {
      V[slot * 2] = V[(base >> 2) + 2 * i]!;
      V[slot * 2 + 1] = V[(base >> 2) + 2 * i + 1]!;
    } else {
      V[slot * 2] = s.get(base, i, w, true);
      V[slot * 2 + 1] = -1;
    }
  }

  /** The second source to a slot: element i of vs1, or the scalar. */
  private second(slot: number, base: number, i: number, a: number): void {
    const { V } = this;
    if (this.isVector) this.take(slot, base, i, this.s.sew);
    else {
      V[slot * 2] = V[a * 2]!;
      V[slot * 2 + 1] = V[a * 2 + 1]!;
    }
  }

  private result(base: number, i: number, w: number): void {
    this.s.put64(base, i, w, this.V[D * 2]!, this.V[D * 2 + 1]!);
  }

  /** Runs a scalar instruction on the slots. */
  private run(insn: number): void {
    this.cpu.float.execute(insn, D, A, B, C);
  }

  private widen(slot: number): void {
    this.cpu.float.execute(WIDEN, slot, slot, slot, slot);
  }

  /** The scalar as bits of an element: what is not boxed counts as the canonical NaN. */
  private scalarLo(a: number): number {
    return this.s.sew === 2 && this.V[a * 2 + 1] !== -1 ? CANONICAL_S : this.V[a * 2]!;
  }

  // ---- kinds

  private arithmetic(row: VecInsn, a: number): void {
    const { s } = this;
    const { sew, vl } = s;
    const insn = row.op | (sew === 3 ? Fp.DOUBLE : 0);
    const [x, y, d] = [s.base(s.vs2), s.base(s.vs1), s.base(s.vd)];
    const swap = (row.flags & Vf.SWAP) !== 0;
    const acc = (row.flags & Vf.ACC) !== 0;
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) continue;
      if (acc) {
        this.second(A, y, i, a);
        this.take(swap ? C : B, x, i, sew);
        this.take(swap ? B : C, d, i, sew);
      } else {
        this.second(swap ? A : B, y, i, a);
        this.take(swap ? B : A, x, i, sew);
      }
      this.run(insn);
      this.result(d, i, sew);
    }
  }

  /** Results of double width; `wide`: vs2 too. */
  private widening(row: VecInsn, wide: boolean, a: number): void {
    const { s } = this;
    const insn = row.op | Fp.DOUBLE;
    const [x, y, d] = [s.base(s.vs2), s.base(s.vs1), s.base(s.vd)];
    const acc = (row.flags & Vf.ACC) !== 0;
    for (let i = s.vstart; i < s.vl; i++) {
      if (!s.active(i)) continue;
      this.take(A, x, i, wide ? 3 : 2);
      if (!wide) this.widen(A);
      this.second(B, y, i, a);
      this.widen(B);
      if (acc) this.take(C, d, i, 3);
      this.run(insn);
      this.result(d, i, 3);
    }
  }

  private compare(row: VecInsn, a: number): void {
    const { s } = this;
    const { sew } = s;
    const insn = row.op | (sew === 3 ? Fp.DOUBLE : 0);
    const [x, y] = [s.base(s.vs2), s.base(s.vs1)];
    const swap = (row.flags & Vf.SWAP) !== 0;
    const invert = (row.flags & Vf.NOT) !== 0 ? 1 : 0;
    for (let i = s.vstart; i < s.vl; i++) {
      if (!s.active(i)) continue;
      this.second(swap ? A : B, y, i, a);
      this.take(swap ? B : A, x, i, sew);
      this.run(insn);
      s.putBit(s.vd, i, this.V[D * 2]! ^ invert);
    }
  }

  /** VFSGNJ, VFSGNJN, VFSGNJX. */
  private signs(op: number, a: number): void {
    const { s, V } = this;
    const { sew } = s;
    const [x, y, d] = [s.base(s.vs2), s.base(s.vs1), s.base(s.vd)];
    for (let i = s.vstart; i < s.vl; i++) {
      if (!s.active(i)) continue;
      let sign: number;
      if (this.isVector) {
        s.get64(y, i, sew, true);
        sign = s.hi;
      } else sign = sew === 3 ? V[a * 2 + 1]! : this.scalarLo(a);
      s.get64(x, i, sew, true);
      const top = sew === 3 ? s.hi : s.lo;
      const r = op === 0 ? (top & ~SIGN) | (sign & SIGN) : op === 1 ? (top & ~SIGN) | (~sign & SIGN) : top ^ (sign & SIGN);
      if (sew === 3) s.put64(d, i, 3, s.lo, r);
      else s.put(d, i, sew, r);
    }
  }

  /** One element after the other, which is an order that the unordered sum may have too (30.14.3). */
  private reduce(op: number, wide: boolean): void {
    const { s, V } = this;
    const { sew } = s;
    if (s.vl === 0) return;
    const w = wide ? 3 : sew;
    const insn = op | (w === 3 ? Fp.DOUBLE : 0);
    const x = s.base(s.vs2);
    this.take(D, s.base(s.vs1), 0, w);
    for (let i = 0; i < s.vl; i++) {
      if (!s.active(i)) continue;
      V[A * 2] = V[D * 2]!;
      V[A * 2 + 1] = V[D * 2 + 1]!;
      this.take(B, x, i, sew);
      if (wide) this.widen(B);
      this.run(insn);
    }
    this.result(s.base(s.vd), 0, w);
  }

  private moves(kind: Kind, dst: number, a: number): void {
    const { s, cpu, V } = this;
    const { sew, vd, vs2 } = s;
    const lo = this.scalarLo(a);
    const hi = V[a * 2 + 1]!;
    if (kind === Kind.FLOAT_TO_SCALAR) {
      s.require(s.vm && s.vs1 === 0);
      this.take(D, s.base(vs2), 0, sew);
      cpu.setReg(dst, V[D * 2]!, V[D * 2 + 1]!);
    } else if (kind === Kind.FLOAT_FROM_SCALAR) {
      s.require(s.vm && vs2 === 0);
      if (s.vstart < s.vl) s.put64(s.base(vd), 0, sew, lo, hi);
    } else if (kind === Kind.FLOAT_MERGE) {
      s.require(s.aligned(vd, s.lmul) && (s.vm ? vs2 === 0 : vd !== 0 && s.source(vs2, s.lmul)));
      const [x, d] = [s.base(vs2), s.base(vd)];
      for (let i = s.vstart; i < s.vl; i++) {
        if (s.active(i)) s.put64(d, i, sew, lo, hi);
        else s.copy(d, i, x, i, sew);
      }
    } else this.permute.slideOne(kind === Kind.SLIDE1_UP, lo, hi);
  }

  // ---- conversions

  /** VFUNARY0. */
  private conversion(): void {
    const { s } = this;
    const { sew, lmul, vd, vs1, vs2 } = s;
    const kind: Convert = vs1 & 7;
    const [widening, narrowing] = [vs1 >> 3 === 1, vs1 >> 3 === 2];
    s.require(vs1 < 24 && (kind !== Convert.F_F || vs1 >= 8) && (kind !== Convert.ROD_F_F || narrowing));
    const from = narrowing ? sew + 1 : sew;
    const to = widening ? sew + 1 : sew;
    const fromInt = kind === Convert.F_XU || kind === Convert.F_X;
    const toInt = kind === Convert.XU_F || kind === Convert.X_F || kind >= Convert.RTZ_XU_F;
    s.require(from <= 3 && to <= 3 && (fromInt || from >= 2) && (toInt || to >= 2) && s.notMask());
    if (widening) s.require(lmul <= 2 && s.aligned(vd, lmul + 1) && s.source(vs2, lmul) && s.separate(vd, lmul + 1, vs2, lmul));
    else if (narrowing) s.require(lmul <= 2 && s.aligned(vd, lmul) && s.source(vs2, lmul + 1) && s.separate(vd, lmul, vs2, lmul + 1));
    else s.require(s.aligned(vd, lmul) && s.source(vs2, lmul));
    const unsigned = kind === Convert.XU_F || kind === Convert.F_XU || kind === Convert.RTZ_XU_F;
    const [x, d] = [s.base(vs2), s.base(vd)];
    let insn: number;
    if (toInt) {
      insn = Fp.TO_INT | (from === 3 ? Fp.DOUBLE : 0) | (unsigned ? UNSIGNED : 0) | (to === 3 ? LONG : 0);
      if (kind >= Convert.RTZ_XU_F) insn = (insn & ~RM) | (RTZ << 12);
    } else if (fromInt) insn = Fp.FROM_INT | (to === 3 ? Fp.DOUBLE : 0) | (unsigned ? UNSIGNED : 0) | (from === 3 ? LONG : 0);
    else insn = widening ? WIDEN : kind === Convert.ROD_F_F ? (NARROW & ~RM) | (RTZ << 12) : NARROW;
    for (let i = s.vstart; i < s.vl; i++) {
      if (!s.active(i)) continue;
      if (fromInt) {
        s.get64(x, i, from, !unsigned);
        this.V[A * 2] = s.lo;
        this.V[A * 2 + 1] = s.hi;
      } else this.take(A, x, i, from);
      if (toInt && to === 1) this.toHalfword(insn, unsigned);
      else if (kind === Convert.ROD_F_F) this.toOdd(insn);
      else this.run(insn);
      this.result(d, i, to);
    }
  }

  /** Runs a scalar instruction. @returns the flags that it raised; the sticky ones are as before */
  private alone(insn: number): number {
    const { V } = this;
    const before = V[MXCSR]!;
    V[MXCSR] = before & ~FLAGS;
    this.run(insn);
    const raised = V[MXCSR]! & FLAGS;
    V[MXCSR] = before;
    return raised;
  }

  /** To 16 bits: what does not fit is invalid and saturates. */
  private toHalfword(insn: number, unsigned: boolean): void {
    const { V } = this;
    let raised = this.alone(insn);
    const v = V[D * 2]!;
    const r = unsigned ? (v >>> 0 > 0xffff ? 0xffff : v) : Math.max(-0x8000, Math.min(0x7fff, v));
    if (r !== v) raised = NV;
    V[D * 2] = r;
    V[MXCSR]! |= raised;
  }

  /** Round to odd: towards zero, with the lowest bit set if that was inexact. */
  private toOdd(insn: number): void {
    const raised = this.alone(insn);
    if (raised & NX) this.V[D * 2]! |= 1;
    this.V[MXCSR]! |= raised;
  }

  // ---- VFUNARY1

  private unary(kind: number): void {
    const { s } = this;
    const { sew } = s;
    s.require(kind === (FloatUnary.SQRT as number) || kind === (FloatUnary.RSQRT7 as number) || kind === (FloatUnary.REC7 as number) || kind === (FloatUnary.CLASS as number));
    const wide = sew === 3 ? Fp.DOUBLE : 0;
    const [x, d] = [s.base(s.vs2), s.base(s.vd)];
    for (let i = s.vstart; i < s.vl; i++) {
      if (!s.active(i)) continue;
      this.take(A, x, i, sew);
      if (kind === (FloatUnary.SQRT as number)) this.run(Fp.SQRT | wide);
      else if (kind === (FloatUnary.CLASS as number)) this.run(Fp.CLASS | wide);
      else this.estimate(kind === (FloatUnary.RSQRT7 as number), sew);
      this.result(d, i, sew);
    }
  }

  private setResult(v: number, w: number): void {
    const { V, u32 } = this;
    if (w === 3) this.f64[0] = v;
    else this.f32[0] = v;
    V[D * 2] = u32[0]!;
    V[D * 2 + 1] = w === 3 ? u32[1]! : -1;
  }

  private setNaN(w: number): void {
    this.V[D * 2] = w === 3 ? 0 : CANONICAL_S;
    this.V[D * 2 + 1] = w === 3 ? CANONICAL_D_HI : -1;
  }

  /** VFRSQRT7 and VFREC7 (30.13.9 and 30.13.10). */
  private estimate(root: boolean, w: number): void {
    const { V, u32, f64 } = this;
    u32[0] = V[A * 2]!;
    u32[1] = V[A * 2 + 1]!;
    const top = w === 3 ? u32[1] : u32[0];
    let v = w === 3 ? f64[0]! : this.f32[0]!;
    const negative = top < 0;
    if (v !== v || (root && negative && v !== 0)) {
      const signalling = v !== v && (top & (w === 3 ? 0x8_0000 : 0x40_0000)) === 0;
      if (signalling || v === v) V[MXCSR]! |= NV;
      this.setNaN(w);
      return;
    }
    if (v === 0) {
      V[MXCSR]! |= DZ;
      this.setResult(negative ? -Infinity : Infinity, w);
      return;
    }
    if (v === Infinity || v === -Infinity) {
      this.setResult(negative ? -0 : 0, w);
      return;
    }
    const bias = w === 3 ? 1023 : 127;
    // A denormal double is made normal; a single is a normal double in any case.
    let exp = bias - 1023;
    if (w === 3 && (u32[1] & 0x7ff0_0000) === 0) {
      v *= 2 ** 54;
      exp -= 54;
    }
    f64[0] = v;
    exp += (u32[1] >>> 20) & 0x7ff;
    let r: number;
    if (root) {
      const e = Math.floor((3 * bias - 1 - exp) / 2);
      r = (1 + RECIPROCAL_ROOT[((exp & 1) << 6) | ((u32[1] >>> 14) & 63)]! / 128) * 2 ** (e - bias);
    } else if (exp < -1) {
      // Too large a reciprocal.
      V[MXCSR]! |= OF | NX;
      const { frm } = this.cpu.csr;
      const largest = frm === RTZ || (frm === RDN && !negative) || (frm === RUP && negative);
      r = !largest ? Infinity : w === 3 ? Number.MAX_VALUE : (2 - 2 ** -23) * 2 ** 127;
    } else {
      r = (1 + RECIPROCAL[(u32[1] >>> 13) & 127]! / 128) * 2 ** (bias - 1 - exp);
    }
    this.setResult(negative ? -r : r, w);
  }
}
