/**
 * Offsets in a KVM vCPU's shared block (native/kvm/kvm.h) and in struct kvm_run, and the numbers of the interface (Linux
 * include/uapi/linux/kvm.h, arch/x86/include/uapi/asm/kvm.h). All offsets in bytes.
 */
export const enum Block {
  REGS = 0x100,
  SREGS = 0x200,
  XCRS = 0x400,
  EVENTS = 0x600,
  DEBUGREGS = 0x680,
  TSC_OFFSET = 0x710,
  GUEST_DEBUG = 0x740,
  MSRS = 0x800,
  XSAVE = 0x1000,
  LAPIC = 0x4000,
  MP_STATE = 0x4400,
  DEADLINE = 0x4410,
  BYTES = 0x5000,
}

/** Parts of a vCPU's state. */
export const enum Part {
  XCRS = 1,
  XSAVE = 2,
  SREGS = 4,
  REGS = 8,
  MSRS = 16,
  EVENTS = 32,
  DEBUGREGS = 64,
  TSC_OFFSET = 128,
  GUEST_DEBUG = 256,
  /** Not state: the vCPU's own translations are dropped. */
  FLUSH = 512,
  /** Where local APICs are in the kernel. */
  LAPIC = 1024,
  DEADLINE = 2048,
  MP_STATE = 4096,
  APIC = 7168,
  /** Everything that makes up the CPU. */
  ALL = 127,
}

/** struct kvm_run. The union of the exits begins at 32. */
export const enum Run {
  REQUEST_INTERRUPT_WINDOW = 0,
  IMMEDIATE_EXIT = 1,
  EXIT_REASON = 8,
  READY_FOR_INTERRUPT = 12,
  IF_FLAG = 13,
  CR8 = 16,
  IO_DIRECTION = 32,
  IO_SIZE = 33,
  IO_PORT = 34,
  IO_COUNT = 36,
  IO_DATA_OFFSET = 40,
  MMIO_ADDRESS = 32,
  MMIO_DATA = 40,
  MMIO_LENGTH = 48,
  MMIO_IS_WRITE = 52,
  MSR_ERROR = 32,
  MSR_INDEX = 44,
  MSR_DATA = 48,
  SUBERROR = 32,
  FAILURE_FLAGS = 40,
  FAILURE_INSN_SIZE = 48,
  FAILURE_INSN = 49,
  HARDWARE_REASON = 32,
  EOI_VECTOR = 32,
}

/**
 * struct kvm_coalesced_mmio_ring, in a page of its own behind struct kvm_run; KVM_CAP_COALESCED_MMIO tells which. It belongs to the
 * machine, every vCPU's mapping shows the same. Bytes.
 */
export const enum Ring {
  /** Index of the next entry to be taken (ours) and to be filled (KVM's). */
  FIRST = 0,
  LAST = 4,
  ENTRIES = 8,
  ENTRY_BYTES = 24,
  /** In an entry. */
  ADDRESS = 0,
  LENGTH = 8,
  DATA = 16,
  COUNT = 170,
}

export const enum Exit {
  UNKNOWN = 0, EXCEPTION = 1, IO = 2, HYPERCALL = 3, DEBUG = 4, HLT = 5, MMIO = 6, IRQ_WINDOW_OPEN = 7, SHUTDOWN = 8, FAIL_ENTRY = 9, INTR = 10, SET_TPR = 11, INTERNAL_ERROR = 17,
  SYSTEM_EVENT = 24, IOAPIC_EOI = 26, RDMSR = 29, WRMSR = 30, DIRTY_RING_FULL = 31,
}

/** struct kvm_mp_state. */
export const enum MpState { RUNNABLE = 0, UNINITIALIZED = 1, INIT_RECEIVED = 2, HALTED = 3, SIPI_RECEIVED = 4 }
export const EXIT_NAMES: Readonly<Record<number, string>> = {
  0: 'unknown', 1: 'exception', 2: 'io', 3: 'hypercall', 4: 'debug', 5: 'hlt', 6: 'mmio', 7: 'interrupt window', 8: 'shutdown', 9: 'entry refused', 10: 'kick', 11: 'set tpr', 17: 'internal error', 24: 'system event', 26: 'I/O APIC EOI', 29: 'rdmsr', 30: 'wrmsr', 31: 'dirty ring full',
};
/** KVM_INTERNAL_ERROR_*. */
export const SUBERRORS: Readonly<Record<number, string>> = { 1: 'emulation failure', 2: 'simultaneous exceptions', 3: 'failed event delivery', 4: 'unexpected exit' };
export const SUBERROR_EMULATION = 1;

/** struct kvm_guest_debug.control. */
export const enum GuestDebug { ENABLE = 1, USE_HW_BP = 0x2_0000 }

/** KVM_CAP_*. */
export const enum Cap {
  USER_MEMORY = 3, VCPU_EVENTS = 41, DEBUGREGS = 50, XSAVE = 55, XCRS = 56, GET_TSC_KHZ = 61, MAX_VCPUS = 66, NR_MEMSLOTS = 10, READONLY_MEM = 81, IMMEDIATE_EXIT = 136, X86_USER_SPACE_MSR = 188, X86_MSR_FILTER = 189,
  EXIT_ON_EMULATION_FAILURE = 204, SREGS2 = 200, VCPU_ATTRIBUTES = 127, SPLIT_IRQCHIP = 121, SET_GUEST_DEBUG = 23, COALESCED_MMIO = 15,
  IRQCHIP = 0, IRQFD = 32, PIT2 = 33, IOEVENTFD = 36, IRQFD_RESAMPLE = 82, SIGNAL_MSI = 77, IRQ_ROUTING = 25, X2APIC_API = 129, MP_STATE = 14, DIRTY_LOG_RING = 192, DIRTY_LOG_RING_ACQ_REL = 223,
  HYPERV = 44, HYPERV_SYNIC2 = 148,
}

/** Flags of a memory slot. */
export const enum SlotFlag { LOG_DIRTY = 1, READONLY = 2 }
