// bench/passes: every pass of the engine alone switched off, and none, and what differs then. Random instructions against the host CPU (bench/differential.mjs), and
// Linux in lockstep, interpreter beside generated code, up to a line of its console. Status 1 if anything differed.
//   node bench/passes.mjs [--cases 100000] [--seed 7] [--only none,lazy-flags] [--parts differential,lockstep] [--marker 'Memory: ']
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { PASSES } from '../dist/machine/debug/tools.js';
import { busyboxInitramfs, debianKernel } from '../scripts/guest-files.mjs';

const text = (d) => ({ type: 'string', default: d });
const { values: o } = commandLine(import.meta.url, { options: { cases: text('100000'), seed: text('7'), only: text(['none', ...Object.keys(PASSES)].join(',')), parts: text('differential,lockstep'), marker: text('Memory: ') } });
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** @returns what it printed, and whether it ended with status 0 or printed the marker (it is ended then). */
function run(args, marker) {
  return new Promise((resolve, reject) => {
    const p = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let met = false;
    const take = (d) => {
      out += d.toString('latin1');
      if (marker === undefined || met || !out.includes(marker)) return;
      met = true;
      p.kill('SIGKILL');
    };
    p.stdout.on('data', take);
    p.stderr.on('data', take);
    p.on('error', reject);
    p.on('close', (code) => resolve({ out, good: marker === undefined ? code === 0 : met }));
  });
}

for (const name of o.only.split(',')) {
  if (name !== 'none' && !(name in PASSES)) badUsage(import.meta.url, `--only: no pass '${name}'`);
  const off = name === 'none' ? [] : ['--disable-pass', name];
  for (const part of o.parts.split(',')) {
    const { out, good } =
      part === 'lockstep'
        ? await run([here('../dist/cli/main.js'), 'boot', '--accel', 'jit', '--aot', 'off', '--memory', '256M', '--kernel', debianKernel(), '--initrd', busyboxInitramfs(), '--append', 'console=ttyS0 earlyprintk=serial', '--lockstep', '--no-reboot', ...off], o.marker)
        : await run([here('differential.mjs'), '--cases', o.cases, '--seed', o.seed, ...off]);
    const last = part === 'lockstep' ? `to '${o.marker.trim()}'` : out.trim().split('\n').findLast((l) => l.includes(' cases ')) ?? '';
    console.log(`without ${name.padEnd(11)} ${part.padEnd(12)} ${good ? 'agrees' : 'DIFFERS'}  ${last}`);
    if (!good) {
      console.log(out.slice(-2000));
      process.exitCode = 1;
    }
  }
}
