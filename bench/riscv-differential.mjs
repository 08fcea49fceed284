// bench/riscv-differential: random RV64GC instructions against qemu-user; status 1 on a difference.
//   node bench/riscv-differential.mjs --cases 100000 [--seed 1] [--family int,mem,fp,flow,rvc] [--interp | --first]
// --first: generated code, but simple instructions are executed where they are met for the first time (docs/adr/0065)
//   node bench/riscv-differential.mjs --vlen 128 --cases 100000: vector instructions (128 or 256 bits)
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const args = process.argv.slice(2);
const value = (name, dflt) => {
  const i = args.indexOf(`--${name}`);
  return i < 0 ? dflt : args[i + 1];
};
const env = {
  ...process.env,
  RV64_CASES: value('cases', '100000'),
  RV64_SEED: value('seed', '1'),
  RV64_FAMILY: value('family', ''),
  RV64_VLEN: value('vlen', ''),
  RV64_INTERP: args.includes('--interp') ? '1' : '',
  RV64_FIRST: args.includes('--first') ? '1' : '',
};
execFileSync('npx', ['vitest', 'run', '--reporter=basic', 'test/riscv-diff/long.test.ts'], { cwd: fileURLToPath(new URL('..', import.meta.url)), env, stdio: 'inherit' });
