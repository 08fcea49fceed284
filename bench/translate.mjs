// bench/translate: x86-64 code from bytes to executable (decode, lift, passes, register allocation, emission), ns per guest instruction, by
// stage; cold and once V8 is warm. The code generated is never run.
//   node bench/translate.mjs [ELF64 FILE] [--passes 6] [--json FILE]      (default: the node binary's own .text, its first 2 MiB)
import { cpus } from 'node:os';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { CpuModel } from '../dist/engine/guest/x86/cpuid.js';
import { x86Helpers, x86Lifter } from '../dist/engine/guest/x86/guest.js';
import { Mode } from '../dist/engine/guest/x86/mode.js';
import { X64Host } from '../dist/engine/host/x64/host.js';
import { ConstPool, IrBuilder } from '../dist/engine/ir/builder.js';
import { runPasses } from '../dist/engine/ir/passes.js';
import { Block } from '../dist/engine/jit/block.js';
import { loadNative } from '../dist/native.js';
import { textSection } from './text-section.mjs';

const { values: o, positionals } = commandLine(import.meta.url, { allowPositionals: true, options: { passes: { type: 'string', default: '6' }, json: { type: 'string' } } });
if (!(Number(o.passes) >= 2)) badUsage(import.meta.url, '--passes: a number from 2 on');
const text = textSection(positionals[0] ?? process.execPath);
const PAGE = 4096;
const MOST = 64;
const MODE = Mode.CODE64 | Mode.CSFLAT | Mode.FLAT | Mode.LONG | Mode.USER | Mode.SSE | Mode.AVX;
const USER_INDEX = 0;

const helpers = x86Helpers();
const lifter = x86Lifter(helpers, CpuModel.parse('max'));
const host = new X64Host({ buffer: new ArrayBuffer(16 << 20), address: 0 }, [], loadNative().cpuFeatures());
const pool = new ConstPool();
const ir = new IrBuilder(pool);
const win = { buf: new Uint8Array(text), pos: 0, end: 0, offset: 0 };

/** Once over the text. `stages`: how much of the work is done, 1 to 3. */
function pass(stages) {
  let insns = 0;
  let blocks = 0;
  for (let pos = 0; pos < text.length - 16; pos = win.pos) {
    if (pool.nearlyFull || host.nearlyFull) {
      pool.reset();
      host.reset();
    }
    const offset = pos & (PAGE - 1);
    win.pos = pos;
    win.offset = offset;
    win.end = Math.min(pos - offset + PAGE, text.length);
    let page2 = -1;
    ir.begin();
    if (lifter.lift(win, MODE, ir, MOST) !== 0) {
      win.pos = pos;
      win.offset = offset;
      win.end = pos + 16;
      page2 = 0;
      ir.begin();
      lifter.lift(win, MODE, ir, 1);
    }
    if (stages > 1) runPasses(ir, helpers, {}, false);
    if (stages > 2) {
      const block = new Block(offset, MODE, USER_INDEX, win.pos - pos, ir.insns);
      block.page2 = page2;
      host.compile(ir, { helpers }, block, false, true);
    }
    insns += ir.insns;
    blocks++;
  }
  return { insns, blocks };
}

/** CPU time of this thread in ns where Linux tells it (other work on the machine does not count then), otherwise wall time. */
const SCHEDSTAT = `/proc/self/task/${process.pid}/schedstat`;
const now = existsSync(SCHEDSTAT) ? () => Number(readFileSync(SCHEDSTAT, 'latin1').split(' ')[0]) : () => performance.now() * 1e6;

function timed(stages) {
  const t0 = now();
  const r = pass(stages);
  return { ...r, ns: (now() - t0) / r.insns };
}

const first = timed(3);
console.log(`first pass: ${first.insns} instructions in ${first.blocks} blocks, ${first.ns.toFixed(0)} ns each`);
const samples = { 'decode, lift': [], 'and passes': [], 'and code': [] };
for (let k = 1; k < Number(o.passes); k++) Object.keys(samples).forEach((name, i) => samples[name].push(timed(i + 1).ns));
const median = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];
const ns = Object.fromEntries(Object.entries(samples).map(([k, v]) => [k, median(v)]));
for (const [k, v] of Object.entries(ns)) console.log(`${k.padEnd(14)} ${v.toFixed(0).padStart(6)} ns per instruction (median of ${samples[k].length})`);
if (o.json) {
  writeFileSync(o.json, `${JSON.stringify({ bench: 'translate', date: new Date().toISOString().slice(0, 10), host: cpus()[0]?.model ?? '', node: process.version, instructions: first.insns, blocks: first.blocks, cold: first.ns, warm: ns }, null, 2)}\n`);
}
