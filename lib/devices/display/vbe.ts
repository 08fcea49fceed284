/**
 * Bochs VBE display interface ("Bochs VBE display API", interface version B0C5h, and QEMU's docs/specs/standard-vga): sixteen-bit
 * registers behind ports 1CEh (index) and 1CFh (data), or in a memory window.
 */
import type { Device, IoHandler, SavedState } from '../device.js';
import { array, int, loadState, saveState, u16, type Schema } from '../saved.js';
import type { Vga } from './vga.js';

const VERSION = 1;

export const enum Dispi {
  ID = 0,
  XRES = 1,
  YRES = 2,
  BPP = 3,
  ENABLE = 4,
  BANK = 5,
  VIRT_WIDTH = 6,
  VIRT_HEIGHT = 7,
  X_OFFSET = 8,
  Y_OFFSET = 9,
  MEMORY_64K = 10,
  COUNT = 11,
}

export const enum DispiEnable {
  ENABLED = 0x01,
  GET_CAPS = 0x02,
  DAC_8BIT = 0x20,
  LFB = 0x40,
  NO_CLEAR = 0x80,
}

const ID_FIRST = 0xb0c0;
const ID_LAST = 0xb0c5;
const MAX_XRES = 2560;
const MAX_YRES = 1600;
const MAX_BPP = 32;
const DEPTHS = new Set([4, 8, 15, 16, 24, 32]);

/** What is shown while the extension is enabled. */
export interface VbeMode {
  width: number;
  height: number;
  bpp: number;
  /** Pixels from one row to the next. */
  virtualWidth: number;
  /** Upper left corner of the picture. */
  x: number;
  y: number;
}

interface State {
  index: number;
  regs: number[];
}

const SCHEMA: Schema<State> = { index: u16, regs: array(Dispi.COUNT, int(0, 0xffff)) };

function initial(): State {
  const regs = new Array<number>(Dispi.COUNT).fill(0);
  regs[Dispi.ID] = ID_LAST;
  regs[Dispi.BPP] = 8;
  return { index: 0, regs };
}

export class BochsVbe implements Device {
  readonly name = 'bochs-vbe';
  /** Ports 1CEh..1D0h: the data register answers at both addresses after the index. */
  readonly ports: IoHandler;
  /** The registers as an array of 16-bit words. */
  readonly mmio: IoHandler;

  private s = initial();

  constructor(private readonly vga: Vga) {
    this.ports = {
      read: (o, size) => narrow(o === 0 ? this.s.index : this.read(this.s.index), size),
      write: (o, _size, v) => {
        if (o === 0) this.s.index = v & 0xffff;
        else this.write(this.s.index, v & 0xffff);
      },
    };
    this.mmio = {
      read: (o, size) => {
        const low = this.read(o >> 1) >> ((o & 1) * 8);
        return narrow(size === 4 ? (low | (this.read((o >> 1) + 1) << 16)) >>> 0 : low, size);
      },
      // The registers are words; bytes go nowhere.
      write: (o, size, v) => {
        if (o & 1 || size === 1) return;
        this.write(o >> 1, v & 0xffff);
        if (size === 4) this.write((o >> 1) + 1, v >>> 16);
      },
    };
  }

  reset(): void {
    this.s = initial();
    this.apply();
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    const s = loadState(this.name, SCHEMA, VERSION, saved);
    this.s = s;
    // A state nobody could have programmed is as good as off.
    if (this.enabled && !this.valid()) s.regs[Dispi.ENABLE] = s.regs[Dispi.ENABLE]! & ~DispiEnable.ENABLED;
    if (this.enabled) this.fit();
    this.apply();
  }

  private get enabled(): boolean {
    return (this.s.regs[Dispi.ENABLE]! & DispiEnable.ENABLED) !== 0;
  }

  /** The mode, or null while the extension is off. */
  current(): VbeMode | null {
    if (!this.enabled) return null;
    const r = this.s.regs;
    return { width: r[Dispi.XRES]!, height: r[Dispi.YRES]!, bpp: r[Dispi.BPP]!, virtualWidth: r[Dispi.VIRT_WIDTH]!, x: r[Dispi.X_OFFSET]!, y: r[Dispi.Y_OFFSET]! };
  }

  read(index: number): number {
    const r = this.s.regs;
    const caps = (r[Dispi.ENABLE]! & DispiEnable.GET_CAPS) !== 0;
    switch (index as Dispi) {
      case Dispi.XRES:
        return caps ? MAX_XRES : r[index]!;
      case Dispi.YRES:
        return caps ? MAX_YRES : r[index]!;
      case Dispi.BPP:
        return caps ? MAX_BPP : r[index]!;
      case Dispi.MEMORY_64K:
        return this.vga.o.vram.length / 0x1_0000;
      default:
        return r[index] ?? 0xffff;
    }
  }

  write(index: number, v: number): void {
    const r = this.s.regs;
    switch (index as Dispi) {
      case Dispi.ID:
        if (v >= ID_FIRST && v <= ID_LAST) r[index] = v;
        break;
      case Dispi.XRES:
        if (!this.enabled && v <= MAX_XRES) r[index] = v;
        break;
      case Dispi.YRES:
        if (!this.enabled && v <= MAX_YRES) r[index] = v;
        break;
      case Dispi.BPP:
        if (!this.enabled && (v === 0 || DEPTHS.has(v))) r[index] = v === 0 ? 8 : v;
        break;
      case Dispi.ENABLE:
        this.enable(v);
        break;
      case Dispi.BANK:
        if (v * 0x1_0000 < this.bankable()) r[index] = v;
        this.apply();
        break;
      case Dispi.VIRT_WIDTH:
      case Dispi.X_OFFSET:
      case Dispi.Y_OFFSET:
        r[index] = v;
        if (this.enabled) this.fit();
        break;
    }
  }

  /** Bytes reachable through the window at A0000h: each plane has its own addresses. */
  private bankable(): number {
    return this.s.regs[Dispi.BPP] === 4 ? this.vga.o.vram.length / 4 : this.vga.o.vram.length;
  }

  /** Bytes of memory (in four planes: of all) that a row of `pixels` takes. */
  private rowBytes(pixels: number): number {
    const bpp = this.s.regs[Dispi.BPP]!;
    return bpp === 4 ? Math.floor(pixels / 8) * 4 : pixels * ((bpp + 7) >> 3);
  }

  private valid(): boolean {
    const r = this.s.regs;
    const x = r[Dispi.XRES]!;
    const y = r[Dispi.YRES]!;
    return x >= 8 && x <= MAX_XRES && y > 0 && y <= MAX_YRES && DEPTHS.has(r[Dispi.BPP]!) && this.rowBytes((x + 7) & ~7) * y <= this.vga.o.vram.length;
  }

  private enable(v: number): void {
    const r = this.s.regs;
    const was = this.enabled;
    r[Dispi.ENABLE] = v & (DispiEnable.ENABLED | DispiEnable.GET_CAPS | DispiEnable.DAC_8BIT | DispiEnable.LFB | DispiEnable.NO_CLEAR);
    if (this.enabled && !was) {
      if (this.valid()) {
        r[Dispi.VIRT_WIDTH] = r[Dispi.XRES]!;
        r[Dispi.X_OFFSET] = r[Dispi.Y_OFFSET] = 0;
        this.fit();
        if (!(v & DispiEnable.NO_CLEAR)) this.vga.o.vram.fill(0, 0, this.rowBytes(r[Dispi.VIRT_WIDTH]!) * r[Dispi.YRES]!);
      } else {
        r[Dispi.ENABLE] = r[Dispi.ENABLE]! & ~DispiEnable.ENABLED;
      }
    }
    if (this.enabled !== was) r[Dispi.BANK] = 0;
    this.apply();
  }

  /** Makes virtual size and offsets agree with the mode and with memory. */
  private fit(): void {
    const r = this.s.regs;
    const yres = r[Dispi.YRES]!;
    const vram = this.vga.o.vram.length;
    // A row in planes is whole bytes.
    const unit = r[Dispi.BPP] === 4 ? 7 : 0;
    const least = (r[Dispi.XRES]! + unit) & ~unit;
    let width = Math.max(Math.min((r[Dispi.VIRT_WIDTH]! + unit) & ~unit, 0xffff & ~unit), least);
    const bytes = this.rowBytes(width) * yres;
    if (bytes > vram) width = Math.max(least, Math.floor((width * vram) / bytes) & ~7);
    r[Dispi.VIRT_WIDTH] = width;
    const height = Math.min(0xffff, Math.floor(vram / this.rowBytes(width)));
    r[Dispi.VIRT_HEIGHT] = height;
    r[Dispi.X_OFFSET] = Math.min(r[Dispi.X_OFFSET]!, width - r[Dispi.XRES]!);
    r[Dispi.Y_OFFSET] = Math.min(r[Dispi.Y_OFFSET]!, height - yres);
  }

  /** Tells the VGA core how its window and its DAC work now. */
  private apply(): void {
    const r = this.s.regs;
    const at = r[Dispi.BANK]! * 0x1_0000;
    const planar = r[Dispi.BPP] === 4;
    this.vga.memory.packedAt = this.enabled && !planar ? at : -1;
    this.vga.memory.planarAt = this.enabled && planar ? at : 0;
    this.vga.dac8 = (r[Dispi.ENABLE]! & DispiEnable.DAC_8BIT) !== 0;
  }
}

function narrow(v: number, size: number): number {
  return size === 1 ? v & 0xff : size === 2 ? v & 0xffff : v;
}
