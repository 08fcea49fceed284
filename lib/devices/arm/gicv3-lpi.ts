/**
 * Locality-specific peripheral interrupts of a GICv3 (ARM IHI 0069H, 5.1, 12.11): per CPU which are pending, and the configuration
 * table in guest memory, which is cached until the ITS is told to forget (INV, INVALL).
 */
import type { GuestMemory, SavedState } from '../device.js';
import { array, bool, bytes, loadState, saveState, struct, u32, type Schema } from '../saved.js';

/** Interrupt numbers of LPIs: 8192 up to 16 bits. */
export const LPI_FIRST = 8192;
export const LPI_ID_BITS = 16;
const LPIS = (1 << LPI_ID_BITS) - LPI_FIRST;
const PRIORITY = 0xfc;
/** Implemented bits of a priority, as for other interrupts. */
const PRIORITY_MASK = 0xf8;
const ENABLE = 1;
const PTZ_HI = 1 << 30;

interface Redistributor {
  enabled: boolean;
  propLo: number;
  propHi: number;
  pendLo: number;
  pendHi: number;
  pending: Uint8Array;
}

const REDIST: Schema<Redistributor> = { enabled: bool, propLo: u32, propHi: u32, pendLo: u32, pendHi: u32, pending: bytes(LPIS / 8) };

interface State {
  config: Uint8Array;
  cpu: Redistributor[];
}

export interface LpiOptions {
  cpus: number;
  memory: GuestMemory;
  /** What is pending at a CPU may have changed. */
  changed: (cpu: number) => void;
}

export class Lpis {
  private s: State;
  /** Pending ones per CPU: most of the time none, and nothing is to be searched. */
  private readonly count: number[];
  private readonly schema: Schema<State>;

  constructor(private readonly o: LpiOptions) {
    this.schema = { config: bytes(LPIS), cpu: array(o.cpus, struct(REDIST)) };
    this.s = this.initial();
    this.count = new Array<number>(o.cpus).fill(0);
  }

  private initial(): State {
    return {
      config: new Uint8Array(LPIS),
      cpu: Array.from({ length: this.o.cpus }, (): Redistributor => ({ enabled: false, propLo: 0, propHi: 0, pendLo: 0, pendHi: 0, pending: new Uint8Array(LPIS / 8) })),
    };
  }

  reset(): void {
    this.s = this.initial();
    this.count.fill(0);
  }

  save(): SavedState {
    return saveState(this.schema, 1, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState('lpi', this.schema, 1, saved);
    for (let c = 0; c < this.o.cpus; c++) this.recount(c);
  }

  private recount(c: number): void {
    let n = 0;
    for (let v of this.s.cpu[c]!.pending) for (; v !== 0; v &= v - 1) n++;
    this.count[c] = n;
  }

  // ---- redistributor registers: GICR_CTLR, GICR_PROPBASER, GICR_PENDBASER ----

  read(c: number, offset: number): number {
    const r = this.s.cpu[c]!;
    switch (offset) {
      case 0x00: return r.enabled ? 1 : 0;
      case 0x70: return r.propLo;
      case 0x74: return r.propHi;
      case 0x78: return r.pendLo;
      // PTZ reads as zero.
      case 0x7c: return (r.pendHi & ~PTZ_HI) >>> 0;
      default: return 0;
    }
  }

  write(c: number, offset: number, v: number): void {
    const r = this.s.cpu[c]!;
    if (offset === 0) {
      if ((v & 1) !== 0 && !r.enabled) this.enable(c);
      return;
    }
    // The tables stay where they are while they are in use.
    if (r.enabled) return;
    if (offset === 0x70) r.propLo = v;
    else if (offset === 0x74) r.propHi = v;
    else if (offset === 0x78) r.pendLo = v;
    else if (offset === 0x7c) r.pendHi = v;
  }

  private static base(lo: number, hi: number, align: number): number {
    return (hi & 0xf_ffff) * 2 ** 32 + ((lo & ~(align - 1)) >>> 0);
  }

  /** EnableLPIs stays set once it is. */
  private enable(c: number): void {
    const r = this.s.cpu[c]!;
    r.enabled = true;
    this.load(0, LPIS);
    if ((r.pendHi & PTZ_HI) === 0 && this.o.memory.readInto(Lpis.base(r.pendLo, r.pendHi, 0x1_0000) + LPI_FIRST / 8, r.pending)) this.recount(c);
    this.o.changed(c);
  }

  // ---- configuration ----

  /** Takes the configuration of n LPIs from i (from 0) on from the table of the first redistributor that has one. */
  private load(i: number, n: number): void {
    const r = this.s.cpu.find((x) => x.enabled);
    if (r === undefined) return;
    const wanted = this.s.config.subarray(i, i + n);
    const there = wanted.subarray(0, Math.max(0, Math.min(n, 2 ** ((r.propLo & 31) + 1) - LPI_FIRST - i)));
    wanted.fill(0);
    // Part of a table is no table.
    if (!this.o.memory.readInto(Lpis.base(r.propLo, r.propHi, 4096) + i, there)) wanted.fill(0);
  }

  /** INV. */
  invalidate(id: number): void {
    if (!this.has(id)) return;
    this.load(id - LPI_FIRST, 1);
    this.changed();
  }

  /** INVALL. */
  invalidateAll(): void {
    this.load(0, LPIS);
    this.changed();
  }

  private changed(): void {
    for (let c = 0; c < this.o.cpus; c++) this.o.changed(c);
  }

  has(id: number): boolean {
    return id >= LPI_FIRST && id < LPI_FIRST + LPIS;
  }

  priority(id: number): number {
    return this.s.config[id - LPI_FIRST]! & PRIORITY & PRIORITY_MASK;
  }

  // ---- pending state ----

  isPending(c: number, id: number): boolean {
    const i = id - LPI_FIRST;
    return ((this.s.cpu[c]!.pending[i >> 3]! >> (i & 7)) & 1) !== 0;
  }

  setPending(c: number, id: number, on: boolean): void {
    if (!this.has(id) || c >= this.o.cpus || this.isPending(c, id) === on) return;
    const i = id - LPI_FIRST;
    this.s.cpu[c]!.pending[i >> 3]! ^= 1 << (i & 7);
    this.count[c]! += on ? 1 : -1;
    this.o.changed(c);
  }

  private distinct(from: number, to: number): boolean {
    return from !== to && from >= 0 && to >= 0 && from < this.o.cpus && to < this.o.cpus;
  }

  /** Moves an LPI that is pending to another CPU. */
  move(from: number, to: number, id: number): void {
    if (!this.distinct(from, to) || !this.has(id) || !this.isPending(from, id)) return;
    this.setPending(from, id, false);
    this.setPending(to, id, true);
  }

  /** Moves all that are pending. */
  moveAll(from: number, to: number): void {
    if (!this.distinct(from, to) || this.count[from] === 0) return;
    const a = this.s.cpu[from]!.pending;
    const b = this.s.cpu[to]!.pending;
    for (let i = 0; i < a.length; i++) b[i]! |= a[i]!;
    a.fill(0);
    this.count[from] = 0;
    this.recount(to);
    this.changed();
  }

  /** The pending and enabled LPI of CPU c with the highest priority, or -1. Lower numbers first. */
  best(c: number): number {
    const r = this.s.cpu[c]!;
    if (!r.enabled || this.count[c] === 0) return -1;
    let best = -1;
    let at = 0x100;
    for (let b = 0; b < r.pending.length; b++) {
      const v = r.pending[b]!;
      if (v === 0) continue;
      for (let k = 0; k < 8; k++) {
        if (((v >> k) & 1) === 0 || (this.s.config[b * 8 + k]! & ENABLE) === 0) continue;
        const p = this.priority(LPI_FIRST + b * 8 + k);
        if (p < at) {
          at = p;
          best = LPI_FIRST + b * 8 + k;
        }
      }
    }
    return best;
  }
}
