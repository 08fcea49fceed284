/** The bare-metal programs with code from the cache: real mode to 64 bits, paging, self-modifying code, two CPUs. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { MachineStats } from '#lib/index.js';
import { tempDir } from '../cache/temp.js';
import { noAddon } from '../boot/guests.js';
import { build, missingTools, run } from './metal.js';

const PROGRAMS: readonly [string, number][] = [
  ['basics32', 1], ['basics64', 1], ['paging-pae', 1], ['paging4', 1], ['smc64', 1], ['gates64', 1], ['segments32', 1], ['smp32', 2], ['fpu64', 1],
  ['debug64', 1], ['real16', 1], ['v86', 1],
];

const why = missingTools() ?? noAddon;
if (why !== null) console.log(`bare-metal tests with the code cache are skipped: ${why}`);

describe.skipIf(why !== null)('bare-metal programs and the code cache', () => {
  describe.each(PROGRAMS)('%s', (name, cpus) => {
    let image: string;
    beforeAll(() => {
      image = build(name);
    });

    test('does the same off, cold and warm, and nothing is translated twice', { timeout: 120_000 }, async () => {
      const aotDir = tempDir();
      const outcomes: string[] = [];
      const stats: MachineStats[] = [];
      for (const aot of ['off', 'on', 'on', 'verify'] as const) {
        const o = await run(image, 'jit', cpus, { aot, aotDir }, (s) => stats.push(s));
        expect(o.bad).toEqual([]);
        outcomes.push(JSON.stringify([o.ok, o.status]));
      }
      expect(new Set(outcomes).size).toBe(1);
      const [off, cold, warm, verify] = stats;
      expect(off!.aot).toBe(null);
      expect(cold!.aot).toMatchObject({ known: 0, refused: 0 });
      expect(cold!.aot!.added).toBeGreaterThan(10);
      expect(warm!.aot).toMatchObject({ known: cold!.aot!.added, refused: 0, refusedFiles: 0 });
      // Interrupts arrive elsewhere each time: a few blocks are new.
      expect(warm!.aot!.hits).toBeGreaterThan(cold!.aot!.added * 0.8);
      expect(verify!.aot).toMatchObject({ different: 0 });
      expect(verify!.aot!.verified).toBeGreaterThan(cold!.aot!.added * 0.8);
    });
  });
});
