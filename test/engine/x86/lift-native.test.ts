import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Decoder, DecodeStatus } from '#lib/engine/guest/x86/decode.js';
import { Insn } from '#lib/engine/guest/x86/insn.js';
import { Mod, P, type Row } from '#lib/engine/guest/x86/opcodes.js';
import { INTEGER_ROWS, opcodeTable } from '#lib/engine/guest/x86/tables.js';
import { F, Op, REC } from '#lib/engine/ir/ops.js';
import { undefinedFlags } from '#lib/engine/ir/undefined.js';
import { flMaskToEflags, Slot } from '#lib/engine/state.js';
import { MODE64, NativeProgram, TestMachine, type Case } from './native-run.js';

const host = process.platform === 'linux' && process.arch === 'x64';
const cpuinfo = host ? new Set((/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1] ?? '').trim().split(' ')) : new Set<string>();
if (!host) console.log('not an x86-64 Linux host: comparison with the processor skipped');

/** Instructions that may run with random operands. */
const NAMES = new Set(('add or adc sbb and sub xor cmp test inc dec not neg mul imul rol ror rcl rcr shl shr sal sar shld shrd bt bts btr btc ' +
  'bsf popcnt bswap movbe crc32 adcx adox andn blsr blsmsk blsi bzhi pext pdep mulx bextr shlx sarx shrx rorx xchg cmpxchg xadd cbw cwd ' +
  'mov movzx movsx movsxd cmovcc setcc lea push pop enter leave clc stc cmc sahf lahf cld std xlat movs cmps stos lods scas nop movnti').split(' '));
const rows = INTEGER_ROWS.filter((r) => NAMES.has(r.name) && r.m64 !== 1 && r.h.name !== 'movToSreg' && r.h.name !== 'movFromSreg' &&
  !(r.name === 'mov' && (r.map === 1 || (r.opcode >= 0xa0 && r.opcode < 0xa4))) && !(r.name === 'push' && r.map === 1) && !(r.name === 'pop' && r.map === 1));

let seed = 12345;
function rand(n: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % n;
}
const EDGES = [0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0x7fffffffffffffffn, 0x8000000000000000n, 0xffffffffffffffffn];
function value(): bigint {
  if (rand(3) === 0) return EDGES[rand(EDGES.length)]!;
  return ((BigInt(rand(0x10000)) << 48n) | (BigInt(rand(0x10000)) << 32n) | (BigInt(rand(0x10000)) << 16n) | BigInt(rand(0x10000))) >> BigInt(rand(64));
}

function instruction(r: Row): number[] {
  const b: number[] = [];
  let rex = rand(2) === 0 ? 0x40 | (rand(2) << 3) : 0;
  let m = rand(256);
  let modrm: number[] = [];
  const opcode = r.opcode + rand(r.n);
  if (r.modrm) {
    if (r.digit >= 0) m = (m & 0xc7) | (r.digit << 3);
    if (r.mod === Mod.REG || (r.mod === Mod.ANY && rand(2) === 0)) {
      m |= 0xc0;
      if (rex !== 0) rex |= rand(8);
    } else {
      // [rdi + disp8] or [rdi + r8 * scale + disp8]
      if (rex !== 0) rex |= rand(2) << 2;
      const sib = rand(3) === 0;
      m = (m & 0x38) | 0x40 | (sib ? 4 : 7);
      if (sib) rex = (rex === 0 ? 0x40 : rex) | 2;
      modrm = sib ? [(rand(4) << 6) | 7, rand(100)] : [rand(100)];
      // bit offsets in a register address memory: take R9, which is small
      if (r.map === 1 && [0xa3, 0xab, 0xb3, 0xbb].includes(opcode)) {
        m = (m & 0xc7) | 8;
        rex = (rex === 0 ? 0x40 : rex) | 4;
      }
    }
  }
  if (r.vex) {
    const pp = r.p === P.NP ? 0 : r.p === P.P66 ? 1 : r.p === P.F3 ? 2 : 3;
    const vvvv = r.noVvvv ? 0 : rand(16);
    const memory = m < 0xc0;
    const bits = memory ? 0xe0 ^ ((rex & 2) << 5) : rand(8) << 5;
    b.push(0xc4, r.map | bits, (rand(2) << 7) | ((vvvv ^ 15) << 3) | pp);
  } else {
    const mandatory = r.p === P.F3 ? 0xf3 : r.p === P.F2 ? 0xf2 : r.p === P.P66 ? 0x66 : 0;
    if (rand(5) === 0 && r.p !== P.NP && r.name !== 'enter' && r.name !== 'leave') b.push(0x66);
    if (rand(12) === 0 && r.name !== 'pop') b.push(0x67);
    if (mandatory !== 0 && !b.includes(mandatory)) b.push(mandatory);
    if ((r.h.name === 'bitScan') && rand(2) === 0) b.push(0xf3);
    if (rex !== 0) b.push(rex);
    if (r.map >= 1) b.push(0x0f);
    if (r.map === 2) b.push(0x38);
    if (r.map === 3) b.push(0x3a);
  }
  b.push(opcode);
  if (r.modrm) b.push(m, ...modrm);
  return b;
}

const decoder = new Decoder(opcodeTable());
const x = new Insn();

/** Appends immediate bytes until the decoder is content. */
function complete(b: number[]): number[] {
  const bytes = [...b, ...Array.from({ length: 12 }, () => rand(256))];
  const status = decoder.decode({ buf: Uint8Array.from(bytes), pos: 0, end: bytes.length, offset: 0 }, MODE64, x);
  if (status !== DecodeStatus.OK) throw new Error(`undecodable ${b.map((v) => v.toString(16)).join(' ')}`);
  if (x.row.name === 'enter') bytes[x.length - 1] = 0;
  return bytes.slice(0, x.length);
}

function makeCase(name: string, bytes: readonly number[]): Case {
  const regs = Array.from({ length: 16 }, value);
  regs[3] = 0n;
  regs[4] = 200n;
  regs[5] = 180n;
  regs[6] = 40n;
  regs[7] = 240n;
  regs[8] = BigInt(rand(8));
  regs[9] = BigInt.asUintN(64, BigInt(rand(512) - 256));
  if (rand(2) === 0) regs[1] = BigInt(rand(70));
  regs.push(BigInt(0x202 | (rand(0x1000) & 0xcd5)));
  return { name, bytes, regs, pointers: 0xf8 };
}

/** Fixed sequences: division, control flow, addressing. */
const SEQUENCES: [string, number[]][] = [
  ['div cl', [0x0f, 0xb6, 0xc0, 0xb1, 7, 0xf6, 0xf1]],
  ['idiv cl', [0x0f, 0xbe, 0xc0, 0xb1, 0xfd, 0xf6, 0xf9]],
  ['div cx', [0x31, 0xd2, 0x66, 0xb9, 0x11, 0, 0x66, 0xf7, 0xf1]],
  ['div ecx', [0x31, 0xd2, 0xb9, 0x11, 0, 3, 0, 0xf7, 0xf1]],
  ['div rcx', [0x31, 0xd2, 0xb9, 0x11, 0, 3, 0, 0x48, 0xf7, 0xf1]],
  ['idiv cx', [0x66, 0x99, 0x66, 0xb9, 0x11, 0, 0x66, 0xf7, 0xf9]],
  ['idiv ecx', [0x99, 0xb9, 0x11, 0, 3, 0, 0xf7, 0xf9]],
  ['idiv rcx', [0x48, 0x99, 0x48, 0xc7, 0xc1, 0x11, 0xff, 0xff, 0xff, 0x48, 0xf7, 0xf9]],
  ['call, pop', [0xe8, 0, 0, 0, 0, 0x58]],
  ['call rel, jmp', [0xeb, 2, 0xff, 0xc0, 0xe8, 2, 0, 0, 0, 0xff, 0xc0, 0x59]],
  ['lea rip', [0x48, 0x8d, 0x05, 1, 2, 3, 0xff]],
  ['lea rip 32', [0x67, 0x48, 0x8d, 0x05, 1, 2, 3, 0xff]],
  ['mov from rip', [0x48, 0x8b, 0x05, 0xf9, 0xff, 0xff, 0xff]],
  ['push, ret', [0x48, 0x8d, 0x05, 6, 0, 0, 0, 0x50, 0xc2, 8, 0, 0xff, 0xc0, 0x90]],
  ['indirect call', [0x48, 0x8d, 0x05, 4, 0, 0, 0, 0xff, 0xd0, 0xff, 0xc1, 0x59]],
  ['jmp [mem]', [0x48, 0x8d, 0x05, 8, 0, 0, 0, 0x48, 0x89, 0x07, 0xff, 0x27, 0xff, 0xc1, 0x90]],
  ['call rsp-based', [0x48, 0x8d, 0x05, 8, 0, 0, 0, 0x50, 0xff, 0x14, 0x24, 0xff, 0xc1, 0x90, 0x59, 0x5a]],
  ['loop', [0xb9, 5, 0, 0, 0, 0x83, 0xc0, 3, 0xe2, 0xfb]],
  ['loopne', [0xb9, 5, 0, 0, 0, 0x83, 0xc0, 1, 0xe0, 0xfb]],
  ['loope', [0xb9, 5, 0, 0, 0, 0x39, 0xc0, 0xe1, 0xfc]],
  ['loop ecx', [0x67, 0xe2, 2, 0xff, 0xc0]],
  ['jrcxz', [0xe3, 2, 0xff, 0xc0]],
  ['jecxz', [0x67, 0xe3, 2, 0xff, 0xc0]],
  ['pop [rsp+8]', [0x8f, 0x44, 0x24, 8]],
  ['push [rsp+8]', [0xff, 0x74, 0x24, 8]],
  ['pop rsp', [0x48, 0x89, 0x24, 0x24, 0x5c]],
  ['push rsp', [0x54]],
  ['lock cmpxchg', [0xf0, 0x48, 0x0f, 0xb1, 0x0f]],
  ['cmpxchg equal', [0x48, 0x8b, 0x07, 0x0f, 0xb1, 0x0f]],
  ['cmpxchg equal 32 clears nothing of rax', [0x8b, 0x07, 0x48, 0x0f, 0xba, 0xe8, 40, 0x0f, 0xb1, 0x0f]],
  ['pushf', [0x9c, 0x58, 0x25, 0xd5, 0x0c, 0, 0]],
];
for (let cc = 0; cc < 16; cc++) {
  SEQUENCES.push([`jcc ${cc}`, [0x70 | cc, 2, 0xff, 0xc0]], [`jcc near ${cc}`, [0x0f, 0x80 | cc, 2, 0, 0, 0, 0xff, 0xc0]]);
}

/** Flags that are undefined after the ops of the case's code, in EFLAGS positions; -1 if the result is undefined, too. */
function undefinedMask(m: TestMachine, c: Case): number {
  const b = m.builder;
  if (b.consts.nearlyFull) b.consts.reset();
  m.lifter.lift({ buf: Uint8Array.from([...c.bytes, 0xcc]), pos: 0, end: c.bytes.length + 1, offset: 0 }, MODE64, b, 64);
  let mask = 0;
  for (let p = 0; p < b.n * REC; p += REC) {
    const w0 = b.buf[p + F.W0]!;
    const op: Op = w0 & 255;
    const w = (w0 >> 8) & 15;
    if (op >= Op.SHL && op <= Op.SHRD) {
      const double = op >= Op.SHLD;
      const s = b.buf[p + (double ? F.C : F.B)]!;
      if (((w0 >> 16) & 63) === 0) continue;
      const n = (s >= Slot.CONST ? m.V[s * 2]! : Number(c.regs[1]! & 255n)) & (w === 3 ? 63 : 31);
      if (double && n > 8 << w) return -1;
      mask |= undefinedFlags(op, w, n);
    } else mask |= undefinedFlags(op, w, 1);
  }
  return flMaskToEflags(mask);
}

describe.skipIf(!host)('lifted code against the processor', () => {
  const m = new TestMachine(cpuinfo, false);
  const cases: Case[] = [];
  for (const [name, bytes] of SEQUENCES) for (let k = 0; k < 6; k++) cases.push(makeCase(name, bytes));
  for (const r of rows) {
    if (r.feature !== '' && !r.feature.split('+').every((f) => cpuinfo.has(f))) continue;
    const count = Math.min(60, 6 * r.n + 10);
    for (let k = 0; k < count; k++) cases.push(makeCase(r.name, complete(instruction(r))));
  }
  const program = new NativeProgram(cases);
  const want = program.runNative();
  for (const passes of [false, true]) {
    it(`computes registers, flags and memory${passes ? ' (after passes)' : ''}`, () => {
      const got = program.runLifted(cpuinfo, passes);
      const wrong: string[] = [];
      cases.forEach((c, n) => {
        const a = want[n]!;
        const g = got[n]!;
        const undef = undefinedMask(m, c);
        if (undef < 0) return;
        const diff: string[] = [];
        for (let r = 0; r < 16; r++) if (a.regs[r] !== g.regs[r]) diff.push(`r${r} ${g.regs[r]!.toString(16)} not ${a.regs[r]!.toString(16)}`);
        const f = (a.flags ^ g.flags) & 0xcd5 & ~undef;
        if (f !== 0) diff.push(`flags ${(g.flags & 0xcd5).toString(16)} not ${(a.flags & 0xcd5).toString(16)}`);
        const at = a.memory.findIndex((v, k) => v !== g.memory[k]);
        if (at >= 0) diff.push(`memory+${at} ${g.memory[at]} not ${a.memory[at]}`);
        if (diff.length > 0) wrong.push(`${c.name} [${c.bytes.map((v) => v.toString(16).padStart(2, '0')).join(' ')}]: ${diff.join(', ')}; in ${c.regs.map((v) => v.toString(16)).join(' ')}`);
      });
      expect(wrong.slice(0, 12).join('\n'), `${wrong.length} wrong of ${cases.length}`).toBe('');
    });
  }
});
