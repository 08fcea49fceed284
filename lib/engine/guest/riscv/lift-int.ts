/** RV64I, M and the scalar bit manipulation and cryptography extensions. */
import { Op } from '../../ir/ops.js';
import { Cc, Fl, NONE } from '../../state.js';
import type { LiftContext } from './lift-context.js';
import { type Ext, M, row, type Row } from './table.js';

type H = (c: LiftContext) => void;

const SIGNED = Fl.SF | Fl.OF;

/** opcode, funct3, funct7 */
const r = (name: string, op: number, f3: number, f7: number, ext: Ext | readonly Ext[], h: H): Row => row(name, M.R, op | (f3 << 12) | (f7 << 25), ext, h);
const i = (name: string, op: number, f3: number, ext: Ext, h: H): Row => row(name, M.I, op | (f3 << 12), ext, h);
/** Shift by a constant of six bits, with the six bits above it. */
const sh = (name: string, op: number, f3: number, f6: number, ext: Ext | readonly Ext[], h: H): Row => row(name, M.SH, op | (f3 << 12) | (f6 << 26), ext, h);
/** One source: the whole immediate is part of the opcode. */
const r2 = (name: string, op: number, f3: number, imm: number, ext: Ext | readonly Ext[], h: H): Row => row(name, M.R2, op | (f3 << 12) | (imm << 20), ext, h);

const rr = (op: Op, w: number): H => (c) => {
  if (w === 2) c.op(op, 2, c.low(c.rs1Num), c.low(c.rs2Num));
  else c.op(op, 3, c.rs1, c.rs2);
};
const ri = (op: Op): H => (c) => c.op(op, 3, c.rs1, c.b.k(c.immI));
const shift = (op: Op, w: number): H => (c) => {
  const n = c.immI & (w === 3 ? 63 : 31);
  if (op === Op.SHR && w === 3 && c.idioms?.extends(c, n) === true) return;
  // The upper half of a result of 32 bits is 0, and with the top bit clear that is its sign extension.
  if (op === Op.SHR && w === 2 && n > 0) c.b.alu(Op.SHR, 2, c.rd, c.low(c.rs1Num), c.b.k(n));
  else if (w === 2) c.op(op, 2, c.low(c.rs1Num), c.b.k(n));
  else c.op(op, 3, c.rs1, c.b.k(n));
  c.idioms?.shifted(c, op, w, n);
};

/** rd = register r */
const move = (c: LiftContext, r: number): void => {
  c.b.mov(3, c.rd, c.x(r));
  c.idioms?.moved(c.rdNum, r);
};

/** ADD, SUB, OR and XOR: with x0 a move or a negation, of two shifts perhaps a rotation. */
const sum = (op: Op, w: number): H => {
  const plain = rr(op, w);
  return (c) => {
    const s = c.rs2Num === 0 ? c.rs1Num : c.rs1Num === 0 && op !== Op.SUB ? c.rs2Num : -1;
    if (s >= 0) {
      if (w === 3) move(c, s);
      else c.b.sx(2, 64, c.rd, c.low(s));
    } else if (c.rs1Num === 0) {
      const t = w === 3 ? c.rd : c.b.temp();
      c.b.emit(Op.NEG, w, 0, 0, t, w === 3 ? c.rs2 : c.low(c.rs2Num), NONE, NONE, 0, 0);
      if (w === 2) c.word(t);
    } else if (w === 2 || op === Op.SUB || c.idioms?.rotates(c) !== true) plain(c);
  };
};

const compare = (cc: Cc, imm: boolean): H => (c) => {
  c.b.alu(Op.SUB, 3, NONE, c.rs1, imm ? c.b.k(c.immI) : c.rs2, cc === Cc.L ? SIGNED : Fl.CF);
  c.flag(cc, c.rd);
};

const branch = (cc: Cc): H => (c) => {
  const taken = c.start + c.immB;
  // Against zero a test is enough.
  if (c.rs2Num === 0 && c.rs1Num !== 0 && (cc === Cc.E || cc === Cc.NE)) {
    if (cc === Cc.NE) c.b.jnz(3, c.rs1, taken, c.next);
    else c.b.jnz(3, c.rs1, c.next, taken);
    return;
  }
  c.b.alu(Op.SUB, 3, NONE, c.rs1, c.rs2, cc === Cc.E || cc === Cc.NE ? Fl.ZF : cc === Cc.L || cc === Cc.GE ? SIGNED : Fl.CF);
  c.b.jcc(cc, taken, c.next);
};

const isLink = (r: number): boolean => r === 1 || r === 5;

const load = (w: number, signed: boolean): H => (c) => {
  const addr = c.address(c.immI);
  if (w === 3 || (w === 2 && !signed)) {
    c.load(w, c.rd, addr);
    return;
  }
  const t = c.b.temp();
  c.load(w, t, addr);
  if (signed) c.b.sx(w, 64, c.rd, t);
  else c.b.zx(w, c.rd, t);
};
const store = (w: number): H => (c) => c.b.st(w, c.address(c.immS), c.rs2);

const multiplyHigh = (op: Op): H => (c) => c.b.alu3(op, 3, c.b.temp(), c.rs1, c.rs2, c.rd);

/** High half of signed times unsigned: the unsigned product less b where a is negative. */
const mulhsu: H = (c) => {
  const high = c.b.temp();
  const sign = c.b.temp();
  const part = c.b.temp();
  c.b.alu3(Op.MUL, 3, c.b.temp(), c.rs1, c.rs2, high);
  c.b.alu(Op.SAR, 3, sign, c.rs1, c.b.k(63));
  c.b.alu(Op.AND, 3, part, sign, c.rs2);
  c.b.alu(Op.SUB, 3, c.rd, high, part);
};

/** The CPU's `divide` gives the results that RISC-V defines for what a host would trap on. */
const divide = (op: Op, w: number, remainder: boolean): H => (c) => {
  const { b } = c;
  let high = b.k(0);
  if (op === Op.IDIV) {
    high = b.temp();
    b.alu(Op.SAR, w, high, c.rs1, b.k(w === 3 ? 63 : 31));
  }
  const dst = w === 3 ? c.rd : b.temp();
  b.emit(op, w, 0, 0, remainder ? NONE : dst, c.rs1, high, c.rs2, remainder ? dst : NONE, 0);
  if (w === 2) b.sx(2, 64, c.rd, dst);
};

/** rd = rs2 + (rs1 << n), rs1 cut to 32 bits for the .uw forms. */
const shiftAdd = (n: number, word: boolean): H => (c) => {
  let a = c.rs1;
  if (word) {
    a = c.b.temp();
    c.b.zx(2, a, c.rs1);
  }
  c.b.lea(3, c.rd, c.rs2, a, n, 0);
};

const minmax = (cc: Cc, unsigned: boolean): H => (c) => {
  c.b.alu(Op.SUB, 3, NONE, c.rs1, c.rs2, unsigned ? Fl.CF | Fl.ZF : SIGNED | Fl.ZF);
  c.b.cmov(cc, 3, c.rd, c.rs1, c.rs2);
};

const one = (op: Op, w: number): H => (c) => c.b.emit(op, w, 0, 0, c.rd, c.rs1, NONE, NONE, 0, 0);

/** rd = rs1 op ~rs2 */
const inverted = (op: Op): H => (c) => {
  const t = c.b.temp();
  c.b.emit(Op.NOT, 3, 0, 0, t, c.rs2, NONE, NONE, 0, 0);
  c.b.alu(op, 3, c.rd, c.rs1, t);
};

const bitOp = (op: Op, imm: boolean): H => (c) => c.b.alu(op, 3, c.rd, c.rs1, imm ? c.b.k(c.immI & 63) : c.rs2);
const bext = (imm: boolean): H => (c) => {
  const t = c.b.temp();
  c.b.alu(Op.SHR, 3, t, c.rs1, imm ? c.b.k(c.immI & 63) : c.rs2);
  c.b.alu(Op.AND, 3, c.rd, t, c.b.k(1));
};

/** Bytes that are not zero become FF: x | ((x & 7f..) + 7f..) has the top bit of each byte set exactly then. */
const orcb: H = (c) => {
  const { b } = c;
  const low = b.k64(0x7f7f_7f7f, 0x7f7f_7f7f);
  const [t1, t2, t3, t4, t5, t6] = [b.temp(), b.temp(), b.temp(), b.temp(), b.temp(), b.temp()];
  b.alu(Op.AND, 3, t1, c.rs1, low);
  b.alu(Op.ADD, 3, t2, t1, low);
  b.alu(Op.OR, 3, t3, t2, c.rs1);
  b.alu(Op.AND, 3, t4, t3, b.k64(0x8080_8080 | 0, 0x8080_8080 | 0));
  b.alu(Op.SHL, 3, t5, t4, b.k(1));
  b.alu(Op.SHR, 3, t6, t4, b.k(7));
  b.alu(Op.SUB, 3, c.rd, t5, t6);
};

/** rd = rs1 if rs2 is (not) zero, else 0. */
const czero = (whenZero: boolean): H => (c) => c.b.alu3(Op.SELNZ, 3, c.rd, c.rs2, whenZero ? c.rs1 : c.b.k(0), whenZero ? c.b.k(0) : c.rs1);

/** Low halves of rs1 and rs2 side by side, `bits` each. */
const pack = (bits: 8 | 16 | 32): H => (c) => {
  const { b } = c;
  const w = bits === 8 ? 0 : bits === 16 ? 1 : 2;
  const [lo, hi, up] = [b.temp(), b.temp(), b.temp()];
  b.zx(w, lo, c.rs1);
  b.zx(w, hi, c.rs2);
  b.alu(Op.SHL, 3, up, hi, b.k(bits));
  if (bits !== 16) {
    b.alu(Op.OR, 3, c.rd, lo, up);
    return;
  }
  const t = b.temp();
  b.alu(Op.OR, 3, t, lo, up);
  b.sx(2, 64, c.rd, t);
};

/** SHA-2 functions: exclusive or of rotations, and a shift (shift < 0: a third rotation). */
const sha = (w: 2 | 3, r1: number, r2: number, r3: number, isShift: boolean): H => (c) => {
  const { b } = c;
  const [t1, t2, t3, t4] = [b.temp(), b.temp(), b.temp(), b.temp()];
  b.alu(Op.ROR, w, t1, c.rs1, b.k(r1));
  b.alu(Op.ROR, w, t2, c.rs1, b.k(r2));
  b.alu(isShift ? Op.SHR : Op.ROR, w, t3, c.rs1, b.k(r3));
  b.alu(Op.XOR, w, t4, t1, t2);
  c.op(Op.XOR, w, t4, t3);
};

/** A helper with operands rs1 and rs2 and the instruction. */
const helper = (name: 'clmul' | 'xperm' | 'aes64' | 'brev8'): H => (c) => c.call(name, c.rd, c.rs1, c.rs2, NONE, c.insn);

const BASE: readonly Row[] = [
  row('lui', M.U, 0x37, 'i', (c) => c.b.mov(3, c.rd, c.b.k(c.immU))),
  row('auipc', M.U, 0x17, 'i', (c) => c.pc(c.rd, c.start + c.immU)),
  row('jal', M.U, 0x6f, 'i', (c) => {
    if (c.rdNum !== 0) c.pc(c.rd, c.next);
    c.b.jmp(c.start + c.immJ, isLink(c.rdNum) ? 1 : 0);
  }),
  i('jalr', 0x67, 0, 'i', (c) => {
    const t = c.b.temp();
    c.b.alu(Op.AND, 3, t, c.address(c.immI), c.b.k(-2));
    if (c.rdNum !== 0) c.pc(c.rd, c.next);
    c.b.jmpi(t, isLink(c.rdNum) ? 1 : isLink(c.rs1Num) ? 2 : 0);
  }),
  i('beq', 0x63, 0, 'i', branch(Cc.E)),
  i('bne', 0x63, 1, 'i', branch(Cc.NE)),
  i('blt', 0x63, 4, 'i', branch(Cc.L)),
  i('bge', 0x63, 5, 'i', branch(Cc.GE)),
  i('bltu', 0x63, 6, 'i', branch(Cc.B)),
  i('bgeu', 0x63, 7, 'i', branch(Cc.AE)),
  i('lb', 0x03, 0, 'i', load(0, true)),
  i('lh', 0x03, 1, 'i', load(1, true)),
  i('lw', 0x03, 2, 'i', load(2, true)),
  i('ld', 0x03, 3, 'i', load(3, true)),
  i('lbu', 0x03, 4, 'i', load(0, false)),
  i('lhu', 0x03, 5, 'i', load(1, false)),
  i('lwu', 0x03, 6, 'i', load(2, false)),
  i('sb', 0x23, 0, 'i', store(0)),
  i('sh', 0x23, 1, 'i', store(1)),
  i('sw', 0x23, 2, 'i', store(2)),
  i('sd', 0x23, 3, 'i', store(3)),
  i('addi', 0x13, 0, 'i', (c) => {
    if (c.immI === 0) move(c, c.rs1Num);
    else if (c.rs1Num === 0) c.b.mov(3, c.rd, c.b.k(c.immI));
    else if (c.idioms?.adds(c, 3, c.immI) !== true) c.b.lea(3, c.rd, c.rs1, NONE, 0, c.immI);
  }),
  i('slti', 0x13, 2, 'i', compare(Cc.L, true)),
  i('sltiu', 0x13, 3, 'i', compare(Cc.B, true)),
  i('xori', 0x13, 4, 'i', (c) => {
    if (c.immI === -1) c.b.emit(Op.NOT, 3, 0, 0, c.rd, c.rs1, NONE, NONE, 0, 0);
    else c.op(Op.XOR, 3, c.rs1, c.b.k(c.immI));
  }),
  i('ori', 0x13, 6, 'i', ri(Op.OR)),
  i('andi', 0x13, 7, 'i', ri(Op.AND)),
  sh('slli', 0x13, 1, 0, 'i', shift(Op.SHL, 3)),
  sh('srli', 0x13, 5, 0, 'i', shift(Op.SHR, 3)),
  sh('srai', 0x13, 5, 0x10, 'i', shift(Op.SAR, 3)),
  r('add', 0x33, 0, 0, 'i', sum(Op.ADD, 3)),
  r('sub', 0x33, 0, 0x20, 'i', sum(Op.SUB, 3)),
  r('sll', 0x33, 1, 0, 'i', rr(Op.SHL, 3)),
  r('slt', 0x33, 2, 0, 'i', compare(Cc.L, false)),
  r('sltu', 0x33, 3, 0, 'i', compare(Cc.B, false)),
  r('xor', 0x33, 4, 0, 'i', sum(Op.XOR, 3)),
  r('srl', 0x33, 5, 0, 'i', rr(Op.SHR, 3)),
  r('sra', 0x33, 5, 0x20, 'i', rr(Op.SAR, 3)),
  r('or', 0x33, 6, 0, 'i', sum(Op.OR, 3)),
  r('and', 0x33, 7, 0, 'i', rr(Op.AND, 3)),
  i('addiw', 0x1b, 0, 'i', (c) => {
    if (c.immI === 0) {
      c.b.sx(2, 64, c.rd, c.low(c.rs1Num));
      return;
    }
    // Of what LUI has made every sum of 64 bits that is an int32 is that of 32 bits, too.
    if (c.idioms?.adds(c, 2, c.immI) === true) return;
    const t = c.b.temp();
    c.b.lea(2, t, c.low(c.rs1Num), NONE, 0, c.immI);
    c.word(t);
  }),
  r('slliw', 0x1b, 1, 0, 'i', shift(Op.SHL, 2)),
  r('srliw', 0x1b, 5, 0, 'i', shift(Op.SHR, 2)),
  r('sraiw', 0x1b, 5, 0x20, 'i', shift(Op.SAR, 2)),
  r('addw', 0x3b, 0, 0, 'i', sum(Op.ADD, 2)),
  r('subw', 0x3b, 0, 0x20, 'i', sum(Op.SUB, 2)),
  r('sllw', 0x3b, 1, 0, 'i', rr(Op.SHL, 2)),
  r('srlw', 0x3b, 5, 0, 'i', rr(Op.SHR, 2)),
  r('sraw', 0x3b, 5, 0x20, 'i', rr(Op.SAR, 2)),
  // Everything that one thread does is in order: a fence orders nothing more.
  i('fence', 0x0f, 0, 'i', () => undefined),
  // Stores to translated code take effect at once.
  i('fence.i', 0x0f, 1, 'i', () => undefined),
];

const MULTIPLY: readonly Row[] = [
  r('mul', 0x33, 0, 1, 'm', (c) => c.b.alu3(Op.IMUL, 3, c.rd, c.rs1, c.rs2, NONE)),
  r('mulh', 0x33, 1, 1, 'm', multiplyHigh(Op.IMUL)),
  r('mulhsu', 0x33, 2, 1, 'm', mulhsu),
  r('mulhu', 0x33, 3, 1, 'm', multiplyHigh(Op.MUL)),
  r('div', 0x33, 4, 1, 'm', divide(Op.IDIV, 3, false)),
  r('divu', 0x33, 5, 1, 'm', divide(Op.DIV, 3, false)),
  r('rem', 0x33, 6, 1, 'm', divide(Op.IDIV, 3, true)),
  r('remu', 0x33, 7, 1, 'm', divide(Op.DIV, 3, true)),
  r('mulw', 0x3b, 0, 1, 'm', (c) => {
    const t = c.b.temp();
    c.b.alu3(Op.IMUL, 2, t, c.rs1, c.rs2, NONE);
    c.b.sx(2, 64, c.rd, t);
  }),
  r('divw', 0x3b, 4, 1, 'm', divide(Op.IDIV, 2, false)),
  r('divuw', 0x3b, 5, 1, 'm', divide(Op.DIV, 2, false)),
  r('remw', 0x3b, 6, 1, 'm', divide(Op.IDIV, 2, true)),
  r('remuw', 0x3b, 7, 1, 'm', divide(Op.DIV, 2, true)),
];

const BITS: readonly Row[] = [
  r('add.uw', 0x3b, 0, 4, 'zba', shiftAdd(0, true)),
  r('sh1add', 0x33, 2, 0x10, 'zba', shiftAdd(1, false)),
  r('sh2add', 0x33, 4, 0x10, 'zba', shiftAdd(2, false)),
  r('sh3add', 0x33, 6, 0x10, 'zba', shiftAdd(3, false)),
  r('sh1add.uw', 0x3b, 2, 0x10, 'zba', shiftAdd(1, true)),
  r('sh2add.uw', 0x3b, 4, 0x10, 'zba', shiftAdd(2, true)),
  r('sh3add.uw', 0x3b, 6, 0x10, 'zba', shiftAdd(3, true)),
  sh('slli.uw', 0x1b, 1, 2, 'zba', (c) => {
    const t = c.b.temp();
    c.b.zx(2, t, c.rs1);
    c.b.alu(Op.SHL, 3, c.rd, t, c.b.k(c.immI & 63));
  }),
  r('andn', 0x33, 7, 0x20, ['zbb', 'zbkb'], (c) => c.b.alu(Op.ANDN, 3, c.rd, c.rs2, c.rs1)),
  r('orn', 0x33, 6, 0x20, ['zbb', 'zbkb'], inverted(Op.OR)),
  r('xnor', 0x33, 4, 0x20, ['zbb', 'zbkb'], inverted(Op.XOR)),
  r2('clz', 0x13, 1, 0x600, 'zbb', one(Op.LZCNT, 3)),
  r2('ctz', 0x13, 1, 0x601, 'zbb', one(Op.TZCNT, 3)),
  r2('cpop', 0x13, 1, 0x602, 'zbb', one(Op.POPCNT, 3)),
  r2('clzw', 0x1b, 1, 0x600, 'zbb', one(Op.LZCNT, 2)),
  r2('ctzw', 0x1b, 1, 0x601, 'zbb', one(Op.TZCNT, 2)),
  r2('cpopw', 0x1b, 1, 0x602, 'zbb', one(Op.POPCNT, 2)),
  r2('sext.b', 0x13, 1, 0x604, 'zbb', (c) => c.b.sx(0, 64, c.rd, c.rs1)),
  r2('sext.h', 0x13, 1, 0x605, 'zbb', (c) => c.b.sx(1, 64, c.rd, c.rs1)),
  r('min', 0x33, 4, 5, 'zbb', minmax(Cc.LE, false)),
  r('minu', 0x33, 5, 5, 'zbb', minmax(Cc.BE, true)),
  r('max', 0x33, 6, 5, 'zbb', minmax(Cc.GE, false)),
  r('maxu', 0x33, 7, 5, 'zbb', minmax(Cc.AE, true)),
  r('rol', 0x33, 1, 0x30, ['zbb', 'zbkb'], rr(Op.ROL, 3)),
  r('ror', 0x33, 5, 0x30, ['zbb', 'zbkb'], rr(Op.ROR, 3)),
  sh('rori', 0x13, 5, 0x18, ['zbb', 'zbkb'], shift(Op.ROR, 3)),
  r('rolw', 0x3b, 1, 0x30, ['zbb', 'zbkb'], rr(Op.ROL, 2)),
  r('rorw', 0x3b, 5, 0x30, ['zbb', 'zbkb'], rr(Op.ROR, 2)),
  r('roriw', 0x1b, 5, 0x30, ['zbb', 'zbkb'], shift(Op.ROR, 2)),
  r2('orc.b', 0x13, 5, 0x287, 'zbb', orcb),
  r2('rev8', 0x13, 5, 0x6b8, ['zbb', 'zbkb'], one(Op.BSWAP, 3)),
  r2('zext.h', 0x3b, 4, 0x080, 'zbb', (c) => c.b.zx(1, c.rd, c.rs1)),
  sh('bclri', 0x13, 1, 0x12, 'zbs', bitOp(Op.BTR, true)),
  sh('bexti', 0x13, 5, 0x12, 'zbs', bext(true)),
  sh('binvi', 0x13, 1, 0x1a, 'zbs', bitOp(Op.BTC, true)),
  sh('bseti', 0x13, 1, 0x0a, 'zbs', bitOp(Op.BTS, true)),
  r('bclr', 0x33, 1, 0x24, 'zbs', bitOp(Op.BTR, false)),
  r('bext', 0x33, 5, 0x24, 'zbs', bext(false)),
  r('binv', 0x33, 1, 0x34, 'zbs', bitOp(Op.BTC, false)),
  r('bset', 0x33, 1, 0x14, 'zbs', bitOp(Op.BTS, false)),
  r('clmul', 0x33, 1, 5, ['zbc', 'zbkc'], helper('clmul')),
  r('clmulr', 0x33, 2, 5, 'zbc', helper('clmul')),
  r('clmulh', 0x33, 3, 5, ['zbc', 'zbkc'], helper('clmul')),
  r('czero.eqz', 0x33, 5, 7, 'zicond', czero(true)),
  r('czero.nez', 0x33, 7, 7, 'zicond', czero(false)),
];

const CRYPTO: readonly Row[] = [
  r('pack', 0x33, 4, 4, 'zbkb', pack(32)),
  r('packh', 0x33, 7, 4, 'zbkb', pack(8)),
  r('packw', 0x3b, 4, 4, 'zbkb', pack(16)),
  r2('brev8', 0x13, 5, 0x687, 'zbkb', helper('brev8')),
  r('xperm4', 0x33, 2, 0x14, 'zbkx', helper('xperm')),
  r('xperm8', 0x33, 4, 0x14, 'zbkx', helper('xperm')),
  r2('sha256sum0', 0x13, 1, 0x100, 'zknh', sha(2, 2, 13, 22, false)),
  r2('sha256sum1', 0x13, 1, 0x101, 'zknh', sha(2, 6, 11, 25, false)),
  r2('sha256sig0', 0x13, 1, 0x102, 'zknh', sha(2, 7, 18, 3, true)),
  r2('sha256sig1', 0x13, 1, 0x103, 'zknh', sha(2, 17, 19, 10, true)),
  r2('sha512sum0', 0x13, 1, 0x104, 'zknh', sha(3, 28, 34, 39, false)),
  r2('sha512sum1', 0x13, 1, 0x105, 'zknh', sha(3, 14, 18, 41, false)),
  r2('sha512sig0', 0x13, 1, 0x106, 'zknh', sha(3, 1, 8, 7, true)),
  r2('sha512sig1', 0x13, 1, 0x107, 'zknh', sha(3, 19, 61, 6, true)),
  r('aes64es', 0x33, 0, 0x19, 'zkne', helper('aes64')),
  r('aes64esm', 0x33, 0, 0x1b, 'zkne', helper('aes64')),
  r('aes64ds', 0x33, 0, 0x1d, 'zknd', helper('aes64')),
  r('aes64dsm', 0x33, 0, 0x1f, 'zknd', helper('aes64')),
  r('aes64ks2', 0x33, 0, 0x3f, ['zkne', 'zknd'], helper('aes64')),
  r2('aes64im', 0x13, 1, 0x300, 'zknd', helper('aes64')),
  // Round numbers above 10 are reserved.
  row('aes64ks1i', 0xff00_707f, 0x3100_1013, ['zkne', 'zknd'], (c) => {
    if (((c.insn >>> 20) & 15) > 10) c.illegal();
    else c.call('aes64', c.rd, c.rs1, c.rs2, NONE, c.insn);
  }),
];

export const INTEGER_ROWS: readonly Row[] = [...BASE, ...MULTIPLY, ...BITS, ...CRYPTO];
