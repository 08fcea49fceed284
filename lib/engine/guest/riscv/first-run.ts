/**
 * Executes code that is met for the first time, instruction by instruction from its bytes (docs/adr/0065): a third of a boot's blocks never run again, and translating one takes as
 * long as executing hundreds of instructions. Only what is frequent and simple is executed (RV64I without system instructions; loads and stores that the TLB knows): everything else, and
 * whatever could raise an exception or be seen by somebody, is left to be translated.
 */
import { Slot } from '../../state.js';
import type { RiscvCpu } from './cpu.js';
import { Mode } from './defs.js';
import { expand } from './rvc.js';

const PAGE = 4096;
const PC = Slot.PC * 2;
const GPR = Slot.GPR * 2;
/** Most instructions of one call: interrupts wait for them. */
const MOST = 256;

const enum Opc { LOAD = 0x03, FENCE = 0x0f, OP_IMM = 0x13, AUIPC = 0x17, OP_IMM_32 = 0x1b, STORE = 0x23, OP = 0x33, LUI = 0x37, OP_32 = 0x3b, BRANCH = 0x63, JALR = 0x67, JAL = 0x6f }

/** High word of the result of `compute` and `shift`. */
let high = 0;

function shiftLeft(l: number, h: number, n: number): number {
  if (n === 0) {
    high = h;
    return l;
  }
  if (n >= 32) {
    high = l << (n - 32);
    return 0;
  }
  high = (h << n) | (l >>> (32 - n));
  return l << n;
}

/** @param sign what comes in from above: 0, or h >> 31 */
function shiftRight(l: number, h: number, n: number, sign: number): number {
  if (n === 0) {
    high = h;
    return l;
  }
  if (n >= 32) {
    high = sign;
    return n === 32 ? h : (h >>> (n - 32)) | (sign << (64 - n));
  }
  high = (h >>> n) | (sign << (32 - n));
  return (l >>> n) | (h << (32 - n));
}

function lessSigned(al: number, ah: number, bl: number, bh: number): boolean {
  return ah < bh || (ah === bh && al >>> 0 < bl >>> 0);
}
function lessUnsigned(al: number, ah: number, bl: number, bh: number): boolean {
  return ah >>> 0 < bh >>> 0 || (ah === bh && al >>> 0 < bl >>> 0);
}

/** Result of a 64-bit operation by funct3 (0: addition), high word in `high`. @param alt SRA instead of SRL */
function compute(f3: number, alt: boolean, al: number, ah: number, bl: number, bh: number): number {
  switch (f3) {
    case 0: {
      const r = (al + bl) | 0;
      high = (ah + bh + (r >>> 0 < al >>> 0 ? 1 : 0)) | 0;
      return r;
    }
    case 1:
      return shiftLeft(al, ah, bl & 63);
    case 2:
      high = 0;
      return lessSigned(al, ah, bl, bh) ? 1 : 0;
    case 3:
      high = 0;
      return lessUnsigned(al, ah, bl, bh) ? 1 : 0;
    case 4:
      high = ah ^ bh;
      return al ^ bl;
    case 5:
      return shiftRight(al, ah, bl & 63, alt ? ah >> 31 : 0);
    case 6:
      high = ah | bh;
      return al | bl;
    default:
      high = ah & bh;
      return al & bl;
  }
}

/** True if a branch is taken; funct3 is none of 2 and 3. */
function taken(f3: number, al: number, ah: number, bl: number, bh: number): boolean {
  const is = f3 < 4 ? al === bl && ah === bh : f3 < 6 ? lessSigned(al, ah, bl, bh) : lessUnsigned(al, ah, bl, bh);
  return is !== ((f3 & 1) !== 0);
}

/** PC = page offset `off` of the page PC is in, which may be far outside of it. */
function goTo(V: Int32Array, off: number): void {
  const base = V[PC]! & ~(PAGE - 1);
  const lo = (base + off) | 0;
  if (off >= 0) V[PC + 1] = (V[PC + 1]! + (lo >>> 0 < base >>> 0 ? 1 : 0)) | 0;
  else V[PC + 1] = (V[PC + 1]! - (lo >>> 0 > base >>> 0 ? 1 : 0)) | 0;
  V[PC] = lo;
}

/** rd = linear address of page offset `off` (at most a page further). */
function link(V: Int32Array, rd: number, off: number): void {
  if (rd === 0) return;
  const base = V[PC]! & ~(PAGE - 1);
  const lo = (base + off) | 0;
  V[GPR + rd * 2] = lo;
  V[GPR + rd * 2 + 1] = (V[PC + 1]! + (lo >>> 0 < base >>> 0 ? 1 : 0)) | 0;
}

function load(cpu: RiscvCpu, f3: number, lo: number, hi: number): boolean {
  const { mmu, map } = cpu;
  const w = f3 & 3;
  if (f3 === 7) return false;
  const p = mmu.hitRead(lo, hi, cpu.mmuIdx, 1 << w);
  if (p < 0) return false;
  const view = map.ramView;
  if (w === 3) {
    high = view.getInt32(p + 4, true);
    value = view.getInt32(p, true);
    return true;
  }
  const raw = w === 2 ? view.getInt32(p, true) : w === 1 ? view.getInt16(p, true) : view.getInt8(p);
  if (f3 >= 4) {
    value = w === 2 ? raw : w === 1 ? raw & 0xffff : raw & 0xff;
    high = 0;
  } else {
    value = raw;
    high = raw >> 31;
  }
  return true;
}
/** Low word of what `load` has read. */
let value = 0;

function store(cpu: RiscvCpu, f3: number, lo: number, hi: number, l: number, h: number): boolean {
  if (f3 > 3) return false;
  const p = cpu.mmu.hitWrite(lo, hi, cpu.mmuIdx, 1 << f3);
  if (p < 0) return false;
  const view = cpu.map.ramView;
  if (f3 === 3) {
    view.setInt32(p, l, true);
    view.setInt32(p + 4, h, true);
  } else if (f3 === 2) view.setInt32(p, l, true);
  else if (f3 === 1) view.setInt16(p, l, true);
  else view.setInt8(p, l);
  return true;
}

/**
 * Executes from PC on, which lies in the RAM page at `pageOff`, as far as that goes within the page. PC is set to what comes next.
 * @param fresh asked where a block begins (page offset): true if it, too, has not been met before
 * @returns instructions executed: 0 if already the first one is not for here
 */
export function runFirst(cpu: RiscvCpu, pageOff: number, fresh: (offset: number) => boolean): number {
  if ((cpu.mode & (Mode.STEP | Mode.COUNT)) !== 0) return 0;
  const { V } = cpu;
  const { ram8 } = cpu.map;
  let off = V[PC]! & (PAGE - 1);
  let n = 0;
  for (; n < MOST; n++) {
    const at = pageOff + off;
    const low = ram8[at]! | (ram8[at + 1]! << 8);
    let insn: number;
    let next: number;
    if ((low & 3) === 3) {
      if (off > PAGE - 4) break;
      insn = low | (ram8[at + 2]! << 16) | (ram8[at + 3]! << 24);
      next = off + 4;
    } else {
      insn = expand(low);
      next = off + 2;
    }
    const rd = (insn >>> 7) & 31;
    const f3 = (insn >>> 12) & 7;
    const a = GPR + ((insn >>> 15) & 31) * 2;
    const b = GPR + ((insn >>> 20) & 31) * 2;
    const imm = insn >> 20;
    let result: number;
    switch (insn & 0x7f) {
      case Opc.OP_IMM:
        if (f3 === 1 ? imm >>> 6 !== 0 : f3 === 5 && (imm & 0xbc0) !== 0) return leave(V, off, n);
        result = compute(f3, (imm & 0x400) !== 0, V[a]!, V[a + 1]!, imm, imm >> 31);
        break;
      case Opc.OP: {
        const f7 = insn >>> 25;
        if (f7 === 0) result = compute(f3, false, V[a]!, V[a + 1]!, V[b]!, V[b + 1]!);
        else if (f7 !== 0x20) return leave(V, off, n);
        else if (f3 === 5) result = compute(5, true, V[a]!, V[a + 1]!, V[b]!, V[b + 1]!);
        else if (f3 === 0) {
          result = (V[a]! - V[b]!) | 0;
          high = (V[a + 1]! - V[b + 1]! - (V[a]! >>> 0 < V[b]! >>> 0 ? 1 : 0)) | 0;
        } else return leave(V, off, n);
        break;
      }
      case Opc.OP_IMM_32:
        if (f3 === 0) result = (V[a]! + imm) | 0;
        else if (f3 === 1 && imm >>> 5 === 0) result = V[a]! << imm;
        else if (f3 === 5 && imm >>> 5 === 0) result = V[a]! >>> imm | 0;
        else if (f3 === 5 && imm >>> 5 === 0x20) result = V[a]! >> (imm & 31);
        else return leave(V, off, n);
        high = result >> 31;
        break;
      case Opc.OP_32: {
        const f7 = insn >>> 25;
        if (f7 === 0 && f3 === 0) result = (V[a]! + V[b]!) | 0;
        else if (f7 === 0x20 && f3 === 0) result = (V[a]! - V[b]!) | 0;
        else if (f7 === 0 && f3 === 1) result = V[a]! << (V[b]! & 31);
        else if (f7 === 0 && f3 === 5) result = V[a]! >>> (V[b]! & 31) | 0;
        else if (f7 === 0x20 && f3 === 5) result = V[a]! >> (V[b]! & 31);
        else return leave(V, off, n);
        high = result >> 31;
        break;
      }
      case Opc.LUI:
        result = insn & 0xffff_f000;
        high = result >> 31;
        break;
      case Opc.AUIPC: {
        const base = (V[PC]! & ~(PAGE - 1)) + off;
        const up = insn & 0xffff_f000;
        result = (base + up) | 0;
        high = (V[PC + 1]! + (up >> 31) + (result >>> 0 < base >>> 0 ? 1 : 0)) | 0;
        break;
      }
      case Opc.LOAD:
        result = compute(0, false, V[a]!, V[a + 1]!, imm, imm >> 31);
        if (!load(cpu, f3, result, high)) return leave(V, off, n);
        result = value;
        break;
      case Opc.STORE: {
        const d = ((insn >> 25) << 5) | rd;
        result = compute(0, false, V[a]!, V[a + 1]!, d, d >> 31);
        if (!store(cpu, f3, result, high, V[b]!, V[b + 1]!)) return leave(V, off, n);
        off = next;
        if (off >= PAGE) return leave(V, off, n + 1);
        continue;
      }
      case Opc.BRANCH: {
        if (f3 === 2 || f3 === 3) return leave(V, off, n);
        const by = ((insn >> 31) << 12) | (((insn >>> 7) & 1) << 11) | (((insn >>> 25) & 63) << 5) | (((insn >>> 8) & 15) << 1);
        off = taken(f3, V[a]!, V[a + 1]!, V[b]!, V[b + 1]!) ? off + by : next;
        if (off < 0 || off >= PAGE || !fresh(off)) return leave(V, off, n + 1);
        continue;
      }
      case Opc.JAL: {
        const by = ((insn >> 31) << 20) | (((insn >>> 12) & 0xff) << 12) | (((insn >>> 20) & 1) << 11) | (((insn >>> 21) & 0x3ff) << 1);
        link(V, rd, next);
        off += by;
        if (off < 0 || off >= PAGE || !fresh(off)) return leave(V, off, n + 1);
        continue;
      }
      case Opc.JALR: {
        if (f3 !== 0) return leave(V, off, n);
        const lo = compute(0, false, V[a]!, V[a + 1]!, imm, imm >> 31) & ~1;
        const hi = high;
        link(V, rd, next);
        V[PC] = lo;
        V[PC + 1] = hi;
        return n + 1;
      }
      case Opc.FENCE:
        // All that one thread does is in order. FENCE.I: code is read when it is executed.
        if (f3 > 1) return leave(V, off, n);
        off = next;
        if (off >= PAGE) return leave(V, off, n + 1);
        continue;
      default:
        return leave(V, off, n);
    }
    if (rd !== 0) {
      V[GPR + rd * 2] = result;
      V[GPR + rd * 2 + 1] = high;
    }
    off = next;
    if (off >= PAGE) return leave(V, off, n + 1);
  }
  return leave(V, off, n);
}

/** PC is at page offset `off` after n instructions. */
function leave(V: Int32Array, off: number, n: number): number {
  if (n !== 0) goTo(V, off);
  return n;
}
