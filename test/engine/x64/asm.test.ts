/** Every form the assembler has, against binutils: bytes are disassembled by objdump and compared with the expected text. */
import { describe, expect, it } from 'vitest';
import { Asm, MEM, mem, NO_INDEX } from '#lib/engine/host/x64/asm.js';
import { dumpHostCode } from '#lib/engine/host/x64/dump.js';

const N64 = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const N32 = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', ...N64.slice(8).map((r) => `${r}d`)];
const N16 = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di', ...N64.slice(8).map((r) => `${r}w`)];
const N8 = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil', ...N64.slice(8).map((r) => `${r}b`)];
const NAMES = [N8, N16, N32, N64];
const PTR = ['BYTE PTR ', 'WORD PTR ', 'DWORD PTR ', 'QWORD PTR ', 'XMMWORD PTR ', 'YMMWORD PTR '];
const ALU = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'];
const CC = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];

const hex = (v: number): string => (v < 0 ? `-0x${(-v).toString(16)}` : `0x${v.toString(16)}`);
const disp = (d: number): string => (d < 0 ? `-0x${(-d).toString(16)}` : `+0x${d.toString(16)}`);
const unsigned = (v: number, w: number): string => `0x${BigInt.asUintN(8 << w, BigInt(v)).toString(16)}`;
/** Text of an operand code. */
const rm = (w: number, x: number): string => (x < MEM ? NAMES[w]![x]! : `${PTR[w]}[rbp${disp(x - MEM - 128)}]`);

const cases: { make: (a: Asm) => void; text: string }[] = [];
const add = (text: string, make: (a: Asm) => void): number => cases.push({ make, text });

const REGS = [0, 1, 3, 6, 7, 8, 13, 15];
const MEMS = [mem(0), mem(31), mem(32), mem(0x4123) + 4];

for (const w of [0, 1, 2, 3]) {
  for (const r of REGS) {
    const n = NAMES[w]![r]!;
    for (const x of [...REGS.slice(0, 4), 12, ...MEMS]) {
      const t = rm(w, x);
      add(`mov ${n},${t}`, (a) => a.load(w, r, x));
      add(`mov ${t},${n}`, (a) => a.store(w, x, r));
      add(`test ${t},${n}`, (a) => a.test(w, x, r));
      const d = (r + x) & 7;
      add(`${ALU[d]} ${n},${t}`, (a) => a.alu(w, d, r, x));
      add(`${ALU[d]} ${t},${n}`, (a) => a.aluStore(w, d, x, r));
    }
    for (const imm of [1, -1, 127, 0x1234, -0x1234567]) {
      if (w === 0 && imm !== 127) continue;
      // objdump has short names for immediates to AL/AX/EAX only where the short opcode is used.
      const v = w === 1 ? (imm << 16) >> 16 : imm;
      add(`add ${n},${unsigned(v, w)}`, (a) => a.alui(w, 0, r, imm));
      if (w >= 2) add(imm >= 0 && w === 3 ? `mov ${N32[r]},${hex(imm)}` : `mov ${n},${unsigned(imm, w)}`, (a) => a.movi(w, r, imm));
      add(`test ${n},${unsigned(v, w)}`, (a) => a.testi(w, r, imm));
    }
    for (const [digit, name] of [[0, 'rol'], [1, 'ror'], [2, 'rcl'], [3, 'rcr'], [4, 'shl'], [5, 'shr'], [7, 'sar']] as const) {
      add(`${name} ${n},1`, (a) => a.shi(w, digit, r, 1));
      add(`${name} ${n},0x7`, (a) => a.shi(w, digit, r, 7));
      add(`${name} ${n},cl`, (a) => a.shcl(w, digit, r));
    }
    add(`neg ${n}`, (a) => a.opd(w, 0xf7, 3, r));
    add(`not ${n}`, (a) => a.opd(w, 0xf7, 2, r));
    add(`mul ${n}`, (a) => a.opd(w, 0xf7, 4, r));
    add(`idiv ${n}`, (a) => a.opd(w, 0xf7, 7, r));
    add(`inc ${n}`, (a) => a.opd(w, 0xff, 0, r));
    add(`dec ${rm(w, mem(9))}`, (a) => a.opd(w, 0xff, 1, mem(9)));
    if (w > 0) {
      add(`imul ${n},${rm(w, 9)}`, (a) => a.op0f(w, 0xaf, r, 9));
      add(`imul ${n},${rm(w, mem(8))},0x64`, (a) => a.imuli(w, r, mem(8), 100));
      add(`imul ${n},${rm(w, 3)},0x3e8`, (a) => a.imuli(w, r, 3, 1000));
      add(`shld ${rm(w, 9)},${n},0x5`, (a) => {
        a.op0f(w, 0xa4, r, 9);
        a.b(5);
      });
      add(`shrd ${rm(w, 1)},${n},cl`, (a) => a.op0f(w, 0xad, r, 1));
      add(`bt ${rm(w, 9)},${n}`, (a) => a.op0f(w, 0xa3, r, 9));
      add(`bts ${n},0xf`, (a) => a.bti(w, 5, r, 15));
      add(`bt ${rm(w, mem(0))},0x8`, (a) => a.bti(w, 4, mem(0), 8));
      add(`bsf ${n},${rm(w, 10)}`, (a) => a.op0f(w, 0xbc, r, 10));
      for (const [opc, name] of [[0xbc, 'tzcnt'], [0xbd, 'lzcnt'], [0xb8, 'popcnt']] as const) {
        add(`${name} ${n},${rm(w, 11)}`, (a) => a.opF3(w, opc, r, 11));
        add(`${name} ${n},${rm(w, mem(20))}`, (a) => a.opF3(w, opc, r, mem(20)));
      }
      add(`cmovle ${n},${rm(w, 14)}`, (a) => a.cmov(14, w, r, 14));
    }
    add(`crc32 ${w === 3 ? N64[r] : N32[r]},${rm(w, 6)}`, (a) => a.crc32(w, r, 6));
    add(`crc32 ${w === 3 ? N64[r] : N32[r]},${rm(w, mem(40))}`, (a) => a.crc32(w, r, mem(40)));
    if (w < 2) {
      add(`movzx ${N32[r]},${rm(w, 6)}`, (a) => a.movzx(w, r, 6));
      add(`movzx ${N32[r]},${rm(w, mem(33))}`, (a) => a.movzx(w, r, mem(33)));
      add(`movsx ${N32[r]},${rm(w, 9)}`, (a) => a.movsx(w, 2, r, 9));
      add(`movsx ${N64[r]},${rm(w, 7)}`, (a) => a.movsx(w, 3, r, 7));
      add(`movzx ${N32[r]},${PTR[w]}[rcx+r9*1]`, (a) => a.movzxMem(w, r, 1, 9));
    } else {
      add(`mov ${n},${PTR[w]}[rcx+r9*1]`, (a) => a.movzxMem(w, r, 1, 9));
    }
    for (const base of [0, 5, 8, 12, 13]) {
      const b = N64[base]!;
      const zero = (base & 7) === 5 ? '+0x0' : '';
      add(`mov ${n},${PTR[w]}[${b}+rcx*1${zero}]`, (a) => a.opm(w, 0x8b, r, base, 1, 0, 0));
      add(`mov ${PTR[w]}[${b}+r15*8+0x12345],${n}`, (a) => a.opm(w, 0x89, r, base, 15, 3, 0x12345));
      if (w >= 2) {
        add(`lea ${n},[${b}-0x8]`, (a) => a.lea(w, r, base, NO_INDEX, 0, -8));
        add(`lea ${n},[${b}+r9*4+0x7f]`, (a) => a.lea(w, r, base, 9, 2, 127));
        add(`lea ${n},[r9*4+0x10]`, (a) => a.lea(w, r, NO_INDEX, 9, 2, 16));
      }
    }
    add(`mov ${PTR[w]}[rdx+r8*1],${unsigned(w === 1 ? 0x1234 : 0x12, w)}`, (a) => a.moviMem(w, 2, 8, w === 1 ? 0x1234 : 0x12));
    add(`mov ${rm(w, mem(6))},${unsigned(-2, w)}`, (a) => a.movi(w, mem(6), -2));
  }
}
for (const r of REGS) {
  add(`movsxd ${N64[r]},${N32[9]}`, (a) => a.movsx(2, 3, r, 9));
  add(`movabs ${N64[r]},0x123456789abcdef0`, (a) => a.movi64(r, 0x9abcdef0 | 0, 0x12345678));
  add(`mov ${N32[r]},0x9abcdef0`, (a) => a.movi64(r, 0x9abcdef0 | 0, 0));
  add(`mov ${N64[r]},0xffffffff9abcdef0`, (a) => a.movi64(r, 0x9abcdef0 | 0, -1));
  add(`bswap ${N32[r]}`, (a) => a.bswap(2, r));
  add(`bswap ${N64[r]}`, (a) => a.bswap(3, r));
  add(`push ${N64[r]}`, (a) => a.push(r));
  add(`pop ${N64[r]}`, (a) => a.pop(r));
  for (let cc = 0; cc < 16; cc++) add(`set${CC[cc]} ${N8[r]}`, (a) => a.setcc(cc, r));
  for (const w of [2, 3]) {
    const n = NAMES[w]!;
    const W = w - 2;
    add(`andn ${n[r]},${n[9]},${n[10]}`, (a) => a.vex(0, 2, W, 0, 0xf2, r, 9, 10));
    add(`pdep ${n[r]},${n[1]},${rm(w, mem(9))}`, (a) => a.vex(3, 2, W, 0, 0xf5, r, 1, mem(9)));
    add(`pext ${n[r]},${n[1]},${n[2]}`, (a) => a.vex(2, 2, W, 0, 0xf5, r, 1, 2));
    add(`shlx ${n[r]},${n[8]},${n[1]}`, (a) => a.vex(1, 2, W, 0, 0xf7, r, 1, 8));
    add(`sarx ${n[r]},${n[8]},${n[1]}`, (a) => a.vex(2, 2, W, 0, 0xf7, r, 1, 8));
    add(`shrx ${n[r]},${n[8]},${n[1]}`, (a) => a.vex(3, 2, W, 0, 0xf7, r, 1, 8));
    add(`bextr ${n[r]},${n[8]},${n[1]}`, (a) => a.vex(0, 2, W, 0, 0xf7, r, 1, 8));
    add(`bzhi ${n[r]},${n[8]},${n[1]}`, (a) => a.vex(0, 2, W, 0, 0xf5, r, 1, 8));
    add(`blsr ${n[r]},${n[8]}`, (a) => a.vex(0, 2, W, 0, 0xf3, 1, r, 8));
    add(`blsmsk ${n[r]},${n[8]}`, (a) => a.vex(0, 2, W, 0, 0xf3, 2, r, 8));
    add(`blsi ${n[r]},${n[8]}`, (a) => a.vex(0, 2, W, 0, 0xf3, 3, r, 8));
    add(`rorx ${n[r]},${n[8]},0x5`, (a) => {
      a.vex(3, 3, W, 0, 0xf0, r, 0, 8);
      a.b(5);
    });
  }
}
for (const x of [0, 1, 8]) {
  add(`movups xmm${x},XMMWORD PTR [rbp+0x780]`, (a) => a.movups(x, mem(256)));
  add(`movups XMMWORD PTR [rbp+0x780],xmm${x}`, (a) => a.movupsStore(mem(256), x));
  add(`movq xmm${x},QWORD PTR [rbp-0x40]`, (a) => a.movq(x, mem(8)));
  add(`movq QWORD PTR [rbp-0x40],xmm${x}`, (a) => a.movqStore(mem(8), x));
  add(`paddd xmm${x},XMMWORD PTR [rbp+0x780]`, (a) => a.sse(1, 1, 0, 0xfe, x, mem(256)));
  add(`addsd xmm${x},xmm9`, (a) => a.sse(3, 1, 0, 0x58, x, 9));
  add(`pshufb xmm${x},xmm2`, (a) => a.sse(1, 2, 0, 0x00, x, 2));
  add(`cvtsi2sd xmm${x},r9`, (a) => a.sse(3, 1, 1, 0x2a, x, 9));
  add(`movups xmm${x},XMMWORD PTR [rcx+r9*1+0x10]`, (a) => a.sseMem(0, 1, 0, 0x10, x, 1, 9, 16));
  add(`movd xmm${x},DWORD PTR [rcx+r9*1]`, (a) => a.sseMem(1, 1, 0, 0x6e, x, 1, 9, 0));
  add(`vpaddd ymm${x},ymm3,YMMWORD PTR [rbp+0x780]`, (a) => a.vex(1, 1, 0, 1, 0xfe, x, 3, mem(256)));
  add(`vfmadd231pd xmm${x},xmm1,xmm10`, (a) => a.vex(1, 2, 1, 0, 0xb8, x, 1, 10));
}
add('vzeroupper', (a) => a.vzeroupper());
add('lahf', (a) => a.lahf());
add('sahf', (a) => a.sahf());
add('ret', (a) => a.ret());
add('ldmxcsr DWORD PTR [rbp+0x140]', (a) => a.sse(0, 1, 0, 0xae, 2, mem(56)));
add('stmxcsr DWORD PTR [rbp+0x140]', (a) => a.sse(0, 1, 0, 0xae, 3, mem(56)));
add('jmp QWORD PTR [rbp+0x118]', (a) => a.opd(2, 0xff, 4, mem(51)));
add('jmp QWORD PTR [rbp+rcx*1+0x180088]', (a) => a.opm(2, 0xff, 4, 5, 1, 0, 0x180088));

const JUMPS = ['jmp 0x100', 'call 0x100', ...CC.map((c) => `j${c} 0x100`), 'jmp 0x200', 'jne 0x200'];

describe('assembler', () => {
  it(`${cases.length} forms as objdump reads them`, (context) => {
    const asm = new Asm(new Uint8Array(cases.length * 16 + 1024));
    const starts = cases.map((c) => {
      const at = asm.p;
      c.make(asm);
      return at;
    });
    const jumps = asm.p;
    asm.jmp(0x100);
    asm.call(0x100);
    for (let cc = 0; cc < 16; cc++) asm.jcc(cc, 0x100);
    asm.patch32(asm.jmpLater(), 0x200);
    asm.patch32(asm.jccLater(5), 0x200);
    const text = dumpHostCode(asm.u8.slice(0, asm.p), 0);
    if (text.startsWith('objdump is not available')) {
      console.warn(text);
      context.skip();
    }
    const lines = new Map<number, string>();
    for (const line of text.split('\n')) {
      const m = /^ *([0-9a-f]+):\t[0-9a-f ]+\t(.*)$/.exec(line);
      if (m) lines.set(parseInt(m[1]!, 16), m[2]!.replace(/ +/g, ' ').replace(/ #.*$/, '').trim());
    }
    expect(starts.map((at) => lines.get(at) ?? 'nothing')).toEqual(cases.map((c) => c.text));
    const rest = [...lines.keys()].filter((at) => at >= jumps).sort((x, y) => x - y);
    expect(rest.map((at) => lines.get(at))).toEqual(JUMPS);
  });
});
