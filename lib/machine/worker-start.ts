/**
 * Starting a machine's worker. Loading its program takes longer than all else that comes before the guest's first instruction, so the
 * command line has it begin at once; which machine it runs the worker learns by its first message.
 */
import { Worker } from 'node:worker_threads';
import type { ArchName } from './config.js';

/** What the worker is told when it starts. */
export interface WorkerStart {
  /** Guest architecture to load before the machine's configuration is there: a guess; null: none. */
  arch: ArchName | null;
}

let spare: Worker | null = null;

function start(arch: ArchName | null): Worker {
  const workerData: WorkerStart = { arch };
  return new Worker(new URL('./worker-entry.js', import.meta.url), { workerData, stdout: false, stderr: false });
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

/** A worker that waits for `WorkerInit`; one that cannot be loaded tells its taker. */
export function takeWorker(): Worker {
  const w = spare ?? start(null);
  spare = null;
  w.ref();
  return w;
}
