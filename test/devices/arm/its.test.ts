/** GICv3 LPIs and the interrupt translation service, and the message frame of GICv2. */
import { describe, expect, it } from 'vitest';
import { GicV2m } from '#lib/devices/arm/gicv2m.js';
import { GICR_STRIDE, GicV3 } from '#lib/devices/arm/gicv3.js';
import { GicV3Its } from '#lib/devices/arm/gicv3-its.js';
import { fuzzDevice } from '../fuzz.js';
import { TestMemory } from '../memory.js';

const [QUEUE, DEVICES, COLLECTIONS, ITT, CONFIG, PENDING] = [0x1000, 0x2000, 0x4000, 0x5000, 0x8000, 0x2_0000];
const SPURIOUS = 1023;
const LPI = 8192;
const VALID = 0x8000_0000;

function setup(cpus = 2) {
  const memory = new TestMemory(0x8_0000);
  const gic = new GicV3({ cpus, spis: 32, changed: () => undefined, affinity: (c) => c, memory });
  const its = new GicV3Its({ memory, lpis: gic.lpis!, cpus });
  for (let i = 0; i < 16; i++) memory.write8(CONFIG + i, 0xa0 | 1);
  for (let c = 0; c < cpus; c++) {
    const redist = (offset: number, v: number) => gic.redistributors.write(c * GICR_STRIDE + offset, 4, v);
    redist(0x70, CONFIG | 15);
    redist(0x78, PENDING + c * 0x1_0000);
    redist(0x7c, 0x4000_0000);
    redist(0, 1);
    gic.writeIcc(c, 0x460, 0xf8, 0);
    gic.writeIcc(c, 0xcc7, 1, 0);
  }
  gic.distributor.write(0, 4, 2);
  const reg = (offset: number, v: number) => its.mmio.write(offset, 4, v >>> 0);
  reg(0x100, DEVICES);
  reg(0x104, VALID);
  reg(0x108, COLLECTIONS);
  reg(0x10c, VALID);
  reg(0x80, QUEUE);
  reg(0x84, VALID);
  reg(0, 1);
  let at = 0;
  const command = (...words: number[]) => {
    for (let i = 0; i < 8; i++) memory.write32(QUEUE + at + 4 * i, (words[i] ?? 0) >>> 0);
    at += 32;
    reg(0x88, at);
    expect(its.mmio.read(0x90, 4)).toBe(at);
  };
  const map = (collection: number, cpu: number) => command(9, 0, 0, 0, collection | (cpu << 16), VALID);
  map(0, 0);
  map(1, 1);
  // Device 8 with 32 events; event 3 is LPI 8193 of collection 1.
  command(8, 8, 4, 0, ITT, VALID);
  command(0x0a, 8, 3, LPI + 1, 1);
  return { memory, gic, its, command, reg, iar: (c: number) => gic.readIcc(c, 0xcc0) };
}

describe('GICv3 ITS', () => {
  it('turns messages into LPIs of the CPU that the collection names', () => {
    const { gic, its, iar } = setup();
    its.message(8, 3);
    expect(gic.core.irq).toEqual([false, true]);
    expect(iar(1)).toBe(LPI + 1);
    // No active state: pending again at once.
    its.message(8, 3);
    expect(gic.core.irq[1]).toBe(false);
    gic.writeIcc(1, 0xcc1, LPI + 1, 0);
    expect(gic.core.irq[1]).toBe(true);
    expect(iar(1)).toBe(LPI + 1);
    gic.writeIcc(1, 0xcc1, LPI + 1, 0);
    expect(iar(1)).toBe(SPURIOUS);
    // Nobody's events.
    its.message(8, 4);
    its.message(9, 3);
    its.message(8, 1000);
    expect(gic.core.irq).toEqual([false, false]);
  });

  it('caches the configuration until it is invalidated', () => {
    const { memory, gic, its, command, iar } = setup();
    memory.write8(CONFIG + 1, 0xa0);
    its.message(8, 3);
    expect(iar(1)).toBe(LPI + 1);
    gic.writeIcc(1, 0xcc1, LPI + 1, 0);
    command(0x0c, 8, 3);
    its.message(8, 3);
    expect(gic.core.irq[1]).toBe(false);
    memory.write8(CONFIG + 1, 0xa1);
    command(0x0d, 0, 0, 0, 1);
    expect(iar(1)).toBe(LPI + 1);
  });

  it('moves, clears and discards', () => {
    const { gic, its, command, iar } = setup();
    its.message(8, 3);
    command(1, 8, 3, 0, 0);
    expect(gic.core.irq).toEqual([true, false]);
    command(4, 8, 3);
    expect(gic.core.irq).toEqual([false, false]);
    command(3, 8, 3);
    command(0x0e, 0, 0, 0, 0, 0, 1 << 16);
    expect(gic.core.irq).toEqual([false, true]);
    expect(iar(1)).toBe(LPI + 1);
    command(0x0f, 8, 3);
    its.message(8, 3);
    expect(gic.core.irq).toEqual([false, false]);
  });

  it('keeps its state', () => {
    const { memory, gic, its } = setup();
    its.message(8, 3);
    const other = new GicV3({ cpus: 2, spis: 32, changed: () => undefined, affinity: (c) => c, memory });
    other.restore(JSON.parse(JSON.stringify(gic.save())));
    expect(other.core.irq).toEqual([false, true]);
    expect(other.readIcc(1, 0xcc0)).toBe(LPI + 1);
  });

  it('withstands anything', () => {
    fuzzDevice(({ memory }) => {
      const gic = new GicV3({ cpus: 2, spis: 32, changed: () => undefined, affinity: (c) => c, memory });
      const its = new GicV3Its({ memory, lpis: gic.lpis!, cpus: 2 });
      return { device: its, regions: [{ io: its.mmio, length: 0x200, sizes: [4] }, { io: its.mmio, length: 0x2_0000 }], pokes: [(r) => its.message(r & 0xff, (r >>> 8) & 0xff)] };
    });
  });

  it('withstands anything at the redistributors, too', () => {
    fuzzDevice(({ memory }) => {
      const gic = new GicV3({ cpus: 2, spis: 32, changed: () => undefined, affinity: (c) => c, memory });
      return { device: gic, regions: [{ io: gic.redistributors, length: 0x100 }, { io: gic.distributor, length: 0x1_0000 }], pokes: [(r) => gic.lpis!.setPending(r & 1, 8192 + (r >>> 8), (r & 2) !== 0)] };
    });
  });

  it('ends its queue also from a restored place that GITS_CWRITER never meets', () => {
    const { its, reg } = setup();
    its.restore({ ...its.save(), creadr: 1 });
    reg(0x88, 0x40);
    expect(its.mmio.read(0x90, 4)).toBeLessThan(0x1000);
  });
});

describe('GICv2m', () => {
  it('pulses the SPIs it has', () => {
    const pulses: number[] = [];
    const frame = new GicV2m({ first: 80, count: 64, pulse: (n) => pulses.push(n) });
    expect(frame.mmio.read(8, 4)).toBe((80 << 16) | 64);
    for (const n of [79, 80, 143, 144, 80 + 0x400]) frame.write(0x40, n);
    frame.write(0x44, 81);
    expect(pulses).toEqual([80, 143, 80]);
  });
});
