/** Debian 13's kernel for RISC-V by edk2: from a disk image with GRUB, and given directly. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, hostTool, noAddon, skipFor } from './guests.js';

const { kernelRiscv64Debian = '', initramfsRiscv64Debian = '', uefiRiscv64 = '', grubRiscv64 = '' } = guests;

function problem(): string | null {
  if (noAddon !== null) return noAddon;
  if (![kernelRiscv64Debian, initramfsRiscv64Debian, uefiRiscv64, grubRiscv64].every((f) => existsSync(f))) return 'no RISC-V kernel of Debian 13, UEFI or GRUB for it: run node scripts/guests.mjs';
  return hostTool('grub-mkstandalone', 'mkfs.vfat', 'mcopy', 'mmd');
}

let dir: string;
let disk: string;

/** A FAT file system with GRUB where UEFI looks on disks it does not know, and the kernel. */
function makeDisk(): void {
  const config = join(dir, 'grub.cfg');
  writeFileSync(config, 'echo GRUB HAS THE DISK\nset root=hd0\nlinux /vmlinuz console=ttyS0 quiet\ninitrd /initrd\nboot\n');
  const efi = join(dir, 'grub.efi');
  execFileSync('grub-mkstandalone', ['-O', 'riscv64-efi', '-d', grubRiscv64, '-o', efi, '--modules', 'fat linux echo normal boot', `boot/grub/grub.cfg=${config}`], { stdio: 'pipe' });
  disk = join(dir, 'disk.img');
  execFileSync('mkfs.vfat', ['-C', disk, String(128 * 1024)], { stdio: 'pipe' });
  execFileSync('mmd', ['-i', disk, '::/EFI', '::/EFI/BOOT']);
  for (const [from, to] of [[efi, '/EFI/BOOT/BOOTRISCV64.EFI'], [kernelRiscv64Debian, '/vmlinuz'], [initramfsRiscv64Debian, '/initrd']]) execFileSync('mcopy', ['-i', disk, from, `::${to}`]);
}

describe.skipIf(skipFor(problem()))('RISC-V Linux by UEFI', () => {
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-riscv-uefi-'));
    makeDisk();
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('boots from a disk with GRUB, with IMSICs, and keeps a variable', async () => {
    await using vm = await VirtualMachine.create({ arch: 'riscv64', machine: 'virt,aia=aplic-imsic', firmware: uefiRiscv64, disks: [{ file: disk }], firmwareVars: join(dir, 'vars'), vga: 'none' });
    const c = new Console(vm);
    vm.start();
    await c.until('GRUB HAS THE DISK');
    await c.until('~ # ');
    expect((await c.run('ls -d /sys/firmware/efi/efivars')).status).toBe(0);
    expect((await c.run('dd if=/dev/vda bs=512 count=1 2>/dev/null | tail -c 2 | od -An -tx1')).output.trim()).toBe('55 aa');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
    // The store of variables is what the template was and what the firmware has written.
    expect(existsSync(join(dir, 'vars'))).toBe(true);
  }, 300_000);

  it('hands a kernel over that is given', async () => {
    await using vm = await VirtualMachine.create({ firmware: uefiRiscv64, kernel: kernelRiscv64Debian, initrd: initramfsRiscv64Debian, append: 'console=ttyS0', firmwareVars: 'none' });
    const c = new Console(vm);
    vm.start();
    await c.until('EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path');
    await c.until(/efi: EFI v2\.\d+ by/);
    await c.until('~ # ');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 300_000);
});
