/** What only a try shows about the host's KVM: a small machine of its own runs a few instructions. Some ms where kernel mode is emulated. */
import { VmxError } from '../../errors.js';
import { loadNative, type NativeKvm } from '../../native.js';
import { Box, BoxStatus, COMMAND_RUN } from '../mailbox.js';
import { Block, Exit, Part, Run } from './layout.js';
import { ALLOWED_MSRS } from './msrs.js';

const LOOPS = 1500;
/** mov ecx, LOOPS; 1: dec ecx; jnz 1b; hlt. */
const LOOP_CODE = [0xb9, LOOPS & 0xff, LOOPS >> 8, 0, 0, 0x49, 0x75, 0xfd, 0xf4];
const LOOP_AT = 0x1000;
/** ud2, without an interrupt descriptor table. */
const SHUTDOWN_CODE = [0x0f, 0x0b];
const SHUTDOWN_AT = 0x1100;
const MARK = 0x1234_5678;
/**
 * mov dword [FEE000F0h], 1FFh (the local APIC is on); mov dword [FEE00300h], 44040h (vector 40h to itself); sti; mov ecx, 1000; 1: dec ecx; jnz 1b; xor eax, eax;
 * out 80h, al: no interrupt has come.
 */
const SEND_CODE = [0xc7, 5, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xc7, 5, 0, 3, 0xe0, 0xfe, 0x40, 0x40, 4, 0, 0xfb, 0xb9, 0xe8, 3, 0, 0, 0x49, 0x75, 0xfd, 0x31, 0xc0, 0xe6, 0x80];
const SEND_AT = 0x1200;
/** mov eax, [FEE00120h] (in service, vectors 40h to 5Fh); out 80h, al. */
const HANDLER_CODE = [0xa1, 0x20, 1, 0xe0, 0xfe, 0xe6, 0x80];
const HANDLER_AT = 0x1300;
const PROBE_VECTOR = 0x40;
const GDT = 0x6000;
const IDT = 0x6100;
const STACK = 0x7000;

/** Long mode in ring 3: mov eax, [WINDOW]; ud2. The tables map the code's page to itself and WINDOW to one of two pages. */
const LOOK_AT = 0x2000;
const WINDOW = 0x3000;
const LOOK_CODE = [0x8b, 0x04, 0x25, WINDOW & 0xff, WINDOW >> 8, 0, 0, 0x0f, 0x0b];
const TABLES = 0x8000;
const PAGES = [0x4000, 0x5000] as const;

/** Long mode in ring 3: cpuid; ud2. */
const CPUID_AT = 0x2100;
const CPUID_CODE = [0x0f, 0xa2, 0x0f, 0x0b];
/** A leaf that KVM makes up, with a mark in EBX that no host answers with. */
const MARKED_LEAF = 0x4000_00f0;
/** Leaves with features: leaf and ECX. */
const FEATURE_LEAVES = [[1, 0], [7, 0], [0xd, 1], [0x8000_0001, 0]] as const;

export interface Measured {
  nsPerInsn: number;
  tscKHz: number;
  shutdownKeepsState: boolean;
  tscOffsets: boolean;
  keepsTranslations: boolean;
  /** See KvmHost.userCpuid. */
  userCpuid: Uint32Array | null;
}

/** One vCPU and 64 KiB of RAM. */
class Probe {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  private readonly run: Int32Array;

  constructor(
    private readonly device: string,
    private readonly vcpu: ReturnType<NativeKvm['createVcpu']>,
    readonly ram: DataView,
  ) {
    this.words = new Int32Array(vcpu.block.buffer);
    this.bytes = new Uint8Array(vcpu.block.buffer);
    this.run = new Int32Array(vcpu.run.buffer);
  }

  get exit(): number {
    return this.run[Run.EXIT_REASON >> 2]!;
  }

  command(what: number, set: number, get: number): void {
    const { words, device } = this;
    words[Box.COMMAND] = what;
    words[Box.SET_MASK] = set;
    words[Box.GET_MASK] = get;
    words[Box.VECTOR] = -1;
    this.vcpu.vcpu.post();
    if (!this.vcpu.vcpu.waitIdle(2e9)) throw new VmxError('ERR_KVM', `${device} does not execute a loop of ${LOOPS} instructions within two seconds`);
    if (Atomics.load(words, Box.STATUS) === BoxStatus.IDLE && words[Box.ERROR] !== 0) throw new VmxError('ERR_KVM', `${device} does not execute code: error ${words[Box.ERROR]} in step ${words[Box.FAILED]!.toString(16)}`);
  }

  /** A word of 64 bits whose upper half is 0. */
  set(at: number, lo: number): void {
    this.words[at >> 2] = lo;
    this.words[(at >> 2) + 1] = 0;
  }

  /** Flat segments; code: 8 for 32-bit ring 0, 33h for 64-bit ring 3. */
  segments(dpl: number, long: boolean): void {
    for (let s = 0; s < 6; s++) {
      const at = Block.SREGS + s * 24;
      this.words[at >> 2] = this.words[(at >> 2) + 1] = 0;
      this.words[(at >> 2) + 2] = -1;
      // Selector, type, present, DPL, D/B, S, L, G, AVL, unusable.
      this.bytes.set([8 + s * 8 + dpl, 0, s === 0 ? 11 : 3, 1, dpl, s === 0 && long ? 0 : 1, 1, s === 0 && long ? 1 : 0, 1, 0, 0], at + 12);
    }
  }
}

/** Runs `use` with a vCPU of a machine of its own that has the probes' code in RAM; `before` is done to the machine before it has the vCPU. */
function withProbe<T>(device: string, cpuid: Uint32Array, before: (vm: NativeKvm) => void, use: (p: Probe, tscKHz: number) => T): T {
  const native = loadNative();
  const vm: NativeKvm = native.kvmCreate(device);
  const ram = native.allocRam(0x1_0000);
  const state = native.allocState(4096);
  const context = native.createContext(state, null);
  try {
    const code = new Uint8Array(ram.buffer);
    code.set(LOOP_CODE, LOOP_AT);
    code.set(SHUTDOWN_CODE, SHUTDOWN_AT);
    code.set(LOOK_CODE, LOOK_AT);
    code.set(CPUID_CODE, CPUID_AT);
    code.set(SEND_CODE, SEND_AT);
    code.set(HANDLER_CODE, HANDLER_AT);
    vm.setSlot(0, 0, 0x1_0000, ram, 0, 0);
    before(vm);
    const created = vm.createVcpu(0, context.id, cpuid);
    try {
      const p = new Probe(device, created, new DataView(ram.buffer));
      p.command(0, 0, Part.SREGS | Part.REGS);
      p.segments(0, false);
      p.words[(Block.SREGS + 224) >> 2]! |= 1;
      p.words[(Block.REGS + 136) >> 2] = 2;
      return use(p, created.tscKHz);
    } finally {
      created.vcpu.dispose();
      native.free(created.run);
      native.free(created.block);
    }
  } finally {
    vm.dispose();
    context.dispose();
    native.free(state);
    native.free(ram);
  }
}

/** Times a loop of 32-bit code in ring 0; then looks at a shutdown, at the TSC's offset, at page tables that change and at CPUID in user mode. */
export function measure(device: string, cpuid: Uint32Array): Measured {
  const marked = Uint32Array.of(...cpuid, MARKED_LEAF, 0, 0, 0, MARK, 0, 0);
  return withProbe(device, marked, (vm) => vm.filterMsrs(ALLOWED_MSRS), (p, tscKHz) => {
    const native = loadNative();
    const { words } = p;
    words[(Block.REGS + 128) >> 2] = LOOP_AT;
    const from = native.now();
    p.command(COMMAND_RUN, Part.SREGS | Part.REGS, 0);
    const ns = native.now() - from;
    if (p.exit !== (Exit.HLT as number)) throw new VmxError('ERR_KVM', `${device} does not execute protected-mode code: exit ${p.exit}`);
    words[(Block.SREGS + 208 + 8) >> 2] = 0;
    words[(Block.REGS + 8) >> 2] = MARK;
    words[(Block.REGS + 128) >> 2] = SHUTDOWN_AT;
    p.command(COMMAND_RUN, Part.SREGS | Part.REGS, Part.REGS);
    const shutdownKeepsState = p.exit === (Exit.SHUTDOWN as number) && words[(Block.REGS + 8) >> 2] === MARK && words[(Block.REGS + 128) >> 2] === SHUTDOWN_AT;
    // An offset that is taken and not kept does nothing.
    words[Block.TSC_OFFSET >> 2] = MARK;
    words[(Block.TSC_OFFSET >> 2) + 1] = -1;
    p.command(0, Part.TSC_OFFSET, 0);
    words[Block.TSC_OFFSET >> 2] = 0;
    p.command(0, 0, Part.TSC_OFFSET);
    const tscOffsets = words[Block.TSC_OFFSET >> 2] === MARK;
    return { nsPerInsn: ns / (2 * LOOPS), tscKHz, shutdownKeepsState, tscOffsets, keepsTranslations: keepsTranslations(p), userCpuid: userCpuid(p) };
  });
}

/**
 * Whether the kernel's local APIC keeps an interrupt in service until the guest's EOI, as Intel's SDM (volume 3, "Interrupt Acceptance for Fixed Interrupts") has it. One that ends it
 * at delivery delivers level-triggered interrupts twice, and one more time to a CPU that moves within its handler.
 */
export function keepsInService(device: string, cpuid: Uint32Array): boolean {
  return withProbe(device, cpuid, (vm) => vm.createIrqchip(0, false), (p) => {
    const { ram, words } = p;
    // GDT: the code segment that the gate loads. IDT: the gate.
    ram.setUint32(GDT + 8, 0xffff, true);
    ram.setUint32(GDT + 12, 0x00cf_9b00, true);
    ram.setUint32(IDT + PROBE_VECTOR * 8, (8 << 16) | HANDLER_AT, true);
    ram.setUint32(IDT + PROBE_VECTOR * 8 + 4, 0x8e00, true);
    for (const [at, base, limit] of [[192, GDT, 15], [208, IDT, 0x7ff]] as const) {
      words[(Block.SREGS + at) >> 2] = base;
      words[(Block.SREGS + at + 4) >> 2] = 0;
      words[(Block.SREGS + at + 8) >> 2] = limit;
    }
    words[(Block.REGS + 128) >> 2] = SEND_AT;
    words[(Block.REGS + 48) >> 2] = STACK;
    p.command(COMMAND_RUN, Part.SREGS | Part.REGS, Part.REGS);
    if (p.exit !== (Exit.IO as number)) throw new VmxError('ERR_KVM', `${device}: its local APIC does not deliver an interrupt: exit ${p.exit}`);
    return (words[Block.REGS >> 2]! & 1) !== 0;
  });
}

/** Starts code in ring 3 of 64-bit mode that ends with a shutdown. @returns where the entry of the last page table for WINDOW is */
function inUserMode(p: Probe): number {
  const { ram } = p;
  for (let level = 0; level < 3; level++) ram.setUint32(TABLES + level * 0x1000, (TABLES + (level + 1) * 0x1000) | 7, true);
  const leaf = TABLES + 3 * 0x1000;
  ram.setUint32(leaf + (LOOK_AT >> 12) * 8, LOOK_AT | 7, true);
  p.segments(3, true);
  const cr0 = Block.SREGS + 224;
  // PG, WP, NE, ET, MP, PE; PAE, OSFXSR; LMA, LME, SCE; no interrupt descriptors.
  p.set(cr0, 0x8001_0033 | 0);
  p.set(cr0 + 16, TABLES);
  p.set(cr0 + 24, 0x220);
  p.set(cr0 + 40, 0x501);
  p.set(Block.SREGS + 208 + 8, 0);
  return leaf + (WINDOW >> 12) * 8;
}

/** Changes a page table behind KVM's back between two stays in user mode, with all that `Vcpu.enter` does otherwise. True unless the change is seen. */
function keepsTranslations(p: Probe): boolean {
  const { words, ram } = p;
  const entry = inUserMode(p);
  PAGES.forEach((page, i) => ram.setUint32(page, MARK + i, true));
  return PAGES.some((page, i) => {
    ram.setUint32(entry, page | 7, true);
    p.set(Block.REGS, 0);
    p.set(Block.REGS + 128, LOOK_AT);
    p.set(Block.REGS + 136, 2);
    p.command(COMMAND_RUN, Part.SREGS | Part.REGS | Part.FLUSH, Part.REGS);
    return words[Block.REGS >> 2] !== MARK + i;
  });
}

/** What CPUID says in user mode, if that is not what KVM was told (KVM_SET_CPUID2): leaf, ECX, EAX, EBX, ECX, EDX of FEATURE_LEAVES. */
function userCpuid(p: Probe): Uint32Array | null {
  const { words } = p;
  inUserMode(p);
  /** EAX, EBX, ECX, EDX. */
  const ask = (leaf: number, sub: number): number[] => {
    p.set(Block.REGS, leaf | 0);
    p.set(Block.REGS + 16, sub);
    p.set(Block.REGS + 128, CPUID_AT);
    p.set(Block.REGS + 136, 2);
    p.command(COMMAND_RUN, Part.SREGS | Part.REGS | Part.FLUSH, Part.REGS);
    return [0, 8, 16, 24].map((at) => words[(Block.REGS + at) >> 2]! >>> 0);
  };
  if (ask(MARKED_LEAF, 0)[1] === MARK) return null;
  return Uint32Array.from(FEATURE_LEAVES.flatMap(([leaf, sub]) => [leaf, sub, ...ask(leaf, sub)]));
}
