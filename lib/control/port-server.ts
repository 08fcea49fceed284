/** A port of the guest (virtio-serial, a further serial port) at a socket of the host: one client at a time, bytes as they are. */
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { UsageError } from '../errors.js';
import type { VirtualMachine } from '../machine/virtual-machine.js';
import { type Endpoint, listenAt } from './endpoint.js';

export class PortServer {
  private readonly server: Server;
  private client: Socket | null = null;
  private at: Endpoint | null = null;

  private constructor(private readonly port: Duplex) {
    this.server = createServer((socket) => this.accept(socket));
  }

  /** Starts listening. @throws UsageError that names the option if that is impossible, or if the machine has no such port. */
  static async listen(vm: VirtualMachine, name: string, endpoint: Endpoint, option = '--port'): Promise<PortServer> {
    let stream;
    try {
      stream = vm.port(name);
    } catch (e) {
      throw e instanceof UsageError ? new UsageError(`${option}: ${e.message}`, { cause: e }) : e;
    }
    const s = new PortServer(stream);
    s.at = await listenAt(s.server, endpoint, option);
    // The machine decides how long the process lives.
    s.server.unref();
    vm.on('end', () => s.close());
    return s;
  }

  /** Where it listens, with the actual port. */
  get endpoint(): Endpoint {
    return this.at!;
  }

  private accept(socket: Socket): void {
    if (this.client !== null) {
      socket.destroy();
      return;
    }
    this.client = socket;
    socket.on('error', () => socket.destroy());
    // The port outlives its clients; what the guest sends meanwhile waits.
    socket.on('close', () => {
      this.port.unpipe(socket);
      this.client = null;
    });
    socket.pipe(this.port, { end: false });
    this.port.pipe(socket);
  }

  close(): void {
    this.server.close();
    this.client?.end();
  }
}
