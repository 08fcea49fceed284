/** Virtio entropy device (Virtual I/O Device 1.2, 5.4). */
import type { IoHandler } from '../device.js';
import type { VirtioDevice, VirtioTransport } from './pci-transport.js';
import { Chain } from './queue.js';

/** Bytes given per request at most: a hostile guest must not make the host produce megabytes at once. */
const MAX_BYTES = 4096;

export class VirtioRng implements VirtioDevice {
  readonly type = 4;
  readonly queues = 1;
  readonly pciClass = 0x00ff;
  readonly features = 0;
  readonly config: IoHandler = { read: () => 0, write: () => {} };
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly buffer = new Uint8Array(MAX_BYTES);

  /** @param fill source of randomness. */
  constructor(private readonly fill: (dst: Uint8Array) => void) {}

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(): void {}

  notify(q: number): void {
    const t = this.t!;
    const vq = t.queue[q]!;
    for (let n = 0; n < vq.size && vq.pop(this.chain); n++) {
      const b = this.buffer.subarray(0, Math.min(MAX_BYTES, this.chain.writeBytes));
      this.fill(b);
      vq.push(this.chain.head, Math.max(0, this.chain.writeFrom(t.mem, b)));
    }
    t.signal(q);
  }

  reset(): void {}

  save(): Record<string, unknown> {
    return {};
  }

  restore(): void {}
}
