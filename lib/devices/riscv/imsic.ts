/**
 * Incoming MSI controller: the interrupt files of one privilege level, one for each hart (The RISC-V Advanced Interrupt Architecture 1.0,
 * chapter 3). Messages arrive in a page for each file; harts reach the rest through CSRs.
 */
import type { InterruptFile } from '../../engine/guest/riscv/aia.js';
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { array, int, loadState, saveState, struct, u32, type Schema } from '../saved.js';

const VERSION = 1;
/** The memory region of a file (3.5). */
export const IMSIC_FILE_BYTES = 0x1000;
const enum Reg { SETEIPNUM_LE = 0, SETEIPNUM_BE = 4 }
/** Registers behind *iselect (3.8). */
const enum Ei { DELIVERY = 0x70, THRESHOLD = 0x72, EIP0 = 0x80, EIE0 = 0xc0 }

interface FileState {
  eidelivery: number;
  eithreshold: number;
  /** 32 identities each. */
  eip: number[];
  eie: number[];
}
interface State {
  files: FileState[];
}

export interface ImsicOptions {
  name: string;
  /** Identities of a file: one less than a multiple of 64, 63 to 2047. */
  identities: number;
  /** The external interrupt of each hart. */
  lines: readonly IrqLine[];
}

export class Imsic implements Device {
  readonly name: string;
  /** The files' regions, one after the other. */
  readonly mmio: IoHandler = { read: () => 0, write: (o, s, v) => this.write(o, s, v) };
  /** By hart. */
  readonly files: readonly InterruptFile[];
  private readonly harts: File[];
  private readonly schema: Schema<State>;

  constructor(o: ImsicOptions) {
    this.name = o.name;
    this.harts = o.lines.map((line) => new File(o.identities, line));
    this.files = this.harts;
    const bits = array((o.identities + 1) / 32, u32);
    this.schema = { files: array(o.lines.length, struct<FileState>({ eidelivery: int(0, 1), eithreshold: int(0, o.identities), eip: bits, eie: bits })) };
  }

  /** Bytes of `mmio`. */
  get bytes(): number {
    return this.harts.length * IMSIC_FILE_BYTES;
  }

  private write(offset: number, size: number, value: number): void {
    const file = this.harts[Math.floor(offset / IMSIC_FILE_BYTES)];
    if (size !== 4 || file === undefined) return;
    const reg = offset % IMSIC_FILE_BYTES;
    if (reg === (Reg.SETEIPNUM_LE as number)) file.receive(value);
    else if (reg === (Reg.SETEIPNUM_BE as number)) file.receive(swap32(value));
  }

  reset(): void {
    for (const f of this.harts) f.reset();
  }

  save(): SavedState {
    return saveState(this.schema, VERSION, { files: this.harts.map((f) => f.s) });
  }

  restore(saved: SavedState): void {
    const { files } = loadState(this.name, this.schema, VERSION, saved);
    this.harts.forEach((f, i) => f.restore(files[i]!));
  }
}

/** A 32-bit value with its bytes in the other order. */
export function swap32(v: number): number {
  return ((v >>> 24) | ((v >>> 8) & 0xff00) | ((v & 0xff00) << 8) | (v << 24)) >>> 0;
}

class File implements InterruptFile {
  lo = 0;
  hi = 0;
  s: FileState;
  private readonly words: number;
  private best = 0;

  constructor(
    private readonly identities: number,
    private readonly line: IrqLine,
  ) {
    this.words = (identities + 1) / 32;
    this.s = this.fresh();
  }

  private fresh(): FileState {
    return { eidelivery: 0, eithreshold: 0, eip: new Array<number>(this.words).fill(0), eie: new Array<number>(this.words).fill(0) };
  }

  /** A message. */
  receive(identity: number): void {
    if (identity === 0 || identity > this.identities) return;
    const w = identity >> 5;
    this.s.eip[w] = (this.s.eip[w]! | (1 << (identity & 31))) >>> 0;
    this.syncIrq();
  }

  private syncIrq(): void {
    const { eip, eie, eithreshold, eidelivery } = this.s;
    let found = 0;
    for (let w = 0; w < this.words; w++) {
      const on = eip[w]! & eie[w]!;
      if (on === 0) continue;
      found = w * 32 + 31 - Math.clz32(on & -on);
      break;
    }
    this.best = eithreshold !== 0 && found >= eithreshold ? 0 : found;
    this.line.set(eidelivery === 1 && this.best !== 0);
  }

  top(): number {
    return this.best;
  }

  claim(): void {
    const i = this.best;
    if (i === 0) return;
    this.s.eip[i >> 5] = (this.s.eip[i >> 5]! & ~(1 << (i & 31))) >>> 0;
    this.syncIrq();
  }

  /** The array and word of eip and eie registers; a word beyond the end is read-only zero. */
  private bits(select: number): number[] {
    return select < Ei.EIE0 ? this.s.eip : this.s.eie;
  }

  read(select: number): boolean {
    this.lo = this.hi = 0;
    if (select < Ei.EIP0) {
      if (select === (Ei.DELIVERY as number)) this.lo = this.s.eidelivery;
      else if (select === (Ei.THRESHOLD as number)) this.lo = this.s.eithreshold;
      // The others are reserved and read as zero.
      return true;
    }
    // Odd ones are RV32's.
    if (select & 1) return false;
    const w = select & 0x3f;
    const bits = this.bits(select);
    this.lo = (bits[w] ?? 0) | 0;
    this.hi = (bits[w + 1] ?? 0) | 0;
    return true;
  }

  write(select: number, lo: number, hi: number): void {
    const { s } = this;
    if (select >= Ei.EIP0) {
      const w = select & 0x3f;
      if (w + 1 >= this.words) return;
      const bits = this.bits(select);
      // There is no identity 0.
      bits[w] = (w === 0 ? lo & ~1 : lo) >>> 0;
      bits[w + 1] = hi >>> 0;
    } else if (select === (Ei.DELIVERY as number)) s.eidelivery = lo & 1;
    // What it cannot hold (it is WLRL) is cut.
    else if (select === (Ei.THRESHOLD as number)) s.eithreshold = Math.min(lo >>> 0, this.identities);
    this.syncIrq();
  }

  reset(): void {
    this.restore(this.fresh());
  }

  restore(s: FileState): void {
    this.s = s;
    this.syncIrq();
  }
}
