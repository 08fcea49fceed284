/** Segment registers, descriptor tables and their checks (SDM vol. 3, chapters 3.4, 3.5 and 5). */
import { Vec, At, Ef, Efer, LDTR, TR, canonical } from './defs.js';
import { Mmu, Mode, Seg, X } from './mode.js';
import type { X86Cpu } from './cpu.js';

export class Segments {
  readonly sel: Int32Array;
  /** `At` bits. */
  readonly attr: Int32Array;
  /** In bytes, scaled. Read with >>> 0. */
  readonly limit: Int32Array;
  ldtrLo = 0;
  ldtrHi = 0;
  trLo = 0;
  trHi = 0;
  gdtLo = 0;
  gdtHi = 0;
  gdtLimit = 0xffff;
  idtLo = 0;
  idtHi = 0;
  idtLimit = 0xffff;

  /** The descriptor read last: its two words, linear address, and upper base half of a 16-byte one. */
  d0 = 0;
  d1 = 0;
  d2 = 0;
  private dLo = 0;
  private dHi = 0;

  constructor(private readonly cpu: X86Cpu) {
    this.sel = cpu.V.subarray(X.SEL * 2 + 1, X.SEL * 2 + 9);
    this.attr = cpu.V.subarray(X.ATTR * 2 + 1, X.ATTR * 2 + 9);
    this.limit = cpu.V.subarray(X.LIMIT * 2 + 1, X.LIMIT * 2 + 9);
  }

  baseLo(seg: number): number {
    return seg === LDTR ? this.ldtrLo : seg === TR ? this.trLo : this.cpu.V[(X.SEGBASE + seg) * 2]!;
  }

  baseHi(seg: number): number {
    return seg === LDTR ? this.ldtrHi : seg === TR ? this.trHi : this.cpu.V[(X.SEGBASE + seg) * 2 + 1]!;
  }

  setBase(seg: number, lo: number, hi: number): void {
    if (seg === LDTR) {
      this.ldtrLo = lo;
      this.ldtrHi = hi;
    } else if (seg === TR) {
      this.trLo = lo;
      this.trHi = hi;
    } else {
      this.cpu.V[(X.SEGBASE + seg) * 2] = lo;
      this.cpu.V[(X.SEGBASE + seg) * 2 + 1] = hi;
    }
  }

  /** Sets one register completely. Does not update the mode. */
  set(seg: number, sel: number, base: number, limit: number, attr: number): void {
    this.assign(seg, sel, base, limit, attr);
    if (seg === Seg.CS || seg === Seg.SS) this.forgetIret();
  }

  private assign(seg: number, sel: number, base: number, limit: number, attr: number): void {
    this.sel[seg] = sel;
    this.attr[seg] = attr;
    this.limit[seg] = limit;
    this.setBase(seg, base, 0);
    if (seg < 6) this.updateLimit(seg);
  }

  /** CS or SS changes: `X.IRET_SEL`. */
  forgetIret(): void {
    this.cpu.V[X.IRET_SEL * 2] = -1;
  }

  /** Slots LIMIT_R and LIMIT_W of a segment. */
  updateLimit(seg: number): void {
    const V = this.cpu.V;
    const a = this.attr[seg]!;
    const up = a & At.CODE || !(a & At.EXPDOWN);
    const usable = up && !(a & At.NULL) && a & At.P;
    V[(X.LIMIT_R + seg) * 2] = this.limit[seg]!;
    V[(X.LIMIT_R + seg) * 2 + 1] = usable && (!(a & At.CODE) || a & At.RW) ? 0 : 1;
    V[(X.LIMIT_W + seg) * 2] = this.limit[seg]!;
    V[(X.LIMIT_W + seg) * 2 + 1] = usable && !(a & At.CODE) && a & At.RW ? 0 : 1;
  }

  /** True if n bytes at offset off lie within the segment's limit. */
  inLimit(limit: number, attr: number, off: number, n: number): boolean {
    const o = off >>> 0;
    const last = o + n - 1;
    if (!(attr & At.CODE) && attr & At.EXPDOWN) return o > limit >>> 0 && last <= (attr & At.DB ? 0xffff_ffff : 0xffff);
    return last <= limit >>> 0;
  }

  /** Slow path of SEGCHK: everything the inline check does not cover. */
  check(seg: number, off: number, write: boolean, bytes: number): void {
    const a = this.attr[seg]!;
    const vec = seg === Seg.SS ? Vec.SS : Vec.GP;
    const rights = write ? !(a & At.CODE) && a & At.RW : !(a & At.CODE) || a & At.RW;
    if (a & At.NULL || !(a & At.P) || (!rights && this.cpu.isProtected)) throw this.cpu.fault(a & At.NULL ? Vec.GP : vec, 0);
    if (!this.inLimit(this.limit[seg]!, a, off, bytes)) throw this.cpu.fault(vec, 0);
  }

  // ---- descriptors -------------------------------------------------------------------------------------------------

  /** Reads the descriptor of a non-null selector into d0, d1. False if it lies outside its table. */
  read(sel: number): boolean {
    let lo = this.gdtLo;
    let hi = this.gdtHi;
    let limit = this.gdtLimit;
    if (sel & 4) {
      if (this.attr[LDTR]! & At.NULL) return false;
      lo = this.ldtrLo;
      hi = this.ldtrHi;
      limit = this.limit[LDTR]!;
    }
    const i = sel & 0xfff8;
    if (i + 7 > limit >>> 0) return false;
    this.dLo = (lo + i) | 0;
    this.dHi = (this.dLo >>> 0) < (lo >>> 0) ? hi + 1 : hi;
    const mmu = this.cpu.mmu;
    mmu.read64(this.dLo, this.dHi, Mmu.KERNEL);
    this.d0 = mmu.lo;
    this.d1 = mmu.hi;
    return true;
  }

  /** As `read`; raises `vec` with the selector (| ext) as error code if there is no such descriptor. */
  fetch(sel: number, vec: number, ext = 0): void {
    if (!this.read(sel)) throw this.cpu.fault(vec, (sel & 0xfffc) | ext);
  }

  /** Second half of a 16-byte system descriptor in long mode, to d2. Raises `vec` if it is outside the table or has a type. */
  fetchUpper(sel: number, vec: number, ext = 0): void {
    const d0 = this.d0;
    const d1 = this.d1;
    const lo = this.dLo;
    const hi = this.dHi;
    if (!this.read(((sel & 0xfff8) + 8) | (sel & 4)) || this.d1 & 0x1f00) throw this.cpu.fault(vec, (sel & 0xfffc) | ext);
    this.d2 = this.d0;
    this.d0 = d0;
    this.d1 = d1;
    this.dLo = lo;
    this.dHi = hi;
  }

  get dAttr(): number {
    return (this.d1 >>> 8) & 0xf0ff;
  }
  get dDpl(): number {
    return (this.d1 >>> 13) & 3;
  }
  get dBase(): number {
    return (this.d0 >>> 16) | ((this.d1 & 0xff) << 16) | (this.d1 & 0xff00_0000);
  }
  get dLimit(): number {
    const l = (this.d0 & 0xffff) | (this.d1 & 0xf_0000);
    return this.d1 & 0x80_0000 ? (l << 12) | 0xfff : l;
  }

  /** Sets the accessed bit of the descriptor in d0, d1 (a locked read-modify-write on hardware). */
  markAccessed(): void {
    if (this.d1 & 0x100) return;
    this.d1 |= 0x100;
    const lo = (this.dLo + 5) | 0;
    this.cpu.mmu.write8(lo, this.dHi, Mmu.KERNEL, (this.d1 >>> 8) & 0xff);
  }

  /** Changes the type of the TSS descriptor read last between available and busy. */
  setBusy(busy: boolean): void {
    this.d1 = busy ? this.d1 | 0x200 : this.d1 & ~0x200;
    this.cpu.mmu.write8((this.dLo + 5) | 0, this.dHi, Mmu.KERNEL, (this.d1 >>> 8) & 0xff);
  }

  /** Notes the descriptor in d0, d1 and where it lies in two slots from `at` on. */
  note(at: X.IRET_CS_AT | X.IRET_SS_AT): void {
    const V = this.cpu.V;
    V[at * 2] = this.dLo;
    V[at * 2 + 1] = this.dHi;
    V[at * 2 + 2] = this.d0;
    V[at * 2 + 3] = this.d1;
  }

  /** Loads the cache from d0, d1. Does not update the mode. */
  load(seg: number, sel: number): void {
    this.assign(seg, sel, this.dBase, this.dLimit, this.dAttr);
    // What X.IRET_SEL says of a selector holds for as long as it is loaded from the same descriptor.
    const { V } = this.cpu;
    if (seg === Seg.CS) {
      if (V[X.IRET_SEL * 2] === sel && (V[X.IRET_CS * 2] !== this.d0 || V[X.IRET_CS * 2 + 1] !== this.d1)) this.forgetIret();
    } else if (seg === Seg.SS) {
      if (V[X.IRET_SEL * 2 + 1] === sel && (V[X.IRET_SS * 2] !== this.d0 || V[X.IRET_SS * 2 + 1] !== this.d1)) this.forgetIret();
    }
  }

  /** The same, if it is not what is loaded already. */
  reload(seg: Seg, sel: number): void {
    if (this.sel[seg] === sel && this.attr[seg] === this.dAttr && this.limit[seg] === this.dLimit && this.baseLo(seg) === this.dBase && this.baseHi(seg) === 0) return;
    this.load(seg, sel);
  }

  /** Null selector: unusable segment, base cleared (advertised as NullSelectorClearsBase, AMD APM vol. 3, Fn8000_0021). */
  loadNull(seg: number, sel: number): void {
    this.sel[seg] = sel;
    this.attr[seg] = At.NULL | (seg === Seg.SS ? At.DB | (this.cpu.cpl << 5) : 0);
    this.limit[seg] = 0;
    this.setBase(seg, 0, 0);
    this.updateLimit(seg);
    if (seg === Seg.SS) this.forgetIret();
  }

  /** Real mode and virtual-8086 mode load: no descriptor. Limits stay in real mode ("unreal" mode relies on it). */
  loadReal(seg: number, sel: number): void {
    if (this.cpu.eflagsSystem & Ef.VM) this.set(seg, sel, sel << 4, 0xffff, 0xf3);
    else {
      this.sel[seg] = sel;
      this.setBase(seg, sel << 4, 0);
      if (seg === Seg.CS) this.attr[seg] = (this.attr[seg]! & (At.DB | At.G)) | 0x93;
      this.updateLimit(seg);
      this.forgetIret();
    }
  }

  /** MOV to a segment register, POP, LDS and so on (SDM vol. 2, MOV). Not CS. Updates the mode. */
  loadData(seg: number, sel: number): void {
    const cpu = this.cpu;
    sel &= 0xffff;
    if (!cpu.isProtected) {
      this.loadReal(seg, sel);
      cpu.updateMode();
      return;
    }
    const rpl = sel & 3;
    if (!(sel & 0xfffc)) {
      if (seg === Seg.SS && ((cpu.mode & Mode.CODE_MASK) !== Mode.CODE64 || cpu.cpl === 3 || rpl !== cpu.cpl)) throw cpu.fault(Vec.GP, 0);
      this.loadNull(seg, sel);
      cpu.updateMode();
      return;
    }
    this.fetch(sel, Vec.GP);
    const a = this.dAttr;
    const dpl = this.dDpl;
    const err = sel & 0xfffc;
    if (seg === Seg.SS) {
      if (!(a & At.S) || a & At.CODE || !(a & At.RW) || rpl !== cpu.cpl || dpl !== cpu.cpl) throw cpu.fault(Vec.GP, err);
      if (!(a & At.P)) throw cpu.fault(Vec.SS, err);
    } else {
      if (!(a & At.S) || (a & At.CODE && !(a & At.RW))) throw cpu.fault(Vec.GP, err);
      if ((a & (At.CODE | At.CONFORM)) !== (At.CODE | At.CONFORM) && (rpl > dpl || cpu.cpl > dpl)) throw cpu.fault(Vec.GP, err);
      if (!(a & At.P)) throw cpu.fault(Vec.NP, err);
    }
    this.markAccessed();
    this.load(seg, sel);
    cpu.updateMode();
  }

  /** LLDT (SDM vol. 2). */
  lldt(sel: number): void {
    const cpu = this.cpu;
    sel &= 0xffff;
    if (!(sel & 0xfffc)) {
      this.sel[LDTR] = sel;
      this.attr[LDTR] = At.NULL;
      return;
    }
    if (sel & 4) throw cpu.fault(Vec.GP, sel & 0xfffc);
    this.fetch(sel, Vec.GP);
    const long = (cpu.efer & Efer.LMA) !== 0;
    if ((this.dAttr & 0x1f) !== 2) throw cpu.fault(Vec.GP, sel & 0xfffc);
    if (!(this.dAttr & At.P)) throw cpu.fault(Vec.NP, sel & 0xfffc);
    this.d2 = 0;
    if (long) this.fetchUpper(sel, Vec.GP);
    if (!canonical(this.d2, cpu.model.linearBits)) throw cpu.fault(Vec.GP, sel & 0xfffc);
    this.set(LDTR, sel, this.dBase, this.dLimit, this.dAttr);
    this.ldtrHi = this.d2;
  }

  /** LTR (SDM vol. 2). */
  ltr(sel: number): void {
    const cpu = this.cpu;
    sel &= 0xffff;
    if (!(sel & 0xfffc)) throw cpu.fault(Vec.GP, 0);
    if (sel & 4) throw cpu.fault(Vec.GP, sel & 0xfffc);
    this.fetch(sel, Vec.GP);
    const long = (cpu.efer & Efer.LMA) !== 0;
    const type = this.dAttr & 0x1f;
    if (type !== 9 && (type !== 1 || long)) throw cpu.fault(Vec.GP, sel & 0xfffc);
    if (!(this.dAttr & At.P)) throw cpu.fault(Vec.NP, sel & 0xfffc);
    this.d2 = 0;
    if (long) this.fetchUpper(sel, Vec.GP);
    if (!canonical(this.d2, cpu.model.linearBits)) throw cpu.fault(Vec.GP, sel & 0xfffc);
    this.setBusy(true);
    this.set(TR, sel, this.dBase, this.dLimit, this.dAttr);
    this.trHi = this.d2;
  }

  // ---- LAR, LSL, VERR, VERW ------------------------------------------------------------------------------------------

  /** Common part: true if the descriptor of sel may be looked at with the current privilege. */
  private visible(sel: number, systemTypes: number): boolean {
    if (!(sel & 0xfffc) || !this.read(sel)) return false;
    const a = this.dAttr;
    if (!(a & At.S) && !(systemTypes & (1 << (a & 15)))) return false;
    if ((a & (At.S | At.CODE | At.CONFORM)) === (At.S | At.CODE | At.CONFORM)) return true;
    return this.cpu.cpl <= this.dDpl && (sel & 3) <= this.dDpl;
  }

  /** LAR: access rights or -1. System types as in SDM vol. 2, table 3-52. */
  lar(sel: number): number {
    const long = this.cpu.efer & Efer.LMA;
    return this.visible(sel, long ? 0x1a04 : 0x1a3e) ? this.d1 & 0x00f0_ff00 : -1;
  }

  /** LSL: true if accessible; the limit is then in dLimit. */
  lsl(sel: number): boolean {
    const long = this.cpu.efer & Efer.LMA;
    return this.visible(sel, long ? 0x0a04 : 0x0a0e);
  }

  verify(sel: number, write: boolean): boolean {
    if (!this.visible(sel, 0)) return false;
    const a = this.dAttr;
    return write ? !(a & At.CODE) && (a & At.RW) !== 0 : !(a & At.CODE) || (a & At.RW) !== 0;
  }

  /** True when DS, ES and SS are flat, writable 4 GiB segments (Mode.FLAT). */
  get flat(): boolean {
    return this.flatOne(Seg.DS) && this.flatOne(Seg.ES) && this.flatOne(Seg.SS);
  }

  private flatOne(seg: number): boolean {
    const V = this.cpu.V;
    return this.limit[seg] === -1 && V[(X.SEGBASE + seg) * 2] === 0 && V[(X.LIMIT_W + seg) * 2 + 1] === 0;
  }

  get csFlat(): boolean {
    return this.limit[Seg.CS] === -1 && this.cpu.V[(X.SEGBASE + Seg.CS) * 2] === 0;
  }

  /** State after power-up, RESET or INIT (SDM vol. 3, table 10-1). */
  reset(): void {
    for (let s = 0; s < 6; s++) this.set(s, 0, 0, 0xffff, 0x93);
    this.set(Seg.CS, 0xf000, 0xffff_0000 | 0, 0xffff, 0x93);
    this.set(LDTR, 0, 0, 0xffff, 0x82);
    this.set(TR, 0, 0, 0xffff, 0x8b);
    this.ldtrHi = this.trHi = 0;
    this.gdtLo = this.gdtHi = this.idtLo = this.idtHi = 0;
    this.gdtLimit = this.idtLimit = 0xffff;
  }
}

