/** What instruction handlers write IR with: the instruction's fields, operands as slots, and common sequences. */
import type { CodeWindow } from '../../cpu.js';
import type { IrBuilder } from '../../ir/builder.js';
import { type FloatOp, Op } from '../../ir/ops.js';
import { Access, ExitCode, NONE, Slot } from '../../state.js';
import { freg, Mode, Ms, Priv, X, xreg } from './defs.js';
import { Idioms } from './idioms.js';

/** Helpers that the lifter calls, by name; the registry must define them all. */
export const HELPER_NAMES = [
  'illegal', 'unknown', 'ecall', 'ebreak', 'mret', 'sret', 'wfi', 'pause', 'sfence_vma', 'csr', 'csr_rare', 'fp_off', 'fs_dirty', 'cbo', 'fp', 'fop', 'clmul', 'xperm', 'aes64', 'brev8', 'vector',
] as const;
export type HelperName = (typeof HELPER_NAMES)[number];

export class LiftContext {
  b!: IrBuilder;
  mode = 0;
  /** The instruction, compressed ones expanded. */
  insn = 0;
  /** The instruction as it lies in memory. */
  raw = 0;
  /** mstatus.VS, if the CPU has vectors. */
  vs = 0;
  /** Instructions of the block that X.INSTRET does not have yet. */
  uncounted = 0;
  /** Register that a LUI of this block has set and nothing since (0: none), and its value. */
  constantOf = 0;
  constant = 0;
  /** Page offset of the instruction and of the next one. */
  start = 0;
  next = 0;
  /** Where the next instruction lies. */
  win!: Readonly<CodeWindow>;
  /** Position in the window after the last byte that a decision was made from. */
  used = 0;

  /** What registers are known to hold, or null: idioms are not looked for. */
  idioms: Idioms | null = null;
  private readonly known = new Idioms();

  constructor(private readonly ids: Readonly<Record<HelperName, number>>) {}

  /** At the start of a block. */
  lookForIdioms(on: boolean): void {
    this.idioms = on ? this.known : null;
    this.known.begin();
  }

  // ---- fields

  get rdNum(): number {
    return (this.insn >>> 7) & 31;
  }
  get rs1Num(): number {
    return (this.insn >>> 15) & 31;
  }
  get rs2Num(): number {
    return (this.insn >>> 20) & 31;
  }
  get funct3(): number {
    return (this.insn >>> 12) & 7;
  }
  get immI(): number {
    return this.insn >> 20;
  }
  get immS(): number {
    return ((this.insn >> 25) << 5) | ((this.insn >>> 7) & 31);
  }
  get immB(): number {
    const i = this.insn;
    return ((i >> 31) << 12) | (((i >>> 7) & 1) << 11) | (((i >>> 25) & 63) << 5) | (((i >>> 8) & 15) << 1);
  }
  get immU(): number {
    return this.insn & 0xffff_f000;
  }
  get immJ(): number {
    const i = this.insn;
    return ((i >> 31) << 20) | (((i >>> 12) & 0xff) << 12) | (((i >>> 20) & 1) << 11) | (((i >>> 21) & 0x3ff) << 1);
  }

  // ---- operands

  /** Slot of an integer register to read. */
  x(r: number): number {
    return r === 0 ? this.b.k(0) : xreg(r);
  }
  get rs1(): number {
    return this.x(this.rs1Num);
  }
  get rs2(): number {
    return this.x(this.rs2Num);
  }
  /** Slot to write rd to; a temporary that nobody reads for x0. */
  get rd(): number {
    const r = this.rdNum;
    return r === 0 ? this.b.temp() : xreg(r);
  }
  get frd(): number {
    return freg(this.rdNum);
  }
  get frs1(): number {
    return freg(this.rs1Num);
  }
  get frs2(): number {
    return freg(this.rs2Num);
  }
  get frs3(): number {
    return freg(this.insn >>> 27);
  }

  // ---- sequences

  /** rd = a op b at width w; 32-bit results are sign-extended. */
  op(op: Op, w: number, a: number, b: number): void {
    if (w === 3) {
      this.b.alu(op, 3, this.rd, a, b);
      return;
    }
    const t = this.b.temp();
    this.b.alu(op, 2, t, a, b);
    this.word(t);
  }

  /** rd = temporary t, sign-extended from 32 bits. */
  word(t: number): void {
    this.b.sx(2, 64, this.rd, t);
    this.idioms?.word(this.rdNum, t);
  }

  /** Slot whose low 32 bits are register r's, for an operation on words. */
  low(r: number): number {
    return this.idioms === null ? this.x(r) : this.idioms.low(this, r);
  }

  /** Address rs1 + imm. */
  address(imm: number): number {
    if (imm === 0) return this.rs1;
    const t = this.b.temp();
    this.b.lea(3, t, this.rs1, NONE, 0, imm);
    return t;
  }

  /** dst = linear address of page offset `off`. */
  pc(dst: number, off: number): void {
    this.b.lea(3, dst, Slot.PCBASE, NONE, 0, off);
  }

  /** dst = condition cc of the flags as 0 or 1. */
  flag(cc: number, dst: number): void {
    const t = this.b.temp();
    this.b.setcc(cc, t);
    this.b.zx(0, dst, t);
  }

  load(w: number, dst: number, addr: number, acc: Access = Access.NORMAL): void {
    this.b.ld(w, dst, addr, acc);
  }

  call(name: HelperName, dst = NONE, a = NONE, b = NONE, c = NONE, imm = 0): void {
    this.b.call(this.ids[name], dst, a, b, c, imm);
  }

  /** dst = the counter `time`; the helper makes it where generated code may not. */
  time(name: HelperName, dst: number, imm: number): void {
    const t = this.b.temp();
    this.b.time(this.ids[name], t, imm);
    this.b.mov(3, dst, t);
  }

  /** Floating point that hosts may do themselves; the helper `fop` does the same with the instruction. */
  fop(kind: FloatOp, w: number, dst: number, a: number, b: number, c: number): void {
    this.b.fop(kind, w, this.ids.fop, dst, a, b, c, this.insn);
  }

  /** Counts the instructions before this one that are not in X.INSTRET yet. */
  retire(): void {
    if (this.uncounted > 0 && this.mode & Mode.COUNT) this.b.alu(Op.ADD, 3, X.INSTRET, X.INSTRET, this.b.k(this.uncounted));
    this.uncounted = 0;
  }

  /** A helper that never comes back, or only with a new PC. */
  leave(name: HelperName, a = NONE, b = NONE, imm = 0): void {
    this.retire();
    this.call(name, NONE, a, b, NONE, imm);
    this.b.exit(ExitCode.NEXT, this.next);
  }

  /** No row of the table has it. */
  unknown(): void {
    this.leave('unknown', NONE, NONE, this.raw);
  }

  illegal(): void {
    this.leave('illegal', NONE, NONE, this.raw);
  }

  /** There is no floating point in this mode; M and S may get another one. */
  noFp(): void {
    this.leave('fp_off', NONE, NONE, this.raw);
  }

  /** A helper (operand a = bb) if the low w bits of cond are not 0; it leaves the block. */
  leaveIf(name: HelperName, w: number, cond: number, bb = NONE, imm = 0): void {
    this.b.callIf(this.ids[name], w, cond, bb, imm);
  }

  /**
   * Before a floating-point instruction. False: FS is Off, and the instruction has become an illegal one.
   * @param writes it changes floating-point state
   * @param moves it only moves registers: a kernel that saves and restores them stays in the mode it is in
   */
  fpReady(writes: boolean, moves = false): boolean {
    if (moves && (this.mode & (Mode.FP | Mode.PRIV | Mode.STEP | Mode.COUNT)) === Priv.S) {
      const { b } = this;
      const [fs, off] = [b.temp(), b.temp()];
      b.alu(Op.AND, 2, fs, X.MSTATUS, b.k(Ms.FS));
      b.alu3(Op.SELNZ, 2, off, fs, b.k(0), b.k(1));
      this.leaveIf('fp_off', 2, off, NONE, this.raw);
      if (writes) b.alu(Op.OR, 2, X.MSTATUS, X.MSTATUS, b.k(Ms.FS));
      return true;
    }
    if (!(this.mode & Mode.FP)) {
      this.noFp();
      return false;
    }
    // Comes back with another mode, to the same instruction.
    if (writes && !(this.mode & Mode.FP_DIRTY)) {
      this.leave('fs_dirty');
      return false;
    }
    return true;
  }
}
