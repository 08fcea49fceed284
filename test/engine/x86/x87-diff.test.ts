import { describe, expect, it } from 'vitest';
import { F64, F80, convert, fpStatus } from '#lib/engine/softfloat/softfloat.js';
import { TestCpu, emulate, nativeX87, random32, random64, random80, rng, show } from './x87-host.js';

const host = nativeX87();

/** [label, helper, imm, registers loaded, code, memory operand generator] */
type Case = readonly [string, string, number, number, readonly (number | 'M')[], ((r: () => number) => bigint)?];

const mem = (opcode: number, digit: number): (number | 'M')[] => [opcode, 0x87 | (digit << 3), 'M'];
const int = (r: () => number): bigint => {
  const v = ((BigInt(r()) << 32n) | BigInt(r())) >> BigInt((r() & 1) * (r() % 64));
  return v;
};

const ARITH: Case[] = [];
for (const [d, name] of [[0, 'fadd'], [1, 'fmul'], [4, 'fsub'], [5, 'fsubr'], [6, 'fdiv'], [7, 'fdivr']] as const) {
  ARITH.push([name, `x87.${name}.st`, 1, 2, [0xd8, 0xc1 + 8 * d]]);
  ARITH.push([`${name}p`, `x87.${name}.st`, 1 | 8 | 16, 2, [0xde, 0xc1 + 8 * d]]);
  ARITH.push([`${name} m32`, `x87.${name}.f32`, 0, 1, mem(0xd8, d), random32]);
  ARITH.push([`${name} m64`, `x87.${name}.f64`, 0, 1, mem(0xdc, d), random64]);
  ARITH.push([`${name} m16int`, `x87.${name}.i16`, 0, 1, mem(0xde, d), int]);
  ARITH.push([`${name} m32int`, `x87.${name}.i32`, 0, 1, mem(0xda, d), int]);
}
const MISC: Case[] = [
  ['fsqrt', 'x87.fsqrt', 0, 1, [0xd9, 0xfa]],
  ['frndint', 'x87.frndint', 0, 1, [0xd9, 0xfc]],
  ['fscale', 'x87.fscale', 0, 2, [0xd9, 0xfd]],
  ['fxtract', 'x87.fxtract', 0, 1, [0xd9, 0xf4]],
  ['fprem', 'x87.fprem', 0, 2, [0xd9, 0xf8]],
  ['fprem1', 'x87.fprem1', 0, 2, [0xd9, 0xf5]],
  ['fchs', 'x87.fsign', 0, 1, [0xd9, 0xe0]],
  ['fabs', 'x87.fsign', 1, 1, [0xd9, 0xe1]],
  ['ftst', 'x87.ftst', 0, 1, [0xd9, 0xe4]],
  ['fxam', 'x87.fxam', 0, 1, [0xd9, 0xe5]],
];
const COMPARE: Case[] = [
  ['fcom', 'x87.fcom.st', 1, 2, [0xd8, 0xd1]],
  ['fcompp', 'x87.fcom.st', 1 | 32, 2, [0xde, 0xd9]],
  ['fucom', 'x87.fucom.st', 1, 2, [0xdd, 0xe1]],
  ['fcomi', 'x87.fcomi', 1, 2, [0xdb, 0xf1]],
  ['fucomip', 'x87.fucomi', 1 | 16, 2, [0xdf, 0xe9]],
  ['fcom m32', 'x87.fcom.f32', 0, 1, mem(0xd8, 2), random32],
  ['fcomp m64', 'x87.fcom.f64', 16, 1, mem(0xdc, 3), random64],
  ['ficom m16', 'x87.fcom.i16', 0, 1, mem(0xde, 2), int],
  ['ficom m32', 'x87.fcom.i32', 0, 1, mem(0xda, 2), int],
];
const MOVES: Case[] = [
  ['fld m32', 'x87.fld.f32', 0, 1, mem(0xd9, 0), random32],
  ['fld m64', 'x87.fld.f64', 0, 1, mem(0xdd, 0), random64],
  ['fld m80', 'x87.fld.f80', 0, 1, mem(0xdb, 5), random80],
  ['fild m16', 'x87.fild.i16', 0, 1, mem(0xdf, 0), int],
  ['fild m32', 'x87.fild.i32', 0, 1, mem(0xdb, 0), int],
  ['fild m64', 'x87.fild.i64', 0, 1, mem(0xdf, 5), int],
  ['fbld', 'x87.fbld', 0, 1, mem(0xdf, 4), (r) => {
    let v = BigInt(r() & 0x80) << 72n;
    for (let i = r() % 19; i > 0; i--) v |= BigInt(r() % 10) << BigInt(4 * (i - 1));
    return v;
  }],
  ['fst m32', 'x87.fst.f32', 0, 1, mem(0xd9, 2)],
  ['fstp m64', 'x87.fstp.f64', 0, 1, mem(0xdd, 3)],
  ['fstp m80', 'x87.fstp.f80', 0, 1, mem(0xdb, 7)],
  ['fist m16', 'x87.fist.i16', 0, 1, mem(0xdf, 2)],
  ['fistp m32', 'x87.fistp.i32', 0, 1, mem(0xdb, 3)],
  ['fistp m64', 'x87.fistp.i64', 0, 1, mem(0xdf, 7)],
  ['fisttp m16', 'x87.fisttp.i16', 0, 1, mem(0xdf, 1)],
  ['fisttp m32', 'x87.fisttp.i32', 0, 1, mem(0xdb, 1)],
  ['fisttp m64', 'x87.fisttp.i64', 0, 1, mem(0xdd, 1)],
  ['fbstp', 'x87.fbstp', 0, 1, mem(0xdf, 6)],
  ['fld st1', 'x87.fld.st', 1, 2, [0xd9, 0xc1]],
  ['fstp st1', 'x87.fstp.st', 1, 2, [0xdd, 0xd9]],
  ['fxch', 'x87.fxch', 1, 2, [0xd9, 0xc9]],
  ['fcmovb', 'x87.fcmov', 1, 2, [0xda, 0xc1]],
  ['fcmove', 'x87.fcmov', 1 | 0x10, 2, [0xda, 0xc9]],
  ['fcmovnu', 'x87.fcmov', 1 | 0x70, 2, [0xdb, 0xd9]],
  ['ffree', 'x87.ffree', 1, 2, [0xdd, 0xc1]],
  ['fincstp', 'x87.fstep', 1, 2, [0xd9, 0xf7]],
  ['fdecstp', 'x87.fstep', 7, 2, [0xd9, 0xf6]],
];
for (let k = 0; k < 7; k++) MOVES.push([`constant ${k}`, 'x87.fldconst', k, 0, [0xd9, 0xe8 + k]]);

const MASKED = 0x3f;

function check(c: Case, count: number, seed: number, unmasked: boolean): void {
  const [label, helper, imm, depth, code, gen] = c;
  const cpu = new TestCpu();
  const r = rng(seed);
  host!.prepare(depth, code);
  for (let i = 0; i < count; i++) {
    const rc = r() & 3;
    const pc = [3, 0, 2, 3][r() & 3]!;
    const masks = unmasked ? r() & 0x3f : MASKED;
    const fcw = 0x40 | masks | (pc << 8) | (rc << 10);
    const stack = [random80(r), random80(r)];
    if (helper.includes('prem') && (r() & 3) !== 0) {
      // Exponents within reach of each other.
      const e = (stack[0]! >> 64n) & 0x7fffn;
      stack[1] = (stack[1]! & ~(0x7fffn << 64n)) | ((e - BigInt(r() % 70) + 0x7fffn) % 0x7fffn) << 64n;
    }
    const m = gen ? gen(r) : 0x1234_5678_9abc_def0_1111n;
    const want = host!.run(fcw, stack, m);
    const got = emulate(cpu, helper, imm, fcw, stack, depth, m);
    const text = `${label} fcw ${fcw.toString(16)} st0 ${stack[0]!.toString(16).padStart(20, '0')} st1 ${stack[1]!.toString(16).padStart(20, '0')} mem ${m.toString(16)}`;
    // Empty registers keep stale values natively; compare those that are in use.
    const top = (want.fsw >> 11) & 7;
    for (let k = 0; k < 8; k++) {
      if (((want.tag >> (2 * ((top + k) & 7))) & 3) === 3) want.regs[k] = got.regs[k] = 0n;
    }
    expect(`${show(got, 4)}`, text).toBe(show(want, 4));
  }
}

describe.skipIf(host === undefined)('x87 against the host, exceptions masked', () => {
  for (const c of [...ARITH, ...MISC, ...COMPARE, ...MOVES]) it(c[0], () => check(c, 1500, 1234567, false));
});

describe.skipIf(host === undefined)('x87 against the host, random masks', () => {
  for (const c of [...ARITH, ...MISC, ...COMPARE, ...MOVES]) it(c[0], () => check(c, 800, 7654321, true));
});

describe.skipIf(host === undefined)('stack underflow and overflow against the host', () => {
  for (const c of [...ARITH, ...MISC, ...COMPARE, ...MOVES]) {
    // FXAM reports the sign of what was in the empty register before.
    if (c[0] === 'fxam') continue;
    it(c[0], () => {
      check([c[0], c[1], c[2], 0, c[4], c[5]], 20, 99, false);
      check([c[0], c[1], c[2], 0, c[4], c[5]], 20, 98, true);
    });
  }
});

const TRIG: Case[] = [
  ['fsin', 'x87.fsin', 0, 1, [0xd9, 0xfe]],
  ['fcos', 'x87.fcos', 0, 1, [0xd9, 0xff]],
  ['fsincos', 'x87.fsincos', 0, 1, [0xd9, 0xfb]],
  ['fptan', 'x87.fptan', 0, 1, [0xd9, 0xf2]],
  ['f2xm1', 'x87.f2xm1', 0, 1, [0xd9, 0xf0]],
  ['fyl2x', 'x87.fyl2x', 0, 2, [0xd9, 0xf1]],
  ['fyl2xp1', 'x87.fyl2xp1', 0, 2, [0xd9, 0xf9]],
  ['fpatan', 'x87.fpatan', 0, 2, [0xd9, 0xf3]],
];

/** Operand within the documented domain: f2xm1 (-1, 1), fyl2xp1 below 1 - sqrt(1/2), trigonometry below pi/4 (no reduction). */
function domain(label: string, x: bigint): bigint {
  const e = (x >> 64n) & 0x7fffn;
  const cap = label === 'fyl2xp1' ? 16381n : label.startsWith('fs') || label.startsWith('fc') || label === 'fptan' ? 16382n : label === 'f2xm1' ? 16382n : 0x7fffn;
  if (e <= cap || e === 0x7fffn) return x;
  return (x & ~(0x7fffn << 64n)) | ((cap - (e % 70n)) << 64n);
}

/** Distance in units of the last place; huge if sign, class or exponent are far apart. */
function ulps(a: bigint, b: bigint): bigint {
  const d = a - b;
  // Adjacent binades: exponent field + 1 with significand 8000... follows FFFF...
  const lin = (v: bigint): bigint => (((v >> 64n) & 0x7fffn) << 63n) + (v & ((1n << 63n) - 1n));
  if ((a ^ b) >> 79n !== 0n) return d === 0n ? 0n : 1n << 70n;
  const l = lin(a) - lin(b);
  return l < 0n ? -l : l;
}

describe.skipIf(host === undefined)('transcendental instructions against the host: within an ulp or so, same flags', () => {
  for (const [label, helper, imm, depth, code] of TRIG) {
    it(label, () => {
      const cpu = new TestCpu();
      const r = rng(2468);
      host!.prepare(depth, code);
      let worst = 0n;
      for (let i = 0; i < 500; i++) {
        const fcw = 0x37f | ((r() & 3) << 10);
        const stack = [domain(label, random80(r)), random80(r)];
        const want = host!.run(fcw, stack, 0n);
        const got = emulate(cpu, helper, imm, fcw, stack, depth, 0n);
        const text = `${label} fcw ${fcw.toString(16)} st0 ${stack[0]!.toString(16).padStart(20, '0')} st1 ${stack[1]!.toString(16).padStart(20, '0')}\n ${show(got)}\n ${show(want)}`;
        const top = (want.fsw >> 11) & 7;
        expect(got.tag, text).toBe(want.tag);
        expect(got.fsw & 0xfcff, text).toBe(want.fsw & 0xfcff);
        for (let k = 0; k < 2; k++) {
          if (((want.tag >> (2 * ((top + k) & 7))) & 3) === 3) continue;
          const d = ulps(got.regs[k]!, want.regs[k]!);
          if (d > worst) worst = d;
          expect(d <= 1n, text).toBe(true);
        }
      }
      expect(worst <= 1n).toBe(true);
    });
  }
});

describe('large arguments', () => {
  const view = new DataView(new ArrayBuffer(8));
  const bits = (x: number): bigint => (view.setFloat64(0, x), view.getBigUint64(0));
  const num = (b: bigint): number => (view.setBigUint64(0, b), view.getFloat64(0));
  it('sin, cos and tan with exact reduction, against the double-precision library', () => {
    const cpu = new TestCpu();
    const r = rng(1357);
    for (let i = 0; i < 300; i++) {
      const x = (r() / 2 ** 32 - 0.5) * 2 ** (r() % 63);
      const arg = convert(F64, F80, bits(x), fpStatus());
      for (const [name, f] of [['fsin', Math.sin], ['fcos', Math.cos], ['fptan', Math.tan]] as const) {
        const image = emulate(cpu, `x87.${name}`, 0, 0x37f, [arg], 1, 0n);
        const got = num(convert(F80, F64, image.regs[name === 'fptan' ? 1 : 0]!, fpStatus()));
        expect(Math.abs(got - f(x)) <= Math.abs(f(x)) * 4e-16, `${name} ${x}: ${got} ${f(x)}`).toBe(true);
      }
    }
  });
});
