/** The examples run as they are, with the package's own name resolved to this checkout. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { guests, noGuests, skipFor } from './boot/guests.js';

const example = (name: string): string => fileURLToPath(new URL(`../examples/${name}`, import.meta.url));
const node = (...args: string[]): Promise<{ stdout: string; stderr: string }> => promisify(execFile)(process.execPath, args);

describe.skipIf(skipFor(noGuests))('examples', () => {
  it('boot-in-a-test', async () => {
    const r = await node(example('boot-in-a-test.mjs'), guests.kernel, guests.initramfs);
    expect(r.stdout).toMatch(/pass 1/);
  }, 600_000);

  it('screen-and-page', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'vmx-example-'));
    try {
      const r = await node(example('screen-and-page.mjs'), guests.kernel, guests.initramfsModules, join(dir, 'a.png'));
      expect(r.stdout).toBe('200 hello from Linux\n');
      expect(readFileSync(join(dir, 'a.png')).subarray(1, 4).toString()).toBe('PNG');
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }, 600_000);

  it('serial-chat', async () => {
    const r = await node(example('serial-chat.mjs'), guests.kernel, guests.initramfs, 'echo $((6 * 7))', 'ls /bin/busybox');
    expect(r.stdout).toBe('echo $((6 * 7))\n42\nls /bin/busybox\n/bin/busybox\n');
    expect(r.stderr).toBe('');
  }, 600_000);
});
