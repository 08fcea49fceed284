/** Several blocks of one page as one piece of IR: the records of each, one after the other, and how control flows between them. */
import { NONE, Slot } from '../state.js';
import type { IrBuilder } from './builder.js';
import { F, OPS, Op, REC } from './ops.js';

export interface RegionNode {
  /** Page offset of the block. */
  readonly offset: number;
  /** Its records, the terminator last. */
  readonly first: number;
  readonly end: number;
  /** Nodes that a JMP, JCC or JNZ goes to when it jumps and when it does not; -1: that leaves the region (or there is no such edge). */
  taken: number;
  next: number;
  /** It may be left for code outside the region. */
  leaves: boolean;
  /** Always, and not by a direct jump: a call, an indirect jump, an exit. */
  opaque: boolean;
  /** Some node from here on in their order jumps to it: PENDING has to be looked at. */
  loop: boolean;
}

export interface Region {
  readonly ir: IrBuilder;
  /** The first one is where the region is entered. */
  readonly nodes: RegionNode[];
  /** Guest RAM offsets of the first byte covered, and past the last one. */
  from: number;
  to: number;
}

/** Page offsets that a block's terminator (at word p) jumps to directly: taken, then next; -1 = none. */
export function targets(B: Int32Array, p: number): readonly [number, number] {
  switch ((B[p]! & 0xff) as Op) {
    case Op.JMP:
      return B[p + F.C] === 1 ? [-1, -1] : [B[p + F.IMM]!, -1];
    case Op.JCC:
    case Op.JNZ:
      return [B[p + F.IMM]!, B[p + F.C]!];
    default:
      return [-1, -1];
  }
}

/** Fields that name slots, by op: bit k for field DST + k. */
const SLOT_FIELDS = new Uint8Array(
  OPS.map((o) => {
    let m = 0;
    for (let k = 0; k < 5; k++) if ('dDsv'.includes(o.form[k]!)) m |= 1 << k;
    return m;
  }),
);

/** Appends the records of `from` to `to`, with temporaries of their own. @returns false if there is no room */
export function appendBlock(to: IrBuilder, from: IrBuilder): boolean {
  const base = (to.tempEnd + 3) & ~3;
  const shift = base - Slot.TEMP;
  if (from.tempEnd + shift > Slot.TEMP_END - 8 || (to.n + from.n + 1) * REC > to.buf.length) return false;
  const A = to.buf;
  const B = from.buf;
  let q = to.n * REC;
  for (let p = 0; p < from.n * REC; p += REC, q += REC) {
    for (let k = 0; k < REC; k++) A[q + k] = B[p + k]!;
    const fields = SLOT_FIELDS[B[p]! & 0xff]!;
    for (let k = 0; k < 5; k++) {
      const s = B[p + F.DST + k]!;
      if ((fields >> k) & 1 && s >= Slot.TEMP && s < Slot.TEMP_END) A[q + F.DST + k] = s + shift;
    }
  }
  to.n += from.n;
  to.insns += from.insns;
  to.tempEnd = from.tempEnd + shift;
  to.flagless = from.flagless;
  to.registers = from.registers;
  return true;
}

/** How often each register slot is named by a region's ops, by slot. */
export function countUses(ir: IrBuilder): Int32Array {
  const n = new Int32Array(Slot.X_CALL);
  const B = ir.buf;
  for (let p = 0; p < ir.n * REC; p += REC) {
    const fields = SLOT_FIELDS[B[p]! & 0xff]!;
    for (let k = 0; k < 5; k++) {
      const s = B[p + F.DST + k]!;
      if ((fields >> k) & 1 && s !== NONE && s >= Slot.GPR && s < Slot.X_CALL) n[s]!++;
    }
  }
  return n;
}
