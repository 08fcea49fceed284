/** `vmx-accel aot`: the cache of generated code. docs/AOT.md is the manual. */
import type { Argv, CommandModule } from 'yargs';
import { CacheDirectory, defaultDirectory } from '../cache/directory.js';
import { UsageError } from '../errors.js';
import type { CacheGroup } from '../machine/aot-tools.js';
import { DEFAULT_AOT_BYTES } from '../machine/aot-config.js';
import { parseSize } from '../machine/config.js';
import { VirtualMachine } from '../machine/virtual-machine.js';
import { type BootArgs, bootOptions, machineOptions, positive } from './boot.js';

interface DirArgs {
  aotDir?: string;
}

const DIR = { 'aot-dir': { type: 'string', describe: 'the cache (default: in your cache folder)', requiresArg: true } } as const;

/** The translator is a large part of the program: only these commands load it here. */
const tools = (): Promise<typeof import('../machine/aot-tools.js')> => import('../machine/aot-tools.js');

/** The cache, or null if nothing was ever kept there. */
function existing(a: DirArgs): CacheDirectory | null {
  if (a.aotDir === '') throw new UsageError('--aot-dir: names no directory');
  return CacheDirectory.existing(a.aotDir ?? defaultDirectory());
}

function must(a: DirArgs): CacheDirectory {
  const dir = existing(a);
  if (dir === null) throw new UsageError(`--aot-dir: ${a.aotDir ?? defaultDirectory()}: there is no cache`);
  return dir;
}

const mib = (bytes: number): string => `${(bytes / 1048576).toFixed(1)}M`;

function groupLine(g: CacheGroup): string {
  const i = g.identity;
  const what = i === null ? 'unknown' : `${i.arch} ${i.cpu}${i.cpus > 1 ? ' smp' : ''}${i.disabledPasses.length > 0 ? ` without ${i.disabledPasses.join(', ')}` : ''}`;
  const state = g.refused > 0 ? 'damaged or foreign' : g.usable ? 'this build' : 'another build or host';
  return `${what.padEnd(24)} ${String(g.records).padStart(8)} blocks ${mib(g.bytes).padStart(9)}  ${String(g.segments).padStart(3)} files  ${new Date(g.usedMs).toISOString().slice(0, 16)}  ${state}\n`;
}

const statsCommand: CommandModule<object, DirArgs & { json: boolean }> = {
  command: 'stats',
  describe: 'what the cache holds',
  builder: (y) => y.options({ ...DIR, json: { type: 'boolean', default: false, describe: 'as JSON' } }) as unknown as Argv<DirArgs & { json: boolean }>,
  handler: async (a) => {
    const dir = existing(a);
    const groups = dir === null ? [] : (await tools()).cacheStats(dir);
    const path = a.aotDir ?? defaultDirectory();
    if (a.json) {
      process.stdout.write(`${JSON.stringify({ dir: path, groups }, null, 2)}\n`);
      return;
    }
    for (const g of groups) process.stdout.write(groupLine(g));
    process.stdout.write(`${path}: ${mib(groups.reduce((n, g) => n + g.bytes, 0))} in ${groups.reduce((n, g) => n + g.segments, 0)} files\n`);
  },
};

const verifyCommand: CommandModule<object, DirArgs> = {
  command: 'verify',
  describe: 'translate everything in the cache again and compare; status 1 if something differs or is damaged',
  builder: (y) => y.options(DIR) as unknown as Argv<DirArgs>,
  handler: async (a) => {
    const dir = must(a);
    const c = (await tools()).verifyCache(dir);
    for (const name of c.refused) process.stdout.write(`${name}: damaged or foreign\n`);
    process.stdout.write(`${c.records} blocks${c.regions > 0 ? ` and ${c.regions} regions` : ''} in ${c.segments} files: ${c.same} the same when translated again, ${c.different} different, ${c.others} of another build or host\n`);
    if (c.different > 0 || c.refused.length > 0) process.exitCode = 1;
  },
};

const exportCommand: CommandModule<object, DirArgs & { file: string }> = {
  command: 'export <file>',
  describe: 'write what this build made on this host to a file',
  builder: (y) => y.positional('file', { type: 'string', demandOption: true }).options(DIR) as unknown as Argv<DirArgs & { file: string }>,
  handler: async (a) => {
    const dir = must(a);
    process.stdout.write(`${(await tools()).exportCache(dir, a.file)} blocks written to ${a.file}\n`);
  },
};

const importCommand: CommandModule<object, DirArgs & { file: string }> = {
  command: 'import <file>',
  describe: 'take over an exported file, after translating all of it again and comparing',
  builder: (y) => y.positional('file', { type: 'string', demandOption: true }).options(DIR) as unknown as Argv<DirArgs & { file: string }>,
  handler: async (a) => {
    const dir = CacheDirectory.open(a.aotDir ?? defaultDirectory());
    process.stdout.write(`${(await tools()).importCache(dir, a.file, DEFAULT_AOT_BYTES)} blocks taken over from ${a.file}\n`);
  },
};

const clearCommand: CommandModule<object, DirArgs> = {
  command: 'clear',
  describe: 'remove everything',
  builder: (y) => y.options(DIR) as unknown as Argv<DirArgs>,
  handler: async (a) => {
    const dir = existing(a);
    const { files, bytes } = dir === null ? { files: 0, bytes: 0 } : (await tools()).clearCache(dir);
    process.stdout.write(`${files} files removed, ${mib(bytes)}\n`);
  },
};

const BUILD_TIMEOUT_S = 120;
/** New code appears in bursts: boot loaders wait for a key, drivers for devices. */
const SETTLE_S = 15;
const POLL_MS = 500;

interface BuildArgs extends BootArgs {
  settle: string;
}

/** Boots the image, its disks as snapshots, until nothing new is translated any more. */
async function build(a: BuildArgs): Promise<void> {
  const settle = positive(a.settle, '--settle', 'a positive number of seconds');
  const limit = a.timeout === undefined ? BUILD_TIMEOUT_S : positive(a.timeout, '--timeout', 'a positive number of seconds');
  const vm = await VirtualMachine.create({ ...machineOptions(a), snapshot: true, noReboot: true, aot: 'on', aotSize: a.aotSize === undefined ? undefined : parseSize(a.aotSize, '--aot-size') });
  vm.on('log', (m) => process.stderr.write(`vmx-accel: ${m}\n`));
  let tail = '';
  let matched = false;
  vm.serial.on('data', (b: Buffer) => {
    tail = (tail + b.toString('latin1')).slice(-65536);
    if (a.exitOn !== undefined && tail.includes(a.exitOn)) matched = true;
  });
  let ended = false;
  const end = vm.wait().then(() => (ended = true));
  vm.start();
  const started = Date.now();
  let known = -1;
  let since = started;
  while (!ended && !matched && Date.now() - started < limit * 1000 && Date.now() - since < settle * 1000) {
    await Promise.race([end, new Promise((resolve) => setTimeout(resolve, POLL_MS))]);
    const added = (await vm.stats())?.aot?.added ?? 0;
    if (added === known) continue;
    known = added;
    since = Date.now();
  }
  await vm.stop();
  await end;
  const aot = (await vm.stats())?.aot ?? null;
  if (aot === null) throw new UsageError('aot build: this machine has no code cache (see the messages above)');
  process.stdout.write(`${aot.added} blocks added, ${aot.hits} were there: ${aot.dir}\n`);
}

const buildCommand: CommandModule<object, BuildArgs> = {
  command: 'build [image]',
  describe: 'boot an image ahead (nothing is written to its disks) so that later boots find their code',
  builder: (y) =>
    bootOptions(y as Argv).options({
      settle: { type: 'string', default: String(SETTLE_S), describe: 'stop when nothing new was translated for this many seconds', requiresArg: true },
    }) as unknown as Argv<BuildArgs>,
  handler: build,
};

export const aotCommand: CommandModule = {
  command: 'aot <command>',
  describe: 'the cache of generated code: stats, verify, export, import, clear, build',
  builder: (y) =>
    y.command(statsCommand).command(verifyCommand).command(exportCommand).command(importCommand).command(clearCommand).command(buildCommand).demandCommand(1, 'aot: a command is needed: stats, verify, export, import, clear, build'),
  handler: () => undefined,
};
