/** An overlay that drops what is written to it at the end (`snapshot`). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../errors.js';
import type { BlockBackend } from './backend.js';
import { createFile, type ImageFile } from './file.js';

const CLUSTER = 65536;
/** Place of a cluster that reads as zeros and takes no room. */
const ZERO = -1;

/** A folder for large files that need not outlast the process; /tmp is often a file system in memory. */
function scratchFolder(): string {
  return process.env.TMPDIR ?? (process.platform === 'win32' ? tmpdir() : '/var/tmp');
}

/** An open file without a name: it goes when the process does, however that ends. @throws UsageError */
function scratchFile(option: string): ImageFile {
  const parent = scratchFolder();
  let folder: string;
  try {
    folder = mkdtempSync(join(parent, 'vmx-accel-'));
  } catch (e) {
    throw new UsageError(`${option}: snapshot: no room for what is written in ${parent} (TMPDIR chooses another folder): ${(e as Error).message}`, { cause: e });
  }
  try {
    return createFile(join(folder, 'overlay'), option, false);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Copy-on-write into a scratch file, in clusters of 64 KiB. A guest can fill a disk with it, but not the host's memory. */
export class ScratchOverlay implements BlockBackend {
  readonly readonly = false;
  readonly size: number;
  /** Offset in the scratch file by cluster number. */
  private readonly places = new Map<number, number>();
  private readonly scratch: ImageFile;
  private end = 0;
  private readonly buffer = new Uint8Array(CLUSTER);

  /** @param option names the command line option in messages. @throws UsageError if there is no room for a scratch file. */
  constructor(private readonly base: BlockBackend, option: string) {
    this.size = base.size;
    this.scratch = scratchFile(option);
  }

  /** Calls back for every piece of a range: cluster, place, offset within it, offset within the range, length. */
  private pieces(offset: number, length: number, each: (cluster: number, place: number | undefined, within: number, at: number, n: number) => void): void {
    for (let at = 0; at < length; ) {
      const within = (offset + at) % CLUSTER;
      const n = Math.min(CLUSTER - within, length - at);
      const cluster = Math.floor((offset + at) / CLUSTER);
      each(cluster, this.places.get(cluster), within, at, n);
      at += n;
    }
  }

  read(offset: number, dst: Uint8Array): void {
    this.pieces(offset, dst.length, (_cluster, place, within, at, n) => {
      const part = dst.subarray(at, at + n);
      if (place === undefined) this.base.read(offset + at, part);
      else if (place === ZERO) part.fill(0);
      else this.scratch.read(place + within, part);
    });
  }

  write(offset: number, src: Uint8Array): void {
    this.pieces(offset, src.length, (cluster, place, within, at, n) => {
      const part = src.subarray(at, at + n);
      if (place !== undefined && place !== ZERO) {
        this.scratch.write(place + within, part);
        return;
      }
      if (n < CLUSTER) {
        const start = cluster * CLUSTER;
        this.buffer.fill(0);
        if (place === undefined) this.base.read(start, this.buffer.subarray(0, Math.min(CLUSTER, this.size - start)));
      }
      this.buffer.set(part, within);
      this.scratch.write(this.end, this.buffer);
      this.places.set(cluster, this.end);
      this.end += CLUSTER;
    });
  }

  flush(): void {}

  discard(): void {}

  writeZeroes(offset: number, length: number): void {
    this.pieces(offset, length, (cluster, place, within, at, n) => {
      if (place === ZERO) return;
      if (place === undefined && n === CLUSTER) this.places.set(cluster, ZERO);
      else if (place === undefined) this.write(offset + at, new Uint8Array(n));
      else this.scratch.zero(place + within, n, false);
    });
  }

  close(): void {
    this.places.clear();
    this.scratch.close();
    this.base.close();
  }
}
