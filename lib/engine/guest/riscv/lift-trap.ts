/**
 * What kernels do at every system call, inline: CSRs that only hold bits, sstatus, ECALL from U and SRET to U. Helpers do what is rare
 * (`leaveIf`), and everything with Mode.COUNT or Mode.STEP.
 */
import { Op } from '../../ir/ops.js';
import { NONE, Slot } from '../../state.js';
import { plainMask, plainSlot, SD_HI, SSTATUS, SSTATUS_HI } from './csr.js';
import { Cause, Csr, Mmu, Mode, Ms, Priv, WATCHED, X } from './defs.js';
import type { LiftContext } from './lift-context.js';

const enum Kind { WRITE = 1, SET = 2, CLEAR = 3 }

/** @returns false if the helper has to do this CSR access */
export function inlineCsr(c: LiftContext): boolean {
  if ((c.mode & WATCHED) !== 0) return false;
  const n = c.insn >>> 20;
  const priv: Priv = c.mode & Mode.PRIV;
  if (n === Csr.SSTATUS) return sstatus(c, priv);
  const slot = plainSlot(n);
  if (slot === NONE || priv < ((n >>> 8) & 3)) return false;
  const { b } = c;
  const kind: Kind = (c.insn >>> 12) & 3;
  const operand = c.insn & 0x4000 ? b.k(c.rs1Num) : c.rs1;
  let next = NONE;
  if (kind === Kind.WRITE || c.rs1Num !== 0) {
    const [lo, hi] = plainMask(n);
    next = combine(c, kind, slot, operand);
    if (lo !== -1 || hi !== -1) {
      const masked = b.temp();
      b.alu(Op.AND, 3, masked, next, b.k64(lo, hi));
      next = masked;
    }
  }
  if (c.rdNum !== 0) {
    // rd may be the operand.
    const old = b.temp();
    b.mov(3, old, slot);
    if (next !== NONE) b.mov(3, slot, next);
    b.mov(3, c.rd, old);
  } else if (next !== NONE) b.mov(3, slot, next);
  return true;
}

/** Slot with the new value of a register: the operand, or the old value with its bits set or cleared. */
function combine(c: LiftContext, kind: Kind, old: number, operand: number): number {
  const { b } = c;
  const t = b.temp();
  if (kind === Kind.WRITE) b.mov(3, t, operand);
  else if (kind === Kind.SET) b.alu(Op.OR, 3, t, old, operand);
  else b.alu(Op.ANDN, 3, t, operand, old);
  return t;
}

/** PENDING gets what waits for S-mode if `on` is not 0. */
function letIn(c: LiftContext, on: number): void {
  const { b } = c;
  const due = b.temp();
  b.alu3(Op.SELNZ, 2, due, on, X.S_PENDING, b.k(0));
  b.alu(Op.OR, 0, Slot.PENDING, Slot.PENDING, due);
}

/** Instructions between the beginning of an access to user memory and its end, at most. */
const NEAR = 8;

/**
 * A guess what CSRRS sstatus with a register is for: access to user memory (SUM), which the same register ends a few instructions on, or
 * giving interrupts back as they were (SIE). Both are lifted for what is guessed, and right whatever it is.
 */
function clearedSoon(c: LiftContext): boolean {
  const { buf, pos, end } = c.win;
  // CSRRC x0, sstatus, the register.
  const clear = 0x1000_3073 | (c.rs1Num << 15);
  let at = pos;
  let found = false;
  for (let n = 0; n < NEAR && at + 2 <= end && !found; n++) {
    const low = buf[at]! | (buf[at + 1]! << 8);
    const isLong = (low & 3) === 3;
    if (isLong && at + 4 > end) break;
    found = isLong && (low | (buf[at + 2]! << 16) | (buf[at + 3]! << 24)) === clear;
    at += isLong ? 4 : 2;
  }
  c.used = Math.max(c.used, at);
  return found;
}

/** Temporary that is 0 if a field of mstatus says Dirty. */
function notDirty(c: LiftContext, status: number, field: number): number {
  const { b } = c;
  const [f, t] = [b.temp(), b.temp()];
  b.alu(Op.AND, 2, f, status, b.k(field));
  b.alu(Op.XOR, 2, t, f, b.k(field));
  return t;
}

function sstatus(c: LiftContext, priv: Priv): boolean {
  // With floating point in use FS decides the mode.
  if (priv !== Priv.S || (c.mode & Mode.FP) !== 0) return false;
  const { b } = c;
  const kind: Kind = (c.insn >>> 12) & 3;
  const immediate = (c.insn & 0x4000) !== 0;
  const writes = kind === Kind.WRITE || c.rs1Num !== 0;
  const operand = immediate ? b.k(c.rs1Num) : c.rs1;
  const idx = (c.mode & Mode.MMU) >>> Mode.MMU_SHIFT;
  // Bits that SET and CLEAR may change, as far as known.
  let known = immediate ? c.rs1Num : c.constantOf !== 0 && c.constantOf === c.rs1Num ? c.constant : -1;
  if (writes && known === -1 && (kind === Kind.SET ? idx === (Mmu.S as number) && clearedSoon(c) : kind === Kind.CLEAR && idx === (Mmu.S_SUM as number))) {
    // Access to user memory that begins or ends: the register has held SUM since another block.
    const other = b.temp();
    b.alu(Op.XOR, 3, other, operand, b.k(Ms.SUM));
    c.leaveIf('csr_rare', 3, other, operand, c.insn);
    known = Ms.SUM;
  }
  if (writes && kind !== Kind.WRITE && known !== -1 && (known & Ms.MXR) !== 0) return false;
  const old = b.temp();
  const mask = SSTATUS | c.vs;
  b.alu(Op.AND, 2, old, X.MSTATUS, b.k(mask));
  let mode = c.mode;
  let opens = NONE;
  if (writes) {
    const [value, rest, next] = [b.temp(), b.temp(), b.temp()];
    b.alu(Op.AND, 2, value, combine(c, kind, old, operand), b.k(mask));
    b.alu(Op.AND, 2, rest, X.MSTATUS, b.k(~mask));
    b.alu(Op.OR, 2, next, rest, value);
    if (kind === Kind.WRITE || known === -1) {
      const [diff, rare] = [b.temp(), b.temp()];
      b.alu(Op.XOR, 2, diff, value, old);
      b.alu(Op.AND, 2, rare, diff, b.k(Ms.SUM | Ms.MXR));
      c.leaveIf('csr_rare', 2, rare, operand, c.insn);
    } else if ((known & Ms.SUM) !== 0) {
      mode = (mode & ~Mode.MMU) | ((kind === Kind.SET ? Mmu.S_SUM : Mmu.S) << Mode.MMU_SHIFT);
    }
    // Interrupts that this may let in.
    if (kind !== Kind.CLEAR && (kind === Kind.WRITE || known === -1 || (known & Ms.SIE) !== 0)) {
      opens = b.temp();
      b.alu(Op.AND, 2, opens, value, b.k(Ms.SIE));
    }
    b.mov(2, X.MSTATUS, next);
  }
  if (c.rdNum !== 0) {
    const wide = b.temp();
    // SD: FS is Dirty, or VS.
    let clean = notDirty(c, old, Ms.FS);
    if (c.vs !== 0) {
      const both = b.temp();
      b.alu3(Op.SELNZ, 2, both, clean, notDirty(c, old, Ms.VS), b.k(0));
      clean = both;
    }
    b.alu3(Op.SELNZ, 2, wide, clean, b.k64(0, SSTATUS_HI), b.k64(0, SSTATUS_HI | SD_HI));
    b.alu(Op.OR, 3, c.rd, old, wide);
  }
  if (opens !== NONE) letIn(c, opens);
  if (mode !== c.mode) b.setMode(mode, (mode & Mode.MMU) >>> Mode.MMU_SHIFT);
  if (opens !== NONE || mode !== c.mode) {
    b.jmp(c.next);
    if (opens !== NONE) b.checkPending();
  }
  return true;
}

/** ECALL from U to S (vol. II, 12.1.1). */
export function ecall(c: LiftContext): void {
  if ((c.mode & (WATCHED | Mode.PRIV)) !== Priv.U) {
    c.leave('ecall');
    return;
  }
  const { b } = c;
  const [sum, rare, enabled, previous, rest, next, target] = [b.temp(), b.temp(), b.temp(), b.temp(), b.temp(), b.temp(), b.temp()];
  b.alu(Op.AND, 2, sum, X.MSTATUS, b.k(Ms.SUM));
  b.alu(Op.OR, 2, rare, sum, X.SLOW_TRAP);
  c.leaveIf('ecall', 2, rare);
  c.pc(plainSlot(Csr.SEPC), c.start);
  b.mov(3, plainSlot(Csr.SCAUSE), b.k(Cause.ECALL_U));
  b.mov(3, plainSlot(Csr.STVAL), b.k(0));
  b.alu(Op.AND, 2, enabled, X.MSTATUS, b.k(Ms.SIE));
  b.alu(Op.SHL, 2, previous, enabled, b.k(4));
  b.alu(Op.AND, 2, rest, X.MSTATUS, b.k(~(Ms.SPIE | Ms.SPP | Ms.SIE)));
  b.alu(Op.OR, 2, next, rest, previous);
  b.mov(2, X.MSTATUS, next);
  b.alu(Op.AND, 3, target, X.STVEC, b.k(-4));
  b.setMode(Priv.S | (Mmu.S << Mode.MMU_SHIFT), Mmu.S);
  b.jmpi(target, 0);
}

/** SRET from S to U. */
export function sret(c: LiftContext): void {
  if ((c.mode & (WATCHED | Mode.PRIV | Mode.FP)) !== Priv.S) {
    c.leave('sret', NONE, NONE, c.insn);
    return;
  }
  const { b } = c;
  const [spp, rare, spie, enabled, rest, next] = [b.temp(), b.temp(), b.temp(), b.temp(), b.temp(), b.temp()];
  b.alu(Op.AND, 2, spp, X.MSTATUS, b.k(Ms.SPP));
  b.alu(Op.OR, 2, rare, spp, X.SLOW_TRAP);
  c.leaveIf('sret', 2, rare, NONE, c.insn);
  b.alu(Op.AND, 2, spie, X.MSTATUS, b.k(Ms.SPIE));
  b.alu(Op.SHR, 2, enabled, spie, b.k(4));
  b.alu(Op.AND, 2, rest, X.MSTATUS, b.k(~(Ms.SIE | Ms.SPP | Ms.MPRV)));
  const open = b.temp();
  b.alu(Op.OR, 2, open, rest, enabled);
  b.alu(Op.OR, 2, next, open, b.k(Ms.SPIE));
  b.mov(2, X.MSTATUS, next);
  // In U-mode whatever S-mode handles comes through.
  b.alu(Op.OR, 0, Slot.PENDING, Slot.PENDING, X.S_PENDING);
  // FS decides whether U-mode has floating point, and whether it may write.
  const [fs, base, notDirty, dirty, mode] = [b.temp(), b.temp(), b.temp(), b.temp(), b.temp()];
  b.alu(Op.AND, 2, fs, next, b.k(Ms.FS));
  b.alu3(Op.SELNZ, 2, base, fs, X.U_MODE_FP, X.U_MODE_OFF);
  b.alu(Op.XOR, 2, notDirty, fs, b.k(Ms.FS));
  b.alu3(Op.SELNZ, 2, dirty, notDirty, b.k(0), b.k(Mode.FP_DIRTY));
  b.alu(Op.OR, 2, mode, base, dirty);
  b.setModeFrom(mode, Mmu.U);
  b.jmpi(plainSlot(Csr.SEPC), 0);
}
