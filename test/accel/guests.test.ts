/** Whole guests on --accel kvm, with the policy that it chooses by itself: FreeDOS, OVMF, Debian's kernel. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { findBios, findUefi } from '#lib/boot/firmware.js';
import { VirtualMachine } from '#lib/index.js';
import { Console } from '../boot/console.js';
import { guests, noAddon, noGuests, skipFor } from '../boot/guests.js';
import { noKvm } from './harness.js';

const MINUTES = 60_000;
const FREEDOS = process.env.VMX_FREEDOS ?? fileURLToPath(new URL('../../../shared/guests/freedos722.img', import.meta.url));

function absent(find: () => unknown, file?: string): string | null {
  if (file !== undefined && !existsSync(file)) return `${file} is not there`;
  try {
    find();
    return null;
  } catch (e) {
    return (e as Error).message;
  }
}

describe.skipIf(skipFor(noAddon ?? noKvm))('guests on KVM', () => {
  it.skipIf(skipFor(absent(findBios, FREEDOS)))('SeaBIOS and FreeDOS, to the prompt', async () => {
    await using vm = await VirtualMachine.create({ accel: 'kvm', disks: [{ file: FREEDOS, media: 'floppy', snapshot: true }] });
    vm.start();
    await vm.screen.waitForText(/^A:\\>$/m, { timeout: 5 * MINUTES });
    await vm.keyboard.type('ver\n');
    await vm.screen.waitForText(/FreeCom[^]*A:\\>$/m, { timeout: 5 * MINUTES });
    expect(vm.accel).toBe('kvm');
  }, 10 * MINUTES);

  it.skipIf(skipFor(absent(findUefi)))('OVMF, to its shell', async () => {
    await using vm = await VirtualMachine.create({ accel: 'kvm', machine: 'q35', memory: '256M', firmware: 'ovmf' });
    const c = new Console(vm);
    vm.start();
    await c.until('any other key to continue');
    c.type('\x1b');
    await c.until('Shell>');
    c.type('pci\r');
    await c.until(/Vendor 8086 Device 29C0/);
    expect(vm.accel).toBe('kvm');
  }, 10 * MINUTES);

  for (const cpus of [1, 4]) {
    it.skipIf(skipFor(noGuests))(`Debian's kernel on ${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}, to a shell that works`, async () => {
      await using vm = await VirtualMachine.create({ accel: 'kvm', kernel: guests.kernel, initrd: guests.initramfs, append: 'console=ttyS0 quiet', cpus });
      const c = new Console(vm);
      vm.start();
      await c.until('~ # ');
      expect((await c.run('nproc; cat /sys/devices/system/cpu/online')).output.split(/\s+/)).toEqual([String(cpus), cpus === 1 ? '0' : `0-${cpus - 1}`]);
      // Each CPU computes by itself, at the same time.
      const jobs = Array.from({ length: cpus }, (_, n) => `taskset ${(1 << n).toString(16)} sh -c 'seq 1 20000 | sha256sum >/tmp/sum${n}' &`).join(' ');
      expect((await c.run(`${jobs} wait; cat /tmp/sum*`)).output.split(/\r?\n/)).toEqual(Array.from({ length: cpus }, () => 'f6351f5ead9a700e34275480b3856ea738122a7c57bdeb744a631251c069587a  -'));
      expect((await c.run("dmesg | grep -ciE 'soft lockup|rcu.*stall|hard lockup'")).output).toBe('0');
      const s = (await vm.stats())!.kvm!;
      // Where KVM keeps kernel mode, user mode has run in it all the same, and come back.
      expect(s.roundTrips.count + s.roundTrips.here).toBeGreaterThan(0);
      c.type('poweroff -f\n');
      expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
    }, 10 * MINUTES);
  }
});
