/** Reads what QEMU's `screendump` writes. */
import { readFileSync } from 'node:fs';
import type { Picture } from '#lib/display/png.js';

/** @throws if the file is not there or not complete. */
export function readPpm(file: string): Picture {
  const d = readFileSync(file);
  const m = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(d.subarray(0, 40).toString('latin1'));
  if (m === null) throw new Error(`${file} is no picture`);
  const [width, height] = [Number(m[1]), Number(m[2])];
  if (d.length < m[0].length + width * height * 3) throw new Error(`${file} ends early`);
  const rgba = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) rgba.set(d.subarray(m[0].length + i * 3, m[0].length + i * 3 + 3), i * 4);
  return { width, height, rgba };
}
