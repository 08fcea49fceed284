/**
 * Flags beyond what the instruction set defines. Two tables per op:
 *
 * - `FLAGS_WRITTEN`: the flags an op gives a value to. Bits of `fw` outside are ignored: the flag keeps its value, so
 *   the dead-flag pass must not take the op for a definition of them.
 * - `UNDEFINED_FLAGS`: the flags that the Intel SDM leaves undefined after the x86 instruction of that name. Differential
 *   tests mask them. What the interpreter does with them is what AMD Zen processors do, except where noted.
 */
import { Fl } from '../state.js';
import { Op } from './ops.js';

function table(dflt: number, entries: readonly (readonly [Op, number])[]): Uint8Array {
  const t = new Uint8Array(Op.COUNT).fill(dflt);
  for (const [op, m] of entries) t[op] = m;
  return t;
}

const CO = Fl.CF | Fl.OF;

/** Flags each op gives a value to (subset of its fw), as `Fl` masks indexed by `Op`. 0 for ops that never change flags. */
export const FLAGS_WRITTEN: Uint8Array = table(0, [
  [Op.ADD, Fl.ALL], [Op.SUB, Fl.ALL], [Op.ADC, Fl.ALL], [Op.SBB, Fl.ALL], [Op.NEG, Fl.ALL],
  [Op.AND, Fl.ALL], [Op.OR, Fl.ALL], [Op.XOR, Fl.ALL], [Op.ANDN, Fl.ALL],
  [Op.INC, Fl.NOT_CF], [Op.DEC, Fl.NOT_CF],
  [Op.SHL, Fl.ALL], [Op.SHR, Fl.ALL], [Op.SAR, Fl.ALL], [Op.SHLD, Fl.ALL], [Op.SHRD, Fl.ALL],
  [Op.ROL, CO], [Op.ROR, CO], [Op.RCL, CO], [Op.RCR, CO],
  // The other flags keep their value, as on AMD and Intel processors.
  [Op.BT, Fl.CF], [Op.BTS, Fl.CF], [Op.BTR, Fl.CF], [Op.BTC, Fl.CF],
  // Zen 4 also sets PF from the result and clears the rest; older processors keep them. Kept here.
  [Op.BSF, Fl.ZF], [Op.BSR, Fl.ZF],
  // OF kept, SF AF PF cleared.
  [Op.TZCNT, Fl.ALL & ~Fl.OF], [Op.LZCNT, Fl.ALL & ~Fl.OF],
  [Op.POPCNT, Fl.ALL],
  // SF ZF AF PF keep their value (Intel processors set SF and PF from the low half).
  [Op.MUL, CO], [Op.IMUL, CO],
  [Op.BLSI, Fl.ALL], [Op.BLSR, Fl.ALL], [Op.BLSMSK, Fl.ALL], [Op.BEXTR, Fl.ALL], [Op.BZHI, Fl.ALL],
  [Op.ADOX, Fl.OF],
  [Op.PUTF, Fl.ALL], [Op.SETCF, Fl.CF],
  // By the helper's table entry.
  [Op.VOP, Fl.ALL],
]);

/**
 * Flags the SDM leaves undefined, as `Fl` masks indexed by `Op`. Shifts and rotates: for a masked count of 1; see
 * `undefinedFlags` for other counts. The choices:
 * - logic ops: AF = 0.
 * - shifts, SHLD, SHRD: AF = 0 (Intel; Zen sets it).
 * - shifts by more than 1: OF as the last of n steps by one bit would leave it (SHL: CF ^ MSB of the result; SHR: 0;
 *   SAR: 0; SHLD: as SHL; SHRD and right rotates: the two top bits of the result differ; left rotates: as SHL).
 * - shifts of 8 or 16 bits by more than the width: CF = 0 (SAR: the sign).
 * - BLSI, BLSR, BLSMSK, BZHI, ANDN: AF = 0, PF from the result. BEXTR: AF = 1, SF = 0, PF from the result.
 * - DIV, IDIV, BT family, BSF, BSR, MUL, IMUL: flags not in FLAGS_WRITTEN keep their value.
 */
export const UNDEFINED_FLAGS: Uint8Array = table(0, [
  [Op.AND, Fl.AF], [Op.OR, Fl.AF], [Op.XOR, Fl.AF],
  [Op.SHL, Fl.AF], [Op.SHR, Fl.AF], [Op.SAR, Fl.AF], [Op.SHLD, Fl.AF], [Op.SHRD, Fl.AF],
  [Op.BT, Fl.OF | Fl.SF | Fl.AF | Fl.PF], [Op.BTS, Fl.OF | Fl.SF | Fl.AF | Fl.PF],
  [Op.BTR, Fl.OF | Fl.SF | Fl.AF | Fl.PF], [Op.BTC, Fl.OF | Fl.SF | Fl.AF | Fl.PF],
  [Op.BSF, Fl.ALL & ~Fl.ZF], [Op.BSR, Fl.ALL & ~Fl.ZF],
  [Op.TZCNT, Fl.OF | Fl.SF | Fl.AF | Fl.PF], [Op.LZCNT, Fl.OF | Fl.SF | Fl.AF | Fl.PF],
  [Op.MUL, Fl.ALL & ~CO], [Op.IMUL, Fl.ALL & ~CO],
  [Op.DIV, Fl.ALL], [Op.IDIV, Fl.ALL],
  [Op.ANDN, Fl.AF | Fl.PF], [Op.BLSI, Fl.AF | Fl.PF], [Op.BLSR, Fl.AF | Fl.PF], [Op.BLSMSK, Fl.AF | Fl.PF],
  [Op.BEXTR, Fl.AF | Fl.SF | Fl.PF], [Op.BZHI, Fl.AF | Fl.PF],
]);

/**
 * Flags undefined after a shift, rotate or double shift.
 * @param w width, 0..3
 * @param count the count as masked by the processor (0..31, or 0..63 for w = 3)
 */
export function undefinedFlags(op: Op, w: number, count: number): number {
  const base = UNDEFINED_FLAGS[op]!;
  if (op < Op.SHL || op > Op.SHRD) return base;
  if (count === 0) return 0;
  const bits = 8 << w;
  let m = base;
  if (count !== 1) m |= Fl.OF;
  if (op === Op.SHLD || op === Op.SHRD) {
    // The result itself is undefined too.
    if (count > bits) m = Fl.ALL;
  } else if ((op === Op.SHL || op === Op.SHR) && count >= bits) m |= Fl.CF;
  return m;
}
