/** RV64GC and vector instructions against qemu-user: a fixed set of random cases, interpreter and generated code. bench/riscv-differential.mjs runs more. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { buildRunner, runDifferential } from './differ.js';

const dir = mkdtempSync(join(tmpdir(), 'vmx-rv64-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const runner = noAddon === null ? buildRunner(dir) : { missing: noAddon };

describe.skipIf(skipFor('missing' in runner ? runner.missing : null))('RV64GC instructions as qemu-user executes them', () => {
  for (const jit of [false, true]) {
    it(jit ? 'generated code' : 'interpreter', async () => {
      if ('missing' in runner) return;
      expect(await runDifferential(runner, { seed: jit ? 2 : 1, cases: 6000, jit })).toEqual([]);
    }, 300_000);
  }

  it('generated code, but for what is executed where it is met for the first time', async () => {
    if ('missing' in runner) return;
    expect(await runDifferential(runner, { seed: 5, cases: 6000, families: ['int', 'mem', 'flow', 'rvc'], jit: true, first: true })).toEqual([]);
  }, 300_000);
});

const vlen = 128;
const vectors = noAddon === null ? buildRunner(dir, vlen) : { missing: noAddon };

describe.skipIf(skipFor('missing' in vectors ? vectors.missing : null))('vector instructions as qemu-user executes them', () => {
  for (const jit of [false, true]) {
    it(jit ? 'generated code' : 'interpreter', async () => {
      if ('missing' in vectors) return;
      expect(await runDifferential(vectors, { seed: jit ? 4 : 3, cases: 8000, jit, vlen })).toEqual([]);
    }, 300_000);
  }
});
