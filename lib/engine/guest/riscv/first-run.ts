/**
 * Executes code that has been met a few times only, instruction by instruction from its bytes (docs/adr/0065, 0070): most of a boot's blocks run hardly more than ten times, and
 * translating one takes as long as executing hundreds of instructions. What is rare (floating point, vectors, what changes privilege) is left to be translated.
 */
import { ColdAt, ColdEnd, ColdFetch, coldCount, ColdPage } from '../../cold-state.js';
import { Access, NONE, Slot } from '../../state.js';
import { HelperResult } from '../../helpers.js';
import type { RiscvCpu } from './cpu.js';
import { Mode, X } from './defs.js';
import { divide } from './divide.js';
import { csr, fence } from './helpers.js';
import { expand } from './rvc.js';

const PAGE = 4096;
/** Mode bits with which everything is translated. */
const WATCHED = Mode.STEP | Mode.COUNT;
const PC = Slot.PC * 2;
const PENDING = Slot.PENDING * 2;
const GPR = Slot.GPR * 2;
/** A slot for operands and results that are in no register, and its low word. */
const SCRATCH = Slot.HELPER_SCRATCH;
const SCRATCH_W = SCRATCH * 2;

const FETCH = ColdAt.FETCH >> 2;
const EXECUTED = ColdAt.EXECUTED >> 2;
const EXPAND = ColdAt.EXPAND >> 2;

const enum Opc { LOAD = 0x03, STORE = 0x23, AMO = 0x2f, OP = 0x33, OP_32 = 0x3b, SYSTEM = 0x73 }
const enum Amo { ADD = 0, SWAP = 1, LR = 2, SC = 3, XOR = 4, OR = 8, AND = 12, MIN = 16, MAX = 20, MINU = 24, MAXU = 28 }

/** High word of a 64-bit result of the functions below; they return the low word. */
let high = 0;

function lessSigned(al: number, ah: number, bl: number, bh: number): boolean {
  return ah < bh || (ah === bh && al >>> 0 < bl >>> 0);
}
function lessUnsigned(al: number, ah: number, bl: number, bh: number): boolean {
  return ah >>> 0 < bh >>> 0 || (ah === bh && al >>> 0 < bl >>> 0);
}

/** A load that the TLB does not know, zero-extended below 64 bits. X_INSN is set. @throws GuestFault */
function slowLoad(cpu: RiscvCpu, w: number, lo: number, hi: number, acc: Access): number {
  const { V } = cpu;
  V[Slot.X_ADDR * 2] = lo;
  V[Slot.X_ADDR * 2 + 1] = hi;
  V[SCRATCH_W] = V[SCRATCH_W + 1] = 0;
  if (cpu.tryLoad(w, Slot.X_ADDR, SCRATCH, acc) === null) cpu.load(w, Slot.X_ADDR, SCRATCH, acc);
  high = V[SCRATCH_W + 1]!;
  return V[SCRATCH_W]!;
}

function slowStore(cpu: RiscvCpu, w: number, lo: number, hi: number, l: number, h: number): void {
  const { V } = cpu;
  V[Slot.X_ADDR * 2] = lo;
  V[Slot.X_ADDR * 2 + 1] = hi;
  V[SCRATCH_W] = l;
  V[SCRATCH_W + 1] = h;
  if (cpu.tryStore(w, Slot.X_ADDR, SCRATCH, Access.NORMAL) === null) cpu.store(w, Slot.X_ADDR, SCRATCH, Access.NORMAL);
}

/** New value of an AMO. */
function combine(op: Amo, w: number, ol: number, oh: number, l: number, h: number): number {
  if (w === 2) h = l >> 31;
  switch (op) {
    case Amo.SWAP:
      high = h;
      return l;
    case Amo.ADD: {
      const r = (ol + l) | 0;
      high = (oh + h + (r >>> 0 < ol >>> 0 ? 1 : 0)) | 0;
      return r;
    }
    case Amo.XOR:
      high = oh ^ h;
      return ol ^ l;
    case Amo.OR:
      high = oh | h;
      return ol | l;
    case Amo.AND:
      high = oh & h;
      return ol & l;
    default: {
      const less = op < Amo.MINU ? lessSigned(ol, oh, l, h) : lessUnsigned(ol, oh, l, h);
      // The old value stays if it is the one that is wanted; of equal ones either.
      const stays = less === (op === Amo.MIN || op === Amo.MINU);
      high = stays ? oh : h;
      return stays ? ol : l;
    }
  }
}

/** LR, SC and AMO, aligned; X_INSN is set. @returns result, sign-extended. @throws GuestFault */
function atomic(cpu: RiscvCpu, op: Amo, w: number, lo: number, hi: number, l: number, h: number): number {
  const { V, mmu } = cpu;
  const { ramView } = cpu.map;
  const p = op === Amo.LR ? mmu.hitRead(lo, hi, cpu.mmuIdx, 1 << w) : mmu.hitWrite(lo, hi, cpu.mmuIdx, 1 << w);
  let ol: number;
  let oh: number;
  if (p < 0) {
    ol = slowLoad(cpu, w, lo, hi, op === Amo.LR ? Access.NORMAL : Access.RMW);
    oh = high;
  } else {
    ol = ramView.getInt32(p, true);
    oh = w === 3 ? ramView.getInt32(p + 4, true) : 0;
  }
  if (w === 2) oh = ol >> 31;
  if (op === Amo.LR) {
    V[X.RES_ADDR * 2] = lo;
    V[X.RES_ADDR * 2 + 1] = hi;
    V[X.RES_VALUE * 2] = ol;
    V[X.RES_VALUE * 2 + 1] = oh;
    high = oh;
    return ol;
  }
  let nl = ol;
  let nh = oh;
  let fails = false;
  if (op === Amo.SC) {
    fails = V[X.RES_ADDR * 2] !== lo || V[X.RES_ADDR * 2 + 1] !== hi || V[X.RES_VALUE * 2] !== ol || V[X.RES_VALUE * 2 + 1] !== oh;
    if (!fails) {
      nl = l;
      nh = h;
    }
  } else {
    nl = combine(op, w, ol, oh, l, h);
    nh = high;
  }
  if (p < 0) slowStore(cpu, w, lo, hi, nl, nh);
  else {
    ramView.setInt32(p, nl, true);
    if (w === 3) ramView.setInt32(p + 4, nh, true);
  }
  if (op !== Amo.SC) {
    high = oh;
    return ol;
  }
  V[X.RES_ADDR * 2] = V[X.RES_ADDR * 2 + 1] = -1;
  high = 0;
  return fails ? 1 : 0;
}

/** OP and OP-32 with funct7 = 1, but for the products that generated code has. @returns false if it is none of these; the result is in V */
function divideInsn(V: Int32Array, w: number, insn: number): boolean {
  const f3 = (insn >>> 12) & 7;
  if (insn >>> 25 !== 1 || f3 < 4) return false;
  const remainder = f3 >= 6;
  divide(V, (f3 & 1) === 0, w, remainder ? NONE : SCRATCH, remainder ? SCRATCH : NONE, Slot.GPR + ((insn >>> 15) & 31), Slot.GPR + ((insn >>> 20) & 31));
  value = V[SCRATCH_W]!;
  high = w === 3 ? V[SCRATCH_W + 1]! : value >> 31;
  return true;
}

/** Result of what `execute` has executed, with `high`. */
let value = 0;
const enum Did { NOTHING, RESULT, NO_RESULT, DISPATCH }

/**
 * One instruction, if it is one that generated code leaves to TypeScript: a load or store that misses the TLB, an atomic, a division, a CSR access, a fence. X_INSN is set.
 * @throws GuestFault
 */
function execute(cpu: RiscvCpu, insn: number): Did {
  const { V } = cpu;
  const rd = (insn >>> 7) & 31;
  const f3 = (insn >>> 12) & 7;
  const a = GPR + ((insn >>> 15) & 31) * 2;
  const b = GPR + ((insn >>> 20) & 31) * 2;
  switch (insn & 0x7f) {
    case Opc.LOAD: {
      if (f3 === 7) return Did.NOTHING;
      address(V, a, insn >> 20);
      value = slowLoad(cpu, f3 & 3, value, high, Access.NORMAL);
      extend(f3);
      return Did.RESULT;
    }
    case Opc.STORE:
      if (f3 > 3) return Did.NOTHING;
      address(V, a, ((insn >> 25) << 5) | rd);
      slowStore(cpu, f3, value, high, V[b]!, V[b + 1]!);
      return Did.NO_RESULT;
    case Opc.OP:
      return divideInsn(V, 3, insn) ? Did.RESULT : Did.NOTHING;
    case Opc.OP_32:
      return divideInsn(V, 2, insn) ? Did.RESULT : Did.NOTHING;
    case Opc.AMO: {
      const lo = V[a]!;
      const op: Amo = insn >>> 27;
      // What is not aligned, and what does not exist, raises an exception.
      if ((f3 !== 2 && f3 !== 3) || (lo & ((1 << f3) - 1)) !== 0 || (op > Amo.XOR && (op & 3) !== 0) || (op === Amo.LR && b !== GPR)) return Did.NOTHING;
      value = atomic(cpu, op, f3, lo, V[a + 1]!, V[b]!, V[b + 1]!);
      return Did.RESULT;
    }
    case Opc.SYSTEM: {
      let r: HelperResult;
      if ((f3 & 3) !== 0) {
        let from = a >> 1;
        if (f3 >= 4) {
          from = SCRATCH;
          V[SCRATCH_W] = (insn >>> 15) & 31;
          V[SCRATCH_W + 1] = 0;
        }
        r = csr(cpu, rd === 0 ? NONE : Slot.GPR + rd, from, NONE, NONE, insn);
      } else if (f3 === 0 && insn >>> 25 === 9 && rd === 0) r = fence(cpu, NONE, a >> 1, b >> 1, NONE, insn);
      else return Did.NOTHING;
      return r === HelperResult.DISPATCH ? Did.DISPATCH : Did.NO_RESULT;
    }
    default:
      return Did.NOTHING;
  }
}

/** value, high = register at word a + imm. */
function address(V: Int32Array, a: number, imm: number): void {
  const l = V[a]!;
  value = (l + imm) | 0;
  high = (V[a + 1]! + (imm >> 31) + (value >>> 0 < l >>> 0 ? 1 : 0)) | 0;
}

/** Makes what was loaded, zero-extended, what the load with funct3 gives. */
function extend(f3: number): void {
  if (f3 === 0) value = (value << 24) >> 24;
  else if (f3 === 1) value = (value << 16) >> 16;
  if (f3 < 3) high = value >> 31;
}

/**
 * The instruction at PC, which generated code does not have; `page` is its RAM page's offset.
 * @returns false if it is not for here either: nothing has been done
 */
function step(cpu: RiscvCpu, page: number): boolean {
  const { V } = cpu;
  const { ram8 } = cpu.map;
  const off = V[PC]! & (PAGE - 1);
  const low = ram8[page + off]! | (ram8[page + off + 1]! << 8);
  let insn = low;
  let next = off + 2;
  if ((low & 3) === 3) {
    if (off > PAGE - 4) return false;
    insn = low | (ram8[page + off + 2]! << 16) | (ram8[page + off + 3]! << 24);
    next = off + 4;
  } else {
    insn = expand(low);
    // From now on generated code knows it.
    if (V[EXPAND + low] !== insn) {
      V[EXPAND + low] = insn;
      return true;
    }
  }
  V[Slot.X_INSN * 2] = off | (next << 16);
  const did = execute(cpu, insn);
  if (did === Did.NOTHING) return false;
  const rd = (insn >>> 7) & 31;
  if (did === Did.RESULT && rd !== 0) {
    V[GPR + rd * 2] = value;
    V[GPR + rd * 2 + 1] = high;
  }
  if (did !== Did.DISPATCH) cpu.setPcToNext();
  return true;
}

/** Enters the page of PC, which an instruction fetch has just found at `page` of RAM, into the cache of code pages. */
function enterPage(cpu: RiscvCpu, page: number): void {
  const { V } = cpu;
  const lo = V[PC]! & ~(PAGE - 1);
  const at = (ColdAt.PAGES + (((lo >>> 12) & (ColdPage.ENTRIES - 1)) << ColdPage.SHIFT)) >> 2;
  cpu.mmu.coldPages = true;
  V[at + (ColdPage.TAG >> 2)] = lo | V[FETCH]!;
  V[at + (ColdPage.TAG >> 2) + 1] = V[PC + 1]!;
  setAddress(V, at + (ColdPage.HOST >> 2), cpu.map.ramAddress + page);
  setAddress(V, at + (ColdPage.COUNTS >> 2), cpu.stateAddress + ColdAt.COUNTS + coldCount(page / PAGE, 0));
}

function setAddress(V: Int32Array, at: number, a: number): void {
  V[at] = a | 0;
  V[at + 1] = Math.floor(a / 0x1_0000_0000);
}

/**
 * Executes from PC on, which lies in the RAM page at `pageOff`, up to code that is not cold, an instruction that is not for here, or something that PENDING tells of. PC is set to what
 * comes next.
 * @returns instructions executed: 0 if already the first one is not for here
 * @throws GuestFault of the instruction at X_INSN
 */
export function runFirst(cpu: RiscvCpu, pageOff: number, run: (cpu: RiscvCpu, watched: number) => number): number {
  const { V, mode } = cpu;
  if ((mode & WATCHED) !== 0 || !cpu.mmu.knowsFetch(V[PC]!, V[PC + 1]!)) return 0;
  V[FETCH] = cpu.priv | ColdFetch.ANY;
  enterPage(cpu, pageOff);
  for (let n = 0; ; ) {
    const end: ColdEnd = run(cpu, WATCHED);
    n += V[EXECUTED]!;
    if (end === ColdEnd.OUT || !step(cpu, cpu.map.pageOffset(cpu.fetchAddress()))) return n;
    n++;
    if (cpu.mode !== mode || (V[PENDING]! | V[PENDING + 1]!) !== 0) return n;
  }
}
