/** Advanced SIMD data processing (Arm ARM, C4.1.90, the vector and scalar forms). */
import { Op } from '../../ir/ops.js';
import { NONE } from '../../state.js';
import type { LiftContext } from './lift-context.js';
import { hostPacked, packedArith } from './lift-host-fp.js';
import { hostVector, narrowBytes } from './lift-host-simd.js';
import { expandImm } from './simd/immediate.js';
import { A } from './regs.js';
import { row, type Row } from './table.js';

const bitsOf = (es: number): number => 8 << es;

/** Clears bits 64..127 of vector register slot d. */
export function clearUpper(c: LiftContext, d: number): void {
  c.b.mov(3, d + 1, c.k(0));
}

/** A vector operation on 64 (q = 0) or 128 bits. */
export function emit(c: LiftContext, name: string, q: number, d: number, a: number, b = NONE, extra = 0): void {
  if (c.isNative(name)) {
    c.vop(name, d, a, b, NONE, 1);
    if (q === 0) c.vop('n.low64', d, d);
  } else c.vop(name, d, a, b, NONE, q | (extra << 1));
}

/** The same on the lowest element only: narrow operands are isolated first, so that other lanes cannot saturate. */
function emitScalar(c: LiftContext, name: string, es: number, d: number, a: number, b: number, accumulates: boolean, extra = 0): void {
  const ir = c.b;
  if (es < 3) {
    ir.zx(es, A.SCRATCH_A, a);
    if (b !== NONE) ir.zx(es, A.SCRATCH_B, b);
    a = A.SCRATCH_A;
    if (b !== NONE) b = A.SCRATCH_B;
    if (accumulates) ir.zx(es, d, d);
  }
  if (c.isNative(name)) {
    c.vop(name, d, a, b, NONE, 1);
    clearUpper(c, d);
  } else c.vop(name, d, a, b, NONE, extra << 1);
  if (es < 3) ir.zx(es, d, d);
}

const enum Sz { BHS = 7, ALL = 15, B = 1, HS = 6, D = 8 }

interface Three {
  readonly name: string;
  readonly sizes: number;
  /** Sizes of the scalar form; 0 if there is none. */
  readonly scalar: number;
  readonly accumulates: boolean;
}
const three = (name: string, sizes: number, scalar = 0, accumulates = false): Three => ({ name, sizes, scalar, accumulates });

/** Three registers of the same type, integer: by U and opcode. */
const THREE_SAME: readonly (readonly [number, number, Three])[] = [
  [0, 0b00000, three('shadd', Sz.BHS)], [1, 0b00000, three('uhadd', Sz.BHS)],
  [0, 0b00001, three('sqadd', Sz.ALL, Sz.ALL)], [1, 0b00001, three('uqadd', Sz.ALL, Sz.ALL)],
  [0, 0b00010, three('srhadd', Sz.BHS)], [1, 0b00010, three('urhadd', Sz.BHS)],
  [0, 0b00100, three('shsub', Sz.BHS)], [1, 0b00100, three('uhsub', Sz.BHS)],
  [0, 0b00101, three('sqsub', Sz.ALL, Sz.ALL)], [1, 0b00101, three('uqsub', Sz.ALL, Sz.ALL)],
  [0, 0b00110, three('scmgt', Sz.ALL, Sz.D)], [1, 0b00110, three('ucmgt', Sz.ALL, Sz.D)],
  [0, 0b00111, three('scmge', Sz.ALL, Sz.D)], [1, 0b00111, three('ucmge', Sz.ALL, Sz.D)],
  [0, 0b01000, three('sshl', Sz.ALL, Sz.D)], [1, 0b01000, three('ushl', Sz.ALL, Sz.D)],
  [0, 0b01001, three('sqshl', Sz.ALL, Sz.ALL)], [1, 0b01001, three('uqshl', Sz.ALL, Sz.ALL)],
  [0, 0b01010, three('srshl', Sz.ALL, Sz.D)], [1, 0b01010, three('urshl', Sz.ALL, Sz.D)],
  [0, 0b01011, three('sqrshl', Sz.ALL, Sz.ALL)], [1, 0b01011, three('uqrshl', Sz.ALL, Sz.ALL)],
  [0, 0b01100, three('smax', Sz.BHS)], [1, 0b01100, three('umax', Sz.BHS)],
  [0, 0b01101, three('smin', Sz.BHS)], [1, 0b01101, three('umin', Sz.BHS)],
  [0, 0b01110, three('sabd', Sz.BHS)], [1, 0b01110, three('uabd', Sz.BHS)],
  [0, 0b01111, three('saba', Sz.BHS)], [1, 0b01111, three('uaba', Sz.BHS)],
  [0, 0b10000, three('add', Sz.ALL, Sz.D)], [1, 0b10000, three('sub', Sz.ALL, Sz.D)],
  [0, 0b10001, three('cmtst', Sz.ALL, Sz.D)], [1, 0b10001, three('cmeq', Sz.ALL, Sz.D)],
  [0, 0b10010, three('mla', Sz.BHS)], [1, 0b10010, three('mls', Sz.BHS)],
  [0, 0b10011, three('mul', Sz.BHS)], [1, 0b10011, three('pmul', Sz.B)],
  [0, 0b10100, three('smaxp', Sz.BHS)], [1, 0b10100, three('umaxp', Sz.BHS)],
  [0, 0b10101, three('sminp', Sz.BHS)], [1, 0b10101, three('uminp', Sz.BHS)],
  [0, 0b10110, three('sqdmulh', Sz.HS, Sz.HS)], [1, 0b10110, three('sqrdmulh', Sz.HS, Sz.HS)],
  [0, 0b10111, three('addp', Sz.ALL)],
];

const THREES = THREE_SAME.map((t) => t[2]);
const EXTRA: readonly Three[] = [three('sqrdmlah', Sz.HS, Sz.HS, true), three('sqrdmlsh', Sz.HS, Sz.HS, true)];

function threeSame(c: LiftContext): void {
  runThree(c, THREES[c.arg]!);
}
function threeExtra(c: LiftContext): void {
  runThree(c, EXTRA[c.arg]!);
}
function runThree(c: LiftContext, t: Three): void {
  const es = c.bits(22, 2);
  const q = c.bits(30, 1);
  if (((t.sizes >> es) & 1) === 0 || (es === 3 && q === 0)) return c.undefined();
  if (!c.fp()) return;
  const [d, a, b] = [c.v(c.rd), c.v(c.rn), c.v(c.rm)];
  if (hostVector(c, t.name, es, q, d, a, b)) return;
  emit(c, `${t.name}.${bitsOf(es)}`, q, d, a, b);
}

function scalarThree(c: LiftContext): void {
  runScalarThree(c, THREES[c.arg]!);
}
function scalarExtra(c: LiftContext): void {
  runScalarThree(c, EXTRA[c.arg]!);
}
function runScalarThree(c: LiftContext, t: Three): void {
  const es = c.bits(22, 2);
  if (((t.scalar >> es) & 1) === 0) return c.undefined();
  if (!c.fp()) return;
  emitScalar(c, `${t.name}.${bitsOf(es)}`, es, c.v(c.rd), c.v(c.rn), c.v(c.rm), t.accumulates);
}

/** AND BIC ORR ORN, EOR BSL BIT BIF: arg = U << 2 | size. */
const LOGIC = ['and', 'bic', 'orr', 'orn', 'eor', 'bsl', 'bit', 'bif'];
function logic(c: LiftContext): void {
  if (!c.fp()) return;
  const q = c.bits(30, 1);
  const name = LOGIC[c.arg]!;
  const ir = c.b;
  const [d, a, b] = [c.v(c.rd), c.v(c.rn), c.v(c.rm)];
  if (name === 'orr' && a === b) {
    // MOV
    if (q !== 0) ir.emit(Op.MOVV, 4, 0, 0, d, a, NONE, NONE, 0, 0);
    else c.vop('n.low64', d, a);
  } else if (name === 'bic') emit(c, 'andn', q, d, b, a);
  else if (!hostVector(c, name, 0, q, d, a, b)) emit(c, name, q, d, a, b);
}

/** SDOT, UDOT. */
function dot(c: LiftContext): void {
  if (c.bits(22, 2) !== 2) return c.undefined();
  if (!c.fp()) return;
  emit(c, c.arg === 0 ? 'sdot' : 'udot', c.bits(30, 1), c.v(c.rd), c.v(c.rn), c.v(c.rm));
}

// ---- floating point, three same ----

/** By U << 4 | a << 3 | the low three bits of the opcode. */
const FP_THREE: Readonly<Record<number, string>> = {
  0b0_0_000: 'maxnm', 0b0_0_001: 'mla', 0b0_0_010: 'add', 0b0_0_011: 'mulx', 0b0_0_100: 'cmeq', 0b0_0_110: 'max', 0b0_0_111: 'recps',
  0b0_1_000: 'minnm', 0b0_1_001: 'mls', 0b0_1_010: 'sub', 0b0_1_110: 'min', 0b0_1_111: 'rsqrts',
  0b1_0_000: 'maxnmp', 0b1_0_010: 'addp', 0b1_0_011: 'mul', 0b1_0_100: 'cmge', 0b1_0_101: 'acge', 0b1_0_110: 'maxp', 0b1_0_111: 'div',
  0b1_1_000: 'minnmp', 0b1_1_010: 'abd', 0b1_1_100: 'cmgt', 0b1_1_101: 'acgt', 0b1_1_110: 'minp',
};
const FP_THREE_SCALAR = new Set(['mulx', 'cmeq', 'recps', 'rsqrts', 'cmge', 'acge', 'abd', 'cmgt', 'acgt']);

/** arg bit 0: half precision. */
function fpThree(c: LiftContext): void {
  const half = (c.arg & 1) !== 0;
  const es = half ? 1 : 2 + c.bits(22, 1);
  const q = c.bits(30, 1);
  const name = FP_THREE[(c.bits(29, 1) << 4) | (c.bits(23, 1) << 3) | c.bits(11, 3)];
  if (name === undefined || (es === 3 && q === 0)) return c.undefined();
  if (!c.fp()) return;
  if (hostPacked(name, es, q)) packedArith(c, name, es, q, c.v(c.rd), c.v(c.rn), c.v(c.rm));
  else emit(c, `vf.${name}.${bitsOf(es)}`, q, c.v(c.rd), c.v(c.rn), c.v(c.rm));
}

function fpThreeScalar(c: LiftContext): void {
  const es = (c.arg & 1) !== 0 ? 1 : 2 + c.bits(22, 1);
  const name = FP_THREE[(c.bits(29, 1) << 4) | (c.bits(23, 1) << 3) | c.bits(11, 3)];
  if (name === undefined || !FP_THREE_SCALAR.has(name)) return c.undefined();
  if (!c.fp()) return;
  c.vop(`f.${name}.${bitsOf(es)}`, c.v(c.rd), c.v(c.rn), c.v(c.rm));
}

// ---- three different ----

const enum Df { LONG, NARROW }
/** By U << 4 | opcode: name, kind, sizes. */
const DIFFERENT: Readonly<Record<number, readonly [string, Df, number]>> = {
  0b0_0000: ['saddl', Df.LONG, 7], 0b1_0000: ['uaddl', Df.LONG, 7], 0b0_0001: ['saddw', Df.LONG, 7], 0b1_0001: ['uaddw', Df.LONG, 7],
  0b0_0010: ['ssubl', Df.LONG, 7], 0b1_0010: ['usubl', Df.LONG, 7], 0b0_0011: ['ssubw', Df.LONG, 7], 0b1_0011: ['usubw', Df.LONG, 7],
  0b0_0100: ['addhn', Df.NARROW, 7], 0b1_0100: ['raddhn', Df.NARROW, 7], 0b0_0110: ['subhn', Df.NARROW, 7], 0b1_0110: ['rsubhn', Df.NARROW, 7],
  0b0_0101: ['sabal', Df.LONG, 7], 0b1_0101: ['uabal', Df.LONG, 7], 0b0_0111: ['sabdl', Df.LONG, 7], 0b1_0111: ['uabdl', Df.LONG, 7],
  0b0_1000: ['smlal', Df.LONG, 7], 0b1_1000: ['umlal', Df.LONG, 7], 0b0_1010: ['smlsl', Df.LONG, 7], 0b1_1010: ['umlsl', Df.LONG, 7],
  0b0_1100: ['smull', Df.LONG, 7], 0b1_1100: ['umull', Df.LONG, 7],
  0b0_1001: ['sqdmlal', Df.LONG, 6], 0b0_1011: ['sqdmlsl', Df.LONG, 6], 0b0_1101: ['sqdmull', Df.LONG, 6],
  0b0_1110: ['pmull', Df.LONG, 9],
};

function different(c: LiftContext): void {
  const es = c.bits(22, 2);
  const d = DIFFERENT[(c.bits(29, 1) << 4) | c.bits(12, 4)];
  if (d === undefined || ((d[2] >> es) & 1) === 0) return c.undefined();
  if (!c.fp()) return;
  const q = c.bits(30, 1);
  const [rd, rn, rm] = [c.v(c.rd), c.v(c.rn), c.v(c.rm)];
  if (es === 3) c.vop(`n.pmull${q}`, rd, rn, rm, NONE, q === 0 ? 0 : 0x11);
  else c.vop(`${d[0]}.${bitsOf(es)}`, rd, rn, rm, NONE, q);
}

/** SQDMLAL, SQDMLSL, SQDMULL of one element. */
function differentScalar(c: LiftContext): void {
  const es = c.bits(22, 2);
  const name = ({ 0b1001: 'sqdmlal', 0b1011: 'sqdmlsl', 0b1101: 'sqdmull' } as Record<number, string>)[c.bits(12, 4)];
  if (name === undefined || c.bits(29, 1) !== 0 || es === 0 || es === 3) return c.undefined();
  if (!c.fp()) return;
  longScalar(c, name, es, c.v(c.rn), c.v(c.rm));
}

/** Long operation of the lowest elements of a and b into one element of twice the size. */
function longScalar(c: LiftContext, name: string, es: number, a: number, b: number): void {
  const ir = c.b;
  const d = c.v(c.rd);
  ir.zx(es, A.SCRATCH_A, a);
  ir.zx(es, A.SCRATCH_B, b);
  // The other lanes of d must be zero, so that they cannot saturate.
  ir.zx(es + 1, d, d);
  clearUpper(c, d);
  c.vop(`${name}.${bitsOf(es)}`, d, A.SCRATCH_A, A.SCRATCH_B, NONE, 0);
  ir.zx(es + 1, d, d);
  clearUpper(c, d);
}

// ---- two-register miscellaneous ----

/** Integer operations by U << 5 | opcode: name, sizes, scalar sizes. */
const MISC: Readonly<Record<number, readonly [string, number, number]>> = {
  0b0_00000: ['rev64', 7, 0], 0b1_00000: ['rev32', 3, 0], 0b0_00001: ['rev16', 1, 0],
  0b0_00010: ['saddlp', 7, 0], 0b1_00010: ['uaddlp', 7, 0], 0b0_00110: ['sadalp', 7, 0], 0b1_00110: ['uadalp', 7, 0],
  0b0_00011: ['suqadd', 15, 15], 0b1_00011: ['usqadd', 15, 15],
  0b0_00100: ['cls', 7, 0], 0b1_00100: ['clz', 7, 0],
  0b0_00111: ['sqabs', 15, 15], 0b1_00111: ['sqneg', 15, 15],
  0b0_01000: ['scmgt', 15, 8], 0b1_01000: ['scmge', 15, 8], 0b0_01001: ['cmeq', 15, 8], 0b1_01001: ['cmle0', 15, 8], 0b0_01010: ['cmlt0', 15, 8],
  0b0_01011: ['abs', 15, 8], 0b1_01011: ['neg', 15, 8],
};
/** Comparisons with zero use the two-operand operations. */
const WITH_ZERO = new Set(['scmgt', 'scmge', 'cmeq']);
const ACCUMULATES = new Set(['suqadd', 'usqadd']);

function misc(c: LiftContext): void {
  const es = c.bits(22, 2);
  const q = c.bits(30, 1);
  const u = c.bits(29, 1);
  const opcode = c.bits(12, 5);
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  if (opcode === 0b00101) {
    // CNT, NOT, RBIT
    const name = u === 0 ? (es === 0 ? 'cnt.8' : '') : es === 0 ? 'not' : es === 1 ? 'rbit.8' : '';
    if (name === '') return c.undefined();
    if (!c.fp()) return;
    if (name !== 'not' || !hostVector(c, name, 0, q, d, a, a)) emit(c, name, q, d, a, a);
    return;
  }
  if (opcode === 0b10010 || opcode === 0b10100) {
    // XTN, SQXTUN, SQXTN, UQXTN
    if (es === 3) return c.undefined();
    if (!c.fp()) return;
    const name = opcode === 0b10010 ? (u === 0 ? 'xtn' : 'sqxtun') : u === 0 ? 'sqxtn' : 'uqxtn';
    c.vop(`${name}.${bitsOf(es)}`, d, a, NONE, NONE, q);
    return;
  }
  if (opcode === 0b10011 && u === 1) {
    // SHLL
    if (es === 3) return c.undefined();
    if (!c.fp()) return;
    c.vop(`ushll.${bitsOf(es)}`, d, a, NONE, NONE, q | (bitsOf(es) << 1));
    return;
  }
  const m = MISC[(u << 5) | opcode];
  if (m === undefined) {
    fpMisc(c);
    return;
  }
  if (((m[1] >> es) & 1) === 0 || (es === 3 && q === 0)) return c.undefined();
  if (!c.fp()) return;
  let b = a;
  if (WITH_ZERO.has(m[0])) {
    b = A.ZERO;
  }
  if (!hostVector(c, m[0], es, q, d, a, b)) emit(c, `${m[0]}.${bitsOf(es)}`, q, d, a, b);
}

function miscScalar(c: LiftContext): void {
  const es = c.bits(22, 2);
  const u = c.bits(29, 1);
  const opcode = c.bits(12, 5);
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  if (opcode === 0b10100 || (opcode === 0b10010 && u === 1)) {
    if (es === 3) return c.undefined();
    if (!c.fp()) return;
    narrowScalar(c, opcode === 0b10010 ? 'sqxtun' : u === 0 ? 'sqxtn' : 'uqxtn', es, 0);
    return;
  }
  const m = MISC[(u << 5) | opcode];
  if (m === undefined) {
    fpMiscScalar(c);
    return;
  }
  if (((m[2] >> es) & 1) === 0) return c.undefined();
  if (!c.fp()) return;
  let b = NONE;
  if (WITH_ZERO.has(m[0])) {
    b = A.ZERO;
  } else b = a;
  emitScalar(c, `${m[0]}.${bitsOf(es)}`, es, d, a, b, ACCUMULATES.has(m[0]));
}

/** Narrows one element of twice the size es. */
function narrowScalar(c: LiftContext, name: string, es: number, amount: number): void {
  const ir = c.b;
  ir.zx(es + 1, A.SCRATCH_A, c.v(c.rn));
  ir.mov(3, A.SCRATCH_A + 1, c.k(0));
  c.vop(`${name}.${bitsOf(es)}`, c.v(c.rd), A.SCRATCH_A, NONE, NONE, amount << 1);
  ir.zx(es, c.v(c.rd), c.v(c.rd));
}

/** Floating-point operations by U << 6 | a << 5 | opcode. */
const FP_MISC: Readonly<Record<number, string>> = {
  0b0_0_11000: 'rintn', 0b0_0_11001: 'rintm', 0b0_0_11010: 'cvtns', 0b0_0_11011: 'cvtms', 0b0_0_11100: 'cvtas', 0b0_0_11101: 'scvtf',
  0b0_1_01100: 'cmgt0', 0b0_1_01101: 'cmeq0', 0b0_1_01110: 'cmlt0', 0b0_1_01111: 'abs', 0b0_1_11000: 'rintp', 0b0_1_11001: 'rintz',
  0b0_1_11010: 'cvtps', 0b0_1_11011: 'cvtzs', 0b0_1_11100: 'urecpe', 0b0_1_11101: 'recpe', 0b0_1_11111: 'recpx',
  0b1_0_11000: 'rinta', 0b1_0_11001: 'rintx', 0b1_0_11010: 'cvtnu', 0b1_0_11011: 'cvtmu', 0b1_0_11100: 'cvtau', 0b1_0_11101: 'ucvtf',
  0b1_1_01100: 'cmge0', 0b1_1_01101: 'cmle0', 0b1_1_01111: 'neg', 0b1_1_11001: 'rinti', 0b1_1_11010: 'cvtpu', 0b1_1_11011: 'cvtzu',
  0b1_1_11100: 'ursqrte', 0b1_1_11101: 'rsqrte', 0b1_1_11111: 'sqrt',
};
const FP_MISC_SCALAR = new Set([
  'cvtns', 'cvtms', 'cvtas', 'scvtf', 'cmgt0', 'cmeq0', 'cmlt0', 'cvtps', 'cvtzs', 'recpe', 'recpx', 'cvtnu', 'cvtmu', 'cvtau', 'ucvtf', 'cmge0', 'cmle0',
  'cvtpu', 'cvtzu', 'rsqrte',
]);
const fpMiscName = (c: LiftContext): string | undefined => FP_MISC[(c.bits(29, 1) << 6) | (c.bits(23, 1) << 5) | c.bits(12, 5)];

function fpMisc(c: LiftContext): void {
  const q = c.bits(30, 1);
  const u = c.bits(29, 1);
  const opcode = c.bits(12, 5);
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  if (c.bits(23, 1) === 0 && (opcode === 0b10110 || opcode === 0b10111)) {
    // FCVTN, FCVTXN, FCVTL
    const wide = c.bits(22, 1);
    const name = opcode === 0b10111 ? (u === 0 ? `vf.cvtl.${16 << wide}` : '') : u === 0 ? `vf.cvtn.${16 << wide}` : wide === 1 ? 'vf.cvtxn.32' : '';
    if (name === '') return c.undefined();
    if (!c.fp()) return;
    c.vop(name, d, a, NONE, NONE, q);
    return;
  }
  fpMiscBy(c, 2 + c.bits(22, 1));
}

/** Half precision, vector. */
function fpMiscHalf(c: LiftContext): void {
  fpMiscBy(c, 1);
}

function fpMiscBy(c: LiftContext, es: number): void {
  const q = c.bits(30, 1);
  const name = fpMiscName(c);
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  if (name === undefined || name === 'recpx' || (es === 3 && q === 0)) return c.undefined();
  if (name === 'urecpe' || name === 'ursqrte') {
    if (es !== 2) return c.undefined();
    if (!c.fp()) return;
    emit(c, name, q, d, a, a);
    return;
  }
  if (!c.fp()) return;
  if (hostPacked(name, es, q)) packedArith(c, name, es, q, d, a, a);
  else emit(c, `vf.${name}.${bitsOf(es)}`, q, d, a);
}

function fpMiscScalar(c: LiftContext): void {
  if (c.bits(29, 1) === 1 && c.bits(12, 5) === 0b10110 && c.bits(22, 2) === 1) {
    if (!c.fp()) return;
    c.vop('f.cvtxn.32', c.v(c.rd), c.v(c.rn));
    return;
  }
  fpMiscScalarBy(c, 2 + c.bits(22, 1));
}
function fpMiscScalarHalf(c: LiftContext): void {
  fpMiscScalarBy(c, 1);
}
function fpMiscScalarBy(c: LiftContext, es: number): void {
  const name = fpMiscName(c);
  if (name === undefined || !FP_MISC_SCALAR.has(name)) return c.undefined();
  if (!c.fp()) return;
  c.vop(`f.${name}.${bitsOf(es)}`, c.v(c.rd), c.v(c.rn));
}

// ---- across lanes, scalar pairwise ----

function across(c: LiftContext): void {
  const es = c.bits(22, 2);
  const q = c.bits(30, 1);
  const u = c.bits(29, 1);
  const opcode = c.bits(12, 5);
  const p = u === 0 ? 's' : 'u';
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  const name = opcode === 0b00011 ? `${p}addlv` : opcode === 0b01010 ? `${p}maxv` : opcode === 0b11010 ? `${p}minv` : opcode === 0b11011 && u === 0 ? 'addv' : '';
  if (name !== '') {
    if (es === 3 || (es === 2 && q === 0)) return c.undefined();
    if (!c.fp()) return;
    c.vop(`${name}.${bitsOf(es)}`, d, a, NONE, NONE, q);
    return;
  }
  // FMAXNMV, FMINNMV, FMAXV, FMINV: half precision with U = 0.
  const half = u === 0;
  const fp = opcode === 0b01100 ? (es & 2 ? 'minnmv' : 'maxnmv') : opcode === 0b01111 ? (es & 2 ? 'minv' : 'maxv') : '';
  if (fp === '' || (es & 1) !== 0 || (!half && q === 0)) return c.undefined();
  if (!c.fp()) return;
  c.vop(`f.${fp}.${half ? 16 : 32}`, d, a, NONE, NONE, q);
}

function pairwiseScalar(c: LiftContext): void {
  const es = c.bits(22, 2);
  const u = c.bits(29, 1);
  const opcode = c.bits(12, 5);
  const ir = c.b;
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  if (opcode === 0b11011 && u === 0) {
    if (es !== 3) return c.undefined();
    if (!c.fp()) return;
    const t = ir.temp();
    ir.lea(3, t, a, a + 1, 0, 0);
    ir.mov(3, d, t);
    clearUpper(c, d);
    return;
  }
  const name = opcode === 0b01100 ? (es & 2 ? 'minnmp' : 'maxnmp') : opcode === 0b01101 && (es & 2) === 0 ? 'addp' : opcode === 0b01111 ? (es & 2 ? 'minp' : 'maxp') : '';
  if (name === '' || (u === 0 && es & 1)) return c.undefined();
  if (!c.fp()) return;
  c.vop(`f.${name}.${u === 0 ? 16 : 32 << (es & 1)}`, d, a);
}

// ---- copies ----

/** Element size and index from imm5; -1 if reserved. */
function element(imm5: number): { es: number; index: number } {
  const es = imm5 === 0 ? -1 : 31 - Math.clz32(imm5 & -imm5);
  return { es: es > 3 ? -1 : es, index: imm5 >> (es + 1) };
}

/** t = element `index` of vector slot a, zero-extended. */
export function getElement(c: LiftContext, a: number, es: number, index: number): number {
  const ir = c.b;
  const at = index << es;
  const slot = a + (at >> 3);
  const shift = (at & 7) * 8;
  if (es === 3) return slot;
  const t = ir.temp();
  if (shift === 0) ir.zx(es, t, slot);
  else {
    const u = ir.temp();
    ir.alu(Op.SHR, 3, u, slot, c.k(shift));
    ir.zx(es, t, u);
  }
  return t;
}

/** Element `index` of vector slot d = the low bits of x. */
export function setElement(c: LiftContext, d: number, es: number, index: number, x: number): void {
  const ir = c.b;
  const at = index << es;
  const slot = d + (at >> 3);
  if (es === 3) {
    ir.mov(3, slot, x);
    return;
  }
  const shift = (at & 7) * 8;
  const z = ir.temp();
  ir.zx(es, z, x);
  const s = c.shift(3, z, 0, shift);
  const m = ((1n << BigInt(8 << es)) - 1n) << BigInt(shift);
  const keep = BigInt.asUintN(64, ~m);
  const t = ir.temp();
  ir.alu(Op.AND, 3, t, slot, ir.k64(Number(keep & 0xffff_ffffn), Number(keep >> 32n)));
  ir.alu(Op.OR, 3, slot, t, s);
}

/** Vector d = the low bits of x in every lane. */
export function broadcast(c: LiftContext, d: number, es: number, x: number, q: number): void {
  const ir = c.b;
  let t = x;
  if (es < 3) {
    const z = ir.temp();
    t = ir.temp();
    ir.zx(es, z, x);
    const m = es === 0 ? 0x0101_0101 : es === 1 ? 0x0001_0001 : 1;
    ir.alu3(Op.IMUL, 3, t, z, ir.k64(m, m), NONE);
  } else if (x >= d && x < d + 2) {
    t = ir.temp();
    ir.mov(3, t, x);
  }
  c.vop('n.g64', d, t);
  if (q !== 0) c.vop('n.halves', d, d, d);
}

function copy(c: LiftContext): void {
  const q = c.bits(30, 1);
  const op = c.bits(29, 1);
  const imm4 = c.bits(11, 4);
  const { es, index } = element(c.rm);
  if (es < 0) return c.undefined();
  const ir = c.b;
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  if (op === 1) {
    // INS (element)
    if (q === 0) return c.undefined();
    if (!c.fp()) return;
    setElement(c, d, es, index, getElement(c, a, es, imm4 >> es));
    return;
  }
  switch (imm4) {
    case 0b0000:
      if (es === 3 && q === 0) return c.undefined();
      if (!c.fp()) return;
      broadcast(c, d, es, getElement(c, a, es, index), q);
      return;
    case 0b0001:
      if (es === 3 && q === 0) return c.undefined();
      if (!c.fp()) return;
      broadcast(c, d, es, c.x(c.rn), q);
      return;
    case 0b0011:
      if (q === 0) return c.undefined();
      if (!c.fp()) return;
      setElement(c, d, es, index, c.x(c.rn));
      return;
    case 0b0101:
      // SMOV
      if (es === 3 || (es === 2 && q === 0)) return c.undefined();
      if (!c.fp()) return;
      ir.sx(es, q !== 0 ? 64 : 32, c.dst(c.rd), getElement(c, a, es, index));
      return;
    case 0b0111:
      // UMOV
      if ((es === 3) !== (q !== 0)) return c.undefined();
      if (!c.fp()) return;
      ir.mov(3, c.dst(c.rd), getElement(c, a, es, index));
      return;
    default:
      c.undefined();
  }
}

/** DUP (element), scalar. */
function copyScalar(c: LiftContext): void {
  const { es, index } = element(c.rm);
  if (es < 0) return c.undefined();
  if (!c.fp()) return;
  const t = c.b.temp();
  c.b.mov(3, t, getElement(c, c.v(c.rn), es, index));
  c.b.mov(3, c.v(c.rd), t);
  clearUpper(c, c.v(c.rd));
}

// ---- immediates and shifts ----

/** MOVI, MVNI, ORR, BIC, FMOV. */
function modifiedImmediate(c: LiftContext): void {
  const q = c.bits(30, 1);
  const op = c.bits(29, 1);
  const cmode = c.bits(12, 4);
  const o2 = c.bits(11, 1);
  const imm8 = (c.bits(16, 3) << 5) | c.bits(5, 5);
  if (o2 === 1 && (cmode !== 15 || op === 1)) return c.undefined();
  if (cmode === 15 && op === 1 && q === 0) return c.undefined();
  if (!c.fp()) return;
  const ir = c.b;
  const v = expandImm(op, cmode, o2, imm8);
  const d = c.v(c.rd);
  // ORR and BIC: cmode 0xx1 and 10x1.
  const logical = (cmode & 1) !== 0 && cmode < 12;
  const invert = op === 1 && cmode < 14 ? -1 : 0;
  const k = ir.k64(v.lo ^ invert, v.hi ^ invert);
  if (logical) {
    const how = op === 0 ? Op.OR : Op.AND;
    ir.alu(how, 3, d, d, k);
    if (q !== 0) ir.alu(how, 3, d + 1, d + 1, k);
    else clearUpper(c, d);
    return;
  }
  ir.mov(3, d, k);
  ir.mov(3, d + 1, q !== 0 ? k : c.k(0));
}

/** Shifts by an immediate, by U << 5 | opcode: name; kind r: right shift (2 * bits - immh:immb), l: left, n: narrow. */
const SHIFTS: Readonly<Record<number, readonly [string, 'r' | 'l' | 'n', number]>> = {
  0b0_00000: ['sshri', 'r', 8], 0b1_00000: ['ushri', 'r', 8], 0b0_00010: ['ssrai', 'r', 8], 0b1_00010: ['usrai', 'r', 8],
  0b0_00100: ['srshri', 'r', 8], 0b1_00100: ['urshri', 'r', 8], 0b0_00110: ['srsrai', 'r', 8], 0b1_00110: ['ursrai', 'r', 8],
  0b1_01000: ['srii', 'r', 8], 0b0_01010: ['shli', 'l', 8], 0b1_01010: ['slii', 'l', 8],
  0b1_01100: ['sqshlui', 'l', 15], 0b0_01110: ['sqshli', 'l', 15], 0b1_01110: ['uqshli', 'l', 15],
  0b0_10000: ['shrn', 'n', 0], 0b1_10000: ['sqshrun', 'n', 7], 0b0_10001: ['rshrn', 'n', 0], 0b1_10001: ['sqrshrun', 'n', 7],
  0b0_10010: ['sqshrn', 'n', 7], 0b1_10010: ['uqshrn', 'n', 7], 0b0_10011: ['sqrshrn', 'n', 7], 0b1_10011: ['uqrshrn', 'n', 7],
};
const SHIFT_ACCUMULATES = new Set(['ssrai', 'usrai', 'srsrai', 'ursrai', 'srii', 'slii']);
/** Those with a host instruction. */
const HOST_SHIFT: Readonly<Record<string, string>> = { shli: 'n.shl', ushri: 'n.ushr', sshri: 'n.sshr' };

function shiftImmediate(c: LiftContext): void {
  const q = c.bits(30, 1);
  const u = c.bits(29, 1);
  const opcode = c.bits(11, 5);
  const immhb = c.bits(16, 7);
  const es = 31 - Math.clz32(immhb >> 3);
  const bits = bitsOf(es);
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  if (opcode === 0b10100) {
    // SSHLL, USHLL
    if (es === 3) return c.undefined();
    if (!c.fp()) return;
    const p = u === 0 ? 's' : 'u';
    if (q === 0 && immhb === bits) c.vop(`n.${p}xtl.${bits}`, d, a);
    else c.vop(`${p}shll.${bits}`, d, a, NONE, NONE, q | ((immhb - bits) << 1));
    return;
  }
  if (opcode === 0b11100 || opcode === 0b11111) {
    // SCVTF, UCVTF, FCVTZS, FCVTZU (fixed-point)
    if (es === 0 || (es === 3 && q === 0)) return c.undefined();
    if (!c.fp()) return;
    const name = opcode === 0b11100 ? (u === 0 ? 'scvtf' : 'ucvtf') : u === 0 ? 'cvtzs' : 'cvtzu';
    emit(c, `vf.${name}.${bits}`, q, d, a, NONE, 2 * bits - immhb);
    return;
  }
  const s = SHIFTS[(u << 5) | opcode];
  if (s === undefined || (es === 3 && (q === 0 || s[1] === 'n'))) return c.undefined();
  if (!c.fp()) return;
  const amount = s[1] === 'l' ? immhb - bits : 2 * bits - immhb;
  if (s[0] === 'shrn' && es === 0 && q === 0) {
    narrowBytes(c, d, a, amount);
    return;
  }
  const host = HOST_SHIFT[s[0]];
  if (host !== undefined && es > 0 && !(es === 3 && host === 'n.sshr')) {
    c.vop(`${host}.${bits}`, d, a, NONE, NONE, amount);
    if (q === 0) c.vop('n.low64', d, d);
  } else c.vop(`${s[0]}.${bits}`, d, a, NONE, NONE, q | (amount << 1));
}

function shiftImmediateScalar(c: LiftContext): void {
  const u = c.bits(29, 1);
  const opcode = c.bits(11, 5);
  const immhb = c.bits(16, 7);
  const es = 31 - Math.clz32(immhb >> 3);
  const bits = bitsOf(es);
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  if (opcode === 0b11100 || opcode === 0b11111) {
    if (es === 0) return c.undefined();
    if (!c.fp()) return;
    const name = opcode === 0b11100 ? (u === 0 ? 'scvtf' : 'ucvtf') : u === 0 ? 'cvtzs' : 'cvtzu';
    c.vop(`f.${name}.${bits}`, d, a, NONE, NONE, 2 * bits - immhb);
    return;
  }
  const s = SHIFTS[(u << 5) | opcode];
  if (s === undefined || ((s[2] >> es) & 1) === 0) return c.undefined();
  if (!c.fp()) return;
  if (s[1] === 'n') narrowScalar(c, s[0], es, 2 * bits - immhb);
  else emitScalar(c, `${s[0]}.${bits}`, es, d, a, NONE, SHIFT_ACCUMULATES.has(s[0]), s[1] === 'l' ? immhb - bits : 2 * bits - immhb);
}

// ---- by element ----

/** By U << 4 | opcode: name, kind (i integer same size, l long, f floating point), scalar allowed. */
const BY_ELEMENT: Readonly<Record<number, readonly [string, 'i' | 'l' | 'f' | 'd', boolean]>> = {
  0b1_0000: ['mla', 'i', false], 0b1_0100: ['mls', 'i', false], 0b0_1000: ['mul', 'i', false],
  0b0_0010: ['smlal', 'l', false], 0b1_0010: ['umlal', 'l', false], 0b0_0110: ['smlsl', 'l', false], 0b1_0110: ['umlsl', 'l', false],
  0b0_1010: ['smull', 'l', false], 0b1_1010: ['umull', 'l', false],
  0b0_0011: ['sqdmlal', 'l', true], 0b0_0111: ['sqdmlsl', 'l', true], 0b0_1011: ['sqdmull', 'l', true],
  0b0_1100: ['sqdmulh', 'i', true], 0b0_1101: ['sqrdmulh', 'i', true], 0b1_1101: ['sqrdmlah', 'i', true], 0b1_1111: ['sqrdmlsh', 'i', true],
  0b0_0001: ['mla', 'f', true], 0b0_0101: ['mls', 'f', true], 0b0_1001: ['mul', 'f', true], 0b1_1001: ['mulx', 'f', true],
  0b0_1110: ['sdot', 'd', false], 0b1_1110: ['udot', 'd', false],
};

/** arg 1: scalar. */
function byElement(c: LiftContext): void {
  const scalar = c.arg === 1;
  const q = c.bits(30, 1);
  const size = c.bits(22, 2);
  const e = BY_ELEMENT[(c.bits(29, 1) << 4) | c.bits(12, 4)];
  if (e === undefined || (scalar && !e[2])) return c.undefined();
  const hlm = (c.bits(11, 1) << 2) | (c.bits(21, 1) << 1) | c.bits(20, 1);
  const [name, kind] = e;
  let es = size;
  if (kind === 'f') {
    es = size === 0 ? 1 : size;
    if (size === 1 || (size === 3 && (c.bits(21, 1) !== 0 || (!scalar && q === 0)))) return c.undefined();
  } else if (kind === 'd') {
    if (size !== 2) return c.undefined();
  } else if (size === 0 || size === 3) return c.undefined();
  if (!c.fp()) return;
  const rm = es === 1 ? c.rm & 15 : c.rm;
  const index = es === 1 ? hlm : es === 2 ? hlm >> 1 : hlm >> 2;
  const ir = c.b;
  const [d, a] = [c.v(c.rd), c.v(c.rn)];
  const t = A.SCRATCH_B;
  const x = getElement(c, c.v(rm), es, index);
  if (scalar && kind !== 'f') {
    ir.mov(3, t, x);
    ir.mov(3, t + 1, c.k(0));
    if (kind === 'l') longScalar(c, name, es, a, t);
    else emitScalar(c, `${name}.${bitsOf(es)}`, es, d, a, t, name === 'sqrdmlah' || name === 'sqrdmlsh');
    return;
  }
  if (scalar) {
    ir.mov(3, t, x);
    ir.mov(3, t + 1, c.k(0));
    c.vop(`f.${name}.${bitsOf(es)}`, d, a, t);
    return;
  }
  broadcast(c, t, es, x, 1);
  if (kind === 'f' && hostPacked(name, es, q)) packedArith(c, name, es, q, d, a, t);
  else if (kind === 'd') emit(c, name, q, d, a, t);
  else if (kind === 'l') c.vop(`${name}.${bitsOf(es)}`, d, a, t, NONE, q);
  else emit(c, `${kind === 'f' ? 'vf.' : ''}${name}.${bitsOf(es)}`, q, d, a, t);
}

// ---- permutations ----

function ext(c: LiftContext): void {
  const q = c.bits(30, 1);
  const n = c.bits(11, 4);
  if (q === 0 && n > 7) return c.undefined();
  if (!c.fp()) return;
  const [d, a, b] = [c.v(c.rd), c.v(c.rn), c.v(c.rm)];
  if (q !== 0) c.vop('n.ext', d, b, a, NONE, n);
  else c.vop('ext', d, a, b, NONE, n << 1);
}

function tbl(c: LiftContext): void {
  if (!c.fp()) return;
  const q = c.bits(30, 1);
  c.vop(c.bits(12, 1) !== 0 ? 'tbx' : 'tbl', c.v(c.rd), NONE, c.v(c.rm), NONE, q | (c.bits(13, 2) << 1) | (c.rn << 3));
}

const PERMUTE: Readonly<Record<number, string>> = { 1: 'uzp1', 2: 'trn1', 3: 'zip1', 5: 'uzp2', 6: 'trn2', 7: 'zip2' };
function permute(c: LiftContext): void {
  const q = c.bits(30, 1);
  const es = c.bits(22, 2);
  let name = PERMUTE[c.bits(12, 3)];
  if (name === undefined || (es === 3 && q === 0)) return c.undefined();
  if (!c.fp()) return;
  if (name === 'zip2' && q !== 0) name = 'zip2.q';
  emit(c, `${name}.${bitsOf(es)}`, q, c.v(c.rd), c.v(c.rn), c.v(c.rm));
}

// ---- cryptography ----

const AES: Readonly<Record<number, string>> = { 4: 'aese', 5: 'aesd', 6: 'aesmc', 7: 'aesimc' };
function aes(c: LiftContext): void {
  const name = AES[c.bits(12, 5)];
  if (name === undefined) return c.undefined();
  if (!c.fp()) return;
  const two = name === 'aese' || name === 'aesd';
  c.vop(name, c.v(c.rd), two ? c.v(c.rd) : c.v(c.rn), two ? c.v(c.rn) : NONE);
}

function sha3(c: LiftContext): void {
  const op = c.bits(12, 3);
  if (op === 7) return c.undefined();
  if (!c.fp()) return;
  const [d, n, m] = [c.v(c.rd), c.v(c.rn), c.v(c.rm)];
  if (op < 3) c.vop(['sha1c', 'sha1p', 'sha1m'][op]!, d, d, n, m);
  else if (op === 3) c.vop('sha1su0', d, n, m);
  else if (op < 6) c.vop(op === 4 ? 'sha256h' : 'sha256h2', d, d, n, m);
  else c.vop('sha256su1', d, n, m);
}

function sha2(c: LiftContext): void {
  const name = (['sha1h', 'sha1su1', 'sha256su0'] as const)[c.bits(12, 5)];
  if (name === undefined) return c.undefined();
  if (!c.fp()) return;
  c.vop(name, c.v(c.rd), c.v(c.rn));
}

const bin = (v: number, n: number): string => v.toString(2).padStart(n, '0');
/** immh other than zero. */
const IMMH = ['1xxx', '01xx', '001x', '0001'];
const FP_OPCODES = [0, 1, 2, 3, 4, 5, 6, 7];

export const SIMD_ROWS: readonly Row[] = [
  ...THREE_SAME.map(([u, opcode, t], k) => row(`0 q ${u} 01110 zz 1 mmmmm ${bin(opcode, 5)} 1 nnnnn ddddd`, t.name, threeSame, k)),
  ...THREE_SAME.filter(([, , t]) => t.scalar !== 0).map(([u, opcode, t]) => row(`01 ${u} 11110 zz 1 mmmmm ${bin(opcode, 5)} 1 nnnnn ddddd`, t.name, scalarThree, THREES.indexOf(t))),
  ...LOGIC.map((name, k) => row(`0 q ${k >> 2} 01110 ${bin(k & 3, 2)} 1 mmmmm 00011 1 nnnnn ddddd`, name, logic, k)),
  ...FP_OPCODES.map((o) => row(`0 q u 01110 az 1 mmmmm 11 ${bin(o, 3)} 1 nnnnn ddddd`, 'fp three same', fpThree, 0)),
  ...FP_OPCODES.map((o) => row(`01 u 11110 az 1 mmmmm 11 ${bin(o, 3)} 1 nnnnn ddddd`, 'fp scalar three same', fpThreeScalar, 0)),
  row('0 q u 01110 a 10 mmmmm 00 ooo 1 nnnnn ddddd', 'fp16 three same', fpThree, 1),
  row('01 u 11110 a 10 mmmmm 00 ooo 1 nnnnn ddddd', 'fp16 scalar three same', fpThreeScalar, 1),
  row('0 q 1 01110 zz 0 mmmmm 1 0000 1 nnnnn ddddd', 'sqrdmlah', threeExtra, 0),
  row('0 q 1 01110 zz 0 mmmmm 1 0001 1 nnnnn ddddd', 'sqrdmlsh', threeExtra, 1),
  row('01 1 11110 zz 0 mmmmm 1 0000 1 nnnnn ddddd', 'sqrdmlah', scalarExtra, 0),
  row('01 1 11110 zz 0 mmmmm 1 0001 1 nnnnn ddddd', 'sqrdmlsh', scalarExtra, 1),
  row('0 q 0 01110 zz 0 mmmmm 1 0010 1 nnnnn ddddd', 'sdot', dot, 0),
  row('0 q 1 01110 zz 0 mmmmm 1 0010 1 nnnnn ddddd', 'udot', dot, 1),
  row('0 q u 01110 zz 1 mmmmm oooo 00 nnnnn ddddd', 'three different', different),
  row('01 u 11110 zz 1 mmmmm oooo 00 nnnnn ddddd', 'scalar three different', differentScalar),
  row('0 q u 01110 zz 10000 ooooo 10 nnnnn ddddd', 'two-register misc', misc),
  row('01 u 11110 zz 10000 ooooo 10 nnnnn ddddd', 'scalar two-register misc', miscScalar),
  row('0 q u 01110 a 111100 ooooo 10 nnnnn ddddd', 'fp16 misc', fpMiscHalf),
  row('01 u 11110 a 111100 ooooo 10 nnnnn ddddd', 'fp16 scalar misc', fpMiscScalarHalf),
  row('0 q u 01110 zz 11000 ooooo 10 nnnnn ddddd', 'across lanes', across),
  row('01 u 11110 zz 11000 ooooo 10 nnnnn ddddd', 'scalar pairwise', pairwiseScalar),
  row('0 q o 01110000 iiiii 0 iiii 1 nnnnn ddddd', 'dup/ins/mov', copy),
  row('01 0 11110000 iiiii 0 0000 1 nnnnn ddddd', 'dup scalar', copyScalar),
  row('0 q o 0111100000 aaa cccc o 1 ddddd ddddd', 'movi', modifiedImmediate),
  ...IMMH.map((h) => row(`0 q u 011110 ${h} bbb ooooo 1 nnnnn ddddd`, 'shift imm', shiftImmediate)),
  ...IMMH.map((h) => row(`01 u 111110 ${h} bbb ooooo 1 nnnnn ddddd`, 'scalar shift imm', shiftImmediateScalar)),
  row('0 q u 01111 zz l m mmmm oooo h 0 nnnnn ddddd', 'by element', byElement, 0),
  row('01 u 11111 zz l m mmmm oooo h 0 nnnnn ddddd', 'scalar by element', byElement, 1),
  row('0 q 101110 00 0 mmmmm 0 iiii 0 nnnnn ddddd', 'ext', ext),
  row('0 q 001110 00 0 mmmmm 0 ll o 00 nnnnn ddddd', 'tbl', tbl),
  row('0 q 001110 zz 0 mmmmm 0 ooo 10 nnnnn ddddd', 'zip/uzp/trn', permute),
  row('01001110 00 10100 ooooo 10 nnnnn ddddd', 'aes', aes),
  row('01011110 00 0 mmmmm 0 ooo 00 nnnnn ddddd', 'sha3reg', sha3),
  row('01011110 00 10100 ooooo 10 nnnnn ddddd', 'sha2reg', sha2),
];
