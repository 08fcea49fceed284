/** Jump cache entries of address spaces that do not run (FlushKind.SWITCH), by table and number of the address space. */
import { Bf, type BlockTable, ROW } from './block-table.js';

/** Entries kept of one table. */
const MOST = 4096;

class Saved {
  /** Mode of the blocks. */
  mode = 0;
  n = 0;
  entries = new Uint16Array(256);
  lo = new Int32Array(256);
  hi = new Int32Array(256);
  /** Rows of the blocks, and their `Bf.TURN`. */
  rows = new Int32Array(256);
  turns = new Int32Array(256);

  /** Room for n entries. */
  room(n: number): void {
    if (n <= this.entries.length) return;
    const size = 2 ** Math.ceil(Math.log2(n));
    this.entries = new Uint16Array(size);
    this.lo = new Int32Array(size);
    this.hi = new Int32Array(size);
    this.rows = new Int32Array(size);
    this.turns = new Int32Array(size);
  }
}

export class JumpContexts {
  private readonly tables: (Saved | null)[][] = [];

  constructor(private readonly blocks: BlockTable) {}

  /** What was saved, null if nothing. */
  of(table: number, context: number): Saved | null {
    const s = this.tables[table]?.[context] ?? null;
    return s === null || s.n === 0 ? null : s;
  }

  /** Keeps the first entries that `list` names of a table whose words begin at `e` of V. */
  save(table: number, context: number, mode: number, list: Uint16Array, n: number, rows: Int32Array, V: Int32Array, e: number): void {
    const contexts = (this.tables[table] ??= []);
    let s = contexts[context] ?? null;
    if (s === null) {
      if (n === 0) return;
      s = contexts[context] = new Saved();
    }
    s.mode = mode;
    s.n = 0;
    s.room(Math.min(n, MOST));
    for (let i = 0; i < n && s.n < MOST; i++) {
      const idx = list[i]!;
      const row = rows[idx]!;
      if (row === 0) continue;
      const k = s.n++;
      s.entries[k] = idx;
      s.lo[k] = V[e + idx * 4]!;
      s.hi[k] = V[e + idx * 4 + 1]!;
      s.rows[k] = row;
      s.turns[k] = this.blocks.R[row * ROW + Bf.TURN]!;
    }
  }

  /** All code is dropped. */
  clear(): void {
    this.tables.length = 0;
  }
}
