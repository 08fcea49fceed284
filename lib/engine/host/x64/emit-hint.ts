/**
 * Page hints of regions (docs/adr/0033): a memory access remembers, in the state region, the page that it went to last and the addend of its TLB
 * entry. As long as it stays in that page neither the entry's address nor the addend has to be computed: a comparison with memory, off the way
 * from address to value, is all that is left of the probe. Any other page goes through the full probe on the cold path, which makes it the hint.
 *
 * Where accesses go from page to page (the page hint has been switched off), reads remember the addend only: pages next to each other often lie next to each other in
 * memory, too. The TLB is asked as ever, but what the value waits for is a guess of the addend that the host has before the address, and checks by a branch.
 *
 * A hint is good while the TLB has told that page's translation; the MMU empties all hints whenever it takes a translation or a right away
 * (dropHints). Accesses that are not aligned are told from others on the cold path.
 */
import { F, Op, REC } from '../../ir/ops.js';
import { Cc, HINT_ADDENDS, HINT_BASE, HINT_BYTES, HINT_MISSES, HINT_TABLE_BYTES, HINT_USED, HINTS, NONE, Slot, STATE_BIAS, TlbField } from '../../state.js';
import { Alu, NO_INDEX, R } from './asm.js';
import { addCold, CF, Cold, landCold, probe } from './emit-mem.js';
import { COLD_REC, type Emitter } from './emitter.js';
import { tlbLookUp, tlbTable, tlbTest } from './templates.js';

/** Reads have the first half of the hints of an MMU index, writes the second. */
const HALF = HINTS / 2;
/** How far back the address computation of a temporary is looked for. */
const LOOK_BACK = 12;
/** What an access does with its hint. */
export const enum Hint { PAGE, ADDEND, NONE }
/** Most hints of a region that can be switched off one by one. */
const MOST = 32;

/** The hints of one region. Accesses through the same registers share one. */
export class HintPlan {
  /** Index (MMU index * HINTS + hint) of each, in the order of their first use. */
  ids: number[] = [];
  private readonly known = new Map<number, number>();

  /**
   * @param first number of the first hint
   * @param off hints that are not to be page hints, as bits by their order
   * @param addendsOff of those, the ones that are no hints at all
   */
  constructor(readonly mmuIdx: number, private readonly first: number, private readonly off: number, private readonly addendsOff: number) {}

  /** Before each emission. */
  begin(): void {
    this.ids = [];
    this.known.clear();
  }

  /** Kind of the hint that `of` has given. */
  kind = Hint.NONE;

  /** Number of the hint for an access to the address in slot a; without a meaning if `kind` is NONE then. */
  of(e: Emitter, a: number, write: boolean): number {
    const key = registers(e, a) * 2 + Number(write);
    let k = this.known.get(key);
    if (k === undefined) {
      if (this.ids.length >= MOST) {
        this.kind = Hint.NONE;
        return 0;
      }
      this.known.set(key, (k = this.ids.length));
      this.ids.push(hintId(this.mmuIdx, this.first, k, write));
    }
    // A store has no value that anything waits for.
    this.kind = ((this.off >>> k) & 1) === 0 ? Hint.PAGE : write || (this.addendsOff >>> k) & 1 ? Hint.NONE : Hint.ADDEND;
    return this.ids[k]!;
  }

  /** Number in the region of a hint that `of` has given. */
  numberOf(id: number): number {
    return this.ids.indexOf(id);
  }
}

/** Index of hint k of a region whose first hint has number `first`, within its half of the table. */
export const hintPlace = (first: number, k: number): number => (first + k) % HALF;

/** Index (as `HintPlan.ids`) of hint k of a region. `write`: it is one for writing. */
export const hintId = (mmuIdx: number, first: number, k: number, write: boolean): number => mmuIdx * HINTS + hintPlace(first, k) + (write ? HALF : 0);

export const isWriteHint = (id: number): boolean => id % HINTS >= HALF;

/** The instruction just emitted ends with a displacement that belongs to hint `id`. `unit`: index in HINT_UNITS. */
function noteHint(e: Emitter, id: number, unit: number): void {
  e.asm.relocs.hints.push(e.asm.p - 4, e.hints!.numberOf(id), unit);
}

/** A number for the registers that the address in slot a is computed from. */
function registers(e: Emitter, a: number): number {
  if (a < Slot.TEMP || a >= Slot.TEMP_END) return a;
  const ir = e.ir;
  for (let i = e.i - 1; i >= 0 && i >= e.i - LOOK_BACK; i--) {
    const p = i * REC;
    if (ir[p + F.DST] !== a || (ir[p]! & 0xff) !== (Op.LEA as number)) continue;
    const base = ir[p + F.A]!;
    const index = ir[p + F.B]!;
    if (base >= Slot.TEMP || index >= Slot.TEMP) break;
    return index === NONE ? base : base === NONE ? index : 0x1_0000 + base * 0x1_0000 + index;
  }
  // Only this access.
  return 0x4000_0000 + e.i;
}

/** The hinted probe, see emitProbe. bytes is a power of two: what is not aligned takes the cold path, since it may cross the page's end. */
export function emitHinted(e: Emitter, id: number, bytes: number, write: boolean): void {
  const asm = e.asm;
  const { addr, addend, free } = probe;
  const disp = hintDisp(id);
  asm.movrr(3, free, addr);
  asm.alui(3, Alu.AND, free, -4096 | (bytes - 1));
  asm.opm(3, 0x3b, free, R.RBP, NO_INDEX, 0, disp);
  noteHint(e, id, 0);
  probe.jump = 0;
  const q = addCold(e, Cold.HINT, asm.jccLater(Cc.NE), bytes | (write ? 0x100 : 0), addr, addend, free, id);
  asm.opm(3, 0x8b, addend, R.RBP, NO_INDEX, 0, disp + 8);
  noteHint(e, id, 0);
  e.cold[q + CF.BACK] = asm.p;
}

/** The full probe of a read with a guess of the addend. */
export function emitGuessed(e: Emitter, mmuIdx: number, id: number, bytes: number): void {
  const asm = e.asm;
  const { addr, addend, free } = probe;
  const disp = HINT_ADDENDS + id * 8 - STATE_BIAS;
  const entry = tlbTable(mmuIdx) + TlbField.ADDEND;
  probe.jump = tlbTest(asm, addr, free, addend, 0, bytes - 1, tlbTable(mmuIdx), TlbField.TAG_READ);
  asm.opm(3, 0x8b, addend, R.RBP, NO_INDEX, 0, disp);
  noteHint(e, id, 1);
  asm.opm(3, 0x3b, addend, R.RBP, free, 0, entry);
  const q = addCold(e, Cold.ADDEND, asm.jccLater(Cc.NE), 0, addend, free, entry, id);
  e.cold[q + CF.BACK] = asm.p;
}

/** Another addend. */
export function emitColdAddend(e: Emitter, q: number): void {
  const C = e.cold;
  const asm = e.asm;
  const addend = C[q + CF.A]!;
  const t = C[q + CF.B]!;
  const id = C[q + CF.D]!;
  landCold(e, q);
  asm.opm(3, 0x8b, addend, R.RBP, t, 0, C[q + CF.C]!);
  asm.opm(3, 0x89, addend, R.RBP, NO_INDEX, 0, HINT_ADDENDS + id * 8 - STATE_BIAS);
  noteHint(e, id, 1);
  asm.movi(2, t, 1);
  asm.opm(2, 0x01, t, R.RBP, NO_INDEX, 0, HINT_MISSES + id * 4 - STATE_BIAS);
  noteHint(e, id, 2);
  asm.jmp(C[q + CF.BACK]!);
}

const hintDisp = (id: number): number => HINT_BASE + Math.floor(id / HINTS) * HINT_TABLE_BYTES + (id % HINTS) * HINT_BYTES - STATE_BIAS;

/** Another page: the full probe. If the TLB does not know it either, the access's own cold path, which is the next record, follows. */
export function emitColdHint(e: Emitter, q: number, mmuIdx: number): void {
  const C = e.cold;
  const asm = e.asm;
  const bytes = C[q + CF.INSN]! & 0xff;
  const tag = C[q + CF.INSN]! & 0x100 ? TlbField.TAG_WRITE : TlbField.TAG_READ;
  const addr = C[q + CF.A]!;
  const t = C[q + CF.B]!;
  const u = C[q + CF.C]!;
  const id = C[q + CF.D]!;
  const disp = hintDisp(id);
  landCold(e, q);
  if (bytes > 1) {
    // An access that is not aligned, but whose ends both lie in the hint's page.
    asm.lea(3, u, addr, NO_INDEX, 0, bytes - 1);
    asm.movrr(3, t, addr);
    asm.alui(3, Alu.AND, u, -4096);
    asm.alui(3, Alu.AND, t, -4096);
    asm.opm(3, 0x3b, u, R.RBP, NO_INDEX, 0, disp);
    noteHint(e, id, 0);
    const otherPage = asm.jccLater(Cc.NE);
    asm.alu(3, Alu.CMP, t, u);
    const crosses = asm.jccLater(Cc.NE);
    asm.opm(3, 0x8b, t, R.RBP, NO_INDEX, 0, disp + 8);
    noteHint(e, id, 0);
    asm.jmp(C[q + CF.BACK]!);
    asm.patch32(otherPage, asm.p);
    asm.patch32(crosses, asm.p);
  }
  C[q + COLD_REC + CF.JUMP] = tlbLookUp(asm, addr, t, u, 0, bytes - 1, tlbTable(mmuIdx), tag);
  asm.opm(3, 0x89, u, R.RBP, NO_INDEX, 0, disp);
  noteHint(e, id, 0);
  asm.opm(3, 0x89, t, R.RBP, NO_INDEX, 0, disp + 8);
  noteHint(e, id, 0);
  asm.movi(2, u, 1);
  asm.opm(2, 0x89, u, R.RBP, NO_INDEX, 0, HINT_USED + mmuIdx * 4 - STATE_BIAS);
  asm.opm(2, 0x01, u, R.RBP, NO_INDEX, 0, HINT_MISSES + id * 4 - STATE_BIAS);
  noteHint(e, id, 2);
  asm.jmp(C[q + CF.BACK]!);
}
