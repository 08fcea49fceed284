/**
 * The x86-64 back end: compiles the contents of an IrBuilder into the exec region.
 *
 * A compiled block expects PCBASE to be the page it is in. It has two entries: entry A is used from TypeScript (through the enter stub) and from jump caches
 * (through the stubs of emitTransfers), entry B by chained jumps within a page. They are the same but for blocks that span two pages: there entry B looks the
 * block up in the jump cache.
 *
 * Protocol for a run loop
 * - Once: slot X_ABORT = address(stubs.abort). Jump-cache tables must hold no tag that could be found: fill them with 0 and set
 *   the tag of entry 0 of each table to 1 (a tag is only compared with addresses that belong to its entry).
 * - To run a block: PC = its linear address, X_ENTRY = address(entryA); kind = context.run(address(stubs.enter)).
 * - kind is a `Yield`. At every kind all guest registers and flags are in their slots and X_INSN's low word tells the instruction
 *   (not at EXIT). EXIT: X_AUX low = `ExitCode`, PC is set; with CHAIN, X_ADDR low = site id. Anything else: do the work, then
 *   kind = context.run(address(stubs.resume)); or abandon the block by simply not resuming (fault, HelperResult.DISPATCH).
 * - LOAD, STORE: width and access flags in X_AUX, address in X_ADDR, value in X_VAL. LOAD_VEC, STORE_VEC: slot in X_AUX's high word.
 *   CALL: X_CALL = helper, dst; X_AB = a, b; X_CI = c, imm. DIVIDE: the same with imm = remainder slot, X_AUX = width | signed << 8.
 *   SEGCHK: X_ADDR = offset, X_AUX = segment | write << 8 | bytes << 16. ALIGN: nothing. HOST_FAULT: cannot be resumed.
 * - Slot MXCSR is read when code is entered or resumed and written when it is left: guest instructions that access it are CALLs.
 */
import type { HelperRegistry } from '../../helpers.js';
import type { IrBuilder } from '../../ir/builder.js';
import { F, type FloatOp, Op, REC } from '../../ir/ops.js';
import type { Region } from '../../ir/region.js';
import type { PassOptions } from '../../ir/passes.js';
import { Slot } from '../../state.js';
import { type Asm, Alu, R } from './asm.js';
import { COLD_REC, Emitter, VopHow } from './emitter.js';
import { afterFlags, beforeFlags } from './emit-flags.js';
import * as flow from './emit-flow.js';
import { emitChecked, emitColdChecked } from './emit-checked.js';
import { boxes, emitBox, emitColdNaN, emitFop } from './emit-fop.js';
import { emitColdAddend, emitColdHint, HintPlan } from './emit-hint.js';
import * as int from './emit-int.js';
import * as memory from './emit-mem.js';
import * as move from './emit-move.js';
import { SharePlan } from './emit-share.js';
import { choosePins, emitColdRegion, emitRegionEntry, endNode, RegionPlan, startNode } from './emit-region.js';
import * as sys from './emit-sys.js';
import * as vec from './emit-vec.js';
import * as x87 from './emit-x87.js';
import type { RelocList } from './relocs.js';
import { type ColdCode, emitRiscvCold } from './riscv-cold.js';
import { emitStubs, type Abi, savedRegisters, type Stubs } from './stubs.js';
import { VopTable, hostHas } from './vop-table.js';

/** Host registers for pinned guest registers, in the order of `X64Options.pinned`. */
export const PINNED_REGS: readonly number[] = [R.RBX, R.RSI, R.R8, R.R9, R.R10, R.R11, R.R14, R.R15, R.R12, R.R13];

/** RAX RCX RDX RBX RSP RBP RSI RDI, R8 and R9 of an x86 guest. */
export const DEFAULT_PINNED: readonly number[] = [8, 9, 10, 11, 12, 13, 14, 15, 16, 17];

/** Features (by /proc/cpuinfo names) without which this back end cannot be used. */
export const REQUIRED_FEATURES: readonly string[] = ['lahf_lm', 'popcnt', 'abm', 'bmi1', 'bmi2', 'sse4_2'];

export interface X64Options {
  /** Guest slots to keep in host registers, at most 10. */
  pinned?: readonly number[];
  /** Host CPU features by their /proc/cpuinfo names. */
  features: readonly string[];
  /** Which parts of the back end are switched off. */
  passes?: PassOptions;
  /** Calling convention of NativeContext.run; by default the platform's. */
  abi?: Abi;
}

/** Where code goes: the writable alias as bytes, and the address of the executable alias. */
export interface ExecRegion {
  readonly buffer: ArrayBuffer;
  readonly address: number;
}

export interface BlockInfo {
  mmuIdx: number;
  /** Linear addresses wrap at 32 bits. */
  mask32: boolean;
  /** Page offset of the block's first instruction. */
  startOffset: number;
  helpers: HelperRegistry<never>;
  /** False: FP helpers always run in TypeScript (unmasked exceptions). */
  nativeFp: boolean;
  /** The block's instruction reaches into the next page: chained jumps to it go through the jump cache. */
  spans?: boolean;
  mode: number;
}

/** Offsets in the exec region. */
export interface CompiledBlock {
  start: number;
  entryA: number;
  entryB: number;
  /** First byte after the block, cold paths included. */
  end: number;
  /** Of a region: its page hints (MMU index * HINTS + hint). */
  hints?: readonly number[];
  /** Number of the first of them. */
  firstHint?: number;
  /** Chain sites as triples: site id (= position of its rel32), target page offset (with SITE_CHANGES_MODE), unpatched target. */
  sites: number[];
}

/** Room that `compile` wants per IR record and in addition. Bounds the longest sequence, cold path included. */
const ROOM_PER_OP = 224;
const ROOM_FIXED = 1024;
/** The same of a region: every cold path moves up to ten registers out and in. */
const REGION_ROOM_PER_OP = 700;

/** What `retire` overwrites: a jump. */
const RETIRE_BYTES = 5;

/** An instruction of RETIRE_BYTES bytes that does nothing. */
function roomToRetire(asm: Asm): void {
  asm.b(0x0f);
  asm.b(0x1f);
  asm.b(0x44);
  asm.b(0);
  asm.b(0);
}

export class X64Backend {
  readonly stubs: Stubs;
  /** First offset that the caller may allocate. */
  readonly firstFree: number;
  readonly pinned: readonly number[];
  private readonly u8: Uint8Array;
  private readonly e: Emitter;
  private readonly features: ReadonlySet<string>;
  private readonly fma: boolean;
  private readonly avx: boolean;
  private readonly returns: boolean;
  private readonly x: flow.FlowContext;
  private readonly pageHints: boolean;
  private readonly share: SharePlan | null;
  /** Number of hints given to regions so far: each gets the next ones. */
  private nextHint = 0;
  /** The block that is compiled begins with `roomToRetire`. */
  private padded = false;
  private readonly abi: Abi;
  private readonly tables = new Map<HelperRegistry<never>, VopTable>();
  private table: VopTable | null = null;
  private tableOf: HelperRegistry<never> | null = null;
  private nativeFp = true;
  private readonly how = (helper: number, w: number): VopHow => this.table!.how(helper, w, this.nativeFp);

  /** Emits the stubs at the start of the region. */
  constructor(readonly exec: ExecRegion, options: X64Options) {
    this.features = new Set(options.features);
    this.fma = this.features.has('fma');
    this.avx = this.features.has('avx');
    this.returns = options.passes?.returns !== false;
    this.pageHints = options.passes?.pageHints !== false;
    this.share = options.passes?.sharedChecks !== false ? new SharePlan() : null;
    this.pinned = options.pinned ?? DEFAULT_PINNED;
    if (this.pinned.length > PINNED_REGS.length) throw new Error('too many pinned registers');
    const regs = PINNED_REGS.slice(0, this.pinned.length);
    this.u8 = new Uint8Array(exec.buffer);
    this.e = new Emitter(this.u8, this.pinned, regs, options.passes?.lazyFlags !== false);
    this.e.asm.p = 0;
    this.abi = options.abi ?? (process.platform === 'win32' ? 'win64' : 'sysv');
    this.stubs = emitStubs(this.e.asm, this.pinned, regs, this.abi);
    this.firstFree = this.e.asm.fixedEnd = this.stubs.end;
    this.x = { stubs: this.stubs, mmuIdx: 0, mask32: false, newMode: flow.SAME_MODE, mode: 0, returns: this.returns, sites: [] };
  }

  /** @returns required features that are missing; the back end must not be used unless the list is empty. */
  static missingFeatures(features: readonly string[]): string[] {
    const have = new Set(features);
    return REQUIRED_FEATURES.filter((f) => !hostHas(have, f));
  }

  /** Host address of an offset in the exec region. */
  address(offset: number): number {
    return this.exec.address + offset;
  }

  /** Stores the host address of `offset` to a slot (X_ENTRY, X_ABORT, jump cache entries). */
  writeAddress(V: Int32Array, slot: number, offset: number): void {
    const a = this.exec.address + offset;
    V[slot * 2] = a | 0;
    V[slot * 2 + 1] = Math.floor(a / 0x1_0000_0000);
  }

  /** Emits the executor of cold RISC-V code at offset `at`, rounded up: 8 KiB are enough. */
  emitCold(at: number, watched: number): ColdCode {
    const { asm } = this.e;
    asm.p = at;
    asm.relocs.begin();
    const win64 = this.abi === 'win64';
    return emitRiscvCold(asm, savedRegisters(this.abi), win64 ? R.RCX : R.RDI, this.exec.address, this.stubs.enter, this.stubs.resume, watched);
  }

  /** Upper bound of the room that `compile` needs. */
  room(ir: IrBuilder): number {
    return ir.n * ROOM_PER_OP + ROOM_FIXED;
  }

  /** What jumps of the block to be compiled want to know. One object for all: its fields change, and V8 learns that from the second block. */
  private flowOf(block: BlockInfo): flow.FlowContext {
    const { x } = this;
    x.mmuIdx = block.mmuIdx;
    x.mask32 = block.mask32;
    x.newMode = flow.SAME_MODE;
    x.mode = block.mode;
    x.sites = [];
    return x;
  }

  /**
   * Compiles at offset `at` (rounded up to 16).
   * @returns null if less than `room(ir)` bytes are left before `limit`.
   */
  compile(ir: IrBuilder, block: BlockInfo, at: number, limit: number): CompiledBlock | null {
    if (at + this.room(ir) > limit) return null;
    if (this.tableOf !== block.helpers) this.useTable(block.helpers);
    this.nativeFp = block.nativeFp;
    const e = this.e;
    const asm = e.asm;
    e.begin(ir, this.how);
    e.share = this.share;
    this.share?.plan(e);
    asm.p = (at + 15) & ~15;
    asm.relocs.begin();
    const start = asm.p;
    let entryB = start;
    const x = this.flowOf(block);
    if (this.padded) roomToRetire(asm);
    this.body(x, 0, e.n);
    for (let q = 0; q < e.coldN; q++) {
      this.cold(q * COLD_REC, x, block);
    }
    if (block.spans === true) {
      entryB = asm.p;
      x.mmuIdx = block.mmuIdx;
      flow.emitSpanEntry(e, block.startOffset, x);
    }
    for (let i = 0; i < x.sites.length && !this.padded; i += 3) {
      if (x.sites[i]! >= start + RETIRE_BYTES) continue;
      // Nothing but a jump: `retire` would overwrite what `unpatch` writes.
      this.padded = true;
      const c = this.compile(ir, block, at, limit);
      this.padded = false;
      return c;
    }
    return { start, entryA: start, entryB, end: asm.p, sites: x.sites };
  }

  /**
   * Compiles a region; `block` describes its first node.
   * @param hintsOff hints that must not be page hints, as bits by their order
   * @param addendsOff of those, the ones that are no hints at all
   * @returns null if there is no room
   */
  compileRegion(r: Region, block: BlockInfo, at: number, limit: number, hintsOff = 0, addendsOff = 0): CompiledBlock | null {
    if (at + r.ir.n * REGION_ROOM_PER_OP + ROOM_FIXED > limit) return null;
    if (this.tableOf !== block.helpers) this.useTable(block.helpers);
    this.nativeFp = block.nativeFp;
    const e = this.e;
    const plan = new RegionPlan(r.nodes);
    e.pin(choosePins(r, this.pinned));
    // The first emission tells with which flags nodes are reached.
    const hints = this.pageHints ? new HintPlan(block.mmuIdx, this.nextHint, hintsOff, addendsOff) : null;
    e.hints = hints;
    this.region(r, plan, block, at);
    plan.choose(e);
    const c = this.region(r, plan, block, at);
    e.pin(this.pinned);
    e.hints = null;
    if (hints === null) return c;
    return { ...c, hints: hints.ids, firstHint: this.takeHints(hints.ids.length) };
  }

  /** Gives out n hints. @returns the number of the first */
  takeHints(n: number): number {
    const first = this.nextHint;
    this.nextHint += n;
    return first;
  }

  private region(r: Region, plan: RegionPlan, block: BlockInfo, at: number): CompiledBlock {
    const e = this.e;
    const asm = e.asm;
    e.begin(r.ir, this.how, r.nodes);
    e.share = null;
    asm.p = (at + 15) & ~15;
    asm.relocs.begin();
    const start = asm.p;
    const x = this.flowOf(block);
    plan.begin();
    e.hints?.begin();
    // Its loops may lead to the very first instruction, and go on when the region has been dropped.
    roomToRetire(asm);
    emitRegionEntry(e, plan);
    r.nodes.forEach((node, k) => {
      startNode(e, plan, k);
      const i = this.body(x, node.first, node.end - 1);
      const p = i * REC;
      const w0 = r.ir.buf[p]!;
      e.i = i;
      x87.flushFip(e);
      endNode(e, p, w0 & 0xff, (w0 >> 8) & 15, (w0 >> 12) & 15, x, plan, k);
    });
    for (let q = 0; q < e.coldN; q++) {
      const c = q * COLD_REC;
      if (e.cold[c]! === memory.Cold.HINT) emitColdHint(e, c, block.mmuIdx);
      else if (e.cold[c]! === memory.Cold.ADDEND) emitColdAddend(e, c);
      else if (e.cold[c]! >= memory.Cold.LEAVE) emitColdRegion(e, c, x);
      else this.cold(c, x, block);
    }
    return { start, entryA: start, entryB: start, end: asm.p, sites: x.sites };
  }

  private cold(r: number, x: flow.FlowContext, block: BlockInfo): void {
    const e = this.e;
    if (e.cold[r]! >= memory.Cold.CHAIN) flow.emitColdFlow(e, r, x);
    else if (e.cold[r]! === memory.Cold.NAN) emitColdNaN(e, r);
    else if (e.cold[r]! === memory.Cold.VOP) emitColdChecked(e, r, this.stubs);
    else if (e.cold[r]! >= memory.Cold.CALLIF) sys.emitColdSys(e, r, this.stubs);
    else memory.emitColdMem(e, r, this.stubs, block.mmuIdx);
  }

  /** Makes a chain site jump to `target` (an offset, normally a block's entry B). */
  patch(site: number, target: number): void {
    this.e.asm.patch32(site, target);
  }

  /** What in the block compiled last depends on its place and on pool slots. */
  get relocs(): RelocList {
    return this.e.asm.relocs;
  }

  /** Undoes `patch`: `cold` is the third member of the site's triple. */
  unpatch(site: number, cold: number): void {
    this.e.asm.patch32(site, cold);
  }

  /**
   * Makes entry A of a block lead nowhere, for those who come from the jump cache (`emitTransfers`). The block may be running: what is overwritten is
   * reached in no other way, since no chain site leads there any more and a block's own code never goes back so far.
   */
  retire(entryA: number): void {
    const { asm } = this.e;
    asm.v.setUint8(entryA, 0xe9);
    asm.patch32(entryA + 1, this.stubs.missEntry);
  }

  /** No block begins like that. */
  retired(entryA: number): boolean {
    return entryA < this.firstFree || this.e.asm.v.getUint8(entryA) === 0xe9;
  }

  private useTable(helpers: HelperRegistry<never>): void {
    let t = this.tables.get(helpers);
    if (t === undefined) this.tables.set(helpers, (t = new VopTable(helpers, this.features)));
    this.table = t;
    this.tableOf = helpers;
  }

  /** True if op i is a vector instruction whose last source is vector temporary t, and the only one to read it. */
  private readsTemp(i: number, t: number): boolean {
    const e = this.e;
    if (t < Slot.TEMP || i >= e.n || e.lastUse[t] !== i) return false;
    const p = i * REC;
    const ir = e.ir;
    const w = (ir[p]! >> 8) & 15;
    if ((ir[p]! & 0xff) !== Op.VOP || w !== 4) return false;
    const how = this.how(ir[p + F.AUX]!, w);
    if (how === VopHow.CALL || how === VopHow.CHECKED) return false;
    const a = ir[p + F.A]!;
    const b = ir[p + F.B]!;
    return ir[p + F.C] !== t && (b === t ? a !== t : a === t && b < 0);
  }

  /** Records first .. end - 1, and (with end = e.n) the terminator. @returns end */
  private body(x: flow.FlowContext, first: number, end: number): number {
    const e = this.e;
    const ir = e.ir;
    const idx = x.mmuIdx;
    for (let i = first; i < end; i++) {
      e.i = i;
      const p = i * REC;
      const w0 = ir[p]!;
      const op = w0 & 0xff;
      const w = (w0 >> 8) & 15;
      const cc = (w0 >> 12) & 15;
      const fw = w0 >>> 16;
      if (e.lazyFlags && (fw !== 0 || e.recipe !== 0)) beforeFlags(e, p, op, fw);
      if (e.mixed && e.touchesPinned(p)) vec.ensureSaved(e, p);
      switch (op as Op) {
        case Op.NOP: break;
        case Op.MOV: move.emitMov(e, p, w); break;
        case Op.SX: move.emitSx(e, p, w); break;
        case Op.ZX: move.emitZx(e, p, w); break;
        case Op.EXTH: move.emitExth(e, p); break;
        case Op.INSH: move.emitInsh(e, p); break;
        case Op.LEA: move.emitLea(e, p, w); break;
        case Op.SETCC: move.emitSetcc(e, p, cc); break;
        case Op.CMOV: move.emitCmov(e, p, w, cc); break;
        case Op.SELNZ: move.emitSelnz(e, p, w); break;
        case Op.ADD: int.emitAlu(e, p, w, Alu.ADD, fw); break;
        case Op.SUB: int.emitAlu(e, p, w, Alu.SUB, fw); break;
        case Op.ADC: int.emitAlu(e, p, w, Alu.ADC, fw); break;
        case Op.SBB: int.emitAlu(e, p, w, Alu.SBB, fw); break;
        case Op.AND: int.emitAlu(e, p, w, Alu.AND, fw); break;
        case Op.OR:
          if (e.floating && w === 3 && fw === 0 && boxes(e, p)) emitBox(e, p);
          else int.emitAlu(e, p, w, Alu.OR, fw);
          break;
        case Op.XOR: int.emitAlu(e, p, w, Alu.XOR, fw); break;
        case Op.NEG: int.emitNeg(e, p, w, fw); break;
        case Op.NOT: int.emitNot(e, p, w); break;
        case Op.INC: int.emitIncDec(e, p, w, 0, fw); break;
        case Op.DEC: int.emitIncDec(e, p, w, 1, fw); break;
        case Op.SHL: case Op.SHR: case Op.SAR: case Op.ROL: case Op.ROR: case Op.RCL: case Op.RCR:
          int.emitShift(e, p, op, w, fw);
          break;
        case Op.SHLD: case Op.SHRD: int.emitShiftDouble(e, p, op, w, fw); break;
        case Op.BT: int.emitBt(e, p, 4, w, fw); break;
        case Op.BTS: int.emitBt(e, p, 5, w, fw); break;
        case Op.BTR: int.emitBt(e, p, 6, w, fw); break;
        case Op.BTC: int.emitBt(e, p, 7, w, fw); break;
        case Op.BSF: int.emitBsfBsr(e, p, 0xbc, w, fw); break;
        case Op.BSR: int.emitBsfBsr(e, p, 0xbd, w, fw); break;
        case Op.TZCNT: int.emitCount(e, p, 0xbc, w, fw); break;
        case Op.LZCNT: int.emitCount(e, p, 0xbd, w, fw); break;
        case Op.POPCNT: int.emitCount(e, p, 0xb8, w, fw); break;
        case Op.BSWAP: int.emitBswap(e, p, w); break;
        case Op.MUL: int.emitMul(e, p, false, w, fw); break;
        case Op.IMUL: int.emitMul(e, p, true, w, fw); break;
        case Op.DIV: memory.emitDivide(e, p, false, w); break;
        case Op.IDIV: memory.emitDivide(e, p, true, w); break;
        case Op.ANDN: int.emitVexAB(e, p, 0, 0xf2, w, fw, true); break;
        case Op.BLSR: int.emitBls(e, p, 1, w, fw); break;
        case Op.BLSMSK: int.emitBls(e, p, 2, w, fw); break;
        case Op.BLSI: int.emitBls(e, p, 3, w, fw); break;
        case Op.BEXTR: int.emitVexBA(e, p, 0xf7, w, fw); break;
        case Op.BZHI: int.emitVexBA(e, p, 0xf5, w, fw); break;
        case Op.PDEP: int.emitVexAB(e, p, 3, 0xf5, w, fw, false); break;
        case Op.PEXT: int.emitVexAB(e, p, 2, 0xf5, w, fw, false); break;
        case Op.ADOX: int.emitAdox(e, p, w, fw); break;
        case Op.CRC32: int.emitCrc32(e, p, w); break;
        case Op.GETF: int.emitGetf(e, p); break;
        case Op.PUTF: int.emitPutf(e, p, fw); break;
        case Op.SETCF: int.emitSetcf(e, p); break;
        case Op.LD:
          if (e.floating && w === 3 && ir[p + F.DST]! >= Slot.VEC && ir[p + F.DST]! < Slot.TEMP) vec.ensureSaved(e, p);
          memory.emitLoad(e, p, w, idx);
          break;
        case Op.ST: memory.emitStore(e, p, w, idx); break;
        case Op.LDV: vec.emitLoadVec(e, p, w, idx, this.readsTemp(i + 1, ir[p + F.DST]!)); break;
        case Op.STV: vec.emitStoreVec(e, p, w, idx); break;
        case Op.SEGCHK: memory.emitSegchk(e, p); break;
        case Op.CHKALIGN: memory.emitChkalign(e, p); break;
        case Op.MOVV: vec.emitMovv(e, p, w); break;
        case Op.ZEROU: vec.emitZerou(e, p); break;
        case Op.CALL: {
          const form = this.nativeFp ? this.tableOf!.list[ir[p + F.AUX]!]!.x87 : undefined;
          if (form === undefined) memory.emitCall(e, p, this.stubs);
          else x87.emitX87(e, p, form, idx);
          break;
        }
        case Op.CALLIF: sys.emitCallIf(e, p, w); break;
        case Op.TIME: sys.emitTime(e, p); break;
        case Op.FOP:
          e.useMxcsr();
          if (!emitFop(e, p, w, cc as FloatOp, this.fma, this.avx)) {
            memory.emitCall(e, p, this.stubs);
            e.floats.forget();
          }
          break;
        case Op.COPY: case Op.FILL: sys.emitBulk(e, p, op, w, idx, this.stubs); break;
        case Op.SETMODE: sys.emitSetMode(e, p, x); break;
        case Op.VOP: {
          const helper = ir[p + F.AUX]!;
          const form = this.table!.form(helper);
          const how = this.how(helper, w);
          if (how !== VopHow.CALL && this.tableOf!.list[helper]!.fp) e.useMxcsr();
          if (how === VopHow.CALL) memory.emitCall(e, p, this.stubs);
          else if (how === VopHow.CHECKED) emitChecked(e, p, form, form.checked!);
          else vec.emitVop(e, p, w, fw, form, this.avx);
          break;
        }
        case Op.JMP: case Op.JCC: case Op.JNZ: case Op.JMPI: case Op.EXIT:
          x87.flushFip(e);
          flow.emitTerm(e, p, op, w, cc, x);
          return end;
        default:
          throw new Error(`x64 back end: no op ${op}`);
      }
      if (fw !== 0 && e.lazyFlags) afterFlags(e, p, op, w, fw);
      if (e.floating) e.floats.after(op, ir[p + F.DST]!);
      e.endOp();
    }
    if (end < e.n) return end;
    x87.flushFip(e);
    flow.emitNoTerm(e, x);
    return end;
  }
}
