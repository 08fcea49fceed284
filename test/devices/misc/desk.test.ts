/** pvpanic and the watchdog. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { I6300Esb } from '#lib/devices/misc/i6300esb.js';
import { PvPanic, PvPanicPci } from '#lib/devices/misc/pvpanic.js';
import { fuzzDevice } from '../fuzz.js';
import { placeBar, TestPciHost } from '../storage/pci-host.js';

const BAR = 0xe000_0000;

describe('pvpanic', () => {
  it('tells what the guest says', () => {
    const seen: string[] = [];
    const isa = new PvPanic((e) => seen.push(e));
    expect(isa.ports.read(0, 1)).toBe(3);
    isa.ports.write(0, 1, 1);
    isa.ports.write(0, 1, 2);
    isa.ports.write(0, 1, 4);
    expect(seen).toEqual(['panicked', 'crash-loaded']);
    const host = new TestPciHost();
    const mem = placeBar(host, new PvPanicPci('p', host, 3, (e) => seen.push(e)), 0, 'mmio', BAR);
    expect([mem.read(0, 1), mem.read(4, 4)]).toEqual([3, 0]);
    mem.write(0, 1, 1);
    mem.write(1, 1, 1);
    expect(seen).toHaveLength(3);
    fuzzDevice(() => ({ device: isa, regions: [{ io: isa.ports, length: 1 }] }), 300);
  });
});

describe('i6300esb', () => {
  function watchdog(): { clock: ManualClock; host: TestPciHost; w: I6300Esb; mem: ReturnType<typeof placeBar>; expired: () => number } {
    const clock = new ManualClock();
    const host = new TestPciHost();
    let n = 0;
    const w = new I6300Esb('wdt', host, 3, { clock, onExpired: () => n++ });
    return { clock, host, w, mem: placeBar(host, w, 0, 'mmio', BAR), expired: () => n };
  }
  type Window = ReturnType<typeof placeBar>;
  const unlocked = (mem: Window, offset: number, size: number, v: number): void => {
    mem.write(12, 2, 0x80);
    mem.write(12, 2, 0x86);
    mem.write(offset, size, v);
  };
  const SECOND = 1e9;

  it('runs through two stages: an interrupt, then what the board does', () => {
    const { clock, host, w, mem, expired } = watchdog();
    // As Linux for 10 s: 5 * 1024 clocks of 1 kHz in each stage, reboot on, interrupt by the pin.
    w.configWrite(0x60, 2, 0);
    unlocked(mem, 0, 4, 5120);
    unlocked(mem, 4, 4, 5120);
    w.configWrite(0x68, 1, 2);
    clock.advance(5 * SECOND);
    expect(host.line.level).toBe(false);
    clock.advance(0.2 * SECOND);
    expect([host.line.level, mem.read(8, 4), expired()]).toEqual([true, 1, 0]);
    mem.write(8, 4, 1);
    expect(host.line.level).toBe(false);
    clock.advance(5.1 * SECOND);
    expect([expired(), mem.read(12, 4)]).toEqual([1, 0x200]);
    // What happened outlives the reset that follows, until it is cleared.
    w.reset();
    const again = placeBar(host, w, 0, 'mmio', BAR);
    expect(again.read(12, 2)).toBe(0x200);
    unlocked(again, 12, 2, 0x200);
    expect(again.read(12, 2)).toBe(0);
  });

  it('starts again when it is fed, and only then', () => {
    const { clock, w, mem, expired } = watchdog();
    unlocked(mem, 0, 4, 1024);
    unlocked(mem, 4, 4, 1024);
    // Not unlocked: nothing happens.
    mem.write(0, 4, 9);
    w.configWrite(0x68, 1, 2);
    for (let i = 0; i < 10; i++) {
      clock.advance(1.5 * SECOND);
      unlocked(mem, 12, 2, 0x100);
    }
    expect(expired()).toBe(0);
    clock.advance(1.5 * SECOND);
    mem.write(12, 2, 0x100);
    clock.advance(1 * SECOND);
    expect(expired()).toBe(1);
  });

  it('stops when it is disabled, unless it is locked', () => {
    const { clock, w, expired } = watchdog();
    w.configWrite(0x68, 1, 2);
    w.configWrite(0x68, 1, 0);
    clock.advance(5000 * SECOND);
    expect(expired()).toBe(0);
    w.configWrite(0x68, 1, 3);
    w.configWrite(0x68, 1, 0);
    expect(w.configRead(0x68, 1)).toBe(3);
    clock.advance(5000 * SECOND);
    expect(expired()).toBe(1);
  });

  it('keeps its place over save and restore', () => {
    const { clock, host, w, mem } = watchdog();
    unlocked(mem, 0, 4, 1024);
    w.configWrite(0x68, 1, 2);
    const saved = JSON.stringify(w.save());
    w.reset();
    clock.advance(0.5 * SECOND);
    w.restore(JSON.parse(saved) as ReturnType<typeof w.save>);
    clock.advance(0.4 * SECOND);
    expect(host.line.level).toBe(false);
    clock.advance(0.2 * SECOND);
    expect(host.line.level).toBe(true);
  });

  it.each([1, 2])('fuzz, seed %i', (seed) => {
    fuzzDevice(({ clock }) => {
      const host = new TestPciHost();
      const w = new I6300Esb('i6300esb', host, 3, { clock, onExpired: () => {} });
      const mem = placeBar(host, w, 0, 'mmio', BAR);
      return {
        device: w,
        regions: [
          { io: { read: (o, s) => w.configRead(o & ~(s - 1), s), write: (o, s, v) => w.configWrite(o & ~(s - 1), s, v) }, length: 256 },
          { io: mem, length: 16 },
        ],
        pokes: [(): void => unlocked(mem, 12, 2, 0x100), (r): void => unlocked(mem, (r & 1) * 4, 4, r >>> 8)],
      };
    }, 3000, seed);
  });
});
