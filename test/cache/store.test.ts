/** The cache on disk, with several processes, kills and limits. */
import { spawn } from 'node:child_process';
import { existsSync, openSync, readdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { CacheDirectory } from '#lib/cache/directory.js';
import { FileStore } from '#lib/cache/file-store.js';
import { evict, mergeSegments } from '#lib/cache/maintenance.js';
import { GROUP_HEAD, groupOf, unsoundGroups, writeGroup } from '#lib/engine/aot/page-group.js';
import { Rec, RecordWriter } from '#lib/engine/aot/record.js';
import { type FakeBlock, writeFake } from '../engine/aot/records.js';
import { chunk, IDENTITY, numbers, tempDir } from './temp.js';

const WRITER = fileURLToPath(new URL('writer.mjs', import.meta.url));
const MIB = 1 << 20;

function store(dir: CacheDirectory, warnings: string[] = [], limit = 256 * MIB): FileStore {
  return new FileStore(dir, IDENTITY, limit, (m) => warnings.push(m));
}

/** All payloads that a new reader gets, and the warnings on the way. */
function readAll(dir: CacheDirectory): { payloads: Int32Array[]; warnings: string[]; torn: number } {
  const warnings: string[] = [];
  const s = store(dir, warnings);
  const payloads: Int32Array[] = [];
  s.open((_index, load) => {
    const p = load();
    if (p !== null) payloads.push(p);
  });
  const torn = s.stats.torn;
  s.close();
  return { payloads, warnings, torn };
}

/** Starts a writer; resolves when it has ended. `onLine` sees its progress. */
function writer(dir: string, seed: number, chunks: number, onLine?: (kill: () => void) => void): Promise<{ code: number | null; err: string }> {
  return new Promise((resolve) => {
    const p = spawn(process.execPath, [WRITER, dir, String(seed), String(chunks)], { stdio: ['ignore', 'pipe', 'pipe'] });
    let err = '';
    p.stderr.on('data', (d: Buffer) => (err += d.toString()));
    p.stdout.on('data', () => onLine?.(() => p.kill('SIGKILL')));
    p.on('exit', (code) => resolve({ code, err }));
  });
}

/** Checks that a payload is what writer.mjs makes. @returns [seed, number] */
function checkWritten(p: Int32Array): [number, number] {
  expect(p.length).toBe(2000);
  const seed = p[1]!;
  for (let k = 3; k < 2000; k++) if (p[k] !== (Math.imul(p[k - 1]! ^ seed, 0x9e3779b1) + k | 0)) throw new Error(`word ${k} is wrong`);
  return [seed, p[2]!];
}

describe('code cache on disk', () => {
  it('gives back what was written, to later stores only', () => {
    const dir = CacheDirectory.open(tempDir());
    const a = store(dir);
    a.open(() => undefined);
    const c = chunk(1, 50);
    a.write(c.index, c.payload);
    a.close();
    const r = readAll(dir);
    expect(r.warnings).toEqual([]);
    expect(r.payloads).toEqual([c.payload]);
  });

  it('does not mix identities', () => {
    const dir = CacheDirectory.open(tempDir());
    const a = new FileStore(dir, { ...IDENTITY, build: 'other' }, MIB, () => undefined);
    const c = chunk(1, 5);
    a.write(c.index, c.payload);
    a.close();
    expect(readAll(dir)).toEqual({ payloads: [], warnings: [], torn: 0 });
  });

  it('refuses files of another key with one warning', () => {
    const dir = CacheDirectory.open(tempDir());
    const foreign = CacheDirectory.open(tempDir());
    for (let i = 0; i < 3; i++) {
      const s = store(foreign);
      const c = chunk(i, 5);
      s.write(c.index, c.payload);
      s.close();
    }
    for (const s of foreign.segments()) writeFileSync(join(dir.path, s.name), readFileSync(join(foreign.path, s.name)), { mode: 0o600 });
    const r = readAll(dir);
    expect(r.payloads).toEqual([]);
    expect(r.warnings).toHaveLength(1);
    expect(r.warnings[0]).toMatch(/damaged or not from this user's cache/);
  });

  it('never gives what was not written when bytes flip on disk', { timeout: 60_000 }, () => {
    const dir = CacheDirectory.open(tempDir());
    const s = store(dir);
    const chunks = [1, 2, 3, 4].map((k) => chunk(k, 30));
    for (const c of chunks) s.write(c.index, c.payload);
    s.close();
    const file = join(dir.path, dir.segments()[0]!.name);
    const good = readFileSync(file);
    const known = new Set(chunks.map((c) => Buffer.from(c.payload.buffer).toString('base64')));
    const rnd = numbers(99);
    for (let i = 0; i < 300; i++) {
      const bad = Buffer.from(good);
      bad[rnd(bad.length)]! ^= 1 << rnd(8);
      writeFileSync(file, bad);
      const r = readAll(dir);
      expect(r.payloads.length).toBeLessThan(4 + 1);
      for (const p of r.payloads) expect(known.has(Buffer.from(p.buffer, p.byteOffset, p.byteLength).toString('base64'))).toBe(true);
      expect(r.warnings.length).toBeLessThanOrEqual(1);
    }
  });

  it('takes four processes that write at once', { timeout: 60_000 }, async () => {
    const path = tempDir();
    const ends = await Promise.all([1, 2, 3, 4].map((seed) => writer(path, seed, 40)));
    expect(ends).toEqual([0, 0, 0, 0].map((code) => ({ code, err: '' })));
    const r = readAll(CacheDirectory.open(path));
    expect(r.warnings).toEqual([]);
    const seen = new Set(r.payloads.map((p) => checkWritten(p).join(':')));
    expect(seen.size).toBe(160);
  });

  it('survives kill -9 of a writer', { timeout: 60_000 }, async () => {
    const path = tempDir();
    for (let round = 0; round < 4; round++) {
      let lines = 0;
      const end = await writer(path, round, 100_000, (kill) => {
        if (++lines > round * 3) kill();
      });
      expect(end.code).toBe(null);
      const r = readAll(CacheDirectory.open(path));
      expect(r.warnings).toEqual([]);
      const numbersOf = r.payloads.map(checkWritten).filter(([seed]) => seed === round).map(([, n]) => n);
      // Whole chunks without a gap, at least those that it had reported.
      expect(numbersOf).toEqual(numbersOf.map((_n, i) => i));
      expect(numbersOf.length).toBeGreaterThan(0);
    }
  });

  it('ignores the torn end of a file without a warning', () => {
    const dir = CacheDirectory.open(tempDir());
    const s = store(dir);
    const c = chunk(3, 20);
    s.write(c.index, c.payload);
    s.write(c.index, c.payload);
    s.close();
    const file = join(dir.path, dir.segments()[0]!.name);
    writeFileSync(file, readFileSync(file).subarray(0, -10));
    expect(readAll(dir)).toMatchObject({ payloads: [c.payload], warnings: [], torn: 1 });
  });

  it('stays within its limit: what was not used for longest goes first', () => {
    const dir = CacheDirectory.open(tempDir());
    const names: string[] = [];
    for (let i = 0; i < 5; i++) {
      const s = store(dir);
      const payload = new Int32Array(50_000).fill(i);
      payload[0] = payload.length;
      s.write(Int32Array.of(i, 0), payload);
      s.close();
      const name = dir.segments().map((x) => x.name).find((n) => !names.includes(n))!;
      names.push(name);
      utimesSync(join(dir.path, name), 1000 + i, 1000 + i);
    }
    utimesSync(join(dir.path, names[0]!), 5000, 5000);
    expect(evict(dir, 700_000, 'none')).toBe(2);
    expect(dir.segments().map((s) => s.name).sort()).toEqual([names[0]!, names[3]!, names[4]!].sort());
    // A store whose own code does not fit stops writing.
    const s = store(dir, [], MIB);
    for (let i = 0; i < 10; i++) s.write(Int32Array.of(i, 0), new Int32Array(50_000));
    s.close();
    expect(dir.segments().reduce((n, x) => n + x.bytes, 0)).toBeLessThanOrEqual(MIB);
  });

  it('counts reading as use', () => {
    const dir = CacheDirectory.open(tempDir());
    const s = store(dir);
    const c = chunk(1, 5);
    s.write(c.index, c.payload);
    s.close();
    const name = dir.segments()[0]!.name;
    utimesSync(join(dir.path, name), 1000, 1000);
    readAll(dir);
    expect(dir.segments()[0]!.usedMs).toBeGreaterThan(1_000_000);
  });

  it('merges the segments of processes that have ended, each record once', { timeout: 30_000 }, async () => {
    const path = tempDir();
    await writer(path, 1, 10);
    await writer(path, 2, 10);
    await writer(path, 2, 12);
    const dir = CacheDirectory.open(path);
    const own = store(dir);
    own.open(() => undefined);
    const c = chunk(7, 3);
    own.write(c.index, c.payload);
    own.flush();
    expect(mergeSegments(dir, own.domainName)).toBe(3);
    // The one that is being written stays.
    expect(dir.segments()).toHaveLength(2);
    own.close();
    const records = new Set<string>();
    let n = 0;
    const s = store(dir);
    s.open((index, load) => {
      const p = load()!;
      for (let i = 1; i < index.length; i += 2) {
        const at = index[i]!;
        const r = p.subarray(at, at + p[at]!);
        n++;
        records.add(r.length === 2000 ? checkWritten(r.slice()).join(':') : r.join());
      }
    });
    s.close();
    expect(n).toBe(10 + 12 + 3);
    expect(records.size).toBe(n);
    expect(readdirSync(path).filter((f) => f.endsWith('.seg'))).toHaveLength(2);
  });

  it('keeps the hashes of hot loops, also when segments are merged', () => {
    const dir = CacheDirectory.open(tempDir());
    const hot = (): number[] => {
      const got: number[] = [];
      const s = store(dir);
      s.open(() => undefined, (hashes) => got.push(...hashes));
      s.close();
      return got.sort((a, b) => a - b);
    };
    for (const hashes of [[7, -3], [12], [7]]) {
      const s = store(dir);
      const c = chunk(hashes[0]!, 3);
      s.write(c.index, c.payload);
      s.writeHot(Int32Array.from(hashes));
      s.close();
    }
    expect(hot()).toEqual([-3, 7, 7, 12]);
    for (const s of dir.segments()) renameSync(join(dir.path, s.name), join(dir.path, s.name.replace(/\.\d+-/, '.0-')));
    expect(mergeSegments(dir, store(dir).domainName)).toBe(3);
    expect(hot()).toEqual([-3, 7, 12]);
    expect(readAll(dir).payloads.length).toBeGreaterThan(0);
  });

  it.skipIf(!existsSync('/dev/full'))('goes on without a cache when it cannot be written', () => {
    const dir = CacheDirectory.open(tempDir());
    const warnings: string[] = [];
    const s = store(dir, warnings);
    s.open(() => undefined);
    dir.createSegment = () => {
      const fd = openSync('/dev/full', 'w');
      return { name: 'x', fd };
    };
    const c = chunk(1, 5);
    for (let i = 0; i < 3; i++) {
      s.write(c.index, c.payload);
      s.flush();
    }
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/cannot be written \(ENOSPC\)/);
    s.close();
  });

  it('drops what was written before when it has been written anew, and not if there was no room', () => {
    for (const limit of [MIB, 3000]) {
      const path = tempDir();
      const dir = CacheDirectory.open(path);
      const a = store(dir, [], limit);
      a.open(() => undefined);
      const before = chunk(1, 3);
      a.write(before.index, before.payload);
      a.flush();
      expect(dir.segments()).toHaveLength(1);
      a.startAnew();
      expect(dir.segments()).toHaveLength(1);
      const after = chunk(2, limit === MIB ? 3 : 400);
      a.write(after.index, after.payload);
      a.close();
      expect(readAll(dir).payloads).toEqual([limit === MIB ? after.payload : before.payload]);
    }
  });

  it('merges page groups whole, and only once what several have', () => {
    const dir = CacheDirectory.open(tempDir());
    const block = (offset: number, targets: number[]): FakeBlock => ({ offset, mode: 1, bytes: [1, 2, 3, 4], targets, code: 30 });
    let written = 0;
    const write = (grouped: FakeBlock[], single: FakeBlock[]): void => {
      const source = new RecordWriter();
      const out = new RecordWriter();
      const at: number[] = [];
      writeGroup(grouped.map((b) => ({ W: source.W, at: writeFake(b, source) })), out, at);
      for (const b of single) at.push(writeFake(b, out));
      const s = store(dir);
      s.write(Int32Array.from(at.flatMap((a) => [out.W[a + Rec.PLACE]!, a])), out.W.slice(0, out.n));
      s.close();
      // In this order: as of a process that has ended.
      const own = dir.segments().find((x) => x.pid === process.pid)!.name;
      renameSync(join(dir.path, own), join(dir.path, own.replace(/\.\d+-\w+/, `.0-${String(++written).padStart(16, '0')}`)));
    };
    const [a, b, c, d] = [block(0x10, [0x20]), block(0x20, [0x10]), block(0x30, [0x10]), block(0x40, [])];
    write([a!, b!, c!], [d!]);
    write([a!, c!, b!, d!], []);
    write([c!, a!], [b!]);
    expect(mergeSegments(dir, dir.segments()[0]!.domain)).toBe(3);
    const s = store(dir);
    const places: number[] = [];
    let groups = 0;
    s.open((index, load) => {
      const W = load()!;
      expect(unsoundGroups(index, W).size).toBe(0);
      for (let i = 0; i < index.length; i += 2) {
        expect(index[i]).toBe(W[index[i + 1]! + Rec.PLACE]);
        places.push(index[i]! & 0xfff);
        if (index[i + 1] === groupOf(W, index[i + 1]!) + GROUP_HEAD) groups++;
      }
    });
    s.close();
    expect(places.sort((x, y) => x - y)).toEqual([0x10, 0x20, 0x30, 0x40]);
    expect(groups).toBe(1);
  });

  it('keeps regions apart from blocks, also when segments are merged: each once', () => {
    const dir = CacheDirectory.open(tempDir());
    const block = (offset: number): FakeBlock => ({ offset, mode: 1, bytes: [1, 2, 3, 4], targets: [], code: 30 });
    for (const offsets of [[0x10, 0x20], [0x20], [0x30]]) {
      const out = new RecordWriter();
      const at = offsets.map((o) => writeFake(block(o), out));
      const s = store(dir);
      s.writeRegions(Int32Array.from(at.flatMap((a, k) => [offsets[k]!, a])), out.W.slice(0, out.n));
      s.close();
    }
    for (const s of dir.segments()) renameSync(join(dir.path, s.name), join(dir.path, s.name.replace(/\.\d+-/, '.0-')));
    const regions = (): number[] => {
      const got: number[] = [];
      const s = store(dir);
      s.open(() => expect.unreachable(), undefined, (index, load) => {
        const W = load()!;
        for (let i = 0; i < index.length; i += 2) {
          expect(W[index[i + 1]! + Rec.PLACE]! & 0xfff).toBe(index[i]);
          got.push(index[i]!);
        }
      });
      s.close();
      return got.sort((a, b) => a - b);
    };
    expect(regions()).toEqual([0x10, 0x20, 0x20, 0x30]);
    expect(mergeSegments(dir, dir.segments()[0]!.domain)).toBe(3);
    expect(regions()).toEqual([0x10, 0x20, 0x30]);
  });
});
