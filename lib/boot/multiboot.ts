/** Multiboot Specification 0.6.96 (multiboot 1): ELF and address-field ("a.out kludge") images, one module (the initrd). */
import type { CpuStart } from '../boards/board.js';
import { UsageError } from '../errors.js';
import { memoryMap } from './e820.js';
import { loadSegments, parseElf } from './elf.js';
import { flatStart, type LoadContext, placeInitrd, placeLow, put, putCmdline } from './loader.js';

const MAGIC = 0x1bad_b002;
const SEARCH = 8192;
const ADDRESS_FIELDS = 1 << 16;

function findHeader(k: Buffer): number {
  for (let p = 0; p + 12 <= Math.min(k.length, SEARCH); p += 4) {
    if (k.readUInt32LE(p) === MAGIC && ((k.readUInt32LE(p) + k.readUInt32LE(p + 4) + k.readUInt32LE(p + 8)) >>> 0) === 0) return p;
  }
  return -1;
}

export function isMultiboot(k: Buffer): boolean {
  return findHeader(k) >= 0;
}

export function loadMultiboot(c: LoadContext): CpuStart {
  const k = c.image;
  const h = findHeader(k);
  let entry: number;
  let end: number;
  if (k.readUInt32LE(h + 4) & ADDRESS_FIELDS) {
    if (h + 32 > k.length) throw new UsageError(`--kernel: ${c.kernel}: truncated multiboot header`);
    const [headerAddr, loadAddr, loadEnd, bssEnd] = [12, 16, 20, 24].map((o) => k.readUInt32LE(h + o)) as [number, number, number, number];
    entry = k.readUInt32LE(h + 28);
    const from = h - (headerAddr - loadAddr);
    const size = loadEnd ? loadEnd - loadAddr : k.length - from;
    if (from < 0 || size < 0 || from + size > k.length) throw new UsageError(`--kernel: ${c.kernel}: multiboot address fields do not fit the file`);
    put(c, loadAddr, k.subarray(from, from + size), 'the kernel');
    end = Math.max(loadAddr + size, bssEnd);
    if (bssEnd > loadAddr + size) {
      if (bssEnd > c.ramBytes) throw new UsageError(`--kernel: ${c.kernel} does not fit into memory (--memory)`);
      put(c, loadAddr + size, Buffer.alloc(bssEnd - loadAddr - size), 'the kernel');
    }
  } else {
    const elf = parseElf(k, c.kernel);
    end = loadSegments(c, elf);
    // An entry given as a virtual address is translated through the segment that holds it.
    const seg = elf.load.find((s) => elf.entry >= s.vaddr && elf.entry < s.vaddr + s.memsz);
    entry = seg ? seg.paddr + (elf.entry - seg.vaddr) : elf.entry;
  }
  // The program's own name comes first, as boot loaders do it.
  const cmdline = putCmdline(c, `${c.kernel}${c.append ? ` ${c.append}` : ''}`);
  const initrd = placeInitrd(c, end, 0xc000_0000);
  const info = Buffer.alloc(0x400);
  const at = placeLow(c, info.length, 'the multiboot information');
  const mods = 0x80;
  const mmap = 0x100;
  const name = 0x300;
  let flags = 1 | 4 | 64 | 512;
  info.writeUInt32LE(639, 4);
  info.writeUInt32LE(Math.max(0, (c.ramBytes - 0x10_0000) / 1024), 8);
  info.writeUInt32LE(cmdline, 16);
  if (initrd) {
    flags |= 8;
    info.writeUInt32LE(1, 20);
    info.writeUInt32LE(at + mods, 24);
    info.writeUInt32LE(initrd, mods);
    info.writeUInt32LE(initrd + (c.initrdImage?.size ?? 0), mods + 4);
    info.writeUInt32LE(cmdline, mods + 8);
  }
  const map = memoryMap({ low: c.ramBytes, high: c.highBytes });
  info.writeUInt32LE(map.length * 24, 44);
  info.writeUInt32LE(at + mmap, 48);
  map.forEach((r, i) => {
    info.writeUInt32LE(20, mmap + i * 24);
    info.writeBigUInt64LE(BigInt(r.base), mmap + i * 24 + 4);
    info.writeBigUInt64LE(BigInt(r.length), mmap + i * 24 + 12);
    info.writeUInt32LE(r.type, mmap + i * 24 + 20);
  });
  info.write('vmx-accel\0', name, 'latin1');
  info.writeUInt32LE(at + name, 64);
  info.writeUInt32LE(flags, 0);
  put(c, at, info, 'the multiboot information');
  const start = flatStart(c, 'protected32', entry);
  start.bios = true;
  start.regs = { rax: 0x2bad_b002, rbx: at };
  return start;
}
