/**
 * What page walks of any guest need around them: the software TLB of state.ts, a cache of translations that must not be in it (MMIO,
 * code, ROM), an instruction TLB, and memory access for slow paths and TypeScript helpers. Addresses are (lo, hi) int32 pairs; an
 * access is made with the rights of an MMU index, whose meaning is the guest's.
 */
import { FlushKind, type GuestFault, type PhysicalMap } from '../cpu.js';
import { Watchpoints } from './watchpoints.js';
import { TlbTables } from './tlb-tables.js';
import { Access, MMU_INDEXES, Slot } from '../state.js';

const ITLB_ENTRIES = 512;
const XC_ENTRIES = 64;

/** What a translation allows, in `SoftMmu.flags` and the low bits of an entry's RAM_PAGE word. */
export const enum Pg {
  GLOBAL = 1,
  /** This MMU index may write, and the page is marked dirty. */
  WRITE = 2,
  /** The page may not be cached: rights differ within it. */
  UNCACHED = 4,
  /** In the cache of translations that are not in the TLB: there is no memory. */
  DEVICE = 8,
}

/** Kinds of access for `translate`. */
export const enum Acc { READ = 0, WRITE = 1, FETCH = 2 }

/** The CPU as far as its MMU is concerned. */
export interface SoftMmuCpu {
  readonly V: Int32Array;
  readonly map: PhysicalMap;
  mmuIdx: number;
  onFlush: (kind: FlushKind, lo: number, hi: number) => void;
}

export abstract class SoftMmu {
  /** A debugger's. */
  readonly watchpoints = new Watchpoints();
  /** Result of read64. */
  lo = 0;
  hi = 0;
  /** Rights of the last translation (`Pg`). */
  flags = 0;
  /** The last instruction fetch went through a global page. */
  fetchGlobal = false;
  /** The last translation holds, with its rights, for all of the AROUND_BYTES (aligned) that it lies in. */
  protected wide = false;

  protected readonly V: Int32Array;
  protected readonly map: PhysicalMap;
  protected readonly ram8: Uint8Array;
  protected readonly ram32: Int32Array;
  protected readonly view: DataView;

  private readonly tlb: TlbTables;

  private readonly itagLo = new Int32Array(ITLB_ENTRIES).fill(-1);
  private readonly itagHi = new Int32Array(ITLB_ENTRIES);
  private readonly ipa = new Float64Array(ITLB_ENTRIES);
  private readonly iglobal = new Uint8Array(ITLB_ENTRIES);
  private itlbUsed = false;

  /** Translations of pages that never get tags. Tag = page address | MMU index. */
  private readonly xtagLo = new Int32Array(XC_ENTRIES).fill(-1);
  private readonly xtagHi = new Int32Array(XC_ENTRIES);
  private readonly xpa = new Float64Array(XC_ENTRIES);
  private readonly xflags = new Uint8Array(XC_ENTRIES);
  private xcUsed = false;

  constructor(protected readonly owner: SoftMmuCpu) {
    this.V = owner.V;
    this.map = owner.map;
    this.ram8 = owner.map.ram8;
    this.ram32 = owner.map.ram32;
    this.view = owner.map.ramView;
    this.tlb = new TlbTables(this.map, this.V);
  }

  /**
   * Physical address for hi:lo, with rights checked and accessed and dirty bits set. Sets `flags`.
   * @throws GuestFault
   */
  abstract translate(lo: number, hi: number, acc: Acc, idx: number): number;
  /** MMU index of instruction fetches now. */
  protected abstract fetchIndex(): number;
  /** MMU index for the access flags of a load or store. */
  protected abstract dataIndex(acc: number): number;
  /** Raises what an access to a physical address without RAM or device raises, or returns. */
  protected abstract checkPhysical(pa: number, size: number, lo: number, hi: number, acc: Acc): void;
  /** Debug triggers of the guest watch data: pages that `guards` names have no TLB entry, and `guard` is asked before accesses of instructions. */
  guarded = false;
  protected guards(_pageLo: number, _hi: number): boolean {
    return false;
  }
  /** @throws GuestFault if the access of `bytes` must not be made */
  protected guard(_lo: number, _hi: number, _bytes: number, _acc: number, _write: boolean): void {
    // Nothing watches.
  }
  /** Something answers at a physical address without memory. */
  protected abstract answers(pa: number): boolean;
  /** An access that is not aligned, on the slow path: raises an exception, or returns if it is carried out. */
  protected abstract misaligned(lo: number, hi: number, acc: Acc): void;

  // ---- TLB -------------------------------------------------------------------------------------------------------

  /** Enters a translation. @returns byte offset of the page in RAM, or -1 for MMIO. */
  private fill(idx: number, lo: number, hi: number, pa: number): number {
    const off = this.map.pageOffset(pa);
    const pageLo = lo & ~0xfff;
    if (this.flags & Pg.UNCACHED || (this.watchpoints.any && this.watchpoints.covers(pageLo, hi)) || (this.guarded && this.guards(pageLo, hi))) return off;
    const ram = off >= 0 && (this.flags & Pg.WRITE) !== 0 && !this.map.isRom(pa);
    const write = ram && this.map.codePages[off >>> 12] === 0;
    if (!write) {
      const x = ((lo >>> 12) ^ (idx << 3)) & (XC_ENTRIES - 1);
      this.xtagLo[x] = pageLo | idx;
      this.xtagHi[x] = hi;
      this.xpa[x] = pa - (pa & 0xfff);
      this.xflags[x] = off < 0 ? this.flags | Pg.DEVICE : this.flags;
      this.xcUsed = true;
    }
    if (off >= 0) this.tlb.enter(idx, lo, hi, off, this.flags, write, ram && !write);
    return off;
  }

  /** Everything, global pages too. */
  flushAll(): void {
    this.tlb.dropAll();
    this.dropSmall();
    this.owner.onFlush(FlushKind.ALL, 0, 0);
  }

  /** Everything but global pages. */
  flushNonGlobal(): void {
    this.tlb.dropNonGlobal();
    if (this.itlbUsed) for (let i = 0; i < ITLB_ENTRIES; i++) if (!this.iglobal[i]) this.itagLo[i] = -1;
    this.fetchesDropped();
    this.dropXc();
    this.owner.onFlush(FlushKind.NON_GLOBAL, 0, 0);
  }

  /** One page of 4 KiB, in every table. Larger pages are entered as the small ones that were used. */
  flushPage(lo: number, hi: number): void {
    const pageLo = lo & ~0xfff;
    this.tlb.dropPage(lo, hi);
    this.dropSmallPage(pageLo, hi);
    this.owner.onFlush(FlushKind.PAGE, pageLo, hi);
  }

  /** One page in the instruction TLB and the cache of translations. */
  private dropSmallPage(pageLo: number, hi: number): void {
    this.fetchDropped(pageLo, hi);
    if (this.itlbUsed) {
      const first = ((pageLo >>> 12) & 127) << 2;
      for (let i = first; i < first + 4; i++) if ((this.itagLo[i]! & ~0xfff) === pageLo && this.itagHi[i] === hi) this.itagLo[i] = -1;
    }
    if (!this.xcUsed) return;
    for (let idx = 0; idx < MMU_INDEXES; idx++) {
      const x = ((pageLo >>> 12) ^ (idx << 3)) & (XC_ENTRIES - 1);
      if (this.xtagLo[x] === (pageLo | idx) && this.xtagHi[x] === hi) this.xtagLo[x] = -1;
    }
  }

  /** Entries have gone from the instruction TLB, or one page's: what is made of it has to forget them, too. */
  protected fetchesDropped(): void {
    // Nothing is.
  }
  protected fetchDropped(_pageLo: number, _hi: number): void {
    // Nothing is.
  }

  private dropXc(): void {
    if (this.xcUsed) this.xtagLo.fill(-1);
    this.xcUsed = false;
  }

  private dropSmall(): void {
    this.dropXc();
    if (this.itlbUsed) this.itagLo.fill(-1);
    this.itlbUsed = false;
    this.fetchesDropped();
  }

  /** The RAM page at ramOffset has got its first translation: writes to it must take the slow path from now on. */
  noteCodePage(ramOffset: number): void {
    this.tlb.noteCodePage(ramOffset);
  }

  /** Physical address for a data access on the slow path; fills the TLB. */
  private resolve(lo: number, hi: number, acc: Acc, idx: number): number {
    if (this.xcUsed) {
      const x = ((lo >>> 12) ^ (idx << 3)) & (XC_ENTRIES - 1);
      if (this.xtagLo[x] === ((lo & ~0xfff) | idx) && this.xtagHi[x] === hi) {
        const f = this.xflags[x]!;
        if (acc === Acc.READ || (f & Pg.WRITE) !== 0) {
          this.flags = f & ~Pg.DEVICE;
          const pa = this.xpa[x]! + (lo & 0xfff);
          // RAM may deserve a tag again: its entry was evicted, or the page holds no code any more.
          if (this.map.pageOffset(pa) >= 0) this.fill(idx, lo, hi, pa);
          return pa;
        }
      }
    }
    this.wide = false;
    const pa = this.translate(lo, hi, acc, idx);
    this.fill(idx, lo, hi, pa);
    // What watches data wants its pages to have no entry.
    if (this.wide && (this.flags & Pg.UNCACHED) === 0 && !this.guarded && !this.watchpoints.any) this.tlb.enterAround(idx, lo, hi, pa, this.flags, acc === Acc.WRITE);
    return pa;
  }

  // ---- physical access -------------------------------------------------------------------------------------------

  /** Reads within one page; size 1, 2 or 4. Signed 32-bit result for size 4. */
  private physRead(pa: number, size: number, lo: number, hi: number, acc: Acc): number {
    const off = this.map.pageOffset(pa);
    if (off < 0 || this.flags & Pg.UNCACHED) this.checkPhysical(pa, size, lo, hi, acc);
    if (off < 0) return this.map.read(pa, size) | 0;
    const p = off + (pa & 0xfff);
    return size === 4 ? this.view.getInt32(p, true) : size === 2 ? this.view.getUint16(p, true) : this.ram8[p]!;
  }

  private physWrite(pa: number, size: number, v: number, lo: number, hi: number): void {
    const off = this.map.pageOffset(pa);
    if (off < 0 || this.flags & Pg.UNCACHED) this.checkPhysical(pa, size, lo, hi, Acc.WRITE);
    if (off < 0 || this.map.isRom(pa)) {
      this.map.write(pa, size, size === 4 ? v >>> 0 : size === 2 ? v & 0xffff : v & 0xff);
      return;
    }
    const p = off + (pa & 0xfff);
    if (this.map.codePages[off >>> 12]) this.map.onCodeWrite(p, size);
    if (size === 4) this.view.setInt32(p, v, true);
    else if (size === 2) this.view.setUint16(p, v, true);
    else this.ram8[p] = v;
  }

  // ---- linear access for TypeScript --------------------------------------------------------------------------------

  /** Low word of hi:lo + n with the high word left in `carryHi`. */
  private carryHi = 0;
  private add(lo: number, hi: number, n: number): number {
    const r = (lo + n) | 0;
    this.carryHi = (r >>> 0) < (lo >>> 0) ? (hi + 1) | 0 : hi;
    return r;
  }

  /** Byte offset in RAM for a read of n bytes that the TLB covers, or -1. */
  hitRead(lo: number, hi: number, idx: number, n: number): number {
    return this.tlb.read(lo, hi, idx, n);
  }

  /** The same for a write. */
  hitWrite(lo: number, hi: number, idx: number, n: number): number {
    return this.tlb.write(lo, hi, idx, n);
  }

  /** Reads size bytes (1, 2, 4) on the slow path, page crossings and MMIO included. */
  private slowRead(lo: number, hi: number, size: number, idx: number): number {
    if (lo & (size - 1)) this.misaligned(lo, hi, Acc.READ);
    const first = 4096 - (lo & 0xfff);
    const pa1 = this.resolve(lo, hi, Acc.READ, idx);
    const f1 = this.flags;
    if (this.watchpoints.any) this.watchpoints.access(lo, hi, size, false);
    if (first >= size) return this.physRead(pa1, size, lo, hi, Acc.READ);
    const lo2 = this.add(lo, hi, first);
    const hi2 = this.carryHi;
    const pa2 = this.resolve(lo2, hi2, Acc.READ, idx);
    const f2 = this.flags;
    let v = 0;
    for (let i = 0; i < size; i++) {
      this.flags = i < first ? f1 : f2;
      v |= (i < first ? this.physRead(pa1 + i, 1, lo, hi, Acc.READ) : this.physRead(pa2 + i - first, 1, lo2, hi2, Acc.READ)) << (i * 8);
    }
    return v;
  }

  private slowWrite(lo: number, hi: number, size: number, idx: number, v: number): void {
    if (lo & (size - 1)) this.misaligned(lo, hi, Acc.WRITE);
    const first = 4096 - (lo & 0xfff);
    const pa1 = this.resolve(lo, hi, Acc.WRITE, idx);
    const f1 = this.flags;
    if (this.watchpoints.any) this.watchpoints.access(lo, hi, size, true);
    if (first >= size) {
      this.physWrite(pa1, size, v, lo, hi);
      return;
    }
    const lo2 = this.add(lo, hi, first);
    const hi2 = this.carryHi;
    const pa2 = this.resolve(lo2, hi2, Acc.WRITE, idx);
    const f2 = this.flags;
    for (let i = 0; i < size; i++) {
      this.flags = i < first ? f1 : f2;
      if (i < first) this.physWrite(pa1 + i, 1, v >>> (i * 8), lo, hi);
      else this.physWrite(pa2 + i - first, 1, v >>> (i * 8), lo2, hi2);
    }
  }

  /** size 1, 2 or 4; a signed 32-bit result for 4. */
  read(lo: number, hi: number, size: number, idx: number): number {
    const p = this.hitRead(lo, hi, idx, size);
    if (p < 0) return this.slowRead(lo, hi, size, idx);
    return size === 4 ? this.view.getInt32(p, true) : size === 2 ? this.view.getUint16(p, true) : this.ram8[p]!;
  }

  /** Result in this.lo and this.hi. */
  read64(lo: number, hi: number, idx: number): void {
    const p = this.hitRead(lo, hi, idx, 8);
    if (p >= 0) {
      this.lo = this.view.getInt32(p, true);
      this.hi = this.view.getInt32(p + 4, true);
      return;
    }
    if (lo & 7) this.misaligned(lo, hi, Acc.READ);
    const l = this.slowRead(lo, hi, 4, idx);
    const lo2 = this.add(lo, hi, 4);
    this.hi = this.read(lo2, this.carryHi, 4, idx);
    this.lo = l;
  }

  write(lo: number, hi: number, size: number, idx: number, v: number): void {
    const p = this.hitWrite(lo, hi, idx, size);
    if (p < 0) this.slowWrite(lo, hi, size, idx, v);
    else if (size === 4) this.view.setInt32(p, v, true);
    else if (size === 2) this.view.setUint16(p, v, true);
    else this.ram8[p] = v;
  }

  write64(lo: number, hi: number, idx: number, vLo: number, vHi: number): void {
    const p = this.hitWrite(lo, hi, idx, 8);
    if (p >= 0) {
      this.view.setInt32(p, vLo, true);
      this.view.setInt32(p + 4, vHi, true);
      return;
    }
    if (lo & 7) this.misaligned(lo, hi, Acc.WRITE);
    const lo2 = this.add(lo, hi, 4);
    const hi2 = this.carryHi;
    if ((lo & 0xfff) > 4088) this.probeWrite(lo, hi, 8, idx);
    this.write(lo, hi, 4, idx, vLo);
    this.write(lo2, hi2, 4, idx, vHi);
  }

  /** Faults as a write of n bytes (up to one page) at hi:lo would, and changes nothing but accessed and dirty bits. */
  probeWrite(lo: number, hi: number, n: number, idx: number): void {
    if (this.hitWrite(lo, hi, idx, n) >= 0) return;
    this.probe(lo, hi, n, idx, Acc.WRITE);
  }

  /** Faults as a read of n bytes (up to one page) would. */
  probeRead(lo: number, hi: number, n: number, idx: number): void {
    if (this.hitRead(lo, hi, idx, n) >= 0) return;
    this.probe(lo, hi, n, idx, Acc.READ);
  }

  private probe(lo: number, hi: number, n: number, idx: number, acc: Acc): void {
    const first = Math.min(n, 4096 - (lo & 0xfff));
    const pa = this.resolve(lo, hi, acc, idx);
    if (this.map.pageOffset(pa) < 0 || this.flags & Pg.UNCACHED) this.checkPhysical(pa, first, lo, hi, acc);
    if (n <= first) return;
    const lo2 = this.add(lo, hi, first);
    const hi2 = this.carryHi;
    const pa2 = this.resolve(lo2, hi2, acc, idx);
    if (this.map.pageOffset(pa2) < 0 || this.flags & Pg.UNCACHED) this.checkPhysical(pa2, n - first, lo2, hi2, acc);
  }

  // ---- GuestCpu slow paths -----------------------------------------------------------------------------------------

  load(w: number, addr: number, dst: number, acc: number): void {
    const V = this.V;
    const lo = V[addr * 2]!;
    const hi = V[addr * 2 + 1]!;
    const idx = this.dataIndex(acc);
    if (this.guarded) this.guard(lo, hi, 1 << w, acc, false);
    // The write check comes first: an atomic that may not write reports a write fault.
    if (acc & Access.RMW) this.probeWrite(lo, hi, 1 << w, idx);
    const d = dst * 2;
    if (w === 3) {
      this.read64(lo, hi, idx);
      V[d] = this.lo;
      V[d + 1] = this.hi;
    } else if (w === 2) {
      V[d] = this.read(lo, hi, 4, idx);
      V[d + 1] = 0;
    } else {
      const v = this.read(lo, hi, 1 << w, idx);
      const m = w === 1 ? 0xffff : 0xff;
      if (dst < Slot.TEMP) V[d] = (V[d]! & ~m) | v;
      else {
        V[d] = v;
        V[d + 1] = 0;
      }
    }
  }

  /**
   * Register of a device at the address in slot `addr`, for an access of 1, 2 or 4 bytes that nothing but the device has to look at and whose translation is known.
   * @returns its physical address, or -1: `load` or `store` has to see to it
   */
  private register(w: number, addr: number, acc: number, rights: number): number {
    const lo = this.V[addr * 2]!;
    const idx = this.dataIndex(acc);
    const x = ((lo >>> 12) ^ (idx << 3)) & (XC_ENTRIES - 1);
    if (this.xtagLo[x] !== ((lo & ~0xfff) | idx) || this.xtagHi[x] !== this.V[addr * 2 + 1] || (this.xflags[x]! & rights) !== rights) return -1;
    if (w === 3 || acc !== Access.NORMAL || (lo & ((1 << w) - 1)) !== 0 || this.guarded || this.watchpoints.any) return -1;
    const pa = this.xpa[x]! + (lo & 0xfff);
    return this.answers(pa) ? pa : -1;
  }

  /** GuestCpu.tryLoad, for registers of devices. */
  tryLoad(w: number, addr: number, dst: number, acc: number): GuestFault | null | undefined {
    const pa = this.register(w, addr, acc, Pg.DEVICE);
    if (pa < 0) return null;
    this.V[dst * 2] = this.map.read(pa, 1 << w) | 0;
    this.V[dst * 2 + 1] = 0;
    return undefined;
  }

  /** GuestCpu.tryStore, for registers of devices. */
  tryStore(w: number, addr: number, val: number, acc: number): GuestFault | null | undefined {
    const pa = this.register(w, addr, acc, Pg.DEVICE | Pg.WRITE);
    if (pa < 0) return null;
    const v = this.V[val * 2]!;
    this.map.write(pa, 1 << w, w === 2 ? v >>> 0 : w === 1 ? v & 0xffff : v & 0xff);
    return undefined;
  }

  store(w: number, addr: number, val: number, acc: number): void {
    const V = this.V;
    const lo = V[addr * 2]!;
    const hi = V[addr * 2 + 1]!;
    const idx = this.dataIndex(acc);
    if (this.guarded) this.guard(lo, hi, 1 << w, acc, true);
    if (w === 3) this.write64(lo, hi, idx, V[val * 2]!, V[val * 2 + 1]!);
    else this.write(lo, hi, 1 << w, idx, V[val * 2]!);
  }

  // ---- instruction fetch -------------------------------------------------------------------------------------------

  /** The instruction TLB has the page at hi:lo for the current privilege. */
  knowsFetch(lo: number, hi: number): boolean {
    const idx = this.fetchIndex();
    const i = (((lo >>> 12) & 127) << 2) | (idx & 3);
    return this.itagLo[i] === ((lo & ~0xfff) | idx) && this.itagHi[i] === hi;
  }

  /** Physical address of the code at hi:lo for the current privilege. */
  fetch(lo: number, hi: number): number {
    const idx = this.fetchIndex();
    const i = (((lo >>> 12) & 127) << 2) | (idx & 3);
    const pageLo = lo & ~0xfff;
    if (this.itagLo[i] === (pageLo | idx) && this.itagHi[i] === hi) {
      this.fetchGlobal = this.iglobal[i] !== 0;
      return this.ipa[i]! + (lo & 0xfff);
    }
    const pa = this.translate(lo, hi, Acc.FETCH, idx);
    this.fetchGlobal = (this.flags & Pg.GLOBAL) !== 0;
    if (this.flags & Pg.UNCACHED) {
      this.checkPhysical(pa, 2, lo, hi, Acc.FETCH);
      return pa;
    }
    this.itagLo[i] = pageLo | idx;
    this.itagHi[i] = hi;
    this.ipa[i] = pa - (pa & 0xfff);
    this.iglobal[i] = this.flags & Pg.GLOBAL;
    this.itlbUsed = true;
    return pa;
  }
}
