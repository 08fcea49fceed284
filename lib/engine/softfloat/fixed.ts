/**
 * Elementary functions in BigInt fixed point with W fraction bits, for the transcendental instructions of the x87.
 * Every result is within a few units of 2^-W, so with W = 320 at least 190 bits are right where the callers use them
 * (they treat tiny arguments themselves), and rounding to 64 bits is correct except in astronomically rare ties.
 */
import { isqrt } from './softfloat.js';

export const W = 320;
const BW = BigInt(W);
export const ONE = 1n << BW;

const mulW = (a: bigint, b: bigint): bigint => (a * b) >> BW;

/** arctan(1/n) at W + extra bits by its Taylor series. */
function arctanInverse(n: bigint, bits: bigint): bigint {
  let term = (1n << bits) / n;
  const n2 = n * n;
  let sum = term;
  for (let k = 3n, sign = false; term !== 0n; k += 2n, sign = !sign) {
    term /= n2;
    sum += sign ? term / k : -(term / k);
  }
  return sum;
}

const cache = new Map<number, bigint>();

/** Pi with `bits` fraction bits, rounded down or up by less than 2^-bits (Machin's formula). */
export function pi(bits: number): bigint {
  let p = cache.get(bits);
  if (p === undefined) {
    const b = BigInt(bits + 32);
    p = (4n * (4n * arctanInverse(5n, b) - arctanInverse(239n, b))) >> 32n;
    cache.set(bits, p);
  }
  return p;
}

/** 2 * artanh(z) for |z| < 1/2. */
function twoArtanh(z: bigint): bigint {
  const z2 = mulW(z, z);
  let power = z;
  let sum = z;
  for (let k = 3n; power !== 0n && power !== -1n; k += 2n) {
    power = mulW(power, z2);
    sum += power / k;
  }
  return sum * 2n;
}

let ln2Value = 0n;
/** ln 2. */
export function ln2(): bigint {
  if (ln2Value === 0n) ln2Value = twoArtanh(ONE / 3n);
  return ln2Value;
}

/** ln of x, where x (W fraction bits) lies in [1/2, 2). */
export function ln(x: bigint): bigint {
  return twoArtanh(((x - ONE) << BW) / (x + ONE));
}

/** e^x - 1 for |x| < 1. */
export function expm1(x: bigint): bigint {
  let term = x;
  let sum = x;
  for (let k = 2n; term !== 0n && term !== -1n; k++) {
    term = mulW(term, x) / k;
    sum += term;
  }
  return sum;
}

/** sin and cos of x in [-pi/4, pi/4]. */
export function sinCos(x: bigint): { sin: bigint; cos: bigint } {
  const x2 = mulW(x, x);
  let term = x;
  let sin = x;
  for (let k = 2n; term !== 0n && term !== -1n; k += 2n) {
    term = -mulW(term, x2) / (k * (k + 1n));
    sin += term;
  }
  term = ONE;
  let cos = ONE;
  for (let k = 1n; term !== 0n && term !== -1n; k += 2n) {
    term = -mulW(term, x2) / (k * (k + 1n));
    cos += term;
  }
  return { sin, cos };
}

/** arctan of x in [0, 1]. */
export function arctan(x: bigint): bigint {
  let z = x;
  // Three halvings of the angle: tan(a/2) = t / (1 + sqrt(1 + t^2)).
  for (let i = 0; i < 3; i++) z = (z << BW) / (ONE + isqrt((ONE + mulW(z, z)) << BW));
  const z2 = mulW(z, z);
  let power = z;
  let sum = z;
  for (let k = 3n; power !== 0n && power !== -1n; k += 2n) {
    power = -mulW(power, z2);
    sum += power / k;
  }
  return sum * 8n;
}
