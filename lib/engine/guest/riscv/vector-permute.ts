/** Masks and permutations (vol. I, 30.15 and 30.16). */
import type { VectorState } from './vector-state.js';
import { Kind, MaskSet, ToScalar, type VecInsn } from './vector-table.js';

/** More than any number of elements. */
const MANY = 1 << 20;

export class VectorPermute {
  constructor(private readonly s: VectorState) {}

  /** @param dst slot of rd, for results that are scalars @param a slot of rs1 */
  execute(row: VecInsn, dst: number, a: number): void {
    const { s } = this;
    switch (row.kind) {
      case Kind.GATHER: this.gather(a); break;
      case Kind.GATHER16: {
        const emul = s.lmul + 1 - s.sew;
        s.require(emul >= -3 && emul <= 3 && this.apart() && s.source(s.vs1, emul) && !s.overlap(s.vd, s.lmul, s.vs1, emul) && (s.sew === 1 || !s.overlap(s.vs1, emul, s.vs2, s.lmul)));
        this.gatherVector(1);
        break;
      }
      case Kind.SLIDE_UP: this.slideUp(this.offset(a)); break;
      case Kind.SLIDE_DOWN: this.slideDown(this.offset(a)); break;
      case Kind.MOVE_WHOLE: this.moveWhole(); break;
      case Kind.COMPRESS: this.compress(); break;
      case Kind.MASK_LOGIC: this.logic(row.op); break;
      case Kind.MASK_SET: this.maskSet(); break;
      case Kind.TO_SCALAR: this.toScalar(dst); break;
      default: this.fromScalar(a); break;
    }
  }

  /** vd, vs2: groups, and not the same ones. */
  private apart(): boolean {
    const { s } = this;
    return s.notMask() && s.aligned(s.vd, s.lmul) && s.source(s.vs2, s.lmul) && !s.overlap(s.vd, s.lmul, s.vs2, s.lmul);
  }

  /** rs1 or the immediate as an index; what is too large for one is large. */
  private offset(a: number): number {
    const { s } = this;
    if (((s.insn >>> 12) & 7) === 3) return s.vs1;
    const lo = s.i32[a * 2]! >>> 0;
    return s.i32[a * 2 + 1]! !== 0 || lo > MANY ? MANY : lo;
  }

  private gather(a: number): void {
    const { s } = this;
    const { sew, vl } = s;
    if (((s.insn >>> 12) & 7) === 0) {
      s.require(this.apart() && s.source(s.vs1, s.lmul) && !s.overlap(s.vd, s.lmul, s.vs1, s.lmul));
      this.gatherVector(sew);
      return;
    }
    s.require(this.apart());
    const k = this.offset(a);
    const [from, to, inside] = [s.base(s.vs2), s.base(s.vd), k < s.max(sew, s.lmul)];
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) continue;
      if (inside) s.copy(to, i, from, k, sew);
      else s.put64(to, i, sew, 0, 0);
    }
  }

  /** @param w width of the indexes */
  private gatherVector(w: number): void {
    const { s } = this;
    const { sew, vl } = s;
    const [from, index, to, max] = [s.base(s.vs2), s.base(s.vs1), s.base(s.vd), s.max(sew, s.lmul)];
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) continue;
      s.get64(index, i, w, false);
      const k = s.lo >>> 0;
      if (s.hi === 0 && k < max) s.copy(to, i, from, k, sew);
      else s.put64(to, i, sew, 0, 0);
    }
  }

  private slideUp(offset: number): void {
    const { s } = this;
    s.require(this.apart());
    const [from, to] = [s.base(s.vs2), s.base(s.vd)];
    for (let i = Math.max(s.vstart, offset); i < s.vl; i++) if (s.active(i)) s.copy(to, i, from, i - offset, s.sew);
  }

  private slideDown(offset: number): void {
    const { s } = this;
    const { sew, vl } = s;
    s.require(s.notMask() && s.aligned(s.vd, s.lmul) && s.source(s.vs2, s.lmul));
    const [from, to, max] = [s.base(s.vs2), s.base(s.vd), s.max(sew, s.lmul)];
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) continue;
      if (i + offset < max) s.copy(to, i, from, i + offset, sew);
      else s.put64(to, i, sew, 0, 0);
    }
  }

  /** VSLIDE1UP, VSLIDE1DOWN and their floating-point relatives. @param lo @param hi the scalar */
  slideOne(up: boolean, lo: number, hi: number): void {
    const { s } = this;
    const { sew, vl } = s;
    s.require(up ? this.apart() : s.notMask() && s.aligned(s.vd, s.lmul) && s.source(s.vs2, s.lmul));
    const [from, to] = [s.base(s.vs2), s.base(s.vd)];
    for (let i = s.vstart; i < vl; i++) {
      if (!s.active(i)) continue;
      if (i === (up ? 0 : vl - 1)) s.put64(to, i, sew, lo, hi);
      else s.copy(to, i, from, up ? i - 1 : i + 1, sew);
    }
  }

  private moveWhole(): void {
    const { s } = this;
    const n = s.vs1 + 1;
    s.require(s.vm && (n === 1 || n === 2 || n === 4 || n === 8) && (s.vd & (n - 1)) === 0 && (s.vs2 & (n - 1)) === 0);
    const from = s.base(s.vs2);
    const to = s.base(s.vd);
    for (let i = s.vstart << s.sew; i < n * s.vlenb; i++) s.u8[to + i] = s.u8[from + i]!;
  }

  private compress(): void {
    const { s } = this;
    s.require(s.vm && s.vstart === 0 && s.aligned(s.vd, s.lmul) && s.source(s.vs2, s.lmul) && !s.overlap(s.vd, s.lmul, s.vs2, s.lmul) && !s.overlap(s.vd, s.lmul, s.vs1, 0));
    const [from, to] = [s.base(s.vs2), s.base(s.vd)];
    for (let i = 0, k = 0; i < s.vl; i++) if (s.bit(s.vs1, i)) s.copy(to, k++, from, i, s.sew);
  }

  private logic(op: number): void {
    const { s } = this;
    s.require(s.vm);
    for (let i = s.vstart; i < s.vl; i++) {
      const a = s.bit(s.vs2, i);
      const b = s.bit(s.vs1, i);
      let r: number;
      switch (op) {
        case 0: r = a & (b ^ 1); break;
        case 1: r = a & b; break;
        case 2: r = a | b; break;
        case 3: r = a ^ b; break;
        case 4: r = a | (b ^ 1); break;
        case 5: r = (a & b) ^ 1; break;
        case 6: r = (a | b) ^ 1; break;
        default: r = a ^ b ^ 1; break;
      }
      s.putBit(s.vd, i, r);
    }
  }

  /** VMSBF, VMSIF, VMSOF, VIOTA, VID. */
  private maskSet(): void {
    const { s } = this;
    const { vd, vs2, sew, lmul, vl } = s;
    const kind = s.vs1;
    const d = s.base(vd);
    if (kind === (MaskSet.ID as number)) {
      s.require(vs2 === 0 && s.notMask() && s.aligned(vd, lmul));
      for (let i = s.vstart; i < vl; i++) if (s.active(i)) s.put64(d, i, sew, i, 0);
    } else if (kind === (MaskSet.IOTA as number)) {
      s.require(s.vstart === 0 && s.notMask() && s.aligned(vd, lmul) && !s.overlap(vd, lmul, vs2, 0));
      for (let i = 0, n = 0; i < vl; i++) {
        if (!s.active(i)) continue;
        s.put64(d, i, sew, n, 0);
        n += s.bit(vs2, i);
      }
    } else {
      s.require(kind >= 1 && kind <= 3 && s.vstart === 0 && s.notMask() && vd !== vs2);
      for (let i = 0, seen = 0; i < vl; i++) {
        if (!s.active(i)) continue;
        const first = seen === 0 ? s.bit(vs2, i) : 0;
        const before = (seen | first) ^ 1;
        s.putBit(vd, i, kind === (MaskSet.SOF as number) ? first : kind === (MaskSet.SIF as number) ? before | first : before);
        seen |= first;
      }
    }
  }

  private toScalar(dst: number): void {
    const { s } = this;
    const kind = s.vs1;
    if (kind === (ToScalar.MV as number)) {
      s.require(s.vm);
      s.get64(s.base(s.vs2), 0, s.sew, true);
      s.cpu.setReg(dst, s.lo, s.hi);
      return;
    }
    s.require((kind === (ToScalar.CPOP as number) || kind === (ToScalar.FIRST as number)) && s.vstart === 0);
    let n = 0;
    let first = -1;
    for (let i = 0; i < s.vl; i++) {
      if (!s.active(i) || s.bit(s.vs2, i) === 0) continue;
      n++;
      if (first < 0) first = i;
    }
    if (kind === (ToScalar.CPOP as number)) s.cpu.setReg(dst, n, 0);
    else s.cpu.setReg(dst, first, first >> 31);
  }

  private fromScalar(a: number): void {
    const { s } = this;
    s.require(s.vm && s.vs2 === 0);
    if (s.vstart < s.vl) s.put64(s.base(s.vd), 0, s.sew, s.i32[a * 2]!, s.i32[a * 2 + 1]!);
  }
}
