/** Terminators: chained jumps, jump-cache lookups, exits. Every one leaves all flags in slot FLAGS. */
import { F, Op } from '../../ir/ops.js';
import { Cc, ExitCode, Fl, NONE, Slot, STATE_BIAS } from '../../state.js';
import { SITE_CHANGES_MODE } from '../../jit/host-code.js';
import { Alu, NO_INDEX, R, mem } from './asm.js';
import type { Emitter } from './emitter.js';
import { testSlot } from './emit-move.js';
import { CF, Cold, addFlow } from './emit-mem.js';
import { RETURNS_END, STACK_TOP, type Stubs } from './stubs.js';
import { landing, linearPc, pendingCheck, pushReturn, transfer, unchained } from './templates.js';

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
  const asm = e.asm;
  const t = x.stubs.transfers[x.mmuIdx]!;
  const hint = ir[p + F.C]!;
  asm.movi(2, R.RDX, insn);
  if (hint === 1 && pushes(insn, x)) {
    asm.call(x.mask32 ? t.call32 : t.call);
    landReturn(e, insn, x);
  } else if (hint === 2 && x.returns && x.newMode === SAME_MODE) {
    asm.movi(2, R.RCX, x.mode);
    asm.jmp(t.ret);
  } else {
    checkMode(e, x);
    asm.jmp(t.jump);
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
    if (pending || closesLoop(target, insn)) addFlow(e, Cold.PENDING, pendingCheck(asm), insn, target);
    if (call) push(e, insn, x);
    site(e, call ? asm.callLater() : asm.jmpLater(), target, insn);
    return;
  }
  const t = x.stubs.transfers[x.mmuIdx]!;
  if (call) {
    transfer(asm, target, insn, true, x.mask32 ? t.callOff32 : t.callOff);
  } else if (x.newMode === SAME_MODE) {
    transfer(asm, target, insn, false, x.mask32 ? t.jumpOff32 : t.jumpOff);
  } else {
    linearPc(asm, target, x.mask32);
    asm.movi(2, R.RDX, insn);
    checkMode(e, x);
    asm.jmp(t.jump);
  }
}

/** Notes a chainable jump whose rel32 is at `pos`. */
function site(e: Emitter, pos: number, target: number, insn: number): void {
  addFlow(e, Cold.CHAIN, pos, insn, target);
}

/** Another mode, another table, and nobody has looked whose blocks it holds. RAX = linear pc, EDX = X_INSN. */
function checkMode(e: Emitter, x: FlowContext): void {
  if (x.newMode === SAME_MODE) return;
  const holds = mem(Slot.JC_MODE) + x.mmuIdx * 4;
  if (x.newMode === SLOT_MODE) {
    e.asm.load(2, R.RCX, mem(Slot.MODE));
    e.asm.alu(2, Alu.CMP, R.RCX, holds);
  } else {
    e.asm.alui(2, Alu.CMP, holds, x.newMode);
  }
  e.asm.jcc(Cc.NE, x.stubs.missInsn);
}

/** True if a call puts its return on the return stack: what follows is in the page, so that a chain site can lead there. */
function pushes(insn: number, x: FlowContext): boolean {
  return x.returns && x.newMode === SAME_MODE && insn >>> 16 < PAGE;
}

/** Pushes the linear address after the call; the call pushes the host's. RAX is kept. */
function push(e: Emitter, insn: number, x: FlowContext): void {
  const full = pushReturn(e.asm, insn >>> 16, x.mask32, RETURNS_END - STATE_BIAS);
  const q = addFlow(e, Cold.FULL, full, insn, 0);
  e.cold[q + CF.BACK] = full + 4;
}

/**
 * Where a return to after the call comes: RAX = linear pc, which is what the call pushed, and PCBASE its page, ECX = mode of the block that returns. What it
 * was linked to when the call was made still holds: a flush of the TLB takes all tags away.
 */
function landReturn(e: Emitter, insn: number, x: FlowContext): void {
  landing(e.asm, x.mode, x.stubs.missPc);
  site(e, e.asm.jmpLater(), insn >>> 16, insn);
}

/**
 * Entry for chained jumps to a block that spans two pages: what follows its page may have been remapped since, which the jump
 * cache knows. `offset` is the block's page offset.
 */
export function emitSpanEntry(e: Emitter, offset: number, x: FlowContext): void {
  // Its address is one: nothing asks for the branch.
  transfer(e.asm, offset, 0, false, x.stubs.transfers[x.mmuIdx]!.jumpOff);
}

/** Emits the cold path of a chain site or a pending check. */
export function emitColdFlow(e: Emitter, q: number, x: FlowContext): void {
  const asm = e.asm;
  const C = e.cold;
  const target = C[q + CF.A]!;
  const pos = C[q + CF.JUMP]!;
  const at = asm.p;
  asm.patch32(pos, at);
  switch (C[q] as Cold) {
    case Cold.CHAIN:
      unchained(asm, pos, target, x.stubs.chain);
      x.sites.push(pos, x.newMode === SAME_MODE ? target : target | SITE_CHANGES_MODE, at);
      return;
    case Cold.PENDING:
      asm.movi(2, R.RAX, target);
      asm.jmp(x.stubs.pendingOff);
      return;
    case Cold.FULL:
      asm.lea(3, R.RSP, R.RBP, NO_INDEX, 0, STACK_TOP - STATE_BIAS);
      asm.jmp(C[q + CF.BACK]!);
      return;
    default:
      throw new Error('no cold path of a jump');
  }
}

/** Falls off the end: a block without a terminator must not run into what follows. */
export function emitNoTerm(e: Emitter, x: FlowContext): void {
  e.save(Fl.ALL);
  e.asm.movi(2, mem(Slot.X_AUX), ExitCode.NEXT);
  e.asm.jmp(x.stubs.exit);
}
