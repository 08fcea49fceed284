/** The caller's side of the machine's network. */
import type { HostForward } from '../net/user/user-net.js';
import { parseHostForward } from './net-config.js';

export class Network {
  constructor(private readonly open: (nic: number, f: HostForward) => Promise<number>) {}

  /**
   * Opens a port of the host that leads to one of the guest: `tcp:127.0.0.1:0-:22` (port 0: the system chooses).
   * @param nic network card, counted from 0; it must be on a user network.
   * @returns the host's port. @throws UsageError if that is impossible.
   */
  forward(what: string | HostForward, nic = 0): Promise<number> {
    return this.open(nic, typeof what === 'string' ? parseHostForward(what) : what);
  }
}
