import { describe, expect, it } from 'vitest';
import { FwCfg, FwCfgKey } from '#lib/devices/firmware/fw-cfg.js';
import { TestMemory } from '../memory.js';
import { fuzzDevice } from '../fuzz.js';

function make() {
  const memory = new TestMemory(0x20000);
  const fw = new FwCfg({ memory, ramSize: 0x123456789, cpus: 3 });
  const text = (key: number, n: number): string => {
    fw.ports.write(0, 2, key);
    let s = '';
    for (let i = 0; i < n; i++) s += String.fromCharCode(fw.ports.read(1, 1));
    return s;
  };
  const dv = new DataView(memory.ram.buffer);
  const dma = (control: number, length: number, address: number): number => {
    dv.setUint32(0x100, control);
    dv.setUint32(0x104, length);
    dv.setBigUint64(0x108, BigInt(address));
    fw.ports.write(4, 4, 0);
    fw.ports.write(8, 4, 0x00010000); // 100h, big-endian
    return dv.getUint32(0x100);
  };
  return { memory, fw, text, dma, dv };
}

describe('fw_cfg', () => {
  it('has signature, ID, sizes and zeros past the end', () => {
    const { fw, text } = make();
    expect(text(0, 5)).toBe('QEMU\0');
    fw.ports.write(0, 2, 1);
    expect(fw.ports.read(1, 4)).toBe(3);
    fw.ports.write(0, 2, 3);
    expect([fw.ports.read(1, 4), fw.ports.read(1, 4)]).toEqual([0x23456789, 1]);
    fw.ports.write(0, 2, 5);
    expect(fw.ports.read(1, 2)).toBe(3);
    expect(fw.ports.read(4, 4)).toBe(0x554d4551);
    expect(fw.ports.read(8, 4)).toBe(0x47464320);
    expect(text(0x3000, 2)).toBe('\0\0');
  });

  it('has the same registers in memory', () => {
    const { fw, dv, memory } = make();
    fw.addFile('etc/x', Buffer.from('abcdefgh'));
    fw.mmio.write(8, 2, 0x2000);
    expect([fw.mmio.read(0, 4), fw.mmio.read(0, 1)]).toEqual([0x64636261, 0x65]);
    expect(fw.mmio.read(16, 4)).toBe(0x554d4551);
    dv.setUint32(0x100, (0x20 << 16) | 0x0a);
    dv.setUint32(0x104, 3);
    dv.setBigUint64(0x108, 0x1000n);
    fw.mmio.write(16, 4, 0);
    fw.mmio.write(20, 4, 0x0001_0000);
    expect(Buffer.from(memory.ram.subarray(0x1000, 0x1003)).toString()).toBe('abc');
  });

  it('lists files sorted, with stable keys', () => {
    const { fw, text, dv, dma, memory } = make();
    const k1 = fw.addFile('etc/zebra', Buffer.from('zz'));
    const k2 = fw.addFile('etc/acpi', Buffer.from('aaa'));
    expect([k1, k2]).toEqual([0x20, 0x21]);
    expect(dma((FwCfgKey.FILE_DIR << 16) | 0x0a, 4 + 128, 0x1000)).toBe(0);
    expect(dv.getUint32(0x1000)).toBe(2);
    expect([dv.getUint32(0x1004), dv.getUint16(0x1008)]).toEqual([3, 0x21]);
    expect(Buffer.from(memory.ram.subarray(0x100c, 0x1015)).toString()).toBe('etc/acpi\0');
    expect(text(0x20, 3)).toBe('zz\0');
    expect(() => fw.addFile('x'.repeat(56), Buffer.alloc(0))).toThrow(/too long/);
  });

  it('reads, skips and writes by DMA, with bounds', () => {
    const { fw, dma, memory } = make();
    const changes: number[][] = [];
    fw.addFile('etc/rw', new Uint8Array(8), (_d, offset, length) => changes.push([offset, length]));
    memory.ram.fill(0xee, 0x2000, 0x2010);
    expect(dma(0x0a, 8, 0x2000)).toBe(0);
    expect([...memory.ram.subarray(0x2000, 0x2009)]).toEqual([...Buffer.from('QEMU'), 0, 0, 0, 0, 0xee]);
    memory.ram.set([1, 2, 3, 4], 0x3000);
    expect(dma((0x20 << 16) | 0x0c, 4, 0)).toBe(0);
    expect(dma(0x10, 4, 0x3000)).toBe(0);
    expect([...(fw.file('etc/rw') ?? [])]).toEqual([0, 0, 0, 0, 1, 2, 3, 4]);
    expect(changes).toEqual([[4, 4]]);
    expect(dma(0x10, 1, 0x3000)).toBe(1);
    expect(dma(0x18, 4, 0x3000)).toBe(1); // item 0 is read-only
    expect(dma(0x0a, 0xffffffff, 0x1000)).toBe(1);
    expect(dma(0x0a, 16, 2 ** 60)).toBe(1);
    fw.reset();
    expect([...(fw.file('etc/rw') ?? [])]).toEqual(new Array(8).fill(0));
  });

  it('survives fuzzing', () => {
    fuzzDevice(() => {
      const { fw, memory } = make();
      fw.addFile('etc/rw', new Uint8Array(64), () => {});
      return {
        device: fw,
        regions: [{ io: fw.ports, length: 12 }, { io: fw.mmio, length: 24 }],
        pokes: [(r) => memory.write32((r & 0x1ff) * 4, r)],
      };
    });
  });
});
