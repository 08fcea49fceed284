/** What the handlers of the A64 tables work with: the instruction word, its fields, and shorthands for common IR. */
import type { IrBuilder } from '../../ir/builder.js';
import { Op } from '../../ir/ops.js';
import { ExitCode, Fl, NONE, Slot } from '../../state.js';
import { H, HELPER_NAMES } from './helper-names.js';
import type { Arm64Model } from './model.js';
import { SIMD_OPS } from './simd/index.js';
import { A, CONDITIONS, Mode, vreg } from './regs.js';

/** Slots of constants and temporaries are asked for by name at every use; helpers are known by their `H` number. */
export class LiftContext {
  b!: IrBuilder;
  mode = 0;
  /** The instruction word. */
  i = 0;
  /** The row's argument. */
  arg = 0;
  /** Page offsets of this instruction and the next one. */
  start = 0;
  next = 0;

  private readonly ids: Int32Array;
  private readonly vops = new Map<string, number>();
  private readonly native = new Set(SIMD_OPS.filter((o) => o.native !== undefined).map((o) => o.name));

  constructor(private readonly idOf: (name: string) => number, readonly model: Arm64Model) {
    this.ids = Int32Array.from(HELPER_NAMES, (n) => idOf(n));
  }

  // ---- fields ----

  get rd(): number { return this.i & 31; }
  get rn(): number { return (this.i >>> 5) & 31; }
  get ra(): number { return (this.i >>> 10) & 31; }
  get rm(): number { return (this.i >>> 16) & 31; }
  /** Operand width by bit 31: 2 or 3. */
  get w(): number { return this.i < 0 ? 3 : 2; }

  /** Unsigned field of n bits from bit `at`. */
  bits(at: number, n: number): number {
    return (this.i >>> at) & ((1 << n) - 1);
  }

  /** The same, sign-extended. */
  sbits(at: number, n: number): number {
    return (this.i << (32 - at - n)) >> (32 - n);
  }

  // ---- registers ----

  k(v: number): number {
    return this.b.k(v);
  }

  /** Xn, or zero. */
  x(r: number): number {
    return r === 31 ? this.b.k(0) : Slot.GPR + r;
  }

  /** Xn or SP. */
  xsp(r: number): number {
    return r === 31 ? A.SP : Slot.GPR + r;
  }

  /** Destination Xn; writes to register 31 go nowhere. */
  dst(r: number): number {
    return r === 31 ? this.b.temp() : Slot.GPR + r;
  }

  temp(): number {
    return this.b.temp();
  }

  // ---- common IR ----

  /** t = a + disp, 64 bits. */
  add(a: number, disp: number): number {
    if (disp === 0) return a;
    const t = this.b.temp();
    this.lea(3, t, a, disp);
    return t;
  }

  /** dst = a + disp without touching flags. */
  lea(w: number, dst: number, a: number, disp: number): void {
    this.b.lea(w, dst, a, NONE, 0, disp);
  }

  /** Shifts by a constant into a temporary; type 0 LSL, 1 LSR, 2 ASR, 3 ROR. */
  shift(w: number, a: number, type: number, n: number): number {
    if (n === 0) return a;
    const t = this.b.temp();
    this.b.alu(SHIFTS[type]!, w, t, a, this.k(n));
    return t;
  }

  /** Register extended by `option` (UXTB .. SXTX), shifted left by n, at width w. */
  extend(w: number, r: number, option: number, n: number): number {
    const b = this.b;
    let a = this.x(r);
    const from = option & 3;
    if (from < w || (from === 2 && w === 3)) {
      const t = b.temp();
      if (option & 4) b.sx(from, w === 3 ? 64 : 32, t, a);
      else b.zx(from, t, a);
      a = t;
    }
    return this.shift(w, a, 0, n);
  }

  cc(cond: number): number {
    return CONDITIONS[cond]!;
  }

  /** Address of this instruction + disp. */
  pcRel(dst: number, disp: number): void {
    const b = this.b;
    const d = this.start + disp;
    if (d === (d | 0)) b.lea(3, dst, Slot.PCBASE, NONE, 0, d);
    else b.lea(3, dst, Slot.PCBASE, b.k64(d, Math.floor(d / 0x1_0000_0000)), 0, 0);
  }

  // ---- helpers and ends ----

  helper(h: H): number {
    return this.ids[h]!;
  }

  call(h: H, dst = NONE, a = NONE, b = NONE, c = NONE, imm = 0): void {
    this.b.call(this.ids[h]!, dst, a, b, c, imm);
  }

  /** A helper that leaves with PC set, or after which the block must not go on. */
  callEnd(h: H, dst = NONE, a = NONE, b = NONE, c = NONE, imm = 0): void {
    this.call(h, dst, a, b, c, imm);
    this.b.exit(ExitCode.NEXT, this.next);
  }

  /** The word is unallocated, or its feature is not there. */
  undefined(): void {
    this.call(H.UNDEFINED, NONE, NONE, NONE, NONE, this.i);
    this.b.exit(ExitCode.NEXT, NONE);
  }

  /** Goes to the next instruction by way of a check for pending interrupts. */
  dispatchNext(): void {
    const t = this.b.temp();
    this.lea(3, t, Slot.PCBASE, this.next);
    this.b.jmpi(t, 0);
  }

  get el1(): boolean {
    return (this.mode & Mode.EL1) !== 0;
  }

  /** FP or SIMD instruction: true if it may run; otherwise the trap has been emitted. */
  fp(): boolean {
    if ((this.mode & Mode.FP_TRAP) === 0) return true;
    this.call(H.FP_TRAP);
    this.b.exit(ExitCode.NEXT, NONE);
    return false;
  }

  // ---- vectors ----

  v(r: number): number {
    return vreg(r);
  }

  /** Id of a vector operation. */
  vopId(name: string): number {
    let id = this.vops.get(name);
    if (id === undefined) this.vops.set(name, (id = this.idOf(`v.${name}`)));
    return id;
  }

  /** Vector operation `name` (without the registry's prefix). */
  vop(name: string, dst: number, a = NONE, b = NONE, c = NONE, imm = 0): void {
    this.b.vop(this.vopId(name), 4, dst, a, b, c, imm);
  }

  /** The same with general slots among its operands: as a call. */
  vcall(name: string, dst: number, a = NONE, b = NONE, c = NONE, imm = 0): void {
    this.b.call(this.vopId(name), dst, a, b, c, imm);
  }

  /** The operation is a host instruction on whole registers. */
  isNative(name: string): boolean {
    return this.native.has(name);
  }

  /** Sets flags from a comparison in the form 0 less, 1 equal, 2 greater, 0x80 unordered: exactly FCMP's NZCV. */
  flagsFromRelation(t: number): void {
    this.b.alu(Op.SUB, 0, NONE, t, this.k(1), Fl.ALL);
  }
}

const SHIFTS: readonly Op[] = [Op.SHL, Op.SHR, Op.SAR, Op.ROR];
