/** Vector operations against published vectors, and the helpers; no host features needed. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { X, gpr, mmx, xmm } from '#lib/engine/guest/x86/mode.js';
import { Gather, VECTOR_HELPER_NAMES, maskMoveImm } from '#lib/engine/guest/x86/vector/helpers.js';
import { VECTOR_OPS, type VectorSystemCpu, defineVectorOps, helperName } from '#lib/engine/guest/x86/vector/index.js';
import { STR_EXPLICIT, STR_MASK } from '#lib/engine/guest/x86/vector/ops-string.js';
import { OpcodeTable } from '#lib/engine/guest/x86/opcodes.js';
import { INTEGER_ROWS } from '#lib/engine/guest/x86/tables.js';
import { VECTOR_ROWS } from '#lib/engine/guest/x86/vector/table.js';
import { HelperRegistry } from '#lib/engine/helpers.js';
import { STATE_BYTES, Slot, flagsToEflags } from '#lib/engine/state.js';

const buffer = new ArrayBuffer(STATE_BYTES);
const V = new Int32Array(buffer);
const U8 = new Uint8Array(buffer);
const U32 = new Uint32Array(buffer);
const Q = new BigUint64Array(buffer);
class Raised extends Error {
  constructor(readonly vector: number) {
    super(`exception ${vector}`);
  }
}
/** Linear addresses of these tests: offsets in MEM; FAULT_AT faults. */
const MEM = new Uint8Array(4096);
let faultAt = -1;
const at = (slot: number, n: number): number => {
  const x = Number(Q[slot]!);
  if (faultAt >= x && faultAt < x + n) throw new Raised(14);
  return x;
};
let mxcsrChanges = 0;
const raise = (vector: number): never => {
  throw new Raised(vector);
};
const cpu: VectorSystemCpu = {
  V, U8, raise, raiseError: raise, raiseSimd: () => raise(19),
  mxcsrChanged: () => void mxcsrChanges++,
  load: (w, a, d) => {
    const x = at(a, 1 << w);
    Q[d] = 0n;
    U8.set(MEM.subarray(x, x + (1 << w)), d * 8);
  },
  store: (w, a, s) => {
    const x = at(a, 1 << w);
    MEM.set(U8.subarray(s * 8, s * 8 + (1 << w)), x);
  },
  segmentCheck: () => undefined,
};
const registry = new HelperRegistry<VectorSystemCpu>();
const ids = defineVectorOps(registry);

const set = (r: number, hex: string): void => {
  U8.fill(0, xmm(r) * 8, xmm(r) * 8 + 32);
  U8.set(Buffer.from(hex, 'hex'), xmm(r) * 8);
};
const get = (r: number, n = 16): string => Buffer.from(U8.slice(xmm(r) * 8, xmm(r) * 8 + n)).toString('hex');
const op = (name: string, d: number, a: number, b = -1, c = -1, imm = 0): void => {
  registry.list[registry.id(name)]!.fn(cpu, xmm(d), xmm(a), b < 0 ? -1 : xmm(b), c < 0 ? -1 : xmm(c), imm);
};
const help = (name: string, d: number, a: number, b: number, c: number, imm: number): void => {
  registry.list[registry.id(name)]!.fn(cpu, d, a, b, c, imm);
};

describe('registration', () => {
  it('gives every operation an id and every helper a name', () => {
    expect(ids.length).toBe(VECTOR_OPS.length);
    VECTOR_OPS.forEach((o, i) => expect(registry.list[ids[i]!]!.name).toBe(helperName(o)));
    for (const n of VECTOR_HELPER_NAMES) expect(registry.id(n)).toBeGreaterThan(0);
    expect(VECTOR_OPS.length).toBeLessThan(0x1000);
  });
  it('has rows that overlap neither each other nor the integer instructions', () => {
    const t = new OpcodeTable([...INTEGER_ROWS, ...VECTOR_ROWS]);
    expect(t.conflicts).toEqual([]);
    expect(t.rows.length).toBe(INTEGER_ROWS.length + VECTOR_ROWS.length + 1);
  });
});

describe('crypto', () => {
  /** Key schedule of AES-128 in registers 4..14 (Intel AES-NI white paper, key expansion). */
  function expandKey(key: string): void {
    set(4, key);
    const rcon = [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36];
    for (let i = 0; i < 10; i++) {
      op('v.aeskeygenassist.128', 2, 4 + i, -1, -1, rcon[i]);
      const t = V[xmm(2) * 2 + 3]!;
      let w = 0;
      for (let k = 0; k < 4; k++) {
        w = k === 0 ? V[xmm(4 + i) * 2]! ^ t : w ^ V[xmm(4 + i) * 2 + k]!;
        V[xmm(5 + i) * 2 + k] = w;
      }
    }
  }
  it('encrypts and decrypts FIPS-197 appendix C.1', () => {
    expandKey('000102030405060708090a0b0c0d0e0f');
    expect(get(14)).toBe('13111d7fe3944a17f307a78b4d2b30c5');
    set(0, '00112233445566778899aabbccddeeff');
    op('v.pxor.128', 0, 0, 4);
    for (let i = 1; i < 10; i++) op('v.aesenc.128', 0, 0, 4 + i);
    op('v.aesenclast.128', 0, 0, 14);
    expect(get(0)).toBe('69c4e0d86a7b0430d8cdb78070b4c55a');
    op('v.pxor.128', 0, 0, 14);
    for (let i = 9; i > 0; i--) {
      op('v.aesimc.128', 1, 4 + i);
      op('v.aesdec.128', 0, 0, 1);
    }
    op('v.aesdeclast.128', 0, 0, 4);
    expect(get(0)).toBe('00112233445566778899aabbccddeeff');
  });
  it('multiplies polynomials (Intel carry-less multiplication white paper)', () => {
    set(1, '5d47535d726f74636556747365545b7b');
    set(2, '5d6e6f726575475b2979616853286948');
    const r = (imm: number): string => {
      op('v.pclmulqdq.128', 0, 1, 2, -1, imm);
      return Buffer.from(get(0), 'hex').reverse().toString('hex');
    };
    expect(r(0)).toBe('1d4d84c85c3440c0929633d5d36f0451');
    expect(r(0x11)).toBe('1d1e1f2c592e7c45d66ee03e410fd4ed');
    expect(r(0x10)).toBe('1bd17c8d556ab5a17fa540ac2a281315');
    expect(r(0x01)).toBe('1a2bf6db3a30862fbabf262df4b7d5c9');
  });

  const K = (() => {
    const frac = (x: number): number => Math.floor((x - Math.floor(x)) * 2 ** 32);
    const primes: number[] = [];
    for (let p = 2; primes.length < 64; p++) if (primes.every((q) => p % q !== 0)) primes.push(p);
    return { k: primes.map((p) => frac(Math.cbrt(p))), h: primes.slice(0, 8).map((p) => frac(Math.sqrt(p))) };
  })();
  it('computes SHA-256 of one block', () => {
    const block = new Uint8Array(64);
    block.set(Buffer.from('abc'));
    block[3] = 0x80;
    block[63] = 24;
    const words = new DataView(block.buffer);
    const setWords = (r: number, w: readonly number[]): void => w.forEach((x, i) => (V[xmm(r) * 2 + i] = x));
    const [a, b, c, d, e, f, g, h] = K.h as [number, number, number, number, number, number, number, number];
    setWords(1, [f, e, b, a]);
    setWords(2, [h, g, d, c]);
    for (let i = 0; i < 4; i++) setWords(4 + i, [0, 1, 2, 3].map((k) => words.getUint32(16 * i + 4 * k)));
    for (let r = 0; r < 16; r++) {
      setWords(3, K.k.slice(4 * r, 4 * r + 4));
      op('v.paddd.128', 0, 3, 4 + (r & 3));
      // Two rounds, then two more with the upper words; the roles of the two state registers swap each time.
      op('v.sha256rnds2.128', 2, 2, 1, 0);
      op('v.pshufd.128', 0, 0, -1, -1, 0x0e);
      op('v.sha256rnds2.128', 1, 1, 2, 0);
      if (r < 12) {
        const [w0, w1, w2, w3] = [4 + (r & 3), 4 + ((r + 1) & 3), 4 + ((r + 2) & 3), 4 + ((r + 3) & 3)] as const;
        op('v.sha256msg1.128', w0, w0, w1);
        op('v.palignr.128', 10, w3, w2, -1, 4);
        op('v.paddd.128', w0, w0, 10);
        op('v.sha256msg2.128', w0, w0, w3);
      }
    }
    const out = Buffer.alloc(32);
    const s1 = [3, 2, 1, 0].map((i) => U32[xmm(1) * 2 + i]!);
    const s2 = [3, 2, 1, 0].map((i) => U32[xmm(2) * 2 + i]!);
    [s1[0]! + a, s1[1]! + b, s2[0]! + c, s2[1]! + d, s1[2]! + e, s1[3]! + f, s2[2]! + g, s2[3]! + h].forEach((x, i) => out.writeUInt32BE(x % 2 ** 32, 4 * i));
    expect(out.toString('hex')).toBe(createHash('sha256').update('abc').digest('hex'));
  });
});

describe('strings', () => {
  const text = (r: number, s: string): void => set(r, Buffer.from(s.padEnd(16, '\0'), 'latin1').toString('hex'));
  const run = (a: number, b: number, imm: number): void => help('x86.pcmpstr', -1, xmm(a), xmm(b), -1, imm);
  const flags = (): number => flagsToEflags(V[Slot.FLAGS * 2]!) & 0x8d5;
  it('finds a substring (equal ordered)', () => {
    text(1, 'low');
    text(2, 'hello lowlands');
    run(1, 2, 0x0c);
    expect(V[X.RCX * 2]).toBe(6);
    expect(flags() & 1).toBe(1);
  });
  it('finds any of a set, and reports the end of strings', () => {
    text(1, 'xyz');
    text(2, 'hello');
    run(1, 2, 0);
    expect(V[X.RCX * 2]).toBe(16);
    expect(flags()).toBe(0x40 | 0x80);
    text(1, 'ol');
    run(1, 2, 0);
    expect(V[X.RCX * 2]).toBe(2);
    run(1, 2, 0x40);
    expect(V[X.RCX * 2]).toBe(4);
  });
  it('compares each, negated: strcmp', () => {
    text(1, 'same prefix');
    text(2, 'same pretext');
    run(1, 2, 0x18);
    expect(V[X.RCX * 2]).toBe(8);
    run(1, 1, 0x18);
    expect(V[X.RCX * 2]).toBe(16);
  });
  it('takes explicit lengths and writes masks', () => {
    text(1, 'aaaaaaaaaaaaaaaa');
    text(2, 'aaaaaaaaaaaaaaaa');
    V[X.RAX * 2] = -3;
    V[X.RDX * 2] = 100;
    run(1, 2, 0x08 | STR_EXPLICIT | STR_MASK | 0x40);
    expect(get(0)).toBe('ffffff' + '00'.repeat(13));
    run(1, 2, 0x08 | STR_EXPLICIT | STR_MASK);
    expect(get(0)).toBe('0700' + '00'.repeat(14));
  });
});

describe('helpers', () => {
  it('enters and leaves the MMX state', () => {
    const s = Slot.FPU * 2;
    V[s] = 0x037f | (0x3800 << 16);
    V[s + 1] = 0;
    V[(mmx(3) + 1) * 2] = 0;
    help('x86.mmx.enter', -1, -1, -1, -1, 3);
    expect(V[s]! >>> 16).toBe(0);
    expect(V[s + 1]! & 0xff).toBe(0xff);
    expect(V[(mmx(3) + 1) * 2]! & 0xffff).toBe(0xffff);
    help('x86.emms', -1, -1, -1, -1, 0);
    expect(V[s + 1]! & 0xff).toBe(0);
    V[s] = 0x80 << 16;
    expect(() => help('x86.mmx.enter', -1, -1, -1, -1, -1)).toThrow('exception 16');
    V[s] = 0x037f;
  });
  it('checks MXCSR', () => {
    V[gpr(0) * 2] = 0x10000;
    expect(() => help('x86.ldmxcsr', -1, gpr(0), -1, -1, 0)).toThrow('exception 13');
    V[gpr(0) * 2] = 0x1f00;
    const n = mxcsrChanges;
    help('x86.ldmxcsr', -1, gpr(0), -1, -1, 0);
    expect(mxcsrChanges).toBe(n + 1);
    help('x86.stmxcsr', gpr(1), -1, -1, -1, 0);
    expect(V[gpr(1) * 2]).toBe(0x1f00);
    V[Slot.MXCSR * 2] = 0x1f80;
  });
  it('stores and loads under a mask without touching what is masked', () => {
    MEM.fill(0x55);
    set(1, '000102030405060708090a0b0c0d0e0f');
    set(2, 'ff00ff0000000000800000000000007f');
    Q[gpr(7)] = 100n;
    faultAt = 101;
    help('x86.mask.store', -1, gpr(7), xmm(1), xmm(2), maskMoveImm(0, 4));
    expect(Buffer.from(MEM.slice(100, 116)).toString('hex')).toBe('005502555555555508555555555555' + '55');
    set(2, '00000080000000000000008000000000');
    faultAt = 105;
    help('x86.mask.load', xmm(3), gpr(7), -1, xmm(2), maskMoveImm(2, 4));
    expect(get(3)).toBe('00550255' + '00000000' + '08555555' + '00000000');
    set(2, '00000080000000800000000000000000');
    const before = get(3);
    expect(() => help('x86.mask.load', xmm(3), gpr(7), -1, xmm(2), maskMoveImm(2, 4))).toThrow('exception 14');
    expect(get(3)).toBe(before);
    faultAt = -1;
  });
  it('gathers restartably', () => {
    for (let i = 0; i < 64; i++) new DataView(MEM.buffer).setUint32(i * 4, 1000 + i, true);
    Q[gpr(0)] = 40n;
    set(1, '0000000002000000feffffff0a000000');
    set(2, '00000080000000800000008000000080');
    set(3, '');
    faultAt = 40 - 8;
    const imm = 2 | (Gather.NO_SEG << Gather.SEG_SHIFT);
    expect(() => help('x86.gather', xmm(3), gpr(0), xmm(1), xmm(2), imm)).toThrow('exception 14');
    expect(V[xmm(3) * 2]).toBe(1010);
    expect(V[xmm(3) * 2 + 1]).toBe(1012);
    expect(V[xmm(2) * 2 + 1]).toBe(0);
    expect(V[xmm(2) * 2 + 2]).toBe(-1);
    faultAt = -1;
    help('x86.gather', xmm(3), gpr(0), xmm(1), xmm(2), imm);
    expect([0, 1, 2, 3].map((i) => V[xmm(3) * 2 + i])).toEqual([1010, 1012, 1008, 1020]);
    expect(get(2, 32)).toBe('00'.repeat(32));
  });
});

describe('approximations', () => {
  it('keep RCPPS and RSQRTPS within 1.5 * 2^-12', () => {
    const f = new Float32Array(buffer);
    for (let n = 0; n < 2000; n++) {
      const x = Math.fround((n + 1) * 0.37 * 2 ** ((n % 60) - 30));
      f[xmm(1) * 2] = x;
      op('v.rcpps.128', 0, 1);
      expect(Math.abs(f[xmm(0) * 2]! * x - 1)).toBeLessThan(1.5 / 4096);
      op('v.rsqrtps.128', 0, 1);
      expect(Math.abs(f[xmm(0) * 2]! * Math.sqrt(x) - 1)).toBeLessThan(1.5 / 4096);
    }
  });
});
