// bench/riscv-tests: the ISA tests of riscv-software-src/riscv-tests on vmx-accel.
//   node bench/riscv-tests.mjs --tree DIR [--accel jit|interp] [--cpu max] [--lockstep] [--only TEXT] [--timeout 60] [--json FILE] [--verbose]
// DIR is the folder isa/ of a checkout, built for XLEN=64. Each program runs without firmware and ends through `tohost`:
// 1 is a pass, otherwise the number of the test that failed, shifted left by one.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { VirtualMachine } from '../dist/index.js';

const { values: o } = commandLine(import.meta.url, {
  options: {
    tree: { type: 'string' }, accel: { type: 'string', default: 'jit' }, cpu: { type: 'string', default: 'max' }, lockstep: { type: 'boolean', default: false }, only: { type: 'string' },
    timeout: { type: 'string', default: '60' }, json: { type: 'string' }, verbose: { type: 'boolean', default: false },
  },
});
const tree = o.tree ?? '';
const names = existsSync(tree) ? readdirSync(tree).filter((n) => /^rv64\w+-[pv]-[\w-]+$/.test(n) && statSync(join(tree, n)).isFile()) : [];
if (names.length === 0) badUsage(import.meta.url, '--tree: has to name the built folder isa/ of a checkout of riscv-tests');
const commit = (() => {
  try {
    return execFileSync('git', ['-C', tree, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
})();

/** @returns 'pass', or what happened instead. */
async function run(name) {
  const logs = [];
  const vm = await VirtualMachine.create({ accel: o.accel, cpu: o.cpu, kernel: join(tree, name), firmware: 'none', memory: '64M', noReboot: true, debug: o.lockstep ? { lockstep: true, lockstepEvery: 1 } : {} });
  vm.serial.resume();
  vm.on('log', (m) => logs.push(m));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void vm.stop();
  }, Number(o.timeout) * 1000);
  vm.start();
  const end = await vm.wait();
  clearTimeout(timer);
  if (late) return `timeout after ${o.timeout} s`;
  if (end.reason === 'power-off') return 'pass';
  return end.reason === 'exit' ? `test ${end.status} failed` : `${end.reason}: ${end.message} ${logs.join('; ')}`;
}

const results = {};
let passed = 0;
const wanted = names.filter((n) => o.only === undefined || n.includes(o.only));
for (const name of wanted) {
  let r;
  try {
    r = await run(name);
  } catch (e) {
    r = `error: ${e.message}`;
  }
  results[name] = r;
  if (r === 'pass') passed++;
  if (r !== 'pass' || o.verbose) process.stdout.write(`${name}: ${r}\n`);
}
process.stdout.write(`riscv-tests ${commit}, --accel ${o.accel}${o.lockstep ? ' in lockstep' : ''}: ${passed} of ${wanted.length} pass\n`);
if (o.json !== undefined) writeFileSync(o.json, `${JSON.stringify({ commit, accel: o.accel, passed, of: wanted.length, results }, null, 2)}\n`);
process.exitCode = passed === wanted.length ? 0 : 1;
