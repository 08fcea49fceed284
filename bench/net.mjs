// bench/net: what the user network carries, on each card, beside QEMU's own. TCG, -netdev user: a download with its checksum, an upload, many short
// connections, names, an ssh login through a forwarded port.
//
//   node bench/net.mjs [--guest initramfs|system] [--cards virtio,e1000,rtl8139] [--megabytes 100] [--connections 1000] [--rounds 3] [--peer qemu|none]
//
// The guest is Debian's kernel with busybox (scripts/guest-files.mjs); ssh needs dropbear's package and an ssh client, and is left out without.
// `system`: a whole Debian with systemd on a disk (scripts/disk-image.mjs --net; root and debootstrap), booted by GRUB, with OpenSSH.
// Both machines are up at the same time and take turns step by step; throughput is measured `rounds` times, the best counts. Rates are MB/s as the guest's clock
// has them; ratios are ours to QEMU's, by that clock and by CPU time of the host's process. Status 1 if something was wrong.
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandLine } from '../scripts/command-line.mjs';
import { diskImage } from '../scripts/disk-image.mjs';
import { busyboxInitramfs, cpioEntry, debianKernel, debianPackage } from '../scripts/guest-files.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const text = (d) => ({ type: 'string', default: d });
const { values: o } = commandLine(import.meta.url, {
  options: { guest: text('initramfs'), cards: text('virtio,e1000,rtl8139'), megabytes: text('100'), connections: text('1000'), rounds: text('3'), peer: text('qemu'), accel: text('jit'), minutes: text('10'), verbose: { type: 'boolean', default: false } },
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
/** What `upload` sends. */
const UPLOAD_BYTES = 2 * 100 * 102400;
const received = { md5: createHash('md5'), bytes: 0 };
const sink = createServer((s) => {
  open++;
  s.on('close', () => open--);
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
  ['upload', `dd if=/dev/urandom of=/tmp/up bs=100k count=100 2>/dev/null; cat /tmp/up /tmp/up | md5sum; a=${NOW}; for i in 1 2; do cat /tmp/up; done | nc 10.0.2.2 ${sinkPort}; b=${NOW}; echo TIME $a $b`],
  ['short', `a=${NOW}; i=0; bad=0; while [ $i -lt CONNECTIONS ]; do wget -q -O /dev/null ${base}/x || bad=$((bad+1)); i=$((i+1)); done; b=${NOW}; echo BAD $bad; echo TIME $a $b`],
  ['ssh', key === null ? ':' : 'mkdir -p /root/.ssh /lib64 /dev/pts; cp /root/authorized_keys /root/.ssh/; chmod -R go= /root; echo root::0:0:root:/root:/bin/sh > /etc/passwd; ln -sf /lib/ld-linux-x86-64.so.2 /lib64/; mount -t devpts none /dev/pts; dropbear -R -B -E 2>/tmp/log; sleep 1; echo SERVING'],
];

if (system !== null) {
  const replace = { dhcp: 'until hostname -I | grep -q 10.0.2.15; do sleep 1; done; cat /run/systemd/netif/leases/*', dns: 'busybox nslookup localhost 10.0.2.3', ssh: 'until systemctl -q is-active ssh; do sleep 1; done' };
  // Bash writes as much at once as programs do; busybox's nc writes kilobytes.
  for (const step of STEPS) step[1] = (replace[step[0]] ?? step[1]).replace(`for i in 1 2; do cat /tmp/up; done | nc 10.0.2.2 ${sinkPort}`, `cat /tmp/up /tmp/up > /dev/tcp/10.0.2.2/${sinkPort}`).replace(/\b(wget|nc) /g, 'busybox $1 ');
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

/** CPU time of a process, s. */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** A machine that runs, its console, and what has been found out. */
class Guest {
  out = '';
  gone = false;
  wake = () => {};
  best = { down: 0, up: 0, short: 0 };
  /** CPU seconds of the same, per unit. */
  cost = { down: Infinity, up: Infinity, short: Infinity };
  problems = [];
  before = null;
  /** Short connections: the peer's are for their rate alone. */
  connections;

  constructor(which, card, port) {
    this.which = which;
    this.card = card;
    this.port = port;
    this.child = start(which, card, port);
    this.connections = Math.ceil(Number(o.connections) / (which === 'ours' ? 1 : 5));
    this.timer = setTimeout(() => this.child.kill('SIGKILL'), Number(o.minutes) * 60_000);
    this.child.stdout.on('data', (d) => {
      this.out += d.toString('latin1');
      if (o.verbose) process.stderr.write(d);
      this.wake();
    });
    this.child.on('exit', () => {
      this.gone = true;
      this.wake();
    });
  }

  async until(pattern) {
    for (;;) {
      const m = pattern.exec(this.out);
      if (m !== null) {
        this.out = this.out.slice(m.index + m[0].length);
        return m;
      }
      if (this.gone) throw new Error(`${this.which} with ${this.card} ended; its console: ${this.out.slice(-500)}`);
      await new Promise((r) => (this.wake = r));
    }
  }

  check(name, good, what) {
    if (!good) this.problems.push(`${name}: ${what.trim().slice(-300)}`);
  }

  async login() {
    if (system === null) await this.until(/~ # /);
    else {
      await this.until(/login: $/);
      this.child.stdin.write('root\n');
      await this.until(/root@guest:~# $/);
    }
  }

  /** `amount` in the time that the guest has measured, and its price in CPU seconds of the host. */
  rate(kind, amount, text, cpu) {
    const [, a, b] = /TIME ([\d.]+) ([\d.]+)/.exec(text);
    this.best[kind] = Math.max(this.best[kind], amount / (Number(b) - Number(a)));
    this.cost[kind] = Math.min(this.cost[kind], cpu / amount);
  }

  async step(name, command) {
    const { pid } = this.child;
    received.md5 = createHash('md5');
    received.bytes = 0;
    if (name === 'short') this.before = usage(pid);
    const cpu0 = cpuSeconds(pid);
    this.child.stdin.write(`echo "<<"go">>"; ${command.replace('CONNECTIONS', String(this.connections))}; echo "<<"end">>"\n`);
    await this.until(/<<go>>\r?\n/);
    const text = (await this.until(/([^]*?)<<end>>\r?\n/))[1].replaceAll('\r', '');
    const cpu = cpuSeconds(pid) - cpu0;
    if (name === 'dhcp') this.check(name, system === null ? text.includes('LEASE 10.0.2.15 10.0.2.2 10.0.2.3') : ['ADDRESS=10.0.2.15', 'ROUTER=10.0.2.2', 'DNS=10.0.2.3'].every((l) => text.split('\n').includes(l)), text);
    if (name === 'dns') this.check(name, /127\.0\.0\.1|::1/.test(text), text);
    if (name === 'download') this.check(name, text.includes(sum), text);
    if (name === 'rate') this.rate('down', megabytes, text, cpu);
    if (name === 'upload') {
      this.rate('up', UPLOAD_BYTES / 1e6, text, cpu);
      const sent = /^[0-9a-f]{32}/m.exec(text)?.[0];
      while (received.bytes < UPLOAD_BYTES && open > 0) await new Promise((r) => setTimeout(r, 50));
      const got = received.md5.digest('hex');
      this.check(name, received.bytes === UPLOAD_BYTES && got === sent, `${received.bytes} bytes with sum ${got}, sent ${sent}`);
    }
    if (name === 'short') {
      this.rate('short', this.connections, text, cpu);
      this.check(name, text.includes('BAD 0'), text);
      await new Promise((r) => setTimeout(r, 2000));
      const after = usage(pid);
      this.left = { files: after.files - this.before.files, rss: after.rss - this.before.rss };
      this.check(name, open === 0 && this.left.files <= 2, `${open} connections and ${this.left.files} files of the process are left`);
    }
    if (name === 'ssh' && key !== null) {
      try {
        const said = execFileSync('ssh', ['-p', String(this.port), '-i', key, '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR', '-o', 'ConnectTimeout=120', 'root@127.0.0.1', 'echo IN as $USER on $(uname -s)'], { encoding: 'utf8', timeout: 180_000, stdio: ['ignore', 'pipe', 'pipe'] });
        this.check(name, said.includes('IN as root on Linux'), said);
      } catch (e) {
        this.check(name, false, e.stderr || e.message);
      }
    }
  }

  async off() {
    this.child.stdin.write(system === null ? 'poweroff -f\n' : 'poweroff\n');
    await new Promise((r) => (this.gone ? r() : this.child.once('exit', r)));
    clearTimeout(this.timer);
  }
}

let bad = 0;
const who = o.peer === 'none' ? ['ours'] : ['ours', 'qemu'];
for (const card of o.cards.split(',')) {
  // Both are there at the same time and take turns step by step, so that a host with other things to do is unfair to neither.
  const machines = [];
  for (const w of who) machines.push(new Guest(w, card, await freePort()));
  await Promise.all(machines.map((m) => m.login()));
  for (const [name, command] of STEPS) {
    const times = name === 'rate' || name === 'upload' ? Number(o.rounds) : 1;
    for (let round = 0; round < times; round++) for (const m of machines) await m.step(name, command);
  }
  for (const m of machines) {
    console.log(`${card.padEnd(8)} ${m.which.padEnd(5)} down ${m.best.down.toFixed(1)} MB/s  up ${m.best.up.toFixed(1)} MB/s  ${m.best.short.toFixed(0)} connections/s, ${m.left.files} more files, ${m.left.rss} MiB more`);
    for (const p of m.problems) console.log(`${card.padEnd(8)} ${m.which.padEnd(5)} WRONG: ${p}`);
    if (m.which === 'ours') bad += m.problems.length;
  }
  const [ours, qemu] = machines;
  if (qemu !== undefined) {
    const ratios = (f) => ['down', 'up', 'short'].map((k) => `${k} ${f(k).toFixed(2)}`).join('  ');
    console.log(`${card.padEnd(8)} ratio ${ratios((k) => ours.best[k] / qemu.best[k])}; per CPU second of the host ${ratios((k) => qemu.cost[k] / ours.cost[k])}`);
  }
  await Promise.all(machines.map((m) => m.off()));
}
http.close();
sink.close();
process.exitCode = bad > 0 ? 1 : 0;
