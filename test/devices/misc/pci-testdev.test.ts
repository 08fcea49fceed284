/** The PCI test device. */
import { describe, expect, it } from 'vitest';
import { PciTestDev } from '#lib/devices/misc/pci-testdev.js';
import { fuzzDevice } from '../fuzz.js';
import { placeBar, TestPciHost } from '../storage/pci-host.js';

type Window = ReturnType<typeof placeBar>;
const AT = { mmio: 0xe000_0000, port: 0xc000 } as const;

function device(): { d: PciTestDev; host: TestPciHost } {
  const host = new TestPciHost();
  return { d: new PciTestDev('pci-testdev', host, 3), host };
}

/** As a driver does it. @returns names of the tests that counted every write */
function tests(w: Window): string[] {
  const passed: string[] = [];
  for (let n = 0; ; n++) {
    w.write(0, 1, n);
    expect(w.read(12, 4)).toBe(0);
    const width = w.read(1, 1);
    if (width === 0) return passed;
    const [offset, data] = [w.read(4, 4), w.read(8, 4)];
    for (let i = 0; i < 16; i++) w.write(offset, width, data);
    // Neither another place nor another value counts.
    w.write(offset + 4, width, data);
    w.write(offset, width, 0);
    let name = '';
    for (let i = 16; w.read(i, 1) !== 0; i++) name += String.fromCharCode(w.read(i, 1));
    if (w.read(12, 4) === 16) passed.push(name);
  }
}

describe('pci-testdev', () => {
  it('counts the writes of each test, by memory and by port', () => {
    const { d, host } = device();
    expect(tests(placeBar(host, d, 0, 'mmio', AT.mmio))).toEqual(['byte', 'word', 'dword']);
    expect(tests(placeBar(host, d, 1, 'port', AT.port))).toEqual(['byte', 'word', 'dword']);
  });

  it('may be at port 0 where all ports are PCI\'s', () => {
    const host = new TestPciHost();
    expect(placeBar(host, new PciTestDev('pci-testdev', host, 3), 1, 'port', 0)).toBeUndefined();
    const all = Object.assign(new TestPciHost(), { portZero: true });
    expect(tests(placeBar(all, new PciTestDev('pci-testdev', all, 3), 1, 'port', 0))).toEqual(['byte', 'word', 'dword']);
  });

  it('keeps the selected test and its count', () => {
    const { d, host } = device();
    const mem = placeBar(host, d, 0, 'mmio', AT.mmio);
    mem.write(0, 1, 1);
    mem.write(mem.read(4, 4), 2, mem.read(8, 4));
    const saved = JSON.parse(JSON.stringify(d.save())) as ReturnType<typeof d.save>;
    d.reset();
    expect(placeBar(host, d, 0, 'mmio', AT.mmio).read(12, 4)).toBe(0);
    d.restore(saved);
    expect([mem.read(0, 1), mem.read(12, 4)]).toEqual([1, 1]);
  });

  it('fuzz', () => {
    fuzzDevice(() => {
      const { d, host } = device();
      const [mem, io] = [placeBar(host, d, 0, 'mmio', AT.mmio), placeBar(host, d, 1, 'port', AT.port)];
      return { device: d, regions: [{ io: mem, length: 4096 }, { io, length: 256 }] };
    }, 2000);
  });
});
