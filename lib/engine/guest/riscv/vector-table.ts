/**
 * The instructions of the vector extension as data (The RISC-V "V" Vector Extension, version 1.0: vol. I, chapter 30; encodings: section 30.19).
 * What an operation computes is in vector-alu.ts and vector-float.ts, what a kind does with its operands in vector.ts.
 */

/** Operation on integer elements. */
export const enum Alu {
  ADD, SUB, RSUB, AND, OR, XOR, MINU, MIN, MAXU, MAX, SLL, SRL, SRA, MUL, MULH, MULHU, MULHSU, DIVU, DIV, REMU, REM, MACC, NMSAC, MADD, NMSUB,
  SADDU, SADD, SSUBU, SSUB, AADDU, AADD, ASUBU, ASUB, SMUL, SSRL, SSRA, NCLIPU, NCLIP,
  /** Conditions: 1 or 0. From EQ on. */
  EQ, NE, LTU, LT, LEU, LE, GTU, GT,
}

/** What an instruction does with its operands. */
export const enum Kind {
  /** vd = vs2 op vs1. */
  INT,
  /** The destination is twice as wide as the sources; as the second source alone. */
  INT_WIDE, INT_WIDE_W,
  /** vs2 is twice as wide as the rest. */
  INT_NARROW,
  /** A mask bit for each element. */
  INT_COMPARE,
  /** With carry or borrow from v0; a mask of carries or borrows. */
  CARRY, CARRY_OUT,
  MERGE,
  INT_REDUCE, INT_REDUCE_WIDE,
  GATHER, GATHER16, SLIDE_UP, SLIDE_DOWN, SLIDE1_UP, SLIDE1_DOWN, MOVE_WHOLE, COMPRESS,
  MASK_LOGIC, TO_SCALAR, FROM_SCALAR, EXTEND, MASK_SET,
  FLOAT, FLOAT_WIDE, FLOAT_WIDE_W, FLOAT_SIGN, FLOAT_COMPARE, FLOAT_MERGE, FLOAT_REDUCE, FLOAT_REDUCE_WIDE, FLOAT_CONVERT, FLOAT_UNARY, FLOAT_TO_SCALAR, FLOAT_FROM_SCALAR,
}

/** Flags. */
export const enum Vf {
  /** vs2, the other source: sign-extended where they are widened. */
  SIGNED2 = 1,
  SIGNED1 = 2,
  SIGNED = 3,
  /** The immediate is unsigned. */
  UIMM = 4,
  /** vd is a source. */
  ACC = 8,
  /** Floating point: multiplies by vd and adds vs2 instead of the other way round; operands exchanged; from two comparisons the inverse. */
  BY_VD = 16, SWAP = 16, NOT = 32,
}

export interface VecInsn {
  readonly name: string;
  readonly f6: number;
  /** Which of the forms: v, x, i of OPIVV, OPIVX, OPIVI; V, X of OPMVV, OPMVX; F, S of OPFVV, OPFVF. */
  readonly forms: string;
  readonly kind: Kind;
  /** Alu, or the scalar instruction that does the same with one element, or a number that the kind knows. */
  readonly op: number;
  readonly flags: number;
}

const S = Vf.SIGNED;
type Line = readonly [f6: number, forms: string, name: string, kind: Kind, op: number, flags?: number];

const INTEGER: readonly Line[] = [
  [0x00, 'vxi', 'vadd', Kind.INT, Alu.ADD, S], [0x02, 'vx', 'vsub', Kind.INT, Alu.SUB, S], [0x03, 'xi', 'vrsub', Kind.INT, Alu.RSUB, S],
  [0x04, 'vx', 'vminu', Kind.INT, Alu.MINU], [0x05, 'vx', 'vmin', Kind.INT, Alu.MIN, S], [0x06, 'vx', 'vmaxu', Kind.INT, Alu.MAXU], [0x07, 'vx', 'vmax', Kind.INT, Alu.MAX, S],
  [0x09, 'vxi', 'vand', Kind.INT, Alu.AND, S], [0x0a, 'vxi', 'vor', Kind.INT, Alu.OR, S], [0x0b, 'vxi', 'vxor', Kind.INT, Alu.XOR, S],
  [0x0c, 'vxi', 'vrgather', Kind.GATHER, 0, Vf.UIMM], [0x0e, 'v', 'vrgatherei16', Kind.GATHER16, 0], [0x0e, 'xi', 'vslideup', Kind.SLIDE_UP, 0, Vf.UIMM], [0x0f, 'xi', 'vslidedown', Kind.SLIDE_DOWN, 0, Vf.UIMM],
  [0x10, 'vxi', 'vadc', Kind.CARRY, Alu.ADD], [0x11, 'vxi', 'vmadc', Kind.CARRY_OUT, Alu.ADD], [0x12, 'vx', 'vsbc', Kind.CARRY, Alu.SUB], [0x13, 'vx', 'vmsbc', Kind.CARRY_OUT, Alu.SUB],
  [0x17, 'vxi', 'vmerge', Kind.MERGE, 0, S],
  [0x18, 'vxi', 'vmseq', Kind.INT_COMPARE, Alu.EQ, S], [0x19, 'vxi', 'vmsne', Kind.INT_COMPARE, Alu.NE, S], [0x1a, 'vx', 'vmsltu', Kind.INT_COMPARE, Alu.LTU],
  [0x1b, 'vx', 'vmslt', Kind.INT_COMPARE, Alu.LT, S], [0x1c, 'vxi', 'vmsleu', Kind.INT_COMPARE, Alu.LEU], [0x1d, 'vxi', 'vmsle', Kind.INT_COMPARE, Alu.LE, S],
  [0x1e, 'xi', 'vmsgtu', Kind.INT_COMPARE, Alu.GTU], [0x1f, 'xi', 'vmsgt', Kind.INT_COMPARE, Alu.GT, S],
  [0x20, 'vxi', 'vsaddu', Kind.INT, Alu.SADDU], [0x21, 'vxi', 'vsadd', Kind.INT, Alu.SADD, S], [0x22, 'vx', 'vssubu', Kind.INT, Alu.SSUBU], [0x23, 'vx', 'vssub', Kind.INT, Alu.SSUB, S],
  [0x25, 'vxi', 'vsll', Kind.INT, Alu.SLL, Vf.UIMM], [0x27, 'vx', 'vsmul', Kind.INT, Alu.SMUL, S], [0x27, 'i', 'vmvnr', Kind.MOVE_WHOLE, 0, Vf.UIMM],
  [0x28, 'vxi', 'vsrl', Kind.INT, Alu.SRL, Vf.UIMM], [0x29, 'vxi', 'vsra', Kind.INT, Alu.SRA, Vf.SIGNED2 | Vf.UIMM],
  [0x2a, 'vxi', 'vssrl', Kind.INT, Alu.SSRL, Vf.UIMM], [0x2b, 'vxi', 'vssra', Kind.INT, Alu.SSRA, Vf.SIGNED2 | Vf.UIMM],
  [0x2c, 'vxi', 'vnsrl', Kind.INT_NARROW, Alu.SRL, Vf.UIMM], [0x2d, 'vxi', 'vnsra', Kind.INT_NARROW, Alu.SRA, Vf.SIGNED2 | Vf.UIMM],
  [0x2e, 'vxi', 'vnclipu', Kind.INT_NARROW, Alu.NCLIPU, Vf.UIMM], [0x2f, 'vxi', 'vnclip', Kind.INT_NARROW, Alu.NCLIP, Vf.SIGNED2 | Vf.UIMM],
  [0x30, 'v', 'vwredsumu', Kind.INT_REDUCE_WIDE, Alu.ADD], [0x31, 'v', 'vwredsum', Kind.INT_REDUCE_WIDE, Alu.ADD, S],
  [0x00, 'V', 'vredsum', Kind.INT_REDUCE, Alu.ADD, S], [0x01, 'V', 'vredand', Kind.INT_REDUCE, Alu.AND, S], [0x02, 'V', 'vredor', Kind.INT_REDUCE, Alu.OR, S],
  [0x03, 'V', 'vredxor', Kind.INT_REDUCE, Alu.XOR, S], [0x04, 'V', 'vredminu', Kind.INT_REDUCE, Alu.MINU], [0x05, 'V', 'vredmin', Kind.INT_REDUCE, Alu.MIN, S],
  [0x06, 'V', 'vredmaxu', Kind.INT_REDUCE, Alu.MAXU], [0x07, 'V', 'vredmax', Kind.INT_REDUCE, Alu.MAX, S],
  [0x08, 'VX', 'vaaddu', Kind.INT, Alu.AADDU], [0x09, 'VX', 'vaadd', Kind.INT, Alu.AADD, S], [0x0a, 'VX', 'vasubu', Kind.INT, Alu.ASUBU], [0x0b, 'VX', 'vasub', Kind.INT, Alu.ASUB, S],
  [0x0e, 'X', 'vslide1up', Kind.SLIDE1_UP, 0], [0x0f, 'X', 'vslide1down', Kind.SLIDE1_DOWN, 0],
  [0x10, 'V', 'vwxunary0', Kind.TO_SCALAR, 0], [0x10, 'X', 'vmv.s.x', Kind.FROM_SCALAR, 0], [0x12, 'V', 'vxunary0', Kind.EXTEND, 0], [0x14, 'V', 'vmunary0', Kind.MASK_SET, 0],
  [0x17, 'V', 'vcompress', Kind.COMPRESS, 0],
  [0x18, 'V', 'vmandn', Kind.MASK_LOGIC, 0], [0x19, 'V', 'vmand', Kind.MASK_LOGIC, 1], [0x1a, 'V', 'vmor', Kind.MASK_LOGIC, 2], [0x1b, 'V', 'vmxor', Kind.MASK_LOGIC, 3],
  [0x1c, 'V', 'vmorn', Kind.MASK_LOGIC, 4], [0x1d, 'V', 'vmnand', Kind.MASK_LOGIC, 5], [0x1e, 'V', 'vmnor', Kind.MASK_LOGIC, 6], [0x1f, 'V', 'vmxnor', Kind.MASK_LOGIC, 7],
  [0x20, 'VX', 'vdivu', Kind.INT, Alu.DIVU], [0x21, 'VX', 'vdiv', Kind.INT, Alu.DIV, S], [0x22, 'VX', 'vremu', Kind.INT, Alu.REMU], [0x23, 'VX', 'vrem', Kind.INT, Alu.REM, S],
  [0x24, 'VX', 'vmulhu', Kind.INT, Alu.MULHU], [0x25, 'VX', 'vmul', Kind.INT, Alu.MUL, S], [0x26, 'VX', 'vmulhsu', Kind.INT, Alu.MULHSU, Vf.SIGNED2], [0x27, 'VX', 'vmulh', Kind.INT, Alu.MULH, S],
  [0x29, 'VX', 'vmadd', Kind.INT, Alu.MADD, S | Vf.ACC], [0x2b, 'VX', 'vnmsub', Kind.INT, Alu.NMSUB, S | Vf.ACC],
  [0x2d, 'VX', 'vmacc', Kind.INT, Alu.MACC, S | Vf.ACC], [0x2f, 'VX', 'vnmsac', Kind.INT, Alu.NMSAC, S | Vf.ACC],
  [0x30, 'VX', 'vwaddu', Kind.INT_WIDE, Alu.ADD], [0x31, 'VX', 'vwadd', Kind.INT_WIDE, Alu.ADD, S], [0x32, 'VX', 'vwsubu', Kind.INT_WIDE, Alu.SUB], [0x33, 'VX', 'vwsub', Kind.INT_WIDE, Alu.SUB, S],
  [0x34, 'VX', 'vwaddu.w', Kind.INT_WIDE_W, Alu.ADD], [0x35, 'VX', 'vwadd.w', Kind.INT_WIDE_W, Alu.ADD, S], [0x36, 'VX', 'vwsubu.w', Kind.INT_WIDE_W, Alu.SUB], [0x37, 'VX', 'vwsub.w', Kind.INT_WIDE_W, Alu.SUB, S],
  [0x38, 'VX', 'vwmulu', Kind.INT_WIDE, Alu.MUL], [0x3a, 'VX', 'vwmulsu', Kind.INT_WIDE, Alu.MUL, Vf.SIGNED2], [0x3b, 'VX', 'vwmul', Kind.INT_WIDE, Alu.MUL, S],
  [0x3c, 'VX', 'vwmaccu', Kind.INT_WIDE, Alu.MACC, Vf.ACC], [0x3d, 'VX', 'vwmacc', Kind.INT_WIDE, Alu.MACC, S | Vf.ACC],
  [0x3e, 'X', 'vwmaccus', Kind.INT_WIDE, Alu.MACC, Vf.SIGNED2 | Vf.ACC], [0x3f, 'VX', 'vwmaccsu', Kind.INT_WIDE, Alu.MACC, Vf.SIGNED1 | Vf.ACC],
];

/** Scalar instructions of single precision with the rounding mode of frm; bit 25 makes them double. */
export const enum Fp {
  ADD = 0x0000_7053, SUB = 0x0800_7053, MUL = 0x1000_7053, DIV = 0x1800_7053, SQRT = 0x5800_7053, MIN = 0x2800_0053, MAX = 0x2800_1053,
  EQ = 0xa000_2053 | 0, LT = 0xa000_1053 | 0, LE = 0xa000_0053 | 0, CLASS = 0xe000_1053 | 0,
  MADD = 0x7043, MSUB = 0x7047, NMSUB = 0x704b, NMADD = 0x704f,
  CONVERT = 0x4000_7053, TO_INT = 0xc000_7053 | 0, FROM_INT = 0xd000_7053 | 0,
  DOUBLE = 1 << 25,
}

const FLOATING: readonly Line[] = [
  [0x00, 'FS', 'vfadd', Kind.FLOAT, Fp.ADD], [0x01, 'F', 'vfredusum', Kind.FLOAT_REDUCE, Fp.ADD], [0x02, 'FS', 'vfsub', Kind.FLOAT, Fp.SUB], [0x03, 'F', 'vfredosum', Kind.FLOAT_REDUCE, Fp.ADD],
  [0x04, 'FS', 'vfmin', Kind.FLOAT, Fp.MIN], [0x05, 'F', 'vfredmin', Kind.FLOAT_REDUCE, Fp.MIN], [0x06, 'FS', 'vfmax', Kind.FLOAT, Fp.MAX], [0x07, 'F', 'vfredmax', Kind.FLOAT_REDUCE, Fp.MAX],
  [0x08, 'FS', 'vfsgnj', Kind.FLOAT_SIGN, 0], [0x09, 'FS', 'vfsgnjn', Kind.FLOAT_SIGN, 1], [0x0a, 'FS', 'vfsgnjx', Kind.FLOAT_SIGN, 2],
  [0x0e, 'S', 'vfslide1up', Kind.SLIDE1_UP, 1], [0x0f, 'S', 'vfslide1down', Kind.SLIDE1_DOWN, 1],
  [0x10, 'F', 'vfmv.f.s', Kind.FLOAT_TO_SCALAR, 0], [0x10, 'S', 'vfmv.s.f', Kind.FLOAT_FROM_SCALAR, 0], [0x12, 'F', 'vfunary0', Kind.FLOAT_CONVERT, 0], [0x13, 'F', 'vfunary1', Kind.FLOAT_UNARY, 0],
  [0x17, 'S', 'vfmerge', Kind.FLOAT_MERGE, 0],
  [0x18, 'FS', 'vmfeq', Kind.FLOAT_COMPARE, Fp.EQ], [0x19, 'FS', 'vmfle', Kind.FLOAT_COMPARE, Fp.LE], [0x1b, 'FS', 'vmflt', Kind.FLOAT_COMPARE, Fp.LT], [0x1c, 'FS', 'vmfne', Kind.FLOAT_COMPARE, Fp.EQ, Vf.NOT],
  [0x1d, 'S', 'vmfgt', Kind.FLOAT_COMPARE, Fp.LT, Vf.SWAP], [0x1f, 'S', 'vmfge', Kind.FLOAT_COMPARE, Fp.LE, Vf.SWAP],
  [0x20, 'FS', 'vfdiv', Kind.FLOAT, Fp.DIV], [0x21, 'S', 'vfrdiv', Kind.FLOAT, Fp.DIV, Vf.SWAP], [0x24, 'FS', 'vfmul', Kind.FLOAT, Fp.MUL], [0x27, 'S', 'vfrsub', Kind.FLOAT, Fp.SUB, Vf.SWAP],
  [0x28, 'FS', 'vfmadd', Kind.FLOAT, Fp.MADD, Vf.ACC | Vf.BY_VD], [0x29, 'FS', 'vfnmadd', Kind.FLOAT, Fp.NMADD, Vf.ACC | Vf.BY_VD],
  [0x2a, 'FS', 'vfmsub', Kind.FLOAT, Fp.MSUB, Vf.ACC | Vf.BY_VD], [0x2b, 'FS', 'vfnmsub', Kind.FLOAT, Fp.NMSUB, Vf.ACC | Vf.BY_VD],
  [0x2c, 'FS', 'vfmacc', Kind.FLOAT, Fp.MADD, Vf.ACC], [0x2d, 'FS', 'vfnmacc', Kind.FLOAT, Fp.NMADD, Vf.ACC],
  [0x2e, 'FS', 'vfmsac', Kind.FLOAT, Fp.MSUB, Vf.ACC], [0x2f, 'FS', 'vfnmsac', Kind.FLOAT, Fp.NMSUB, Vf.ACC],
  [0x30, 'FS', 'vfwadd', Kind.FLOAT_WIDE, Fp.ADD], [0x31, 'F', 'vfwredusum', Kind.FLOAT_REDUCE_WIDE, Fp.ADD], [0x32, 'FS', 'vfwsub', Kind.FLOAT_WIDE, Fp.SUB], [0x33, 'F', 'vfwredosum', Kind.FLOAT_REDUCE_WIDE, Fp.ADD],
  [0x34, 'FS', 'vfwadd.w', Kind.FLOAT_WIDE_W, Fp.ADD], [0x36, 'FS', 'vfwsub.w', Kind.FLOAT_WIDE_W, Fp.SUB], [0x38, 'FS', 'vfwmul', Kind.FLOAT_WIDE, Fp.MUL],
  [0x3c, 'FS', 'vfwmacc', Kind.FLOAT_WIDE, Fp.MADD, Vf.ACC], [0x3d, 'FS', 'vfwnmacc', Kind.FLOAT_WIDE, Fp.NMADD, Vf.ACC],
  [0x3e, 'FS', 'vfwmsac', Kind.FLOAT_WIDE, Fp.MSUB, Vf.ACC], [0x3f, 'FS', 'vfwnmsac', Kind.FLOAT_WIDE, Fp.NMSUB, Vf.ACC],
];

export const VECTOR_INSNS: readonly VecInsn[] = [...INTEGER, ...FLOATING].map(([f6, forms, name, kind, op, flags = 0]) => ({ name, f6, forms, kind, op, flags }));

/** Forms by funct3 of OP-V. */
export const FORMS = 'vFVixSX';

/** By funct3 << 6 | funct6. Made when first asked for: most guests have no vectors. */
let lookup: readonly (VecInsn | null)[] | null = null;
const makeLookup = (): readonly (VecInsn | null)[] => Array.from({ length: 7 << 6 }, (_, key) => VECTOR_INSNS.find((v) => v.f6 === (key & 63) && v.forms.includes(FORMS[key >> 6]!)) ?? null);

/** @returns the row of an instruction of opcode OP-V other than vset{i}vl{i}, or null. */
export function findVector(insn: number): VecInsn | null {
  lookup ??= makeLookup();
  return lookup[(((insn >>> 12) & 7) << 6) | (insn >>> 26)] ?? null;
}

/** vs1 of VXUNARY0: factor of the narrower source, as a power of two. */
export const EXTEND_BY: readonly number[] = [0, 0, 3, 3, 2, 2, 1, 1];

/** vs1 of VMUNARY0. */
export const enum MaskSet { SBF = 1, SOF = 2, SIF = 3, IOTA = 16, ID = 17 }
/** vs1 of VWXUNARY0. */
export const enum ToScalar { MV = 0, CPOP = 16, FIRST = 17 }
/** vs1 of VFUNARY1. */
export const enum FloatUnary { SQRT = 0, RSQRT7 = 4, REC7 = 5, CLASS = 16 }
/** vs1 of VFUNARY0: bits 2..0 and 4..3 (same width, widening, narrowing). */
export const enum Convert { XU_F = 0, X_F = 1, F_XU = 2, F_X = 3, F_F = 4, ROD_F_F = 5, RTZ_XU_F = 6, RTZ_X_F = 7 }
