import { describe, expect, it } from 'vitest';
import { fuzzDevice } from '../fuzz.js';
import { Bench, MODES } from './modes.js';
import { Vga } from '#lib/devices/display/vga.js';

/** Planar memory, all planes written, 64 KiB at A0000h. */
function planar(): Bench {
  const b = new Bench();
  b.mode(MODES.vga16);
  return b;
}
/** The four planes at an address. */
const planes = (b: Bench, at: number): number[] => [...b.vram.subarray(at * 4, at * 4 + 4)];

describe('VGA registers', () => {
  it('have the bits they have', () => {
    const b = new Bench();
    b.out(0x3c2, 0xff);
    expect(b.in(0x3cc)).toBe(0xef);
    for (const [i, mask] of [0x03, 0x3d, 0x0f, 0x3f, 0x0e].entries()) {
      b.set(0x3c4, i, 0xff);
      expect(b.get(0x3c4, i)).toBe(mask);
    }
    for (const [i, mask] of [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff].entries()) {
      b.set(0x3ce, i, 0xff);
      expect(b.get(0x3ce, i)).toBe(mask);
    }
    expect([b.get(0x3c4, 7), b.get(0x3ce, 12), b.get(0x3d4, 0x30)]).toEqual([0, 0, 0]);
    for (const [i, mask] of [[0, 0x3f], [0x10, 0xef], [0x11, 0xff], [0x12, 0x3f], [0x13, 0x0f], [0x14, 0x0f]] as const) {
      b.attr(i, 0xff);
      b.in(0x3da);
      b.out(0x3c0, i);
      expect(b.in(0x3c1)).toBe(mask);
    }
    b.out(0x3da, 0xff);
    expect(b.in(0x3ca)).toBe(0x0b);
  });

  it('answer at the colour or the monochrome addresses', () => {
    const b = new Bench();
    b.out(0x3c2, 1);
    b.set(0x3d4, 0x0f, 0x5a);
    expect([b.get(0x3d4, 0x0f), b.in(0x3b5)]).toEqual([0x5a, 0xff]);
    b.out(0x3c2, 0);
    expect([b.get(0x3b4, 0x0f), b.in(0x3d5), b.in(0x3da)]).toEqual([0x5a, 0xff, 0xff]);
    b.out(0x3c3, 0);
    expect([b.in(0x3cc), b.in(0x3c3)]).toEqual([0xff, 0]);
    b.out(0x3c3, 1);
    expect(b.in(0x3cc)).toBe(0);
  });

  it('CRTC 0 to 7 are protected, but for the line compare bit', () => {
    const b = new Bench();
    b.out(0x3c2, 1);
    b.set(0x3d4, 3, 0x80);
    b.set(0x3d4, 0, 0x5f);
    b.set(0x3d4, 7, 0x0f);
    b.set(0x3d4, 0x11, 0x80);
    b.set(0x3d4, 0, 0);
    b.set(0x3d4, 7, 0xf0);
    expect([b.get(0x3d4, 0), b.get(0x3d4, 7), b.get(0x3d4, 0x11)]).toEqual([0x5f, 0x1f, 0x80]);
  });

  it('the attribute flip-flop is reset by status 1 and shows in CRTC 24h', () => {
    const b = new Bench();
    b.out(0x3c2, 1);
    b.in(0x3da);
    expect(b.get(0x3d4, 0x24)).toBe(0);
    b.out(0x3c0, 0x11);
    expect([b.get(0x3d4, 0x24), b.get(0x3d4, 0x26)]).toEqual([0x80, 0x11]);
    b.in(0x3da);
    b.out(0x3c0, 0x12);
    b.out(0x3c0, 0x0f);
    expect([b.in(0x3c0), b.in(0x3c1)]).toEqual([0x12, 0x0f]);
  });

  it('the DAC takes and gives three components, and a colour changes with the third', () => {
    const b = new Bench();
    b.out(0x3c8, 254);
    for (const v of [0xff, 2, 3, 4, 5, 6, 7, 8]) b.out(0x3c9, v);
    expect([b.in(0x3c8), b.in(0x3c7)]).toEqual([0, 0]);
    b.out(0x3c7, 254);
    expect(b.in(0x3c7)).toBe(3);
    // Six bits; the colour begun last is not there.
    expect(Array.from({ length: 9 }, () => b.in(0x3c9))).toEqual([63, 2, 3, 4, 5, 6, 0, 0, 0]);
    b.vga.dac8 = true;
    b.out(0x3c8, 0);
    for (const v of [0xff, 0x80, 1]) b.out(0x3c9, v);
    b.out(0x3c7, 0);
    expect([b.in(0x3c9), b.in(0x3c9), b.in(0x3c9)]).toEqual([0xff, 0x80, 1]);
  });

  it('status 1 follows the beam of 80 by 25 text: 31.47 kHz, 70 Hz', () => {
    const b = new Bench();
    b.mode(MODES.text80);
    let frames = 0;
    let retraceNs = 0;
    let offNs = 0;
    let before = b.in(0x3da) & 8;
    const step = 500;
    for (let t = 0; t < 1e8; t += step) {
      const v = b.in(0x3da);
      if (v & 8 && !before) frames++;
      before = v & 8;
      if (v & 8) retraceNs += step;
      if (v & 1) offNs += step;
      b.clock.jump(step);
    }
    expect(frames).toBe(7);
    // Two of 449 lines; 400 of 449 lines with 80 of 100 characters are shown.
    expect(retraceNs / 1e8).toBeCloseTo(2 / 449, 3);
    expect(1 - offNs / 1e8).toBeCloseTo((400 / 449) * 0.8, 2);
  });

  it('the retrace interrupt shows in status 0 until it is cleared', () => {
    const b = new Bench();
    b.mode(MODES.text80);
    b.set(0x3d4, 0x11, 0x0e);
    b.set(0x3d4, 0x11, 0x1e);
    expect(b.in(0x3c2) & 0x80).toBe(0);
    b.clock.jump(20e6);
    expect(b.in(0x3c2) & 0x80).toBe(0x80);
    b.set(0x3d4, 0x11, 0x0e);
    b.set(0x3d4, 0x11, 0x1e);
    expect(b.in(0x3c2) & 0x80).toBe(0);
  });
});

describe('VGA memory', () => {
  it('write mode 0: map mask, rotate, set/reset, logical operations, bit mask', () => {
    const b = planar();
    b.write(0xa0000, 0xa5);
    expect(planes(b, 0)).toEqual([0xa5, 0xa5, 0xa5, 0xa5]);
    b.set(0x3c4, 2, 0x05);
    b.set(0x3ce, 3, 4);
    b.write(0xa0000, 0x12);
    expect(planes(b, 0)).toEqual([0x21, 0xa5, 0x21, 0xa5]);
    b.set(0x3c4, 2, 0x0f);
    b.set(0x3ce, 3, 0);
    // Planes 0 and 1 come from set/reset: 1 and 0.
    b.set(0x3ce, 0, 0x01);
    b.set(0x3ce, 1, 0x03);
    b.write(0xa0001, 0x3c);
    expect(planes(b, 1)).toEqual([0xff, 0, 0x3c, 0x3c]);
    b.set(0x3ce, 1, 0);
    // Bit mask: bits outside come from the latches.
    b.read(0xa0001);
    b.set(0x3ce, 8, 0xf0);
    b.write(0xa0002, 0x55);
    expect(planes(b, 2)).toEqual([0x5f, 0x50, 0x5c, 0x5c]);
    b.set(0x3ce, 8, 0xff);
    for (const [op, want] of [[1, [0x0f, 0, 0x0c, 0x0c]], [2, [0xff, 0x0f, 0x3f, 0x3f]], [3, [0xf0, 0x0f, 0x33, 0x33]]] as const) {
      b.read(0xa0001);
      b.set(0x3ce, 3, op << 3);
      b.write(0xa0003, 0x0f);
      expect(planes(b, 3)).toEqual(want);
    }
  });

  it('write mode 1 copies latches; 2 spreads a colour; 3 masks set/reset', () => {
    const b = planar();
    b.vram.set([1, 2, 3, 4], 0);
    b.read(0xa0000);
    b.set(0x3ce, 5, 1);
    b.set(0x3ce, 8, 0);
    b.write(0xa0010, 0xff);
    expect(planes(b, 0x10)).toEqual([1, 2, 3, 4]);
    b.set(0x3ce, 5, 2);
    b.set(0x3ce, 8, 0x0f);
    b.write(0xa0011, 0x0a);
    expect(planes(b, 0x11)).toEqual([0, 0x0f, 3 & 0xf0, 0x0f].map((v, p) => v | ([1, 2, 3, 4][p]! & 0xf0)));
    b.set(0x3ce, 5, 3);
    b.set(0x3ce, 0, 0x05);
    b.set(0x3ce, 8, 0xfc);
    b.set(0x3ce, 3, 1);
    // 0x78 rotated right by one is 0x3c.
    b.write(0xa0012, 0x78);
    expect(planes(b, 0x12)).toEqual([0x3d, 2, 0x3f, 0].map((v, p) => (p === 3 ? 4 & ~0x3c : v & 0xff)).map((v, p) => (p === 1 ? 2 & ~0x3c : v)));
  });

  it('read mode 0 gives a plane, read mode 1 compares, CRTC 22h shows the latch', () => {
    const b = planar();
    b.vram.set([0xf0, 0xcc, 0xaa, 0xff], 0);
    b.set(0x3ce, 4, 2);
    expect([b.read(0xa0000), b.get(0x3d4, 0x22)]).toEqual([0xaa, 0xaa]);
    b.set(0x3ce, 5, 8);
    b.set(0x3ce, 2, 0x0b);
    b.set(0x3ce, 7, 0x0f);
    // Colour 11: planes 0, 1, 3 set and plane 2 clear.
    expect(b.read(0xa0000)).toBe(0xf0 & 0xcc & ~0xaa & 0xff);
    b.set(0x3ce, 7, 0x03);
    expect(b.read(0xa0000)).toBe(0xf0 & 0xcc);
    b.set(0x3ce, 7, 0);
    expect(b.read(0xa0000)).toBe(0xff);
  });

  it('odd/even: characters in plane 0, attributes in plane 1, at even addresses', () => {
    const b = new Bench();
    b.mode(MODES.text80);
    b.write(0xb8002, 0x1741, 2);
    expect(planes(b, 2)).toEqual([0x41, 0x17, 0, 0]);
    expect(b.read(0xb8002, 2)).toBe(0x1741);
    expect(b.read(0xa0000, 4)).toBe(0xffff_ffff);
    b.write(0xb8004, 0x44332211, 4);
    expect([planes(b, 4), planes(b, 6)]).toEqual([[0x11, 0x22, 0, 0], [0x33, 0x44, 0, 0]]);
  });

  it('chain-4: consecutive bytes in consecutive planes', () => {
    const b = new Bench();
    b.mode(MODES.vga256);
    b.write(0xa0005, 0x04030201, 4);
    expect([...b.vram.subarray(4, 10)]).toEqual([0, 1, 2, 3, 4, 0]);
    expect(b.read(0xa0006, 2)).toBe(0x0302);
    b.set(0x3c4, 2, 0x0d);
    b.write(0xa0010, 0x04030201, 4);
    expect([...b.vram.subarray(16, 20)]).toEqual([1, 0, 3, 4]);
  });

  it('the four memory maps, and none without RAM enable', () => {
    const b = planar();
    const starts = [0xa0000, 0xa0000, 0xb0000, 0xb8000];
    const ends = [0xbffff, 0xaffff, 0xb7fff, 0xbffff];
    for (let map = 0; map < 4; map++) {
      b.vram.fill(0);
      b.set(0x3ce, 6, 1 | (map << 2));
      b.write(starts[map]!, 1);
      b.write(ends[map]!, 2);
      b.write(ends[map]! + 1, 3);
      b.write(starts[map]! - 1, 3);
      expect(planes(b, 0)[0]).toBe(1);
      expect(planes(b, (ends[map]! - starts[map]!) & 0xffff)[0]).toBe(2);
      expect(b.vram.includes(3)).toBe(false);
    }
    b.out(0x3c2, 0xe1);
    expect(b.read(0xb8000)).toBe(0xff);
  });

  it('survives anything', () => {
    for (let seed = 1; seed <= 3; seed++) {
      fuzzDevice(
        ({ clock }) => {
          const device = new Vga({ clock, vram: new Uint8Array(0x4_0000) });
          return { device, regions: [{ io: device.ports, length: 0x30 }, { io: device.memory, length: 0x2_0000 }] };
        },
        6000,
        seed,
      );
    }
  });
});
