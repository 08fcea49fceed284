import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { Hpet } from '#lib/devices/timer/hpet.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

function make(clock = new ManualClock()) {
  const gsis = Array.from({ length: 24 }, () => new TestLine());
  const irq0 = new TestLine();
  const irq8 = new TestLine();
  const h = new Hpet({ clock, gsis, irq0, irq8 });
  return { h, gsis, irq0, irq8, clock, rd: (a: number) => h.mmio.read(a, 4), wr: (a: number, v: number) => h.mmio.write(a, 4, v) };
}

describe('HPET', () => {
  it('identifies itself and counts', () => {
    const { rd, wr, clock } = make();
    expect(rd(0)).toBe(0x8086a201);
    expect(rd(4)).toBe(10_000_000);
    clock.advance(1000);
    expect(rd(0xf0)).toBe(0);
    wr(0xf0, 0xffffffff);
    wr(0x10, 1);
    clock.advance(50);
    expect([rd(0xf0), rd(0xf4)]).toEqual([4, 1]);
    wr(0x10, 0);
    clock.advance(50);
    expect(rd(0xf0)).toBe(4);
  });

  it('one-shot in legacy mode takes over IRQ 0 from the PIT', () => {
    const { h, rd, wr, clock, irq0 } = make();
    h.pitIrq0.set(true);
    expect(irq0.level).toBe(true);
    wr(0x10, 3);
    expect(irq0.level).toBe(false);
    h.pitIrq0.set(false);
    h.pitIrq0.set(true);
    expect(irq0.level).toBe(false);
    wr(0x100, 0x104);
    wr(0x108, rd(0xf0) + 1000);
    clock.advance(9_990);
    expect(irq0.rises).toBe(1);
    clock.advance(10);
    expect(irq0.rises).toBe(2);
    clock.advance(1e9);
    expect(irq0.rises).toBe(2);
    wr(0x108, rd(0xf0) - 5); // just gone
    clock.advance(0);
    expect(irq0.rises).toBe(3);
  });

  it('periodic, programmed as Linux does', () => {
    const { rd, wr, clock, irq0 } = make();
    wr(0x10, 3);
    wr(0x100, 0x14c); // 32 bit, VAL_SET, periodic, enabled
    wr(0x108, rd(0xf0) + 100_000);
    wr(0x108, 100_000);
    expect(rd(0x100) & 0x40).toBe(0);
    for (let i = 0; i < 10; i++) clock.advance(1e6);
    expect(irq0.rises).toBe(10);
    clock.jump(1e9); // ticks lost are lost
    expect(irq0.rises).toBe(11);
    clock.advance(1e6);
    expect(irq0.rises).toBe(12);
  });

  it('keeps a 32-bit period longer than half a turn', () => {
    const { rd, wr, clock, irq0 } = make();
    wr(0x10, 3);
    wr(0x100, 0x14c);
    wr(0x108, rd(0xf0) + 1000);
    wr(0x108, 0xc0000000);
    clock.advance(10_000);
    expect(irq0.rises).toBe(1);
    clock.advance(0xc0000000 * 10 - 10);
    expect(irq0.rises).toBe(1);
    clock.advance(10);
    expect(irq0.rises).toBe(2);
  });

  it('level-triggered, routed to a pin', () => {
    const { rd, wr, clock, gsis } = make();
    expect(rd(0x144)).toBe(0x00f00000);
    wr(0x140, (5 << 9) | 6);
    expect((rd(0x140) >> 9) & 31).toBe(0);
    wr(0x140, (21 << 9) | 6);
    wr(0x10, 1);
    wr(0x148, 100);
    wr(0x14c, 0);
    clock.advance(1000);
    expect(gsis[21].level).toBe(true);
    expect(rd(0x20)).toBe(4);
    wr(0x20, 4);
    expect(gsis[21].level).toBe(false);
  });

  it('waits without a storm while the clock is behind its start', () => {
    const { rd, wr, clock, irq0 } = make();
    clock.advance(1_000_000);
    wr(0x10, 3);
    wr(0x100, 0x104);
    wr(0x108, rd(0xf0) + 1);
    clock.jump(-500_000);
    expect(clock.advance(400_000)).toBeLessThan(10);
    expect(irq0.rises).toBe(0);
    clock.advance(200_000);
    expect(irq0.rises).toBe(1);
  });

  it('survives fuzzing', () => {
    fuzzDevice(({ clock }) => {
      const { h } = make(clock);
      return { device: h, regions: [{ io: h.mmio, length: 0x180 }], pokes: [(r) => h.pitIrq0.set((r & 1) !== 0)] };
    });
  });
});
