/**
 * KVM on this host: whether it is there and can do what is needed, and how fast it is in kernel mode. Every refusal is one line
 * that says what to do.
 */
import { type CpuidRegister, type CpuModel, type Cpuid } from '../../engine/guest/x86/cpuid.js';
import { UsageError, VmxError } from '../../errors.js';
import { loadNative, type NativeKvm } from '../../native.js';
import { Box, BoxStatus, COMMAND_RUN } from '../mailbox.js';
import { Block, Cap, Exit, Part, Run } from './layout.js';
import { ALLOWED_MSRS } from './msrs.js';

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
  /** How long a simple instruction takes in ring 0: 0.3 with hardware virtualisation, hundreds where kernel mode is emulated. */
  readonly kernelNsPerInsn: number;
  /** The guest's TSC can be set off from the host's. */
  readonly tscOffsets: boolean;
  /** A shutdown exit leaves the registers as they were (AMD's hardware loses them). */
  readonly shutdownKeepsState: boolean;
  /** KVM_GET_SUPPORTED_CPUID. */
  readonly cpuid: Uint32Array;
}

/** Kernel mode counts as emulated above this, ns an instruction: the JIT is faster then. */
export const SLOW_KERNEL_NS = 20;

let known: KvmHost | null = null;

/** @param values what KVM_CHECK_EXTENSION says of NEEDED, in order. @throws VmxError ERR_KVM_OLD that names the first one missing */
export function requireCapabilities(device: string, values: readonly number[]): void {
  NEEDED.forEach((n, i) => {
    if (values[i] === 0) throw new VmxError('ERR_KVM_OLD', `${device} lacks '${n.name}', which Linux ${n.linux} brought: a newer host kernel is needed`);
  });
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
  const asked = Uint32Array.from([...NEEDED.map((n) => n.cap as number), Cap.MAX_VCPUS, Cap.EXIT_ON_EMULATION_FAILURE]);
  const { capabilities, cpuid } = native.kvmProbe(device, asked);
  requireCapabilities(device, capabilities);
  const maxVcpus = capabilities[NEEDED.length]!;
  const emulationFailureExits = capabilities[NEEDED.length + 1]! > 0;
  if (cpuid.length === 0) throw new VmxError('ERR_KVM', `${device} does not tell which CPU features it supports`);
  const { nsPerInsn, tscKHz, shutdownKeepsState, tscOffsets } = measure(device, cpuid);
  if (tscKHz === 0) throw new VmxError('ERR_KVM_OLD', `${device} does not tell the frequency of the time-stamp counter`);
  return (known = { device, maxVcpus, tscKHz, emulationFailureExits, kernelNsPerInsn: nsPerInsn, shutdownKeepsState, tscOffsets, cpuid });
}

/** The guest's CPU model: what was asked for, as far as this host has it. */
export function kvmModel(model: CpuModel, host: KvmHost): CpuModel {
  const c = host.cpuid;
  const at: Readonly<Record<CpuidRegister, number>> = { eax: 3, ebx: 4, ecx: 5, edx: 6 };
  const bits = (leaf: number, sub: number, register: CpuidRegister): number => {
    for (let i = 0; i < c.length; i += 7) if (c[i] === leaf && c[i + 1] === sub) return c[i + at[register]]!;
    return 0;
  };
  return model.restrict(bits, OURS, NOT_HERE);
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
  for (const [first, last] of [[0, 0x16], [0x4000_0000, 0x4000_0001], [0x4000_0010, 0x4000_0010], [0x8000_0000, 0x8000_0008], [0x8000_0021, 0x8000_0021]] as const) {
    for (let leaf = first; leaf <= last; leaf++) add(leaf);
  }
  return Uint32Array.from(out);
}

const LOOPS = 1500;
/** mov ecx, LOOPS; 1: dec ecx; jnz 1b; hlt. */
const LOOP_CODE = [0xb9, LOOPS & 0xff, LOOPS >> 8, 0, 0, 0x49, 0x75, 0xfd, 0xf4];
const LOOP_AT = 0x1000;
/** ud2, without an interrupt descriptor table. */
const SHUTDOWN_CODE = [0x0f, 0x0b];
const SHUTDOWN_AT = 0x1100;
const MARK = 0x1234_5678;

/** Times a loop of 32-bit code in ring 0, and looks at a shutdown, in a machine of its own. Takes some ms where kernel mode is emulated. */
function measure(device: string, cpuid: Uint32Array): { nsPerInsn: number; tscKHz: number; shutdownKeepsState: boolean; tscOffsets: boolean } {
  const native = loadNative();
  const vm: NativeKvm = native.kvmCreate(device);
  const ram = native.allocRam(0x1_0000);
  const state = native.allocState(4096);
  const context = native.createContext(state, null);
  try {
    new Uint8Array(ram.buffer).set(LOOP_CODE, LOOP_AT);
    new Uint8Array(ram.buffer).set(SHUTDOWN_CODE, SHUTDOWN_AT);
    vm.setSlot(0, 0, 0x1_0000, ram, 0, 0);
    vm.filterMsrs(ALLOWED_MSRS);
    const { vcpu, run, block, tscKHz } = vm.createVcpu(0, context.id, cpuid);
    try {
      const words = new Int32Array(block.buffer);
      const bytes = new Uint8Array(block.buffer);
      const reason = new Int32Array(run.buffer);
      const command = (what: number, set: number, get: number): void => {
        words[Box.COMMAND] = what;
        words[Box.SET_MASK] = set;
        words[Box.GET_MASK] = get;
        words[Box.VECTOR] = -1;
        vcpu.post();
        if (!vcpu.waitIdle(2e9)) throw new VmxError('ERR_KVM', `${device} does not execute a loop of ${LOOPS} instructions within two seconds`);
        if (Atomics.load(words, Box.STATUS) === BoxStatus.IDLE && words[Box.ERROR] !== 0) throw new VmxError('ERR_KVM', `${device} does not execute code: error ${words[Box.ERROR]} in step ${words[Box.FAILED]!.toString(16)}`);
      };
      command(0, 0, Part.SREGS | Part.REGS);
      // Flat 32-bit segments: CS, DS, ES, FS, GS, SS.
      for (let s = 0; s < 6; s++) {
        const at = Block.SREGS + s * 24;
        words[at >> 2] = words[(at >> 2) + 1] = 0;
        words[(at >> 2) + 2] = -1;
        bytes.set([8 + s * 8, 0, s === 0 ? 11 : 3, 1, 0, 1, 1, 0, 1, 0, 0], at + 12);
      }
      words[(Block.SREGS + 224) >> 2]! |= 1;
      words[(Block.REGS + 128) >> 2] = LOOP_AT;
      words[(Block.REGS + 136) >> 2] = 2;
      const from = native.now();
      command(COMMAND_RUN, Part.SREGS | Part.REGS, 0);
      const ns = native.now() - from;
      if (reason[Run.EXIT_REASON >> 2] !== (Exit.HLT as number)) throw new VmxError('ERR_KVM', `${device} does not execute protected-mode code: exit ${reason[Run.EXIT_REASON >> 2]}`);
      words[(Block.SREGS + 208 + 8) >> 2] = 0;
      words[(Block.REGS + 8) >> 2] = MARK;
      words[(Block.REGS + 128) >> 2] = SHUTDOWN_AT;
      command(COMMAND_RUN, Part.SREGS | Part.REGS, Part.REGS);
      const kept = reason[Run.EXIT_REASON >> 2] === (Exit.SHUTDOWN as number) && words[(Block.REGS + 8) >> 2] === MARK && words[(Block.REGS + 128) >> 2] === SHUTDOWN_AT;
      // An offset that is taken and not kept does nothing.
      words[Block.TSC_OFFSET >> 2] = MARK;
      words[(Block.TSC_OFFSET >> 2) + 1] = -1;
      command(0, Part.TSC_OFFSET, 0);
      words[Block.TSC_OFFSET >> 2] = 0;
      command(0, 0, Part.TSC_OFFSET);
      return { nsPerInsn: ns / (2 * LOOPS), tscKHz, shutdownKeepsState: kept, tscOffsets: words[Block.TSC_OFFSET >> 2] === MARK };
    } finally {
      vcpu.dispose();
      native.free(run);
      native.free(block);
    }
  } finally {
    vm.dispose();
    context.dispose();
    native.free(state);
    native.free(ram);
  }
}
