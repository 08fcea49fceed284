/** Messages between a VirtualMachine and the worker that runs it. Plain data. */
import type { EngineStats } from '../engine/jit/engine.js';
import type { MachineConfig } from './config.js';

export type EndReason = 'power-off' | 'exit' | 'triple-fault' | 'stopped' | 'error' | 'reset';

export interface EndState {
  reason: EndReason;
  /** Exit status as the command line contract defines it. */
  status: number;
  message: string;
}

export interface MachineStats {
  accel: 'jit' | 'interp';
  /** Seconds since start: wall clock, and spent halted. */
  wall: number;
  halted: number;
  /** Guest time in ns: what its clocks count. Stands still while paused. */
  guestTime: number;
  engine: EngineStats;
  /** Calls of each helper, most frequent first. */
  helpers: Record<string, number>;
  slices: number;
  loopTurns: number;
  memory: { rss: number; guest: number };
}

export type ToWorker =
  | { type: 'start' }
  | { type: 'pause'; id: number }
  | { type: 'resume'; id: number }
  | { type: 'stop' }
  | { type: 'power-button' }
  | { type: 'reset' }
  | { type: 'serial'; bytes: Uint8Array }
  | { type: 'stats'; id: number };

export type FromWorker =
  | { type: 'ready'; contextId: number; accel: 'jit' | 'interp'; notes: string[] }
  | { type: 'failed'; name: string; code: string; message: string; stack: string }
  | { type: 'serial'; bytes: Uint8Array }
  | { type: 'serial-taken'; count: number }
  | { type: 'debug'; bytes: Uint8Array }
  | { type: 'log'; message: string }
  | { type: 'reset' }
  | { type: 'done'; id: number; stats?: MachineStats }
  | { type: 'ended'; end: EndState; stats: MachineStats };

export interface WorkerInit {
  config: MachineConfig;
}
