/** Ops that stand for parts of system instructions: conditional helper calls, the counter, bulk memory, mode changes. */
import { F, Op } from '../../ir/ops.js';
import { Cc, Fl, NONE, Slot, Yield } from '../../state.js';
import { Alu, R, Sh, mem } from './asm.js';
import { type Emitter, Fpu } from './emitter.js';
import { type FlowContext, SLOT_MODE } from './emit-flow.js';
import { flushFip } from './emit-x87.js';
import { CF, Cold, addCold, homeOperand, landCold, words, yieldCall } from './emit-mem.js';
import { tlbTable } from './templates.js';
import { testSlot } from './emit-move.js';
import type { Stubs } from './stubs.js';

/** After an op that may or may not have called a helper, which finds everything in slots and may change it. */
function called(e: Emitter): void {
  e.slotF = Fl.ALL;
  e.fpu = e.xmm = Fpu.UNKNOWN;
}

/** CALLIF: like CALL, but the call is on the cold path. */
export function emitCallIf(e: Emitter, p: number, w: number): void {
  const ir = e.ir;
  flushFip(e);
  e.save(Fl.ALL);
  e.hostF = 0;
  homeOperand(e, ir[p + F.B]!);
  testSlot(e, ir[p + F.A]!, w);
  const q = addCold(e, Cold.CALLIF, e.asm.jccLater(Cc.NE), ir[p + F.INSN]!, p, 0, 0, 0);
  e.cold[q + CF.BACK] = e.asm.p;
  called(e);
}

/** TIME: RDTSC, scaled. */
export function emitTime(e: Emitter, p: number): void {
  const ir = e.ir;
  const asm = e.asm;
  flushFip(e);
  e.save(Fl.ALL);
  e.hostF = 0;
  e.claim(R.RAX);
  e.claim(R.RDX);
  asm.alui(3, Alu.CMP, mem(Slot.TIME_SCALE), 0);
  const q = addCold(e, Cold.TIME, asm.jccLater(Cc.E), ir[p + F.INSN]!, p, 0, 0, 0);
  asm.b(0x0f);
  asm.b(0x31);
  asm.shi(3, Sh.SHL, R.RDX, 32);
  asm.alu(3, Alu.OR, R.RAX, R.RDX);
  asm.alu(3, Alu.SUB, R.RAX, mem(Slot.TIME_HOST));
  // mul; then the middle 64 bits of the product.
  asm.opd(3, 0xf7, 4, mem(Slot.TIME_SCALE));
  asm.op0f(3, 0xac, R.RDX, R.RAX);
  asm.b(32);
  asm.alu(3, Alu.ADD, R.RAX, mem(Slot.TIME_GUEST));
  e.cold[q + CF.BACK] = asm.p;
  e.endResult(3, ir[p + F.DST]!, R.RAX);
  called(e);
}

/** COPY and FILL: a stub does it, with RDI = to, RDX = from or value, RCX = count, RAX = where the TLB table lies from RBP. */
export function emitBulk(e: Emitter, p: number, op: number, w: number, mmuIdx: number, stubs: Stubs): void {
  const ir = e.ir;
  e.save(Fl.ALL);
  e.hostF = 0;
  for (const r of [R.RAX, R.RCX, R.RDX, R.RDI]) e.claim(r);
  e.movTo(R.RDI, ir[p + F.A]!, 3);
  e.movTo(R.RDX, ir[p + F.B]!, 3);
  e.movTo(R.RCX, ir[p + F.C]!, 3);
  e.asm.movi(3, R.RAX, tlbTable(mmuIdx));
  e.asm.call((op === Op.COPY ? stubs.copy : stubs.fill)[w]!);
  e.endResult(3, ir[p + F.DST]!, R.RAX);
}

/** SETMODE: the terminator that follows goes to a block of that mode. */
export function emitSetMode(e: Emitter, p: number, x: FlowContext): void {
  const mode = e.ir[p + F.IMM]!;
  const idx = e.ir[p + F.C]!;
  const slot = e.ir[p + F.A]!;
  x.mmuIdx = idx;
  if (slot !== NONE) {
    const t = e.tmp();
    e.movTo(t, slot, 2);
    e.asm.store(2, mem(Slot.MODE), t);
    e.asm.movi(2, mem(Slot.MODE) + 4, idx);
    x.newMode = SLOT_MODE;
    return;
  }
  words(e, Slot.MODE, mode, idx, 0);
  x.newMode = mode;
}

/** Cold paths of CALLIF and TIME. */
export function emitColdSys(e: Emitter, q: number, stubs: Stubs): void {
  const C = e.cold;
  const ir = e.ir;
  const p = C[q + CF.A]!;
  const stub = stubs.yields[Yield.CALL]!;
  landCold(e, q);
  if (C[q] === Cold.CALLIF) {
    yieldCall(e, stub, C[q + CF.INSN]!, ir[p + F.AUX]!, NONE, ir[p + F.B]!, NONE, NONE, ir[p + F.IMM]!);
  } else {
    yieldCall(e, stub, C[q + CF.INSN]!, ir[p + F.AUX]!, ir[p + F.DST]!, NONE, NONE, NONE, ir[p + F.IMM]!);
    e.asm.load(3, R.RAX, mem(ir[p + F.DST]!));
  }
  e.asm.jmp(C[q + CF.BACK]!);
}
