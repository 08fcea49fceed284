import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { ShadowArea } from '#lib/memory/shadow.js';

const ROM = 0x20_0000;

function make(): { m: PhysicalMemory; area: ShadowArea } {
  const m = new PhysicalMemory(new ArrayBuffer(0x24_0000), 0x1000_0000);
  m.ram8.fill(0xaa, ROM, ROM + 0x2_0000);
  m.ram8.fill(0x11, 0xc_0000, 0x10_0000);
  return { m, area: new ShadowArea(m, ROM, 0xe_0000) };
}

/** As the CPU writes: to RAM, or to whatever answers. */
function write(m: PhysicalMemory, pa: number, v: number): void {
  if (m.pageOffset(pa) >= 0 && !m.isRom(pa)) m.write8(pa, v);
  else m.write(pa, 1, v);
}
const read = (m: PhysicalMemory, pa: number): number => (m.pageOffset(pa) >= 0 ? m.read8(pa) : m.read(pa, 1));

describe('shadow RAM', () => {
  it('starts with ROM at the end and nothing before it', () => {
    const { m } = make();
    expect(read(m, 0xc_0000)).toBe(0xff);
    expect(read(m, 0xe_0000)).toBe(0xaa);
    write(m, 0xf_fff0, 1);
    write(m, 0xc_0000, 1);
    expect(read(m, 0xf_fff0)).toBe(0xaa);
    expect(m.ram8[0xf_fff0]).toBe(0x11);
    expect(m.ram8[0xc_0000]).toBe(0x11);
  });

  it('copies itself with writes to RAM and reads from ROM, then locks the RAM', () => {
    const { m, area } = make();
    area.set(0xf_0000, 0x1_0000, 2);
    for (let a = 0xf_0000; a < 0xf_0010; a++) write(m, a, read(m, a) ^ 0xff);
    expect(read(m, 0xf_0000)).toBe(0xaa);
    area.set(0xf_0000, 0x1_0000, 1);
    expect(read(m, 0xf_0000)).toBe(0x55);
    expect(read(m, 0xf_0010)).toBe(0x11);
    write(m, 0xf_0000, 0);
    expect(read(m, 0xf_0000)).toBe(0x55);
    area.set(0xf_0000, 0x1_0000, 3);
    write(m, 0xf_0000, 0x77);
    expect(read(m, 0xf_0000)).toBe(0x77);
    // The neighbour is untouched.
    expect(read(m, 0xe_c000)).toBe(0xaa);
  });

  it('writes where nothing is read', () => {
    const { m, area } = make();
    area.set(0xc_8000, 0x4000, 2);
    m.write(0xc_bffe, 4, 0x0403_0201);
    expect(read(m, 0xc_bffe)).toBe(0xff);
    // The two bytes beyond the segment are lost.
    expect([...m.ram8.subarray(0xc_bffe, 0xc_c002)]).toEqual([1, 2, 0x11, 0x11]);
  });

  it('tells the engine about written code, and about pages that change', () => {
    const { m, area } = make();
    const events: string[] = [];
    m.onRemap = (code) => events.push(`remap ${code}`);
    m.onDmaCodeWrite = (off, n) => events.push(`write ${off.toString(16)} ${n}`);
    m.codePages[0xf_0000 >> 12] = 1;
    area.set(0xf_0000, 0x4000, 2);
    area.set(0xf_0000, 0x4000, 2);
    m.write(0xf_0001, 1, 3);
    area.set(0xf_0000, 0x4000, 3);
    area.set(0xf_0000, 0x4000, 0);
    expect(events).toEqual(['remap false', 'write f0001 1', 'remap false', 'remap true']);
  });
});
