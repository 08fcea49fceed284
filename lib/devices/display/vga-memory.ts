/**
 * The window to display memory at A0000h..BFFFFh. IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem": video
 * memory organization, sequencer memory mode register, graphics controller.
 *
 * Byte p of the 32-bit word at index a of display memory is plane p at address a. Chain-4 is stored so that what the CPU
 * sees as consecutive bytes is consecutive: plane (A & 3) at address A >> 2, where IBM's VGA has address A & ~3. The CRTC's
 * doubleword mode, which chain-4 goes with, undoes either; only a guest that fills memory in one way and shows it in the
 * other could see a difference.
 */
import { ByteIo } from '../byte-io.js';
import type { VgaState } from './vga-state.js';
import { Gc, GcMisc, GcMode, MemoryMode, Misc, Seq, VGA_MEMORY_BYTES, VGA_PLANE } from './vga.spec.js';

/** Four bits to four bytes of ones and zeros. */
export const EXPAND: Int32Array = Int32Array.from({ length: 16 }, (_, v) => (v & 1 ? 0xff : 0) | (v & 2 ? 0xff00 : 0) | (v & 4 ? 0xff_0000 : 0) | (v & 8 ? 0xff00_0000 : 0));

const BYTES = 0x0101_0101;
/** Start and size of the window within the 128 KiB, by memory map select. */
const MAP_BASE = [0, 0, 0x1_0000, 0x1_8000];
const MAP_SIZE = [0x2_0000, 0x1_0000, 0x8000, 0x8000];

export class VgaMemory extends ByteIo {
  /** Nothing happens but in memory; what reads change comes with the reads. */
  readonly posted = true;
  s: VgaState;
  /** Memory as bytes, for a packed-pixel window: byte offset of the 64 KiB shown at A0000h, or -1: VGA addressing. */
  packedAt = -1;
  /** Extra plane address for planar access. */
  planarAt = 0;
  private readonly words: Int32Array;
  private readonly wordMask: number;

  /** @param vram power of two, at least 256 KiB, 4-byte aligned. */
  constructor(
    readonly vram: Uint8Array,
    state: VgaState,
  ) {
    super(VGA_MEMORY_BYTES);
    this.s = state;
    this.words = new Int32Array(vram.buffer, vram.byteOffset, vram.length / 4);
    this.wordMask = this.words.length - 1;
  }

  /** Address within the selected map, or -1 if this address is not decoded. */
  private decode(offset: number): number {
    const s = this.s;
    if (!(s.misc & Misc.ENABLE_RAM) || !s.enable) return -1;
    const map = (s.gc[Gc.MISC]! >> GcMisc.MAP_SHIFT) & 3;
    const a = offset - MAP_BASE[map]!;
    return a >= 0 && a < MAP_SIZE[map]! ? a : -1;
  }

  /** Index of the word that a CPU address names. */
  private word(a: number): number {
    const s = this.s;
    let w: number;
    if (s.seq[Seq.MEMORY_MODE]! & MemoryMode.CHAIN4) w = (a & 0xffff) >> 2;
    // Address bit 0 selects the plane; bit 16 takes its place, which only the 128 KiB map has.
    else if (s.gc[Gc.MISC]! & GcMisc.CHAIN_ODD_EVEN) w = (a & 0xfffe) | (a >> 16);
    else w = a & (VGA_PLANE - 1);
    return (w + this.planarAt) & this.wordMask;
  }

  read8(offset: number): number {
    const a = this.decode(offset);
    if (a < 0) return 0xff;
    if (this.packedAt >= 0) return this.vram[(this.packedAt + (a & 0xffff)) & (this.vram.length - 1)]!;
    const s = this.s;
    const gc = s.gc;
    const latch = (s.latch = this.words[this.word(a)]!);
    const mode = gc[Gc.MODE]!;
    if (mode & GcMode.READ_COMPARE) {
      const differ = (latch ^ EXPAND[gc[Gc.COLOR_COMPARE]!]!) & EXPAND[gc[Gc.COLOR_DONT_CARE]!]!;
      return ~(differ | (differ >>> 8) | (differ >>> 16) | (differ >>> 24)) & 0xff;
    }
    let plane = gc[Gc.READ_MAP]!;
    if (s.seq[Seq.MEMORY_MODE]! & MemoryMode.CHAIN4) plane = a & 3;
    else if (mode & GcMode.ODD_EVEN) plane = (plane & 2) | (a & 1);
    return (latch >>> (plane * 8)) & 0xff;
  }

  write8(offset: number, value: number): void {
    const a = this.decode(offset);
    if (a < 0) return;
    if (this.packedAt >= 0) {
      this.vram[(this.packedAt + (a & 0xffff)) & (this.vram.length - 1)] = value;
      return;
    }
    const s = this.s;
    const memory = s.seq[Seq.MEMORY_MODE]!;
    let planes = s.seq[Seq.MAP_MASK]!;
    if (memory & MemoryMode.CHAIN4) planes &= 1 << (a & 3);
    else if (!(memory & MemoryMode.SEQUENTIAL)) planes &= a & 1 ? 0xa : 0x5;
    if (planes === 0) return;
    const at = this.word(a);
    const mask = EXPAND[planes]!;
    this.words[at] = (this.words[at]! & ~mask) | (this.combine(value) & mask);
  }

  /** What the graphics controller puts out for a byte from the CPU: all four planes. */
  private combine(value: number): number {
    const { gc, latch } = this.s;
    const mode = gc[Gc.MODE]! & GcMode.WRITE_MODE;
    if (mode === 1) return latch;
    const turn = gc[Gc.ROTATE]! & 7;
    let bits = gc[Gc.BIT_MASK]!;
    let data: number;
    if (mode === 2) {
      data = EXPAND[value & 15]!;
    } else {
      const rotated = ((value >> turn) | (value << (8 - turn))) & 0xff;
      if (mode === 3) {
        bits &= rotated;
        data = EXPAND[gc[Gc.SET_RESET]!]!;
      } else {
        const set = EXPAND[gc[Gc.ENABLE_SET_RESET]!]!;
        data = (Math.imul(rotated, BYTES) & ~set) | (EXPAND[gc[Gc.SET_RESET]!]! & set);
      }
    }
    switch (gc[Gc.ROTATE]! >> 3) {
      case 1:
        data &= latch;
        break;
      case 2:
        data |= latch;
        break;
      case 3:
        data ^= latch;
        break;
    }
    const keep = Math.imul(bits, BYTES);
    return (data & keep) | (latch & ~keep);
  }
}
