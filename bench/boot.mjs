// bench/boot: Debian's cloud kernel to user space, vmx-accel against QEMU's TCG, interleaved in one run.
//   node bench/boot.mjs [--rounds 5] [--accel jit] [--memory 512] [--kernel F --initrd F] [--marker TEXT] [--json FILE]
// Time is wall time from starting the process until the marker appears on the serial console.
import { spawn } from 'node:child_process';
import { cpus } from 'node:os';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { busyboxInitramfs, debianKernel } from '../scripts/guest-files.mjs';

const { values: o } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' }, accel: { type: 'string', default: 'jit' }, memory: { type: 'string', default: '512' },
    kernel: { type: 'string' }, initrd: { type: 'string' }, append: { type: 'string', default: 'console=ttyS0' },
    marker: { type: 'string', default: 'USER SPACE REACHED' }, json: { type: 'string' }, qemu: { type: 'string', default: 'qemu-system-x86_64' },
    'qemu-cpu': { type: 'string', default: 'max' }, timeout: { type: 'string', default: '300' },
  },
});
const kernel = o.kernel ?? debianKernel();
const initrd = o.initrd ?? busyboxInitramfs();
const cli = new URL('../dist/cli/main.js', import.meta.url).pathname;
const common = ['-m', o.memory];
const peers = {
  'vmx-accel': [process.execPath, [cli, 'boot', '--accel', o.accel, '--memory', `${o.memory}M`, '--kernel', kernel, '--initrd', initrd, '--append', o.append, '--no-reboot', '--aot', 'off']],
  tcg: [o.qemu, ['-accel', 'tcg', '-cpu', o['qemu-cpu'], ...common, '-nographic', '-no-reboot', '-kernel', kernel, '-initrd', initrd, '-append', o.append]],
};

function boot([cmd, args]) {
  return new Promise((resolve, reject) => {
    const t0 = process.hrtime.bigint();
    const p = spawn(cmd, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let tail = '';
    let done = false;
    const timer = setTimeout(() => p.kill('SIGKILL'), Number(o.timeout) * 1000);
    p.on('error', reject);
    p.stdout.on('data', (d) => {
      tail = (tail + d.toString('latin1')).slice(-4096);
      if (!done && tail.includes(o.marker)) {
        done = true;
        const s = Number(process.hrtime.bigint() - t0) / 1e9;
        clearTimeout(timer);
        p.once('exit', () => resolve(s));
        p.kill('SIGKILL');
      }
    });
    p.on('exit', () => {
      clearTimeout(timer);
      if (!done) reject(new Error(`${cmd}: '${o.marker}' did not appear; last output:\n${tail.slice(-600)}`));
    });
  });
}

const median = (a) => [...a].sort((x, y) => x - y)[Math.floor(a.length / 2)];
const times = Object.fromEntries(Object.keys(peers).map((k) => [k, []]));
for (let r = 0; r < Number(o.rounds); r++) {
  for (const [name, cmd] of Object.entries(peers)) {
    const s = await boot(cmd);
    times[name].push(s);
    if (process.stderr.isTTY) process.stderr.write(`round ${r + 1} ${name} ${s.toFixed(2)} s\n`);
  }
}
const result = {
  bench: 'boot', date: new Date().toISOString().slice(0, 10), host: cpus()[0]?.model ?? '', node: process.version, accel: o.accel, memory: o.memory, rounds: Number(o.rounds),
  seconds: times, median: Object.fromEntries(Object.entries(times).map(([k, v]) => [k, median(v)])),
};
result.ratio = result.median['vmx-accel'] / result.median.tcg;
for (const [name, t] of Object.entries(times)) console.log(`${name.padEnd(10)} min ${Math.min(...t).toFixed(2)}  median ${median(t).toFixed(2)}  max ${Math.max(...t).toFixed(2)} s`);
console.log(`ratio vmx-accel (${o.accel}) / TCG: ${result.ratio.toFixed(2)}`);
if (o.json) writeFileSync(o.json, `${JSON.stringify(result, null, 2)}\n`);
