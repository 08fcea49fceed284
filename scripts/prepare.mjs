// Before the tests: dependencies, addon, TypeScript, guests; only what is missing.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const root = new URL('..', import.meta.url).pathname;
function run(cmd, args, optional = false) {
  const r = spawnSync(cmd, args, { cwd: root, stdio: 'inherit' });
  if (r.status !== 0 && !optional) process.exit(r.status ?? 1);
}
const { dependencies, devDependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
if (Object.keys({ ...dependencies, ...devDependencies }).some((name) => !existsSync(`${root}node_modules/${name}`))) run('npm', ['ci', '--no-audit', '--no-fund']);
if (!existsSync(`${root}build/Release`) && !existsSync(`${root}prebuilds`)) run('npx', ['node-gyp', 'rebuild']);
run('npx', ['tsc', '-p', 'tsconfig.json']);
run('node', ['scripts/guests.mjs'], true);
