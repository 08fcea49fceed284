import { describe, expect, it } from 'vitest';
import { VirtioBalloon } from '#lib/devices/virtio/balloon.js';
import { VirtioDriver } from '../virtio-driver.js';
import { fuzzVirtio } from './fuzz-virtio.js';

const REPORTING = 1 << 5;
const STATS = 1 << 1;

function started(without = 0): { dev: VirtioBalloon; d: VirtioDriver; released: [number, number][] } {
  const released: [number, number][] = [];
  const dev = new VirtioBalloon({ release: (pa, bytes) => released.push([pa, bytes]) });
  const d = new VirtioDriver(dev);
  d.start(16, without);
  return { dev, d, released };
}
const pfns = (...n: number[]): Uint8Array => new Uint8Array(Uint32Array.from(n).buffer);
const stat = (tag: number, value: number): Buffer => {
  const b = Buffer.alloc(10);
  b.writeUInt16LE(tag);
  b.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 2);
  return b;
};

describe('virtio-balloon', () => {
  it('gives back what is put into it, neighbours together', () => {
    const { d, released } = started();
    d.add(0, [pfns(10, 9, 8, 20, 21, 40)], []);
    d.kick(0);
    expect(released).toEqual([[8 * 4096, 3 * 4096], [20 * 4096, 2 * 4096], [40 * 4096, 4096]]);
    d.add(1, [pfns(10)], []);
    d.kick(1);
    expect([d.returned(0), d.returned(1), released.length]).toEqual([[{ id: 0, len: 0 }], [{ id: 0, len: 0 }], 3]);
  });

  it('tells its size and hears of it', () => {
    const { dev, d } = started();
    dev.setTarget(64 * 1024 * 1024);
    expect([d.read(4, 0, 4), d.read(4, 4, 4)]).toEqual([16384, 0]);
    d.write(4, 4, 4, 16000);
    expect([dev.target, dev.actual]).toEqual([16384 * 4096, 16000 * 4096]);
    // The driver starts anew: the wish stays.
    d.status = 0;
    expect([dev.target, dev.actual]).toEqual([16384 * 4096, 0]);
  });

  it('asks for statistics with the buffer that the driver left', () => {
    const { dev, d } = started();
    expect(dev.askStats()).toBe(false);
    d.add(2, [Buffer.concat([stat(4, 1234), stat(5, 99999), stat(6, -1), stat(77, 1)])], []);
    d.kick(2);
    expect(d.returned(2)).toEqual([]);
    expect(dev.stats).toEqual({ fresh: true, values: { freeMemory: 1234, totalMemory: 99999 } });
    expect(dev.askStats()).toBe(true);
    expect(d.returned(2)).toEqual([{ id: 0, len: 0 }]);
    expect([dev.stats.fresh, dev.askStats()]).toEqual([false, false]);
  });

  it.each([[0, 3], [STATS, 2]])('gives back free pages that are reported (features without %i: queue %i)', (without, q) => {
    const { d, released } = started(without);
    const at = d.buffer(16384);
    d.setDesc(d.rings[q]!.desc, 0, at + 100, 13000, 2, 0);
    d.offer(q, 0);
    d.kick(q);
    expect(released).toEqual([[Math.ceil((at + 100) / 4096) * 4096, 8192]]);
  });

  it('leaves the queue of reports alone that the driver does not know', () => {
    const { d, released } = started(REPORTING);
    d.add(3, [], [8192]);
    d.kick(3);
    expect([d.returned(3), released]).toEqual([[], []]);
  });

  it('keeps its state', () => {
    const { dev, d } = started();
    d.add(2, [stat(0, 7)], []);
    d.kick(2);
    dev.setTarget(4096 * 5);
    const saved = JSON.stringify(d.pci.save());
    d.status = 0;
    dev.setTarget(0);
    d.pci.restore(JSON.parse(saved) as ReturnType<typeof d.pci.save>);
    expect([dev.target, dev.stats.values.swapIn, dev.askStats()]).toEqual([4096 * 5, 7, true]);
  });

  it.each([1, 2, 3])('fuzz, seed %i', (seed) => {
    fuzzVirtio(() => {
      const dev = new VirtioBalloon({ release: (pa, bytes) => expect([pa % 4096, bytes % 4096, pa >= 0, bytes > 0 && bytes <= 2 ** 30]).toEqual([0, 0, true, true]) });
      return { dev, pokes: [(r): void => dev.setTarget(r), (): void => void dev.askStats()], request: (random, q) => ({ out: q === 3 ? [] : [new Uint8Array(Uint32Array.from({ length: random() % 50 }, random).buffer)], into: q === 3 ? [random() % 50000] : [] }) };
    }, seed);
  });
});
