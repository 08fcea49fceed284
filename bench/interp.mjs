// bench/interp: speed of the interpreter in simple IR ops per second, on loops typical of integer code.
//   node bench/interp.mjs (after npm run build)
import { ConstPool, IrBuilder } from '../dist/engine/ir/builder.js';
import { Op } from '../dist/engine/ir/ops.js';
import { compileForInterp } from '../dist/engine/interp/compile.js';
import { Interpreter } from '../dist/engine/interp/interp.js';
import { HelperRegistry } from '../dist/engine/helpers.js';
import { runPasses } from '../dist/engine/ir/passes.js';
import { Access, Cc, Fl, NONE, STATE_BYTES, Slot, TLB_BASE, TlbField } from '../dist/engine/state.js';
import { commandLine } from '../scripts/command-line.mjs';

commandLine(import.meta.url);
const ram = new ArrayBuffer(1 << 20);
const state = new ArrayBuffer(STATE_BYTES);
const V = new Int32Array(state);
const helpers = new HelperRegistry();
const cpu = {
  index: 0, V, U8: new Uint8Array(state), stateAddress: 0, helpers, mode: 0, mmuIdx: 0, halted: false, shutdown: false,
  map: { ram8: new Uint8Array(ram), ram16: new Uint16Array(ram), ram32: new Int32Array(ram), ramView: new DataView(ram) },
  load() { throw new Error('TLB miss'); },
  store() { throw new Error('TLB miss'); },
};
const pool = new ConstPool();
pool.attach(V);
for (let page = 0; page < 16; page++) {
  const e = (TLB_BASE >> 2) + page * 8;
  for (const tag of [TlbField.TAG_READ, TlbField.TAG_WRITE]) {
    V[e + (tag >> 2)] = page << 12;
    V[e + (tag >> 2) + 1] = 0;
  }
  V[e + (TlbField.RAM_PAGE >> 2)] = page << 12;
}
const r = (i) => Slot.GPR + i;

/** A loop body of a few guest instructions; every third instruction touches memory. */
function body(b, w) {
  b.insn(0, 4);
  b.alu(Op.ADD, w, r(0), r(0), r(1), Fl.ALL);
  b.insn(4, 8);
  const t = b.temp();
  b.lea(3, t, r(3), NONE, 0, 16);
  b.ld(w, r(2), t);
  b.insn(8, 12);
  b.alu(Op.AND, w, r(2), r(2), b.k(0xffff), Fl.ALL);
  b.insn(12, 16);
  b.alu(Op.XOR, w, r(0), r(0), r(2), Fl.ALL);
  b.insn(16, 20);
  const u = b.temp();
  b.lea(3, u, r(3), r(4), 3, 64);
  b.st(w, u, r(0));
  b.insn(20, 24);
  b.mov(w, r(5), r(0));
  b.insn(24, 28);
  b.alu(Op.SHL, w, r(5), r(5), b.k(3), Fl.ALL);
  b.insn(28, 32);
  const v = b.temp();
  b.ld(0, v, t, Access.NORMAL);
  b.zx(0, r(6), v);
  b.insn(32, 36);
  b.alu(Op.SUB, w, r(7), r(7), b.k(1), Fl.ALL);
  b.insn(36, 40);
  b.alu(Op.SUB, w, NONE, r(7), b.k(0), Fl.ALL);
  b.insn(40, 44);
  b.jcc(Cc.NE, 0, 44);
}

const interp = new Interpreter();
for (const [name, w, passes] of [['32-bit', 2, false], ['32-bit, passes', 2, true], ['64-bit', 3, false], ['64-bit, passes', 3, true]]) {
  const b = new IrBuilder(pool);
  b.begin();
  body(b, w);
  if (passes) runPasses(b, helpers);
  const ops = b.n;
  const block = compileForInterp(b);
  V[r(3) * 2] = 0x1000;
  V[r(3) * 2 + 1] = 0;
  V[r(4) * 2] = 5;
  V[r(4) * 2 + 1] = 0;
  let best = Infinity;
  for (let round = 0; round < 5; round++) {
    const n = 500_000;
    const t0 = performance.now();
    for (let i = 0; i < n; i++) interp.runBlock(cpu, block);
    best = Math.min(best, (performance.now() - t0) / n);
  }
  console.log(`${name}: ${ops} ops, ${(best * 1e6).toFixed(1)} ns per block, ${(ops / best / 1e3).toFixed(1)} million ops/s`);
}

// Translation cost: passes and compilation per IR op.
const rounds = 20_000;
const b = new IrBuilder(pool);
let passTime = 0;
let compileTime = 0;
let total = 0;
for (let i = 0; i < rounds; i++) {
  b.begin();
  body(b, 2);
  body(b, 3);
  b.n -= 1;
  body(b, 2);
  total += b.n;
  const t0 = performance.now();
  runPasses(b, helpers);
  const t1 = performance.now();
  compileForInterp(b);
  const t2 = performance.now();
  passTime += t1 - t0;
  compileTime += t2 - t1;
}
console.log(`passes: ${((passTime * 1e6) / total).toFixed(1)} ns per op; compileForInterp: ${((compileTime * 1e6) / total).toFixed(1)} ns per op`);
