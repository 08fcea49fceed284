/**
 * Lift handlers of vector instructions. Most instructions are one VOP whose index, memory width and alignment rule lie in the
 * row's `arg`; the others (moves, masked accesses, gathers, MXCSR) have a handler of their own.
 * Intel SDM vol. 2, 2.4 (exception types of VEX instructions) and the entries of the instructions.
 */
import { NONE } from '../../../state.js';
import { Op } from '../../../ir/ops.js';
import { FpuKind, type LiftContext } from '../lift-context.js';
import { H } from '../helper-names.js';
import { Mode, Seg, X, gpr, mmx, xmm } from '../mode.js';
import { bits } from './def.js';
import { Gather, VECTOR_HELPER_NAMES, VH, maskMoveImm } from './helpers.js';
import { VECTOR_OPS, opIndex } from './index.js';
import { STR_EXPLICIT, STR_MASK, STR_WIDE } from './ops-string.js';

/** Row.arg: index in VECTOR_OPS | memory width << 12 | flags. */
export const ARG_OP = 0xfff;
export const ARG_MEM = 12;
/** The memory operand needs no alignment although it is 16 bytes. */
export const ARG_UNALIGNED = 1 << 16;
/** Immediate bits that count, where fewer than eight do: CMPPS legacy (3), INSERTPS from memory (6). */
export const ARG_IMM3 = 1 << 17;
/** The first source is the destination also where VEX has none (used by merging moves). */
export const ARG_MMX_SOURCE = 1 << 18;
/** MOVNT and aligned moves: the memory operand must be aligned even with VEX. */
export const ARG_ALIGNED = 1 << 19;

interface Ids {
  readonly ops: Int32Array;
  readonly helpers: Int32Array;
}
const known = new WeakMap<LiftContext, Ids>();
let lastContext: LiftContext | null = null;
let last: Ids | null = null;

/** Helper ids in this context's registry: resolved once, remembered for the context used last. */
function ids(c: LiftContext): Ids {
  if (c === lastContext) return last!;
  let r = known.get(c);
  if (r === undefined) {
    r = {
      ops: Int32Array.from(VECTOR_OPS, (op) => c.helper(`v.${op.name}.${bits(op.w)}`)),
      helpers: Int32Array.from(VECTOR_HELPER_NAMES, (name) => c.helper(name)),
    };
    known.set(c, r);
  }
  lastContext = c;
  last = r;
  return r;
}

export function vop(c: LiftContext, op: number, dst: number, a: number, b = NONE, cc = NONE, imm = 0): void {
  const o = VECTOR_OPS[op]!;
  c.b.vop(ids(c).ops[op]!, o.w, dst, a, b, cc, imm, o.writesFlags ?? 0);
}
function call(c: LiftContext, h: VH, dst = NONE, a = NONE, b = NONE, cc = NONE, imm = 0): void {
  c.b.call(ids(c).helpers[h]!, dst, a, b, cc, imm);
}

/** SSE or AVX instruction: checks that it may run. */
function ready(c: LiftContext): boolean {
  return c.fpuReady(c.insn.vex ? FpuKind.AVX : FpuKind.SSE);
}
/** MMX instruction that writes MMX register `written` (-1: none). */
function readyMmx(c: LiftContext, written: number): boolean {
  if (!c.fpuReady(FpuKind.MMX)) return false;
  call(c, VH.MMX_ENTER, NONE, NONE, NONE, NONE, written);
  return true;
}

const mmReg = (c: LiftContext): number => mmx(c.insn.reg & 7);

/** Load of w bits to a vector temporary. */
function loadV(c: LiftContext, w: number, align: number): number {
  const a = address(c, w, false, align);
  const t = c.b.vtemp();
  c.b.ldv(w, t, a);
  return t;
}
/** Address of a vector operand; `align` = mask for CHKALIGN or 0. */
function address(c: LiftContext, w: number, write: boolean, align: number): number {
  const a = c.ea(1 << w, write);
  if (align !== 0) c.b.emit(Op.CHKALIGN, 0, 0, 0, NONE, a, NONE, NONE, align, 0);
  return a;
}

/** ModRM.rm as XMM/YMM (w = 4, 5) or MMX (w = 3) operand; memory form reads `mw`. */
function source(c: LiftContext, w: number): number {
  const i = c.insn;
  if (!i.mem) return w === 3 ? mmx(i.rm & 7) : xmm(i.rm);
  const mw = (c.arg >> ARG_MEM) & 7;
  return loadV(c, mw, !i.vex && mw === 4 && (c.arg & ARG_UNALIGNED) === 0 ? 15 : 0);
}

/** VEX.128 clears the upper half of the destination. */
function finish(c: LiftContext, dst: number, w: number): void {
  if (c.insn.vex && w === 4) c.b.emit(Op.ZEROU, 0, 0, 0, dst, NONE, NONE, NONE, 0, 0);
}

function imm8(c: LiftContext): number {
  const imm = c.insn.imm & 0xff;
  return c.arg & ARG_IMM3 ? imm & 7 : imm;
}

const width = (c: LiftContext): number => VECTOR_OPS[c.arg & ARG_OP]!.w;
/** Ready for an instruction whose operands are of width w and which writes register ModRM.reg. */
const readyW = (c: LiftContext, w: number, writes = true): boolean => (w === 3 ? readyMmx(c, writes ? c.insn.reg & 7 : -1) : ready(c));
const dest = (c: LiftContext, w: number): number => (w === 3 ? mmReg(c) : c.xmmReg());

/** dst = op(rm): 'rm', 'rmi'. */
export function lift1(c: LiftContext): void {
  const w = width(c);
  if (!readyW(c, w)) return;
  const a = source(c, w);
  vop(c, c.arg & ARG_OP, dest(c, w), a, NONE, NONE, imm8(c));
  finish(c, dest(c, w), w);
}

/** dst = op(dst or vvvv, rm): 'rvm', 'rvmi'. */
export function lift2(c: LiftContext): void {
  const w = width(c);
  if (!readyW(c, w)) return;
  const b = source(c, w);
  const d = dest(c, w);
  vop(c, c.arg & ARG_OP, d, c.insn.vex ? c.xmmV() : d, b, NONE, imm8(c));
  finish(c, d, w);
}

/** Fused multiply-add: the old destination is operand c. */
export function liftFma(c: LiftContext): void {
  const w = width(c);
  if (!ready(c)) return;
  const b = source(c, w);
  const d = c.xmmReg();
  vop(c, c.arg & ARG_OP, d, c.xmmV(), b, d);
  finish(c, d, w);
}

/** Blends with a mask register: XMM0, or imm8[7:4] with VEX. SHA256RNDS2. */
export function liftMasked(c: LiftContext): void {
  const w = width(c);
  if (!ready(c)) return;
  const b = source(c, w);
  const d = c.xmmReg();
  const i = c.insn;
  const mask = i.vex ? xmm((i.imm >> 4) & (c.code64 ? 15 : 7)) : xmm(0);
  vop(c, c.arg & ARG_OP, d, i.vex ? c.xmmV() : d, b, mask);
  finish(c, d, w);
}

/** rm = op(reg, imm): VEXTRACTF128, VCVTPS2PH. The memory operand is `mw` wide. */
export function liftStoreResult(c: LiftContext): void {
  const i = c.insn;
  if (!ready(c)) return;
  if (!i.mem) {
    vop(c, c.arg & ARG_OP, xmm(i.rm), c.xmmReg(), NONE, NONE, imm8(c));
    finish(c, xmm(i.rm), width(c));
    return;
  }
  const mw = (c.arg >> ARG_MEM) & 7;
  const a = address(c, mw, true, 0);
  const t = c.b.vtemp();
  // VCVTPS2PH sets exception flags: a store that faults must do so before.
  if (i.opcode === 0x1d) c.call(H.PROBE, NONE, a, NONE, NONE, (1 << mw) | 0x100);
  vop(c, c.arg & ARG_OP, t, c.xmmReg(), NONE, NONE, imm8(c));
  c.b.stv(mw, a, t);
}

/** Shift by immediate: the register in ModRM.rm; VEX destination is vvvv. */
export function liftShiftImm(c: LiftContext): void {
  const w = width(c);
  const i = c.insn;
  if (w === 3 ? !readyMmx(c, i.rm & 7) : !ready(c)) return;
  const a = w === 3 ? mmx(i.rm & 7) : xmm(i.rm);
  const d = i.vex ? c.xmmV() : a;
  vop(c, c.arg & ARG_OP, d, a, NONE, NONE, imm8(c));
  finish(c, d, w);
}

/** EFLAGS from reg and rm. */
export function liftCompare(c: LiftContext): void {
  if (!ready(c)) return;
  const b = source(c, width(c));
  vop(c, c.arg & ARG_OP, NONE, c.xmmReg(), b);
}

// --- general registers ---

/** General register = op(rm vector, imm): MOVMSKPS, PMOVMSKB, PEXTRW, CVTSS2SI. arg + 1 is the 64-bit operation if `wide`. */
function toGeneral(c: LiftContext, op: number): void {
  const w = VECTOR_OPS[op]!.w;
  if (!readyW(c, w, false)) return;
  const a = source(c, w);
  vop(c, op, gpr(c.insn.reg), a, NONE, NONE, c.insn.imm & 0xff);
}
export const liftToGeneral = (c: LiftContext): void => toGeneral(c, c.arg & ARG_OP);

/** Two operations, for 32- and 64-bit general operands. */
export const pairs: { d: number; q: number }[] = [];
const ofWidth = (c: LiftContext): number => {
  const p = pairs[c.arg & ARG_OP]!;
  return c.gprWidth() === 3 ? p.q : p.d;
};
/** CVT(T)SS2SI, CVT(T)SD2SI: arg = index in `pairs`. */
export const liftCvtToGeneral = (c: LiftContext): void => toGeneral(c, ofWidth(c));
/** CVTSI2SS, CVTSI2SD. */
export function liftCvtFromGeneral(c: LiftContext): void {
  if (!ready(c)) return;
  const b = c.readRm(c.gprWidth());
  const d = c.xmmReg();
  vop(c, ofWidth(c), d, c.insn.vex ? c.xmmV() : d, b);
  finish(c, d, 4);
}

/** PINSRx: arg = operation, memory width. */
function insertGeneral(c: LiftContext, op: number, mw: number): void {
  const w = VECTOR_OPS[op]!.w;
  if (!readyW(c, w)) return;
  const i = c.insn;
  let b = gpr(i.rm);
  if (i.mem) {
    const a = c.ea(1 << mw, false);
    b = c.b.temp();
    c.b.ld(mw, b, a);
  }
  const d = dest(c, w);
  vop(c, op, d, i.vex ? c.xmmV() : d, b, NONE, i.imm & 0xff);
  finish(c, d, w);
}
export const liftInsert = (c: LiftContext): void => insertGeneral(c, c.arg & ARG_OP, (c.arg >> ARG_MEM) & 7);
export const liftInsertWide = (c: LiftContext): void => insertGeneral(c, ofWidth(c), c.gprWidth());

/** PEXTRx, EXTRACTPS: rm (general register, zero-extended, or memory) = element of reg. */
function extractGeneral(c: LiftContext, op: number, mw: number): void {
  if (!ready(c)) return;
  const i = c.insn;
  const imm = i.imm & 0xff;
  if (!i.mem) {
    vop(c, op, gpr(i.rm), c.xmmReg(), NONE, NONE, imm);
    return;
  }
  const a = c.ea(1 << mw, true);
  const t = c.b.temp();
  vop(c, op, t, c.xmmReg(), NONE, NONE, imm);
  c.b.st(mw, a, t);
}
export const liftExtract = (c: LiftContext): void => extractGeneral(c, c.arg & ARG_OP, (c.arg >> ARG_MEM) & 7);
export const liftExtractWide = (c: LiftContext): void => extractGeneral(c, ofWidth(c), c.gprWidth());

/** MOVD/MOVQ to a vector or MMX register: pairs hold MOVD and MOVQ. A load is a plain LDV. */
export function liftMovFromGeneral(c: LiftContext): void {
  const i = c.insn;
  const gw = c.gprWidth();
  const op = ofWidth(c);
  const w = VECTOR_OPS[op]!.w;
  if (!readyW(c, w)) return;
  const d = dest(c, w);
  if (!i.mem) vop(c, op, d, gpr(i.rm));
  else if (w === 3) c.b.emit(Op.MOVV, 3, 0, 0, d, loadV(c, gw, 0), NONE, NONE, 0, 0);
  else c.b.ldv(gw, d, c.ea(1 << gw, false));
  finish(c, d, w);
}
/** MOVD/MOVQ from a vector or MMX register. */
export function liftMovToGeneral(c: LiftContext): void {
  const i = c.insn;
  const gw = c.gprWidth();
  const op = ofWidth(c);
  const w = VECTOR_OPS[op]!.w;
  if (!readyW(c, w, false)) return;
  if (!i.mem) vop(c, op, gpr(i.rm), dest(c, w));
  else c.b.stv(gw, c.ea(1 << gw, true), dest(c, w));
}

// --- moves ---

const moveWidth = (c: LiftContext): number => (c.insn.vex && c.insn.vexL === 1 ? 5 : 4);
const moveAlign = (c: LiftContext, w: number): number => (c.arg & ARG_ALIGNED ? (1 << w) - 1 : 0);
const movv = (c: LiftContext, w: number, d: number, a: number): void => c.b.emit(Op.MOVV, w, 0, 0, d, a, NONE, NONE, 0, 0);

/** MOVAPS, MOVUPS, MOVDQA, MOVDQU, LDDQU, MOVNTDQA: reg = rm. */
export function liftMoveLoad(c: LiftContext): void {
  const i = c.insn;
  if (!ready(c)) return;
  const w = moveWidth(c);
  const d = c.xmmReg();
  if (i.mem) c.b.ldv(w, d, address(c, w, false, moveAlign(c, w)));
  else if (d !== xmm(i.rm)) movv(c, w, d, xmm(i.rm));
  finish(c, d, w);
}
/** MOVAPS, MOVUPS, MOVDQA, MOVDQU, MOVNTPS, MOVNTDQ: rm = reg. */
export function liftMoveStore(c: LiftContext): void {
  const i = c.insn;
  if (!ready(c)) return;
  const w = moveWidth(c);
  if (i.mem) {
    c.b.stv(w, address(c, w, true, moveAlign(c, w)), c.xmmReg());
    return;
  }
  if (xmm(i.rm) !== c.xmmReg()) movv(c, w, xmm(i.rm), c.xmmReg());
  finish(c, xmm(i.rm), w);
}

/** Memory forms of MOVSS, MOVSD, MOVD, MOVQ: load of mw bits that clears the rest. */
export function liftScalarLoad(c: LiftContext): void {
  if (!ready(c)) return;
  const mw = (c.arg >> ARG_MEM) & 7;
  const d = c.xmmReg();
  c.b.ldv(mw, d, c.ea(1 << mw, false));
  finish(c, d, 4);
}
/** Store of the low mw bits: MOVSS, MOVSD, MOVLPS, MOVLPD, MOVQ. */
export function liftScalarStore(c: LiftContext): void {
  if (!ready(c)) return;
  const mw = (c.arg >> ARG_MEM) & 7;
  c.b.stv(mw, c.ea(1 << mw, true), c.xmmReg());
}
/**
 * Lowest element from rm, the others from the first source: MOVSS, MOVSD between registers, MOVLPS, MOVLPD loads. arg = BLENDPS
 * or BLENDPD: unlike MOVSS itself it means the same with a memory operand, which a back end may use.
 */
export function liftMerge(c: LiftContext): void {
  if (!ready(c)) return;
  const b = source(c, 4);
  const d = c.xmmReg();
  vop(c, c.arg & ARG_OP, d, c.insn.vex ? c.xmmV() : d, b, NONE, 1);
  finish(c, d, 4);
}
/** Register forms 0F 11 of MOVSS/MOVSD: the destination is ModRM.rm. */
export function liftMergeStore(c: LiftContext): void {
  if (!ready(c)) return;
  const i = c.insn;
  const d = xmm(i.rm);
  vop(c, c.arg & ARG_OP, d, i.vex ? c.xmmV() : d, c.xmmReg(), NONE, 1);
  finish(c, d, 4);
}
/** MOVHLPS: low = high quadword of rm, high = that of the first source. arg = UNPCKHPD. */
export function liftMovhlps(c: LiftContext): void {
  if (!ready(c)) return;
  const d = c.xmmReg();
  vop(c, c.arg & ARG_OP, d, xmm(c.insn.rm), c.insn.vex ? c.xmmV() : d);
  finish(c, d, 4);
}
/** MOVHPS, MOVHPD stores: the high quadword. arg = UNPCKHPD. */
export function liftHighStore(c: LiftContext): void {
  if (!ready(c)) return;
  const a = c.ea(8, true);
  const t = c.b.vtemp();
  vop(c, c.arg & ARG_OP, t, c.xmmReg(), c.xmmReg());
  c.b.stv(3, a, t);
}
/** MOVQ xmm/xmm, 66 0F D6 register form: destination is ModRM.rm. */
export function liftMovqRm(c: LiftContext): void {
  if (!ready(c)) return;
  const d = xmm(c.insn.rm);
  vop(c, c.arg & ARG_OP, d, c.xmmReg());
  finish(c, d, 4);
}

/** VBROADCASTxx from memory. */
export function liftBroadcastLoad(c: LiftContext): void {
  if (!ready(c)) return;
  const mw = (c.arg >> ARG_MEM) & 7;
  const d = c.xmmReg();
  let s: number;
  if (mw === 0) {
    // A vector load has at least 16 bits.
    const t = c.b.temp();
    c.b.ld(0, t, c.ea(1, false));
    s = c.b.vtemp();
    vop(c, MOVD, s, t);
  } else s = loadV(c, mw, 0);
  vop(c, c.arg & ARG_OP, d, s);
  finish(c, d, width(c));
}
const MOVD = opIndex('movd', 4);

/** INSERTPS: the chosen element of a register comes first by a shuffle; from memory it is the one loaded. */
export function liftInsertps(c: LiftContext): void {
  if (!ready(c)) return;
  const i = c.insn;
  let b = source(c, 4);
  const from = (i.imm >> 6) & 3;
  if (!i.mem && from !== 0) {
    const t = c.b.vtemp();
    vop(c, PSHUFD, t, b, NONE, NONE, from);
    b = t;
  }
  const d = c.xmmReg();
  vop(c, c.arg & ARG_OP, d, i.vex ? c.xmmV() : d, b, NONE, i.imm & 0x3f);
  finish(c, d, 4);
}
const PSHUFD = opIndex('pshufd', 4);

// --- MMX moves ---

export function liftMmxLoad(c: LiftContext): void {
  const i = c.insn;
  if (!readyMmx(c, i.reg & 7)) return;
  const a = i.mem ? loadV(c, 3, 0) : mmx(i.rm & 7);
  movv(c, 3, mmReg(c), a);
}
export function liftMmxStore(c: LiftContext): void {
  const i = c.insn;
  if (!readyMmx(c, i.mem ? -1 : i.rm & 7)) return;
  if (i.mem) c.b.stv(3, c.ea(8, true), mmReg(c));
  else movv(c, 3, mmx(i.rm & 7), mmReg(c));
}
/** MOVQ2DQ: XMM = MMX. arg = MOVQ from a general register, which any slot can stand for. */
export function liftMovq2dq(c: LiftContext): void {
  if (!readyMmx(c, -1)) return;
  vop(c, c.arg & ARG_OP, c.xmmReg(), mmx(c.insn.rm & 7));
}
export function liftMovdq2q(c: LiftContext): void {
  if (!readyMmx(c, c.insn.reg & 7)) return;
  movv(c, 3, mmReg(c), xmm(c.insn.rm));
}
/** CVTPI2PS, CVTPI2PD: XMM from MMX or 64 bits of memory. ARG_MMX_SOURCE: the destination is merged (PS). */
export function liftCvtFromMmx(c: LiftContext): void {
  const i = c.insn;
  const merge = (c.arg & ARG_MMX_SOURCE) !== 0;
  // CVTPI2PD with a memory operand leaves the x87 state alone (SDM vol. 2).
  if (i.mem && !merge ? !ready(c) : !readyMmx(c, -1)) return;
  const s = i.mem ? loadV(c, 3, 0) : mmx(i.rm & 7);
  const d = c.xmmReg();
  if (merge) vop(c, c.arg & ARG_OP, d, d, s);
  else vop(c, c.arg & ARG_OP, d, s);
}
/** CVT(T)PS2PI, CVT(T)PD2PI. */
export function liftCvtToMmx(c: LiftContext): void {
  const i = c.insn;
  if (!readyMmx(c, i.reg & 7)) return;
  const mw = (c.arg >> ARG_MEM) & 7;
  const s = i.mem ? loadV(c, mw, mw === 4 ? 15 : 0) : xmm(i.rm);
  vop(c, c.arg & ARG_OP, mmReg(c), s);
}
export function liftEmms(c: LiftContext): void {
  if (c.fpuReady(FpuKind.MMX)) call(c, VH.EMMS);
}

// --- state ---

export function liftLdmxcsr(c: LiftContext): void {
  if (!ready(c)) return;
  const t = c.b.temp();
  c.b.ld(2, t, c.ea(4, false));
  call(c, VH.LDMXCSR, NONE, t);
  // The mode (FP_UNMASKED) may have changed.
  c.endNext();
}
export function liftStmxcsr(c: LiftContext): void {
  if (!ready(c)) return;
  const a = c.ea(4, true);
  const t = c.b.temp();
  call(c, VH.STMXCSR, t);
  c.b.st(2, a, t);
}
/** VZEROUPPER (L = 0), VZEROALL (L = 1). arg = PXOR. */
export function liftVzero(c: LiftContext): void {
  if (!ready(c)) return;
  for (let r = 0; r < (c.code64 ? 16 : 8); r++) {
    if (c.insn.vexL === 1) vop(c, c.arg & ARG_OP, xmm(r), xmm(r), xmm(r));
    c.b.emit(Op.ZEROU, 0, 0, 0, xmm(r), NONE, NONE, NONE, 0, 0);
  }
}

// --- masked accesses and gathers ---

/** MASKMOVQ, MASKMOVDQU: bytes of reg chosen by rm to DS:rDI. */
export function liftMaskmov(c: LiftContext): void {
  const i = c.insn;
  const isMmx = !i.p66 && !i.vex;
  if (isMmx ? !readyMmx(c, -1) : !ready(c)) return;
  const t = c.b.temp();
  c.b.lea(i.addrsize, t, X.RDI, NONE, 0, 0);
  const w = isMmx ? 3 : 4;
  const a = c.segLinear(i.seg >= 0 ? i.seg : Seg.DS, t, 1 << w, true);
  if (isMmx) call(c, VH.MASK_STORE, NONE, a, mmReg(c), mmx(i.rm & 7), maskMoveImm(0, w));
  else call(c, VH.MASK_STORE, NONE, a, c.xmmReg(), xmm(i.rm), maskMoveImm(0, w));
}
/** VMASKMOVPS/PD, VPMASKMOVD/Q: arg = log2 of the element's bytes (or VEX.W chooses when 0). The mask is vvvv. */
export function liftMaskLoad(c: LiftContext): void {
  if (!ready(c)) return;
  const w = moveWidth(c);
  const d = c.xmmReg();
  call(c, VH.MASK_LOAD, d, c.ea(1 << w, false), NONE, c.xmmV(), maskMoveImm(maskElement(c), w));
  finish(c, d, w);
}
export function liftMaskStore(c: LiftContext): void {
  if (!ready(c)) return;
  const w = moveWidth(c);
  call(c, VH.MASK_STORE, NONE, c.ea(1 << w, true), c.xmmReg(), c.xmmV(), maskMoveImm(maskElement(c), w));
}
const maskElement = (c: LiftContext): number => (c.arg !== 0 ? c.arg : 2 + c.insn.w);

/** Gathers: arg = Gather.INDEX64 or 0; VEX.W = 64-bit data. VSIB: the index is a vector register (SDM vol. 2, 2.3.12). */
export function liftGather(c: LiftContext): void {
  const i = c.insn;
  if (!ready(c)) return;
  // In VSIB encoding index 4 is XMM4, not "none".
  const index = i.index < 0 ? 4 : i.index;
  if ((i.modrm & 7) !== 4 || i.addrsize === 1 || i.reg === index || i.reg === i.vvvv || index === i.vvvv) {
    c.undefinedOpcode();
    return;
  }
  const base = c.b.temp();
  c.b.lea(i.addrsize, base, i.base >= 0 ? gpr(i.base) : NONE, NONE, 0, i.disp);
  const s = c.segment();
  const flat = c.code64 || ((c.mode & Mode.FLAT) !== 0 && s < Seg.FS && s !== Seg.CS);
  const seg = c.code64 && s < Seg.FS ? Gather.NO_SEG : s;
  const imm =
    i.scale | c.arg | (i.w !== 0 ? Gather.DATA64 : 0) | (i.vexL === 1 ? Gather.W256 : 0) | (i.addrsize === 2 ? Gather.ADDR32 : 0) |
    (c.code64 ? 0 : Gather.LINEAR32) | (flat ? 0 : Gather.CHECK) | (seg << Gather.SEG_SHIFT);
  call(c, VH.GATHER, c.xmmReg(), base, xmm(index), c.xmmV(), imm);
}

// --- strings ---

/** PCMPxSTRx: arg = STR_ flags. ECX or XMM0, and EFLAGS, are written by the helper. */
export function liftString(c: LiftContext): void {
  const i = c.insn;
  if (!ready(c)) return;
  const b = i.mem ? loadV(c, 4, 0) : xmm(i.rm);
  const wide = (c.arg & STR_EXPLICIT) !== 0 && c.gprWidth() === 3 ? STR_WIDE : 0;
  call(c, VH.PCMPSTR, NONE, c.xmmReg(), b, NONE, (i.imm & 0xff) | c.arg | wide);
  if ((c.arg & STR_MASK) !== 0) finish(c, xmm(0), 4);
}
