/**
 * Fast paths of the floating-point operations for ordinary numbers, with round-to-nearest and nothing flushed: without bigints. Each
 * returns false where the soft-float has to decide (NaNs, infinities, other modes).
 */
import { Slot } from '../../../state.js';
import { FpFlag } from '../../../softfloat/softfloat.js';
import type { Arm64Cpu } from '../cpu.js';
import { A } from '../regs.js';
import { IN_U32, OUT_U32, arith32, arith64, f32value, fma32, fpBegin, st } from '../../x86/vector/fp.js';
import type { Views } from './def.js';

/** FPCR without rounding mode, flushing, default NaNs or alternative half precision. */
const SPECIAL_MODES = 0x07c8_0000;

/** True if the present FPCR lets fast paths run. */
export const usual = (cpu: Arm64Cpu): boolean => (cpu.V[A.FPCR * 2]! & SPECIAL_MODES) === 0;

const finite64 = (hi: number): boolean => (hi & 0x7ff0_0000) !== 0x7ff0_0000;
const finite32 = (b: number): boolean => (b & 0x7f80_0000) !== 0x7f80_0000;

function begin(cpu: Arm64Cpu): void {
  fpBegin(cpu as unknown as Parameters<typeof fpBegin>[0]);
  st.tinyBefore = true;
}
function end(cpu: Arm64Cpu): void {
  st.tinyBefore = false;
  const f = st.flags & ~FpFlag.DE;
  if (f !== 0) cpu.V[Slot.MXCSR * 2]! |= f;
}

/** Kernels by number: 0 add, 1 sub, 2 mul, 3 div. */
export type Kernel = 0 | 1 | 2 | 3;
const DIV = 3;

/** Word index w of d = a op b (word indexes of the operands), double precision. */
export function two64(cpu: Arm64Cpu, v: Views, k: Kernel, out: Uint32Array, w: number, a: number, b: number): boolean {
  const u = v.u32;
  const ah = u[a + 1]!;
  const bh = u[b + 1]!;
  if (!finite64(ah) || !finite64(bh) || (k === DIV && ((bh & 0x7fff_ffff) | u[b]!) === 0)) return false;
  begin(cpu);
  IN_U32[0] = u[a]!;
  IN_U32[1] = ah;
  IN_U32[2] = u[b]!;
  IN_U32[3] = bh;
  arith64(k as number);
  out[w] = OUT_U32[0]!;
  out[w + 1] = OUT_U32[1]!;
  end(cpu);
  return true;
}

/** The same for single precision. */
export function two32(cpu: Arm64Cpu, v: Views, k: Kernel, out: Uint32Array, w: number, a: number, b: number): boolean {
  const x = v.u32[a]!;
  const y = v.u32[b]!;
  if (!finite32(x) || !finite32(y) || (k === DIV && (y & 0x7fff_ffff) === 0)) return false;
  begin(cpu);
  out[w] = arith32(k as number, x, y);
  end(cpu);
  return true;
}

/** +-a * b +- c fused, single precision; the signs as masks for the sign bits of a and c. */
export function fused32(cpu: Arm64Cpu, out: Uint32Array, w: number, a: number, b: number, c: number): boolean {
  if (!finite32(a) || !finite32(b) || !finite32(c)) return false;
  begin(cpu);
  out[w] = fma32(a, b, c);
  end(cpu);
  return true;
}

const F = new Float64Array(2);
const U = new Uint32Array(F.buffer);

/** The double at word index w. Not for NaNs. */
export function double(v: Views, w: number): number {
  U[0] = v.u32[w]!;
  U[1] = v.u32[w + 1]!;
  return F[0]!;
}

/** Relation of two numbers (word indexes, or b = -1 for zero): 0 less, 1 equal, 2 greater; -1 if one is a NaN. */
export function relation(v: Views, wide: boolean, a: number, b: number): number {
  const x = wide ? double(v, a) : f32value(v.u32[a]!);
  const y = b < 0 ? 0 : wide ? double(v, b) : f32value(v.u32[b]!);
  return x < y ? 0 : x > y ? 2 : x === y ? 1 : -1;
}

/** Truncation to a signed integer that fits `bits` bits and is exact as a number; NaN if not. Sets IXC. */
export function truncated(cpu: Arm64Cpu, v: Views, wide: boolean, a: number, bits: number): number {
  const x = wide ? double(v, a) : f32value(v.u32[a]!);
  const t = Math.trunc(x);
  if (!(Math.abs(t) < (bits === 32 ? 2147483648 : 9007199254740992))) return NaN;
  if (t !== x) cpu.V[Slot.MXCSR * 2]! |= FpFlag.PE;
  return t;
}
