/** A fixed run against the host CPU. Longer ones: bench/differential.mjs. */
import { describe, expect, it } from 'vitest';
import { loadNative } from '#lib/native.js';
import { runDifferential, supported } from './differ.js';
import { FAMILIES, templates } from './templates.js';

const CASES = 100_000;
/** In portions, so that the runner hears from this process. */
const PORTIONS = 20;
const yieldToRunner = (): Promise<void> => new Promise((done) => setImmediate(done));

describe.skipIf(!supported())('random sequences on the host CPU, the interpreter and the JIT', () => {
  const covered = new Set<string>();

  for (let k = 0; k < PORTIONS; k++) {
    it(`portion ${k}`, { timeout: 300_000 }, async () => {
      const n = CASES / PORTIONS;
      const r = runDifferential({ cases: n, seed: 1, first: k * n, limit: 5 });
      for (const id of r.covered.keys()) covered.add(id);
      expect(r.differences.map((d) => d.text).join('\n\n')).toBe('');
      await yieldToRunner();
    });
  }

  it('covers every unprivileged row that the host has', () => {
    const all = templates(new Set(loadNative().cpuFeatures())).templates;
    expect(all.filter((t) => FAMILIES.includes(t.family) && !covered.has(t.id)).map((t) => t.id)).toEqual([]);
  });
});
