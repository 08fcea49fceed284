/**
 * Symbols (docs/AOT.md): code lifted with them does what code lifted without does, and goes on doing it when the symbol gets another
 * value, that is, when the guest's kernel has moved.
 */
import { describe, expect, it } from 'vitest';
import { CpuModel } from '#lib/engine/guest/x86/cpuid.js';
import { x86Helpers, x86Lifter } from '#lib/engine/guest/x86/guest.js';
import { Mode, Seg, X } from '#lib/engine/guest/x86/mode.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { IrBuilder, looksLikeAddress } from '#lib/engine/ir/builder.js';
import { runPasses } from '#lib/engine/ir/passes.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { Slot } from '#lib/engine/state.js';
import { fakeCpu, type FakeCpu } from '../fake-cpu.js';

const helpers = x86Helpers();
const lifter = x86Lifter(helpers, CpuModel.parse('max'));
const KERNEL64 = Mode.CODE64 | Mode.CPL0 | Mode.CSFLAT | Mode.FLAT | Mode.SSE;
const KERNEL32 = Mode.CODE32 | Mode.CPL0 | Mode.CSFLAT | Mode.FLAT | Mode.SS32 | Mode.SSE;
const USER64 = Mode.CODE64 | Mode.USER | Mode.CSFLAT | Mode.FLAT | Mode.SSE;

/** Bytes, with null where the four bytes of the field are; mode; how the value makes an address in RAM is up to the registers. */
type Code = readonly (number | null)[];
const CASES: readonly [string, number, Code][] = [
  ['mov rax, imm', KERNEL64, [0x48, 0xc7, 0xc0, null]],
  ['mov qword [rsi], imm', KERNEL64, [0x48, 0xc7, 0x06, null]],
  ['add rax, imm', KERNEL64, [0x48, 0x05, null]],
  ['cmp rdi, imm', KERNEL64, [0x48, 0x81, 0xff, null]],
  ['test rdi, imm', KERNEL64, [0x48, 0xf7, 0xc7, null]],
  ['and qword [rsi], imm', KERNEL64, [0x48, 0x81, 0x26, null]],
  ['imul rax, rdi, imm', KERNEL64, [0x48, 0x69, 0xc7, null]],
  ['push imm', KERNEL64, [0x68, null]],
  ['lea rax, [rdi + disp]', KERNEL64, [0x48, 0x8d, 0x87, null]],
  ['lea eax, [rdi + disp]', KERNEL64, [0x8d, 0x87, null]],
  ['lea rax, [rcx * 8 + disp]', KERNEL64, [0x48, 0x8d, 0x04, 0xcd, null]],
  ['lea rax, [rdi + rcx * 8 + disp]', KERNEL64, [0x48, 0x8d, 0x84, 0xcf, null]],
  ['mov rax, [rdi + disp]', KERNEL64, [0x48, 0x8b, 0x87, null]],
  ['mov [rdi + disp], rax', KERNEL64, [0x48, 0x89, 0x87, null]],
  ['add [rdi + disp], rax', KERNEL64, [0x48, 0x01, 0x87, null]],
  ['mov rax, gs:[rdi + disp]', KERNEL64, [0x65, 0x48, 0x8b, 0x87, null]],
  ['mov rax, gs:[rip + disp]', KERNEL64, [0x65, 0x48, 0x8b, 0x05, null]],
  ['mov rax, [rdi + disp]; lea rcx, [rax + 8]', KERNEL64, [0x48, 0x8b, 0x87, null, 0x48, 0x8d, 0x48, 0x08]],
  ['mov rdx, imm; add rdx, rdi', KERNEL64, [0x48, 0xc7, 0xc2, null, 0x48, 0x01, 0xfa]],
  ['mov eax, imm', KERNEL32, [0xb8, null]],
  ['mov eax, [disp + edi]', KERNEL32, [0x8b, 0x87, null]],
  ['mov [disp + ecx * 4], eax', KERNEL32, [0x89, 0x04, 0x8d, null]],
  ['push imm, 32-bit', KERNEL32, [0x68, null]],
];
const VALUES = [0x8000_1200 | 0, 0x8760_1200 | 0, 0xb5a0_1230 | 0, 0x4a1e_1238];

function bytesOf(code: Code, value: number): Uint8Array {
  return Uint8Array.from(code.flatMap((b) => (b === null ? [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24] : [b])));
}

function lift(cpu: FakeCpu, bytes: Uint8Array, mode: number, symbolic: boolean): IrBuilder {
  const ir = new IrBuilder(cpu.pool);
  ir.symbolic = symbolic;
  ir.begin();
  const buf = new Uint8Array(64).fill(0xf4);
  buf.set(bytes);
  // The block ends with the bytes.
  lifter.lift({ buf, pos: 0, end: bytes.length, offset: 0x100 }, mode, ir, 64);
  verifyIr(ir);
  runPasses(ir, helpers as never);
  verifyIr(ir, { precise: false });
  return ir;
}

/** Runs with registers for which addresses made of `value` lie in RAM. @returns all that can be seen */
function run(cpu: FakeCpu, ir: IrBuilder, mode: number, value: number): string {
  const is32 = mode === KERNEL32;
  const wrap = (v: bigint): bigint => (is32 ? BigInt.asUintN(32, v) : BigInt.asUintN(64, v));
  const v = BigInt(value);
  for (let r = 0; r < 16; r++) cpu.set(Slot.GPR + r, wrap(0x1111_0000_0000n * BigInt(r) + 0x77n));
  cpu.set(X.RDI, wrap(0x2000n - v));
  cpu.set(X.RSI, 0x3000n);
  cpu.set(X.RSP, 0x5000n);
  // disp + index * scale
  cpu.set(X.RCX, is32 ? wrap((0x1_0000_0000n + 0x2400n - BigInt.asUintN(32, v)) / 4n) : 0x40n);
  cpu.set(Slot.PCBASE, 0x40_0000n);
  cpu.set(X.SEGBASE + Seg.GS, ir.insns === 1 ? wrap(0x2100n - v - 0x40_0000n) : 0n);
  cpu.setFlags(0);
  for (let i = 0; i < 0x6000; i++) cpu.map.ram8[i] = i * 7;
  cpu.log.length = 0;
  let fault = '';
  try {
    new Interpreter().runBlock(cpu, compileForInterp(ir, { mask32: is32 }));
  } catch (e) {
    fault = (e as Error).message;
  }
  const regs = Array.from({ length: 16 }, (_, r) => cpu.get(Slot.GPR + r).toString(16));
  return JSON.stringify({ fault, regs, flags: cpu.V[0]! & 0xffff, pc: cpu.get(Slot.PC).toString(16), log: cpu.log, ram: Buffer.from(cpu.map.ram8.subarray(0, 0x6000)).toString('base64') });
}

describe('symbols', () => {
  describe.each(CASES)('%s', (_name, mode, code) => {
    it.each(VALUES)('with %i', (value) => {
      const [a, b] = [fakeCpu(), fakeCpu()];
      const symbolic = lift(a, bytesOf(code, value), mode, true);
      expect(symbolic.symbolN).toBe(1);
      expect(symbolic.symbolAt[0]).toBe(code.indexOf(null));
      expect(a.pool.symbolValue(symbolic.symbolSlot[0]!)).toBe(value);
      expect(run(a, symbolic, mode, value)).toBe(run(b, lift(b, bytesOf(code, value), mode, false), mode, value));
      for (const other of VALUES) {
        const s = symbolic.symbolSlot[0]!;
        a.V[s * 2] = other;
        a.V[s * 2 + 1] = other >> 31;
        const c = fakeCpu();
        expect(run(a, symbolic, mode, other)).toBe(run(c, lift(c, bytesOf(code, other), mode, false), mode, other));
      }
    });
  });

  it('are made in kernel code only, of 32-bit fields that look like addresses', () => {
    const count = (mode: number, bytes: number[]): number => lift(fakeCpu(), Uint8Array.from(bytes), mode, true).symbolN;
    const mov = [0x48, 0xc7, 0xc0, 0, 0, 0, 0x81];
    expect(count(KERNEL64, mov)).toBe(1);
    expect(count(USER64, mov)).toBe(0);
    // mov eax, imm32; mov rax, 1000; lea rax, [rip + disp]; pop [rsp + disp]
    expect(count(KERNEL64, [0xb8, 0, 0, 0, 0x81])).toBe(0);
    expect(count(KERNEL64, [0x48, 0xc7, 0xc0, 0xe8, 3, 0, 0])).toBe(0);
    expect(count(KERNEL64, [0x48, 0x8d, 0x05, 0, 0, 0, 0x81])).toBe(0);
    expect(count(KERNEL64, [0x8f, 0x84, 0x24, 0, 0, 0, 0x81])).toBe(0);
    expect([0x2000_0000, 0x1fff_ffff, -0x2000_0000, -0x2000_0001].map(looksLikeAddress)).toEqual([true, false, false, true]);
  });

  it('with a full pool become constants', () => {
    const cpu = fakeCpu();
    for (let i = 0; cpu.pool.symbol(0x4000_0000 + i) >= 0; i++);
    const ir = lift(cpu, bytesOf([0x48, 0xc7, 0xc0, null], VALUES[0]!), KERNEL64, true);
    expect(ir.symbolN).toBe(0);
    cpu.pool.reset();
    expect(cpu.pool.symbol(1)).toBe(Slot.SYMBOL);
  });
});
