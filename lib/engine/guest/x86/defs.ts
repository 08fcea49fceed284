/** Architectural constants of x86 system programming: vectors, control-register, EFLAGS and MSR numbers. */

/** Exception vectors (SDM vol. 3, table 6-1). */
export const enum Vec {
  DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8,
  TS = 10, NP = 11, SS = 12, GP = 13, PF = 14, MF = 16, AC = 17, MC = 18, XM = 19, CP = 21,
}

/** EFLAGS bits (SDM vol. 1, 3.4.3). */
export const enum Ef {
  CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, TF = 0x100, IF = 0x200, DF = 0x400, OF = 0x800,
  IOPL = 0x3000, NT = 0x4000, RF = 0x1_0000, VM = 0x2_0000, AC = 0x4_0000, VIF = 0x8_0000, VIP = 0x10_0000, ID = 0x20_0000,
  /** The six arithmetic flags, kept in slot FLAGS. */
  ARITH = 0x8d5,
  /** Everything slot EFLAGS holds. */
  SYSTEM = 0x3f_7700,
  ALL = 0x3f_7fd5,
}

export const enum Cr0 {
  PE = 1, MP = 2, EM = 4, TS = 8, ET = 0x10, NE = 0x20, WP = 0x1_0000, AM = 0x4_0000,
  NW = 0x2000_0000, CD = 0x4000_0000, PG = 0x8000_0000 | 0,
}

export const enum Cr4 {
  VME = 1, PVI = 2, TSD = 4, DE = 8, PSE = 0x10, PAE = 0x20, MCE = 0x40, PGE = 0x80, PCE = 0x100,
  OSFXSR = 0x200, OSXMMEXCPT = 0x400, UMIP = 0x800, LA57 = 0x1000, FSGSBASE = 0x1_0000, PCIDE = 0x2_0000,
  OSXSAVE = 0x4_0000, SMEP = 0x10_0000, SMAP = 0x20_0000,
}

export const enum Efer { SCE = 1, LME = 0x100, LMA = 0x400, NXE = 0x800, FFXSR = 0x4000, AIBRSE = 0x20_0000 }

/** Segment cache attributes: descriptor bits 40..55 at 0..15 (limit bits removed); bit 16 = unusable (null). */
export const enum At {
  TYPE = 0xf, ACCESSED = 1, RW = 2, CONFORM = 4, EXPDOWN = 4, CODE = 8, S = 0x10, DPL = 0x60, P = 0x80,
  L = 0x2000, DB = 0x4000, G = 0x8000, NULL = 0x1_0000,
}

/** Segment registers past the six that instructions can name. */
export const LDTR = 6;
export const TR = 7;

export const enum Msr {
  TSC = 0x10, APIC_BASE = 0x1b, FEATURE_CONTROL = 0x3a, TSC_ADJUST = 0x3b, SPEC_CTRL = 0x48, PRED_CMD = 0x49,
  PATCH_LEVEL = 0x8b, MTRRCAP = 0xfe, SYSENTER_CS = 0x174, SYSENTER_ESP = 0x175, SYSENTER_EIP = 0x176,
  MCG_CAP = 0x179, MCG_STATUS = 0x17a, MISC_ENABLE = 0x1a0, MTRR_FIX_FIRST = 0x250, MTRR_FIX_LAST = 0x26f,
  PAT = 0x277, MTRR_DEF_TYPE = 0x2ff, TSC_DEADLINE = 0x6e0, XSS = 0xda0,
  EFER = 0xc000_0080 | 0, STAR = 0xc000_0081 | 0, LSTAR = 0xc000_0082 | 0, CSTAR = 0xc000_0083 | 0,
  FMASK = 0xc000_0084 | 0, FS_BASE = 0xc000_0100 | 0, GS_BASE = 0xc000_0101 | 0, KERNEL_GS_BASE = 0xc000_0102 | 0,
  TSC_AUX = 0xc000_0103 | 0,
}

/** True if hi:lo is canonical for `bits` linear address bits (48 or 57). */
export function canonical(hi: number, bits: number): boolean {
  const s = 64 - bits;
  return ((hi << s) >> s) === (hi | 0);
}
