/** `vmx-accel aot` and the options of the code cache, as users call them. */
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { ExportWriter, readExport } from '#lib/cache/contents.js';
import { tempDir } from '../cache/temp.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { type Result, run } from './run.js';

const noJit = noAddon ?? (process.arch === 'x64' ? null : 'no back end for this host');

describe.skipIf(skipFor(noJit))('the code cache on the command line', { timeout: 120_000 }, () => {
  let kernel: string;
  let cache: string;
  beforeEach(() => {
    kernel = join(tempDir(), 'kernel');
    writeFileSync(kernel, tinyKernel('hello\n', { kind: 'power-off' }));
    cache = join(tempDir(), 'cache');
  });
  const boot = (...more: string[]): Promise<Result> => run(['boot', '--memory', '16M', '--kernel', kernel, '--aot-dir', cache, ...more]);
  const aot = (...args: string[]): Promise<Result> => run(['aot', ...args, '--aot-dir', cache]);
  const stats = async (): Promise<{ records: number; usable: boolean; refused: number }[]> => (JSON.parse((await aot('stats', '--json')).stdout) as { groups: { records: number; usable: boolean; refused: number }[] }).groups;

  it('is used unless switched off, and shown, checked and cleared', async () => {
    expect(await boot('--aot', 'off')).toMatchObject({ status: 0, stdout: 'hello\n', stderr: '' });
    expect(existsSync(cache)).toBe(false);
    expect((await aot('verify')).stderr).toBe(`vmx-accel: --aot-dir: ${cache}: there is no cache\n`);
    expect(await boot()).toMatchObject({ status: 0, stdout: 'hello\n', stderr: '' });
    expect(statSync(cache).mode & 0o777).toBe(0o700);
    const [group] = await stats();
    expect(group).toMatchObject({ usable: true, refused: 0 });
    expect(group!.records).toBeGreaterThan(0);
    expect(await boot('--aot', 'verify')).toMatchObject({ status: 0, stdout: 'hello\n', stderr: '' });
    const n = (await stats())[0]!.records;
    expect(await aot('verify')).toMatchObject({ status: 0, stdout: `${n} blocks in 1 files: ${n} the same when translated again, 0 different, 0 of another build or host\n` });
    expect(await aot('clear')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^1 files removed/) as string });
    expect(await stats()).toEqual([]);
  });

  it('travels in a file that is checked', async () => {
    await boot();
    const file = join(tempDir(), 'export');
    const n = (await stats())[0]!.records;
    expect(await aot('export', file)).toMatchObject({ status: 0, stdout: `${n} blocks written to ${file}\n` });
    const other = join(tempDir(), 'other');
    expect(await run(['aot', 'import', file, '--aot-dir', other])).toMatchObject({ status: 0, stdout: `${n} blocks taken over from ${file}\n` });
    const json = join(tempDir(), 'stats');
    expect((await run(['boot', '--memory', '16M', '--kernel', kernel, '--aot-dir', other, '--stats', json])).stdout).toBe('hello\n');
    expect((JSON.parse(readFileSync(json, 'utf8')) as { aot: { misses: number; hits: number } }).aot).toMatchObject({ misses: 0, hits: n });
    // Anybody can write a file whose checksums are right: the code in it is compared, not believed.
    const evil = join(tempDir(), 'evil');
    const out = new ExportWriter(evil);
    readExport(file, {
      identity: (_i, raw) => out.identity(raw),
      chunk: (c) => {
        const end = c.index[1]! + c.payload[c.index[1]!]!;
        c.payload[end - 1]! ^= 1;
        out.chunk(c);
      },
    });
    out.close();
    const third = join(tempDir(), 'third');
    expect(await run(['aot', 'import', evil, '--aot-dir', third])).toMatchObject({ status: 2, stderr: `vmx-accel: aot import: ${evil} holds code that this build does not make; nothing was imported\n` });
    expect((await run(['aot', 'stats', '--aot-dir', third])).stdout).toMatch(/0\.0M in 0 files/);
    const bad = readFileSync(file);
    bad[bad.length - 40]! ^= 1;
    writeFileSync(file, bad);
    expect(await aot('import', file)).toMatchObject({ status: 2, stderr: `vmx-accel: aot import: ${file} is not a file that 'aot export' wrote, or is damaged\n` });
    expect(await aot('import', '/nonexistent')).toMatchObject({ status: 2, stderr: 'vmx-accel: aot import: /nonexistent: no such file\n' });
  });

  it('is filled ahead by build', async () => {
    expect(await aot('build', '--memory', '16M', '--kernel', kernel)).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+ blocks added, 0 were there/) as string, stderr: '' });
    const json = join(tempDir(), 'stats');
    await boot('--stats', json);
    expect((JSON.parse(readFileSync(json, 'utf8')) as { aot: { misses: number } }).aot.misses).toBe(0);
  });

  it('refuses a directory that is open to others in one line', async () => {
    await boot();
    chmodSync(cache, 0o755);
    const line = `vmx-accel: --aot-dir: ${cache} is open to other users (mode 755; it must be 700)\n`;
    expect(await boot()).toMatchObject({ status: 2, stdout: '', stderr: line });
    expect(await aot('stats')).toMatchObject({ status: 2, stderr: line });
  });

  it('names what is wrong with its options', async () => {
    expect((await boot('--aot', 'maybe')).stderr).toBe("vmx-accel: --aot: 'maybe' is not available (on, off, verify are)\n");
    expect((await boot('--aot-size', 'big')).stderr).toMatch(/^vmx-accel: --aot-size: 'big' is not a size/);
    expect((await run(['aot'])).status).toBe(2);
  });
});
