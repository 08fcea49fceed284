// What the benches need for each guest architecture: kernel, initramfs, console, and how QEMU's TCG runs it.
import { busyboxInitramfs, debianKernel, guestSet } from '../scripts/guest-files.mjs';

/** A file of the prebuilt guest set beside the repository. */
export function prebuilt(name) {
  const file = guestSet(name);
  if (file !== null) return file;
  console.error(`the guest set shared/guests/prebuilt is not beside the repository: name ${name} with --kernel or --initrd`);
  process.exit(2);
}

const BUSYBOX = { marker: 'USER SPACE REACHED', bootAppend: '' };

const ARCHS = {
  x86_64: {
    ...BUSYBOX, console: 'ttyS0', vmx: [], kernel: () => debianKernel('linux-image-cloud-amd64'), initramfs: () => busyboxInitramfs(),
    qemu: 'qemu-system-x86_64', qemuArgs: ['-cpu', 'max'],
  },
  i386: {
    ...BUSYBOX, console: 'ttyS0', vmx: [], kernel: () => debianKernel('linux-image-686:i386'), initramfs: () => busyboxInitramfs({ arch: 'i386' }),
    qemu: 'qemu-system-i386', qemuArgs: ['-cpu', 'max'],
  },
  // Pointer authentication with the architected algorithm would be most of QEMU's time.
  aarch64: {
    ...BUSYBOX, console: 'ttyAMA0', vmx: ['--arch', 'aarch64'], kernel: () => debianKernel('linux-image-cloud-arm64:arm64'), initramfs: () => busyboxInitramfs({ arch: 'arm64' }),
    qemu: 'qemu-system-aarch64', user: 'qemu-aarch64-static', qemuArgs: ['-M', 'virt', '-cpu', 'max,pauth-impdef=on'],
  },
  // Debian 12 has no RISC-V kernel.
  riscv64: {
    console: 'ttyS0', vmx: ['--arch', 'riscv64'], kernel: () => prebuilt('Image-riscv64'), initramfs: () => prebuilt('initramfs-riscv64.cpio.gz'),
    marker: 'BOOT-OK', bootAppend: ' bench=none', qemu: 'qemu-system-riscv64', user: 'qemu-riscv64-static', qemuArgs: ['-M', 'virt'],
  },
};
const ALIASES = { arm64: 'aarch64', amd64: 'x86_64' };
export const ARCH_NAMES = Object.keys(ARCHS);

/** @returns the description of an architecture, or undefined. */
export function archOf(name) {
  const canonical = ALIASES[name] ?? name;
  return Object.hasOwn(ARCHS, canonical) ? { name: canonical, ...ARCHS[canonical] } : undefined;
}
