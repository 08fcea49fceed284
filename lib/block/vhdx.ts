/** VHDX images without a parent ("VHDX Format Specification" 2.0, [MS-VHDX]). Little-endian. */
import type { ImageFile } from './file.js';
import { ABSENT, isPowerOfTwo, le64, MappedImage } from './mapped.js';

const KIB64 = 65536;
const MIB = 1024 * 1024;
const HEADERS = [KIB64, 2 * KIB64];
const HEADER_BYTES = 4096;
const REGION_TABLES = [3 * KIB64, 4 * KIB64];
const METADATA_TABLE = KIB64;
const MAX_REGIONS = 2047;
const MAX_ITEMS = 2047;
const MAX_BAT_BYTES = 256 * MIB;
const BAT = '2DC27766-F623-4200-9D64-115E9BFD4A08';
const METADATA = '8B7CA206-4790-4B9A-B8FE-575F050F886E';
const FILE_PARAMETERS = 'CAA16737-FA36-4D43-B3B6-33F0AA44E76B';
const DISK_SIZE = '2FA54224-CD1B-4876-B211-5DBED83BF4B8';
const SECTOR_SIZE = '8141BF1D-A96F-4709-BA47-F233A8FAAB5F';
const HAS_PARENT = 2;
/** Of a block's state: its data are in the file. */
const FULLY_PRESENT = 6;
const PARTIALLY_PRESENT = 7;

/** CRC-32C (Castagnoli), bit by bit over a table. */
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f6_3b78 : c >>> 1;
  return c >>> 0;
});

/** Checksum of a structure whose field at offset 4 counts as zero. */
function checksum(b: Buffer): number {
  let c = 0xffff_ffff;
  b.forEach((x, i) => (c = CRC[(c ^ (i >= 4 && i < 8 ? 0 : x)) & 0xff]! ^ (c >>> 8)));
  return ~c >>> 0;
}

function guid(b: Buffer, at: number): string {
  const hex = (from: number, to: number): string => b.toString('hex', at + from, at + to);
  const swapped = (from: number, n: number): string => Buffer.from(b.subarray(at + from, at + from + n)).reverse().toString('hex');
  return `${swapped(0, 4)}-${swapped(4, 2)}-${swapped(6, 2)}-${hex(8, 10)}-${hex(10, 16)}`.toUpperCase();
}

/** A structure with its signature and checksum in order, or null. */
function structure(file: ImageFile, at: number, bytes: number, signature: string): Buffer | null {
  const b = Buffer.alloc(bytes);
  file.readPadded(at, b);
  return b.toString('latin1', 0, 4) === signature && b.readUInt32LE(4) === checksum(b) ? b : null;
}

function regions(file: ImageFile): Map<string, number> {
  const t = structure(file, REGION_TABLES[0]!, KIB64, 'regi') ?? structure(file, REGION_TABLES[1]!, KIB64, 'regi');
  if (t === null) throw file.malformed('both of its VHDX region tables are damaged');
  const out = new Map<string, number>();
  const count = Math.min(t.readUInt32LE(8), MAX_REGIONS);
  for (let i = 0; i < count; i++) {
    const at = 16 + i * 32;
    const id = guid(t, at);
    if (id !== BAT && id !== METADATA && t.readUInt32LE(at + 28) & 1) throw file.malformed(`needs the unknown VHDX region ${id}`);
    out.set(id, le64(t, at + 16));
  }
  return out;
}

interface Geometry {
  size: number;
  blockSize: number;
  sectorSize: number;
}

function metadata(file: ImageFile, base: number): Geometry {
  const t = file.bytes(base, METADATA_TABLE, 'the metadata');
  if (t.toString('latin1', 0, 8) !== 'metadata') throw file.malformed('its VHDX metadata are damaged');
  const items = new Map<string, number>();
  const count = Math.min(t.readUInt16LE(10), MAX_ITEMS);
  for (let i = 0; i < count; i++) items.set(guid(t, 32 + i * 32), t.readUInt32LE(32 + i * 32 + 16));
  const item = (id: string, bytes: number): Buffer => {
    const at = items.get(id);
    if (at === undefined) throw file.malformed('some of its VHDX metadata are missing');
    return file.bytes(base + at, bytes, 'the metadata');
  };
  const parameters = item(FILE_PARAMETERS, 8);
  if (parameters.readUInt32LE(4) & HAS_PARENT) throw file.malformed('VHDX images with a parent are not supported');
  return { size: le64(item(DISK_SIZE, 8), 0), blockSize: parameters.readUInt32LE(0), sectorSize: item(SECTOR_SIZE, 4).readUInt32LE(0) };
}

export class VhdxImage extends MappedImage {
  private readonly bat: Buffer;
  /** Blocks between two entries of the table that are about bitmaps. */
  private readonly chunk: number;

  /** @throws UsageError */
  constructor(file: ImageFile) {
    const headers = HEADERS.map((at) => structure(file, at, HEADER_BYTES, 'head')).filter((h) => h !== null);
    const header = headers.reduce<Buffer | null>((a, b) => (a === null || le64(b, 8) > le64(a, 8) ? b : a), null);
    if (header === null) throw file.malformed('both of its VHDX headers are damaged');
    if (header.subarray(48, 64).some((x) => x !== 0)) throw file.malformed('was not closed properly: its log has to be replayed by the program that writes it');
    const where = regions(file);
    const batAt = where.get(BAT);
    const metadataAt = where.get(METADATA);
    if (batAt === undefined || metadataAt === undefined) throw file.malformed('some of its VHDX regions are missing');
    const { size, blockSize, sectorSize } = metadata(file, metadataAt);
    if (!(size > 0) || size % 512) throw file.malformed('its disk size is absurd');
    if (!isPowerOfTwo(blockSize) || blockSize < MIB || blockSize > 256 * MIB) throw file.malformed(`blocks of ${blockSize} bytes are not valid`);
    if (sectorSize !== 512 && sectorSize !== 4096) throw file.malformed(`sectors of ${sectorSize} bytes are not valid`);
    super(file, size, blockSize);
    this.chunk = (2 ** 23 * sectorSize) / blockSize;
    const blocks = Math.ceil(size / blockSize);
    const bytes = (blocks + Math.floor((blocks - 1) / this.chunk)) * 8;
    if (bytes > MAX_BAT_BYTES) throw file.malformed(`its block table is absurdly large (${bytes} bytes)`);
    this.bat = file.bytes(batAt, bytes, 'the block table');
  }

  protected locate(n: number): number {
    const at = (n + Math.floor(n / this.chunk)) * 8;
    const state = this.bat[at]! & 7;
    if (state === PARTIALLY_PRESENT) throw this.file.malformed('has partially present blocks without a parent');
    // Bits 20 to 63 are the offset in units of 1 MiB.
    return state === FULLY_PRESENT ? (this.bat.readUInt32LE(at + 4) * 4096 + (this.bat.readUInt32LE(at) >>> 20)) * MIB : ABSENT;
  }
}
