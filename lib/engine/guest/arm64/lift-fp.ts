/** Scalar floating point (Arm ARM, C4.1.90: conversions, data processing, comparison, selection). */
import { Op } from '../../ir/ops.js';
import { Fl, NONE, flagsToEflags } from '../../state.js';
import type { LiftContext } from './lift-context.js';
import { convert, fromInteger, fromVector, fused, hostSize, lowElement, relation, scalarArith, toVector, truncate } from './lift-host-fp.js';
import { clearUpper } from './lift-simd.js';
import { A, nzcvToFlags } from './regs.js';
import { HOST_ARITH } from './simd/fp-host.js';
import { fpImmediate } from './simd/immediate.js';
import { row, type Row } from './table.js';

/** Element size of ftype (bits 23..22): 2 single, 3 double, 1 half; -1 reserved. */
function ftype(c: LiftContext): number {
  return [2, 3, -1, 1][c.bits(22, 2)]!;
}
const bitsOf = (es: number): number => 8 << es;

/** Vd = the low element of t, zero above. */
function setScalar(c: LiftContext, es: number, t: number): void {
  const d = c.v(c.rd);
  if (hostSize(es)) {
    toVector(c, es, d, t);
    return;
  }
  if (es === 3) c.b.mov(3, d, t);
  else c.b.zx(es, d, t);
  clearUpper(c, d);
}

/** Sign bit of the format as a constant. */
function signBit(c: LiftContext, es: number, rest: boolean): number {
  const flip = rest ? -1 : 0;
  return es === 3 ? c.b.k64(flip, 0x8000_0000 ^ flip) : c.b.k64((es === 2 ? 0x8000_0000 : 0x8000) ^ flip, flip);
}

/** One source: by opcode. */
const ONE: Readonly<Record<number, string>> = { 3: 'sqrt', 8: 'rintn', 9: 'rintp', 10: 'rintm', 11: 'rintz', 12: 'rinta', 14: 'rintx', 15: 'rinti' };
function dp1(c: LiftContext): void {
  const es = ftype(c);
  const opcode = c.bits(15, 6);
  if (es < 0) return c.undefined();
  const ir = c.b;
  const n = c.v(c.rn);
  if (opcode < 3) {
    if (!c.fp()) return;
    if (opcode === 0 && hostSize(es)) {
      lowElement(c, es, c.v(c.rd), n);
      return;
    }
    if (opcode === 0) {
      setScalar(c, es, n);
      return;
    }
    if (hostSize(es)) {
      toVector(c, 3, A.SCRATCH_B, signBit(c, es, opcode === 1));
      c.vop(opcode === 1 ? 'and' : 'eor', A.SCRATCH_B, n, A.SCRATCH_B, NONE, 1);
      lowElement(c, es, c.v(c.rd), A.SCRATCH_B);
      return;
    }
    const t = ir.temp();
    ir.alu(opcode === 1 ? Op.AND : Op.XOR, 3, t, n, signBit(c, es, opcode === 1));
    setScalar(c, es, t);
    return;
  }
  if ((opcode & 0x3c) === 4) {
    // FCVT: opcode[1:0] is the target's ftype.
    const to = [2, 3, -1, 1][opcode & 3]!;
    if (to < 0 || to === es) return c.undefined();
    if (!c.fp()) return;
    if (hostSize(es) && hostSize(to)) convert(c, es, c.v(c.rd), n);
    else c.vop(`f.cvt.${bitsOf(es)}.${bitsOf(to)}`, c.v(c.rd), n);
    return;
  }
  const name = ONE[opcode];
  if (name === undefined) return c.undefined();
  if (!c.fp()) return;
  if (name === 'sqrt' && hostSize(es)) scalarArith(c, name, es);
  else c.vop(`f.${name}.${bitsOf(es)}`, c.v(c.rd), n);
}

const TWO = ['mul', 'div', 'add', 'sub', 'max', 'min', 'maxnm', 'minnm', 'nmul'];
function dp2(c: LiftContext): void {
  const es = ftype(c);
  if (es < 0) return c.undefined();
  if (!c.fp()) return;
  const host = HOST_ARITH.find((name) => name === TWO[c.arg]);
  if (host !== undefined && hostSize(es)) scalarArith(c, host, es);
  else c.vop(`f.${TWO[c.arg]!}.${bitsOf(es)}`, c.v(c.rd), c.v(c.rn), c.v(c.rm));
}

const THREE = ['fmadd', 'fmsub', 'fnmadd', 'fnmsub'] as const;
function dp3(c: LiftContext): void {
  const es = ftype(c);
  if (es < 0) return c.undefined();
  if (!c.fp()) return;
  const name = THREE[(c.bits(21, 1) << 1) | c.bits(15, 1)]!;
  if (hostSize(es)) fused(c, name, es, c.v(c.rd), c.v(c.rn), c.v(c.rm), c.v(c.ra));
  else c.vop(`f.${name}.${bitsOf(es)}`, c.v(c.rd), c.v(c.rn), c.v(c.rm), c.v(c.ra));
}

/** Slot with the relation of Vn and Vm (or zero). */
function relate(c: LiftContext, es: number, signaling: boolean, zero: boolean): number {
  if (hostSize(es)) return relation(c, es, signaling, c.v(c.rn), zero ? A.ZERO : c.v(c.rm));
  const t = c.b.temp();
  c.vcall(`f.${signaling ? 'cmpe' : 'cmp'}.${bitsOf(es)}`, t, c.v(c.rn), zero ? NONE : c.v(c.rm));
  return t;
}

/** FCMP, FCMPE, with zero too: opcode2 bit 4 = E, bit 3 = zero. */
function compare(c: LiftContext): void {
  const es = ftype(c);
  const zero = c.bits(3, 1) !== 0;
  if (es < 0) return c.undefined();
  if (!c.fp()) return;
  c.flagsFromRelation(relate(c, es, c.bits(4, 1) !== 0, zero));
}

/** Relation that has the given NZCV, if one has. */
const RELATION: Readonly<Record<number, number>> = { 0b1000: 0, 0b0110: 1, 0b0010: 2, 0b0011: 0x80 };

function condCompare(c: LiftContext): void {
  const es = ftype(c);
  if (es < 0) return c.undefined();
  if (!c.fp()) return;
  const ir = c.b;
  const cond = c.bits(12, 4);
  const nzcv = c.bits(0, 4);
  const signaling = c.bits(4, 1) !== 0;
  if (cond >= 14) {
    c.flagsFromRelation(relate(c, es, signaling, false));
    return;
  }
  // The comparison happens, and raises, only if the condition holds: NaN-free operands take its place otherwise.
  const cc = c.cc(cond);
  const taken = ir.temp();
  let t: number;
  if (hostSize(es)) {
    const [a, b] = [fromVector(c, es, c.v(c.rn)), fromVector(c, es, c.v(c.rm))];
    const [x, y] = [ir.temp(), ir.temp()];
    ir.cmov(cc, 3, x, a, c.k(0));
    ir.cmov(cc, 3, y, b, c.k(0));
    ir.setcc(cc, taken);
    toVector(c, es, A.SCRATCH_A, x);
    toVector(c, es, A.SCRATCH_B, y);
    t = relation(c, es, signaling, A.SCRATCH_A, A.SCRATCH_B);
  } else {
    const x = ir.vtemp();
    const y = ir.vtemp();
    ir.cmov(cc, 3, x, c.v(c.rn), c.k(0));
    ir.cmov(cc, 3, y, c.v(c.rm), c.k(0));
    ir.setcc(cc, taken);
    t = ir.temp();
    c.vcall(`f.${signaling ? 'cmpe' : 'cmp'}.${bitsOf(es)}`, t, x, y);
  }
  const known = RELATION[nzcv];
  if (known !== undefined) {
    const r = ir.temp();
    ir.alu3(Op.SELNZ, 0, r, taken, t, c.k(known));
    c.flagsFromRelation(r);
    return;
  }
  const flags = ir.temp();
  const chosen = ir.temp();
  c.flagsFromRelation(t);
  ir.emit(Op.GETF, 0, 0, 0, flags, NONE, NONE, NONE, 0, 0);
  ir.alu3(Op.SELNZ, 0, chosen, taken, flags, c.k(flagsToEflags(nzcvToFlags(nzcv << 28))));
  ir.emit(Op.PUTF, 0, 0, Fl.ALL, NONE, chosen, NONE, NONE, 0, 0);
}

function csel(c: LiftContext): void {
  const es = ftype(c);
  if (es < 0) return c.undefined();
  if (!c.fp()) return;
  const cond = c.bits(12, 4);
  const t = c.b.temp();
  if (hostSize(es) && cond < 14) {
    c.b.cmov(c.cc(cond), 3, t, fromVector(c, es, c.v(c.rn)), fromVector(c, es, c.v(c.rm)));
    toVector(c, es, c.v(c.rd), t);
    return;
  }
  if (cond >= 14) c.b.mov(3, t, c.v(c.rn));
  else c.b.cmov(c.cc(cond), 3, t, c.v(c.rn), c.v(c.rm));
  setScalar(c, es, t);
}

function immediate(c: LiftContext): void {
  const es = ftype(c);
  if (es < 0) return c.undefined();
  if (!c.fp()) return;
  const v = fpImmediate(c.bits(13, 8), bitsOf(es) as 16 | 32 | 64);
  toVector(c, 3, c.v(c.rd), c.b.k64(v.lo, v.hi));
}

/** Rounding mode of rmode: nearest, up, down, zero, as MXCSR.RC has them. */
const RMODE = [0, 2, 1, 3];
const AWAY = 4;

/** Conversions between FP and general registers. */
function convertInt(c: LiftContext): void {
  const sf = c.w === 3;
  const type = c.bits(22, 2);
  const rmode = c.bits(19, 2);
  const opcode = c.bits(16, 3);
  const ir = c.b;
  const es = ftype(c);
  if (opcode >= 6) {
    // FMOV between register files.
    const to = opcode === 7;
    if (type === 2) {
      // The upper half of a vector register.
      if (!sf || rmode !== 1) return c.undefined();
      if (!c.fp()) return;
      if (to) ir.mov(3, c.v(c.rd) + 1, c.x(c.rn));
      else ir.mov(3, c.dst(c.rd), c.v(c.rn) + 1);
      return;
    }
    if (rmode !== 0 || (es === 3 && !sf) || (es === 2 && sf)) return c.undefined();
    if (!c.fp()) return;
    if (to) setScalar(c, es, c.x(c.rn));
    else if (hostSize(es)) ir.mov(3, c.dst(c.rd), fromVector(c, es, c.v(c.rn)));
    else if (es === 3) ir.mov(3, c.dst(c.rd), c.v(c.rn));
    else ir.zx(es, c.dst(c.rd), c.v(c.rn));
    return;
  }
  if (es < 0) return c.undefined();
  const wide = sf ? 0x1000 : 0;
  if (opcode === 2 || opcode === 3) {
    if (rmode !== 0) return c.undefined();
    if (!c.fp()) return;
    if (hostSize(es) && (opcode === 2 || !sf)) {
      let x = c.x(c.rn);
      if (opcode === 3) {
        // Unsigned words are small long integers.
        x = ir.temp();
        ir.zx(2, x, c.x(c.rn));
      }
      fromInteger(c, es, c.v(c.rd), x, sf || opcode === 3);
      return;
    }
    c.vcall(`f.fromint.${bitsOf(es)}`, c.v(c.rd), c.x(c.rn), NONE, NONE, wide | (opcode === 2 ? 0x2000 : 0));
    return;
  }
  if (opcode >= 4 && rmode !== 0) return c.undefined();
  if (!c.fp()) return;
  if (opcode === 0 && rmode === 3 && hostSize(es) && c.rd !== 31) {
    truncate(c, es, c.rd, c.rn, sf);
    return;
  }
  toInt(c, es, (opcode >= 4 ? AWAY : RMODE[rmode]!), (opcode & 1) === 0, 0);
}

function toInt(c: LiftContext, es: number, rm: number, signed: boolean, fbits: number): void {
  const t = c.b.temp();
  c.vcall(`f.toint.${bitsOf(es)}`, t, c.v(c.rn), NONE, NONE, fbits | (rm << 8) | (c.w === 3 ? 0x1000 : 0) | (signed ? 0x2000 : 0));
  c.b.mov(3, c.dst(c.rd), t);
}

/** Conversions with fixed-point numbers. */
function convertFixed(c: LiftContext): void {
  const es = ftype(c);
  const rmode = c.bits(19, 2);
  const opcode = c.bits(16, 3);
  const scale = c.bits(10, 6);
  if (es < 0 || (c.w === 2 && scale < 32)) return c.undefined();
  const fbits = 64 - scale;
  if (rmode === 0 && (opcode === 2 || opcode === 3)) {
    if (!c.fp()) return;
    c.vcall(`f.fromint.${bitsOf(es)}`, c.v(c.rd), c.x(c.rn), NONE, NONE, fbits | (c.w === 3 ? 0x1000 : 0) | (opcode === 2 ? 0x2000 : 0));
    return;
  }
  if (rmode !== 3 || opcode > 1) return c.undefined();
  if (!c.fp()) return;
  toInt(c, es, 3, opcode === 0, fbits);
}

export const FP_ROWS: readonly Row[] = [
  row('00011110 tt 1 oooooo 10000 nnnnn ddddd', 'fp 1 source', dp1),
  ...TWO.map((name, k) => row(`00011110 tt 1 mmmmm ${k.toString(2).padStart(4, '0')} 10 nnnnn ddddd`, `f${name}`, dp2, k)),
  row('00011111 tt o mmmmm o aaaaa nnnnn ddddd', 'fmadd', dp3),
  row('00011110 tt 1 mmmmm 00 1000 nnnnn ez 000', 'fcmp', compare),
  row('00011110 tt 1 mmmmm cccc 01 nnnnn e vvvv', 'fccmp', condCompare),
  row('00011110 tt 1 mmmmm cccc 11 nnnnn ddddd', 'fcsel', csel),
  row('00011110 tt 1 iiiiiiii 100 00000 ddddd', 'fmov imm', immediate),
  row('f 00 11110 tt 1 rr ooo 000000 nnnnn ddddd', 'fp/int', convertInt),
  row('f 00 11110 tt 0 rr ooo ssssss nnnnn ddddd', 'fp/fixed', convertFixed),
];
