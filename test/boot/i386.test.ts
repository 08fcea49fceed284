/** Debian's 32-bit kernel without PAE: two-level paging, 32-bit interrupt gates and TSS, SYSENTER. */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';

const MINUTES = 60_000;
const { kernel386 = '', initramfs386 = '' } = guests;
const missing = existsSync(kernel386) && existsSync(initramfs386) ? null : 'no i386 guest: run dpkg --add-architecture i386, apt-get update and node scripts/guests.mjs';
const options = { kernel: kernel386, initrd: initramfs386, append: 'console=ttyS0 quiet' };

describe.skipIf(skipFor(noGuests ?? missing))('32-bit Linux', () => {
  it('has a shell that answers, computes and powers off on the JIT', async () => {
    await using vm = await VirtualMachine.create(options);
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    expect((await c.run('uname -sm')).output).toBe('Linux i686');
    expect((await c.run('seq 1 20000 | sha256sum')).output).toBe('f6351f5ead9a700e34275480b3856ea738122a7c57bdeb744a631251c069587a  -');
    // Its busybox computes with the x87.
    expect((await c.run("awk 'BEGIN { for (i = 1; i <= 1000; i++) s += 1 / i; printf \"%.9f\\n\", s }'")).output).toBe('7.485470861');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 10 * MINUTES);

  it('reaches user space on the interpreter', async () => {
    await using vm = await VirtualMachine.create({ ...options, accel: 'interp', append: `${options.append} then=poweroff` });
    const c = new Console(vm);
    vm.start();
    await c.until('USER SPACE REACHED');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 30 * MINUTES);
});
