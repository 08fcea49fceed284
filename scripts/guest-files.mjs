// Fetches Debian's kernel and busybox with `apt-get download` and packs an initramfs. Used by the demo, the tests and the
// benches. No root needed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** Where fetched files are kept. */
export const cacheDir = new URL('../.demo/', import.meta.url).pathname;

/** A plain explanation for people whose machine cannot do this. */
export class CannotFetch extends Error {}

function run(cmd, args, cwd) {
  return execFileSync(cmd, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Downloads a Debian package and unpacks it below cacheDir/NAME; returns that folder. */
export function debianPackage(name, arch = '') {
  const dir = join(cacheDir, arch ? `${name}_${arch}` : name);
  if (existsSync(join(dir, '.complete'))) return dir;
  const tmp = `${dir}.tmp`;
  rmSync(tmp, { recursive: true, force: true });
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(tmp, { recursive: true });
  try {
    run('apt-get', ['download', arch ? `${name}:${arch}` : name], tmp);
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
function dependency(meta) {
  try {
    const line = run('apt-cache', ['depends', meta]).split('\n').find((l) => /Depends: linux-image/.test(l));
    if (line) return line.split(':').slice(1).join(':').trim();
  } catch {
    // Reported below: the same advice covers both cases.
  }
  throw new CannotFetch(`cannot find ${meta}: this is not a Debian system, or its package lists are empty (apt-get update)`);
}

/** Debian's kernel image file of a meta package. */
export function debianKernel(meta = 'linux-image-cloud-amd64') {
  const marker = join(cacheDir, `${meta}.name`);
  const name = existsSync(marker) ? readFileSync(marker, 'utf8') : dependency(meta);
  const [pkg, arch] = name.split(':');
  const boot = join(debianPackage(pkg, arch ?? ''), 'boot');
  const kernel = readdirSync(boot).find((f) => f.startsWith('vmlinuz'));
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

/** An initramfs with busybox (of the named Debian architecture) and an init that starts a shell on the console. */
export function busyboxInitramfs(arch = '') {
  const file = join(cacheDir, arch ? `initramfs-${arch}.cpio.gz` : 'initramfs.cpio.gz');
  if (existsSync(file)) return file;
  const busybox = readFileSync(join(debianPackage('busybox-static', arch), 'bin/busybox'));
  let ino = 1;
  const parts = ['bin', 'dev', 'proc', 'sys', 'tmp', 'root'].map((d) => cpioEntry(d, 0o40755, Buffer.alloc(0), ino++));
  parts.push(cpioEntry('bin/busybox', 0o100755, busybox, ino++));
  parts.push(cpioEntry('init', 0o100755, Buffer.from(INIT), ino++));
  parts.push(cpioEntry('TRAILER!!!', 0, Buffer.alloc(0), 0));
  mkdirSync(cacheDir, { recursive: true });
  writeFileSync(`${file}.tmp`, gzipSync(Buffer.concat(parts), { level: 6 }));
  renameSync(`${file}.tmp`, file);
  return file;
}
