/** Draws the modes of the Bochs VBE extension. */
import { rgb, type Surface } from '../../display/surface.js';
import type { VbeMode } from './vbe.js';

const row = new Uint32Array(4096);

/** 8, 15, 16, 24 or 32 bits per pixel. */
export function renderPacked(surface: Surface, m: VbeMode, vram: Uint8Array, palette: Uint32Array): void {
  const bytes = (m.bpp + 7) >> 3;
  const pitch = m.virtualWidth * bytes;
  const mask = vram.length - 1;
  for (let y = 0; y < m.height; y++) {
    let at = (m.y + y) * pitch + m.x * bytes;
    for (let x = 0; x < m.width; x++, at += bytes) {
      const a = at & mask;
      const b0 = vram[a]!;
      if (m.bpp === 8) {
        row[x] = palette[b0]!;
        continue;
      }
      const b1 = vram[(a + 1) & mask]!;
      if (m.bpp === 16) row[x] = rgb(wide5(b1 >> 3), wide6(((b1 & 7) << 3) | (b0 >> 5)), wide5(b0 & 31));
      else if (m.bpp === 15) row[x] = rgb(wide5((b1 >> 2) & 31), wide5(((b1 & 3) << 3) | (b0 >> 5)), wide5(b0 & 31));
      else row[x] = (0xff00_0000 | (b0 << 16) | (b1 << 8) | vram[(a + 2) & mask]!) >>> 0;
    }
    surface.putRow(y, row, 0);
  }
}

/** 4 bits per pixel in four planes. */
export function renderPlanar(surface: Surface, m: VbeMode, vram: Uint8Array, palette: Uint32Array): void {
  const pitch = m.virtualWidth >> 3;
  const mask = vram.length - 1;
  for (let y = 0; y < m.height; y++) {
    const base = (m.y + y) * pitch;
    for (let x = 0; x < m.width; x++) {
      const at = ((base + ((m.x + x) >> 3)) * 4) & mask;
      const down = 7 - ((m.x + x) & 7);
      const v = ((vram[at]! >> down) & 1) | (((vram[at + 1]! >> down) & 1) << 1) | (((vram[at + 2]! >> down) & 1) << 2) | (((vram[at + 3]! >> down) & 1) << 3);
      row[x] = palette[v]!;
    }
    surface.putRow(y, row, 0);
  }
}

function wide5(v: number): number {
  return (v << 3) | (v >> 2);
}

function wide6(v: number): number {
  return (v << 2) | (v >> 4);
}
