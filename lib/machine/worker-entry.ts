/** What the worker's thread starts with. */
import { loadProgram } from './program.js';

const program = loadProgram<typeof import('./worker.js')>('worker');
if (program !== null) program.exports.serve((arch) => program.keep(arch));
// What goes wrong ends the thread, and its owner is told.
else void import('./worker.js').then((w) => w.serve(() => undefined));
