/** Helpers: control registers, MSRs, CPUID, descriptor tables and segments, TLB. Operands as in helper-names.ts. */
import { HelperResult, type HelperRegistry } from '../../helpers.js';
import { Pending, Slot } from '../../state.js';
import type { X86Cpu } from './cpu.js';
import { Cr4, LDTR, TR, Vec, canonical } from './defs.js';
import { Mode, Seg, X } from './mode.js';

const CONTINUE = HelperResult.CONTINUE;
const ZF_ONLY = { writesFlags: 8, readsFlags: 63 };

const code64 = (c: X86Cpu): boolean => (c.mode & Mode.CODE_MASK) === Mode.CODE64;

function cpl0(c: X86Cpu): void {
  if (c.cpl !== 0) throw c.fault(Vec.GP, 0);
}

function edxEax(c: X86Cpu): void {
  c.V[X.RAX * 2] = c.outLo;
  c.V[X.RAX * 2 + 1] = 0;
  c.V[X.RDX * 2] = c.outHi;
  c.V[X.RDX * 2 + 1] = 0;
}

/** Sets or clears ZF in slot FLAGS. */
function setZf(c: X86Cpu, on: boolean): void {
  const f = c.V[Slot.FLAGS * 2]!;
  c.V[Slot.FLAGS * 2] = on ? f | 0x4000 : f & ~0x4000;
}

function tscAllowed(c: X86Cpu): void {
  if (c.cr4 & Cr4.TSD && c.cpl !== 0) throw c.fault(Vec.GP, 0);
}

/** Instructions on selectors exist in protected mode only. */
function protectedOnly(c: X86Cpu): void {
  if (!c.isProtected) throw c.fault(Vec.UD);
}

/** KVM_EPERM, KVM_ENOSYS. */
const HC_EPERM = 1;
const HC_SEND_IPI = 10;
const HC_ENOSYS = 1000;

export function registerSystem(r: HelperRegistry<X86Cpu>): void {
  r.define('x86.clts', (c) => {
    c.control.clts();
    return CONTINUE;
  });
  r.define('x86.smsw', (c, dst) => {
    c.setReg(3, dst, c.control.smsw(), 0);
    return CONTINUE;
  });
  r.define('x86.lmsw', (c, _d, a) => {
    c.control.lmsw(c.V[a * 2]! & 0xffff);
    return CONTINUE;
  });
  r.define('x86.mov_from_cr', (c, dst, _a, _b, _c, n) => {
    c.control.read(n);
    c.setReg(3, dst, c.outLo, code64(c) ? c.outHi : 0);
    return CONTINUE;
  });
  r.define('x86.mov_to_cr', (c, _d, a, _b, _c, n) => {
    c.control.write(n, c.V[a * 2]!, code64(c) ? c.V[a * 2 + 1]! : 0);
    return CONTINUE;
  });
  r.define('x86.mov_from_dr', (c, dst, _a, _b, _c, n) => {
    c.debug.read(n);
    c.setReg(3, dst, c.outLo, code64(c) ? c.outHi : 0);
    return CONTINUE;
  });
  r.define('x86.mov_to_dr', (c, _d, a, _b, _c, n) => {
    c.debug.write(n, c.V[a * 2]!, code64(c) ? c.V[a * 2 + 1]! : 0);
    return CONTINUE;
  });
  r.define('x86.rdmsr', (c, _d, _a, _b, _c, imm) => {
    cpl0(c);
    // Generated code takes the result from its place.
    c.answers.rdmsr(imm & 0xff);
    if ((imm & 0x100) !== 0) edxEax(c);
    return CONTINUE;
  });
  r.define('x86.wrmsr', (c) => {
    cpl0(c);
    c.msr.write(c.V[X.RCX * 2]!, c.V[X.RAX * 2]!, c.V[X.RDX * 2]!);
    return CONTINUE;
  });
  r.define('x86.rdtsc', (c, dst) => {
    tscAllowed(c);
    c.msr.tsc();
    c.setReg(3, dst, c.outLo, c.outHi);
    return CONTINUE;
  });
  r.define('x86.rdpmc', (c) => {
    if (c.cpl !== 0 && !(c.cr4 & Cr4.PCE)) throw c.fault(Vec.GP, 0);
    // No performance counters are advertised; the four that every AMD processor has read as zero.
    if (c.V[X.RCX * 2]! >>> 0 > 3) throw c.fault(Vec.GP, 0);
    c.outLo = c.outHi = 0;
    edxEax(c);
    return CONTINUE;
  });
  r.define('x86.rdpid', (c, dst) => {
    c.setReg(3, dst, c.msr.tscAux, 0);
    return CONTINUE;
  });
  r.define('x86.cpuid', (c, _d, _a, _b, _c, imm) => {
    c.answers.cpuid(imm);
    return CONTINUE;
  });
  // The ABI that CPUID leaf 0x40000000 announces (Linux, Documentation/virt/kvm/x86/hypercalls.rst): KVM_HC_SEND_IPI, and
  // KVM_HC_VAPIC_POLL_IRQ, which does nothing.
  r.define('x86.pause', (c) => {
    if (!c.onPause()) return CONTINUE;
    c.V[Slot.PENDING * 2]! |= Pending.STOP;
    c.setPcToNext();
    return HelperResult.DISPATCH;
  });
  r.define('x86.hypercall', (c) => {
    const { V } = c;
    const wide = (c.mode & Mode.CODE_MASK) === Mode.CODE64;
    const poll = V[X.RAX * 2] === 1 && (!wide || V[X.RAX * 2 + 1] === 0);
    let r = poll ? 0 : -HC_ENOSYS;
    if (c.cpl !== 0) r = -HC_EPERM;
    else if (V[X.RAX * 2] === HC_SEND_IPI && (!wide || V[X.RAX * 2 + 1] === 0)) {
      // RBX, RCX: bitmap of APIC IDs from RDX on; a word is as wide as the mode. RSI: interrupt command.
      const bits = wide ? 64 : 32;
      r = 0;
      for (let i = 0; i < bits * 2; i++) {
        const slot = (i < bits ? X.RBX : X.RCX) * 2 + ((i % bits) >> 5);
        if ((V[slot]! >>> (i & 31)) & 1 && c.intc.sendTo((V[X.RDX * 2]! >>> 0) + i, V[X.RSI * 2]!)) r++;
      }
    }
    c.setReg(wide ? 3 : 2, X.RAX, r, r >> 31);
    return CONTINUE;
  });
  r.define('x86.xgetbv', (c) => {
    c.control.xgetbv(c.V[X.RCX * 2]!);
    edxEax(c);
    return CONTINUE;
  });
  r.define('x86.xsetbv', (c) => {
    c.control.xsetbv(c.V[X.RCX * 2]!, c.V[X.RAX * 2]!, c.V[X.RDX * 2]!);
    return CONTINUE;
  });

  // Descriptor tables.
  const load = (idt: boolean) => (c: X86Cpu, _d: number, a: number, _b: number, _c: number, w: number): HelperResult => {
    cpl0(c);
    const { V, mmu, seg } = c;
    const lo = V[a * 2]!;
    const hi = V[a * 2 + 1]!;
    const at = (lo + 2) | 0;
    const atHi = (at >>> 0) < (lo >>> 0) && code64(c) ? (hi + 1) | 0 : hi;
    const limit = mmu.read16(lo, hi, c.mmuIdx);
    let bLo: number;
    let bHi = 0;
    if (w === 3) {
      mmu.read64(at, atHi, c.mmuIdx);
      bLo = mmu.lo;
      bHi = mmu.hi;
      // Whatever the paging mode: what the processor has wires for.
      if (!canonical(bHi, c.model.linearBits)) throw c.fault(Vec.GP, 0);
    } else {
      bLo = mmu.read32(at, atHi, c.mmuIdx);
      if (w === 1) bLo &= 0xff_ffff;
    }
    if (idt) {
      seg.idtLimit = limit;
      seg.idtLo = bLo;
      seg.idtHi = bHi;
    } else {
      seg.gdtLimit = limit;
      seg.gdtLo = bLo;
      seg.forgetIret();
      seg.gdtHi = bHi;
    }
    return CONTINUE;
  };
  r.define('x86.lgdt', load(false));
  r.define('x86.lidt', load(true));
  const store = (idt: boolean) => (c: X86Cpu, _d: number, a: number, _b: number, _c: number, w: number): HelperResult => {
    c.control.umip();
    const { V, mmu, seg } = c;
    const lo = V[a * 2]!;
    const hi = V[a * 2 + 1]!;
    const at = (lo + 2) | 0;
    const atHi = (at >>> 0) < (lo >>> 0) && code64(c) ? (hi + 1) | 0 : hi;
    mmu.probeWrite(lo, hi, w === 3 ? 10 : 6, c.mmuIdx);
    mmu.write16(lo, hi, c.mmuIdx, idt ? seg.idtLimit : seg.gdtLimit);
    if (w === 3) mmu.write64(at, atHi, c.mmuIdx, idt ? seg.idtLo : seg.gdtLo, idt ? seg.idtHi : seg.gdtHi);
    else mmu.write32(at, atHi, c.mmuIdx, idt ? seg.idtLo : seg.gdtLo);
    return CONTINUE;
  };
  r.define('x86.sgdt', store(false));
  r.define('x86.sidt', store(true));
  r.define('x86.lldt', (c, _d, a) => {
    protectedOnly(c);
    cpl0(c);
    c.seg.lldt(c.V[a * 2]!);
    return CONTINUE;
  });
  r.define('x86.ltr', (c, _d, a) => {
    protectedOnly(c);
    cpl0(c);
    c.seg.ltr(c.V[a * 2]!);
    return CONTINUE;
  });
  r.define('x86.sldt', (c, dst) => {
    protectedOnly(c);
    c.control.umip();
    c.setReg(3, dst, c.seg.sel[LDTR]! & 0xffff, 0);
    return CONTINUE;
  });
  r.define('x86.str', (c, dst) => {
    protectedOnly(c);
    c.control.umip();
    c.setReg(3, dst, c.seg.sel[TR]! & 0xffff, 0);
    return CONTINUE;
  });
  r.define('x86.lar', (c, dst, a, b) => {
    protectedOnly(c);
    const { V } = c;
    const v = c.seg.lar(V[a * 2]! & 0xffff);
    setZf(c, v !== -1);
    c.setReg(3, dst, v === -1 ? V[b * 2]! : v, v === -1 ? V[b * 2 + 1]! : 0);
    return CONTINUE;
  }, ZF_ONLY);
  r.define('x86.lsl', (c, dst, a, b) => {
    protectedOnly(c);
    const { V } = c;
    const ok = c.seg.lsl(V[a * 2]! & 0xffff);
    setZf(c, ok);
    c.setReg(3, dst, ok ? c.seg.dLimit : V[b * 2]!, ok ? 0 : V[b * 2 + 1]!);
    return CONTINUE;
  }, ZF_ONLY);
  r.define('x86.verr', (c, _d, a) => {
    protectedOnly(c);
    setZf(c, c.seg.verify(c.V[a * 2]! & 0xffff, false));
    return CONTINUE;
  }, ZF_ONLY);
  r.define('x86.verw', (c, _d, a) => {
    protectedOnly(c);
    setZf(c, c.seg.verify(c.V[a * 2]! & 0xffff, true));
    return CONTINUE;
  }, ZF_ONLY);
  r.define('x86.arpl', (c, dst, a, b) => {
    protectedOnly(c);
    const d = c.V[a * 2]! & 0xffff;
    const s = c.V[b * 2]! & 3;
    const raise = (d & 3) < s;
    setZf(c, raise);
    c.setReg(3, dst, raise ? (d & ~3) | s : d, 0);
    return CONTINUE;
  }, ZF_ONLY);
  const loadSreg = (c: X86Cpu, _d: number, a: number, _b: number, _c: number, s: number): HelperResult => {
    c.seg.loadData(s, c.V[a * 2]!);
    return CONTINUE;
  };
  r.define('x86.load_sreg', (c, d, a, b, x, s) => {
    loadSreg(c, d, a, b, x, s);
    if (s === Seg.SS) c.debug.holdTraps();
    return CONTINUE;
  });
  r.define('x86.load_sreg_real', (c, d, a, b, x, s) => {
    loadSreg(c, d, a, b, x, s);
    c.setPcToNext();
    return HelperResult.DISPATCH;
  });
  r.define('x86.load_far', loadSreg);

  // Segment bases.
  r.define('x86.swapgs', (c) => {
    if (!code64(c)) throw c.fault(Vec.UD);
    cpl0(c);
    c.msr.swapgs();
    return CONTINUE;
  });
  const fsgs = (c: X86Cpu): void => {
    if (!(c.cr4 & Cr4.FSGSBASE) || !code64(c)) throw c.fault(Vec.UD);
  };
  const rdbase = (slot: number) => (c: X86Cpu, dst: number, _a: number, _b: number, _c: number, w: number): HelperResult => {
    fsgs(c);
    c.setReg(w, dst, c.V[slot * 2]!, c.V[slot * 2 + 1]!);
    return CONTINUE;
  };
  const wrbase = (slot: number) => (c: X86Cpu, _d: number, a: number, _b: number, _c: number, w: number): HelperResult => {
    fsgs(c);
    const hi = w === 3 ? c.V[a * 2 + 1]! : 0;
    if (!canonical(hi, c.mmu.canonicalBits)) throw c.fault(Vec.GP, 0);
    c.V[slot * 2] = c.V[a * 2]!;
    c.V[slot * 2 + 1] = hi;
    return CONTINUE;
  };
  r.define('x86.rdfsbase', rdbase(X.FSBASE));
  r.define('x86.rdgsbase', rdbase(X.GSBASE));
  r.define('x86.wrfsbase', wrbase(X.FSBASE));
  r.define('x86.wrgsbase', wrbase(X.GSBASE));

  // TLB and caches.
  r.define('x86.invlpg', (c, _d, a) => {
    cpl0(c);
    c.mmu.flushPage(c.V[a * 2]!, c.V[a * 2 + 1]!);
    return CONTINUE;
  });
  r.define('x86.invpcid', (c, _d, a, b) => {
    cpl0(c);
    const { V, mmu } = c;
    const lo = V[a * 2]!;
    const hi = V[a * 2 + 1]!;
    mmu.read64(lo, hi, c.mmuIdx);
    const pLo = mmu.lo;
    const pHi = mmu.hi;
    mmu.read64((lo + 8) | 0, hi, c.mmuIdx);
    c.control.invpcid(V[b * 2]!, code64(c) ? V[b * 2 + 1]! : 0, pLo, pHi, mmu.lo, mmu.hi);
    return CONTINUE;
  });
  const privileged = (c: X86Cpu): HelperResult => {
    cpl0(c);
    return CONTINUE;
  };
  r.define('x86.wbinvd', privileged);
  r.define('x86.invd', privileged);
  r.define('x86.probe', (c, _d, a, _b, _c, imm) => {
    if ((imm & 0x100) !== 0) c.mmu.probeWrite(c.V[a * 2]!, c.V[a * 2 + 1]!, imm & 0xff, c.mmuIdx);
    else c.mmu.probeRead(c.V[a * 2]!, c.V[a * 2 + 1]!, imm & 0xff, c.mmuIdx);
    return CONTINUE;
  });
  r.define('x86.monitor', (c, _d, a) => {
    if (c.cpl !== 0) throw c.fault(Vec.UD);
    if (c.V[X.RCX * 2] !== 0) throw c.fault(Vec.GP, 0);
    c.mmu.probeRead(c.V[a * 2]!, c.V[a * 2 + 1]!, 1, c.mmuIdx);
    return CONTINUE;
  });
  r.define('x86.mwait', (c) => {
    if (c.cpl !== 0) throw c.fault(Vec.UD);
    if (c.V[X.RCX * 2]! & ~1) throw c.fault(Vec.GP, 0);
    // Stores to the monitored line are not watched, so waiting may end at any time: it ends at once.
    return CONTINUE;
  });
}
