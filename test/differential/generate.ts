/** Generates random cases from the opcode tables. */
import { Imm, Mod, P, Size } from '#lib/engine/guest/x86/opcodes.js';
import { conditionReads, flagRule, INEXACT, SHIFTS, shiftRule, TZCNT_RULE, x87Undefined, type FlagRule } from './masks.js';
import { integer64, poolOffset, randomFpState } from './pool.js';
import type { Case, Fixup, Unit } from './sequence.js';
import { type Layout, PAGE, Rng, S } from './state.js';
import type { Family, Template } from './templates.js';

const RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7;
const M64BITS = (1n << 64n) - 1n;
const STRING = new Set(['movs', 'cmps', 'stos', 'lods', 'scas']);
const STACK = new Set(['push', 'pop', 'pushf', 'popf', 'call', 'ret', 'enter', 'leave']);
const REP_SCAN = new Set(['cmps', 'scas']);

/** Where an operand may lie in the data region, with room for the largest one. */
const LOW = 0x400;
const HIGH = 0x3a00;

/** Bytes of memory operand ModRM: mod/rm bits, SIB and displacement, REX bits. */
interface Address {
  modrm: number;
  tail: number[];
  /** RIP-relative: the tail is a displacement to this address. */
  rip: number | null;
  x: number;
  b: number;
}

class Builder {
  readonly bytes: number[] = [];
  readonly fixups: Fixup[] = [];
  /** Registers whose value the instruction relies on: not to be overwritten by further set-up. */
  readonly locked = new Set<number>();
  /** Registers that set-up code of this unit has changed. */
  readonly written = new Set<number>();
  /** Registers whose value is unknown after the unit. */
  readonly touched = new Set<number>([RAX, RCX, RDX]);

  movabs(reg: number, value: bigint): void {
    this.bytes.push(0x48 | (reg >> 3), 0xb8 | (reg & 7));
    for (let k = 0n; k < 64n; k += 8n) this.bytes.push(Number((value >> k) & 255n));
    this.set(reg);
  }

  /** Set-up code has written the register. */
  set(reg: number): void {
    this.locked.add(reg);
    this.written.add(reg);
    this.touched.add(reg);
  }
}

const le = (v: number, n: number): number[] => Array.from({ length: n }, (_x, k) => (k < 4 ? (v >>> (8 * k)) & 255 : v < 0 ? 255 : 0));

export class Generator {
  private readonly byFamily = new Map<Family, Template[]>();
  private r = new Rng(0);
  private known: (bigint | null)[] = [];
  private undef = 0;
  private undefX87 = 0;
  private unmasked = false;
  private patches: { at: number; bytes: number[] }[] = [];
  /** Units before this number may be skipped by a branch. */
  private skipTo = 0;
  /** RIP-relative operands reach the data region. */
  private readonly near: boolean;

  constructor(private readonly all: readonly Template[], private readonly families: readonly Family[], private readonly layout: Layout) {
    for (const t of all) {
      const l = this.byFamily.get(t.family);
      if (l) l.push(t);
      else this.byFamily.set(t.family, [t]);
    }
    this.near = Math.abs(layout.data - layout.code) < 0x7000_0000;
  }

  case(seed: number): Case {
    const r = (this.r = new Rng(seed));
    const state = new Uint8Array(S.BYTES);
    const v = new DataView(state.buffer);
    const main = r.pick(this.families);
    const unmasked = (this.unmasked = r.chance(3));
    randomFpState(r, state, unmasked);
    this.known = [];
    for (let i = 0; i < 16; i++) {
      const value = BigInt.asUintN(64, i === RSP ? this.stackPointer() : r.chance(35) ? BigInt(this.place(16)) : r.chance(30) ? BigInt(r.below(64)) : integer64(r));
      this.known.push(value);
      v.setBigUint64(S.GPR + i * 8, value, true);
    }
    v.setUint32(S.FLAGS, (r.next() & 0x8d5) | (r.chance(12) ? 0x400 : 0), true);
    this.undef = 0;
    this.undefX87 = 0;
    this.patches = [];
    this.skipTo = 0;
    const units: Unit[] = [];
    // Now and then a long one, for register allocation and passes.
    const count = r.chance(35) ? 1 : r.chance(6) ? 9 + r.below(24) : 1 + r.below(8);
    for (let i = 0; i < count; i++) {
      for (let tries = 0; tries < 30; tries++) {
        const family = r.chance(80) ? main : r.pick(this.families);
        const list = this.byFamily.get(family);
        const t = list === undefined ? r.pick(this.all) : r.pick(list);
        const u = this.unit(t, i, i === count - 1);
        if (u !== null) {
          units.push(u);
          break;
        }
      }
    }
    // Mostly anywhere in a page, sometimes so that the sequence crosses into the next.
    const bytes = units.reduce((n, u) => n + u.bytes.length, 5);
    const offset = r.chance(8) ? PAGE - 1 - r.below(60) : r.below(Math.max(PAGE - bytes, 1));
    return { units, state, pool: poolOffset(r), patches: this.patches, offset };
  }

  private stackPointer(): bigint {
    const r = this.r;
    return BigInt(this.layout.data + (r.chance(5) ? 0x2000 + r.below(16) - 8 : 0x2400 + r.below(0x100) * 8 + (r.chance(8) ? r.below(8) : 0)));
  }

  /** Address for an operand in the data region. `align`: what most should be aligned to. */
  private place(align: number): number {
    const r = this.r;
    const d = this.layout.data;
    const k = r.below(100);
    const span = HIGH - LOW;
    if (k < 70) return d + LOW + r.below(span / align) * align;
    if (k < 80) return d + LOW + r.below(span / 16) * 16;
    if (k < 94) return d + LOW + r.below(span);
    return d + (1 + r.below(3)) * PAGE - 1 - r.below(align * 2 - 1);
  }

  /** An address at which every access faults (or, the last kind, every store). */
  private badPlace(): bigint {
    const r = this.r;
    switch (r.below(3)) {
      case 0: return BigInt(0x1000 + r.below(0xe000));
      case 1: return (r.bits64() & 0x0000_ffff_ffff_fff8n) | (r.chance(50) ? 0x8000_0000_0000_0000n : 0x0100_0000_0000_0000n);
      default: return BigInt(this.layout.code + PAGE + r.below(8 * PAGE));
    }
  }

  /** Makes register n hold `value` when the instruction of this unit runs. */
  private ensure(b: Builder, n: number, value: bigint): void {
    value &= M64BITS;
    if (this.known[n] === value && !b.written.has(n)) b.locked.add(n);
    else b.movabs(n, value);
  }

  /** ModRM memory form with effective address `want`. `avoid`: register the set-up may not change. */
  private address(b: Builder, want: bigint, avoid: number): Address {
    const r = this.r;
    const inData = want >= BigInt(this.layout.data) && want < BigInt(this.layout.data + 0x4000);
    if (inData && this.near && r.chance(12)) return { modrm: 5, tail: [0, 0, 0, 0], rip: Number(want), x: 0, b: 0 };
    const free = (n: number): boolean => n !== avoid && !b.locked.has(n);
    const near = (n: number): boolean => {
      const k = this.known[n];
      if (k === null || k === undefined || b.written.has(n)) return false;
      const d = BigInt.asIntN(64, want - k);
      return d === BigInt.asIntN(32, d);
    };
    let index = -1;
    let scale = 0;
    let offset = 0n;
    if (r.chance(35)) {
      index = r.below(16);
      if (index === RSP) index = -1;
      else {
        scale = r.below(4);
        const k = this.known[index];
        const small = k !== null && k !== undefined && (k < 0x1000_0000n || k > M64BITS - 0x1000_0000n) && !b.written.has(index);
        if (small) {
          b.locked.add(index);
          offset = BigInt.asIntN(64, k) << BigInt(scale);
        } else if (free(index)) {
          const value = BigInt(r.below(64)) - (r.chance(30) ? 32n : 0n);
          b.movabs(index, BigInt.asUintN(64, value));
          offset = value << BigInt(scale);
        } else index = -1;
      }
    }
    want = BigInt.asUintN(64, want - offset);
    const start = r.below(16);
    let base = -1;
    for (let i = 0; i < 16 && base < 0; i++) if (near((start + i) & 15) && ((start + i) & 15) !== index) base = (start + i) & 15;
    let disp: bigint;
    if (base >= 0) {
      disp = BigInt.asIntN(64, want - this.known[base]!);
      b.locked.add(base);
    } else {
      base = start;
      while (!free(base) || base === index || base === RSP) base = (base + 1) & 15;
      disp = r.chance(30) ? 0n : r.chance(60) ? BigInt(r.below(256)) - 128n : BigInt(r.next() | 0);
      b.movabs(base, BigInt.asUintN(64, want - disp));
    }
    const d = Number(disp);
    const mod = d === 0 && (base & 7) !== 5 && !r.chance(10) ? 0 : d >= -128 && d <= 127 && !r.chance(10) ? 1 : 2;
    const tail: number[] = [];
    const sib = index >= 0 || (base & 7) === 4 || r.chance(5);
    if (sib) tail.push((scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base & 7));
    if (mod === 1) tail.push(d & 255);
    else if (mod === 2) tail.push(...le(d, 4));
    return { modrm: (mod << 6) | (sib ? 4 : base & 7), tail, rip: null, x: index >= 0 ? index >> 3 : 0, b: base >> 3 };
  }

  /** A unit for the template, or null if it does not fit here. */
  private unit(t: Template, id: number, last: boolean): Unit | null {
    const r = this.r;
    const row = t.row;
    const name = row.name;
    const b = new Builder();
    const opcode = row.opcode + r.below(row.n);
    const inexact = INEXACT.has(name);
    // Out of range FYL2XP1 and F2XM1 are undefined: some processors find the operation invalid.
    if (inexact && (!last || this.unmasked)) return null;
    if (name === 'fnstsw' && this.undefX87 !== 0) return null;
    const string = STRING.has(name);

    // ---- prefixes ----
    let pp = 0;
    const legacyPrefixes: number[] = [];
    let p66 = false;
    let rep = 0;
    if (row.vex) pp = (r.pick([0, 1, 2, 3].filter((k) => (row.p & (1 << k)) !== 0)));
    else {
      if (row.p === P.P66) p66 = true;
      else if ((row.p & P.P66) !== 0 && row.size !== Size.F64) p66 = r.chance(22);
      if ((row.p & P.NP66) === 0) {
        rep = row.p === P.F3 ? 0xf3 : row.p === P.F2 ? 0xf2 : r.pick([0xf3, 0xf2]);
        if ((row.p & (P.F3 | P.F2)) !== 0 && r.chance(8) && row.size !== Size.F64 && name !== 'movq2dq' && name !== 'movdq2q') p66 = true;
      } else if (row.p === P.ANY) {
        // With F3 AMD processors take LOOPNE for LOOPE: undocumented, left out.
        if (name.startsWith('loop')) rep = 0;
        else if (string ? r.chance(50) : name === 'bsf' ? r.chance(40) : r.chance(4)) rep = r.pick([0xf3, 0xf2]);
      }
      if (name === 'bswap' && p66) return null;
    }

    // ---- flags ----
    const opsizeBits = (w: number): number => (w ? 64 : p66 && row.p !== P.P66 ? 16 : 32);
    let rexW = 0;
    if (!row.vex && r.chance(35)) rexW = 1;
    const byteForm = (opcode & 1) === 0;
    const bits = SHIFTS.has(name) && byteForm && !name.endsWith('d') ? 8 : opsizeBits(rexW);
    let imm = r.chance(30) ? r.pick([0, 1, -1, 127, -128, 31, 32, 63, 64]) : r.chance(50) ? r.below(80) : r.next() | 0;
    let rule: FlagRule;
    if (SHIFTS.has(name)) {
      let count = -1;
      const mask = bits === 64 ? 63 : 31;
      const double = name === 'shld' || name === 'shrd';
      const byCl = double ? (opcode & 1) !== 0 : opcode >= 0xd2;
      if (!byCl) {
        if (!double && opcode >= 0xd0) count = 1;
        else {
          // Beyond the operand size the result of a double shift is undefined.
          if (double && bits === 16) imm = r.below(17) | (imm & 0xe0);
          count = imm & mask;
        }
      } else if (double && bits === 16) {
        count = r.below(17);
        b.bytes.push(0xb1, count | (r.below(8) << 5));
        b.set(RCX);
      } else if (this.known[RCX] !== null) count = Number(this.known[RCX]! & BigInt(mask));
      rule = shiftRule(name, bits, count);
      if (count >= 0 && byCl) b.locked.add(RCX);
    } else if (name === 'bsf' && rep === 0xf3) rule = TZCNT_RULE;
    else rule = flagRule(name);
    let reads = rule.reads;
    if (name === 'jcc' || name === 'setcc' || name === 'cmovcc') reads = conditionReads(opcode & 15);
    if ((reads & this.undef) !== 0) return null;

    // ---- operands ----
    let reg = r.below(16);
    if (row.digit >= 0) reg = row.digit | (r.chance(50) ? 8 : 0);
    let rm = row.rm >= 0 ? row.rm | (r.chance(30) ? 8 : 0) : r.below(16);
    let vvvv = row.noVvvv ? 0 : r.below(16);
    if (!row.modrm) rm = (opcode & 7) | (r.chance(40) ? 8 : 0);
    const plainRegs = row.modrm || row.n === 8;
    let mem = row.modrm && (row.mod === Mod.MEM || (row.mod === Mod.ANY && row.rm < 0 && r.chance(45)));
    const vector = t.family === 'sse' || t.family === 'avx' || t.family === 'mmx';
    const align = t.family === 'avx' ? 32 : vector ? 16 : 8;
    let want = BigInt(this.place(align));
    // With exceptions unmasked, an x87 store that does not happen may fault all the same.
    if (r.chance(1) && !(this.unmasked && t.family === 'x87')) want = this.badPlace();
    // Intel processors leave the x87 state alone only with CVTPI2PD from memory, others here too.
    if (name === 'cvtpi2ps' && row.mod === Mod.ANY) mem = false;
    // Not all processors check the alignment of SHA operands.
    if (name.startsWith('sha')) want &= ~15n;
    let a67 = false;
    let addr: Address | null = null;
    let target: Fixup | null = null;

    if (string) {
      const w = 8;
      const mid = (): bigint => BigInt(this.layout.data + LOW + w * 24 + r.below(HIGH - LOW - 2 * w * 24));
      if (name !== 'stos' && name !== 'scas') this.ensure(b, RSI, r.chance(1) ? this.badPlace() : mid());
      // Only one operand faults: which one is looked at first is up to the processor.
      const one = name === 'stos' || name === 'scas';
      if (name !== 'lods') this.ensure(b, RDI, one && r.chance(1) ? this.badPlace() : mid());
      if (rep !== 0) {
        const n = r.below(21);
        this.ensure(b, RCX, BigInt(n));
        if (n === 0 && !REP_SCAN.has(name)) rule = flagRule('');
        if (REP_SCAN.has(name) && n === 0) rule = flagRule('');
      }
      b.touched.add(RSI).add(RDI);
    } else if (name === 'xlat') {
      this.ensure(b, RBX, want);
    } else if (name === 'maskmovq' || name === 'maskmovdqu') {
      // Whether stores with a mask of zero fault depends on the processor.
      if (this.outside(want)) want = BigInt(this.place(16));
      this.ensure(b, RDI, want);
    } else if (STACK.has(name)) {
      const sp = this.known[RSP];
      if (sp === null || sp === undefined || r.chance(2)) this.ensure(b, RSP, r.chance(3) ? this.badPlace() : this.stackPointer());
      b.locked.add(RSP);
      b.touched.add(RSP);
      if (name === 'leave' || name === 'enter') {
        this.ensure(b, RBP, name === 'leave' ? this.stackPointer() : BigInt(this.layout.data + 0x2800 + r.below(64) * 8));
        b.touched.add(RBP);
      } else if (name === 'popf') {
        b.bytes.push(0x68, ...le((r.next() & 0xcd5) | 0x202, 4));
      }
    }
    if (name === 'jcc' || name === 'jmp' || name === 'call' || name === 'ret' || name === 'jcxz' || name.startsWith('loop')) {
      const to = id + 1 + (r.chance(50) ? 0 : r.below(3));
      this.skipTo = Math.max(this.skipTo, to);
      target = { at: 0, size: 4, base: 0, unit: to };
      if (name === 'jcxz' || name.startsWith('loop')) {
        a67 = r.chance(15);
        if (r.chance(30)) this.ensure(b, RCX, BigInt(r.below(3)));
        // To itself: counts down, the flags stay as they are.
        if (name !== 'jcxz' && r.chance(20)) {
          this.ensure(b, RCX, BigInt(1 + r.below(6)));
          target = { at: 0, size: 1, base: 0, unit: id };
          imm = -2;
        }
      }
      if (row.digit >= 0 || name === 'ret') {
        // Indirect: lea reg, [rip + target], through memory or the stack.
        let n = r.below(16);
        while (n === RSP) n = r.below(16);
        const lea = (k: number): void => {
          b.bytes.push(0x48 | ((k >> 3) << 2), 0x8d, ((k & 7) << 3) | 5, 0, 0, 0, 0);
          b.fixups.push({ at: b.bytes.length - 4, size: 4, base: b.bytes.length, unit: target!.unit! });
          b.set(k);
        };
        if (name === 'ret') {
          lea(n);
          b.bytes.push(...(n >= 8 ? [0x41] : []), 0x50 | (n & 7));
          imm = r.below(8) * 8;
        } else if (!mem) {
          lea(n);
          rm = n;
        } else {
          if (this.outside(want)) want = BigInt(this.place(8));
          lea(n);
          let m = (n + 1) & 15;
          while ((m & 7) === 4 || (m & 7) === 5 || m === n) m = (m + 1) & 15;
          b.movabs(m, want);
          b.bytes.push(0x48 | ((n >> 3) << 2) | (m >> 3), 0x89, ((n & 7) << 3) | (m & 7));
        }
        target = null;
      }
    }
    if (name === 'cmpxchg8b') {
      if (!this.outside(want)) want &= r.chance(90) ? ~15n : ~0n;
      b.touched.add(RBX);
    }
    if (name.startsWith('bt') && name.length <= 3 && row.map === 1 && opcode !== 0xba && mem) {
      // The bit offset moves the address.
      if (reg === RSP) reg = 8;
      if (this.outside(want)) want = BigInt(this.place(8));
      this.ensure(b, reg, BigInt.asUintN(64, BigInt(r.below(8000)) - 4000n));
    }
    if ((name === 'ldmxcsr' || name === 'fldcw') && !this.outside(want)) {
      const v = name === 'ldmxcsr' ? 0x1f80 | (r.next() & 0xe07f) : 0x7f | (r.pick([0, 2, 3]) << 8) | (r.below(4) << 10);
      this.patches.push({ at: Number(want) - this.layout.data, bytes: le(v, name === 'ldmxcsr' ? 4 : 2) });
    }
    if ((name === 'div' || name === 'idiv') && r.chance(75)) {
      if (byteForm) b.bytes.push(0xb4, r.chance(80) ? 0 : r.below(4));
      else if (name === 'idiv') b.bytes.push(...(rexW ? [0x48] : []), 0x99);
      else b.bytes.push(0xba, ...le(r.chance(70) ? 0 : r.below(4), 4));
      b.set(RAX);
      b.set(RDX);
    }
    if (name === 'cmpxchg' && mem && r.chance(40) && !this.outside(want)) {
      // Make the comparison succeed now and then.
      b.bytes.push(0x48, 0xa1, ...le(Number(want & 0xffff_ffffn) | 0, 4), ...le(Number(want >> 32n), 4));
      b.set(RAX);
    }
    if (name === 'bsf' && rep !== 0xf3 && bits === 32) {
      // A zero source leaves the destination undefined: unchanged (AMD), or with its upper half cleared (Intel).
      if (mem) {
        if (this.outside(want)) return null;
        this.patches.push({ at: Number(want) - this.layout.data, bytes: le(r.next() | (1 << r.below(32)), 4) });
        if (id > 0) return null;
      } else b.movabs(rm, r.bits64() | (1n << BigInt(r.below(32))));
    }
    const gather = /^vp?gather/.test(name);
    if (gather) {
      // Small indices: shift a register's elements right.
      mem = true;
      if (this.outside(want)) want = BigInt(this.place(16));
    }
    if (row.imm === Imm.MOFFS && this.outside(want) && r.chance(50)) want = BigInt(this.place(8));
    if (mem) {
      if (name === 'lea' && r.chance(50)) {
        a67 = r.chance(40);
        const base = r.below(16);
        const index = r.below(16);
        addr = { modrm: 0x84, tail: [(r.below(4) << 6) | ((index & 7) << 3) | (base & 7), ...le(r.next() | 0, 4)], rip: null, x: index >> 3, b: base >> 3 };
      } else if (gather) {
        // [base + vindex * scale], the index register loaded with bytes 0..127 zero-extended: VPMOVZXBD/Q from a patch.
        const vi = r.below(16);
        let bytes = r.below(HIGH - LOW) + LOW;
        bytes -= bytes & 7;
        this.patches.push({ at: bytes, bytes: Array.from({ length: 8 }, () => r.below(128)) });
        const m = r.pick([RBX, RSI, RDI, 14]);
        b.movabs(m, BigInt(this.layout.data + bytes));
        const op = (row.opcode & 1) !== 0 ? 0x32 : 0x31;
        b.bytes.push(0xc4, (vi >= 8 ? 0x40 : 0xc0) | (m >= 8 ? 0x00 : 0x20) | 2, 0x7d, op, ((vi & 7) << 3) | (m & 7));
        let base = r.below(16);
        while (base === m || (base & 7) === 5 || base === RSP) base = (base + 1) & 15;
        b.movabs(base, want - 64n);
        addr = { modrm: 0x44, tail: [(r.below(4) << 6) | ((vi & 7) << 3) | (base & 7), 64], rip: null, x: vi >> 3, b: base >> 3 };
        // Equal registers are #UD.
        if (!r.chance(3)) {
          while (reg === vi) reg = (reg + 1) & 15;
          while (vvvv === vi || vvvv === reg) vvvv = (vvvv + 1) & 15;
        }
      } else {
        addr = this.address(b, want, plainRegs && !vector && row.digit < 0 && name.startsWith('bt') ? reg : -1);
      }
    }

    // ---- encoding ----
    let rex = rexW << 3;
    const usesReg = row.modrm && row.digit < 0;
    if (row.modrm) {
      if (usesReg || r.chance(10)) rex |= (reg >> 3) << 2;
      if (addr !== null) rex |= (addr.x << 1) | addr.b;
      else rex |= rm >> 3;
    } else if (row.n === 8) rex |= rm >> 3;
    // LOCK MOV CR0 is CR8 on AMD processors.
    const lock = !row.vex && !(name === 'mov' && row.map === 1) && ((row.lock && mem && r.chance(25)) || r.chance(0.5));
    const startOfInsn = b.bytes.length;
    if (r.chance(4) && !string) legacyPrefixes.push(r.pick([0x2e, 0x3e, 0x26, 0x36, 0x65]));
    if (a67) legacyPrefixes.push(0x67);
    if (!row.vex) {
      if (p66) legacyPrefixes.push(0x66);
      if (lock) legacyPrefixes.push(0xf0);
      if (rep !== 0) legacyPrefixes.push(rep);
    }
    if (legacyPrefixes.length > 1 && r.chance(50)) legacyPrefixes.reverse();
    b.bytes.push(...legacyPrefixes);
    if (row.vex) {
      const w = row.w === 2 ? r.below(2) : row.w;
      const l = row.l === 2 ? r.below(2) : row.l;
      if (r.chance(0.5)) vvvv = r.below(16);
      const low = ((~vvvv & 15) << 3) | (l << 2) | pp;
      if (row.map === 1 && w === 0 && (rex & 3) === 0 && r.chance(60)) b.bytes.push(0xc5, (rex & 4 ? 0 : 0x80) | low);
      else b.bytes.push(0xc4, (rex & 4 ? 0 : 0x80) | (rex & 2 ? 0 : 0x40) | (rex & 1 ? 0 : 0x20) | row.map, (w << 7) | low);
      b.bytes.push(opcode);
    } else {
      if (rex !== 0 || r.chance(15)) b.bytes.push(0x40 | rex);
      if (row.map >= 1) b.bytes.push(0x0f);
      if (row.map >= 2) b.bytes.push(row.map === 2 ? 0x38 : 0x3a);
      b.bytes.push(opcode);
    }
    let ripAt = -1;
    if (row.modrm) {
      const field = (reg & 7) << 3;
      if (addr !== null) {
        b.bytes.push(addr.modrm | field);
        if (addr.rip !== null) ripAt = b.bytes.length;
        b.bytes.push(...addr.tail);
      } else b.bytes.push(0xc0 | field | (rm & 7));
    }
    const size16 = p66 && row.p !== P.P66 && rexW === 0;
    switch (row.imm) {
      case Imm.IB: b.bytes.push(imm & 255); break;
      case Imm.IW: b.bytes.push(...le(imm & 0xffff, 2)); break;
      case Imm.IZ: b.bytes.push(...le(imm, size16 ? 2 : 4)); break;
      case Imm.IV: b.bytes.push(...(rexW ? le(r.next() | 0, 4).concat(le(r.next() | 0, 4)) : le(imm, size16 ? 2 : 4))); break;
      case Imm.IWIB: b.bytes.push(...le(r.below(16) * 8, 2), r.chance(50) ? 0 : r.below(6)); break;
      case Imm.MOFFS: b.bytes.push(...le(Number(want & 0xffff_ffffn) | 0, 4), ...le(Number(want >> 32n) | 0, 4)); break;
      case Imm.JB: b.bytes.push(imm & 255); break;
      case Imm.JZ: b.bytes.push(0, 0, 0, 0); break;
      default: break;
    }
    const end = b.bytes.length;
    if (row.imm === Imm.JB) {
      if (target !== null && target.size === 1) b.bytes[end - 1] = (startOfInsn - end) & 255;
      else if (target !== null) b.fixups.push({ at: end - 1, size: 1, base: end, unit: target.unit! });
    } else if (row.imm === Imm.JZ && target !== null) b.fixups.push({ at: end - 4, size: 4, base: end, unit: target.unit! });
    if (ripAt >= 0) b.fixups.push({ at: ripAt, size: 4, base: end, address: addr!.rip! });

    // ---- what is known afterwards ----
    for (const n of [reg, rm, vvvv, reg & 3, rm & 3]) b.touched.add(n);
    if (!row.modrm && row.n === 8) b.touched.add(rm);
    for (const n of b.touched) this.known[n] = null;
    this.undefX87 |= x87Undefined(name);
    const before = this.undef;
    const defines = id < this.skipTo ? 0 : rule.defines;
    this.undef = (before & ~defines) | rule.undef;
    if (name === 'popf') this.undef = id < this.skipTo ? before : 0;
    return { id, name, template: t.id, bytes: b.bytes, fixups: b.fixups, undef: before | rule.undef, undefAfter: this.undef, undefX87: x87Undefined(name), mmx: t.family === 'mmx' || name.endsWith('2pi') || name.startsWith('cvtpi2'), inexact };
  }

  private outside(want: bigint): boolean {
    return want < BigInt(this.layout.data) || want >= BigInt(this.layout.data + 0x4000);
  }
}
