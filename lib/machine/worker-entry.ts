/** What the worker's thread starts with. */
import { workerData } from 'node:worker_threads';
import { loadProgram } from './program.js';
import * as timeline from './timeline.js';
import type { WorkerStart } from './worker-start.js';

timeline.mark('first statement');
const program = loadProgram<typeof import('./worker.js')>('worker', (workerData as WorkerStart).arch ?? 'any', { timeline });
timeline.mark('program loaded');
if (program !== null) program.exports.serve((arch) => program.keep(arch));
// What goes wrong ends the thread, and its owner is told.
else void import('./worker.js').then((w) => w.serve(() => undefined));
