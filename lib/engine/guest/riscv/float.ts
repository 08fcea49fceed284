/**
 * F, D and Zfh arithmetic as the specification has it (vol. I, chapters 22, 23 and 25), on exact software floating point: for the interpreter
 * and for everything that the host does not do alike. Flags go to the sticky bits of slot MXCSR.
 */
import { add, Cls, compare, convert, div, F16, F32, F64, fma, type FpFormat, type FpStatus, fromInt, fpStatus, mul, Rm, sqrt, sub, toInt, unpack } from '../../softfloat/softfloat.js';
import { Slot } from '../../state.js';
import type { RiscvCpu } from './cpu.js';
import { FastFloat } from './float-fast.js';

/** By the fmt field of instructions; Q is not there. */
const FORMATS: readonly FpFormat[] = [F32, F64, F16, F32];
const ALL = 0xffff_ffff_ffff_ffffn;
const MASK32 = 0xffff_ffffn;
const FP_INVALID = 1;
/** Rounding mode of instructions to that of the software floating point. */
const RM: readonly Rm[] = [Rm.NEAREST, Rm.ZERO, Rm.DOWN, Rm.UP, Rm.AWAY];
const INT_BITS: readonly number[] = [32, 32, 64, 64];

/** Of fmt: half precision. */
const FMT_H = 2 << 25;

const canonical = (f: FpFormat): bigint => f.infinity | f.quietBit;

export class Float {
  private readonly st: FpStatus = fpStatus();
  private readonly fast: FastFloat;

  constructor(private readonly cpu: RiscvCpu) {
    this.fast = new FastFloat(cpu.V);
  }

  private get(slot: number): bigint {
    const V = this.cpu.V;
    return (BigInt(V[slot * 2 + 1]! >>> 0) << 32n) | BigInt(V[slot * 2]! >>> 0);
  }

  private put(slot: number, v: bigint): void {
    this.cpu.setReg(slot, Number(v & MASK32) | 0, Number((v >> 32n) & MASK32) | 0);
  }

  /** An operand of format f: one that is narrower than the register and not boxed counts as the canonical NaN. */
  private operand(f: FpFormat, slot: number): bigint {
    const v = this.get(slot);
    if (f === F64) return v;
    const mask = (1n << BigInt(f.width)) - 1n;
    return (v | mask) === ALL ? v & mask : canonical(f);
  }

  private isNaN(f: FpFormat, v: bigint): boolean {
    const c = unpack(f, v).cls;
    return c === Cls.QNAN || c === Cls.SNAN;
  }

  /** Result of format f: every NaN is the canonical one. */
  private result(f: FpFormat, slot: number, v: bigint): void {
    if (this.isNaN(f, v)) v = canonical(f);
    this.put(slot, f === F64 ? v : v | (ALL << BigInt(f.width)));
  }

  /** Executes one OP-FP or fused instruction. dst, a, b, c are slots. */
  execute(insn: number, dst: number, a: number, b: number, c: number): void {
    const rm = (insn >>> 12) & 7;
    const rounding = rm === 7 ? this.cpu.csr.frm : rm;
    if ((insn & 0x7f) === 0x53 && (insn & FMT_H) === 0 && this.fast.execute(insn, rounding, dst, a, b)) {
      this.cpu.V[Slot.MXCSR * 2]! |= this.fast.flags;
      return;
    }
    this.exact(insn, rounding, dst, a, b, c);
  }

  /** The same in software throughout: what the faster ways are compared with. */
  exact(insn: number, rounding: number, dst: number, a: number, b: number, c: number): void {
    const { st } = this;
    const f = FORMATS[(insn >>> 25) & 3]!;
    const rm = (insn >>> 12) & 7;
    st.rm = RM[rounding] ?? Rm.NEAREST;
    st.flags = 0;
    if ((insn & 0x7f) !== 0x53) this.fused(insn, f, dst, a, b, c);
    else this.op(insn, f, rm, dst, a, b);
    const V = this.cpu.V;
    V[Slot.MXCSR * 2]! |= st.flags & 0x3f;
  }

  private fused(insn: number, f: FpFormat, dst: number, a: number, b: number, c: number): void {
    const { st } = this;
    const kind = (insn >>> 2) & 3;
    let x = this.operand(f, a);
    const y = this.operand(f, b);
    let z = this.operand(f, c);
    // FNMSUB and FNMADD: the product is negated; FMSUB and FNMADD: the addend.
    if (kind >= 2) x ^= f.signBit;
    if (kind & 1) z ^= f.signBit;
    // Infinity times zero is invalid, whatever is added (vol. I, 22.6).
    const ux = unpack(f, x).cls;
    const uy = unpack(f, y).cls;
    if ((ux === Cls.INF && uy === Cls.ZERO) || (ux === Cls.ZERO && uy === Cls.INF)) st.flags |= FP_INVALID;
    this.result(f, dst, fma(f, x, y, z, st));
  }

  private op(insn: number, f: FpFormat, rm: number, dst: number, a: number, b: number): void {
    const { st } = this;
    switch (insn >>> 27) {
      case 0x00: this.result(f, dst, add(f, this.operand(f, a), this.operand(f, b), st)); break;
      case 0x01: this.result(f, dst, sub(f, this.operand(f, a), this.operand(f, b), st)); break;
      case 0x02: this.result(f, dst, mul(f, this.operand(f, a), this.operand(f, b), st)); break;
      case 0x03: this.result(f, dst, div(f, this.operand(f, a), this.operand(f, b), st)); break;
      case 0x0b: this.result(f, dst, sqrt(f, this.operand(f, a), st)); break;
      case 0x05: this.minmax(f, rm === 1, dst, a, b); break;
      case 0x08: {
        const from = FORMATS[(insn >>> 20) & 3]!;
        this.result(f, dst, convert(from, f, this.operand(from, a), st));
        break;
      }
      case 0x14: {
        const r = compare(f, this.operand(f, a), this.operand(f, b), rm !== 2, st);
        this.put(dst, (rm === 0 ? r === 0 || r === -1 : rm === 1 ? r === -1 : r === 0) ? 1n : 0n);
        break;
      }
      case 0x18: this.toInteger(f, (insn >>> 20) & 3, dst, a); break;
      case 0x1a: this.fromInteger(f, (insn >>> 20) & 3, dst, a); break;
      default: this.put(dst, this.classify(f, this.operand(f, a))); break;
    }
  }

  /** IEEE 754-2019 minimumNumber and maximumNumber; -0 is less than +0. */
  private minmax(f: FpFormat, max: boolean, dst: number, a: number, b: number): void {
    const x = this.operand(f, a);
    const y = this.operand(f, b);
    const r = compare(f, x, y, false, this.st);
    let v: bigint;
    if (r === 2) v = this.isNaN(f, x) ? y : x;
    else if (r === 0) v = ((x & f.signBit) !== 0n) === max ? y : x;
    else v = (r === -1) === max ? y : x;
    this.result(f, dst, v);
  }

  /** Out of range saturates, a NaN counts as the largest number (vol. I, table 29). */
  private toInteger(f: FpFormat, kind: number, dst: number, a: number): void {
    const { st } = this;
    const bits = INT_BITS[kind]!;
    const signed = (kind & 1) === 0;
    const v = this.operand(f, a);
    let r = toInt(f, v, bits, signed, st.rm, st);
    if (st.flags & FP_INVALID) {
      const negative = (v & f.signBit) !== 0n && !this.isNaN(f, v);
      const top = 1n << BigInt(bits - 1);
      r = signed ? (negative ? top : top - 1n) : negative ? 0n : 2n * top - 1n;
    }
    this.put(dst, BigInt.asUintN(64, bits === 32 ? BigInt.asIntN(32, r) : r));
  }

  private fromInteger(f: FpFormat, kind: number, dst: number, a: number): void {
    const bits = INT_BITS[kind]!;
    const v = this.get(a);
    this.result(f, dst, fromInt(f, kind & 1 ? BigInt.asUintN(bits, v) : BigInt.asIntN(bits, v), this.st));
  }

  private classify(f: FpFormat, v: bigint): bigint {
    const u = unpack(f, v);
    const sign = (v & f.signBit) !== 0n;
    switch (u.cls) {
      case Cls.INF: return sign ? 1n : 1n << 7n;
      case Cls.ZERO: return sign ? 1n << 3n : 1n << 4n;
      case Cls.SNAN: return 1n << 8n;
      case Cls.FINITE: return u.denormal ? (sign ? 1n << 2n : 1n << 5n) : sign ? 1n << 1n : 1n << 6n;
      default: return 1n << 9n;
    }
  }
}
