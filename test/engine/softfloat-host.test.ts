import { describe, expect, it } from 'vitest';
import { F16, F32, F64, add, compare, convert, div, fma, fromInt, mul, roundToInt, sqrt, sub, toInt } from '#lib/engine/softfloat/softfloat.js';
import type { FpFormat, FpStatus } from '#lib/engine/softfloat/softfloat.js';
import { STATE_BYTES } from '#lib/engine/state.js';
import { VmxError } from '#lib/errors.js';
import { loadNative } from '#lib/native.js';
import { random32, random64, rng } from './x86/x87-host.js';

/** Byte offsets in the state region. */
const A = 0x2000;
const B = 0x2010;
const C = 0x2020;
const OUT = 0x2030;
const MXCSR = 0x2040;
const DEFAULT = 0x2050;
const RAX_OUT = 0x2060;
const FLAGS = 0x2070;

function setup(): { prepare(code: readonly number[]): void; run(mxcsr: number, a: bigint, b: bigint, c: bigint): { out: bigint; rax: bigint; flags: number; rflags: number } } | undefined {
  if (process.arch !== 'x64') return undefined;
  try {
    const n = loadNative();
    const state = n.allocState(STATE_BYTES);
    const exec = n.allocExec(4096);
    const context = n.createContext(state, exec);
    const code = new Uint8Array(exec.buffer);
    const view = new DataView(state.buffer);
    const d = (x: number): number[] => [x & 0xff, x >> 8, 0, 0];
    view.setUint32(DEFAULT, 0x1f80, true);
    return {
      prepare(op) {
        code.set([
          0x0f, 0xae, 0x97, ...d(MXCSR), 0x0f, 0x10, 0x87, ...d(A), 0x0f, 0x10, 0x8f, ...d(B), 0x0f, 0x10, 0x97, ...d(C), 0x48, 0x8b, 0x87, ...d(A),
          ...op,
          0x9c, 0x8f, 0x87, ...d(FLAGS), 0x48, 0x89, 0x87, ...d(RAX_OUT), 0x0f, 0x11, 0x87, ...d(OUT),
          0x0f, 0xae, 0x9f, ...d(MXCSR), 0x0f, 0xae, 0x97, ...d(DEFAULT), 0xc3,
        ]);
      },
      run(mxcsr, a, b, c) {
        view.setUint32(MXCSR, mxcsr, true);
        view.setBigUint64(A, a, true);
        view.setBigUint64(B, b, true);
        view.setBigUint64(C, c, true);
        context.run(exec.address);
        return {
          out: view.getBigUint64(OUT, true), rax: view.getBigUint64(RAX_OUT, true),
          flags: view.getUint32(MXCSR, true) & 0x3f, rflags: Number(view.getBigUint64(FLAGS, true) & 0x45n),
        };
      },
    };
  } catch (e) {
    if (e instanceof VmxError) return undefined;
    throw e;
  }
}

const host = setup();
const features = host === undefined ? [] : loadNative().cpuFeatures();

type Gen = (r: () => number) => bigint;
/** [label, code, generator, result mask, soft-float] */
type Case = readonly [string, readonly number[], Gen, 'out' | 'rax' | 'flags', number, (a: bigint, b: bigint, c: bigint, st: FpStatus) => bigint, string?];

const CASES: Case[] = [];
for (const [name, f, gen, p] of [['ss', F32, random32, 0xf3], ['sd', F64, random64, 0xf2]] as const) {
  const bin = (n: string, op: number, fn: (f: FpFormat, a: bigint, b: bigint, st: FpStatus) => bigint): void => {
    CASES.push([n + name, [p, 0x0f, op, 0xc1], gen, 'out', f.width, (a, b, _c, st) => fn(f, a, b, st)]);
  };
  bin('add', 0x58, add);
  bin('sub', 0x5c, sub);
  bin('mul', 0x59, mul);
  bin('div', 0x5e, div);
  CASES.push([`sqrt${name}`, [p, 0x0f, 0x51, 0xc1], gen, 'out', f.width, (_a, b, _c, st) => sqrt(f, b, st)]);
  for (const imm of [4, 0, 1, 2, 3, 12]) {
    CASES.push([`round${name} ${imm}`, [0x66, 0x0f, 0x3a, p === 0xf3 ? 0x0a : 0x0b, 0xc1, imm], gen, 'out', f.width,
      (_a, b, _c, st) => roundToInt(f, b, (imm & 4) !== 0 ? st.rm : imm & 3, (imm & 8) !== 0, st)]);
  }
  for (const [bits, rex] of [[32, []], [64, [0x48]]] as const) {
    CASES.push([`cvt${name}2si${bits}`, [p, ...rex, 0x0f, 0x2d, 0xc1], gen, 'rax', bits, (_a, b, _c, st) => toInt(f, b, bits, true, st.rm, st)]);
    CASES.push([`cvtt${name}2si${bits}`, [p, ...rex, 0x0f, 0x2c, 0xc1], gen, 'rax', bits, (_a, b, _c, st) => toInt(f, b, bits, true, 3, st)]);
    CASES.push([`cvtsi2${name}${bits}`, [p, ...rex, 0x0f, 0x2a, 0xc0], (r) => (BigInt(r()) << 32n) | BigInt(r()), 'out', f.width, (a, _b, _c, st) => fromInt(f, BigInt.asIntN(bits, a), st)]);
  }
  const cmp = (signaling: boolean) => (a: bigint, b: bigint, _c: bigint, st: FpStatus): bigint => [0x40n, 0n, 0x45n, 1n][compare(f, a, b, signaling, st) & 3]!;
  CASES.push([`ucomi${name}`, [...(f === F64 ? [0x66] : []), 0x0f, 0x2e, 0xc1], gen, 'flags', 64, cmp(false)]);
  CASES.push([`comi${name}`, [...(f === F64 ? [0x66] : []), 0x0f, 0x2f, 0xc1], gen, 'flags', 64, cmp(true)]);
  // VFMADD213: xmm0 = xmm1 * xmm0 + xmm2
  CASES.push([`fmadd213${name}`, [0xc4, 0xe2, f === F64 ? 0xf1 : 0x71, 0xa9, 0xc2], gen, 'out', f.width, (a, b, c, st) => fma(f, b, a, c, st), 'fma']);
}
CASES.push(['cvtsd2ss', [0xf2, 0x0f, 0x5a, 0xc1], random64, 'out', 32, (_a, b, _c, st) => convert(F64, F32, b, st)]);
CASES.push(['cvtss2sd', [0xf3, 0x0f, 0x5a, 0xc1], random32, 'out', 64, (_a, b, _c, st) => convert(F32, F64, b, st)]);
// VCVTPH2PS ignores DAZ and raises no DE; VCVTPS2PH ignores FTZ.
CASES.push(['vcvtph2ps', [0xc4, 0xe2, 0x79, 0x13, 0xc1], (r) => BigInt(r() & 0xffff), 'out', 32, (_a, b, _c, st) => {
  st.daz = false;
  const v = convert(F16, F32, b, st);
  st.flags &= ~2;
  return v;
}, 'f16c']);
CASES.push(['vcvtps2ph', [0xc4, 0xe3, 0x79, 0x1d, 0xc8, 4], random32, 'out', 16, (_a, b, _c, st) => {
  st.ftz = false;
  return convert(F32, F16, b, st);
}, 'f16c']);

describe.skipIf(host === undefined)('soft-float against the host (value and MXCSR)', () => {
  for (const [label, code, gen, where, bits, soft, feature] of CASES) {
    it.skipIf(feature !== undefined && !features.includes(feature))(label, () => {
      host!.prepare(code);
      const r = rng(97531);
      for (let i = 0; i < 1500; i++) {
        const rm = r() & 3;
        const daz = (r() & 3) === 0;
        const ftz = (r() & 3) === 0;
        const [a, b, c] = [gen(r), gen(r), gen(r)];
        const st: FpStatus = { rm, flags: 0, daz, ftz };
        const got = soft(a, b, c, st);
        const n = host!.run(0x1f80 | (rm << 13) | (daz ? 0x40 : 0) | (ftz ? 0x8000 : 0), a, b, c);
        const want = where === 'flags' ? BigInt(n.rflags) : BigInt.asUintN(bits, where === 'rax' ? n.rax : n.out);
        const text = `${label} rm ${rm} daz ${daz} ftz ${ftz} a ${a.toString(16)} b ${b.toString(16)} c ${c.toString(16)}`;
        expect(`${got.toString(16)} flags ${st.flags}`, text).toBe(`${want.toString(16)} flags ${n.flags}`);
      }
    });
  }
});
