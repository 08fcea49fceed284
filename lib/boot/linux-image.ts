/**
 * Kernels for boards with a device tree: Linux's Image for arm64 and riscv (Documentation/arch/arm64/booting.rst,
 * Documentation/arch/riscv/boot-image-header.rst) and ELF files, with initrd and tree, in the RAM of a `virt` board.
 */
import { UsageError } from '../errors.js';
import type { PhysicalMemory } from '../memory/physical.js';
import { archOfImage, isPacked, unpackKernel } from './arch.js';
import { readElf64, type Elf64 } from './elf64.js';
import { buildFdt, type FdtNode } from './fdt.js';
import { FileImage } from './file-image.js';

const MIB2 = 0x20_0000;
const ELF_MAGIC = 0x7f45_4c46;
/** As much of an image as is looked at before it is in memory. */
const HEAD = 0x1_0000;
/** Offsets in the Image header. */
const TEXT_OFFSET = 8;
const IMAGE_SIZE = 16;

export interface Ram {
  base: number;
  bytes: number;
}

export interface TreeBoot {
  memory: PhysicalMemory;
  ram: Ram;
  kernel: string;
  initrd: string | null;
  append: string;
  /** Bytes at the start of RAM that firmware keeps for itself. */
  firmwareBytes: number;
  /** Where images without a header begin, from the start of RAM (or of what firmware leaves). */
  flatOffset: number;
  /** The board's device tree; /chosen is filled in. */
  tree: FdtNode;
}

export interface TreeBooted {
  entry: number;
  /** Address of the device tree. */
  dtb: number;
  elf: Elf64 | null;
}

const align = (v: number, to: number): number => Math.ceil(v / to) * to;

const tooLarge = (b: TreeBoot, what: string): UsageError => new UsageError(`${what} does not fit into ${Math.floor(b.ram.bytes / 1048576)}M of memory (--memory)`);
const hasRam = (b: TreeBoot, pa: number, bytes: number): boolean => pa >= b.ram.base && pa + bytes <= b.ram.base + b.ram.bytes;

function put(b: TreeBoot, pa: number, bytes: Uint8Array, what: string): void {
  if (!hasRam(b, pa, bytes.length) || !b.memory.writeFrom(pa, bytes)) throw tooLarge(b, what);
}

function putFile(b: TreeBoot, pa: number, file: FileImage, what: string): void {
  if (!hasRam(b, pa, file.size) || !file.put(b.memory, pa)) throw tooLarge(b, what);
}

/** Loads the kernel. @returns entry point and the first free address after it. */
function loadKernel(b: TreeBoot, file: FileImage): { entry: number; end: number; elf: Elf64 | null } {
  const head = file.head(HEAD);
  // Images that are neither packed nor ELF go to memory as they are.
  const whole = isPacked(head) || (head.length >= 4 && head.readUInt32BE(0) === ELF_MAGIC) ? unpackKernel(file.bytes(), b.kernel) : null;
  const image = whole ?? head;
  const length = whole?.length ?? file.size;
  if (length < 64) throw new UsageError(`--kernel: ${b.kernel} is no kernel`);
  if (image.readUInt32BE(0) === ELF_MAGIC) {
    const elf = readElf64(image, `--kernel: ${b.kernel}`);
    let end = b.ram.base;
    for (const s of elf.segments) {
      const what = `--kernel: ${b.kernel}: a segment at 0x${s.pa.toString(16)}`;
      if (s.memBytes > b.ram.bytes) throw new UsageError(`${what} does not fit into ${Math.floor(b.ram.bytes / 1048576)}M of memory (--memory)`);
      put(b, s.pa, s.bytes, what);
      // Not zero any more after a reset.
      put(b, s.pa + s.bytes.length, new Uint8Array(s.memBytes - s.bytes.length), what);
      end = Math.max(end, s.pa + s.memBytes);
    }
    return { entry: elf.entry, end, elf };
  }
  const number = (at: number): number => Number(image.readBigUInt64LE(at));
  const flat = archOfImage(image) === null;
  // Images before Linux 3.17 have no size; the offset then is what it was at the time.
  const size = flat ? length : Math.max(length, Math.min(number(IMAGE_SIZE), b.ram.bytes));
  const offset = flat ? b.flatOffset : number(IMAGE_SIZE) === 0 ? 0x8_0000 : number(TEXT_OFFSET);
  if (offset >= b.ram.bytes) throw new UsageError(`--kernel: ${b.kernel}: damaged header (offset 0x${offset.toString(16)})`);
  let entry = align(b.ram.base, MIB2) + offset;
  while (entry < b.ram.base + b.firmwareBytes) entry += MIB2;
  const what = `--kernel: ${b.kernel}: the kernel`;
  if (whole === null) putFile(b, entry, file, what);
  else put(b, entry, whole, what);
  return { entry, end: entry + size, elf: null };
}

/**
 * Puts kernel, initrd and device tree into memory: the tree as high as the first 2 GiB of RAM go, the initrd below it.
 * @throws UsageError naming what does not fit
 */
export function loadTreeBoot(b: TreeBoot): TreeBooted {
  const k = FileImage.use(b.kernel, '--kernel', (file) => loadKernel(b, file));
  return b.initrd === null ? loadRest(b, k, null) : FileImage.use(b.initrd, '--initrd', (initrd) => loadRest(b, k, initrd));
}

function loadRest(b: TreeBoot, k: ReturnType<typeof loadKernel>, initrd: FileImage | null): TreeBooted {
  const chosen = b.tree.at('chosen');
  chosen.text('bootargs', b.append);
  const top = b.ram.base + Math.min(b.ram.bytes, 0x8000_0000);
  // The size of the tree does not depend on the values of cells.
  if (initrd !== null) chosen.cells64('linux,initrd-start', 0).cells64('linux,initrd-end', 0);
  const dtb = Math.floor((top - buildFdt(b.tree).length) / MIB2) * MIB2;
  if (initrd !== null) {
    const at = Math.floor((dtb - initrd.size) / 4096) * 4096;
    if (at < k.end) throw new UsageError(`--initrd: ${b.initrd!} (${initrd.size} bytes) does not fit into ${Math.floor(b.ram.bytes / 1048576)}M of memory (--memory)`);
    putFile(b, at, initrd, `--initrd: ${b.initrd!}`);
    chosen.cells64('linux,initrd-start', at).cells64('linux,initrd-end', at + initrd.size);
  }
  if (dtb < k.end) throw new UsageError(`--kernel: ${b.kernel} leaves no room for the device tree (--memory)`);
  put(b, dtb, buildFdt(b.tree), 'the device tree');
  return { entry: k.entry, dtb, elf: k.elf };
}
