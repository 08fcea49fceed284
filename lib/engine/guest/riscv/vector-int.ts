/** Integer, fixed-point, comparison, carry, merge, extension and integer reduction instructions (vol. I, 30.11, 30.12, 30.14). */
import { VectorAlu } from './vector-alu.js';
import type { VectorState } from './vector-state.js';
import { Alu, EXTEND_BY, Kind, type VecInsn, Vf } from './vector-table.js';

export class VectorInteger {
  readonly alu = new VectorAlu();
  /** The second source: a register group, or a scalar. */
  private isVector = false;
  private scalarLo = 0;
  private scalarHi = 0;

  constructor(private readonly s: VectorState) {}

  /** Sets the second source of the instruction up. @param a slot of rs1 */
  private second(row: VecInsn, a: number): void {
    const { s } = this;
    const funct3 = (s.insn >>> 12) & 7;
    this.isVector = funct3 === 0 || funct3 === 2;
    if (this.isVector) return;
    if (funct3 === 3) {
      this.scalarLo = s.immediate((row.flags & Vf.UIMM) !== 0);
      this.scalarHi = this.scalarLo >> 31;
    } else {
      this.scalarLo = s.i32[a * 2]!;
      this.scalarHi = s.i32[a * 2 + 1]!;
    }
  }

  execute(row: VecInsn, a: number): void {
    const { s } = this;
    const { sew, lmul, vd, vs1, vs2 } = s;
    this.second(row, a);
    const second = (): boolean => !this.isVector || s.source(vs1, lmul);
    switch (row.kind) {
      case Kind.INT:
        s.require(s.notMask() && s.aligned(vd, lmul) && s.source(vs2, lmul) && second());
        this.loop(row, sew, sew, sew);
        break;
      case Kind.INT_WIDE:
        s.require(this.widens() && s.source(vs2, lmul) && s.separate(vd, lmul + 1, vs2, lmul) && this.wideSecond() && ((row.flags & Vf.ACC) === 0 || s.accumulates(this.isVector)));
        this.loop(row, sew + 1, sew, sew + 1);
        break;
      case Kind.INT_WIDE_W:
        s.require(this.widens() && s.source(vs2, lmul + 1) && this.wideSecond() && this.likeSources());
        this.loop(row, sew + 1, sew + 1, sew + 1);
        break;
      case Kind.INT_NARROW:
        s.require(lmul <= 2 && sew < 3 && s.notMask() && s.aligned(vd, lmul) && s.source(vs2, lmul + 1) && second() && this.likeSources() && s.separate(vd, lmul, vs2, lmul + 1));
        this.loop(row, sew + 1, sew + 1, sew);
        break;
      case Kind.INT_COMPARE:
        s.require(s.source(vs2, lmul) && second() && this.maskApart());
        this.loop(row, sew, sew, sew);
        break;
      case Kind.CARRY:
        s.require(!s.vm && vd !== 0 && s.aligned(vd, lmul) && s.source(vs2, lmul) && second());
        this.carry(row.op === Alu.SUB, false);
        break;
      case Kind.CARRY_OUT:
        s.require(s.source(vs2, lmul) && second() && this.maskApart());
        this.carry(row.op === Alu.SUB, true);
        break;
      case Kind.MERGE:
        s.require(s.aligned(vd, lmul) && second() && (s.vm ? vs2 === 0 : vd !== 0 && s.source(vs2, lmul)));
        this.merge();
        break;
      case Kind.INT_REDUCE:
        s.require(s.vstart === 0 && s.source(vs2, lmul));
        this.reduce(row, sew);
        break;
      case Kind.INT_REDUCE_WIDE:
        s.require(s.vstart === 0 && sew < 3 && s.source(vs2, lmul));
        this.reduce(row, sew + 1);
        break;
      default:
        this.extension();
    }
  }

  private widens(): boolean {
    const { s } = this;
    return s.lmul <= 2 && s.sew < 3 && s.notMask() && s.aligned(s.vd, s.lmul + 1);
  }

  /** vs2 is twice as wide as vs1: they have no register in common. */
  private likeSources(): boolean {
    const { s } = this;
    return !this.isVector || !s.overlap(s.vs1, s.lmul, s.vs2, s.lmul + 1);
  }

  private wideSecond(): boolean {
    const { s } = this;
    return !this.isVector || (s.source(s.vs1, s.lmul) && s.separate(s.vd, s.lmul + 1, s.vs1, s.lmul));
  }

  /** A mask as destination: one register, which may be the first of a source. */
  private maskApart(): boolean {
    const { s } = this;
    const apart = (r: number): boolean => s.vd === r || !s.overlap(s.vd, 0, r, s.lmul);
    return apart(s.vs2) && (!this.isVector || apart(s.vs1));
  }

  /** @param w width computed with @param aw of vs2 @param dw of vd */
  private loop(row: VecInsn, w: number, aw: number, dw: number): void {
    this.alu.bits = 8 << w;
    if (w === 3) this.loop64(row, aw, dw);
    else this.loop32(row, aw, dw);
  }

  private loop32(row: VecInsn, aw: number, dw: number): void {
    const { s, alu, isVector } = this;
    const { op, flags } = row;
    const { vd, sew, vl } = s;
    const compares = row.kind === Kind.INT_COMPARE;
    const [signed2, signed1, acc] = [(flags & Vf.SIGNED2) !== 0, (flags & Vf.SIGNED1) !== 0, (flags & Vf.ACC) !== 0];
    const [a, b, d] = [s.base(s.vs2), s.base(s.vs1), s.base(vd)];
    const scalar = s.extend(this.scalarLo, sew, signed1);
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) continue;
      const r = alu.op32(op, s.get(a, i, aw, signed2), isVector ? s.get(b, i, sew, signed1) : scalar, acc ? s.get(d, i, dw, true) : 0);
      if (compares) s.putBit(vd, i, r);
      else s.put(d, i, dw, r);
    }
  }

  private loop64(row: VecInsn, aw: number, dw: number): void {
    const { s, alu, isVector } = this;
    const { op, flags } = row;
    const { vd, sew, vl } = s;
    const compares = row.kind === Kind.INT_COMPARE;
    const [signed2, signed1, acc] = [(flags & Vf.SIGNED2) !== 0, (flags & Vf.SIGNED1) !== 0, (flags & Vf.ACC) !== 0];
    const [a, b, d] = [s.base(s.vs2), s.base(s.vs1), s.base(vd)];
    let bLo = sew === 3 ? this.scalarLo : s.extend(this.scalarLo, sew, signed1);
    let bHi = sew === 3 ? this.scalarHi : signed1 ? bLo >> 31 : 0;
    let dLo = 0;
    let dHi = 0;
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) continue;
      if (isVector) {
        s.get64(b, i, sew, signed1);
        bLo = s.lo;
        bHi = s.hi;
      }
      if (acc) {
        s.get64(d, i, dw, true);
        dLo = s.lo;
        dHi = s.hi;
      }
      s.get64(a, i, aw, signed2);
      alu.op64(op, s.lo, s.hi, bLo, bHi, dLo, dHi);
      if (compares) s.putBit(vd, i, alu.lo);
      else s.put64(d, i, dw, alu.lo, alu.hi);
    }
  }

  /** Sum or difference with v0 as carry or borrow: the result, or the carry or borrow out of it. */
  private carry(subtract: boolean, out: boolean): void {
    const { s, isVector } = this;
    const { vd, sew, vl } = s;
    const [a, b, d] = [s.base(s.vs2), s.base(s.vs1), s.base(vd)];
    // The part of an element that is in its upper word, or the only one.
    const top = sew === 3 ? 2 ** 32 : 2 ** (8 << sew);
    let bLo = s.extend(this.scalarLo, sew, false) >>> 0;
    let bHi = this.scalarHi >>> 0;
    for (let i = s.vstart; i < vl; i++) {
      let c = s.vm ? 0 : s.bit(0, i);
      if (isVector) {
        s.get64(b, i, sew, false);
        bLo = s.lo >>> 0;
        bHi = s.hi >>> 0;
      }
      s.get64(a, i, sew, false);
      const lo = subtract ? (s.lo >>> 0) - bLo - c : (s.lo >>> 0) + bLo + c;
      c = lo < 0 || lo >= (sew === 3 ? 2 ** 32 : top) ? 1 : 0;
      let hi = 0;
      if (sew === 3) {
        hi = subtract ? (s.hi >>> 0) - bHi - c : (s.hi >>> 0) + bHi + c;
        c = hi < 0 || hi >= top ? 1 : 0;
      }
      if (out) s.putBit(vd, i, c);
      else s.put64(d, i, sew, lo | 0, hi | 0);
    }
  }

  /** VMERGE: the second source where v0 is set, vs2 elsewhere; VMV: the second source. */
  private merge(): void {
    const { s, isVector } = this;
    const { sew, vl } = s;
    const [a, b, d] = [s.base(s.vs2), s.base(s.vs1), s.base(s.vd)];
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) s.copy(d, i, a, i, sew);
      else if (isVector) s.copy(d, i, b, i, sew);
      else s.put64(d, i, sew, this.scalarLo, this.scalarHi);
    }
  }

  /** vd[0] = vs1[0] op all of vs2. */
  private reduce(row: VecInsn, w: number): void {
    const { s, alu } = this;
    const { sew, vl } = s;
    if (vl === 0) return;
    const signed = row.flags !== 0;
    const a = s.base(s.vs2);
    alu.bits = 8 << w;
    s.get64(s.base(s.vs1), 0, w, signed);
    let [lo, hi] = [s.lo, s.hi];
    for (let i = 0; i < vl; i++) {
      if (!s.active(i)) continue;
      if (w === 3) {
        s.get64(a, i, sew, signed);
        alu.op64(row.op, s.lo, s.hi, lo, hi, 0, 0);
        lo = alu.lo;
        hi = alu.hi;
      } else lo = alu.op32(row.op, s.get(a, i, sew, signed), lo, 0) | 0;
    }
    s.put64(s.base(s.vd), 0, w, lo, hi);
  }

  /** VZEXT and VSEXT. */
  private extension(): void {
    const { s } = this;
    const { sew, lmul, vd, vs2, vl } = s;
    const by = EXTEND_BY[s.vs1] ?? 0;
    s.require(by !== 0 && sew >= by && lmul - by >= -3 && s.notMask() && s.aligned(vd, lmul) && s.source(vs2, lmul - by) && s.separate(vd, lmul, vs2, lmul - by));
    const signed = (s.vs1 & 1) !== 0;
    const [a, d] = [s.base(vs2), s.base(vd)];
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) continue;
      s.get64(a, i, sew - by, signed);
      s.put64(d, i, sew, s.lo, s.hi);
    }
  }
}
