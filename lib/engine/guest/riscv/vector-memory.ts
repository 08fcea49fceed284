/**
 * Vector loads and stores (vol. I, 30.7). What one page holds of a contiguous access is copied as one piece where the TLB has the page; everything
 * else goes element by element through the MMU, with vstart at the element, so a fault is precise and the instruction goes on where it stopped.
 */
import { GuestFault } from '../../cpu.js';
import type { RiscvCpu } from './cpu.js';
import { X } from './defs.js';
import { Kind } from './triggers.js';
import type { VectorState } from './vector-state.js';

const PAGE = 4096;
const WIDTHS: readonly number[] = [0, -1, -1, -1, -1, 1, 2, 3];
/** mop. */
const enum Mop { UNIT = 0, INDEXED_UNORDERED = 1, STRIDED = 2, INDEXED_ORDERED = 3 }
/** lumop, sumop. */
const enum Unit { PLAIN = 0, WHOLE = 8, MASK = 11, FAULT_FIRST = 16 }

export class VectorMemory {
  private readonly cpu: RiscvCpu;
  private readonly ram8: Uint8Array;
  private readonly ram32: Int32Array;
  private store = false;
  /** Address of the element, and of the first one. */
  private lo = 0;
  private hi = 0;

  constructor(private readonly s: VectorState) {
    this.cpu = s.cpu;
    this.ram8 = s.cpu.map.ram8;
    this.ram32 = s.cpu.map.ram32;
  }

  /** @param valid vtype is @param a slot of rs1 @param b slot of rs2 */
  execute(valid: boolean, a: number, b: number): void {
    const { s } = this;
    const { insn, vd, vs2, sew, lmul, vm } = s;
    this.store = (insn & 0x20) !== 0;
    const w = WIDTHS[(insn >>> 12) & 7]!;
    const nf = (insn >>> 29) + 1;
    const mop: Mop = (insn >>> 26) & 3;
    s.require((insn & (1 << 28)) === 0);
    this.lo = s.i32[a * 2]!;
    this.hi = s.i32[a * 2 + 1]!;
    if (mop === Mop.UNIT && (vs2 === (Unit.WHOLE as number) || vs2 === (Unit.MASK as number))) {
      if (vs2 === (Unit.WHOLE as number)) {
        s.require(vm && (nf & (nf - 1)) === 0 && (vd & (nf - 1)) === 0 && (!this.store || w === 0));
        s.vl = (nf * s.vlenb) >> w;
      } else {
        s.require(valid && vm && nf === 1 && w === 0);
        s.vl = (s.vl + 7) >> 3;
      }
      this.contiguous(w);
      return;
    }
    s.require(valid);
    const emul = w - sew + lmul;
    s.require(emul >= -3 && emul <= 3);
    const indexed = mop === Mop.INDEXED_UNORDERED || mop === Mop.INDEXED_ORDERED;
    const group = indexed ? lmul : emul;
    const registers = nf << Math.max(group, 0);
    s.require(s.aligned(vd, group) && registers <= 8 && vd + registers <= 32 && s.notMask());
    if (indexed) {
      s.require(s.source(vs2, emul) && this.indexApart(nf, emul));
      this.indexed(w, nf);
    } else if (mop === Mop.STRIDED) {
      this.strided(w, group, nf, s.i32[b * 2]!, s.i32[b * 2 + 1]!);
    } else {
      const first = vs2 === (Unit.FAULT_FIRST as number);
      s.require(vs2 === (Unit.PLAIN as number) || (first && !this.store));
      if (first) this.faultFirst(w, group, nf);
      else if (vm && nf === 1) this.contiguous(w);
      else this.strided(w, group, nf, nf << w, 0);
    }
  }

  /** Indexes and what is loaded with them, or stored, which is another source. */
  private indexApart(nf: number, emul: number): boolean {
    const { s } = this;
    if (this.store && emul === s.lmul) return true;
    const size = 1 << Math.max(s.lmul, 0);
    for (let f = 0; f < nf; f++) {
      const d = s.vd + f * size;
      if (nf > 1 || this.store ? s.overlap(d, s.lmul, s.vs2, emul) : emul !== s.lmul && !s.separate(d, s.lmul, s.vs2, emul)) return false;
    }
    return true;
  }

  private advance(n: number, nHi: number): void {
    const lo = (this.lo + n) | 0;
    this.hi = (this.hi + nHi + (lo >>> 0 < this.lo >>> 0 ? 1 : 0)) | 0;
    this.lo = lo;
  }

  /** One element of 1 << w bytes at lo, hi + off: register element i of the group at byte base. */
  private element(base: number, i: number, w: number, off: number): void {
    const { s, cpu } = this;
    const { mmu, mmuIdx } = cpu;
    const lo = (this.lo + off) | 0;
    const hi = lo >>> 0 < this.lo >>> 0 ? (this.hi + 1) | 0 : this.hi;
    if (mmu.guarded) cpu.triggers.access(lo, hi, 1 << w, this.store ? Kind.STORE : Kind.LOAD);
    if (this.store) {
      s.get64(base, i, w, false);
      if (w === 3) mmu.write64(lo, hi, mmuIdx, s.lo, s.hi);
      else mmu.write(lo, hi, 1 << w, mmuIdx, s.lo);
    } else if (w === 3) {
      mmu.read64(lo, hi, mmuIdx);
      s.put64(base, i, 3, mmu.lo, mmu.hi);
    } else s.put(base, i, w, mmu.read(lo, hi, 1 << w, mmuIdx));
  }

  /** All elements, one after the other in memory. */
  private contiguous(w: number): void {
    const { s, cpu } = this;
    const { mmu, mmuIdx } = cpu;
    const { vl } = s;
    const base = s.base(s.vd);
    let i = s.vstart;
    if (i >= vl) return;
    this.advance(i << w, 0);
    while (i < vl) {
      const n = Math.min(vl - i, (PAGE - (this.lo & (PAGE - 1))) >> w);
      const bytes = n << w;
      const at = n === 0 ? -1 : this.store ? mmu.hitWrite(this.lo, this.hi, mmuIdx, bytes) : mmu.hitRead(this.lo, this.hi, mmuIdx, bytes);
      if (at >= 0) {
        this.move(base + (i << w), at, bytes);
        this.advance(bytes, 0);
        i += n;
      } else {
        s.i32[X.VSTART * 2] = i;
        this.element(base, i, w, 0);
        this.advance(1 << w, 0);
        i++;
      }
    }
  }

  /** Between registers and RAM. */
  private move(register: number, at: number, bytes: number): void {
    const { s, store } = this;
    if (((register | at | bytes) & 3) === 0) {
      const [r, m, n] = [register >> 2, at >>> 2, bytes >> 2];
      if (store) for (let k = 0; k < n; k++) this.ram32[m + k] = s.i32[r + k]!;
      else for (let k = 0; k < n; k++) s.i32[r + k] = this.ram32[m + k]!;
    } else if (store) for (let k = 0; k < bytes; k++) this.ram8[at + k] = s.u8[register + k]!;
    else for (let k = 0; k < bytes; k++) s.u8[register + k] = this.ram8[at + k]!;
  }

  /** The fields of element i. @param step registers from one field to the next, in bytes */
  private segment(base: number, step: number, i: number, w: number, nf: number): void {
    for (let f = 0; f < nf; f++) this.element(base + f * step, i, w, f << w);
  }

  private step(lmul: number): number {
    return this.s.vlenb << Math.max(lmul, 0);
  }

  private strided(w: number, group: number, nf: number, stride: number, strideHi: number): void {
    const { s } = this;
    const [base, step] = [s.base(s.vd), this.step(group)];
    for (let i = 0; i < s.vl; i++) {
      if (i >= s.vstart && s.active(i)) {
        s.i32[X.VSTART * 2] = i;
        this.segment(base, step, i, w, nf);
      }
      this.advance(stride, strideHi);
    }
  }

  /** Only a fault of the first element is one: the others make vl smaller (30.7.7). */
  private faultFirst(w: number, group: number, nf: number): void {
    const { s, cpu } = this;
    const [base, step] = [s.base(s.vd), this.step(group)];
    this.advance(s.vstart * (nf << w), 0);
    for (let i = s.vstart; i < s.vl; i++) {
      if (s.active(i)) {
        s.i32[X.VSTART * 2] = i;
        try {
          // Of an element that faults nothing is loaded.
          cpu.mmu.probeRead(this.lo, this.hi, nf << w, cpu.mmuIdx);
          this.segment(base, step, i, w, nf);
        } catch (e) {
          if (i === 0 || !(e instanceof GuestFault)) throw e;
          s.i32[X.VL * 2] = i;
          return;
        }
      }
      this.advance(nf << w, 0);
    }
  }

  /** @param w width of the indexes */
  private indexed(w: number, nf: number): void {
    const { s, lo, hi } = this;
    const [base, step, index] = [s.base(s.vd), this.step(s.lmul), s.base(s.vs2)];
    for (let i = s.vstart; i < s.vl; i++) {
      if (!s.active(i)) continue;
      s.get64(index, i, w, false);
      this.lo = lo;
      this.hi = hi;
      this.advance(s.lo, s.hi);
      s.i32[X.VSTART * 2] = i;
      this.segment(base, step, i, s.sew, nf);
    }
  }
}
