/**
 * Compressed instructions (vol. I, chapter 26, Zca and Zcd of RV64), as data: each row names the 32-bit instruction it stands for.
 * The lifter then only knows those.
 */

export interface CompressedRow {
  readonly name: string;
  readonly mask: number;
  readonly match: number;
  /** Needs floating-point registers. */
  readonly fp?: boolean;
  /** The instruction it stands for; 0 if the operands are reserved. */
  expand(c: number): number;
}

const bit = (c: number, from: number, to: number): number => ((c >>> from) & 1) << to;
const bits = (c: number, from: number, n: number, to: number): number => ((c >>> from) & ((1 << n) - 1)) << to;
/** rd/rs1 (11..7) and rs2 (6..2). */
const r1 = (c: number): number => (c >>> 7) & 31;
const r2 = (c: number): number => (c >>> 2) & 31;
/** The three-bit register fields, for x8..x15. */
const q1 = (c: number): number => 8 + ((c >>> 7) & 7);
const q2 = (c: number): number => 8 + ((c >>> 2) & 7);

const OP_LOAD = 0x03;
const OP_LOAD_FP = 0x07;
const OP_IMM = 0x13;
const OP_IMM32 = 0x1b;
const OP_STORE = 0x23;
const OP_STORE_FP = 0x27;
const OP = 0x33;
const OP_LUI = 0x37;
const OP_32 = 0x3b;
const OP_BRANCH = 0x63;
const OP_JALR = 0x67;
const OP_JAL = 0x6f;
const EBREAK = 0x0010_0073;

const I = (op: number, f3: number, rd: number, rs1: number, imm: number): number => ((imm & 0xfff) << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op;
const R = (op: number, f3: number, f7: number, rd: number, rs1: number, rs2: number): number => (f7 << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op;
const S = (op: number, f3: number, rs1: number, rs2: number, imm: number): number => ((imm >> 5) & 0x7f) << 25 | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | op;
const B = (f3: number, rs1: number, rs2: number, imm: number): number =>
  (((imm >> 12) & 1) << 31) | (((imm >> 5) & 63) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (((imm >> 1) & 15) << 8) | (((imm >> 11) & 1) << 7) | OP_BRANCH;
const J = (rd: number, imm: number): number => (((imm >> 20) & 1) << 31) | (((imm >> 1) & 0x3ff) << 21) | (((imm >> 11) & 1) << 20) | (((imm >> 12) & 0xff) << 12) | (rd << 7) | OP_JAL;

/** Immediates. */
const imm6 = (c: number): number => ((bits(c, 2, 5, 0) | bit(c, 12, 5)) << 26) >> 26;
const shamt = (c: number): number => bits(c, 2, 5, 0) | bit(c, 12, 5);
const offW = (c: number): number => bit(c, 6, 2) | bits(c, 10, 3, 3) | bit(c, 5, 6);
const offD = (c: number): number => bits(c, 10, 3, 3) | bits(c, 5, 2, 6);
const lwsp = (c: number): number => bits(c, 4, 3, 2) | bit(c, 12, 5) | bits(c, 2, 2, 6);
const ldsp = (c: number): number => bits(c, 5, 2, 3) | bit(c, 12, 5) | bits(c, 2, 3, 6);
const swsp = (c: number): number => bits(c, 9, 4, 2) | bits(c, 7, 2, 6);
const sdsp = (c: number): number => bits(c, 10, 3, 3) | bits(c, 7, 3, 6);
const offJ = (c: number): number => ((bits(c, 3, 3, 1) | bit(c, 11, 4) | bit(c, 2, 5) | bit(c, 7, 6) | bit(c, 6, 7) | bits(c, 9, 2, 8) | bit(c, 8, 10) | bit(c, 12, 11)) << 20) >> 20;
const offB = (c: number): number => ((bits(c, 3, 2, 1) | bits(c, 10, 2, 3) | bit(c, 2, 5) | bits(c, 5, 2, 6) | bit(c, 12, 8)) << 23) >> 23;
const imm4spn = (c: number): number => bit(c, 6, 2) | bit(c, 5, 3) | bits(c, 11, 2, 4) | bits(c, 7, 4, 6);
const imm16sp = (c: number): number => ((bit(c, 6, 4) | bit(c, 2, 5) | bit(c, 5, 6) | bits(c, 3, 2, 7) | bit(c, 12, 9)) << 22) >> 22;

/** Rows in the order they are tried: the more special one first. */
export const COMPRESSED: readonly CompressedRow[] = [
  // Quadrant 0.
  { name: 'c.addi4spn', mask: 0xe003, match: 0x0000, expand: (c) => (imm4spn(c) === 0 ? 0 : I(OP_IMM, 0, q2(c), 2, imm4spn(c))) },
  { name: 'c.fld', mask: 0xe003, match: 0x2000, fp: true, expand: (c) => I(OP_LOAD_FP, 3, q2(c), q1(c), offD(c)) },
  { name: 'c.lw', mask: 0xe003, match: 0x4000, expand: (c) => I(OP_LOAD, 2, q2(c), q1(c), offW(c)) },
  { name: 'c.ld', mask: 0xe003, match: 0x6000, expand: (c) => I(OP_LOAD, 3, q2(c), q1(c), offD(c)) },
  { name: 'c.fsd', mask: 0xe003, match: 0xa000, fp: true, expand: (c) => S(OP_STORE_FP, 3, q1(c), q2(c), offD(c)) },
  { name: 'c.sw', mask: 0xe003, match: 0xc000, expand: (c) => S(OP_STORE, 2, q1(c), q2(c), offW(c)) },
  { name: 'c.sd', mask: 0xe003, match: 0xe000, expand: (c) => S(OP_STORE, 3, q1(c), q2(c), offD(c)) },
  // Quadrant 1.
  { name: 'c.addi', mask: 0xe003, match: 0x0001, expand: (c) => I(OP_IMM, 0, r1(c), r1(c), imm6(c)) },
  { name: 'c.addiw', mask: 0xe003, match: 0x2001, expand: (c) => (r1(c) === 0 ? 0 : I(OP_IMM32, 0, r1(c), r1(c), imm6(c))) },
  { name: 'c.li', mask: 0xe003, match: 0x4001, expand: (c) => I(OP_IMM, 0, r1(c), 0, imm6(c)) },
  { name: 'c.addi16sp', mask: 0xef83, match: 0x6101, expand: (c) => (imm16sp(c) === 0 ? 0 : I(OP_IMM, 0, 2, 2, imm16sp(c))) },
  { name: 'c.lui', mask: 0xe003, match: 0x6001, expand: (c) => (imm6(c) === 0 ? 0 : ((imm6(c) << 12) | (r1(c) << 7) | OP_LUI)) },
  { name: 'c.srli', mask: 0xec03, match: 0x8001, expand: (c) => I(OP_IMM, 5, q1(c), q1(c), shamt(c)) },
  { name: 'c.srai', mask: 0xec03, match: 0x8401, expand: (c) => I(OP_IMM, 5, q1(c), q1(c), shamt(c) | 0x400) },
  { name: 'c.andi', mask: 0xec03, match: 0x8801, expand: (c) => I(OP_IMM, 7, q1(c), q1(c), imm6(c)) },
  { name: 'c.sub', mask: 0xfc63, match: 0x8c01, expand: (c) => R(OP, 0, 0x20, q1(c), q1(c), q2(c)) },
  { name: 'c.xor', mask: 0xfc63, match: 0x8c21, expand: (c) => R(OP, 4, 0, q1(c), q1(c), q2(c)) },
  { name: 'c.or', mask: 0xfc63, match: 0x8c41, expand: (c) => R(OP, 6, 0, q1(c), q1(c), q2(c)) },
  { name: 'c.and', mask: 0xfc63, match: 0x8c61, expand: (c) => R(OP, 7, 0, q1(c), q1(c), q2(c)) },
  { name: 'c.subw', mask: 0xfc63, match: 0x9c01, expand: (c) => R(OP_32, 0, 0x20, q1(c), q1(c), q2(c)) },
  { name: 'c.addw', mask: 0xfc63, match: 0x9c21, expand: (c) => R(OP_32, 0, 0, q1(c), q1(c), q2(c)) },
  { name: 'c.j', mask: 0xe003, match: 0xa001, expand: (c) => J(0, offJ(c)) },
  { name: 'c.beqz', mask: 0xe003, match: 0xc001, expand: (c) => B(0, q1(c), 0, offB(c)) },
  { name: 'c.bnez', mask: 0xe003, match: 0xe001, expand: (c) => B(1, q1(c), 0, offB(c)) },
  // Quadrant 2.
  { name: 'c.slli', mask: 0xe003, match: 0x0002, expand: (c) => I(OP_IMM, 1, r1(c), r1(c), shamt(c)) },
  { name: 'c.fldsp', mask: 0xe003, match: 0x2002, fp: true, expand: (c) => I(OP_LOAD_FP, 3, r1(c), 2, ldsp(c)) },
  { name: 'c.lwsp', mask: 0xe003, match: 0x4002, expand: (c) => (r1(c) === 0 ? 0 : I(OP_LOAD, 2, r1(c), 2, lwsp(c))) },
  { name: 'c.ldsp', mask: 0xe003, match: 0x6002, expand: (c) => (r1(c) === 0 ? 0 : I(OP_LOAD, 3, r1(c), 2, ldsp(c))) },
  { name: 'c.ebreak', mask: 0xffff, match: 0x9002, expand: () => EBREAK },
  { name: 'c.jr', mask: 0xf07f, match: 0x8002, expand: (c) => (r1(c) === 0 ? 0 : I(OP_JALR, 0, 0, r1(c), 0)) },
  { name: 'c.jalr', mask: 0xf07f, match: 0x9002, expand: (c) => I(OP_JALR, 0, 1, r1(c), 0) },
  { name: 'c.mv', mask: 0xf003, match: 0x8002, expand: (c) => R(OP, 0, 0, r1(c), 0, r2(c)) },
  { name: 'c.add', mask: 0xf003, match: 0x9002, expand: (c) => R(OP, 0, 0, r1(c), r1(c), r2(c)) },
  { name: 'c.fsdsp', mask: 0xe003, match: 0xa002, fp: true, expand: (c) => S(OP_STORE_FP, 3, 2, r2(c), sdsp(c)) },
  { name: 'c.swsp', mask: 0xe003, match: 0xc002, expand: (c) => S(OP_STORE, 2, 2, r2(c), swsp(c)) },
  { name: 'c.sdsp', mask: 0xe003, match: 0xe002, expand: (c) => S(OP_STORE, 3, 2, r2(c), sdsp(c)) },
];

/** Rows by quadrant and funct3, in their order. */
const ROWS: readonly (readonly CompressedRow[])[] = Array.from({ length: 32 }, (_, k) => COMPRESSED.filter((r) => ((r.match ^ ((k & 3) | ((k >> 2) << 13))) & r.mask & 0xe003) === 0));

function expandNew(c: number): number {
  const rows = ROWS[(c & 3) | ((c >>> 13) << 2)]!;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if ((c & row.mask) === row.match) return row.expand(c);
  }
  return 0;
}

/** What `expand` has found, by pattern; -1, which is no instruction, where it has not been asked. */
let found: Int32Array | null = null;

/**
 * The instruction that a compressed one stands for; 0: illegal (0 itself is defined to be illegal).
 * @param c 16-bit pattern whose low two bits are not both set
 */
export function expand(c: number): number {
  // Patterns are looked up as programs have them: making all 65,536 took longer than the rest of a CPU.
  if (found === null) found = new Int32Array(0x1_0000).fill(-1);
  let insn = found[c]!;
  if (insn === -1) {
    found[c] = insn = expandNew(c);
  }
  return insn;
}
