// bench/profile: where the time of a run goes, by V8's sampling profiler in the machine's worker, and why generated code is left.
//   node bench/profile.mjs [--bench syscall,mmap] [--kernel F --initrd F] [--memory 512] [--json FILE] [-- further options of boot] (without the code cache)
// Without --bench: boot to user space. With it the initramfs must be one of the guest benchmark set (see bench/compute.mjs), given by --initrd.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { shares, workerSamples } from './profile-samples.mjs';
import { busyboxInitramfs, debianKernel } from '../scripts/guest-files.mjs';

const { values: o, positionals } = commandLine(import.meta.url, {
  allowPositionals: true,
  options: {
    bench: { type: 'string' }, kernel: { type: 'string' }, initrd: { type: 'string' }, memory: { type: 'string', default: '512' },
    json: { type: 'string' }, timeout: { type: 'string', default: '300' },
  },
});
if (o.bench !== undefined && o.initrd === undefined) badUsage(import.meta.url, '--bench: needs --initrd with the initramfs of the guest benchmark set');
const dir = mkdtempSync(join(tmpdir(), 'vmx-profile-'));
const stats = join(dir, 'stats.json');
const cli = new URL('../dist/cli/vmx-accel.cjs', import.meta.url).pathname;
const args = [
  '--cpu-prof', `--cpu-prof-dir=${dir}`, '--cpu-prof-interval', '500', cli, 'boot', '--accel', 'jit', '--aot', 'off', '--memory', `${o.memory}M`, '--kernel', o.kernel ?? debianKernel(),
  '--initrd', o.initrd ?? busyboxInitramfs(), '--append', o.bench === undefined ? 'console=ttyS0' : `console=ttyS0 console=ttyAMA0 quiet bench=${o.bench}`, '--no-reboot',
  '--stats', stats, '--timeout', o.timeout, ...(o.bench === undefined ? ['--exit-on', 'USER SPACE REACHED'] : []), ...positionals,
];
// Categories go by file.
const run = spawnSync(process.execPath, args, { encoding: 'latin1', stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, VMX_ACCEL_PROGRAM: 'modules' } });
if (run.status !== 0) {
  console.error(`the run ended with status ${run.status}; last output:\n${run.stdout.slice(-600)}`);
  process.exit(1);
}

const samples = workerSamples(dir);
const all = samples.reduce((sum, x) => sum + x.us, 0);
const s = JSON.parse(readFileSync(stats, 'utf8'));
rmSync(dir, { recursive: true });
const parts = Object.fromEntries(shares(samples));
console.log(`${o.bench ?? 'boot to user space'}: ${(all / 1e6).toFixed(2)} s in the machine's worker`);
for (const [k, v] of Object.entries(parts)) console.log(`${(v * 100).toFixed(1).padStart(6)} %  ${k}`);
const { entries, exits, loads, stores, calls, faults, codeWrites, blocks, insns, translateNs } = s.engine;
console.log(`entries ${entries}, exits ${exits}, loads ${loads}, stores ${stores}, calls ${calls}, faults ${faults}, code writes ${codeWrites}`);
console.log(`${blocks} blocks, ${insns} instructions translated, ${(translateNs / Math.max(insns, 1)).toFixed(0)} ns each`);
console.log(`helpers: ${Object.entries(s.helpers).slice(0, 12).map(([k, v]) => `${k} ${v}`).join(', ')}`);
if (o.json) writeFileSync(o.json, `${JSON.stringify({ bench: 'profile', of: o.bench ?? 'boot', seconds: all / 1e6, shares: parts, engine: s.engine, helpers: s.helpers }, null, 2)}\n`);
