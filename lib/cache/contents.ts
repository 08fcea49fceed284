/** Reads whole caches and exported files: for the commands that show, check and carry them. */
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { UsageError } from '../errors.js';
import type { CacheDirectory, SegmentName } from './directory.js';
import { type Identity, parseIdentity } from './identity.js';
import { encodeFrame, Frame, KEY_BYTES, readPayload, scanFrames, type ScanEnd } from './segment.js';

/** One chunk: pairs of hash and word offset, and the words. */
export interface Chunk {
  index: Int32Array;
  payload: Int32Array;
  /** The records are of regions. Files that are exported have none. */
  regions?: boolean;
}

/** What one segment file holds. */
export interface SegmentContents extends SegmentName {
  /** Null: the file does not say (it is empty or refused). */
  identity: Identity | null;
  end: ScanEnd;
  records: number;
  /** Chunks whose payload was damaged. */
  damaged: number;
}

const text = (b: Uint8Array): string => Buffer.from(b.buffer, b.byteOffset, b.byteLength).toString('utf8').trimEnd();
const words = (b: Uint8Array): Int32Array => new Int32Array(b.buffer, b.byteOffset, b.byteLength >> 2);

/**
 * Reads every segment. With `chunk`, payloads are read and checked too.
 */
export function readSegments(dir: CacheDirectory, chunk?: (s: SegmentContents, c: Chunk) => void): SegmentContents[] {
  const out: SegmentContents[] = [];
  for (const s of dir.segments()) {
    const c: SegmentContents = { ...s, identity: null, end: 'refused', records: 0, damaged: 0 };
    out.push(c);
    const fd = dir.openSegment(s.name);
    if (fd === null) continue;
    try {
      c.end = scanFrames(fd, dir.key, Buffer.from(s.domain, 'hex'), (f) => {
        if (f.kind === Frame.IDENTITY) {
          c.identity = parseIdentity(text(f.index));
          return;
        }
        if (f.kind !== Frame.CHUNK && f.kind !== Frame.REGIONS) return;
        if (f.kind === Frame.CHUNK) c.records += f.index.length >> 3;
        if (chunk === undefined) return;
        const b = readPayload(fd, dir.key, f);
        if (b === null) c.damaged++;
        else chunk(c, { index: words(f.index), payload: words(b), regions: f.kind === Frame.REGIONS });
      });
    } finally {
      closeSync(fd);
    }
  }
  return out;
}

/** Exported files are not secret and not trusted: their tags, under a key that everybody knows, only find damage. */
const PUBLIC_KEY = new Uint8Array(KEY_BYTES);
const NO_DOMAIN = new Uint8Array(16);

export class ExportWriter {
  private readonly fd: number;
  private frames = 0;

  /** @throws UsageError if the file cannot be made */
  constructor(readonly file: string) {
    try {
      this.fd = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o644);
    } catch (e) {
      throw new UsageError(`aot export: ${file}: cannot be written (${(e as NodeJS.ErrnoException).code ?? String(e)})`, { cause: e });
    }
  }

  /** Chunks that follow are of this identity. */
  identity(id: Uint8Array): void {
    this.put(Frame.IDENTITY, id, new Uint8Array(0));
  }

  chunk(c: Chunk): void {
    const bytes = (a: Int32Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
    this.put(Frame.CHUNK, bytes(c.index), bytes(c.payload));
  }

  private put(kind: Frame, index: Uint8Array, payload: Uint8Array): void {
    const frame = encodeFrame(PUBLIC_KEY, NO_DOMAIN, kind, this.frames++, index, payload);
    for (let at = 0; at < frame.length; ) at += writeSync(this.fd, frame, at);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** @throws UsageError if the file is not an export, or is damaged */
export function readExport(file: string, visit: { identity(i: Identity, raw: Uint8Array): void; chunk(c: Chunk): void }): void {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (e) {
    throw new UsageError(`aot import: ${file}: ${(e as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : `cannot be read (${String((e as NodeJS.ErrnoException).code)})`}`, { cause: e });
  }
  try {
    if (!fstatSync(fd).isFile()) throw new UsageError(`aot import: ${file} is not a file`);
    let known = false;
    let damaged = false;
    const end = scanFrames(fd, PUBLIC_KEY, NO_DOMAIN, (f) => {
      if (damaged) return;
      if (f.kind === Frame.IDENTITY) {
        const i = parseIdentity(text(f.index));
        if (i === null) damaged = true;
        else visit.identity(i, f.index);
        known = true;
        return;
      }
      const b = known && f.kind === Frame.CHUNK ? readPayload(fd, PUBLIC_KEY, f) : null;
      if (b === null) damaged = true;
      else visit.chunk({ index: words(f.index), payload: words(b) });
    });
    if (damaged || end !== 'complete' || !known) throw new UsageError(`aot import: ${file} is not a file that 'aot export' wrote, or is damaged`);
  } finally {
    closeSync(fd);
  }
}

