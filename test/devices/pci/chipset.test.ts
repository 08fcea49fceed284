/** Host bridges, bridges to ISA, SMBus and root ports, driven through configuration space. */
import { describe, expect, it } from 'vitest';
import { I440fx } from '#lib/devices/pci/i440fx.js';
import { Ich9Lpc, ich9PmBlock, Ich9Smbus, rcrb } from '#lib/devices/pci/ich9.js';
import { Mch } from '#lib/devices/pci/mch.js';
import { PciBus, type PciFunction, type PciHost } from '#lib/devices/pci/pci.js';
import { Piix3, Piix4Pm } from '#lib/devices/pci/piix.js';
import { RootPort } from '#lib/devices/pci/root-port.js';
import type { IoHandler } from '#lib/devices/device.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { fuzzDevice, TestLine } from '../fuzz.js';

interface Rig {
  host: PciHost;
  memory: PhysicalMemory;
  pins: Map<string, boolean>;
  isa: TestLine[];
}

function rig(): Rig {
  const memory = new PhysicalMemory(new ArrayBuffer(4096), 0x1000_0000);
  const pins = new Map<string, boolean>();
  return { memory, pins, host: { bus: memory, intx: (devfn, pin, level) => void pins.set(`${devfn >> 3}.${pin}`, level), msi() {} }, isa: Array.from({ length: 16 }, () => new TestLine()) };
}

const configSpace = (f: PciFunction): IoHandler => ({ read: (o, s) => f.configRead(o, s), write: (o, s, v) => f.configWrite(o, s, v) });

describe('PAM registers', () => {
  const run = (make: (set: (base: number, length: number, a: number) => void) => PciFunction, pam0: number): void => {
    const calls = new Map<number, number>();
    const f = make((base, length, a) => {
      for (let s = base; s < base + length; s += 0x4000) calls.set(s, a);
    });
    f.reset();
    expect([...calls.values()].every((a) => a === 0)).toBe(true);
    expect(calls.size).toBe(16);
    f.configWrite(pam0, 1, 0xff);
    expect(f.configRead(pam0, 1)).toBe(0x30);
    expect(calls.get(0xf_0000)).toBe(3);
    f.configWrite(pam0 + 1, 1, 0x21);
    expect([calls.get(0xc_0000), calls.get(0xc_4000), calls.get(0xc_8000)]).toEqual([1, 2, 0]);
    f.configWrite(pam0 + 6, 1, 0x13);
    expect([calls.get(0xe_8000), calls.get(0xe_c000), calls.get(0xe_4000)]).toEqual([3, 1, 0]);
    const saved = f.save();
    f.reset();
    expect(calls.get(0xe_8000)).toBe(0);
    f.restore(saved);
    expect(calls.get(0xe_8000)).toBe(3);
  };
  it('of the 440FX', () => run((set) => new I440fx(rig().host, { set }), 0x59));
  it('of the Q35', () => run((set) => new Mch(rig().host, { set }, () => {}), 0x90));
});

describe('PIIX', () => {
  it('routes PCI interrupts to ISA, wired-OR', () => {
    const r = rig();
    const f = new Piix3(r.host, 1, r.isa, () => {});
    f.reset();
    f.setPirq(0, true);
    expect(r.isa.some((l) => l.level)).toBe(false);
    f.configWrite(0x60, 4, 0x0b0b_0a0a);
    expect(r.isa[10]!.level).toBe(true);
    f.setPirq(1, true);
    f.setPirq(0, false);
    expect(r.isa[10]!.level).toBe(true);
    f.setPirq(1, false);
    expect(r.isa[10]!.level).toBe(false);
    // Interrupts of the board itself cannot be chosen.
    f.setPirq(2, true);
    f.configWrite(0x62, 1, 8);
    expect(r.isa[8]!.level || r.isa[11]!.level).toBe(false);
  });

  it('moves the ACPI registers', () => {
    const at: number[] = [];
    const f = new Piix4Pm(rig().host, 1, (base) => at.push(base));
    f.reset();
    f.configWrite(0x40, 4, 0xb001);
    f.configWrite(0x80, 1, 1);
    f.configWrite(0x40, 4, 0xffff_ffff);
    expect(f.configRead(0x40, 4)).toBe(0xffc1);
    f.configWrite(0x80, 1, 0);
    expect(at).toEqual([-1, -1, 0xb000, 0xffc0, -1]);
    // Firmware sees that there is no system management mode to set up.
    expect(f.configRead(0x58, 4) & 0x0200_0000).not.toBe(0);
  });
});

describe('Q35', () => {
  it('places the configuration window', () => {
    const at: string[] = [];
    const f = new Mch(rig().host, { set() {} }, (base, buses) => at.push(`${base.toString(16)} ${buses}`));
    f.reset();
    f.configWrite(0x64, 4, 0);
    f.configWrite(0x60, 4, 0xb000_0001);
    f.configWrite(0x60, 4, 0xb800_0003);
    f.configWrite(0x60, 4, 0xb800_0007);
    expect(at).toEqual(['-1 0', '-1 0', 'b0000000 256', 'b8000000 128', '-1 0']);
  });

  it('routes eight PCI interrupts and moves its registers', () => {
    const r = rig();
    const at: string[] = [];
    const f = new Ich9Lpc(r.host, { isa: r.isa, onPmBase: (b) => at.push(`pm ${b.toString(16)}`), onRcba: (b) => at.push(`rcba ${b.toString(16)}`) });
    f.reset();
    f.setPirq(7, true);
    f.configWrite(0x6b, 1, 11);
    expect(r.isa[11]!.level).toBe(true);
    at.length = 0;
    f.configWrite(0x40, 4, 0x601);
    f.configWrite(0x44, 1, 0x80);
    f.configWrite(0xf0, 4, 0xfed1_c001);
    expect(at.filter((t, i) => at.indexOf(t) === i)).toEqual(['pm -1', 'rcba -1', 'pm 600', 'rcba fed1c000']);
    const space = rcrb({ read: () => 0x20, write: () => {} });
    expect(space.read(0x3140, 4)).toBe(0x3210_3210);
    expect(space.read(0x3410, 1)).toBe(0x20);
    expect(space.read(0x3404, 4)).toBe(0);
  });

  it('has its ACPI block in parts', () => {
    const log: string[] = [];
    const part = (name: string): IoHandler => ({ read: (o) => (log.push(`${name} ${o}`), 7), write: (o, _s, v) => void log.push(`${name} ${o}=${v}`) });
    const b = ich9PmBlock(part('pm'), 12, part('gpe'), part('tco'));
    expect(b.read(8, 4)).toBe(7);
    b.write(0x28, 1, 3);
    expect(b.read(0x30, 4)).toBe(0x20);
    expect(b.read(0x64, 2)).toBe(7);
    expect(b.read(0x50, 4)).toBe(0);
    expect(log).toEqual(['pm 8', 'gpe 8=3', 'tco 4']);
  });

  it('has an SMBus with nothing on it', () => {
    const r = rig();
    const f = new Ich9Smbus(r.host);
    f.reset();
    f.configWrite(0x20, 4, 0x701);
    f.configWrite(0x04, 2, 1);
    f.configWrite(0x40, 1, 1);
    const m = r.memory;
    m.portOut(0x704, 1, 0xa1);
    m.portOut(0x702, 1, 0x49);
    expect(m.portIn(0x700, 1)).toBe(0x04);
    expect(r.pins.get('31.1')).toBe(true);
    // The semaphore is taken by the first read.
    expect(m.portIn(0x700, 1)).toBe(0x44);
    m.portOut(0x700, 1, 0x44);
    expect(m.portIn(0x700, 1)).toBe(0);
    expect(r.pins.get('31.1')).toBe(false);
  });
});

describe('root port', () => {
  it('leads to its bus by number, and resets it', () => {
    const r = rig();
    const bus = new PciBus();
    const port = new RootPort('rp', r.host, 0x1c << 3, 1, false);
    bus.addBridge(port);
    let resets = 0;
    class Endpoint extends Ich9Smbus {
      override reset(): void {
        resets++;
        super.reset();
      }
    }
    port.child.add(new Endpoint(r.host));
    const devfn = (31 << 3) | 3;
    expect(bus.find(1, devfn)).toBeUndefined();
    port.configWrite(0x18, 4, 0x0002_0100);
    expect(bus.find(1, devfn)?.name).toBe('ich9-smbus');
    expect(bus.find(2, devfn)).toBeUndefined();
    expect(bus.ecam.read((1 << 20) | (devfn << 12), 4)).toBe(0x2930_8086);
    // Secondary and subordinate of 0 must not lead anywhere, least of all back to bus 0.
    port.configWrite(0x18, 4, 0);
    expect(bus.find(0, devfn)).toBeUndefined();
    port.configWrite(0x3e, 2, 0x40);
    port.configWrite(0x3e, 2, 0x40);
    port.configWrite(0x3e, 2, 0);
    expect(resets).toBe(1);
    const cap = port.configRead(0x34, 1);
    expect(port.configRead(cap, 4) & 0xf0_00ff).toBe(0x40_0010);
  });
});

describe('survive fuzzing', () => {
  const functions: [string, (r: Rig) => PciFunction][] = [
    ['440FX', (r) => new I440fx(r.host, { set() {} })],
    ['PIIX3', (r) => new Piix3(r.host, 1, r.isa, () => {})],
    ['PIIX4', (r) => new Piix4Pm(r.host, 1, () => {})],
    ['MCH', (r) => new Mch(r.host, { set() {} }, () => {})],
    ['ICH9 LPC', (r) => new Ich9Lpc(r.host, { isa: r.isa, onPmBase() {}, onRcba() {} })],
    ['ICH9 SMBus', (r) => new Ich9Smbus(r.host)],
    ['root port', (r) => new RootPort('rp', r.host, 0xe0, 1, true)],
  ];
  for (const [name, make] of functions) {
    it(name, () => {
      fuzzDevice(() => {
        const f = make(rig());
        return { device: f, regions: [{ io: configSpace(f), length: 256 }] };
      });
    });
  }
});
