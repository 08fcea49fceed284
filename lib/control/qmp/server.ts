/**
 * QMP server (QEMU Machine Protocol Specification): greeting, capabilities negotiation, commands, replies, events. Several clients
 * may be connected. A client that sends nonsense, or does not read what it is sent, loses its connection; the others and the
 * machine go on.
 */
import { createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { VmxError } from '../../errors.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { type Endpoint, listenAt } from '../endpoint.js';
import { Monitor } from '../monitor.js';
import { checkArgs } from './arguments.js';
import { trayMoved } from './block.js';
import { COMMANDS, type QmpContext, type QmpVersion } from './commands.js';
import { ControlError } from '../error.js';
import { JsonStream } from './json-stream.js';

const MAX_CLIENTS = 16;
/** Commands a client may send before the first of them is answered. */
const MAX_QUEUED = 64;
/** Bytes that may wait for a client to read them. */
const MAX_UNREAD = 16 * 1024 * 1024;

/** What may carry a session. */
type ControlStream = Duplex & { unref?: () => unknown };

export class QmpServer {
  private readonly server: Server;
  private readonly sessions = new Set<QmpSession>();
  private readonly context: QmpContext;
  private at: Endpoint | null = null;

  private constructor(vm: VirtualMachine, version: string) {
    const [major, minor, micro] = version.split('.').map((n) => Number.parseInt(n, 10));
    const v: QmpVersion = { qemu: { major: major ?? 0, minor: minor ?? 0, micro: micro ?? 0 }, package: `vmx-accel ${version}` };
    this.context = { vm, monitor: new Monitor(vm, version), version: v, event: (name, data) => this.event(name, data) };
    this.server = createServer((socket) => this.accept(socket));
    vm.on('pause', () => this.event('STOP'));
    vm.on('resume', () => this.event('RESUME'));
    vm.on('reset', () => this.event('RESET', { guest: true, reason: 'guest-reset' }));
    vm.on('trayMoved', ({ drive, open }) => this.event('DEVICE_TRAY_MOVED', trayMoved(drive, open)));
    vm.on('deviceRemoved', (device) => this.event('DEVICE_DELETED', { device, path: `/machine/peripheral/${device}` }));
    vm.on('balloon', (bytes) => this.event('BALLOON_CHANGE', { actual: vm.config.memory - bytes }));
    vm.on('guestPanic', () => this.event('GUEST_PANICKED', { action: 'run' }));
    vm.on('watchdog', (action) => this.event('WATCHDOG', { action }));
    vm.on('end', (end) => {
      const guest = end.reason !== 'stopped' && end.reason !== 'error';
      this.event('SHUTDOWN', { guest, reason: SHUTDOWN_REASONS[end.reason] ?? 'host-error' });
      this.close();
    });
  }

  /** A server that listens nowhere: connections come by `accept`. */
  static create(vm: VirtualMachine, version: string): QmpServer {
    return new QmpServer(vm, version);
  }

  /** Takes a connection of whatever kind. */
  accept(stream: ControlStream): void {
    if (this.sessions.size >= MAX_CLIENTS) {
      stream.destroy();
      return;
    }
    const session = new QmpSession(stream, this.context, () => this.sessions.delete(session));
    this.sessions.add(session);
  }

  /** Starts listening. @throws UsageError that names the option if that is impossible. */
  static async listen(vm: VirtualMachine, endpoint: Endpoint, version: string, option = '--qmp'): Promise<QmpServer> {
    const s = new QmpServer(vm, version);
    s.at = await listenAt(s.server, endpoint, option);
    // The machine, not its control socket, decides how long the process lives.
    s.server.unref();
    return s;
  }

  /** Where it listens, with the actual port. */
  get endpoint(): Endpoint {
    return this.at!;
  }

  private event(name: string, data?: Record<string, unknown>): void {
    const now = Date.now();
    const e = { timestamp: { seconds: Math.floor(now / 1000), microseconds: (now % 1000) * 1000 }, event: name, ...(data === undefined ? {} : { data }) };
    for (const s of this.sessions) s.event(e);
  }

  /** Ends connections after what has been written to them. */
  close(): void {
    this.server.close();
    for (const s of this.sessions) s.end();
  }
}

const SHUTDOWN_REASONS: Readonly<Record<string, string>> = {
  'power-off': 'guest-shutdown',
  exit: 'guest-shutdown',
  reset: 'guest-reset',
  'triple-fault': 'guest-panic',
  stopped: 'host-qmp-quit',
};

class QmpSession {
  private readonly stream = new JsonStream();
  private negotiated = false;
  private queued = 0;
  /** Commands run one after another. */
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly socket: ControlStream,
    private readonly context: QmpContext,
    onClose: () => void,
  ) {
    socket.on('data', (bytes: Buffer) => this.data(bytes));
    socket.on('close', onClose);
    // Whatever breaks the connection ends in 'close'; there is nobody else to tell.
    socket.on('error', () => socket.destroy());
    this.send({ QMP: { version: context.version, capabilities: [] } });
  }

  private data(bytes: Uint8Array): void {
    try {
      this.stream.push(bytes, (m) => {
        if (++this.queued > MAX_QUEUED) throw new SyntaxError('too many commands at once');
        this.last = this.last.then(async () => {
          this.send(await this.answer(m));
          this.queued--;
        });
      });
    } catch (e) {
      if (!(e instanceof SyntaxError)) throw e;
      this.socket.pause();
      this.last = this.last.then(() => {
        this.send({ error: { class: 'GenericError', desc: `JSON parse error, ${e.message}` } });
        this.end();
      });
    }
  }

  private async answer(m: Record<string, unknown>): Promise<unknown> {
    const id = Object.hasOwn(m, 'id') ? { id: m.id } : {};
    try {
      return { return: (await this.command(m)) ?? {}, ...id };
    } catch (e) {
      if (e instanceof ControlError) return { error: { class: e.errorClass, desc: e.message }, ...id };
      if (e instanceof VmxError) return { error: { class: e.code === 'ERR_NO_DRIVE' || e.code === 'ERR_NO_DEVICE' ? 'DeviceNotFound' : 'GenericError', desc: e.message }, ...id };
      throw e;
    }
  }

  private async command(m: Record<string, unknown>): Promise<unknown> {
    for (const key of Object.keys(m)) if (key !== 'execute' && key !== 'arguments' && key !== 'id') throw new ControlError(`QMP input member '${key}' is unexpected`);
    const name = m.execute;
    if (typeof name !== 'string') throw new ControlError("QMP input lacks member 'execute'");
    if (name === 'qmp_capabilities') {
      if (this.negotiated) throw new ControlError('Capabilities negotiation is already complete, command ignored', 'CommandNotFound');
      const { enable } = checkArgs(m.arguments, { enable: { type: 'list', optional: true } });
      for (const c of (enable as unknown[] | undefined) ?? []) throw new ControlError(`Capability '${String(c)}' not available`);
      this.negotiated = true;
      return {};
    }
    if (!this.negotiated) throw new ControlError("Expecting capabilities negotiation with 'qmp_capabilities'", 'CommandNotFound');
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new ControlError(`The command ${name} has not been found`, 'CommandNotFound');
    return command.run(this.context, checkArgs(m.arguments, command.args ?? {}));
  }

  event(e: unknown): void {
    if (this.negotiated) this.send(e);
  }

  private send(m: unknown): void {
    if (this.socket.destroyed || this.socket.writableEnded) return;
    if (this.socket.writableLength > MAX_UNREAD) {
      this.socket.destroy();
      return;
    }
    this.socket.write(`${JSON.stringify(m)}\r\n`);
  }

  end(): void {
    this.socket.end();
    this.socket.unref?.();
  }
}
