import { describe, expect, it } from 'vitest';
import { GicV2 } from '#lib/devices/arm/gicv2.js';
import { GICR_STRIDE, GicV3 } from '#lib/devices/arm/gicv3.js';
import { fuzzDevice } from '../fuzz.js';

const SPURIOUS = 1023;

function v2(cpus = 2) {
  const at = { cpu: 0 };
  const gic = new GicV2({ cpus, spis: 64, changed: () => undefined, currentCpu: () => at.cpu });
  const dist = (off: number, v: number) => gic.distributor.write(off, 4, v);
  const cpu = (off: number, v: number) => gic.cpuInterface.write(off, 4, v);
  dist(0, 1);
  for (let c = cpus - 1; c >= 0; c--) {
    at.cpu = c;
    cpu(0, 1);
    cpu(4, 0xf0);
  }
  return { gic, at, dist, cpu, iar: () => gic.cpuInterface.read(0xc, 4) };
}

describe('GICv2', () => {
  it('delivers a level interrupt to its target until it is acknowledged, and again while the line is up', () => {
    const { gic, at, dist, cpu, iar } = v2();
    // SPI 3 (ID 35) to CPU 1, priority A0h.
    gic.distributor.write(0x400 + 35, 1, 0xa0);
    gic.distributor.write(0x800 + 35, 1, 2);
    dist(0x104, 1 << 3);
    gic.core.setSpi(3, true);
    expect(gic.core.irq).toEqual([false, true]);
    at.cpu = 1;
    expect(iar()).toBe(35);
    expect(gic.core.irq[1]).toBe(false);
    expect(iar()).toBe(SPURIOUS);
    cpu(0x10, 35);
    expect(gic.core.irq[1]).toBe(true);
    expect(iar()).toBe(35);
    gic.core.setSpi(3, false);
    cpu(0x10, 35);
    expect(gic.core.irq[1]).toBe(false);
  });

  it('latches edges', () => {
    const { gic, dist, cpu, iar } = v2(1);
    dist(0xc08, 2 << 8);
    dist(0x104, 1 << 4);
    // With one CPU the target registers read as zero and ignore writes, and everything goes to it.
    gic.distributor.write(0x800 + 36, 1, 1);
    expect(gic.distributor.read(0x800 + 36, 1)).toBe(0);
    gic.core.setSpi(4, true);
    gic.core.setSpi(4, false);
    expect(iar()).toBe(36);
    cpu(0x10, 36);
    expect(iar()).toBe(SPURIOUS);
  });

  it('sends software interrupts with their source, one at a time', () => {
    const { gic, at, dist, cpu, iar } = v2();
    at.cpu = 0;
    dist(0xf00, (1 << 24) | 5);
    at.cpu = 1;
    dist(0xf00, (2 << 24) | 5);
    expect(gic.core.irq[1]).toBe(true);
    const first = iar();
    expect(first).toBe(5);
    cpu(0x10, first);
    expect(iar()).toBe(5 | (1 << 10));
  });

  it('preempts by group priority and masks by PMR', () => {
    const { gic, dist, cpu, iar } = v2(1);
    for (const [n, p] of [[40, 0xa0], [41, 0x20]] as const) {
      gic.distributor.write(0x400 + n, 1, p);
      dist(0x104, 1 << (n - 32));
    }
    gic.core.setSpi(8, true);
    expect(iar()).toBe(40);
    expect(gic.cpuInterface.read(0x14, 4)).toBe(0xa0);
    gic.core.setSpi(9, true);
    expect(gic.core.irq[0]).toBe(true);
    expect(iar()).toBe(41);
    expect(gic.cpuInterface.read(0x14, 4)).toBe(0x20);
    cpu(0x10, 41);
    expect(gic.cpuInterface.read(0x14, 4)).toBe(0xa0);
    gic.core.setSpi(9, false);
    cpu(0x10, 40);
    cpu(4, 0xa0);
    expect(iar()).toBe(SPURIOUS);
  });

  it('survives a hostile guest', () => {
    fuzzDevice(() => {
      const { gic, at } = v2();
      return {
        device: gic,
        regions: [{ io: gic.distributor, length: 0x1000 }, { io: gic.cpuInterface, length: 0x2000 }],
        pokes: [(r) => (at.cpu = r & 1), (r) => gic.core.setSpi(r % 64, (r & 0x100) !== 0), (r) => gic.core.setPpi(r & 1, 16 + (r >>> 1) % 16, (r & 0x100) !== 0)],
      };
    });
  });
});

const EOIR1 = 0xcc1;
const IAR1 = 0xcc0;
function v3(cpus = 2) {
  const gic = new GicV3({ cpus, spis: 64, changed: () => undefined, affinity: (c) => c });
  gic.distributor.write(0, 4, 2);
  for (let c = 0; c < cpus; c++) {
    gic.writeIcc(c, 0x460, 0xf0, 0);
    gic.writeIcc(c, 0xcc7, 1, 0);
  }
  return gic;
}

describe('GICv3', () => {
  it('identifies itself', () => {
    const gic = v3();
    expect(gic.distributor.read(0xffe8, 4) >> 4).toBe(3);
    expect(gic.distributor.read(0, 4)).toBe(0x52);
    expect(gic.redistributors.read(8, 4) & 0x10).toBe(0);
    expect(gic.redistributors.read(GICR_STRIDE + 8, 4)).toBe(0x110);
    expect(gic.redistributors.read(GICR_STRIDE + 12, 4)).toBe(1);
  });

  it('wakes its redistributor', () => {
    const gic = v3();
    expect(gic.redistributors.read(0x14, 4)).toBe(6);
    gic.redistributors.write(0x14, 4, 0);
    expect(gic.redistributors.read(0x14, 4)).toBe(0);
  });

  it('routes shared interrupts by affinity', () => {
    const gic = v3();
    gic.distributor.write(0x84, 4, 0xffff_ffff);
    gic.distributor.write(0x104, 4, 1 << 1);
    gic.distributor.write(0x6000 + 33 * 8, 4, 1);
    gic.core.setSpi(1, true);
    expect(gic.core.irq).toEqual([false, true]);
    expect(gic.readIcc(1, IAR1)).toBe(33);
    gic.core.setSpi(1, false);
    gic.writeIcc(1, EOIR1, 33, 0);
    expect(gic.readIcc(1, IAR1)).toBe(SPURIOUS);
    gic.distributor.write(0x6000 + 33 * 8, 4, 7);
    gic.core.setSpi(1, true);
    expect(gic.core.irq).toEqual([false, false]);
  });

  it('delivers private peripheral interrupts, group 0 as FIQ', () => {
    const gic = v3();
    gic.redistributors.write(0x1_0100, 4, 1 << 27);
    gic.core.setPpi(0, 27, true);
    expect([gic.core.irq[0], gic.core.fiq[0]]).toEqual([false, false]);
    gic.distributor.write(0, 4, 3);
    gic.writeIcc(0, 0xcc6, 1, 0);
    expect([gic.core.irq[0], gic.core.fiq[0]]).toEqual([false, true]);
    gic.redistributors.write(0x1_0080, 4, 0xffff_ffff);
    expect([gic.core.irq[0], gic.core.fiq[0]]).toEqual([true, false]);
    expect(gic.readIcc(0, IAR1)).toBe(27);
  });

  it('sends software interrupts to lists and to all others', () => {
    const gic = v3(4);
    for (let c = 0; c < 4; c++) {
      gic.redistributors.write(c * GICR_STRIDE + 0x1_0080, 4, 0xffff_ffff);
      gic.redistributors.write(c * GICR_STRIDE + 0x1_0100, 4, 0xffff);
    }
    gic.writeIcc(0, 0xcb5, (3 << 24) | 0b1010, 0);
    expect(gic.core.irq).toEqual([false, true, false, true]);
    expect(gic.readIcc(1, IAR1)).toBe(3);
    gic.writeIcc(3, 0xcb5, 4 << 24, 0x100);
    expect(gic.core.irq).toEqual([true, false, true, true]);
    gic.writeIcc(1, EOIR1, 3, 0);
    expect(gic.readIcc(1, IAR1)).toBe(4);
  });

  it('drops priority and deactivates separately when asked', () => {
    const gic = v3(1);
    gic.redistributors.write(0x1_0080, 4, 0xffff_ffff);
    gic.redistributors.write(0x1_0100, 4, 1 << 27);
    gic.writeIcc(0, 0xcc4, 2, 0);
    gic.core.setPpi(0, 27, true);
    expect(gic.readIcc(0, IAR1)).toBe(27);
    gic.writeIcc(0, EOIR1, 27, 0);
    expect(gic.core.irq[0]).toBe(false);
    gic.writeIcc(0, 0xcb1, 27, 0);
    expect(gic.core.irq[0]).toBe(true);
  });

  it('survives a hostile guest', () => {
    fuzzDevice(() => {
      const gic = v3();
      return {
        device: gic,
        regions: [{ io: gic.distributor, length: 0x1_0000 }, { io: gic.redistributors, length: 3 * GICR_STRIDE }],
        pokes: [
          (r) => gic.core.setSpi(r % 64, (r & 0x100) !== 0),
          (r) => gic.writeIcc(r & 1, [0x460, 0xc81, EOIR1, 0xcb1, 0xcb5, 0xc83, 0xcc3, 0xc84, 0xc90, 0xcc4, 0xcc6, 0xcc7][(r >>> 1) % 12]!, r, r >>> 3),
          (r) => void gic.readIcc(r & 1, [IAR1, 0xc80, 0xcc2][(r >>> 1) % 3]!),
        ],
      };
    });
  });
});
