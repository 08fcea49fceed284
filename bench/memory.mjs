// bench/memory: resident memory of a machine that has booted Debian's cloud kernel to user space, beside what its guest has touched.
//   node bench/memory.mjs [--memory 512] [--accel jit] [--kernel F --initrd F] [--marker TEXT] [--timeout 300] [--limit 250]
// Exit status 1 if more than `limit` MB is resident beyond the touched part of the guest's RAM. Linux only (/proc/PID/smaps).
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { commandLine } from '../scripts/command-line.mjs';
import { busyboxInitramfs, debianKernel } from '../scripts/guest-files.mjs';

const { values: o } = commandLine(import.meta.url, {
  options: {
    memory: { type: 'string', default: '512' }, accel: { type: 'string', default: 'jit' }, kernel: { type: 'string' }, initrd: { type: 'string' },
    marker: { type: 'string', default: 'USER SPACE REACHED' }, timeout: { type: 'string', default: '300' }, limit: { type: 'string', default: '250' },
  },
});
const cli = fileURLToPath(new URL('../dist/cli/vmx-accel.cjs', import.meta.url));
const args = ['boot', '--accel', o.accel, '--memory', `${o.memory}M`, '--kernel', o.kernel ?? debianKernel(), '--initrd', o.initrd ?? busyboxInitramfs(), '--append', 'console=ttyS0 quiet'];
const p = spawn(process.execPath, [cli, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
let text = '';
const booted = new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`'${o.marker}' did not appear in ${o.timeout} s`)), Number(o.timeout) * 1000);
  p.on('error', reject);
  p.on('exit', (status) => reject(new Error(`ended with status ${status} before '${o.marker}' appeared:\n${text.slice(-600)}`)));
  p.stdout.on('data', (d) => {
    text += d.toString('latin1');
    if (!text.includes(o.marker)) return;
    clearTimeout(timer);
    resolve();
  });
});
try {
  await booted;
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${p.pid}/status`, 'utf8'))[1]) / 1024;
  // Guest RAM is the one mapping of its size.
  const maps = [...readFileSync(`/proc/${p.pid}/smaps`, 'utf8').matchAll(/^Size:\s+(\d+) kB[^]*?^Rss:\s+(\d+) kB/gm)].map((m) => [Number(m[1]), Number(m[2])]);
  const ram = maps.filter(([size]) => size >= Number(o.memory) * 1024 && size <= Number(o.memory) * 1024 + 65536);
  if (ram.length !== 1) throw new Error(`${ram.length} mappings have the size of the guest's RAM`);
  const touched = ram[0][1] / 1024;
  console.log(`resident ${rss.toFixed(0)} MB, touched guest memory ${touched.toFixed(0)} MB, the rest ${(rss - touched).toFixed(0)} MB (limit ${o.limit})`);
  if (rss - touched > Number(o.limit)) process.exitCode = 1;
} catch (e) {
  console.error(`memory: ${e.message}`);
  process.exitCode = 2;
} finally {
  p.removeAllListeners('exit');
  p.kill('SIGKILL');
}
