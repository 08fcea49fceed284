import { describe, expect, it } from 'vitest';
import { FlushKind, GLOBAL_PAGE } from '#lib/engine/cpu.js';
import { Access, HINT_BASE, HINT_USED, Slot, TLB_BASE, TLB_ENTRIES, TLB_TABLE_BYTES } from '#lib/engine/state.js';
import { Cr0, Cr4, Efer } from '#lib/engine/guest/x86/defs.js';
import { MMU_ALIGN, Mmu, Mode, X } from '#lib/engine/guest/x86/mode.js';
import { Acc } from '#lib/engine/guest/x86/mmu.js';
import { Machine, ROM_PAGE } from './sys-util.js';

const T = Slot.TEMP;

/** 4-level paging with page tables down to 4 KiB; `leaf` is the PTE for linear 0x40_0000 (PTE at 0x20_3000). */
function paged(leafLo: number, leafHi = 0, upper = 0x7): Machine {
  const m = new Machine();
  m.long();
  m.w64(0x10_2010, 0x20_3000 | upper);
  m.w64(0x20_3000, leafLo, leafHi);
  return m;
}

describe('page walks', () => {
  it('translates 4-level pages and sets accessed and dirty bits', () => {
    const m = paged(0x30_0007);
    expect(m.cpu.mmu.translate(0x40_0123, 0, Acc.READ, Mmu.USER)).toBe(0x30_0123);
    expect(m.r32(0x20_3000)).toBe(0x30_0027);
    expect(m.r32(0x10_2010) & 0x20).toBe(0x20);
    expect(m.r32(0x10_0000) & 0x20).toBe(0x20);
    m.cpu.mmu.translate(0x40_0123, 0, Acc.WRITE, Mmu.USER);
    expect(m.r32(0x20_3000)).toBe(0x30_0067);
  });

  it('leaves the bits of the leaf alone when the access is refused', () => {
    const m = paged(0x30_0005);
    expect(m.fault(() => m.cpu.mmu.translate(0x40_0008, 0, Acc.WRITE, Mmu.USER))).toEqual([14, 7]);
    expect(m.r32(0x20_3000)).toBe(0x30_0005);
    expect(m.cpu.cr2Lo).toBe(0x40_0008);
  });

  // Rights: [U/S, R/W, NX] x access x privilege -> error code or null.
  const rows: [string, number, number, Acc, number, number | null][] = [
    ['user read of user page', 7, 0, Acc.READ, Mmu.USER, null],
    ['user read of supervisor page', 3, 0, Acc.READ, Mmu.USER, 5],
    ['user write of read-only page', 5, 0, Acc.WRITE, Mmu.USER, 7],
    ['user fetch of NX page', 7, 1, Acc.FETCH, Mmu.USER, 0x15],
    ['user fetch of supervisor page', 3, 0, Acc.FETCH, Mmu.USER, 0x15],
    ['user access to absent page', 6, 0, Acc.WRITE, Mmu.USER, 6],
    ['kernel access to absent page', 0, 0, Acc.READ, Mmu.KERNEL, 0],
    ['kernel write of read-only page with WP', 1, 0, Acc.WRITE, Mmu.KERNEL, 3],
    ['kernel read of user page', 7, 0, Acc.READ, Mmu.KERNEL, null],
    ['kernel fetch of NX page', 3, 1, Acc.FETCH, Mmu.KERNEL, 0x11],
  ];
  for (const [name, bits, nx, acc, idx, want] of rows) {
    it(name, () => {
      const m = paged(0x30_0000 | bits, nx ? 0x8000_0000 : 0);
      expect(m.fault(() => m.cpu.mmu.translate(0x40_0000, 0, acc, idx))).toEqual(want === null ? null : [14, want]);
    });
  }

  it('obeys WP, SMEP and SMAP', () => {
    const m = paged(0x30_0005);
    const { mmu, control } = m.cpu;
    const t = (acc: Acc, idx: number): unknown => m.fault(() => mmu.translate(0x40_0000, 0, acc, idx));
    control.setCr0(m.cpu.cr0 & ~Cr0.WP);
    expect(t(Acc.WRITE, Mmu.KERNEL)).toBeNull();
    control.setCr4(m.cpu.cr4 | Cr4.SMEP);
    expect(t(Acc.FETCH, Mmu.KERNEL)).toEqual([14, 0x11]);
    control.setCr4(m.cpu.cr4 | Cr4.SMAP);
    expect(t(Acc.READ, Mmu.KERNEL)).toEqual([14, 1]);
    expect(t(Acc.WRITE, Mmu.KERNEL)).toEqual([14, 3]);
    expect(t(Acc.READ, Mmu.KERNEL_AC)).toBeNull();
    expect(t(Acc.READ, Mmu.USER)).toBeNull();
  });

  it('reports reserved bits', () => {
    const bad = (lo: number, hi: number): unknown => {
      const m = paged(lo, hi);
      return m.fault(() => m.cpu.mmu.translate(0x40_0000, 0, Acc.READ, Mmu.USER));
    };
    expect(bad(0x30_0007, 0x100)).toEqual([14, 0xd]);
    expect(bad(0x30_0007, 0x00f0_0000)).toBeNull();
    const m = paged(0x30_0007, 0x8000_0000);
    m.cpu.control.setEfer(m.cpu.efer & ~Efer.NXE, 0);
    expect(m.fault(() => m.cpu.mmu.translate(0x40_0000, 0, Acc.READ, Mmu.USER))).toEqual([14, 0xd]);
    const big = new Machine();
    big.long();
    big.w64(0x10_2010, 0x40_2087);
    expect(big.fault(() => big.cpu.mmu.translate(0x40_0000, 0, Acc.READ, Mmu.USER))).toEqual([14, 0xd]);
    const giant = new Machine('max,-pdpe1gb');
    giant.long();
    giant.w64(0x10_1008, 0x87);
    expect(giant.fault(() => giant.cpu.mmu.translate(0x4000_0000, 0, Acc.READ, Mmu.USER))).toEqual([14, 0xd]);
  });

  it('remembers upper levels until a flush, with their rights', () => {
    const m = paged(0x30_0007, 0, 5);
    m.w64(0x20_3008, 0x30_1007);
    const { mmu } = m.cpu;
    const t = (a: number, acc: Acc): unknown => m.fault(() => mmu.translate(a, 0, acc, Mmu.USER));
    expect(t(0x40_0000, Acc.READ)).toBeNull();
    expect(t(0x40_1000, Acc.WRITE)).toEqual([14, 7]);
    m.w64(0x10_2010, 0x20_3007);
    mmu.flushPage(0x40_1000, 0);
    expect(t(0x40_1000, Acc.WRITE)).toBeNull();
    m.w64(0x10_2010, 0);
    m.cpu.control.loadCr3(0x10_0000, 0);
    expect(t(0x40_1000, Acc.READ)).toEqual([14, 4]);
  });

  it('translates 1 GiB pages and 5 levels', () => {
    const m = new Machine();
    m.long();
    m.w64(0x10_1008, 0x87);
    expect(m.cpu.mmu.translate(0x4012_3456, 0, Acc.READ, Mmu.USER)).toBe(0x12_3456);
    const five = new Machine();
    five.protected();
    five.w64(0x11_0000, 0x10_0007);
    five.w64(0x11_0008, 0x10_0007);
    five.w64(0x10_0000, 0x10_1007);
    five.w64(0x10_1000, 0x87);
    five.cpu.control.setCr4(Cr4.PAE | Cr4.LA57);
    five.cpu.control.setEfer(Efer.LME, 0);
    five.cpu.control.loadCr3(0x11_0000, 0);
    five.cpu.control.setCr0(Cr0.PE | Cr0.PG);
    expect(five.cpu.mmu.translate(0x1234, 1 << 16, Acc.READ, Mmu.KERNEL)).toBe(0x1234);
    expect(five.fault(() => five.cpu.mmu.translate(0, 0x0200_0000, Acc.READ, Mmu.KERNEL))).toEqual([13, 0]);
  });

  it('refuses addresses that are not canonical', () => {
    const m = paged(0x30_0007);
    expect(m.fault(() => m.cpu.mmu.translate(0, 0x8000, Acc.READ, Mmu.KERNEL))).toEqual([13, 0]);
    expect(m.fault(() => m.cpu.mmu.translate(0, 0xffff_8000 | 0, Acc.READ, Mmu.KERNEL))).toEqual([14, 0]);
  });

  it('walks 32-bit tables with 4 MiB pages and PSE-36', () => {
    const m = new Machine();
    m.protected();
    m.w32(0x10_0000, 0x10_1007);
    m.w32(0x10_1014, 0x7003);
    m.w32(0x10_0004, 0x0080_0087);
    m.w32(0x10_0008, 0x0080_2087);
    m.w32(0x10_000c, 0x00a0_0087);
    for (let p = 0; p < 16; p++) if (p !== 5) m.w32(0x10_1000 + p * 4, (p << 12) | 7);
    m.cpu.control.setCr4(Cr4.PSE);
    m.cpu.control.loadCr3(0x10_0000, 0);
    m.cpu.control.setCr0(Cr0.PE | Cr0.PG);
    const { mmu } = m.cpu;
    expect(mmu.translate(0x5432, 0, Acc.READ, Mmu.KERNEL)).toBe(0x7432);
    expect(m.fault(() => mmu.translate(0x5432, 0, Acc.FETCH, Mmu.USER))).toEqual([14, 5]);
    expect(mmu.translate(0x40_1234, 0, Acc.READ, Mmu.USER)).toBe(0x80_1234);
    expect(mmu.translate(0x80_1234, 0, Acc.READ, Mmu.USER)).toBe(0x1_0080_1234);
    expect(m.fault(() => mmu.translate(0xc0_0000, 0, Acc.READ, Mmu.USER))).toEqual([14, 0xd]);
  });

  it('walks PAE tables', () => {
    const m = new Machine();
    m.protected();
    m.w64(0x10_0020, 0x10_1001);
    m.w64(0x10_0028, 0x10_1041);
    m.w64(0x10_1000, 0x87);
    m.w64(0x10_1008, 0x10_2007);
    m.w64(0x10_2000, 0x30_0007, 0x8000_0000);
    m.w64(0x10_2008, 0x30_0007, 0x0010_0000);
    m.cpu.control.setCr4(Cr4.PAE);
    m.cpu.control.setEfer(Efer.NXE, 0);
    m.cpu.control.loadCr3(0x10_0020, 0);
    m.cpu.control.setCr0(Cr0.PE | Cr0.PG);
    const { mmu } = m.cpu;
    expect(mmu.translate(0x20_0010, 0, Acc.READ, Mmu.USER)).toBe(0x30_0010);
    expect(m.fault(() => mmu.translate(0x20_0010, 0, Acc.FETCH, Mmu.USER))).toEqual([14, 0x15]);
    expect(m.fault(() => mmu.translate(0x20_1010, 0, Acc.READ, Mmu.USER))).toEqual([14, 0xd]);
    expect(m.fault(() => mmu.translate(0x4000_0000, 0, Acc.READ, Mmu.USER))).toEqual([14, 0xd]);
    expect(m.fault(() => mmu.translate(0x8000_0000, 0, Acc.READ, Mmu.USER))).toEqual([14, 4]);
  });

  it('masks bit 20 while the A20 gate is closed', () => {
    const m = new Machine();
    m.map.ram8[0x123] = 1;
    m.map.ram8[0x10_0123] = 2;
    expect(m.cpu.mmu.read8(0x10_0123, 0, Mmu.KERNEL)).toBe(2);
    m.cpu.setA20(false);
    expect(m.cpu.mmu.read8(0x10_0123, 0, Mmu.KERNEL)).toBe(1);
  });
});

describe('TLB', () => {
  it('tags clean pages for reading only', () => {
    const m = paged(0x30_0007);
    m.cpu.mmu.read32(0x40_0000, 0, Mmu.USER);
    expect(m.tlb(Mmu.USER, 0x40_0000)).toEqual({ r: true, w: false, page: 0x30_0000 });
    m.cpu.mmu.write32(0x40_0004, 0, Mmu.USER, 7);
    expect(m.tlb(Mmu.USER, 0x40_0000).w).toBe(true);
    expect(m.tlb(Mmu.KERNEL, 0x40_0000).r).toBe(false);
    expect(m.r32(0x30_0004)).toBe(7);
  });

  it('holds the host address', () => {
    const m = paged(0x30_0007);
    m.cpu.mmu.read8(0x40_0000, 0, Mmu.USER);
    const v = new DataView(m.V.buffer);
    const e = TLB_BASE + Mmu.USER * TLB_TABLE_BYTES + ((0x40_0000 >> 12) & 2047) * 32;
    expect(BigInt.asUintN(64, v.getBigInt64(e, true) + v.getBigInt64(e + 16, true))).toBe(BigInt(m.map.ramAddress + 0x30_0000));
  });

  it('keeps code pages and ROM out of the write tags', () => {
    const m = paged(0x30_0067);
    const { mmu } = m.cpu;
    mmu.write8(0x40_0000, 0, Mmu.USER, 1);
    expect(m.tlb(Mmu.USER, 0x40_0000).w).toBe(true);
    m.map.codePages[0x300] = 1;
    m.cpu.noteCodePage(0x30_0000);
    expect(m.tlb(Mmu.USER, 0x40_0000)).toMatchObject({ r: true, w: false });
    m.map.onCodeWrite = (off, n): void => {
      m.map.codeWrites.push([off, n]);
      m.map.codePages[0x300] = 0;
    };
    mmu.write32(0x40_0010, 0, Mmu.USER, 5);
    expect(m.map.codeWrites).toEqual([[0x30_0010, 4]]);
    mmu.write32(0x40_0010, 0, Mmu.USER, 6);
    expect(m.map.codeWrites).toHaveLength(1);
    expect(m.tlb(Mmu.USER, 0x40_0000).w).toBe(true);
    mmu.write8(ROM_PAGE + 4, 0, Mmu.KERNEL, 9);
    expect(m.map.log).toEqual(['w1 f0004=9']);
    expect(m.map.ram8[ROM_PAGE + 4]).toBe(0);
  });

  it('tags a read-only page again after an eviction', () => {
    const m = paged(0x30_0005);
    const { mmu } = m.cpu;
    mmu.read8(0x40_0000, 0, Mmu.USER);
    // 128 MiB apart: the same entry of a direct-mapped table of 32,768 pages.
    m.w64(0x10_2210, 0x20_0087);
    mmu.read8(0x840_0000, 0, Mmu.USER);
    expect(m.tlb(Mmu.USER, 0x40_0000).r).toBe(false);
    mmu.read8(0x40_0000, 0, Mmu.USER);
    expect(m.tlb(Mmu.USER, 0x40_0000)).toMatchObject({ r: true, w: false });
  });

  it('empties page hints whenever it takes something away', () => {
    const m = paged(0x30_0067);
    const { V } = m;
    const { mmu } = m.cpu;
    const gone = (what: () => void): boolean => {
      V[HINT_USED >> 2] = 1;
      V[HINT_BASE >> 2] = 0x40_0000;
      V[(HINT_BASE >> 2) + 1] = 0;
      what();
      return V[HINT_BASE >> 2] === -1 && V[(HINT_BASE >> 2) + 1] === -1 && V[HINT_USED >> 2] === 0;
    };
    expect(gone(() => undefined)).toBe(false);
    expect(gone(() => mmu.flushPage(0x40_0000, 0))).toBe(true);
    expect(gone(() => mmu.flushNonGlobal())).toBe(true);
    expect(gone(() => mmu.flushAll())).toBe(true);
    expect(gone(() => mmu.switchContext(1, 2, true))).toBe(true);
    V[T * 2] = 0x40_0000;
    V[T * 2 + 1] = 0;
    m.cpu.store(2, T, T + 1, Access.NORMAL);
    expect(gone(() => mmu.noteCodePage(0x30_0000))).toBe(true);
  });

  // Leaf, its upper word, bits of the level above -> page for user code, for the kernel's with SMEP.
  const codes: [string, number, number, number, number, number][] = [
    ['user page', 0x30_0027, 0, 0x27, 0x300, -1],
    ['supervisor page', 0x30_0023, 0, 0x27, -1, 0x300],
    ['page of a supervisor table', 0x30_0027, 0, 0x23, -1, 0x300],
    ['global page', 0x30_0123, 0, 0x27, -1, 0x300 | GLOBAL_PAGE],
    ['page that has not been accessed', 0x30_0003, 0, 0x27, -1, -1],
    ['table that has not been accessed', 0x30_0023, 0, 0x7, -1, -1],
    ['absent page', 0x30_0026, 0, 0x27, -1, -1],
    ['page without code', 0x30_0023, 0x8000_0000, 0x27, -1, -1],
    ['reserved bit', 0x30_0023, 0x8_0000, 0x27, -1, -1],
    ['page that is no RAM', 0xfee0_0023 | 0, 0, 0x27, -1, -1],
    ['2 MiB page', 0x20_00a3, 0, 0, -1, 0x200],
    ['2 MiB page with a reserved bit', 0x20_20a3, 0, 0, -1, -1],
  ];
  for (const [name, lo, hi, upper, user, kernel] of codes) {
    it(`tells where code is and marks nothing: ${name}`, () => {
      const m = paged(lo, hi, upper);
      const { cpu } = m;
      cpu.control.setCr4(cpu.cr4 | Cr4.PGE | Cr4.SMEP);
      for (const at of [0x10_0000, 0x10_1000, 0x10_2000]) m.w64(at, m.r32(at) | 0x20);
      if (upper === 0) m.w64(0x10_2010, lo, hi);
      const before = [0x10_0000, 0x10_1000, 0x10_2010, 0x20_3000].map((at) => m.r32(at));
      cpu.mode = Mode.CODE64 | Mode.CSFLAT;
      expect(cpu.codePage(0x40_0000, 0)).toBe(kernel);
      cpu.mode |= Mode.USER;
      expect(cpu.codePage(0x40_0000, 0)).toBe(user);
      expect([0x10_0000, 0x10_1000, 0x10_2010, 0x20_3000].map((at) => m.r32(at))).toEqual(before);
      cpu.mode = Mode.CODE32 | Mode.CSFLAT;
      expect(cpu.codePage(0x40_0000, 0)).toBe(-1);
      cpu.mode = Mode.CODE64 | Mode.CSFLAT;
      expect(cpu.codePage(0x40_0000, 0x8000)).toBe(-1);
    });
  }

  it('takes INVLPG of a large page for all that codePage has told of it', () => {
    const m = paged(0, 0, 0);
    m.w64(0x10_2010, 0x20_00a3);
    for (const at of [0x10_0000, 0x10_1000]) m.w64(at, m.r32(at) | 0x20);
    const { cpu } = m;
    cpu.mode = Mode.CODE64 | Mode.CSFLAT;
    const seen: number[] = [];
    cpu.onFlush = (k): void => void seen.push(k);
    cpu.mmu.flushPage(0x41_0000, 0);
    expect(seen).toEqual([FlushKind.PAGE]);
    expect(cpu.codePage(0x40_0000, 0)).toBe(0x200);
    cpu.mmu.flushPage(0x41_0000, 0);
    expect(seen).toContain(FlushKind.TRANSLATIONS);
  });

  it('drops what it must', () => {
    const m = paged(0x30_0107);
    m.w64(0x20_3008, 0x30_1007);
    const seen: number[] = [];
    m.cpu.onFlush = (k): void => void seen.push(k);
    m.cpu.control.setCr4(m.cpu.cr4 | Cr4.PGE);
    expect(seen).toEqual([FlushKind.TRANSLATIONS]);
    const { mmu } = m.cpu;
    const both = (): [boolean, boolean] => [m.tlb(Mmu.KERNEL, 0x40_0000).r, m.tlb(Mmu.KERNEL, 0x40_1000).r];
    const touch = (): void => {
      mmu.read8(0x40_0000, 0, Mmu.KERNEL);
      mmu.read8(0x40_1000, 0, Mmu.KERNEL);
    };
    touch();
    expect(both()).toEqual([true, true]);
    m.cpu.control.loadCr3(0x10_0000, 0);
    expect(both()).toEqual([true, false]);
    touch();
    mmu.flushPage(0x40_0fff, 0);
    expect(both()).toEqual([false, true]);
    touch();
    mmu.flushAll();
    expect(both()).toEqual([false, false]);
    // The slot is reused by a translation of the other kind, then back.
    touch();
    m.w64(0x20_3000, 0x30_0007);
    mmu.flushPage(0x40_0000, 0);
    touch();
    m.cpu.control.loadCr3(0x10_0000, 0);
    expect(both()).toEqual([false, false]);
  });

  it('keeps pages with data breakpoints out and reports the hit after the instruction', () => {
    const m = paged(0x30_0007);
    m.cpu.debug.write(0, 0x40_0010, 0);
    m.cpu.debug.write(7, 0x000d_0401, 0);
    m.cpu.mmu.write32(0x40_0000, 0, Mmu.KERNEL, 1);
    expect(m.tlb(Mmu.KERNEL, 0x40_0000).r).toBe(false);
    m.gate64(1, 0x08, 0x1234, 0, 0x8e);
    m.reg(X.RSP, 0x8000);
    m.at(0x5000);
    m.cpu.afterStep();
    expect(m.pc).toBe(0x5000);
    m.cpu.mmu.write32(0x40_000e, 0, Mmu.KERNEL, 1);
    m.cpu.afterStep();
    expect(m.pc).toBe(0x1234);
    expect(m.cpu.debug.dr6 & 0xf).toBe(1);
  });

  it('handles accesses that cross pages, and MMIO', () => {
    const m = paged(0x30_0007);
    const { mmu } = m.cpu;
    m.reg(T, 0x40_0ffe);
    m.reg(T + 1, 0x1122_3344, 0x5566_7788);
    expect(m.fault(() => m.cpu.store(2, T, T + 1, Access.NORMAL))).toEqual([14, 2]);
    expect(m.r16(0x30_0ffe)).toBe(0);
    m.w64(0x20_3008, 0x50_0007);
    m.cpu.store(3, T, T + 1, Access.NORMAL);
    expect([m.r16(0x30_0ffe), m.r32(0x50_0000), m.r16(0x50_0004)]).toEqual([0x3344, 0x7788_1122, 0x5566]);
    m.cpu.load(3, T, T + 2, Access.RMW);
    expect([m.lo(T + 2), m.hi(T + 2)]).toEqual([0x1122_3344, 0x5566_7788]);
    m.w64(0x20_3010, 0xfee0_0007 | 0);
    m.reg(T, 0x40_2020);
    m.reg(X.RBX, 0xffff_ffff, 0xffff_ffff);
    m.cpu.load(3, T, X.RBX, 0);
    m.cpu.load(1, T, X.RCX, 0);
    m.cpu.store(3, T, T + 1, 0);
    expect(m.map.log).toEqual(['r4 fee00020', 'r4 fee00024', 'r2 fee00020', 'w4 fee00020=11223344', 'w4 fee00024=55667788']);
    expect(m.lo(X.RBX)).toBe(0xdead_0020);
    expect(mmu.read8(0x40_2020, 0, Mmu.USER)).toBe(0xa5);
  });

  it('does accesses that cross into a page the TLB knows as it does others', () => {
    const m = paged(0x30_0067);
    const { mmu } = m.cpu;
    m.w64(0x20_3008, 0x50_0067);
    // The first time both pages are looked up, then they are known; code in the second one is told of.
    for (const code of [false, false, true]) {
      m.map.codePages[0x500] = code ? 1 : 0;
      if (code) m.cpu.noteCodePage(0x50_0000);
      for (let at = 0x40_0ff9; at < 0x40_1000; at++) {
        const first = 0x40_1000 - at;
        const byte = (i: number): number => m.map.ram8[i < first ? 0x30_1000 - first + i : 0x50_0000 + i - first]!;
        const lo = Math.imul(at, 0x9e37_79b1) | 0;
        const hi = Math.imul(at, 0x85eb_ca6b) | 0;
        mmu.write64(at, 0, Mmu.USER, lo, hi);
        for (let i = 0; i < 8; i++) expect(byte(i)).toBe(((i < 4 ? lo : hi) >>> (8 * (i & 3))) & 0xff);
        mmu.read64(at, 0, Mmu.USER);
        expect([mmu.lo, mmu.hi]).toEqual([lo, hi]);
        if (at + 4 > 0x40_1000) {
          mmu.write32(at, 0, Mmu.USER, ~lo);
          expect(mmu.read32(at, 0, Mmu.USER)).toBe(~lo);
          expect([0, 1, 2, 3].map(byte)).toEqual([0, 1, 2, 3].map((i) => (~lo >>> (8 * i)) & 0xff));
        }
        if (at + 2 > 0x40_1000) {
          mmu.write16(at, 0, Mmu.USER, 0xa55a);
          expect(mmu.read16(at, 0, Mmu.USER)).toBe(0xa55a);
          expect([byte(0), byte(1), byte(2)]).toEqual([0x5a, 0xa5, (~lo >>> 16) & 0xff]);
        }
      }
      expect(m.map.codeWrites.length > 0).toBe(code);
      expect(m.map.codeWrites.every(([off]) => off >> 12 === 0x500)).toBe(true);
    }
    // Without the second page nothing is written to the first one.
    m.w64(0x20_3008, 0);
    mmu.flushPage(0x40_1000, 0);
    const before = m.map.ram8[0x30_0fff];
    expect(m.fault(() => mmu.write64(0x40_0fff, 0, Mmu.USER, ~before!, 0))).toEqual([14, 6]);
    expect(m.map.ram8[0x30_0fff]).toBe(before);
  });

  it('enters what is around in a large page: what has the same rights, is plain memory and takes no other entry away', () => {
    const m = paged(0x20_0000 | 0x87);
    // Linear 0x60_0000: a large page at 2 MiB.
    m.w64(0x10_2018, 0x20_0087);
    const { mmu } = m.cpu;
    m.map.codePages[0x203] = 1;
    mmu.read8(0x60_1000, 0, Mmu.USER);
    // Not dirty yet: for reading.
    for (let k = 0; k < 16; k++) expect(m.tlb(Mmu.USER, 0x60_0000 + k * 0x1000)).toMatchObject(k === 3 ? { r: false } : { r: true, w: false, page: 0x20_0000 + k * 0x1000 });
    expect(m.tlb(Mmu.USER, 0x61_0000).r).toBe(false);
    expect(m.tlb(Mmu.KERNEL, 0x60_0000).r).toBe(false);
    mmu.write8(0x60_2000, 0, Mmu.USER, 1);
    for (let k = 0; k < 16; k++) expect(m.tlb(Mmu.USER, 0x60_0000 + k * 0x1000).w).toBe(k !== 3);
    // A page that holds code from now on loses the tag it got on the way.
    m.map.codePages[0x205] = 1;
    m.cpu.noteCodePage(0x20_5000);
    expect(m.tlb(Mmu.USER, 0x60_5000)).toMatchObject({ r: true, w: false });
    mmu.flushPage(0x60_f123, 0);
    for (let k = 0; k < 16; k++) expect(m.tlb(Mmu.USER, 0x60_0000 + k * 0x1000).r).toBe(false);
    // Another page has the place of one of them.
    const other = 0x60_4000 + TLB_ENTRIES * 0x1000;
    m.w64(0x10_2000 + (other >>> 21) * 8, 0x20_3007);
    m.w64(0x20_3000 + ((other >>> 12) & 511) * 8, 0x30_0067);
    mmu.read8(other, 0, Mmu.USER);
    mmu.read8(0x70_0000, 0, Mmu.USER);
    mmu.read8(0x60_1000, 0, Mmu.USER);
    expect(m.tlb(Mmu.USER, other)).toMatchObject({ r: true, page: 0x30_0000 });
    expect(m.tlb(Mmu.USER, 0x60_6000).r).toBe(true);
  });

  it('finds the write tags of a page that is mapped twice, and three times', () => {
    for (const maps of [2, 3]) {
      const m = paged(0x30_0067);
      const { mmu } = m.cpu;
      for (let k = 1; k < maps; k++) m.w64(0x20_3000 + k * 8, 0x30_0067);
      for (let k = 0; k < maps; k++) mmu.write8(0x40_0000 + k * 0x1000, 0, Mmu.USER, k);
      for (let k = 0; k < maps; k++) expect(m.tlb(Mmu.USER, 0x40_0000 + k * 0x1000).w).toBe(true);
      m.map.codePages[0x300] = 1;
      m.cpu.noteCodePage(0x30_0000);
      for (let k = 0; k < maps; k++) expect(m.tlb(Mmu.USER, 0x40_0000 + k * 0x1000)).toMatchObject({ r: true, w: false });
    }
  });

  it('merges narrow loads into registers and clears temporaries', () => {
    const m = new Machine();
    m.w32(0x100, 0x8182_8384);
    m.reg(T, 0x100);
    m.reg(X.RAX, 0x1111_1111, 0x2222_2222);
    m.cpu.load(0, T, X.RAX, 0);
    expect([m.lo(X.RAX), m.hi(X.RAX)]).toEqual([0x1111_1184, 0x2222_2222]);
    m.cpu.load(2, T, X.RAX, 0);
    expect([m.lo(X.RAX), m.hi(X.RAX)]).toEqual([0x8182_8384, 0]);
    m.reg(T + 1, -1, -1);
    m.cpu.load(1, T, T + 1, 0);
    expect([m.lo(T + 1), m.hi(T + 1)]).toEqual([0x8384, 0]);
  });

  it('loads and stores vectors', () => {
    const m = new Machine();
    for (let i = 0; i < 64; i++) m.map.ram8[0x0ff8 + i] = i + 1;
    m.reg(T, 0x0ff8);
    const v = Slot.VEC;
    for (let i = 0; i < 4; i++) m.reg(v + i, -1, -1);
    m.cpu.loadVec(2, T, v);
    expect([m.lo(v), m.hi(v), m.lo(v + 1), m.lo(v + 2)]).toEqual([0x0403_0201, 0, 0, 0xffff_ffff]);
    m.cpu.loadVec(5, T, v);
    expect([m.hi(v), m.hi(v + 3)]).toEqual([0x0807_0605, 0x201f_1e1d]);
    m.reg(T, 0x2ff4);
    m.cpu.storeVec(5, T, v);
    expect(m.map.ram8.subarray(0x2ff4, 0x2ff4 + 33)).toEqual(Uint8Array.from([...Array(32).keys()].map((i) => i + 1).concat(0)));
  });

  it('checks alignment for user code when asked', () => {
    const m = new Machine();
    m.protected();
    m.cpu.control.setCr0(m.cpu.cr0 | Cr0.AM);
    m.user32(0x4_0202);
    expect(m.cpu.mmuIdx).toBe(MMU_ALIGN);
    m.reg(T, 0x4001);
    expect(m.fault(() => m.cpu.load(2, T, T + 1, 0))).toEqual([17, 0]);
    m.reg(T, 0x4004);
    expect(m.fault(() => m.cpu.load(2, T, T + 1, 0))).toBeNull();
    expect(m.tlb(MMU_ALIGN, 0x4004).r).toBe(false);
  });
});

describe('instruction fetch', () => {
  it('checks NX, limits and canonical form, and reports the instruction itself', () => {
    const m = paged(0x30_0007, 0x8000_0000);
    m.reg(Slot.PC, 0x40_0000);
    expect(m.fault(() => m.cpu.fetchAddress())).toEqual([14, 0x11]);
    expect(m.lo(Slot.PCBASE)).toBe(0x40_0000);
    m.reg(Slot.PC, 0x5010);
    expect(m.cpu.fetchAddress()).toBe(0x5010);
    m.reg(Slot.PC, 0x5010, 0x1_0000);
    expect(m.fault(() => m.cpu.fetchAddress())).toEqual([13, 0]);
    const p = new Machine();
    p.protected();
    p.cpu.transfer.jump(0x38, 0x10, 0, 2);
    expect(p.cpu.fetchAddress()).toBe(0x1_0010);
    p.reg(Slot.PC, 0x2_0000);
    expect(p.fault(() => p.cpu.fetchAddress())).toEqual([13, 0]);
    p.reg(Slot.PC, 0x1_fffe);
    expect(p.fault(() => p.cpu.fetchNextPage())).toEqual([13, 0]);
    expect(p.lo(Slot.X_INSN) & 0xffff).toBe(0xffe);
  });
});
