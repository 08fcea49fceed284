import { describe, expect, it } from 'vitest';
import { AcpiGed, GED_EVENT_BYTES, GED_REGISTER_BYTES } from '#lib/devices/acpi/ged.js';
import { fuzzDevice, TestLine } from '../fuzz.js';

function make() {
  const irq = new TestLine();
  const log: string[] = [];
  return { irq, log, ged: new AcpiGed({ irq, onPowerOff: () => log.push('off'), onReset: () => log.push('reset') }) };
}

describe('generic event device', () => {
  it('tells of the power button, once', () => {
    const { ged, irq } = make();
    ged.powerButton();
    expect([irq.rises, irq.level]).toEqual([1, false]);
    expect([ged.events.read(0, 2), ged.events.read(0, 4), ged.events.read(0, 4)]).toEqual([0, 2, 0]);
    ged.powerButton();
    ged.reset();
    expect(ged.events.read(0, 4)).toBe(0);
  });

  it('powers off for S5 and nothing else', () => {
    const { ged, log } = make();
    ged.registers.write(0, 1, (3 << 2) | 0x20);
    ged.registers.write(0, 1, 5 << 2);
    ged.registers.write(0, 4, (5 << 2) | 0x20);
    expect(log).toEqual([]);
    ged.registers.write(0, 1, (5 << 2) | 0x20);
    expect(log).toEqual(['off']);
    expect(ged.registers.read(0, 1)).toBe(5 << 2);
  });

  it('resets', () => {
    const { ged, log } = make();
    ged.registers.write(2, 1, 1);
    ged.registers.write(2, 1, 0x42);
    expect(log).toEqual(['reset']);
  });

  it('keeps its state', () => {
    const a = make();
    a.ged.powerButton();
    a.ged.registers.write(0, 1, 4);
    const b = make();
    b.ged.restore(a.ged.save());
    expect([b.ged.registers.read(0, 1), b.ged.events.read(0, 4)]).toEqual([4, 2]);
  });

  it('survives anything', () => {
    fuzzDevice(({ line }) => {
      const ged = new AcpiGed({ irq: line(), onPowerOff() {}, onReset() {} });
      return { device: ged, regions: [{ io: ged.events, length: GED_EVENT_BYTES }, { io: ged.registers, length: GED_REGISTER_BYTES }], pokes: [() => ged.powerButton()] };
    });
  });
});
