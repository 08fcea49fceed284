/** Pictures as files: PNG, and the portable pixmap of netpbm. */
import { PNG } from 'pngjs';
import { VmxError } from '../errors.js';

/** A picture by value: RGBA bytes. */
export interface Picture {
  width: number;
  height: number;
  rgba: Uint8Array;
}

/** Compresses in zlib's own threads, so a big picture does not hold up the event loop. The picture is opaque: no alpha is written. */
export function encodePng(p: Picture): Promise<Buffer> {
  const png = new PNG({ width: p.width, height: p.height, colorType: 2, inputHasAlpha: true, bgColor: { red: 0, green: 0, blue: 0 } });
  png.data = Buffer.from(p.rgba.buffer, p.rgba.byteOffset, p.rgba.length);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    png.on('error', (e: Error) => reject(new VmxError('ERR_INTERNAL', `PNG: ${e.message}`)));
    png.pack().on('data', (c: Buffer) => chunks.push(c)).on('end', () => resolve(Buffer.concat(chunks)));
  });
}

/** @throws VmxError ERR_BAD_PNG */
export function decodePng(file: Uint8Array): Picture {
  try {
    const p = PNG.sync.read(Buffer.from(file.buffer, file.byteOffset, file.length));
    return { width: p.width, height: p.height, rgba: p.data };
  } catch (e) {
    throw new VmxError('ERR_BAD_PNG', `not a PNG file: ${(e as Error).message}`, { cause: e });
  }
}

/** Binary PPM (netpbm's ppm(5), magic P6). */
export function encodePpm(p: Picture): Buffer {
  const pixels = p.width * p.height;
  const head = Buffer.from(`P6\n${p.width} ${p.height}\n255\n`, 'latin1');
  const out = Buffer.allocUnsafe(head.length + pixels * 3);
  head.copy(out);
  for (let i = 0, at = head.length, from = 0; i < pixels; i++, from += 4) {
    out[at++] = p.rgba[from]!;
    out[at++] = p.rgba[from + 1]!;
    out[at++] = p.rgba[from + 2]!;
  }
  return out;
}
