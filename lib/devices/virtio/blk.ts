/** Virtio block device (Virtual I/O Device 1.2, 5.2): multi-request queue, flush, discard-free. */
import type { BlockBackend } from '../../block/backend.js';
import type { IoHandler } from '../device.js';
import type { VirtioDevice, VirtioTransport } from './pci-transport.js';
import { Chain } from './queue.js';

const F_SEG_MAX = 1 << 2;
const F_RO = 1 << 5;
const F_BLK_SIZE = 1 << 6;
const F_FLUSH = 1 << 9;
const enum Req { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8 }
const enum St { OK = 0, IOERR = 1, UNSUPP = 2 }
const SECTOR = 512;
const HEADER = 16;
/** Largest single request: what seg_max segments of 64 KiB could carry is far more than drivers send. */
const MAX_BYTES = 16 * 1024 * 1024;

export class VirtioBlk implements VirtioDevice {
  readonly type = 2;
  readonly queues = 1;
  readonly pciClass = 0x0100;
  readonly features: number;
  readonly config: IoHandler;
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly header = new Uint8Array(HEADER);
  private readonly headerView = new DataView(this.header.buffer);
  private readonly cfg = new Uint8Array(60);
  private readonly one = new Uint8Array(1);
  private buffer = new Uint8Array(65536);

  constructor(
    private readonly disk: BlockBackend,
    private readonly serial: string,
    private readonly log: (message: string) => void,
  ) {
    this.features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | (disk.readonly ? F_RO : 0);
    const v = new DataView(this.cfg.buffer);
    const sectors = Math.floor(disk.size / SECTOR);
    v.setUint32(0, sectors % 0x1_0000_0000, true);
    v.setUint32(4, Math.floor(sectors / 0x1_0000_0000), true);
    v.setUint32(12, 126, true);
    v.setUint32(20, SECTOR, true);
    this.config = {
      read: (o, s) => {
        let x = 0;
        for (let i = s - 1; i >= 0; i--) x = x * 256 + (this.cfg[o + i] ?? 0);
        return x;
      },
      write: () => {},
    };
  }

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(): void {}

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
    const sector = this.headerView.getUint32(8, true) + this.headerView.getUint32(12, true) * 0x1_0000_0000;
    let written = 0;
    let status = St.OK;
    try {
      if (type === Req.IN) {
        const n = c.writeBytes - 1;
        status = this.check(sector, n) ? St.OK : St.IOERR;
        if (status === St.OK) {
          const b = this.room(n);
          this.disk.read(sector * SECTOR, b);
          if (c.writeFrom(t.mem, b) === n) written = n;
          else status = St.IOERR;
        }
      } else if (type === Req.OUT) {
        const n = c.readBytes - HEADER;
        status = this.check(sector, n) && !this.disk.readonly ? St.OK : St.IOERR;
        if (status === St.OK) {
          const b = this.room(n);
          if (c.readInto(t.mem, b, HEADER) === n) this.disk.write(sector * SECTOR, b);
          else status = St.IOERR;
        }
      } else if (type === Req.FLUSH) {
        this.disk.flush();
      } else if (type === Req.GET_ID) {
        const id = new Uint8Array(20);
        id.set(Buffer.from(this.serial, 'latin1').subarray(0, 20));
        written = Math.max(0, c.writeFrom(t.mem, id.subarray(0, Math.min(20, c.writeBytes - 1))));
      } else {
        status = St.UNSUPP;
      }
    } catch (e) {
      this.log(`virtio-blk: ${(e as Error).message}`);
      status = St.IOERR;
    }
    this.one[0] = status;
    c.writeFrom(t.mem, this.one, c.writeBytes - 1);
    return written + 1;
  }

  private check(sector: number, bytes: number): boolean {
    return bytes >= 0 && bytes % SECTOR === 0 && bytes <= MAX_BYTES && sector * SECTOR + bytes <= this.disk.size;
  }

  private room(n: number): Uint8Array {
    if (n > this.buffer.length) this.buffer = new Uint8Array(n);
    return this.buffer.subarray(0, n);
  }

  reset(): void {}

  save(): Record<string, unknown> {
    return {};
  }

  restore(): void {}
}
