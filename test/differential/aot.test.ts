/** As differential.test.ts, with code that has gone through the code cache. */
import { describe, expect, it } from 'vitest';
import { loadNative } from '#lib/native.js';
import { Differ, runDifferential, supported } from './differ.js';
import { Generator } from './generate.js';
import { caseSeed } from './state.js';
import { FAMILIES, templates } from './templates.js';

const PORTIONS = 5;
const CASES = 2000;

describe.skipIf(!supported())('code from the cache', () => {
  for (let k = 0; k < PORTIONS; k++) {
    it(`does what the host does, portion ${k}`, { timeout: 300_000 }, async () => {
      const r = runDifferential({ cases: CASES, seed: 7, first: k * CASES, limit: 5, executors: ['aot'] });
      expect(r.differences.map((d) => d.text).join('\n\n')).toBe('');
      await new Promise((done) => setImmediate(done));
    });
  }

  it('is what ran', () => {
    const differ = new Differ(['aot']);
    const e = differ.emulators[0]!;
    const generator = new Generator(templates(new Set(loadNative().cpuFeatures())).templates, FAMILIES, differ.layout);
    let cases = 0;
    for (let i = 0; i < 50; i++) {
      const c = generator.case(caseSeed(7, i));
      if (!differ.place(c)) continue;
      differ.runNative(c);
      expect(differ.check(c, e)).toEqual([]);
      cases++;
    }
    expect(cases).toBeGreaterThan(20);
    expect(e.engine.stats.installed).toBeGreaterThanOrEqual(cases);
    expect(e.engine.aot!.stats.different).toBe(0);
  });
});
