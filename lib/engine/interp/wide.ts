/** Arithmetic on 64-bit values kept as (lo, hi) int32 pairs, and wide multiplication. No allocation, no BigInt. */

/** Low word of hi:lo << n, n = 0..64. */
export function shlLo(lo: number, n: number): number {
  return n < 32 ? lo << n : 0;
}
/** High word of hi:lo << n, n = 0..64. */
export function shlHi(lo: number, hi: number, n: number): number {
  if (n === 0) return hi;
  if (n < 32) return (hi << n) | (lo >>> (32 - n));
  return n < 64 ? lo << (n - 32) : 0;
}
/** Low word of hi:lo >>> n, n = 0..64. */
export function shrLo(lo: number, hi: number, n: number): number {
  if (n === 0) return lo;
  if (n < 32) return (lo >>> n) | (hi << (32 - n));
  return n < 64 ? (hi >>> (n - 32)) | 0 : 0;
}
/** High word of hi:lo >>> n, n = 0..64. */
export function shrHi(hi: number, n: number): number {
  return n < 32 ? (hi >>> n) | 0 : 0;
}
/** Low word of hi:lo >> n (arithmetic), n = 0..63. */
export function sarLo(lo: number, hi: number, n: number): number {
  if (n === 0) return lo;
  return n < 32 ? (lo >>> n) | (hi << (32 - n)) : hi >> (n - 32);
}
/** Bit n (0..63) of hi:lo. */
export function bit64(lo: number, hi: number, n: number): number {
  return n < 32 ? (lo >>> n) & 1 : (hi >>> (n - 32)) & 1;
}

/** Bits 32..63 of the unsigned product of two words, by 16-bit halves (every partial sum fits in 32 bits). */
export function umulHi(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const t = (Math.imul(ah, bl) + (Math.imul(al, bl) >>> 16)) | 0;
  const u = (Math.imul(al, bh) + (t & 0xffff)) | 0;
  return (Math.imul(ah, bh) + (t >>> 16) + (u >>> 16)) | 0;
}
/** Bits 32..63 of the signed product. */
export function smulHi(a: number, b: number): number {
  return (umulHi(a, b) - (a < 0 ? b : 0) - (b < 0 ? a : 0)) | 0;
}
/** High word of the low 64 bits of a product. */
export function mulMid(alo: number, ahi: number, blo: number, bhi: number): number {
  return (umulHi(alo, blo) + Math.imul(alo, bhi) + Math.imul(ahi, blo)) | 0;
}

const TWO32 = 4294967296;
/** Upper 64 bits of a 128-bit product, valid until the next call of `mulHigh`. */
export const product = new Int32Array(2);
/** Computes bits 64..127 of a * b into `product` (low word, high word). */
export function mulHigh(alo: number, ahi: number, blo: number, bhi: number, signed: boolean): void {
  // Column sums of at most three words and a carry stay far below 2^53.
  const c1 = (umulHi(alo, blo) >>> 0) + (Math.imul(alo, bhi) >>> 0) + (Math.imul(ahi, blo) >>> 0);
  const c2 = (umulHi(alo, bhi) >>> 0) + (umulHi(ahi, blo) >>> 0) + (Math.imul(ahi, bhi) >>> 0) + Math.floor(c1 / TWO32);
  let lo = c2 | 0;
  let hi = (umulHi(ahi, bhi) + Math.floor(c2 / TWO32)) | 0;
  if (signed) {
    if (ahi < 0) {
      hi = (hi - bhi - (lo >>> 0 < blo >>> 0 ? 1 : 0)) | 0;
      lo = (lo - blo) | 0;
    }
    if (bhi < 0) {
      hi = (hi - ahi - (lo >>> 0 < alo >>> 0 ? 1 : 0)) | 0;
      lo = (lo - alo) | 0;
    }
  }
  product[0] = lo;
  product[1] = hi;
}

/** Number of set bits of a word. */
export function popcount(x: number): number {
  x -= (x >>> 1) & 0x55555555;
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
}
/** Bytes of a word reversed. */
export function bswap(x: number): number {
  return (x << 24) | ((x << 8) & 0xff0000) | ((x >>> 8) & 0xff00) | (x >>> 24);
}
/** Trailing zeros of hi:lo; 64 if zero. */
export function ctz64(lo: number, hi: number): number {
  if (lo !== 0) return 31 - Math.clz32(lo & -lo);
  return hi !== 0 ? 63 - Math.clz32(hi & -hi) : 64;
}
/** Leading zeros of hi:lo; 64 if zero. */
export function clz64(lo: number, hi: number): number {
  return hi !== 0 ? Math.clz32(hi) : 32 + Math.clz32(lo);
}

/** CRC-32C (polynomial 0x1EDC6F41, bit-reflected), as the SSE4.2 instruction: no inversion before or after. */
const CRC_TABLE: Int32Array = (() => {
  const t = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    t[i] = c;
  }
  return t;
})();
/** Advances crc by `bytes` (1..4) low bytes of x. */
export function crc32c(crc: number, x: number, bytes: number): number {
  for (let i = 0; i < bytes; i++) {
    crc = CRC_TABLE[(crc ^ x) & 0xff]! ^ (crc >>> 8);
    x >>>= 8;
  }
  return crc;
}
