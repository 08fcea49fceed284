/** Division where the quotient can be had with one floating-point division. */
import { R } from './codes.js';

const TWO32 = 4294967296;
/** High words in this range make operands below 2^52: exact in a double, with room for one step of correction. */
const HIGH = 1 << 20;

function put(V: Int32Array, d: number, w: number, merge: number, lo: number, hi: number): void {
  if (w === 0 && merge) V[d] = (V[d]! & ~0xff) | (lo & 0xff);
  else if (w === 1 && merge) V[d] = (V[d]! & ~0xffff) | (lo & 0xffff);
  else {
    V[d] = w === 0 ? lo & 0xff : w === 1 ? lo & 0xffff : lo;
    V[d + 1] = w === 3 ? hi : 0;
  }
}

/**
 * Executes the DIV record at p if it is a simple case.
 * @returns false if not (wide operands, zero divisor, overflow); nothing is changed then.
 */
export function divideInline(V: Int32Array, code: Int32Array, p: number): boolean {
  const how = code[p + R.M]!;
  const w = how & 3;
  const signed = (how & 16) !== 0;
  const a = code[p + R.A]!;
  const b = code[p + R.B]!;
  const c = code[p + R.C]!;
  let n: number;
  let k: number;
  if (w === 3) {
    const hi = V[a + 1]!;
    const khi = V[c + 1]!;
    if (V[b] !== V[b + 1]) return false;
    if (signed) {
      if (V[b] !== hi >> 31 || hi < -HIGH || hi >= HIGH || khi < -HIGH || khi >= HIGH) return false;
    } else if (V[b] !== 0 || hi >>> 0 >= HIGH || khi >>> 0 >= HIGH) return false;
    n = hi * TWO32 + (V[a]! >>> 0);
    k = khi * TWO32 + (V[c]! >>> 0);
  } else if (w === 2) {
    const hi = V[b]!;
    if (signed ? hi < -HIGH || hi >= HIGH : hi >>> 0 >= HIGH) return false;
    n = hi * TWO32 + (V[a]! >>> 0);
    k = signed ? V[c]! : V[c]! >>> 0;
  } else if (w === 1) {
    n = (V[b]! << 16) | (V[a]! & 0xffff);
    k = V[c]! & 0xffff;
    if (signed) k = (k << 16) >> 16;
    else n >>>= 0;
  } else {
    n = ((V[b]! & 0xff) << 8) | (V[a]! & 0xff);
    k = V[c]! & 0xff;
    if (signed) {
      n = (n << 16) >> 16;
      k = (k << 24) >> 24;
    }
  }
  if (k === 0) return false;
  let q = Math.trunc(n / k);
  let r = n - q * k;
  // The rounded quotient may be one too large in magnitude; the remainder then has the wrong sign.
  if (r !== 0 && r < 0 !== n < 0) {
    const step = n < 0 === k < 0 ? 1 : -1;
    q -= step;
    r += step * k;
  }
  if (w !== 3) {
    const bits = 8 << w;
    if (signed) {
      const half = 2 ** (bits - 1);
      if (q >= half || q < -half) return false;
    } else if (q >= 2 ** bits) return false;
  }
  put(V, code[p + R.D]!, w, how & 4, q | 0, Math.floor(q / TWO32));
  put(V, code[p + R.IMM]!, w, how & 8, r | 0, Math.floor(r / TWO32));
  return true;
}
