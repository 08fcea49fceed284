// bench/aot: boot of Debian's cloud kernel to user space without the code cache, with an empty and with a warm one, and on QEMU's
// TCG, interleaved in one run.
//   node bench/aot.mjs [--rounds 5] [--memory 512] [--kernel F --initrd F] [--append S] [--disk F] [--marker TEXT] [--json FILE]
// Time is wall time from starting the process until the marker appears on the serial console. Each
// round has a cache of its own: cold fills it, warm uses it (with a kernel that has put itself
// elsewhere). Without QEMU the peer is left out.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandLine } from '../scripts/command-line.mjs';
import { PEER_ENV } from './peer-env.mjs';
import { busyboxInitramfs, debianKernel } from '../scripts/guest-files.mjs';

const { values: o } = commandLine(import.meta.url, {
  options: {
    rounds: { type: 'string', default: '5' }, memory: { type: 'string', default: '512' }, kernel: { type: 'string' }, initrd: { type: 'string' }, disk: { type: 'string' },
    append: { type: 'string', default: 'console=ttyS0' }, marker: { type: 'string', default: 'USER SPACE REACHED' }, json: { type: 'string' },
    qemu: { type: 'string', default: 'qemu-system-x86_64' }, 'qemu-cpu': { type: 'string', default: 'max' }, timeout: { type: 'string', default: '300' },
  },
});
const cli = new URL('../dist/cli/vmx-accel.cjs', import.meta.url).pathname;
const temp = mkdtempSync(join(tmpdir(), 'vmx-bench-aot-'));
const guest = o.disk === undefined ? ['--kernel', o.kernel ?? debianKernel(), '--initrd', o.initrd ?? busyboxInitramfs(), '--append', o.append] : ['--disk', `${o.disk},snapshot`];
const qemuGuest = o.disk === undefined ? guest.map((a) => a.replace(/^--/, '-')) : ['-drive', `file=${o.disk},if=virtio,snapshot=on`];
const haveQemu = spawnSync(o.qemu, ['--version'], { stdio: 'ignore' }).status === 0;
if (!haveQemu) console.error(`${o.qemu} is not there: no peer`);

/** Runs until the marker; @returns seconds to it. */
function run(cmd, args) {
  return new Promise((resolve, reject) => {
    const t0 = process.hrtime.bigint();
    const p = spawn(cmd, args, { stdio: ['ignore', 'pipe', 'ignore'], env: PEER_ENV });
    let tail = '';
    let seconds = -1;
    const timer = setTimeout(() => p.kill('SIGKILL'), Number(o.timeout) * 1000);
    p.on('error', reject);
    p.stdout.on('data', (d) => {
      tail = (tail + d.toString('latin1')).slice(-4096);
      if (seconds >= 0 || !tail.includes(o.marker)) return;
      seconds = Number(process.hrtime.bigint() - t0) / 1e9;
      // Ours ends by itself (--exit-on), and writes its cache.
      if (cmd !== process.execPath) p.kill('SIGKILL');
    });
    p.on('exit', () => {
      clearTimeout(timer);
      if (seconds < 0) reject(new Error(`${cmd}: '${o.marker}' did not appear; last output:\n${tail.slice(-600)}`));
      else resolve(seconds);
    });
  });
}

async function ours(aot, dir) {
  const stats = join(temp, 'stats.json');
  const seconds = await run(process.execPath, [cli, 'boot', '--memory', `${o.memory}M`, ...guest, '--no-reboot', '--exit-on', o.marker, '--aot', aot, '--aot-dir', dir, '--stats', stats]);
  const s = JSON.parse(readFileSync(stats, 'utf8'));
  return { seconds, translateMs: s.engine.translateNs / 1e6, blocks: s.engine.blocks, installed: s.engine.installed, bytesWritten: s.aot?.bytesWritten ?? 0, bytesRead: s.aot?.bytesRead ?? 0 };
}

const rounds = { off: [], cold: [], warm: [], tcg: [] };
try {
  for (let r = 0; r < Number(o.rounds); r++) {
    const dir = join(temp, `cache${r}`);
    rounds.off.push(await ours('off', dir));
    rounds.cold.push(await ours('on', dir));
    rounds.warm.push(await ours('on', dir));
    if (haveQemu) rounds.tcg.push({ seconds: await run(o.qemu, ['-accel', 'tcg', '-cpu', o['qemu-cpu'], '-m', o.memory, '-nographic', '-no-reboot', ...qemuGuest]) });
    rmSync(dir, { recursive: true, force: true });
    if (process.stderr.isTTY) process.stderr.write(`round ${r + 1}: ${Object.entries(rounds).map(([k, v]) => `${k} ${v.at(-1)?.seconds.toFixed(2) ?? '-'}`).join('  ')}\n`);
  }
} finally {
  rmSync(temp, { recursive: true, force: true });
}

const median = (a) => [...a].sort((x, y) => x - y)[Math.floor(a.length / 2)];
const seconds = Object.fromEntries(Object.entries(rounds).map(([k, v]) => [k, v.map((x) => x.seconds)]));
const m = Object.fromEntries(Object.entries(seconds).filter(([, v]) => v.length > 0).map(([k, v]) => [k, median(v)]));
for (const [name, t] of Object.entries(seconds)) {
  if (t.length === 0) continue;
  const last = rounds[name].at(-1);
  const detail = last.blocks === undefined ? '' : `  blocks ${last.blocks}, from the cache ${((last.installed / last.blocks) * 100).toFixed(1)} %, translating ${last.translateMs.toFixed(0)} ms`;
  console.log(`${name.padEnd(5)} min ${Math.min(...t).toFixed(2)}  median ${m[name].toFixed(2)}  max ${Math.max(...t).toFixed(2)} s${detail}`);
}
const ratios = { 'warm/cold': m.warm / m.cold, 'cold/off': m.cold / m.off };
if (haveQemu) Object.assign(ratios, { 'off/tcg': m.off / m.tcg, 'warm/tcg': m.warm / m.tcg });
console.log(Object.entries(ratios).map(([k, v]) => `${k} ${v.toFixed(2)}`).join('  '));
if (o.json) {
  writeFileSync(o.json, `${JSON.stringify({ bench: 'aot', date: new Date().toISOString().slice(0, 10), host: cpus()[0]?.model ?? '', node: process.version, memory: o.memory, rounds: Number(o.rounds), samples: rounds, median: m, ratios }, null, 2)}\n`);
}
