/** Virtio over MMIO, version 2 (Virtual I/O Device 1.2, 4.2): one window of 200h bytes and one level interrupt. */
import { VmxError } from '../../errors.js';
import type { Device, GuestMemory, IoHandler, IrqLine, SavedState } from '../device.js';
import { QUEUE_MAX, type VirtQueue } from './queue.js';
import { hi, Isr, lo, Status, type VirtioDevice, VirtioState, type VirtioTransport } from './transport.js';

const VERSION = 1;
export const VIRTIO_MMIO_BYTES = 0x200;

/** Registers (4.2.2). */
const enum Reg {
  MAGIC = 0x000, VERSION = 0x004, DEVICE_ID = 0x008, VENDOR_ID = 0x00c, DEVICE_FEATURES = 0x010, DEVICE_FEATURES_SEL = 0x014,
  DRIVER_FEATURES = 0x020, DRIVER_FEATURES_SEL = 0x024, QUEUE_SEL = 0x030, QUEUE_NUM_MAX = 0x034, QUEUE_NUM = 0x038, QUEUE_READY = 0x044,
  QUEUE_NOTIFY = 0x050, INTERRUPT_STATUS = 0x060, INTERRUPT_ACK = 0x064, STATUS = 0x070,
  QUEUE_DESC_LOW = 0x080, QUEUE_DESC_HIGH = 0x084, QUEUE_DRIVER_LOW = 0x090, QUEUE_DRIVER_HIGH = 0x094,
  QUEUE_DEVICE_LOW = 0x0a0, QUEUE_DEVICE_HIGH = 0x0a4, SHM_LEN_LOW = 0x0b0, SHM_BASE_HIGH = 0x0bc, CONFIG_GENERATION = 0x0fc, CONFIG = 0x100,
}
/** "virt". */
const MAGIC = 0x7472_6976;
const VENDOR = 0x554d_4551;

export interface VirtioMmioOptions {
  /** Unique within the machine. */
  name: string;
  mem: GuestMemory;
  irq: IrqLine;
  /** Null: the window is there and says that it holds no device (device ID 0), as boards with a fixed number of slots have it. */
  device: VirtioDevice | null;
  log: (message: string) => void;
}

export class VirtioMmio implements Device, VirtioTransport, IoHandler {
  readonly name: string;
  readonly mem: GuestMemory;
  private readonly irq: IrqLine;
  private readonly dev: VirtioDevice | null;
  private readonly v: VirtioState | null;

  constructor(o: VirtioMmioOptions) {
    this.name = o.name;
    this.mem = o.mem;
    this.irq = o.irq;
    this.dev = o.device;
    this.v = o.device === null ? null : new VirtioState(o.name, o.mem, o.device, o.log, () => this.interrupt(Isr.CONFIG));
    o.device?.attach(this);
  }

  get queue(): readonly VirtQueue[] {
    return this.v?.queue ?? [];
  }

  signal(q: number): void {
    if (this.v?.queue[q]?.shouldInterrupt()) this.interrupt(Isr.QUEUE);
  }

  configChanged(): void {
    const { v } = this;
    if (v === null) return;
    v.generation = (v.generation + 1) & 0xff;
    this.interrupt(Isr.CONFIG);
  }

  private interrupt(bit: Isr): void {
    if (this.v === null) return;
    this.v.isr |= bit;
    this.syncIrq();
  }

  private syncIrq(): void {
    this.irq.set(this.v !== null && this.v.isr !== 0);
  }

  read(offset: number, size: number): number {
    const { v, dev } = this;
    if (offset >= Reg.CONFIG) return v === null || dev === null ? 0 : dev.config.read(offset - Reg.CONFIG, size);
    // Registers are 32 bits wide and aligned (4.2.2.2).
    if (size !== 4 || offset & 3) return 0;
    switch (offset as Reg) {
      case Reg.MAGIC:
        return MAGIC;
      case Reg.VERSION:
        return 2;
      case Reg.DEVICE_ID:
        return dev?.type ?? 0;
      case Reg.VENDOR_ID:
        return VENDOR;
      default:
        return v === null ? 0 : this.readState(v, offset);
    }
  }

  private readState(v: VirtioState, offset: Reg): number {
    switch (offset) {
      case Reg.DEVICE_FEATURES:
        return v.offered();
      case Reg.QUEUE_NUM_MAX:
        return v.selected === undefined ? 0 : QUEUE_MAX;
      case Reg.QUEUE_READY:
        return v.selected?.enabled ? 1 : 0;
      case Reg.INTERRUPT_STATUS:
        return v.isr;
      case Reg.STATUS:
        return v.status;
      case Reg.QUEUE_DESC_LOW:
        return lo(v.selected?.desc);
      case Reg.QUEUE_DESC_HIGH:
        return hi(v.selected?.desc);
      case Reg.QUEUE_DRIVER_LOW:
        return lo(v.selected?.avail);
      case Reg.QUEUE_DRIVER_HIGH:
        return hi(v.selected?.avail);
      case Reg.QUEUE_DEVICE_LOW:
        return lo(v.selected?.used);
      case Reg.QUEUE_DEVICE_HIGH:
        return hi(v.selected?.used);
      case Reg.CONFIG_GENERATION:
        return v.generation;
      default:
        // Length and base of a shared memory region that does not exist are all ones (4.2.2).
        return offset >= Reg.SHM_LEN_LOW && offset <= Reg.SHM_BASE_HIGH ? 0xffff_ffff : 0;
    }
  }

  write(offset: number, size: number, value: number): void {
    const { v, dev } = this;
    if (v === null || dev === null) return;
    if (offset >= Reg.CONFIG) {
      dev.config.write(offset - Reg.CONFIG, size, value);
      return;
    }
    if (size !== 4 || offset & 3) return;
    switch (offset as Reg) {
      case Reg.DEVICE_FEATURES_SEL:
        v.featureSelect = value;
        break;
      case Reg.DRIVER_FEATURES:
        v.acknowledge(value);
        break;
      case Reg.DRIVER_FEATURES_SEL:
        v.driverFeatureSelect = value;
        break;
      case Reg.QUEUE_SEL:
        v.select = value & 0xffff;
        break;
      case Reg.QUEUE_NUM:
        v.setQueueSize(value);
        break;
      case Reg.QUEUE_READY:
        if (value & 1) v.enableQueue();
        else v.selected?.reset();
        break;
      case Reg.QUEUE_NOTIFY:
        if (value < v.queue.length && v.status & Status.DRIVER_OK) dev.notify(value);
        break;
      case Reg.INTERRUPT_ACK:
        v.isr &= ~value;
        this.syncIrq();
        break;
      case Reg.STATUS:
        if ((value & 0xff) === 0) this.reset();
        else v.setStatus(value & 0xff);
        break;
      case Reg.QUEUE_DESC_LOW:
      case Reg.QUEUE_DESC_HIGH:
        v.setAddress('desc', offset === (Reg.QUEUE_DESC_HIGH as number), value);
        break;
      case Reg.QUEUE_DRIVER_LOW:
      case Reg.QUEUE_DRIVER_HIGH:
        v.setAddress('avail', offset === (Reg.QUEUE_DRIVER_HIGH as number), value);
        break;
      case Reg.QUEUE_DEVICE_LOW:
      case Reg.QUEUE_DEVICE_HIGH:
        v.setAddress('used', offset === (Reg.QUEUE_DEVICE_HIGH as number), value);
        break;
      default:
        break;
    }
  }

  reset(): void {
    this.v?.reset();
    this.syncIrq();
  }

  save(): SavedState {
    return { version: VERSION, virtio: this.v?.save() ?? null };
  }

  /** All or nothing: what fails half-way is taken back. */
  restore(s: SavedState): void {
    const { v } = this;
    const saved = s.virtio as Record<string, unknown> | null;
    if (s.version !== VERSION || (v === null) !== (saved === null) || typeof saved !== 'object') throw new VmxError('ERR_BAD_STATE', `${this.name}: not a saved virtio device`);
    if (v === null || saved === null) return;
    const before = v.save();
    try {
      v.load(saved);
    } catch (e) {
      v.load(before);
      throw e;
    }
    this.syncIrq();
  }
}
