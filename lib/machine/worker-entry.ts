/** What the worker's thread starts with. */
import { loadProgram } from './program.js';

const program = loadProgram<typeof import('./worker.js')>('worker');
(program?.exports ?? (await import('./worker.js'))).serve((arch) => program?.keep(arch));
