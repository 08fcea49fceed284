/** What `vmx-accel image` does, without its command line: create, describe, copy, commit. */
import { rmSync, statSync } from 'node:fs';
import { UsageError } from '../errors.js';
import { type BlockBackend, SECTOR } from './backend.js';
import { type Extent, isSparse } from './extent.js';
import { createFile, ImageFile } from './file.js';
import type { ImageFormat } from './formats.js';
import { backingPath, detectFormat, openImage } from './open.js';
import { checkQcow2, type CheckResult } from './qcow2/check.js';
import { compressCluster } from './qcow2/compress.js';
import { createQcow2 } from './qcow2/create.js';
import { isZero, Qcow2Image } from './qcow2/image.js';
import { Compression, Incompatible, readHeader } from './qcow2/layout.js';
import { readSnapshots } from './qcow2/snapshots.js';

/** Bytes copied at once. */
const STEP = 2 * 1024 * 1024;
/** Runs of zeros of this length become holes. */
const HOLE = 65536;

export interface ImageInfo {
  file: string;
  format: ImageFormat;
  /** Bytes of the disk. */
  virtualSize: number;
  /** Bytes that the file takes on the host. */
  actualSize: number;
  clusterSize?: number;
  compat?: string;
  compression?: 'zlib' | 'zstd';
  refcountBits?: number;
  dirty?: boolean;
  corrupt?: boolean;
  backingFile?: string;
  backingFormat?: string;
  snapshots?: { id: string; name: string; date: string; vmState: number }[];
}

/** Describes an image without its backing files. @throws UsageError */
export function imageInfo(path: string, format: ImageFormat | 'auto', option: string): ImageInfo {
  const file = new ImageFile(path, false, option, false);
  try {
    const kind = format === 'auto' ? detectFormat(file) : format;
    const info: ImageInfo = { file: path, format: kind, virtualSize: 0, actualSize: file.allocated };
    if (kind !== 'qcow2') {
      const image = openImage({ file: path, format: kind, readonly: true, snapshot: false, option, lock: false });
      info.virtualSize = image.size;
      image.close();
      return info;
    }
    const h = readHeader(file);
    Object.assign(info, {
      virtualSize: h.size, clusterSize: h.clusterSize, compat: h.version === 2 ? '0.10' : '1.1', compression: h.compression === Compression.ZSTD ? 'zstd' : 'zlib', refcountBits: 1 << h.refcountOrder,
      dirty: (h.incompatible & Incompatible.DIRTY) !== 0, corrupt: (h.incompatible & Incompatible.CORRUPT) !== 0,
    });
    if (h.backingFile !== null) info.backingFile = h.backingFile;
    if (h.backingFormat !== null) info.backingFormat = h.backingFormat;
    info.snapshots = readSnapshots(file, h).list.map((s) => ({ id: s.id, name: s.name, date: new Date(s.date).toISOString(), vmState: s.vmState }));
    return info;
  } finally {
    file.close();
  }
}

/** @throws UsageError if the format has nothing to check. */
export function checkImage(path: string, format: ImageFormat | 'auto', repair: boolean, option: string): CheckResult {
  const file = new ImageFile(path, repair, option, true);
  try {
    const kind = format === 'auto' ? detectFormat(file) : format;
    if (kind !== 'qcow2') throw new UsageError(`${option}: ${path}: ${kind} images have nothing to check`);
    return checkQcow2(file, repair);
  } finally {
    file.close();
  }
}

export interface CreateOptions {
  format: 'raw' | 'qcow2';
  /** Bytes; may be left out with a backing file. */
  size?: number;
  clusterSize?: number;
  refcountBits?: number;
  version?: 2 | 3;
  compression?: 'zlib' | 'zstd';
  backingFile?: string;
  backingFormat?: ImageFormat | 'auto';
  option: string;
  overwrite?: boolean;
}

/** Names of formats in qcow2 headers. */
const HEADER_NAME: Readonly<Partial<Record<ImageFormat, string>>> = { vhd: 'vpc' };

/** @throws UsageError */
export function createImage(path: string, o: CreateOptions): void {
  let { size } = o;
  let backingFormat: string | undefined;
  if (o.backingFile !== undefined) {
    if (o.format !== 'qcow2') throw new UsageError(`${o.option}: only qcow2 images have backing files`);
    // As the image will see it: relative to its own folder.
    const seen = backingPath({ path, malformed: (why: string) => new UsageError(`${o.option}: ${path}: ${why}`) }, o.backingFile);
    const info = imageInfo(seen, o.backingFormat ?? 'auto', `${o.option}: backing file`);
    size ??= info.virtualSize;
    backingFormat = HEADER_NAME[info.format] ?? info.format;
  }
  if (size === undefined) throw new UsageError(`${o.option}: needs a size`);
  size = Math.ceil(size / SECTOR) * SECTOR;
  if (!(size > 0 && size <= 2 ** 50)) throw new UsageError(`${o.option}: ${size} bytes is no size of a disk`);
  if (o.format === 'raw') {
    const f = createFile(path, o.option, o.overwrite ?? false);
    f.truncate(size);
    f.close();
    return;
  }
  createQcow2(path, {
    size, clusterSize: o.clusterSize, refcountBits: o.refcountBits, version: o.version, compression: o.compression === 'zstd' ? Compression.ZSTD : Compression.ZLIB,
    backingFile: o.backingFile, backingFormat, option: o.option, replace: o.overwrite,
  });
}

/** What is at `offset` of an image of any format. */
function extentOf(image: BlockBackend, offset: number): Extent {
  if (!isSparse(image)) return { kind: 'data', length: image.size - offset };
  const e = image.extent(offset);
  // Behind an absent cluster a backing file may have data.
  return e.kind === 'absent' && image instanceof Qcow2Image && image.backing === null ? { kind: 'zero', length: e.length } : e;
}

/** Copies everything but zeros. @param progress is told the share done, 0 to 1. */
function copy(from: BlockBackend, to: BlockBackend, progress: (done: number) => void): void {
  const buffer = new Uint8Array(STEP);
  for (let at = 0; at < from.size; ) {
    const e = extentOf(from, at);
    if (e.kind === 'zero') {
      at += e.length;
      continue;
    }
    const n = Math.min(e.length, STEP, from.size - at);
    const b = buffer.subarray(0, n);
    from.read(at, b);
    writeSparse(to, at, b);
    at += n;
    progress(at / from.size);
  }
}

/** Writes what is not zero: the target reads as zeros. */
function writeSparse(to: BlockBackend, offset: number, b: Uint8Array): void {
  let start = -1;
  for (let at = 0; at < b.length; at += HOLE) {
    const zero = isZero(b.subarray(at, at + HOLE));
    if (zero && start >= 0) {
      to.write(offset + start, b.subarray(start, at));
      start = -1;
    } else if (!zero && start < 0) {
      start = at;
    }
  }
  if (start >= 0) to.write(offset + start, b.subarray(start));
}

function copyCompressed(from: BlockBackend, to: Qcow2Image, progress: (done: number) => void): void {
  const cs = to.clusterSize;
  const b = new Uint8Array(cs);
  for (let c = 0; c * cs < from.size; c++) {
    const n = Math.min(cs, from.size - c * cs);
    from.read(c * cs, b.subarray(0, n));
    b.fill(0, n);
    if (!isZero(b)) {
      const small = compressCluster(b);
      if (small === null) to.write(c * cs, b.subarray(0, n));
      else to.writeCompressed(c, small);
    }
    progress(Math.min(1, ((c + 1) * cs) / from.size));
  }
}

export interface ConvertOptions extends Omit<CreateOptions, 'size' | 'backingFile' | 'backingFormat'> {
  sourceFormat: ImageFormat | 'auto';
  /** Compress clusters (zlib). */
  compress?: boolean;
  progress: (done: number) => void;
}

/** Copies an image with all its backing files into one of another format. What fails leaves no file. @throws UsageError */
export function convertImage(source: string, target: string, o: ConvertOptions): void {
  if (o.compress && o.format !== 'qcow2') throw new UsageError(`${o.option}: only qcow2 images can be compressed`);
  if (o.compress && o.compression === 'zstd') throw new UsageError(`${o.option}: compressing with zstd is not available (zlib is)`);
  const from = openImage({ file: source, format: o.sourceFormat, readonly: true, snapshot: false, option: o.option });
  try {
    if (statSync(target, { throwIfNoEntry: false }) !== undefined && !(o.overwrite ?? false)) throw new UsageError(`${o.option}: ${target}: exists already`);
    createImage(target, { ...o, size: from.size });
    try {
      const to = openImage({ file: target, format: o.format, readonly: false, snapshot: false, option: o.option });
      try {
        if (o.compress && to instanceof Qcow2Image) copyCompressed(from, to, o.progress);
        else copy(from, to, o.progress);
        to.flush();
      } finally {
        to.close();
      }
    } catch (e) {
      rmSync(target, { force: true });
      throw e;
    }
  } finally {
    from.close();
  }
}

/** Puts what an overlay holds into its backing file and empties it. @returns bytes written. @throws UsageError */
export function commitImage(path: string, option: string, progress: (done: number) => void): number {
  const file = new ImageFile(path, true, option, true);
  let overlay: Qcow2Image | null = null;
  try {
    if (detectFormat(file) !== 'qcow2') throw file.malformed('is no qcow2 image: only overlays can be committed');
    const h = readHeader(file);
    if (h.backingFile === null) throw file.malformed('has no backing file to commit to');
    const format = h.backingFormat === 'vpc' ? 'vhd' : ((h.backingFormat ?? 'auto') as ImageFormat | 'auto');
    const top = (overlay = new Qcow2Image(file, null));
    const base = openImage({ file: backingPath(file, h.backingFile), format, readonly: false, snapshot: false, option: `${option}: ${path}: backing file` });
    try {
      if (base.size < top.size) throw file.malformed(`its disk is larger than that of its backing file (${top.size} and ${base.size} bytes)`);
      const done = commit(top, base, progress);
      base.flush();
      top.forget(0, top.size);
      return done;
    } finally {
      base.close();
    }
  } finally {
    if (overlay === null) file.close();
    else overlay.close();
  }
}

function commit(top: Qcow2Image, base: BlockBackend, progress: (done: number) => void): number {
  const buffer = new Uint8Array(STEP);
  let written = 0;
  for (let at = 0; at < top.size; ) {
    const e = top.extent(at);
    if (e.kind === 'absent') {
      at += e.length;
      continue;
    }
    const n = e.kind === 'zero' ? e.length : Math.min(e.length, STEP);
    if (e.kind === 'zero') {
      base.writeZeroes(at, n, true);
    } else {
      const b = buffer.subarray(0, n);
      top.read(at, b);
      base.write(at, b);
    }
    written += n;
    at += n;
    progress(at / top.size);
  }
  return written;
}
