/** GICv2 (ARM IHI 0048B): distributor and CPU interface, without security extensions. */
import type { Device, IoHandler, SavedState } from '../device.js';
import { Fg, GicCore, PRIVATE, SPURIOUS, part } from './gic-core.js';

export interface GicV2Options {
  cpus: number;
  spis: number;
  /** The interrupt outputs of a CPU may have changed. */
  changed: (cpu: number) => void;
  /** Index of the CPU that accesses a register now: both windows are banked. */
  currentCpu: () => number;
}

/** Implementer: ARM; product as QEMU-style emulations have none of their own: 0. */
const GICD_IIDR = 0x0000_043b;
const GICC_IIDR = 0x0002_043b;
/** Peripheral identification registers FE0h..FFCh: PIDR2.ArchRev = 2. */
const PIDR2 = 0x2b;

export class GicV2 implements Device {
  readonly name = 'gicv2';
  readonly core: GicCore;
  readonly distributor: IoHandler;
  readonly cpuInterface: IoHandler;
  private readonly currentCpu: () => number;

  constructor(o: GicV2Options) {
    this.core = new GicCore({ cpus: o.cpus, spis: o.spis, version: 2, changed: o.changed });
    this.currentCpu = o.currentCpu;
    this.distributor = { read: (off, size) => this.readDist(off, size), write: (off, size, v) => this.writeDist(off, size, v) };
    this.cpuInterface = { read: (off, size) => (size === 4 ? this.readCpu(off) : 0), write: (off, size, v) => { if (size === 4) this.writeCpu(off, v); } };
  }

  reset(): void {
    this.core.reset();
  }

  save(): SavedState {
    return this.core.save();
  }

  restore(s: SavedState): void {
    this.core.restore(s);
  }

  private get cpu(): number {
    return Math.min(this.currentCpu(), this.core.cpus - 1);
  }

  // ---- distributor (4.3) ----

  private readDist(offset: number, size: number): number {
    const g = this.core;
    const c = this.cpu;
    if (offset >= 0x400 && offset < 0x800) return g.readPriorities(c, offset - 0x400, size);
    if (offset >= 0x800 && offset < 0xc00) {
      let v = 0;
      for (let k = size - 1; k >= 0; k--) v = v * 256 + this.target(c, offset - 0x800 + k);
      return v;
    }
    return part(this.readDist32(offset & ~3, c), offset, size);
  }

  private target(c: number, n: number): number {
    const g = this.core;
    if (n < PRIVATE) return g.cpus === 1 ? 0 : 1 << c;
    return n - PRIVATE < g.spis ? g.s.target[n - PRIVATE]! : 0;
  }

  private readDist32(offset: number, c: number): number {
    const g = this.core;
    const first = (offset & 0x7f) * 8;
    switch (offset >>> 7) {
      case 0:
        return offset === 0 ? g.s.ctlr : offset === 4 ? g.lines | ((g.cpus - 1) << 5) : offset === 8 ? GICD_IIDR : 0;
      case 1: return g.readBits(c, first, 'group');
      case 2: case 3: return g.readBits(c, first, 'enabled');
      case 4: case 5: return g.readBits(c, first, 'pending');
      case 6: case 7: return g.readBits(c, first, 'active');
      case 0x18: case 0x19: return g.readConfig(c, (offset - 0xc00) * 4);
      default:
        if (offset >= 0xf10 && offset < 0xf30) return this.sgiSources(c, (offset & 15));
        return offset === 0xfe8 ? PIDR2 : 0;
    }
  }

  /** GICD_CPENDSGIR, GICD_SPENDSGIR: a byte of source CPUs per SGI. */
  private sgiSources(c: number, n: number): number {
    let v = 0;
    for (let k = 3; k >= 0; k--) v = v * 256 + (this.core.s.sgiSource[c * 16 + n + k]! & 0xff);
    return v;
  }

  private writeDist(offset: number, size: number, v: number): void {
    const g = this.core;
    const c = this.cpu;
    if (offset >= 0x400 && offset < 0x800) {
      g.writePriorities(c, offset - 0x400, size, v);
      return;
    }
    if (offset >= 0x800 && offset < 0xc00) {
      for (let k = 0; k < size; k++) {
        const n = offset - 0x800 + k - PRIVATE;
        if (n >= 0 && n < g.spis && g.cpus > 1) g.s.target[n] = (v >>> (8 * k)) & ((1 << g.cpus) - 1);
      }
      g.updateAll();
      return;
    }
    if (offset >= 0xf10 && offset < 0xf30) {
      for (let k = 0; k < size; k++) this.writeSgiSource(c, (offset + k) & 15, (v >>> (8 * k)) & 0xff, offset >= 0xf20);
      return;
    }
    if (size !== 4) return;
    const first = (offset & 0x7f) * 8;
    switch (offset >>> 7) {
      case 0:
        if (offset === 0) {
          g.s.ctlr = v & 3;
          g.updateAll();
        }
        break;
      case 1: g.writeBits(c, first, v, Fg.GROUP1, true, true); break;
      case 2: g.writeBits(c, first, v, Fg.ENABLED, true); break;
      // SGIs are always enabled.
      case 3: g.writeBits(c, first, first === 0 ? v & ~0xffff : v, Fg.ENABLED, false); break;
      // SGIs are made pending through GICD_SGIR and GICD_SPENDSGIR only.
      case 4: g.writeBits(c, first, first === 0 ? v & ~0xffff : v, Fg.PENDING, true); break;
      case 5: g.writeBits(c, first, first === 0 ? v & ~0xffff : v, Fg.PENDING, false); break;
      case 6: g.writeBits(c, first, v, Fg.ACTIVE, true); break;
      case 7: g.writeBits(c, first, v, Fg.ACTIVE, false); break;
      case 0x18: case 0x19: g.writeConfig(c, (offset - 0xc00) * 4, v); break;
      default:
        if (offset === 0xf00) this.sgi(c, v);
    }
  }

  private writeSgiSource(c: number, n: number, mask: number, set: boolean): void {
    const g = this.core;
    const s = g.s.sgiSource;
    if (set) s[c * 16 + n]! |= mask & ((1 << g.cpus) - 1);
    else s[c * 16 + n]! &= ~mask;
    g.setFlags(c * PRIVATE + n, s[c * 16 + n] !== 0 ? Fg.PENDING : 0, s[c * 16 + n] !== 0 ? 0 : Fg.PENDING);
    g.update(c);
  }

  /** GICD_SGIR. */
  private sgi(c: number, v: number): void {
    const g = this.core;
    const filter = (v >>> 24) & 3;
    const list = (v >>> 16) & 0xff;
    for (let to = 0; to < g.cpus; to++) {
      const wanted = filter === 0 ? ((list >> to) & 1) !== 0 : filter === 1 ? to !== c : filter === 2 ? to === c : false;
      if (wanted) g.sendSgi(to, v & 15, c);
    }
  }

  // ---- CPU interface (4.4) ----

  private readCpu(offset: number): number {
    const g = this.core;
    const c = this.cpu;
    const cpu = g.s.cpu[c]!;
    switch (offset) {
      case 0x00: return cpu.grp0 | (cpu.grp1 << 1) | cpu.ctlr;
      case 0x04: return cpu.pmr;
      case 0x08: return cpu.bpr0;
      case 0x0c: return this.acknowledge(c, false);
      case 0x14: return Math.min(g.running(c), 0xff);
      case 0x18: return this.highest(c);
      case 0x1c: return cpu.bpr1;
      case 0x20: return this.acknowledge(c, true);
      case 0xd0: return cpu.apr0;
      case 0xe0: return cpu.apr1;
      case 0xfc: return GICC_IIDR;
      default: return 0;
    }
  }

  /** Interrupt ID with the source CPU of an SGI. */
  private id(c: number, i: number): number {
    const n = this.core.number(i);
    if (n >= 16) return n;
    const from = this.core.s.sgiSource[c * 16 + n]!;
    return n | (from === 0 ? 0 : (31 - Math.clz32(from & -from)) << 10);
  }

  private highest(c: number): number {
    const i = this.core.best(c);
    return i < 0 ? SPURIOUS : this.id(c, i);
  }

  /** GICC_IAR (both groups as GICC_CTLR.AckCtl says) and GICC_AIAR. */
  private acknowledge(c: number, alias: boolean): number {
    const g = this.core;
    const best = g.best(c);
    if (best < 0) return SPURIOUS;
    const group1 = (g.s.flags[best]! & Fg.GROUP1) !== 0;
    if (alias && !group1) return SPURIOUS;
    // A group 1 interrupt is 1022 for GICC_IAR unless AckCtl is set.
    if (!alias && group1 && (g.s.cpu[c]!.ctlr & 4) === 0) return SPURIOUS - 1;
    const i = g.acknowledge(c, group1);
    if (i < 0) return SPURIOUS;
    const id = this.id(c, i);
    const n = id & 15;
    if ((id & 0x3ff) < 16) {
      g.s.sgiSource[c * 16 + n]! &= ~(1 << (id >>> 10));
      if (g.s.sgiSource[c * 16 + n] !== 0) g.setFlags(i, Fg.PENDING, 0);
    }
    g.update(c);
    return id;
  }

  private writeCpu(offset: number, v: number): void {
    const g = this.core;
    const c = this.cpu;
    const cpu = g.s.cpu[c]!;
    switch (offset) {
      case 0x00:
        cpu.grp0 = v & 1;
        cpu.grp1 = (v >>> 1) & 1;
        cpu.ctlr = v & 0x21c;
        break;
      case 0x04: cpu.pmr = v & 0xf8; break;
      case 0x08: cpu.bpr0 = Math.max(v & 7, 2); break;
      case 0x1c: cpu.bpr1 = Math.max(v & 7, 3); break;
      case 0x10: case 0x24: this.end(c, v & 0x3ff); return;
      case 0xd0: cpu.apr0 = v; break;
      case 0xe0: cpu.apr1 = v; break;
      case 0x1000: g.deactivate(g.index(c, v & 0x3ff)); return;
      default: return;
    }
    g.update(c);
  }

  private end(c: number, n: number): void {
    if (n >= 1020) return;
    const g = this.core;
    const i = g.index(c, n);
    if (i < 0 || (g.s.flags[i]! & Fg.ACTIVE) === 0) return;
    // EOImodeNS: priority drop only.
    g.end(c, (g.s.flags[i]! & Fg.GROUP1) !== 0, g.s.cpu[c]!.ctlr & 0x200 ? -1 : i);
  }
}
