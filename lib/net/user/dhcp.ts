/** DHCP server (RFC 2131, 2132; BOOTP clients too) for the one network it is on. Leases are remembered by hardware address. */
import { be16, be32, put32 } from '../packet.js';
import type { UserAddresses } from './link.js';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

/** Offsets in the message. */
const enum At { OP = 0, HTYPE = 1, HLEN = 2, XID = 4, FLAGS = 10, CIADDR = 12, YIADDR = 16, SIADDR = 20, CHADDR = 28, COOKIE = 236, OPTIONS = 240 }
const COOKIE = 0x63825363;
const enum Opt { PAD = 0, MASK = 1, ROUTER = 3, DNS = 6, HOSTNAME = 12, MTU = 26, REQUESTED = 50, LEASE = 51, TYPE = 53, SERVER = 54, END = 255 }
const enum Msg { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6, INFORM = 8 }
const LEASE_SECONDS = 86400;
/** Addresses to give out. */
const POOL = 16;
const MAX_OPTIONS = 312;

export interface DhcpReply {
  data: Uint8Array;
  /** Where it goes: the address offered, or broadcast. */
  broadcast: boolean;
  address: number;
}

export class DhcpServer {
  /** Hardware addresses in the order they came; the index is that of the address. */
  private readonly leases: string[] = [];

  constructor(
    private readonly a: Readonly<UserAddresses>,
    private readonly hostname: string | null,
  ) {}

  private addressOf(mac: string): number | null {
    let i = this.leases.indexOf(mac);
    if (i < 0) {
      if (this.leases.length >= POOL) return null;
      i = this.leases.push(mac) - 1;
    }
    return this.a.guest + i;
  }

  /** @returns null if the message asks for nothing, or is none. */
  handle(m: Uint8Array): DhcpReply | null {
    if (m.length < At.OPTIONS || m[At.OP] !== 1 || m[At.HTYPE] !== 1 || m[At.HLEN] !== 6 || be32(m, At.COOKIE) !== COOKIE) return null;
    const mac = Buffer.from(m.subarray(At.CHADDR, At.CHADDR + 6)).toString('hex');
    let type = 0;
    let requested = be32(m, At.CIADDR);
    let server = 0;
    for (let at = At.OPTIONS; at < m.length && m[at] !== Opt.END; ) {
      if (m[at] === Opt.PAD) {
        at++;
        continue;
      }
      const length: number = m[at + 1] ?? 0;
      const data: number = at + 2;
      if (data + length > m.length) break;
      if (m[at] === Opt.TYPE && length === 1) type = m[data]!;
      else if (m[at] === Opt.REQUESTED && length === 4) requested = be32(m, data);
      else if (m[at] === Opt.SERVER && length === 4) server = be32(m, data);
      at = data + length;
    }
    if (server !== 0 && server !== this.a.host) return null;
    const mine = this.addressOf(mac);
    if (mine === null) return null;
    switch (type) {
      case 0:
        return this.reply(m, 0, mine);
      case Msg.DISCOVER:
        return this.reply(m, Msg.OFFER, mine);
      case Msg.REQUEST:
        return requested !== 0 && requested !== mine ? this.reply(m, Msg.NAK, 0) : this.reply(m, Msg.ACK, mine);
      case Msg.INFORM:
        return this.reply(m, Msg.ACK, 0);
      default:
        return null;
    }
  }

  private reply(m: Uint8Array, type: number, address: number): DhcpReply {
    const r = new Uint8Array(At.OPTIONS + MAX_OPTIONS);
    r.set(m.subarray(0, At.CIADDR));
    r[At.OP] = 2;
    r.set(m.subarray(At.CIADDR, At.YIADDR), At.CIADDR);
    put32(r, At.YIADDR, address);
    put32(r, At.SIADDR, this.a.host);
    r.set(m.subarray(At.CHADDR, At.CHADDR + 16), At.CHADDR);
    put32(r, At.COOKIE, COOKIE);
    let at = At.OPTIONS as number;
    const option = (code: Opt, bytes: readonly number[] | Uint8Array): void => {
      r[at] = code;
      r[at + 1] = bytes.length;
      r.set(bytes, at + 2);
      at += 2 + bytes.length;
    };
    const address4 = (v: number): number[] => [v >>> 24, (v >>> 16) & 255, (v >>> 8) & 255, v & 255];
    if (type !== 0) {
      option(Opt.TYPE, [type]);
      option(Opt.SERVER, address4(this.a.host));
    }
    if (type !== Msg.NAK) {
      option(Opt.MASK, address4(this.a.mask));
      option(Opt.ROUTER, address4(this.a.host));
      option(Opt.DNS, address4(this.a.dns));
      option(Opt.LEASE, address4(LEASE_SECONDS));
      if (this.hostname !== null) option(Opt.HOSTNAME, Buffer.from(this.hostname, 'latin1').subarray(0, 63));
    }
    r[at++] = Opt.END;
    const broadcast = type === Msg.NAK || (be16(m, At.FLAGS) & 0x8000) !== 0 || be32(m, At.CIADDR) === 0;
    return { data: r.subarray(0, Math.max(at, 300)), broadcast, address };
  }
}
