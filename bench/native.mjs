// bench/native: what entering generated code costs, and its neighbours. ns per NativeContext.run() of an empty function.
//   node bench/native.mjs (after npm run build)
import { loadNative } from '#lib/native.js';
import { commandLine } from '../scripts/command-line.mjs';

commandLine(import.meta.url);
const native = loadNative();
const state = native.allocState(2 << 20);
const exec = native.allocExec(1 << 20);
new Uint8Array(exec.buffer).set([0xc3]);
const context = native.createContext(state, exec);
const entry = exec.address;

function measure(name, calls, body) {
  body(calls / 10);
  let best = Infinity;
  for (let round = 0; round < 5; round++) {
    const start = native.now();
    body(calls);
    best = Math.min(best, (native.now() - start) / calls);
  }
  console.log(`${name.padEnd(34)} ${best.toFixed(1)} ns`);
}

measure('run() of an empty function', 2e6, (n) => {
  for (let i = 0; i < n; i++) context.run(entry);
});
context.setEntries(entry, entry);
measure('resume() of an empty function', 2e6, (n) => {
  for (let i = 0; i < n; i++) context.resume();
});
measure('setDeadline(), later each time', 1e6, (n) => {
  const base = native.now() + 1e12;
  for (let i = 0; i < n; i++) context.setDeadline(base + i);
});
let sooner = native.now() + 5e11;
measure('setDeadline(), earlier each time', 1e5, (n) => {
  for (let i = 0; i < n; i++) context.setDeadline((sooner -= 10));
});
context.setDeadline(Infinity);
measure('now()', 1e6, (n) => {
  for (let i = 0; i < n; i++) native.now();
});
measure('kick()', 1e6, (n) => {
  for (let i = 0; i < n; i++) context.kick();
});
measure('wait(0)', 1e5, (n) => {
  for (let i = 0; i < n; i++) context.wait(0);
});
// The second round tells the kernel's cost; in the first the host of a virtualised machine may have to find memory, too.
for (let round = 0; round < 2; round++) {
  const ram = native.allocRam(256 << 20);
  const bytes = new Uint8Array(ram.buffer);
  const start = native.now();
  for (let i = 0; i < bytes.length; i += 4096) bytes[i] = 1;
  console.log(`first touch of guest RAM            ${((native.now() - start) / (bytes.length / 4096)).toFixed(0)} ns per 4 KiB page`);
  native.free(ram);
}
context.dispose();
native.free(state);
native.free(exec);
