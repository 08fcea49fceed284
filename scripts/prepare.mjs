// Before the tests: dependencies, addon, TypeScript, guests; only what is missing.
import { spawnSync } from 'node:child_process';
import { ensureBuilt, root } from './build.mjs';

ensureBuilt((what) => process.stderr.write(`test: ${what}\n`));
// Without guests the tests that need them are skipped and say so.
spawnSync(process.execPath, ['scripts/guests.mjs'], { cwd: root, stdio: 'inherit' });
