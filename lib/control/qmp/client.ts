/**
 * A QMP client (QEMU Machine Protocol Specification), for machines of this project and others that speak it. The server is not trusted:
 * messages are bounded (json-stream.ts), and a connection that breaks fails every command that waits.
 */
import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { UsageError, VmxError } from '../../errors.js';
import { type Endpoint, endpointText } from '../endpoint.js';
import { JsonStream } from './json-stream.js';

export interface QmpEvent {
  event: string;
  data?: Record<string, unknown>;
  timestamp?: { seconds: number; microseconds: number };
}

/** The server's refusal of a command. */
export class QmpError extends Error {
  /** @param errorClass such as GenericError, CommandNotFound */
  constructor(
    message: string,
    readonly errorClass: string,
  ) {
    super(message);
  }
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (e: Error) => void;
}

/** Events: `event` (QmpEvent), `close`. */
export class QmpClient extends EventEmitter<{ event: [QmpEvent]; close: [] }> {
  private readonly waiting = new Map<number, Waiting>();
  private readonly json = new JsonStream();
  private greeted: Waiting | null = null;
  private nextId = 0;
  private closed = false;

  private constructor(
    private readonly socket: Socket,
    private readonly where: string,
  ) {
    super();
    socket.on('data', (bytes: Buffer) => this.data(bytes));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.end());
  }

  /**
   * Connects and negotiates.
   * @param option what to name in errors
   * @throws UsageError if nobody listens there, VmxError ERR_QMP if it is no QMP server
   */
  static async connect(at: Endpoint, option = 'ctl'): Promise<QmpClient> {
    const where = endpointText(at);
    const socket = await new Promise<Socket>((resolve, reject) => {
      const s = connect(at.kind === 'unix' ? { path: at.path } : { host: at.host, port: at.port }, () => {
        s.removeAllListeners('error');
        resolve(s);
      });
      s.once('error', (e: NodeJS.ErrnoException) => reject(new UsageError(`${option}: ${where}: ${e.code === 'ENOENT' || e.code === 'ECONNREFUSED' ? 'no machine listens there' : e.message}`, { cause: e })));
    });
    const c = new QmpClient(socket, where);
    await new Promise<unknown>((resolve, reject) => (c.greeted = { resolve, reject }));
    await c.execute('qmp_capabilities');
    return c;
  }

  /** @returns what the command returns. @throws QmpError if the server refuses it, VmxError ERR_QMP if the connection ends first */
  execute(command: string, args?: Record<string, unknown>): Promise<unknown> {
    if (this.closed) return Promise.reject(this.broken());
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.write(JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }), id }));
    });
  }

  close(): void {
    this.socket.end();
  }

  private broken(): VmxError {
    return new VmxError('ERR_QMP', `${this.where}: the connection has ended`);
  }

  private data(bytes: Buffer): void {
    try {
      this.json.push(bytes, (m) => this.message(m));
    } catch {
      this.greeted?.reject(new VmxError('ERR_QMP', `${this.where}: what answers there is no QMP server`));
      this.socket.destroy();
    }
  }

  private message(m: Record<string, unknown>): void {
    if (this.greeted !== null) {
      const g = this.greeted;
      this.greeted = null;
      if (typeof m.QMP === 'object' && m.QMP !== null) g.resolve(undefined);
      else {
        g.reject(new VmxError('ERR_QMP', `${this.where}: what answers there is no QMP server`));
        this.socket.destroy();
      }
      return;
    }
    if (typeof m.event === 'string') {
      this.emit('event', m as unknown as QmpEvent);
      return;
    }
    const w = this.waiting.get(m.id as number);
    if (w === undefined) return;
    this.waiting.delete(m.id as number);
    const e = m.error as { class?: unknown; desc?: unknown } | undefined;
    if (e !== undefined && e !== null) w.reject(new QmpError(String(e.desc), String(e.class)));
    else w.resolve(m.return);
  }

  private end(): void {
    this.closed = true;
    this.greeted?.reject(new VmxError('ERR_QMP', `${this.where}: the connection has ended before a greeting`));
    this.greeted = null;
    for (const w of this.waiting.values()) w.reject(this.broken());
    this.waiting.clear();
    this.emit('close');
  }
}
