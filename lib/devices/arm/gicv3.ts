/** GICv3 (ARM IHI 0069H): distributor, redistributors and the system-register CPU interface; one security state, affinity routing always on. */
import type { Device, GuestMemory, IoHandler, SavedState } from '../device.js';
import { Fg, GicCore, PRIVATE, SPURIOUS, part } from './gic-core.js';
import { LPI_FIRST, LPI_ID_BITS, Lpis } from './gicv3-lpi.js';

export interface GicV3Options {
  cpus: number;
  spis: number;
  changed: (cpu: number) => void;
  /** MPIDR affinity fields of CPU i (Aff3..0 as bytes 3..0 of the number). */
  affinity: (cpu: number) => number;
  /** Guest memory: there are LPIs. Absent: there are none, and no ITS. */
  memory?: GuestMemory;
}

/** Bytes of one redistributor: RD_base and SGI_base. */
export const GICR_STRIDE = 0x2_0000;
const IIDR = 0x0000_043b;
/** PIDR2.ArchRev = 3. */
const PIDR2 = 0x3b;
/** GICD_CTLR: ARE and DS read as one. */
const CTLR_FIXED = 0x50;
/** GICD_TYPER: bits of interrupt ID, and that there are LPIs. */
const ID_BITS = 9 << 19;
const ID_BITS_LPI = ((LPI_ID_BITS - 1) << 19) | (1 << 17);

export class GicV3 implements Device {
  readonly name = 'gicv3';
  readonly core: GicCore;
  readonly distributor: IoHandler;
  readonly redistributors: IoHandler;
  /** Null: there are none. */
  readonly lpis: Lpis | null;
  private readonly affinity: (cpu: number) => number;
  /** GICR_WAKER.ProcessorSleep per CPU. */
  private asleep: boolean[];

  constructor(o: GicV3Options) {
    this.lpis = o.memory === undefined ? null : new Lpis({ cpus: o.cpus, memory: o.memory, changed: (c) => this.core.update(c) });
    this.core = new GicCore({ cpus: o.cpus, spis: o.spis, version: 3, changed: o.changed, lpis: this.lpis });
    this.affinity = o.affinity;
    this.asleep = new Array<boolean>(o.cpus).fill(true);
    this.distributor = { read: (off, size) => this.readDist(off, size), write: (off, size, v) => this.writeDist(off, size, v) };
    this.redistributors = { read: (off, size) => this.readRedist(off, size), write: (off, size, v) => this.writeRedist(off, size, v) };
  }

  reset(): void {
    this.asleep.fill(true);
    this.lpis?.reset();
    this.core.reset();
  }

  save(): SavedState {
    return { ...this.core.save(), asleep: [...this.asleep], lpis: this.lpis?.save() ?? null };
  }

  restore(s: SavedState): void {
    // Before the core, which looks at what is pending.
    this.lpis?.restore(s.lpis as SavedState);
    this.core.restore(s);
    const a = s.asleep;
    this.asleep = this.asleep.map((_, i) => Array.isArray(a) && a[i] === true);
  }

  // ---- distributor (12.9) ----

  private readDist(offset: number, size: number): number {
    const g = this.core;
    if (offset >= 0x400 && offset < 0x800) return offset - 0x400 < PRIVATE ? 0 : g.readPriorities(0, offset - 0x400, size);
    return part(this.readDist32(offset & ~3), offset, size);
  }

  private readDist32(offset: number): number {
    const g = this.core;
    if (offset >= 0x6000 && offset < 0x8000) return this.readRouter(offset);
    const first = (offset & 0x7f) * 8;
    const shared = first >= PRIVATE;
    switch (offset >>> 7) {
      case 0:
        return offset === 0 ? g.s.ctlr | CTLR_FIXED : offset === 4 ? g.lines | (this.lpis === null ? ID_BITS : ID_BITS_LPI) | (1 << 25) : offset === 8 ? IIDR : 0;
      case 1: return shared ? g.readBits(0, first, 'group') : 0;
      case 2: case 3: return shared ? g.readBits(0, first, 'enabled') : 0;
      case 4: case 5: return shared ? g.readBits(0, first, 'pending') : 0;
      case 6: case 7: return shared ? g.readBits(0, first, 'active') : 0;
      case 0x18: case 0x19: return offset < 0xc08 ? 0 : g.readConfig(0, (offset - 0xc00) * 4);
      default: return offset === 0xffe8 ? PIDR2 : 0;
    }
  }

  /** GICD_IROUTER<n>. */
  private readRouter(offset: number): number {
    const k = ((offset - 0x6000) >>> 3) - PRIVATE;
    if (k < 0 || k >= this.core.spis) return 0;
    const t = this.core.s.target[k]!;
    const a = t < 0 ? 0 : this.affinity(t);
    if (offset & 4) return a >>> 24;
    return (a & 0xff_ffff) | (t < 0 ? 0x8000_0000 : 0);
  }

  private writeRouter(offset: number, v: number): void {
    const g = this.core;
    const k = ((offset - 0x6000) >>> 3) - PRIVATE;
    if (k < 0 || k >= g.spis || offset & 4) return;
    if (v & 0x8000_0000) g.s.target[k] = -1;
    else {
      // An affinity that no CPU has: the interrupt goes nowhere.
      g.s.target[k] = 0x7fff_ffff;
      for (let c = 0; c < g.cpus; c++) if ((this.affinity(c) & 0xff_ffff) === (v & 0xff_ffff)) g.s.target[k] = c;
    }
    g.updateAll();
  }

  private writeDist(offset: number, size: number, v: number): void {
    const g = this.core;
    if (offset >= 0x400 && offset < 0x800) {
      if (offset - 0x400 >= PRIVATE) g.writePriorities(0, offset - 0x400, size, v);
      return;
    }
    if (size !== 4) return;
    if (offset >= 0x6000 && offset < 0x8000) {
      this.writeRouter(offset, v);
      return;
    }
    if (offset === 0) {
      g.s.ctlr = v & 3;
      g.updateAll();
      return;
    }
    const first = (offset & 0x7f) * 8;
    if (offset >= 0xc00 && offset < 0xd00) {
      if (offset >= 0xc08) g.writeConfig(0, (offset - 0xc00) * 4, v);
      return;
    }
    if (first < PRIVATE) return;
    this.writeSet(0, offset >>> 7, first, v);
  }

  /** The bit-per-interrupt registers of distributor and redistributor. */
  private writeSet(c: number, which: number, first: number, v: number): void {
    const g = this.core;
    switch (which) {
      case 1: g.writeBits(c, first, v, Fg.GROUP1, true, true); break;
      case 2: g.writeBits(c, first, v, Fg.ENABLED, true); break;
      case 3: g.writeBits(c, first, v, Fg.ENABLED, false); break;
      case 4: g.writeBits(c, first, v, Fg.PENDING, true); break;
      case 5: g.writeBits(c, first, v, Fg.PENDING, false); break;
      case 6: g.writeBits(c, first, v, Fg.ACTIVE, true); break;
      case 7: g.writeBits(c, first, v, Fg.ACTIVE, false); break;
      default: break;
    }
  }

  // ---- redistributors (12.11, 12.10) ----

  private readRedist(offset: number, size: number): number {
    const c = Math.floor(offset / GICR_STRIDE);
    if (c >= this.core.cpus) return 0;
    const o = offset % GICR_STRIDE;
    if (o >= 0x1_0400 && o < 0x1_0420) return this.core.readPriorities(c, o - 0x1_0400, size);
    return part(this.readRedist32(c, o & ~3), o, size);
  }

  private readRedist32(c: number, o: number): number {
    const g = this.core;
    switch (o) {
      case 0x0000: case 0x0070: case 0x0074: case 0x0078: case 0x007c: return this.lpis?.read(c, o) ?? 0;
      case 0x0004: return IIDR;
      // GICR_TYPER: processor number, Last, PLPIS; affinity.
      case 0x0008: return (c << 8) | (c === g.cpus - 1 ? 0x10 : 0) | (this.lpis === null ? 0 : 1);
      case 0x000c: return this.affinity(c) >>> 0;
      case 0x0014: return this.asleep[c] ? 6 : 0;
      case 0xffe8: return PIDR2;
      case 0x1_0080: return g.readBits(c, 0, 'group');
      case 0x1_0100: case 0x1_0180: return g.readBits(c, 0, 'enabled');
      case 0x1_0200: case 0x1_0280: return g.readBits(c, 0, 'pending');
      case 0x1_0300: case 0x1_0380: return g.readBits(c, 0, 'active');
      case 0x1_0c00: return g.readConfig(c, 0);
      case 0x1_0c04: return g.readConfig(c, 16);
      default: return 0;
    }
  }

  private writeRedist(offset: number, size: number, v: number): void {
    const g = this.core;
    const c = Math.floor(offset / GICR_STRIDE);
    if (c >= g.cpus) return;
    const o = offset % GICR_STRIDE;
    if (o >= 0x1_0400 && o < 0x1_0420) {
      g.writePriorities(c, o - 0x1_0400, size, v);
      return;
    }
    if (size !== 4) return;
    if (o === 0 || (o >= 0x70 && o < 0x80)) this.lpis?.write(c, o, v);
    else if (o === 0x14) this.asleep[c] = (v & 2) !== 0;
    else if (o === 0x1_0c04) g.writeConfig(c, 16, v);
    else if (o >= 0x1_0080 && o <= 0x1_0380 && (o & 0x7f) === 0) this.writeSet(c, (o - 0x1_0000) >>> 7, 0, v);
  }

  // ---- CPU interface (12.2), registers numbered CRn << 8 | CRm << 4 | op2 ----

  readIcc(c: number, reg: number): number {
    const g = this.core;
    const cpu = g.s.cpu[c]!;
    switch (reg) {
      case 0x460: return cpu.pmr;
      case 0xc80: return this.acknowledge(c, false);
      case 0xcc0: return this.acknowledge(c, true);
      case 0xc82: return this.highest(c, false);
      case 0xcc2: return this.highest(c, true);
      case 0xc83: return cpu.bpr0;
      case 0xcc3: return cpu.ctlr & 1 ? Math.min(cpu.bpr0 + 1, 7) : cpu.bpr1;
      case 0xc84: return cpu.apr0;
      case 0xc90: return cpu.apr1;
      case 0xcb3: return Math.min(g.running(c), 0xff);
      // PRIbits - 1 = 4; IDbits 0 = 16 bits; A3V.
      case 0xcc4: return cpu.ctlr | (4 << 8) | (1 << 15);
      case 0xcc5: return 7;
      case 0xcc6: return cpu.grp0;
      case 0xcc7: return cpu.grp1;
      default: return 0;
    }
  }

  private acknowledge(c: number, group1: boolean): number {
    const i = this.core.acknowledge(c, group1);
    if (i < 0) return SPURIOUS;
    this.core.update(c);
    return this.core.number(i);
  }

  private highest(c: number, group1: boolean): number {
    const i = this.core.best(c);
    return i < 0 || this.core.isGroup1(i) !== group1 ? SPURIOUS : this.core.number(i);
  }

  writeIcc(c: number, reg: number, lo: number, hi: number): void {
    const g = this.core;
    const cpu = g.s.cpu[c]!;
    switch (reg) {
      case 0x460: cpu.pmr = lo & 0xf8; break;
      case 0xc81: this.end(c, lo & 0xff_ffff, false); return;
      case 0xcc1: this.end(c, lo & 0xff_ffff, true); return;
      case 0xcb1: g.deactivate(g.index(c, lo & 0xff_ffff)); return;
      case 0xcb5: this.sgi(c, lo, hi, true); return;
      case 0xcb6: case 0xcb7: this.sgi(c, lo, hi, false); return;
      case 0xc83: cpu.bpr0 = Math.max(lo & 7, 2); break;
      case 0xcc3: cpu.bpr1 = Math.max(lo & 7, 3); break;
      case 0xc84: cpu.apr0 = lo >>> 0; break;
      case 0xc90: cpu.apr1 = lo >>> 0; break;
      // CBPR, EOImode.
      case 0xcc4: cpu.ctlr = lo & 3; break;
      case 0xcc6: cpu.grp0 = lo & 1; break;
      case 0xcc7: cpu.grp1 = lo & 1; break;
      default: return;
    }
    g.update(c);
  }

  private end(c: number, n: number, group1: boolean): void {
    if (n >= 1020 && n < LPI_FIRST) return;
    const g = this.core;
    const i = g.index(c, n);
    if (i < 0) return;
    g.end(c, group1, g.s.cpu[c]!.ctlr & 2 ? -1 : i);
  }

  /** ICC_SGI1R_EL1 and its like: to a list of CPUs of one cluster, or to all others (IRM). */
  private sgi(c: number, lo: number, hi: number, group1: boolean): void {
    const g = this.core;
    const n = (lo >>> 24) & 15;
    const others = (hi & 0x100) !== 0;
    const cluster = ((lo >>> 16) & 0xff) | ((hi & 0xff) << 8) | (((hi >>> 16) & 0xff) << 16);
    const range = ((hi >>> 12) & 15) * 16;
    for (let to = 0; to < g.cpus; to++) {
      const a = this.affinity(to);
      const wanted = others ? to !== c : (a >>> 8) === cluster && (a & 0xff) >= range && (a & 0xff) < range + 16 && ((lo >>> ((a & 0xff) - range)) & 1) !== 0;
      if (wanted && ((g.s.flags[to * PRIVATE + n]! & Fg.GROUP1) !== 0) === group1) g.sendSgi(to, n, c);
    }
  }
}
