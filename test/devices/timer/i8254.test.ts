import { describe, expect, it } from 'vitest';
import { ManualClock, ticksToNs } from '#lib/devices/clock.js';
import { I8254, PIT_HZ } from '#lib/devices/timer/i8254.js';
import { Port61 } from '#lib/devices/misc/port61.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

function make(): { pit: I8254; irq0: TestLine; clock: ManualClock; go: (ticks: number) => void; p61: Port61 } {
  const clock = new ManualClock();
  const irq0 = new TestLine();
  const pit = new I8254({ clock, irq0 });
  let t = 0;
  return {
    pit,
    irq0,
    clock,
    p61: new Port61({ clock, pit }),
    go: (ticks) => {
      t += ticks;
      clock.advance(ticksToNs(t, PIT_HZ) - clock.now());
    },
  };
}

const load = (pit: I8254, ch: number, mode: number, n: number, bcd = 0): void => {
  pit.ports.write(3, 1, (ch << 6) | 0x30 | (mode << 1) | bcd);
  pit.ports.write(ch, 1, n & 255);
  pit.ports.write(ch, 1, n >> 8);
};
const count = (pit: I8254, ch: number): number => {
  pit.ports.write(3, 1, ch << 6);
  return pit.ports.read(ch, 1) | (pit.ports.read(ch, 1) << 8);
};

describe('8254', () => {
  it('mode 0 interrupts once and wraps', () => {
    const { pit, irq0, go } = make();
    load(pit, 0, 0, 100);
    expect(irq0.level).toBe(false);
    go(40);
    expect(count(pit, 0)).toBe(60);
    go(59);
    expect(irq0.level).toBe(false);
    go(1);
    expect(irq0.level).toBe(true);
    go(10);
    expect(count(pit, 0)).toBe(65526);
    go(70000);
    expect(irq0.rises).toBe(1);
  });

  it.each([2, 3])('mode %i interrupts once per period', (mode) => {
    const { pit, irq0, go } = make();
    load(pit, 0, mode, 11932);
    const before = irq0.rises;
    for (let i = 0; i < 100; i++) go(11932);
    expect(irq0.rises - before).toBe(100);
  });

  it('mode 3 counts by two, with its output high for the first half', () => {
    const { pit, go, p61 } = make();
    p61.ports.write(0, 1, 1);
    load(pit, 2, 3, 101);
    go(10);
    expect(count(pit, 2)).toBe(80);
    expect(pit.out2).toBe(true);
    go(41);
    expect(pit.out2).toBe(false);
    expect(count(pit, 2)).toBe(100);
  });

  it('modes 1 and 5 wait for the gate, mode 4 strobes', () => {
    const { pit, go, p61 } = make();
    load(pit, 2, 1, 50);
    go(100);
    expect(pit.out2).toBe(true);
    p61.ports.write(0, 1, 1);
    expect(pit.out2).toBe(false);
    go(49);
    expect(pit.out2).toBe(false);
    go(1);
    expect(p61.ports.read(0, 1) & 0x20).toBe(0x20);
    p61.ports.write(0, 1, 0);
    load(pit, 2, 5, 50);
    p61.ports.write(0, 1, 1);
    go(50);
    expect(pit.out2).toBe(false);
    go(1);
    expect(pit.out2).toBe(true);
    load(pit, 2, 4, 50);
    go(50);
    expect(pit.out2).toBe(false);
    go(1);
    expect(pit.out2).toBe(true);
  });

  it('calibrates a TSC: mode 0 on channel 2 through port 61h', () => {
    const { pit, go, p61 } = make();
    p61.ports.write(0, 1, (p61.ports.read(0, 1) & ~2) | 1);
    load(pit, 2, 0, 59659);
    go(59658);
    expect(p61.ports.read(0, 1) & 0x20).toBe(0);
    go(1);
    expect(p61.ports.read(0, 1) & 0x20).toBe(0x20);
  });

  it('pauses while the gate is low', () => {
    const { pit, go, p61 } = make();
    p61.ports.write(0, 1, 1);
    load(pit, 2, 0, 100);
    go(30);
    p61.ports.write(0, 1, 0);
    go(1000);
    expect(count(pit, 2)).toBe(70);
    p61.ports.write(0, 1, 1);
    go(20);
    expect(count(pit, 2)).toBe(50);
  });

  it('counts in BCD', () => {
    const { pit, go, p61 } = make();
    p61.ports.write(0, 1, 1);
    load(pit, 2, 2, 0x1234, 1);
    go(35);
    expect(count(pit, 2)).toBe(0x1199);
    load(pit, 2, 2, 0, 1);
    go(1);
    expect(count(pit, 2)).toBe(0x9999);
  });

  it('takes a new count of a periodic mode at the end of the cycle', () => {
    const { pit, irq0, go } = make();
    load(pit, 0, 2, 30000);
    const before = irq0.rises;
    go(10);
    pit.ports.write(0, 1, 50000 & 255);
    pit.ports.write(0, 1, 50000 >> 8);
    go(29990);
    expect(irq0.rises - before).toBe(1);
    go(49999);
    expect(irq0.rises - before).toBe(1);
    go(1);
    expect(irq0.rises - before).toBe(2);
  });

  it('reads back status and count, and latches once', () => {
    const { pit, go } = make();
    load(pit, 0, 2, 1000);
    go(100);
    pit.ports.write(3, 1, 0xc2);
    go(100);
    pit.ports.write(3, 1, 0x00);
    expect(pit.ports.read(0, 1)).toBe(0xb4);
    expect(pit.ports.read(0, 1) | (pit.ports.read(0, 1) << 8)).toBe(900);
    pit.ports.write(3, 1, 0x34);
    pit.ports.write(3, 1, 0xe2);
    expect(pit.ports.read(0, 1) & 0x40).toBe(0x40);
  });

  it('keeps its count and its state when the clock goes back while the gate is low', () => {
    const { pit, clock, go, p61 } = make();
    p61.ports.write(0, 1, 1);
    load(pit, 2, 0, 1000);
    go(400);
    p61.ports.write(0, 1, 0);
    expect(count(pit, 2)).toBe(600);
    clock.jump(-clock.now());
    p61.ports.write(0, 1, 1);
    expect(count(pit, 2)).toBe(600);
    const saved = pit.save();
    pit.restore(saved);
    expect(pit.save()).toEqual(saved);
    expect(count(pit, 2)).toBe(600);
  });

  it('survives an absurd rate and fuzzing', () => {
    const { pit, clock, irq0 } = make();
    load(pit, 0, 2, 1);
    clock.advance(10_000_000);
    expect(irq0.rises).toBeLessThan(600);
    fuzzDevice(({ clock, line }) => {
      const pit = new I8254({ clock, irq0: line() });
      const p61 = new Port61({ clock, pit });
      return { device: pit, regions: [{ io: pit.ports, length: 4 }, { io: p61.ports, length: 1 }] };
    });
  });
});
