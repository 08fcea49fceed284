/** `vmx-accel bench`: the programs in bench/, by name. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Argv, CommandModule } from 'yargs';
import { UsageError } from '../errors.js';
import { suggestion } from '../suggest.js';

const FOLDER = fileURLToPath(new URL('../../bench/', import.meta.url));

interface BenchArgs {
  name?: string;
  args?: string[];
}

/** The first sentence of the comment that a bench begins with; null: it is no bench but a part of others. */
function summary(file: string): string | null {
  const [, text] = /^(?:#!.*\n)?\/\/ bench\/[\w-]+: ((?:.*\n\/\/ )*.*)/.exec(readFileSync(file, 'utf8')) ?? [];
  return text === undefined ? null : /^.*?(?=\.(?:\s|$)|$)/.exec(text.replace(/\n\/\/ /g, ' '))![0];
}

/** Name and summary of each. @throws UsageError where there are none */
function benches(): Map<string, string> {
  let files: string[];
  try {
    files = readdirSync(FOLDER);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
    throw new UsageError('bench: the benches are not part of this installation (they are in the source repository)', { cause: e });
  }
  const found = new Map<string, string>();
  for (const f of files.filter((n) => n.endsWith('.mjs')).sort()) {
    const text = summary(join(FOLDER, f));
    if (text !== null) found.set(f.slice(0, -4), text);
  }
  return found;
}

export const benchCommand: CommandModule<object, BenchArgs> = {
  command: 'bench [name] [args..]',
  describe: 'run a benchmark; without a name, list them',
  builder: (y) =>
    y
      .parserConfiguration({ 'unknown-options-as-args': true })
      .positional('name', { type: 'string', describe: 'which one' })
      .positional('args', { type: 'string', array: true, describe: 'what it is given' })
      .example('$0 bench', 'which there are')
      .example('$0 bench boot --rounds 3', 'Linux to user space, beside QEMU') as unknown as Argv<BenchArgs>,
  handler: async (a) => {
    const all = benches();
    if (a.name === undefined) {
      for (const [name, text] of all) process.stdout.write(`${name.padEnd(20)} ${text}\n`);
      return;
    }
    if (!all.has(a.name)) throw new UsageError(`bench: there is no '${a.name}'${suggestion(a.name, [...all.keys()])}; 'vmx-accel bench' lists them`);
    // As it was given: numbers stay text.
    const rest = process.argv.slice(process.argv.indexOf(a.name) + 1);
    const child = spawn(process.execPath, [join(FOLDER, `${a.name}.mjs`), ...rest], { stdio: 'inherit' });
    process.exitCode = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(signal === null ? code! : 1));
    });
  },
};
