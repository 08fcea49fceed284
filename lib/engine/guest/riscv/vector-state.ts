/**
 * The vector registers and what vtype says of them: elements, mask bits, register groups and the rules for them (vol. I, 30.3 to 30.5).
 * The registers lie in the state region one after the other, VLENB bytes each; the CSRs are slots of their own.
 */
import type { RiscvCpu } from './cpu.js';
import { X } from './defs.js';

/** Byte of v0. */
const BASE = X.V * 8;

export class VectorState {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  /** Result of `get64`. */
  lo = 0;
  hi = 0;

  // The running instruction.
  insn = 0;
  /** SEW in bytes and LMUL as powers of two. */
  sew = 0;
  lmul = 0;
  vl = 0;
  vstart = 0;
  /** Bit 25: not masked. */
  vm = true;
  vd = 0;
  vs1 = 0;
  vs2 = 0;

  /** @param vlenb bytes of a register: 16 or 32 */
  constructor(readonly cpu: RiscvCpu, readonly vlenb: number) {
    const { buffer } = cpu.U8;
    this.i8 = new Int8Array(buffer, 0, cpu.U8.length);
    this.u8 = cpu.U8;
    this.i16 = new Int16Array(buffer, 0, cpu.U8.length >> 1);
    this.u16 = new Uint16Array(buffer, 0, cpu.U8.length >> 1);
    this.i32 = cpu.V;
  }

  /** Takes the fields of an instruction and of vtype over. @returns false with vill set */
  begin(insn: number): boolean {
    const V = this.i32;
    this.insn = insn;
    const vtype = V[X.VTYPE * 2]!;
    this.sew = (vtype >>> 3) & 7;
    this.lmul = ((vtype & 7) << 29) >> 29;
    this.vl = V[X.VL * 2]!;
    this.vstart = V[X.VSTART * 2]!;
    this.vm = (insn & (1 << 25)) !== 0;
    this.vd = (insn >>> 7) & 31;
    this.vs1 = (insn >>> 15) & 31;
    this.vs2 = (insn >>> 20) & 31;
    return V[X.VTYPE * 2 + 1]! === 0;
  }

  /** Everything that is reserved raises an illegal instruction exception. */
  require(ok: boolean): void {
    if (!ok) throw this.cpu.illegal(this.insn);
  }

  /** VLMAX of elements of 1 << w bytes in a group of LMUL 1 << lmul. */
  max(w: number, lmul: number): number {
    return lmul >= w ? this.vlenb << (lmul - w) : this.vlenb >> (w - lmul);
  }

  // ---- register groups

  /** Is the register the first of a group of EMUL 1 << lmul? */
  aligned(r: number, lmul: number): boolean {
    return lmul <= 0 || (r & ((1 << lmul) - 1)) === 0;
  }

  /** Do two groups have a register in common? */
  overlap(a: number, aLmul: number, b: number, bLmul: number): boolean {
    return a < b + (bLmul <= 0 ? 1 : 1 << bLmul) && b < a + (aLmul <= 0 ? 1 : 1 << aLmul);
  }

  /** A masked instruction does not write v0, unless with a mask or a scalar. */
  notMask(): boolean {
    return this.vm || this.vd !== 0;
  }

  /** A group that is read: the register of a source has one width only, and as the mask v0 has elements of one bit (30.5.2). */
  source(r: number, lmul: number): boolean {
    return this.aligned(r, lmul) && (this.vm || r !== 0);
  }

  /**
   * May a destination with elements of another width than the source's share registers with it (30.5.2)? A narrower one in the lowest register of the source, a wider one
   * in the highest registers of the destination, where the source has at least one whole register.
   */
  separate(d: number, dLmul: number, s: number, sLmul: number): boolean {
    if (!this.overlap(d, dLmul, s, sLmul)) return true;
    if (dLmul > sLmul) return sLmul >= 0 && s + (1 << sLmul) === d + (1 << dLmul);
    return dLmul < sLmul && d === s;
  }

  /** A destination of double width that is a source as well has no register in common with the narrower ones. */
  accumulates(isVector: boolean): boolean {
    const { vd, vs1, vs2, lmul } = this;
    return !this.overlap(vd, lmul + 1, vs2, lmul) && !(isVector && this.overlap(vd, lmul + 1, vs1, lmul));
  }

  // ---- elements

  base(r: number): number {
    return BASE + r * this.vlenb;
  }

  /** Element i, 1 << w bytes (w up to 2), of the group at byte `base`. */
  get(base: number, i: number, w: number, signed: boolean): number {
    if (w === 0) return signed ? this.i8[base + i]! : this.u8[base + i]!;
    if (w === 1) return signed ? this.i16[(base >> 1) + i]! : this.u16[(base >> 1) + i]!;
    return this.i32[(base >> 2) + i]!;
  }

  put(base: number, i: number, w: number, v: number): void {
    if (w === 0) this.u8[base + i] = v;
    else if (w === 1) this.u16[(base >> 1) + i] = v;
    else this.i32[(base >> 2) + i] = v;
  }

  /** Element of any width, extended to 64 bits, to lo and hi. */
  get64(base: number, i: number, w: number, signed: boolean): void {
    if (w === 3) {
      this.lo = this.i32[(base >> 2) + 2 * i]!;
      this.hi = this.i32[(base >> 2) + 2 * i + 1]!;
      return;
    }
    this.lo = this.get(base, i, w, signed);
    this.hi = signed ? this.lo >> 31 : 0;
  }

  put64(base: number, i: number, w: number, lo: number, hi: number): void {
    if (w === 3) {
      this.i32[(base >> 2) + 2 * i] = lo;
      this.i32[(base >> 2) + 2 * i + 1] = hi;
    } else this.put(base, i, w, lo);
  }

  /** Copies an element; widths are the same. */
  copy(to: number, i: number, from: number, k: number, w: number): void {
    if (w === 3) {
      this.i32[(to >> 2) + 2 * i] = this.i32[(from >> 2) + 2 * k]!;
      this.i32[(to >> 2) + 2 * i + 1] = this.i32[(from >> 2) + 2 * k + 1]!;
    } else this.put(to, i, w, this.get(from, k, w, false));
  }

  /** Bit i of a mask register. */
  bit(r: number, i: number): number {
    return (this.u8[BASE + r * this.vlenb + (i >> 3)]! >> (i & 7)) & 1;
  }

  putBit(r: number, i: number, v: number): void {
    const at = BASE + r * this.vlenb + (i >> 3);
    this.u8[at] = (this.u8[at]! & ~(1 << (i & 7))) | (v << (i & 7));
  }

  /** Is element i active? */
  active(i: number): boolean {
    return this.vm || ((this.u8[BASE + (i >> 3)]! >> (i & 7)) & 1) !== 0;
  }

  /** A scalar as an element of up to 32 bits. */
  extend(v: number, w: number, signed: boolean): number {
    if (w >= 2) return v;
    const s = 32 - (8 << w);
    return signed ? (v << s) >> s : (v << s) >>> s;
  }

  /** simm5 or uimm5 where vs1 stands. */
  immediate(unsigned: boolean): number {
    return unsigned ? this.vs1 : (this.vs1 << 27) >> 27;
  }
}
