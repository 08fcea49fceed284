// What bench/mmu and bench/exits share: a bare-metal program that says on COM1 when a part of it begins and ends, run by vmx-accel and by QEMU's
// TCG in turns; ns of each part and the ratio of the medians.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { badUsage, commandLine } from '../scripts/command-line.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const median = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];

/** Seconds of CPU time of a process and its threads (proc(5), fields 14 and 15 of stat, in units of 10 ms). */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** @returns seconds of each part, by name; rejects if the program does not end with status 0 after its last part. */
function run([cmd, args], last, timeout, clock) {
  return new Promise((resolve, reject) => {
    const p = spawn(cmd, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const begun = {};
    const parts = {};
    let text = '';
    const timer = setTimeout(() => p.kill('SIGKILL'), timeout * 1000);
    p.on('error', reject);
    p.stdout.on('data', (d) => {
      text += d.toString('latin1');
      for (let nl; (nl = text.indexOf('\n')) >= 0; text = text.slice(nl + 1)) {
        // Firmware may have left a line unfinished.
        const [, word, name] = /(begin|end) ([a-z-]+)\s*$/.exec(text.slice(0, nl)) ?? [];
        const now = word === undefined ? 0 : clock === 'cpu' ? cpuSeconds(p.pid) : performance.now() / 1000;
        if (word === 'begin') begun[name] = now;
        if (word === 'end') parts[name] = now - begun[name];
      }
    });
    p.on('close', (code) => {
      clearTimeout(timer);
      // isa-debug-exit: (0 << 1) | 1.
      if (code !== 1 || parts[last] === undefined) reject(new Error(`${cmd} ended with status ${code}`));
      else resolve(parts);
    });
  });
}

/**
 * Runs the bench and prints its table; options --rounds, --clock, --json, --qemu, --timeout.
 * @param url of the bench's file
 * @param source its program, relative to bench/
 * @param times how often each part does what it measures: the constants of the program
 * @param last a part that every machine has
 */
export async function metalBench(url, source, times, last) {
  const name = basename(fileURLToPath(url), '.mjs');
  const { values: o } = commandLine(url, { options: { rounds: { type: 'string', default: '3' }, clock: { type: 'string', default: 'wall' }, json: { type: 'string' }, qemu: { type: 'string', default: 'qemu-system-x86_64' }, timeout: { type: 'string', default: '120' } } });
  if (!['wall', 'cpu'].includes(o.clock)) badUsage(url, `--clock: ${o.clock} is none of wall, cpu`);
  const temp = mkdtempSync(join(tmpdir(), `vmx-bench-${name}-`));
  const image = join(temp, `${name}.elf`);
  execFileSync('as', ['--64', '--fatal-warnings', '-I', here('../test/metal'), '-o', join(temp, `${name}.o`), here(source)]);
  execFileSync('ld', ['-m', 'elf_x86_64', '-n', '-T', here('../test/metal/metal.ld'), '-o', image, join(temp, `${name}.o`)]);
  const peers = {
    'vmx-accel': [process.execPath, [here('../dist/cli/main.js'), 'boot', '--accel', 'jit', '--aot', 'off', '-m', '256M', '--kernel', image, '--device', 'isa-debug-exit', '--no-reboot']],
  };
  if (spawnSync(o.qemu, ['--version'], { stdio: 'ignore' }).status === 0) {
    peers.tcg = [o.qemu, ['-accel', 'tcg', '-cpu', 'max', '-m', '256', '-nographic', '-no-reboot', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', image]];
  } else console.error(`${o.qemu} is not there: no peer`);

  const samples = Object.fromEntries(Object.keys(peers).map((k) => [k, []]));
  try {
    for (let r = 0; r < Number(o.rounds); r++) for (const [peer, cmd] of Object.entries(peers)) samples[peer].push(await run(cmd, last, Number(o.timeout), o.clock));
  } finally {
    rmSync(temp, { recursive: true, force: true });
  }
  const result = { bench: name, date: new Date().toISOString().slice(0, 10), host: cpus()[0]?.model ?? '', node: process.version, rounds: Number(o.rounds), clock: o.clock, ns: {}, ratio: {} };
  for (const [part, count] of Object.entries(times)) {
    const ns = {};
    for (const peer of Object.keys(peers)) {
      const t = samples[peer].map((s) => s[part]).filter((x) => x !== undefined);
      if (t.length > 0) ns[peer] = (median(t) * 1e9) / count;
    }
    result.ns[part] = ns;
    if (ns.tcg !== undefined) result.ratio[part] = ns['vmx-accel'] / ns.tcg;
    const list = Object.entries(ns).map(([k, v]) => `${k} ${v.toFixed(0)} ns`).join('  ');
    console.log(`${part.padEnd(14)} ${list}${result.ratio[part] === undefined ? '' : `  ratio ${result.ratio[part].toFixed(2)}`}`);
  }
  if (o.json) writeFileSync(o.json, `${JSON.stringify({ ...result, samples }, null, 2)}\n`);
}
