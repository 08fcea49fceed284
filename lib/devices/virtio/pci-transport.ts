/** Virtio over PCI, modern interface (Virtual I/O Device 1.2, 4.1). */
import { VmxError } from '../../errors.js';
import type { GuestMemory, SavedState } from '../device.js';
import { le32, type MsixTable, PciFunction, type PciHost } from '../pci/pci.js';
import type { VirtQueue } from './queue.js';
import { hi, Isr, lo, savedNumber, Status, type VirtioDevice, VirtioState, type VirtioTransport } from './transport.js';

export type { VirtioDevice, VirtioTransport };

const COMMON = 0x0000;
const ISR = 0x1000;
const DEVICE = 0x2000;
const NOTIFY = 0x3000;
const BAR_SIZE = 0x4000;
/** notify_off_multiplier. */
const NOTIFY_STEP = 4;
const NO_VECTOR = 0xffff;

/** Offsets in the common configuration structure (4.1.4.3). */
const enum Common {
  DEVICE_FEATURE_SELECT = 0x00, DEVICE_FEATURE = 0x04, DRIVER_FEATURE_SELECT = 0x08, DRIVER_FEATURE = 0x0c,
  CONFIG_MSIX_VECTOR = 0x10, NUM_QUEUES = 0x12, DEVICE_STATUS = 0x14, CONFIG_GENERATION = 0x15,
  QUEUE_SELECT = 0x16, QUEUE_SIZE = 0x18, QUEUE_MSIX_VECTOR = 0x1a, QUEUE_ENABLE = 0x1c, QUEUE_NOTIFY_OFF = 0x1e,
  QUEUE_DESC = 0x20, QUEUE_DRIVER = 0x28, QUEUE_DEVICE = 0x30,
}

export class VirtioPci extends PciFunction implements VirtioTransport {
  private readonly vectors: MsixTable;
  private readonly v: VirtioState;
  // Volatile state.
  private configVector = NO_VECTOR;

  constructor(
    name: string,
    host: PciHost,
    slot: number,
    readonly mem: GuestMemory,
    private readonly dev: VirtioDevice,
    log: (message: string) => void,
  ) {
    super(name, host, slot << 3, { vendor: 0x1af4, device: 0x1040 + dev.type, class: dev.pciClass, revision: 1, subsysVendor: 0x1af4, subsys: 0x1100, pin: 1 });
    this.v = new VirtioState(name, mem, dev, log, () => this.interrupt(this.configVector, Isr.CONFIG));
    this.vectors = this.addMsix(1, dev.queues + 1);
    // Drivers write a queue's number in 16 bits (4.1.5.2).
    const doorbells = Array.from({ length: dev.queues }, (_, q) => ({ offset: NOTIFY + q * NOTIFY_STEP, bytes: 2, match: -1, ring: () => this.notify(q) }));
    this.addBar(4, 'mem', BAR_SIZE, { read: (o, s) => this.barRead(o, s), write: (o, s, v) => this.barWrite(o, s, v), doorbells });
    const cap = (type: number, offset: number, length: number, extra: readonly number[] = []): void => {
      this.addCapability(0x09, [16 + extra.length, type, 4, 0, 0, 0, ...le32(offset), ...le32(length), ...extra]);
    };
    cap(1, COMMON, 0x38);
    cap(3, ISR, 4);
    cap(4, DEVICE, 0x1000);
    cap(2, NOTIFY, 0x1000, le32(NOTIFY_STEP));
    this.sealConfig();
    dev.attach(this);
  }

  get queue(): readonly VirtQueue[] {
    return this.v.queue;
  }

  signal(q: number): void {
    const vq = this.v.queue[q]!;
    if (vq.shouldInterrupt()) this.interrupt(vq.msixVector, Isr.QUEUE);
  }

  configChanged(): void {
    this.v.generation = (this.v.generation + 1) & 0xff;
    this.interrupt(this.configVector, Isr.CONFIG);
  }

  private interrupt(vector: number, isrBit: Isr): void {
    if (this.msixEnabled()) {
      if (vector !== NO_VECTOR) this.vectors.raise(vector);
      return;
    }
    this.v.isr |= isrBit;
    this.setIntx(true);
  }

  private barRead(offset: number, size: number): number {
    if (offset >= NOTIFY) return 0;
    if (offset >= DEVICE) return this.dev.config.read(offset - DEVICE, size);
    if (offset >= ISR) {
      if (offset !== ISR) return 0;
      const { isr } = this.v;
      this.v.isr = 0;
      this.setIntx(false);
      return isr;
    }
    const word = this.commonRead(offset & ~3);
    return size === 4 ? word >>> 0 : (word >>> ((offset & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private commonRead(r: number): number {
    const { v } = this;
    const q = v.selected;
    switch (r) {
      case Common.DEVICE_FEATURE_SELECT:
        return v.featureSelect;
      case Common.DEVICE_FEATURE:
        return v.offered();
      case Common.DRIVER_FEATURE_SELECT:
        return v.driverFeatureSelect;
      case Common.DRIVER_FEATURE:
        return v.acknowledged();
      case Common.CONFIG_MSIX_VECTOR:
        return this.configVector | (v.queue.length << 16);
      case Common.DEVICE_STATUS:
        return v.status | (v.generation << 8) | (v.select << 16);
      case Common.QUEUE_SIZE:
        return q === undefined ? 0 : q.size | (q.msixVector << 16);
      case Common.QUEUE_ENABLE:
        return q === undefined ? 0 : (q.enabled ? 1 : 0) | (v.select << 16);
      case Common.QUEUE_DESC:
        return lo(q?.desc);
      case Common.QUEUE_DESC + 4:
        return hi(q?.desc);
      case Common.QUEUE_DRIVER:
        return lo(q?.avail);
      case Common.QUEUE_DRIVER + 4:
        return hi(q?.avail);
      case Common.QUEUE_DEVICE:
        return lo(q?.used);
      case Common.QUEUE_DEVICE + 4:
        return hi(q?.used);
      default:
        return 0;
    }
  }

  private notify(q: number): void {
    if (q < this.v.queue.length && this.v.status & Status.DRIVER_OK && this.busMaster) this.dev.notify(q);
  }

  private barWrite(offset: number, size: number, v: number): void {
    if (offset >= NOTIFY) {
      this.notify((offset - NOTIFY) >> 2);
    } else if (offset >= DEVICE) {
      this.dev.config.write(offset - DEVICE, size, v);
    } else if (offset < ISR) {
      this.commonWrite(offset, v);
    }
  }

  private commonWrite(r: number, value: number): void {
    const { v } = this;
    const q = v.selected;
    switch (r) {
      case Common.DEVICE_FEATURE_SELECT:
        v.featureSelect = value;
        break;
      case Common.DRIVER_FEATURE_SELECT:
        v.driverFeatureSelect = value;
        break;
      case Common.DRIVER_FEATURE:
        v.acknowledge(value);
        break;
      case Common.CONFIG_MSIX_VECTOR:
        this.configVector = value < this.vectors.vectors ? value : NO_VECTOR;
        break;
      case Common.DEVICE_STATUS:
        if ((value & 0xff) === 0) this.resetVirtio();
        else v.setStatus(value & 0xff);
        break;
      case Common.QUEUE_SELECT:
        v.select = value & 0xffff;
        break;
      case Common.QUEUE_SIZE:
        v.setQueueSize(value);
        break;
      case Common.QUEUE_MSIX_VECTOR:
        if (q !== undefined) q.msixVector = value < this.vectors.vectors ? value : NO_VECTOR;
        break;
      case Common.QUEUE_ENABLE:
        if (value === 1) v.enableQueue();
        break;
      case Common.QUEUE_DESC:
      case Common.QUEUE_DESC + 4:
        v.setAddress('desc', r !== Common.QUEUE_DESC, value);
        break;
      case Common.QUEUE_DRIVER:
      case Common.QUEUE_DRIVER + 4:
        v.setAddress('avail', r !== Common.QUEUE_DRIVER, value);
        break;
      case Common.QUEUE_DEVICE:
      case Common.QUEUE_DEVICE + 4:
        v.setAddress('used', r !== Common.QUEUE_DEVICE, value);
        break;
      default:
        break;
    }
  }

  private resetVirtio(): void {
    this.configVector = NO_VECTOR;
    this.v.reset();
    this.setIntx(false);
  }

  override reset(): void {
    super.reset();
    this.resetVirtio();
  }

  override save(): SavedState {
    return { ...super.save(), virtio: { ...this.v.save(), configVector: this.configVector } };
  }

  protected override load(s: SavedState): void {
    super.load(s);
    const v = s.virtio as Record<string, unknown> | undefined;
    if (typeof v !== 'object' || v === null) throw new VmxError('ERR_BAD_STATE', `${this.name}: not a saved virtio device`);
    this.configVector = savedNumber(this.name, v, 'configVector');
    this.v.load(v);
  }
}
