/** Moves, extensions, address arithmetic and selections: ops that produce no flags. */
import { F } from '../../ir/ops.js';
import { Cc, NONE, Slot } from '../../state.js';
import { Alu, MEM, NO_INDEX, R, mem } from './asm.js';
import type { Emitter } from './emitter.js';

export function emitMov(e: Emitter, p: number, w: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  if (dst === a && w !== 2) return;
  const asm = e.asm;
  if (dst >= Slot.TEMP) {
    if (e.dying(a) && e.useWidth[dst]! <= w) {
      e.assign(dst, e.reg[a]!);
      return;
    }
    const t = e.dying(a) ? e.operand(a) : e.tmp();
    // A wide move is as cheap as a narrow one if nobody reads the upper bits.
    if (e.useWidth[dst]! <= w) e.movTo(t, a, w);
    else e.movzxTo(t, a, w);
    e.assign(dst, t);
    return;
  }
  const pd = e.reg[dst]!;
  if (pd >= 0) {
    if (w >= 2) {
      if (a >= Slot.CONST) e.movTo(pd, a, w);
      else asm.load(w, pd, e.operand(a));
    } else if (a >= Slot.CONST) asm.movi(w, pd, e.klo(a));
    else asm.load(w, pd, e.operand(a));
    return;
  }
  if (a >= Slot.CONST && w !== 2 && e.isImm(a, w)) {
    asm.movi(w, mem(dst), e.klo(a));
  } else if (w === 2) {
    // Zero-extend: a register copy first, the source's upper half may be anything.
    const t = e.tmp();
    e.movzxTo(t, a, 2);
    asm.store(3, mem(dst), t);
  } else {
    asm.store(w, mem(dst), e.src(a, w));
  }
}

/** Writes t, whose 64 bits are all valid, to dst (results that are always 64 bits wide). */
function whole(e: Emitter, dst: number, t: number): void {
  e.endResult(3, dst, t);
}

/** Register to write a full 64-bit result into. */
function wholeDest(e: Emitter, dst: number, a: number): number {
  return e.destReg(3, dst, a, NONE);
}

export function emitSx(e: Emitter, p: number, w: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  const bits = e.ir[p + F.IMM]!;
  const wd = bits === 64 ? 3 : bits === 32 ? 2 : 1;
  if (a >= Slot.CONST) {
    const k = e.klo(a);
    const v = w === 0 ? (k << 24) >> 24 : w === 1 ? (k << 16) >> 16 : k;
    const t = e.destReg(wd, dst, NONE, NONE);
    if (wd === 3) e.asm.movi(3, t, v);
    else e.asm.movi(2, t, wd === 1 ? v & 0xffff : v);
    e.endResult(wd, dst, t);
    return;
  }
  const t = e.destReg(wd, dst, a, NONE);
  if (w >= wd) e.asm.load(w, t, e.operand(a));
  else e.asm.movsx(w, wd === 3 ? 3 : 2, t, e.operand(a));
  e.endResult(wd, dst, t);
}

export function emitZx(e: Emitter, p: number, w: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  const t = wholeDest(e, dst, a);
  e.movzxTo(t, a, w);
  whole(e, dst, t);
}

/** Bits 8..15 of a. AH, CH, DH and BH can be read directly, without touching flags. */
export function emitExth(e: Emitter, p: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  const asm = e.asm;
  if (a >= Slot.CONST) {
    const t = wholeDest(e, dst, NONE);
    asm.movi(2, t, (e.klo(a) >>> 8) & 0xff);
    whole(e, dst, t);
    return;
  }
  const x = e.operand(a);
  if (x >= MEM) {
    const t = wholeDest(e, dst, NONE);
    asm.movzx(0, t, x + 1);
    whole(e, dst, t);
    return;
  }
  if (x <= R.RBX) {
    let t = wholeDest(e, dst, NONE);
    // No REX prefix is possible with a high byte register.
    const final = t;
    if (t >= 8) t = e.tmp();
    asm.b(0x0f);
    asm.b(0xb6);
    asm.b(0xc0 | (t << 3) | (x + 4));
    if (t !== final) asm.movrr(2, final, t);
    whole(e, dst, final);
    return;
  }
  const t = lowScratch(e);
  asm.movrr(2, t, x);
  asm.b(0x0f);
  asm.b(0xb6);
  asm.b(0xc0 | (t << 3) | (t + 4));
  whole(e, dst, t);
}

/** A scratch register with an addressable second byte (RAX, RCX, RDX). */
export function lowScratch(e: Emitter): number {
  const t = e.tmp();
  if (t <= R.RDX) return t;
  const u = e.tmp();
  if (u <= R.RDX) return u;
  return e.tmp();
}

export function emitInsh(e: Emitter, p: number): void {
  const dst = e.ir[p + F.DST]!;
  const a = e.ir[p + F.A]!;
  const asm = e.asm;
  const pd = e.reg[dst]!;
  if (pd < 0) {
    if (a >= Slot.CONST) asm.movi(0, mem(dst) + 1, e.klo(a));
    else asm.store(0, mem(dst) + 1, e.src(a, 0));
    return;
  }
  if (pd === R.RBX) {
    if (a >= Slot.CONST) {
      asm.b(0xb7);
      asm.b(e.klo(a));
      return;
    }
    let s = e.src(a, 0);
    if (s > R.RBX) {
      const t = lowScratch(e);
      asm.movrr(2, t, s);
      s = t;
    }
    asm.b(0x88);
    asm.b(0xc0 | (s << 3) | 7);
    return;
  }
  // Build the new value in a register whose second byte can be written, then copy it back whole.
  let s = a >= Slot.CONST ? -1 : e.src(a, 0);
  const t = lowScratch(e);
  asm.movrr(3, t, pd);
  if (s < 0) {
    asm.b(0xb4 | t);
    asm.b(e.klo(a));
  } else {
    if (s > R.RBX) {
      const u = lowScratch(e);
      asm.movrr(2, u, s);
      s = u;
    }
    asm.b(0x88);
    asm.b(0xc0 | (s << 3) | (t + 4));
  }
  asm.movrr(3, pd, t);
}

export function emitLea(e: Emitter, p: number, w: number): void {
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  let a = ir[p + F.A]!;
  let b = ir[p + F.B]!;
  let scale = ir[p + F.C]!;
  let disp = ir[p + F.IMM]!;
  const asm = e.asm;
  const wo = w === 3 ? 3 : 2;
  // Fold small constants into the displacement. Only for 32 bits may the sum wrap.
  if (a >= Slot.CONST && e.isImm(a, wo)) {
    const sum = disp + e.klo(a);
    if (wo === 2 || sum === (sum | 0)) {
      disp = sum | 0;
      a = NONE;
    }
  }
  if (b >= Slot.CONST && e.isImm(b, wo)) {
    const sum = disp + e.klo(b) * (1 << scale);
    if (wo === 2 || sum === (sum | 0)) {
      disp = sum | 0;
      b = NONE;
    }
  }
  if (a === NONE && b !== NONE && scale === 0) {
    a = b;
    b = NONE;
  }
  if (a === NONE && b === NONE) {
    const t = e.destReg(3, dst, NONE, NONE);
    if (wo === 3) asm.movi(3, t, disp);
    else asm.movi(2, t, w === 1 ? disp & 0xffff : disp);
    e.endResult(3, dst, t);
    return;
  }
  const ra = a === NONE ? NO_INDEX : e.src(a, wo);
  const rb = b === NONE ? NO_INDEX : e.src(b, wo);
  if (b === NONE) scale = 0;
  const t = e.destReg(wo, dst, a, b);
  if (rb < 0 && disp === 0) asm.movrr(wo, t, ra);
  else asm.lea(wo, t, ra, rb, scale, disp);
  if (w === 1) asm.movzx(1, t, t);
  e.endResult(wo, dst, t);
}

export function emitSetcc(e: Emitter, p: number, cc: number): void {
  const dst = e.ir[p + F.DST]!;
  const host = e.cond(cc);
  const pd = e.regOf(dst);
  if (dst < Slot.TEMP) {
    e.asm.setcc(host, pd >= 0 ? pd : mem(dst));
    return;
  }
  const t = e.tmp();
  e.asm.setcc(host, t);
  e.endResult(0, dst, t);
}

export function emitCmov(e: Emitter, p: number, w: number, cc: number): void {
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const host = e.cond(cc);
  if (w === 0) {
    // No host has an 8-bit form: select in a copy.
    const t = e.tmp();
    e.movTo(t, b, 0);
    e.asm.cmov(host, 2, t, e.operand(a));
    e.endResult(0, dst, t);
    return;
  }
  if (a === dst && a < Slot.TEMP && a !== b) {
    const t = e.beginResult(w, dst, a, b, NONE);
    e.asm.cmov(host ^ 1, w, t, e.operand(b));
    e.endResult(w, dst, t);
    return;
  }
  const t = e.beginResult(w, dst, b, a, NONE);
  e.asm.cmov(host, w, t, e.operand(a));
  e.endResult(w, dst, t);
}

export function emitSelnz(e: Emitter, p: number, w: number): void {
  const ir = e.ir;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  e.preFlags(0);
  const t = e.beginResult(3, dst, ir[p + F.C]!, a, b);
  testSlot(e, a, w);
  e.asm.cmov(Cc.NE, 3, t, e.operand(b));
  e.endResult(3, dst, t);
  e.setFlags(0);
}

/** Sets host ZF from the low w bits of slot a. */
export function testSlot(e: Emitter, a: number, w: number): void {
  const x = e.operand(a);
  if (x < MEM) e.asm.test(w, x, x);
  else e.asm.alui(w, Alu.CMP, x, 0);
}
