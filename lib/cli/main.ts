#!/usr/bin/env node
/** The command line as modules, or what vmx-accel.cts starts: what a boot waits for is under way before the command line is looked at. */
import { runsHere } from './runs-here.js';
import { loadProgram } from '../machine/program.js';
import { machineParts } from '../machine/program-parts.js';
import * as timeline from '../machine/timeline.js';
import * as workerStart from '../machine/worker-start.js';

timeline.mark('first statement');
const ASKS = ['-h', '--help', 'help'];
const command = process.argv[2];
const boots = command === 'boot' && !process.argv.some((a) => ASKS.includes(a));
const arch = workerStart.guessArch(process.argv);
const here = boots && runsHere(process.argv.slice(3));
if (boots) {
  workerStart.machineFirst();
  if (!here) {
    workerStart.prestart(arch);
    timeline.mark('worker asked for');
  }
}
/** What is kept of V8's code goes by what a command runs of the program. */
type Program = Pick<typeof import('./boot-here.js'), 'runProgram'>;
const externals = { 'worker-start': workerStart, timeline };
const yargs = (): Promise<typeof import('yargs')> => import('yargs');

async function runHere(): Promise<void> {
  const program = loadProgram<typeof import('./boot-here.js')>('boot-here', arch, machineParts(arch), externals);
  timeline.mark('program loaded');
  let used = '';
  if (program !== null) process.once('exit', () => used !== '' && program.keep(used));
  const p = program?.exports ?? (await import('./boot-here.js'));
  workerStart.runHere(p.serve, (part) => (used = part));
  await p.runProgram(yargs);
}

async function run(): Promise<void> {
  const program = loadProgram<Program>('cli', command === 'boot' ? command : 'other', [command ?? ''], externals);
  timeline.mark('program loaded');
  if (program !== null) process.once('exit', () => program.keep(command ?? ''));
  await (program?.exports ?? (await import('./program.js'))).runProgram(yargs);
}

void (here ? runHere() : run());
