import { describe, expect, it } from 'vitest';
import type { GuestCpu } from '#lib/engine/cpu.js';
import { HELPER_SPECS } from '#lib/engine/guest/x86/helper-names.js';
import { X86Lifter } from '#lib/engine/guest/x86/lifter.js';
import { Mode, X } from '#lib/engine/guest/x86/mode.js';
import { Operand, X87_FORMS } from '#lib/engine/guest/x86/x87/table.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { STATE_BYTES, Slot, TLB_BASE, TlbField } from '#lib/engine/state.js';
import { VmxError } from '#lib/errors.js';
import { loadNative } from '#lib/native.js';
import { TestCpu, random32, random64, random80, rng } from './x87-host.js';

/** Offsets from RDI, natively in the state region, emulated in guest memory. */
const DATA = 0x2000;
const DATA_BYTES = 0x200;
const CONTROL = 0x2200;
const IMAGES = 0x2400;
const IMAGE_BYTES = 0x600;
const OUT = 0x2c00;
const CODE = 0x4000;

const TRANSCENDENTAL = new Set(['f2xm1', 'fyl2x', 'fptan', 'fpatan', 'fyl2xp1', 'fsincos', 'fsin', 'fcos'].map((n) => `x87.${n}`));
/** F(U)COMI(P) clear C1 by the manual; some processors leave it alone. x87-diff.test.ts has them, with C1 clear. */
const FORMS = X87_FORMS.filter((f) => !TRANSCENDENTAL.has(f.helper) && !/comi$/.test(f.helper));

/** One random sequence: restores a state image, runs n instructions, stores AX, AH flags and a state image. */
function sequence(r: () => number, n: number): number[] {
  const c: number[] = [];
  const disp = (d: number): number[] => [d & 0xff, d >> 8, 0, 0];
  c.push(0x31, 0xc0, 0x2c, 0x01, 0xdd, 0xa7, ...disp(IMAGES));
  for (let i = 0; i < n; i++) {
    const f = FORMS[r() % FORMS.length]!;
    const memory = f.operand !== Operand.STACK && f.operand !== Operand.TO_AX;
    if (!memory) {
      c.push(f.opcode, 0xc0 | (f.digit << 3) | (f.rm >= 0 ? f.rm : r() & 7));
    } else {
      const image = f.operand === Operand.IMAGE_LOAD || f.operand === Operand.IMAGE_STORE;
      let at = DATA + (r() % (DATA_BYTES - 16));
      if (f.helper === 'x87.fldcw') at = CONTROL + 2 * (r() % 16);
      if (image) {
        const narrow = (r() & 1) !== 0;
        if (narrow) c.push(0x66);
        at = IMAGES + (narrow ? 0x300 : 0) + (f.bytes === 28 ? 0x100 : 0);
      }
      c.push(f.opcode, 0x87 | (f.digit << 3), ...disp(at));
    }
    if ((r() & 3) === 0) c.push(0xdf, 0xe0);
    if ((r() & 3) === 0) c.push(0x9f);
  }
  c.push(0x48, 0x89, 0x87, ...disp(OUT), 0x9f, 0x48, 0x89, 0x87, ...disp(OUT + 8));
  c.push(0xdd, 0xb7, ...disp(IMAGES));
  return c;
}

/** Random contents of the data areas, written through a DataView whose offset 0 is where RDI points. */
function fill(r: () => number, v: DataView): void {
  for (let o = 0; o < DATA_BYTES; o += 16) {
    const k = r() % 4;
    const x = k === 0 ? random80(r) : k === 1 ? random64(r) : k === 2 ? random32(r) : BigInt(r());
    v.setBigUint64(DATA + o, BigInt.asUintN(64, x), true);
    v.setBigUint64(DATA + o + 8, (BigInt(r()) << 32n) | (BigInt(r() & 0xffff) << 16n) | (x >> 64n), true);
  }
  for (let i = 0; i < 16; i++) v.setUint16(CONTROL + 2 * i, 0x7f | ([0, 2, 3][r() % 3]! << 8) | ((r() & 3) << 10), true);
  for (const [base, wide] of [[0, true], [0x100, true], [0x300, false], [0x400, false]] as const) {
    const at = IMAGES + base;
    const n = wide ? 4 : 2;
    v.setUint16(at, 0x37f, true);
    v.setUint16(at + n, (r() & 0x473f) | ((r() & 7) << 11), true);
    v.setUint16(at + 2 * n, (r() & r() & 0xffff), true);
    for (let i = 0; i < 8; i++) {
      const x = random80(r);
      v.setBigUint64(at + 7 * n + 10 * i, BigInt.asUintN(64, x), true);
      v.setUint16(at + 7 * n + 10 * i + 8, Number(x >> 64n), true);
    }
  }
}

/** Clears the pointers and opcodes in the images: they differ by where the code lies. */
function normalise(v: DataView): void {
  for (const [base, n] of [[0, 4], [0x100, 4], [0x300, 2], [0x400, 2]] as const) {
    for (let o = 3 * n; o < 7 * n; o += 2) v.setUint16(IMAGES + base + o, 0, true);
  }
}

class LiftedCpu extends TestCpu {
  readonly interp = new Interpreter();
  readonly builder: IrBuilder;
  readonly lifter: X86Lifter;
  halted = false;
  readonly helpers = this.registry;

  constructor() {
    super();
    for (const s of HELPER_SPECS) {
      try {
        this.registry.id(s.name);
      } catch {
        this.registry.define(s.name, () => {
          throw new Error(`helper ${s.name} called`);
        });
      }
    }
    const pool = new ConstPool();
    pool.attach(this.V);
    this.builder = new IrBuilder(pool);
    this.lifter = new X86Lifter(this.registry, new Set(['cmov', 'sse3', 'lahf_lm', 'fxsr', 'xsave', 'xsaveopt', 'xsavec', 'xsaves']));
    Object.assign(this.map, {
      ram8: this.memory, ram16: new Uint16Array(this.memory.buffer), ram32: new Int32Array(this.memory.buffer), ramView: this.data,
    });
    for (let page = 0; page < 16; page++) {
      const e = (TLB_BASE >> 2) + page * 8;
      this.V[e + (TlbField.TAG_READ >> 2)] = this.V[e + (TlbField.TAG_WRITE >> 2)] = page << 12;
      this.V[e + (TlbField.RAM_PAGE >> 2)] = page << 12;
    }
  }

  run(end: number, mode: number): void {
    const V = this.V;
    this.mode = mode;
    let pc = CODE;
    for (let guard = 0; pc !== end && guard < 1000; guard++) {
      const win = { buf: this.memory, pos: pc, end, offset: pc & 4095 };
      this.lifter.lift(win, mode, this.builder, 64);
      V[Slot.PCBASE * 2] = pc & ~4095;
      this.interp.runBlock(this as unknown as GuestCpu, compileForInterp(this.builder));
      pc = V[Slot.PC * 2]!;
    }
  }
}

const MODE = Mode.CODE64 | Mode.CSFLAT | Mode.FLAT | Mode.LONG | Mode.USER;

describe.skipIf(process.arch !== 'x64')('x87 instruction sequences: host against decoder, lifter and interpreter', () => {
  it('random sequences', (t) => {
    let native;
    try {
      native = loadNative();
    } catch (e) {
      if (e instanceof VmxError) t.skip();
      throw e;
    }
    const state = native.allocState(STATE_BYTES);
    const exec = native.allocExec(4096);
    const context = native.createContext(state, exec);
    const hostView = new DataView(state.buffer);
    const hostCode = new Uint8Array(exec.buffer);
    const cpu = new LiftedCpu();
    const r = rng(20240607);
    for (let n = 0; n < 400; n++) {
      const code = sequence(r, 1 + (n % 12));
      const seed = r();
      for (const v of [hostView, cpu.data]) fill(rng(seed), v);
      hostCode.set([...code, 0xc3]);
      context.run(exec.address);
      cpu.memory.set(code, CODE);
      cpu.V.fill(0, Slot.GPR * 2, (Slot.GPR + 16) * 2);
      cpu.run(CODE + code.length, MODE);
      normalise(hostView);
      normalise(cpu.data);
      const hex = code.map((b) => b.toString(16).padStart(2, '0')).join(' ');
      const bytes = (b: ArrayBufferLike, at: number, count: number): string => Buffer.from(b, at, count).toString('hex').replace(/(.{20})/g, '$1\n');
      expect(bytes(cpu.memory.buffer, IMAGES, IMAGE_BYTES), `images after ${hex}`).toBe(bytes(state.buffer, IMAGES, IMAGE_BYTES));
      expect(bytes(cpu.memory.buffer, DATA, DATA_BYTES), `data after ${hex}`).toBe(bytes(state.buffer, DATA, DATA_BYTES));
      expect(bytes(cpu.memory.buffer, OUT, 16), `AX and flags after ${hex}`).toBe(bytes(state.buffer, OUT, 16));
    }
  });

  it('FIP, FDP and FOP', () => {
    const cpu = new LiftedCpu();
    // fninit; fld dword [rdi + 0x2000]; fnsave [rdi + 0x2400]
    const code = [0xdb, 0xe3, 0xd9, 0x87, 0, 0x20, 0, 0, 0xdd, 0xb7, 0, 0x24, 0, 0];
    cpu.memory.set(code, CODE);
    cpu.V[X.RDI * 2] = 0x40;
    cpu.run(CODE + code.length, MODE);
    expect(cpu.data.getUint32(0x2440 + 12, true)).toBe(CODE + 2);
    expect(cpu.data.getUint32(0x2440 + 16, true)).toBe(0x187 << 16);
    expect(cpu.data.getUint32(0x2440 + 20, true)).toBe(0x2040);
  });
});
