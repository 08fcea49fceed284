/** Internal snapshots: the table, and taking, applying and deleting one. */
import { UsageError } from '../../errors.js';
import type { ImageFile } from '../file.js';
import type { Qcow2Image } from './image.js';
import { EntryHi, Header, OFFSET_LO_MASK, type QcowHeader, read64, write64 } from './layout.js';

export interface InternalSnapshot {
  id: string;
  name: string;
  l1Offset: number;
  l1Size: number;
  /** Milliseconds since the epoch. */
  date: number;
  /** Guest time, ns. */
  vmClock: number;
  /** Bytes of machine state. */
  vmState: number;
  /** Bytes of the disk then. */
  diskSize: number;
  /** Its record as it stands in the table. */
  record: Buffer;
}

const FIXED = 40;
const EXTRA = 16;
const MAX_L1 = 4 * 1024 * 1024;

/** @returns the snapshots and the length of the table. @throws UsageError */
export function readSnapshots(file: ImageFile, h: QcowHeader): { list: InternalSnapshot[]; bytes: number } {
  const list: InternalSnapshot[] = [];
  let at = h.snapshotsOffset;
  for (let i = 0; i < h.snapshots; i++) {
    const f = file.bytes(at, FIXED, 'the snapshot table');
    const idSize = f.readUInt16BE(12);
    const nameSize = f.readUInt16BE(14);
    const extra = f.readUInt32BE(36);
    if (extra > 1024) throw file.malformed('its snapshot table is damaged');
    const record = file.bytes(at, FIXED + extra + idSize + nameSize, 'the snapshot table');
    const l1Size = f.readUInt32BE(8);
    const l1Offset = read64(f, 0);
    if (!(l1Offset >= 0) || l1Offset % h.clusterSize || l1Size > MAX_L1 || l1Offset + l1Size * 8 > file.size) throw file.malformed('a snapshot in it is damaged');
    const text = FIXED + extra;
    list.push({
      id: record.toString('utf8', text, text + idSize),
      name: record.toString('utf8', text + idSize, text + idSize + nameSize),
      l1Offset,
      l1Size,
      date: f.readUInt32BE(16) * 1000 + Math.floor(f.readUInt32BE(20) / 1e6),
      vmClock: read64(f, 24) || 0,
      vmState: extra >= 8 ? read64(record, FIXED) || 0 : f.readUInt32BE(32),
      diskSize: extra >= 16 ? read64(record, FIXED + 8) || 0 : h.size,
      record,
    });
    at += Math.ceil(record.length / 8) * 8;
  }
  return { list, bytes: at - h.snapshotsOffset };
}

/** Calls fn with every cluster that an L1 table's L2 tables and data lie in, once per reference. */
function eachCluster(image: Qcow2Image, l1: Buffer, fn: (cluster: number) => void): void {
  const cs = image.clusterSize;
  const x = 62 - (image.header.clusterBits - 8) - 32;
  const l2 = Buffer.alloc(cs);
  for (let i = 0; i < l1.length; i += 8) {
    const at = offset(l1, i);
    if (at === 0) continue;
    image.file.readPadded(at, l2);
    for (let k = 0; k < cs; k += 8) {
      const hi = l2.readUInt32BE(k);
      if (hi & EntryHi.COMPRESSED) {
        const host = (hi & ((1 << x) - 1)) * 0x1_0000_0000 + l2.readUInt32BE(k + 4);
        const bytes = (((hi & 0x3fff_ffff) >>> x) + 1) * 512 - (host % 512);
        for (let c = Math.floor(host / cs); c <= Math.floor((host + bytes - 1) / cs); c++) fn(c);
      } else if (offset(l2, k) !== 0) {
        fn(offset(l2, k) / cs);
      }
    }
    fn(at / cs);
  }
}

const offset = (b: Buffer, i: number): number => (b.readUInt32BE(i) & EntryHi.OFFSET) * 0x1_0000_0000 + ((b.readUInt32BE(i + 4) & OFFSET_LO_MASK) >>> 0);

/** The active L1 table as it would stand in the file. */
function activeL1(image: Qcow2Image): Buffer {
  const b = Buffer.alloc(image.l1Hi.length * 8);
  for (let i = 0; i < image.l1Hi.length; i++) {
    b.writeUInt32BE(image.l1Hi[i]!, i * 8);
    b.writeUInt32BE(image.l1Lo[i]!, i * 8 + 4);
  }
  return b;
}

/** Writes a new table of snapshots and makes the header point to it; the old one is freed. */
function writeTable(image: Qcow2Image, records: readonly Buffer[]): void {
  const { file, refcounts, header: h } = image;
  const old = h.snapshots === 0 ? 0 : readSnapshots(file, h).bytes;
  const cs = image.clusterSize;
  const bytes = records.reduce((n, r) => n + Math.ceil(r.length / 8) * 8, 0);
  let at = 0;
  if (bytes > 0) {
    at = refcounts.allocate(Math.ceil(bytes / cs));
    const table = Buffer.alloc(Math.ceil(bytes / cs) * cs);
    let to = 0;
    for (const r of records) {
      r.copy(table, to);
      to += Math.ceil(r.length / 8) * 8;
    }
    file.write(at, table);
  }
  image.quiesce();
  const fields = Buffer.alloc(12);
  fields.writeUInt32BE(records.length, 0);
  write64(fields, 4, at);
  file.write(Header.SNAPSHOTS, fields);
  file.sync();
  for (let c = 0; c < Math.ceil(old / cs); c++) refcounts.decrement(h.snapshotsOffset / cs + c);
  h.snapshots = records.length;
  h.snapshotsOffset = at;
}

/** Marks in the active tables whether clusters are used by them alone: after refcounts of shared ones have changed. */
function remark(image: Qcow2Image): void {
  image.quiesce();
  const { file, refcounts } = image;
  const cs = image.clusterSize;
  const l2 = Buffer.alloc(cs);
  const mark = (b: Buffer, i: number): boolean => {
    const at = offset(b, i);
    const hi = b.readUInt32BE(i);
    if (at === 0 || hi & EntryHi.COMPRESSED) return false;
    const want = refcounts.get(at / cs) === 1 ? (hi | EntryHi.COPIED) >>> 0 : (hi & ~EntryHi.COPIED) >>> 0;
    if (want === hi) return false;
    b.writeUInt32BE(want, i);
    return true;
  };
  const l1 = activeL1(image);
  for (let i = 0; i < l1.length; i += 8) {
    const at = offset(l1, i);
    if (at === 0) continue;
    mark(l1, i);
    image.l1Hi[i / 8] = l1.readUInt32BE(i);
    file.readPadded(at, l2);
    let changed = false;
    for (let k = 0; k < cs; k += 8) changed = mark(l2, k) || changed;
    if (changed) file.write(at, l2);
  }
  file.write(image.header.l1Offset, l1);
  file.sync();
}

/** @throws UsageError if the name is taken. */
export function takeSnapshot(image: Qcow2Image, name: string, option: string): void {
  const { file, refcounts, header: h } = image;
  image.quiesce();
  const { list } = readSnapshots(file, h);
  if (list.some((s) => s.name === name)) throw new UsageError(`${option}: ${file.path} has a snapshot '${name}' already`);
  const cs = image.clusterSize;
  const l1 = activeL1(image);
  // Counted first: whatever happens on the way, nothing is free that is used.
  eachCluster(image, l1, (c) => refcounts.increment(c));
  const at = refcounts.allocate(Math.ceil(l1.length / cs));
  const table = Buffer.alloc(Math.ceil(l1.length / cs) * cs);
  l1.copy(table);
  for (let i = 0; i < l1.length; i += 8) table.writeUInt32BE((table.readUInt32BE(i) & ~EntryHi.COPIED) >>> 0, i);
  file.write(at, table);
  remark(image);
  const id = String(1 + Math.max(0, ...list.map((s) => Number(s.id) || 0)));
  const record = Buffer.alloc(FIXED + EXTRA + id.length + Buffer.byteLength(name));
  write64(record, 0, at);
  record.writeUInt32BE(l1.length / 8, 8);
  record.writeUInt16BE(id.length, 12);
  record.writeUInt16BE(Buffer.byteLength(name), 14);
  const now = Date.now();
  record.writeUInt32BE(Math.floor(now / 1000), 16);
  record.writeUInt32BE((now % 1000) * 1e6, 20);
  record.writeUInt32BE(EXTRA, 36);
  write64(record, FIXED + 8, image.size);
  record.write(`${id}${name}`, FIXED + EXTRA);
  writeTable(image, [...list.map((s) => s.record), record]);
}

function find(image: Qcow2Image, name: string, option: string): InternalSnapshot {
  const { list } = readSnapshots(image.file, image.header);
  const s = list.find((x) => x.name === name) ?? list.find((x) => x.id === name);
  if (s === undefined) throw new UsageError(`${option}: ${image.file.path} has no snapshot '${name}'`);
  return s;
}

/** Deletes a snapshot by name or id. @throws UsageError */
export function deleteSnapshot(image: Qcow2Image, name: string, option: string): void {
  image.quiesce();
  const s = find(image, name, option);
  const { list } = readSnapshots(image.file, image.header);
  const l1 = image.file.bytes(s.l1Offset, s.l1Size * 8, 'the L1 table of the snapshot');
  writeTable(image, list.filter((x) => x.id !== s.id).map((x) => x.record));
  eachCluster(image, l1, (c) => void image.refcounts.decrement(c));
  for (let c = 0; c < Math.ceil(l1.length / image.clusterSize); c++) image.refcounts.decrement(s.l1Offset / image.clusterSize + c);
  remark(image);
}

/** Makes the disk what it was when the snapshot was taken. @throws UsageError */
export function applySnapshot(image: Qcow2Image, name: string, option: string): void {
  image.quiesce();
  const s = find(image, name, option);
  if (s.diskSize !== image.header.size || s.l1Size > image.l1Hi.length) throw new UsageError(`${option}: ${image.file.path}: snapshot '${name}' is of a disk of another size`);
  const before = activeL1(image);
  const l1 = Buffer.alloc(before.length);
  image.file.bytes(s.l1Offset, s.l1Size * 8, 'the L1 table of the snapshot').copy(l1);
  eachCluster(image, l1, (c) => image.refcounts.increment(c));
  image.quiesce();
  for (let i = 0; i < image.l1Hi.length; i++) {
    image.l1Hi[i] = l1.readUInt32BE(i * 8);
    image.l1Lo[i] = l1.readUInt32BE(i * 8 + 4);
  }
  image.file.write(image.header.l1Offset, l1);
  image.file.sync();
  eachCluster(image, before, (c) => void image.refcounts.decrement(c));
  remark(image);
}
