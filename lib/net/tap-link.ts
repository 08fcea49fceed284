/** A network interface of the host (TAP): what the guest sends arrives there and the other way round. Linux; who may depends on the interface. */
import { closeSync, writeSync } from 'node:fs';
import { UsageError, VmxError } from '../errors.js';
import { loadNative } from '../native.js';
import { ETH_HEADER } from './packet.js';
import { type FrameInfo, FrameQueue, type NetBackend, type NicEnd } from './port.js';

/** Longest frame that an interface with jumbo frames has. */
const MAX_FRAME = 65536;

export class TapLink implements NetBackend {
  /** The host's interface gets whole frames of the link's size, with their checksums. */
  readonly offload = false;
  private readonly queue = new FrameQueue();
  private readonly buffer = new Uint8Array(MAX_FRAME);
  private fd = -1;
  private stop: () => void = () => {};
  private lost = false;

  constructor(
    private readonly name: string,
    private readonly log: (message: string) => void,
  ) {}

  attach(nic: NicEnd): void {
    this.queue.attach(nic);
  }

  /** @throws UsageError */
  open(): void {
    const native = loadNative();
    try {
      this.fd = native.openTap(this.name);
    } catch (e) {
      if (!(e instanceof VmxError)) throw e;
      const why: Record<string, string> = { ERR_PERMISSION: `no permission (an administrator can make it yours: ip tuntap add ${this.name} mode tap user NAME)`, ERR_BUSY: 'it is in use', ERR_UNSUPPORTED: `this host has no TAP interfaces (${e.message})` };
      throw new UsageError(`--net: tap: ${this.name}: ${why[e.code] ?? e.message}`, { cause: e });
    }
    this.stop = native.watchFrames(this.fd, this.buffer, (n) => this.received(n));
  }

  private received(n: number): void {
    if (n < 0) this.log(`network: interface ${this.name} is gone`);
    else if (n >= ETH_HEADER) this.queue.send(this.buffer.subarray(0, n));
  }

  transmit(frame: Uint8Array, _info: Readonly<FrameInfo>): void {
    if (this.fd < 0) return;
    try {
      writeSync(this.fd, frame);
    } catch (e) {
      const { code, message } = e as NodeJS.ErrnoException;
      if (code === undefined) throw e;
      // EAGAIN: its queue is full. EIO: it is down. Both are frames lost on a cable.
      if (code === 'EAGAIN' || code === 'EIO' || this.lost) return;
      this.lost = true;
      this.log(`network: ${this.name}: ${message}`);
    }
  }

  flush(): void {}

  room(): void {
    this.queue.room();
  }

  close(): void {
    if (this.fd < 0) return;
    this.stop();
    closeSync(this.fd);
    this.fd = -1;
    this.queue.clear();
  }
}
