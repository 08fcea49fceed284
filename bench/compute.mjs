// bench/compute: the guest benchmark set, vmx-accel against QEMU's TCG (and natively), interleaved in one run.
//   node bench/compute.mjs [--arch x86_64|i386|aarch64|riscv64] [--only NAMES] [--rounds 3] [--reps 1] [--peers vmx,tcg,native] [--accel jit] [--memory 512]
//                          [--clock guest|cpu] [--kernel F] [--initrd F] [--vmx-arg ARG]... [--timeout 600] [--json FILE]
// Each round boots the set once per peer and runs every program in it `reps` times. Seconds are those the programs print (the guest's clock), or
// with --clock cpu, on a machine with other work, the CPU time of the process from one line of the guest's to the next (the first line of a
// boot does not count: reps is at least 2); the table shows medians over all rounds and the ratio of the medians. Every run of a program has to print the same checksum, natively too:
// exit status 1 if one does not, or if a peer lacks a program.
//
// The set is an initramfs whose init understands `bench=` and `reps=` on the kernel command line, prints `BENCH name seconds checksum`
// and powers off, with a static /bin/bench that runs natively as well.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { archOf, ARCH_NAMES, prebuilt } from './archs.mjs';

const { values: o } = commandLine(import.meta.url, {
  options: {
    arch: { type: 'string', default: 'x86_64' }, only: { type: 'string', default: 'all' }, rounds: { type: 'string', default: '3' },
    reps: { type: 'string', default: '1' }, peers: { type: 'string', default: 'vmx,tcg' }, accel: { type: 'string', default: 'jit' },
    memory: { type: 'string', default: '512' }, kernel: { type: 'string' }, initrd: { type: 'string' },
    'vmx-arg': { type: 'string', multiple: true, default: [] }, qemu: { type: 'string' }, timeout: { type: 'string', default: '600' },
    json: { type: 'string' }, clock: { type: 'string', default: 'guest' },
  },
});

const usage = (message) => badUsage(import.meta.url, message);

const arch = archOf(o.arch);
if (arch === undefined) usage(`--arch: ${o.arch} is none of ${ARCH_NAMES.join(', ')}`);
if (!['guest', 'cpu'].includes(o.clock)) usage(`--clock: ${o.clock} is none of guest, cpu`);
if (o.clock === 'cpu' && Number(o.reps) < 2) usage('--clock cpu: --reps has to be 2 or more');
const peers = o.peers.split(',');
for (const p of peers) if (!['vmx', 'tcg', 'native'].includes(p)) usage(`--peers: ${p} is none of vmx, tcg, native`);
const initrd = o.initrd ?? prebuilt(`initramfs-${arch.name}.cpio.gz`);
if (!existsSync(initrd)) usage(`--initrd: no file ${initrd}`);
const kernel = o.kernel ?? arch.kernel();
if (!existsSync(kernel)) usage(`--kernel: no file ${kernel}`);

/** A file of a cpio archive in the "newc" format (cpio(5)). */
function fromArchive(file, name) {
  const a = gunzipSync(readFileSync(file));
  for (let p = 0; a.toString('latin1', p, p + 6) === '070701'; ) {
    const field = (i) => parseInt(a.toString('latin1', p + 6 + 8 * i, p + 14 + 8 * i), 16);
    const size = field(6);
    const at = p + 110;
    const data = (at + field(11) + 3) & ~3;
    if (a.toString('latin1', at, at + field(11) - 1).replace(/^\.?\//, '') === name) return a.subarray(data, data + size);
    p = (data + size + 3) & ~3;
  }
  return null;
}

const dir = mkdtempSync(join(tmpdir(), 'compute-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const program = join(dir, 'bench');
const image = fromArchive(initrd, 'bin/bench');
if (image === null) usage(`--initrd: ${initrd} has no bin/bench`);
writeFileSync(program, image, { mode: 0o755 });
/** Group of each program, as far as this machine can run the set (QEMU's user emulation serves for other architectures). */
const groups = new Map();
const list = spawnSync(arch.user ?? program, arch.user === undefined ? ['--list'] : [program, '--list'], { encoding: 'utf8' });
if (list.status === 0) for (const l of list.stdout.split('\n')) if (/^\w/.test(l)) groups.set(l.split(/\s+/)[1], l.split(/\s+/)[0]);

const append = `console=${arch.console} quiet bench=${o.only} reps=${o.reps}`;
const cli = fileURLToPath(new URL('../dist/cli/vmx-accel.cjs', import.meta.url));
const commands = {
  vmx: [process.execPath, [cli, 'boot', '--accel', o.accel, '--memory', `${o.memory}M`, '--kernel', kernel, '--initrd', initrd, '--append', append, '--no-reboot', ...arch.vmx, ...o['vmx-arg']]],
  tcg: [o.qemu ?? arch.qemu, ['-accel', 'tcg', ...arch.qemuArgs, '-m', o.memory, '-nographic', '-no-reboot', '-kernel', kernel, '-initrd', initrd, '-append', append]],
  native: [program, ['-r', o.reps, ...o.only.split(',')]],
};

/** Seconds of CPU time of a process and its threads (proc(5), fields 14 and 15 of stat, in units of 10 ms). */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** @returns the BENCH lines of one run: name, seconds, checksum. */
function run(peer) {
  const [cmd, args] = commands[peer];
  const byCpu = o.clock === 'cpu' && peer !== 'native';
  return new Promise((resolve, reject) => {
    const p = spawn(cmd, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    const lines = [];
    let before = -1;
    p.stdout.on('data', (d) => {
      text += d.toString('latin1');
      const all = [...text.matchAll(/^BENCH (\w+) ([\d.]+) ([0-9a-f]{16})/gm)];
      if (all.length === lines.length) return;
      const now = byCpu ? cpuSeconds(p.pid) : 0;
      for (const [, name, seconds, sum] of all.slice(lines.length)) {
        lines.push({ name, sum, seconds: !byCpu ? Number(seconds) : before < 0 ? null : Math.max(now - before, 0.01) });
        before = now;
      }
    });
    p.stderr.on('data', (d) => (text += d.toString('latin1')));
    const timer = setTimeout(() => p.kill('SIGKILL'), Number(o.timeout) * 1000);
    p.on('error', reject);
    p.on('close', (status, signal) => {
      clearTimeout(timer);
      if (status !== 0 || lines.length === 0) reject(new Error(`${peer}: ${signal ?? `status ${status}`} after ${lines.length} results; last output:\n${text.slice(-800)}`));
      else resolve(lines);
    });
  });
}

/** name -> peer -> seconds; name -> checksum -> who printed it. */
const times = new Map();
const sums = new Map();
for (let r = 0; r < Number(o.rounds); r++) {
  for (const peer of peers) {
    for (const { name, seconds, sum } of await run(peer)) {
      if (!times.has(name)) {
        times.set(name, Object.fromEntries(peers.map((p) => [p, []])));
        sums.set(name, new Map());
      }
      if (seconds !== null) times.get(name)[peer].push(seconds);
      const by = sums.get(name);
      if (!by.has(sum)) by.set(sum, new Set());
      by.get(sum).add(peer);
    }
    if (process.stderr.isTTY) process.stderr.write(`round ${r + 1} ${peer}\n`);
  }
}

const median = (a) => [...a].sort((x, y) => x - y)[Math.floor(a.length / 2)];
const geomean = (a) => Math.exp(a.reduce((s, x) => s + Math.log(x), 0) / a.length);
let failed = false;
const rows = [];
for (const [name, t] of times) {
  const by = sums.get(name);
  const missing = peers.filter((p) => t[p].length === 0);
  if (by.size !== 1) {
    failed = true;
    console.log(`${name}: checksums differ: ${[...by].map(([s, w]) => `${s} (${[...w].join(', ')})`).join(', ')}`);
  }
  if (missing.length > 0) {
    failed = true;
    console.log(`${name}: no result from ${missing.join(', ')}`);
    continue;
  }
  rows.push({ name, group: groups.get(name) ?? '', sum: [...by.keys()].join(' '), seconds: t, median: Object.fromEntries(peers.map((p) => [p, Math.max(median(t[p]), 1e-6)])) });
}

const base = peers[0];
const others = peers.slice(1);
console.log(['program'.padEnd(11), 'group', ...peers.map((p) => p.padStart(9)), ...others.map((p) => `${base}/${p}`.padStart(11))].join(' '));
for (const r of rows) {
  console.log([r.name.padEnd(11), r.group.padEnd(5), ...peers.map((p) => r.median[p].toFixed(4).padStart(9)), ...others.map((p) => (r.median[base] / r.median[p]).toFixed(3).padStart(11))].join(' '));
}
const means = {};
for (const p of others) {
  const ratios = (rs) => geomean(rs.map((r) => r.median[base] / r.median[p]));
  means[p] = { all: ratios(rows) };
  for (const g of new Set(rows.map((r) => r.group))) if (g !== '') means[p][g] = ratios(rows.filter((r) => r.group === g));
  console.log(`geometric mean ${base}/${p}: ${Object.entries(means[p]).map(([g, m]) => `${g} ${m.toFixed(3)}`).join('  ')}`);
}
if (o.json) {
  const result = {
    bench: 'compute', date: new Date().toISOString().slice(0, 10), host: cpus()[0]?.model ?? '', node: process.version, arch: arch.name, accel: o.accel,
    memory: o.memory, rounds: Number(o.rounds), reps: Number(o.reps), programs: rows, geomean: means,
  };
  writeFileSync(o.json, `${JSON.stringify(result, null, 2)}\n`);
}
process.exit(failed ? 1 : 0);
