/** Which page flushes have to drop everything because of blocks and large pages. */
import { describe, expect, it } from 'vitest';
import { LargeRegions } from '#lib/engine/guest/arm64/large-regions.js';

const MIB = 1 << 20;

describe('regions of large pages', () => {
  it('are those noted, and no others that share their place', () => {
    const r = new LargeRegions();
    expect(r.has(0, 0)).toBe(false);
    r.note(0x4020_0000, 0xffff_0000 | 0, 21);
    for (const offset of [0, 0x1000, 0x1f_f000]) expect(r.has(0x4020_0000 + offset, 0xffff_0000 | 0)).toBe(true);
    // Address tags do not count.
    expect(r.has(0x4020_1000, 0x12ff_0000)).toBe(true);
    let others = 0;
    for (let hi = 0; hi < 64; hi++) for (let lo = 0; lo < 2048; lo++) if (r.has(lo * 2 * MIB, hi) || (r.has(lo * 2 * MIB, 0xffff_0000 + hi) && !(hi === 0 && lo * 2 * MIB === 0x4020_0000))) others++;
    expect(others).toBe(0);
  });

  it('take everything in once two share a place', () => {
    const r = new LargeRegions();
    // 2^21 * 1024 apart.
    r.note(0, 0, 21);
    r.note(0x8000_0000 | 0, 0, 21);
    expect(r.has(0, 0)).toBe(true);
    expect(r.has(0x8000_0000 | 0, 0)).toBe(true);
    r.clear();
    expect(r.has(0, 0)).toBe(false);
  });

  it('of blocks above 2 MiB reach to the ends of the block', () => {
    for (const shift of [25, 29, 30]) {
      const r = new LargeRegions();
      r.note(0x4123_4000, 0, shift);
      expect(r.has(0x4000_0000, 0), `2^${shift}`).toBe(true);
      expect(r.has(0x3fff_f000, 0)).toBe(false);
    }
  });
});
