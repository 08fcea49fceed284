/** Names of state slots and modes of ARM64 guests, for debugging tools. */
import { Slot, VEC_STRIDE } from '../../state.js';
import { A, Mode } from './regs.js';

const NAMED = new Map<number, string>([
  [A.SP, 'sp'], [A.SP_EL0, 'sp_el0'], [A.SP_EL1, 'sp_el1'], [A.ELR_EL1, 'elr_el1'], [A.SPSR_EL1, 'spsr_el1'], [A.TPIDR_EL0, 'tpidr_el0'],
  [A.TPIDRRO_EL0, 'tpidrro_el0'], [A.TPIDR_EL1, 'tpidr_el1'], [A.DAIF, 'daif'], [A.FAR_EL1, 'far_el1'], [A.ESR_EL1, 'esr_el1'],
  [A.VBAR_EL1, 'vbar_el1'], [A.EXCL_ADDR, 'excl_addr'], [A.EXCL_VAL, 'excl_val'], [A.IRQ_LINE, 'irq_line'], [A.QC, 'qc'], [A.FPCR, 'fpcr'], [A.BTYPE, 'btype'],
  [Slot.PC, 'pc'], [Slot.PCBASE, 'pcbase'], [Slot.PENDING, 'pending'], [Slot.MXCSR, 'mxcsr'],
]);

/** Name of a state slot; undefined for one that has none. */
export function arm64SlotName(slot: number): string | undefined {
  const named = NAMED.get(slot);
  if (named !== undefined) return named;
  if (slot >= A.X0 && slot <= A.X30) return `x${slot - A.X0}`;
  if (slot >= Slot.VEC && slot < Slot.VEC + 32 * VEC_STRIDE) {
    const r = slot - Slot.VEC;
    return `v${Math.floor(r / VEC_STRIDE)}${r % VEC_STRIDE === 0 ? '' : `+${(r % VEC_STRIDE) * 8}`}`;
  }
  return undefined;
}

/** A mode word in words. */
export function describeMode(mode: number): string {
  const parts = [mode & Mode.EL1 ? `EL1${mode & Mode.SPSEL ? 'h' : 't'}` : 'EL0'];
  const names: readonly (readonly [Mode, string])[] = [
    [Mode.STEP, 'step'], [Mode.FP_TRAP, 'fp-trap'], [Mode.FP_SLOW, 'fp-slow'], [Mode.PAN, 'pan'], [Mode.ALIGN, 'align'], [Mode.UAO, 'uao'],
    [Mode.BTI, 'bti'], [Mode.LANDING_C, 'landing-c'], [Mode.LANDING_J, 'landing-j'], [Mode.PAC_TOP, 'pac-top'],
  ];
  for (const [bit, name] of names) if (mode & bit) parts.push(name);
  return parts.join(' ');
}
