/** Stores to pages with code: generated code does those that change none by itself. */
import { describe, expect, it } from 'vitest';
import { CODE_GRANULE } from '#lib/engine/cpu.js';
import { Access, JC_BASE, JC_TABLE_BYTES, Slot, TLB_BASE, TLB_CODE, TLB_TABLE_BYTES, Yield } from '#lib/engine/state.js';
import { canRun, Jit } from './jit.js';

const [R0, R1, R2] = [8, 9, 10] as const;
const BASE = 0x5000n;
const IDX = 1;
/** Nothing else uses this part of the state region here. */
const MAP = JC_BASE + 7 * JC_TABLE_BYTES;

/** RAM page 5 at its own address, readable; `code`: only code keeps writes away. */
function setup(code: boolean, map = true): Jit {
  const jit = new Jit();
  const { cpu } = jit;
  cpu.mmuIdx = IDX;
  cpu.mapPage(BASE, 0x5000, false, IDX);
  if (code) cpu.V[((TLB_BASE + IDX * TLB_TABLE_BYTES) >> 2) + 5 * 8 + 6]! |= TLB_CODE;
  cpu.V.fill(0, MAP >> 2, (MAP >> 2) + 32);
  if (map) cpu.set(Slot.CODE_MAP, BigInt(cpu.stateAddress + MAP));
  return jit;
}
const mark = (jit: Jit, granule: number): void => {
  jit.cpu.V[(MAP >> 2) + 5 * 2 + (granule >> 5)]! |= 1 << (granule & 31);
};

describe.skipIf(!canRun)('the code map', () => {
  it('lets stores through that touch no granule with code, at every width and place', () => {
    const jit = setup(true);
    const { cpu } = jit;
    for (const g of [0, 7, 31, 32, 63]) mark(jit, g);
    const has = (byte: number): boolean => [0, 7, 31, 32, 63].includes(Math.floor(byte / CODE_GRANULE));
    for (let w = 0; w < 4; w++) {
      const store = jit.block((b) => b.st(w, R0, R1));
      const n = 1 << w;
      for (let off = 0; off < 4096; off += off % CODE_GRANULE < 8 || off % CODE_GRANULE > 54 ? 1 : 13) {
        cpu.map.ram8.fill(0, 0x5000, 0x6010);
        cpu.set(R0, BASE + BigInt(off));
        cpu.set(R1, 0x1122_3344_5566_7788n);
        const before = jit.yields[Yield.STORE]!;
        jit.run(store);
        const slow = off + n > 4096 || has(off) || has(off + n - 1);
        expect([w, off, jit.yields[Yield.STORE]! - before]).toEqual([w, off, slow ? 1 : 0]);
        let v = 0n;
        for (let i = 7; i >= 0; i--) v = (v << 8n) | BigInt(cpu.map.ram8[0x5000 + off + i]!);
        expect(v).toBe(0x1122_3344_5566_7788n & ((1n << BigInt(8 * n)) - 1n));
        expect([cpu.get(R0), cpu.get(R1)]).toEqual([BASE + BigInt(off), 0x1122_3344_5566_7788n]);
      }
    }
  });
  it('is not asked for pages that are read-only, or without a map', () => {
    for (const jit of [setup(false), setup(true, false)]) {
      const store = jit.block((b) => b.st(2, R0, R1));
      jit.cpu.set(R0, BASE);
      jit.run(store);
      expect(jit.yields[Yield.STORE]).toBe(1);
    }
  });
  it('is not needed for the load of a read-modify-write; a read-only page still faults there', () => {
    for (const code of [true, false]) {
      const jit = setup(code);
      const { cpu } = jit;
      mark(jit, 1);
      for (let i = 0; i < 0x1000; i++) cpu.map.ram8[0x5000 + i] = i * 5 + 1;
      for (let w = 0; w < 4; w++) {
        const load = jit.block((b) => {
          const t = b.temp();
          b.ld(w, t, R0, Access.RMW);
          b.mov(3, R1, t);
          b.ld(w, R2, R0, Access.RMW);
        });
        const before = jit.yields[Yield.LOAD]!;
        cpu.set(R0, BASE + 0x43n);
        cpu.set(R2, -1n);
        jit.run(load);
        expect(jit.yields[Yield.LOAD]! - before).toBe(code ? 0 : 2);
        let v = 0n;
        for (let i = (1 << w) - 1; i >= 0; i--) v = (v << 8n) | BigInt(cpu.map.ram8[0x5043 + i]!);
        expect(cpu.get(R1)).toBe(v);
        const merged = w < 2 ? (0xffff_ffff_ffff_ffffn & ~((1n << BigInt(8 << w)) - 1n)) | v : v;
        expect(cpu.get(R2)).toBe(merged);
      }
    }
  });
});
