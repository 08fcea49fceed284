import { defineConfig } from 'vitest/config';

// Tests import '#lib/...', which package.json maps to dist/: they exercise exactly the code that ships
// (tsc inlines const enums there; a per-file transpiler does not, and the interpreter would crawl).
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    poolOptions: { forks: { maxForks: 2 } },
  },
});
