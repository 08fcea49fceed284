// bench/fuzz-protocols: the long run of the protocol fuzzers (VNC, QMP, GDB and the user network under damaged messages). As many messages as one likes, any seed.
//   node bench/fuzz-protocols.mjs [--messages 1000000] [--seed N]
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { commandLine } from '../scripts/command-line.mjs';

const { values: o } = commandLine(import.meta.url, { options: { messages: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' } } });
const r = spawnSync('npx', ['vitest', 'run', 'test/control/fuzz.test.ts', 'test/net/fuzz.test.ts', '--testTimeout=0', '--hookTimeout=0'], {
  cwd: fileURLToPath(new URL('..', import.meta.url)), env: { ...process.env, VMX_FUZZ_MESSAGES: o.messages, VMX_FUZZ_SEED: o.seed }, stdio: 'inherit',
});
process.exit(r.status ?? 1);
