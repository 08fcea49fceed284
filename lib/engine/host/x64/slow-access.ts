/**
 * Loads and stores that leave hot code. What an access's own cold path would do is done by a stub, which is told by data behind its call: a third of all code
 * would be these paths otherwise (docs/adr/0063).
 *
 *   32 bits   page offset of the instruction (12 bits) | its length << 12 (4 bits) | width << 16 (2 bits) | register of the address << 18 |
 *             register of the value << 22 | 1 << 26 if a load keeps the rest of its register
 *   16 bits   distance from the end of the data to where hot code goes on, 0: after the data
 *   32 bits   of stores of a constant: the constant, sign-extended
 */
import { Access, Slot } from '../../state.js';
import { Alu, type Asm, NO_INDEX, R, Sh, mem } from './asm.js';

/** What a stub does. */
export const enum Slow { LOAD, STORE, STORE_IMM }

const enum At { LENGTH = 12, WIDTH = 16, ADDRESS = 18, VALUE = 22, NARROW = 26 }
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
 */
export function callSlow(asm: Asm, stub: number, imm: boolean, insn: number, w: number, address: number, value: number, narrow: boolean, back: number): void {
  asm.call(stub);
  const v = asm.v;
  const p = asm.p;
  const offset = insn & 0xffff;
  const end = p + (imm ? DATA + 4 : DATA);
  // A longer way takes a jump.
  const far = back >= 0 && back - end < -0x8000;
  v.setInt32(p, offset | (((insn >>> 16) - offset) << At.LENGTH) | (w << At.WIDTH) | (address << At.ADDRESS) | ((imm ? 0 : value) << At.VALUE) | (narrow ? 1 << At.NARROW : 0), true);
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

/**
 * Emits a stub; `rmw`: of the load of a read-modify-write.
 * @param access what does the access, called with X_ADDR, X_AUX, X_INSN (and X_VAL) set as for a yield; leaves what is loaded in X_VAL
 * @returns its position
 */
export function emitSlow(asm: Asm, what: Slow, rmw: boolean, access: number): number {
  const start = asm.p;
  pushAll(asm);
  asm.opm(3, 0x8b, R.RDI, R.RSP, NO_INDEX, 0, FRAME);
  asm.opm(2, 0x8b, R.RAX, R.RDI, NO_INDEX, 0, 0);
  field(asm, R.RCX, 0, At.LENGTH);
  field(asm, R.RDX, At.LENGTH, 4);
  asm.alu(2, Alu.ADD, R.RDX, R.RCX);
  asm.shi(2, Sh.SHL, R.RDX, 16);
  asm.alu(2, Alu.OR, R.RDX, R.RCX);
  asm.store(2, mem(Slot.X_INSN), R.RDX);
  field(asm, R.RCX, At.WIDTH, 2);
  if (rmw) asm.alui(2, Alu.OR, R.RCX, Access.RMW << 8);
  asm.store(2, mem(Slot.X_AUX), R.RCX);
  field(asm, R.RCX, At.ADDRESS, 4);
  asm.opm(3, 0x8b, R.RDX, R.RSP, R.RCX, 3, 0);
  asm.store(3, mem(Slot.X_ADDR), R.RDX);
  if (what === Slow.STORE) {
    field(asm, R.RCX, At.VALUE, 4);
    asm.opm(3, 0x8b, R.RDX, R.RSP, R.RCX, 3, 0);
    asm.store(3, mem(Slot.X_VAL), R.RDX);
  } else if (what === Slow.STORE_IMM) {
    asm.opm(3, 0x63, R.RDX, R.RDI, NO_INDEX, 0, DATA);
    asm.store(3, mem(Slot.X_VAL), R.RDX);
  }
  popAll(asm);
  // The return address is taken off: a yield's frame is all that the return stack may have below it.
  asm.opd(2, 0x8f, 0, mem(Slot.X_COLD));
  asm.call(access);
  asm.push(R.RAX);
  pushAll(asm);
  asm.load(3, R.RDI, mem(Slot.X_COLD));
  if (what === Slow.LOAD) {
    // RDX = the bits that are loaded, RAX = their mask.
    asm.opm(2, 0x8b, R.RAX, R.RDI, NO_INDEX, 0, 0);
    asm.movrr(2, R.RSI, R.RAX);
    field(asm, R.RBX, At.VALUE, 4);
    field(asm, R.RCX, At.WIDTH, 2);
    asm.movi(2, R.RDX, 8);
    asm.shcl(2, Sh.SHL, R.RDX);
    asm.movi(2, R.RCX, 64);
    asm.alu(2, Alu.SUB, R.RCX, R.RDX);
    asm.movi(3, R.RAX, -1);
    asm.shcl(3, Sh.SHR, R.RAX);
    asm.load(3, R.RDX, mem(Slot.X_VAL));
    asm.alu(3, Alu.AND, R.RDX, R.RAX);
    asm.testi(2, R.RSI, 1 << At.NARROW);
    const whole = asm.jccLater(4);
    asm.opd(3, 0xf7, 2, R.RAX);
    asm.opm(3, 0x23, R.RAX, R.RSP, R.RBX, 3, 0);
    asm.alu(3, Alu.OR, R.RDX, R.RAX);
    asm.patch32(whole, asm.p);
    asm.opm(3, 0x89, R.RDX, R.RSP, R.RBX, 3, 0);
  }
  // movsx rax, word [rdi + 4]: RBX and the like have their values on the stack by now.
  asm.b(0x48);
  asm.b(0x0f);
  asm.b(0xbf);
  asm.modrmMem(R.RAX, R.RDI, NO_INDEX, 0, 4);
  asm.opm(3, 0x8d, R.RAX, R.RAX, R.RDI, 0, what === Slow.STORE_IMM ? DATA + 4 : DATA);
  asm.opm(3, 0x89, R.RAX, R.RSP, NO_INDEX, 0, FRAME);
  popAll(asm);
  asm.ret();
  return start;
}
