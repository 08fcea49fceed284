/** Pointer authentication and branch target identification under Debian's arm64 kernel: what it finds, and a process that uses both. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, hostTool, noAddon, skipFor } from './guests.js';

const MINUTES = 60_000;
const { kernelArm64 = '', initramfsArm64 = '' } = guests;

function problem(): string | null {
  if (noAddon !== null) return noAddon;
  if (!existsSync(kernelArm64) || !existsSync(initramfsArm64)) return 'no arm64 guest: run dpkg --add-architecture arm64, apt-get update and node scripts/guests.mjs';
  return hostTool('aarch64-linux-gnu-gcc', 'cpio');
}

const dir = mkdtempSync(join(tmpdir(), 'vmx-arm64-branch-protection-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The initramfs with test/boot/branch-protection.c. */
function initrd(): string {
  const source = fileURLToPath(new URL('branch-protection.c', import.meta.url));
  execFileSync('aarch64-linux-gnu-gcc', ['-O1', '-static', '-nostdlib', '-march=armv8.5-a', '-mbranch-protection=standard', '-Wl,-z,force-bti', '-o', join(dir, 'branch-protection'), source]);
  // A kernel unpacks archives one after the other.
  const more = execFileSync('cpio', ['-o', '-H', 'newc', '--quiet'], { cwd: dir, input: 'branch-protection\n', maxBuffer: 1 << 26 });
  const file = join(dir, 'initrd');
  writeFileSync(file, Buffer.concat([readFileSync(initramfsArm64), gzipSync(more, { level: 1 })]));
  return file;
}

describe.skipIf(skipFor(problem()))('64-bit Arm Linux with branch protection', () => {
  it('guards a process', async () => {
    await using vm = await VirtualMachine.create({ kernel: kernelArm64, initrd: initrd(), append: 'console=ttyAMA0 quiet', cpu: 'max' });
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    expect((await c.run('grep -o "paca.*" /proc/cpuinfo')).output).toBe('paca pacg bti');
    expect((await c.run('/branch-protection; /branch-protection')).output).toBe('pac ok\ncalls ok\nbti ok\npac ok\ncalls ok\nbti ok');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 10 * MINUTES);
});
