/** AES, SHA-1 and SHA-256 instructions (Arm ARM, C7.2.7 and following; FIPS 197, FIPS 180-4). */
import { gmul, INVERSE_SBOX, SBOX } from '../../aes.js';
import { type Fn, type SimdOp, T, finish, views } from './def.js';

const OPS: SimdOp[] = [];
const op = (name: string, fn: Fn): void => {
  OPS.push({ name, fn });
};

// ---- AES ----

/** AESE, AESD: AddRoundKey, then (Inv)ShiftRows and (Inv)SubBytes. a = state (d), b = key. */
function round(box: Uint8Array, step: number): Fn {
  return (cpu, d, a, b) => {
    const v = views(cpu);
    for (let c = 0; c < 4; c++) {
      for (let r = 0; r < 4; r++) {
        const from = ((c + step * r) & 3) * 4 + r;
        T.u8[c * 4 + r] = box[v.u8[(a << 3) + from]! ^ v.u8[(b << 3) + from]!]!;
      }
    }
    return finish(cpu, d, 16);
  };
}
op('aese', round(SBOX, 1));
op('aesd', round(INVERSE_SBOX, -1));

function mix(m: readonly number[]): Fn {
  return (cpu, d, a) => {
    const v = views(cpu);
    for (let c = 0; c < 4; c++) {
      for (let r = 0; r < 4; r++) {
        let s = 0;
        for (let k = 0; k < 4; k++) s ^= gmul(v.u8[(a << 3) + c * 4 + k]!, m[(k - r + 4) & 3]!);
        T.u8[c * 4 + r] = s;
      }
    }
    return finish(cpu, d, 16);
  };
}
op('aesmc', mix([2, 3, 1, 1]));
op('aesimc', mix([14, 11, 13, 9]));

// ---- SHA-1 ----

const rol = (x: number, n: number): number => (x << n) | (x >>> (32 - n));
const choose = (x: number, y: number, z: number): number => ((y ^ z) & x) ^ z;
const parity = (x: number, y: number, z: number): number => x ^ y ^ z;
const majority = (x: number, y: number, z: number): number => (x & y) | ((x | y) & z);

/** SHA1C, SHA1P, SHA1M: four rounds. a = d = hash ABCD, b = E in lane 0, c = schedule words. */
function sha1(f: (x: number, y: number, z: number) => number): Fn {
  return (cpu, d, a, b, c) => {
    const v = views(cpu);
    const x = [0, 1, 2, 3].map((i) => v.i32[(a << 1) + i]!);
    let y = v.i32[b << 1]!;
    for (let e = 0; e < 4; e++) {
      const t = f(x[1]!, x[2]!, x[3]!);
      y = (y + rol(x[0]!, 5) + t + v.i32[(c << 1) + e]!) | 0;
      x[1] = rol(x[1]!, 30);
      // The 160-bit value Y:X rotates left by 32.
      const top = x[3]!;
      x[3] = x[2]!;
      x[2] = x[1];
      x[1] = x[0]!;
      x[0] = y;
      y = top;
    }
    for (let i = 0; i < 4; i++) T.i32[i] = x[i]!;
    return finish(cpu, d, 16);
  };
}
op('sha1c', sha1(choose));
op('sha1p', sha1(parity));
op('sha1m', sha1(majority));
op('sha1h', (cpu, d, a) => {
  T.i32[0] = rol(views(cpu).i32[a << 1]!, 30);
  return finish(cpu, d, 4);
});
op('sha1su0', (cpu, d, a, b) => {
  const w = views(cpu).i32;
  // d = d[127:64] : n[63:0] as the upper half, exclusive-or d and m. a = n, b = m.
  for (let i = 0; i < 4; i++) T.i32[i] = (i < 2 ? w[(d << 1) + 2 + i]! : w[(a << 1) + i - 2]!) ^ w[(d << 1) + i]! ^ w[(b << 1) + i]!;
  return finish(cpu, d, 16);
});
op('sha1su1', (cpu, d, a) => {
  const w = views(cpu).i32;
  const t = [0, 1, 2, 3].map((i) => w[(d << 1) + i]! ^ (i < 3 ? w[(a << 1) + i + 1]! : 0));
  for (let i = 0; i < 3; i++) T.i32[i] = rol(t[i]!, 1);
  T.i32[3] = rol(t[3]!, 1) ^ rol(t[0]!, 2);
  return finish(cpu, d, 16);
});

// ---- SHA-256 ----

const ror = (x: number, n: number): number => (x >>> n) | (x << (32 - n));
const S0 = (x: number): number => ror(x, 2) ^ ror(x, 13) ^ ror(x, 22);
const S1 = (x: number): number => ror(x, 6) ^ ror(x, 11) ^ ror(x, 25);

/** SHA256hash (Arm ARM, J1.2): x = ABCD, y = EFGH, w = schedule words with constants added. */
function sha256(part1: boolean): Fn {
  return (cpu, d, a, b, c) => {
    const w = views(cpu).i32;
    const x = [0, 1, 2, 3].map((i) => w[((part1 ? a : b) << 1) + i]!);
    const y = [0, 1, 2, 3].map((i) => w[((part1 ? b : a) << 1) + i]!);
    for (let e = 0; e < 4; e++) {
      const t = (y[3]! + S1(y[0]!) + choose(y[0]!, y[1]!, y[2]!) + w[(c << 1) + e]!) | 0;
      const x3 = (t + x[3]!) | 0;
      const y3 = (t + S0(x[0]!) + majority(x[0]!, x[1]!, x[2]!)) | 0;
      x[3] = x3;
      y[3] = y3;
      // The 256-bit value Y:X rotates left by 32.
      const [tx, ty] = [x[3], y[3]];
      for (let i = 3; i > 0; i--) {
        x[i] = x[i - 1]!;
        y[i] = y[i - 1]!;
      }
      x[0] = ty;
      y[0] = tx;
    }
    const r = part1 ? x : y;
    for (let i = 0; i < 4; i++) T.i32[i] = r[i]!;
    return finish(cpu, d, 16);
  };
}
op('sha256h', sha256(true));
op('sha256h2', sha256(false));
const s0 = (x: number): number => ror(x, 7) ^ ror(x, 18) ^ (x >>> 3);
const s1 = (x: number): number => ror(x, 17) ^ ror(x, 19) ^ (x >>> 10);
op('sha256su0', (cpu, d, a) => {
  const w = views(cpu).i32;
  for (let i = 0; i < 4; i++) T.i32[i] = w[(d << 1) + i]! + s0(i < 3 ? w[(d << 1) + i + 1]! : w[a << 1]!);
  return finish(cpu, d, 16);
});
op('sha256su1', (cpu, d, a, b) => {
  const w = views(cpu).i32;
  // a = n, b = m: T0 = m[31:0] : n[127:32].
  const t0 = [1, 2, 3].map((i) => w[(a << 1) + i]!);
  t0.push(w[b << 1]!);
  for (let i = 0; i < 2; i++) T.i32[i] = s1(w[(b << 1) + 2 + i]!) + w[(d << 1) + i]! + t0[i]!;
  for (let i = 2; i < 4; i++) T.i32[i] = s1(T.i32[i - 2]!) + w[(d << 1) + i]! + t0[i]!;
  return finish(cpu, d, 16);
});

export const CRYPTO_OPS: readonly SimdOp[] = OPS;
