/** The command line and the machine in one program, for boots that run the machine in the main thread. */
export { serve } from '../machine/worker.js';
export { runProgram } from './program.js';
