/** Messages between a VirtualMachine and the worker that runs it. Plain data. */
import type { KvmHost } from '../accel/kvm/system.js';
import type { AccelStats } from '../accel/accelerator.js';
import type { EngineStats } from '../engine/jit/engine.js';
import type { PciInfo } from '../devices/pci/pci.js';
import type { TextScreen } from '../devices/display/vga-render.js';
import type { Picture } from '../display/png.js';
import type { AotStats } from './code-cache.js';
import type { PlugRequest } from '../boards/parts/hotplug.js';
import type { PointerInfo } from '../devices/input/router.js';
import type { HostForward } from '../net/user/user-net.js';
import type { PanicEvent } from '../devices/misc/pvpanic.js';
import type { WatchdogAction } from '../boards/board.js';
import type { PortInfo, StreamMessage } from './stream-protocol.js';
import type { ImageFormat } from '../block/formats.js';
import type { DiskIf, MachineConfig, MediaKind } from './config.js';
import type { Moment } from './timeline.js';

/** `panic`: the guest has said so (pvpanic with action=exit). */
export type EndReason = 'panic' | 'power-off' | 'exit' | 'triple-fault' | 'stopped' | 'error' | 'reset';

export interface EndState {
  reason: EndReason;
  /** Exit status as the command line contract defines it. */
  status: number;
  message: string;
}

/** What executes guest code. */
export type ActiveAccel = 'kvm' | 'jit' | 'interp';

export interface MachineStats {
  accel: ActiveAccel;
  /** What KVM did, on machines that can run on it. */
  kvm?: AccelStats;
  /** Seconds since start: wall clock, and spent halted. */
  wall: number;
  halted: number;
  /** Guest time in ns: what its clocks count. Stands still while paused. */
  guestTime: number;
  engine: EngineStats;
  /** The code cache; null if there is none. */
  aot: AotStats | null;
  /** Calls of each helper, most frequent first. */
  helpers: Record<string, number>;
  slices: number;
  loopTurns: number;
  memory: { rss: number; guest: number };
  /** When the machine's thread reached what. */
  moments: readonly Moment[];
}

/**
 * A key (see keys.ts), movement and buttons of the mouse, or where a pointer is: in dots of the screen, or, with `range`, from 0
 * to ABS_MAX (lib/devices/input/router.ts).
 */
export type InputEvent = { key: number; down: boolean } | { dx: number; dy: number; dz: number; buttons: number } | { x: number; y: number; range: boolean; dz: number; buttons: number };

/** A changed region of the screen: RGBA words, red in the low byte, row by row. */
export interface ScreenArea {
  x: number;
  y: number;
  width: number;
  height: number;
  words: Uint32Array;
}

/** `changes`: what has changed since the last such request, or everything. */
export type ConsoleRequest = { kind: 'changes'; all: boolean } | { kind: 'picture' } | { kind: 'text' } | { kind: 'cells' } | { kind: 'input'; events: InputEvent[] };
export interface ScreenChanges {
  kind: 'changes';
  width: number;
  height: number;
  /** The guest follows an absolute pointer. */
  absolute: boolean;
  areas: ScreenArea[];
}

/** Null: there is no display. */
export type ConsoleReply = ScreenChanges | { kind: 'picture'; picture: Picture | null } | { kind: 'text'; lines: string[] | null } | { kind: 'cells'; cells: TextScreen | null } | { kind: 'done' };

/** What a debugger asks (lib/machine/debug/debugger.ts). Addresses are virtual; registers and memory are those of CPU `cpu`. */
export type DebugRequest =
  | { op: 'attach' }
  | { op: 'detach' }
  | { op: 'halt' }
  /** step: a CPU, or -1 for all of them until something stops them. */
  | { op: 'resume'; step: number }
  | { op: 'registers'; cpu: number }
  | { op: 'set-register'; cpu: number; register: number; value: Uint8Array }
  | { op: 'read'; cpu: number; address: bigint; length: number }
  | { op: 'write'; cpu: number; address: bigint; bytes: Uint8Array }
  | { op: 'point'; insert: boolean; kind: 'break' | 'write' | 'read' | 'access'; address: bigint; length: number };

export interface DebugReply {
  ok: boolean;
  data: Uint8Array | null;
  /** With registers: the bytes of each. */
  sizes?: readonly number[];
}

/** Why all CPUs stand still: which CPU, the signal's number for GDB, and the watchpoint that was met. */
export interface DebugStop {
  cpu: number;
  signal: number;
  watch: { kind: 'write' | 'read' | 'access'; address: bigint } | null;
}

/** What a debugger's user asks of a machine. */
export interface Inspection {
  pci: PciInfo[];
  /** Registers of each CPU as text. */
  registers: string[];
  mice: PointerInfo[];
}

export interface BalloonInfo {
  /** Bytes that the balloon is to take of the guest's memory, and has taken by the guest's word. */
  target: number;
  actual: number;
  /** What the guest says about its memory (STAT_NAMES in lib/devices/virtio/balloon.ts); bytes, or counts. */
  stats: Readonly<Record<string, number>>;
}

/** What programs ask of devices while the machine runs. */
export type DeviceRequest = { kind: 'balloon'; target: number | null; stats: boolean } | { kind: 'vsock-connect'; port: number; timeout: number } | { kind: 'vsock-listen'; port: number; on: boolean } | { kind: 'plug'; id: string; what: PlugRequest } | { kind: 'unplug'; id: string };
export type DeviceReply = { balloon: BalloonInfo } | { stream: number } | { done: true } | { error: string; code?: string };

/** What the guest has told through a device that is there for that. */
export type GuestEvent = { kind: 'panic'; event: PanicEvent } | { kind: 'watchdog'; action: WatchdogAction } | { kind: 'device-removed'; id: string } | { kind: 'balloon'; actual: number };

/** A drive as it is now. */
export interface DriveInfo {
  id: string;
  media: MediaKind;
  if: DiskIf;
  removable: boolean;
  /** Null: nothing is in it. */
  file: string | null;
  /** As configured; auto: by content. */
  format: string;
  readonly: boolean;
  snapshot: boolean;
  /** Bytes; 0 if nothing is in it. */
  size: number;
  /** The guest forbids ejection. */
  locked: boolean;
  /** The tray is open. */
  open: boolean;
}

/** See Disks. */
export type DriveRequest =
  | { op: 'list' }
  | { op: 'eject' | 'open'; drive: string; force: boolean }
  | { op: 'close'; drive: string }
  | { op: 'change'; drive: string; file: string; format: ImageFormat | 'auto'; readonly: boolean | undefined; force: boolean };

export interface ScreenState {
  picture: Picture | null;
  lines: string[] | null;
}

export type ToWorker =
  | { type: 'start' }
  | { type: 'pause'; id: number }
  | { type: 'resume'; id: number }
  | { type: 'stop' }
  | { type: 'power-button' }
  | { type: 'reset' }
  | { type: 'accel'; id: number; accel: ActiveAccel }
  | { type: 'serial'; bytes: Uint8Array }
  | { type: 'stats'; id: number }
  | { type: 'inspect'; id: number }
  | { type: 'debug'; id: number; request: DebugRequest }
  | { type: 'drives'; id: number; request: DriveRequest }
  | { type: 'forward'; id: number; nic: number; forward: HostForward }
  | { type: 'console'; id: number; request: ConsoleRequest }
  | { type: 'stream'; id: number; m: StreamMessage }
  | { type: 'device'; id: number; request: DeviceRequest };

export type FromWorker =
  | { type: 'ready'; contextId: number; accel: ActiveAccel; notes: string[]; ports: PortInfo[] }
  | { type: 'stream'; id: number; m: StreamMessage }
  | { type: 'device'; id: number; reply: DeviceReply }
  | { type: 'guest-event'; event: GuestEvent }
  /** The guest has connected to a port; `id`: its stream. */
  | { type: 'vsock-connection'; port: number; from: number; id: number }
  | { type: 'failed'; name: string; code: string; message: string; stack: string }
  | { type: 'serial'; bytes: Uint8Array }
  | { type: 'serial-taken'; count: number }
  | { type: 'debug'; bytes: Uint8Array }
  | { type: 'log'; message: string }
  | { type: 'reset' }
  /** `refusal`: the request cannot be fulfilled. */
  | { type: 'done'; id: number; stats?: MachineStats; refusal?: { code: string; message: string } }
  | { type: 'drives'; id: number; drives: DriveInfo[]; refusal?: { code: string; message: string } }
  | { type: 'tray'; drive: string; open: boolean }
  | { type: 'forwarded'; id: number; port: number; error: string | null }
  | { type: 'debugged'; id: number; reply: DebugReply }
  | { type: 'debug-stop'; stop: DebugStop }
  | { type: 'inspected'; id: number; inspection: Inspection }
  | { type: 'console'; id: number; reply: ConsoleReply }
  | { type: 'ended'; end: EndState; stats: MachineStats; screen: ScreenState };

export interface WorkerInit {
  config: MachineConfig;
  /** `engineBuild()`, computed while the worker loads; null if nobody will ask for it. */
  build: string | null;
  /** What the host's KVM is, likewise; null: the worker looks by itself. */
  kvm: KvmHost | null;
}
