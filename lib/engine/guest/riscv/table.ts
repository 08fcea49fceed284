/** The instruction table: rows of mask, match and handler; the lookup; nothing else knows encodings. */
import type { LiftContext } from './lift-context.js';

/** Extensions that a CPU may lack. Those of RV64IMA, Zicsr and Zifencei are always there. */
export type Ext = 'i' | 'm' | 'a' | 'f' | 'd' | 'zba' | 'zbb' | 'zbs' | 'zbc' | 'zicbom' | 'zicboz' | 'zbkb' | 'zbkx' | 'zbkc' | 'zknd' | 'zkne' | 'zknh' | 'svinval' | 'zicond' | 'zfh' | 'v';

export interface Row {
  readonly name: string;
  readonly mask: number;
  readonly match: number;
  /** Any of these extensions brings the instruction. */
  readonly ext: readonly Ext[];
  readonly h: (c: LiftContext) => void;
}

export const row = (name: string, mask: number, match: number, ext: Ext | readonly Ext[], h: (c: LiftContext) => void): Row => ({
  name, mask: mask | 0, match: match | 0, ext: typeof ext === 'string' ? [ext] : ext, h,
});

/** Masks by instruction format. */
export const enum M {
  /** opcode */
  U = 0x0000_007f,
  /** opcode, funct3 */
  I = 0x0000_707f,
  /** opcode, funct3, funct7 */
  R = 0xfe00_707f | 0,
  /** opcode, funct3, six upper bits (64-bit shifts) */
  SH = 0xfc00_707f | 0,
  /** opcode, funct3, all of imm */
  R2 = 0xfff0_707f | 0,
  /** opcode, funct7; funct3 is a rounding mode */
  FP = 0xfe00_007f | 0,
  /** opcode, funct7, rs2; funct3 is a rounding mode */
  FP1 = 0xfff0_007f | 0,
  /** opcode, fmt; fused */
  FP4 = 0x0600_007f,
  /** opcode, funct3, funct5 (aq and rl free) */
  AMO = 0xf800_707f | 0,
  /** the same without rs2 */
  LR = 0xf9f0_707f | 0,
  ALL = 0xffff_ffff | 0,
}

/** Bits of opcode and funct3. */
const KEY = 0x707f;

/** Rows by opcode and funct3, in the order given. */
export class InsnTable {
  /** Made when first asked for: programs use few of them. */
  private readonly buckets = new Array<readonly Row[] | undefined>(1024).fill(undefined);

  constructor(readonly rows: readonly Row[]) {}

  /** @returns the row of a 32-bit instruction, or null. */
  find(insn: number): Row | null {
    const key = (insn & 127) | (((insn >>> 12) & 7) << 7);
    const b = (this.buckets[key] ??= this.rows.filter((r) => ((insn ^ r.match) & r.mask & KEY) === 0));
    for (let i = 0; i < b.length; i++) {
      const r = b[i]!;
      if ((insn & r.mask) === r.match) return r;
    }
    return null;
  }
}
