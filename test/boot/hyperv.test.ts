/** Linux believes that it runs on Hyper-V and takes its time from the reference TSC page, on the JIT and on KVM. */
import { describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { noKvm } from '../accel/harness.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';

describe.skipIf(skipFor(noGuests))('Linux on Hyper-V enlightenments', () => {
  for (const accel of ['jit', 'kvm'] as const) {
    it.skipIf(accel === 'kvm' && skipFor(noKvm))(accel, async () => {
      await using vm = await VirtualMachine.create({ accel, cpu: 'max,hv=on', cpus: 2, kernel: guests.kernel, initrd: guests.initramfs, append: 'console=ttyS0 quiet' });
      const c = new Console(vm);
      vm.start();
      await c.until('~ # ');
      expect((await c.run('dmesg | grep -i hypervisor.detected')).output).toMatch(/Hypervisor detected: Microsoft Hyper-V/);
      expect((await c.run('cat /sys/devices/system/clocksource/clocksource0/current_clocksource')).output).toBe('hyperv_clocksource_tsc_page');
      // Nothing that it has tried was refused.
      expect((await c.run("dmesg | grep -ciE 'unchecked MSR|soft lockup'")).output).toBe('0');
      const uptime = async (): Promise<number> => Number((await c.run("cut -d' ' -f1 /proc/uptime")).output);
      const before = await uptime();
      const guest = (await vm.stats())!.guestTime;
      await c.run('sleep 1');
      const took = ((await vm.stats())!.guestTime - guest) / 1e9;
      const told = (await uptime()) - before;
      expect(told).toBeGreaterThanOrEqual(1);
      // Both clocks count the same time, but for what the shell takes to answer.
      expect(told).toBeLessThanOrEqual(took + 1);
      c.type('poweroff -f\n');
      expect(await vm.wait()).toMatchObject({ reason: 'power-off' });
    }, 10 * 60_000);
  }
});
