/** Windows for virtio devices on boards without PCI: each with an interrupt of its own, taken in the order in which devices come. */
import type { IrqLine } from '../../devices/device.js';
import { VIRTIO_MMIO_BYTES, VirtioMmio } from '../../devices/virtio/mmio-transport.js';
import type { VirtioDevice } from '../../devices/virtio/transport.js';
import { UsageError } from '../../errors.js';
import type { BusParts } from './bus-parts.js';

export class VirtioSlots {
  private readonly used: string[] = [];

  /** @param base physical address of the first window; they follow each other @param irqs one for each */
  constructor(
    readonly base: number,
    private readonly irqs: readonly IrqLine[],
  ) {}

  /** How many are taken. */
  get count(): number {
    return this.used.length;
  }

  /** @throws UsageError if all are taken */
  add(p: BusParts, name: string, device: VirtioDevice): void {
    const n = this.used.length;
    const irq = this.irqs[n];
    if (irq === undefined) throw new UsageError(`--device: ${name}: machine ${p.host.config.machine} has room for ${this.irqs.length} virtio devices, and they are there (${this.used.join(', ')})`);
    this.used.push(name);
    const slot = p.add(new VirtioMmio({ name, mem: p.memory, irq, device, log: (s) => p.host.log(s) }));
    p.memory.mapMmio(this.base + n * VIRTIO_MMIO_BYTES, VIRTIO_MMIO_BYTES, slot);
  }
}
