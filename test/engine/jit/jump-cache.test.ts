import { beforeEach, describe, expect, it } from 'vitest';
import { FlushKind, type GuestCpu } from '#lib/engine/cpu.js';
import { Bf, BlockTable, CodePage, ROW } from '#lib/engine/jit/block-table.js';
import type { HostCode } from '#lib/engine/jit/host-code.js';
import { JumpCache } from '#lib/engine/jit/jump-cache.js';
import { JC_BASE, JC_ENTRIES, JC_FOLD, JC_TABLE_BYTES, STATE_BYTES } from '#lib/engine/state.js';

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
  const e = (JC_BASE + mmuIdx * JC_TABLE_BYTES + ((lo ^ (lo >>> JC_FOLD)) & (JC_ENTRIES - 1)) * 16) >> 2;
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

  it('keeps entries of demand, not guesses, and guesses again', () => {
    const rows = [block(0x3010), block(0x3020)];
    putTwice(0x40_0010, rows[0]!);
    putTwice(0x40_0020, rows[1]!);
    flush(FlushKind.SWITCH, -1, -1);
    put(0x40_0010, rows[0]!);
    expect(get(0x40_0020)).toBe(rows[1]);
    flush(FlushKind.SWITCH, 0, 1);
    flush(FlushKind.SWITCH, 1, 0);
    expect(get(0x40_0010)).toBe(rows[0]);
    expect(get(0x40_0020)).toBe(0);
    put(0x40_0010, rows[0]!);
    expect(get(0x40_0020)).toBe(rows[1]);
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
