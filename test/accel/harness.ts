/** A CPU with 2 MiB of RAM, a page of MMIO, a few ports and an interrupt source, on any executor: what the conformance cases run on. */
import { KvmAccelerator, type KvmOptions } from '#lib/accel/kvm/kvm.js';
import { kvmHost, type KvmHost, kvmModel, SLOW_KERNEL_NS } from '#lib/accel/kvm/system.js';
import { TscClock } from '#lib/accel/kvm/tsc-clock.js';
import { Turn } from '#lib/accel/accelerator.js';
import { TimerQueue } from '#lib/devices/clock.js';
import { ApicBus } from '#lib/devices/irq/apic-bus.js';
import type { InterruptHardware } from '#lib/devices/irq/hardware.js';
import { I8259 } from '#lib/devices/irq/i8259.js';
import { IoApic } from '#lib/devices/irq/ioapic.js';
import { LocalApic } from '#lib/devices/irq/lapic.js';
import { DeliveryMode, LapicReg } from '#lib/devices/irq/lapic.spec.js';
import type { InterruptSource } from '#lib/engine/cpu.js';
import { X86Cpu } from '#lib/engine/guest/x86/cpu.js';
import { CpuModel } from '#lib/engine/guest/x86/cpuid.js';
import { x86Helpers, x86Lifter } from '#lib/engine/guest/x86/guest.js';
import { Mode, Seg, X } from '#lib/engine/guest/x86/mode.js';
import { DEFAULT_PINNED } from '#lib/engine/host/x64/backend.js';
import { X64Host } from '#lib/engine/host/x64/host.js';
import { Engine, SliceEnd } from '#lib/engine/jit/engine.js';
import { Slot, STATE_BYTES } from '#lib/engine/state.js';
import { startCpu } from '#lib/machine/start.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { loadNative, type NativeContext } from '#lib/native.js';

export type Executor = 'interp' | 'jit' | 'kvm';
export type CaseMode = 'real16' | 'protected32' | 'long64';

const RAM = 0x20_0000;
export const CODE = 0x1000;
export const DATA = 0x4000;
const STACK = 0x8000;
/** Handler of vector v: a HLT at HANDLERS + 8 v. */
export const HANDLERS = 0x7000;
const GDT = 0x500;
const IDT = 0x600;
const IDT_ENTRIES = 0x50;
const TSS = 0xa000;
const TABLES = 0x1_0000;
const MMIO = 0x30_0000;
/** A window whose writes may be collected. */
const POSTED = 0x30_2000;

function hostKvm(): KvmHost | string {
  try {
    return kvmHost();
  } catch (e) {
    return (e as Error).message;
  }
}
const probed = hostKvm();
/** KVM of this host, or null; why there is none. */
export const kvm = typeof probed === 'string' ? null : probed;
export const noKvm = typeof probed === 'string' ? probed : null;
/** Kernel mode is emulated: such hypervisors have flaws of their own. */
export const softKvm = kvm !== null && kvm.kernelNsPerInsn > SLOW_KERNEL_NS;

/** What executes a case and which interrupt controllers it has: those of the test's own (one queue), or a PC's. */
export interface BenchOptions extends Partial<KvmOptions> {
  pc?: boolean;
}

class Intc implements InterruptSource {
  readonly queue: number[] = [];
  cr8 = 0;
  deadline = 0;
  pending = (): boolean => this.queue.length > 0;
  acknowledge = (): number => this.queue.shift() ?? -1;
  enabled = (): boolean => true;
  sendTo = (): boolean => false;
  getCr8 = (): number => this.cr8;
  setCr8 = (v: number): void => void (this.cr8 = v);
  readMsr(msr: number, out: { lo: number; hi: number }): boolean {
    out.lo = msr === 0x6e0 ? this.deadline : 0;
    out.hi = 0;
    return msr === 0x6e0;
  }
  writeMsr(msr: number, lo: number): boolean {
    if (msr === 0x6e0) this.deadline = lo;
    return msr === 0x6e0;
  }
}

/** How a case ended. */
export interface EndState {
  end: 'halt' | 'shutdown';
  rip: number;
  cs: number;
  cpl: number;
  cr2: number;
  flags: number;
  /** General registers by name, high and low words as one bigint. */
  regs: Record<string, bigint>;
  /** Bytes of DATA..DATA+0x200 that are not zero, as offset:hex. */
  data: string;
  /** The top eight words of the mode's width on the stack. */
  stack: number[];
  /** What devices saw. */
  log: string[];
}

const NAMES = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];

export class Bench {
  readonly cpu: X86Cpu;
  readonly memory: PhysicalMemory;
  readonly log: string[] = [];
  readonly engine: Engine;
  readonly accelerator: KvmAccelerator | null = null;
  private readonly native = loadNative();
  private readonly context: NativeContext;
  private readonly intc = new Intc();
  /** With a PC's interrupt controllers. */
  readonly hardware: InterruptHardware | null = null;
  private readonly clock: TscClock;
  /** Raised when the CPU is next found halted. */
  private late = -1;
  failure = '';
  /** Done once when the CPU is next found halted, which it then need not be any more. */
  atHalt: (() => void) | null = null;
  /** What writing to port 30h does instead of raising an interrupt. */
  onOut: (() => void) | null = null;

  constructor(
    readonly executor: Executor,
    options: BenchOptions = {},
  ) {
    const { native } = this;
    const ram = native.allocRam(RAM);
    const state = native.allocState(STATE_BYTES);
    const exec = executor === 'interp' ? null : native.allocExec(1 << 20);
    this.context = native.createContext(state, exec);
    this.memory = new PhysicalMemory(ram.buffer, ram.address);
    this.memory.mapRam(0, RAM, 0);
    this.devices();
    const tscKHz = kvm?.tscKHz ?? 1_000_000;
    this.clock = new TscClock(() => native.hostTsc(), () => native.now(), tscKHz, kvm !== null && !kvm.tscOffsets);
    this.clock.start();
    const timers = new TimerQueue(this.clock);
    // The same CPU whatever executes it.
    const model = kvm === null ? CpuModel.parse('max') : kvmModel(CpuModel.parse('max'), kvm, options.kernel === 'engine');
    const helpers = x86Helpers();
    if (options.pc === true) this.hardware = this.pc(timers, tscKHz, model.features.has('x2apic'));
    const intc = this.hardware?.lapics[0] ?? this.intc;
    this.cpu = new X86Cpu({ index: 0, cpus: 1, state, map: this.memory, ports: this.memory, intc, clock: this.clock, model, helpers, lifter: x86Lifter(helpers, model, 1), tscKHz, ticks: () => this.clock.ticks(), tscFixed: this.clock.fixed });
    const host = exec === null ? null : new X64Host(exec, [this.context], native.cpuFeatures(), DEFAULT_PINNED);
    this.engine = new Engine(this.memory, [this.cpu], { host, passes: {}, maxInsns: 64, stepBit: Mode.STEP, fpHelperBit: Mode.FP_UNMASKED, mask32: (m) => (m & Mode.CODE_MASK) !== Mode.CODE64 });
    if (executor === 'kvm') {
      this.accelerator = new KvmAccelerator({
        host: kvm!, options: { fallback: true, kernel: 'kvm', irqchip: 'off', dirty: 'auto', ioeventfd: 'off', ...options }, irq: this.hardware, native, cpus: [this.cpu], memory: this.memory, ram, engine: this.engine, clock: this.clock, timers, context: this.context, fail: (m) => (this.failure = m), breakpoint: () => (this.failure = 'a breakpoint that nobody has set'),
      });
    }
  }

  private pc(timers: TimerQueue, khz: number, x2apic: boolean): InterruptHardware {
    const apics = new ApicBus();
    const changed = (): void => {
      if (this.accelerator?.owns(0)) this.accelerator.attention(0);
      else this.cpu?.updateIntr();
    };
    const lapics: LocalApic[] = [];
    const pic = new I8259({ out: { set: (level) => lapics[0]?.lint0.set(level) } });
    const nobody = (): never => {
      throw new Error('NMI, INIT or SIPI for a CPU without others');
    };
    lapics.push(new LocalApic({
      id: 0, bsp: true, clock: timers, bus: apics, extInt: pic, x2apic, cpu: { onIntrChange: changed, onNmi: nobody, onInit: nobody, onSipi: nobody, onSmi: nobody },
      tsc: { khz, read: (out) => this.ticks(out) },
    }));
    this.memory.mapMmio(0xfee0_0000, 0x1000, lapics[0]!.mmio);
    return { apics, lapics, pic, ioapic: new IoApic({ bus: apics }) };
  }

  private ticks(out: { lo: number; hi: number }): void {
    const t = this.cpu.tsc();
    out.lo = t % 0x1_0000_0000;
    out.hi = Math.floor(t / 0x1_0000_0000);
  }

  private devices(): void {
    const cell = (n: number): number => 0xa000_0000 + n;
    this.memory.mapMmio(MMIO, 0x1000, {
      read: (o, s) => (this.log.push(`r${s} ${o.toString(16)}`), (cell(o) & (s === 4 ? -1 : 0xff)) >>> 0),
      write: (o, s, v) => void this.log.push(`w${s} ${o.toString(16)}=${v.toString(16)}`),
    });
    this.memory.mapMmio(POSTED, 0x1000, {
      posted: true,
      read: (o, s) => (this.log.push(`p-r${s} ${o.toString(16)}`), 0x5a),
      write: (o, s, v) => void this.log.push(`p-w${s} ${o.toString(16)}=${v.toString(16)}`),
    });
    this.memory.mapPorts(0x10, 4, {
      read: (o, s) => (this.log.push(`in${s} ${o.toString(16)}`), s === 1 ? 0x31 : s === 2 ? 0x4241 : 0x7654_3210),
      write: (o, s, v) => void this.log.push(`out${s} ${o.toString(16)}=${v.toString(16)}`),
    });
    const nothing = (): number => 0xff;
    this.memory.mapPorts(0x30, 1, { read: nothing, write: (_o, _s, v) => this.raise(v) });
    this.memory.mapPorts(0x31, 1, { read: nothing, write: (_o, _s, v) => void (this.late = v) });
  }

  private raise(vector: number): void {
    if (this.onOut !== null) {
      this.onOut();
      return;
    }
    if (this.hardware !== null) {
      this.hardware.apics.send(0, false, false, DeliveryMode.FIXED, vector, false);
      return;
    }
    this.intc.queue.push(vector);
    if (this.accelerator?.owns(0)) this.accelerator.attention(0);
    else this.cpu.updateIntr();
  }

  /** Puts code, tables and the CPU into place. */
  start(mode: CaseMode, code: Uint8Array): void {
    const m = this.memory;
    this.accelerator?.abandon();
    this.engine.flushTranslations();
    m.ram8.fill(0);
    m.ram8.set(code, CODE);
    for (let v = 0; v < IDT_ENTRIES; v++) m.ram8[HANDLERS + v * 8] = 0xf4;
    const gdt = [0n, 0x00cf_9b00_0000_ffffn, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0n, 0x00cf_f300_0000_ffffn, 0x00af_fb00_0000_ffffn];
    gdt.forEach((d, i) => m.ramView.setBigUint64(GDT + i * 8, d, true));
    for (let v = 0; v < IDT_ENTRIES; v++) {
      const h = HANDLERS + v * 8;
      if (mode === 'real16') m.ramView.setUint32(v * 4, ((HANDLERS >> 4) << 16) | (v * 8), true);
      else {
        const at = IDT + v * (mode === 'long64' ? 16 : 8);
        m.ramView.setUint32(at, ((mode === 'long64' ? 0x10 : 8) << 16) | h, true);
        m.ramView.setUint32(at + 4, 0x8e00, true);
      }
    }
    if (mode === 'long64') {
      m.ramView.setUint32(TABLES, (TABLES + 0x1000) | 7, true);
      m.ramView.setUint32(TABLES + 0x1000, (TABLES + 0x2000) | 7, true);
      // 4 KiB pages for the first 2 MiB but the last 512 KiB, and the MMIO page behind.
      m.ramView.setUint32(TABLES + 0x2000, (TABLES + 0x3000) | 7, true);
      m.ramView.setUint32(TABLES + 0x2008, 0x20_0087, true);
      for (let i = 0; i < 0x180; i++) m.ramView.setUint32(TABLES + 0x3000 + i * 8, (i << 12) | 7, true);
      m.ramView.setUint32(TSS + 4, STACK, true);
    }
    const { cpu, hardware } = this;
    cpu.reset();
    if (hardware !== null) {
      for (const d of [hardware.pic, hardware.ioapic, ...hardware.lapics]) d.reset();
      // Switched on by software.
      hardware.lapics[0]!.mmio.write(LapicReg.SVR, 4, 0x1ff);
    }
    const long = mode === 'long64';
    const sp = { rsp: STACK };
    startCpu(cpu, { mode, rip: mode === 'real16' ? CODE : CODE, regs: sp, cr3: TABLES, gdt: { base: GDT, limit: 0x3f }, cs: mode === 'real16' ? 0 : long ? 0x10 : 8, ds: 0x18 });
    if (mode === 'real16') {
      cpu.V[X.RSP * 2] = STACK;
    } else {
      cpu.seg.idtLo = IDT;
      cpu.seg.idtLimit = 0x7ff;
      cpu.seg.set(7, 0x40, TSS, 0x67, 0x8b);
    }
    this.log.length = 0;
  }

  /** Executes until the CPU halts for good. @throws after `ms` */
  run(ms = 10_000): EndState {
    const end = this.native.now() + ms * 1e6;
    const { cpu, accelerator: a } = this;
    for (;;) {
      if (this.native.now() > end) throw new Error(`no end after ${ms} ms: ${cpu.describe()}`);
      if (this.failure !== '') throw new Error(this.failure);
      // Set by the deadline: as the machine's loop does before it goes on.
      cpu.V[Slot.PENDING * 2 + 1] = 0;
      let halted: boolean;
      if (a !== null) {
        const turn = a.turn(0);
        if (turn === Turn.SHUTDOWN) return this.state('shutdown');
        if (turn === Turn.BUSY) {
          a.linger();
          if (!a.idle(0)) continue;
        }
        halted = turn === Turn.BUSY || turn === Turn.HALTED;
        if (turn === Turn.ENGINE) {
          if (this.failure !== '') continue;
          if (!cpu.halted || cpu.V[Slot.PENDING * 2] !== 0) {
            const r = this.slice();
            if (r === SliceEnd.SHUTDOWN) return this.state('shutdown');
            halted = r === SliceEnd.HALTED;
          } else halted = true;
        }
      } else {
        const r = this.slice();
        if (r === SliceEnd.SHUTDOWN) return this.state('shutdown');
        halted = r === SliceEnd.HALTED;
      }
      if (!halted) continue;
      if (this.atHalt !== null) {
        const act = this.atHalt;
        this.atHalt = null;
        act();
        continue;
      }
      if (this.late < 0) return this.state('halt');
      const v = this.late;
      this.late = -1;
      this.raise(v);
    }
  }

  private slice(): SliceEnd {
    const allowed = this.accelerator?.before(0);
    this.cpu.V[Slot.PENDING * 2 + 1] = 0;
    this.context.setDeadline(this.native.now() + Math.min(20e6, allowed?.ns ?? 20e6));
    const r = this.engine.runSlice(this.cpu, allowed?.shadow, allowed?.insns);
    this.accelerator?.after(0, r);
    return r;
  }

  private state(end: 'halt' | 'shutdown'): EndState {
    this.accelerator?.recall();
    const { cpu } = this;
    const V = cpu.V;
    const word = (s: number): bigint => (BigInt(V[s * 2 + 1]! >>> 0) << 32n) | BigInt(V[s * 2]! >>> 0);
    cpu.restartAt();
    cpu.nextIp();
    const data: string[] = [];
    for (let i = 0; i < 0x200; i++) if (this.memory.ram8[DATA + i]) data.push(`${i.toString(16)}:${this.memory.ram8[DATA + i]!.toString(16)}`);
    const long = cpu.mode & Mode.LONG;
    const width = long ? 8 : cpu.cr0 & 1 ? 4 : 2;
    const stack: number[] = [];
    for (let i = 1; i <= 8; i++) stack.push(width === 2 ? this.memory.read16(STACK - i * 2) : this.memory.read32(STACK - i * width));
    return {
      end, rip: cpu.ipLo >>> 0, cs: cpu.seg.sel[Seg.CS]!, cpl: cpu.cpl, cr2: cpu.cr2Lo >>> 0, flags: cpu.flags.get(),
      regs: Object.fromEntries(NAMES.map((n, i) => [n, word(X.RAX + i)])), data: data.join(' '), stack, log: [...this.log],
    };
  }

  dispose(): void {
    this.accelerator?.dispose();
    this.context.dispose();
  }
}
