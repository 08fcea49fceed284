/** Debian's arm64 cloud kernel from a disk image by AAVMF and GRUB, with ACPI and message-signalled interrupts. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findAavmf } from '#lib/boot/firmware.js';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, hostTool, noAddon, skipFor } from './guests.js';

const { kernelArm64 = '', initramfsArm64Modules = '', grubArm64 = '' } = guests;

function problem(): string | null {
  if (noAddon !== null) return noAddon;
  if (![kernelArm64, initramfsArm64Modules, grubArm64].every((f) => existsSync(f))) return 'no arm64 guest or no GRUB for it: run dpkg --add-architecture arm64, apt-get update and node scripts/guests.mjs';
  try {
    findAavmf();
  } catch (e) {
    return (e as Error).message;
  }
  return hostTool('grub-mkstandalone', 'mkfs.vfat', 'mcopy', 'mmd');
}

let dir: string;
let disk: string;

/** A FAT file system with GRUB where UEFI looks on disks it does not know, and the kernel. */
function makeDisk(): void {
  const config = join(dir, 'grub.cfg');
  writeFileSync(config, 'echo GRUB HAS THE DISK\nset root=hd0\nlinux /vmlinuz console=ttyAMA0 quiet\ninitrd /initrd\nboot\n');
  const efi = join(dir, 'grub.efi');
  execFileSync('grub-mkstandalone', ['-O', 'arm64-efi', '-d', grubArm64, '-o', efi, '--modules', 'fat linux echo normal boot', `boot/grub/grub.cfg=${config}`], { stdio: 'pipe' });
  disk = join(dir, 'disk.img');
  execFileSync('mkfs.vfat', ['-C', disk, String(128 * 1024)], { stdio: 'pipe' });
  execFileSync('mmd', ['-i', disk, '::/EFI', '::/EFI/BOOT']);
  for (const [from, to] of [[efi, '/EFI/BOOT/BOOTAA64.EFI'], [kernelArm64, '/vmlinuz'], [initramfsArm64Modules, '/initrd']]) execFileSync('mcopy', ['-i', disk, from, `::${to}`]);
}

describe.skipIf(skipFor(problem()))('64-bit Arm Linux from a disk, by UEFI', () => {
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-aavmf-'));
    makeDisk();
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it.each([
    ['GICv3 with ITS', 'virt', 'ITS-'],
    ['GICv2 with its frame for messages', 'virt,gic-version=2', 'MSI'],
  ] as const)('boots with ACPI on %s', async (_name, machine, msi) => {
    await using vm = await VirtualMachine.create({ arch: 'aarch64', machine, disks: [{ file: disk }], firmwareVars: join(dir, `vars-${machine}`), vga: 'none' });
    const c = new Console(vm);
    vm.start();
    await c.until('GRUB HAS THE DISK');
    await c.until('~ # ');
    expect((await c.run('ls /sys/firmware/acpi/tables | tr "\\n" " "')).output).toMatch(/^APIC DSDT FACP GTDT (IORT )?MCFG SPCR/);
    expect((await c.run('ls -d /sys/firmware/efi/efivars')).status).toBe(0);
    expect((await c.run(`grep virtio0 /proc/interrupts | grep -cE '${msi}'`)).output).not.toBe('0');
    // The disk is there, by its driver.
    expect((await c.run('dd if=/dev/vda bs=512 count=1 2>/dev/null | tail -c 2 | od -An -tx1')).output.trim()).toBe('55 aa');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 300_000);
});
