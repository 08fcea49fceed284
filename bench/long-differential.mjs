// What the differential benches of RISC-V and ARM64 have in common: they run a test file (test/riscv-diff, test/arm64-diff), which takes its options from the environment.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { badUsage, commandLine } from '../scripts/command-line.mjs';

/**
 * Runs the cases and ends with the test's status.
 * @param url of the bench's file
 * @param test the file, relative to the repository
 * @param prefix of the variables: option `cases` is the variable `prefix_CASES`
 * @param families the names that --family takes
 * @param flags further options that are on or off
 * @param texts further options with a value
 */
export function longDifferential(url, test, prefix, families, flags, texts = []) {
  const options = { cases: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' }, family: { type: 'string', default: '' } };
  for (const name of texts) options[name] = { type: 'string', default: '' };
  for (const name of flags) options[name] = { type: 'boolean', default: false };
  const { values } = commandLine(url, { options });
  for (const name of values.family === '' ? [] : values.family.split(',')) if (!families.includes(name)) badUsage(url, `--family: ${name} is none of ${families.join(', ')}`);
  const env = { ...process.env };
  for (const [name, value] of Object.entries(values)) env[`${prefix}_${name.toUpperCase()}`] = value === true ? '1' : value === false ? '' : value;
  const run = spawnSync('npx', ['vitest', 'run', '--reporter=basic', test], { cwd: fileURLToPath(new URL('..', import.meta.url)), env, stdio: 'inherit' });
  process.exit(run.status ?? 1);
}
