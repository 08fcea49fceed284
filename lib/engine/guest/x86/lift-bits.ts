/**
 * Shifts, rotates, bit tests and scans, byte swaps, BMI1/BMI2, ADX, CRC32. Intel SDM vol. 1 sections 7.3.5-7.3.6, 7.3.17.
 */
import { Access, Fl, NONE } from '../../state.js';
import { Op } from '../../ir/ops.js';
import type { LiftContext } from './lift-context.js';
import { gpr, X } from './mode.js';
import { Imm, Mod, P, row, type Row } from './opcodes.js';

const SHIFTS = [Op.ROL, Op.ROR, Op.RCL, Op.RCR, Op.SHL, Op.SHR, Op.SHL, Op.SAR] as const;
const SHIFT_NAMES = ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sal', 'sar'];

function evenWidth(c: LiftContext): number {
  return (c.insn.opcode & 1) !== 0 ? c.insn.opsize : 0;
}

/** Flags of a shift or rotate (arg = digit) by the constant n or, with n < 0, by a variable count. */
function shiftFlags(digit: number, n: number): number {
  if (n === 0) return 0;
  return digit < 4 ? Fl.CF | Fl.OF : Fl.ALL;
}

function shiftBy(c: LiftContext, count: number, n: number): void {
  const w = evenWidth(c);
  const old = c.rmLoad(w);
  const d = c.rmDst(w);
  c.b.alu(SHIFTS[c.arg]!, w, d, old, count, shiftFlags(c.arg, n));
  c.rmStore(w, d);
}

function shiftImm(c: LiftContext): void {
  const n = c.insn.imm & (evenWidth(c) === 3 ? 63 : 31);
  shiftBy(c, c.k(n), n);
}

function shift1(c: LiftContext): void {
  shiftBy(c, c.k(1), 1);
}

function shiftCl(c: LiftContext): void {
  shiftBy(c, X.RCX, -1);
}

/** SHLD, SHRD with immediate or CL; arg = op. */
function shiftDouble(c: LiftContext): void {
  const i = c.insn;
  const w = i.opsize;
  const byCl = (i.opcode & 1) !== 0;
  const n = i.imm & (w === 3 ? 63 : 31);
  const old = c.rmLoad(w);
  const d = c.rmDst(w);
  c.b.alu3(c.arg as Op, w, d, old, gpr(i.reg), byCl ? X.RCX : c.k(n), byCl || n !== 0 ? Fl.ALL : 0);
  c.rmStore(w, d);
}

/** BT BTS BTR BTC rm, imm8; arg = op. */
function bitImm(c: LiftContext): void {
  const w = c.insn.opsize;
  bitOp(c, w, c.k(c.insn.imm & ((8 << w) - 1)));
}

function bitOp(c: LiftContext, w: number, bit: number): void {
  if (c.arg === Op.BT) {
    c.b.alu(Op.BT, w, NONE, c.readRm(w), bit, Fl.CF);
    return;
  }
  const old = c.rmLoad(w);
  const d = c.rmDst(w);
  c.b.alu(c.arg as Op, w, d, old, bit, Fl.CF);
  c.rmStore(w, d);
}

/** BT BTS BTR BTC rm, reg: with a memory operand the bit offset is signed and addresses beyond the operand. */
function bitReg(c: LiftContext): void {
  const b = c.b;
  const i = c.insn;
  const w = i.opsize;
  const bit = gpr(i.reg);
  if (i.mod === 3) {
    bitOp(c, w, bit);
    return;
  }
  let t = bit;
  if (w < 3) {
    t = b.temp();
    b.sx(w, 64, t, bit);
  }
  const units = b.temp();
  b.alu(Op.SAR, 3, units, t, c.k(w + 3), 0);
  const off = b.temp();
  b.lea(i.addrsize, off, c.offset(), units, w, 0);
  const addr = c.linear(off, 1 << w, c.arg !== Op.BT);
  const old = b.temp();
  if (c.arg === Op.BT) {
    b.ld(w, old, addr);
    b.alu(Op.BT, w, NONE, old, bit, Fl.CF);
    return;
  }
  b.ld(w, old, addr, Access.RMW);
  const d = b.temp();
  b.alu(c.arg as Op, w, d, old, bit, Fl.CF);
  b.st(w, addr, d);
}

/** BSF, BSR; with F3 and the feature TZCNT, LZCNT. */
function bitScan(c: LiftContext): void {
  const i = c.insn;
  const w = i.opsize;
  const reverse = (i.opcode & 1) !== 0;
  const d = gpr(i.reg);
  const src = c.readRm(w);
  if (i.rep === 2 && (reverse ? c.features.abm : c.features.bmi1)) {
    c.b.alu(reverse ? Op.LZCNT : Op.TZCNT, w, d, src, NONE, Fl.ALL & ~Fl.OF);
    return;
  }
  c.b.alu(reverse ? Op.BSR : Op.BSF, w, d, src, d, Fl.ZF);
}

function popcnt(c: LiftContext): void {
  const w = c.insn.opsize;
  c.b.alu(Op.POPCNT, w, gpr(c.insn.reg), c.readRm(w), NONE, Fl.ALL);
}

/** BSWAP; the 16-bit form is undefined, processors give 0. */
function bswap(c: LiftContext): void {
  const w = c.insn.opsize;
  const r = gpr(c.insn.opreg);
  if (w === 1) c.b.mov(1, r, c.k(0));
  else c.b.alu(Op.BSWAP, w, r, r, NONE, 0);
}

function movbeLoad(c: LiftContext): void {
  const w = c.insn.opsize;
  c.b.alu(Op.BSWAP, w, gpr(c.insn.reg), c.readRm(w), NONE, 0);
}

function movbeStore(c: LiftContext): void {
  const w = c.insn.opsize;
  const t = c.b.temp();
  c.b.alu(Op.BSWAP, w, t, gpr(c.insn.reg), NONE, 0);
  c.writeRm(w, t);
}

function crc32(c: LiftContext): void {
  const w = evenWidth(c);
  const r = gpr(c.insn.reg);
  c.b.alu(Op.CRC32, w, r, r, c.readRm(w), 0);
}

/** VEX: reg = op(vvvv, rm), arg = op | flags << 8 (ANDN, PDEP, PEXT). */
function bmiRVM(c: LiftContext): void {
  const w = c.insn.opsize;
  c.b.alu((c.arg & 0xff) as Op, w, gpr(c.insn.reg), gpr(c.insn.vvvv), c.readRm(w), c.arg >> 8);
}

/** VEX: reg = op(rm, vvvv), arg = op | flags << 8 (BEXTR, BZHI, SHLX, SARX, SHRX). */
function bmiRMV(c: LiftContext): void {
  const w = c.insn.opsize;
  c.b.alu((c.arg & 0xff) as Op, w, gpr(c.insn.reg), c.readRm(w), gpr(c.insn.vvvv), c.arg >> 8);
}

/** VEX: vvvv = op(rm) (BLSR, BLSMSK, BLSI). */
function bmiVM(c: LiftContext): void {
  const w = c.insn.opsize;
  c.b.alu(c.arg as Op, w, gpr(c.insn.vvvv), c.readRm(w), NONE, Fl.ALL);
}

function mulx(c: LiftContext): void {
  const i = c.insn;
  const w = i.opsize;
  // with equal destinations the high half wins
  const lo = i.vvvv === i.reg ? NONE : gpr(i.vvvv);
  c.b.alu3(Op.MUL, w, lo, X.RDX, c.readRm(w), gpr(i.reg), 0);
}

function rorx(c: LiftContext): void {
  const w = c.insn.opsize;
  const n = c.insn.imm & (w === 3 ? 63 : 31);
  c.b.alu(Op.ROR, w, gpr(c.insn.reg), c.readRm(w), c.k(n), 0);
}

/** ADCX, ADOX; arg = op | flags << 8. */
function adx(c: LiftContext): void {
  const w = c.gprWidth();
  const r = gpr(c.insn.reg);
  c.b.alu((c.arg & 0xff) as Op, w, r, r, c.readRm(w), c.arg >> 8);
}

function rows(): Row[] {
  const r: Row[] = [];
  for (let d = 0; d < 8; d++) {
    const name = SHIFT_NAMES[d]!;
    r.push(
      row(0, 0xc0, name, shiftImm, { n: 2, digit: d, imm: Imm.IB, arg: d }),
      row(0, 0xd0, name, shift1, { n: 2, digit: d, arg: d }),
      row(0, 0xd2, name, shiftCl, { n: 2, digit: d, arg: d }),
    );
  }
  const bits = [Op.BT, Op.BTS, Op.BTR, Op.BTC] as const;
  ['bt', 'bts', 'btr', 'btc'].forEach((name, k) => {
    const lock = k !== 0;
    r.push(
      row(1, 0xa3 + k * 8, name, bitReg, { modrm: true, lock, arg: bits[k]! }),
      row(1, 0xba, name, bitImm, { digit: 4 + k, imm: Imm.IB, lock, arg: bits[k]! }),
    );
  });
  const all = Fl.ALL << 8;
  r.push(
    row(1, 0xa4, 'shld', shiftDouble, { modrm: true, imm: Imm.IB, arg: Op.SHLD }),
    row(1, 0xa5, 'shld', shiftDouble, { modrm: true, arg: Op.SHLD }),
    row(1, 0xac, 'shrd', shiftDouble, { modrm: true, imm: Imm.IB, arg: Op.SHRD }),
    row(1, 0xad, 'shrd', shiftDouble, { modrm: true, arg: Op.SHRD }),
    row(1, 0xbc, 'bsf', bitScan, { n: 2, modrm: true }),
    row(1, 0xb8, 'popcnt', popcnt, { p: P.F3, modrm: true, feature: 'popcnt' }),
    row(1, 0xc8, 'bswap', bswap, { n: 8 }),
    row(2, 0xf0, 'movbe', movbeLoad, { p: P.NP66, mod: Mod.MEM, feature: 'movbe' }),
    row(2, 0xf1, 'movbe', movbeStore, { p: P.NP66, mod: Mod.MEM, feature: 'movbe' }),
    row(2, 0xf0, 'crc32', crc32, { p: P.F2, n: 2, feature: 'sse4_2' }),
    row(2, 0xf6, 'adcx', adx, { p: P.P66, feature: 'adx', arg: Op.ADC | (Fl.CF << 8) }),
    row(2, 0xf6, 'adox', adx, { p: P.F3, feature: 'adx', arg: Op.ADOX | (Fl.OF << 8) }),

    row(2, 0xf2, 'andn', bmiRVM, { vex: true, p: P.NP, feature: 'bmi1', arg: Op.ANDN | all }),
    row(2, 0xf3, 'blsr', bmiVM, { vex: true, p: P.NP, digit: 1, feature: 'bmi1', arg: Op.BLSR }),
    row(2, 0xf3, 'blsmsk', bmiVM, { vex: true, p: P.NP, digit: 2, feature: 'bmi1', arg: Op.BLSMSK }),
    row(2, 0xf3, 'blsi', bmiVM, { vex: true, p: P.NP, digit: 3, feature: 'bmi1', arg: Op.BLSI }),
    row(2, 0xf5, 'bzhi', bmiRMV, { vex: true, p: P.NP, feature: 'bmi2', arg: Op.BZHI | all }),
    row(2, 0xf5, 'pext', bmiRVM, { vex: true, p: P.F3, feature: 'bmi2', arg: Op.PEXT }),
    row(2, 0xf5, 'pdep', bmiRVM, { vex: true, p: P.F2, feature: 'bmi2', arg: Op.PDEP }),
    row(2, 0xf6, 'mulx', mulx, { vex: true, p: P.F2, feature: 'bmi2' }),
    row(2, 0xf7, 'bextr', bmiRMV, { vex: true, p: P.NP, feature: 'bmi1', arg: Op.BEXTR | all }),
    row(2, 0xf7, 'shlx', bmiRMV, { vex: true, p: P.P66, feature: 'bmi2', arg: Op.SHL }),
    row(2, 0xf7, 'sarx', bmiRMV, { vex: true, p: P.F3, feature: 'bmi2', arg: Op.SAR }),
    row(2, 0xf7, 'shrx', bmiRMV, { vex: true, p: P.F2, feature: 'bmi2', arg: Op.SHR }),
    row(3, 0xf0, 'rorx', rorx, { vex: true, p: P.F2, noVvvv: true, feature: 'bmi2' }),
  );
  return r;
}

export const BITS_ROWS: readonly Row[] = rows();
