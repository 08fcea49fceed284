/** Virtio console (Virtual I/O Device 1.2, 5.3): one console, or several ports with names. */
import { ByteQueue } from '../byte-queue.js';
import type { GuestMemory, IoHandler } from '../device.js';
import { array, bool, int, list, loadState, type Rule, saveState, type Schema, struct, u32 } from '../saved.js';
import { STREAM_WINDOW, type StreamClient, type StreamPeer } from '../stream.js';
import { Chain } from './queue.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';

const F_MULTIPORT = 1 << 1;
/** Queues of control messages, and the first one of port 1. */
const CONTROL_RX = 2;
const CONTROL_TX = 3;
const PORT1 = 4;
/** Ports of one device. */
export const MAX_PORTS = 16;
const CHUNK = 4096;
/** Control messages that wait for buffers. */
const MAX_CONTROL = 8 * MAX_PORTS;
/** struct virtio_console_control: id, event, value. */
const CONTROL_BYTES = 8;
const enum Event { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME = 7 }
/** Notifications may find this many bytes to send before others get their turn. */
const BURST = 1 << 20;

interface PortState {
  /** Somebody on the host has the port open. */
  open: boolean;
  /** The guest has been told of the port and is ready for it. */
  ready: boolean;
  /** The guest has opened its side: before, its driver throws away what it receives. */
  guestOpen: boolean;
  /** Bytes of the chain that is sent next which have been sent. */
  sent: number;
  /** Input for the guest. */
  input: string;
}

interface Message {
  port: number;
  event: number;
  value: number;
}

const saved: Rule<string> = {
  save: (v) => v,
  load: (raw) => {
    new ByteQueue(STREAM_WINDOW).restore(raw);
    return raw as string;
  },
};
const PORT: Schema<PortState> = { open: bool, ready: bool, guestOpen: bool, sent: u32, input: saved };
const MESSAGE: Schema<Message> = { port: int(0, MAX_PORTS - 1), event: int(0, 7), value: int(0, 1) };
const VERSION = 1;

/** One port: its two queues and what it is connected to. */
class Port implements StreamClient {
  readonly input = new ByteQueue(STREAM_WINDOW);
  sent = 0;
  ready = false;
  guestOpen: boolean;
  peer!: StreamPeer;
  /** Open on both sides, always. */
  private readonly console: boolean;
  private readonly chain = new Chain();
  private readonly buffer = new Uint8Array(CHUNK);

  constructor(
    readonly name: string,
    /** Numbers of its queues. */
    readonly rx: number,
    readonly tx: number,
    public open: boolean,
    private readonly changed: (p: Port) => void,
    private readonly transport: () => VirtioTransport,
  ) {
    this.console = open;
    this.guestOpen = open;
  }

  received(bytes: Uint8Array): void {
    this.input.push(bytes);
    this.deliver();
  }

  roomChanged(): void {
    this.transmit();
  }

  opened(): void {
    if (this.open) return;
    this.open = true;
    this.changed(this);
  }

  ended(): void {}

  closed(): void {
    this.open = false;
    this.input.clear();
    this.changed(this);
  }

  deliver(): void {
    if (!this.guestOpen) return;
    const t = this.transport();
    const vq = t.queue[this.rx]!;
    for (let n = 0; n < vq.size && this.input.length > 0 && vq.pop(this.chain); n++) {
      const part = this.input.peek(Math.min(this.chain.writeBytes, CHUNK));
      const done = Math.max(0, this.chain.writeFrom(t.mem, part));
      this.input.drop(done);
      vq.push(this.chain.head, done);
      this.peer.consumed(done);
    }
    t.signal(this.rx);
  }

  transmit(): void {
    const t = this.transport();
    const vq = t.queue[this.tx]!;
    for (let n = 0; n < vq.size && this.room > 0 && vq.pop(this.chain); n++) {
      if (!this.send(t.mem)) {
        vq.undoPop();
        break;
      }
      this.sent = 0;
      vq.push(this.chain.head, 0);
    }
    t.signal(this.tx);
  }

  /** What nobody reads is dropped: drivers hold back what they send to a port that is not open. */
  private get room(): number {
    return this.open ? this.peer.room : Infinity;
  }

  /** @returns whether all of the chain is on its way. */
  private send(mem: GuestMemory): boolean {
    const end = Math.min(this.chain.readBytes, BURST);
    while (this.sent < end) {
      const room = Math.min(CHUNK, this.room);
      if (room === 0) return false;
      const got = this.chain.readInto(mem, this.buffer.subarray(0, room), this.sent);
      if (got <= 0) return true;
      if (this.open) this.peer.send(this.buffer.subarray(0, got));
      this.sent += got;
    }
    return true;
  }

  reset(): void {
    this.sent = 0;
    this.ready = false;
    this.guestOpen = this.console;
  }
}

/** Connects a port to the world. */
export interface PortSpec {
  name: string;
  connect(client: StreamClient): StreamPeer;
}

abstract class PortsDevice implements VirtioDevice {
  readonly type = 3;
  readonly pciClass = 0x0780;
  readonly queues: number;
  readonly features: number;
  readonly config: IoHandler = { read: (o, size) => this.configRead(o, size), write: () => {} };
  protected readonly ports: readonly Port[];
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  /** A message of the guest, which may be answered before it is given back. */
  private readonly request = new Chain();
  private readonly bytes = new Uint8Array(CONTROL_BYTES);
  private readonly view = new DataView(this.bytes.buffer);
  /** Control messages for the guest. */
  private control: Message[] = [];

  constructor(
    specs: readonly PortSpec[],
    private readonly multiport: boolean,
  ) {
    this.features = multiport ? F_MULTIPORT : 0;
    this.queues = multiport ? PORT1 + 2 * (specs.length - 1) : 2;
    this.ports = specs.map((s, i) => {
      const first = i === 0 ? 0 : PORT1 + 2 * (i - 1);
      return new Port(s.name, first, first + 1, !multiport, (p) => this.openChanged(p), () => this.t!);
    });
    specs.forEach((s, i) => (this.ports[i]!.peer = s.connect(this.ports[i]!)));
  }

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(): void {
    for (const p of this.ports) p.deliver();
  }

  private openChanged(p: Port): void {
    if (p.ready) this.tell({ port: this.ports.indexOf(p), event: Event.PORT_OPEN, value: p.open ? 1 : 0 });
    p.transmit();
  }

  notify(q: number): void {
    if (this.multiport && q === CONTROL_RX) this.flushControl();
    else if (this.multiport && q === CONTROL_TX) this.takeControl();
    else {
      const p = this.ports.find((x) => x.rx === q || x.tx === q);
      if (p?.rx === q) p.deliver();
      else p?.transmit();
    }
  }

  // ---- control messages (5.3.6.2) ----

  private tell(m: Message): void {
    if (this.control.length < MAX_CONTROL) this.control.push(m);
    this.flushControl();
  }

  private flushControl(): void {
    const t = this.t!;
    const vq = t.queue[CONTROL_RX]!;
    for (let n = 0; n < vq.size && this.control.length > 0 && vq.pop(this.chain); n++) {
      const m = this.control.shift()!;
      const name = m.event === (Event.PORT_NAME as number) ? Buffer.from(this.ports[m.port]!.name) : new Uint8Array(0);
      this.view.setUint32(0, m.port, true);
      this.view.setUint16(4, m.event, true);
      this.view.setUint16(6, m.value, true);
      vq.push(this.chain.head, Math.max(0, this.chain.writeFrom(t.mem, Buffer.concat([this.bytes, name]))));
    }
    t.signal(CONTROL_RX);
  }

  private takeControl(): void {
    const t = this.t!;
    const vq = t.queue[CONTROL_TX]!;
    for (let n = 0; n < vq.size && vq.pop(this.request); n++) {
      if (this.request.readInto(t.mem, this.bytes) === CONTROL_BYTES) this.controlled(this.view.getUint32(0, true), this.view.getUint16(4, true), this.view.getUint16(6, true));
      vq.push(this.request.head, 0);
    }
    t.signal(CONTROL_TX);
  }

  private controlled(port: number, event: number, value: number): void {
    if (event === (Event.DEVICE_READY as number)) {
      if (value === 1) this.ports.forEach((_, i) => this.tell({ port: i, event: Event.PORT_ADD, value: 1 }));
      return;
    }
    const p = this.ports[port];
    if (p === undefined) return;
    if (event === (Event.PORT_OPEN as number)) {
      p.guestOpen = value === 1;
      p.deliver();
    }
    if (event !== (Event.PORT_READY as number)) return;
    p.ready = value === 1;
    if (!p.ready) return;
    this.tell({ port, event: Event.PORT_NAME, value: 1 });
    if (p.open) this.tell({ port, event: Event.PORT_OPEN, value: 1 });
  }

  /** Columns and rows are not offered; then the greatest number of ports. */
  private configRead(offset: number, size: number): number {
    const v = this.multiport && offset >= 4 && offset < 8 ? this.ports.length >>> (8 * (offset - 4)) : 0;
    return size === 4 ? v : v & (size === 2 ? 0xffff : 0xff);
  }

  reset(): void {
    this.control = [];
    for (const p of this.ports) p.reset();
  }

  save(): Record<string, unknown> {
    const ports = this.ports.map((p) => ({ open: p.open, ready: p.ready, guestOpen: p.guestOpen, sent: p.sent, input: p.input.save() }));
    return saveState(this.schema(), VERSION, { control: this.control, ports });
  }

  restore(s: Record<string, unknown>): void {
    const v = loadState('virtio-console', this.schema(), VERSION, s as ReturnType<typeof saveState>);
    this.control = v.control;
    this.ports.forEach((p, i) => {
      const { ready, guestOpen, sent, input } = v.ports[i]!;
      // Whether somebody is there now is not part of the past.
      Object.assign(p, { ready, guestOpen, sent });
      p.input.restore(input);
    });
  }

  private schema(): Schema<{ control: Message[]; ports: PortState[] }> {
    return { control: list(MAX_CONTROL, struct(MESSAGE)), ports: array(this.ports.length, struct(PORT)) };
  }
}

/** A console: what the guest prints goes to `output`. */
export class VirtioConsole extends PortsDevice {
  constructor(output: (bytes: Uint8Array) => void) {
    super([{ name: 'console', connect: () => ({ room: Infinity, send: (b) => output(Uint8Array.from(b)), consumed() {}, end() {}, close() {} }) }], false);
  }

  /** @returns number of bytes taken. */
  receive(bytes: Uint8Array): number {
    const p = this.ports[0]!;
    const n = Math.min(bytes.length, p.input.room);
    p.received(bytes.subarray(0, n));
    return n;
  }
}

/** Up to MAX_PORTS ports, which Linux has as /dev/virtio-ports/NAME. */
export class VirtioSerial extends PortsDevice {
  constructor(ports: readonly PortSpec[]) {
    super(ports, true);
  }
}
