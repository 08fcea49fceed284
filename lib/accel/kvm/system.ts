/**
 * KVM on this host: whether it is there and can do what is needed, and how fast it is in kernel mode. Every refusal is one line
 * that says what to do.
 */
import { type CpuidRegister, type CpuModel, type Cpuid } from '../../engine/guest/x86/cpuid.js';
import { UsageError, VmxError } from '../../errors.js';
import { loadNative } from '../../native.js';
import type { IrqchipMode } from './irqchip.js';
import { Cap } from './layout.js';
import { keepsInService, measure } from './probe.js';

export const KVM_DEVICE = '/dev/kvm';

/** Capabilities that are needed, with the kernel that brought them. */
export const NEEDED: readonly { cap: Cap; name: string; linux: string }[] = [
  { cap: Cap.USER_MEMORY, name: 'user memory', linux: '2.6.25' },
  { cap: Cap.READONLY_MEM, name: 'read-only memory slots', linux: '3.7' },
  { cap: Cap.VCPU_EVENTS, name: 'vCPU events', linux: '2.6.33' },
  { cap: Cap.DEBUGREGS, name: 'debug registers', linux: '2.6.35' },
  { cap: Cap.XSAVE, name: 'XSAVE state', linux: '2.6.36' },
  { cap: Cap.XCRS, name: 'extended control registers', linux: '2.6.36' },
  { cap: Cap.GET_TSC_KHZ, name: 'TSC frequency', linux: '2.6.39' },
  { cap: Cap.IMMEDIATE_EXIT, name: 'immediate exit', linux: '4.13' },
  { cap: Cap.X86_USER_SPACE_MSR, name: 'MSRs in user space', linux: '5.10' },
  { cap: Cap.X86_MSR_FILTER, name: 'MSR filter', linux: '5.10' },
  { cap: Cap.SREGS2, name: 'SREGS2', linux: '5.14' },
  { cap: Cap.VCPU_ATTRIBUTES, name: 'TSC offset', linux: '5.16' },
];

/** Features that are ours or the devices', not the host CPU's: the local APIC, its timer, paravirtual leaves. */
const OURS: ReadonlySet<string> = new Set(['apic', 'x2apic', 'tsc_deadline_timer', 'hypervisor', 'kvmclock', 'arat', 'mtrr', 'pat', 'cmp_legacy', 'invtsc']);
/** What the engine has and KVM without an interrupt controller of its own has not: IPIs by hypercall. */
const NOT_HERE: readonly string[] = ['pv_ipi'];

export interface KvmHost {
  readonly device: string;
  readonly maxVcpus: number;
  readonly tscKHz: number;
  readonly emulationFailureExits: boolean;
  /** Page of a vCPU's shared memory where writes are collected; 0: they are not. */
  readonly coalescedPage: number;
  /** A debugger's breakpoints can be kept in debug registers. */
  readonly breakpoints: boolean;
  /** How long a simple instruction takes in ring 0: 0.3 with hardware virtualisation, hundreds where kernel mode is emulated. */
  readonly kernelNsPerInsn: number;
  /** The guest's TSC can be set off from the host's. */
  readonly tscOffsets: boolean;
  /**
   * KVM keeps translations of the guest's page tables that it must be told to drop when somebody else has changed them: it has no nested
   * paging, and watches only writes by the guest.
   */
  readonly keepsTranslations: boolean;
  /** A shutdown exit leaves the registers as they were (AMD's hardware loses them). */
  readonly shutdownKeepsState: boolean;
  /** Interrupt controllers that can be the kernel's. */
  readonly irqchip: { readonly split: boolean; readonly full: boolean };
  /** Writes to doorbells can be noted without an exit. */
  readonly ioeventfd: boolean;
  /** An eventfd can raise an interrupt, and be told of its end. */
  readonly irqfd: boolean;
  /** It has a SynIC of its own. */
  readonly synic: boolean;
  /** Capability by which vCPUs note written pages in rings; 0: bitmaps only. */
  readonly dirtyRing: number;
  /** KVM_GET_SUPPORTED_CPUID. */
  readonly cpuid: Uint32Array;
  /**
   * What CPUID says in user mode where it is neither intercepted nor made to fault, so that programs see the host's CPU: leaf, ECX, EAX, EBX,
   * ECX, EDX of each leaf with features. Null: what KVM was told.
   */
  readonly userCpuid: Uint32Array | null;
}

/** Kernel mode counts as emulated above this, ns an instruction: the JIT is faster then. */
export const SLOW_KERNEL_NS = 20;

/** Of the addon's KVM objects. */
const REVISION = 2;

let known: KvmHost | null = null;

/** @param values what KVM_CHECK_EXTENSION says of NEEDED, in order. @throws VmxError ERR_KVM_OLD that names the first one missing */
export function requireCapabilities(device: string, values: readonly number[]): void {
  NEEDED.forEach((n, i) => {
    if (values[i] === 0) throw new VmxError('ERR_KVM_OLD', `${device} lacks '${n.name}', which Linux ${n.linux} brought: a newer host kernel is needed`);
  });
}

/** Who executes kernel mode. */
export function engineKeepsKernel(kernel: 'auto' | 'kvm' | 'engine', host: Pick<KvmHost, 'kernelNsPerInsn' | 'shutdownKeepsState'>): boolean {
  return kernel === 'auto' ? host.kernelNsPerInsn > SLOW_KERNEL_NS && host.shutdownKeepsState : kernel === 'engine';
}

/**
 * Which interrupt controllers are to be the kernel's: none unless asked for (docs/adr/0016-kernel-irqchip.md), none where the host cannot do what was asked for, and where the engine has kernel
 * mode, since interrupts are delivered there.
 */
export function chooseIrqchip(asked: 'auto' | IrqchipMode, host: Pick<KvmHost, 'irqchip'>, slow: boolean): IrqchipMode {
  if (asked === 'auto' || asked === 'off' || slow) return 'off';
  return host.irqchip[asked] ? asked : 'off';
}

let inService: { device: string; keeps: boolean } | null = null;

/** What `keepsInService` finds out; kept (per thread), as it costs a machine. For hosts with `irqchip.full`. */
export function apicKeepsInService(host: Pick<KvmHost, 'device' | 'cpuid'>): boolean {
  if (inService?.device !== host.device) inService = { device: host.device, keeps: keepsInService(host.device, host.cpuid) };
  return inService.keeps;
}

/** @throws UsageError if KVM does not allow that many CPUs */
export function requireCpus(host: Pick<KvmHost, 'maxVcpus'>, cpus: number): void {
  if (cpus > host.maxVcpus) throw new UsageError(`--cpus: ${cpus} is more than the ${host.maxVcpus} that KVM allows (use fewer, or --accel jit)`);
}

/**
 * Looks at the host's KVM; the result is kept (per thread).
 * @throws VmxError ERR_KVM_NO_DEVICE, ERR_KVM_PERMISSION, ERR_KVM_OLD, ... with a message for the user
 */
export function kvmHost(device = KVM_DEVICE): KvmHost {
  if (known !== null && known.device === device) return known;
  const native = loadNative();
  if (native.kvmRevision !== REVISION) throw new VmxError('ERR_NO_ADDON', 'the native addon was built from older sources: build it with "npx node-gyp rebuild"');
  const asked = Uint32Array.from([...NEEDED.map((n) => n.cap as number), Cap.MAX_VCPUS, Cap.EXIT_ON_EMULATION_FAILURE, Cap.SET_GUEST_DEBUG, Cap.COALESCED_MMIO, Cap.SPLIT_IRQCHIP, Cap.IRQCHIP, Cap.X2APIC_API, Cap.SIGNAL_MSI, Cap.IRQ_ROUTING, Cap.MP_STATE, Cap.DIRTY_LOG_RING, Cap.DIRTY_LOG_RING_ACQ_REL, Cap.IOEVENTFD, Cap.IRQFD, Cap.IRQFD_RESAMPLE, Cap.HYPERV_SYNIC2]);
  const { capabilities, cpuid } = native.kvmProbe(device, asked);
  requireCapabilities(device, capabilities);
  const maxVcpus = capabilities[NEEDED.length]!;
  const emulationFailureExits = capabilities[NEEDED.length + 1]! > 0;
  const coalescedPage = capabilities[NEEDED.length + 3]!;
  const breakpoints = capabilities[NEEDED.length + 2]! > 0;
  const [split, full, ...apis] = capabilities.slice(NEEDED.length + 4, NEEDED.length + 10).map((c) => c > 0);
  const dirtyRing = capabilities[NEEDED.length + 11]! > 0 ? Cap.DIRTY_LOG_RING_ACQ_REL : capabilities[NEEDED.length + 10]! > 0 ? Cap.DIRTY_LOG_RING : 0;
  const [ioeventfd, irqfd, resample, synic] = capabilities.slice(NEEDED.length + 12) as [number, number, number, number];
  const apic = apis.every((a) => a);
  if (cpuid.length === 0) throw new VmxError('ERR_KVM', `${device} does not tell which CPU features it supports`);
  const { nsPerInsn, tscKHz, shutdownKeepsState, tscOffsets, keepsTranslations, userCpuid } = measure(device, cpuid);
  if (tscKHz === 0) throw new VmxError('ERR_KVM_OLD', `${device} does not tell the frequency of the time-stamp counter`);
  return (known = { device, maxVcpus, tscKHz, emulationFailureExits, breakpoints, coalescedPage, kernelNsPerInsn: nsPerInsn, shutdownKeepsState, tscOffsets, keepsTranslations, irqchip: { split: split === true && apic, full: full === true && apic }, dirtyRing, ioeventfd: ioeventfd > 0, irqfd: irqfd > 0 && resample > 0, synic: synic > 0, cpuid, userCpuid });
}

/** Another thread of this process has looked: that takes 10 to 20 ms. */
export function assumeKvmHost(host: KvmHost): void {
  known = host;
}

/** Features that are instructions of user mode: all that the kernel has to do for them is to keep registers. */
const USER_LEVEL: ReadonlySet<string> = new Set([
  'sse', 'sse2', 'sse3', 'ssse3', 'sse4_1', 'sse4_2', 'avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe', 'popcnt', 'xsave', 'xsaveopt', 'xsavec', 'xgetbv1', 'xsaveerptr',
  'pclmulqdq', 'aes', 'sha_ni', 'adx', 'rdrand', 'rdseed', 'erms', 'fsrm', 'cx16', 'lahf_lm', '3dnowprefetch', 'clflushopt', 'clwb', 'rdpid',
]);

/**
 * The guest's CPU model: what was asked for, as far as this host has it. Where user mode sees the host's CPU whatever KVM is told, and only user mode
 * is KVM's, the guest is shown the instructions that its programs will find: a program must not choose some that the engine refuses because the guest's
 * kernel does not know of them.
 */
export function kvmModel(model: CpuModel, host: Pick<KvmHost, 'cpuid' | 'userCpuid'>, engineHasKernel: boolean): CpuModel {
  type Bits = (leaf: number, sub: number, register: CpuidRegister) => number;
  const from = (c: Uint32Array, columns: number): Bits => {
    const at: Readonly<Record<CpuidRegister, number>> = { eax: columns - 4, ebx: columns - 3, ecx: columns - 2, edx: columns - 1 };
    return (leaf, sub, register) => {
      for (let i = 0; i < c.length; i += columns) if (c[i] === leaf && c[i + 1] === sub) return c[i + at[register]]!;
      return 0;
    };
  };
  const kvm = from(host.cpuid, 7);
  const supported = model.restrict(kvm, OURS, NOT_HERE);
  if (host.userCpuid === null || !engineHasKernel) return supported;
  const user = from(host.userCpuid, 6);
  const either: Bits = (leaf, sub, register) => kvm(leaf, sub, register) | user(leaf, sub, register);
  const system = [...model.restrict(either, OURS, NOT_HERE).features].filter((f) => !supported.features.has(f) && !USER_LEVEL.has(f));
  return model.restrict(either, OURS, [...NOT_HERE, ...system]);
}

/** Leaves that depend on ECX. */
const INDEXED: Readonly<Record<number, number>> = { 4: 4, 7: 1, 0xb: 3, 0xd: 3 };
const SIGNIFICANT_INDEX = 1;

/** KVM_SET_CPUID2's table for one CPU: exactly what the engine's CPUID instruction would answer. */
export function cpuidTable(cpuid: Cpuid): Uint32Array {
  const out: number[] = [];
  const add = (leaf: number): void => {
    const subs = INDEXED[leaf];
    for (let sub = 0; sub < (subs ?? 1); sub++) {
      cpuid.eval(leaf, sub, false, 1);
      out.push(leaf, sub, subs === undefined ? 0 : SIGNIFICANT_INDEX, cpuid.a >>> 0, cpuid.b >>> 0, cpuid.c >>> 0, cpuid.d >>> 0);
    }
  };
  for (const [first, last] of [[0, 0x16], [0x4000_0000, 0x4000_0006], [0x4000_0010, 0x4000_0010], [0x8000_0000, 0x8000_0008], [0x8000_0021, 0x8000_0021]] as const) {
    for (let leaf = first; leaf <= last; leaf++) add(leaf);
  }
  return Uint32Array.from(out);
}
