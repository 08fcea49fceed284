import { describe, expect, it } from 'vitest';
import { I8237 } from '#lib/devices/dma/i8237.js';
import { TestMemory } from '../memory.js';
import { fuzzDevice } from '../fuzz.js';

describe('8237A', () => {
  it('moves floppy sectors on channel 2', () => {
    const memory = new TestMemory(0x100000);
    const d = new I8237({ memory });
    const out = (p: number, v: number): void => d.low.write(p, 1, v);
    out(0x0a, 6);
    out(0x0c, 0);
    out(0x04, 0x00);
    out(0x04, 0x20);
    d.pages.write(1, 1, 0x03);
    out(0x0c, 0);
    out(0x05, 0xff);
    out(0x05, 0x01);
    out(0x0b, 0x46);
    expect(d.available(2, true)).toBe(0);
    out(0x0a, 2);
    expect(d.available(2, true)).toBe(512);
    expect(d.available(2, false)).toBe(0);
    expect(d.toMemory(2, new Uint8Array(300).fill(7))).toBe(300);
    expect(d.terminalCount(2)).toBe(false);
    expect(d.toMemory(2, new Uint8Array(300).fill(8))).toBe(212);
    expect(d.terminalCount(2)).toBe(true);
    expect([memory.ram[0x32000], memory.ram[0x321ff], memory.ram[0x32200]]).toEqual([7, 8, 0]);
    expect(d.low.read(8, 1)).toBe(4);
    expect(d.low.read(8, 1)).toBe(0);
    expect(d.low.read(15, 1)).toBe(0xff);
  });

  it('auto-initialises and moves words', () => {
    const memory = new TestMemory(0x100000);
    memory.ram.set([1, 2, 3, 4], 0x20010);
    const d = new I8237({ memory });
    const out = (r: number, v: number): void => d.high.write(2 * r, 1, v);
    out(2, 0x08);
    out(2, 0x00);
    d.pages.write(0xb, 1, 0x02);
    out(3, 1);
    out(3, 0);
    out(11, 0x59);
    out(10, 1);
    const b = new Uint8Array(8);
    expect(d.fromMemory(5, b)).toBe(4);
    expect([...b]).toEqual([1, 2, 3, 4, 0, 0, 0, 0]);
    expect(d.available(5, false)).toBe(4);
    expect(d.high.read(1, 1)).toBe(0xff);
  });

  it('survives fuzzing', () => {
    fuzzDevice(() => {
      const d = new I8237({ memory: new TestMemory(0x1000) });
      const buf = new Uint8Array(64);
      return {
        device: d,
        regions: [{ io: d.low, length: 16 }, { io: d.high, length: 32 }, { io: d.pages, length: 16 }],
        pokes: [(r) => d.toMemory(r & 7, buf), (r) => d.fromMemory(r & 7, buf)],
      };
    });
  });
});
