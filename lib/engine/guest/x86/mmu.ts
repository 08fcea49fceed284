/**
 * The x86 memory management unit: page walks (SDM vol. 3, chapter 4; AMD APM vol. 2, chapter 5), the software TLB of
 * state.ts, the instruction TLB, and memory access for slow paths and TypeScript helpers.
 *
 * Access rights are given as an MMU index: Mmu.USER, Mmu.KERNEL (also implicit supervisor accesses: SMAP applies whatever
 * EFLAGS.AC says), Mmu.KERNEL_AC, or MMU_ALIGN (user, alignment checking on; its table is never filled).
 */
import { Access, Slot, TLB_BASE, TLB_BITS, TLB_TABLE_BYTES } from '../../state.js';
import { FlushKind, type GuestFault, type PhysicalMap } from '../../cpu.js';
import { Cr0, Cr4, Efer, Vec, canonical } from './defs.js';
import { MMU_ALIGN, Mmu as Ix, Mode, Seg, X } from './mode.js';
import { TlbContexts } from './contexts.js';
import type { X86Cpu } from './cpu.js';
import { TlbTables } from '../tlb-tables.js';

/** Word index of the first TLB entry, and words per table. */
const TLB_W = TLB_BASE >> 2;
const TABLE_W = TLB_TABLE_BYTES >> 2;
const IDX_MASK = (1 << TLB_BITS) - 1;
const ITLB_ENTRIES = 512;
const XC_ENTRIES = 64;
const LARGE = 1024;
/** Most pages that one miss enters besides its own. */
const AHEAD = 7;
/** Pages of 4 KiB of a large page that are entered together: a power of two. */
const AROUND = 16;
const WC_ENTRIES = 128;

/** What a translation allows, in `Mmu.flags` and the low bits of an entry's RAM_PAGE word. */
export const enum Pg {
  GLOBAL = 1,
  /** This MMU index may write. */
  WRITE = 2,
  DIRTY = 4,
}

/** #PF error code bits (SDM vol. 3, figure 4-12). */
export const enum Pfe { P = 1, W = 2, U = 4, RSVD = 8, I = 16 }

/** Kinds of access for `translate`. */
export const enum Acc { READ = 0, WRITE = 1, FETCH = 2 }

/** In `xflags`, beside `Pg`: no RAM, and no breakpoint in the page. */
const DEVICE = 8;
/** What `tryAccess` returns if it has no address. */
const enum Try {
  NO = -1,
  FAULT = -2,
}
/** What a walk returns if it has no address. */
const enum Walk {
  OK = 0,
  /** Another CPU has changed an entry meanwhile. */
  RETRY = -1,
  FAULT = -2,
}

export class X86Mmu {
  /** Result of read64. */
  lo = 0;
  hi = 0;
  /** Rights of the last translation (`Pg`). */
  flags = 0;
  /** False while the A20 gate masks address bit 20. */
  a20 = true;
  /** Physical address of the first paging structure. */
  root = 0;

  private readonly V: Int32Array;
  private readonly U8: Uint8Array;
  private readonly map: PhysicalMap;
  private readonly ram8: Uint8Array;
  private readonly ram16: Uint16Array;
  private readonly ram32: Int32Array;
  private readonly view: DataView;

  // Copies of control register bits, see configure().
  private paging = false;
  private levels = 0;
  private pse = false;
  private nxe = false;
  private wp = false;
  private smep = false;
  private smap = false;
  private pge = false;
  private lin64 = false;
  private linBits = 48;
  private rsvdHi = 0;

  private readonly tlb: TlbTables;
  private readonly contexts = new TlbContexts();

  private readonly itagLo = new Int32Array(ITLB_ENTRIES).fill(-1);
  private readonly itagHi = new Int32Array(ITLB_ENTRIES);
  private readonly ipa = new Float64Array(ITLB_ENTRIES);
  private readonly iglobal = new Uint8Array(ITLB_ENTRIES);
  private itlbUsed = false;
  /** Entries of non-global pages filled since the last flush; some twice. Full: it may not have all. */
  private readonly ilist = new Uint16Array(ITLB_ENTRIES);
  private icount = 0;
  /** Size of the page the last walk found: 0 = 4 KiB, 1 = 2 or 4 MiB, 2 = 1 GiB. */
  private pageSize = 0;
  /**
   * Which regions may have entries that come from large pages: a filter on bits 22 and up (index below LARGE) or 30 and up
   * of the linear address. INVLPG for any address of a large page drops every entry made from it (SDM vol. 3, 4.10.2.3).
   */
  private readonly largeSeen = new Uint8Array(LARGE * 2);
  private anyLarge = false;
  /** The last instruction fetch went through a global page. */
  fetchGlobal = false;

  /** Translations of pages that never get tags (MMIO, code, ROM): saves the walk. Tag = page address | MMU index. */
  private readonly xtagLo = new Int32Array(XC_ENTRIES).fill(-1);
  private readonly xtagHi = new Int32Array(XC_ENTRIES);
  private readonly xpa = new Float64Array(XC_ENTRIES);
  private readonly xflags = new Uint8Array(XC_ENTRIES);
  private xcUsed = false;

  /** Page faults are noted in `denied`, not thrown: throwing costs microseconds. */
  private quiet = false;
  private denied: GuestFault | null = null;
  /** Number of the page (bits 12..31) after the one that missed last. */
  private expected = -1;
  /** First page of the group that `fillAround` entered last for a read, and for a write. */
  private nearRead = -1;
  private nearWrite = -1;

  /** Paging-structure cache: page table (last level) of a 2 MiB region, with the rights of the levels above it. */
  private readonly wtagLo = new Int32Array(WC_ENTRIES).fill(-1);
  private readonly wtagHi = new Int32Array(WC_ENTRIES);
  private readonly wtable = new Float64Array(WC_ENTRIES);
  /** Bit 0 user, bit 1 writable, bit 2 no-execute. */
  private readonly wrights = new Uint8Array(WC_ENTRIES);
  private wcUsed = false;

  constructor(private readonly cpu: X86Cpu) {
    this.V = cpu.V;
    this.U8 = cpu.U8;
    this.map = cpu.map;
    this.ram8 = cpu.map.ram8;
    this.ram16 = cpu.map.ram16;
    this.ram32 = cpu.map.ram32;
    this.view = cpu.map.ramView;
    this.tlb = new TlbTables(cpu.map, cpu.V, MMU_ALIGN + 1, MMU_ALIGN + 1);
  }

  /** Takes over CR0, CR3, CR4 and EFER. Flushes nothing. */
  configure(): void {
    const { cr0, cr4, efer } = this.cpu;
    this.paging = cr0 < 0;
    this.wp = (cr0 & Cr0.WP) !== 0;
    this.pse = (cr4 & Cr4.PSE) !== 0;
    this.smep = (cr4 & Cr4.SMEP) !== 0;
    this.smap = (cr4 & Cr4.SMAP) !== 0;
    this.pge = (cr4 & Cr4.PGE) !== 0;
    const lma = (efer & Efer.LMA) !== 0;
    const pae = (cr4 & Cr4.PAE) !== 0;
    this.nxe = pae && (efer & Efer.NXE) !== 0;
    this.lin64 = lma;
    this.linBits = lma && (cr4 & Cr4.LA57) ? 57 : 48;
    this.levels = lma ? (cr4 & Cr4.LA57 ? 5 : 4) : pae ? 3 : 2;
    const physHi = this.cpu.model.physBits - 32;
    const beyond = (0x000f_ffff & ~((1 << physHi) - 1)) | 0;
    // Legacy PAE also reserves bits 52..62 (SDM vol. 3, 4.4.2); IA-32e paging ignores them.
    this.rsvdHi = (lma ? beyond : beyond | 0x7ff0_0000) | (this.nxe ? 0 : 0x8000_0000) | 0;
    const lo = this.cpu.cr3Lo;
    const hi = this.cpu.cr3Hi;
    this.root = lma ? (hi & ((1 << physHi) - 1)) * 4294967296 + ((lo & ~0xfff) >>> 0)
      : pae ? (lo & ~0x1f) >>> 0 : (lo & ~0xfff) >>> 0;
  }

  // ---- page walk -------------------------------------------------------------------------------------------------

  /** Raises #PF for hi:lo, or while `quiet` returns Walk.FAULT. `code` has P and RSVD; the other bits follow from the access. */
  private pageFault(lo: number, hi: number, code: number, acc: Acc, user: boolean): Walk.FAULT {
    if (acc === Acc.WRITE) code |= Pfe.W;
    if (user) code |= Pfe.U;
    if (acc === Acc.FETCH && (this.nxe || this.smep)) code |= Pfe.I;
    const f = this.cpu.pageFault(lo, hi, code);
    if (!this.quiet) throw f;
    this.denied = f;
    return Walk.FAULT;
  }

  private readEntryLo(ea: number): number {
    const off = this.map.pageOffset(ea);
    if (off < 0) return this.map.read(ea, 4) | 0;
    return this.ram32[(off + (ea & 0xfff)) >>> 2]!;
  }

  /** Sets bits of an entry if it still reads `old`. False: another CPU changed it, walk again. */
  private orEntry(ea: number, old: number, bits: number): boolean {
    const off = this.map.pageOffset(ea);
    if (off < 0) {
      this.map.write(ea, 4, (old | bits) >>> 0);
      return true;
    }
    // Firmware may keep page tables in ROM: accessed and dirty bits do not stick there.
    if (this.map.isRom(ea)) return true;
    const p = off + (ea & 0xfff);
    if (this.map.codePages[off >>> 12]) this.map.onCodeWrite(p, 4);
    return Atomics.compareExchange(this.ram32, p >>> 2, old, old | bits) === old;
  }

  /**
   * Physical address for linear address hi:lo, with rights checked and accessed and dirty bits set. Sets `flags`.
   * Non-leaf entries get their accessed bit as they are used, the leaf only when the access is allowed.
   * @throws GuestFault #PF, or #GP for a non-canonical address
   */
  translate(lo: number, hi: number, acc: Acc, idx: number): number {
    const user = idx === Ix.USER || idx === MMU_ALIGN;
    this.pageSize = 0;
    if (!this.paging) {
      this.flags = Pg.GLOBAL | Pg.WRITE | Pg.DIRTY;
      return this.gate(lo >>> 0);
    }
    if (this.lin64) {
      if (!canonical(hi, this.linBits)) throw this.cpu.fault(acc !== Acc.FETCH && this.cpu.redecode.usesStack(acc === Acc.WRITE) ? Vec.SS : Vec.GP, 0);
    } else hi = 0;
    for (;;) {
      const pa = this.levels === 2 ? this.walk32(lo, acc, user, idx) : this.walk64(lo, hi, acc, user, idx);
      if (pa >= 0) {
        if (this.pageSize !== 0) this.noteLarge(lo, hi, this.pageSize === 2);
        return this.gate(pa);
      }
      if (pa === Walk.FAULT) return pa;
    }
  }

  /** GuestCpu.tryLoad. */
  tryLoad(w: number, addr: number, dst: number, acc: number): GuestFault | null | undefined {
    const { V } = this;
    const lo = V[addr * 2]!;
    if ((lo & 0xfff) + (1 << w) > 4096) {
      if (acc & Access.RMW || !this.crossRead(lo, V[addr * 2 + 1]!, this.indexFor(acc), 1 << w)) return null;
      V[dst * 2] = this.lo;
      V[dst * 2 + 1] = this.hi;
      return undefined;
    }
    const pa = this.tryAccess(w, addr, acc, (acc & Access.RMW) !== 0);
    if (pa < 0) return pa === Try.FAULT ? this.denied : null;
    V[dst * 2] = this.map.read(pa, 1 << w) | 0;
    V[dst * 2 + 1] = 0;
    return undefined;
  }

  /** GuestCpu.tryStore. */
  tryStore(w: number, addr: number, val: number, acc: number): GuestFault | null | undefined {
    const { V } = this;
    const lo = V[addr * 2]!;
    if ((lo & 0xfff) + (1 << w) > 4096) return this.crossWrite(lo, V[addr * 2 + 1]!, this.indexFor(acc), 1 << w, V[val * 2]!, V[val * 2 + 1]!) ? undefined : null;
    const pa = this.tryAccess(w, addr, acc, true);
    if (pa < 0) return pa === Try.FAULT ? this.denied : null;
    const v = V[val * 2]!;
    this.map.write(pa, 1 << w, w === 2 ? v >>> 0 : w === 1 ? v & 0xffff : v & 0xff);
    return undefined;
  }

  /** @returns the physical address if the access goes to a device that is known already, otherwise `Try`; without a fault the TLB knows the page then */
  private tryAccess(w: number, addr: number, acc: number, write: boolean): number {
    const lo = this.V[addr * 2]!;
    const hi = this.V[addr * 2 + 1]!;
    const idx = this.indexFor(acc);
    if (!this.paging || idx === MMU_ALIGN) return Try.NO;
    const x = ((lo >>> 12) ^ (idx << 3)) & (XC_ENTRIES - 1);
    if (this.xcUsed && this.xtagLo[x] === ((lo & ~0xfff) | idx) && this.xtagHi[x] === hi) {
      const f = this.xflags[x]!;
      if (!write || (f & (Pg.WRITE | Pg.DIRTY)) === (Pg.WRITE | Pg.DIRTY)) return (f & DEVICE) !== 0 && w <= 2 ? this.xpa[x]! + (lo & 0xfff) : Try.NO;
    }
    if (this.lin64 && !canonical(hi, this.linBits)) return Try.NO;
    let pa: number;
    this.quiet = true;
    try {
      pa = this.translate(lo, hi, write ? Acc.WRITE : Acc.READ, idx);
    } finally {
      this.quiet = false;
    }
    if (pa === Walk.FAULT) return Try.FAULT;
    const n = lo >>> 12;
    this.fill(idx, lo, hi, pa);
    if (this.pageSize !== 0) this.fillAround(idx, lo, hi, pa, write);
    else if (n === this.expected) this.fillAhead(idx, lo, hi);
    else this.expected = n + 1;
    return Try.NO;
  }

  /**
   * The page before hi:lo missed a moment ago, and now this one: those that come next in its page table are entered, too, if they have been
   * accessed before. Processors may do so at any time (SDM vol. 3, 4.10.2.3).
   */
  private fillAhead(idx: number, lo: number, hi: number): void {
    const { V, flags } = this;
    if (!this.a20) return;
    const first = lo >>> 12;
    const last = Math.min(first + AHEAD, first | 511);
    const wc = (lo >>> 21) & (WC_ENTRIES - 1);
    if (this.levels === 2 || this.wtagLo[wc] !== (lo & ~0x1f_ffff) || this.wtagHi[wc] !== hi) return;
    const rights = this.wrights[wc]!;
    const off = this.map.pageOffset(this.wtable[wc]!);
    if (off < 0) return;
    const user = idx === Ix.USER;
    let n = first + 1;
    for (; n <= last; n++) {
      const at = n << 12;
      const e = TLB_W + idx * TABLE_W + (n & IDX_MASK) * 8;
      if (V[e] === at && V[e + 1] === hi) break;
      const p = (off >>> 2) + (n & 511) * 2;
      const eLo = this.ram32[p]!;
      const eHi = this.ram32[p + 1]!;
      const us = (rights & eLo >>> 2 & 1) !== 0;
      if ((eLo & 0x21) !== 0x21 || eHi & this.rsvdHi || (user ? !us : us && this.smap && idx !== Ix.KERNEL_AC)) break;
      this.leaf(at, hi, 0, eLo, us, (rights & eLo & 2) !== 0, false, Acc.READ, user, idx);
      this.fill(idx, at, hi, (eHi & 0xf_ffff) * 4294967296 + ((eLo & ~0xfff) >>> 0));
    }
    this.expected = n;
    this.flags = flags;
  }

  /**
   * hi:lo lies in a large page (or there is no paging), of which the TLB has had no entry for this page of 4 KiB: those around it in the page, which have the same rights, are
   * entered, too. In place of others only if the last miss of the kind was near: the kernel's map of all memory would push out everything else.
   */
  private fillAround(idx: number, lo: number, hi: number, pa: number, write: boolean): void {
    if (!this.a20 || idx === MMU_ALIGN) return;
    const { V, flags, map } = this;
    const n = lo >>> 12;
    const first = n & ~(AROUND - 1);
    const before = write ? this.nearWrite : this.nearRead;
    if (write) this.nearWrite = first;
    else this.nearRead = first;
    const near = Math.abs(first - before) <= AROUND;
    const page = pa - (pa & 0xfff);
    for (let k = first; k < first + AROUND; k++) {
      const e = TLB_W + idx * TABLE_W + (k & IDX_MASK) * 8;
      const known = V[e] === k << 12 && V[e + 1] === hi;
      if (k === n || (known ? !write || V[e + 2] !== -1 : V[e + 7] !== 0 && !near)) continue;
      const to = page + (k - n) * 4096;
      const off = map.pageOffset(to);
      if (off < 0 || map.codePages[off >>> 12] !== 0) continue;
      this.flags = flags;
      this.fill(idx, k << 12, hi, to);
    }
    this.flags = flags;
  }

  private gate(pa: number): number {
    if (!this.a20 && Math.floor(pa / 0x10_0000) & 1) return pa - 0x10_0000;
    return pa;
  }

  /** 32-bit paging (SDM vol. 3, 4.3). Returns -1 to ask for a retry. */
  private walk32(lo: number, acc: Acc, user: boolean, idx: number): number {
    const pdea = this.root + ((lo >>> 22) << 2);
    const pde = this.readEntryLo(pdea);
    if (!(pde & 1)) return this.pageFault(lo, 0, 0, acc, user);
    if (this.pse && pde & 0x80) {
      // PSE-36: bits 13..20 are address bits 32..39; bit 21 is reserved.
      if (pde & 0x20_0000) return this.pageFault(lo, 0, Pfe.P | Pfe.RSVD, acc, user);
      this.pageSize = 1;
      const end = this.leaf(lo, 0, pdea, pde, (pde & 4) !== 0, (pde & 2) !== 0, false, acc, user, idx);
      if (end !== Walk.OK) return end;
      return ((pde >>> 13) & 0xff) * 4294967296 + (((pde & 0xffc0_0000) | (lo & 0x3f_ffff)) >>> 0);
    }
    if (!(pde & 0x20) && !this.orEntry(pdea, pde, 0x20)) return Walk.RETRY;
    const ptea = ((pde & ~0xfff) >>> 0) + ((lo >>> 10) & 0xffc);
    const pte = this.readEntryLo(ptea);
    if (!(pte & 1)) return this.pageFault(lo, 0, 0, acc, user);
    const both = pde & pte;
    const end = this.leaf(lo, 0, ptea, pte, (both & 4) !== 0, (both & 2) !== 0, false, acc, user, idx);
    if (end !== Walk.OK) return end;
    return ((pte & ~0xfff) | (lo & 0xfff)) >>> 0;
  }

  /** PAE, 4-level and 5-level paging (SDM vol. 3, 4.4 and 4.5). @returns the physical address, or `Walk` */
  private walk64(lo: number, hi: number, acc: Acc, user: boolean, idx: number): number {
    let table = this.root;
    let us = true;
    let rw = true;
    let nx = false;
    const pae = this.levels === 3;
    let level = this.levels;
    const region = lo & ~0x1f_ffff;
    const wc = (lo >>> 21) & (WC_ENTRIES - 1);
    if (this.wtagLo[wc] === region && this.wtagHi[wc] === hi) {
      const r = this.wrights[wc]!;
      us = (r & 1) !== 0;
      rw = (r & 2) !== 0;
      nx = (r & 4) !== 0;
      table = this.wtable[wc]!;
      level = 1;
    }
    for (; ; level--) {
      const i = level === 1 ? lo >>> 12 : level === 2 ? lo >>> 21 : level === 3 ? (lo >>> 30) | (hi << 2) : level === 4 ? hi >>> 7 : hi >>> 16;
      const ea = table + (i & 511) * 8;
      const off = this.map.pageOffset(ea);
      const word = (off + (ea & 0xff8)) >>> 2;
      const eLo = off < 0 ? this.map.read(ea, 4) | 0 : this.ram32[word]!;
      if (!(eLo & 1)) return this.pageFault(lo, hi, 0, acc, user);
      const eHi = off < 0 ? this.map.read(ea + 4, 4) | 0 : this.ram32[word + 1]!;
      if (pae && level === 3) {
        // A PDPTE has no rights and no accessed bit; bits 1, 2, 5..8 and 63 are reserved (SDM vol. 3, table 4-8).
        if (eLo & 0x1e6 || eHi & (this.rsvdHi | 0x8000_0000)) return this.pageFault(lo, hi, Pfe.P | Pfe.RSVD, acc, user);
        table = (eHi & 0xf_ffff) * 4294967296 + ((eLo & ~0xfff) >>> 0);
        continue;
      }
      if (eHi & this.rsvdHi) return this.pageFault(lo, hi, Pfe.P | Pfe.RSVD, acc, user);
      us = us && (eLo & 4) !== 0;
      rw = rw && (eLo & 2) !== 0;
      nx = nx || eHi < 0;
      const ps = (eLo & 0x80) !== 0 && level > 1;
      if (ps) {
        if (level > 3 || (level === 3 && !this.cpu.model.gbPages) || eLo & (level === 3 ? 0x3fff_e000 : 0x1f_e000)) {
          return this.pageFault(lo, hi, Pfe.P | Pfe.RSVD, acc, user);
        }
      }
      if (level === 1 || ps) {
        this.pageSize = level - 1;
        const end = this.leaf(lo, hi, ea, eLo, us, rw, nx, acc, user, idx);
        if (end !== Walk.OK) return end;
        const mask = level === 1 ? 0xfff : level === 2 ? 0x1f_ffff : 0x3fff_ffff;
        return (eHi & 0xf_ffff) * 4294967296 + (((eLo & ~mask & ~0xfff) | (lo & mask)) >>> 0);
      }
      if (!(eLo & 0x20) && !this.orEntry(ea, eLo, 0x20)) return Walk.RETRY;
      table = (eHi & 0xf_ffff) * 4294967296 + ((eLo & ~0xfff) >>> 0);
      if (level === 2) {
        this.wtagLo[wc] = region;
        this.wtagHi[wc] = hi;
        this.wtable[wc] = table;
        this.wrights[wc] = (us ? 1 : 0) | (rw ? 2 : 0) | (nx ? 4 : 0);
        this.wcUsed = true;
      }
    }
  }

  /** Access rights (SDM vol. 3, 4.6) and accessed/dirty bits of the last entry. */
  private leaf(lo: number, hi: number, ea: number, e: number, us: boolean, rw: boolean, nx: boolean, acc: Acc, user: boolean, idx: number): Walk {
    let ok: boolean;
    let writable: boolean;
    if (user) {
      ok = us;
      writable = us && rw;
      if (acc === Acc.FETCH) ok = us && !nx;
    } else {
      ok = acc === Acc.FETCH ? !nx && !(us && this.smep) : !(us && this.smap && idx !== Ix.KERNEL_AC);
      writable = ok && (rw || !this.wp);
    }
    if (acc === Acc.WRITE) ok = writable;
    if (!ok) return this.pageFault(lo, hi, Pfe.P, acc, user);
    const bits = acc === Acc.WRITE ? 0x60 : 0x20;
    if ((e & bits) !== bits && !this.orEntry(ea, e, bits)) return Walk.RETRY;
    this.flags = (this.pge && e & 0x100 ? Pg.GLOBAL : 0) | (writable ? Pg.WRITE : 0) | ((e | bits) & 0x40 ? Pg.DIRTY : 0);
    return Walk.OK;
  }

  // ---- TLB -------------------------------------------------------------------------------------------------------

  /**
   * Enters a translation. @returns byte offset of the page in RAM, or -1 for MMIO.
   * Pages with an enabled data breakpoint and the table for alignment checks get no entry.
   */
  private fill(idx: number, lo: number, hi: number, pa: number): number {
    const off = this.map.pageOffset(pa);
    const pageLo = lo & ~0xfff;
    const page = pa - (pa & 0xfff);
    const rom = off >= 0 && this.map.isRom(pa);
    const ram = off >= 0 && (this.flags & (Pg.WRITE | Pg.DIRTY)) === (Pg.WRITE | Pg.DIRTY) && !rom;
    const write = ram && this.map.codePages[off >>> 12] === 0;
    if (!write && (ram || rom || off < 0)) {
      const x = ((lo >>> 12) ^ (idx << 3)) & (XC_ENTRIES - 1);
      this.xtagLo[x] = pageLo | idx;
      this.xtagHi[x] = hi;
      this.xpa[x] = page;
      this.xflags[x] = this.flags | (off < 0 && !this.cpu.debug.watches(pageLo, hi) ? DEVICE : 0);
      this.xcUsed = true;
    }
    if (off < 0 || idx === MMU_ALIGN || this.cpu.debug.watches(pageLo, hi)) return off;
    this.tlb.enter(idx, lo, hi, off, this.flags, write, ram && !write);
    return off;
  }

  /** Everything, global pages too. Whatever changes more of a CPU than an instruction can does it. */
  flushAll(): void {
    this.dropTranslations();
    this.cpu.onFlush(FlushKind.ALL, 0, 0);
  }

  /** The same where nothing but translations has changed: MOV to CR0, CR4, INVPCID. */
  flushTranslations(): void {
    this.dropTranslations();
    this.cpu.onFlush(FlushKind.TRANSLATIONS, 0, 0);
  }

  private dropTranslations(): void {
    this.cpu.answers.forget();
    this.contexts.dropAll();
    this.tlb.dropAll();
    this.dropSmall();
    if (!this.anyLarge) return;
    this.largeSeen.fill(0);
    this.anyLarge = false;
  }

  /** Everything but global pages, of every address space (MOV to CR3, SDM vol. 3, 4.10.4.1). */
  flushNonGlobal(): void {
    this.contexts.dropAll();
    this.dropNonGlobal();
    this.cpu.onFlush(FlushKind.NON_GLOBAL, 0, 0);
  }

  private dropNonGlobal(): void {
    this.tlb.dropNonGlobal();
    const n = this.icount;
    this.icount = 0;
    for (let k = 0; k < n; k++) {
      // A flush comes with every change of address space: most have few entries.
      const i = n === ITLB_ENTRIES ? k : this.ilist[k]!;
      if (!this.iglobal[i]) this.itagLo[i] = -1;
    }
    this.dropXc();
  }

  /**
   * MOV to CR3 with CR4.PCIDE, after `configure`: the address space changes from one identifier to another. `keep`: what was known of the
   * new one is still good (bit 63); otherwise it is forgotten.
   */
  switchContext(from: number, to: number, keep: boolean): void {
    const { contexts, tlb, V } = this;
    if (from === to || !keep) contexts.drop(to);
    contexts.touch(to);
    let saved = -1;
    if (from !== to) {
      saved = contexts.take(from);
      for (let t = 0; t <= MMU_ALIGN * 2; t += 2) {
        for (let i = 0, c = tlb.count(t); i < c; i++) {
          const e = tlb.entry(t, i);
          if (V[e + 7] !== 0 && (V[e + 6]! & Pg.GLOBAL) === 0) contexts.add(saved, e, V);
        }
      }
    }
    this.dropNonGlobal();
    const known = contexts.find(to);
    for (let i = 0, c = known < 0 ? 0 : contexts.count(known); i < c; i++) {
      const e = contexts.put(known, i, V, this.map.codePages);
      if (e >= 0) tlb.putBack(e);
    }
    this.cpu.onFlush(FlushKind.SWITCH, saved, known);
  }

  /** INVPCID of one identifier that may not be the present one. */
  forgetContext(pcid: number): void {
    this.contexts.drop(pcid);
  }

  /** Index in largeSeen of the region of 4 MiB (giant: 1 GiB) that holds hi:lo. */
  private largeIndex(lo: number, hi: number, giant: boolean): number {
    return giant ? LARGE + (((lo >>> 30) ^ (hi << 2) ^ (hi >>> 5)) & (LARGE - 1)) : ((lo >>> 22) ^ (hi << 5) ^ (hi >>> 7)) & (LARGE - 1);
  }

  /** Something is known of a large page at hi:lo. */
  noteLarge(lo: number, hi: number, giant: boolean): void {
    this.largeSeen[this.largeIndex(lo, hi, giant)] = 1;
    this.anyLarge = true;
  }

  /** Drops every entry of the region around hi:lo that a large page may have filled. */
  private flushRegion(lo: number, hi: number, giant: boolean): void {
    const mask = giant ? 0xc000_0000 | 0 : 0xffc0_0000 | 0;
    this.tlb.dropRegion(lo, hi, mask);
    this.dropSmall();
    // Code reached through the region: the jump caches have no index by region.
    this.cpu.onFlush(FlushKind.TRANSLATIONS, 0, 0);
  }

  /** One page, in every table (INVLPG). */
  flushPage(lo: number, hi: number): void {
    const pageLo = lo & ~0xfff;
    if (this.anyLarge) {
      if (this.largeSeen[this.largeIndex(lo, hi, true)]) this.flushRegion(lo, hi, true);
      else if (this.largeSeen[this.largeIndex(lo, hi, false)]) this.flushRegion(lo, hi, false);
    }
    this.tlb.dropPage(lo, hi);
    this.dropHere(pageLo, hi);
    this.cpu.onFlush(FlushKind.PAGE, pageLo, hi);
  }

  /** INVLPG in the small caches: what they have of the page, and all paging-structure caches (SDM vol. 3, 4.10.4.1). */
  private dropHere(pageLo: number, hi: number): void {
    if (this.wcUsed) this.wtagLo.fill(-1);
    this.wcUsed = false;
    const n = pageLo >>> 12;
    const i = (n & 255) << 1;
    for (let user = 0; user < 2; user++) if (this.itagLo[i | user] === pageLo && this.itagHi[i | user] === hi) this.itagLo[i | user] = -1;
    if (!this.xcUsed) return;
    for (let idx = 0; idx <= MMU_ALIGN; idx++) {
      const x = (n ^ (idx << 3)) & (XC_ENTRIES - 1);
      if (this.xtagLo[x] === (pageLo | idx) && this.xtagHi[x] === hi) this.xtagLo[x] = -1;
    }
  }

  /** The caches that hold no global translations apart: dropped by every flush. */
  private dropXc(): void {
    if (this.wcUsed) this.wtagLo.fill(-1);
    this.wcUsed = false;
    if (this.xcUsed) this.xtagLo.fill(-1);
    this.xcUsed = false;
  }

  private dropSmall(): void {
    this.dropXc();
    if (this.itlbUsed) this.itagLo.fill(-1);
    this.itlbUsed = false;
    this.icount = 0;
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
        if (acc === Acc.READ || (f & (Pg.WRITE | Pg.DIRTY)) === (Pg.WRITE | Pg.DIRTY)) {
          this.flags = f & ~DEVICE;
          const pa = this.xpa[x]! + (lo & 0xfff);
          // RAM may deserve a tag again: its entry was evicted, or the page holds no code any more.
          const off = this.map.pageOffset(pa);
          if (off >= 0 && (this.map.codePages[off >>> 12] === 0 || this.hitRead(lo, hi, idx, 1) < 0)) this.fill(idx, lo, hi, pa);
          return pa;
        }
      }
    }
    const pa = this.translate(lo, hi, acc, idx);
    this.fill(idx, lo, hi, pa);
    if (this.pageSize !== 0 || !this.paging) this.fillAround(idx, lo, hi, pa, acc === Acc.WRITE);
    return pa;
  }

  // ---- physical access -------------------------------------------------------------------------------------------

  /** Reads within one page; size 1, 2 or 4. Signed 32-bit result for size 4. */
  private physRead(pa: number, size: number): number {
    const off = this.map.pageOffset(pa);
    if (off < 0) return this.map.read(pa, size) | 0;
    const p = off + (pa & 0xfff);
    return size === 4 ? this.view.getInt32(p, true) : size === 2 ? this.view.getUint16(p, true) : this.ram8[p]!;
  }

  private physWrite(pa: number, size: number, v: number): void {
    const off = this.map.pageOffset(pa);
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

  /** Low word of linear address + n with the carry left in `carryHi`. */
  private carryHi = 0;
  private add(lo: number, hi: number, n: number): number {
    const r = (lo + n) | 0;
    this.carryHi = (r >>> 0) < (lo >>> 0) ? (this.lin64 ? (hi + 1) | 0 : 0) : hi;
    return r;
  }

  /** Byte offset in RAM for a read of n bytes that the TLB covers, or -1. */
  private hitRead(lo: number, hi: number, idx: number, n: number): number {
    return this.tlb.read(lo, hi, idx, n);
  }

  private hitWrite(lo: number, hi: number, idx: number, n: number): number {
    return this.tlb.write(lo, hi, idx, n);
  }

  /** Slow-path read of 1, 2 or 4 bytes, page crossings and MMIO included. acc = WRITE checks for write permission. */
  private slowRead(lo: number, hi: number, size: number, idx: number, acc: Acc): number {
    if (idx === MMU_ALIGN && lo & (size - 1)) throw this.cpu.fault(Vec.AC, 0);
    const first = 4096 - (lo & 0xfff);
    if (first >= size) {
      const pa = this.resolve(lo, hi, acc, idx);
      this.cpu.debug.onData(lo, hi, size, acc === Acc.WRITE);
      return this.physRead(pa, size);
    }
    const pa1 = this.resolve(lo, hi, acc, idx);
    const lo2 = this.add(lo, hi, first);
    const pa2 = this.resolve(lo2, this.carryHi, acc, idx);
    this.cpu.debug.onData(lo, hi, size, acc === Acc.WRITE);
    let v = 0;
    for (let i = 0; i < size; i++) v |= this.physRead(i < first ? pa1 + i : pa2 + i - first, 1) << (i * 8);
    return v;
  }

  private slowWrite(lo: number, hi: number, size: number, idx: number, v: number): void {
    if (idx === MMU_ALIGN && lo & (size - 1)) throw this.cpu.fault(Vec.AC, 0);
    const first = 4096 - (lo & 0xfff);
    const pa1 = this.resolve(lo, hi, Acc.WRITE, idx);
    if (first >= size) {
      this.cpu.debug.onData(lo, hi, size, true);
      this.physWrite(pa1, size, v);
      return;
    }
    const lo2 = this.add(lo, hi, first);
    const pa2 = this.resolve(lo2, this.carryHi, Acc.WRITE, idx);
    this.cpu.debug.onData(lo, hi, size, true);
    for (let i = 0; i < size; i++) this.physWrite(i < first ? pa1 + i : pa2 + i - first, 1, v >>> (i * 8));
  }

  /**
   * A read of n bytes, 2 to 8, that crosses into a page the TLB knows as well as its own: to the vCPU, such an access is a miss. Result in
   * this.lo and this.hi. @returns false if it is not known or crosses nothing; nothing has happened then
   */
  private crossRead(lo: number, hi: number, idx: number, n: number): boolean {
    const first = 4096 - (lo & 0xfff);
    if (first >= n) return false;
    const p1 = this.hitRead(lo, hi, idx, first);
    if (p1 < 0) return false;
    const p2 = this.hitRead(this.add(lo, hi, first), this.carryHi, idx, n - first);
    if (p2 < 0) return false;
    const { ram8 } = this;
    let l = 0;
    let h = 0;
    for (let i = 0; i < n; i++) {
      const b = ram8[i < first ? p1 + i : p2 + i - first]!;
      if (i < 4) l |= b << (i * 8);
      else h |= b << (i * 8 - 32);
    }
    this.lo = l;
    this.hi = h;
    return true;
  }

  /** The same for a write. */
  private crossWrite(lo: number, hi: number, idx: number, n: number, vLo: number, vHi: number): boolean {
    const first = 4096 - (lo & 0xfff);
    if (first >= n) return false;
    const p1 = this.hitWrite(lo, hi, idx, first);
    if (p1 < 0) return false;
    const p2 = this.hitWrite(this.add(lo, hi, first), this.carryHi, idx, n - first);
    if (p2 < 0) return false;
    const { ram8 } = this;
    for (let i = 0; i < n; i++) ram8[i < first ? p1 + i : p2 + i - first] = i < 4 ? vLo >>> (i * 8) : vHi >>> (i * 8 - 32);
    return true;
  }

  read8(lo: number, hi: number, idx: number): number {
    const p = this.hitRead(lo, hi, idx, 1);
    return p >= 0 ? this.ram8[p]! : this.slowRead(lo, hi, 1, idx, Acc.READ);
  }
  read16(lo: number, hi: number, idx: number): number {
    const p = this.hitRead(lo, hi, idx, 2);
    if (p < 0) return this.crossRead(lo, hi, idx, 2) ? this.lo : this.slowRead(lo, hi, 2, idx, Acc.READ);
    return p & 1 ? this.view.getUint16(p, true) : this.ram16[p / 2]!;
  }
  /** Signed 32-bit result. */
  read32(lo: number, hi: number, idx: number): number {
    const p = this.hitRead(lo, hi, idx, 4);
    if (p < 0) return this.crossRead(lo, hi, idx, 4) ? this.lo : this.slowRead(lo, hi, 4, idx, Acc.READ);
    return p & 3 ? this.view.getInt32(p, true) : this.ram32[p / 4]!;
  }
  /** Result in this.lo and this.hi. */
  read64(lo: number, hi: number, idx: number): void {
    const p = this.hitRead(lo, hi, idx, 8);
    if (p >= 0) {
      this.lo = this.view.getInt32(p, true);
      this.hi = this.view.getInt32(p + 4, true);
      return;
    }
    if (this.crossRead(lo, hi, idx, 8)) return;
    if (idx === MMU_ALIGN && lo & 7) throw this.cpu.fault(Vec.AC, 0);
    const l = this.read32(lo, hi, idx);
    const lo2 = this.add(lo, hi, 4);
    this.hi = this.read32(lo2, this.carryHi, idx);
    this.lo = l;
  }
  write8(lo: number, hi: number, idx: number, v: number): void {
    const p = this.hitWrite(lo, hi, idx, 1);
    if (p >= 0) this.ram8[p] = v;
    else this.slowWrite(lo, hi, 1, idx, v);
  }
  write16(lo: number, hi: number, idx: number, v: number): void {
    const p = this.hitWrite(lo, hi, idx, 2);
    if (p >= 0) this.view.setUint16(p, v, true);
    else if (!this.crossWrite(lo, hi, idx, 2, v, 0)) this.slowWrite(lo, hi, 2, idx, v);
  }
  write32(lo: number, hi: number, idx: number, v: number): void {
    const p = this.hitWrite(lo, hi, idx, 4);
    if (p >= 0) this.view.setInt32(p, v, true);
    else if (!this.crossWrite(lo, hi, idx, 4, v, 0)) this.slowWrite(lo, hi, 4, idx, v);
  }
  write64(lo: number, hi: number, idx: number, vLo: number, vHi: number): void {
    const p = this.hitWrite(lo, hi, idx, 8);
    if (p >= 0) {
      this.view.setInt32(p, vLo, true);
      this.view.setInt32(p + 4, vHi, true);
      return;
    }
    if (this.crossWrite(lo, hi, idx, 8, vLo, vHi)) return;
    if (idx === MMU_ALIGN && lo & 7) throw this.cpu.fault(Vec.AC, 0);
    const lo2 = this.add(lo, hi, 4);
    const hi2 = this.carryHi;
    if ((lo & 0xfff) > 4088) this.probeWrite(lo, hi, 8, idx);
    this.write32(lo, hi, idx, vLo);
    this.write32(lo2, hi2, idx, vHi);
  }

  /** Index in `ram32` of n bytes at hi:lo (a multiple of 4) that the TLB lets be written, or -1. */
  wordsToWrite(lo: number, hi: number, idx: number, n: number): number {
    const p = this.hitWrite(lo, hi, idx, n);
    return p < 0 ? -1 : p / 4;
  }

  /** Faults as a write of n bytes (up to one page) at hi:lo would, and changes nothing but A/D bits. */
  probeWrite(lo: number, hi: number, n: number, idx: number): void {
    if (this.hitWrite(lo, hi, idx, n) >= 0) return;
    this.resolve(lo, hi, Acc.WRITE, idx);
    const first = 4096 - (lo & 0xfff);
    if (n > first) {
      const lo2 = this.add(lo, hi, first);
      this.resolve(lo2, this.carryHi, Acc.WRITE, idx);
    }
  }

  /** Faults as a read of n bytes (up to one page) would. */
  probeRead(lo: number, hi: number, n: number, idx: number): void {
    if (this.hitRead(lo, hi, idx, n) >= 0) return;
    this.resolve(lo, hi, Acc.READ, idx);
    const first = 4096 - (lo & 0xfff);
    if (n > first) {
      const lo2 = this.add(lo, hi, first);
      this.resolve(lo2, this.carryHi, Acc.READ, idx);
    }
  }

  /** Byte offset in RAM of hi:lo for bulk reads up to the end of its page, or -1 if it is not plain RAM. May fault. */
  bulkRead(lo: number, hi: number, idx: number): number {
    const p = this.hitRead(lo, hi, idx, 1);
    if (p >= 0) return p;
    this.resolve(lo, hi, Acc.READ, idx);
    return this.hitRead(lo, hi, idx, 1);
  }

  /** The same for writes: -1 also for ROM, code pages and watched pages. */
  bulkWrite(lo: number, hi: number, idx: number): number {
    const p = this.hitWrite(lo, hi, idx, 1);
    if (p >= 0) return p;
    this.resolve(lo, hi, Acc.WRITE, idx);
    return this.hitWrite(lo, hi, idx, 1);
  }

  /**
   * The same where `bulkWrite` returns -1: a page with code in RAM. Drops the code in the n bytes from `back` bytes before hi:lo on, which
   * are within the page. @throws what a store into the running block throws, before anything has changed
   */
  bulkPatch(lo: number, hi: number, idx: number, back: number, n: number): number {
    if (idx === MMU_ALIGN || this.cpu.debug.watches(lo & ~0xfff, hi)) return -1;
    const pa = this.resolve(lo, hi, Acc.WRITE, idx);
    const off = this.map.pageOffset(pa);
    if (off < 0 || this.map.isRom(pa) || !this.map.codePages[off >>> 12]) return -1;
    const p = off + (lo & 0xfff);
    this.map.onCodeWrite(p - back, n);
    return p;
  }

  // ---- GuestCpu slow paths -----------------------------------------------------------------------------------------

  private indexFor(acc: number): number {
    return acc & Access.SYSTEM ? Ix.KERNEL : acc & Access.USER ? Ix.USER : this.cpu.mmuIdx;
  }

  load(w: number, addr: number, dst: number, acc: number): void {
    const V = this.V;
    const lo = V[addr * 2]!;
    const hi = V[addr * 2 + 1]!;
    const idx = this.indexFor(acc);
    if (acc & Access.RMW) {
      // The write check comes first: an atomic that may not write reports a write fault.
      if (idx === MMU_ALIGN && lo & ((1 << w) - 1)) throw this.cpu.fault(Vec.AC, 0);
      this.probeWrite(lo, hi, 1 << w, idx);
    }
    const d = dst * 2;
    if (w === 3) {
      this.read64(lo, hi, idx);
      V[d] = this.lo;
      V[d + 1] = this.hi;
    } else if (w === 2) {
      V[d] = this.read32(lo, hi, idx);
      V[d + 1] = 0;
    } else {
      const v = w === 1 ? this.read16(lo, hi, idx) : this.read8(lo, hi, idx);
      const m = w === 1 ? 0xffff : 0xff;
      if (dst < Slot.TEMP) V[d] = (V[d]! & ~m) | v;
      else {
        V[d] = v;
        V[d + 1] = 0;
      }
    }
  }

  store(w: number, addr: number, val: number, acc: number): void {
    const V = this.V;
    const lo = V[addr * 2]!;
    const hi = V[addr * 2 + 1]!;
    const idx = this.indexFor(acc);
    const v = V[val * 2]!;
    if (w === 3) this.write64(lo, hi, idx, v, V[val * 2 + 1]!);
    else if (w === 2) this.write32(lo, hi, idx, v);
    else if (w === 1) this.write16(lo, hi, idx, v & 0xffff);
    else this.write8(lo, hi, idx, v & 0xff);
  }

  loadVec(w: number, addr: number, dst: number): void {
    const V = this.V;
    const lo = V[addr * 2]!;
    const hi = V[addr * 2 + 1]!;
    const idx = this.cpu.mmuIdx === MMU_ALIGN ? Ix.USER : this.cpu.mmuIdx;
    const n = 1 << w;
    const b = dst * 8;
    const words = dst * 2;
    const p = this.hitRead(lo, hi, idx, n);
    if (p >= 0) {
      for (let i = 0; i < n; i++) this.U8[b + i] = this.ram8[p + i]!;
    } else {
      this.probeRead(lo, hi, n, idx);
      if (w === 1) V[words] = this.read16(lo, hi, idx);
      else {
        for (let i = 0; i < n; i += 4) {
          const l = this.add(lo, hi, i);
          V[words + (i >> 2)] = this.read32(l, this.carryHi, idx);
        }
      }
    }
    if (w === 1) V[words]! &= 0xffff;
    for (let i = n < 4 ? 1 : n >> 2; i < 4; i++) V[words + i] = 0;
  }

  storeVec(w: number, addr: number, val: number): void {
    const V = this.V;
    const lo = V[addr * 2]!;
    const hi = V[addr * 2 + 1]!;
    const idx = this.cpu.mmuIdx === MMU_ALIGN ? Ix.USER : this.cpu.mmuIdx;
    const n = 1 << w;
    this.probeWrite(lo, hi, n, idx);
    if (w === 1) this.write16(lo, hi, idx, V[val * 2]! & 0xffff);
    else {
      for (let i = 0; i < n; i += 4) {
        const l = this.add(lo, hi, i);
        this.write32(l, this.carryHi, idx, V[val * 2 + (i >> 2)]!);
      }
    }
  }

  // ---- instruction fetch -------------------------------------------------------------------------------------------

  /** Physical address of the code at linear hi:lo for the current privilege. */
  fetch(lo: number, hi: number): number {
    const user = (this.cpu.mode & Mode.USER) !== 0 ? 1 : 0;
    const i = (((lo >>> 12) & 255) << 1) | user;
    const pageLo = lo & ~0xfff;
    if (this.itagLo[i] === pageLo && this.itagHi[i] === hi) {
      this.fetchGlobal = this.iglobal[i] !== 0;
      return this.ipa[i]! + (lo & 0xfff);
    }
    const pa = this.translate(lo, hi, Acc.FETCH, user ? Ix.USER : Ix.KERNEL);
    if (pa === Walk.FAULT) return pa;
    this.itagLo[i] = pageLo;
    this.itagHi[i] = hi;
    this.ipa[i] = pa - (pa & 0xfff);
    this.iglobal[i] = this.flags & Pg.GLOBAL;
    this.fetchGlobal = this.iglobal[i] !== 0;
    if (!this.fetchGlobal && this.icount < ITLB_ENTRIES) this.ilist[this.icount++] = i;
    this.itlbUsed = true;
    return pa;
  }

  /** The page fault that a fetch at hi:lo, a canonical address, raises, or null. */
  tryFetch(lo: number, hi: number): GuestFault | null {
    this.quiet = true;
    try {
      return this.fetch(lo, hi) === Walk.FAULT ? this.denied : null;
    } finally {
      this.quiet = false;
    }
  }

  /** CS limit and canonical checks for the instruction pointer in hi:lo (linear). */
  checkFetch(lo: number, hi: number): void {
    const mode = this.cpu.mode;
    if (mode & Mode.CSFLAT) {
      if ((mode & Mode.CODE_MASK) === Mode.CODE64 && !canonical(hi, this.linBits)) throw this.cpu.fault(Vec.GP, 0);
      return;
    }
    const ip = (lo - this.V[(X.SEGBASE + Seg.CS) * 2]!) >>> 0;
    if (ip > this.cpu.seg.limit[Seg.CS]! >>> 0) throw this.cpu.fault(Vec.GP, 0);
  }

  get canonicalBits(): number {
    return this.linBits;
  }
}
