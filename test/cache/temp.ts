/** A directory of a test's own, and records that look like code. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { Identity } from '#lib/cache/identity.js';

const made: string[] = [];

/** Removed after the test. */
export function tempDir(): string {
  const d = mkdtempSync(join(tmpdir(), 'vmx-cache-'));
  chmodSync(d, 0o700);
  made.push(d);
  return d;
}

afterEach(() => {
  for (const d of made.splice(0)) rmSync(d, { recursive: true, force: true });
});

export const IDENTITY: Identity = { format: 1, build: 'b', arch: 'x86_64', cpu: 'max', features: [], cpus: 1, disabledPasses: [], maxInsns: 64, host: 'h' };

/** Numbers that depend on nothing but the seed (xorshift32, Marsaglia 2003). */
export function numbers(seed: number): (below: number) => number {
  let x = seed | 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

/** A chunk with `n` records of a few words. */
export function chunk(seed: number, n: number): { index: Int32Array; payload: Int32Array } {
  const rnd = numbers(seed);
  const index: number[] = [];
  const payload: number[] = [];
  for (let i = 0; i < n; i++) {
    const words = 8 + rnd(40);
    index.push(rnd(0x7fff_ffff), payload.length);
    payload.push(words);
    for (let k = 1; k < words; k++) payload.push(rnd(0x7fff_ffff));
  }
  return { index: Int32Array.from(index), payload: Int32Array.from(payload) };
}
