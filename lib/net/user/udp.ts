/** UDP of the user network: a host socket for each port the guest sends from, and ports of the host that lead to the guest. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { be16, parseIp, UDP_HEADER } from '../packet.js';
import { ipv6Bytes, isIpv6, Own } from './ipv6-addresses.js';
import type { Link, Packet } from './link.js';

const MAX_FLOWS = 512;
const IDLE_MS = 60_000;
const SWEEP_MS = 10_000;

interface Flow {
  socket: Socket;
  usedAt: number;
}

/** A UDP port of the host whose datagrams go to the guest. */
interface Forward {
  socket: Socket;
  guest: number;
  guestPort: number;
}

/** Answers to a datagram of the guest that do not come from the host's network: DHCP, DNS. */
export type UdpService = (data: Uint8Array, p: Packet, srcPort: number) => void;

export class Udp {
  private readonly flows = new Map<number, Flow>();
  private readonly forwards: Forward[] = [];
  /** Peers of forwarded ports: datagrams of the guest to them leave from the port they were sent to. Key: address:port. */
  private readonly peers = new Map<string, { forward: Forward; usedAt: number }>();
  private readonly sweep: NodeJS.Timeout;

  constructor(
    private readonly link: Link,
    /** Address on the host for a destination of the guest, or null: no way there. */
    private readonly hostAddress: (ip: number) => string | null,
    private readonly now: () => number = () => Date.now(),
  ) {
    this.sweep = setInterval(() => this.expire(), SWEEP_MS);
    this.sweep.unref();
  }

  /** A datagram from the guest. @returns false if it was damaged. */
  input(p: Packet, service: (port: number) => UdpService | null): boolean {
    const { b, start } = p;
    if (p.end - start < UDP_HEADER) return false;
    const length = be16(b, start + 4);
    if (length < UDP_HEADER || start + length > p.end) return false;
    const srcPort = be16(b, start);
    const dstPort = be16(b, start + 2);
    const data = b.subarray(start + UDP_HEADER, start + length);
    const special = service(dstPort);
    if (special !== null) {
      special(data, p, srcPort);
      return true;
    }
    const address = this.hostAddress(p.dst);
    if (address === null) {
      this.link.sendUnreachable(p, 'prohibited');
      return true;
    }
    const peer = this.peers.get(`${p.dst}:${dstPort}:${srcPort}`);
    if (peer !== undefined) {
      peer.usedAt = this.now();
      peer.forward.socket.send(data.slice(), dstPort, address);
      return true;
    }
    const key = p.src * 0x10000 + srcPort;
    let flow = this.flows.get(key);
    if (flow === undefined) {
      if (this.flows.size >= MAX_FLOWS) this.drop(this.oldest());
      flow = { socket: this.open(p.src, srcPort, key), usedAt: 0 };
      this.flows.set(key, flow);
    }
    flow.usedAt = this.now();
    // Errors (no route, refused) reach the socket's error handler.
    flow.socket.send(data.slice(), dstPort, address);
    return true;
  }

  private open(guest: number, guestPort: number, key: number): Socket {
    const socket = createSocket(isIpv6(guest) ? 'udp6' : 'udp4');
    socket.on('message', (m: Buffer, from: RemoteInfo) => {
      const flow = this.flows.get(key);
      if (flow !== undefined) flow.usedAt = this.now();
      this.link.sendUdp(this.guestView(from.address), from.port, guest, guestPort, m);
    });
    socket.on('error', () => this.drop(key));
    return socket;
  }

  /** How the guest knows an address of the host's side. */
  private guestView(address: string): number {
    if (address === '::1') return Own.HOST;
    if (address.includes(':')) return this.link.ipv6.number(ipv6Bytes(address));
    const ip = parseIp(address) ?? 0;
    return ip >>> 24 === 127 ? this.link.addresses.host : ip;
  }

  private oldest(): number {
    let best = -1;
    let at = Infinity;
    for (const [key, f] of this.flows) {
      if (f.usedAt >= at) continue;
      best = key;
      at = f.usedAt;
    }
    return best;
  }

  private drop(key: number): void {
    const flow = this.flows.get(key);
    if (flow === undefined) return;
    this.flows.delete(key);
    flow.socket.close();
  }

  private expire(): void {
    const limit = this.now() - IDLE_MS;
    for (const [key, f] of this.flows) if (f.usedAt < limit) this.drop(key);
    for (const [key, peer] of this.peers) if (peer.usedAt < limit) this.peers.delete(key);
  }

  /** Joins a port of the host to one of the guest. Rejects with the system's error. @returns the port. */
  forward(host: string, port: number, guest: number, guestPort: number): Promise<number> {
    const socket = createSocket('udp4');
    const f: Forward = { socket, guest, guestPort };
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, host, () => {
        socket.off('error', reject);
        // A datagram that cannot be delivered is lost, as datagrams are.
        socket.on('error', () => {});
        socket.on('message', (m: Buffer, from: RemoteInfo) => {
          const src = this.guestView(from.address);
          const key = `${src}:${from.port}:${guestPort}`;
          if (this.peers.size < MAX_FLOWS || this.peers.has(key)) this.peers.set(key, { forward: f, usedAt: this.now() });
          this.link.sendUdp(src, from.port, guest, guestPort, m);
        });
        this.forwards.push(f);
        resolve(socket.address().port);
      });
    });
  }

  /** Sockets in use. */
  get size(): number {
    return this.flows.size + this.forwards.length;
  }

  close(): void {
    clearInterval(this.sweep);
    for (const key of [...this.flows.keys()]) this.drop(key);
    this.peers.clear();
    for (const f of this.forwards) f.socket.close();
    this.forwards.length = 0;
  }
}
