// bench/profile-set: where the time of a boot and of each guest program goes, by V8's profiler in the machine's worker, and beside it QEMU's TCG by perf.
//   node bench/profile-set.mjs [--arch x86_64|i386|aarch64|riscv64] [--only int,fp] [--kernel F --initrd F] [--memory 512] [--qemu F] [--json FILE]
// Needs the guest benchmark set (see bench/compute.mjs) and, for the peer, QEMU and perf; without them the peer is left out. One boot of each; a program's samples are those
// between its line on the console and as many seconds before as the line says. QEMU's functions without an exported name count as the one before them in the file that has one.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { archOf, ARCH_NAMES, prebuilt } from './archs.mjs';
import { peerSamples, shares, workerSamples } from './profile-samples.mjs';

const { values: o } = commandLine(import.meta.url, {
  options: {
    arch: { type: 'string', default: 'x86_64' }, only: { type: 'string', default: 'all' }, kernel: { type: 'string' }, initrd: { type: 'string' }, memory: { type: 'string', default: '512' },
    qemu: { type: 'string' }, json: { type: 'string' }, timeout: { type: 'string', default: '600' },
  },
});
const arch = archOf(o.arch);
if (arch === undefined) badUsage(import.meta.url, `--arch: ${o.arch} is none of ${ARCH_NAMES.join(', ')}`);
const dir = mkdtempSync(join(tmpdir(), 'vmx-profile-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const kernel = o.kernel ?? arch.kernel();
const initrd = o.initrd ?? prebuilt(`initramfs-${arch.name}.cpio.gz`);
const append = `console=${arch.console} quiet bench=${o.only}`;
const cli = new URL('../dist/cli/vmx-accel.cjs', import.meta.url).pathname;
const found = spawnSync('sh', ['-c', 'command -v "$1" && command -v perf', 'sh', o.qemu ?? arch.qemu], { encoding: 'utf8' });
const qemu = found.status === 0 ? found.stdout.split('\n')[0] : null;
if (qemu === null) console.error(`${o.qemu ?? arch.qemu} or perf is not there: no peer`);
const data = join(dir, 'perf.data');

const COMMANDS = {
  'vmx-accel': [process.execPath, [
    '--cpu-prof', `--cpu-prof-dir=${dir}`, '--cpu-prof-interval', '250', cli, 'boot', '--accel', 'jit', '--aot', 'off', '--memory', `${o.memory}M`, '--kernel', kernel, '--initrd', initrd,
    '--append', append, '--no-reboot', ...arch.vmx,
  ]],
  tcg: ['perf', [
    'record', '-q', '-k', 'CLOCK_MONOTONIC', '-F', '3000', '-o', data, qemu, '-accel', 'tcg', ...arch.qemuArgs, '-m', o.memory, '-nographic', '-no-reboot', '-kernel', kernel, '-initrd', initrd, '-append', append,
  ]],
};

/** @returns [what, from, to] of a run: its boot and its programs, in seconds of the monotonic clock. */
function run([cmd, args]) {
  return new Promise((resolve, reject) => {
    const now = () => Number(process.hrtime.bigint()) / 1e9;
    const windows = [];
    const start = now();
    // Categories of our own go by file, so not the program in one file.
    const p = spawn(cmd, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, VMX_ACCEL_PROGRAM: 'modules' } });
    const timer = setTimeout(() => p.kill('SIGKILL'), Number(o.timeout) * 1000);
    let text = '';
    p.on('error', reject);
    p.stdout.on('data', (d) => {
      text += d.toString('latin1');
      if (windows.length === 0 && text.includes('BOOT-OK')) windows.push(['boot', start, now()]);
      const lines = [...text.matchAll(/^BENCH (\w+) ([\d.]+) [0-9a-f]{16}/gm)];
      for (const [, name, seconds] of lines.slice(Math.max(windows.length - 1, 0))) windows.push([name, now() - Number(seconds), now()]);
    });
    p.on('close', (status, signal) => {
      clearTimeout(timer);
      if (status !== 0 || windows.length < 2) reject(new Error(`${cmd}: ${signal ?? `status ${status}`}; last output:\n${text.slice(-600)}`));
      else resolve(windows);
    });
  });
}

// The finer categories are in the JSON file.
const COLUMNS = [
  ['generated code', ['generated code']],
  ['translation', ['translation', 'code writes']],
  ['look-up', ['block look-up']],
  ['memory', ['page walks, slow accesses', 'TLB flushes', 'string helpers']],
  ['helpers', ['other helpers', 'softfloat', 'exceptions, interrupts']],
];
const cells = (list) => {
  const of = new Map(list);
  const columns = COLUMNS.map(([, names]) => names.reduce((sum, n) => sum + (of.get(n) ?? 0), 0));
  return [...columns, Math.max(0, 1 - columns.reduce((a, b) => a + b, 0))].map((v) => (list.length === 0 ? '-' : (v * 100).toFixed(0)));
};

const result = {};
for (const [peer, command] of Object.entries(COMMANDS)) {
  if (peer === 'tcg' && qemu === null) continue;
  const windows = await run(command);
  const samples = peer === 'tcg' ? peerSamples(data, qemu) : workerSamples(dir);
  for (const [what, from, to] of windows) (result[what] ??= {})[peer] = { seconds: to - from, shares: Object.fromEntries(shares(samples, from, to)) };
}
const names = [...COLUMNS.map(([n]) => n), 'rest'];
console.log(`| of 100 | s | ${names.join(' | ')} | TCG s | ${names.join(' | ')} |`);
console.log(`|${'---|'.repeat(3 + 2 * names.length)}`);
for (const [what, of] of Object.entries(result)) {
  const half = (r) => (r === undefined ? ['-', ...names.map(() => '-')] : [r.seconds.toFixed(2), ...cells(Object.entries(r.shares))]);
  console.log(`| ${what} | ${[...half(of['vmx-accel']), ...half(of.tcg)].join(' | ')} |`);
}
if (o.json) writeFileSync(o.json, `${JSON.stringify({ bench: 'profile-set', arch: arch.name, of: result }, null, 2)}\n`);
