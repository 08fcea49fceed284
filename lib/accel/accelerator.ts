/**
 * What the machine's loop needs of a hypervisor that executes vCPUs on threads of its own. Each vCPU is an X86Cpu whose state
 * lives either there or here: the accelerator decides, the loop asks. Where no accelerator owns a CPU, the engine runs it.
 */
import type { SliceEnd } from '../engine/jit/engine.js';

/** What a CPU needs in this round of the machine's loop. */
export const enum Turn {
  /** The engine runs it: its state is here. */
  ENGINE = 0,
  /** The hypervisor runs it; there is nothing to do until it reports. */
  BUSY = 1,
  /** It executes HLT and nothing is pending. */
  HALTED = 2,
  /** Triple fault. */
  SHUTDOWN = 3,
}

/** How often and why the hypervisor stopped, and who ran how long. Times in ns. */
export interface AccelStats {
  /** What was chosen for kernel mode, and the measurement that it rests on, ns an instruction. */
  kernelMode: 'kvm' | 'engine';
  kernelNsPerInsn: number;
  /** Exits by kind. */
  exits: Record<string, number>;
  /** State moved to the engine, by reason; and back. */
  fallbacks: Record<string, number>;
  returns: number;
  /** Writes to memory-like windows (VGA's) that did not leave the hypervisor one by one. */
  collectedWrites: number;
  /** Writes to devices' doorbells that did not leave it at all. */
  doorbells: number;
  /** Interrupt controllers that are the hypervisor's, and interrupt messages that it was given. */
  irqchip: 'off' | 'split' | 'full';
  messages: number;
  /** The most frequent instructions that the hypervisor could not execute: bytes and count. */
  instructions: Record<string, number>;
  /** Time the vCPUs spent in the hypervisor, and on the engine because of it. */
  remoteNs: number;
  engineNs: number;
  /**
   * Mailbox round trips, from a vCPU thread's report to its next command: count, of which found while the thread was spinning, and
   * the median rounded up to 250 ns (Infinity, which JSON shows as null, above 10 us). `here`: runs on the machine's own thread, which need no mailbox.
   */
  roundTrips: { count: number; hot: number; medianNs: number; here: number };
}

export interface Accelerator {
  readonly name: 'kvm';
  /** State of CPU i is with the hypervisor. */
  owns(i: number): boolean;
  /** CPU whose exit is being served, or -1: devices ask which CPU accesses them. */
  readonly serving: number;
  /** Serves what CPU i has reported, starts it again, or moves its state between hypervisor and engine. */
  turn(i: number): Turn;
  /** The engine is about to run CPU i: @returns how long at most, ns, and in how many instructions (Infinity: no limit). */
  before(i: number): { ns: number; insns: number; shadow: boolean };
  /** The engine has run it. */
  after(i: number, end: SliceEnd): void;
  /** The interrupt line of CPU i may have changed. */
  attention(i: number): void;
  nmi(i: number): void;
  /** INIT or SIPI has been signalled to CPU i. */
  event(i: number): void;
  /** The memory map has changed. */
  remapped(): void;
  /** All CPUs are busy or halted. @returns true if one has reported meanwhile, so that another round is worth while. */
  linger(): boolean;
  /** A vCPU runs on the machine's own thread and wants to go on: no time to sleep. */
  readonly runnable: boolean;
  /** Waits until no vCPU executes; they stay where they are. */
  quiesce(): void;
  /** Moves every CPU's state to the engine. */
  recall(): void;
  /**
   * A debugger's breakpoints from now on: linear addresses, low and high word; `watching`: it has watchpoints, too. What the hypervisor
   * cannot keep, the engine does, which then executes alone.
   */
  debug(points: readonly (readonly [number, number])[], watching: boolean): void;
  /** Forgets the state of CPUs: they are about to be reset. */
  abandon(): void;
  /** Whether the hypervisor shall be used (a running machine may be switched). Off: recalls. */
  enable(on: boolean): void;
  stats(): AccelStats;
  /** Ends threads and closes descriptors. */
  dispose(): void;
}
