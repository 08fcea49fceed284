/**
 * A stack being pushed to or popped from in TypeScript: the stack pointer moves here and reaches RSP only with `commit`,
 * so that an instruction that faults half way leaves the registers alone.
 */
import { At, Vec } from './defs.js';
import { Mode, Seg, X } from './mode.js';
import type { X86Cpu } from './cpu.js';

export class Stack {
  spLo = 0;
  spHi = 0;
  private base = 0;
  private limit = -1;
  private attr = 0;
  /** 0: 16-bit pointer, 1: 32-bit, 2: 64-bit (no segmentation). */
  size = 0;
  /** Access rights: an MMU index. */
  private idx = 0;
  /** Error code of a #SS that this stack raises. */
  private err = 0;

  constructor(private readonly cpu: X86Cpu) {}

  /** The current stack. */
  current(): void {
    const { cpu } = this;
    const V = cpu.V;
    this.spLo = V[X.RSP * 2]!;
    this.spHi = V[X.RSP * 2 + 1]!;
    this.idx = cpu.mmuIdx;
    this.err = 0;
    if ((cpu.mode & Mode.CODE_MASK) === Mode.CODE64) {
      this.size = 2;
      return;
    }
    this.spHi = 0;
    this.base = V[(X.SEGBASE + Seg.SS) * 2]!;
    this.limit = cpu.seg.limit[Seg.SS]!;
    this.attr = cpu.seg.attr[Seg.SS]!;
    this.size = this.attr & At.DB ? 1 : 0;
  }

  /** A 64-bit stack at hi:lo. */
  flat(lo: number, hi: number, idx: number): void {
    this.spLo = lo;
    this.spHi = hi;
    this.size = 2;
    this.idx = idx;
    this.err = 0;
  }

  /** A stack in a segment that is about to be loaded. */
  inner(sp: number, base: number, limit: number, attr: number, idx: number, err: number): void {
    this.spLo = sp;
    this.spHi = 0;
    this.base = base;
    this.limit = limit;
    this.attr = attr;
    this.size = attr & At.DB ? 1 : 0;
    this.idx = idx;
    this.err = err;
  }

  private move(n: number): void {
    if (this.size === 2) {
      const lo = (this.spLo + n) | 0;
      if (n < 0) {
        if ((lo >>> 0) > (this.spLo >>> 0)) this.spHi = (this.spHi - 1) | 0;
      } else if ((lo >>> 0) < (this.spLo >>> 0)) this.spHi = (this.spHi + 1) | 0;
      this.spLo = lo;
    } else if (this.size === 1) this.spLo = (this.spLo + n) | 0;
    else this.spLo = (this.spLo & ~0xffff) | ((this.spLo + n) & 0xffff);
  }

  /** Linear low word of the stack pointer, limit checked for n bytes. */
  private at(n: number): number {
    if (this.size === 2) return this.spLo;
    const off = this.size === 1 ? this.spLo : this.spLo & 0xffff;
    if (!this.cpu.seg.inLimit(this.limit, this.attr, off, n)) throw this.cpu.fault(Vec.SS, this.err);
    return (this.base + off) | 0;
  }

  /** Pushes a value of width w (1, 2, 3). */
  push(w: number, lo: number, hi = 0): void {
    const n = 1 << w;
    this.move(-n);
    const mmu = this.cpu.mmu;
    const a = this.at(n);
    if (w === 2) mmu.write32(a, this.spHi, this.idx, lo);
    else if (w === 3) mmu.write64(a, this.spHi, this.idx, lo, hi);
    else mmu.write16(a, this.spHi, this.idx, lo & 0xffff);
  }

  /** Pops a value of width w: low word returned, high word in `hi`. 16- and 32-bit results are zero-extended. */
  hi = 0;
  pop(w: number): number {
    const n = 1 << w;
    const mmu = this.cpu.mmu;
    const a = this.at(n);
    let lo: number;
    this.hi = 0;
    if (w === 2) lo = mmu.read32(a, this.spHi, this.idx);
    else if (w === 3) {
      mmu.read64(a, this.spHi, this.idx);
      lo = mmu.lo;
      this.hi = mmu.hi;
    } else lo = mmu.read16(a, this.spHi, this.idx);
    this.move(n);
    return lo;
  }

  /** Releases n bytes of parameters. */
  release(n: number): void {
    this.move(n);
  }

  /** Stores the stack pointer to RSP: 16-bit stacks keep the upper bits. */
  commit(): void {
    const V = this.cpu.V;
    if (this.size === 0) V[X.RSP * 2] = (V[X.RSP * 2]! & ~0xffff) | (this.spLo & 0xffff);
    else V[X.RSP * 2] = this.spLo;
    if (this.size === 2) V[X.RSP * 2 + 1] = this.spHi;
    else if (this.size === 1) V[X.RSP * 2 + 1] = 0;
  }

  /** As `commit` when SS changes too: a 16-bit stack pointer taken from a TSS or gate replaces all 32 bits. */
  commitNew(): void {
    const V = this.cpu.V;
    V[X.RSP * 2] = this.spLo;
    V[X.RSP * 2 + 1] = this.size === 2 ? this.spHi : 0;
  }
}
