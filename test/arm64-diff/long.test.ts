/** The long run of bench/arm64-differential.mjs; without its environment there is nothing to do here. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildRunner, runDifferential } from './differ.js';
import type { Family } from './generate.js';

const { A64_CASES, A64_SEED, A64_FAMILY, A64_INTERP } = process.env;

describe.skipIf(A64_CASES === undefined)('long differential run', () => {
  it('finds no difference', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'vmx-a64-'));
    try {
      const runner = buildRunner(dir);
      if ('missing' in runner) throw new Error(runner.missing);
      const families = A64_FAMILY === undefined || A64_FAMILY === '' ? undefined : (A64_FAMILY.split(',') as Family[]);
      const found = await runDifferential(runner, { seed: Number(A64_SEED), cases: Number(A64_CASES), families, jit: A64_INTERP !== '1', limit: 40 });
      for (const d of found) console.log(`${d.case} ${d.name} ${d.word}: ${d.text}`);
      expect(found.length).toBe(0);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }, 36_000_000);
});
