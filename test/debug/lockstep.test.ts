/** Lockstep: agrees on correct code, and finds what is broken on purpose. */
import { describe, expect, it } from 'vitest';
import { VmxError } from '#lib/index.js';
import type { GuestCpu } from '#lib/engine/cpu.js';
import { BlockText } from '#lib/engine/debug/block-text.js';
import { Lockstep } from '#lib/engine/debug/lockstep.js';
import { X86Cpu } from '#lib/engine/guest/x86/cpu.js';
import { CpuModel } from '#lib/engine/guest/x86/cpuid.js';
import { x86Helpers, x86Lifter } from '#lib/engine/guest/x86/guest.js';
import { Mode, X } from '#lib/engine/guest/x86/mode.js';
import { describeMode, x86SlotName } from '#lib/engine/guest/x86/names.js';
import { X64Host } from '#lib/engine/host/x64/host.js';
import { F, Op, REC } from '#lib/engine/ir/ops.js';
import type { IrBuilder } from '#lib/engine/ir/builder.js';
import type { Block } from '#lib/engine/jit/block.js';
import { Engine, SliceEnd } from '#lib/engine/jit/engine.js';
import { STATE_BYTES } from '#lib/engine/state.js';
import { startCpu } from '#lib/machine/start.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { loadNative } from '#lib/native.js';
import { canRun } from '../engine/x64/jit.js';

const RAM = 0x10_0000;
const CODE = 0x1000;

/** A back end whose input is tampered with. */
class BrokenHost extends X64Host {
  sabotage: (ir: IrBuilder) => void = () => undefined;
  override compile(ir: IrBuilder, cpu: GuestCpu, block: Block, mask32: boolean, nativeFp: boolean): readonly number[] {
    this.sabotage(ir);
    return super.compile(ir, cpu, block, mask32, nativeFp);
  }
}

interface Rig {
  cpu: X86Cpu;
  lockstep: Lockstep;
  memory: PhysicalMemory;
  run: () => SliceEnd;
}

/** 32-bit code without paging that ends with HLT, under lockstep. */
function rig(code: readonly number[], sabotage?: (ir: IrBuilder) => void): Rig {
  const native = loadNative();
  const ram = native.allocRam(RAM);
  const memory = new PhysicalMemory(ram.buffer, ram.address);
  memory.mapRam(0, RAM, 0);
  const exec = native.allocExec(4 << 20);
  const state = native.allocState(STATE_BYTES);
  const context = native.createContext(state, exec);
  const model = CpuModel.parse('max');
  const helpers = x86Helpers();
  let t = 0;
  const cpu = new X86Cpu({
    index: 0, state, map: memory, ports: memory, model, helpers, lifter: x86Lifter(helpers, model),
    intc: { pending: () => false, acknowledge: () => -1, enabled: () => true, getCr8: () => 0, setCr8: () => undefined, readMsr: () => false, writeMsr: () => false },
    clock: { now: () => (t += 1000) },
  });
  const host = new BrokenHost(exec, [context], native.cpuFeatures());
  if (sabotage) host.sabotage = sabotage;
  const mask32 = (m: number): boolean => (m & Mode.CODE_MASK) !== Mode.CODE64;
  const engine = new Engine(memory, [cpu], { host, passes: {}, maxInsns: 64, stepBit: Mode.STEP, fpHelperBit: Mode.FP_UNMASKED, mask32 });
  const text = new BlockText(host, { passes: {}, slotName: x86SlotName, machine: () => 'i386', mode: describeMode });
  const lockstep = new Lockstep(host, [cpu], { describe: (c, b, bytes) => text.describe(c, b, BigInt(b.ram), bytes), slotName: (s) => x86SlotName(s) ?? `s${s}`, outside: [], mask32, every: 1 });
  engine.tool = lockstep;
  memory.writeFrom(CODE, Uint8Array.from(code));
  startCpu(cpu, { mode: 'protected32', rip: CODE, regs: { rsp: 0x8000 }, cr3: 0, cs: 8, ds: 16, gdt: { base: 0, limit: 0 } });
  return { cpu, lockstep, memory, run: () => engine.runSlice(cpu) };
}

/** Changes the first record of this op. */
const change = (op: Op, f: (ir: IrBuilder, p: number) => void) => (ir: IrBuilder): void => {
  for (let i = 0; i < ir.n; i++) {
    if ((ir.buf[i * REC]! & 0xff) === (op as number)) {
      f(ir, i * REC);
      return;
    }
  }
};
const setOp = (op: Op) => (ir: IrBuilder, p: number): void => {
  ir.buf[p] = (ir.buf[p]! & ~0xff) | op;
};

function failure(r: Rig): VmxError {
  try {
    r.run();
  } catch (e) {
    if (e instanceof VmxError) return e;
    throw e;
  }
  throw new Error('no difference was found');
}

// mov eax,5; add eax,7; mov [2000h],eax; push eax; pop ecx; imul ecx,ecx,3; hlt
const PROGRAM = [0xb8, 5, 0, 0, 0, 0x83, 0xc0, 7, 0xa3, 0, 0x20, 0, 0, 0x50, 0x59, 0x6b, 0xc9, 3, 0xf4];

describe.skipIf(!canRun)('lockstep', () => {
  it('runs correct code, and does stores once', () => {
    const r = rig(PROGRAM);
    expect(r.run()).toBe(SliceEnd.HALTED);
    expect(r.cpu.V[X.RCX * 2]).toBe(36);
    expect(r.memory.ramView.getUint32(0x2000, true)).toBe(12);
    expect(r.lockstep.stats.blocks).toBe(1);
    expect(r.lockstep.stats.events).toBeGreaterThanOrEqual(4);
  });

  it('calls helpers with effects once', () => {
    // rdtsc; mov ebx,eax; rdtsc; sub eax,ebx; hlt: the clock moves by 1000 ns per reading
    const r = rig([0x0f, 0x31, 0x89, 0xc3, 0x0f, 0x31, 0x29, 0xd8, 0xf4]);
    expect(r.run()).toBe(SliceEnd.HALTED);
    expect(r.cpu.V[X.RAX * 2]).toBe(1000);
  });

  it('keeps a restarted instruction out of the comparison', () => {
    // mov byte [1010h],0x41 changes the instruction at 1010h of its own block (inc edx to inc ecx); nops; inc edx; hlt
    const r = rig([0xc6, 0x05, 0x10, 0x10, 0, 0, 0x41, ...new Array<number>(9).fill(0x90), 0x42, 0xf4]);
    expect(r.run()).toBe(SliceEnd.HALTED);
    expect(r.cpu.V[X.RCX * 2]).toBe(1);
  });

  it('masks flags that the instruction set leaves undefined', () => {
    // mov eax,-1; imul eax,eax,3; pushf; pop edx; and edx,1; hlt
    const r = rig([0xb8, 0xff, 0xff, 0xff, 0xff, 0x6b, 0xc0, 3, 0x9c, 0x5a, 0x83, 0xe2, 1, 0xf4]);
    expect(r.run()).toBe(SliceEnd.HALTED);
    expect(r.cpu.V[X.RDX * 2]).toBe(0);
  });

  it('finds a wrong result and reports the block', () => {
    const e = failure(rig(PROGRAM, change(Op.ADD, setOp(Op.SUB))));
    expect(e.code).toBe('ERR_LOCKSTEP');
    expect(e.message).toMatch(/rax is 0x00000000_fffffffe, not 0x00000000_0000000c/);
    expect(e.message).toMatch(/block at 0x00000000_00001000/);
    expect(e.message).toContain('guest code at 0x1000');
    expect(e.message).toContain('b8 05 00 00 00');
    expect(e.message).toContain('IR as lifted:');
    expect(e.message).toContain('IR after the passes:');
    expect(e.message).toMatch(/host code at 0x[0-9a-f]+, \d+ bytes/);
  });

  it('finds a wrong address, value, flag and target', () => {
    const other = (field: F) => (ir: IrBuilder, p: number): void => {
      ir.buf[p + field] = ir.k(0x3000);
    };
    expect(failure(rig(PROGRAM, change(Op.ST, other(F.A)))).message).toMatch(/store.*address 0x00000000_00003000, not 0x00000000_00002000/);
    expect(failure(rig(PROGRAM, change(Op.ST, other(F.B)))).message).toMatch(/store.*value 0x00000000_00003000, not 0x00000000_0000000c/);
    // add eax,-5; jz +1; hlt; nop; hlt
    const branch = [0xb8, 5, 0, 0, 0, 0x83, 0xc0, 0xfb, 0x74, 1, 0xf4, 0x90, 0xf4];
    expect(rig(branch).run()).toBe(SliceEnd.HALTED);
    expect(failure(rig(branch, change(Op.ADD, (ir, p) => (ir.buf[p]! &= ~(8 << 16))))).message).toMatch(/PC is 0x00000000_0000100a, not 0x00000000_0000100b/);
    expect(failure(rig(branch, change(Op.JCC, (ir, p) => (ir.buf[p + F.IMM]! += 1)))).message).toMatch(/PC is/);
  });

  it('a helper that changes the mode ends the block in both', () => {
    // fninit (exceptions are unmasked before); fnstcw [0x2000]; hlt
    const r = rig([0xdb, 0xe3, 0xd9, 0x3d, 0x00, 0x20, 0, 0, 0xf4]);
    expect(r.cpu.mode & Mode.FP_UNMASKED).not.toBe(0);
    expect(r.run()).toBe(SliceEnd.HALTED);
    expect(r.cpu.mode & Mode.FP_UNMASKED).toBe(0);
  });

  it('finds a lost and an extra memory access', () => {
    expect(failure(rig(PROGRAM, change(Op.ST, setOp(Op.NOP)))).message).toMatch(/event 0/);
    expect(failure(rig([0x90, 0x40, 0xf4], change(Op.INC, (ir, p) => {
      ir.buf[p] = Op.LD | (2 << 8);
      ir.buf[p + F.A] = ir.k(0x2000);
      ir.buf[p + F.C] = 0;
    }))).message).toMatch(/one more load|generated code does a load/);
  });
});
