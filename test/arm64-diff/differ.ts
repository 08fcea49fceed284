/** Compares results of the emulator with those of qemu-user. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setImmediate } from 'node:timers/promises';
import { Emulator } from './emulate.js';
import { Generator, type Family } from './generate.js';
import { At, RECORD } from './state.js';

export const COMPILERS = ['aarch64-linux-gnu-gcc', 'aarch64-linux-gnu-gcc-12', 'aarch64-linux-gnu-gcc-14'];
export const QEMU = ['qemu-aarch64-static', 'qemu-aarch64'];
export const onPath = (name: string): boolean => (process.env.PATH ?? '').split(':').some((d) => existsSync(join(d, name)));

/** The command that executes cases from standard input. */
export interface Runner {
  command: string;
  args: string[];
}

/** Builds the runner. @returns the command that runs it, or a reason why it cannot be had. */
export function buildRunner(dir: string): Runner | { missing: string } {
  const cc = COMPILERS.find(onPath);
  const qemu = QEMU.find(onPath);
  if (cc === undefined || qemu === undefined) return { missing: `${cc === undefined ? COMPILERS[0]! : QEMU[0]!} is not installed` };
  const out = join(dir, 'runner');
  execFileSync(cc, ['-O1', '-static', '-o', out, fileURLToPath(new URL('runner.c', import.meta.url))], { stdio: 'pipe' });
  return { command: qemu, args: ['-cpu', 'max,pauth-impdef=on', out] };
}

export interface Difference {
  name: string;
  word: string;
  text: string;
  case: number;
}

const FIELDS: readonly (readonly [string, number])[] = [
  ...Array.from({ length: 31 }, (_, i) => [`x${i}`, At.X + 8 * i] as const).filter(([n]) => n !== 'x28'),
  ['sp', At.SP], ['nzcv', At.NZCV], ['fpsr', At.FPSR], ['memory', At.MEMORY],
  ...Array.from({ length: 32 }, (_, i) => [[`v${i}`, At.V + 16 * i], [`v${i}.hi`, At.V + 16 * i + 8]] as const).flat(),
];

/** Features that QEMU has and this CPU does not advertise: mask, value, name. */
const ABSENT: readonly (readonly [number, number, string])[] = [
  [0xfe40_0000, 0x6800_0000, 'FEAT_MTE'],
  [0xbf20_fc00, 0x0e20_ec00, 'FEAT_FHM'], [0xbf20_fc00, 0x2e20_cc00, 'FEAT_FHM'],
  [0xbfc0_b400, 0x0f80_0000, 'FEAT_FHM'], [0xbfc0_b400, 0x2f80_8000, 'FEAT_FHM'],
  [0xbf00_f400, 0x0f00_f000, 'FEAT_I8MM, FEAT_BF16'], [0xbf00_9400, 0x2f00_1000, 'FEAT_FCMA'],
  [0xffff_fc00, 0x1e7e_0000, 'FEAT_JSCVT'], [0xffff_fc00, 0x1e63_4000, 'FEAT_BF16'], [0x9fbf_ec00, 0x0e21_e800, 'FEAT_FRINTTS'], [0xff3e_7c00, 0x1e28_4000, 'FEAT_FRINTTS'],
];

/** First difference of two results, or null. */
function compare(a: DataView, b: DataView, at: number): string | null {
  const sa = a.getBigInt64(at + At.SIGNAL, true);
  const sb = b.getBigInt64(at + At.SIGNAL, true);
  const word = a.getUint32(at + At.CODE, true);
  if (sb === 4n && ABSENT.some(([m, v]) => (word & m) === (v | 0))) return null;
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
      const word = view.getUint32(i * RECORD + At.CODE, true).toString(16).padStart(8, '0');
      try {
        emulator.run(view, have, i * RECORD);
      } catch (e) {
        throw new Error(`${names[i]} ${word}: ${(e as Error).stack}`, { cause: e });
      }
      const d = compare(want, have, i * RECORD);
      if (d !== null) {
        const regs = [0, 5, 10, 16].map((s) => (parseInt(word, 16) >>> s) & 31);
        const inputs = regs.map((r) => `x${r}=${r < 31 ? view.getBigUint64(i * RECORD + 8 * r, true).toString(16) : ''} v${r}=${view.getBigUint64(i * RECORD + At.V + 16 * r + 8, true).toString(16)}:${view.getBigUint64(i * RECORD + At.V + 16 * r, true).toString(16)}`);
        found.push({ name: names[i]!, word, text: `${d}; fpcr ${view.getUint32(i * RECORD + At.FPCR, true).toString(16)} nzcv ${view.getUint32(i * RECORD + At.NZCV, true).toString(16)} ${inputs.join(' ')}`, case: done + i });
      }
    }
  }
  return found;
}
