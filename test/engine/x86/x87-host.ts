/** Runs x87 code natively and the same operation through the helpers, for comparison. */
import { VmxError } from '#lib/errors.js';
import { HelperRegistry } from '#lib/engine/helpers.js';
import type { HelperFn } from '#lib/engine/helpers.js';
import type { PhysicalMap } from '#lib/engine/cpu.js';
import { NONE, STATE_BYTES, Slot } from '#lib/engine/state.js';
import { defineFpuTraps, defineMmx, defineX87Helpers } from '#lib/engine/guest/x86/x87/helpers.js';
import type { X87Cpu } from '#lib/engine/guest/x86/x87/helpers.js';
import { Mode } from '#lib/engine/guest/x86/mode.js';
import { loadNative } from '#lib/native.js';
import type { NativeContext, NativeExec, NativeMemory } from '#lib/native.js';

/** Deterministic 32-bit generator (xorshift). */
export function rng(seed: number): () => number {
  let x = seed | 0;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

export class Fault extends Error {
  constructor(readonly vector: number, readonly code: number | undefined) {
    super(`exception ${vector}`);
  }
}

/** A CPU with 64 KiB of identity-mapped memory and nothing else. */
export class TestCpu implements X87Cpu {
  readonly V: Int32Array;
  readonly U8: Uint8Array;
  readonly memory = new Uint8Array(0x10000);
  readonly data = new DataView(this.memory.buffer);
  mode: number = Mode.CODE64 | Mode.CSFLAT | Mode.FLAT | Mode.CPL0;
  mmuIdx = 0;
  cr0 = 0x20;
  cr4 = 0x40600;
  xcr0 = 7;
  ferrCount = 0;
  ignne = false;
  modeUpdates = 0;
  /** Addresses from here on fault. */
  limit = 0x10000;
  readonly map = {} as PhysicalMap;
  readonly registry = new HelperRegistry<TestCpu>();

  constructor(buffer: ArrayBuffer = new ArrayBuffer(STATE_BYTES)) {
    this.V = new Int32Array(buffer);
    this.U8 = new Uint8Array(buffer);
    defineX87Helpers(this.registry);
    defineMmx(this.registry);
    defineFpuTraps(this.registry);
  }
  raise(vector: number): never {
    throw new Fault(vector, undefined);
  }
  raiseError(vector: number, errorCode: number): never {
    throw new Fault(vector, errorCode);
  }
  load(w: number, addr: number, dst: number, acc: number): void {
    const a = this.V[addr * 2]! >>> 0;
    void acc;
    if (a + (1 << w) > this.limit) this.raiseError(14, acc);
    this.V[dst * 2] = w === 0 ? this.data.getUint8(a) : w === 1 ? this.data.getUint16(a, true) : this.data.getInt32(a, true);
    this.V[dst * 2 + 1] = w === 3 ? this.data.getInt32(a + 4, true) : 0;
  }
  store(w: number, addr: number, val: number): void {
    const a = this.V[addr * 2]! >>> 0;
    if (a + (1 << w) > this.limit) this.raise(14);
    const lo = this.V[val * 2]!;
    if (w === 0) this.data.setUint8(a, lo);
    else if (w === 1) this.data.setUint16(a, lo, true);
    else this.data.setInt32(a, lo, true);
    if (w === 3) this.data.setInt32(a + 4, this.V[val * 2 + 1]!, true);
  }
  ferr(): boolean {
    this.ferrCount++;
    return this.ignne;
  }
  updateMode(): void {
    this.modeUpdates++;
  }
  fn(name: string): HelperFn<TestCpu> {
    return this.registry.list[this.registry.id(name)]!.fn;
  }
  call(name: string, o: { dst?: number; a?: number; b?: number; c?: number; imm?: number } = {}): number {
    return this.fn(name)(this, o.dst ?? NONE, o.a ?? NONE, o.b ?? NONE, o.c ?? NONE, o.imm ?? 0);
  }
  setSlot(s: number, v: bigint): void {
    this.V[s * 2] = Number(BigInt.asIntN(32, v));
    this.V[s * 2 + 1] = Number(BigInt.asIntN(32, v >> 32n));
  }
  slot(s: number): bigint {
    return (BigInt(this.V[s * 2 + 1]! >>> 0) << 32n) | BigInt(this.V[s * 2]! >>> 0);
  }
}

/** Byte offsets in the state region that native test code uses (temporaries' slots). */
const FCW = 0x2000;
const STACK = 0x2010;
const MEM = 0x2100;
const SAVE = 0x2200;
const RFLAGS = 0x2300;
const RESULT16 = 0x2310;

export interface NativeX87 {
  /** Prepares code that loads `depth` registers and then executes `op`; bytes at an `M` in op are the disp32 of the memory operand. */
  prepare(depth: number, op: readonly (number | 'M')[]): void;
  /** Runs it. stack[0] is ST(0). */
  run(fcw: number, stack: readonly bigint[], mem: bigint): X87Image;
}

export interface X87Image {
  fcw: number;
  fsw: number;
  tag: number;
  regs: bigint[];
  mem: bigint;
  rflags: number;
}

/** The host's x87, or undefined where there is no addon or the host is not x86-64. */
export function nativeX87(): NativeX87 | undefined {
  if (process.arch !== 'x64') return undefined;
  let state: NativeMemory;
  let exec: NativeExec;
  let context: NativeContext;
  try {
    const n = loadNative();
    state = n.allocState(STATE_BYTES);
    exec = n.allocExec(4096);
    context = n.createContext(state, exec);
  } catch (e) {
    if (e instanceof VmxError) return undefined;
    throw e;
  }
  const code = new Uint8Array(exec.buffer);
  const view = new DataView(state.buffer);
  const put80 = (at: number, v: bigint): void => {
    view.setBigUint64(at, BigInt.asUintN(64, v), true);
    view.setUint16(at + 8, Number(v >> 64n), true);
  };
  const get80 = (at: number): bigint => (BigInt(view.getUint16(at + 8, true)) << 64n) | view.getBigUint64(at, true);
  const disp = (d: number): number[] => [d & 0xff, (d >> 8) & 0xff, 0, 0];
  let depth = 0;
  return {
    prepare(n, op) {
      depth = n;
      const c: number[] = [0xdb, 0xe3, 0xd9, 0xaf, ...disp(FCW)];
      for (let i = n - 1; i >= 0; i--) c.push(0xdb, 0xaf, ...disp(STACK + 16 * i));
      c.push(0xdb, 0xe2);
      // cmp with 0x80..: sets OF and SF-independent flags to a known pattern: xor eax,eax; sub al,1 -> CF SF AF PF
      c.push(0x31, 0xc0, 0x2c, 0x01);
      for (const b of op) c.push(...(b === 'M' ? disp(MEM) : [b]));
      c.push(0x9c, 0x8f, 0x87, ...disp(RFLAGS));
      c.push(0xdd, 0xb7, ...disp(SAVE), 0xc3);
      code.set(c);
    },
    run(fcw, stack, mem) {
      view.setUint16(FCW, fcw, true);
      for (let i = 0; i < depth; i++) put80(STACK + 16 * i, stack[i]!);
      put80(MEM, mem);
      view.setUint16(RESULT16, 0, true);
      context.run(exec.address);
      const regs: bigint[] = [];
      for (let i = 0; i < 8; i++) regs.push(get80(SAVE + 28 + 10 * i));
      return {
        fcw: view.getUint16(SAVE, true),
        fsw: view.getUint16(SAVE + 4, true),
        tag: view.getUint16(SAVE + 8, true),
        regs,
        mem: get80(MEM),
        rflags: Number(view.getBigUint64(RFLAGS, true) & 0x8d5n),
      };
    },
  };
}

/** Slots and addresses of operands for the helpers. */
export const T_VALUE = 900;
export const T_ADDR = 902;
const MEM_ADDR = 0x1000;
const SAVE_ADDR = 0x2000;

/** Sets the stack as `NativeX87.run` does, calls the helper, and saves everything with FNSAVE. */
export function emulate(cpu: TestCpu, helper: string, imm: number, fcw: number, stack: readonly bigint[], depth: number, mem: bigint): X87Image {
  cpu.call('x87.fninit');
  cpu.setSlot(T_VALUE, BigInt(fcw));
  cpu.call('x87.fldcw', { a: T_VALUE });
  cpu.V.fill(0, Slot.X87 * 2, (Slot.X87 + 16) * 2);
  const put80 = (v: bigint): void => {
    cpu.data.setBigUint64(MEM_ADDR, BigInt.asUintN(64, v), true);
    cpu.data.setUint16(MEM_ADDR + 8, Number(v >> 64n), true);
  };
  cpu.setSlot(T_ADDR, BigInt(MEM_ADDR));
  for (let i = depth - 1; i >= 0; i--) {
    put80(stack[i]!);
    cpu.call('x87.fld.f80', { a: T_ADDR, c: T_ADDR });
  }
  cpu.call('x87.fnclex');
  // CF SF AF PF as after 0 - 1
  cpu.V[Slot.FLAGS * 2] = 0x9700;
  put80(mem);
  cpu.call(helper, { a: T_ADDR, c: T_ADDR, imm });
  const f = cpu.V[Slot.FLAGS * 2]!;
  cpu.setSlot(T_ADDR, BigInt(SAVE_ADDR));
  cpu.call('x87.fnsave', { a: T_ADDR, imm: 1 });
  const d = cpu.data;
  const get80 = (at: number): bigint => (BigInt(d.getUint16(at + 8, true)) << 64n) | d.getBigUint64(at, true);
  const regs: bigint[] = [];
  for (let i = 0; i < 8; i++) regs.push(get80(SAVE_ADDR + 28 + 10 * i));
  return {
    fcw: d.getUint16(SAVE_ADDR, true),
    fsw: d.getUint16(SAVE_ADDR + 4, true),
    tag: d.getUint16(SAVE_ADDR + 8, true),
    regs,
    mem: get80(MEM_ADDR),
    rflags: ((f >>> 8) & 0xd5) | ((f & 1) << 11),
  };
}

const SIG_SPECIAL = [1n << 63n, (1n << 64n) - 1n, (1n << 63n) | 1n, (1n << 63n) | 0x7ffn, (1n << 63n) | 0x400n, (1n << 63n) | 0xff_ffff_ffffn,
  (1n << 63n) | 0x80_0000_0000n, 3n << 62n, 1n, 0n, 0x4000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn];
const EXP_SPECIAL = [0, 1, 2, 0x7fff, 0x7ffe, 0x7ffd, 16383, 16384, 16383 + 31, 16383 + 62, 16383 + 63, 16383 + 64, 16383 - 126, 16383 - 127, 16383 - 1022,
  16383 - 1023, 16383 - 1074, 16383 - 149, 16383 + 127, 16383 + 128, 16383 + 1023, 16383 + 1024, 16383 + 59, 16383 + 14, 16383 + 15, 16382, 16381, 16383 - 64];

/** Random 80-bit patterns: specials, close exponents, full range, unsupported encodings now and then. */
export function random80(r: () => number): bigint {
  const k = r() & 15;
  const sign = BigInt(r() & 1) << 79n;
  let sig = k < 4 ? SIG_SPECIAL[r() % SIG_SPECIAL.length]! : (BigInt(r()) << 32n) | BigInt(r()) | (1n << 63n);
  if (k === 4) sig &= ~((1n << BigInt(r() % 63)) - 1n);
  if (k === 5) sig &= ~(1n << 63n);
  const e = (r() & 7) < 2 ? EXP_SPECIAL[r() % EXP_SPECIAL.length]! : (k & 1) === 0 ? 16383 - 40 + (r() % 80) : r() % 32768;
  // Most non-zero exponents get a proper integer bit.
  if (e !== 0 && (r() & 15) !== 0) sig |= 1n << 63n;
  return sign | (BigInt(e) << 64n) | sig;
}

export function random64(r: () => number): bigint {
  const e = BigInt([0, 0x7ff, 1, 0x7fe, 1023, r() % 2048, 1000 + (r() % 60)][r() % 7]!);
  return (BigInt(r() & 1) << 63n) | (e << 52n) | (((BigInt(r()) << 20n) ^ BigInt(r())) & ((1n << 52n) - 1n) & ((r() & 3) === 0 ? 0n : (1n << 52n) - 1n));
}

export function random32(r: () => number): bigint {
  const e = [0, 0xff, 1, 0xfe, 127, r() % 256, 110 + (r() % 40)][r() % 7]!;
  return BigInt((((r() & 1) << 31) | (e << 23) | ((r() & 3) === 0 ? 0 : r() & 0x7fffff)) >>> 0);
}

export function show(i: X87Image, depth = 2): string {
  const regs = i.regs.slice(0, depth).map((v) => v.toString(16).padStart(20, '0')).join(' ');
  return `fsw ${i.fsw.toString(16)} tag ${i.tag.toString(16)} st ${regs} mem ${i.mem.toString(16)} flags ${i.rflags.toString(16)}`;
}
