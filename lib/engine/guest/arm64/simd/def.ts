/**
 * Vector operations of ARM64 as data: a name, a TypeScript function and, where one host instruction computes the same 128 bits, its
 * encoding. Names end in the element size. The function's literal is Q (0: 64 bits, upper half cleared) | operation's own << 1;
 * native forms compute 128 bits, and the lifter clears the upper half for Q = 0.
 */
import { HelperResult, type HelperFn, type NativeForm } from '../../../helpers.js';
import { A } from '../regs.js';
import type { Arm64Cpu } from '../cpu.js';
import { T, type Views, views } from '../../x86/vector/views.js';

export { T, views };
export type { Views };

export type Fn = HelperFn<Arm64Cpu>;

export interface SimdOp {
  readonly name: string;
  readonly fn: Fn;
  readonly native?: NativeForm;
  readonly fp?: boolean;
  /** Flags (`Fl` mask) it writes. */
  readonly writesFlags?: number;
}

/** Element sizes: log2 of bytes. */
export type Es = 0 | 1 | 2 | 3;
export const ALL: readonly Es[] = [0, 1, 2, 3];
export const BHS: readonly Es[] = [0, 1, 2];
export const HS: readonly Es[] = [1, 2];
export const bitsOf = (es: number): number => 8 << es;

type Numbers = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array;

/** Lanes of one size as numbers. */
export function lanesOf(v: Views, es: Es, signed: boolean): Numbers {
  switch (es) {
    case 0: return signed ? v.i8 : v.u8;
    case 1: return signed ? v.i16 : v.u16;
    default: return signed ? v.i32 : v.u32;
  }
}

/** Index of lane 0 of a slot: slot << (3 - es). */
export const at = (slot: number, es: Es): number => slot << (3 - es);

/** Bytes an operation covers. */
export const bytesOf = (imm: number): number => (imm & 1 ? 16 : 8);

/** Copies n result bytes (4, 8 or 16) from scratch to slot d and clears what is above. */
export function finish(cpu: Arm64Cpu, d: number, n: number): HelperResult {
  const V = cpu.V;
  const o = d << 1;
  for (let i = 0; i < 4; i++) V[o + i] = i < n >> 2 ? T.i32[i]! : 0;
  return HelperResult.CONTINUE;
}

let saturated = false;

/** Starts an operation that may saturate. */
export function beginSat(): void {
  saturated = false;
}

/** Sets FPSR.QC if something has saturated. */
export function endSat(cpu: Arm64Cpu): void {
  if (saturated) cpu.V[A.QC * 2]! |= 1 << 27;
}

/** Saturates to a signed or unsigned number of `bits` bits (up to 32). */
export function sat(x: number, bits: number, signed: boolean): number {
  const max = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const min = signed ? -(2 ** (bits - 1)) : 0;
  if (x > max) {
    saturated = true;
    return max;
  }
  if (x < min) {
    saturated = true;
    return min;
  }
  return x;
}

export function satBig(x: bigint, bits: number, signed: boolean): bigint {
  const max = signed ? (1n << BigInt(bits - 1)) - 1n : (1n << BigInt(bits)) - 1n;
  const min = signed ? -(1n << BigInt(bits - 1)) : 0n;
  if (x > max) {
    saturated = true;
    return max;
  }
  if (x < min) {
    saturated = true;
    return min;
  }
  return x;
}

const s64 = (x: bigint): bigint => BigInt.asIntN(64, x);

export type N3 = (x: number, y: number, d: number) => number;
export type Q3 = (x: bigint, y: bigint, d: bigint) => bigint;

/** d[i] = f(a[i], b[i], d[i]). */
export function three(es: Es, signed: boolean, f: N3, q: Q3): Fn {
  if (es === 3) {
    return (cpu, d, a, b, _c, imm) => {
      const v = views(cpu).u64;
      const n = imm & 1 ? 2 : 1;
      beginSat();
      for (let i = 0; i < n; i++) v[d + i] = signed ? q(s64(v[a + i]!), s64(v[b + i]!), s64(v[d + i]!)) : q(v[a + i]!, v[b + i]!, v[d + i]!);
      if (n === 1) v[d + 1] = 0n;
      endSat(cpu);
      return HelperResult.CONTINUE;
    };
  }
  return (cpu, d, a, b, _c, imm) => {
    const all = views(cpu);
    const v = lanesOf(all, es, signed);
    const n = bytesOf(imm) >> es;
    const [D, A_, B] = [at(d, es), at(a, es), at(b, es)];
    beginSat();
    for (let i = 0; i < n; i++) v[D + i] = f(v[A_ + i]!, v[B + i]!, v[D + i]!);
    if ((imm & 1) === 0) all.u64[d + 1] = 0n;
    endSat(cpu);
    return HelperResult.CONTINUE;
  };
}

export type N1 = (x: number) => number;
export type Q1 = (x: bigint) => bigint;

/** d[i] = f(a[i]). */
export function one(es: Es, signed: boolean, f: N1, q: Q1): Fn {
  return three(es, signed, (x) => f(x), (x) => q(x));
}

/** Pairs of neighbouring elements of a, then of b. */
export function pairwise(es: Es, signed: boolean, f: (x: number, y: number) => number, q: (x: bigint, y: bigint) => bigint): Fn {
  return (cpu, d, a, b, _c, imm) => {
    const v = views(cpu);
    const bytes = bytesOf(imm);
    const half = bytes >> (es + 1);
    if (es === 3) {
      const get = (s: number, i: number): bigint => (signed ? s64(v.u64[s + i]!) : v.u64[s + i]!);
      T.u64[0] = q(get(a, 0), get(a, 1));
      T.u64[1] = q(get(b, 0), get(b, 1));
    } else {
      const l = lanesOf(v, es, signed);
      const t = lanesOf(T, es, signed);
      for (let i = 0; i < half; i++) {
        t[i] = f(l[at(a, es) + 2 * i]!, l[at(a, es) + 2 * i + 1]!);
        t[half + i] = f(l[at(b, es) + 2 * i]!, l[at(b, es) + 2 * i + 1]!);
      }
    }
    return finish(cpu, d, bytes);
  };
}

/** Native encoding of an SSE form. */
export function sse(form: NativeForm['form'], op: number, o: { pp?: 0 | 1 | 2 | 3; map?: 1 | 2 | 3; feature?: string; w?: 0 | 1; digit?: number; vexOnly?: boolean } = {}): NativeForm {
  return {
    form, pp: o.pp ?? 1, map: o.map ?? 1, opcode: op, w: o.w ?? 0,
    feature: o.feature ?? (o.map === 2 ? 'sse4_1' : o.map === 3 ? 'sse4_1' : 'sse2'),
    ...(o.digit === undefined ? {} : { digit: o.digit }),
    ...(o.vexOnly === true ? { vexOnly: true } : {}),
  };
}
