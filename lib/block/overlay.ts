/** An overlay that keeps writes in memory and drops them at the end (`snapshot`). */
import type { BlockBackend } from './backend.js';

const CLUSTER = 65536;

/** Copy-on-write in memory, in clusters of 64 KiB. */
export class MemoryOverlay implements BlockBackend {
  readonly readonly = false;
  readonly size: number;
  private readonly clusters = new Map<number, Uint8Array>();

  constructor(private readonly base: BlockBackend) {
    this.size = base.size;
  }

  /** The cluster for writing, with the base's contents if it is new and `keep` asks for them. */
  private own(cluster: number, keep: boolean): Uint8Array {
    let c = this.clusters.get(cluster);
    if (c === undefined) {
      c = new Uint8Array(CLUSTER);
      const start = cluster * CLUSTER;
      if (keep) this.base.read(start, c.subarray(0, Math.min(CLUSTER, this.size - start)));
      this.clusters.set(cluster, c);
    }
    return c;
  }

  read(offset: number, dst: Uint8Array): void {
    for (let at = 0; at < dst.length; ) {
      const within = (offset + at) % CLUSTER;
      const n = Math.min(CLUSTER - within, dst.length - at);
      const c = this.clusters.get(Math.floor((offset + at) / CLUSTER));
      if (c === undefined) this.base.read(offset + at, dst.subarray(at, at + n));
      else dst.set(c.subarray(within, within + n), at);
      at += n;
    }
  }

  write(offset: number, src: Uint8Array): void {
    for (let at = 0; at < src.length; ) {
      const within = (offset + at) % CLUSTER;
      const n = Math.min(CLUSTER - within, src.length - at);
      this.own(Math.floor((offset + at) / CLUSTER), n < CLUSTER).set(src.subarray(at, at + n), within);
      at += n;
    }
  }

  flush(): void {}

  discard(): void {}

  writeZeroes(offset: number, length: number): void {
    for (let at = 0; at < length; ) {
      const within = (offset + at) % CLUSTER;
      const n = Math.min(CLUSTER - within, length - at);
      this.own(Math.floor((offset + at) / CLUSTER), n < CLUSTER).fill(0, within, within + n);
      at += n;
    }
  }

  close(): void {
    this.clusters.clear();
    this.base.close();
  }
}
