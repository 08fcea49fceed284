import { describe, expect, it } from 'vitest';
import { randomFrom } from '../fuzz.js';
import { Bench, MODES } from './modes.js';

const size = (b: Bench): [number, number] => {
  const s = b.draw();
  return [s.width, s.height];
};
/** A row of dots as text: '#' where the colour is `on`. */
const dots = (b: Bench, x: number, y: number, n: number, on: string): string => Array.from({ length: n }, (_, i) => (b.dot(x + i, y) === on ? '#' : '.')).join('');

function text(): Bench {
  const b = new Bench();
  b.mode(MODES.text80);
  b.font();
  // The cursor off, where a test is not about it.
  b.set(0x3d4, 0x0a, 0x20);
  return b;
}

describe('text modes', () => {
  it('720 by 400 with the guest’s font, colours of attributes, nine dots with line graphics', () => {
    const b = text();
    b.print('A\xc1\xa1', 0x1e);
    expect(size(b)).toEqual([720, 400]);
    expect(b.text()[0]!.slice(0, 4)).toBe('A┴í ');
    expect(b.text()).toHaveLength(25);
    // Row 4 of 'A' is 41h ^ 4 = 45h.
    expect(dots(b, 0, 4, 9, 'ffff57')).toBe('.#...#.#.');
    expect(b.dot(0, 4)).toBe('0000a8');
    // C1h ^ 0: the eighth dot is repeated for line graphics, not for others.
    expect(dots(b, 9, 0, 9, 'ffff57')).toBe('##.....##');
    expect(dots(b, 18, 0, 9, 'ffff57')).toBe('#.#....#.');
    b.attr(0x10, 0x08);
    b.draw();
    expect(dots(b, 9, 0, 9, 'ffff57')).toBe('##.....#.');
    expect(b.hash()).toMatchInlineSnapshot(`"205caa01fa96ac4f"`);
  });

  it('blink or bright background', () => {
    const b = text();
    b.print('\xff', 0x9f);
    b.draw();
    expect([b.dot(0, 0), b.dot(8, 0)]).toEqual(['ffffff', '0000a8']);
    // Half a period of 32 frames on, the character is gone.
    b.clock.jump(16 * 14.3e6);
    b.draw();
    expect([b.dot(0, 0), b.dot(8, 0)]).toEqual(['0000a8', '0000a8']);
    b.attr(0x10, 0x04);
    b.draw();
    expect([b.dot(0, 0), b.dot(8, 0)]).toEqual(['ffffff', '5757ff']);
  });

  it('cursor: shape, place, blink, off', () => {
    const b = text();
    b.print('\0'.repeat(80), 0x07, 1);
    b.set(0x3d4, 0x0a, 13);
    b.set(0x3d4, 0x0b, 14);
    b.set(0x3d4, 0x0e, 0);
    b.set(0x3d4, 0x0f, 82);
    b.draw();
    expect([12, 13, 14, 15].map((y) => dots(b, 18, 16 + y, 9, 'a8a8a8'))).toEqual(['....##...', '#########', '#########', '....####.']);
    b.clock.jump(8 * 14.3e6);
    b.draw();
    expect(dots(b, 18, 29, 9, 'a8a8a8')).toBe('....##.#.');
    b.clock.jump(8 * 14.3e6);
    b.set(0x3d4, 0x0a, 0x2d);
    b.draw();
    expect(dots(b, 18, 29, 9, 'a8a8a8')).toBe('....##.#.');
  });

  it('underline of monochrome attribute 1', () => {
    const b = text();
    b.print('\0\0', 0x01);
    b.print('\0', 0x07, 0, 1);
    b.set(0x3d4, 0x14, 12);
    b.draw();
    expect([dots(b, 0, 12, 9, '0000a8'), dots(b, 9, 12, 9, 'a8a8a8')]).toEqual(['#########', '....##...']);
  });

  it('two character maps by attribute bit 3', () => {
    const b = text();
    for (let row = 0; row < 16; row++) b.vram[(0x2000 + 65 * 32 + row) * 4 + 2] = 0xf0;
    // Map A (bit 3 set): 4, at 8 KiB; map B: 0.
    b.set(0x3c4, 3, 0x20);
    b.print('A', 0x07);
    b.print('A', 0x0f, 0, 1);
    b.draw();
    expect([dots(b, 0, 0, 9, 'a8a8a8'), dots(b, 9, 0, 9, 'ffffff')]).toEqual(['.#.....#.', '####.....']);
  });

  it('start address, panning, preset row, split screen', () => {
    const b = text();
    for (let r = 0; r < 40; r++) b.print(`row ${r}`, 7, r);
    b.set(0x3d4, 0x0d, 160);
    expect([b.text()[0]!.trim(), b.text()[24]!.trim()]).toEqual(['row 2', 'row 26']);
    // From line 336 on (row 21) memory is shown from its beginning.
    b.set(0x3d4, 0x18, 335 & 255);
    b.set(0x3d4, 7, 0x1f);
    b.set(0x3d4, 9, 0x0f);
    expect([20, 21, 24].map((r) => b.text()[r]!.trim())).toEqual(['row 22', 'row 0', 'row 3']);
    b.draw();
    const before = [dots(b, 0, 8, 30, 'a8a8a8'), dots(b, 0, 344, 30, 'a8a8a8')];
    b.attr(0x13, 2);
    b.draw();
    expect(dots(b, 0, 8, 27, 'a8a8a8')).toBe(before[0]!.slice(3));
    expect(dots(b, 0, 344, 27, 'a8a8a8')).toBe(before[1]!.slice(3));
    // With pan compatibility the lower part stays.
    b.attr(0x10, 0x2c);
    b.draw();
    expect(dots(b, 0, 344, 27, 'a8a8a8')).toBe(before[1]!.slice(0, 27));
    b.attr(0x13, 8);
    b.set(0x3d4, 8, 3);
    b.draw();
    expect(dots(b, 0, 5, 30, 'a8a8a8')).toBe(before[0]);
    expect(dots(b, 0, 344, 30, 'a8a8a8')).toBe(before[1]);
  });

  it('40 columns have doubled dots', () => {
    const b = new Bench();
    b.mode(MODES.text40);
    b.font();
    b.write(0xb8000, 0x0741, 2);
    expect(size(b)).toEqual([720, 400]);
    expect(dots(b, 0, 4, 18, 'a8a8a8')).toBe('..##......##..##..');
    expect(b.text()[0]).toHaveLength(40);
  });

  it('blank screens are black and keep their size', () => {
    const b = text();
    b.print('A', 0x70);
    b.draw();
    expect(b.dot(0, 0)).toBe('a8a8a8');
    b.set(0x3c4, 1, 0x20);
    expect(size(b)).toEqual([720, 400]);
    expect(b.dot(0, 0)).toBe('000000');
    b.set(0x3c4, 1, 0);
    b.in(0x3da);
    b.out(0x3c0, 0);
    b.draw();
    expect(b.dot(0, 0)).toBe('000000');
    expect(size(new Bench())).toEqual([640, 480]);
  });
});

describe('graphics modes', () => {
  it('640 by 480 in 16 colours', () => {
    const b = new Bench();
    b.mode(MODES.vga16);
    b.vram.set([0x80, 0x40, 0x20, 0x10], (80 * 479 + 79) * 4);
    expect(size(b)).toEqual([640, 480]);
    expect([0, 1, 2, 3, 4].map((x) => b.dot(632 + x, 479))).toEqual(['0000a8', '00a800', 'a80000', '575757', '000000']);
    // Plane enable and pixel panning.
    b.attr(0x12, 0x0e);
    b.attr(0x13, 1);
    b.draw();
    expect([0, 1, 2].map((x) => b.dot(631 + x, 479))).toEqual(['000000', '00a800', 'a80000']);
  });

  it('320 by 200 in 16 colours is doubled both ways', () => {
    const b = new Bench();
    b.mode(MODES.ega320);
    b.vram.set([0xff, 0, 0, 0x0f], 40 * 4);
    expect(size(b)).toEqual([640, 400]);
    expect([[0, 1], [0, 2], [0, 3], [7, 2], [8, 3], [15, 3], [16, 2], [0, 4]].map(([x, y]) => b.dot(x!, y!))).toEqual(['000000', '0000a8', '0000a8', '0000a8', '5757ff', '5757ff', '000000', '000000']);
  });

  it('CGA: odd lines in the second 8 KiB', () => {
    const b = new Bench();
    b.mode(MODES.cga4);
    b.write(0xb8000, 0x1b);
    b.write(0xb8001, 0xe4);
    b.write(0xba000, 0xff);
    expect(size(b)).toEqual([640, 400]);
    const row = (y: number): string[] => [0, 2, 4, 6, 8, 10, 12, 14].map((x) => b.dot(x, y));
    const [c0, c1, c2, c3] = ['000000', '57ffff', 'ff57ff', 'ffffff'];
    expect(row(1)).toEqual([c0, c1, c2, c3, c3, c2, c1, c0]);
    expect(row(2)).toEqual([c3, c3, c3, c3, c0, c0, c0, c0]);
    b.mode(MODES.cga2);
    b.vram.fill(0);
    b.write(0xb8000, 0xa0);
    b.write(0xba04f, 0x01);
    b.draw();
    expect(dots(b, 0, 0, 4, 'ffffff')).toBe('#.#.');
    expect(dots(b, 636, 3, 4, 'ffffff')).toBe('...#');
  });

  it('256 colours, chained and in planes', () => {
    const b = new Bench();
    b.mode(MODES.vga256);
    b.write(0xa0000 + 320 * 199 + 316, 0x04030201, 4);
    expect(size(b)).toEqual([640, 400]);
    expect([632, 633, 634, 636, 638].map((x) => b.dot(x, 398))).toEqual(['0000a8', '0000a8', '00a800', '00a8a8', 'a80000']);
    expect(b.dot(638, 399)).toBe('a80000');
    b.out(0x3c6, 0x01);
    b.draw();
    expect(b.dot(634, 398)).toBe('000000');
    b.out(0x3c6, 0xff);
    b.mode(MODES.modeX);
    b.vram.fill(0);
    b.set(0x3c4, 2, 4);
    b.write(0xa0000 + 80 * 239, 2);
    expect(size(b)).toEqual([640, 480]);
    expect([3, 4, 5, 6].map((x) => b.dot(x, 479))).toEqual(['000000', '00a800', '00a800', '000000']);
    // A page flip.
    b.set(0x3d4, 0x0d, 80);
    b.draw();
    expect(b.dot(4, 477)).toBe('00a800');
  });

  it('line compare in graphics shows memory from its beginning', () => {
    const b = new Bench();
    b.mode(MODES.vga16);
    b.vram.set([0xff, 0, 0, 0], 0);
    b.set(0x3d4, 0x0c, 0x10);
    b.set(0x3d4, 0x18, 99);
    b.set(0x3d4, 7, 0x2e);
    b.set(0x3d4, 9, 0);
    b.draw();
    expect([99, 100, 101].map((y) => b.dot(0, y))).toEqual(['000000', '0000a8', '000000']);
  });

  it('golden pictures', () => {
    const golden: Record<string, string> = {};
    for (const [name, table] of Object.entries(MODES)) {
      const b = new Bench();
      b.mode(table);
      b.out(0x3c8, 64);
      for (let i = 64; i < 256; i++) for (const v of [i >> 2, i & 63, 63 - (i >> 2)]) b.out(0x3c9, v);
      const random = randomFrom(7);
      for (let i = 0; i < b.vram.length; i++) b.vram[i] = random();
      golden[name] = `${size(b).join('x')} ${b.hash()}`;
    }
    expect(golden).toMatchInlineSnapshot(`
      {
        "cga2": "640x400 ec2e33eb7bd67f74",
        "cga4": "640x400 6ded25daaeeb5a8a",
        "ega320": "640x400 45688ec01058109c",
        "modeX": "640x480 c65def7b5c8da28e",
        "text40": "720x400 e0ad6a8ecee0f309",
        "text80": "720x400 49c44e56cd2f2c31",
        "vga16": "640x480 246e0bde4ce05265",
        "vga256": "640x400 d940afe96f3b8935",
      }
    `);
  });

  it('only what changed is reported', () => {
    const b = text();
    b.draw();
    expect(b.surface.takeChanges()).toEqual([{ x: 0, y: 0, width: 720, height: 400 }]);
    b.draw();
    expect(b.surface.takeChanges()).toEqual([]);
    b.print('\xff', 0x0f, 2, 10);
    b.draw();
    expect(b.surface.takeChanges()).toEqual([{ x: 90, y: 32, width: 8, height: 16 }]);
  });

  it('extreme register values stay bounded', () => {
    const random = randomFrom(3);
    for (let i = 0; i < 60; i++) {
      const b = new Bench();
      b.mode(Object.values(MODES)[i % 8]!);
      const extreme = (): number => (random() % 3 === 0 ? 0xff : random() & 0xff);
      for (let n = 0; n < 12; n++) b.set(0x3d4, random() % 0x19, extreme());
      b.set(0x3d4, 0x17, extreme() | 0x80);
      b.set(0x3c4, 1, extreme() & ~0x20);
      b.attr(0x10, extreme());
      b.set(0x3ce, 5, extreme());
      b.set(0x3ce, 6, extreme());
      const start = performance.now();
      const [w, h] = size(b);
      expect(w).toBeLessThanOrEqual(256 * 18);
      expect(h).toBeLessThanOrEqual(2048);
      expect(b.text().length).toBeLessThanOrEqual(1024);
      expect(performance.now() - start).toBeLessThan(3000);
    }
  });
});
