import { describe, expect, it } from 'vitest';
import { installBiosMemory, programLegacyDevices } from '#lib/boot/bios.js';
import { type LoadContext, placeLow, put, putCmdline } from '#lib/boot/loader.js';
import type { PhysicalMemory } from '#lib/memory/physical.js';

const RAM = 0x20_0000;

function setup(): { ram: Uint8Array; c: LoadContext } {
  const ram = new Uint8Array(RAM);
  const memory = {
    writeFrom(pa: number, src: Uint8Array): boolean {
      ram.set(src, pa);
      return true;
    },
  } as unknown as PhysicalMemory;
  return {
    ram,
    c: { memory, ramBytes: RAM, highBytes: 0, kernel: 'k', initrd: null, append: '', rsdp: 0, image: Buffer.alloc(0), initrdImage: null, used: [] },
  };
}

describe('boot information in low memory', () => {
  it('keeps clear of a kernel that is loaded there', () => {
    const { c } = setup();
    expect(placeLow(c, 32, 'x')).toBe(0x8000);
    put(c, 0x8000, new Uint8Array(0x286c), 'kernel');
    put(c, 0xb000, new Uint8Array(0x2a30), 'kernel');
    const cmdline = putCmdline(c, 'k a b');
    expect(cmdline).toBe(0xe000);
    expect(placeLow(c, 0x400, 'x')).toBe(0xf000);
    put(c, 0x1_0000, new Uint8Array(0x8_f000), 'kernel');
    expect(() => placeLow(c, 0x2000, 'the table')).toThrow('no room in low memory for the table');
  });
});

describe('what a BIOS leaves', () => {
  it('has a handler for every vector that ends in IRET', () => {
    const { ram, c } = setup();
    installBiosMemory(c.memory, RAM);
    const view = new DataView(ram.buffer);
    for (let v = 0; v < 256; v++) {
      const at = view.getUint16(v * 4 + 2, true) * 16 + view.getUint16(v * 4, true);
      expect(ram.subarray(at, at + 18).includes(0xcf), `vector ${v}`).toBe(true);
    }
    expect(view.getUint16(0x413, true)).toBe(640);
  });

  it('leaves the timer and the cascade unmasked', () => {
    const last = new Map<number, number>();
    programLegacyDevices((port, value) => last.set(port, value));
    expect([last.get(0x21), last.get(0xa1)]).toEqual([0xfa, 0xff]);
  });
});
