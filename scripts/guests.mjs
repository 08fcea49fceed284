// Fetches what the boot tests need into .demo/ and writes their paths to .demo/guests.json; says plainly what could not be had.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { busyboxInitramfs, cacheDir, CannotFetch, debianKernel, DESK_MODULES, STORAGE_MODULES, VIRTIO_MODULES } from './guest-files.mjs';

const found = {};
const ARM64_KERNEL = 'linux-image-cloud-arm64:arm64';
/**
 * Nice to have: guests of other architectures need `dpkg --add-architecture i386` (arm64), which takes root; the big kernel is for tests
 * of old disks.
 */
const OPTIONAL = new Set(['kernel386', 'initramfs386', 'kernelGeneric', 'initramfsStorage', 'initramfsDesk', 'kernelArm64', 'initramfsArm64', 'initramfsArm64Modules']);
for (const [what, get] of [
  ['kernel', () => debianKernel()],
  ['initramfs', () => busyboxInitramfs()],
  ['initramfsModules', () => busyboxInitramfs({ kernel: debianKernel(), modules: VIRTIO_MODULES })],
  ['kernelGeneric', () => debianKernel('linux-image-amd64')],
  ['initramfsStorage', () => busyboxInitramfs({ kernel: debianKernel('linux-image-amd64'), modules: STORAGE_MODULES, name: 'storage' })],
  ['initramfsDesk', () => busyboxInitramfs({ kernel: debianKernel('linux-image-amd64'), modules: DESK_MODULES, name: 'desk' })],
  ['kernel386', () => debianKernel('linux-image-686:i386')],
  ['initramfs386', () => busyboxInitramfs({ arch: 'i386' })],
  ['kernelArm64', () => debianKernel(ARM64_KERNEL)],
  ['initramfsArm64', () => busyboxInitramfs({ arch: 'arm64' })],
  ['initramfsArm64Modules', () => busyboxInitramfs({ arch: 'arm64', kernel: debianKernel(ARM64_KERNEL), modules: VIRTIO_MODULES })],
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
writeFileSync(join(cacheDir, 'guests.json'), `${JSON.stringify(found, null, 2)}\n`);
