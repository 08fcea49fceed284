/** Virtio block device (Virtual I/O Device 1.2, 5.2): several queues, flush, discard, write zeroes, topology, write cache control. */
import { type BlockBackend, SECTOR } from '../../block/backend.js';
import type { IoHandler } from '../device.js';
import { Segments } from '../storage/segments.js';
import { Chain } from './queue.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';

/** Feature bits (5.2.3). */
const enum F {
  SEG_MAX = 1 << 2, RO = 1 << 5, BLK_SIZE = 1 << 6, FLUSH = 1 << 9, TOPOLOGY = 1 << 10, CONFIG_WCE = 1 << 11, MQ = 1 << 12, DISCARD = 1 << 13,
  WRITE_ZEROES = 1 << 14,
}
const enum Req { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 }
const enum St { OK = 0, IOERR = 1, UNSUPP = 2 }
/** Configuration space (5.2.4). */
const enum Cfg {
  CAPACITY = 0, SEG_MAX = 12, BLK_SIZE = 20, PHYSICAL_BLOCK_EXP = 24, MIN_IO = 26, OPT_IO = 28, WRITEBACK = 32, NUM_QUEUES = 34, DISCARD_SECTORS = 36,
  DISCARD_SEG = 40, DISCARD_ALIGNMENT = 44, ZEROES_SECTORS = 48, ZEROES_SEG = 52, ZEROES_MAY_UNMAP = 56, BYTES = 60,
}
const HEADER = 16;
const RANGE = 16;
const ID_BYTES = 20;
const SEG_MAX = 126;
/** Largest single request: what drivers send is far less. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Ranges of one discard or write-zeroes request, and the sectors of each. */
const MAX_RANGES = 16;
const MAX_RANGE_SECTORS = 0x20_0000;
/** Physical blocks of 4 KiB: what images like best. */
const PHYSICAL_BLOCK_EXP = 3;
const UNMAP = 1;

export class VirtioBlk implements VirtioDevice {
  readonly type = 2;
  readonly pciClass = 0x0100;
  readonly features: number;
  readonly config: IoHandler;
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly header = new Uint8Array(HEADER);
  private readonly headerView = new DataView(this.header.buffer);
  private readonly cfg = new Uint8Array(Cfg.BYTES);
  private readonly one = new Uint8Array(1);
  private readonly ranges = new Uint8Array(RANGE * MAX_RANGES);
  private readonly rangeView = new DataView(this.ranges.buffer);
  private readonly id = new Uint8Array(ID_BYTES);
  private segments: Segments | null = null;
  /** Bytes of data that the current request has written to the driver's buffers. */
  private written = 0;
  // Volatile state.
  /** The driver flushes what must last; else every write does so itself. */
  private writeback = true;

  constructor(
    private readonly disk: BlockBackend,
    serial: string,
    private readonly log: (message: string) => void,
    readonly queues = 1,
  ) {
    const writable = F.CONFIG_WCE | F.DISCARD | F.WRITE_ZEROES;
    this.features = F.SEG_MAX | F.BLK_SIZE | F.FLUSH | F.TOPOLOGY | (queues > 1 ? F.MQ : 0) | (disk.readonly ? F.RO : writable);
    this.id.set(Buffer.from(serial, 'latin1').subarray(0, ID_BYTES));
    const v = new DataView(this.cfg.buffer);
    const sectors = Math.floor(disk.size / SECTOR);
    v.setUint32(Cfg.CAPACITY, sectors % 0x1_0000_0000, true);
    v.setUint32(Cfg.CAPACITY + 4, Math.floor(sectors / 0x1_0000_0000), true);
    v.setUint32(Cfg.SEG_MAX, SEG_MAX, true);
    v.setUint32(Cfg.BLK_SIZE, SECTOR, true);
    this.cfg[Cfg.PHYSICAL_BLOCK_EXP] = PHYSICAL_BLOCK_EXP;
    v.setUint16(Cfg.MIN_IO, 1 << PHYSICAL_BLOCK_EXP, true);
    v.setUint16(Cfg.NUM_QUEUES, queues, true);
    v.setUint32(Cfg.DISCARD_SECTORS, MAX_RANGE_SECTORS, true);
    v.setUint32(Cfg.DISCARD_SEG, MAX_RANGES, true);
    v.setUint32(Cfg.DISCARD_ALIGNMENT, 1 << PHYSICAL_BLOCK_EXP, true);
    v.setUint32(Cfg.ZEROES_SECTORS, MAX_RANGE_SECTORS, true);
    v.setUint32(Cfg.ZEROES_SEG, MAX_RANGES, true);
    this.cfg[Cfg.ZEROES_MAY_UNMAP] = 1;
    this.config = {
      read: (o, s) => {
        this.cfg[Cfg.WRITEBACK] = this.writeback ? 1 : 0;
        let x = 0;
        for (let i = s - 1; i >= 0; i--) x = x * 256 + (this.cfg[o + i] ?? 0);
        return x;
      },
      write: (o, s, value) => {
        if (o === Cfg.WRITEBACK && s === 1 && !disk.readonly) this.setWriteback((value & 1) !== 0);
      },
    };
  }

  /** What was written under the old rule must last under the new one. */
  private setWriteback(on: boolean): void {
    const before = this.writeback;
    this.writeback = on;
    if (on || !before) return;
    try {
      this.disk.flush();
    } catch (e) {
      this.log(`virtio-blk: ${(e as Error).message}`);
    }
  }

  attach(t: VirtioTransport): void {
    this.t = t;
    this.segments = new Segments(t.mem);
  }

  /** Drivers that know nothing of flushing get a disk that needs none (5.2.6.2). */
  ready(features: number): void {
    if (!(features & F.FLUSH)) this.setWriteback(false);
  }

  notify(q: number): void {
    const t = this.t!;
    const vq = t.queue[q]!;
    // Bounded: a driver cannot have more chains outstanding than the queue has entries.
    for (let n = 0; n < vq.size && vq.pop(this.chain); n++) vq.push(this.chain.head, this.request(t));
    t.signal(q);
  }

  /** Executes the request in `chain`. @returns bytes written to the driver's buffers. */
  private request(t: VirtioTransport): number {
    const c = this.chain;
    if (c.writeBytes < 1 || c.readInto(t.mem, this.header) < HEADER) return 0;
    const type = this.headerView.getUint32(0, true);
    const offset = (this.headerView.getUint32(8, true) + this.headerView.getUint32(12, true) * 0x1_0000_0000) * SECTOR;
    this.written = 0;
    try {
      this.one[0] = this.execute(t, type, offset);
    } catch (e) {
      this.log(`virtio-blk: ${(e as Error).message}`);
      this.one[0] = St.IOERR;
    }
    c.writeFrom(t.mem, this.one, c.writeBytes - 1);
    return this.written + 1;
  }

  private execute(t: VirtioTransport, type: number, offset: number): St {
    const c = this.chain;
    switch (type) {
      case Req.IN:
        return this.read(offset, c.writeBytes - 1);
      case Req.OUT:
        return this.write(offset, c.readBytes - HEADER);
      case Req.FLUSH:
        this.disk.flush();
        return St.OK;
      case Req.GET_ID:
        this.written = Math.max(0, c.writeFrom(t.mem, this.id.subarray(0, Math.min(ID_BYTES, c.writeBytes - 1))));
        return St.OK;
      case Req.DISCARD:
      case Req.WRITE_ZEROES:
        return this.disk.readonly ? St.IOERR : this.rangeRequest(t, type === Req.WRITE_ZEROES);
      default:
        return St.UNSUPP;
    }
  }

  private fits(offset: number, bytes: number): boolean {
    return bytes >= 0 && bytes % SECTOR === 0 && offset + bytes <= this.disk.size;
  }

  private read(offset: number, n: number): St {
    if (!this.fits(offset, n) || n > MAX_BYTES) return St.IOERR;
    const c = this.chain;
    const s = this.segments!;
    s.clear();
    for (let i = c.readable; i < c.addr.length && s.total < n; i++) s.add(c.addr[i]!, Math.min(c.len[i]!, n - s.total));
    if (!s.readFrom(this.disk, offset)) return St.IOERR;
    this.written = n;
    return St.OK;
  }

  private write(offset: number, n: number): St {
    if (this.disk.readonly || !this.fits(offset, n) || n > MAX_BYTES) return St.IOERR;
    const c = this.chain;
    const s = this.segments!;
    s.clear();
    let skip = HEADER;
    for (let i = 0; i < c.readable; i++) {
      const cut = Math.min(skip, c.len[i]!);
      skip -= cut;
      s.add(c.addr[i]! + cut, c.len[i]! - cut);
    }
    if (!s.writeTo(this.disk, offset)) return St.IOERR;
    if (!this.writeback) this.disk.flush();
    return St.OK;
  }

  /** All ranges are checked before anything is done. */
  private rangeRequest(t: VirtioTransport, zeroes: boolean): St {
    const n = this.chain.readBytes - HEADER;
    if (n <= 0 || n % RANGE || n > RANGE * MAX_RANGES) return St.IOERR;
    if (this.chain.readInto(t.mem, this.ranges.subarray(0, n), HEADER) < n) return St.IOERR;
    const v = this.rangeView;
    for (let pass = 0; pass < 2; pass++) {
      for (let at = 0; at < n; at += RANGE) {
        const offset = (v.getUint32(at, true) + v.getUint32(at + 4, true) * 0x1_0000_0000) * SECTOR;
        const length = v.getUint32(at + 8, true) * SECTOR;
        const flags = v.getUint32(at + 12, true);
        if (pass === 0) {
          // Unmap means something to write zeroes alone (5.2.6.2).
          if (flags & ~(zeroes ? UNMAP : 0)) return St.UNSUPP;
          if (!this.fits(offset, length) || length > MAX_RANGE_SECTORS * SECTOR) return St.IOERR;
        } else if (length > 0) {
          if (zeroes) this.disk.writeZeroes(offset, length, (flags & UNMAP) !== 0);
          else this.disk.discard(offset, length);
        }
      }
    }
    if (!this.writeback) this.disk.flush();
    return St.OK;
  }

  reset(): void {
    this.writeback = true;
  }

  save(): Record<string, unknown> {
    return { writeback: this.writeback };
  }

  restore(s: Record<string, unknown>): void {
    this.writeback = s.writeback !== false;
  }
}
