// Brings a checkout to the point where dist/ and the addon are there, doing only what is missing.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Newest modification time of the files below dir. */
function newest(dir) {
  let t = 0;
  for (const e of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, e.name);
    t = Math.max(t, e.isDirectory() ? newest(path) : statSync(path).mtimeMs);
  }
  return t;
}

/** @param {(what: string) => void} step told before each thing that takes time. Ends the process if one fails. */
export function ensureBuilt(step) {
  // Everything goes to standard error: standard output may be the guest's.
  const run = (what, cmd, args) => {
    step(what);
    const r = spawnSync(cmd, args, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
    if (r.status === 0) return;
    step(`'${cmd} ${args.join(' ')}' failed${r.error ? `: ${r.error.message}` : ''}`);
    process.exit(1);
  };
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const missing = Object.keys({ ...dependencies, ...devDependencies }).some((name) => !existsSync(join(root, 'node_modules', name)));
  if (missing) run('installing dependencies and building the addon', 'npm', ['ci', '--no-audit', '--no-fund']);
  if (!existsSync(join(root, 'build/Release')) && !existsSync(join(root, 'prebuilds'))) run('building the addon', 'npx', ['node-gyp', 'rebuild']);
  // The compiler's notes of what it has compiled: it writes them last, and only files that have changed.
  const notes = join(root, 'dist/.tsbuildinfo');
  if (!existsSync(notes) || statSync(notes).mtimeMs < newest(join(root, 'lib'))) run('compiling', 'npx', ['tsc', '-p', 'tsconfig.json']);
  const program = join(root, 'dist/program/cli.cjs');
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(notes).mtimeMs) run('putting the program together', process.execPath, ['scripts/bundle.mjs']);
}
