/**
 * Starting a machine's worker. Loading its program takes longer than all else that comes before the guest's first instruction, so the
 * command line has it begin at once; which machine it runs the worker learns by its first message.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { getPriority, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import type { ArchName } from './config.js';
import { LocalWorker, type MachineWorker, type Serve } from './local-worker.js';
import type { AtEnd } from './worker.js';

/** What the worker is told when it starts. */
export interface WorkerStart {
  /** Guest architecture to load before the machine's configuration is there: a guess; null: none. */
  arch: ArchName | null;
}

/** Added to the nice value of threads that only help. More, and beside other processes the optimised code that the guest's thread waits for comes late. */
const HELPERS_NICE = 5;

let spare: Worker | null = null;
/** What makes the next machine's worker of this thread. */
let here: (() => LocalWorker) | null = null;

/** The worker's first module: as a script (scripts/bundle.mjs) a thread starts with it sooner, without the loader of modules. */
function entry(): URL {
  const modules = new URL('./worker-entry.js', import.meta.url);
  const script = new URL('../program/worker-entry.cjs', import.meta.url);
  const made = process.env['VMX_ACCEL_PROGRAM'] === 'modules' ? undefined : statSync(script, { throwIfNoEntry: false })?.mtimeMs;
  if (made === undefined) return modules;
  // In a checkout the compiler may have been there since.
  const checkout = existsSync(fileURLToPath(new URL('../../tsconfig.json', import.meta.url)));
  const newer = (name: string): boolean => (statSync(new URL(name, import.meta.url), { throwIfNoEntry: false })?.mtimeMs ?? 0) > made;
  // The compiler's notes are written last, if there are any.
  return checkout && ['../.tsbuildinfo', './worker-entry.js', './program.js'].some(newer) ? modules : script;
}

function start(arch: ArchName | null): Worker {
  const workerData: WorkerStart = { arch };
  // A process whose machine runs in its own thread never asks for it.
  const { Worker: Thread } = createRequire(import.meta.url)('node:worker_threads') as typeof import('node:worker_threads');
  return new Thread(entry(), { workerData, stdout: false, stderr: false });
}

/**
 * Lets the machine's thread go before the threads that exist now, other than the calling one: V8's, which compile and collect garbage in the background. There
 * are more of them than a small host has cores, and the guest stands still while one of them has its core. For a process that is there for one machine;
 * call it before `prestart`. Only speed.
 */
export function machineFirst(): void {
  if (process.platform !== 'linux') return;
  try {
    // Linux takes the number of a thread for that of a process here.
    for (const thread of readdirSync('/proc/self/task').map(Number)) {
      if (thread !== process.pid) setPriority(thread, Math.min(getPriority(thread) + HELPERS_NICE, 19));
    }
  } catch (e) {
    // A thread that has ended, /proc that is not there.
    if ((e as NodeJS.ErrnoException).code === undefined) throw e;
  }
}

const ARCHS: readonly ArchName[] = ['x86_64', 'aarch64', 'riscv64'];

/** The architecture that a command line names with --arch; what most machines have if it leaves that to the kernel. */
export function guessArch(argv: readonly string[]): ArchName {
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i] === '--arch' ? argv[i + 1] : /^--arch=(.*)$/.exec(argv[i]!)?.[1];
    const arch = ARCHS.find((a) => a === name);
    if (arch !== undefined) return arch;
  }
  return 'x86_64';
}

/** Starts the worker of the next machine. It keeps no process alive until a machine takes it. */
export function prestart(arch: ArchName): void {
  if (spare !== null) return;
  spare = start(arch);
  spare.unref();
}

/** The next machine runs in this thread, which has loaded what it needs. The process is there for that machine. */
export function runHere(serve: Serve, atEnd: AtEnd): void {
  here = () => new LocalWorker(serve, atEnd);
}

/** `prestart` has been called, and no machine has taken the worker yet. */
export function isWorkerStarting(): boolean {
  return spare !== null;
}

/** A worker that waits for `WorkerInit`; one that cannot be loaded tells its taker. */
export function takeWorker(): MachineWorker {
  if (here !== null) {
    const local = here();
    here = null;
    return local;
  }
  const w = spare ?? start(null);
  spare = null;
  w.ref();
  return w;
}
