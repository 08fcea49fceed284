// bench/system-boot: boots Debian from a disk at each controller, writes and verifies data there, and checks what is left.
//
//   node bench/system-boot.mjs [--if virtio,scsi,ide,ahci,nvme] [--machine pc,q35] [--format raw,qcow2] [--firmware seabios,ovmf] [--data MB]
//
// The image is scripts/disk-image.mjs's (made when it is not there: root, debootstrap). Each run gets a copy (raw) or an overlay
// (qcow2) of it. It must boot by GRUB to systemd's login on the serial console; the kernel's log may have no ACPI error, lost
// interrupt, controller reset or I/O error; data must read back past the page cache; after power-off e2fsck and the image check
// must find nothing. One line per run; status 1 if one failed.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandLine } from '../scripts/command-line.mjs';
import { checkImage, convertImage, createImage } from '../dist/block/tools.js';
import { diskImage, ROOT_OFFSET } from '../scripts/disk-image.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const list = (d) => ({ type: 'string', default: d });
const { values } = commandLine(import.meta.url, {
  options: {
    if: list('virtio,scsi,ide,ahci,nvme'), machine: list('pc,q35'), format: list('raw,qcow2'), firmware: list('seabios,ovmf'), size: list('2G'), minutes: list('20'), data: list('256'), accel: list('jit'), verbose: { type: 'boolean', default: false },
  },
});
const base = diskImage({ size: values.size });

/** Lines of the kernel's log that mean trouble; and those that look so and are how every disk starts. */
const TROUBLE = 'ACPI (Error|Exception|BIOS Error)|lost interrupt|nobody cared|reset|timed out|timeout|I/O error|abort|exception Emask|frozen';
const NORMAL = 'ommand line: |preset|Power-on or device reset occurred|Reset|PM: |usb|reset_reason|Waiting up to';
const DATA = `head -c 1048576 /dev/urandom > /run/r; data() { for i in $(seq ${Number(values.data)}); do echo block $i; cat /run/r; done; }; data > /root/data; sync; echo 3 > /proc/sys/vm/drop_caches; data | cmp - /root/data && echo DATA"-"GOOD; rm /root/data; sync`;

/** @returns what the run says about itself. @throws Error */
function boot(file, o) {
  return new Promise((resolve, reject) => {
    const args = ['dist/cli/main.js', 'boot', '--accel', values.accel, '--machine', o.machine, '--firmware', o.firmware, '--memory', '512M', '--disk', `${file},if=${o.if},format=${o.format}`, '--timeout', String(Number(values.minutes) * 60)];
    if (o.firmware === 'ovmf') args.push('--firmware-vars', 'none');
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    const steps = [
      [/login: $/, 'root\n'],
      [/root@guest:~# $/, `stty -echo; PS1='READY> '; echo\n`],
      [/READY> $/, 'echo "ROOT=$(findmnt -no SOURCE /)" "STATE=$(systemctl is-system-running)" "UEFI=$(test -d /sys/firmware/efi && echo yes || echo no)"\n'],
      [/ROOT=.*READY> $/s, `${DATA}\n`],
      [/DATA-GOOD.*READY> $/s, `echo "LOG<"; dmesg | grep -iE '${TROUBLE}' | grep -vE '${NORMAL}'; echo ">LOG"\n`],
      [/LOG<.*>LOG.*READY> $/s, 'poweroff\n'],
    ];
    let step = 0;
    child.stdout.on('data', (d) => {
      if (values.verbose) process.stderr.write(d);
      out += d.toString('latin1');
      if (/differ|EOF on/.test(out.slice(-400)) && step === 4) child.kill('SIGKILL');
      if (step < steps.length && steps[step][0].test(out.slice(-6000).replaceAll('\r', ''))) child.stdin.write(steps[step++][1]);
    });
    child.stderr.on('data', (d) => (err += d));
    child.on('exit', (status) => {
      const text = out.replaceAll('\r', '');
      if (status !== 0 || step < steps.length) return reject(new Error(`step ${step}, status ${status}: ${err.trim().split('\n').at(-1)}; console ends with: ${text.slice(-300)}`));
      const trouble = /LOG<\n([^]*?)>LOG/.exec(text)[1].trim();
      if (trouble !== '') return reject(new Error(`the kernel's log says: ${trouble}`));
      const [, device, state, uefi] = /ROOT=(\S+) STATE=(\S+) UEFI=(\S+)/.exec(text);
      if ((uefi === 'yes') !== (o.firmware === 'ovmf')) return reject(new Error(`booted by the wrong firmware (UEFI: ${uefi})`));
      resolve(`${device}, systemd ${state}`);
    });
  });
}

function check(file, o, dir) {
  let raw = file;
  if (o.format === 'qcow2') {
    const r = checkImage(file, 'qcow2', false, 'check');
    if (r.corruptions + r.leaks > 0) throw new Error(`image check: ${r.messages.join('; ')}`);
    try {
      execFileSync('qemu-img', ['check', '-q', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    } catch (e) {
      if (e.code !== 'ENOENT') throw e;
    }
    raw = join(dir, 'flat.raw');
    convertImage(file, raw, { format: 'raw', sourceFormat: 'qcow2', option: 'check', progress: () => {}, overwrite: true });
  }
  execFileSync('e2fsck', ['-fn', `${raw}?offset=${ROOT_OFFSET}`], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH: `${process.env.PATH}:/sbin:/usr/sbin` } });
}

for (const machine of values.machine.split(',')) {
  for (const name of values.if.split(',')) {
    for (const format of values.format.split(',')) {
      for (const firmware of values.firmware.split(',')) {
        const o = { machine, if: name, format, firmware };
        const dir = mkdtempSync(join(tmpdir(), 'vmx-system-boot-'));
        const label = `${name.padEnd(6)} ${machine.padEnd(3)} ${format.padEnd(5)} ${firmware.padEnd(7)}`;
        const start = Date.now();
        try {
          const file = join(dir, `disk.${format}`);
          if (format === 'raw') execFileSync('cp', ['--sparse=always', base, file]);
          else createImage(file, { format, backingFile: base, backingFormat: 'raw', option: 'system-boot' });
          const said = await boot(file, o);
          check(file, o, dir);
          console.log(`${label} ok    ${said}, ${values.data} MB verified, e2fsck clean, ${Math.round((Date.now() - start) / 1000)} s`);
        } catch (e) {
          console.log(`${label} FAIL  ${e.message}`);
          process.exitCode = 1;
        } finally {
          rmSync(dir, { recursive: true, force: true });
        }
      }
    }
  }
}
