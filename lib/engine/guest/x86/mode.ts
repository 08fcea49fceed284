/** x86 register slots and mode bits: what the decoder, lifter, CPU and helpers agree on. */
import { Slot, VEC_STRIDE, X87_STRIDE } from '../../state.js';

/** x86 state slots. General registers are Slot.GPR + number in the encoding order RAX RCX RDX RBX RSP RBP RSI RDI R8..R15. */
export const enum X {
  RAX = 8, RCX = 9, RDX = 10, RBX = 11, RSP = 12, RBP = 13, RSI = 14, RDI = 15,
  R8 = 16, R9 = 17, R10 = 18, R11 = 19, R12 = 20, R13 = 21, R14 = 22, R15 = 23,
  /** Segment bases ES CS SS DS FS GS (64 bits; upper half zero outside long mode). */
  SEGBASE = 24,
  FSBASE = 28,
  GSBASE = 29,
  /** EFLAGS without the six arithmetic flags: TF IF DF IOPL NT RF VM AC VIF VIP ID at their positions; bit 1 set. */
  EFLAGS = 30,
  /**
   * Limits for the inline SEGCHK, unsigned 32 bits in the low word: an access of n bytes at offset o passes inline if
   * o + n - 1 <= limit without wrapping. High word non-zero = inline check always fails (null, expand-down, wrong rights).
   * Index by segment: reads, then writes.
   */
  LIMIT_R = 32,
  LIMIT_W = 38,
  /** What SWAPGS exchanges GSBASE with (MSR KERNEL_GS_BASE). */
  KGSBASE = 44,
  /** Low: current privilege level. */
  CPL = 45,
  /** Low: complement of MSR FMASK. */
  NFMASK = 46,
  /** Low: Pending.INTR if the interrupt controller has a vector to deliver, whatever EFLAGS.IF says; else 0. */
  IRQ = 47,
  /**
   * Segment selectors, attributes (`At`) and limits: 32-bit words, segment s at word 1 + s, LDTR and TR after the six. So CS and SS
   * share a slot (SEL + 1), which instructions that load both can write at once.
   */
  SEL = 68,
  ATTR = 73,
  LIMIT = 78,
  /** Selectors of CS (low) and SS (high) that SYSCALL and a 64-bit SYSRET load. */
  SYSCALL_SEL = 83,
  SYSRET_SEL = 84,
  LSTAR = 85,
  /** Low: MSR TSC_AUX. */
  TSC_AUX = 86,
  CR2 = 87,
  /**
   * What IRETQ within the kernel may rely on without a helper: selectors of CS (low) and SS (high, 0 or flat) that it returned to last, which are loaded as the
   * descriptors say that lie at linear addresses IRET_CS_AT and IRET_SS_AT and are IRET_CS and IRET_SS. Low word -1: nothing. Written by transfer.ts, unset when one of these selectors
   * is loaded with something else than that descriptor, or in another way than by SYSCALL and SYSRET (whose segments are flat, too), and while NMIs are blocked.
   */
  IRET_SEL = 88,
  IRET_CS_AT = 89,
  IRET_CS = 90,
  IRET_SS_AT = 91,
  IRET_SS = 92,
  /** What CPUID answered, for generated code (answers.ts): ANSWERS times EAX and ECX, then EAX and EBX, then ECX and EDX. */
  CPUID = 96,
  /** Low: not 0 if something that CPUID reports has changed since. */
  CPUID_STALE = 120,
  /** What RDMSR answered, of registers that only WRMSR changes: ANSWERS times ECX (high word not 0: nothing), then EAX and EDX. */
  RDMSR = 121,
}
/** Places for answers of CPUID and RDMSR: an instruction has the one that its page offset says. */
export const ANSWERS = 8;
export const enum Seg { ES = 0, CS = 1, SS = 2, DS = 3, FS = 4, GS = 5 }

export const gpr = (r: number): number => Slot.GPR + r;
export const xmm = (r: number): number => Slot.VEC + r * VEC_STRIDE;
/** MMX register i aliases the significand of physical x87 register Ri. */
export const mmx = (r: number): number => Slot.X87 + r * X87_STRIDE;

/** Mode bits: the part of a block's key besides its physical address. */
export const enum Mode {
  /** Bits 0..1: code size, 0 = 16, 1 = 32, 2 = 64. */
  CODE_MASK = 3,
  CODE16 = 0,
  CODE32 = 1,
  CODE64 = 2,
  /** Stack pointer is 32 bits wide (SS.B); meaningless in 64-bit code. */
  SS32 = 4,
  /** CPL = 3. */
  USER = 8,
  /** CS base is 0 and its limit 4 GiB: linear pc = EIP. Always set in 64-bit code. */
  CSFLAT = 16,
  /** DS, ES and SS have base 0, limit 4 GiB, are present and writable: no base added, no SEGCHK. Always set in 64-bit code. */
  FLAT = 32,
  /** Supervisor with EFLAGS.AC while CR4.SMAP (MMU index 2). With USER: alignment checking is on (MMU index 3). */
  AC = 64,
  /** Real mode or virtual-8086: segment loads need no descriptor. */
  REAL = 128,
  /** Virtual-8086. */
  V86 = 256,
  /** Blocks of one instruction: single step (TF), instruction breakpoints, interrupt shadow. */
  STEP = 512,
  /** CR0.TS or CR0.EM set: x87/MMX/SSE instructions go through helpers that raise #NM or #UD as due. */
  FPU_TRAP = 1024,
  /** MXCSR or FCW unmasks an exception: floating point must run in helpers. */
  FP_UNMASKED = 2048,
  /** CR4.OSFXSR and not CR0.EM: SSE usable. */
  SSE = 4096,
  /** CR4.OSXSAVE and XCR0 enable AVX, protected mode: VEX encodings are valid. */
  AVX = 8192,
  /** CPL = 0 (privileged instructions need no check). Real mode counts as CPL 0. */
  CPL0 = 16384,
  /** Bit 15. The MMU index is derived, not stored here. PE: protected mode (not real, not v86) with LDT/GDT loads. */
  LONG = 32768,
  /** CR4.SMAP: EFLAGS.AC counts in supervisor mode. */
  SMAP = 0x1_0000,
  /** EFER.SCE in long mode, and FMASK clears TF and AC: SYSCALL from 64-bit code and SYSRET to it need no helper. */
  SYSCALL = 0x2_0000,
  /** CR4.FSGSBASE. */
  FSGSBASE = 0x4_0000,
}

/** MMU indexes. */
export const enum Mmu { USER = 0, KERNEL = 1, KERNEL_AC = 2 }
/** MMU index of user mode with alignment checks (CR0.AM, EFLAGS.AC): its TLB table is never filled, so every access is checked. */
export const MMU_ALIGN = 3;

/** Slot, and whether it is the high word of it, of segment s in one of the arrays SEL, ATTR, LIMIT. */
export const segSlot = (array: X.SEL | X.ATTR | X.LIMIT, s: number): number => array + ((s + 1) >> 1);
export const segHigh = (s: number): boolean => (s & 1) === 0;

/** The MMU index that belongs to a mode word. */
export function mmuIndexOf(mode: number): number {
  return mode & Mode.USER ? (mode & Mode.AC ? MMU_ALIGN : Mmu.USER) : mode & Mode.AC ? Mmu.KERNEL_AC : Mmu.KERNEL;
}
