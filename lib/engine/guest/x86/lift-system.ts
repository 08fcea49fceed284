/**
 * System instructions: control registers, descriptor tables, segment registers, MSRs, interrupts, caches, hints.
 * Nearly all are helper calls; instructions that may change the mode end the block. Intel SDM vol. 3 chapter 2.8.
 */
import { ExitCode, NONE, Slot } from '../../state.js';
import { Op } from '../../ir/ops.js';
import { Msr } from './defs.js';
import { H } from './helper-names.js';
import { notCanonical } from './lift-fastcall.js';
import type { LiftContext } from './lift-context.js';
import { ANSWERS, gpr, Mode, Seg, segHigh, segSlot, X } from './mode.js';
import { M64, Mod, P, row, Size, type Row } from './opcodes.js';

/** Helper without operands; the block goes on. arg = helper. */
function plain(c: LiftContext): void {
  c.call(c.arg as H);
}

/** Helper without operands; the block ends. arg = helper. */
function plainEnd(c: LiftContext): void {
  c.call(c.arg as H);
  c.endNext();
}

/** Hints and instructions without effect here. */
function nop(_c: LiftContext): void {
  // nothing to emit
}

function cli(c: LiftContext): void {
  if ((c.mode & Mode.CPL0) !== 0) c.b.alu(Op.AND, 2, X.EFLAGS, X.EFLAGS, c.k(~0x200), 0);
  else c.call(H.CLI);
}

/**
 * At CPL 0 inline: the lifter sees to it that one more instruction runs before PENDING is looked at, and that it is looked at
 * then (STI; NOP; CLI lets interrupts in).
 */
function sti(c: LiftContext): void {
  if ((c.mode & Mode.CPL0) === 0) {
    c.call(H.STI);
    c.endNext(ExitCode.SHADOW);
    return;
  }
  c.b.alu(Op.OR, 2, X.EFLAGS, X.EFLAGS, c.k(0x200), 0);
  c.b.alu(Op.OR, 0, Slot.PENDING, Slot.PENDING, X.IRQ, 0);
  c.shadow = true;
}

/** STAC, CLAC; arg = 1 to set. Inline in 64-bit or 32-bit code at CPL 0 while CR4.SMAP is set, as all kernels use them. */
function alignmentCheck(c: LiftContext): void {
  const want = Mode.CPL0 | Mode.SMAP;
  const set = c.arg !== 0;
  if ((c.mode & (want | Mode.REAL)) !== want || !c.mayChangeMode) {
    c.call(set ? H.STAC : H.CLAC);
    c.endNext();
    return;
  }
  if (set) c.b.alu(Op.OR, 2, X.EFLAGS, X.EFLAGS, c.k(0x4_0000), 0);
  else c.b.alu(Op.AND, 2, X.EFLAGS, X.EFLAGS, c.k(~0x4_0000), 0);
  const mode = set ? c.mode | Mode.AC : c.mode & ~Mode.AC;
  if (mode !== c.mode) c.nextInMode(mode);
}

function swapgs(c: LiftContext): void {
  const b = c.b;
  if ((c.mode & Mode.CPL0) === 0) {
    c.call(H.SWAPGS);
    return;
  }
  const t = b.temp();
  b.mov(3, t, X.GSBASE);
  b.mov(3, X.GSBASE, X.KGSBASE);
  b.mov(3, X.KGSBASE, t);
}

/** RDTSC, RDTSCP (arg = 1). */
function rdtsc(c: LiftContext): void {
  const b = c.b;
  const t = b.temp();
  c.time(H.RDTSC, t);
  b.mov(2, X.RAX, t);
  b.alu(Op.SHR, 3, X.RDX, t, c.k(32), 0);
  if (c.arg !== 0) b.mov(2, X.RCX, X.TSC_AUX);
}

/** The place of the instruction's answer (answers.ts). */
const place = (c: LiftContext): number => (c.insn.next ^ (c.insn.next >>> 3)) & (ANSWERS - 1);

/** Low and high word of slot v to two general registers. */
function split(c: LiftContext, lo: number, hi: number, v: number): void {
  c.b.mov(2, lo, v);
  c.b.alu(Op.SHR, 3, hi, v, c.k(32), 0);
}

function cpuid(c: LiftContext): void {
  const b = c.b;
  const i = place(c);
  const at = X.CPUID + i * 3;
  const leaf = b.temp();
  const sub = b.temp();
  const both = b.temp();
  const other = b.temp();
  const miss = b.temp();
  b.zx(2, leaf, X.RAX);
  b.alu(Op.SHL, 3, sub, X.RCX, c.k(32), 0);
  b.alu(Op.OR, 3, both, leaf, sub, 0);
  b.alu(Op.XOR, 3, other, both, at, 0);
  b.alu(Op.OR, 3, miss, other, X.CPUID_STALE, 0);
  c.callIf(H.CPUID, 3, miss, NONE, i);
  split(c, X.RAX, X.RBX, at + 1);
  split(c, X.RCX, X.RDX, at + 2);
}

/** Registers that instructions change besides WRMSR. */
const BASES: readonly (readonly [number, number])[] = [[Msr.FS_BASE, X.FSBASE], [Msr.GS_BASE, X.GSBASE], [Msr.KERNEL_GS_BASE, X.KGSBASE]];

function rdmsr(c: LiftContext): void {
  const b = c.b;
  const i = place(c);
  if ((c.mode & Mode.CPL0) === 0) {
    c.call(H.RDMSR, NONE, NONE, NONE, NONE, i | 0x100);
    return;
  }
  const at = X.RDMSR + i * 2;
  const number = b.temp();
  let miss = b.temp();
  b.zx(2, number, X.RCX);
  b.alu(Op.XOR, 3, miss, number, at, 0);
  const isBase = BASES.map(([msr, slot]) => {
    const other = b.temp();
    const next = b.temp();
    b.alu(Op.XOR, 2, other, number, c.k(msr), 0);
    b.alu3(Op.SELNZ, 2, next, other, miss, c.k(0));
    miss = next;
    return { other, slot };
  });
  c.callIf(H.RDMSR, 3, miss, NONE, i);
  let value = at + 1;
  for (const { other, slot } of isBase) {
    const next = b.temp();
    b.alu3(Op.SELNZ, 2, next, other, value, slot);
    value = next;
  }
  split(c, X.RAX, X.RDX, value);
}

function hlt(c: LiftContext): void {
  c.call(H.HLT);
  c.endNext(ExitCode.HALT);
}

/** CR0, CR2, CR3, CR4 and CR8 exist; the others are #UD whatever the privilege (SDM vol. 2, MOV to and from CR). */
function controlRegister(c: LiftContext): boolean {
  if (((1 << c.insn.reg) & 0x11d) !== 0) return true;
  c.undefinedOpcode();
  return false;
}

/** DR8 to DR15 do not exist (SDM vol. 2, MOV to and from DR). */
function debugRegister(c: LiftContext): boolean {
  if (c.insn.reg < 8) return true;
  c.undefinedOpcode();
  return false;
}

function movFromCr(c: LiftContext): void {
  if (!controlRegister(c)) return;
  if (c.insn.reg === 2 && c.code64 && (c.mode & Mode.CPL0) !== 0) {
    c.b.mov(3, gpr(c.insn.rm), X.CR2);
    return;
  }
  c.call(H.MOV_FROM_CR, gpr(c.insn.rm), NONE, NONE, NONE, c.insn.reg);
}

function movToCr(c: LiftContext): void {
  if (!controlRegister(c)) return;
  c.call(H.MOV_TO_CR, NONE, gpr(c.insn.rm), NONE, NONE, c.insn.reg);
  c.endNext();
}

function movFromDr(c: LiftContext): void {
  if (!debugRegister(c)) return;
  c.call(H.MOV_FROM_DR, gpr(c.insn.rm), NONE, NONE, NONE, c.insn.reg);
}

function movToDr(c: LiftContext): void {
  if (!debugRegister(c)) return;
  c.call(H.MOV_TO_DR, NONE, gpr(c.insn.rm), NONE, NONE, c.insn.reg);
  c.endNext();
}

/** SGDT, SIDT, LGDT, LIDT; arg = helper. The loads end the block. */
function tableRegister(c: LiftContext): void {
  const w = c.code64 ? 3 : c.insn.opsize;
  const h = c.arg as H;
  const store = h === H.SGDT || h === H.SIDT;
  if (!store && !c.privilegeCheck()) return;
  c.call(h, NONE, c.ea(w === 3 ? 10 : 6, store), NONE, NONE, w);
  if (!store) c.endNext();
}

/** Stores a 16-bit value that the helper returns: a register gets operand size, memory 16 bits. */
function storeWord(c: LiftContext, t: number): void {
  if (c.insn.mod === 3) c.writeReg(c.insn.rm, c.insn.opsize, t);
  else c.writeRm(1, t);
}

/** SLDT, STR, SMSW; arg = helper. */
function storeSystem(c: LiftContext): void {
  const h = c.arg as H;
  if (h !== H.SMSW && !c.protectedOnly()) return;
  const t = c.b.temp();
  c.call(h, t);
  storeWord(c, t);
}

/** LLDT, LTR, LMSW; arg = helper. */
function loadSystem(c: LiftContext): void {
  const h = c.arg as H;
  if (h !== H.LMSW && !c.protectedOnly()) return;
  if (!c.privilegeCheck()) return;
  c.call(h, NONE, c.readRm(1));
  c.endNext();
}

/** VERR, VERW; arg = helper. */
function verify(c: LiftContext): void {
  if (!c.protectedOnly()) return;
  c.call(c.arg as H, NONE, c.readRm(1));
}

/** LAR, LSL; arg = helper. */
function lar(c: LiftContext): void {
  if (!c.protectedOnly()) return;
  const i = c.insn;
  const t = c.b.temp();
  c.call(c.arg as H, t, c.readRm(1), gpr(i.reg), NONE, i.opsize);
  c.b.mov(i.opsize, gpr(i.reg), t);
}

function arpl(c: LiftContext): void {
  if (!c.protectedOnly()) return;
  const t = c.b.temp();
  const old = c.rmLoad(1);
  c.call(H.ARPL, t, old, gpr(c.insn.reg));
  if (c.insn.mod === 3) c.writeReg(c.insn.rm, 1, t);
  else c.rmStore(1, t);
}

// ---- segment registers ----

/** Temporary with the selector in segment register s. */
function selector(c: LiftContext, s: number): number {
  const b = c.b;
  let v = segSlot(X.SEL, s);
  if (segHigh(s)) {
    const h = b.temp();
    b.alu(Op.SHR, 3, h, v, c.k(32), 0);
    v = h;
  }
  const t = b.temp();
  b.zx(1, t, v);
  return t;
}

function movFromSreg(c: LiftContext): void {
  storeWord(c, selector(c, c.insn.reg & 7));
}

/** Bases and mode may have changed; after a load of SS interrupts are held off for one instruction. */
function endAfterSreg(c: LiftContext, seg: number): void {
  c.endNext(seg === Seg.SS ? ExitCode.SHADOW : ExitCode.NEXT);
}

/**
 * ES, DS, FS and GS in real mode take a base and nothing else, and the mode stays what it is unless the limit is 4 GiB ("unreal" mode): then
 * DS and ES may be flat afterwards. @returns false if it is not that simple; nothing is emitted then
 */
function loadReal(c: LiftContext, seg: number, v: number): boolean {
  if ((c.mode & (Mode.REAL | Mode.V86 | Mode.FLAT)) !== Mode.REAL || seg === Seg.SS) return false;
  const b = c.b;
  const [all, high] = [b.temp(), b.temp()];
  let limit = segSlot(X.LIMIT, seg);
  if (segHigh(seg)) b.alu(Op.SHR, 3, (limit = b.temp()), segSlot(X.LIMIT, seg), c.k(32), 0);
  b.alu(Op.ADD, 2, all, limit, c.k(1), 0);
  const unreal = b.temp();
  b.alu3(Op.SELNZ, 2, unreal, all, c.k(0), c.k(1));
  c.callIf(H.LOAD_SREG_REAL, 2, unreal, v, seg);
  const sel = b.temp();
  b.zx(1, sel, v);
  b.alu(Op.SHL, 3, X.SEGBASE + seg, sel, c.k(4), 0);
  // The slot's other half is another segment's.
  const slot = segSlot(X.SEL, seg);
  const other = b.temp();
  if (segHigh(seg)) {
    b.zx(2, other, slot);
    b.alu(Op.SHL, 3, high, sel, c.k(32), 0);
    b.alu(Op.OR, 3, slot, other, high, 0);
  } else {
    b.alu(Op.SHR, 3, high, slot, c.k(32), 0);
    b.alu(Op.SHL, 3, other, high, c.k(32), 0);
    b.alu(Op.OR, 3, slot, other, sel, 0);
  }
  return true;
}

function movToSreg(c: LiftContext): void {
  const seg = c.insn.reg & 7;
  const v = c.readRm(1);
  if (loadReal(c, seg, v)) return;
  c.call(H.LOAD_SREG, NONE, v, NONE, NONE, seg);
  endAfterSreg(c, seg);
}

/** PUSH of a segment register; arg = segment. */
function pushSreg(c: LiftContext): void {
  c.push(c.insn.opsize, selector(c, c.arg));
}

function popSreg(c: LiftContext): void {
  const w = c.insn.opsize;
  const t = c.b.temp();
  c.stackLoad(w, t);
  const seg = c.arg;
  if ((c.mode & Mode.REAL) !== 0 && seg !== Seg.SS) {
    // No fault can follow.
    c.addSp(1 << w);
    if (loadReal(c, seg, t)) return;
    c.call(H.LOAD_SREG, NONE, t, NONE, NONE, seg);
    endAfterSreg(c, seg);
    return;
  }
  // POP SS: the stack width that counts is the one before the load
  c.call(H.LOAD_SREG, NONE, t, NONE, NONE, seg);
  c.addSp(1 << w);
  endAfterSreg(c, seg);
}

/** LES LDS LSS LFS LGS; arg = segment. */
function loadFar(c: LiftContext): void {
  const b = c.b;
  const i = c.insn;
  const w = i.opsize;
  const a = c.ea((1 << w) + 2, false);
  const off = b.temp();
  const a2 = b.temp();
  const sel = b.temp();
  b.ld(w, off, a);
  b.lea(c.code64 ? 3 : 2, a2, a, NONE, 0, 1 << w);
  b.ld(1, sel, a2);
  c.call(H.LOAD_FAR, NONE, sel, NONE, NONE, c.arg);
  b.mov(w, gpr(i.reg), off);
  c.endNext();
}

/** RDFSBASE, RDGSBASE; arg = helper. */
function readBase(c: LiftContext): void {
  const w = c.gprWidth();
  if ((c.mode & Mode.FSGSBASE) !== 0) c.b.mov(w, gpr(c.insn.rm), c.arg === (H.RDFSBASE as number) ? X.FSBASE : X.GSBASE);
  else c.call(c.arg as H, gpr(c.insn.rm), NONE, NONE, NONE, w);
}

function writeBase(c: LiftContext): void {
  const b = c.b;
  const w = c.gprWidth();
  const v = gpr(c.insn.rm);
  if ((c.mode & Mode.FSGSBASE) === 0) {
    c.call(c.arg as H, NONE, v, NONE, NONE, w);
    return;
  }
  if (w === 3) {
    // Not canonical in 48 bits: an exception, or fine with 57.
    c.callIf(c.arg as H, 3, notCanonical(c, v), v, w);
  }
  b.mov(w, c.arg === (H.WRFSBASE as number) ? X.FSBASE : X.GSBASE, v);
}

function bound(c: LiftContext): void {
  const b = c.b;
  const w = c.insn.opsize;
  const a = c.ea(2 << w, false);
  const lo = b.temp();
  const a2 = b.temp();
  const hi = b.temp();
  b.ld(w, lo, a);
  b.lea(2, a2, a, NONE, 0, 1 << w);
  b.ld(w, hi, a2);
  c.call(H.BOUND, NONE, gpr(c.insn.reg), lo, hi, w);
}

// ---- TLB, caches, waiting ----

function invlpg(c: LiftContext): void {
  if (!c.privilegeCheck()) return;
  c.call(H.INVLPG, NONE, c.ea(0, false));
  c.endNext();
}

/** CLFLUSH, CLFLUSHOPT, CLWB: checked like a load of one byte (SDM vol. 2, CLFLUSH). */
function cacheLine(c: LiftContext): void {
  c.call(H.PROBE, NONE, c.ea(1, false), NONE, NONE, 1);
}

function invpcid(c: LiftContext): void {
  if (!c.privilegeCheck()) return;
  c.call(H.INVPCID, NONE, c.ea(16, false), gpr(c.insn.reg));
  c.endNext();
}

function monitor(c: LiftContext): void {
  const i = c.insn;
  const off = c.b.temp();
  c.b.lea(i.addrsize, off, X.RAX, NONE, 0, 0);
  c.call(H.MONITOR, NONE, c.segLinear(i.seg >= 0 ? i.seg : Seg.DS, off, 1, false));
}

function rdpid(c: LiftContext): void {
  c.call(H.RDPID, gpr(c.insn.rm));
}

/** RDRAND, RDSEED; arg = helper. */
function random(c: LiftContext): void {
  const t = c.b.temp();
  c.call(c.arg as H, t);
  c.b.mov(c.insn.opsize, gpr(c.insn.rm), t);
}

const not64 = M64.NOT64;
const only64 = M64.ONLY64;

function rows(): Row[] {
  const r: Row[] = [
    row(0, 0xfa, 'cli', cli),
    row(0, 0xfb, 'sti', sti),
    row(0, 0xf4, 'hlt', hlt),
    row(0, 0x63, 'arpl', arpl, { modrm: true, m64: not64 }),
    row(0, 0x62, 'bound', bound, { mod: Mod.MEM, m64: not64 }),
    row(0, 0xc4, 'les', loadFar, { mod: Mod.MEM, m64: not64, arg: Seg.ES }),
    row(0, 0xc5, 'lds', loadFar, { mod: Mod.MEM, m64: not64, arg: Seg.DS }),
    row(1, 0xb2, 'lss', loadFar, { mod: Mod.MEM, arg: Seg.SS }),
    row(1, 0xb4, 'lfs', loadFar, { mod: Mod.MEM, arg: Seg.FS }),
    row(1, 0xb5, 'lgs', loadFar, { mod: Mod.MEM, arg: Seg.GS }),
    row(0, 0x06, 'push', pushSreg, { m64: not64, arg: Seg.ES }),
    row(0, 0x07, 'pop', popSreg, { m64: not64, arg: Seg.ES }),
    row(0, 0x0e, 'push', pushSreg, { m64: not64, arg: Seg.CS }),
    row(0, 0x16, 'push', pushSreg, { m64: not64, arg: Seg.SS }),
    row(0, 0x17, 'pop', popSreg, { m64: not64, arg: Seg.SS }),
    row(0, 0x1e, 'push', pushSreg, { m64: not64, arg: Seg.DS }),
    row(0, 0x1f, 'pop', popSreg, { m64: not64, arg: Seg.DS }),
    row(1, 0xa0, 'push', pushSreg, { size: Size.D64, arg: Seg.FS }),
    row(1, 0xa1, 'pop', popSreg, { size: Size.D64, arg: Seg.FS }),
    row(1, 0xa8, 'push', pushSreg, { size: Size.D64, arg: Seg.GS }),
    row(1, 0xa9, 'pop', popSreg, { size: Size.D64, arg: Seg.GS }),

    row(1, 0x00, 'sldt', storeSystem, { digit: 0, arg: H.SLDT }),
    row(1, 0x00, 'str', storeSystem, { digit: 1, arg: H.STR }),
    row(1, 0x00, 'lldt', loadSystem, { digit: 2, arg: H.LLDT }),
    row(1, 0x00, 'ltr', loadSystem, { digit: 3, arg: H.LTR }),
    row(1, 0x00, 'verr', verify, { digit: 4, arg: H.VERR }),
    row(1, 0x00, 'verw', verify, { digit: 5, arg: H.VERW }),
    row(1, 0x02, 'lar', lar, { modrm: true, arg: H.LAR }),
    row(1, 0x03, 'lsl', lar, { modrm: true, arg: H.LSL }),

    row(1, 0x01, 'sgdt', tableRegister, { digit: 0, mod: Mod.MEM, arg: H.SGDT }),
    row(1, 0x01, 'sidt', tableRegister, { digit: 1, mod: Mod.MEM, arg: H.SIDT }),
    row(1, 0x01, 'lgdt', tableRegister, { digit: 2, mod: Mod.MEM, arg: H.LGDT }),
    row(1, 0x01, 'lidt', tableRegister, { digit: 3, mod: Mod.MEM, arg: H.LIDT }),
    row(1, 0x01, 'smsw', storeSystem, { digit: 4, arg: H.SMSW }),
    row(1, 0x01, 'lmsw', loadSystem, { digit: 6, arg: H.LMSW }),
    row(1, 0x01, 'invlpg', invlpg, { digit: 7, mod: Mod.MEM, arg: H.INVLPG }),
    row(1, 0x01, 'monitor', monitor, { p: P.NP, digit: 1, rm: 0, feature: 'monitor' }),
    row(1, 0x01, 'mwait', plainEnd, { p: P.NP, digit: 1, rm: 1, feature: 'monitor', arg: H.MWAIT }),
    row(1, 0x01, 'clac', alignmentCheck, { p: P.NP, digit: 1, rm: 2, feature: 'smap' }),
    row(1, 0x01, 'stac', alignmentCheck, { p: P.NP, digit: 1, rm: 3, feature: 'smap', arg: 1 }),
    row(1, 0x01, 'vmcall', plain, { p: P.NP, digit: 0, rm: 1, feature: 'hypervisor', arg: H.HYPERCALL }),
    row(1, 0x01, 'vmmcall', plain, { p: P.NP, digit: 3, rm: 1, feature: 'hypervisor', arg: H.HYPERCALL }),
    row(1, 0x01, 'xgetbv', plain, { p: P.NP, digit: 2, rm: 0, feature: 'xsave', arg: H.XGETBV }),
    row(1, 0x01, 'xsetbv', plainEnd, { p: P.NP, digit: 2, rm: 1, feature: 'xsave', arg: H.XSETBV }),
    row(1, 0x01, 'serialize', nop, { p: P.NP, digit: 5, rm: 0, feature: 'serialize' }),
    row(1, 0x01, 'swapgs', swapgs, { digit: 7, rm: 0, m64: only64 }),
    row(1, 0x01, 'rdtscp', rdtsc, { digit: 7, rm: 1, feature: 'rdtscp', arg: 1 }),

    row(1, 0x06, 'clts', plainEnd, { arg: H.CLTS }),
    row(1, 0x08, 'invd', plain, { arg: H.INVD }),
    row(1, 0x09, 'wbinvd', plain, { arg: H.WBINVD }),
    row(1, 0x0d, 'prefetchw', nop, { mod: Mod.MEM }),
    row(1, 0x18, 'nop', nop, { n: 8, modrm: true }),
    row(1, 0x20, 'mov', movFromCr, { modrm: true }),
    row(1, 0x21, 'mov', movFromDr, { modrm: true }),
    row(1, 0x22, 'mov', movToCr, { modrm: true }),
    row(1, 0x23, 'mov', movToDr, { modrm: true }),
    row(1, 0x30, 'wrmsr', plainEnd, { arg: H.WRMSR, feature: 'msr' }),
    row(1, 0x31, 'rdtsc', rdtsc, { feature: 'tsc' }),
    row(1, 0x32, 'rdmsr', rdmsr, { feature: 'msr' }),
    row(1, 0x33, 'rdpmc', plain, { arg: H.RDPMC }),
    row(1, 0xa2, 'cpuid', cpuid),
    row(1, 0xae, 'lfence', nop, { p: P.NP, digit: 5, mod: Mod.REG, feature: 'sse2' }),
    row(1, 0xae, 'mfence', nop, { p: P.NP, digit: 6, mod: Mod.REG, feature: 'sse2' }),
    row(1, 0xae, 'sfence', nop, { p: P.NP, digit: 7, mod: Mod.REG, feature: 'sse' }),
    row(1, 0xae, 'clflush', cacheLine, { p: P.NP, digit: 7, mod: Mod.MEM, feature: 'clflush' }),
    row(1, 0xae, 'clflushopt', cacheLine, { p: P.P66, digit: 7, mod: Mod.MEM, feature: 'clflushopt' }),
    row(1, 0xae, 'clwb', cacheLine, { p: P.P66, digit: 6, mod: Mod.MEM, feature: 'clwb' }),
    row(1, 0xae, 'rdfsbase', readBase, { p: P.F3, digit: 0, mod: Mod.REG, m64: only64, feature: 'fsgsbase', arg: H.RDFSBASE }),
    row(1, 0xae, 'rdgsbase', readBase, { p: P.F3, digit: 1, mod: Mod.REG, m64: only64, feature: 'fsgsbase', arg: H.RDGSBASE }),
    row(1, 0xae, 'wrfsbase', writeBase, { p: P.F3, digit: 2, mod: Mod.REG, m64: only64, feature: 'fsgsbase', arg: H.WRFSBASE }),
    row(1, 0xae, 'wrgsbase', writeBase, { p: P.F3, digit: 3, mod: Mod.REG, m64: only64, feature: 'fsgsbase', arg: H.WRGSBASE }),
    row(1, 0xc7, 'rdrand', random, { p: P.NP66, digit: 6, mod: Mod.REG, feature: 'rdrand', arg: H.RDRAND }),
    row(1, 0xc7, 'rdseed', random, { p: P.NP66, digit: 7, mod: Mod.REG, feature: 'rdseed', arg: H.RDSEED }),
    row(1, 0xc7, 'rdpid', rdpid, { p: P.F3, digit: 7, mod: Mod.REG, feature: 'rdpid' }),
    row(2, 0x82, 'invpcid', invpcid, { p: P.P66, mod: Mod.MEM, feature: 'invpcid' }),
  ];
  for (let seg = 0; seg < 6; seg++) {
    r.push(row(0, 0x8c, 'mov', movFromSreg, { digit: seg }));
    if (seg !== Seg.CS) r.push(row(0, 0x8e, 'mov', movToSreg, { digit: seg }));
  }
  return r;
}

export const SYSTEM_ROWS: readonly Row[] = rows();
