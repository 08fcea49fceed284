/**
 * VGA registers. IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem" (VGA function): ports, indexed register
 * sets and their bits.
 */

/** Offsets from 3B0h in the window of ports 3B0h..3DFh. Those at 3Dxh are at 3Bxh while MISC.COLOR is 0. */
export const enum VgaPort {
  BASE = 0x3b0,
  LENGTH = 0x30,
  MONO_CRTC_INDEX = 0x04,
  MONO_CRTC_DATA = 0x05,
  MONO_STATUS1 = 0x0a,
  ATTR = 0x10,
  ATTR_READ = 0x11,
  /** Write: miscellaneous output; read: input status 0. */
  MISC = 0x12,
  ENABLE = 0x13,
  SEQ_INDEX = 0x14,
  SEQ_DATA = 0x15,
  DAC_MASK = 0x16,
  /** Write: index to read from; read: state. */
  DAC_READ = 0x17,
  DAC_WRITE = 0x18,
  DAC_DATA = 0x19,
  FEATURE_READ = 0x1a,
  MISC_READ = 0x1c,
  GC_INDEX = 0x1e,
  GC_DATA = 0x1f,
  CRTC_INDEX = 0x24,
  CRTC_DATA = 0x25,
  /** Read: input status 1; write: feature control. */
  STATUS1 = 0x2a,
}

export const enum Misc {
  COLOR = 0x01,
  ENABLE_RAM = 0x02,
  CLOCK_MASK = 0x0c,
  CLOCK_28 = 0x04,
}

export const enum Status1 {
  DISPLAY_OFF = 0x01,
  VERTICAL_RETRACE = 0x08,
}

/** Input status 0. */
export const enum Status0 {
  SWITCH_SENSE = 0x10,
  INTERRUPT = 0x80,
}

export const enum Seq {
  RESET = 0,
  CLOCKING = 1,
  MAP_MASK = 2,
  CHAR_MAP = 3,
  MEMORY_MODE = 4,
}

export const enum Clocking {
  DOTS_8 = 0x01,
  HALF_DOT_CLOCK = 0x08,
  SCREEN_OFF = 0x20,
}

export const enum MemoryMode {
  EXTENDED = 0x02,
  /** Writes go to the planes of the map mask whatever the address; if clear, even addresses to 0 and 2, odd to 1 and 3. */
  SEQUENTIAL = 0x04,
  CHAIN4 = 0x08,
}

/** Graphics controller. */
export const enum Gc {
  SET_RESET = 0,
  ENABLE_SET_RESET = 1,
  COLOR_COMPARE = 2,
  ROTATE = 3,
  READ_MAP = 4,
  MODE = 5,
  MISC = 6,
  COLOR_DONT_CARE = 7,
  BIT_MASK = 8,
}

export const enum GcMode {
  WRITE_MODE = 0x03,
  READ_COMPARE = 0x08,
  ODD_EVEN = 0x10,
  SHIFT_INTERLEAVE = 0x20,
  SHIFT_256 = 0x40,
}

export const enum GcMisc {
  GRAPHICS = 0x01,
  CHAIN_ODD_EVEN = 0x02,
  MAP_SHIFT = 2,
}

export const enum Crtc {
  H_TOTAL = 0x00,
  H_DISPLAY_END = 0x01,
  H_BLANK_START = 0x02,
  H_BLANK_END = 0x03,
  H_RETRACE_START = 0x04,
  H_RETRACE_END = 0x05,
  V_TOTAL = 0x06,
  OVERFLOW = 0x07,
  PRESET_ROW = 0x08,
  MAX_SCAN = 0x09,
  CURSOR_START = 0x0a,
  CURSOR_END = 0x0b,
  START_HIGH = 0x0c,
  START_LOW = 0x0d,
  CURSOR_HIGH = 0x0e,
  CURSOR_LOW = 0x0f,
  V_RETRACE_START = 0x10,
  V_RETRACE_END = 0x11,
  V_DISPLAY_END = 0x12,
  OFFSET = 0x13,
  UNDERLINE = 0x14,
  V_BLANK_START = 0x15,
  V_BLANK_END = 0x16,
  MODE = 0x17,
  LINE_COMPARE = 0x18,
  COUNT = 0x19,
  /** Not in IBM's manual, but in every VGA: latch of the plane that GC READ_MAP names, attribute flip-flop, attribute index. */
  LATCH = 0x22,
  ATTR_STATE = 0x24,
  ATTR_INDEX = 0x26,
}

/** Bits of Crtc.OVERFLOW. */
export const enum Overflow {
  V_TOTAL_8 = 0x01,
  V_DISPLAY_END_8 = 0x02,
  V_RETRACE_START_8 = 0x04,
  V_BLANK_START_8 = 0x08,
  LINE_COMPARE_8 = 0x10,
  V_TOTAL_9 = 0x20,
  V_DISPLAY_END_9 = 0x40,
  V_RETRACE_START_9 = 0x80,
}

/** Bits of Crtc.MAX_SCAN. */
export const enum MaxScan {
  LINES = 0x1f,
  V_BLANK_START_9 = 0x20,
  LINE_COMPARE_9 = 0x40,
  DOUBLE = 0x80,
}

/** Bits of Crtc.V_RETRACE_END. */
export const enum VRetraceEnd {
  LINE = 0x0f,
  /** 0 clears the interrupt and keeps it so. */
  INTERRUPT_ARMED = 0x10,
  PROTECT = 0x80,
}

/** Bits of Crtc.UNDERLINE. */
export const enum Underline {
  ROW = 0x1f,
  COUNT_BY_4 = 0x20,
  DWORD = 0x40,
}

/** Bits of Crtc.MODE. */
export const enum CrtcMode {
  /** 0: row scan bit 0 replaces address bit 13 (CGA graphics). */
  NOT_CGA = 0x01,
  /** 0: row scan bit 1 replaces address bit 14 (Hercules graphics). */
  NOT_HERCULES = 0x02,
  VERTICAL_HALF_CLOCK = 0x04,
  COUNT_BY_2 = 0x08,
  WRAP_15 = 0x20,
  BYTE = 0x40,
  ENABLE = 0x80,
}

/** Attribute controller. */
export const enum Attr {
  PALETTE = 0x00,
  MODE = 0x10,
  OVERSCAN = 0x11,
  PLANE_ENABLE = 0x12,
  PANNING = 0x13,
  COLOR_SELECT = 0x14,
  COUNT = 0x15,
  /** Bit 5 of the index register: the palette drives the screen. */
  PALETTE_SOURCE = 0x20,
}

export const enum AttrMode {
  GRAPHICS = 0x01,
  MONO = 0x02,
  LINE_GRAPHICS = 0x04,
  BLINK = 0x08,
  PAN_COMPATIBLE = 0x20,
  EIGHT_BIT = 0x40,
  PALETTE_SIZE = 0x80,
}

/** Bits each register has; what is written elsewhere reads as 0. */
export const SEQ_MASK: readonly number[] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
export const GC_MASK: readonly number[] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
/** Attr.MODE and following. */
export const ATTR_MASK: readonly number[] = [0xef, 0xff, 0x3f, 0x0f, 0x0f];

/** Display memory behind the window at A0000h: four planes of 64 KiB. */
export const VGA_PLANE = 0x1_0000;
/** Physical address and size of the memory window. */
export const VGA_MEMORY = 0xa_0000;
export const VGA_MEMORY_BYTES = 0x2_0000;
