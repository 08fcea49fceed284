/** IPv6 of the user network: what a guest's own stack needs of it, and the same connections as over IPv4. */
import { createSocket } from 'node:dgram';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { be16, be32, ETH_HEADER, EtherType, foldSum, IpProto, IPV6_HEADER, MAX_FRAME, put16, put32, sumBytes, TCP_HEADER, TcpFlag } from '#lib/net/packet.js';
import { type NicEnd, PLAIN_FRAME } from '#lib/net/port.js';
import { Ipv6Addresses, ipv6Bytes, ipv6Text, isIpv6 } from '#lib/net/user/ipv6-addresses.js';
import { UserNet } from '#lib/net/user/user-net.js';
import { ipv6Frame, udp } from './guest.js';

const GUEST = ipv6Bytes('fec0::5054:ff:fe12:3456');
const HOST = ipv6Bytes('fec0::2');
const DNS = ipv6Bytes('fec0::3');
const ROUTER = ipv6Bytes('fe80::2');
const LOCAL = ipv6Bytes('fe80::5054:ff:fe12:3456');
const ALL_ROUTERS = ipv6Bytes('ff02::2');
const ICMPV6 = IpProto.ICMPV6;

interface Packet {
  next: number;
  hopLimit: number;
  src: string;
  dst: string;
  body: Uint8Array;
}

const sumOf = (src: Uint8Array, dst: Uint8Array, next: number, body: Uint8Array): number => foldSum(sumBytes(body, 0, body.length, sumBytes(src, 0, 16, sumBytes(dst, 0, 16, next + body.length))));

class Guest implements NicEnd {
  readonly abilities = { maxFrame: MAX_FRAME, checksumFree: true };
  readonly packets: Packet[] = [];

  constructor(private readonly net: UserNet) {
    net.attach(this);
  }

  receive(f: Uint8Array): boolean {
    if (be16(f, 12) !== EtherType.IPV6) return true;
    const at = ETH_HEADER;
    const body = f.slice(at + IPV6_HEADER, at + IPV6_HEADER + be16(f, at + 4));
    const [src, dst] = [f.slice(at + 8, at + 24), f.slice(at + 24, at + 40)];
    expect(sumOf(src, dst, f[at + 6]!, body)).toBe(0);
    this.packets.push({ next: f[at + 6]!, hopLimit: f[at + 7]!, src: ipv6Text(src), dst: ipv6Text(dst), body });
    return true;
  }

  send(src: Uint8Array, dst: Uint8Array, next: number, body: Uint8Array, hopLimit?: number): void {
    this.net.transmit(ipv6Frame(src, dst, next, body, hopLimit), PLAIN_FRAME);
    this.net.flush();
  }

  async next(): Promise<Packet> {
    await expect.poll(() => this.packets.length, { timeout: 5000, interval: 10 }).toBeGreaterThan(0);
    return this.packets.shift()!;
  }
}

let net: UserNet;
let guest: Guest;
const closers: (() => void)[] = [];
function start(o: { restrict?: boolean } = {}): void {
  net = new UserNet({ ...o, random: () => 0x1234_5678 });
  guest = new Guest(net);
  const n = net;
  closers.push(() => n.close());
}
beforeEach(() => start());
afterEach(() => closers.splice(0).forEach((c) => c()));

const solicitation = (target: Uint8Array): Uint8Array => Uint8Array.from([135, 0, 0, 0, 0, 0, 0, 0, ...target]);

describe('neighbour discovery', () => {
  it('advertises the router, a prefix and the name server', async () => {
    guest.send(LOCAL, ALL_ROUTERS, ICMPV6, Uint8Array.from([133, 0, 0, 0, 0, 0, 0, 0]));
    const p = await guest.next();
    expect(p).toMatchObject({ next: ICMPV6, hopLimit: 255, src: ipv6Text(ROUTER), dst: 'ff02:0:0:0:0:0:0:1' });
    expect([p.body[0], be16(p.body, 6)]).toEqual([134, 1800]);
    const options = new Map<number, Uint8Array>();
    for (let at = 16; at < p.body.length; at += p.body[at + 1]! * 8) options.set(p.body[at]!, p.body.subarray(at, at + p.body[at + 1]! * 8));
    expect([...options.keys()]).toEqual([1, 5, 3, 25]);
    expect(be32(options.get(5)!, 4)).toBe(1500);
    expect([options.get(3)![2], options.get(3)![3], ipv6Text(options.get(3)!.subarray(16))]).toEqual([64, 0xc0, 'fec0:0:0:0:0:0:0:0']);
    expect(ipv6Text(options.get(25)!.subarray(8))).toBe(ipv6Text(DNS));
  });

  it('finds the router, the host and the name server, and nobody else', async () => {
    for (const target of [HOST, DNS, ROUTER]) {
      guest.send(GUEST, ipv6Bytes(`ff02::1:ff00:${target[15]}`), ICMPV6, solicitation(target));
      const p = await guest.next();
      expect(p).toMatchObject({ next: ICMPV6, hopLimit: 255, src: ipv6Text(target), dst: ipv6Text(GUEST) });
      expect([p.body[0], p.body[4], ipv6Text(p.body.subarray(8, 24)), ...p.body.subarray(24, 26)]).toEqual([136, 0xe0, ipv6Text(target), 2, 1]);
    }
    guest.send(GUEST, ipv6Bytes('ff02::1:ff12:3456'), ICMPV6, solicitation(GUEST));
    // A router may have handed it on.
    guest.send(GUEST, ipv6Bytes('ff02::1:ff00:2'), ICMPV6, solicitation(HOST), 64);
    expect(guest.packets).toEqual([]);
    // Somebody looks whether the address is free: everybody is told that it is not.
    guest.send(new Uint8Array(16), ipv6Bytes('ff02::1:ff00:2'), ICMPV6, solicitation(HOST));
    const p = await guest.next();
    expect([p.dst, p.body[4]]).toEqual(['ff02:0:0:0:0:0:0:1', 0xa0]);
  });

  it('answers echo', async () => {
    guest.send(GUEST, HOST, ICMPV6, Uint8Array.from([128, 0, 0, 0, 1, 2, 3, 4, 5]));
    const p = await guest.next();
    expect([p.src, p.body[0], ...p.body.subarray(4)]).toEqual([ipv6Text(HOST), 129, 1, 2, 3, 4, 5]);
  });
});

describe('transport', () => {
  const tcp = (port: number, seq: number, ack: number, flags: number, data: Uint8Array = new Uint8Array(0)): Uint8Array => {
    const b = new Uint8Array(TCP_HEADER + data.length);
    put16(b, 0, 4321);
    put16(b, 2, port);
    put32(b, 4, seq);
    put32(b, 8, ack);
    b[12] = 5 << 4;
    b[13] = flags;
    put16(b, 14, 65535);
    b.set(data, TCP_HEADER);
    return b;
  };

  it('carries a conversation over TCP to ::1', async () => {
    const got: Buffer[] = [];
    const server = createServer((s) => {
      s.on('data', (d) => {
        got.push(d);
        s.end('good bye');
      });
      s.on('error', () => s.destroy());
    });
    await new Promise<void>((r) => server.listen(0, '::1', r));
    closers.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    guest.send(GUEST, HOST, IpProto.TCP, tcp(port, 100, 0, TcpFlag.SYN));
    let p = await guest.next();
    expect(p.body[13]).toBe(TcpFlag.SYN | TcpFlag.ACK);
    const ack = (be32(p.body, 4) + 1) >>> 0;
    guest.send(GUEST, HOST, IpProto.TCP, tcp(port, 101, ack, TcpFlag.ACK | TcpFlag.PSH, Buffer.from('hello')));
    do p = await guest.next();
    while (p.body.length === TCP_HEADER);
    expect([p.src, p.dst, Buffer.from(p.body.subarray(TCP_HEADER)).toString()]).toEqual([ipv6Text(HOST), ipv6Text(GUEST), 'good bye']);
    expect(Buffer.concat(got).toString()).toBe('hello');
    expect(net.usage.tcp).toBe(1);
    if ((p.body[13]! & TcpFlag.FIN) === 0) expect((await guest.next()).body[13]! & TcpFlag.FIN).toBe(TcpFlag.FIN);
    guest.send(GUEST, HOST, IpProto.TCP, tcp(port, 106, (ack + 9) >>> 0, TcpFlag.ACK | TcpFlag.FIN));
    await expect.poll(() => net.usage.tcp).toBe(0);
  });

  it('carries datagrams to ::1 and names', async () => {
    const echo = createSocket('udp6', (m, from) => echo.send(`echo ${m.toString()}`, from.port, from.address));
    await new Promise<void>((r) => echo.bind(0, '::1', r));
    closers.push(() => echo.close());
    guest.send(GUEST, HOST, IpProto.UDP, udp(1000, echo.address().port, Buffer.from('one')));
    const p = await guest.next();
    expect([p.src, Buffer.from(p.body.subarray(8)).toString()]).toEqual([ipv6Text(HOST), 'echo one']);
    guest.send(GUEST, DNS, IpProto.UDP, udp(1001, 53, Uint8Array.from([7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, ...Buffer.from('localhost'), 0, 0, 1, 0, 1])));
    const answer = await guest.next();
    expect([answer.src, be16(answer.body, 2), ...answer.body.subarray(-4)]).toEqual([ipv6Text(DNS), 1001, 127, 0, 0, 1]);
  });

  it('reaches no loopback address in disguise, and nothing at all if restricted', async () => {
    const server = createServer((s) => s.destroy());
    await new Promise<void>((r) => server.listen(0, '127.0.0.1', r));
    closers.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    for (const to of ['::ffff:127.0.0.1', '::127.0.0.1', '::1', '::', 'fe80::1', 'fec0::9']) {
      guest.send(GUEST, ipv6Bytes(to), IpProto.TCP, tcp(port, 100, 0, TcpFlag.SYN));
      expect((await guest.next()).body[13]! & TcpFlag.RST).toBe(TcpFlag.RST);
    }
    start({ restrict: true });
    guest.send(GUEST, HOST, IpProto.TCP, tcp(port, 100, 0, TcpFlag.SYN));
    expect((await guest.next()).body[13]! & TcpFlag.RST).toBe(TcpFlag.RST);
    guest.send(GUEST, HOST, IpProto.UDP, udp(1, 2, Buffer.from('x')));
    expect((await guest.next()).body.subarray(0, 2)).toEqual(Uint8Array.of(1, 1));
  });
});

describe('addresses', () => {
  it('have numbers, and the last ones used keep theirs', () => {
    const a = new Ipv6Addresses();
    const mine = a.number(GUEST);
    expect(isIpv6(mine)).toBe(true);
    const other = new Uint8Array(16).fill(0x20);
    for (let i = 0; i < 10_000; i++) {
      put32(other, 12, i);
      const n = a.number(other);
      expect(Buffer.from(a.bytes(n)).equals(other)).toBe(true);
      if (i % 100 === 0) expect(a.number(GUEST)).toBe(mine);
    }
    expect(a.number(GUEST)).toBe(mine);
    expect(ipv6Text(a.bytes(a.number(HOST)))).toBe('fec0:0:0:0:0:0:0:2');
    expect(a.number(other) - a.number(HOST)).toBeLessThan(4096);
  });

  it('are read and written', () => {
    for (const [text, want] of [['::1', '0:0:0:0:0:0:0:1'], ['1::', '1:0:0:0:0:0:0:0'], ['fe80::a%eth0', 'fe80:0:0:0:0:0:0:a'], ['::ffff:1.2.3.4', '0:0:0:0:0:ffff:102:304'], ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8']]) expect(ipv6Text(ipv6Bytes(text!))).toBe(want);
  });
});
