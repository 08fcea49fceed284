/** Linux/x86 boot protocol (Documentation/arch/x86/boot.rst), 32-bit and 64-bit entry points. */
import type { CpuStart } from '../boards/board.js';
import { UsageError } from '../errors.js';
import { memoryMap } from './e820.js';
import { flatStart, identityPageTables, type LoadContext, Low, placeInitrd, put, putCmdline, putFile } from './loader.js';

/** Offsets in the setup header, as in boot.rst "The Real-Mode Kernel Header". */
const enum Hdr {
  SETUP_SECTS = 0x1f1,
  VID_MODE = 0x1fa,
  JUMP = 0x201,
  VERSION = 0x206,
  TYPE_OF_LOADER = 0x210,
  LOADFLAGS = 0x211,
  CODE32_START = 0x214,
  RAMDISK_IMAGE = 0x218,
  RAMDISK_SIZE = 0x21c,
  HEAP_END_PTR = 0x224,
  CMD_LINE_PTR = 0x228,
  INITRD_ADDR_MAX = 0x22c,
  KERNEL_ALIGNMENT = 0x230,
  RELOCATABLE = 0x234,
  XLOADFLAGS = 0x236,
  CMDLINE_SIZE = 0x238,
  PREF_ADDRESS = 0x258,
  INIT_SIZE = 0x260,
}
/** Offsets in boot_params (zero-page.rst). */
const enum Zp {
  /** screen_info: video mode, columns, EGA memory, lines, is VGA, character height. */
  VIDEO_MODE = 0x006,
  VIDEO_COLS = 0x007,
  VIDEO_EGA_BX = 0x00a,
  VIDEO_LINES = 0x00e,
  VIDEO_IS_VGA = 0x00f,
  VIDEO_POINTS = 0x010,
  ACPI_RSDP = 0x070,
  ALT_MEM_K = 0x1e0,
  E820_ENTRIES = 0x1e8,
  E820_TABLE = 0x2d0,
}
const XLF_KERNEL_64 = 1;
const LOADED_HIGH = 1;
const CAN_USE_HEAP = 0x80;

export function loadBzImage(c: LoadContext): CpuStart {
  const k = c.image;
  if (k.length < 0x268) throw new UsageError(`--kernel: ${c.kernel} is truncated`);
  const version = k.readUInt16LE(Hdr.VERSION);
  if (version < 0x0206 || !(k[Hdr.LOADFLAGS]! & LOADED_HIGH)) {
    throw new UsageError(`--kernel: ${c.kernel} uses boot protocol ${version >> 8}.${String(version & 0xff).padStart(2, '0')}; 2.06 or newer and bzImage format are needed`);
  }
  const setupBytes = ((k[Hdr.SETUP_SECTS] || 4) + 1) * 512;
  const syssize = k.readUInt32LE(0x1f4) * 16;
  if (setupBytes >= c.file.size || c.file.size < setupBytes + syssize - 16) throw new UsageError(`--kernel: ${c.kernel} is truncated (${c.file.size} of ${setupBytes + syssize} bytes)`);
  const payload = c.file.size - setupBytes;

  const relocatable = k[Hdr.RELOCATABLE] !== 0;
  const pref = version >= 0x020a ? k.readUInt32LE(Hdr.PREF_ADDRESS) : 0x10_0000;
  const initSize = version >= 0x020a ? Math.max(k.readUInt32LE(Hdr.INIT_SIZE), payload) : payload * 4;
  const is64 = version >= 0x020c && (k.readUInt16LE(Hdr.XLOADFLAGS) & XLF_KERNEL_64) !== 0;
  let at = relocatable && is64 ? pref : k.readUInt32LE(Hdr.CODE32_START);
  if (at + initSize > c.ramBytes && relocatable) at = Math.max(0x10_0000, k.readUInt32LE(Hdr.KERNEL_ALIGNMENT));
  if (at + initSize > c.ramBytes) {
    throw new UsageError(`--kernel: ${c.kernel} needs ${Math.ceil((at + initSize) / 1048576)}M of memory, the machine has ${Math.floor(c.ramBytes / 1048576)}M (--memory)`);
  }
  const cmdMax = k.readUInt32LE(Hdr.CMDLINE_SIZE);
  if (Buffer.byteLength(c.append) > cmdMax) throw new UsageError(`--append: longer than the ${cmdMax} bytes this kernel takes`);
  putFile(c, at, c.file, setupBytes, 'the kernel');

  const zp = Buffer.alloc(4096);
  const hdrEnd = Math.min(0x202 + k[Hdr.JUMP]!, 0x290);
  k.copy(zp, Hdr.SETUP_SECTS, Hdr.SETUP_SECTS, hdrEnd);
  zp[Hdr.TYPE_OF_LOADER] = 0xff;
  zp[Hdr.LOADFLAGS] = zp[Hdr.LOADFLAGS]! | CAN_USE_HEAP;
  zp.writeUInt16LE(0xfe00, Hdr.HEAP_END_PTR);
  zp.writeUInt16LE(0xffff, Hdr.VID_MODE);
  zp.writeUInt32LE(at, Hdr.CODE32_START);
  zp.writeUInt32LE(Low.CMDLINE, Hdr.CMD_LINE_PTR);
  const initrd = placeInitrd(c, at + initSize, Math.min(k.readUInt32LE(Hdr.INITRD_ADDR_MAX) + 1, 0xc000_0000));
  zp.writeUInt32LE(initrd, Hdr.RAMDISK_IMAGE);
  zp.writeUInt32LE(c.initrdImage?.size ?? 0, Hdr.RAMDISK_SIZE);
  zp.writeUInt32LE(c.rsdp, Zp.ACPI_RSDP);
  zp.writeUInt32LE(Math.max(0, (c.ramBytes - 0x10_0000) / 1024), Zp.ALT_MEM_K);
  if (c.textMode) {
    zp[Zp.VIDEO_MODE] = 3;
    zp[Zp.VIDEO_COLS] = 80;
    zp[Zp.VIDEO_EGA_BX] = 3;
    zp[Zp.VIDEO_LINES] = 25;
    zp[Zp.VIDEO_IS_VGA] = 1;
    zp[Zp.VIDEO_POINTS] = 16;
  }
  const map = memoryMap({ low: c.ramBytes, high: c.highBytes });
  zp[Zp.E820_ENTRIES] = map.length;
  map.forEach((r, i) => {
    zp.writeDoubleLE(0, Zp.E820_TABLE + i * 20);
    zp.writeBigUInt64LE(BigInt(r.base), Zp.E820_TABLE + i * 20);
    zp.writeBigUInt64LE(BigInt(r.length), Zp.E820_TABLE + i * 20 + 8);
    zp.writeUInt32LE(r.type, Zp.E820_TABLE + i * 20 + 16);
  });
  put(c, Low.INFO, zp, 'the boot parameters');
  putCmdline(c, c.append, Low.CMDLINE);

  const start = flatStart(c, is64 ? 'long64' : 'protected32', is64 ? at + 0x200 : at);
  start.regs = { rsi: Low.INFO };
  if (is64) start.cr3 = identityPageTables(c);
  return start;
}
