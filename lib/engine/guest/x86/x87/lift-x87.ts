/** Lifts x87 instructions: addresses as IR, the operation as one helper call. */
import { NONE } from '../../../state.js';
import type { LiftContext } from '../lift-context.js';
import { Mode, Seg, X } from '../mode.js';
import { Operand } from './table.js';
import type { X87Form } from './table.js';

export function liftX87(c: LiftContext, f: X87Form): void {
  const b = c.b;
  const i = c.insn;
  const helper = c.helper(f.helper);
  const fop = ((i.opcode & 7) << 8) | i.modrm;
  let imm = f.imm | (fop << 16);
  const base = (c.mode & Mode.CSFLAT) !== 0 ? NONE : X.SEGBASE + Seg.CS;
  switch (f.operand) {
    case Operand.STACK:
      if (f.rm < 0) imm |= i.modrm & 7;
      b.call(helper, NONE, NONE, base, NONE, imm);
      return;
    case Operand.TO_AX: {
      const t = b.temp();
      b.call(helper, t);
      b.mov(1, X.RAX, t);
      return;
    }
    case Operand.LOAD: {
      const off = c.offset();
      const addr = c.linear(off, f.bytes, false);
      if (!f.control) {
        b.call(helper, NONE, addr, base, off, imm);
        return;
      }
      const t = b.temp();
      b.ld(1, t, addr);
      b.call(helper, NONE, t);
      return;
    }
    case Operand.STORE: {
      const off = c.offset();
      b.call(helper, NONE, c.linear(off, f.bytes, true), base, off, imm);
      return;
    }
    case Operand.STORE16: {
      const addr = c.ea(2, true);
      const t = b.temp();
      b.call(helper, t);
      b.st(1, addr, t);
      return;
    }
    case Operand.IMAGE_LOAD:
    case Operand.IMAGE_STORE: {
      const wide = i.opsize >= 2;
      const bytes = wide ? f.bytes : f.bytes - 14;
      b.call(helper, NONE, c.ea(bytes, f.operand === Operand.IMAGE_STORE), NONE, NONE, wide ? 1 : 0);
      return;
    }
  }
}
