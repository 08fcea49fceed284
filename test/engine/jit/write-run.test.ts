/** Writes to a page of code: which of them overwrite it. */
import { describe, expect, it } from 'vitest';
import { WriteRun } from '#lib/engine/jit/write-run.js';

const run = (from: number, count: number, step = 4): boolean[] => {
  const w = new WriteRun();
  return Array.from({ length: count }, (_, i) => w.overwrites(from + i * step, 4));
};

describe('writes to a page of code', () => {
  it('overwrite it when many follow one another', () => {
    expect(run(0x3100, 9)).toEqual([...Array<boolean>(8).fill(false), true]);
    expect(run(0x3100, 12, 256), 'far apart').not.toContain(true);
  });

  it('do so sooner where they begin with the page', () => {
    expect(run(0x3000, 5)).toEqual([false, false, false, true, true]);
  });

  it('begin anew with every page and every gap', () => {
    const w = new WriteRun();
    for (let i = 0; i < 4; i++) w.overwrites(0x3000 + i * 4, 4);
    expect(w.overwrites(0x4000, 4)).toBe(false);
    expect(w.overwrites(0x4800, 4)).toBe(false);
    for (let i = 1; i < 8; i++) expect(w.overwrites(0x4800 + i * 4, 4)).toBe(false);
    expect(w.overwrites(0x4820, 4)).toBe(true);
  });
});
