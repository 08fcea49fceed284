import { describe, expect, it } from 'vitest';
import { Ich9Tco, TCO_BYTES, TCO_TICK_NS } from '#lib/devices/acpi/tco.js';
import { ManualClock } from '#lib/devices/clock.js';
import { fuzzDevice } from '../fuzz.js';

function make(clock = new ManualClock()) {
  const resets: number[] = [];
  const tco: Ich9Tco = new Ich9Tco({ clock, onReset: () => resets.push(clock.now()) });
  return { tco, clock, resets, io: tco.ports };
}

const TICK = TCO_TICK_NS;

describe('TCO watchdog', () => {
  it('takes a time-out and counts it down in ticks of 0.6 s', () => {
    const { io, clock } = make();
    io.write(0x12, 2, 50);
    expect(io.read(0x12, 2)).toBe(50);
    io.write(0, 2, 1);
    expect(io.read(0, 2)).toBe(50);
    clock.advance(10 * TICK);
    expect(io.read(0, 2)).toBe(40);
    io.write(0x12, 2, 0xffff);
    expect(io.read(0x12, 2)).toBe(0x3ff);
  });

  it('resets at the second time-out in a row, where NO_REBOOT is clear', () => {
    const { tco, io, clock, resets } = make();
    tco.gcs.write(0, 4, 0);
    io.write(0x12, 2, 10);
    io.write(0, 2, 1);
    clock.advance(11 * TICK);
    expect(io.read(4, 2) & 8).toBe(8);
    io.write(4, 2, 8);
    io.write(0, 2, 1);
    clock.advance(19 * TICK);
    expect(resets).toEqual([]);
    clock.advance(2 * TICK);
    expect(resets).toEqual([31 * TICK]);
    expect(io.read(6, 2)).toBe(6);
    tco.reset();
    expect(io.read(6, 2)).toBe(6);
    io.write(6, 2, 6);
    expect(io.read(6, 2)).toBe(0);
  });

  it('only notes it with NO_REBOOT, as after a reset', () => {
    const { tco, io, clock, resets } = make();
    expect(tco.gcs.read(0, 4)).toBe(0x20);
    clock.advance(100 * TICK);
    expect(io.read(6, 2)).toBe(2);
    expect(resets).toEqual([]);
  });

  it('stands still while halted', () => {
    const { tco, io, clock, resets } = make();
    tco.gcs.write(0, 4, 0);
    io.write(0x12, 2, 10);
    io.write(0, 2, 1);
    clock.advance(4 * TICK);
    io.write(8, 2, 0x800);
    clock.advance(1000 * TICK);
    expect(io.read(0, 2)).toBe(6);
    io.write(8, 2, 0);
    expect(io.read(0, 2)).toBe(6);
    clock.advance(17 * TICK);
    expect(resets.length).toBe(1);
  });

  it('keeps TCO_LOCK', () => {
    const { io } = make();
    io.write(8, 2, 0x1000);
    io.write(8, 2, 0);
    expect(io.read(8, 2)).toBe(0x1000);
  });

  it('survives fuzzing', () => {
    fuzzDevice(({ clock }) => {
      const { tco } = make(clock);
      return { device: tco, regions: [{ io: tco.ports, length: TCO_BYTES }, { io: tco.gcs, length: 4 }] };
    });
  });
});
