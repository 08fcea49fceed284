/**
 * Architectural constants of RISC-V: registers' slots, mode word, CSR numbers, causes (The RISC-V Instruction Set Manual, volumes I and
 * II, 20240411).
 */
import { Slot } from '../../state.js';

/** State slots. x1..x31 are Slot.GPR + number; slot Slot.GPR itself is never used: x0 is a constant. */
export const enum X {
  /** Address of the reservation of LR, and the value that LR saw (sign-extended as it was loaded); address -1: none. */
  RES_ADDR = 40,
  RES_VALUE = 41,
  /** minstret, counted by blocks with Mode.COUNT. */
  INSTRET = 42,
  /** mstatus, low word. */
  MSTATUS = 68,
  /** Pending.INTR if an interrupt that S-mode handles is pending and enabled, else 0: ORed into PENDING when it becomes deliverable. */
  S_PENDING = 69,
  /** Low word not 0: ECALL from U and SRET must be left to the helpers (ECALL_U not delegated, TSR, traces, debug triggers). */
  SLOW_TRAP = 70,
  /** The mode word of U-mode: with mstatus.FS Off, and with FS neither Off nor Dirty. */
  U_MODE_OFF = 71,
  U_MODE_FP = 72,
  STVEC = 73,
  /** First of the registers that only hold bits (csr.ts, PLAIN). */
  CSR = 74,
  /** Vector CSRs. vtype: vill in the high word. */
  VSTART = 120,
  VL = 121,
  VTYPE = 122,
  VXSAT = 123,
  VXRM = 124,
  /** Floating-point register f0; f1..f31 follow. Plain 64-bit slots. */
  F = 256,
  /** Vector register v0; v1..v31 follow, VLENB bytes each (up to 32). */
  V = 384,
}
export const xreg = (r: number): number => Slot.GPR + r;
export const freg = (r: number): number => X.F + r;

export const enum Priv { U = 0, S = 1, M = 3 }

/** Mode bits: the part of a block's key besides its physical address. */
export const enum Mode {
  /** Bits 0..1: privilege. */
  PRIV = 3,
  /** Bits 2..4: frm. */
  FRM_SHIFT = 2,
  FRM = 7 << 2,
  /** mstatus.FS is not Off. In M and S: and floating point has been used since the last trap or return (RiscvCpu.usesFp). */
  FP = 32,
  /** mstatus.FS is Dirty: floating point may write registers. */
  FP_DIRTY = 64,
  /** Blocks of one instruction. */
  STEP = 128,
  /** Bits 8..10: MMU index. */
  MMU_SHIFT = 8,
  MMU = 7 << 8,
  /** frm is not one that the host has (RMM or reserved): floating point with dynamic rounding runs in helpers. */
  SLOW_FRM = 1 << 11,
  /** Instructions are counted in X.INSTRET: from the first access to the counter on. */
  COUNT = 1 << 12,
}

/** Modes in which code leaves what it otherwise does inline to helpers, and blocks end there. */
export const WATCHED = Mode.STEP | Mode.COUNT;

/** MMU indexes: privilege of data accesses, by mstatus.MPRV and SUM. */
export const enum Mmu { U = 0, S = 1, S_SUM = 2, M = 3, MPRV_U = 4, MPRV_S = 5, MPRV_S_SUM = 6 }

/** Exception codes (vol. II, table 14). Interrupts have bit 31 of `GuestFault.vector` set. */
export const enum Cause {
  FETCH_MISALIGNED = 0, FETCH_ACCESS = 1, ILLEGAL = 2, BREAKPOINT = 3, LOAD_MISALIGNED = 4, LOAD_ACCESS = 5, STORE_MISALIGNED = 6, STORE_ACCESS = 7,
  ECALL_U = 8, ECALL_S = 9, ECALL_M = 11, FETCH_PAGE = 12, LOAD_PAGE = 13, STORE_PAGE = 15,
}

/** Interrupt bits of mip and mie. */
export const enum Irq { SSI = 1 << 1, MSI = 1 << 3, STI = 1 << 5, MTI = 1 << 7, SEI = 1 << 9, MEI = 1 << 11 }
export const S_IRQS: number = Irq.SSI | Irq.STI | Irq.SEI;

/** mstatus, low word. */
export const enum Ms {
  SIE = 1 << 1, MIE = 1 << 3, SPIE = 1 << 5, UBE = 1 << 6, MPIE = 1 << 7, SPP = 1 << 8, VS = 3 << 9, MPP_SHIFT = 11, MPP = 3 << 11, FS_SHIFT = 13, FS = 3 << 13, XS = 3 << 15,
  MPRV = 1 << 17, SUM = 1 << 18, MXR = 1 << 19, TVM = 1 << 20, TW = 1 << 21, TSR = 1 << 22,
}

export const enum Csr {
  FFLAGS = 0x001, FRM = 0x002, FCSR = 0x003, VSTART = 0x008, VXSAT = 0x009, VXRM = 0x00a, VCSR = 0x00f, SEED = 0x015,
  SSTATUS = 0x100, SIE = 0x104, STVEC = 0x105, SCOUNTEREN = 0x106, SENVCFG = 0x10a, SSCRATCH = 0x140, SEPC = 0x141, SCAUSE = 0x142, STVAL = 0x143, SIP = 0x144,
  STIMECMP = 0x14d, SATP = 0x180,
  MSTATUS = 0x300, MISA = 0x301, MEDELEG = 0x302, MIDELEG = 0x303, MIE = 0x304, MTVEC = 0x305, MCOUNTEREN = 0x306, MENVCFG = 0x30a, MCOUNTINHIBIT = 0x320,
  MHPMEVENT3 = 0x323, MHPMEVENT31 = 0x33f, MSCRATCH = 0x340, MEPC = 0x341, MCAUSE = 0x342, MTVAL = 0x343, MIP = 0x344,
  PMPCFG0 = 0x3a0, PMPCFG15 = 0x3af, PMPADDR0 = 0x3b0, PMPADDR63 = 0x3ef, MSECCFG = 0x747,
  TSELECT = 0x7a0, TDATA1 = 0x7a1, TDATA2 = 0x7a2, TDATA3 = 0x7a3, TINFO = 0x7a4,
  MCYCLE = 0xb00, MINSTRET = 0xb02, MHPMCOUNTER3 = 0xb03, MHPMCOUNTER31 = 0xb1f,
  CYCLE = 0xc00, TIME = 0xc01, INSTRET = 0xc02, HPMCOUNTER3 = 0xc03, HPMCOUNTER31 = 0xc1f, VL = 0xc20, VTYPE = 0xc21, VLENB = 0xc22,
  SISELECT = 0x150, SIREG = 0x151, STOPEI = 0x15c, STOPI = 0xdb0, MVIEN = 0x308, MVIP = 0x309, MISELECT = 0x350, MIREG = 0x351, MTOPEI = 0x35c, MTOPI = 0xfb0,
  MVENDORID = 0xf11, MARCHID = 0xf12, MIMPID = 0xf13, MHARTID = 0xf14, MCONFIGPTR = 0xf15,
}

/** menvcfg: low word, then bits of the high word. */
export const enum Env { FIOM = 1, CBIE = 3 << 4, CBCFE = 1 << 6, CBZE = 1 << 7, ADUE_HI = 1 << 29, PBMTE_HI = 1 << 30, STCE_HI = 0x8000_0000 | 0 }

/** Rounding modes in instructions and frm. */
export const enum Rm { RNE = 0, RTZ = 1, RDN = 2, RUP = 3, RMM = 4, DYN = 7 }
