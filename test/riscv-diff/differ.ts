/** Compares results of the emulator with those of qemu-user. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setImmediate } from 'node:timers/promises';
import { type Difference, onPath, type Runner } from '../arm64-diff/differ.js';
import { Emulator } from './emulate.js';
import { Generator, type Family } from './generate.js';
import { At, RECORD, STATE_REG, VECTOR_RECORD } from './state.js';
import { VectorGenerator } from './generate-vector.js';

const COMPILERS = ['riscv64-linux-gnu-gcc', 'riscv64-linux-gnu-gcc-12', 'riscv64-linux-gnu-gcc-14'];
const QEMU = ['qemu-riscv64-static', 'qemu-riscv64'];

/** Builds the runner. @param vlen with vectors of so many bits @returns the command that runs it, or a reason why it cannot be had. */
export function buildRunner(dir: string, vlen?: number): Runner | { missing: string } {
  const cc = COMPILERS.find(onPath);
  const qemu = QEMU.find(onPath);
  if (cc === undefined || qemu === undefined) return { missing: `${cc === undefined ? COMPILERS[0]! : QEMU[0]!} is not installed` };
  const out = join(dir, `runner${vlen ?? ''}`);
  const define = vlen === undefined ? [] : [`-DVLENB=${vlen / 8}`];
  execFileSync(cc, ['-O1', '-static', '-Wl,--no-relax', ...define, '-o', out, fileURLToPath(new URL('runner.c', import.meta.url))], { stdio: 'pipe' });
  return { command: qemu, args: ['-cpu', vlen === undefined ? 'max' : `rv64,v=true,vlen=${vlen},elen=64`, out] };
}

const FIELDS: readonly (readonly [string, number])[] = [
  ...Array.from({ length: 32 }, (_, i) => [`x${i}`, At.X + 8 * i] as const).filter(([n]) => n !== 'x0' && n !== `x${STATE_REG}`),
  ...Array.from({ length: 32 }, (_, i) => [`f${i}`, At.F + 8 * i] as const),
  ['fcsr', At.FCSR], ['memory', At.MEMORY],
];

const VECTOR_FIELDS: readonly (readonly [string, number])[] = [
  ...FIELDS, ['vcsr', At.VCSR], ['vl', At.VL], ['vtype', At.VTYPE], ['vstart', At.VSTART], ...Array.from({ length: 128 }, (_, i) => [`v bytes ${i * 8}`, At.V + i * 8] as const),
];

/** First difference of two results, or null. */
function compare(a: DataView, b: DataView, at: number, fields: typeof FIELDS): string | null {
  const sa = a.getBigInt64(at + At.SIGNAL, true);
  const sb = b.getBigInt64(at + At.SIGNAL, true);
  // QEMU tells addresses that cannot be from those where nothing is.
  if (sa !== sb && !(BigInt.asIntN(64, sa) === 7n && sb === 11n && fields === VECTOR_FIELDS)) return `signal ${sa} (ours ${sb})`;
  if (sa !== 0n) return null;
  for (const [name, off] of fields) {
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
  /** Generated code, but for what is executed where it is met for the first time. */
  first?: boolean;
  limit?: number;
  /** Vector instructions, with registers of so many bits. */
  vlen?: number;
}

export async function runDifferential(runner: Runner, o: Options): Promise<Difference[]> {
  const generator = o.vlen === undefined ? new Generator(o.seed, o.families) : new VectorGenerator(o.seed, o.vlen);
  const record = o.vlen === undefined ? RECORD : VECTOR_RECORD;
  const fields = o.vlen === undefined ? FIELDS : VECTOR_FIELDS;
  const emulator = new Emulator(o.jit, o.vlen, o.first);
  const found: Difference[] = [];
  const batch = 2000;
  for (let done = 0; done < o.cases && found.length < (o.limit ?? 20); done += batch) {
    // The test runner wants to hear from its tests.
    await setImmediate();
    const n = Math.min(batch, o.cases - done);
    const input = new Uint8Array(n * record);
    const view = new DataView(input.buffer);
    const names: string[] = [];
    for (let i = 0; i < n; i++) names.push(generator.make(view, i * record, done + i).name);
    const native = execFileSync(runner.command, runner.args, { input, maxBuffer: 1 << 28 });
    if (native.length !== input.length) throw new Error(`the runner gave ${native.length / record} results for ${n} cases`);
    const want = new DataView(native.buffer, native.byteOffset, native.length);
    const have = new DataView(new ArrayBuffer(n * record));
    for (let i = 0; i < n; i++) {
      const at = i * record;
      const insn = view.getUint32(at + At.CODE, true);
      const word = insn.toString(16).padStart(8, '0');
      try {
        emulator.run(view, have, at);
      } catch (e) {
        throw new Error(`${names[i]} ${word}: ${(e as Error).stack}`, { cause: e });
      }
      const d = compare(want, have, at, fields);
      if (d === null) continue;
      const vector = o.vlen === undefined ? '' : `; vtype ${view.getUint32(at + At.VTYPE, true).toString(16)} vl ${view.getUint32(at + At.VL, true)} vstart ${view.getUint32(at + At.VSTART, true)} count ${view.getUint32(at + At.COUNT, true)}`;
      const inputs = [15, 20, 27].map((s) => (insn >>> s) & 31).map((r) => `x${r}=${view.getBigUint64(at + At.X + 8 * r, true).toString(16)} f${r}=${view.getBigUint64(at + At.F + 8 * r, true).toString(16)}`);
      found.push({ name: names[i]!, word, text: `${d}${vector}; fcsr ${view.getUint32(at + At.FCSR, true).toString(16)} ${inputs.join(' ')}`, case: done + i });
    }
  }
  if (o.first === true && emulator.firstRuns === 0) throw new Error('no instruction has been executed without being translated');
  return found;
}
