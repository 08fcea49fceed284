// Fetches Debian's kernel and busybox with `apt-get download` and packs an initramfs. Used by the demo, the tests and the
// benches. No root needed.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

/** Where fetched files are kept. */
export const cacheDir = fileURLToPath(new URL('../.demo/', import.meta.url));

/** A file of the prebuilt guest set, if its folder lies beside the repository; null if not. */
export function guestSet(name) {
  const file = fileURLToPath(new URL(`../../shared/guests/prebuilt/${name}`, import.meta.url));
  return existsSync(file) ? file : null;
}

/** A plain explanation for people whose machine cannot do this. */
export class CannotFetch extends Error {}

function run(cmd, args, cwd, env) {
  return execFileSync(cmd, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 });
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const suites = new Map();

/**
 * Environment in which apt knows one suite of Debian for one architecture, from this system's own mirror: its lists are in cacheDir, nothing of the
 * system's changes and root is not needed. '' as suite: the system's apt as it is.
 */
function aptFor(suite, arch) {
  if (suite === '') return {};
  const known = suites.get(`${suite} ${arch}`);
  if (known !== undefined) return known;
  const dir = join(cacheDir, `apt-${suite}-${arch}`);
  const env = { APT_CONFIG: join(dir, 'apt.conf') };
  try {
    const lines = run('apt-get', ['indextargets', '--format', '$(ORIGIN)|$(REPO_URI)|$(RELEASE)', 'Created-By: Packages']).split('\n').map((l) => l.split('|'));
    const mirror = lines.find(([origin, , release]) => origin === 'Debian' && release !== undefined && !release.includes('-'))?.[1];
    if (mirror === undefined || !existsSync(KEYRING)) throw new Error('this system has no package mirror of Debian');
    for (const d of ['lists/partial', 'archives/partial']) mkdirSync(join(dir, d), { recursive: true });
    writeFileSync(join(dir, 'status'), '');
    writeFileSync(join(dir, 'sources.list'), `deb [arch=${arch} signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
    writeFileSync(env.APT_CONFIG, [
      `Dir::State::lists "${dir}/lists";`, `Dir::State::status "${dir}/status";`, `Dir::Cache "${dir}";`, `Dir::Etc::sourcelist "${dir}/sources.list";`, 'Dir::Etc::sourceparts "-";',
      `APT::Architecture "${arch}";`, `APT::Architectures { "${arch}"; };`, '',
    ].join('\n'));
    run('apt-get', ['update'], dir, env);
  } catch (e) {
    throw new CannotFetch(`cannot read the lists of Debian ${suite} for ${arch}: ${e.code === 'ENOENT' ? 'this is not a Debian system (no apt-get)' : String(e.stderr || e.message).trim().split('\n').pop()}`);
  }
  suites.set(`${suite} ${arch}`, env);
  return env;
}

/** Downloads a Debian package and unpacks it below cacheDir/NAME; returns that folder. @param suite of Debian; '': what the system has */
export function debianPackage(name, arch = '', suite = '') {
  const dir = join(cacheDir, arch ? `${name}_${arch}` : name);
  if (existsSync(join(dir, '.complete'))) return dir;
  const tmp = `${dir}.tmp`;
  rmSync(tmp, { recursive: true, force: true });
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(tmp, { recursive: true });
  try {
    run('apt-get', ['download', arch ? `${name}:${arch}` : name], tmp, aptFor(suite, arch));
    const deb = readdirSync(tmp).find((f) => f.endsWith('.deb'));
    if (!deb) throw new Error('nothing was downloaded');
    run('dpkg-deb', ['-x', deb, '.'], tmp);
    rmSync(join(tmp, deb));
  } catch (e) {
    rmSync(tmp, { recursive: true, force: true });
    const why = e.code === 'ENOENT' ? 'this is not a Debian system (no apt-get)' : String(e.stderr || e.message).trim().split('\n').pop();
    throw new CannotFetch(`cannot fetch ${name}: ${why}`);
  }
  writeFileSync(join(tmp, '.complete'), '');
  renameSync(tmp, dir);
  return dir;
}

/** The package a meta package depends on first (linux-image-cloud-amd64 -> linux-image-6.1.0-N-cloud-amd64). */
function dependency(meta, env) {
  try {
    const line = run('apt-cache', ['depends', meta], undefined, env).split('\n').find((l) => /Depends: linux-image/.test(l));
    if (line) return line.split(':').slice(1).join(':').trim();
  } catch {
    // Reported below: the same advice covers both cases.
  }
  throw new CannotFetch(`cannot find ${meta}: this is not a Debian system, or its package lists are empty (apt-get update)`);
}

/** Debian's kernel image file of a meta package, NAME or NAME:ARCHITECTURE. */
export function debianKernel(meta = 'linux-image-cloud-amd64', suite = '') {
  const marker = join(cacheDir, `${meta}.name`);
  const wanted = meta.split(':')[1] ?? '';
  const name = existsSync(marker) ? readFileSync(marker, 'utf8') : dependency(meta, aptFor(suite, wanted));
  const [pkg, arch] = name.split(':');
  const boot = join(debianPackage(pkg, arch ?? wanted, suite), 'boot');
  // Where kernels are not compressed they are called otherwise.
  const kernel = readdirSync(boot).find((f) => /^vmlinu[xz]/.test(f));
  writeFileSync(marker, name);
  return join(boot, kernel);
}

/** One member of a cpio archive in the "newc" format (cpio(5)). */
export function cpioEntry(name, mode, data, ino) {
  const hex = (n) => n.toString(16).toUpperCase().padStart(8, '0');
  const nameBytes = Buffer.from(`${name}\0`);
  const head = Buffer.from(`070701${[ino, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, nameBytes.length, 0].map(hex).join('')}`);
  const pad = (b) => Buffer.concat([b, Buffer.alloc((4 - (b.length % 4)) % 4)]);
  return Buffer.concat([pad(Buffer.concat([head, nameBytes])), pad(data)]);
}

const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
exec 0</dev/console 1>/dev/console 2>&1
if [ -f /modules/order ]; then
  for m in $(cat /modules/order); do insmod /modules/$m; done
fi
echo "Booted in $(cut -d' ' -f1 /proc/uptime) s of guest time."
echo 'USER SPACE REACHED'
for word in $(cat /proc/cmdline); do
  case "$word" in
    then=poweroff) poweroff -f ;;
  esac
done
export PS1='~ # ' TERM=linux HOME=/
exec setsid cttyhack sh
`;

/** The drivers for virtio devices that distributions ship as modules. */
export const VIRTIO_MODULES = ['virtio_pci', 'virtio_mmio', 'virtio_blk', 'virtio-rng', 'virtio_console', 'virtio_net'];

/** The drivers of a PC's disks, and the file systems of the tests. Debian's cloud kernels lack AHCI and floppy. */
export const STORAGE_MODULES = ['ata_piix', 'ahci', 'virtio_scsi', 'sd_mod', 'sr_mod', 'floppy', 'isofs', 'ext4', 'crc32c_generic', ...VIRTIO_MODULES];

/** The drivers of what a machine on a desk has besides: input, display, shared folders, sockets, watchdog. */
export const DESK_MODULES = [
  'virtio_pci', 'evdev', 'psmouse', 'virtio_input', 'virtio_balloon', 'virtio_console', 'pvpanic-pci', 'pvpanic-mmio', 'i6300esb', '9p', '9pnet_virtio', 'vmw_vsock_virtio_transport',
  'virtio_gpu', 'virtio_net', 'virtio_blk', 'virtio_scsi', 'sd_mod',
];

/** USB: controller, keyboards and pointers, disks and CD-ROMs. */
export const USB_MODULES = ['xhci_pci', 'usbhid', 'hid-generic', 'evdev', 'usb-storage', 'sd_mod', 'sr_mod', 'isofs'];

/** Every file below dir. */
function walk(dir) {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile())
    .map((e) => join(e.parentPath ?? e.path, e.name));
}

/** Module file name to module name: foo-bar.ko.xz -> foo_bar. */
const moduleName = (file) => file.replace(/^.*\//, '').replace(/\.ko(\.(xz|zst|gz))?$/, '').replaceAll('-', '_');

/** Uncompressed contents of a module file. */
function readModule(file) {
  for (const [ending, tool] of [['.xz', 'xz'], ['.zst', 'zstd'], ['.gz', 'gzip']]) {
    if (!file.endsWith(ending)) continue;
    try {
      return execFileSync(tool, ['-dc', file], { maxBuffer: 256 * 1024 * 1024, stdio: ['ignore', 'pipe', 'pipe'] });
    } catch (e) {
      throw new CannotFetch(`cannot unpack ${file}: ${e.code === 'ENOENT' ? `${tool} is not installed` : e.message}`);
    }
  }
  return readFileSync(file);
}

/**
 * Modules of the kernel's package and everything they depend on, in loading order. The dependencies are read from the
 * modules themselves ("depends=" in .modinfo). What is not there is built into the kernel.
 * @returns {{ name: string, data: Buffer }[]}
 */
export function kernelModules(kernel, names) {
  const root = ['lib/modules', 'usr/lib/modules'].map((d) => join(kernel, '../..', d)).find((d) => existsSync(d)) ?? '';
  const files = new Map((existsSync(root) ? walk(root) : []).filter((f) => /\.ko(\.(xz|zst|gz))?$/.test(f)).map((f) => [moduleName(f), f]));
  const order = [];
  const seen = new Set();
  const visit = (name) => {
    if (name === '' || seen.has(name)) return;
    seen.add(name);
    const file = files.get(name);
    if (file === undefined) return;
    const data = readModule(file);
    const at = data.indexOf('\0depends=');
    if (at >= 0) data.toString('latin1', at + 9, data.indexOf(0, at + 9)).split(',').forEach((d) => visit(d.replaceAll('-', '_')));
    order.push({ name: `${name}.ko`, data });
  };
  for (const n of names) visit(moduleName(n));
  return order;
}

/**
 * An initramfs with busybox and an init that loads modules, says USER SPACE REACHED and starts a shell on the console (or
 * powers off, with `then=poweroff` on the kernel's command line).
 * @param {{ arch?: string, kernel?: string, modules?: string[], name?: string }} [options] Debian architecture of busybox ('' =
 * this machine's) and the suite it is from; modules to take from the kernel's package; what to call that set of modules.
 */
export function busyboxInitramfs({ arch = '', suite = '', kernel, modules = [], name = 'modules' } = {}) {
  const file = join(cacheDir, `initramfs${arch && `-${arch}`}${modules.length > 0 ? `-${name}` : ''}.cpio.gz`);
  const wanted = createHash('sha256').update(JSON.stringify([INIT, arch, kernel ?? '', modules])).digest('hex');
  if (existsSync(file) && existsSync(`${file}.stamp`) && readFileSync(`${file}.stamp`, 'utf8') === wanted) return file;
  const unpacked = debianPackage('busybox-static', arch, suite);
  const busybox = readFileSync(['bin/busybox', 'usr/bin/busybox'].map((f) => join(unpacked, f)).find((f) => existsSync(f)));
  let ino = 1;
  const parts = ['bin', 'dev', 'proc', 'sys', 'tmp', 'root', 'mnt', 'modules'].map((d) => cpioEntry(d, 0o40755, Buffer.alloc(0), ino++));
  parts.push(cpioEntry('bin/busybox', 0o100755, busybox, ino++));
  parts.push(cpioEntry('init', 0o100755, Buffer.from(INIT), ino++));
  if (modules.length > 0) {
    const list = kernelModules(kernel ?? debianKernel(), modules);
    for (const m of list) parts.push(cpioEntry(`modules/${m.name}`, 0o100644, m.data, ino++));
    parts.push(cpioEntry('modules/order', 0o100644, Buffer.from(list.map((m) => `${m.name}\n`).join('')), ino++));
  }
  parts.push(cpioEntry('TRAILER!!!', 0, Buffer.alloc(0), 0));
  mkdirSync(cacheDir, { recursive: true });
  writeFileSync(`${file}.tmp`, gzipSync(Buffer.concat(parts), { level: 6 }));
  renameSync(`${file}.tmp`, file);
  writeFileSync(`${file}.stamp`, wanted);
  return file;
}
