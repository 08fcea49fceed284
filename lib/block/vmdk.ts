/**
 * VMware disks without a parent: hosted sparse extents, stream-optimised ones, flat extents and descriptor files that name several
 * ("Virtual Disk Format" 5.0, VMware). Little-endian.
 */
import { dirname, isAbsolute, join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { VmxError } from '../errors.js';
import type { BlockBackend } from './backend.js';
import { ImageFile } from './file.js';
import { ABSENT, isPowerOfTwo, le64, MappedImage } from './mapped.js';

const SECTOR = 512;
const HEADER = 512;
const enum H { VERSION = 4, FLAGS = 8, CAPACITY = 12, GRAIN = 20, DESCRIPTOR = 28, DESCRIPTOR_SIZE = 36, GTES = 44, GD = 56, COMPRESSION = 77 }
const FLAG_ZERO_GRAINS = 4;
const FLAG_COMPRESSED = 0x1_0000;
const DEFLATE = 1;
/** Of GD: the real header is the footer, two sectors before the end. */
const AT_END = 0xffff_ffff;
const FOOTER_BACK = 1024;
const MAX_DIRECTORY = 0x40_0000;
const MAX_GTES = 4096;
const MAX_DESCRIPTOR = 1024 * 1024;
const GRAIN_MARKER = 12;

/** One file with a directory of tables of grains. */
export class VmdkSparse extends MappedImage {
  private readonly directory: Buffer;
  private readonly gtes: number;
  private readonly zeroGrains: boolean;
  private readonly compressed: boolean;
  private tableAt = -1;
  private readonly table: Buffer;
  private grainAt = -1;
  private grain: Uint8Array = new Uint8Array(0);

  /** @throws UsageError */
  constructor(file: ImageFile) {
    let h = file.bytes(0, HEADER, 'the VMDK header');
    if (h.readUInt32LE(H.GD) === AT_END && h.readUInt32LE(H.GD + 4) === AT_END) {
      if (file.size < FOOTER_BACK + HEADER) throw file.malformed('is truncated');
      h = file.bytes(file.size - FOOTER_BACK, HEADER, 'the VMDK footer');
    }
    if (h.toString('latin1', 0, 4) !== 'KDMV') throw file.malformed('its VMDK header is damaged');
    const version = h.readUInt32LE(H.VERSION);
    if (version < 1 || version > 3) throw file.malformed(`VMDK version ${version} is not supported`);
    const capacity = le64(h, H.CAPACITY) * SECTOR;
    const grain = le64(h, H.GRAIN) * SECTOR;
    const gtes = h.readUInt32LE(H.GTES);
    if (!(capacity > 0)) throw file.malformed('its disk size is absurd');
    if (!isPowerOfTwo(grain) || grain < SECTOR || grain > 16 * 1024 * 1024 || gtes < 1 || gtes > MAX_GTES) throw file.malformed(`grains of ${grain} bytes, ${gtes} to a table, are not valid`);
    const tables = Math.ceil(capacity / (grain * gtes));
    if (tables > MAX_DIRECTORY) throw file.malformed(`its grain directory is absurdly large (${tables} entries)`);
    const flags = h.readUInt32LE(H.FLAGS);
    if (flags & FLAG_COMPRESSED && h.readUInt16LE(H.COMPRESSION) !== DEFLATE) throw file.malformed('its compression method is unknown');
    super(file, capacity, grain);
    this.directory = file.bytes(le64(h, H.GD) * SECTOR || 0, tables * 4, 'the grain directory');
    this.gtes = gtes;
    this.table = Buffer.alloc(gtes * 4);
    this.zeroGrains = (flags & FLAG_ZERO_GRAINS) !== 0;
    this.compressed = (flags & FLAG_COMPRESSED) !== 0;
  }

  protected locate(n: number): number {
    const table = this.directory.readUInt32LE(Math.floor(n / this.gtes) * 4);
    if (table === 0) return ABSENT;
    if (table !== this.tableAt) {
      this.tableAt = -1;
      this.file.read(table * SECTOR, this.table);
      this.tableAt = table;
    }
    const entry = this.table.readUInt32LE((n % this.gtes) * 4);
    return entry === 0 || (entry === 1 && this.zeroGrains) ? ABSENT : entry * SECTOR;
  }

  protected override readBlock(at: number, within: number, dst: Uint8Array): void {
    if (!this.compressed) return super.readBlock(at, within, dst);
    if (at !== this.grainAt) {
      // Sector number (8 bytes), length of the data, data.
      const marker = Buffer.alloc(GRAIN_MARKER);
      this.file.read(at, marker);
      const length = marker.readUInt32LE(8);
      if (length > 2 * this.blockSize + 1024) throw new VmxError('ERR_IO', `${this.file.path}: a compressed grain at ${at} is absurdly long`);
      const data = new Uint8Array(length);
      this.file.read(at + GRAIN_MARKER, data);
      try {
        this.grain = inflateSync(data, { maxOutputLength: this.blockSize });
      } catch (e) {
        throw new VmxError('ERR_IO', `${this.file.path}: the compressed grain at ${at} is damaged`, { cause: e });
      }
      this.grainAt = at;
    }
    // The last grain of a disk may be cut.
    const part = this.grain.subarray(within, within + dst.length);
    dst.set(part);
    dst.fill(0, part.length);
  }
}

class Flat extends MappedImage {
  constructor(file: ImageFile, size: number, private readonly at: number) {
    super(file, size, size);
  }

  protected locate(): number {
    return this.at;
  }
}

interface Part {
  /** Null: zeros. */
  image: MappedImage | null;
  start: number;
  length: number;
}

/** Several extents one behind the other. */
class VmdkParts implements BlockBackend {
  readonly readonly = true;
  readonly size: number;

  constructor(private readonly file: ImageFile, private readonly parts: readonly Part[]) {
    this.size = parts.reduce((n, p) => n + p.length, 0);
  }

  read(offset: number, dst: Uint8Array): void {
    for (const p of this.parts) {
      const from = Math.max(offset, p.start);
      const to = Math.min(offset + dst.length, p.start + p.length);
      if (from >= to) continue;
      const part = dst.subarray(from - offset, to - offset);
      if (p.image === null) part.fill(0);
      else p.image.read(from - p.start, part);
    }
  }

  write(): never {
    throw new VmxError('ERR_IO', `${this.file.path}: this format is read-only`);
  }

  flush(): void {}

  discard(): never {
    return this.write();
  }

  writeZeroes(): never {
    return this.write();
  }

  close(): void {
    for (const p of this.parts) p.image?.close();
    this.file.close();
  }
}

/** Lines such as: RW 4192256 SPARSE "disk-s001.vmdk", RW 8192 FLAT "disk-flat.vmdk" 0, RW 100 ZERO */
const EXTENT = /^\s*(?:RW|RDONLY|NOACCESS)\s+(\d+)\s+(\w+)(?:\s+"([^"]*)"(?:\s+(\d+))?)?\s*$/;
const MAX_EXTENTS = 4096;

/** @param lock as for ImageFile @throws UsageError */
export function openVmdk(file: ImageFile, lock: boolean): BlockBackend {
  const head = Buffer.alloc(4);
  file.readPadded(0, head);
  const magic = head.toString('latin1');
  if (magic === 'COWD') throw file.malformed('VMDK images of ESX (COWD) are not supported');
  if (magic === 'KDMV') {
    const image = new VmdkSparse(file);
    checkParent(file, embedded(file));
    return image;
  }
  if (file.size > MAX_DESCRIPTOR) throw file.malformed('is too large for a VMDK descriptor');
  const text = file.bytes(0, file.size, 'the descriptor').toString('utf8');
  checkParent(file, text);
  const parts: Part[] = [];
  try {
    let start = 0;
    for (const line of text.split('\n')) {
      const m = EXTENT.exec(line);
      if (m === null) continue;
      if (parts.length >= MAX_EXTENTS) throw file.malformed('has too many extents');
      const length = Number(m[1]) * SECTOR;
      parts.push({ image: openExtent(file, m[2]!, m[3], Number(m[4] ?? 0), length, lock), start, length });
      start += length;
    }
    if (!(start > 0 && Number.isSafeInteger(start))) throw file.malformed('its descriptor names no extents');
  } catch (e) {
    for (const p of parts) p.image?.close();
    throw e;
  }
  return new VmdkParts(file, parts);
}

/** The descriptor within a sparse extent. */
function embedded(file: ImageFile): string {
  const h = file.bytes(0, HEADER, 'the VMDK header');
  const at = le64(h, H.DESCRIPTOR) * SECTOR;
  const bytes = le64(h, H.DESCRIPTOR_SIZE) * SECTOR;
  if (!(at > 0) || !(bytes <= MAX_DESCRIPTOR)) return '';
  const b = Buffer.alloc(bytes);
  file.readPadded(at, b);
  return b.toString('utf8');
}

function checkParent(file: ImageFile, descriptor: string): void {
  const parent = /^\s*parentCID\s*=\s*(\w+)/m.exec(descriptor);
  if (parent !== null && parent[1]!.toLowerCase() !== 'ffffffff') throw file.malformed('VMDK images with a parent are not supported');
}

function openExtent(descriptor: ImageFile, kind: string, name: string | undefined, offset: number, length: number, lock: boolean): MappedImage | null {
  if (kind === 'ZERO') return null;
  if (name === undefined) throw descriptor.malformed('an extent of its descriptor has no file');
  if (kind !== 'SPARSE' && kind !== 'FLAT' && kind !== 'VMFS') throw descriptor.malformed(`extents of type ${kind} are not supported`);
  const f = new ImageFile(isAbsolute(name) ? name : join(dirname(descriptor.path), name), false, `${descriptor.option}: ${descriptor.path}: extent`, lock);
  try {
    if (kind === 'SPARSE') {
      const image = new VmdkSparse(f);
      if (image.size < length) throw f.malformed('is smaller than its descriptor says');
      return image;
    }
    if (f.size < offset * SECTOR + length) throw f.malformed('is smaller than its descriptor says');
    return new Flat(f, length, offset * SECTOR);
  } catch (e) {
    f.close();
    throw e;
  }
}
