/** Every vector operation that has a native form, against the host CPU. */
import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from '#lib/native.js';
import { Slot } from '#lib/engine/state.js';
import { X, xmm } from '#lib/engine/guest/x86/mode.js';
import { VECTOR_OPS, type VectorOp } from '#lib/engine/guest/x86/vector/index.js';
import { A, B, C, D, Host, SimdTrap, hasImm, random, writesGeneral } from './vector-host.js';

const CASES = Number(process.env['VMX_VECTOR_CASES'] ?? 200);
const linuxX64 = process.platform === 'linux' && process.arch === 'x64';

const F32 = [0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f812345, 0xffa00001, 1, 0x80000001, 0x007fffff, 0x807fffff,
  0x00800000, 0x80800000, 0x00800001, 0x7f7fffff, 0xff7fffff, 0x4f000000, 0xcf000000, 0x4effffff, 0x4f7fffff, 0x5f000000, 0xdf000000, 0x3f000000, 0x3fc00000, 0x40200000, 0x4b000001, 0x33800000, 0x34000000, 0x3fffffff, 0x1f800000, 0x20000000, 0x477fe000, 0x477ff000, 0x38800000, 0x387fc000, 0x33000000, 0x40800000];
const F64: [number, number][] = [[0, 0], [0x80000000, 0], [0x3ff00000, 0], [0xbff00000, 0], [0x7ff00000, 0], [0xfff00000, 0], [0x7ff80000, 0], [0xfff80000, 0x1234], [0x7ff00000, 1], [0xfff40000, 77],
  [0, 1], [0x80000000, 5], [0x000fffff, 0xffffffff], [0x00100000, 0], [0x80100000, 1], [0x7fefffff, 0xffffffff], [0xffefffff, 0xffffffff], [0x41e00000, 0], [0xc1e00000, 0], [0xc1e00000, 0x00200000], [0x41dfffff, 0xffc00000], [0x41dfffff, 0xffe00000],
  [0x43e00000, 0], [0xc3e00000, 0], [0x43dfffff, 0xffffffff], [0x3fe00000, 0], [0x3ff80000, 0], [0x40040000, 0], [0x43300000, 1], [0x3ca00000, 0], [0x3cb00000, 0], [0x3fffffff, 0xffffffff], [0x36a00000, 0], [0x380fffff, 0xe0000000], [0x380fffff, 0xf0000001], [0x47efffff, 0xe0000000], [0x47efffff, 0xf0000000], [0x369fffff, 0], [0x1ff00000, 0], [0x20000000, 3]];

/** Fills 32 bytes with one of several mixtures. */
function fill(next: () => number, V: Int32Array, slot: number): void {
  const kind = next() % 8;
  const o = slot * 2;
  const base = next();
  for (let i = 0; i < 8; i++) {
    const r = next();
    switch (kind) {
      case 0:
        V[o + i] = r;
        break;
      case 1: // special singles
      case 2:
        V[o + i] = F32[r % F32.length]! ^ (next() % 4 === 0 ? next() % 3 : 0);
        break;
      case 3: // special doubles
      case 4: {
        const f = F64[(i & 1 ? base + i : base + i + 1) % F64.length]!;
        V[o + i] = i & 1 ? f[0] : f[1];
        if (i & 1 && r % 3 === 0) {
          const g = F64[(r >>> 4) % F64.length]!;
          V[o + i] = g[0];
          V[o + i - 1] = g[1];
        }
        break;
      }
      case 5: // ordinary singles of similar size
        V[o + i] = (r & 0x807fffff) | ((120 + (next() % 16)) << 23);
        if (next() % 3 === 0) V[o + i]! &= 0xffff0000;
        break;
      case 6: // ordinary doubles of similar size
        if (i & 1) V[o + i] = (r & 0x800fffff) | ((1015 + (next() % 16)) << 20);
        else V[o + i] = next() % 3 === 0 ? 0 : r;
        break;
      default: // bytes from a small set: comparisons, saturation, shuffles
        V[o + i] = [0, 1, -1, 0x7f, 0x80, 0x00ff00ff, 0x7fff8000, 3, 17, 0x80808080, 0x01020304, 31, 64, 0x7fffffff][r % 14]!;
    }
  }
}

interface Outcome {
  readonly trap: boolean;
  readonly mxcsr: number;
  readonly data: string;
  readonly flags: number;
}

const usable = (host: Host, op: VectorOp, vex: boolean): boolean => {
  const f = op.native!;
  if (vex) return !f.legacyOnly && op.w !== 3 && host.features.has('avx') && host.features.has(f.feature);
  return !f.vexOnly && host.features.has(f.feature);
};

const VECTORS = [A, B, C, D].map((r) => xmm(r));

function compare(host: Host, op: VectorOp, vex: boolean, cases: number, unmasked: boolean, seed: number): void {
  const f = op.native!;
  const next = random(seed);
  host.reset();
  const imms = hasImm(f) ? (op.name.startsWith('cmp') ? Array.from({ length: vex ? 32 : 8 }, (_, i) => i) : [0, 1, 0xff, 8, 16, ...Array.from({ length: 19 }, () => next() & 0xff)]) : [0];
  const entries = imms.map((imm) => host.assemble(op, vex, imm));
  const { V, U8 } = host;
  const bytes = writesGeneral(f) ? 8 : op.w === 3 ? 8 : vex ? 32 : 16;
  const dstSlot = writesGeneral(f) ? X.RAX : xmm(D);
  for (let n = 0; n < cases; n++) {
    for (const s of VECTORS) fill(next, V, s);
    if (next() % 4 === 0) for (let i = 0; i < 8; i++) V[xmm(B) * 2 + i] = V[xmm(A) * 2 + i]!;
    V[X.RCX * 2] = next();
    V[X.RCX * 2 + 1] = next() % 2 ? 0 : next();
    if (next() % 2) V[X.RCX * 2] = [0, 1, -1, 0x7fffffff, -0x80000000, 0x01000001, 0x00ffffff][next() % 7]!;
    V[X.RAX * 2] = V[X.RAX * 2 + 1] = -1;
    let mxcsr = 0x1f80;
    const r = next();
    if (op.fp) mxcsr = (unmasked ? r & 0x1f80 : 0x1f80) | (r & 0x6000) | (r & 0x10000 ? 0x40 : 0) | (r & 0x20000 ? 0x8000 : 0) | (r & 0xc0000 ? 0 : next() & 0x3f);
    // A flag that is already set does not raise again; the processor still traps on a new occurrence.
    V[Slot.MXCSR * 2] = mxcsr;
    const which = n % imms.length;
    const before = U8.slice(0, 0x1000);
    const trap = host.run(entries[which]!);
    const expected: Outcome = {
      trap,
      mxcsr: V[Slot.MXCSR * 2]!,
      data: trap ? '' : Buffer.from(U8.slice(dstSlot * 8, dstSlot * 8 + bytes)).toString('hex'),
      flags: f.form === 'cmp' && !trap ? host.hostFlags() : 0,
    };
    U8.set(before);
    V[Slot.FLAGS * 2] = 0;
    // The destination may be any operand.
    let d = dstSlot;
    if (!writesGeneral(f)) {
      const c = next() % 4;
      if (c === 1) d = xmm(A);
      if (c === 2 && !['gr', 'rvg', 'gri'].includes(f.form)) d = xmm(B);
      if (c === 3 || f.form === 'fma') d = xmm(C);
    }
    const a = f.form === 'gr' ? X.RCX : xmm(A);
    const b = f.form === 'rvg' || f.form === 'gri' ? X.RCX : xmm(B);
    let trapped = false;
    try {
      op.fn(host.cpu, d, a, b, xmm(C), imms[which]!);
    } catch (e) {
      if (!(e instanceof SimdTrap)) throw e;
      trapped = true;
    }
    // What ZEROU does after a VEX.128 instruction.
    if (vex && op.w === 4 && bytes === 32 && !trapped) U8.fill(0, d * 8 + 16, d * 8 + 32);
    const got: Outcome = {
      trap: trapped,
      mxcsr: V[Slot.MXCSR * 2]!,
      data: trapped || trap || f.form === 'cmp' ? expected.data : Buffer.from(U8.slice(d * 8, d * 8 + bytes)).toString('hex'),
      flags: f.form === 'cmp' && !trapped ? V[Slot.FLAGS * 2]! : 0,
    };
    if (trapped) expect(Buffer.from(U8.slice(d * 8, d * 8 + bytes)).equals(Buffer.from(before.slice(d * 8, d * 8 + bytes))), `${op.name}: destination written before a trap`).toBe(true);
    if (got.trap !== expected.trap || got.mxcsr !== expected.mxcsr || got.data !== expected.data || got.flags !== expected.flags) {
      const show = (s: number): string => Buffer.from(before.slice(s * 8, s * 8 + 32)).toString('hex');
      expect({ ...got, mxcsr: got.mxcsr.toString(16) }, `${op.name}.${8 << op.w} ${vex ? 'vex' : 'legacy'} imm ${imms[which]!.toString(16)} mxcsr ${mxcsr.toString(16)}\na ${show(xmm(A))}\nb ${show(xmm(B))}\nc ${show(xmm(C))}\nrcx ${show(X.RCX).slice(0, 16)} case ${n}`).toEqual({ ...expected, mxcsr: expected.mxcsr.toString(16) });
    }
  }
}

describe.runIf(linuxX64)('vector operations against the host CPU', () => {
  const host = new Host(loadNative());
  // Lets the test runner's messages through: the tests themselves never wait.
  afterEach(() => new Promise((done) => setImmediate(done)));
  for (const [i, op] of VECTOR_OPS.entries()) {
    if (op.native === undefined || op.approximate) continue;
    for (const vex of [false, true]) {
      if (!usable(host, op, vex)) continue;
      it(`${op.name}.${8 << op.w}${vex ? ' vex' : ''}`, () => {
        compare(host, op, vex, CASES, false, i * 2 + Number(vex) + 1);
        if (op.fp) compare(host, op, vex, CASES >> 1, true, i + 77777);
      });
    }
  }
});
