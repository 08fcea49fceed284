/** A64 instructions against qemu-user: a fixed set of random cases, interpreter and generated code. bench/arm64-differential.mjs runs more. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { buildRunner, runDifferential } from './differ.js';

const dir = mkdtempSync(join(tmpdir(), 'vmx-a64-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const runner = noAddon === null ? buildRunner(dir) : { missing: noAddon };

describe.skipIf(skipFor('missing' in runner ? runner.missing : null))('A64 instructions as qemu-user executes them', () => {
  for (const jit of [false, true]) {
    it(jit ? 'generated code' : 'interpreter', async () => {
      if ('missing' in runner) return;
      expect(await runDifferential(runner, { seed: jit ? 2 : 1, cases: 6000, jit })).toEqual([]);
    }, 300_000);
  }
});
