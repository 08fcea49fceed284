import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { randomFrom } from '../devices/fuzz.js';
import { Folder, noImages, open } from './host.js';

const CLUSTER = 65536;
const before = process.env.TMPDIR;
const dirs: Folder[] = [];

afterAll(() => {
  for (const d of dirs) d.remove();
});

afterEach(() => {
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
});

if (noImages !== null) console.log(`snapshot tests are skipped: ${noImages}`);

describe.skipIf(noImages !== null)('snapshot', () => {
  it('reads what was written, leaves the image and the host alone', () => {
    const dir = new Folder();
    dirs.push(dir);
    mkdirSync(dir.at('scratch'));
    process.env.TMPDIR = dir.at('scratch');
    const random = randomFrom(11);
    // The last cluster is a part of one.
    const size = 9 * CLUSTER + 1536;
    const image = Uint8Array.from({ length: size }, () => random() & 0xff);
    writeFileSync(dir.at('disk.raw'), image);
    const disk = open(dir.at('disk.raw'), { snapshot: true });
    const model = image.slice();
    for (let i = 0; i < 2000; i++) {
      const offset = random() % size;
      const length = Math.min(size - offset, i % 7 === 0 ? random() % (3 * CLUSTER) : random() % 5000);
      const part = model.subarray(offset, offset + length);
      switch (random() % 4) {
        case 0:
          for (let k = 0; k < length; k++) part[k] = random() & 0xff;
          disk.write(offset, part.slice());
          break;
        case 1:
          part.fill(0);
          disk.writeZeroes(offset, length, true);
          break;
        case 2:
          disk.discard(offset, length);
          break;
        default: {
          const got = new Uint8Array(length);
          disk.read(offset, got);
          expect(Buffer.compare(got, part), `read of ${length} at ${offset}, step ${i}`).toBe(0);
        }
      }
    }
    expect(readdirSync(dir.at('scratch'))).toEqual([]);
    disk.close();
    expect(Buffer.compare(readFileSync(dir.at('disk.raw')), image)).toBe(0);
  });

  it('is refused in one line where nothing can be written', () => {
    const dir = new Folder();
    dirs.push(dir);
    process.env.TMPDIR = dir.at('missing');
    writeFileSync(dir.at('disk.raw'), new Uint8Array(1024));
    expect(() => open(dir.at('disk.raw'), { snapshot: true })).toThrow(/^--disk: snapshot: no room for what is written in .*missing \(TMPDIR/);
    // The image is not left locked.
    delete process.env.TMPDIR;
    open(dir.at('disk.raw')).close();
  });
});
