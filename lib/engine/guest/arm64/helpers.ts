/** The helpers of ARM64 instructions that are no vector operations. Names in helper-names.ts. */
import { HelperResult, type HelperFn, type HelperRegistry } from '../../helpers.js';
import { Access, NONE, Pending, Slot } from '../../state.js';
import { type Arm64Cpu, Sctlr } from './cpu.js';
import { HELPER_NAMES } from './helper-names.js';
import { A, Ec, Mmu, Mode, vreg } from './regs.js';
import { pmuAllowed } from './sysreg-debug.js';
import { SysAccess, Trap, sysreg } from './sysreg-table.js';
import { Acc } from './mmu.js';
import { crc32 } from './crc32.js';

type Fn = HelperFn<Arm64Cpu>;
const CONTINUE = HelperResult.CONTINUE;
const DISPATCH = HelperResult.DISPATCH;

/** ISS of a trapped MSR, MRS or system instruction (D17.2.37, EC 0x18). */
function sysregIss(word: number, rt: number, read: boolean): number {
  const op0 = (word >>> 14) & 3;
  const op1 = (word >>> 11) & 7;
  const crn = (word >>> 7) & 15;
  const crm = (word >>> 3) & 15;
  const op2 = word & 7;
  return (op0 << 20) | (op2 << 17) | (op1 << 14) | (crn << 10) | (rt << 5) | (crm << 1) | (read ? 1 : 0);
}

const undefinedInsn: Fn = (c, _d, _a, _b, _c, imm) => {
  c.logOnce(`undefined instruction ${(imm >>> 0).toString(16).padStart(8, '0')} (${c.mode & Mode.EL1 ? 'EL1' : 'EL0'})`);
  throw c.fault(Ec.UNKNOWN, 0);
};

const fpTrap: Fn = (c) => {
  // CV = 1, COND = 14.
  throw c.fault(Ec.FP_TRAP, (1 << 24) | (14 << 20));
};

/** The preferred return address of SVC, HVC and SMC is the next instruction. */
const svc: Fn = (c, _d, _a, _b, _c, imm) => {
  c.nextPc();
  c.debug.stepDone();
  c.takeSync(Ec.SVC64, imm, c.outLo, c.outHi);
  return DISPATCH;
};

const firmware: Fn = (c) => {
  c.setPcToNext();
  c.firmwareCall();
  return DISPATCH;
};

const brk: Fn = (c, _d, _a, _b, _c, imm) => {
  throw c.fault(Ec.BRK, imm);
};

/** HLT without halting debug is undefined. */
const hlt: Fn = (c, _d, _a, _b, _c, imm) => {
  c.logOnce(`HLT #${imm}: no semihosting`);
  throw c.fault(Ec.UNKNOWN, 0);
};

/** a: where to, NONE for ELR_EL1. */
const eret: Fn = (c, _d, a) => {
  c.eret(a === NONE ? A.ELR_EL1 : a);
  return DISPATCH;
};

const wfi: Fn = (c) => {
  if ((c.mode & Mode.EL1) === 0 && (c.sctlr & Sctlr.NTWI) === 0) throw c.fault(Ec.WFX, (1 << 24) | (14 << 20));
  c.setPcToNext();
  if (!c.intc.irq && !c.intc.fiq) c.halted = true;
  return DISPATCH;
};

/** WFE (imm 2) and YIELD (1): the CPUs take turns, so what is waited for happens when another one runs. */
const wfe: Fn = (c, _d, _a, _b, _c, imm) => {
  if (imm === 2 && (c.mode & Mode.EL1) === 0 && (c.sctlr & Sctlr.NTWE) === 0) throw c.fault(Ec.WFX, (1 << 24) | (14 << 20) | 1);
  c.setPcToNext();
  if (c.onPause()) c.V[Slot.PENDING * 2]! |= Pending.STOP;
  return DISPATCH;
};

/** At EL0: whether SCTLR_EL1 and CNTKCTL_EL1 let the access happen; traps otherwise. */
function checkEl0(c: Arm64Cpu, key: number, trap: Trap, free: boolean, rt: number, read: boolean): void {
  if (free || c.mode & Mode.EL1) return;
  let allowed = false;
  switch (trap) {
    case Trap.UCT:
      allowed = (c.sctlr & Sctlr.UCT) !== 0;
      break;
    case Trap.UMA:
      allowed = (c.sctlr & Sctlr.UMA) !== 0;
      break;
    case Trap.CNT: {
      const k = c.V[A.CNTKCTL_EL1 * 2]!;
      const crm = (key >>> 3) & 15;
      const op2 = key & 7;
      if (crm === 0) allowed = op2 === 1 ? (k & 1) !== 0 : op2 === 2 ? (k & 2) !== 0 : (k & 3) !== 0;
      else allowed = (k & (crm === 2 ? 0x200 : 0x100)) !== 0;
      break;
    }
    case Trap.PMU:
      allowed = pmuAllowed(c, key, read);
      break;
    default:
      break;
  }
  if (!allowed) throw c.fault(Ec.SYSREG, sysregIss(key, rt, read));
}

const mrs: Fn = (c, d, _a, _b, _c, imm) => {
  const key = imm & 0xffff;
  const r = sysreg(key)!;
  checkEl0(c, key, r.trap, (r.el0 & SysAccess.FREE) !== 0, imm >>> 16, true);
  const V = c.V;
  if (r.slot !== NONE) {
    c.outLo = V[r.slot * 2]!;
    c.outHi = V[r.slot * 2 + 1]!;
  } else if (r.read !== null) r.read(c);
  else c.undefinedInstruction();
  V[d * 2] = c.outLo;
  V[d * 2 + 1] = c.outHi;
  return CONTINUE;
};

const msr: Fn = (c, _d, a, _b, _c, imm) => {
  const key = imm & 0xffff;
  const r = sysreg(key)!;
  checkEl0(c, key, r.trap, (r.el0 & SysAccess.FREE) !== 0, imm >>> 16, false);
  const lo = c.V[a * 2]!;
  const hi = c.V[a * 2 + 1]!;
  c.setPcToNext();
  if (r.write !== null) r.write(c, lo, hi);
  else if (r.slot !== NONE) c.setSlot(r.slot, lo, hi);
  else c.undefinedInstruction();
  return DISPATCH;
};

/** DAIFSet and DAIFClr at EL0: imm = instruction. */
const sysregTrap: Fn = (c, _d, _a, _b, _c, word) => {
  if ((c.sctlr & Sctlr.UMA) === 0) throw c.fault(Ec.SYSREG, sysregIss((word >>> 5) & 0xffff, 31, false));
  const bits = ((word >>> 8) & 15) << 6;
  const V = c.V;
  c.setPcToNext();
  c.setDaif(((word >>> 5) & 7) === 7 ? V[A.DAIF * 2]! & ~bits : V[A.DAIF * 2]! | bits);
  return DISPATCH;
};

const msrSpsel: Fn = (c, _d, a) => {
  c.setPcToNext();
  c.setSpsel(c.V[a * 2]! & 1);
  return DISPATCH;
};

const msrPan: Fn = (c, _d, a) => {
  c.setPcToNext();
  c.setPan((c.V[a * 2]! & 1) !== 0);
  return DISPATCH;
};

const msrUao: Fn = (c, _d, a) => {
  c.setPcToNext();
  c.setUao((c.V[a * 2]! & 1) !== 0);
  return DISPATCH;
};

const dcZva: Fn = (c, _d, a, _b, _c, word) => {
  if (!c.zvaAllowed()) throw c.fault(Ec.SYSREG, sysregIss((word >>> 5) & 0xffff, word & 31, false));
  const V = c.V;
  c.mmu.zero(V[a * 2]! & ~63, V[a * 2 + 1]!, 64);
  return CONTINUE;
};

/** Cache and TLB maintenance and address translation (C5.3, C5.5): a = Xt, imm = the instruction. */
const sys: Fn = (c, _d, a, _b, _c, word) => {
  const op1 = (word >>> 16) & 7;
  const crn = (word >>> 12) & 15;
  const crm = (word >>> 8) & 15;
  const op2 = (word >>> 5) & 7;
  const lo = c.V[a * 2]!;
  const hi = c.V[a * 2 + 1]!;
  const el1 = (c.mode & Mode.EL1) !== 0;
  if (crn === 7 && op1 === 3) {
    // IC IVAU, DC CVAC, CVAU, CIVAC: SCTLR_EL1.UCI lets EL0 use them. Caches are coherent; only the address is checked.
    const known = (crm === 5 && op2 === 1) || (crm === 10 && op2 === 1) || (crm === 11 && op2 === 1) || (crm === 14 && op2 === 1);
    if (!known) return undefinedInsn(c, NONE, a, NONE, NONE, word);
    if (!el1 && (c.sctlr & Sctlr.UCI) === 0) throw c.fault(Ec.SYSREG, sysregIss((word >>> 5) & 0xffff, word & 31, false));
    if (!el1) touch(c, lo, hi);
    c.setPcToNext();
    return DISPATCH;
  }
  if (!el1) return undefinedInsn(c, NONE, a, NONE, NONE, word);
  if (crn === 7 && op1 === 0) {
    // IC IALLUIS, IALLU, DC IVAC, ISW, CSW, CISW; AT.
    if (crm === 8 || (crm === 9 && op2 < 2)) {
      addressTranslate(c, lo, hi, crm === 8 ? op2 : op2 + 8);
    } else if (!((crm === 1 && op2 === 0) || (crm === 5 && op2 === 0) || (crm === 6 && (op2 === 1 || op2 === 2)) || (crm === 10 && op2 === 2) || (crm === 14 && op2 === 2))) {
      return undefinedInsn(c, NONE, a, NONE, NONE, word);
    }
    c.setPcToNext();
    return DISPATCH;
  }
  return undefinedInsn(c, NONE, a, NONE, NONE, word);
};

/** Cache maintenance by address faults as a read would, with ISS.CM and WnR set. */
function touch(c: Arm64Cpu, lo: number, hi: number): void {
  c.cacheMaintenance = 0x140;
  try {
    c.mmu.translate(lo, hi, Acc.READ, c.mmuIdx);
  } finally {
    c.cacheMaintenance = 0;
  }
}

/** TLBI at EL1 by op2 (see TLBI_OPS): 0 VMALLE1, 1 VAE1, 2 ASIDE1, 3 VAAE1, 5 VALE1, 7 VAALE1; inner shareable ones (CRm 3) reach every CPU. a = Xt, imm = the instruction. */
const tlbi: Fn = (c, _d, a, _b, _c, word) => {
  const op2 = (word >>> 5) & 7;
  const lo = c.V[a * 2]!;
  const hi = c.V[a * 2 + 1]!;
  // Bits 43..0 of the operand are bits 55..12 of the address.
  const vaLo = lo << 12;
  const vaHi = (((hi << 12) | (lo >>> 20)) << 8) >> 8;
  if (((word >>> 8) & 15) !== 3) flush(c, op2, vaLo, vaHi);
  else for (const t of c.peers) flush(t, op2, vaLo, vaHi);
  // Jumps within a page do not ask where it is: code that may itself be elsewhere now is looked up.
  if ((op2 & 1) !== 0 && vaLo !== (c.V[Slot.PCBASE * 2]! & ~0xfff)) return CONTINUE;
  c.setPcToNext();
  return DISPATCH;
};

function flush(c: Arm64Cpu, op2: number, lo: number, hi: number): void {
  if (op2 === 0) c.mmu.flushAll();
  else if (op2 === 2) c.mmu.flushNonGlobal();
  else c.mmu.flushPage(lo, hi, op2 >= 5);
}

/** AT S1E1R, S1E1W, S1E0R, S1E0W (0..3), S1E1RP, S1E1WP (8, 9): PAR_EL1 has the outcome. */
function addressTranslate(c: Arm64Cpu, lo: number, hi: number, op: number): void {
  if (op > 3 && op < 8) c.undefinedInstruction();
  const write = (op & 1) !== 0;
  const idx = op === 2 || op === 3 ? Mmu.EL0 : op >= 8 && c.pan ? Mmu.EL1_PAN : Mmu.EL1;
  try {
    const pa = c.mmu.translate(lo, hi, write ? Acc.WRITE : Acc.READ, idx);
    const page = pa - (pa % 4096);
    // Attributes: Normal write-back, inner shareable; bit 11 is RES1.
    c.setSlot(A.PAR_EL1, (page | 0x980) | 0, (Math.floor(page / 0x1_0000_0000) & 0xf_ffff) | 0xff00_0000);
  } catch (e) {
    if (!c.isFault(e)) throw e;
    const fsc = (e as { errorCode: number }).errorCode & 0x3f;
    c.setSlot(A.PAR_EL1, 1 | (fsc << 1) | 0x800, 0);
  }
}

/** XPACI, XPACD (imm 1): d = a without the code. */
const xpac: Fn = (c, d, a, _b, _c, data) => {
  const V = c.V;
  const lo = V[a * 2]!;
  const hi = V[a * 2 + 1]!;
  const upper = (hi & 0x80_0000) !== 0;
  c.pauth.field(upper, data !== 0);
  V[d * 2] = upper ? lo | c.outLo : lo & ~c.outLo;
  V[d * 2 + 1] = upper ? hi | c.outHi : hi & ~c.outHi;
  return CONTINUE;
};

const crc: Fn = (c, d, a, b, _c, imm) => {
  const V = c.V;
  V[d * 2] = crc32(V[a * 2]!, V[b * 2]!, V[b * 2 + 1]!, 1 << imm);
  V[d * 2 + 1] = 0;
  return CONTINUE;
};

const ADDRESS = Slot.HELPER_SCRATCH;
const VALUE = Slot.HELPER_SCRATCH + 1;
/** Elements of up to four registers on their way. */
const structure = new Uint8Array(64);

/** LD2..LD4, ST2..ST4 (multiple structures): a = base; imm = first register | element size << 5 | Q << 7 | registers << 8. */
function interleaved(c: Arm64Cpu, a: number, imm: number, isLoad: boolean): void {
  const { V, U8 } = c;
  const es = (imm >> 5) & 3;
  const bytes = imm & 0x80 ? 16 : 8;
  const regs = imm >> 8;
  const at = (k: number, i: number): number => vreg((imm + k) & 31) * 8 + (i << es);
  const size = 1 << es;
  let lo = V[a * 2]!;
  let hi = V[a * 2 + 1]!;
  for (let i = 0; i < bytes >> es; i++) {
    for (let k = 0; k < regs; k++) {
      V[ADDRESS * 2] = lo;
      V[ADDRESS * 2 + 1] = hi;
      if (isLoad) {
        c.load(es, ADDRESS, VALUE, Access.NORMAL);
        for (let b = 0; b < size; b++) structure[k * 16 + (i << es) + b] = U8[VALUE * 8 + b]!;
      } else {
        for (let b = 0; b < size; b++) U8[VALUE * 8 + b] = U8[at(k, i) + b]!;
        c.store(es, ADDRESS, VALUE, Access.NORMAL);
      }
      const next = (lo + size) | 0;
      if ((next >>> 0) < (lo >>> 0)) hi = (hi + 1) | 0;
      lo = next;
    }
  }
  if (!isLoad) return;
  // All loads have succeeded.
  for (let k = 0; k < regs; k++) {
    for (let b = 0; b < bytes; b++) U8[at(k, 0) + b] = structure[k * 16 + b]!;
    if (bytes === 8) U8.fill(0, at(k, 0) + 8, at(k, 0) + 16);
  }
}

const ldMultiple: Fn = (c, _d, a, _b, _c, imm) => {
  interleaved(c, a, imm, true);
  return CONTINUE;
};
const stMultiple: Fn = (c, _d, a, _b, _c, imm) => {
  interleaved(c, a, imm, false);
  return CONTINUE;
};

const denied: Fn = (c) => c.undefinedInstruction();

const FUNCTIONS: readonly Fn[] = [
  undefinedInsn, fpTrap, svc, firmware, firmware, brk, hlt, eret, wfi, wfe, mrs, msr, sys, sysregTrap, msrSpsel, msrPan, msrUao, dcZva, crc, ldMultiple, stMultiple, denied, tlbi, xpac,
];

export function registerHelpers(r: HelperRegistry<Arm64Cpu>): void {
  HELPER_NAMES.forEach((name, i) => r.define(name, FUNCTIONS[i]!));
}
