/** Arithmetic, logic, shifts, bit operations, flag access. */
import { F, Op } from '../../ir/ops.js';
import { Cc, Fl, NONE, Slot } from '../../state.js';
import { Alu, MEM, NO_INDEX, R, Sh, mem } from './asm.js';
import { FLAGS_LAHF, slotFlagMask, type Emitter } from './emitter.js';
import { emitMov, lowScratch } from './emit-move.js';

/** dst = a (alu) b. */
export function emitAlu(e: Emitter, p: number, w: number, digit: number, fw: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  let a = ir[p + F.A]!;
  let b = ir[p + F.B]!;
  const carry = digit === Alu.ADC || digit === Alu.SBB;
  if (fw === 0 && !carry && dst !== NONE && w >= 2 && leaInstead(e, digit, w, dst, a, b)) return;
  e.preFlags(fw);
  if (carry) e.ensureCF();
  const commutes = digit !== Alu.SUB && digit !== Alu.SBB;
  if (commutes && (a >= Slot.CONST || (b === dst && a !== dst) || (a !== dst && !e.dying(a) && e.dying(b)))) {
    const t = a;
    a = b;
    b = t;
  }
  if (dst === NONE && (digit === Alu.SUB || digit === Alu.AND)) {
    compare(e, w, digit, a, b);
  } else if (dst >= 0 && dst < Slot.TEMP && a === dst && w !== 2 && e.reg[dst]! < 0) {
    // Guest register in memory: operate on it there.
    if (e.isImm(b, w)) asm.alui(w, digit, mem(dst), e.klo(b));
    else asm.aluStore(w, digit, mem(dst), e.src(b, w));
  } else {
    const t = e.beginResult(w, dst, a, b, NONE);
    if (e.isImm(b, w)) asm.alui(w, digit, t, e.klo(b));
    else asm.alu(w, digit, t, e.operand(b));
    e.endResult(w, dst, t);
  }
  e.setFlags(fw);
}

/** CMP or TEST of two slots. */
function compare(e: Emitter, w: number, digit: number, a: number, b: number): void {
  const asm = e.asm;
  const test = digit === Alu.AND;
  const x = a >= Slot.CONST ? e.src(a, w) : e.operand(a);
  if (e.isImm(b, w)) {
    if (test) asm.testi(w, x, e.klo(b));
    else asm.alui(w, Alu.CMP, x, e.klo(b));
    return;
  }
  let y = e.operand(b);
  if (x >= MEM && y >= MEM) y = e.src(b, w);
  if (test) {
    if (x < MEM) asm.test(w, y, x);
    else asm.test(w, x, y);
  } else if (x < MEM) {
    asm.alu(w, Alu.CMP, x, y);
  } else {
    asm.aluStore(w, Alu.CMP, x, y);
  }
}

/** Addition without flags as LEA, where that saves flags or a move. @returns false if it does not apply. */
function leaInstead(e: Emitter, digit: number, w: number, dst: number, a: number, b: number): boolean {
  if (digit !== Alu.ADD && digit !== Alu.SUB) return false;
  const pressed = (e.hostF & e.liveOut & ~e.slotF) !== 0;
  if (!pressed && a === dst) return false;
  if (digit === Alu.ADD && a >= Slot.CONST) {
    const t = a;
    a = b;
    b = t;
  }
  if (a >= Slot.CONST) return false;
  let disp = 0;
  if (e.isImm(b, w)) {
    disp = digit === Alu.ADD ? e.klo(b) : -e.klo(b);
    if (disp !== (disp | 0)) return false;
    b = NONE;
  } else if (digit === Alu.SUB) {
    return false;
  }
  if (!pressed && (e.regOf(a) < 0 || (b !== NONE && e.regOf(b) < 0))) return false;
  const ra = e.src(a, w);
  const rb = b === NONE ? NO_INDEX : e.src(b, w);
  const t = e.destReg(w, dst, a, b);
  e.asm.lea(w, t, ra, rb, 0, disp);
  e.endResult(w, dst, t);
  return true;
}

export function emitNeg(e: Emitter, p: number, w: number, fw: number): void {
  const dst = e.ir[p + F.DST]!;
  e.preFlags(fw);
  const t = e.beginResult(w, dst, e.ir[p + F.A]!, NONE, NONE);
  e.asm.opd(w, 0xf7, 3, t);
  e.endResult(w, dst, t);
  e.setFlags(fw);
}

export function emitNot(e: Emitter, p: number, w: number): void {
  const dst = e.ir[p + F.DST]!;
  const t = e.beginResult(w, dst, e.ir[p + F.A]!, NONE, NONE);
  e.asm.opd(w, 0xf7, 2, t);
  e.endResult(w, dst, t);
}

/** INC and DEC leave CF alone, so guest CF is brought into (or left in) the host's. */
export function emitIncDec(e: Emitter, p: number, w: number, digit: number, fw: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  e.preFlags(fw | (e.hostF & Fl.CF));
  if (fw !== 0 && e.liveOut & Fl.CF && e.slotF & Fl.CF) {
    e.ensureCF();
  }
  const cf = e.hostF & Fl.CF;
  if (dst >= 0 && dst < Slot.TEMP && a === dst && w !== 2 && e.reg[dst]! < 0) {
    e.asm.opd(w, 0xff, digit, mem(dst));
  } else {
    const t = e.beginResult(w, dst, a, NONE, NONE);
    e.asm.opd(w, 0xff, digit, t);
    e.endResult(w, dst, t);
  }
  e.hostF = fw | cf;
  e.slotF &= ~fw;
}

const SHIFT_DIGIT: readonly number[] = [Sh.SHL, Sh.SHR, Sh.SAR, Sh.ROL, Sh.ROR, Sh.RCL, Sh.RCR];

/** SHL SHR SAR ROL ROR RCL RCR. */
export function emitShift(e: Emitter, p: number, op: number, w: number, fw: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const digit = SHIFT_DIGIT[op - Op.SHL]!;
  // Rotates change CF and OF only.
  const touched: number = digit < Sh.SHL ? Fl.CF | Fl.OF : Fl.ALL;
  const n = e.constCount(op, p, w);
  if (n === 0) {
    emitMov(e, p, w);
    return;
  }
  if (n > 0) {
    if (fw === 0 && w >= 2 && (digit === Sh.ROL || digit === Sh.ROR)) {
      const x = a >= Slot.CONST ? e.src(a, w) : e.operand(a);
      const t = e.destReg(w, dst, a, NONE);
      const bits = w === 3 ? 64 : 32;
      asm.vex(3, 3, w === 3 ? 1 : 0, 0, 0xf0, t, 0, x);
      asm.b((digit === Sh.ROL ? bits - n : n) & (bits - 1));
      e.endResult(w, dst, t);
      return;
    }
    preserve(e, touched, fw);
    if (digit === Sh.RCL || digit === Sh.RCR) e.ensureCF();
    if (dst >= 0 && dst < Slot.TEMP && a === dst && w !== 2 && e.reg[dst]! < 0) {
      asm.shi(w, digit, mem(dst), n);
    } else {
      const t = e.beginResult(w, dst, a, NONE, NONE);
      asm.shi(w, digit, t, n);
      e.endResult(w, dst, t);
    }
    afterShift(e, touched, fw);
    return;
  }
  if (fw === 0 && w >= 2 && digit >= Sh.SHL) {
    // SHLX, SARX, SHRX: no flags, any register.
    const count = e.src(b, 2);
    const x = a >= Slot.CONST ? e.src(a, w) : e.operand(a);
    const t = e.destReg(w, dst, a, b);
    asm.vex(digit === Sh.SHL ? 1 : digit === Sh.SAR ? 2 : 3, 2, w === 3 ? 1 : 0, 0, 0xf7, t, count, x);
    e.endResult(w, dst, t);
    return;
  }
  preserve(e, touched, fw);
  // If the masked count is 0 the flags stay as they were: they have to be the guest's.
  if (fw !== 0) e.ensureHost(fw | (digit === Sh.RCL || digit === Sh.RCR ? Fl.CF : 0));
  else if (digit === Sh.RCL || digit === Sh.RCR) e.ensureCF();
  countInCl(e, b);
  const t = shiftTarget(e, w, dst, a, b);
  asm.shcl(w, digit, t);
  e.endResult(w, dst, t);
  afterShift(e, touched, fw);
}

/** beginResult where b was copied to RCX already: the copy is what is used, so b may even be dst. */
function shiftTarget(e: Emitter, w: number, dst: number, a: number, c: number): number {
  // A dying a that is also the count sits in RCX itself now; it must be copied.
  return e.beginResult(w, dst, a, a === c ? a : NONE, NONE);
}

/** Loads the count into CL. Flags are kept. */
function countInCl(e: Emitter, b: number): void {
  if (e.regOf(b) === R.RCX && e.holds[R.RCX] === b) {
    e.lock |= 1 << R.RCX;
    return;
  }
  e.claim(R.RCX);
  e.movTo(R.RCX, b, 2);
}

/** preFlags for an instruction that changes the flags in `touched` only. */
function preserve(e: Emitter, touched: number, fw: number): void {
  e.preFlags(fw | (Fl.ALL & ~touched));
}

function afterShift(e: Emitter, touched: number, fw: number): void {
  e.hostF = (e.hostF & ~touched) | fw;
  e.slotF &= ~fw;
}

export function emitShiftDouble(e: Emitter, p: number, op: number, w: number, fw: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const c = ir[p + F.C]!;
  const opc = op === Op.SHLD ? 0xa4 : 0xac;
  const n = e.constCount(op, p, w);
  if (n === 0) {
    emitMov(e, p, w);
    return;
  }
  e.preFlags(fw);
  if (n > 0) {
    const t = e.beginResult(w, dst, a, b, NONE);
    asm.op0f(w, opc, e.src(b, w), t);
    asm.b(n);
    e.endResult(w, dst, t);
  } else {
    if (fw !== 0) e.ensureHost(fw);
    countInCl(e, c);
    const t = e.beginResult(w, dst, a, b, a === c ? c : NONE);
    asm.op0f(w, opc + 1, e.src(b, w), t);
    e.endResult(w, dst, t);
  }
  e.setFlags(fw);
}

/** BT BTS BTR BTC: digit 4..7. CF is the only flag they define. */
export function emitBt(e: Emitter, p: number, digit: number, w: number, fw: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = digit === 4 ? NONE : ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  e.preFlags(fw);
  const mask = (8 << w) - 1;
  if (dst === NONE) {
    if (b >= Slot.CONST) {
      const x = a >= Slot.CONST ? e.src(a, w) : e.operand(a);
      asm.bti(w, 4, x, e.klo(b) & mask);
    } else {
      const x = e.src(a, w);
      asm.op0f(w, 0xa3, e.src(b, w), x);
    }
  } else {
    const t = e.beginResult(w, dst, a, b, NONE);
    if (b >= Slot.CONST) {
      asm.bti(w, digit, t, e.klo(b) & mask);
    } else {
      asm.op0f(w, 0x83 | (digit << 3), e.src(b, w), t);
    }
    e.endResult(w, dst, t);
  }
  e.setFlags(fw);
}

/** BSF and BSR: the host leaves the destination unspecified for 0, so b is selected explicitly. */
export function emitBsfBsr(e: Emitter, p: number, opc: number, w: number, fw: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const b = ir[p + F.B]!;
  e.preFlags(fw);
  const a = ir[p + F.A]!;
  const x = a >= Slot.CONST ? e.src(a, w) : e.operand(a);
  const t = e.tmp();
  asm.op0f(w, opc, t, x);
  asm.cmov(Cc.E, w === 3 ? 3 : 2, t, e.operand(b));
  e.endResult(w, dst, t);
  e.setFlags(fw);
}

/** TZCNT LZCNT POPCNT. */
export function emitCount(e: Emitter, p: number, opc: number, w: number, fw: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  const asm = e.asm;
  e.preFlags(fw);
  const x = a >= Slot.CONST ? e.src(a, w) : e.operand(a);
  const t = w === 1 ? e.tmp() : e.destReg(w, dst, a, NONE);
  asm.opF3(w, opc, t, x);
  e.endResult(w, dst, t);
  e.setFlags(fw);
}

export function emitBswap(e: Emitter, p: number, w: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  const asm = e.asm;
  if (w === 1) {
    const t = lowScratch(e);
    e.movTo(t, a, 1);
    // xchg low, high byte: leaves flags alone, unlike a rotate.
    asm.b(0x86);
    asm.b(0xc0 | (t << 3) | (t + 4));
    e.endResult(1, dst, t);
    return;
  }
  const t = e.beginResult(w, dst, a, NONE, NONE);
  asm.bswap(w, t);
  e.endResult(w, dst, t);
}

/** MUL and IMUL. */
export function emitMul(e: Emitter, p: number, signed: boolean, w: number, fw: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  let a = ir[p + F.A]!;
  let b = ir[p + F.B]!;
  const hi = ir[p + F.C]!;
  e.preFlags(fw);
  if (a >= Slot.CONST || (b === dst && a !== dst)) {
    const t = a;
    a = b;
    b = t;
  }
  if (hi === NONE && w !== 0 && (signed || fw === 0)) {
    if (e.isImm(b, w) && a < Slot.CONST) {
      const x = e.operand(a);
      const t = e.destReg(w, dst, a, NONE);
      asm.imuli(w, t, x, e.klo(b));
      e.endResult(w, dst, t);
    } else {
      const t = e.beginResult(w, dst, a, b, NONE);
      asm.op0f(w, 0xaf, t, e.operand(b));
      e.endResult(w, dst, t);
    }
    e.setFlags(fw);
    return;
  }
  e.claim(R.RAX);
  e.claim(R.RDX);
  e.movTo(R.RAX, a, w);
  asm.opd(w, 0xf7, signed ? 5 : 4, e.operand(b));
  if (w === 0) {
    // AX = product; DL = AH.
    asm.b(0x0f);
    asm.b(0xb6);
    asm.b(0xc0 | (R.RDX << 3) | (R.RAX + 4));
  }
  e.endResult(w, dst, R.RAX);
  e.endResult(w, hi, R.RDX);
  e.setFlags(fw);
}

/** ANDN, PDEP, PEXT: dst = reg, a = vvvv, b = r/m. */
export function emitVexAB(e: Emitter, p: number, pp: number, opc: number, w: number, fw: number, flags: boolean): void {
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  if (flags) e.preFlags(fw);
  const ra = e.src(a, w);
  const x = e.operand(b);
  const t = e.destReg(w, dst, a, b);
  e.asm.vex(pp, 2, w === 3 ? 1 : 0, 0, opc, t, ra, x);
  e.endResult(w, dst, t);
  if (flags) e.setFlags(fw);
}

/** BEXTR, BZHI: dst = reg, a = r/m, b = vvvv. */
export function emitVexBA(e: Emitter, p: number, opc: number, w: number, fw: number): void {
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  e.preFlags(fw);
  const rb = e.src(b, w);
  const x = e.operand(a);
  const t = e.destReg(w, dst, a, b);
  e.asm.vex(0, 2, w === 3 ? 1 : 0, 0, opc, t, rb, x);
  e.endResult(w, dst, t);
  e.setFlags(fw);
}

/** BLSR (digit 1), BLSMSK (2), BLSI (3): dst = vvvv, a = r/m. */
export function emitBls(e: Emitter, p: number, digit: number, w: number, fw: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  e.preFlags(fw);
  const x = e.operand(a);
  const t = e.destReg(w, dst, a, NONE);
  e.asm.vex(0, 2, w === 3 ? 1 : 0, 0, 0xf3, digit, t, x);
  e.endResult(w, dst, t);
  e.setFlags(fw);
}

/** Through ADC with OF loaded into CF: needs no host feature, and the result flag goes straight to the slot. */
export function emitAdox(e: Emitter, p: number, w: number, fw: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  e.save(Fl.ALL);
  const t = e.beginResult(w, dst, a, b, NONE);
  asm.bti(1, 4, mem(Slot.FLAGS), 0);
  asm.alu(w, Alu.ADC, t, e.operand(b));
  if (fw !== 0) asm.setcc(Cc.B, mem(Slot.FLAGS));
  e.endResult(w, dst, t);
  e.hostF = 0;
}

export function emitCrc32(e: Emitter, p: number, w: number): void {
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const t = e.beginResult(2, dst, a, b, NONE);
  e.asm.crc32(w, t, e.operand(b));
  e.endResult(2, dst, t);
}

/** Flags at their EFLAGS positions. */
export function emitGetf(e: Emitter, p: number): void {
  const dst = e.ir[p + F.DST]!;
  const asm = e.asm;
  e.save(Fl.ALL);
  const t = e.tmp();
  const u = e.tmp();
  asm.movzx(0, t, mem(Slot.FLAGS));
  asm.movzx(0, u, FLAGS_LAHF);
  asm.shi(2, Sh.SHL, t, 11);
  asm.alui(2, Alu.AND, u, 0xd5);
  asm.alu(2, Alu.OR, t, u);
  e.endResult(2, dst, t);
  e.hostF = 0;
}

/** Flags in fw from their EFLAGS positions. */
export function emitPutf(e: Emitter, p: number, fw: number): void {
  const a = e.ir[p + F.A]!;
  const asm = e.asm;
  const keep = e.liveOut & ~fw;
  e.save(e.liveIn[e.i]! | keep);
  const t = e.tmp();
  const u = e.tmp();
  e.movTo(t, a, 2);
  asm.movrr(2, u, t);
  asm.shi(2, Sh.SHR, u, 11);
  asm.alui(2, Alu.AND, u, 1);
  asm.alui(2, Alu.AND, t, 0xd5);
  asm.shi(2, Sh.SHL, t, 8);
  asm.alu(2, Alu.OR, t, u);
  if (keep === 0) {
    asm.alui(2, Alu.OR, t, 0x200);
  } else {
    const m = slotFlagMask(fw);
    asm.alui(2, Alu.AND, t, m);
    asm.movzx(1, u, mem(Slot.FLAGS));
    asm.alui(2, Alu.AND, u, 0xffff & ~m);
    asm.alu(2, Alu.OR, t, u);
  }
  asm.store(1, mem(Slot.FLAGS), t);
  e.hostF = 0;
  e.slotF |= keep === 0 ? Fl.ALL : fw;
}

/** CLC, STC, CMC. */
export function emitSetcf(e: Emitter, p: number): void {
  const how = e.ir[p + F.IMM]!;
  const asm = e.asm;
  const others = e.liveOut & ~Fl.CF;
  if ((others & ~e.hostF) === 0 && (how !== 2 || e.hostF & Fl.CF) && e.hostF !== 0) {
    asm.b(how === 0 ? 0xf8 : how === 1 ? 0xf9 : 0xf5);
    e.hostF |= Fl.CF;
    e.slotF &= ~Fl.CF;
    return;
  }
  e.save(e.liveIn[e.i]!);
  if (how === 0) asm.alui(0, Alu.AND, FLAGS_LAHF, 0xfe);
  else asm.alui(0, how === 1 ? Alu.OR : Alu.XOR, FLAGS_LAHF, 1);
  e.hostF = 0;
  e.slotF |= Fl.CF;
}
