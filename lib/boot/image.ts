/**
 * What an image file is, by its content: kernels, floppy and hard disk images, ISO 9660; and whether its boot loader is one
 * for BIOS or for UEFI (UEFI Specification 2.10, chapter 5 "GPT", 13.3.2 "El Torito"; El Torito 1.0; ECMA-119).
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { floppyFormat } from '../devices/storage/floppy-drive.js';
import { UsageError } from '../errors.js';
import { containerFormat } from '../block/formats.js';
import { archOfImage } from './arch.js';
import type { FirmwareKind } from './firmware.js';
import { isMultiboot } from './multiboot.js';

export type ImageKind = 'kernel' | 'floppy' | 'disk' | 'cdrom';

/** Bytes of an image as a guest sees them. */
export interface ImageReader {
  readonly size: number;
  /** Fills dst from `offset`; the range lies within the image. */
  read(offset: number, dst: Uint8Array): void;
}

const SECTOR = 512;
const CD_SECTOR = 2048;

function bytes(r: ImageReader, offset: number, length: number): Buffer {
  const b = Buffer.alloc(length);
  if (offset >= 0 && offset + length <= r.size) r.read(offset, b);
  return b;
}

/** A file as it lies on the host. */
export function openFile(file: string, option: string): ImageReader & { close(): void } {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (e) {
    throw new UsageError(`${option}: ${file}: ${(e as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (e as Error).message}`, { cause: e });
  }
  return {
    size: fstatSync(fd).size,
    read(offset, dst) {
      for (let done = 0; done < dst.length; ) {
        const n = readSync(fd, dst, done, dst.length - done, offset + done);
        if (n === 0) throw new UsageError(`${option}: ${file}: the file ends early`);
        done += n;
      }
    },
    close: () => closeSync(fd),
  };
}

/** A multiboot header counts only without a boot sector: GRUB on a disk has both. */
const isKernel = (head: Buffer): boolean =>
  (head.length > 0x206 && head.readUInt32LE(0x202) === 0x5372_6448) || head.readUInt32BE(0) === 0x7f45_4c46 || (!bootSignature(head) && (archOfImage(head) !== null || isMultiboot(head)));
const isIso = (r: ImageReader): boolean => bytes(r, 16 * CD_SECTOR, 6).toString('latin1', 1, 6) === 'CD001';
const bootSignature = (sector: Buffer): boolean => sector[510] === 0x55 && sector[511] === 0xaa;
/** A FAT boot sector: jump, plausible sector size and media byte, no partition table needed. */
const isFatSector = (b: Buffer): boolean => (b[0] === 0xeb || b[0] === 0xe9) && b.readUInt16LE(11) === SECTOR && b[21]! >= 0xf0;

/** Kind of an image, by content; size decides between floppies and disks. */
export function imageKind(r: ImageReader): ImageKind {
  const head = bytes(r, 0, Math.min(r.size, 8192));
  if (containerFormat(head) !== null) return 'disk';
  if (head.length >= SECTOR && isIso(r)) return 'cdrom';
  if (head.length >= 4 && isKernel(head)) return 'kernel';
  if (floppyFormat(r.size) !== null) return 'floppy';
  return 'disk';
}

/** Kind of the file named on the command line. Containers with a format of their own (qcow2 ...) are disks. */
export function detectImage(file: string): ImageKind {
  const r = openFile(file, 'boot');
  try {
    if (r.size === 0) throw new UsageError(`boot: ${file} is empty`);
    return imageKind(r);
  } finally {
    r.close();
  }
}

export interface BootChoice {
  kind: FirmwareKind;
  /** For the user: what in the image decided. */
  why: string;
}

const ESP_GUID = 'c12a7328f81f11d2ba4b00a0c93ec93b';
const BIOS_BOOT_GUID = '2168614864496e6f744e656564454649';
/** Microsoft reserved partition: every disk that Windows has partitioned has one. */
const MSR_GUID = 'e3c9e3160b5c4db8817df92df00215ae';
/** MBR partition type of NTFS. */
const NTFS_TYPE = 7;
const LEGACY_BOOTABLE = 4;
const GPT_ENTRIES_MAX = 1024;

/** GUID of 16 bytes on disk, in the order it is written down, without dashes. */
function guid(b: Buffer): string {
  const swapped = Buffer.concat([b.subarray(0, 4).reverse(), b.subarray(4, 6).reverse(), b.subarray(6, 8).reverse(), b.subarray(8, 16)]);
  return swapped.toString('hex');
}

/** Type and attribute byte of each entry of the GUID partition table; empty if there is none. */
function gptEntries(r: ImageReader): { type: string; attributes: number }[] {
  const gpt = bytes(r, SECTOR, 92);
  if (gpt.toString('latin1', 0, 8) !== 'EFI PART') return [];
  const at = Number(gpt.readBigUInt64LE(72)) * SECTOR;
  const count = Math.min(gpt.readUInt32LE(80), GPT_ENTRIES_MAX);
  const size = Math.min(gpt.readUInt32LE(84), 4096);
  const out = [];
  for (let i = 0; i < count && size >= 128; i++) {
    const e = bytes(r, at + i * size, 128);
    out.push({ type: guid(e.subarray(0, 16)), attributes: e[48]! });
  }
  return out;
}

/** Whether a disk has partitions of Microsoft's systems, which have no drivers for virtio. */
export function isMicrosoft(r: ImageReader): boolean {
  const mbr = bytes(r, 0, SECTOR);
  if (!bootSignature(mbr)) return false;
  return [0, 1, 2, 3].some((i) => mbr[446 + i * 16 + 4] === NTFS_TYPE) || gptEntries(r).some((e) => e.type === MSR_GUID);
}

/** Which firmware boots this disk. */
export function diskFirmware(r: ImageReader): BootChoice {
  const mbr = bytes(r, 0, SECTOR);
  const code = bootSignature(mbr) && mbr.subarray(0, 440).some((x) => x !== 0);
  const types = [0, 1, 2, 3].map((i) => ({ active: mbr[446 + i * 16] === 0x80, type: mbr[446 + i * 16 + 4]! }));
  if (bootSignature(mbr) && bytes(r, SECTOR, 8).toString('latin1') === 'EFI PART') {
    let esp = false;
    let bios = types.some((t) => t.active && t.type !== 0xee);
    for (const e of gptEntries(r)) {
      if (e.type === ESP_GUID) esp = true;
      if (e.type === BIOS_BOOT_GUID || (e.attributes & LEGACY_BOOTABLE) !== 0) bios = true;
    }
    if (code && bios) return { kind: 'bios', why: 'the disk has a GUID partition table with boot code for BIOS' };
    if (esp) return { kind: 'uefi', why: 'the disk has an EFI system partition and no boot code for BIOS' };
    return code ? { kind: 'bios', why: 'the disk has boot code in its first sector' } : { kind: 'uefi', why: 'the disk has a GUID partition table and no boot code' };
  }
  if (bootSignature(mbr) && types.some((t) => t.type === 0xef) && !types.some((t) => t.active)) {
    return { kind: 'uefi', why: 'the disk has an EFI system partition and no active partition' };
  }
  if (code) return { kind: 'bios', why: isFatSector(mbr) ? 'the image has a boot sector' : 'the disk has boot code in its first sector' };
  return { kind: 'bios', why: 'nothing bootable was recognised' };
}

/** Which firmware boots this CD image. */
export function cdFirmware(r: ImageReader): BootChoice {
  const nothing: BootChoice = { kind: 'bios', why: 'the CD has no boot catalogue' };
  const record = bytes(r, 17 * CD_SECTOR, CD_SECTOR);
  if (record[0] !== 0 || !record.toString('latin1', 7).startsWith('EL TORITO SPECIFICATION')) return nothing;
  const catalogue = bytes(r, record.readUInt32LE(0x47) * CD_SECTOR, CD_SECTOR);
  if (catalogue[0] !== 1) return nothing;
  // The validation entry's platform holds for the default entry; section headers (90h, 91h) name theirs.
  let platform = catalogue[1]!;
  let bios = false;
  let efi = false;
  for (let at = 32; at + 32 <= CD_SECTOR; at += 32) {
    const id = catalogue[at]!;
    if (id === 0x90 || id === 0x91) platform = catalogue[at + 1]!;
    else if (id === 0x88 && platform === 0) bios = true;
    else if (id === 0x88 && platform === 0xef) efi = true;
    else if (id === 0 && at > 32) break;
  }
  if (bios) return { kind: 'bios', why: 'the CD has a boot entry for BIOS' };
  return efi ? { kind: 'uefi', why: "the CD's only boot entry is for EFI" } : nothing;
}
