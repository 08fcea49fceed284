/** The first serial port at a socket of the host: several clients watch and type, and newcomers get the last of what was printed. */
import { createServer, type Server, type Socket } from 'node:net';
import type { VirtualMachine } from '../machine/virtual-machine.js';
import { type Endpoint, listenAt } from './endpoint.js';
import { SerialHub } from './serial-hub.js';

const MAX_CLIENTS = 16;

export class SerialServer {
  private readonly server: Server;
  private readonly hub: SerialHub;
  private at: Endpoint | null = null;

  private constructor(vm: VirtualMachine) {
    this.hub = new SerialHub(vm);
    this.server = createServer((socket) => this.accept(socket));
    this.server.maxConnections = MAX_CLIENTS;
  }

  /** Starts listening. @throws UsageError that names the option if that is impossible. */
  static async listen(vm: VirtualMachine, endpoint: Endpoint, option = '--serial'): Promise<SerialServer> {
    const s = new SerialServer(vm);
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
    // Whatever breaks the connection ends in 'close'.
    socket.on('error', () => socket.destroy());
    this.hub.accept(socket);
  }

  close(): void {
    this.server.close();
    this.hub.close();
  }
}
