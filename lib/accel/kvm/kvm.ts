/**
 * KVM as the machine's accelerator. Interrupt controllers and timers are the board's own devices, so the same devices serve the engine and
 * KVM, and a CPU can move between them after any instruction (docs/adr/0015-kvm-userspace-irqchip.md). With interrupt controllers in the
 * kernel, which have to be asked for, all CPUs and controllers move together (docs/adr/0016-kernel-irqchip.md).
 *
 * The engine never executes while a vCPU does: its translations and its read-modify-write instructions count on being alone
 * with guest memory.
 */
import type { TimerQueue } from '../../devices/clock.js';
import type { InterruptHardware } from '../../devices/irq/hardware.js';
import { GuestFault } from '../../engine/cpu.js';
import type { X86Cpu } from '../../engine/guest/x86/cpu.js';
import { Cpuid } from '../../engine/guest/x86/cpuid.js';
import { Mode } from '../../engine/guest/x86/mode.js';
import { type Engine, SliceEnd } from '../../engine/jit/engine.js';
import { Pending, Slot } from '../../engine/state.js';
import { VmxError } from '../../errors.js';
import type { PhysicalMemory } from '../../memory/physical.js';
import type { NativeAddon, NativeContext, NativeKvm, NativeMemory } from '../../native.js';
import { type Accelerator, type AccelStats, Turn } from '../accelerator.js';
import { HISTOGRAM_BUCKETS, HISTOGRAM_NS } from '../mailbox.js';
import { FallbackPolicy } from '../policy.js';
import { Doorbells } from './doorbells.js';
import { Cap, EXIT_NAMES } from './layout.js';
import { KernelIrqchip, type IrqchipMode } from './irqchip.js';
import { ALLOWED_MSRS, APIC_MSRS } from './msrs.js';
import { MemorySlots } from './slots.js';
import { chooseIrqchip, cpuidTable, engineKeepsKernel, type KvmHost, SLOW_KERNEL_NS } from './system.js';
import type { TscClock } from './tsc-clock.js';
import { Served, Vcpu } from './vcpu.js';

export interface KvmOptions {
  /** Off: an instruction that KVM cannot execute ends the machine. */
  fallback: boolean;
  /** Who executes kernel mode: 'auto' measures KVM. */
  kernel: 'auto' | 'kvm' | 'engine';
  /** Which interrupt controllers are the kernel's. */
  irqchip: 'auto' | IrqchipMode;
  /** How KVM tells which pages were written: in rings, where it has them, or bitmaps. */
  dirty: 'auto' | 'ring' | 'log';
  /** Doorbells of devices ring without an exit; 'auto': where several CPUs execute all of the guest in KVM. */
  ioeventfd: 'auto' | 'on' | 'off';
}

export interface KvmDeps {
  host: KvmHost;
  options: KvmOptions;
  native: NativeAddon;
  cpus: readonly X86Cpu[];
  memory: PhysicalMemory;
  ram: NativeMemory;
  engine: Engine;
  clock: TscClock;
  timers: TimerQueue;
  /** The machine's interrupt controllers, if KVM's may stand in for them; null: the CPUs' interrupt sources are something else. */
  irq: InterruptHardware | null;
  /** The context of the machine's thread: kicked when a vCPU has exited. */
  context: NativeContext;
  /** CPU i, whose state is with the engine now, has met a breakpoint of the debugger's. */
  breakpoint(i: number): void;
  /** KVM cannot go on and may not fall back. */
  fail(message: string): void;
}

/** KVM_MSR_EXIT_REASON_INVAL | UNKNOWN | FILTER. */
const MSR_EXITS = 7;
/** How long to spin for the next exit, ns: limits and start. Less than an exit takes (8.5 us where it is slow) would never find one. */
const SPIN_MIN = 20_000;
const SPIN_MAX = 160_000;
/** Fallbacks within a second from which on written pages are logged rather than all translations dropped at each. */
const OFTEN = 20;
const MAX_INSTRUCTIONS = 32;
/** Of a vCPU's ring of written pages: 16 bytes an entry. */
const RING_BYTES = 1 << 18;
const PAGE = 4096;
/** Debug registers that hold addresses. */
const BREAKPOINTS = 4;
/** Exits of vCPUs with threads of their own may follow each other this long before timers and the event loop get their turn, ns. */
const HOT_NS = 1_000_000;
/** Longest time that the machine's own thread spends in KVM without a look at the event loop, ns. */
const TURN_NS = 10_000_000;
/** The same while its CPU waits in the kernel for an interrupt, and how long it has been there when that is looked at. */
const WAIT_NS = 100_000_000;
const LONG_RUN_NS = 5_000_000;

/** 64-bit user mode, not stepped: what KVM may execute where the engine keeps kernel mode. */
const USER_MODE = Mode.CODE64 | Mode.USER;
const USER_MASK = Mode.CODE_MASK | Mode.USER | Mode.STEP;

/** Where a CPU's state is. */
const enum Where { ENGINE = 0, KVM = 1 }

export class KvmAccelerator implements Accelerator {
  readonly name = 'kvm';
  serving = -1;
  readonly vm: NativeKvm;
  private readonly vcpus: Vcpu[] = [];
  private readonly slots: MemorySlots;
  /** Interrupt controllers in the kernel: all CPUs are there or here together then. */
  private readonly chip: KernelIrqchip | null;
  private readonly doorbells: Doorbells | null;
  private readonly policies: FallbackPolicy[];
  private readonly where: Where[];
  /** Executes HLT inside KVM. */
  private readonly halted: boolean[];
  private readonly nmis: boolean[];
  private readonly shadow: boolean[];
  /** Instructions that the engine was told to run one by one in the slice at hand. */
  private stepping = 0;
  private sliceFrom = 0;
  private readonly slow: boolean;
  private enabled = true;
  /** A debugger has breakpoints or watchpoints; KVM can keep them. */
  private debugging = false;
  private debuggable = true;
  private spin = SPIN_MIN;
  /** The only CPU has executed HLT within the kernel when last looked at. */
  private waiting = false;
  /** The engine may have executed since a vCPU last ran: what KVM has made of the guest's page tables may be out of date. */
  private executed = true;
  /** KVM has run since the engine's translations were last compared. */
  private touched = false;
  private readonly fallbacks = new Map<string, number>();
  private readonly instructions = new Map<string, number>();
  private returns = 0;
  private collected = 0;
  private engineNs = 0;
  private recent = 0;
  private recentFrom = 0;
  /** Figures at the end. */
  private last: AccelStats | null = null;

  constructor(private readonly d: KvmDeps) {
    const { native, host, options } = d;
    if (d.cpus.length > host.maxVcpus) throw new VmxError('ERR_KVM', `KVM allows ${host.maxVcpus} CPUs`);
    this.slow = engineKeepsKernel(options.kernel, host);
    this.policies = d.cpus.map(() => new FallbackPolicy(this.slow));
    this.where = d.cpus.map(() => Where.ENGINE);
    this.halted = d.cpus.map(() => false);
    this.nmis = d.cpus.map(() => false);
    this.shadow = d.cpus.map(() => false);
    this.vm = native.kvmCreate(host.device);
    try {
      this.vm.enable(Cap.X86_USER_SPACE_MSR, MSR_EXITS);
      const irqchip = d.irq === null ? 'off' : chooseIrqchip(options.irqchip, host, this.slow);
      this.vm.filterMsrs(irqchip === 'off' ? ALLOWED_MSRS : Uint32Array.from([...ALLOWED_MSRS, ...APIC_MSRS]));
      const chip = (this.chip = irqchip === 'off' ? null : new KernelIrqchip(this.vm, irqchip, d.irq!));
      if (host.emulationFailureExits) this.vm.enable(Cap.EXIT_ON_EMULATION_FAILURE, 1);
      // One that emulates many instructions at a time may run past a ring's end.
      const rings = host.dirtyRing > 0 && (options.dirty === 'ring' || (options.dirty === 'auto' && host.kernelNsPerInsn <= SLOW_KERNEL_NS));
      if (rings) this.vm.dirtyRing(host.dirtyRing, RING_BYTES);
      this.slots = new MemorySlots(this.vm, d.memory, d.ram);
      const bells = host.ioeventfd && (options.ioeventfd === 'on' || (options.ioeventfd === 'auto' && d.cpus.length > 1 && !this.slow));
      this.doorbells = bells ? new Doorbells(native, this.vm, d.memory, d.context.id) : null;
      // Where CPUs move all the time, every move must be cheap.
      if (this.slow) this.slots.log(true);
      const posted = host.coalescedPage > 0 ? d.memory.posted() : [];
      for (const [pa, bytes] of posted) this.vm.coalesce(pa, bytes, true);
      const ring = posted.length > 0 ? host.coalescedPage * PAGE : 0;
      for (const cpu of d.cpus) {
        const cpuid = new Cpuid(cpu.model, { apicId: cpu.index, cpus: d.cpus.length, tscKHz: cpu.tscKHz, apicKHz: 1_000_000 });
        this.vcpus.push(new Vcpu(native, this.vm, cpu, d.memory, d.context.id, cpuidTable(cpuid), d.cpus.length === 1, chip?.hardware.lapics[cpu.index] ?? null, (vector) => chip?.eoi(vector), () => this.slots.empty(this.vcpus[cpu.index]!), ring));
      }
      if (rings) this.slots.useRings(this.vcpus);
    } catch (e) {
      this.close();
      throw e;
    }
  }

  owns(i: number): boolean {
    return this.where[i] === Where.KVM;
  }

  /** The memory map has changed. */
  remapped(): void {
    this.slots.invalidate();
    this.doorbells?.invalidate();
  }

  // ---- the machine's loop --------------------------------------------------------------------------------------------

  turn(i: number): Turn {
    this.doorbells?.serve();
    if (this.where[i] === Where.ENGINE) {
      if (!this.enabled) return Turn.ENGINE;
      if (this.chip === null) {
        if (!this.mayEnter(i)) return Turn.ENGINE;
        this.enter(i);
      } else {
        if (!this.mayEnterAll()) return Turn.ENGINE;
        this.enterAll(this.chip);
      }
    }
    const v = this.vcpus[i]!;
    const V = v.cpu.V;
    if (v.running) {
      if (!v.idle) {
        this.drain();
        if (this.wantsKick(i)) v.kick();
        return Turn.BUSY;
      }
      const served = this.serve(i);
      if (served === Served.SHUTDOWN) {
        this.leave(i, 'shutdown');
        return Turn.SHUTDOWN;
      }
      if (served === Served.STUCK) return this.stuck(i);
      if (served === Served.BREAKPOINT) {
        this.leave(i, 'breakpoint');
        this.d.breakpoint(i);
        return Turn.BUSY;
      }
      if (served === Served.LEFT_USER) {
        this.retreat(i, 'user mode left');
        return Turn.ENGINE;
      }
    }
    // INIT and SIPI are the engine's business.
    if (V[Slot.PENDING * 2]! & Pending.EVENT) {
      this.leave(i, 'INIT or SIPI');
      return Turn.ENGINE;
    }
    if (this.slow && (this.nmis[i] || v.cpu.intc.pending())) {
      this.retreat(i, 'interrupt');
      return Turn.ENGINE;
    }
    V[Slot.PENDING * 2] = V[Slot.PENDING * 2]! & ~(Pending.INTR | Pending.NMI);
    if (this.halted[i] && !this.nmis[i] && !(v.cpu.intc.pending() && v.acceptsInterrupts)) return Turn.HALTED;
    this.halted[i] = false;
    this.start(v, i);
    return Turn.BUSY;
  }

  private start(v: Vcpu, i: number): void {
    this.slots.apply();
    this.doorbells?.apply();
    if (this.executed) {
      this.executed = false;
      if (this.d.host.keepsTranslations) {
        if (this.vcpus.length > 1) this.quiesce();
        this.slots.dropTranslations();
      }
    }
    this.setOffset(v);
    const nmi = this.nmis[i]!;
    this.nmis[i] = false;
    this.touched = true;
    v.go(nmi);
  }

  private setOffset(v: Vcpu): void {
    if (this.d.clock.fixed) return;
    const { lo, hi } = this.d.clock.tscOffset(v.cpu.msr.tscOffLo, v.cpu.msr.tscOffHi);
    v.setTscOffset(lo, hi);
  }

  private serve(i: number): Served {
    this.serving = i;
    this.drain();
    const served = this.vcpus[i]!.serve();
    this.serving = -1;
    if (served === Served.HALT) this.halted[i] = true;
    return served;
  }

  /** Writes that KVM has collected come before whatever is served next. */
  private drain(): void {
    this.collected += this.vcpus[0]!.drain();
  }

  /** A running vCPU must be told something. */
  private wantsKick(i: number): boolean {
    const v = this.vcpus[i]!;
    return this.nmis[i]! || (v.cpu.V[Slot.PENDING * 2]! & Pending.EVENT) !== 0 || (v.cpu.intc.pending() && (this.slow || !v.windowRequested));
  }

  /**
   * All CPUs are busy or halted: serves accesses to devices as they come, and spins for the next exit as long as exits have been
   * coming that fast.
   * @returns true if there is an exit for `turn` and nothing else wants attention
   */
  linger(): boolean {
    const { cpus, timers, clock, context } = this.d;
    const V0 = cpus[0]!.V;
    if (this.wanted()) return false;
    const now = clock.now();
    if (!this.vcpus.some((v) => v.running) || timers.nextDeadline() <= now) return false;
    if (this.vcpus.length === 1) return this.execute(this.vcpus[0]!, V0, now);
    const end = now + HOT_NS;
    for (;;) {
      // Set by every vCPU that reports, by the deadline and by the event loop.
      V0[Slot.PENDING * 2 + 1] = 0;
      this.doorbells?.serve();
      let served = false;
      for (let i = 0; i < this.vcpus.length; i++) {
        const v = this.vcpus[i]!;
        if (!v.running || !v.idle) continue;
        if (!v.isAccess) return true;
        this.serve(i);
        if (this.wanted()) return true;
        this.start(v, i);
        served = true;
      }
      if (served) {
        const t = clock.now();
        if (t >= end || t >= timers.nextDeadline()) return true;
      } else if (!context.spin(this.spin)) {
        this.spin = Math.max(SPIN_MIN, this.spin / 2);
        return false;
      } else if (this.anyIdle()) {
        this.spin = Math.min(SPIN_MAX, this.spin * 2);
      } else {
        return false;
      }
    }
  }

  /** Some CPU has an event that `turn` must see, or the machine's loop is to stop. */
  private wanted(): boolean {
    for (const cpu of this.d.cpus) if (cpu.V[Slot.PENDING * 2] !== 0) return true;
    return false;
  }

  /** The only vCPU runs on this thread, and its accesses to devices are served. @returns false if something else wants the thread, too */
  private execute(v: Vcpu, V: Int32Array, now: number): boolean {
    // Set by the deadline, the event loop or another thread: they come first, and the vCPU next time.
    if (V[Slot.PENDING * 2 + 1] !== 0) return false;
    const { context, clock, timers } = this.d;
    let deadline = Math.min(timers.nextDeadline(), now + (this.waiting ? WAIT_NS : TURN_NS));
    context.setDeadline(clock.toHost(deadline));
    while (v.execute() && v.isAccess) {
      this.serve(0);
      if (V[Slot.PENDING * 2] !== 0 || V[Slot.PENDING * 2 + 1] !== 0) break;
      const next = timers.nextDeadline();
      if (next < deadline) {
        deadline = next;
        context.setDeadline(clock.toHost(next));
      }
      this.start(v, 0);
    }
    // HLT within the kernel looks like running.
    if (this.chip !== null) this.waiting = clock.now() - now >= LONG_RUN_NS && v.isKick && v.waits;
    return true;
  }

  /** CPU i waits in the kernel for an interrupt, as far as its last exit tells. Interrupt controllers in the kernel only: HLT exits otherwise. */
  idle(i: number): boolean {
    const v = this.vcpus[i]!;
    return this.where[i] === Where.KVM && this.chip !== null && v.idle && v.waits;
  }

  get runnable(): boolean {
    return this.vcpus.length === 1 && this.vcpus[0]!.running;
  }

  private anyIdle(): boolean {
    for (const v of this.vcpus) if (v.running && v.idle) return true;
    return false;
  }

  attention(i: number): void {
    const v = this.vcpus[i]!;
    if (v.running) {
      if (i !== this.serving && this.wantsKick(i)) v.kick();
    } else if (v.cpu.intc.pending()) {
      // Halted, or about to be started: the loop must not go to sleep.
      v.cpu.V[Slot.PENDING * 2] = v.cpu.V[Slot.PENDING * 2]! | Pending.INTR;
    }
  }

  nmi(i: number): void {
    this.nmis[i] = true;
    const v = this.vcpus[i]!;
    if (v.running) v.kick();
    else v.cpu.V[Slot.PENDING * 2] = v.cpu.V[Slot.PENDING * 2]! | Pending.NMI;
  }

  /** INIT or SIPI has been signalled to the CPU. */
  event(i: number): void {
    this.vcpus[i]!.kick();
  }

  // ---- the engine's part -----------------------------------------------------------------------------------------------

  before(i: number): { ns: number; insns: number; shadow: boolean } {
    if (this.d.cpus.length > 1) this.quiesce();
    this.compare();
    this.drain();
    this.doorbells?.serve();
    this.executed = true;
    const a = this.policies[i]!.allowance();
    this.stepping = a.insns;
    this.sliceFrom = this.d.native.now();
    const shadow = this.shadow[i]!;
    this.shadow[i] = false;
    return { ns: a.ns, insns: a.insns === 0 ? Infinity : a.insns, shadow };
  }

  after(i: number, end: SliceEnd): void {
    const ns = this.d.native.now() - this.sliceFrom;
    this.engineNs += ns;
    const cpu = this.d.cpus[i]!;
    this.policies[i]!.executed(this.stepping, ns, cpu.cpl === 3 && end !== SliceEnd.HALTED);
  }

  /** Translations of what KVM has written since are dropped. No vCPU may be running. */
  private compare(): void {
    if (!this.touched) return;
    this.touched = false;
    const { logged } = this.slots;
    if (logged) this.slots.collect((offset, bitmap, pages) => this.d.engine.pagesWritten(offset, bitmap, pages));
    if (this.slots.takeLost() || !logged) this.d.engine.flushTranslations();
  }

  // ---- moving ----------------------------------------------------------------------------------------------------------

  private mayEnter(i: number): boolean {
    const cpu = this.d.cpus[i]!;
    // The debugger has more than KVM can keep, or both it and the guest want the debug registers.
    if (this.debugging && (!this.debuggable || cpu.debug.stepping)) return false;
    if (!this.policies[i]!.wantsHypervisor() || cpu.halted || cpu.waitSipi || cpu.shutdown || !cpu.mmu.a20) return false;
    if (cpu.V[Slot.PENDING * 2]! & Pending.EVENT) return false;
    if (!this.slow) return true;
    // Alone: while another CPU needs the engine, this one could not run anyway.
    return (cpu.mode & USER_MASK) === USER_MODE && cpu.V[Slot.PENDING * 2] === 0 && this.d.cpus.every((c) => c === cpu || c.halted);
  }

  private enter(i: number): void {
    const v = this.vcpus[i]!;
    this.where[i] = Where.KVM;
    this.halted[i] = false;
    this.returns++;
    v.enter(this.slow, !this.d.host.keepsTranslations);
    this.policies[i]!.entered(this.d.native.now());
  }

  /** With interrupt controllers in the kernel: a CPU that waits comes along. */
  private mayEnterAll(): boolean {
    if (this.debugging && !this.debuggable) return false;
    return this.d.cpus.every((cpu, i) => (cpu.halted || this.policies[i]!.wantsHypervisor()) && !cpu.shutdown && cpu.mmu.a20 && !(this.debugging && cpu.debug.stepping) && !(cpu.V[Slot.PENDING * 2]! & Pending.EVENT));
  }

  private enterAll(chip: KernelIrqchip): void {
    for (let i = 0; i < this.vcpus.length; i++) {
      const v = this.vcpus[i]!;
      this.where[i] = Where.KVM;
      this.setOffset(v);
      v.enterWithApic(!this.d.host.keepsTranslations, chip.mode === 'split');
      this.policies[i]!.entered(this.d.native.now());
    }
    chip.toKernel();
    this.waiting = false;
    this.returns++;
  }

  /** All CPUs and the interrupt controllers come to the engine. */
  private leaveAll(chip: KernelIrqchip, reason: string): void {
    const { vcpus } = this;
    this.quiesce();
    vcpus.forEach((v, i) => {
      if (v.running) this.serve(i);
    });
    // Accesses that are completed may raise interrupts: nothing is fetched before.
    vcpus.forEach((v, i) => {
      this.serving = i;
      v.complete();
      this.serving = -1;
    });
    this.compare();
    for (const v of vcpus) v.fetch();
    chip.toDevices();
    const now = this.d.clock.now();
    vcpus.forEach((v, i) => {
      this.where[i] = Where.ENGINE;
      this.serving = i;
      this.shadow[i] = v.loadWithApic(now);
      this.serving = -1;
    });
    this.executed = true;
    vcpus.forEach((v, i) => {
      if (this.nmis[i]) v.cpu.signalNmi();
      this.nmis[i] = false;
      v.cpu.updateIntr();
    });
    this.fallbacks.set(reason, (this.fallbacks.get(reason) ?? 0) + 1);
    this.count();
  }

  /** Moves CPU i to the engine. Whatever it has reported is served first. */
  private leave(i: number, reason: string): void {
    if (this.chip !== null) {
      this.leaveAll(this.chip, reason);
      return;
    }
    const v = this.vcpus[i]!;
    if (v.running) {
      v.stop();
      this.serve(i);
    }
    this.compareAll();
    this.serving = i;
    this.shadow[i] = v.leave();
    this.serving = -1;
    this.where[i] = Where.ENGINE;
    this.executed = true;
    const { cpu } = v;
    if (this.halted[i]) cpu.halted = true;
    this.halted[i] = false;
    if (this.nmis[i]) cpu.signalNmi();
    this.nmis[i] = false;
    cpu.updateIntr();
    this.fallbacks.set(reason, (this.fallbacks.get(reason) ?? 0) + 1);
    this.count();
  }

  /** As `compare`, whatever the other vCPUs are doing: they stop first. */
  private compareAll(): void {
    if (this.d.cpus.length > 1) this.quiesce();
    this.compare();
  }

  /** Many moves: written pages are logged from now on. */
  private count(): void {
    if (this.slots.logged) return;
    const now = this.d.native.now();
    if (now - this.recentFrom > 1e9) {
      this.recentFrom = now;
      this.recent = 0;
    }
    if (++this.recent <= OFTEN) return;
    this.quiesce();
    this.slots.apply();
    this.slots.log(true);
  }

  private retreat(i: number, reason: string): void {
    this.policies[i]!.retreated(this.d.native.now());
    this.leave(i, reason);
  }

  private stuck(i: number): Turn {
    const v = this.vcpus[i]!;
    const { problem } = v;
    let { instruction } = v;
    this.leave(i, problem);
    if (instruction === '') instruction = this.bytesAt(v.cpu);
    const known = this.instructions.get(instruction);
    if (known !== undefined || this.instructions.size < MAX_INSTRUCTIONS) this.instructions.set(instruction, (known ?? 0) + 1);
    if (!this.d.options.fallback) {
      this.d.fail(`KVM cannot go on (${problem}) on CPU ${i} at the instruction ${instruction.replace(/(..)(?=.)/g, '$1 ')}: ${v.cpu.describe()}`);
      return Turn.BUSY;
    }
    this.policies[i]!.failed(this.d.native.now());
    return Turn.ENGINE;
  }

  /** The bytes of the instruction at PC and after it, in hexadecimal; empty if they cannot be read. */
  private bytesAt(cpu: X86Cpu): string {
    try {
      const pa = cpu.fetchAddress();
      const off = this.d.memory.pageOffset(pa);
      if (off < 0) return '';
      const at = off + (pa % 4096);
      return Buffer.from(this.d.memory.ram8.subarray(at, Math.min(at + 15, off + 4096))).toString('hex');
    } catch (e) {
      if (!(e instanceof GuestFault)) throw e;
      return '';
    }
  }

  quiesce(): void {
    for (const v of this.vcpus) v.kick();
    for (const v of this.vcpus) v.stop();
  }

  recall(): void {
    this.quiesce();
    for (let i = 0; i < this.vcpus.length; i++) if (this.where[i] === Where.KVM) this.leave(i, 'switch');
    this.compare();
  }

  abandon(): void {
    this.quiesce();
    if (this.chip?.resident === true) this.chip.drop();
    this.waiting = false;
    for (let i = 0; i < this.vcpus.length; i++) {
      this.vcpus[i]!.discard();
      this.where[i] = Where.ENGINE;
      this.halted[i] = this.nmis[i] = this.shadow[i] = false;
    }
  }

  debug(points: readonly (readonly [number, number])[], watching: boolean): void {
    this.recall();
    this.debugging = points.length > 0 || watching;
    this.debuggable = this.d.host.breakpoints && !watching && points.length <= BREAKPOINTS;
    for (const v of this.vcpus) v.setBreakpoints(this.debugging && this.debuggable ? points : []);
  }

  enable(on: boolean): void {
    if (!on) this.recall();
    this.enabled = on;
  }

  // ---- the rest --------------------------------------------------------------------------------------------------------

  stats(): AccelStats {
    if (this.last !== null) return this.last;
    const exits: Record<string, number> = {};
    let remoteNs = 0;
    let count = 0;
    let hot = 0;
    let here = 0;
    const histogram = new Float64Array(HISTOGRAM_BUCKETS);
    for (const v of this.vcpus) {
      v.exits.forEach((n, reason) => {
        const name = EXIT_NAMES[reason] ?? `exit ${reason}`;
        if (n > 0) exits[name] = (exits[name] ?? 0) + n;
      });
      const c = v.counts();
      remoteNs += c.busyNs;
      count += c.commands;
      hot += c.hot;
      here += c.here;
      c.histogram.forEach((n, b) => (histogram[b]! += n));
    }
    let below = 0;
    let bucket = 0;
    while (bucket < HISTOGRAM_BUCKETS && (below += histogram[bucket]!) * 2 < count) bucket++;
    const medianNs = count === 0 ? 0 : bucket >= HISTOGRAM_BUCKETS - 1 ? Infinity : (bucket + 1) * HISTOGRAM_NS;
    return {
      kernelMode: this.slow ? 'engine' : 'kvm',
      kernelNsPerInsn: this.d.host.kernelNsPerInsn,
      exits,
      fallbacks: Object.fromEntries([...this.fallbacks].sort((a, b) => b[1] - a[1])),
      returns: this.returns,
      collectedWrites: this.collected,
      doorbells: this.doorbells?.rings ?? 0,
      irqchip: this.chip?.mode ?? 'off',
      messages: this.chip?.messages ?? 0,
      instructions: Object.fromEntries([...this.instructions].sort((a, b) => b[1] - a[1])),
      remoteNs,
      engineNs: this.engineNs,
      roundTrips: { count, hot, medianNs, here },
    };
  }

  private close(): void {
    for (const v of this.vcpus) v.dispose();
    this.vm.dispose();
    this.doorbells?.dispose();
  }

  dispose(): void {
    this.quiesce();
    this.last = this.stats();
    this.close();
  }
}
