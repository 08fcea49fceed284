/** What the run loop needs of a code generator for this host and of the memory it writes to. */
import type { GuestCpu } from '../cpu.js';
import type { IrBuilder } from '../ir/builder.js';
import type { Region } from '../ir/region.js';
import type { RecordWriter } from '../aot/record.js';
import type { NodeBytes } from '../aot/region-record.js';
import type { Block } from './block.js';

/** A block's guest code in one piece. */
export interface GuestBytes {
  readonly buf: Uint8Array;
  readonly pos: number;
  readonly bytes: number;
}

/** In a chain site's page offset: the block it goes to is of another mode than the one it is in. */
export const SITE_CHANGES_MODE = 0x1000;

export interface HostCode {
  /** Executable address of code offset 0. */
  readonly address: number;
  /** Executable address for jump cache entries that lead to no block: leaves with ExitCode.NEXT and PC as it was looked up, PCBASE and X_INSN as the branch left them. */
  readonly missAddress: number;
  /** True when the next block may not fit: the engine drops all translations and calls reset. */
  readonly nearlyFull: boolean;
  /** Prepares a vCPU's state region (abort path, stack). */
  attach(cpu: GuestCpu): void;
  /**
   * Code that calls have left to return to must not be found any more: what linear addresses mean has changed. `all`: it does not even
   * exist any more; the CPU is not in the middle of a block.
   */
  forgetReturns(cpu: GuestCpu, all: boolean): void;
  /** Runs from a block entry until the first yield. @returns `Yield` kind. */
  enter(cpu: GuestCpu, entry: number): number;
  /**
   * Executes cold code of a RISC-V guest from its bytes, from PC on (docs/adr/0070); sets PC and ColdAt.EXECUTED. From then on `enter` and `resume` do so,
   * too, while ColdAt.LINKED is set. Absent: this host cannot. @param watched mode bits with which cold code must not run @returns `ColdEnd`
   */
  runCold?(cpu: GuestCpu, watched: number): number;
  /** The host's time-stamp counter, the one op TIME reads. */
  readCounter(cpu: GuestCpu): bigint;
  /** Goes on after a yield other than EXIT and HOST_FAULT. */
  resume(cpu: GuestCpu): number;
  /**
   * Generates code; sets block.entryA, entryB and hostBytes.
   * @returns its chain sites as triples: id, page offset they go to (with SITE_CHANGES_MODE), and what `unpatch` wants to know.
   */
  compile(ir: IrBuilder, cpu: Pick<GuestCpu, 'helpers'>, block: Block, mask32: boolean, nativeFp: boolean): readonly number[];
  /** The same of a region; `block` is its first node's. @returns null if there is no room */
  compileRegion(r: Region, cpu: Pick<GuestCpu, 'helpers'>, block: Block, mask32: boolean, nativeFp: boolean): readonly number[] | null;
  /** Everything about this back end and its options that code depends on: with the same identity records can be exchanged. */
  readonly identity: string;
  /**
   * Appends the block that `compile` has just made of `ir` to `out`, in relocatable form.
   * @returns false if it cannot be kept (too large)
   */
  capture(ir: IrBuilder, block: Block, guest: GuestBytes, out: RecordWriter): boolean;
  /** The same of the region that `compileRegion` has just made of `ir`: its nodes' bytes lie in the block's page of `ram`. */
  captureRegion(ir: IrBuilder, block: Block, nodes: readonly NodeBytes[], ram: Uint8Array, out: RecordWriter): boolean;
  /** As `install`, of a region's record; sets of `block`, which is the region's, what `compileRegion` sets, and its hintsOff and addendsOff. */
  installRegion(W: Int32Array, at: number, slots: Int32Array, block: Block): number;
  /**
   * Makes code of the record at word `at`.
   * @param slots pool slots of the record's constants and symbols
   * @returns the offset at which the code lies; what the record says of it counts from there
   */
  install(W: Int32Array, at: number, slots: Int32Array): number;
  /**
   * Makes code of the page group at word `g`, but for what depends on pool slots.
   * @returns the offset at which the group's code lies
   */
  installGroup(W: Int32Array, g: number): number;
  /** The rest of the group's record at word `at`, whose code begins at `start`. `slots`: as for `install`. */
  installSlots(W: Int32Array, at: number, start: number, slots: Int32Array): void;
  /** Code that belongs to no block, as offsets. */
  stubs(): readonly { name: string; start: number; end: number }[];
  /** The code of a block, for people to read. */
  codeOf(block: Block): Uint8Array;
  /** Makes a chain site jump to code offset `target`. */
  patch(site: number, target: number): void;
  unpatch(site: number, cold: number): void;
  /** The block whose entry for the jump cache is at code offset `entryA` is dropped: who comes there finds nothing (`missAddress`). The code may be running. */
  retire(entryA: number): void;
  /** True if there is no block at a code offset any more, or never was (`missAddress`). */
  retired(entryA: number): boolean;
  /** Forgets all code and sites. */
  reset(): void;
  /** Bytes of code in use. */
  readonly used: number;
}
