/** The VNC server of a machine (RFC 6143). Listens on the loopback interface unless told otherwise. */
import { createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { UsageError } from '../../errors.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { type Endpoint, listenAt } from '../endpoint.js';
import { VncSession, type VncOptions } from './session.js';

const MAX_CLIENTS = 16;

export class VncServer {
  private readonly server: Server;
  private readonly sessions = new Set<VncSession>();
  private readonly closing: (() => void)[] = [];
  private at: Endpoint | null = null;

  private constructor(
    private readonly vm: VirtualMachine,
    private readonly o: VncOptions,
  ) {
    this.server = createServer((socket) => {
      socket.setNoDelay(true);
      this.accept(socket);
    });
    vm.once('end', () => this.close());
  }

  /** A server that listens nowhere: connections come by `accept`. */
  static create(vm: VirtualMachine, o: Partial<VncOptions> = {}): VncServer {
    return new VncServer(vm, { password: o.password ?? null, name: o.name ?? 'vmx-accel' });
  }

  /** Takes a connection of whatever kind. */
  accept(stream: Duplex): void {
    if (this.sessions.size >= MAX_CLIENTS) {
      stream.destroy();
      return;
    }
    const session = new VncSession(stream, this.vm, this.o, () => this.sessions.delete(session));
    this.sessions.add(session);
  }

  /** Starts listening. @throws UsageError that names the option if that is impossible. */
  static async listen(vm: VirtualMachine, endpoint: Endpoint, o: Partial<VncOptions> = {}, option = '--display'): Promise<VncServer> {
    if (vm.config.vga === 'none') throw new UsageError(`${option}: the machine has no display`);
    const s = VncServer.create(vm, o);
    s.at = await listenAt(s.server, endpoint, option);
    // The machine, not its viewers, decides how long the process lives.
    s.server.unref();
    return s;
  }

  /** Where it listens, with the actual port. */
  get endpoint(): Endpoint {
    return this.at!;
  }

  /** Calls `listener` when the server closes. */
  onClose(listener: () => void): void {
    this.closing.push(listener);
  }

  close(): void {
    this.server.close();
    for (const l of this.closing.splice(0)) l();
    for (const s of this.sessions) s.close();
  }
}
