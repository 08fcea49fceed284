/** Opens disk images of any format we know, with what lies behind them. */
import { realpathSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { BlockBackend } from './backend.js';
import { ImageFile } from './file.js';
import { containerFormat, type ImageFormat, MAGIC_BYTES } from './formats.js';
import { ScratchOverlay } from './overlay.js';
import { Qcow2Image } from './qcow2/image.js';
import { readHeader } from './qcow2/layout.js';
import { RawImage } from './raw.js';
import { VdiImage } from './vdi.js';
import { VhdImage, vhdFooter } from './vhd.js';
import { VhdxImage } from './vhdx.js';
import { openVmdk } from './vmdk.js';

export interface OpenOptions {
  file: string;
  format: ImageFormat | 'auto';
  readonly: boolean;
  /** Writes go to a scratch file and are dropped. */
  snapshot: boolean;
  /** Names the option in messages. */
  option: string;
  /** Keep other programs from writing to it (and, unless readonly, from reading). Default true. */
  lock?: boolean;
}

/** Images behind images behind images: more is a mistake. */
const MAX_CHAIN = 64;

/** Format of an open file by its content. */
export function detectFormat(file: ImageFile): ImageFormat {
  const head = new Uint8Array(MAGIC_BYTES);
  file.readPadded(0, head);
  const found = containerFormat(head);
  if (found !== null) return found;
  // A guest could write that last sector, too: the name has to agree.
  return /\.(vhd|vpc)$/i.test(file.path) && vhdFooter(file) !== null ? 'vhd' : 'raw';
}

/** @throws UsageError with one line that names the option and the file. */
export function openImage(o: OpenOptions): BlockBackend {
  const image = open(o.file, o.format, !o.readonly && !o.snapshot, o.option, o.lock ?? true, []);
  if (!o.snapshot) return image;
  try {
    return new ScratchOverlay(image, o.option);
  } catch (e) {
    image.close();
    throw e;
  }
}

function open(path: string, format: ImageFormat | 'auto', write: boolean, option: string, lock: boolean, chain: readonly string[]): BlockBackend {
  const file = new ImageFile(path, write, option, lock);
  try {
    const real = realpathSync(path);
    if (chain.includes(real)) throw file.malformed('is its own backing file');
    if (chain.length >= MAX_CHAIN) throw file.malformed(`has more than ${MAX_CHAIN} backing files`);
    return openFormat(file, format === 'auto' ? detectFormat(file) : format, format === 'auto', lock, [...chain, real]);
  } catch (e) {
    file.close();
    throw e;
  }
}

function openFormat(file: ImageFile, format: ImageFormat, probed: boolean, lock: boolean, chain: readonly string[]): BlockBackend {
  switch (format) {
    case 'raw':
      return new RawImage(file, probed);
    case 'qcow2':
      return new Qcow2Image(file, openBacking(file, lock, chain));
  }
  if (file.writable) throw file.malformed(`${format} images can be read only (add ,readonly or ,snapshot, or convert it: vmx-accel image convert)`);
  switch (format) {
    case 'vhd':
      return new VhdImage(file);
    case 'vhdx':
      return new VhdxImage(file);
    case 'vdi':
      return new VdiImage(file);
    case 'vmdk':
      return openVmdk(file, lock);
  }
}

/** Path of a backing file as the image names it, seen from here. @throws UsageError for what is no local file. */
export function backingPath(file: Pick<ImageFile, 'path' | 'malformed'>, name: string): string {
  const path = name.startsWith('file:') ? name.slice(5) : name;
  if (/^[a-z][a-z0-9+-]+:/i.test(path)) throw file.malformed(`its backing file '${name}' is not a local file`);
  return isAbsolute(path) ? path : join(dirname(file.path), path);
}

function openBacking(file: ImageFile, lock: boolean, chain: readonly string[]): BlockBackend | null {
  const { backingFile, backingFormat } = readHeader(file);
  if (backingFile === null) return null;
  const format = backingFormat === null ? 'auto' : backingFormats.get(backingFormat);
  if (format === undefined) throw file.malformed(`its backing file has the unknown format '${backingFormat}'`);
  const backing = open(backingPath(file, backingFile), format, false, `${file.option}: ${file.path}: backing file`, lock, chain);
  return backing;
}

/** Names in the header extension. */
const backingFormats: ReadonlyMap<string, ImageFormat> = new Map<string, ImageFormat>([
  ['raw', 'raw'], ['file', 'raw'], ['host_device', 'raw'], ['qcow2', 'qcow2'], ['vpc', 'vhd'], ['vhdx', 'vhdx'], ['vmdk', 'vmdk'], ['vdi', 'vdi'],
]);
