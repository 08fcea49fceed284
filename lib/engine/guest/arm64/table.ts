/** The A64 decoder: rows of bit patterns, and the index that finds the row of an instruction word. */
import type { LiftContext } from './lift-context.js';

export type Handler = (c: LiftContext) => void;

/**
 * One instruction encoding. `pattern` has 32 characters, bit 31 first: 0 and 1 must match, anything else is a field (blanks
 * and underscores are skipped). No two rows may own the same word; what a row does not allow its handler reports as undefined.
 */
export interface Row {
  readonly pattern: string;
  readonly mask: number;
  readonly value: number;
  readonly name: string;
  readonly h: Handler;
  readonly arg: number;
}

/** @throws if the pattern is not 32 bits long. */
export function row(pattern: string, name: string, h: Handler, arg = 0): Row {
  const bits = pattern.replace(/[ _]/g, '');
  if (bits.length !== 32) throw new Error(`${name}: pattern of ${bits.length} bits`);
  let mask = 0;
  let value = 0;
  for (let i = 0; i < 32; i++) {
    const ch = bits[i];
    if (ch !== '0' && ch !== '1') continue;
    mask |= 1 << (31 - i);
    if (ch === '1') value |= 1 << (31 - i);
  }
  return { pattern: bits, mask, value, name, h, arg };
}

/** Words per bucket are told apart by bits 31..21. */
const INDEX_SHIFT = 21;
const BUCKETS = 1 << 11;
const KNOWN = (BUCKETS - 1) << INDEX_SHIFT;

export class DecodeTable {
  /** Made when first asked for: programs use few of them. */
  private readonly buckets = new Array<readonly Row[] | undefined>(BUCKETS).fill(undefined);

  constructor(readonly rows: readonly Row[]) {}

  /** The row that owns the word, or null (unallocated). */
  find(word: number): Row | null {
    const list = (this.buckets[word >>> INDEX_SHIFT] ??= this.rows.filter((r) => ((word ^ r.value) & r.mask & KNOWN) === 0));
    for (let i = 0; i < list.length; i++) {
      const r = list[i]!;
      if ((word & r.mask) === r.value) return r;
    }
    return null;
  }
}

/** Pairs of rows that both own some word. */
export function overlaps(rows: readonly Row[]): [Row, Row][] {
  const out: [Row, Row][] = [];
  for (let i = 0; i < rows.length; i++) {
    for (let k = i + 1; k < rows.length; k++) {
      const a = rows[i]!;
      const b = rows[k]!;
      if (((a.value ^ b.value) & a.mask & b.mask) === 0) out.push([a, b]);
    }
  }
  return out;
}
