/** `vmx-accel ctl` against a machine, and against what is none. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qmpArguments } from '#lib/cli/ctl.js';
import { QmpClient } from '#lib/index.js';
import { noAddon } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { run, start, type Running } from './run.js';

const MINUTE = 60_000;
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-ctl-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('arguments', () => {
  it('are JSON where they are JSON, else text', () => {
    expect(qmpArguments(['a=1', 'b=true', 'c=x=y', 'd=[1,"2"]', 'e="3"', 'f=', 'g=/tmp/x.png'])).toEqual({ a: 1, b: true, c: 'x=y', d: [1, '2'], e: '3', f: '', g: '/tmp/x.png' });
    expect(qmpArguments([])).toBeUndefined();
    for (const bad of ['x', '=1']) expect(() => qmpArguments([bad])).toThrow(`ctl: '${bad}' is not NAME=VALUE`);
    expect(() => qmpArguments(['a=1', 'a=2'])).toThrow('ctl: a is given twice');
  });
});

describe.skipIf(noAddon !== null)('ctl', () => {
  it('talks to a machine until it ends', async () => {
    const kernel = join(dir, 'spin');
    writeFileSync(kernel, tinyKernel('up', { kind: 'spin' }));
    const at = `unix:${join(dir, 'vm.sock')}`;
    const vm: Running = start(['boot', '--kernel', kernel, '--qmp', at, '--vga', 'std', '--memory', '64M']);
    try {
      await vm.shown('up');
      const ctl = (...args: string[]): ReturnType<typeof run> => run(['ctl', at, ...args]);
      const events = start(['ctl', at, 'events']);
      expect(JSON.parse((await ctl('query-status')).stdout)).toMatchObject({ running: true, status: 'running' });
      const file = join(dir, 'screen.png');
      expect(await ctl('screendump', `filename=${file}`, 'format=png')).toEqual({ status: 0, stdout: '', stderr: '' });
      expect(readFileSync(file).subarray(1, 4).toString()).toBe('PNG');
      expect(await ctl('monitor', 'info', 'status')).toEqual({ status: 0, stdout: 'VM status: running\n', stderr: '' });
      expect((await ctl('keys', 'ctrl-c', 'a')).status).toBe(0);
      expect(await ctl('query-statu')).toEqual({ status: 2, stdout: '', stderr: "vmx-accel: ctl: the machine has no command 'query-statu' (did you mean query-status?); query-commands lists them\n" });
      expect((await ctl('keys', 'no-such')).stderr).toMatch(/^vmx-accel: ctl: keys: .*\n$/);
      expect(await ctl('stop', 'x')).toMatchObject({ status: 2, stderr: "vmx-accel: ctl: 'x' is not NAME=VALUE\n" });
      expect(await ctl('stop')).toEqual({ status: 0, stdout: '', stderr: '' });
      expect(await ctl('quit')).toEqual({ status: 0, stdout: '', stderr: '' });
      expect((await vm.result).status).toBe(0);
      const seen = (await events.result).stdout.trim().split('\n').map((l) => (JSON.parse(l) as { event: string }).event);
      expect(seen).toEqual(['STOP', 'SHUTDOWN']);
    } finally {
      vm.child.kill();
    }
  }, 2 * MINUTE);

  it('says in one line what is wrong with the address', async () => {
    expect(await run(['ctl', `unix:${dir}/nothing`, 'stop'])).toEqual({ status: 2, stdout: '', stderr: `vmx-accel: ctl: unix:${dir}/nothing: no machine listens there\n` });
    expect(await run(['ctl', 'here', 'stop'])).toEqual({ status: 2, stdout: '', stderr: "vmx-accel: ctl: 'here' is not unix:PATH, tcp:PORT or tcp:HOST:PORT\n" });
  }, MINUTE);
});

describe('the QMP client', () => {
  it.each([['HTTP/1.1 400 Bad Request\r\n\r\n', 'what answers there is no QMP server'], ['{"hello":1}', 'what answers there is no QMP server'], ['', 'the connection has ended before a greeting']])(
    'refuses %j',
    async (text, message) => {
      const path = join(dir, 'other.sock');
      const server = createServer((s) => void s.end(text)).listen(path);
      try {
        await expect(QmpClient.connect({ kind: 'unix', path })).rejects.toThrow(message);
      } finally {
        await new Promise((r) => void server.close(r));
      }
    },
  );

  it('fails what waits when the connection breaks', async () => {
    const path = join(dir, 'breaks.sock');
    const server = createServer((s) => {
      s.write('{"QMP":{}}');
      let n = 0;
      s.on('data', () => (n++ === 0 ? s.write('{"return":{},"id":0}') : s.destroy()));
      s.on('error', () => {});
    }).listen(path);
    try {
      const c = await QmpClient.connect({ kind: 'unix', path });
      await expect(c.execute('query-status')).rejects.toThrow('the connection has ended');
      await expect(c.execute('query-status')).rejects.toThrow('the connection has ended');
    } finally {
      await new Promise((r) => void server.close(r));
    }
  });
});
