// bench/kvm-unit-tests: kvm-unit-tests on vmx-accel, and on request on QEMU's TCG beside it.
//   node bench/kvm-unit-tests.mjs --tree DIR [--arch x86_64|i386|arm64|riscv64] [--accel jit|interp] [--only NAME[,NAME]] [--qemu]
//        [--timeout 60] [--log DIR] [--json FILE] [--verbose]
// DIR is a checkout of kvm-unit-tests, configured and built for that architecture. Runs the tests of its unittests.cfg one
// after another, except those of nested virtualisation (groups vmx and svm) and those outside the default set (nodefault).
// `accel = kvm` and `check` are ignored: what a test needs it finds out itself.
// On x86 a test ends through isa-debug-exit: (0 << 1) | 1 is a pass, 77 a skip, all else a failure. On the others it says
// "EXIT: STATUS=n" with the same numbers on the console.
import { spawn, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { badUsage, commandLine } from '../scripts/command-line.mjs';

const { values: o } = commandLine(import.meta.url, {
  options: {
    tree: { type: 'string' }, arch: { type: 'string', default: 'x86_64' }, accel: { type: 'string', default: 'jit' }, only: { type: 'string' },
    qemu: { type: 'boolean', default: false }, 'qemu-only': { type: 'boolean', default: false }, 'qemu-bin': { type: 'string' },
    timeout: { type: 'string', default: '60' }, log: { type: 'string' }, json: { type: 'string' }, verbose: { type: 'boolean', default: false },
  },
});
/** Folder of the tests and what QEMU is called, by architecture. */
const ARCHES = {
  x86_64: { folder: 'x86', qemu: 'qemu-system-x86_64' },
  i386: { folder: 'x86', qemu: 'qemu-system-x86_64' },
  arm64: { folder: 'arm', qemu: 'qemu-system-aarch64', ours: 'aarch64' },
  riscv64: { folder: 'riscv', qemu: 'qemu-system-riscv64', ours: 'riscv64' },
};
const arch = ARCHES[o.arch];
if (arch === undefined) badUsage(import.meta.url, `--arch: ${o.arch} is none of ${Object.keys(ARCHES).join(', ')}`);
if (o.tree === undefined || !existsSync(join(o.tree, arch.folder, 'unittests.cfg'))) badUsage(import.meta.url, '--tree: has to name a checkout of kvm-unit-tests, built');
/** What `$MAX_SMP` of unittests.cfg stands for. */
const MAX_SMP = 4;
const cli = new URL('../dist/cli/vmx-accel.cjs', import.meta.url).pathname;

/** Sections of unittests.cfg: { name, file, smp, args, params, arch, groups, accel, timeout }. */
function readConfig(text) {
  const tests = [];
  let cur = null;
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const section = /^\[(.*)\]$/.exec(line);
    if (section) tests.push((cur = { name: section[1], smp: 1, args: '', params: '', groups: [] }));
    const kv = /^(\w+)\s*=\s*(.*)$/.exec(line);
    if (!cur || !kv) continue;
    const [, k, v] = kv;
    if (k === 'smp') cur.smp = /MAX_SMP *< *3/.test(v) ? 3 : v.includes('MAX_SMP') ? MAX_SMP : Number(v);
    else if (k === 'timeout') cur[k] = Number.parseInt(v);
    else if (k === 'test_args') cur.args = v;
    else if (k === 'qemu_params' || k === 'extra_params') cur.params = v;
    else if (k === 'groups') cur.groups = v.split(/\s+/);
    else cur[k] = v;
  }
  return tests;
}

/** The arguments of a test are a word of shell: quotes, and commands in backquotes. Only `date` occurs. */
function shellText(v) {
  return v.replace(/^(['"])(.*)\1$/, '$2').replaceAll('$MAX_SMP', String(MAX_SMP)).replace(/`date \+%s`/g, () => String(Math.floor(Date.now() / 1000)));
}

/** The -cpu, -m and other parameters meant for QEMU. */
function split(params) {
  const words = params.split(/\s+/).filter(Boolean);
  const r = { cpu: null, memory: '128', machine: '', rest: [] };
  for (let i = 0; i < words.length; i++) {
    if (words[i] === '-cpu') r.cpu = words[++i];
    else if (words[i] === '-machine') r.machine = `,${words[++i]}`;
    else if (words[i] === '-m') r.memory = words[++i];
    else if (words[i] !== '-enable-kvm') r.rest.push(words[i]);
  }
  return r;
}

/** KVM's CPU model `host` is the best there is; properties that only choose between host and guest are dropped. */
function cpuFor(spec, peer) {
  if (spec === null) return 'max';
  const parts = spec.split(',').filter((p) => !/^(host-phys-bits|migratable|hv_)/.test(p));
  if (parts[0] === 'host') parts[0] = 'max';
  if (peer === 'qemu') return parts.join(',');
  // Models of real processors: their features are a subset of a level of the x86-64 ABI.
  const like = { IvyBridge: 'x86-64-v2', Opteron_G1: 'x86-64-v1' };
  parts[0] = like[parts[0]] ?? parts[0];
  // Nested virtualisation is not there to be switched on or off.
  return parts.filter((p) => !/^[+-](svm|vmx|npt|skinit)/.test(p)).join(',');
}

/** vmx-accel has 3 GiB at most. */
const memoryMiB = (text) => Math.min(3072, /g$/i.test(text) ? Number.parseInt(text) * 1024 : Number.parseInt(text));

function command(test, peer) {
  const p = split(test.params);
  const flat = join(o.tree, arch.folder, test.file);
  if (arch.ours !== undefined) return virtCommand(test, peer, p, flat);
  if (peer === 'qemu') {
    const bin = o['qemu-bin'] ?? arch.qemu;
    return [bin, [
      '-nodefaults', '-no-reboot', '-accel', 'tcg', '-display', 'none', '-serial', 'stdio', '-device', 'pc-testdev', '-device', 'isa-debug-exit,iobase=0xf4,iosize=0x4',
      '-device', 'pci-testdev', '-cpu', cpuFor(p.cpu, peer), '-m', p.memory, '-smp', String(test.smp), ...p.rest, '-kernel', flat,
      ...(test.args ? ['-append', shellText(test.args)] : []),
    ]];
  }
  return [process.execPath, [
    cli, 'boot', '--accel', o.accel, '--cpu', cpuFor(p.cpu, peer), '--cpus', String(test.smp), '--memory', `${memoryMiB(p.memory)}M`, '--no-reboot',
    '--device', 'isa-debug-exit', '--device', 'pc-testdev', '--serial', 'stdio', '--kernel', flat, ...(test.args ? ['--append', shellText(test.args)] : []),
  ]];
}

/** The boards `virt`. */
function virtCommand(test, peer, p, flat) {
  const append = test.args ? ['-append', shellText(test.args)] : [];
  if (peer === 'qemu') {
    const console = o.arch === 'arm64' ? ['-device', 'virtio-serial-device', '-device', 'virtconsole,chardev=ctd', '-chardev', 'testdev,id=ctd', '-device', 'pci-testdev'] : [];
    return [o['qemu-bin'] ?? arch.qemu, [
      '-nodefaults', '-accel', 'tcg', '-display', 'none', '-serial', 'stdio', '-machine', `virt${p.machine}`, '-cpu', 'max', ...console, '-m', p.memory, '-smp', String(test.smp), ...p.rest,
      '-kernel', flat, ...append,
    ]];
  }
  return [process.execPath, [
    cli, 'boot', '--accel', o.accel, '--arch', arch.ours, '--machine', `virt${p.machine}`, '--cpus', String(test.smp), '--memory', `${memoryMiB(p.memory)}M`, '--serial', 'stdio', '--kernel', flat,
    ...(o.arch === 'arm64' ? ['--device', 'pci-testdev'] : []), ...append.map((w) => w.replace(/^-append$/, '--append')),
  ]];
}

/** The verdict. */
function verdict(code, out) {
  if (arch.ours === undefined && /^(vmx-accel|qemu-system\S*):/m.test(out)) return 'FAIL';
  const status = arch.ours === undefined ? code : Number(/^EXIT: STATUS=(\d+)/m.exec(out)?.[1] ?? -1);
  // Where exit() is told the status as it is, a skip is 77; on arm64 it is shifted as for the debug-exit device.
  return status === 1 ? 'PASS' : status === 77 || status === ((77 << 1) | 1) ? 'SKIP' : 'FAIL';
}

function runOne(test, peer) {
  const [cmd, args] = command(test, peer);
  const seconds = Math.max(Number(o.timeout), test.timeout ?? 0);
  return new Promise((resolve) => {
    const t0 = process.hrtime.bigint();
    const p = spawn(cmd, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      p.kill('SIGKILL');
    }, seconds * 1000);
    p.stdout.on('data', (d) => (out += d.toString('latin1')));
    p.stderr.on('data', (d) => (out += d.toString('latin1')));
    p.on('error', (e) => (out += `${e.message}\n`));
    p.on('close', (code) => {
      clearTimeout(timer);
      const result = timedOut ? 'TIMEOUT' : verdict(code, out);
      if (o.log !== undefined) {
        mkdirSync(o.log, { recursive: true });
        writeFileSync(join(o.log, `${test.name}.${peer === 'qemu' ? 'qemu' : o.accel}.log`), `${cmd} ${args.join(' ')}\n${out}\nstatus ${code}\n`);
      }
      const failures = out.split('\n').filter((l) => /^FAIL/.test(l));
      resolve({ result, code, seconds: Number(process.hrtime.bigint() - t0) / 1e9, failures, tail: out.trimEnd().split('\n').slice(-3) });
    });
  });
}

const only = o.only?.split(',');
const all = readConfig(readFileSync(join(o.tree, arch.folder, 'unittests.cfg'), 'utf8'));
const tests = all.filter((t) => {
  if (only) return only.includes(t.name);
  return (t.arch === undefined || t.arch === o.arch) && !t.groups.some((g) => g === 'vmx' || g === 'svm' || g === 'nodefault');
});
const peers = [...(o['qemu-only'] ? [] : [o.accel]), ...(o.qemu || o['qemu-only'] ? ['qemu'] : [])];
const rows = [];
process.stdout.write(`${'test'.padEnd(44)}${peers.map((p) => p.padEnd(18)).join('')}\n`);
for (const t of tests) {
  const row = { name: t.name };
  process.stdout.write(t.name.padEnd(44));
  for (const peer of peers) {
    const r = existsSync(join(o.tree, arch.folder, t.file)) ? await runOne(t, peer) : { result: 'SKIP', seconds: 0, failures: [], tail: [`${t.file} is not built`] };
    row[peer] = r;
    process.stdout.write(`${r.result} ${r.seconds.toFixed(1)}s`.padEnd(18));
  }
  process.stdout.write('\n');
  if (o.verbose) {
    for (const peer of peers) {
      const r = row[peer];
      if (r.result === 'PASS') continue;
      for (const l of [...r.failures.slice(0, 5), ...(r.failures.length === 0 ? r.tail : [])]) process.stdout.write(`    ${peer}: ${l}\n`);
    }
  }
  rows.push(row);
}
for (const peer of peers) {
  const count = (k) => rows.filter((r) => r[peer].result === k).length;
  process.stdout.write(`${peer}: ${count('PASS')} of ${rows.length} pass, ${count('FAIL')} fail, ${count('TIMEOUT')} time out, ${count('SKIP')} skip\n`);
}
if (o.json !== undefined) writeFileSync(o.json, `${JSON.stringify(rows, null, 2)}\n`);
try {
  if (peers.includes('qemu')) process.stdout.write(execFileSync(o['qemu-bin'] ?? arch.qemu, ['--version'], { encoding: 'utf8' }).split('\n')[0] + '\n');
} catch {
  // The version is a courtesy.
}
