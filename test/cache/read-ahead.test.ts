import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CacheDirectory } from '#lib/cache/directory.js';
import { FileStore } from '#lib/cache/file-store.js';
import { MOST_AHEAD, ReadAhead } from '#lib/cache/read-ahead.js';
import { chunk, IDENTITY, tempDir } from './temp.js';

const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 0xff);

function file(): number {
  const path = join(tempDir(), 'f');
  writeFileSync(path, bytes);
  return openSync(path, 'r');
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; !done(); i++) {
    if (i > 5000) throw new Error('it does not end');
    await sleep(1);
  }
}

const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

describe('reading ahead', () => {
  it('gives what it has read, once, and nothing that it has not', async () => {
    const fd = file();
    const r = new ReadAhead();
    const [a, b, c] = [{}, {}, {}];
    expect(r.begin(fd, [{ what: a, at: 100, bytes: 400 }, { what: b, at: 4000, bytes: 1000 }])).toBe(true);
    // Past the end of the file.
    expect(r.begin(fd, [{ what: c, at: 4900, bytes: 200 }])).toBe(true);
    expect(r.take({})).toBeNull();
    let got: Uint8Array | null = null;
    r.close(fd);
    await until(() => !isOpen(fd));
    got = r.take(a);
    expect(Array.from(got!)).toEqual(Array.from(bytes.subarray(100, 500)));
    expect(r.take(a)).toBeNull();
    expect(Array.from(r.take(b)!)).toEqual(Array.from(bytes.subarray(4000)));
    expect(r.take(c)).toBeNull();
    r.clear();
  });

  it('reads neighbours together, and gives each its own', async () => {
    const path = join(tempDir(), 'large');
    const large = Buffer.alloc(10 << 20, 'a pattern of seventeen');
    writeFileSync(path, large);
    const fd = openSync(path, 'r');
    const r = new ReadAhead();
    // Close by, far away, of nothing, over the size of one read, and beyond the end of the file.
    const parts = [[10, 300_000], [300_100, 5], [400_000, 0], [400_000, 100_000], [2 << 20, 1 << 20], [(3 << 20) + 9, 2 << 20], [(10 << 20) - 100, 200]].map(([at, n]) => ({ what: {}, at: at!, bytes: n! }));
    expect(r.begin(fd, parts)).toBe(true);
    r.close(fd);
    await until(() => !isOpen(fd));
    for (const p of parts.slice(0, -1)) expect(Buffer.compare(r.take(p.what)!, large.subarray(p.at, p.at + p.bytes)), `${p.at}`).toBe(0);
    expect(r.take(parts.at(-1)!.what)).toBeNull();
    r.clear();
  });

  it('leaves to others what is asked for too early', async () => {
    const fd = file();
    const r = new ReadAhead();
    const a = {};
    r.begin(fd, [{ what: a, at: 0, bytes: 400 }]);
    expect(r.take(a)).toBeNull();
    r.close(fd);
    expect(isOpen(fd)).toBe(true);
    await until(() => !isOpen(fd));
    expect(r.take(a)).toBeNull();
    r.clear();
  });

  it('takes no more memory than it may', () => {
    const fd = file();
    const r = new ReadAhead();
    expect(r.begin(fd, [{ what: {}, at: 0, bytes: MOST_AHEAD + 1 }])).toBe(false);
    r.clear();
    closeSync(fd);
  });

  it('is what a store takes payloads from, checked as ever', async () => {
    const dir = CacheDirectory.open(tempDir());
    const w = new FileStore(dir, IDENTITY, 1 << 28, () => undefined);
    w.open(() => undefined);
    const chunks = [1, 2, 3].map((k) => chunk(k, 50));
    for (const c of chunks) w.write(c.index, c.payload);
    w.close();
    const path = join(dir.path, dir.segments()[0]!.name);
    const good = readFileSync(path);
    const bad = Uint8Array.from(good);
    for (let i = 300; i < bad.length; i += 16) bad[i]! ^= 1;
    const total = chunks.reduce((n, c) => n + c.payload.byteLength, 0);
    // The file is damaged once all has been read: when that is, no event tells.
    for (let ms = 10; ; ms *= 2) {
      writeFileSync(path, good);
      const s = new FileStore(dir, IDENTITY, 1 << 28, () => undefined);
      const loads: (() => Int32Array | null)[] = [];
      s.open((_index, load) => loads.push(load));
      await sleep(ms);
      writeFileSync(path, bad);
      const got = loads.map((l) => l());
      s.close();
      if (s.stats.bytesAhead === total) {
        expect(got.map((p) => Array.from(p!))).toEqual(chunks.map((c) => Array.from(c.payload)));
        break;
      }
      if (ms > 5000) throw new Error('nothing is read ahead');
    }
    // What was damaged before is refused, read ahead or not.
    const s = new FileStore(dir, IDENTITY, 1 << 28, () => undefined);
    const loads: (() => Int32Array | null)[] = [];
    s.open((_index, load) => loads.push(load));
    await sleep(20);
    expect(loads.map((l) => l()).filter((p) => p !== null)).toEqual([]);
    s.close();
  });
});
