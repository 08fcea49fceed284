// Builds a Debian system on a disk image and an initramfs that switches to it, for `vmx-accel boot`:
//
//   node scripts/system-image.mjs [--size 2G] [--include PACKAGE,...]
//   node dist/cli/main.js boot --kernel .demo/system/vmlinuz --initrd .demo/system/initramfs.cpio.gz \
//     --disk .demo/system/root.img --append 'console=ttyS0 root=/dev/vda'
//
// Needs root and debootstrap (the tree is made with it), mke2fs (the image) and apt-get (kernel, busybox). Log in as root; there
// is no password. Debian's kernels have virtio and ext4 as modules, hence the initramfs.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { commandLine } from './command-line.mjs';
import { cacheDir, CannotFetch, cpioEntry, debianKernel, debianPackage, kernelModules } from './guest-files.mjs';

const SUITE = 'bookworm';
/** What the initramfs loads, with whatever these need. crc32c is asked for by name at run time. */
const MODULES = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4'];

const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r m; do insmod "/modules/$m" || echo "initramfs: cannot load $m"; done < /modules/order
root=/dev/vda
for word in $(cat /proc/cmdline); do
  case "$word" in
    root=*) root=\${word#root=} ;;
  esac
done
tries=0
while [ ! -b "$root" ] && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
if mount -t ext4 "$root" /root; then
  umount /sys /proc
  mount --move /dev /root/dev
  exec switch_root /root /sbin/init
fi
echo "initramfs: cannot mount $root"
exec sh
`;

function initramfs(kernel) {
  let ino = 1;
  const none = Buffer.alloc(0);
  const parts = ['bin', 'dev', 'proc', 'sys', 'root', 'modules'].map((d) => cpioEntry(d, 0o40755, none, ino++));
  parts.push(cpioEntry('bin/busybox', 0o100755, readFileSync(join(debianPackage('busybox-static'), 'bin/busybox')), ino++));
  parts.push(cpioEntry('init', 0o100755, Buffer.from(INIT), ino++));
  const modules = kernelModules(kernel, MODULES);
  for (const m of modules) parts.push(cpioEntry(`modules/${m.name}`, 0o100644, m.data, ino++));
  parts.push(cpioEntry('modules/order', 0o100644, Buffer.from(modules.map((m) => `${m.name}\n`).join('')), ino++));
  parts.push(cpioEntry('TRAILER!!!', 0, none, 0));
  return gzipSync(Buffer.concat(parts), { level: 6 });
}

const run = (cmd, args) => execFileSync(cmd, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'inherit'] });

/** The debootstrapped tree with the kernel's modules; made once. */
function systemTree(include, kernelPackage, release) {
  const tree = join(cacheDir, 'system-root');
  if (!existsSync(`${tree}.complete`)) {
    rmSync(tree, { recursive: true, force: true });
    run('debootstrap', ['--variant=minbase', `--include=${['systemd-sysv', 'udev', 'kmod', ...include].join(',')}`, SUITE, tree]);
    writeFileSync(`${tree}.complete`, '');
  }
  const modules = join(tree, 'lib/modules', release);
  if (!existsSync(modules)) {
    cpSync(join(kernelPackage, 'lib/modules', release), modules, { recursive: true });
    run('depmod', ['-b', tree, release]);
  }
  writeFileSync(join(tree, 'etc/hostname'), 'guest\n');
  writeFileSync(join(tree, 'etc/fstab'), '/dev/vda / ext4 defaults 0 1\n');
  const passwd = join(tree, 'etc/shadow');
  writeFileSync(passwd, readFileSync(passwd, 'utf8').replace(/^root:[^:]*:/m, 'root::'));
  rmSync(join(tree, 'var/cache/apt/archives'), { recursive: true, force: true });
  mkdirSync(join(tree, 'var/cache/apt/archives/partial'), { recursive: true });
  return tree;
}

/** @returns paths of kernel, initramfs and image. */
export function systemImage({ size = '2G', include = [] } = {}) {
  const out = join(cacheDir, 'system');
  const files = { kernel: join(out, 'vmlinuz'), initrd: join(out, 'initramfs.cpio.gz'), image: join(out, 'root.img') };
  if (Object.values(files).every((f) => existsSync(f))) return files;
  if (process.getuid?.() !== 0) throw new CannotFetch('building a system image needs root (debootstrap makes device nodes and runs chroot)');
  mkdirSync(out, { recursive: true });
  const kernel = debianKernel('linux-image-amd64');
  const pkg = kernel.slice(0, kernel.lastIndexOf('/boot/'));
  const release = readdirSync(join(pkg, 'lib/modules'))[0];
  const tree = systemTree(include, pkg, release);
  writeFileSync(files.kernel, readFileSync(kernel));
  writeFileSync(files.initrd, initramfs(kernel));
  rmSync(`${files.image}.tmp`, { force: true });
  run('mke2fs', ['-q', '-t', 'ext4', '-d', tree, `${files.image}.tmp`, size]);
  renameSync(`${files.image}.tmp`, files.image);
  return files;
}

if (process.argv[1] === import.meta.filename) {
  const { values } = commandLine(import.meta.url, { options: { size: { type: 'string', default: '2G' }, include: { type: 'string', default: '' } } });
  try {
    for (const [what, file] of Object.entries(systemImage({ size: values.size, include: values.include.split(',').filter((p) => p !== '') }))) console.log(`${what}: ${file}`);
  } catch (e) {
    if (!(e instanceof CannotFetch) && e.code !== 'ENOENT' && e.status === undefined) throw e;
    console.error(`system-image: ${e.code === 'ENOENT' ? `${e.path} is missing (apt-get install debootstrap e2fsprogs kmod)` : e.message}`);
    process.exitCode = 1;
  }
}
