/**
 * 80 by 25 text, 720 by 400 dots, as firmware leaves it to an operating system (IBM PS/2 and PC BIOS Interface Technical
 * Reference, video mode 3): for kernels that are started without firmware.
 */
import type { Vga } from './vga.js';
import { Crtc, Gc, VgaPort, VGA_MEMORY } from './vga.spec.js';

const MISC = 0x67;
const SEQ = [0x03, 0x00, 0x03, 0x00, 0x02];
// prettier-ignore
const CRTC = [
  0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
];
const GC = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff];
// prettier-ignore
const ATTR = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00];
const UNLOCKED = 0x0e;
const PALETTE_ON = 0x20;

const TEXT = 0xb_8000;
const TEXT_BYTES = 0x8000;
const BLANK_CELL = 0x0720;
export const FONT_ROWS = 16;

/** Programs the mode through the registers, clears the screen, and loads a font of 256 characters of 16 rows, if there is one. */
export function startTextMode(vga: Vga, font: Uint8Array | null): void {
  const out = (port: VgaPort, v: number): void => vga.writePort(port, v);
  const indexed = (port: VgaPort, i: number, v: number): void => {
    out(port, i);
    out(port + 1, v);
  };
  out(VgaPort.MISC, MISC);
  SEQ.forEach((v, i) => indexed(VgaPort.SEQ_INDEX, i, v));
  indexed(VgaPort.CRTC_INDEX, Crtc.V_RETRACE_END, UNLOCKED);
  CRTC.forEach((v, i) => indexed(VgaPort.CRTC_INDEX, i, v));
  GC.forEach((v, i) => indexed(VgaPort.GC_INDEX, i as Gc, v));
  vga.readPort(VgaPort.STATUS1);
  ATTR.forEach((v, i) => {
    out(VgaPort.ATTR, i);
    out(VgaPort.ATTR, v);
  });
  out(VgaPort.ATTR, PALETTE_ON);
  out(VgaPort.DAC_MASK, 0xff);
  out(VgaPort.DAC_WRITE, 0);
  for (let i = 0; i < 64; i++) {
    // Each of the three guns has a bit of two thirds and a bit of one third.
    for (let gun = 2; gun >= 0; gun--) out(VgaPort.DAC_DATA, ((i >> gun) & 1) * 42 + ((i >> (gun + 3)) & 1) * 21);
  }
  for (let a = 0; a < TEXT_BYTES; a += 2) vga.memory.write(TEXT - VGA_MEMORY + a, 2, BLANK_CELL);
  if (font === null) return;
  const { vram } = vga.o;
  for (let ch = 0; ch < 256; ch++) for (let row = 0; row < FONT_ROWS; row++) vram[(ch * 32 + row) * 4 + 2] = font[ch * FONT_ROWS + row]!;
}

/** How 'A' looks in IBM's 8 by 16 font, and in all that follow it. */
const LETTER_A = Buffer.from('000010386cc6c6fec6c6c6c600000000', 'hex');
const FONT_BYTES = 256 * FONT_ROWS;

/** The 8 by 16 font inside a VGA BIOS image, or null. */
export function fontFromRom(rom: Uint8Array): Uint8Array | null {
  const b = Buffer.from(rom.buffer, rom.byteOffset, rom.length);
  for (let at = b.indexOf(LETTER_A); at >= 0; at = b.indexOf(LETTER_A, at + 1)) {
    const start = at - 0x41 * FONT_ROWS;
    if (start < 0 || start + FONT_BYTES > rom.length) continue;
    const font = rom.slice(start, start + FONT_BYTES);
    // Character 0 is empty and DBh is a full block.
    if (font.subarray(0, FONT_ROWS).every((v) => v === 0) && font.subarray(0xdb * FONT_ROWS, 0xdc * FONT_ROWS).every((v) => v === 0xff)) return font;
  }
  return null;
}
