/**
 * Random straight-line code in which instructions belong together: idioms that are lifted as one op (docs/adr/0073), floating point whose operands stay in host registers (docs/adr/0074), and
 * loads and stores between them, some of which fault. Generated code with all passes against the interpreter with none; single instructions are compared with qemu-user in test/riscv-diff.
 */
import { describe, expect, it } from 'vitest';
import { freg, Priv, xreg } from '#lib/engine/guest/riscv/defs.js';
import { riscvHelpers, riscvLifter } from '#lib/engine/guest/riscv/guest.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { OPS, REC } from '#lib/engine/ir/ops.js';
import { type PassOptions, runPasses } from '#lib/engine/ir/passes.js';
import { SliceEnd } from '#lib/engine/jit/engine.js';
import { Slot } from '#lib/engine/state.js';
import { noAddon, skipFor } from '../../boot/guests.js';
import { Hart } from './hart.js';

const BASE = 0x1000_0000;
const RAM = 0x10_0000;
const DATA = BASE + 0x8_0ff0;
const HANDLER = BASE + 0x800;
const WFI = 0x1050_0073;
/** Registers with a meaning: RAM around a page's end, an address with nothing, constants of the prologue. */
const [GOOD, BAD, VECTOR, STATUS] = [20, 21, 30, 31];

const OFF: PassOptions = { deadFlags: false, fold: false, deadTemps: false, idioms: false };

class Random {
  constructor(private s: number) {}
  next(n: number): number {
    this.s = (Math.imul(this.s, 1664525) + 1013904223) >>> 0;
    return (this.s >>> 8) % n;
  }
  pick<T>(a: readonly T[]): T {
    return a[this.next(a.length)]!;
  }
}

const R = (f7: number, f3: number, op: number, rd: number, rs1: number, rs2: number): number => ((f7 << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op) >>> 0;
const I = (f3: number, op: number, rd: number, rs1: number, imm: number): number => ((imm << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op) >>> 0;
const S = (f3: number, op: number, rs1: number, rs2: number, imm: number): number => R(imm >> 5, f3, op, imm & 31, rs1, rs2);

/** One to four instructions. */
function idiom(r: Random): number[] {
  const x = (): number => 5 + r.next(7);
  const [rd, a, b, s] = [x(), x(), r.next(12) === 0 ? 0 : x(), x()];
  const word = r.next(2) === 0;
  const shift = (left: boolean, d: number, src: number, n: number): number => (word ? R(0, left ? 1 : 5, 0x1b, d, src, n) : I(left ? 1 : 5, 0x13, d, src, n));
  switch (r.next(14)) {
    case 0:
    case 1: {
      // A rotation, or nearly one; perhaps with a move, or something else, between its parts.
      const n = r.next(word ? 32 : 64);
      const m = r.next(5) === 0 ? r.next(word ? 32 : 64) : ((word ? 32 : 64) - n) & (word ? 31 : 63);
      const parts = [shift(true, rd, s, n), shift(false, a, r.next(8) === 0 ? b : s, m)];
      if (r.next(2) === 0) parts.reverse();
      const from = r.next(4) === 0 ? b : rd;
      if (from !== rd) parts.push(R(0, 0, 0x33, from, 0, rd));
      if (r.next(4) === 0) parts.push(...plain(r));
      const [l, g] = r.next(2) === 0 ? [from, a] : [a, from];
      return [...parts, R(0, r.pick([6, 6, 4, 0]), 0x33, x(), l, g)];
    }
    case 2: {
      // A zero extension, or nearly one.
      const n = r.pick([32, 48, 56, 56, 40]);
      const d = r.next(2) === 0 ? rd : a;
      return [I(1, 0x13, rd, s, n), ...(r.next(4) === 0 ? plain(r) : []), I(5, 0x13, d, rd, r.next(5) === 0 ? 33 : n)];
    }
    case 3:
      return [(r.next(0x10_0000) << 12) | (rd << 7) | r.pick([0x37, 0x17]), I(0, r.pick([0x13, 0x1b]), r.next(6) === 0 ? a : rd, rd, r.next(4096))].map((w) => w >>> 0);
    case 4:
    case 5:
    case 6: {
      // A chain of words.
      const out: number[] = [];
      for (let k = 2 + r.next(3); k > 0; k--) out.push(r.next(4) === 0 ? I(0, 0x1b, rd, rd, r.next(4096)) : R(r.pick([0, 0, 0x20]), 0, 0x3b, rd, ...(r.next(2) === 0 ? ([rd, x()] as const) : ([x(), rd] as const))));
      return out;
    }
    case 7:
      return [R(r.pick([0, 0x20]), r.pick([0, 1, 5]), 0x3b, rd, a, b)];
    case 8:
      return [R(r.pick([0, 0x20]), 0, r.pick([0x33, 0x3b]), rd, r.next(2) === 0 ? 0 : a, r.next(2) === 0 ? 0 : b)];
    case 9:
      return [I(4, 0x13, rd, a, -1 & 0xfff)];
    case 10:
      return [I(r.pick([0, 1, 2, 3, 4, 5, 6]), 0x03, rd, r.next(60) === 0 ? BAD : GOOD, r.next(64))];
    case 11:
      return [S(r.next(4), 0x23, GOOD, a, r.next(24))];
    default:
      return plain(r);
  }
}

function plain(r: Random): number[] {
  const x = (): number => 5 + r.next(7);
  return [r.next(2) === 0 ? R(0, r.pick([0, 4, 6, 7]), 0x33, x(), x(), x()) : I(r.pick([0, 4, 6, 7]), 0x13, x(), x(), r.next(4096))];
}

function float(r: Random): number[] {
  const f = (): number => r.next(16);
  const w = r.next(2);
  const [rd, a, b, c] = [f(), f(), f(), f()];
  switch (r.next(13)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return [R(r.pick([0, 4, 8, 12]) | w, 7, 0x53, rd, a, b)];
    case 4:
      return [R((c << 2) | w, 7, r.pick([0x43, 0x47, 0x4b, 0x4f]), rd, a, b)];
    case 5:
      return [R(0x2c | w, 7, 0x53, rd, a, 0)];
    case 6:
      return [I(2 + w, 0x07, rd, r.next(60) === 0 ? BAD : GOOD, r.next(5) === 0 ? r.next(64) : r.next(8) * 8)];
    case 7:
      return [S(2 + w, 0x27, GOOD, a, r.next(5) === 0 ? r.next(24) : r.next(8) * 8)];
    case 8:
      return [R(0x20 | w, 7, 0x53, rd, a, w ^ 1)];
    case 9:
      return [R(0x10 | w, r.next(3), 0x53, rd, a, r.next(2) === 0 ? a : b)];
    case 10:
      return [R(0x50 | w, r.next(3), 0x53, 5 + r.next(7), a, b)];
    case 11:
      return [r.next(2) === 0 ? R(0x70 | w, 0, 0x53, 5 + r.next(7), a, 0) : R(0x78 | w, 0, 0x53, rd, 5 + r.next(7), 0)];
    default:
      return r.next(2) === 0 ? [R(0x60 | w, 1, 0x53, 5 + r.next(7), a, r.pick([0, 2]))] : [R(0x68 | w, 7, 0x53, rd, 5 + r.next(7), r.next(4))];
  }
}

class Guest extends Hart {
  constructor(jit: boolean, passes: PassOptions) {
    super({ base: BASE, bytes: RAM, jit, passes });
  }

  /** Runs `code`, with registers and data made of `seed`, to its WFI or the handler's. @returns all that it may have changed */
  run(code: readonly number[], seed: number): string {
    const { V } = this.cpu;
    this.cpu.reset(0, 0);
    const r = new Random(seed);
    const value = (s: number): void => {
      V[s * 2] = r.next(4) === 0 ? r.pick([0, -1, 0x7fff_ffff, 1 << 31, 0x7f80_0000, 0x7fc0_0000, 1]) : (r.next(1 << 24) << 8) | r.next(256);
      V[s * 2 + 1] = r.next(3) === 0 ? -1 : r.next(4) === 0 ? r.pick([0, 0x7ff0_0000, 0x7ff8_0000, 1 << 31, 0x0010_0000]) : (0x3f00_0000 + r.next(0x100_0000)) | (r.next(2) << 31);
    };
    for (let k = 5; k < 12; k++) value(xreg(k));
    for (let k = 0; k < 16; k++) {
      value(freg(k));
      // Most single-precision numbers are boxed, and of a size that does not overflow at once.
      if (r.next(2) === 0) {
        V[freg(k) * 2] = (0x3f00_0000 + r.next(0x100_0000)) | (r.next(2) << 31);
        V[freg(k) * 2 + 1] = -1;
      }
    }
    for (let k = 0; k < 32; k++) this.memory.write32(DATA + 4 * k, (0x3f00_0000 + r.next(0x100_0000)) | (r.next(2) << 31));
    for (const [reg, v] of [[GOOD, DATA], [BAD, 0x40], [VECTOR, HANDLER], [STATUS, 0x6000]] as const) {
      V[xreg(reg) * 2] = v;
      V[xreg(reg) * 2 + 1] = 0;
    }
    // csrw mtvec; csrs mstatus; then the code, at the start of a block.
    [0x305f_1073, 0x300f_a073, ...code, WFI].forEach((w, k) => this.memory.write32(BASE + 4 * k, w));
    this.memory.write32(HANDLER, WFI);
    V[Slot.PC * 2] = BASE;
    V[Slot.PC * 2 + 1] = 0;
    expect(this.engine.runSlice(this.cpu)).toBe(SliceEnd.HALTED);
    const of = (s: number): string => `${(V[s * 2 + 1]! >>> 0).toString(16)}:${(V[s * 2]! >>> 0).toString(16)}`;
    // Of MXCSR the flags that RISC-V has, too: x86 counts denormal operands.
    const out = [`pc=${of(Slot.PC)}`, `flags=${(V[Slot.MXCSR * 2]! & 0x3d).toString(16)}`];
    for (let k = 1; k < 32; k++) out.push(`x${k}=${of(xreg(k))}`);
    for (let k = 0; k < 32; k++) out.push(`f${k}=${of(freg(k))}`);
    for (let k = 0; k < 32; k++) out.push(`m${k}=${this.memory.read32(DATA + 4 * k).toString(16)}`);
    return out.join(' ');
  }
}

/** @returns the first sequence whose two runs differ, and how */
function compare(make: (r: Random) => number[], sequences: number, from: number): string {
  const [jit, interp] = [new Guest(true, {}), new Guest(false, OFF)];
  for (let n = 0; n < sequences; n++) {
    const r = new Random(from + n);
    const code: number[] = [];
    while (code.length < 40) code.push(...make(r));
    const [a, b] = [jit.run(code, from + n), interp.run(code, from + n)];
    if (a === b) continue;
    const other = b.split(' ');
    const differs = a.split(' ').flatMap((x, k) => (x === other[k] ? [] : [`${x} (interpreter ${other[k]!})`]));
    return `sequence ${from + n}: ${differs.join(', ')}; ${code.map((w) => w.toString(16)).join(' ')}`;
  }
  return '';
}

/** The ops that the passes leave of some instructions. */
function ops(...code: number[]): string[] {
  const helpers = riscvHelpers();
  const b = new IrBuilder(new ConstPool());
  const buf = new Uint8Array(new Uint32Array([...code, WFI]).buffer);
  riscvLifter(helpers).lift({ buf, pos: 0, end: buf.length, offset: 0 }, Priv.M, b, code.length);
  runPasses(b, helpers);
  return Array.from({ length: b.n - 1 }, (_, k) => OPS[b.buf[k * REC]! & 0xff]!.name);
}

describe('idioms of RISC-V', () => {
  it('are lifted as what they come to', () => {
    // slliw a0, a2, 7; srliw a1, a2, 25; or a1, a1, a0: what only the rotation has read is gone.
    expect(ops(R(0, 1, 0x1b, 10, 12, 7), R(0, 5, 0x1b, 11, 12, 25), R(0, 6, 0x33, 11, 11, 10))).toEqual(['shl', 'sx', 'ror', 'sx']);
    // slli a0, a0, 48; srli a0, a0, 48
    expect(ops(I(1, 0x13, 10, 10, 48), I(5, 0x13, 10, 10, 48))).toEqual(['zx']);
    // auipc a0, 1; addi a0, a0, 16
    expect(ops(0x1517, I(0, 0x13, 10, 10, 16))).toEqual(['lea']);
    // addw a0, a0, a1; addw a0, a0, a2: one extension
    expect(ops(R(0, 0, 0x3b, 10, 10, 11), R(0, 0, 0x3b, 10, 10, 12))).toEqual(['add', 'add', 'sx']);
  });

  it('are not where a fault would show the difference', () => {
    // The load may fault, and then a0 is what ADDW has made of it.
    expect(ops(R(0, 0, 0x3b, 10, 10, 11), I(3, 0x03, 13, 14, 0), R(0, 0, 0x3b, 10, 10, 12))).toEqual(['add', 'sx', 'ld', 'add', 'sx']);
  });
});

const sequences = Number(process.env.RV64_SEQUENCES ?? 600);
const from = Number(process.env.RV64_SEED ?? 1);

describe.skipIf(skipFor(noAddon))('sequences of RISC-V instructions', () => {
  it('integer idioms do what their instructions do one by one', () => {
    expect(compare(idiom, sequences, from)).toBe('');
  }, 600_000);

  it('floating point, with loads and stores between', () => {
    expect(compare((r) => (r.next(4) === 0 ? idiom(r) : float(r)), sequences, from)).toBe('');
  }, 600_000);
});
