import { describe, expect, it } from 'vitest';
import { HelperRegistry } from '#lib/engine/helpers.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { Op } from '#lib/engine/ir/ops.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { Fl, NONE, Slot } from '#lib/engine/state.js';

const [RAX, RCX, RDX] = [8, 9, 10] as const;

function check(make: (b: IrBuilder) => void, end = true): () => void {
  const b = new IrBuilder(new ConstPool());
  b.begin();
  b.insn(0, 4);
  make(b);
  if (end) b.jmp(4);
  return () => verifyIr(b, { helpers: new HelperRegistry<never>() });
}
const raw = (b: IrBuilder, op: Op, w: number, dst: number, a = NONE, bb = NONE, c = NONE, imm = 0, fw = 0): void => b.emit(op, w, 0, fw, dst, a, bb, c, imm, 0);

const BAD: readonly (readonly [string, string | RegExp, (b: IrBuilder) => void])[] = [
  ['unwritten temporary', 'read before it is written', (b) => b.mov(3, RAX, b.temp())],
  ['its own result', 'read before it is written', (b) => {
    const t = b.temp();
    b.alu(Op.ADD, 3, t, t, RAX);
  }],
  ['second write', 'written twice', (b) => {
    const t = b.temp();
    b.mov(3, t, RAX);
    b.mov(3, t, RCX);
  }],
  ['write into a vector temporary', 'written twice', (b) => {
    const t = b.vtemp();
    raw(b, Op.MOVV, 4, t, Slot.VEC);
    b.mov(3, t + 2, RCX);
  }],
  ['two results in one temporary', 'written twice', (b) => {
    const t = b.temp();
    raw(b, Op.MUL, 3, t, RAX, RCX, t);
  }],
  ['temporary not allocated', 'never allocated', (b) => b.mov(3, Slot.TEMP + 5, RAX)],
  ['constant as destination', 'no slot', (b) => b.mov(3, b.k(1), RAX)],
  ['slot in the gap', 'no slot', (b) => b.mov(3, RAX, 3000)],
  ['reserved slot', 'reserved', (b) => b.mov(3, Slot.X_ADDR, RAX)],
  ['PCBASE', 'reserved', (b) => b.mov(3, Slot.PCBASE, RAX)],
  ['flags as operand', 'flags are no operand', (b) => b.mov(3, RAX, Slot.FLAGS)],
  ['missing source', 'operand B missing', (b) => b.alu(Op.ADD, 3, RAX, RAX, NONE)],
  ['missing destination', 'destination missing', (b) => b.mov(3, NONE, RAX)],
  ['terminator inside', 'terminator before the end', (b) => b.jmp(2)],
  ['width of SETCC', 'width 3', (b) => raw(b, Op.SETCC, 3, RAX)],
  ['width of ANDN', 'width 1', (b) => raw(b, Op.ANDN, 1, RAX, RAX, RCX)],
  ['width of LD', 'width 4', (b) => raw(b, Op.LD, 4, RAX, RCX, NONE, 0)],
  ['width of LDV', 'width 0', (b) => raw(b, Op.LDV, 0, Slot.VEC, RCX, NONE, 0)],
  ['width of MOVV', 'width 2', (b) => raw(b, Op.MOVV, 2, Slot.VEC, Slot.VEC)],
  ['scale', 'scale 4', (b) => b.lea(3, RAX, RCX, RDX, 4, 0)],
  ['16-bit LEA', '16-bit LEA', (b) => b.lea(1, RAX, RCX, NONE, 0, 0)],
  ['SX', 'cannot extend', (b) => b.sx(2, 16, RAX, RCX)],
  ['access flags', 'access flags 8', (b) => raw(b, Op.LD, 2, RAX, RCX, NONE, 8)],
  ['segment', 'segment 6', (b) => b.segchk(6, RAX, false, 4)],
  ['alignment', 'alignment mask 16', (b) => raw(b, Op.CHKALIGN, 0, NONE, RAX, NONE, NONE, 16)],
  ['SETCF', 'imm 3', (b) => raw(b, Op.SETCF, 0, NONE, NONE, NONE, NONE, 3, Fl.CF)],
  ['INC with CF', 'flags', (b) => b.alu(Op.INC, 3, RAX, RAX, NONE, Fl.ALL)],
  ['MOV with flags', 'flags', (b) => raw(b, Op.MOV, 3, RAX, RCX, NONE, NONE, 0, Fl.ZF)],
  ['INSH', 'INSH into a temporary', (b) => raw(b, Op.INSH, 0, b.temp(), RAX)],
  ['helper', 'no such helper', (b) => b.call(0)],
  ['misaligned vector temporary', 'not aligned', (b) => {
    b.temp();
    b.vtemp();
    raw(b, Op.MOVV, 4, Slot.TEMP + 1, Slot.VEC);
  }],
  ['vector from a general register', 'not a vector register', (b) => b.stv(4, RAX, RCX)],
  ['vector into a general register', 'not a vector register', (b) => b.ldv(4, RAX, RCX)],
  ['fault after a register write', 'may fault', (b) => {
    b.mov(3, RAX, RCX);
    b.ld(3, RCX, RDX);
  }],
];

describe('verifier', () => {
  for (const [what, why, make] of BAD) {
    it(`rejects: ${what}`, () => {
      expect(check(make)).toThrow(why);
      expect(check(make)).toThrow('@000:');
    });
  }
  it('rejects blocks without end', () => {
    expect(check(() => undefined, false)).toThrow('empty block');
    expect(check((b) => b.mov(3, RAX, RCX), false)).toThrow('no terminator at the end');
    expect(check((b) => {
      b.exit(9);
    }, false)).toThrow('exit code 9');
  });
  it('accepts what is legal', () => {
    check((b) => {
      const t = b.temp();
      const v = b.vtemp();
      b.lea(1, t, NONE, NONE, 0, 5);
      b.ldv(4, v, t);
      const u = b.temp();
      b.mov(3, u, v + 1);
      b.st(3, t, u);
      b.mov(0, RAX, u);
      b.insn(4, 8);
      b.ld(3, RAX, RAX);
      b.insn(8, 12);
      raw(b, Op.DIV, 2, RAX, RAX, RDX, RCX, RDX);
      raw(b, Op.MUL, 3, NONE, RAX, RCX, RDX, 0, Fl.ALL);
      b.mov(3, Slot.PC, RAX);
      b.exit(0);
    }, false)();
  });
});
