import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import type { DeviceClock, IoBus } from '#lib/devices/device.js';
import { StdVga } from '#lib/devices/display/stdvga.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { Surface } from '#lib/display/surface.js';
import { fuzzDevice } from '../fuzz.js';
import { Bench, MODES } from './modes.js';

const MIB = 1024 * 1024;
const RAM = 2 * MIB;
const VRAM = 16 * MIB;

/** 2 MiB of RAM, the board in slot 2, an option ROM of 4 KiB. */
function board(clock: DeviceClock = new ManualClock(), vramBytes = VRAM): { d: StdVga; m: PhysicalMemory; vram: Uint8Array } {
  const m = new PhysicalMemory(new ArrayBuffer(RAM + vramBytes + 4096), 0);
  m.mapRam(0, RAM, 0);
  m.ram8.set([0x55, 0xaa], RAM + vramBytes);
  const bus: IoBus = m;
  const vram = m.ram8.subarray(RAM, RAM + vramBytes);
  const d = new StdVga({ bus, intx: () => {}, msi: () => {} }, 2, {
    clock,
    vram,
    mapVram: (at) => m.mapBarRam(at, vramBytes, RAM),
    rom: { bytes: 4096, map: (at) => m.mapBarRam(at, 4096, RAM + vramBytes, true) },
  });
  return { d, m, vram };
}
const FB = 0xe000_0000;
const REGS = 0xfebf_0000;
const ROM = 0xfebe_0000;

function mapped(): ReturnType<typeof board> & { dispi: (i: number, v: number) => void; get: (i: number) => number } {
  const b = board();
  b.d.configWrite(0x10, 4, FB);
  b.d.configWrite(0x18, 4, REGS);
  b.d.configWrite(0x04, 2, 7);
  return { ...b, dispi: (i, v) => b.m.write(REGS + 0x500 + i * 2, 2, v), get: (i) => b.m.read(REGS + 0x500 + i * 2, 2) };
}

describe('standard VGA on PCI', () => {
  it('is what drivers look for', () => {
    const { d } = board();
    expect([d.configRead(0, 4), d.configRead(8, 4), d.configRead(0x2c, 4)]).toEqual([0x1111_1234, 0x0300_0002, 0x1100_1af4]);
    // BAR sizes: 16 MiB prefetchable, 4 KiB, ROM 4 KiB with its enable bit.
    for (const [reg, want] of [[0x10, 0xff00_0008], [0x14, 0], [0x18, 0xffff_f000], [0x30, 0xffff_f001]] as const) {
      d.configWrite(reg, 4, 0xffff_ffff);
      expect(d.configRead(reg, 4)).toBe(want);
    }
  });

  it('BAR 0 is memory while it is decoded, and never hides RAM', () => {
    const { d, m, vram } = board();
    d.configWrite(0x10, 4, FB);
    expect(m.pageOffset(FB)).toBe(-1);
    d.configWrite(0x04, 2, 2);
    m.write32(FB + VRAM - 4, 0x12345678);
    expect([vram[VRAM - 4], m.pageOffset(FB)]).toEqual([0x78, RAM]);
    d.configWrite(0x10, 4, 0);
    expect(m.pageOffset(FB)).toBe(-1);
    d.configWrite(0x10, 4, 0x0100_0000);
    m.write8(0x0100_0000, 9);
    expect(vram[0]).toBe(9);
    // Moved on, everything is as it was before.
    d.configWrite(0x04, 2, 0);
    expect([m.pageOffset(0), m.pageOffset(RAM - 4096), m.pageOffset(0x0100_0000)]).toEqual([0, RAM - 4096, -1]);
  });

  it('the option ROM needs both enable bits and cannot be written', () => {
    const { d, m } = board();
    d.configWrite(0x30, 4, ROM | 1);
    expect(m.pageOffset(ROM)).toBe(-1);
    d.configWrite(0x04, 2, 2);
    expect([m.read16(ROM), m.isRom(ROM)]).toEqual([0xaa55, true]);
    m.write8(ROM, 0);
    expect(m.read16(ROM)).toBe(0xaa55);
    d.configWrite(0x30, 4, ROM);
    expect(m.pageOffset(ROM)).toBe(-1);
    d.configWrite(0x30, 1, 1);
    expect(m.pageOffset(ROM)).toBeGreaterThan(0);
    d.reset();
    expect(m.pageOffset(ROM)).toBe(-1);
  });

  it('BAR 2 has EDID, VGA ports, DISPI registers', () => {
    const { d, m, get } = mapped();
    const edid = Array.from({ length: 128 }, (_, i) => m.read(REGS + i, 1));
    expect(edid.slice(0, 8)).toEqual([0, 255, 255, 255, 255, 255, 255, 0]);
    expect(edid.reduce((a, b) => a + b, 0) & 255).toBe(0);
    expect([edid[56]! | ((edid[58]! >> 4) << 8), edid[59]! | ((edid[61]! >> 4) << 8)]).toEqual([1024, 768]);
    m.write(REGS + 0x402, 1, 0x67);
    expect([m.read(REGS + 0x40c, 1), d.core.vga.readPort(0x1c)]).toEqual([0x67, 0x67]);
    m.write(REGS + 0x404, 2, 0x0f02);
    expect(m.read(REGS + 0x405, 1)).toBe(0x0f);
    expect([get(0), get(10), m.read(REGS + 0x500, 4), m.read(REGS + 0x600, 4), m.read(REGS + 0x604, 4)]).toEqual([0xb0c5, 256, 0xb0c5, 8, 0x1e1e1e1e]);
  });

  it('DISPI: limits, modes only while off, virtual screen, offsets, banks', () => {
    const { dispi, get, vram, d } = mapped();
    dispi(0, 0xb0c2);
    expect(get(0)).toBe(0xb0c2);
    dispi(0, 0x1234);
    expect(get(0)).toBe(0xb0c2);
    dispi(4, 2);
    expect([get(1), get(2), get(3)]).toEqual([2560, 1600, 32]);
    dispi(4, 0);
    for (const [i, v] of [[1, 800], [2, 600], [3, 32]] as const) dispi(i, v);
    dispi(3, 17);
    vram.fill(0xee);
    dispi(4, 0x41);
    expect([get(1), get(3), get(6), get(7), vram[800 * 600 * 4 - 1], vram[800 * 600 * 4]]).toEqual([800, 32, 800, 5242, 0, 0xee]);
    dispi(1, 640);
    expect(get(1)).toBe(800);
    dispi(6, 1024);
    dispi(8, 100);
    dispi(9, 4000);
    expect([get(6), get(7), get(8), get(9)]).toEqual([1024, 4096, 100, 3496]);
    dispi(6, 100);
    expect(get(6)).toBe(800);
    dispi(6, 0xffff);
    expect(get(6) * 4 * 600).toBeLessThanOrEqual(VRAM);
    dispi(5, 3);
    d.core.vga.writePort(0x12, 0x67);
    d.core.vga.memory.write(5, 1, 0x77);
    expect(vram[3 * 65536 + 5]).toBe(0x77);
    dispi(5, 256);
    expect(get(5)).toBe(3);
    dispi(4, 0);
    // In planes a row is whole bytes, and still a number of 16 bits.
    for (const [i, v] of [[1, 8], [2, 8], [3, 4], [4, 1], [6, 0xffff]] as const) dispi(i, v);
    expect(get(6)).toBe(0xfff8);
    dispi(4, 0);
    dispi(1, 0);
    dispi(4, 1);
    expect(get(4) & 1).toBe(0);
  });

  it('shows 4 to 32 bits per pixel', () => {
    const b = new Bench(4 * MIB);
    const s = new Surface();
    b.mode(MODES.vga256);
    const show = (bpp: number, fill: () => void): void => {
      b.vbe.write(4, 0);
      for (const [i, v] of [[1, 320], [2, 200], [3, bpp], [4, 0x41], [6, 400], [8, 8], [9, 1]] as const) b.vbe.write(i, v);
      fill();
      b.renderer.render(s);
      expect([s.width, s.height]).toEqual([320, 200]);
    };
    const first = (): string => (s.pixels[0]! & 0xffffff).toString(16).padStart(6, '0');
    show(8, () => (b.vram[408] = 2));
    expect(first()).toBe('00a800');
    show(15, () => b.vram.set([0x1f, 0x40], 408 * 2));
    expect(first()).toBe('ff0084');
    show(16, () => b.vram.set([0xe0, 0x07], 408 * 2));
    expect(first()).toBe('00ff00');
    show(24, () => b.vram.set([1, 2, 3], 408 * 3));
    expect(first()).toBe('010203');
    show(32, () => b.vram.set([1, 2, 3, 4], 408 * 4));
    expect(first()).toBe('010203');
    show(4, () => (b.vram[(50 + 1) * 4 + 2] = 0x80));
    expect(first()).toBe('0000a8');
    expect(b.text()).toEqual([]);
    // The palette with eight bits.
    show(8, () => (b.vram[408] = 1));
    b.vbe.write(4, 0x61);
    b.out(0x3c8, 1);
    for (const v of [0x81, 0x42, 0x13]) b.out(0x3c9, v);
    b.renderer.render(s);
    expect(first()).toBe('134281');
  });

  it('survives anything', () => {
    for (let seed = 1; seed <= 2; seed++) {
      const surface = new Surface();
      fuzzDevice(
        ({ clock }) => {
          const { d } = board(clock, MIB);
          const config = { read: (o: number, size: number) => d.configRead(o & ~(size - 1), size), write: (o: number, size: number, v: number) => d.configWrite(o & ~(size - 1), size, v) };
          return {
            device: d,
            regions: [
              { io: d.core.registers, length: 0x1000 },
              { io: { read: (o, n) => d.core.registers.read(0x500 + o, n), write: (o, n, v) => d.core.registers.write(0x500 + o, n, v) }, length: 0x16 },
              { io: d.core.vbe.ports, length: 3, sizes: [2] },
              { io: d.core.vga.ports, length: 0x30 },
              { io: d.core.vga.memory, length: 0x2_0000 },
              { io: config, length: 0x100 },
            ],
            pokes: [() => d.core.renderer.render(surface), () => void d.core.renderer.textRows()],
          };
        },
        3000,
        seed,
      );
    }
  });
});
