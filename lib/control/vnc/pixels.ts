/** Pixels as a VNC client wants them (RFC 6143, 7.4): from RGBA bytes to its pixel format. */

export interface PixelFormat {
  /** 8, 16 or 32. */
  bitsPerPixel: number;
  depth: number;
  bigEndian: boolean;
  max: readonly [number, number, number];
  shift: readonly [number, number, number];
}

/** 32 bits, blue in the low byte: what most clients use anyway. */
export const DEFAULT_FORMAT: Readonly<PixelFormat> = { bitsPerPixel: 32, depth: 24, bigEndian: false, max: [255, 255, 255], shift: [16, 8, 0] };

export const FORMAT_BYTES = 16;

/** PIXEL_FORMAT of the protocol; null if it is not a true colour format with whole bytes. */
export function readFormat(b: Uint8Array): PixelFormat | null {
  const bitsPerPixel = b[0]!;
  const max: [number, number, number] = [(b[4]! << 8) | b[5]!, (b[6]! << 8) | b[7]!, (b[8]! << 8) | b[9]!];
  const shift: [number, number, number] = [b[10]!, b[11]!, b[12]!];
  if (![8, 16, 32].includes(bitsPerPixel) || b[3] === 0 || shift.some((s) => s >= bitsPerPixel) || max.some((m) => m === 0)) return null;
  return { bitsPerPixel, depth: b[1]!, bigEndian: b[2] !== 0, max, shift };
}

export function writeFormat(f: Readonly<PixelFormat>): Uint8Array {
  const m = f.max;
  return Uint8Array.of(f.bitsPerPixel, f.depth, f.bigEndian ? 1 : 0, 1, m[0] >> 8, m[0], m[1] >> 8, m[1], m[2] >> 8, m[2], ...f.shift, 0, 0, 0);
}

/** Turns pixels into the client's, one table per channel. */
export class PixelWriter {
  /** Bytes of a PIXEL, and of a CPIXEL (7.7.5): three for 32 bits of which one byte is unused. */
  readonly bytes: number;
  readonly compactBytes: number;
  private readonly r = new Uint32Array(256);
  private readonly g = new Uint32Array(256);
  private readonly b = new Uint32Array(256);
  private readonly big: boolean;
  /** Bits to shift a PIXEL right by to get a CPIXEL. */
  private readonly compactShift: number;

  constructor(f: Readonly<PixelFormat>) {
    this.bytes = f.bitsPerPixel / 8;
    this.big = f.bigEndian;
    const tables = [this.r, this.g, this.b];
    tables.forEach((t, c) => {
      for (let v = 0; v < 256; v++) t[v] = Math.round((v * f.max[c]!) / 255) * 2 ** f.shift[c]!;
    });
    const all = tables.reduce((m, t) => (m | t[255]!) >>> 0, 0);
    const low = all < 0x100_0000;
    const high = (all & 0xff) === 0;
    const compact = f.bitsPerPixel === 32 && f.depth <= 24 && (low || high);
    this.compactBytes = compact ? 3 : this.bytes;
    this.compactShift = compact && !low ? 8 : 0;
  }

  /** The client's value of an RGBA word (red in the low byte). */
  value(rgba: number): number {
    return (this.r[rgba & 255]! | this.g[(rgba >>> 8) & 255]! | this.b[(rgba >>> 16) & 255]!) >>> 0;
  }

  /** Stores a PIXEL. @returns the offset after it. */
  put(out: Uint8Array, at: number, value: number): number {
    return this.store(out, at, value, this.bytes);
  }

  putCompact(out: Uint8Array, at: number, value: number): number {
    return this.store(out, at, value >>> this.compactShift, this.compactBytes);
  }

  private store(out: Uint8Array, at: number, value: number, n: number): number {
    for (let i = 0; i < n; i++) out[at + (this.big ? n - 1 - i : i)] = value >>> (8 * i);
    return at + n;
  }
}
