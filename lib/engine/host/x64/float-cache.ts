/**
 * Operands of op FOP that host registers hold (docs/adr/0074). Slots are written through: what is in a register is in its slot, too, so nothing has to be done where the block may be left. A
 * yield loses the registers; the cold path of a load or store reads them again (`again`), after anything else that may yield they are forgotten.
 */
import { Alu, type Asm, mem, R } from './asm.js';
import { Fx, Op, OPS } from '../../ir/ops.js';
import { Cc, Slot } from '../../state.js';

/** Registers below are scratch. */
const FIRST = 4;
const REGS = 16;

/** What a register holds of its slot. */
export const enum Held {
  NOTHING = 0,
  DOUBLE,
  /** What single precision reads there: the low half, or the canonical NaN if that is not boxed. Bits above are anything. */
  SINGLE,
}

/** 1 for ops after which registers are forgotten: those that may leave hot code (loads and stores read them again) or use vector registers themselves. */
const FORGETS = new Uint8Array(Op.COUNT);
for (let op = 0; op < Op.COUNT; op++) FORGETS[op] = (OPS[op]!.fx & (Fx.FAULTS | Fx.EFFECT | Fx.VDST | Fx.DST2)) !== 0 ? 1 : 0;
FORGETS[Op.LD] = FORGETS[Op.ST] = FORGETS[Op.FOP] = 0;

export class FloatCache {
  private readonly slot = new Int32Array(REGS).fill(-1);
  private readonly held = new Uint8Array(REGS);
  /** Register of each slot, or 0. */
  private readonly where = new Uint8Array(Slot.TEMP);
  /** Slots whose upper half is all ones, if `turn`. */
  private readonly boxed = new Int32Array(Slot.TEMP);
  private turn = 1;
  private next = FIRST;
  private any = false;
  /** Slot that the current op has written, and brought up to date here; -1: none. */
  private fresh = -1;
  /** Registers that the current op uses, as bits. */
  private lock = 0;
  /** Lists of what registers hold, for cold paths: slots of registers FIRST and up, with `Held` in the lowest two bits, -1: nothing. */
  private lists = new Int32Array(64 * (REGS - FIRST));
  private listN = 0;

  begin(): void {
    this.listN = 0;
    this.forget();
  }

  /** Nothing is known. */
  forget(): void {
    this.turn++;
    this.lock = 0;
    if (!this.any) return;
    this.any = false;
    for (let r = FIRST; r < REGS; r++) this.drop(r);
  }

  private drop(r: number): void {
    const s = this.slot[r]!;
    if (s >= 0) this.where[s] = 0;
    this.slot[r] = -1;
    this.held[r] = Held.NOTHING;
  }

  /** After each op: slots that it has written are what they are no longer. */
  after(op: number, dst: number): void {
    this.lock = 0;
    if (FORGETS[op] !== 0) this.forget();
    else if (op !== (Op.FOP as number) && op !== (Op.ST as number) && this.fresh !== dst) this.written(dst);
    this.fresh = -1;
  }

  /** Slot s has been written. */
  written(s: number): void {
    if (s < 0 || s >= Slot.TEMP) return;
    this.boxed[s] = 0;
    const r = this.where[s]!;
    if (r !== 0) this.drop(r);
  }

  /** Register that holds slot s like that, locked until the op ends; or 0. */
  find(s: number, held: Held): number {
    const r = s < Slot.TEMP ? this.where[s]! : 0;
    if (r === 0 || this.held[r] !== (held as number)) return 0;
    this.lock |= 1 << r;
    return r;
  }

  /** A register for slot s, which it will hold like that once its value has been put there. Temporaries are not kept. */
  take(s: number, held: Held): number {
    let r = s < Slot.TEMP ? this.where[s]! : 0;
    if (r === 0) {
      do {
        r = this.next;
        this.next = r + 1 < REGS ? r + 1 : FIRST;
      } while ((this.lock & (1 << r)) !== 0);
    }
    this.drop(r);
    this.lock |= 1 << r;
    if (s < Slot.TEMP) {
      this.slot[r] = s;
      this.held[r] = held;
      this.where[s] = r;
      this.any = true;
    }
    return r;
  }

  /** General register r has been loaded to slot s. */
  loaded(asm: Asm, s: number, r: number): void {
    this.boxed[s] = 0;
    this.fresh = s;
    asm.sse(1, 1, 1, 0x6e, this.take(s, Held.DOUBLE), r);
  }

  /** The low half of general register r has been stored to slot s, and boxed. */
  loadedSingle(asm: Asm, s: number, r: number): void {
    this.fresh = s;
    asm.sse(1, 1, 0, 0x6e, this.take(s, Held.SINGLE), r);
  }

  isBoxed(s: number): boolean {
    return s < Slot.TEMP && this.boxed[s] === this.turn;
  }

  box(s: number): void {
    if (s < Slot.TEMP) this.boxed[s] = this.turn;
  }

  unbox(s: number): void {
    if (s < Slot.TEMP) this.boxed[s] = 0;
  }

  /** Notes what registers hold, for a cold path. @returns what `again` wants to know, 0: nothing */
  list(): number {
    if (!this.any) return 0;
    const n = REGS - FIRST;
    const at = this.listN * n;
    if (at + n > this.lists.length) {
      const longer = new Int32Array(this.lists.length * 2);
      longer.set(this.lists);
      this.lists = longer;
    }
    for (let k = 0; k < n; k++) this.lists[at + k] = this.slot[FIRST + k]! < 0 ? -1 : (this.slot[FIRST + k]! << 2) | this.held[FIRST + k]!;
    return ++this.listN;
  }

  /** Reads the registers of a list from their slots. Flags are lost. */
  again(asm: Asm, list: number): void {
    const n = REGS - FIRST;
    for (let k = 0; k < n; k++) {
      const s = this.lists[(list - 1) * n + k]!;
      if (s < 0) continue;
      if ((s & 3) === (Held.DOUBLE as number)) asm.movq(FIRST + k, mem(s >> 2));
      else single(asm, FIRST + k, s >> 2);
    }
  }
}

/** xmm = slot s as single precision: what is not boxed is the canonical NaN. For cold paths. */
function single(asm: Asm, xmm: number, s: number): void {
  asm.sse(2, 1, 0, 0x10, xmm, mem(s));
  asm.alui(2, Alu.CMP, mem(s) + 4, -1);
  const ok = asm.jccLater(Cc.E);
  canonicalNaN(asm, 2, xmm);
  asm.patch32(ok, asm.p);
}

/** xmm = the canonical NaN of width w. No other register and no flag changes. */
export function canonicalNaN(asm: Asm, w: number, xmm: number): void {
  asm.push(R.RAX);
  if (w === 3) asm.movi64(R.RAX, 0, 0x7ff8_0000);
  else asm.movi(2, R.RAX, 0x7fc0_0000);
  asm.sse(1, 1, w === 3 ? 1 : 0, 0x6e, xmm, R.RAX);
  asm.pop(R.RAX);
}
