/**
 * Performance monitors, PMUv3 (Arm ARM, D11): a cycle counter and event counters. A cycle is a nanosecond of guest time, so cycles are
 * counted by the clock. Instructions and memory accesses are counted one by one: while a counter wants them the CPU steps (Mode.STEP).
 */
import type { Arm64Cpu } from './cpu.js';
import { Mode } from './regs.js';

export const EVENT_COUNTERS = 6;
const CYCLE = 0x8000_0000 | 0;
const IMPLEMENTED = CYCLE | ((1 << EVENT_COUNTERS) - 1);

/** Common events (D11.12). */
const enum Event { SW_INCR = 0x00, INST_RETIRED = 0x08, CPU_CYCLES = 0x11, MEM_ACCESS = 0x13, CHAIN = 0x1e }
/** PMCEID0_EL0: the events above. */
export const PMCEID0 = (1 << Event.SW_INCR) | (1 << Event.INST_RETIRED) | (1 << Event.CPU_CYCLES) | (1 << Event.MEM_ACCESS) | (1 << Event.CHAIN);

const enum Pmcr { E = 1, P = 2, C = 4, D = 8, X = 16, DP = 32, LC = 64 }
/** Filters of PMEVTYPERn_EL0 and PMCCFILTR_EL0: not at EL1, not at EL0. */
const enum Filter { P = 0x8000_0000, U = 0x4000_0000 }
const FILTERS = (Filter.P | Filter.U) | 0;

const TWO32 = 0x1_0000_0000;

/** What the monitors need of the machine. */
export interface PmuWiring {
  /** Guest time in ns. */
  now(): number;
  /** Calls `expired` at a time in ns; Infinity: never. */
  arm(deadline: number): void;
  /** Level of the overflow interrupt. */
  line(level: boolean): void;
}

export class Pmu {
  /** PMSELR_EL0, PMUSERENR_EL0. */
  select = 0;
  userEnable = 0;
  /** Instructions or accesses are counted: the CPU steps. */
  stepping = false;
  /** Some counter runs by the clock: `sync` before the exception level changes. */
  timed = false;
  private pmcr = 0;
  private enabled = 0;
  private overflow = 0;
  private interrupts = 0;
  private filter = 0;
  private readonly types = new Int32Array(EVENT_COUNTERS);
  private readonly counts = new Float64Array(EVENT_COUNTERS);
  /** PMCCNTR_EL0 in two words. */
  private cycleLo = 0;
  private cycleHi = 0;
  /** Time up to which cycles have been counted, and those that PMCR_EL0.D has left over. */
  private last = 0;
  private rest = 0;

  constructor(private readonly cpu: Arm64Cpu, private readonly wiring: PmuWiring) {}

  reset(): void {
    this.select = this.userEnable = this.pmcr = this.enabled = this.overflow = this.interrupts = this.filter = 0;
    this.types.fill(0);
    this.counts.fill(0);
    this.cycleLo = this.cycleHi = this.rest = 0;
    this.update();
  }

  // ---- counting ----

  /** A counter with this filter counts at the present exception level. */
  private counts1(filter: number): boolean {
    return (filter & (this.cpu.mode & Mode.EL1 ? Filter.P : Filter.U)) === 0;
  }

  /** Counts the cycles up to now. */
  sync(): void {
    const now = this.wiring.now();
    const cycles = now - this.last;
    this.last = now;
    if (!this.timed || cycles <= 0) return;
    if (this.enabled & CYCLE && this.counts1(this.filter)) this.addCycles(cycles);
    this.event(Event.CPU_CYCLES, cycles);
  }

  private addCycles(n: number): void {
    const long = (this.pmcr & Pmcr.LC) !== 0;
    if (!long && this.pmcr & Pmcr.D) {
      const all = n + this.rest;
      this.rest = all % 64;
      n = Math.floor(all / 64);
    }
    const lo = this.cycleLo + n;
    this.cycleLo = lo % TWO32;
    const carry = Math.floor(lo / TWO32);
    const hi = this.cycleHi + carry;
    this.cycleHi = hi % TWO32;
    if (long ? hi >= TWO32 : carry > 0) this.overflow |= CYCLE;
  }

  /** n events of a kind, for every counter that counts it. */
  private event(event: Event, n: number, mask = -1): void {
    for (let i = 0; i < EVENT_COUNTERS; i++) {
      if (mask & this.enabled & (1 << i) && (this.types[i]! & 0xffff) === event && this.counts1(this.types[i]!)) this.add(i, n);
    }
  }

  private add(i: number, n: number): void {
    const v = this.counts[i]! + n;
    this.counts[i] = v % TWO32;
    if (v < TWO32) return;
    this.overflow |= 1 << i;
    const odd = i + 1;
    if ((i & 1) === 0 && this.enabled & (1 << odd) && (this.types[odd]! & 0xffff) === Event.CHAIN && this.counts1(this.types[odd]!)) this.add(odd, Math.floor(v / TWO32));
  }

  /** An instruction has been executed while `stepping`. */
  retired(word: number): void {
    if (!this.stepping) return;
    this.event(Event.INST_RETIRED, 1);
    if (accessesMemory(word)) this.event(Event.MEM_ACCESS, 1);
    this.update();
  }

  /** PMSWINC_EL0. */
  softwareIncrement(mask: number): void {
    if ((this.pmcr & Pmcr.E) === 0) return;
    this.event(Event.SW_INCR, 1, mask);
    this.update();
  }

  /** The deadline is there: a counter that runs by the clock has wrapped. */
  expired(): void {
    this.sync();
    this.update();
  }

  private counting(i: number, event: Event): boolean {
    return (this.enabled & (1 << i)) !== 0 && (this.types[i]! & 0xffff) === event;
  }

  /** Registers or counters have changed: interrupt, deadline, mode. */
  private update(): void {
    const on = (this.pmcr & Pmcr.E) !== 0;
    this.wiring.line(on && (this.overflow & this.interrupts) !== 0);
    let stepping = false;
    let timed = on && (this.enabled & CYCLE) !== 0;
    let left = timed && (this.pmcr & Pmcr.LC) === 0 ? (TWO32 - this.cycleLo) * (this.pmcr & Pmcr.D ? 64 : 1) : Infinity;
    for (let i = 0; i < EVENT_COUNTERS && on; i++) {
      if (this.counting(i, Event.CPU_CYCLES)) {
        timed = true;
        left = Math.min(left, TWO32 - this.counts[i]!);
      }
      stepping ||= this.counting(i, Event.INST_RETIRED) || this.counting(i, Event.MEM_ACCESS);
    }
    if (timed && !this.timed) this.last = this.wiring.now();
    this.timed = timed;
    this.wiring.arm(timed && this.interrupts !== 0 ? this.last + left : Infinity);
    if (stepping === this.stepping) return;
    this.stepping = stepping;
    this.cpu.refresh();
  }

  // ---- registers ----

  /** PMCR_EL0: no implementer and identification code, six event counters. */
  get control(): number {
    return (EVENT_COUNTERS << 11) | this.pmcr;
  }
  set control(v: number) {
    this.sync();
    this.pmcr = v & (Pmcr.E | Pmcr.D | Pmcr.X | Pmcr.DP | Pmcr.LC);
    if (v & Pmcr.P) this.counts.fill(0);
    if (v & Pmcr.C) this.cycleLo = this.cycleHi = this.rest = 0;
    this.update();
  }

  get enables(): number {
    return this.enabled;
  }
  /** PMCNTENSET_EL0, PMCNTENCLR_EL0. */
  enable(mask: number, on: boolean): void {
    this.sync();
    this.enabled = on ? this.enabled | (mask & IMPLEMENTED) : this.enabled & ~mask;
    this.update();
  }

  get overflows(): number {
    this.sync();
    return this.overflow;
  }
  /** PMOVSSET_EL0, PMOVSCLR_EL0. */
  setOverflow(mask: number, on: boolean): void {
    this.sync();
    this.overflow = on ? this.overflow | (mask & IMPLEMENTED) : this.overflow & ~mask;
    this.update();
  }

  get interruptEnables(): number {
    return this.interrupts;
  }
  /** PMINTENSET_EL1, PMINTENCLR_EL1. */
  enableInterrupt(mask: number, on: boolean): void {
    this.sync();
    this.interrupts = on ? this.interrupts | (mask & IMPLEMENTED) : this.interrupts & ~mask;
    this.update();
  }

  /** PMCCNTR_EL0 to cpu.outLo, outHi. */
  readCycles(): void {
    this.sync();
    this.cpu.outLo = this.cycleLo | 0;
    this.cpu.outHi = this.cycleHi | 0;
  }
  writeCycles(lo: number, hi: number): void {
    this.sync();
    this.cycleLo = lo >>> 0;
    this.cycleHi = hi >>> 0;
    this.update();
  }

  /** PMEVCNTRn_EL0; counters that do not exist read as zero. */
  readCounter(n: number): number {
    this.sync();
    return n < EVENT_COUNTERS ? this.counts[n]! | 0 : 0;
  }
  writeCounter(n: number, v: number): void {
    this.sync();
    if (n < EVENT_COUNTERS) this.counts[n] = v >>> 0;
    this.update();
  }

  /** PMEVTYPERn_EL0; n = 31: PMCCFILTR_EL0. */
  readType(n: number): number {
    return n === 31 ? this.filter : n < EVENT_COUNTERS ? this.types[n]! : 0;
  }
  writeType(n: number, v: number): void {
    this.sync();
    if (n === 31) this.filter = v & FILTERS;
    else if (n < EVENT_COUNTERS) this.types[n] = v & (FILTERS | 0x3ff);
    this.update();
  }
}

/** Loads and stores (C4.1.88), prefetches excepted. */
function accessesMemory(word: number): boolean {
  if (((word >>> 25) & 5) !== 4) return false;
  const prefetch = (word & 0xffc0_0000) >>> 0 === 0xf980_0000 || ((word & 0xffc0_0000) >>> 0 === 0xf880_0000) || (word & 0xff00_0000) >>> 0 === 0xd800_0000;
  return !prefetch;
}
