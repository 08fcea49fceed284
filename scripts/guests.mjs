// Fetches what the boot tests need into .demo/ and writes their paths to .demo/guests.json; says plainly what could not be had.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { busyboxInitramfs, cacheDir, CannotFetch, debianKernel, debianPackage, DESK_MODULES, USB_MODULES, guestSet, STORAGE_MODULES, VIRTIO_MODULES } from './guest-files.mjs';

const found = {};
const ARM64_KERNEL = 'linux-image-cloud-arm64:arm64';
/** Drivers for APLIC and IMSIC came with Linux 6.10; Debian has had riscv64 since 13. */
const debianRiscv64 = () => debianKernel('linux-image-riscv64:riscv64', 'trixie');
/**
 * Nice to have: guests of other architectures need `dpkg --add-architecture i386` (arm64), which takes root; the big kernel is for tests
 * of old disks.
 */
const OPTIONAL = new Set(['kernel386', 'initramfs386', 'kernelGeneric', 'initramfsStorage', 'initramfsDesk', 'initramfsUsb', 'kernelArm64', 'initramfsArm64', 'initramfsArm64Modules', 'grubArm64', 'kernelRiscv64', 'initramfsRiscv64', 'kernelRiscv64Debian', 'initramfsRiscv64Debian', 'uefiRiscv64', 'grubRiscv64']);

/** Of an older kernel (6.1), as Debian 12 has no riscv64; the guest set has a kernel and an initramfs with busybox. */
function fromGuestSet(name) {
  const file = guestSet(name);
  if (file === null) throw new CannotFetch(`no ${name}: the folder shared/guests/prebuilt is not beside the repository, and Debian 12 has no riscv64`);
  return file;
}

for (const [what, get] of [
  ['kernel', () => debianKernel()],
  ['initramfs', () => busyboxInitramfs()],
  ['initramfsModules', () => busyboxInitramfs({ kernel: debianKernel(), modules: VIRTIO_MODULES })],
  ['kernelGeneric', () => debianKernel('linux-image-amd64')],
  ['initramfsStorage', () => busyboxInitramfs({ kernel: debianKernel('linux-image-amd64'), modules: STORAGE_MODULES, name: 'storage' })],
  ['initramfsDesk', () => busyboxInitramfs({ kernel: debianKernel('linux-image-amd64'), modules: DESK_MODULES, name: 'desk' })],
  ['initramfsUsb', () => busyboxInitramfs({ kernel: debianKernel('linux-image-amd64'), modules: USB_MODULES, name: 'usb' })],
  ['kernel386', () => debianKernel('linux-image-686:i386')],
  ['initramfs386', () => busyboxInitramfs({ arch: 'i386' })],
  ['kernelArm64', () => debianKernel(ARM64_KERNEL)],
  ['initramfsArm64', () => busyboxInitramfs({ arch: 'arm64' })],
  ['initramfsArm64Modules', () => busyboxInitramfs({ arch: 'arm64', kernel: debianKernel(ARM64_KERNEL), modules: VIRTIO_MODULES })],
  // GRUB's modules for UEFI on arm64: a folder.
  ['grubArm64', () => join(debianPackage('grub-efi-arm64-bin', 'arm64'), 'usr/lib/grub/arm64-efi')],
  ['kernelRiscv64', () => fromGuestSet('Image-riscv64')],
  ['initramfsRiscv64', () => fromGuestSet('initramfs-riscv64.cpio.gz')],
  ['kernelRiscv64Debian', debianRiscv64],
  ['initramfsRiscv64Debian', () => busyboxInitramfs({ arch: 'riscv64', suite: 'trixie', kernel: debianRiscv64(), modules: VIRTIO_MODULES })],
  // edk2 for RISC-V, where its package is not installed, and GRUB's modules: a folder.
  ['uefiRiscv64', () => join(debianPackage('qemu-efi-riscv64', 'riscv64', 'trixie'), 'usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd')],
  ['grubRiscv64', () => join(debianPackage('grub-efi-riscv64-bin', 'riscv64', 'trixie'), 'usr/lib/grub/riscv64-efi')],
]) {
  try {
    found[what] = get();
    console.log(`${what}: ${found[what]}`);
  } catch (e) {
    if (!(e instanceof CannotFetch)) throw e;
    console.log(`${what}: ${e.message}`);
    if (!OPTIONAL.has(what)) process.exitCode = 1;
  }
}
mkdirSync(cacheDir, { recursive: true });
// What is in the list already stays: files of one's own may be named there.
const list = join(cacheDir, 'guests.json');
const known = existsSync(list) ? JSON.parse(readFileSync(list, 'utf8')) : {};
writeFileSync(list, `${JSON.stringify({ ...known, ...found }, null, 2)}\n`);
