/**
 * Memory ops: the inline TLB probe, its out-of-line miss path, segment and alignment checks, and the helpers that make a
 * yield to TypeScript. Hot code is emitted in line; each miss path is noted in `Emitter.cold` and emitted after the block.
 */
import { F } from '../../ir/ops.js';
import { Access, Cc, Fl, NONE, Slot, TlbField, Yield, SPARE_MMU_INDEX } from '../../state.js';
import { Alu, type Asm, MEM, NO_INDEX, R, mem } from './asm.js';
import { ADDEND, ADDEND_HOME, COLD_REC, type Emitter, Fpu } from './emitter.js';
import { coldFlags } from './emit-flags.js';
import { emitGuessed, emitHinted, Hint } from './emit-hint.js';
import { Role } from './emit-share.js';
import { coldFip, flushFip } from './emit-x87.js';
import { callSlow, NO_ADDEND, tellable } from './slow-access.js';
import type { Stubs } from './stubs.js';
import { accessRecord, tlbLookUp, tlbTable } from './templates.js';

/** Kinds of cold path. */
export const enum Cold {
  /** A: address register, B: register for the value or -1, C: operand code the value is loaded to. */
  LOAD,
  /** A: address register, B: register with the value, or -1: C is the low word of an immediate, or MEM.. in D. */
  STORE,
  LOAD_VEC,
  STORE_VEC,
  /** A: op, B: register of the address or value, C: register of the offset, or -1. An x87 helper with memory operand, or FLDCW. */
  X87,
  /** The FPU does not hold the guest's state. */
  FPU_LOAD,
  /** It does, but must not. */
  FPU_SAVE,
  /** The same of the pinned vector registers. */
  VEC_LOAD,
  VEC_SAVE,
  /** A: operand code of the offset. */
  SEGCHK,
  ALIGN,
  DIVIDE,
  /** A: index of the record in the IR. A conditional helper call; the counter. */
  CALLIF,
  TIME,
  /** A: vector register, B: width. It becomes the canonical NaN (emit-fop.ts). */
  NAN,
  /** A: index of the record in the IR. The host's result may be wrong: emit-checked.ts. */
  VOP,
  /** A: page offset of the target. The jump there had no target yet; JUMP is the rel32's position. */
  CHAIN,
  /** A: page offset. PENDING was set. */
  PENDING,
  /** The return stack is full. BACK: where the call goes on. */
  FULL,
  /** Of a region. The access is not in its hint's page: emit-hint.ts. INSN: bytes | 0x100 for a write, A, B, C: address, addend, scratch, D: hint. */
  HINT,
  /** Of a region. The TLB's addend is not the guessed one. A: addend, B: offset of the entry, C: displacement of the addends, D: hint. */
  ADDEND,
  /** Of a region. A: page offset. The region is left for another block. */
  LEAVE,
  /** Of a region. A: page offset. PENDING was set. */
  STOP,
}

/**
 * Fields of a cold record. JUMP, JUMP2..4: positions of the rel32s of jumps to it (0 = none); BACK: where hot code goes on;
 * RECIPE, RECIPE_A, RECIPE_B: the emitter's; ZERO: of LOAD and STORE, what becomes of an addend that later accesses ask for (Emitter.addendPlace); XMM: host registers hold the pinned vector registers; FPU: the host's FPU holds the x87 state; FLOATS: what registers hold for FOP (FloatCache.list); FIP: `Emitter.fip` (base: `Emitter.fipBase`).
 */
export const enum CF { KIND = 0, JUMP = 1, BACK = 2, INSN = 3, A = 4, B = 5, C = 6, D = 7, JUMP2 = 8, JUMP3 = 9, JUMP4 = 10, XMM = 11, FPU = 12, FIP = 13, RECIPE = 14, RECIPE_A = 15, RECIPE_B = 16, ZERO = 17, FLOATS = 18 }

/** Appends a cold record; @returns its index in `e.cold`. */
export function addCold(e: Emitter, kind: Cold, jump: number, insn: number, a: number, b: number, c: number, d: number): number {
  const q = e.coldN++ * COLD_REC;
  const C = e.cold;
  C[q] = kind;
  C[q + CF.JUMP] = jump;
  C[q + CF.BACK] = 0;
  C[q + CF.INSN] = insn;
  C[q + CF.A] = a;
  C[q + CF.B] = b;
  C[q + CF.C] = c;
  C[q + CF.D] = d;
  C[q + CF.JUMP2] = 0;
  C[q + CF.JUMP3] = 0;
  C[q + CF.JUMP4] = 0;
  C[q + CF.XMM] = e.xmm;
  C[q + CF.FPU] = e.fpu;
  C[q + CF.FIP] = e.fip;
  C[q + CF.RECIPE] = e.recipe;
  C[q + CF.RECIPE_A] = e.recipeA;
  C[q + CF.RECIPE_B] = e.recipeB;
  C[q + CF.ZERO] = 0;
  C[q + CF.FLOATS] = e.floating && kind <= Cold.STORE ? e.floats.list() : 0;
  return q;
}

/** The same for the cold path of a jump (emit-flow.ts), which needs less: flags are in their slot, operands in no register but RAX. */
export function addFlow(e: Emitter, kind: Cold, jump: number, insn: number, target: number): number {
  const q = e.coldN++ * COLD_REC;
  const C = e.cold;
  C[q] = kind;
  C[q + CF.JUMP] = jump;
  C[q + CF.BACK] = 0;
  C[q + CF.INSN] = insn;
  C[q + CF.A] = target;
  C[q + CF.JUMP2] = 0;
  return q;
}

/** Registers that a probe leaves behind. */
export const probe = { addr: 0, addend: 0, free: 0, jump: 0 };

/**
 * Emits the TLB probe for `bytes` bytes at the address in slot `a`. Afterwards host address = probe.addr + probe.addend;
 * probe.free is a scratch register. Clobbers host flags. `always`: emits an unconditional jump to the miss path. `hints`: page hints, which are
 * those of the running MMU index, may be used.
 */
export function emitProbe(e: Emitter, mmuIdx: number, a: number, bytes: number, write: boolean, always: boolean, hints = true): void {
  const asm = e.asm;
  e.save(Fl.ALL);
  e.hostF = 0;
  const addr = e.src(a, 3);
  const t = e.tmp();
  const u = e.tmp();
  probe.addr = addr;
  probe.addend = t;
  probe.free = u;
  if (always) {
    probe.jump = asm.jmpLater();
    return;
  }
  if (hints && e.hints !== null && (bytes & (bytes - 1)) === 0) {
    const id = e.hints.of(e, a, write);
    if (e.hints.kind === Hint.PAGE) {
      emitHinted(e, id, bytes, write);
      return;
    }
    if (e.hints.kind === Hint.ADDEND) {
      emitGuessed(e, mmuIdx, id, bytes);
      return;
    }
  }
  probe.jump = tlbLookUp(asm, addr, t, u, 0, bytes - 1, tlbTable(mmuIdx), write ? TlbField.TAG_WRITE : TlbField.TAG_READ);
}

const SLOW = Access.SYSTEM | Access.USER;
/** No table holds what an access with these flags may do. */
const untabled = (acc: number): boolean => (acc & SLOW) !== 0 && (acc & Access.TABLE0) === 0;

/** The table of an access: table 0 for those that say so, but where lockstep is to see all of them. */
const tableOf = (table0: boolean, mmuIdx: number): number => (table0 && mmuIdx !== SPARE_MMU_INDEX ? 0 : mmuIdx);

export function emitLoad(e: Emitter, p: number, w: number, mmuIdx: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const acc = ir[p + F.C]!;
  const slow = untabled(acc);
  const table0 = (acc & Access.TABLE0) !== 0;
  const { share } = e;
  const role = share === null ? Role.ALONE : (share.role[e.i] as Role);
  const write = (acc & Access.RMW) !== 0;
  if (role === Role.FOLLOWER) emitFollower(e, ir[p + F.A]!);
  else if (role === Role.LEADER) emitLeader(e, mmuIdx, ir[p + F.A]!, write);
  else emitProbe(e, tableOf(table0, mmuIdx), ir[p + F.A]!, 1 << w, write, slow, !table0);
  const pd = dst >= 0 && dst < Slot.TEMP ? e.regOf(dst) : -1;
  // The last access that uses this one's addend. Without a plan: the store of a read-modify-write goes where its load went.
  const last = role === Role.LEADER ? share!.last[e.i]! : share === null && acc === (Access.RMW as number) ? e.storeAfter(p, w) : -1;
  const r = pd >= 0 ? pd : last >= 0 || role === Role.FOLLOWER ? probe.free : probe.addend;
  const narrow = pd >= 0 && w < 2;
  const q = addCold(e, Cold.LOAD, probe.jump, ir[p + F.INSN]!, probe.addr, r, narrow ? 1 : 0, w | (acc << 8));
  e.cold[q + CF.ZERO] = last >= 0 ? 1 + probe.addend : e.addendPlace();
  if (!slow) {
    if (narrow) asm.opm(w, 0x8b, r, probe.addend, probe.addr, 0, 0);
    else asm.movzxMem(w, r, probe.addend, probe.addr);
  }
  e.cold[q + CF.BACK] = asm.p;
  if (last >= 0) e.keepAddend(probe.addend, last);
  if (dst >= Slot.TEMP) e.assign(dst, r);
  else if (pd < 0 && dst >= 0) {
    asm.store(w < 2 ? w : 3, mem(dst), r);
    if (w === 3 && e.floating && dst >= Slot.VEC && e.xmm === Fpu.SLOTS) e.floats.loaded(asm, dst, r);
  }
}

export function emitStore(e: Emitter, p: number, w: number, mmuIdx: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const val = ir[p + F.B]!;
  const acc = ir[p + F.C]!;
  const slow = untabled(acc);
  const table0 = (acc & Access.TABLE0) !== 0;
  e.save(Fl.ALL);
  // The value's register must not be chosen for the probe.
  if (e.regOf(val) >= 0) e.operand(val);
  const { share } = e;
  const role = share !== null ? (share.role[e.i] as Role) : e.lastUse[ADDEND] === e.i ? Role.FOLLOWER : Role.ALONE;
  if (role === Role.FOLLOWER) emitFollower(e, ir[p + F.A]!);
  else if (role === Role.LEADER) emitLeader(e, mmuIdx, ir[p + F.A]!, true);
  else emitProbe(e, tableOf(table0, mmuIdx), ir[p + F.A]!, 1 << w, true, slow, !table0);
  if (e.isImm(val, w)) {
    const q = addCold(e, Cold.STORE, probe.jump, ir[p + F.INSN]!, probe.addr, -1, e.klo(val), w | (acc << 8));
    e.cold[q + CF.ZERO] = role === Role.LEADER ? 1 + probe.addend : e.addendPlace();
    if (!slow) asm.moviMem(w, probe.addend, probe.addr, e.klo(val));
    e.cold[q + CF.BACK] = asm.p;
    if (role === Role.LEADER) e.keepAddend(probe.addend, share!.last[e.i]!);
    return;
  }
  let r = e.regOf(val);
  const inReg = r >= 0;
  if (!inReg) r = probe.free;
  const q = addCold(e, Cold.STORE, probe.jump, ir[p + F.INSN]!, probe.addr, r, inReg ? 0 : mem(val), w | (acc << 8));
  e.cold[q + CF.ZERO] = role === Role.LEADER ? 1 + probe.addend : e.addendPlace();
  if (!slow) {
    if (!inReg) asm.load(w === 3 ? 3 : 2, r, mem(val));
    asm.opm(w, 0x89, r, probe.addend, probe.addr, 0, 0);
  }
  e.cold[q + CF.BACK] = asm.p;
  if (role === Role.LEADER) e.keepAddend(probe.addend, share!.last[e.i]!);
}

/** What emitProbe does for an access that has a leader's addend, or 0. */
function emitFollower(e: Emitter, a: number): void {
  e.save(Fl.ALL);
  e.hostF = 0;
  probe.addr = e.src(a, 3);
  probe.addend = e.src(ADDEND, 3);
  probe.free = e.tmp();
  e.asm.test(3, probe.addend, probe.addend);
  probe.jump = e.asm.jccLater(Cc.E);
}

/** The same for an access that asks for a page with all its followers in it. */
function emitLeader(e: Emitter, mmuIdx: number, a: number, write: boolean): void {
  e.save(Fl.ALL);
  e.hostF = 0;
  probe.addr = e.src(a, 3);
  probe.addend = e.tmp();
  probe.free = e.tmp();
  const { lo, hi } = e.share!;
  probe.jump = tlbLookUp(e.asm, probe.addr, probe.addend, probe.free, lo[e.i]!, hi[e.i]!, tlbTable(mmuIdx), write ? TlbField.TAG_WRITE : TlbField.TAG_READ);
}

export function emitSegchk(e: Emitter, p: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const seg = ir[p + F.B]!;
  const write = ir[p + F.C]!;
  const bytes = ir[p + F.IMM]!;
  e.save(Fl.ALL);
  e.hostF = 0;
  const off = e.src(ir[p + F.A]!, 3);
  const limit = mem((write !== 0 ? 38 : 32) + seg);
  asm.alui(2, Alu.CMP, limit + 4, 0);
  const q = addCold(e, Cold.SEGCHK, asm.jccLater(Cc.NE), ir[p + F.INSN]!, off, 0, seg | (write << 8) | (bytes << 16), 0);
  if (bytes > 1) {
    const t = e.tmp();
    asm.lea(3, t, off, NO_INDEX, 0, bytes - 1);
    asm.alu(3, Alu.CMP, t, limit);
  } else {
    asm.alu(3, Alu.CMP, off, limit);
  }
  e.cold[q + CF.JUMP2] = asm.jccLater(Cc.A);
  e.cold[q + CF.BACK] = asm.p;
}

export function emitChkalign(e: Emitter, p: number): void {
  const ir = e.ir;
  e.save(Fl.ALL);
  e.hostF = 0;
  e.asm.testi(2, e.operand(ir[p + F.A]!), ir[p + F.IMM]!);
  const q = addCold(e, Cold.ALIGN, e.asm.jccLater(Cc.NE), ir[p + F.INSN]!, 0, 0, 0, 0);
  e.cold[q + CF.BACK] = e.asm.p;
}

// ---- yields

/** Which of two words are slot numbers. */
const enum Is { LO_SLOT = 1, HI_SLOT = 2 }

/** Stores two 32-bit words to a slot. `is`: `Is` bits. */
export function words(e: Emitter, slot: number, lo: number, hi: number, is: number): void {
  const asm = e.asm;
  // A pool slot is never 0 or -1, so the choice does not depend on which number it got.
  const short = hi === lo >> 31;
  asm.movi(short ? 3 : 2, mem(slot), lo);
  if ((is & Is.LO_SLOT) !== 0) asm.noteSlot(lo);
  if (short) return;
  asm.movi(2, mem(slot) + 4, hi);
  if ((is & Is.HI_SLOT) !== 0) asm.noteSlot(hi);
}

/** Fills the call record and yields. All temporaries used must be at home, all flags saved. */
export function yieldCall(e: Emitter, stub: number, insn: number, helper: number, dst: number, a: number, b: number, c: number, imm: number): void {
  words(e, Slot.X_CALL, helper, dst, Is.HI_SLOT);
  words(e, Slot.X_AB, a, b, Is.LO_SLOT | Is.HI_SLOT);
  words(e, Slot.X_CI, c, imm, Is.LO_SLOT);
  e.asm.movi(2, mem(Slot.X_INSN), insn);
  e.jumpYield(stub);
}

/** Stores temporary s to its home if it is only in a register. */
export function homeOperand(e: Emitter, s: number): void {
  if (s >= Slot.TEMP && s < Slot.TEMP_END && e.reg[s]! >= 0) e.toHome(s);
}

/** CALL, and VOP where the host has no instruction for it. */
export function emitCall(e: Emitter, p: number, stubs: Stubs): void {
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  e.save(Fl.ALL);
  flushFip(e);
  homeOperand(e, ir[p + F.A]!);
  homeOperand(e, ir[p + F.B]!);
  homeOperand(e, ir[p + F.C]!);
  yieldCall(e, stubs.yields[Yield.CALL]!, ir[p + F.INSN]!, ir[p + F.AUX]!, dst, ir[p + F.A]!, ir[p + F.B]!, ir[p + F.C]!, ir[p + F.IMM]!);
  if (dst >= Slot.TEMP) e.home[dst] = 1;
  e.hostF = 0;
  e.slotF = Fl.ALL;
  e.fpu = e.xmm = Fpu.SLOTS;
}

/** DIV and IDIV: in line when the operands prove that no divide error is possible, otherwise TypeScript does it. */
export function emitDivide(e: Emitter, p: number, signed: boolean, w: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const quot = ir[p + F.DST]!;
  const lo = ir[p + F.A]!;
  const hi = ir[p + F.B]!;
  const div = ir[p + F.C]!;
  const rem = ir[p + F.IMM]!;
  e.save(Fl.ALL);
  e.hostF = 0;
  homeOperand(e, lo);
  homeOperand(e, hi);
  homeOperand(e, div);
  e.claim(R.RAX);
  e.claim(R.RCX);
  e.claim(R.RDX);
  const q = addCold(e, Cold.DIVIDE, 0, ir[p + F.INSN]!, p, quot >= Slot.TEMP ? quot : NONE, rem >= Slot.TEMP ? rem : NONE, w | (signed ? 0x100 : 0));
  const C = e.cold;
  if (!signed) {
    e.movzxTo(R.RAX, lo, w);
    e.movzxTo(R.RDX, hi, w);
    e.movzxTo(R.RCX, div, w);
    asm.alu(w < 2 ? 2 : w, Alu.CMP, R.RDX, R.RCX);
    C[q + CF.JUMP] = asm.jccLater(Cc.AE);
    if (w < 2) {
      asm.shi(2, 4, R.RDX, 8 << w);
      asm.alu(2, Alu.OR, R.RAX, R.RDX);
      asm.alu(2, Alu.XOR, R.RDX, R.RDX);
    }
    asm.opd(w < 2 ? 2 : w, 0xf7, 6, R.RCX);
  } else {
    e.movsxTo(R.RCX, div, w);
    const wo = w < 2 ? 2 : w;
    asm.test(wo, R.RCX, R.RCX);
    C[q + CF.JUMP] = asm.jccLater(Cc.E);
    asm.alui(wo, Alu.CMP, R.RCX, -1);
    C[q + CF.JUMP2] = asm.jccLater(Cc.E);
    if (w < 2) {
      e.movzxTo(R.RAX, lo, w);
      e.movsxTo(R.RDX, hi, w);
      asm.shi(2, 4, R.RDX, 8 << w);
      asm.alu(2, Alu.OR, R.RAX, R.RDX);
      asm.b(0x99);
      asm.opd(2, 0xf7, 7, R.RCX);
      // The quotient has to fit: compare with its own sign extension.
      asm.movsx(w, 2, R.RCX, R.RAX);
      asm.alu(2, Alu.CMP, R.RCX, R.RAX);
      C[q + CF.JUMP3] = asm.jccLater(Cc.NE);
    } else {
      e.movTo(R.RAX, lo, w);
      if (w === 3) asm.b(0x48);
      asm.b(0x99);
      asm.alu(w, Alu.CMP, R.RDX, e.operand(hi));
      C[q + CF.JUMP3] = asm.jccLater(Cc.NE);
      asm.opd(w, 0xf7, 7, R.RCX);
    }
  }
  e.endResult(w, quot, R.RAX);
  e.endResult(w, rem, R.RDX);
  C[q + CF.BACK] = asm.p;
}

// ---- miss paths

/** Points all jumps of cold record q to the cursor. */
export function landCold(e: Emitter, q: number): void {
  const C = e.cold;
  const asm = e.asm;
  for (let k: number = CF.JUMP; k <= CF.JUMP4; k = k === CF.JUMP ? CF.JUMP2 : k + 1) {
    const pos = C[q + k]!;
    if (pos !== 0) asm.patch32(pos, asm.p);
  }
}

/** Emits the miss path of a memory op, check or division. */
export function emitColdMem(e: Emitter, q: number, stubs: Stubs, mmuIdx: number): void {
  const C = e.cold;
  const asm = e.asm;
  const insn = C[q + CF.INSN]!;
  const a = C[q + CF.A]!;
  const b = C[q + CF.B]!;
  const c = C[q + CF.C]!;
  const aux = C[q + CF.D]!;
  const kind = C[q]! as Cold;
  if (kind <= Cold.STORE) asm.patch32(C[q + CF.JUMP]!, asm.p);
  else landCold(e, q);
  if (kind >= Cold.FPU_LOAD && kind <= Cold.VEC_SAVE) {
    asm.call(kind === Cold.FPU_LOAD ? stubs.fpuLoad : kind === Cold.FPU_SAVE ? stubs.fpuSave : kind === Cold.VEC_LOAD ? stubs.vecLoad : stubs.vecSave);
    asm.jmp(C[q + CF.BACK]!);
    return;
  }
  coldFip(e, C[q + CF.FIP]!);
  coldFlags(e, C[q + CF.RECIPE]!, C[q + CF.RECIPE_A]!, C[q + CF.RECIPE_B]!);
  if (kind <= Cold.STORE && shortAccess(e, q, stubs, mmuIdx)) return;
  switch (kind) {
    case Cold.LOAD: {
      // The load of a read-modify-write misses on pages with code, too.
      access(e, a, aux, insn, aux >> 8 === (Access.RMW as number) ? stubs.codeLoad[mmuIdx]! : stubs.crossLoad[mmuIdx]!);
      const w = aux & 0xff;
      if (c === 1) asm.load(w, b, mem(Slot.X_VAL));
      else asm.movzx(w, b, mem(Slot.X_VAL));
      break;
    }
    case Cold.STORE:
      if (b < 0) {
        asm.movi(3, mem(Slot.X_VAL), c);
      } else {
        if (c >= MEM) asm.load(3, b, c);
        asm.store(3, mem(Slot.X_VAL), b);
      }
      access(e, a, aux, insn, (aux >> 8) & SLOW ? stubs.yields[Yield.STORE]! : stubs.codeStore[mmuIdx]!);
      break;
    case Cold.LOAD_VEC:
    case Cold.STORE_VEC:
      asm.movi(2, mem(Slot.X_AUX) + 4, c);
      asm.noteSlot(c);
      access(e, a, aux, insn, stubs.yields[kind === Cold.LOAD_VEC ? Yield.LOAD_VEC : Yield.STORE_VEC]!);
      if (b >= 0) asm.movups(b, mem(c));
      break;
    case Cold.SEGCHK:
      access(e, a, c, insn, stubs.yields[Yield.SEGCHK]!);
      break;
    case Cold.ALIGN:
      asm.movi(2, mem(Slot.X_INSN), insn);
      e.callYield(stubs.yields[Yield.ALIGN]!);
      break;
    case Cold.X87: {
      // The hot path may have left a and c in scratch registers only.
      const ir = e.ir;
      const sa = ir[a + F.A]!;
      const sc = ir[a + F.C]!;
      if (b >= 0 && sa >= Slot.TEMP && sa < Slot.TEMP_END) asm.store(3, mem(sa), b);
      if (c >= 0) asm.store(3, mem(sc), c);
      yieldCall(e, stubs.yields[Yield.CALL]!, insn, ir[a + F.AUX]!, ir[a + F.DST]!, sa, ir[a + F.B]!, sc, ir[a + F.IMM]!);
      break;
    }
    default: {
      const ir = e.ir;
      asm.movi(2, mem(Slot.X_AUX), aux);
      yieldCall(e, stubs.yields[Yield.DIVIDE]!, insn, 0, ir[a + F.DST]!, ir[a + F.A]!, ir[a + F.B]!, ir[a + F.C]!, ir[a + F.IMM]!);
      if (b >= 0) asm.load(3, R.RAX, mem(b));
      if (c >= 0) asm.load(3, R.RDX, mem(c));
    }
  }
  // TypeScript saw the x87 state and vector registers in their slots; hot code goes on with them in the host's. Unless a stub did it all.
  const direct = kind === Cold.LOAD || kind === Cold.STORE;
  if (direct) dropAddend(asm, C[q + CF.ZERO]!);
  if (C[q + CF.XMM] === Fpu.HOST) again(asm, 1, stubs.vecLoad, direct);
  if (C[q + CF.FPU] === Fpu.HOST) again(asm, 0, stubs.fpuLoad, direct);
  if (direct && C[q + CF.FLOATS] !== 0) e.floats.again(asm, C[q + CF.FLOATS]!);
  asm.jmp(C[q + CF.BACK]!);
}

/**
 * The miss path of a load or store whose record a stub can make (slow-access.ts): plain accesses, of code that has the usual registers pinned.
 * @returns false if it cannot
 */
function shortAccess(e: Emitter, q: number, stubs: Stubs, mmuIdx: number): boolean {
  const C = e.cold;
  const asm = e.asm;
  const aux = C[q + CF.D]!;
  const insn = C[q + CF.INSN]!;
  const load = C[q] === Cold.LOAD;
  const rmw = aux >> 8 === (Access.RMW as number);
  if (!e.usualPins || !tellable(insn) || (aux >> 8 !== 0 && !(load && rmw))) return false;
  const w = aux & 0xff;
  const c = C[q + CF.C]!;
  const imm = !load && C[q + CF.B]! < 0;
  const value = imm ? c : C[q + CF.B]!;
  if (!load && !imm && c >= MEM) asm.load(3, value, c);
  const zero = C[q + CF.ZERO]!;
  const plain = (zero & ADDEND_HOME) === 0 && C[q + CF.XMM] !== Fpu.HOST && C[q + CF.FPU] !== Fpu.HOST && C[q + CF.FLOATS] === 0;
  const stub = load ? (rmw ? stubs.slowRmw : stubs.slowLoad)[mmuIdx]! : (imm ? stubs.slowStoreImm : stubs.slowStore)[mmuIdx]!;
  callSlow(asm, stub, imm, insn, w, C[q + CF.A]!, value, load && c === 1, zero > 0 && zero < ADDEND_HOME ? zero - 1 : NO_ADDEND, plain ? C[q + CF.BACK]! : -1);
  if (plain) return true;
  if ((zero & ADDEND_HOME) !== 0) dropAddend(asm, zero);
  if (C[q + CF.XMM] === Fpu.HOST) again(asm, 1, stubs.vecLoad, true);
  if (C[q + CF.FPU] === Fpu.HOST) again(asm, 0, stubs.fpuLoad, true);
  if (C[q + CF.FLOATS] !== 0) e.floats.again(asm, C[q + CF.FLOATS]!);
  asm.jmp(C[q + CF.BACK]!);
  return true;
}

/** Later accesses must not use the addend any more (`Emitter.addendPlace`). */
function dropAddend(asm: Asm, place: number): void {
  const r = place & (ADDEND_HOME - 1);
  if (r !== 0) asm.movi(2, r - 1, 0);
  if ((place & ADDEND_HOME) !== 0) asm.movi(3, mem(ADDEND), 0);
}

/** Calls the stub `load`, with `ask` only if byte `at` of X_FPU is 0. */
function again(asm: Asm, at: number, load: number, ask: boolean): void {
  let live = 0;
  if (ask) {
    asm.alui(0, Alu.CMP, mem(Slot.X_FPU) + at, 0);
    live = asm.jccLater(Cc.NE);
  }
  asm.call(load);
  if (ask) asm.patch32(live, asm.p);
}

function access(e: Emitter, addr: number, aux: number, insn: number, stub: number): void {
  accessRecord(e.asm, addr, aux, insn);
  e.callYield(stub);
}
