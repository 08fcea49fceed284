/**
 * F and D (Zfh: lift-half.ts). Registers are plain 64-bit slots; moves, sign operations, loads and stores are integer operations. Arithmetic goes
 * through the helper `fp` unless the host does it exactly.
 */
import { FloatOp, Op } from '../../ir/ops.js';
import { NONE } from '../../state.js';
import { Mode } from './defs.js';
import type { LiftContext } from './lift-context.js';
import { type Ext, M, row, type Row } from './table.js';

type H = (c: LiftContext) => void;

/** Widths of values in registers of 64 bits: 1 half, 2 single, 3 double precision. */
export type FpWidth = 1 | 2 | 3;

/** The bits above a narrower value in a register (NaN boxing, vol. I, 22.2). */
export const boxed = (c: LiftContext, w: 1 | 2, dst: number, t: number): void => c.b.alu(Op.OR, 3, dst, t, c.b.k64(w === 1 ? -0x1_0000 : 0, -1));

/** An operand that is not boxed counts as the canonical NaN. @returns a temporary with the low 16 or 32 bits right. */
function unboxed(c: LiftContext, w: 1 | 2, s: number): number {
  const { b } = c;
  const [hi, bad, t] = [b.temp(), b.temp(), b.temp()];
  b.alu(Op.SAR, 3, hi, s, b.k(8 << w));
  b.emit(Op.NOT, 3, 0, 0, bad, hi, NONE, NONE, 0, 0);
  b.alu3(Op.SELNZ, 3, t, bad, b.k(w === 1 ? 0x7e00 : 0x7fc0_0000), s);
  return t;
}

export const load = (w: FpWidth): H => (c) => {
  if (!c.fpReady(true, true)) return;
  const addr = c.address(c.immI);
  if (w === 3) {
    c.load(3, c.frd, addr);
    return;
  }
  const t = c.b.temp();
  c.load(w, t, addr);
  boxed(c, w, c.frd, t);
};

export const store = (w: FpWidth): H => (c) => {
  if (!c.fpReady(false, true)) return;
  c.b.st(w, c.address(c.immS), c.frs2);
};

/** funct3: 0 copies the sign of rs2, 1 its inverse, 2 the exclusive or of both signs. */
export const signInject = (w: FpWidth): H => (c) => {
  if (c.funct3 > 2) {
    c.illegal();
    return;
  }
  if (!c.fpReady(true)) return;
  const { b } = c;
  const same = c.rs1Num === c.rs2Num;
  if (w === 3 && same && c.funct3 === 0) {
    b.mov(3, c.frd, c.frs1);
    return;
  }
  const top = w === 1 ? 0x8000 : 0x8000_0000 | 0;
  const sign = w === 3 ? b.k64(0, top) : b.k64(top, 0);
  const [v, s] = w === 3 ? [c.frs1, c.frs2] : [unboxed(c, w, c.frs1), unboxed(c, w, c.frs2)];
  const result = w === 3 ? c.frd : b.temp();
  if (same && c.funct3 === 1) {
    b.alu(Op.XOR, 3, result, v, sign);
  } else if (c.funct3 === 2) {
    const t = b.temp();
    b.alu(Op.AND, 3, t, s, sign);
    b.alu(Op.XOR, 3, result, v, t);
  } else {
    const [magnitude, inverse, t] = [b.temp(), b.temp(), b.temp()];
    b.alu(Op.AND, 3, magnitude, v, w === 3 ? b.k64(-1, ~top) : b.k64(~top, -1));
    let from = s;
    if (c.funct3 === 1) {
      b.emit(Op.NOT, 3, 0, 0, inverse, s, NONE, NONE, 0, 0);
      from = inverse;
    }
    b.alu(Op.AND, 3, t, from, sign);
    b.alu(Op.OR, 3, result, magnitude, t);
  }
  if (w !== 3) boxed(c, w, c.frd, result);
};

/** A rounding mode that is reserved, in the instruction or in frm, makes it illegal. */
function roundingOk(c: LiftContext): boolean {
  const rm = c.funct3 === 7 ? (c.mode & Mode.FRM) >> Mode.FRM_SHIFT : c.funct3;
  return rm <= 4;
}

/** By helper. `toInt`: the result goes to an integer register. `round`: funct3 is a rounding mode. */
export const slow = (o: { toInt?: boolean; fromInt?: boolean; round?: boolean }): H => (c) => {
  if (!(c.mode & Mode.FP)) {
    c.noFp();
    return;
  }
  if (o.round === true && !roundingOk(c)) {
    c.illegal();
    return;
  }
  // Flags may change in any case.
  if (!c.fpReady(true)) return;
  c.call('fp', o.toInt === true ? c.rd : c.frd, o.fromInt === true ? c.rs1 : c.frs1, c.frs2, c.frs3, c.insn);
};

/** The host does it, if it has the rounding mode: the dynamic one, which is in MXCSR, or the same by name. */
const fast = (kind: FloatOp, w: 2 | 3, o: { toInt?: boolean; fromInt?: boolean; round?: boolean; trunc?: boolean }): H => {
  const fallback = slow(o);
  return (c) => {
    const frm = (c.mode & Mode.FRM) >> Mode.FRM_SHIFT;
    const same = c.funct3 === 7 || c.funct3 === frm;
    const able = o.trunc === true ? c.funct3 === 1 : o.round !== true || (same && !(c.mode & Mode.SLOW_FRM));
    if (!able) {
      fallback(c);
      return;
    }
    if (!c.fpReady(true)) return;
    c.fop(kind, w, o.toInt === true ? c.rd : c.frd, o.fromInt === true ? c.rs1 : c.frs1, c.frs2, c.frs3);
  };
};

/** From a 32-bit integer: widened first. Exact for doubles; for singles rounded once, as it should be. */
const fromWord = (w: 2 | 3, signed: boolean): H => {
  const fallback = slow({ fromInt: true, round: true });
  return (c) => {
    const frm = (c.mode & Mode.FRM) >> Mode.FRM_SHIFT;
    const able = w === 3 ? c.funct3 <= 4 || (c.funct3 === 7 && frm <= 4) : (c.funct3 === 7 || c.funct3 === frm) && !(c.mode & Mode.SLOW_FRM);
    if (!able) {
      fallback(c);
      return;
    }
    if (!c.fpReady(true)) return;
    const t = c.b.temp();
    if (signed) c.b.sx(2, 64, t, c.rs1);
    else c.b.zx(2, t, c.rs1);
    c.fop(FloatOp.FROM_I64, w, c.frd, t, NONE, NONE);
  };
};

const OP_FP = 0x53;
export const fp = (name: string, f7: number, ext: Ext, h: H): Row => row(name, M.FP, OP_FP | (f7 << 25), ext, h);
export const fpRm = (name: string, f7: number, f3: number, ext: Ext, h: H): Row => row(name, M.R, OP_FP | (f3 << 12) | (f7 << 25), ext, h);
export const fp1 = (name: string, f7: number, rs2: number, ext: Ext, h: H): Row => row(name, M.FP1, OP_FP | (rs2 << 20) | (f7 << 25), ext, h);
export const fp1Rm = (name: string, f7: number, rs2: number, f3: number, ext: Ext, h: H): Row => row(name, M.R2, OP_FP | (f3 << 12) | (rs2 << 20) | (f7 << 25), ext, h);
const fused = (name: string, op: number, fmt: number, ext: Ext, kind: FloatOp): Row => row(name, M.FP4, op | (fmt << 25), ext, fast(kind, fmt === 0 ? 2 : 3, { round: true }));

/** What F and D have alike; fmt 0: single, 1: double. */
function both(fmt: 0 | 1): Row[] {
  const ext: Ext = fmt === 0 ? 'f' : 'd';
  const s = fmt === 0 ? 's' : 'd';
  const w = fmt === 0 ? 2 : 3;
  const arith = (kind: FloatOp): H => fast(kind, w, { round: true });
  const toInt = slow({ toInt: true, round: true });
  const fromInt = slow({ fromInt: true, round: true });
  const compare = (kind: FloatOp): H => fast(kind, w, { toInt: true });
  const rows = [
    row(`fl${fmt === 0 ? 'w' : 'd'}`, M.I, 0x07 | (w << 12), ext, load(w)),
    row(`fs${fmt === 0 ? 'w' : 'd'}`, M.I, 0x27 | (w << 12), ext, store(w)),
    fused(`fmadd.${s}`, 0x43, fmt, ext, FloatOp.MADD),
    fused(`fmsub.${s}`, 0x47, fmt, ext, FloatOp.MSUB),
    fused(`fnmsub.${s}`, 0x4b, fmt, ext, FloatOp.NMSUB),
    fused(`fnmadd.${s}`, 0x4f, fmt, ext, FloatOp.NMADD),
    fp(`fadd.${s}`, 0x00 | fmt, ext, arith(FloatOp.ADD)),
    fp(`fsub.${s}`, 0x04 | fmt, ext, arith(FloatOp.SUB)),
    fp(`fmul.${s}`, 0x08 | fmt, ext, arith(FloatOp.MUL)),
    fp(`fdiv.${s}`, 0x0c | fmt, ext, arith(FloatOp.DIV)),
    fp1(`fsqrt.${s}`, 0x2c | fmt, 0, ext, arith(FloatOp.SQRT)),
    fp(`fsgnj.${s}`, 0x10 | fmt, ext, signInject(w)),
    fpRm(`fmin.${s}`, 0x14 | fmt, 0, ext, slow({})),
    fpRm(`fmax.${s}`, 0x14 | fmt, 1, ext, slow({})),
    fpRm(`fle.${s}`, 0x50 | fmt, 0, ext, compare(FloatOp.LE)),
    fpRm(`flt.${s}`, 0x50 | fmt, 1, ext, compare(FloatOp.LT)),
    fpRm(`feq.${s}`, 0x50 | fmt, 2, ext, compare(FloatOp.EQ)),
    fp1Rm(`fclass.${s}`, 0x70 | fmt, 0, 1, ext, slow({ toInt: true })),
  ];
  for (const [n, t] of ['w', 'wu', 'l', 'lu'].entries()) {
    const trunc = fast(n === 0 ? FloatOp.TRUNC_I32 : FloatOp.TRUNC_I64, w, { toInt: true, round: true, trunc: true });
    rows.push(fp1(`fcvt.${t}.${s}`, 0x60 | fmt, n, ext, n === 0 || n === 2 ? trunc : toInt));
    rows.push(fp1(`fcvt.${s}.${t}`, 0x68 | fmt, n, ext, n < 2 ? fromWord(w, n === 0) : n === 2 ? fast(FloatOp.FROM_I64, w, { fromInt: true, round: true }) : fromInt));
  }
  return rows;
}

export const FLOAT_ROWS: readonly Row[] = [
  ...both(0),
  ...both(1),
  fp1('fcvt.s.d', 0x20, 1, 'd', fast(FloatOp.CONVERT, 2, { round: true })),
  fp1('fcvt.d.s', 0x21, 0, 'd', fast(FloatOp.CONVERT, 3, { round: true })),
  fp1Rm('fmv.x.w', 0x70, 0, 0, 'f', (c) => {
    if (c.fpReady(false)) c.b.sx(2, 64, c.rd, c.frs1);
  }),
  fp1Rm('fmv.w.x', 0x78, 0, 0, 'f', (c) => {
    if (!c.fpReady(true)) return;
    const t = c.b.temp();
    c.b.zx(2, t, c.rs1);
    boxed(c, 2, c.frd, t);
  }),
  fp1Rm('fmv.x.d', 0x71, 0, 0, 'd', (c) => {
    if (c.fpReady(false)) c.b.mov(3, c.rd, c.frs1);
  }),
  fp1Rm('fmv.d.x', 0x79, 0, 0, 'd', (c) => {
    if (c.fpReady(true)) c.b.mov(3, c.frd, c.rs1);
  }),
];
