/** Scalar cryptography that is not a handful of integer operations (vol. I, chapter 31): AES rounds, crossbar permutations, carry-less products. */

import { gmul, INVERSE_SBOX, SBOX } from '../aes.js';

const RCON: readonly number[] = [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36, 0];

const subWord = (w: number): number => SBOX[w & 0xff]! | (SBOX[(w >>> 8) & 0xff]! << 8) | (SBOX[(w >>> 16) & 0xff]! << 16) | (SBOX[w >>> 24]! << 24);

function mixColumn(w: number, m: readonly number[]): number {
  let r = 0;
  for (let i = 0; i < 4; i++) {
    let b = 0;
    for (let k = 0; k < 4; k++) b ^= gmul((w >>> (8 * k)) & 0xff, m[(k - i + 4) & 3]!);
    r |= b << (8 * i);
  }
  return r;
}
const MIX: readonly number[] = [2, 3, 1, 1];
const INVERSE_MIX: readonly number[] = [14, 11, 13, 9];

/** Results of the functions below. */
export const out = { lo: 0, hi: 0 };

/** Byte i of the state in two registers, rs1 first. */
const byteOf = (w: readonly number[], i: number): number => (w[i >> 2]! >>> (8 * (i & 3))) & 0xff;
/** Which byte comes to each place of the first half: ShiftRows and its inverse. */
const SHIFT_ROWS: readonly number[] = [0, 5, 10, 15, 4, 9, 14, 3];
const INVERSE_SHIFT_ROWS: readonly number[] = [0, 13, 10, 7, 4, 1, 14, 11];

/** AES64 instructions by their encoding. */
export function aes64(insn: number, aLo: number, aHi: number, bLo: number, bHi: number): void {
  if ((insn & 0x707f) === 0x1013) {
    const imm = (insn >>> 20) & 0xfff;
    if (imm === 0x300) {
      out.lo = mixColumn(aLo, INVERSE_MIX);
      out.hi = mixColumn(aHi, INVERSE_MIX);
      return;
    }
    // aes64ks1i: the last round number is for a word without rotation and constant.
    const round = imm & 15;
    const t = round === 10 ? aHi : (aHi >>> 8) | (aHi << 24);
    out.lo = out.hi = subWord(t >>> 0) ^ RCON[round]!;
    return;
  }
  const f7 = insn >>> 25;
  if (f7 === 0x3f) {
    out.lo = aHi ^ bLo;
    out.hi = aHi ^ bLo ^ bHi;
    return;
  }
  const decrypt = (f7 & 4) !== 0;
  const state = [aLo, aHi, bLo, bHi];
  const order = decrypt ? INVERSE_SHIFT_ROWS : SHIFT_ROWS;
  const box = decrypt ? INVERSE_SBOX : SBOX;
  const word = (from: number): number => {
    let w = 0;
    for (let i = 0; i < 4; i++) w |= box[byteOf(state, order[from + i]!)]! << (8 * i);
    return f7 & 2 ? mixColumn(w, decrypt ? INVERSE_MIX : MIX) : w;
  };
  out.lo = word(0);
  out.hi = word(4);
}

/** XPERM8 and XPERM4: elements of rs1 chosen by those of rs2, zero where there is none. */
export function xperm(bits: 4 | 8, aLo: number, aHi: number, bLo: number, bHi: number): void {
  const a = [aLo, aHi];
  const b = [bLo, bHi];
  const r = [0, 0];
  const mask = (1 << bits) - 1;
  const per = 32 / bits;
  for (let i = 0; i < 2 * per; i++) {
    const index = (b[Math.floor(i / per)]! >>> ((i % per) * bits)) & mask;
    if (index < 2 * per) r[Math.floor(i / per)]! |= ((a[Math.floor(index / per)]! >>> ((index % per) * bits)) & mask) << ((i % per) * bits);
  }
  out.lo = r[0]!;
  out.hi = r[1]!;
}

/** Bits of each byte reversed. */
export function brev8(lo: number, hi: number): void {
  const word = (w: number): number => {
    let v = ((w >>> 1) & 0x5555_5555) | ((w & 0x5555_5555) << 1);
    v = ((v >>> 2) & 0x3333_3333) | ((v & 0x3333_3333) << 2);
    return ((v >>> 4) & 0x0f0f_0f0f) | ((v & 0x0f0f_0f0f) << 4);
  };
  out.lo = word(lo);
  out.hi = word(hi);
}

/** Carry-less product of two 64-bit numbers: kind 1 the low half, 3 the high half, 2 bits 63 to 126. */
export function clmul(kind: number, aLo: number, aHi: number, bLo: number, bHi: number): void {
  let a = (BigInt(aHi >>> 0) << 32n) | BigInt(aLo >>> 0);
  let r = 0n;
  for (const w of [bLo, bHi]) {
    for (let i = 0; i < 32; i++, a <<= 1n) if ((w >>> i) & 1) r ^= a;
  }
  if (kind === 2) r >>= 63n;
  else if (kind === 3) r >>= 64n;
  out.lo = Number(r & 0xffff_ffffn) | 0;
  out.hi = Number((r >> 32n) & 0xffff_ffffn) | 0;
}
