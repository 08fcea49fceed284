/** Reads 64-bit little-endian ELF executables (System V ABI, "Object Files"): what is loaded where, the entry point, symbols. */
import { UsageError } from '../errors.js';

export interface Elf64 {
  /** Physical address. */
  entry: number;
  /** Loadable segments: physical and virtual address, contents, size in memory (the rest is zero). */
  segments: { pa: number; va: bigint; bytes: Uint8Array; memBytes: number }[];
  /** Value of a symbol. */
  symbol(name: string): number | null;
}

const PT_LOAD = 1;
const SHT_SYMTAB = 2;
const SYM_BYTES = 24;
/** Addresses beyond this are no memory. */
const MAX_ADDRESS = 2n ** 52n;

/** @param what names the file in messages. @throws UsageError if it is damaged or of another kind. */
export function readElf64(image: Buffer, what: string): Elf64 {
  const bad = (why: string): never => {
    throw new UsageError(`${what}: ${why}`);
  };
  if (image.length < 64 || image.readUInt32BE(0) !== 0x7f45_4c46) return bad('not an ELF file');
  if (image[4] !== 2 || image[5] !== 1) return bad('not a 64-bit little-endian ELF file');
  const num = (at: number): number => {
    if (at < 0 || at + 8 > image.length) return bad('the ELF file ends early');
    const v = image.readBigUInt64LE(at);
    return v > MAX_ADDRESS ? Infinity : Number(v);
  };
  const table = (offset: number, size: number, count: number): void => {
    if (count > 0 && !(offset + size * count <= image.length)) bad('the ELF file ends early');
  };
  const phoff = num(32);
  const phsize = image.readUInt16LE(54);
  const phcount = image.readUInt16LE(56);
  if (phcount > 0 && phsize < 56) return bad('damaged ELF program headers');
  table(phoff, phsize, phcount);
  const segments: Elf64['segments'] = [];
  for (let i = 0; i < phcount; i++) {
    const at = phoff + i * phsize;
    if (image.readUInt32LE(at) !== PT_LOAD) continue;
    const offset = num(at + 8);
    const fileBytes = num(at + 32);
    if (!(offset + fileBytes <= image.length)) return bad('a segment lies outside the file');
    const memBytes = num(at + 40);
    if (memBytes === 0) continue;
    const pa = num(at + 24);
    if (!(pa + memBytes < 2 ** 52)) return bad('a segment has no sensible address');
    segments.push({ pa, va: image.readBigUInt64LE(at + 16), bytes: image.subarray(offset, offset + fileBytes), memBytes });
  }
  if (segments.length === 0) return bad('the ELF file has nothing to load');
  // A kernel may be linked to run elsewhere than it is loaded.
  const entry = image.readBigUInt64LE(24);
  const home = segments.find((s) => entry >= s.va && entry < s.va + BigInt(s.memBytes));
  if (home === undefined) return bad('the entry point lies in no segment');
  return { entry: home.pa + Number(entry - home.va), segments, symbol: (name) => findSymbol(image, num, name) };
}

function findSymbol(image: Buffer, num: (at: number) => number, name: string): number | null {
  const shoff = num(40);
  const shsize = image.readUInt16LE(58);
  const shcount = image.readUInt16LE(60);
  if (shsize < 64 || !(shoff + shsize * shcount <= image.length)) return null;
  const header = (i: number): number => shoff + i * shsize;
  for (let i = 0; i < shcount; i++) {
    const at = header(i);
    const link = image.readUInt32LE(at + 40);
    if (image.readUInt32LE(at + 4) !== SHT_SYMTAB || link >= shcount) continue;
    const first = num(at + 24);
    const bytes = num(at + 32);
    const names = num(header(link) + 24);
    if (!(first + bytes <= image.length)) return null;
    for (let s = first; s + SYM_BYTES <= first + bytes; s += SYM_BYTES) {
      const from = names + image.readUInt32LE(s);
      if (image.toString('latin1', from, from + name.length + 1) === `${name}\0`) return num(s + 8);
    }
  }
  return null;
}
