/**
 * The jump cache: blocks by linear address, one direct-mapped table per vCPU and MMU index, in the state region where generated code probes
 * it. What is filled is listed, so that emptying a table and finding the entries of a page costs what they hold.
 */
import { FlushKind, type GuestCpu } from '../cpu.js';
import { JC_BASE, JC_ENTRIES, JC_FOLD, JC_TABLE_BYTES, MMU_INDEXES, Slot } from '../state.js';
import { Bf, BlockIs, type BlockTable, ROW } from './block-table.js';
import type { HostCode } from './host-code.js';
import { JumpContexts } from './jump-contexts.js';

const PAGE = 4096;
const PAGES = 4096;
/** Per MMU index: mode of the blocks in the table, -1 before it is first used. */
const MODE = Slot.JC_MODE * 2;
/** Index in `pages` of the page that holds the address. */
const pageMark = (table: number, lo: number): number => table * PAGES + ((lo >>> 12) & (PAGES - 1));
const entryOf = (lo: number): number => (lo ^ (lo >>> JC_FOLD)) & (JC_ENTRIES - 1);
/** Word of the state region at which an entry begins: address, then host address. */
const wordOf = (mmuIdx: number, entry: number): number => (JC_BASE + mmuIdx * JC_TABLE_BYTES + entry * 16) >> 2;

export class JumpCache {
  private readonly nonGlobal: Uint8Array;
  /** By table: it may hold entries of global pages. */
  private readonly global: Uint8Array;
  private readonly used: Uint8Array;
  /** Per table and page number modulo PAGES: first entry (plus 1, 0 = none) of the list of filled entries for such pages, linked by `next`. */
  private readonly pages: Uint16Array;
  private readonly next: Uint16Array[] = [];
  /** By table and entry: row of the block, 0 = none. All tables that no code has used yet share one. */
  private readonly rows: Int32Array[] = [];
  /** Filled entries of each table. */
  private readonly lists: Uint16Array[] = [];
  private readonly counts: Int32Array;
  private readonly saved: JumpContexts;
  /** By row: entries (MMU index << 16 | entry) beside the one in the row. */
  private readonly more = new Map<number, number[]>();
  /**
   * An empty table. The key is an address that is canonical in no paging mode; should a guest jump there all the same,
   * the entry leads to code that leaves with NEXT, and the fetch raises the exception.
   */
  private readonly empty = new Int32Array(JC_TABLE_BYTES >> 2);

  /** @param apart true while every block has to come back to the run loop: entries then lead nowhere */
  constructor(private readonly cpus: readonly GuestCpu[], private readonly host: () => HostCode | null, private readonly blocks: BlockTable, private readonly apart: () => boolean) {
    this.saved = new JumpContexts(blocks);
    const tables = cpus.length * MMU_INDEXES;
    this.nonGlobal = new Uint8Array(tables);
    this.global = new Uint8Array(tables);
    this.used = new Uint8Array(tables);
    this.pages = new Uint16Array(tables * PAGES);
    this.counts = new Int32Array(tables);
    const miss = host()?.missAddress ?? 0;
    this.empty.set([0, 0x4000_0000, miss | 0, Math.floor(miss / 0x1_0000_0000)]);
    for (let n = 4; n < this.empty.length; n *= 2) this.empty.copyWithin(n, 0, n);
    const none = new Int32Array(JC_ENTRIES);
    for (let i = 0; i < tables; i++) {
      this.rows.push(none);
      this.lists.push(new Uint16Array(JC_ENTRIES));
      this.next.push(new Uint16Array(JC_ENTRIES));
    }
    for (const cpu of cpus) for (let i = 0; i < MMU_INDEXES; i++) cpu.V[MODE + i] = -1;
  }

  /** Row of the valid block at a linear address that the CPU's table knows, or 0. */
  get(cpu: GuestCpu, lo: number, hi: number): number {
    const { V } = cpu;
    const idx = entryOf(lo);
    const e = wordOf(cpu.mmuIdx, idx);
    const row = this.rows[cpu.index * MMU_INDEXES + cpu.mmuIdx]![idx]!;
    return row !== 0 && V[e] === lo && V[e + 1] === hi && this.blocks.valid(row) ? row : 0;
  }

  /** Enters the block that the CPU's last fetch was for. */
  put(cpu: GuestCpu, lo: number, hi: number, row: number): void {
    const { V } = cpu;
    const table = cpu.index * MMU_INDEXES + cpu.mmuIdx;
    const idx = entryOf(lo);
    V[MODE + cpu.mmuIdx] = cpu.mode;
    if (cpu.fetchGlobal) this.global[table] = 1;
    else this.nonGlobal[table] = 1;
    this.fill(V, wordOf(cpu.mmuIdx, idx), table, idx, lo, hi, row);
  }

  /** No entry leads to the block any more. */
  drop(row: number): void {
    const { R } = this.blocks;
    const p = row * ROW;
    this.unlist(row, R[p + Bf.JC]!);
    R[p + Bf.JC] = -1;
    if ((R[p + Bf.STATE]! & BlockIs.MORE_ENTRIES) === 0) return;
    for (const where of this.more.get(row)!) this.unlist(row, where);
    this.more.delete(row);
    R[p + Bf.STATE]! &= ~BlockIs.MORE_ENTRIES;
  }

  /** Empties all tables, of address spaces aside too. */
  clear(): void {
    for (const c of this.cpus) for (let i = 0; i < MMU_INDEXES; i++) this.clearTable(c, i);
    this.saved.clear();
    this.more.clear();
  }

  /** Code of the CPU's mode is about to run: its table must not have entries of another one. */
  use(cpu: GuestCpu): void {
    const { V } = cpu;
    const before = V[MODE + cpu.mmuIdx]!;
    if (before === cpu.mode) return;
    // No code has used the table yet: memory that nobody needs is not touched.
    if (before === -1) this.beginTable(cpu, cpu.mmuIdx);
    else this.clearTable(cpu, cpu.mmuIdx);
    V[MODE + cpu.mmuIdx] = cpu.mode;
  }

  private beginTable(cpu: GuestCpu, mmuIdx: number): void {
    cpu.V.set(this.empty, wordOf(mmuIdx, 0));
    this.rows[cpu.index * MMU_INDEXES + mmuIdx] = new Int32Array(JC_ENTRIES);
  }

  /** Code for an MMU index that only a tool uses is not looked up through its table, but probes it. */
  beginFor(mmuIdx: number, mode: number): void {
    for (const c of this.cpus) {
      if (c.V[MODE + mmuIdx] !== -1) continue;
      this.beginTable(c, mmuIdx);
      c.V[MODE + mmuIdx] = mode;
    }
  }

  private fill(V: Int32Array, e: number, table: number, idx: number, lo: number, hi: number, row: number): void {
    const rows = this.rows[table]!;
    if (rows[idx] !== 0) this.unlinkEntry(table, idx, V[e]!);
    // An entry that has been dropped is still in the list.
    else if (this.counts[table]! < JC_ENTRIES) this.lists[table]![this.counts[table]!++] = idx;
    const mark = pageMark(table, lo);
    this.next[table]![idx] = this.pages[mark]!;
    this.pages[mark] = idx + 1;
    V[e] = lo;
    V[e + 1] = hi;
    const host = this.host();
    if (host !== null) {
      const to = this.apart() ? host.missAddress : host.address + this.blocks.R[row * ROW + Bf.ENTRY_A]!;
      V[e + 2] = to | 0;
      V[e + 3] = Math.floor(to / 0x1_0000_0000);
    }
    rows[idx] = row;
    this.used[table] = 1;
    this.noteEntry(row, (table << 16) | idx);
  }

  /** Takes a filled entry, for linear address lo, out of the list of its page. */
  private unlinkEntry(table: number, idx: number, lo: number): void {
    const next = this.next[table]!;
    const mark = pageMark(table, lo);
    let at = this.pages[mark]! - 1;
    if (at === idx) {
      this.pages[mark] = next[idx]!;
      return;
    }
    while (at >= 0 && next[at]! - 1 !== idx) at = next[at]! - 1;
    if (at >= 0) next[at] = next[idx]!;
  }

  /**
   * Remembers that a jump cache entry points to the block. Entries come and go with every flush, so one that no longer points
   * here gives its place to the new one.
   */
  private noteEntry(row: number, where: number): void {
    const { R } = this.blocks;
    const p = row * ROW;
    const known = R[p + Bf.JC]!;
    if (known === where) return;
    if (known < 0 || !this.pointsTo(row, known)) {
      R[p + Bf.JC] = where;
      return;
    }
    if ((R[p + Bf.STATE]! & BlockIs.MORE_ENTRIES) === 0) {
      R[p + Bf.STATE]! |= BlockIs.MORE_ENTRIES;
      this.more.set(row, [where]);
      return;
    }
    const more = this.more.get(row)!;
    let free = -1;
    for (let i = 0; i < more.length; i++) {
      if (more[i] === where) return;
      if (free < 0 && !this.pointsTo(row, more[i]!)) free = i;
    }
    if (free >= 0) more[free] = where;
    else more.push(where);
  }

  private pointsTo(row: number, where: number): boolean {
    return this.rows[where >>> 16]![where & 0xffff] === row;
  }

  /** Clears a jump cache entry if it points to the block. */
  private unlist(row: number, where: number): void {
    if (where < 0 || !this.pointsTo(row, where)) return;
    this.rows[where >>> 16]![where & 0xffff] = 0;
    this.dropEntry(where >>> 16, where & 0xffff);
  }

  private dropEntry(table: number, idx: number): void {
    const V = this.cpus[Math.floor(table / MMU_INDEXES)]!.V;
    const e = wordOf(table % MMU_INDEXES, idx);
    this.unlinkEntry(table, idx, V[e]!);
    this.emptyEntry(V, e);
  }

  private clearTable(cpu: GuestCpu, mmuIdx: number): void {
    const table = cpu.index * MMU_INDEXES + mmuIdx;
    if (this.used[table] === 0) return;
    this.used[table] = 0;
    this.nonGlobal[table] = 0;
    this.global[table] = 0;
    const base = wordOf(mmuIdx, 0);
    const { V } = cpu;
    const rows = this.rows[table]!;
    const n = this.counts[table]!;
    this.counts[table] = 0;
    if (n === JC_ENTRIES) {
      // The list may have overflowed.
      V.set(this.empty, base);
      rows.fill(0);
      this.pages.fill(0, table * PAGES, (table + 1) * PAGES);
      return;
    }
    const list = this.lists[table]!;
    for (let i = 0; i < n; i++) {
      const idx = list[i]!;
      this.emptyEntry(V, base + idx * 4);
      rows[idx] = 0;
    }
    this.pages.fill(0, table * PAGES, (table + 1) * PAGES);
  }

  private emptyEntry(V: Int32Array, e: number): void {
    const { empty } = this;
    V[e] = empty[0]!;
    V[e + 1] = empty[1]!;
    V[e + 2] = empty[2]!;
    V[e + 3] = empty[3]!;
  }

  /** FlushKind.SWITCH. */
  private switched(cpu: GuestCpu, from: number, to: number): void {
    const { V } = cpu;
    for (let i = 0; i < MMU_INDEXES; i++) {
      const table = cpu.index * MMU_INDEXES + i;
      const nonGlobal = this.nonGlobal[table] !== 0;
      const e = wordOf(i, 0);
      if (from >= 0) {
        // Entries of global pages would miss what is flushed meanwhile; tables of user code have none.
        const n = nonGlobal && this.global[table] === 0 ? this.counts[table]! : 0;
        this.saved.save(table, from, V[MODE + i]!, this.lists[table]!, n, this.rows[table]!, V, e);
      }
      if (nonGlobal) this.clearTable(cpu, i);
      if (to < 0) continue;
      const saved = this.saved.of(table, to);
      // What is there is global and of the mode the table is in.
      if (saved === null || (this.used[table] !== 0 && V[MODE + i] !== saved.mode)) continue;
      V[MODE + i] = saved.mode;
      for (let k = 0; k < saved.n; k++) {
        const row = saved.rows[k]!;
        const idx = saved.entries[k]!;
        const { R } = this.blocks;
        if ((R[row * ROW + Bf.STATE]! & BlockIs.VALID) === 0 || R[row * ROW + Bf.TURN] !== saved.turns[k] || this.rows[table]![idx] !== 0) continue;
        this.nonGlobal[table] = 1;
        this.fill(V, e + idx * 4, table, idx, saved.lo[k]!, saved.hi[k]!, row);
      }
    }
  }

  /** Empties the entries for the linear page `page` (low word). */
  private dropPage(V: Int32Array, table: number, mmuIdx: number, page: number): void {
    const rows = this.rows[table]!;
    const next = this.next[table]!;
    const base = wordOf(mmuIdx, 0);
    for (let k = this.pages[pageMark(table, page)]! - 1; k >= 0; ) {
      const after = next[k]! - 1;
      if ((V[base + k * 4]! & ~0xfff) === page) {
        rows[k] = 0;
        this.dropEntry(table, k);
      }
      k = after;
    }
  }

  /** The CPU has forgotten translations of linear addresses. */
  flushed(cpu: GuestCpu, kind: FlushKind, lo: number, hi: number): void {
    if (kind === FlushKind.PAGE) {
      const page = lo & ~0xfff;
      const before = (page - PAGE) | 0;
      for (let i = 0; i < MMU_INDEXES; i++) {
        const table = cpu.index * MMU_INDEXES + i;
        if (this.used[table] === 0) continue;
        this.dropPage(cpu.V, table, i, page);
        this.dropPage(cpu.V, table, i, before);
      }
      void hi;
      return;
    }
    if (kind === FlushKind.SWITCH) {
      this.switched(cpu, lo, hi);
      return;
    }
    for (let i = 0; i < MMU_INDEXES; i++) {
      const table = cpu.index * MMU_INDEXES + i;
      if (kind === FlushKind.ALL || this.nonGlobal[table] !== 0) this.clearTable(cpu, i);
    }
  }
}
