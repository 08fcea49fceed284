/** Names for people: state slots and modes of a RISC-V guest. */
import { Slot } from '../../state.js';
import { Mode, X } from './defs.js';

const ABI = [
  'zero', 'ra', 'sp', 'gp', 'tp', 't0', 't1', 't2', 's0', 's1', 'a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9', 's10',
  's11', 't3', 't4', 't5', 't6',
];
const OTHER: Readonly<Record<number, string>> = {
  [Slot.PCBASE]: 'pcbase', [Slot.PC]: 'pc', [X.RES_ADDR]: 'reservation', [X.RES_VALUE]: 'reserved', [X.INSTRET]: 'instret', [Slot.MXCSR]: 'mxcsr',
  [X.VSTART]: 'vstart', [X.VL]: 'vl', [X.VTYPE]: 'vtype', [X.VXSAT]: 'vxsat', [X.VXRM]: 'vxrm',
};

/** Name of a state slot; undefined for one that has none. */
export function riscvSlotName(s: number): string | undefined {
  if (s > Slot.GPR && s < Slot.GPR + 32) return ABI[s - Slot.GPR];
  if (s >= X.F && s < X.F + 32) return `f${s - X.F}`;
  return OTHER[s];
}

/** A mode word in words: S,fp,dirty,mmu1. */
export function describeRiscvMode(mode: number): string {
  const parts = ['US?M'[mode & Mode.PRIV]!];
  if (mode & Mode.FP) parts.push(`fp${mode & Mode.FP_DIRTY ? '-dirty' : ''}`, `frm${(mode & Mode.FRM) >> Mode.FRM_SHIFT}`);
  parts.push(`mmu${(mode & Mode.MMU) >> Mode.MMU_SHIFT}`);
  if (mode & Mode.COUNT) parts.push('count');
  if (mode & Mode.STEP) parts.push('step');
  return parts.join(',');
}
