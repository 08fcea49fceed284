// bench/freedos: from power-on to FreeDOS's prompt, ours and QEMU's TCG by turns. Medians and their ratio.
//   node bench/freedos.mjs IMAGE [--rounds 5]
import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { VirtualMachine } from '../dist/index.js';

const { values: o, positionals } = commandLine(import.meta.url, { options: { rounds: { type: 'string', default: '5' } }, allowPositionals: true });
if (positionals.length !== 1) badUsage(import.meta.url, 'IMAGE is missing; --help says what there is');
const dir = mkdtempSync(join(tmpdir(), 'vmx-freedos-'));
const image = join(dir, 'floppy.img');
copyFileSync(positionals[0], image);
/** How often the screens are looked at, ms. */
const POLL = 20;
const PROMPT = /^A:\\>\s*$/m;
const TIMEOUT = 120_000;

async function ours() {
  const start = performance.now();
  const vm = await VirtualMachine.create({ disks: [{ file: image, media: 'floppy', snapshot: true }] });
  try {
    vm.start();
    while (!PROMPT.test(await vm.screen.text())) {
      if (performance.now() - start > TIMEOUT) throw new Error('no prompt');
      await sleep(POLL);
    }
    return (performance.now() - start) / 1000;
  } finally {
    await vm[Symbol.asyncDispose]();
  }
}

/** QEMU's screen is read out of its display memory. */
async function qemu() {
  const dump = join(dir, 'text.bin');
  const start = performance.now();
  const q = spawn('qemu-system-x86_64', ['-M', 'pc,accel=tcg', '-m', '512', '-vga', 'std', '-display', 'none', '-qmp', 'stdio', '-nic', 'none', '-boot', 'a', '-drive', `file=${image},format=raw,if=floppy,snapshot=on`], { stdio: ['pipe', 'pipe', 'inherit'] });
  const replies = createInterface({ input: q.stdout })[Symbol.asyncIterator]();
  const execute = async (command, args = {}) => {
    q.stdin.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const { value, done } = await replies.next();
      if (done) throw new Error('QEMU ended');
      const reply = JSON.parse(value);
      if (reply.error !== undefined) throw new Error(`QEMU: ${reply.error.desc}`);
      if (reply.return !== undefined) return;
    }
  };
  try {
    await execute('qmp_capabilities');
    for (;;) {
      await execute('pmemsave', { val: 0xb8000, size: 4000, filename: dump });
      const b = readFileSync(dump);
      let text = '';
      for (let i = 0; i + 1 < b.length; i += 2) text += (i % 160 === 0 ? '\n' : '') + String.fromCharCode(b[i]);
      if (PROMPT.test(text)) return (performance.now() - start) / 1000;
      if (performance.now() - start > TIMEOUT) throw new Error('QEMU: no prompt');
      await sleep(POLL);
    }
  } finally {
    q.kill('SIGKILL');
  }
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const times = { ours: [], qemu: [] };
try {
  for (let i = 0; i < Number(o.rounds); i++) {
    times.qemu.push(await qemu());
    times.ours.push(await ours());
    console.log(`round ${i + 1}: ours ${times.ours.at(-1).toFixed(2)} s, QEMU ${times.qemu.at(-1).toFixed(2)} s`);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
console.log(`median: ours ${median(times.ours).toFixed(2)} s, QEMU ${median(times.qemu).toFixed(2)} s, ratio ${(median(times.ours) / median(times.qemu)).toFixed(2)}`);
