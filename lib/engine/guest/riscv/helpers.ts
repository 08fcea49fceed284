/** Guest semantics as TypeScript functions, called from IR by number. */
import { type HelperFn, HelperRegistry, HelperResult } from '../../helpers.js';
import { NONE, Pending, Slot } from '../../state.js';
import type { RiscvCpu } from './cpu.js';
import { aes64, brev8, clmul, out, xperm } from './crypto.js';
import { Cause, Csr, Env, Ms, Priv, WATCHED, xreg } from './defs.js';
import { Kind } from './triggers.js';

const BLOCK = 64;

/** CSRRW, CSRRS, CSRRC and their immediate forms: a is the slot of the operand. */
export function csr(cpu: RiscvCpu, dst: number, a: number, _b: number, _c: number, insn: number): HelperResult {
  const V = cpu.V;
  const n = insn >>> 20;
  const kind = (insn >>> 12) & 3;
  // CSRRS and CSRRC with x0 or 0 do not write (vol. I, 7.1).
  const write = kind === 1 || ((insn >>> 15) & 31) !== 0;
  const { mode } = cpu;
  if (!cpu.csr.read(n, write)) throw cpu.illegal(insn);
  const { lo, hi } = cpu.csr;
  if (write) {
    const aLo = V[a * 2]!;
    const aHi = V[a * 2 + 1]!;
    // What an interrupt controller asserts reads as set in mip, and is not written back: it would stay (vol. II, 3.1.9).
    const old = n === Csr.MIP ? cpu.csr.soft : lo;
    if (kind === 1) cpu.csr.write(n, aLo, aHi);
    else if (kind === 2) cpu.csr.write(n, old | aLo, hi | aHi);
    else cpu.csr.write(n, old & ~aLo, hi & ~aHi);
    cpu.setReg(dst, lo, hi);
    // What a write lets in comes before the next instruction (vol. II, 3.1.9).
    if (cpu.mode !== mode || n === 0x180 || V[Slot.PENDING * 2]! & Pending.INTR) {
      cpu.retired();
      cpu.setPcToNext();
      return HelperResult.DISPATCH;
    }
    return HelperResult.CONTINUE;
  }
  cpu.setReg(dst, lo, hi);
  // The first look at instret starts its counting.
  if (cpu.mode === mode) return HelperResult.CONTINUE;
  cpu.retired();
  cpu.setPcToNext();
  return HelperResult.DISPATCH;
}

/** CSR access of an instruction that must end its block here: one that code inlines in the usual case. a: slot of the operand. */
function csrRare(cpu: RiscvCpu, _dst: number, a: number, _b: number, _c: number, insn: number): HelperResult {
  const rd = (insn >>> 7) & 31;
  if (csr(cpu, rd === 0 ? NONE : xreg(rd), a, NONE, NONE, insn) === HelperResult.CONTINUE) {
    cpu.retired();
    cpu.setPcToNext();
  }
  return HelperResult.DISPATCH;
}

/** A floating-point instruction in a mode without Mode.FP: illegal with mstatus.FS Off, otherwise the first one of M or S since a while. */
function fpOff(cpu: RiscvCpu, _dst: number, _a: number, _b: number, _c: number, insn: number): HelperResult {
  if ((cpu.csr.mstatus & Ms.FS) === 0 || cpu.priv === Priv.U) throw cpu.illegal(insn);
  cpu.usesFp = true;
  cpu.updateMode();
  cpu.setPcToInsn();
  return HelperResult.DISPATCH;
}

/** SFENCE.VMA and the instructions of Svinval. a, b: slots of address and ASID; there are no ASIDs in the TLB. */
export function fence(cpu: RiscvCpu, _dst: number, a: number, b: number, _c: number, insn: number): HelperResult {
  const ordering = (insn & 0xffef_ffff) === 0x1800_0073;
  if (cpu.priv === Priv.U || (!ordering && cpu.priv === Priv.S && cpu.csr.mstatus & Ms.TVM)) throw cpu.illegal(insn);
  if (!ordering) {
    const V = cpu.V;
    if ((insn >>> 15) & 31) {
      const alone = cpu.mmu.flushPage(V[a * 2]!, V[a * 2 + 1]!);
      // Jumps within a page do not ask where it is: code that may itself be elsewhere now is looked up.
      if (alone && (cpu.mode & WATCHED) === 0 && (V[a * 2]! & ~0xfff) !== V[Slot.PCBASE * 2]!) return HelperResult.CONTINUE;
    } else if ((insn >>> 20) & 31 && b >= 0) cpu.mmu.flushNonGlobal();
    else cpu.mmu.flushAll();
  }
  cpu.retired();
  cpu.setPcToNext();
  return HelperResult.DISPATCH;
}

/** CBO.*: block operations of Zicbom and Zicboz. Caches are not modelled; zeroing is. */
function cbo(cpu: RiscvCpu, _dst: number, a: number, _b: number, _c: number, insn: number): HelperResult {
  const V = cpu.V;
  const op = insn >>> 20;
  if (!cpu.envAllows(op === 4 ? Env.CBZE : op === 0 ? Env.CBIE : Env.CBCFE)) throw cpu.illegal(insn);
  const lo = V[a * 2]! & ~(BLOCK - 1);
  const hi = V[a * 2 + 1]!;
  if (cpu.mmu.guarded) cpu.triggers.access(lo, hi, BLOCK, Kind.STORE);
  cpu.mmu.probeWrite(lo, hi, BLOCK, cpu.mmuIdx);
  if (op === 4) for (let i = 0; i < BLOCK; i += 8) cpu.mmu.write64(lo + i, hi, cpu.mmuIdx, 0, 0);
  return HelperResult.CONTINUE;
}

function wfi(cpu: RiscvCpu, _dst: number, _a: number, _b: number, _c: number, insn: number): HelperResult {
  if (cpu.priv === Priv.U || (cpu.priv === Priv.S && cpu.csr.mstatus & Ms.TW)) throw cpu.illegal(insn);
  cpu.retired();
  cpu.setPcToNext();
  if (!cpu.wakes()) cpu.halted = true;
  return HelperResult.DISPATCH;
}

/** PAUSE (Zihintpause): harts take turns, so what is waited for happens when another one runs. */
function pause(cpu: RiscvCpu): HelperResult {
  cpu.retired();
  cpu.setPcToNext();
  if (cpu.onPause()) cpu.V[Slot.PENDING * 2]! |= Pending.STOP;
  return HelperResult.DISPATCH;
}

const store = (cpu: RiscvCpu, dst: number): HelperResult => {
  cpu.setReg(dst, out.lo, out.hi);
  return HelperResult.CONTINUE;
};

/** Every helper of a RISC-V guest, in a fixed order (ids are part of generated code). */
export function riscvHelpers(): HelperRegistry<RiscvCpu> {
  const r = new HelperRegistry<RiscvCpu>();
  r.define('illegal', (cpu, _d, _a, _b, _c, insn) => {
    throw cpu.illegal(insn);
  });
  r.define('unknown', (cpu, _d, _a, _b, _c, insn) => {
    throw cpu.unknown(insn);
  });
  r.define('ecall', (cpu) => {
    if (cpu.priv === Priv.S && cpu.onSbi !== null) {
      cpu.retired();
      cpu.setPcToNext();
      cpu.onSbi();
      return HelperResult.DISPATCH;
    }
    throw cpu.fault(cpu.priv === Priv.M ? Cause.ECALL_M : cpu.priv === Priv.S ? Cause.ECALL_S : Cause.ECALL_U);
  });
  r.define('ebreak', (cpu) => {
    cpu.insnPc();
    throw cpu.fault(Cause.BREAKPOINT, cpu.pcLo, cpu.pcHi);
  });
  r.define('mret', (cpu, _d, _a, _b, _c, insn) => {
    if (cpu.priv !== Priv.M) throw cpu.illegal(insn);
    cpu.retired();
    cpu.trapReturn(true);
    return HelperResult.DISPATCH;
  });
  r.define('sret', (cpu, _d, _a, _b, _c, insn) => {
    if (cpu.priv === Priv.U || (cpu.priv === Priv.S && cpu.csr.mstatus & Ms.TSR)) throw cpu.illegal(insn);
    cpu.retired();
    cpu.trapReturn(false);
    return HelperResult.DISPATCH;
  });
  r.define('wfi', wfi);
  r.define('pause', pause);
  r.define('sfence_vma', fence);
  r.define('csr', csr);
  r.define('csr_rare', csrRare);
  r.define('fp_off', fpOff);
  r.define('fs_dirty', (cpu) => {
    cpu.csr.mstatus |= Ms.FS;
    cpu.updateMode();
    cpu.setPcToInsn();
    return HelperResult.DISPATCH;
  });
  r.define('cbo', cbo);
  const float: HelperFn<RiscvCpu> = (cpu, dst, a, b, c, insn) => {
    cpu.float.execute(insn, dst, a, b, c);
    return HelperResult.CONTINUE;
  };
  // Called, and as what FOP means.
  r.define('fp', float);
  r.define('fop', float);
  const V = (cpu: RiscvCpu, s: number): number => cpu.V[s * 2]!;
  const H = (cpu: RiscvCpu, s: number): number => cpu.V[s * 2 + 1]!;
  r.define('clmul', (cpu, dst, a, b, _c, insn) => {
    clmul((insn >>> 12) & 7, V(cpu, a), H(cpu, a), V(cpu, b), H(cpu, b));
    return store(cpu, dst);
  });
  r.define('xperm', (cpu, dst, a, b, _c, insn) => {
    xperm(insn & 0x4000 ? 8 : 4, V(cpu, a), H(cpu, a), V(cpu, b), H(cpu, b));
    return store(cpu, dst);
  });
  r.define('aes64', (cpu, dst, a, b, _c, insn) => {
    aes64(insn, V(cpu, a), H(cpu, a), V(cpu, b), H(cpu, b));
    return store(cpu, dst);
  });
  r.define('brev8', (cpu, dst, a) => {
    brev8(V(cpu, a), H(cpu, a));
    return store(cpu, dst);
  });
  r.define('vector', (cpu, dst, a, b, _c, insn) => cpu.vector!.execute(insn, dst, a, b));
  return r;
}

