/**
 * The page of several machines: starts them, shows which there are, and leads to the console of each (console.ts), which has a port of its own and the
 * same token.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { UsageError, VmxError } from '../../errors.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { listenAt } from '../endpoint.js';
import { WebConsole } from './console.js';
import { answer, answerFile, answerJson, Gate, PATIENCE, type TcpEndpoint } from './gate.js';

const MAX_MACHINES = 64;
const MAX_BODY = 64 * 1024;

export interface MachinesOptions {
  /** Default: a new one. */
  token: string | null;
  version: string;
  /** Makes a machine of the words of a command line. Rejects with a UsageError for the user. */
  create: (words: readonly string[]) => Promise<VirtualMachine>;
}

interface Entry {
  readonly id: number;
  readonly words: readonly string[];
  readonly vm: VirtualMachine;
  readonly console: WebConsole;
  /** How it ended. */
  end: string | null;
}

export class MachinesServer {
  private readonly server: Server;
  private readonly gate: Gate;
  private readonly entries = new Map<number, Entry>();
  private next = 1;
  /** Machines that are being made count, too. */
  private making = 0;

  private constructor(private readonly o: MachinesOptions) {
    this.gate = new Gate(o.token);
    this.server = createServer(PATIENCE, (request, response) => {
      this.request(request, response).catch((e: unknown) => {
        if (e instanceof UsageError) answerJson(response, 400, { error: e.message });
        else if (e instanceof VmxError) answerJson(response, 500, { error: e.message });
        else throw e;
      });
    });
  }

  /** Starts listening. @throws UsageError that names the option if that is impossible. */
  static async listen(endpoint: TcpEndpoint, o: MachinesOptions, option = '--listen'): Promise<MachinesServer> {
    const s = new MachinesServer(o);
    s.gate.at = endpoint;
    s.gate.at = (await listenAt(s.server, endpoint, option)) as TcpEndpoint;
    return s;
  }

  /** What to open in a browser. */
  get url(): string {
    return this.gate.url;
  }

  get endpoint(): TcpEndpoint {
    return this.gate.at;
  }

  private async request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = this.gate.admit(request, response, ['POST']);
    if (url === null) return;
    if (request.method !== 'POST') {
      if (url.pathname === '/machines.json') answerJson(response, 200, [...this.entries.values()].map((e) => this.describe(e)));
      else await answerFile(request, response, url.pathname === '/' ? '/machines.html' : url.pathname);
      return;
    }
    // A form of another site can be no JSON.
    if (!this.gate.trusted(request) || request.headers['content-type'] !== 'application/json') return answer(response, 403, 'text/plain', 'Only the page of this server does that.');
    const body = await read(request);
    const [, id, what] = /^\/machines(?:\/(\d{1,9})\/(stop|forget))?$/.exec(url.pathname) ?? [];
    if (url.pathname === '/machines') answerJson(response, 201, this.describe(await this.start(words(body))));
    else if (id === undefined) answer(response, 404, 'text/plain', 'Not found.');
    else answerJson(response, 200, await this.end(Number(id), what === 'forget'));
  }

  private describe(e: Entry): object {
    const { config, state } = e.vm;
    return { id: e.id, words: e.words, state: e.end ?? state, url: e.end === null ? e.console.url : null, arch: config.arch, machine: config.machine, cpus: config.cpus, memory: config.memory };
  }

  /** Makes a machine and starts it. @throws UsageError */
  async start(words: readonly string[]): Promise<Entry> {
    if (this.entries.size + this.making >= MAX_MACHINES) throw new UsageError(`ui: there are ${MAX_MACHINES} machines already`);
    this.making++;
    try {
      const vm = await this.o.create(words);
      try {
        const console = await WebConsole.listen(vm, { ...this.gate.at, port: 0 }, { token: this.gate.token, version: this.o.version }, 'ui');
        const e: Entry = { id: this.next++, words: [...words], vm, console, end: null };
        vm.once('end', (end) => (e.end = end.reason === 'power-off' ? 'powered off' : end.message));
        this.entries.set(e.id, e);
        vm.start();
        return e;
      } catch (e) {
        await vm.stop();
        throw e;
      }
    } finally {
      this.making--;
    }
  }

  private async end(id: number, forget: boolean): Promise<object> {
    const e = this.entries.get(id);
    if (e === undefined) throw new UsageError(`ui: there is no machine ${id}`);
    await e.vm.stop();
    if (forget) this.entries.delete(id);
    return this.describe(e);
  }

  /** Stops all machines, then the server. */
  async close(): Promise<void> {
    await Promise.all([...this.entries.values()].map((e) => e.vm.stop()));
    this.server.close();
    this.server.closeAllConnections();
  }
}

async function read(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += (part as Buffer).length;
    if (bytes > MAX_BODY) throw new UsageError('ui: the request is too long');
    parts.push(part as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
  } catch {
    throw new UsageError('ui: the request is no JSON');
  }
}

/** `{"words": ["--kernel", "vmlinuz"]}`. */
function words(body: unknown): string[] {
  const list = typeof body === 'object' && body !== null && 'words' in body ? body.words : null;
  if (!Array.isArray(list) || !list.every((w) => typeof w === 'string')) throw new UsageError('ui: the request has no list of words');
  return list as string[];
}
