/** Registers of PCI hot-plug. */
import { describe, expect, it } from 'vitest';
import { AcpiPciHotplug, HOTPLUG_BYTES } from '#lib/devices/acpi/pci-hotplug.js';
import { fuzzDevice } from '../fuzz.js';

function hotplug(there: number): { d: AcpiPciHotplug; raised: () => number; gone: number[] } {
  let raised = 0;
  const gone: number[] = [];
  const d = new AcpiPciHotplug({ raise: () => raised++, eject: (slot) => gone.push(slot), removable: () => there });
  return { d, raised: () => raised, gone };
}

describe('PCI hot-plug', () => {
  it('tells of devices that come and are to go, once', () => {
    const { d, raised } = hotplug(0x8000_0018);
    d.inserted(3);
    d.inserted(31);
    d.ask(4);
    expect(raised()).toBe(3);
    expect([d.ports.read(0, 4), d.ports.read(0, 4), d.ports.read(4, 4), d.ports.read(4, 4), d.ports.read(12, 4)]).toEqual([0x8000_0008, 0, 0x10, 0, 0x8000_0018]);
    expect(d.ports.read(0, 1)).toBe(0xff);
  });

  it('lets only those go that can', () => {
    const { d, gone } = hotplug(0x8000_0018);
    d.ports.write(8, 4, 0xffff_ffff);
    expect(gone).toEqual([3, 4, 31]);
    d.ports.write(8, 2, 0xffff);
    d.ports.write(0, 4, 0xffff_ffff);
    expect(gone).toEqual([3, 4, 31]);
  });

  it('settles what was asked for before a reset', () => {
    const { d, gone } = hotplug(0x18);
    d.ask(3);
    d.ports.read(4, 4);
    d.settle();
    d.reset();
    expect(gone).toEqual([3]);
    d.settle();
    expect(gone).toEqual([3]);
  });

  it('survives anything', () => {
    fuzzDevice(() => {
      const { d } = hotplug(0x1ff8);
      return { device: d, regions: [{ io: d.ports, length: HOTPLUG_BYTES }], pokes: [(r) => d.inserted(r & 31), (r) => d.ask(r & 31), () => d.settle()] };
    });
  });
});
