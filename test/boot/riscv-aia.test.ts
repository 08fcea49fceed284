/** Debian 13's kernel for RISC-V with APLIC and IMSIC in place of the PLIC. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findOpenSbi } from '#lib/boot/firmware.js';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noAddon, skipFor } from './guests.js';

const MINUTES = 60_000;
const { kernelRiscv64Debian = '', initramfsRiscv64Debian = '' } = guests;

function problem(): string | null {
  if (noAddon !== null) return noAddon;
  if (!existsSync(kernelRiscv64Debian) || !existsSync(initramfsRiscv64Debian)) return 'no RISC-V kernel with drivers for AIA (kernelRiscv64Debian, initramfsRiscv64Debian in .demo/guests.json): run node scripts/guests.mjs';
  return null;
}

const dir = mkdtempSync(join(tmpdir(), 'vmx-riscv-aia-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Interrupts of a device by /proc/interrupts, all CPUs together, and what they come through. */
function interrupts(table: string, device: RegExp): { count: number; chip: string } {
  const line = table.split('\n').find((l) => device.test(l)) ?? '';
  const counts = /^\s*\d+:((?:\s+\d+)+)\s+(\S+)/.exec(line);
  return { count: (counts?.[1] ?? '').trim().split(/\s+/).reduce((sum, n) => sum + Number(n), 0), chip: counts?.[2] ?? '' };
}

/** Boots to a shell, uses disk and network. @returns /proc/interrupts before and after */
async function boot(machine: `virt,${string}`, firmware: 'auto' | 'sbi', cpus: number): Promise<{ text: string; before: string; after: string }> {
  const disk = join(dir, 'disk');
  writeFileSync(disk, Buffer.alloc(1 << 20, 0x41));
  await using vm = await VirtualMachine.create({ kernel: kernelRiscv64Debian, initrd: initramfsRiscv64Debian, append: 'console=ttyS0', machine, firmware, cpus, disks: [disk], net: ['user'] });
  const c = new Console(vm);
  vm.start();
  await c.until(/# /);
  const before = (await c.run('cat /proc/interrupts')).output;
  expect((await c.run('dd if=/dev/vda bs=64k count=16 iflag=direct 2>/dev/null | tr -d A | wc -c')).output).toBe('0');
  expect((await c.run('ip link set eth0 up; udhcpc -i eth0 -n -q 2>&1 | tail -1')).output).toMatch(/lease of 10\.0\.2\.15/);
  const after = (await c.run('cat /proc/interrupts')).output;
  c.type('poweroff -f\n');
  expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  return { text: c.text, before, after };
}

describe.skipIf(skipFor(problem()))('RISC-V Linux with AIA', () => {
  it.skipIf(skipFor(findOpenSbi() === null ? 'OpenSBI is not installed' : null))('takes messages by IMSICs on two harts, above OpenSBI', async () => {
    const { text, before, after } = await boot('virt,aia=aplic-imsic', 'auto', 2);
    expect(text).toMatch(/Platform IPI Device\s*: aia-imsic/);
    expect(text).toMatch(/riscv-imsic: .*providing IPIs using interrupt 1/);
    expect(text).toMatch(/riscv-aplic .*: 96 interrupts forwarded to MSI base 0x0*28000000/);
    for (const [device, chip] of [[/ttyS0/, 'APLIC-MSI-d000000.interrupt-controller'], [/virtio\d-req/, 'PCI-MSIX-0000:00:03.0'], [/virtio\d-output/, 'PCI-MSIX-0000:00:04.0']] as const) {
      const now = interrupts(after, device);
      expect(now.chip).toBe(chip);
      if (chip.startsWith('APLIC')) expect(now.count).toBeGreaterThan(interrupts(before, device).count);
    }
    const sum = (table: string): number => table.split('\n').reduce((n, l) => n + (/virtio\d-(req|input|output)/.test(l) ? interrupts(l, /./).count : 0), 0);
    expect(sum(after)).toBeGreaterThan(sum(before) + 2);
  }, 5 * MINUTES);

  it('has an APLIC that delivers directly, above the built-in SBI', async () => {
    const { text, before, after } = await boot('virt,aia=aplic', 'sbi', 1);
    expect(text).toMatch(/riscv-aplic .*: 96 interrupts directly connected to 1 CPUs/);
    for (const device of [/ttyS0/, /virtio0/, /virtio1/]) {
      const now = interrupts(after, device);
      expect(now.chip).toBe('APLIC-DIRECT');
      expect(now.count).toBeGreaterThan(interrupts(before, device).count);
    }
  }, 5 * MINUTES);
});
