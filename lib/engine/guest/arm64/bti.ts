/** Branch target identification, FEAT_BTI (Arm ARM, D8.4.7; docs/adr/0068): what an indirect branch may come to in a guarded page. */

/** BTI, BTI c, BTI j, BTI jc: hints 32, 34, 36, 38. */
export function isBti(word: number): boolean {
  return (word & 0xffff_ff3f | 0) === (0xd503_241f | 0);
}

/** BR, BLR and the authenticated ones: those that set PSTATE.BTYPE. */
export function isIndirect(word: number): boolean {
  return (word & 0xfedf_f000 | 0) === (0xd61f_0000 | 0);
}

/** Values of PSTATE.BTYPE that BTI accepts, as bits, by what bits 7..6 of it name: nothing, calls, jumps, both. */
const BTI: readonly number[] = [0b0000, 0b0110, 0b1010, 0b1110];
/** After a call, or a jump by X16 or X17; and after any branch. */
const CALLED = 0b0110;
export const ANY_BTYPE = 0b1110;

/**
 * Values of PSTATE.BTYPE with which the instruction raises no Branch Target exception, as bits. PACIASP and PACIBSP are targets,
 * of jumps too unless SCTLR_EL1.BT0 or BT1 (`strict`) says otherwise; BRK and HLT raise their own exceptions.
 */
export function acceptedBtypes(word: number, strict: boolean): number {
  if (isBti(word)) return BTI[(word >>> 6) & 3]!;
  // PACIASP, PACIBSP: hints 25, 27.
  if ((word & 0xffff_ffbf | 0) === (0xd503_233f | 0)) return strict ? CALLED : ANY_BTYPE;
  const trap = word & 0xffe0_001f;
  return trap === (0xd420_0000 | 0) || trap === (0xd440_0000 | 0) ? ANY_BTYPE : 0;
}
