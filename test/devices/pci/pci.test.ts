/** PCI configuration space, base address registers, INTx and MSI-X, through the ports a guest uses. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { IoHandler } from '#lib/devices/device.js';
import { PciBus, PciFunction, type PciHost } from '#lib/devices/pci/pci.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { fuzzDevice } from '../fuzz.js';

class Echo implements IoHandler {
  last = '';
  constructor(private readonly name: string) {}
  read(offset: number): number {
    return offset & 0xff;
  }
  write(offset: number, size: number, value: number): void {
    this.last = `${this.name} ${offset.toString(16)} ${size} ${value.toString(16)}`;
  }
}

class TestFunction extends PciFunction {
  readonly mem = new Echo('mem');
  readonly io = new Echo('io');
  readonly big = new Echo('big');
  readonly table;
  constructor(host: PciHost) {
    super('test', host, 5 << 3, { vendor: 0x1234, device: 0x5678, class: 0x0280, revision: 3, subsysVendor: 0x1af4, subsys: 7, pin: 1 });
    this.addBar(0, 'mem', 0x1000, this.mem);
    this.addBar(1, 'io', 0x20, this.io);
    this.addBar(2, 'mem64', 0x1_0000, this.big);
    this.table = this.addMsix(4, 3);
    this.sealConfig();
  }
  line(level: boolean): void {
    this.setIntx(level);
  }
}

let memory: PhysicalMemory;
let bus: PciBus;
let f: TestFunction;
let intx: boolean;
let messages: [number, number][];
beforeEach(() => {
  memory = new PhysicalMemory(new ArrayBuffer(65536), 0);
  memory.mapRam(0, 65536, 0);
  bus = new PciBus();
  memory.mapPorts(0xcf8, 8, bus.ports);
  intx = false;
  messages = [];
  f = new TestFunction({ bus: memory, intx: (devfn, pin, level) => (intx = devfn === 5 << 3 && pin === 1 && level), msi: (a, d) => void messages.push([a, d]) });
  bus.add(f);
  f.reset();
});
const select = (reg: number, devfn = 5 << 3): void => memory.portOut(0xcf8, 4, (0x8000_0000 + devfn * 256 + (reg & 0xfc)) >>> 0);
const get = (reg: number, size = 4): number => {
  select(reg);
  return memory.portIn(0xcfc + (reg & 3), size);
};
const set = (reg: number, value: number, size = 4): void => {
  select(reg);
  memory.portOut(0xcfc + (reg & 3), size, value);
};
const capability = (id: number): number => {
  for (let at = get(0x34, 1); at !== 0; at = get(at + 1, 1)) if (get(at, 1) === id) return at;
  return 0;
};

describe('configuration space', () => {
  it('says who it is, at every access size', () => {
    expect(get(0)).toBe(0x5678_1234);
    expect(get(2, 2)).toBe(0x5678);
    expect(get(3, 1)).toBe(0x56);
    expect(get(8)).toBe(0x0280_0003);
    expect(get(0x2c)).toBe(0x0007_1af4);
    expect(get(0x3d, 1)).toBe(1);
  });

  it('keeps read-only bits', () => {
    for (const reg of [0, 8, 0x2c, 0x34]) {
      const before = get(reg);
      set(reg, 0xffff_ffff);
      expect(get(reg)).toBe(before);
    }
    set(4, 0xffff, 2);
    expect(get(4, 2)).toBe(0x0407);
    set(0x3c, 0xab, 1);
    expect(get(0x3c, 1)).toBe(0xab);
  });

  it('floats where nothing is', () => {
    select(0, 6 << 3);
    expect(memory.portIn(0xcfc, 4)).toBe(0xffff_ffff);
    memory.portOut(0xcf8, 4, 0x8001_2800);
    expect(memory.portIn(0xcfc, 2)).toBe(0xffff);
    memory.portOut(0xcf8, 4, 5 << 11);
    expect(memory.portIn(0xcfc, 1)).toBe(0xff);
    memory.portOut(0xcfc, 4, 0);
    expect(get(0)).toBe(0x5678_1234);
  });

  it('has the address register for aligned double words only', () => {
    select(8);
    memory.portOut(0xcf8, 1, 0);
    expect(memory.portIn(0xcf8, 4)).toBe((0x8000_0000 + (5 << 11) + 8) >>> 0);
  });
});

describe('base address registers', () => {
  it('tell their size', () => {
    for (const [bar, value] of [[0, 0xffff_f000], [1, 0xffff_ffe1], [2, 0xffff_0004], [3, 0xffff_ffff]] as const) {
      set(0x10 + bar * 4, 0xffff_ffff);
      expect(get(0x10 + bar * 4)).toBe(value);
    }
  });

  it('decode where they are put, when the command register says so', () => {
    set(0x10, 0xe000_0000);
    set(0x14, 0xc000);
    set(0x18, 0x1_0000);
    set(0x1c, 0x10);
    const hit = (): string[] => {
      f.mem.last = f.io.last = f.big.last = '-';
      memory.write(0xe000_0010, 4, 0xabc);
      memory.portOut(0xc004, 2, 0xdef);
      memory.write(0x10_0001_0008, 1, 0x12);
      return [f.mem.last, f.io.last, f.big.last];
    };
    expect(hit()).toEqual(['-', '-', '-']);
    set(4, 1, 2);
    expect(hit()).toEqual(['-', 'io 4 2 def', '-']);
    set(4, 2, 2);
    expect(hit()).toEqual(['mem 10 4 abc', '-', 'big 8 1 12']);
    set(4, 3, 2);
    set(0x10, 0xd000_0000);
    expect(hit()).toEqual(['-', 'io 4 2 def', 'big 8 1 12']);
    f.reset();
    expect(hit()).toEqual(['-', '-', '-']);
  });
});

describe('interrupts', () => {
  it('INTx shows in the status register and obeys its disable bit', () => {
    f.line(true);
    expect(intx).toBe(true);
    expect(get(6, 2) & 8).toBe(8);
    set(4, 0x400, 2);
    expect(intx).toBe(false);
    expect(get(6, 2) & 8).toBe(8);
    set(4, 0, 2);
    expect(intx).toBe(true);
    f.line(false);
    expect(intx).toBe(false);
  });

  it('MSI-X: masks hold messages back and release them once', () => {
    const cap = capability(0x11);
    expect(get(cap + 2, 2)).toBe(2);
    expect(get(cap + 4)).toBe(4);
    expect(get(cap + 8)).toBe(0x804);
    set(0x20, 0xe100_0000);
    set(4, 6, 2);
    const entry = (v: number, word: number): number => 0xe100_0000 + v * 16 + word * 4;
    // After a reset every vector is masked, and without the enable bit nothing is remembered.
    expect(memory.read(entry(0, 3), 4)).toBe(1);
    f.table.raise(0);
    set(cap + 2, 0x8000, 2);
    memory.write(entry(0, 0), 4, 0xfee0_0000);
    memory.write(entry(0, 2), 4, 0x33);
    memory.write(entry(0, 3), 4, 0);
    expect(messages).toEqual([]);
    f.table.raise(0);
    expect(messages).toEqual([[0xfee0_0000, 0x33]]);
    memory.write(entry(0, 3), 4, 1);
    f.table.raise(0);
    f.table.raise(0);
    expect(messages).toHaveLength(1);
    expect(memory.read(0xe100_0800, 4)).toBe(1);
    memory.write(entry(0, 3), 4, 0);
    expect(messages).toHaveLength(2);
    expect(memory.read(0xe100_0800, 4)).toBe(0);
    // The mask of the whole function.
    set(cap + 2, 0xc000, 2);
    f.table.raise(0);
    expect(messages).toHaveLength(2);
    set(cap + 2, 0x8000, 2);
    expect(messages).toHaveLength(3);
    // No such vector; and while MSI-X is on, the pin is quiet.
    f.table.raise(3);
    f.line(true);
    expect(messages).toHaveLength(3);
    expect(intx).toBe(false);
  });
});

describe('fuzz', () => {
  it.each([1, 2, 3, 4])('configuration space and table, seed %i', (seed) => {
    fuzzDevice(() => {
      const mem = new PhysicalMemory(new ArrayBuffer(65536), 0);
      mem.mapRam(0, 65536, 0);
      const device = new TestFunction({ bus: mem, intx: () => {}, msi: () => {} });
      const ports = new PciBus();
      ports.add(device);
      return {
        device,
        regions: [
          { io: { read: (o, s) => device.configRead(o & ~(s - 1), s), write: (o, s, v) => device.configWrite(o & ~(s - 1), s, v) }, length: 256 },
          { io: device.table, length: 0x1000 },
          { io: ports.ports, length: 8, sizes: [1, 2, 4].map((s) => s) },
        ],
        pokes: [(r) => device.table.raise(r % 5), (r) => device.line((r & 1) === 1)],
      };
    }, 4000, seed);
  });
});
