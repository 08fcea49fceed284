/** The display: standard VGA on PCI, with its BIOS as option ROM where that is installed. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STDVGA_VRAM, StdVga } from '../../devices/display/stdvga.js';
import { fontFromRom, startTextMode } from '../../devices/display/text-mode.js';
import { VGA_MEMORY, VGA_MEMORY_BYTES, VgaPort } from '../../devices/display/vga.spec.js';
import type { Parts } from './parts.js';

/** Folders that hold VGA BIOS images: Debian, other distributions, Homebrew (Apple silicon and Intel). */
const FOLDERS = ['/usr/share/seabios', '/usr/share/seavgabios', '/usr/share/qemu', '/usr/share/qemu-kvm', '/usr/share/vgabios', '/usr/local/share/qemu', '/opt/homebrew/share/qemu', '/opt/local/share/qemu'];
const ROM_NAME = 'vgabios-stdvga.bin';
const PAGE = 4096;
const ROM_MAX = 0x2_0000;
/** Ports within 3B0h..3DFh that a VGA has: the printer port of monochrome boards is not among them. */
const PORTS: readonly (readonly [number, number])[] = [[0x3b4, 2], [0x3ba, 1], [0x3c0, 16], [0x3d4, 2], [0x3da, 1]];

function findRom(): Uint8Array | null {
  for (const f of FOLDERS) {
    const file = join(f, ROM_NAME);
    if (!existsSync(file)) continue;
    const rom = readFileSync(file);
    if (rom.length > 0 && rom.length <= ROM_MAX) return rom;
  }
  return null;
}

export interface Display {
  readonly device: StdVga;
  /** Does what firmware would have done: 80 by 25 text. */
  startText(): void;
}

/** Adds what `--vga` names. @returns null for none. */
export function addDisplay(p: Parts, slot: number): Display | null {
  if (p.host.config.vga === 'none') return null;
  const m = p.memory;
  const at = p.host.extraRam(STDVGA_VRAM);
  const rom = findRom();
  const device = p.addPci(
    new StdVga(p.pciHost, slot, {
      clock: p.host.clock,
      vram: m.ram8.subarray(at, at + STDVGA_VRAM),
      mapVram: (pa) => m.mapBarRam(pa, STDVGA_VRAM, at),
      rom: rom === null ? undefined : placeRom(p, rom),
    }),
  );
  for (const [port, length] of PORTS) {
    const first = port - VgaPort.BASE;
    const { ports } = device.vga;
    m.mapPorts(port, length, { read: (o, size) => ports.read(first + o, size), write: (o, size, v) => ports.write(first + o, size, v) });
  }
  m.mapPorts(0x1ce, 3, device.vbe.ports);
  m.mapMmio(VGA_MEMORY, VGA_MEMORY_BYTES, device.vga.memory);
  p.screen = device.renderer;
  const font = rom === null ? null : fontFromRom(rom);
  return { device, startText: () => startTextMode(device.vga, font) };
}

function placeRom(p: Parts, rom: Uint8Array): { bytes: number; map: (pa: number) => () => void } {
  let bytes = PAGE;
  while (bytes < rom.length) bytes *= 2;
  const at = p.host.extraRam(bytes);
  p.memory.ram8.fill(0xff, at, at + bytes).set(rom, at);
  return { bytes, map: (pa) => p.memory.mapBarRam(pa, bytes, at, true) };
}
