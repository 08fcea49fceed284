/** PCI interrupts without MSI: through the I/O APIC, and through link devices and 8259As; on bus 0 and behind root ports. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';

const MINUTES = 60_000;

describe.skipIf(skipFor(noGuests))('PCI interrupts of Linux', () => {
  for (const machine of ['pc', 'q35'] as const) {
    for (const mode of ['apic', 'pic'] as const) {
      it(
        `on ${machine} by ${mode}`,
        async () => {
          const dir = mkdtempSync(join(tmpdir(), 'vmx-intx-'));
          const disk = join(dir, 'disk.img');
          writeFileSync(disk, Buffer.alloc(4 << 20));
          // On q35 some of the RAM is above 4 GiB.
          const memory = machine === 'q35' && mode === 'apic' ? '2300M' : '256M';
          await using vm = await VirtualMachine.create({
            machine,
            memory,
            kernel: guests.kernel,
            initrd: guests.initramfsModules,
            append: `console=ttyS0 quiet pci=nomsi ${mode === 'pic' ? 'noapic' : ''}`,
            disks: [`${disk},readonly`],
            devices: ['virtio-rng'],
          });
          const c = new Console(vm);
          vm.start();
          await c.until('~ # ');
          expect((await c.run('dd if=/dev/vda of=/dev/null bs=64k')).status).toBe(0);
          expect((await c.run('head -c 64 /dev/hwrng | wc -c')).output).toBe('64');
          const lines = (await c.run('grep virtio /proc/interrupts')).output.split('\n');
          for (const line of lines) expect(line).toMatch(mode === 'pic' ? /^ *(5|10|11): .*XT-PIC/ : /^ *(1[6-9]|2[0-3]): .*IO-APIC/);
          expect(lines.join()).toMatch(/virtio0.*virtio1|virtio1.*virtio0/s);
          expect((await c.run('dmesg | grep -ciE "nobody cared|spurious"')).output).toBe('0');
          const total = Number(/\d+/.exec((await c.run('grep MemTotal /proc/meminfo')).output)?.[0]);
          expect(total).toBeGreaterThan(machine === 'q35' && mode === 'apic' ? 2_100_000 : 200_000);
          rmSync(dir, { recursive: true, force: true });
        },
        5 * MINUTES,
      );
    }
  }
});
