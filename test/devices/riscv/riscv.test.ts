/** The devices of the RISC-V board: ACLINT, PLIC, test finisher, goldfish RTC, HTIF. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { Aclint } from '#lib/devices/riscv/aclint.js';
import { GoldfishRtc } from '#lib/devices/riscv/goldfish-rtc.js';
import { Htif } from '#lib/devices/riscv/htif.js';
import { Plic } from '#lib/devices/riscv/plic.js';
import { SifiveTest } from '#lib/devices/riscv/sifive-test.js';
import { fuzzDevice, TestLine } from '../fuzz.js';

describe('ACLINT', () => {
  it('raises software interrupts and timer interrupts at their tick', () => {
    const clock = new ManualClock(0);
    const [msi, mti] = [new TestLine(), new TestLine()];
    const d = new Aclint({ clock, timebaseHz: 10_000_000, msi: [msi], mti: [mti] });
    d.mmio.write(0, 4, 3);
    expect([d.mmio.read(0, 4), msi.level]).toEqual([1, true]);
    d.mmio.write(0, 4, 0);
    expect(msi.level).toBe(false);
    d.mmio.write(0x4004, 4, 0);
    d.mmio.write(0x4000, 4, 50);
    clock.advance(4900);
    expect([d.mmio.read(0xbff8, 4), mti.level]).toEqual([49, false]);
    clock.advance(100);
    expect(mti.level).toBe(true);
    d.mmio.write(0x4000, 4, 1000);
    expect(mti.level).toBe(false);
    // Time set forward by the guest reaches the deadline at once.
    d.mmio.write(0xbff8, 4, 2000);
    expect(mti.level).toBe(true);
  });

  it('survives anything', () => {
    fuzzDevice(({ clock, line }) => {
      const device = new Aclint({ clock, timebaseHz: 10_000_000, msi: [line(), line()], mti: [line(), line()] });
      return { device, regions: [{ io: device.mmio, length: 0x10 }, { io: { read: (o, s) => device.mmio.read(0x4000 + o, s), write: (o, s, v) => device.mmio.write(0x4000 + o, s, v) }, length: 0x20 }, { io: { read: (o, s) => device.mmio.read(0xbff8 + o, s), write: (o, s, v) => device.mmio.write(0xbff8 + o, s, v) }, length: 8 }] };
    });
  });
});

describe('PLIC', () => {
  function rig(): { d: Plic; m: TestLine; s: TestLine; rd: (o: number) => number; wr: (o: number, v: number) => void } {
    const [m, s] = [new TestLine(), new TestLine()];
    const d = new Plic({ sources: 40, contexts: [m, s] });
    return { d, m, s, rd: (o) => d.mmio.read(o, 4), wr: (o, v) => d.mmio.write(o, 4, v) };
  }

  it('claims the highest priority, lowest number first, and again after completion while the level lasts', () => {
    const { d, m, s, rd, wr } = rig();
    wr(4 * 3, 1);
    wr(4 * 35, 2);
    wr(4 * 5, 1);
    wr(0x2080, (1 << 3) | (1 << 5));
    wr(0x2084, 1 << 3);
    for (const i of [3, 5, 35]) d.irqs[i].set(true);
    expect([m.level, s.level]).toEqual([false, true]);
    expect([rd(0x1000), rd(0x1004)]).toEqual([(1 << 3) | (1 << 5), 1 << 3]);
    expect([rd(0x20_1004), rd(0x20_1004), rd(0x20_1004), rd(0x20_1004)]).toEqual([35, 3, 5, 0]);
    expect(s.level).toBe(false);
    d.irqs[3].set(false);
    wr(0x20_1004, 3);
    wr(0x20_1004, 5);
    expect([s.level, rd(0x20_1004)]).toEqual([true, 5]);
  });

  it('keeps what is not above the threshold', () => {
    const { d, s, wr } = rig();
    wr(4 * 3, 2);
    wr(0x2080, 1 << 3);
    wr(0x20_1000, 2);
    d.irqs[3].set(true);
    expect(s.level).toBe(false);
    wr(0x20_1000, 1);
    expect(s.level).toBe(true);
  });

  it('survives anything', () => {
    fuzzDevice(({ line }) => {
      const device = new Plic({ sources: 40, contexts: [line(), line()] });
      const at = (base: number, length: number) => ({ io: { read: (o: number, n: number) => device.mmio.read(base + o, n), write: (o: number, n: number, v: number) => device.mmio.write(base + o, n, v) }, length });
      return { device, regions: [at(0, 0xc0), at(0x1000, 8), at(0x2000, 0x110), at(0x20_0000, 0x2010)], pokes: [(r) => device.irqs[r % 41].set((r & 64) !== 0)] };
    });
  });
});

describe('test finisher', () => {
  it('ends the machine in three ways', () => {
    const what: string[] = [];
    const d = new SifiveTest({ powerOff: () => what.push('off'), reset: () => what.push('reset'), exit: (s) => what.push(`exit ${s}`) });
    for (const v of [0x5555, 0x7777, 0x3333, 0x2a_3333, 1]) d.mmio.write(0, 4, v);
    expect(what).toEqual(['off', 'reset', 'exit 1', 'exit 42']);
    fuzzDevice(() => ({ device: new SifiveTest({ powerOff: () => {}, reset: () => {}, exit: () => {} }), regions: [{ io: d.mmio, length: 16 }] }));
  });
});

describe('goldfish RTC', () => {
  it('tells the time in nanoseconds and rings', () => {
    const clock = new ManualClock(0);
    const irq = new TestLine();
    const d = new GoldfishRtc({ clock, wallClock: () => 1_700_000_000_000 + clock.now() / 1e6, irq });
    const now = (): bigint => BigInt(d.mmio.read(0, 4)) + (BigInt(d.mmio.read(4, 4)) << 32n);
    expect(now()).toBe(1_700_000_000_000_000_000n);
    const at = now() + 5_000_000n;
    d.mmio.write(0x10, 4, 1);
    d.mmio.write(0x0c, 4, Number(at >> 32n));
    d.mmio.write(0x08, 4, Number(at & 0xffff_ffffn));
    expect([d.mmio.read(0x18, 4), irq.level]).toEqual([1, false]);
    clock.advance(5_000_000);
    expect([d.mmio.read(0x18, 4), irq.level]).toEqual([0, true]);
    d.mmio.write(0x1c, 4, 1);
    expect(irq.level).toBe(false);
  });

  it('reads as unsigned words before the epoch', () => {
    const clock = new ManualClock(0);
    const d = new GoldfishRtc({ clock, wallClock: () => -1, irq: new TestLine() });
    expect([d.mmio.read(0, 4), d.mmio.read(4, 4)]).toEqual([2 ** 32 - 1_000_000, 0xffff_ffff]);
  });

  it('survives anything', () => {
    fuzzDevice(({ clock, line }) => {
      const device = new GoldfishRtc({ clock, wallClock: () => 1_700_000_000_000 + clock.now() / 1e6, irq: line() });
      return { device, regions: [{ io: device.mmio, length: 0x24 }] };
    });
  });
});

describe('HTIF', () => {
  it('ends by an odd value and prints by a command', () => {
    const codes: number[] = [];
    let text = '';
    const d = new Htif({ tohost: 0, fromhost: 64, exit: (c) => codes.push(c), write: (b) => (text += String.fromCharCode(...b)) });
    d.mmio.write(0, 4, 0x41);
    d.mmio.write(4, 4, 0x0101_0000);
    expect([text, d.mmio.read(0, 4), d.mmio.read(68, 4)]).toEqual(['A', 0, 0x0101_0000]);
    d.mmio.write(0, 4, (7 << 1) | 1);
    d.mmio.write(4, 4, 0);
    // Programs that store the lower half alone do so again and again.
    d.mmio.write(0, 4, 3);
    d.mmio.write(0, 4, 3);
    expect(codes).toEqual([7, 1]);
  });

  it('survives anything', () => {
    fuzzDevice(() => {
      const device = new Htif({ tohost: 0, fromhost: 64, exit: () => {}, write: () => {} });
      return { device, regions: [{ io: device.mmio, length: 4096 }] };
    });
  });
});
