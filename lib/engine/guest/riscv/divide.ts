/** Division with the results that RISC-V defines where others trap (vol. I, 12.2): what generated code leaves to TypeScript. */
import { NONE } from '../../state.js';

const MIN64 = -(2n ** 63n);

/** w = 2 or 3; quot, rem, lo and divisor are slots, the first two may be NONE. 32-bit results are zero-extended. */
export function divide(V: Int32Array, signed: boolean, w: number, quot: number, rem: number, lo: number, divisor: number): void {
  if (w === 2) {
    const a = V[lo * 2]!;
    const b = V[divisor * 2]!;
    const x = signed ? a : a >>> 0;
    const y = signed ? b : b >>> 0;
    // -2^31 / -1 wraps to -2^31 by the conversion to 32 bits; the remainder is 0.
    put(V, quot, b === 0 ? -1 : Math.trunc(x / y) | 0, 0);
    put(V, rem, b === 0 ? a : (x % y) | 0, 0);
    return;
  }
  const read = (s: number): bigint => {
    const u = (BigInt(V[s * 2 + 1]! >>> 0) << 32n) | BigInt(V[s * 2]! >>> 0);
    return signed ? BigInt.asIntN(64, u) : u;
  };
  const a = read(lo);
  const b = read(divisor);
  const overflow = signed && a === MIN64 && b === -1n;
  put64(V, quot, b === 0n ? -1n : overflow ? a : a / b);
  put64(V, rem, b === 0n ? a : overflow ? 0n : a % b);
}

function put(V: Int32Array, slot: number, lo: number, hi: number): void {
  if (slot === NONE) return;
  V[slot * 2] = lo;
  V[slot * 2 + 1] = hi;
}

function put64(V: Int32Array, slot: number, v: bigint): void {
  const u = BigInt.asUintN(64, v);
  put(V, slot, Number(u & 0xffff_ffffn) | 0, Number(u >> 32n) | 0);
}
