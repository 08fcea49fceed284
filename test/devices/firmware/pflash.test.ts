import { describe, expect, it } from 'vitest';
import { FLASH_WIDE, Pflash } from '#lib/devices/firmware/pflash.js';
import { fuzzDevice } from '../fuzz.js';

function make(readonly = false): { flash: Pflash; contents: Uint8Array; log: string[] } {
  const contents = new Uint8Array(0x4000).fill(0xff);
  contents[0] = 0x12;
  const log: string[] = [];
  const flash = new Pflash({ name: 'flash', contents, readonly, onArrayMode: (a) => log.push(a ? 'array' : 'command'), onChange: (o, n) => log.push(`${o}+${n}`) });
  return { flash, contents, log };
}

describe('pflash', () => {
  it('is recognised as flash by the probe of UEFI firmware', () => {
    const { mmio } = make().flash;
    const original = mmio.read(0, 1);
    mmio.write(0, 1, 0x50);
    expect(mmio.read(0, 1)).not.toBe(0x50);
    mmio.write(0, 1, 0x70);
    // Not ROM (the original value), not RAM (the command), but a cleared status register.
    expect(mmio.read(0, 1)).toBe(0);
    mmio.write(0, 1, 0xff);
    expect(mmio.read(0, 1)).toBe(original);
  });

  it('programs bytes and erases blocks', () => {
    const { flash, contents, log } = make();
    const { mmio } = flash;
    for (const [a, v] of [[0x1003, 0xab], [0x1004, 0xcd]] as const) {
      mmio.write(a, 1, 0x10);
      mmio.write(a, 1, v);
    }
    expect(mmio.read(0, 1)).toBe(0x80);
    mmio.write(0x1003, 1, 0xff);
    expect(contents[0x1003]).toBe(0xab);
    mmio.write(0x1fff, 1, 0x20);
    mmio.write(0x1fff, 1, 0xd0);
    mmio.write(0x1fff, 1, 0xff);
    expect(contents[0x1003]).toBe(0xff);
    expect(contents[0]).toBe(0x12);
    expect(log).toEqual(['command', '4099+1', '4100+1', 'array', 'command', '4096+4096', 'array']);
  });

  it('programs through its buffer', () => {
    const { flash, contents } = make();
    const { mmio } = flash;
    mmio.write(0x40, 1, 0xe8);
    expect(mmio.read(0x40, 1)).toBe(0x80);
    mmio.write(0x40, 1, 3);
    mmio.write(0x40, 4, 0x0403_0201);
    mmio.write(0x40, 1, 0xd0);
    mmio.write(0x40, 1, 0xff);
    expect([...contents.subarray(0x40, 0x45)]).toEqual([1, 2, 3, 4, 0xff]);
  });

  it('answers CFI and identification queries', () => {
    const { mmio } = make().flash;
    mmio.write(0x55, 1, 0x98);
    expect(String.fromCharCode(mmio.read(0x10, 1), mmio.read(0x11, 1), mmio.read(0x12, 1))).toBe('QRY');
    expect(2 ** mmio.read(0x27, 1)).toBe(0x4000);
    // One region: blocks - 1, block size in units of 256 bytes.
    expect(mmio.read(0x2d, 2)).toBe(3);
    expect(mmio.read(0x2f, 2)).toBe(16);
    mmio.write(0, 1, 0x90);
    expect(mmio.read(0, 1)).toBe(0x89);
  });

  it('keeps its contents when read-only, and says so', () => {
    const { flash, contents, log } = make(true);
    const { mmio } = flash;
    mmio.write(0, 1, 0x40);
    mmio.write(0, 1, 0x55);
    expect(mmio.read(0, 1) & 0x92).toBe(0x92);
    mmio.write(0, 1, 0x20);
    mmio.write(0, 1, 0xd0);
    mmio.write(0, 1, 0xff);
    expect(contents[0]).toBe(0x12);
    expect(log).toEqual(['command', 'array']);
  });

  it('is two chips side by side where firmware for ARM boards wants that', () => {
    const contents = new Uint8Array(2 * FLASH_WIDE.block);
    const { mmio } = new Pflash({ name: 'flash', contents, readonly: false, geometry: FLASH_WIDE, onArrayMode: () => {} });
    const at = FLASH_WIDE.block;
    const both = (v: number): number => v * 0x1_0001;
    mmio.write(at, 4, both(0x20));
    mmio.write(at, 4, both(0xd0));
    // Both are ready, without errors.
    expect(mmio.read(at, 4)).toBe(both(0x80));
    expect([contents[at - 1], contents[at], contents[2 * at - 1]]).toEqual([0, 0xff, 0xff]);
    // A buffered program counts words of the bus.
    mmio.write(at, 4, both(0xe8));
    mmio.write(at, 4, both(1));
    mmio.write(at + 8, 4, 0x0403_0201);
    mmio.write(at + 12, 4, 0x0807_0605);
    mmio.write(at, 4, both(0xd0));
    mmio.write(at, 4, both(0x40));
    mmio.write(at, 4, 0x1122_3344);
    expect(mmio.read(at, 4)).toBe(both(0x80));
    mmio.write(at, 4, both(0xff));
    expect([...contents.subarray(at, at + 17)]).toEqual([0x44, 0x33, 0x22, 0x11, 255, 255, 255, 255, 1, 2, 3, 4, 5, 6, 7, 8, 255]);
    mmio.write(0, 4, both(0x98));
    expect([0x10, 0x11, 0x12].map((i) => mmio.read(4 * i, 4))).toEqual([both(0x51), both(0x52), both(0x59)]);
  });

  it('survives fuzzing, two chips wide', () => {
    fuzzDevice(() => {
      const contents = new Uint8Array(2 * FLASH_WIDE.block);
      const flash = new Pflash({ name: 'flash', contents, readonly: true, geometry: FLASH_WIDE, onArrayMode: () => {} });
      return { device: flash, regions: [{ io: flash.mmio, length: contents.length }] };
    });
  });

  it('survives fuzzing', () => {
    fuzzDevice(() => {
      const { flash } = make();
      return { device: flash, regions: [{ io: flash.mmio, length: 0x4000 }] };
    });
  });
});
