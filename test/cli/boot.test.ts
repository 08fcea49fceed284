/** What `vmx-accel boot` does when all is well: exit statuses, streams and files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { type Ending, tinyKernel } from '../boot/tiny.js';
import { run, start } from './run.js';

let dir: string;
const at = (name: string): string => join(dir, name);
let count = 0;
function boot(text: string, end: Ending, ...args: string[]): string[] {
  const file = at(`kernel${count++}`);
  writeFileSync(file, tinyKernel(text, end));
  return ['boot', '--kernel', file, '--memory', '16M', ...args];
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-cli-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.skipIf(skipFor(noAddon)).concurrent('vmx-accel boot', () => {
  it('shows what the guest prints and ends with 0 when it powers off', async () => {
    expect(await run(boot('hello, world\n', { kind: 'power-off' }))).toEqual({ status: 0, stdout: 'hello, world\n', stderr: '' });
  });

  it('takes the kernel as image, too', async () => {
    const [, , file] = boot('image', { kind: 'power-off' });
    expect(await run(['boot', file!])).toEqual({ status: 0, stdout: 'image', stderr: '' });
  });

  it('ends with the status of isa-debug-exit', async () => {
    expect(await run(boot('', { kind: 'exit', value: 3 }, '--device', 'isa-debug-exit'))).toMatchObject({ status: 7, stderr: '' });
    expect(await run(boot('', { kind: 'exit', value: 0 }, '--device', 'isa-debug-exit,iobase=0xf4,iosize=1'))).toMatchObject({ status: 1 });
  });

  it('ends with 125 and the registers after a triple fault', async () => {
    const r = await run(boot('', { kind: 'triple-fault' }, '--no-reboot'));
    expect(r.status).toBe(125);
    expect(r.stderr).toMatch(/^vmx-accel: triple fault on CPU 0: /);
  });

  it('ends with 0 on a reset with --no-reboot', async () => {
    expect(await run(boot('', { kind: 'reset' }, '--no-reboot'))).toMatchObject({ status: 0 });
  });

  it('ends with 124 on --timeout', async () => {
    const r = await run(boot('', { kind: 'spin' }, '--timeout', '0.2'));
    expect(r).toMatchObject({ status: 124, stderr: 'vmx-accel: stopped after 0.2 s (--timeout)\n' });
  });

  it('ends with 0 on --exit-on, wherever the text falls', async () => {
    const text = `${'x'.repeat(20_000)}login: `;
    const r = await run(boot(text, { kind: 'spin' }, '--exit-on', 'login:'));
    expect(r).toMatchObject({ status: 0, stderr: '' });
    expect(r.stdout.trimEnd()).toBe(text.trimEnd());
  });

  it('passes piped input to the guest as it is', async () => {
    const r = start(boot('', { kind: 'echo' }));
    r.child.stdin!.write('a\x01xb\x03\r\n');
    await r.shown('a\x01xb\x03\r\n');
    r.child.stdin!.write('q');
    expect(await r.result).toMatchObject({ status: 0, stderr: '' });
  });

  it('goes on after the end of standard input', async () => {
    const r = start(boot('up', { kind: 'spin' }, '--exit-on', 'up'));
    r.child.stdin!.end();
    expect((await r.result).status).toBe(0);
  });

  it('writes the console to a file', async () => {
    const r = await run(boot('to a file', { kind: 'power-off' }, '--serial', `file:${at('console')}`));
    expect(r).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(readFileSync(at('console'), 'latin1')).toBe('to a file');
    expect(await run(boot('nowhere', { kind: 'power-off' }, '--serial', 'none'))).toMatchObject({ status: 0, stdout: '' });
  });

  it('ends when nobody reads its output', async () => {
    const r = start(boot('x'.repeat(200_000), { kind: 'echo' }));
    await r.shown('x');
    r.child.stdout!.destroy();
    r.child.stdin!.write('more');
    expect((await r.result).stderr).toBe('');
  });

  it('ends tidily on SIGTERM', async () => {
    const r = start(boot('up', { kind: 'halt' }));
    await r.shown('up');
    r.child.kill('SIGTERM');
    expect(await r.result).toMatchObject({ status: 143, stderr: '' });
  });

  it('writes statistics', async () => {
    await run(boot('counted', { kind: 'power-off' }, '--accel', 'interp', '--stats', at('s.json')));
    const s = JSON.parse(readFileSync(at('s.json'), 'utf8')) as Record<string, unknown>;
    expect(s).toMatchObject({ end: { reason: 'power-off', status: 0 }, accel: 'interp', memory: { guest: 16 * 2 ** 20 }, engine: {}, helpers: {} });
    for (const key of ['wall', 'halted', 'guestTime', 'slices']) expect(s[key]).toBeTypeOf('number');
    const line = s['timeline'] as { ms: number; thread: string; what: string }[];
    const moments = line.map((m) => m.ms);
    expect(moments).toEqual([...moments].sort((a, b) => a - b));
    const reached = line.map((m) => `${m.thread}: ${m.what}`);
    for (const m of ['first statement', 'program loaded', 'configuration posted', 'kernel loaded', 'first instruction']) expect(reached).toContain(`main: ${m}`);
    expect(reached.filter((m) => m.startsWith('machine: '))).toEqual([]);
  });

  it('runs the machine in a thread of its own if the main thread has others to serve', async () => {
    await run(boot('served', { kind: 'power-off' }, '--qmp', `unix:${at('qmp')}`, '--stats', at('served.json')));
    const s = JSON.parse(readFileSync(at('served.json'), 'utf8')) as { timeline: { thread: string; what: string }[] };
    const reached = s.timeline.map((m) => `${m.thread}: ${m.what}`);
    for (const m of ['main: configuration posted', 'machine: program loaded', 'machine: first instruction']) expect(reached).toContain(m);
    expect(reached).not.toContain('main: first instruction');
  });

  it('reports what the machine cannot be made with, in either thread', async () => {
    writeFileSync(at('short'), 'MZ');
    for (const more of [[], ['--qmp', `unix:${at('qmp2')}`]]) {
      const r = await run(['boot', '--arch', 'riscv64', '--kernel', at('short'), '--initrd', at('short'), ...more]);
      expect(r).toMatchObject({ status: 2, stdout: '' });
      expect(r.stderr).toMatch(/^vmx-accel: [^\n]*short[^\n]*\n$/);
    }
  });

  it('falls back to the interpreter and says so', async () => {
    const r = await run(boot('ok', { kind: 'power-off' }), { VMX_ACCEL_NO_EXEC: '1' });
    expect(r).toMatchObject({ status: 0, stdout: 'ok' });
    expect(r.stderr).toBe('vmx-accel: this system refuses executable memory: running on the interpreter\n');
  });

  it('leaves a read-only and a snapshot disk alone', async () => {
    writeFileSync(at('disk.img'), Buffer.alloc(65536, 7));
    expect(await run(boot('', { kind: 'power-off' }, '--disk', `${at('disk.img')},readonly`, '--disk', at('disk.img'), '--snapshot'))).toMatchObject({ status: 0, stderr: '' });
    expect(readFileSync(at('disk.img')).every((b) => b === 7)).toBe(true);
  });
});

describe.concurrent('help', () => {
  it('shows commands, options and examples', async () => {
    const top = await run(['--help']);
    expect(top).toMatchObject({ status: 0, stderr: '' });
    expect(top.stdout).toContain('Examples:');
    expect(top.stdout).toMatch(/vmx-accel boot \[image\]/);
    const r = await run(['boot', '--help']);
    expect(r).toMatchObject({ status: 0, stderr: '' });
    for (const o of ['--kernel', '--append', '--disk', '--exit-on', '--timeout', '--stats', 'Examples:', 'Ctrl-A']) expect(r.stdout).toContain(o);
  });

  it('lists devices and CPUs', async () => {
    const d = await run(['boot', '--device', 'help']);
    expect(d.status).toBe(0);
    for (const name of ['isa-debug-exit', 'iobase', 'virtio-rng', 'virtio-console']) expect(d.stdout).toContain(name);
    const c = await run(['boot', '--cpu', 'help']);
    expect(c.status).toBe(0);
    for (const name of ['qemu64', 'max', 'avx2']) expect(c.stdout).toContain(name);
    const riscv = await run(['boot', '--arch', 'riscv64', '--cpu', 'help']);
    expect(riscv).toMatchObject({ status: 0, stdout: expect.stringMatching(/^rv64 .*\nmax .*\n[^]*vlen=128\|256/) as string });
    const arm64 = await run(['boot', '--arch', 'aarch64', '--cpu', 'help']);
    expect(arm64).toMatchObject({ status: 0, stdout: expect.stringMatching(/^armv8\.2 .*\nmax .*\n[^]*pauth=on\|off/) as string });
  });

  it('does not mind that nobody reads on', async () => {
    const r = start(['boot', '--device', 'help']);
    r.child.stdout!.destroy();
    expect(await r.result).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it('says the version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
    expect(await run(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.skipIf(noAddon !== null)('has a doctor, without colours where they are not wanted', async () => {
    const r = await run(['doctor'], { NO_COLOR: '1' });
    expect(r.status).toBe(0);
    expect(r.stdout).toMatch(/ok {3}addon/);
    expect(r.stdout).not.toContain('\x1b');
    const no = await run(['doctor'], { VMX_ACCEL_NO_EXEC: '1' });
    expect(no.status).toBe(1);
    expect(no.stdout).toMatch(/FAIL executable memory/);
  });
});
