/** The caller's side of sockets between host and guest (vsock); programs on the host are context 2. */
import type { Duplex } from 'node:stream';
import { UsageError, VmxError } from '../errors.js';
import type { DeviceStream } from './device-stream.js';
import type { DeviceReply, DeviceRequest } from './protocol.js';

const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_PORT = 0xffff_fffe;

export type VsockListener = (stream: Duplex, from: { port: number }) => void;

export class Vsock {
  private readonly listeners = new Map<number, VsockListener>();

  constructor(
    private readonly ask: (request: DeviceRequest) => Promise<DeviceReply>,
    private readonly stream: (id: number) => DeviceStream,
  ) {}

  /**
   * Connects to a port that a program in the guest listens on.
   * @param o.timeout ms; default 10000
   * @throws VmxError ERR_REFUSED, ERR_NO_DEVICE without `--device virtio-vsock`; UsageError for what is no port
   */
  async connect(port: number, o: { timeout?: number } = {}): Promise<Duplex> {
    check(port);
    const r = await this.ask({ kind: 'vsock-connect', port, timeout: o.timeout ?? DEFAULT_TIMEOUT_MS });
    if ('stream' in r) return this.stream(r.stream);
    throw failure(r);
  }

  /** Calls `listener` with each connection that the guest makes to the port. @returns the function that ends it */
  async listen(port: number, listener: VsockListener): Promise<() => Promise<void>> {
    check(port);
    if (this.listeners.has(port)) throw new UsageError(`vsock: port ${port} is in use`);
    this.listeners.set(port, listener);
    const r = await this.ask({ kind: 'vsock-listen', port, on: true });
    if ('error' in r) {
      this.listeners.delete(port);
      throw failure(r);
    }
    return async () => {
      this.listeners.delete(port);
      await this.ask({ kind: 'vsock-listen', port, on: false });
    };
  }

  /** The guest has made a connection. */
  connected(port: number, from: number, id: number): void {
    const s = this.stream(id);
    const listener = this.listeners.get(port);
    if (listener === undefined) s.destroy();
    else listener(s, { port: from });
  }
}

function check(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > MAX_PORT) throw new UsageError(`vsock: ${port} is not a port (0 to ${MAX_PORT})`);
}

function failure(r: DeviceReply): VmxError {
  return 'error' in r ? new VmxError(r.code ?? 'ERR_NO_DEVICE', r.error) : new VmxError('ERR_INTERNAL', 'unexpected answer');
}
