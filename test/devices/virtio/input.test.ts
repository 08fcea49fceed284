import { describe, expect, it } from 'vitest';
import { InputRouter } from '#lib/devices/input/router.js';
import { VirtioKeyboard, VirtioMouse, VirtioTablet } from '#lib/devices/virtio/input.js';
import { VirtioDriver } from '../virtio-driver.js';
import { fuzzVirtio } from './fuzz-virtio.js';

/** What a driver reads of the configuration (5.8.4). */
function config(d: VirtioDriver, select: number, subsel = 0): number[] {
  d.write(4, 0, 1, select);
  d.write(4, 1, 1, subsel);
  return Array.from({ length: d.read(4, 2, 1) }, (_, i) => d.read(4, 8 + i, 1));
}

function started<T extends VirtioKeyboard | VirtioMouse | VirtioTablet>(dev: T): { dev: T; d: VirtioDriver; events: () => number[][] } {
  const d = new VirtioDriver(dev);
  d.start(16);
  const at: number[] = [];
  const offer = (): void => {
    while (at.length < 8) at.push(d.add(0, [], [8])[0]!);
    d.kick(0);
  };
  offer();
  const events = (): number[][] => {
    const got = d.returned(0).map((r) => {
      expect(r.len).toBe(8);
      const a = at.shift()!;
      return [d.mem.read16(a), d.mem.read16(a + 2), d.mem.read32(a + 4) | 0];
    });
    return got;
  };
  return { dev, d, events };
}

describe('virtio-input', () => {
  it('says what it is', () => {
    const { d } = started(new VirtioTablet());
    expect(Buffer.from(config(d, 1)).toString()).toBe('virtio tablet');
    expect(config(d, 3)).toHaveLength(8);
    expect(config(d, 0x10)).toEqual([1]);
    // EV_ABS: X and Y; EV_REL: the wheel; no lamps.
    expect([config(d, 0x11, 3), config(d, 0x11, 2), config(d, 0x11, 17)]).toEqual([[3], [0, 1], []]);
    expect(config(d, 0x12, 1).slice(4, 8)).toEqual([0xff, 0x7f, 0, 0]);
    expect([config(d, 0x12, 2), config(d, 0x55)]).toEqual([[], []]);
    const k = started(new VirtioKeyboard()).d;
    const keys = config(k, 0x11, 1);
    for (const code of [1, 28, 57, 88, 103, 119, 125]) expect(keys[code >> 3]! & (1 << (code & 7))).not.toBe(0);
    expect(keys[11]! & 0x10).toBe(0);
  });

  it('reports keys with the codes of the input layer', () => {
    const { dev, events } = started(new VirtioKeyboard());
    dev.key(0x1e, true);
    dev.key(0xe048, false);
    dev.key(0xe07f, true);
    expect(events()).toEqual([[1, 30, 1], [0, 0, 0], [1, 103, 0], [0, 0, 0]]);
  });

  it('takes the state of the lamps', () => {
    const { dev, d } = started(new VirtioKeyboard());
    d.add(1, [Uint8Array.of(17, 0, 1, 0, 1, 0, 0, 0)], []);
    d.kick(1);
    expect(dev.leds).toBe(2);
    expect(d.returned(1)).toEqual([{ id: 0, len: 0 }]);
  });

  it('reports movement, wheel and buttons', () => {
    const { dev, events } = started(new VirtioMouse());
    dev.move(5, -3, 1);
    dev.setButtons(4);
    dev.setButtons(4);
    expect(events()).toEqual([[2, 0, 5], [2, 1, -3], [2, 8, -1], [0, 0, 0], [1, 0x112, 1], [0, 0, 0]]);
  });

  it('reports positions, each coordinate when it changes', () => {
    const { dev, events } = started(new VirtioTablet());
    dev.point(100, 40000, 0, 0);
    dev.point(100, 32767, 1, 0);
    dev.point(100, 32767, 1, 0);
    expect(events()).toEqual([[3, 0, 100], [3, 1, 32767], [0, 0, 0], [1, 0x110, 1], [0, 0, 0]]);
  });

  it('keeps a bounded number of events, in whole groups, and tells nobody before there is a driver', () => {
    const dev = new VirtioKeyboard();
    const d = new VirtioDriver(dev);
    dev.key(1, true);
    expect([dev.waiting, dev.listening]).toEqual([0, false]);
    d.start(16);
    for (let i = 0; i < 400; i++) dev.key(1, (i & 1) === 0);
    expect([dev.waiting, dev.listening]).toEqual([512, true]);
    const saved = JSON.stringify(d.pci.save());
    d.status = 0;
    expect([dev.waiting, dev.listening]).toEqual([0, false]);
    d.pci.restore(JSON.parse(saved) as ReturnType<typeof d.pci.save>);
    expect(dev.waiting).toBe(512);
  });

  it('is used in place of an older device when its driver runs', () => {
    const r = new InputRouter();
    expect([r.keyboard, r.pointer, r.tablet]).toEqual([null, null, null]);
    const ps2 = { listening: true, waiting: 0, key() {} };
    r.addKeyboard(ps2);
    const { dev } = { dev: new VirtioKeyboard() };
    const d = new VirtioDriver(dev);
    r.addKeyboard(dev);
    expect(r.keyboard).toBe(ps2);
    d.start();
    expect(r.keyboard).toBe(dev);
  });
});

describe.each([
  ['keyboard', () => {
    const dev = new VirtioKeyboard();
    return { dev, pokes: [(r: number): void => dev.key(r & 0xe07f, (r & 0x10000) !== 0)] };
  }],
  ['mouse', () => {
    const dev = new VirtioMouse();
    return { dev, pokes: [(r: number): void => dev.move((r & 255) - 128, ((r >> 8) & 255) - 128, (r >> 16) & 1), (r: number): void => dev.setButtons(r)] };
  }],
  ['tablet', () => {
    const dev = new VirtioTablet();
    return { dev, pokes: [(r: number): void => dev.point(r & 0xffff, r >>> 16, r & 31, r & 1)] };
  }],
] as const)('fuzz: virtio-%s', (_name, make) => {
  it.each([1, 2])('registers and rings, seed %i', (seed) => fuzzVirtio(make, seed));
});
