/** Virtio 9P transport (Linux net/9p/trans_virtio.c; device type 9): a folder of the host under a mount tag. */
import type { HostFolder } from '../../share/host-folder.js';
import type { IoHandler } from '../device.js';
import { MAX_MESSAGE, P9Server } from './p9/server.js';
import { Chain } from './queue.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';

const F_MOUNT_TAG = 1;

export class VirtioP9 implements VirtioDevice {
  readonly type = 9;
  readonly queues = 1;
  readonly pciClass = 0x0002;
  readonly features = F_MOUNT_TAG;
  /** tag_len, then the tag without an end. */
  readonly config: IoHandler;
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly request = new Uint8Array(MAX_MESSAGE);
  private readonly server: P9Server;

  /** @param tag 1 to 31 bytes of ASCII. */
  constructor(folder: HostFolder, tag: string) {
    this.server = new P9Server(folder);
    const config = Buffer.concat([Uint8Array.of(tag.length, 0), Buffer.from(tag, 'latin1')]);
    this.config = {
      read: (o, size) => {
        let v = 0;
        for (let i = size - 1; i >= 0; i--) v = v * 256 + (config[o + i] ?? 0);
        return v;
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
    for (let n = 0; n < vq.size && vq.pop(this.chain); n++) {
      const got = this.chain.readInto(t.mem, this.request.subarray(0, Math.min(this.chain.readBytes, MAX_MESSAGE)));
      const reply = got < 0 ? null : this.server.handle(this.request.subarray(0, got));
      vq.push(this.chain.head, reply === null ? 0 : Math.max(0, this.chain.writeFrom(t.mem, reply)));
    }
    t.signal(q);
  }

  reset(): void {
    this.server.reset();
  }

  save(): Record<string, unknown> {
    return this.server.save();
  }

  restore(s: Record<string, unknown>): void {
    this.server.restore(s);
  }
}
