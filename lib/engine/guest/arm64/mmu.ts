/**
 * VMSAv8-64 stage 1 translation (Arm ARM, D8) for EL0 and EL1, the software TLB of state.ts, the instruction TLB, and memory
 * access for slow paths and TypeScript helpers.
 *
 * Rights are given as an MMU index (`Mmu`); the ALIGN indexes share translations with EL0 and EL1 but have no entries.
 */
import { FlushKind, type PhysicalMap } from '../../cpu.js';
import { Access, Slot } from '../../state.js';
import type { Arm64Cpu } from './cpu.js';
import { LargeRegions } from './large-regions.js';
import { A, MMU_TABLES, Mmu, Mode } from './regs.js';
import { Watchpoints } from '../watchpoints.js';
import { TlbTables } from '../tlb-tables.js';

const ITLB_ENTRIES = 512;
const XC_ENTRIES = 64;
const WC_ENTRIES = 128;
const TWO32 = 0x1_0000_0000;

/** What a translation allows, in `Arm64Mmu.flags` and the low bits of an entry's RAM_PAGE word. */
const enum Pg { GLOBAL = 1, WRITE = 2, DEVICE = 4, GUARDED = 8 }

/** Kinds of access. MAINTENANCE: cache and address translation operations (ISS.CM). */
export const enum Acc { READ = 0, WRITE = 1, FETCH = 2 }

/** Fault status codes without the level (DFSC, IFSC). */
export const enum Fsc { ADDRESS_SIZE = 0x00, TRANSLATION = 0x04, ACCESS_FLAG = 0x08, PERMISSION = 0x0c, EXTERNAL = 0x10, ALIGNMENT = 0x21 }

const enum Tcr { EPD0 = 1 << 7, EPD1 = 1 << 23 }
/** Bits of TCR_EL1's high word. */
const enum TcrHi { TBI0 = 1 << 5, TBI1 = 1 << 6, HA = 1 << 7, HD = 1 << 8, TBID0 = 1 << 19, TBID1 = 1 << 20, E0PD0 = 1 << 23, E0PD1 = 1 << 24 }

/** Bits of the high word of a descriptor. */
const enum Hi { PXN = 1 << 21, UXN = 1 << 22, GP = 1 << 18, DBM = 1 << 19, PXN_TABLE = 1 << 27, UXN_TABLE = 1 << 28, AP_TABLE0 = 1 << 29, AP_TABLE1 = 1 << 30 }

/** Width of physical addresses by TCR_EL1.IPS; PARange is 40 bits. */
const PA_LIMITS: readonly number[] = [32, 36, 40, 40, 40, 40, 40, 40].map((bits) => 2 ** bits);

export class Arm64Mmu {
  /** A debugger's, beside the guest's own. */
  readonly watchpoints = new Watchpoints();
  /** Result of read64. */
  lo = 0;
  hi = 0;
  flags = 0;
  fetchGlobal = false;
  /** The page of the last fetch is guarded (FEAT_BTI). */
  fetchGuarded = false;

  private readonly V: Int32Array;
  private readonly map: PhysicalMap;
  private readonly ram8: Uint8Array;
  private readonly ram32: Int32Array;
  private readonly view: DataView;

  private readonly tlb: TlbTables;

  private readonly itagLo = new Int32Array(ITLB_ENTRIES).fill(-1);
  private readonly itagHi = new Int32Array(ITLB_ENTRIES);
  private readonly ipa = new Float64Array(ITLB_ENTRIES);
  /** Pg.GLOBAL and Pg.GUARDED. */
  private readonly iflags = new Uint8Array(ITLB_ENTRIES);
  private itlbUsed = false;

  /** Translations of pages that never get tags (MMIO, code, ROM, Device): saves the walk. Tag = page address | MMU index. */
  private readonly xtagLo = new Int32Array(XC_ENTRIES).fill(-1);
  private readonly xtagHi = new Int32Array(XC_ENTRIES);
  private readonly xpa = new Float64Array(XC_ENTRIES);
  private readonly xflags = new Uint8Array(XC_ENTRIES);
  private xcUsed = false;

  /** Walk cache: last-level table of a region (2 MiB with 4 KiB pages), with the attributes of the tables above. */
  private readonly wtagLo = new Int32Array(WC_ENTRIES).fill(-1);
  private readonly wtagHi = new Int32Array(WC_ENTRIES);
  private readonly wtable = new Float64Array(WC_ENTRIES);
  private readonly wattr = new Int32Array(WC_ENTRIES);
  private wcUsed = false;
  /** Where the flush of a page has to drop everything. */
  private readonly large = new LargeRegions();

  constructor(private readonly cpu: Arm64Cpu) {
    this.V = cpu.V;
    this.map = cpu.map;
    this.ram8 = cpu.map.ram8;
    this.ram32 = cpu.map.ram32;
    this.view = cpu.map.ramView;
    this.tlb = new TlbTables(this.map, this.V, MMU_TABLES);
  }

  // ---- faults ----------------------------------------------------------------------------------------------------

  private abort(lo: number, hi: number, fsc: number, acc: Acc): never {
    throw this.cpu.abort(lo, hi, fsc, acc === Acc.FETCH, acc === Acc.WRITE);
  }

  // ---- page walk -------------------------------------------------------------------------------------------------

  private readLo(ea: number): number {
    const off = this.map.pageOffset(ea);
    return off < 0 ? this.map.read(ea, 4) | 0 : this.ram32[(off + (ea % 4096)) >>> 2]!;
  }

  /** Replaces the low word of a descriptor if it still reads `old`. */
  private update(ea: number, old: number, now: number): boolean {
    const off = this.map.pageOffset(ea);
    if (off < 0 || this.map.isRom(ea)) return true;
    const p = off + (ea % 4096);
    if (this.map.codePages[off >>> 12]) this.map.onCodeWrite(p, 4);
    return Atomics.compareExchange(this.ram32, p >>> 2, old, now) === old;
  }

  /**
   * Physical address of hi:lo with rights checked; sets `flags`.
   * @throws GuestFault data or instruction abort
   */
  translate(lo: number, hi: number, acc: Acc, idx: Mmu): number {
    const { cpu } = this;
    if ((cpu.sctlr & 1) === 0) {
      // Flat map; data is Device memory, and everything is global (D8.2.10).
      if ((hi & 0xff_ff00) !== 0 || hi >>> 24 !== 0) this.abort(lo, hi, Fsc.ADDRESS_SIZE, acc);
      this.flags = Pg.GLOBAL | Pg.WRITE | (acc === Acc.FETCH ? 0 : Pg.DEVICE);
      return (hi >>> 0) * TWO32 + (lo >>> 0);
    }
    for (;;) {
      const pa = this.walk(lo, hi, acc, idx);
      if (pa >= 0) return pa;
    }
  }

  /** TCR_EL1.TBI0 or TBI1, which TBID0 or TBID1 (FEAT_PAuth) takes back for instructions. */
  ignoresTag(upper: boolean, fetch: boolean): boolean {
    const { tcrHi, model } = this.cpu;
    if ((tcrHi & (upper ? TcrHi.TBI1 : TcrHi.TBI0)) === 0) return false;
    return !(fetch && model.pauth && (tcrHi & (upper ? TcrHi.TBID1 : TcrHi.TBID0)) !== 0);
  }

  private walk(lo: number, hi: number, acc: Acc, idx: Mmu): number {
    const { cpu } = this;
    const upper = (hi & 0x0080_0000) !== 0;
    const tcr = cpu.tcrLo;
    const tcrHi = cpu.tcrHi;
    const tbi = this.ignoresTag(upper, acc === Acc.FETCH);
    const size = 64 - Math.max(16, Math.min(39, (upper ? tcr >>> 16 : tcr) & 63));
    // Bits above the input size must repeat bit 55.
    const vhi = tbi ? ((hi << 8) >> 8) : hi;
    const top = size >= 32 ? vhi >> (size - 32) : vhi === lo >> 31 ? lo >> size : 2;
    if (top !== (upper ? -1 : 0) || tcr & (upper ? Tcr.EPD1 : Tcr.EPD0)) this.abort(lo, hi, Fsc.TRANSLATION, acc);
    // FEAT_E0PD: EL0 finds nothing in this half, at once.
    if (tcrHi & (upper ? TcrHi.E0PD1 : TcrHi.E0PD0) && (idx === Mmu.EL0 || idx === Mmu.EL0_ALIGN)) this.abort(lo, hi, Fsc.TRANSLATION, acc);
    const tg = upper ? (tcr >>> 30) & 3 : (tcr >>> 14) & 3;
    // TG0: 0 4K, 1 64K, 2 16K. TG1: 1 16K, 2 4K, 3 64K.
    const gran = upper ? (tg === 1 ? 14 : tg === 3 ? 16 : 12) : tg === 1 ? 16 : tg === 2 ? 14 : 12;
    const stride = gran - 3;
    let level = 3 - Math.floor((size - gran - 1) / stride);
    const base = upper ? cpu.ttbr1Lo : cpu.ttbr0Lo;
    const baseHi = (upper ? cpu.ttbr1Hi : cpu.ttbr0Hi) & 0xffff;
    const ha = (tcrHi & TcrHi.HA) !== 0;
    const firstBits = size - (gran + stride * (3 - level));
    const align = Math.max(6, firstBits + 3);
    let table = baseHi * TWO32 + ((base & ~((1 << align) - 1) & ~1) >>> 0);
    let attr = 0;
    let nbits = firstBits;
    const wc = ((lo >>> 21) ^ (upper ? 64 : 0)) & (WC_ENTRIES - 1);
    const region = lo & ~0x1f_ffff;
    if (gran === 12 && this.wtagLo[wc] === region && this.wtagHi[wc] === hi) {
      table = this.wtable[wc]!;
      attr = this.wattr[wc]!;
      level = 3;
      nbits = stride;
    }
    const paLimit = PA_LIMITS[tcrHi & 7]!;
    if (table >= paLimit) this.abort(lo, hi, Fsc.ADDRESS_SIZE, acc);
    for (; ; level++) {
      const shift = gran + stride * (3 - level);
      const index = field(lo, hi, shift, nbits);
      const ea = table + index * 8;
      const dLo = this.readLo(ea);
      const dHi = this.readLo(ea + 4);
      if ((dLo & 1) === 0) this.abort(lo, hi, Fsc.TRANSLATION | level, acc);
      if (level < 3 && (dLo & 2) !== 0) {
        table = (dHi & 0xffff) * TWO32 + ((dLo & ~((1 << gran) - 1)) >>> 0);
        if (table >= paLimit) this.abort(lo, hi, Fsc.ADDRESS_SIZE | level, acc);
        attr |= dHi & (Hi.PXN_TABLE | Hi.UXN_TABLE | Hi.AP_TABLE0 | Hi.AP_TABLE1);
        nbits = stride;
        if (level === 2 && gran === 12) {
          this.wtagLo[wc] = region;
          this.wtagHi[wc] = hi;
          this.wtable[wc] = table;
          this.wattr[wc] = attr;
          this.wcUsed = true;
        }
        continue;
      }
      // A block or page. Blocks exist at level 1 (4 KiB granule) and 2; at level 3 bit 1 must be set.
      if (level === 3 ? (dLo & 2) === 0 : level === 0 || (level === 1 && gran !== 12)) this.abort(lo, hi, Fsc.TRANSLATION | level, acc);
      const pa = blockAddress(lo, hi, dLo, dHi, shift);
      if (pa >= paLimit) this.abort(lo, hi, Fsc.ADDRESS_SIZE | level, acc);
      if (shift > 12) this.large.note(lo, hi, shift);
      if ((dLo & 0x400) === 0) {
        if (!ha) this.abort(lo, hi, Fsc.ACCESS_FLAG | level, acc);
        if (!this.update(ea, dLo, dLo | 0x400)) return -1;
        return -1;
      }
      return this.check(lo, hi, acc, idx, level, ea, dLo, dHi, attr) ? pa : -1;
    }
  }

  /** Permissions (D8.4) and the dirty state. False asks for another walk. */
  private check(lo: number, hi: number, acc: Acc, idx: Mmu, level: number, ea: number, dLo: number, dHi: number, attr: number): boolean {
    const { cpu } = this;
    const el0 = idx === Mmu.EL0 || idx === Mmu.EL0_ALIGN;
    const user = (dLo & 0x40) !== 0 && (attr & Hi.AP_TABLE0) === 0;
    const dbm = (dHi & Hi.DBM) !== 0 && (cpu.tcrHi & (TcrHi.HA | TcrHi.HD)) === (TcrHi.HA | TcrHi.HD);
    const tableRo = (attr & Hi.AP_TABLE1) !== 0;
    const clean = (dLo & 0x80) !== 0;
    let writable = !tableRo && (!clean || dbm);
    const uxn = (dHi & Hi.UXN) !== 0 || (attr & Hi.UXN_TABLE) !== 0;
    const pxn = (dHi & Hi.PXN) !== 0 || (attr & Hi.PXN_TABLE) !== 0;
    let ok: boolean;
    if (acc === Acc.FETCH) {
      // EL0 may execute what it cannot read; what an exception level can write it cannot execute under WXN, nor EL1 what EL0 can write.
      const written = writable && !clean;
      const wxn = (cpu.sctlr & 0x8_0000) !== 0 && written;
      ok = el0 ? !uxn && !(wxn && user) : !pxn && !wxn && !(user && written);
    } else {
      const pan = idx === Mmu.EL1_PAN || (idx === Mmu.EL1_ALIGN && cpu.pan);
      ok = el0 ? user : !(user && pan);
      writable = writable && ok;
      if (acc === Acc.WRITE) ok = writable;
    }
    if (!ok) this.abort(lo, hi, Fsc.PERMISSION | level, acc);
    if (acc === Acc.WRITE && clean) {
      if (!this.update(ea, dLo, dLo & ~0x80)) return false;
    } else if (clean) writable = false;
    const device = this.isDevice((dLo >>> 2) & 7);
    const guarded = (dHi & Hi.GP) !== 0 && cpu.model.bti;
    this.flags = (dLo & 0x800 ? 0 : Pg.GLOBAL) | (writable ? Pg.WRITE : 0) | (device ? Pg.DEVICE : 0) | (guarded ? Pg.GUARDED : 0);
    return true;
  }

  private isDevice(index: number): boolean {
    const word = this.V[A.MAIR_EL1 * 2 + (index >> 2)]!;
    return ((word >>> ((index & 3) * 8)) & 0xf0) === 0;
  }

  // ---- TLB -------------------------------------------------------------------------------------------------------

  /** Enters a translation. @returns byte offset of the page in RAM, or -1 for MMIO. */
  private fill(idx: Mmu, lo: number, hi: number, pa: number): number {
    const off = this.map.pageOffset(pa);
    const pageLo = lo & ~0xfff;
    const page = pa - (pa % 4096);
    const ram = off >= 0 && (this.flags & Pg.WRITE) !== 0 && !this.map.isRom(pa);
    const write = ram && this.map.codePages[off >>> 12] === 0;
    if (!write || this.flags & Pg.DEVICE || idx >= MMU_TABLES) {
      const x = ((lo >>> 12) ^ (idx << 3)) & (XC_ENTRIES - 1);
      this.xtagLo[x] = pageLo | idx;
      this.xtagHi[x] = hi;
      this.xpa[x] = page;
      this.xflags[x] = this.flags;
      this.xcUsed = true;
    }
    if (off < 0 || this.flags & Pg.DEVICE || idx >= MMU_TABLES || (this.cpu.debug.watching && this.cpu.debug.watches(lo, hi)) || (this.watchpoints.any && this.watchpoints.covers(pageLo, hi))) return off;
    this.tlb.enter(idx, lo, hi, off, this.flags & (Pg.GLOBAL | Pg.WRITE), write, ram && !write);
    return off;
  }

  flushAll(): void {
    this.tlb.dropAll();
    this.dropCaches();
    if (this.itlbUsed) this.itagLo.fill(-1);
    this.itlbUsed = false;
    this.large.clear();
    this.cpu.onFlush(FlushKind.ALL, 0, 0);
  }

  /** Entries with an ASID: a new ASID or TTBR0_EL1, TLBI ASIDE1. */
  flushNonGlobal(): void {
    this.tlb.dropNonGlobal();
    this.dropCaches();
    if (this.itlbUsed) for (let i = 0; i < ITLB_ENTRIES; i++) if (!(this.iflags[i]! & Pg.GLOBAL)) this.itagLo[i] = -1;
    this.cpu.onFlush(FlushKind.NON_GLOBAL, 0, 0);
  }

  /**
   * One page in every table, whatever the address tag.
   * @param leaf the tables above are still what they were (TLBI by last level)
   */
  flushPage(lo: number, hi: number, leaf = false): void {
    if (this.large.has(lo, hi)) {
      this.flushAll();
      return;
    }
    const pageLo = lo & ~0xfff;
    const page = lo >>> 12;
    this.tlb.dropPage(lo, hi, 0xff_ffff);
    if (!leaf) this.dropWalks();
    if (this.xcUsed) {
      for (let idx = 0; idx < 8; idx++) {
        const x = (page ^ (idx << 3)) & (XC_ENTRIES - 1);
        if (this.xtagLo[x] === (pageLo | idx)) this.xtagLo[x] = -1;
      }
    }
    if (this.itlbUsed) {
      for (let u = 0; u < 2; u++) {
        const i = ((page & 255) << 1) | u;
        if (this.itagLo[i] === pageLo) this.itagLo[i] = -1;
      }
    }
    this.cpu.onFlush(FlushKind.PAGE, pageLo, hi);
  }

  private dropWalks(): void {
    if (this.wcUsed) this.wtagLo.fill(-1);
    this.wcUsed = false;
  }

  private dropCaches(): void {
    this.dropWalks();
    if (this.xcUsed) this.xtagLo.fill(-1);
    this.xcUsed = false;
  }

  /** The RAM page at ramOffset has got its first translation: writes to it must take the slow path from now on. */
  noteCodePage(ramOffset: number): void {
    this.tlb.noteCodePage(ramOffset);
  }

  /** Physical address for a data access of `size` bytes on the slow path; fills the TLB. */
  private resolve(lo: number, hi: number, acc: Acc, idx: Mmu, size: number): number {
    if (this.xcUsed) {
      const x = ((lo >>> 12) ^ (idx << 3)) & (XC_ENTRIES - 1);
      if (this.xtagLo[x] === ((lo & ~0xfff) | idx) && this.xtagHi[x] === hi) {
        const f = this.xflags[x]!;
        if (acc === Acc.READ || (f & Pg.WRITE) !== 0) {
          this.flags = f;
          const pa = this.xpa[x]! + (lo & 0xfff);
          this.checkDevice(lo, hi, acc, size);
          if ((f & Pg.DEVICE) === 0 && this.map.pageOffset(pa) >= 0) this.fill(idx, lo, hi, pa);
          return pa;
        }
      }
    }
    const pa = this.translate(lo, hi, acc, idx);
    this.checkDevice(lo, hi, acc, size);
    this.fill(idx, lo, hi, pa);
    return pa;
  }

  /** Device memory must be accessed aligned. */
  private checkDevice(lo: number, hi: number, acc: Acc, size: number): void {
    if ((this.flags & Pg.DEVICE) !== 0 && (lo & (size - 1)) !== 0) this.abort(lo, hi, Fsc.ALIGNMENT, acc);
  }

  // ---- access ----------------------------------------------------------------------------------------------------

  private physRead(pa: number, size: number): number {
    const off = this.map.pageOffset(pa);
    if (off < 0) return this.map.read(pa, size) | 0;
    const p = off + (pa % 4096);
    return size === 4 ? this.view.getInt32(p, true) : size === 2 ? this.view.getUint16(p, true) : this.ram8[p]!;
  }

  private physWrite(pa: number, size: number, v: number): void {
    const off = this.map.pageOffset(pa);
    if (off < 0 || this.map.isRom(pa)) {
      this.map.write(pa, size, size === 4 ? v >>> 0 : size === 2 ? v & 0xffff : v & 0xff);
      return;
    }
    const p = off + (pa % 4096);
    if (this.map.codePages[off >>> 12]) this.map.onCodeWrite(p, size);
    if (size === 4) this.view.setInt32(p, v, true);
    else if (size === 2) this.view.setUint16(p, v, true);
    else this.ram8[p] = v;
  }

  private carryHi = 0;
  private add(lo: number, hi: number, n: number): number {
    const r = (lo + n) | 0;
    this.carryHi = (r >>> 0) < (lo >>> 0) ? (hi + 1) | 0 : hi;
    return r;
  }

  /** Byte offset in RAM for an access of n bytes that the TLB covers, or -1. */
  private hit(lo: number, hi: number, idx: Mmu, n: number, write: boolean): number {
    if (idx >= MMU_TABLES) return -1;
    return write ? this.tlb.write(lo, hi, idx, n) : this.tlb.read(lo, hi, idx, n);
  }

  private watch(lo: number, hi: number, n: number, write: boolean, idx: Mmu): void {
    if (this.watchpoints.any) this.watchpoints.access(lo, hi, n, write);
    const { debug } = this.cpu;
    if (debug.watching) debug.access(lo, hi, n, write, idx === Mmu.EL0 || idx === Mmu.EL0_ALIGN);
  }

  /** n bytes (1..16) at hi:lo to this.buf. `size`: alignment that Device memory and alignment checks want. */
  private readBytes(lo: number, hi: number, n: number, idx: Mmu, acc: Acc, size: number): void {
    if (idx >= MMU_TABLES && (lo & (size - 1)) !== 0) this.abort(lo, hi, Fsc.ALIGNMENT, acc);
    const first = 4096 - (lo & 0xfff);
    const pa1 = this.resolve(lo, hi, acc, idx, size);
    let pa2 = 0;
    if (first < n) {
      const lo2 = this.add(lo, hi, first);
      pa2 = this.resolve(lo2, this.carryHi, acc, idx, 1);
    }
    this.watch(lo, hi, n, acc === Acc.WRITE, idx);
    const B = this.buf;
    if (first >= n && n >= 4) {
      for (let i = 0; i < n; i += 4) this.buf32[i >> 2] = this.physRead(pa1 + i, 4);
    } else if (first >= n) {
      const v = this.physRead(pa1, n);
      this.buf32[0] = v;
    } else for (let i = 0; i < n; i++) B[i] = this.physRead(i < first ? pa1 + i : pa2 + i - first, 1);
  }

  private writeBytes(lo: number, hi: number, n: number, idx: Mmu, size: number): void {
    if (idx >= MMU_TABLES && (lo & (size - 1)) !== 0) this.abort(lo, hi, Fsc.ALIGNMENT, Acc.WRITE);
    const first = 4096 - (lo & 0xfff);
    const pa1 = this.resolve(lo, hi, Acc.WRITE, idx, size);
    let pa2 = 0;
    if (first < n) {
      const lo2 = this.add(lo, hi, first);
      pa2 = this.resolve(lo2, this.carryHi, Acc.WRITE, idx, 1);
    }
    this.watch(lo, hi, n, true, idx);
    const B = this.buf;
    if (first >= n && n >= 4) {
      for (let i = 0; i < n; i += 4) this.physWrite(pa1 + i, 4, this.buf32[i >> 2]!);
    } else if (first >= n) this.physWrite(pa1, n, this.buf32[0]!);
    else for (let i = 0; i < n; i++) this.physWrite(i < first ? pa1 + i : pa2 + i - first, 1, B[i]!);
  }

  private readonly buf = new Uint8Array(16);
  private readonly buf32 = new Int32Array(this.buf.buffer);

  private indexFor(acc: number): Mmu {
    if (acc & Access.USER) return this.cpu.mmuIdx === Mmu.EL1_ALIGN ? Mmu.EL0_ALIGN : Mmu.EL0;
    return this.cpu.mmuIdx;
  }

  load(w: number, addr: number, dst: number, access: number): void {
    const V = this.V;
    const lo = V[addr * 2]!;
    const hi = V[addr * 2 + 1]!;
    const idx = this.indexFor(access);
    const n = 1 << w;
    const d = dst * 2;
    const rmw = (access & Access.RMW) !== 0;
    const p = this.hit(lo, hi, idx, n, rmw);
    let l: number;
    let h = 0;
    if (p >= 0) {
      l = w === 0 ? this.ram8[p]! : w === 1 ? this.view.getUint16(p, true) : this.view.getInt32(p, true);
      if (w === 3) h = this.view.getInt32(p + 4, true);
    } else {
      this.buf32[0] = this.buf32[1] = 0;
      // The write check comes first: an atomic that may not write reports a write fault.
      this.readBytes(lo, hi, n, idx, rmw ? Acc.WRITE : Acc.READ, n);
      l = this.buf32[0];
      h = this.buf32[1];
    }
    if (w >= 2 || dst >= Slot.TEMP) {
      V[d] = w === 0 ? l & 0xff : w === 1 ? l & 0xffff : l;
      V[d + 1] = w === 3 ? h : 0;
    } else {
      const m = w === 1 ? 0xffff : 0xff;
      V[d] = (V[d]! & ~m) | (l & m);
    }
  }

  store(w: number, addr: number, val: number, access: number): void {
    const V = this.V;
    this.buf32[0] = V[val * 2]!;
    this.buf32[1] = V[val * 2 + 1]!;
    this.writeBytes(V[addr * 2]!, V[addr * 2 + 1]!, 1 << w, this.indexFor(access), 1 << w);
  }

  /** w = 1..4. Vector accesses are aligned to their element, which the access size bounds: checked as the whole. */
  loadVec(w: number, addr: number, dst: number): void {
    const V = this.V;
    const n = 1 << w;
    this.buf32.fill(0);
    this.readBytes(V[addr * 2]!, V[addr * 2 + 1]!, n, this.cpu.mmuIdx, Acc.READ, n);
    if (w === 1) this.buf32[0]! &= 0xffff;
    for (let i = 0; i < 4; i++) V[dst * 2 + i] = this.buf32[i]!;
  }

  storeVec(w: number, addr: number, val: number): void {
    const V = this.V;
    for (let i = 0; i < 4; i++) this.buf32[i] = V[val * 2 + i]!;
    this.writeBytes(V[addr * 2]!, V[addr * 2 + 1]!, 1 << w, this.cpu.mmuIdx, 1 << w);
  }

  /** Zeroes `bytes` (a power of two up to a page) at hi:lo, which is aligned to them (DC ZVA). */
  zero(lo: number, hi: number, bytes: number): void {
    const idx = this.cpu.mmuIdx;
    if (idx >= MMU_TABLES) this.abort(lo, hi, Fsc.ALIGNMENT, Acc.WRITE);
    const pa = this.resolve(lo, hi, Acc.WRITE, idx, 1);
    if (this.flags & Pg.DEVICE) this.abort(lo, hi, Fsc.ALIGNMENT, Acc.WRITE);
    this.watch(lo, hi, bytes, true, idx);
    const off = this.map.pageOffset(pa);
    if (off < 0 || this.map.isRom(pa)) return;
    const p = off + (pa % 4096);
    if (this.map.codePages[off >>> 12]) this.map.onCodeWrite(p, bytes);
    this.ram8.fill(0, p, p + bytes);
  }

  /** The word at linear hi:lo as an instruction, for syndromes; 0 if it cannot be read any more. */
  peekInsn(lo: number, hi: number): number {
    try {
      const off = this.map.pageOffset(this.translate(lo, hi, Acc.FETCH, this.cpu.mode & Mode.EL1 ? Mmu.EL1 : Mmu.EL0));
      return off < 0 ? 0 : this.view.getInt32(off + (lo & 0xffc), true);
    } catch (e) {
      if (this.cpu.isFault(e)) return 0;
      throw e;
    }
  }

  // ---- instruction fetch -------------------------------------------------------------------------------------------

  fetch(lo: number, hi: number): number {
    const el1 = (this.cpu.mode & Mode.EL1) !== 0 ? 1 : 0;
    const i = (((lo >>> 12) & 255) << 1) | el1;
    const pageLo = lo & ~0xfff;
    if (this.itagLo[i] === pageLo && this.itagHi[i] === hi) {
      this.fetched(this.iflags[i]!);
      return this.ipa[i]! + (lo & 0xfff);
    }
    const pa = this.translate(lo, hi, Acc.FETCH, el1 ? Mmu.EL1 : Mmu.EL0);
    this.itagLo[i] = pageLo;
    this.itagHi[i] = hi;
    this.ipa[i] = pa - (pa % 4096);
    this.iflags[i] = this.flags;
    this.fetched(this.flags);
    this.itlbUsed = true;
    return pa;
  }

  private fetched(flags: number): void {
    this.fetchGlobal = (flags & Pg.GLOBAL) !== 0;
    this.fetchGuarded = (flags & Pg.GUARDED) !== 0;
  }

  /** Whether the page of code at hi:lo is guarded; one that is no longer there counts as guarded. */
  guarded(lo: number, hi: number): boolean {
    try {
      this.fetch(lo, hi);
      return this.fetchGuarded;
    } catch (e) {
      if (this.cpu.isFault(e)) return true;
      throw e;
    }
  }
}

/** Bits shift .. shift + n - 1 of hi:lo. */
function field(lo: number, hi: number, shift: number, n: number): number {
  const v = shift >= 32 ? hi >>> (shift - 32) : shift === 0 ? lo : (lo >>> shift) | (hi << (32 - shift));
  return v & ((1 << n) - 1);
}

/** Output address: descriptor bits 47..shift, address bits below. */
function blockAddress(lo: number, hi: number, dLo: number, dHi: number, shift: number): number {
  if (shift >= 32) return ((dHi & 0xffff & ~((1 << (shift - 32)) - 1)) | (hi & ((1 << (shift - 32)) - 1))) * TWO32 + (lo >>> 0);
  const m = (1 << shift) - 1;
  return (dHi & 0xffff) * TWO32 + (((dLo & ~m) | (lo & m)) >>> 0);
}
