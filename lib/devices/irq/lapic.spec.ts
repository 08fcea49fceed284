/**
 * Local APIC registers. Intel SDM volume 3A, chapter "Advanced Programmable Interrupt Controller (APIC)": tables "Local APIC
 * Register Address Map" and "x2APIC MSR Address Map".
 */

/** Offsets in the 4 KiB register page. The x2APIC MSR of a register is 0x800 + (offset >> 4). */
export const enum LapicReg {
  ID = 0x20,
  VERSION = 0x30,
  TPR = 0x80,
  APR = 0x90,
  PPR = 0xa0,
  EOI = 0xb0,
  REMOTE_READ = 0xc0,
  LDR = 0xd0,
  DFR = 0xe0,
  SVR = 0xf0,
  /** Eight registers each. */
  ISR = 0x100,
  TMR = 0x180,
  IRR = 0x200,
  ESR = 0x280,
  ICR_LO = 0x300,
  ICR_HI = 0x310,
  LVT_TIMER = 0x320,
  LVT_THERMAL = 0x330,
  LVT_PERF = 0x340,
  LVT_LINT0 = 0x350,
  LVT_LINT1 = 0x360,
  LVT_ERROR = 0x370,
  TIMER_INITIAL = 0x380,
  TIMER_CURRENT = 0x390,
  TIMER_DIVIDE = 0x3e0,
  /** x2APIC only. */
  SELF_IPI = 0x3f0,
}

export const enum Msr {
  APIC_BASE = 0x1b,
  TSC_DEADLINE = 0x6e0,
  X2APIC_FIRST = 0x800,
  X2APIC_LAST = 0x8ff,
}

/** Bits of IA32_APIC_BASE, low half. */
export const enum ApicBase {
  BSP = 1 << 8,
  EXTD = 1 << 10,
  EN = 1 << 11,
}

export const enum DeliveryMode {
  FIXED = 0,
  LOWEST = 1,
  SMI = 2,
  REMOTE_READ = 3,
  NMI = 4,
  INIT = 5,
  STARTUP = 6,
  EXTINT = 7,
}

/** Positions in the array of local vector table entries. */
export const enum Lvt {
  TIMER = 0,
  THERMAL = 1,
  PERF = 2,
  LINT0 = 3,
  LINT1 = 4,
  ERROR = 5,
  COUNT = 6,
}

export const enum LvtBit {
  REMOTE_IRR = 1 << 14,
  LEVEL = 1 << 15,
  MASKED = 1 << 16,
}

/** Bits of each LVT entry that the guest may write. */
export const LVT_WRITABLE: readonly number[] = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];

/** LVT timer, bits 18:17. */
export const enum TimerMode {
  ONE_SHOT = 0,
  PERIODIC = 1,
  TSC_DEADLINE = 2,
}

export const enum Svr {
  ENABLE = 1 << 8,
  SUPPRESS_EOI_BROADCAST = 1 << 12,
}

export const enum Esr {
  SEND_ILLEGAL_VECTOR = 1 << 5,
  RECEIVE_ILLEGAL_VECTOR = 1 << 6,
  ILLEGAL_REGISTER = 1 << 7,
}

/** ICR, low half. */
export const enum Icr {
  LOGICAL = 1 << 11,
  ASSERT = 1 << 14,
  LEVEL = 1 << 15,
  SHORTHAND_SHIFT = 18,
  /** Bits that can be written: vector, delivery mode, destination mode, level, trigger, shorthand. */
  WRITABLE = 0xccfff,
}

export const enum Shorthand {
  NONE = 0,
  SELF = 1,
  ALL = 2,
  OTHERS = 3,
}

/** APIC version 0x14 with six LVT entries. */
export const LAPIC_VERSION = 0x14 | ((Lvt.COUNT - 1) << 16);
export const LAPIC_DIRECTED_EOI = 1 << 24;
