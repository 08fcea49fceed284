/** The A64 lifter: builds one block of IR from guest bytes. */
import type { CodeWindow, Lifter } from '../../cpu.js';
import { LiftResult } from '../../cpu.js';
import type { HelperRegistry } from '../../helpers.js';
import type { IrBuilder } from '../../ir/builder.js';
import { LiftContext } from './lift-context.js';
import type { Arm64Model } from './model.js';
import { Mode, mmuIndexOf } from './regs.js';
import { isBti } from './bti.js';
import { decodeTable } from './tables.js';

const PAGE = 4096;

export class Arm64Lifter implements Lifter {
  private readonly context: LiftContext;
  private readonly table = decodeTable();

  /** @param registry must define every helper and vector operation the tables name */
  constructor(registry: Pick<HelperRegistry<never>, 'id'>, model: Arm64Model) {
    this.context = new LiftContext((name) => registry.id(name), model);
  }

  /** Where an indirect branch has come to: the fetch has checked the instruction (cpu.ts). BTI itself does nothing else. */
  private landing(win: CodeWindow, mode: number, out: IrBuilder): LiftResult {
    const { pos, offset } = win;
    const word = win.buf[pos]! | (win.buf[pos + 1]! << 8) | (win.buf[pos + 2]! << 16) | (win.buf[pos + 3]! << 24);
    win.pos += 4;
    win.offset += 4;
    out.begin();
    out.insn(offset, offset + 4);
    const on = mode & ~Mode.LANDING;
    out.setMode(on, mmuIndexOf(on));
    out.jmp(isBti(word) ? offset + 4 : offset);
    return LiftResult.OK;
  }

  lift(win: CodeWindow, mode: number, out: IrBuilder, maxInsns: number): LiftResult {
    if ((mode & Mode.LANDING) !== 0) return this.landing(win, mode, out);
    const c = this.context;
    const buf = win.buf;
    if ((mode & Mode.STEP) !== 0) maxInsns = 1;
    out.begin();
    out.registers = 32;
    c.b = out;
    c.mode = mode;
    for (let count = 1; ; count++) {
      const p = win.pos;
      const word = buf[p]! | (buf[p + 1]! << 8) | (buf[p + 2]! << 16) | (buf[p + 3]! << 24);
      c.i = word;
      c.start = win.offset;
      c.next = win.offset + 4;
      win.pos += 4;
      win.offset += 4;
      out.insn(c.start, c.next);
      const row = this.table.find(word);
      if (row === null) c.undefined();
      else {
        c.arg = row.arg;
        row.h(c);
      }
      if (out.ended) return LiftResult.OK;
      if (count >= maxInsns || c.next >= PAGE || win.pos >= win.end || out.full) {
        out.jmp(c.next);
        return LiftResult.OK;
      }
    }
  }
}
