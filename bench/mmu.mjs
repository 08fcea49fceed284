// bench/mmu: misses of the TLB, page faults and changes of address space (with and without process-context identifiers) of a bare-metal guest
// program (bench/mmu/mmu.S, built with as and ld), against QEMU's TCG, interleaved in one run.
//   node bench/mmu.mjs [--rounds 3] [--json FILE]
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: o } = parseArgs({ options: { rounds: { type: 'string', default: '3' }, json: { type: 'string' }, qemu: { type: 'string', default: 'qemu-system-x86_64' }, timeout: { type: 'string', default: '120' } } });
/** How often each part does what it measures: the constants of mmu.S. */
const TIMES = { 'tlb-miss': 60 * 16384, 'page-fault': 6 * 16384, switch: 60_000, 'switch-pcid': 60_000 };

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const temp = mkdtempSync(join(tmpdir(), 'vmx-bench-mmu-'));
const image = join(temp, 'mmu.elf');
execFileSync('as', ['--64', '--fatal-warnings', '-I', here('../test/metal'), '-o', join(temp, 'mmu.o'), here('mmu/mmu.S')]);
execFileSync('ld', ['-m', 'elf_x86_64', '-n', '-T', here('../test/metal/metal.ld'), '-o', image, join(temp, 'mmu.o')]);
const peers = {
  'vmx-accel': [process.execPath, [here('../dist/cli/main.js'), 'boot', '--accel', 'jit', '--aot', 'off', '-m', '256M', '--kernel', image, '--device', 'isa-debug-exit', '--no-reboot']],
};
if (spawnSync(o.qemu, ['--version'], { stdio: 'ignore' }).status === 0) {
  peers.tcg = [o.qemu, ['-accel', 'tcg', '-cpu', 'max', '-m', '256', '-nographic', '-no-reboot', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', image]];
} else console.error(`${o.qemu} is not there: no peer`);

/** @returns seconds of each part. */
function run([cmd, args]) {
  return new Promise((resolve, reject) => {
    const p = spawn(cmd, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const begun = {};
    const parts = {};
    let text = '';
    const timer = setTimeout(() => p.kill('SIGKILL'), Number(o.timeout) * 1000);
    p.on('error', reject);
    p.stdout.on('data', (d) => {
      text += d.toString('latin1');
      for (let nl; (nl = text.indexOf('\n')) >= 0; text = text.slice(nl + 1)) {
        const [word, name] = text.slice(0, nl).trim().split(' ');
        if (word === 'begin') begun[name] = performance.now();
        if (word === 'end') parts[name] = (performance.now() - begun[name]) / 1000;
      }
    });
    p.on('exit', (code) => {
      clearTimeout(timer);
      // isa-debug-exit: (0 << 1) | 1.
      if (code !== 1 || parts.switch === undefined) reject(new Error(`${cmd} ended with status ${code}`));
      else resolve(parts);
    });
  });
}

const samples = Object.fromEntries(Object.keys(peers).map((k) => [k, []]));
try {
  for (let r = 0; r < Number(o.rounds); r++) for (const [name, cmd] of Object.entries(peers)) samples[name].push(await run(cmd));
} finally {
  rmSync(temp, { recursive: true, force: true });
}
const median = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];
const result = { bench: 'mmu', date: new Date().toISOString().slice(0, 10), host: cpus()[0]?.model ?? '', node: process.version, rounds: Number(o.rounds), ns: {}, ratio: {} };
for (const [part, times] of Object.entries(TIMES)) {
  const ns = {};
  for (const name of Object.keys(peers)) {
    const t = samples[name].map((s) => s[part]).filter((t) => t !== undefined);
    if (t.length > 0) ns[name] = (median(t) * 1e9) / times;
  }
  result.ns[part] = ns;
  if (ns.tcg !== undefined) result.ratio[part] = ns['vmx-accel'] / ns.tcg;
  const list = Object.entries(ns).map(([k, v]) => `${k} ${v.toFixed(0)} ns`).join('  ');
  console.log(`${part.padEnd(12)} ${list}${result.ratio[part] === undefined ? '' : `  ratio ${result.ratio[part].toFixed(2)}`}`);
}
if (o.json) writeFileSync(o.json, `${JSON.stringify({ ...result, samples }, null, 2)}\n`);
