// bench/fuzz-protocols: the long run of the protocol fuzzers (VNC, QMP, GDB and the user network under damaged messages). As many messages as one likes, any seed.
//   node bench/fuzz-protocols.mjs [--messages 1000000] [--seed N]
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';

const { values: o } = parseArgs({ options: { messages: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' } } });
for (const [k, v] of Object.entries(o)) {
  if (/^\d+$/.test(v)) continue;
  console.error(`fuzz-protocols: --${k}: '${v}' is not a number`);
  process.exit(2);
}
const r = spawnSync('npx', ['vitest', 'run', 'test/control/fuzz.test.ts', 'test/net/fuzz.test.ts', '--testTimeout=0', '--hookTimeout=0'], {
  cwd: fileURLToPath(new URL('..', import.meta.url)), env: { ...process.env, VMX_FUZZ_MESSAGES: o.messages, VMX_FUZZ_SEED: o.seed }, stdio: 'inherit',
});
process.exit(r.status ?? 1);
