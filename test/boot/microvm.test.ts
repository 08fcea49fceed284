/** Debian's cloud kernel on machine microvm: no PCI, virtio devices at fixed addresses, hardware-reduced ACPI. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError, VirtualMachine } from '#lib/index.js';
import { type MachineOptions, resolveConfig } from '#lib/machine/config.js';
import { Console } from './console.js';
import { guests, noAddon, noGuests, skipFor } from './guests.js';

const skip = skipFor(noAddon ?? noGuests);

describe.skipIf(skip)('machine microvm', () => {
  let dir: string;
  let disk: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-microvm-'));
    disk = join(dir, 'disk.img');
    writeFileSync(disk, 'of the disk');
    truncateSync(disk, 1024 * 1024);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const options = (): MachineOptions => ({ machine: 'microvm', kernel: guests.kernel, append: 'console=ttyS0 quiet' });

  it('has disks, network and entropy, and powers off', async () => {
    await using vm = await VirtualMachine.create({ ...options(), initrd: guests.initramfsModules, cpus: 2, disks: [`${disk},snapshot`], net: ['user,model=virtio'], devices: ['virtio-rng', 'virtio-balloon'] });
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    expect((await c.run('nproc')).output).toBe('2');
    expect((await c.run('ls /sys/bus/pci/devices 2>/dev/null | wc -l; ls /sys/bus/virtio/devices | wc -l')).output).toBe('0\n4');
    expect((await c.run('head -c 11 /dev/vda')).output).toBe('of the disk');
    expect((await c.run('echo written > /dev/vda && sync && head -c 7 /dev/vda')).output).toBe('written');
    expect((await c.run('head -c 64 /dev/hwrng | wc -c')).output).toBe('64');
    expect((await c.run('ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && ping -c 1 -W 5 10.0.2.2')).status).toBe(0);
    expect((await c.run('grep -c virtio /proc/interrupts')).output).not.toBe('0');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  });

  it('resets, and has a power button', async () => {
    await using vm = await VirtualMachine.create({ ...options(), initrd: guests.initramfs });
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    c.type('reboot -f\n');
    await c.until('~ # ');
    // Nobody listens to it in this guest: the kernel has it as an input device, which counts its interrupts.
    expect((await c.run("grep -c 'ACPI:Ged' /proc/interrupts")).output).toBe('1');
    const presses = "sed -n 's/.*ACPI:Ged.*/&/p' /proc/interrupts | awk '{print $2}'";
    const before = Number((await c.run(presses)).output);
    await vm.powerButton();
    await expect.poll(async () => Number((await c.run(presses)).output), { timeout: 20_000 }).toBe(before + 1);
  });
});

describe('machine microvm refuses', () => {
  it.each<[string, Partial<MachineOptions>, RegExp]>([
    ['an image alone', { disks: [] }, /machine microvm starts kernels only/],
    ['firmware', { kernel: process.execPath, firmware: 'seabios' }, /machine microvm has none|is a kernel for|not a kernel/],
    ['a VGA', { kernel: process.execPath, vga: 'std' }, /--vga: machine microvm|not a kernel/],
  ])('%s', (_name, o, message) => {
    expect(() => resolveConfig({ machine: 'microvm', ...o })).toThrow(UsageError);
    expect(() => resolveConfig({ machine: 'microvm', ...o })).toThrow(message);
  });
});
