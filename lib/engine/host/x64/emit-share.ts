/**
 * Accesses of a block that share a look-up in the TLB (docs/adr/0064): loads and stores at constant distances from one register, as a function's pushes and pops or the members of
 * a structure. The first one, the leader, asks for a page that all of them lie in, and its addend stays in a register; the others only look whether it is 0. It is if the leader has
 * left hot code (its stub makes it 0), or any other access has meanwhile: what the addend was good for may have changed then. Where the addend is 0 an access takes its slow
 * path, which is a stub that asks the TLB for that access alone (slow-access.ts).
 *
 * One group at a time: there are four scratch registers.
 */
import { F, Fx, Op, REC } from '../../ir/ops.js';
import { Access, NONE, Slot } from '../../state.js';
import { EFFECTS, type Emitter, Opnd, OPERANDS } from './emitter.js';
import { tellable } from './slow-access.js';

/** What an access is in its group. */
export const enum Role { ALONE = 0, LEADER, FOLLOWER }

/** Most bytes from the first to the last that a group touches: the more, the oftener a page ends between them. */
const SPAN = 64;
/** Most accesses of a block that are looked at. */
const MOST = 32;

export class SharePlan {
  /** By op. */
  role = new Uint8Array(2048);
  /** Of leaders: first and last byte of the group from the leader's address, and the op that is its last follower. */
  lo = new Int8Array(2048);
  hi = new Int8Array(2048);
  last = new Int16Array(2048);

  /** What each slot's value is: a root (a value of its own) plus a distance. Valid if `seen` is `turn`, otherwise a root that is numbered when first asked for. */
  private readonly root = new Int32Array(Slot.TEMP_END);
  private readonly distance = new Int32Array(Slot.TEMP_END);
  private readonly seen = new Int32Array(Slot.TEMP_END);
  private turn = 0;
  private roots = 0;
  /** How often in this block everything may have become something else. */
  private epoch = 0;

  /** The accesses: op, root (different ones after anything that leaves hot code), distance, bytes, whether it needs the right to write. */
  private readonly op = new Int16Array(MOST);
  private readonly of = new Int32Array(MOST);
  private readonly at = new Int32Array(MOST);
  private readonly bytes = new Uint8Array(MOST);
  private readonly writes = new Uint8Array(MOST);
  private n = 0;
  /** Result of `group`. */
  private followers = 0;
  private end = 0;
  private first = 0;
  private beyond = 0;

  /** Finds the groups of the block that the emitter has begun. */
  plan(e: Emitter): void {
    const n = e.n;
    if (this.role.length <= n) {
      this.role = new Uint8Array(n * 2);
      this.lo = new Int8Array(n * 2);
      this.hi = new Int8Array(n * 2);
      this.last = new Int16Array(n * 2);
    }
    this.role.fill(Role.ALONE, 0, n);
    this.collect(e);
    for (let i = 0; i < this.n - 1; ) {
      this.group(i);
      const { followers, end } = this;
      // One that begins within it and is larger has the register.
      let best = followers > 0;
      for (let k = i + 1; best && k < end; k++) {
        if (this.of[k] === this.of[i]) continue;
        this.group(k);
        if (this.followers > followers) best = false;
      }
      i = best ? this.take(i) : i + 1;
    }
  }

  private distanceOf(s: number): number {
    return s >= Slot.SYMBOL ? 0 : this.distance[s]!;
  }

  /** Value of slot s, as root; then `distanceOf` tells its distance. A constant is a root that needs no number. */
  private value(s: number): number {
    if (s >= Slot.SYMBOL) return -(s + this.epoch * Slot.CONST_END);
    if (this.seen[s] !== this.turn) this.define(s, ++this.roots, 0);
    return this.root[s]!;
  }

  private define(s: number, root: number, distance: number): void {
    this.seen[s] = this.turn;
    this.root[s] = root;
    this.distance[s] = distance;
  }

  private collect(e: Emitter): void {
    const ir = e.ir;
    this.n = 0;
    this.turn++;
    this.roots = 0;
    this.epoch = 0;
    for (let i = 0; i < e.n && this.n < MOST; i++) {
      const p = i * REC;
      const w0 = ir[p]!;
      const op = (w0 & 0xff) as Op;
      const w = (w0 >> 8) & 15;
      const a = ir[p + F.A]!;
      const b = ir[p + F.B]!;
      const dst = ir[p + F.DST]!;
      if (op === Op.LD || op === Op.ST) {
        const acc = ir[p + F.C]!;
        if ((acc === (Access.NORMAL as number) || (acc === (Access.RMW as number) && op === Op.LD)) && known(a) && tellable(ir[p + F.INSN]!)) {
          const k = this.n++;
          this.op[k] = i;
          this.of[k] = this.value(a);
          this.at[k] = this.distanceOf(a);
          this.bytes[k] = 1 << w;
          this.writes[k] = op === Op.ST || acc !== (Access.NORMAL as number) ? 1 : 0;
        }
        if (op === Op.LD && dst >= 0 && dst < Slot.TEMP_END) this.seen[dst] = 0;
        continue;
      }
      if ((EFFECTS[op]! & (Fx.FAULTS | Fx.EFFECT | Fx.TERM)) !== 0 || op === Op.VOP) {
        this.turn++;
        this.epoch++;
        continue;
      }
      if (w === 3 && known(a) && known(dst) && dst !== Slot.PCBASE && dst < Slot.TEMP_END) {
        const moved = move(e, p, op, b);
        if (moved !== NO_MOVE) {
          const root = this.value(a);
          const far = this.distanceOf(a) + moved;
          // Distances are sums of 64 bits, of which no more are kept than are exact.
          if (Math.abs(far) < FAR) {
            this.define(dst, root, far);
            continue;
          }
        }
      }
      const k = OPERANDS[op]!;
      if ((k & Opnd.DST) !== 0) this.forget(dst);
      if ((k & Opnd.DST_C) !== 0) this.forget(ir[p + F.C]!);
      if ((k & Opnd.DST_IMM) !== 0) this.forget(ir[p + F.IMM]!);
    }
  }

  private forget(s: number): void {
    if (s >= 0 && s < Slot.TEMP_END) this.seen[s] = 0;
  }

  /** True if access j can follow in the group that has bytes first .. beyond - 1 so far. */
  private joins(i: number, j: number): boolean {
    if (this.of[j] !== this.of[i] || this.writes[j]! > this.writes[i]!) return false;
    const at = this.at[j]!;
    return Math.max(this.beyond, at + this.bytes[j]!) - Math.min(this.first, at) <= SPAN;
  }

  /** How many accesses follow access i, and up to which. */
  private group(i: number): void {
    this.followers = 0;
    this.end = i;
    this.first = this.at[i]!;
    this.beyond = this.first + this.bytes[i]!;
    for (let j = i + 1; j < this.n; j++) if (this.joins(i, j)) this.join(j);
  }

  private join(j: number): void {
    const at = this.at[j]!;
    if (at < this.first) this.first = at;
    if (at + this.bytes[j]! > this.beyond) this.beyond = at + this.bytes[j]!;
    this.followers++;
    this.end = j;
  }

  /** Makes the group of access i. @returns the access after its last one */
  private take(i: number): number {
    const leader = this.op[i]!;
    this.group(i);
    const { first, beyond, end } = this;
    this.first = this.at[i]!;
    this.beyond = this.first + this.bytes[i]!;
    for (let j = i + 1; j <= end; j++) {
      if (!this.joins(i, j)) continue;
      this.join(j);
      this.role[this.op[j]!] = Role.FOLLOWER;
    }
    this.role[leader] = Role.LEADER;
    this.lo[leader] = first - this.at[i]!;
    this.hi[leader] = beyond - 1 - this.at[i]!;
    this.last[leader] = this.op[end]!;
    return end + 1;
  }
}

/** A slot whose every change is a DST of some op, or that does not change in a block. */
const known = (s: number): boolean => s === Slot.PCBASE || (s >= Slot.GPR && s < Slot.X_CALL) || s >= Slot.TEMP;

const FAR = 1 << 29;
const NO_MOVE = 1 << 30;

/** How far a 64-bit op moves its operand A, or NO_MOVE. */
function move(e: Emitter, p: number, op: Op, b: number): number {
  const ir = e.ir;
  let d = NO_MOVE;
  if (op === Op.MOV) d = 0;
  else if (op === Op.LEA && b === NONE) d = ir[p + F.IMM]!;
  else if ((op === Op.ADD || op === Op.SUB) && e.isImm(b, 3)) d = op === Op.ADD ? e.klo(b) : -e.klo(b);
  return d > -NO_MOVE && d < NO_MOVE ? d : NO_MOVE;
}
