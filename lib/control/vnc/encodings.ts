/** Encodings of rectangles (RFC 6143, 7.7): raw, hextile, and the tiles of ZRLE. */
import type { PixelWriter } from './pixels.js';

export const enum Encoding {
  RAW = 0,
  HEXTILE = 5,
  ZRLE = 16,
  DESKTOP_SIZE = -223,
  POINTER_MOTION_CHANGE = -257,
  EXTENDED_KEY_EVENT = -258,
}

/** A picture by rows of RGBA words. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly words: Uint32Array;
}

export interface Area {
  x: number;
  y: number;
  width: number;
  height: number;
}

export function encodeRaw(p: Pixels, a: Area, w: PixelWriter): Uint8Array {
  const out = new Uint8Array(a.width * a.height * w.bytes);
  let at = 0;
  for (let y = a.y; y < a.y + a.height; y++) {
    for (let i = y * p.width + a.x, end = i + a.width; i < end; i++) at = w.put(out, at, w.value(p.words[i]!));
  }
  return out;
}

/** Colours of a tile in the order they come, at most `limit`; `indexes` gets each pixel's. @returns how many, or limit + 1. */
function palette(p: Pixels, a: Area, w: PixelWriter, colours: Uint32Array, indexes: Uint8Array, limit: number): number {
  let n = 0;
  let k = 0;
  let last = 0;
  for (let y = a.y; y < a.y + a.height; y++) {
    for (let i = y * p.width + a.x, end = i + a.width; i < end; i++) {
      const v = w.value(p.words[i]!);
      if (n === 0 || colours[last] !== v) {
        last = 0;
        while (last < n && colours[last] !== v) last++;
        if (last === n) {
          if (n === limit) return limit + 1;
          colours[n++] = v;
        }
      }
      indexes[k++] = last;
    }
  }
  return n;
}

const HEXTILE = 16;
const enum Hex { RAW = 1, BACKGROUND = 2, FOREGROUND = 4, SUBRECTS = 8 }

/** Hextile (7.7.4): plain and two-coloured tiles by their runs, others raw. */
export function encodeHextile(p: Pixels, area: Area, w: PixelWriter): Uint8Array {
  const tiles = Math.ceil(area.width / HEXTILE) * Math.ceil(area.height / HEXTILE);
  const out = new Uint8Array(tiles * (1 + HEXTILE * HEXTILE * w.bytes));
  const colours = new Uint32Array(2);
  const indexes = new Uint8Array(HEXTILE * HEXTILE);
  let at = 0;
  for (let y = area.y; y < area.y + area.height; y += HEXTILE) {
    for (let x = area.x; x < area.x + area.width; x += HEXTILE) {
      const a = { x, y, width: Math.min(HEXTILE, area.x + area.width - x), height: Math.min(HEXTILE, area.y + area.height - y) };
      const n = palette(p, a, w, colours, indexes, 2);
      const rawBytes = a.width * a.height * w.bytes;
      if (n === 1) {
        out[at++] = Hex.BACKGROUND;
        at = w.put(out, at, colours[0]!);
        continue;
      }
      if (n === 2) {
        const end = hextileRuns(out, at, a, colours, indexes, w, at + rawBytes);
        if (end > 0) {
          at = end;
          continue;
        }
      }
      out[at++] = Hex.RAW;
      out.set(encodeRaw(p, a, w), at);
      at += rawBytes;
    }
  }
  return out.subarray(0, at);
}

/** @returns the offset after the tile, or 0 if it would be longer than raw. */
function hextileRuns(out: Uint8Array, from: number, a: Area, colours: Uint32Array, indexes: Uint8Array, w: PixelWriter, limit: number): number {
  let at = from;
  out[at++] = Hex.BACKGROUND | Hex.FOREGROUND | Hex.SUBRECTS;
  at = w.put(out, at, colours[0]!);
  at = w.put(out, at, colours[1]!);
  const count = at++;
  let n = 0;
  for (let y = 0; y < a.height; y++) {
    for (let x = 0; x < a.width; x++) {
      if (indexes[y * a.width + x] === 0) continue;
      const first = x;
      while (x + 1 < a.width && indexes[y * a.width + x + 1] === 1) x++;
      if (at + 2 > limit || n === 255) return 0;
      out[at++] = (first << 4) | y;
      out[at++] = (x - first) << 4;
      n++;
    }
  }
  out[count] = n;
  return at;
}

const ZRLE_TILE = 64;
const MAX_PALETTE = 16;

/** What ZRLE (7.7.6) compresses: tiles of one colour, of a packed palette, or raw. */
export function zrleTiles(p: Pixels, area: Area, w: PixelWriter): Uint8Array {
  const out = new Uint8Array(area.width * area.height * w.compactBytes + Math.ceil(area.width / ZRLE_TILE) * Math.ceil(area.height / ZRLE_TILE) * (1 + MAX_PALETTE * w.compactBytes));
  const colours = new Uint32Array(MAX_PALETTE);
  const indexes = new Uint8Array(ZRLE_TILE * ZRLE_TILE);
  let at = 0;
  for (let y = area.y; y < area.y + area.height; y += ZRLE_TILE) {
    for (let x = area.x; x < area.x + area.width; x += ZRLE_TILE) {
      const a = { x, y, width: Math.min(ZRLE_TILE, area.x + area.width - x), height: Math.min(ZRLE_TILE, area.y + area.height - y) };
      const n = palette(p, a, w, colours, indexes, MAX_PALETTE);
      if (n > MAX_PALETTE) {
        out[at++] = 0;
        for (let row = a.y; row < a.y + a.height; row++) {
          for (let i = row * p.width + a.x, end = i + a.width; i < end; i++) at = w.putCompact(out, at, w.value(p.words[i]!));
        }
        continue;
      }
      out[at++] = n;
      for (let c = 0; c < n; c++) at = w.putCompact(out, at, colours[c]!);
      if (n > 1) at = pack(out, at, a, indexes, n === 2 ? 1 : n <= 4 ? 2 : 4);
    }
  }
  return out.subarray(0, at);
}

/** Palette indexes, most significant bits first, each row from a byte of its own on. */
function pack(out: Uint8Array, from: number, a: Area, indexes: Uint8Array, bits: number): number {
  let at = from;
  for (let y = 0; y < a.height; y++) {
    let byte = 0;
    let left = 8;
    for (let x = 0; x < a.width; x++) {
      left -= bits;
      byte |= indexes[y * a.width + x]! << left;
      if (left === 0) {
        out[at++] = byte;
        byte = 0;
        left = 8;
      }
    }
    if (left < 8) out[at++] = byte;
  }
  return at;
}
