// bench/lift: speed of decoding and lifting the .text section of a binary, ns per guest instruction, cold and warm.
//   node bench/lift.mjs [ELF64 FILE] (after npm run build). Default: the node binary itself.
import { HELPER_SPECS } from '../dist/engine/guest/x86/helper-names.js';
import { X86Lifter } from '../dist/engine/guest/x86/lifter.js';
import { Mode } from '../dist/engine/guest/x86/mode.js';
import { HelperRegistry, HelperResult } from '../dist/engine/helpers.js';
import { ConstPool, IrBuilder } from '../dist/engine/ir/builder.js';
import { commandLine } from '../scripts/command-line.mjs';
import { textSection } from './text-section.mjs';

const file = commandLine(import.meta.url, { allowPositionals: true }).positionals[0] ?? process.execPath;
const text = textSection(file);

const features = new Set('cx8 cmov sse sse2 sse3 ssse3 sse4_1 sse4_2 popcnt movbe abm bmi1 bmi2 adx cx16 syscall sep msr tsc clflush'.split(' '));
const helpers = new HelperRegistry();
for (const s of HELPER_SPECS) helpers.define(s.name, () => HelperResult.CONTINUE);
const lifter = new X86Lifter(helpers, features);
const pool = new ConstPool();
const b = new IrBuilder(pool);
const mode = Mode.CODE64 | Mode.CSFLAT | Mode.FLAT | Mode.LONG | Mode.USER | Mode.SSE;
const win = { buf: new Uint8Array(text), pos: 0, end: 0, offset: 0 };

function pass() {
  let insns = 0;
  let ops = 0;
  let blocks = 0;
  let pos = 0;
  while (pos < text.length - 16) {
    win.pos = pos;
    win.offset = pos & 4095;
    win.end = Math.min((pos & ~4095) + 4096, text.length);
    if (pool.nearlyFull) pool.reset();
    if (lifter.lift(win, mode, b, 64) !== 0) {
      win.pos = pos;
      win.offset = pos & 4095;
      win.end = pos + 16;
      lifter.lift(win, mode, b, 1);
    }
    insns += b.insns;
    ops += b.n;
    blocks++;
    pos = win.pos;
  }
  return { insns, ops, blocks };
}
for (let k = 0; k < 5; k++) {
  const t0 = performance.now();
  const { insns, ops, blocks } = pass();
  const ns = ((performance.now() - t0) * 1e6) / insns;
  console.log(`pass ${k + 1}: ${insns} instructions in ${blocks} blocks, ${(ops / insns).toFixed(2)} ops each, ${ns.toFixed(0)} ns per instruction`);
}
