/**
 * What every virtio transport has in common (Virtual I/O Device 1.2, chapters 2 and 3): the device's side of feature negotiation,
 * device status, queues and interrupt reasons. `pci-transport.ts` and `mmio-transport.ts` put their registers in front of it.
 */
import { VmxError } from '../../errors.js';
import type { GuestMemory, IoHandler } from '../device.js';
import { QUEUE_MAX, VirtQueue } from './queue.js';

/** Device status bits (2.1). */
export const enum Status { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64, FAILED = 128 }
/** Reasons for an interrupt (ISR status, 4.1.4.5 and 4.2.2). */
export const enum Isr { QUEUE = 1, CONFIG = 2 }

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

export class VirtioState {
  readonly queue: VirtQueue[] = [];
  private readonly featuresLo: number;
  // Volatile state.
  featureSelect = 0;
  driverFeatureSelect = 0;
  private driverLo = 0;
  private driverHi = 0;
  private st = 0;
  generation = 0;
  /** Selected queue. */
  select = 0;
  isr = 0;

  /** @param onBroken the driver broke the rules of a queue: NEEDS_RESET is set, the driver is to be told. */
  constructor(
    private readonly name: string,
    mem: GuestMemory,
    private readonly dev: VirtioDevice,
    log: (message: string) => void,
    onBroken: () => void,
  ) {
    this.featuresLo = (dev.features | (1 << F_INDIRECT_DESC) | (1 << F_EVENT_IDX)) >>> 0;
    for (let q = 0; q < dev.queues; q++) {
      this.queue.push(
        new VirtQueue(mem, (why) => {
          log(`${name}: queue ${q}: ${why}; device needs reset`);
          this.st |= Status.NEEDS_RESET;
          onBroken();
        }),
      );
    }
  }

  get status(): number {
    return this.st;
  }

  get selected(): VirtQueue | undefined {
    return this.queue[this.select];
  }

  /** Word of the offered features that the driver has selected. */
  offered(): number {
    return this.featureSelect === 0 ? this.featuresLo : this.featureSelect === 1 ? F_VERSION_1_HI : 0;
  }

  /** Word of the acknowledged features that the driver has selected. */
  acknowledged(): number {
    return this.driverFeatureSelect === 0 ? this.driverLo : this.driverFeatureSelect === 1 ? this.driverHi : 0;
  }

  acknowledge(v: number): void {
    if (this.st & Status.FEATURES_OK) return;
    if (this.driverFeatureSelect === 0) this.driverLo = v;
    else if (this.driverFeatureSelect === 1) this.driverHi = v;
  }

  setQueueSize(v: number): void {
    const q = this.selected;
    if (q !== undefined && !q.enabled && v > 0 && v <= QUEUE_MAX && (v & (v - 1)) === 0) q.size = v;
  }

  enableQueue(): void {
    const q = this.selected;
    if (q === undefined || q.enabled) return;
    q.eventIdx = (this.driverLo & (1 << F_EVENT_IDX)) !== 0;
    q.enable();
  }

  /** An address register of the selected queue is written: its low or high word. */
  setAddress(which: 'desc' | 'avail' | 'used', high: boolean, v: number): void {
    const q = this.selected;
    if (q === undefined || q.enabled) return;
    q[which] = high ? withHi(q[which], v) : withLo(q[which], v);
  }

  /** The driver writes device status; 0 is for the transport, which calls `reset`. */
  setStatus(v: number): void {
    if (v & Status.FEATURES_OK && !(this.st & Status.FEATURES_OK)) {
      const extra = (this.driverLo & ~this.featuresLo) | (this.driverHi & ~F_VERSION_1_HI);
      // A driver that takes what was not offered, or not VERSION_1, does not get FEATURES_OK (3.1.1).
      if (extra !== 0 || !(this.driverHi & F_VERSION_1_HI)) v &= ~Status.FEATURES_OK;
    }
    const go = v & Status.DRIVER_OK && !(this.st & Status.DRIVER_OK);
    this.st = v | (this.st & Status.NEEDS_RESET);
    if (go) this.dev.ready(this.driverLo);
  }

  reset(): void {
    this.featureSelect = this.driverFeatureSelect = this.driverLo = this.driverHi = 0;
    this.st = this.select = this.isr = 0;
    for (const q of this.queue) q.reset();
    this.dev.reset();
  }

  save(): Record<string, unknown> {
    return {
      featureSelect: this.featureSelect, driverFeatureSelect: this.driverFeatureSelect, driverLo: this.driverLo, driverHi: this.driverHi,
      status: this.st, generation: this.generation, select: this.select, isr: this.isr,
      queues: this.queue.map((q) => q.save()), device: this.dev.save(),
    };
  }

  /** @throws VmxError ERR_BAD_STATE, with part of the state taken. */
  load(v: Record<string, unknown>): void {
    const { queues } = v;
    if (!Array.isArray(queues) || queues.length !== this.queue.length) throw new VmxError('ERR_BAD_STATE', `${this.name}: not a saved virtio device`);
    const num = (k: string): number => savedNumber(this.name, v, k);
    this.featureSelect = num('featureSelect');
    this.driverFeatureSelect = num('driverFeatureSelect');
    this.driverLo = num('driverLo');
    this.driverHi = num('driverHi');
    this.st = num('status') & 0xff;
    this.generation = num('generation') & 0xff;
    this.select = num('select') & 0xffff;
    this.isr = num('isr') & (Isr.QUEUE | Isr.CONFIG);
    const record = (x: unknown): Record<string, unknown> => (typeof x === 'object' && x !== null ? (x as Record<string, unknown>) : {});
    queues.forEach((q: unknown, i) => this.queue[i]!.restore(record(q)));
    this.dev.restore(record(v.device));
  }
}

/** Field k of a saved state, 32 bits. @throws VmxError */
export function savedNumber(name: string, v: Record<string, unknown>, k: string): number {
  const x = v[k];
  if (typeof x !== 'number' || !Number.isInteger(x) || x < 0 || x > 0xffff_ffff) throw new VmxError('ERR_BAD_STATE', `${name}: bad ${k}`);
  return x;
}

export const lo = (v: number | undefined): number => (v ?? 0) % 0x1_0000_0000;
export const hi = (v: number | undefined): number => Math.floor((v ?? 0) / 0x1_0000_0000);
const withLo = (old: number, v: number): number => hi(old) * 0x1_0000_0000 + v;
/** Addresses beyond 2^52 are not memory; they are cut so that arithmetic stays exact, and fail the RAM check. */
const withHi = (old: number, v: number): number => Math.min(v, 0xf_ffff) * 0x1_0000_0000 + lo(old);
