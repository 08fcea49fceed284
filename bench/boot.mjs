// bench/boot: Debian's cloud kernel (or RISC-V's of the guest set) to user space, vmx-accel against QEMU's TCG, interleaved in one run.
//   node bench/boot.mjs [--arch x86_64|i386|aarch64|riscv64] [--rounds 5] [--accel jit] [--warm] [--memory 512] [--kernel F --initrd F] [--firmware F] [--cpu MODEL] [--marker TEXT] [--json FILE]
// --firmware: vmx-accel's; the peer keeps its own (sbi: RISC-V without OpenSBI).
// --cpu: vmx-accel's model; the peer keeps its own.
// --warm: with a code cache that one boot before the first round has filled; otherwise without one.
// Time is wall time from starting the process until the marker appears on the serial console.
import { spawn } from 'node:child_process';
import { cpus, tmpdir } from 'node:os';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { archOf, ARCH_NAMES } from './archs.mjs';
import { PEER_ENV } from './peer-env.mjs';

const { values: o } = commandLine(import.meta.url, {
  options: {
    rounds: { type: 'string', default: '5' }, accel: { type: 'string', default: 'jit' }, memory: { type: 'string', default: '512' },
    kernel: { type: 'string' }, initrd: { type: 'string' }, append: { type: 'string' },
    arch: { type: 'string', default: 'x86_64' }, warm: { type: 'boolean', default: false }, marker: { type: 'string' }, json: { type: 'string' }, qemu: { type: 'string' }, firmware: { type: 'string' }, cpu: { type: 'string' }, timeout: { type: 'string', default: '300' },
  },
});
const arch = archOf(o.arch);
if (arch === undefined) badUsage(import.meta.url, `--arch: ${o.arch} is none of ${ARCH_NAMES.join(', ')}`);
const kernel = o.kernel ?? arch.kernel();
const initrd = o.initrd ?? arch.initramfs();
const append = o.append ?? `console=${arch.console}${arch.bootAppend}`;
const marker = o.marker ?? arch.marker;
const cli = new URL('../dist/cli/vmx-accel.cjs', import.meta.url).pathname;
const cache = mkdtempSync(join(tmpdir(), 'vmx-bench-boot-'));
process.on('exit', () => rmSync(cache, { recursive: true, force: true }));
const aot = o.warm ? ['--aot', 'on', '--aot-dir', cache] : ['--aot', 'off'];
const peers = {
  'vmx-accel': [process.execPath, [cli, 'boot', '--accel', o.accel, '--memory', `${o.memory}M`, '--kernel', kernel, '--initrd', initrd, '--append', append, '--no-reboot', '--exit-on', marker, ...arch.vmx, ...(o.firmware === undefined ? [] : ['--firmware', o.firmware]), ...(o.cpu === undefined ? [] : ['--cpu', o.cpu]), ...aot]],
  tcg: [o.qemu ?? arch.qemu, ['-accel', 'tcg', ...arch.qemuArgs, '-m', o.memory, '-nographic', '-no-reboot', '-kernel', kernel, '-initrd', initrd, '-append', append]],
};

function boot([cmd, args]) {
  return new Promise((resolve, reject) => {
    const t0 = process.hrtime.bigint();
    const p = spawn(cmd, args, { stdio: ['ignore', 'pipe', 'ignore'], env: PEER_ENV });
    let tail = '';
    let done = false;
    const timer = setTimeout(() => p.kill('SIGKILL'), Number(o.timeout) * 1000);
    p.on('error', reject);
    p.stdout.on('data', (d) => {
      tail = (tail + d.toString('latin1')).slice(-4096);
      if (!done && tail.includes(marker)) {
        done = true;
        const s = Number(process.hrtime.bigint() - t0) / 1e9;
        clearTimeout(timer);
        p.once('exit', () => resolve(s));
        // Ours ends by itself (--exit-on), and writes its cache.
        if (cmd !== process.execPath) p.kill('SIGKILL');
      }
    });
    p.on('exit', () => {
      clearTimeout(timer);
      if (!done) reject(new Error(`${cmd}: '${marker}' did not appear; last output:\n${tail.slice(-600)}`));
    });
  });
}

const median = (a) => [...a].sort((x, y) => x - y)[Math.floor(a.length / 2)];
const times = Object.fromEntries(Object.keys(peers).map((k) => [k, []]));
if (o.warm) await boot(peers['vmx-accel']);
for (let r = 0; r < Number(o.rounds); r++) {
  for (const [name, cmd] of Object.entries(peers)) {
    const s = await boot(cmd);
    times[name].push(s);
    if (process.stderr.isTTY) process.stderr.write(`round ${r + 1} ${name} ${s.toFixed(2)} s\n`);
  }
}
const result = {
  bench: 'boot', date: new Date().toISOString().slice(0, 10), host: cpus()[0]?.model ?? '', node: process.version, arch: arch.name, warm: o.warm, accel: o.accel, memory: o.memory, rounds: Number(o.rounds),
  seconds: times, median: Object.fromEntries(Object.entries(times).map(([k, v]) => [k, median(v)])),
};
result.ratio = result.median['vmx-accel'] / result.median.tcg;
for (const [name, t] of Object.entries(times)) console.log(`${name.padEnd(10)} min ${Math.min(...t).toFixed(2)}  median ${median(t).toFixed(2)}  max ${Math.max(...t).toFixed(2)} s`);
console.log(`ratio vmx-accel (${arch.name}, ${o.accel}${o.warm ? ', warm' : ''}) / TCG: ${result.ratio.toFixed(2)}`);
if (o.json) writeFileSync(o.json, `${JSON.stringify(result, null, 2)}\n`);
