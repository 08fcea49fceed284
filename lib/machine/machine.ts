/**
 * A machine inside its worker: memory, CPUs, board, engine, and the loop that shares the thread between guest code, device
 * timers and the event loop.
 */
import { type Accelerator, Turn } from '../accel/accelerator.js';
import { apicKeepsInService, engineKeepsKernel, type KvmHost, kvmHost, requireCpus, SLOW_KERNEL_NS } from '../accel/kvm/system.js';
import { TscClock } from '../accel/kvm/tsc-clock.js';
import type { Board, BoardHost } from '../boards/board.js';
import { TimerQueue } from '../devices/clock.js';
import { randomFillSync } from 'node:crypto';
import { CODE_GRANULE } from '../engine/cpu.js';
import { X64Host } from '../engine/host/x64/host.js';
import { Engine, SliceEnd } from '../engine/jit/engine.js';
import type { HostCode } from '../engine/jit/host-code.js';
import { JC_BASE, Pending, Slot, STATE_BYTES } from '../engine/state.js';
import { UsageError, VmxError } from '../errors.js';
import { PhysicalMemory } from '../memory/physical.js';
import { loadNative, type NativeContext, type NativeExec, type NativeMemory } from '../native.js';
import { MachineCache, maxInsns } from './code-cache.js';
import type { HostForward } from '../net/user/user-net.js';
import type { MachineConfig } from './config.js';
import { mark, timeline } from './timeline.js';
import { HostClock, repeatableRandom, type RunClock, VirtualClock } from './debug/virtual-clock.js';
import { attachTools, passOptions, type Tools } from './debug/tools.js';
import { MachineConsole } from './console.js';
import { MachineDevices } from './machine-devices.js';
import { MachineStreams } from './machine-streams.js';
import type { StreamMessage } from './stream-protocol.js';
import { MachineDrives } from './drives.js';
import type { Guest, GuestArch, MachineCpu } from './guests/guest.js';
import { Debugger } from './debug/debugger.js';
import type { ActiveAccel, DebugReply, DebugRequest, DebugStop, EndState, GuestEvent, Inspection, MachineStats } from './protocol.js';

export interface MachineHost {
  serialOutput(bytes: Uint8Array): void;
  debugOutput(bytes: Uint8Array): void;
  /** Bytes of serial input that the guest's port has accepted. */
  serialTaken(count: number): void;
  log(message: string): void;
  reset(): void;
  /** The tray of a CD-ROM drive has opened or closed. */
  trayMoved(drive: string, open: boolean): void;
  debugStop(stop: DebugStop): void;
  guestEvent(event: GuestEvent): void;
  /** The guest has connected to a port of the host; its stream. */
  vsockConnection(port: number, from: number, id: number): void;
  stream(id: number, m: StreamMessage): void;
}

/** Both aliases count as resident memory of the process. Debian's boot to a login prompt fills 50 MiB. */
const EXEC_BYTES = 128 * 1024 * 1024;
/** Room behind guest RAM for ROM and flash contents and video memory; costs nothing until it is touched. */
const EXTRA_BYTES = 64 * 1024 * 1024;
/** The flash of ARM64's board is as large by itself, twice. */
const FLASH_BYTES = 128 * 1024 * 1024;

/** Host memory besides RAM. */
const extraBytes = (c: MachineConfig): number => EXTRA_BYTES + (c.arch !== 'x86_64' && c.firmware?.kind === 'uefi' ? FLASH_BYTES : 0);
/** Time slice of a CPU when several want to run, ns. */
const SLICE_NS = 1_000_000;
/** The same, and the number of rounds, after one has sent another an interrupt. */
const SHORT_SLICE_NS = 50_000;
const HURRY_ROUNDS = 2;
/** The event loop gets a turn at least this often, ns: JavaScript timers do not wake the loop's descriptor. */
const TURN_NS = 10_000_000;
/** Longest sleep, ns. */
const LONG_NS = 1e9;
const LOGS_PER_SECOND = 20;
const PAGE = 4096;
const HUGE_PAGE = 2 << 20;
/** So many huge pages are backed ahead of writes that go through memory in a row. */
const SEQUENCE = 3;
/** CPUID 80000007 EDX: the host's time-stamp counter runs at one rate, always. */
const INVARIANT_TSC = 0x100;
/** Exits of a hypervisor may follow each other this long before timers and the event loop get their turn, ns. */
const HOT_NS = 1_000_000;

export class Machine {
  /** What executes the guest. */
  accel: ActiveAccel;
  readonly notes: string[];
  started = false;
  private readonly native = loadNative();
  private readonly memory: PhysicalMemory;
  private readonly clock: RunClock;
  /** The clock, if it counts instructions. */
  private readonly virtual: VirtualClock | null;
  private readonly random: (buf: Uint8Array) => void;
  private readonly timers: TimerQueue;
  private readonly guest: Guest;
  private readonly cpus: readonly MachineCpu[];
  private readonly contexts: NativeContext[] = [];
  private readonly engine: Engine;
  private readonly aot: MachineCache | null;
  /** Generated code, where there is any. */
  private readonly generated: HostCode | null;
  private readonly accelerator: Accelerator | null = null;
  private readonly board: Board;
  readonly console: MachineConsole;
  readonly streams: MachineStreams;
  readonly devices: MachineDevices;
  private readonly ram: NativeMemory;
  readonly drives: MachineDrives;
  private extraUsed = 0;
  private readonly tools: Tools;
  private debugger: Debugger | null = null;
  private endState: EndState | null = null;
  private resetWanted = false;
  /** ACPI S3. */
  private suspended = false;
  private wakeWanted = false;
  private inSlice = false;
  /** Rounds with short slices that are left. */
  private hurry = 0;
  private turnWanted = false;
  /** The same, once no CPU has anything to do. */
  private idleTurn = false;
  private pausing: (() => void)[] = [];
  private paused = false;
  private resumed: (() => void) | null = null;
  private input: Uint8Array[] = [];
  private pumping = false;
  private pumpAgain = false;
  private startedAt = 0;
  private haltedNs = 0;
  private slices = 0;
  /** When the running slice is to end. */
  private until = 0;
  private turns = 0;
  private lastTurn = 0;
  private logBudget = LOGS_PER_SECOND;
  private logWindow = 0;

  constructor(
    readonly config: MachineConfig,
    private readonly arch: GuestArch,
    private readonly host: MachineHost,
  ) {
    this.notes = [...config.notes];
    const native = this.native;
    const kvm = this.openKvm();
    const exec = this.allocExec();
    const engineName = exec === null || config.accel.name === 'interp' ? 'interp' : 'jit';
    this.accel = kvm !== null && (config.accel.name === 'kvm' || config.accel.name === 'auto') ? 'kvm' : engineName;
    const ram = (this.ram = native.allocRam(config.memory + extraBytes(config)));
    const states = Array.from({ length: config.cpus }, () => native.allocState(STATE_BYTES));
    // Each CPU's TLBs are made empty when it is made, and be it with one entry.
    if (engineName === 'jit') for (const state of states) native.backAhead(state, 0, JC_BASE);
    this.streams = new MachineStreams((id, m) => host.stream(id, m));
    const map = native.allocState(Math.ceil((config.memory + extraBytes(config)) / CODE_GRANULE / 8 / 4096) * 4096);
    this.memory = new PhysicalMemory(ram.buffer, ram.address, { words: new Int32Array(map.buffer), address: map.address });
    arch.mapRam(this.memory, config);
    if (engineName === 'jit') this.backAhead(ram);
    mark('memory mapped');
    this.virtual = config.clock === 'virtual' ? new VirtualClock() : null;
    const tscClock = kvm === null ? null : new TscClock(() => native.hostTsc(), () => native.now(), kvm.tscKHz, !kvm.tscOffsets);
    this.clock = this.virtual ?? tscClock ?? new HostClock(() => native.now());
    this.random = this.virtual === null ? (buf): void => void randomFillSync(buf) : repeatableRandom();
    this.timers = new TimerQueue(this.clock);
    for (const state of states) this.contexts.push(native.createContext(state, exec));
    this.guest = arch.build({
      config,
      memory: this.memory,
      clock: this.clock,
      kvm,
      tsc: tscClock,
      board: this.boardHost(),
      states,
      hurryTo: (i) => this.hurryTo(i),
      interruptSlice: () => this.raise(Pending.STOP),
      suspend: () => {
        this.suspended = true;
        this.raise(Pending.STOP);
      },
      wake: () => (this.wakeWanted = true),
    });
    this.cpus = this.guest.cpus;
    this.board = this.guest.board;
    mark('board and CPUs made');
    const host64: HostCode | null = exec === null ? null : new X64Host(exec, this.contexts, native.cpuFeatures(), arch.pinned, passOptions(config.debug.disablePasses ?? []), (at, offset, bytes) => native.backAhead(at, offset, bytes));
    this.generated = host64;
    this.engine = new Engine(this.memory, this.cpus, {
      host: engineName === 'interp' ? null : host64,
      passes: passOptions(config.debug.disablePasses ?? []),
      maxInsns: maxInsns(config),
      stepBit: arch.stepBit,
      fpHelperBit: arch.fpHelperBit,
      mask32: (mode) => arch.mask32(mode),
      firstRun: this.virtual === null && passOptions(config.debug.disablePasses ?? []).firstRun !== false,
    });
    this.tools = attachTools({ options: config.debug, engine: this.engine, host: host64, arch, cpus: this.cpus, ram: this.memory.ram8, clock: this.virtual, log: (m) => this.host.log(m) });
    // With several CPUs their counters would have to agree to the tick.
    if (host64 !== null && arch.counterPerNs !== undefined && config.cpus === 1 && this.virtual === null && tscClock === null && (native.cpuid(0x8000_0007, 0)[3]! & INVARIANT_TSC) !== 0) {
      this.engine.useHostCounter(() => native.now(), arch.counterPerNs);
    }
    mark('engine made');
    this.aot = MachineCache.attach(config.aot, config, this.guest, this.engine, engineName === 'interp' ? null : host64, (m) => {
      // Nobody listens before the machine starts.
      if (this.started) this.host.log(m);
      else this.notes.push(m);
    });
    mark('code cache opened');
    if (kvm !== null && tscClock !== null) this.accelerator = this.makeAccelerator(kvm, tscClock, ram);
    this.memory.onRemap = (code) => {
      this.accelerator?.remapped();
      for (const c of this.cpus) c.flushTlb();
      if (code) this.engine.flushTranslations();
    };
    this.engine.helperCounts = new Float64Array(4096);
    // A timer armed while a CPU runs may be due before the slice was to end.
    this.timers.onEarlier((t) => {
      const cpu = this.engine.active;
      if (cpu === null || t >= this.until) return;
      this.until = t;
      this.setDeadline(cpu.index, t);
    });
    this.console = new MachineConsole(this.board, this.timers);
    this.devices = new MachineDevices(this.board, this.streams, (port, from, id) => host.vsockConnection(port, from, id), (actual) => host.guestEvent({ kind: 'balloon', actual }));
    this.drives = new MachineDrives(this.board.drives, (drive, open) => this.host.trayMoved(drive, open));
    this.board.onSerialRoom = () => this.pumpInput();
    this.resetBoard();
    mark('kernel loaded');
  }

  /** Has memory cleared that the guest uses first, while the board is being built. */
  private backAhead(ram: NativeMemory): void {
    for (const [from, to] of this.arch.usedFirst?.(this.config) ?? []) {
      const first = Math.floor(from / HUGE_PAGE) * HUGE_PAGE;
      const last = Math.min(Math.ceil(to / HUGE_PAGE) * HUGE_PAGE, this.config.memory);
      if (first >= 0 && last > first) this.native.backAhead(ram, first, last - first);
    }
    // A kernel that unpacks itself moves 16 MiB downwards and writes 50 MiB upwards.
    const asked = new Uint8Array(Math.floor(this.config.memory / HUGE_PAGE));
    this.memory.onSequence = (stretch, step): void => {
      for (let k = 1; k <= SEQUENCE; k++) {
        const s = stretch + k * step;
        if (asked[s] !== 0 || this.memory.written[s] !== 0) continue;
        asked[s] = 1;
        this.native.backAhead(ram, s * HUGE_PAGE, HUGE_PAGE);
      }
    };
  }

  get contextId(): number {
    return this.contexts[0]!.id;
  }

  /** KVM, if the machine is to run on it or may be switched to it. */
  private openKvm(): KvmHost | null {
    const { accel, switchable, arch, clock, debug } = this.config;
    const forced = accel.name === 'kvm' || switchable;
    if (!forced && accel.name !== 'auto') return null;
    const refusal = arch !== 'x86_64' ? `executes x86_64 guests only, not ${arch}` : clock === 'virtual' ? 'does not count instructions (--clock virtual)' : debug.lockstep || debug.traceFile !== undefined ? 'does not let instructions be traced' : null;
    if (refusal !== null) {
      if (forced) throw new UsageError(`--accel: kvm ${refusal} (use jit or interp)`);
      return null;
    }
    let host: KvmHost;
    try {
      host = kvmHost(accel.kvm.device);
    } catch (e) {
      if (!(e instanceof VmxError)) throw e;
      if (forced) throw new UsageError(`--accel: kvm: ${e.message}${switchable ? '' : '; or use --accel jit'}`, { cause: e });
      this.say(`accel: jit, without KVM: ${e.message}`);
      return null;
    }
    if (accel.kvm.kernel === 'engine' && !host.shutdownKeepsState) throw new UsageError('--accel: kernel=engine needs a KVM that keeps a CPU\'s registers at a shutdown, which this one does not');
    if (forced) {
      requireCpus(host, this.config.cpus);
      const { irqchip, kernel, dirty, ioeventfd } = accel.kvm;
      const slow = engineKeepsKernel(kernel, host);
      if ((irqchip === 'split' || irqchip === 'full') && slow) this.notes.push(`accel: irqchip=off: the engine has kernel mode here, with it the interrupts (kernel=kvm leaves both to KVM)`);
      else if ((irqchip === 'split' || irqchip === 'full') && !host.irqchip[irqchip]) this.notes.push(`accel: irqchip=off: this KVM has no ${irqchip} irqchip`);
      else if ((irqchip === 'split' || irqchip === 'full') && host.irqchip.full && !apicKeepsInService(host)) this.notes.push(`accel: irqchip=${irqchip}: this KVM's local APIC ends an interrupt as it delivers it; some will come twice (irqchip=off is right)`);
      if (dirty === 'ring' && host.dirtyRing === 0) this.notes.push('accel: dirty=log: this KVM has no dirty rings');
      if (ioeventfd === 'on' && !host.ioeventfd) this.notes.push('accel: ioeventfd=off: this KVM has none');
      return host;
    }
    if (this.config.cpus > host.maxVcpus) {
      this.say(`accel: jit: KVM allows ${host.maxVcpus} CPUs`);
      return null;
    }
    if (host.kernelNsPerInsn > SLOW_KERNEL_NS) {
      this.say(`accel: jit: KVM emulates kernel mode here (${Math.round(host.kernelNsPerInsn)} ns an instruction); --accel kvm uses it for user mode`);
      return null;
    }
    this.say('accel: kvm');
    return host;
  }

  /** What --accel auto has chosen. */
  private say(note: string): void {
    if (!this.config.accel.silent) this.notes.push(note);
  }

  private makeAccelerator(host: KvmHost, clock: TscClock, ram: NativeMemory): Accelerator {
    const make = this.guest.accelerate;
    if (make === undefined) throw new VmxError('ERR_INTERNAL', 'this guest architecture cannot run on KVM');
    const a = make({
      host,
      options: this.config.accel.kvm,
      native: this.native,
      memory: this.memory,
      ram,
      engine: this.engine,
      clock,
      timers: this.timers,
      context: this.contexts[0]!,
      breakpoint: (i) => this.debugger?.met(i),
      fail: (message) => this.end({ reason: 'error', status: 125, message }),
    });
    a.enable(this.accel === 'kvm');
    return a;
  }

  /** Lets something else execute the guest from its next instruction on. Between slices. @throws VmxError ERR_STATE */
  setAccel(accel: ActiveAccel): void {
    if (accel === this.accel) return;
    if (accel === 'kvm' && this.accelerator === null) throw new VmxError('ERR_STATE', 'this machine has not been created to run on KVM (accel kvm, or switchable)');
    if (accel === 'jit' && this.generated === null) throw new VmxError('ERR_STATE', 'there is no generated code on this machine');
    if (!['kvm', 'jit', 'interp'].includes(accel)) throw new VmxError('ERR_INVALID_ARG', `accel: '${String(accel)}' is not one of kvm, jit, interp`);
    this.accelerator?.enable(accel === 'kvm');
    // Beside KVM the engine is as fast as it can be.
    this.engine.useHost(accel === 'interp' ? null : this.generated);
    this.accel = accel;
  }

  private allocExec(): NativeExec | null {
    if (this.config.accel.name === 'interp' && !this.config.switchable) return null;
    if (process.arch !== 'x64') {
      if (this.config.accel.name === 'jit') throw new UsageError(`--accel: jit has no back end for ${process.arch} hosts yet (use interp)`);
      this.notes.push(`no JIT back end for ${process.arch} hosts: running on the interpreter`);
      return null;
    }
    try {
      return this.native.allocExec(EXEC_BYTES, this.config.debug.perfMap === true);
    } catch (e) {
      if (!(e instanceof VmxError) || e.code !== 'ERR_NO_EXEC') throw e;
      if (this.config.accel.name === 'jit') throw new UsageError(`--accel: jit needs executable memory, which this system refuses (use interp): ${e.message}`, { cause: e });
      this.notes.push('this system refuses executable memory: running on the interpreter');
      return null;
    }
  }

  private boardHost(): BoardHost {
    return {
      config: this.config,
      memory: this.memory,
      extraRam: (bytes) => {
        const at = this.config.memory + this.extraUsed;
        if (this.extraUsed + bytes > extraBytes(this.config)) throw new VmxError('ERR_INTERNAL', 'no room left for ROM and video memory');
        this.extraUsed += bytes;
        return at;
      },
      clock: this.timers,
      wallClock: () => this.config.rtc + this.clock.now() / 1e6,
      random: (buf) => this.random(buf),
      serialOutput: (bytes) => this.host.serialOutput(bytes),
      debugOutput: (byte) => this.host.debugOutput(Uint8Array.of(byte)),
      powerOff: () => this.end({ reason: 'power-off', status: 0, message: 'the guest powered off' }),
      reset: () => this.requestReset(),
      exit: (status) => this.end({ reason: 'exit', status, message: `the guest ended with status ${status}` }),
      currentCpu: () => (this.accelerator !== null && this.accelerator.serving >= 0 ? this.accelerator.serving : (this.engine.active?.index ?? 0)),
      log: (m) => this.log(m),
      idleTurn: () => (this.idleTurn = true),
      releaseRam: (pa, bytes) => this.releaseRam(pa, bytes),
      port: (name, client) => this.streams.port(name, client),
      panicked: (event, exit) => {
        this.host.guestEvent({ kind: 'panic', event });
        if (exit) this.end({ reason: 'panic', status: 125, message: `the guest has ${event === 'panicked' ? 'panicked' : 'loaded its crash kernel'}` });
      },
      deviceRemoved: (id) => this.host.guestEvent({ kind: 'device-removed', id }),
      watchdog: (action) => {
        this.host.guestEvent({ kind: 'watchdog', action });
        if (action === 'reset') this.requestReset();
        else if (action === 'poweroff') this.end({ reason: 'power-off', status: 0, message: 'the watchdog has run out' });
      },
    };
  }

  /** Page by page where RAM is not contiguous; other memory than the guest's RAM is kept. */
  private releaseRam(pa: number, bytes: number): void {
    const end = pa + bytes;
    for (let at = pa; at < end; ) {
      let n = PAGE;
      const offset = this.memory.pageOffset(at);
      while (offset >= 0 && at + n < end && this.memory.pageOffset(at + n) === offset + n) n += PAGE;
      // Translations of what was there go.
      if (offset >= 0 && offset + n <= this.config.memory && this.memory.viewForWrite(at, n) !== null) this.native.discard(this.ram, offset, n);
      at += n;
    }
  }

  /** An interrupt for another CPU than the running one: the sender may wait for it, so turns become short for a while. */
  private hurryTo(i: number): void {
    if (!this.inSlice || this.engine.active === this.cpus[i]) return;
    this.hurry = HURRY_ROUNDS;
    this.raise(Pending.STOP);
  }

  /** Makes whichever CPU is running leave its slice. */
  private raise(bit: Pending): void {
    const V = (this.engine.active ?? this.cpus[0]!).V;
    V[Slot.PENDING * 2] = V[Slot.PENDING * 2]! | bit;
  }

  private log(message: string): void {
    const second = Math.floor(this.clock.now() / 1e9);
    if (second !== this.logWindow) {
      this.logWindow = second;
      this.logBudget = LOGS_PER_SECOND;
    }
    if (this.logBudget-- > 0) this.host.log(message);
  }

  private resetBoard(): void {
    this.accelerator?.abandon();
    this.guest.reset();
    this.engine.flushTranslations();
  }

  private leaveSleep(): void {
    this.suspended = this.wakeWanted = false;
    this.accelerator?.abandon();
    this.guest.resume();
    this.engine.flushTranslations();
  }

  requestReset(): void {
    if (this.config.noReboot) {
      this.end({ reason: 'reset', status: 0, message: 'the guest reset the machine (--no-reboot)' });
      return;
    }
    this.resetWanted = true;
    this.raise(Pending.STOP);
  }

  powerButton(): void {
    this.board.powerButton();
  }

  /** Ends the machine after the current instruction. The first reason counts. */
  end(state: EndState): void {
    this.endState ??= state;
    this.raise(Pending.STOP);
    this.resumed?.();
  }

  /** There is something for the event loop to do. */
  wantTurn(): void {
    this.turnWanted = true;
  }

  serialInput(bytes: Uint8Array): void {
    this.input.push(bytes);
    this.pumpInput();
  }

  private pumpInput(): void {
    // The port may report room from within serialInput, when the chunk's taken part is not cut off yet.
    this.pumpAgain = true;
    if (this.pumping) return;
    this.pumping = true;
    let taken = 0;
    for (let chunk = this.input[0]; chunk !== undefined && this.pumpAgain; chunk = this.input[0]) {
      this.pumpAgain = false;
      const n = this.board.serialInput(chunk);
      taken += n;
      if (n < chunk.length) {
        this.input[0] = chunk.subarray(n);
      } else {
        this.input.shift();
        this.pumpAgain = true;
      }
    }
    this.pumping = false;
    if (taken > 0) this.host.serialTaken(taken);
  }

  pause(): Promise<void> {
    if (this.paused || this.endState !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.pausing.push(resolve);
      this.raise(Pending.STOP);
    });
  }

  resume(): void {
    this.resumed?.();
  }

  /** Runs until the machine ends. */
  async run(): Promise<EndState> {
    this.started = true;
    this.startedAt = this.lastTurn = this.native.now();
    mark('first instruction');
    this.clock.start();
    const ctx0 = this.contexts[0]!;
    ctx0.watchLoop(true);
    try {
      while (this.endState === null) {
        while (this.pausing.length > 0 || this.debugger?.wantsStop === true) await this.standStill();
        this.clearRequests();
        if (this.debugger?.goesOn() === true) continue;
        if (this.resetWanted) {
          this.resetWanted = false;
          this.suspended = this.wakeWanted = false;
          this.resetBoard();
          this.host.reset();
        }
        this.timers.runExpired();
        if (this.wakeWanted) this.leaveSleep();
        const halted = this.suspended || this.runRound();
        if (this.endState !== null) break;
        await this.between(ctx0, halted);
      }
      return this.endState;
    } finally {
      ctx0.watchLoop(false);
      this.accelerator?.dispose();
      this.board.close();
      this.tools.close();
      this.aot?.close();
      for (const c of this.contexts) c.dispose();
    }
  }

  private clearRequests(): void {
    for (const c of this.cpus) {
      c.V[Slot.PENDING * 2] = c.V[Slot.PENDING * 2]! & ~Pending.STOP;
      c.V[Slot.PENDING * 2 + 1] = 0;
    }
  }

  /** Rounds as long as a hypervisor's exits follow each other closely. @returns true if there is nothing to do but wait. */
  private runRound(): boolean {
    const a = this.accelerator;
    if (a === null) return this.runCpus();
    const end = this.native.now() + HOT_NS;
    for (;;) {
      const idle = this.runCpus();
      if (!idle || this.endState !== null || this.resetWanted || this.suspended || this.turnWanted || this.native.now() > end || !a.linger()) return idle && !a.runnable;
    }
  }

  /** One slice for every CPU that wants one. @returns true if all are halted or with a hypervisor. */
  private runCpus(): boolean {
    let runnable = 0;
    for (let i = 0; i < this.cpus.length; i++) if (!this.cpus[i]!.halted) runnable++;
    if (this.hurry > 0) this.hurry--;
    let halted = true;
    for (let i = 0; i < this.cpus.length && this.endState === null; i++) {
      const cpu = this.cpus[i]!;
      const a = this.accelerator;
      if (a !== null) {
        const turn = a.turn(i);
        if (turn === Turn.SHUTDOWN) {
          this.tripleFault(i);
          return false;
        }
        if (turn !== Turn.ENGINE) continue;
      }
      if (cpu.halted && cpu.V[Slot.PENDING * 2] === 0) continue;
      const allowed = a?.before(i);
      const now = this.clock.now();
      let until = Math.min(this.timers.nextDeadline(), now + TURN_NS);
      if (runnable > 1 || (this.cpus.length > 1 && !cpu.halted)) until = Math.min(until, now + (this.hurry > 0 ? SHORT_SLICE_NS : SLICE_NS));
      if (allowed !== undefined) until = Math.min(until, now + allowed.ns);
      this.until = until;
      this.setDeadline(i, until);
      this.slices++;
      this.inSlice = true;
      const end = this.engine.runSlice(cpu, allowed?.shadow, allowed?.insns);
      this.inSlice = false;
      a?.after(i, end);
      if (end === SliceEnd.BREAKPOINT) this.debugger?.met(i);
      if (end === SliceEnd.SHUTDOWN) {
        this.tripleFault(i);
        return false;
      }
      if (end !== SliceEnd.HALTED) halted = false;
    }
    return halted;
  }

  private setDeadline(i: number, t: number): void {
    if (this.virtual !== null) this.virtual.deadline = t;
    else this.contexts[i]!.setDeadline(this.clock.toHost(t));
  }

  private tripleFault(i: number): void {
    const message = `triple fault on CPU ${i}: ${this.cpus[i]!.describe()}`;
    if (this.config.noReboot) this.end({ reason: 'triple-fault', status: 125, message });
    else {
      this.log(`${message}; resetting`);
      this.resetWanted = true;
    }
  }

  /** Sleeps if all CPUs are halted, and lets the event loop turn if it has work. */
  private async between(ctx: NativeContext, halted: boolean): Promise<void> {
    const now = this.native.now();
    let turn = this.turnWanted || (halted && this.idleTurn) || now - this.lastTurn > TURN_NS;
    if (halted && !turn && !this.wakeWanted && (this.suspended || this.cpus.every((c) => c.V[Slot.PENDING * 2] === 0))) {
      const deadline = this.timers.nextDeadline();
      if (this.virtual !== null && deadline !== Infinity) {
        this.virtual.skipTo(deadline);
        return;
      }
      const until = deadline === Infinity ? now + LONG_NS : this.clock.toHost(deadline);
      if (until > now) {
        turn = ctx.wait(Math.min(until, now + LONG_NS)) === 1;
        this.haltedNs += this.native.now() - now;
      }
    } else if (!turn) {
      turn = ctx.wait(0) === 1;
    }
    if (turn) {
      this.turnWanted = this.idleTurn = false;
      this.turns++;
      this.lastTurn = now;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  private async standStill(): Promise<void> {
    // A debugger looks at the CPUs.
    if (this.debugger?.wantsStop === true) this.accelerator?.recall();
    else this.accelerator?.quiesce();
    this.clock.stop();
    this.paused = true;
    const resumed = new Promise<void>((resolve) => (this.resumed = resolve));
    for (const done of this.pausing) done();
    this.pausing = [];
    this.debugger?.stands();
    await resumed;
    this.resumed = null;
    this.paused = false;
    this.clock.start();
  }

  /** For a debugger; the first request attaches one. */
  debug(request: DebugRequest): DebugReply {
    const arch = this.guest.gdb ?? this.arch.debug.gdb;
    if (arch === undefined) return { ok: false, data: null };
    if (this.debugger === null) {
      this.debugger = new Debugger({
        engine: this.engine, cpus: this.cpus, arch, memory: this.memory, interrupt: () => this.raise(Pending.STOP), resume: () => this.resume(),
        stopped: (stop) => this.host.debugStop(stop),
        changed: (points, watching) => this.accelerator?.debug(points, watching),
      });
    }
    return this.debugger.handle(request);
  }

  /** What has to be there before the machine runs and cannot be had at once. Rejects with a UsageError. */
  async prepare(): Promise<void> {
    for (const n of this.board.nets) await n.open();
  }

  /** Opens a port of the host that leads to the guest behind network card `nic`. @returns its number. */
  forward(nic: number, f: HostForward): Promise<number> {
    const n = this.board.nets[nic];
    if (n === undefined || n.forward === null) return Promise.reject(new UsageError(`there is no user network at card ${nic}`));
    return n.forward(f);
  }

  inspect(): Inspection {
    // What a hypervisor has comes here first.
    this.accelerator?.recall();
    return { pci: this.board.pci?.describe() ?? [], registers: this.cpus.map((c) => c.describe()), mice: this.board.input.mice };
  }

  stats(): MachineStats {
    const helpers: Record<string, number> = {};
    const list = this.cpus[0]!.helpers.list as readonly { name: string; id: number }[];
    const counts = this.engine.helperCounts!;
    for (const h of [...list].sort((a, b) => counts[b.id]! - counts[a.id]!)) {
      if (counts[h.id]! === 0) break;
      helpers[h.name] = counts[h.id]!;
    }
    const mem = process.memoryUsage();
    return {
      accel: this.accel,
      ...(this.accelerator === null ? {} : { kvm: this.accelerator.stats() }),
      wall: this.startedAt === 0 ? 0 : (this.native.now() - this.startedAt) / 1e9,
      halted: this.haltedNs / 1e9,
      guestTime: this.clock.now(),
      engine: { ...this.engine.stats, hostBytes: this.engine.hostBytes },
      aot: this.aot?.stats() ?? null,
      helpers,
      slices: this.slices,
      loopTurns: this.turns,
      memory: { rss: mem.rss, guest: this.config.memory },
      moments: timeline(),
    };
  }
}
