/**
 * C0000h-FFFFFh of a PC: each segment's reads come either from RAM or from ROM (PCI), and its writes go either to RAM or
 * nowhere. The RAM there is "shadow" RAM: firmware copies itself into it and write-protects it.
 */
import type { IoHandler } from '../devices/device.js';
import { floating, type PhysicalMemory } from './physical.js';

export const SHADOW_BASE = 0xc_0000;
export const SHADOW_END = 0x10_0000;
const GRANULE = 0x4000;
const SEGMENTS = (SHADOW_END - SHADOW_BASE) / GRANULE;

/** Attributes of a segment: bit 0 RAM is read, bit 1 RAM is written. */
export const enum Shadow { READ = 1, WRITE = 2, BOTH = 3 }

export class ShadowArea implements IoHandler {
  private readonly attributes = new Uint8Array(SEGMENTS);

  /** @param rom ram offset of the ROM contents seen at `romBase` up to FFFFFh, or -1: nothing answers there. */
  constructor(
    private readonly memory: PhysicalMemory,
    private readonly rom: number,
    private readonly romBase: number,
  ) {
    memory.mapMmio(SHADOW_BASE, SHADOW_END - SHADOW_BASE, this);
    for (let s = 0; s < SEGMENTS; s++) this.map(s);
  }

  /** [base, base + length): multiples of 16 KiB inside the area. */
  set(base: number, length: number, attributes: number): void {
    for (let a = base; a < base + length; a += GRANULE) {
      const s = (a - SHADOW_BASE) / GRANULE;
      if (this.attributes[s] === attributes) continue;
      this.attributes[s] = attributes;
      this.map(s);
    }
  }

  private map(s: number): void {
    const m = this.memory;
    const pa = SHADOW_BASE + s * GRANULE;
    const a = this.attributes[s]!;
    if (a & Shadow.READ) m.mapRam(pa, GRANULE, pa, !(a & Shadow.WRITE));
    else if (this.rom >= 0 && pa >= this.romBase) m.mapRam(pa, GRANULE, this.rom + (pa - this.romBase), true);
    else m.unmapRam(pa, GRANULE);
  }

  /** Reached only where neither RAM nor ROM is read. */
  read(_offset: number, size: number): number {
    return floating(size);
  }

  /** Reached where reads do not come from writable RAM. */
  write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) {
      const o = offset + i;
      const a = this.attributes[Math.floor(o / GRANULE)] ?? 0;
      if (a & Shadow.WRITE) this.memory.poke(SHADOW_BASE + o, 1, (value >>> (8 * i)) & 0xff);
    }
  }
}
