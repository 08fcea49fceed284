/**
 * The web console of a machine: one page that shows its screen and serial console and drives it. Screen, keyboard and pointer are VNC,
 * control is QMP, each in a WebSocket. Who has the token sits at the machine; it comes with the first request (`/?token=`) and lives on in a cookie
 * that no script can read and no other site's page can use.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { VmxError } from '../../errors.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { type Endpoint, endpointText, listenAt } from '../endpoint.js';
import { QmpServer } from '../qmp/server.js';
import { VncServer } from '../vnc/server.js';
import { cookie, knownHost, newToken, sameOrigin, sameSecret, target } from './access.js';
import { webFile } from './files.js';
import { SerialHub } from './serial.js';
import { Sockets } from './sockets.js';

export interface WebConsoleOptions {
  /** Default: a new one. */
  token: string | null;
  /** What `query-version` says. */
  version: string;
}

const MAX_HEADERS_MS = 10_000;

export class WebConsole {
  private readonly server: Server;
  private readonly sockets = new Sockets();
  private readonly serial: SerialHub;
  private readonly qmp: QmpServer;
  /** Null: the machine has no display. */
  private readonly vnc: VncServer | null;
  private at!: Extract<Endpoint, { kind: 'tcp' }>;
  readonly token: string;

  private constructor(
    private readonly vm: VirtualMachine,
    o: WebConsoleOptions,
  ) {
    this.token = o.token ?? newToken();
    this.serial = new SerialHub(vm);
    this.qmp = QmpServer.create(vm, o.version);
    this.vnc = vm.config.vga === 'none' ? null : VncServer.create(vm);
    this.server = createServer({ headersTimeout: MAX_HEADERS_MS, requestTimeout: MAX_HEADERS_MS }, (request, response) => {
      this.request(request, response).catch((e: unknown) => {
        // The machine has ended, or has no screen: nothing that this client could not be told.
        if (!(e instanceof VmxError)) throw e;
        answer(response, 503, 'text/plain', e.message);
      });
    });
    this.server.on('upgrade', (request, socket, head) => {
      const path = target(request)?.pathname;
      const accept = path === '/vnc' ? this.vnc : path === '/qmp' ? this.qmp : path === '/serial' ? this.serial : null;
      if (!knownHost(request, this.at.host) || !sameOrigin(request)) Sockets.refuse(socket, 403, 'Forbidden');
      else if (!this.allowed(request)) Sockets.refuse(socket, 401, 'Unauthorized');
      else if (accept === null) Sockets.refuse(socket, 404, 'Not Found');
      else this.sockets.upgrade(request, socket, head, (stream) => accept.accept(stream));
    });
    vm.once('end', () => this.close());
  }

  /** Starts listening. @throws UsageError that names the option if that is impossible. */
  static async listen(vm: VirtualMachine, endpoint: Extract<Endpoint, { kind: 'tcp' }>, o: WebConsoleOptions, option = '--display'): Promise<WebConsole> {
    const s = new WebConsole(vm, o);
    s.at = endpoint;
    s.at = (await listenAt(s.server, endpoint, option)) as Extract<Endpoint, { kind: 'tcp' }>;
    // The machine, not its viewers, decides how long the process lives.
    s.server.unref();
    return s;
  }

  get endpoint(): Endpoint {
    return this.at;
  }

  /** What to open in a browser. */
  get url(): string {
    return `http://${endpointText(this.at).slice(4)}/?token=${encodeURIComponent(this.token)}`;
  }

  /** Cookies are shared by all ports of a host. */
  private get cookieName(): string {
    return `vmx-accel-${this.at.port}`;
  }

  private allowed(request: IncomingMessage): boolean {
    const given = cookie(request, this.cookieName);
    return given !== null && sameSecret(given, this.token);
  }

  private async request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!knownHost(request, this.at.host)) return answer(response, 403, 'text/plain', 'This server is asked for by address only.');
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(response, 405, 'text/plain', 'Method not allowed.');
    const url = target(request);
    if (url === null) return answer(response, 400, 'text/plain', 'That is no address.');
    const token = url.searchParams.get('token');
    if (url.pathname === '/' && token !== null) {
      if (!sameSecret(token, this.token)) return answer(response, 401, 'text/plain', 'That is not the token.');
      response.setHeader('Set-Cookie', `${this.cookieName}=${this.token}; Path=/; HttpOnly; SameSite=Strict`);
      response.setHeader('Location', '/');
      return answer(response, 302, 'text/plain', '');
    }
    if (!this.allowed(request)) return answer(response, 401, 'text/plain', 'Open the address that vmx-accel has printed: it has the token.');
    if (url.pathname === '/screenshot.png') return answer(response, 200, 'image/png', await this.vm.screen.png());
    if (url.pathname === '/info.json') {
      return answer(response, 200, 'application/json', JSON.stringify({ display: this.vnc !== null, arch: this.vm.config.arch, machine: this.vm.config.machine, cpus: this.vm.config.cpus, memory: this.vm.config.memory }));
    }
    const file = await webFile(url.pathname);
    if (file === null) return answer(response, 404, 'text/plain', 'Not found.');
    // Scripts, styles and connections from here only; nobody frames the page (clickjacking).
    response.setHeader('Content-Security-Policy', `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws://${request.headers.host!}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`);
    answer(response, 200, file.type, file.bytes);
  }

  close(): void {
    this.server.close();
    this.serial.close();
    this.server.closeIdleConnections();
  }
}

function answer(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    'Content-Type': type, 'Content-Length': bytes.length, 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'X-Frame-Options': 'DENY', 'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
  });
  response.end(response.req.method === 'HEAD' ? undefined : bytes);
}
