/** Layout of a case and of a result as runner.c has them: one block of bytes each. Code and data lie where the A64 tests have them. */
export const RECORD = 640;
export const enum At { X = 0, F = 256, FCSR = 512, SIGNAL = 520, MEMORY = 528, OFFSET = 536, COUNT = 544, CODE = 552,
  /** Of cases with vectors. */
  VCSR = 640, VL = 648, VTYPE = 656, VSTART = 664, V = 672,
}
/** Bytes of a case with vectors; room for registers of 256 bits. */
export const VECTOR_RECORD = 672 + 1024;
/** Register that holds the address of the runner's state: tests do not write it. */
export const STATE_REG = 27;
export const STATE_ADDRESS = 0x1002_0000;
