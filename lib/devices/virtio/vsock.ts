/** Virtio socket device (Virtual I/O Device 1.2, 5.10): streams between the guest and programs on the host, which is context 2. */
import { ByteQueue } from '../byte-queue.js';
import type { IoHandler } from '../device.js';
import { bool, loadState, saveState, type Schema } from '../saved.js';
import { STREAM_WINDOW, type StreamClient, type StreamPeer } from '../stream.js';
import { Chain } from './queue.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';

const RX = 0;
const TX = 1;
const EVENT = 2;
/** struct virtio_vsock_hdr. */
const HDR_BYTES = 44;
const HOST_CID = 2;
const TYPE_STREAM = 1;
const enum Op { REQUEST = 1, RESPONSE = 2, RST = 3, SHUTDOWN = 4, RW = 5, CREDIT_UPDATE = 6, CREDIT_REQUEST = 7 }
const SHUTDOWN_RCV = 1;
const SHUTDOWN_SEND = 2;
const MAX_PAYLOAD = 65536;
const MAX_CONNECTIONS = 1024;
/** Packets without data that wait for buffers of the driver. While there are so many, its own packets wait, too. */
const MAX_CONTROL = 256;
const FIRST_PORT = 0xc000_0000;
/** The guest hears of room when so much of it is new. */
const CREDIT_STEP = STREAM_WINDOW / 4;

interface Packet {
  hostPort: number;
  guestPort: number;
  op: Op;
  flags: number;
  /** Null: the answer to a packet that belongs to no connection. */
  connection: Connection | null;
}

/** Takes a connection that the guest makes; null refuses it. */
export type Acceptor = (port: number, from: number, client: StreamClient) => StreamPeer | null;

class Connection implements StreamClient {
  peer: StreamPeer | null = null;
  readonly toGuest = new ByteQueue(STREAM_WINDOW);
  /** Bytes sent to the guest, and what it says of its buffer. */
  sent = 0;
  guestRoom = 0;
  guestForwarded = 0;
  /** Bytes received from the guest, and how many of them it has been told were passed on. */
  fromGuest = 0;
  told = 0;
  /** Set until the guest has answered a request of ours. */
  onAnswer: ((ok: boolean) => void) | null = null;
  /** The program sends no more; the guest has been told so. */
  over = false;
  shut = false;
  /** The program has gone, and what it has sent has not: the connection ends after that. */
  lingers = false;
  /** The guest sends no more. */
  guestOver = false;

  constructor(
    private readonly dev: VirtioVsock,
    readonly hostPort: number,
    readonly guestPort: number,
  ) {}

  received(bytes: Uint8Array): void {
    this.toGuest.push(bytes);
    this.dev.pump();
  }

  /** Bytes passed on to the program. */
  get forwarded(): number {
    return this.fromGuest - (STREAM_WINDOW - (this.peer?.room ?? STREAM_WINDOW));
  }

  /** Bytes that the guest takes now. */
  get credit(): number {
    return Math.max(0, this.guestRoom - ((this.sent - this.guestForwarded) >>> 0));
  }

  roomChanged(): void {
    if (this.forwarded - this.told >= CREDIT_STEP) this.dev.send(this, Op.CREDIT_UPDATE);
  }

  opened(): void {}

  ended(): void {
    this.over = true;
    this.dev.pump();
  }

  closed(): void {
    this.peer = null;
    // A program that has said all and goes is not to lose what the guest has had no room for.
    if (this.over && !this.shut && this.onAnswer === null) {
      this.lingers = true;
      this.dev.pump();
    } else {
      this.dev.abort(this);
    }
  }
}

interface State {
  /** Connections were lost by a restore: the driver is to be told. */
  lost: boolean;
  running: boolean;
}
const SCHEMA: Schema<State> = { lost: bool, running: bool };
const VERSION = 1;

export class VirtioVsock implements VirtioDevice {
  readonly type = 19;
  readonly queues = 3;
  readonly pciClass = 0x0780;
  readonly features = 0;
  readonly config: IoHandler;
  /** Set by whoever listens. */
  onConnection: Acceptor = () => null;
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly outChain = new Chain();
  private readonly header = new Uint8Array(HDR_BYTES);
  private readonly view = new DataView(this.header.buffer);
  private readonly payload = new Uint8Array(MAX_PAYLOAD);
  private readonly connections = new Map<string, Connection>();
  private control: Packet[] = [];
  private nextPort = FIRST_PORT;
  private lost = false;
  private running = false;

  /** @param cid context of the guest, 3 to 2^32 - 2. */
  constructor(readonly cid: number) {
    const config = [cid, 0];
    this.config = {
      read: (o, size) => {
        const word = config[o >> 2] ?? 0;
        return size === 4 ? word : (word >>> ((o & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
      },
      write: () => {},
    };
  }

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(): void {
    this.running = true;
    this.tellLost();
    this.pump();
  }

  /**
   * Connects to a port of the guest.
   * @param attachPeer connects it to a program once it is there. @param answer called once: whether the guest has accepted.
   * @returns a function that gives up
   */
  connect(port: number, attachPeer: (client: StreamClient) => StreamPeer, answer: (ok: boolean) => void): () => void {
    if (!this.running || this.connections.size >= MAX_CONNECTIONS) {
      answer(false);
      return () => {};
    }
    while (this.connections.has(key(this.nextPort, port))) this.bump();
    const c = new Connection(this, this.nextPort, port);
    this.bump();
    this.connections.set(key(c.hostPort, port), c);
    c.onAnswer = (ok) => {
      c.onAnswer = null;
      if (ok) c.peer = attachPeer(c);
      answer(ok);
    };
    this.send(c, Op.REQUEST);
    return () => {
      if (c.onAnswer === null) return;
      c.onAnswer = null;
      this.abort(c);
    };
  }

  private bump(): void {
    this.nextPort = this.nextPort >= 0xffff_fffe ? FIRST_PORT : this.nextPort + 1;
  }

  /** Queues a packet of a connection. */
  send(c: Connection, op: Op, flags = 0): void {
    this.queue({ hostPort: c.hostPort, guestPort: c.guestPort, op, flags, connection: c });
  }

  private queue(p: Packet): void {
    // A connection has one of a kind at a time.
    if (p.connection === null || !this.control.some((x) => x.connection === p.connection && x.op === p.op)) this.control.push(p);
    this.pump();
  }

  /** The program is gone: so is the connection. */
  abort(c: Connection): void {
    if (!this.forget(c)) return;
    this.queue({ hostPort: c.hostPort, guestPort: c.guestPort, op: Op.RST, flags: 0, connection: null });
  }

  private forget(c: Connection): boolean {
    if (!this.connections.delete(key(c.hostPort, c.guestPort))) return false;
    this.control = this.control.filter((p) => p.connection !== c);
    const { peer, onAnswer } = c;
    c.peer = null;
    c.onAnswer = null;
    onAnswer?.(false);
    peer?.close();
    return true;
  }

  // ---- to the guest ----

  /** Sends what there is, as far as the driver has buffers and the guest has room. */
  pump(): void {
    const t = this.t;
    if (t === null || !this.running) return;
    const vq = t.queue[RX]!;
    for (let n = 0; n < vq.size; n++) {
      const p = this.control[0];
      const c = p === undefined ? this.nextReady() : null;
      if ((p === undefined && c === null) || !vq.pop(this.chain)) break;
      if (p !== undefined) {
        this.control.shift();
        this.put(p, 0);
      } else {
        this.sendData(c!);
      }
    }
    t.signal(RX);
  }

  /** A connection with something to send; it goes to the end of the line. */
  private nextReady(): Connection | null {
    for (const [k, c] of this.connections) {
      if ((c.peer === null && !c.lingers) || c.shut) continue;
      const data = c.toGuest.length > 0;
      if (data ? c.credit === 0 : !c.over) continue;
      this.connections.delete(k);
      this.connections.set(k, c);
      return c;
    }
    return null;
  }

  private sendData(c: Connection): void {
    const room = this.chain.writeBytes - HDR_BYTES;
    const part = c.toGuest.peek(Math.max(0, Math.min(c.credit, room, MAX_PAYLOAD)));
    if (part.length === 0) {
      if (c.toGuest.length === 0) {
        c.shut = true;
        this.put({ hostPort: c.hostPort, guestPort: c.guestPort, op: Op.SHUTDOWN, flags: SHUTDOWN_SEND | (c.guestOver || c.lingers ? SHUTDOWN_RCV : 0), connection: c }, 0);
      } else {
        // A buffer too small for anything.
        this.t!.queue[RX]!.push(this.chain.head, 0);
      }
      return;
    }
    this.chain.writeFrom(this.t!.mem, part, HDR_BYTES);
    c.sent = (c.sent + part.length) >>> 0;
    const n = part.length;
    c.toGuest.drop(n);
    c.peer?.consumed(n);
    this.put({ hostPort: c.hostPort, guestPort: c.guestPort, op: Op.RW, flags: 0, connection: c }, n);
  }

  /** Writes the header into the chain and gives it to the driver. */
  private put(p: Packet, length: number): void {
    const { view } = this;
    const { connection } = p;
    this.header.fill(0);
    view.setUint32(0, HOST_CID, true);
    view.setUint32(8, this.cid, true);
    view.setUint32(16, p.hostPort, true);
    view.setUint32(20, p.guestPort, true);
    view.setUint32(24, length, true);
    view.setUint16(28, TYPE_STREAM, true);
    view.setUint16(30, p.op, true);
    view.setUint32(32, p.flags, true);
    if (connection !== null) {
      connection.told = connection.forwarded;
      view.setUint32(36, STREAM_WINDOW, true);
      view.setUint32(40, connection.told >>> 0, true);
    }
    const wrote = this.chain.writeFrom(this.t!.mem, this.header);
    this.t!.queue[RX]!.push(this.chain.head, wrote < 0 ? 0 : wrote + length);
  }

  // ---- from the guest ----

  notify(q: number): void {
    if (q === TX) this.take();
    else if (q === RX) {
      this.pump();
      this.take();
    } else {
      this.tellLost();
    }
  }

  private take(): void {
    const t = this.t!;
    const vq = t.queue[TX]!;
    for (let n = 0; n < vq.size && this.control.length < MAX_CONTROL && vq.pop(this.outChain); n++) {
      if (this.outChain.readInto(t.mem, this.header) === HDR_BYTES) this.packet();
      vq.push(this.outChain.head, 0);
    }
    t.signal(TX);
  }

  private packet(): void {
    const { view } = this;
    const guestPort = view.getUint32(16, true);
    const hostPort = view.getUint32(20, true);
    const length = view.getUint32(24, true);
    const op = view.getUint16(30, true) as Op;
    const flags = view.getUint32(32, true);
    const toHost = view.getUint32(0, true) === this.cid && view.getUint32(8, true) === HOST_CID && view.getUint32(4, true) === 0 && view.getUint32(12, true) === 0;
    let c = toHost && view.getUint16(28, true) === TYPE_STREAM ? this.connections.get(key(hostPort, guestPort)) : undefined;
    if (op === Op.RST) {
      if (c !== undefined) this.forget(c);
      return;
    }
    if (op === Op.REQUEST && c === undefined && toHost && this.connections.size < MAX_CONNECTIONS) c = this.accept(hostPort, guestPort);
    else if (op === Op.REQUEST && c !== undefined) {
      this.abort(c);
      return;
    }
    if (c === undefined) {
      this.queue({ hostPort, guestPort, op: Op.RST, flags: 0, connection: null });
      return;
    }
    c.guestRoom = view.getUint32(36, true);
    c.guestForwarded = view.getUint32(40, true);
    this.connected(c, op, flags, length);
  }

  private accept(hostPort: number, guestPort: number): Connection | undefined {
    const c = new Connection(this, hostPort, guestPort);
    c.peer = this.onConnection(hostPort, guestPort, c);
    if (c.peer === null) return undefined;
    this.connections.set(key(hostPort, guestPort), c);
    return c;
  }

  private connected(c: Connection, op: Op, flags: number, length: number): void {
    switch (op) {
      case Op.REQUEST:
        this.send(c, Op.RESPONSE);
        break;
      case Op.RESPONSE:
        if (c.onAnswer === null) this.abort(c);
        else {
          c.onAnswer(true);
          this.pump();
        }
        break;
      case Op.RW:
        this.data(c, length);
        break;
      case Op.CREDIT_REQUEST:
        this.send(c, Op.CREDIT_UPDATE);
        break;
      case Op.CREDIT_UPDATE:
        this.pump();
        break;
      case Op.SHUTDOWN:
        if (flags & SHUTDOWN_SEND && !c.guestOver) {
          c.guestOver = true;
          c.peer?.end();
        }
        // Both ways: the end, which is answered with a reset.
        if ((flags & SHUTDOWN_RCV && c.guestOver) || (c.guestOver && c.shut)) this.abort(c);
        break;
      default:
        this.abort(c);
    }
  }

  private data(c: Connection, length: number): void {
    // More than there is room for breaks the rules, and so does a packet shorter than it says.
    if (c.peer === null || c.guestOver || length > c.peer.room || length > MAX_PAYLOAD || this.outChain.readInto(this.t!.mem, this.payload.subarray(0, length), HDR_BYTES) !== length) {
      this.abort(c);
      return;
    }
    c.fromGuest += length;
    c.peer.send(this.payload.subarray(0, length));
  }

  // ---- state ----

  /** VIRTIO_VSOCK_EVENT_TRANSPORT_RESET: 0. */
  private tellLost(): void {
    const t = this.t!;
    const vq = t.queue[EVENT]!;
    if (!this.lost || !this.running || !vq.pop(this.chain)) return;
    this.lost = false;
    vq.push(this.chain.head, Math.max(0, this.chain.writeFrom(t.mem, new Uint8Array(4))));
    t.signal(EVENT);
  }

  reset(): void {
    this.running = false;
    this.lost = false;
    for (const c of [...this.connections.values()]) this.forget(c);
    this.control = [];
  }

  save(): Record<string, unknown> {
    return saveState(SCHEMA, VERSION, { lost: this.lost || this.connections.size > 0, running: this.running });
  }

  /** Connections do not outlive the machine: the guest is told. */
  restore(s: Record<string, unknown>): void {
    const { lost, running } = loadState('virtio-vsock', SCHEMA, VERSION, s as ReturnType<typeof saveState>);
    this.reset();
    this.lost = lost;
    this.running = running;
  }
}

const key = (hostPort: number, guestPort: number): string => `${hostPort}:${guestPort}`;
