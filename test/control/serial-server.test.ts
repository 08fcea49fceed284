/** The first serial port at a socket: `--serial unix:PATH`. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { run, start } from '../cli/run.js';

/** What a socket has received, and a wait for more. */
function reader(s: Socket): (text: string) => Promise<void> {
  let got = '';
  s.on('data', (d: Buffer) => (got += d.toString('latin1')));
  return (text) => expect.poll(() => got, { timeout: 20_000, interval: 20 }).toContain(text);
}

describe.skipIf(skipFor(noAddon))('--serial unix:PATH', () => {
  let dir: string;
  let kernel: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-serial-'));
    kernel = join(dir, 'kernel');
    writeFileSync(kernel, tinyKernel('up\n', { kind: 'echo' }));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('serves several clients, who see what was printed before', async () => {
    const path = join(dir, 'socket');
    const vm = start(['boot', '--kernel', kernel, '--memory', '16M', '--serial', `unix:${path}`]);
    await expect.poll(() => existsSync(path), { timeout: 20_000 }).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const one = connect(path);
    const first = reader(one);
    await first('up\n');
    one.write('typed');
    await first('typed');
    const two = connect(path);
    const second = reader(two);
    await second('up\ntyped');
    one.destroy();
    two.write(' again');
    await second('typed again');
    vm.child.kill('SIGTERM');
    const end = await vm.result;
    expect([end.status, end.stdout]).toEqual([143, '']);
    await new Promise((resolve) => (two.closed ? resolve(null) : two.once('close', resolve)));
    expect(existsSync(path)).toBe(false);
  });

  it('says what is wrong', async () => {
    expect(await run(['boot', '--kernel', kernel, '--serial', 'unix:/nosuch/socket'])).toMatchObject({ status: 2, stderr: expect.stringMatching(/^vmx-accel: --serial: cannot listen at unix:\/nosuch\/socket: [^\n]+\n$/) as string });
    expect(await run(['boot', '--kernel', kernel, '--serial', 'pipe'])).toMatchObject({ status: 2, stderr: "vmx-accel: --serial: 'pipe' is not available (stdio, none, file:PATH, unix:PATH, tcp:[HOST:]PORT are)\n" });
  });
});
