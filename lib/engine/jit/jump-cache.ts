/**
 * The jump cache: host code by linear address, for each vCPU and MMU index a table in the state region, where generated code probes it (`JumpTable`). Address spaces and
 * modes that do not run keep tables of their own: a change puts another table in the place, which is one word for generated code (docs/adr/0072). The first miss in a page enters all of the
 * page's blocks that jumps lead to (docs/adr/0061).
 */
import { FlushKind, type GuestCpu } from '../cpu.js';
import { JC_TABLE_BYTES, JC_TABLES, MMU_INDEXES, Slot } from '../state.js';
import { Bf, type BlockTable, ROW } from './block-table.js';
import type { HostCode } from './host-code.js';
import { Aside, JumpTable, Rows } from './jump-table.js';

/** Per MMU index: mode of the blocks in its table, -1 before it is first used. */
const MODE = Slot.JC_MODE * 2;
/** Per MMU index: where its table is, bytes from JC_BASE. */
const TABLE = Slot.JC_TABLE * 2;

/** The tables of an MMU index. */
class Place {
  /** What is aside of address spaces, by their number, and of modes. */
  readonly spaces: (JumpTable | undefined)[] = [];
  readonly modes = new Map<number, JumpTable>();
  /** What the guest has flushed, the latest last. */
  readonly suspects: JumpTable[] = [];
  current: JumpTable;

  constructor(private readonly V: Int32Array, readonly mmuIdx: number) {
    this.current = new JumpTable(V, mmuIdx);
    this.use(this.current);
  }

  /** Makes a table the one that generated code probes. */
  use(table: JumpTable): void {
    this.current = table;
    this.V[TABLE + this.mmuIdx] = table.number * JC_TABLE_BYTES;
  }
}

/** A vCPU's tables. */
class Tables {
  readonly places: Place[] = [];
  private readonly made: JumpTable[] = [];
  private readonly free: JumpTable[] = [];
  private clock = 0;

  constructor(private readonly V: Int32Array) {
    for (let i = 0; i < MMU_INDEXES; i++) {
      const place = new Place(V, i);
      this.places.push(place);
      this.made.push(place.current);
    }
  }

  /** An empty table. The one that has been aside for longest goes if there is no other. */
  take(): JumpTable {
    if (this.free.length === 0 && this.made.length < JC_TABLES) {
      const table = new JumpTable(this.V, this.made.length);
      this.made.push(table);
      table.begin();
      return table;
    }
    const table = this.free.pop() ?? this.oldest();
    table.clear();
    return table;
  }

  release(table: JumpTable): void {
    table.aside = Aside.NO;
    this.free.push(table);
  }

  /** The table of an MMU index, with blocks of a mode, does not run for now. The place in which it is kept is `key`, of spaces. */
  putAside(place: Place, table: JumpTable, mode: number, why: Aside, key = 0): void {
    table.aside = why;
    table.mode = mode;
    table.place = place.mmuIdx;
    table.key = key;
    table.since = ++this.clock;
    if (why === Aside.SPACE) place.spaces[key] = table;
    else if (why === Aside.MODE) place.modes.set(mode, table);
    else place.suspects.push(table);
  }

  /** A table that is aside no longer is. */
  takeBack(table: JumpTable): JumpTable {
    const place = this.places[table.place]!;
    if (table.aside === Aside.SPACE) place.spaces[table.key] = undefined;
    else if (table.aside === Aside.MODE) place.modes.delete(table.mode);
    else place.suspects.splice(place.suspects.indexOf(table), 1);
    table.aside = Aside.NO;
    return table;
  }

  private oldest(): JumpTable {
    let found: JumpTable | null = null;
    for (const t of this.made) if (t.aside !== Aside.NO && (found === null || t.since < found.since)) found = t;
    // There are more tables than MMU indexes, and those that are neither in use nor free are aside.
    return this.takeBack(found!);
  }
}

export class JumpCache {
  private readonly tables: readonly Tables[];

  /** @param apart true while every block has to come back to the run loop: entries then lead nowhere */
  constructor(private readonly cpus: readonly GuestCpu[], private readonly host: () => HostCode | null, private readonly blocks: BlockTable, private readonly apart: () => boolean) {
    this.tables = cpus.map((c) => new Tables(c.V));
    for (const { V } of cpus) for (let i = 0; i < MMU_INDEXES; i++) V[MODE + i] = -1;
  }

  private current(cpu: GuestCpu): JumpTable {
    return this.tables[cpu.index]!.places[cpu.mmuIdx]!.current;
  }

  /** Offset of the host code that the CPU's table knows for a linear address, -1 if there is none or its block has gone. */
  entry(cpu: GuestCpu, lo: number, hi: number): number {
    const { V } = cpu;
    const host = this.host();
    const e = this.current(cpu).find(lo, hi);
    if (e < 0 || host === null) return -1;
    const at = (V[e + 2]! >>> 0) + V[e + 3]! * 0x1_0000_0000 - host.address;
    return host.retired(at) ? -1 : at;
  }

  /** Row of the valid block at a linear address that the CPU's table knows, without generated code; or 0. */
  row(cpu: GuestCpu, lo: number, hi: number): number {
    const table = this.current(cpu);
    const { rows } = table;
    if (rows === null || table.find(lo, hi) < 0) return 0;
    const idx = table.index(lo);
    const row = rows.row[idx]!;
    return this.blocks.R[row * ROW + Bf.TURN] === rows.turn[idx] ? row : 0;
  }

  /** Enters the block that the CPU's last fetch was for. */
  put(cpu: GuestCpu, lo: number, hi: number, row: number): void {
    const { R } = this.blocks;
    const p = row * ROW;
    cpu.V[MODE + cpu.mmuIdx] = cpu.mode;
    const host = this.host();
    let table = this.current(cpu);
    table.makeRoom(lo);
    if (!table.used) {
      if (cpu.addressSpace !== undefined && host !== null) table = this.recall(cpu, table);
      table.space = cpu.addressSpace?.() ?? -1;
    }
    if (cpu.fetchGlobal) table.global = true;
    else table.nonGlobal = true;
    const page = R[p + Bf.PAGE]!;
    const spans = R[p + Bf.PAGE2]! >= 0;
    const whole = cpu.fetchWhole === true;
    if (host === null) {
      const rows = (table.rows ??= new Rows());
      const idx = table.index(lo);
      rows.row[idx] = row;
      rows.turn[idx] = R[p + Bf.TURN]!;
      table.put(lo, hi, 0, page, spans, whole);
      return;
    }
    const apart = this.apart();
    const to = apart ? host.missAddress : host.address + R[p + Bf.ENTRY_A]!;
    const lacks = table.put(lo, hi, to, page, spans, whole);
    if (apart) return;
    this.blocks.jumpedTo(row, to);
    // What jumps have led to in the page more than once, in whatever address space, is entered, too.
    if (whole && lacks) table.putPage(lo, hi, this.blocks.targetsOf(page), R[p + Bf.KEY]! >>> 12);
  }

  /** The first miss after a flush: what was known of the address space before is looked at again (docs/adr/0072). @returns the table that is the CPU's now */
  private recall(cpu: GuestCpu, table: JumpTable): JumpTable {
    const tables = this.tables[cpu.index]!;
    const place = tables.places[cpu.mmuIdx]!;
    const { suspects } = place;
    const space = cpu.addressSpace!();
    let k = suspects.length - 1;
    while (k >= 0 && (suspects[k]!.mode !== cpu.mode || (suspects[k]!.space !== space && !suspects[k]!.global))) k--;
    if (k < 0) return table;
    const found = tables.takeBack(suspects[k]!);
    found.verify((lo, hi) => cpu.codePage!(lo, hi));
    tables.release(table);
    place.use(found);
    return found;
  }

  /** Empties all tables, those aside too. */
  clear(): void {
    for (const tables of this.tables) {
      for (const place of tables.places) {
        place.current.clear();
        this.dropModes(tables, place);
        this.dropSuspects(tables, place);
        for (const t of place.spaces) if (t !== undefined) tables.release(t);
        place.spaces.length = 0;
      }
    }
  }

  /** Code of the CPU's mode is about to run: its table must not have entries of another one. */
  use(cpu: GuestCpu): void {
    const { V } = cpu;
    const before = V[MODE + cpu.mmuIdx]!;
    if (before === cpu.mode) return;
    if (before === -1) this.current(cpu).begin();
    else this.changeMode(cpu, before);
    V[MODE + cpu.mmuIdx] = cpu.mode;
  }

  /** Firmware goes from mode to mode and back: what is there is put aside, and what is aside of the new mode comes back. */
  private changeMode(cpu: GuestCpu, before: number): void {
    const tables = this.tables[cpu.index]!;
    const place = tables.places[cpu.mmuIdx]!;
    const { current } = place;
    const back = place.modes.get(cpu.mode);
    if (back !== undefined) tables.takeBack(back);
    else if (!current.used) return;
    if (current.used) tables.putAside(place, current, before, Aside.MODE);
    else tables.release(current);
    place.use(back ?? tables.take());
  }

  /** Code for an MMU index that only a tool uses is not looked up through its table, but probes it. */
  beginFor(mmuIdx: number, mode: number): void {
    for (const { V, index } of this.cpus) {
      if (V[MODE + mmuIdx] !== -1) continue;
      this.tables[index]!.places[mmuIdx]!.current.begin();
      V[MODE + mmuIdx] = mode;
    }
  }

  /** FlushKind.SWITCH. */
  private switched(cpu: GuestCpu, from: number, to: number): void {
    const { V } = cpu;
    const tables = this.tables[cpu.index]!;
    for (const place of tables.places) {
      const { current, spaces, mmuIdx } = place;
      this.dropModes(tables, place);
      const old = from < 0 ? undefined : spaces[from];
      // The number had another address space.
      if (old !== undefined) this.suspect(cpu, place, tables.takeBack(old), old.mode);
      const saved = to < 0 ? undefined : spaces[to];
      if (saved !== undefined) tables.takeBack(saved);
      if (!current.nonGlobal && current.used) {
        // Global pages stay. What is aside would be in their place.
        if (saved !== undefined) tables.release(saved);
        continue;
      }
      if (!current.used) {
        if (saved === undefined) continue;
        tables.release(current);
      } else if (from >= 0 && !current.global) {
        tables.putAside(place, current, V[MODE + mmuIdx]!, Aside.SPACE, from);
      } else {
        // Entries of global pages would miss what is flushed meanwhile; tables of user code have none.
        this.suspect(cpu, place, current, V[MODE + mmuIdx]!);
      }
      if (saved !== undefined) V[MODE + mmuIdx] = saved.mode;
      place.use(saved ?? tables.take());
    }
  }

  /** The translations that a table goes by have been flushed. It is nobody's afterwards. */
  private suspect(cpu: GuestCpu, place: Place, table: JumpTable, mode: number): void {
    const tables = this.tables[cpu.index]!;
    if (cpu.codePage === undefined || this.host() === null || !table.used) tables.release(table);
    else tables.putAside(place, table, mode, Aside.SUSPECT);
  }

  /** Nothing of other modes is aside any more. */
  private dropModes(tables: Tables, place: Place): void {
    if (place.modes.size === 0) return;
    for (const t of place.modes.values()) tables.release(t);
    place.modes.clear();
  }

  private dropSuspects(tables: Tables, place: Place): void {
    for (const t of place.suspects) tables.release(t);
    place.suspects.length = 0;
  }

  /** The CPU has forgotten translations of linear addresses. */
  flushed(cpu: GuestCpu, kind: FlushKind, lo: number, hi: number): void {
    if (kind === FlushKind.SWITCH) {
      this.switched(cpu, lo, hi);
      return;
    }
    const page = lo & ~0xfff;
    const tables = this.tables[cpu.index]!;
    for (const place of tables.places) {
      const { current } = place;
      this.dropModes(tables, place);
      if (kind === FlushKind.PAGE) {
        current.dropPage(page);
        // A block in the page before may reach into this one.
        current.dropPage((page - 0x1000) | 0);
      } else if (kind === FlushKind.ALL) {
        current.clear();
        this.dropSuspects(tables, place);
      } else if (current.used && (kind === FlushKind.TRANSLATIONS || current.nonGlobal)) {
        this.suspect(cpu, place, current, cpu.V[MODE + place.mmuIdx]!);
        place.use(tables.take());
      }
    }
  }
}
