/** Test cases: units of machine code with links between them, and how they are put together. */
import { memoryPool } from './pool.js';
import { CODE_BYTES, DATA_BYTES, PAGE } from './state.js';

/** A displacement in a unit's bytes that depends on where things lie. */
export interface Fixup {
  /** Offset of the displacement; it is relative to the end of the unit's bytes at `base`. */
  readonly at: number;
  readonly size: 1 | 4;
  /** Offset in the unit of the byte after the instruction. */
  readonly base: number;
  /** Number of the unit to which it leads (at or past the last: the end), or an absolute address. */
  readonly unit?: number;
  readonly address?: number;
}

export interface Unit {
  /** Position in the sequence as generated; links name it. */
  readonly id: number;
  /** Instruction under test. */
  readonly name: string;
  /** Template it covers. */
  readonly template: string;
  readonly bytes: number[];
  readonly fixups: readonly Fixup[];
  /** Flags (EFLAGS positions) that may be undefined while it runs, and after it. */
  readonly undef: number;
  readonly undefAfter: number;
  /** Condition codes of the x87 status word that are undefined from here on. */
  readonly undefX87: number;
  /** An MMX instruction: what a fault leaves of the transition from x87 state is not compared. */
  readonly mmx: boolean;
  /** The values of x87 registers and the exception flags are not compared. */
  readonly inexact: boolean;
}

export interface Case {
  readonly units: readonly Unit[];
  readonly state: Uint8Array;
  /** Where its memory starts in the pool, and what is written over it. */
  readonly pool: number;
  readonly patches: readonly { readonly at: number; readonly bytes: readonly number[] }[];
  /** Page offset at which the code starts. */
  readonly offset: number;
}

export interface Linked {
  readonly code: Uint8Array;
  /** Offset of each unit. */
  readonly starts: readonly number[];
}

/** Bytes of a case's code, to run at linear address `base`, followed by a jump to `exit`. @returns null if a short branch does not reach. */
export function link(units: readonly Unit[], base: number, exit: number): Linked | null {
  const starts: number[] = [];
  let n = 0;
  for (const u of units) {
    starts.push(n);
    n += u.bytes.length;
  }
  const code = new Uint8Array(n + 5);
  const view = new DataView(code.buffer);
  for (let i = 0; i < units.length; i++) {
    const u = units[i]!;
    code.set(u.bytes, starts[i]!);
    for (const f of u.fixups) {
      const from = base + starts[i]! + f.base;
      let to = f.address ?? 0;
      if (f.unit !== undefined) {
        const t = units.findIndex((x) => x.id >= f.unit!);
        to = base + (t < 0 ? n : starts[t]!);
      }
      const d = to - from;
      if (f.size === 1) {
        if (d < -128 || d > 127) return null;
        view.setInt8(starts[i]! + f.at, d);
      } else {
        if (d !== (d | 0)) return null;
        view.setInt32(starts[i]! + f.at, d, true);
      }
    }
  }
  code[n] = 0xe9;
  view.setInt32(n + 1, exit - (base + n + 5), true);
  return { code, starts };
}

/** The memory a case starts with. */
export function caseMemory(c: Case, out: Uint8Array): void {
  out.set(memoryPool().subarray(c.pool, c.pool + DATA_BYTES));
  for (const p of c.patches) out.set(p.bytes, p.at);
}

/** Hands out places in the code region, so that most cases use bytes that were not code a moment ago. */
export class CodeArea {
  private next = PAGE;
  /** An offset in the region with page offset `offset` and room for n bytes. */
  take(offset: number, n: number): number {
    let at = this.next - (this.next % PAGE) + offset;
    if (at < this.next) at += PAGE;
    if (at + n > CODE_BYTES) at = PAGE + offset;
    this.next = at + n;
    return at;
  }
}
