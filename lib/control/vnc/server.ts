/** The VNC server of a machine (RFC 6143). Listens on the loopback interface unless told otherwise. */
import { createServer, type Server } from 'node:net';
import { UsageError } from '../../errors.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { type Endpoint, listenAt } from '../endpoint.js';
import { VncSession, type VncOptions } from './session.js';

const MAX_CLIENTS = 16;

export class VncServer {
  private readonly server: Server;
  private readonly sessions = new Set<VncSession>();
  private at: Endpoint | null = null;

  private constructor(vm: VirtualMachine, o: VncOptions) {
    this.server = createServer((socket) => {
      if (this.sessions.size >= MAX_CLIENTS) {
        socket.destroy();
        return;
      }
      socket.setNoDelay(true);
      const session = new VncSession(socket, vm, o, () => this.sessions.delete(session));
      this.sessions.add(session);
    });
    vm.once('end', () => this.close());
  }

  /** Starts listening. @throws UsageError that names the option if that is impossible. */
  static async listen(vm: VirtualMachine, endpoint: Endpoint, o: Partial<VncOptions> = {}, option = '--display'): Promise<VncServer> {
    if (vm.config.vga === 'none') throw new UsageError(`${option}: the machine has no display`);
    const s = new VncServer(vm, { password: o.password ?? null, name: o.name ?? 'vmx-accel' });
    s.at = await listenAt(s.server, endpoint, option);
    // The machine, not its viewers, decides how long the process lives.
    s.server.unref();
    return s;
  }

  /** Where it listens, with the actual port. */
  get endpoint(): Endpoint {
    return this.at!;
  }

  close(): void {
    this.server.close();
    for (const s of this.sessions) s.close();
  }
}
