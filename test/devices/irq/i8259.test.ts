import { describe, expect, it } from 'vitest';
import { I8259 } from '#lib/devices/irq/i8259.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

function make(icw4 = 1): { pic: I8259; out: TestLine } {
  const out = new TestLine();
  const pic = new I8259({ out });
  const init = (io: typeof pic.master, base: number, icw3: number): void => {
    io.write(0, 1, 0x11);
    io.write(1, 1, base);
    io.write(1, 1, icw3);
    io.write(1, 1, icw4);
    io.write(1, 1, 0);
  };
  init(pic.master, 0x20, 4);
  init(pic.slave, 0x28, 2);
  return { pic, out };
}

describe('8259A', () => {
  it('delivers by priority and holds back lower requests until EOI', () => {
    const { pic, out } = make();
    pic.setIrq(4, true);
    expect(out.level).toBe(true);
    pic.setIrq(1, true);
    expect(pic.acknowledge()).toBe(0x21);
    expect(out.level).toBe(false);
    pic.master.write(0, 1, 0x20);
    expect(pic.acknowledge()).toBe(0x24);
    pic.setIrq(0, true);
    expect(out.level).toBe(true);
    pic.master.write(0, 1, 0x0b);
    expect(pic.master.read(0, 1)).toBe(0x10);
    pic.master.write(0, 1, 0x0a);
    expect(pic.master.read(0, 1)).toBe(0x01);
  });

  it('needs a new edge, except where ELCR says level', () => {
    const { pic, out } = make();
    pic.setIrq(5, true);
    pic.acknowledge();
    pic.master.write(0, 1, 0x20);
    expect(out.level).toBe(false);
    pic.setIrq(5, false);
    pic.elcr.write(0, 2, 0xffff);
    expect(pic.elcr.read(0, 2)).toBe(0xdef8);
    pic.setIrq(5, true);
    pic.acknowledge();
    pic.master.write(0, 1, 0x20);
    expect(out.level).toBe(true);
    pic.setIrq(5, false);
    expect(out.level).toBe(false);
  });

  it('cascades the slave and gives the spurious vectors', () => {
    const { pic, out } = make();
    pic.setIrq(12, true);
    pic.setIrq(8, true);
    expect(pic.acknowledge()).toBe(0x28);
    pic.slave.write(0, 1, 0x20);
    pic.master.write(0, 1, 0x20);
    expect(out.level).toBe(true);
    expect(pic.acknowledge()).toBe(0x2c);
    pic.slave.write(0, 1, 0x64);
    pic.master.write(0, 1, 0x62);
    expect(out.level).toBe(false);
    expect(pic.acknowledge()).toBe(0x27);
    pic.master.write(0, 1, 0x0b);
    expect(pic.master.read(0, 1)).toBe(0);
  });

  it('keeps a second slave request when both end by themselves', () => {
    const { pic, out } = make(3);
    pic.setIrq(9, true);
    pic.setIrq(10, true);
    expect([pic.acknowledge(), out.level, pic.acknowledge(), out.level]).toEqual([0x29, true, 0x2a, false]);
  });

  it('masks, rotates, polls, and has the special mask mode', () => {
    const { pic, out } = make();
    pic.master.write(1, 1, 0x08);
    pic.setIrq(3, true);
    expect(out.level).toBe(false);
    pic.master.write(1, 1, 0);
    expect(out.level).toBe(true);
    pic.acknowledge();
    pic.setIrq(6, true);
    expect(out.level).toBe(false);
    pic.master.write(1, 1, 0x08);
    pic.master.write(0, 1, 0x68);
    expect(out.level).toBe(true);
    pic.master.write(0, 1, 0x48);
    pic.master.write(0, 1, 0xe3);
    expect(out.level).toBe(true);
    pic.setIrq(4, true);
    pic.master.write(0, 1, 0x0c);
    expect(pic.master.read(0, 1)).toBe(0x84);
    expect(pic.master.read(1, 1)).toBe(0x08);
  });

  it('survives fuzzing', () => {
    fuzzDevice(({ line }) => {
      const pic = new I8259({ out: line() });
      return {
        device: pic,
        regions: [pic.master, pic.slave, pic.elcr].map((io) => ({ io, length: 2 })),
        pokes: [(r) => pic.setIrq(r & 15, (r & 16) !== 0), () => pic.acknowledge()],
      };
    });
  });
});
