/**
 * IPv6 of the user network (RFC 8200): neighbour discovery and router advertisements (RFC 4861, 4862; the name server by RFC 8106), echo (RFC 4443).
 * TCP and UDP are those of IPv4, with numbers for addresses. Fragments are dropped, and packets with extension headers that only routers
 * and fragments need.
 */
import { be16, ETH_HEADER, IPV6_HEADER, IpProto, MTU, put16, put32 } from '../packet.js';
import { ADDRESS_BYTES, type Ipv6Addresses, ipv6Text, Own, PREFIX, PREFIX_BITS } from './ipv6-addresses.js';
import { Link, macOf, type Packet } from './link.js';

/** ICMPv6 message types. */
const enum Icmp {
  ECHO_REQUEST = 128,
  ECHO_REPLY = 129,
  ROUTER_SOLICITATION = 133,
  ROUTER_ADVERTISEMENT = 134,
  NEIGHBOR_SOLICITATION = 135,
  NEIGHBOR_ADVERTISEMENT = 136,
}
/** Options of neighbour discovery. */
const enum Option {
  SOURCE_LINK = 1,
  TARGET_LINK = 2,
  PREFIX = 3,
  MTU = 5,
  RDNSS = 25,
}
/** Extension headers. */
const HOP_BY_HOP = 0;
const DESTINATION_OPTIONS = 60;
const MAX_EXTENSIONS = 4;
/** Messages of neighbour discovery come with it: no router has handed them on. */
const HOP_LIMIT = 255;
const ROUTER_SECONDS = 1800;
const VALID_SECONDS = 86_400;
const PREFERRED_SECONDS = 14_400;
const SOLICITED = 0x40;
const ROUTER_AND_OVERRIDE = 0xa0;

export class Ipv6 {
  constructor(
    private readonly link: Link,
    private readonly addresses: Ipv6Addresses,
    /** TCP and UDP. */
    private readonly transport: (p: Packet, proto: number) => void,
  ) {}

  /** A frame from the guest. `p` is filled in. */
  input(f: Uint8Array, p: Packet): void {
    const at = ETH_HEADER;
    if (f.length < at + IPV6_HEADER || f[at]! >>> 4 !== 6) return;
    const end = at + IPV6_HEADER + be16(f, at + 4);
    if (end > f.length || f[at + 8] === 0xff) return;
    let next = f[at + 6]!;
    let start = at + IPV6_HEADER;
    for (let n = 0; next === HOP_BY_HOP || next === DESTINATION_OPTIONS; n++) {
      if (n === MAX_EXTENSIONS || start + 8 > end) return;
      next = f[start]!;
      start += (f[start + 1]! + 1) * 8;
    }
    if (start > end) return;
    const multicast = f[at + 24] === 0xff;
    p.b = f;
    p.ip = at;
    p.start = start;
    p.end = end;
    if (next === IpProto.ICMPV6) {
      this.icmp(p, f[at + 7]!, multicast);
      return;
    }
    if (next !== IpProto.TCP && next !== IpProto.UDP) return;
    // Nobody here listens to groups, and nobody is answered who has no address.
    if (multicast || isZero(f, at + 8)) return;
    p.src = this.addresses.number(f, at + 8);
    p.dst = this.addresses.number(f, at + 24);
    this.transport(p, next);
  }

  /** Address on the host's side; null: nothing there. The rest of our network, loopback, IPv4 in disguise, link-local addresses and groups are not there. */
  static hostAddress(ip: number, addresses: Ipv6Addresses): string | null {
    if (ip === (Own.HOST as number) || ip === (Own.DNS as number)) return '::1';
    const a = addresses.bytes(ip);
    // RFC 4291: ::/8 has loopback, unspecified, mapped and compatible IPv4; FE00::/7 has link-local and site-local addresses and groups.
    return a[0] === 0 || a[0]! >= 0xfe ? null : ipv6Text(a);
  }

  private icmp(p: Packet, hopLimit: number, multicast: boolean): void {
    const { b, start, end } = p;
    const n = end - start;
    if (n < 8) return;
    switch (b[start]) {
      case Icmp.ECHO_REQUEST: {
        const dst = this.own(b, p.ip + 24);
        if (dst === null || multicast || isZero(b, p.ip + 8)) return;
        const r = this.link.buffer;
        r.set(b.subarray(start, end), Link.PAYLOAD);
        r[Link.PAYLOAD] = Icmp.ECHO_REPLY;
        put16(r, Link.PAYLOAD + 2, 0);
        this.link.sendIp(IpProto.ICMPV6, dst, this.addresses.number(b, p.ip + 8), n);
        break;
      }
      case Icmp.ROUTER_SOLICITATION:
        if (hopLimit === HOP_LIMIT) this.advertiseRouter();
        break;
      case Icmp.NEIGHBOR_SOLICITATION: {
        if (hopLimit !== HOP_LIMIT || n < 8 + ADDRESS_BYTES) return;
        const target = this.own(b, start + 8);
        if (target !== null) this.advertiseNeighbor(target, isZero(b, p.ip + 8) ? null : this.addresses.number(b, p.ip + 8));
        break;
      }
    }
  }

  /** The address at `at` if it is the network's own. */
  private own(b: Uint8Array, at: number): number | null {
    // Others get no number: a guest that asks for all of them makes us remember none.
    if (b[at] !== 0xfe || b[at + 15]! > 3) return null;
    const ip = this.addresses.number(b, at);
    return ip <= Own.ROUTER ? ip : null;
  }

  private advertiseRouter(): void {
    const r = this.link.buffer;
    let at = Link.PAYLOAD;
    r.fill(0, at, at + 128);
    r[at] = Icmp.ROUTER_ADVERTISEMENT;
    r[at + 4] = 64;
    put16(r, at + 6, ROUTER_SECONDS);
    at = this.linkOption(at + 16, Option.SOURCE_LINK);
    r[at] = Option.MTU;
    r[at + 1] = 1;
    put32(r, at + 4, MTU);
    at += 8;
    r[at] = Option.PREFIX;
    r[at + 1] = 4;
    r[at + 2] = PREFIX_BITS;
    // On-link, and good for addresses of one's own making.
    r[at + 3] = 0xc0;
    put32(r, at + 4, VALID_SECONDS);
    put32(r, at + 8, PREFERRED_SECONDS);
    r.set(PREFIX, at + 16);
    at += 32;
    r[at] = Option.RDNSS;
    r[at + 1] = 3;
    put32(r, at + 4, ROUTER_SECONDS);
    r.set(this.addresses.bytes(Own.DNS), at + 8);
    at += 24;
    this.link.sendIp(IpProto.ICMPV6, Own.ROUTER, Own.ALL_NODES, at - Link.PAYLOAD);
  }

  /** @param to who asked; null: one that looks whether the address is free. */
  private advertiseNeighbor(target: number, to: number | null): void {
    const r = this.link.buffer;
    const at = Link.PAYLOAD;
    r.fill(0, at, at + 8);
    r[at] = Icmp.NEIGHBOR_ADVERTISEMENT;
    r[at + 4] = ROUTER_AND_OVERRIDE | (to === null ? 0 : SOLICITED);
    r.set(this.addresses.bytes(target), at + 8);
    const end = this.linkOption(at + 8 + ADDRESS_BYTES, Option.TARGET_LINK);
    this.link.sendIp(IpProto.ICMPV6, target, to ?? Own.ALL_NODES, end - at);
  }

  /** @returns the offset behind it. */
  private linkOption(at: number, type: Option): number {
    const r = this.link.buffer;
    r[at] = type;
    r[at + 1] = 1;
    r.set(macOf(this.link.addresses.host), at + 2);
    return at + 8;
  }
}

function isZero(b: Uint8Array, at: number): boolean {
  for (let i = 0; i < ADDRESS_BYTES; i++) if (b[at + i] !== 0) return false;
  return true;
}
