/**
 * The jump cache: blocks by linear address, one direct-mapped table per vCPU and MMU index, in the state region where generated code probes
 * it. What is filled is listed, so that emptying a table costs what it holds. Tables of address spaces and modes that do not run are put aside
 * and come back; the first miss in a page enters all of the page's blocks that jumps lead to (docs/adr/0061).
 */
import { FlushKind, type GuestCpu } from '../cpu.js';
import { JC_BASE, JC_ENTRIES, JC_FOLD, JC_TABLE_BYTES, MMU_INDEXES, Slot } from '../state.js';
import { Bf, BlockIs, type BlockTable, ROW } from './block-table.js';
import type { HostCode } from './host-code.js';
import { Aside, ASIDE } from './jump-contexts.js';

const PAGE = 4096;
const PAGES = 4096;
/** Modes of a table that are kept aside. */
const MOST_MODES = 32;
/** Per MMU index: mode of the blocks in the table, -1 before it is first used. */
const MODE = Slot.JC_MODE * 2;
/** Index in `pages` of the page that holds the address. */
const pageMark = (table: number, lo: number): number => table * PAGES + ((lo >>> 12) & (PAGES - 1));
const entryOf = (lo: number): number => (lo ^ (lo >>> JC_FOLD)) & (JC_ENTRIES - 1);
/** Word of the state region at which an entry begins: address, then host address. */
const wordOf = (mmuIdx: number, entry: number): number => (JC_BASE + mmuIdx * JC_TABLE_BYTES + entry * 16) >> 2;
/** Bits of `pages`. */
const enum Page {
  /** The table may hold entries for such a page. */
  SOME = 1,
  /** One of them has had all its blocks entered. */
  ALL = 2,
}

export class JumpCache {
  private readonly nonGlobal: Uint8Array;
  /** By table: it may hold entries of global pages. */
  private readonly global: Uint8Array;
  private readonly used: Uint8Array;
  /** Per table and page number modulo PAGES: `Page` bits. */
  private readonly pages: Uint8Array;
  /** By table and entry: row of the block, 0 = none, and its `Bf.TURN`. All tables that no code has used yet share one. */
  private readonly rows: Int32Array[] = [];
  private readonly turns: Int32Array[] = [];
  /** Filled entries of each table. */
  private readonly lists: Uint16Array[] = [];
  private readonly counts: Int32Array;
  /** By table: what is aside of address spaces, by their number, and of modes. */
  private readonly spaces: (Aside | undefined)[][] = [];
  private readonly modes: Map<number, Aside>[] = [];
  /**
   * An empty table. The key is an address that is canonical in no paging mode; should a guest jump there all the same,
   * the entry leads to code that leaves with NEXT, and the fetch raises the exception.
   */
  private readonly empty = new Int32Array(JC_TABLE_BYTES >> 2);

  /** @param apart true while every block has to come back to the run loop: entries then lead nowhere */
  constructor(private readonly cpus: readonly GuestCpu[], private readonly host: () => HostCode | null, private readonly blocks: BlockTable, private readonly apart: () => boolean) {
    const tables = cpus.length * MMU_INDEXES;
    this.nonGlobal = new Uint8Array(tables);
    this.global = new Uint8Array(tables);
    this.used = new Uint8Array(tables);
    this.pages = new Uint8Array(tables * PAGES);
    this.counts = new Int32Array(tables);
    const miss = host()?.missAddress ?? 0;
    this.empty.set([0, 0x4000_0000, miss | 0, Math.floor(miss / 0x1_0000_0000)]);
    for (let n = 4; n < this.empty.length; n *= 2) this.empty.copyWithin(n, 0, n);
    const none = new Int32Array(JC_ENTRIES);
    for (let i = 0; i < tables; i++) {
      this.rows.push(none);
      this.turns.push(none);
      this.lists.push(new Uint16Array(JC_ENTRIES));
      this.spaces.push([]);
      this.modes.push(new Map());
    }
    for (const cpu of cpus) for (let i = 0; i < MMU_INDEXES; i++) cpu.V[MODE + i] = -1;
  }

  /** Row of the valid block at a linear address that the CPU's table knows, or 0. */
  get(cpu: GuestCpu, lo: number, hi: number): number {
    const { V } = cpu;
    const idx = entryOf(lo);
    const e = wordOf(cpu.mmuIdx, idx);
    const table = cpu.index * MMU_INDEXES + cpu.mmuIdx;
    const row = this.rows[table]![idx]!;
    return row !== 0 && V[e] === lo && V[e + 1] === hi && this.blocks.R[row * ROW + Bf.TURN] === this.turns[table]![idx] ? row : 0;
  }

  /** Enters the block that the CPU's last fetch was for. */
  put(cpu: GuestCpu, lo: number, hi: number, row: number): void {
    const { V } = cpu;
    const table = cpu.index * MMU_INDEXES + cpu.mmuIdx;
    const idx = entryOf(lo);
    V[MODE + cpu.mmuIdx] = cpu.mode;
    if (cpu.fetchGlobal) this.global[table] = 1;
    else this.nonGlobal[table] = 1;
    const host = this.host();
    const apart = host === null || this.apart();
    this.fill(V, wordOf(cpu.mmuIdx, idx), table, idx, lo, hi, row, host, apart);
    this.blocks.jumpedTo(row);
    if (!apart && cpu.fetchWhole === true && (this.pages[pageMark(table, lo)]! & Page.ALL) === 0) this.putPage(cpu, table, lo, hi, row, host);
  }

  /** The page of the block that has just been entered: what jumps have led to in it before, in this address space or another one, is entered, too. */
  private putPage(cpu: GuestCpu, table: number, lo: number, hi: number, row: number, host: HostCode): void {
    const { R } = this.blocks;
    this.pages[pageMark(table, lo)]! |= Page.ALL;
    const list = this.blocks.targetsOf(R[row * ROW + Bf.PAGE]!);
    if (list === null) return;
    const key = R[row * ROW + Bf.KEY]! >>> 12;
    const base = lo & ~0xfff;
    const rows = this.rows[table]!;
    const turns = this.turns[table]!;
    for (let i = 0; i < list.length; i++) {
      const other = list[i]!;
      const p = other * ROW;
      if ((R[p + Bf.STATE]! & BlockIs.VALID) === 0) {
        const last = list.pop()!;
        if (i < list.length) list[i--] = last;
        continue;
      }
      const k = R[p + Bf.KEY]!;
      // What spans two pages depends on the next one, too.
      if (k >>> 12 !== key || R[p + Bf.PAGE2]! >= 0) continue;
      const at = base | (k & 0xfff);
      const idx = entryOf(at);
      // Nothing in use makes way for a guess.
      const there = rows[idx]!;
      if (there !== 0 && R[there * ROW + Bf.TURN] === turns[idx]) continue;
      this.fill(cpu.V, wordOf(cpu.mmuIdx, idx), table, idx, at, hi, other, host, false);
    }
  }

  /** Empties all tables, those aside too. */
  clear(): void {
    for (const c of this.cpus) for (let i = 0; i < MMU_INDEXES; i++) this.clearTable(c, i);
    for (const s of this.spaces) s.length = 0;
    for (const m of this.modes) m.clear();
  }

  /** Code of the CPU's mode is about to run: its table must not have entries of another one. */
  use(cpu: GuestCpu): void {
    const { V } = cpu;
    const before = V[MODE + cpu.mmuIdx]!;
    if (before === cpu.mode) return;
    // No code has used the table yet: memory that nobody needs is not touched.
    if (before === -1) this.beginTable(cpu, cpu.mmuIdx);
    else this.changeMode(cpu, before);
    V[MODE + cpu.mmuIdx] = cpu.mode;
  }

  /** Firmware goes from mode to mode and back: what is there is put aside, and what is aside of the new mode comes back. */
  private changeMode(cpu: GuestCpu, before: number): void {
    const table = cpu.index * MMU_INDEXES + cpu.mmuIdx;
    const modes = this.modes[table]!;
    if (this.used[table] !== 0) {
      let aside = modes.get(before);
      if (aside === undefined) {
        if (modes.size >= MOST_MODES) modes.clear();
        modes.set(before, (aside = new Aside()));
      }
      this.save(cpu, cpu.mmuIdx, before, aside);
      aside.global = this.global[table]!;
      aside.nonGlobal = this.nonGlobal[table]!;
    }
    this.clearTable(cpu, cpu.mmuIdx);
    const back = modes.get(cpu.mode);
    if (back === undefined || back.n === 0) return;
    this.global[table] = back.global;
    this.nonGlobal[table] = back.nonGlobal;
    this.restore(cpu, cpu.mmuIdx, back);
  }

  private beginTable(cpu: GuestCpu, mmuIdx: number): void {
    cpu.V.set(this.empty, wordOf(mmuIdx, 0));
    const table = cpu.index * MMU_INDEXES + mmuIdx;
    this.rows[table] = new Int32Array(JC_ENTRIES);
    this.turns[table] = new Int32Array(JC_ENTRIES);
  }

  /** Code for an MMU index that only a tool uses is not looked up through its table, but probes it. */
  beginFor(mmuIdx: number, mode: number): void {
    for (const c of this.cpus) {
      if (c.V[MODE + mmuIdx] !== -1) continue;
      this.beginTable(c, mmuIdx);
      c.V[MODE + mmuIdx] = mode;
    }
  }

  private fill(V: Int32Array, e: number, table: number, idx: number, lo: number, hi: number, row: number, host: HostCode | null, apart: boolean): void {
    const rows = this.rows[table]!;
    const { R } = this.blocks;
    // An entry that has been dropped is still in the list.
    if (rows[idx] === 0 && this.counts[table]! < JC_ENTRIES) this.lists[table]![this.counts[table]!++] = idx;
    this.pages[pageMark(table, lo)]! |= Page.SOME;
    V[e] = lo;
    V[e + 1] = hi;
    if (host !== null) {
      const to = apart ? host.missAddress : host.address + R[row * ROW + Bf.ENTRY_A]!;
      V[e + 2] = to | 0;
      V[e + 3] = Math.floor(to / 0x1_0000_0000);
    }
    rows[idx] = row;
    this.turns[table]![idx] = R[row * ROW + Bf.TURN]!;
    this.used[table] = 1;
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
    this.pages.fill(0, table * PAGES, (table + 1) * PAGES);
    if (n === JC_ENTRIES) {
      // The list may have overflowed.
      V.set(this.empty, base);
      rows.fill(0);
      return;
    }
    const list = this.lists[table]!;
    for (let i = 0; i < n; i++) {
      const idx = list[i]!;
      this.emptyEntry(V, base + idx * 4);
      rows[idx] = 0;
    }
  }

  private emptyEntry(V: Int32Array, e: number): void {
    const { empty } = this;
    V[e] = empty[0]!;
    V[e + 1] = empty[1]!;
    V[e + 2] = empty[2]!;
    V[e + 3] = empty[3]!;
  }

  /** Keeps what a table holds, of blocks of a mode. */
  private save(cpu: GuestCpu, mmuIdx: number, mode: number, to: Aside): void {
    const { V } = cpu;
    const table = cpu.index * MMU_INDEXES + mmuIdx;
    const list = this.lists[table]!;
    const rows = this.rows[table]!;
    const turns = this.turns[table]!;
    const base = wordOf(mmuIdx, 0);
    const n = this.counts[table]!;
    to.mode = mode;
    to.n = 0;
    to.room(n);
    const { W } = to;
    let at = 0;
    for (let i = 0; i < n && at < W.length; i++) {
      const idx = list[i]!;
      if (rows[idx] === 0) continue;
      const e = base + idx * 4;
      W[at] = idx;
      W[at + 1] = V[e]!;
      W[at + 2] = V[e + 1]!;
      W[at + 3] = V[e + 2]!;
      W[at + 4] = V[e + 3]!;
      W[at + 5] = rows[idx]!;
      W[at + 6] = turns[idx]!;
      at += ASIDE;
    }
    to.n = at / ASIDE;
  }

  /**
   * Puts entries back where there are none. Blocks that have been dropped meanwhile are no matter: their code sends who comes back to
   * the run loop (`HostCode.retire`), which compares turns.
   */
  private restore(cpu: GuestCpu, mmuIdx: number, from: Aside): void {
    const { V } = cpu;
    const table = cpu.index * MMU_INDEXES + mmuIdx;
    const list = this.lists[table]!;
    const rows = this.rows[table]!;
    const turns = this.turns[table]!;
    const base = wordOf(mmuIdx, 0);
    const { W } = from;
    let n = this.counts[table]!;
    for (let at = 0, end = from.n * ASIDE; at < end; at += ASIDE) {
      const idx = W[at]!;
      if (rows[idx] !== 0) continue;
      if (n < JC_ENTRIES) list[n++] = idx;
      const lo = W[at + 1]!;
      const e = base + idx * 4;
      V[e] = lo;
      V[e + 1] = W[at + 2]!;
      V[e + 2] = W[at + 3]!;
      V[e + 3] = W[at + 4]!;
      rows[idx] = W[at + 5]!;
      turns[idx] = W[at + 6]!;
      this.pages[pageMark(table, lo)]! |= Page.SOME;
    }
    this.counts[table] = n;
    this.used[table] = 1;
  }

  /** FlushKind.SWITCH. */
  private switched(cpu: GuestCpu, from: number, to: number): void {
    const { V } = cpu;
    for (let i = 0; i < MMU_INDEXES; i++) {
      const table = cpu.index * MMU_INDEXES + i;
      const nonGlobal = this.nonGlobal[table] !== 0;
      const spaces = this.spaces[table]!;
      if (from >= 0) {
        // Entries of global pages would miss what is flushed meanwhile; tables of user code have none.
        let aside = spaces[from];
        if (nonGlobal && this.global[table] === 0) this.save(cpu, i, V[MODE + i]!, aside ?? (spaces[from] = aside = new Aside()));
        else if (aside !== undefined) aside.n = 0;
      }
      if (nonGlobal) this.clearTable(cpu, i);
      this.dropModes(table);
      if (to < 0) continue;
      const saved = spaces[to];
      // What is there is global and of the mode the table is in.
      if (saved === undefined || saved.n === 0 || (this.used[table] !== 0 && V[MODE + i] !== saved.mode)) continue;
      V[MODE + i] = saved.mode;
      this.nonGlobal[table] = 1;
      this.restore(cpu, i, saved);
    }
  }

  /** Nothing of other modes is aside any more. */
  private dropModes(table: number): void {
    const modes = this.modes[table]!;
    if (modes.size !== 0) modes.clear();
  }

  /** Empties the entries for the linear page `page` (low word). They are all in one stretch of PAGE entries. */
  private dropPage(V: Int32Array, table: number, mmuIdx: number, page: number): void {
    const mark = pageMark(table, page);
    if (this.pages[mark] === 0) return;
    this.pages[mark]! &= ~Page.ALL;
    const rows = this.rows[table]!;
    const first = entryOf(page) & ~(PAGE - 1);
    const base = wordOf(mmuIdx, 0);
    for (let idx = first; idx < first + PAGE; idx++) {
      const e = base + idx * 4;
      if (rows[idx] === 0 || (V[e]! & ~0xfff) !== page) continue;
      rows[idx] = 0;
      this.emptyEntry(V, e);
    }
  }

  /** The CPU has forgotten translations of linear addresses. */
  flushed(cpu: GuestCpu, kind: FlushKind, lo: number, hi: number): void {
    if (kind === FlushKind.SWITCH) {
      this.switched(cpu, lo, hi);
      return;
    }
    const page = lo & ~0xfff;
    for (let i = 0; i < MMU_INDEXES; i++) {
      const table = cpu.index * MMU_INDEXES + i;
      this.dropModes(table);
      if (kind === FlushKind.PAGE) {
        if (this.used[table] === 0) continue;
        this.dropPage(cpu.V, table, i, page);
        // A block in the page before may reach into this one.
        this.dropPage(cpu.V, table, i, (page - PAGE) | 0);
      } else if (kind === FlushKind.ALL || this.nonGlobal[table] !== 0) this.clearTable(cpu, i);
    }
  }
}
