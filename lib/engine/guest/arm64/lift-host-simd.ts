/** Integer vector instructions that are a few host instructions each, as IR in scratch vectors. */
import { Op } from '../../ir/ops.js';
import { NONE } from '../../state.js';
import type { LiftContext } from './lift-context.js';
import { A } from './regs.js';

const WHOLE = 1;
const S = A.SCRATCH_A;

/** Writes the 128-bit result to A.SCRATCH_A. d: the destination's old value, only if the instruction reads it. */
type Expansion = (v: (name: string, dst: number, a: number, b: number) => void, bits: number, a: number, b: number, d: number) => void;

function invert(v: Parameters<Expansion>[0]): void {
  v('cmeq.32', A.SCRATCH_B, A.ZERO, A.ZERO);
  v('eor', S, S, A.SCRATCH_B);
}
/** Unsigned a >= b: the larger one is a. */
const unsignedNotLess: Expansion = (v, bits, a, b) => {
  v(`umax.${bits}`, S, a, b);
  v(`cmeq.${bits}`, S, S, a);
};
/** x where the mask's bits are 1, y elsewhere: y ^ ((x ^ y) & mask). */
const select = (and: 'and' | 'andn'): ((v: Parameters<Expansion>[0], x: number, y: number, mask: number) => void) => (v, x, y, mask) => {
  v('eor', S, x, y);
  v(and, S, mask, S);
  v('eor', S, S, y);
};
const whereSet = select('and');
const whereClear = select('andn');

/** By name; element sizes for which it holds (0 bytes, 1 halfwords, 2 words, 3 doublewords). */
const EXPANSIONS: Readonly<Record<string, readonly [readonly number[], Expansion]>> = {
  ucmge: [[0, 1, 2], unsignedNotLess],
  ucmgt: [[0, 1, 2], (v, bits, a, b, d) => {
    unsignedNotLess(v, bits, b, a, d);
    invert(v);
  }],
  scmge: [[0, 1, 2, 3], (v, bits, a, b) => {
    v(`scmgt.${bits}`, S, b, a);
    invert(v);
  }],
  cmtst: [[0, 1, 2, 3], (v, bits, a, b) => {
    v('and', S, a, b);
    v(`cmeq.${bits}`, S, S, A.ZERO);
    invert(v);
  }],
  mla: [[1, 2], (v, bits, a, b, d) => {
    v(`mul.${bits}`, S, a, b);
    v(`add.${bits}`, S, S, d);
  }],
  mls: [[1, 2], (v, bits, a, b, d) => {
    v(`mul.${bits}`, S, a, b);
    v(`sub.${bits}`, S, d, S);
  }],
  neg: [[0, 1, 2, 3], (v, bits, a) => v(`sub.${bits}`, S, A.ZERO, a)],
  bsl: [[0], (v, _bits, a, b, d) => whereSet(v, a, b, d)],
  bit: [[0], (v, _bits, a, b, d) => whereSet(v, a, d, b)],
  bif: [[0], (v, _bits, a, b, d) => whereClear(v, a, d, b)],
  not: [[0], (v, _bits, a) => {
    v('cmeq.32', S, A.ZERO, A.ZERO);
    v('eor', S, S, a);
  }],
};

/** Dst = the low (or high) byte of each halfword of x, in the halfword. */
function halves(c: LiftContext, dst: number, x: number, high: boolean): void {
  if (!high) c.vop('n.shl.16', dst, x, NONE, NONE, 8);
  c.vop('n.ushr.16', dst, high ? x : dst, NONE, NONE, 8);
}

/** What is done to bytes that lie side by side, by instruction. */
const PAIRWISE: Readonly<Record<string, string>> = { smaxp: 'smax.8', sminp: 'smin.8', umaxp: 'umax.8', uminp: 'umin.8', addp: 'add.8' };

/** The even bytes of a:b and the odd ones, each in one vector, then lane by lane. C libraries look for bytes in strings with these. */
function pairwiseBytes(c: LiftContext, op: string, d: number, a: number, b: number): void {
  for (const [to, other, high] of [[A.SCRATCH_A, A.SCRATCH_B, false], [A.SCRATCH_C, A.SCRATCH_D, true]] as const) {
    halves(c, to, a, high);
    if (b !== a) halves(c, other, b, high);
    c.vop('n.pack.8', to, to, b === a ? to : other, NONE, WHOLE);
  }
  c.vop(op, d, A.SCRATCH_A, A.SCRATCH_C, NONE, WHOLE);
}

/** SHRN of halfwords: the low bytes of x shifted right. */
export function narrowBytes(c: LiftContext, d: number, x: number, count: number): void {
  c.vop('n.ushr.16', S, x, NONE, NONE, count);
  halves(c, S, S, false);
  c.vop('n.pack.8', d, S, A.ZERO, NONE, WHOLE);
}

/**
 * Vd = NAME of 64 (q = 0) or 128 bits.
 * @returns false if it is none of these
 */
export function hostVector(c: LiftContext, name: string, es: number, q: number, d: number, a: number, b: number): boolean {
  const pairs = PAIRWISE[name];
  if (pairs !== undefined && es === 0 && q !== 0) {
    pairwiseBytes(c, pairs, d, a, b);
    return true;
  }
  const e = EXPANSIONS[name];
  if (e === undefined || !e[0].includes(es)) return false;
  e[1]((op, dst, x, y) => c.vop(op, dst, x, y, NONE, WHOLE), 8 << es, a, b, d);
  if (q === 0) c.vop('n.low64', d, S);
  else c.b.emit(Op.MOVV, 4, 0, 0, d, S, NONE, NONE, 0, 0);
  return true;
}
