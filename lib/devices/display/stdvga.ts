/**
 * The standard VGA board of virtual machines, 1234:1111 ("QEMU Standard VGA", docs/specs/standard-vga; Bochs VBE display API): VGA
 * with the Bochs VBE extension on PCI. BAR 0 is display memory; BAR 2 has registers: EDID at 0, VGA ports 3C0h..3DFh at 400h,
 * DISPI registers at 500h, byte order at 600h. Guest drivers: vgacon, bochs-drm, vesafb, simplefb.
 */
import type { SavedState, DeviceClock, IoHandler } from '../device.js';
import { PciFunction, type BarMapper, type PciHost } from '../pci/pci.js';
import { buildEdid } from './edid.js';
import { BochsVbe } from './vbe.js';
import { VgaRenderer } from './vga-render.js';
import { Vga } from './vga.js';
import { VgaPort } from './vga.spec.js';

export const STDVGA_VRAM = 16 * 1024 * 1024;

const enum Mmio {
  EDID_END = 0x80,
  VGA = 0x400,
  VGA_END = 0x420,
  DISPI = 0x500,
  DISPI_END = 0x516,
  EXTENDED = 0x600,
  EXTENDED_END = 0x608,
  SIZE = 0x1000,
}

/** What the register at 604h reads as while words are little-endian. */
const LITTLE_ENDIAN = 0x1e1e_1e1e;

export interface VgaOptions {
  clock: DeviceClock;
  /** Display memory, STDVGA_VRAM bytes, and how BAR 0 shows it. */
  vram: Uint8Array;
  mapVram: BarMapper;
  /** Size of the option ROM (a power of two) and how it is shown. */
  rom?: { bytes: number; map: BarMapper };
}

/** What every PCI board with a VGA of this kind has behind its BARs 0 and 2. */
export class VgaCore {
  readonly vga: Vga;
  readonly vbe: BochsVbe;
  readonly renderer: VgaRenderer;
  private readonly edid = buildEdid('vmx-accel');
  /** The register window of BAR 2. */
  readonly registers: IoHandler = { read: (at, size) => this.readMmio(at, size), write: (at, size, v) => this.writeMmio(at, size, v) };
  readonly registerBytes: number = Mmio.SIZE;

  constructor(o: VgaOptions) {
    this.vga = new Vga({ clock: o.clock, vram: o.vram });
    this.vbe = new BochsVbe(this.vga);
    this.renderer = new VgaRenderer(this.vga, this.vbe);
  }

  private readMmio(at: number, size: number): number {
    if (at >= Mmio.VGA && at + size <= Mmio.VGA_END) return this.vga.ports.read(at - Mmio.VGA + VgaPort.ATTR, size);
    if (at >= Mmio.DISPI && at + size <= Mmio.DISPI_END) return this.vbe.mmio.read(at - Mmio.DISPI, size);
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.fixed(at + i);
    return v;
  }

  /** Registers that only read. */
  private fixed(at: number): number {
    if (at < Mmio.EDID_END) return this.edid[at]!;
    if (at < Mmio.EXTENDED || at >= Mmio.EXTENDED_END) return at < Mmio.VGA ? 0 : 0xff;
    const o = at - Mmio.EXTENDED;
    return o === 0 ? Mmio.EXTENDED_END - Mmio.EXTENDED : o < 4 ? 0 : (LITTLE_ENDIAN >>> ((o - 4) * 8)) & 0xff;
  }

  private writeMmio(at: number, size: number, v: number): void {
    if (at >= Mmio.VGA && at + size <= Mmio.VGA_END) this.vga.ports.write(at - Mmio.VGA + VgaPort.ATTR, size, v);
    else if (at >= Mmio.DISPI && at + size <= Mmio.DISPI_END) this.vbe.mmio.write(at - Mmio.DISPI, size, v);
  }

  reset(): void {
    this.vga.reset();
    this.vbe.reset();
  }

  save(): { vga: SavedState; vbe: SavedState } {
    return { vga: this.vga.save(), vbe: this.vbe.save() };
  }

  load(s: SavedState): void {
    this.vga.restore(s.vga as SavedState);
    this.vbe.restore(s.vbe as SavedState);
  }
}

/** A PCI board that has a VGA core. */
export interface VgaBoard {
  readonly core: VgaCore;
}

export class StdVga extends PciFunction implements VgaBoard {
  readonly core: VgaCore;

  constructor(host: PciHost, slot: number, o: VgaOptions) {
    super('stdvga', host, slot << 3, { vendor: 0x1234, device: 0x1111, class: 0x0300, revision: 2, subsysVendor: 0x1af4, subsys: 0x1100 });
    this.core = new VgaCore(o);
    this.addMemoryBar(0, o.vram.length, o.mapVram);
    this.addBar(2, 'mem', this.core.registerBytes, this.core.registers);
    if (o.rom) this.addRom(o.rom.bytes, o.rom.map);
    this.sealConfig();
  }

  override reset(): void {
    super.reset();
    this.core.reset();
  }

  override save(): SavedState {
    return { ...super.save(), ...this.core.save() };
  }

  protected override load(s: SavedState): void {
    super.load(s);
    this.core.load(s);
  }
}
