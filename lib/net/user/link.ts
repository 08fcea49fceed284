/** The user network's side of the cable: addresses, and packets to the guest. */
import { ETH_HEADER, EtherType, foldSum, IP_HEADER, IPV6_HEADER, IpProto, MAX_FRAME, MTU, pseudoSum, put16, sumBytes, UDP_HEADER, writeIpv4 } from '../packet.js';
import type { FrameQueue, FrameInfo } from '../port.js';
import { Ipv6Addresses, isIpv6, Own } from './ipv6-addresses.js';

/** Addresses as 32-bit numbers. The defaults are those of other user-mode networks, so that habits and scripts work. */
export interface UserAddresses {
  network: number;
  mask: number;
  /** The host, as the guest sees it, and its router. */
  host: number;
  dns: number;
  /** First address given out by DHCP. */
  guest: number;
}

export const DEFAULT_ADDRESSES: Readonly<UserAddresses> = { network: 0x0a000200, mask: 0xffffff00, host: 0x0a000202, dns: 0x0a000203, guest: 0x0a00020f };

/** Locally administered; its last four bytes are the address it belongs to. */
export function macOf(ip: number): Uint8Array {
  return Uint8Array.of(0x52, 0x55, ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255);
}

/** An IPv4 or IPv6 packet from the guest; IPv6 addresses are numbers of `Ipv6Addresses`. Offsets are into `b`; everything between them has been checked to be there. */
export interface Packet {
  b: Uint8Array;
  src: number;
  dst: number;
  /** Offset of the IP header. */
  ip: number;
  /** Transport header and data: [start, end). */
  start: number;
  end: number;
}

/** Offset of the checksum in a transport header. */
const checksumAt = (proto: IpProto): number => (proto === IpProto.TCP ? 16 : proto === IpProto.UDP ? 6 : 2);

export class Link {
  /** The guest's hardware address, from the last frame it sent. */
  readonly guestMac = new Uint8Array(6).fill(0xff);
  readonly ipv6 = new Ipv6Addresses();
  private readonly frame = new Uint8Array(ETH_HEADER + IPV6_HEADER + 65535);
  private readonly info: FrameInfo = { gsoSize: 0, noChecksum: false };
  private nextId = 1;

  constructor(
    readonly queue: FrameQueue,
    readonly addresses: Readonly<UserAddresses>,
  ) {}

  /** Where a packet's transport header goes in `buffer`. */
  static readonly PAYLOAD = ETH_HEADER + IPV6_HEADER;

  /** Scratch for the next packet: fill it from Link.PAYLOAD on, then call `sendIp`. */
  get buffer(): Uint8Array {
    return this.frame;
  }

  private ethernet(at: number, src: number, type: EtherType): void {
    this.frame.set(this.guestMac, at);
    this.frame.set(macOf(src), at + 6);
    put16(this.frame, at + 12, type);
  }

  /** Sends what stands at [ETH_HEADER, ETH_HEADER + length) as an ARP packet. */
  sendArp(src: number, length: number): void {
    this.ethernet(0, src, EtherType.ARP);
    this.info.gsoSize = 0;
    this.info.noChecksum = false;
    this.queue.send(this.frame.subarray(0, ETH_HEADER + length), this.info);
  }

  /**
   * Sends the transport segment of `length` bytes that stands in `buffer` at Link.PAYLOAD, its checksum field zero. Longer ones than
   * the MTU are fragmented, or left to the card if gsoSize is not 0. IPv6 ones longer than that are lost.
   */
  sendIp(proto: IpProto, src: number, dst: number, length: number, gsoSize = 0): void {
    if (isIpv6(dst)) {
      this.sendIpv6(proto, src, dst, length);
      return;
    }
    const f = this.frame;
    const at = Link.PAYLOAD;
    const ip = at - IP_HEADER;
    const first = ip - ETH_HEADER;
    const id = (this.nextId = (this.nextId + 1) & 0xffff);
    this.ethernet(first, src, EtherType.IPV4);
    writeIpv4(f, ip, { total: IP_HEADER + length, id, proto, src, dst });
    const free = proto !== IpProto.ICMP && this.queue.abilities.checksumFree;
    if (free) put16(f, at + checksumAt(proto), ~foldSum(pseudoSum(f, ip, proto, length)) & 0xffff);
    else this.checksum(f, at, proto, length);
    this.info.noChecksum = free;
    this.info.gsoSize = gsoSize;
    if (IP_HEADER + length <= MTU || gsoSize > 0) {
      this.queue.send(f.subarray(first, at + length), this.info);
      return;
    }
    // Fragments carry no transport header a card could complete.
    if (free) {
      put16(f, at + checksumAt(proto), 0);
      this.checksum(f, at, proto, length);
    }
    this.info.noChecksum = false;
    const piece = (MTU - IP_HEADER) & ~7;
    const out = new Uint8Array(MAX_FRAME);
    out.set(f.subarray(first, ip));
    for (let done = 0; done < length; done += piece) {
      const n = Math.min(piece, length - done);
      const more = done + n < length ? 0x2000 : 0;
      writeIpv4(out, ETH_HEADER, { total: IP_HEADER + n, id, proto, src, dst, fragment: more | (done >>> 3) });
      out.set(f.subarray(at + done, at + done + n), ETH_HEADER + IP_HEADER);
      this.queue.send(out.subarray(0, ETH_HEADER + IP_HEADER + n), this.info);
    }
  }

  private sendIpv6(proto: IpProto, src: number, dst: number, length: number): void {
    const f = this.frame;
    const at = Link.PAYLOAD;
    const ip = at - IPV6_HEADER;
    if (IPV6_HEADER + length > MTU) return;
    // Every address of ours is the router's.
    this.ethernet(ip - ETH_HEADER, this.addresses.host, EtherType.IPV6);
    f.fill(0, ip, ip + 4);
    f[ip] = 0x60;
    put16(f, ip + 4, length);
    f[ip + 6] = proto;
    // Neighbour discovery takes nothing that a router may have handed on.
    f[ip + 7] = proto === IpProto.ICMPV6 ? 255 : 64;
    f.set(this.ipv6.bytes(src), ip + 8);
    f.set(this.ipv6.bytes(dst), ip + 24);
    const field = at + (proto === IpProto.ICMPV6 ? 2 : checksumAt(proto));
    put16(f, field, 0);
    // RFC 8200, 8.1.
    const sum = foldSum(sumBytes(f, at, at + length, sumBytes(f, ip + 8, ip + IPV6_HEADER, proto + length)));
    put16(f, field, sum === 0 && proto === IpProto.UDP ? 0xffff : sum);
    this.info.gsoSize = 0;
    this.info.noChecksum = false;
    this.queue.send(f.subarray(ip - ETH_HEADER, at + length), this.info);
  }

  private checksum(f: Uint8Array, at: number, proto: IpProto, length: number): void {
    const pseudo = proto === IpProto.ICMP ? 0 : pseudoSum(f, at - IP_HEADER, proto, length);
    const sum = foldSum(sumBytes(f, at, at + length, pseudo));
    put16(f, at + checksumAt(proto), sum === 0 && proto === IpProto.UDP ? 0xffff : sum);
  }

  /** Sends a UDP datagram of at most 65507 bytes. */
  sendUdp(src: number, srcPort: number, dst: number, dstPort: number, data: Uint8Array): void {
    const f = this.frame;
    const at = Link.PAYLOAD;
    put16(f, at, srcPort);
    put16(f, at + 2, dstPort);
    put16(f, at + 4, UDP_HEADER + data.length);
    put16(f, at + 6, 0);
    f.set(data, at + UDP_HEADER);
    this.sendIp(IpProto.UDP, src, dst, UDP_HEADER + data.length);
  }

  /** ICMP destination unreachable (RFC 792) about a packet of the guest: there is no such host, or it is prohibited. */
  sendUnreachable(p: Packet, why: 'host' | 'prohibited'): void {
    const f = this.frame;
    const at = Link.PAYLOAD;
    f.fill(0, at, at + 8);
    if (isIpv6(p.src)) {
      // RFC 4443, 3.1.
      f[at] = 1;
      f[at + 1] = why === 'host' ? 3 : 1;
      const quoted = p.b.subarray(p.ip, Math.min(p.end, p.start + 8));
      f.set(quoted, at + 8);
      this.sendIp(IpProto.ICMPV6, Own.HOST, p.src, 8 + quoted.length);
      return;
    }
    f[at] = 3;
    f[at + 1] = why === 'host' ? 1 : 13;
    const quoted = p.b.subarray(p.ip, Math.min(p.end, p.start + 8));
    f.set(quoted, at + 8);
    this.sendIp(IpProto.ICMP, this.addresses.host, p.src, 8 + quoted.length);
  }
}
