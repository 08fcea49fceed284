/**
 * State of one compilation and the services every `emit-*` file uses: where each slot lives (host register or memory),
 * on-the-fly allocation of the scratch registers for temporaries, and the tracking of guest flags in host flags.
 *
 * One backward pass (`scan`) finds the last use of each temporary, the widest read of it, and which guest flags are
 * live before each op; the forward pass then emits code op by op.
 */
import { CC_READS, F, Fx, OPS, Op, REC } from '../../ir/ops.js';
import type { ConstPool, IrBuilder } from '../../ir/builder.js';
import type { RegionNode } from '../../ir/region.js';
import { Cc, Fl, NONE, Slot, VEC_STRIDE } from '../../state.js';
import { Alu, Asm, MEM, R, mem } from './asm.js';
import type { HintPlan } from './emit-hint.js';
import type { SharePlan } from './emit-share.js';
import { FloatCache } from './float-cache.js';

/** Operand kinds per op, precomputed from the forms in the op table. */
export const enum Opnd { A = 1, B = 2, C = 4, DST = 8, DST_C = 16, DST_IMM = 32, VDST = 64 }

export const OPERANDS = new Uint8Array(Op.COUNT);
export const EFFECTS = new Uint16Array(Op.COUNT);
/** 1 for ops all of whose operands are scalar slots: those that may name part of a vector register by accident of a guest's layout. */
const SCALAR = new Uint8Array(Op.COUNT).fill(1);
for (const op of [Op.LDV, Op.STV, Op.MOVV, Op.ZEROU, Op.CALL, Op.VOP, Op.NOP]) SCALAR[op] = 0;
/** Width at which A, and B and C, are read: 0..3, or OWN for the op's own width. */
const OWN = 4;
const READ_A = new Uint8Array(Op.COUNT).fill(OWN);
const READ_BC = new Uint8Array(Op.COUNT).fill(OWN);
for (let op = 0; op < Op.COUNT; op++) {
  const o = OPS[op]!;
  const source = (c: string): boolean => c === 's' || c === 'v';
  OPERANDS[op] =
    (o.form[0] === 'd' ? (o.fx & Fx.VDST ? Opnd.VDST : Opnd.DST) : 0) |
    (source(o.form[1]!) ? Opnd.A : 0) |
    (source(o.form[2]!) ? Opnd.B : 0) |
    (o.form[3] === 'D' ? Opnd.DST_C : source(o.form[3]!) ? Opnd.C : 0) |
    (o.form[4] === 'D' ? Opnd.DST_IMM : 0);
  EFFECTS[op] = o.fx;
}
READ_A[Op.EXTH] = 1;
READ_A[Op.INSH] = 0;
READ_BC[Op.SELNZ] = 3;
READ_A[Op.CRC32] = 2;
READ_A[Op.PUTF] = 2;
for (const op of [Op.LD, Op.ST, Op.LDV, Op.STV, Op.SEGCHK, Op.CALL, Op.VOP, Op.FOP, Op.JMPI, Op.MOVV]) READ_A[op] = 3;
READ_A[Op.CHKALIGN] = 2;
READ_BC[Op.CALL] = 3;
READ_BC[Op.CALLIF] = 3;
READ_A[Op.COPY] = READ_A[Op.FILL] = READ_BC[Op.COPY] = READ_BC[Op.FILL] = 3;
READ_BC[Op.VOP] = 3;
READ_BC[Op.FOP] = 3;

/** 1 for ops that may fault without hot code having put the flags into their slot. */
const LAZY = new Uint8Array(Op.COUNT);
for (const op of [Op.LD, Op.ST, Op.LDV, Op.STV, Op.SEGCHK, Op.CHKALIGN]) LAZY[op] = 1;

/** Bits of the FLAGS slot (LAHF/SETO format) for a compact flag mask. */
export function slotFlagMask(m: number): number {
  return (
    (m & Fl.CF ? 0x100 : 0) | (m & Fl.PF ? 0x400 : 0) | (m & Fl.AF ? 0x1000 : 0) | (m & Fl.ZF ? 0x4000 : 0) |
    (m & Fl.SF ? 0x8000 : 0) | (m & Fl.OF ? 1 : 0)
  );
}

/** Byte 1 of slot FLAGS: SF ZF 0 AF 0 PF 1 CF. */
export const FLAGS_LAHF = mem(Slot.FLAGS) + 1;

/** How a VOP is carried out: see vop-table.ts. */
export const enum VopHow { CALL = 0, NATIVE = 1, NATIVE_FLAGS = 2, CHECKED = 3 }

/** Scratch registers as bits. */
const SCRATCH = (1 << R.RCX) | (1 << R.RDX) | (1 << R.RDI) | (1 << R.RAX);

/** Of some scratch registers, as bits, the one to be preferred: RAX last, because saving flags needs it. -1 if there is none. */
function preferred(free: number): number {
  return free & (1 << R.RCX) ? R.RCX : free & (1 << R.RDX) ? R.RDX : free & (1 << R.RDI) ? R.RDI : free & (1 << R.RAX) ? R.RAX : -1;
}

/** A temporary of the emitter's own, which no lifter gets to: the addend with which the load of a read-modify-write has found its page (emit-mem.ts). */
export const ADDEND: number = Slot.TEMP_END - 1;

/** IR records that there is room for from the start: arrays that are replaced make V8 optimise again what uses them. */
const RECORDS = 4096;

/** See `Emitter.addendPlace`. */
export const ADDEND_HOME = 0x20;

/** Words of one cold-path record (see `cold`). */
export const COLD_REC = 19;

/** Where the guest's x87 state, or its pinned vector registers, are, as far as code at this point can know. */
export const enum Fpu { UNKNOWN = 0, HOST = 1, SLOTS = 2 }

/**
 * Pinned vector registers: the low 128 bits of the first VEC slots, in host registers from FIRST_VEC on; those below are scratch. The upper
 * halves are always in the slots.
 */
export const FIRST_VEC = 3;
const PINNED_VECS = 16 - FIRST_VEC;
const PINNED_VEC_END = Slot.VEC + PINNED_VECS * VEC_STRIDE;
/** Register that keeps a vector temporary for the next op. */
export const VEC_TEMP = 2;

/** Host register of vector slot s if it is pinned, otherwise -1. */
export function pinnedVec(s: number): number {
  return s >= Slot.VEC && s < PINNED_VEC_END && ((s - Slot.VEC) & (VEC_STRIDE - 1)) === 0 ? FIRST_VEC + (s - Slot.VEC) / VEC_STRIDE : -1;
}

/** True if scalar slot s is part of the low half of a pinned vector register. */
export function overlapsPinned(s: number): boolean {
  return s >= Slot.VEC && s < PINNED_VEC_END && ((s - Slot.VEC) & (VEC_STRIDE - 1)) < 2;
}

export class Emitter {
  readonly asm: Asm;
  /** IR records. */
  ir = new Int32Array(0);
  consts!: ConstPool;
  n = 0;
  /** Index of the current op. */
  i = 0;

  /** Register of each slot below TEMP_END, or -1: constant for pinned registers, changing for temporaries. */
  readonly reg = new Int8Array(Slot.TEMP_END).fill(-1);
  /** 1 while the home slot of a temporary has its value. */
  readonly home = new Uint8Array(Slot.TEMP_END);
  readonly lastUse = new Int16Array(Slot.TEMP_END);
  /** Widest read of each temporary (0..3). */
  readonly useWidth = new Uint8Array(Slot.TEMP_END);
  /** Temporary in each scratch register, or -1. */
  readonly holds = new Int32Array(16).fill(-1);
  /** Scratch registers that hold a temporary, as bits. */
  private busy = 0;
  /** Registers in use by the current op, as bits. */
  lock = 0;

  /** See IrBuilder: flags only live from the op that produces them to the one that reads them. */
  private flagless = false;

  /** Guest flags that host flags hold now. */
  hostF = 0;
  /** Guest flags that slot FLAGS holds now. Flags in neither are dead. */
  slotF: number = Fl.ALL;
  /** Flags live before each op; [n] is after the block. */
  liveIn = new Uint8Array(RECORDS);

  /** Of those, the ones that some op, helper or block after it may read: the others only have to be exact where a memory access may fault. */
  readIn = new Uint8Array(RECORDS);

  /** How to compute the flags again that are in neither (`Recipe` | width << 8 | count << 16, 0 = they are dead), and its operands. */
  recipe = 0;
  recipeA: number = NONE;
  recipeB: number = NONE;
  inRegion = false;
  /** Of a region: the page hints of its accesses, or null. */
  hints: HintPlan | null = null;
  /** Index of a region's branch that reads flags, while its node is emitted. */
  branchAt = -1;
  /** In a region: register, usual slot and the region's slot of each register that is used for another slot. */
  private swapped: readonly number[] = [];
  /** Operands that the current op is about to overwrite, where they have been kept. */
  sourceA: number = NONE;
  sourceB: number = NONE;

  /** Where the x87 state and the pinned vector registers are here. */
  fpu: Fpu = Fpu.UNKNOWN;
  xmm: Fpu = Fpu.UNKNOWN;
  /** X_MXCSR_USED is set here. */
  private mxcsrUsed = false;
  /** Vector temporary whose value is in VEC_TEMP only, or NONE. */
  vecTemp: number = NONE;
  /** Some op of the block reads or writes vector registers: it may be a scalar one that means part of one. */
  mixed = false;
  /** x87 instruction whose FIP and FOP the slots do not show yet: page offset | FOP << 12, or -1; and the slot of its code segment's base. */
  fip = -1;
  fipBase: number = NONE;

  /** Which accesses of the block share a look-up, or null: `storeAfter` finds pairs. */
  share: SharePlan | null = null;

  /** The block has op FOP: `floats` is kept up to date. */
  floating = false;
  readonly floats = new FloatCache();

  /** Cold paths to emit after the block: COLD_REC words each, coldN of them. */
  cold = new Int32Array(COLD_REC * 2 * RECORDS);
  coldN = 0;

  constructor(u8: Uint8Array, readonly pinned: readonly number[], readonly pinnedRegs: readonly number[], readonly lazyFlags = false) {
    this.asm = new Asm(u8);
    pinned.forEach((slot, k) => {
      this.reg[slot] = pinnedRegs[k]!;
    });
  }

  /** Gives the host registers of pinned slots to these slots, as many. */
  pin(slots: readonly number[]): void {
    this.reg.fill(-1, 0, Slot.TEMP);
    slots.forEach((slot, k) => {
      this.reg[slot] = this.pinnedRegs[k]!;
    });
    this.swapped = slots.flatMap((slot, k) => (slot === this.pinned[k] ? [] : [this.pinnedRegs[k]!, this.pinned[k]!, slot]));
  }

  /** Pinned registers hold what they usually do: stubs know which slots are theirs. */
  get usualPins(): boolean {
    return this.swapped.length === 0;
  }

  /** The region's pinned slots move to memory, the usual ones into their registers. Host flags are kept. */
  pinsOut(): void {
    const s = this.swapped;
    for (let k = 0; k < s.length; k += 3) this.asm.store(3, mem(s[k + 2]!), s[k]!);
    for (let k = 0; k < s.length; k += 3) this.asm.load(3, s[k]!, mem(s[k + 1]!));
  }

  /** And back. */
  pinsIn(): void {
    const s = this.swapped;
    for (let k = 0; k < s.length; k += 3) this.asm.store(3, mem(s[k + 1]!), s[k]!);
    for (let k = 0; k < s.length; k += 3) this.asm.load(3, s[k]!, mem(s[k + 2]!));
  }

  /** Calls a stub that yields: TypeScript finds every register in its slot. */
  callYield(stub: number): void {
    if (this.swapped.length === 0) {
      this.asm.call(stub);
      return;
    }
    this.pinsOut();
    this.asm.call(stub);
    this.pinsIn();
  }

  /**
   * The same by a jump, with the place to go on at pushed as a position in the code. The host predicts the returns of calls, and those of a call that leaves generated code
   * and of the one that comes back to it never match.
   */
  jumpYield(stub: number): void {
    this.pinsOut();
    this.asm.pushAfterJump(stub);
    this.pinsIn();
  }

  /** At the start of a node of a region: nothing is in scratch registers, flags are in their slot or what the recipe says. */
  startNode(recipe: number, a: number, b: number): void {
    this.forget();
    if (this.floating) this.floats.forget();
    this.fpu = this.xmm = Fpu.UNKNOWN;
    this.mxcsrUsed = false;
    this.vecTemp = NONE;
    this.fip = -1;
    this.hostF = 0;
    this.slotF = recipe === 0 ? Fl.ALL : 0;
    this.recipe = recipe;
    this.recipeA = a;
    this.recipeB = b;
  }

  /**
   * Index of the store that follows the load of a read-modify-write (op i) at the same address, with nothing between them that could leave the block or change what the
   * address means; otherwise -1.
   */
  storeAfter(p: number, w: number): number {
    const ir = this.ir;
    const insn = ir[p + F.INSN];
    const a = ir[p + F.A]!;
    for (let i = this.i + 1; i < this.n; i++) {
      const q = i * REC;
      const op = ir[q]! & 0xff;
      if (ir[q + F.INSN] !== insn) return -1;
      if (op === (Op.ST as number)) return ir[q + F.A] === a && ((ir[q]! >> 8) & 15) === w && ir[q + F.C] === 0 ? i : -1;
      if ((EFFECTS[op]! & (Fx.FAULTS | Fx.EFFECT | Fx.TERM)) !== 0 || op === (Op.VOP as number) || this.writes(q, a)) return -1;
    }
    return -1;
  }

  /** Register r has the addend that store `i` can use: 0 if that has to take its slow path. */
  keepAddend(r: number, i: number): void {
    this.assign(ADDEND, r);
    this.lastUse[ADDEND] = i;
  }

  /** What a cold path that may change the meaning of addresses has to do (CF.ZERO): 1 + the register of an addend that later accesses ask for, ADDEND_HOME if it is in its slot. */
  addendPlace(): number {
    if (this.lastUse[ADDEND]! <= this.i) return 0;
    return (this.reg[ADDEND]! >= 0 ? 1 + this.reg[ADDEND]! : 0) | (this.home[ADDEND] !== 0 ? ADDEND_HOME : 0);
  }

  /** Nothing is in scratch registers. */
  private forget(): void {
    for (let busy = this.busy; busy !== 0; busy &= busy - 1) {
      const r = 31 - Math.clz32(busy & -busy);
      this.reg[this.holds[r]!] = -1;
      this.holds[r] = -1;
    }
    this.busy = 0;
    this.lock = 0;
  }

  /** The op emitted next may set exception flags in MXCSR: X_MXCSR_USED. Host flags are kept. */
  useMxcsr(): void {
    if (this.mxcsrUsed) return;
    this.asm.movi(2, mem(Slot.X_MXCSR_USED), 1);
    this.mxcsrUsed = true;
  }

  /** Prepares for a block, or a region, and makes the backward pass. `how` tells what a VOP becomes. */
  begin(b: IrBuilder, how: (helper: number, w: number) => VopHow, nodes: readonly RegionNode[] | null = null): void {
    this.ir = b.buf;
    this.flagless = b.flagless;
    this.consts = b.consts;
    this.n = b.n;
    if (this.liveIn.length <= b.n) {
      this.liveIn = new Uint8Array(b.n * 2);
      this.readIn = new Uint8Array(b.n * 2);
    }
    if (this.cold.length < (b.n + 4) * 2 * COLD_REC) this.cold = new Int32Array((b.n + 4) * 4 * COLD_REC);
    for (let s: number = Slot.TEMP; s < b.tempEnd; s++) {
      this.reg[s] = -1;
      this.home[s] = 0;
      this.lastUse[s] = -1;
      this.useWidth[s] = 0;
    }
    this.lastUse[ADDEND] = -1;
    this.home[ADDEND] = 0;
    this.forget();
    this.coldN = 0;
    this.hostF = 0;
    this.slotF = Fl.ALL;
    this.branchAt = -1;
    this.recipe = 0;
    this.fpu = this.xmm = Fpu.UNKNOWN;
    this.mxcsrUsed = false;
    this.vecTemp = NONE;
    this.mixed = false;
    this.floating = false;
    this.fip = -1;
    const exact: number = this.flagless ? 0 : Fl.ALL;
    this.liveIn[this.n] = this.readIn[this.n] = exact;
    this.inRegion = nodes !== null;
    if (nodes === null) this.scan(how, 0, this.n, exact, exact);
    else this.scanRegion(how, nodes, exact);
    if (this.floating) this.floats.begin();
  }

  /** Until nothing changes: flags are live at the end of a node if they are at the start of one that follows it. */
  private scanRegion(how: (helper: number, w: number) => VopHow, nodes: readonly RegionNode[], exact: number): void {
    for (const node of nodes) this.liveIn[node.first] = this.readIn[node.first] = 0;
    for (let changed = true; changed; ) {
      changed = false;
      for (let k = nodes.length - 1; k >= 0; k--) {
        const { first, end, taken, next, leaves, opaque } = nodes[k]!;
        const live = (leaves ? exact : 0) | (taken >= 0 ? this.liveIn[nodes[taken]!.first]! : 0) | (next >= 0 ? this.liveIn[nodes[next]!.first]! : 0);
        const read = (opaque ? exact : 0) | (taken >= 0 ? this.readIn[nodes[taken]!.first]! : 0) | (next >= 0 ? this.readIn[nodes[next]!.first]! : 0);
        const before = this.liveIn[first]! | (this.readIn[first]! << 8);
        this.scan(how, first, end, live, read);
        if (nodes[k]!.loop) this.liveIn[first]! |= exact;
        if (before !== (this.liveIn[first]! | (this.readIn[first]! << 8))) changed = true;
      }
    }
  }

  /** `live`, `read`: flags after the terminator. */
  private scan(how: (helper: number, w: number) => VopHow, first: number, end: number, live: number, read: number): void {
    const ir = this.ir;
    const exact: number = this.flagless ? 0 : Fl.ALL;
    for (let i = end - 1; i >= first; i--) {
      const p = i * REC;
      const w0 = ir[p]!;
      const op = w0 & 0xff;
      const w = (w0 >> 8) & 15;
      const fw = w0 >>> 16;
      const k = OPERANDS[op]!;
      const fx = EFFECTS[op]!;
      // Whether the op is a scalar one is asked when it is emitted.
      if ((k & Opnd.DST) !== 0 && ir[p + F.DST]! >= Slot.VEC && ir[p + F.DST]! < Slot.TEMP) this.mixed = true;
      if (k & Opnd.A) this.use(ir[p + F.A]!, i, READ_A[op] === OWN ? w : READ_A[op]!);
      if (k & Opnd.B) this.use(ir[p + F.B]!, i, READ_BC[op] === OWN ? w : READ_BC[op]!);
      if (k & Opnd.C) this.use(ir[p + F.C]!, i, READ_BC[op] === OWN ? w : READ_BC[op]!);
      if ((fx & Fx.TERM) !== 0) {
        if (fx & Fx.READS_CC) {
          live |= CC_READS[(w0 >> 12) & 15]!;
          read |= CC_READS[(w0 >> 12) & 15]!;
        }
      } else if ((fx & (Fx.FAULTS | Fx.READS_ALL)) !== 0) {
        // Exact flags are needed here; only ADOX and GETF read all without being able to leave.
        live |= exact;
        if (LAZY[op] === 0) read |= exact;
      } else if (op === Op.VOP && how(ir[p + F.AUX]!, w) === VopHow.CALL) {
        live |= exact;
        read |= exact;
      } else if (op === Op.VOP && how(ir[p + F.AUX]!, w) === VopHow.CHECKED) {
        read |= exact;
      } else if (op === Op.COPY || op === Op.FILL || op === Op.FOP) {
        // They keep the flags in the slot.
        read |= exact;
        if (op === Op.FOP) this.floating = true;
      } else {
        let reads = 0;
        if (fx & Fx.READS_CC) reads |= CC_READS[(w0 >> 12) & 15]!;
        if (fx & Fx.READS_CF) reads |= op === Op.SETCF && ir[p + F.IMM] !== 2 ? 0 : Fl.CF;
        if ((fx & Fx.COUNT_FLAGS) === 0 || this.constCount(op, p, w) > 0) {
          live &= ~fw;
          read &= ~fw;
        } else reads |= fw;
        live |= reads;
        read |= reads;
        // An op that may keep its own operands in flags' place reads them all.
        if (op === Op.VOP && fw !== 0) read |= exact;
      }
      this.liveIn[i] = live;
      this.readIn[i] = read;
    }
  }

  /** True if an op writes scalar slot s. */
  writes(p: number, s: number): boolean {
    const ir = this.ir;
    const k = OPERANDS[ir[p]! & 0xff]!;
    return (
      ((k & Opnd.DST) !== 0 && ir[p + F.DST] === s) || ((k & Opnd.DST_C) !== 0 && ir[p + F.C] === s) || ((k & Opnd.DST_IMM) !== 0 && ir[p + F.IMM] === s)
    );
  }

  /** True if a scalar op reads or writes part of a pinned vector register. */
  touchesPinned(p: number): boolean {
    const ir = this.ir;
    const op = ir[p]! & 0xff;
    if (SCALAR[op] === 0) return false;
    const k = OPERANDS[op]!;
    return (
      ((k & Opnd.DST) !== 0 && overlapsPinned(ir[p + F.DST]!)) || ((k & Opnd.A) !== 0 && overlapsPinned(ir[p + F.A]!)) ||
      ((k & Opnd.B) !== 0 && overlapsPinned(ir[p + F.B]!)) || ((k & Opnd.C) !== 0 && overlapsPinned(ir[p + F.C]!))
    );
  }

  private use(s: number, i: number, w: number): void {
    if (s < Slot.TEMP) {
      if (s >= Slot.VEC) this.mixed = true;
      return;
    }
    if (s >= Slot.TEMP_END) return;
    if (this.lastUse[s]! < 0) this.lastUse[s] = i;
    if (this.useWidth[s]! < w) this.useWidth[s] = w;
  }

  /** Masked count of a shift or rotate if it is a constant, otherwise -1. */
  constCount(op: number, p: number, w: number): number {
    const s = this.ir[p + (op === Op.SHLD || op === Op.SHRD ? F.C : F.B)]!;
    return s >= Slot.CONST ? this.klo(s) & (w === 3 ? 63 : 31) : -1;
  }

  /** Frees the registers of temporaries that the current op was the last to use. */
  endOp(): void {
    this.lock = 0;
    const { busy } = this;
    if (busy === 0) return;
    if (busy & (1 << R.RCX)) this.release(R.RCX);
    if (busy & (1 << R.RDX)) this.release(R.RDX);
    if (busy & (1 << R.RDI)) this.release(R.RDI);
    if (busy & (1 << R.RAX)) this.release(R.RAX);
  }

  /** Frees scratch register r if nothing reads its temporary any more. */
  private release(r: number): void {
    const s = this.holds[r]!;
    if (this.lastUse[s]! > this.i) return;
    this.holds[r] = -1;
    this.reg[s] = -1;
    this.busy &= ~(1 << r);
  }

  // ---- operands

  klo(s: number): number {
    return this.consts.lo[s - Slot.CONST]!;
  }

  khi(s: number): number {
    return this.consts.hi[s - Slot.CONST]!;
  }

  /** True if slot s is a constant that fits a sign-extended 32-bit immediate at width w. */
  isImm(s: number, w: number): boolean {
    if (s < Slot.CONST) return false;
    return w < 3 || this.khi(s) === this.klo(s) >> 31;
  }

  /** Register of slot s, or -1 if it is in memory. */
  regOf(s: number): number {
    return s < Slot.TEMP_END ? this.reg[s]! : -1;
  }

  /** Register or memory operand code of slot s, as it is now. Registers are locked until the op ends. */
  operand(s: number): number {
    if (s < Slot.TEMP_END) {
      const r = this.reg[s]!;
      if (r >= 0) {
        this.lock |= 1 << r;
        return r;
      }
    }
    return mem(s);
  }

  /** Slot s in a register: loaded if necessary. Low w bits are valid. */
  src(s: number, w: number): number {
    if (s < Slot.TEMP_END) {
      const r = this.reg[s]!;
      if (r >= 0) {
        this.lock |= 1 << r;
        return r;
      }
    }
    const r = this.tmp();
    this.movTo(r, s, w);
    if (s >= Slot.TEMP && s < Slot.TEMP_END) {
      // A reloaded temporary stays in its register; load it whole, later readers may look at more bits.
      this.holds[r] = s;
      this.reg[s] = r;
      this.busy |= 1 << r;
    }
    return r;
  }

  /** Loads the low w bits of slot s into register r (up to 32 bits: zero-extended from 32). Leaves flags alone. */
  movTo(r: number, s: number, w: number): void {
    if (s >= Slot.CONST) {
      if (w === 3) this.asm.movi64(r, this.klo(s), this.khi(s));
      else this.asm.movi(2, r, this.klo(s));
      return;
    }
    // The source is read here and now: no need to lock it.
    const at = this.regOf(s);
    const x = at >= 0 ? at : mem(s);
    if (x === r && w === 3) return;
    // A temporary in memory is always loaded whole, see src().
    this.asm.load(w === 3 || (x >= MEM && s >= Slot.TEMP) ? 3 : 2, r, x);
  }

  /** Loads the low w bits of slot s into r, zero-extended to 32 bits (64 for w = 3). */
  movzxTo(r: number, s: number, w: number): void {
    if (s >= Slot.CONST) {
      const k = this.klo(s);
      if (w === 3) this.asm.movi64(r, k, this.khi(s));
      else this.asm.movi(2, r, w === 0 ? k & 0xff : w === 1 ? k & 0xffff : k);
    } else {
      this.asm.movzx(w, r, this.operand(s));
    }
  }

  /** The same, sign-extended from w < 3 to 32 bits (w = 3: plain). */
  movsxTo(r: number, s: number, w: number): void {
    if (s >= Slot.CONST) {
      const k = this.klo(s);
      if (w === 3) this.asm.movi64(r, k, this.khi(s));
      else this.asm.movi(2, r, w === 0 ? (k << 24) >> 24 : w === 1 ? (k << 16) >> 16 : k);
    } else if (w >= 2) {
      this.asm.load(w, r, this.operand(s));
    } else {
      this.asm.movsx(w, 2, r, this.operand(s));
    }
  }

  // ---- scratch registers

  /** A free scratch register, locked for the current op. */
  tmp(): number {
    const r = preferred(SCRATCH & ~(this.busy | this.lock));
    if (r >= 0) {
      this.lock |= 1 << r;
      return r;
    }
    return this.evicted();
  }

  /** The scratch register whose temporary is needed last, without it. */
  private evicted(): number {
    let best = -1;
    let far = -2;
    for (let rest = SCRATCH & ~this.lock; rest !== 0; ) {
      const r = preferred(rest);
      rest &= ~(1 << r);
      const last = this.lastUse[this.holds[r]!]!;
      if (last > far) {
        far = last;
        best = r;
      }
    }
    if (best < 0) throw new Error('x64 back end: out of scratch registers');
    this.spill(best);
    this.lock |= 1 << best;
    return best;
  }

  /** Moves the temporary in scratch register r to its home. */
  spill(r: number): void {
    const s = this.holds[r]!;
    if (s < 0) return;
    this.toHome(s);
    this.holds[r] = -1;
    this.reg[s] = -1;
    this.busy &= ~(1 << r);
  }

  /** Makes the home slot of temporary s valid (it may stay in its register too). */
  toHome(s: number): void {
    if (this.home[s] === 0) {
      this.asm.store(3, mem(s), this.reg[s]!);
      this.home[s] = 1;
    }
  }

  /** Makes a particular scratch register free and locks it. Must come before operands are queried. */
  claim(r: number): void {
    const s = this.holds[r]!;
    this.lock |= 1 << r;
    if (s < 0) return;
    const q = preferred(SCRATCH & ~(this.busy | this.lock));
    if (q < 0) {
      this.spill(r);
      return;
    }
    this.asm.movrr(3, q, r);
    this.holds[q] = s;
    this.reg[s] = q;
    this.holds[r] = -1;
    this.busy = (this.busy & ~(1 << r)) | (1 << q);
  }

  /** Register r now holds temporary s (the value it held before is dead). */
  assign(s: number, r: number): void {
    const old = this.holds[r]!;
    if (old >= 0 && old !== s) this.reg[old] = -1;
    this.holds[r] = s;
    this.reg[s] = r;
    this.busy |= 1 << r;
    this.home[s] = 0;
  }

  /** True if s is a temporary in a register and the current op is its last reader. */
  dying(s: number): boolean {
    return s >= Slot.TEMP && s < Slot.TEMP_END && this.lastUse[s] === this.i && this.reg[s]! >= 0;
  }

  // ---- results

  /**
   * Register that holds the value of a and may be modified to become dst; b and c are operands still to be read and keep
   * their values. Follow with `endResult`.
   */
  beginResult(w: number, dst: number, a: number, b: number, c: number): number {
    if (dst >= 0 && dst < Slot.TEMP) {
      const pd = this.reg[dst]!;
      if (pd >= 0) {
        if (a === dst) return pd;
        if (w >= 2 && b !== dst && c !== dst) {
          this.movTo(pd, a, w);
          return pd;
        }
      }
    }
    if (a !== b && a !== c && this.dying(a)) {
      const r = this.reg[a]!;
      this.lock |= 1 << r;
      return r;
    }
    const t = this.tmp();
    this.movTo(t, a, w);
    return t;
  }

  /**
   * Register to be written by an instruction that reads its sources before it writes: a pinned register, the register of a
   * dying source, or a free one.
   */
  destReg(w: number, dst: number, a: number, b: number): number {
    if (dst >= 0 && dst < Slot.TEMP && w >= 2 && this.reg[dst]! >= 0) return this.reg[dst]!;
    if (this.dying(a)) return this.operand(a);
    if (this.dying(b)) return this.operand(b);
    return this.tmp();
  }

  /** Writes register t, the result of an operation of width w, to dst. For w = 2 its upper half must be zero. */
  endResult(w: number, dst: number, t: number): void {
    if (dst === NONE) return;
    if (dst >= Slot.TEMP) {
      if (w < 2 && this.useWidth[dst]! > w) this.asm.movzx(w, t, t);
      this.assign(dst, t);
      return;
    }
    const pd = this.reg[dst]!;
    if (pd >= 0) {
      if (pd !== t) this.asm.load(w, pd, t);
    } else {
      this.asm.store(w < 2 ? w : 3, mem(dst), t);
    }
  }

  // ---- flags

  /** Flags live after the current op. */
  get liveOut(): number {
    return this.liveIn[this.i + 1]!;
  }

  /**
   * Makes slot FLAGS hold all flags in `need`. Needs RAX when there is something to do, so call it before operands are queried.
   * A plain save leaves host flags alone; a merge of part of the flags clobbers them.
   */
  save(need: number): void {
    if (this.flagless) need &= this.liveOut;
    if ((this.hostF & need & ~this.slotF) === 0) return;
    const asm = this.asm;
    const h = this.hostF;
    const locked = this.lock;
    if ((need & ~h) === 0) {
      this.claim(R.RAX);
      asm.lahf();
      asm.setcc(Cc.O, R.RAX);
      asm.store(1, mem(Slot.FLAGS), R.RAX);
      this.slotF = h;
      this.lock = locked;
      return;
    }
    if (h === Fl.OF) {
      asm.setcc(Cc.O, mem(Slot.FLAGS));
    } else if (h === Fl.CF) {
      const t = this.tmp();
      asm.setcc(Cc.B, t);
      asm.alui(0, Alu.AND, FLAGS_LAHF, 0xfe);
      asm.aluStore(0, Alu.OR, FLAGS_LAHF, t);
      this.hostF = 0;
    } else {
      const m = slotFlagMask(h);
      this.claim(R.RAX);
      asm.lahf();
      asm.setcc(Cc.O, R.RAX);
      const t = this.tmp();
      asm.movzx(1, t, mem(Slot.FLAGS));
      asm.alui(2, Alu.AND, R.RAX, m);
      asm.alui(2, Alu.AND, t, 0xffff & ~m);
      asm.alu(2, Alu.OR, R.RAX, t);
      asm.store(1, mem(Slot.FLAGS), R.RAX);
      this.hostF = 0;
    }
    this.slotF |= h;
    this.lock = locked;
  }

  /** Before an instruction that clobbers host flags and produces fw: keeps what must survive in the slot. */
  preFlags(fw: number): void {
    if ((this.hostF & this.liveOut & ~fw & ~this.slotF) !== 0) this.save(this.liveIn[this.i]!);
  }

  /** After it: host flags hold fw and nothing else. */
  setFlags(fw: number): void {
    this.hostF = fw;
    this.slotF &= ~fw;
  }

  /** Makes host flags hold the guest flags in `mask` (all that are live, if any must be loaded). */
  ensureHost(mask: number): void {
    if ((mask & ~this.hostF) === 0) return;
    this.save(this.liveIn[this.i]!);
    const locked = this.lock;
    const asm = this.asm;
    this.claim(R.RAX);
    asm.movzx(1, R.RAX, mem(Slot.FLAGS));
    // AL is 0 or 1: adding 0x7f overflows exactly if it is 1. SAHF then loads the others.
    asm.b(0x04);
    asm.b(0x7f);
    asm.sahf();
    this.lock = locked;
    this.hostF = Fl.ALL;
  }

  /** Makes host CF the guest's; if it must be loaded, the slot gets all other flags that are live. */
  ensureCF(): void {
    if (this.hostF & Fl.CF) return;
    this.save(this.liveIn[this.i]!);
    this.asm.bti(1, 4, mem(Slot.FLAGS), 8);
    this.hostF = Fl.CF;
  }

  /**
   * Prepares a test of guest condition cc.
   * @returns the host condition to test now, which may differ if the flags had to be taken from the slot.
   */
  cond(cc: number): number {
    const need = CC_READS[cc]!;
    if ((need & ~this.hostF) === 0) return cc;
    this.save(this.liveIn[this.i]! | need);
    if ((need & ~this.hostF) === 0) return cc;
    let bits = 0;
    switch (cc & 14) {
      case Cc.O:
        this.asm.testi(0, mem(Slot.FLAGS), 1);
        this.hostF = 0;
        return cc & 1 ? Cc.E : Cc.NE;
      case Cc.B: bits = 0x01; break;
      case Cc.E: bits = 0x40; break;
      case Cc.BE: bits = 0x41; break;
      case Cc.S: bits = 0x80; break;
      case Cc.P: bits = 0x04; break;
      default:
        this.ensureHost(need);
        return cc;
    }
    this.asm.testi(0, FLAGS_LAHF, bits);
    this.hostF = 0;
    return cc & 1 ? Cc.E : Cc.NE;
  }
}
