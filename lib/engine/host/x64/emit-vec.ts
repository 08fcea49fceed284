/**
 * Vector ops. Guest vector registers live in memory (their slots); instructions work in XMM0..XMM2 and take their last
 * operand from memory. Slots are aligned to 16 bytes, so legacy forms may use memory operands.
 */
import type { NativeForm } from '../../helpers.js';
import { F } from '../../ir/ops.js';
import { Access, NONE, Slot } from '../../state.js';
import { mem } from './asm.js';
import type { Emitter } from './emitter.js';
import { CF, Cold, addCold, emitProbe, probe } from './emit-mem.js';

/** Vector dst = memory. Bits 128..255 change only for w = 5. */
export function emitLoadVec(e: Emitter, p: number, w: number, mmuIdx: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const acc = ir[p + F.C]!;
  const slow = (acc & (Access.SYSTEM | Access.USER)) !== 0;
  emitProbe(e, mmuIdx, ir[p + F.A]!, 1 << w, (acc & Access.RMW) !== 0, slow);
  const q = addCold(e, Cold.LOAD_VEC, probe.jump, ir[p + F.INSN]!, probe.addr, 0, dst, w | (acc << 8));
  if (!slow) {
    const t = probe.addend;
    const a = probe.addr;
    switch (w) {
      case 1:
        asm.movzxMem(1, t, t, a);
        asm.sse(1, 1, 0, 0x6e, 0, t);
        break;
      case 2:
        asm.sseMem(1, 1, 0, 0x6e, 0, t, a, 0);
        break;
      case 3:
        asm.sseMem(2, 1, 0, 0x7e, 0, t, a, 0);
        break;
      default:
        asm.sseMem(0, 1, 0, 0x10, 0, t, a, 0);
        if (w === 5) {
          asm.sseMem(0, 1, 0, 0x10, 1, t, a, 16);
          asm.movupsStore(mem(dst) + 16, 1);
        }
    }
    asm.movupsStore(mem(dst), 0);
  }
  e.cold[q + CF.BACK] = asm.p;
}

export function emitStoreVec(e: Emitter, p: number, w: number, mmuIdx: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const src = mem(ir[p + F.B]!);
  const acc = ir[p + F.C]!;
  const slow = (acc & (Access.SYSTEM | Access.USER)) !== 0;
  emitProbe(e, mmuIdx, ir[p + F.A]!, 1 << w, true, slow);
  const q = addCold(e, Cold.STORE_VEC, probe.jump, ir[p + F.INSN]!, probe.addr, 0, ir[p + F.B]!, w | (acc << 8));
  if (!slow) {
    const t = probe.addend;
    const a = probe.addr;
    if (w <= 3) {
      asm.load(w === 3 ? 3 : 2, probe.free, src);
      asm.opm(w, 0x89, probe.free, t, a, 0, 0);
    } else {
      asm.movups(0, src);
      asm.sseMem(0, 1, 0, 0x11, 0, t, a, 0);
      if (w === 5) {
        asm.movups(0, src + 16);
        asm.sseMem(0, 1, 0, 0x11, 0, t, a, 16);
      }
    }
  }
  e.cold[q + CF.BACK] = asm.p;
}

export function emitMovv(e: Emitter, p: number, w: number): void {
  const asm = e.asm;
  const d = mem(e.ir[p + F.DST]!);
  const s = mem(e.ir[p + F.A]!);
  if (d === s) return;
  if (w <= 3) {
    asm.movq(0, s);
    if (w === 3) asm.movqStore(d, 0);
    else asm.sse(1, 1, 0, 0x7e, 0, d);
    return;
  }
  asm.movups(0, s);
  asm.movupsStore(d, 0);
  if (w === 5) {
    asm.movups(0, s + 16);
    asm.movupsStore(d + 16, 0);
  }
}

export function emitZerou(e: Emitter, p: number): void {
  e.asm.sse(0, 1, 0, 0x57, 0, 0);
  e.asm.movupsStore(mem(e.ir[p + F.DST]!) + 16, 0);
}

/** A scalar temporary may serve as a vector operand (scalar instructions): then its value has to be in memory. */
function inMemory(e: Emitter, s: number): void {
  if (s >= Slot.TEMP && e.regOf(s) >= 0) e.toHome(s);
}

/** Loads vector slot s into register x: 64, 128 or 256 bits. */
function loadV(e: Emitter, w: number, x: number, s: number): void {
  inMemory(e, s);
  if (w === 5) e.asm.vex(0, 1, 0, 1, 0x10, x, 0, mem(s));
  else if (w === 3) e.asm.movq(x, mem(s));
  else e.asm.movups(x, mem(s));
}

function storeV(e: Emitter, w: number, s: number, x: number): void {
  if (w === 5) e.asm.vex(0, 1, 0, 1, 0x11, x, 0, mem(s));
  else if (w === 3) e.asm.movqStore(mem(s), x);
  else e.asm.movupsStore(mem(s), x);
}

/** Table-driven op as one host instruction. */
export function emitVop(e: Emitter, p: number, w: number, fw: number, f: NativeForm): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const c = ir[p + F.C]!;
  const imm = ir[p + F.IMM]!;
  const l = w === 5 ? 1 : 0;
  // Comparison predicates 8..31 exist with VEX only (VopTable makes sure the host has AVX).
  const wideCompare = f.form === 'rvmi' && f.map === 1 && f.opcode === 0xc2 && (imm & 0x18) !== 0;
  const vex = w === 5 || f.vexOnly === true || wideCompare;
  // MMX tables may give the prefix of the MMX form; the XMM form has 66.
  const pp = w === 3 && f.mmx === true ? 1 : f.pp;
  const two = (reg: number, rm: number, vvvv: number): void => {
    if (vex) asm.vex(pp, f.map, f.w, l, f.opcode, reg, vvvv, rm);
    else asm.sse(pp, f.map, f.w, f.opcode, reg, rm);
  };
  /** Operand from memory, or for 64-bit operands from a register with a clean upper half. */
  const source = (s: number, x: number): number => {
    inMemory(e, s);
    // Legacy forms want 16-byte alignment, which only vector slots are sure to have. (Pool slots get their numbers at run time.)
    if (w !== 3 && (s & 1) === 0 && s < Slot.SYMBOL) return mem(s);
    asm.movq(x, mem(s));
    return x;
  };
  switch (f.form) {
    case 'rm':
    case 'rmi': {
      // Scalar forms keep the upper part of dst: XMM0 starts as dst, and VEX forms with a third operand name XMM0 as well.
      const x = source(a, 1);
      loadV(e, w, 0, dst);
      two(0, x, 0);
      if (f.form === 'rmi') asm.b(imm);
      storeV(e, w, dst, 0);
      break;
    }
    case 'rvm':
    case 'rvmi': {
      loadV(e, w, 0, a);
      two(0, source(b, 1), 0);
      if (f.form === 'rvmi') asm.b(imm);
      storeV(e, w, dst, 0);
      break;
    }
    case 'vmi':
      loadV(e, w, 0, a);
      two(f.digit ?? 0, 0, 0);
      asm.b(imm);
      storeV(e, w, dst, 0);
      break;
    case 'cmp':
      e.preFlags(fw);
      loadV(e, w, 0, a);
      two(0, source(b, 2), 0);
      e.setFlags(fw);
      break;
    case 'fma':
      loadV(e, w, 0, dst);
      loadV(e, w, 1, a);
      two(0, source(b, 2), 1);
      storeV(e, w, dst, 0);
      break;
    case 'rvmr':
      if (vex) {
        loadV(e, w, 0, a);
        loadV(e, w, 1, c);
        two(0, source(b, 2), 0);
        asm.b(1 << 4);
        storeV(e, w, dst, 0);
      } else {
        loadV(e, w, 0, c);
        loadV(e, w, 1, a);
        two(1, source(b, 2), 0);
        storeV(e, w, dst, 1);
      }
      break;
    case 'gr': {
      loadV(e, 4, 0, dst);
      two(0, e.operand(a), 0);
      storeV(e, w === 3 ? 4 : w, dst, 0);
      break;
    }
    case 'gri': {
      const g = e.operand(b);
      loadV(e, 4, 0, a);
      two(0, g, 0);
      asm.b(imm);
      storeV(e, 4, dst, 0);
      break;
    }
    case 'rvg': {
      const g = e.operand(b);
      loadV(e, 4, 0, a);
      two(0, g, 0);
      storeV(e, 4, dst, 0);
      break;
    }
    case 'mg':
    case 'mgi': {
      loadV(e, w, 0, a);
      const t = e.destReg(3, dst, NONE, NONE);
      two(0, t, 0);
      if (f.form === 'mgi') asm.b(imm);
      e.endResult(3, dst, t);
      break;
    }
    case 'mri':
      // Never chosen (VopTable).
      throw new Error('x64 back end: form mri has no emitter');
    default: {
      // 'rg', 'rgi': result in a general register, 32 bits zero-extended or 64.
      loadV(e, w, 0, a);
      const t = e.destReg(3, dst, NONE, NONE);
      two(t, 0, 0);
      if (f.form === 'rgi') asm.b(imm);
      e.endResult(3, dst, t);
    }
  }
  if (w === 5) asm.vzeroupper();
}

