import { describe, expect, it } from 'vitest';
import { ManualClock, TimerQueue } from '#lib/devices/clock.js';
import { Mc146818 } from '#lib/devices/timer/mc146818.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

const T0 = Date.UTC(2024, 1, 29, 23, 59, 58);

function make(): { rtc: Mc146818; irq8: TestLine; clock: ManualClock; rd: (i: number) => number; wr: (i: number, v: number) => void } {
  const clock = new ManualClock();
  const irq8 = new TestLine();
  const rtc = new Mc146818({ clock, irq8, wallClock: () => T0 + clock.now() / 1e6 });
  return {
    rtc,
    irq8,
    clock,
    rd: (i) => (rtc.ports.write(0, 1, i), rtc.ports.read(1, 1)),
    wr: (i, v) => (rtc.ports.write(0, 1, i), rtc.ports.write(1, 1, v)),
  };
}

describe('MC146818', () => {
  it('tells the time in BCD and binary, 24 and 12 hours', () => {
    const { rd, wr, clock } = make();
    expect([4, 2, 0, 7, 8, 9, 0x32, 6].map(rd)).toEqual([0x23, 0x59, 0x58, 0x29, 0x02, 0x24, 0x20, 5]);
    wr(0x0b, 0x04);
    expect(rd(4)).toBe(0x80 | 11);
    clock.advance(2e9);
    expect([4, 2, 0, 7, 8].map(rd)).toEqual([12, 0, 0, 1, 3]);
    expect(rd(0x0d)).toBe(0x80);
  });

  it('lets its line fall when register C is read, though the next period is over by then', () => {
    const time = { t: 0, step: 0 };
    const clock = new TimerQueue({ now: () => (time.t += time.step) });
    const irq8 = new TestLine();
    const rtc = new Mc146818({ clock, irq8, wallClock: () => T0 + time.t / 1e6 });
    for (const [i, v] of [[0x0a, 0x26], [0x0b, 0x42]] as const) {
      rtc.ports.write(0, 1, i);
      rtc.ports.write(1, 1, v);
    }
    time.t = 2e6;
    clock.runExpired();
    expect(irq8.rises).toBe(1);
    // A host that was away for longer than a period at every look at the clock.
    time.step = 1.5e6;
    rtc.ports.write(0, 1, 0x0c);
    rtc.ports.read(1, 1);
    expect(irq8.rises).toBe(2);
    expect(irq8.level).toBe(true);
  });

  it('is set under SET and goes on from there', () => {
    const { rd, wr, clock } = make();
    wr(0x0b, 0x82);
    const t: [number, number][] = [[0, 0x30], [2, 0x15], [4, 0x08], [7, 0x01], [8, 0x12], [9, 0x99], [0x32, 0x19]];
    t.forEach(([i, v]) => wr(i, v));
    clock.advance(5e9);
    expect(rd(0)).toBe(0x30);
    wr(0x0b, 0x02);
    clock.advance(3e9);
    expect([0, 2, 4, 7, 8, 9, 0x32].map(rd)).toEqual([0x33, 0x15, 0x08, 0x01, 0x12, 0x99, 0x19]);
  });

  it('starts half a second after the divider reset', () => {
    const { rd, wr, clock } = make();
    wr(0x0a, 0x76);
    wr(0, 0x10);
    clock.advance(1e9);
    wr(0x0a, 0x26);
    clock.advance(499e6);
    expect(rd(0)).toBe(0x10);
    clock.advance(2e6);
    expect(rd(0)).toBe(0x11);
  });

  it('shows UIP before an update', () => {
    const { rd, clock } = make();
    clock.advance(999e6);
    expect(rd(0x0a) & 0x80).toBe(0);
    clock.advance(800_000);
    expect(rd(0x0a) & 0x80).toBe(0x80);
    clock.advance(200_000);
    expect(rd(0x0a) & 0x80).toBe(0);
  });

  it('interrupts periodically until C is read', () => {
    const { rd, wr, clock, irq8 } = make();
    wr(0x0a, 0x26); // 1024 Hz
    rd(0x0c);
    wr(0x0b, 0x42);
    clock.advance(1e9 / 1024 + 1);
    expect(irq8.level).toBe(true);
    clock.advance(1e7);
    expect(irq8.rises).toBe(1);
    expect(rd(0x0c) & 0xc0).toBe(0xc0);
    expect(irq8.level).toBe(false);
    let n = 0;
    for (let i = 0; i < 1024; i++) {
      clock.advance(1e9 / 1024);
      if (irq8.level) n++;
      rd(0x0c);
    }
    expect(n).toBeGreaterThan(1021);
  });

  it('interrupts on update and alarm', () => {
    const { rd, wr, clock, irq8 } = make();
    wr(0x0b, 0x12);
    clock.advance(999e6);
    expect(irq8.level).toBe(false);
    clock.advance(2e6);
    expect(rd(0x0c)).toBe(0x80 | 0x10 | 0x40);
    wr(1, 0x05);
    wr(3, 0x00);
    wr(5, 0xff);
    wr(0x0b, 0x22);
    clock.advance(5e9);
    expect(irq8.level).toBe(false);
    clock.advance(1e9 + 1e7);
    expect(irq8.level).toBe(true);
    expect(rd(0x0c) & 0xa0).toBe(0xa0);
    wr(1, 0x99);
    clock.advance(1e9);
    expect(irq8.level).toBe(false);
  });

  it('keeps NVRAM over reset', () => {
    const { rd, wr, rtc } = make();
    wr(0x40, 0x55);
    rtc.setNvram(0x34, 7);
    rtc.setNvram(0x0b, 0xff);
    rtc.reset();
    expect([rd(0x40), rd(0x34), rd(0x0b)]).toEqual([0x55, 7, 2]);
  });

  it('survives fuzzing', () => {
    fuzzDevice(({ clock, line }) => {
      const rtc = new Mc146818({ clock, irq8: line(), wallClock: () => T0 + clock.now() / 1e6 });
      return { device: rtc, regions: [{ io: rtc.ports, length: 2, sizes: [1] }] };
    });
  });
});
