/**
 * Floating-point operations that the host's FPU does: each is one host instruction and the TypeScript function of the instruction it serves.
 * Host and Arm agree but where a result is a NaN or the smallest normal number (Arm finds underflow before rounding, the host after it: what
 * rounds up to that number is underflow to Arm alone): generated code looks for those and has the function do the operation (`NativeForm.checked`).
 * With FPCR.FZ, DN, AHP or FZ16 none of this is used natively (`fp`).
 */
import { type HelperResult, HelperResult as R, type NativeForm } from '../../../helpers.js';
import { Fl, NONE, Slot } from '../../../state.js';
import type { Arm64Cpu } from '../cpu.js';
import { A, vreg } from '../regs.js';
import { type Fn, type SimdOp, bitsOf, sse } from './def.js';
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

/** What the host does for lanes and for scalars alike, and its opcodes. */
export const HOST_ARITH = ['add', 'sub', 'mul', 'div', 'sqrt'] as const;
export type HostArith = (typeof HOST_ARITH)[number];
const OPCODES: readonly number[] = [0x58, 0x5c, 0x59, 0x5e, 0x51];
/** VFMADD231, VFNMADD231: packed. */
const PACKED_FUSED: readonly (readonly [string, number])[] = [['mla', 0xb8], ['mls', 0xbc]];
/** Scalar: a * b + c, -(a * b) + c, -(a * b) - c, a * b - c. */
const SCALAR_FUSED: readonly (readonly [string, number])[] = [['fmadd', 0xb9], ['fmsub', 0xbd], ['fnmadd', 0xbf], ['fnmsub', 0xbb]];
const fma = (opcode: number, es: 2 | 3): NativeForm => sse('fma', opcode, { map: 2, w: es === 3 ? 1 : 0, feature: 'fma', vexOnly: true });
const WHOLE = 1;

const checked = (es: 2 | 3, packed: boolean, native: NativeForm): NativeForm => ({
  ...native, checked: { bits: es === 3 ? 64 : 32, packed, abs: es === 3 ? A.FP_ABS_64 : A.FP_ABS_32, min: es === 3 ? A.FP_MIN_64 : A.FP_MIN_32 },
});

for (const es of SIZES) {
  const bits = bitsOf(es);
  HOST_ARITH.forEach((name, k) => {
    const form = name === 'sqrt' ? 'rm' : 'rvm';
    fp(`h.${name}.${bits}`, named(`f.${name}.${bits}`), checked(es, false, sse(form, OPCODES[k]!, { pp: scalarPp(es) })));
    const lanes = named(`vf.${name}.${bits}`);
    fp(`h.v${name}.${bits}`, (cpu, d, a, b) => lanes(cpu, d, a, b, NONE, WHOLE), checked(es, true, sse(form, OPCODES[k]!, { pp: packedPp(es) })));
  });
  for (const [name, opcode] of SCALAR_FUSED) fp(`h.${name}.${bits}`, named(`f.${name}.${bits}`), checked(es, false, fma(opcode, es)));
  for (const [name, opcode] of PACKED_FUSED) {
    const lanes = named(`vf.${name}.${bits}`);
    // c is the addend; the function of the lanes has it in d.
    fp(`h.v${name}.${bits}`, (cpu, d, a, b, c) => {
      if (c !== d) cpu.V.copyWithin(d * 2, c * 2, c * 2 + 4);
      return lanes(cpu, d, a, b, NONE, WHOLE);
    }, checked(es, true, fma(opcode, es)));
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
  const convert = named(`f.cvt.${bits}.${bitsOf(5 - es)}`);
  const native = sse('rvm', 0x5a, { pp: scalarPp(es) });
  // Only to single can a result be tiny.
  fp(`n.fcvt.${bits}`, (cpu, d, _a, b) => convert(cpu, d, b, NONE, NONE, 0), es === 3 ? checked(2, false, native) : native);
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

/** The conversion done again: literal register | element size << 6 | 64 bits << 8 | general register << 9. */
OPS.push({
  name: 'fp.toint',
  fn: (cpu, _d, _a, _b, _c, imm) => named(`f.toint.${bitsOf((imm >> 6) & 3)}`)(cpu, Slot.GPR + ((imm >> 9) & 31), vreg(imm & 63), NONE, NONE, toIntLiteral((imm >> 8) & 1)),
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
