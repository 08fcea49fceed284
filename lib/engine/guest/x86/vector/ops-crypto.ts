/**
 * AES-NI, carry-less multiplication and SHA extensions. FIPS 197 (AES), FIPS 180-4 (SHA-1, SHA-256); Intel SDM vol. 2,
 * entries AESENC ... AESKEYGENASSIST, PCLMULQDQ, SHA1RNDS4 ... SHA256MSG2; vol. 1, 12.13 for the byte order.
 */
import { HelperResult } from '../../../helpers.js';
import { type Enc, type VW, type VectorOp, widths } from './def.js';
import { T, type VectorFn, fromScratch, views } from './views.js';

// --- AES: tables computed from the field GF(2^8) with polynomial x^8 + x^4 + x^3 + x + 1 ---

const SBOX = new Uint8Array(256);
const INV_SBOX = new Uint8Array(256);
/** Column of MixColumns (InvMixColumns) for a byte in row 0, little-endian; other rows are rotations. */
const MIX = new Uint32Array(256);
const INV_MIX = new Uint32Array(256);

const times2 = (x: number): number => ((x << 1) ^ (x & 0x80 ? 0x11b : 0)) & 0xff;
(() => {
  const mul = (x: number, y: number): number => {
    let r = 0;
    for (; y !== 0; y >>= 1, x = times2(x)) if (y & 1) r ^= x;
    return r;
  };
  // 3 generates the multiplicative group: x runs through all elements, y through their inverses (1/3 = 0xf6).
  let x = 1;
  let y = 1;
  do {
    let s = y;
    for (let i = 1; i < 5; i++) s ^= (y << i) | (y >> (8 - i));
    SBOX[x] = (s & 0xff) ^ 0x63;
    x ^= times2(x);
    y = mul(y, 0xf6);
  } while (x !== 1);
  SBOX[0] = 0x63;
  for (let i = 0; i < 256; i++) INV_SBOX[SBOX[i]!] = i;
  for (let i = 0; i < 256; i++) {
    MIX[i] = mul(i, 2) | (i << 8) | (i << 16) | (mul(i, 3) << 24);
    INV_MIX[i] = mul(i, 14) | (mul(i, 9) << 8) | (mul(i, 13) << 16) | (mul(i, 11) << 24);
  }
})();

const rotl = (x: number, n: number): number => (x << n) | (x >>> (32 - n));
const mixColumn = (t: Uint32Array, w: number): number =>
  t[w & 0xff]! ^ rotl(t[(w >>> 8) & 0xff]!, 8) ^ rotl(t[(w >>> 16) & 0xff]!, 16) ^ rotl(t[w >>> 24]!, 24);

/** One round: ShiftRows and SubBytes (or inverses), MixColumns unless last, AddRoundKey. State a, round key b. */
const round = (decrypt: boolean, last: boolean): VectorFn => (cpu, d, a, b) => {
  const v = views(cpu);
  const box = decrypt ? INV_SBOX : SBOX;
  for (let i = 0; i < 16; i++) {
    // Byte i of the shifted state: row i mod 4 comes from 4 * row bytes further on (back, when decrypting).
    const j = decrypt ? (i + 12 * (i & 3)) & 15 : (i + 4 * (i & 3)) & 15;
    T.u8[i] = box[v.u8[(a << 3) + j]!]!;
  }
  for (let c = 0; c < 4; c++) {
    const w = T.u32[c]!;
    T.u32[c] = (last ? w : mixColumn(decrypt ? INV_MIX : MIX, w)) ^ v.i32[(b << 1) + c]!;
  }
  fromScratch(v, d, 16);
  return HelperResult.CONTINUE;
};
const aesimc: VectorFn = (cpu, d, a) => {
  const v = views(cpu);
  for (let c = 0; c < 4; c++) v.u32[(d << 1) + c] = mixColumn(INV_MIX, v.u32[(a << 1) + c]!);
  return HelperResult.CONTINUE;
};
const subWord = (w: number): number => SBOX[w & 0xff]! | (SBOX[(w >>> 8) & 0xff]! << 8) | (SBOX[(w >>> 16) & 0xff]! << 16) | (SBOX[w >>> 24]! << 24);
const keygen: VectorFn = (cpu, d, a, _b, _c, imm) => {
  const v = views(cpu);
  const s1 = subWord(v.u32[(a << 1) + 1]!);
  const s3 = subWord(v.u32[(a << 1) + 3]!);
  const o = d << 1;
  v.i32[o] = s1;
  v.i32[o + 1] = rotl(s1, 24) ^ (imm & 0xff);
  v.i32[o + 2] = s3;
  v.i32[o + 3] = rotl(s3, 24) ^ (imm & 0xff);
  return HelperResult.CONTINUE;
};

/** PCLMULQDQ: product of two polynomials over GF(2); imm bits 0 and 4 choose the quadwords. */
const pclmul: VectorFn = (cpu, d, a, b, _c, imm) => {
  const u = views(cpu).u64;
  let x = u[a + (imm & 1)]!;
  let y = u[b + ((imm >> 4) & 1)]!;
  let r = 0n;
  for (; y !== 0n; y >>= 1n, x <<= 1n) if (y & 1n) r ^= x;
  u[d] = r;
  u[d + 1] = r >> 64n;
  return HelperResult.CONTINUE;
};

// --- SHA: dword 3 is the most significant (A for SHA-1) ---

const SHA1_K = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6];
const sha1f = (k: number, b: number, c: number, d: number): number => (k === 0 ? (b & c) ^ (~b & d) : k === 2 ? (b & c) ^ (b & d) ^ (c & d) : b ^ c ^ d);

/** SHA1RNDS4: four rounds; a = A B C D from dword 3 down, b = the message words (E already added to the first). */
const sha1rnds4: VectorFn = (cpu, dst, a, b, _c, imm) => {
  const v = views(cpu);
  const k = imm & 3;
  let A = v.i32[(a << 1) + 3]!;
  let B = v.i32[(a << 1) + 2]!;
  let C = v.i32[(a << 1) + 1]!;
  let D = v.i32[a << 1]!;
  let E = 0;
  for (let i = 0; i < 4; i++) {
    const t = (sha1f(k, B, C, D) + rotl(A, 5) + v.i32[(b << 1) + 3 - i]! + E + SHA1_K[k]!) | 0;
    E = D;
    D = C;
    C = rotl(B, 30);
    B = A;
    A = t;
  }
  v.i32[(dst << 1) + 3] = A;
  v.i32[(dst << 1) + 2] = B;
  v.i32[(dst << 1) + 1] = C;
  v.i32[dst << 1] = D;
  return HelperResult.CONTINUE;
};
const sha1nexte: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu);
  const e = rotl(v.i32[(a << 1) + 3]!, 30);
  for (let i = 0; i < 3; i++) T.i32[i] = v.i32[(b << 1) + i]!;
  T.i32[3] = v.i32[(b << 1) + 3]! + e;
  fromScratch(v, d, 16);
  return HelperResult.CONTINUE;
};
const sha1msg1: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu).i32;
  const p = a << 1;
  const q = b << 1;
  const r3 = v[p + 1]! ^ v[p + 3]!;
  const r2 = v[p]! ^ v[p + 2]!;
  const r1 = v[q + 3]! ^ v[p + 1]!;
  const r0 = v[q + 2]! ^ v[p]!;
  const o = d << 1;
  v[o + 3] = r3;
  v[o + 2] = r2;
  v[o + 1] = r1;
  v[o] = r0;
  return HelperResult.CONTINUE;
};
const sha1msg2: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu).i32;
  const p = a << 1;
  const q = b << 1;
  const w16 = rotl(v[p + 3]! ^ v[q + 2]!, 1);
  const w17 = rotl(v[p + 2]! ^ v[q + 1]!, 1);
  const w18 = rotl(v[p + 1]! ^ v[q]!, 1);
  const w19 = rotl(v[p]! ^ w16, 1);
  const o = d << 1;
  v[o + 3] = w16;
  v[o + 2] = w17;
  v[o + 1] = w18;
  v[o] = w19;
  return HelperResult.CONTINUE;
};

const rotr = (x: number, n: number): number => (x >>> n) | (x << (32 - n));
/** SHA256RNDS2: a = C D G H, b = A B E F (dword 3 first), c = XMM0 with the two message words plus constants. */
const sha256rnds2: VectorFn = (cpu, d, a, b, c) => {
  const v = views(cpu).i32;
  let A = v[(b << 1) + 3]!;
  let B = v[(b << 1) + 2]!;
  let C = v[(a << 1) + 3]!;
  let D = v[(a << 1) + 2]!;
  let E = v[(b << 1) + 1]!;
  let F = v[b << 1]!;
  let G = v[(a << 1) + 1]!;
  let H = v[a << 1]!;
  for (let i = 0; i < 2; i++) {
    const t1 = (H + (rotr(E, 6) ^ rotr(E, 11) ^ rotr(E, 25)) + ((E & F) ^ (~E & G)) + v[(c << 1) + i]!) | 0;
    const t2 = ((rotr(A, 2) ^ rotr(A, 13) ^ rotr(A, 22)) + ((A & B) ^ (A & C) ^ (B & C))) | 0;
    H = G;
    G = F;
    F = E;
    E = (D + t1) | 0;
    D = C;
    C = B;
    B = A;
    A = (t1 + t2) | 0;
  }
  const o = d << 1;
  v[o + 3] = A;
  v[o + 2] = B;
  v[o + 1] = E;
  v[o] = F;
  return HelperResult.CONTINUE;
};
const sigma0 = (x: number): number => rotr(x, 7) ^ rotr(x, 18) ^ (x >>> 3);
const sigma1 = (x: number): number => rotr(x, 17) ^ rotr(x, 19) ^ (x >>> 10);
const sha256msg1: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu);
  const p = a << 1;
  for (let i = 0; i < 4; i++) T.i32[i] = v.i32[p + i]! + sigma0(i < 3 ? v.i32[p + i + 1]! : v.i32[b << 1]!);
  fromScratch(v, d, 16);
  return HelperResult.CONTINUE;
};
const sha256msg2: VectorFn = (cpu, d, a, b) => {
  const v = views(cpu);
  const p = a << 1;
  T.i32[0] = v.i32[p]! + sigma1(v.i32[(b << 1) + 2]!);
  T.i32[1] = v.i32[p + 1]! + sigma1(v.i32[(b << 1) + 3]!);
  T.i32[2] = v.i32[p + 2]! + sigma1(T.i32[0]!);
  T.i32[3] = v.i32[p + 3]! + sigma1(T.i32[1]!);
  fromScratch(v, d, 16);
  return HelperResult.CONTINUE;
};

const one = (name: string, fn: VectorFn, e: Enc): VectorOp[] => widths(name, (_w: VW) => fn, e, {});
const aes = (op: number, form: 'rm' | 'rvm' = 'rvm'): Enc => ({ form, map: 2, op, feature: 'aes' });
const sha = (op: number, form: 'rvm' | 'rvmr' = 'rvm'): Enc => ({ form, pp: 0, map: 2, op, feature: 'sha_ni', legacyOnly: true });

export const CRYPTO_OPS: readonly VectorOp[] = [
  ...one('aesimc', aesimc, aes(0xdb, 'rm')),
  ...one('aesenc', round(false, false), aes(0xdc)),
  ...one('aesenclast', round(false, true), aes(0xdd)),
  ...one('aesdec', round(true, false), aes(0xde)),
  ...one('aesdeclast', round(true, true), aes(0xdf)),
  ...one('aeskeygenassist', keygen, { form: 'rmi', map: 3, op: 0xdf, feature: 'aes' }),
  ...one('pclmulqdq', pclmul, { form: 'rvmi', map: 3, op: 0x44, feature: 'pclmulqdq' }),
  ...one('sha1rnds4', sha1rnds4, { form: 'rvmi', pp: 0, map: 3, op: 0xcc, feature: 'sha_ni', legacyOnly: true }),
  ...one('sha1nexte', sha1nexte, sha(0xc8)),
  ...one('sha1msg1', sha1msg1, sha(0xc9)),
  ...one('sha1msg2', sha1msg2, sha(0xca)),
  ...one('sha256rnds2', sha256rnds2, sha(0xcb, 'rvmr')),
  ...one('sha256msg1', sha256msg1, sha(0xcc)),
  ...one('sha256msg2', sha256msg2, sha(0xcd)),
];
