import { describe, expect, it } from 'vitest';
import { F16, F32, F64, F80, add, bitLength, compare, convert, div, fma, fpStatus, fromInt, isNaN, isqrt, mul, roundToInt, sqrt, sub, toInt } from '#lib/engine/softfloat/softfloat.js';
import type { FpFormat, FpStatus } from '#lib/engine/softfloat/softfloat.js';

/** Deterministic 32-bit generator (xorshift). */
function rng(seed: number): () => number {
  let x = seed | 0;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

const view = new DataView(new ArrayBuffer(8));
const toBits = (x: number): bigint => (view.setFloat64(0, x), view.getBigUint64(0));
const fromBits = (b: bigint): number => (view.setBigUint64(0, b), view.getFloat64(0));
const toBits32 = (x: number): bigint => (view.setFloat32(0, x), BigInt(view.getUint32(0)));
const fromBits32 = (b: bigint): number => (view.setUint32(0, Number(b)), view.getFloat32(0));

const SPECIAL = [0, -0, 1, -1, 0.5, 1.5, 2, 3, Infinity, -Infinity, NaN, 5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308,
  1.7976931348623157e308, -1.7976931348623157e308, 4503599627370495.5, 9007199254740991, 9007199254740992, 1e-310, Math.PI];

function randomDouble(r: () => number): number {
  const k = r() % 8;
  if (k === 0) return SPECIAL[r() % SPECIAL.length]!;
  const sign = BigInt(r() & 1) << 63n;
  const frac = (k & 1) !== 0 ? (BigInt(r() & 0xfffff) << 32n) | BigInt(r()) : BigInt(r() & 0xff) << 44n;
  const exp = k < 4 ? r() % 2047 : 1023 - 30 + (r() % 60);
  return fromBits(sign | (BigInt(exp) << 52n) | frac);
}

const same = (got: bigint, want: number): boolean => (Number.isNaN(want) ? isNaN(F64, got) : got === toBits(want));
const same32 = (got: bigint, want: number): boolean => (Number.isNaN(want) ? isNaN(F32, got) : got === toBits32(want));

describe('soft-float against JavaScript arithmetic', () => {
  it('f64 add, sub, mul, div, sqrt, compare', () => {
    const r = rng(12345);
    for (let i = 0; i < 12000; i++) {
      const x = i < SPECIAL.length ** 2 ? SPECIAL[i % SPECIAL.length]! : randomDouble(r);
      const y = i < SPECIAL.length ** 2 ? SPECIAL[Math.floor(i / SPECIAL.length)]! : randomDouble(r);
      const a = toBits(x);
      const b = toBits(y);
      const st = fpStatus();
      const label = `${x} ${y}`;
      expect(same(add(F64, a, b, st), x + y), `add ${label}`).toBe(true);
      expect(same(sub(F64, a, b, st), x - y), `sub ${label}`).toBe(true);
      expect(same(mul(F64, a, b, st), x * y), `mul ${label}`).toBe(true);
      expect(same(div(F64, a, b, st), x / y), `div ${label}`).toBe(true);
      expect(same(sqrt(F64, a, st), Math.sqrt(x)), `sqrt ${label}`).toBe(true);
      expect(compare(F64, a, b, false, st), `compare ${label}`).toBe(x < y ? -1 : x > y ? 1 : x === y ? 0 : 2);
      expect(same(roundToInt(F64, a, 1, true, st), Math.floor(x)), `floor ${label}`).toBe(true);
      expect(same(roundToInt(F64, a, 2, true, st), Math.ceil(x)), `ceil ${label}`).toBe(true);
      expect(same(roundToInt(F64, a, 3, true, st), Math.trunc(x)), `trunc ${label}`).toBe(true);
    }
  });

  it('f32 by way of Math.fround, and conversions', () => {
    const r = rng(777);
    for (let i = 0; i < 12000; i++) {
      const x = Math.fround(i % 3 === 0 ? randomDouble(r) : fromBits32(BigInt(r())));
      const y = Math.fround(i % 5 === 0 ? randomDouble(r) : fromBits32(BigInt(r())));
      const a = toBits32(x);
      const b = toBits32(y);
      const st = fpStatus();
      // Double rounding is harmless here: 53 >= 2 * 24 + 2.
      expect(same32(add(F32, a, b, st), Math.fround(x + y)), `add ${x} ${y}`).toBe(true);
      expect(same32(mul(F32, a, b, st), Math.fround(x * y)), `mul ${x} ${y}`).toBe(true);
      expect(same32(div(F32, a, b, st), Math.fround(x / y)), `div ${x} ${y}`).toBe(true);
      expect(same32(sqrt(F32, a, st), Math.fround(Math.sqrt(x))), `sqrt ${x}`).toBe(true);
      const d = randomDouble(r);
      expect(same32(convert(F64, F32, toBits(d), st), Math.fround(d)), `narrow ${d}`).toBe(true);
      expect(same(convert(F32, F64, a, st), x), `widen ${x}`).toBe(true);
      // Through F80 and back is the identity.
      expect(same(convert(F80, F64, convert(F64, F80, toBits(d), st), st), d), `f80 ${d}`).toBe(true);
    }
  });

  it('integers', () => {
    const r = rng(99);
    for (let i = 0; i < 5000; i++) {
      const v = BigInt.asIntN(64, (BigInt(r()) << 32n) | BigInt(r())) >> BigInt(r() % 64);
      const st = fpStatus();
      expect(fromInt(F64, v, st)).toBe(toBits(Number(v)));
      expect(BigInt.asIntN(64, toInt(F80, fromInt(F80, v, st), 64, true, 0, st))).toBe(v);
      const x = randomDouble(r);
      const want = Math.abs(x) < 2 ** 31 ? BigInt.asUintN(32, BigInt(Math.trunc(x))) : 0x8000_0000n;
      expect(toInt(F64, toBits(x), 32, true, 3, st), `${x}`).toBe(want);
    }
    const st = fpStatus();
    expect(toInt(F64, toBits(-0.5), 32, false, 3, st)).toBe(0n);
    expect(st.flags).toBe(32);
    expect(toInt(F64, toBits(-1), 32, false, 3, st)).toBe(0xffff_ffffn);
    expect(st.flags).toBe(33);
  });
});

/** Reference rounding with exact rationals: the nearest representable values around num/den, chosen by mode. */
function directed(f: FpFormat, op: (st: FpStatus) => bigint): { down: bigint; up: bigint; zero: bigint; near: bigint } {
  const of = (rm: number): bigint => op({ rm, flags: 0, daz: false, ftz: false });
  void f;
  return { near: of(0), down: of(1), up: of(2), zero: of(3) };
}

describe('rounding modes and flags', () => {
  it('directed modes bracket the nearest result', () => {
    const r = rng(4242);
    const ops = [add, sub, mul, div];
    for (let i = 0; i < 4000; i++) {
      const a = toBits(randomDouble(r));
      const b = toBits(randomDouble(r));
      const op = ops[i & 3]!;
      const m = directed(F64, (st) => op(F64, a, b, st));
      if (isNaN(F64, m.near)) continue;
      const [d, u, n, z] = [fromBits(m.down), fromBits(m.up), fromBits(m.near), fromBits(m.zero)];
      expect(d <= n && n <= u).toBe(true);
      expect(n === d || n === u).toBe(true);
      expect(z === (n < 0 || (n === 0 && d < 0) ? u : d)).toBe(true);
      if (d !== u) {
        const st = fpStatus();
        op(F64, a, b, st);
        expect(st.flags & 32).toBe(32);
      }
    }
  });

  it('flags of the standard cases', () => {
    const flags = (op: (st: FpStatus) => void, over: Partial<FpStatus> = {}): number => {
      const st: FpStatus = { ...fpStatus(), ...over };
      op(st);
      return st.flags;
    };
    const b = toBits;
    expect(flags((s) => div(F64, b(1), b(0), s))).toBe(4);
    expect(flags((s) => div(F64, b(0), b(0), s))).toBe(1);
    expect(flags((s) => mul(F64, b(1e300), b(1e300), s))).toBe(8 | 32);
    expect(flags((s) => mul(F64, b(1e-200), b(1e-200), s))).toBe(16 | 32);
    expect(flags((s) => add(F64, b(5e-324), b(5e-324), s))).toBe(2);
    expect(flags((s) => add(F64, b(5e-324), b(5e-324), s), { daz: true })).toBe(0);
    expect(flags((s) => div(F64, b(2.2250738585072014e-308), b(2), s))).toBe(0);
    expect(flags((s) => div(F64, b(2.2250738585072014e-308), b(2), s), { unmasked: 16 })).toBe(16);
    expect(flags((s) => div(F64, b(2.2250738585072014e-308), b(2), s), { ftz: true })).toBe(16 | 32);
    expect(flags((s) => sqrt(F64, b(-1), s))).toBe(1);
    expect(flags((s) => add(F64, 0x7ff0_0000_0000_0001n, b(1), s))).toBe(1);
    expect(add(F64, 0x7ff0_0000_0000_0001n, b(1), fpStatus())).toBe(0x7ff8_0000_0000_0001n);
    expect(sqrt(F64, b(-1), fpStatus())).toBe(0xfff8_0000_0000_0000n);
    expect(convert(F64, F16, b(65520), fpStatus())).toBe(0x7c00n);
    expect(convert(F64, F16, b(65519), fpStatus())).toBe(0x7bffn);
  });

  it('fused multiply-add is exact', () => {
    // (1 + 2^-52)^2 - (1 + 2^-51) = 2^-104
    const x = toBits(1 + 2 ** -52);
    expect(fma(F64, x, x, toBits(-(1 + 2 ** -51)), fpStatus())).toBe(toBits(2 ** -104));
    expect(fma(F64, toBits(1e308), toBits(10), toBits(-Infinity), fpStatus())).toBe(toBits(-Infinity));
    const r = rng(31);
    for (let i = 0; i < 3000; i++) {
      const [a, b] = [Math.fround(randomDouble(r) % 1e10), Math.fround(randomDouble(r) % 1e10)];
      if (Number.isNaN(a) || Number.isNaN(b)) continue;
      // The product of two floats is exact in a double, so the double sum has one rounding.
      const c = randomDouble(r);
      const p = a * b;
      if (p !== 0 && Math.abs(p) < 1e-300) continue;
      expect(same(fma(F64, toBits(a), toBits(b), toBits(c), fpStatus()), p + c), `${a} ${b} ${c}`).toBe(true);
    }
  });

  it('isqrt and bitLength', () => {
    const r = rng(5);
    for (let i = 0; i < 500; i++) {
      let x = 1n;
      for (let k = r() % 60; k >= 0; k--) x = (x << 32n) | BigInt(r());
      x = (x >> BigInt(r() % 64)) | 1n;
      const s = isqrt(x);
      expect(s * s <= x && (s + 1n) * (s + 1n) > x).toBe(true);
      expect(bitLength(x)).toBe(x.toString(2).length);
      expect(bitLength((1n << BigInt(i)) - 1n)).toBe(i);
      expect(bitLength(1n << BigInt(i))).toBe(i + 1);
    }
  });
});
