import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { Pl011 } from '#lib/devices/arm/pl011.js';
import { Pl031 } from '#lib/devices/arm/pl031.js';
import { Pl061 } from '#lib/devices/arm/pl061.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

const id = (d: { read(o: number, s: number): number }): number[] => [0, 1, 2, 3].map((i) => d.read(0xfe0 + 4 * i, 4));

describe('PL011', () => {
  it('sends, and says so by its interrupt', () => {
    const irq = new TestLine();
    let out = '';
    const u = new Pl011({ irq, output: (b) => (out += String.fromCharCode(b)) });
    expect(id(u)).toEqual([0x11, 0x10, 0x14, 0x00]);
    u.write(0x30, 4, 0x301);
    u.write(0, 4, 0x41);
    expect(out).toBe('A');
    expect(u.read(0x18, 4) & 0x80).toBe(0x80);
    expect(irq.level).toBe(false);
    u.write(0x38, 4, 0x20);
    expect(irq.level).toBe(true);
    u.write(0x44, 4, 0x20);
    expect(irq.level).toBe(false);
  });

  it('receives up to its FIFO', () => {
    const irq = new TestLine();
    let room = 0;
    const u = new Pl011({ irq, output: () => undefined, onRoom: () => room++ });
    expect(u.receive(Uint8Array.of(1))).toBe(0);
    u.write(0x30, 4, 0x301);
    u.write(0x2c, 4, 0x70);
    u.write(0x38, 4, 0x50);
    expect(u.receive(new Uint8Array(40).fill(7))).toBe(16);
    expect(irq.level).toBe(true);
    expect(u.read(0x18, 4) & 0x40).toBe(0x40);
    for (let i = 0; i < 16; i++) expect(u.read(0, 4)).toBe(7);
    expect(irq.level).toBe(false);
    expect(u.read(0x18, 4) & 0x10).toBe(0x10);
    expect(room).toBe(17);
  });

  it('loops back', () => {
    const u = new Pl011({ irq: new TestLine(), output: () => expect.fail('sent') });
    u.write(0x30, 4, 0x381);
    u.write(0, 4, 0x55);
    expect(u.read(0, 4)).toBe(0x55);
  });

  it('survives a hostile guest', () => {
    fuzzDevice(({ line }) => {
      const device = new Pl011({ irq: line(), output: () => undefined });
      return { device, regions: [{ io: device, length: 0x1000 }], pokes: [(r) => device.receive(Uint8Array.of(r & 255, 1, 2))] };
    });
  });
});

describe('PL031', () => {
  it('counts seconds, is set, and alarms', () => {
    const clock = new ManualClock();
    const irq = new TestLine();
    const r = new Pl031({ irq, clock, wallClock: () => 1_600_000_000_000 + clock.now() / 1e6 });
    expect(id(r)).toEqual([0x31, 0x10, 0x14, 0x00]);
    expect(r.read(0, 4)).toBe(1_600_000_000);
    r.write(8, 4, 1000);
    clock.advance(2.5e9);
    expect(r.read(0, 4)).toBe(1002);
    r.write(4, 4, 1005);
    r.write(0x10, 4, 1);
    clock.advance(2e9);
    expect(irq.level).toBe(false);
    clock.advance(1e9);
    expect(irq.level).toBe(true);
    r.write(0x1c, 4, 1);
    expect(irq.level).toBe(false);
  });

  it('survives a hostile guest', () => {
    fuzzDevice(({ clock, line }) => {
      const device = new Pl031({ irq: line(), clock, wallClock: () => clock.now() / 1e6 });
      return { device, regions: [{ io: device, length: 0x1000 }] };
    });
  });
});

describe('PL061', () => {
  it('reads and writes lines through the address mask', () => {
    const g = new Pl061(new TestLine());
    expect(id(g)).toEqual([0x61, 0x10, 0x04, 0x00]);
    g.write(0x400, 4, 0x0f);
    g.write(0x3fc, 4, 0xff);
    expect(g.read(0x3fc, 4)).toBe(0x0f);
    g.write(0x004, 4, 0);
    expect(g.read(0x3fc, 4)).toBe(0x0e);
    g.setInput(7, true);
    expect(g.read(0x3fc, 4)).toBe(0x8e);
    expect(g.read(0x200, 4)).toBe(0x80);
  });

  it('interrupts on edges and levels', () => {
    const irq = new TestLine();
    const g = new Pl061(irq);
    g.write(0x410, 4, 8);
    g.write(0x40c, 4, 8);
    g.setInput(3, true);
    expect(irq.level).toBe(true);
    g.write(0x41c, 4, 8);
    expect(irq.level).toBe(false);
    g.setInput(3, false);
    expect(irq.level).toBe(false);
    g.write(0x404, 4, 8);
    g.setInput(3, true);
    expect(irq.level).toBe(true);
    g.setInput(3, false);
    expect(irq.level).toBe(false);
  });

  it('survives a hostile guest', () => {
    fuzzDevice(({ line }) => {
      const device = new Pl061(line());
      return { device, regions: [{ io: device, length: 0x1000 }], pokes: [(r) => device.setInput(r & 7, (r & 8) !== 0)] };
    });
  });
});
