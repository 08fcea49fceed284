/** Debian by GRUB from its own disk to a login, with data verified: one run of bench/system-boot.mjs. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { hostTool, noAddon, skipFor } from './guests.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MINUTES = 60_000;
const image = existsSync(`${ROOT}/.demo/system/disk.img`) ? null : 'no system disk: run node scripts/disk-image.mjs (as root)';

describe.skipIf(skipFor(noAddon ?? image ?? hostTool('e2fsck')))('a Debian disk', () => {
  it('boots from NVMe on q35, keeps its data and shuts down in order', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['bench/system-boot.mjs', '--if', 'nvme', '--machine', 'q35', '--format', 'qcow2', '--firmware', 'seabios'], { cwd: ROOT });
    expect(stdout).toMatch(/^nvme +q35 +qcow2 +seabios +ok +\/dev\/nvme0n1p3/);
  }, 25 * MINUTES);
});
