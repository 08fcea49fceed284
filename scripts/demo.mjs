// npm run demo: builds what is missing, fetches Debian's cloud kernel and busybox, and boots them to a shell.
// Options after -- go to `vmx-accel boot`; with --kernel nothing is fetched.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensureBuilt, root } from './build.mjs';
import { busyboxInitramfs, CannotFetch, debianKernel, VIRTIO_MODULES } from './guest-files.mjs';

const args = process.argv.slice(2);
const step = (text) => process.stderr.write(`demo: ${text}\n`);
const given = (option) => args.some((a) => a === option || a.startsWith(`${option}=`));

ensureBuilt(step);
const boot = [join(root, 'dist/cli/main.js'), 'boot'];
if (!given('--kernel')) {
  try {
    step("fetching Debian's kernel and busybox");
    const kernel = debianKernel();
    // Virtio drivers are modules in this kernel: they are loaded when there is something to drive.
    const modules = given('--disk') || given('--device') ? VIRTIO_MODULES : [];
    boot.push('--kernel', kernel, '--initrd', busyboxInitramfs({ kernel, modules }));
    if (!given('--append')) boot.push('--append', 'console=ttyS0 quiet');
  } catch (e) {
    if (!(e instanceof CannotFetch)) throw e;
    step(e.message);
    step('pass your own: npm run demo -- --kernel bzImage --initrd initramfs.cpio.gz --append console=ttyS0');
    process.exit(2);
  }
  step('booting; Ctrl-A X quits, poweroff -f ends');
}
const vm = spawnSync(process.execPath, [...boot, ...args], { stdio: 'inherit' });
process.exit(vm.status ?? 1);
