/**
 * What a lift handler works with: the decoded instruction, the mode, the IR builder, and the pieces of IR that most
 * instructions share (addresses, operands, stack, branches). One reused instance; nothing here allocates.
 *
 * Rules for handlers: compute addresses and load first, store next, write registers last (see ir/ops.ts). A slot that
 * `ea`, `readRm` or `readReg` returns may be the guest register itself: it changes when that register is written.
 */
import { Access, ExitCode, NONE, Slot } from '../../state.js';
import type { IrBuilder } from '../../ir/builder.js';
import { Op } from '../../ir/ops.js';
import type { Features } from './features.js';
import { H } from './helper-names.js';
import { Insn } from './insn.js';
import { gpr, mmuIndexOf, Mode, Seg, X, xmm } from './mode.js';

/** What an instruction needs of the floating-point state; operand of helper x86.fpu_trap. */
export const enum FpuKind { X87 = 0, MMX = 1, SSE = 2, AVX = 3 }

const FLAT_SEGS = (1 << Seg.ES) | (1 << Seg.SS) | (1 << Seg.DS);

export class LiftContext {
  /** The instruction being lifted. */
  readonly insn = new Insn();
  b!: IrBuilder;
  /** `Mode` bits. */
  mode = 0;
  /** `arg` of the row that owns the instruction. */
  arg = 0;
  /** True in 64-bit code. */
  code64 = false;
  /** Width of the stack pointer: 3 in 64-bit code, 2 or 1 by SS.B. */
  sw = 2;
  /** The instruction lifted last holds interrupts off for one more (STI). */
  shadow = false;
  /** Kernel code, in which immediates and displacements of 32 bits may be addresses that differ from boot to boot. */
  private symbolic = false;
  /** Page offset of the block's first byte. */
  private blockStart = -1;
  /** Address computed by `rmLoad`, for `rmStore`. */
  private rmAddr = NONE;

  constructor(
    /** Helper ids, indexed by `H`. */
    private readonly ids: Int32Array,
    /** CPU features the guest sees. */
    readonly features: Features,
    /** Id of any helper by name (a map lookup: keep the result where it is needed often). */
    readonly helper: (name: string) => number,
  ) {}

  /** Called by the lifter at block start. `start`: page offset of the first byte. */
  begin(b: IrBuilder, mode: number, start: number): void {
    this.b = b;
    this.mode = mode;
    this.shadow = false;
    this.code64 = (mode & Mode.CODE_MASK) === Mode.CODE64;
    this.sw = this.code64 ? 3 : (mode & Mode.SS32) !== 0 ? 2 : 1;
    this.symbolic = b.symbolic && (mode & Mode.CPL0) !== 0 && (mode & Mode.CODE_MASK) !== Mode.CODE16;
    this.blockStart = start;
  }

  // ---- constants, helpers, ends of blocks ----

  /** Interned constant, int32 sign-extended. */
  k(v: number): number {
    return this.b.k(v);
  }

  /** The instruction's immediate as a constant slot (64 bits; sign-extension as `Imm` says). */
  immSlot(): number {
    const i = this.insn;
    if (this.symbolic && i.immAt >= 0 && i.opsize === (this.code64 ? 3 : 2)) {
      const s = this.b.symbol(i.start - this.blockStart + i.immAt, i.imm);
      if (s >= 0) return s;
    }
    return this.b.k64(this.insn.imm, this.insn.immHi);
  }

  /** CALL of an integer/system helper. */
  call(h: H, dst = NONE, a = NONE, bb = NONE, c = NONE, imm = 0): void {
    this.b.call(this.ids[h]!, dst, a, bb, c, imm);
  }

  /** CALL of a helper that sets PC itself, and the end of the block. */
  callEnd(h: H, dst = NONE, a = NONE, bb = NONE, c = NONE, imm = 0): void {
    this.b.call(this.ids[h]!, dst, a, bb, c, imm);
    this.b.exit(ExitCode.NEXT, NONE);
  }

  /** Ends the block after this instruction: the mode may have changed, or an interrupt may be due. */
  endNext(code: ExitCode = ExitCode.NEXT): void {
    this.b.exit(code, this.insn.next);
  }

  /** CALL of a helper (operand a = bb) if the low w bits of cond are not 0. */
  callIf(h: H, w: number, cond: number, bb = NONE, imm = 0): void {
    this.b.callIf(this.ids[h]!, w, cond, bb, imm);
  }

  /** The guest's time-stamp counter; helper h makes it where generated code may not. */
  time(h: H, dst: number): void {
    this.b.time(this.ids[h]!, dst);
  }

  /** The block may go on in another mode: nothing that looks at every single instruction is on. */
  get mayChangeMode(): boolean {
    return (this.mode & Mode.STEP) === 0;
  }

  /** Goes on at the next instruction in another mode; ends the block. */
  nextInMode(mode: number): void {
    this.b.setMode(mode, mmuIndexOf(mode));
    this.b.jmp(this.insn.next);
  }

  /** #UD; ends the block. */
  undefinedOpcode(): void {
    this.callEnd(H.UD);
  }

  /** #GP(0); ends the block. */
  gp0(): void {
    this.callEnd(H.GP0);
  }

  /** True if the CPL is 0; otherwise emits #GP(0) and the handler must return. */
  privilegeCheck(): boolean {
    if ((this.mode & Mode.CPL0) !== 0) return true;
    this.gp0();
    return false;
  }

  /** True in protected mode without v86; otherwise emits #UD and the handler must return. */
  protectedOnly(): boolean {
    if ((this.mode & Mode.REAL) === 0) return true;
    this.undefinedOpcode();
    return false;
  }

  /**
   * True if instructions of this kind may run; otherwise emits #UD or the trap helper (#NM/#UD), ends the block, and the
   * handler must return. SDM vol. 3, 2.5 (CR0.EM, TS, MP), 13.1.
   */
  fpuReady(kind: FpuKind): boolean {
    const m = this.mode;
    // AVX depends on XCR0, not on CR4.OSFXSR and CR0.EM (SDM vol. 1, table 14-3 ff.).
    if (kind === FpuKind.AVX ? (m & (Mode.AVX | Mode.REAL)) !== Mode.AVX : kind === FpuKind.SSE && (m & Mode.SSE) === 0) {
      this.undefinedOpcode();
      return false;
    }
    if ((m & Mode.FPU_TRAP) !== 0) {
      this.call(H.FPU_TRAP, NONE, NONE, NONE, NONE, kind);
      // AVX runs on if only CR0.EM is set.
      if (kind === FpuKind.AVX) return true;
      this.endNext();
      return false;
    }
    return true;
  }

  // ---- memory operands ----

  /** Segment of the memory operand after overrides. */
  segment(): number {
    const i = this.insn;
    return i.seg >= 0 ? i.seg : i.defseg;
  }

  /**
   * Linear address of the memory operand (all 64 bits valid). Emits the segment check where the mode demands one.
   * @param bytes size of the access, for the limit check; 0 = no check (LEA-like uses)
   * @param write the operand is written (also for read-modify-write)
   */
  ea(bytes: number, write: boolean): number {
    const i = this.insn;
    if (this.code64) {
      if (i.seg < 0 || i.index >= 0 || i.riprel || i.addrsize !== 3) return this.linear(this.offset(), bytes, write);
      const s = this.dispSymbol();
      if (s >= 0) return this.linear(this.symbolicOffset(s), bytes, write);
      // FS/GS with at most a base: one LEA does it all
      const t = this.b.temp();
      this.b.lea(3, t, X.SEGBASE + i.seg, i.base >= 0 ? gpr(i.base) : NONE, 0, i.disp);
      return t;
    }
    return this.linear(this.offset(), bytes, write);
  }

  /**
   * The displacement as a symbol, or -1. Relative to the instruction, only per-CPU variables (addressed through a segment
   * base) are elsewhere when the kernel is.
   */
  private dispSymbol(): number {
    const i = this.insn;
    if (!this.symbolic || i.dispAt < 0 || i.addrsize !== (this.code64 ? 3 : 2) || (i.riprel && i.seg < Seg.FS)) return -1;
    return this.b.symbol(i.start - this.blockStart + i.dispAt, i.disp);
  }

  /** Offset of a MOV to or from an absolute offset, zero-extended. */
  absolute(): number {
    const i = this.insn;
    const b = this.b;
    const s = this.symbolic && i.immAt >= 0 && !this.code64 ? b.symbol(i.start - this.blockStart + i.immAt, i.imm) : -1;
    if (s < 0) return b.k64(i.imm, i.immHi);
    const t = b.temp();
    b.lea(2, t, s, NONE, 0, 0);
    return t;
  }

  /** Effective address (offset in the segment), truncated to the address size and zero-extended. */
  offset(): number {
    const s = this.dispSymbol();
    return s < 0 ? this.plainOffset() : this.symbolicOffset(s);
  }

  /** The same with the displacement in slot s. */
  private symbolicOffset(s: number): number {
    const i = this.insn;
    const b = this.b;
    const w = i.addrsize;
    const t = b.temp();
    if (i.riprel) {
      b.lea(w, t, Slot.PCBASE, s, 0, i.next);
      return t;
    }
    if (i.index < 0) {
      b.lea(w, t, i.base >= 0 ? gpr(i.base) : NONE, s, 0, 0);
      return t;
    }
    b.lea(w, t, s, gpr(i.index), i.scale, 0);
    if (i.base < 0) return t;
    const u = b.temp();
    b.lea(w, u, gpr(i.base), t, 0, 0);
    return u;
  }

  private plainOffset(): number {
    const i = this.insn;
    const b = this.b;
    const w = i.addrsize;
    if (i.riprel) {
      const t = b.temp();
      const d = i.next + i.disp;
      if (d === (d | 0)) b.lea(w, t, Slot.PCBASE, NONE, 0, d);
      else b.lea(w, t, Slot.PCBASE, b.k(i.disp), 0, i.next);
      return t;
    }
    const base = i.base >= 0 ? gpr(i.base) : NONE;
    if (i.index < 0) {
      if (base === NONE) {
        if (w === 3) return b.k(i.disp);
        return b.k64(w === 1 ? i.disp & 0xffff : i.disp, 0);
      }
      if (w === 3 && i.disp === 0) return base;
    }
    const t = b.temp();
    b.lea(w, t, base, i.index >= 0 ? gpr(i.index) : NONE, i.scale, i.disp);
    return t;
  }

  /** LEA: general register n, width w = the effective address. No segment, no access. */
  leaTo(n: number, w: number): void {
    const i = this.insn;
    const s = this.dispSymbol();
    if (s >= 0) {
      this.writeReg(n, w, this.symbolicOffset(s));
      return;
    }
    const d = i.riprel ? i.next + i.disp : i.disp;
    if (w === 1 || i.addrsize === 1 || d !== (d | 0)) {
      this.writeReg(n, w, this.offset());
      return;
    }
    const base = i.riprel ? Slot.PCBASE : i.base >= 0 ? gpr(i.base) : NONE;
    this.b.lea(w < i.addrsize ? w : i.addrsize, gpr(n), base, i.index >= 0 ? gpr(i.index) : NONE, i.scale, d);
  }

  /** Linear address of offset `off` (zero-extended slot) in the memory operand's segment; see `ea`. */
  linear(off: number, bytes: number, write: boolean): number {
    const i = this.insn;
    return this.segLinear(i.seg >= 0 ? i.seg : i.defseg, off, bytes, write);
  }

  /** Linear address of offset `off` in segment `seg`. */
  segLinear(seg: number, off: number, bytes: number, write: boolean): number {
    const b = this.b;
    if (this.code64) {
      if (seg < Seg.FS) return off;
      const t = b.temp();
      b.lea(3, t, off, X.SEGBASE + seg, 0, 0);
      return t;
    }
    if ((this.mode & Mode.FLAT) !== 0 && ((FLAT_SEGS >> seg) & 1) !== 0) return off;
    if (bytes > 0) b.segchk(seg, off, write, bytes);
    const t = b.temp();
    b.lea(2, t, off, X.SEGBASE + seg, 0, 0);
    return t;
  }

  // ---- general registers ----

  /** True if register number n at width w is AH, CH, DH or BH. */
  isHigh(n: number, w: number): boolean {
    return w === 0 && n >= 4 && n < 8 && !this.insn.rex;
  }

  /** Slot whose low w bits are register n (the register itself, or a temporary for AH CH DH BH). */
  readReg(n: number, w: number): number {
    if (w === 0 && n >= 4 && n < 8 && !this.insn.rex) {
      const t = this.b.temp();
      this.b.emit(Op.EXTH, 0, 0, 0, t, Slot.GPR + n - 4, NONE, NONE, 0, 0);
      return t;
    }
    return Slot.GPR + n;
  }

  /** Register n = low w bits of val (32-bit results zero-extend, smaller ones merge). */
  writeReg(n: number, w: number, val: number): void {
    if (w === 0 && n >= 4 && n < 8 && !this.insn.rex) this.b.emit(Op.INSH, 0, 0, 0, Slot.GPR + n - 4, val, NONE, NONE, 0, 0);
    else this.b.mov(w, Slot.GPR + n, val);
  }

  /** Slot to use as DST of the op that computes register n; `regDone` must follow. */
  regDst(n: number, w: number): number {
    return this.isHigh(n, w) ? this.b.temp() : Slot.GPR + n;
  }

  /** Completes `regDst`: moves a temporary into AH CH DH BH. */
  regDone(n: number, dst: number): void {
    if (dst !== Slot.GPR + n) this.b.emit(Op.INSH, 0, 0, 0, Slot.GPR + n - 4, dst, NONE, NONE, 0, 0);
  }

  // ---- ModRM.rm as a general operand ----

  /** Value of ModRM.rm: a register slot or a loaded temporary; low w bits valid. */
  readRm(w: number): number {
    const i = this.insn;
    if (i.mod === 3) return this.readReg(i.rm, w);
    const a = this.ea(1 << w, false);
    const t = this.b.temp();
    this.b.ld(w, t, a);
    return t;
  }

  /** ModRM.rm = val (a store, or a register write). */
  writeRm(w: number, val: number): void {
    const i = this.insn;
    if (i.mod === 3) this.writeReg(i.rm, w, val);
    else this.b.st(w, this.ea(1 << w, true), val);
  }

  /** First step of a read-modify-write of ModRM.rm: the old value. */
  rmLoad(w: number): number {
    const i = this.insn;
    if (i.mod === 3) return this.readReg(i.rm, w);
    this.rmAddr = this.ea(1 << w, true);
    const t = this.b.temp();
    this.b.ld(w, t, this.rmAddr, Access.RMW);
    return t;
  }

  /** Second step: the slot in which to compute the new value. */
  rmDst(w: number): number {
    const i = this.insn;
    return i.mod === 3 ? this.regDst(i.rm, w) : this.b.temp();
  }

  /** Third step: `dst` from `rmDst` (or, in memory form, any slot) becomes the operand. */
  rmStore(w: number, dst: number): void {
    const i = this.insn;
    if (i.mod === 3) this.regDone(i.rm, dst);
    else this.b.st(w, this.rmAddr, dst);
  }

  // ---- vector operands ----

  /** Slot of XMM/YMM register `ModRM.reg`. */
  xmmReg(): number {
    return xmm(this.insn.reg);
  }

  /** Slot of XMM/YMM register VEX.vvvv. */
  xmmV(): number {
    return xmm(this.insn.vvvv);
  }

  /** Linear address of a vector memory operand of width w (1..5); `aligned` emits CHKALIGN (#GP(0)) for w = 4, 5. */
  eaV(w: number, write: boolean, aligned: boolean): number {
    const a = this.ea(1 << w, write);
    if (aligned) this.b.emit(Op.CHKALIGN, 0, 0, 0, NONE, a, NONE, NONE, (1 << w) - 1, 0);
    return a;
  }

  /** ModRM.rm as a vector of width w: the register's slot, or a vector temporary loaded from memory (upper part zero). */
  readXmmRm(w: number, aligned = false): number {
    const i = this.insn;
    if (i.mod === 3) return xmm(i.rm);
    const a = this.eaV(w, false, aligned);
    const t = this.b.vtemp();
    this.b.ldv(w, t, a);
    return t;
  }

  /** Width of a general operand that REX.W/VEX.W selects (MOVD/MOVQ, CVTSI2SD, PEXTR ...): 3 or 2. */
  gprWidth(): number {
    return this.insn.w !== 0 && this.code64 ? 3 : 2;
  }

  // ---- stack ----

  /** Linear address of the stack offset `off` (slot; RSP itself is allowed). */
  stackLinear(off: number, bytes: number, write: boolean): number {
    if (this.sw === 3) return off;
    if (off === X.RSP) {
      const t = this.b.temp();
      this.b.lea(this.sw, t, X.RSP, NONE, 0, 0);
      off = t;
    }
    return this.segLinear(Seg.SS, off, bytes, write);
  }

  /** Stores the low w bits of val below the stack pointer, then moves the stack pointer. */
  push(w: number, val: number): void {
    const b = this.b;
    const t = b.temp();
    b.lea(this.sw, t, X.RSP, NONE, 0, -(1 << w));
    b.st(w, this.stackLinear(t, 1 << w, true), val);
    b.mov(this.sw, X.RSP, t);
  }

  /** dst = w bits at RSP + delta. The stack pointer does not move: `addSp` follows when nothing can fault any more. */
  stackLoad(w: number, dst: number, delta = 0): void {
    const b = this.b;
    let off: number = X.RSP;
    if (delta !== 0) {
      off = b.temp();
      b.lea(this.sw, off, X.RSP, NONE, 0, delta);
    }
    b.ld(w, dst, this.stackLinear(off, 1 << w, false));
  }

  /** Stack pointer += n, at the width of the stack. */
  addSp(n: number): void {
    if (this.sw === 1) this.b.alu(Op.ADD, 1, X.RSP, X.RSP, this.b.k(n), 0);
    else this.b.lea(this.sw, X.RSP, X.RSP, NONE, 0, n);
  }

  // ---- instruction pointer and branches ----

  /** Slot with the IP of the next instruction (an offset in CS). */
  nextIp(): number {
    const b = this.b;
    const t = b.temp();
    b.lea(this.code64 ? 3 : 2, t, Slot.PCBASE, NONE, 0, this.insn.next);
    if ((this.mode & Mode.CSFLAT) !== 0) return t;
    const u = b.temp();
    b.alu(Op.SUB, 2, u, t, X.SEGBASE + Seg.CS, 0);
    return u;
  }

  /**
   * True if a near branch by `rel` can be a direct jump to page offset next + rel. With a 16-bit operand size IP is
   * truncated to 16 bits, which depends on where in CS the code lies.
   */
  private isStatic(rel: number): boolean {
    const i = this.insn;
    if (i.opsize === 1) return false;
    const t = i.next + rel;
    return t === (t | 0);
  }

  /** Linear address of next + rel, computed at run time. */
  private dynamicTarget(rel: number): number {
    const i = this.insn;
    const b = this.b;
    let t = b.temp();
    if (this.code64) {
      b.lea(3, t, Slot.PCBASE, b.k(rel), 0, i.next);
      return t;
    }
    const d = (i.next + rel) | 0;
    if ((this.mode & Mode.CSFLAT) !== 0 || i.opsize !== 1) {
      b.lea(i.opsize === 1 ? 1 : 2, t, Slot.PCBASE, NONE, 0, d);
      return t;
    }
    b.lea(2, t, Slot.PCBASE, NONE, 0, d);
    const u = b.temp();
    b.alu(Op.SUB, 2, u, t, X.SEGBASE + Seg.CS, 0);
    t = b.temp();
    b.zx(1, t, u);
    const v = b.temp();
    b.lea(2, v, t, X.SEGBASE + Seg.CS, 0, 0);
    return v;
  }

  /** Linear address of the next instruction as a slot. */
  private nextLinear(): number {
    const t = this.b.temp();
    this.b.lea(this.code64 ? 3 : 2, t, Slot.PCBASE, NONE, 0, this.insn.next);
    return t;
  }

  /** Near jump by the displacement `rel`; ends the block. hint: 0 jump, 1 call. */
  jumpRel(rel: number, hint = 0): void {
    if (this.isStatic(rel)) this.b.jmp(this.insn.next + rel, hint);
    else this.b.jmpi(this.dynamicTarget(rel), hint);
  }

  /** Conditional near jump; ends the block. */
  jccRel(cc: number, rel: number): void {
    const b = this.b;
    const i = this.insn;
    if (this.isStatic(rel)) {
      b.jcc(cc, i.next + rel, i.next);
      return;
    }
    const t = this.dynamicTarget(rel);
    const n = this.nextLinear();
    const r = b.temp();
    b.cmov(cc, 3, r, t, n);
    b.jmpi(r, 0);
  }

  /** Near jump if the low w bits of `a` are not zero (or, with `ifZero`, are zero); ends the block. */
  jnzRel(w: number, a: number, rel: number, ifZero = false): void {
    const b = this.b;
    const i = this.insn;
    if (this.isStatic(rel)) {
      if (ifZero) b.jnz(w, a, i.next, i.next + rel);
      else b.jnz(w, a, i.next + rel, i.next);
      return;
    }
    const t = this.dynamicTarget(rel);
    const n = this.nextLinear();
    const r = b.temp();
    b.alu3(Op.SELNZ, w, r, a, ifZero ? n : t, ifZero ? t : n);
    b.jmpi(r, 0);
  }

  /**
   * Near jump to the offset in the low w bits of `ip`; ends the block.
   * @param hint 0 jump, 1 call, 2 return
   * @param clean `ip` is zero-extended to 64 bits already (a loaded temporary)
   */
  jumpTo(w: number, ip: number, hint: number, clean = false): void {
    const b = this.b;
    if (w < 3 && !clean) {
      const t = b.temp();
      b.zx(w, t, ip);
      ip = t;
    }
    if ((this.mode & Mode.CSFLAT) === 0) {
      const t = b.temp();
      b.lea(2, t, ip, X.SEGBASE + Seg.CS, 0, 0);
      ip = t;
    }
    b.jmpi(ip, hint);
  }
}
