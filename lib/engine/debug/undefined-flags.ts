/** Which flags of a block's results may differ between executors because the instruction set leaves them undefined. */
import type { HelperRegistry } from '../helpers.js';
import type { IrBuilder } from '../ir/builder.js';
import { CC_READS, F, Fx, OPS, Op, REC } from '../ir/ops.js';
import { FLAGS_WRITTEN, UNDEFINED_FLAGS, undefinedFlags } from '../ir/undefined.js';
import { Fl, Slot, flMaskToEflags } from '../state.js';

export interface UndefinedFlags {
  /** Undefined at the end of the block, as an `Fl` mask. */
  end: number;
  /** Undefined somewhere in the block. */
  any: number;
  /** EFLAGS bits that a GETF copied from undefined flags into some value. */
  leak: number;
  /** An op's result depends on an undefined flag: results cannot be compared at all. */
  used: boolean;
}

/** Undefined flags after one op, at most. */
function madeUndefined(b: IrBuilder, p: number, op: Op, w: number): number {
  const counted = (OPS[op]!.fx & Fx.COUNT_FLAGS) !== 0;
  if (!counted) return UNDEFINED_FLAGS[op]!;
  const double = op === Op.SHLD || op === Op.SHRD;
  const count = b.buf[p + (double ? F.C : F.B)]!;
  if (count >= Slot.CONST) return undefinedFlags(op, w, b.consts.lo[count - Slot.CONST]! & (w === 3 ? 63 : 31));
  if (double && w === 1) return Fl.ALL;
  return UNDEFINED_FLAGS[op]! | Fl.OF | (w < 2 && (op === Op.SHL || op === Op.SHR) ? Fl.CF : 0);
}

export function findUndefinedFlags(b: IrBuilder, helpers: HelperRegistry<never>): UndefinedFlags {
  // A guest without flags does not care what is left in them.
  if (b.flagless) return { end: Fl.ALL, any: Fl.ALL, leak: 0, used: false };
  const r: UndefinedFlags = { end: 0, any: 0, leak: 0, used: false };
  let undef = 0;
  for (let i = 0; i < b.n; i++) {
    const p = i * REC;
    const w0 = b.buf[p]!;
    const op: Op = w0 & 0xff;
    const w = (w0 >>> 8) & 15;
    const fw = (w0 >>> 16) & 63;
    const fx = OPS[op]!.fx;
    let reads = 0;
    if (fx & Fx.READS_CC) reads |= CC_READS[(w0 >>> 12) & 15]!;
    if (fx & Fx.READS_CF && op !== Op.SETCF) reads |= Fl.CF;
    if (op === Op.ADOX) reads |= Fl.OF;
    if (op === Op.GETF) r.leak |= flMaskToEflags(undef);
    if (reads & undef) r.used = true;
    if (op === Op.VOP) {
      undef &= ~helpers.list[b.buf[p + F.AUX]!]!.writesFlags;
    } else {
      const written = FLAGS_WRITTEN[op]! & fw;
      // What an op may leave in flags it gives no value to (MUL: SF ZF AF PF) counts too, if the instruction may change them.
      const made = madeUndefined(b, p, op, w) & fw;
      const certain = (fx & Fx.COUNT_FLAGS) === 0;
      undef = (certain ? undef & ~written : undef) | made;
    }
    r.any |= undef;
  }
  r.end = undef;
  return r;
}
