/** `vmx-accel ctl`: sends commands to a running machine's QMP server. */
import type { Argv, CommandModule } from 'yargs';
import { parseEndpoint } from '../control/endpoint.js';
import { QmpClient, QmpError } from '../control/qmp/client.js';
import { UsageError, VmxError } from '../errors.js';
import { suggestion } from '../suggest.js';

interface CtlArgs {
  at: string;
  command: string;
  args: string[];
}

const WATCH = 'events';
const MONITOR = 'monitor';
const KEYS = 'keys';

/** NAME=VALUE words; a value that is JSON (a number, true, a list, an object, a quoted string) is that, anything else is text. */
export function qmpArguments(words: readonly string[]): Record<string, unknown> | undefined {
  if (words.length === 0) return undefined;
  const out: Record<string, unknown> = {};
  for (const w of words) {
    const eq = w.indexOf('=');
    if (eq <= 0) throw new UsageError(`ctl: '${w}' is not NAME=VALUE`);
    const [name, text] = [w.slice(0, eq), w.slice(eq + 1)];
    if (Object.hasOwn(out, name)) throw new UsageError(`ctl: ${name} is given twice`);
    try {
      out[name] = JSON.parse(text) as unknown;
    } catch {
      out[name] = text;
    }
  }
  return out;
}

/** @returns what to print */
async function carryOut(c: QmpClient, command: string, words: readonly string[]): Promise<unknown> {
  if (command === MONITOR) {
    if (words.length === 0) throw new UsageError('ctl: monitor needs a command, such as "info status"');
    return c.execute('human-monitor-command', { 'command-line': words.join(' ') });
  }
  if (command === KEYS) {
    if (words.length === 0) throw new UsageError('ctl: keys needs keys, such as ctrl-alt-delete');
    for (const w of words) await c.execute('send-key', { keys: w.split('-').map((data) => ({ type: 'qcode', data })) });
    return {};
  }
  return c.execute(command, qmpArguments(words));
}

async function refused(c: QmpClient, command: string, e: QmpError): Promise<UsageError> {
  if (e.errorClass !== 'CommandNotFound') return new UsageError(`ctl: ${command}: ${e.message}`, { cause: e });
  const known = ((await c.execute('query-commands')) as { name: string }[]).map((k) => k.name);
  return new UsageError(`ctl: the machine has no command '${command}'${suggestion(command, [...known, WATCH, MONITOR, KEYS])}; query-commands lists them`, { cause: e });
}

/** A connection that is none, or breaks, is nothing to print a stack for. */
function lost(e: unknown): never {
  throw e instanceof VmxError && e.code === 'ERR_QMP' ? new UsageError(`ctl: ${e.message}`, { cause: e }) : e;
}

export const ctlCommand: CommandModule<object, CtlArgs> = {
  command: 'ctl <at> <command> [args..]',
  describe: 'send a command to a running machine (boot --qmp)',
  builder: (y) =>
    y
      .positional('at', { type: 'string', describe: 'where its QMP server listens: unix:PATH, tcp:PORT or tcp:HOST:PORT' })
      .positional('command', { type: 'string', describe: `a QMP command, or ${MONITOR} (a monitor command), ${KEYS} (keys to press), ${WATCH} (print events until the machine ends)` })
      .positional('args', { type: 'string', array: true, describe: "the command's arguments, NAME=VALUE each" })
      .example('$0 ctl unix:/tmp/vm.sock query-status', 'is it running?')
      .example('$0 ctl unix:/tmp/vm.sock screendump filename=screen.png format=png', 'a picture of its screen')
      .example('$0 ctl unix:/tmp/vm.sock keys ctrl-alt-delete', 'press keys')
      .example('$0 ctl unix:/tmp/vm.sock monitor info registers', 'ask the monitor') as unknown as Argv<CtlArgs>,
  handler: async (a) => {
    const c = await QmpClient.connect(parseEndpoint(a.at, 'ctl')).catch(lost);
    try {
      if (a.command === WATCH) {
        c.on('event', (e) => process.stdout.write(`${JSON.stringify(e)}\n`));
        await new Promise<void>((resolve) => void c.once('close', resolve));
        return;
      }
      const result = await carryOut(c, a.command, a.args ?? []);
      // What has nothing to say says nothing.
      if (typeof result === 'string') process.stdout.write(result === '' || result.endsWith('\n') ? result : `${result}\n`);
      else if (JSON.stringify(result) !== '{}') process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    } catch (e) {
      throw e instanceof QmpError ? await refused(c, a.command, e).catch(lost) : lost(e);
    } finally {
      c.close();
    }
  },
};
