import { beforeEach, describe, expect, it } from 'vitest';
import { Bf, BlockTable, CodePage, ROW } from '#lib/engine/jit/block-table.js';
import { ChainSites } from '#lib/engine/jit/chain-sites.js';
import { type HostCode, SITE_CHANGES_MODE } from '#lib/engine/jit/host-code.js';

const log: string[] = [];
const host = {
  patch: (site: number, target: number): void => void log.push(`patch ${site} ${target}`),
  unpatch: (site: number, cold: number): void => void log.push(`unpatch ${site} ${cold}`),
} as Partial<HostCode> as HostCode;

let blocks = new BlockTable();

/** Row of a block at a RAM offset. */
function block(ram: number, mode = 1): number {
  const page = ram >> 12;
  let info = blocks.pages.get(page);
  if (info === undefined) blocks.pages.set(page, (info = new CodePage(page + 1)));
  const row = blocks.add(page, info, ram & 0xfff, mode, 0, 16 | (4 << 16));
  blocks.R[row * ROW + Bf.ENTRY_A] = ram;
  blocks.R[row * ROW + Bf.ENTRY_B] = ram + 7;
  return row;
}

describe('chain sites', () => {
  let sites: ChainSites;
  beforeEach(() => {
    log.length = 0;
    blocks = new BlockTable();
    sites = new ChainSites(() => host, blocks);
  });

  it('chains a site once, until its target goes', () => {
    const a = block(0x1000);
    const b = block(0x1040);
    sites.add(a, [100, 0x40, 150, 110, 0x80, 160]);
    sites.add(b, [200, 0x00, 250]);
    expect(sites.chain(110, b)).toBe(true);
    expect(sites.chain(200, b)).toBe(true);
    expect(sites.chain(110, b)).toBe(false);
    expect(log).toEqual(['patch 110 4167', 'patch 200 4167']);
    log.length = 0;
    sites.unchain(b);
    expect(log.sort()).toEqual(['unpatch 110 160', 'unpatch 200 250']);
    expect(blocks.R[b * ROW + Bf.INCOMING]).toBe(0);
    log.length = 0;
    expect(sites.chain(110, b)).toBe(true);
    expect(log).toEqual(['patch 110 4167']);
  });

  it('chains within a page and a mode only, and no site of a block that is gone', () => {
    const a = block(0x1000);
    sites.add(a, [100, 0x40, 150, 110, 0x80 | SITE_CHANGES_MODE, 160]);
    expect(sites.chain(100, block(0x2040))).toBe(false);
    expect(sites.chain(100, block(0x1040, 2))).toBe(false);
    expect(sites.chain(110, block(0x1040, 2))).toBe(true);
    blocks.remove(a);
    expect(sites.chain(100, block(0x1040))).toBe(false);
    expect(log).toEqual(['patch 110 4167']);
  });

  it('knows no positions but those of sites', () => {
    expect(sites.chain(0, block(0x1000))).toBe(false);
    sites.add(block(0x1000), [100, 0x40, 150, 300, 0x80, 160]);
    for (const p of [0, 99, 101, 299, 301]) expect(sites.chain(p, block(0x1040))).toBe(false);
    sites.clear();
    expect(sites.chain(100, block(0x1040))).toBe(false);
    expect(log).toEqual([]);
  });

  it('holds many', () => {
    const owner = block(0x1000);
    for (let i = 1; i <= 100_000; i++) sites.add(owner, [i * 10, 0, i]);
    const target = block(0x1080);
    for (const i of [1, 2, 4711, 65_535, 65_536, 100_000]) expect(sites.chain(i * 10, target)).toBe(true);
    log.length = 0;
    sites.unchain(target);
    expect(log).toHaveLength(6);
    expect(log).toContain('unpatch 655360 65536');
  });
});
