/** What CSRRS sstatus with a register is lifted for. */
import { describe, expect, it } from 'vitest';
import { Mmu, Mode, Priv } from '#lib/engine/guest/riscv/defs.js';
import { riscvHelpers, riscvLifter } from '#lib/engine/guest/riscv/guest.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { Op, REC } from '#lib/engine/ir/ops.js';

const helpers = riscvHelpers();
const lifter = riscvLifter(helpers);

/** csrs sstatus, a1 */
const SET = 0x1005_a073;
/** csrc sstatus, a1 and a2 */
const CLEAR_A1 = 0x1005_b073;
const CLEAR_A2 = 0x1006_3073;
const NOP = 0x13;
const C_NOP = 1;

/** Lifts a block that begins with `SET` in S-mode without SUM. @returns whether it goes on in another mode, and the bytes that it was made from. */
function lift(...after: number[]): { changesMode: boolean; bytes: number } {
  const buf = new Uint8Array(64);
  const view = new DataView(buf.buffer);
  let at = 0;
  for (const insn of [SET, ...after]) {
    const bytes = (insn & 3) === 3 ? 4 : 2;
    if (bytes === 4) view.setUint32(at, insn, true);
    else view.setUint16(at, insn, true);
    at += bytes;
  }
  const b = new IrBuilder(new ConstPool());
  const win = { buf, pos: 0, end: at, offset: 0 };
  lifter.lift(win, Priv.S | (Mmu.S << Mode.MMU_SHIFT), b, 1);
  let changesMode = false;
  for (let p = 0; p < b.n * REC; p += REC) changesMode ||= (b.buf[p]! & 0xff) === (Op.SETMODE as number);
  return { changesMode, bytes: win.pos };
}

const changesMode = (...after: number[]): boolean => lift(...after).changesMode;

describe('csrs sstatus with a register of another block', () => {
  it('begins access to user memory if the same register ends it soon', () => {
    expect(changesMode(NOP, CLEAR_A1)).toBe(true);
    expect(changesMode(C_NOP, NOP, C_NOP, CLEAR_A1)).toBe(true);
  });

  it('gives interrupts back otherwise', () => {
    expect(changesMode(NOP, NOP)).toBe(false);
    expect(changesMode(NOP, CLEAR_A2)).toBe(false);
    expect(changesMode(...Array<number>(12).fill(C_NOP), CLEAR_A1)).toBe(false);
  });

  it('is made from the instructions that it looked at, too', () => {
    expect(lift(NOP, CLEAR_A1, NOP).bytes).toBe(12);
    expect(lift(NOP, NOP, NOP).bytes).toBe(16);
    expect(lift(...Array<number>(12).fill(C_NOP)).bytes).toBe(4 + 8 * 2);
    // With nothing but those bytes it is the same.
    expect(lift(...Array<number>(8).fill(C_NOP)).bytes).toBe(4 + 8 * 2);
  });
});
