import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Decoder, DecodeStatus } from '#lib/engine/guest/x86/decode.js';
import { Insn } from '#lib/engine/guest/x86/insn.js';
import { Mode } from '#lib/engine/guest/x86/mode.js';
import { Imm, M64, Mod, OpcodeTable, P, row, type Row } from '#lib/engine/guest/x86/opcodes.js';
import { ALL_ROWS, INTEGER_ROWS, opcodeTable } from '#lib/engine/guest/x86/tables.js';

const table = opcodeTable();
const decoder = new Decoder(table);
const x = new Insn();
const PROT = Mode.CSFLAT | Mode.FLAT | Mode.CPL0;
const MODES = [Mode.CODE16, Mode.CODE32, Mode.CODE64].map((c) => c | PROT);

function window(bytes: ArrayLike<number>, offset = 0): { buf: Uint8Array; pos: number; end: number; offset: number } {
  return { buf: Uint8Array.from(bytes), pos: 0, end: bytes.length, offset };
}

/** Deterministic pseudo-random numbers (xorshift). */
function generator(seed: number): (n: number) => number {
  let s = seed;
  return (n) => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) % n;
  };
}

function claims(r: Row, vex: boolean, map: number, opcode: number, pp: number, is64: boolean, m: number, l: number, w: number): boolean {
  if (r.vex !== vex || r.map !== map || opcode < r.opcode || opcode >= r.opcode + r.n) return false;
  if ((r.p & (1 << pp)) === 0 || (r.m64 === M64.NOT64 && is64) || (r.m64 === M64.ONLY64 && !is64)) return false;
  if (vex && ((r.l !== 2 && r.l !== l) || (r.w !== 2 && r.w !== w))) return false;
  if (!r.modrm) return true;
  if ((r.mod === Mod.MEM && m >= 0xc0) || (r.mod === Mod.REG && m < 0xc0)) return false;
  return (r.digit < 0 || ((m >> 3) & 7) === r.digit) && (r.rm < 0 || (m & 7) === r.rm);
}

describe('opcode tables', () => {
  it('give every encoding at most one owner, and the lookup finds it', () => {
    const byOpcode = new Map<number, Row[]>();
    for (const r of ALL_ROWS) {
      for (let k = 0; k < r.n; k++) {
        const key = ((r.vex ? 4 : 0) + r.map) * 256 + r.opcode + k;
        byOpcode.set(key, [...(byOpcode.get(key) ?? []), r]);
      }
    }
    const find = (cell: number, m: number): number =>
      (cell & 0x20000) !== 0 ? table.groups[cell & 0xffff]![m]! : cell & 0xffff;
    for (const [key, rows] of byOpcode) {
      const vex = key >= 1024;
      const map = (key >> 8) & 3;
      const opcode = key & 255;
      for (let pp = 0; pp < 4; pp++) {
        for (let v = 0; v < (vex ? 8 : 2); v++) {
          const is64 = (v & 1) === 1;
          const l = v >> 2;
          const w = (v >> 1) & 1;
          const cell = vex ? table.vex[((((map - 1) << 8) | opcode) << 5) | (pp << 3) | (l << 2) | (w << 1) | (v & 1)]! : table.legacy[(((map << 8) | opcode) << 3) | (pp << 1) | v]!;
          for (let m = 0; m < 256; m++) {
            const owners = rows.filter((r) => claims(r, vex, map, opcode, pp, is64, m, l, w));
            if (owners.length > 1) expect.fail(`${owners.map((o) => o.name).join()} claim map ${map} opcode ${opcode.toString(16)} modrm ${m.toString(16)}`);
            if (table.rows[find(cell, m)] !== (owners[0] ?? table.rows[0])) expect.fail(`lookup of map ${map} opcode ${opcode.toString(16)}`);
          }
        }
      }
    }
  });

  it('refuse overlapping rows', () => {
    const h = (): void => undefined;
    expect(() => new OpcodeTable([row(1, 5, 'a', h, { modrm: true }), row(1, 5, 'b', h, { digit: 3 })])).toThrow(/overlap/);
    expect(() => new OpcodeTable([row(1, 5, 'a', h, { p: P.F3 }), row(1, 5, 'b', h, { p: P.NP66 })])).not.toThrow();
  });
});

describe('decoder', () => {
  it('tells short windows, long instructions and undefined encodings apart', () => {
    const at = (bytes: number[], mode = MODES[2]!): number => decoder.decode(window(bytes), mode, x);
    expect(at([0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7])).toBe(DecodeStatus.NEED_MORE);
    expect(at([0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8])).toBe(DecodeStatus.OK);
    expect([x.imm, x.immHi]).toEqual([0x04030201, 0x08070605]);
    expect(at([])).toBe(DecodeStatus.NEED_MORE);
    expect(at([...new Array<number>(14).fill(0x66), 0x90])).toBe(DecodeStatus.OK);
    expect(at([...new Array<number>(15).fill(0x66), 0x90])).toBe(DecodeStatus.TOO_LONG);
    expect(at(new Array<number>(12).fill(0x66))).toBe(DecodeStatus.NEED_MORE);
    expect(at(new Array<number>(40).fill(0x66))).toBe(DecodeStatus.TOO_LONG);
    expect(at([0x06])).toBe(DecodeStatus.UNDEFINED);
    expect(at([0x06], MODES[1])).toBe(DecodeStatus.OK);
    expect(at([0x62, 0xf1, 0x7c, 0x48, 0x28, 0xc1])).toBe(DecodeStatus.UNDEFINED);
    expect(at([0xf0, 0x01, 0xc0])).toBe(DecodeStatus.UNDEFINED);
    expect(at([0xf0, 0x01, 0x00])).toBe(DecodeStatus.OK);
    expect(at([0xf0, 0x39, 0x00])).toBe(DecodeStatus.UNDEFINED);
    expect(at([0xf0, 0x90])).toBe(DecodeStatus.UNDEFINED);
  });

  it('reports page offsets', () => {
    expect(decoder.decode(window([0x05, 1, 0, 0, 0], 4094), MODES[2]!, x)).toBe(DecodeStatus.OK);
    expect([x.start, x.next]).toEqual([4094, 4099]);
  });

  it('refuses VEX in real mode and after legacy prefixes', () => {
    const andn = [0xc4, 0xe2, 0x70, 0xf2, 0xc2];
    expect(decoder.decode(window(andn), MODES[1]!, x)).toBe(DecodeStatus.OK);
    expect([x.reg, x.vvvv, x.rm, x.opsize]).toEqual([0, 1, 2, 2]);
    expect(decoder.decode(window(andn), Mode.CODE16 | Mode.REAL, x)).toBe(DecodeStatus.UNDEFINED);
    expect(decoder.decode(window([0x66, ...andn]), MODES[1]!, x)).toBe(DecodeStatus.UNDEFINED);
    expect(decoder.decode(window([0xc4, 0x62, 0xf0, 0xf2, 0xc2]), MODES[2]!, x)).toBe(DecodeStatus.OK);
    expect([x.reg, x.opsize]).toEqual([8, 3]);
  });
});

const objdump = spawnSync('objdump', ['--version']).status === 0;
if (!objdump) console.log('objdump is not installed: decoder comparison skipped');

/** Runs objdump over slots of 32 bytes; returns the first instruction of each: length and text ('' if bad). */
function disassemble(code: Uint8Array, bits: number): { length: number; text: string }[] {
  const dir = mkdtempSync(join(tmpdir(), 'vmx-dis-'));
  try {
    const file = join(dir, 'code.bin');
    writeFileSync(file, code);
    const machine = bits === 64 ? 'i386:x86-64' : bits === 32 ? 'i386' : 'i8086';
    const out = execFileSync('objdump', ['-D', '-w', '-z', '-b', 'binary', '-m', machine, '-M', bits === 64 ? 'intel,intel64' : 'intel', file], { maxBuffer: 1 << 28, encoding: 'latin1' });
    const slots: { length: number; text: string }[] = [];
    for (const line of out.split('\n')) {
      const m = /^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t?(.*)$/.exec(line);
      if (m === null) continue;
      const at = parseInt(m[1]!, 16);
      if (at % 32 !== 0) continue;
      const text = m[3]!.trim();
      slots[at / 32] = { length: m[2]!.trim().split(' ').length, text: text.includes('(bad)') ? '' : text };
    }
    return slots;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const REG64 = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const REG32 = 'eax ecx edx ebx esp ebp esi edi r8d r9d r10d r11d r12d r13d r14d r15d'.split(' ');
const REG16 = 'ax cx dx bx sp bp si di'.split(' ');
const ADDRESS_REGS = [[], REG16, REG32, REG64];

/** The memory operand as objdump writes it in Intel syntax, without displacement sign games: sorted terms. */
function memoryTerms(i: Insn): string {
  const names = ADDRESS_REGS[i.addrsize]!;
  const t: string[] = [];
  if (i.riprel) t.push(i.addrsize === 3 ? 'rip' : 'eip');
  if (i.base >= 0) t.push(names[i.base]!);
  if (i.index >= 0) t.push(i.addrsize === 1 ? names[i.index]! : `${names[i.index]!}*${1 << i.scale}`);
  return t.sort().join('+');
}

function objdumpTerms(text: string): { terms: string; disp: number } | undefined {
  const m = /\[([^\]]*)\]/.exec(text);
  if (m === null) return undefined;
  let disp = 0;
  const terms: string[] = [];
  for (const part of m[1]!.replaceAll('-', '+-').split('+')) {
    if (part === '') continue;
    // riz and eiz: objdump's spelling of a SIB byte without index
    if (/^-?0x/.test(part)) disp = Number(BigInt.asIntN(32, part.startsWith('-') ? -BigInt(part.slice(1)) : BigInt(part)));
    else if (!/^[er]iz/.test(part)) terms.push(part);
  }
  return { terms: terms.sort().join('+'), disp };
}

describe.skipIf(!objdump)('decoder against objdump', () => {
  for (const bits of [16, 32, 64]) {
    it(`agrees in ${bits}-bit mode`, () => {
      const rand = generator(bits * 7919 + 1);
      const count = 4000;
      const code = new Uint8Array(count * 32).fill(0x90);
      const pick = <T>(a: readonly T[]): T => a[rand(a.length)]!;
      for (let n = 0; n < count; n++) {
        const bytes: number[] = [];
        const r = pick(INTEGER_ROWS);
        if (!r.vex) {
          if (rand(4) === 0) bytes.push(0x66);
          if (rand(6) === 0) bytes.push(0x67);
          if (rand(6) === 0) bytes.push(pick([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]));
          const mandatory = r.p === P.F3 ? 0xf3 : r.p === P.F2 ? 0xf2 : r.p === P.P66 ? 0x66 : 0;
          if (mandatory !== 0 && !bytes.includes(mandatory)) bytes.push(mandatory);
          if (bits === 64 && rand(2) === 0) bytes.push(0x40 | rand(16));
          if (r.map >= 1) bytes.push(0x0f);
          if (r.map === 2) bytes.push(0x38);
          if (r.map === 3) bytes.push(0x3a);
        } else {
          const pp = r.p === P.NP ? 0 : r.p === P.P66 ? 1 : r.p === P.F3 ? 2 : 3;
          const vvvv = r.noVvvv ? 15 : bits === 64 ? rand(16) : 8 + rand(8);
          bytes.push(0xc4, r.map | (bits === 64 ? rand(8) << 5 : 0xe0), (rand(2) << 7) | (vvvv << 3) | pp);
        }
        bytes.push(r.opcode + rand(r.n));
        if (r.modrm) {
          let m = rand(256);
          if (r.digit >= 0) m = (m & 0xc7) | (r.digit << 3);
          if (r.mod === Mod.REG) m |= 0xc0;
          if (r.rm >= 0) m = (m & 0xf8) | r.rm;
          bytes.push(m);
        }
        for (let k = 0; k < 9; k++) bytes.push(rand(256));
        code.set(bytes, n * 32);
      }
      const want = disassemble(code, bits);
      const wrong: string[] = [];
      let compared = 0;
      let operands = 0;
      for (let n = 0; n < count; n++) {
        const w = want[n]!;
        if (w.text === '') continue;
        const status = decoder.decode({ buf: code, pos: n * 32, end: code.length, offset: 0 }, MODES[[16, 32, 64].indexOf(bits)]!, x);
        const bytes = Array.from(code.subarray(n * 32, n * 32 + 15), (v) => v.toString(16).padStart(2, '0')).join(' ');
        // A REX prefix that a later prefix voids is an instruction of its own for objdump; it also knows extensions that
        // do not exist here (VMX, SVM, TPAUSE, AVX without its table) and accepts prefixes and modes in groups 0F 01 and 0F AE that #UD
        if (/^((data16|addr32|[c-g]s|repn?z|lock) )*rex(\.[WRXB]+)?$/.test(w.text)) continue;
        if (status === DecodeStatus.UNDEFINED && /0f (01|ae) [c-f]/.test(bytes)) continue;
        if (status === DecodeStatus.UNDEFINED && /(^| )v[a-z]+ /.test(w.text)) continue;
        if (status !== DecodeStatus.OK || x.length !== w.length) {
          wrong.push(`${bytes}: ${w.length} "${w.text}", ours ${x.length} status ${status} ${x.row?.name}`);
          continue;
        }
        compared++;
        if (!x.row.modrm || x.mod === 3) continue;
        const m = objdumpTerms(w.text);
        if (m === undefined) continue;
        const ours = memoryTerms(x);
        const mask = x.addrsize === 1 ? 0xffff : -1;
        if (m.terms !== ours || ((m.disp ^ x.disp) & mask) !== 0) wrong.push(`${bytes}: "${w.text}", ours ${ours} ${x.disp}`);
        else operands++;
        if (x.row.imm === Imm.IB || x.row.imm === Imm.IZ) {
          const im = /,(0x[0-9a-f]+)$/.exec(w.text);
          if (im !== null && ((Number(BigInt.asIntN(32, BigInt(im[1]!))) ^ x.imm) & 0xff) !== 0) wrong.push(`${bytes}: "${w.text}", ours imm ${x.imm}`);
        }
      }
      expect(wrong.slice(0, 25).join('\n'), `${wrong.length} wrong of ${compared}`).toBe('');
      expect(compared).toBeGreaterThan(2500);
      expect(operands).toBeGreaterThan(600);
    });
  }
});
