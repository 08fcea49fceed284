/** Builds the bare-metal test programs with binutils and runs them here and on QEMU. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VirtualMachine } from '#lib/index.js';
import type { MachineOptions, MachineStats } from '#lib/index.js';

export interface Program {
  /** programs/NAME.S */
  name: string;
  cpus?: number;
  /** Status the machine ends with; 1 (all checks held) if absent. */
  status?: number;
  /** Checks that QEMU's TCG fails because it departs from the manual, or 'skip' if it does not survive the program. */
  qemu?: readonly (string | RegExp)[] | 'skip';
}

export interface Outcome {
  /** Names of the checks that held. */
  ok: string[];
  /** Whole lines of those that did not. */
  bad: string[];
  done: boolean;
  status: number;
  text: string;
}

const here = fileURLToPath(new URL('.', import.meta.url));
let dir: string | null = null;

function works(tool: string): boolean {
  try {
    execFileSync(tool, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Why the programs cannot be built, or null. */
export function missingTools(): string | null {
  if (process.arch !== 'x64') return 'the assembler of this host does not make x86 code';
  const missing = ['as', 'ld'].filter((t) => !works(t));
  return missing.length > 0 ? `binutils are not installed (${missing.join(', ')})` : null;
}

export const hasQemu = (): boolean => works('qemu-system-x86_64');

/** Assembles and links a program. @returns the image's file name */
export function build(name: string): string {
  dir ??= mkdtempSync(join(tmpdir(), 'vmx-metal-'));
  mkdirSync(dir, { recursive: true });
  const object = join(dir, `${name}.o`);
  const image = join(dir, `${name}.bin`);
  execFileSync('as', ['--64', '--fatal-warnings', '-I', here, '-o', object, join(here, 'programs', `${name}.S`)]);
  execFileSync('ld', ['-m', 'elf_x86_64', '-n', '-T', join(here, 'metal.ld'), '-o', image, object]);
  return image;
}

function outcome(text: string, status: number): Outcome {
  const lines = text.split('\n').map((l) => l.trimEnd());
  return {
    ok: lines.filter((l) => l.startsWith('ok ')).map((l) => l.slice(3)),
    bad: lines.filter((l) => l.startsWith('bad ')).map((l) => l.slice(4)),
    done: lines.includes('done'),
    status,
    text,
  };
}

const TIMEOUT_MS = 30_000;

/** Runs an image on one of our executors. */
export async function run(image: string, accel: MachineOptions['accel'], cpus = 1, more: MachineOptions = {}, stats: (s: MachineStats) => void = () => undefined): Promise<Outcome> {
  await using vm = await VirtualMachine.create({ kernel: image, accel, cpus, memory: '64M', devices: ['isa-debug-exit'], noReboot: true, ...more });
  let text = '';
  vm.serial.on('data', (b: Buffer) => (text += b.toString('latin1')));
  const timer = setTimeout(() => void vm.stop(), TIMEOUT_MS);
  vm.start();
  const end = await vm.wait();
  clearTimeout(timer);
  if (!vm.serial.readableEnded) await new Promise<void>((resolve) => vm.serial.once('end', resolve));
  const s = await vm.stats();
  if (s !== undefined) stats(s);
  return outcome(text, end.status);
}

/** Runs an image on QEMU's TCG. */
export function runQemu(image: string, cpus = 1): Promise<Outcome> {
  const args = ['-machine', 'pc', '-accel', 'tcg', '-cpu', 'max', '-smp', String(cpus), '-m', '64', '-display', 'none', '-serial', `file:${image}.serial`, '-nodefaults', '-no-reboot'];
  args.push('-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', image);
  return new Promise((resolve) => {
    // Not through a pipe: QEMU may leave before it has written everything.
    const child = execFile('qemu-system-x86_64', args, { timeout: TIMEOUT_MS }, (error) => {
      resolve(outcome(readFileSync(`${image}.serial`, 'latin1'), typeof error?.code === 'number' ? error.code : 0));
    });
    child.stdin?.end();
  });
}
