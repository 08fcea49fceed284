// What the user network carries, on each card, beside QEMU's own (TCG, -netdev user): a download with its checksum, an upload, many short
// connections, names, an ssh login through a forwarded port.
//
//   node bench/net.mjs [--guest initramfs|system] [--cards virtio,e1000,rtl8139] [--megabytes 100] [--connections 1000] [--rounds 1] [--peer qemu|none]
//
// The guest is Debian's kernel with busybox (scripts/guest-files.mjs); ssh needs dropbear's package and an ssh client, and is left out without.
// `system`: a whole Debian with systemd on a disk (scripts/disk-image.mjs --net; root and debootstrap), booted by GRUB, with OpenSSH.
// Runs of both take turns. Rates are MB/s as the guest's clock has them; the ratio is ours to QEMU's. Status 1 if something was wrong.
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { diskImage } from '../scripts/disk-image.mjs';
import { busyboxInitramfs, cpioEntry, debianKernel, debianPackage } from '../scripts/guest-files.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const text = (d) => ({ type: 'string', default: d });
const { values: o } = parseArgs({
  options: { guest: text('initramfs'), cards: text('virtio,e1000,rtl8139'), megabytes: text('100'), connections: text('1000'), rounds: text('1'), peer: text('qemu'), accel: text('jit'), minutes: text('10'), verbose: { type: 'boolean', default: false } },
});
const MODULES = ['virtio_pci', 'virtio_net', 'e1000', '8139cp'];
const QEMU_CARD = { virtio: 'virtio-net-pci', e1000: 'e1000', rtl8139: 'rtl8139' };
const dir = mkdtempSync(join(tmpdir(), 'vmx-net-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const system = o.guest === 'system' ? diskImage({ net: true }) : null;
const kernel = system === null ? debianKernel('linux-image-amd64') : null;

// ---- the host's side: one server for both ----

const megabytes = Number(o.megabytes);
const blob = randomFillSync(Buffer.alloc(megabytes * 1e6));
const sum = createHash('md5').update(blob).digest('hex');
const http = createHttp((q, r) => (q.url === '/blob' ? r.end(blob) : r.end('hello')));
let open = 0;
let most = 0;
http.on('connection', (s) => {
  most = Math.max(most, ++open);
  s.on('close', () => open--);
});
const received = { md5: createHash('md5'), bytes: 0 };
const sink = createServer((s) => {
  s.on('data', (d) => ((received.bytes += d.length), received.md5.update(d)));
  s.on('error', () => s.destroy());
});
const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
const [httpPort, sinkPort] = [await listen(http), await listen(sink)];

// ---- the guest ----

/** Dropbear and what it needs, as a second archive behind the first; null without its package or ssh. */
function sshFiles() {
  try {
    execFileSync('ssh', ['-V'], { stdio: 'ignore' });
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, 'key')]);
    const files = new Map();
    const sbin = join(debianPackage('dropbear-bin'), 'usr/sbin/dropbear');
    files.set('bin/dropbear', readFileSync(sbin));
    const libs = ['libc6', 'libcrypt1', 'zlib1g', 'libtomcrypt1', 'libtommath1', 'libgmp10'].map((p) => debianPackage(p));
    for (const lib of libs) {
      for (const at of ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu']) {
        if (!existsSync(join(lib, at))) continue;
        for (const f of readdirSync(join(lib, at))) if (/^(libc|libcrypt|libz|libtomcrypt|libtommath|libgmp|ld-linux-x86-64)\.so\.[0-9]+$/.test(f)) files.set(`lib/${f}`, readFileSync(join(lib, at, f)));
      }
    }
    files.set('root/authorized_keys', readFileSync(join(dir, 'key.pub')));
    let ino = 5000;
    const out = ['lib', 'lib64', 'etc'].map((d) => cpioEntry(d, 0o40755, Buffer.alloc(0), ino++));
    for (const [name, data] of files) out.push(cpioEntry(name, 0o100755, data, ino++));
    return Buffer.concat([...out, cpioEntry('TRAILER!!!', 0, Buffer.alloc(0), 0)]);
  } catch (e) {
    console.log(`no ssh: ${e.message.split('\n')[0]}`);
    return null;
  }
}
const initrd = join(dir, 'initrd');
/** File of the key that the guest lets in; null: no ssh. */
let key = null;
if (system === null) {
  const ssh = sshFiles();
  if (ssh !== null) key = join(dir, 'key');
  const first = readFileSync(busyboxInitramfs({ kernel, modules: MODULES, name: 'net' }));
  // A second archive begins at a multiple of four bytes.
  writeFileSync(initrd, Buffer.concat([first, Buffer.alloc(-first.length & 3), ...(ssh === null ? [] : [ssh])]));
} else key = join(dirname(system), 'key');

const LEASE = `#!/bin/sh\\n[ "$1" = bound ] && ifconfig $interface $ip netmask $subnet && route add default gw $router && echo "nameserver $dns" > /etc/resolv.conf && echo LEASE $ip $router $dns\\nexit 0\\n`;
const NOW = "$(cut -d' ' -f1 /proc/uptime)";
const base = `http://10.0.2.2:${httpPort}`;
/** Commands, and what their output says. */
const STEPS = [
  ['dhcp', `mkdir -p /etc; printf '${LEASE}' > /lease; chmod +x /lease; ifconfig lo up; ifconfig eth0 up; udhcpc -i eth0 -n -q -f -s /lease`],
  ['dns', 'nslookup localhost 10.0.2.3'],
  ['warm', `wget -q -O /dev/null ${base}/x`],
  ['download', `a=${NOW}; wget -q -O - ${base}/blob | md5sum; b=${NOW}; echo TIME $a $b`],
  ['rate', `a=${NOW}; wget -q -O /dev/null ${base}/blob; b=${NOW}; echo TIME $a $b`],
  ['upload', `dd if=/dev/urandom of=/tmp/up bs=100k count=100 2>/dev/null; md5sum < /tmp/up; a=${NOW}; for i in 1 2 3 4 5; do cat /tmp/up; done | nc 10.0.2.2 ${sinkPort}; b=${NOW}; echo TIME $a $b`],
  ['short', `a=${NOW}; i=0; bad=0; while [ $i -lt ${o.connections} ]; do wget -q -O /dev/null ${base}/x || bad=$((bad+1)); i=$((i+1)); done; b=${NOW}; echo BAD $bad; echo TIME $a $b`],
  ['ssh', key === null ? ':' : 'mkdir -p /root/.ssh /lib64 /dev/pts; cp /root/authorized_keys /root/.ssh/; chmod -R go= /root; echo root::0:0:root:/root:/bin/sh > /etc/passwd; ln -sf /lib/ld-linux-x86-64.so.2 /lib64/; mount -t devpts none /dev/pts; dropbear -R -B -E 2>/tmp/log; sleep 1; echo SERVING'],
];

if (system !== null) {
  const replace = { dhcp: 'until hostname -I | grep -q 10.0.2.15; do sleep 1; done; cat /run/systemd/netif/leases/*', dns: 'busybox nslookup localhost 10.0.2.3', ssh: 'until systemctl -q is-active ssh; do sleep 1; done' };
  for (const step of STEPS) step[1] = (replace[step[0]] ?? step[1]).replace(/\b(wget|nc) /g, 'busybox $1 ');
}

function start(which, card, port) {
  const cmdline = 'console=ttyS0 quiet';
  const forward = `hostfwd=tcp:127.0.0.1:${port}-:22`;
  const boot = system === null ? null : which === 'qemu' ? ['-drive', `file=${system},if=virtio,format=raw,snapshot=on`] : ['--disk', `${system},if=virtio,format=raw,snapshot`];
  const [cmd, args] =
    which === 'qemu'
      ? ['qemu-system-x86_64', ['-accel', 'tcg', '-cpu', 'max', '-m', '512', '-nographic', '-no-reboot', ...(boot ?? ['-kernel', kernel, '-initrd', initrd, '-append', cmdline]), '-netdev', `user,id=n,${forward}`, '-device', `${QEMU_CARD[card]},netdev=n`]]
      : [process.execPath, [join(root, 'dist/cli/main.js'), 'boot', '--accel', o.accel, '--memory', '512M', ...(boot ?? ['--kernel', kernel, '--initrd', initrd, '--append', cmdline]), '--net', `user,model=${card},${forward}`]];
  return spawn(cmd, args, { stdio: ['pipe', 'pipe', 'inherit'] });
}

const freePort = async () => {
  const s = createServer();
  const port = await listen(s);
  await new Promise((r) => s.close(r));
  return port;
};

/** File descriptors of a process, and its memory in MiB. */
const usage = (pid) => ({ files: readdirSync(`/proc/${pid}/fd`).length, rss: Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024) });

async function measure(which, card) {
  const port = await freePort();
  const child = start(which, card, port);
  const timer = setTimeout(() => child.kill('SIGKILL'), Number(o.minutes) * 60_000);
  let out = '';
  let wake = () => {};
  child.stdout.on('data', (d) => {
    out += d.toString('latin1');
    if (o.verbose) process.stderr.write(d);
    wake();
  });
  let gone = false;
  child.on('exit', () => ((gone = true), wake()));
  const until = async (pattern) => {
    for (;;) {
      const m = pattern.exec(out);
      if (m !== null) {
        out = out.slice(m.index + m[0].length);
        return m;
      }
      if (gone) throw new Error(`${which} with ${card} ended; its console: ${out.slice(-500)}`);
      await new Promise((r) => (wake = r));
    }
  };
  const result = {};
  const problems = [];
  const check = (name, good, what) => void (good || problems.push(`${name}: ${what.trim().slice(-200)}`));
  const seconds = (text) => {
    const [, a, b] = /TIME ([\d.]+) ([\d.]+)/.exec(text);
    return Number(b) - Number(a);
  };
  if (system === null) await until(/~ # /);
  else {
    await until(/login: $/);
    child.stdin.write('root\n');
    await until(/root@guest:~# $/);
  }
  received.md5 = createHash('md5');
  received.bytes = 0;
  const before = {};
  for (const [name, command] of STEPS) {
    if (name === 'short') Object.assign(before, usage(child.pid));
    child.stdin.write(`echo "<<"go">>"; ${command}; echo "<<"end">>"\n`);
    await until(/<<go>>\r?\n/);
    const text = (await until(/([^]*?)<<end>>\r?\n/))[1].replaceAll('\r', '');
    if (name === 'dhcp') check(name, system === null ? text.includes('LEASE 10.0.2.15 10.0.2.2 10.0.2.3') : ['ADDRESS=10.0.2.15', 'ROUTER=10.0.2.2', 'DNS=10.0.2.3'].every((l) => text.split('\n').includes(l)), text);
    if (name === 'dns') check(name, /127\.0\.0\.1|::1/.test(text), text);
    if (name === 'download') check(name, text.includes(sum), text);
    if (name === 'rate') result.down = megabytes / seconds(text);
    if (name === 'upload') {
      result.up = 51.2 / seconds(text);
      const one = /^[0-9a-f]{32}/m.exec(text)[0];
      // Five times the same file: its sum is checked by the bytes that came; their number must be right.
      check(name, received.bytes === 5 * 100 * 102400 && one.length === 32, `${received.bytes} bytes`);
    }
    if (name === 'short') {
      result.short = Number(o.connections) / seconds(text);
      check(name, text.includes('BAD 0'), text);
      await new Promise((r) => setTimeout(r, 2000));
      const after = usage(child.pid);
      result.files = after.files - before.files;
      result.rss = after.rss - before.rss;
      check(name, open === 0 && result.files <= 2, `${open} connections and ${result.files} files of the process are left`);
    }
    if (name === 'ssh' && key !== null) {
      try {
        const said = execFileSync('ssh', ['-p', String(port), '-i', key, '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR', '-o', 'ConnectTimeout=120', 'root@127.0.0.1', 'echo IN as $USER on $(uname -s)'], { encoding: 'utf8', timeout: 180_000 });
        check(name, said.includes('IN as root on Linux'), said);
      } catch (e) {
        check(name, false, e.message);
      }
    }
  }
  child.stdin.write(system === null ? 'poweroff -f\n' : 'poweroff\n');
  await new Promise((r) => (gone ? r() : child.once('exit', r)));
  clearTimeout(timer);
  return { result, problems };
}

let bad = 0;
const who = o.peer === 'none' ? ['ours'] : ['ours', 'qemu'];
for (const card of o.cards.split(',')) {
  const best = {};
  for (let round = 0; round < Number(o.rounds); round++) {
    for (const which of who) {
      const { result, problems } = await measure(which, card);
      console.log(`${card.padEnd(8)} ${which.padEnd(5)} down ${result.down.toFixed(1)} MB/s  up ${result.up.toFixed(1)} MB/s  ${result.short.toFixed(0)} connections/s, ${result.files} more files, ${result.rss} MiB more`);
      for (const p of problems) console.log(`${card.padEnd(8)} ${which.padEnd(5)} WRONG: ${p}`);
      if (which === 'ours') bad += problems.length;
      best[which] ??= { down: 0, up: 0, short: 0 };
      for (const k of ['down', 'up', 'short']) best[which][k] = Math.max(best[which][k], result[k]);
    }
  }
  if (best.qemu !== undefined) console.log(`${card.padEnd(8)} ratio down ${(best.ours.down / best.qemu.down).toFixed(2)}  up ${(best.ours.up / best.qemu.up).toFixed(2)}  connections ${(best.ours.short / best.qemu.short).toFixed(2)}`);
}
http.close();
sink.close();
process.exitCode = bad > 0 ? 1 : 0;
