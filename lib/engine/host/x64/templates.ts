/**
 * Sequences that are in nearly every block, written whole: the look-ups in the TLB and the jump cache, calls and returns on the return stack, and their
 * cold paths. A call of the assembler for each instruction costs several times what the bytes do (docs/adr/0053). The disassembler sees all of them in
 * test/engine/x64/templates.test.ts.
 *
 * Registers named t and u are scratch registers below R8 that are no stack or frame pointer; `at` is any register.
 */
import { JC_BASE, JC_ENTRIES, JC_ENTRY_SHIFT, JC_FOLD, Slot, STATE_BIAS, TLB_BASE, TLB_OFFSETS, TLB_SHIFT, TLB_TABLE_BYTES, TlbField } from '../../state.js';
import type { Asm } from './asm.js';

/** Displacements, from RBP, of slots that all fit 8 bits. */
const enum D {
  PCBASE = (Slot.PCBASE * 8 - 128) & 0xff,
  PENDING = (Slot.PENDING * 8 - 128) & 0xff,
  X_INSN = (Slot.X_INSN * 8 - 128) & 0xff,
  X_ADDR = (Slot.X_ADDR * 8 - 128) & 0xff,
  X_AUX = (Slot.X_AUX * 8 - 128) & 0xff,
}
if (STATE_BIAS !== 128) throw new Error('STATE_BIAS is not what the templates think');

/** RORX r32, r/m32, imm8 is C4, this, 7B, F0, ModRM, imm8: with R and X inverted, B inverted for registers below 8. */
const RORX = 0xc4 | (0xe3 << 8) | (0x7b << 16) | (0xf0 << 24);

/** TLB look-up: `tlbTest`, then t = addend of the entry. @returns as `tlbTest` */
export function tlbLookUp(asm: Asm, at: number, t: number, u: number, lo: number, hi: number, table: number, tag: TlbField): number {
  const jump = tlbTest(asm, at, t, u, lo, hi, table, tag);
  const v = asm.v;
  const p = asm.p;
  // mov t, [rbp + t + addend]
  v.setInt32(p, 0x848b48 | (t << 19) | (t << 27) | (5 << 24), true);
  v.setInt32(p + 4, table + TlbField.ADDEND, true);
  asm.p = p + 8;
  return jump;
}

/**
 * Asks the TLB for the bytes from `lo` to `hi` (-128..127, lo <= 0 <= hi) from the address in register `at`: [RBP + t + table] is the entry. It is that of one end, whose tag is
 * compared with the page of the other.
 * @param table displacement of the table
 * @returns position of the rel32 of the jump for a miss
 */
export function tlbTest(asm: Asm, at: number, t: number, u: number, lo: number, hi: number, table: number, tag: TlbField): number {
  const v = asm.v;
  let p = asm.p;
  let b = at >> 3;
  let a = at & 7;
  if (lo !== 0 && hi !== 0) {
    p = leaByte(v, p, t, at, hi);
    b = 0;
    a = t;
  }
  // rorx t, at (or the last byte, in t), TLB_SHIFT: what the rotation brings in lies above the index.
  v.setInt32(p, RORX ^ (b << 13), true);
  v.setInt16(p + 4, 0xc0 | (t << 3) | a | (TLB_SHIFT << 8), true);
  // The other end.
  p = leaByte(v, p + 6, u, at, lo !== 0 ? lo : hi);
  // and t, TLB_OFFSETS; and u, -4096
  v.setInt16(p, 0xe081 | (t << 8), true);
  v.setInt32(p + 2, TLB_OFFSETS, true);
  v.setInt32(p + 6, 0xe08148 | (u << 16), true);
  v.setInt32(p + 9, -4096, true);
  // cmp u, [rbp + t + tag]; jne
  v.setInt32(p + 13, 0x843b48 | (u << 19) | (t << 27) | (5 << 24), true);
  v.setInt32(p + 17, table + tag, true);
  v.setInt16(p + 21, 0x850f, true);
  asm.p = p + 27;
  return p + 23;
}

/** to = at + disp. @returns the position after it */
function leaByte(v: DataView, p: number, to: number, at: number, disp: number): number {
  const b = at >> 3;
  const a = at & 7;
  if (disp === 0) {
    v.setInt32(p, 0xc08b48 | b | (to << 19) | (a << 16), true);
    return p + 3;
  }
  if (a === 4) {
    v.setInt32(p, 0x448d48 | b | (to << 19) | (0x24 << 24), true);
    v.setInt8(p + 4, disp);
    return p + 5;
  }
  v.setInt32(p, 0x408d48 | b | (to << 19) | (a << 16) | (disp << 24), true);
  return p + 4;
}

/** Displacement from RBP of the TLB table of an MMU index. */
export const tlbTable = (mmuIdx: number): number => TLB_BASE + mmuIdx * TLB_TABLE_BYTES - STATE_BIAS;

/** X_ADDR = register `at`, X_AUX = aux, X_INSN = insn: what a yield for a memory access tells. */
export function accessRecord(asm: Asm, at: number, aux: number, insn: number): void {
  const v = asm.v;
  const p = asm.p;
  v.setInt32(p, 0x458948 | ((at >> 3) << 2) | ((at & 7) << 19) | (D.X_ADDR << 24), true);
  v.setInt32(p + 4, 0x45c7 | (D.X_AUX << 16), true);
  v.setInt32(p + 7, aux, true);
  v.setInt32(p + 11, 0x45c7 | (D.X_INSN << 16), true);
  v.setInt32(p + 14, insn, true);
  asm.p = p + 18;
}

/** Jump if PENDING is set. @returns the position of its rel32 */
export function pendingCheck(asm: Asm): number {
  const v = asm.v;
  const p = asm.p;
  // cmp qword [PENDING], 0; jne
  v.setInt32(p, 0x7d8348 | (D.PENDING << 24), true);
  v.setInt32(p + 4, 0x850f00, true);
  asm.p = p + 11;
  return p + 7;
}

/** Displacement from RBP of the first jump cache's tags. */
const JUMP_TAGS = JC_BASE - STATE_BIAS;

/** The same of the host addresses. */
export const JUMP_TARGETS = JUMP_TAGS + 8;

/**
 * Looks for the linear pc in RAX in the jump cache of an MMU index: [RBP + RCX + JUMP_TARGETS] is where to go.
 * @returns position of the rel32 of the jump for a miss
 */
export function jumpCacheProbe(asm: Asm, mmuIdx: number): number {
  const v = asm.v;
  const p = asm.p;
  // rorx ecx, eax, JC_FOLD; xor ecx, eax; and ecx, JC_ENTRIES - 1; shl ecx, JC_ENTRY_SHIFT
  v.setInt32(p, RORX, true);
  v.setInt32(p + 4, 0xc8 | (JC_FOLD << 8) | (0xc833 << 16), true);
  v.setInt16(p + 8, 0xe181, true);
  v.setInt32(p + 10, JC_ENTRIES - 1, true);
  v.setInt32(p + 14, 0xe1c1 | (JC_ENTRY_SHIFT << 16), true);
  // add ecx, [JC_TABLE of the MMU index]: clears the upper half
  v.setInt16(p + 17, 0x8d03, true);
  v.setInt32(p + 19, Slot.JC_TABLE * 8 + mmuIdx * 4 - STATE_BIAS, true);
  // cmp rax, [rbp + rcx + table]; jne
  v.setInt32(p + 23, 0x0d843b48, true);
  v.setInt32(p + 27, JUMP_TAGS, true);
  v.setInt16(p + 31, 0x850f, true);
  asm.p = p + 37;
  return p + 33;
}

/** RAX = PCBASE + offset, as the linear addresses of the guest wrap. */
export function linearPc(asm: Asm, offset: number, mask32: boolean): void {
  const v = asm.v;
  let p = asm.p;
  // mov rax, [PCBASE]; add rax, offset
  if (mask32) {
    v.setInt32(p, 0x458b | (D.PCBASE << 16) | (0x05 << 24), true);
    p += 4;
  } else {
    v.setInt32(p, 0x458b48 | (D.PCBASE << 24), true);
    v.setInt16(p + 4, 0x0548, true);
    p += 6;
  }
  v.setInt32(p, offset, true);
  asm.p = p + 4;
}

/**
 * Pushes the linear address at page offset `next`; RCX is lost. `limit`: displacement of the lowest place on the return stack that has room for one more.
 * @returns position of the rel32 of the jump if there is none, which is followed by where to go on
 */
export function pushReturn(asm: Asm, next: number, mask32: boolean, limit: number): number {
  const v = asm.v;
  const p = asm.p;
  // lea rcx, [rbp + limit]; cmp rsp, rcx; jb
  v.setInt32(p, 0x8d8d48, true);
  v.setInt32(p + 3, limit, true);
  v.setInt32(p + 7, 0xe13b48, true);
  v.setInt16(p + 10, 0x820f, true);
  // mov rcx, [PCBASE]; add rcx, next; push rcx
  let q = p + 16;
  if (mask32) {
    v.setInt32(q, 0x4d8b | (D.PCBASE << 16), true);
    v.setInt16(q + 3, 0xc181, true);
    q += 5;
  } else {
    v.setInt32(q, 0x4d8b48 | (D.PCBASE << 24), true);
    v.setInt32(q + 4, 0xc18148, true);
    q += 7;
  }
  v.setInt32(q, next, true);
  v.setUint8(q + 4, 0x51);
  asm.p = q + 5;
  return p + 12;
}

/**
 * Cold path of a chain site whose rel32 is at `pos` and leads to page offset `target`: the stub reads both from the immediate of an instruction that
 * never runs (`CHAIN_DELTA`).
 */
export function unchained(asm: Asm, pos: number, target: number, stub: number): void {
  asm.call(stub);
  const p = asm.p;
  const delta = p - pos;
  if (delta >= 1 << 20) throw new Error('a block of more than 1 MiB');
  // test eax, delta << 12 | target
  asm.v.setUint8(p, 0xa9);
  asm.v.setInt32(p + 1, (delta << CHAIN_DELTA) | target, true);
  asm.p = p + 5;
}

/** Shift of the distance from a chain site to the end of its cold path's call, above the page offset. */
export const CHAIN_DELTA = 12;

/**
 * What a return comes back to: drops the linear pc, which is in RAX, and jumps to `missPc` if the mode in ECX is not `mode`.
 */
export function landing(asm: Asm, mode: number, missPc: number): void {
  const v = asm.v;
  const p = asm.p;
  // cmp ecx, mode; pop rcx
  v.setInt16(p, 0xf981, true);
  v.setInt32(p + 2, mode, true);
  v.setUint8(p + 6, 0x59);
  asm.p = p + 7;
  asm.jcc(5, missPc);
}

/**
 * EAX = a, EDX = b, then a jump or (call) call of `target`: a transfer by way of a stub.
 */
export function transfer(asm: Asm, a: number, b: number, call: boolean, target: number): void {
  const v = asm.v;
  const p = asm.p;
  v.setUint8(p, 0xb8);
  v.setInt32(p + 1, a, true);
  v.setUint8(p + 5, 0xba);
  v.setInt32(p + 6, b, true);
  asm.p = p + 10;
  if (call) asm.call(target);
  else asm.jmp(target);
}

/** The end of a stub that has pushed `saved`: it returns, or, where the jumps at `out` come from, goes on at `otherwise`. */
export function returnOrElse(asm: Asm, saved: readonly number[], out: readonly number[], otherwise: number): void {
  const restore = [...saved].reverse();
  for (const r of restore) asm.pop(r);
  asm.ret();
  for (const pos of out) asm.patch32(pos, asm.p);
  for (const r of restore) asm.pop(r);
  asm.jmp(otherwise);
}
