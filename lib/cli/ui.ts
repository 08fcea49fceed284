/** `vmx-accel ui`: a page for browsers that starts machines and leads to the console of each. */
import type { Argv, CommandModule } from 'yargs';
import yargs from 'yargs';
import { parseEndpoint } from '../control/endpoint.js';
import type { TcpEndpoint } from '../control/web/gate.js';
import { MachinesServer } from '../control/web/machines.js';
import { UsageError } from '../errors.js';
import { VirtualMachine } from '../machine/virtual-machine.js';
import { type BootArgs, bootOptions, machineOptions } from './boot.js';
import { tokenFile } from './display.js';
import { VERSION } from './version.js';

interface UiArgs {
  listen: string;
  token?: string;
}

/** What a process has once, and not each of its machines; what the page has in their place. */
const OF_A_PROCESS: readonly (keyof BootArgs)[] = ['serial', 'exitOn', 'timeout', 'stats', 'screenshot', 'qmp', 'gdb', 'port', 'trace', 'traceFile', 'lockstepEvery', 'dump'];

/** A machine of the options of `boot`. Rejects with a UsageError. */
export async function machineOf(words: readonly string[]): Promise<VirtualMachine> {
  const y = yargs([...words]).exitProcess(false).help(false).version(false).command('$0 [image]', false, (c) => bootOptions(c)).strict().fail((message, error) => {
    throw new UsageError(error instanceof UsageError ? error.message : `ui: ${message ?? error.message}`);
  });
  const a = (await y.parseAsync()) as unknown as BootArgs;
  const odd = OF_A_PROCESS.find((k) => a[k] !== undefined);
  if (odd !== undefined) throw new UsageError(`ui: --${odd.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} is for the command boot`);
  if (a.display !== 'none' || a.debugcon !== 'none' || a.perfMap || a.lockstep) throw new UsageError('ui: --display, --debugcon, --perf-map and --lockstep are for the command boot');
  // The page is the display.
  return VirtualMachine.create(machineOptions({ ...a, display: 'web' }));
}

export const uiCommand: CommandModule<object, UiArgs> = {
  command: 'ui',
  describe: 'a page for browsers that starts machines and shows them',
  builder: (y) =>
    y
      .option('listen', { type: 'string', default: '6080', requiresArg: true, describe: '[HOST:]PORT; the loopback address unless another is given' })
      .option('token', { type: 'string', requiresArg: true, describe: 'FILE whose first line is the token (default: a new one, printed with the address)' })
      .example('$0 ui', 'prints the address to open')
      .example('$0 ui --listen 0.0.0.0:8080 --token token.txt', 'for other computers, with a token of your own') as unknown as Argv<UiArgs>,
  handler: async (a) => {
    if (!/^(.*:)?\d+$/.test(a.listen)) throw new UsageError(`--listen: '${a.listen}' is not [HOST:]PORT`);
    const endpoint = parseEndpoint(`tcp:${a.listen}`, '--listen') as TcpEndpoint;
    const server = await MachinesServer.listen(endpoint, { token: a.token === undefined ? null : tokenFile(a.token, '--token'), version: VERSION, create: machineOf });
    process.stderr.write(`vmx-accel: machines at ${a.token === undefined ? server.url : server.url.replace(/\?.*/, '')}\n`);
    await new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
    });
    await server.close();
  },
};
