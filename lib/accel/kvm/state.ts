/**
 * A CPU's state between the engine (X86Cpu) and KVM (the kernel's structures in a vCPU's shared block), both ways.
 * Linux Documentation/virt/kvm/api.rst: KVM_GET_REGS, _SREGS2, _XSAVE, _XCRS, _MSRS, _VCPU_EVENTS, _DEBUGREGS.
 * MSRs that are not listed here live in the X86Cpu alone: a guest's access to them leaves KVM (see msrs.ts).
 */
import type { X86Cpu } from '../../engine/guest/x86/cpu.js';
import { At, Cr0, Cr4, Ef, LDTR, TR, Vec } from '../../engine/guest/x86/defs.js';
import { Src } from '../../engine/guest/x86/interrupts.js';
import { Seg, X } from '../../engine/guest/x86/mode.js';
import { exportState, importState, XSAVE_BYTES } from '../../engine/guest/x86/x87/xsave.js';
import { eflagsToFlags, Slot } from '../../engine/state.js';
import type { LapicState } from '../../devices/irq/lapic-state.js';
import { getLapic, LAPIC_BYTES, putLapic } from './chips.js';
import { Block, MpState } from './layout.js';

/** General registers in the order of struct kvm_regs. */
const GPRS: readonly number[] = [X.RAX, X.RBX, X.RCX, X.RDX, X.RSI, X.RDI, X.RSP, X.RBP, X.R8, X.R9, X.R10, X.R11, X.R12, X.R13, X.R14, X.R15];
const RIP = Block.REGS + 128;
const RFLAGS = Block.REGS + 136;

/** Segment registers in the order of struct kvm_sregs2. */
const SEGMENTS: readonly number[] = [Seg.CS, Seg.DS, Seg.ES, Seg.FS, Seg.GS, Seg.SS, TR, LDTR];
const SEGMENT_BYTES = 24;
const GDT = Block.SREGS + 192;
const IDT = Block.SREGS + 208;
const CR0 = Block.SREGS + 224;
const CR2 = CR0 + 8;
const CR3 = CR0 + 16;
const CR4 = CR0 + 24;
const CR8 = CR0 + 32;
const EFER = CR0 + 40;
const APIC_BASE = CR0 + 48;
const SREGS_FLAGS = CR0 + 56;

/** Fields of struct kvm_vcpu_events. */
const enum Ev {
  EXC_INJECTED = Block.EVENTS,
  EXC_NR = Block.EVENTS + 1,
  EXC_HAS_ERROR = Block.EVENTS + 2,
  EXC_PENDING = Block.EVENTS + 3,
  EXC_ERROR = Block.EVENTS + 4,
  INT_INJECTED = Block.EVENTS + 8,
  INT_NR = Block.EVENTS + 9,
  INT_SOFT = Block.EVENTS + 10,
  INT_SHADOW = Block.EVENTS + 11,
  NMI_INJECTED = Block.EVENTS + 12,
  NMI_PENDING = Block.EVENTS + 13,
  NMI_MASKED = Block.EVENTS + 14,
  FLAGS = Block.EVENTS + 20,
  END = Block.EVENTS + 64,
}
/** KVM_VCPUEVENT_VALID_NMI_PENDING | VALID_SHADOW. */
const EVENT_FLAGS = 1 | 4;

/** Length of SYSCALL. */
/** Flags that user mode cannot change; IF it can with IOPL 3. */
const KERNEL_FLAGS = Ef.IF | Ef.IOPL | Ef.VM | Ef.VIF | Ef.VIP;
const SYSCALL_BYTES = 2;
const XSTATE_BV = Block.XSAVE + 512;
const TSC_DEADLINE = 0x6e0;
const APIC_ENABLED = 0xfee0_0800 | 0;
const APIC_BSP = 0x100;

/** MSRs that KVM keeps: number, and where X86Cpu has the two words. */
interface KeptMsr {
  index: number;
  get(cpu: X86Cpu, out: { lo: number; hi: number }): void;
  set(cpu: X86Cpu, lo: number, hi: number): void;
}
const pair = (index: number, lo: 'starLo' | 'lstarLo' | 'cstarLo' | 'kernelGsLo' | 'sysenterEspLo' | 'sysenterEipLo', hi: 'starHi' | 'lstarHi' | 'cstarHi' | 'kernelGsHi' | 'sysenterEspHi' | 'sysenterEipHi'): KeptMsr => ({
  index,
  get: (c, out) => {
    out.lo = c.msr[lo];
    out.hi = c.msr[hi];
  },
  set: (c, l, h) => {
    c.msr[lo] = l;
    c.msr[hi] = h;
  },
});
const word = (index: number, name: 'fmask' | 'sysenterCs' | 'tscAux'): KeptMsr => ({
  index,
  get: (c, out) => {
    out.lo = c.msr[name];
    out.hi = 0;
  },
  set: (c, l) => (c.msr[name] = l),
});
export const KEPT_MSRS: readonly KeptMsr[] = [
  pair(0xc000_0081, 'starLo', 'starHi'),
  pair(0xc000_0082, 'lstarLo', 'lstarHi'),
  pair(0xc000_0083, 'cstarLo', 'cstarHi'),
  word(0xc000_0084, 'fmask'),
  pair(0xc000_0102, 'kernelGsLo', 'kernelGsHi'),
  word(0x174, 'sysenterCs'),
  pair(0x175, 'sysenterEspLo', 'sysenterEspHi'),
  pair(0x176, 'sysenterEipLo', 'sysenterEipHi'),
];
/** Kept only where the guest has RDTSCP or RDPID: KVM does not know the MSR otherwise. */
export const TSC_AUX: KeptMsr = word(0xc000_0103, 'tscAux');

/** Views of one vCPU's block. */
export class StateBlock {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  private readonly xsave: Int32Array;
  private readonly lapic: Int32Array;
  private readonly debugAddresses: Int32Array;
  private readonly msrs: readonly KeptMsr[];
  private readonly out = { lo: 0, hi: 0 };

  constructor(buffer: ArrayBuffer, cpu: X86Cpu) {
    this.words = new Int32Array(buffer);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.xsave = this.words.subarray(Block.XSAVE >> 2, (Block.XSAVE + XSAVE_BYTES) >> 2);
    this.lapic = this.words.subarray(Block.LAPIC >> 2, (Block.LAPIC + LAPIC_BYTES) >> 2);
    this.debugAddresses = this.words.subarray(Block.DEBUGREGS >> 2, (Block.DEBUGREGS + 32) >> 2);
    const f = cpu.model.features;
    this.msrs = f.has('rdtscp') || f.has('rdpid') ? [...KEPT_MSRS, TSC_AUX] : KEPT_MSRS;
  }

  /** Tells KVM_GET_MSRS which ones. */
  prepareGet(): void {
    const w = this.words;
    w[Block.MSRS >> 2] = this.msrs.length;
    this.msrs.forEach((m, i) => (w[((Block.MSRS + 8) >> 2) + i * 4] = m.index | 0));
  }

  private put(at: number, lo: number, hi: number): void {
    this.words[at >> 2] = lo;
    this.words[(at >> 2) + 1] = hi;
  }

  private lo(at: number): number {
    return this.words[at >> 2]!;
  }

  private hi(at: number): number {
    return this.words[(at >> 2) + 1]!;
  }

  // ---- to KVM --------------------------------------------------------------------------------------------------------

  /**
   * The whole state of a CPU that stands between two instructions.
   * @param userOnly KVM shall execute user mode alone: the interrupt descriptor table is hidden, so that an exception or a system
   * call ends in a shutdown exit with the state as it was (`loadUser`).
   */
  save(cpu: X86Cpu, userOnly = false): void {
    const V = cpu.V;
    GPRS.forEach((slot, i) => this.put(Block.REGS + i * 8, V[slot * 2]!, V[slot * 2 + 1]!));
    // PC is linear, RIP an offset.
    cpu.restartAt();
    cpu.nextIp();
    this.put(RIP, cpu.ipLo, cpu.ipHi);
    this.put(RFLAGS, cpu.flags.get(), 0);
    SEGMENTS.forEach((s, i) => this.saveSegment(cpu, s, Block.SREGS + i * SEGMENT_BYTES));
    const { seg, debug } = cpu;
    this.put(GDT, seg.gdtLo, seg.gdtHi);
    this.put(GDT + 8, seg.gdtLimit & 0xffff, 0);
    this.put(IDT, seg.idtLo, seg.idtHi);
    this.put(IDT + 8, userOnly ? 0 : seg.idtLimit & 0xffff, 0);
    this.put(CR0, cpu.cr0, 0);
    this.put(CR2, cpu.cr2Lo, cpu.cr2Hi);
    this.put(CR3, cpu.cr3Lo, cpu.cr3Hi);
    // Of no consequence in user mode, and refused by a KVM that cannot emulate XSAVE; what user mode finds is the host's.
    this.put(CR4, userOnly ? cpu.cr4 & ~Cr4.OSXSAVE : cpu.cr4, 0);
    this.put(CR8, cpu.intc.getCr8(), 0);
    this.put(EFER, cpu.efer, 0);
    // The local APIC is a device of ours: KVM only wants to know whether CPUID shows one.
    // Where it is the kernel's, `saveApic` has the truth.
    this.put(APIC_BASE, (cpu.intc.enabled() ? APIC_ENABLED : 0) | (cpu.index === 0 ? APIC_BSP : 0), 0);
    this.put(SREGS_FLAGS, 0, 0);
    exportState(cpu, this.xsave);
    this.put(XSTATE_BV, (this.lo(XSTATE_BV) & ~7) | 3 | (cpu.xcr0 & 4), this.hi(XSTATE_BV));
    this.put(Block.XCRS, 1, 0);
    this.put(Block.XCRS + 8, 0, 0);
    this.put(Block.XCRS + 16, cpu.xcr0, 0);
    this.prepareGet();
    this.msrs.forEach((m, i) => {
      m.get(cpu, this.out);
      this.put(Block.MSRS + 16 + i * 16, this.out.lo, this.out.hi);
    });
    this.bytes.fill(0, Block.EVENTS, Ev.END);
    this.bytes[Ev.NMI_MASKED] = cpu.nmiBlocked ? 1 : 0;
    this.bytes[Ev.NMI_PENDING] = cpu.takeNmi() ? 1 : 0;
    this.words[Ev.FLAGS >> 2] = EVENT_FLAGS;
    this.bytes.fill(0, Block.DEBUGREGS, Block.DEBUGREGS + 128);
    for (let i = 0; i < 4; i++) this.put(Block.DEBUGREGS + i * 8, debug.addressLo(i), debug.addressHi(i));
    this.put(Block.DEBUGREGS + 32, debug.dr6, 0);
    this.put(Block.DEBUGREGS + 40, debug.dr7, 0);
  }

  private saveSegment(cpu: X86Cpu, s: number, at: number): void {
    const { seg } = cpu;
    const a = seg.attr[s]!;
    const B = this.bytes;
    this.put(at, seg.baseLo(s), seg.baseHi(s));
    this.words[(at >> 2) + 2] = seg.limit[s]!;
    this.view.setUint16(at + 12, seg.sel[s]!, true);
    B[at + 14] = a & At.TYPE;
    B[at + 15] = (a >> 7) & 1;
    // SS.DPL is how CPL is told.
    B[at + 16] = s === (Seg.SS as number) ? cpu.cpl : (a >> 5) & 3;
    B[at + 17] = a & At.DB ? 1 : 0;
    B[at + 18] = a & At.S ? 1 : 0;
    B[at + 19] = a & At.L ? 1 : 0;
    B[at + 20] = a & At.G ? 1 : 0;
    B[at + 21] = (a >> 12) & 1;
    B[at + 22] = a & At.NULL ? 1 : 0;
    B[at + 23] = 0;
  }

  /** The local APIC that the kernel is to have; after `save`. @param count what its timer's current count reads */
  saveApic(cpu: X86Cpu, s: LapicState, count: number): void {
    this.put(APIC_BASE, s.baseLo | 0, s.baseHi | 0);
    putLapic(s, count, this.lapic);
    this.words[Block.DEADLINE >> 2] = 1;
    this.words[(Block.DEADLINE + 8) >> 2] = TSC_DEADLINE;
    this.put(Block.DEADLINE + 16, s.timer.deadlineLo | 0, s.timer.deadlineHi | 0);
    this.words[Block.MP_STATE >> 2] = cpu.waitSipi ? MpState.INIT_RECEIVED : cpu.halted ? MpState.HALTED : MpState.RUNNABLE;
  }

  /** The local APIC as the kernel has it; @param old what `saveApic` was given @param now guest time, ns */
  loadApic(old: LapicState, now: number): LapicState {
    return getLapic(this.lapic, { baseLo: this.lo(APIC_BASE), baseHi: this.hi(APIC_BASE), deadlineLo: this.lo(Block.DEADLINE + 16), deadlineHi: this.hi(Block.DEADLINE + 16), now }, old);
  }

  get mpState(): MpState {
    return this.lo(Block.MP_STATE);
  }

  /** KVM has not used the state that was saved: what `save` took out of the CPU goes back. */
  unsave(cpu: X86Cpu): void {
    if (this.bytes[Ev.NMI_PENDING]) cpu.signalNmi();
  }

  // ---- from KVM ------------------------------------------------------------------------------------------------------

  /**
   * Takes over the whole state; events that wait are delivered. Cached translations of linear addresses are dropped.
   * @returns true if interrupts are held off for the next instruction
   */
  load(cpu: X86Cpu): boolean {
    this.loadRegisters(cpu);
    return this.deliverEvents(cpu);
  }

  /**
   * As `load`, for a CPU that KVM was to execute in user mode only. If user mode has been left, the CPU stands at the instruction
   * that did it, for the engine to execute.
   * @param left KVM reported a shutdown
   */
  loadUser(cpu: X86Cpu, left: boolean): void {
    const V = cpu.V;
    const B = this.bytes;
    const limit = cpu.seg.idtLimit;
    const { xcr0 } = cpu;
    const osxsave = cpu.cr4 & Cr4.OSXSAVE;
    const eflags = V[X.EFLAGS * 2]!;
    this.loadRegisters(cpu);
    // What `save` has hidden.
    cpu.seg.idtLimit = limit;
    cpu.xcr0 = xcr0;
    cpu.cr4 |= osxsave;
    const lo = this.lo(RIP);
    const hi = this.hi(RIP);
    if (cpu.cpl === 3 && lo === cpu.msr.lstarLo && hi === cpu.msr.lstarHi) {
      // SYSCALL got as far as the fetch of its target, which user mode may not, or was stopped right before: RCX and R11 have the return address and the flags. What user
      // mode cannot change is not taken from R11, since it may have jumped here by itself.
      const flags = V[X.R11 * 2]!;
      V[Slot.FLAGS * 2] = eflagsToFlags(flags);
      const kept = (eflags & Ef.IOPL) === (Ef.IOPL as number) ? KERNEL_FLAGS & ~Ef.IF : KERNEL_FLAGS;
      V[X.EFLAGS * 2] = (flags & Ef.SYSTEM & ~kept) | (eflags & kept) | 2;
      this.back(cpu, V[X.RCX * 2]!, V[X.RCX * 2 + 1]!, SYSCALL_BYTES);
    } else if (B[Ev.EXC_NR] === (Vec.BP as number) && (left || (B[Ev.EXC_INJECTED]! | B[Ev.EXC_PENDING]!) !== 0)) {
      // A trap: RIP is behind INT3.
      this.back(cpu, lo, hi, 1);
    }
    // Faults set RF in the image of the flags; it means nothing without breakpoints, with which KVM is not entered this way.
    if (left) V[X.EFLAGS * 2]! &= ~Ef.RF;
    cpu.updateMode();
  }

  private back(cpu: X86Cpu, lo: number, hi: number, bytes: number): void {
    cpu.setIp((lo - bytes) | 0, lo >>> 0 < bytes ? (hi - 1) | 0 : hi);
    cpu.restartAt();
  }

  private loadRegisters(cpu: X86Cpu): void {
    const V = cpu.V;
    const B = this.bytes;
    GPRS.forEach((slot, i) => {
      V[slot * 2] = this.lo(Block.REGS + i * 8);
      V[slot * 2 + 1] = this.hi(Block.REGS + i * 8);
    });
    const { seg } = cpu;
    SEGMENTS.forEach((s, i) => this.loadSegment(cpu, s, Block.SREGS + i * SEGMENT_BYTES));
    seg.gdtLo = this.lo(GDT);
    seg.gdtHi = this.hi(GDT);
    seg.gdtLimit = this.lo(GDT + 8) & 0xffff;
    seg.idtLo = this.lo(IDT);
    seg.idtHi = this.hi(IDT);
    seg.idtLimit = this.lo(IDT + 8) & 0xffff;
    cpu.cr0 = this.lo(CR0);
    cpu.cr2Lo = this.lo(CR2);
    cpu.cr2Hi = this.hi(CR2);
    cpu.cr3Lo = this.lo(CR3);
    cpu.cr3Hi = this.hi(CR3);
    cpu.cr4 = this.lo(CR4);
    cpu.efer = this.lo(EFER);
    const flags = this.lo(RFLAGS);
    V[Slot.FLAGS * 2] = eflagsToFlags(flags);
    V[X.EFLAGS * 2] = (flags & Ef.SYSTEM) | 2;
    cpu.cpl = !(cpu.cr0 & Cr0.PE) ? 0 : flags & Ef.VM ? 3 : B[Block.SREGS + 5 * SEGMENT_BYTES + 16]!;
    for (let i = 0; i < this.lo(Block.XCRS); i++) if (this.lo(Block.XCRS + 8 + i * 16) === 0) cpu.xcr0 = this.lo(Block.XCRS + 16 + i * 16);
    importState(cpu, this.xsave);
    this.msrs.forEach((m, i) => m.set(cpu, this.lo(Block.MSRS + 16 + i * 16), this.hi(Block.MSRS + 16 + i * 16)));
    cpu.nmiBlocked = B[Ev.NMI_MASKED] !== 0;
    cpu.halted = false;
    // A trap flag that is set counts for the next instruction: as if it had been set by a block without steps.
    cpu.mode = 0;
    cpu.debug.adopt(this.debugAddresses, this.lo(Block.DEBUGREGS + 32), this.lo(Block.DEBUGREGS + 40));
    cpu.mmu.configure();
    cpu.mmu.flushAll();
    cpu.updateMode();
    cpu.setIp(this.lo(RIP), this.hi(RIP));
    cpu.restartAt();
  }

  private loadSegment(cpu: X86Cpu, s: number, at: number): void {
    const B = this.bytes;
    const unusable = B[at + 22] !== 0;
    const a =
      (B[at + 14]! & At.TYPE) | (B[at + 18]! ? At.S : 0) | ((B[at + 16]! & 3) << 5) | (B[at + 15]! ? At.P : 0) | (B[at + 21]! ? 0x1000 : 0) |
      (B[at + 19]! ? At.L : 0) | (B[at + 17]! ? At.DB : 0) | (B[at + 20]! ? At.G : 0);
    // An unusable segment is a null selector: the engine keeps DPL and size of SS alone.
    const attr = unusable ? At.NULL | (s === (Seg.SS as number) ? a & (At.DPL | At.DB) : 0) : a;
    cpu.seg.set(s, this.view.getUint16(at + 12, true), this.lo(at), unusable && s < 6 && s !== (Seg.FS as number) && s !== (Seg.GS as number) ? 0 : this.words[(at >> 2) + 2]!, attr);
    cpu.seg.setBase(s, this.lo(at), this.hi(at));
  }

  /** What KVM was about to deliver. Software interrupts and exceptions are dropped: RIP is still at their instruction. */
  private deliverEvents(cpu: X86Cpu): boolean {
    const B = this.bytes;
    const V = cpu.V;
    const PC = Slot.PC * 2;
    if (B[Ev.NMI_PENDING]) cpu.signalNmi();
    if (B[Ev.EXC_INJECTED]! | B[Ev.EXC_PENDING]!) {
      const nr = B[Ev.EXC_NR]!;
      if (nr !== (Vec.BP as number) && nr !== (Vec.OF as number)) {
        const has = B[Ev.EXC_HAS_ERROR] !== 0;
        const src = nr === (Vec.DB as number) || nr === (Vec.DF as number) ? Src.TRAP : Src.FAULT;
        cpu.ints.deliver(nr, src, has ? this.words[Ev.EXC_ERROR >> 2]! : 0, has, V[PC]!, V[PC + 1]!);
      }
      return false;
    }
    if (B[Ev.NMI_INJECTED]) {
      cpu.nmiBlocked = true;
      cpu.trap(Vec.NMI, Src.TRAP);
      return false;
    }
    if (B[Ev.INT_INJECTED] && !B[Ev.INT_SOFT]) {
      cpu.trap(B[Ev.INT_NR]!, Src.EXTERNAL);
      return false;
    }
    return B[Ev.INT_SHADOW] !== 0;
  }
}
