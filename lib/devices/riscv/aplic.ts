/**
 * Advanced Platform-Level Interrupt Controller (The RISC-V Advanced Interrupt Architecture 1.0, chapter 4): one at machine level, the root, and
 * its child at supervisor level. It delivers to the harts' lines itself, or by messages; which of the two is fixed, and so is the byte order.
 */
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { array, bool, int, loadState, saveState, struct, u32, type Schema } from '../saved.js';
import { swap32 } from './imsic.js';

const VERSION = 1;
/** A domain's control region, with room for 512 IDC structures. */
export const APLIC_BYTES = 0x8000;
const MAX_HARTS = 512;

/** Registers of a domain (table 4.1). */
const enum Reg {
  DOMAINCFG = 0, SOURCECFG = 0x0004, SOURCECFG_END = 0x1000, MMSIADDRCFG = 0x1bc0, MMSIADDRCFGH = 0x1bc4, SMSIADDRCFG = 0x1bc8, SMSIADDRCFGH = 0x1bcc,
  SETIP = 0x1c00, SETIPNUM = 0x1cdc, IN_CLRIP = 0x1d00, CLRIPNUM = 0x1ddc, SETIE = 0x1e00, SETIENUM = 0x1edc, CLRIE = 0x1f00, CLRIENUM = 0x1fdc,
  SETIPNUM_LE = 0x2000, SETIPNUM_BE = 0x2004, GENMSI = 0x3000, TARGET = 0x3004, TARGET_END = 0x4000, IDC = 0x4000,
}
const IDC_BYTES = 32;
const enum Idc { IDELIVERY = 0, IFORCE = 4, ITHRESHOLD = 8, TOPI = 0x18, CLAIMI = 0x1c }
const DOMAINCFG_READ_ONLY = 0x8000_0000;
const IE = 1 << 8;
const DM = 1 << 2;
/** sourcecfg: delegated to the child; there is one at most, whose index is 0. */
const D = 1 << 10;
/** Source modes. */
const enum Sm { INACTIVE = 0, DETACHED = 1, EDGE1 = 4, EDGE0 = 5, LEVEL1 = 6, LEVEL0 = 7 }
/** Writable bits. */
const MMSIADDRCFGH_MASK = 0x9f77_ffff;
const SMSIADDRCFGH_MASK = 0x0070_0fff;
const LOCK = 0x8000_0000;
/** Bits of target and genmsi: hart index with message, with priority. */
const MSI_MASK = 0xfffc_07ff;
const DIRECT_MASK = 0xfffc_00ff;
const HART_SHIFT = 18;
const EIID = 0x7ff;

interface IdcState {
  idelivery: number;
  iforce: number;
  ithreshold: number;
}
interface DomainState {
  ie: boolean;
  sourcecfg: number[];
  target: number[];
  /** Pending and enable bits in words. */
  ip: number[];
  enabled: number[];
  genmsi: number;
  idc: IdcState[];
}
interface State {
  /** Levels of the wires. */
  level: boolean[];
  machine: DomainState;
  supervisor: DomainState;
  mmsiaddrcfg: number;
  mmsiaddrcfgh: number;
  smsiaddrcfg: number;
  smsiaddrcfgh: number;
}

export interface AplicOptions {
  /** Number of sources; the first is 1. At most 1023. */
  sources: number;
  /** External interrupts of the harts, for direct delivery. */
  machine: readonly IrqLine[];
  supervisor: readonly IrqLine[];
  /** Receives messages (addresses below 2^56): then delivery is by messages. Null: direct. */
  msi: ((address: number, data: number) => void) | null;
}

export class Aplic implements Device {
  readonly name = 'aplic';
  /** Control regions of the domains. */
  readonly machine: IoHandler;
  readonly supervisor: IoHandler;
  /** Interrupt wires by source number; 0 is nothing. */
  readonly irqs: readonly IrqLine[];
  private readonly root: Domain;
  private readonly child: Domain;
  private readonly schema: Schema<State>;
  private s: State;

  constructor(private readonly o: AplicOptions) {
    const harts = o.machine.length;
    if (harts > MAX_HARTS) throw new Error('more harts than a control region has room for');
    const words = (o.sources >> 5) + 1;
    const direct = o.msi === null;
    const bits = array(words, u32);
    const domain: Schema<DomainState> = {
      ie: bool, sourcecfg: array(o.sources + 1, int(0, D)), target: array(o.sources + 1, u32), ip: bits, enabled: bits, genmsi: u32,
      idc: array(direct ? harts : 0, struct<IdcState>({ idelivery: int(0, 1), iforce: int(0, 1), ithreshold: int(0, 0xff) })),
    };
    this.schema = { level: array(o.sources + 1, bool), machine: struct(domain), supervisor: struct(domain), mmsiaddrcfg: u32, mmsiaddrcfgh: u32, smsiaddrcfg: u32, smsiaddrcfgh: u32 };
    const wiring = (supervisor: boolean): DomainWiring => ({
      sources: o.sources, lines: direct ? (supervisor ? o.supervisor : o.machine) : null, has: (i) => !supervisor || this.root.delegates(i), level: (i) => this.s.level[i]!,
      msi: (hart, eiid) => o.msi!(this.msiAddress(hart, supervisor), eiid),
    });
    this.child = new Domain(wiring(true), null);
    this.root = new Domain(wiring(false), this.child);
    this.s = this.fresh();
    this.take(this.s);
    this.irqs = this.s.level.map((_, i) => ({ set: (level: boolean): void => this.setLevel(i, level) }));
    this.machine = { read: (at, size) => this.read(this.root, at, size), write: (at, size, v) => this.write(this.root, at, size, v) };
    this.supervisor = { read: (at, size) => this.read(this.child, at, size), write: (at, size, v) => this.write(this.child, at, size, v) };
  }

  private fresh(): State {
    return {
      level: this.s?.level ?? new Array<boolean>(this.o.sources + 1).fill(false), machine: this.root.fresh(), supervisor: this.child.fresh(),
      mmsiaddrcfg: 0, mmsiaddrcfgh: 0, smsiaddrcfg: 0, smsiaddrcfgh: 0,
    };
  }

  /** What M-mode firmware does first of all: every source belongs to the supervisor, whose messages go where `smsiaddrcfg` and so on say. */
  delegateAll(mmsiaddrcfg: number, mmsiaddrcfgh: number, smsiaddrcfg: number, smsiaddrcfgh: number): void {
    for (let i = 1; i <= this.o.sources; i++) this.write(this.root, Reg.SOURCECFG + (i - 1) * 4, 4, D);
    if (this.o.msi === null) return;
    const values: [Reg, number][] = [[Reg.SMSIADDRCFG, smsiaddrcfg], [Reg.SMSIADDRCFGH, smsiaddrcfgh], [Reg.MMSIADDRCFG, mmsiaddrcfg], [Reg.MMSIADDRCFGH, mmsiaddrcfgh]];
    for (const [at, v] of values) this.write(this.root, at, 4, v);
  }

  private setLevel(i: number, level: boolean): void {
    if (i === 0 || this.s.level[i] === level) return;
    this.s.level[i] = level;
    (this.root.delegates(i) ? this.child : this.root).levelChanged(i);
  }

  /** Address of a message to a hart (4.9.1). */
  private msiAddress(hart: number, supervisor: boolean): number {
    const { s } = this;
    const c = s.mmsiaddrcfgh;
    const lhxw = (c >>> 12) & 15;
    const h = hart & ((1 << lhxw) - 1);
    const g = (hart >>> lhxw) & ((1 << ((c >>> 16) & 7)) - 1);
    const lhxs = ((supervisor ? s.smsiaddrcfgh : c) >>> 20) & 7;
    const groupShift = ((c >>> 24) & 31) + 12;
    // A page number of 44 bits in two words.
    let low = (supervisor ? s.smsiaddrcfg : s.mmsiaddrcfg) | (h << lhxs);
    let high = (supervisor ? s.smsiaddrcfgh : c) & 0xfff;
    if (groupShift < 32) {
      low |= g << groupShift;
      high |= g >>> (32 - groupShift);
    } else {
      high |= g << (groupShift - 32);
    }
    return ((high & 0xfff) * 2 ** 32 + (low >>> 0)) * 4096;
  }

  private read(d: Domain, offset: number, size: number): number {
    if (size !== 4 || offset & 3) return 0;
    if (d === this.root && this.o.msi !== null) {
      const { s } = this;
      if (offset === (Reg.MMSIADDRCFG as number)) return s.mmsiaddrcfg;
      if (offset === (Reg.MMSIADDRCFGH as number)) return s.mmsiaddrcfgh;
      if (offset === (Reg.SMSIADDRCFG as number)) return s.smsiaddrcfg;
      if (offset === (Reg.SMSIADDRCFGH as number)) return s.smsiaddrcfgh;
    }
    return d.read(offset);
  }

  private write(d: Domain, offset: number, size: number, value: number): void {
    if (size !== 4 || offset & 3) return;
    if (offset < Reg.MMSIADDRCFG || offset > Reg.SMSIADDRCFGH) {
      d.write(offset, value);
      return;
    }
    const { s } = this;
    if (d !== this.root || this.o.msi === null || s.mmsiaddrcfgh & LOCK) return;
    if (offset === (Reg.MMSIADDRCFG as number)) s.mmsiaddrcfg = value;
    else if (offset === (Reg.MMSIADDRCFGH as number)) s.mmsiaddrcfgh = (value & MMSIADDRCFGH_MASK) >>> 0;
    else if (offset === (Reg.SMSIADDRCFG as number)) s.smsiaddrcfg = value;
    else s.smsiaddrcfgh = (value & SMSIADDRCFGH_MASK) >>> 0;
  }

  /** Levels belong to those who drive the wires, and stay. */
  reset(): void {
    this.take(this.fresh());
  }

  save(): SavedState {
    return saveState(this.schema, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.take(loadState(this.name, this.schema, VERSION, saved));
  }

  private take(s: State): void {
    this.s = s;
    this.root.take(s.machine);
    this.child.take(s.supervisor);
  }
}

interface DomainWiring {
  sources: number;
  /** External interrupts of the harts; null: messages instead. */
  lines: readonly IrqLine[] | null;
  /** The source is there: in the root, or delegated to the child. */
  has(source: number): boolean;
  /** Level of a wire. */
  level(source: number): boolean;
  msi(hart: number, eiid: number): void;
}

/** Lowest bit of a word that is not 0. */
const lowest = (v: number): number => 31 - Math.clz32(v & -v);

class Domain {
  /** Given by `take`. */
  private s!: DomainState;

  constructor(
    private readonly w: DomainWiring,
    private readonly child: Domain | null,
  ) {}

  fresh(): DomainState {
    const n = this.w.sources + 1;
    const zeros = (count: number): number[] => new Array<number>(count).fill(0);
    const words = (this.w.sources >> 5) + 1;
    return {
      ie: false, sourcecfg: zeros(n), target: zeros(n), ip: zeros(words), enabled: zeros(words), genmsi: 0,
      idc: (this.w.lines ?? []).map(() => ({ idelivery: 0, iforce: 0, ithreshold: 0 })),
    };
  }

  /** State from now on; the domain changes it. Messages that it makes due have been sent before it was saved. */
  take(s: DomainState): void {
    this.s = s;
    if (this.w.lines !== null) this.syncIrq();
  }

  /** The source is the child's. */
  delegates(i: number): boolean {
    return (this.s.sourcecfg[i]! & D) !== 0;
  }

  private active(i: number): boolean {
    return i > 0 && i <= this.w.sources && this.s.sourcecfg[i]! !== 0 && !this.delegates(i);
  }

  private rectified(i: number): boolean {
    const sm: Sm = this.delegates(i) ? Sm.INACTIVE : this.s.sourcecfg[i]!;
    return sm >= Sm.EDGE1 && this.w.level(i) !== (sm === Sm.EDGE0 || sm === Sm.LEVEL0);
  }

  private isLevel(i: number): boolean {
    return this.active(i) && this.s.sourcecfg[i]! >= Sm.LEVEL1;
  }

  private setBit(bits: number[], i: number, on: boolean): void {
    const word = i >> 5;
    bits[word] = (on ? bits[word]! | (1 << (i & 31)) : bits[word]! & ~(1 << (i & 31))) >>> 0;
  }

  /** The wire has changed (4.7). */
  levelChanged(i: number): void {
    if (!this.active(i) || this.s.sourcecfg[i] === (Sm.DETACHED as number)) return;
    const on = this.rectified(i);
    if (on) this.setBit(this.s.ip, i, true);
    else if (this.isLevel(i)) this.setBit(this.s.ip, i, false);
    this.sync();
  }

  /** By a write to setip and the like, if that is possible (4.7). */
  private setPending(i: number): void {
    if (!this.active(i) || (this.isLevel(i) && (this.w.lines !== null || !this.rectified(i)))) return;
    this.setBit(this.s.ip, i, true);
  }

  /** By a write to in_clrip and the like, or a claim. */
  private clearPending(i: number): void {
    if (!this.active(i) || (this.isLevel(i) && this.w.lines !== null)) return;
    this.setBit(this.s.ip, i, false);
  }

  private enable(i: number): void {
    if (this.active(i)) this.setBit(this.s.enabled, i, true);
  }

  private disable(i: number): void {
    if (this.active(i)) this.setBit(this.s.enabled, i, false);
  }

  private forEach(word: number, bits: number, what: (i: number) => void): void {
    for (let rest = bits | 0; rest !== 0; rest &= rest - 1) what(word * 32 + lowest(rest));
  }

  private configure(i: number, value: number): void {
    if (i > this.w.sources || !this.w.has(i)) return;
    const { s } = this;
    const wasActive = this.active(i);
    const wasDelegated = this.delegates(i);
    const sm = value & 7;
    // Modes 2 and 3 are reserved. A domain without a child cannot delegate.
    s.sourcecfg[i] = value & D ? (this.child === null ? 0 : D) : sm === 2 || sm === 3 ? 0 : sm;
    if (wasDelegated && !this.delegates(i)) this.child!.drop(i);
    if (!this.active(i)) this.clear(i);
    // What the fields hold when a source becomes active is not specified; a priority of 0 there is not.
    else if (!wasActive) s.target[i] = this.w.lines === null ? 0 : 1;
    if (this.isLevel(i)) {
      // 4.5.2 lets it become pending by this write.
      if (this.rectified(i)) this.setBit(s.ip, i, true);
      else this.setBit(s.ip, i, false);
    }
  }

  /** It is not delegated to this domain any more. */
  private drop(i: number): void {
    this.s.sourcecfg[i] = 0;
    this.clear(i);
    this.sync();
  }

  private clear(i: number): void {
    this.setBit(this.s.ip, i, false);
    this.setBit(this.s.enabled, i, false);
    this.s.target[i] = 0;
  }

  // ---- delivery ------------------------------------------------------------------------------------------------------------------

  private sync(): void {
    if (this.w.lines === null) this.forward();
    else this.syncIrq();
  }

  /** Sends what is pending and enabled (4.9). */
  private forward(): void {
    const { s } = this;
    if (!s.ie) return;
    for (let word = 0; word < s.ip.length; word++) {
      this.forEach(word, s.ip[word]! & s.enabled[word]!, (i) => {
        this.setBit(s.ip, i, false);
        this.w.msi(s.target[i]! >>> HART_SHIFT, s.target[i]! & EIID);
      });
    }
  }

  /** topi of a hart (4.8.1.4). */
  private topi(hart: number): number {
    const { s } = this;
    const { ithreshold } = s.idc[hart]!;
    let best = ithreshold === 0 ? 0x100 : ithreshold;
    let found = 0;
    for (let word = 0; word < s.ip.length; word++) {
      for (let rest = s.ip[word]! & s.enabled[word]!; rest !== 0; rest &= rest - 1) {
        const i = word * 32 + lowest(rest);
        const t = s.target[i]!;
        if (t >>> HART_SHIFT !== hart || (t & 0xff) >= best) continue;
        best = t & 0xff;
        found = i;
      }
    }
    return found === 0 ? 0 : (found << 16) | best;
  }

  private syncIrq(): void {
    const { ie, idc } = this.s;
    this.w.lines!.forEach((line, hart) => {
      const c = idc[hart]!;
      line.set(ie && c.idelivery === 1 && (c.iforce === 1 || this.topi(hart) !== 0));
    });
  }

  private claim(hart: number): number {
    const v = this.topi(hart);
    if (v === 0) this.s.idc[hart]!.iforce = 0;
    else this.clearPending(v >>> 16);
    this.syncIrq();
    return v;
  }

  // ---- registers ------------------------------------------------------------------------------------------------------------------

  read(offset: number): number {
    const { s } = this;
    if (offset === (Reg.DOMAINCFG as number)) return (DOMAINCFG_READ_ONLY | (s.ie ? IE : 0) | (this.w.lines === null ? DM : 0)) >>> 0;
    if (offset < Reg.SOURCECFG_END) return s.sourcecfg[offset >> 2] ?? 0;
    if (offset >= Reg.IDC) return this.readIdc(Math.floor((offset - Reg.IDC) / IDC_BYTES), offset % IDC_BYTES);
    if (offset >= Reg.TARGET) return s.target[(offset - Reg.GENMSI) >> 2] ?? 0;
    if (offset === (Reg.GENMSI as number)) return s.genmsi;
    const word = (offset & 0x7f) >> 2;
    const array = offset & ~0x7f;
    if (array === (Reg.SETIP as number)) return s.ip[word] ?? 0;
    if (array === (Reg.SETIE as number)) return s.enabled[word] ?? 0;
    if (array !== (Reg.IN_CLRIP as number)) return 0;
    let v = 0;
    for (let bit = 0; bit < 32; bit++) if (word * 32 + bit <= this.w.sources && word + bit > 0 && this.rectified(word * 32 + bit)) v |= 1 << bit;
    return v >>> 0;
  }

  write(offset: number, value: number): void {
    const { s } = this;
    if (offset === (Reg.DOMAINCFG as number)) s.ie = (value & IE) !== 0;
    else if (offset < Reg.SOURCECFG_END) this.configure(offset >> 2, value);
    else if (offset >= Reg.IDC) this.writeIdc(Math.floor((offset - Reg.IDC) / IDC_BYTES), offset % IDC_BYTES, value);
    else if (offset >= Reg.TARGET) this.writeTarget((offset - Reg.GENMSI) >> 2, value);
    else if (offset === (Reg.GENMSI as number)) this.generate(value);
    else this.writeBits(offset, value);
    this.sync();
  }

  private writeTarget(i: number, value: number): void {
    if (!this.active(i)) return;
    if (this.w.lines === null) this.s.target[i] = (value & MSI_MASK) >>> 0;
    else this.s.target[i] = ((value & DIRECT_MASK) | (value & 0xff ? 0 : 1)) >>> 0;
  }

  /** An extempore message (4.5.15), sent at once: Busy is never seen. */
  private generate(value: number): void {
    if (this.w.lines !== null) return;
    this.s.genmsi = (value & MSI_MASK) >>> 0;
    this.w.msi(this.s.genmsi >>> HART_SHIFT, this.s.genmsi & EIID);
  }

  private writeBits(offset: number, value: number): void {
    switch (offset as Reg) {
      case Reg.SETIPNUM:
      case Reg.SETIPNUM_LE:
        this.setPending(value);
        return;
      case Reg.SETIPNUM_BE:
        this.setPending(swap32(value));
        return;
      case Reg.CLRIPNUM:
        this.clearPending(value);
        return;
      case Reg.SETIENUM:
        this.enable(value);
        return;
      case Reg.CLRIENUM:
        this.disable(value);
        return;
      default:
    }
    const word = (offset & 0x7f) >> 2;
    switch ((offset & ~0x7f) as Reg) {
      case Reg.SETIP:
        this.forEach(word, value, (i) => this.setPending(i));
        break;
      case Reg.IN_CLRIP:
        this.forEach(word, value, (i) => this.clearPending(i));
        break;
      case Reg.SETIE:
        this.forEach(word, value, (i) => this.enable(i));
        break;
      case Reg.CLRIE:
        this.forEach(word, value, (i) => this.disable(i));
        break;
      default:
    }
  }

  private readIdc(hart: number, reg: number): number {
    const c = this.s.idc[hart];
    if (c === undefined) return 0;
    switch (reg as Idc) {
      case Idc.IDELIVERY: return c.idelivery;
      case Idc.IFORCE: return c.iforce;
      case Idc.ITHRESHOLD: return c.ithreshold;
      case Idc.TOPI: return this.topi(hart);
      case Idc.CLAIMI: return this.claim(hart);
      default: return 0;
    }
  }

  private writeIdc(hart: number, reg: number, value: number): void {
    const c = this.s.idc[hart];
    if (c === undefined) return;
    if (reg === (Idc.IDELIVERY as number)) c.idelivery = value & 1;
    else if (reg === (Idc.IFORCE as number)) c.iforce = value & 1;
    else if (reg === (Idc.ITHRESHOLD as number)) c.ithreshold = value & 0xff;
  }
}
