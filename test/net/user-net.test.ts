/** The user network, from the guest's end of the cable to real sockets on the loopback interface. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { be16, be32, ETH_HEADER, IpProto, put16, put32, TcpFlag } from '#lib/net/packet.js';
import { UserNet } from '#lib/net/user/user-net.js';
import { randomFrom } from '../devices/fuzz.js';
import { DNS, GUEST, HOST, ip, TestGuest, udp } from './guest.js';

let net: UserNet;
let guest: TestGuest;
const closers: (() => void)[] = [];

function start(o: { restrict?: boolean } = {}): void {
  net = new UserNet({ ...o, hostname: 'guest', random: () => 0x1234_5678 });
  guest = new TestGuest(net);
  const n = net;
  closers.push(() => n.close());
}

async function server(onSocket: (s: Socket) => void, allowHalfOpen = false): Promise<number> {
  const s: Server = createServer({ allowHalfOpen }, (c) => {
    c.on('error', () => c.destroy());
    onSocket(c);
  });
  await new Promise<void>((r) => s.listen(0, '127.0.0.1', r));
  closers.push(() => s.close());
  return (s.address() as AddressInfo).port;
}

/** Waits for something that other ends of sockets do. */
async function until(what: () => boolean): Promise<void> {
  for (const end = Date.now() + 5000; !what(); await new Promise((r) => setTimeout(r, 5))) if (Date.now() > end) throw new Error('did not happen');
}

beforeEach(() => start());
afterEach(() => {
  for (const c of closers.splice(0)) c();
});

describe('ARP', () => {
  const ask = (target: number): Uint8Array => {
    const f = new Uint8Array(ETH_HEADER + 28);
    f.fill(0xff, 0, 6);
    f.set([0x52, 0x54, 0, 1, 2, 3], 6);
    put16(f, 12, 0x0806);
    f.set([0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 1, 2, 3], ETH_HEADER);
    put32(f, ETH_HEADER + 14, GUEST);
    put32(f, ETH_HEADER + 24, target);
    return f;
  };

  it('finds the router and the name server, and nobody else', () => {
    guest.send(ask(HOST));
    guest.send(ask(DNS));
    guest.send(ask(ip('10.0.2.4')));
    guest.send(ask(GUEST));
    expect(guest.frames.map((f) => be32(f, ETH_HEADER + 14))).toEqual([HOST, DNS]);
    const [f] = guest.frames;
    expect([...f!.subarray(0, 6)]).toEqual([0x52, 0x54, 0, 1, 2, 3]);
    expect(be16(f!, ETH_HEADER + 6)).toBe(2);
    expect(be32(f!, ETH_HEADER + 24)).toBe(GUEST);
  });
});

describe('DHCP', () => {
  const message = (options: readonly number[], mac = 1): Uint8Array => {
    const m = new Uint8Array(300);
    m.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
    m.set([0x52, 0x54, 0, 0, 0, mac], 28);
    put32(m, 236, 0x63825363);
    m.set(options, 240);
    return m;
  };
  const ask = async (options: readonly number[], mac = 1): Promise<{ address: number; options: Map<number, Uint8Array> }> => {
    guest.sendUdp(68, 0xffff_ffff, 67, message(options, mac));
    const { body, dst } = await guest.next((r) => r.proto === IpProto.UDP && be16(r.body, 2) === 68);
    expect(dst).toBe(0xffff_ffff);
    const m = body.subarray(8);
    expect(be32(m, 4)).toBe(0xdeadbeef);
    const found = new Map<number, Uint8Array>();
    for (let at = 240; m[at] !== 255; at += 2 + m[at + 1]!) found.set(m[at]!, m.slice(at + 2, at + 2 + m[at + 1]!));
    return { address: be32(m, 16), options: found };
  };

  it('offers and confirms an address, router, name server and name', async () => {
    const offer = await ask([53, 1, 1, 255]);
    expect(offer.address).toBe(GUEST);
    expect([...offer.options.get(53)!]).toEqual([2]);
    expect(be32(offer.options.get(3)!, 0)).toBe(HOST);
    expect(be32(offer.options.get(6)!, 0)).toBe(DNS);
    expect(be32(offer.options.get(1)!, 0)).toBe(0xffffff00);
    expect(Buffer.from(offer.options.get(12)!).toString()).toBe('guest');
    const ack = await ask([53, 1, 3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2, 255]);
    expect([...ack.options.get(53)!]).toEqual([5]);
    expect(ack.address).toBe(GUEST);
  });

  it('refuses an address that is not the one offered, and gives every card its own', async () => {
    expect([...(await ask([53, 1, 3, 50, 4, 10, 0, 2, 99, 255])).options.get(53)!]).toEqual([6]);
    expect((await ask([53, 1, 1, 255], 2)).address).toBe(GUEST + 1);
    expect((await ask([53, 1, 1, 255], 1)).address).toBe(GUEST);
  });

  it('keeps silent about nonsense and messages to other servers', () => {
    guest.sendUdp(68, 0xffff_ffff, 67, new Uint8Array(100));
    guest.sendUdp(68, 0xffff_ffff, 67, message([53, 1, 3, 54, 4, 1, 2, 3, 4, 255]));
    guest.sendUdp(68, 0xffff_ffff, 67, message([53, 200, 3]));
    expect(guest.frames.length).toBeLessThanOrEqual(1);
  });
});

describe('ICMP', () => {
  it('answers echo for its own addresses', async () => {
    const body = Uint8Array.from([8, 0, 0, 0, 1, 2, 0, 7, ...new Array<number>(64).fill(0x5a)]);
    guest.sendIp(IpProto.ICMP, HOST, body);
    const r = await guest.next();
    expect(r).toMatchObject({ proto: IpProto.ICMP, src: HOST, dst: GUEST });
    expect(r.body[0]).toBe(0);
    expect([...r.body.subarray(4)]).toEqual([...body.subarray(4)]);
    guest.sendIp(IpProto.ICMP, ip('10.0.2.77'), body);
    expect([...(await guest.next()).body.subarray(0, 2)]).toEqual([3, 1]);
  });
});

describe('UDP', () => {
  let echo: UdpSocket;
  let port: number;
  const from: number[] = [];
  beforeEach(async () => {
    echo = createSocket('udp4');
    from.length = 0;
    echo.on('message', (m, r) => {
      from.push(r.port);
      echo.send(m, r.port, r.address);
    });
    await new Promise<void>((r) => echo.bind(0, '127.0.0.1', r));
    port = echo.address().port;
    closers.push(() => echo.close());
  });

  it('reaches the host and comes back from where it went', async () => {
    guest.sendUdp(5000, HOST, port, Buffer.from('ping'));
    const r = await guest.next();
    expect(r).toMatchObject({ proto: IpProto.UDP, src: HOST, dst: GUEST });
    expect([be16(r.body, 0), be16(r.body, 2), Buffer.from(r.body.subarray(8)).toString()]).toEqual([port, 5000, 'ping']);
    guest.sendUdp(5000, HOST, port, Buffer.from('again'));
    await guest.next();
    expect(from[0]).toBe(from[1]);
    expect(net.usage.udp).toBe(1);
  });

  it('carries datagrams larger than the MTU, in fragments both ways', async () => {
    const data = Buffer.alloc(6000, 'abcdefg');
    const whole = udp(5001, port, data);
    // Out of order.
    const piece = 1480;
    for (let at = Math.floor(whole.length / piece) * piece; at >= 0; at -= piece) {
      const end = Math.min(whole.length, at + piece);
      guest.sendIp(IpProto.UDP, HOST, whole.subarray(at, end), (end < whole.length ? 0x2000 : 0) | (at >> 3), 77);
    }
    const got = Buffer.alloc(8 + data.length);
    for (let have = 0; have < got.length; ) {
      const r = await guest.next();
      got.set(r.body, r.offset);
      have += r.body.length;
    }
    expect(got.subarray(8).equals(data)).toBe(true);
  });

  it('leads a port of the host to the guest', async () => {
    const at = await net.forward({ proto: 'udp', host: '127.0.0.1', port: 0, guest: null, guestPort: 7 });
    const client = createSocket('udp4');
    closers.push(() => client.close());
    const answer = new Promise<string>((r) => client.on('message', (m, i) => r(`${m.toString()} ${i.port}`)));
    client.send('knock', at, '127.0.0.1');
    const r = await guest.next();
    expect(be16(r.body, 2)).toBe(7);
    guest.sendUdp(7, r.src, be16(r.body, 0), Buffer.from('who'));
    expect(await answer).toBe(`who ${at}`);
  });
});

describe('DNS', () => {
  const question = (name: string, type: number): Buffer =>
    Buffer.concat([Buffer.from([0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...name.split('.').map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)])), Buffer.from([0, 0, type, 0, 1])]);

  it("asks the host's resolver", async () => {
    guest.sendUdp(5353, DNS, 53, question('localhost', 1));
    const r = await guest.next((p) => p.src === DNS);
    const m = r.body.subarray(8);
    expect(be16(m, 0)).toBe(0xabcd);
    expect(m[3]! & 15).toBe(0);
    expect(be16(m, 6)).toBeGreaterThan(0);
    const answer = m.subarray(question('localhost', 1).length);
    expect([...answer.subarray(0, 12)]).toEqual([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    expect(answer[12]).toBe(127);
  });

  it('says so when a query cannot be read', async () => {
    guest.sendUdp(5353, DNS, 53, Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63, 1]));
    expect((await guest.next((p) => p.src === DNS)).body[8 + 3]! & 15).toBe(1);
  });
});

describe('TCP', () => {
  it('carries a conversation and its end', async () => {
    const got: Buffer[] = [];
    let ended = false;
    const port = await server((s) => {
      s.on('data', (d) => got.push(d));
      s.on('end', () => {
        ended = true;
        s.end('bye');
      });
      s.write('hello');
    }, true);
    const c = guest.tcp(port);
    await c.open();
    expect((await c.read(5)).toString()).toBe('hello');
    c.write(Buffer.from('first '));
    c.write(Buffer.from('second'));
    await until(() => Buffer.concat(got).toString() === 'first second');
    c.segment(TcpFlag.FIN | TcpFlag.ACK);
    c.seq++;
    expect((await c.read(3)).toString()).toBe('bye');
    expect(ended).toBe(true);
    let r = await c.next();
    while (!(r.flags & TcpFlag.FIN)) r = await c.next();
    expect(r.ack).toBe(c.seq);
    c.ack = (r.seq + 1) >>> 0;
    c.segment(TcpFlag.ACK);
    expect(net.usage.tcp).toBe(0);
  });

  it('answers a refused connection with RST', async () => {
    const port = await server(() => {});
    closers.pop()!();
    const c = guest.tcp(port);
    c.segment(TcpFlag.SYN);
    expect(await c.next()).toMatchObject({ flags: TcpFlag.RST | TcpFlag.ACK, ack: 1001 });
    expect(net.usage.tcp).toBe(0);
  });

  it('answers segments of no connection with RST', async () => {
    const c = guest.tcp(9);
    c.ack = 77;
    c.segment(TcpFlag.ACK, Buffer.from('x'));
    expect(await c.next()).toMatchObject({ flags: TcpFlag.RST, seq: 77 });
  });

  it('keeps to the window of the guest, and probes a closed one', async () => {
    const port = await server((s) => s.write(Buffer.alloc(10_000, 'z')));
    const c = guest.tcp(port);
    c.window = 3000;
    await c.open();
    // Two whole segments; the 80 bytes left are not worth one.
    expect([(await c.next()).data.length, (await c.next()).data.length]).toEqual([1460, 1460]);
    c.ack = (c.ack + 2920) >>> 0;
    c.window = 0;
    c.segment(TcpFlag.ACK);
    expect((await c.next()).data.length).toBe(1);
    c.window = 65535;
    c.segment(TcpFlag.ACK);
    expect((await c.read(10_000 - 2920)).length).toBe(10_000 - 2920);
  });

  it('sends again what was lost, after a timeout and after duplicate acknowledgements', async () => {
    const port = await server((s) => s.write(Buffer.alloc(8000, 'q')));
    const c = guest.tcp(port);
    guest.frames.length = 0;
    c.segment(TcpFlag.SYN);
    const syn = await c.next();
    c.seq++;
    c.ack = (syn.seq + 1) >>> 0;
    guest.lose = 1;
    c.segment(TcpFlag.ACK);
    await until(() => guest.frames.length >= 5);
    for (let i = 0; i < 4; i++) c.segment(TcpFlag.ACK);
    expect((await c.read(8000)).equals(Buffer.alloc(8000, 'q'))).toBe(true);
    expect(net.usage.tcp).toBe(1);
  });

  it('waits while the card has no room', async () => {
    const port = await server((s) => s.write(Buffer.alloc(100_000, 'r')));
    const c = guest.tcp(port);
    c.segment(TcpFlag.SYN, undefined, [2, 4, 0x05, 0xb4, 1, 3, 3, 4]);
    const syn = await c.next();
    c.seq++;
    c.ack = (syn.seq + 1) >>> 0;
    guest.full = true;
    c.segment(TcpFlag.ACK);
    await new Promise((r) => setTimeout(r, 50));
    guest.full = false;
    net.room();
    expect((await c.read(100_000)).length).toBe(100_000);
  });

  it('hands large segments to a card that cuts them up', async () => {
    guest.abilities.maxFrame = 65550;
    const port = await server((s) => s.write(Buffer.alloc(60_000, 's')));
    const c = guest.tcp(port);
    await c.open([2, 4, 0x05, 0xb4, 1, 3, 3, 7]);
    let biggest = 0;
    for (let have = 0; have < 60_000; ) {
      const r = await c.next();
      biggest = Math.max(biggest, r.data.length);
      have += r.data.length;
      c.ack = (c.ack + r.data.length) >>> 0;
      c.segment(TcpFlag.ACK);
    }
    expect(biggest).toBeGreaterThan(10_000);
  });

  it('leads a port of the host to the guest', async () => {
    const at = await net.forward({ proto: 'tcp', host: '127.0.0.1', port: 0, guest: null, guestPort: 22 });
    const client = connect(at, '127.0.0.1');
    closers.push(() => client.destroy());
    const got = new Promise<string>((r) => client.once('data', (d) => r(d.toString())));
    const r = await guest.next();
    expect([be16(r.body, 2), r.body[13]]).toEqual([22, TcpFlag.SYN]);
    const c = guest.tcp(be16(r.body, 0));
    Object.defineProperty(c, 'port', { value: 22 });
    c.ack = (be32(r.body, 4) + 1) >>> 0;
    c.segment(TcpFlag.SYN | TcpFlag.ACK);
    c.seq++;
    expect((await c.next()).flags).toBe(TcpFlag.ACK);
    c.write(Buffer.from('SSH-2.0'));
    expect(await got).toBe('SSH-2.0');
    client.write('yes');
    expect((await c.read(3)).toString()).toBe('yes');
    await expect(net.forward({ proto: 'tcp', host: '127.0.0.1', port: at, guest: null, guestPort: 22 })).rejects.toThrow(`--net: hostfwd: cannot listen at tcp 127.0.0.1:${at}: it is in use`);
  });

  it('opens and closes a thousand connections and keeps none', async () => {
    const port = await server((s) => s.end('x'));
    for (let i = 0; i < 1000; i++) {
      const c = guest.tcp(port);
      await c.open();
      await c.read(1);
      let r = await c.next();
      while (!(r.flags & TcpFlag.FIN)) r = await c.next();
      c.ack = (r.seq + 1) >>> 0;
      c.segment(TcpFlag.FIN | TcpFlag.ACK);
    }
    await until(() => net.usage.tcp === 0);
  });
});

describe('a restricted network', () => {
  it('answers itself and leads nowhere', async () => {
    start({ restrict: true });
    const port = await server(() => {});
    const c = guest.tcp(port);
    c.segment(TcpFlag.SYN);
    expect((await c.next()).flags & TcpFlag.RST).toBeTruthy();
    guest.sendUdp(1, HOST, port, Buffer.from('x'));
    expect([...(await guest.next()).body.subarray(0, 2)]).toEqual([3, 13]);
    guest.sendIp(IpProto.ICMP, HOST, Uint8Array.from([8, 0, 0, 0, 0, 0, 0, 0]));
    expect((await guest.next()).body[0]).toBe(0);
  });
});

describe('hostile frames', () => {
  it('do no harm', async () => {
    start({ restrict: true });
    const random = randomFrom(7);
    const good = Uint8Array.from([...new Array<number>(6).fill(0xff), 0x52, 0x54, 0, 1, 2, 3, 8, 0, 0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2, ...new Array<number>(80).fill(0)]);
    for (let i = 0; i < 100_000; i++) {
      const f = good.slice(0, 14 + (random() % (good.length - 14)));
      f[ETH_HEADER + 9] = [1, 6, 17, random() & 255][random() & 3]!;
      for (let k = random() % 6; k >= 0; k--) f[12 + (random() % (f.length - 12))] = random();
      guest.send(f);
      guest.frames.length = 0;
    }
    expect(net.usage).toEqual({ tcp: 0, udp: 0 });
  });

  it('in an open connection end at most that', async () => {
    const port = await server((s) => s.pipe(s));
    const random = randomFrom(11);
    for (let round = 0; round < 20; round++) {
      const c = guest.tcp(port);
      await c.open([2, 4, random(), random(), 3, 3, random()]);
      for (let i = 0; i < 200; i++) {
        const keep = { seq: c.seq, ack: c.ack };
        if (random() & 1) c.seq = (c.seq + (random() % 100_000) - 50_000) >>> 0;
        if (random() & 1) c.ack = random();
        c.window = random() & 0xffff;
        c.segment(random() & 0x3b & ~TcpFlag.SYN, Buffer.alloc(random() % 100, i), random() & 1 ? [random() & 255, random() & 255, 0, 0] : []);
        Object.assign(c, keep);
        guest.frames.length = 0;
      }
      c.segment(TcpFlag.RST);
    }
    const c = guest.tcp(port);
    await c.open();
    c.write(Buffer.from('still there'));
    expect((await c.read(11)).toString()).toBe('still there');
  });
});
