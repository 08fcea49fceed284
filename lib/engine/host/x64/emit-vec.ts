/**
 * Vector ops. The low halves of the guest's first vector registers are pinned to host registers (emitter.ts, docs/adr/0012-lazy-vector-registers.md):
 * loaded the first time code needs one, stored when generated code is left. Slot X_FPU tells at run time whether they are, `Emitter.xmm`
 * what is known of it. The other registers, vector temporaries and all upper halves live in their slots; XMM0..XMM2 are scratch, XMM2
 * also hands a loaded operand to the op that follows. Slots are aligned to 16 bytes, so legacy forms may use memory operands.
 */
import { type NativeForm, generalOperands } from '../../helpers.js';
import { F } from '../../ir/ops.js';
import { Access, Cc, Fl, NONE, Slot, VEC_STRIDE } from '../../state.js';
import { Alu, type Asm, mem } from './asm.js';
import { type Emitter, FIRST_VEC, Fpu, VEC_TEMP, overlapsPinned, pinnedVec } from './emitter.js';
import { CF, Cold, addCold, emitProbe, probe } from './emit-mem.js';

const LIVE = mem(Slot.X_FPU) + 1;
/** Windows: XMM6..XMM15 belong to the caller. */
const WIN_FIRST = 6;
const winSlot = (r: number): number => mem(Slot.X_NATIVE_XMM + (r - WIN_FIRST) * 2);
const vecSlot = (r: number): number => mem(Slot.VEC + (r - FIRST_VEC) * VEC_STRIDE);

/** Bodies of the stubs `vecLoad` and `vecSave`. They leave host flags alone. */
export function emitVecLoad(asm: Asm, win: boolean): void {
  if (win) for (let r = WIN_FIRST; r < 16; r++) asm.movupsStore(winSlot(r), r);
  for (let r = FIRST_VEC; r < 16; r++) asm.movups(r, vecSlot(r));
  asm.movi(0, LIVE, 1);
  asm.ret();
}
export function emitVecSave(asm: Asm, win: boolean): void {
  for (let r = FIRST_VEC; r < 16; r++) asm.movupsStore(vecSlot(r), r);
  if (win) for (let r = WIN_FIRST; r < 16; r++) asm.movups(r, winSlot(r));
  asm.movi(0, LIVE, 0);
  asm.ret();
}

/** Makes sure that host registers hold the pinned vector registers. Clobbers host flags if that is not known. */
function ensureLive(e: Emitter, p: number): void {
  if (e.xmm === Fpu.HOST) return;
  e.save(Fl.ALL);
  e.hostF = 0;
  e.asm.alui(0, Alu.CMP, LIVE, 0);
  const q = addCold(e, Cold.VEC_LOAD, e.asm.jccLater(Cc.E), e.ir[p + F.INSN]!, 0, 0, 0, 0);
  e.cold[q + CF.BACK] = e.asm.p;
  e.xmm = Fpu.HOST;
}

/** Makes sure that the slots have them: before a scalar op that names part of one. */
export function ensureSaved(e: Emitter, p: number): void {
  if (e.xmm === Fpu.SLOTS) return;
  e.save(Fl.ALL);
  e.hostF = 0;
  e.asm.alui(0, Alu.CMP, LIVE, 0);
  const q = addCold(e, Cold.VEC_SAVE, e.asm.jccLater(Cc.NE), e.ir[p + F.INSN]!, 0, 0, 0, 0);
  e.cold[q + CF.BACK] = e.asm.p;
  e.xmm = Fpu.SLOTS;
}

/** Host register to which vector slot s is pinned, if they are in use at this point, otherwise -1. */
export function pinned(e: Emitter, s: number): number {
  return e.xmm === Fpu.HOST ? pinnedVec(s) : -1;
}

/** Host register that holds vector slot s now, or -1. */
function vreg(e: Emitter, s: number): number {
  return s === e.vecTemp && s !== NONE ? VEC_TEMP : pinned(e, s);
}

/** Makes pinned registers ready for the operands of a vector op: in host registers, or in slots if the op names part of one. */
export function prepare(e: Emitter, p: number, general: number): void {
  const ir = e.ir;
  let any = false;
  for (let k: number = F.DST; k <= F.C; k++) {
    const s = ir[p + k]!;
    if (!overlapsPinned(s)) continue;
    any = true;
    if (pinnedVec(s) < 0 || (general & (1 << (k - F.DST))) !== 0) {
      ensureSaved(e, p);
      return;
    }
  }
  if (any) ensureLive(e, p);
}

/** The same for an op with one vector operand. */
function prepareOne(e: Emitter, p: number, s: number): void {
  if (pinnedVec(s) >= 0) ensureLive(e, p);
  else if (overlapsPinned(s)) ensureSaved(e, p);
}

/** xmm = xmm. */
function movaps(asm: Asm, x: number, y: number): void {
  if (x !== y) asm.sse(0, 1, 0, 0x28, x, y);
}

/** Low 64 bits of xmm = those of xmm; the upper half stays. */
function movsd(asm: Asm, x: number, y: number): void {
  asm.sse(3, 1, 0, 0x10, x, y);
}

/** Vector dst = memory. Bits 128..255 change only for w = 5. `next`: the following op is the only reader and takes it from VEC_TEMP. */
export function emitLoadVec(e: Emitter, p: number, w: number, mmuIdx: number, next: boolean): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const acc = ir[p + F.C]!;
  const slow = (acc & (Access.SYSTEM | Access.USER)) !== 0;
  const keep = next && w <= 4;
  prepareOne(e, p, dst);
  const reg = pinned(e, dst);
  emitProbe(e, mmuIdx, ir[p + F.A]!, 1 << w, (acc & Access.RMW) !== 0, slow);
  const q = addCold(e, Cold.LOAD_VEC, probe.jump, ir[p + F.INSN]!, probe.addr, keep ? VEC_TEMP : -1, dst, w | (acc << 8));
  if (!slow) {
    const t = probe.addend;
    const a = probe.addr;
    const x = keep ? VEC_TEMP : reg >= 0 ? reg : 0;
    switch (w) {
      case 1:
        asm.movzxMem(1, t, t, a);
        asm.sse(1, 1, 0, 0x6e, x, t);
        break;
      case 2:
        asm.sseMem(1, 1, 0, 0x6e, x, t, a, 0);
        break;
      case 3:
        asm.sseMem(2, 1, 0, 0x7e, x, t, a, 0);
        break;
      default:
        asm.sseMem(0, 1, 0, 0x10, x, t, a, 0);
        if (w === 5) {
          asm.sseMem(0, 1, 0, 0x10, 1, t, a, 16);
          asm.movupsStore(mem(dst) + 16, 1);
        }
    }
    if (x === 0) asm.movupsStore(mem(dst), 0);
  }
  e.cold[q + CF.BACK] = asm.p;
  e.vecTemp = keep ? dst : NONE;
}

export function emitStoreVec(e: Emitter, p: number, w: number, mmuIdx: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const s = ir[p + F.B]!;
  const src = mem(s);
  const acc = ir[p + F.C]!;
  const slow = (acc & (Access.SYSTEM | Access.USER)) !== 0;
  prepareOne(e, p, s);
  const reg = pinned(e, s);
  emitProbe(e, mmuIdx, ir[p + F.A]!, 1 << w, true, slow);
  const q = addCold(e, Cold.STORE_VEC, probe.jump, ir[p + F.INSN]!, probe.addr, -1, s, w | (acc << 8));
  if (!slow) {
    const t = probe.addend;
    const a = probe.addr;
    if (reg >= 0 && w <= 3) {
      if (w === 3) {
        asm.sseMem(1, 1, 0, 0xd6, reg, t, a, 0);
      } else if (w === 2) {
        asm.sseMem(1, 1, 0, 0x7e, reg, t, a, 0);
      } else {
        asm.sse(1, 1, 0, 0x7e, reg, probe.free);
        asm.opm(w, 0x89, probe.free, t, a, 0, 0);
      }
    } else if (w <= 3) {
      asm.load(w === 3 ? 3 : 2, probe.free, src);
      asm.opm(w, 0x89, probe.free, t, a, 0, 0);
    } else {
      if (reg < 0) asm.movups(0, src);
      asm.sseMem(0, 1, 0, 0x11, reg < 0 ? 0 : reg, t, a, 0);
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
  const dst = e.ir[p + F.DST]!;
  const src = e.ir[p + F.A]!;
  if (dst === src) return;
  prepare(e, p, 0);
  const pd = pinned(e, dst);
  const ps = pinned(e, src);
  const d = mem(dst);
  const s = mem(src);
  if (w <= 3) {
    let x = ps;
    if (x < 0) asm.movq((x = 0), s);
    if (w !== 3) asm.sse(1, 1, 0, 0x7e, x, d);
    else if (pd >= 0) movsd(asm, pd, x);
    else asm.movqStore(d, x);
    return;
  }
  if (pd >= 0) {
    if (ps >= 0) movaps(asm, pd, ps);
    else asm.movups(pd, s);
  } else {
    if (ps < 0) asm.movups(0, s);
    asm.movupsStore(d, ps < 0 ? 0 : ps);
  }
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
  const r = vreg(e, s);
  if (r >= 0) {
    if (w === 5) {
      e.asm.vex(1, 3, 0, 1, 0x18, x, r, mem(s) + 16); // vinsertf128
      e.asm.b(1);
    } else if (w === 3) {
      e.asm.movq(x, r);
    } else {
      movaps(e.asm, x, r);
    }
    return;
  }
  inMemory(e, s);
  if (w === 5) e.asm.vex(0, 1, 0, 1, 0x10, x, 0, mem(s));
  else if (w === 3) e.asm.movq(x, mem(s));
  else e.asm.movups(x, mem(s));
}

function storeV(e: Emitter, w: number, s: number, x: number): void {
  const r = pinned(e, s);
  if (r >= 0) {
    if (w === 5) {
      e.asm.vex(0, 1, 0, 0, 0x28, r, 0, x);
      e.asm.vex(1, 3, 0, 1, 0x19, x, 0, mem(s) + 16); // vextractf128
      e.asm.b(1);
    } else if (w === 3) {
      movsd(e.asm, r, x);
    } else {
      movaps(e.asm, r, x);
    }
    return;
  }
  if (w === 5) e.asm.vex(0, 1, 0, 1, 0x11, x, 0, mem(s));
  else if (w === 3) e.asm.movqStore(mem(s), x);
  else e.asm.movupsStore(mem(s), x);
}

/** Register with slot s: its own if that has the right width, or x after a load. */
function inReg(e: Emitter, w: number, x: number, s: number): number {
  const r = w === 4 ? vreg(e, s) : -1;
  if (r >= 0) return r;
  loadV(e, w, x, s);
  return x;
}

/**
 * Operand of the ModRM.rm position: a register, or memory. Legacy forms want 16-byte alignment, which only vector slots are sure to have;
 * a scalar slot is loaded into x with a clean upper half.
 */
function source(e: Emitter, w: number, s: number, x: number): number {
  const r = vreg(e, s);
  if (r >= 0) {
    if (w === 4) return r;
    loadV(e, w, x, s);
    return x;
  }
  inMemory(e, s);
  if (w !== 3 && (s & 1) === 0) return mem(s);
  e.asm.movq(x, mem(s));
  return x;
}

/** Table-driven op as one host instruction. `avx`: the host has the VEX forms. */
export function emitVop(e: Emitter, p: number, w: number, fw: number, f: NativeForm, avx: boolean): void {
  const ir = e.ir;
  const asm = e.asm;
  const dst = ir[p + F.DST]!;
  const a = ir[p + F.A]!;
  const b = ir[p + F.B]!;
  const c = ir[p + F.C]!;
  const imm = ir[p + F.IMM]!;
  prepare(e, p, generalOperands(f));
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
  /** Register in which dst is made: its own one, or XMM0. */
  const pd = w === 4 ? pinned(e, dst) : -1;
  const x = pd >= 0 ? pd : 0;
  switch (f.form) {
    case 'rm':
    case 'rmi': {
      const s = source(e, w, a, 1);
      if (vex) {
        // Scalar forms keep the upper part of dst: XMM0 starts as dst, and VEX forms with a third operand name XMM0 as well.
        loadV(e, w, 0, dst);
        two(0, s, 0);
      } else {
        if (pd < 0) loadV(e, w, 0, dst);
        two(x, s, 0);
      }
      if (f.form === 'rmi') asm.b(imm);
      if (vex || pd < 0) storeV(e, w, dst, 0);
      break;
    }
    case 'rvm':
    case 'rvmi': {
      const s = source(e, w, b, 1);
      const ra = w === 4 ? vreg(e, a) : -1;
      if (ra >= 0 && ra !== x && (vex || (avx && f.legacyOnly !== true))) {
        asm.vex(pp, f.map, f.w, l, f.opcode, x, ra, s);
        if (f.form === 'rvmi') asm.b(imm);
        if (pd < 0) storeV(e, w, dst, 0);
        break;
      }
      // dst must not be overwritten before b is read.
      const y = s === x && a !== dst ? 0 : x;
      if (ra !== y) loadV(e, w, y, a);
      two(y, s, y);
      if (f.form === 'rvmi') asm.b(imm);
      if (y !== x || pd < 0) storeV(e, w, dst, y);
      break;
    }
    case 'vmi':
      if (vex) {
        const r = inReg(e, w, 0, a);
        two(f.digit ?? 0, r, x);
      } else {
        if (w !== 4 || vreg(e, a) !== x) loadV(e, w, x, a);
        two(f.digit ?? 0, x, 0);
      }
      asm.b(imm);
      if (pd < 0) storeV(e, w, dst, 0);
      break;
    case 'cmp': {
      e.preFlags(fw);
      const r = inReg(e, w, 0, a);
      two(r, source(e, w, b, 1), 0);
      e.setFlags(fw);
      break;
    }
    case 'fma': {
      // c is dst (see NativeForm).
      if (pd < 0) loadV(e, w, 0, dst);
      const r = inReg(e, w, 1, a);
      two(x, source(e, w, b, 2), r);
      if (pd < 0) storeV(e, w, dst, 0);
      break;
    }
    case 'rvmr':
      if (vex) {
        const r = inReg(e, w, 0, a);
        loadV(e, w, 1, c);
        two(0, source(e, w, b, 2), r);
        asm.b(1 << 4);
        storeV(e, w, dst, 0);
      } else {
        loadV(e, w, 0, c);
        loadV(e, w, 1, a);
        two(1, source(e, w, b, 2), 0);
        storeV(e, w, dst, 1);
      }
      break;
    case 'gr': {
      if (pd < 0) loadV(e, 4, 0, dst);
      two(x, e.operand(a), 0);
      if (pd < 0) storeV(e, w === 3 ? 4 : w, dst, 0);
      break;
    }
    case 'gri':
    case 'rvg': {
      const g = e.operand(b);
      const r = vreg(e, a);
      if (r !== x) loadV(e, 4, x, a);
      two(x, g, x);
      if (f.form === 'gri') asm.b(imm);
      if (pd < 0) storeV(e, 4, dst, 0);
      break;
    }
    case 'mg':
    case 'mgi': {
      const r = inReg(e, w, 0, a);
      const t = e.destReg(3, dst, NONE, NONE);
      two(r, t, 0);
      if (f.form === 'mgi') asm.b(imm);
      e.endResult(3, dst, t);
      break;
    }
    case 'mri':
      // Never chosen (VopTable).
      throw new Error('x64 back end: form mri has no emitter');
    default: {
      // 'rg', 'rgi': result in a general register, 32 bits zero-extended or 64.
      const r = inReg(e, w, 0, a);
      const t = e.destReg(3, dst, NONE, NONE);
      two(t, r, 0);
      if (f.form === 'rgi') asm.b(imm);
      e.endResult(3, dst, t);
    }
  }
  e.vecTemp = NONE;
  if (w === 5) asm.vzeroupper();
}
