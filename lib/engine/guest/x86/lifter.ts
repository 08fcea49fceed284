/** The x86 lifter: builds one block of IR from guest bytes. */
import type { CodeWindow, Lifter } from '../../cpu.js';
import { LiftResult } from '../../cpu.js';
import type { HelperRegistry } from '../../helpers.js';
import type { IrBuilder } from '../../ir/builder.js';
import { ExitCode } from '../../state.js';
import { Decoder, DecodeStatus } from './decode.js';
import { Features } from './features.js';
import { HELPER_SPECS } from './helper-names.js';
import { LiftContext } from './lift-context.js';
import { Mode } from './mode.js';
import type { OpcodeTable } from './opcodes.js';
import { opcodeTable } from './tables.js';

const PAGE = 4096;

export class X86Lifter implements Lifter {
  readonly context: LiftContext;
  private readonly decoder: Decoder;
  /** By row number: 1 if the guest CPU has the row's feature. */
  private readonly enabled: Uint8Array;

  /**
   * @param registry must define every helper of `HELPER_SPECS`
   * @param features what the guest CPU advertises: names as in /proc/cpuinfo (sse3 for pni)
   */
  constructor(registry: Pick<HelperRegistry<never>, 'id'>, features: ReadonlySet<string>, table: OpcodeTable = opcodeTable()) {
    const f = new Features(features);
    const ids = Int32Array.from(HELPER_SPECS, (s) => registry.id(s.name));
    this.decoder = new Decoder(table);
    this.enabled = Uint8Array.from(table.rows, (r) => (f.has(r.feature) ? 1 : 0));
    this.context = new LiftContext(ids, f, (name) => registry.id(name));
  }

  lift(win: CodeWindow, mode: number, out: IrBuilder, maxInsns: number): LiftResult {
    const c = this.context;
    const x = c.insn;
    const decoder = this.decoder;
    const enabled = this.enabled;
    if ((mode & Mode.STEP) !== 0) maxInsns = 1;
    out.begin();
    c.begin(out, mode, win.offset);
    for (let count = 1; ; count++) {
      const status = decoder.decode(win, mode, x);
      if (status === DecodeStatus.NEED_MORE || (x.next > PAGE && count > 1)) {
        // an instruction that reaches into the next page has a block of its own
        if (count === 1) return LiftResult.NEED_MORE;
        if (c.shadow) out.exit(ExitCode.SHADOW, win.offset);
        else out.jmp(win.offset);
        return LiftResult.OK;
      }
      win.pos += x.length;
      win.offset += x.length;
      out.insn(x.start, x.next);
      const shadowed = c.shadow;
      c.shadow = false;
      if (status === DecodeStatus.OK && enabled[x.rowId] === 1) {
        c.arg = x.row.arg;
        x.row.h(c);
      } else if (status === DecodeStatus.TOO_LONG) {
        c.gp0();
      } else {
        c.undefinedOpcode();
      }
      const full = count >= maxInsns || x.next >= PAGE || out.full;
      if (!out.ended) {
        if (c.shadow && full) {
          // The instruction in the shadow of this one is not in the block.
          out.exit(ExitCode.SHADOW, x.next);
          return LiftResult.OK;
        }
        if (!full && !shadowed) continue;
        out.jmp(x.next);
      }
      // An interrupt that STI has let in comes now.
      if (shadowed) out.checkPending();
      return LiftResult.OK;
    }
  }
}
