/**
 * A picture as RGBA pixels, and what of it has changed since somebody last asked. Whoever draws puts in whole rows; a row
 * is compared with what is there, so drawing the same again changes nothing.
 */

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

export class Surface {
  width = 0;
  height = 0;
  /** Grows when the size changes. */
  generation = 0;
  /** Row by row; red is the low byte, alpha (always 255) the high one. */
  pixels = new Uint32Array(0);
  /** Changed columns [from, to) of each row. */
  private from = new Uint16Array(0);
  private to = new Uint16Array(0);

  /** Makes the picture black and all of it changed, if the size is another one. */
  resize(width: number, height: number): void {
    if (width === this.width && height === this.height) return;
    this.width = width;
    this.height = height;
    this.generation++;
    this.pixels = new Uint32Array(width * height).fill(BLACK);
    this.from = new Uint16Array(height);
    this.to = new Uint16Array(height).fill(width);
  }

  /** Puts `width` pixels of `row`, from index `at` on, into row y. */
  putRow(y: number, row: Uint32Array, at: number): void {
    const { width, pixels } = this;
    const base = y * width;
    let first = 0;
    while (first < width && pixels[base + first] === row[at + first]) first++;
    if (first === width) return;
    let last = width - 1;
    while (pixels[base + last] === row[at + last]) last--;
    for (let x = first; x <= last; x++) pixels[base + x] = row[at + x]!;
    if (this.to[y] === 0) {
      this.from[y] = first;
      this.to[y] = last + 1;
    } else {
      this.from[y] = Math.min(this.from[y]!, first);
      this.to[y] = Math.max(this.to[y]!, last + 1);
    }
  }

  /** Paints everything black. */
  clear(): void {
    const row = new Uint32Array(this.width).fill(BLACK);
    for (let y = 0; y < this.height; y++) this.putRow(y, row, 0);
  }

  /** The regions that have changed since the last call, top to bottom. */
  takeChanges(): Rect[] {
    const rects: Rect[] = [];
    let open: Rect | null = null;
    for (let y = 0; y < this.height; y++) {
      const to = this.to[y]!;
      if (to === 0) {
        open = null;
        continue;
      }
      const from = this.from[y]!;
      this.from[y] = this.to[y] = 0;
      if (open === null) {
        rects.push((open = { x: from, y, width: to - from, height: 1 }));
        continue;
      }
      const right = Math.max(open.x + open.width, to);
      open.x = Math.min(open.x, from);
      open.width = right - open.x;
      open.height++;
    }
    return rects;
  }

  /** The pixels as bytes R, G, B, A; a view. */
  bytes(): Uint8Array {
    return new Uint8Array(this.pixels.buffer, 0, this.pixels.byteLength);
  }
}

/** Opaque black. */
export const BLACK = 0xff00_0000;

export function rgb(r: number, g: number, b: number): number {
  return (0xff00_0000 | (b << 16) | (g << 8) | r) >>> 0;
}
