/** What the worker's thread starts with. */
import { parentPort, workerData } from 'node:worker_threads';
import { VmxError } from '../errors.js';
import { loadProgram } from './program.js';
import { machineParts } from './program-parts.js';
import * as timeline from './timeline.js';
import type { OwnerPort } from './worker.js';
import type { WorkerStart } from './worker-start.js';

timeline.mark('first statement');
if (parentPort === null) throw new VmxError('ERR_INTERNAL', 'worker-entry.js is started by VirtualMachine only');
const port = parentPort as OwnerPort;
const { arch: ask } = workerData as WorkerStart;
const program = loadProgram<typeof import('./worker.js')>('worker', ask ?? 'any', ask === null ? [] : machineParts(ask), { timeline });
timeline.mark('program loaded');
if (program !== null) program.exports.serve(port, ask, (part) => program.keep(part));
// What goes wrong ends the thread, and its owner is told.
else void import('./worker.js').then((w) => w.serve(port, ask, () => undefined));
