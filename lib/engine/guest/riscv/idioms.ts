/**
 * What compilers write with several instructions because RV64G has no single one (`--disable-pass idioms`): rotations (SLLIW, SRLIW, OR), zero extensions (SLLI, SRLI), and
 * chains of 32-bit operations, each of which sign-extends what the next one cuts off again. The last instruction of an idiom is lifted as what it comes to, from the operands that the first
 * ones had; those keep their IR, and the passes drop it where nothing can see their results any more (ir/passes.ts, docs/adr/0073).
 */
import { F, Op } from '../../ir/ops.js';
import { NONE, Slot } from '../../state.js';
import type { LiftContext } from './lift-context.js';

/** What is known of a register's value. */
const enum Known {
  NOTHING = 0,
  /** Another register shifted by a constant: 32 bits (sign-extended) or 64. */
  SLLIW, SRLIW, SLLI, SRLI,
  /** A temporary, sign-extended from 32 bits. */
  WORD,
}

/** Instructions between two links of a chain, at most: its temporary stays in one of the host's few free registers. */
const FAR = 6;

/** Knowledge of registers, by number; good until the register, or the one that it was made of, is written. Times count instructions, over all blocks. */
export class Idioms {
  private now = 1;
  private begun = 1;
  /** Time of the last write to each register in this block. */
  private readonly written = new Int32Array(32);
  private readonly kind = new Uint8Array(32);
  private readonly known = new Int32Array(32);
  /** The other register and the count, or the temporary. */
  private readonly from = new Int32Array(32);
  private readonly count = new Uint8Array(32);
  /** Time of the last instruction that may leave the block. */
  private left = 0;

  begin(): void {
    // Well before the numbers of instructions stop being int32s.
    if (this.now > 0x3fff_ffff) {
      this.now = 1;
      this.written.fill(0);
      this.known.fill(0);
    }
    this.begun = ++this.now;
    this.left = this.begun - 1;
  }

  /** After each instruction. `rd`: bits 7 to 11 of any instruction, whether it writes a register or not; `plain`: it computes, and nothing else. */
  after(rd: number, plain: boolean): void {
    this.written[rd] = this.now;
    if (!plain) this.left = this.now;
    this.now++;
  }

  /** Register rd becomes rs1 shifted by n. */
  shifted(c: LiftContext, op: Op, w: number, n: number): void {
    const rd = c.rdNum;
    if (rd === 0 || rd === c.rs1Num || (op !== Op.SHL && op !== Op.SHR)) return;
    this.kind[rd] = op === Op.SHL ? (w === 2 ? Known.SLLIW : Known.SLLI) : w === 2 ? Known.SRLIW : Known.SRLI;
    this.from[rd] = c.rs1Num;
    this.count[rd] = n;
    this.known[rd] = this.now;
  }

  /** Register rd becomes what r is. */
  moved(rd: number, r: number): void {
    const kind = this.of(r);
    if (kind === Known.NOTHING || kind === Known.WORD || rd === 0 || rd === this.from[r]) return;
    this.kind[rd] = kind;
    this.from[rd] = this.from[r]!;
    this.count[rd] = this.count[r]!;
    this.known[rd] = this.now;
  }

  /** Register rd becomes temporary t, sign-extended. */
  word(rd: number, t: number): void {
    this.kind[rd] = Known.WORD;
    this.from[rd] = t;
    this.known[rd] = this.now;
  }

  /** What register r has been since it was last written, if that is still true of the register it was made of. */
  private of(r: number): Known {
    const at = this.known[r]!;
    if (at < this.begun || this.written[r] !== at) return Known.NOTHING;
    const kind: Known = this.kind[r]!;
    if (kind !== Known.WORD && this.written[this.from[r]!]! >= at) return Known.NOTHING;
    return kind;
  }

  /** Slot of register r for an operation of 32 bits that overwrites r: the temporary that it is the sign extension of, if that is at hand. */
  low(c: LiftContext, r: number): number {
    const at = this.known[r]!;
    return r !== 0 && r === c.rdNum && this.of(r) === Known.WORD && at > this.left && this.now - at <= FAR ? this.from[r]! : c.x(r);
  }

  /** OR (or XOR, ADD) of two shifts of one register whose counts add up to the width. @returns true if it has been lifted */
  rotates(c: LiftContext): boolean {
    let left = c.rs1Num;
    let right = c.rs2Num;
    let l = this.of(left);
    if (l === Known.NOTHING || l === Known.WORD) return false;
    if (l === Known.SRLIW || l === Known.SRLI) {
      left = right;
      right = c.rs1Num;
      l = this.of(left);
    }
    const w = l === Known.SLLIW ? 2 : 3;
    if ((l !== Known.SLLIW && l !== Known.SLLI) || this.of(right) !== (w === 2 ? Known.SRLIW : Known.SRLI)) return false;
    const n = this.count[right]!;
    const src = this.from[left]!;
    if (src === 0 || src !== this.from[right] || n === 0 || n + this.count[left]! !== 8 << w) return false;
    c.op(Op.ROR, w, c.x(src), c.b.k(n));
    return true;
  }

  /** SRLI by n of what SLLI has shifted by as many: a zero extension. @returns true if it has been lifted */
  extends(c: LiftContext, n: number): boolean {
    const w = n === 32 ? 2 : n === 48 ? 1 : n === 56 ? 0 : -1;
    if (w < 0) return false;
    const r = c.rs1Num;
    if (this.of(r) === Known.SLLI && this.count[r] === n && this.from[r] !== 0) {
      c.b.zx(w, c.rd, c.x(this.from[r]!));
      return true;
    }
    // SLLI r, r and SRLI r, r, next to each other: the first one's record is taken back.
    const { b } = c;
    const p = c.rdNum === r && r !== 0 ? b.last(Op.SHL, c.rd) : -1;
    if (p < 0 || b.buf[p + F.B] !== b.k(n)) return false;
    b.takeBack();
    b.zx(w, c.rd, b.buf[p + F.A]!);
    return true;
  }

  /** ADDI (w = 3) or ADDIW (w = 2) r, r, imm next to the AUIPC or LUI that has set r: one sum, which is an int32 away from PCBASE or from 0. @returns true if it has been lifted */
  adds(c: LiftContext, w: number, imm: number): boolean {
    const { b } = c;
    if (c.rdNum === 0 || c.rdNum !== c.rs1Num) return false;
    let p = w === 3 ? b.last(Op.LEA, c.rd) : -1;
    if (p >= 0) {
      const sum = b.buf[p + F.IMM]! + imm;
      if (b.buf[p + F.A] !== Slot.PCBASE || b.buf[p + F.B] !== NONE || sum !== (sum | 0)) return false;
      b.takeBack();
      c.pc(c.rd, sum);
      return true;
    }
    p = b.last(Op.MOV, c.rd);
    const k = p < 0 ? -1 : b.buf[p + F.A]! - Slot.CONST;
    if (k < 0) return false;
    const sum = b.consts.lo[k]! + imm;
    if (b.consts.hi[k] !== b.consts.lo[k]! >> 31 || sum !== (sum | 0)) return false;
    b.takeBack();
    b.mov(3, c.rd, b.k(sum));
    return true;
  }
}
