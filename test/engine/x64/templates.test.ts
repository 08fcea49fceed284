/** The sequences that are written whole, for every register they take, against binutils: objdump's text of them is compared with what they say they are. */
import { describe, expect, it } from 'vitest';
import { Asm, R } from '#lib/engine/host/x64/asm.js';
import { dumpHostCode } from '#lib/engine/host/x64/dump.js';
import * as t from '#lib/engine/host/x64/templates.js';
import { JC_ENTRIES, Slot, STATE_BIAS, TLB_OFFSETS, TlbField } from '#lib/engine/state.js';

const N64 = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const N32 = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', ...N64.slice(8).map((r) => `${r}d`)];
const SCRATCH = [R.RAX, R.RCX, R.RDX, R.RDI];
const TARGET = 0x10;

const cases: { make: (a: Asm) => number | void; text: string[] }[] = [];
/** `make` may return the position of a jump, which then leads to TARGET. */
const add = (make: (a: Asm) => number | void, ...text: string[]): number => cases.push({ make, text });

for (let at = 0; at < 16; at++) {
  if (at === R.RSP || at === R.RBP) continue;
  for (const [i, a] of SCRATCH.entries()) {
    const u = SCRATCH[(i + 1) % 4]!;
    if (at === a || at === u) continue;
    for (const bytes of [1, 2, 8, 32]) {
      const tag = bytes === 2 ? TlbField.TAG_WRITE : TlbField.TAG_READ;
      add(
        (asm) => t.tlbLookUp(asm, at, a, u, 0, bytes - 1, t.tlbTable(1), tag),
        `rorx ${N32[a]},${N32[at]},0x7`,
        bytes > 1 ? `lea ${N64[u]},[${N64[at]}+0x${(bytes - 1).toString(16)}]` : `mov ${N64[u]},${N64[at]}`,
        `and ${N32[a]},0x${TLB_OFFSETS.toString(16)}`,
        `and ${N64[u]},0xfffffffffffff000`,
        `cmp ${N64[u]},QWORD PTR [rbp+${N64[a]}*1+0x${(t.tlbTable(1) + tag).toString(16)}]`,
        `jne 0x${TARGET.toString(16)}`,
        `mov ${N64[a]},QWORD PTR [rbp+${N64[a]}*1+0x${(t.tlbTable(1) + TlbField.ADDEND).toString(16)}]`,
      );
    }
    add(
      (asm) => t.tlbLookUp(asm, at, a, u, -0x30, 7, t.tlbTable(1), TlbField.TAG_READ),
      `lea ${N64[a]},[${N64[at]}+0x7]`,
      `rorx ${N32[a]},${N32[a]},0x7`,
      `lea ${N64[u]},[${N64[at]}-0x30]`,
      `and ${N32[a]},0x${TLB_OFFSETS.toString(16)}`,
      `and ${N64[u]},0xfffffffffffff000`,
      `cmp ${N64[u]},QWORD PTR [rbp+${N64[a]}*1+0x${t.tlbTable(1).toString(16)}]`,
      `jne 0x${TARGET.toString(16)}`,
      `mov ${N64[a]},QWORD PTR [rbp+${N64[a]}*1+0x${(t.tlbTable(1) + TlbField.ADDEND).toString(16)}]`,
    );
  }
  add((asm) => t.accessRecord(asm, at, 0x102, 0x123_0456), `mov QWORD PTR [rbp-0x58],${N64[at]}`, 'mov DWORD PTR [rbp-0x48],0x102', 'mov DWORD PTR [rbp-0x60],0x1230456');
}
add((asm) => t.pendingCheck(asm), 'cmp QWORD PTR [rbp-0x68],0x0', 'jne 0x10');
add((asm) => t.jumpCacheProbe(asm, 2), 'rorx ecx,eax,0x9', 'xor ecx,eax', `and ecx,0x${(JC_ENTRIES - 1).toString(16)}`, 'shl ecx,0x4', `add ecx,DWORD PTR [rbp+0x${(Slot.JC_TABLE * 8 + 8 - STATE_BIAS).toString(16)}]`, `cmp rax,QWORD PTR [rbp+rcx*1+0x${(t.JUMP_TARGETS - 8).toString(16)}]`, 'jne 0x10');
add((asm) => t.transfer(asm, -0x1234, 0x40_0030, false, TARGET), 'mov eax,0xffffedcc', 'mov edx,0x400030', 'jmp 0x10');
add((asm) => t.transfer(asm, 0x1234, 0x40_0030, true, TARGET), 'mov eax,0x1234', 'mov edx,0x400030', 'call 0x10');
add((asm) => t.linearPc(asm, 0x1234, false), 'mov rax,QWORD PTR [rbp-0x78]', 'add rax,0x1234');
add((asm) => t.linearPc(asm, -0x1234, true), 'mov eax,DWORD PTR [rbp-0x78]', 'add eax,0xffffedcc');
add((asm) => t.pushReturn(asm, 0x20, false, 0x9fb00), 'lea rcx,[rbp+0x9fb00]', 'cmp rsp,rcx', 'jb 0x10', 'mov rcx,QWORD PTR [rbp-0x78]', 'add rcx,0x20', 'push rcx');
add((asm) => t.pushReturn(asm, 0x20, true, 0x9fb00), 'lea rcx,[rbp+0x9fb00]', 'cmp rsp,rcx', 'jb 0x10', 'mov ecx,DWORD PTR [rbp-0x78]', 'add ecx,0x20', 'push rcx');
add((asm) => t.landing(asm, 0x1_2345, TARGET), 'cmp ecx,0x12345', 'pop rcx', 'jne 0x10');
add((asm) => t.unchained(asm, asm.p - 0x40, 0x123, TARGET), 'call 0x10', 'test eax,0x45123');

describe('templates', () => {
  it(`${cases.length} sequences as objdump reads them`, (context) => {
    const asm = new Asm(new Uint8Array(cases.length * 64 + 64));
    const text: string[] = [];
    for (const c of cases) {
      const jump = c.make(asm);
      if (typeof jump === 'number') asm.patch32(jump, TARGET);
      text.push(...c.text);
    }
    const dump = dumpHostCode(asm.u8.slice(0, asm.p), 0);
    if (dump.startsWith('objdump is not available')) {
      console.warn(dump);
      context.skip();
    }
    const lines: string[] = [];
    for (const line of dump.split('\n')) {
      const m = /^ *[0-9a-f]+:\t[0-9a-f ]+\t(.*)$/.exec(line);
      if (m) lines.push(m[1]!.replace(/ +/g, ' ').replace(/ #.*$/, '').trim());
    }
    expect(lines).toEqual(text);
  });
});
