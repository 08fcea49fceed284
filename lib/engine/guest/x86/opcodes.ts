/**
 * The shape of the opcode tables, and the dense lookup built from them. Tables are data: one row per encoding.
 * Encodings: Intel SDM vol. 2 chapters 2 (prefixes, ModRM, VEX) and 3..6, appendix A (opcode maps).
 */
import type { LiftContext } from './lift-context.js';

/** Emits the IR of the instruction in `c.insn`. Must end the block itself (terminator) where the instruction demands it. */
export type Handler = (c: LiftContext) => void;

/** Mandatory prefixes a row accepts: a mask. F3/F2 (the last of them) hide 66; see `Row.p`. */
export const enum P {
  /** Neither 66, F3 nor F2. */
  NP = 1,
  P66 = 2,
  F3 = 4,
  F2 = 8,
  /** No prefix or 66, where 66 is the operand size. */
  NP66 = 3,
  ANY = 15,
}

/** Immediate that follows ModRM, SIB and displacement. */
export const enum Imm {
  NONE = 0,
  /** 8 bits, sign-extended to 64 (mask it where it is unsigned). */
  IB,
  /** 16 bits, zero-extended. */
  IW,
  /** 16 or 32 bits by operand size, sign-extended to 64. */
  IZ,
  /** 16, 32 or 64 bits by operand size (MOV r, imm). */
  IV,
  /** ENTER: 16 bits to imm, 8 bits to imm2. */
  IWIB,
  /** Far pointer: offset (16 or 32 bits by operand size) to imm, selector to imm2. */
  FAR,
  /** Absolute offset of address size to disp (low) and immHi (high). */
  MOFFS,
  /** Branch displacement, 8 bits. */
  JB,
  /** Branch displacement, 16 or 32 bits by operand size. */
  JZ,
}

/** How the operand size is found. */
export const enum Size {
  /** 16/32 by mode and 66, 64 with REX.W. */
  STD = 0,
  /** 64-bit mode: 64, or 16 with 66 (PUSH, POP). */
  D64,
  /** 64-bit mode: always 64 (near branches; Intel ignores 66 there). */
  F64,
}

export const enum Mod { ANY = 0, MEM = 1, REG = 2 }
export const enum M64 { ANY = 0, NOT64 = 1, ONLY64 = 2 }

export interface Row {
  readonly map: 0 | 1 | 2 | 3;
  /** First opcode byte of the row; `n` consecutive opcodes belong to it (PUSH r, Jcc ...). */
  readonly opcode: number;
  readonly n: number;
  readonly name: string;
  readonly h: Handler;
  /**
   * Accepted prefixes (`P` mask). If it is exactly P66, the 66 byte selects the row and does not change the operand
   * size; in all other rows 66 is also the operand size prefix.
   */
  readonly p: number;
  /** VEX encoding (then p is matched against VEX.pp) or legacy encoding. */
  readonly vex: boolean;
  /** VEX.L and VEX.W that the row accepts: 0, 1, or 2 = any. Ignored in legacy rows. */
  readonly l: 0 | 1 | 2;
  readonly w: 0 | 1 | 2;
  /** VEX.vvvv must be 1111b. */
  readonly noVvvv: boolean;
  /** ModRM.reg extension 0..7, or -1. */
  readonly digit: number;
  readonly mod: Mod;
  /** ModRM.rm fixed (register form), or -1. */
  readonly rm: number;
  readonly m64: M64;
  readonly modrm: boolean;
  readonly imm: Imm;
  readonly size: Size;
  /** LOCK is allowed (with a memory operand). */
  readonly lock: boolean;
  /** CPUID feature(s) joined by '+', named as in /proc/cpuinfo (except sse3, ssse3); '' = always there. Missing: #UD. */
  readonly feature: string;
  /** Free for the handler: `c.arg`. */
  readonly arg: number;
}

export type RowOptions = Partial<Omit<Row, 'map' | 'opcode' | 'name' | 'h'>>;

/**
 * Makes a row. Defaults: any prefix, legacy encoding, no ModRM in maps 0 and 1 (unless VEX, digit, mod or rm says so),
 * ModRM in maps 2 and 3, imm8 in map 3, VEX.L = 0, VEX.W any.
 */
export function row(map: Row['map'], opcode: number, name: string, h: Handler, o: RowOptions = {}): Row {
  const vex = o.vex ?? false;
  return {
    map, opcode, name, h,
    n: o.n ?? 1,
    p: o.p ?? P.ANY,
    vex,
    l: o.l ?? 0,
    w: o.w ?? 2,
    noVvvv: o.noVvvv ?? false,
    digit: o.digit ?? -1,
    mod: o.mod ?? (o.rm === undefined || o.rm < 0 ? Mod.ANY : Mod.REG),
    rm: o.rm ?? -1,
    m64: o.m64 ?? M64.ANY,
    modrm: o.modrm ?? (vex || map >= 2 || o.digit !== undefined || o.mod !== undefined || o.rm !== undefined),
    imm: o.imm ?? (map === 3 ? Imm.IB : Imm.NONE),
    size: o.size ?? Size.STD,
    lock: o.lock ?? false,
    feature: o.feature ?? '',
    arg: o.arg ?? 0,
  };
}

/** Cells of legacy encodings: ((map << 8 | opcode) << 3) | pp << 1 | is64. */
export const LEGACY_CELLS = 4 * 256 * 8;
/** Cells of VEX encodings: ((map - 1) << 8 | opcode) << 5 | pp << 3 | L << 2 | W << 1 | is64. */
export const VEX_CELLS = 3 * 256 * 32;
/** A cell whose instructions have a ModRM byte. */
export const CELL_MODRM = 0x10000;
/** The low 16 bits are the number of a group (256 rows by ModRM byte) instead of a row. */
export const CELL_GROUP = 0x20000;

const bytesOf = new Map<number, readonly number[]>();
/** ModRM bytes that a row accepts. Many rows accept the same ones. */
function modrmBytes(r: Row): readonly number[] {
  const key = ((r.mod as number) << 8) | ((r.digit + 1) << 4) | (r.rm + 1);
  let list = bytesOf.get(key);
  if (list === undefined) {
    const found: number[] = [];
    for (let m = 0; m < 256; m++) {
      const reg = m >= 0xc0;
      if (reg ? r.mod === Mod.MEM : r.mod === Mod.REG) continue;
      if (r.digit >= 0 && ((m >> 3) & 7) !== r.digit) continue;
      if (r.rm >= 0 && (m & 7) !== r.rm) continue;
      found.push(m);
    }
    bytesOf.set(key, (list = found));
  }
  return list;
}

/** Dense lookup: cell -> row, or cell -> group -> ModRM byte -> row. Row numbers start at 1; 0 = undefined. */
export class OpcodeTable {
  /** rows[0] is unused. */
  readonly rows: Row[];
  /** 0 = undefined, otherwise row or group number | CELL_ flags. */
  readonly legacy = new Int32Array(LEGACY_CELLS);
  readonly vex = new Int32Array(VEX_CELLS);
  readonly groups: Uint16Array[] = [];
  /** Human-readable descriptions of overlapping rows. */
  readonly conflicts: string[] = [];
  /** Group that a row has made of a group, by both their numbers. */
  private readonly grown = new Map<number, number>();

  constructor(rows: readonly Row[]) {
    const filler = row(0, 0, 'undefined', () => undefined);
    this.rows = [filler, ...rows];
    for (let i = 1; i < this.rows.length; i++) this.add(i, this.rows[i]!);
    this.grown.clear();
    if (this.conflicts.length > 0) throw new Error(`opcode tables overlap:\n${this.conflicts.slice(0, 20).join('\n')}`);
  }

  private add(id: number, r: Row): void {
    for (let k = 0; k < r.n; k++) {
      for (let pp = 0; pp < 4; pp++) {
        if ((r.p & (1 << pp)) === 0) continue;
        for (let is64 = 0; is64 < 2; is64++) {
          if (r.m64 === M64.NOT64 && is64 === 1) continue;
          if (r.m64 === M64.ONLY64 && is64 === 0) continue;
          if (!r.vex) {
            this.put(this.legacy, (((r.map << 8) | (r.opcode + k)) << 3) | (pp << 1) | is64, id, r);
            continue;
          }
          for (let lw = 0; lw < 4; lw++) {
            if (r.l !== 2 && r.l !== lw >> 1) continue;
            if (r.w !== 2 && r.w !== (lw & 1)) continue;
            this.put(this.vex, ((((r.map - 1) << 8) | (r.opcode + k)) << 5) | (pp << 3) | (lw << 1) | is64, id, r);
          }
        }
      }
    }
  }

  private put(cells: Int32Array, cell: number, id: number, r: Row): void {
    const old = cells[cell]!;
    if (!r.modrm || (r.mod === Mod.ANY && r.digit < 0 && r.rm < 0)) {
      // The row has the cell for itself. (Most do: groups for all of them would make every start slower.)
      if (old !== 0) this.conflict(id, old);
      else cells[cell] = r.modrm ? id | CELL_MODRM : id;
      return;
    }
    if (old !== 0 && (old & CELL_GROUP) === 0) {
      this.conflict(id, old);
      return;
    }
    const g = this.withRow(old === 0 ? -1 : old & 0xffff, id, r);
    if (g >= 0) cells[cell] = g | CELL_GROUP | CELL_MODRM;
  }

  /** Number of the group that is group `from` (-1: an empty one) and the row. Rows that share their cells share their groups so. */
  private withRow(from: number, id: number, r: Row): number {
    const key = (from + 1) * 0x1_0000 + id;
    let n = this.grown.get(key);
    if (n !== undefined) return n;
    const g = from < 0 ? new Uint16Array(256) : this.groups[from]!.slice();
    for (const m of modrmBytes(r)) {
      if (g[m] !== 0) {
        this.conflict(id, g[m]!);
        return -1;
      }
      g[m] = id;
    }
    n = this.groups.length;
    this.groups.push(g);
    this.grown.set(key, n);
    return n;
  }

  private conflict(id: number, old: number): void {
    const a = this.rows[id]!;
    const b = (old & CELL_GROUP) !== 0 ? undefined : this.rows[old & 0xffff];
    this.conflicts.push(`${a.name} (map ${a.map}, opcode ${a.opcode.toString(16)}) and ${b?.name ?? 'a group of rows'}`);
  }
}
