/** Immediates of Advanced SIMD and FP (Arm ARM, J1.2: AdvSIMDExpandImm, VFPExpandImm). */

export interface Imm64 {
  lo: number;
  hi: number;
}

const both = (v: number): Imm64 => ({ lo: v | 0, hi: v | 0 });

/** VFPExpandImm for 16, 32 and 64 bits, as the bit pattern. */
export function fpImmediate(imm8: number, bits: 16 | 32 | 64): Imm64 {
  const sign = imm8 >> 7;
  const b = (imm8 >> 6) & 1;
  const low = imm8 & 0x3f;
  if (bits === 16) return { lo: (sign << 15) | ((b ? 0x3 : 0x4) << 12) | (low << 6), hi: 0 };
  if (bits === 32) return { lo: (sign << 31) | ((b ? 0x1f : 0x20) << 25) | (low << 19), hi: 0 };
  return { lo: 0, hi: (sign << 31) | ((b ? 0xff : 0x100) << 22) | (low << 16) };
}

/** AdvSIMDExpandImm, not inverted. o2: half-precision FMOV. */
export function expandImm(op: number, cmode: number, o2: number, imm8: number): Imm64 {
  switch (cmode >> 1) {
    case 0: return both(imm8);
    case 1: return both(imm8 << 8);
    case 2: return both(imm8 << 16);
    case 3: return both(imm8 << 24);
    case 4: return both(imm8 | (imm8 << 16));
    case 5: return both((imm8 << 8) | (imm8 << 24));
    case 6: return both(cmode & 1 ? (imm8 << 16) | 0xffff : (imm8 << 8) | 0xff);
    default:
      if ((cmode & 1) === 0) {
        if (op === 0) return both(imm8 * 0x0101_0101);
        // Each bit becomes a byte.
        let lo = 0;
        let hi = 0;
        for (let i = 0; i < 4; i++) {
          if ((imm8 >> i) & 1) lo |= 0xff << (8 * i);
          if ((imm8 >> (i + 4)) & 1) hi |= 0xff << (8 * i);
        }
        return { lo, hi };
      }
      if (op === 1) return fpImmediate(imm8, 64);
      if (o2 === 1) {
        const h = fpImmediate(imm8, 16).lo & 0xffff;
        return both(h | (h << 16));
      }
      return both(fpImmediate(imm8, 32).lo);
  }
}
