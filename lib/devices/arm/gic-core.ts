/**
 * The interrupt state that GICv2 and GICv3 share (ARM IHI 0048B, IHI 0069H): per interrupt enable, pending, active, group,
 * priority, configuration and target; per CPU the priority mask, binary points, group enables and active priorities. One
 * security state; five bits of priority. SGIs and PPIs are banked: interrupt n < 32 of CPU c has index c * 32 + n, SPI n has
 * index cpus * 32 + n - 32.
 */
import type { SavedState } from '../device.js';
import { LPI_FIRST, type Lpis } from './gicv3-lpi.js';
import { array, bytes, int, loadState, saveState, u32, u8, words, type Schema } from '../saved.js';

export const PRIVATE = 32;
/** No interrupt. */
export const SPURIOUS = 1023;
/** Implemented bits of a priority. */
const PRIORITY_MASK = 0xf8;
/** Running priority when nothing is active. */
const IDLE = 0x100;

/** Flags of one interrupt. */
export const enum Fg {
  ENABLED = 1,
  /** Latched: an edge, or software. */
  PENDING = 2,
  ACTIVE = 4,
  /** Group 1. */
  GROUP1 = 8,
  /** Edge-triggered. */
  EDGE = 16,
  /** The input is high. */
  LEVEL = 32,
}

interface CpuInterface {
  pmr: number;
  /** Binary points of groups 0 and 1. */
  bpr0: number;
  bpr1: number;
  /** Active priorities: one bit per group priority (priority >> 3). */
  apr0: number;
  apr1: number;
  grp0: number;
  grp1: number;
  /** GICC_CTLR or ICC_CTLR_EL1 without the group enables. */
  ctlr: number;
}

interface State {
  ctlr: number;
  flags: Uint8Array;
  priority: Uint8Array;
  /** Target CPU of each SPI as a mask (v2) or an index (v3). */
  target: Int32Array;
  /** v2: CPUs that have sent SGI n to CPU c, as masks; index c * 16 + n. */
  sgiSource: Int32Array;
  cpu: CpuInterface[];
}

const CPU: Schema<CpuInterface> = { pmr: u8, bpr0: int(0, 7), bpr1: int(0, 7), apr0: u32, apr1: u32, grp0: int(0, 1), grp1: int(0, 1), ctlr: u32 };
const cpuRule = { save: (v: CpuInterface): unknown => ({ ...v }), load: (raw: unknown, at: string): CpuInterface => loadState(at, CPU, 1, { version: 1, ...(raw as object) }) };

export interface GicOptions {
  cpus: number;
  /** Number of SPIs, a multiple of 32 minus nothing: 32..960. */
  spis: number;
  /** 2 or 3. */
  version: 2 | 3;
  /** The interrupt outputs of a CPU may have changed. */
  changed: (cpu: number) => void;
  /** GICv3 with LPIs. */
  lpis?: Lpis | null;
}

export class GicCore {
  readonly cpus: number;
  readonly spis: number;
  readonly version: 2 | 3;
  /** Outputs per CPU. */
  readonly irq: boolean[];
  readonly fiq: boolean[];
  s: State;
  private readonly changed: (cpu: number) => void;
  private readonly lpis: Lpis | null;
  private readonly schema: Schema<State>;
  private readonly count: number;

  constructor(o: GicOptions) {
    this.cpus = o.cpus;
    this.spis = o.spis;
    this.version = o.version;
    this.changed = o.changed;
    this.lpis = o.lpis ?? null;
    this.count = o.cpus * PRIVATE + o.spis;
    this.irq = new Array<boolean>(o.cpus).fill(false);
    this.fiq = new Array<boolean>(o.cpus).fill(false);
    this.schema = {
      ctlr: u32, flags: bytes(this.count), priority: bytes(this.count), target: words(o.spis), sgiSource: words(o.cpus * 16), cpu: array(o.cpus, cpuRule),
    };
    this.s = this.initial();
  }

  private initial(): State {
    const cpu = Array.from({ length: this.cpus }, (): CpuInterface => ({ pmr: 0, bpr0: 2, bpr1: 3, apr0: 0, apr1: 0, grp0: 0, grp1: 0, ctlr: 0 }));
    const s: State = {
      ctlr: 0,
      flags: new Uint8Array(this.count),
      priority: new Uint8Array(this.count),
      target: new Int32Array(this.spis),
      sgiSource: new Int32Array(this.cpus * 16),
      cpu,
    };
    // SGIs are edge-triggered; GICv2's are always enabled in many implementations, but resetting them disabled is allowed too.
    for (let c = 0; c < this.cpus; c++) for (let n = 0; n < 16; n++) s.flags[c * PRIVATE + n] = Fg.EDGE | (this.version === 2 ? Fg.ENABLED : 0);
    return s;
  }

  reset(): void {
    const old = this.s.flags;
    this.s = this.initial();
    for (let i = 0; i < this.count; i++) this.s.flags[i]! |= old[i]! & Fg.LEVEL;
    this.updateAll();
  }

  save(): SavedState {
    return saveState(this.schema, 1, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState('gic', this.schema, 1, saved);
    this.updateAll();
  }

  /** Index of interrupt n as CPU c sees it, or -1. LPIs come after all others. */
  index(c: number, n: number): number {
    if (this.lpis?.has(n) === true) return this.count + n - LPI_FIRST;
    if (n < PRIVATE) return c * PRIVATE + n;
    return n < PRIVATE + this.spis ? this.cpus * PRIVATE + n - PRIVATE : -1;
  }

  // ---- inputs ----

  setSpi(n: number, level: boolean): void {
    this.input(this.cpus * PRIVATE + n, level);
  }

  setPpi(c: number, n: number, level: boolean): void {
    this.input(c * PRIVATE + n, level);
  }

  private input(i: number, level: boolean): void {
    const f = this.s.flags[i]!;
    if (((f & Fg.LEVEL) !== 0) === level) return;
    let now = level ? f | Fg.LEVEL : f & ~Fg.LEVEL;
    if (level && f & Fg.EDGE) now |= Fg.PENDING;
    this.s.flags[i] = now;
    this.updateFor(i);
  }

  // ---- state changes by registers ----

  setFlags(i: number, set: number, clear: number): void {
    const f = this.s.flags;
    const now = (f[i]! & ~clear) | set;
    if (now === f[i]) return;
    f[i] = now;
  }

  /** Group 1: all LPIs are. */
  isGroup1(i: number): boolean {
    return i >= this.count || (this.s.flags[i]! & Fg.GROUP1) !== 0;
  }

  private priorityOf(i: number): number {
    return i >= this.count ? this.lpis!.priority(this.number(i)) : this.s.priority[i]!;
  }

  isPending(i: number): boolean {
    const f = this.s.flags[i]!;
    return (f & Fg.PENDING) !== 0 || (f & (Fg.LEVEL | Fg.EDGE)) === Fg.LEVEL;
  }

  setPriority(i: number, p: number): void {
    this.s.priority[i] = p & PRIORITY_MASK;
  }

  /** True if SPI k (from 0) goes to CPU c. */
  private targets(k: number, c: number): boolean {
    const t = this.s.target[k]!;
    // With one CPU GICv2 has no target registers (IHI 0048B, 4.3.12: read as zero, ignore writes): all goes there.
    if (this.version === 2) return this.cpus === 1 || ((t >> c) & 1) !== 0;
    return t === c || (t === -1 && c === 0);
  }

  /** Makes SGI n pending at CPU `to`. */
  sendSgi(to: number, n: number, from: number): void {
    const i = to * PRIVATE + n;
    this.s.flags[i]! |= Fg.PENDING;
    this.s.sgiSource[to * 16 + n]! |= 1 << from;
    this.update(to);
  }

  // ---- outputs ----

  private updateFor(i: number): void {
    if (i < this.cpus * PRIVATE) this.update(Math.floor(i / PRIVATE));
    else this.updateAll();
  }

  updateAll(): void {
    for (let c = 0; c < this.cpus; c++) this.update(c);
  }

  /** Index of the highest priority pending interrupt of CPU c that its group enables let through, or -1. */
  best(c: number): number {
    const s = this.s;
    const cpu = s.cpu[c]!;
    const groups = ((s.ctlr & 1) !== 0 && cpu.grp0 ? 1 : 0) | ((s.ctlr & 2) !== 0 && cpu.grp1 ? 2 : 0);
    if (groups === 0) return -1;
    let best = -1;
    let at = IDLE;
    const look = (i: number): void => {
      const f = s.flags[i]!;
      if ((f & (Fg.ENABLED | Fg.ACTIVE)) !== Fg.ENABLED) return;
      if ((f & Fg.PENDING) === 0 && (f & (Fg.LEVEL | Fg.EDGE)) !== Fg.LEVEL) return;
      if ((groups & (f & Fg.GROUP1 ? 2 : 1)) === 0) return;
      if (s.priority[i]! < at) {
        at = s.priority[i]!;
        best = i;
      }
    };
    for (let n = 0; n < PRIVATE; n++) look(c * PRIVATE + n);
    const base = this.cpus * PRIVATE;
    for (let k = 0; k < this.spis; k++) if (s.flags[base + k]! & (Fg.PENDING | Fg.LEVEL) && this.targets(k, c)) look(base + k);
    if (this.lpis === null || (groups & 2) === 0) return best;
    const lpi = this.lpis.best(c);
    return lpi >= 0 && this.lpis.priority(lpi) < at ? this.index(c, lpi) : best;
  }

  /** Group priority of p: the bits that preempt. */
  private groupPriority(c: number, p: number, group1: boolean): number {
    const cpu = this.s.cpu[c]!;
    // With one common binary point (CBPR), group 1 uses that of group 0.
    const common = (cpu.ctlr & (this.version === 2 ? 0x10 : 1)) !== 0;
    const bpr = group1 && !common ? Math.max(cpu.bpr1, 1) - 1 : cpu.bpr0;
    return p & ~((2 << bpr) - 1);
  }

  /** Priority of what CPU c handles now, 0..0xff, or 0x100. */
  running(c: number): number {
    const cpu = this.s.cpu[c]!;
    const a = cpu.apr0 | cpu.apr1;
    return a === 0 ? IDLE : (31 - Math.clz32(a & -a)) << 3;
  }

  /** Recomputes the outputs of CPU c. */
  update(c: number): void {
    const s = this.s;
    const i = this.best(c);
    let irq = false;
    let fiq = false;
    if (i >= 0) {
      const p = this.priorityOf(i);
      const group1 = this.isGroup1(i);
      if (p < s.cpu[c]!.pmr && this.groupPriority(c, p, group1) < this.running(c)) {
        // GICv2: group 0 uses FIQ only if asked to (GICC_CTLR.FIQEn).
        if (group1 || (this.version === 2 && (s.cpu[c]!.ctlr & 8) === 0)) irq = true;
        else fiq = true;
      }
    }
    if (irq === this.irq[c] && fiq === this.fiq[c]) return;
    this.irq[c] = irq;
    this.fiq[c] = fiq;
    this.changed(c);
  }

  /** Interrupt number of index i. */
  number(i: number): number {
    if (i >= this.count) return i - this.count + LPI_FIRST;
    return i < this.cpus * PRIVATE ? i % PRIVATE : i - this.cpus * PRIVATE + PRIVATE;
  }

  /** Acknowledges the best pending interrupt of the wanted group for CPU c: it becomes active. @returns its index or -1. */
  acknowledge(c: number, group1: boolean): number {
    const i = this.best(c);
    if (i < 0 || (!this.irq[c] && !this.fiq[c]) || this.isGroup1(i) !== group1) return -1;
    const s = this.s;
    const p = this.groupPriority(c, this.priorityOf(i), group1);
    const cpu = s.cpu[c]!;
    if (group1) cpu.apr1 = (cpu.apr1 | (1 << (p >> 3))) >>> 0;
    else cpu.apr0 = (cpu.apr0 | (1 << (p >> 3))) >>> 0;
    // LPIs have no active state.
    if (i >= this.count) this.lpis!.setPending(c, this.number(i), false);
    else s.flags[i] = (s.flags[i]! | Fg.ACTIVE) & ~Fg.PENDING;
    return i;
  }

  /** End of interrupt: the highest active priority of the group drops; `deactivate` index i too if it is not negative. */
  end(c: number, group1: boolean, i: number): void {
    const cpu = this.s.cpu[c]!;
    if (group1) cpu.apr1 = (cpu.apr1 & (cpu.apr1 - 1)) >>> 0;
    else cpu.apr0 = (cpu.apr0 & (cpu.apr0 - 1)) >>> 0;
    if (i >= 0 && i < this.count) this.s.flags[i]! &= ~Fg.ACTIVE;
    if (i >= this.cpus * PRIVATE && i < this.count) this.updateAll();
    else this.update(c);
  }

  deactivate(i: number): void {
    if (i < 0 || i >= this.count) return;
    this.s.flags[i]! &= ~Fg.ACTIVE;
    this.updateFor(i);
  }

  // ---- register files that v2 and v3 have in common ----

  /** Reads one of the bit-per-interrupt registers: flags that make a bit 1. first: number of the interrupt of bit 0. */
  readBits(c: number, first: number, what: 'enabled' | 'pending' | 'active' | 'group'): number {
    let v = 0;
    for (let k = 0; k < 32; k++) {
      const i = this.index(c, first + k);
      if (i < 0) break;
      const f = this.s.flags[i]!;
      const on = what === 'enabled' ? f & Fg.ENABLED : what === 'active' ? f & Fg.ACTIVE : what === 'group' ? f & Fg.GROUP1 : this.isPending(i) ? 1 : 0;
      if (on) v |= 1 << k;
    }
    return v >>> 0;
  }

  /** Sets or clears the flag for each 1 bit of v; with `both`, 0 bits clear it. */
  writeBits(c: number, first: number, v: number, flag: Fg, set: boolean, both = false): void {
    for (let k = 0; k < 32; k++) {
      const i = this.index(c, first + k);
      if (i < 0) break;
      if ((v >>> k) & 1) this.setFlags(i, set ? flag : 0, set ? 0 : flag);
      else if (both) this.setFlags(i, 0, flag);
    }
    if (first < PRIVATE) this.update(c);
    else this.updateAll();
  }

  readPriorities(c: number, first: number, size: number): number {
    let v = 0;
    for (let k = size - 1; k >= 0; k--) {
      const i = this.index(c, first + k);
      v = v * 256 + (i < 0 ? 0 : this.s.priority[i]!);
    }
    return v;
  }

  writePriorities(c: number, first: number, size: number, v: number): void {
    for (let k = 0; k < size; k++) {
      const i = this.index(c, first + k);
      if (i >= 0) this.setPriority(i, (v >>> (8 * k)) & 0xff);
    }
    if (first < PRIVATE) this.update(c);
    else this.updateAll();
  }

  /** GICD_ICFGR: two bits per interrupt, the upper one says edge. */
  readConfig(c: number, first: number): number {
    let v = 0;
    for (let k = 0; k < 16; k++) {
      const i = this.index(c, first + k);
      if (i >= 0 && this.s.flags[i]! & Fg.EDGE) v |= 2 << (2 * k);
    }
    return v >>> 0;
  }

  writeConfig(c: number, first: number, v: number): void {
    if (first < 16) return;
    for (let k = 0; k < 16; k++) {
      const i = this.index(c, first + k);
      if (i >= 0) this.setFlags(i, (v >>> (2 * k)) & 2 ? Fg.EDGE : 0, (v >>> (2 * k)) & 2 ? 0 : Fg.EDGE);
    }
    this.updateAll();
  }

  /** GICD_TYPER.ITLinesNumber. */
  get lines(): number {
    return (PRIVATE + this.spis) / 32 - 1;
  }
}

/** Registers of 32 bits read through a window of 1, 2 or 4 bytes. */
export function part(v: number, offset: number, size: number): number {
  const r = v >>> ((offset & 3) * 8);
  return size === 4 ? r : size === 2 ? r & 0xffff : r & 0xff;
}
