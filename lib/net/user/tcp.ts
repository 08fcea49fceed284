/**
 * TCP of the user network (RFC 9293): every connection of the guest ends here and goes on as a connection of the host. The
 * link to the guest loses frames only when the card has no room, so there is no congestion control: what the guest's window
 * allows is sent, and sent again after a timeout or three duplicate acknowledgements.
 */
import { createServer, connect, type Server, type Socket } from 'node:net';
import { be16, be32, IpProto, MTU, IP_HEADER, put16, put32, TCP_HEADER, TcpFlag } from '../packet.js';
import { isIpv6 } from './ipv6-addresses.js';
import { Link, type Packet } from './link.js';

const MSS = MTU - IP_HEADER - TCP_HEADER;
/** Window offered to the guest and bytes kept for it, each. */
const WINDOW = 1024 * 1024;
const WINDOW_SHIFT = 5;
/** Largest segment handed to a card that cuts it up itself. */
const MAX_SEGMENT = 65535 - IP_HEADER - TCP_HEADER - 20;
const MAX_CONNECTIONS = 1024;
const RTO_MS = 300;
const MAX_RTO_MS = 10_000;
const MAX_RETRIES = 8;
const CONNECT_MS = 75_000;
const PERSIST_MS = 500;
/** Bytes for the host that are gathered before they are written, at most. */
const GATHER = 64 * 1024;

const enum State {
  /** The guest's SYN waits for the host's connection. */
  CONNECTING,
  /** Our SYN is on its way to the guest: SYN-SENT for forwarded ports, SYN-RECEIVED otherwise. */
  SYN,
  OPEN,
  CLOSED,
}

/** a - b for sequence numbers, signed. */
const diff = (a: number, b: number): number => (a - b) | 0;

const ports = (remote: number, guest: number): number => remote * 0x10000 + guest;

/** Bytes for the guest that it has not acknowledged, in the chunks they came in. */
class SendBuffer {
  private readonly chunks: Uint8Array[] = [];
  /** Bytes of chunks[0] that are acknowledged. */
  private head = 0;
  bytes = 0;

  add(chunk: Uint8Array): void {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** Copies n bytes from offset `from` (after the acknowledged ones) to dst at `at`. */
  copy(from: number, n: number, dst: Uint8Array, at: number): void {
    let skip = from + this.head;
    let i = 0;
    while (skip >= this.chunks[i]!.length) skip -= this.chunks[i++]!.length;
    let left = n;
    let to = at;
    while (left > 0) {
      const c = this.chunks[i++]!;
      const part = Math.min(left, c.length - skip);
      dst.set(c.subarray(skip, skip + part), to);
      skip = 0;
      to += part;
      left -= part;
    }
  }

  /** The first n bytes have arrived. */
  drop(n: number): void {
    this.bytes -= n;
    this.head += n;
    let i = 0;
    while (i < this.chunks.length && this.head >= this.chunks[i]!.length) this.head -= this.chunks[i++]!.length;
    if (i > 0) this.chunks.splice(0, i);
  }
}

class Connection {
  state: State;
  private sndUna: number;
  private sndNxt: number;
  /** One past the highest sequence number ever sent. */
  private sndMax: number;
  private rcvNxt = 0;
  /** The guest asked for the connection. */
  private readonly passive: boolean;
  private sndWindow = 0;
  private sndShift = 0;
  private scaled = false;
  private mss = 536;
  private readonly out = new SendBuffer();
  /** The host's side has ended: a FIN follows the last byte. */
  private hostEnded = false;
  /** Our FIN has been sent (and takes a sequence number), and acknowledged. */
  private finSent = false;
  private finAcked = false;
  private guestEnded = false;
  private ackOwed = false;
  /** The acknowledgement owed answers something that is not plain new data: the guest waits for it. */
  private ackNow = false;
  /** What has been acknowledged last. */
  private acked = 0;
  /** Bytes went to the host in this turn of the event loop, and how many are held back until the next. */
  private wrote = false;
  private held = 0;
  /** The window last told was too small to be useful. */
  private windowClosed = false;
  private duplicates = 0;
  private retries = 0;
  private rto = RTO_MS;
  private timer: NodeJS.Timeout | null = null;

  /** `syn`: the guest's SYN; null for a connection from the host. */
  constructor(
    private readonly tcp: Tcp,
    /** As the guest sees them. */
    readonly remote: number,
    readonly remotePort: number,
    readonly guest: number,
    readonly guestPort: number,
    readonly socket: Socket,
    syn: { seq: number; window: number; options: Uint8Array } | null,
    iss: number,
  ) {
    this.sndUna = this.sndNxt = this.sndMax = iss;
    this.passive = syn !== null;
    this.state = syn === null ? State.SYN : State.CONNECTING;
    if (syn !== null) {
      this.rcvNxt = (syn.seq + 1) >>> 0;
      this.sndWindow = syn.window;
      this.readOptions(syn.options);
    }
    socket.setNoDelay(true);
    socket.on('data', (chunk: Uint8Array) => this.hostData(chunk));
    socket.on('end', () => {
      this.hostEnded = true;
      this.pump();
    });
    socket.on('drain', () => this.windowUpdate());
    socket.on('error', () => this.abort());
    socket.on('close', () => {
      // After an orderly end on both sides there is nothing left to do here; otherwise the guest must be told.
      if (!this.hostEnded) this.abort();
    });
    if (syn === null) this.sendSyn();
    else this.arm(CONNECT_MS);
  }

  private readOptions(o: Uint8Array): void {
    for (let at = 0; at < o.length && o[at] !== 0; ) {
      if (o[at] === 1) {
        at++;
        continue;
      }
      const length = o[at + 1] ?? 0;
      if (length < 2 || at + length > o.length) break;
      if (o[at] === 2 && length === 4) this.mss = Math.min(MSS, Math.max(64, be16(o, at + 2)));
      else if (o[at] === 3 && length === 3) {
        this.scaled = true;
        this.sndShift = Math.min(14, o[at + 2]!);
      }
      at += length;
    }
  }

  /** The host's connection stands: answer the guest's SYN. */
  connected(): void {
    if (this.state !== State.CONNECTING) return;
    this.state = State.SYN;
    this.sendSyn();
  }

  private sendSyn(): void {
    const options = [2, 4, MSS >> 8, MSS & 255];
    if (!this.passive || this.scaled) options.push(1, 3, 3, WINDOW_SHIFT);
    this.sndNxt = (this.sndUna + 1) >>> 0;
    this.segment(TcpFlag.SYN | (this.passive ? TcpFlag.ACK : 0), this.sndUna, 0, 0, options);
    this.arm(this.rto);
  }

  /** A segment from the guest; data stands at [from, to) of b. */
  input(b: Uint8Array, tcpAt: number, from: number, to: number): void {
    const flags = b[tcpAt + 13]!;
    const seq = be32(b, tcpAt + 4);
    const ack = be32(b, tcpAt + 8);
    if (this.state === State.CONNECTING) {
      // The guest repeats its SYN while the host connects.
      if (flags & TcpFlag.RST) this.abort(false);
      return;
    }
    if (this.state === State.SYN && !this.passive) {
      this.synSent(flags, seq, ack, b, tcpAt, from);
      return;
    }
    if (flags & TcpFlag.RST) {
      // RFC 9293, 3.10.7.4: only at the expected sequence number.
      if (seq === this.rcvNxt) this.abort(false);
      else this.answer();
      return;
    }
    if (flags & TcpFlag.SYN) {
      // Again: the answer was lost, or nonsense in an open connection (challenge ACK).
      if (this.state === State.SYN) this.sendSyn();
      else this.answer();
      return;
    }
    if ((flags & TcpFlag.ACK) === 0) return;
    if (!this.acknowledged(ack, be16(b, tcpAt + 14), to - from > 0)) return;
    this.data(b, seq, from, to, (flags & TcpFlag.FIN) !== 0);
    if (this.state === State.OPEN) this.pump();
    this.maybeDone();
  }

  private synSent(flags: number, seq: number, ack: number, b: Uint8Array, tcpAt: number, from: number): void {
    if ((flags & TcpFlag.ACK) !== 0 && ack !== this.sndNxt) return;
    if (flags & TcpFlag.RST) {
      if (flags & TcpFlag.ACK) this.abort(false);
      return;
    }
    if ((flags & (TcpFlag.SYN | TcpFlag.ACK)) !== (TcpFlag.SYN | TcpFlag.ACK)) return;
    this.rcvNxt = (seq + 1) >>> 0;
    this.readOptions(b.subarray(tcpAt + TCP_HEADER, from));
    this.sndWindow = be16(b, tcpAt + 14);
    this.sndUna = ack;
    this.opened();
    this.answer();
  }

  private opened(): void {
    this.state = State.OPEN;
    this.retries = 0;
    this.rto = RTO_MS;
    this.disarm();
    this.socket.resume();
    this.pump();
  }

  /** @returns false if the segment is to be ignored. */
  private acknowledged(ack: number, window: number, hasData: boolean): boolean {
    const n = diff(ack, this.sndUna);
    if (n < 0 || diff(ack, this.sndMax) > 0) {
      this.answer();
      return n < 0;
    }
    if (this.state === State.SYN) {
      if (n < 1) return false;
      this.sndUna = (this.sndUna + 1) >>> 0;
      if (!this.scaled) this.sndShift = 0;
      this.sndWindow = window << this.sndShift;
      this.opened();
      return true;
    }
    const size = window << this.sndShift;
    if (n > 0) {
      const bytes = Math.min(n, this.out.bytes);
      this.out.drop(bytes);
      this.sndUna = ack;
      if (diff(ack, this.sndNxt) > 0) this.sndNxt = ack;
      // Only the FIN takes a number and is no byte.
      if (n > bytes) this.finSent = this.finAcked = true;
      this.duplicates = 0;
      this.retries = 0;
      this.rto = RTO_MS;
      this.disarm();
      if (this.out.bytes < WINDOW / 2 && this.socket.isPaused() && !this.socket.destroyed) this.socket.resume();
    } else if (!hasData && size === this.sndWindow && this.sndNxt !== this.sndUna && ++this.duplicates === 3) {
      this.rewind();
    }
    this.sndWindow = size;
    return true;
  }

  private data(b: Uint8Array, seq: number, from: number, to: number, fin: boolean): void {
    const length = to - from;
    if (length === 0 && !fin) {
      // A keep-alive or a probe asks for an answer.
      if (diff(seq, this.rcvNxt) < 0) this.answer();
      return;
    }
    this.ackOwed = true;
    const old = diff(this.rcvNxt, seq);
    if (old !== 0 || fin) this.ackNow = true;
    // Frames arrive in order: what lies ahead follows something lost, and comes again.
    if (old < 0 || old > length) return;
    const fresh = Math.min(length - old, Math.max(0, WINDOW + MSS - this.socket.writableLength));
    if (fresh < length - old) this.ackNow = true;
    if (fresh > 0) {
      this.rcvNxt = (this.rcvNxt + fresh) >>> 0;
      if (!this.guestEnded && !this.socket.destroyed) this.toHost(b.slice(from + old, from + old + fresh));
    }
    if (fin && fresh === length - old && !this.guestEnded) {
      this.rcvNxt = (this.rcvNxt + 1) >>> 0;
      this.guestEnded = true;
      this.socket.end();
    }
  }

  /**
   * The first bytes of a turn of the event loop are written at once, further ones together in the next turn: with small segments the
   * system calls would cost more than all the rest.
   */
  private toHost(bytes: Uint8Array): void {
    if (!this.wrote) {
      this.wrote = true;
      this.tcp.later(this);
    } else {
      if (this.held === 0) this.socket.cork();
      this.held += bytes.length;
    }
    this.socket.write(bytes);
    if (this.held >= GATHER) this.release();
  }

  private release(): void {
    if (this.held > 0) this.socket.uncork();
    this.held = 0;
  }

  /** The event loop's turn. */
  turned(): void {
    this.wrote = false;
    this.release();
  }

  private hostData(chunk: Uint8Array): void {
    if (this.state === State.CLOSED) return;
    this.out.add(chunk);
    if (this.out.bytes >= WINDOW) this.socket.pause();
    this.pump();
  }

  /** Sends what window and card allow. */
  pump(): void {
    if (this.state !== State.OPEN) return;
    const card = this.tcp.link.queue;
    // Cards cut up IPv4 segments only.
    const big = card.abilities.maxFrame > MTU + 14 && !isIpv6(this.guest);
    for (;;) {
      const flying = diff(this.sndNxt, this.sndUna);
      const left = this.out.bytes - flying;
      if (left <= 0 || card.congested) break;
      const n = Math.min(left, this.sndWindow - flying, big ? MAX_SEGMENT : this.mss);
      if (n <= 0) break;
      // Silly windows: wait for more room unless everything fits or nothing is under way.
      if (n < this.mss && n < left && flying > 0) break;
      this.segment(TcpFlag.ACK | (n === left ? TcpFlag.PSH : 0), this.sndNxt, flying, n, [], n > this.mss ? this.mss : 0);
      this.sndNxt = (this.sndNxt + n) >>> 0;
    }
    if (this.hostEnded && !this.finSent && diff(this.sndNxt, this.sndUna) === this.out.bytes) {
      this.finSent = true;
      this.segment(TcpFlag.FIN | TcpFlag.ACK, this.sndNxt, 0, 0);
      this.sndNxt = (this.sndNxt + 1) >>> 0;
    }
    if (this.timer === null) {
      if (this.sndNxt !== this.sndUna) this.arm(this.rto);
      else if (this.out.bytes > 0) this.arm(PERSIST_MS);
    }
  }

  /** Everything not acknowledged goes out again. */
  private rewind(): void {
    this.sndNxt = this.sndUna;
    this.finSent = false;
    this.pump();
  }

  private timeout(): void {
    this.timer = null;
    if (this.state === State.CONNECTING) {
      this.abort();
      return;
    }
    if (this.sndNxt === this.sndUna && this.out.bytes > 0) {
      // The window is closed: one byte makes the guest say how it is now.
      if (this.sndWindow === 0) {
        this.segment(TcpFlag.ACK, this.sndNxt, 0, 1);
        this.arm(PERSIST_MS);
      } else this.pump();
      return;
    }
    if (++this.retries > MAX_RETRIES) {
      this.abort();
      return;
    }
    this.rto = Math.min(MAX_RTO_MS, this.rto * 2);
    if (this.state === State.SYN) this.sendSyn();
    else this.rewind();
  }

  private arm(ms: number): void {
    this.disarm();
    this.timer = setTimeout(() => this.timeout(), ms);
    this.timer.unref();
  }

  private disarm(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private get window(): number {
    const room = Math.max(0, WINDOW - this.socket.writableLength);
    return this.scaled ? Math.min(0xffff, room >>> WINDOW_SHIFT) : Math.min(0xffff, room);
  }

  private windowUpdate(): void {
    if (this.state === State.OPEN && this.windowClosed && this.window > 0) this.segment(TcpFlag.ACK, this.sndNxt, 0, 0);
  }

  /** An acknowledgement that the guest waits for. */
  private answer(): void {
    this.ackOwed = this.ackNow = true;
  }

  /**
   * Sends an acknowledgement nobody has carried along yet. For plain data that is every second segment (RFC 9293, 3.8.6.3), for each costs
   * the guest an interrupt. @param all nothing waits any longer. @returns whether one still waits
   */
  flush(all: boolean): boolean {
    if (!this.ackOwed || this.state !== State.OPEN) return false;
    if (!all && !this.ackNow && diff(this.rcvNxt, this.acked) < 2 * this.mss) return true;
    this.segment(TcpFlag.ACK, this.sndNxt, 0, 0);
    return false;
  }

  private segment(flags: number, seq: number, offset: number, n: number, options: readonly number[] = [], gsoSize = 0): void {
    const link = this.tcp.link;
    const f = link.buffer;
    const at = Link.PAYLOAD;
    const header = TCP_HEADER + options.length;
    const window = flags & TcpFlag.SYN ? Math.min(0xffff, WINDOW) : this.window;
    this.windowClosed = window << (this.scaled ? WINDOW_SHIFT : 0) < MSS * 4;
    put16(f, at, this.remotePort);
    put16(f, at + 2, this.guestPort);
    put32(f, at + 4, seq);
    put32(f, at + 8, flags & TcpFlag.ACK ? this.rcvNxt : 0);
    f[at + 12] = (header >> 2) << 4;
    f[at + 13] = flags;
    put16(f, at + 14, window);
    put32(f, at + 16, 0);
    f.set(options, at + TCP_HEADER);
    if (n > 0) this.out.copy(offset, n, f, at + header);
    if (flags & TcpFlag.ACK) {
      this.ackOwed = this.ackNow = false;
      this.acked = this.rcvNxt;
    }
    const after = (seq + n + (flags & (TcpFlag.SYN | TcpFlag.FIN) ? 1 : 0)) >>> 0;
    if (diff(after, this.sndMax) > 0) this.sndMax = after;
    link.sendIp(IpProto.TCP, this.remote, this.guest, header + n, gsoSize);
  }

  /** Both sides have ended and everything has arrived. */
  private maybeDone(): void {
    if (!this.guestEnded || !this.finAcked) return;
    this.flush(true);
    this.close();
    this.socket.destroySoon();
  }

  /** Ends the connection with an RST to the guest, unless it is the one who did so. */
  abort(tell = true): void {
    if (this.state === State.CLOSED) return;
    if (tell) this.segment(TcpFlag.RST | TcpFlag.ACK, this.sndNxt, 0, 0);
    this.close();
    this.release();
    this.socket.destroy();
  }

  private close(): void {
    this.state = State.CLOSED;
    this.disarm();
    this.tcp.forget(this);
  }
}

export class Tcp {
  /** By address, then by ports: `ports`. */
  private readonly peers = new Map<number, Map<number, Connection>>();
  private count = 0;
  /** Connections that have had segments since the last flush. */
  private readonly touched = new Set<Connection>();
  /** Connections that have written to the host in this turn of the event loop. */
  private readonly writers = new Set<Connection>();
  private turn: NodeJS.Immediate | null = null;
  private readonly servers: Server[] = [];
  /** Accepted connections get ports of their own on the guest's side, for two hosts may use the same one. */
  private nextPort = 40_000;

  constructor(
    readonly link: Link,
    private readonly hostAddress: (ip: number) => string | null,
    /** 32 random bits for initial sequence numbers. */
    private readonly random: () => number,
  ) {}

  /** A segment from the guest. @returns false if it was damaged. */
  input(p: Packet): boolean {
    const { b, start, end } = p;
    if (end - start < TCP_HEADER) return false;
    const from = start + (b[start + 12]! >>> 4) * 4;
    if (from < start + TCP_HEADER || from > end) return false;
    const srcPort = be16(b, start);
    const dstPort = be16(b, start + 2);
    const c = this.find(p.dst, dstPort, srcPort);
    if (c !== undefined && c.guest === p.src) {
      c.input(b, start, from, end);
      if (c.state !== State.CLOSED) this.touched.add(c);
      return true;
    }
    const flags = b[start + 13]!;
    if (flags & TcpFlag.RST) return true;
    if ((flags & (TcpFlag.SYN | TcpFlag.ACK)) !== TcpFlag.SYN) {
      this.reset(p, from);
      return true;
    }
    const address = this.hostAddress(p.dst);
    if (address === null || c !== undefined || this.count >= MAX_CONNECTIONS) {
      this.reset(p, from);
      return true;
    }
    const socket = connect({ host: address, port: dstPort, allowHalfOpen: true });
    socket.pause();
    const made = new Connection(this, p.dst, dstPort, p.src, srcPort, socket, { seq: be32(b, start + 4), window: be16(b, start + 14), options: b.subarray(start + TCP_HEADER, from) }, this.random());
    this.remember(made);
    socket.once('connect', () => made.connected());
    return true;
  }

  /** Answers a segment that belongs to no connection (RFC 9293, 3.10.7.1). */
  private reset(p: Packet, from: number): void {
    const { b, start } = p;
    const flags = b[start + 13]!;
    const f = this.link.buffer;
    const at = Link.PAYLOAD;
    const length = p.end - from + (flags & TcpFlag.SYN ? 1 : 0) + (flags & TcpFlag.FIN ? 1 : 0);
    const acked = (flags & TcpFlag.ACK) !== 0;
    put16(f, at, be16(b, start + 2));
    put16(f, at + 2, be16(b, start));
    put32(f, at + 4, acked ? be32(b, start + 8) : 0);
    put32(f, at + 8, acked ? 0 : be32(b, start + 4) + length);
    f[at + 12] = (TCP_HEADER >> 2) << 4;
    f[at + 13] = TcpFlag.RST | (acked ? 0 : TcpFlag.ACK);
    f.fill(0, at + 14, at + TCP_HEADER);
    this.link.sendIp(IpProto.TCP, p.dst, p.src, TCP_HEADER);
  }

  /** Joins a port of the host to one of the guest. Rejects with the system's error. @returns the port. */
  forward(host: string, port: number, guest: number, guestPort: number): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.accept(socket, guest, guestPort));
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        // What goes wrong later concerns one connection at a time.
        server.on('error', () => {});
        this.servers.push(server);
        const a = server.address();
        resolve(typeof a === 'object' && a !== null ? a.port : port);
      });
    });
  }

  private accept(socket: Socket, guest: number, guestPort: number): void {
    if (this.count >= MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    const remote = this.link.addresses.host;
    do this.nextPort = this.nextPort >= 65_000 ? 40_000 : this.nextPort + 1;
    while (this.find(remote, this.nextPort, guestPort) !== undefined);
    this.remember(new Connection(this, remote, this.nextPort, guest, guestPort, socket, null, this.random()));
  }

  /** Acknowledges what came in since the last time, at once or, as with a single small segment, when the event loop has its turn: the guest is idle by then. */
  flush(): void {
    for (const c of this.touched) if (!c.flush(false)) this.touched.delete(c);
    if (this.touched.size > 0) this.schedule();
  }

  /** Calls c.turned() in the event loop's next turn. */
  later(c: Connection): void {
    this.writers.add(c);
    this.schedule();
  }

  private schedule(): void {
    this.turn ??= setImmediate(() => {
      this.turn = null;
      for (const c of this.touched) c.flush(true);
      this.touched.clear();
      for (const c of this.writers) c.turned();
      this.writers.clear();
    });
  }

  /** The card has room: connections that were held up go on. */
  room(): void {
    for (const c of this.all()) c.pump();
  }

  private find(remote: number, remotePort: number, guestPort: number): Connection | undefined {
    return this.peers.get(remote)?.get(ports(remotePort, guestPort));
  }

  private remember(c: Connection): void {
    let m = this.peers.get(c.remote);
    if (m === undefined) this.peers.set(c.remote, (m = new Map()));
    m.set(ports(c.remotePort, c.guestPort), c);
    this.count++;
  }

  /** For connections that have ended. */
  forget(c: Connection): void {
    this.touched.delete(c);
    this.writers.delete(c);
    const m = this.peers.get(c.remote);
    if (m?.delete(ports(c.remotePort, c.guestPort)) !== true) return;
    this.count--;
    if (m.size === 0) this.peers.delete(c.remote);
  }

  private all(): Connection[] {
    return [...this.peers.values()].flatMap((m) => [...m.values()]);
  }

  /** Open connections. */
  get size(): number {
    return this.count;
  }

  close(): void {
    if (this.turn !== null) clearImmediate(this.turn);
    this.turn = null;
    for (const c of this.all()) c.abort(false);
    for (const s of this.servers) s.close();
    this.servers.length = 0;
  }
}
