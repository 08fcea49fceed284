/** Checks a block against the rules in ops.ts. For tests and debugging; not run in production. */
import type { HelperRegistry } from '../helpers.js';
import { Fl, NONE, Slot } from '../state.js';
import type { IrBuilder } from './builder.js';
import { F, Fx, OPS, Op, REC } from './ops.js';
import { printIr, printOp, type PrintOptions } from './print.js';
import { FLAGS_WRITTEN } from './undefined.js';

export interface VerifyOptions extends PrintOptions {
  /** Checks helper ids. */
  helpers?: HelperRegistry<never>;
  /**
   * Reject ops that may fault after their instruction has written a guest register. Default true. CALL is exempt
   * (whether a helper raises is not known here), and so are memory writes (an instruction can be restarted after them).
   */
  precise?: boolean;
}

/** Legal widths as bit masks (bit w); ops not listed ignore the width. */
const WIDTHS = new Map<Op, number>();
for (const op of [
  Op.MOV, Op.ZX, Op.CMOV, Op.SELNZ, Op.ADD, Op.SUB, Op.ADC, Op.SBB, Op.AND, Op.OR, Op.XOR, Op.NEG, Op.NOT, Op.INC, Op.DEC,
  Op.SX, Op.SHL, Op.SHR, Op.SAR, Op.ROL, Op.ROR, Op.RCL, Op.RCR, Op.MUL, Op.IMUL, Op.DIV, Op.IDIV, Op.CRC32, Op.LD, Op.ST, Op.JNZ, Op.CALLIF, Op.COPY, Op.FILL,
]) WIDTHS.set(op, 0b1111);
for (const op of [
  Op.LEA, Op.SHLD, Op.SHRD, Op.BT, Op.BTS, Op.BTR, Op.BTC, Op.BSF, Op.BSR, Op.TZCNT, Op.LZCNT, Op.POPCNT, Op.BSWAP,
]) WIDTHS.set(op, 0b1110);
for (const op of [Op.ANDN, Op.BLSI, Op.BLSR, Op.BLSMSK, Op.BEXTR, Op.BZHI, Op.PDEP, Op.PEXT, Op.ADOX]) WIDTHS.set(op, 0b1100);
for (const op of [Op.LDV, Op.STV]) WIDTHS.set(op, 0b111110);
for (const op of [Op.MOVV, Op.VOP]) WIDTHS.set(op, 0b111000);
WIDTHS.set(Op.SETCC, 1);
WIDTHS.set(Op.JMPI, 0b1000);

/** Bits that fw may contain, where that is less than all six flags. */
const FW = new Map<Op, number>([
  [Op.INC, Fl.NOT_CF], [Op.DEC, Fl.NOT_CF],
  [Op.ROL, Fl.CF | Fl.OF], [Op.ROR, Fl.CF | Fl.OF], [Op.RCL, Fl.CF | Fl.OF], [Op.RCR, Fl.CF | Fl.OF],
  [Op.BT, Fl.CF], [Op.BTS, Fl.CF], [Op.BTR, Fl.CF], [Op.BTC, Fl.CF], [Op.ADOX, Fl.OF], [Op.SETCF, Fl.CF],
]);
/** Ops that never write flags but whose instruction leaves them undefined. */
const UNDEFINED_ONLY = new Set<Op>([Op.DIV, Op.IDIV, Op.CALL]);

const DST_OPTIONAL = new Set<Op>([Op.ADD, Op.SUB, Op.AND, Op.CALL, Op.VOP]);
const SOURCES_OPTIONAL = new Set<Op>([Op.LEA, Op.CALL, Op.CALLIF, Op.VOP, Op.SETMODE]);
/** Ops that call a helper; they may raise, but whether one does is not known here. */
const CALLS = new Set<Op>([Op.CALL, Op.CALLIF, Op.TIME]);

/** Why literal fields of this op are out of range, or null. */
function badLiteral(op: Op, w: number, b: number, c: number, imm: number): string | null {
  switch (op) {
    case Op.SX:
      return (imm !== 16 && imm !== 32 && imm !== 64) || imm < 8 << w ? `cannot extend ${8 << w} to ${imm} bits` : null;
    case Op.LEA:
      return c < 0 || c > 3 ? `scale ${c}` : null;
    case Op.SETCF:
      return imm < 0 || imm > 2 ? `imm ${imm}` : null;
    case Op.LD:
    case Op.ST:
    case Op.LDV:
    case Op.STV:
      // TABLE0 only goes with USER.
      return c < 0 || c > 15 || (c & 6) === 6 || (c & 12) === 8 ? `access flags ${c}` : null;
    case Op.SEGCHK:
      return b < 0 || b > 5 || c < 0 || c > 1 || imm < 1 ? `segment ${b}, write ${c}, bytes ${imm}` : null;
    case Op.CHKALIGN:
      return imm <= 0 || (imm & (imm + 1)) !== 0 ? `alignment mask ${imm}` : null;
    case Op.JMP:
      return c < 0 || c > 1 ? `hint ${c}` : null;
    case Op.JMPI:
      return c < 0 || c > 2 ? `hint ${c}` : null;
    case Op.EXIT:
      return imm < 0 || imm > 4 ? `exit code ${imm}` : null;
    default:
      return null;
  }
}

/** @throws Error that names the broken rule and contains the printed block. */
export function verifyIr(b: IrBuilder, o: VerifyOptions = {}): void {
  const fail = (i: number, why: string): never => {
    throw new Error(`bad IR: op ${i} (${i < b.n ? printOp(b, i, o) : 'end'}): ${why}\n${printIr(b, o)}`);
  };
  const B = b.buf;
  /**
   * Per temporary: 0 not written yet, 1 written, 2 written as a vector (with the three slots after it), 3 written by a VOP
   * (perhaps with the three slots after it).
   */
  const written = new Uint8Array(Slot.TEMP_END - Slot.TEMP + 4);
  let insn = -1;
  let registerWritten = false;
  let afterMode = false;
  let afterSlotMode = false;
  if (b.n === 0) fail(0, 'empty block');
  for (let i = 0; i < b.n; i++) {
    const p = i * REC;
    const w0 = B[p + F.W0]!;
    const op: Op = w0 & 0xff;
    if (op >= Op.COUNT || w0 >>> 22 !== 0) fail(i, 'no such op');
    const info = OPS[op]!;
    const w = (w0 >>> 8) & 15;
    const fw = (w0 >>> 16) & 63;
    const dst = B[p + F.DST]!;
    const vector = op === Op.LDV || op === Op.MOVV || op === Op.ZEROU;

    if (!(info.fx & Fx.TERM) !== i < b.n - 1) fail(i, i < b.n - 1 ? 'terminator before the end' : 'no terminator at the end');
    if (afterMode && !(info.fx & Fx.TERM && op !== Op.EXIT)) fail(i, 'SETMODE must be followed by a jump');
    if (afterSlotMode && op !== Op.JMPI) fail(i, 'SETMODE from a slot must be followed by JMPI');
    afterMode = op === Op.SETMODE;
    afterSlotMode = afterMode && B[p + F.A]! !== NONE;
    const widths = WIDTHS.get(op);
    if (widths !== undefined && !((widths >> w) & 1)) fail(i, `width ${w}`);
    const literal = badLiteral(op, w, B[p + F.B]!, B[p + F.C]!, B[p + F.IMM]!);
    if (literal !== null) fail(i, literal);
    const allowed = FW.get(op) ?? (FLAGS_WRITTEN[op] !== 0 || UNDEFINED_ONLY.has(op) ? Fl.ALL : 0);
    if (fw & ~allowed) fail(i, `flags ${fw.toString(2)}, allowed ${allowed.toString(2)}`);
    if ((CALLS.has(op) || op === Op.VOP) && o.helpers && o.helpers.list[B[p + F.AUX]!] === undefined) fail(i, 'no such helper');

    if (B[p + F.INSN] !== insn) {
      insn = B[p + F.INSN]!;
      registerWritten = false;
    }
    if (o.precise !== false && registerWritten && info.fx & Fx.FAULTS && !CALLS.has(op)) {
      fail(i, 'may fault after a guest register was written');
    }

    // Sources before destinations: an op may not read its own result.
    for (let k = 1; k <= 3; k++) {
      const form = info.form[k];
      if (form !== 's' && form !== 'v') continue;
      const s = B[p + F.DST + k]!;
      const where = `operand ${'ABC'[k - 1]}`;
      if (s === NONE) {
        if (!SOURCES_OPTIONAL.has(op)) fail(i, `${where} missing`);
      } else if (s >= Slot.TEMP && s < Slot.TEMP_END) {
        const t = s - Slot.TEMP;
        if (s >= b.tempEnd) fail(i, `${where}: temporary was never allocated`);
        if (written[t] === 0 && written[t & ~3]! < 2) fail(i, `${where}: temporary is read before it is written`);
        if (form === 'v' && s & 3) fail(i, `${where}: vector temporary is not aligned`);
      } else if (s < 0 || (s >= Slot.SYMBOL && s - Slot.SYMBOL >= b.consts.symbolCount && s < Slot.CONST) || s >= Slot.CONST_END) fail(i, `${where}: no slot ${s}`);
      else if (s === Slot.FLAGS && op !== Op.CALL && op !== Op.VOP) fail(i, `${where}: flags are no operand`);
      else if (form === 'v' && s < Slot.VEC) fail(i, `${where}: not a vector register`);
    }

    const define = (s: number, optional: boolean): void => {
      if (s === NONE) {
        if (!optional) fail(i, 'destination missing');
      } else if (s >= Slot.TEMP && s < Slot.TEMP_END) {
        const t = s - Slot.TEMP;
        if (s >= b.tempEnd) fail(i, 'destination: temporary was never allocated');
        if (written[t] !== 0 || (t & 3 && written[t & ~3] === 2)) fail(i, 'temporary is written twice');
        if (vector && s & 3) fail(i, 'destination: vector temporary is not aligned');
        written[t] = vector ? 2 : op === Op.VOP && (s & 3) === 0 ? 3 : 1;
      } else if (s < 0 || s >= Slot.TEMP) fail(i, `destination: no slot ${s}`);
      else if ((s < Slot.GPR && s !== Slot.PC && !(s === Slot.PENDING && w === 0)) || (s >= Slot.X_CALL && s < Slot.MXCSR)) fail(i, `destination: slot ${s} is reserved`);
      else if (vector && s < Slot.VEC) fail(i, 'destination: not a vector register');
      else if (s !== Slot.PC) registerWritten = true;
    };
    if (info.form[0] === 'd') define(dst, DST_OPTIONAL.has(op) || (info.fx & Fx.DST2) !== 0);
    if (info.form[3] === 'D') define(B[p + F.C]!, true);
    if (info.form[4] === 'D') define(B[p + F.IMM]!, true);
    if (op === Op.LEA && w === 1 && dst < Slot.TEMP) fail(i, '16-bit LEA into a guest register');
    if (op === Op.INSH && dst >= Slot.TEMP) fail(i, 'INSH into a temporary');
  }
}
