// Fetches what the boot tests need into .demo/; says plainly what could not be had.
import { busyboxInitramfs, CannotFetch, debianKernel } from './guest-files.mjs';

let failed = 0;
for (const [what, get] of [
  ['kernel', () => debianKernel()],
  ['initramfs', () => busyboxInitramfs()],
]) {
  try {
    console.log(`${what}: ${get()}`);
  } catch (e) {
    if (!(e instanceof CannotFetch)) throw e;
    console.log(`${what}: ${e.message}`);
    failed = 1;
  }
}
process.exitCode = failed;
