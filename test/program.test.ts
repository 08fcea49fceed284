/** The program in one file and V8's compiled code of it (lib/machine/program.ts), with a program of four lines in a distribution of its own. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const DIST = new URL('../dist/', import.meta.url).pathname;
/** What lib/machine/program.ts consists of. */
const FILES = ['machine/program.js', 'cache/directory.js', 'cache/segment.js', 'errors.js'];

let dir: string;
let code: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-program-'));
  code = join(dir, 'cache/vmx-accel/program/part-some.v8');
  for (const f of FILES) {
    mkdirSync(dirname(join(dir, 'dist', f)), { recursive: true });
    cpSync(join(DIST, f), join(dir, 'dist', f));
  }
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(dir, 'dist/answer.js'), 'export const answer = 42;\n');
  program('42', 'a');
  writeFileSync(
    join(dir, 'run.mjs'),
    `import { loadProgram } from './dist/machine/program.js';
const p = loadProgram('part', 'some', ['one', 'two'], { other: { name: 'other' } });
if (process.argv[2] !== undefined) p?.keep(process.argv[2]);
console.log(JSON.stringify(p === null ? null : { compiled: p.compiled, ...p.exports.get() }));\n`,
  );
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function program(answer: string, hash: string): void {
  mkdirSync(join(dir, 'dist/program'), { recursive: true });
  const body = `(function (exports, require, module, __url) {\nmodule.exports = { get: () => ({ answer: ${answer}, other: require('other').name, sep: require('node:path').posix.sep, url: __url('a/b.js') }) };\n})`;
  writeFileSync(join(dir, 'dist/program/part.cjs'), `//${JSON.stringify({ hash, inputs: ['answer.js'] })}\n${body}`);
}

function run(...args: string[]): { compiled: boolean; answer: number; other: string; sep: string; url: string } | null {
  return JSON.parse(execFileSync(process.execPath, [join(dir, 'run.mjs'), ...args], { env: { ...process.env, XDG_CACHE_HOME: join(dir, 'cache') }, encoding: 'utf8' })) as ReturnType<typeof run>;
}

describe('the program in one file', () => {
  it('runs, with modules from outside and the addresses of its own', () => {
    expect(run()).toEqual({ compiled: false, answer: 42, other: 'other', sep: '/', url: new URL('dist/a/b.js', `file://${dir}/`).href });
  });

  it('is compiled once: private, for each part of the program that has been used', () => {
    run('one');
    expect(statSync(code).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(code)).mode & 0o777).toBe(0o700);
    const first = readFileSync(code);
    expect(run('one')?.compiled).toBe(true);
    expect(readFileSync(code)).toEqual(first);
    run('two');
    expect(readFileSync(code, 'latin1')).toContain('"parts":["one","two"]');
  });

  it('does not use compiled code that was changed, cut off, or is of another program', () => {
    run('one');
    const good = readFileSync(code);
    for (const at of [0, 40, good.length >> 1, good.length - 1]) {
      const bad = Buffer.from(good);
      bad[at]! ^= 1;
      writeFileSync(code, bad);
      expect(run()).toMatchObject({ compiled: false, answer: 42 });
    }
    for (const length of [0, 10, 32, good.length - 1]) {
      writeFileSync(code, good.subarray(0, length));
      expect(run()).toMatchObject({ compiled: false, answer: 42 });
    }
    writeFileSync(code, good);
    expect(run()?.compiled).toBe(true);
    program('43', 'b');
    expect(run()).toMatchObject({ compiled: false, answer: 43 });
  });

  it.skipIf(process.getuid === undefined)('does not use a directory that others may write to', () => {
    run('one');
    chmodSync(dirname(code), 0o777);
    expect(run()).toMatchObject({ compiled: false, answer: 42 });
  });

  it('gives way to modules that are newer, in a checkout', () => {
    const later = new Date(Date.now() + 10_000);
    utimesSync(join(dir, 'dist/answer.js'), later, later);
    expect(run()).not.toBeNull();
    writeFileSync(join(dir, 'tsconfig.json'), '{}');
    expect(run()).toBeNull();
    const made = new Date(Date.now() + 20_000);
    utimesSync(join(dir, 'dist/program/part.cjs'), made, made);
    expect(run()).not.toBeNull();
  });
});
