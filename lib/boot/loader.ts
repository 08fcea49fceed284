/**
 * Direct kernel boot: recognises a kernel by content, puts it, its initrd, command line and boot information into guest
 * RAM and says how the first CPU starts.
 */
import type { CpuStart } from '../boards/board.js';
import type { PhysicalMemory } from '../memory/physical.js';
import { UsageError } from '../errors.js';
import { loadBzImage } from './bzimage.js';
import { loadElf } from './elf.js';
import { FileImage } from './file-image.js';
import { isMultiboot, loadMultiboot } from './multiboot.js';

/** Low-memory places a Linux boot uses, where the boot protocol keeps the kernel away; all inside conventional memory. */
export const enum Low {
  /** Identity page tables: PML4, PDPT, 4 page directories. */
  PAGE_TABLES = 0x9000,
  /** boot_params. */
  INFO = 0x1_0000,
  CMDLINE = 0x2_0000,
}

/** Where placeLow looks. */
const LOW_FIRST = 0x8000;
const LOW_END = 0x9_f000;

/** The setup code of a bzImage is at most so long, and its header at its start. */
const SETUP_MAX = 256 * 512;

/** Bytes reserved for the command line. */
const CMDLINE_MAX = 0x1_0000;

export interface LoadRequest {
  memory: PhysicalMemory;
  /** Bytes of RAM from physical 0. */
  ramBytes: number;
  /** Bytes of RAM from 4 GiB. */
  highBytes: number;
  kernel: string;
  initrd: string | null;
  append: string;
  /** Physical address of the ACPI RSDP, 0 if none. */
  rsdp: number;
  /** There is a VGA in 80 by 25 text mode. */
  textMode: boolean;
}

export interface LoadContext extends LoadRequest {
  file: FileImage;
  /** All of it; of a bzImage as much as its headers take. */
  image: Buffer;
  initrdImage: FileImage | null;
  /** Ranges of memory that hold something already. */
  used: { start: number; end: number }[];
}

/** @throws UsageError naming --kernel or --initrd if the files cannot be used. */
export function loadKernel(r: LoadRequest): CpuStart {
  return FileImage.use(r.kernel, '--kernel', (file) => (r.initrd === null ? load(r, file, null) : FileImage.use(r.initrd, '--initrd', (initrd) => load(r, file, initrd))));
}

function load(r: LoadRequest, file: FileImage, initrdImage: FileImage | null): CpuStart {
  if (Buffer.byteLength(r.append) + Buffer.byteLength(r.kernel) + 2 > CMDLINE_MAX) throw new UsageError('--append: the command line is too long');
  const head = file.head(SETUP_MAX);
  const isBzImage = head.length > 0x206 && head.readUInt32LE(0x202) === 0x5372_6448;
  const image = isBzImage ? head : file.bytes();
  const c: LoadContext = { ...r, file, image, initrdImage, used: [] };
  if (isBzImage) return loadBzImage(c);
  if (isMultiboot(image)) return loadMultiboot(c);
  if (image.length >= 4 && image.readUInt32BE(0) === 0x7f45_4c46) return loadElf(c);
  throw new UsageError(`--kernel: ${r.kernel} is not a kernel (no bzImage, ELF or multiboot header)`);
}

/** Copies to guest memory; the range must be RAM. */
export function put(c: LoadContext, pa: number, bytes: Uint8Array, what: string): void {
  place(c, pa, bytes.length, what, () => c.memory.writeFrom(pa, bytes));
}

/** As `put`, the bytes of a file from `from` on. */
export function putFile(c: LoadContext, pa: number, file: FileImage, from: number, what: string): void {
  place(c, pa, file.size - from, what, () => file.put(c.memory, pa, from));
}

function place(c: LoadContext, pa: number, bytes: number, what: string, write: () => boolean): void {
  if (pa + bytes > c.ramBytes || !write()) throw new UsageError(`--kernel: ${c.kernel}: ${what} does not fit into ${Math.floor(c.ramBytes / 1048576)}M of memory (--memory)`);
  if (bytes > 0) c.used.push({ start: pa, end: pa + bytes });
}

/**
 * Finds room for boot information in conventional memory, page aligned: a kernel may have been loaded there too.
 * @returns the address
 */
export function placeLow(c: LoadContext, size: number, what: string): number {
  let at = LOW_FIRST;
  for (;;) {
    const clash = c.used.find((u) => at < u.end && u.start < at + size);
    if (!clash) break;
    at = Math.ceil(clash.end / 4096) * 4096;
  }
  if (at + size > LOW_END) throw new UsageError(`--kernel: ${c.kernel} leaves no room in low memory for ${what}`);
  return at;
}

/** Writes the flat GDT (null, null, code 10h, data 18h) after everything else has its place, and returns the common part of a start state. */
export function flatStart(c: LoadContext, mode: CpuStart['mode'], rip: number): CpuStart {
  const gdt = Buffer.alloc(32);
  // Code: present, ring 0, execute/read, accessed; 4 GiB. D=1 or L=1. Data: read/write.
  gdt.writeUInt32LE(0x0000_ffff, 16);
  gdt.writeUInt32LE(mode === 'long64' ? 0x00af_9b00 : 0x00cf_9b00, 20);
  gdt.writeUInt32LE(0x0000_ffff, 24);
  gdt.writeUInt32LE(0x00cf_9300, 28);
  const base = placeLow(c, gdt.length, 'the descriptor table');
  put(c, base, gdt, 'the descriptor table');
  return { mode, rip, regs: {}, cr3: 0, gdt: { base, limit: 31 }, cs: 0x10, ds: 0x18 };
}

/** Identity map of the first 4 GiB with 2 MiB pages. @returns CR3. */
export function identityPageTables(c: LoadContext): number {
  const t = Buffer.alloc(6 * 4096);
  const base = Low.PAGE_TABLES as number;
  t.writeUInt32LE(base + 0x1000 + 3, 0);
  for (let g = 0; g < 4; g++) {
    t.writeUInt32LE(base + 0x2000 + g * 0x1000 + 3, 0x1000 + g * 8);
    for (let i = 0; i < 512; i++) {
      // Present, writable, page size.
      t.writeUInt32LE(((g * 512 + i) * 0x20_0000 + 0x83) >>> 0, 0x2000 + g * 0x1000 + i * 8);
    }
  }
  put(c, base, t, 'the page tables');
  return base;
}

/** Places the initrd as high as possible below `max`, page aligned, above `floor`. @returns its address, 0 without one. */
export function placeInitrd(c: LoadContext, floor: number, max: number): number {
  const img = c.initrdImage;
  if (img === null) return 0;
  const top = Math.min(c.ramBytes, max);
  const at = Math.floor((top - img.size) / 4096) * 4096;
  if (at < floor) throw new UsageError(`--initrd: ${c.initrd ?? ''} (${img.size} bytes) does not fit into ${Math.floor(c.ramBytes / 1048576)}M of memory (--memory)`);
  putFile(c, at, img, 0, 'the initrd');
  return at;
}

/** Zero-terminated command line, at a given address or where there is room. @returns its address. */
export function putCmdline(c: LoadContext, text: string, at?: number): number {
  const bytes = Buffer.from(`${text}\0`);
  const pa = at ?? placeLow(c, bytes.length, 'the command line');
  put(c, pa, bytes, 'the command line');
  return pa;
}
