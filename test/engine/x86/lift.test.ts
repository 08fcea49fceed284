import { describe, expect, it } from 'vitest';
import { LiftResult } from '#lib/engine/cpu.js';
import { HELPER_SPECS, H } from '#lib/engine/guest/x86/helper-names.js';
import { X86Lifter } from '#lib/engine/guest/x86/lifter.js';
import { Mode, Seg, X } from '#lib/engine/guest/x86/mode.js';
import { M64 as M64Rule, Mod, P } from '#lib/engine/guest/x86/opcodes.js';
import { INTEGER_ROWS } from '#lib/engine/guest/x86/tables.js';
import { HelperRegistry, HelperResult } from '#lib/engine/helpers.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { printIr } from '#lib/engine/ir/print.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { TestMachine } from './native-run.js';

const M64 = Mode.CODE64 | Mode.CSFLAT | Mode.FLAT | Mode.LONG | Mode.CPL0;
const M32 = Mode.CODE32 | Mode.SS32 | Mode.CSFLAT | Mode.FLAT | Mode.CPL0;
const M32SEG = Mode.CODE32 | Mode.SS32 | Mode.USER;
const P16 = Mode.CODE16 | Mode.CPL0;
const R16 = Mode.CODE16 | Mode.REAL | Mode.CPL0;
const V86 = Mode.CODE16 | Mode.REAL | Mode.V86 | Mode.USER;
const ALL_FEATURES = new Set(INTEGER_ROWS.flatMap((r) => r.feature.split('+')).concat('abm', 'cx16'));

const NAMES = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 es cs ss ds fs gs eflags'.split(' ');
const helpers = new HelperRegistry<never>();
for (const s of HELPER_SPECS) helpers.define(s.name, () => HelperResult.CONTINUE);
const names = {
  name: (s: number): string | undefined => (s >= 8 && s <= 30 ? NAMES[s - 8] : undefined),
  helper: (id: number): string => helpers.list[id]!.name,
};

class Bench {
  readonly b = new IrBuilder(new ConstPool());
  readonly lifter: X86Lifter;
  readonly win = { buf: new Uint8Array(0), pos: 0, end: 0, offset: 0 };

  constructor(features: ReadonlySet<string> = ALL_FEATURES) {
    this.lifter = new X86Lifter(helpers, features);
  }

  lift(bytes: readonly number[], mode: number, max = 64, offset = 0x100): LiftResult {
    Object.assign(this.win, { buf: Uint8Array.from(bytes), pos: 0, end: bytes.length, offset });
    return this.lifter.lift(this.win, mode, this.b, max);
  }

  /** IR of one instruction, given as hex digits, without the jump to the next one. */
  ir(hex: string, mode: number): string[] {
    const bytes = hex.match(/../g)!.map((v) => parseInt(v, 16));
    expect(this.lift(bytes, mode, 1)).toBe(LiftResult.OK);
    verifyIr(this.b, names);
    const lines = printIr(this.b, names).trim().split('\n').map((l) => l.trim().replace(/\s+/g, ' '));
    return lines.slice(1);
  }

  /** Names of the helpers that one instruction calls. */
  calls(bytes: readonly number[], mode: number): string[] {
    this.lift(bytes, mode, 1);
    return [...printIr(this.b, names).matchAll(/x86\.\w+/g)].map((m) => m[0].slice(4));
  }
}
const t = new Bench();

describe('helper table', () => {
  it('describes every helper once', () => {
    expect(HELPER_SPECS.length).toBe(H.COUNT);
    expect(new Set(HELPER_SPECS.map((s) => s.name)).size).toBe(H.COUNT);
  });
});

describe('lifter', () => {
  it('emits valid IR for every row in every mode', () => {
    let seed = 99;
    const rand = (n: number): number => {
      seed ^= seed << 13;
      seed ^= seed >>> 17;
      seed ^= seed << 5;
      return (seed >>> 0) % n;
    };
    for (const mode of [M64, M64 & ~Mode.CPL0, M32, M32SEG, P16, R16, V86]) {
      for (const r of INTEGER_ROWS) {
        // INC and DEC are REX prefixes there, of whatever follows.
        if (mode & Mode.CODE64 && r.m64 === M64Rule.NOT64) continue;
        for (let k = 0; k < 12; k++) {
          const bytes: number[] = [];
          if (r.vex) {
            bytes.push(0xc4, r.map | 0xe0, (rand(2) << 7) | (rand(16) << 3) | (r.p === P.NP ? 0 : r.p === P.P66 ? 1 : r.p === P.F3 ? 2 : 3));
          } else {
            if (rand(3) === 0) bytes.push(0x66);
            if (rand(3) === 0) bytes.push(0x67);
            if (rand(3) === 0) bytes.push([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][rand(6)]!);
            if (r.p === P.F3) bytes.push(0xf3);
            if (r.p === P.F2) bytes.push(0xf2);
            if (mode & Mode.CODE64 && rand(2) === 0) bytes.push(0x40 | rand(16));
            if (r.map > 0) bytes.push(0x0f);
            if (r.map > 1) bytes.push(r.map === 2 ? 0x38 : 0x3a);
          }
          bytes.push(r.opcode + rand(r.n));
          let m = rand(256);
          if (r.digit >= 0) m = (m & 0xc7) | (r.digit << 3);
          if (r.mod === Mod.REG) m |= 0xc0;
          if (r.modrm) bytes.push(m);
          while (bytes.length < 24) bytes.push(rand(256));
          if (t.b.consts.nearlyFull) t.b.consts.reset();
          expect(t.lift(bytes, mode, 1)).toBe(LiftResult.OK);
          try {
            verifyIr(t.b, names);
          } catch (e) {
            expect.fail(`${r.name} ${bytes.map((v) => v.toString(16).padStart(2, '0')).join(' ')} mode ${mode}: ${String(e)}`);
          }
        }
      }
    }
  });

  it('ends blocks at terminators, limits and page ends', () => {
    const nops = new Array<number>(20).fill(0x40);
    expect(t.lift([0x90, 0xc3, 0x90], M64)).toBe(LiftResult.OK);
    expect([t.b.insns, t.win.pos]).toEqual([2, 2]);
    t.lift(nops, M32, 5);
    expect([t.b.insns, t.win.pos]).toEqual([5, 5]);
    t.lift(nops, M32 | Mode.STEP, 5);
    expect(t.b.insns).toBe(1);
    // the instruction that does not fit ends the block before it
    expect(t.lift([0x40, 0x40, 0xb8, 1, 2], M32, 64, 4091)).toBe(LiftResult.OK);
    expect([t.b.insns, t.win.pos]).toEqual([2, 2]);
    expect(t.lift([0xb8, 1, 2], M32, 64, 4093)).toBe(LiftResult.NEED_MORE);
    // in a window that spans both pages it is alone in its block
    expect(t.lift([0xb8, 1, 2, 3, 4, 0x40], M32, 64, 4093)).toBe(LiftResult.OK);
    expect([t.b.insns, t.win.pos]).toEqual([1, 5]);
    expect(t.lift([0x40, 0xb8, 1, 2, 3, 4], M32, 64, 4092)).toBe(LiftResult.OK);
    expect([t.b.insns, t.win.pos]).toEqual([1, 1]);
    // an instruction that ends with the page
    expect(t.lift([0x40, 0x40, 0x40], M32, 64, 4094)).toBe(LiftResult.OK);
    expect([t.b.insns, t.win.pos]).toEqual([2, 2]);
  });

  it('raises #UD and #GP for encodings that do not exist', () => {
    expect(t.calls([0x0f, 0x0b], M64)).toEqual(['ud']);
    expect(t.calls([0x06], M64)).toEqual(['ud']);
    expect(t.calls([0xf0, 0x90], M64)).toEqual(['ud']);
    expect(t.calls([...new Array<number>(15).fill(0x66), 0x90], M64)).toEqual(['gp0']);
    expect(t.calls([0x0f, 0x00, 0xc0], R16)).toEqual(['ud']);
    expect(t.calls([0x8e, 0xc8], M32)).toEqual(['ud']);
    const old = new Bench(new Set());
    expect(old.calls([0xf3, 0x0f, 0xb8, 0xc0], M64)).toEqual(['ud']);
    expect(t.calls([0xf3, 0x0f, 0xb8, 0xc0], M64)).toEqual([]);
    expect(old.ir('f30fbcc1', M64)[0]).toMatch(/= bsf/);
    expect(t.ir('f30fbcc1', M64)[0]).toMatch(/= tzcnt/);
    expect(old.calls([0x48, 0x0f, 0xc7, 0x0f], M64)).toEqual(['ud']);
  });

  it('checks privilege', () => {
    expect(t.calls([0x0f, 0x01, 0x10], M64 & ~Mode.CPL0)).toEqual(['gp0']);
    expect(t.calls([0x0f, 0x01, 0x10], M64)).toEqual(['lgdt']);
    expect(t.calls([0xfa], M64)).toEqual([]);
    expect(t.calls([0xfa], M64 & ~Mode.CPL0)).toEqual(['cli']);
    expect(t.calls([0xfa], V86)).toEqual(['cli']);
    expect(t.calls([0x9c], V86)).toEqual(['pushf']);
    expect(t.calls([0x9c], R16)).toEqual([]);
  });

  it('emits the expected IR', () => {
    const golden: [number, string][] = [
      [M64, '480105aa000000'], [M64, '65488b0425aa000000'], [M64, '64488b18'], [M64, '67018480aa000000'], [M64, '8f442408'], [M64, '5c'],
      [M64, 'ffd4'], [M64, '0fb10f'], [M64, '0fa307'], [M64, 'f348a5'], [M64, 'fa'], [M64, '8ed0'], [M64, 'f6f1'], [M64, '75fc'],
      [M32, '648b06'], [M32, '66eb10'], [M32, 'e2fc'], [R16, '8b460a'], [R16, '50'], [R16, 'e8fb00'], [R16, '75fc'],
    ];
    const text = golden.map(([mode, hex]) => `${hex}:\n${t.ir(hex, mode).map((l) => `  ${l}`).join('\n')}`).join('\n');
    expect(text).toMatchInlineSnapshot(`
      "480105aa000000:
        t0 = lea.64 s1, _, 0, 433
        t1 = ld.64 t0, 1
        t2 = add.64 t1, rax !cpazso
        st.64 t0, t2, 0
        jmp 263
      65488b0425aa000000:
        t0 = lea.64 gs, _, 0, 170
        rax = ld.64 t0, 0
        jmp 265
      64488b18:
        t0 = lea.64 fs, rax, 0, 0
        rbx = ld.64 t0, 0
        jmp 260
      67018480aa000000:
        t0 = lea.32 rax, rax, 2, 170
        t1 = ld.32 t0, 1
        t2 = add.32 t1, rax !cpazso
        st.32 t0, t2, 0
        jmp 264
      8f442408:
        t0 = ld.64 rsp, 0
        t1 = lea.64 rsp, _, 0, 16
        st.64 t1, t0, 0
        rsp = lea.64 rsp, _, 0, 8
        jmp 260
      5c:
        t0 = ld.64 rsp, 0
        rsp = lea.64 rsp, _, 0, 8
        rsp = mov.64 t0
        jmp 257
      ffd4:
        t0 = mov.64 rsp
        t1 = lea.64 s1, _, 0, 258
        t2 = lea.64 rsp, _, 0, -8
        st.64 t2, t1, 0
        rsp = mov.64 t2
        jmpi t0, 1
      0fb10f:
        t0 = ld.32 rdi, 1
        sub.32 rax, t0 !cpazso
        t1 = cmov.e.32 rcx, t0
        st.32 rdi, t1, 0
        rax = cmov.e.64 rax, t0
        jmp 259
      0fa307:
        t0 = sx.32 rax, 64
        t1 = sar.64 t0, #5
        t2 = lea.64 rdi, t1, 2, 0
        t3 = ld.32 t2, 0
        bt.32 t3, rax !c
        jmp 259
      f348a5:
        t0 = and.32 eflags, #1024
        t1 = selnz.32 t0, #0, rcx
        t2 = copy.64 rdi, rsi, t1
        rsi = lea.64 rsi, t2, 3, 0
        rdi = lea.64 rdi, t2, 3, 0
        rcx = sub.64 rcx, t2
        callif.64 x86.rep rcx, _, 13059
        jmp 259
      fa:
        eflags = and.32 eflags, #-513
        jmp 257
      8ed0:
        call x86.load_sreg rax, _, _, 2
        exit 3, 258
      f6f1:
        t0 = exth rax
        t1, t2 = div.8 rax, t0, rcx
        rax = mov.8 t1
        rax = insh t2
        jmp 258
      75fc:
        jcc.ne 254, 258
      648b06:
        t0 = lea.32 rsi, _, 0, 0
        segchk t0, 4, 0, 4
        t1 = lea.32 t0, fs, 0, 0
        rax = ld.32 t1, 0
        jmp 259
      66eb10:
        t0 = lea.16 s1, _, 0, 275
        jmpi t0, 0
      e2fc:
        rcx = lea.32 rcx, _, 0, -1
        jnz.32 rcx, 254, 258
      8b460a:
        t0 = lea.16 rbp, _, 0, 10
        segchk t0, 2, 0, 2
        t1 = lea.32 t0, ss, 0, 0
        rax = ld.16 t1, 0
        jmp 259
      50:
        t0 = lea.16 rsp, _, 0, -2
        segchk t0, 2, 1, 2
        t1 = lea.32 t0, ss, 0, 0
        st.16 t1, rax, 0
        rsp = mov.16 t0
        jmp 257
      e8fb00:
        t0 = lea.32 s1, _, 0, 259
        t1 = sub.32 t0, cs
        t2 = lea.16 rsp, _, 0, -2
        segchk t2, 2, 1, 2
        t3 = lea.32 t2, ss, 0, 0
        st.16 t3, t1, 0
        rsp = mov.16 t2
        t4 = lea.32 s1, _, 0, 510
        t5 = sub.32 t4, cs
        t6 = zx.16 t5
        t7 = lea.32 t6, cs, 0, 0
        jmpi t7, 1
      75fc:
        t0 = lea.32 s1, _, 0, 254
        t1 = sub.32 t0, cs
        t2 = zx.16 t1
        t3 = lea.32 t2, cs, 0, 0
        t4 = lea.32 s1, _, 0, 258
        t5 = cmov.ne.64 t3, t4
        jmpi t5, 0"
    `);
  });
});

describe('16-bit code', () => {
  const CS = 0x20000;
  const SS = 0x30000;
  const DS = 0x40000;

  /** Runs real-mode code at CS:ip until CS:end. */
  function run(code: readonly number[], ip: number, end: number, regs: Partial<Record<number, number>> = {}): TestMachine {
    const m = new TestMachine(ALL_FEATURES, true);
    const set = (slot: number, v: number): void => {
      m.V[slot * 2] = v;
    };
    for (const [seg, base] of [[Seg.ES, DS], [Seg.CS, CS], [Seg.SS, SS], [Seg.DS, DS]] as const) set(X.SEGBASE + seg, base);
    for (let s = 0; s < 6; s++) {
      set(X.LIMIT_R + s, 0xffff);
      set(X.LIMIT_W + s, 0xffff);
    }
    set(X.RSP, 0x100);
    for (const [r, v] of Object.entries(regs)) set(X.RAX + Number(r), v!);
    m.ram8.set(code, CS + ip);
    m.run(CS + ip, CS + end, R16);
    return m;
  }
  const word = (m: TestMachine, a: number): number => m.ram8[a]! | (m.ram8[a + 1]! << 8);
  const reg = (m: TestMachine, r: number): number => m.V[(X.RAX + r) * 2]! >>> 0;

  it('wraps IP at 64 KiB', () => {
    // FFF8: jmp +10h -> 000Ah
    const m = run([0xeb, 0x10], 0xfff8, 0x000a);
    expect(m.V[2 * 2]).toBe(CS + 0x0a);
  });

  it('calls, returns, loops and keeps the upper half of ESP', () => {
    // mov cx,3; a: call f; loop a; jmp end; f: inc ax; ret
    const m = run([0xb9, 3, 0, 0xe8, 4, 0, 0xe2, 0xfb, 0xeb, 2, 0x40, 0xc3], 0x10, 0x1c, { 0: 0x12340000, 4: 0x5678_0000 });
    expect(reg(m, 0)).toBe(0x12340003);
    expect(reg(m, 4)).toBe(0x56780000);
    expect(word(m, SS + 0xfffe)).toBe(0x16);
  });

  it('pushes and pops all registers and ENTER frames', () => {
    // pusha; xor di,di; popa; enter 8,0; leave
    const m = run([0x60, 0x31, 0xff, 0x61, 0xc8, 8, 0, 0, 0xc9], 0, 9, { 0: 1, 1: 2, 2: 3, 3: 4, 5: 6, 6: 7, 7: 8 });
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((r) => reg(m, r))).toEqual([1, 2, 3, 4, 0x100, 6, 7, 8]);
    expect(word(m, SS + 0xfa)).toBe(3);
    expect(word(m, SS + 0xfe)).toBe(6);
  });

  it('moves strings in both directions and addresses by BP through SS', () => {
    // cld; movsw; std; movsb; mov [bp+di],ax
    const m = run([0xfc, 0xa5, 0xfd, 0xa4, 0x89, 0x03], 0, 6, { 0: 0xabcd, 5: 0x50, 6: 0xffff_fffe, 7: 0x20 });
    expect(reg(m, 6)).toBe(0xffff_ffff);
    expect(reg(m, 7)).toBe(0x21);
    expect(word(m, SS + 0x71)).toBe(0xabcd);
  });

  it('uses 32-bit operands and addresses with prefixes', () => {
    // mov eax,12345678h; mov [ebx+ecx*4],eax; jecxz (not taken); movzx edx, word [bx]
    const m = run([0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, 0x67, 0x66, 0x89, 0x04, 0x8b, 0x67, 0xe3, 0x10, 0x66, 0x0f, 0xb7, 0x17], 0, 18, { 1: 4, 3: 0x10, 2: -1 });
    expect(word(m, DS + 0x22)).toBe(0x1234);
    expect(reg(m, 2)).toBe(0);
  });
});
