/** Disks and virtio functions as Linux drives them. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, hostTool, noGuests, skipFor } from './guests.js';

const MINUTES = 60_000;
const skip = skipFor(noGuests ?? hostTool('mke2fs', 'debugfs', 'e2fsck'));
const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/sbin:/usr/sbin` };
const md5 = (b: Buffer): string => createHash('md5').update(b).digest('hex');

describe.skipIf(skip)('disks', () => {
  let dir: string;
  let image: string;
  let snapshot: string;
  let readonly: string;
  let untouched: Buffer;
  const content = randomBytes(300_000);
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-disk-'));
    const files = join(dir, 'files');
    mkdirSync(files);
    writeFileSync(join(files, 'from-host'), content);
    [image, snapshot, readonly] = ['image', 'snapshot', 'readonly'].map((name) => {
      const file = join(dir, `${name}.img`);
      execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', files, file, '24M'], { env });
      return file;
    }) as [string, string, string];
    untouched = readFileSync(snapshot);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('keep what the guest writes, drop it with snapshot, refuse it with readonly', async () => {
    await using vm = await VirtualMachine.create({
      kernel: guests.kernel,
      initrd: guests.initramfsModules,
      append: 'console=ttyS0 quiet',
      disks: [image, `${snapshot},snapshot,if=nvme`, `${readonly},readonly`],
      devices: ['virtio-rng', 'virtio-console'],
    });
    const debug: Buffer[] = [];
    vm.on('debug', (b) => debug.push(Buffer.from(b)));
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');

    // Three disks, found on the bus and told apart by their serial numbers.
    expect((await c.run('for d in vda vdb nvme0n1/device; do echo $(cat /sys/block/$d/serial); done')).output.split('\n')).toEqual(['vmx-disk0', 'vmx-disk2', 'vmx-disk1']);
    expect((await c.run('cat /sys/block/vda/size /sys/block/vdb/ro')).output).toBe('49152\n1');
    expect((await c.run('mkdir -p /a /b /c; mount -t ext4 /dev/vda /a && mount -t ext4 /dev/nvme0n1 /b && mount -t ext4 -o ro /dev/vdb /c')).status).toBe(0);
    expect((await c.run('md5sum /a/from-host /b/from-host /c/from-host')).output.split('\n').map((l) => l.slice(0, 32))).toEqual(Array.from({ length: 3 }, () => md5(content)));

    // Written, synced, and read back past the page cache.
    expect((await c.run('dd if=/dev/urandom of=/a/from-guest bs=64k count=60 2>/dev/null && cp /a/from-guest /b/from-guest && sync')).status).toBe(0);
    const sum = (await c.run('md5sum < /a/from-guest')).output.slice(0, 32);
    await c.run('echo 3 > /proc/sys/vm/drop_caches');
    expect((await c.run('md5sum < /a/from-guest')).output.slice(0, 32)).toBe(sum);
    expect((await c.run('md5sum < /b/from-guest')).output.slice(0, 32)).toBe(sum);
    expect((await c.run('dd if=/dev/zero of=/dev/vdb bs=512 count=1')).status).not.toBe(0);
    expect((await c.run('umount /a /b /c')).status).toBe(0);

    // The other virtio functions.
    expect((await c.run('cat /sys/class/misc/hw_random/rng_current')).output).toContain('virtio_rng');
    expect((await c.run('head -c 512 /dev/hwrng | wc -c')).output).toBe('512');
    expect((await c.run('echo through hvc0 > /dev/hvc0')).status).toBe(0);
    // It comes as a message of its own, perhaps after the one that ended the command.
    await expect.poll(() => Buffer.concat(debug).toString(), { timeout: 10_000 }).toContain('through hvc0');
    // Interrupts come as MSI-X, and none is left over.
    expect((await c.run('grep -c PCI-MSI /proc/interrupts')).output).not.toBe('0');

    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });

    // What is on the host's disk now.
    const out = join(dir, 'back');
    execFileSync('debugfs', ['-R', `dump /from-guest ${out}`, image], { env, stdio: 'ignore' });
    expect(md5(readFileSync(out))).toBe(sum);
    execFileSync('e2fsck', ['-fn', image], { env, stdio: 'ignore' });
    expect(readFileSync(snapshot).equals(untouched)).toBe(true);
  }, 10 * MINUTES);
});
