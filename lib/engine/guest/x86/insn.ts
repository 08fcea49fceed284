/** One decoded instruction: a single mutable instance, filled by the decoder and read by the lift handlers. */
import type { Row } from './opcodes.js';

export class Insn {
  /** The table row that owns this encoding. */
  row!: Row;
  /** Its number in the table. */
  rowId = 0;
  /** 0 one-byte, 1 0F, 2 0F38, 3 0F3A. */
  map = 0;
  opcode = 0;
  /** Code size of the mode: 0 = 16, 1 = 32, 2 = 64. */
  code = 0;
  /** Operand size as a width: 1, 2 or 3 (see Row.size and Row.p; VEX: 2, or 3 with VEX.W in 64-bit mode). */
  opsize = 2;
  /** Address size as a width: 1, 2 or 3. */
  addrsize = 2;
  /** A REX prefix is present: registers 4..7 of width 0 are SPL BPL SIL DIL. */
  rex = false;
  /** REX.W or VEX.W, as encoded. */
  w = 0;
  lock = false;
  /** Last of F3 / F2: 0 none, 2 = F3 (REP), 3 = F2 (REPNE). */
  rep = 0;
  /** 66 present. */
  p66 = false;
  /** Mandatory prefix in VEX.pp numbering: 0 none, 1 = 66, 2 = F3, 3 = F2. */
  pp = 0;
  vex = false;
  vexL = 0;
  /** Register number (already inverted). */
  vvvv = 0;
  /** Segment override 0..5 (`Seg`), or -1. */
  seg = -1;

  /** Raw ModRM byte (0 if there is none). */
  modrm = 0;
  mod = 0;
  /** ModRM.reg with REX.R / VEX.R: 0..15. */
  reg = 0;
  /** ModRM.rm with REX.B in the register form; low 3 bits of ModRM.rm in the memory form. */
  rm = 0;
  /** Low 3 bits of the opcode with REX.B (PUSH r and the like). */
  opreg = 0;
  /** Memory operand: register numbers or -1. RIP-relative operands have base -1 and `riprel`. */
  base = -1;
  index = -1;
  scale = 0;
  /** SIB.index with REX.X, 4 included: the vector register of a VSIB operand. Valid if ModRM.rm = 4. */
  vindex = 0;
  disp = 0;
  /** Where a 32-bit displacement lies, in bytes from the start of the instruction; -1 if there is none. */
  dispAt = -1;
  riprel = false;
  /** Segment of the memory operand when there is no override: DS or SS. */
  defseg = 3;

  /** Immediate, low word; sign-extended into immHi where `Imm` says so. */
  imm = 0;
  immHi = 0;
  imm2 = 0;
  /** Where a 32-bit immediate lies, in bytes from the start of the instruction; -1 if there is none. */
  immAt = -1;

  length = 0;
  /** Page offset of the first byte. */
  start = 0;
  /** Page offset of the next instruction (may be >= 4096). */
  next = 0;

  /** True if the operand in ModRM.rm is memory. */
  get mem(): boolean {
    return this.mod !== 3;
  }
}
