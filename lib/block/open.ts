/** Opens disk images of any format we know. */
import { closeSync, openSync, readSync } from 'node:fs';
import { UsageError } from '../errors.js';
import type { BlockBackend } from './backend.js';
import { MemoryOverlay } from './overlay.js';
import { RawImage } from './raw.js';

export const IMAGE_FORMATS = ['raw'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** First bytes of the formats that have such. */
const MAGIC: readonly (readonly [string, string])[] = [
  ['QFI\xfb', 'qcow2'],
  ['vhdxfile', 'vhdx'],
  ['conectix', 'vhd'],
  ['KDMV', 'vmdk'],
  ['# Disk DescriptorFile', 'vmdk'],
  ['<<< ', 'vdi'],
];

/** Whether a file begins as one of the formats that are more than the bytes of the disk. @returns the format's name or null. */
export function containerFormat(head: Uint8Array): string | null {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 64)).toString('latin1');
  return MAGIC.find(([magic]) => text.startsWith(magic))?.[1] ?? null;
}

/** Format of the file by its content. */
export function detectFormat(file: string, option: string): string {
  const head = new Uint8Array(64);
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (e) {
    throw new UsageError(`${option}: ${file}: ${(e as Error).message}`, { cause: e });
  }
  const n = readSync(fd, head, 0, head.length, 0);
  closeSync(fd);
  return containerFormat(head.subarray(0, n)) ?? 'raw';
}

export interface OpenOptions {
  file: string;
  format: ImageFormat | 'auto';
  readonly: boolean;
  /** Writes go to memory and are dropped. */
  snapshot: boolean;
  /** Names the option in messages. */
  option: string;
}

/** @throws UsageError with one line that names the option and the file. */
export function openImage(o: OpenOptions): BlockBackend {
  const format = o.format === 'auto' ? detectFormat(o.file, o.option) : o.format;
  if (format !== 'raw') throw new UsageError(`${o.option}: ${o.file}: ${format} images are not available yet`);
  const image = new RawImage(o.file, o.readonly || o.snapshot, o.option);
  return o.snapshot ? new MemoryOverlay(image) : image;
}
