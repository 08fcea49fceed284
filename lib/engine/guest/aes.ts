/** Arithmetic of AES (FIPS 197, 4.2 and 5.1.1) for guests' instructions. */

/** x times 2 in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
const times2 = (x: number): number => ((x << 1) ^ (x & 0x80 ? 0x11b : 0)) & 0xff;
const rotl8 = (x: number, n: number): number => ((x << n) | (x >> (8 - n))) & 0xff;

/** The S-box and its inverse. */
export const SBOX = new Uint8Array(256);
export const INVERSE_SBOX = new Uint8Array(256);
{
  // The multiplicative inverse by walking the powers of 3 and its inverse 0xf6, then the affine map.
  let p = 1;
  let q = 1;
  do {
    p = p ^ times2(p);
    q ^= q << 1;
    q ^= q << 2;
    q ^= q << 4;
    q &= 0xff;
    if (q & 0x80) q ^= 0x09;
    SBOX[p] = q ^ rotl8(q, 1) ^ rotl8(q, 2) ^ rotl8(q, 3) ^ rotl8(q, 4) ^ 0x63;
  } while (p !== 1);
  SBOX[0] = 0x63;
  for (let i = 0; i < 256; i++) INVERSE_SBOX[SBOX[i]!] = i;
}

/** Product in GF(2^8). */
export function gmul(x: number, y: number): number {
  let r = 0;
  for (; y !== 0; y >>= 1, x = times2(x)) if (y & 1) r ^= x;
  return r;
}
