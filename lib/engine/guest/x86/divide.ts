/** DIV and IDIV of every width (SDM vol. 2), for the slow path. */
import { NONE, Slot } from '../../state.js';

const MASK64 = (1n << 64n) - 1n;

function put(V: Int32Array, w: number, dst: number, lo: number, hi: number): void {
  if (dst === NONE) return;
  const d = dst * 2;
  if (w >= 2) {
    V[d] = lo;
    V[d + 1] = w === 3 ? hi : 0;
    return;
  }
  const m = w === 1 ? 0xffff : 0xff;
  if (dst < Slot.TEMP) V[d] = (V[d]! & ~m) | (lo & m);
  else {
    V[d] = lo & m;
    V[d + 1] = 0;
  }
}

/**
 * (hi:lo) / divisor, all slots. Results of width w go to quot and rem (NONE = dropped).
 * @returns false for a divide error; nothing is written then
 */
export function divide(V: Int32Array, signed: boolean, w: number, quot: number, rem: number, lo: number, hi: number, divisor: number): boolean {
  if (w < 2) {
    const s = w === 1 ? 16 : 24;
    const bits = 32 - s;
    const low = (V[lo * 2]! << s) >>> s;
    const high = signed ? (V[hi * 2]! << s) >> s : (V[hi * 2]! << s) >>> s;
    const d = signed ? (V[divisor * 2]! << s) >> s : (V[divisor * 2]! << s) >>> s;
    const n = high * 2 ** bits + low;
    if (d === 0) return false;
    const q = Math.trunc(n / d);
    if (signed ? q !== (q << s) >> s : q > 2 ** bits - 1) return false;
    put(V, w, quot, q, 0);
    put(V, w, rem, n - q * d, 0);
    return true;
  }
  if (w === 2) {
    const low = V[lo * 2]!;
    const high = V[hi * 2]!;
    const d = V[divisor * 2]!;
    if (d === 0) return false;
    if (signed ? high === low >> 31 : high === 0) {
      const n = signed ? low : low >>> 0;
      const dd = signed ? d : d >>> 0;
      const q = Math.trunc(n / dd);
      if (signed && q === 2147483648) return false;
      put(V, 2, quot, q | 0, 0);
      put(V, 2, rem, (n - q * dd) | 0, 0);
      return true;
    }
    const n = (BigInt(signed ? high : high >>> 0) << 32n) | BigInt(low >>> 0);
    const dd = BigInt(signed ? d : d >>> 0);
    const q = n / dd;
    if (signed ? q !== BigInt.asIntN(32, q) : q > 0xffff_ffffn) return false;
    put(V, 2, quot, Number(BigInt.asIntN(32, q)), 0);
    put(V, 2, rem, Number(BigInt.asIntN(32, n - q * dd)), 0);
    return true;
  }
  const big = (s: number): bigint => (BigInt(V[s * 2 + 1]! >>> 0) << 32n) | BigInt(V[s * 2]! >>> 0);
  let d = big(divisor);
  if (d === 0n) return false;
  let n = (big(hi) << 64n) | big(lo);
  if (signed) {
    d = BigInt.asIntN(64, d);
    n = BigInt.asIntN(128, n);
  }
  const q = n / d;
  if (signed ? q !== BigInt.asIntN(64, q) : q > MASK64) return false;
  const r = n - q * d;
  put(V, 3, quot, Number(BigInt.asIntN(32, q)), Number(BigInt.asIntN(32, q >> 32n)));
  put(V, 3, rem, Number(BigInt.asIntN(32, r)), Number(BigInt.asIntN(32, r >> 32n)));
  return true;
}
