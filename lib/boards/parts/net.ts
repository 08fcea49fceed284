/** Network cards of the configuration, each with its back end. */
import { E1000 } from '../../devices/net/e1000.js';
import { Rtl8139 } from '../../devices/net/rtl8139.js';
import { VirtioNet } from '../../devices/virtio/net.js';
import { UsageError } from '../../errors.js';
import type { NetConfig } from '../../machine/net-config.js';
import { PcapCapture } from '../../net/pcap.js';
import type { NetBackend } from '../../net/port.js';
import { listenProblem } from '../../net/listen-error.js';
import { SocketLink } from '../../net/socket-link.js';
import { TapLink } from '../../net/tap-link.js';
import { type HostForward, UserNet } from '../../net/user/user-net.js';
import type { BoardHost } from '../board.js';
import { addVirtio } from './extras.js';
import type { BusParts } from './bus-parts.js';

/** A card's connection: what opens before the machine starts, and what programs may ask of it. */
export interface NetConnection {
  readonly backend: NetBackend;
  /** Opens ports. Rejects with a UsageError. */
  open(): Promise<void>;
  /** Opens a further port of the host; null if the back end has none. */
  readonly forward: ((f: HostForward) => Promise<number>) | null;
}

export function connectNet(host: BoardHost, c: NetConfig): NetConnection {
  const wrap = (b: NetBackend): NetBackend => (c.pcap === null ? b : new PcapCapture(c.pcap, b, (m) => host.log(m)));
  if (c.link.kind === 'user') {
    const { hostfwd, restrict, hostname } = c.link;
    const net = new UserNet({ restrict, hostname: hostname ?? undefined, random: () => random32(host), idleTurn: () => host.idleTurn() });
    return {
      backend: wrap(net),
      open: async () => {
        for (const f of hostfwd) await net.forward(f);
      },
      forward: (f) => net.forward(f),
    };
  }
  if (c.link.kind === 'tap') {
    const tap = new TapLink(c.link.ifname, (m) => host.log(m));
    return { backend: wrap(tap), open: () => Promise.resolve().then(() => tap.open()), forward: null };
  }
  const { address, listen } = c.link;
  const link = new SocketLink(address, (m) => host.log(m));
  return {
    backend: wrap(link),
    open: async () => {
      if (!listen) link.connect();
      else {
        await link.listen().catch((e: NodeJS.ErrnoException) => {
          throw new UsageError(`--net: cannot listen at ${'path' in address ? address.path : `${address.host}:${address.port}`}: ${listenProblem(e, 'path' in address ? address.path : null)}`, { cause: e });
        });
      }
    },
    forward: null,
  };
}

function random32(host: BoardHost): number {
  const b = new Uint8Array(4);
  host.random(b);
  return new DataView(b.buffer).getUint32(0);
}

/** All network cards: on PCI bus 0 where there is one. */
export function addNets(p: BusParts): void {
  p.host.config.net.forEach((c, i) => {
    const n = connectNet(p.host, c);
    p.nets.push(n);
    p.onClose.push(() => n.backend.close());
    addNic(p, String(i), c, n.backend);
  });
}

/** Opens what a card that comes later is connected to. Rejects with a UsageError; nothing is open then. @returns what adds the card */
export async function openNet(p: BusParts, name: string, c: NetConfig): Promise<() => void> {
  const n = connectNet(p.host, c);
  try {
    await n.open();
  } catch (e) {
    n.backend.close();
    throw e;
  }
  return () => {
    p.onClose.push(() => n.backend.close());
    p.nets.push(n);
    addNic(p, name, c, n.backend);
  };
}

function addNic(p: BusParts, i: string, c: NetConfig, backend: NetBackend): void {
  const mac = Uint8Array.from(Buffer.from(c.mac, 'hex'));
  if (p.slots !== null && c.model !== 'virtio') throw new UsageError(`--net: model=${c.model} needs PCI, which machine ${p.host.config.machine} does not have (model=virtio)`);
  switch (c.model) {
    case 'virtio':
      addVirtio(p, `virtio-net${i}`, virtioNic(c, backend));
      break;
    case 'e1000':
      p.addPci(new E1000(`e1000-${i}`, p.pciHost, p.freeSlot(), { memory: p.memory, clock: p.host.clock, mac, backend }));
      break;
    case 'rtl8139':
      p.addPci(new Rtl8139(`rtl8139-${i}`, p.pciHost, p.freeSlot(), { memory: p.memory, clock: p.host.clock, mac, backend }));
      break;
  }
}

/** The virtio card of a configuration. */
export function virtioNic(c: NetConfig, backend: NetBackend): VirtioNet {
  return new VirtioNet({ mac: Uint8Array.from(Buffer.from(c.mac, 'hex')), backend, pairs: c.queues });
}
