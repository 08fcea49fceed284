/** ELF kernels (System V gABI) with a PVH entry note (Xen "x86/HVM direct boot ABI"). */
import type { CpuStart } from '../boards/board.js';
import { UsageError } from '../errors.js';
import { memoryMap } from './e820.js';
import { flatStart, type LoadContext, placeInitrd, placeLow, put, putCmdline } from './loader.js';

export interface Segment {
  offset: number;
  vaddr: number;
  paddr: number;
  filesz: number;
  memsz: number;
}

export interface ElfFile {
  is64: boolean;
  machine: number;
  entry: number;
  /** PT_LOAD segments. */
  load: Segment[];
  /** PT_NOTE segments. */
  notes: Segment[];
}

const PT_LOAD = 1;
const PT_NOTE = 4;
const EM_386 = 3;
const EM_X86_64 = 62;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** Parses the headers. @throws UsageError if the file is damaged. */
export function parseElf(k: Buffer, name: string): ElfFile {
  const bad = (why: string): never => {
    throw new UsageError(`--kernel: ${name}: damaged ELF file (${why})`);
  };
  if (k.length < 52) bad('truncated header');
  const is64 = k[4] === 2;
  if (k[4] !== 1 && k[4] !== 2) bad('unknown class');
  if (k[5] !== 1) throw new UsageError(`--kernel: ${name}: big-endian ELF file`);
  if (is64 && k.length < 64) bad('truncated header');
  const u = (off: number, wide: boolean): number => {
    if (!wide) return k.readUInt32LE(off);
    const v = k.readBigUInt64LE(off);
    return v > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(v);
  };
  const phoff = is64 ? u(32, true) : u(28, false);
  const phentsize = k.readUInt16LE(is64 ? 54 : 42);
  const phnum = k.readUInt16LE(is64 ? 56 : 44);
  if (phentsize < (is64 ? 56 : 32) || phoff + phnum * phentsize > k.length) bad('program headers');
  const elf: ElfFile = { is64, machine: k.readUInt16LE(18), entry: u(24, is64), load: [], notes: [] };
  for (let i = 0; i < phnum; i++) {
    const p = phoff + i * phentsize;
    const type = k.readUInt32LE(p);
    const s: Segment = is64
      ? { offset: u(p + 8, true), vaddr: u(p + 16, true), paddr: u(p + 24, true), filesz: u(p + 32, true), memsz: u(p + 40, true) }
      : { offset: u(p + 4, false), vaddr: u(p + 8, false), paddr: u(p + 12, false), filesz: u(p + 16, false), memsz: u(p + 20, false) };
    if (type !== PT_LOAD && type !== PT_NOTE) continue;
    if (s.offset + s.filesz > k.length) bad('truncated segment');
    (type === PT_LOAD ? elf.load : elf.notes).push(s);
  }
  if (elf.load.length === 0) bad('nothing to load');
  return elf;
}

/** Loads all segments at their physical addresses, BSS zeroed. @returns the first address after them. */
export function loadSegments(c: LoadContext, elf: ElfFile): number {
  let end = 0;
  for (const s of elf.load) {
    if (s.memsz === 0) continue;
    if (s.memsz < s.filesz || s.paddr + s.memsz > c.ramBytes) {
      throw new UsageError(`--kernel: ${c.kernel}: a segment at 0x${s.paddr.toString(16)} does not fit into ${Math.floor(c.ramBytes / 1048576)}M of memory (--memory)`);
    }
    put(c, s.paddr, c.image.subarray(s.offset, s.offset + s.filesz), 'a segment');
    put(c, s.paddr + s.filesz, Buffer.alloc(s.memsz - s.filesz), 'a segment');
    end = Math.max(end, s.paddr + s.memsz);
  }
  return end;
}

function pvhEntry(k: Buffer, elf: ElfFile): number | null {
  for (const n of elf.notes) {
    let p = n.offset;
    const end = n.offset + n.filesz;
    while (p + 12 <= end) {
      const namesz = k.readUInt32LE(p);
      const descsz = k.readUInt32LE(p + 4);
      const type = k.readUInt32LE(p + 8);
      const name = p + 12;
      const desc = name + Math.ceil(namesz / 4) * 4;
      const next = desc + Math.ceil(descsz / 4) * 4;
      if (next > end) break;
      if (type === XEN_ELFNOTE_PHYS32_ENTRY && k.toString('latin1', name, name + 3) === 'Xen' && descsz >= 4) return k.readUInt32LE(desc);
      p = next;
    }
  }
  return null;
}

/** hvm_start_info, version 1 (xen/include/public/arch-x86/hvm/start_info.h). */
export function loadElf(c: LoadContext): CpuStart {
  const elf = parseElf(c.image, c.kernel);
  if (elf.machine !== EM_386 && elf.machine !== EM_X86_64) throw new UsageError(`--kernel: ${c.kernel} is for another architecture (ELF machine ${elf.machine})`);
  const entry = pvhEntry(c.image, elf);
  if (entry === null) throw new UsageError(`--kernel: ${c.kernel} is an ELF file with neither a PVH entry note nor a multiboot header`);
  const end = loadSegments(c, elf);
  const initrd = placeInitrd(c, end, 0xc000_0000);
  const cmdline = putCmdline(c, c.append);
  const map = memoryMap({ low: c.ramBytes, high: c.highBytes });
  const info = Buffer.alloc(0x800);
  const at = placeLow(c, info.length, 'the start information');
  const modlist = 0x80;
  const memmap = 0x100;
  info.writeUInt32LE(0x336e_c578, 0);
  info.writeUInt32LE(1, 4);
  info.writeUInt32LE(initrd ? 1 : 0, 12);
  info.writeUInt32LE(initrd ? at + modlist : 0, 16);
  info.writeUInt32LE(cmdline, 24);
  info.writeUInt32LE(c.rsdp, 32);
  info.writeUInt32LE(at + memmap, 40);
  info.writeUInt32LE(map.length, 48);
  info.writeUInt32LE(initrd, modlist);
  info.writeUInt32LE(c.initrdImage?.size ?? 0, modlist + 8);
  map.forEach((r, i) => {
    info.writeBigUInt64LE(BigInt(r.base), memmap + i * 24);
    info.writeBigUInt64LE(BigInt(r.length), memmap + i * 24 + 8);
    info.writeUInt32LE(r.type, memmap + i * 24 + 16);
  });
  put(c, at, info, 'the start information');
  const start = flatStart(c, 'protected32', entry);
  start.regs = { rbx: at };
  return start;
}
