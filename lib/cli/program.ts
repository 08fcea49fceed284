/** Command line of vmx-accel: reads it and runs the command. Only the named command's program is loaded. */
import type { Argv } from 'yargs';
import { UsageError, VmxError } from '../errors.js';
import { suggestion } from '../suggest.js';
import { BOOT_OPTIONS, bootCommand, plainBoot, runBoot } from './boot.js';
import { VERSION } from './version.js';

/** Prints one line and ends: 2 for bad input, 1 for anything else. */
function fail(e: unknown): never {
  if (e instanceof UsageError) {
    process.stderr.write(`vmx-accel: ${e.message}\n`);
    process.exit(2);
  }
  const err = e instanceof Error ? e : new Error(String(e));
  const detail = err instanceof VmxError ? `${err.message} (${err.code})` : (err.stack ?? err.message);
  process.stderr.write(`vmx-accel: internal error: ${detail}\n`);
  process.exit(1);
}

/** What reads a command line that is not plain. */
export interface Yargs {
  default: (argv: readonly string[]) => Argv;
}

const ARGS: readonly string[] = process.argv.slice(2);

type Add = (y: Argv) => Argv;
/** What makes a command known to yargs. */
const LOAD: Readonly<Record<string, () => Promise<Add>>> = {
  boot: () => Promise.resolve((y) => y.command(bootCommand)),
  doctor: async () => {
    const { doctorCommand } = await import('./doctor.js');
    return (y) => y.command(doctorCommand);
  },
  image: async () => {
    const { imageCommand } = await import('./image.js');
    return (y) => y.command(imageCommand);
  },
  aot: async () => {
    const { aotCommand } = await import('./aot.js');
    return (y) => y.command(aotCommand);
  },
  ctl: async () => {
    const { ctlCommand } = await import('./ctl.js');
    return (y) => y.command(ctlCommand);
  },
  ui: async () => {
    const { uiCommand } = await import('./ui.js');
    return (y) => y.command(uiCommand);
  },
  bench: async () => {
    const { benchCommand } = await import('./bench.js');
    return (y) => y.command(benchCommand);
  },
};
const COMMANDS = Object.keys(LOAD);

/** yargs says what is wrong without the option's dashes and without a suggestion: this does. */
function explain(message: string): string {
  const unknown = /^Unknown arguments?: (.*)$/.exec(message);
  if (unknown) {
    const names = [...new Set(unknown[1]!.split(', '))];
    const word = names[0]!;
    const given = ARGS.find((a) => a === `-${word}` || a === `--${word}` || a.startsWith(`--${word}=`) || a === `--no-${word}`);
    if (given === undefined) return COMMANDS.includes(ARGS[0]!) ? `unexpected argument '${word}'` : `unknown command '${word}'${suggestion(word, COMMANDS)}; --help lists them`;
    const option = given.split('=')[0]!;
    return `unknown option ${option}${suggestion(option, BOOT_OPTIONS.map((k) => `--${k}`))}; --help lists them`;
  }
  const missing = /^Not enough arguments following: (.*)$/.exec(message);
  if (missing) return `--${missing[1]!}: needs a value`;
  return message;
}

/**
 * Runs the command that the process was started with.
 * @param load called if yargs is needed
 */
export async function runProgram(load: () => Promise<Yargs>): Promise<void> {
  // Whoever reads may have seen enough (`vmx-accel bench | head`); a boot ends then (terminal.ts).
  process.stdout.on('error', (e: NodeJS.ErrnoException) => {
    if (e.code !== 'EPIPE') fail(e);
  });
  try {
    const name = ARGS[0] ?? '';
    const plain = name === 'boot' ? plainBoot(ARGS.slice(1)) : null;
    if (plain !== null) {
      await runBoot(plain);
      return;
    }
    const { default: yargs } = await load();
    // Help and suggestions name all commands.
    const adds = await Promise.all(Object.entries(LOAD).filter(([n]) => n === name || !COMMANDS.includes(name)).map(([, load]) => load()));
    await adds
      .reduce((y, add) => add(y), yargs(ARGS))
      .scriptName('vmx-accel')
      .version(VERSION)
      .usage('$0 <command> [options]')
      .demandCommand(1, `a command is needed: ${COMMANDS.join(', ')}`)
      .strict()
      .example('$0 boot --kernel vmlinuz --initrd initrd.gz --append console=ttyS0', 'boot a Linux kernel on the serial console')
      .example('$0 boot --kernel vmlinuz --disk root.img --append "console=ttyS0 root=/dev/vda"', 'with a root file system on a disk')
      .example('$0 doctor', 'what this host can do')
      .wrap(Math.min(120, process.stdout.columns ?? 100))
      .help()
      .alias('h', 'help')
      .fail((message, error) => fail(error === undefined || error === null || error.name === 'YError' ? new UsageError(explain(message ?? error?.message ?? '')) : error))
      .parseAsync();
  } catch (e) {
    fail(e);
  }
}
