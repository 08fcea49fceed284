/** qcow2: random operations against a model, and qemu-img as the judge of what is in the file. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createQcow2, type Qcow2CreateOptions } from '#lib/block/qcow2/create.js';
import { UsageError } from '#lib/errors.js';
import { hostTool, skipFor } from '../boot/guests.js';
import { randomFrom } from '../devices/fuzz.js';
import { contents, Folder, noImages, open, tool } from './host.js';

const MIB = 1 << 20;
const SECTOR = 512;

interface Case extends Partial<Qcow2CreateOptions> {
  what: string;
  size: number;
  operations: number;
  /** Longest request. */
  longest: number;
  /** Bytes of a raw backing file. */
  behind?: number;
  /** qemu-img makes the image, with these options. */
  byQemu?: string;
  /** qemu-img takes internal snapshots on the way. */
  snapshots?: boolean;
}

const CASES: Case[] = [
  { what: 'as it is by default', size: 8 * MIB, operations: 600, longest: 200_000 },
  { what: 'clusters of 512 bytes: the refcount table grows', size: 8 * MIB, operations: 500, longest: 200_000, clusterSize: 512 },
  { what: 'refcounts of 1 bit', size: 4 * MIB, operations: 400, longest: 50_000, clusterSize: 512, refcountBits: 1 },
  { what: 'refcounts of 64 bits', size: 4 * MIB, operations: 400, longest: 50_000, clusterSize: 512, refcountBits: 64 },
  { what: 'clusters of 2 MiB', size: 16 * MIB, operations: 100, longest: 3_000_000, clusterSize: 2 * MIB },
  { what: 'version 2', size: 8 * MIB, operations: 500, longest: 100_000, version: 2 },
  { what: 'a backing file that is shorter', size: 8 * MIB, operations: 500, longest: 100_000, behind: 5 * MIB },
  { what: 'version 2 with a backing file', size: 8 * MIB, operations: 500, longest: 100_000, version: 2, behind: 5 * MIB + SECTOR },
];
const QEMU_CASES: Case[] = [
  { what: 'internal snapshots', size: 8 * MIB, operations: 500, longest: 100_000, snapshots: true },
  { what: 'internal snapshots, refcounts of 4 bits, backing file', size: 8 * MIB, operations: 400, longest: 100_000, clusterSize: 4096, refcountBits: 4, snapshots: true, behind: 3 * MIB },
  { what: 'made by qemu-img with all metadata', size: 8 * MIB, operations: 500, longest: 100_000, byQemu: 'preallocation=metadata' },
  { what: 'made by qemu-img, version 2', size: 8 * MIB, operations: 500, longest: 100_000, byQemu: 'compat=0.10' },
];

const noQemu = hostTool('qemu-img');
const skip = skipFor(noImages);
const skipQemu = skipFor(noQemu) || skip;

describe.skipIf(skip)('qcow2', () => {
  let dir: Folder;
  beforeAll(() => (dir = new Folder()));
  afterAll(() => dir.remove());

  function exercise(c: Case, seed: number): void {
    const random = randomFrom(seed);
    const image = dir.at('t.qcow2');
    const model = Buffer.alloc(c.size);
    const backing = c.behind === undefined ? {} : { backingFile: 'base.raw', backingFormat: 'raw' };
    if (c.behind !== undefined) {
      const base = Buffer.alloc(c.behind);
      for (let i = 0; i < base.length; i += 64) base.writeUInt32LE(random(), i);
      writeFileSync(dir.at('base.raw'), base);
      base.copy(model);
    }
    if (c.byQemu !== undefined) tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', c.byQemu, image, String(c.size));
    else createQcow2(image, { ...c, ...backing, option: 'test', replace: true });
    let d = open(image);
    for (let i = 0; i < c.operations; i++) {
      const offset = (random() % (c.size / SECTOR)) * SECTOR;
      const length = Math.min(c.size - offset, (1 + (random() % Math.floor(c.longest / SECTOR))) * SECTOR);
      const part = model.subarray(offset, offset + length);
      const what = random() % 100;
      if (what < 50) {
        const b = Buffer.alloc(length, random() & 0xff);
        b.writeUInt32LE(i, 0);
        d.write(offset, b);
        part.set(b);
      } else if (what < 70) {
        const b = Buffer.alloc(length);
        d.read(offset, b);
        expect(b.equals(part)).toBe(true);
      } else if (what < 82) {
        d.writeZeroes(offset, length, (random() & 1) !== 0);
        part.fill(0);
      } else if (what < 90) {
        // Old bytes or zeros, but always the same.
        d.discard(offset, length);
        const b = Buffer.alloc(length);
        d.read(offset, b);
        part.set(b);
      } else if (what < 95) {
        d.flush();
      } else if (what === 95) {
        d.close();
        if (c.snapshots) tool('qemu-img', 'snapshot', '-c', `s${i}`, image);
        d = open(image);
      }
    }
    d.close();
    d = open(image, { readonly: true });
    expect(contents(d).equals(model)).toBe(true);
    d.close();
    if (noQemu !== null) return;
    expect(tool('qemu-img', 'check', image)).toContain('No errors were found');
    writeFileSync(dir.at('model.raw'), model);
    expect(tool('qemu-img', 'compare', image, dir.at('model.raw'))).toContain('identical');
  }

  it.each(CASES)('$what', (c) => exercise(c, 7), 60_000);
  it.skipIf(skipQemu).each(QEMU_CASES)('$what', (c) => exercise(c, 11), 60_000);

  it.skipIf(skipQemu).each(['zlib', 'zstd'])('reads and overwrites clusters compressed with %s', (type) => {
    const raw = Buffer.alloc(3 * MIB);
    for (let i = 0; i < raw.length; i++) raw[i] = (i * i) >> 11;
    const source = dir.at('plain.raw');
    const image = dir.at(`${type}.qcow2`);
    writeFileSync(source, raw);
    tool('qemu-img', 'convert', '-c', '-O', 'qcow2', '-o', `compression_type=${type}`, source, image);
    const d = open(image);
    expect(contents(d).equals(raw)).toBe(true);
    for (const at of [0, 65536 * 3 + 512, 2 * MIB - 1024]) {
      const b = Buffer.alloc(2048, 0xee);
      d.write(at, b);
      b.copy(raw, at);
    }
    d.close();
    expect(tool('qemu-img', 'check', image)).toContain('No errors were found');
    writeFileSync(source, raw);
    tool('qemu-img', 'compare', image, source);
  });

  it('refuses a backing file that leads back to the image', () => {
    createQcow2(dir.at('a.qcow2'), { size: MIB, option: 't', backingFile: 'b.qcow2', backingFormat: 'qcow2' });
    createQcow2(dir.at('b.qcow2'), { size: MIB, option: 't', backingFile: 'a.qcow2', backingFormat: 'qcow2' });
    expect(() => open(dir.at('a.qcow2'), { readonly: true })).toThrow(/is its own backing file/);
  });

  it('names image and backing file when the latter is missing', () => {
    createQcow2(dir.at('orphan.qcow2'), { size: MIB, option: 't', backingFile: 'gone.raw' });
    expect(() => open(dir.at('orphan.qcow2'))).toThrow(/^--disk: .*orphan\.qcow2: backing file: .*gone\.raw: no such file$/);
    createQcow2(dir.at('remote.qcow2'), { size: MIB, option: 't', backingFile: 'nbd://host/x' });
    expect(() => open(dir.at('remote.qcow2'))).toThrow(/'nbd:\/\/host\/x' is not a local file/);
  });

  it('finds backing files beside the image', () => {
    writeFileSync(dir.at('base2.raw'), Buffer.alloc(MIB, 5));
    createQcow2(dir.at('child.qcow2'), { size: MIB, option: 't', backingFile: 'base2.raw' });
    const d = open(dir.at('child.qcow2'));
    expect(contents(d).every((x) => x === 5)).toBe(true);
    d.close();
  });

  it('damaged images give one clear line, or an I/O error of the disk', () => {
    createQcow2(dir.at('good.qcow2'), { size: 4 * MIB, option: 't', clusterSize: 4096 });
    const g = open(dir.at('good.qcow2'));
    for (let i = 0; i < 60; i++) g.write(i * 65536, Buffer.alloc(5000 - (5000 % SECTOR), i));
    g.close();
    const d = open(dir.at('good.qcow2'), { readonly: true, format: 'raw' });
    const good = contents(d);
    d.close();
    const random = randomFrom(3);
    let refused = 0;
    let failed = 0;
    for (let n = 0; n < 400; n++) {
      const bad = Buffer.from(good);
      const meta = n % 2 ? 120 : bad.length;
      for (let k = 0; k <= random() % 6; k++) bad[random() % meta] = random();
      const cut = n % 5 === 0 ? bad.subarray(0, random() % bad.length) : bad;
      writeFileSync(dir.at('bad.qcow2'), cut);
      try {
        const image = open(dir.at('bad.qcow2'), { format: 'qcow2' });
        try {
          const b = Buffer.alloc(65536);
          for (let at = 0; at + b.length <= Math.min(image.size, 4 * MIB); at += b.length) image.read(at, b);
          for (let k = 0; k < 8; k++) image.write((random() % (4 * MIB / SECTOR)) * SECTOR, b.subarray(0, SECTOR));
          image.flush();
        } finally {
          image.close();
        }
      } catch (e) {
        const { message, code } = e as { message: string; code?: string };
        expect(message).not.toContain('\n');
        if (e instanceof UsageError) refused++;
        else failed++;
        expect(['ERR_USAGE', 'ERR_IO']).toContain(code);
      }
    }
    expect(refused).toBeGreaterThan(50);
    expect(failed).toBeGreaterThan(5);
  }, 60_000);
});

describe.skipIf(skip)('locks', () => {
  let dir: Folder;
  beforeAll(() => (dir = new Folder()));
  afterAll(() => dir.remove());

  it('keep two writers, and a reader beside a writer, from one image', () => {
    const file = dir.at('x.raw');
    writeFileSync(file, Buffer.alloc(MIB));
    const a = open(file);
    expect(() => open(file)).toThrow(/x\.raw is in use by another machine or program/);
    expect(() => open(file, { readonly: true })).toThrow(/in use by another machine or program that writes to it/);
    expect(() => open(file, { snapshot: true })).toThrow(/in use/);
    open(file, { readonly: true, lock: false }).close();
    a.close();
    const r1 = open(file, { readonly: true });
    const r2 = open(file, { readonly: true });
    expect(() => open(file)).toThrow(/in use/);
    r1.close();
    r2.close();
    open(file).close();
  });

  it('hold for backing files', () => {
    writeFileSync(dir.at('base.raw'), Buffer.alloc(MIB));
    createQcow2(dir.at('o.qcow2'), { size: MIB, option: 't', backingFile: 'base.raw' });
    const d = open(dir.at('o.qcow2'));
    expect(() => open(dir.at('base.raw'))).toThrow(/in use/);
    d.close();
  });

  it.skipIf(skipQemu || hostTool('qemu-io') !== null)('are QEMU\'s, too: each refuses what the other writes to', async () => {
    const file = dir.at('q.raw');
    writeFileSync(file, Buffer.alloc(MIB));
    const d = open(file);
    expect(() => tool('qemu-io', '-f', 'raw', '-c', 'write 0 512', file)).toThrow(/lock/);
    d.close();
    const child = spawn('qemu-io', ['-f', 'raw', '-c', 'sleep 60000', file], { stdio: 'ignore' });
    const refusal = (): string => {
      try {
        open(file).close();
        return '';
      } catch (e) {
        return (e as Error).message;
      }
    };
    for (let i = 0; i < 500 && refusal() === ''; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(refusal()).toMatch(/in use/);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    open(file).close();
  });
});
