/** Virtio over MMIO: registers, a queue end to end, interrupts, and random accesses. */
import { describe, expect, it } from 'vitest';
import { VirtioMmio, VIRTIO_MMIO_BYTES } from '#lib/devices/virtio/mmio-transport.js';
import { VirtioConsole } from '#lib/devices/virtio/console.js';
import { VirtioRng } from '#lib/devices/virtio/rng.js';
import type { VirtioDevice } from '#lib/devices/virtio/transport.js';
import { fuzzDevice, TestLine } from '../fuzz.js';
import { TestMemory } from '../memory.js';

const R = {
  magic: 0, version: 4, id: 8, features: 0x10, featuresSel: 0x14, driver: 0x20, driverSel: 0x24, sel: 0x30, max: 0x34, num: 0x38, ready: 0x44, notify: 0x50,
  isr: 0x60, ack: 0x64, status: 0x70, desc: 0x80, avail: 0x90, used: 0xa0, config: 0x100,
};

function rig(device: VirtioDevice | null): { mem: TestMemory; irq: TestLine; t: VirtioMmio; rd: (r: number) => number; wr: (r: number, v: number) => void } {
  const mem = new TestMemory(0x1_0000);
  const irq = new TestLine();
  const t = new VirtioMmio({ name: 'virtio0', mem, irq, device, log: () => {} });
  t.reset();
  return { mem, irq, t, rd: (r) => t.read(r, 4), wr: (r, v) => t.write(r, 4, v) };
}

describe('virtio over MMIO', () => {
  it('says what it is, also when the slot is empty', () => {
    const { rd } = rig(new VirtioRng((b) => b.fill(1)));
    expect([rd(R.magic), rd(R.version), rd(R.id), rd(R.max)]).toEqual([0x74726976, 2, 4, 256]);
    const empty = rig(null);
    expect([empty.rd(R.magic), empty.rd(R.version), empty.rd(R.id)]).toEqual([0x74726976, 2, 0]);
    empty.wr(R.status, 1);
    expect(empty.rd(R.status)).toBe(0);
  });

  it('runs a queue: negotiation, buffers, interrupt and its acknowledgement', () => {
    const { mem, irq, rd, wr } = rig(new VirtioRng((b) => b.fill(0x5a)));
    wr(R.status, 3);
    wr(R.driverSel, 1);
    wr(R.driver, 0);
    wr(R.status, 11);
    // Without VERSION_1 there is no FEATURES_OK.
    expect(rd(R.status) & 8).toBe(0);
    wr(R.driver, 1);
    wr(R.status, 11);
    expect(rd(R.status) & 8).toBe(8);
    wr(R.sel, 0);
    wr(R.num, 8);
    wr(R.desc, 0x1000);
    wr(R.avail, 0x2000);
    wr(R.used, 0x3000);
    wr(R.ready, 1);
    expect(rd(R.ready)).toBe(1);
    wr(R.status, 15);
    mem.write32(0x1000, 0x4000);
    mem.write32(0x1008, 16);
    mem.write16(0x100c, 2);
    mem.write16(0x2002, 1);
    wr(R.notify, 0);
    expect([...mem.ram.subarray(0x4000, 0x4010)].every((b) => b === 0x5a)).toBe(true);
    expect(mem.read16(0x3002)).toBe(1);
    expect([rd(R.isr), irq.level]).toEqual([1, true]);
    wr(R.ack, 1);
    expect([rd(R.isr), irq.level]).toEqual([0, false]);
    wr(R.status, 0);
    expect([rd(R.status), rd(R.ready)]).toEqual([0, 0]);
  });

  it('survives anything', () => {
    fuzzDevice(({ line }) => {
      const mem = new TestMemory(0x1_0000);
      const device = new VirtioMmio({ name: 'virtio0', mem, irq: line(), device: new VirtioConsole(() => {}), log: () => {} });
      return { device, regions: [{ io: device, length: VIRTIO_MMIO_BYTES }], pokes: [(r) => mem.write32(r % 0x1_0000, r)] };
    });
  });
});
