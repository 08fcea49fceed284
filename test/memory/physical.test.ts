/** The physical memory map: RAM, ROM, windows, ports, and the view devices have of it. */
import { beforeEach, describe, expect, it } from 'vitest';
import { PhysicalMemory } from '#lib/memory/physical.js';

const PAGE = 4096;
let m: PhysicalMemory;
beforeEach(() => {
  m = new PhysicalMemory(new ArrayBuffer(16 * PAGE), 0);
  // Pages 0-7 at 0, then a hole of 8 pages, then pages 8-11; ROM (page 12) at 1 MiB; pages 13-14 above 4 GiB.
  m.mapRam(0, 8 * PAGE, 0);
  m.mapRam(16 * PAGE, 4 * PAGE, 8 * PAGE);
  m.mapRam(0x10_0000, PAGE, 12 * PAGE, true);
  m.mapRam(2 ** 32, 2 * PAGE, 13 * PAGE);
});

describe('DMA', () => {
  it('reads what it writes, at every size, wherever RAM is', () => {
    for (const base of [0, 100, PAGE - 2, 16 * PAGE + 1, 2 ** 32 + 8]) {
      m.write32(base, 0x8765_4321);
      expect(m.read32(base)).toBe(0x8765_4321);
      expect(m.read16(base + 1)).toBe(0x6543);
      expect(m.read8(base + 3)).toBe(0x87);
      m.write16(base, 0xffee);
      expect(m.read32(base)).toBe(0x8765_ffee);
    }
  });

  it('writes with the page offset at the end of a page', () => {
    m.write32(3 * PAGE + 4092, 0x0102_0304);
    expect([...m.ram8.subarray(4 * PAGE - 4, 4 * PAGE)]).toEqual([4, 3, 2, 1]);
    m.write32(PAGE + 16, 0x0a0b_0c0d);
    expect([...m.ram8.subarray(PAGE + 16, PAGE + 20)]).toEqual([0xd, 0xc, 0xb, 0xa]);
  });

  it('fails outside RAM and says so', () => {
    expect(m.valid(0, 8 * PAGE)).toBe(true);
    expect(m.valid(0, 8 * PAGE + 1)).toBe(false);
    expect(m.valid(8 * PAGE - 1, 2)).toBe(false);
    expect(m.valid(-1, 4)).toBe(false);
    expect(m.valid(NaN, 4)).toBe(false);
    expect(m.valid(2 ** 52, 4)).toBe(false);
    expect(m.valid(2 ** 32, 2 * PAGE)).toBe(true);
    expect(m.readInto(8 * PAGE - 2, new Uint8Array(4))).toBe(false);
    expect(m.writeFrom(8 * PAGE - 2, new Uint8Array(4))).toBe(false);
    expect(m.read32(9 * PAGE)).toBe(0xffff_ffff);
    m.write32(9 * PAGE, 0);
    expect(m.view(8 * PAGE - 2, 4)).toBeNull();
    expect(m.view(0, 0)).toBeNull();
  });

  it('reads 64-bit values exactly or not at all', () => {
    m.write32(0, 0xffff_ffff);
    m.write32(4, 0x1f_ffff);
    expect(m.read64(0)).toBe(2 ** 53 - 1);
    m.write32(4, 0x20_0000);
    expect(m.read64(0)).toBeNaN();
  });

  it('does not write ROM', () => {
    m.ram8[12 * PAGE] = 0x55;
    m.write8(0x10_0000, 1);
    expect(m.writeFrom(0x10_0000, Uint8Array.of(1))).toBe(false);
    expect(m.viewForWrite(0x10_0000, 1)).toBeNull();
    expect(m.read8(0x10_0000)).toBe(0x55);
    expect(m.view(0x10_0000, 1)![0]).toBe(0x55);
  });

  it('has views where host memory is contiguous', () => {
    const v = m.view(PAGE - 4, 2 * PAGE)!;
    m.write8(PAGE, 9);
    expect(v[4]).toBe(9);
    // Neighbours in the guest that are not neighbours in the host.
    m.mapRam(8 * PAGE, PAGE, 15 * PAGE);
    expect(m.view(7 * PAGE, 2 * PAGE)).toBeNull();
    expect(m.valid(7 * PAGE, 2 * PAGE)).toBe(true);
    const across = Uint8Array.from({ length: 2 * PAGE }, (_, i) => i);
    expect(m.writeFrom(7 * PAGE, across)).toBe(true);
    const back = new Uint8Array(2 * PAGE);
    expect(m.readInto(7 * PAGE, back)).toBe(true);
    expect(back).toEqual(across);
  });

  it('tells the engine about translated code', () => {
    const told: [number, number][] = [];
    m.onDmaCodeWrite = (at, n) => void told.push([at, n]);
    m.codePages[2] = 1;
    m.writeFrom(PAGE, new Uint8Array(3 * PAGE));
    expect(told).toEqual([[2 * PAGE, PAGE]]);
    m.write32(2 * PAGE + 8, 1);
    m.write8(PAGE, 1);
    m.viewForWrite(2 * PAGE - 4, 8);
    expect(told.slice(1)).toEqual([[2 * PAGE + 8, 4], [2 * PAGE, 4]]);
  });
});

describe('windows and ports', () => {
  const recorder = (log: string[], name: string): { read(o: number, s: number): number; write(o: number, s: number, v: number): void } => ({
    read: (o, s) => (log.push(`${name} r ${o} ${s}`), 7),
    write: (o, s, v) => void log.push(`${name} w ${o} ${s} ${v}`),
  });

  it('the latest mapping wins until it goes', () => {
    const log: string[] = [];
    m.mapMmio(0xe000_0000, 0x100, recorder(log, 'a'));
    const gone = m.mapMmio(0xe000_0010, 0x10, recorder(log, 'b'));
    m.write(0xe000_0014, 4, 1);
    m.write(0xe000_0024, 4, 2);
    gone();
    expect(m.read(0xe000_0014, 4)).toBe(7);
    expect(log).toEqual(['b w 4 4 1', 'a w 36 4 2', 'a r 20 4']);
    expect(m.read(0xf000_0000, 2)).toBe(0xffff);
    m.write(0xf000_0000, 2, 1);
  });

  it('ports: nested mappings come and go in any order, wide accesses are split at the end of a device', () => {
    const log: string[] = [];
    m.mapPorts(0x60, 1, recorder(log, 'kbd'));
    m.mapPorts(0x61, 1, recorder(log, 'spk'));
    m.portOut(0x60, 2, 0x1234);
    expect(log).toEqual(['kbd w 0 1 52', 'spk w 0 1 18']);
    expect(m.portIn(0x60, 4)).toBe(0xffff_0707);
    expect(m.portIn(0xffff, 4)).toBe(0xffff_ffff);
    m.portOut(0xffff, 4, 0);
    log.length = 0;
    const over = m.mapPorts(0x60, 2, recorder(log, 'over'));
    m.portOut(0x61, 1, 1);
    over();
    m.portOut(0x61, 1, 2);
    expect(log).toEqual(['over w 1 1 1', 'spk w 0 1 2']);
  });
});
