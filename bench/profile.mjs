// bench/profile: where the time of a run goes, by V8's sampling profiler in the machine's worker, and why generated code is left.
//   node bench/profile.mjs [--bench syscall,mmap] [--kernel F --initrd F] [--memory 512] [--json FILE] [-- further options of boot] (without the code cache)
// Without --bench: boot to user space. With it the initramfs must be one of the guest benchmark set (see bench/compute.mjs), given by --initrd.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { busyboxInitramfs, debianKernel } from '../scripts/guest-files.mjs';

const { values: o, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bench: { type: 'string' }, kernel: { type: 'string' }, initrd: { type: 'string' }, memory: { type: 'string', default: '512' },
    json: { type: 'string' }, timeout: { type: 'string', default: '300' },
  },
});
if (o.bench !== undefined && o.initrd === undefined) {
  console.error('--bench: needs --initrd with the initramfs of the guest benchmark set');
  process.exit(2);
}
const dir = mkdtempSync(join(tmpdir(), 'vmx-profile-'));
const stats = join(dir, 'stats.json');
const cli = new URL('../dist/cli/vmx-accel.cjs', import.meta.url).pathname;
const args = [
  '--cpu-prof', `--cpu-prof-dir=${dir}`, '--cpu-prof-interval', '500', cli, 'boot', '--accel', 'jit', '--aot', 'off', '--memory', `${o.memory}M`, '--kernel', o.kernel ?? debianKernel(),
  '--initrd', o.initrd ?? busyboxInitramfs(), '--append', o.bench === undefined ? 'console=ttyS0' : `console=ttyS0 console=ttyAMA0 quiet bench=${o.bench}`, '--no-reboot',
  '--stats', stats, '--timeout', o.timeout, ...(o.bench === undefined ? ['--exit-on', 'USER SPACE REACHED'] : []), ...positionals,
];
// The categories below go by file.
const run = spawnSync(process.execPath, args, { encoding: 'latin1', stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, VMX_ACCEL_PROGRAM: 'modules' } });
if (run.status !== 0) {
  console.error(`the run ended with status ${run.status}; last output:\n${run.stdout.slice(-600)}`);
  process.exit(1);
}

/** Categories by file (and function) of the innermost frame that belongs to one; the first match counts. */
const CATEGORIES = [
  ['generated code', (f) => f.file === 'host.js' && (f.name === 'enter' || f.name === 'resume')],
  ['translation', (f) => f.file === 'engine.js' && f.name === 'translate'],
  ['code writes', (f) => f.file === 'engine.js' && f.name === 'codeWrite'],
  ['block look-up', (f) => f.file === 'engine.js' && (f.name === 'lookup' || f.name === 'find')],
  ['exceptions, interrupts', (f) => f.file === 'interrupts.js'],
  ['string helpers', (f) => f.file === 'strings.js'],
  ['page walks, slow accesses', (f) => f.file === 'mmu.js'],
  ['other helpers', (f) => /^helpers.*\.js$|^transfer\.js$|^control\.js$|^msr\.js$/.test(f.file)],
  ['interpreter', (f) => f.file === 'interp.js'],
  ['run loop', (f) => f.file === 'engine.js'],
  ['garbage collection', (f) => f.name === '(garbage collector)'],
];
const total = new Map();
let all = 0;
for (const name of readdirSync(dir).filter((n) => n.endsWith('.cpuprofile'))) {
  const p = JSON.parse(readFileSync(join(dir, name), 'utf8'));
  const nodes = new Map(p.nodes.map((n) => [n.id, n]));
  // The machine's worker is the profile in which generated code runs.
  const frame = (n) => ({ file: n.callFrame.url.split('/').pop(), name: n.callFrame.functionName });
  if (!p.nodes.some((n) => frame(n).file === 'host.js' && n.callFrame.functionName === 'enter')) continue;
  const parent = new Map();
  for (const n of p.nodes) for (const c of n.children ?? []) parent.set(c, n.id);
  const category = new Map();
  for (const n of p.nodes) {
    let found = 'everything else';
    for (let id = n.id; id !== undefined; id = parent.get(id)) {
      const f = frame(nodes.get(id));
      const c = CATEGORIES.find(([, is]) => is(f));
      if (c !== undefined) {
        found = c[0];
        break;
      }
    }
    category.set(n.id, found);
  }
  p.samples.forEach((id, i) => {
    const c = category.get(id);
    total.set(c, (total.get(c) ?? 0) + p.timeDeltas[i]);
    all += p.timeDeltas[i];
  });
}
const s = JSON.parse(readFileSync(stats, 'utf8'));
rmSync(dir, { recursive: true });
const shares = Object.fromEntries([...total].sort((a, b) => b[1] - a[1]).map(([k, v]) => [k, v / all]));
console.log(`${o.bench ?? 'boot to user space'}: ${(all / 1e6).toFixed(2)} s in the machine's worker`);
for (const [k, v] of Object.entries(shares)) console.log(`${(v * 100).toFixed(1).padStart(6)} %  ${k}`);
const { entries, exits, loads, stores, calls, faults, codeWrites, blocks, insns, translateNs } = s.engine;
console.log(`entries ${entries}, exits ${exits}, loads ${loads}, stores ${stores}, calls ${calls}, faults ${faults}, code writes ${codeWrites}`);
console.log(`${blocks} blocks, ${insns} instructions translated, ${(translateNs / Math.max(insns, 1)).toFixed(0)} ns each`);
console.log(`helpers: ${Object.entries(s.helpers).slice(0, 12).map(([k, v]) => `${k} ${v}`).join(', ')}`);
if (o.json) writeFileSync(o.json, `${JSON.stringify({ bench: 'profile', of: o.bench ?? 'boot', seconds: all / 1e6, shares, engine: s.engine, helpers: s.helpers }, null, 2)}\n`);
