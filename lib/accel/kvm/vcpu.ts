/** One vCPU under KVM: its thread's mailbox, its state, and the devices' side of its exits. */
import type { LapicState } from '../../devices/irq/lapic-state.js';
import type { LocalApic } from '../../devices/irq/lapic.js';
import { GuestFault } from '../../engine/cpu.js';
import type { X86Cpu } from '../../engine/guest/x86/cpu.js';
import { VmxError } from '../../errors.js';
import type { PhysicalMemory } from '../../memory/physical.js';
import type { NativeAddon, NativeKvm, NativeMemory, NativeVcpu } from '../../native.js';
import { Box, BoxStatus, COMMAND_RUN, HISTOGRAM_BUCKETS } from '../mailbox.js';
import { Block, Exit, EXIT_NAMES, GuestDebug, MpState, Part, Ring, Run, SUBERROR_EMULATION, SUBERRORS } from './layout.js';
import { StateBlock } from './state.js';

/** What is left to do after an exit has been served. */
export const enum Served {
  /** Nothing: run on. */
  GO_ON = 0,
  HALT = 1,
  SHUTDOWN = 2,
  /** User mode has been left by a CPU that was to execute nothing else. */
  LEFT_USER = 4,
  /** It stands at a breakpoint of the debugger's. */
  BREAKPOINT = 5,
  /** KVM cannot go on at this instruction; `Vcpu.problem` says why. */
  STUCK = 3,
}

/** Longest wait for a vCPU that has been kicked, ns. */
const STOP_NS = 5e9;

export class Vcpu {
  readonly state: StateBlock;
  readonly tscKHz: number;
  /** Why the last exit could not be served, and the instruction's bytes as KVM told them (empty if it did not). */
  problem = '';
  instruction = '';
  /** Exits by reason. */
  readonly exits = new Float64Array(40);
  /** The guest is running with a request to exit when it can take an interrupt. */
  windowRequested = false;
  /** A command is with the thread, or its outcome has not been looked at. */
  running = false;
  private readonly thread: NativeVcpu;
  private readonly runMemory: NativeMemory;
  private readonly blockMemory: NativeMemory;
  private readonly words: Int32Array;
  private readonly run: DataView;
  private readonly run8: Uint8Array;
  private readonly run32: Int32Array;
  /** An exit whose instruction is completed by entering KVM again: the state is not exact before. */
  private unfinished = false;
  private kicked = false;
  /** A run has been prepared that `execute` is to do. */
  private waiting = false;
  /** Parts of the state that the next command sets first. */
  private toSet = 0;
  private wasSet = 0;
  private userOnly = false;
  /** The local APIC's state as it was given to the kernel. */
  private lent: LapicState | null = null;
  private left = false;
  /** TSC offset that KVM has. */
  private tscLo = 0;
  private tscHi = 0;
  private tscSet = false;

  constructor(
    private readonly native: NativeAddon,
    vm: NativeKvm,
    readonly cpu: X86Cpu,
    private readonly memory: PhysicalMemory,
    contextId: number,
    cpuid: Uint32Array,
    /** The guest is run on the machine's own thread (`execute`): no other has to be woken for each exit. */
    private readonly here: boolean,
    /** The local APIC that the kernel may have; null: it never does. */
    private readonly apic: LocalApic | null,
    /** A level-triggered interrupt of an I/O APIC outside of the kernel has ended. */
    private readonly onEoi: (vector: number) => void,
    /** The ring of written pages is full. */
    private readonly onRingFull: () => void,
    /** Where the ring of collected writes is behind struct kvm_run, in bytes; 0: there is none. */
    private readonly ring: number,
  ) {
    const { vcpu, run, block, tscKHz } = vm.createVcpu(cpu.index, contextId, cpuid);
    this.thread = vcpu;
    this.runMemory = run;
    this.blockMemory = block;
    this.tscKHz = tscKHz;
    this.words = new Int32Array(block.buffer);
    this.run = new DataView(run.buffer);
    this.run8 = new Uint8Array(run.buffer);
    this.run32 = new Int32Array(run.buffer);
    this.state = new StateBlock(block.buffer, cpu);
    this.words[Box.VECTOR] = -1;
    // What KVM has in components that are not ours (PKRU) is kept.
    this.command(0, 0, Part.ALL & ~Part.MSRS);
  }

  // ---- mailbox -------------------------------------------------------------------------------------------------------

  /** What was started has ended. */
  get idle(): boolean {
    return this.here ? !this.waiting : Atomics.load(this.words, Box.STATUS) === BoxStatus.IDLE;
  }

  private post(what: number, set: number, get: number): void {
    const w = this.words;
    w[Box.COMMAND] = what;
    w[Box.SET_MASK] = set;
    w[Box.GET_MASK] = get;
    // A kick that came when nothing ran must not end this command; one that comes from now on does.
    this.run8[Run.IMMEDIATE_EXIT] = 0;
    this.kicked = false;
  }

  private check(): void {
    const e = this.words[Box.ERROR]!;
    if (e === 0) return;
    const failed = this.words[Box.FAILED]!;
    throw new VmxError('ERR_KVM', `KVM: ${['', 'setting state', 'injecting an interrupt', 'running', 'getting state'][failed & 0xff] ?? ''} (part ${failed >>> 8}) failed with error ${e} on CPU ${this.cpu.index}`);
  }

  /** A command that does not run the guest, waited for. */
  private command(what: number, set: number, get: number): void {
    this.post(what, set, get);
    this.thread.post();
    if (!this.thread.waitIdle(STOP_NS)) throw new VmxError('ERR_KVM', `KVM: CPU ${this.cpu.index} does not answer`);
    this.check();
  }

  /** Makes a running vCPU exit soon. */
  kick(): void {
    if (!this.running || this.kicked) return;
    this.kicked = true;
    if (this.here) this.run8[Run.IMMEDIATE_EXIT] = 1;
    else this.thread.kick();
  }

  /** Kicks and waits until the thread is idle; the exit waits to be served. */
  stop(): void {
    if (!this.running || this.idle) return;
    this.kick();
    if (this.here) {
      this.execute();
      return;
    }
    if (!this.thread.waitIdle(STOP_NS)) throw new VmxError('ERR_KVM', `KVM: CPU ${this.cpu.index} does not stop`);
  }

  // ---- state ---------------------------------------------------------------------------------------------------------

  /**
   * Takes the CPU's state from the engine; it reaches the kernel with the next run.
   * @param userOnly see StateBlock.save @param flush this vCPU's translations are to be dropped as well
   */
  enter(userOnly: boolean, flush: boolean): void {
    this.userOnly = userOnly;
    this.left = false;
    this.state.save(this.cpu, userOnly);
    this.toSet |= flush ? Part.ALL | Part.FLUSH : Part.ALL;
    this.unfinished = false;
    // Not known before the first exit: interrupts wait for the window.
    this.run8[Run.READY_FOR_INTERRUPT] = 0;
  }

  /** As `enter`, with the local APIC, whose state is the kernel's at once. @param extInt see LocalApic.lend */
  enterWithApic(flush: boolean, extInt: boolean): void {
    const apic = this.apic!;
    this.enter(false, flush);
    const count = apic.timerCount;
    this.lent = apic.lend(extInt);
    this.state.saveApic(this.cpu, this.lent, count);
    const set = this.toSet | Part.APIC;
    this.toSet = 0;
    this.command(0, set, 0);
  }

  /** The first half of leaving with the local APIC: what has been begun is finished. Other vCPUs may be told of interrupts by that. */
  complete(): void {
    this.finish();
  }

  /** The second half, when all vCPUs have completed: gets the state out of the kernel. */
  fetch(): void {
    this.state.prepareGet();
    this.command(0, this.toSet, Part.ALL | Part.APIC);
    this.toSet = 0;
  }

  /** The third, when the other controllers are back. @param now guest time, ns @returns true if interrupts are held off for the next instruction */
  loadWithApic(now: number): boolean {
    const { cpu, state } = this;
    this.apic!.takeBack(state.loadApic(this.lent!, now));
    this.lent = null;
    const mp = state.mpState;
    // SIPI has been taken into the registers by then.
    cpu.waitSipi = mp === MpState.UNINITIALIZED || mp === MpState.INIT_RECEIVED;
    const shadow = state.load(cpu);
    cpu.halted = cpu.waitSipi || mp === MpState.HALTED;
    return shadow;
  }

  /** The last exit was a kick. */
  get isKick(): boolean {
    return this.run32[Run.EXIT_REASON >> 2] === (Exit.INTR as number) && this.words[Box.ERROR] === 0;
  }

  /** It waits in the kernel for an interrupt. Between runs. */
  get waits(): boolean {
    const { kicked } = this;
    this.command(0, 0, Part.MP_STATE);
    this.kicked = kicked;
    return this.state.mpState !== MpState.RUNNABLE;
  }

  /**
   * Gives the state back to the engine. @returns true if interrupts are held off for the next instruction.
   */
  leave(): boolean {
    this.finish();
    if (this.toSet & Part.ALL) {
      // Never entered: the state is still as the engine left it.
      this.toSet &= ~(Part.ALL | Part.FLUSH);
      this.state.unsave(this.cpu);
      return false;
    }
    this.state.prepareGet();
    this.command(0, 0, Part.ALL);
    if (!this.userOnly) return this.state.load(this.cpu);
    this.state.loadUser(this.cpu, this.left);
    return false;
  }

  /** Lets KVM complete the instruction of the last exit without executing another one. */
  private finish(): void {
    for (let i = 0; this.unfinished && i < 4096; i++) {
      this.unfinished = false;
      const w = this.words;
      w[Box.COMMAND] = COMMAND_RUN;
      w[Box.SET_MASK] = this.toSet;
      w[Box.GET_MASK] = 0;
      this.toSet = 0;
      this.run8[Run.IMMEDIATE_EXIT] = 1;
      this.thread.post();
      if (!this.thread.waitIdle(STOP_NS)) throw new VmxError('ERR_KVM', `KVM: CPU ${this.cpu.index} does not answer`);
      this.check();
      // A wide access comes in pieces.
      if (this.run32[Run.EXIT_REASON >> 2] !== (Exit.INTR as number)) this.serve();
    }
  }

  /** Drops what the vCPU was about to do; its state is of no use any more. */
  discard(): void {
    this.stop();
    if (this.running) this.unfinished = true;
    this.running = false;
    this.finish();
    this.toSet &= ~(Part.ALL | Part.FLUSH);
  }

  /** The guest's TSC is the host's plus this, modulo 2^64. */
  setTscOffset(lo: number, hi: number): void {
    if (this.tscSet && lo === this.tscLo && hi === this.tscHi) return;
    this.tscSet = true;
    this.tscLo = lo;
    this.tscHi = hi;
    this.words[Block.TSC_OFFSET >> 2] = lo;
    this.words[(Block.TSC_OFFSET >> 2) + 1] = hi;
    this.toSet |= Part.TSC_OFFSET;
  }

  /** Breakpoints at linear addresses (low and high word), four at most; none: as if there were no debugger. */
  setBreakpoints(points: readonly (readonly [number, number])[]): void {
    const at = Block.GUEST_DEBUG >> 2;
    const w = this.words;
    // struct kvm_guest_debug: control, padding, then DR0 to DR7 as 64-bit words.
    w.fill(0, at, at + 18);
    if (points.length > 0) {
      w[at] = GuestDebug.ENABLE | GuestDebug.USE_HW_BP;
      let dr7 = 0x400;
      points.forEach(([lo, hi], i) => {
        w[at + 2 + i * 2] = lo;
        w[at + 3 + i * 2] = hi;
        // G<i>; type and length are 0 for instructions.
        dr7 |= 2 << (i * 2);
      });
      w[at + 2 + 14] = dr7;
    }
    this.toSet |= Part.GUEST_DEBUG;
  }

  // ---- running -------------------------------------------------------------------------------------------------------

  /** Starts or goes on; interrupts that the CPU can take go along. */
  go(nmi: boolean): void {
    const { cpu, words, run8 } = this;
    const intc = cpu.intc;
    words[Box.NMI] = nmi ? 1 : 0;
    let wait = 0;
    if (intc.pending()) {
      if (run8[Run.READY_FOR_INTERRUPT] !== 0 && run8[Run.IF_FLAG] !== 0) {
        words[Box.VECTOR] = intc.acknowledge();
        if (intc.pending()) wait = 1;
      } else {
        wait = 1;
      }
    }
    run8[Run.REQUEST_INTERRUPT_WINDOW] = wait;
    this.windowRequested = wait !== 0;
    run8[Run.CR8] = intc.getCr8();
    const set = (this.wasSet = this.toSet);
    this.toSet = 0;
    this.unfinished = false;
    this.running = true;
    this.post(COMMAND_RUN, set, 0);
    if (this.here) this.waiting = true;
    else this.hand();
  }

  /** The thread finds what was posted, if it spins; else it is woken up. */
  private hand(): void {
    Atomics.store(this.words, Box.STATUS, BoxStatus.POSTED);
    if (Atomics.load(this.words, Box.SLEEPING) !== 0) this.thread.post();
  }

  /** Runs the guest on this thread, if that has been prepared, until it exits or this thread is wanted. @returns whether it has run */
  execute(): boolean {
    if (!this.waiting) return false;
    this.waiting = false;
    if (!this.thread.runHere()) throw new VmxError('ERR_INTERNAL', 'KVM: the vCPU is in use');
    return true;
  }

  /** The guest accepts interrupts, as far as the last exit told. */
  get acceptsInterrupts(): boolean {
    return this.run8[Run.IF_FLAG] !== 0;
  }

  /** The exit that waits to be served is an access to a port or to memory: nothing but its device has to be asked. */
  get isAccess(): boolean {
    const reason = this.run32[Run.EXIT_REASON >> 2];
    return (reason === (Exit.IO as number) || reason === (Exit.MMIO as number)) && this.words[Box.ERROR] === 0;
  }

  /** Looks at the exit of a vCPU that has become idle. */
  serve(): Served {
    const r = this.run32;
    this.running = false;
    const error = this.words[Box.ERROR]!;
    if (error !== 0) return this.failed(error);
    const reason = r[Run.EXIT_REASON >> 2]!;
    this.exits[reason < 40 ? reason : 39]!++;
    const { cpu } = this;
    const cr8 = this.run8[Run.CR8]!;
    if (this.apic === null && cr8 !== cpu.intc.getCr8()) cpu.intc.setCr8(cr8);
    switch (reason as Exit) {
      case Exit.IO:
        this.unfinished = true;
        this.io();
        return Served.GO_ON;
      case Exit.MMIO:
        this.unfinished = true;
        this.mmio();
        return Served.GO_ON;
      case Exit.RDMSR:
      case Exit.WRMSR:
        this.unfinished = true;
        this.msr(reason === (Exit.WRMSR as number));
        return Served.GO_ON;
      case Exit.INTR:
      case Exit.IRQ_WINDOW_OPEN:
      case Exit.SET_TPR:
        return Served.GO_ON;
      case Exit.DIRTY_RING_FULL:
        this.onRingFull();
        return Served.GO_ON;
      case Exit.IOAPIC_EOI:
        this.onEoi(this.run8[Run.EOI_VECTOR]!);
        return Served.GO_ON;
      case Exit.HLT:
        return Served.HALT;
      case Exit.DEBUG:
        return Served.BREAKPOINT;
      case Exit.SHUTDOWN:
        this.left = this.userOnly;
        return this.left ? Served.LEFT_USER : Served.SHUTDOWN;
      default:
        this.stuck(reason);
        return Served.STUCK;
    }
  }

  private failed(error: number): Served {
    const failed = this.words[Box.FAILED]!;
    this.instruction = '';
    // The state that the engine handed over is still its own: KVM refuses it (a mode it cannot run, for instance).
    if ((failed & 0xff) === 1) {
      if ((this.wasSet & Part.ALL) === 0) this.check();
      this.problem = `state refused (part ${failed >>> 8})`;
      this.toSet |= Part.ALL;
    } else {
      this.problem = (failed & 0xff) === 2 ? 'interrupt refused' : `run failed with error ${error}`;
    }
    return Served.STUCK;
  }

  private stuck(reason: number): void {
    const r = this.run32;
    this.instruction = '';
    if (reason === (Exit.INTERNAL_ERROR as number)) {
      const sub = r[Run.SUBERROR >> 2]!;
      this.problem = SUBERRORS[sub] ?? `internal error ${sub}`;
      if (sub === SUBERROR_EMULATION && this.run8[Run.FAILURE_FLAGS]! & 1) {
        const n = Math.min(15, this.run8[Run.FAILURE_INSN_SIZE]!);
        this.instruction = Buffer.from(this.run8.subarray(Run.FAILURE_INSN, Run.FAILURE_INSN + n)).toString('hex');
      }
    } else if (reason === (Exit.FAIL_ENTRY as number)) {
      this.problem = `entry refused (hardware reason 0x${(r[Run.HARDWARE_REASON >> 2]! >>> 0).toString(16)})`;
    } else {
      this.problem = `exit '${EXIT_NAMES[reason] ?? reason}'`;
    }
  }

  private io(): void {
    const { run, memory } = this;
    const size = this.run8[Run.IO_SIZE]!;
    const port = run.getUint16(Run.IO_PORT, true);
    const out = this.run8[Run.IO_DIRECTION] === 1;
    let at = this.run32[Run.IO_DATA_OFFSET >> 2]!;
    for (let n = run.getUint32(Run.IO_COUNT, true); n > 0; n--, at += size) {
      if (out) memory.portOut(port, size, size === 1 ? this.run8[at]! : size === 2 ? run.getUint16(at, true) : run.getUint32(at, true));
      else {
        const v = memory.portIn(port, size);
        if (size === 1) this.run8[at] = v;
        else if (size === 2) run.setUint16(at, v, true);
        else run.setUint32(at, v >>> 0, true);
      }
    }
  }

  /** Carries out the writes that KVM has collected for the machine. @returns how many */
  drain(): number {
    const { ring, run, run32 } = this;
    if (ring === 0) return 0;
    const last = Atomics.load(run32, (ring + Ring.LAST) >> 2) >>> 0;
    let first = run32[(ring + Ring.FIRST) >> 2]! >>> 0;
    let n = 0;
    for (; first !== last && first < Ring.COUNT && n < Ring.COUNT; n++) {
      const e = ring + Ring.ENTRIES + first * Ring.ENTRY_BYTES;
      this.access(run.getUint32(e + Ring.ADDRESS, true) + run.getUint32(e + Ring.ADDRESS + 4, true) * 0x1_0000_0000, run.getUint32(e + Ring.LENGTH, true), true, e + Ring.DATA);
      first = (first + 1) % Ring.COUNT;
    }
    if (n > 0) Atomics.store(run32, (ring + Ring.FIRST) >> 2, first);
    return n;
  }

  private mmio(): void {
    const { run } = this;
    const pa = run.getUint32(Run.MMIO_ADDRESS, true) + run.getUint32(Run.MMIO_ADDRESS + 4, true) * 0x1_0000_0000;
    this.access(pa, run.getUint32(Run.MMIO_LENGTH, true), this.run8[Run.MMIO_IS_WRITE] !== 0, Run.MMIO_DATA);
  }

  /** An access whose data is at byte `data` of the shared pages. */
  private access(pa: number, length: number, write: boolean, data: number): void {
    const { run, memory } = this;
    const bytes = Math.min(8, length);
    // Devices take 1, 2 or 4 bytes; what KVM gives in one piece does not cross a page.
    for (let done = 0; done < bytes; ) {
      const left = bytes - done;
      const n = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      const at = data + done;
      if (write) memory.write(pa + done, n, n === 4 ? run.getUint32(at, true) : n === 2 ? run.getUint16(at, true) : this.run8[at]!);
      else {
        const v = memory.read(pa + done, n);
        if (n === 4) run.setUint32(at, v >>> 0, true);
        else if (n === 2) run.setUint16(at, v, true);
        else this.run8[at] = v;
      }
      done += n;
    }
  }

  private msr(write: boolean): void {
    const { cpu, run32, run8 } = this;
    const index = run32[Run.MSR_INDEX >> 2]!;
    run8[Run.MSR_ERROR] = 0;
    try {
      if (write) {
        cpu.msr.write(index, run32[Run.MSR_DATA >> 2]!, run32[(Run.MSR_DATA >> 2) + 1]!);
      } else {
        cpu.msr.read(index);
        run32[Run.MSR_DATA >> 2] = cpu.outLo;
        run32[(Run.MSR_DATA >> 2) + 1] = cpu.outHi;
      }
    } catch (e) {
      if (!(e instanceof GuestFault)) throw e;
      // KVM raises #GP.
      run8[Run.MSR_ERROR] = 1;
    }
  }

  /** See NativeVcpu.harvest. */
  harvest(pairs: Uint32Array): number {
    return this.thread.harvest(pairs);
  }

  /** What the mailbox counts (mailbox.ts). Times in ns. */
  counts(): { histogram: Int32Array; commands: number; hot: number; here: number; busyNs: number } {
    const w = this.words;
    return {
      histogram: w.slice(Box.HISTOGRAM, Box.HISTOGRAM + HISTOGRAM_BUCKETS), commands: w[Box.COMMANDS]!, hot: w[Box.HOT]!, here: w[Box.HERE]!,
      busyNs: (w[Box.BUSY_NS]! >>> 0) + w[Box.BUSY_NS + 1]! * 0x1_0000_0000,
    };
  }

  dispose(): void {
    this.thread.dispose();
    this.native.free(this.runMemory);
    this.native.free(this.blockMemory);
  }
}
