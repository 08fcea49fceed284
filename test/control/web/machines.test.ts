/** The page of several machines: starts them, lists them, leads to their consoles. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseEndpoint, UsageError } from '#lib/index.js';
import { machineOf } from '#lib/cli/ui.js';
import type { TcpEndpoint } from '#lib/control/web/gate.js';
import { MachinesServer } from '#lib/control/web/machines.js';
import { noAddon, skipFor } from '../../boot/guests.js';
import { tinyKernel } from '../../boot/tiny.js';
import { Chromium, noChromium } from './chromium.js';

interface Machine {
  id: number;
  state: string;
  url: string | null;
  memory: number;
}

describe.skipIf(skipFor(noAddon))('machines of a page', () => {
  let dir: string;
  let kernel: string;
  let server: MachinesServer;
  let at: string;
  let cookie: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-ui-'));
    // A name with a blank: the page's line has quotes.
    kernel = join(dir, 'a kernel');
    writeFileSync(kernel, tinyKernel('up', { kind: 'echo' }));
    server = await MachinesServer.listen(parseEndpoint('tcp:0', '--listen') as TcpEndpoint, { token: null, version: '1', create: machineOf });
    at = `http://127.0.0.1:${server.endpoint.port}`;
    cookie = (await fetch(server.url, { redirect: 'manual' })).headers.get('set-cookie')!.split(';')[0]!;
  });
  afterAll(async () => {
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const get = (path: string, headers: Record<string, string> = { Cookie: cookie }): Promise<Response> => fetch(at + path, { headers });
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<{ status: number; body: Machine & { error?: string } }> => {
    const r = await fetch(at + path, { method: 'POST', headers: { Cookie: cookie, 'Content-Type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body) });
    const text = await r.text();
    return { status: r.status, body: (text.startsWith('{') ? JSON.parse(text) : { error: text }) as Machine & { error?: string } };
  };
  const list = async (): Promise<Machine[]> => (await (await get('/machines.json')).json()) as Machine[];

  it('start, have a console each, stop and are forgotten', async () => {
    const made = await post('/machines', { words: ['--kernel', kernel, '--memory', '16M'] });
    expect(made).toMatchObject({ status: 201, body: { state: 'running', memory: 16 << 20 } });
    const { id, url } = made.body;
    expect(await list()).toMatchObject([{ id, state: 'running' }]);
    const console = await fetch(url!, { redirect: 'manual' });
    expect([console.status, console.headers.get('set-cookie')]).toEqual([302, expect.stringContaining(new URL(url!).port)]);
    expect((await post(`/machines/${id}/stop`, {})).body).toMatchObject({ id, url: null });
    expect((await post(`/machines/${id}/forget`, {})).status).toBe(200);
    expect(await list()).toEqual([]);
    expect(await post(`/machines/${id}/stop`, {})).toMatchObject({ status: 400, body: { error: `ui: there is no machine ${id}` } });
  });

  it.each<[string, string[], string]>([
    ['a file that is not there', ['--kernel', '/nosuch'], '--kernel: /nosuch: no such file'],
    ['an option that is none', ['--krnel', 'x'], 'ui: Unknown argument: krnel'],
    ['what a process has once', ['--serial', 'none'], 'ui: --serial is for the command boot'],
    ['a display of its own', ['--display', 'vnc'], 'ui: --display, --debugcon, --perf-map and --lockstep are for the command boot'],
    ['nothing', [], 'boot: nothing to boot (give an image, --disk or --kernel)'],
  ])('are not made of %s', async (_name, words, error) => {
    expect(await post('/machines', { words })).toEqual({ status: 400, body: { error } });
    await expect(machineOf(words)).rejects.toThrow(UsageError);
    expect(await list()).toEqual([]);
  });

  it('are nobody else\'s', async () => {
    expect((await get('/machines.json', {})).status).toBe(401);
    expect((await get('/', { Cookie: `${cookie}0` })).status).toBe(401);
    expect((await fetch(`${at}/?token=0`)).status).toBe(401);
    const words = { words: ['--kernel', kernel] };
    expect((await post('/machines', words, { Cookie: '' })).status).toBe(401);
    expect((await post('/machines', words, { Origin: 'http://example.org' })).status).toBe(403);
    expect((await post('/machines', words, { 'Content-Type': 'text/plain' })).status).toBe(403);
    for (const odd of ['no JSON', '{}', '{"words":[1]}', `"${'x'.repeat(70_000)}"`]) expect((await post('/machines', odd)).status).toBe(400);
    expect((await post('/machines/1/burn', {})).status).toBe(404);
    expect(await list()).toEqual([]);
  });

  it.skipIf(skipFor(noChromium))('are driven by a browser', async () => {
    const b = await Chromium.open(server.url, 1000, 700);
    try {
      await b.until("document.querySelector('#start')?.disabled === false && !document.querySelector('#empty').hidden");
      const start = (line: string): Promise<unknown> => b.evaluate(`(document.querySelector('#words').value = ${JSON.stringify(line)}, document.querySelector('#start').click())`);
      await start('--kernel /nosuch');
      await b.until("document.querySelector('#message').textContent.includes('no such file')");
      await start(`--kernel '${kernel}' --memory 16M`);
      await b.until("document.querySelectorAll('#list tr').length === 1 && document.querySelector('#list a') !== null");
      expect(await list()).toMatchObject([{ state: 'running' }]);
      await b.evaluate("(window.confirm = () => true, [...document.querySelectorAll('#list button')].find((x) => x.textContent === 'Off').click())");
      await b.until("[...document.querySelectorAll('#list button')].some((x) => x.textContent === 'Forget')");
      expect((await list())[0]!.url).toBe(null);
      await b.evaluate("document.querySelector('#list button').click()");
      await b.until("document.querySelectorAll('#list tr').length === 0");
      // Its own requests for what is not right are no errors of the page's.
      expect(b.log.filter((l) => !l.includes('400'))).toEqual([]);
    } finally {
      await b.close();
    }
  });
});
