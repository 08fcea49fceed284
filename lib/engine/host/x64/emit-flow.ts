/** Terminators: chained jumps, jump-cache lookups, exits. Every one leaves all flags in slot FLAGS. */
import { F, Op } from '../../ir/ops.js';
import { Cc, ExitCode, Fl, JC_BASE, JC_ENTRIES, JC_ENTRY_SHIFT, JC_FOLD, JC_TABLE_BYTES, NONE, Slot, STATE_BIAS } from '../../state.js';
import { SITE_CHANGES_MODE } from '../../jit/host-code.js';
import { Alu, NO_INDEX, R, mem } from './asm.js';
import type { Emitter } from './emitter.js';
import { testSlot } from './emit-move.js';
import { CF, Cold, addCold, landCold } from './emit-mem.js';
import { emitPendingCheck, RETURNS_END, STACK_TOP, type Stubs } from './stubs.js';

const PAGE = 4096;

/** The block's mode still holds. */
export const SAME_MODE = -1;
/** SETMODE has taken it from a slot: it is in slot MODE. */
export const SLOT_MODE = -2;

/** What terminators need to know of the block. */
export interface FlowContext {
  stubs: Stubs;
  mmuIdx: number;
  mask32: boolean;
  /** The block's mode. */
  mode: number;
  /** Mode that SETMODE has set, SAME_MODE or SLOT_MODE. */
  newMode: number;
  /** Calls and returns use the return stack. */
  returns: boolean;
  /** Chain sites as triples: position of the rel32 (which is also the site's id), target page offset (with SITE_CHANGES_MODE), unpatched target. */
  sites: number[];
}

/** Emits a terminator. */
export function emitTerm(e: Emitter, p: number, op: number, w: number, cc: number, x: FlowContext): void {
  const ir = e.ir;
  const imm = ir[p + F.IMM]!;
  const insn = ir[p + F.INSN]!;
  switch (op) {
    case Op.JMP:
      e.save(Fl.ALL);
      if (ir[p + F.C] === 1 && pushes(insn, x)) {
        goTo(e, imm, insn, x, ir[p + F.AUX] === 1, true);
        landReturn(e, insn, x);
      } else {
        goTo(e, imm, insn, x, ir[p + F.AUX] === 1);
      }
      break;
    case Op.JCC: {
      // A full save leaves host flags alone, so the test may follow it.
      e.save(Fl.ALL);
      branch(e, e.cond(cc), imm, ir[p + F.C]!, insn, x, ir[p + F.AUX] === 1);
      break;
    }
    case Op.JNZ:
      e.save(Fl.ALL);
      e.hostF = 0;
      testSlot(e, ir[p + F.A]!, w);
      branch(e, Cc.NE, imm, ir[p + F.C]!, insn, x, ir[p + F.AUX] === 1);
      break;
    case Op.JMPI:
      e.save(Fl.ALL);
      indirect(e, p, x);
      break;
    default: {
      e.save(Fl.ALL);
      const next = ir[p + F.C]!;
      e.asm.movi(2, mem(Slot.X_AUX), imm);
      if (next === NONE) {
        e.asm.jmp(x.stubs.exit);
      } else {
        e.asm.movi(2, R.RAX, next);
        e.asm.jmp(x.mask32 ? x.stubs.exitOff32 : x.stubs.exitOff);
      }
    }
  }
}

/** JMPI; flags are in their slot. */
export function indirect(e: Emitter, p: number, x: FlowContext): void {
  const ir = e.ir;
  const insn = ir[p + F.INSN]!;
  const a = ir[p + F.A]!;
  if (e.regOf(a) !== R.RAX) e.claim(R.RAX);
  if (x.mask32) e.movzxTo(R.RAX, a, 2);
  else e.movTo(R.RAX, a, 3);
  e.pinsOut();
  const hint = ir[p + F.C]!;
  if (hint === 1 && pushes(insn, x)) {
    jumpCache(e, insn, x, true);
    landReturn(e, insn, x);
  } else if (hint === 2 && x.returns && x.newMode === SAME_MODE) {
    popReturn(e, insn, x);
  } else {
    jumpCache(e, insn, x);
  }
}

/** True if a jump to page offset `target` can be chained. */
function inPage(target: number): boolean {
  return target >= 0 && target < 4096;
}

/** True if a jump may close a loop: then PENDING has to be checked. */
function closesLoop(target: number, insn: number): boolean {
  return target <= (insn & 0xffff);
}

/** `pending`: look at PENDING whatever the direction. */
function branch(e: Emitter, cc: number, taken: number, next: number, insn: number, x: FlowContext, pending: boolean): void {
  const asm = e.asm;
  if (inPage(taken) && !closesLoop(taken, insn) && !pending) {
    site(e, asm.jccLater(cc), taken, insn);
    goTo(e, next, insn, x, false);
  } else if (inPage(next) && !closesLoop(next, insn) && !pending) {
    site(e, asm.jccLater(cc ^ 1), next, insn);
    goTo(e, taken, insn, x, false);
  } else {
    const pos = asm.jccLater(cc);
    goTo(e, next, insn, x, pending);
    asm.patch32(pos, asm.p);
    goTo(e, taken, insn, x, pending);
  }
}

export function goTo(e: Emitter, target: number, insn: number, x: FlowContext, pending: boolean, call = false): void {
  const asm = e.asm;
  if (inPage(target)) {
    if (pending || closesLoop(target, insn)) addCold(e, Cold.PENDING, emitPendingCheck(asm), insn, target, 0, 0, 0);
    if (call) pushReturn(e, insn, x);
    site(e, call ? asm.callLater() : asm.jmpLater(), target, insn);
    return;
  }
  if (x.mask32) {
    asm.load(2, R.RAX, mem(Slot.PCBASE));
    asm.alui(2, Alu.ADD, R.RAX, target);
  } else {
    asm.load(3, R.RAX, mem(Slot.PCBASE));
    asm.alui(3, Alu.ADD, R.RAX, target);
  }
  jumpCache(e, insn, x, call);
}

/** Notes a chainable jump whose rel32 is at `pos`. */
function site(e: Emitter, pos: number, target: number, insn: number): void {
  addCold(e, Cold.CHAIN, pos, insn, target, 0, 0, 0);
}

/** Goes to the block at the linear pc in RAX, if the jump cache knows it. */
function jumpCache(e: Emitter, insn: number, x: FlowContext, call = false): void {
  e.asm.patch32(emitPendingCheck(e.asm), x.stubs.pendingPc);
  let other = 0;
  if (x.newMode === SLOT_MODE) {
    e.asm.load(2, R.RCX, mem(Slot.MODE));
    e.asm.alu(2, Alu.CMP, R.RCX, mem(Slot.JC_MODE) + x.mmuIdx * 4);
    other = e.asm.jccLater(Cc.NE);
  } else if (x.newMode !== SAME_MODE) {
    // Another mode, another table, and nobody has looked whose blocks it holds.
    e.asm.alui(2, Alu.CMP, mem(Slot.JC_MODE) + x.mmuIdx * 4, x.newMode);
    other = e.asm.jccLater(Cc.NE);
  }
  if (call) pushReturn(e, insn, x);
  const q = addCold(e, Cold.MISS, probe(e, x, call), insn, 0, 0, 0, 0);
  // Of a call: where it comes back to.
  if (call) e.cold[q + CF.BACK] = e.asm.p;
  e.cold[q + CF.JUMP2] = other;
}

/** Jumps to (or calls) what the jump cache says for the linear pc in RAX. @returns position of the jump for a miss. */
function probe(e: Emitter, x: FlowContext, call = false): number {
  const asm = e.asm;
  const table = JC_BASE + x.mmuIdx * JC_TABLE_BYTES - STATE_BIAS;
  asm.movrr(2, R.RCX, R.RAX);
  asm.shi(2, 5, R.RCX, JC_FOLD);
  asm.alu(2, Alu.XOR, R.RCX, R.RAX);
  asm.alui(2, Alu.AND, R.RCX, JC_ENTRIES - 1);
  asm.shi(2, 4, R.RCX, JC_ENTRY_SHIFT);
  asm.opm(3, 0x3b, R.RAX, R.RBP, R.RCX, 0, table);
  const miss = asm.jccLater(Cc.NE);
  asm.opm(2, 0xff, call ? 2 : 4, R.RBP, R.RCX, 0, table + 8);
  return miss;
}

/** True if a call puts its return on the return stack: what follows is in the page, so that a chain site can lead there. */
function pushes(insn: number, x: FlowContext): boolean {
  return x.returns && x.newMode === SAME_MODE && insn >>> 16 < PAGE;
}

/** Pushes the linear address after the call; the call pushes the host's. RAX is kept. */
function pushReturn(e: Emitter, insn: number, x: FlowContext): void {
  const asm = e.asm;
  // Room for one more: the stack pointer must not be below its limit.
  asm.lea(3, R.RCX, R.RBP, NO_INDEX, 0, RETURNS_END - STATE_BIAS);
  asm.alu(3, Alu.CMP, R.RSP, R.RCX);
  const q = addCold(e, Cold.FULL, asm.jccLater(Cc.B), insn, 0, 0, 0, 0);
  e.cold[q + CF.BACK] = asm.p;
  asm.load(x.mask32 ? 2 : 3, R.RCX, mem(Slot.PCBASE));
  asm.alui(x.mask32 ? 2 : 3, Alu.ADD, R.RCX, insn >>> 16);
  asm.push(R.RCX);
}

/**
 * Where a return to after the call comes: RAX = linear pc, which is what the call pushed, ECX = mode of the block that returns. What it
 * was linked to when the call was made still holds: a flush of the TLB takes all tags away.
 */
function landReturn(e: Emitter, insn: number, x: FlowContext): void {
  const asm = e.asm;
  asm.lea(3, R.RSP, R.RSP, NO_INDEX, 0, 8);
  asm.alui(2, Alu.CMP, R.RCX, x.mode);
  asm.jcc(Cc.NE, x.stubs.missPc);
  asm.alui(3, Alu.AND, R.RAX, -PAGE);
  asm.store(3, mem(Slot.PCBASE), R.RAX);
  site(e, asm.jmpLater(), insn >>> 16, insn);
}

/** Returns to RAX by the host's return instruction if that is what the return stack's top says. */
function popReturn(e: Emitter, insn: number, x: FlowContext): void {
  const asm = e.asm;
  asm.patch32(emitPendingCheck(asm), x.stubs.pendingPc);
  asm.opm(3, 0x3b, R.RAX, R.RSP, NO_INDEX, 0, 8);
  addCold(e, Cold.NO_RETURN, asm.jccLater(Cc.NE), insn, 0, 0, 0, 0);
  asm.movi(2, R.RCX, x.mode);
  asm.ret();
}

/**
 * Entry for chained jumps to a block that spans two pages: what follows its page may have been remapped since, which the jump
 * cache knows. `offset` is the block's page offset.
 */
export function emitSpanEntry(e: Emitter, offset: number, x: FlowContext): void {
  e.asm.load(3, R.RAX, mem(Slot.PCBASE));
  e.asm.alui(3, Alu.ADD, R.RAX, offset);
  e.asm.patch32(probe(e, x), x.stubs.missPc);
}

/** Emits the cold path of a chain site or a pending check. */
export function emitColdFlow(e: Emitter, q: number, x: FlowContext): void {
  const asm = e.asm;
  const C = e.cold;
  const target = C[q + CF.A]!;
  const at = asm.p;
  landCold(e, q);
  if (C[q] === Cold.FULL) {
    asm.lea(3, R.RSP, R.RBP, NO_INDEX, 0, STACK_TOP - STATE_BIAS);
    asm.jmp(C[q + CF.BACK]!);
    return;
  }
  if (C[q] === Cold.NO_RETURN) {
    // What is on the stack belongs to other code: another thread, a longjmp.
    asm.lea(3, R.RSP, R.RBP, NO_INDEX, 0, STACK_TOP - STATE_BIAS);
    asm.patch32(probe(e, x), asm.p);
  }
  if (C[q] === Cold.MISS || C[q] === Cold.NO_RETURN) {
    if (C[q + CF.BACK] !== 0) {
      // The call that is not made: the return stack has it all the same.
      asm.leaCode(R.RCX, C[q + CF.BACK]!);
      asm.push(R.RCX);
    }
    // The target may turn out to be no address at all: then the branch is what faults.
    asm.movi(2, mem(Slot.X_INSN), C[q + CF.INSN]!);
    asm.jmp(x.stubs.missPc);
    return;
  }
  asm.movi(2, R.RAX, target);
  if (C[q] === Cold.CHAIN) {
    const pos = C[q + CF.JUMP]!;
    asm.movi(2, R.RCX, pos);
    asm.notePosition();
    asm.jmp(x.stubs.chain);
    x.sites.push(pos, x.newMode === SAME_MODE ? target : target | SITE_CHANGES_MODE, at);
  } else {
    asm.jmp(x.stubs.pendingOff);
  }
}

/** Falls off the end: a block without a terminator must not run into what follows. */
export function emitNoTerm(e: Emitter, x: FlowContext): void {
  e.save(Fl.ALL);
  e.asm.movi(2, mem(Slot.X_AUX), ExitCode.NEXT);
  e.asm.jmp(x.stubs.exit);
}
