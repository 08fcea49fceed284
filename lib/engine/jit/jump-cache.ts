/**
 * The jump cache: host code by linear address, one direct-mapped table per vCPU and MMU index, in the state region where generated code probes
 * it. What is filled is listed, so that emptying a table costs what it holds. Entries of address spaces and modes that do not run are put aside
 * and come back; the first miss in a page enters all of the page's blocks that jumps lead to (docs/adr/0061).
 *
 * An address is only looked up in the entry that it belongs to. So an entry with an address that belongs elsewhere is empty, as nearly all of a table
 * of zeros is, and one word makes it so.
 */
import { FlushKind, type GuestCpu } from '../cpu.js';
import { JC_BASE, JC_ENTRIES, JC_FOLD, JC_TABLE_BYTES, MMU_INDEXES, Slot } from '../state.js';
import { Bf, type BlockTable, ROW, TARGET } from './block-table.js';
import type { HostCode } from './host-code.js';
import { Aside, ASIDE, MOST_ASIDE } from './jump-contexts.js';

const PAGE = 4096;
const PAGES = 4096;
/** Modes of a table that are kept aside. */
const MOST_MODES = 32;
/** Per MMU index: mode of the blocks in the table, -1 before it is first used. */
const MODE = Slot.JC_MODE * 2;
/** Index in `pages` of the page that holds the address. With bits 31..28, by which a kernel's code differs from that of programs. */
const pageMark = (table: number, lo: number): number => table * PAGES + (((lo >>> 12) ^ (lo >>> 20 & 0xf00)) & (PAGES - 1));
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

/** What the interpreter knows of a table's entries: the rows of their blocks, with `Bf.TURN`. */
class Rows {
  readonly row = new Int32Array(JC_ENTRIES);
  readonly turn = new Int32Array(JC_ENTRIES);
}

export class JumpCache {
  private readonly nonGlobal: Uint8Array;
  /** By table: it may hold entries of global pages. */
  private readonly global: Uint8Array;
  private readonly used: Uint8Array;
  /** Per table and page number modulo PAGES: `Page` bits. */
  private readonly pages: Uint8Array;
  /** Filled entries of each table; some may have been emptied since, or be listed twice. */
  private readonly lists: Uint16Array[] = [];
  private readonly counts: Int32Array;
  /** Those of them that somebody has missed, in this turn of the address space or an earlier one. */
  private readonly wanted: Uint16Array[] = [];
  private readonly wants: Int32Array;
  /** By table, without generated code only. */
  private readonly rows: (Rows | undefined)[] = [];
  /** By table: what is aside of address spaces, by their number, and of modes. */
  private readonly spaces: (Aside | undefined)[][] = [];
  private readonly modes: Map<number, Aside>[] = [];

  /** @param apart true while every block has to come back to the run loop: entries then lead nowhere */
  constructor(private readonly cpus: readonly GuestCpu[], private readonly host: () => HostCode | null, private readonly blocks: BlockTable, private readonly apart: () => boolean) {
    const tables = cpus.length * MMU_INDEXES;
    this.nonGlobal = new Uint8Array(tables);
    this.global = new Uint8Array(tables);
    this.used = new Uint8Array(tables);
    this.pages = new Uint8Array(tables * PAGES);
    this.counts = new Int32Array(tables);
    this.wants = new Int32Array(tables);
    for (let i = 0; i < tables; i++) {
      this.lists.push(new Uint16Array(JC_ENTRIES));
      this.wanted.push(new Uint16Array(MOST_ASIDE));
      this.spaces.push([]);
      this.modes.push(new Map());
    }
    for (const cpu of cpus) for (let i = 0; i < MMU_INDEXES; i++) cpu.V[MODE + i] = -1;
  }

  /** Offset of the host code that the CPU's table knows for a linear address, -1 if there is none or its block has gone. */
  entry(cpu: GuestCpu, lo: number, hi: number): number {
    const { V } = cpu;
    const e = wordOf(cpu.mmuIdx, entryOf(lo));
    const host = this.host();
    if (V[e] !== lo || V[e + 1] !== hi || host === null) return -1;
    const at = (V[e + 2]! >>> 0) + V[e + 3]! * 0x1_0000_0000 - host.address;
    return host.retired(at) ? -1 : at;
  }

  /** Row of the valid block at a linear address that the CPU's table knows, without generated code; or 0. */
  row(cpu: GuestCpu, lo: number, hi: number): number {
    const { V } = cpu;
    const idx = entryOf(lo);
    const e = wordOf(cpu.mmuIdx, idx);
    const rows = this.rows[cpu.index * MMU_INDEXES + cpu.mmuIdx];
    if (V[e] !== lo || V[e + 1] !== hi || rows === undefined) return 0;
    const row = rows.row[idx]!;
    return this.blocks.R[row * ROW + Bf.TURN] === rows.turn[idx] ? row : 0;
  }

  /** Enters the block that the CPU's last fetch was for. */
  put(cpu: GuestCpu, lo: number, hi: number, row: number): void {
    const { V } = cpu;
    const { R } = this.blocks;
    const table = cpu.index * MMU_INDEXES + cpu.mmuIdx;
    const idx = entryOf(lo);
    V[MODE + cpu.mmuIdx] = cpu.mode;
    if (cpu.fetchGlobal) this.global[table] = 1;
    else this.nonGlobal[table] = 1;
    const n = this.wants[table]!;
    if (n < MOST_ASIDE) {
      this.wanted[table]![n] = idx;
      this.wants[table] = n + 1;
    }
    const host = this.host();
    if (host === null) {
      const rows = (this.rows[table] ??= new Rows());
      rows.row[idx] = row;
      rows.turn[idx] = R[row * ROW + Bf.TURN]!;
      this.fill(V, table, wordOf(cpu.mmuIdx, idx), idx, lo, hi, 0);
      return;
    }
    const apart = this.apart();
    const to = apart ? host.missAddress : host.address + R[row * ROW + Bf.ENTRY_A]!;
    this.fill(V, table, wordOf(cpu.mmuIdx, idx), idx, lo, hi, to);
    if (apart) return;
    this.blocks.jumpedTo(row, to);
    if (cpu.fetchWhole === true && (this.pages[pageMark(table, lo)]! & Page.ALL) === 0) this.putPage(cpu, table, lo, hi, row);
  }

  /** The page of the block that has just been entered: what jumps have led to in it more than once, in whatever address space, is entered, too. */
  private putPage(cpu: GuestCpu, table: number, lo: number, hi: number, row: number): void {
    const { V } = cpu;
    const { R } = this.blocks;
    this.pages[pageMark(table, lo)]! |= Page.ALL;
    const list = this.blocks.targetsOf(R[row * ROW + Bf.PAGE]!);
    if (list === null) return;
    const mode = R[row * ROW + Bf.KEY]! >>> 12;
    const first = lo & ~(PAGE - 1);
    const base = wordOf(cpu.mmuIdx, 0);
    const { W, length } = list;
    const filled = this.lists[table]!;
    let n = this.counts[table]!;
    for (let i = 0; i < length; i += TARGET) {
      const key = W[i]!;
      if (key >>> 12 !== mode) continue;
      const at = first | (key & (PAGE - 1));
      const idx = entryOf(at);
      const e = base + idx * 4;
      // Nothing there makes way for a guess.
      if (entryOf(V[e]!) === idx) continue;
      if (n < JC_ENTRIES) filled[n++] = idx;
      V[e] = at;
      V[e + 1] = hi;
      V[e + 2] = W[i + 1]!;
      V[e + 3] = W[i + 2]!;
    }
    this.counts[table] = n;
  }

  private fill(V: Int32Array, table: number, e: number, idx: number, lo: number, hi: number, to: number): void {
    if (entryOf(V[e]!) !== idx) {
      const n = this.counts[table]!;
      if (n < JC_ENTRIES) {
        this.lists[table]![n] = idx;
        this.counts[table] = n + 1;
      }
      this.used[table] = 1;
    }
    this.pages[pageMark(table, lo)]! |= Page.SOME;
    V[e] = lo;
    V[e + 1] = hi;
    V[e + 2] = to | 0;
    V[e + 3] = Math.floor(to / 0x1_0000_0000);
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

  /** Makes a table of zeros empty: what nobody needs is not touched. */
  private beginTable(cpu: GuestCpu, mmuIdx: number): void {
    cpu.V[wordOf(mmuIdx, 0)] = 1;
  }

  /** Code for an MMU index that only a tool uses is not looked up through its table, but probes it. */
  beginFor(mmuIdx: number, mode: number): void {
    for (const c of this.cpus) {
      if (c.V[MODE + mmuIdx] !== -1) continue;
      this.beginTable(c, mmuIdx);
      c.V[MODE + mmuIdx] = mode;
    }
  }

  private clearTable(cpu: GuestCpu, mmuIdx: number): void {
    const table = cpu.index * MMU_INDEXES + mmuIdx;
    if (this.used[table] === 0) return;
    this.used[table] = 0;
    this.nonGlobal[table] = 0;
    this.global[table] = 0;
    const base = wordOf(mmuIdx, 0);
    const { V } = cpu;
    const n = this.counts[table]!;
    this.counts[table] = this.wants[table] = 0;
    this.pages.fill(0, table * PAGES, (table + 1) * PAGES);
    if (n === JC_ENTRIES) {
      // The list may have overflowed.
      V.fill(0, base, base + (JC_TABLE_BYTES >> 2));
      this.beginTable(cpu, mmuIdx);
      return;
    }
    const list = this.lists[table]!;
    for (let i = 0; i < n; i++) {
      const idx = list[i]!;
      const lo = V[base + idx * 4]!;
      if (entryOf(lo) === idx) V[base + idx * 4] = lo ^ 1;
    }
  }

  /** Keeps what has been missed in a table, of blocks of a mode. */
  private save(cpu: GuestCpu, mmuIdx: number, mode: number, to: Aside): void {
    const { V } = cpu;
    const table = cpu.index * MMU_INDEXES + mmuIdx;
    const list = this.wanted[table]!;
    const base = wordOf(mmuIdx, 0);
    const n = this.wants[table]!;
    to.mode = mode;
    to.n = 0;
    // Which rows they are the interpreter knows by the entry.
    if (this.host() === null) return;
    to.room(n);
    const { W } = to;
    let at = 0;
    for (let i = 0; i < n; i++) {
      const idx = list[i]!;
      const e = base + idx * 4;
      const lo = V[e]!;
      if (entryOf(lo) !== idx) continue;
      W[at] = idx;
      W[at + 1] = lo;
      W[at + 2] = V[e + 1]!;
      W[at + 3] = V[e + 2]!;
      W[at + 4] = V[e + 3]!;
      at += ASIDE;
    }
    to.n = at / ASIDE;
  }

  /**
   * Puts entries back where there are none. Blocks that have been dropped meanwhile are no matter: their code sends who comes back to
   * the run loop (`HostCode.retire`), and the interpreter compares turns.
   */
  private restore(cpu: GuestCpu, mmuIdx: number, from: Aside): void {
    const { V } = cpu;
    const table = cpu.index * MMU_INDEXES + mmuIdx;
    const list = this.lists[table]!;
    const wanted = this.wanted[table]!;
    const base = wordOf(mmuIdx, 0);
    const { W } = from;
    let n = this.counts[table]!;
    let wants = this.wants[table]!;
    for (let at = 0, end = from.n * ASIDE; at < end; at += ASIDE) {
      const idx = W[at]!;
      const e = base + idx * 4;
      if (entryOf(V[e]!) === idx) continue;
      if (n < JC_ENTRIES) list[n++] = idx;
      if (wants < MOST_ASIDE) wanted[wants++] = idx;
      const lo = W[at + 1]!;
      V[e] = lo;
      V[e + 1] = W[at + 2]!;
      V[e + 2] = W[at + 3]!;
      V[e + 3] = W[at + 4]!;
      this.pages[pageMark(table, lo)]! |= Page.SOME;
    }
    this.counts[table] = n;
    this.wants[table] = wants;
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
    const first = entryOf(page) & ~(PAGE - 1);
    const base = wordOf(mmuIdx, 0);
    for (let idx = first; idx < first + PAGE; idx++) {
      const lo = V[base + idx * 4]!;
      if ((lo & ~(PAGE - 1)) === page && entryOf(lo) === idx) V[base + idx * 4] = lo ^ 1;
    }
  }

  /** The CPU has forgotten translations of linear addresses. */
  flushed(cpu: GuestCpu, kind: FlushKind, lo: number, hi: number): void {
    if (kind === FlushKind.SWITCH) {
      this.switched(cpu, lo, hi);
      return;
    }
    const page = lo & ~(PAGE - 1);
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
