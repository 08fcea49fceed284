// bench/virtio: what virtio-blk carries beside QEMU's TCG, interleaved in one run: reading and writing in large pieces, small reads one after the
// other, programs that write 4 KiB and flush them. bench/net.mjs is the same for network cards.
//
//   node bench/virtio.mjs [--rounds 3] [--megabytes 128] [--requests 4000] [--accel jit] [--json FILE]
//
// The guest is Debian's cloud kernel with busybox (scripts/guest-files.mjs) and a raw disk image. Seconds are the guest's clock; the table shows medians
// and the ratio of the medians. What the guest reads is compared by checksum, what it writes on the host afterwards: status 1 if something was wrong.
import { spawn } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { busyboxInitramfs, debianKernel, VIRTIO_MODULES } from '../scripts/guest-files.mjs';

const text = (d) => ({ type: 'string', default: d });
const { values: o } = commandLine(import.meta.url, { options: { rounds: text('3'), megabytes: text('128'), requests: text('4000'), accel: text('jit'), minutes: text('5'), json: { type: 'string' } } });
const megabytes = Number(o.megabytes);
const requests = Number(o.requests);
const SMALL = 4096;
const MIB = 1 << 20;
const FLUSHED = 100;
if (requests * SMALL > (megabytes * MIB) / 2 || FLUSHED * SMALL > (megabytes * MIB) / 2) badUsage(import.meta.url, '--megabytes: too few for --requests');

const dir = mkdtempSync(join(tmpdir(), 'vmx-virtio-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const kernel = debianKernel();
const initrd = busyboxInitramfs({ kernel, modules: VIRTIO_MODULES });
const content = randomFillSync(Buffer.alloc(megabytes * MIB));
const md5 = (b) => createHash('md5').update(b).digest('hex');
const sum = md5(content);
const disk = join(dir, 'disk.img');

const NOW = "$(cut -d' ' -f1 /proc/uptime)";
const timed = (command) => `a=${NOW}; ${command}; b=${NOW}; echo TIME $a $b`;
const fresh = 'sync; echo 3 > /proc/sys/vm/drop_caches';
/** Commands, and how much they do: bytes for rates in MB/s, or requests. */
const STEPS = {
  read: { command: `${fresh}; ${timed(`dd if=/dev/vda of=/dev/null bs=1M count=${megabytes} 2>/dev/null`)}`, bytes: megabytes * MIB },
  'small reads': { command: `${fresh}; echo 0 > /sys/block/vda/queue/read_ahead_kb; ${timed(`dd if=/dev/vda of=/dev/null bs=${SMALL} count=${requests} 2>/dev/null`)}`, requests },
  check: { command: `echo 128 > /sys/block/vda/queue/read_ahead_kb; ${fresh}; md5sum < /dev/vda` },
  write: { command: timed(`dd if=/dev/zero of=/dev/vda bs=1M count=${megabytes / 2} conv=fsync 2>/dev/null`), bytes: (megabytes / 2) * MIB },
  'flushed writes': {
    command: timed(`i=0; while [ $i -lt ${FLUSHED} ]; do dd if=/dev/zero of=/dev/vda bs=${SMALL} seek=$((${(megabytes * MIB) / 2 / SMALL} + i)) count=1 conv=fsync 2>/dev/null; i=$((i+1)); done`),
    requests: FLUSHED,
  },
};

const cmdline = 'console=ttyS0 quiet';
const common = ['-kernel', kernel, '-initrd', initrd, '-append', cmdline];
const peers = {
  'vmx-accel': [process.execPath, [fileURLToPath(new URL('../dist/cli/main.js', import.meta.url)), 'boot', '--accel', o.accel, '--memory', '512M', ...common.map((a) => a.replace(/^-(?=[a-z])/, '--')), '--disk', `${disk},if=virtio,format=raw`]],
  tcg: ['qemu-system-x86_64', ['-accel', 'tcg', '-cpu', 'max', '-m', '512', '-nographic', '-no-reboot', ...common, '-drive', `file=${disk},if=virtio,format=raw,cache=writeback`]],
};

/** @returns seconds of each step. */
async function measure([cmd, args], problems) {
  writeFileSync(disk, content);
  const child = spawn(cmd, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), Number(o.minutes) * 60_000);
  let out = '';
  let wake = () => {};
  let gone = false;
  child.stdout.on('data', (d) => {
    out += d.toString('latin1');
    wake();
  });
  child.on('exit', () => ((gone = true), wake()));
  const until = async (pattern) => {
    for (;;) {
      const m = pattern.exec(out);
      if (m !== null) {
        out = out.slice(m.index + m[0].length);
        return m;
      }
      if (gone) throw new Error(`${cmd} ended; its console: ${out.slice(-500)}`);
      await new Promise((r) => (wake = r));
    }
  };
  await until(/~ # /);
  const seconds = {};
  for (const [name, { command }] of Object.entries(STEPS)) {
    child.stdin.write(`echo "<<"go">>"; ${command}; echo "<<"end">>"\n`);
    await until(/<<go>>\r?\n/);
    const said = (await until(/([^]*?)<<end>>\r?\n/))[1].replaceAll('\r', '');
    if (name === 'check') {
      if (!said.includes(sum)) problems.push(`read ${said.trim()} instead of ${sum}`);
      continue;
    }
    const t = /TIME ([\d.]+) ([\d.]+)/.exec(said);
    if (t === null) throw new Error(`${cmd}: ${name}: ${said}`);
    seconds[name] = Number(t[2]) - Number(t[1]);
  }
  clearTimeout(timer);
  await new Promise((resolve) => {
    child.once('close', resolve);
    child.kill('SIGKILL');
  });
  const half = content.length / 2;
  const after = readFileSync(disk);
  const zeros = Buffer.alloc(half);
  const small = FLUSHED * SMALL;
  if (!after.subarray(0, half).equals(zeros) || !after.subarray(half, half + small).equals(zeros.subarray(0, small))) problems.push('what was written and flushed is not on the disk');
  if (!after.subarray(half + small).equals(content.subarray(half + small))) problems.push('the disk has changed where nothing was written');
  return seconds;
}

const problems = [];
const samples = Object.fromEntries(Object.keys(peers).map((k) => [k, []]));
for (let r = 0; r < Number(o.rounds); r++) {
  for (const [name, cmd] of Object.entries(peers)) {
    const found = [];
    samples[name].push(await measure(cmd, found));
    problems.push(...found.map((p) => `${name}, round ${r + 1}: ${p}`));
  }
}
const median = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];
const result = { bench: 'virtio', date: new Date().toISOString().slice(0, 10), host: cpus()[0]?.model ?? '', node: process.version, rounds: Number(o.rounds), seconds: {}, ratio: {} };
console.log(`${'step'.padEnd(16)} ${Object.keys(peers).map((p) => p.padStart(16)).join('')}  time, vmx-accel / tcg`);
for (const [step, { bytes, requests: n }] of Object.entries(STEPS)) {
  if (step === 'check') continue;
  // The clock's resolution is 10 ms.
  const s = Object.fromEntries(Object.keys(peers).map((p) => [p, Math.max(median(samples[p].map((x) => x[step])), 0.01)]));
  result.seconds[step] = s;
  result.ratio[step] = s['vmx-accel'] / s.tcg;
  const shown = (t) => (bytes === undefined ? `${((t * 1e6) / n).toFixed(0)} us each` : `${(bytes / 1e6 / t).toFixed(0)} MB/s`).padStart(16);
  console.log(`${step.padEnd(16)} ${Object.values(s).map(shown).join('')}  ${result.ratio[step].toFixed(2)}`);
}
for (const p of problems) console.log(p);
if (o.json) writeFileSync(o.json, `${JSON.stringify({ ...result, samples, problems }, null, 2)}\n`);
process.exitCode = problems.length > 0 ? 1 : 0;
