import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FlushKind, GLOBAL_PAGE, type GuestCpu } from '#lib/engine/cpu.js';
import { Bf, BlockTable, CodePage, ROW } from '#lib/engine/jit/block-table.js';
import type { HostCode } from '#lib/engine/jit/host-code.js';
import { JumpCache } from '#lib/engine/jit/jump-cache.js';
import { JC_BASE, JC_ENTRIES, JC_FOLD, JC_TABLE_BYTES, JC_TABLES, MMU_INDEXES, Slot, STATE_BYTES } from '#lib/engine/state.js';

const MISS = 0x7f00_0000_0040;
const retired = new Set<number>();
const host = { address: 0x7f00_0000_0000, missAddress: MISS, retired: (at: number) => at < 0x100 || retired.has(at) } as Partial<HostCode> as HostCode;
const V = new Int32Array(STATE_BYTES >> 2);
const cpu = { index: 0, V, mmuIdx: 0, mode: 1, fetchGlobal: false, fetchWhole: true };
const HI = 0x7fff;

let blocks = new BlockTable();
let jumps: JumpCache;
let apart = false;
let generated: HostCode | null = host;
let code = 0;

/** Row of a block at a RAM offset. */
function block(ram: number, mode = cpu.mode): number {
  const page = ram >> 12;
  let info = blocks.pages.get(page);
  if (info === undefined) blocks.pages.set(page, (info = new CodePage()));
  const row = blocks.add(page, info, ram & 0xfff, mode, 0, 16 | (4 << 16));
  if (generated !== null) blocks.R[row * ROW + Bf.ENTRY_A] = code += 0x100;
  return row;
}

/** What the engine does with a block that is no more. */
function drop(row: number): void {
  retired.add(codeOf(row));
  blocks.remove(row);
}

const codeOf = (row: number): number => blocks.R[row * ROW + Bf.ENTRY_A]!;
/** Row of the block that the CPU's table has for the address, or 0. */
const get = (lo: number): number => {
  const at = jumps.entry(cpu as Partial<GuestCpu> as GuestCpu, lo, HI);
  return at < 0 ? 0 : blocks.R.findIndex((w, i) => i % ROW === Number(Bf.ENTRY_A) && w === at && i >= ROW) / ROW | 0;
};
const put = (lo: number, row: number): void => jumps.put(cpu as Partial<GuestCpu> as GuestCpu, lo, HI, row);
/** Jumps have led there twice: it is worth a guess. */
const putTwice = (lo: number, row: number): void => {
  put(lo, row);
  put(lo, row);
};
const flush = (kind: FlushKind, a = 0, b = 0): void => jumps.flushed(cpu as Partial<GuestCpu> as GuestCpu, kind, a, b);
const inMode = (mode: number): void => {
  cpu.mode = mode;
  jumps.use(cpu as Partial<GuestCpu> as GuestCpu);
};

/** Where generated code that looks for hi:lo comes to: an address, 0 if there is no entry. */
function probe(lo: number, mmuIdx = 0): number {
  const e = (JC_BASE + V[Slot.JC_TABLE * 2 + mmuIdx]! + ((lo ^ (lo >>> JC_FOLD)) & (JC_ENTRIES - 1)) * 16) >> 2;
  return V[e] === lo && V[e + 1] === HI ? (V[e + 2]! >>> 0) + V[e + 3]! * 2 ** 32 : 0;
}

describe('the jump cache', () => {
  beforeEach(() => {
    V.fill(0);
    apart = false;
    generated = host;
    code = 0;
    retired.clear();
    Object.assign(cpu, { mmuIdx: 0, mode: 1, fetchGlobal: false, fetchWhole: true });
    blocks = new BlockTable();
    jumps = new JumpCache([cpu as Partial<GuestCpu> as GuestCpu], () => generated, blocks, () => apart);
    jumps.use(cpu as Partial<GuestCpu> as GuestCpu);
  });

  it('has what was entered, where generated code looks for it', () => {
    const a = block(0x3010);
    expect(get(0x40_0010)).toBe(0);
    put(0x40_0010, a);
    expect(get(0x40_0010)).toBe(a);
    expect(probe(0x40_0010)).toBe(host.address + codeOf(a));
    expect(probe(0x40_0020)).toBe(0);
  });

  it('enters the other blocks of the page with the first one', () => {
    const rows = [0x10, 0x20, 0x30].map((o) => block(0x3000 + o));
    const never = block(0x3040);
    const once = block(0x3060);
    const other = block(0x3050, 2);
    const spans = block(0x3ff0);
    blocks.R[spans * ROW + Bf.PAGE2] = 4;
    // In one address space jumps have led to all but one of them, to another only once.
    put(0x40_0060, once);
    for (const row of [...rows, spans]) putTwice(0x40_0000 + (blocks.R[row * ROW + Bf.KEY]! & 0xfff), row);
    inMode(2);
    putTwice(0x40_0050, other);
    inMode(1);
    flush(FlushKind.ALL);
    drop(rows[2]!);
    put(0x55_5010, rows[0]!);
    expect([0x10, 0x20, 0x30, 0x40, 0x50, 0xff0].map((o) => get(0x55_5000 + o))).toEqual([rows[0], rows[1], 0, 0, 0, 0]);
    expect(probe(0x55_5020)).toBe(host.address + codeOf(rows[1]!));
    expect([0x30, 0x40, 0x50, 0x60, 0xff0].map((o) => probe(0x55_5000 + o))).toEqual([0, 0, 0, 0, 0]);
    void never;
  });

  it('does so only if all of the page may be executed', () => {
    const rows = [block(0x3010), block(0x3020)];
    putTwice(0x40_0010, rows[0]!);
    putTwice(0x40_0020, rows[1]!);
    flush(FlushKind.ALL);
    cpu.fetchWhole = false;
    put(0x40_0010, rows[0]!);
    expect(probe(0x40_0020)).toBe(0);
  });

  it('lets no guess take the place of a block that is in use', () => {
    const rows = [block(0x3010), block(0x3020)];
    putTwice(0x40_0010, rows[0]!);
    putTwice(0x40_0020, rows[1]!);
    flush(FlushKind.ALL);
    // The same entry as 0x400020's.
    const there = block(0x9020);
    const at = 0x40_0020 ^ (JC_ENTRIES << JC_FOLD);
    put(at, there);
    put(0x40_0010, rows[0]!);
    expect(get(at)).toBe(there);
    expect(get(0x40_0020)).toBe(0);
  });

  it('does not know a block that has gone, and leads to nothing but its old code', () => {
    const a = block(0x3010);
    put(0x40_0010, a);
    drop(a);
    expect(get(0x40_0010)).toBe(0);
    // Which the engine has retired.
    expect(probe(0x40_0010)).toBe(host.address + codeOf(a));
    const again = block(0x3010);
    expect(get(0x40_0010)).toBe(0);
    put(0x40_0010, again);
    expect(get(0x40_0010)).toBe(again);
  });

  it('forgets one page, and what may reach into it from the page before', () => {
    const at = [0x40_0ff0, 0x40_1010, 0x40_1ff8, 0x40_2000, 0x140_1010, 0x41_1010];
    const rows = at.map((_, i) => block(0x3000 + i * 0x1000 + i * 16));
    at.forEach((lo, i) => put(lo, rows[i]!));
    flush(FlushKind.PAGE, 0x40_1000, HI);
    expect(at.map((lo) => get(lo))).toEqual([0, 0, 0, rows[3], rows[4], rows[5]]);
    expect(at.map((lo) => probe(lo) !== 0)).toEqual([false, false, false, true, true, true]);
  });

  it('keeps global pages when others go', () => {
    const user = block(0x3010);
    const kernel = block(0x5010);
    put(0x40_0010, user);
    cpu.mmuIdx = 1;
    cpu.fetchGlobal = true;
    inMode(2);
    put(0x80_0010, kernel);
    flush(FlushKind.NON_GLOBAL);
    expect(get(0x80_0010)).toBe(kernel);
    cpu.mmuIdx = 0;
    expect(get(0x40_0010)).toBe(0);
    flush(FlushKind.ALL);
    cpu.mmuIdx = 1;
    expect(get(0x80_0010)).toBe(0);
  });

  it('has blocks of one mode, and those of the mode before when it comes back', () => {
    const a = block(0x3010, 1);
    const b = block(0x3010, 2);
    put(0x40_0010, a);
    inMode(2);
    expect(get(0x40_0010)).toBe(0);
    expect(probe(0x40_0010)).toBe(0);
    put(0x40_0010, b);
    inMode(1);
    expect(get(0x40_0010)).toBe(a);
    expect(probe(0x40_0010)).toBe(host.address + codeOf(a));
    inMode(2);
    expect(get(0x40_0010)).toBe(b);
  });

  it('does not bring back from another mode what has been flushed meanwhile', () => {
    for (const kind of [FlushKind.ALL, FlushKind.NON_GLOBAL, FlushKind.PAGE, FlushKind.SWITCH]) {
      const a = block(0x3010, 1);
      inMode(1);
      put(0x40_0010, a);
      inMode(2);
      if (kind === FlushKind.SWITCH) flush(kind, -1, -1);
      else flush(kind, 0x40_0000, HI);
      inMode(1);
      expect(get(0x40_0010)).toBe(0);
      expect(probe(0x40_0010)).toBe(0);
      drop(a);
    }
  });

  it('puts an address space aside and brings it back, less what has gone', () => {
    const rows = [block(0x3010), block(0x4020), block(0x5030)];
    const at = [0x40_0010, 0x40_1020, 0x40_2030];
    at.forEach((lo, i) => put(lo, rows[i]!));
    flush(FlushKind.SWITCH, 0, 1);
    expect(at.map((lo) => probe(lo))).toEqual([0, 0, 0]);
    const other = block(0x6010);
    put(0x40_0010, other);
    drop(rows[1]!);
    flush(FlushKind.SWITCH, 1, 0);
    expect(at.map((lo) => get(lo))).toEqual([rows[0], 0, rows[2]]);
    flush(FlushKind.SWITCH, 0, 1);
    expect(get(0x40_0010)).toBe(other);
    // INVLPG here says nothing about the other one.
    flush(FlushKind.PAGE, 0x40_0000, HI);
    flush(FlushKind.SWITCH, 1, 0);
    expect(get(0x40_0010)).toBe(rows[0]);
    flush(FlushKind.PAGE, 0x40_0000, HI);
    flush(FlushKind.SWITCH, 0, 1);
    flush(FlushKind.SWITCH, 1, 0);
    expect(get(0x40_0010)).toBe(0);
    expect(get(0x40_2030)).toBe(rows[2]);
  });

  it('does not put aside tables that hold global pages, which may be flushed meanwhile', () => {
    const a = block(0x3010);
    cpu.fetchGlobal = true;
    put(0x40_0010, a);
    cpu.fetchGlobal = false;
    const b = block(0x4020);
    put(0x40_1020, b);
    flush(FlushKind.SWITCH, 0, 1);
    flush(FlushKind.SWITCH, 1, 0);
    expect(get(0x40_0010)).toBe(0);
    expect(get(0x40_1020)).toBe(0);
  });

  it('keeps guesses of an address space, and makes them again in a new one', () => {
    const rows = [block(0x3010), block(0x3020)];
    putTwice(0x40_0010, rows[0]!);
    putTwice(0x40_0020, rows[1]!);
    flush(FlushKind.SWITCH, -1, -1);
    expect(get(0x40_0020)).toBe(0);
    put(0x40_0010, rows[0]!);
    expect(get(0x40_0020)).toBe(rows[1]);
    flush(FlushKind.SWITCH, 0, 1);
    expect(get(0x40_0020)).toBe(0);
    put(0x40_0010, rows[0]!);
    expect(get(0x40_0020)).toBe(rows[1]);
    flush(FlushKind.SWITCH, 1, 0);
    expect([get(0x40_0010), get(0x40_0020)]).toEqual(rows);
  });

  describe('of a CPU that can look at translations', () => {
    /** Linear to RAM pages; what is not there may not be executed. */
    const pages = new Map<number, number>();
    let looks = 0;
    let space = 1;
    beforeEach(() => {
      pages.clear();
      looks = 0;
      space = 1;
      Object.assign(cpu, {
        addressSpace: () => space,
        codePage: (lo: number, hi: number) => {
          looks++;
          return hi === HI ? pages.get(lo) ?? -1 : -1;
        },
      });
    });
    afterEach(() => Object.assign(cpu, { addressSpace: undefined, codePage: undefined }));
    const fill = (): number[] => {
      const rows = [block(0x3010), block(0x4020), block(0x5030)];
      rows.forEach((row, i) => {
        pages.set(0x40_0000 + i * 0x1000, 3 + i);
        put(0x40_0010 + i * 0x1010, row);
      });
      return rows;
    };
    const at = [0x40_0010, 0x40_1020, 0x40_2030];

    it('brings back after a flush what is where it was, with the first miss', () => {
      for (const kind of [FlushKind.NON_GLOBAL, FlushKind.TRANSLATIONS, FlushKind.SWITCH]) {
        const rows = fill();
        flush(kind, -1, -1);
        expect(at.map((lo) => probe(lo))).toEqual([0, 0, 0]);
        pages.set(0x40_1000, 9);
        put(at[2]!, rows[2]!);
        expect(at.map((lo) => get(lo))).toEqual([rows[0], 0, rows[2]]);
        pages.delete(0x40_0000);
        flush(kind, -1, -1);
        put(at[2]!, rows[2]!);
        expect(at.map((lo) => get(lo))).toEqual([0, 0, rows[2]]);
        flush(FlushKind.ALL);
        rows.forEach(drop);
      }
    });

    it('brings nothing back after FlushKind.ALL, nor when all code is dropped', () => {
      const rows = fill();
      flush(FlushKind.TRANSLATIONS);
      flush(FlushKind.ALL);
      put(at[0]!, rows[0]!);
      expect(at.map((lo) => get(lo))).toEqual([rows[0], 0, 0]);
      flush(FlushKind.TRANSLATIONS);
      jumps.clear();
      put(at[1]!, rows[1]!);
      expect(at.map((lo) => get(lo))).toEqual([0, rows[1], 0]);
      expect(looks).toBe(0);
    });

    it('looks only at what belongs to the address space, or is global, and to the mode', () => {
      const rows = fill();
      flush(FlushKind.NON_GLOBAL);
      space = 2;
      put(at[0]!, rows[0]!);
      expect(at.map((lo) => get(lo))).toEqual([rows[0], 0, 0]);
      flush(FlushKind.NON_GLOBAL);
      space = 1;
      cpu.mode = 2;
      jumps.use(cpu as Partial<GuestCpu> as GuestCpu);
      const other = block(0x3010, 2);
      put(at[0]!, other);
      expect(at.map((lo) => get(lo))).toEqual([other, 0, 0]);
      inMode(1);
      flush(FlushKind.NON_GLOBAL);
      put(at[0]!, rows[0]!);
      expect(at.map((lo) => get(lo))).toEqual(rows);
      // The kernel's pages are global and are in all address spaces.
      for (const [lo, ram] of pages) pages.set(lo, ram | GLOBAL_PAGE);
      flush(FlushKind.TRANSLATIONS);
      cpu.fetchGlobal = true;
      put(at[0]!, rows[0]!);
      flush(FlushKind.TRANSLATIONS);
      space = 3;
      put(at[1]!, rows[1]!);
      expect(at.map((lo) => get(lo))).toEqual(rows);
      flush(FlushKind.NON_GLOBAL);
      expect(at.map((lo) => get(lo))).toEqual(rows);
    });

    it('brings back no block that reaches into another page, nor where more than translation counts', () => {
      const rows = fill();
      const spans = block(0x5ff8);
      blocks.R[spans * ROW + Bf.PAGE2] = 6;
      put(0x40_2ff8, spans);
      cpu.fetchWhole = false;
      put(at[1]!, rows[1]!);
      cpu.fetchWhole = true;
      flush(FlushKind.TRANSLATIONS);
      put(at[0]!, rows[0]!);
      expect([...at, 0x40_2ff8].map((lo) => probe(lo) !== 0)).toEqual([true, false, true, false]);
    });

    it('drops what it has of a page that turns out to be elsewhere', () => {
      const rows = fill();
      // Nobody has said so: the old translation was still good. Now it is not, or could not be told apart later.
      const moved = block(0x8040);
      put(0x40_1040, moved);
      expect(get(at[1]!)).toBe(0);
      pages.set(0x40_1000, 8);
      flush(FlushKind.TRANSLATIONS);
      put(at[0]!, rows[0]!);
      expect([get(at[1]!), get(0x40_1040), get(at[2]!)]).toEqual([0, moved, rows[2]]);
    });

    it('looks at a space whose number another one has got', () => {
      const rows = fill();
      flush(FlushKind.SWITCH, 0, -1);
      space = 2;
      const other = block(0x6010);
      put(at[0]!, other);
      flush(FlushKind.SWITCH, 0, -1);
      space = 1;
      pages.delete(0x40_2000);
      put(at[1]!, rows[1]!);
      expect(at.map((lo) => get(lo))).toEqual([rows[0], rows[1], 0]);
      flush(FlushKind.SWITCH, 1, 0);
      expect(get(at[0]!)).toBe(other);
    });
  });

  it('knows a bounded number of pages, of those that differ in high bits, and of blocks that reach into the next page', () => {
    const a = block(0x3010);
    const spans = block(0x3ff8);
    blocks.R[spans * ROW + Bf.PAGE2] = 4;
    const many: [string, number, (i: number) => number, number][] = [
      ['pages', 10_000, (i) => 0x10_0010 + i * 0x1000, a],
      ['spans', 5000, () => 0x10_0ff8, spans],
    ];
    for (const [name, n, at, row] of many) {
      put(0x800_0010, a);
      for (let i = 0; i < n; i++) put(at(i), row);
      expect(probe(0x800_0010), name).toBe(0);
      expect(get(at(n - 1)), name).toBe(row);
      // And it has not forgotten that these are no global pages.
      flush(FlushKind.SWITCH, -1, -1);
      expect(probe(at(n - 1)), name).toBe(0);
    }
    put(0x800_0010, a);
    for (let hi = 0; hi < 40; hi++) jumps.put(cpu as Partial<GuestCpu> as GuestCpu, 0x10_0010, hi, a);
    expect(probe(0x800_0010)).toBe(0);
  });

  it('forgets what has been aside for longest when all tables are taken', () => {
    const n = JC_TABLES - MMU_INDEXES + 4;
    const a = block(0x3010);
    for (let k = 0; k < n; k++) {
      put(0x40_0010 + k * 16, a);
      flush(FlushKind.SWITCH, k, -1);
      expect(probe(0x40_0010 + k * 16)).toBe(0);
    }
    for (let k = 0; k < n; k++) {
      flush(FlushKind.SWITCH, -1, k);
      expect(probe(0x40_0010 + k * 16) !== 0).toBe(k >= 4);
    }
    // Each table is one of the state region's, and none is in two places.
    const used = Array.from({ length: MMU_INDEXES }, (_, i) => V[Slot.JC_TABLE * 2 + i]! / JC_TABLE_BYTES);
    expect(new Set(used).size).toBe(MMU_INDEXES);
    expect(Math.max(...used)).toBeLessThan(JC_TABLES);
  });

  it('takes a table for each of many modes', () => {
    const a = block(0x3010);
    for (let mode = 1; mode < 64; mode++) {
      inMode(mode);
      expect(probe(0x40_0010)).toBe(0);
      put(0x40_0010, a);
    }
    inMode(62);
    expect(get(0x40_0010)).toBe(a);
    inMode(1);
    expect(probe(0x40_0010)).toBe(0);
  });

  it('knows rows without generated code, and that one is used again', () => {
    generated = null;
    const row = (lo: number): number => jumps.row(cpu as Partial<GuestCpu> as GuestCpu, lo, HI);
    const a = block(0x3010);
    expect(row(0x40_0010)).toBe(0);
    put(0x40_0010, a);
    expect(row(0x40_0010)).toBe(a);
    blocks.remove(a);
    expect(block(0x5010)).toBe(a);
    expect(row(0x40_0010)).toBe(0);
    put(0x40_0010, a);
    flush(FlushKind.PAGE, 0x40_0000, HI);
    expect(row(0x40_0010)).toBe(0);
    // Two address spaces with different blocks at an address.
    put(0x40_0010, a);
    flush(FlushKind.SWITCH, 0, 1);
    const b = block(0x6010);
    put(0x40_0010, b);
    flush(FlushKind.SWITCH, 1, 0);
    expect([0, a]).toContain(row(0x40_0010));
  });

  it('leads nowhere while every block has to come back, and is empty when all code is dropped', () => {
    apart = true;
    const rows = [block(0x3010), block(0x3020)];
    put(0x40_0010, rows[0]!);
    expect(get(0x40_0010)).toBe(0);
    expect(probe(0x40_0010)).toBe(MISS);
    apart = false;
    flush(FlushKind.SWITCH, 0, 1);
    inMode(2);
    jumps.clear();
    inMode(1);
    flush(FlushKind.SWITCH, 1, 0);
    expect(get(0x40_0010)).toBe(0);
    expect(probe(0x40_0010)).toBe(0);
  });
});
