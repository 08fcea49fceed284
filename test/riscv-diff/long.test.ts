/** The long run of bench/riscv-differential.mjs; without its environment there is nothing to do here. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildRunner, runDifferential } from './differ.js';
import type { Family } from './generate.js';

const { RV64_CASES, RV64_SEED, RV64_FAMILY, RV64_INTERP, RV64_FIRST, RV64_VLEN } = process.env;

describe.skipIf(RV64_CASES === undefined)('long differential run', () => {
  it('finds no difference', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'vmx-rv64-'));
    try {
      const vlen = RV64_VLEN === undefined || RV64_VLEN === '' ? undefined : Number(RV64_VLEN);
      const runner = buildRunner(dir, vlen);
      if ('missing' in runner) throw new Error(runner.missing);
      const families = RV64_FAMILY === undefined || RV64_FAMILY === '' ? undefined : (RV64_FAMILY.split(',') as Family[]);
      const found = await runDifferential(runner, { seed: Number(RV64_SEED), cases: Number(RV64_CASES), families, jit: RV64_INTERP !== '1', first: RV64_FIRST === '1', limit: 40, vlen });
      for (const d of found) console.log(`${d.case} ${d.name} ${d.word}: ${d.text}`);
      expect(found.length).toBe(0);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }, 36_000_000);
});
