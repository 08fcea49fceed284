/** Virtio console, one port (Virtual I/O Device 1.2, 5.3). */
import type { IoHandler } from '../device.js';
import type { VirtioDevice, VirtioTransport } from './pci-transport.js';
import { Chain } from './queue.js';

const RX = 0;
const TX = 1;
/** Input kept while the driver has no buffers. */
const INPUT_LIMIT = 65536;
const CHUNK = 4096;

export class VirtioConsole implements VirtioDevice {
  readonly type = 3;
  readonly queues = 2;
  readonly pciClass = 0x0780;
  readonly features = 0;
  readonly config: IoHandler = { read: () => 0, write: () => {} };
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly buffer = new Uint8Array(CHUNK);
  private input: number[] = [];

  constructor(private readonly output: (bytes: Uint8Array) => void) {}

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(): void {
    this.deliver();
  }

  /** @returns number of bytes taken. */
  receive(bytes: Uint8Array): number {
    const n = Math.min(bytes.length, INPUT_LIMIT - this.input.length);
    for (let i = 0; i < n; i++) this.input.push(bytes[i]!);
    this.deliver();
    return n;
  }

  private deliver(): void {
    const t = this.t!;
    const vq = t.queue[RX]!;
    for (let n = 0; n < vq.size && this.input.length > 0 && vq.pop(this.chain); n++) {
      const part = Uint8Array.from(this.input.slice(0, Math.min(this.chain.writeBytes, CHUNK)));
      const done = Math.max(0, this.chain.writeFrom(t.mem, part));
      this.input = this.input.slice(done);
      vq.push(this.chain.head, done);
    }
    t.signal(RX);
  }

  notify(q: number): void {
    if (q === RX) {
      this.deliver();
      return;
    }
    const t = this.t!;
    const vq = t.queue[TX]!;
    for (let n = 0; n < vq.size && vq.pop(this.chain); n++) {
      for (let at = 0; at < Math.min(this.chain.readBytes, 1 << 20); at += CHUNK) {
        const got = this.chain.readInto(t.mem, this.buffer, at);
        if (got <= 0) break;
        this.output(this.buffer.slice(0, got));
      }
      vq.push(this.chain.head, 0);
    }
    t.signal(TX);
  }

  reset(): void {
    this.input = [];
  }

  save(): Record<string, unknown> {
    return { input: this.input };
  }

  restore(s: Record<string, unknown>): void {
    this.input = Array.isArray(s.input) ? s.input.filter((b): b is number => Number.isInteger(b) && b >= 0 && b < 256).slice(0, INPUT_LIMIT) : [];
  }
}
