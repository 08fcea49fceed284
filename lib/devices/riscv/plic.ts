/** Platform-Level Interrupt Controller (RISC-V PLIC Specification 1.0.0) with level-triggered sources. */
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { array, bool, int, loadState, saveState, u32, type Schema } from '../saved.js';

const VERSION = 1;
export const PLIC_BYTES = 0x60_0000;
const PENDING = 0x1000;
const ENABLE = 0x2000;
const ENABLE_STRIDE = 0x80;
const CONTEXT = 0x20_0000;
const CONTEXT_STRIDE = 0x1000;
const THRESHOLD = 0;
const CLAIM = 4;
const PRIORITY_MASK = 7;

interface State {
  priority: number[];
  /** Levels of the sources. */
  level: boolean[];
  /** Claimed and not completed: the gateway lets no further request through. */
  claimed: boolean[];
  /** Per context: enable bits in words, then threshold. */
  enable: number[][];
  threshold: number[];
}

export interface PlicOptions {
  /** Number of sources; the first is 1. At most 1023. */
  sources: number;
  /** External interrupt of each context. */
  contexts: readonly IrqLine[];
}

export class Plic implements Device {
  readonly name = 'plic';
  readonly mmio: IoHandler = { read: (o, s) => this.read(o, s), write: (o, s, v) => this.write(o, s, v) };
  /** Interrupt inputs by source number; 0 is nothing. */
  readonly irqs: readonly IrqLine[];
  private readonly n: number;
  private readonly words: number;
  private readonly contexts: readonly IrqLine[];
  private readonly schema: Schema<State>;
  private s: State;

  constructor(o: PlicOptions) {
    this.n = o.sources;
    this.words = (o.sources + 32) >> 5;
    this.contexts = o.contexts;
    this.irqs = Array.from({ length: o.sources + 1 }, (_, i) => ({ set: (level: boolean): void => this.setLevel(i, level) }));
    this.schema = {
      priority: array(o.sources + 1, int(0, PRIORITY_MASK)), level: array(o.sources + 1, bool), claimed: array(o.sources + 1, bool),
      enable: array(o.contexts.length, array(this.words, u32)), threshold: array(o.contexts.length, int(0, PRIORITY_MASK)),
    };
    this.s = this.fresh();
  }

  private fresh(): State {
    return {
      priority: new Array<number>(this.n + 1).fill(0), level: this.s?.level ?? new Array<boolean>(this.n + 1).fill(false), claimed: new Array<boolean>(this.n + 1).fill(false),
      enable: this.contexts.map(() => new Array<number>(this.words).fill(0)), threshold: this.contexts.map(() => 0),
    };
  }

  private setLevel(i: number, level: boolean): void {
    if (i === 0 || this.s.level[i] === level) return;
    this.s.level[i] = level;
    this.syncIrq();
  }

  private pending(i: number): boolean {
    return this.s.level[i]! && !this.s.claimed[i]!;
  }

  /** Highest pending source that context c has enabled above its threshold; ties go to the lowest number. 0: none. */
  private best(c: number): number {
    const { s } = this;
    const enable = s.enable[c]!;
    let found = 0;
    let top = s.threshold[c]!;
    for (let i = 1; i <= this.n; i++) {
      if (s.level[i] && !s.claimed[i] && s.priority[i]! > top && (enable[i >> 5]! >>> (i & 31)) & 1) {
        found = i;
        top = s.priority[i]!;
      }
    }
    return found;
  }

  private syncIrq(): void {
    this.contexts.forEach((line, c) => line.set(this.best(c) !== 0));
  }

  private read(offset: number, size: number): number {
    if (size !== 4 || offset & 3) return 0;
    const { s } = this;
    if (offset < PENDING) return s.priority[offset >> 2] ?? 0;
    if (offset < ENABLE) {
      const w = (offset - PENDING) >> 2;
      let v = 0;
      for (let i = 0; i < 32; i++) if (w * 32 + i <= this.n && this.pending(w * 32 + i)) v |= 1 << i;
      return v >>> 0;
    }
    if (offset < CONTEXT) return s.enable[Math.floor((offset - ENABLE) / ENABLE_STRIDE)]?.[((offset - ENABLE) % ENABLE_STRIDE) >> 2] ?? 0;
    const c = Math.floor((offset - CONTEXT) / CONTEXT_STRIDE);
    const r = offset % CONTEXT_STRIDE;
    if (c >= this.contexts.length) return 0;
    if (r === THRESHOLD) return s.threshold[c]!;
    if (r !== CLAIM) return 0;
    const i = this.best(c);
    if (i !== 0) {
      s.claimed[i] = true;
      this.syncIrq();
    }
    return i;
  }

  private write(offset: number, size: number, value: number): void {
    if (size !== 4 || offset & 3) return;
    const { s } = this;
    if (offset < PENDING) {
      const i = offset >> 2;
      if (i > 0 && i <= this.n) s.priority[i] = value & PRIORITY_MASK;
    } else if (offset >= ENABLE && offset < CONTEXT) {
      const e = s.enable[Math.floor((offset - ENABLE) / ENABLE_STRIDE)];
      const w = ((offset - ENABLE) % ENABLE_STRIDE) >> 2;
      // Source 0 does not exist.
      if (e !== undefined && w < this.words) e[w] = w === 0 ? (value & ~1) >>> 0 : value;
    } else if (offset >= CONTEXT) {
      const c = Math.floor((offset - CONTEXT) / CONTEXT_STRIDE);
      const r = offset % CONTEXT_STRIDE;
      if (c >= this.contexts.length) return;
      if (r === THRESHOLD) s.threshold[c] = value & PRIORITY_MASK;
      else if (r === CLAIM && value <= this.n && (s.enable[c]![value >> 5]! >>> (value & 31)) & 1) s.claimed[value] = false;
    }
    this.syncIrq();
  }

  /** Levels belong to those who drive the lines, and stay. */
  reset(): void {
    this.s = this.fresh();
    this.syncIrq();
  }

  save(): SavedState {
    return saveState(this.schema, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, this.schema, VERSION, saved);
    this.syncIrq();
  }
}
