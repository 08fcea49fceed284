/**
 * The architecture of a kernel image, by its content: Linux's arm64 and riscv Image headers (Documentation/arch/arm64/booting.rst,
 * Documentation/arch/riscv/boot-image-header.rst), bzImage, ELF (e_machine), PE (machine), also in gzip's or zboot's wrapping.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { constants, gunzipSync } from 'node:zlib';
import { UsageError } from '../errors.js';

export type ArchName = 'x86_64' | 'aarch64' | 'riscv64';

/** As much of an image as the headers take; compressed ones need a bit more. */
const HEAD = 0x1_0000;
const ELF_MAGIC = 0x7f45_4c46;
const BZIMAGE_MAGIC = 0x5372_6448;
/** "ARM\x64" at 56. */
const ARM64_MAGIC = 0x644d_5241;
/** "RSC\x05" at 56 (magic2); "RISCV\0\0\0" at 48 is what older images have. */
const RISCV_MAGIC2 = 0x0543_5352;

const ELF_MACHINES: Readonly<Record<number, ArchName>> = { 3: 'x86_64', 62: 'x86_64', 183: 'aarch64', 243: 'riscv64' };
const PE_MACHINES: Readonly<Record<number, ArchName>> = { 0x14c: 'x86_64', 0x8664: 'x86_64', 0xaa64: 'aarch64', 0x5064: 'riscv64' };

const isGzip = (b: Buffer): boolean => b.length > 18 && b.readUInt16BE(0) === 0x1f8b && b[2] === 8;
/** EFI zboot (linux drivers/firmware/efi/libstub/zboot-header.S): "MZ", "zimg", payload offset and size, compression's name. */
const isZboot = (b: Buffer): boolean => b.length > 64 && b.toString('latin1', 0, 2) === 'MZ' && b.toString('latin1', 4, 8) === 'zimg';

/** The start of what is compressed in gzip format in `b`, which may end early. */
function gunzipHead(b: Buffer): Buffer {
  try {
    return gunzipSync(b, { finishFlush: constants.Z_SYNC_FLUSH });
  } catch {
    return Buffer.alloc(0);
  }
}

function archOf(b: Buffer): ArchName | null {
  if (b.length < 64) return null;
  if (b.readUInt32LE(56) === ARM64_MAGIC) return 'aarch64';
  if (b.readUInt32LE(56) === RISCV_MAGIC2 || b.toString('latin1', 48, 53) === 'RISCV') return 'riscv64';
  if (b.length > 0x206 && b.readUInt32LE(0x202) === BZIMAGE_MAGIC) return 'x86_64';
  if (b.readUInt32BE(0) === ELF_MAGIC) return ELF_MACHINES[b[5] === 2 ? b.readUInt16BE(18) : b.readUInt16LE(18)] ?? null;
  const pe = b.toString('latin1', 0, 2) === 'MZ' ? b.readUInt32LE(60) : 0;
  if (pe > 0 && pe + 6 <= b.length && b.readUInt32LE(pe) === 0x4550) return PE_MACHINES[b.readUInt16LE(pe + 4)] ?? null;
  return null;
}

/** @param head the first bytes of an image, 64 KiB are enough. @returns null if nothing is recognised. */
export function archOfImage(head: Buffer): ArchName | null {
  return archOf(isGzip(head) ? gunzipHead(head) : head);
}

/** Architecture of the kernel in a file; null for images that name none (flat ones). @throws UsageError if it cannot be read. */
export function kernelArch(file: string, option: string): ArchName | null {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (e) {
    throw new UsageError(`${option}: ${file}: ${(e as Error).message}`, { cause: e });
  }
  try {
    const head = Buffer.alloc(Math.min(HEAD, fstatSync(fd).size));
    readSync(fd, head, 0, head.length, 0);
    return archOfImage(head);
  } finally {
    closeSync(fd);
  }
}

/** The kernel is wrapped in something that `unpackKernel` takes off. */
export const isPacked = (head: Buffer): boolean => isGzip(head) || isZboot(head);

/**
 * The kernel itself: unwraps gzip and EFI zboot with gzip.
 * @throws UsageError for damaged or unsupported compression
 */
export function unpackKernel(b: Buffer, file: string): Buffer {
  try {
    if (isGzip(b)) return gunzipSync(b, { maxOutputLength: 1 << 30 });
    if (!isZboot(b)) return b;
    const method = b.toString('latin1', 24, 56).replace(/\0.*$/s, '');
    if (method !== 'gzip') throw new UsageError(`--kernel: ${file}: the image is compressed with '${method}', which is not supported (gzip is)`);
    const at = b.readUInt32LE(8);
    // The payload ends in its own size, which the gzip format has anyway.
    return gunzipSync(b.subarray(at, at + b.readUInt32LE(12)), { maxOutputLength: 1 << 30 });
  } catch (e) {
    if (e instanceof UsageError) throw e;
    throw new UsageError(`--kernel: ${file}: the compressed image is damaged: ${(e as Error).message}`, { cause: e });
  }
}
