/** Keeping the cache small and in few files: eviction of what was not used for long, merging of segments. */
import { closeSync, renameSync, writeSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { extract, GROUP_HEAD, groupOf, Grp, recordsOfGroup, unsoundGroups } from '../engine/aot/page-group.js';
import { Rec, RecordWriter } from '../engine/aot/record.js';
import type { CacheDirectory, SegmentName } from './directory.js';
import { encodeFrame, Frame, readPayload, scanFrames } from './segment.js';

/** When room must be made, this part of the limit stays in use. */
const KEEP = 0.9;
/** Words of payload of a merged chunk. */
const CHUNK_WORDS = 1 << 16;

/** True while the process that writes the segment may live. */
export function writerLives(s: SegmentName): boolean {
  // 0: the result of a merge.
  if (s.pid === 0) return false;
  if (s.pid === process.pid) return true;
  try {
    process.kill(s.pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Removes the segments that were not used for longest until the directory takes at most `limit` bytes. `own` stays. */
export function evict(dir: CacheDirectory, limit: number, own: string): number {
  const all = dir.segments();
  let total = all.reduce((n, s) => n + s.bytes, 0);
  if (total <= limit) return 0;
  let removed = 0;
  for (const s of all.sort((a, b) => a.usedMs - b.usedMs)) {
    if (total <= limit * KEEP) break;
    if (s.name === own) continue;
    dir.remove(s.name);
    total -= s.bytes;
    removed++;
  }
  return removed;
}

/**
 * Makes one segment of all that were written for `domain` by processes that have ended, each record once. Other processes may do
 * the same at the same time: then some records are there twice, which does no harm.
 * @returns number of segments that were merged
 */
export function mergeSegments(dir: CacheDirectory, domain: string): number {
  const key = Buffer.from(domain, 'hex');
  const sources = dir.segments().filter((s) => s.domain === domain && !writerLives(s));
  if (sources.length < 2) return 0;
  const { name, fd } = dir.createSegment(domain);
  const merged: string[] = [];
  let frames = 0;
  const write = (kind: Frame, index: Uint8Array, payload: Uint8Array): void => {
    const frame = encodeFrame(dir.key, key, kind, frames++, index, payload);
    if (writeSync(fd, frame) !== frame.length) throw new Error('short write');
  };
  const seen = new Set<string>();
  const idOf = (record: Int32Array): string => createHash('sha256').update(new Uint8Array(record.buffer, record.byteOffset, record.byteLength)).digest('base64');
  const hot = new Set<number>();
  let index: number[] = [];
  let payload: Int32Array[] = [];
  let words = 0;
  const flush = (kind = Frame.CHUNK): void => {
    if (words === 0) return;
    const all = new Int32Array(words);
    let at = 0;
    for (const p of payload) {
      all.set(p, at);
      at += p.length;
    }
    write(kind, new Uint8Array(Int32Array.from(index).buffer), new Uint8Array(all.buffer));
    index = [];
    payload = [];
    words = 0;
  };
  const add = (piece: Int32Array): void => {
    payload.push(piece);
    words += piece.length;
    if (words >= CHUNK_WORDS) flush();
  };
  // Page groups come whole, and before what is in no group: a record that is in one is not needed on its own.
  const singles: { hash: number; record: Int32Array }[] = [];
  const alone = new RecordWriter();
  const take = (list: Int32Array, W: Int32Array): void => {
    const hashes = new Map<number, number>();
    for (let i = 0; i < list.length; i += 2) hashes.set(list[i + 1]!, list[i]!);
    const unsound = unsoundGroups(list, W);
    for (const [at, hash] of hashes) {
      const g = groupOf(W, at);
      if (g < 0 || unsound.has(g)) singles.push({ hash, record: W.slice(at, at + W[at + Rec.LENGTH]!) });
      else if (at === g + GROUP_HEAD) takeGroup(hashes, W, g);
    }
  };
  const regions: { hash: number; record: Int32Array }[] = [];
  const takeRegions = (list: Int32Array, W: Int32Array): void => {
    for (let i = 0; i < list.length; i += 2) {
      const record = W.slice(list[i + 1]!, list[i + 1]! + W[list[i + 1]! + Rec.LENGTH]!);
      const id = idOf(record);
      if (!seen.has(id)) regions.push({ hash: list[i]!, record });
      seen.add(id);
    }
  };
  const takeGroup = (hashes: ReadonlyMap<number, number>, W: Int32Array, g: number): void => {
    const records = recordsOfGroup(W, g);
    const fresh: { hash: number; record: Int32Array }[] = [];
    for (const r of records) {
      alone.n = 0;
      extract(W, r, alone);
      const record = alone.W.slice(0, alone.n);
      if (!seen.has(idOf(record))) fresh.push({ hash: hashes.get(r)!, record });
    }
    // Of what several runs have grouped, each in its own way, one group is enough.
    if (fresh.length * 2 < records.length) {
      singles.push(...fresh);
      return;
    }
    for (const { record } of fresh) seen.add(idOf(record));
    for (const r of records) index.push(hashes.get(r)!, words + r - g);
    add(W.subarray(g, g + W[g + Grp.LENGTH]!));
  };
  try {
    for (const s of sources) {
      const from = dir.openSegment(s.name);
      if (from === null) continue;
      try {
        scanFrames(from, dir.key, key, (f) => {
          if (f.kind === Frame.IDENTITY) {
            if (frames === 0) write(Frame.IDENTITY, f.index, new Uint8Array(0));
            return;
          }
          if (f.kind === Frame.HOT) {
            for (const hash of new Int32Array(f.index.buffer, f.index.byteOffset, f.index.length >> 2)) hot.add(hash);
            return;
          }
          const bytes = readPayload(from, dir.key, f);
          if (bytes === null) return;
          const list = new Int32Array(f.index.buffer, f.index.byteOffset, f.index.length >> 2);
          const W = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
          if (f.kind === Frame.CHUNK) take(list, W);
          else if (f.kind === Frame.REGIONS) takeRegions(list, W);
        });
      } finally {
        closeSync(from);
      }
      merged.push(s.name);
    }
    for (const { hash, record } of singles) {
      const id = idOf(record);
      if (seen.has(id)) continue;
      seen.add(id);
      index.push(hash, words);
      add(record);
    }
    flush();
    for (const { hash, record } of regions) {
      index.push(hash, words);
      add(record);
    }
    flush(Frame.REGIONS);
    if (hot.size > 0) write(Frame.HOT, new Uint8Array(Int32Array.from(hot).buffer), new Uint8Array(0));
  } catch (e) {
    closeSync(fd);
    dir.remove(name);
    throw e;
  }
  closeSync(fd);
  for (const s of merged) dir.remove(s);
  // Under a number that belongs to no process: its writer has finished.
  renameSync(join(dir.path, name), join(dir.path, name.replace(/\.\d+-/, '.0-')));
  return merged.length;
}
