/**
 * Floating-point operations that the host's FPU does: each is one host instruction and the TypeScript function of the instruction it serves.
 * Host and Arm agree but where a result is a NaN or the smallest normal number: the lifter (lift-host-fp.ts) looks for those and has `fp.again`
 * do the operation again.
 * With FPCR.FZ, DN, AHP or FZ16 none of this is used natively (`fp`).
 */
import { type HelperResult, HelperResult as R, type NativeForm } from '../../../helpers.js';
import { Fl, NONE, Slot, VEC_STRIDE } from '../../../state.js';
import type { Arm64Cpu } from '../cpu.js';
import { A } from '../regs.js';
import { type Fn, type SimdOp, bitsOf, sse, views } from './def.js';
import { FP_OPS } from './fp-ops.js';

const OPS: SimdOp[] = [];
const known = new Map(FP_OPS.map((o) => [o.name, o.fn]));
const named = (name: string): Fn => known.get(name)!;
const fp = (name: string, fn: Fn, native: NativeForm, writesFlags = 0): void => {
  OPS.push({ name, fn, fp: true, native, ...(writesFlags === 0 ? {} : { writesFlags }) });
};
const move = (name: string, fn: Fn, native: NativeForm): void => {
  OPS.push({ name, fn, native });
};
const SIZES = [2, 3] as const;
/** Mandatory prefix of scalar and packed SSE instructions by element size. */
const scalarPp = (es: 2 | 3): 2 | 3 => es;
const packedPp = (es: 2 | 3): 0 | 1 => (es === 3 ? 1 : 0);

/** Index of operations in `fp.redo`. */
export const REDO = ['add', 'sub', 'mul', 'div', 'sqrt', 'mla', 'mls', 'fmadd', 'fmsub', 'fnmadd', 'fnmsub'] as const;
export type RedoName = (typeof REDO)[number];
const FUSED_FROM = REDO.indexOf('fmadd');

// Packed arithmetic, literal 1 (Q).
const PACKED: readonly (readonly [RedoName, number])[] = [['add', 0x58], ['sub', 0x5c], ['mul', 0x59], ['div', 0x5e], ['sqrt', 0x51]];
/** VFMADD231, VFNMADD231: packed. dst is the addend. */
const PACKED_FUSED: readonly (readonly [RedoName, number])[] = [['mla', 0xb8], ['mls', 0xbc]];
/** Scalar: a * b + dst, -(a * b) + dst, -(a * b) - dst, a * b - dst. */
const SCALAR_FUSED: readonly (readonly [RedoName, number])[] = [['fmadd', 0xb9], ['fmsub', 0xbd], ['fnmadd', 0xbf], ['fnmsub', 0xbb]];
const fma = (opcode: number, es: 2 | 3): NativeForm => sse('fma', opcode, { map: 2, w: es === 3 ? 1 : 0, feature: 'fma', vexOnly: true });
const WHOLE = 1;
const found = new Int32Array(4);

for (const es of SIZES) {
  const bits = bitsOf(es);
  for (const [name, opcode] of PACKED) {
    const fn = named(`vf.${name}.${bits}`);
    fp(`n.vf${name}.${bits}`, (cpu, d, a, b) => fn(cpu, d, a, b, NONE, WHOLE), sse(name === 'sqrt' ? 'rm' : 'rvm', opcode, { pp: packedPp(es) }));
  }
  for (const [name, opcode] of PACKED_FUSED) {
    const fn = named(`vf.${name}.${bits}`);
    fp(`n.vf${name}.${bits}`, (cpu, d, a, b) => fn(cpu, d, a, b, NONE, WHOLE), fma(opcode, es));
  }
  for (const [name, opcode] of SCALAR_FUSED) fp(`n.${name}.${bits}`, named(`f.${name}.${bits}`), fma(opcode, es));

  /** Ones in lanes of a, none of them negative, that are NaNs or equal b's; the scalar form: in the lowest lane, a's others above it. */
  for (const packed of [true, false]) {
    fp(
      `n.${packed ? 'v' : ''}recheck.${bits}`,
      (cpu, d, a, b) => {
        const v = views(cpu);
        const lanes = es === 3 ? v.f64 : v.f32;
        const [A_, B] = es === 3 ? [a, b] : [a << 1, b << 1];
        const words = 1 << (es - 2);
        for (let w = 0; w < 4; w++) {
          const i = w >> (es - 2);
          const x = lanes[A_ + i]!;
          found[w] = packed || w < words ? (Number.isNaN(x) || x === lanes[B + i]! ? -1 : 0) : v.i32[(a << 1) + w]!;
        }
        cpu.V.set(found, d * 2);
        return R.CONTINUE;
      },
      sse('rvmi', 0xc2, { pp: packed ? packedPp(es) : scalarPp(es) }),
    );
  }

  // FCMP, FCMPE as UCOMIS, COMIS: CF ZF PF.
  for (const signaling of [false, true]) {
    const relation = named(`f.${signaling ? 'cmpe' : 'cmp'}.${bits}`);
    fp(`n.fcmp${signaling ? 'e' : ''}.${bits}`, (cpu, _d, a, b) => compare(cpu, relation, a, b), sse('cmp', signaling ? 0x2f : 0x2e, { pp: packedPp(es) }), Fl.ALL);
  }

  // Truncation to a signed integer: what does not fit, and a NaN, is the smallest number on the host.
  for (const wide of [0, 1] as const) {
    const toInt = named(`f.toint.${bits}`);
    const literal = toIntLiteral(wide);
    fp(`n.ftoi.${bits}.${32 << wide}`, (cpu, d, a) => toInt(cpu, d, a, NONE, NONE, literal), sse('rg', 0x2c, { pp: scalarPp(es), w: wide }));
    const fromInt = named(`f.fromint.${bits}`);
    const signed = (wide << 12) | 0x2000;
    fp(`n.itof.${bits}.${32 << wide}`, (cpu, d, _a, b) => fromInt(cpu, d, b, NONE, NONE, signed), sse('rvg', 0x2a, { pp: scalarPp(es), w: wide }));
  }
  const to = (5 - es) as 2 | 3;
  const convert = named(`f.cvt.${bits}.${bitsOf(to)}`);
  fp(`n.fcvt.${bits}`, (cpu, d, _a, b) => convert(cpu, d, b, NONE, NONE, 0), sse('rvm', 0x5a, { pp: scalarPp(es) }));
}

/** Literal of `f.toint`: towards zero, signed. */
function toIntLiteral(wide: number): number {
  return (3 << 8) | (wide << 12) | 0x2000;
}

/** Flags as UCOMIS leaves them, in the FLAGS slot: greater none, less CF, equal ZF, unordered all three. */
const FLAGS_OF = [0x0100, 0x4000, 0];
const UNORDERED = 0x4500;
const RELATION = A.FP_RELATION;
function compare(cpu: Arm64Cpu, relation: Fn, a: number, b: number): HelperResult {
  relation(cpu, RELATION, a, b, NONE, 0);
  const r = cpu.V[RELATION * 2]!;
  cpu.V[Slot.FLAGS * 2] = 0x200 | (r === 0x80 ? UNORDERED : FLAGS_OF[r]!);
  return R.CONTINUE;
}

/** Slots of vector registers and of the scratch vectors after them, six bits each. */
const vectorAt = (n: number): number => Slot.VEC + (n & 63) * VEC_STRIDE;
export const vectorNumber = (slot: number): number => (slot - Slot.VEC) / VEC_STRIDE;

/**
 * Literal: index in REDO | (element size - 2) << 4 | packed << 5 | registers a << 6, b << 12, addend << 18 | Q << 24; the result goes to
 * A.SCRATCH_A, whose Q = 0 forms clear the upper half.
 */
OPS.push({
  name: 'fp.again',
  fn: (cpu, _d, _a, _b, _c, imm) => {
    const k = imm & 15;
    const bits = imm & 0x10 ? 64 : 32;
    const a = vectorAt(imm >> 6);
    const b = vectorAt(imm >> 12);
    const addend = vectorAt(imm >> 18);
    const name = REDO[k]!;
    if (k >= FUSED_FROM) return named(`f.${name}.${bits}`)(cpu, A.SCRATCH_A, a, b, addend, 0);
    if ((name === 'mla' || name === 'mls') && addend !== (A.SCRATCH_A as number)) for (let i = 0; i < 4; i++) cpu.V[A.SCRATCH_A * 2 + i] = cpu.V[addend * 2 + i]!;
    return named(`${imm & 0x20 ? 'vf' : 'f'}.${name}.${bits}`)(cpu, A.SCRATCH_A, a, b, NONE, (imm >> 24) & 1);
  },
});
/** FCVT from double to single done again: the literal is the register. */
OPS.push({ name: 'fp.narrow', fn: (cpu, _d, _a, _b, _c, imm) => named('f.cvt.64.32')(cpu, A.SCRATCH_A, vectorAt(imm), NONE, NONE, 0) });
/** The conversion done again: literal register | element size << 6 | 64 bits << 8 | general register << 9. */
OPS.push({
  name: 'fp.toint',
  fn: (cpu, _d, _a, _b, _c, imm) => named(`f.toint.${bitsOf(((imm >> 6) & 3) as 2 | 3)}`)(cpu, Slot.GPR + ((imm >> 9) & 31), vectorAt(imm), NONE, NONE, toIntLiteral((imm >> 8) & 1)),
});

// Moves between register files; upper parts are cleared.
for (const wide of [0, 1] as const) {
  const words = 1 + wide;
  move(`n.g${32 << wide}`, (cpu, d, a) => {
    const { V } = cpu;
    for (let i = 0; i < 4; i++) V[d * 2 + i] = i < words ? V[a * 2 + i]! : 0;
    return R.CONTINUE;
  }, sse('gr', 0x6e, { w: wide }));
  move(`n.x${32 << wide}`, (cpu, d, a) => {
    const { V } = cpu;
    for (let i = 0; i < 2; i++) V[d * 2 + i] = i < words ? V[a * 2 + i]! : 0;
    return R.CONTINUE;
  }, sse('mg', 0x7e, { w: wide }));
}
/** Lower half of a, lower half of b above it (PUNPCKLQDQ). */
move('n.halves', (cpu, d, a, b) => {
  const { V } = cpu;
  const [l0, l1, h0, h1] = [V[a * 2]!, V[a * 2 + 1]!, V[b * 2]!, V[b * 2 + 1]!];
  V[d * 2] = l0;
  V[d * 2 + 1] = l1;
  V[d * 2 + 2] = h0;
  V[d * 2 + 3] = h1;
  return R.CONTINUE;
}, sse('rvm', 0x6c));

export const FP_HOST_OPS: readonly SimdOp[] = OPS;
