/** The public API: a virtual machine that runs in a worker of its own, so the caller's event loop stays free. */
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { type KvmHost, kvmHost } from '../accel/kvm/system.js';
import { engineBuild } from '../cache/identity.js';
import { UsageError, VmxError } from '../errors.js';
import { suggestion } from '../suggest.js';
import { loadNative } from '../native.js';
import { type MachineConfig, type MachineOptions, resolveConfig } from './config.js';
import { Keyboard, Mouse, Screen, type ConsoleLink } from './screen.js';
import type { HostForward } from '../net/user/user-net.js';
import { Balloon } from './balloon.js';
import { Hotplug } from './hotplug.js';
import type { PointerInfo } from '../devices/input/router.js';
import { Shell } from './shell.js';
import { Vsock } from './vsock.js';
import { DeviceStream } from './device-stream.js';
import { Disks } from './disks.js';
import { Network } from './network.js';
import type { PortInfo } from './stream-protocol.js';
import type { PanicEvent } from '../devices/misc/pvpanic.js';
import type { WatchdogAction } from '../boards/board.js';
import { mark } from './timeline.js';
import { isWorkerStarting, takeWorker } from './worker-start.js';
import type { MachineWorker } from './local-worker.js';
import type { PciInfo } from '../devices/pci/pci.js';
import type { ActiveAccel, BalloonInfo, ConsoleReply, ConsoleRequest, DebugReply, DebugRequest, DebugStop, DeviceReply, DeviceRequest, DriveInfo, GuestEvent, DriveRequest, EndState, FromWorker, Inspection, MachineStats, ScreenState, ToWorker, WorkerInit } from './protocol.js';

export type VmState = 'created' | 'running' | 'paused' | 'ended';

/** Events of a VirtualMachine and their arguments. */
export interface VmEvents {
  start: [];
  pause: [];
  resume: [];
  /** The guest reset the machine. */
  reset: [];
  /** The machine has ended; nothing follows. */
  end: [EndState];
  /** Rate-limited notes about the guest's behaviour. */
  log: [string];
  /** Bytes of the debug console (ports E9h and 402h). */
  debug: [Uint8Array];
  /** The tray of a CD-ROM drive has opened or closed: by the guest, or by `disks`. */
  trayMoved: [{ drive: string; open: boolean }];
  /** All CPUs stand still because of a debugger. */
  debugStop: [DebugStop];
  /** The guest has crashed and says so (`--device pvpanic`). */
  guestPanic: [PanicEvent];
  /** A watchdog has run out, and this follows. */
  watchdog: [WatchdogAction];
  /** A device that had come while the machine ran has gone. */
  deviceRemoved: [string];
  /** The balloon has another size; bytes that it holds. */
  balloon: [number];
}

/** Bytes waiting for the guest's serial port before `write` reports back-pressure. */
const SERIAL_WINDOW = 4096;

/** The first serial port (COM1) as a stream: what the guest prints can be read, what is written is typed. */
class SerialPort extends Duplex {
  private credit = SERIAL_WINDOW;
  private waiting: { chunk: Uint8Array; done: (e?: Error | null) => void } | null = null;

  constructor(private readonly send: (bytes: Uint8Array) => void) {
    super({ allowHalfOpen: true });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (e?: Error | null) => void): void {
    this.waiting = { chunk, done };
    this.pump();
  }

  private pump(): void {
    while (this.waiting !== null && this.credit > 0) {
      const { chunk, done } = this.waiting;
      const n = Math.min(this.credit, chunk.length);
      this.credit -= n;
      this.send(chunk.slice(0, n));
      if (n < chunk.length) {
        this.waiting.chunk = chunk.subarray(n);
      } else {
        this.waiting = null;
        done();
      }
    }
  }

  /** The guest has taken n bytes. */
  taken(n: number): void {
    this.credit += n;
    this.pump();
  }

  received(bytes: Uint8Array): void {
    this.push(bytes);
  }

  finished(): void {
    this.push(null);
    const w = this.waiting;
    this.waiting = null;
    w?.done();
  }
}

/** The host's KVM, if the machine will ask for it. What is wrong with it the machine reports. */
function kvmAhead(c: MachineConfig): KvmHost | null {
  if (c.arch !== 'x86_64' || !(c.accel.name === 'auto' || c.accel.name === 'kvm' || c.switchable)) return null;
  try {
    return kvmHost(c.accel.kvm.device);
  } catch (e) {
    if (!(e instanceof VmxError)) throw e;
    return null;
  }
}

export class VirtualMachine extends EventEmitter<VmEvents> implements AsyncDisposable {
  /** The guest's first serial port. */
  readonly serial: Duplex;
  /** What the display shows. */
  readonly screen: Screen;
  readonly keyboard: Keyboard;
  readonly mouse: Mouse;
  readonly net: Network;
  readonly balloon: Balloon;
  /** Devices that come and go while the machine runs. */
  readonly hotplug: Hotplug;
  /** Sockets to and from the guest (`--device virtio-vsock`). */
  readonly vsock: Vsock;
  private readonly serialPort: SerialPort;
  /** Drives: discs and floppies change while the machine runs. */
  readonly disks: Disks;
  private current: VmState = 'created';
  private end: EndState | null = null;
  private finalStats: MachineStats | null = null;
  private nextId = 1;
  private readonly replies = new Map<number, (stats?: MachineStats, refusal?: { code: string; message: string }) => void>();
  private readonly driveReplies = new Map<number, (drives: DriveInfo[], refusal?: { code: string; message: string }) => void>();
  private readonly forwards = new Map<number, (port: number, error: string | null) => void>();
  private readonly debugReplies = new Map<number, (r: DebugReply) => void>();
  private readonly inspections = new Map<number, (i: Inspection) => void>();
  private readonly consoleReplies = new Map<number, (reply: ConsoleReply | null) => void>();
  private readonly deviceReplies = new Map<number, (r: DeviceReply) => void>();
  private readonly streams = new Map<number, DeviceStream>();
  private lastScreen: ScreenState = { picture: null, lines: null };
  private readonly ended: Promise<EndState>;
  private resolveEnded!: (e: EndState) => void;
  private exited!: Promise<void>;

  private constructor(
    /** What the options came to. */
    readonly config: Readonly<MachineConfig>,
    private readonly worker: MachineWorker,
    private readonly contextId: number,
    private active: ActiveAccel,
    /** What is worth knowing about how the machine was set up; logged at the start. */
    private readonly notes: readonly string[],
    private readonly portList: readonly PortInfo[],
  ) {
    super();
    this.serialPort = new SerialPort((bytes) => this.post({ type: 'serial', bytes }));
    this.serial = this.serialPort;
    const link = this.consoleLink();
    this.screen = new Screen(link);
    this.keyboard = new Keyboard(link);
    this.mouse = new Mouse(link);
    this.net = new Network((nic, f) => this.forward(nic, f));
    this.balloon = new Balloon((target, stats) => this.askBalloon(target, stats), config.memory);
    this.hotplug = new Hotplug((r) => this.askDevice(r), config);
    this.vsock = new Vsock((r) => this.askDevice(r), (id) => this.openStream(id));
    this.disks = new Disks((request) => this.askDrives(request));
    this.ended = new Promise((r) => (this.resolveEnded = r));
  }

  /**
   * Checks the options, starts the worker, allocates memory and loads the kernel. The machine does not run yet.
   * @param signal stops the machine (at any time) when aborted.
   * @throws UsageError for bad input, VmxError otherwise.
   */
  static async create(options: MachineOptions = {}, signal?: AbortSignal): Promise<VirtualMachine> {
    const config = resolveConfig(options);
    signal?.throwIfAborted();
    // A worker that the command line has started is still loading its program; elsewhere this thread is not to be kept.
    const kvm = isWorkerStarting() ? kvmAhead(config) : null;
    const worker = takeWorker();
    const init: WorkerInit = { config, build: config.aot.mode === 'off' ? null : engineBuild(), kvm };
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    const vm = await new Promise<VirtualMachine>((resolve, reject) => {
      worker.once('error', reject);
      worker.once('message', (m: FromWorker) => {
        if (m.type === 'ready') {
          const v = new VirtualMachine(config, worker, m.contextId, m.accel, m.notes, m.ports);
          v.listen();
          resolve(v);
        } else if (m.type === 'failed') {
          reject(failure(m));
        } else {
          reject(new VmxError('ERR_INTERNAL', `unexpected message ${m.type}`));
        }
      });
      worker.postMessage(init);
      mark('configuration posted');
    }).catch(async (e: unknown) => {
      await worker.terminate();
      throw e;
    });
    vm.exited = exited;
    if (signal) {
      const abort = (): void => void vm.stop();
      signal.addEventListener('abort', abort, { once: true });
      void vm.ended.then(() => signal.removeEventListener('abort', abort));
    }
    return vm;
  }

  private listen(): void {
    this.worker.on('message', (m: FromWorker) => this.message(m));
    this.worker.on('error', (e) => this.finish({ reason: 'error', status: 1, message: e.message }, null));
    this.worker.on('exit', () => this.finish({ reason: 'error', status: 1, message: 'the machine worker ended unexpectedly' }, null));
  }

  private message(m: FromWorker): void {
    switch (m.type) {
      case 'serial':
        this.serialPort.received(m.bytes);
        break;
      case 'serial-taken':
        this.serialPort.taken(m.count);
        break;
      case 'debug':
        this.emit('debug', m.bytes);
        break;
      case 'log':
        this.emit('log', m.message);
        break;
      case 'reset':
        this.emit('reset');
        break;
      case 'done': {
        const r = this.replies.get(m.id);
        this.replies.delete(m.id);
        r?.(m.stats, m.refusal);
        break;
      }
      case 'drives':
        this.driveReplies.get(m.id)?.(m.drives, m.refusal);
        this.driveReplies.delete(m.id);
        break;
      case 'tray':
        this.emit('trayMoved', { drive: m.drive, open: m.open });
        break;
      case 'forwarded':
        this.forwards.get(m.id)?.(m.port, m.error);
        this.forwards.delete(m.id);
        break;
      case 'debugged':
        this.debugReplies.get(m.id)?.(m.reply);
        this.debugReplies.delete(m.id);
        break;
      case 'debug-stop':
        this.emit('debugStop', m.stop);
        break;
      case 'inspected':
        this.inspections.get(m.id)?.(m.inspection);
        this.inspections.delete(m.id);
        break;
      case 'console':
        this.consoleReplies.get(m.id)?.(m.reply);
        this.consoleReplies.delete(m.id);
        break;
      case 'stream':
        this.streams.get(m.id)?.message(m.m);
        break;
      case 'device':
        this.deviceReplies.get(m.id)?.(m.reply);
        this.deviceReplies.delete(m.id);
        break;
      case 'vsock-connection':
        this.vsock.connected(m.port, m.from, m.id);
        break;
      case 'guest-event':
        this.guestEvent(m.event);
        break;
      case 'ended':
        this.lastScreen = m.screen;
        this.finish(m.end, m.stats);
        break;
      case 'failed':
        this.finish({ reason: 'error', status: 1, message: m.message }, null);
        break;
      case 'ready':
        break;
    }
  }

  private finish(end: EndState, stats: MachineStats | null): void {
    if (this.end !== null) return;
    this.end = end;
    this.finalStats = stats;
    this.current = 'ended';
    for (const r of this.replies.values()) r(stats ?? undefined);
    this.replies.clear();
    for (const r of this.driveReplies.values()) r([], OVER);
    this.driveReplies.clear();
    for (const r of this.forwards.values()) r(0, 'the machine has ended');
    this.forwards.clear();
    for (const r of this.debugReplies.values()) r({ ok: false, data: null });
    this.debugReplies.clear();
    for (const r of this.inspections.values()) r(NOTHING);
    this.inspections.clear();
    for (const r of this.consoleReplies.values()) r(null);
    this.consoleReplies.clear();
    for (const r of this.deviceReplies.values()) r({ error: OVER.message, code: OVER.code });
    this.deviceReplies.clear();
    for (const s of this.streams.values()) s.finished();
    this.serialPort.finished();
    this.resolveEnded(end);
    this.emit('end', end);
    void this.worker.terminate();
  }

  private post(m: ToWorker): void {
    if (this.current === 'ended') return;
    this.worker.postMessage(m);
    // The worker may be inside generated code or asleep: this makes it look at its messages.
    loadNative().kick(this.contextId);
  }

  private request(make: (id: number) => ToWorker): Promise<MachineStats | undefined> {
    if (this.current === 'ended') return Promise.resolve(this.finalStats ?? undefined);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.replies.set(id, (stats, refusal) => {
        if (refusal === undefined) resolve(stats);
        else reject(new VmxError(refusal.code, refusal.message));
      });
      this.post(make(id));
    });
  }

  /** Null once the machine has ended. */
  private askConsole(request: ConsoleRequest): Promise<ConsoleReply | null> {
    if (this.current === 'ended') return Promise.resolve(null);
    const id = this.nextId++;
    return new Promise((resolve) => {
      this.consoleReplies.set(id, resolve);
      this.post({ type: 'console', id, request });
    });
  }

  private consoleLink(): ConsoleLink {
    return {
      screen: async (request) => {
        const r = await this.askConsole(request);
        if (r === null || (r.kind !== 'picture' && r.kind !== 'text')) return this.lastScreen;
        return r.kind === 'picture' ? { picture: r.picture, lines: null } : { picture: null, lines: r.lines };
      },
      changes: async (all) => {
        const r = await this.askConsole({ kind: 'changes', all });
        return r?.kind === 'changes' ? r : null;
      },
      cells: async () => {
        const r = await this.askConsole({ kind: 'cells' });
        return r?.kind === 'cells' ? r.cells : null;
      },
      input: async (events) => {
        if (events.length > 0) await this.askConsole({ kind: 'input', events });
      },
      isOver: () => this.current === 'ended',
    };
  }

  /** What executes the guest. */
  get accel(): ActiveAccel {
    return this.active;
  }

  /**
   * Lets something else execute the guest from its next instruction on, also while it runs. KVM only if the machine has been
   * created for it (`accel: 'kvm'` or `switchable`).
   * @throws VmxError ERR_STATE if this machine or host cannot
   */
  async setAccel(accel: ActiveAccel): Promise<void> {
    await this.request((id) => ({ type: 'accel', id, accel }));
    this.active = accel;
  }

  get state(): VmState {
    return this.current;
  }

  /** Starts executing. */
  start(): void {
    if (this.current !== 'created') throw new VmxError('ERR_STATE', `start: the machine is ${this.current}`);
    this.current = 'running';
    this.post({ type: 'start' });
    this.emit('start');
    for (const note of this.notes) this.emit('log', note);
  }

  /** Stops time and execution. Resolves when the guest stands still. */
  async pause(): Promise<void> {
    if (this.current !== 'running') return;
    await this.request((id) => ({ type: 'pause', id }));
    if (this.end === null) {
      this.current = 'paused';
      this.emit('pause');
    }
  }

  async resume(): Promise<void> {
    if (this.current !== 'paused') return;
    await this.request((id) => ({ type: 'resume', id }));
    if (this.end === null) {
      this.current = 'running';
      this.emit('resume');
    }
  }

  /** Presses the ACPI power button. */
  powerButton(): void {
    this.post({ type: 'power-button' });
  }

  /** Resets the machine as its reset button would. */
  reset(): void {
    this.post({ type: 'reset' });
  }

  /** Switches the machine off now and frees its memory. */
  async stop(): Promise<EndState> {
    this.post({ type: 'stop' });
    const end = await this.ended;
    await this.exited;
    return end;
  }

  /** Resolves when the machine has ended, by itself or by `stop`. */
  wait(): Promise<EndState> {
    return this.ended;
  }

  /** What ran: blocks, exits, cache, time. After the end: the final figures. */
  async stats(): Promise<MachineStats | undefined> {
    return this.request((id) => ({ type: 'stats', id }));
  }

  private askDrives(request: DriveRequest): Promise<DriveInfo[]> {
    if (this.current === 'ended') return Promise.reject(new VmxError(OVER.code, OVER.message));
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.driveReplies.set(id, (drives, refusal) => {
        if (refusal === undefined) resolve(drives);
        else reject(refusal.code === 'ERR_USAGE' ? new UsageError(refusal.message) : new VmxError(refusal.code, refusal.message));
      });
      this.post({ type: 'drives', id, request });
    });
  }

  private guestEvent(e: GuestEvent): void {
    switch (e.kind) {
      case 'panic':
        this.emit('guestPanic', e.event);
        break;
      case 'watchdog':
        this.emit('watchdog', e.action);
        break;
      case 'device-removed':
        this.emit('deviceRemoved', e.id);
        break;
      case 'balloon':
        this.emit('balloon', e.actual);
        break;
    }
  }

  private forward(nic: number, forward: HostForward): Promise<number> {
    if (this.current === 'ended') return Promise.reject(new VmxError('ERR_STATE', 'the machine has ended'));
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.forwards.set(id, (port, error) => (error === null ? resolve(port) : reject(new UsageError(error))));
      this.post({ type: 'forward', id, nic, forward });
    });
  }

  /** Names of the ports that devices have: `--device virtio-serial`, `--device isa-serial`. */
  get portNames(): string[] {
    return this.portList.map((p) => p.name);
  }

  /** A port by its name, as a stream; everybody who asks gets the same. @throws UsageError if there is none. */
  port(name: string): Duplex {
    const info = this.portList.find((p) => p.name === name);
    if (info === undefined) throw new UsageError(`no port '${name}'${suggestion(name, this.portNames)}`);
    const there = this.streams.get(info.id);
    if (there !== undefined && !there.destroyed) return there;
    return this.openStream(info.id);
  }

  private openStream(id: number): DeviceStream {
    const s = new DeviceStream((m) => this.post({ type: 'stream', id, m }));
    this.streams.set(id, s);
    s.once('close', () => {
      if (this.streams.get(id) === s) this.streams.delete(id);
    });
    if (this.current === 'ended') s.finished();
    return s;
  }

  /**
   * Runs commands in a shell of the guest, over a stream that one reads and writes; default the serial console. The caller has seen to
   * it that somebody is logged in there.
   */
  shell(stream: Duplex = this.serial): Shell {
    return new Shell(stream);
  }

  private askDevice(request: DeviceRequest): Promise<DeviceReply> {
    if (this.current === 'ended') return Promise.resolve({ error: OVER.message, code: OVER.code });
    const id = this.nextId++;
    return new Promise((resolve) => {
      this.deviceReplies.set(id, resolve);
      this.post({ type: 'device', id, request });
    });
  }

  private async askBalloon(target: number | null, stats: boolean): Promise<BalloonInfo> {
    const r = await this.askDevice({ kind: 'balloon', target, stats });
    if ('balloon' in r) return r.balloon;
    throw 'error' in r ? new VmxError(r.code ?? 'ERR_NO_DEVICE', r.error) : new VmxError('ERR_INTERNAL', 'unexpected answer');
  }

  /** For debuggers: the GDB stub is one. While one is attached the engine executes the guest, also on a machine made for KVM. */
  debug(request: DebugRequest): Promise<DebugReply> {
    if (this.current === 'ended') return Promise.resolve({ ok: false, data: null });
    const id = this.nextId++;
    return new Promise((resolve) => {
      this.debugReplies.set(id, resolve);
      this.post({ type: 'debug', id, request });
    });
  }

  private inspect(): Promise<Inspection> {
    if (this.current === 'ended') return Promise.resolve(NOTHING);
    const id = this.nextId++;
    return new Promise((resolve) => {
      this.inspections.set(id, resolve);
      this.post({ type: 'inspect', id });
    });
  }

  /** PCI functions as they are configured now; none after the end. */
  async pci(): Promise<PciInfo[]> {
    return (await this.inspect()).pci;
  }

  /** Pointers that the machine has, the one that gets events first; none after the end. */
  async mice(): Promise<PointerInfo[]> {
    return (await this.inspect()).mice;
  }

  /** Registers of each CPU, as text for people; none after the end. */
  async registers(): Promise<string[]> {
    return (await this.inspect()).registers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

const OVER = { code: 'ERR_STATE', message: 'the machine has ended' } as const;
const NOTHING: Inspection = { pci: [], registers: [], mice: [] };

function failure(m: Extract<FromWorker, { type: 'failed' }>): VmxError {
  if (m.code === 'ERR_USAGE') return new UsageError(m.message);
  const e = new VmxError(m.code, m.message);
  e.stack = m.stack;
  return e;
}
