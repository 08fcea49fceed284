/** Linux on several CPUs. */
import { describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';

const MINUTES = 60_000;

describe.skipIf(skipFor(noGuests))('Linux on several CPUs', () => {
  it.each([2, 4])('brings up %i, uses all of them and powers off', async (cpus) => {
    await using vm = await VirtualMachine.create({ kernel: guests.kernel, initrd: guests.initramfs, append: 'console=ttyS0 quiet', cpus });
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    expect((await c.run('nproc')).output).toBe(String(cpus));
    // Every CPU runs a program of its own at the same time.
    const mask = (n: number): string => (1 << n).toString(16);
    const jobs = Array.from({ length: cpus }, (_, n) => `taskset ${mask(n)} sh -c 'seq 1 2000 | sha256sum >/tmp/sum${n}' &`).join(' ');
    expect((await c.run(`${jobs} wait; cat /tmp/sum* | sort -u | wc -l; ls /tmp/sum* | wc -l`)).output.split(/\s+/)).toEqual(['1', String(cpus)]);
    expect((await c.run("dmesg | grep -ciE 'soft lockup|rcu.*stall|hard lockup'")).output).toBe('0');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 10 * MINUTES);
});
