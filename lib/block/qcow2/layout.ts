/** On-disk structures of qcow2, versions 2 and 3 ("The qcow2 image format", docs/interop/qcow2 of the QEMU project). Big-endian. */
import type { ImageFile } from '../file.js';

export const QCOW_MAGIC = 0x5146_49fb;
export const enum Header {
  MAGIC = 0, VERSION = 4, BACKING_OFFSET = 8, BACKING_SIZE = 16, CLUSTER_BITS = 20, SIZE = 24, CRYPT = 32, L1_SIZE = 36, L1_OFFSET = 40,
  REFCOUNT_OFFSET = 48, REFCOUNT_CLUSTERS = 56, SNAPSHOTS = 60, SNAPSHOTS_OFFSET = 64,
  INCOMPATIBLE = 72, COMPATIBLE = 80, AUTOCLEAR = 88, REFCOUNT_ORDER = 96, LENGTH = 100, COMPRESSION = 104,
  V2_BYTES = 72, V3_BYTES = 104,
}
export const enum Incompatible { DIRTY = 1, CORRUPT = 2, EXTERNAL_DATA = 4, COMPRESSION_TYPE = 8, EXTENDED_L2 = 16, KNOWN = 31 }
export const enum Extension { END = 0, BACKING_FORMAT = 0xe279_2aca, FEATURE_NAMES = 0x6803_f857 }
export const enum Compression { ZLIB = 0, ZSTD = 1 }

/** Of the high word of L1 and L2 entries. */
export const enum EntryHi { COPIED = 0x8000_0000, COMPRESSED = 0x4000_0000, OFFSET = 0x00ff_ffff }
/** Of the low word of an L2 entry: the cluster reads as zeros. */
export const ENTRY_ZERO = 1;
export const OFFSET_LO_MASK = 0xffff_fe00;

const MIN_CLUSTER_BITS = 9;
const MAX_CLUSTER_BITS = 21;
/** As QEMU allows them. */
const MAX_L1_BYTES = 32 * 1024 * 1024;
const MAX_REFCOUNT_TABLE_BYTES = 8 * 1024 * 1024;
const MAX_SNAPSHOTS = 65536;
const MAX_BACKING_NAME = 1023;
const MAX_REFCOUNT_ORDER = 6;
const DEFAULT_REFCOUNT_ORDER = 4;

export interface QcowHeader {
  version: 2 | 3;
  clusterBits: number;
  clusterSize: number;
  /** Bytes of the disk. */
  size: number;
  l1Size: number;
  l1Offset: number;
  refcountOffset: number;
  refcountClusters: number;
  snapshots: number;
  snapshotsOffset: number;
  incompatible: number;
  compatible: number;
  /** Low word of the autoclear features. */
  autoclear: number;
  refcountOrder: number;
  headerLength: number;
  compression: Compression;
  backingFile: string | null;
  backingFormat: string | null;
}

/** 64 bits as a number. NaN at and above 2^53, which nothing in a valid image reaches. */
export function read64(b: Uint8Array, at: number): number {
  const hi = ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
  const lo = ((b[at + 4]! << 24) | (b[at + 5]! << 16) | (b[at + 6]! << 8) | b[at + 7]!) >>> 0;
  return hi < 0x20_0000 ? hi * 0x1_0000_0000 + lo : NaN;
}

export function write64(b: Uint8Array, at: number, v: number): void {
  const hi = Math.floor(v / 0x1_0000_0000);
  const lo = v >>> 0;
  for (let i = 0; i < 4; i++) {
    b[at + i] = hi >>> (24 - 8 * i);
    b[at + 4 + i] = lo >>> (24 - 8 * i);
  }
}

/** Reads and checks the header. @throws UsageError with one line that says what is wrong. */
export function readHeader(f: ImageFile): QcowHeader {
  const b = f.bytes(0, Header.V2_BYTES, 'the qcow2 header');
  if (b.readUInt32BE(Header.MAGIC) !== QCOW_MAGIC) throw f.malformed('is not a qcow2 image');
  const version = b.readUInt32BE(Header.VERSION);
  if (version !== 2 && version !== 3) throw f.malformed(`qcow2 version ${version} is not supported (2 and 3 are)`);
  const clusterBits = b.readUInt32BE(Header.CLUSTER_BITS);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) throw f.malformed(`cluster size 2^${clusterBits} is not valid (2^${MIN_CLUSTER_BITS} to 2^${MAX_CLUSTER_BITS} are)`);
  if (b.readUInt32BE(Header.CRYPT) !== 0) throw f.malformed('encrypted images are not supported');
  const h: QcowHeader = {
    version,
    clusterBits,
    clusterSize: 2 ** clusterBits,
    size: read64(b, Header.SIZE),
    l1Size: b.readUInt32BE(Header.L1_SIZE),
    l1Offset: read64(b, Header.L1_OFFSET),
    refcountOffset: read64(b, Header.REFCOUNT_OFFSET),
    refcountClusters: b.readUInt32BE(Header.REFCOUNT_CLUSTERS),
    snapshots: b.readUInt32BE(Header.SNAPSHOTS),
    snapshotsOffset: read64(b, Header.SNAPSHOTS_OFFSET),
    incompatible: 0,
    compatible: 0,
    autoclear: 0,
    refcountOrder: DEFAULT_REFCOUNT_ORDER,
    headerLength: Header.V2_BYTES,
    compression: Compression.ZLIB,
    backingFile: null,
    backingFormat: null,
  };
  if (version === 3) readVersion3(f, h);
  checkGeometry(f, h);
  readBacking(f, h, read64(b, Header.BACKING_OFFSET), b.readUInt32BE(Header.BACKING_SIZE));
  return h;
}

function readVersion3(f: ImageFile, h: QcowHeader): void {
  const b = f.bytes(0, Header.V3_BYTES, 'the qcow2 header');
  h.headerLength = b.readUInt32BE(Header.LENGTH);
  if (h.headerLength < Header.V3_BYTES || h.headerLength > h.clusterSize || h.headerLength % 8) throw f.malformed(`header length ${h.headerLength} is not valid`);
  if (b.readUInt32BE(Header.INCOMPATIBLE) !== 0 || b.readUInt32BE(Header.INCOMPATIBLE + 4) > Incompatible.KNOWN) throw f.malformed('needs qcow2 features that are not known here');
  h.incompatible = b.readUInt32BE(Header.INCOMPATIBLE + 4);
  h.compatible = b.readUInt32BE(Header.COMPATIBLE + 4);
  h.autoclear = b.readUInt32BE(Header.AUTOCLEAR + 4);
  h.refcountOrder = b.readUInt32BE(Header.REFCOUNT_ORDER);
  if (h.refcountOrder > MAX_REFCOUNT_ORDER) throw f.malformed(`refcounts of 2^${h.refcountOrder} bits are not valid`);
  if (h.incompatible & Incompatible.EXTENDED_L2) throw f.malformed('extended L2 entries (subclusters) are not supported');
  if (h.incompatible & Incompatible.EXTERNAL_DATA) throw f.malformed('external data files are not supported');
  if (h.headerLength > Header.COMPRESSION) {
    const type = f.bytes(Header.COMPRESSION, 1, 'the qcow2 header')[0]!;
    if (type > Compression.ZSTD) throw f.malformed(`compression type ${type} is not supported (zlib and zstd are)`);
    h.compression = type;
  }
}

function checkGeometry(f: ImageFile, h: QcowHeader): void {
  if (!(h.size >= 0)) throw f.malformed('its disk size is absurd');
  const fileSize = f.size;
  const table = (what: string, at: number, bytes: number, max: number): void => {
    if (bytes > max) throw f.malformed(`its ${what} is absurdly large (${bytes} bytes)`);
    if (!(at >= 0) || at % h.clusterSize) throw f.malformed(`its ${what} is not at a cluster boundary`);
    if (at + bytes > fileSize) throw f.malformed(`its ${what} lies beyond the end of the file`);
  };
  table('L1 table', h.l1Offset, h.l1Size * 8, MAX_L1_BYTES);
  table('refcount table', h.refcountOffset, h.refcountClusters * h.clusterSize, MAX_REFCOUNT_TABLE_BYTES);
  if (h.refcountClusters === 0 || h.refcountOffset === 0) throw f.malformed('has no refcount table');
  if (h.snapshots > MAX_SNAPSHOTS) throw f.malformed(`has an absurd number of snapshots (${h.snapshots})`);
  if (h.snapshots > 0) table('snapshot table', h.snapshotsOffset, 40, h.clusterSize);
  const perL1 = h.clusterSize * (h.clusterSize / 8);
  if (h.l1Size < Math.ceil(h.size / perL1)) throw f.malformed(`its L1 table is too small for a disk of ${h.size} bytes`);
}

/** Header extensions and the backing file's name, both within the first cluster. */
function readBacking(f: ImageFile, h: QcowHeader, nameOffset: number, nameSize: number): void {
  const first = Buffer.alloc(h.clusterSize);
  f.readPadded(0, first);
  const end = nameOffset > 0 && nameOffset < h.clusterSize ? nameOffset : h.clusterSize;
  for (let at = h.headerLength; at + 8 <= end; ) {
    const type = first.readUInt32BE(at);
    const length = first.readUInt32BE(at + 4);
    if (type === Extension.END) break;
    if (length > end - at - 8) throw f.malformed('a header extension is longer than the header');
    if (type === Extension.BACKING_FORMAT) h.backingFormat = first.toString('utf8', at + 8, at + 8 + length);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  if (nameOffset === 0) return;
  if (!(nameOffset >= h.headerLength) || nameSize === 0 || nameSize > MAX_BACKING_NAME || nameOffset + nameSize > h.clusterSize) throw f.malformed('the name of its backing file is not valid');
  h.backingFile = first.toString('utf8', nameOffset, nameOffset + nameSize);
}
