/**
 * The run loop: finds or translates the block at PC, executes it on the interpreter or as generated code, and does what
 * the block left to do: memory slow paths, helpers, exceptions, interrupts, chaining, invalidation.
 */
import { CODE_GRANULE, type CodeWindow, type GuestCpu, GuestFault, LiftResult, type PhysicalMap } from '../cpu.js';
import { type HelperFn, HelperResult, type HelperInfo } from '../helpers.js';
import { compileForInterp } from '../interp/compile.js';
import { Interpreter } from '../interp/interp.js';
import { ConstPool, IrBuilder } from '../ir/builder.js';
import { runPasses, type PassOptions } from '../ir/passes.js';
import { Attention, ExitCode, HINT_MISSES, Slot, Yield } from '../state.js';
import { VmxError } from '../../errors.js';
import { type CacheStore, CodeCache } from '../aot/code-cache.js';
import { regionExtent } from '../aot/region-record.js';
import { Rec, RecordWriter } from '../aot/record.js';
import { Block, blockKey } from './block.js';
import { Bf, BlockIs, BlockTable, CodePage, ROW } from './block-table.js';
import { addPageGroup } from './add-group.js';
import { ChainSites } from './chain-sites.js';
import { ColdCode } from './cold-code.js';
import { type GuestBytes, type HostCode, SITE_CHANGES_MODE } from './host-code.js';
import { JumpCache } from './jump-cache.js';
import { findLoop, Heat, regionBlock } from './regions.js';
import { nowMs, TimeScale } from './time-scale.js';
import { WriteRun } from './write-run.js';

/** What a slice of execution ended with. */
export const enum SliceEnd {
  /** A native thread asked for attention (deadline, event loop), or Pending.EVENT/STOP is set. */
  ATTENTION = 0,
  /** The CPU executes HLT and nothing is pending. */
  HALTED = 1,
  /** Triple fault. */
  SHUTDOWN = 2,
  /** A debugger's breakpoint is at PC; the instruction there has not run. */
  BREAKPOINT = 3,
}

export interface EngineOptions {
  /** Generated code, or null for the interpreter. */
  host: HostCode | null;
  passes: PassOptions;
  /** Most guest instructions in a block. */
  maxInsns: number;
  /** Mode bit that asks for blocks of one instruction. */
  stepBit: number;
  /** Mode bits under which vector floating point must run in helpers. */
  fpHelperBit: number;
  /** True if linear addresses wrap at 32 bits in this mode. */
  mask32: (mode: number) => boolean;
  /** Cold code is executed by the CPU's `runFirst` (docs/adr/0070). Default false. */
  firstRun?: boolean;
}

export interface EngineStats {
  /** Blocks made, and how many of them came from the code cache. */
  blocks: number;
  installed: number;
  insns: number;
  irOps: number;
  hostBytes: number;
  translateNs: number;
  flushes: number;
  invalidated: number;
  entries: number;
  exits: number;
  loads: number;
  stores: number;
  calls: number;
  faults: number;
  chained: number;
  codeWrites: number;
  restarts: number;
  /** Instructions executed without being translated. */
  firstRuns: number;
  /** Loops compiled as one piece, and the time that took, which is part of `translateNs`. */
  regions: number;
  regionNs: number;
}

/** Thrown when a store would change the block that executes it: the instruction is run again on its own. */
class Restart extends Error {}

const PAGE = 4096;
/** A page that writes have emptied so often stays a code page, until so many writes have met no code there. */
const PATCHED_OFTEN = 4;
const STAYS_CODE = 64;
/** The code cache keeps no code of a page whose code the guest has replaced so often: a program that makes code as it goes, and no later run will have it at all. */
const NOT_KEPT = 4;
/** A hint that misses more often costs more than it saves: a miss may be a branch that the host did not predict. */
const HINT_MISSES_PER_MS = 4000;
const HINT_CHECK_MS = 20;
/** Most blocks that come from the code cache together with the one that is needed. */
const BRING_IN = 48;
/** What fields that hold times begin with. V8 takes a field that begins with 0 for a small integer's, and has to optimise all code that uses the object again when it is not. */
const NO_TIME = -0;
/** For code that nobody has jumped to yet: whether its second page may be fetched is not known. */
const noSecondPage = (): number => -1;
/** Words of the code map per page. */
const MAP_WORDS = PAGE / CODE_GRANULE / 32;

/**
 * A debugging tool that takes part in translation and may execute blocks itself (docs/DEBUGGING.md). With one attached
 * every block goes through it: nothing is chained.
 */
export interface BlockTool {
  /** MMU index to generate code for, or -1 for the CPU's own. One without TLB entries makes every access yield. */
  readonly mmuIdx: number;
  /** A block has been lifted; the passes have not run. `bytes` is a view of its guest code. */
  lifted(cpu: GuestCpu, ir: IrBuilder, mode: number, offset: number, bytes: Uint8Array, single: boolean): void;
  /** The block just lifted is ready; ir is what was compiled. */
  translated(cpu: GuestCpu, block: Block, ir: IrBuilder): void;
  /** All generated code is dropped; its addresses will be used again. */
  flushed(): void;
  /** Runs the block at PC in place of the engine; null if the tool only watches. */
  readonly run: ((cpu: GuestCpu, block: Block) => ExitCode) | null;
}

/** Linear addresses at which a debugger wants the guest to stop. */
export interface Stops {
  /** Page offset of the first one at or after hi:lo in its page, or 4096. */
  next(lo: number, hi: number): number;
}

/** Called for each block about to run. While one is set, generated code is not chained: every block comes back to the run loop. */
export type BlockHook = (cpu: GuestCpu, block: Block) => void;

export class Engine {
  readonly consts = new ConstPool();
  readonly stats: EngineStats = {
    blocks: 0, installed: 0, insns: 0, irOps: 0, hostBytes: 0, translateNs: NO_TIME, flushes: 0, invalidated: 0, entries: 0, exits: 0,
    loads: 0, stores: 0, calls: 0, faults: 0, chained: 0, codeWrites: 0, restarts: 0, firstRuns: 0, regions: 0, regionNs: NO_TIME,
  };
  /** Counts helper calls by id when set (costs a little). */
  helperCounts: Float64Array | null = null;
  onBlock: BlockHook | null = null;
  /** Set before the first block is translated. */
  tool: BlockTool | null = null;
  /** Generated code of earlier runs; see `useCache`. */
  aot: CodeCache | null = null;
  private readonly ir: IrBuilder;
  private readonly interp: Interpreter;
  /** By number: the helpers of the CPUs' registry. */
  private readonly helperFns: readonly HelperFn<GuestCpu>[];
  private readonly blocks = new BlockTable();
  private hostNow: () => number = () => 0;
  /** One per CPU, or none. */
  private scales: readonly TimeScale[] = [];
  private readonly restart = new Restart();
  private readonly win: CodeWindow = { buf: new Uint8Array(0), pos: 0, end: 0, offset: 0 };
  private readonly span = new Uint8Array(32);
  private readonly again = new RecordWriter();
  private readonly secondOfActive = (): number => this.secondPage(this.active!);
  /** Code pages there have been. */
  private pageIds = 0;
  /** Row of the block that runs on its own, 0 if it is not known. */
  private current = 0;
  /** An exception or interrupt is being delivered: no block runs that its frame could overwrite. */
  private between = false;
  private readonly heat = new Heat();
  /** How often writes have hit a region, by page: code that patches itself stays blocks. */
  private readonly spoiled = new Map<number, number>();
  /** Blocks just installed at which hot loops begin. */
  private hotHeads: number[] = [];
  private readonly regionIr: IrBuilder;
  /** Regions with page hints, and when their misses were last looked at. */
  private hinted: Block[] = [];
  private hintsSeen = NO_TIME;
  /** When CPU time was last asked for, ms. */
  private hintsAsked = NO_TIME;
  /** `PageBlocks.emptied` of pages that have no blocks now. */
  private readonly emptied = new Map<number, number>();
  /** How often writes have taken the last block of a page. */
  private readonly replaced = new Map<number, number>();
  private readonly sites = new ChainSites(() => this.o.host, this.blocks);
  /** Of the block linked last: row of a chain site that leads to no block yet, and the page offset it wants, in turn. */
  private readonly openSites: number[] = [];
  private readonly jumps: JumpCache;
  private readonly cold: ColdCode;
  private stops: Stops | null = null;

  constructor(
    private readonly map: PhysicalMap,
    readonly cpus: readonly GuestCpu[],
    private readonly o: EngineOptions,
  ) {
    this.ir = new IrBuilder(this.consts);
    this.ir.idioms = o.passes.idioms !== false;
    this.regionIr = new IrBuilder(this.consts);
    this.interp = new Interpreter();
    this.helperFns = (cpus[0]?.helpers.list ?? []).map((h) => (h as HelperInfo<GuestCpu>).fn);
    this.cold = new ColdCode(cpus, () => o.host, o.firstRun === true, this.stats);
    this.jumps = new JumpCache(cpus, () => o.host, this.blocks, () => this.onBlock !== null || (this.tool !== null && this.tool.run !== null));
    for (const cpu of cpus) {
      this.consts.attach(cpu.V);
      const mapAt = map.codeMap?.address ?? 0;
      cpu.V[Slot.CODE_MAP * 2] = mapAt | 0;
      cpu.V[Slot.CODE_MAP * 2 + 1] = Math.floor(mapAt / 0x1_0000_0000);
      cpu.onFlush = (kind, lo, hi) => {
        o.host?.forgetReturns(cpu, false);
        this.jumps.flushed(cpu, kind, lo, hi);
      };
      if (o.host) o.host.attach(cpu);
    }
    map.onCodeWrite = (off, n) => this.codeWrite(off, n, true);
    map.onDmaCodeWrite = (off, n) => this.codeWrite(off, n, false);
  }

  /** Takes code from the store and gives what is translated to it. Before the first block. @throws without generated code */
  useCache(store: CacheStore): CodeCache {
    if (this.o.host === null) throw new VmxError('ERR_INTERNAL', 'a code cache needs generated code');
    this.ir.symbolic = true;
    this.aot = new CodeCache(store, this.consts);
    return this.aot;
  }

  /** Bytes of generated code in use. */
  get hostBytes(): number {
    return this.o.host?.used ?? 0;
  }

  /**
   * Lets generated code read the guest's counter from the host's.
   * @param now host time in ns, monotonic
   * @param ticksPerNs frequency of the guest's counter
   */
  useHostCounter(now: () => number, ticksPerNs: number): void {
    this.hostNow = now;
    this.scales = this.cpus.map((c) => new TimeScale(c.V, ticksPerNs));
  }

  private syncCounter(cpu: GuestCpu): void {
    const host = this.o.host;
    if (host === null || this.scales.length === 0 || this.tool !== null || this.onBlock !== null || cpu.counterNow === undefined) return;
    const guest = cpu.counterNow();
    this.scales[cpu.index]!.sync(host.readCounter(cpu), this.hostNow(), guest);
  }

  /**
   * Runs cpu until something outside the guest's instructions must be looked at.
   * @param shadow interrupts are held off for the first instruction
   * @param limit ends the slice after so many instructions, which are then run one by one
   */
  runSlice(cpu: GuestCpu, shadow = false, limit = Infinity): SliceEnd {
    const V = cpu.V;
    const counted = limit !== Infinity;
    this.active = cpu;
    this.syncCounter(cpu);
    for (;;) {
      try {
        for (;;) {
          if (V[Slot.PENDING * 2]! !== 0 && !shadow) this.service(cpu);
          if (cpu.shutdown) return SliceEnd.SHUTDOWN;
          if (cpu.halted) return SliceEnd.HALTED;
          // A few instructions that were asked for come first.
          if (!counted && !shadow && (V[Slot.PENDING * 2 + 1]! !== 0 || V[Slot.PENDING * 2]! !== 0)) return SliceEnd.ATTENTION;
          if (counted && limit-- <= 0 && !shadow) return SliceEnd.ATTENTION;
          const watched = (cpu.mode & this.o.stepBit) !== 0;
          const step = shadow || watched || counted;
          shadow = false;
          const exit = step ? this.runSingle(cpu) : this.runBlocks(cpu);
          if (watched) cpu.afterStep();
          if (exit === ExitCode.SHADOW) shadow = true;
          else if (exit === ExitCode.BREAK) return SliceEnd.BREAKPOINT;
        }
      } catch (e) {
        this.current = 0;
        if (e === this.restart) {
          this.stats.restarts++;
          this.setPcToInsn(V);
          try {
            const exit = this.runSingle(cpu);
            shadow = exit === ExitCode.SHADOW;
          } catch (f) {
            if (!(f instanceof GuestFault)) throw f;
            this.deliver(cpu, f);
          }
        } else if (e instanceof GuestFault) {
          this.deliver(cpu, e);
        } else {
          throw e;
        }
      }
    }
  }

  /** One instruction at PC on the interpreter, outside all caches of linked code. */
  private runSingle(cpu: GuestCpu): ExitCode {
    return this.interpret(cpu, this.find(cpu, true));
  }

  private interpret(cpu: GuestCpu, row: number): ExitCode {
    this.current = row;
    const block = this.blocks.view(row);
    if (this.onBlock !== null) this.onBlock(cpu, block);
    this.enterPage(cpu.V);
    const code = this.interp.runBlock(cpu, block.interp!);
    this.current = 0;
    return code;
  }

  private enterPage(V: Int32Array): void {
    V[Slot.PCBASE * 2] = V[Slot.PC * 2]! & ~0xfff;
    V[Slot.PCBASE * 2 + 1] = V[Slot.PC * 2 + 1]!;
  }

  private setPcToInsn(V: Int32Array): void {
    const start = V[Slot.X_INSN * 2]! & 0xffff;
    V[Slot.PC * 2] = V[Slot.PCBASE * 2]! + start;
    V[Slot.PC * 2 + 1] = V[Slot.PCBASE * 2 + 1]!;
  }

  private runBlocks(cpu: GuestCpu): ExitCode {
    if (this.o.host !== null && this.onBlock === null && this.tool === null) {
      this.jumps.use(cpu);
      const known = this.jumps.entry(cpu, cpu.V[Slot.PC * 2]!, cpu.V[Slot.PC * 2 + 1]!);
      if (known >= 0) return this.runHost(cpu, known, this.o.host);
    }
    const row = this.lookup(cpu);
    if (row === 0) return ExitCode.NEXT;
    if (this.tool !== null && this.tool.run !== null) return this.runTool(cpu, row, this.tool.run);
    const entry = this.entry(row);
    if (this.o.host === null || entry < 0) return this.interpret(cpu, row);
    if (this.onBlock === null) return this.runHost(cpu, entry, this.o.host);
    // One block at a time, so it is known exactly which one a store may hit: as on the interpreter.
    this.current = row;
    this.onBlock(cpu, this.blocks.view(row));
    const code = this.runHost(cpu, entry, this.o.host);
    this.current = 0;
    return code;
  }

  /** Offset of a block's host code, -1 if there is none. */
  private entry(row: number): number {
    return this.blocks.R[row * ROW + Bf.ENTRY_A]!;
  }

  private runTool(cpu: GuestCpu, row: number, run: (cpu: GuestCpu, block: Block) => ExitCode): ExitCode {
    this.current = row;
    const block = this.blocks.view(row);
    if (this.onBlock !== null) this.onBlock(cpu, block);
    this.enterPage(cpu.V);
    const code = run(cpu, block);
    this.current = 0;
    return code;
  }

  // ---- generated code ----------------------------------------------------------------------------------------

  private runHost(cpu: GuestCpu, first: number, host: HostCode): ExitCode {
    const V = cpu.V;
    const s = this.stats;
    this.cold.link(cpu, this.mayRunCold);
    let y = host.enter(cpu, first);
    s.entries++;
    for (;;) {
      // PC has been set: another block comes next.
      let moved = false;
      switch (y as Yield) {
        case Yield.LOAD: {
          s.loads++;
          const aux = V[Slot.X_AUX * 2]!;
          const f = cpu.tryLoad === undefined ? null : cpu.tryLoad(aux & 0xff, Slot.X_ADDR, Slot.X_VAL, (aux >> 8) & 0xff);
          if (f === null) cpu.load(aux & 0xff, Slot.X_ADDR, Slot.X_VAL, (aux >> 8) & 0xff);
          else if (f !== undefined) {
            this.deliver(cpu, f);
            moved = true;
          }
          break;
        }
        case Yield.STORE: {
          s.stores++;
          const aux = V[Slot.X_AUX * 2]!;
          const f = cpu.tryStore === undefined ? null : cpu.tryStore(aux & 0xff, Slot.X_ADDR, Slot.X_VAL, (aux >> 8) & 0xff);
          if (f === null) cpu.store(aux & 0xff, Slot.X_ADDR, Slot.X_VAL, (aux >> 8) & 0xff);
          else if (f !== undefined) {
            this.deliver(cpu, f);
            moved = true;
          }
          break;
        }
        case Yield.LOAD_VEC:
          s.loads++;
          cpu.loadVec(V[Slot.X_AUX * 2]! & 0xff, Slot.X_ADDR, V[Slot.X_AUX * 2 + 1]!);
          break;
        case Yield.STORE_VEC:
          s.stores++;
          cpu.storeVec(V[Slot.X_AUX * 2]! & 0xff, Slot.X_ADDR, V[Slot.X_AUX * 2 + 1]!);
          break;
        case Yield.CALL: {
          s.calls++;
          const id = V[Slot.X_CALL * 2]!;
          const counts = this.helperCounts;
          if (counts !== null) counts[id]!++;
          const r = this.helperFns[id]!(cpu, V[Slot.X_CALL * 2 + 1]!, V[Slot.X_AB * 2]!, V[Slot.X_AB * 2 + 1]!, V[Slot.X_CI * 2]!, V[Slot.X_CI * 2 + 1]!);
          moved = r === HelperResult.DISPATCH;
          break;
        }
        case Yield.DIVIDE: {
          const aux = V[Slot.X_AUX * 2]!;
          cpu.divide((aux & 0x100) !== 0, aux & 0xff, V[Slot.X_CALL * 2 + 1]!, V[Slot.X_CI * 2 + 1]!, V[Slot.X_AB * 2]!, V[Slot.X_AB * 2 + 1]!, V[Slot.X_CI * 2]!);
          break;
        }
        case Yield.SEGCHK: {
          const aux = V[Slot.X_AUX * 2]!;
          cpu.segmentCheck(aux & 0xff, Slot.X_ADDR, (aux & 0x100) !== 0, aux >>> 16);
          break;
        }
        case Yield.ALIGN:
          return cpu.alignmentFault();
        case Yield.HOST_FAULT:
          throw new VmxError(
            'ERR_HOST_FAULT',
            `generated code faulted: signal ${V[Slot.X_AUX * 2]!} at host ${hex64(V, Slot.X_ADDR)}, data ${hex64(V, Slot.X_VAL)}, guest pc ${this.describePc(cpu)}`,
          );
        case Yield.EXIT: {
          s.exits++;
          const code = V[Slot.X_AUX * 2]!;
          if (code === ExitCode.CHAIN && this.onBlock === null) {
            const id = V[Slot.X_ADDR * 2]!;
            const { flushes } = s;
            this.cold.ran = false;
            const target = this.find(cpu, false);
            this.jumps.use(cpu);
            if (target === 0) return ExitCode.NEXT;
            if (this.cold.ran) {
              // PC is where cold code leads to, not the jump.
              this.jumps.put(cpu, V[Slot.PC * 2]!, V[Slot.PC * 2 + 1]!, target);
            } else if (s.flushes === flushes && this.sites.chain(id, target)) {
              // It is reached by the jump from now on: the jump cache need not know it. (Looking up may have dropped all code, and then another site may have this number.)
              s.chained++;
            }
            const to = this.entry(target);
            if (V[Slot.PENDING * 2]! !== 0 || V[Slot.PENDING * 2 + 1]! !== 0 || to < 0) return ExitCode.NEXT;
            y = host.enter(cpu, to);
            continue;
          }
          if (code === ExitCode.PENDING && V[Slot.PENDING * 2 + 1]! !== 0) this.sample(cpu, host);
          if (code !== ExitCode.NEXT) return code as ExitCode;
          moved = true;
          break;
        }
        default:
          throw new VmxError('ERR_INTERNAL', `unknown yield ${y}`);
      }
      if (!moved) {
        y = host.resume(cpu);
        continue;
      }
      const to = this.entryAtPc(cpu);
      if (to < 0) return ExitCode.NEXT;
      y = host.enter(cpu, to);
    }
  }

  /** The run loop has to look at something before the next block. */
  private comesFirst(cpu: GuestCpu): boolean {
    const V = cpu.V;
    return V[Slot.PENDING * 2]! !== 0 || V[Slot.PENDING * 2 + 1]! !== 0 || (cpu.mode & this.o.stepBit) !== 0 || cpu.halted || cpu.shutdown;
  }

  /** Where generated code goes on at PC; -1: something else comes first. */
  private entryAtPc(cpu: GuestCpu): number {
    const V = cpu.V;
    if (this.comesFirst(cpu) || this.onBlock !== null) return -1;
    this.jumps.use(cpu);
    const known = this.jumps.entry(cpu, V[Slot.PC * 2]!, V[Slot.PC * 2 + 1]!);
    if (known >= 0) return known;
    const f = cpu.tryFetch === undefined ? null : cpu.tryFetch();
    if (f === null) {
      const row = this.findAndPut(cpu);
      return row === 0 ? -1 : this.entry(row);
    }
    this.deliver(cpu, f);
    return -1;
  }

  private deliver(cpu: GuestCpu, f: GuestFault): void {
    this.stats.faults++;
    this.between = true;
    cpu.deliverFault(f);
    this.between = false;
  }

  private service(cpu: GuestCpu): void {
    this.between = true;
    cpu.servicePending();
    this.between = false;
  }

  // ---- regions -----------------------------------------------------------------------------------------------

  private get regionsMayBe(): boolean {
    return this.o.passes.regions !== false && this.tool === null && this.onBlock === null && this.stops === null;
  }

  /** Generated code has stopped on its way to PC. */
  private sample(cpu: GuestCpu, host: HostCode): void {
    if (!this.regionsMayBe) return;
    const V = cpu.V;
    const at = this.jumps.entry(cpu, V[Slot.PC * 2]!, V[Slot.PC * 2 + 1]!);
    const row = at < 0 ? 0 : this.sites.ownerAt(at);
    if (row === 0 || this.entry(row) !== at) return;
    const b = this.blocks.view(row);
    if (b.mode !== cpu.mode || b.page2 >= 0) return;
    if (this.hinted.length > 0) this.checkHints(cpu, host);
    if (!this.blocks.holds(b) || (this.spoiled.get(b.ram - b.offset) ?? 0) >= 2) return;
    if (this.heat.sample(b) && !host.nearlyFull && !this.consts.nearlyFull) this.makeRegion(cpu, host, b);
  }

  /** Regions whose hints miss too often are made again with less of these. */
  private checkHints(cpu: GuestCpu, host: HostCode): void {
    // Not more often than could be judged: asking for CPU time is a system call.
    const wall = nowMs();
    if (wall - this.hintsAsked < HINT_CHECK_MS) return;
    this.hintsAsked = wall;
    // CPU time: on a busy host little of the time has been the guest's.
    const now = process.cpuUsage().user / 1000;
    // Which the host may tell in ticks only: a short while cannot be judged.
    if (now - this.hintsSeen < HINT_CHECK_MS) return;
    const most = (now - this.hintsSeen) * HINT_MISSES_PER_MS;
    this.hintsSeen = now;
    const V = cpu.V;
    const regions = this.hinted;
    this.hinted = [];
    for (const b of regions) {
      if (!this.blocks.holds(b)) continue;
      let missed = 0;
      b.hints.forEach((id, k) => {
        if (V[(HINT_MISSES >> 2) + id]! > most) missed |= 1 << k;
      });
      if (missed === 0 || b.mmuIdx !== cpu.mmuIdx || b.mode !== cpu.mode || host.nearlyFull || this.consts.nearlyFull) this.hinted.push(b);
      else this.makeRegion(cpu, host, b, b.hintsOff | missed, b.addendsOff | (b.hintsOff & missed));
    }
    for (const b of regions) for (const id of b.hints) V[(HINT_MISSES >> 2) + id] = 0;
  }

  private makeRegion(cpu: GuestCpu, host: HostCode, head: Block, hintsOff = 0, addendsOff = 0): void {
    const t0 = nowMs();
    const pageOff = head.ram - head.offset;
    const mode = head.mode;
    const fp = (mode & this.o.fpHelperBit) !== 0;
    const aot = this.aot !== null && !this.aot.verify ? this.aot : null;
    const { symbolic } = this.ir;
    /** Guest bytes of the blocks looked at; 0: its addresses are constants, so what it becomes part of is not kept. */
    const extents = new Map<number, number>();
    const region = findLoop(
      head,
      {
        at: (offset) => {
          const row = this.chainable(pageOff / PAGE, offset, mode);
          return row !== 0 ? this.blocks.view(row) : undefined;
        },
        lift: (b) => {
          const ir = this.ir;
          const win: CodeWindow = { buf: this.map.ram8, pos: b.ram, end: pageOff + PAGE, offset: b.offset };
          ir.symbolic = aot !== null;
          ir.begin();
          if (cpu.lifter.lift(win, mode, ir, this.o.maxInsns) !== LiftResult.OK) return null;
          extents.set(b.offset, win.pos - b.ram);
          if (ir.symbolN > 0) {
            extents.set(b.offset, 0);
            ir.symbolic = false;
            win.pos = b.ram;
            win.offset = b.offset;
            ir.begin();
            if (cpu.lifter.lift(win, mode, ir, this.o.maxInsns) !== LiftResult.OK) return null;
          }
          runPasses(ir, cpu.helpers, this.o.passes, fp);
          return ir.copy();
        },
      },
      this.regionIr,
    );
    this.ir.symbolic = symbolic;
    if (region === null) return;
    const block = regionBlock(head, region.from, region.to, region.ir.insns);
    block.hintsOff = hintsOff;
    block.addendsOff = addendsOff;
    const sites = host.compileRegion(region, cpu, block, this.o.mask32(mode), !fp);
    if (sites === null) return;
    if (aot !== null) {
      aot.noteHot(this.map.ram8, head);
      const nodes = region.nodes.map((n) => ({ offset: n.offset, bytes: extents.get(n.offset)! }));
      const out = aot.regionWriter;
      const at = out.n;
      if (nodes.every((n) => n.bytes > 0) && host.captureRegion(region.ir, block, nodes, this.map.ram8, out)) aot.addedRegion(this.map.ram8, head, at);
    }
    this.enterRegion(head.row, block, pageOff);
    this.sites.add(block.row, sites);
    const ns = (nowMs() - t0) * 1e6;
    this.stats.translateNs += ns;
    this.stats.regionNs += ns;
  }

  /** A region takes the place of the block in row `head`. */
  private enterRegion(head: number, block: Block, pageOff: number): void {
    this.invalidate(head);
    this.enterBlock(block, pageOff);
    this.blocks.keepView(block);
    if (block.hints.length > 0) this.hinted.push(block);
    this.stats.regions++;
  }

  /** Takes the region that begins with the block from the code cache. @returns false if it is not there */
  private takeRegion(aot: CodeCache, host: HostCode, head: Block): boolean {
    if (!aot.findRegion(this.map.ram8, head)) return false;
    const { W, at } = aot;
    const pageOff = head.ram - head.offset;
    const { from, to } = regionExtent(W, at);
    const block = regionBlock(head, pageOff + from, pageOff + to, W[at + Rec.GUEST]! >>> 16);
    const start = host.installRegion(W, at, aot.resolve(), block);
    aot.stats.regions++;
    this.enterRegion(head.row, block, pageOff);
    this.sites.addRecord(block.row, W, at, start);
    return true;
  }

  /** Blocks in the page at which an earlier run has found hot loops, and which have just come from the code cache, become regions. */
  private makeHot(cpu: GuestCpu, aot: CodeCache, host: HostCode): void {
    const heads = this.hotHeads;
    this.hotHeads = [];
    for (const row of heads) {
      if (!this.blocks.valid(row) || host.nearlyFull || this.consts.nearlyFull || !this.regionsMayBe) continue;
      const head = this.blocks.view(row);
      if ((this.spoiled.get(head.ram - head.offset) ?? 0) < 2 && !this.takeRegion(aot, host, head)) this.makeRegion(cpu, host, head);
    }
  }

  private describePc(cpu: GuestCpu): string {
    return `${hex64(cpu.V, Slot.PCBASE)}+0x${(cpu.V[Slot.X_INSN * 2]! & 0xffff).toString(16)}`;
  }

  // ---- finding and making blocks -----------------------------------------------------------------------------

  /** Block at PC through the jump cache; fills the cache. 0: as of `find`. */
  private lookup(cpu: GuestCpu): number {
    const V = cpu.V;
    const lo = V[Slot.PC * 2]!;
    const hi = V[Slot.PC * 2 + 1]!;
    this.jumps.use(cpu);
    const cached = this.o.host === null ? this.jumps.row(cpu, lo, hi) : 0;
    return cached !== 0 ? cached : this.findAndPut(cpu);
  }

  private findAndPut(cpu: GuestCpu): number {
    const V = cpu.V;
    const block = this.find(cpu, false);
    // The fetch may have changed the mode.
    this.jumps.use(cpu);
    // Translating may have flushed everything: only now is the entry ours to fill.
    if (block !== 0) this.jumps.put(cpu, V[Slot.PC * 2]!, V[Slot.PC * 2 + 1]!, block);
    return block;
  }

  /**
   * Row of the block at PC by physical address and mode; translates if there is none, unless the code there is cold: that is executed, and what PC is then counts.
   * `single`: one instruction, interpreter only; otherwise 0 if cold code has been executed, and the run loop has to look at something before the next block (`comesFirst`).
   */
  private find(cpu: GuestCpu, single: boolean): number {
    for (;;) {
      const row = this.findOrRun(cpu, single);
      if (row !== 0) return row;
      if (this.comesFirst(cpu)) return 0;
    }
  }

  /** @returns 0 if code has been executed, and PC is somewhere else, or if it would be but for PENDING */
  private findOrRun(cpu: GuestCpu, single: boolean): number {
    const V = cpu.V;
    const pcOff = V[Slot.PC * 2]! & 0xfff;
    const pa = cpu.fetchAddress(single);
    const pageOff = this.map.pageOffset(pa);
    if (pageOff < 0) throw new VmxError('ERR_GUEST_MMIO_FETCH', `the guest executes from non-memory at physical 0x${pa.toString(16)}`);
    const mode = single ? cpu.mode | this.o.stepBit : cpu.mode;
    const row = this.blocks.find(pageOff / PAGE, blockKey(pcOff, mode));
    if (row !== 0) {
      const page2 = this.blocks.R[row * ROW + Bf.PAGE2]!;
      if (page2 < 0) return row;
      if (this.secondPage(cpu) === page2 * PAGE) return row;
      this.invalidate(row);
    }
    if (this.consts.nearlyFull || (this.o.host !== null && this.o.host.nearlyFull)) this.flushTranslations();
    // A tool wants to see every block translated.
    const aot = single || this.tool !== null || this.stops !== null ? null : this.aot;
    const cached = aot !== null && aot.find(this.map.ram8, pageOff, pcOff, mode, this.secondOfActive);
    if (cached && !aot.verify) return this.bringIn(cpu, aot, pageOff, pcOff, mode);
    if (!single && this.mayRunCold && this.cold.run(cpu, pageOff, pcOff)) return 0;
    if (aot !== null && !cached) aot.stats.misses++;
    return this.translate(cpu, pageOff, pcOff, mode, single, aot, cached);
  }

  /** Nobody wants to see blocks. With a code cache everything is translated, too: what is kept makes the next boot faster. */
  private get mayRunCold(): boolean {
    return this.aot === null && this.tool === null && this.stops === null && this.onBlock === null && this.o.host !== null;
  }

  /** Ram offset of the page after the one PC is in, checked for execution. */
  private secondPage(cpu: GuestCpu): number {
    const global = cpu.fetchGlobal;
    const off = this.map.pageOffset(cpu.fetchNextPage());
    cpu.fetchGlobal = cpu.fetchGlobal && global;
    return off;
  }

  /** @param cached what the cache has found is to be compared */
  private translate(cpu: GuestCpu, pageOff: number, pcOff: number, mode: number, single: boolean, aot: CodeCache | null, cached: boolean): number {
    const stops = single ? null : this.stops;
    if (!single) this.cold.translated(cpu, pageOff / PAGE, pcOff);
    const t0 = nowMs();
    const w = this.win;
    w.buf = this.map.ram8;
    w.pos = pageOff + pcOff;
    w.end = pageOff + PAGE;
    w.offset = pcOff;
    let page2 = -1;
    this.ir.begin();
    let start = w.pos;
    const stopOff = stops === null ? PAGE : stops.next(cpu.V[Slot.PC * 2]!, cpu.V[Slot.PC * 2 + 1]!);
    if (stopOff <= pcOff) {
      this.ir.exit(ExitCode.BREAK, pcOff);
      w.pos++;
    } else if (stopOff < PAGE && this.liftUpTo(cpu, pageOff + stopOff, mode)) {
      // The block ends before the breakpoint.
    } else if (cpu.lifter.lift(w, mode, this.ir, single ? 1 : this.o.maxInsns) === LiftResult.NEED_MORE) {
      page2 = this.secondPage(cpu);
      const have = PAGE - pcOff;
      this.span.set(this.map.ram8.subarray(pageOff + pcOff, pageOff + PAGE));
      if (page2 >= 0) this.span.set(this.map.ram8.subarray(page2, page2 + 15), have);
      else this.span.fill(0xff, have, have + 15);
      w.buf = this.span;
      w.pos = start = 0;
      w.end = have + 15;
      w.offset = pcOff;
      this.ir.begin();
      if (cpu.lifter.lift(w, mode, this.ir, 1) === LiftResult.NEED_MORE) throw new VmxError('ERR_INTERNAL', 'instruction needs more than 15 bytes');
    }
    const bytes = w.pos - start;
    const irOps = this.ir.n;
    const tool = this.tool;
    if (tool !== null) tool.lifted(cpu, this.ir, mode, pcOff, w.buf.subarray(start, w.pos), single);
    runPasses(this.ir, cpu.helpers, this.o.passes, (mode & this.o.fpHelperBit) !== 0);
    const mmuIdx = tool !== null && tool.mmuIdx >= 0 ? tool.mmuIdx : cpu.mmuIdx;
    if (mmuIdx !== cpu.mmuIdx) this.jumps.beginFor(mmuIdx, mode);
    const block = new Block(pageOff + pcOff, mode, mmuIdx, bytes, this.ir.insns);
    block.page2 = page2;
    const mask32 = this.o.mask32(mode);
    const host = this.o.host;
    if (host === null || single) {
      block.interp = compileForInterp(this.ir, { mask32 });
      this.enterBlock(block, pageOff);
      this.blocks.keepView(block);
    } else {
      const sites = host.compile(this.ir, cpu, block, mask32, (mode & this.o.fpHelperBit) === 0);
      // Kept as it is before jumps are patched. A page that is no RAM cannot be compared later.
      if (aot !== null && (page2 >= 0 || pcOff + bytes <= PAGE) && (cached || (this.replaced.get(pageOff) ?? 0) < NOT_KEPT)) this.keep(aot, host, block, { buf: w.buf, pos: start, bytes }, cached, page2 >= 0 ? 0 : this.pageAt(pageOff).id);
      this.openSites.length = 0;
      this.enterBlock(block, pageOff);
      this.link(this.sites.add(block.row, sites), pageOff / PAGE, mode);
    }
    if (tool !== null) {
      this.blocks.keepView(block);
      tool.translated(cpu, block, this.ir);
    }
    const s = this.stats;
    s.insns += this.ir.insns;
    s.irOps += irOps;
    s.translateNs += (nowMs() - t0) * 1e6;
    return block.row;
  }

  /** Enters a new block into the table and its pages. */
  private enterBlock(block: Block, pageOff: number): void {
    this.enterRow(this.blocks.addBlock(pageOff / PAGE, this.pageAt(pageOff), block));
  }

  private enterRow(row: number): void {
    this.markCode(row, false);
    const page2 = this.blocks.R[row * ROW + Bf.PAGE2]!;
    if (page2 >= 0) {
      this.markCode(row, true);
      (this.pageAt(page2 * PAGE).tails ??= []).push(row);
    }
    this.stats.blocks++;
  }

  /** The blocks of a page, which is a code page from now on. */
  private pageAt(pageOff: number): CodePage {
    const { pages } = this.blocks;
    let page = pages.get(pageOff / PAGE);
    if (page === undefined) pages.set(pageOff / PAGE, (page = this.newPage(pageOff)));
    return page;
  }

  /** Lifts what lies before `end` in guest RAM. @returns false if that is not even one instruction; nothing has been lifted then. */
  private liftUpTo(cpu: GuestCpu, end: number, mode: number): boolean {
    const w = this.win;
    const { pos } = w;
    w.end = end;
    if (cpu.lifter.lift(w, mode, this.ir, this.o.maxInsns) !== LiftResult.NEED_MORE) return true;
    w.pos = pos;
    w.end = (pos & ~(PAGE - 1)) + PAGE;
    this.ir.begin();
    return false;
  }

  /** Breakpoints of a debugger, or null. Blocks do not run across them. Drops all translations. */
  setStops(stops: Stops | null): void {
    this.stops = stops;
    this.flushTranslations();
  }

  // ---- the code cache (docs/AOT.md) --------------------------------------------------------------------------

  /**
   * A block just entered has the chain sites from row `first` on. Those that lead to blocks which are there jump to them, the others are
   * added to `openSites`.
   */
  private link(first: number, page: number, mode: number): void {
    if (this.onBlock !== null || this.tool !== null) return;
    const { openSites, sites } = this;
    for (let site = first; site <= sites.last; site++) {
      const offset = sites.target(site);
      if ((offset & SITE_CHANGES_MODE) !== 0) continue;
      const target = this.chainable(page, offset, mode);
      if (target === 0) openSites.push(site, offset);
      else if (sites.chainRow(site, target)) this.stats.chained++;
    }
  }

  /** Installs the record that the cache has found, and what it has of the blocks in the page that lead on from there. */
  private bringIn(cpu: GuestCpu, aot: CodeCache, pageOff: number, pcOff: number, mode: number): number {
    const host = this.o.host!;
    const { ram8 } = this.map;
    const { blocks, sites } = this;
    const page = this.pageAt(pageOff);
    const wanted = this.openSites;
    wanted.length = 0;
    const g = aot.group;
    if (g >= 0 && this.bringInGroup(cpu, aot, host, page, pageOff, g)) {
      if (this.hotHeads.length > 0) this.makeHot(cpu, aot, host);
      return blocks.find(pageOff / PAGE, blockKey(pcOff, mode));
    }
    const row = this.install(cpu, aot, host, page, pageOff, pcOff, mode);
    for (let most = BRING_IN; wanted.length > 0 && most > 0; ) {
      const offset = wanted.pop()!;
      const site = wanted.pop()!;
      let target = blocks.find(pageOff / PAGE, blockKey(offset, mode));
      if (target === 0) {
        if (host.nearlyFull || this.consts.nearlyFull || !aot.find(ram8, pageOff, offset, mode, noSecondPage)) continue;
        target = this.install(cpu, aot, host, page, pageOff, offset, mode);
        most--;
      }
      if (blocks.R[target * ROW + Bf.PAGE2]! < 0 && sites.chainRow(site, target)) this.stats.chained++;
    }
    if (this.hotHeads.length === 0) return row;
    this.makeHot(cpu, aot, host);
    return this.blocks.find(pageOff / PAGE, blockKey(pcOff, mode));
  }

  /** Brings in the page group at word g, which the record just found is in. @returns false, with nothing done, if that is not to be (`addPageGroup`) */
  private bringInGroup(cpu: GuestCpu, aot: CodeCache, host: HostCode, info: CodePage, pageOff: number, g: number): boolean {
    const { blocks } = this;
    // Hooks want every block to come back.
    const first = this.onBlock !== null ? 0 : addPageGroup(aot, host, blocks, info, pageOff, g, cpu.mmuIdx);
    if (first === 0) return false;
    const { W, at } = aot;
    const page = pageOff / PAGE;
    const n = blocks.end - first;
    const others = info.n > n ? (offset: number): number => this.chainable(page, offset, W[at + Rec.MODE]!) : null;
    this.stats.chained += this.sites.addGroup(W, g, blocks.groupStart, aot.fits, first, blocks.groupRows, others);
    this.stats.blocks += n;
    this.stats.installed += n;
    for (const k of aot.hotInGroup(g)) this.hotHeads.push(blocks.groupRow(W, g, k));
    aot.usedGroup(g);
    const map = this.map.codeMap;
    if (map !== undefined) for (let i = 0; i < MAP_WORDS; i++) map.words[page * MAP_WORDS + i]! |= blocks.groupMap[i]!;
    return true;
  }

  /** Row of a block of the page that sites may jump to, or 0. One that spans two pages is checked when it is looked up. */
  private chainable(page: number, offset: number, mode: number): number {
    const row = this.blocks.find(page, blockKey(offset, mode));
    return row !== 0 && this.blocks.R[row * ROW + Bf.PAGE2]! < 0 ? row : 0;
  }

  /** Makes a block of the record that the cache has found; adds to `openSites`. */
  private install(cpu: GuestCpu, aot: CodeCache, host: HostCode, info: CodePage, pageOff: number, pcOff: number, mode: number): number {
    const { W, at } = aot;
    const { blocks } = this;
    const page = pageOff / PAGE;
    const row = blocks.add(page, info, pcOff, mode, cpu.mmuIdx, W[at + Rec.GUEST]!);
    aot.used(info.id);
    const start = host.install(W, at, aot.resolve());
    const { R } = blocks;
    const p = row * ROW;
    R[p + Bf.ENTRY_A] = start;
    R[p + Bf.ENTRY_B] = start + W[at + Rec.ENTRY_B]!;
    R[p + Bf.HOST] = W[at + Rec.CODE]!;
    if (aot.page2 >= 0) R[p + Bf.PAGE2] = aot.page2 / PAGE;
    else if (aot.isHot) this.hotHeads.push(row);
    this.enterRow(row);
    this.link(this.sites.addRecord(row, W, at, start), page, mode);
    this.stats.installed++;
    return row;
  }

  /** Gives a block just translated to the cache, or compares it with what the cache has. `page`: `CodePage.id`, 0 if it lies in two. */
  private keep(aot: CodeCache, host: HostCode, block: Block, guest: GuestBytes, cached: boolean, page: number): void {
    if (cached) {
      this.again.n = 0;
      if (!host.capture(this.ir, block, guest, this.again) || !aot.compare(this.again)) aot.different(block);
      return;
    }
    const out = aot.writer;
    const at = out.n;
    if (host.capture(this.ir, block, guest, out)) aot.added(at, page);
    else aot.stats.skipped++;
  }

  /** Sets the code map's bits for the part of the block that lies in one page: its beginning, or its tail in the second one. */
  private markCode(row: number, tail: boolean): void {
    const map = this.map.codeMap;
    if (map === undefined) return;
    const { R } = this.blocks;
    const p = row * ROW;
    const range = R[p + Bf.RANGE]!;
    const first = tail ? 0 : range & 0xffff;
    const last = (tail ? (range & 0xffff) + (R[p + Bf.EXTENT]! & 0xffff) - PAGE : range >> 16) - 1;
    const at = R[p + (tail ? Bf.PAGE2 : Bf.PAGE)]! * MAP_WORDS;
    const { words } = map;
    for (let g = Math.floor(first / CODE_GRANULE); g <= Math.floor(last / CODE_GRANULE); g++) words[at + (g >> 5)]! |= 1 << (g & 31);
  }

  /** Makes the code map's bits of a page those of the blocks that are left (none: page undefined). */
  private remarkCode(page: number, info: CodePage | undefined): void {
    const map = this.map.codeMap;
    if (map === undefined) return;
    const at = page * MAP_WORDS;
    for (let i = 0; i < MAP_WORDS; i++) map.words[at + i] = 0;
    if (info === undefined) return;
    const { R } = this.blocks;
    for (let row = info.first; row !== 0; row = R[row * ROW + Bf.NEXT]!) this.markCode(row, false);
    if (info.tails !== null) for (const row of info.tails) this.markCode(row, true);
  }

  private newPage(pageOff: number): CodePage {
    this.map.codePages[pageOff / PAGE] = 1;
    for (const c of this.cpus) c.noteCodePage(pageOff);
    const page = new CodePage(++this.pageIds);
    page.emptied = this.emptied.get(pageOff) ?? 0;
    return page;
  }

  // ---- invalidation ------------------------------------------------------------------------------------------

  private readonly writes = new WriteRun();

  /** Bytes [off, off+n) of RAM change. `cpuStore`: by an instruction, which is restarted alone if it changes its own block. */
  private codeWrite(off: number, n: number, cpuStore: boolean): void {
    this.stats.codeWrites++;
    const before = this.stats.invalidated;
    const start = off % PAGE;
    const pageOff = off - start;
    const { pages, R } = this.blocks;
    const page = pages.get(pageOff / PAGE);
    if (page === undefined) {
      this.map.codePages[pageOff / PAGE] = 0;
      return;
    }
    const end = start + n;
    const overwrites = this.writes.overwrites(off, n);
    for (let row = page.first; row !== 0; ) {
      const p = row * ROW;
      const next = R[p + Bf.NEXT]!;
      const range = R[p + Bf.RANGE]!;
      if ((range & 0xffff) < end && range >> 16 > start) this.hit(row, cpuStore);
      else if (overwrites && !this.running(row)) this.invalidate(row);
      row = next;
    }
    if (page.tails !== null && page.tails.length > 0) {
      for (const row of [...page.tails]) {
        const p = row * ROW;
        if (start < (R[p + Bf.RANGE]! & 0xffff) + (R[p + Bf.EXTENT]! & 0xffff) - PAGE) this.hit(row, cpuStore);
      }
    }
    if (this.stats.invalidated !== before) this.remarkCode(pageOff / PAGE, page);
    if (page.n !== 0 || (page.tails !== null && page.tails.length !== 0)) {
      page.idle = 0;
      return;
    }
    // Code that is patched again and again: making the page plain memory and back costs more than a few slow writes.
    if (page.idle++ === 0) {
      page.emptied++;
      this.replaced.set(pageOff, (this.replaced.get(pageOff) ?? 0) + 1);
    }
    if (page.emptied < PATCHED_OFTEN || page.idle > STAYS_CODE) {
      pages.delete(pageOff / PAGE);
      this.map.codePages[pageOff / PAGE] = 0;
      if (page.idle > STAYS_CODE) this.emptied.delete(pageOff);
      else this.emptied.set(pageOff, page.emptied);
    }
  }

  private hit(row: number, cpuStore: boolean): void {
    if (cpuStore && this.running(row)) throw this.restart;
    const { R } = this.blocks;
    if ((R[row * ROW + Bf.STATE]! & BlockIs.REGION) !== 0) {
      const pageOff = R[row * ROW + Bf.PAGE]! * PAGE;
      this.spoiled.set(pageOff, (this.spoiled.get(pageOff) ?? 0) + 1);
    }
    this.invalidate(row);
  }

  /** True if it may be the block whose code runs now (more than one instruction: a single one finishes undisturbed). */
  private running(row: number): boolean {
    const { R } = this.blocks;
    const p = row * ROW;
    const extent = R[p + Bf.EXTENT]!;
    if (extent >>> 16 <= 1 || this.between) return false;
    if (this.current === row) return true;
    if (this.o.host === null || this.current !== 0) return false;
    // Generated code: chained blocks are not tracked, but the instruction at hand lies in the block or not.
    const cpu = this.active;
    if (cpu === null) return false;
    const at = cpu.V[Slot.X_INSN * 2]! & 0xffff;
    const range = R[p + Bf.RANGE]!;
    if ((R[p + Bf.STATE]! & BlockIs.REGION) !== 0) return at >= (range & 0xffff) && at <= (range >> 16) - 1;
    const o = range & 0xffff;
    return at >= o && at < o + (extent & 0xffff);
  }

  /** CPU whose slice is running. */
  active: GuestCpu | null = null;

  private invalidate(row: number): void {
    const { R } = this.blocks;
    const p = row * ROW;
    if ((R[p + Bf.STATE]! & BlockIs.VALID) === 0) return;
    this.stats.invalidated++;
    // It may be running: its loop ends at the next look at PENDING.
    if ((R[p + Bf.STATE]! & BlockIs.REGION) !== 0) for (const c of this.cpus) c.V[Slot.PENDING * 2 + 1]! |= Attention.DEADLINE;
    if (R[p + Bf.INCOMING] !== 0) this.sites.unchain(row);
    // The jump caches may still have it.
    if (R[p + Bf.ENTRY_A]! >= 0) this.o.host!.retire(R[p + Bf.ENTRY_A]!);
    this.blocks.remove(row);
  }

  /** Changes between generated code and the interpreter (null). Between slices only. */
  useHost(host: HostCode | null): void {
    this.flushTranslations();
    this.o.host = host;
    this.flushTranslations();
  }

  /** RAM pages have been written by somebody else: drops what was translated from them. One bit per page from ram offset `offset`. */
  pagesWritten(offset: number, dirty: Int32Array, pages: number): void {
    for (let w = 0; w * 32 < pages; w++) {
      for (let bits = dirty[w]!; bits !== 0; bits &= bits - 1) {
        const at = offset + (w * 32 + 31 - Math.clz32(bits & -bits)) * PAGE;
        if (this.map.codePages[at / PAGE]) this.codeWrite(at, PAGE, false);
      }
    }
  }

  /** Drops every translation. */
  flushTranslations(): void {
    this.stats.flushes++;
    for (const page of this.blocks.pages.keys()) {
      this.remarkCode(page, undefined);
      this.map.codePages[page] = 0;
    }
    this.blocks.clear();
    this.cold.clear();
    this.emptied.clear();
    this.replaced.clear();
    this.spoiled.clear();
    this.hinted = [];
    this.sites.clear();
    this.jumps.clear();
    if (this.o.host !== null) for (const c of this.cpus) this.o.host.forgetReturns(c, true);
    this.consts.reset();
    if (this.o.host !== null) this.o.host.reset();
    if (this.tool !== null) this.tool.flushed();
  }
}

function hex64(V: Int32Array, slot: number): string {
  return `0x${(V[slot * 2 + 1]! >>> 0).toString(16)}_${(V[slot * 2]! >>> 0).toString(16).padStart(8, '0')}`;
}
