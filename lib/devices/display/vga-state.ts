/** The registers of a VGA, and what follows from them for display timing. */
import { bool, bytes, int, time, u8, type Schema } from '../saved.js';
import { Clocking, Crtc, Misc, MaxScan, Overflow, Seq } from './vga.spec.js';

export interface VgaState {
  misc: number;
  feature: number;
  /** Port 3C3h. */
  enable: number;
  seqIndex: number;
  seq: Uint8Array;
  gcIndex: number;
  gc: Uint8Array;
  crtcIndex: number;
  crtc: Uint8Array;
  /** With the palette source bit. */
  attrIndex: number;
  /** The next write to 3C0h is data. */
  attrData: boolean;
  attr: Uint8Array;
  dac: Uint8Array;
  dacMask: number;
  dacReadIndex: number;
  dacWriteIndex: number;
  /** 0: last set for writing, 3: for reading. */
  dacState: number;
  /** Component (red, green, blue) that is next. */
  dacPart: number;
  /** Components written so far: the colour changes with the third. */
  dacLatch: Uint8Array;
  /** The four planes' latches; plane 0 is the low byte. */
  latch: number;
  /** When the retrace interrupt was last cleared. */
  clearedAt: number;
}

export const VGA_SCHEMA: Schema<VgaState> = {
  misc: u8,
  feature: u8,
  enable: int(0, 1),
  seqIndex: u8,
  seq: bytes(5),
  gcIndex: u8,
  gc: bytes(9),
  crtcIndex: u8,
  crtc: bytes(Crtc.COUNT),
  attrIndex: int(0, 0x3f),
  attrData: bool,
  attr: bytes(0x15),
  dac: bytes(768),
  dacMask: u8,
  dacReadIndex: u8,
  dacWriteIndex: u8,
  dacState: int(0, 3),
  dacPart: int(0, 2),
  dacLatch: bytes(3),
  latch: int(-0x8000_0000, 0x7fff_ffff),
  clearedAt: time,
};

export function initialVga(): VgaState {
  return {
    misc: 0,
    feature: 0,
    enable: 1,
    seqIndex: 0,
    seq: new Uint8Array(5),
    gcIndex: 0,
    gc: new Uint8Array(9),
    crtcIndex: 0,
    crtc: new Uint8Array(Crtc.COUNT),
    attrIndex: 0,
    attrData: false,
    attr: new Uint8Array(0x15),
    dac: new Uint8Array(768),
    dacMask: 0xff,
    dacReadIndex: 0,
    dacWriteIndex: 0,
    dacState: 0,
    dacPart: 0,
    dacLatch: new Uint8Array(3),
    latch: 0,
    clearedAt: 0,
  };
}

/** Value of a vertical register with its high bits in OVERFLOW. */
function vertical(c: Uint8Array, reg: Crtc, bit8: Overflow, bit9: number): number {
  return c[reg]! | (c[Crtc.OVERFLOW]! & bit8 ? 0x100 : 0) | (bit9 ? 0x200 : 0);
}

export function verticalDisplayLines(c: Uint8Array): number {
  return vertical(c, Crtc.V_DISPLAY_END, Overflow.V_DISPLAY_END_8, c[Crtc.OVERFLOW]! & Overflow.V_DISPLAY_END_9) + 1;
}

export function lineCompare(c: Uint8Array): number {
  return vertical(c, Crtc.LINE_COMPARE, Overflow.LINE_COMPARE_8, c[Crtc.MAX_SCAN]! & MaxScan.LINE_COMPARE_9);
}

function verticalTotal(c: Uint8Array): number {
  return vertical(c, Crtc.V_TOTAL, Overflow.V_TOTAL_8, c[Crtc.OVERFLOW]! & Overflow.V_TOTAL_9) + 2;
}

function retraceStart(c: Uint8Array): number {
  return vertical(c, Crtc.V_RETRACE_START, Overflow.V_RETRACE_START_8, c[Crtc.OVERFLOW]! & Overflow.V_RETRACE_START_9);
}

const DOT_CLOCK_25 = 25.175e6;
const DOT_CLOCK_28 = 28.322e6;

/** Where the beam is, as a function of time: nothing ticks. */
export class VgaTiming {
  /** ns. */
  private line = 31_778;
  private frame = 31_778 * 525;
  private displayedFraction = 0.8;
  private displayed = 480;
  private retraceFrom = 490;
  private retraceTo = 492;

  /** Call when clock or CRTC registers have changed. */
  update(s: VgaState): void {
    const c = s.crtc;
    const dot = (s.misc & Misc.CLOCK_MASK) === Misc.CLOCK_28 ? DOT_CLOCK_28 : DOT_CLOCK_25;
    const clocking = s.seq[Seq.CLOCKING]!;
    const dots = (clocking & Clocking.DOTS_8 ? 8 : 9) * (clocking & Clocking.HALF_DOT_CLOCK ? 2 : 1);
    const chars = c[Crtc.H_TOTAL]! + 5;
    const lines = verticalTotal(c);
    this.line = (chars * dots * 1e9) / dot;
    this.frame = this.line * lines;
    this.displayedFraction = (c[Crtc.H_DISPLAY_END]! + 1) / chars;
    this.displayed = Math.min(verticalDisplayLines(c), lines);
    this.retraceFrom = Math.min(retraceStart(c), lines - 1);
    // The end is given by the low four bits of the line counter.
    this.retraceTo = this.retraceFrom + (((c[Crtc.V_RETRACE_END]! - this.retraceFrom) & 15) || 16);
  }

  frameNumber(now: number): number {
    return Math.floor(now / this.frame);
  }

  /** Vertical retraces begun until now. */
  retraces(now: number): number {
    return Math.floor((now - this.retraceFrom * this.line) / this.frame);
  }

  inVerticalRetrace(now: number): boolean {
    const line = (now % this.frame) / this.line;
    return line >= this.retraceFrom && line < this.retraceTo;
  }

  displaying(now: number): boolean {
    const t = now % this.frame;
    return t / this.line < this.displayed && (t % this.line) / this.line < this.displayedFraction;
  }
}
