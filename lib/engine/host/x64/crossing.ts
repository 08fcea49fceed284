/** Accesses that cross the end of a page. The inline look-up in the TLB misses them by construction; if the TLB knows both pages, a stub does them byte by byte. */
import { Cc, Slot, TLB_OFFSETS, TLB_SHIFT, TlbField } from '../../state.js';
import { Alu, type Asm, NO_INDEX, R, Sh, mem } from './asm.js';
import { returnOrElse, tlbTable } from './templates.js';

/** Widths that X_AUX has for accesses without flags: 0..3. */
const PLAIN = 4;

/**
 * Emits a stub that is called in place of the yield LOAD or STORE, with X_ADDR, X_AUX, X_INSN (and X_VAL) set as for it.
 * @param otherwise that yield, for all but plain accesses to two pages that the TLB of the MMU index knows
 * @returns its position
 */
export function emitCrossing(asm: Asm, mmuIdx: number, otherwise: number, store: boolean): number {
  const start = asm.p;
  const saved = [R.RAX, R.RCX, R.RDX, R.RDI, R.RSI, R.R8, R.R9];
  for (const r of saved) asm.push(r);
  const out: number[] = [];
  const table = tlbTable(mmuIdx);
  /** to = addend of the page whose address is in `page`. */
  const addend = (to: number, page: number): void => {
    asm.movrr(2, R.RCX, page);
    asm.shi(2, Sh.SHR, R.RCX, TLB_SHIFT);
    asm.alui(2, Alu.AND, R.RCX, TLB_OFFSETS);
    asm.opm(3, 0x3b, page, R.RBP, R.RCX, 0, table + (store ? TlbField.TAG_WRITE : TlbField.TAG_READ));
    out.push(asm.jccLater(Cc.NE));
    asm.opm(3, 0x8b, to, R.RBP, R.RCX, 0, table + TlbField.ADDEND);
  };
  asm.load(2, R.RCX, mem(Slot.X_AUX));
  asm.alui(2, Alu.CMP, R.RCX, PLAIN);
  out.push(asm.jccLater(Cc.AE));
  // RAX = first byte, R9 = past the last, RDX = where the second page begins.
  asm.load(3, R.RAX, mem(Slot.X_ADDR));
  asm.movi(2, R.R9, 1);
  asm.shcl(2, Sh.SHL, R.R9);
  asm.alu(3, Alu.ADD, R.R9, R.RAX);
  asm.lea(3, R.RDX, R.R9, NO_INDEX, 0, -1);
  asm.alui(3, Alu.AND, R.RDX, -4096);
  asm.movrr(3, R.R8, R.RAX);
  asm.alui(3, Alu.AND, R.R8, -4096);
  asm.alu(3, Alu.CMP, R.R8, R.RDX);
  out.push(asm.jccLater(Cc.E));
  // RDI, RSI = addends of the first and of the second page.
  addend(R.RDI, R.R8);
  addend(R.RSI, R.RDX);
  if (store) asm.load(3, R.RCX, mem(Slot.X_VAL));
  else asm.alu(2, Alu.XOR, R.RCX, R.RCX);
  const loop = asm.p;
  if (store) {
    asm.movrr(3, R.R8, R.RDI);
    asm.alu(3, Alu.CMP, R.RAX, R.RDX);
    asm.cmov(Cc.AE, 3, R.R8, R.RSI);
    asm.opm(0, 0x89, R.RCX, R.RAX, R.R8, 0, 0);
    asm.shi(3, Sh.SHR, R.RCX, 8);
    asm.lea(3, R.RAX, R.RAX, NO_INDEX, 0, 1);
  } else {
    asm.lea(3, R.R9, R.R9, NO_INDEX, 0, -1);
    asm.movrr(3, R.R8, R.RDI);
    asm.alu(3, Alu.CMP, R.R9, R.RDX);
    asm.cmov(Cc.AE, 3, R.R8, R.RSI);
    asm.movzxMem(0, R.R8, R.R9, R.R8);
    asm.shi(3, Sh.SHL, R.RCX, 8);
    asm.alu(3, Alu.OR, R.RCX, R.R8);
  }
  asm.alu(3, Alu.CMP, R.RAX, R.R9);
  asm.jcc(Cc.NE, loop);
  if (!store) asm.store(3, mem(Slot.X_VAL), R.RCX);
  returnOrElse(asm, saved, out, otherwise);
  return start;
}
