import { describe, expect, it } from 'vitest';
import { HelperResult } from '#lib/engine/helpers.js';
import { Slot, flagsToEflags } from '#lib/engine/state.js';
import { Cr0, Cr4, Ef } from '#lib/engine/guest/x86/defs.js';
import { Seg, X } from '#lib/engine/guest/x86/mode.js';
import { Str } from '#lib/engine/guest/x86/strings.js';
import { Machine } from './sys-util.js';

const rep = (m: Machine, kind: Str, w: number, aw = 2, seg: number = Seg.DS, repne = 0): number =>
  m.call('rep', w | (kind << 4) | (aw << 8) | (seg << 12) | (repne << 16));

function machine(rcx: number, rsi: number, rdi: number, rax = 0, raxHi = 0): Machine {
  const m = new Machine();
  m.protected();
  m.at(0x5000, 2);
  m.reg(X.RCX, rcx);
  m.reg(X.RSI, rsi);
  m.reg(X.RDI, rdi);
  m.reg(X.RAX, rax, raxHi);
  for (let i = 0; i < 0x8000; i++) m.map.ram8[0x2_0000 + i] = (i * 7 + (i >> 8)) & 0xff;
  return m;
}
const regs = (m: Machine): number[] => [m.lo(X.RCX), m.lo(X.RSI), m.lo(X.RDI)];

/** Plain element-wise MOVS, the reference. */
function reference(m: Machine, n: number, size: number, si: number, di: number, down: boolean): Uint8Array {
  const ram = m.map.ram8.slice(0, 0x6_0000);
  for (let i = 0; i < n; i++) {
    const o = (down ? -i : i) * size;
    const el = ram.slice(si + o, si + o + size);
    ram.set(el, di + o);
  }
  return ram;
}

describe('REP MOVS', () => {
  for (const [name, w, n, si, di, down] of [
    ['across pages', 0, 10000, 0x2_0123, 0x4_0456, false],
    ['misaligned quads', 3, 1000, 0x2_0003, 0x4_0fff, false],
    ['overlap above by one', 0, 5000, 0x2_0000, 0x2_0001, false],
    ['overlap within an element', 2, 3000, 0x2_0000, 0x2_0002, false],
    ['overlap below', 1, 3000, 0x2_0010, 0x2_0000, false],
    ['downwards', 2, 3000, 0x2_6000, 0x4_6001, true],
    ['downwards, overlap below', 0, 3000, 0x2_6000, 0x2_5fff, true],
    ['downwards, overlap above', 1, 3000, 0x2_6000, 0x2_6004, true],
  ] as [string, number, number, number, number, boolean][]) {
    it(name, () => {
      const m = machine(n, si, di);
      const size = 1 << w;
      const want = reference(m, n, size, si, di, down);
      if (down) m.V[X.EFLAGS * 2]! |= Ef.DF;
      expect(rep(m, Str.MOVS, w)).toBe(HelperResult.CONTINUE);
      const d = (down ? -n : n) * size;
      expect(regs(m)).toEqual([0, si + d, di + d]);
      expect(m.pc).toBe(0x5002);
      expect(Buffer.compare(m.map.ram8.subarray(0x2_0000, 0x6_0000), want.subarray(0x2_0000))).toBe(0);
    });
  }

  it('stops at a fault with exact progress and resumes', () => {
    const m = machine(0x2000, 0x2_0000, 0x4_0800);
    m.w32(0x10_0000, 0x10_1003);
    for (let p = 0; p < 1024; p++) m.w32(0x10_1000 + p * 4, p === 0x41 ? 0 : (p << 12) | 3);
    m.cpu.control.loadCr3(0x10_0000, 0);
    m.cpu.control.setCr0(Cr0.PE | Cr0.PG);
    expect(m.fault(() => rep(m, Str.MOVS, 0))).toEqual([14, 2]);
    expect(regs(m)).toEqual([0x1800, 0x2_0800, 0x4_1000]);
    expect(m.cpu.cr2Lo).toBe(0x4_1000);
    m.w32(0x10_1000 + 0x41 * 4, 0x4_1003);
    expect(rep(m, Str.MOVS, 0)).toBe(HelperResult.CONTINUE);
    expect(regs(m)).toEqual([0, 0x2_2000, 0x4_2800]);
  });

  it('gives interrupts a chance in long runs', () => {
    const m = machine(0x3_0000, 0x10_0000, 0x20_0000);
    expect(rep(m, Str.MOVS, 0)).toBe(HelperResult.DISPATCH);
    expect(m.pc).toBe(0x5000);
    expect(m.lo(X.RCX)).toBe(0x2_0000);
    expect(rep(m, Str.MOVS, 0)).toBe(HelperResult.DISPATCH);
    rep(m, Str.MOVS, 0);
    expect(regs(m)).toEqual([0, 0x13_0000, 0x23_0000]);
  });

  it('wraps 16-bit offsets and leaves the upper halves', () => {
    const m = machine(0x1234_0020, 0x5678_fff0, 0x9abc_8000);
    m.cpu.seg.loadData(Seg.DS, 0x10);
    for (let i = 0; i < 16; i++) {
      m.map.ram8[0xfff0 + i] = i + 1;
      m.map.ram8[i] = i + 17;
    }
    rep(m, Str.MOVS, 0, 1);
    expect(regs(m)).toEqual([0x1234_0000, 0x5678_0010, 0x9abc_8020]);
    expect([m.map.ram8[0x8000], m.map.ram8[0x800f], m.map.ram8[0x8010], m.map.ram8[0x801f]]).toEqual([1, 16, 17, 32]);
  });

  it('checks limits element by element', () => {
    const m = machine(0x100, 0, 0x4_0000);
    m.desc(0x1048, 0x2_0000, 0x7f, 0x93);
    m.cpu.seg.loadData(Seg.DS, 0x48);
    expect(m.fault(() => rep(m, Str.MOVS, 2))).toEqual([13, 0]);
    expect(regs(m)).toEqual([0xe0, 0x80, 0x4_0080]);
    expect(m.r32(0x4_007c)).toBe(m.r32(0x2_007c));
  });

  it('does one iteration per step with TF', () => {
    const m = machine(3, 0x2_0000, 0x4_0000);
    m.cpu.flags.set(m.cpu.flags.get() | Ef.TF);
    expect(rep(m, Str.MOVS, 0)).toBe(HelperResult.DISPATCH);
    expect(m.lo(X.RCX)).toBe(2);
    rep(m, Str.MOVS, 0);
    expect(rep(m, Str.MOVS, 0)).toBe(HelperResult.CONTINUE);
  });

  it('uses 64-bit counts and FS bases in 64-bit code', () => {
    const m = new Machine();
    m.long();
    m.at(0x5000);
    m.reg(X.FSBASE, 0x2_0000);
    m.w32(0x2_0010, 0x1122_3344);
    m.reg(X.RCX, 1, 0);
    m.reg(X.RSI, 0x10);
    m.reg(X.RDI, 0x4_0000);
    rep(m, Str.MOVS, 2, 3, Seg.FS);
    expect(m.r32(0x4_0000)).toBe(0x1122_3344);
    m.reg(X.RCX, 5, 1);
    m.reg(X.RDI, 0x4_0000);
    expect(rep(m, Str.STOS, 0, 3)).toBe(HelperResult.DISPATCH);
    expect([m.lo(X.RCX), m.hi(X.RCX)]).toEqual([0xffff_0005, 0]);
  });

  it('reports the bytes of code pages that it writes, once for each page', () => {
    const m = machine(0x1000, 0x2_0000, 0x4_0800);
    m.map.codePages.fill(1, 0x40, 0x42);
    const want = reference(m, 0x1000, 1, 0x2_0000, 0x4_0800, false);
    rep(m, Str.MOVS, 0);
    expect(m.map.codeWrites).toEqual([[0x4_0800, 0x800], [0x4_1000, 0x800]]);
    expect(Buffer.compare(m.map.ram8.subarray(0x2_0000, 0x6_0000), want.subarray(0x2_0000))).toBe(0);
  });

  it('reports code bytes downwards and of STOS, and changes none when the report throws', () => {
    const m = machine(8, 0x2_0000 + 28, 0x4_0000 + 28);
    m.map.codePages[0x40] = 1;
    m.V[X.EFLAGS * 2]! |= Ef.DF;
    rep(m, Str.MOVS, 2);
    expect(m.map.codeWrites).toEqual([[0x4_0000, 32]]);
    expect(m.map.ram8.slice(0x4_0000, 0x4_0020)).toEqual(m.map.ram8.slice(0x2_0000, 0x2_0020));
    const s = machine(16, 0, 0x4_0010, 0x5a);
    s.map.codePages[0x40] = 1;
    rep(s, Str.STOS, 3);
    expect(s.map.codeWrites).toEqual([[0x4_0010, 128]]);
    const t = machine(16, 0, 0x4_0010, 0x5a);
    t.map.codePages[0x40] = 1;
    const before = t.map.ram8.slice(0x4_0000, 0x4_1000);
    t.map.onCodeWrite = (): void => {
      throw new Error('restart');
    };
    expect(() => rep(t, Str.STOS, 3)).toThrow('restart');
    expect(t.map.ram8.slice(0x4_0000, 0x4_1000)).toEqual(before);
    expect(regs(t)).toEqual([16, 0, 0x4_0010]);
  });
});

describe('REP STOS', () => {
  for (const [w, lo, hi] of [[0, 0xab, 0], [1, 0x1234, 0], [1, 0x5555, 0], [2, 0x0102_0304, 0], [3, 0x0102_0304, 0x0506_0708], [3, 0, 0]] as const) {
    it(`width ${w}, value ${hi.toString(16)}:${lo.toString(16)}`, () => {
      const m = machine(1500, 0, 0x4_0ff1, lo, hi);
      rep(m, Str.STOS, w);
      expect(regs(m)).toEqual([0, 0, 0x4_0ff1 + (1500 << w)]);
      const b = new Uint8Array(8);
      new DataView(b.buffer).setUint32(0, lo, true);
      new DataView(b.buffer).setUint32(4, hi, true);
      const size = 1 << w;
      for (let i = 0; i < 1500 * size; i++) if (m.map.ram8[0x4_0ff1 + i] !== b[i % size]) throw new Error(`byte ${i}`);
      expect(m.map.ram8[0x4_0ff0]).toBe(0);
      expect(m.map.ram8[0x4_0ff1 + 1500 * size]).toBe(0);
    });
  }
});

describe('CMPS, SCAS, LODS', () => {
  it('finds a byte', () => {
    const m = machine(0xffff_ffff, 0, 0x4_0f00, 0x42);
    m.map.ram8[0x4_1234] = 0x42;
    rep(m, Str.SCAS, 0, 2, Seg.DS, 1);
    expect(m.lo(X.RDI)).toBe(0x4_1235);
    expect(m.lo(X.RCX)).toBe((0xffff_ffff - 0x335) >>> 0);
    expect(flagsToEflags(m.V[0]!)).toBe(Ef.ZF | Ef.PF);
  });
  for (const w of [0, 1, 2, 3]) {
    it(`compares until a difference, width ${w}`, () => {
      const m = machine(0x1000 >> w, 0x2_0004, 0x4_0004);
      m.map.ram8.copyWithin(0x4_0000, 0x2_0000, 0x2_2000);
      m.map.ram8[0x4_0004 + 0x800] = 1;
      m.map.ram8[0x2_0004 + 0x800] = 0;
      rep(m, Str.CMPS, w);
      expect(regs(m)).toEqual([(0x800 >> w) - 1, 0x2_0804 + (1 << w), 0x4_0804 + (1 << w)]);
      expect(flagsToEflags(m.V[0]!) & (Ef.CF | Ef.ZF)).toBe(Ef.CF);
    });
  }
  it('leaves flags alone when the count is 0', () => {
    const m = machine(0, 0x2_0000, 0x4_0000);
    m.V[0] = 0x4301;
    rep(m, Str.CMPS, 0);
    expect(m.V[0]).toBe(0x4301);
  });
  it('loads the last element', () => {
    const m = machine(5, 0x2_0000, 0, -1, -1);
    rep(m, Str.LODS, 1);
    expect(m.lo(X.RAX)).toBe((0xffff_0000 | m.r16(0x2_0008)) >>> 0);
    expect(m.lo(X.RSI)).toBe(0x2_000a);
  });
});

describe('INS and OUTS', () => {
  it('moves port data', () => {
    const m = machine(3, 0x2_0000, 0x4_0ffe);
    m.reg(X.RDX, 0x1f0);
    m.portValue = 0x1234;
    rep(m, Str.INS, 1);
    expect([m.r16(0x4_0ffe), m.r16(0x4_1002)]).toEqual([0x1234, 0x1234]);
    m.call('outs', 0 | (Str.OUTS << 4) | (2 << 8) | (Seg.DS << 12));
    expect(m.portLog).toEqual(['in2 1f0', 'in2 1f0', 'in2 1f0', 'out1 1f0=0']);
    expect(regs(m)).toEqual([0, 0x2_0001, 0x4_1004]);
  });
  it('reads no port when the store would fault', () => {
    const m = machine(3, 0, 0x4_0000);
    m.cpu.control.setCr4(Cr4.PSE);
    m.w32(0x10_0000, 0x81);
    m.cpu.control.loadCr3(0x10_0000, 0);
    m.cpu.control.setCr0(Cr0.PE | Cr0.PG | Cr0.WP);
    expect(m.fault(() => rep(m, Str.INS, 0))).toEqual([14, 3]);
    expect(m.portLog).toEqual([]);
    expect(m.lo(Slot.GPR + 1)).toBe(3);
  });
});
