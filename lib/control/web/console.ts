/**
 * The web console of a machine: one page that shows its screen and serial console and drives it. Screen, keyboard and pointer are VNC,
 * control is QMP, each in a WebSocket. Who has the token (gate.ts) sits at the machine.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { VmxError } from '../../errors.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { type Endpoint, listenAt } from '../endpoint.js';
import { QmpServer } from '../qmp/server.js';
import { SerialHub } from '../serial-hub.js';
import { VncServer } from '../vnc/server.js';
import { target } from './access.js';
import { answer, answerFile, answerJson, Gate, PATIENCE, type TcpEndpoint } from './gate.js';
import { Sockets } from './sockets.js';

export interface WebConsoleOptions {
  /** Default: a new one. */
  token: string | null;
  /** What `query-version` says. */
  version: string;
}

export class WebConsole {
  private readonly server: Server;
  private readonly sockets = new Sockets();
  private readonly serial: SerialHub;
  private readonly qmp: QmpServer;
  /** Null: the machine has no display. */
  private readonly vnc: VncServer | null;
  private readonly gate: Gate;

  private constructor(
    private readonly vm: VirtualMachine,
    o: WebConsoleOptions,
  ) {
    this.gate = new Gate(o.token);
    this.serial = new SerialHub(vm);
    this.qmp = QmpServer.create(vm, o.version);
    this.vnc = vm.config.vga === 'none' ? null : VncServer.create(vm);
    this.server = createServer(PATIENCE, (request, response) => {
      this.request(request, response).catch((e: unknown) => {
        // The machine has ended, or has no screen: nothing that this client could not be told.
        if (!(e instanceof VmxError)) throw e;
        answer(response, 503, 'text/plain', e.message);
      });
    });
    this.server.on('upgrade', (request, socket, head) => {
      const path = target(request)?.pathname;
      const accept = path === '/vnc' ? this.vnc : path === '/qmp' ? this.qmp : path === '/serial' ? this.serial : null;
      if (!this.gate.trusted(request)) Sockets.refuse(socket, 403, 'Forbidden');
      else if (!this.gate.allowed(request)) Sockets.refuse(socket, 401, 'Unauthorized');
      else if (accept === null) Sockets.refuse(socket, 404, 'Not Found');
      else this.sockets.upgrade(request, socket, head, (stream) => accept.accept(stream));
    });
    vm.once('end', () => this.close());
  }

  /** Starts listening. @throws UsageError that names the option if that is impossible. */
  static async listen(vm: VirtualMachine, endpoint: TcpEndpoint, o: WebConsoleOptions, option = '--display'): Promise<WebConsole> {
    const s = new WebConsole(vm, o);
    s.gate.at = endpoint;
    s.gate.at = (await listenAt(s.server, endpoint, option)) as TcpEndpoint;
    // The machine, not its viewers, decides how long the process lives.
    s.server.unref();
    return s;
  }

  get endpoint(): Endpoint {
    return this.gate.at;
  }

  get token(): string {
    return this.gate.token;
  }

  /** What to open in a browser. */
  get url(): string {
    return this.gate.url;
  }

  private async request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = this.gate.admit(request, response);
    if (url === null) return;
    const { config } = this.vm;
    if (url.pathname === '/screenshot.png') answer(response, 200, 'image/png', await this.vm.screen.png());
    else if (url.pathname === '/info.json') answerJson(response, 200, { display: this.vnc !== null, arch: config.arch, machine: config.machine, cpus: config.cpus, memory: config.memory });
    else await answerFile(request, response, url.pathname === '/' ? '/console.html' : url.pathname);
  }

  close(): void {
    this.server.close();
    this.serial.close();
    this.server.closeIdleConnections();
  }
}
