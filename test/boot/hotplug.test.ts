/** Linux with devices that come and go: it takes them into use, lets them go, and nothing of them stays. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';

describe.skipIf(skipFor(noGuests)).each(['pc', 'q35'] as const)('hot-plug on %s', (machine) => {
  let vm: VirtualMachine;
  let c: Console;
  let dir: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-hotplug-'));
    vm = await VirtualMachine.create({ kernel: guests.kernel, initrd: guests.initramfsModules, append: 'console=ttyS0 quiet', machine });
    c = new Console(vm);
    vm.start();
    await c.until('~ # ');
  });
  afterAll(async () => {
    await vm?.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  /** Waits in the guest for a file to be there, or not to be. */
  const wait = async (path: string, there: boolean): Promise<void> => {
    expect((await c.run(`i=0; while [ ${there ? '!' : ''} -e ${path} ] && [ $i -lt 100 ]; do usleep 100000; i=$((i+1)); done; [ ${there ? '' : '!'} -e ${path} ]`)).status).toBe(0);
  };
  const removed = (id: string): Promise<void> => new Promise((resolve) => vm.on('deviceRemoved', (x) => x === id && resolve()));

  it('a network card', async () => {
    expect((await c.run('ls /sys/class/net')).output).not.toContain('eth0');
    for (let round = 0; round < 2; round++) {
      await vm.hotplug.addNet('nic', 'user,mac=52:54:00:00:00:07');
      await wait('/sys/class/net/eth0', true);
      expect((await c.run('cat /sys/class/net/eth0/address; ifconfig lo up; ifconfig eth0 10.0.2.15 up; ping -c 1 10.0.2.2')).output).toMatch(/52:54:00:00:00:07[^]* 0% packet loss/);
      await expect(vm.hotplug.addNet('nic', 'user')).rejects.toThrow("a device 'nic' already");
      const gone = removed('nic');
      await vm.hotplug.remove('nic');
      await gone;
      await wait('/sys/class/net/eth0', false);
    }
    await expect(vm.hotplug.remove('nic')).rejects.toMatchObject({ code: 'ERR_NO_DEVICE' });
  });

  it('a disk', async () => {
    const file = join(dir, 'disk.img');
    writeFileSync(file, Buffer.alloc(1 << 20, 'plugged '));
    await vm.hotplug.addDisk('data', `${file},format=raw`);
    await wait('/dev/vda', true);
    expect((await c.run('head -c 16 /dev/vda')).output).toBe('plugged plugged');
    expect((await vm.disks.list()).map((d) => d.id)).toEqual(['data']);
    expect((await c.run('printf written | dd of=/dev/vda conv=fsync 2>/dev/null')).status).toBe(0);
    const gone = removed('data');
    await vm.hotplug.remove('data');
    await gone;
    await wait('/dev/vda', false);
    expect(await vm.disks.list()).toEqual([]);
    // Its lock is free: it can come again.
    await vm.hotplug.addDisk('again', `${file},format=raw`);
    await wait('/dev/vda', true);
    expect((await c.run('head -c 16 /dev/vda')).output).toBe('written plugged');
    await expect(vm.hotplug.addDisk('none', '/nonexistent')).rejects.toThrow('no such file');
    await expect(vm.hotplug.add('none', 'virtio-gpu')).rejects.toThrow('cannot come while the machine runs');
  });
});
