/**
 * The user network under damaged frames: ARP, DHCP, DNS, echo, UDP, TCP with options and segments out of any order, fragments. Nothing throws, and
 * what it keeps for the guest stays bounded. VMX_FUZZ_MESSAGES makes it as long as one likes (`node bench/fuzz-protocols.mjs`).
 */
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ETH_HEADER, foldSum, IP_HEADER, IPV6_HEADER, IpProto, pseudoSum, put16, put32, sumBytes, TCP_HEADER, UDP_HEADER, writeIpv4 } from '#lib/net/packet.js';
import { ipv6Bytes } from '#lib/net/user/ipv6-addresses.js';
import { UserNet } from '#lib/net/user/user-net.js';
import { randomFrom } from '../devices/fuzz.js';
import { DNS, GUEST, HOST, ipv6Frame, TestGuest } from './guest.js';

const MESSAGES = Number(process.env.VMX_FUZZ_MESSAGES ?? 4000);
const SEED = Number(process.env.VMX_FUZZ_SEED ?? 1);
/** Connections and flows that a guest may have; see lib/net/user. */
const MAX_OPEN = 5000;

const sockets: { destroy(): void }[] = [];
afterEach(() => {
  for (const s of sockets.splice(0)) s.destroy();
});

/** More than the garbage of a thousand frames and the windows of all connections, bytes. */
const HEAP_GROWTH = 512 << 20;

function bounded(net: UserNet, before: number): void {
  expect(net.usage.tcp + net.usage.udp).toBeLessThan(MAX_OPEN);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(HEAP_GROWTH);
}

/** Checksums are made right, so that what is behind them is reached. */
function seal(f: Uint8Array): void {
  const end = Math.min(f.length, ETH_HEADER + ((f[16]! << 8) | f[17]!));
  const start = ETH_HEADER + IP_HEADER;
  put16(f, ETH_HEADER + 10, 0);
  put16(f, ETH_HEADER + 10, foldSum(sumBytes(f, ETH_HEADER, start)));
  const proto = f[ETH_HEADER + 9]!;
  const at = proto === IpProto.TCP ? 16 : proto === IpProto.UDP ? 6 : proto === IpProto.ICMP ? 2 : -1;
  if (at < 0 || start + at + 2 > end) return;
  put16(f, start + at, 0);
  put16(f, start + at, foldSum(sumBytes(f, start, end, proto === IpProto.ICMP ? 0 : pseudoSum(f, ETH_HEADER, proto, end - start))));
}

describe('damaged frames', () => {
  it('leave the user network as it was', async () => {
    const random = randomFrom(SEED);
    const before = process.memoryUsage().heapUsed;
    const server = createServer((s) => {
      sockets.push(s);
      s.on('error', () => s.destroy());
      s.write('hello');
    });
    await new Promise<void>((r) => server.listen(0, '127.0.0.1', r));
    sockets.push({ destroy: () => server.close() });
    const port = (server.address() as AddressInfo).port;
    const net = new UserNet({ hostname: 'guest', random });
    const guest = new TestGuest(net);
    const forwarded = await net.forward({ proto: 'tcp', host: '127.0.0.1', port: 0, guest: null, guestPort: 22 });
    const frameOf = (proto: number, dst: number, body: Uint8Array): Uint8Array => {
      const f = new Uint8Array(ETH_HEADER + IP_HEADER + body.length);
      f.fill(0xff, 0, 6);
      f.set([0x52, 0x54, 0, 0x12, 0x34, 0x56], 6);
      put16(f, 12, 0x0800);
      writeIpv4(f, ETH_HEADER, { total: IP_HEADER + body.length, id: random() & 0xffff, proto, src: GUEST, dst, fragment: random() % 8 === 0 ? random() & 0x3fff : 0x4000 });
      f.set(body, ETH_HEADER + IP_HEADER);
      return f;
    };
    const udp = (src: number, dst: number, data: Uint8Array): Uint8Array => {
      const b = new Uint8Array(UDP_HEADER + data.length);
      put16(b, 0, src);
      put16(b, 2, dst);
      put16(b, 4, b.length);
      b.set(data, UDP_HEADER);
      return b;
    };
    const tcp = (src: number, dst: number): Uint8Array => {
      const options = random() & 3 ? [] : [2, 4, 5, 0xb4, 3, 3, random() & 15, 1];
      const data = random() % 64;
      const b = new Uint8Array(TCP_HEADER + options.length + data);
      put16(b, 0, src);
      put16(b, 2, dst);
      put32(b, 4, random() & 1 ? 1000 : random());
      put32(b, 8, random());
      b[12] = ((TCP_HEADER + options.length) >> 2) << 4;
      b[13] = [0x02, 0x10, 0x18, 0x11, 0x04, random() & 0x3f][random() % 6]!;
      put16(b, 14, random());
      b.set(options, TCP_HEADER);
      return b;
    };
    const dhcp = (): Uint8Array => {
      const b = new Uint8Array(300);
      b.set([1, 1, 6, 0, 1, 2, 3, 4]);
      b.set([0x52, 0x54, 0, 0x12, 0x34, 0x56], 28);
      b.set([0x63, 0x82, 0x53, 0x63, 53, 1, [1, 3, 7, 8][random() & 3]!, 50, 4, 10, 0, 2, 15, 12, 3, 97, 98, 99, 55, 3, 1, 3, 6, 255], 236);
      return b;
    };
    const dns = (): Uint8Array => Uint8Array.from([random(), random(), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, ...Buffer.from('localhost'), 0, 0, [1, 28, 16, 12][random() & 3]!, 0, 1]);
    const make = (): Uint8Array => {
      switch (random() % 8) {
        case 0: {
          const f = new Uint8Array(42);
          f.fill(0xff, 0, 6);
          f.set([0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2], 6);
          return f;
        }
        case 1:
          return frameOf(IpProto.ICMP, [HOST, DNS][random() & 1]!, Uint8Array.from([8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]));
        case 2:
          return frameOf(IpProto.UDP, 0xffff_ffff, udp(68, 67, dhcp()));
        case 3:
          return frameOf(IpProto.UDP, DNS, udp(1024 + (random() % 64), 53, dns()));
        case 4:
          return frameOf(IpProto.TCP, HOST, tcp(22, forwarded));
        default:
          return frameOf(IpProto.TCP, HOST, tcp(40_000 + (random() % 64), port));
      }
    };
    for (let sent = 0; sent < MESSAGES; sent++) {
      const f = make();
      for (let n = random() % 4; n > 0; n--) {
        // Source and destination stay: what is behind them is looked for, not other hosts. So do protocol and ports.
        const at = ETH_HEADER + (random() % (f.length - ETH_HEADER));
        const port = at >= ETH_HEADER + IP_HEADER && at < ETH_HEADER + IP_HEADER + 4;
        if (port || at === ETH_HEADER + 9 || (at >= ETH_HEADER + 12 && at < ETH_HEADER + IP_HEADER)) continue;
        f[at] = random();
      }
      // A header length of its own would move the ports.
      if (f[12] === 8 && f[13] === 0 && random() % 8 !== 0) f[ETH_HEADER] = 0x45;
      const whole = f[ETH_HEADER] === 0x45 && random() % 16 !== 0;
      if (whole && f[13] === 0) seal(f);
      guest.send(random() % 32 === 0 ? f.subarray(0, ETH_HEADER + (random() % (f.length - ETH_HEADER))) : f);
      guest.full = random() % 64 === 0;
      guest.frames.length = 0;
      if (random() % 200 === 0) {
        const s = connect(forwarded, '127.0.0.1');
        s.on('error', () => s.destroy());
        sockets.push(s);
        if (sockets.length > 100) sockets.splice(1, 50).forEach((x) => x.destroy());
      }
      if (sent % 64 === 0) await new Promise((r) => setImmediate(r));
      if (sent % 1024 === 0) bounded(net, before);
    }
    // And it still works.
    guest.full = false;
    net.room();
    guest.frames.length = 0;
    guest.sendIp(IpProto.ICMP, HOST, sealIcmp(Uint8Array.from([8, 0, 0, 0, 0x77, 0x66, 0, 1, 9, 9, 9, 9])));
    expect((await guest.next((r) => r.proto === IpProto.ICMP && r.body[4] === 0x77 && r.body[5] === 0x66)).body[0]).toBe(0);
    net.close();
  }, 0x7fff_0000);

  it('of IPv6 do neither', async () => {
    const random = randomFrom(SEED);
    const before = process.memoryUsage().heapUsed;
    const server = createServer((s) => {
      sockets.push(s);
      s.on('error', () => s.destroy());
      s.write('hello');
    });
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '::1', resolve));
    sockets.push({ destroy: () => server.close() });
    const { port } = server.address() as AddressInfo;
    const net = new UserNet({ random });
    const guest = new TestGuest(net);
    const [host, dns, router, nodes] = ['fec0::2', 'fec0::3', 'fe80::2', 'ff02::1'].map(ipv6Bytes) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const self = ipv6Bytes('fec0::5054:ff:fe12:3456');
    const make = (): Uint8Array => {
      const src = random() % 8 === 0 ? ipv6Bytes(`fec0::${(random() & 0xffff).toString(16)}`) : self;
      switch (random() % 6) {
        case 0:
          return ipv6Frame(src, nodes, IpProto.ICMPV6, Uint8Array.from([133, 0, 0, 0, 0, 0, 0, 0]));
        case 1:
          return ipv6Frame(random() & 1 ? src : new Uint8Array(16), nodes, IpProto.ICMPV6, Uint8Array.from([135, 0, 0, 0, 0, 0, 0, 0, ...[host, dns, router, self][random() & 3]!, 1, 1, 1, 2, 3, 4, 5, 6]));
        case 2:
          return ipv6Frame(src, [host, dns, router][random() % 3]!, IpProto.ICMPV6, Uint8Array.from([128, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]));
        case 3: {
          // Extension headers in a row, with lengths that may lie.
          const headers = Array.from({ length: random() % 7 }, () => [[0, 60, 43, 44, 59][random() % 5]!, random() % 4 === 0 ? random() & 255 : 0, 1, 4, 0, 0, 0, 0]).flat();
          return ipv6Frame(src, host, 0, Uint8Array.from([...headers, IpProto.ICMPV6, 0, 1, 4, 0, 0, 0, 0, 128, 0, 0, 0, 1, 2, 3, 4]));
        }
        case 4: {
          const query = [random(), random(), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, ...Buffer.from('localhost'), 0, 0, 1, 0, 1];
          const b = new Uint8Array(UDP_HEADER + query.length);
          put16(b, 0, 1024 + (random() % 64));
          put16(b, 2, 53);
          put16(b, 4, b.length);
          b.set(query, UDP_HEADER);
          return ipv6Frame(src, dns, IpProto.UDP, b);
        }
        default: {
          const b = new Uint8Array(TCP_HEADER + (random() % 64));
          put16(b, 0, 40_000 + (random() % 64));
          put16(b, 2, port);
          put32(b, 4, random() & 1 ? 1000 : random());
          put32(b, 8, random());
          b[12] = 5 << 4;
          b[13] = [0x02, 0x10, 0x18, 0x11, 0x04, random() & 0x3f][random() % 6]!;
          put16(b, 14, random());
          return ipv6Frame(src, host, IpProto.TCP, b);
        }
      }
    };
    const ports = ETH_HEADER + IPV6_HEADER;
    for (let sent = 0; sent < MESSAGES; sent++) {
      const f = make();
      for (let n = random() % 4; n > 0; n--) {
        // Destinations and ports stay, as above; so does what follows, for a TCP segment read as UDP has ports, too.
        const at = ETH_HEADER + (random() % (f.length - ETH_HEADER));
        if (at !== ETH_HEADER + 6 && (at < ETH_HEADER + 24 || at >= ports + 4)) f[at] = random();
      }
      guest.send(random() % 32 === 0 ? f.subarray(0, ETH_HEADER + (random() % (f.length - ETH_HEADER))) : f);
      guest.full = random() % 64 === 0;
      guest.frames.length = 0;
      if (sent % 64 === 0) await new Promise((r) => setImmediate(r));
      if (sent % 1024 === 0) bounded(net, before);
    }
    // And it still works.
    guest.full = false;
    net.room();
    guest.frames.length = 0;
    guest.send(ipv6Frame(self, host, IpProto.ICMPV6, Uint8Array.from([128, 0, 0, 0, 9, 9, 9, 9])));
    expect(guest.frames.at(-1)?.subarray(ports).at(0)).toBe(129);
    net.close();
  }, 0x7fff_0000);
});

function sealIcmp(b: Uint8Array): Uint8Array {
  put16(b, 2, foldSum(sumBytes(b, 0, b.length)));
  return b;
}
