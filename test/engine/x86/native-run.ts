/**
 * Runs the same x86-64 user-mode code on the host processor and through lifter and interpreter. The code is put into a
 * small static ELF program that loads registers and flags, executes one test sequence, stores registers and flags, and so on
 * for all cases, then writes the results to standard output.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GuestCpu } from '#lib/engine/cpu.js';
import { HELPER_SPECS } from '#lib/engine/guest/x86/helper-names.js';
import { X86Lifter } from '#lib/engine/guest/x86/lifter.js';
import { Mode, X } from '#lib/engine/guest/x86/mode.js';
import { HelperRegistry } from '#lib/engine/helpers.js';
import { compileForInterp, type InterpBlock } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { runPasses } from '#lib/engine/ir/passes.js';
import { Slot, STATE_BYTES, TLB_BASE, TlbField, flagsToEflags } from '#lib/engine/state.js';

const IMAGE = 0x10000;
const CODE = 0x11000;
const RAM = 0x800000;
/** Registers and flags of one case, in and out. */
const RECORD = 17 * 8;
/** Memory a case may touch. */
export const REGION = 512;
export const MODE64 = Mode.CODE64 | Mode.CSFLAT | Mode.FLAT | Mode.LONG | Mode.USER;

export interface Case {
  readonly name: string;
  readonly bytes: readonly number[];
  /** 16 registers in encoding order, then RFLAGS. Numbers in 0..REGION-1 with `pointers` bit r set are made addresses. */
  readonly regs: readonly bigint[];
  readonly pointers: number;
}

export interface Outcome {
  readonly regs: readonly bigint[];
  readonly flags: number;
  readonly memory: Uint8Array;
}

export class NativeProgram {
  readonly image: Uint8Array;
  private readonly outAt: number;
  private readonly memAt: number;
  private readonly endAt: number;
  /** Address of each case's test bytes. */
  readonly testAt: number[] = [];

  constructor(private readonly cases: readonly Case[]) {
    const perCase = 16 * 16 + 64;
    const codeBytes = cases.reduce((n, c) => n + perCase + c.bytes.length, 256);
    const inAt = (CODE + codeBytes + 4095) & ~4095;
    this.outAt = inAt + cases.length * RECORD;
    this.memAt = (this.outAt + cases.length * RECORD + 4095) & ~4095;
    const stack = this.memAt + cases.length * REGION + 8192;
    const size = stack + 4096 - IMAGE;
    if (IMAGE + size > RAM) throw new Error('too many cases');
    this.image = new Uint8Array(size);
    const view = new DataView(this.image.buffer);
    let p = CODE - IMAGE;
    const put = (...b: number[]): void => {
      for (const v of b) this.image[p++] = v;
    };
    const abs = (a: number): void => {
      view.setUint32(p, a, true);
      p += 4;
    };
    const setRsp = (): void => {
      put(0x48, 0xc7, 0xc4);
      abs(stack);
    };
    cases.forEach((c, n) => {
      const input = inAt + n * RECORD;
      const output = this.outAt + n * RECORD;
      const mem = this.memAt + n * REGION;
      c.regs.forEach((v, r) => view.setBigUint64(input - IMAGE + r * 8, (c.pointers >> r) & 1 ? v + BigInt(mem) : v, true));
      for (let k = 0; k < REGION; k++) this.image[mem - IMAGE + k] = (k * 37 + n * 11 + (k >> 3) * 101) & 255;
      setRsp();
      put(0xff, 0x34, 0x25);
      abs(input + 128);
      put(0x9d);
      for (let r = 0; r < 16; r++) {
        put(0x48 | (r >> 3 << 2), 0x8b, 0x04 | ((r & 7) << 3), 0x25);
        abs(input + r * 8);
      }
      this.testAt.push(IMAGE + p);
      put(...c.bytes);
      for (let r = 0; r < 16; r++) {
        put(0x48 | (r >> 3 << 2), 0x89, 0x04 | ((r & 7) << 3), 0x25);
        abs(output + r * 8);
      }
      setRsp();
      put(0x9c, 0x8f, 0x04, 0x25);
      abs(output + 128);
    });
    this.endAt = IMAGE + p;
    // write(1, out, bytes); exit(0)
    const bytes = this.memAt + cases.length * REGION - this.outAt;
    put(0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xbe);
    abs(this.outAt);
    put(0xba);
    abs(bytes);
    put(0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05);
    // ELF64 header and one program header: everything readable, writable and executable
    this.image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0);
    view.setUint16(16, 2, true);
    view.setUint16(18, 62, true);
    view.setUint32(20, 1, true);
    view.setBigUint64(24, BigInt(CODE), true);
    view.setBigUint64(32, 64n, true);
    view.setUint16(52, 64, true);
    view.setUint16(54, 56, true);
    view.setUint16(56, 1, true);
    view.setUint32(64, 1, true);
    view.setUint32(68, 7, true);
    view.setBigUint64(80, BigInt(IMAGE), true);
    view.setBigUint64(88, BigInt(IMAGE), true);
    view.setBigUint64(96, BigInt(size), true);
    view.setBigUint64(104, BigInt(size), true);
    view.setBigUint64(112, 4096n, true);
  }

  private outcomes(b: Uint8Array): Outcome[] {
    const view = new DataView(b.buffer, b.byteOffset, b.byteLength);
    return this.cases.map((_c, n) => ({
      regs: Array.from({ length: 16 }, (_v, r) => view.getBigUint64(n * RECORD + r * 8, true)),
      flags: view.getUint32(n * RECORD + 128, true),
      memory: b.slice(this.memAt - this.outAt + n * REGION, this.memAt - this.outAt + (n + 1) * REGION),
    }));
  }

  runNative(): Outcome[] {
    const dir = mkdtempSync(join(tmpdir(), 'vmx-run-'));
    try {
      const file = join(dir, 'prog');
      writeFileSync(file, this.image);
      chmodSync(file, 0o755);
      const r = spawnSync(file, [], { maxBuffer: 1 << 28 });
      if (r.status !== 0) throw new Error(`native program: status ${r.status} signal ${r.signal}`);
      return this.outcomes(r.stdout);
    } finally {
      rmSync(dir, { recursive: true });
    }
  }

  /** @param features as for the lifter */
  runLifted(features: ReadonlySet<string>, passes: boolean): Outcome[] {
    const m = new TestMachine(features, passes);
    m.ram8.set(this.image, IMAGE);
    m.run(CODE, this.endAt, MODE64);
    return this.outcomes(m.ram8.slice(this.outAt, this.memAt + this.cases.length * REGION));
  }
}

/** A CPU without an MMU: linear addresses are offsets in 8 MiB of RAM. Helpers throw unless defined here. */
export class TestMachine {
  readonly ram8: Uint8Array;
  readonly V: Int32Array;
  readonly builder: IrBuilder;
  readonly lifter: X86Lifter;
  private readonly cpu: GuestCpu;
  private readonly helpers = new HelperRegistry<GuestCpu>();
  private readonly interp = new Interpreter();
  private readonly blocks = new Map<number, InterpBlock>();

  constructor(features: ReadonlySet<string>, private readonly passes: boolean) {
    const ram = new ArrayBuffer(RAM);
    const state = new ArrayBuffer(STATE_BYTES);
    const V = new Int32Array(state);
    this.V = V;
    // As in every process: interrupts on.
    V[X.EFLAGS * 2] = 0x202;
    this.ram8 = new Uint8Array(ram);
    const view = new DataView(ram);
    for (const s of HELPER_SPECS) {
      this.helpers.define(s.name, () => {
        throw new Error(`helper ${s.name} called`);
      });
    }
    const pool = new ConstPool();
    pool.attach(V);
    this.builder = new IrBuilder(pool);
    this.lifter = new X86Lifter(this.helpers, features);
    for (let page = 0; page < RAM >> 12; page++) {
      const e = (TLB_BASE >> 2) + page * 8;
      V[e + (TlbField.TAG_READ >> 2)] = V[e + (TlbField.TAG_WRITE >> 2)] = page << 12;
      V[e + (TlbField.RAM_PAGE >> 2)] = page << 12;
    }
    const bytes = (a: number): number => {
      if (V[a * 2 + 1] !== 0 || V[a * 2]! >>> 0 > RAM - 8) throw new Error(`access at ${V[a * 2 + 1]!.toString(16)}:${(V[a * 2]! >>> 0).toString(16)}`);
      return V[a * 2]!;
    };
    // accesses that cross a page come here
    const cpu: Partial<GuestCpu> & { helpers: unknown } = {
      index: 0, V, U8: new Uint8Array(state), stateAddress: 0, helpers: this.helpers as never, mode: 0, mmuIdx: 0, halted: false, shutdown: false,
      map: { ram8: this.ram8, ram16: new Uint16Array(ram), ram32: new Int32Array(ram), ramView: view } as GuestCpu['map'],
      load(w, addr, dst) {
        const at = bytes(addr);
        let lo = 0;
        let hi = 0;
        if (w === 3) hi = view.getInt32(at + 4, true);
        if (w >= 2) lo = view.getInt32(at, true);
        else lo = w === 1 ? view.getUint16(at, true) : view.getUint8(at);
        if (dst < Slot.TEMP && w < 2) V[dst * 2] = (V[dst * 2]! & (w === 1 ? ~0xffff : ~0xff)) | lo;
        else {
          V[dst * 2] = lo;
          V[dst * 2 + 1] = hi;
        }
      },
      store(w, addr, val) {
        const at = bytes(addr);
        for (let k = 0; k < 1 << w; k++) view.setUint8(at + k, V[val * 2 + (k >> 2)]! >>> ((k & 3) * 8));
      },
    };
    this.cpu = cpu as GuestCpu;
  }

  /** Runs from `pc` until `end` is reached. */
  run(pc: number, end: number, mode: number): void {
    const V = this.V;
    while (pc !== end) {
      let block = this.blocks.get(pc);
      if (block === undefined) {
        if (this.builder.consts.nearlyFull) {
          this.blocks.clear();
          this.builder.consts.reset();
        }
        const pageEnd = (pc & ~4095) + 4096;
        const limit = pc < end && end < pageEnd ? end : pageEnd;
        const win = { buf: this.ram8, pos: pc, end: limit, offset: pc & 4095 };
        if (this.lifter.lift(win, mode, this.builder, 64) !== 0) {
          win.pos = pc;
          win.offset = pc & 4095;
          win.end = pc + 15;
          this.lifter.lift(win, mode, this.builder, 1);
        }
        if (this.passes) runPasses(this.builder, this.helpers as never);
        block = compileForInterp(this.builder, { mask32: (mode & Mode.CODE_MASK) !== Mode.CODE64 });
        this.blocks.set(pc, block);
      }
      V[Slot.PCBASE * 2] = pc & ~4095;
      this.interp.runBlock(this.cpu, block);
      pc = V[Slot.PC * 2]!;
    }
  }

  get eflags(): number {
    return flagsToEflags(this.V[Slot.FLAGS * 2]!) | (this.V[X.EFLAGS * 2]! & 0x400);
  }
}
