import { describe, expect, it } from 'vitest';
import { Block, blockKey } from '#lib/engine/jit/block.js';
import { Bf, BlockTable, CodePage, ROW } from '#lib/engine/jit/block-table.js';

const PAGE = 4096;

function pageOf(t: BlockTable, page: number): CodePage {
  let info = t.pages.get(page);
  if (info === undefined) t.pages.set(page, (info = new CodePage(page + 1)));
  return info;
}

function listed(t: BlockTable, page: number): number[] {
  const rows = [];
  for (let r = t.pages.get(page)!.first; r !== 0; r = t.R[r * ROW + Bf.NEXT]!) rows.push(r);
  return rows;
}

describe('block table', () => {
  it('finds blocks by page, offset and mode, also when it has grown, and lists those of a page', () => {
    const t = new BlockTable();
    const rows = new Map<string, number>();
    const of = (i: number): [number, number, number] => [i % 97, (i * 7) & 0xfff, i % 3];
    for (let i = 0; i < 20_000; i++) {
      const [page, offset, mode] = of(i);
      const name = `${page} ${offset} ${mode}`;
      if (rows.has(name)) continue;
      const row = t.add(page, pageOf(t, page), offset, mode, 1, 5 | (2 << 16));
      t.R[row * ROW + Bf.ENTRY_A] = i;
      rows.set(name, row);
    }
    const gone = new Set<string>();
    let i = 0;
    for (const [name, row] of rows) {
      if (i++ % 3 !== 0) continue;
      t.remove(row);
      gone.add(name);
    }
    for (const [name, row] of rows) {
      const [page, offset, mode] = name.split(' ').map(Number) as [number, number, number];
      expect(t.find(page, blockKey(offset, mode))).toBe(gone.has(name) ? 0 : row);
      expect(t.valid(row)).toBe(!gone.has(name));
    }
    for (let page = 0; page < 97; page++) {
      const want = [...rows].filter(([name]) => name.startsWith(`${page} `) && !gone.has(name)).map(([, row]) => row);
      expect(listed(t, page).sort((a, b) => a - b)).toEqual(want.sort((a, b) => a - b));
      expect(t.pages.get(page)!.n).toBe(want.length);
    }
    expect(t.find(5, blockKey(0xfff, 7))).toBe(0);
    t.clear();
    for (const name of rows.keys()) {
      const [page, offset, mode] = name.split(' ').map(Number) as [number, number, number];
      expect(t.find(page, blockKey(offset, mode))).toBe(0);
    }
  });

  it('shows a row as a block, of RAM above 2 GiB too', () => {
    const t = new BlockTable();
    const b = new Block(3 * 2 ** 30 + PAGE - 3, 0x4_0001, 2, 7, 1);
    b.page2 = 5 * PAGE;
    b.entryA = 64;
    b.entryB = 80;
    b.hostBytes = 100;
    const page = (3 * 2 ** 30) / PAGE;
    const row = t.addBlock(page, pageOf(t, page), b);
    const v = t.view(row);
    expect(v).not.toBe(b);
    expect(v).toMatchObject({ row, ram: b.ram, mode: b.mode, mmuIdx: 2, bytes: 7, insns: 1, page2: b.page2, entryA: 64, entryB: 80, hostBytes: 100, from: b.from, to: b.to });
    expect(t.view(row)).toBe(v);
    expect(t.holds(v)).toBe(true);
    t.keepView(b);
    expect(t.view(row)).toBe(b);
    t.remove(row);
    expect(t.holds(b)).toBe(false);
  });

  it('takes a block that spans two pages out of its second one', () => {
    const t = new BlockTable();
    const b = new Block(PAGE + PAGE - 2, 0, 0, 5, 1);
    b.page2 = 9 * PAGE;
    const row = t.addBlock(1, pageOf(t, 1), b);
    (pageOf(t, 9).tails ??= []).push(99, row);
    t.remove(row);
    expect(t.pages.get(9)!.tails).toEqual([99]);
    expect(t.pages.get(1)).toMatchObject({ first: 0, n: 0 });
  });

  it('uses a row again if it has no host code, and says so', () => {
    const t = new BlockTable();
    const interpreted = t.add(1, pageOf(t, 1), 0, 0, 0, 1 | (1 << 16));
    const turn = t.R[interpreted * ROW + Bf.TURN]!;
    t.remove(interpreted);
    expect(t.add(2, pageOf(t, 2), 8, 0, 0, 1 | (1 << 16))).toBe(interpreted);
    expect(t.R[interpreted * ROW + Bf.TURN]).not.toBe(turn);
    const generated = t.add(1, pageOf(t, 1), 16, 0, 0, 1 | (1 << 16));
    t.R[generated * ROW + Bf.ENTRY_A] = 0x100;
    t.remove(generated);
    expect(t.add(1, pageOf(t, 1), 16, 0, 0, 1 | (1 << 16))).not.toBe(generated);
  });
});
