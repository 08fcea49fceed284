/** Memory contents and register values that matter: special floating-point numbers, small and extreme integers, noise. */
import { DATA_BYTES, Rng, S } from './state.js';

const POOL_BYTES = DATA_BYTES + 0x8000;
const SPECIAL64 = [0n, 1n, 0xffff_ffff_ffff_ffffn, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0xffff_ffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffff_8000_0000n, 0x1_0000_0000n, 0x80n, 0xff80n, 0x7f7fn, 0x8000n];
const EXP80 = [0, 1, 0x7fff, 0x7ffe, 16383, 16383 + 31, 16383 + 63, 16383 + 64, 16383 - 126, 16383 - 1022, 16383 + 127, 16383 + 1023, 16382];
const SIG80 = [1n << 63n, (1n << 64n) - 1n, (1n << 63n) | 1n, 3n << 62n, 1n, 0n, (1n << 63n) | 0x400n];

export function float64(r: Rng): bigint {
  const e = BigInt(r.pick([0, 0x7ff, 1, 0x7fe, 1023, r.below(2048), 1000 + r.below(60), 1015 + r.below(20)]));
  const m = r.chance(25) ? 0n : r.chance(10) ? 1n << 51n : r.bits64() & ((1n << 52n) - 1n) & (r.chance(30) ? ~0xfff_ffffn : ~0n);
  return (BigInt(r.below(2)) << 63n) | (e << 52n) | m;
}

export function float32(r: Rng): number {
  const e = r.pick([0, 0xff, 1, 0xfe, 127, r.below(256), 110 + r.below(40), 122 + r.below(12)]);
  const m = r.chance(25) ? 0 : r.chance(10) ? 0x40_0000 : r.next() & 0x7f_ffff & (r.chance(30) ? ~0xfff : ~0);
  return (((r.next() & 1) << 31) | (e << 23) | m) >>> 0;
}

/** 80-bit number: significand and sign/exponent. */
export function float80(r: Rng): { sig: bigint; exp: number } {
  const e = r.chance(25) ? r.pick(EXP80) : r.chance(50) ? 16343 + r.below(80) : r.below(32768);
  let sig = r.chance(25) ? r.pick(SIG80) : r.bits64() | (1n << 63n);
  if (r.chance(20)) sig &= ~((1n << BigInt(r.below(63))) - 1n);
  if (e !== 0 && !r.chance(5)) sig |= 1n << 63n;
  return { sig, exp: e | ((r.next() & 1) << 15) };
}

export function integer64(r: Rng): bigint {
  switch (r.below(6)) {
    case 0: return r.pick(SPECIAL64);
    case 1: return BigInt(r.below(256)) - (r.chance(40) ? 128n : 0n);
    case 2: return 1n << BigInt(r.below(64));
    case 3: return r.bits64() >> BigInt(r.below(64));
    default: return r.bits64();
  }
}

let pool: Uint8Array | undefined;

/** Bytes from which cases take their memory; the same in every run. */
export function memoryPool(): Uint8Array {
  if (pool !== undefined) return pool;
  const r = new Rng(0x5eed);
  const v = new DataView(new ArrayBuffer(POOL_BYTES));
  for (let at = 0; at + 16 <= POOL_BYTES; ) {
    const kind = r.below(6);
    if (kind === 0) {
      for (let k = 0; k < 4; k++) v.setUint32(at + k * 4, float32(r), true);
    } else if (kind === 1) {
      v.setBigUint64(at, float64(r), true);
      v.setBigUint64(at + 8, float64(r), true);
    } else if (kind === 2) {
      const f = float80(r);
      v.setBigUint64(at, f.sig, true);
      v.setUint16(at + 8, f.exp, true);
    } else if (kind === 3) {
      v.setBigUint64(at, BigInt.asUintN(64, integer64(r)), true);
      v.setBigUint64(at + 8, BigInt.asUintN(64, integer64(r)), true);
    } else {
      for (let k = 0; k < 4; k++) v.setUint32(at + k * 4, r.next(), true);
    }
    at += 16;
  }
  return (pool = new Uint8Array(v.buffer));
}

/** Offset in the pool at which a case's memory starts. */
export function poolOffset(r: Rng): number {
  return r.below((POOL_BYTES - DATA_BYTES) / 8) * 8;
}

/** Floating-point and vector part of a state. */
export function randomFpState(r: Rng, s: Uint8Array, unmasked: boolean): void {
  const v = new DataView(s.buffer, s.byteOffset);
  // RC, FTZ, DAZ, masks, sticky flags (SDM vol. 1, 10.2.3).
  let mxcsr = 0x1f80;
  if (r.chance(60)) mxcsr |= (r.below(4) << 13) | (r.chance(20) ? 0x8000 : 0) | (r.chance(20) ? 0x40 : 0) | (r.next() & 0x3f);
  if (unmasked && r.chance(60)) mxcsr &= ~(r.next() & 0x1f80) & ~0x3f;
  v.setUint32(S.MXCSR, mxcsr, true);
  let fcw = 0x37f;
  if (r.chance(50)) fcw = 0x7f | (r.pick([0, 2, 3]) << 8) | (r.below(4) << 10);
  let fsw = (r.below(8) << 11) | (r.next() & 0x4700);
  if (r.chance(40)) fsw |= r.next() & 0x3f;
  if (unmasked && r.chance(60)) {
    fcw &= ~(r.next() & 0x3f);
    fsw &= ~0x3f;
  }
  // SF is sticky and comes with IE.
  if (r.chance(5)) fsw |= 0x41;
  if ((fsw & ~fcw & 0x3f) !== 0) fsw &= ~0x7f;
  v.setUint16(S.FCW, fcw, true);
  v.setUint16(S.FSW, fsw, true);
  // Mostly a partly filled stack from TOP on.
  const top = (fsw >> 11) & 7;
  const depth = r.chance(20) ? r.below(9) : 2 + r.below(5);
  let tags = r.chance(5) ? r.below(256) : 0;
  for (let i = 0; i < depth; i++) tags |= 1 << ((top + i) & 7);
  v.setUint8(S.FTW, tags);
  for (let i = 0; i < 8; i++) {
    const f = float80(r);
    v.setBigUint64(S.X87 + i * 16, f.sig, true);
    v.setUint16(S.X87 + i * 16 + 8, f.exp, true);
  }
  const from = memoryPool();
  for (let i = 0; i < 16; i++) {
    const at = r.below((POOL_BYTES - 32) / 16) * 16;
    s.set(from.subarray(at, at + 32), S.YMM + i * 32);
  }
}
