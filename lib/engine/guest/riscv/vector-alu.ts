/**
 * Integer and fixed-point arithmetic of vector elements (vol. I, 30.11 and 30.12). Elements of up to 32 bits are numbers, of 64 bits two words.
 */
import { Alu } from './vector-table.js';

const TWO32 = 2 ** 32;

/** Upper half of the unsigned product of two words. */
function mulhu(a: number, b: number): number {
  const [al, ah, bl, bh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const m1 = ah * bl + ((al * bl) >>> 16);
  const m2 = al * bh + (m1 & 0xffff);
  return (ah * bh + (m1 >>> 16) + (m2 >>> 16)) | 0;
}

/** What is added to v >> n by rounding (30.3.8). `below`: bits n-2..0 are not all 0. */
function increment(vxrm: number, lsb: number, half: number, below: boolean): number {
  switch (vxrm) {
    case 0: return half;
    case 1: return half !== 0 && (below || lsb !== 0) ? 1 : 0;
    case 2: return 0;
    default: return lsb === 0 && (half !== 0 || below) ? 1 : 0;
  }
}

export class VectorAlu {
  /** Result of `op64`. */
  lo = 0;
  hi = 0;
  /** vxrm. */
  rounding = 0;
  /** vxsat: results were saturated. */
  saturated = false;
  /** Width of the elements computed with: 8, 16, 32 or 64. */
  bits = 8;

  private clamp(v: number, low: number, high: number): number {
    if (v >= low && v <= high) return v;
    this.saturated = true;
    return v < low ? low : high;
  }

  /** (sum + rounding) >> 1 of a number that is exact. */
  private average(sum: number): number {
    const q = Math.floor(sum / 2);
    return q + increment(this.rounding, q & 1, sum - 2 * q, false);
  }

  private scale(a: number, n: number, signed: boolean): number {
    if (n === 0) return signed ? a : a >>> 0;
    const q = signed ? a >> n : a >>> n;
    return q + increment(this.rounding, q & 1, (a >>> (n - 1)) & 1, n > 1 && (a & ((1 << (n - 1)) - 1)) !== 0);
  }

  private mulHigh(a: number, b: number, signedA: boolean, signedB: boolean): number {
    if (this.bits < 32) return Math.imul(a, b) >> this.bits;
    return (mulhu(a, b) - (signedA && a < 0 ? b : 0) - (signedB && b < 0 ? a : 0)) | 0;
  }

  private fractional(a: number, b: number): number {
    const { bits } = this;
    const min = -(2 ** (bits - 1));
    if (a === min && b === min) {
      this.saturated = true;
      return -1 - min;
    }
    if (bits < 32) return this.scale(Math.imul(a, b), bits - 1, true);
    const lo = Math.imul(a, b);
    const q = (this.mulHigh(a, b, true, true) << 1) | (lo >>> 31);
    return q + increment(this.rounding, q & 1, (lo >>> 30) & 1, (lo & 0x3fff_ffff) !== 0);
  }

  /**
   * Elements of up to 32 bits: sign- or zero-extended words, as the operation has them.
   * @param a vs2 @param b vs1, rs1 or the immediate @param d the old vd. @returns the result; bits above the element's are whatever
   */
  op32(op: Alu, a: number, b: number, d: number): number {
    const { bits } = this;
    switch (op) {
      case Alu.ADD: return a + b;
      case Alu.SUB: return a - b;
      case Alu.RSUB: return b - a;
      case Alu.AND: return a & b;
      case Alu.OR: return a | b;
      case Alu.XOR: return a ^ b;
      case Alu.MINU: return a >>> 0 < b >>> 0 ? a : b;
      case Alu.MIN: return a < b ? a : b;
      case Alu.MAXU: return a >>> 0 > b >>> 0 ? a : b;
      case Alu.MAX: return a > b ? a : b;
      case Alu.SLL: return a << (b & (bits - 1));
      case Alu.SRL: return a >>> (b & (bits - 1));
      case Alu.SRA: return a >> (b & (bits - 1));
      case Alu.MUL: return Math.imul(a, b);
      case Alu.MULH: return this.mulHigh(a, b, true, true);
      case Alu.MULHU: return this.mulHigh(a, b, false, false);
      case Alu.MULHSU: return this.mulHigh(a, b, true, false);
      case Alu.DIVU: return b === 0 ? -1 : Math.floor((a >>> 0) / (b >>> 0));
      case Alu.DIV: return b === 0 ? -1 : Math.trunc(a / b);
      case Alu.REMU: return b === 0 ? a : (a >>> 0) % (b >>> 0);
      case Alu.REM: return b === 0 ? a : a % b;
      case Alu.MACC: return d + Math.imul(a, b);
      case Alu.NMSAC: return d - Math.imul(a, b);
      case Alu.MADD: return Math.imul(b, d) + a;
      case Alu.NMSUB: return a - Math.imul(b, d);
      case Alu.EQ: return a === b ? 1 : 0;
      case Alu.NE: return a !== b ? 1 : 0;
      case Alu.LTU: return a >>> 0 < b >>> 0 ? 1 : 0;
      case Alu.LT: return a < b ? 1 : 0;
      case Alu.LEU: return a >>> 0 <= b >>> 0 ? 1 : 0;
      case Alu.LE: return a <= b ? 1 : 0;
      case Alu.GTU: return a >>> 0 > b >>> 0 ? 1 : 0;
      case Alu.GT: return a > b ? 1 : 0;
      default: return this.fixed32(op, a, b);
    }
  }

  private fixed32(op: Alu, a: number, b: number): number {
    const { bits } = this;
    const umax = bits === 32 ? TWO32 - 1 : (1 << bits) - 1;
    const top = 2 ** (bits - 1);
    switch (op) {
      case Alu.SADDU: return this.clamp((a >>> 0) + (b >>> 0), 0, umax);
      case Alu.SADD: return this.clamp(a + b, -top, top - 1);
      case Alu.SSUBU: return this.clamp((a >>> 0) - (b >>> 0), 0, umax);
      case Alu.SSUB: return this.clamp(a - b, -top, top - 1);
      case Alu.AADDU: return this.average((a >>> 0) + (b >>> 0));
      case Alu.AADD: return this.average(a + b);
      case Alu.ASUBU: return this.average((a >>> 0) - (b >>> 0));
      case Alu.ASUB: return this.average(a - b);
      case Alu.SMUL: return this.fractional(a, b);
      case Alu.SSRL: return this.scale(a, b & (bits - 1), false);
      case Alu.SSRA: return this.scale(a, b & (bits - 1), true);
      // The result has half the width.
      case Alu.NCLIPU: return this.clamp(this.scale(a, b & (bits - 1), false), 0, 2 ** (bits / 2) - 1);
      default: return this.clamp(this.scale(a, b & (bits - 1), true), -(2 ** (bits / 2 - 1)), 2 ** (bits / 2 - 1) - 1);
    }
  }

  private set(lo: number, hi: number): void {
    this.lo = lo | 0;
    this.hi = hi | 0;
  }

  private add(aLo: number, aHi: number, bLo: number, bHi: number): void {
    const lo = (aLo + bLo) | 0;
    this.set(lo, aHi + bHi + (lo >>> 0 < aLo >>> 0 ? 1 : 0));
  }

  private sub(aLo: number, aHi: number, bLo: number, bHi: number): void {
    this.set(aLo - bLo, aHi - bHi - (aLo >>> 0 < bLo >>> 0 ? 1 : 0));
  }

  private mul(aLo: number, aHi: number, bLo: number, bHi: number): void {
    this.set(Math.imul(aLo, bLo), mulhu(aLo, bLo) + Math.imul(aLo, bHi) + Math.imul(aHi, bLo));
  }

  private shift(op: Alu, lo: number, hi: number, n: number): void {
    if (n === 0) this.set(lo, hi);
    else if (op === Alu.SLL) {
      if (n < 32) this.set(lo << n, (hi << n) | (lo >>> (32 - n)));
      else this.set(0, lo << (n - 32));
    } else {
      const fill = op === Alu.SRA ? hi >> 31 : 0;
      if (n < 32) this.set((lo >>> n) | (hi << (32 - n)), op === Alu.SRA ? hi >> n : hi >>> n);
      else this.set(op === Alu.SRA ? hi >> (n - 32) : hi >>> (n - 32), fill);
    }
  }

  /** Result in lo and hi; 0 or 1 in lo of conditions. */
  op64(op: Alu, aLo: number, aHi: number, bLo: number, bHi: number, dLo: number, dHi: number): void {
    switch (op) {
      case Alu.ADD: this.add(aLo, aHi, bLo, bHi); break;
      case Alu.SUB: this.sub(aLo, aHi, bLo, bHi); break;
      case Alu.RSUB: this.sub(bLo, bHi, aLo, aHi); break;
      case Alu.AND: this.set(aLo & bLo, aHi & bHi); break;
      case Alu.OR: this.set(aLo | bLo, aHi | bHi); break;
      case Alu.XOR: this.set(aLo ^ bLo, aHi ^ bHi); break;
      case Alu.SLL: case Alu.SRL: case Alu.SRA: this.shift(op, aLo, aHi, bLo & 63); break;
      case Alu.MUL: this.mul(aLo, aHi, bLo, bHi); break;
      case Alu.MACC:
        this.mul(aLo, aHi, bLo, bHi);
        this.add(dLo, dHi, this.lo, this.hi);
        break;
      case Alu.NMSAC:
        this.mul(aLo, aHi, bLo, bHi);
        this.sub(dLo, dHi, this.lo, this.hi);
        break;
      case Alu.MADD:
        this.mul(bLo, bHi, dLo, dHi);
        this.add(aLo, aHi, this.lo, this.hi);
        break;
      case Alu.NMSUB:
        this.mul(bLo, bHi, dLo, dHi);
        this.sub(aLo, aHi, this.lo, this.hi);
        break;
      default:
        if (op >= Alu.EQ || (op >= Alu.MINU && op <= Alu.MAX)) this.order(op, aLo, aHi, bLo, bHi);
        else this.big(op, aLo, aHi, bLo, bHi);
    }
  }

  private order(op: Alu, aLo: number, aHi: number, bLo: number, bHi: number): void {
    const low = aLo >>> 0 < bLo >>> 0;
    const less = aHi === bHi ? low : aHi < bHi;
    const below = aHi === bHi ? low : aHi >>> 0 < bHi >>> 0;
    const equal = aLo === bLo && aHi === bHi;
    let yes: boolean;
    switch (op) {
      case Alu.MINU: case Alu.LTU: yes = below; break;
      case Alu.MIN: case Alu.LT: yes = less; break;
      case Alu.MAXU: case Alu.GTU: yes = !below && !equal; break;
      case Alu.MAX: case Alu.GT: yes = !less && !equal; break;
      case Alu.LEU: yes = below || equal; break;
      case Alu.LE: yes = less || equal; break;
      case Alu.EQ: yes = equal; break;
      default: yes = !equal; break;
    }
    if (op >= Alu.EQ) this.set(yes ? 1 : 0, 0);
    else if (yes) this.set(aLo, aHi);
    else this.set(bLo, bHi);
  }

  private clampBig(v: bigint, low: bigint, high: bigint): bigint {
    if (v >= low && v <= high) return v;
    this.saturated = true;
    return v < low ? low : high;
  }

  private scaleBig(v: bigint, n: number): bigint {
    if (n === 0) return v;
    const q = v >> BigInt(n);
    const rest = v - (q << BigInt(n));
    const half = 1n << BigInt(n - 1);
    return q + BigInt(increment(this.rounding, Number(q & 1n), rest >= half ? 1 : 0, rest !== 0n && rest !== half));
  }

  /** Division, upper halves of products and fixed point of 64 bits: rare enough for BigInt, which scalar division uses as well. */
  private big(op: Alu, aLo: number, aHi: number, bLo: number, bHi: number): void {
    const ua = (BigInt(aHi >>> 0) << 32n) | BigInt(aLo >>> 0);
    const ub = (BigInt(bHi >>> 0) << 32n) | BigInt(bLo >>> 0);
    const sa = BigInt.asIntN(64, ua);
    const sb = BigInt.asIntN(64, ub);
    const [min, max, umax] = [-(1n << 63n), (1n << 63n) - 1n, (1n << 64n) - 1n];
    const n = bLo & 63;
    let r: bigint;
    switch (op) {
      case Alu.MULH: r = (sa * sb) >> 64n; break;
      case Alu.MULHU: r = (ua * ub) >> 64n; break;
      case Alu.MULHSU: r = (sa * ub) >> 64n; break;
      case Alu.DIVU: r = ub === 0n ? -1n : ua / ub; break;
      case Alu.DIV: r = sb === 0n ? -1n : sa / sb; break;
      case Alu.REMU: r = ub === 0n ? ua : ua % ub; break;
      case Alu.REM: r = sb === 0n ? sa : sa % sb; break;
      case Alu.SADDU: r = this.clampBig(ua + ub, 0n, umax); break;
      case Alu.SADD: r = this.clampBig(sa + sb, min, max); break;
      case Alu.SSUBU: r = this.clampBig(ua - ub, 0n, umax); break;
      case Alu.SSUB: r = this.clampBig(sa - sb, min, max); break;
      case Alu.AADDU: r = this.scaleBig(ua + ub, 1); break;
      case Alu.AADD: r = this.scaleBig(sa + sb, 1); break;
      case Alu.ASUBU: r = this.scaleBig(ua - ub, 1); break;
      case Alu.ASUB: r = this.scaleBig(sa - sb, 1); break;
      case Alu.SMUL: r = this.clampBig(this.scaleBig(sa * sb, 63), min, max); break;
      case Alu.SSRL: r = this.scaleBig(ua, n); break;
      case Alu.SSRA: r = this.scaleBig(sa, n); break;
      case Alu.NCLIPU: r = this.clampBig(this.scaleBig(ua, n), 0n, 0xffff_ffffn); break;
      default: r = this.clampBig(this.scaleBig(sa, n), -0x8000_0000n, 0x7fff_ffffn); break;
    }
    this.set(Number(r & 0xffff_ffffn), Number((r >> 32n) & 0xffff_ffffn));
  }
}
