/** Compares results of the emulator with those of qemu-user. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setImmediate } from 'node:timers/promises';
import { type Difference, onPath, type Runner } from '../arm64-diff/differ.js';
import { Emulator } from './emulate.js';
import { Generator, type Family } from './generate.js';
import { At, RECORD, STATE_REG } from './state.js';

const COMPILERS = ['riscv64-linux-gnu-gcc', 'riscv64-linux-gnu-gcc-12', 'riscv64-linux-gnu-gcc-14'];
const QEMU = ['qemu-riscv64-static', 'qemu-riscv64'];

/** Builds the runner. @returns the command that runs it, or a reason why it cannot be had. */
export function buildRunner(dir: string): Runner | { missing: string } {
  const cc = COMPILERS.find(onPath);
  const qemu = QEMU.find(onPath);
  if (cc === undefined || qemu === undefined) return { missing: `${cc === undefined ? COMPILERS[0]! : QEMU[0]!} is not installed` };
  const out = join(dir, 'runner');
  execFileSync(cc, ['-O1', '-static', '-Wl,--no-relax', '-o', out, fileURLToPath(new URL('runner.c', import.meta.url))], { stdio: 'pipe' });
  return { command: qemu, args: ['-cpu', 'max', out] };
}

const FIELDS: readonly (readonly [string, number])[] = [
  ...Array.from({ length: 32 }, (_, i) => [`x${i}`, At.X + 8 * i] as const).filter(([n]) => n !== 'x0' && n !== `x${STATE_REG}`),
  ...Array.from({ length: 32 }, (_, i) => [`f${i}`, At.F + 8 * i] as const),
  ['fcsr', At.FCSR], ['memory', At.MEMORY],
];

/** First difference of two results, or null. */
function compare(a: DataView, b: DataView, at: number): string | null {
  const sa = a.getBigInt64(at + At.SIGNAL, true);
  const sb = b.getBigInt64(at + At.SIGNAL, true);
  if (sa !== sb) return `signal ${sa} (ours ${sb})`;
  if (sa !== 0n) return null;
  for (const [name, off] of FIELDS) {
    const x = a.getBigUint64(at + off, true);
    const y = b.getBigUint64(at + off, true);
    if (x !== y) return `${name} ${x.toString(16)} (ours ${y.toString(16)})`;
  }
  return null;
}

export interface Options {
  seed: number;
  cases: number;
  families?: readonly Family[];
  jit: boolean;
  limit?: number;
}

export async function runDifferential(runner: Runner, o: Options): Promise<Difference[]> {
  const generator = new Generator(o.seed, o.families);
  const emulator = new Emulator(o.jit);
  const found: Difference[] = [];
  const batch = 2000;
  for (let done = 0; done < o.cases && found.length < (o.limit ?? 20); done += batch) {
    // The test runner wants to hear from its tests.
    await setImmediate();
    const n = Math.min(batch, o.cases - done);
    const input = new Uint8Array(n * RECORD);
    const view = new DataView(input.buffer);
    const names: string[] = [];
    for (let i = 0; i < n; i++) names.push(generator.make(view, i * RECORD, done + i).name);
    const native = execFileSync(runner.command, runner.args, { input, maxBuffer: 1 << 28 });
    if (native.length !== input.length) throw new Error(`the runner gave ${native.length / RECORD} results for ${n} cases`);
    const want = new DataView(native.buffer, native.byteOffset, native.length);
    const have = new DataView(new ArrayBuffer(n * RECORD));
    for (let i = 0; i < n; i++) {
      const at = i * RECORD;
      const insn = view.getUint32(at + At.CODE, true);
      const word = insn.toString(16).padStart(8, '0');
      try {
        emulator.run(view, have, at);
      } catch (e) {
        throw new Error(`${names[i]} ${word}: ${(e as Error).stack}`, { cause: e });
      }
      const d = compare(want, have, at);
      if (d === null) continue;
      const inputs = [15, 20, 27].map((s) => (insn >>> s) & 31).map((r) => `x${r}=${view.getBigUint64(at + At.X + 8 * r, true).toString(16)} f${r}=${view.getBigUint64(at + At.F + 8 * r, true).toString(16)}`);
      found.push({ name: names[i]!, word, text: `${d}; fcsr ${view.getUint32(at + At.FCSR, true).toString(16)} ${inputs.join(' ')}`, case: done + i });
    }
  }
  return found;
}
