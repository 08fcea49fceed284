import tseslint from 'typescript-eslint';

/**
 * Imports point downwards: each layer lists the layers it may not know. (`import type` of plain data is held to the same
 * rule, except that the board interface names the machine's configuration type.)
 */
const above = {
  engine: ['accel', 'devices', 'boards', 'boot', 'machine', 'control', 'cli', 'memory', 'block', 'cache'],
  cache: ['accel', 'devices', 'boards', 'boot', 'machine', 'control', 'cli', 'memory', 'block'],
  accel: ['boards', 'boot', 'machine', 'control', 'cli', 'block'],
  devices: ['boards', 'boot', 'machine', 'cli'],
  display: ['devices', 'boards', 'boot', 'machine', 'cli', 'engine'],
  block: ['devices', 'boards', 'boot', 'machine', 'cli', 'engine'],
  net: ['devices', 'boards', 'boot', 'machine', 'control', 'cli', 'engine', 'block'],
  memory: ['boards', 'boot', 'machine', 'cli'],
  boot: ['machine', 'cli', 'engine'],
  boards: ['control', 'cli'],
  machine: ['control', 'cli'],
  control: ['cli'],
};

const layers = Object.entries(above).map(([layer, forbidden]) => ({
  files: [`lib/${layer}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      { patterns: forbidden.map((f) => ({ group: [`**/${f}/*`, `**/${f}/**`], message: `${layer} may not import ${f}: imports point downwards` })) },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'node_modules/', 'prebuilds/'] },
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/ban-ts-comment': 'error',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      // Registers share bit positions: a field may mean two things by context.
      '@typescript-eslint/no-duplicate-enum-values': 'off',
      'no-empty': 'error',
      eqeqeq: 'error',
      'max-lines': ['error', { max: 900, skipBlankLines: true, skipComments: true }],
    },
  },
  // The interpreter's hot switch has to stay one function.
  { files: ['lib/engine/interp/interp.ts'], rules: { 'max-lines': 'off' } },
  ...layers,
);
