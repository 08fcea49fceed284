/** ARM64 register slots and mode bits: what the decoder, lifter, CPU and helpers agree on. */
import { Slot, VEC_STRIDE } from '../../state.js';

/**
 * State slots. X0..X30 are Slot.GPR + number. The flags slot keeps NZCV in x86 terms with C inverted (CF = borrow), so that SUBS
 * and CMP, the most frequent flag setters, are single host instructions (docs/adr/0014-arm64-flags.md).
 */
export const enum A {
  X0 = 8,
  X30 = 38,
  /** The stack pointer in use: SP_EL0 or SP_EL1. */
  SP = 39,
  /** Values of the stack pointers while they are not in use. */
  SP_EL0 = 40,
  SP_EL1 = 41,
  ELR_EL1 = 42,
  SPSR_EL1 = 43,
  TPIDR_EL0 = 44,
  TPIDRRO_EL0 = 45,
  TPIDR_EL1 = 46,
  /** PSTATE.DAIF at bits 9..6, as in the DAIF register. */
  DAIF = 47,
  FAR_EL1 = 68,
  ESR_EL1 = 69,
  VBAR_EL1 = 70,
  MAIR_EL1 = 71,
  CONTEXTIDR_EL1 = 72,
  AFSR0_EL1 = 73,
  AFSR1_EL1 = 74,
  AMAIR_EL1 = 75,
  PAR_EL1 = 76,
  /** Address and value of the last load-exclusive; address -1 when the local monitor is open. */
  EXCL_ADDR = 77,
  EXCL_VAL = 78,
  EXCL_VAL2 = 79,
  /** Pending.INTR while the interrupt controller asserts IRQ or FIQ, else 0: ORed into PENDING when DAIF is unmasked. */
  IRQ_LINE = 80,
  /** FPSR.QC at bit 27. */
  QC = 81,
  /** FPCR. Its rounding mode is in MXCSR too. */
  FPCR = 82,
  MDSCR_EL1 = 83,
  CSSELR_EL1 = 84,
  DISR_EL1 = 85,
  CNTKCTL_EL1 = 87,
  /** Low word not 0: SVC and ERET must be left to the helpers (SCTLR_EL1.SPAN, CPACR_EL1.FPEN, traces). */
  SLOW_TRAP = 88,
  /** PSTATE.PAN and UAO, as in SPSR_ELx. */
  PAN_UAO = 89,
  /** Low word not 0: EL0 may not use DC ZVA (SCTLR_EL1.DZE). */
  ZVA_OFF = 90,
  /** What PSTATE.BTYPE is while `Mode.LANDING` says that it is not 0: a value, or `BTYPE_BY_PAGE`. */
  BTYPE = 91,
  /** Mode.BTI or 0 for each exception level. */
  BTI_EL0 = 92,
  BTI_EL1 = 93,
  /** The keys for pointer authentication (low half, high half) IA, IB, DA, DB and GA. */
  APIA = 94,
  APGA = 102,
  /** Of each key but GA: bits that its codes take in addresses with bit 55 clear, and with bit 55 set; 0 while SCTLR_EL1 switches it off. */
  PAC_MASK = 104,
  /** Of each key but GA: bit 55 where adding a code moves the choice of the half from bit 63 to there, otherwise 0. */
  PAC_FIX = 112,
  /**
   * Vectors of scratch for lifted code that puts vector operands together from general values: temporaries are no place for
   * that, as passes and back ends look at each slot of a temporary alone.
   */
  SCRATCH_A = 512,
  SCRATCH_B = 520,
  SCRATCH_C = 528,
  SCRATCH_D = 536,
  /** A vector of zeros. */
  ZERO = 544,
  /** Relation that a comparison has found (simd/fp-host.ts). */
  FP_RELATION = 552,
  /** Vectors for the check of results (lift-host-fp.ts): all bits but the signs, and smallest normal numbers, of singles and of doubles. */
  FP_ABS_32 = 560,
  FP_ABS_64 = 568,
  FP_MIN_32 = 576,
  FP_MIN_64 = 584,
}

export const vreg = (r: number): number => Slot.VEC + r * VEC_STRIDE;

/** Mode bits: the part of a block's key besides its physical address. At most 17 bits. */
export const enum Mode {
  /** Exception level 1, otherwise 0. */
  EL1 = 1,
  /** PSTATE.SP: the stack pointer in use is SP_EL1. */
  SPSEL = 2,
  /** Blocks of one instruction. */
  STEP = 4,
  /** CPACR_EL1.FPEN traps FP and SIMD instructions at this exception level. */
  FP_TRAP = 8,
  /** FPCR asks for something the host does not do (FZ, DN, FZ16, AHP): FP runs in TypeScript. */
  FP_SLOW = 16,
  /** PSTATE.PAN. */
  PAN = 32,
  /** Data accesses are checked for alignment: SCTLR_EL1.A, or the MMU is off (everything is Device memory). */
  ALIGN = 64,
  /** PSTATE.UAO: LDTR and STTR are privileged. */
  UAO = 128,
  /** Pages guarded against branches have been seen at this exception level: BR and BLR set PSTATE.BTYPE. */
  BTI = 256,
  /** PSTATE.BTYPE is not 0, after BLR or BR by X16 or X17, or after another BR: a block only leads on to the one of the mode without these. */
  LANDING_C = 512,
  LANDING_J = 1024,
  LANDING = LANDING_C | LANDING_J,
  /** Codes for pointer authentication take part of the address's top byte in both halves: bit 63 of the address chooses the half. */
  PAC_TOP = 2048,
}

/** In slot BTYPE: 3 if the page of the branch is guarded, otherwise 1. */
export const BTYPE_BY_PAGE = 7;

/** MMU indexes. The ALIGN ones have no TLB entries, so that every access is checked; blocks of LANDING modes access nothing and have jump caches of their own. */
export const enum Mmu { EL0 = 0, EL1 = 1, EL1_PAN = 2, EL0_ALIGN = 3, EL1_ALIGN = 4, LANDING_C = 5, LANDING_J = 6 }
export const MMU_TABLES = 3;

export function mmuIndexOf(mode: number): number {
  if (mode & Mode.LANDING) return mode & Mode.LANDING_C ? Mmu.LANDING_C : Mmu.LANDING_J;
  if ((mode & Mode.EL1) === 0) return mode & Mode.ALIGN ? Mmu.EL0_ALIGN : Mmu.EL0;
  if (mode & Mode.ALIGN) return Mmu.EL1_ALIGN;
  return mode & Mode.PAN ? Mmu.EL1_PAN : Mmu.EL1;
}

/** Exception classes: ESR_ELx.EC (Arm ARM, D17.2.37). */
export const enum Ec {
  UNKNOWN = 0x00,
  WFX = 0x01,
  FP_TRAP = 0x07,
  BRANCH_TARGET = 0x0d,
  ILLEGAL_STATE = 0x0e,
  SVC64 = 0x15,
  SYSREG = 0x18,
  IABT_LOWER = 0x20,
  IABT_SAME = 0x21,
  PC_ALIGN = 0x22,
  DABT_LOWER = 0x24,
  DABT_SAME = 0x25,
  SP_ALIGN = 0x26,
  BREAKPOINT_LOWER = 0x30,
  STEP_LOWER = 0x32,
  WATCHPOINT_LOWER = 0x34,
  WATCHPOINT_SAME = 0x35,
  BRK = 0x3c,
}

/** PSTATE bits as in SPSR_ELx. */
export const enum Ps {
  N = 0x8000_0000,
  Z = 0x4000_0000,
  C = 0x2000_0000,
  V = 0x1000_0000,
  UAO = 1 << 23,
  PAN = 1 << 22,
  SS = 1 << 21,
  IL = 1 << 20,
  BTYPE = 3 << 10,
  D = 1 << 9,
  A = 1 << 8,
  I = 1 << 7,
  F = 1 << 6,
  DAIF = 0x3c0,
  NRW = 1 << 4,
}

/** FLAGS slot (LAHF/SETO order, CF = not C) to NZCV at bits 31..28. */
export function flagsToNzcv(f: number): number {
  return ((f & 0x8000) << 16) | ((f & 0x4000) << 16) | (f & 0x100 ? 0 : Ps.C) | ((f & 1) << 28) | 0;
}

/** NZCV at bits 31..28 to the FLAGS slot. */
export function nzcvToFlags(n: number): number {
  return ((n >>> 16) & 0xc000) | (n & Ps.C ? 0 : 0x100) | 0x200 | ((n >>> 28) & 1);
}

/** Arm condition (0..13) to the x86 condition that tests the same flags with C inverted. */
export const CONDITIONS: readonly number[] = [4, 5, 3, 2, 8, 9, 0, 1, 7, 6, 13, 12, 15, 14];
