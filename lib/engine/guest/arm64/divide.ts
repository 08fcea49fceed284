/** SDIV and UDIV where the host's division does not apply: division by zero is 0, and nothing overflows (Arm ARM, C6.2.285). */
const lo64 = new BigInt64Array(1);
const words = new Int32Array(lo64.buffer);

function value(V: Int32Array, s: number, signed: boolean, w: number): bigint {
  words[0] = V[s * 2]!;
  words[1] = w === 3 ? V[s * 2 + 1]! : signed ? V[s * 2]! >> 31 : 0;
  return signed ? lo64[0]! : BigInt.asUintN(64, lo64[0]!);
}

/** Slot quot = slot lo / slot divisor; w = 2 or 3. */
export function divide(V: Int32Array, signed: boolean, w: number, quot: number, lo: number, divisor: number): void {
  const d = value(V, divisor, signed, w);
  lo64[0] = d === 0n ? 0n : BigInt.asIntN(64, value(V, lo, signed, w) / d);
  V[quot * 2] = words[0]!;
  V[quot * 2 + 1] = w === 3 ? words[1]! : 0;
}
