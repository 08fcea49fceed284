// bench/fuzz: the long run of the device fuzzer, on the fuzz targets of the tests. As many operations as one likes, any seed.
//   node bench/fuzz.mjs --device NAME --ops 10000000 [--seed N]     NAME as in a machine's list, such as i82077; 'all' for every one
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { badUsage, commandLine } from '../scripts/command-line.mjs';

const { values: o } = commandLine(import.meta.url, { options: { device: { type: 'string' }, ops: { type: 'string', default: '10000000' }, seed: { type: 'string', default: '0' } } });
if (o.device === undefined) badUsage(import.meta.url, '--device NAME is missing (all: every device)');

const env = { ...process.env, VMX_FUZZ_OPS: o.ops, VMX_FUZZ_SEED: o.seed };
if (o.device !== 'all') env.VMX_FUZZ_DEVICE = o.device;
// Targets stand in the devices' tests; those of other devices return at once. A target that runs for minutes keeps its process from
// answering the test runner, which complains: that alone is no failure.
const r = spawnSync('npx', ['vitest', 'run', 'test/devices', '--testTimeout=0', '--hookTimeout=0', '--reporter=dot', '--dangerouslyIgnoreUnhandledErrors'], { cwd: fileURLToPath(new URL('..', import.meta.url)), env, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] });
const lines = r.stderr.split('\n').filter((l) => l.startsWith('fuzz: '));
for (const l of lines) console.log(l);
const errors = (r.stdout + r.stderr).match(/Unhandled \w+ ⎯+\s+.*/g) ?? [];
if (r.status !== 0 || errors.some((e) => !e.includes('Timeout calling "onTaskUpdate"'))) {
  console.error(r.stdout);
  console.error(r.stderr);
  process.exit(1);
}
if (lines.length === 0) badUsage(import.meta.url, `--device: no fuzz target is called '${o.device}'`);
