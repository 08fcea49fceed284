/**
 * The instruction decoder: prefixes, opcode, ModRM, SIB, displacement, immediate; finds the table row that owns the
 * encoding. Intel SDM vol. 2, chapter 2. No allocation; integer work only.
 */
import type { CodeWindow } from '../../cpu.js';
import type { Insn } from './insn.js';
import { Mode, Seg } from './mode.js';
import { CELL_GROUP, CELL_MODRM, Imm, P, Size, type OpcodeTable, type Row } from './opcodes.js';

export const enum DecodeStatus {
  OK = 0,
  /** Bytes past the end of the window are needed. */
  NEED_MORE = 1,
  /** More than 15 bytes: #GP(0). */
  TOO_LONG = 2,
  /** #UD. */
  UNDEFINED = 3,
}

/** What a byte is in prefix position. */
const enum Pb { OPCODE = 0, SEG, P66, P67, LOCK, REP, REX }

const PREFIX = (() => {
  const t = new Uint8Array(512);
  for (const base of [0, 256]) {
    for (const s of [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]) t[base + s] = Pb.SEG;
    t[base + 0x66] = Pb.P66;
    t[base + 0x67] = Pb.P67;
    t[base + 0xf0] = Pb.LOCK;
    t[base + 0xf2] = Pb.REP;
    t[base + 0xf3] = Pb.REP;
  }
  // REX exists in 64-bit code only (second half)
  for (let r = 0x40; r < 0x50; r++) t[256 + r] = Pb.REX;
  return t;
})();

/** 16-bit addressing, by ModRM.rm: base and index register numbers (SDM vol. 2 table 2-1). */
const BASE16 = Int8Array.of(3, 3, 5, 5, -1, -1, 5, 3);
const INDEX16 = Int8Array.of(6, 7, 6, 7, 6, 7, -1, -1);
const MAX_LENGTH = 15;
/** Nothing is read further than this past the first byte. */
const REACH = 32;

export class Decoder {
  /** Copy of the end of a window, padded, so that reads past the end stay harmless. */
  private readonly tail = new Uint8Array(2 * REACH);
  private readonly legacy: Int32Array;
  private readonly vexCells: Int32Array;
  private readonly groups: readonly Uint16Array[];
  private readonly rows: readonly Row[];
  /** Row properties the decoder needs, packed: imm | size << 4 | lock << 6 | only66 << 7 | noVvvv << 8. */
  private readonly traits: Uint16Array;

  constructor(readonly table: OpcodeTable) {
    this.legacy = table.legacy;
    this.vexCells = table.vex;
    this.groups = table.groups;
    this.rows = table.rows;
    this.traits = Uint16Array.from(table.rows, (r) =>
      r.imm | (r.size << 4) | (r.lock ? 1 << 6 : 0) | (r.p === P.P66 && !r.vex ? 1 << 7 : 0) | (r.noVvvv ? 1 << 8 : 0));
  }

  /**
   * Decodes the instruction at win.pos into `x`; does not advance the window.
   * x.length, x.start and x.next are valid unless the result is NEED_MORE.
   */
  decode(win: CodeWindow, mode: number, x: Insn): DecodeStatus {
    let buf = win.buf;
    let p = win.pos;
    const room = win.end - p;
    if (room < REACH) {
      const tail = this.tail;
      tail.fill(0);
      for (let k = 0; k < room; k++) tail[k] = buf[p + k]!;
      buf = tail;
      p = 0;
    }
    const p0 = p;
    const status = this.decodeAt(buf, p0, mode, x, win.offset);
    const len = x.length;
    if (len > MAX_LENGTH) {
      // the bytes that decide it must be there: a missing page is a page fault, not #GP
      if (room < MAX_LENGTH) return DecodeStatus.NEED_MORE;
      x.length = MAX_LENGTH;
      x.next = x.start + MAX_LENGTH;
      return DecodeStatus.TOO_LONG;
    }
    return len > room ? DecodeStatus.NEED_MORE : status;
  }

  private undefined(x: Insn, length: number): DecodeStatus {
    x.length = length;
    x.next = x.start + length;
    return DecodeStatus.UNDEFINED;
  }

  private decodeAt(buf: Uint8Array, p0: number, mode: number, x: Insn, offset: number): DecodeStatus {
    const code = mode & Mode.CODE_MASK;
    const is64 = code === 2 ? 1 : 0;
    let p = p0;
    let p66 = false;
    let p67 = false;
    let rex = 0;
    let rep = 0;
    let lock = false;
    let seg = -1;
    x.start = offset;
    let op = buf[p++]!;
    for (;;) {
      const kind = PREFIX[(is64 << 8) | op]!;
      if (kind === Pb.OPCODE) break;
      if (kind === Pb.REX) {
        rex = op;
        op = buf[p++]!;
        // a legacy prefix after REX makes the REX prefix void; another REX replaces it
        if (PREFIX[256 | op] !== Pb.OPCODE) {
          if (PREFIX[256 | op] !== Pb.REX) rex = 0;
          if (p - p0 > MAX_LENGTH) return this.undefined(x, p - p0);
          continue;
        }
        break;
      }
      switch (kind) {
        case Pb.SEG:
          if (op >= 0x64) seg = op - 0x60;
          else if (is64 === 0) seg = (op >> 3) & 3;
          break;
        case Pb.P66: p66 = true; break;
        case Pb.P67: p67 = true; break;
        case Pb.LOCK: lock = true; break;
        default: rep = op === 0xf3 ? 2 : 3; break;
      }
      op = buf[p++]!;
      if (p - p0 > MAX_LENGTH) return this.undefined(x, p - p0);
    }

    let map = 0;
    let cell: number;
    let rexR = (rex & 4) << 1;
    let rexX = (rex & 2) << 2;
    let rexB = (rex & 1) << 3;
    let w = (rex >> 3) & 1;
    x.vex = false;
    let pp = rep !== 0 ? rep : p66 ? 1 : 0;
    if ((op === 0xc5 || op === 0xc4) && (is64 === 1 || buf[p]! >= 0xc0)) {
      // VEX. In real and v86 mode the encoding space belongs to LES/LDS with a register operand: #UD
      if ((mode & Mode.REAL) !== 0 || p66 || rep !== 0 || lock || rex !== 0) return this.undefined(x, p + 1 - p0);
      const b1 = buf[p++]!;
      let b2 = b1;
      map = 1;
      w = 0;
      rexR = is64 === 1 ? ((b1 >> 4) & 8) ^ 8 : 0;
      rexX = 0;
      rexB = 0;
      if (op === 0xc4) {
        b2 = buf[p++]!;
        map = b1 & 31;
        w = b2 >> 7;
        if (is64 === 1) {
          rexX = ((b1 >> 3) & 8) ^ 8;
          rexB = ((b1 >> 2) & 8) ^ 8;
        }
        if (map === 0 || map > 3) return this.undefined(x, p - p0);
      }
      pp = b2 & 3;
      x.vex = true;
      x.vexL = (b2 >> 2) & 1;
      x.vvvv = ((b2 >> 3) & 15) ^ 15;
      if (is64 === 0) x.vvvv &= 7;
      op = buf[p++]!;
      cell = this.vexCells[((((map - 1) << 8) | op) << 5) | (pp << 3) | (x.vexL << 2) | (w << 1) | is64]!;
    } else {
      if (op === 0x0f) {
        op = buf[p++]!;
        map = 1;
        if (op === 0x38) {
          map = 2;
          op = buf[p++]!;
        } else if (op === 0x3a) {
          map = 3;
          op = buf[p++]!;
        }
      }
      cell = this.legacy[(((map << 8) | op) << 3) | (pp << 1) | is64]!;
    }
    if (cell === 0) return this.undefined(x, p - p0);

    x.map = map;
    x.opcode = op;
    x.code = code;
    x.rex = rex !== 0;
    x.w = w;
    x.lock = lock;
    x.rep = rep;
    x.p66 = p66;
    x.pp = pp;
    x.seg = seg;
    const as = code === 2 ? (p67 ? 2 : 3) : (code === 1) !== p67 ? 2 : 1;
    x.addrsize = as;
    x.opreg = (op & 7) | rexB;

    let rowId = cell & 0xffff;
    if ((cell & CELL_MODRM) !== 0) {
      const m = buf[p++]!;
      if ((cell & CELL_GROUP) !== 0) {
        rowId = this.groups[rowId]![m]!;
        if (rowId === 0) return this.undefined(x, p - p0);
      }
      x.modrm = m;
      x.reg = ((m >> 3) & 7) | rexR;
      let mod = m >> 6;
      // MOV to and from control and debug registers: the mod field is ignored
      if (map === 1 && (op & 0xfc) === 0x20) mod = 3;
      x.mod = mod;
      const rm = m & 7;
      if (mod === 3) {
        x.rm = rm | rexB;
      } else {
        x.rm = rm;
        x.riprel = false;
        x.scale = 0;
        x.dispAt = -1;
        let disp = 0;
        if (as !== 1) {
          let base = rm | rexB;
          x.index = -1;
          if (rm === 4) {
            const sib = buf[p++]!;
            base = (sib & 7) | rexB;
            const index = ((sib >> 3) & 7) | rexX;
            x.vindex = index;
            x.scale = sib >> 6;
            if (index !== 4) x.index = index;
            if (mod === 0 && (sib & 7) === 5) {
              base = -1;
              mod = 2;
            }
          } else if (mod === 0 && rm === 5) {
            base = -1;
            x.riprel = is64 === 1;
            mod = 2;
          }
          x.base = base;
          x.defseg = base === 4 || base === 5 ? Seg.SS : Seg.DS;
          if (mod === 1) {
            disp = (buf[p++]! << 24) >> 24;
          } else if (mod === 2) {
            x.dispAt = p - p0;
            disp = buf[p]! | (buf[p + 1]! << 8) | (buf[p + 2]! << 16) | (buf[p + 3]! << 24);
            p += 4;
          }
        } else {
          let base = BASE16[rm]!;
          if (rm === 6 && mod === 0) {
            base = -1;
            mod = 2;
          }
          x.base = base;
          x.index = INDEX16[rm]!;
          if (base < 0 && x.index >= 0) {
            // [SI] and [DI]: the single register is the base
            x.base = x.index;
            x.index = -1;
          }
          x.defseg = base === 5 ? Seg.SS : Seg.DS;
          if (mod === 1) {
            disp = (buf[p++]! << 24) >> 24;
          } else if (mod === 2) {
            disp = ((buf[p]! | (buf[p + 1]! << 8)) << 16) >> 16;
            p += 2;
          }
        }
        x.disp = disp;
      }
    } else {
      x.mod = 3;
    }

    const traits = this.traits[rowId]!;
    x.rowId = rowId;
    x.row = this.rows[rowId]!;
    let os: number;
    if (x.vex) {
      os = w & is64 ? 3 : 2;
    } else {
      const o66 = p66 && (traits & 128) === 0;
      if (is64 === 1) {
        const size = (traits >> 4) & 3;
        os = size === Size.F64 || w !== 0 ? 3 : o66 ? 1 : size === Size.D64 ? 3 : 2;
      } else {
        os = (code === 1) !== o66 ? 2 : 1;
      }
    }
    x.opsize = os;

    x.immAt = -1;
    switch (traits & 15) {
      case Imm.NONE:
        break;
      case Imm.IB:
      case Imm.JB:
        x.imm = (buf[p++]! << 24) >> 24;
        x.immHi = x.imm >> 31;
        break;
      case Imm.IW:
        x.imm = buf[p]! | (buf[p + 1]! << 8);
        x.immHi = 0;
        p += 2;
        break;
      case Imm.IZ:
      case Imm.JZ:
        if (os === 1) {
          x.imm = ((buf[p]! | (buf[p + 1]! << 8)) << 16) >> 16;
          p += 2;
        } else {
          x.immAt = p - p0;
          x.imm = buf[p]! | (buf[p + 1]! << 8) | (buf[p + 2]! << 16) | (buf[p + 3]! << 24);
          p += 4;
        }
        x.immHi = x.imm >> 31;
        break;
      case Imm.IV:
        if (os === 2) x.immAt = p - p0;
        p = this.wide(buf, p, os, x);
        break;
      case Imm.IWIB:
        x.imm = buf[p]! | (buf[p + 1]! << 8);
        x.imm2 = buf[p + 2]!;
        p += 3;
        break;
      case Imm.FAR:
        p = this.wide(buf, p, os, x);
        x.imm2 = buf[p]! | (buf[p + 1]! << 8);
        p += 2;
        break;
      default:
        // MOFFS: a memory operand without ModRM
        if (as === 2) x.immAt = p - p0;
        x.dispAt = -1;
        p = this.wide(buf, p, as, x);
        x.disp = x.imm;
        x.base = -1;
        x.index = -1;
        x.riprel = false;
        x.defseg = Seg.DS;
        break;
    }
    const len = p - p0;
    x.length = len;
    x.next = offset + len;
    if (lock && ((traits & 64) === 0 || x.mod === 3)) return DecodeStatus.UNDEFINED;
    if (x.vex && (traits & 256) !== 0 && x.vvvv !== 0) return DecodeStatus.UNDEFINED;
    return DecodeStatus.OK;
  }

  /** Zero-extended 16, 32 or 64 bits (width ww) to imm and immHi. */
  private wide(buf: Uint8Array, p: number, ww: number, x: Insn): number {
    x.immHi = 0;
    if (ww === 1) {
      x.imm = buf[p]! | (buf[p + 1]! << 8);
      return p + 2;
    }
    x.imm = buf[p]! | (buf[p + 1]! << 8) | (buf[p + 2]! << 16) | (buf[p + 3]! << 24);
    if (ww === 2) return p + 4;
    x.immHi = buf[p + 4]! | (buf[p + 5]! << 8) | (buf[p + 6]! << 16) | (buf[p + 7]! << 24);
    return p + 8;
  }
}
