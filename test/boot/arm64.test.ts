/** Debian's arm64 cloud kernel and busybox to a shell, by direct boot. */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noAddon, skipFor } from './guests.js';

const MINUTES = 60_000;
const { kernelArm64 = '', initramfsArm64 = '' } = guests;
const missing = existsSync(kernelArm64) && existsSync(initramfsArm64) ? null : 'no arm64 guest: run dpkg --add-architecture arm64, apt-get update and node scripts/guests.mjs';
const options = { kernel: kernelArm64, initrd: initramfsArm64, append: 'console=ttyAMA0 quiet' };

describe.skipIf(skipFor(noAddon ?? missing))('64-bit Arm Linux', () => {
  it('has a shell that answers, computes and powers off on the JIT', async () => {
    await using vm = await VirtualMachine.create(options);
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    expect((await c.run('uname -sm')).output).toBe('Linux aarch64');
    expect((await c.run('seq 1 20000 | sha256sum')).output).toBe('f6351f5ead9a700e34275480b3856ea738122a7c57bdeb744a631251c069587a  -');
    expect((await c.run('seq 1 5000 | gzip | gunzip | md5sum')).output).toBe('a5a208cd26b07cadade3450fe14d1d93  -');
    expect((await c.run("awk 'BEGIN { for (i = 1; i <= 1000; i++) s += 1 / i; printf \"%.12f\\n\", s }'")).output).toBe('7.485470860550');
    expect((await c.run('grep Features /proc/cpuinfo')).output).toMatch(/^Features\s*: fp asimd (evtstrm )?aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp$/);
    // The board's seed: without it the kernel has no random numbers yet, and computes one at length for each system call.
    expect((await c.run("dmesg | grep -c 'random: crng init done'")).output).toBe('1');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 10 * MINUTES);

  it('runs several CPUs', async () => {
    await using vm = await VirtualMachine.create({ ...options, cpus: 3 });
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    expect((await c.run('nproc')).output).toBe('3');
  }, 10 * MINUTES);

  it('reaches user space on the interpreter', async () => {
    await using vm = await VirtualMachine.create({ ...options, accel: 'interp', append: `${options.append} then=poweroff` });
    const c = new Console(vm);
    vm.start();
    await c.until('USER SPACE REACHED');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 30 * MINUTES);
});
