/** The RISC-V lifter: builds one block of IR from guest bytes. */
import { type CodeWindow, type Lifter, LiftResult } from '../../cpu.js';
import type { HelperRegistry } from '../../helpers.js';
import type { IrBuilder } from '../../ir/builder.js';
import { Mode, Ms } from './defs.js';
import { HELPER_NAMES, type HelperName, LiftContext } from './lift-context.js';
import { FLOAT_ROWS } from './lift-float.js';
import { HALF_ROWS } from './lift-half.js';
import { INTEGER_ROWS } from './lift-int.js';
import { SYSTEM_ROWS } from './lift-system.js';
import { VECTOR_ROWS } from './lift-vector.js';
import { expand } from './rvc.js';
import { type Ext, InsnTable, type Row } from './table.js';

const PAGE = 4096;
/** Opcodes that compute: OP-IMM, AUIPC, OP-IMM-32, OP, LUI, OP-32. */
const PLAIN_OPS: ReadonlySet<number> = new Set([0x13, 0x17, 0x1b, 0x33, 0x37, 0x3b]);
const LUI = 0x37;
/** BRANCH, JALR, JAL. */
const JUMPS: ReadonlySet<number> = new Set([0x63, 0x67, 0x6f]);

/** Every instruction there is. */
export const ALL_ROWS: readonly Row[] = [...SYSTEM_ROWS, ...INTEGER_ROWS, ...FLOAT_ROWS, ...HALF_ROWS, ...VECTOR_ROWS];

export class RiscvLifter implements Lifter {
  readonly context: LiftContext;
  private readonly table: InsnTable;

  /** @param extensions those that the guest CPU has */
  constructor(registry: Pick<HelperRegistry<never>, 'id'>, extensions: ReadonlySet<Ext>) {
    const ids = {} as Record<HelperName, number>;
    for (const name of HELPER_NAMES) ids[name] = registry.id(name);
    this.context = new LiftContext(ids);
    if (extensions.has('v')) this.context.vs = Ms.VS;
    this.table = new InsnTable(ALL_ROWS.filter((r) => r.ext.some((e) => extensions.has(e))));
  }

  lift(win: CodeWindow, mode: number, out: IrBuilder, maxInsns: number): LiftResult {
    const c = this.context;
    const { buf } = win;
    if ((mode & Mode.STEP) !== 0) maxInsns = 1;
    out.begin();
    out.flagless = true;
    out.registers = 32;
    c.b = out;
    c.mode = mode;
    c.win = win;
    c.used = 0;
    c.uncounted = 0;
    c.constantOf = 0;
    c.lookForIdioms(out.idioms);
    for (let count = 1; ; count++) {
      const at = win.pos;
      // Instructions are 2-byte aligned, so the first half is always there.
      const low = buf[at]! | (buf[at + 1]! << 8);
      const length = (low & 3) === 3 ? 4 : 2;
      if (at + length > win.end || (win.offset + length > PAGE && count > 1)) {
        // An instruction that reaches into the next page has a block of its own.
        if (count === 1) return LiftResult.NEED_MORE;
        c.retire();
        out.jmp(win.offset);
        return this.done(win);
      }
      c.start = win.offset;
      c.next = win.offset + length;
      win.pos += length;
      win.offset += length;
      out.insn(c.start, c.next);
      c.raw = length === 2 ? low : low | (buf[at + 2]! << 16) | (buf[at + 3]! << 24);
      c.insn = length === 2 ? expand(low) : c.raw;
      // Whatever may fault, leave the block or read the counter finds those before it counted; jumps count themselves.
      const op = c.insn & 0x7f;
      const jump = JUMPS.has(op);
      if (jump) c.uncounted++;
      const plain = PLAIN_OPS.has(op);
      if (!plain) c.retire();
      const row = c.insn === 0 ? null : this.table.find(c.insn);
      if (row === null) c.unknown();
      else row.h(c);
      if (out.ended) return this.done(win);
      c.idioms?.after(c.rdNum, plain);
      if (op === LUI) {
        c.constantOf = c.rdNum;
        c.constant = c.immU;
      } else if (c.rdNum === c.constantOf) {
        c.constantOf = 0;
      }
      if (!jump) c.uncounted++;
      if (count >= maxInsns || c.next >= PAGE || out.full) {
        c.retire();
        out.jmp(c.next);
        return this.done(win);
      }
    }
  }

  /** Bytes that were looked at belong to the block: it is what they, too, have made it. */
  private done(win: CodeWindow): LiftResult {
    win.pos = Math.max(win.pos, this.context.used);
    return LiftResult.OK;
  }
}
