/** Linux for RISC-V on OpenSBI to a shell. */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { findOpenSbi } from '#lib/boot/firmware.js';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noAddon, skipFor } from './guests.js';

const MINUTES = 60_000;
const { kernelRiscv64 = '', initramfsRiscv64 = '' } = guests;

function problem(): string | null {
  if (noAddon !== null) return noAddon;
  if (!existsSync(kernelRiscv64) || !existsSync(initramfsRiscv64)) return 'no RISC-V guest (kernelRiscv64, initramfsRiscv64 in .demo/guests.json): run node scripts/guests.mjs beside the guest set shared/guests';
  return null;
}

const options = { kernel: kernelRiscv64, initrd: initramfsRiscv64, append: 'console=ttyS0 quiet bench=none then=shell' };

describe.skipIf(skipFor(problem()))('RISC-V Linux', () => {
  it.skipIf(skipFor(findOpenSbi() === null ? 'OpenSBI is not installed' : null))('has a shell that answers, computes and powers off on the JIT', async () => {
    await using vm = await VirtualMachine.create(options);
    const c = new Console(vm);
    vm.start();
    await c.until(/# $/);
    await c.run('busybox --install -s /bin');
    expect((await c.run('uname -sm')).output).toBe('Linux riscv64');
    expect((await c.run('seq 1 5000 | sha256sum')).output).toBe('23f90f8b2c3a4b5f3b5e156339994afd5c2718b378aca6f0e17111f80a70d4ec  -');
    expect((await c.run("awk 'BEGIN { for (i = 1; i <= 1000; i++) s += 1 / i; printf \"%.12f\\n\", s }'")).output).toBe('7.485470860550');
    // Only what is implemented is advertised.
    expect((await c.run('grep -m 1 isa /proc/cpuinfo')).output).toMatch(/^isa\s*: rv64imafdc/);
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 5 * MINUTES);

  it('does the same without OpenSBI, on two harts', async () => {
    await using vm = await VirtualMachine.create({ ...options, append: options.append.replace('quiet ', ''), firmware: 'sbi', cpus: 2 });
    const c = new Console(vm);
    vm.start();
    await c.until('SBI implementation ID=0x564d58');
    await c.until(/# $/);
    await c.run('busybox --install -s /bin');
    expect((await c.run('grep -c processor /proc/cpuinfo')).output).toBe('2');
    // Both at work: timers, interrupts between them, memory that is unmapped under both.
    expect((await c.run('for i in 1 2 3 4; do (seq 1 3000 | sha256sum > /tmp/s$i) & done; wait; cat /tmp/s? | sort -u | wc -l')).output).toBe('1');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 5 * MINUTES);
});
