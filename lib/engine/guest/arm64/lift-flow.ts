/** Branches, exceptions, hints, barriers and system instructions (Arm ARM, C4.1.87). */
import { Op } from '../../ir/ops.js';
import { NONE, Slot } from '../../state.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { code, pauthHint } from './lift-pauth.js';
import { A, BTYPE_BY_PAGE, Ec, Mode, mmuIndexOf, Ps } from './regs.js';
import { DCZID, SysAccess, sysreg, sysregKey } from './sysreg-table.js';
import { row, type Row } from './table.js';

/** B, BL. */
function b(c: LiftContext): void {
  if (c.arg === 1) c.lea(3, A.X30, Slot.PCBASE, c.next);
  c.b.jmp(c.start + (c.sbits(0, 26) << 2), c.arg === 1 ? 1 : 0);
}

function bCond(c: LiftContext): void {
  const target = c.start + (c.sbits(5, 19) << 2);
  const cond = c.bits(0, 4);
  if (cond >= 14) c.b.jmp(target);
  else c.b.jcc(c.cc(cond), target, c.next);
}

/** CBZ, CBNZ. */
function cbz(c: LiftContext): void {
  const target = c.start + (c.sbits(5, 19) << 2);
  if (c.arg === 1) c.b.jnz(c.w, c.x(c.rd), target, c.next);
  else c.b.jnz(c.w, c.x(c.rd), c.next, target);
}

/** TBZ, TBNZ. */
function tbz(c: LiftContext): void {
  const target = c.start + (c.sbits(5, 14) << 2);
  const bit = ((c.i >>> 31) << 5) | c.bits(19, 5);
  const ir = c.b;
  const t = ir.temp();
  const w = bit < 32 ? 2 : 3;
  const mask = bit < 32 ? ir.k(1 << bit) : ir.k64(0, 1 << (bit - 32));
  ir.alu(Op.AND, w, t, c.x(c.rd), mask);
  if (c.arg === 1) ir.jnz(w, t, target, c.next);
  else ir.jnz(w, t, c.next, target);
}

/** BR, BLR, RET: arg is the hint. */
function br(c: LiftContext): void {
  branch(c, c.x(c.rn), c.arg);
}

/** Goes to the address in slot `target`: hint 0 jump, 1 call, 2 return. */
function branch(c: LiftContext, target: number, hint: number): void {
  const ir = c.b;
  if (hint === 1) {
    if (target === A.X30) {
      target = ir.temp();
      ir.mov(3, target, A.X30);
    }
    c.lea(3, A.X30, Slot.PCBASE, c.next);
  }
  if ((c.mode & Mode.BTI) !== 0 && hint !== 2) setBtype(c, hint === 1);
  ir.jmpi(target, hint);
}

/** PSTATE.BTYPE for BR and BLR: 2 after a call, 1 after a jump by X16 or X17 (trampolines of linkers), otherwise by the branch's page. */
function setBtype(c: LiftContext, call: boolean): void {
  const ir = c.b;
  const linked = c.rn === 16 || c.rn === 17;
  const landing = call || linked ? Mode.LANDING_C : Mode.LANDING_J;
  ir.mov(3, A.BTYPE, c.k(call ? 2 : linked ? 1 : BTYPE_BY_PAGE));
  if ((c.mode & Mode.STEP) === 0) return enterMode(c, c.mode | landing);
  // One instruction alone: the CPU itself may not be in that mode.
  const mode = ir.temp();
  ir.alu(Op.OR, 2, mode, Slot.MODE, c.k(landing));
  ir.setModeFrom(mode, mmuIndexOf(landing));
}

/** BRAA, BLRAA, RETAA and those with key B or without a modifier: arg is the hint, bit 2 set for a modifier. */
function brAuthenticated(c: LiftContext): void {
  if (!c.model.pauth) return c.undefined();
  const target = c.temp();
  const hint = c.arg & 3;
  if (hint === 2) code(c, c.bits(10, 1), target, A.X30, A.SP, false);
  else code(c, c.bits(10, 1), target, c.x(c.rn), c.arg & 4 ? c.xsp(c.rd) : c.k(0), false);
  branch(c, target, hint);
}

function eret(c: LiftContext): void {
  if (!c.el1) return c.undefined();
  if ((c.mode & (Mode.STEP | Mode.SPSEL)) !== Mode.SPSEL) c.callEnd(H.ERET);
  else eretToEl0(c);
}

/** ERETAA, ERETAB. */
function eretAuthenticated(c: LiftContext): void {
  if (!c.model.pauth || !c.el1) return c.undefined();
  const target = c.temp();
  code(c, c.bits(10, 1), target, A.ELR_EL1, A.SP, false);
  c.callEnd(H.ERET, NONE, target);
}

/** Modes between which SVC and ERET go inline have these bits in common. */
const COMMON = Mode.ALIGN | Mode.FP_SLOW | Mode.PAC_TOP;

/** ERET to EL0; the helper does returns to EL1 and illegal ones. */
function eretToEl0(c: LiftContext): void {
  const ir = c.b;
  const [m, rare] = [ir.temp(), ir.temp()];
  ir.alu(Op.AND, 2, m, A.SPSR_EL1, c.k(0x1f | Ps.IL | Ps.SS | Ps.BTYPE));
  ir.alu(Op.OR, 2, rare, m, A.SLOW_TRAP);
  ir.callIf(c.helper(H.ERET), 2, rare, NONE);
  ir.mov(3, A.EXCL_ADDR, c.k(-1));
  putNzcv(c, ir.temp(), A.SPSR_EL1);
  ir.alu(Op.AND, 2, A.DAIF, A.SPSR_EL1, c.k(Ps.DAIF));
  ir.alu(Op.AND, 2, A.PAN_UAO, A.SPSR_EL1, c.k(Ps.PAN | Ps.UAO));
  ir.mov(3, A.SP_EL1, A.SP);
  ir.mov(3, A.SP, A.SP_EL0);
  ir.alu(Op.OR, 0, Slot.PENDING, Slot.PENDING, A.IRQ_LINE);
  enterLevel(c, c.mode & COMMON, A.BTI_EL0);
  ir.jmpi(A.ELR_EL1, 0);
}

/** SVC at EL0 (D1.3.1). */
function svcFromEl0(c: LiftContext): void {
  const ir = c.b;
  const imm = c.bits(5, 16);
  ir.callIf(c.helper(H.SVC), 2, A.SLOW_TRAP, NONE, imm);
  const [masks, pstate, target] = [ir.temp(), ir.temp(), ir.temp()];
  ir.alu(Op.OR, 2, masks, A.DAIF, A.PAN_UAO);
  ir.alu(Op.OR, 2, pstate, masks, getNzcv(c));
  ir.mov(3, A.SPSR_EL1, pstate);
  ir.mov(3, A.ESR_EL1, ir.k64((Ec.SVC64 << 26) | (1 << 25) | imm, 0));
  c.lea(3, A.ELR_EL1, Slot.PCBASE, c.next);
  ir.mov(3, A.SP_EL0, A.SP);
  ir.mov(3, A.SP, A.SP_EL1);
  ir.mov(3, A.DAIF, c.k(Ps.DAIF));
  ir.mov(3, A.PAN_UAO, c.k(Ps.PAN));
  c.lea(3, target, A.VBAR_EL1, 0x400);
  enterLevel(c, (c.mode & COMMON) | Mode.EL1 | Mode.SPSEL | Mode.PAN, A.BTI_EL1);
  ir.jmpi(target, 0);
}

/** The mode of another exception level; slot `bti` says whether branches are looked at there. */
function enterLevel(c: LiftContext, mode: number, bti: number): void {
  if (!c.model.bti) return enterMode(c, mode);
  const m = c.temp();
  c.b.alu(Op.OR, 2, m, bti, c.k(mode));
  c.b.setModeFrom(m, mmuIndexOf(mode));
}

function enterMode(c: LiftContext, mode: number): void {
  c.b.setMode(mode, mmuIndexOf(mode));
}

/** SVC, HVC, SMC, BRK, HLT. */
function exception(c: LiftContext): void {
  const h = c.arg as H;
  if ((h === H.HVC || h === H.SMC) && !c.el1) return c.undefined();
  if (h === H.SVC && !c.el1 && (c.mode & Mode.STEP) === 0) return svcFromEl0(c);
  c.callEnd(h, NONE, NONE, NONE, NONE, c.bits(5, 16));
}

function nop(): void {
  // Hints that are not implemented, barriers, prefetches: nothing to do on a machine whose CPUs take turns.
}

/** Hints: YIELD, WFE, WFI, pointer authentication, and those that do nothing. */
function hint(c: LiftContext): void {
  const n = c.bits(5, 7);
  if (n === 7 || n === 8 || n === 10 || n === 12 || n === 14 || (n >= 24 && n <= 31)) pauthHint(c, n);
  else if (n === 3) c.callEnd(H.WFI);
  else if (n === 2 || n === 1) c.callEnd(H.WFE, NONE, NONE, NONE, NONE, n);
}

function clrex(c: LiftContext): void {
  c.b.mov(3, A.EXCL_ADDR, c.k(-1));
}

/** ISB: interrupts that have become possible are taken. */
function isb(c: LiftContext): void {
  c.b.jmp(c.next);
}

/** MSR (immediate). */
function msrImm(c: LiftContext): void {
  const op = (c.bits(16, 3) << 3) | c.bits(5, 3);
  const crm = c.bits(8, 4);
  switch (op) {
    case 0b011_110:
    case 0b011_111:
      // DAIFSet, DAIFClr. At EL0 SCTLR_EL1.UMA decides.
      if (!c.el1) return c.callEnd(H.SYSREG_TRAP, NONE, NONE, NONE, NONE, c.i);
      setDaif(c, crm << 6, op === 0b011_111);
      return;
    case 0b000_101:
      if (!c.el1) return c.undefined();
      c.callEnd(H.MSR_SPSEL, NONE, c.k(crm));
      return;
    case 0b000_100:
      if (!c.el1) return c.undefined();
      c.callEnd(H.MSR_PAN, NONE, c.k(crm));
      return;
    case 0b000_011:
      if (!c.el1) return c.undefined();
      c.callEnd(H.MSR_UAO, NONE, c.k(crm));
      return;
    default:
      c.undefined();
  }
}

/** PSTATE.DAIF changes; when something is unmasked, interrupts waiting are noticed. */
function setDaif(c: LiftContext, bits: number, clear: boolean): void {
  const ir = c.b;
  if (!clear) {
    ir.alu(Op.OR, 3, A.DAIF, A.DAIF, c.k(bits));
    return;
  }
  ir.alu(Op.AND, 3, A.DAIF, A.DAIF, c.k(~bits));
  ir.alu(Op.OR, 0, Slot.PENDING, Slot.PENDING, A.IRQ_LINE);
  c.dispatchNext();
}

/** NZCV as MRS shows it, from flags at EFLAGS positions. */
function getNzcv(c: LiftContext): number {
  const ir = c.b;
  const f = ir.temp();
  ir.emit(Op.GETF, 0, 0, 0, f, NONE, NONE, NONE, 0, 0);
  let r = c.k(0);
  // EFLAGS: CF 0, ZF 6, SF 7, OF 11; NZCV: 31..28, C inverted.
  for (const [from, to] of [[7, 31], [6, 30], [0, 29], [11, 28]] as const) {
    const t = ir.temp();
    const u = ir.temp();
    const s = ir.temp();
    ir.alu(Op.AND, 2, t, f, c.k(1 << from));
    ir.alu(Op.SHL, 2, u, t, c.k(to - from));
    ir.alu(Op.OR, 2, s, r, u);
    r = s;
  }
  const t = ir.temp();
  ir.alu(Op.XOR, 2, t, r, c.k(0x2000_0000));
  return t;
}

/** MRS, MSR (register). */
function mrs(c: LiftContext): void {
  const key = sysregKey(c.i);
  const r = sysreg(key);
  if (r === null || (r.feature !== null && !c.model[r.feature])) return c.undefined();
  const write = c.arg === 1;
  const need = write ? SysAccess.WRITE : SysAccess.READ;
  const rights = c.el1 ? r.el1 : r.el0;
  if ((rights & need) === 0) {
    // Undefined like any other, but not for want of an implementation: nothing to log (Linux emulates reads of ID registers at EL0).
    c.callEnd(H.DENIED);
    return;
  }
  if (r.fp && !c.fp()) return;
  const ir = c.b;
  if (r.name === 'NZCV') {
    if (!write) ir.mov(3, c.dst(c.rd), getNzcv(c));
    else {
      const t = ir.temp();
      putNzcv(c, t, c.x(c.rd));
    }
    return;
  }
  if (r.name === 'SP_EL0' && (c.mode & Mode.SPSEL) === 0) return c.undefined();
  if (r.name === 'DAIF' && c.el1 && write) {
    ir.alu(Op.AND, 3, A.DAIF, c.x(c.rd), c.k(0x3c0));
    ir.alu(Op.OR, 0, Slot.PENDING, Slot.PENDING, A.IRQ_LINE);
    c.dispatchNext();
    return;
  }
  if (r.slot !== NONE && (!write || !r.slowWrite) && (c.el1 || r.el0 & SysAccess.FREE)) {
    if (write) ir.mov(3, r.slot, c.x(c.rd));
    else ir.mov(3, c.dst(c.rd), r.slot);
    return;
  }
  if (r.name === 'DCZID_EL0' && c.el1) {
    ir.mov(3, c.dst(c.rd), c.k(DCZID));
    return;
  }
  if (r.constant !== null && !write && c.el1) {
    ir.mov(3, c.dst(c.rd), ir.k64(r.constant[0], r.constant[1]));
    return;
  }
  if (r.name === 'CNTVCT_EL0' || r.name === 'CNTPCT_EL0') {
    const imm = key | (c.rd << 16);
    if (!c.el1) {
      // CNTKCTL_EL1.EL0VCTEN, EL0PCTEN: the helper traps.
      const bit = r.name === 'CNTVCT_EL0' ? 2 : 1;
      const [on, off] = [ir.temp(), ir.temp()];
      ir.alu(Op.AND, 2, on, A.CNTKCTL_EL1, c.k(bit));
      ir.alu(Op.XOR, 2, off, on, c.k(bit));
      ir.callIf(c.helper(H.MRS), 2, off, NONE, imm);
    }
    const t = ir.temp();
    ir.time(c.helper(H.MRS), t, imm);
    ir.mov(3, c.dst(c.rd), t);
    return;
  }
  if (!write) {
    const t = ir.temp();
    c.call(H.MRS, t, NONE, NONE, NONE, key | (c.rd << 16));
    ir.mov(3, c.dst(c.rd), t);
    return;
  }
  // Whatever a system register changes (translation, mode), the next instruction is looked up anew.
  c.callEnd(H.MSR, NONE, c.x(c.rd), NONE, NONE, key | (c.rd << 16));
}

/** Flags from NZCV at bits 31..28 of a. */
function putNzcv(c: LiftContext, t: number, a: number): void {
  const ir = c.b;
  let r = c.k(0);
  for (const [from, to] of [[31, 7], [30, 6], [29, 0], [28, 11]] as const) {
    const u = ir.temp();
    const v = ir.temp();
    const s = ir.temp();
    ir.alu(Op.SHR, 2, u, a, c.k(from - to));
    ir.alu(Op.AND, 2, v, u, c.k(1 << to));
    ir.alu(Op.OR, 2, s, r, v);
    r = s;
  }
  ir.alu(Op.XOR, 2, t, r, c.k(1));
  ir.emit(Op.PUTF, 0, 0, 63, NONE, t, NONE, NONE, 0, 0);
}

/** Block that DC ZVA clears (DCZID_EL0). */
const ZVA_BYTES = 64;

/** op2 of TLBI: VMALLE1, VAE1, ASIDE1, VAAE1, VALE1, VAALE1. */
const TLBI_OPS: ReadonlySet<number> = new Set([0, 1, 2, 3, 5, 7]);

/** SYS, SYSL: cache, TLB and address translation operations. */
function sys(c: LiftContext): void {
  if (c.arg === 1) return c.undefined();
  const op1 = c.bits(16, 3);
  const crn = c.bits(12, 4);
  const crm = c.bits(8, 4);
  const op2 = c.bits(5, 3);
  if (op1 === 3 && crn === 7 && crm === 4 && op2 === 1) {
    // Plain memory in the TLB inline, the rest by the helper, which raises what EL0 may get for it.
    const ir = c.b;
    if (!c.el1) ir.callIf(c.helper(H.DC_ZVA), 2, A.ZVA_OFF, c.x(c.rd), c.i);
    const [to, done, left] = [ir.temp(), ir.temp(), ir.temp()];
    ir.alu(Op.AND, 3, to, c.x(c.rd), c.k(-ZVA_BYTES));
    ir.bulk(Op.FILL, 3, done, to, c.k(0), c.k(ZVA_BYTES / 8));
    ir.alu(Op.XOR, 2, left, done, c.k(ZVA_BYTES / 8));
    ir.callIf(c.helper(H.DC_ZVA), 2, left, c.x(c.rd), c.i);
    return;
  }
  // Caches are coherent, and the code map sees writes to code: cache maintenance by EL1 has nothing to do, not even a check of the address.
  if (c.el1 && crn === 7 && op1 === 3 && op2 === 1 && (crm === 5 || crm === 10 || crm === 11 || crm === 14)) return;
  // Linux flushes a page for each place in its code that it patches: the block goes on, unless it is its own page.
  if (c.el1 && crn === 8 && op1 === 0 && (crm === 3 || crm === 7) && TLBI_OPS.has(op2)) return c.call(H.TLBI, NONE, c.x(c.rd), NONE, NONE, c.i);
  c.callEnd(H.SYS, NONE, c.x(c.rd), NONE, NONE, c.i);
}

/** Unallocated on purpose: UDF. */
function udf(c: LiftContext): void {
  c.undefined();
}

export const FLOW_ROWS: readonly Row[] = [
  row('0 00101 iiiiiiiiiiiiiiiiiiiiiiiiii', 'b', b, 0),
  row('1 00101 iiiiiiiiiiiiiiiiiiiiiiiiii', 'bl', b, 1),
  row('0101010 0 iiiiiiiiiiiiiiiiiii 0 cccc', 'b.cond', bCond),
  row('f 011010 0 iiiiiiiiiiiiiiiiiii ttttt', 'cbz', cbz, 0),
  row('f 011010 1 iiiiiiiiiiiiiiiiiii ttttt', 'cbnz', cbz, 1),
  row('b 011011 0 bbbbb iiiiiiiiiiiiii ttttt', 'tbz', tbz, 0),
  row('b 011011 1 bbbbb iiiiiiiiiiiiii ttttt', 'tbnz', tbz, 1),
  row('1101011 0000 11111 000000 nnnnn 00000', 'br', br, 0),
  row('1101011 0001 11111 000000 nnnnn 00000', 'blr', br, 1),
  row('1101011 0010 11111 000000 nnnnn 00000', 'ret', br, 2),
  row('1101011 0100 11111 000000 11111 00000', 'eret', eret),
  row('1101011 0000 11111 00001 k nnnnn 11111', 'braaz', brAuthenticated, 0),
  row('1101011 0001 11111 00001 k nnnnn 11111', 'blraaz', brAuthenticated, 1),
  row('1101011 1000 11111 00001 k nnnnn mmmmm', 'braa', brAuthenticated, 4),
  row('1101011 1001 11111 00001 k nnnnn mmmmm', 'blraa', brAuthenticated, 5),
  row('1101011 0010 11111 00001 k 11111 11111', 'retaa', brAuthenticated, 2),
  row('1101011 0100 11111 00001 k 11111 11111', 'eretaa', eretAuthenticated),
  row('11010100 000 iiiiiiiiiiiiiiii 000 01', 'svc', exception, H.SVC),
  row('11010100 000 iiiiiiiiiiiiiiii 000 10', 'hvc', exception, H.HVC),
  row('11010100 000 iiiiiiiiiiiiiiii 000 11', 'smc', exception, H.SMC),
  row('11010100 001 iiiiiiiiiiiiiiii 000 00', 'brk', exception, H.BRK),
  row('11010100 010 iiiiiiiiiiiiiiii 000 00', 'hlt', exception, H.HLT),
  row('11010101000000110010 xxxx xxx 11111', 'hint', hint),
  row('11010101000000110011 xxxx 010 11111', 'clrex', clrex),
  row('11010101000000110011 xxxx 100 11111', 'dsb', nop),
  row('11010101000000110011 xxxx 101 11111', 'dmb', nop),
  row('11010101000000110011 xxxx 110 11111', 'isb', isb),
  row('1101010100000 ooo 0100 mmmm ppp 11111', 'msr imm', msrImm),
  row('1101010100 0 01 ooo nnnn mmmm ppp ttttt', 'sys', sys, 0),
  row('1101010100 1 01 ooo nnnn mmmm ppp ttttt', 'sysl', sys, 1),
  row('1101010100 0 1x ooo nnnn mmmm ppp ttttt', 'msr', mrs, 1),
  row('1101010100 1 1x ooo nnnn mmmm ppp ttttt', 'mrs', mrs, 0),
  row('0000000000000000 iiiiiiiiiiiiiiii', 'udf', udf),
];
