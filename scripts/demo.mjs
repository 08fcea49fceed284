// npm run demo: builds what is missing, fetches Debian's cloud kernel and busybox, and boots them to a shell.
// Options after -- go to `vmx-accel boot`; with --kernel nothing is fetched.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { busyboxInitramfs, CannotFetch, debianKernel } from './guest-files.mjs';

const root = new URL('..', import.meta.url).pathname;
const args = process.argv.slice(2);
const step = (text) => process.stderr.write(`demo: ${text}\n`);

function run(cmd, argv) {
  const r = spawnSync(cmd, argv, { cwd: root, stdio: ['ignore', 2, 2] });
  if (r.status !== 0) {
    step(`'${cmd} ${argv.join(' ')}' failed`);
    process.exit(1);
  }
}

if (!existsSync(`${root}node_modules/yargs`)) {
  step('installing dependencies and building the addon');
  run('npm', ['ci', '--no-audit', '--no-fund']);
}
if (!existsSync(`${root}build/Release`) && !existsSync(`${root}prebuilds`)) {
  step('building the addon');
  run('npx', ['node-gyp', 'rebuild']);
}
step('compiling');
run('npx', ['tsc', '-p', 'tsconfig.json']);

const given = args.some((a) => a === '--kernel' || a.startsWith('--kernel='));
const boot = [`${root}dist/cli/main.js`, 'boot'];
if (!given) {
  try {
    step('fetching Debian\'s kernel and busybox');
    boot.push('--kernel', debianKernel(), '--initrd', busyboxInitramfs(), '--append', 'console=ttyS0 quiet');
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
