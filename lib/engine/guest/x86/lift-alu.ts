/**
 * Integer arithmetic and logic: the eight classic operations, INC/DEC, NEG/NOT, MUL/DIV, compare-and-exchange family,
 * decimal adjust. Intel SDM vol. 2 (instruction pages), vol. 1 section 7.3.
 */
import { Access, Cc, Fl, NONE, Slot } from '../../state.js';
import { Op } from '../../ir/ops.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { gpr, X } from './mode.js';
import { Imm, M64, Mod, row, type Row } from './opcodes.js';

/** Op numbers of the eight operations in opcode order; CMP is SUB without a result. */
const ALU8 = [Op.ADD, Op.OR, Op.ADC, Op.SBB, Op.AND, Op.SUB, Op.XOR, Op.SUB] as const;
const ALU8_NAMES = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'];
const CMP = 7;

/** Width of opcodes whose bit 0 selects byte or operand size. */
function evenWidth(c: LiftContext): number {
  return (c.insn.opcode & 1) !== 0 ? c.insn.opsize : 0;
}

/** rm = rm op src. */
function aluRm(c: LiftContext, w: number, src: number): void {
  const k = c.arg;
  if (k === CMP) {
    c.b.alu(Op.SUB, w, NONE, c.readRm(w), src, Fl.ALL);
    return;
  }
  const old = c.rmLoad(w);
  const d = c.rmDst(w);
  c.b.alu(ALU8[k]!, w, d, old, src, Fl.ALL);
  c.rmStore(w, d);
}

function aluEG(c: LiftContext): void {
  const w = evenWidth(c);
  aluRm(c, w, c.readReg(c.insn.reg, w));
}

function aluGE(c: LiftContext): void {
  const i = c.insn;
  const w = evenWidth(c);
  const src = c.readRm(w);
  const old = c.readReg(i.reg, w);
  if (c.arg === CMP) {
    c.b.alu(Op.SUB, w, NONE, old, src, Fl.ALL);
    return;
  }
  const d = c.regDst(i.reg, w);
  c.b.alu(ALU8[c.arg]!, w, d, old, src, Fl.ALL);
  c.regDone(i.reg, d);
}

function aluAI(c: LiftContext): void {
  const w = evenWidth(c);
  c.b.alu(ALU8[c.arg]!, w, c.arg === CMP ? NONE : X.RAX, X.RAX, c.immSlot(), Fl.ALL);
}

function aluEI(c: LiftContext): void {
  aluRm(c, evenWidth(c), c.immSlot());
}

function testEG(c: LiftContext): void {
  const w = evenWidth(c);
  const a = c.readRm(w);
  c.b.alu(Op.AND, w, NONE, a, c.readReg(c.insn.reg, w), Fl.ALL);
}

function testAI(c: LiftContext): void {
  c.b.alu(Op.AND, evenWidth(c), NONE, X.RAX, c.immSlot(), Fl.ALL);
}

function testEI(c: LiftContext): void {
  const w = evenWidth(c);
  c.b.alu(Op.AND, w, NONE, c.readRm(w), c.immSlot(), Fl.ALL);
}

/** INC, DEC, NEG, NOT of ModRM.rm; arg = op. */
function unaryRm(c: LiftContext): void {
  const w = evenWidth(c);
  const op = c.arg as Op;
  const old = c.rmLoad(w);
  const d = c.rmDst(w);
  c.b.alu(op, w, d, old, NONE, op === Op.NOT ? 0 : op === Op.NEG ? Fl.ALL : Fl.NOT_CF);
  c.rmStore(w, d);
}

function incDecReg(c: LiftContext): void {
  const r = Slot.GPR + c.insn.opreg;
  c.b.alu(c.arg as Op, c.insn.opsize, r, r, NONE, Fl.NOT_CF);
}

/** MUL and IMUL, one operand: rDX:rAX (AX for bytes). */
function mulAcc(c: LiftContext): void {
  const b = c.b;
  const w = evenWidth(c);
  const src = c.readRm(w);
  if (w !== 0) {
    b.alu3(c.arg as Op, w, X.RAX, X.RAX, src, X.RDX, Fl.ALL);
    return;
  }
  const lo = b.temp();
  const hi = b.temp();
  b.alu3(c.arg as Op, 0, lo, X.RAX, src, hi, Fl.ALL);
  b.mov(0, X.RAX, lo);
  b.emit(Op.INSH, 0, 0, 0, X.RAX, hi, NONE, NONE, 0, 0);
}

/** DIV and IDIV. The flags are undefined; they are left alone. */
function divAcc(c: LiftContext): void {
  const b = c.b;
  const w = evenWidth(c);
  const src = c.readRm(w);
  if (w !== 0) {
    b.alu3(c.arg as Op, w, X.RAX, X.RAX, X.RDX, src, 0, X.RDX);
    return;
  }
  const ah = b.temp();
  const q = b.temp();
  const r = b.temp();
  b.emit(Op.EXTH, 0, 0, 0, ah, X.RAX, NONE, NONE, 0, 0);
  b.alu3(c.arg as Op, 0, q, X.RAX, ah, src, 0, r);
  b.mov(0, X.RAX, q);
  b.emit(Op.INSH, 0, 0, 0, X.RAX, r, NONE, NONE, 0, 0);
}

/** IMUL reg, rm. */
function imulGE(c: LiftContext): void {
  const w = c.insn.opsize;
  const r = Slot.GPR + c.insn.reg;
  c.b.alu3(Op.IMUL, w, r, r, c.readRm(w), NONE, Fl.ALL);
}

/** IMUL reg, rm, imm. */
function imulGEI(c: LiftContext): void {
  const w = c.insn.opsize;
  c.b.alu3(Op.IMUL, w, Slot.GPR + c.insn.reg, c.readRm(w), c.immSlot(), NONE, Fl.ALL);
}

/**
 * CMPXCHG: memory is always written. Of two registers only the one that changes is: a 32-bit accumulator is not
 * zero-extended on success, nor a 32-bit destination on failure.
 */
function cmpxchg(c: LiftContext): void {
  const b = c.b;
  const i = c.insn;
  const w = evenWidth(c);
  const src = c.readReg(i.reg, w);
  let old = c.rmLoad(w);
  if (i.mod === 3 && w >= 2) {
    const t = b.temp();
    b.mov(w, t, old);
    old = t;
  }
  const acc = w >= 2 ? 3 : w;
  const t = b.temp();
  b.alu(Op.SUB, w, NONE, X.RAX, old, Fl.ALL);
  if (i.mod === 3 && w === 2) {
    b.zx(2, t, src);
    b.cmov(Cc.E, 3, X.RAX, X.RAX, old);
    b.cmov(Cc.E, 3, gpr(i.rm), t, gpr(i.rm));
    return;
  }
  b.cmov(Cc.E, w, t, src, old);
  if (i.mod === 3) {
    b.cmov(Cc.E, acc, X.RAX, X.RAX, old);
    c.writeReg(i.rm, w, t);
  } else {
    c.rmStore(w, t);
    b.cmov(Cc.E, acc, X.RAX, X.RAX, old);
  }
}

/** CMPXCHG8B and CMPXCHG16B. */
function cmpxchg8b(c: LiftContext): void {
  const b = c.b;
  const wide = c.insn.opsize === 3;
  const w = wide ? 3 : 2;
  if (wide && !c.features.names.has('cx16')) {
    c.undefinedOpcode();
    return;
  }
  const a = c.ea(2 << w, true);
  if (wide) b.emit(Op.CHKALIGN, 0, 0, 0, NONE, a, NONE, NONE, 15, 0);
  const lo = b.temp();
  const a2 = b.temp();
  const hi = b.temp();
  b.ld(w, lo, a, Access.RMW);
  b.lea(c.code64 ? 3 : 2, a2, a, NONE, 0, 1 << w);
  b.ld(w, hi, a2, Access.RMW);
  const x = b.temp();
  const y = b.temp();
  const differ = b.temp();
  b.alu(Op.XOR, w, x, lo, X.RAX, 0);
  b.alu(Op.XOR, w, y, hi, X.RDX, 0);
  b.alu(Op.OR, w, differ, x, y, 0);
  // What is there is stored back if it is not what was expected.
  const newLo = b.temp();
  const newHi = b.temp();
  b.alu3(Op.SELNZ, w, newLo, differ, lo, X.RBX);
  b.alu3(Op.SELNZ, w, newHi, differ, hi, X.RCX);
  b.st(w, a, newLo);
  b.st(w, a2, newHi);
  b.alu(Op.SUB, w, NONE, differ, c.k(0), Fl.ZF);
  b.alu3(Op.SELNZ, w, X.RAX, differ, lo, X.RAX);
  b.alu3(Op.SELNZ, w, X.RDX, differ, hi, X.RDX);
}

function xadd(c: LiftContext): void {
  const b = c.b;
  const i = c.insn;
  const w = evenWidth(c);
  const old = c.rmLoad(w);
  const sum = b.temp();
  b.alu(Op.ADD, w, sum, old, c.readReg(i.reg, w), Fl.ALL);
  if (i.mod === 3) {
    c.writeReg(i.reg, w, old);
    c.writeReg(i.rm, w, sum);
  } else {
    c.rmStore(w, sum);
    c.writeReg(i.reg, w, old);
  }
}

function xchgEG(c: LiftContext): void {
  const b = c.b;
  const i = c.insn;
  const w = evenWidth(c);
  if (i.mod !== 3) {
    const old = c.rmLoad(w);
    c.rmStore(w, c.readReg(i.reg, w));
    c.writeReg(i.reg, w, old);
    return;
  }
  const t = b.temp();
  b.mov(w, t, c.readReg(i.rm, w));
  c.writeReg(i.rm, w, c.readReg(i.reg, w));
  c.writeReg(i.reg, w, t);
}

/** 90+r. 90 without REX.B is NOP. */
function xchgAcc(c: LiftContext): void {
  // F3 90 is PAUSE.
  if (c.insn.opcode === 0x90 && c.insn.opreg === 0 && c.insn.rep === 2) {
    if (c.features.has('smp')) c.call(H.PAUSE);
    return;
  }
  const i = c.insn;
  if (i.opreg === 0) return;
  const t = c.b.temp();
  c.b.mov(i.opsize, t, X.RAX);
  c.b.mov(i.opsize, X.RAX, Slot.GPR + i.opreg);
  c.b.mov(i.opsize, Slot.GPR + i.opreg, t);
}

/** CBW, CWDE, CDQE. */
function cbw(c: LiftContext): void {
  const w = c.insn.opsize;
  c.b.sx(w - 1, 8 << w, X.RAX, X.RAX);
}

/** CWD, CDQ, CQO. */
function cwd(c: LiftContext): void {
  const w = c.insn.opsize;
  c.b.alu(Op.SAR, w, X.RDX, X.RAX, c.k((8 << w) - 1), 0);
}

/** AAA AAS DAA DAS AAM AAD; arg = helper. */
function decimal(c: LiftContext): void {
  c.call(c.arg as H, NONE, NONE, NONE, NONE, c.insn.imm & 0xff);
}

/** SALC: AL = CF ? FF : 0. */
function salc(c: LiftContext): void {
  const t = c.b.temp();
  c.b.setcc(Cc.B, t);
  c.b.alu(Op.NEG, 0, X.RAX, t, NONE, 0);
}

function rows(): Row[] {
  const r: Row[] = [];
  const not64 = M64.NOT64;
  for (let k = 0; k < 8; k++) {
    const name = ALU8_NAMES[k]!;
    const lock = k !== CMP;
    r.push(
      row(0, k * 8, name, aluEG, { n: 2, modrm: true, lock, arg: k }),
      row(0, k * 8 + 2, name, aluGE, { n: 2, modrm: true, arg: k }),
      row(0, k * 8 + 4, name, aluAI, { imm: Imm.IB, arg: k }),
      row(0, k * 8 + 5, name, aluAI, { imm: Imm.IZ, arg: k }),
      row(0, 0x80, name, aluEI, { digit: k, imm: Imm.IB, lock, arg: k }),
      row(0, 0x81, name, aluEI, { digit: k, imm: Imm.IZ, lock, arg: k }),
      row(0, 0x82, name, aluEI, { digit: k, imm: Imm.IB, lock, arg: k, m64: not64 }),
      row(0, 0x83, name, aluEI, { digit: k, imm: Imm.IB, lock, arg: k }),
    );
  }
  r.push(
    row(0, 0x84, 'test', testEG, { n: 2, modrm: true }),
    row(0, 0xa8, 'test', testAI, { imm: Imm.IB }),
    row(0, 0xa9, 'test', testAI, { imm: Imm.IZ }),
    row(0, 0x40, 'inc', incDecReg, { n: 8, m64: not64, arg: Op.INC }),
    row(0, 0x48, 'dec', incDecReg, { n: 8, m64: not64, arg: Op.DEC }),
    row(0, 0x69, 'imul', imulGEI, { modrm: true, imm: Imm.IZ }),
    row(0, 0x6b, 'imul', imulGEI, { modrm: true, imm: Imm.IB }),
    row(1, 0xaf, 'imul', imulGE, { modrm: true }),
    row(0, 0x86, 'xchg', xchgEG, { n: 2, modrm: true, lock: true }),
    row(0, 0x90, 'xchg', xchgAcc, { n: 8 }),
    row(0, 0x98, 'cbw', cbw),
    row(0, 0x99, 'cwd', cwd),
    row(1, 0xb0, 'cmpxchg', cmpxchg, { n: 2, modrm: true, lock: true }),
    row(1, 0xc0, 'xadd', xadd, { n: 2, modrm: true, lock: true }),
    row(1, 0xc7, 'cmpxchg8b', cmpxchg8b, { digit: 1, mod: Mod.MEM, lock: true, feature: 'cx8' }),
    row(0, 0x27, 'daa', decimal, { m64: not64, arg: H.DAA }),
    row(0, 0x2f, 'das', decimal, { m64: not64, arg: H.DAS }),
    row(0, 0x37, 'aaa', decimal, { m64: not64, arg: H.AAA }),
    row(0, 0x3f, 'aas', decimal, { m64: not64, arg: H.AAS }),
    row(0, 0xd4, 'aam', decimal, { m64: not64, imm: Imm.IB, arg: H.AAM }),
    row(0, 0xd5, 'aad', decimal, { m64: not64, imm: Imm.IB, arg: H.AAD }),
    row(0, 0xd6, 'salc', salc, { m64: not64 }),
  );
  for (const op of [0xf6, 0xf7]) {
    const imm = op === 0xf6 ? Imm.IB : Imm.IZ;
    r.push(
      row(0, op, 'test', testEI, { digit: 0, imm }),
      // the alias /1 behaves as /0
      row(0, op, 'test', testEI, { digit: 1, imm }),
      row(0, op, 'not', unaryRm, { digit: 2, lock: true, arg: Op.NOT }),
      row(0, op, 'neg', unaryRm, { digit: 3, lock: true, arg: Op.NEG }),
      row(0, op, 'mul', mulAcc, { digit: 4, arg: Op.MUL }),
      row(0, op, 'imul', mulAcc, { digit: 5, arg: Op.IMUL }),
      row(0, op, 'div', divAcc, { digit: 6, arg: Op.DIV }),
      row(0, op, 'idiv', divAcc, { digit: 7, arg: Op.IDIV }),
    );
  }
  for (const op of [0xfe, 0xff]) {
    r.push(
      row(0, op, 'inc', unaryRm, { digit: 0, lock: true, arg: Op.INC }),
      row(0, op, 'dec', unaryRm, { digit: 1, lock: true, arg: Op.DEC }),
    );
  }
  return r;
}

export const ALU_ROWS: readonly Row[] = rows();
