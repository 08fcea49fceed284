#!/usr/bin/env node
/** The command line as modules, or what vmx-accel.cts starts: what a boot waits for is under way before the command line is looked at. */
import { loadProgram } from '../machine/program.js';
import * as timeline from '../machine/timeline.js';
import * as workerStart from '../machine/worker-start.js';

timeline.mark('first statement');
const ASKS = ['-h', '--help', 'help'];
const command = process.argv[2];
if (command === 'boot' && !process.argv.some((a) => ASKS.includes(a))) {
  workerStart.machineFirst();
  workerStart.prestart(workerStart.guessArch(process.argv));
  timeline.mark('worker asked for');
}
const program = loadProgram<typeof import('./program.js')>('cli', command === 'boot' ? command : 'other', { 'worker-start': workerStart, timeline });
timeline.mark('program loaded');
if (program !== null) process.once('exit', () => program.keep(command ?? ''));
void Promise.resolve(program?.exports ?? import('./program.js')).then((p) => p.runProgram(() => import('yargs')));
