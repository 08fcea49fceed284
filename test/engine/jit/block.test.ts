import { describe, expect, it } from 'vitest';
import { Block } from '#lib/engine/jit/block.js';

describe('a block', () => {
  it.each([0, 0x7fff_f000, 0x8000_0000, 0xffff_f000])('covers its bytes of the page at RAM offset %d', (page) => {
    expect(new Block(page + 0x20, 0, 0, 16, 4)).toMatchObject({ from: page + 0x20, to: page + 0x30, offset: 0x20 });
    // The rest lies in the next page.
    expect(new Block(page + 0xff8, 0, 0, 16, 4)).toMatchObject({ from: page + 0xff8, to: page + 0x1000, offset: 0xff8 });
  });
});
