/**
 * The user network: a small network behind the guest's card that needs no privilege on the host. The guest sees a router and name
 * server (10.0.2.2, 10.0.2.3); its connections leave the host as connections of this process. The host is at the router's
 * address. ICMP echo is answered for these two addresses only: others need raw sockets.
 */
import { UsageError } from '../../errors.js';
import { listenProblem } from '../listen-error.js';
import { be16, be32, ETH_HEADER, EtherType, IP_HEADER, IpProto, ipText, put16, put32 } from '../packet.js';
import { type FrameInfo, FrameQueue, type NetBackend, type NicEnd } from '../port.js';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpServer } from './dhcp.js';
import { DNS_PORT, DnsProxy } from './dns.js';
import { DEFAULT_ADDRESSES, Link, macOf, type Packet, type UserAddresses } from './link.js';
import { Ipv6 } from './ipv6.js';
import { isIpv6, Own } from './ipv6-addresses.js';
import { Reassembly } from './reassembly.js';
import { Tcp } from './tcp.js';
import { Udp, type UdpService } from './udp.js';

/** A port of the host that leads to the guest. */
export interface HostForward {
  proto: 'tcp' | 'udp';
  /** Address and port on the host; port 0 lets the system choose. */
  host: string;
  port: number;
  /** Null: the first address DHCP gives out. */
  guest: number | null;
  guestPort: number;
}

export interface UserNetOptions {
  addresses?: Partial<UserAddresses>;
  /** The guest reaches nothing but what is forwarded to it, DHCP and the router's echo. */
  restrict?: boolean;
  /** Name that DHCP gives the guest. */
  hostname?: string;
  /** 32 random bits. */
  random: () => number;
  /** Something has been left to the event loop, which is to have its turn before the machine sleeps. */
  idleTurn?: () => void;
}

const BROADCAST = 0xffff_ffff;
const ARP_BYTES = 28;

export class UserNet implements NetBackend {
  readonly offload = true;
  readonly addresses: UserAddresses;
  private readonly queue = new FrameQueue();
  private readonly link: Link;
  private readonly tcp: Tcp;
  private readonly udp: Udp;
  private readonly dhcp: DhcpServer;
  private readonly dns = new DnsProxy();
  private readonly fragments = new Reassembly();
  private readonly ipv6: Ipv6;
  private readonly packet: Packet = { b: new Uint8Array(0), src: 0, dst: 0, ip: 0, start: 0, end: 0 };
  private readonly restrict: boolean;
  private readonly idleTurn: () => void;

  constructor(o: UserNetOptions) {
    this.addresses = { ...DEFAULT_ADDRESSES, ...o.addresses };
    this.restrict = o.restrict ?? false;
    this.idleTurn = o.idleTurn ?? (() => {});
    this.link = new Link(this.queue, this.addresses);
    this.tcp = new Tcp(this.link, (ip) => this.hostAddress(ip), o.random);
    this.udp = new Udp(this.link, (ip) => this.hostAddress(ip));
    this.ipv6 = new Ipv6(this.link, this.link.ipv6, (p, proto) => this.dispatch(p, proto));
    this.dhcp = new DhcpServer(this.addresses, o.hostname ?? null);
  }

  attach(nic: NicEnd): void {
    this.queue.attach(nic);
  }

  /** Opens a port of the host. @returns its number. @throws UsageError if that is impossible. */
  async forward(f: HostForward): Promise<number> {
    const guest = f.guest ?? this.addresses.guest;
    try {
      return await (f.proto === 'tcp' ? this.tcp : this.udp).forward(f.host, f.port, guest, f.guestPort);
    } catch (e) {
      throw new UsageError(`--net: hostfwd: cannot listen at ${f.proto} ${f.host}:${f.port}: ${listenProblem(e as NodeJS.ErrnoException, null)}`, { cause: e });
    }
  }

  /** Connections and flows that are open. */
  get usage(): { tcp: number; udp: number } {
    return { tcp: this.tcp.size, udp: this.udp.size };
  }

  /** Where the guest's traffic for an address goes on the host; null: nowhere. */
  private hostAddress(ip: number): string | null {
    const a = this.addresses;
    if (this.restrict) return null;
    if (isIpv6(ip)) return Ipv6.hostAddress(ip, this.link.ipv6);
    if (ip === a.host || ip === a.dns) return '127.0.0.1';
    // The rest of the network, loopback, multicast and reserved addresses are not there.
    if ((ip & a.mask) >>> 0 === a.network || ip >>> 24 === 127 || ip >>> 24 === 0 || ip >>> 28 >= 14) return null;
    return ipText(ip);
  }

  transmit(frame: Uint8Array, _info: Readonly<FrameInfo>): void {
    if (frame.length < ETH_HEADER) return;
    this.link.guestMac.set(frame.subarray(6, 12));
    // Whatever it leads to: Node opens connections, sends datagrams and writes what has gathered only in the loop's turn.
    this.idleTurn();
    const type = be16(frame, 12);
    if (type === EtherType.ARP) this.arp(frame);
    else if (type === EtherType.IPV4) this.ipv4(frame);
    else if (type === EtherType.IPV6) this.ipv6.input(frame, this.packet);
  }

  flush(): void {
    this.tcp.flush();
  }

  room(): void {
    if (!this.queue.congested) return;
    this.queue.room();
    if (!this.queue.congested) this.tcp.room();
  }

  /** RFC 826: the router and the name server are there, nobody else. */
  private arp(f: Uint8Array): void {
    const at = ETH_HEADER;
    if (f.length < at + ARP_BYTES || be16(f, at) !== 1 || be16(f, at + 2) !== EtherType.IPV4 || be16(f, at + 6) !== 1) return;
    const target = be32(f, at + 24);
    if (target !== this.addresses.host && target !== this.addresses.dns) return;
    const r = this.link.buffer;
    put16(r, at, 1);
    put16(r, at + 2, EtherType.IPV4);
    r[at + 4] = 6;
    r[at + 5] = 4;
    put16(r, at + 6, 2);
    r.set(macOf(target), at + 8);
    put32(r, at + 14, target);
    r.set(f.subarray(at + 8, at + 18), at + 18);
    this.link.sendArp(target, ARP_BYTES);
  }

  private ipv4(f: Uint8Array): void {
    const ip = ETH_HEADER;
    if (f.length < ip + IP_HEADER || f[ip]! >>> 4 !== 4) return;
    const header = (f[ip]! & 15) * 4;
    const total = be16(f, ip + 2);
    // A card that leaves segmentation to us may send packets whose total length does not fit: 0 means the whole frame.
    const end = total === 0 ? f.length : ip + total;
    if (header < IP_HEADER || end < ip + header || end > f.length) return;
    const p = this.packet;
    p.b = f;
    p.ip = ip;
    p.start = ip + header;
    p.end = end;
    p.src = be32(f, ip + 12);
    p.dst = be32(f, ip + 16);
    // Numbers that IPv6 addresses have here.
    if (isIpv6(p.src) || isIpv6(p.dst)) return;
    if ((be16(f, ip + 6) & 0x3fff) !== 0) {
      const whole = this.fragments.add(p);
      if (whole === null) return;
      p.b = whole;
      p.ip = 0;
      p.start = IP_HEADER;
      p.end = whole.length;
    }
    this.dispatch(p, f[ip + 9]!);
  }

  private dispatch(p: Packet, proto: number): void {
    switch (proto) {
      case IpProto.TCP:
        this.tcp.input(p);
        break;
      case IpProto.UDP:
        this.udp.input(p, (port) => this.service(p, port));
        break;
      case IpProto.ICMP:
        this.icmp(p);
        break;
    }
  }

  private service(p: Packet, port: number): UdpService | null {
    const a = this.addresses;
    if (port === DHCP_SERVER_PORT && (p.dst === BROADCAST || p.dst === a.host)) return (data) => this.bootp(data);
    if (port === DNS_PORT && (p.dst === a.dns || p.dst === (Own.DNS as number)) && !this.restrict) {
      return (data, q, srcPort) => {
        const { src: guest, dst: server } = q;
        this.dns.handle(data, (m) => this.link.sendUdp(server, DNS_PORT, guest, srcPort, m));
      };
    }
    // Broadcasts and multicasts have no other listeners.
    if (p.dst === BROADCAST || p.dst === (a.network | ~a.mask) >>> 0 || p.dst >>> 28 === 14) return () => {};
    return null;
  }

  private bootp(data: Uint8Array): void {
    const r = this.dhcp.handle(data);
    if (r === null) return;
    this.link.sendUdp(this.addresses.host, DHCP_SERVER_PORT, r.broadcast ? BROADCAST : r.address, DHCP_CLIENT_PORT, r.data);
  }

  /** Echo (RFC 792) of the router and the name server. */
  private icmp(p: Packet): void {
    const { b, start, end } = p;
    const n = end - start;
    if (n < 8 || b[start] !== 8) return;
    if (p.dst !== this.addresses.host && p.dst !== this.addresses.dns) {
      this.link.sendUnreachable(p, 'host');
      return;
    }
    const r = this.link.buffer;
    r.set(b.subarray(start, end), Link.PAYLOAD);
    r[Link.PAYLOAD] = 0;
    put16(r, Link.PAYLOAD + 2, 0);
    this.link.sendIp(IpProto.ICMP, p.dst, p.src, n);
  }

  close(): void {
    this.queue.clear();
    this.fragments.clear();
    this.tcp.close();
    this.udp.close();
    this.dns.close();
  }
}
