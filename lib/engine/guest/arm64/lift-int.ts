/** Data processing on general registers (Arm ARM, C4.1.86 and C4.1.89). */
import { Op } from '../../ir/ops.js';
import { Fl, NONE, flagsToEflags } from '../../state.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { nzcvToFlags } from './regs.js';
import { row, type Row } from './table.js';

/** Arguments of the arithmetic rows. */
const enum Ar { SUB = 1, FLAGS = 2 }

/** dst = a +- b, setting NZCV if asked: C is kept inverted, so an addition inverts CF afterwards. */
function addSub(c: LiftContext, w: number, how: number, dst: number, a: number, b: number): void {
  const ir = c.b;
  if (how & Ar.FLAGS) {
    if (how & Ar.SUB) ir.alu(Op.SUB, w, dst, a, b, Fl.ALL);
    else {
      ir.alu(Op.ADD, w, dst, a, b, Fl.ALL);
      ir.emit(Op.SETCF, 0, 0, Fl.CF, NONE, NONE, NONE, NONE, 2, 0);
    }
  } else if (how & Ar.SUB) ir.alu(Op.SUB, w, dst, a, b);
  else ir.lea(w, dst, a, b, 0, 0);
}

function addSubImm(c: LiftContext): void {
  const w = c.w;
  const imm = c.bits(10, 12) << (c.bits(22, 1) * 12);
  const n = c.xsp(c.rn);
  if (!(c.arg & Ar.FLAGS)) {
    c.lea(w, c.xsp(c.rd), n, c.arg & Ar.SUB ? -imm : imm);
    return;
  }
  const d = c.rd === 31 ? NONE : c.dst(c.rd);
  // a + imm = a - (-imm), with the same N Z V, and C as wanted unless imm is 0.
  if (c.arg & Ar.SUB || imm === 0) addSub(c, w, c.arg, d, n, c.k(imm));
  else c.b.alu(Op.SUB, w, d, n, c.k(-imm), Fl.ALL);
}

function addSubShifted(c: LiftContext): void {
  const w = c.w;
  const n = c.bits(10, 6);
  const type = c.bits(22, 2);
  if (type === 3 || (w === 2 && n > 31)) return c.undefined();
  const ir = c.b;
  const a = c.x(c.rn);
  const d = c.rd === 31 ? (c.arg & Ar.FLAGS ? NONE : ir.temp()) : c.dst(c.rd);
  if (c.arg === 0 && type === 0 && n <= 3) {
    ir.lea(w, d, c.rn === 31 ? NONE : a, c.x(c.rm), n, 0);
    return;
  }
  const m = c.shift(w, c.x(c.rm), type, n);
  if (c.arg === Ar.SUB && c.rn === 31) ir.alu(Op.NEG, w, d, m, NONE);
  else addSub(c, w, c.arg, d, a, m);
}

function addSubExtended(c: LiftContext): void {
  const w = c.w;
  const n = c.bits(10, 3);
  if (n > 4) return c.undefined();
  const d = c.arg & Ar.FLAGS ? (c.rd === 31 ? NONE : c.dst(c.rd)) : c.xsp(c.rd);
  addSub(c, w, c.arg, d, c.xsp(c.rn), c.extend(w, c.rm, c.bits(13, 3), n));
}

/** ADC, SBC: with C inverted both are subtractions with borrow; a + b + C = a - ~b - !C. */
function addSubCarry(c: LiftContext): void {
  const w = c.w;
  let m = c.x(c.rm);
  if (!(c.arg & Ar.SUB)) {
    const t = c.temp();
    c.b.alu(Op.NOT, w, t, m, NONE);
    m = t;
  }
  c.b.alu(Op.SBB, w, c.dst(c.rd), c.x(c.rn), m, c.arg & Ar.FLAGS ? Fl.ALL : 0);
}

const enum Lo { AND = 0, ORR = 1, EOR = 2, ANDS = 3 }
const LOGIC: readonly Op[] = [Op.AND, Op.OR, Op.XOR, Op.AND];

/** dst = a op b; ANDS clears C and V: C = 0 is CF = 1. */
function logic(c: LiftContext, w: number, op: number, dst: number, a: number, b: number): void {
  if (op !== Lo.ANDS) {
    c.b.alu(LOGIC[op]!, w, dst, a, b);
    return;
  }
  c.b.alu(Op.AND, w, dst, a, b, Fl.ALL);
  c.b.emit(Op.SETCF, 0, 0, Fl.CF, NONE, NONE, NONE, NONE, 1, 0);
}

/** Result of `bitMask`. */
const mask = { lo: 0, hi: 0 };

/** DecodeBitMasks (Arm ARM, J1.3.4) for logical immediates. @returns false if the encoding is reserved. */
export function bitMask(n: number, imms: number, immr: number, w: number): boolean {
  const len = 31 - Math.clz32((n << 6) | (~imms & 0x3f));
  if (len < 1 || (w === 2 && n !== 0)) return false;
  const size = 1 << len;
  const levels = size - 1;
  const s = imms & levels;
  const r = immr & levels;
  if (s === levels) return false;
  let v = (1n << BigInt(s + 1)) - 1n;
  const full = (1n << BigInt(size)) - 1n;
  v = ((v >> BigInt(r)) | (v << BigInt(size - r))) & full;
  for (let k = size; k < 64; k *= 2) v |= v << BigInt(k);
  mask.lo = Number(v & 0xffff_ffffn) | 0;
  mask.hi = w === 2 ? 0 : Number((v >> 32n) & 0xffff_ffffn) | 0;
  return true;
}

/** The mask `bitMask` has found last. */
export const bitMaskValue = (): { lo: number; hi: number } => mask;

function logicImm(c: LiftContext): void {
  const w = c.w;
  if (!bitMask(c.bits(22, 1), c.bits(10, 6), c.bits(16, 6), w)) return c.undefined();
  const k = c.b.k64(mask.lo, w === 2 ? mask.lo >> 31 : mask.hi);
  if (c.arg === Lo.ANDS) logic(c, w, c.arg, c.rd === 31 ? NONE : c.dst(c.rd), c.x(c.rn), k);
  else if (c.arg === Lo.ORR && c.rn === 31) c.b.mov(w, c.xsp(c.rd), k);
  else logic(c, w, c.arg, c.xsp(c.rd), c.x(c.rn), k);
}

function logicShifted(c: LiftContext): void {
  const w = c.w;
  const n = c.bits(10, 6);
  if (w === 2 && n > 31) return c.undefined();
  const ir = c.b;
  let m = c.shift(w, c.x(c.rm), c.bits(22, 2), n);
  const invert = c.bits(21, 1) !== 0;
  if (c.arg === Lo.ORR && c.rn === 31) {
    if (invert) ir.alu(Op.NOT, w, c.dst(c.rd), m, NONE);
    else ir.mov(w, c.dst(c.rd), m);
    return;
  }
  if (invert) {
    const t = ir.temp();
    ir.alu(Op.NOT, w, t, m, NONE);
    m = t;
  }
  logic(c, w, c.arg, c.rd === 31 && c.arg === Lo.ANDS ? NONE : c.dst(c.rd), c.x(c.rn), m);
}

/** MOVN, MOVZ, MOVK. */
function moveWide(c: LiftContext): void {
  const w = c.w;
  const hw = c.bits(21, 2);
  if (w === 2 && hw > 1) return c.undefined();
  const imm = c.bits(5, 16);
  const sh = (hw & 1) * 16;
  const lo = hw < 2 ? imm << sh : 0;
  const hi = hw >= 2 ? imm << sh : 0;
  const ir = c.b;
  const d = c.dst(c.rd);
  if (c.arg === 0) ir.mov(w, d, w === 2 ? ir.k(~lo) : ir.k64(~lo, ~hi));
  else if (c.arg === 2) ir.mov(w, d, w === 2 ? ir.k(lo) : ir.k64(lo, hi));
  else {
    const m = 0xffff << sh;
    const t = ir.temp();
    ir.alu(Op.AND, w, t, c.x(c.rd), w === 2 ? ir.k(~m) : ir.k64(hw < 2 ? ~m : -1, hw >= 2 ? ~m : -1));
    ir.alu(Op.OR, w, d, t, w === 2 ? ir.k(lo) : ir.k64(lo, hi));
  }
}

function adr(c: LiftContext): void {
  const imm = (c.sbits(5, 19) << 2) | c.bits(29, 2);
  if (c.arg === 0) c.pcRel(c.dst(c.rd), imm);
  else c.pcRel(c.dst(c.rd), imm * 4096 - c.start);
}

/** Mask of n low bits as a constant. */
function lowMask(c: LiftContext, n: number): number {
  return n >= 32 ? c.b.k64(-1, n === 64 ? -1 : (1 << (n - 32)) - 1) : c.b.k64((1 << n) - 1, 0);
}

/** SBFM, BFM, UBFM: arg 0, 1, 2. */
function bitfield(c: LiftContext): void {
  const w = c.w;
  const width = w === 3 ? 64 : 32;
  const r = c.bits(16, 6);
  const s = c.bits(10, 6);
  if (c.bits(22, 1) !== (w === 3 ? 1 : 0) || r >= width || s >= width) return c.undefined();
  const ir = c.b;
  const a = c.x(c.rn);
  const d = c.dst(c.rd);
  // Position and width of the field in the destination.
  const extract = s >= r;
  const len = extract ? s - r + 1 : s + 1;
  const at = extract ? 0 : width - r;
  if (c.arg === 1) {
    // BFM: insert into the destination.
    if (len === width) {
      ir.mov(w, d, a);
      return;
    }
    const field = c.shift(w, a, extract ? 1 : 0, extract ? r : at);
    const t = ir.temp();
    const u = ir.temp();
    const m = fieldMask(len, at);
    ir.alu(Op.AND, w, t, field, ir.k64(m.lo, m.hi));
    ir.alu(Op.AND, w, u, c.x(c.rd), ir.k64(~m.lo, w === 2 ? ~m.lo >> 31 : ~m.hi));
    ir.alu(Op.OR, w, d, t, u);
    return;
  }
  const signed = c.arg === 0;
  if (extract) {
    if (s === width - 1) {
      if (r === 0) ir.mov(w, d, a);
      else ir.alu(signed ? Op.SAR : Op.SHR, w, d, a, c.k(r));
      return;
    }
    if (r === 0 && (len === 8 || len === 16 || len === 32)) {
      const from = len === 8 ? 0 : len === 16 ? 1 : 2;
      if (signed) ir.sx(from, width, d, a);
      else ir.zx(from, d, a);
      return;
    }
    if (!signed) {
      ir.alu(Op.AND, w, d, c.shift(w, a, 1, r), lowMask(c, len));
      return;
    }
  } else if (!signed) {
    if (s === width - 1 - at) {
      // LSL
      ir.alu(Op.SHL, w, d, a, c.k(at));
      return;
    }
    const t = ir.temp();
    ir.alu(Op.AND, w, t, a, lowMask(c, len));
    ir.alu(Op.SHL, w, d, t, c.k(at));
    return;
  }
  const top = width - len - (extract ? r : 0);
  const t = ir.temp();
  ir.alu(Op.SHL, w, t, a, c.k(top));
  ir.alu(Op.SAR, w, d, t, c.k(width - len - at));
}

function fieldMask(len: number, at: number): { lo: number; hi: number } {
  const v = ((1n << BigInt(len)) - 1n) << BigInt(at);
  return { lo: Number(v & 0xffff_ffffn) | 0, hi: Number((v >> 32n) & 0xffff_ffffn) | 0 };
}

function extr(c: LiftContext): void {
  const w = c.w;
  const n = c.bits(10, 6);
  if (c.bits(22, 1) !== (w === 3 ? 1 : 0) || (w === 2 && n > 31)) return c.undefined();
  const ir = c.b;
  const d = c.dst(c.rd);
  if (n === 0) ir.mov(w, d, c.x(c.rm));
  else if (c.rn === c.rm) ir.alu(Op.ROR, w, d, c.x(c.rn), c.k(n));
  else ir.alu3(Op.SHRD, w, d, c.x(c.rm), c.x(c.rn), c.k(n));
}

/** CSEL, CSINC, CSINV, CSNEG: arg bit 0 = increment, bit 1 = invert. */
function csel(c: LiftContext): void {
  const w = c.w;
  const ir = c.b;
  const cond = c.bits(12, 4);
  const d = c.dst(c.rd);
  const n = c.x(c.rn);
  let m = c.x(c.rm);
  if (c.rm === 31 && c.arg !== 0) m = c.arg === 1 ? c.k(1) : c.arg === 2 ? c.k(-1) : c.k(0);
  else if (c.arg !== 0) {
    const t = ir.temp();
    if (c.arg === 1) c.lea(w, t, m, 1);
    else if (c.arg === 2) ir.alu(Op.NOT, w, t, m, NONE);
    else ir.alu(Op.NEG, w, t, m, NONE);
    m = t;
  }
  if (cond >= 14) {
    ir.mov(w, d, n);
    return;
  }
  if (c.arg === 1 && c.rn === 31 && c.rm === 31) {
    // CSET
    const t = ir.temp();
    ir.setcc(c.cc(cond ^ 1), t);
    ir.zx(0, d, t);
    return;
  }
  ir.cmov(c.cc(cond), w, d, n, m);
}

/** Operands whose difference has a given NZCV; MIN is the most negative number of the width. */
const enum Operand { ZERO, ONE, MINUS_ONE, MIN, MIN_PLUS_1 }

/** By NZCV. A subtraction cannot produce the others. */
const SUB_PAIRS: readonly (readonly [Operand, Operand] | null)[] = [
  [Operand.ZERO, Operand.MIN_PLUS_1], null, [Operand.ONE, Operand.ZERO], [Operand.MIN, Operand.ONE],
  null, null, [Operand.ZERO, Operand.ZERO], null,
  [Operand.ZERO, Operand.ONE], [Operand.ZERO, Operand.MIN], [Operand.MINUS_ONE, Operand.ZERO], null,
  null, null, null, null,
];
const NZCV_Z = 4;

function operand(c: LiftContext, w: number, o: Operand): number {
  switch (o) {
    case Operand.ZERO: return c.k(0);
    case Operand.ONE: return c.k(1);
    case Operand.MINUS_ONE: return c.k(-1);
    default: {
      const low = o === Operand.MIN ? 0 : 1;
      return w === 2 ? c.k(-0x8000_0000 + low) : c.b.k64(low, -0x8000_0000);
    }
  }
}

/** CCMP, CCMN: register or immediate operand. arg: Ar.SUB for CCMP. */
function condCompare(c: LiftContext): void {
  const w = c.w;
  const ir = c.b;
  const cond = c.bits(12, 4);
  const nzcv = c.bits(0, 4);
  const imm = c.bits(11, 1) !== 0;
  const a = c.x(c.rn);
  let sub = (c.arg & Ar.SUB) !== 0;
  let m = imm ? c.k(c.rm) : c.x(c.rm);
  if (imm && !sub && c.rm !== 0) {
    sub = true;
    m = c.k(-c.rm);
  }
  if (cond >= 14) {
    addSub(c, w, (sub ? Ar.SUB : 0) | Ar.FLAGS, NONE, a, m);
    return;
  }
  const cc = c.cc(cond);
  const pair = nzcv === NZCV_Z ? ([Operand.ZERO, Operand.MINUS_ONE] as const) : SUB_PAIRS[nzcv]!;
  if (sub && pair !== null) {
    // Compare operands chosen so that the flags come out as nzcv when the condition fails.
    const x = ir.temp();
    const y = ir.temp();
    const taken = ir.temp();
    ir.cmov(cc, w, x, a, operand(c, w, pair[0]));
    ir.cmov(cc, w, y, m, operand(c, w, pair[1]));
    if (nzcv === NZCV_Z) {
      // Z without C: 0 - -1 - 1, with the borrow coming from the condition.
      ir.setcc(cc, taken);
      ir.alu(Op.SUB, 0, NONE, taken, c.k(1), Fl.CF);
      ir.alu(Op.SBB, w, ir.temp(), x, y, Fl.ALL);
    } else ir.alu(Op.SUB, w, NONE, x, y, Fl.ALL);
    return;
  }
  // The general way: compute both sets of flags and choose.
  const taken = ir.temp();
  const flags = ir.temp();
  const chosen = ir.temp();
  ir.setcc(cc, taken);
  addSub(c, w, (sub ? Ar.SUB : 0) | Ar.FLAGS, NONE, a, m);
  ir.emit(Op.GETF, 0, 0, 0, flags, NONE, NONE, NONE, 0, 0);
  ir.alu3(Op.SELNZ, 0, chosen, taken, flags, c.k(flagsToEflags(nzcvToFlags(nzcv << 28))));
  ir.emit(Op.PUTF, 0, 0, Fl.ALL, NONE, chosen, NONE, NONE, 0, 0);
}

/** RBIT, REV16, REV32, REV, CLZ, CLS. */
const enum One { RBIT, REV16, REV32, REV, CLZ, CLS }

/** t = ((a >> n) & m) | ((a & m) << n), m a 32-bit pattern. */
function swapBits(c: LiftContext, w: number, a: number, n: number, pattern: number): number {
  const ir = c.b;
  const m = w === 3 ? ir.k64(pattern, pattern) : ir.k(pattern);
  const t = ir.temp();
  const u = ir.temp();
  const v = ir.temp();
  const x = ir.temp();
  const r = ir.temp();
  ir.alu(Op.SHR, w, t, a, c.k(n));
  ir.alu(Op.AND, w, u, t, m);
  ir.alu(Op.AND, w, v, a, m);
  ir.alu(Op.SHL, w, x, v, c.k(n));
  ir.alu(Op.OR, w, r, u, x);
  return r;
}

function dp1(c: LiftContext): void {
  const w = c.w;
  const ir = c.b;
  const a = c.x(c.rn);
  const d = c.dst(c.rd);
  switch (c.arg as One) {
    case One.RBIT: {
      let t = ir.temp();
      ir.alu(Op.BSWAP, w, t, a, NONE);
      t = swapBits(c, w, t, 4, 0x0f0f0f0f);
      t = swapBits(c, w, t, 2, 0x33333333);
      t = swapBits(c, w, t, 1, 0x55555555);
      ir.mov(w, d, t);
      break;
    }
    case One.REV16:
      ir.mov(w, d, swapBits(c, w, a, 8, 0x00ff00ff));
      break;
    case One.REV32: {
      const t = ir.temp();
      ir.alu(Op.BSWAP, 3, t, a, NONE);
      ir.alu(Op.ROR, 3, d, t, c.k(32));
      break;
    }
    case One.REV:
      ir.alu(Op.BSWAP, w, d, a, NONE);
      break;
    case One.CLZ:
      ir.alu(Op.LZCNT, w, d, a, NONE);
      break;
    default: {
      const t = ir.temp();
      const u = ir.temp();
      const v = ir.temp();
      ir.alu(Op.SAR, w, t, a, c.k(1));
      ir.alu(Op.XOR, w, u, a, t);
      ir.alu(Op.LZCNT, w, v, u, NONE);
      c.lea(w, d, v, -1);
    }
  }
}

function divide(c: LiftContext): void {
  const w = c.w;
  const ir = c.b;
  const n = c.x(c.rn);
  let hi = c.k(0);
  if (c.arg === 1) {
    hi = ir.temp();
    ir.alu(Op.SAR, w, hi, n, c.k(w === 3 ? 63 : 31));
  }
  ir.alu3(c.arg === 1 ? Op.IDIV : Op.DIV, w, c.dst(c.rd), n, hi, c.x(c.rm), 0, NONE);
}

const VARIABLE: readonly Op[] = [Op.SHL, Op.SHR, Op.SAR, Op.ROR];
function shiftVariable(c: LiftContext): void {
  c.b.alu(VARIABLE[c.arg]!, c.w, c.dst(c.rd), c.x(c.rn), c.x(c.rm));
}

/** CRC32B..X, CRC32CB..CX. arg 1: the Castagnoli polynomial. */
function crc(c: LiftContext): void {
  const sz = c.bits(10, 2);
  if ((sz === 3) !== (c.w === 3)) return c.undefined();
  if (c.arg === 1) c.b.alu(Op.CRC32, sz, c.dst(c.rd), c.x(c.rn), c.x(c.rm));
  else c.call(H.CRC32, c.dst(c.rd), c.x(c.rn), c.x(c.rm), NONE, sz);
}

/** MADD, MSUB. */
function madd(c: LiftContext): void {
  const w = c.w;
  const ir = c.b;
  const d = c.dst(c.rd);
  if (c.ra === 31 && c.arg === 0) {
    ir.alu3(Op.IMUL, w, d, c.x(c.rn), c.x(c.rm), NONE);
    return;
  }
  const t = ir.temp();
  ir.alu3(Op.IMUL, w, t, c.x(c.rn), c.x(c.rm), NONE);
  addSub(c, w, c.arg, d, c.x(c.ra), t);
}

/** SMADDL, SMSUBL, UMADDL, UMSUBL: arg bit 0 subtract, bit 2 unsigned. */
function maddl(c: LiftContext): void {
  const ir = c.b;
  const n = ir.temp();
  const m = ir.temp();
  if (c.arg & 4) {
    ir.zx(2, n, c.x(c.rn));
    ir.zx(2, m, c.x(c.rm));
  } else {
    ir.sx(2, 64, n, c.x(c.rn));
    ir.sx(2, 64, m, c.x(c.rm));
  }
  const d = c.dst(c.rd);
  if (c.ra === 31 && (c.arg & 1) === 0) {
    ir.alu3(Op.IMUL, 3, d, n, m, NONE);
    return;
  }
  const t = ir.temp();
  ir.alu3(Op.IMUL, 3, t, n, m, NONE);
  addSub(c, 3, c.arg & 1, d, c.x(c.ra), t);
}

function mulh(c: LiftContext): void {
  c.b.alu3(c.arg === 1 ? Op.IMUL : Op.MUL, 3, NONE, c.x(c.rn), c.x(c.rm), c.dst(c.rd));
}

const SHIFTED = 'ss 0 mmmmm iiiiii nnnnn ddddd';

export const INT_ROWS: readonly Row[] = [
  row('f 0 0 100010 s iiiiiiiiiiii nnnnn ddddd', 'add', addSubImm, 0),
  row('f 0 1 100010 s iiiiiiiiiiii nnnnn ddddd', 'adds', addSubImm, Ar.FLAGS),
  row('f 1 0 100010 s iiiiiiiiiiii nnnnn ddddd', 'sub', addSubImm, Ar.SUB),
  row('f 1 1 100010 s iiiiiiiiiiii nnnnn ddddd', 'subs', addSubImm, Ar.SUB | Ar.FLAGS),
  row('f 00 100100 n rrrrrr ssssss nnnnn ddddd', 'and', logicImm, Lo.AND),
  row('f 01 100100 n rrrrrr ssssss nnnnn ddddd', 'orr', logicImm, Lo.ORR),
  row('f 10 100100 n rrrrrr ssssss nnnnn ddddd', 'eor', logicImm, Lo.EOR),
  row('f 11 100100 n rrrrrr ssssss nnnnn ddddd', 'ands', logicImm, Lo.ANDS),
  row('f 00 100101 hh iiiiiiiiiiiiiiii ddddd', 'movn', moveWide, 0),
  row('f 10 100101 hh iiiiiiiiiiiiiiii ddddd', 'movz', moveWide, 2),
  row('f 11 100101 hh iiiiiiiiiiiiiiii ddddd', 'movk', moveWide, 3),
  row('0 ll 10000 iiiiiiiiiiiiiiiiiii ddddd', 'adr', adr, 0),
  row('1 ll 10000 iiiiiiiiiiiiiiiiiii ddddd', 'adrp', adr, 1),
  row('f 00 100110 n rrrrrr ssssss nnnnn ddddd', 'sbfm', bitfield, 0),
  row('f 01 100110 n rrrrrr ssssss nnnnn ddddd', 'bfm', bitfield, 1),
  row('f 10 100110 n rrrrrr ssssss nnnnn ddddd', 'ubfm', bitfield, 2),
  row('f 00 100111 n 0 mmmmm ssssss nnnnn ddddd', 'extr', extr),

  row(`f 00 01010 ss n mmmmm iiiiii nnnnn ddddd`, 'and', logicShifted, Lo.AND),
  row(`f 01 01010 ss n mmmmm iiiiii nnnnn ddddd`, 'orr', logicShifted, Lo.ORR),
  row(`f 10 01010 ss n mmmmm iiiiii nnnnn ddddd`, 'eor', logicShifted, Lo.EOR),
  row(`f 11 01010 ss n mmmmm iiiiii nnnnn ddddd`, 'ands', logicShifted, Lo.ANDS),
  row(`f 0 0 01011 ${SHIFTED}`, 'add', addSubShifted, 0),
  row(`f 0 1 01011 ${SHIFTED}`, 'adds', addSubShifted, Ar.FLAGS),
  row(`f 1 0 01011 ${SHIFTED}`, 'sub', addSubShifted, Ar.SUB),
  row(`f 1 1 01011 ${SHIFTED}`, 'subs', addSubShifted, Ar.SUB | Ar.FLAGS),
  row('f 0 0 01011 001 mmmmm ooo iii nnnnn ddddd', 'add', addSubExtended, 0),
  row('f 0 1 01011 001 mmmmm ooo iii nnnnn ddddd', 'adds', addSubExtended, Ar.FLAGS),
  row('f 1 0 01011 001 mmmmm ooo iii nnnnn ddddd', 'sub', addSubExtended, Ar.SUB),
  row('f 1 1 01011 001 mmmmm ooo iii nnnnn ddddd', 'subs', addSubExtended, Ar.SUB | Ar.FLAGS),
  row('f 0 0 11010000 mmmmm 000000 nnnnn ddddd', 'adc', addSubCarry, 0),
  row('f 0 1 11010000 mmmmm 000000 nnnnn ddddd', 'adcs', addSubCarry, Ar.FLAGS),
  row('f 1 0 11010000 mmmmm 000000 nnnnn ddddd', 'sbc', addSubCarry, Ar.SUB),
  row('f 1 1 11010000 mmmmm 000000 nnnnn ddddd', 'sbcs', addSubCarry, Ar.SUB | Ar.FLAGS),
  row('f 0 1 11010010 mmmmm cccc r 0 nnnnn 0 vvvv', 'ccmn', condCompare, 0),
  row('f 1 1 11010010 mmmmm cccc r 0 nnnnn 0 vvvv', 'ccmp', condCompare, Ar.SUB),
  row('f 0 0 11010100 mmmmm cccc 00 nnnnn ddddd', 'csel', csel, 0),
  row('f 0 0 11010100 mmmmm cccc 01 nnnnn ddddd', 'csinc', csel, 1),
  row('f 1 0 11010100 mmmmm cccc 00 nnnnn ddddd', 'csinv', csel, 2),
  row('f 1 0 11010100 mmmmm cccc 01 nnnnn ddddd', 'csneg', csel, 3),
  row('f 1 0 11010110 00000 000000 nnnnn ddddd', 'rbit', dp1, One.RBIT),
  row('f 1 0 11010110 00000 000001 nnnnn ddddd', 'rev16', dp1, One.REV16),
  row('0 1 0 11010110 00000 000010 nnnnn ddddd', 'rev', dp1, One.REV),
  row('1 1 0 11010110 00000 000010 nnnnn ddddd', 'rev32', dp1, One.REV32),
  row('1 1 0 11010110 00000 000011 nnnnn ddddd', 'rev', dp1, One.REV),
  row('f 1 0 11010110 00000 000100 nnnnn ddddd', 'clz', dp1, One.CLZ),
  row('f 1 0 11010110 00000 000101 nnnnn ddddd', 'cls', dp1, One.CLS),
  row('f 0 0 11010110 mmmmm 000010 nnnnn ddddd', 'udiv', divide, 0),
  row('f 0 0 11010110 mmmmm 000011 nnnnn ddddd', 'sdiv', divide, 1),
  row('f 0 0 11010110 mmmmm 001000 nnnnn ddddd', 'lslv', shiftVariable, 0),
  row('f 0 0 11010110 mmmmm 001001 nnnnn ddddd', 'lsrv', shiftVariable, 1),
  row('f 0 0 11010110 mmmmm 001010 nnnnn ddddd', 'asrv', shiftVariable, 2),
  row('f 0 0 11010110 mmmmm 001011 nnnnn ddddd', 'rorv', shiftVariable, 3),
  row('f 0 0 11010110 mmmmm 0100 zz nnnnn ddddd', 'crc32', crc, 0),
  row('f 0 0 11010110 mmmmm 0101 zz nnnnn ddddd', 'crc32c', crc, 1),
  row('f 00 11011 000 mmmmm 0 aaaaa nnnnn ddddd', 'madd', madd, 0),
  row('f 00 11011 000 mmmmm 1 aaaaa nnnnn ddddd', 'msub', madd, Ar.SUB),
  row('1 00 11011 001 mmmmm 0 aaaaa nnnnn ddddd', 'smaddl', maddl, 0),
  row('1 00 11011 001 mmmmm 1 aaaaa nnnnn ddddd', 'smsubl', maddl, 1),
  row('1 00 11011 010 mmmmm 0 11111 nnnnn ddddd', 'smulh', mulh, 1),
  row('1 00 11011 101 mmmmm 0 aaaaa nnnnn ddddd', 'umaddl', maddl, 4),
  row('1 00 11011 101 mmmmm 1 aaaaa nnnnn ddddd', 'umsubl', maddl, 5),
  row('1 00 11011 110 mmmmm 0 11111 nnnnn ddddd', 'umulh', mulh, 0),
];
