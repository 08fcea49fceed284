/** Capture of a card's traffic in the pcap format of tcpdump (draft-ietf-opsawg-pcap), between card and back end. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { UsageError } from '../errors.js';
import type { FrameInfo, NetBackend, NicAbilities, NicEnd } from './port.js';

const SNAP_BYTES = 65535;

export class PcapCapture implements NetBackend, NicEnd {
  private readonly fd: number;
  private nic: NicEnd | null = null;
  private readonly head = Buffer.alloc(16);
  private broken = false;

  /** @throws UsageError if the file cannot be written. */
  constructor(
    file: string,
    private readonly backend: NetBackend,
    private readonly log: (message: string) => void,
  ) {
    try {
      this.fd = openSync(file, 'w');
    } catch (e) {
      throw new UsageError(`--net: pcap: ${(e as Error).message}`, { cause: e });
    }
    const h = Buffer.alloc(24);
    h.writeUInt32LE(0xa1b2c3d4, 0);
    h.writeUInt16LE(2, 4);
    h.writeUInt16LE(4, 6);
    h.writeUInt32LE(SNAP_BYTES, 16);
    h.writeUInt32LE(1, 20);
    writeSync(this.fd, h);
  }

  get offload(): boolean {
    return this.backend.offload;
  }

  private record(frame: Uint8Array): void {
    if (this.broken) return;
    const now = Date.now();
    const n = Math.min(frame.length, SNAP_BYTES);
    this.head.writeUInt32LE(Math.floor(now / 1000), 0);
    this.head.writeUInt32LE((now % 1000) * 1000, 4);
    this.head.writeUInt32LE(n, 8);
    this.head.writeUInt32LE(frame.length, 12);
    try {
      writeSync(this.fd, Buffer.concat([this.head, frame.subarray(0, n)]));
    } catch (e) {
      this.broken = true;
      this.log(`network capture ends: ${(e as Error).message}`);
    }
  }

  attach(nic: NicEnd): void {
    this.nic = nic;
    this.backend.attach(this);
  }

  get abilities(): Readonly<NicAbilities> {
    return this.nic!.abilities;
  }

  receive(frame: Uint8Array, info: Readonly<FrameInfo>): boolean {
    if (!this.nic!.receive(frame, info)) return false;
    this.record(frame);
    return true;
  }

  transmit(frame: Uint8Array, info: Readonly<FrameInfo>): void {
    this.record(frame);
    this.backend.transmit(frame, info);
  }

  flush(): void {
    this.backend.flush();
  }

  room(): void {
    this.backend.room();
  }

  close(): void {
    this.backend.close();
    closeSync(this.fd);
  }
}
