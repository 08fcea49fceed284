/** Translates the IR of one block into the interpreter's records (codes.ts). */
import type { IrBuilder } from '../ir/builder.js';
import { F, Op, REC } from '../ir/ops.js';
import { Access, Cc, NONE, Slot } from '../state.js';
import { C, R, RECORD, Wide } from './codes.js';
import { condMask, FLAG_MASK } from './flags.js';
import { MERGE } from './narrow.js';

/**
 * Slots of the segment limits that SEGCHK tests inline: six for reads, then six for writes, indexed by segment.
 * Low word: limit (unsigned). High word: non-zero sends every access to `GuestCpu.segmentCheck`.
 */
export const LIMIT_READ = 32;
export const LIMIT_WRITE = 38;

/** One block, ready for `Interpreter.runBlock`. */
export interface InterpBlock {
  /** RECORD words per record; the last record is a terminator. */
  readonly code: Int32Array;
  /** Linear addresses wrap at 32 bits: the high word of PC is always 0. */
  readonly mask32: boolean;
}

export interface InterpOptions {
  /** See `InterpBlock.mask32`. Default false. */
  mask32?: boolean;
}

/** Results nobody wants go here (word index). */
const SINK = Slot.X_SCRATCH * 2;

let scratch = new Int32Array(4096 * RECORD);

/** Chooses among codes that are laid out in the order 32, 64, 32F, 64F. */
function wide(first: C, w: number, fw: number): C {
  return first + (w - 2) + (fw !== 0 ? 2 : 0);
}

/**
 * @param b a complete block (it ends with a terminator); not modified, but constants may be interned.
 * @returns a compact copy that stays valid as long as the constant pool is not reset.
 */
export function compileForInterp(b: IrBuilder, o: InterpOptions = {}): InterpBlock {
  const I = b.buf;
  const end = b.n * REC;
  if (scratch.length < b.n * RECORD) scratch = new Int32Array(b.n * RECORD * 2);
  const out = scratch;
  const zero = b.k(0) * 2;
  let q = 0;
  for (let p = 0; p < end; p += REC) {
    const w0 = I[p + F.W0]!;
    const op: Op = w0 & 0xff;
    const w = (w0 >>> 8) & 15;
    const cc: Cc = (w0 >>> 12) & 15;
    const fw = (w0 >>> 16) & 63;
    const dst = I[p + F.DST]!;
    const sa = I[p + F.A]!;
    const sb = I[p + F.B]!;
    const sc = I[p + F.C]!;
    const iimm = I[p + F.IMM]!;
    const merge = dst >= 0 && dst < Slot.TEMP;
    const how = (8 << w) | (merge ? MERGE : 0);
    let code: C;
    let d = dst < 0 ? SINK : dst * 2;
    let a = sa < 0 ? zero : sa * 2;
    let bb = sb < 0 ? zero : sb * 2;
    let c = sc;
    let imm = iimm;
    let insn = I[p + F.INSN]!;
    let m = FLAG_MASK[fw]!;
    switch (op) {
      case Op.NOP:
        continue;
      case Op.MOV:
        code = w === 3 ? C.MOV64 : w === 2 ? C.MOV32 : w === 1 ? (merge ? C.MOV16M : C.MOV16Z) : merge ? C.MOV8M : C.MOV8Z;
        break;
      case Op.ZX:
        code = w === 3 ? C.MOV64 : w === 2 ? C.MOV32 : w === 1 ? C.MOV16Z : C.MOV8Z;
        break;
      case Op.SX:
        if (iimm === 16) code = w === 0 ? (merge ? C.SX8_16M : C.SX8_16Z) : merge ? C.MOV16M : C.MOV16Z;
        else if (iimm === 32) code = w === 0 ? C.SX8_32 : w === 1 ? C.SX16_32 : C.MOV32;
        else code = w === 0 ? C.SX8_64 : w === 1 ? C.SX16_64 : w === 2 ? C.SX32_64 : C.MOV64;
        break;
      case Op.EXTH:
        code = C.EXTH;
        break;
      case Op.INSH:
        code = C.INSH;
        break;
      case Op.LEA:
        if (w === 1) code = C.LEA16;
        else if (sb < 0) code = w === 2 ? C.LEA32I : C.LEA64I;
        else if (sa < 0 && sc === 0) {
          a = bb;
          code = w === 2 ? C.LEA32I : C.LEA64I;
        } else code = w === 2 ? C.LEA32 : C.LEA64;
        break;
      case Op.SETCC:
        code = merge ? C.SETCC_M : C.SETCC_Z;
        m = condMask(cc);
        imm = cc & 1;
        break;
      case Op.CMOV:
        m = condMask(cc);
        if (w >= 2) {
          code = w === 3 ? C.CMOV64 : C.CMOV32;
          if (cc & 1) {
            const t = a;
            a = bb;
            bb = t;
          }
        } else {
          code = C.CMOV_N;
          imm = cc & 1;
        }
        break;
      case Op.SELNZ:
        code = w === 3 ? C.SELNZ64 : C.SELNZ_N;
        imm = w === 2 ? -1 : w === 1 ? 0xffff : 0xff;
        c = sc < 0 ? zero : sc * 2;
        break;
      case Op.INC:
      case Op.ADD:
        if (op === Op.INC) bb = b.k(1) * 2;
        if (w >= 2) code = wide(C.ADD32, w, fw);
        else {
          code = C.ADDN;
          imm = how;
        }
        break;
      case Op.ADC:
        code = w === 3 ? C.ADC64 : w === 2 ? C.ADC32 : C.ADCN;
        imm = how;
        break;
      case Op.NEG:
      case Op.DEC:
      case Op.SUB:
        if (op === Op.DEC) bb = b.k(1) * 2;
        else if (op === Op.NEG) {
          bb = a;
          a = zero;
        }
        if (w < 2) {
          code = C.SUBN;
          imm = how;
        } else if (dst < 0) code = w === 2 ? C.CMP32 : C.CMP64;
        else code = wide(C.SUB32, w, fw);
        break;
      case Op.SBB:
        code = w === 3 ? C.SBB64 : w === 2 ? C.SBB32 : C.SBBN;
        imm = how;
        break;
      case Op.AND:
        if (w < 2) {
          code = C.ANDN;
          imm = how;
        } else if (dst < 0) code = w === 2 ? C.TEST32 : C.TEST64;
        else code = wide(C.AND32, w, fw);
        break;
      case Op.OR:
        code = w < 2 ? C.ORN : wide(C.OR32, w, fw);
        imm = how;
        break;
      case Op.NOT:
      case Op.XOR:
        if (op === Op.NOT) {
          bb = b.k(-1) * 2;
          m = 0;
        }
        code = w < 2 ? C.XORN : wide(C.XOR32, w, op === Op.NOT ? 0 : fw);
        imm = how;
        break;
      case Op.SHL:
        code = w === 2 ? (fw ? C.SHL32F : C.SHL32) : w === 3 && fw === 0 ? C.SHL64 : C.RARE;
        break;
      case Op.SHR:
        code = w === 2 ? (fw ? C.SHR32F : C.SHR32) : w === 3 && fw === 0 ? C.SHR64 : C.RARE;
        break;
      case Op.SAR:
        code = w === 2 ? (fw ? C.SAR32F : C.SAR32) : w === 3 && fw === 0 ? C.SAR64 : C.RARE;
        break;
      case Op.IMUL:
        if (w >= 2 && sc < 0 && fw === 0) code = w === 2 ? C.IMUL32 : C.IMUL64;
        else code = C.RARE;
        break;
      case Op.LD:
        // c = word offset of the tag to compare; imm = Access flags for the slow path.
        imm = sc;
        c = sc & Access.RMW ? 2 : 0;
        if (sc & (Access.SYSTEM | Access.USER)) {
          code = C.LDX;
          c = w;
        } else code = w === 3 ? C.LD64 : w === 2 ? C.LD32 : w === 1 ? (merge ? C.LD16M : C.LD16Z) : merge ? C.LD8M : C.LD8Z;
        break;
      case Op.ST:
        imm = sc;
        if (sc & (Access.SYSTEM | Access.USER)) {
          code = C.STX;
          c = w;
        } else code = w === 3 ? C.ST64 : w === 2 ? C.ST32 : w === 1 ? C.ST16 : C.ST8;
        break;
      case Op.LDV:
      case Op.STV:
        // imm = width; c = 1 if the TLB of this MMU index does not apply.
        code = op === Op.LDV ? C.LDV : C.STV;
        imm = w;
        c = sc > 0 && sc & (Access.SYSTEM | Access.USER) ? 1 : 0;
        break;
      case Op.SEGCHK:
        // d = word index of the limit, b = segment (literal), c = write, imm = bytes.
        code = C.SEGCHK;
        bb = sb;
        d = ((sc ? LIMIT_WRITE : LIMIT_READ) + sb) * 2;
        break;
      case Op.CHKALIGN:
        code = C.CHKALIGN;
        break;
      case Op.DIV:
      case Op.IDIV:
        // c = divisor, imm = remainder (word indexes); m = width, merges and sign.
        code = C.DIV;
        c = sc * 2;
        imm = iimm < 0 ? SINK : iimm * 2;
        m = w | (merge ? 4 : 0) | (iimm >= 0 && iimm < Slot.TEMP ? 8 : 0) | (op === Op.IDIV ? 16 : 0);
        break;
      case Op.CALL:
      case Op.VOP:
      case Op.FOP:
        // Helpers take slots, not word indexes; m = helper id.
        code = C.CALL;
        d = dst;
        a = sa;
        bb = sb;
        m = I[p + F.AUX]!;
        break;
      case Op.CALLIF:
        // a = condition, masked with c (w = 3: and its high word); b = slot of the operand.
        code = C.CALLIF;
        bb = sb;
        c = w === 3 ? -1 : w === 2 ? -1 : w === 1 ? 0xffff : 0xff;
        d = w === 3 ? a + 1 : zero;
        m = I[p + F.AUX]!;
        break;
      case Op.TIME:
        code = C.CALL;
        d = dst;
        a = bb = c = NONE;
        m = I[p + F.AUX]!;
        break;
      case Op.COPY:
      case Op.FILL:
        code = C.NONE_DONE;
        break;
      case Op.SETMODE:
        code = C.SETMODE;
        if (sa < 0) a = -1;
        break;
      case Op.JMP:
        code = C.JMP;
        break;
      case Op.JCC:
        code = C.JCC;
        m = condMask(cc);
        if (cc & 1) {
          c = iimm;
          imm = sc;
        }
        break;
      case Op.JNZ:
        code = w === 3 ? C.JNZ64 : C.JNZ_N;
        m = w === 2 ? -1 : w === 1 ? 0xffff : 0xff;
        break;
      case Op.JMPI:
        code = C.JMPI;
        break;
      case Op.EXIT:
        code = C.EXIT;
        m = sc === NONE ? 0 : 1;
        break;
      default:
        code = C.RARE;
        break;
    }
    if (code === C.RARE || code === C.CMOV_N) {
      // INSN is not needed by ops that cannot fault; it holds op and width instead.
      insn = op | (w << Wide.W_SHIFT) | (merge && w < 2 ? Wide.MERGE : 0);
      c = sc < 0 ? SINK : sc * 2;
      if (op === Op.MUL || op === Op.IMUL) imm = w < 2 && sc >= 0 && sc < Slot.TEMP ? Wide.MERGE : 0;
    }
    out[q + R.CODE] = code;
    out[q + R.D] = d;
    out[q + R.A] = a;
    out[q + R.B] = bb;
    out[q + R.C] = c;
    out[q + R.IMM] = imm;
    out[q + R.INSN] = insn;
    out[q + R.M] = m;
    q += RECORD;
  }
  return { code: out.slice(0, q), mask32: o.mask32 === true };
}
