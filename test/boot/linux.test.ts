/** Debian's cloud kernel and busybox to user space, and a shell over the serial port. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';

const MARK = 'USER SPACE REACHED';
const MINUTES = 60_000;
const skip = skipFor(noGuests);
const linux = { accel: 'jit' as const, kernel: guests.kernel, initrd: guests.initramfs, append: 'console=ttyS0 quiet' };

describe.skipIf(skip)('Linux on the JIT', () => {
  let vm: VirtualMachine;
  let c: Console;
  beforeAll(async () => {
    vm = await VirtualMachine.create(linux);
    c = new Console(vm);
    vm.start();
    await c.until(MARK);
    await c.until('~ # ');
  }, 10 * MINUTES);
  afterAll(() => vm.stop());

  it('has a shell that answers', async () => {
    expect(await c.run('echo $((6 * 7)) $(uname -sm)')).toEqual({ output: '42 Linux x86_64', status: 0 });
    expect(await c.run('cat /nothing')).toMatchObject({ status: 1 });
    expect((await c.run('nproc')).output).toBe('1');
  });

  it('computes as it should', async () => {
    expect((await c.run("awk 'BEGIN { for (i = 1; i <= 1000; i++) s += 1 / i; printf \"%.12f\\n\", s }'")).output).toBe('7.485470860550');
    expect((await c.run('seq 1 20000 | sha256sum')).output).toBe('f6351f5ead9a700e34275480b3856ea738122a7c57bdeb744a631251c069587a  -');
    expect((await c.run('seq 1 5000 | gzip | gunzip | md5sum')).output).toBe('a5a208cd26b07cadade3450fe14d1d93  -');
  });

  it('gets Ctrl-C', async () => {
    c.type('echo "<<"sleeping">>"; sleep 100\n');
    await c.until('<<sleeping>>');
    c.type('\x03');
    await c.until('~ # ');
    expect((await c.run('echo after')).output).toBe('after');
  });

  it('sees a clock that stands still while paused', async () => {
    const uptime = async (): Promise<number> => Number((await c.run("cut -d' ' -f1 /proc/uptime")).output);
    const before = await uptime();
    await vm.pause();
    const paused = await vm.stats();
    expect((await vm.stats())!.guestTime).toBe(paused!.guestTime);
    await vm.resume();
    expect(await uptime()).toBeGreaterThanOrEqual(before);
  });

  it('counts what ran', async () => {
    const s = await vm.stats();
    expect(s).toMatchObject({ accel: 'jit' });
    expect(s!.engine.blocks).toBeGreaterThan(10_000);
    expect(s!.engine.hostBytes).toBeGreaterThan(1_000_000);
    expect(s!.slices).toBeGreaterThan(0);
  });

  it('resets on reboot -f and comes up again', async () => {
    let resets = 0;
    vm.on('reset', () => resets++);
    c.type('reboot -f\n');
    await c.until(MARK);
    await c.until('~ # ');
    expect(resets).toBe(1);
  }, 10 * MINUTES);

  it('ends on poweroff -f', async () => {
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  });
});

describe.skipIf(skip)('Linux on the interpreter', () => {
  it('reaches user space and powers off', async () => {
    await using vm = await VirtualMachine.create({ ...linux, accel: 'interp', append: `${linux.append} then=poweroff` });
    const c = new Console(vm);
    vm.start();
    await c.until(MARK);
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 30 * MINUTES);
});
