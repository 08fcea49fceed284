/**
 * Passes over the IR of one block, in place: two linear scans, no allocation.
 *
 * Forwards: constants and copies are propagated through temporaries. Backwards: flags nobody reads are dropped from
 * `fw`, ops whose results nobody reads are dropped, and what is left is compacted.
 */
import type { HelperRegistry } from '../helpers.js';
import { Fl, NONE, Slot } from '../state.js';
import type { IrBuilder } from './builder.js';
import { CC_READS, F, Fx, OPS, Op, REC } from './ops.js';
import { FLAGS_WRITTEN } from './undefined.js';

export interface PassOptions {
  /** Drop flag results that are overwritten before they are read. Default true. */
  deadFlags?: boolean;
  /** Constant folding and copy propagation of temporaries. Default true. */
  fold?: boolean;
  /** Drop ops without effect whose temporary results are never read. Default true. */
  deadTemps?: boolean;
  /** In generated code: returns are predicted by the host's own return stack (docs/adr/0023). Default true. */
  returns?: boolean;
  /** In generated code: flags that only a fault would see are computed when there is one (docs/adr/0024). Default true. */
  lazyFlags?: boolean;
  /** Loops that run often are compiled as one piece (docs/adr/0025). Default true. */
  regions?: boolean;
  /** In regions: an access remembers the page it went to last (docs/adr/0033). Default true. */
  pageHints?: boolean;
  /** In blocks: accesses at constant distances from one register share a look-up in the TLB (docs/adr/0064). Default true. */
  sharedChecks?: boolean;
  /** Lifters make one op of what takes a guest several instructions, and results that nothing can see are dropped; RISC-V (docs/adr/0073). Default true. */
  idioms?: boolean;
  /** No pass, but switched with them, in machines: code that is met for the first time is executed without being translated (docs/adr/0065). Default true. */
  firstRun?: boolean;
}
const ALL: PassOptions = {};

const FX = new Int32Array(OPS.map((o) => o.fx));
const CC = new Int32Array(CC_READS);

/** How an operand is read. */
const enum Use {
  NONE = 0,
  /** Source of which only the low w bits count. */
  W = 1,
  /** Source of which all 64 bits count. */
  FULL = 2,
  /** Source of which the low 16 bits count. */
  LOW16 = 3,
  /** Source of which the low 32 bits count. */
  LOW32 = 4,
  /** Slot that must stay what it is: vectors, and operands of helpers (which may look at neighbours). */
  FIXED = 5,
}
const enum Shift { A = 0, B = 4, C = 8 }
/** `Use` of the fields A, B, C of each op, 4 bits each from bit 0. */
const USES: Int32Array = (() => {
  const t = new Int32Array(Op.COUNT);
  for (let op = 0; op < Op.COUNT; op++) {
    const form = OPS[op]!.form;
    for (let i = 1; i <= 3; i++) {
      const k = form[i];
      if (k === 's') t[op]! |= Use.W << (4 * (i - 1));
      else if (k === 'v') t[op]! |= Use.FIXED << (4 * (i - 1));
    }
  }
  const set = (op: Op, a: Use, b: Use = Use.NONE, c: Use = Use.NONE): void => {
    t[op] = (a << Shift.A) | (b << Shift.B) | (c << Shift.C);
  };
  set(Op.EXTH, Use.LOW16);
  set(Op.SELNZ, Use.W, Use.FULL, Use.FULL);
  set(Op.CRC32, Use.LOW32, Use.W);
  set(Op.BEXTR, Use.W, Use.LOW16);
  set(Op.PUTF, Use.LOW16);
  set(Op.LD, Use.FULL);
  set(Op.ST, Use.FULL, Use.W);
  set(Op.LDV, Use.FULL);
  set(Op.STV, Use.FULL, Use.FIXED);
  set(Op.SEGCHK, Use.LOW32);
  set(Op.CHKALIGN, Use.LOW32);
  set(Op.JMPI, Use.FULL);
  set(Op.CALL, Use.FIXED, Use.FIXED, Use.FIXED);
  set(Op.CALLIF, Use.W, Use.FIXED);
  set(Op.COPY, Use.FULL, Use.FULL, Use.FULL);
  set(Op.FILL, Use.FULL, Use.W, Use.FULL);
  set(Op.VOP, Use.FIXED, Use.FIXED, Use.FIXED);
  set(Op.FOP, Use.FIXED, Use.FIXED, Use.FIXED);
  return t;
})();
/** 1 for ops whose DST field is written (all but BT and stores and terminators). */
const HAS_DST = new Uint8Array(OPS.map((o) => (o.form[0] === 'd' ? 1 : 0)));

const TEMPS = Slot.TEMP_END - Slot.TEMP;
/** Replacement of each temporary: a slot, valid in the block numbered by `copyEpoch`, for reads of widths up to `copyWidth`. */
const copySlot = new Int32Array(TEMPS);
const copyWidth = new Uint8Array(TEMPS);
const copyEpoch = new Int32Array(TEMPS);
/** Version of the copied guest register at the time of the copy. */
const copyVersion = new Int32Array(TEMPS);
const version = new Int32Array(Slot.TEMP);
/** Helper calls so far: each may have changed any register. Only grows, like every version, so sums compare. */
let calls = 0;
let epoch = 0;
/** Temporaries read later on in the block numbered by `useEpoch`. */
const useEpoch = new Int32Array(TEMPS);
/** Registers that are written again, with all their bits, before anything reads them or the block may be left, in the stretch numbered by `stretch`. */
const unseen = new Int32Array(Slot.X_CALL);
let stretch = 0;
/** 1 for ops that leave bits of their destination alone at width 3, or at any. */
const KEEPS = new Uint8Array(Op.COUNT);
KEEPS[Op.INSH] = KEEPS[Op.SETCC] = 1;
/** 1 for ops whose `w` is not the width of their result, which is 32 bits or more. */
const WIDENS = new Uint8Array(Op.COUNT);
WIDENS[Op.SX] = WIDENS[Op.ZX] = WIDENS[Op.EXTH] = WIDENS[Op.CRC32] = WIDENS[Op.SELNZ] = 1;

/**
 * Runs the passes on a complete block. `helpers` tells what CALL and VOP do.
 * @param fpFaults floating-point exceptions are unmasked: a VOP with `fp` may leave the block
 */
export function runPasses(b: IrBuilder, helpers: HelperRegistry<never>, o: PassOptions = ALL, fpFaults = false): void {
  epoch++;
  if (o.fold !== false) fold(b);
  backwards(b, helpers, o.deadFlags !== false, o.deadTemps !== false, fpFaults, b.flagless && o.idioms !== false);
}

/** What to read instead of slot s in an operand of which bits up to width w count. */
function replacement(s: number, w: number): number {
  if (s < Slot.TEMP || s >= Slot.TEMP_END) return s;
  const t = s - Slot.TEMP;
  if (copyEpoch[t] !== epoch || w > copyWidth[t]!) return s;
  const r = copySlot[t]!;
  if (r < Slot.TEMP && version[r]! + calls !== copyVersion[t]) return s;
  return r;
}

/** Records that temporary `dst` equals slot r in its low bits of width w (3 = entirely). */
function setCopy(dst: number, r: number, w: number): void {
  // Registers beyond the general ones may be written as part of a vector or by floating point as a side effect.
  if (r < Slot.GPR || (r >= Slot.X_CALL && r < Slot.TEMP)) return;
  const t = dst - Slot.TEMP;
  copySlot[t] = r;
  copyWidth[t] = w;
  copyEpoch[t] = epoch;
  if (r < Slot.TEMP) copyVersion[t] = version[r]! + calls;
}

function fold(b: IrBuilder): void {
  const B = b.buf;
  const end = b.n * REC;
  const pool = b.consts;
  for (let p = 0; p < end; p += REC) {
    const w0 = B[p]!;
    const op: Op = w0 & 0xff;
    const w = (w0 >>> 8) & 15;
    const uses = USES[op]!;
    if (uses !== 0) {
      for (let i = 0, u = uses; u !== 0; i++, u >>>= 4) {
        const kind = u & 15;
        if (kind === Use.NONE || kind === Use.FIXED) continue;
        const s = B[p + F.A + i]!;
        if (s < Slot.TEMP || s >= Slot.TEMP_END) continue;
        B[p + F.A + i] = replacement(s, kind === Use.W ? w : kind === Use.FULL ? 3 : kind === Use.LOW16 ? 1 : 2);
      }
    }
    const dst = B[p + F.DST]!;
    if (op === Op.LEA) foldLea(b, p, w, dst);
    else if (dst >= Slot.TEMP && HAS_DST[op] !== 0) {
      const a = B[p + F.A]!;
      switch (op) {
        case Op.MOV:
        case Op.ZX:
          if (a >= Slot.CONST) {
            const k = a - Slot.CONST;
            const lo = pool.lo[k]!;
            if (w === 3) setCopy(dst, a, 3);
            else setCopy(dst, pool.slot(w === 2 ? lo : w === 1 ? lo & 0xffff : lo & 0xff, 0), 3);
          } else setCopy(dst, a, w);
          break;
        case Op.SX:
          if (a >= Slot.CONST) {
            const lo = pool.lo[a - Slot.CONST]!;
            const bits = B[p + F.IMM]!;
            const x = w === 0 ? (lo << 24) >> 24 : w === 1 ? (lo << 16) >> 16 : lo;
            if (bits === 64) setCopy(dst, w === 3 ? a : pool.slot(x, x >> 31), 3);
            else setCopy(dst, pool.slot(bits === 32 ? x : x & 0xffff, 0), 3);
          } else setCopy(dst, a, w);
          break;
        case Op.ADD:
        case Op.SUB:
        case Op.AND:
        case Op.OR:
        case Op.XOR:
          if (((w0 >>> 16) & 63) === 0 && w >= 2) {
            const s = B[p + F.B]!;
            if (a >= Slot.CONST && s >= Slot.CONST) setCopy(dst, binary(b, op, w, a - Slot.CONST, s - Slot.CONST), 3);
          }
          break;
        default:
          break;
      }
    }
    // A guest register that changes ends the life of its copies.
    if (dst >= 0 && dst < Slot.TEMP && HAS_DST[op] !== 0) version[dst]!++;
    const fx = FX[op]!;
    if (fx & Fx.DST2) {
      const d2 = B[p + (op === Op.DIV || op === Op.IDIV ? F.IMM : F.C)]!;
      if (d2 >= 0 && d2 < Slot.TEMP) version[d2]!++;
    } else if (op === Op.CALL || op === Op.CALLIF || op === Op.TIME) calls++;
  }
}

/** True if constant k (index) is `lo` as far as an address of width w can tell. */
function isInt32(b: IrBuilder, k: number, w: number): boolean {
  return w < 3 || b.consts.hi[k] === b.consts.lo[k]! >> 31;
}

/** LEA: constant addends move into the displacement; what is constant or a plain copy then is recorded as such. */
function foldLea(b: IrBuilder, p: number, w: number, dst: number): void {
  const B = b.buf;
  const pool = b.consts;
  let a = B[p + F.A]!;
  let s = B[p + F.B]!;
  let scale = B[p + F.C]!;
  let disp = B[p + F.IMM]!;
  if (s >= Slot.CONST && isInt32(b, s - Slot.CONST, w)) {
    const sum = pool.lo[s - Slot.CONST]! * (1 << scale) + disp;
    if (w < 3 || sum === (sum | 0)) {
      disp = sum | 0;
      s = NONE;
      scale = 0;
    }
  }
  if (a >= Slot.CONST && isInt32(b, a - Slot.CONST, w)) {
    const sum = pool.lo[a - Slot.CONST]! + disp;
    if (w < 3 || sum === (sum | 0)) {
      disp = sum | 0;
      a = NONE;
    }
  }
  if (a === NONE && scale === 0) {
    a = s;
    s = NONE;
  }
  B[p + F.A] = a;
  B[p + F.B] = s;
  B[p + F.C] = scale;
  B[p + F.IMM] = disp;
  if (s !== NONE || dst < Slot.TEMP) return;
  if (a === NONE) setCopy(dst, pool.slot(w === 1 ? disp & 0xffff : disp, w === 3 ? disp >> 31 : 0), 3);
  else if (a >= Slot.CONST) {
    // Only w = 3 comes here: a constant too large for the displacement.
    const lo = pool.lo[a - Slot.CONST]!;
    const r = (lo + disp) | 0;
    const carry = ((lo & disp) | ((lo | disp) & ~r)) >>> 31;
    setCopy(dst, pool.slot(r, pool.hi[a - Slot.CONST]! + (disp >> 31) + carry), 3);
  } else if (disp === 0) setCopy(dst, a, w);
}

/** Slot of the constant x op y (constants by index), w = 2 or 3. */
function binary(b: IrBuilder, op: Op, w: number, x: number, y: number): number {
  const lo = b.consts.lo;
  const hi = b.consts.hi;
  const xl = lo[x]!;
  const yl = lo[y]!;
  let r: number;
  let h: number;
  switch (op) {
    case Op.ADD:
      r = (xl + yl) | 0;
      h = hi[x]! + hi[y]! + (((xl & yl) | ((xl | yl) & ~r)) >>> 31);
      break;
    case Op.SUB:
      r = (xl - yl) | 0;
      h = hi[x]! - hi[y]! - (((~xl & yl) | ((~xl | yl) & r)) >>> 31);
      break;
    case Op.AND:
      r = xl & yl;
      h = hi[x]! & hi[y]!;
      break;
    case Op.OR:
      r = xl | yl;
      h = hi[x]! | hi[y]!;
      break;
    default:
      r = xl ^ yl;
      h = hi[x]! ^ hi[y]!;
      break;
  }
  return b.consts.slot(r, w === 3 ? h : 0);
}

/** Marks slot s as read. */
function use(s: number): void {
  if (s >= Slot.TEMP && s < Slot.TEMP_END) useEpoch[s - Slot.TEMP] = epoch;
}
function unused(s: number): boolean {
  return s === NONE || (s >= Slot.TEMP && s < Slot.TEMP_END && useEpoch[s - Slot.TEMP] !== epoch);
}
/** None of the four slots of a vector temporary is read. */
function unusedVector(s: number): boolean {
  if (s < Slot.TEMP || s >= Slot.TEMP_END) return false;
  const t = s - Slot.TEMP;
  return useEpoch[t] !== epoch && useEpoch[t + 1] !== epoch && useEpoch[t + 2] !== epoch && useEpoch[t + 3] !== epoch;
}

/** Flag and temporary liveness from the end; surviving records are packed towards the end, then moved to the front. */
function backwards(b: IrBuilder, helpers: HelperRegistry<never>, deadFlags: boolean, deadTemps: boolean, fpFaults: boolean, deadRegisters: boolean): void {
  const B = b.buf;
  const end = b.n * REC;
  const pool = b.consts;
  /** Flags that must be exact where the block may be left. */
  const exact: number = b.flagless ? 0 : Fl.ALL;
  let live = exact;
  let out = end;
  stretch++;
  for (let p = end - REC; p >= 0; p -= REC) {
    let w0 = B[p]!;
    const op: Op = w0 & 0xff;
    if (op === Op.NOP) continue;
    const fx = FX[op]!;
    let fw = (w0 >>> 16) & 63;
    let written = fw & FLAGS_WRITTEN[op]!;
    if (op === Op.VOP) written = fw & helpers.list[B[p + F.AUX]!]!.writesFlags;
    if (fw !== 0 && deadFlags) {
      if (fx & Fx.COUNT_FLAGS) {
        // A constant count decides whether the flags are written at all.
        const n = constCount(B, pool.lo, p, op, (w0 >>> 8) & 15);
        if (n === 0) fw = 0;
        else fw &= live;
        if (n <= 0) written = 0;
      } else fw &= live;
      w0 = (w0 & ~(63 << 16)) | (fw << 16);
      B[p] = w0;
    } else if (fx & Fx.COUNT_FLAGS) written = 0;

    if ((deadTemps || (deadFlags && B[p + F.DST] === NONE)) && (fw & FLAGS_WRITTEN[op]!) === 0) {
      let dead = false;
      if (op === Op.PUTF || op === Op.SETCF) dead = true;
      else if (op === Op.VOP) {
        const h = helpers.list[B[p + F.AUX]!]!;
        // Floating point also sets the sticky bits of MXCSR. A VOP without DST and without flags has some hidden effect.
        const dst = B[p + F.DST]!;
        dead = !h.fp && (dst === NONE ? h.writesFlags !== 0 : unusedVector(dst));
      } else if ((fx & (Fx.FAULTS | Fx.EFFECT)) === 0) {
        const dst = B[p + F.DST]!;
        if (fx & Fx.VDST) dead = unusedVector(dst);
        else dead = unused(dst) && (!(fx & Fx.DST2) || unused(B[p + F.C]!));
      }
      if (dead) continue;
    }
    if (deadRegisters && unseenResult(B, p, op, (w0 >>> 8) & 15, fx)) continue;

    // State of the flags before this op.
    live &= ~written;
    const leaves = (fx & (Fx.FAULTS | Fx.TERM)) !== 0 || (fpFaults && op === Op.VOP && helpers.list[B[p + F.AUX]!]!.fp);
    if (leaves) live |= exact;
    if (fx & Fx.READS_CC) live |= CC[(w0 >>> 12) & 15]!;
    else if (leaves) {
      // No leaving op reads flags besides those that must be exact.
    } else if (fx & Fx.READS_ALL) live = op === Op.ADOX ? live | Fl.OF : Fl.ALL;
    else if (fx & Fx.READS_CF) {
      if (op !== Op.SETCF || B[p + F.IMM] === 2) live |= Fl.CF;
    } else if (op === Op.VOP) live |= helpers.list[B[p + F.AUX]!]!.readsFlags;

    for (let i = 0, u = USES[op]!; u !== 0; i++, u >>>= 4) if (u & 15) use(B[p + F.A + i]!);
    if (deadRegisters) {
      for (let i = 0, u = USES[op]!; u !== 0; i++, u >>>= 4) {
        const s = B[p + F.A + i]!;
        if (u & 15 && s >= Slot.GPR && s < Slot.X_CALL) unseen[s] = 0;
      }
    }

    out -= REC;
    if (out !== p) {
      B[out] = w0;
      B[out + 1] = B[p + 1]!;
      B[out + 2] = B[p + 2]!;
      B[out + 3] = B[p + 3]!;
      B[out + 4] = B[p + 4]!;
      B[out + 5] = B[p + 5]!;
      B[out + 6] = B[p + 6]!;
      B[out + 7] = B[p + 7]!;
    }
  }
  if (out !== 0) {
    B.copyWithin(0, out, end);
    b.n = (end - out) / REC;
  }
}

/**
 * For a guest without flags: notes what the op does to registers, from the end of a block.
 * @returns true if it does nothing but write a register that is written again before anything may see it
 */
function unseenResult(B: Int32Array, p: number, op: Op, w: number, fx: number): boolean {
  if ((fx & (Fx.FAULTS | Fx.EFFECT | Fx.TERM)) !== 0 || op === Op.VOP) {
    stretch++;
    return false;
  }
  const dst = B[p + F.DST]!;
  if (HAS_DST[op] === 0 || dst < Slot.GPR || dst >= Slot.X_CALL || (fx & (Fx.VDST | Fx.DST2)) !== 0) return false;
  if (KEEPS[op] !== 0 || (w < 2 && WIDENS[op] === 0)) {
    unseen[dst] = 0;
    return false;
  }
  if (unseen[dst] === stretch) return true;
  unseen[dst] = stretch;
  return false;
}

/** Masked count of a shift if it is constant, else -1. */
function constCount(B: Int32Array, lo: Int32Array, p: number, op: Op, w: number): number {
  const s = B[p + (op === Op.SHLD || op === Op.SHRD ? F.C : F.B)]!;
  return s >= Slot.CONST ? lo[s - Slot.CONST]! & (w === 3 ? 63 : 31) : -1;
}
