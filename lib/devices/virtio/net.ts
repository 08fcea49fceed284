/**
 * Virtio network device (Virtual I/O Device 1.2, 5.1): checksum and TCPv4 segmentation offload both ways, mergeable receive
 * buffers, control queue with receive filters, several queue pairs.
 */
import { be16, ETH_HEADER, EtherType, IpProto, MAX_FRAME, MTU } from '../../net/packet.js';
import type { FrameInfo, NetBackend, NicAbilities, NicEnd } from '../../net/port.js';
import { VmxError } from '../../errors.js';
import { bool, bytes, int, loadState, type Rule, saveState, type Schema, u32 } from '../saved.js';
import type { IoHandler, SavedState } from '../device.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';
import { Chain } from './queue.js';

/** Feature bits (5.1.3). */
const enum F {
  CSUM = 1 << 0,
  GUEST_CSUM = 1 << 1,
  MTU = 1 << 3,
  MAC = 1 << 5,
  GUEST_TSO4 = 1 << 7,
  HOST_TSO4 = 1 << 11,
  MRG_RXBUF = 1 << 15,
  STATUS = 1 << 16,
  CTRL_VQ = 1 << 17,
  CTRL_RX = 1 << 18,
  MQ = 1 << 22,
  CTRL_MAC_ADDR = 1 << 23,
}

/** struct virtio_net_hdr (5.1.6): offsets. */
const enum Hdr { FLAGS = 0, GSO_TYPE = 1, HDR_LEN = 2, GSO_SIZE = 4, CSUM_START = 6, CSUM_OFFSET = 8, NUM_BUFFERS = 10, BYTES = 12 }
const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;

/** Classes and commands of the control queue (5.1.6.5). */
const enum Ctrl { RX = 0, MAC = 1, MQ = 4 }
const enum RxCmd { PROMISC = 0, ALLMULTI = 1, ALLUNI = 2, NOMULTI = 3, NOUNI = 4, NOBCAST = 5 }
const enum MacCmd { TABLE_SET = 0, ADDR_SET = 1 }
const VQ_PAIRS_SET = 0;
const ACK_OK = 0;
const ACK_ERR = 1;

const LINK_UP = 1;
const MAX_TSO_FRAME = ETH_HEADER + 65535;
/** Addresses each filter table holds; more of them switch the filter off. */
const MAX_TABLE = 64;
const MAX_CTRL_BYTES = 16 + 2 * (4 + 6 * 1024);
/** Flows whose queue is remembered. */
const FLOWS = 256;

const VERSION = 1;

interface State {
  /** The driver has set DRIVER_OK, and what it acknowledged. */
  running: boolean;
  features: number;
  mac: Uint8Array;
  promisc: boolean;
  allMulti: boolean;
  noMulti: boolean;
  noUni: boolean;
  noBroadcast: boolean;
  /** Unicast and multicast addresses, 6 bytes each. */
  unicast: Uint8Array;
  multicast: Uint8Array;
  /** Queue pairs in use. */
  pairs: number;
}

export interface VirtioNetOptions {
  mac: Uint8Array;
  backend: NetBackend;
  /** Queue pairs offered, 1..8. Default 1. */
  pairs?: number;
}

export class VirtioNet implements VirtioDevice, NicEnd {
  readonly type = 1;
  readonly queues: number;
  readonly pciClass = 0x0200;
  readonly features: number;
  readonly config: IoHandler;
  readonly abilities: NicAbilities = { maxFrame: MAX_FRAME, checksumFree: false };
  private readonly maxPairs: number;
  private readonly schema: Schema<State>;
  private t: VirtioTransport | null = null;
  private s: State;
  /** One each: the back end may answer while a frame is being sent. */
  private readonly chain = new Chain();
  private readonly rxChain = new Chain();
  private readonly hdr = new Uint8Array(Hdr.BYTES);
  private readonly hdrView = new DataView(this.hdr.buffer);
  private readonly out = new Uint8Array(Hdr.BYTES + MAX_TSO_FRAME);
  private readonly outView = new DataView(this.out.buffer);
  private readonly info: FrameInfo = { gsoSize: 0, noChecksum: false };
  /** Receive queue by a hash of the flow: the pair the guest last sent it on. */
  private readonly steering = new Uint8Array(FLOWS);
  /** Heads and lengths of the chains that hold the frame being received. */
  private readonly heads = new Uint32Array(64);
  private readonly lens = new Uint32Array(64);
  /** The first of several chains, for num_buffers. */
  private readonly first = new Chain();
  private readonly two = new Uint8Array(2);

  constructor(private readonly o: VirtioNetOptions) {
    this.maxPairs = o.pairs ?? 1;
    this.queues = this.maxPairs * 2 + 1;
    this.schema = {
      running: bool,
      features: u32,
      mac: bytes(6),
      promisc: bool,
      allMulti: bool,
      noMulti: bool,
      noUni: bool,
      noBroadcast: bool,
      unicast: addressList,
      multicast: addressList,
      pairs: int(1, this.maxPairs),
    };
    this.s = this.initial();
    this.features =
      (F.GUEST_CSUM | F.GUEST_TSO4 | F.MTU | F.MAC | F.MRG_RXBUF | F.STATUS | F.CTRL_VQ | F.CTRL_RX | F.CTRL_MAC_ADDR | (o.backend.offload ? F.CSUM | F.HOST_TSO4 : 0) | (this.maxPairs > 1 ? F.MQ : 0)) >>> 0;
    this.config = {
      read: (offset, size) => {
        let v = 0;
        for (let i = size - 1; i >= 0; i--) v = v * 256 + this.configByte(offset + i);
        return v;
      },
      write: () => {},
    };
    o.backend.attach(this);
  }

  private initial(): State {
    const none = new Uint8Array(0);
    return { running: false, features: 0, mac: this.o.mac.slice(), promisc: true, allMulti: false, noMulti: false, noUni: false, noBroadcast: false, unicast: none, multicast: none, pairs: 1 };
  }

  /** struct virtio_net_config (5.1.4). */
  private configByte(at: number): number {
    if (at < 6) return this.s.mac[at]!;
    switch (at) {
      case 6:
        return LINK_UP;
      case 8:
        return this.maxPairs;
      case 10:
        return MTU & 255;
      case 11:
        return MTU >> 8;
      default:
        return 0;
    }
  }

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(features: number): void {
    this.s.features = features >>> 0;
    this.s.running = true;
    this.tellAbilities();
    this.o.backend.room();
  }

  private tellAbilities(): void {
    const { features } = this.s;
    this.abilities.checksumFree = (features & F.GUEST_CSUM) !== 0;
    this.abilities.maxFrame = features & F.GUEST_TSO4 ? MAX_TSO_FRAME : MAX_FRAME;
  }

  notify(q: number): void {
    if (q === this.queues - 1 || (!(this.s.features & F.MQ) && q === 2)) this.control(q);
    else if (q & 1) this.send(q);
    else this.o.backend.room();
  }

  // ---- transmit ----

  private send(q: number): void {
    const t = this.t!;
    const vq = t.queue[q]!;
    const c = this.chain;
    // Bounded: a driver cannot have more chains outstanding than the queue has entries.
    for (let n = 0; n < vq.size && vq.pop(c); n++) {
      this.frame(t, q >> 1);
      vq.push(c.head, 0);
    }
    t.signal(q);
    this.o.backend.flush();
  }

  private frame(t: VirtioTransport, pair: number): void {
    const c = this.chain;
    const length = c.readBytes - Hdr.BYTES;
    if (length < ETH_HEADER || length > MAX_TSO_FRAME || c.readInto(t.mem, this.out.subarray(0, c.readBytes)) !== c.readBytes) return;
    const frame = this.out.subarray(Hdr.BYTES, Hdr.BYTES + length);
    if (this.maxPairs > 1) this.steering[flowHash(frame, false)] = pair;
    this.info.noChecksum = (this.s.features & F.CSUM) !== 0 && (this.out[Hdr.FLAGS]! & NEEDS_CSUM) !== 0;
    const gso = (this.s.features & F.HOST_TSO4) !== 0 && (this.out[Hdr.GSO_TYPE]! & 0x7f) === GSO_TCPV4;
    this.info.gsoSize = gso ? this.outView.getUint16(Hdr.GSO_SIZE, true) : 0;
    if (!gso && length > MAX_FRAME + 4) return;
    this.o.backend.transmit(frame, this.info);
  }

  // ---- receive ----

  receive(frame: Uint8Array, info: Readonly<FrameInfo>): boolean {
    // A card that nobody drives takes frames and loses them.
    if (!this.s.running || !this.accepts(frame)) return true;
    const t = this.t!;
    const pair = this.s.pairs > 1 ? this.steering[flowHash(frame, true)]! % this.s.pairs : 0;
    const q = pair * 2;
    const vq = t.queue[q]!;
    this.header(frame, info);
    const merge = (this.s.features & F.MRG_RXBUF) !== 0;
    const c = this.rxChain;
    let chains = 0;
    let done = 0;
    while (done < frame.length || chains === 0) {
      if (chains === this.heads.length || !vq.pop(c)) {
        // Not enough buffers: what was taken goes back, the frame waits.
        for (; chains > 0; chains--) vq.undoPop();
        return vq.broken;
      }
      const skip = chains === 0 ? Hdr.BYTES : 0;
      const room = c.writeBytes - skip;
      const n = Math.min(room, frame.length - done);
      if (room <= 0 || (!merge && n < frame.length) || (chains === 0 && c.writeFrom(t.mem, this.hdr) !== Hdr.BYTES) || c.writeFrom(t.mem, frame.subarray(done, done + n), skip) !== n) {
        // A buffer that cannot hold it: the frame is lost, the buffers go back empty.
        this.heads[chains++] = c.head;
        for (let i = 0; i < chains; i++) vq.push(this.heads[i]!, 0);
        t.signal(q);
        return true;
      }
      this.heads[chains] = c.head;
      this.lens[chains++] = skip + n;
      done += n;
      if (chains === 1 && n < frame.length) this.remember(c);
    }
    if (chains > 1) this.patchCount(t, chains);
    for (let i = 0; i < chains; i++) vq.push(this.heads[i]!, this.lens[i]!);
    t.signal(q);
    return true;
  }

  private remember(c: Chain): void {
    const f = this.first;
    f.clear();
    f.readable = c.readable;
    for (let i = 0; i < c.addr.length; i++) {
      f.addr.push(c.addr[i]!);
      f.len.push(c.len[i]!);
    }
  }

  private patchCount(t: VirtioTransport, chains: number): void {
    this.two[0] = chains;
    this.two[1] = chains >> 8;
    this.first.writeFrom(t.mem, this.two, Hdr.NUM_BUFFERS);
  }

  private header(frame: Uint8Array, info: Readonly<FrameInfo>): void {
    const h = this.hdr;
    h.fill(0);
    h[Hdr.NUM_BUFFERS] = 1;
    if (!info.noChecksum) return;
    const ihl = (frame[ETH_HEADER]! & 15) * 4;
    const start = ETH_HEADER + ihl;
    const tcp = frame[ETH_HEADER + 9] === IpProto.TCP;
    h[Hdr.FLAGS] = NEEDS_CSUM;
    this.hdrView.setUint16(Hdr.CSUM_START, start, true);
    this.hdrView.setUint16(Hdr.CSUM_OFFSET, tcp ? 16 : 6, true);
    if (info.gsoSize === 0) return;
    h[Hdr.GSO_TYPE] = GSO_TCPV4;
    this.hdrView.setUint16(Hdr.GSO_SIZE, info.gsoSize, true);
    this.hdrView.setUint16(Hdr.HDR_LEN, start + (frame[start + 12]! >>> 4) * 4, true);
  }

  private accepts(f: Uint8Array): boolean {
    const s = this.s;
    if (s.promisc) return true;
    if (f[0]! & 1) {
      if (f[0] === 0xff && f[1] === 0xff && f[2] === 0xff && f[3] === 0xff && f[4] === 0xff && f[5] === 0xff) return !s.noBroadcast;
      return s.allMulti || (!s.noMulti && contains(s.multicast, f));
    }
    return !s.noUni && (contains(s.mac, f) || contains(s.unicast, f));
  }

  // ---- control queue ----

  private control(q: number): void {
    const t = this.t!;
    const vq = t.queue[q]!;
    const c = this.chain;
    for (let n = 0; n < vq.size && vq.pop(c); n++) {
      const size = Math.min(c.readBytes, MAX_CTRL_BYTES);
      const b = new Uint8Array(size);
      const ok = c.readInto(t.mem, b) === size && size >= 2 && this.command(b);
      const written = c.writeFrom(t.mem, Uint8Array.of(ok ? ACK_OK : ACK_ERR));
      vq.push(c.head, Math.max(0, written));
    }
    t.signal(q);
  }

  private command(b: Uint8Array): boolean {
    const s = this.s;
    const on = b[2] === 1;
    switch (b[0]) {
      case Ctrl.RX:
        if (b.length !== 3) return false;
        if (b[1] === RxCmd.PROMISC) s.promisc = on;
        else if (b[1] === RxCmd.ALLMULTI) s.allMulti = on;
        else if (b[1] === RxCmd.NOMULTI) s.noMulti = on;
        else if (b[1] === RxCmd.NOUNI) s.noUni = on;
        else if (b[1] === RxCmd.NOBCAST) s.noBroadcast = on;
        else return false;
        return true;
      case Ctrl.MAC:
        if (b[1] === MacCmd.ADDR_SET && b.length === 8) {
          s.mac = b.slice(2);
          return true;
        }
        return b[1] === MacCmd.TABLE_SET && this.tables(b);
      case Ctrl.MQ: {
        const pairs = b.length === 4 ? b[2]! | (b[3]! << 8) : 0;
        if (b[1] !== VQ_PAIRS_SET || !(this.s.features & F.MQ) || pairs < 1 || pairs > this.maxPairs) return false;
        s.pairs = pairs;
        return true;
      }
      default:
        return false;
    }
  }

  /** Two tables, each a count of 32 bits and addresses: unicast, multicast. */
  private tables(b: Uint8Array): boolean {
    const v = new DataView(b.buffer, b.byteOffset, b.length);
    const found: Uint8Array[] = [];
    let at = 2;
    for (let i = 0; i < 2; i++) {
      if (at + 4 > b.length) return false;
      const n = v.getUint32(at, true);
      if (n > (b.length - at - 4) / 6) return false;
      found.push(b.slice(at + 4, at + 4 + n * 6));
      at += 4 + n * 6;
    }
    const [unicast, multicast] = found as [Uint8Array, Uint8Array];
    if (unicast.length > MAX_TABLE * 6) this.s.promisc = true;
    else this.s.unicast = unicast;
    if (multicast.length > MAX_TABLE * 6) this.s.allMulti = true;
    else this.s.multicast = multicast;
    return true;
  }

  reset(): void {
    this.s = this.initial();
    this.tellAbilities();
    this.steering.fill(0);
  }

  save(): Record<string, unknown> {
    return saveState(this.schema, VERSION, this.s);
  }

  restore(s: Record<string, unknown>): void {
    this.s = loadState('virtio-net', this.schema, VERSION, s as SavedState);
    this.tellAbilities();
  }
}

/** One of the addresses in `list` is the frame's destination. */
function contains(list: Uint8Array, f: Uint8Array): boolean {
  for (let i = 0; i < list.length; i += 6) {
    if (list[i] === f[0] && list[i + 1] === f[1] && list[i + 2] === f[2] && list[i + 3] === f[3] && list[i + 4] === f[4] && list[i + 5] === f[5]) return true;
  }
  return false;
}

/** The same for both directions of a TCP or UDP flow over IPv4; 0 for anything else. `inbound`: towards the guest. */
function flowHash(f: Uint8Array, inbound: boolean): number {
  if (f.length < ETH_HEADER + 24 || be16(f, 12) !== EtherType.IPV4) return 0;
  const proto = f[ETH_HEADER + 9]!;
  if (proto !== IpProto.TCP && proto !== IpProto.UDP) return 0;
  const at = ETH_HEADER + (f[ETH_HEADER]! & 15) * 4;
  if (at + 4 > f.length) return 0;
  const remote = be16(f, at + (inbound ? 0 : 2));
  const local = be16(f, at + (inbound ? 2 : 0));
  return (remote ^ (remote >>> 8) ^ (local * 31) ^ (local >>> 5)) & (FLOWS - 1);
}

/** Up to MAX_TABLE addresses of 6 bytes. */
const addressList: Rule<Uint8Array> = {
  save: (v) => Buffer.from(v.buffer, v.byteOffset, v.length).toString('hex'),
  load: (raw, at) => {
    if (typeof raw !== 'string' || raw.length > MAX_TABLE * 12 || !/^([0-9a-f]{12})*$/.test(raw)) throw new VmxError('ERR_BAD_STATE', `saved state: ${at} is not a list of addresses`);
    return Uint8Array.from(Buffer.from(raw, 'hex'));
  },
};
