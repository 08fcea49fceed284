/**
 * What the executors (interpreter, JIT run loop) need of a guest CPU, and what a guest CPU needs of the machine
 * around it. Addresses on these interfaces: linear addresses are (lo, hi) int32 pairs or slots; physical addresses
 * are numbers below 2^52.
 */
import type { HelperRegistry } from './helpers.js';
import type { IrBuilder } from './ir/builder.js';

/** Bytes that one bit of `PhysicalMap.codeMap` stands for: a power of two, not below the largest scalar access. */
export const CODE_GRANULE = 64;

/** Guest RAM and the map of physical pages. Implemented by lib/memory. */
export interface PhysicalMap {
  /** All guest RAM (and ROM contents), one view. */
  readonly ram8: Uint8Array;
  readonly ram16: Uint16Array;
  readonly ram32: Int32Array;
  readonly ramView: DataView;
  /** Host address of ram8[0], as a number below 2^53. */
  readonly ramAddress: number;
  /** Byte offset in ram8 of the page that holds physical address pa, or -1 (MMIO or nothing). */
  pageOffset(pa: number): number;
  /** True if the page is read-only for the guest (ROM): writes go to `write`. */
  isRom(pa: number): boolean;
  /** MMIO or unmapped space. size 1, 2 or 4 bytes; value is unsigned. Never throws. */
  read(pa: number, size: number): number;
  write(pa: number, size: number, value: number): void;
  /** One byte per RAM page (index = offset >> 12): non-zero while translations of that page exist. */
  readonly codePages: Uint8Array;
  /**
   * One bit per CODE_GRANULE bytes of RAM: clear if no translation covers any of them. Kept by the engine; generated code reads it.
   * Absent: as if all were set.
   */
  readonly codeMap?: { readonly words: Int32Array; readonly address: number };
  /** By stretches of 2 MiB of RAM: whether the CPU has been given a page to write to. Absent: nobody wants to know. */
  readonly written?: Uint8Array;
  /** `written` is 0 for the stretch and becomes 1. */
  firstWrite?(stretch: number): void;
  /** Set by the engine: called before a write to a page whose codePages entry is set (DMA and slow-path stores). */
  onCodeWrite: (ramOffset: number, bytes: number) => void;
  /** The same for writes that are no instruction's, such as a timer's message: does not throw. */
  onDmaCodeWrite: (ramOffset: number, bytes: number) => void;
}

/** I/O ports (x86). size 1, 2 or 4; value is unsigned. Never throws. */
export interface PortSpace {
  portIn(port: number, size: number): number;
  portOut(port: number, size: number, value: number): void;
}

/** Local interrupt controller as the CPU sees it. */
export interface InterruptSource {
  /** Vector to deliver is waiting (already above the priority of the processor). */
  pending(): boolean;
  /** Acknowledge: returns the vector (0..255), or -1 if it went away. */
  acknowledge(): number;
  /** The controller is switched on (APIC_BASE.EN): CPUID shows it. */
  enabled(): boolean;
  /** Sends the interrupt of a command word (delivery mode, vector) to one APIC ID. @returns false if nobody took it. */
  sendTo(apicId: number, command: number): boolean;
  /** Task priority class as CR8 (0..15). */
  getCr8(): number;
  setCr8(v: number): void;
  /** x2APIC and APIC_BASE MSRs. Returns false (and raises nothing) if the MSR is not his or the access is illegal. */
  readMsr(msr: number, out: { lo: number; hi: number }): boolean;
  writeMsr(msr: number, lo: number, hi: number): boolean;
}

/** Guest time. */
export interface GuestClock {
  /** Nanoseconds since machine start; stands still while paused; below 2^53. */
  now(): number;
}

/** Thrown to deliver a guest exception. One preallocated instance per CPU; never leaves the executor. */
export class GuestFault extends Error {
  vector = 0;
  errorCode = 0;
  hasErrorCode = false;
}

/** Translates from guest code to IR. */
export interface CodeWindow {
  /** Bytes to decode from. */
  buf: Uint8Array;
  /** Index of the first byte in buf. */
  pos: number;
  /** Index after the last byte that may be used. */
  end: number;
  /** Page offset (0..4095) of buf[pos]. */
  offset: number;
}

export const enum LiftResult {
  OK = 0,
  /** The first instruction needs bytes past `end`: give a window that spans both pages. */
  NEED_MORE = 1,
}

export interface Lifter {
  /**
   * Decodes from win.pos on and writes IR up to and including a terminator. Stops after maxInsns instructions, at the end
   * of the window, or where the instruction set demands it. `win.pos` is left after the last byte used.
   */
  lift(win: CodeWindow, mode: number, out: IrBuilder, maxInsns: number): LiftResult;
}

export interface GuestCpu {
  readonly index: number;
  /** The state region. */
  readonly V: Int32Array;
  readonly U8: Uint8Array;
  /** Host address of the state region. */
  readonly stateAddress: number;
  readonly helpers: HelperRegistry<never>;
  readonly map: PhysicalMap;
  readonly lifter: Lifter;
  /** Everything besides the bytes that decides what code means; part of a block's key. Kept up to date by the CPU. */
  mode: number;
  /** Current MMU index (TLB and jump cache table); a function of mode. */
  mmuIdx: number;

  /**
   * Physical address of the instruction at PC (slot), checked for execution; throws GuestFault. Sets fetchGlobal, and X_INSN and PCBASE to PC; may change the mode.
   * @param single what follows is this instruction alone, on the interpreter
   */
  fetchAddress(single?: boolean): number;
  /** Physical address of the page after the one PC is in, for an instruction that spans both; faults belong to PC. */
  fetchNextPage(): number;
  /** The last fetch went through a global page (or paging is off): survives FlushKind.NON_GLOBAL. */
  fetchGlobal: boolean;
  /** All of the page of the last fetch may be executed, and does not depend on where in it that was; absent: not known. */
  readonly fetchWhole?: boolean;
  /** A number that tells address spaces apart, as a hint: which translations were good may be good again. Absent with `codePage`. */
  addressSpace?(): number;
  /**
   * RAM page of the code in a linear page (hi:lo, page-aligned) if the processor may know it now: it may be executed in the present mode and has been accessed.
   * Changes nothing. @returns its number, with GLOBAL_PAGE if the translation is global, or -1. Absent: what has been flushed is forgotten.
   */
  codePage?(lo: number, hi: number): number;
  /** The RAM page at this byte offset has got its first translation: no TLB entry may let writes to it pass unseen. */
  noteCodePage(ramOffset: number): void;
  /**
   * Loads and stores that are frequent, without the cost of throwing (microseconds) and of looking at everything twice. @returns undefined: it is done (a load has set all 64
   * bits of dst); a fault: it raises that; null: neither, so `load` or `store` it is. Absent: as if always null.
   */
  tryLoad?(w: number, addr: number, dst: number, acc: number): GuestFault | null | undefined;
  tryStore?(w: number, addr: number, val: number, acc: number): GuestFault | null | undefined;
  /** The same of `fetchAddress`: the fault that it is going to raise, or null. Of a fault, X_INSN and PCBASE are set to PC. */
  tryFetch?(): GuestFault | null;
  /**
   * Executes cold code (docs/adr/0070) from PC on, which lies in the RAM page at `pageOff`, and sets PC. @param run executes what generated code can @returns instructions executed: 0 if the
   * first one is not for here. @throws GuestFault
   */
  runFirst?(pageOff: number, run: (cpu: GuestCpu, watched: number) => number): number;
  /** Memory access by slots, w = 0..3. Fill the TLB on the way. Throw GuestFault. */
  load(w: number, addr: number, dst: number, acc: number): void;
  store(w: number, addr: number, val: number, acc: number): void;
  /** w = 1..5; semantics of LDV/STV. */
  loadVec(w: number, addr: number, dst: number): void;
  storeVec(w: number, addr: number, val: number): void;
  divide(signed: boolean, w: number, quot: number, rem: number, lo: number, hi: number, divisor: number): void;
  segmentCheck(seg: number, off: number, write: boolean, bytes: number): void;
  alignmentFault(): never;
  /** Delivers a thrown GuestFault of the instruction at PCBASE + (X_INSN & 0xffff): sets PC and mode, may triple-fault. */
  deliverFault(f: GuestFault): void;
  /** Called by the run loop between blocks when PENDING is set: takes NMI/INTR if possible. */
  servicePending(): void;
  /** Work owed after each block when mode demands single-instruction blocks (TF, shadow, breakpoints). May deliver #DB. */
  afterStep(): void;
  /** The counter that op TIME stands for, now; null if generated code must not read it. Absent: the CPU has none. */
  counterNow?(): bigint | null;
  /** Set by HLT; cleared when an interrupt is taken. */
  halted: boolean;
  /** Triple fault or shutdown. */
  shutdown: boolean;
  /** Drops cached translations of linear addresses; called by the CPU itself; the run loop hooks it for jump caches. */
  onFlush: (kind: FlushKind, lo: number, hi: number) => void;
}

/** Added to a RAM page: the translation is global. */
export const GLOBAL_PAGE = 0x4000_0000;

export const enum FlushKind {
  /** Everything, all MMU indexes: more than translations may have changed. */
  ALL = 0,
  /** Everything but global pages (CR3 write). */
  NON_GLOBAL = 1,
  /** One page, address in lo, hi. */
  PAGE = 2,
  /**
   * Another address space: everything but global pages is put aside as number lo (-1: dropped), and what was put aside as number hi
   * (-1: nothing) is back.
   */
  SWITCH = 3,
  /** Translations, all of them. */
  TRANSLATIONS = 4,
}
