/** The code cache of one running machine on disk: reads what segments there are, appends to one of its own. */
import { closeSync, futimesSync, writevSync } from 'node:fs';
import type { AddChunk, CacheStore, ChunkIndex } from '../engine/aot/code-cache.js';
import type { CacheDirectory } from './directory.js';
import { domainOf, type Identity, identityText } from './identity.js';
import { evict } from './maintenance.js';
import { ReadAhead } from './read-ahead.js';
import { encodeHead, Frame, type FrameInfo, readPayload, scanFrames } from './segment.js';

export interface StoreStats {
  /** Segments read, of them cut short by a kill, and refused. */
  segments: number;
  torn: number;
  refusedFiles: number;
  bytesRead: number;
  /** Of them, bytes that had been read before they were asked for. */
  bytesAhead: number;
  bytesWritten: number;
}

interface OpenSegment {
  name: string;
  fd: number;
  used: boolean;
}

const NONE = new Int32Array(0);

export class FileStore implements CacheStore {
  readonly stats: StoreStats = { segments: 0, torn: 0, refusedFiles: 0, bytesRead: 0, bytesAhead: 0, bytesWritten: 0 };
  private readonly text: string;
  private readonly domain: Uint8Array;
  /** The identity as it appears in file names. */
  readonly domainName: string;
  private readonly read: OpenSegment[] = [];
  private readonly ahead = new ReadAhead();
  private queue: { kind: Frame; index: ChunkIndex; payload: Int32Array }[] = [];
  private own: { name: string; fd: number; frames: number; bytes: number } | null = null;
  /** What `startAnew` has left behind, and whether something of what followed found no room. */
  private before: { name: string } | null = null;
  private full = false;
  private broken = false;
  private warned = false;

  /**
   * @param limit most bytes that the directory may take
   * @param warn told once if a file was refused, and once if nothing can be written
   */
  constructor(private readonly dir: CacheDirectory, identity: Identity, private readonly limit: number, private readonly warn: (message: string) => void) {
    this.text = identityText(identity);
    this.domain = domainOf(this.text);
    this.domainName = Buffer.from(this.domain).toString('hex');
  }

  private refuse(name: string): void {
    this.stats.refusedFiles++;
    if (this.warned) return;
    this.warned = true;
    this.warn(`code cache: ${name} is damaged or not from this user's cache; it is not used ('vmx-accel aot clear' removes the cache)`);
  }

  open(add: AddChunk, hot: (hashes: Int32Array) => void = () => undefined, regions: AddChunk = () => undefined): void {
    const found: { seg: OpenSegment; usedMs: number; chunks: FrameInfo[] }[] = [];
    for (const s of this.dir.segments()) {
      if (s.domain !== this.domainName) continue;
      const fd = this.dir.openSegment(s.name);
      if (fd === null) {
        this.refuse(s.name);
        continue;
      }
      const seg: OpenSegment = { name: s.name, fd, used: false };
      this.read.push(seg);
      this.stats.segments++;
      const chunks: FrameInfo[] = [];
      found.push({ seg, usedMs: s.usedMs, chunks });
      const end = scanFrames(fd, this.dir.key, this.domain, (f) => {
        const index = new Int32Array(f.index.buffer, f.index.byteOffset, f.index.length >> 2);
        if (f.kind === Frame.CHUNK) {
          chunks.push(f);
          add(index, () => this.load(seg, f));
        } else if (f.kind === Frame.REGIONS) regions(index, () => this.load(seg, f));
        else if (f.kind === Frame.HOT) hot(index);
      });
      if (end === 'torn') this.stats.torn++;
      if (end === 'refused') this.refuse(s.name);
    }
    // What was used last is likely to be used again.
    found.sort((a, b) => b.usedMs - a.usedMs);
    for (const { seg, chunks } of found) if (!this.ahead.begin(seg.fd, chunks.map((f) => ({ what: f, at: f.payloadAt, bytes: f.payloadBytes })))) return;
  }

  private load(seg: OpenSegment, f: FrameInfo): Int32Array | null {
    const ahead = this.ahead.take(f);
    if (ahead !== null) this.stats.bytesAhead += ahead.length;
    const b = readPayload(seg.fd, this.dir.key, f, ahead);
    if (b === null) {
      this.refuse(seg.name);
      return null;
    }
    seg.used = true;
    this.stats.bytesRead += b.length;
    return new Int32Array(b.buffer, b.byteOffset, b.length >> 2);
  }

  write(index: ChunkIndex, payload: Int32Array): void {
    if (!this.broken) this.queue.push({ kind: Frame.CHUNK, index, payload });
  }

  writeHot(hashes: Int32Array): void {
    if (!this.broken) this.queue.push({ kind: Frame.HOT, index: hashes, payload: NONE });
  }

  writeRegions(index: ChunkIndex, payload: Int32Array): void {
    if (!this.broken) this.queue.push({ kind: Frame.REGIONS, index, payload });
  }

  startAnew(): void {
    this.flush();
    if (this.own === null) return;
    closeSync(this.own.fd);
    this.before = this.own;
    this.own = null;
  }

  /** Writes what is waiting. Never throws: a cache that cannot be written is no reason to stop a machine. */
  flush(): void {
    if (this.queue.length === 0) return;
    const waiting = this.queue;
    this.queue = [];
    try {
      for (const c of waiting) this.append(c.kind, bytesOf(c.index), bytesOf(c.payload));
      if (this.before !== null && !this.full) {
        this.dir.remove(this.before.name);
        this.before = null;
      }
      // Null: the cache cannot hold even one frame.
      if (this.own !== null) evict(this.dir, this.limit, this.own.name);
    } catch (e) {
      this.broken = true;
      this.warn(`code cache: ${this.dir.path} cannot be written (${(e as NodeJS.ErrnoException).code ?? String(e)}); new code is not kept`);
    }
  }

  private append(kind: Frame, index: Uint8Array, payload: Uint8Array): void {
    if (this.own === null) {
      this.own = { ...this.dir.createSegment(this.domainName), frames: 0, bytes: 0 };
      this.append(Frame.IDENTITY, padded(this.text), new Uint8Array(0));
    }
    const own = this.own;
    const head = encodeHead(this.dir.key, this.domain, kind, own.frames, index, payload);
    const length = head.length + payload.length;
    // More than the whole cache may hold: the machine keeps the rest to itself.
    if (own.bytes + length > this.limit) {
      this.full = true;
      return;
    }
    own.frames++;
    own.bytes += length;
    this.stats.bytesWritten += length;
    // One write: after a kill the file ends with a frame or with part of one.
    if (writevSync(own.fd, [head, payload]) !== length) throw new Error('short write');
  }

  close(): void {
    this.flush();
    const now = new Date();
    for (const s of this.read) {
      // Least recently used segments go first when the cache is full.
      if (s.used) futimesSync(s.fd, now, now);
      this.ahead.close(s.fd);
    }
    this.ahead.clear();
    this.read.length = 0;
    if (this.own !== null) closeSync(this.own.fd);
    this.own = null;
  }
}

function bytesOf(a: Int32Array): Uint8Array {
  return new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
}

/** Text in UTF-8, filled up with spaces to words. */
export function padded(text: string): Uint8Array {
  const b = Buffer.from(text);
  return Buffer.concat([b, Buffer.alloc(-b.length & 3, ' ')]);
}
