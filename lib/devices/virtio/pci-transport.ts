/** Virtio over PCI, modern interface (Virtual I/O Device 1.2, 4.1). */
import { VmxError } from '../../errors.js';
import type { GuestMemory, IoHandler, SavedState } from '../device.js';
import { le32, type MsixTable, PciFunction, type PciHost } from '../pci/pci.js';
import { QUEUE_MAX, VirtQueue } from './queue.js';

/** Device status bits (2.1). */
export const enum Status { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64, FAILED = 128 }
/** Common feature bits as bit numbers (6). */
const F_INDIRECT_DESC = 28;
const F_EVENT_IDX = 29;
/** Bits of the high word. */
const F_VERSION_1_HI = 1 << 0;

/** A virtio device behind a transport. Implementations keep only their own state. */
export interface VirtioDevice {
  /** Device type (5). */
  readonly type: number;
  readonly queues: number;
  /** Base class << 8 | subclass for PCI. */
  readonly pciClass: number;
  /** Offered feature bits 0..31 (device-specific ones, 0..23). */
  readonly features: number;
  /** Device-specific configuration space. */
  readonly config: IoHandler;
  attach(t: VirtioTransport): void;
  /** Driver acknowledged these features and set DRIVER_OK. */
  ready(features: number): void;
  notify(queue: number): void;
  reset(): void;
  save(): Record<string, unknown>;
  restore(s: Record<string, unknown>): void;
}

export interface VirtioTransport {
  readonly queue: readonly VirtQueue[];
  readonly mem: GuestMemory;
  /** Interrupts the driver for queue q if it wants that. */
  signal(q: number): void;
  /** Configuration space changed. */
  configChanged(): void;
}

const COMMON = 0x0000;
const ISR = 0x1000;
const DEVICE = 0x2000;
const NOTIFY = 0x3000;
const BAR_SIZE = 0x4000;
const NO_VECTOR = 0xffff;

/** Offsets in the common configuration structure (4.1.4.3). */
const enum Common {
  DEVICE_FEATURE_SELECT = 0x00, DEVICE_FEATURE = 0x04, DRIVER_FEATURE_SELECT = 0x08, DRIVER_FEATURE = 0x0c,
  CONFIG_MSIX_VECTOR = 0x10, NUM_QUEUES = 0x12, DEVICE_STATUS = 0x14, CONFIG_GENERATION = 0x15,
  QUEUE_SELECT = 0x16, QUEUE_SIZE = 0x18, QUEUE_MSIX_VECTOR = 0x1a, QUEUE_ENABLE = 0x1c, QUEUE_NOTIFY_OFF = 0x1e,
  QUEUE_DESC = 0x20, QUEUE_DRIVER = 0x28, QUEUE_DEVICE = 0x30,
}

export class VirtioPci extends PciFunction implements VirtioTransport {
  readonly queue: VirtQueue[] = [];
  private readonly vectors: MsixTable;
  private readonly featuresLo: number;
  // Volatile state.
  private featureSelect = 0;
  private driverFeatureSelect = 0;
  private driverLo = 0;
  private driverHi = 0;
  private configVector = NO_VECTOR;
  private status = 0;
  private generation = 0;
  private select = 0;
  private isr = 0;

  constructor(
    name: string,
    host: PciHost,
    slot: number,
    readonly mem: GuestMemory,
    private readonly dev: VirtioDevice,
    private readonly log: (message: string) => void,
  ) {
    super(name, host, slot << 3, { vendor: 0x1af4, device: 0x1040 + dev.type, class: dev.pciClass, revision: 1, subsysVendor: 0x1af4, subsys: 0x1100, pin: 1 });
    this.featuresLo = (dev.features | (1 << F_INDIRECT_DESC) | (1 << F_EVENT_IDX)) >>> 0;
    for (let q = 0; q < dev.queues; q++) this.queue.push(new VirtQueue(mem, (why) => this.broke(q, why)));
    this.vectors = this.addMsix(1, dev.queues + 1);
    this.addBar(4, 'mem', BAR_SIZE, { read: (o, s) => this.barRead(o, s), write: (o, s, v) => this.barWrite(o, s, v) });
    const cap = (type: number, offset: number, length: number, extra: readonly number[] = []): void => {
      this.addCapability(0x09, [16 + extra.length, type, 4, 0, 0, 0, ...le32(offset), ...le32(length), ...extra]);
    };
    cap(1, COMMON, 0x38);
    cap(3, ISR, 4);
    cap(4, DEVICE, 0x1000);
    cap(2, NOTIFY, 0x1000, le32(4));
    this.sealConfig();
    dev.attach(this);
  }

  private broke(q: number, why: string): void {
    this.log(`${this.name}: queue ${q}: ${why}; device needs reset`);
    this.status |= Status.NEEDS_RESET;
    this.interrupt(this.configVector, 2);
  }

  signal(q: number): void {
    const vq = this.queue[q]!;
    if (vq.shouldInterrupt()) this.interrupt(vq.msixVector, 1);
  }

  configChanged(): void {
    this.generation = (this.generation + 1) & 0xff;
    this.interrupt(this.configVector, 2);
  }

  private interrupt(vector: number, isrBit: number): void {
    if (this.msixEnabled()) {
      if (vector !== NO_VECTOR) this.vectors.raise(vector);
      return;
    }
    this.isr |= isrBit;
    this.setIntx(true);
  }

  private barRead(offset: number, size: number): number {
    if (offset >= NOTIFY) return 0;
    if (offset >= DEVICE) return this.dev.config.read(offset - DEVICE, size);
    if (offset >= ISR) {
      if (offset !== ISR) return 0;
      const v = this.isr;
      this.isr = 0;
      this.setIntx(false);
      return v;
    }
    const word = this.commonRead(offset & ~3);
    return size === 4 ? word >>> 0 : (word >>> ((offset & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private commonRead(r: number): number {
    const q = this.queue[this.select];
    switch (r) {
      case Common.DEVICE_FEATURE_SELECT:
        return this.featureSelect;
      case Common.DEVICE_FEATURE:
        return this.featureSelect === 0 ? this.featuresLo : this.featureSelect === 1 ? F_VERSION_1_HI : 0;
      case Common.DRIVER_FEATURE_SELECT:
        return this.driverFeatureSelect;
      case Common.DRIVER_FEATURE:
        return this.driverFeatureSelect === 0 ? this.driverLo : this.driverFeatureSelect === 1 ? this.driverHi : 0;
      case Common.CONFIG_MSIX_VECTOR:
        return this.configVector | (this.queue.length << 16);
      case Common.DEVICE_STATUS:
        return this.status | (this.generation << 8) | (this.select << 16);
      case Common.QUEUE_SIZE:
        return q === undefined ? 0 : q.size | (q.msixVector << 16);
      case Common.QUEUE_ENABLE:
        return q === undefined ? 0 : (q.enabled ? 1 : 0) | (this.select << 16);
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

  private barWrite(offset: number, size: number, v: number): void {
    if (offset >= NOTIFY) {
      const q = (offset - NOTIFY) >> 2;
      if (q < this.queue.length && this.status & Status.DRIVER_OK && this.busMaster) this.dev.notify(q);
    } else if (offset >= DEVICE) {
      this.dev.config.write(offset - DEVICE, size, v);
    } else if (offset < ISR) {
      this.commonWrite(offset, v);
    }
  }

  private commonWrite(r: number, v: number): void {
    const q = this.queue[this.select];
    const open = q !== undefined && !q.enabled;
    switch (r) {
      case Common.DEVICE_FEATURE_SELECT:
        this.featureSelect = v;
        break;
      case Common.DRIVER_FEATURE_SELECT:
        this.driverFeatureSelect = v;
        break;
      case Common.DRIVER_FEATURE:
        if (this.status & Status.FEATURES_OK) break;
        if (this.driverFeatureSelect === 0) this.driverLo = v;
        else if (this.driverFeatureSelect === 1) this.driverHi = v;
        break;
      case Common.CONFIG_MSIX_VECTOR:
        this.configVector = v < this.vectors.vectors ? v : NO_VECTOR;
        break;
      case Common.DEVICE_STATUS:
        this.setStatus(v & 0xff);
        break;
      case Common.QUEUE_SELECT:
        this.select = v & 0xffff;
        break;
      case Common.QUEUE_SIZE:
        if (open && v > 0 && v <= QUEUE_MAX && (v & (v - 1)) === 0) q.size = v;
        break;
      case Common.QUEUE_MSIX_VECTOR:
        if (q !== undefined) q.msixVector = v < this.vectors.vectors ? v : NO_VECTOR;
        break;
      case Common.QUEUE_ENABLE:
        if (open && v === 1) {
          q.eventIdx = (this.driverLo & (1 << F_EVENT_IDX)) !== 0;
          q.enable();
        }
        break;
      case Common.QUEUE_DESC:
        if (open) q.desc = withLo(q.desc, v);
        break;
      case Common.QUEUE_DESC + 4:
        if (open) q.desc = withHi(q.desc, v);
        break;
      case Common.QUEUE_DRIVER:
        if (open) q.avail = withLo(q.avail, v);
        break;
      case Common.QUEUE_DRIVER + 4:
        if (open) q.avail = withHi(q.avail, v);
        break;
      case Common.QUEUE_DEVICE:
        if (open) q.used = withLo(q.used, v);
        break;
      case Common.QUEUE_DEVICE + 4:
        if (open) q.used = withHi(q.used, v);
        break;
      default:
        break;
    }
  }

  private setStatus(v: number): void {
    if (v === 0) {
      this.resetVirtio();
      return;
    }
    if (v & Status.FEATURES_OK && !(this.status & Status.FEATURES_OK)) {
      const extra = (this.driverLo & ~this.featuresLo) | (this.driverHi & ~F_VERSION_1_HI);
      // A driver that takes what was not offered, or not VERSION_1, does not get FEATURES_OK (3.1.1).
      if (extra !== 0 || !(this.driverHi & F_VERSION_1_HI)) v &= ~Status.FEATURES_OK;
    }
    const go = v & Status.DRIVER_OK && !(this.status & Status.DRIVER_OK);
    this.status = v | (this.status & Status.NEEDS_RESET);
    if (go) this.dev.ready(this.driverLo);
  }

  private resetVirtio(): void {
    this.featureSelect = this.driverFeatureSelect = this.driverLo = this.driverHi = 0;
    this.configVector = NO_VECTOR;
    this.status = this.select = this.isr = 0;
    for (const q of this.queue) q.reset();
    this.setIntx(false);
    this.dev.reset();
  }

  override reset(): void {
    super.reset();
    this.resetVirtio();
  }

  override save(): SavedState {
    return {
      ...super.save(),
      virtio: {
        featureSelect: this.featureSelect, driverFeatureSelect: this.driverFeatureSelect, driverLo: this.driverLo, driverHi: this.driverHi,
        configVector: this.configVector, status: this.status, generation: this.generation, select: this.select, isr: this.isr,
        queues: this.queue.map((q) => q.save()), device: this.dev.save(),
      },
    };
  }

  protected override load(s: SavedState): void {
    super.load(s);
    const v = s.virtio as Record<string, unknown> | undefined;
    const queues = v?.queues;
    if (v === undefined || !Array.isArray(queues) || queues.length !== this.queue.length) throw new VmxError('ERR_BAD_STATE', `${this.name}: not a saved virtio device`);
    const num = (k: string): number => {
      const x = v[k];
      if (typeof x !== 'number' || !Number.isInteger(x) || x < 0 || x > 0xffff_ffff) throw new VmxError('ERR_BAD_STATE', `${this.name}: bad ${k}`);
      return x;
    };
    this.featureSelect = num('featureSelect');
    this.driverFeatureSelect = num('driverFeatureSelect');
    this.driverLo = num('driverLo');
    this.driverHi = num('driverHi');
    this.configVector = num('configVector');
    this.status = num('status') & 0xff;
    this.generation = num('generation') & 0xff;
    this.select = num('select') & 0xffff;
    this.isr = num('isr') & 3;
    const record = (x: unknown): Record<string, unknown> => (typeof x === 'object' && x !== null ? (x as Record<string, unknown>) : {});
    queues.forEach((q: unknown, i) => this.queue[i]!.restore(record(q)));
    this.dev.restore(record(v.device));
  }
}

const lo = (v: number | undefined): number => (v ?? 0) % 0x1_0000_0000;
const hi = (v: number | undefined): number => Math.floor((v ?? 0) / 0x1_0000_0000);
const withLo = (old: number, v: number): number => hi(old) * 0x1_0000_0000 + v;
/** Addresses beyond 2^52 are not memory; they are cut so that arithmetic stays exact, and fail the RAM check. */
const withHi = (old: number, v: number): number => Math.min(v, 0xf_ffff) * 0x1_0000_0000 + lo(old);
