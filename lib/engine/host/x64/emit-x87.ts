/**
 * x87 on x87 (docs/adr/0011-x87-on-x87.md). While generated code runs, the host's FPU may hold the guest's x87 state: registers, TOP, tags,
 * control and status word. Guest instructions are then the same host instructions. Slot X_FPU tells at run time who has the state,
 * `Emitter.fpu` what is known of it at a point of a block. The state goes back to its slots whenever generated code is left (stubs.ts),
 * so TypeScript, which may itself use the FPU, finds it there.
 *
 * Only code with all x87 exceptions masked comes here, so nothing in this file can fault but memory operands.
 * FOP, FIP and FDP stay in slots: FDP is stored with each memory operand, the other two when somebody could look (`flushFip`).
 *
 * Instructions: Intel SDM vol. 2; image of the environment: vol. 1, figure 8-9.
 */
import { type X87Native, X87Kind } from '../../helpers.js';
import { F } from '../../ir/ops.js';
import { Cc, Fl, NONE, Slot, X87_STRIDE } from '../../state.js';
import { Alu, type Asm, NO_INDEX, R, mem } from './asm.js';
import { type Emitter, Fpu } from './emitter.js';
import { CF, Cold, addCold, emitProbe, probe } from './emit-mem.js';

/** Fields of the 32-bit protected-mode environment image. */
const ENV_FCW = mem(Slot.X_FPU_ENV);
const ENV_FSW = ENV_FCW + 4;
const ENV_TAGS = ENV_FCW + 8;
const FCW = mem(Slot.FPU);
const FSW = FCW + 2;
/** Abridged tags, one byte; FOP is in the upper half of the word. */
const TAGS = FCW + 4;
const LIVE = mem(Slot.X_FPU);
const NATIVE_FCW = mem(Slot.X_NATIVE_FCW);
/** Lower bit of each of the eight pairs of the full tag word. */
const PAIRS = 0x5555;
const TOP_MASK = 0x3800;
const register = (r: number): number => mem(Slot.X87 + r * X87_STRIDE);

/** x87 instruction with a memory operand in the state region. */
function fpuState(asm: Asm, opcode: number, digit: number, at: number): void {
  asm.opd(2, opcode, digit, at);
}

/** pdep/pext eax, eax, ecx: VEX.LZ.F2/F3.0F38.W0 F5. */
function bits(asm: Asm, pp: number): void {
  asm.vex(pp, 2, 0, 0, 0xf5, R.RAX, R.RAX, R.RCX);
}

/** Body of the stub `fpuLoad`. */
export function emitFpuLoad(asm: Asm): void {
  asm.push(R.RAX);
  asm.push(R.RCX);
  fpuState(asm, 0xd9, 7, NATIVE_FCW); // fnstcw
  asm.b(0xdb);
  asm.b(0xe3); // fninit
  // TOP = 0 now, so the eighth push ends in R0.
  for (let r = 7; r >= 0; r--) fpuState(asm, 0xdb, 5, register(r));
  asm.movzx(1, R.RAX, FCW);
  asm.store(2, ENV_FCW, R.RAX);
  asm.movzx(1, R.RAX, FSW);
  asm.store(2, ENV_FSW, R.RAX);
  // Full tags: 3 = empty; of the others the processor finds out itself.
  asm.movzx(0, R.RAX, TAGS);
  asm.movi(2, R.RCX, PAIRS);
  bits(asm, 3); // pdep
  asm.alu(2, Alu.XOR, R.RAX, R.RCX);
  asm.lea(2, R.RAX, R.RAX, R.RAX, 1, 0);
  asm.store(2, ENV_TAGS, R.RAX);
  asm.movi(2, ENV_TAGS + 4, 0);
  asm.movi(3, ENV_TAGS + 8, 0);
  asm.movi(2, ENV_TAGS + 16, 0);
  fpuState(asm, 0xd9, 4, ENV_FCW); // fldenv
  asm.movi(0, LIVE, 1);
  asm.pop(R.RCX);
  asm.pop(R.RAX);
  asm.ret();
}

/** Body of the stub `fpuSave`: leaves an empty FPU with the native caller's control word. */
export function emitFpuSave(asm: Asm): void {
  asm.push(R.RAX);
  asm.push(R.RCX);
  fpuState(asm, 0xd9, 6, ENV_FCW); // fnstenv
  asm.movzx(1, R.RAX, ENV_FCW);
  asm.store(1, FCW, R.RAX);
  asm.movzx(1, R.RAX, ENV_FSW);
  asm.store(1, FSW, R.RAX);
  asm.movzx(1, R.RAX, ENV_TAGS);
  asm.movrr(2, R.RCX, R.RAX);
  asm.shi(2, 5, R.RCX, 1);
  asm.alu(2, Alu.AND, R.RAX, R.RCX);
  asm.movi(2, R.RCX, PAIRS);
  bits(asm, 2); // pext: 1 = empty
  asm.alui(2, Alu.XOR, R.RAX, 0xff);
  asm.store(0, TAGS, R.RAX);
  // TOP = 0 and all valid: eight pops store R0 to R7.
  asm.load(2, R.RAX, NATIVE_FCW);
  asm.store(2, ENV_FCW, R.RAX);
  asm.movi(2, ENV_FSW, 0);
  asm.movi(2, ENV_TAGS, 0);
  fpuState(asm, 0xd9, 4, ENV_FCW); // fldenv
  for (let r = 0; r < 8; r++) fpuState(asm, 0xdb, 7, register(r));
  asm.movi(0, LIVE, 0);
  asm.pop(R.RCX);
  asm.pop(R.RAX);
  asm.ret();
}

// ---- instruction pointers

/** Stores FIP and FOP of the instruction `fip` (see Emitter.fip) through register t. Leaves host flags alone unless there is a base. */
function storeFip(e: Emitter, fip: number, t: number): void {
  const asm = e.asm;
  asm.load(3, t, mem(Slot.PCBASE));
  if (e.fipBase === NONE) {
    asm.lea(3, t, t, NO_INDEX, 0, fip & 0xfff);
  } else {
    asm.alui(2, Alu.ADD, t, fip & 0xfff);
    asm.alu(2, Alu.SUB, t, mem(e.fipBase));
  }
  asm.store(3, mem(Slot.FPU_IP), t);
  // The tags beside FOP are stale anyway while the FPU has the state.
  asm.movi(2, TAGS, (fip >>> 12) << 16);
}

/** Makes FIP and FOP in their slots those of the last x87 instruction. Clobbers host flags only outside flat code segments. */
export function flushFip(e: Emitter): void {
  if (e.fip < 0) return;
  const locked = e.lock;
  if (e.fipBase !== NONE) {
    e.save(Fl.ALL);
    e.hostF = 0;
  }
  storeFip(e, e.fip, e.tmp());
  e.lock = locked;
  e.fip = -1;
}

/** The same in a cold path that is about to yield. */
export function coldFip(e: Emitter, fip: number): void {
  if (fip < 0) return;
  e.asm.push(R.RAX);
  storeFip(e, fip, R.RAX);
  e.asm.pop(R.RAX);
}

// ---- instructions

/** Makes sure that the FPU has the guest's x87 state. Clobbers host flags if that is not known. */
function ensureLive(e: Emitter, insn: number): void {
  if (e.fpu === Fpu.HOST) return;
  e.save(Fl.ALL);
  e.hostF = 0;
  e.asm.alui(0, Alu.CMP, LIVE, 0);
  const q = addCold(e, Cold.FPU_LOAD, e.asm.jccLater(Cc.E), insn, 0, 0, 0, 0);
  e.cold[q + CF.BACK] = e.asm.p;
  e.fpu = Fpu.HOST;
}

/** Makes sure that the slots have it. */
function ensureSaved(e: Emitter, insn: number): void {
  if (e.fpu === Fpu.SLOTS) return;
  e.save(Fl.ALL);
  e.hostF = 0;
  e.asm.alui(0, Alu.CMP, LIVE, 0);
  const q = addCold(e, Cold.FPU_SAVE, e.asm.jccLater(Cc.NE), insn, 0, 0, 0, 0);
  e.cold[q + CF.BACK] = e.asm.p;
  e.fpu = Fpu.SLOTS;
}

/** Flags that FCMOVcc tests, by the lower two bits of its condition. */
const MOVE_IF_FLAGS: readonly number[] = [Fl.CF, Fl.ZF, Fl.CF | Fl.ZF, Fl.PF];

/** A CALL of an x87 helper, carried out by the FPU. */
export function emitX87(e: Emitter, p: number, f: X87Native, mmuIdx: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const imm = ir[p + F.IMM]!;
  const insn = ir[p + F.INSN]!;
  const dst = ir[p + F.DST]!;
  const kind = f.kind;
  if (kind === X87Kind.MMX || kind === X87Kind.EMMS) {
    flushFip(e);
    ensureSaved(e, insn);
    e.save(Fl.ALL);
    e.hostF = 0;
    asm.alui(2, Alu.AND, FCW, ~(TOP_MASK << 16));
    asm.movi(0, TAGS, kind === X87Kind.MMX ? 0xff : 0);
    if (kind === X87Kind.MMX && imm >= 0) asm.movi(2, register(imm) + 8, 0xffff);
    return;
  }
  ensureLive(e, insn);
  const fop = (imm >>> 16) & 0x7ff;
  const opcode = 0xd8 | (fop >>> 8);
  switch (kind) {
    case X87Kind.MOVE_IF:
      e.ensureHost(MOVE_IF_FLAGS[(imm >> 4) & 3]!);
      asm.b(opcode);
      asm.b(fop & 0xff);
      break;
    case X87Kind.COMPARE:
      asm.b(opcode);
      asm.b(fop & 0xff);
      e.setFlags(Fl.ALL);
      break;
    case X87Kind.REG:
      asm.b(opcode);
      asm.b(fop & 0xff);
      break;
    case X87Kind.READ:
    case X87Kind.WRITE:
      memoryOperand(e, p, f, mmuIdx, opcode, (fop >> 3) & 7);
      break;
    case X87Kind.STCW: {
      fpuState(asm, 0xd9, 7, mem(Slot.X_SCRATCH));
      const t = e.destReg(3, dst, NONE, NONE);
      asm.movzx(1, t, mem(Slot.X_SCRATCH));
      e.endResult(3, dst, t);
      return;
    }
    case X87Kind.STSW:
      e.claim(R.RAX);
      asm.b(0xdf);
      asm.b(0xe0);
      asm.movzx(1, R.RAX, R.RAX);
      e.endResult(3, dst, R.RAX);
      return;
    case X87Kind.LDCW:
      loadControl(e, p, insn);
      return;
    case X87Kind.CLEX:
      asm.b(0xdb);
      asm.b(0xe2);
      return;
    default:
      asm.b(0xdb);
      asm.b(0xe3);
      asm.movi(2, TAGS, 0);
      asm.movi(3, mem(Slot.FPU_IP), 0);
      asm.movi(3, mem(Slot.FPU_DP), 0);
      e.fip = -1;
      return;
  }
  e.fip = (insn & 0xfff) | (fop << 12);
  e.fipBase = ir[p + F.B]!;
}

/** The operand's host address is found as for any access; whatever is out of the ordinary is the helper's business. */
function memoryOperand(e: Emitter, p: number, f: X87Native, mmuIdx: number, opcode: number, digit: number): void {
  const ir = e.ir;
  const asm = e.asm;
  const a = ir[p + F.A]!;
  const off = ir[p + F.C]!;
  e.save(Fl.ALL);
  // The offset's register, if it has one of its own, must survive the probe.
  const ro = e.regOf(off);
  if (ro >= 0) e.operand(off);
  emitProbe(e, mmuIdx, a, f.bytes, f.kind === X87Kind.WRITE, false);
  const scratch = ro >= 0 && off !== a && off >= Slot.TEMP;
  const q = addCold(e, Cold.X87, probe.jump, ir[p + F.INSN]!, p, probe.addr, scratch ? ro : -1, 0);
  let r = off === a ? probe.addr : ro;
  if (r < 0) e.movTo((r = probe.free), off, 3);
  asm.store(3, mem(Slot.FPU_DP), r);
  asm.opm(2, opcode, digit, probe.addend, probe.addr, 0, 0);
  e.cold[q + CF.BACK] = asm.p;
}

/** FLDCW of a word that masks all exceptions; any other changes the mode. */
function loadControl(e: Emitter, p: number, insn: number): void {
  const asm = e.asm;
  const a = e.ir[p + F.A]!;
  e.save(Fl.ALL);
  e.hostF = 0;
  const r = e.src(a, 2);
  const t = e.tmp();
  asm.movrr(2, t, r);
  asm.opd(2, 0xf7, 2, t); // not
  asm.testi(0, t, 0x3f);
  const q = addCold(e, Cold.X87, asm.jccLater(Cc.NE), insn, p, r, -1, 0);
  asm.store(1, mem(Slot.X_SCRATCH), r);
  fpuState(asm, 0xd9, 5, mem(Slot.X_SCRATCH));
  e.cold[q + CF.BACK] = asm.p;
}
