/**
 * Layout of the per-vCPU state region: the one block of memory that generated code, the interpreter and
 * TypeScript share. It is addressed in *slots* of 8 bytes; slot s lies at byte 8*s. The interpreter sees it
 * as `V: Int32Array` (low word of slot s at V[2*s], high word at V[2*s+1]); generated code keeps
 * `base + STATE_BIAS` in one host register, so slots 0..31 are reachable with an 8-bit displacement.
 *
 * An IR operand *is* a slot number: guest registers, temporaries and constants live in one numbering, so the
 * interpreter needs no case distinction and a spilled temporary has a home.
 */

/** Generated code addresses the state through a register that points this many bytes past its start. */
export const STATE_BIAS = 128;
/** Size of the region in bytes. */
export const STATE_BYTES = 0x225_0000;

/** Slots that every guest architecture shares. */
export const enum Slot {
  /**
   * Arithmetic flags as LAHF/SETO leave them on an x86 host: byte 0 = OF (0 or 1), byte 1 = SF ZF 0 AF 0 PF 1 CF
   * (bit 7..0). Bytes 2..7 are zero.
   */
  FLAGS = 0,
  /** Linear address of the page the running block starts in (low 12 bits zero). */
  PCBASE = 1,
  /** Linear address of the next instruction; valid only outside blocks (after an exit, before an entry). */
  PC = 2,
  /** Low word: requests set by the JavaScript thread (`Pending`). High word: `Attention`, set by native threads. */
  PENDING = 3,
  /** Low word: page offset of the current instruction | offset of the next one << 16. High word: `Yield` kind. */
  X_INSN = 4,
  /** Yield record: linear address of a memory access. */
  X_ADDR = 5,
  /** Yield record: value to store, or value loaded (64 bits). */
  X_VAL = 6,
  /** Yield record: low word = width (log2 bytes) | access flags << 8; high word = slot of a vector operand. */
  X_AUX = 7,
  /** First general-purpose register; guests number upwards from here. */
  GPR = 8,

  /** Yield record of a helper call: low = helper id, high = dst slot. */
  X_CALL = 48,
  /** low = slot a, high = slot b. */
  X_AB = 49,
  /** low = slot c, high = imm. */
  X_CI = 50,
  /** Host address at which generated code is entered. */
  X_ENTRY = 51,
  /** Stack pointer of the native caller while generated code runs. */
  X_NATIVE_SP = 52,
  /** Stack pointer of generated code while TypeScript runs; 0 when there is nothing to resume. */
  X_JIT_SP = 53,
  /** Low: not 0 if generated code has used MXCSR since it was entered: it may hold exception flags that slot MXCSR lacks. */
  X_MXCSR_USED = 54,
  /** Host address of the exit path that the fault guard jumps to. */
  X_ABORT = 55,
  /** Backend scratch, two slots. */
  X_SCRATCH = 56,
  /**
   * Byte 0: 1 while the host's FPU holds the guest's x87 state, and FPU (but for FOP) and X87 are stale. Byte 1: 1 while host vector
   * registers hold the low halves of pinned VEC slots. Both are 0 outside generated code.
   */
  X_FPU = 58,
  /** Low: x87 control word of the native caller. */
  X_NATIVE_FCW = 59,
  /** Four slots in which TypeScript helpers put addresses and values for GuestCpu.load and store. */
  HELPER_SCRATCH = 60,

  /** Low: guest MXCSR. */
  MXCSR = 64,
  /** Low: FCW (16 bits) | FSW << 16. High: abridged tag word (8 bits, 1 = not empty) | FOP << 16. */
  FPU = 65,
  /** Instruction and data pointers of the last x87 instruction. */
  FPU_IP = 66,
  FPU_DP = 67,

  // Slots 68..199 are the guest architecture's.

  /** Vector registers that the native caller wants back (10 of 16 bytes; Windows only). */
  X_NATIVE_XMM = 200,
  /** 32-bit words, one per MMU index: where its jump cache table is, bytes from JC_BASE. */
  JC_TABLE = 220,
  /** 32-bit words, one per MMU index: the mode whose blocks its jump cache holds. */
  JC_MODE = 232,
  /**
   * The guest's counter (op TIME) from the host's: TIME_GUEST + ((host - TIME_HOST) * TIME_SCALE >> 32), all 64 bits, unsigned.
   * TIME_SCALE = 0: the helper does it.
   */
  TIME_SCALE = 236,
  TIME_HOST = 237,
  TIME_GUEST = 238,
  /** Low: the CPU's mode word, high: its MMU index, for CPUs that let generated code change them (op SETMODE). */
  MODE = 239,
  /** Host address of the code map (PhysicalMap.codeMap), or 0. */
  CODE_MAP = 231,
  /** Operands of a flags recipe (host/x64/emit-flags.ts). */
  X_FLAGS_A = 224,
  X_FLAGS_B = 225,
  /** Byte 0: not 0 if slot FLAGS is exact although there is a recipe. */
  X_FLAGS_V = 227,
  /** Return address of a call of a stub that may yield. */
  X_COLD = 228,
  /** Low: stack pointer of generated code relative to RBP, outside what a yield has pushed: where the return stack ends. */
  X_RETURNS = 230,
  /** x87 environment image (28 bytes) that generated code builds. */
  X_FPU_ENV = 240,

  /** Vector registers, VEC_STRIDE slots apart, 32 of them. Bytes 0..31 of each hold the YMM register. */
  VEC = 256,
  /** x87 registers R0..R7 (physical numbers), X87_STRIDE slots apart: 64-bit significand, then sign and exponent (16 bits). */
  X87 = 512,
  /** First temporary. Vector temporaries take 4 consecutive slots, aligned to 4. */
  TEMP = 768,
  TEMP_END = 2048,
  /**
   * First symbol: a pool of interned values like the constants, but opaque: passes and back ends must not look at the value,
   * because the same code serves guests in which it differs (docs/AOT.md).
   */
  SYMBOL = 2048,
  SYMBOL_END = 0x4000,
  /** First constant: a pool of interned 64-bit values. */
  CONST = 0x4000,
  CONST_END = 0x14000,
}
export const VEC_STRIDE = 8;
export const X87_STRIDE = 2;
/** "No operand". */
export const NONE = -1;

/** Software TLB: one direct-mapped table per MMU index, at byte TLB_BASE + idx * TLB_TABLE_BYTES. */
export const TLB_BASE = 0x10_0000;
/** 32,768 pages, 128 MiB: in 32 MiB the pages of a kernel's map of all memory pushed one another out (docs/adr/0062). */
export const TLB_BITS = 15;
export const TLB_ENTRIES = 1 << TLB_BITS;
export const TLB_ENTRY_SHIFT = 5;
export const TLB_TABLE_BYTES = TLB_ENTRIES << TLB_ENTRY_SHIFT;
/** Byte offset of an entry in its table: (address >>> TLB_SHIFT) & TLB_OFFSETS. */
export const TLB_SHIFT = 12 - TLB_ENTRY_SHIFT;
export const TLB_OFFSETS = (TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT;
/** Entry index = bits 12..(12+TLB_BITS-1) of the linear address. Offsets within an entry, in bytes: */
export const enum TlbField {
  /** Page address if reads may go straight to host memory, otherwise a value with a low bit set (never equal). */
  TAG_READ = 0,
  /** The same for writes (pages that hold translated code, and clean pages, are never tagged). */
  TAG_WRITE = 8,
  /** host address = linear address + ADDEND (64 bits, wraps). */
  ADDEND = 16,
  /** Byte offset of the page in guest RAM (uint32, page aligned); low bits: `TlbFlag`. */
  RAM_PAGE = 24,
  /** Low word of the page address | 1 when a translation is present, otherwise 0. */
  SPARE = 28,
}
/**
 * Bit of RAM_PAGE: the page would have a write tag if it held no code, so a write that changes no code may be made. CPUs that
 * set it have generated code ask the code map.
 */
export const TLB_CODE = 0x800;
/** Invalid tag: no page address has bit 0 set. */
export const TLB_INVALID = -1;
export const MMU_INDEXES = 8;
/**
 * Makes a TLB of zeros empty. A tag is only looked up in the entry that its address belongs to, so 0 is an address in the first entry of a table
 * and invalid in all others: memory that no guest needs is not touched.
 * @param tables of which the guest uses the first ones
 */
export function initTlb(V: Int32Array, tables = MMU_INDEXES): void {
  for (let i = 0; i < tables; i++) {
    const e = (TLB_BASE + i * TLB_TABLE_BYTES) >> 2;
    V.fill(TLB_INVALID, e, e + 4);
  }
}
/** Of no guest: lockstep translates for this table, which is never filled, so that it sees every access. */
export const SPARE_MMU_INDEX = MMU_INDEXES - 1;

/**
 * Page hints (host/x64/emit-hint.ts): per MMU index a table of HINTS entries of { page address or TLB_INVALID, addend }; then a word for each index
 * that is not 0 while its table may hold something; then a count of misses for each hint.
 */
export const HINT_BASE = 0xa_0000;
export const HINTS = 64;
export const HINT_BYTES = 16;
export const HINT_TABLE_BYTES = HINTS * HINT_BYTES;
export const HINT_USED = HINT_BASE + MMU_INDEXES * HINT_TABLE_BYTES;
export const HINT_MISSES = HINT_USED + MMU_INDEXES * 4;
/** The addend that each hint has seen last, of accesses that only remember that (8 bytes each, numbered as HINT_MISSES). A guess: always compared with the TLB's. */
export const HINT_ADDENDS = HINT_MISSES + MMU_INDEXES * HINTS * 4;

/** Empties all page hints. Whoever takes an entry of the TLB away, or its write tag, has to. */
export function dropHints(V: Int32Array): void {
  for (let i = 0; i < MMU_INDEXES; i++) {
    if (V[(HINT_USED >> 2) + i] === 0) continue;
    V[(HINT_USED >> 2) + i] = 0;
    const at = (HINT_BASE + i * HINT_TABLE_BYTES) >> 2;
    V.fill(TLB_INVALID, at, at + (HINT_TABLE_BYTES >> 2));
  }
}

/** Makes the hints empty for the first time. */
export function initHints(V: Int32Array): void {
  V.fill(1, HINT_USED >> 2, (HINT_USED >> 2) + MMU_INDEXES);
  dropHints(V);
}

/** Jump caches: direct-mapped tables, of which slot JC_TABLE names one for each MMU index; entry = { linear pc (8 bytes), host address (8 bytes) }. */
export const JC_BASE = 0x90_0000;
/** 65,536 entries: the kernel and the libraries of a running system together jump to tens of thousands of places. */
export const JC_BITS = 16;
export const JC_ENTRIES = 1 << JC_BITS;
export const JC_ENTRY_SHIFT = 4;
export const JC_TABLE_BYTES = JC_ENTRIES << JC_ENTRY_SHIFT;
/** One for each MMU index, the others for address spaces and modes that do not run. */
export const JC_TABLES = MMU_INDEXES + 16;
/**
 * Jump cache index of a linear pc: (pc ^ (pc >>> JC_FOLD)) & (JC_ENTRIES - 1), on the low 32 bits.
 * The same in TypeScript and in generated code.
 */
export const JC_FOLD = 9;

/** Bits of the low word of PENDING. Any set bit makes generated code leave at the next check. */
export const enum Pending {
  /** An interrupt is deliverable now (line raised and the guest accepts interrupts). */
  INTR = 1,
  NMI = 2,
  /** INIT, SIPI or another event for the run loop. */
  EVENT = 4,
  /** Leave the run loop: pause, stop, accelerator switch. */
  STOP = 8,
}

/** Bits of the high word of PENDING, by which native threads make generated code leave at the next check. The run loop looks at everything after either. */
export const enum Attention {
  /** The deadline of the slice has come. */
  DEADLINE = 1,
  /** The event loop may have something to do: a descriptor of it is ready, or another thread has kicked the context. */
  LOOK = 2,
}

/** Kinds of yield: generated code stops in the middle of a block and may be resumed after it. */
export const enum Yield {
  /** A block ended: look at `ExitCode` in the low word of X_AUX; nothing to resume. */
  EXIT = 0,
  LOAD = 1,
  STORE = 2,
  LOAD_VEC = 3,
  STORE_VEC = 4,
  CALL = 5,
  /** Division whose fast path does not apply. Operands as in CALL: dst, a, b, c; imm = remainder slot; X_AUX low = width | signed << 8. */
  DIVIDE = 6,
  /** Segment limit check failed inline: X_ADDR = offset, X_AUX low = segment | write << 8 | size << 16. */
  SEGCHK = 7,
  /** Misaligned operand of an instruction that requires alignment. */
  ALIGN = 8,
  /** The fault guard fired: host address in X_ADDR, signal number in X_AUX. */
  HOST_FAULT = 9,
}

/** Why a block ended (field imm of the EXIT op, or what the run loop sees after a chain miss). */
export const enum ExitCode {
  /** Nothing special: look PC up and go on. */
  NEXT = 0,
  /** PENDING was non-zero at a check. PC is exact. */
  PENDING = 1,
  HALT = 2,
  /** Go on at PC with interrupts held off for one instruction (STI, MOV SS, POP SS). */
  SHADOW = 3,
  /** A chainable direct jump had no target yet; X_ADDR low word = chain site id. */
  CHAIN = 4,
  /** A debugger's breakpoint is at PC. */
  BREAK = 5,
}

/** Access flags of loads and stores (field c of LD/ST/LDV/STV). */
export const enum Access {
  NORMAL = 0,
  /** Load of a read-modify-write: check for write permission (fault reports a write). */
  RMW = 1,
  /** Access with supervisor rights whatever the current privilege (descriptor tables, TSS). */
  SYSTEM = 2,
  /** Access with user rights although the CPU runs in supervisor mode. */
  USER = 4,
  /** With USER: those rights are MMU index 0's, so that generated code finds the page in that table. */
  TABLE0 = 8,
}

/** EFLAGS positions of the arithmetic flags, and the compact mask used in the `fw` field of IR ops. */
export const enum Fl {
  CF = 1,
  PF = 2,
  AF = 4,
  ZF = 8,
  SF = 16,
  OF = 32,
  ALL = 63,
  NOT_CF = 62,
}

/** Condition codes, numbered as in the x86 Jcc/SETcc/CMOVcc opcodes. */
export const enum Cc {
  O = 0, NO = 1, B = 2, AE = 3, E = 4, NE = 5, BE = 6, A = 7,
  S = 8, NS = 9, P = 10, NP = 11, L = 12, GE = 13, LE = 14, G = 15,
}

/** FLAGS slot (LAHF/SETO order, low 16 bits) to EFLAGS positions. */
export function flagsToEflags(f: number): number {
  return ((f >>> 8) & 0xd5) | ((f & 1) << 11);
}
/** EFLAGS positions to FLAGS slot format. */
export function eflagsToFlags(e: number): number {
  return ((e & 0xd5) << 8) | 0x200 | ((e >>> 11) & 1);
}
/** Compact `Fl` mask to the mask of the same flags in EFLAGS positions. */
export function flMaskToEflags(m: number): number {
  return (m & 1) | ((m & 2) << 1) | ((m & 4) << 2) | ((m & 8) << 3) | ((m & 16) << 3) | ((m & 32) << 6);
}

/** Makes op TIME call its helper until TimeScale.sync: the guest's counter has been set. */
export function dropTimeScale(V: Int32Array): void {
  V[Slot.TIME_SCALE * 2] = V[Slot.TIME_SCALE * 2 + 1] = 0;
}
