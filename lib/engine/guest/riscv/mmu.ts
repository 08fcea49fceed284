/** Address translation: Sv39, Sv48, Sv57 (vol. II, 12.3 to 12.5) with Svnapot, Svpbmt, Svade and Svadu, and PMP. */
import { ColdAt, ColdPage } from '../../cold-state.js';
import { Access } from '../../state.js';
import { Acc, Pg, SoftMmu } from '../soft-mmu.js';
import { AROUND_BYTES } from '../tlb-tables.js';
import { Cause, Mmu, Ms, Priv } from './defs.js';
import { Pmp } from './pmp.js';
import type { RiscvCpu } from './cpu.js';
import { Kind } from './triggers.js';

/** Page table entry, low word; high word. */
const enum Pte { V = 1, R = 2, W = 4, X = 8, U = 0x10, G = 0x20, A = 0x40, D = 0x80, PBMT_HI = 0x6000_0000, N_HI = 0x8000_0000 | 0, RSVD_HI = 0x1fc0_0000 }

/** Privilege of data accesses by MMU index. */
const PRIV_OF: readonly Priv[] = [Priv.U, Priv.S, Priv.S, Priv.M, Priv.U, Priv.S, Priv.S];
const sumOf = (idx: number): boolean => idx === (Mmu.S_SUM as number) || idx === (Mmu.MPRV_S_SUM as number);

const LARGE = 1024;
/** By level. */
const PAGE_BYTES: readonly number[] = [0, 1, 2, 3, 4].map((level) => 4096 * 512 ** level);

const ACCESS_FAULT: readonly Cause[] = [Cause.LOAD_ACCESS, Cause.STORE_ACCESS, Cause.FETCH_ACCESS];
const PAGE_FAULT: readonly Cause[] = [Cause.LOAD_PAGE, Cause.STORE_PAGE, Cause.FETCH_PAGE];

export class RiscvMmu extends SoftMmu {
  readonly pmp = new Pmp();
  /** Levels of the page table; 0: no translation. */
  private levels = 0;
  private root = 0;

  constructor(private readonly cpu: RiscvCpu) {
    super(cpu);
  }

  /**
   * Which regions of 2 MiB (1 GiB: second half) may have entries that come from large pages. A fence for any address of a large page
   * drops every entry made from it.
   */
  private readonly largeSeen = new Uint8Array(LARGE * 2);
  private anyLarge = false;
  /** There was one larger than 1 GiB. */
  private anyGiant = false;

  private static largeIndex(lo: number, hi: number, level: number): number {
    return level === 1 ? ((lo >>> 21) ^ (hi << 5) ^ (hi >>> 7)) & (LARGE - 1) : LARGE + (((lo >>> 30) ^ (hi << 2) ^ (hi >>> 5)) & (LARGE - 1));
  }

  override flushAll(): void {
    super.flushAll();
    if (this.anyLarge) this.largeSeen.fill(0);
    this.anyLarge = this.anyGiant = false;
  }

  /** The cache of code pages (docs/adr/0070) may hold something. */
  coldPages = false;
  protected override fetchesDropped(): void {
    if (this.coldPages) this.V.fill(0, ColdAt.PAGES >> 2, (ColdAt.PAGES + (ColdPage.ENTRIES << ColdPage.SHIFT)) >> 2);
    this.coldPages = false;
  }
  protected override fetchDropped(pageLo: number, hi: number): void {
    const { V } = this;
    const at = (ColdAt.PAGES + (((pageLo >>> 12) & (ColdPage.ENTRIES - 1)) << ColdPage.SHIFT) + ColdPage.TAG) >> 2;
    if ((V[at]! & ~0xfff) === pageLo && V[at + 1] === hi) V[at] = V[at + 1] = 0;
  }

  /** @returns false if more than the page has been dropped */
  override flushPage(lo: number, hi: number): boolean {
    if (this.anyGiant || (this.anyLarge && (this.largeSeen[RiscvMmu.largeIndex(lo, hi, 1)] || this.largeSeen[RiscvMmu.largeIndex(lo, hi, 2)]))) {
      this.flushAll();
      return false;
    }
    super.flushPage(lo, hi);
    return true;
  }

  /** Takes over satp. Flushes nothing. */
  configure(lo: number, hi: number): void {
    const mode = hi >>> 28;
    this.levels = mode === 0 ? 0 : mode - 5;
    this.root = ((hi & 0xfff) * 2 ** 32 + (lo >>> 0)) * 4096;
  }

  private accessFault(lo: number, hi: number, acc: Acc): never {
    throw this.cpu.fault(ACCESS_FAULT[acc]!, lo, hi);
  }

  private pageFault(lo: number, hi: number, acc: Acc): never {
    throw this.cpu.fault(PAGE_FAULT[acc]!, lo, hi);
  }

  protected fetchIndex(): number {
    return this.cpu.priv === Priv.M ? Mmu.M : this.cpu.priv === Priv.S ? Mmu.S : Mmu.U;
  }

  protected dataIndex(): number {
    return this.cpu.mmuIdx;
  }

  protected override guards(pageLo: number, hi: number): boolean {
    return this.cpu.triggers.covers(pageLo, hi);
  }

  protected override guard(lo: number, hi: number, bytes: number, acc: number, write: boolean): void {
    // Atomics read first: both is asked there. SC only stores, and LR, which does not write, only loads.
    const kinds = write ? Kind.STORE : (acc & Access.RMW) === 0 ? Kind.LOAD : this.cpu.isSc() ? Kind.STORE : Kind.LOAD | Kind.STORE;
    this.cpu.triggers.access(lo, hi, bytes, kinds);
  }

  protected answers(pa: number): boolean {
    return this.cpu.isDevice(pa);
  }

  protected misaligned(): void {
    // Carried out, byte by byte where it must be.
  }

  protected checkPhysical(pa: number, size: number, lo: number, hi: number, acc: Acc): void {
    if (this.flags & Pg.UNCACHED && !this.pmp.allows(pa, size, acc, acc === Acc.FETCH ? this.cpu.priv : PRIV_OF[this.cpu.mmuIdx]!)) this.accessFault(lo, hi, acc);
    if (this.map.pageOffset(pa) < 0 && !this.answers(pa)) this.accessFault(lo, hi, acc);
  }

  translate(lo: number, hi: number, acc: Acc, idx: number): number {
    const priv = PRIV_OF[idx]!;
    let pa: number;
    if (priv === Priv.M || this.levels === 0) {
      this.flags = Pg.GLOBAL | Pg.WRITE;
      // Numbers hold 52 bits of address; no machine has memory beyond.
      if (hi & 0xfff0_0000) this.accessFault(lo, hi, acc);
      pa = (hi >>> 0) * 2 ** 32 + (lo >>> 0);
      this.wide = true;
    } else {
      do pa = this.walk(lo, hi, acc, priv, sumOf(idx));
      while (pa < 0);
    }
    const page = pa - (pa % 4096);
    if (this.wide && !this.pmp.uniform(page - (page % AROUND_BYTES), priv, AROUND_BYTES)) this.wide = false;
    if (!this.pmp.uniform(page, priv)) this.flags |= Pg.UNCACHED;
    else if (!this.pmp.allows(page, 4096, acc, priv)) this.accessFault(lo, hi, acc);
    else if (this.flags & Pg.WRITE && !this.pmp.allows(page, 4096, Acc.WRITE, priv)) this.flags &= ~Pg.WRITE;
    else if (acc === Acc.WRITE && !this.pmp.allows(page, 4096, Acc.READ, priv)) this.flags |= Pg.UNCACHED;
    return pa;
  }

  /** @returns -1 to ask for a retry (another CPU changed the entry). */
  private walk(lo: number, hi: number, acc: Acc, priv: Priv, sum: boolean): number {
    const bits = 12 + 9 * this.levels;
    // Addresses are sign-extended.
    const shift = 64 - bits;
    if ((hi << shift) >> shift !== hi) this.pageFault(lo, hi, acc);
    let table = this.root;
    let global = 0;
    for (let level = this.levels - 1; ; level--) {
      const i = level === 0 ? lo >>> 12 : level === 1 ? lo >>> 21 : level === 2 ? (lo >>> 30) | (hi << 2) : level === 3 ? hi >>> 7 : hi >>> 16;
      const ea = table + (i & 511) * 8;
      const off = this.map.pageOffset(ea);
      if (off < 0 || !this.pmp.allows(ea, 8, Acc.READ, Priv.S)) this.accessFault(lo, hi, acc);
      const p = (off + (ea % 4096)) >>> 2;
      const e = this.ram32[p]!;
      const eHi = this.ram32[p + 1]!;
      if (!(e & Pte.V) || (e & (Pte.R | Pte.W)) === Pte.W || eHi & Pte.RSVD_HI) this.pageFault(lo, hi, acc);
      global |= e & Pte.G;
      if (!(e & (Pte.R | Pte.X))) {
        if (level === 0 || e & (Pte.A | Pte.D | Pte.U) || eHi & (Pte.N_HI | Pte.PBMT_HI)) this.pageFault(lo, hi, acc);
        table = this.pageAddress(e, eHi, lo, hi, acc);
        continue;
      }
      if (eHi & Pte.PBMT_HI && (!this.cpu.csr.pbmte || (eHi & Pte.PBMT_HI) === Pte.PBMT_HI)) this.pageFault(lo, hi, acc);
      return this.leaf(lo, hi, acc, priv, sum, level, ea, p, e, eHi, global);
    }
  }

  /** Physical address of the page an entry names. */
  private pageAddress(e: number, eHi: number, lo: number, hi: number, acc: Acc): number {
    // PPN: bits 53..10; beyond 2^40 pages there is no memory.
    const top = (eHi & 0x3f_ffff) >>> 0;
    if (top >= 2 ** 18) this.accessFault(lo, hi, acc);
    return (top * 2 ** 22 + (e >>> 10)) * 4096;
  }

  private leaf(lo: number, hi: number, acc: Acc, priv: Priv, sum: boolean, level: number, ea: number, p: number, e: number, eHi: number, global: number): number {
    const user = (e & Pte.U) !== 0;
    const readable = (e & Pte.R) !== 0 || ((this.cpu.csr.mstatus & Ms.MXR) !== 0 && (e & Pte.X) !== 0);
    const mine = priv === Priv.U ? user : !user || (sum && acc !== Acc.FETCH);
    const right = acc === Acc.FETCH ? e & Pte.X : acc === Acc.WRITE ? e & Pte.W : readable;
    if (!mine || !right) this.pageFault(lo, hi, acc);
    let page = this.pageAddress(e, eHi, lo, hi, acc);
    const pageBytes = PAGE_BYTES[level]!;
    if (page % pageBytes !== 0) this.pageFault(lo, hi, acc);
    if (eHi & Pte.N_HI) {
      // Svnapot: 64 KiB, encoded by the low bits of PPN.
      if (level !== 0 || (e & 0x3c00) !== 0x2000) this.pageFault(lo, hi, acc);
      page += (((lo >>> 12) & 15) - 8) * 4096;
    }
    const wanted = Pte.A | (acc === Acc.WRITE ? Pte.D : 0);
    if ((e & wanted) !== wanted) {
      if (!this.cpu.csr.adue) this.pageFault(lo, hi, acc);
      if (!this.pmp.allows(ea, 8, Acc.WRITE, Priv.S)) this.accessFault(lo, hi, acc);
      if (this.map.codePages[(p * 4) >>> 12]) this.map.onCodeWrite(p * 4, 4);
      if (Atomics.compareExchange(this.ram32, p, e, e | wanted) !== e) return -1;
    }
    this.flags = (global ? Pg.GLOBAL : 0) | ((e & Pte.W) !== 0 && ((e | wanted) & Pte.D) !== 0 ? Pg.WRITE : 0);
    // What is only executable or only writable must not be read by a hit on the other kind of access.
    if (acc === Acc.WRITE && !readable) this.flags |= Pg.UNCACHED;
    if (level > 0) {
      this.wide = true;
      this.anyLarge = true;
      if (level > 2) this.anyGiant = true;
      else this.largeSeen[RiscvMmu.largeIndex(lo, hi, level)] = 1;
    }
    const low = level === 0 ? lo & 0xfff : level === 1 ? lo & 0x1f_ffff : level === 2 ? lo & 0x3fff_ffff : (hi & ((1 << (9 * level - 20)) - 1)) * 2 ** 32 + (lo >>> 0);
    return page + low;
  }
}
