/** `--display`: none, a VNC server, a web console, or this terminal. */
import { readFileSync } from 'node:fs';
import { type Endpoint, endpointText, parseEndpoint } from '../control/endpoint.js';
import { UsageError } from '../errors.js';
import { suggestion } from '../suggest.js';
import type { VirtualMachine } from '../machine/virtual-machine.js';
import { VERSION } from './version.js';

type TcpEndpoint = Extract<Endpoint, { kind: 'tcp' }>;

export type Display =
  | { kind: 'vnc'; endpoint: TcpEndpoint; password: string | null; websocket: TcpEndpoint | null }
  | { kind: 'web'; endpoint: TcpEndpoint; token: string | null }
  | { kind: 'term' };

const KINDS = { vnc: ['password', 'websocket'], web: ['token'], term: [] } as const;
const PORTS = { vnc: 5900, web: 6080 } as const;
const USAGE = 'none, vnc[:[HOST:]PORT][,password=FILE][,websocket=[HOST:]PORT], web[:[HOST:]PORT][,token=FILE], term are';

const tcp = (text: string): TcpEndpoint => parseEndpoint(`tcp:${text}`, '--display') as TcpEndpoint;

/** A file's first line. */
function firstLine(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/)[0]!;
  } catch (e) {
    throw new UsageError(`${option}: ${(e as Error).message}`, { cause: e });
  }
}

function passwordFile(file: string): string {
  const password = firstLine(file, '--display: password');
  if (password === '') throw new UsageError(`--display: password: ${file} is empty`);
  return password;
}

const MIN_TOKEN = 16;

/** A token that fits into a cookie and is not guessed. @throws UsageError */
export function tokenFile(file: string, option = '--display: token'): string {
  const token = firstLine(file, option);
  if (!/^[\x21-\x7e]+$/.test(token) || /[;,\\"]/.test(token) || token.length < MIN_TOKEN) {
    throw new UsageError(`${option}: ${file}: the first line must be ${MIN_TOKEN} printable ASCII characters or more, without ; , \\ "`);
  }
  return token;
}

/** Secrets are a file's first line, so that they are in no list of processes. @throws UsageError */
export function parseDisplay(text: string): Display | null {
  if (text === 'none') return null;
  const [what, ...options] = text.split(',') as [string, ...string[]];
  const [, name, place] = /^([a-z]+)(?::(.*))?$/.exec(what) ?? [];
  if (name === undefined || !Object.hasOwn(KINDS, name) || (name === 'term' && text !== name)) throw new UsageError(`--display: '${text}' is not available (${USAGE})${suggestion(name ?? what, ['none', ...Object.keys(KINDS)])}`);
  const kind = name as keyof typeof KINDS;
  const known: readonly string[] = KINDS[kind];
  const given = new Map<string, string>();
  for (const o of options) {
    const [, key, value] = /^([a-z]+)=(.+)$/.exec(o) ?? [];
    if (key === undefined || !known.includes(key)) throw new UsageError(`--display: ${kind} has no property '${o}' (${known.map((k) => `${k}=`).join(', ')} ${known.length > 1 ? 'are' : 'is one'})`);
    given.set(key, value!);
  }
  if (kind === 'term') return { kind };
  const endpoint = tcp(place ?? String(PORTS[kind]));
  if (kind === 'web') return { kind, endpoint, token: given.has('token') ? tokenFile(given.get('token')!) : null };
  return { kind, endpoint, password: given.has('password') ? passwordFile(given.get('password')!) : null, websocket: given.has('websocket') ? tcp(given.get('websocket')!) : null };
}

/** Whether `--display term` has the terminal, so that the serial port cannot have it. */
export const takesTerminal = (display: string): boolean => display === 'term';

/** Starts the servers, or takes the terminal; the machine starts next. @param say gets a line for the user. @throws UsageError */
export async function openDisplay(d: Display, vm: VirtualMachine, say: (line: string) => void): Promise<void> {
  if (d.kind === 'vnc') {
    // What few use is loaded when it is used.
    const { VncServer } = await import('../control/vnc/server.js');
    const vnc = await VncServer.listen(vm, d.endpoint, { password: d.password });
    say(`VNC server at ${endpointText(vnc.endpoint).slice(4)}`);
    if (d.websocket !== null) {
      const { listenWebSocket } = await import('../control/vnc/websocket.js');
      say(`VNC over WebSocket at ws://${endpointText(await listenWebSocket(vnc, d.websocket)).slice(4)}`);
    }
  } else if (d.kind === 'term') {
    const { TermDisplay } = await import('./term-display.js');
    const term = TermDisplay.open(vm);
    vm.once('end', () => term.close());
  } else {
    const { WebConsole } = await import('../control/web/console.js');
    const web = await WebConsole.listen(vm, d.endpoint, { token: d.token, version: VERSION });
    say(d.token === null ? `web console at ${web.url}` : `web console at http://${endpointText(web.endpoint).slice(4)}/`);
  }
}
