/** The display: standard VGA on PCI, with its BIOS as option ROM where that is installed. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STDVGA_VRAM, StdVga, type VgaOptions } from '../../devices/display/stdvga.js';
import { VirtioVga } from '../../devices/display/virtio-vga.js';
import { VirtioGpu } from '../../devices/virtio/gpu.js';
import { fontFromRom, startTextMode } from '../../devices/display/text-mode.js';
import { VGA_MEMORY, VGA_MEMORY_BYTES, VgaPort } from '../../devices/display/vga.spec.js';
import type { Parts } from './parts.js';

/** Folders that hold VGA BIOS images: Debian, other distributions, Homebrew (Apple silicon and Intel). */
const FOLDERS = ['/usr/share/seabios', '/usr/share/seavgabios', '/usr/share/qemu', '/usr/share/qemu-kvm', '/usr/share/vgabios', '/usr/local/share/qemu', '/opt/homebrew/share/qemu', '/opt/local/share/qemu'];
const ROM_NAMES = { std: 'vgabios-stdvga.bin', virtio: 'vgabios-virtio.bin' } as const;
const PAGE = 4096;
const ROM_MAX = 0x2_0000;
/** Ports within 3B0h..3DFh that a VGA has: the printer port of monochrome boards is not among them. */
const PORTS: readonly (readonly [number, number])[] = [[0x3b4, 2], [0x3ba, 1], [0x3c0, 16], [0x3d4, 2], [0x3da, 1]];

function findRom(name: string): Uint8Array | null {
  for (const f of FOLDERS) {
    const file = join(f, name);
    if (!existsSync(file)) continue;
    const rom = readFileSync(file);
    if (rom.length > 0 && rom.length <= ROM_MAX) return rom;
  }
  return null;
}

export interface Display {
  /** Does what firmware would have done: 80 by 25 text. */
  startText(): void;
}

/** Adds what `--vga` names. @returns null for none. */
export function addDisplay(p: Parts, slot: number): Display | null {
  const kind = p.host.config.vga;
  if (kind === 'none') return null;
  const m = p.memory;
  const at = p.host.extraRam(STDVGA_VRAM);
  const rom = findRom(ROM_NAMES[kind]);
  const options: VgaOptions = {
    clock: p.host.clock,
    vram: m.ram8.subarray(at, at + STDVGA_VRAM),
    mapVram: (pa) => m.mapBarRam(pa, STDVGA_VRAM, at),
    rom: rom === null ? undefined : placeRom(p, rom),
  };
  const { core } = kind === 'virtio' ? addVirtioVga(p, slot, options) : p.addPci(new StdVga(p.pciHost, slot, options));
  for (const [port, length] of PORTS) {
    const first = port - VgaPort.BASE;
    const { ports } = core.vga;
    m.mapPorts(port, length, { read: (o, size) => ports.read(first + o, size), write: (o, size, v) => ports.write(first + o, size, v) });
  }
  m.mapPorts(0x1ce, 3, core.vbe.ports);
  m.mapMmio(VGA_MEMORY, VGA_MEMORY_BYTES, core.vga.memory);
  p.vga = core.renderer;
  const font = rom === null ? null : fontFromRom(rom);
  return { startText: () => startTextMode(core.vga, font) };
}

function addVirtioVga(p: Parts, slot: number, o: VgaOptions): VirtioVga {
  const gpu = new VirtioGpu(0x0300);
  p.pictures.push(gpu);
  return p.addPci(new VirtioVga(p.pciHost, slot, p.memory, gpu, (s) => p.host.log(s), o));
}

function placeRom(p: Parts, rom: Uint8Array): { bytes: number; map: (pa: number) => () => void } {
  let bytes = PAGE;
  while (bytes < rom.length) bytes *= 2;
  const at = p.host.extraRam(bytes);
  p.memory.ram8.fill(0xff, at, at + bytes).set(rom, at);
  return { bytes, map: (pa) => p.memory.mapBarRam(pa, bytes, at, true) };
}
