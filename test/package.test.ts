/** What a user of the package gets: the right files, types that resolve, and both module systems. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noAddon } from './boot/guests.js';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');
let dir: string;

interface Packed {
  files: { path: string }[];
}

function packed(): string[] {
  const out = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const list = JSON.parse(out) as Packed[] | Record<string, Packed>;
  return Object.values(list)[0]!.files.map((f) => f.path);
}

const CONSUMER = `
import { UsageError, VirtualMachine, type EndState, type MachineOptions, type MachineStats } from 'vmx-accel';
const options: MachineOptions = { kernel: 'vmlinuz', memory: '256M', disks: ['a.img', { file: 'b.img', readonly: true }], noReboot: true };
export async function run(): Promise<EndState> {
  await using vm = await VirtualMachine.create(options, AbortSignal.timeout(1000));
  vm.on('end', (end) => console.log(end.reason, end.status));
  vm.serial.write('hello');
  vm.start();
  const stats: MachineStats | undefined = await vm.stats();
  console.log(stats?.accel);
  return vm.wait();
}
// @ts-expect-error memory is no boolean
export const wrong: MachineOptions = { memory: true };
export const isUsage = (e: unknown): boolean => e instanceof UsageError && e.code === 'ERR_USAGE';
`;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-package-'));
  // As `npm pack` does: dist/ may have been compiled since.
  execFileSync(process.execPath, [join(ROOT, 'scripts/bundle.mjs')], { cwd: ROOT });
  const files = packed();
  const home = join(dir, 'node_modules/vmx-accel');
  for (const f of files) {
    mkdirSync(dirname(join(home, f)), { recursive: true });
    cpSync(join(ROOT, f), join(home, f));
  }
  // Its dependencies, and the addon that installing would build.
  for (const d of ['node-gyp-build', 'node-addon-api', 'yargs', 'pngjs', 'ws', '@novnc/novnc']) {
    mkdirSync(dirname(join(dir, 'node_modules', d)), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules', d), join(dir, 'node_modules', d));
  }
  symlinkSync(join(ROOT, 'build'), join(home, 'build'));
  writeFileSync(join(dir, 'package.json'), '{ "name": "consumer", "private": true }');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('the package', () => {
  it('holds the compiled code, the sources of the addon and the documents, and nothing else', () => {
    const files = packed();
    for (const f of ['dist/index.js', 'dist/index.d.ts', 'dist/cli/vmx-accel.cjs', 'dist/cli/main.js', 'dist/machine/worker.js', 'dist/program/worker.cjs', 'dist/program/main.cjs', 'binding.gyp', 'native/addon.cc', 'README.md', 'LICENSE', 'docs/ARCHITECTURE.md']) {
      expect(files).toContain(f);
    }
    for (const f of files) expect(f).toMatch(/^(dist|native|docs|prebuilds|ui)\/|^(package\.json|README\.md|LICENSE|binding\.gyp|CONTRIBUTING\.md)$/);
    expect(files.filter((f) => /\.map$|\.test\./.test(f))).toEqual([]);
  });

  it('has every file it refers to', () => {
    const files = new Set(packed());
    const p = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { main: string; types: string; bin: Record<string, string> };
    for (const f of [p.main, p.types, ...Object.values(p.bin)]) expect(files).toContain(f.replace('./', ''));
    expect(readFileSync(join(ROOT, 'dist/cli/vmx-accel.cjs'), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it('has types that a strict consumer compiles against', () => {
    writeFileSync(join(dir, 'consumer.mts'), CONSUMER);
    execFileSync(
      process.execPath,
      [TSC, '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,esnext.disposable', '--module', 'nodenext', '--typeRoots', join(ROOT, 'node_modules/@types'), '--types', 'node', 'consumer.mts'],
      { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
  });

  it.skipIf(noAddon !== null)('can be imported from ES modules and from CommonJS', () => {
    const use = "const { VirtualMachine, UsageError } = await import('vmx-accel'); try { await VirtualMachine.create({ kernel: 'nothing' }); } catch (e) { console.log(e instanceof UsageError, e.message); }";
    writeFileSync(join(dir, 'a.mjs'), use);
    writeFileSync(join(dir, 'b.cjs'), `(async () => { ${use} })();`);
    for (const f of ['a.mjs', 'b.cjs']) {
      expect(execFileSync(process.execPath, [f], { cwd: dir, encoding: 'utf8' })).toBe('true --kernel: nothing: no such file\n');
    }
  });

  it.skipIf(noAddon !== null)('has a command that runs', () => {
    const out = execFileSync(process.execPath, [join(dir, 'node_modules/vmx-accel/dist/cli/main.js'), 'doctor'], { encoding: 'utf8' });
    expect(out).toContain('addon');
  });
});
