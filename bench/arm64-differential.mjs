// bench/arm64-differential: random A64 instructions against qemu-user; status 1 on a difference.
//   node bench/arm64-differential.mjs --cases 100000 [--seed 1] [--family int,mem,simd,fp,flow] [--interp]
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const args = process.argv.slice(2);
const value = (name, dflt) => {
  const i = args.indexOf(`--${name}`);
  return i < 0 ? dflt : args[i + 1];
};
const env = {
  ...process.env,
  A64_CASES: value('cases', '100000'),
  A64_SEED: value('seed', '1'),
  A64_FAMILY: value('family', ''),
  A64_INTERP: args.includes('--interp') ? '1' : '',
};
execFileSync('npx', ['vitest', 'run', '--reporter=basic', 'test/arm64-diff/long.test.ts'], { cwd: fileURLToPath(new URL('..', import.meta.url)), env, stdio: 'inherit' });
