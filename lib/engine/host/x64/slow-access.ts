/**
 * Loads and stores that leave hot code. What an access's own cold path would do is done by a stub, which is told by data behind its call: a third of all code
 * would be these paths otherwise (docs/adr/0063). Where it was another access's look-up that failed (emit-share.ts), the TLB may know the page all the same: the stub asks it first, and
 * then the code map.
 *
 *   32 bits   page offset of the instruction (12 bits) | its length << 12 (4 bits) | width << 16 (2 bits) | register of the address << 18 |
 *             register of the value << 22 | 1 << 26 if a load keeps the rest of its register | register that becomes 0 << 27
 *   16 bits   distance from the end of the data to where hot code goes on, 0: after the data
 *   32 bits   of stores of a constant: the constant, sign-extended
 */
import { CODE_GRANULE } from '../../cpu.js';
import { Access, Cc, Slot, TLB_CODE, TLB_OFFSETS, TLB_SHIFT, TlbField } from '../../state.js';
import { Alu, type Asm, NO_INDEX, R, Sh, mem } from './asm.js';
import { tlbTable } from './templates.js';

/** log2 of the bytes that a bit of the code map stands for. */
export const GRANULE_SHIFT = Math.log2(CODE_GRANULE);

/** What a stub does. */
export const enum Slow { LOAD, STORE, STORE_IMM }

const enum At { LENGTH = 12, WIDTH = 16, ADDRESS = 18, VALUE = 22, NARROW = 26, ZERO = 27 }
/** Instead of a register that becomes 0: none does. */
export const NO_ADDEND = R.RSP;
/** Bytes of data of loads and stores of registers. */
const DATA = 6;
/** Registers on the stack, by their numbers. */
const FRAME = 16 * 8;

/** True if the stubs can be told of an instruction. */
export function tellable(insn: number): boolean {
  const length = (insn >>> 16) - (insn & 0xffff);
  return length >= 0 && length < 16 && (insn & 0xffff) < 4096;
}

/**
 * Calls a stub for the access of width w by the (tellable) instruction `insn` and goes on at `back` (-1: with what is emitted next).
 * @param value register, or of STORE_IMM the constant
 * @param zero register that is 0 afterwards, or NO_ADDEND
 */
export function callSlow(asm: Asm, stub: number, imm: boolean, insn: number, w: number, address: number, value: number, narrow: boolean, zero: number, back: number): void {
  asm.call(stub);
  const v = asm.v;
  const p = asm.p;
  const offset = insn & 0xffff;
  const end = p + (imm ? DATA + 4 : DATA);
  // A longer way takes a jump.
  const far = back >= 0 && back - end < -0x8000;
  v.setInt32(p, offset | (((insn >>> 16) - offset) << At.LENGTH) | (w << At.WIDTH) | (address << At.ADDRESS) | ((imm ? 0 : value) << At.VALUE) | (narrow ? 1 << At.NARROW : 0) | (zero << At.ZERO), true);
  v.setInt16(p + 4, back < 0 || far ? 0 : back - end, true);
  if (imm) v.setInt32(p + DATA, value, true);
  asm.p = end;
  if (far) asm.jmp(back);
}

/** Pushes all registers so that register r is at [RSP + 8r]. */
function pushAll(asm: Asm): void {
  for (let r = 15; r >= 0; r--) asm.push(r === R.RSP ? R.RBP : r);
}

function popAll(asm: Asm): void {
  for (let r = 0; r < 16; r++) {
    if (r === R.RSP) asm.lea(3, R.RSP, R.RSP, NO_INDEX, 0, 8);
    else asm.pop(r);
  }
}

/** to = `bits` bits of EAX from bit `at` on. */
function field(asm: Asm, to: number, at: number, bits: number): void {
  asm.movrr(2, to, R.RAX);
  if (at > 0) asm.shi(2, Sh.SHR, to, at);
  asm.alui(2, Alu.AND, to, (1 << bits) - 1);
}

/** The register that has to be 0 is. EAX: the data's first word; RCX is lost. */
function zeroAddend(asm: Asm): void {
  field(asm, R.RCX, At.ZERO, 4);
  asm.movi(2, R.RDX, 0);
  asm.opm(3, 0x89, R.RDX, R.RSP, R.RCX, 3, 0);
}

/** The place of the return address, RDI, gets where hot code goes on; then all registers come back. */
function goOn(asm: Asm, data: number): void {
  // movsx rax, word [rdi + 4]
  asm.b(0x48);
  asm.b(0x0f);
  asm.b(0xbf);
  asm.modrmMem(R.RAX, R.RDI, NO_INDEX, 0, 4);
  asm.opm(3, 0x8d, R.RAX, R.RAX, R.RDI, 0, data);
  asm.opm(3, 0x89, R.RAX, R.RSP, NO_INDEX, 0, FRAME);
  popAll(asm);
  asm.ret();
}

/** The value in RDX, of which RCX tells the width, goes to the register that EAX names. */
function loaded(asm: Asm): void {
  asm.movrr(2, R.RSI, R.RAX);
  field(asm, R.RBX, At.VALUE, 4);
  // RAX = mask.
  asm.movi(2, R.RAX, 8);
  asm.shcl(2, Sh.SHL, R.RAX);
  asm.movi(2, R.RCX, 64);
  asm.alu(2, Alu.SUB, R.RCX, R.RAX);
  asm.movi(3, R.RAX, -1);
  asm.shcl(3, Sh.SHR, R.RAX);
  asm.alu(3, Alu.AND, R.RDX, R.RAX);
  asm.testi(2, R.RSI, 1 << At.NARROW);
  const whole = asm.jccLater(Cc.E);
  asm.opd(3, 0xf7, 2, R.RAX);
  asm.opm(3, 0x23, R.RAX, R.RSP, R.RBX, 3, 0);
  asm.alu(3, Alu.OR, R.RDX, R.RAX);
  asm.patch32(whole, asm.p);
  asm.opm(3, 0x89, R.RDX, R.RSP, R.RBX, 3, 0);
}

/**
 * Goes to `direct` if only code on the page has kept the access from the TLB and, of a store, none is where it goes (docs/adr/0022). RBX = page of the access's last byte, RSI = offset of
 * the entry of its first one's, RDX = address, RCX = width.
 */
function codeOnPage(asm: Asm, store: boolean, table: number, direct: number): void {
  const out: number[] = [];
  asm.opm(3, 0x3b, R.RBX, R.RBP, R.RSI, 0, table + TlbField.TAG_READ);
  out.push(asm.jccLater(Cc.NE));
  asm.opm(2, 0x8b, R.R9, R.RBP, R.RSI, 0, table + TlbField.RAM_PAGE);
  asm.testi(2, R.R9, TLB_CODE);
  out.push(asm.jccLater(Cc.E));
  if (store) {
    asm.alui(3, Alu.CMP, mem(Slot.CODE_MAP), 0);
    out.push(asm.jccLater(Cc.E));
    // A page's bits are one 64-bit word of the map.
    asm.shi(2, Sh.SHR, R.R9, 12);
    asm.shi(3, Sh.SHL, R.R9, 3);
    asm.alu(3, Alu.ADD, R.R9, mem(Slot.CODE_MAP));
    asm.opm(3, 0x8b, R.R9, R.R9, NO_INDEX, 0, 0);
    asm.movrr(2, R.R10, R.RDX);
    asm.alui(2, Alu.AND, R.R10, 4095);
    asm.movi(2, R.R11, 1);
    asm.shcl(2, Sh.SHL, R.R11);
    asm.opm(3, 0x8d, R.R11, R.R11, R.R10, 0, -1);
    for (const r of [R.R10, R.R11]) {
      asm.shi(2, Sh.SHR, r, GRANULE_SHIFT);
      asm.op0f(3, 0xa3, r, R.R9);
      out.push(asm.jccLater(Cc.B));
    }
  }
  asm.jmp(direct);
  for (const pos of out) asm.patch32(pos, asm.p);
}

/**
 * Emits a stub; `rmw`: of the load of a read-modify-write.
 * @param access the yield that does the access if that is not for generated code to do, called with X_ADDR, X_AUX, X_INSN (and X_VAL) set as for a yield; leaves what is loaded in X_VAL
 * @returns its position
 */
export function emitSlow(asm: Asm, what: Slow, rmw: boolean, mmuIdx: number, access: number): number {
  const start = asm.p;
  const data = what === Slow.STORE_IMM ? DATA + 4 : DATA;
  pushAll(asm);
  asm.opm(3, 0x8b, R.RDI, R.RSP, NO_INDEX, 0, FRAME);
  asm.opm(2, 0x8b, R.RAX, R.RDI, NO_INDEX, 0, 0);
  zeroAddend(asm);
  // RDX = address, R8 = value, RCX = width.
  field(asm, R.RCX, At.ADDRESS, 4);
  asm.opm(3, 0x8b, R.RDX, R.RSP, R.RCX, 3, 0);
  if (what === Slow.STORE) {
    field(asm, R.RCX, At.VALUE, 4);
    asm.opm(3, 0x8b, R.R8, R.RSP, R.RCX, 3, 0);
  } else if (what === Slow.STORE_IMM) {
    asm.opm(3, 0x63, R.R8, R.RDI, NO_INDEX, 0, DATA);
  }
  field(asm, R.RCX, At.WIDTH, 2);
  // RSI = entry of the first byte's page, RBX = the last byte's page.
  const table = tlbTable(mmuIdx);
  asm.movrr(2, R.RSI, R.RDX);
  asm.shi(2, Sh.SHR, R.RSI, TLB_SHIFT);
  asm.alui(2, Alu.AND, R.RSI, TLB_OFFSETS);
  asm.movi(2, R.RBX, 1);
  asm.shcl(2, Sh.SHL, R.RBX);
  asm.opm(3, 0x8d, R.RBX, R.RBX, R.RDX, 0, -1);
  asm.alui(3, Alu.AND, R.RBX, -4096);
  asm.opm(3, 0x3b, R.RBX, R.RBP, R.RSI, 0, table + (what !== Slow.LOAD || rmw ? TlbField.TAG_WRITE : TlbField.TAG_READ));
  const unknown = asm.jccLater(Cc.NE);
  const direct = asm.p;
  asm.opm(3, 0x8b, R.RSI, R.RBP, R.RSI, 0, table + TlbField.ADDEND);
  const done: number[] = [];
  for (let w = 0; w < 4; w++) {
    let next = 0;
    if (w < 3) {
      asm.alui(2, Alu.CMP, R.RCX, w);
      next = asm.jccLater(Cc.NE);
    }
    if (what === Slow.LOAD) asm.movzxMem(w, R.RDX, R.RDX, R.RSI);
    else asm.opm(w, 0x89, R.R8, R.RDX, R.RSI, 0, 0);
    if (w < 3) {
      done.push(asm.jmpLater());
      asm.patch32(next, asm.p);
    }
  }
  for (const pos of done) asm.patch32(pos, asm.p);
  if (what === Slow.LOAD) loaded(asm);
  goOn(asm, data);

  asm.patch32(unknown, asm.p);
  if (what !== Slow.LOAD || rmw) codeOnPage(asm, what !== Slow.LOAD, table, direct);
  asm.store(3, mem(Slot.X_ADDR), R.RDX);
  if (what !== Slow.LOAD) asm.store(3, mem(Slot.X_VAL), R.R8);
  if (rmw) asm.alui(2, Alu.OR, R.RCX, Access.RMW << 8);
  asm.store(2, mem(Slot.X_AUX), R.RCX);
  field(asm, R.RCX, 0, At.LENGTH);
  field(asm, R.RDX, At.LENGTH, 4);
  asm.alu(2, Alu.ADD, R.RDX, R.RCX);
  asm.shi(2, Sh.SHL, R.RDX, 16);
  asm.alu(2, Alu.OR, R.RDX, R.RCX);
  asm.store(2, mem(Slot.X_INSN), R.RDX);
  popAll(asm);
  // The return address is taken off: a yield's frame is all that the return stack may have below it.
  asm.opd(2, 0x8f, 0, mem(Slot.X_COLD));
  asm.call(access);
  asm.push(R.RAX);
  pushAll(asm);
  asm.load(3, R.RDI, mem(Slot.X_COLD));
  if (what === Slow.LOAD) {
    asm.opm(2, 0x8b, R.RAX, R.RDI, NO_INDEX, 0, 0);
    field(asm, R.RCX, At.WIDTH, 2);
    asm.load(3, R.RDX, mem(Slot.X_VAL));
    loaded(asm);
  }
  goOn(asm, data);
  return start;
}
