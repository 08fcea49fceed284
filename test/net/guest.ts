/** The guest's end of a cable, for tests: builds and takes apart frames, and speaks just enough TCP. */
import { be16, be32, ETH_HEADER, EtherType, foldSum, IP_HEADER, IPV6_HEADER, IpProto, MAX_FRAME, parseIp, pseudoSum, put16, put32, sumBytes, TCP_HEADER, TcpFlag, UDP_HEADER, writeIpv4 } from '#lib/net/packet.js';
import { type FrameInfo, type NetBackend, type NicEnd, PLAIN_FRAME } from '#lib/net/port.js';

export const ip = (text: string): number => parseIp(text)!;
export const GUEST = ip('10.0.2.15');
export const HOST = ip('10.0.2.2');
export const DNS = ip('10.0.2.3');
const MAC = Uint8Array.from([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

export interface Received {
  proto: number;
  src: number;
  dst: number;
  /** Transport header and data. */
  body: Uint8Array;
  /** A fragment's offset in bytes, and whether more follow. */
  offset: number;
  more: boolean;
}

export class TestGuest implements NicEnd {
  abilities = { maxFrame: MAX_FRAME, checksumFree: false };
  readonly frames: Uint8Array[] = [];
  /** Frames to refuse (no room), or to lose. */
  full = false;
  lose = 0;
  private wake: () => void = () => {};
  private id = 1;

  constructor(readonly backend: NetBackend) {
    backend.attach(this);
  }

  receive(frame: Uint8Array, _info: Readonly<FrameInfo>): boolean {
    if (this.full) return false;
    if (this.lose > 0) this.lose--;
    else this.frames.push(frame.slice());
    this.wake();
    return true;
  }

  send(frame: Uint8Array): void {
    this.backend.transmit(frame, PLAIN_FRAME);
    this.backend.flush();
  }

  sendIp(proto: IpProto, dst: number, body: Uint8Array, fragment = 0x4000, id = this.id++): void {
    const f = new Uint8Array(ETH_HEADER + IP_HEADER + body.length);
    f.fill(0xff, 0, 6);
    f.set(MAC, 6);
    put16(f, 12, EtherType.IPV4);
    writeIpv4(f, ETH_HEADER, { total: IP_HEADER + body.length, id, proto, src: GUEST, dst, fragment });
    f.set(body, ETH_HEADER + IP_HEADER);
    this.send(f);
  }

  sendUdp(srcPort: number, dst: number, dstPort: number, data: Uint8Array): void {
    this.sendIp(IpProto.UDP, dst, udp(srcPort, dstPort, data));
  }

  /** The next packet from the network that `want` likes; others are dropped. */
  async next(want: (r: Received) => boolean = () => true, ms = 5000): Promise<Received> {
    const until = Date.now() + ms;
    for (;;) {
      for (let f = this.frames.shift(); f !== undefined; f = this.frames.shift()) {
        const r = parse(f);
        if (r !== null && want(r)) return r;
      }
      if (Date.now() > until) throw new Error('nothing came from the network');
      await new Promise<void>((resolve) => {
        const t = setTimeout(resolve, 50);
        this.wake = () => (clearTimeout(t), resolve());
      });
    }
  }

  tcp(dstPort: number, dst = HOST): TestTcp {
    return new TestTcp(this, dst, dstPort);
  }
}

export function udp(srcPort: number, dstPort: number, data: Uint8Array): Uint8Array {
  const b = new Uint8Array(UDP_HEADER + data.length);
  put16(b, 0, srcPort);
  put16(b, 2, dstPort);
  put16(b, 4, b.length);
  b.set(data, UDP_HEADER);
  return b;
}

/** A frame with an IPv6 packet. `next`: what follows the header. */
export function ipv6Frame(src: Uint8Array, dst: Uint8Array, next: number, body: Uint8Array, hopLimit = 255): Uint8Array {
  const f = new Uint8Array(ETH_HEADER + IPV6_HEADER + body.length);
  f.set(MAC, 6);
  put16(f, 12, EtherType.IPV6);
  f[ETH_HEADER] = 0x60;
  put16(f, ETH_HEADER + 4, body.length);
  f[ETH_HEADER + 6] = next;
  f[ETH_HEADER + 7] = hopLimit;
  f.set(src, ETH_HEADER + 8);
  f.set(dst, ETH_HEADER + 24);
  f.set(body, ETH_HEADER + IPV6_HEADER);
  return f;
}

/** Checks all checksums on the way. */
export function parse(f: Uint8Array): Received | null {
  if (be16(f, 12) !== EtherType.IPV4) return null;
  const at = ETH_HEADER;
  if (foldSum(sumBytes(f, at, at + IP_HEADER)) !== 0) throw new Error('bad header checksum');
  const total = be16(f, at + 2);
  const word = be16(f, at + 6);
  const proto = f[at + 9]!;
  const whole = (word & 0x3fff) === 0;
  if (whole) {
    const pseudo = proto === IpProto.ICMP ? 0 : pseudoSum(f, at, proto, total - IP_HEADER);
    if (foldSum(sumBytes(f, at + IP_HEADER, at + total, pseudo)) !== 0) throw new Error('bad transport checksum');
  }
  return { proto, src: be32(f, at + 12), dst: be32(f, at + 16), body: f.subarray(at + IP_HEADER, at + total), offset: (word & 0x1fff) * 8, more: (word & 0x2000) !== 0 };
}

let nextPort = 30_000;

/** One end of a connection, driven by hand. */
export class TestTcp {
  readonly port = nextPort++;
  seq = 1000;
  ack = 0;
  window = 65535;

  constructor(
    private readonly guest: TestGuest,
    private readonly dst: number,
    readonly dstPort: number,
  ) {}

  segment(flags: number, data: Uint8Array = new Uint8Array(0), options: readonly number[] = []): void {
    const header = TCP_HEADER + options.length;
    const b = new Uint8Array(header + data.length);
    put16(b, 0, this.port);
    put16(b, 2, this.dstPort);
    put32(b, 4, this.seq);
    put32(b, 8, this.ack);
    b[12] = (header >> 2) << 4;
    b[13] = flags;
    put16(b, 14, this.window);
    b.set(options, TCP_HEADER);
    b.set(data, header);
    this.guest.sendIp(IpProto.TCP, this.dst, b);
  }

  async next(ms?: number): Promise<{ flags: number; seq: number; ack: number; window: number; data: Uint8Array }> {
    const r = await this.guest.next((p) => p.proto === IpProto.TCP && be16(p.body, 2) === this.port, ms);
    return { flags: r.body[13]!, seq: be32(r.body, 4), ack: be32(r.body, 8), window: be16(r.body, 14), data: r.body.subarray((r.body[12]! >>> 4) * 4) };
  }

  async open(options: readonly number[] = [2, 4, 0x05, 0xb4]): Promise<void> {
    this.segment(TcpFlag.SYN, undefined, options);
    const r = await this.next();
    if (r.flags !== (TcpFlag.SYN | TcpFlag.ACK)) throw new Error(`SYN answered with flags ${r.flags}`);
    this.seq++;
    this.ack = (r.seq + 1) >>> 0;
    this.segment(TcpFlag.ACK);
  }

  write(data: Uint8Array): void {
    this.segment(TcpFlag.ACK | TcpFlag.PSH, data);
    this.seq = (this.seq + data.length) >>> 0;
  }

  /** Reads n bytes, acknowledging each segment. */
  async read(n: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for (let have = 0; have < n; ) {
      const r = await this.next();
      if (r.data.length === 0 || r.seq !== this.ack) continue;
      parts.push(r.data.slice());
      have += r.data.length;
      this.ack = (this.ack + r.data.length) >>> 0;
      this.segment(TcpFlag.ACK);
    }
    return Buffer.concat(parts);
  }
}
