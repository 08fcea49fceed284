/**
 * Draws what a VGA's registers and memory put on the monitor, dot by dot: what is doubled on the screen is doubled in the
 * picture (mode 13h gives 640 by 400). IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem": CRT controller,
 * attribute controller, alphanumeric and graphics modes. The border is not part of the picture.
 */
import type { TextScreen } from '../../display/screen-source.js';
import { rgb, type Surface } from '../../display/surface.js';
import type { BochsVbe } from './vbe.js';
import type { Vga } from './vga.js';
import { lineCompare, verticalDisplayLines, type VgaState } from './vga-state.js';
import { Attr, AttrMode, Clocking, Crtc, CrtcMode, Gc, GcMisc, GcMode, MaxScan, Seq, Underline } from './vga.spec.js';
import { renderPacked, renderPlanar } from './vbe-render.js';

/** Longest line: 256 characters, and one for panning, of 9 dots at half the dot clock. */
const MAX_DOTS = 257 * 18;
/** Size of the picture before there has been any. */
const FIRST_WIDTH = 640;
const FIRST_HEIGHT = 480;
const PLANE_WORDS = 0xffff;
const FONT_BYTES = 32;

/** One byte to eight dots: bit 7 - i to byte i of two words. */
const SPREAD_LOW = new Int32Array(256);
const SPREAD_HIGH = new Int32Array(256);
for (let v = 0; v < 256; v++) {
  for (let i = 0; i < 4; i++) {
    SPREAD_LOW[v] = SPREAD_LOW[v]! | (((v >> (7 - i)) & 1) << (8 * i));
    SPREAD_HIGH[v] = SPREAD_HIGH[v]! | (((v >> (3 - i)) & 1) << (8 * i));
  }
}

/** Offset in plane 2 of a character map selected by three bits. */
function fontOffset(high: number, low: number): number {
  return low * 0x4000 + (high ? 0x2000 : 0);
}

/** Cursor start register: no cursor. */
const CURSOR_OFF = 0x20;

export type { TextScreen };

export class VgaRenderer {
  private readonly words: Int32Array;
  private readonly line = new Uint32Array(MAX_DOTS);
  private readonly nibbles = new Uint8Array(8);
  /** Colours of the 16 attribute values and of the 256 DAC entries. */
  private readonly colors16 = new Uint32Array(16);
  private readonly colors256 = new Uint32Array(256);

  constructor(
    private readonly vga: Vga,
    private readonly vbe: BochsVbe | null = null,
  ) {
    const v = vga.o.vram;
    this.words = new Int32Array(v.buffer, v.byteOffset, v.length / 4);
  }

  /** Draws the present picture. `now`: guest time, for what blinks. */
  render(surface: Surface, now = this.vga.o.clock.now()): void {
    const s = this.vga.state;
    const mode = this.vbe?.current() ?? null;
    const blank = !(s.attrIndex & Attr.PALETTE_SOURCE) || (s.seq[Seq.CLOCKING]! & Clocking.SCREEN_OFF) !== 0 || (mode === null && !(s.crtc[Crtc.MODE]! & CrtcMode.ENABLE)) || s.enable === 0;
    if (blank) {
      if (surface.width === 0) surface.resize(FIRST_WIDTH, FIRST_HEIGHT);
      surface.clear();
      return;
    }
    this.loadColors(s);
    if (mode !== null) {
      surface.resize(mode.width, mode.height);
      if (mode.bpp === 4) renderPlanar(surface, mode, this.vga.o.vram, this.colors16);
      else renderPacked(surface, mode, this.vga.o.vram, this.colors256);
      return;
    }
    const dots = this.charDots(s);
    const twice = s.crtc[Crtc.MODE]! & CrtcMode.VERTICAL_HALF_CLOCK ? 2 : 1;
    surface.resize((s.crtc[Crtc.H_DISPLAY_END]! + 1) * dots, verticalDisplayLines(s.crtc) * twice);
    this.scan(surface, s, now);
  }

  /** Dots per character clock as the monitor sees them. */
  private charDots(s: Readonly<VgaState>): number {
    const clocking = s.seq[Seq.CLOCKING]!;
    const nine = !(clocking & Clocking.DOTS_8) && !(s.gc[Gc.MISC]! & GcMisc.GRAPHICS);
    return (nine ? 9 : 8) * (clocking & Clocking.HALF_DOT_CLOCK ? 2 : 1);
  }

  private loadColors(s: Readonly<VgaState>): void {
    const d = s.dac;
    // Six bits become eight by repeating the lowest one, so that 0 stays 0 and 63 becomes 255.
    const eight = this.vga.dac8 ? (v: number): number => v : (v: number): number => ((v & 63) << 2) | (v & 1 ? 3 : 0);
    for (let i = 0; i < 256; i++) {
      const at = (i & s.dacMask) * 3;
      this.colors256[i] = rgb(eight(d[at]!), eight(d[at + 1]!), eight(d[at + 2]!));
    }
    const select = s.attr[Attr.COLOR_SELECT]!;
    const narrow = (s.attr[Attr.MODE]! & AttrMode.PALETTE_SIZE) !== 0;
    for (let i = 0; i < 16; i++) {
      const p = s.attr[i & s.attr[Attr.PLANE_ENABLE]! & 15]!;
      this.colors16[i] = this.colors256[narrow ? (p & 15) | ((select & 15) << 4) : (p & 63) | ((select & 12) << 4)]!;
    }
  }

  /** Goes through the lines as the CRT controller does. */
  private scan(surface: Surface, s: Readonly<VgaState>, now: number): void {
    const c = s.crtc;
    const mode = c[Crtc.MODE]!;
    const text = !(s.gc[Gc.MISC]! & GcMisc.GRAPHICS);
    const twice = mode & CrtcMode.VERTICAL_HALF_CLOCK ? 2 : 1;
    const lines = surface.height / twice;
    const split = lineCompare(c) + 1;
    const lastRow = c[Crtc.MAX_SCAN]! & MaxScan.LINES;
    const double = (c[Crtc.MAX_SCAN]! & MaxScan.DOUBLE) !== 0;
    const rowMatters = text || (mode & (CrtcMode.NOT_CGA | CrtcMode.NOT_HERCULES)) !== (CrtcMode.NOT_CGA | CrtcMode.NOT_HERCULES);
    const pitch = c[Crtc.OFFSET]! * 2;
    let shift = this.panning(s);
    let base = ((c[Crtc.START_HIGH]! << 8) | c[Crtc.START_LOW]!) + ((c[Crtc.PRESET_ROW]! >> 5) & 3);
    let row = c[Crtc.PRESET_ROW]! & 31;
    let second = false;
    let drawn = false;
    for (let y = 0; y < lines; y++) {
      if (y === split) {
        base = row = 0;
        second = drawn = false;
        if (s.attr[Attr.MODE]! & AttrMode.PAN_COMPATIBLE) shift = 0;
      }
      if (!drawn) {
        if (text) this.textLine(s, base, row, now);
        else this.graphicsLine(s, base, row);
        drawn = true;
      }
      for (let i = 0; i < twice; i++) surface.putRow(y * twice + i, this.line, shift);
      if (double && !second) {
        second = true;
        continue;
      }
      second = false;
      if (row === lastRow) {
        row = 0;
        base += pitch;
        drawn = false;
      } else {
        row = (row + 1) & 31;
        if (rowMatters) drawn = false;
      }
    }
  }

  /** Dots by which the picture is moved to the left. */
  private panning(s: Readonly<VgaState>): number {
    const pan = s.attr[Attr.PANNING]!;
    const clocking = s.seq[Seq.CLOCKING]!;
    const scale = clocking & Clocking.HALF_DOT_CLOCK ? 2 : 1;
    if (!(clocking & Clocking.DOTS_8) && !(s.gc[Gc.MISC]! & GcMisc.GRAPHICS)) return (pan >= 8 ? 0 : pan + 1) * scale;
    if (s.attr[Attr.MODE]! & AttrMode.EIGHT_BIT) return (pan & 6) * scale;
    return (pan & 7) * scale;
  }

  /** The word of display memory that the address counter selects. */
  private fetch(c: Uint8Array, counter: number, row: number): number {
    const mode = c[Crtc.MODE]!;
    // Doubleword mode and the layout of chain-4 cancel out (see VgaMemory), down to which bits the row replaces.
    const dword = (c[Crtc.UNDERLINE]! & Underline.DWORD) !== 0;
    let a = counter & PLANE_WORDS;
    if (!dword && !(mode & CrtcMode.BYTE)) a = (a << 1) | ((a >> (mode & CrtcMode.WRAP_15 ? 15 : 13)) & 1);
    const down = dword ? 2 : 0;
    if (!(mode & CrtcMode.NOT_CGA)) a = (a & ~(0x2000 >> down)) | ((row & 1) << (13 - down));
    if (!(mode & CrtcMode.NOT_HERCULES)) a = (a & ~(0x4000 >> down)) | ((row & 2) << (13 - down));
    return this.words[a & PLANE_WORDS]!;
  }

  /** Character clocks that one step of the address counter lasts, as a shift count. */
  private countShift(c: Uint8Array): number {
    return c[Crtc.UNDERLINE]! & Underline.COUNT_BY_4 ? 2 : c[Crtc.MODE]! & CrtcMode.COUNT_BY_2 ? 1 : 0;
  }

  // ---- text ----

  private textLine(s: Readonly<VgaState>, base: number, row: number, now: number): void {
    const { line, colors16: colors, words } = this;
    const c = s.crtc;
    const attrMode = s.attr[Attr.MODE]!;
    const chars = c[Crtc.H_DISPLAY_END]! + 1;
    const countShift = this.countShift(c);
    const nine = !(s.seq[Seq.CLOCKING]! & Clocking.DOTS_8);
    const half = (s.seq[Seq.CLOCKING]! & Clocking.HALF_DOT_CLOCK) !== 0;
    const map = s.seq[Seq.CHAR_MAP]!;
    const fontB = fontOffset(map & 0x10, map & 3);
    const fontA = fontOffset(map & 0x20, (map >> 2) & 3);
    const frame = this.vga.timing.frameNumber(now);
    const blink = (attrMode & AttrMode.BLINK) !== 0;
    const blinkOff = blink && (frame & 16) !== 0;
    const lineGraphics = (attrMode & AttrMode.LINE_GRAPHICS) !== 0;
    const underline = row === (c[Crtc.UNDERLINE]! & Underline.ROW);
    const cursor = this.cursorOnRow(c, row, frame) ? (((c[Crtc.CURSOR_HIGH]! << 8) | c[Crtc.CURSOR_LOW]!) + ((c[Crtc.CURSOR_END]! >> 5) & 3)) & PLANE_WORDS : -1;
    let at = 0;
    for (let i = 0; i <= chars; i++) {
      const counter = (base + (i >> countShift)) & PLANE_WORDS;
      const w = this.fetch(c, counter, row);
      const ch = w & 0xff;
      const attr = (w >> 8) & 0xff;
      let fg = colors[attr & 15]!;
      const bg = colors[(attr >> 4) & (blink ? 7 : 15)]!;
      let bits = (words[(attr & 8 ? fontA : fontB) + ch * FONT_BYTES + row]! >> 16) & 0xff;
      let ninth = nine && lineGraphics && ch >= 0xc0 && ch <= 0xdf ? bits & 1 : 0;
      if (underline && (attr & 0x77) === 1) {
        bits = 0xff;
        ninth = 1;
      }
      if (blinkOff && attr & 0x80) fg = bg;
      if (counter === cursor) {
        fg = colors[attr & 15]!;
        bits = 0xff;
        ninth = 1;
      }
      for (let bit = 0x80; bit !== 0; bit >>= 1) {
        const color = bits & bit ? fg : bg;
        line[at++] = color;
        if (half) line[at++] = color;
      }
      if (nine) {
        const color = ninth ? fg : bg;
        line[at++] = color;
        if (half) line[at++] = color;
      }
    }
  }

  private cursorOnRow(c: Uint8Array, row: number, frame: number): boolean {
    const start = c[Crtc.CURSOR_START]!;
    if (start & CURSOR_OFF || frame & 8) return false;
    return row >= (start & 31) && row <= (c[Crtc.CURSOR_END]! & 31);
  }

  // ---- graphics ----

  private graphicsLine(s: Readonly<VgaState>, base: number, row: number): void {
    const c = s.crtc;
    const chars = c[Crtc.H_DISPLAY_END]! + 1;
    const countShift = this.countShift(c);
    const half = (s.seq[Seq.CLOCKING]! & Clocking.HALF_DOT_CLOCK) !== 0;
    const gcMode = s.gc[Gc.MODE]!;
    const eight = (s.attr[Attr.MODE]! & AttrMode.EIGHT_BIT) !== 0;
    const fast = eight && (gcMode & GcMode.SHIFT_256) !== 0 && !half;
    const { line, nibbles, colors16, colors256 } = this;
    let at = 0;
    for (let i = 0; i <= chars; i++) {
      const w = this.fetch(c, base + (i >> countShift), row);
      if (fast) {
        line[at] = line[at + 1] = colors256[w & 0xff]!;
        line[at + 2] = line[at + 3] = colors256[(w >> 8) & 0xff]!;
        line[at + 4] = line[at + 5] = colors256[(w >> 16) & 0xff]!;
        line[at + 6] = line[at + 7] = colors256[w >>> 24]!;
        at += 8;
        continue;
      }
      this.serialize(w, gcMode);
      for (let n = 0; n < 8; n++) {
        const color = eight ? colors256[(nibbles[n & 6]! << 4) | nibbles[n | 1]!]! : colors16[nibbles[n]!]!;
        line[at++] = color;
        if (half) line[at++] = color;
      }
    }
  }

  /** The four shift registers: eight 4-bit values from the four planes, in the order in which they are shown. */
  private serialize(w: number, gcMode: number): void {
    const n = this.nibbles;
    if (gcMode & GcMode.SHIFT_256) {
      for (let p = 0; p < 4; p++) {
        n[p * 2] = (w >>> (p * 8 + 4)) & 15;
        n[p * 2 + 1] = (w >>> (p * 8)) & 15;
      }
    } else if (gcMode & GcMode.SHIFT_INTERLEAVE) {
      for (let i = 0; i < 8; i++) {
        const bytes = i < 4 ? w : w >>> 8;
        const down = 6 - (i & 3) * 2;
        n[i] = ((bytes >>> down) & 3) | (((bytes >>> (16 + down)) & 3) << 2);
      }
    } else {
      const p0 = w & 0xff;
      const p1 = (w >>> 8) & 0xff;
      const p2 = (w >>> 16) & 0xff;
      const p3 = w >>> 24;
      const low = SPREAD_LOW[p0]! | (SPREAD_LOW[p1]! << 1) | (SPREAD_LOW[p2]! << 2) | (SPREAD_LOW[p3]! << 3);
      const high = SPREAD_HIGH[p0]! | (SPREAD_HIGH[p1]! << 1) | (SPREAD_HIGH[p2]! << 2) | (SPREAD_HIGH[p3]! << 3);
      for (let i = 0; i < 4; i++) {
        n[i] = (low >>> (8 * i)) & 15;
        n[i + 4] = (high >>> (8 * i)) & 15;
      }
    }
  }

  // ---- contents as text ----

  /** The rows of a text mode as character codes; none in graphics modes and while the screen is off. */
  textRows(): Uint8Array[] {
    return this.textScreen()?.rows.map((r) => Uint8Array.from(r, (cell) => cell & 0xff)) ?? [];
  }

  /** A text mode's cells: character code in bits 0..7, attribute in 8..15; null in graphics modes and while the screen is off. */
  textScreen(): TextScreen | null {
    const s = this.vga.state;
    const c = s.crtc;
    const off = !(s.attrIndex & Attr.PALETTE_SOURCE) || !(c[Crtc.MODE]! & CrtcMode.ENABLE) || s.gc[Gc.MISC]! & GcMisc.GRAPHICS;
    if (off || (this.vbe?.current() ?? null) !== null) return null;
    const chars = c[Crtc.H_DISPLAY_END]! + 1;
    const height = ((c[Crtc.MAX_SCAN]! & MaxScan.LINES) + 1) * (c[Crtc.MAX_SCAN]! & MaxScan.DOUBLE ? 2 : 1);
    const lines = verticalDisplayLines(c);
    const split = lineCompare(c) + 1;
    const countShift = this.countShift(c);
    let base = ((c[Crtc.START_HIGH]! << 8) | c[Crtc.START_LOW]!) + ((c[Crtc.PRESET_ROW]! >> 5) & 3);
    const cursorOn = !(c[Crtc.CURSOR_START]! & CURSOR_OFF);
    const cursor = ((c[Crtc.CURSOR_HIGH]! << 8) | c[Crtc.CURSOR_LOW]!) + ((c[Crtc.CURSOR_END]! >> 5) & 3);
    const text: TextScreen = { rows: [], cursor: null };
    let isSplit = false;
    for (let y = 0; y < lines; y += height) {
      if (!isSplit && y >= split) {
        isSplit = true;
        base = 0;
        // The lower part starts on a line of its own.
        y = split;
      }
      const row = new Uint16Array(chars);
      for (let i = 0; i < chars; i++) row[i] = this.fetch(c, base + (i >> countShift), 0) & 0xffff;
      if (cursorOn && cursor >= base && cursor < base + chars) text.cursor = { x: cursor - base, y: text.rows.length };
      text.rows.push(row);
      base += c[Crtc.OFFSET]! * 2;
    }
    return text;
  }
}
