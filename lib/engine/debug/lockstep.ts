/**
 * Lockstep: every block runs on the interpreter, from the IR as lifted, and as generated code, from the IR after the passes,
 * and the two must agree (docs/adr/0010-lockstep.md).
 *
 * The interpreter goes first and is authoritative: it does the real memory accesses and calls the real helpers, once, and
 * every one of them is recorded. Then the state is put back and generated code runs against the record. Both are made to
 * use a TLB table that is never filled, so that each access comes out as a slow-path call or a yield.
 */
import { type GuestCpu, GuestFault } from '../cpu.js';
import { HelperResult, type HelperInfo, type HelperRegistry, X87Kind } from '../helpers.js';
import { compileForInterp, type InterpBlock } from '../interp/compile.js';
import { FLAG_MASK } from '../interp/flags.js';
import { type InterpCpu, Interpreter } from '../interp/interp.js';
import type { IrBuilder } from '../ir/builder.js';
import { F, Op, OPS, REC } from '../ir/ops.js';
import type { Block } from '../jit/block.js';
import type { BlockTool } from '../jit/engine.js';
import type { HostCode } from '../jit/host-code.js';
import { ExitCode, Fl, Slot, SPARE_MMU_INDEX, TLB_BASE, TLB_INVALID, TLB_TABLE_BYTES, Yield } from '../state.js';
import { VmxError } from '../../errors.js';
import { findUndefinedFlags, type UndefinedFlags } from './undefined-flags.js';

/** MMU index that no guest uses. */

/** Words of the guest-visible state. PENDING (6, 7) and the yield record are not. */
const HEAD_END = (Slot.PC + 1) * 2;
const GPR = Slot.GPR * 2;
const GPR_END = 48 * 2;
const FP = Slot.MXCSR * 2;
/** What is the guest architecture's follows floating-point control. */
const GUEST = (Slot.FPU_DP + 1) * 2;
const FP_END = Slot.X_NATIVE_XMM * 2;
/** FCW | FSW << 16. */
const FSW = Slot.FPU * 2;
const VEC = Slot.VEC * 2;
const VEC_END = Slot.TEMP * 2;
const INSN = Slot.X_INSN * 2;
const PC = Slot.PC * 2;
const MODE = Slot.MODE * 2;

/** What the interpreter did, one record of ENTRY words per event. */
const enum Ev { LOAD = 1, STORE, LOAD_VEC, STORE_VEC, CALL, SEGCHK }
const EVENT_NAMES = ['', 'load', 'store', 'vector load', 'vector store', 'call', 'segment check'];
const ENTRY = 128;
const enum E {
  KIND = 0,
  /** Width | access << 8; helper id; segment check as in the yield. */
  AUX = 1,
  ADDR = 2,
  VALUE = 4,
  INSN = 12,
  /** 1: raised an exception; of a helper: its result << 1. */
  END = 13,
  /** Words a helper changed: a range of `diffs`. */
  DIFF = 14,
  DIFF_END = 15,
  /** The first 32 general slots, then FLAGS, before the event. */
  REGS = 16,
  FLAGS = 80,
  /** dst, a, b, c, imm of a helper; values of a, b and c. */
  OPS = 81,
  OPVAL = 86,
}
const REG_WORDS = 64;
const MAX_EVENTS = 4096;

/**
 * Fills temporaries before either executor runs: what it reads must be what it wrote. (And a helper's vector result differs from
 * what the slot held, so that the record has it, or is this very value.)
 */
const POISON = 0x5a5a_a5a5;

const ALWAYS = 100;

/** What lockstep keeps with each block. */
interface Info {
  readonly interp: InterpBlock;
  readonly undef: UndefinedFlags;
  readonly tempEnd: number;
  /** The block touches vector or x87 registers, other than in helpers of which the back end knows nothing. */
  readonly vec: boolean;
  /** x87 condition codes that come out undefined, in place in slot FPU. */
  readonly cc: number;
  readonly bytes: Uint8Array;
  runs: number;
}

export interface LockstepStats {
  blocks: number;
  events: number;
  /** Executions whose results depend on undefined flags: run, not compared. */
  skipped: number;
}

export interface LockstepOptions {
  /** Guest code, IR and host code of a block for a report (BlockText.describe). */
  describe: (cpu: GuestCpu, block: Block, bytes: Uint8Array) => string;
  slotName: (slot: number) => string;
  /** Slots that devices change: the accesses that had them do so were the interpreter's. */
  outside: readonly number[];
  /** A block's first ALWAYS executions are compared, then one in this many; the others only run on the interpreter. */
  every: number;
  /** True if linear addresses wrap at 32 bits in this mode. */
  mask32: (mode: number) => boolean;
}

/** Interpreter's view of a CPU: the same state and helpers, with every access and call noted. */
class Recorder {
  readonly V: Int32Array;
  readonly map: GuestCpu['map'];
  readonly mmuIdx = SPARE_MMU_INDEX;
  readonly helpers: HelperRegistry<never>;
  readonly log = new Int32Array(MAX_EVENTS * ENTRY);
  n = 0;
  /** Pairs of word index and value. */
  diffs: number[] = [];
  private readonly before: Int32Array;
  private readonly all: Int32Array;

  constructor(readonly cpu: GuestCpu, isCall: Uint8Array) {
    this.V = cpu.V;
    this.map = cpu.map;
    this.before = new Int32Array(VEC_END);
    this.all = cpu.V.subarray(0, VEC_END);
    const list = (cpu.helpers.list as readonly HelperInfo<never>[]).map((h) => ({
      ...h,
      fn: (_c: never, dst: number, a: number, b: number, c: number, imm: number): HelperResult => this.helper(h, isCall[h.id] === 1, dst, a, b, c, imm),
    }));
    this.helpers = { list } as unknown as HelperRegistry<never>;
  }

  private event(kind: Ev, aux: number, addr: number): number {
    const { log, V } = this;
    const e = this.n++ * ENTRY;
    if (e >= log.length) throw new VmxError('ERR_INTERNAL', 'lockstep: a block with too many events');
    log[e] = kind;
    log[e + E.AUX] = aux;
    if (addr >= 0) {
      log[e + E.ADDR] = V[addr * 2]!;
      log[e + E.ADDR + 1] = V[addr * 2 + 1]!;
    }
    log[e + E.INSN] = V[INSN]!;
    log[e + E.END] = 1;
    for (let i = 0; i < REG_WORDS; i++) log[e + E.REGS + i] = V[GPR + i]!;
    log[e + E.FLAGS] = V[0]!;
    return e;
  }

  /** Notes the first words of a slot. */
  private value(e: number, slot: number, words: number): void {
    const { log, V } = this;
    for (let i = 0; i < words; i++) log[e + E.VALUE + i] = V[slot * 2 + i]!;
  }

  load(w: number, addr: number, dst: number, acc: number): void {
    const { log } = this;
    const e = this.event(Ev.LOAD, w | (acc << 8), addr);
    this.cpu.load(w, addr, dst, acc);
    log[e + E.END] = 0;
    this.value(e, dst, 2);
    if (w < 3) {
      log[e + E.VALUE + 1] = 0;
      if (w < 2) log[e + E.VALUE]! &= w === 1 ? 0xffff : 0xff;
    }
  }

  store(w: number, addr: number, val: number, acc: number): void {
    const e = this.event(Ev.STORE, w | (acc << 8), addr);
    this.value(e, val, 2);
    this.cpu.store(w, addr, val, acc);
    this.log[e + E.END] = 0;
  }

  loadVec(w: number, addr: number, dst: number): void {
    const e = this.event(Ev.LOAD_VEC, w, addr);
    this.cpu.loadVec(w, addr, dst);
    this.log[e + E.END] = 0;
    this.value(e, dst, w === 5 ? 8 : 4);
  }

  storeVec(w: number, addr: number, val: number): void {
    const e = this.event(Ev.STORE_VEC, w, addr);
    this.value(e, val, w <= 2 ? 1 : 1 << (w - 2));
    this.cpu.storeVec(w, addr, val);
    this.log[e + E.END] = 0;
  }

  divide(signed: boolean, w: number, quot: number, rem: number, lo: number, hi: number, divisor: number): void {
    this.cpu.divide(signed, w, quot, rem, lo, hi, divisor);
  }

  segmentCheck(seg: number, off: number, write: boolean, bytes: number): void {
    const e = this.event(Ev.SEGCHK, seg | (write ? 0x100 : 0) | (bytes << 16), off);
    this.cpu.segmentCheck(seg, off, write, bytes);
    this.log[e + E.END] = 0;
  }

  alignmentFault(): never {
    return this.cpu.alignmentFault();
  }

  private helper(h: HelperInfo<never>, effects: boolean, dst: number, a: number, b: number, c: number, imm: number): HelperResult {
    if (!effects) return h.fn(this.cpu as never, dst, a, b, c, imm);
    const { log, V, before } = this;
    const e = this.event(Ev.CALL, h.id, -1);
    const p = e + E.OPS;
    log[p] = dst;
    log[p + 1] = a;
    log[p + 2] = b;
    log[p + 3] = c;
    log[p + 4] = imm;
    this.operand(e + E.OPVAL, a);
    this.operand(e + E.OPVAL + 2, b);
    this.operand(e + E.OPVAL + 4, c);
    before.set(this.all);
    const temp = dst >= Slot.TEMP && dst < Slot.TEMP_END;
    const t: number[] = [];
    if (temp) for (let i = 0; i < 8; i++) t.push(V[dst * 2 + i]!);
    log[e + E.DIFF] = this.diffs.length;
    try {
      const r = h.fn(this.cpu as never, dst, a, b, c, imm);
      log[e + E.END] = r << 1;
      return r;
    } finally {
      this.compare(0, HEAD_END);
      this.compare(GPR, GPR_END);
      this.compare(FP, FP_END);
      this.compare(VEC, VEC_END);
      if (temp) {
        // The result itself, changed or not; neighbours only if it was a vector.
        for (let i = 0; i < 8; i++) if (i < 2 || t[i] !== V[dst * 2 + i]) this.diffs.push(dst * 2 + i, V[dst * 2 + i]!);
      }
      log[e + E.DIFF_END] = this.diffs.length;
    }
  }

  private operand(at: number, slot: number): void {
    this.log[at] = slot < 0 ? 0 : this.V[slot * 2]!;
    this.log[at + 1] = slot < 0 ? 0 : this.V[slot * 2 + 1]!;
  }

  private compare(from: number, to: number): void {
    const { V, before } = this;
    for (let i = from; i < to; i++) if (V[i] !== before[i]) this.diffs.push(i, V[i]!);
  }
}

export class Lockstep implements BlockTool {
  readonly mmuIdx = SPARE_MMU_INDEX;
  readonly stats: LockstepStats = { blocks: 0, events: 0, skipped: 0 };
  // Two, because each stays bound to one kind of CPU.
  private readonly interp = new Interpreter();
  private readonly checkedInterp = new Interpreter();
  private readonly recorders: Recorder[];
  /** By helper id: 1 if its calls are events (CALL), 2 if it only works on registers and may be carried out by the host (VOP, x87). */
  private readonly isCall: Uint8Array;
  private readonly pre = new Int32Array(VEC_END);
  private readonly post = new Int32Array(VEC_END);
  private pending: Info | null = null;
  /** The block being compared has raised an exception on the interpreter. */
  private thrown = false;
  // The thrown GuestFault is one object per CPU: what it said when the interpreter raised it.
  private readonly raised = { vector: 0, errorCode: 0, hasErrorCode: false };

  constructor(private readonly host: HostCode, cpus: readonly GuestCpu[], private readonly o: LockstepOptions) {
    this.isCall = new Uint8Array(4096);
    this.recorders = cpus.map((c) => new Recorder(c, this.isCall));
    for (const c of cpus) {
      const first = (TLB_BASE + SPARE_MMU_INDEX * TLB_TABLE_BYTES) >> 2;
      c.V.fill(TLB_INVALID, first, first + 4);
    }
  }

  lifted(cpu: GuestCpu, ir: IrBuilder, mode: number, _offset: number, bytes: Uint8Array, single: boolean): void {
    this.pending = null;
    if (single) return;
    let vec = false;
    let cc = 0;
    for (let i = 0; i < ir.n; i++) {
      const p = i * REC;
      const op: Op = ir.buf[p]! & 0xff;
      const call = op === Op.CALL || op === Op.CALLIF || op === Op.TIME;
      if (call) {
        const x87 = cpu.helpers.list[ir.buf[p + F.AUX]!]!.x87;
        // Those with a memory operand come out as calls, because no access goes through the TLB.
        this.useHelper(ir.buf[p + F.AUX]!, x87 === undefined || x87.kind === X87Kind.READ || x87.kind === X87Kind.WRITE ? 1 : 2);
        if (x87 !== undefined) {
          vec = true;
          cc |= x87.undef << 16;
        }
      } else if (op === Op.VOP || op === Op.FOP) this.useHelper(ir.buf[p + F.AUX]!, 2);
      if (call) continue;
      const form = OPS[op]!.form;
      for (let k = 0; k < 5; k++) {
        const s = ir.buf[p + F.DST + k]!;
        if (form[k] !== '-' && form[k] !== 'l' && s >= Slot.MXCSR && s < Slot.TEMP) vec = true;
      }
      if (op === Op.VOP) vec = true;
    }
    const mask32 = this.o.mask32(mode);
    this.pending = { interp: compileForInterp(ir, { mask32 }), undef: findUndefinedFlags(ir, cpu.helpers), tempEnd: ir.tempEnd, vec, cc, bytes: bytes.slice(), runs: 0 };
  }

  private useHelper(id: number, how: number): void {
    if (this.isCall[id] !== 0 && this.isCall[id] !== how) throw new VmxError('ERR_INTERNAL', `helper ${id} is used in CALL and in VOP`);
    this.isCall[id] = how;
  }

  translated(_cpu: GuestCpu, block: Block): void {
    if (this.pending !== null) block.tool = this.pending;
    this.pending = null;
  }

  flushed(): void {
    // What lockstep keeps with a block goes with the block.
  }

  private save(V: Int32Array, vec: boolean): void {
    const to = this.pre;
    for (let i = 0; i < HEAD_END; i++) to[i] = V[i]!;
    for (let i = GPR; i < GPR_END; i++) to[i] = V[i]!;
    for (let i = FP; i < FP_END; i++) to[i] = V[i]!;
    if (vec) for (let i = VEC; i < VEC_END; i++) to[i] = V[i]!;
  }

  /** Keeps the interpreter's result and puts the state before it back. */
  private swap(V: Int32Array, vec: boolean): void {
    const { pre, post } = this;
    for (let i = 0; i < HEAD_END; i++) {
      post[i] = V[i]!;
      V[i] = pre[i]!;
    }
    for (let i = GPR; i < GPR_END; i++) {
      post[i] = V[i]!;
      V[i] = pre[i]!;
    }
    for (let i = FP; i < FP_END; i++) {
      post[i] = V[i]!;
      V[i] = pre[i]!;
    }
    if (!vec) return;
    for (let i = VEC; i < VEC_END; i++) {
      post[i] = V[i]!;
      V[i] = pre[i]!;
    }
  }

  private restore(V: Int32Array, from: Int32Array, vec: boolean): void {
    for (let i = 0; i < HEAD_END; i++) V[i] = from[i]!;
    for (let i = GPR; i < GPR_END; i++) V[i] = from[i]!;
    for (let i = FP; i < FP_END; i++) V[i] = from[i]!;
    if (vec) for (let i = VEC; i < VEC_END; i++) V[i] = from[i]!;
  }

  readonly run = (cpu: GuestCpu, block: Block): ExitCode => {
    const V = cpu.V;
    const info = block.tool as Info;
    if (++info.runs > ALWAYS && info.runs % this.o.every !== 0) return this.interp.runBlock(cpu, info.interp);
    const rec = this.recorders[cpu.index]!;
    const tempEnd = info.tempEnd * 2;
    this.stats.blocks++;
    this.save(V, info.vec);
    for (let i = Slot.TEMP * 2; i < tempEnd; i++) V[i] = POISON;
    // A helper that changes the mode says so only if it does: it has to find what the interpreter found.
    const mode = V[MODE]!;
    const mmuIdx = V[MODE + 1]!;
    rec.n = 0;
    if (rec.diffs.length > 0) rec.diffs.length = 0;
    let thrown: unknown = null;
    let code: ExitCode = ExitCode.NEXT;
    try {
      code = this.checkedInterp.runBlock(rec as InterpCpu, info.interp);
    } catch (e) {
      thrown = e;
      if (e instanceof GuestFault) {
        this.raised.vector = e.vector;
        this.raised.errorCode = e.errorCode;
        this.raised.hasErrorCode = e.hasErrorCode;
      } else if (e instanceof VmxError) throw e;
    }
    this.stats.events += rec.n;
    this.thrown = thrown !== null;
    const insn = V[INSN]!;
    this.swap(V, info.vec);
    const nextMode = V[MODE]!;
    const nextIdx = V[MODE + 1]!;
    V[MODE] = mode;
    V[MODE + 1] = mmuIdx;
    for (let i = Slot.TEMP * 2; i < tempEnd; i++) V[i] = POISON;
    this.replay(cpu, block, info, rec, thrown, code, insn);
    // The interpreter's result stands: undefined flags come from one executor only.
    if (info.undef.used || info.undef.leak !== 0) this.restore(V, this.post, info.vec);
    else {
      for (let i = 0; i < HEAD_END; i++) V[i] = this.post[i]!;
      for (let i = GUEST; i < FP_END; i++) V[i] = this.post[i]!;
    }
    V[INSN] = insn;
    V[MODE] = nextMode;
    V[MODE + 1] = nextIdx;
    if (thrown !== null) {
      if (thrown instanceof GuestFault) Object.assign(thrown, this.raised);
      throw thrown;
    }
    return code;
  };

  private replay(cpu: GuestCpu, block: Block, info: Info, rec: Recorder, thrown: unknown, code: ExitCode, insn: number): void {
    const { V } = cpu;
    const { log, diffs } = rec;
    const host = this.host;
    const fail = (what: string): never => this.fail(cpu, block, info, what);
    let at = 0;
    let y = host.enter(cpu, block.entryA);
    for (;;) {
      if (y !== Yield.EXIT && y !== Yield.HOST_FAULT && y !== Yield.ALIGN && y !== Yield.DIVIDE && !(y === Yield.CALL && this.isCall[V[Slot.X_CALL * 2]!] === 2)) {
        const e = at * ENTRY;
        const kind = y === Yield.SEGCHK ? Ev.SEGCHK : y === Yield.CALL ? Ev.CALL : (y as number as Ev);
        if (at >= rec.n) fail(`generated code does one more ${EVENT_NAMES[kind]} than the interpreter${this.where(V)}`);
        if (log[e] !== kind) fail(`event ${at}: generated code does a ${EVENT_NAMES[kind]}${this.where(V)}, the interpreter a ${EVENT_NAMES[log[e]!]}`);
        at++;
        const aux = log[e + E.AUX]!;
        // Text is made only when there is something to report: this runs for every access.
        const name = (): string => `event ${(e / ENTRY).toString()}, ${EVENT_NAMES[kind]} at page offset ${hex(log[e + E.INSN]! & 0xffff)}`;
        if (V[INSN] !== log[e + E.INSN]) fail(`${name()}: X_INSN is ${hex(V[INSN]!)}, not ${hex(log[e + E.INSN]!)}`);
        if (kind === Ev.CALL) {
          if (V[Slot.X_CALL * 2] !== aux) fail(`${name()}: helper ${V[Slot.X_CALL * 2]!}, not ${aux}`);
        } else {
          if ((y === Yield.LOAD_VEC || y === Yield.STORE_VEC ? V[Slot.X_AUX * 2]! & 0xff : V[Slot.X_AUX * 2]) !== aux) fail(`${name()}: width and access ${hex(V[Slot.X_AUX * 2]!)}, not ${hex(aux)}`);
          if (V[Slot.X_ADDR * 2] !== log[e + E.ADDR] || (kind !== Ev.SEGCHK && V[Slot.X_ADDR * 2 + 1] !== log[e + E.ADDR + 1])) {
            fail(`${name()}: address ${hex64(V, Slot.X_ADDR * 2)}, not ${hex64(log, e + E.ADDR)}`);
          }
        }
        this.checkRegs(V, log, e, info, name, fail);
        switch (kind) {
          case Ev.LOAD:
            V[Slot.X_VAL * 2] = log[e + E.VALUE]!;
            V[Slot.X_VAL * 2 + 1] = log[e + E.VALUE + 1]!;
            break;
          case Ev.STORE: {
            const w = aux & 0xff;
            const m = (w >= 2 ? -1 : w === 1 ? 0xffff : 0xff) & ~info.undef.leak;
            if (((V[Slot.X_VAL * 2]! ^ log[e + E.VALUE]!) & m) !== 0 || (w === 3 && V[Slot.X_VAL * 2 + 1] !== log[e + E.VALUE + 1])) {
              if (!info.undef.used) fail(`${name()} to ${hex64(log, e + E.ADDR)}: value ${hex64(V, Slot.X_VAL * 2)}, not ${hex64(log, e + E.VALUE)}`);
            }
            break;
          }
          case Ev.LOAD_VEC: {
            const d = V[Slot.X_AUX * 2 + 1]! * 2;
            const n = aux === 5 ? 8 : 4;
            if (log[e + E.END] === 0) for (let i = 0; i < n; i++) V[d + i] = log[e + E.VALUE + i]!;
            break;
          }
          case Ev.STORE_VEC: {
            const s = V[Slot.X_AUX * 2 + 1]! * 2;
            const n = aux <= 2 ? 1 : 1 << (aux - 2);
            for (let i = 0; i < n; i++) {
              if (((V[s + i]! ^ log[e + E.VALUE + i]!) & (aux === 1 ? 0xffff : -1)) !== 0) fail(`${name()} to ${hex64(log, e + E.ADDR)}: word ${i} is ${hex(V[s + i]!)}, not ${hex(log[e + E.VALUE + i]!)}`);
            }
            break;
          }
          case Ev.CALL:
            this.checkOperands(V, log, e, info, name, fail);
            for (let i = log[e + E.DIFF]!; i < log[e + E.DIFF_END]!; i += 2) V[diffs[i]!] = diffs[i + 1]!;
            break;
          default:
            break;
        }
        const end = log[e + E.END]!;
        if (end === 1) {
          if (at !== rec.n) fail('internal: an exception before the last event');
          this.checkEnd(V, info, info.undef.any, fail);
          return;
        }
        if (kind === Ev.CALL && end >> 1 === (HelperResult.DISPATCH as number)) {
          this.checkEnd(V, info, info.undef.any, fail);
          return;
        }
      } else if (y === Yield.EXIT) {
        if (at < rec.n) fail(`generated code ends (exit ${V[Slot.X_AUX * 2]!}) before event ${at}: ${EVENT_NAMES[log[at * ENTRY]!]} at page offset ${hex(log[at * ENTRY + E.INSN]! & 0xffff)}`);
        if (thrown !== null) fail(`the interpreter raises ${String(thrown)} at page offset ${hex(insn & 0xffff)}, generated code goes on`);
        let c = V[Slot.X_AUX * 2]! as ExitCode;
        if (c === ExitCode.CHAIN || c === ExitCode.PENDING) c = ExitCode.NEXT;
        if (c !== code) fail(`exit code ${c}, not ${code}`);
        const { post } = this;
        if ((V[PC] !== post[PC] || V[PC + 1] !== post[PC + 1]) && !info.undef.used) fail(`PC is ${hex64(V, PC)}, not ${hex64(post, PC)}`);
        this.checkEnd(V, info, info.undef.end, fail);
        return;
      } else if (y === Yield.HOST_FAULT) {
        fail(`host fault: signal ${V[Slot.X_AUX * 2]!} at ${hex64(V, Slot.X_ADDR * 2)}`);
      } else {
        // These have no effect but on the state and may be done twice.
        try {
          if (y === Yield.ALIGN) cpu.alignmentFault();
          else if (y === Yield.DIVIDE) {
            const aux = V[Slot.X_AUX * 2]!;
            cpu.divide((aux & 0x100) !== 0, aux & 0xff, V[Slot.X_CALL * 2 + 1]!, V[Slot.X_CI * 2 + 1]!, V[Slot.X_AB * 2]!, V[Slot.X_AB * 2 + 1]!, V[Slot.X_CI * 2]!);
          } else {
            const h = cpu.helpers.list[V[Slot.X_CALL * 2]!]!;
            const r = h.fn(cpu as never, V[Slot.X_CALL * 2 + 1]!, V[Slot.X_AB * 2]!, V[Slot.X_AB * 2 + 1]!, V[Slot.X_CI * 2]!, V[Slot.X_CI * 2 + 1]!);
            if (r === HelperResult.DISPATCH) {
              if (at !== rec.n) fail(`helper ${h.name} ends the block before event ${at}`);
              this.checkEnd(V, info, info.undef.any, fail);
              return;
            }
          }
        } catch (f) {
          if (!(f instanceof GuestFault)) throw f;
          const r = this.raised;
          const same = thrown === f && r.vector === f.vector && r.errorCode === f.errorCode && r.hasErrorCode === f.hasErrorCode;
          if (!same || at !== rec.n) fail(`generated code raises vector ${f.vector} (${f.errorCode})${this.where(V)}, the interpreter ${thrown === null ? 'nothing' : `vector ${r.vector} (${r.errorCode})`}`);
          if (V[INSN] !== insn) fail(`exception at X_INSN ${hex(V[INSN]!)}, not ${hex(insn)}`);
          this.checkEnd(V, info, info.undef.any, fail);
          return;
        }
      }
      y = host.resume(cpu);
    }
  }

  private where(V: Int32Array): string {
    return ` at page offset ${hex(V[INSN]! & 0xffff)}`;
  }

  private checkRegs(V: Int32Array, log: Int32Array, e: number, info: Info, name: () => string, fail: (what: string) => never): void {
    const u = info.undef;
    if (u.used) return;
    for (let i = 0; i < REG_WORDS; i++) {
      const d = V[GPR + i]! ^ log[e + E.REGS + i]!;
      if (d !== 0 && (i & 1 || (d & ~u.leak) !== 0)) fail(`${name()}: before it ${this.o.slotName((GPR + i) >> 1)} is ${hex64(V, (GPR + i) & ~1)}, not ${hex64(log, e + E.REGS + (i & ~1))}`);
    }
    if (u.any !== (Fl.ALL as number) && ((V[0]! ^ log[e + E.FLAGS]!) & ~FLAG_MASK[u.any]!) !== 0) fail(`${name()}: before it FLAGS is ${hex(V[0]!)}, not ${hex(log[e + E.FLAGS]!)} (undefined: ${hex(FLAG_MASK[u.any]!)})`);
  }

  private checkOperands(V: Int32Array, log: Int32Array, e: number, info: Info, name: () => string, fail: (what: string) => never): void {
    const p = e + E.OPS;
    if (V[Slot.X_CALL * 2 + 1] !== log[p]) fail(`${name()}: destination slot ${V[Slot.X_CALL * 2 + 1]!}, not ${log[p]!}`);
    if (V[Slot.X_CI * 2 + 1] !== log[p + 4]) fail(`${name()}: literal ${hex(V[Slot.X_CI * 2 + 1]!)}, not ${hex(log[p + 4]!)}`);
    if (info.undef.used) return;
    // Passes may have put another slot that holds the same value in an operand's place.
    for (let k = 0; k < 3; k++) {
      const s = V[k === 0 ? Slot.X_AB * 2 : k === 1 ? Slot.X_AB * 2 + 1 : Slot.X_CI * 2]!;
      const v = e + E.OPVAL + k * 2;
      if ((s < 0) !== (log[p + 1 + k]! < 0)) fail(`${name()}: operand ${'abc'[k]!} is slot ${s}, not ${log[p + 1 + k]!}`);
      if (s >= 0 && (((V[s * 2]! ^ log[v]!) & ~info.undef.leak) !== 0 || V[s * 2 + 1] !== log[v + 1])) {
        fail(`${name()}: operand ${'abc'[k]!} (slot ${s}) is ${hex64(V, s * 2)}, not ${hex64(log, v)}`);
      }
    }
  }

  private checkEnd(V: Int32Array, info: Info, undef: number, fail: (what: string) => never): void {
    const u = info.undef;
    if (u.used) {
      this.stats.skipped++;
      return;
    }
    const { post } = this;
    if (undef !== (Fl.ALL as number) && (((V[0]! ^ post[0]!) & ~FLAG_MASK[undef]!) !== 0 || V[1] !== post[1])) fail(`FLAGS at the end is ${hex64(V, 0)}, not ${hex64(post, 0)} (undefined: ${hex(FLAG_MASK[undef]!)})`);
    for (let i = GPR; i < GPR_END; i++) if (V[i] !== post[i] && (i & 1 || ((V[i]! ^ post[i]!) & ~u.leak) !== 0)) this.differ(V, i, fail);
    // An access that faults may say so in registers (CR2).
    for (let i = FP, n = this.thrown ? GUEST : FP_END; i < n; i++) if (V[i] !== post[i] && (i !== FSW || ((V[i]! ^ post[i]!) & ~info.cc) !== 0)) this.differ(V, i, fail);
    if (info.vec) for (let i = VEC; i < VEC_END; i++) if (V[i] !== post[i]) this.differ(V, i, fail);
  }

  private differ(V: Int32Array, i: number, fail: (what: string) => never): void {
    if (this.o.outside.includes(i >> 1)) return;
    fail(`${this.o.slotName(i >> 1)} (slot ${i >> 1}) at the end is ${hex64(V, i & ~1)}, not ${hex64(this.post, i & ~1)}`);
  }

  private fail(cpu: GuestCpu, block: Block, info: Info, what: string): never {
    const { pre, post } = this;
    const lines = [`lockstep: generated code differs from the interpreter after ${this.stats.blocks} blocks: ${what}`];
    lines.push(`block at ${hex64(pre, PC)}, RAM offset ${hex(block.ram)}, mode ${hex(block.mode)}, ${block.insns} instructions`);
    lines.push('state before -> after on the interpreter:');
    const show = (from: number, to: number): void => {
      for (let s = from; s < to; s++) {
        const changed = pre[s * 2] !== post[s * 2] || pre[s * 2 + 1] !== post[s * 2 + 1];
        if (changed || s < 48) lines.push(`  ${this.o.slotName(s).padEnd(8)} ${hex64(pre, s * 2)}${changed ? ` -> ${hex64(post, s * 2)}` : ''}`);
      }
    };
    show(0, 3);
    show(Slot.GPR, 48);
    show(Slot.MXCSR, Slot.FPU_DP + 1);
    if (info.vec) show(Slot.VEC, Slot.TEMP);
    this.restore(cpu.V, pre, info.vec);
    throw new VmxError('ERR_LOCKSTEP', `${lines.join('\n')}\n${this.o.describe(cpu, block, info.bytes)}`);
  }
}

const hex = (v: number): string => `0x${(v >>> 0).toString(16)}`;
export function hex64(V: Int32Array, word: number): string {
  return `0x${(V[word + 1]! >>> 0).toString(16).padStart(8, '0')}_${(V[word]! >>> 0).toString(16).padStart(8, '0')}`;
}
