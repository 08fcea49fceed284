// Builds a Debian system on a disk with partitions and GRUB, which boots by BIOS and by UEFI from any controller:
//
//   node scripts/disk-image.mjs [--size 3G] [--net] [--include PACKAGE,...]
//   node dist/cli/main.js boot .demo/system/disk.img
//
// --net makes .demo/system-net/disk.img: with a DHCP client on every card, an ssh server that takes the key beside the image, and busybox.
//
// Needs root, debootstrap, e2fsprogs, mtools, grub-pc-bin and grub-efi-amd64-bin; no loop devices. Log in as root on the serial
// console; there is no password. Sector 0 has GRUB's boot sector, a BIOS boot partition its core image, the EFI system partition the
// same as an application; the third partition is the root file system.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, renameSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { commandLine } from './command-line.mjs';
import { cacheDir, CannotFetch } from './guest-files.mjs';

const SUITE = 'bookworm';
const PACKAGES = ['systemd-sysv', 'udev', 'kmod', 'e2fsprogs', 'initramfs-tools', 'linux-image-amd64', 'zstd'];
const SECTOR = 512;
const MIB = 1024 * 1024;
/** Of everything below, so that images can be compared: this is a test system, no two of them meet. */
const ROOT_UUID = '766d782d-726f-6f74-8000-000000000001';
const DISK_GUID = '766d782d-6469-736b-8000-000000000001';
const TYPES = { bios: '21686148-6449-6e6f-744e-656564454649', esp: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b', linux: '0fc63daf-8483-4772-8e79-3d69d8477de4' };
/** Partitions in MiB; the root file system has the rest but the last. */
const BIOS_AT = 1;
const ESP_AT = 2;
const ESP_MIB = 48;
const ROOT_AT = ESP_AT + ESP_MIB;
export const ROOT_OFFSET = ROOT_AT * MIB;
const GPT_ENTRIES = 128;

const run = (cmd, args) => execFileSync(cmd, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'inherit'] });

/** What --net adds: systemd's own DHCP client needs no package. */
const NET_PACKAGES = ['openssh-server', 'busybox', 'wget'];

/** Addresses by DHCP on every card, and root's key for ssh. */
function setUpNet(tree, key) {
  if (!existsSync(key)) run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'guest', '-f', key]);
  mkdirSync(join(tree, 'etc/systemd/network'), { recursive: true });
  writeFileSync(join(tree, 'etc/systemd/network/80-dhcp.network'), '[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n\n[DHCPv4]\nUseDNS=yes\n');
  run('systemctl', [`--root=${tree}`, 'enable', 'systemd-networkd.service', 'ssh.service']);
  writeFileSync(join(tree, 'etc/resolv.conf'), 'nameserver 10.0.2.3\n');
  mkdirSync(join(tree, 'root/.ssh'), { recursive: true, mode: 0o700 });
  writeFileSync(join(tree, 'root/.ssh/authorized_keys'), readFileSync(`${key}.pub`), { mode: 0o600 });
}

/** The debootstrapped tree; made once. @param key file of the key for ssh; null: without network */
function systemTree(include, key) {
  const tree = join(cacheDir, key === null ? 'disk-root' : 'disk-root-net');
  if (!existsSync(`${tree}.complete`)) {
    rmSync(tree, { recursive: true, force: true });
    run('debootstrap', ['--variant=minbase', `--include=${[...PACKAGES, ...(key === null ? [] : NET_PACKAGES), ...include].join(',')}`, SUITE, tree]);
    writeFileSync(`${tree}.complete`, '');
  }
  if (key !== null) setUpNet(tree, key);
  const kernel = readdirSync(join(tree, 'boot')).find((f) => f.startsWith('vmlinuz-'));
  writeFileSync(join(tree, 'etc/hostname'), 'guest\n');
  writeFileSync(join(tree, 'etc/fstab'), `UUID=${ROOT_UUID} / ext4 defaults 0 1\n`);
  const shadow = join(tree, 'etc/shadow');
  writeFileSync(shadow, readFileSync(shadow, 'utf8').replace(/^root:[^:]*:/m, 'root::'));
  // A slow host is no reason to give the console's device up (90 s by default; the kernel option for this came after systemd 252).
  mkdirSync(join(tree, 'etc/systemd/system.conf.d'), { recursive: true });
  writeFileSync(join(tree, 'etc/systemd/system.conf.d/slow.conf'), '[Manager]\nDefaultDeviceTimeoutSec=900\nDefaultTimeoutStartSec=900\n');
  mkdirSync(join(tree, 'boot/grub'), { recursive: true });
  writeFileSync(
    join(tree, 'boot/grub/grub.cfg'),
    `serial --unit=0 --speed=115200\nterminal_output console serial\nset timeout=0\nmenuentry Debian {\n  linux /boot/${kernel} root=UUID=${ROOT_UUID} ro console=ttyS0 quiet systemd.show_status=0 systemd.default_timeout_start_sec=900 udev.event_timeout=900\n  initrd /boot/${kernel.replace('vmlinuz', 'initrd.img')}\n}\n`,
  );
  rmSync(join(tree, 'var/cache/apt/archives'), { recursive: true, force: true });
  rmSync(join(tree, 'var/lib/apt/lists'), { recursive: true, force: true });
  mkdirSync(join(tree, 'var/cache/apt/archives/partial'), { recursive: true });
  mkdirSync(join(tree, 'var/lib/apt/lists/partial'), { recursive: true });
  return tree;
}

/** A GUID as GPT has it: the first three fields little-endian. */
function guid(text) {
  const b = Buffer.from(text.replaceAll('-', ''), 'hex');
  return Buffer.concat([b.subarray(0, 4).reverse(), b.subarray(4, 6).reverse(), b.subarray(6, 8).reverse(), b.subarray(8)]);
}

/** Protective MBR, and both copies of the GUID partition table (UEFI Specification 2.10, chapter 5). @returns [offset, bytes] pairs */
function partitionTable(sectors, partitions) {
  const entries = Buffer.alloc(GPT_ENTRIES * 128);
  partitions.forEach((p, i) => {
    const at = i * 128;
    guid(p.type).copy(entries, at);
    guid(DISK_GUID.replace(/1$/, String(i + 2))).copy(entries, at + 16);
    entries.writeBigUInt64LE(BigInt(p.first), at + 32);
    entries.writeBigUInt64LE(BigInt(p.last), at + 40);
    entries.write(p.name, at + 56, 'utf16le');
  });
  const tableSectors = entries.length / SECTOR;
  const header = (here, other, table) => {
    const h = Buffer.alloc(SECTOR);
    h.write('EFI PART');
    h.writeUInt32LE(0x1_0000, 8);
    h.writeUInt32LE(92, 12);
    for (const [at, v] of [[24, here], [32, other], [40, 2 + tableSectors], [48, sectors - 2 - tableSectors], [72, table]]) h.writeBigUInt64LE(BigInt(v), at);
    guid(DISK_GUID).copy(h, 56);
    h.writeUInt32LE(GPT_ENTRIES, 80);
    h.writeUInt32LE(128, 84);
    h.writeUInt32LE(crc32(entries), 88);
    h.writeUInt32LE(crc32(h.subarray(0, 92)), 16);
    return h;
  };
  const backup = sectors - 1 - tableSectors;
  return [[SECTOR, header(1, sectors - 1, 2)], [2 * SECTOR, entries], [backup * SECTOR, entries], [(sectors - 1) * SECTOR, header(sectors - 1, 1, backup)]];
}

/** Boot sector and core image for BIOS; where the core image lies is written into both, as grub-bios-setup does it. */
function biosBoot(work, early, sectors) {
  const core = join(work, 'core.img');
  run('grub-mkimage', ['-O', 'i386-pc', '-o', core, '-p', '/boot/grub', '-c', early, 'biosdisk', 'part_gpt', 'ext2', 'search', 'search_fs_uuid', 'normal', 'configfile', 'linux', 'serial', 'terminal', 'echo']);
  const image = readFileSync(core);
  const first = (BIOS_AT * MIB) / SECTOR;
  const boot = readFileSync('/usr/lib/grub/i386-pc/boot.img');
  // Sector of the core image.
  boot.writeBigUInt64LE(BigInt(first), 0x5c);
  // The core image's own first sector lists where the rest is: sector and count.
  image.writeBigUInt64LE(BigInt(first + 1), 0x1f4);
  image.writeUInt16LE(Math.ceil(image.length / SECTOR) - 1, 0x1fc);
  if (image.length > (ESP_AT - BIOS_AT) * MIB) throw new CannotFetch('GRUB\'s core image does not fit into its partition');
  const mbr = Buffer.alloc(SECTOR);
  boot.copy(mbr, 0, 0, 440);
  // One partition of type EEh over the whole disk.
  mbr.set([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0], 446);
  mbr.writeUInt32LE(Math.min(sectors - 1, 0xffff_ffff), 458);
  mbr.writeUInt16LE(0xaa55, 510);
  return [[0, mbr], [first * SECTOR, image]];
}

/** A FAT file system with GRUB where UEFI looks for it on removable media. */
function efiPartition(work, early) {
  const app = join(work, 'BOOTX64.EFI');
  run('grub-mkimage', ['-O', 'x86_64-efi', '-o', app, '-p', '/boot/grub', '-c', early, 'part_gpt', 'ext2', 'search', 'search_fs_uuid', 'normal', 'configfile', 'linux', 'serial', 'terminal', 'echo', 'fat']);
  const fat = join(work, 'esp.img');
  writeFileSync(fat, '');
  truncateSync(fat, ESP_MIB * MIB);
  run('mformat', ['-i', fat, '-F', '::']);
  run('mmd', ['-i', fat, '::/EFI', '::/EFI/BOOT']);
  run('mcopy', ['-i', fat, app, '::/EFI/BOOT/BOOTX64.EFI']);
  return readFileSync(fat);
}

/** @returns path of the image. */
export function diskImage({ size = '3G', include = [], net = false } = {}) {
  const out = join(cacheDir, net ? 'system-net' : 'system');
  const image = join(out, 'disk.img');
  if (existsSync(image)) return image;
  if (process.getuid?.() !== 0) throw new CannotFetch('building a system image needs root (debootstrap makes device nodes and runs chroot)');
  const m = /^(\d+)([MG])$/.exec(size);
  if (m === null) throw new CannotFetch(`--size ${size}: such as 3G or 3000M`);
  const bytes = Number(m[1]) * (m[2] === 'G' ? 1024 : 1) * MIB;
  mkdirSync(out, { recursive: true });
  const tree = systemTree(include, net ? join(out, 'key') : null);
  const work = mkdtempSync(join(tmpdir(), 'vmx-disk-image-'));
  const temporary = `${image}.tmp`;
  try {
    const early = join(work, 'early.cfg');
    writeFileSync(early, `search.fs_uuid ${ROOT_UUID} root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n`);
    const sectors = bytes / SECTOR;
    const parts = [
      { name: 'bios', type: TYPES.bios, first: (BIOS_AT * MIB) / SECTOR, last: (ESP_AT * MIB) / SECTOR - 1 },
      { name: 'efi', type: TYPES.esp, first: (ESP_AT * MIB) / SECTOR, last: ROOT_OFFSET / SECTOR - 1 },
      { name: 'root', type: TYPES.linux, first: ROOT_OFFSET / SECTOR, last: (bytes - MIB) / SECTOR - 1 },
    ];
    rmSync(temporary, { force: true });
    writeFileSync(temporary, '');
    truncateSync(temporary, bytes);
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-U', ROOT_UUID, '-d', tree, '-E', `offset=${ROOT_OFFSET}`, temporary, `${(bytes - ROOT_OFFSET - MIB) / 1024}k`]);
    const fd = openSync(temporary, 'r+');
    for (const [at, b] of [...biosBoot(work, early, sectors), [ESP_AT * MIB, efiPartition(work, early)], ...partitionTable(sectors, parts)]) writeSync(fd, b, 0, b.length, at);
    closeSync(fd);
    renameSync(temporary, image);
  } finally {
    rmSync(work, { recursive: true, force: true });
    rmSync(temporary, { force: true });
  }
  return image;
}

if (process.argv[1] === import.meta.filename) {
  const { values } = commandLine(import.meta.url, { options: { size: { type: 'string', default: '3G' }, net: { type: 'boolean', default: false }, include: { type: 'string', default: '' } } });
  try {
    console.log(diskImage({ size: values.size, net: values.net, include: values.include.split(',').filter((p) => p !== '') }));
  } catch (e) {
    if (!(e instanceof CannotFetch) && e.code !== 'ENOENT' && e.status === undefined) throw e;
    console.error(`disk-image: ${e.code === 'ENOENT' ? `${e.path} is missing (apt-get install debootstrap e2fsprogs mtools grub-pc-bin grub-efi-amd64-bin)` : e.message}`);
    process.exitCode = 1;
  }
}
