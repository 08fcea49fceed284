/**
 * Instruction set of the interpreter: IR ops with their widths resolved, dense numbers so that V8 compiles the
 * dispatch to one jump table. Suffixes: 8/16/32/64 = operand width, M = merges into a guest register,
 * Z = zero-extends into a temporary, F = produces flags, I = immediate only.
 */
export const enum C {
  MOV8M, MOV16M, MOV8Z, MOV16Z, MOV32, MOV64,
  SX8_16M, SX8_16Z, SX8_32, SX16_32, SX8_64, SX16_64, SX32_64,
  EXTH, INSH,
  LEA16, LEA32, LEA32I, LEA64, LEA64I,
  SETCC_M, SETCC_Z, CMOV_N, CMOV32, CMOV64, SELNZ_N, SELNZ64,
  ADD32, ADD64, ADD32F, ADD64F, ADDN, ADC32, ADC64, ADCN,
  SUB32, SUB64, SUB32F, SUB64F, SUBN, CMP32, CMP64, SBB32, SBB64, SBBN,
  AND32, AND64, AND32F, AND64F, ANDN, TEST32, TEST64,
  OR32, OR64, OR32F, OR64F, ORN,
  XOR32, XOR64, XOR32F, XOR64F, XORN,
  SHL32, SHL32F, SHL64, SHR32, SHR32F, SHR64, SAR32, SAR32F, SAR64,
  IMUL32, IMUL64,
  /** Everything else: field INSN says which IR op and width (rare.ts). */
  RARE,
  LD8M, LD8Z, LD16M, LD16Z, LD32, LD64, LDX,
  ST8, ST16, ST32, ST64, STX,
  LDV, STV, SEGCHK, CHKALIGN, DIV,
  CALL, CALLIF, SETMODE, NONE_DONE,
  JMP, JCC, JNZ_N, JNZ64, JMPI, EXIT,
}

/**
 * A record is 8 words. Operand fields hold *word* indexes into V (slot * 2), absent sources the constant 0, absent
 * destinations a scratch slot, so no case tests for NONE. Exceptions are noted in compile.ts.
 */
export const RECORD = 8;
export const enum R {
  CODE = 0,
  D = 1,
  A = 2,
  B = 3,
  C = 4,
  IMM = 5,
  INSN = 6,
  /** Flags to replace, as a mask of the FLAGS slot; or the mask of a condition (`condMask`). */
  M = 7,
}

/** Bits of the field that describes an op of variable width (RARE, narrow ops). */
export const enum Wide {
  /** IR op, 8 bits. */
  OP = 0xff,
  /** log2 of the width in bytes. */
  W_SHIFT = 8,
  /** The result merges into a guest register. */
  MERGE = 0x800,
}
