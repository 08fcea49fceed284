/** Raw image files, and an overlay that keeps writes in memory (`snapshot`). */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { UsageError, VmxError } from '../errors.js';
import type { BlockBackend } from './backend.js';

const SECTOR = 512;

export class RawImage implements BlockBackend {
  readonly size: number;
  private readonly fd: number;

  /** @throws UsageError if the file cannot be opened as asked. */
  constructor(file: string, readonly readonly: boolean) {
    try {
      this.fd = openSync(file, readonly ? 'r' : 'r+');
    } catch (e) {
      throw new UsageError(`--disk: ${file}: ${(e as Error).message}`, { cause: e });
    }
    this.size = Math.floor(fstatSync(this.fd).size / SECTOR) * SECTOR;
    if (this.size === 0) {
      closeSync(this.fd);
      throw new UsageError(`--disk: ${file} is empty`);
    }
  }

  read(offset: number, dst: Uint8Array): void {
    for (let done = 0; done < dst.length; ) {
      const n = readSync(this.fd, dst, done, dst.length - done, offset + done);
      if (n === 0) throw new VmxError('ERR_IO', `image is shorter than it was (offset ${offset + done})`);
      done += n;
    }
  }

  write(offset: number, src: Uint8Array): void {
    for (let done = 0; done < src.length; ) done += writeSync(this.fd, src, done, src.length - done, offset + done);
  }

  flush(): void {
    if (!this.readonly) fdatasyncSync(this.fd);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Copy-on-write in memory, in clusters of 64 KiB. */
export class MemoryOverlay implements BlockBackend {
  readonly readonly = false;
  readonly size: number;
  private readonly clusters = new Map<number, Uint8Array>();

  constructor(private readonly base: BlockBackend) {
    this.size = base.size;
  }

  private each(offset: number, length: number, fn: (cluster: number, within: number, at: number, n: number) => void): void {
    for (let at = 0; at < length; ) {
      const cluster = Math.floor((offset + at) / CLUSTER);
      const within = (offset + at) % CLUSTER;
      const n = Math.min(CLUSTER - within, length - at);
      fn(cluster, within, at, n);
      at += n;
    }
  }

  read(offset: number, dst: Uint8Array): void {
    this.each(offset, dst.length, (cluster, within, at, n) => {
      const c = this.clusters.get(cluster);
      if (c === undefined) this.base.read(offset + at, dst.subarray(at, at + n));
      else dst.set(c.subarray(within, within + n), at);
    });
  }

  write(offset: number, src: Uint8Array): void {
    this.each(offset, src.length, (cluster, within, at, n) => {
      let c = this.clusters.get(cluster);
      if (c === undefined) {
        c = new Uint8Array(CLUSTER);
        const start = cluster * CLUSTER;
        this.base.read(start, c.subarray(0, Math.min(CLUSTER, this.size - start)));
        this.clusters.set(cluster, c);
      }
      c.set(src.subarray(at, at + n), within);
    });
  }

  flush(): void {}

  close(): void {
    this.clusters.clear();
    this.base.close();
  }
}

const CLUSTER = 65536;
