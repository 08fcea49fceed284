/** A VGA on a test bench, and register values of the standard video modes (IBM's BIOS interface reference), written as firmware does. */
import { createHash } from 'node:crypto';
import { ManualClock } from '#lib/devices/clock.js';
import { Vga } from '#lib/devices/display/vga.js';
import { VgaRenderer } from '#lib/devices/display/vga-render.js';
import { BochsVbe } from '#lib/devices/display/vbe.js';
import { fromCp437 } from '#lib/display/cp437.js';
import { Surface } from '#lib/display/surface.js';

export interface ModeTable {
  misc: number;
  seq: number[];
  crtc: number[];
  gc: number[];
  attr: number[];
}

const EGA16 = [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f];
/** Black, bright cyan, bright magenta, white. */
const CGA16 = [0, 0x3b, 0x3d, 0x3f, 2, 4, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f];
const V400 = (max: number, cursor: number[], off: number, underline: number, mode: number, first: number[]): number[] => [
  ...first, 0xbf, 0x1f, 0, max, ...cursor, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, off, underline, 0x96, 0xb9, mode, 0xff,
];
const COLS80 = [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81];
const COLS80G = [0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80];
const COLS40 = [0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80];

export const MODES = {
  /** 80 by 25 text, 9 by 16. */
  text80: { misc: 0x67, seq: [3, 0, 3, 0, 2], crtc: V400(0x4f, [0x0d, 0x0e], 0x28, 0x1f, 0xa3, COLS80), gc: [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff], attr: [...EGA16, 0x0c, 0, 15, 8, 0] },
  /** 40 by 25 text, 9 by 16, dots doubled. */
  text40: { misc: 0x67, seq: [3, 8, 3, 0, 2], crtc: V400(0x4f, [0x0d, 0x0e], 0x14, 0x1f, 0xa3, [0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0]), gc: [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff], attr: [...EGA16, 0x0c, 0, 15, 8, 0] },
  /** 320 by 200 in 4 colours, as CGA. */
  cga4: { misc: 0x63, seq: [3, 9, 3, 0, 2], crtc: V400(0xc1, [0, 0], 0x14, 0, 0xa2, COLS40), gc: [0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff], attr: [...CGA16, 1, 0, 3, 0, 0] },
  /** 640 by 200 in 2 colours, as CGA. */
  cga2: { misc: 0x63, seq: [3, 1, 1, 0, 6], crtc: V400(0xc1, [0, 0], 0x28, 0, 0xc2, COLS80G), gc: [0, 0, 0, 0, 0, 0, 0x0d, 0, 0xff], attr: [0, ...new Array<number>(15).fill(0x3f), 1, 0, 1, 0, 0] },
  /** 320 by 200 in 16 colours. */
  ega320: { misc: 0x63, seq: [3, 9, 15, 0, 6], crtc: V400(0xc0, [0, 0], 0x14, 0, 0xe3, COLS40), gc: [0, 0, 0, 0, 0, 0, 5, 15, 0xff], attr: [...EGA16, 1, 0, 15, 0, 0] },
  /** 640 by 480 in 16 colours. */
  vga16: {
    misc: 0xe3, seq: [3, 1, 15, 0, 6],
    crtc: [...COLS80G, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0, 0xe7, 0x04, 0xe3, 0xff],
    gc: [0, 0, 0, 0, 0, 0, 5, 15, 0xff], attr: [...EGA16, 1, 0, 15, 0, 0],
  },
  /** 320 by 200 in 256 colours, chain-4. */
  vga256: { misc: 0x63, seq: [3, 1, 15, 0, 14], crtc: V400(0x41, [0, 0], 0x28, 0x40, 0xa3, COLS80G), gc: [0, 0, 0, 0, 0, 0x40, 5, 15, 0xff], attr: [...Array.from({ length: 16 }, (_, i) => i), 0x41, 0, 15, 0, 0] },
  /** 320 by 240 in 256 colours, planes addressed one by one ("mode X"). */
  modeX: {
    misc: 0xe3, seq: [3, 1, 15, 0, 6],
    crtc: [...COLS80G, 0x0d, 0x3e, 0, 0x41, 0, 0, 0, 0, 0, 0, 0xea, 0xac, 0xdf, 0x28, 0, 0xe7, 0x06, 0xe3, 0xff],
    gc: [0, 0, 0, 0, 0, 0x40, 5, 15, 0xff], attr: [...Array.from({ length: 16 }, (_, i) => i), 0x41, 0, 15, 0, 0],
  },
} satisfies Record<string, ModeTable>;

export class Bench {
  readonly clock = new ManualClock();
  readonly vram: Uint8Array;
  readonly vga: Vga;
  readonly vbe: BochsVbe;
  readonly renderer: VgaRenderer;
  readonly surface = new Surface();

  constructor(bytes = 0x4_0000) {
    this.vram = new Uint8Array(bytes);
    this.vga = new Vga({ clock: this.clock, vram: this.vram });
    this.vbe = new BochsVbe(this.vga);
    this.renderer = new VgaRenderer(this.vga, this.vbe);
  }

  out(port: number, v: number): void {
    this.vga.ports.write(port - 0x3b0, 1, v);
  }

  in(port: number): number {
    return this.vga.ports.read(port - 0x3b0, 1);
  }

  /** Indexed register: index port, index, value. */
  set(port: number, index: number, v: number): void {
    this.out(port, index);
    this.out(port + 1, v);
  }

  get(port: number, index: number): number {
    this.out(port, index);
    return this.in(port + 1);
  }

  attr(index: number, v: number): void {
    this.in(0x3da);
    this.out(0x3c0, index);
    this.out(0x3c0, v);
    this.out(0x3c0, 0x20);
  }

  write(pa: number, v: number, size = 1): void {
    this.vga.memory.write(pa - 0xa0000, size, v);
  }

  read(pa: number, size = 1): number {
    return this.vga.memory.read(pa - 0xa0000, size);
  }

  mode(m: ModeTable): void {
    this.out(0x3c2, m.misc);
    m.seq.forEach((v, i) => this.set(0x3c4, i, v));
    this.set(0x3d4, 0x11, 0);
    m.crtc.forEach((v, i) => this.set(0x3d4, i, v));
    m.gc.forEach((v, i) => this.set(0x3ce, i, v));
    m.attr.forEach((v, i) => this.attr(i, v));
    this.out(0x3c8, 0);
    for (let i = 0; i < 64; i++) {
      const gun = (low: number, high: number): number => ((i >> low) & 1) * 42 + ((i >> high) & 1) * 21;
      for (const v of [gun(2, 5), gun(1, 4), gun(0, 3)]) this.out(0x3c9, v);
    }
  }

  /** A font whose character c has the row pattern c ^ row, which needs no file. */
  font(at = 0): void {
    for (let c = 0; c < 256; c++) for (let row = 0; row < 16; row++) this.vram[(at + c * 32 + row) * 4 + 2] = c ^ row;
  }

  print(text: string, attr: number, row = 0, column = 0): void {
    for (let i = 0; i < text.length; i++) this.write(0xb8000 + (row * 80 + column + i) * 2, text.charCodeAt(i) | (attr << 8), 2);
  }

  draw(): Surface {
    this.renderer.render(this.surface);
    return this.surface;
  }

  /** RRGGBB of a dot. */
  dot(x: number, y: number): string {
    const v = this.surface.pixels[y * this.surface.width + x]!;
    return [v & 255, (v >> 8) & 255, (v >> 16) & 255].map((c) => c.toString(16).padStart(2, '0')).join('');
  }

  text(): string[] {
    return this.renderer.textRows().map(fromCp437);
  }

  hash(): string {
    return createHash('sha256').update(this.draw().bytes()).digest('hex').slice(0, 16);
  }
}
