#!/usr/bin/env node
/** The vmx-accel command. */
import { readFileSync } from 'node:fs';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { UsageError, VmxError } from '../errors.js';
import { bootCommand } from './boot.js';
import { doctorCommand } from './doctor.js';

const version = (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

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

try {
  await yargs(hideBin(process.argv))
    .scriptName('vmx-accel')
    .version(version)
    .usage('$0 <command> [options]')
    .command(bootCommand)
    .command(doctorCommand)
    .demandCommand(1, 'a command is needed: boot, doctor')
    .strict()
    .recommendCommands()
    .example('$0 boot --kernel vmlinuz --initrd initrd.gz --append console=ttyS0', 'boot a Linux kernel on the serial console')
    .example('$0 boot --kernel vmlinuz --disk root.img --append "console=ttyS0 root=/dev/vda"', 'with a root file system on a disk')
    .example('$0 doctor', 'what this host can do')
    .wrap(Math.min(120, process.stdout.columns ?? 100))
    .help()
    .alias('h', 'help')
    .fail((message, error) => fail(error ?? new UsageError(message)))
    .parseAsync();
} catch (e) {
  fail(e);
}
