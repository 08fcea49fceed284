/**
 * Every opcode row of the vector instructions: an instruction made from the row runs on the host CPU and, decoded, lifted and
 * interpreted, on the emulated state; registers, flags, MXCSR, memory and faults must agree.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { GuestCpu } from '#lib/engine/cpu.js';
import { HELPER_SPECS } from '#lib/engine/guest/x86/helper-names.js';
import { X86Lifter } from '#lib/engine/guest/x86/lifter.js';
import { Mode, X, gpr, mmx, xmm } from '#lib/engine/guest/x86/mode.js';
import { Imm, Mod, OpcodeTable, P, type Row } from '#lib/engine/guest/x86/opcodes.js';
import { INTEGER_ROWS } from '#lib/engine/guest/x86/tables.js';
import { defineVectorOps } from '#lib/engine/guest/x86/vector/index.js';
import type { VectorSystemCpu } from '#lib/engine/guest/x86/vector/index.js';
import { VECTOR_ROWS } from '#lib/engine/guest/x86/vector/table.js';
import { HelperRegistry, HelperResult } from '#lib/engine/helpers.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { runPasses } from '#lib/engine/ir/passes.js';
import { STATE_BYTES, Slot, TLB_BASE, eflagsToFlags, flagsToEflags } from '#lib/engine/state.js';
import { loadNative } from '#lib/native.js';
import { random } from './vector-host.js';

const linuxX64 = process.platform === 'linux' && process.arch === 'x64';
const CASES = Number(process.env['VMX_VECTOR_INSN_CASES'] ?? 24);
const native = loadNative();
const features = new Set(native.cpuFeatures());
if (features.has('pni')) features.add('sse3');
const usable = linuxX64 && features.has('avx');

/** Scratch memory of the instructions, in the unused part of the state region. */
const MEMORY = 0xc0000;
const MEM_BYTES = 1024;
const EFLAGS_SLOT = 210;
const SAVED_MXCSR = 211;
/** Registers an instruction may name: not RSP, not R12 (needs SIB), not R13 (the state pointer). */
const REGS = [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 15];

class Fault extends Error {
  constructor(readonly signal: number) {
    super(`signal ${signal}`);
  }
}

class Machine {
  readonly state = native.allocState(STATE_BYTES);
  readonly exec = native.allocExec(1 << 20);
  readonly context = native.createContext(this.state, this.exec);
  readonly V = new Int32Array(this.state.buffer);
  readonly U8 = new Uint8Array(this.state.buffer);
  private readonly Q = new BigUint64Array(this.state.buffer);
  private readonly code = new Uint8Array(this.exec.buffer);
  private used = 0;
  readonly registry = new HelperRegistry<VectorSystemCpu>();
  readonly pool = new ConstPool();
  readonly builder = new IrBuilder(this.pool);
  readonly lifter: X86Lifter;
  readonly interpreter = new Interpreter();
  readonly cpu: GuestCpu;

  constructor() {
    for (const s of HELPER_SPECS) {
      this.registry.define(s.name, () => {
        // The access itself follows and faults here.
        if (s.name === 'x86.probe') return HelperResult.CONTINUE;
        throw new Fault(s.name === 'x86.ud' ? 4 : s.name === 'x86.gp0' ? 11 : 99);
      });
    }
    defineVectorOps(this.registry);
    this.lifter = new X86Lifter(this.registry as never, features, new OpcodeTable([...INTEGER_ROWS, ...VECTOR_ROWS]));
    this.pool.attach(this.V);
    this.V.fill(-1, TLB_BASE >> 2, (TLB_BASE >> 2) + 0x20000);
    const fault = (signal: number) => (): never => {
      throw new Fault(signal);
    };
    const at = (slot: number, bytes: number): number => {
      const x = Number(this.Q[slot]! - BigInt(this.state.address));
      if (!(x >= 0 && x + bytes <= STATE_BYTES)) throw new Fault(11);
      return x;
    };
    const copy = (to: number, from: number, n: number): void => void this.U8.copyWithin(to, from, from + n);
    const raise = (vector: number): never => {
      throw new Fault(vector === 13 ? 11 : vector === 19 ? 8 : 4);
    };
    const vectorCpu: VectorSystemCpu = {
      V: this.V, U8: this.U8, raise, raiseError: raise, raiseSimd: () => raise(19), mxcsrChanged: () => undefined,
      load: (w, addr, dst) => {
        const x = at(addr, 1 << w);
        this.Q[dst] = 0n;
        copy(dst * 8, x, 1 << w);
      },
      store: (w, addr, val) => copy(at(addr, 1 << w), val * 8, 1 << w),
      segmentCheck: () => undefined,
    };
    this.cpu = {
      ...vectorCpu,
      mmuIdx: 0,
      helpers: this.registry,
      map: { ram8: new Uint8Array(8), ram32: new Int32Array(2), ramView: new DataView(new ArrayBuffer(8)) },
      loadVec: (w: number, addr: number, dst: number) => {
        const x = at(addr, 1 << w);
        this.U8.fill(0, dst * 8, dst * 8 + 16);
        copy(dst * 8, x, 1 << w);
      },
      storeVec: (w: number, addr: number, val: number) => copy(at(addr, 1 << w), val * 8, 1 << w),
      alignmentFault: fault(11),
    } as unknown as GuestCpu;
    this.V[SAVED_MXCSR * 2] = 0x1f80;
  }

  /** Code that loads the registers, runs `bytes` and stores the registers. Returns [entry, abort]. */
  assemble(bytes: readonly number[]): [number, number] {
    const out: number[] = [0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x49, 0x89, 0xfd];
    const d32 = (slot: number): number[] => [(slot * 8) & 0xff, ((slot * 8) >> 8) & 0xff, ((slot * 8) >> 16) & 0xff, 0];
    const registers = (store: boolean): void => {
      for (let r = 0; r < 16; r++) out.push(0xc4, (r < 8 ? 0x80 : 0) | 0x41, 0x7e, store ? 0x7f : 0x6f, 0x85 | ((r & 7) << 3), ...d32(xmm(r)));
      for (let r = 0; r < 8; r++) out.push(0x41, 0x0f, store ? 0x7f : 0x6f, 0x85 | (r << 3), ...d32(mmx(r)));
      for (let r = 0; r < 16; r++) if (r !== 4 && r !== 13) out.push(0x49 | (r > 7 ? 4 : 0), store ? 0x89 : 0x8b, 0x85 | ((r & 7) << 3), ...d32(gpr(r)));
    };
    registers(false);
    out.push(0x41, 0x0f, 0xae, 0x95, ...d32(Slot.MXCSR), 0x41, 0xff, 0xb5, ...d32(EFLAGS_SLOT), 0x9d);
    out.push(...bytes);
    const abort = out.length;
    out.push(0x9c, 0x41, 0x8f, 0x85, ...d32(EFLAGS_SLOT), 0x41, 0x0f, 0xae, 0x9d, ...d32(Slot.MXCSR), 0x41, 0x0f, 0xae, 0x95, ...d32(SAVED_MXCSR));
    registers(true);
    out.push(0x0f, 0x77, 0xc5, 0xf8, 0x77, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0x31, 0xc0, 0xc3);
    if (this.used + out.length > this.code.length) this.used = 0;
    const base = this.used;
    this.code.set(out, base);
    this.used = (base + out.length + 63) & ~63;
    return [this.exec.address + base, this.exec.address + base + abort];
  }

  /** @returns the signal, or 0. */
  runHost(bytes: readonly number[]): number {
    const [entry, abort] = this.assemble(bytes);
    this.Q[Slot.X_ABORT] = BigInt(abort);
    this.Q[Slot.X_AUX] = 0n;
    this.context.run(entry);
    return this.V[Slot.X_AUX * 2]!;
  }

  runGuest(bytes: readonly number[], passes: boolean): number {
    const b = this.builder;
    if (this.pool.nearlyFull) this.pool.reset();
    const buf = Uint8Array.from([...bytes, ...Array<number>(16).fill(0x90)]);
    this.lifter.lift({ buf, pos: 0, end: buf.length, offset: 0 }, Mode.CODE64 | Mode.CSFLAT | Mode.FLAT | Mode.LONG | Mode.USER | Mode.SSE | Mode.AVX, b, 1);
    verifyIr(b);
    if (passes) runPasses(b, this.registry as never);
    const block = compileForInterp(b);
    try {
      this.interpreter.runBlock(this.cpu, block);
    } catch (e) {
      if (e instanceof Fault) return e.signal;
      throw e;
    }
    return 0;
  }

  snapshot(): Uint8Array[] {
    return [this.U8.slice(Slot.GPR * 8, (Slot.GPR + 16) * 8), this.U8.slice(Slot.VEC * 8, xmm(16) * 8), this.U8.slice(Slot.X87 * 8, mmx(8) * 8), this.U8.slice(MEMORY, MEMORY + MEM_BYTES)];
  }
}

const pick = <T>(next: () => number, list: readonly T[]): T => list[next() % list.length]!;

/** An encoding of the row. */
function encode(r: Row, next: () => number, memory: boolean): number[] {
  const gather = r.name.includes('gather');
  const reg = r.digit >= 0 ? r.digit : pick(next, REGS);
  const rm = pick(next, REGS);
  const R = reg >> 3;
  const B = memory ? 0 : rm >> 3;
  const tail: number[] = [r.opcode];
  let X = 0;
  if (r.modrm) {
    if (gather) {
      const index = pick(next, REGS);
      X = index >> 3;
      tail.push(0x44 | ((reg & 7) << 3), ((next() & 3) << 6) | ((index & 7) << 3) | 6, 16);
    } else if (memory) tail.push(0x46 | ((reg & 7) << 3), 32);
    else tail.push(0xc0 | ((reg & 7) << 3) | (rm & 7));
  }
  if (r.imm === Imm.IB) tail.push(next() % 3 ? next() & 0xff : next() & 7);
  const pp = r.p === P.P66 ? 1 : r.p === P.F3 ? 2 : r.p === P.F2 ? 3 : 0;
  if (r.vex) {
    const l = r.l === 2 ? next() & 1 : r.l;
    const w = r.w === 2 ? next() & 1 : r.w;
    const v = r.noVvvv ? 0 : pick(next, REGS);
    return [0xc4, ((R ^ 1) << 7) | ((X ^ 1) << 6) | ((B ^ 1) << 5) | r.map, (w << 7) | ((~v & 15) << 3) | (l << 2) | pp, ...tail];
  }
  const rex = (next() & 1) << 3 | (R << 2) | B;
  return [...[[], [0x66], [0xf3], [0xf2]][pp]!, ...(rex ? [0x40 | rex] : []), 0x0f, ...[[], [], [0x38], [0x3a]][r.map]!, ...tail];
}

const FLOATS = [0, -0x80000000, 0x3f800000, -0x40800000, 0x7f800000, 0x7fc00000, 0x7fa00000, 1, 0x00800000, 0x4f000000, 0x41200000, 0x40490fdb];

function fillState(m: Machine, next: () => number, r: Row): void {
  const { V } = m;
  for (let i = Slot.VEC * 2; i < xmm(16) * 2; i++) V[i] = next() % 3 ? next() : pick(next, FLOATS);
  for (let i = 0; i < 8; i++) {
    V[mmx(i) * 2] = next();
    V[mmx(i) * 2 + 1] = next();
    V[(mmx(i) + 1) * 2] = 0;
  }
  for (let i = 0; i < 16; i++) {
    V[gpr(i) * 2] = next() % 2 ? next() : (next() % 40) - 20;
    V[gpr(i) * 2 + 1] = next() % 2 ? 0 : next();
  }
  for (let i = 0; i < MEM_BYTES >> 2; i++) V[(MEMORY >> 2) + i] = next() % 3 ? next() : pick(next, FLOATS);
  if (r.name.endsWith('ldmxcsr') && next() & 1) V[(MEMORY + 96) >> 2]! &= 0xffff;
  if (r.name.startsWith('pcmp') && r.map === 3) {
    for (let i = 0; i < 16; i++) for (let k = 0; k < 4; k++) V[xmm(i) * 2 + k] = (next() & 0x03010201) | (next() & 1 ? 0x01000100 : 0x01010101);
  }
  if (r.name.includes('gather')) {
    for (let i = 0; i < 16; i++) for (let k = 0; k < 8; k++) V[xmm(i) * 2 + k] = (k & 1) === 0 ? next() & 0x3f : 0;
  }
  V[Slot.MXCSR * 2] = 0x1f80 | (next() & 0x6000) | (next() % 4 ? 0 : 0x8040);
  V[EFLAGS_SLOT * 2] = 0x202 | (next() & 0x8d5);
  V[EFLAGS_SLOT * 2 + 1] = 0;
  V[Slot.FLAGS * 2] = eflagsToFlags(V[EFLAGS_SLOT * 2]!);
  V[Slot.FLAGS * 2 + 1] = 0;
}

function setPointer(m: Machine, reg: number, offset: number): void {
  const a = BigInt(m.state.address + offset);
  new BigUint64Array(m.state.buffer)[reg] = a;
}

const APPROXIMATE = /^v?(rcp|rsqrt)[ps]s$/;

describe.runIf(usable)('vector instructions against the host CPU', () => {
  const m = new Machine();
  const run = (r: Row, seed: number): void => {
    const next = random(seed);
    for (let n = 0; n < CASES; n++) {
      const memory = r.mod === Mod.MEM || (r.mod === Mod.ANY && r.modrm && n % 2 === 0);
      fillState(m, next, r);
      const bytes = encode(r, next, memory);
      if (r.name.includes('gather')) {
        // Random signs in the mask register (VEX.vvvv).
        const mask = ~(bytes[2]! >> 3) & 15;
        for (let k = 0; k < 8; k++) m.V[xmm(mask) * 2 + k] = next();
      }
      // AMD processors do not check the alignment of SHA operands; Intel's do (exception type 4).
      const aligned = n % 3 !== 0 || r.name.startsWith('sha');
      setPointer(m, X.RSI, MEMORY + 64 + (aligned ? 0 : 1 + (next() % 15)));
      setPointer(m, X.RDI, MEMORY + 512 + (next() % 64));
      const start = m.snapshot();
      const before = m.U8.slice(0, 0x2000);
      const hostSignal = m.runHost(bytes);
      const hostFlags = m.V[EFLAGS_SLOT * 2]! & 0x8d5;
      const hostMxcsr = m.V[Slot.MXCSR * 2]!;
      const want = m.snapshot();
      m.U8.set(before);
      m.U8.set(start[3]!, MEMORY);
      const guestSignal = m.runGuest(bytes, n % 4 < 2);
      const got = m.snapshot();
      const label = `${r.name} ${bytes.map((x) => x.toString(16).padStart(2, '0')).join(' ')} case ${n}`;
      expect(guestSignal, label).toBe(hostSignal);
      if (hostSignal !== 0) continue;
      const same = (part: number, from: number, to: number, what: string): void => {
        const g = Buffer.from(got[part]!.buffer, from, to - from);
        const w = Buffer.from(want[part]!.buffer, from, to - from);
        if (!g.equals(w)) expect(g.toString('hex'), `${label} ${what}`).toBe(w.toString('hex'));
      };
      for (let i = 0; i < 16; i++) if (i !== 4 && i !== 13) same(0, i * 8, i * 8 + 8, `gpr ${i}`);
      for (let i = 0; i < 16; i++) same(1, i * 64, i * 64 + 32, `xmm ${i}`);
      for (let i = 0; i < 8; i++) same(2, i * 16, i * 16 + 8, `mm ${i}`);
      same(3, 0, MEM_BYTES, 'memory');
      expect(m.V[Slot.MXCSR * 2]!.toString(16), `${label} mxcsr`).toBe(hostMxcsr.toString(16));
      expect(flagsToEflags(m.V[Slot.FLAGS * 2]!).toString(16), `${label} flags`).toBe(hostFlags.toString(16));
    }
  };
  // Lets the test runner's messages through: the tests themselves never wait.
  afterEach(() => new Promise((done) => setImmediate(done)));
  const has = (list: string): boolean => list.split('+').every((f) => features.has(f));
  VECTOR_ROWS.forEach((r, i) => {
    if (!has(r.feature) || APPROXIMATE.test(r.name)) return;
    it(`${r.vex ? 'vex' : 'legacy'} ${r.name} ${r.map}:${r.opcode.toString(16)} ${i}`, () => run(r, i + 1));
  });
});
