// The .text section of an ELF64 file, for benches of the translator.
import { readFileSync } from 'node:fs';

/** @returns at most `limit` bytes of it. */
export function textSection(file, limit = 2 << 20) {
  const elf = readFileSync(file);
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const headers = Number(view.getBigUint64(40, true));
  const names = Number(view.getBigUint64(headers + view.getUint16(62, true) * 64 + 24, true));
  for (let k = 0; k < view.getUint16(60, true); k++) {
    const h = headers + k * 64;
    const name = names + view.getUint32(h, true);
    if (elf.toString('latin1', name, name + 6) !== '.text\0') continue;
    const at = Number(view.getBigUint64(h + 24, true));
    return elf.subarray(at, at + Math.min(Number(view.getBigUint64(h + 32, true)), limit));
  }
  throw new Error(`${file}: no .text`);
}
