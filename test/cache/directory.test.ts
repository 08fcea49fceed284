/** The cache directory is the user's alone. */
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CacheDirectory } from '#lib/cache/directory.js';
import { tempDir } from './temp.js';

const posix = process.getuid !== undefined;
if (!posix) process.stderr.write('skipped: owners and modes do not exist here\n');

describe.skipIf(!posix)('cache directory', () => {
  it('is made with mode 700, its key with 600, and found again', () => {
    const path = join(tempDir(), 'a', 'b');
    const d = CacheDirectory.open(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, 'key')).mode & 0o777).toBe(0o600);
    expect(d.key.length).toBe(32);
    expect(Buffer.compare(CacheDirectory.open(path).key, d.key)).toBe(0);
    expect(CacheDirectory.existing(join(path, 'other'))).toBe(null);
  });

  it.each([0o755, 0o770, 0o701])('is refused with mode %o', (mode) => {
    const path = tempDir();
    chmodSync(path, mode);
    expect(() => CacheDirectory.open(path)).toThrow(/--aot-dir: .* is open to other users/);
  });

  it('is no symbolic link and no file', () => {
    const path = tempDir();
    symlinkSync(tempDir(), join(path, 'link'));
    writeFileSync(join(path, 'file'), '');
    expect(() => CacheDirectory.open(join(path, 'link'))).toThrow(/--aot-dir: .* is a symbolic link/);
    expect(() => CacheDirectory.open(join(path, 'file'))).toThrow(/--aot-dir: .*(cannot make|no directory)/);
  });

  it.skipIf(process.getuid?.() !== 0)('of another user is refused', async () => {
    const { chownSync } = await import('node:fs');
    const path = tempDir();
    chownSync(path, 65534, 65534);
    expect(() => CacheDirectory.open(path)).toThrow(/belongs to another user/);
    chownSync(path, 0, 0);
  });

  it('refuses a key that others can read, is too short or a link', () => {
    const path = tempDir();
    CacheDirectory.open(path);
    chmodSync(join(path, 'key'), 0o644);
    expect(() => CacheDirectory.open(path)).toThrow(/open to other users/);
    const short = tempDir();
    writeFileSync(join(short, 'key'), 'short', { mode: 0o600 });
    expect(() => CacheDirectory.open(short)).toThrow(/not a key/);
    const linked = tempDir();
    symlinkSync(join(path, 'key'), join(linked, 'key'));
    expect(() => CacheDirectory.open(linked)).toThrow(/cannot read the key/);
  });

  it('opens neither links nor what others may write', () => {
    const d = CacheDirectory.open(tempDir());
    const domain = '0'.repeat(32);
    const { name } = d.createSegment(domain);
    expect(statSync(join(d.path, name)).mode & 0o777).toBe(0o600);
    expect(d.segments().map((s) => s.name)).toEqual([name]);
    chmodSync(join(d.path, name), 0o622);
    expect(d.openSegment(name)).toBe(null);
    const link = `${domain}.1-${'0'.repeat(16)}.seg`;
    symlinkSync(join(d.path, 'key'), join(d.path, link));
    expect(d.openSegment(link)).toBe(null);
    expect(d.segments().map((s) => s.name)).not.toContain(link);
    mkdirSync(join(d.path, `${domain}.2-${'0'.repeat(16)}.seg`));
    expect(d.segments()).toHaveLength(1);
    expect(readFileSync(join(d.path, 'key')).length).toBe(32);
  });
});
