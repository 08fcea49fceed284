/** The web console and VNC over WebSocket: who gets in, and what they find. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { parseEndpoint, VirtualMachine, VncServer, WebConsole, type Endpoint } from '#lib/index.js';
import { listenWebSocket } from '#lib/control/vnc/websocket.js';
import { tokenFile } from '#lib/cli/display.js';
import { noAddon, skipFor } from '../../boot/guests.js';
import { tinyKernel } from '../../boot/tiny.js';

type Tcp = Extract<Endpoint, { kind: 'tcp' }>;
const tcp = (): Tcp => parseEndpoint('tcp:0', '--display') as Tcp;

describe.skipIf(skipFor(noAddon))('web console', () => {
  let dir: string;
  let vm: VirtualMachine;
  let web: WebConsole;
  let port: number;
  let cookie: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-web-'));
    writeFileSync(join(dir, 'kernel'), tinyKernel('up', { kind: 'echo' }));
    vm = await VirtualMachine.create({ kernel: join(dir, 'kernel'), memory: '16M', vga: 'std' });
    web = await WebConsole.listen(vm, tcp(), { token: null, version: '1.2.3' });
    ({ port } = web.endpoint as Tcp);
    const first = await get(`/?token=${web.token}`);
    cookie = first.headers['set-cookie']![0]!.split(';')[0]!;
    vm.start();
  });
  afterAll(async () => {
    await vm.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  interface Answer {
    status: number;
    headers: Record<string, string | string[] | undefined> & { 'set-cookie'?: string[] };
    body: Buffer;
  }
  function get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const r = request({ host: '127.0.0.1', port, path, method, headers }, (res) => {
        const parts: Buffer[] = [];
        res.on('data', (d: Buffer) => parts.push(d));
        res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers as Answer['headers'], body: Buffer.concat(parts) }));
      });
      r.on('error', reject);
      r.end();
    });
  }
  /** What each socket has been sent. */
  const came = new Map<WebSocket, string>();
  const page = (path: string): Promise<Answer> => get(path, { Cookie: cookie });

  /** Opens a WebSocket. @returns it, or the status with which it was refused. */
  function open(path: string, headers: Record<string, string> = { Cookie: cookie }, at = port, protocols: string[] = []): Promise<WebSocket | number> {
    return new Promise((resolve) => {
      const ws = new WebSocket(`ws://127.0.0.1:${at}${path}`, protocols, { headers });
      came.set(ws, '');
      ws.on('message', (d: Buffer) => came.set(ws, came.get(ws)! + d.toString('latin1')));
      ws.once('open', () => resolve(ws));
      ws.on('error', () => {});
      ws.once('unexpected-response', (_request, response) => {
        resolve(response.statusCode!);
        ws.terminate();
      });
    });
  }
  /** Resolves when all that has come matches. */
  function until(ws: WebSocket, what: RegExp): Promise<string> {
    return new Promise((resolve) => {
      const look = (): void => {
        const text = came.get(ws)!;
        if (what.test(text)) resolve(text);
      };
      ws.on('message', look);
      look();
    });
  }

  it('wants its token once, and then a cookie that pages of other sites cannot use', async () => {
    expect((await get('/')).status).toBe(401);
    expect((await get('/console.js')).status).toBe(401);
    expect((await get('/?token=0123456789abcdef')).status).toBe(401);
    const first = await get(`/?token=${web.token}`);
    expect(first).toMatchObject({ status: 302, headers: { location: '/' } });
    expect(first.headers['set-cookie']![0]).toMatch(/; Path=\/; HttpOnly; SameSite=Strict$/);
    expect((await page('/')).body.toString()).toContain('<title>vmx-accel</title>');
    expect((await get('/', { Cookie: `${cookie.split('=')[0]!}=wrong` })).status).toBe(401);
    expect(web.url).toBe(`http://127.0.0.1:${port}/?token=${web.token}`);
  });

  it('serves its page and nothing else', async () => {
    const index = await page('/');
    expect(index.headers['content-security-policy']).toContain("frame-ancestors 'none'");
    for (const path of ['/console.js', '/terminal.js', '/console.css', '/novnc/core/rfb.js', '/novnc/vendor/pako/lib/zlib/inflate.js']) expect((await page(path)).status, path).toBe(200);
    for (const path of ['/../package.json', '/novnc/../package.json', '/novnc/core/%2e%2e/package.json', '/novnc/core/..%2f..%2fpackage.json', '/novnc/package.json', '/novnc/core/none.js', '/constructor', '/__proto__']) {
      expect((await page(path)).status, path).toBe(404);
    }
    expect((await get('/', { Cookie: cookie }, 'POST')).status).toBe(405);
    expect((await page('/screenshot.png')).body.subarray(1, 4).toString()).toBe('PNG');
    expect(JSON.parse((await page('/info.json')).body.toString())).toMatchObject({ display: true, arch: 'x86_64', machine: 'pc' });
  });

  it('survives what is no address', async () => {
    expect((await get('//')).status).toBe(400);
    expect((await get('//', { Cookie: cookie, Connection: 'Upgrade', Upgrade: 'websocket' })).status).toBe(404);
    expect((await page('/info.json')).status).toBe(200);
  });

  it('refuses names that others give out, and pages from elsewhere', async () => {
    expect((await get('/', { Cookie: cookie, Host: `evil.example:${port}` })).status).toBe(403);
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`]) expect((await get('/', { Cookie: cookie, Host: host })).status, host).toBe(200);
    for (const path of ['/vnc', '/qmp', '/serial']) {
      expect(await open(path, {})).toBe(401);
      expect(await open(path, { Cookie: cookie, Origin: 'http://evil.example' })).toBe(403);
      expect(await open(path, { Cookie: cookie, Origin: 'null' })).toBe(403);
      // Another server of this host is another site to a browser.
      expect(await open(path, { Cookie: cookie, Origin: 'http://127.0.0.1:1' })).toBe(403);
      expect(await open(path, { Cookie: cookie, Host: `evil.example:${port}`, Origin: `http://evil.example:${port}` })).toBe(403);
      const ws = await open(path, { Cookie: cookie, Origin: `http://127.0.0.1:${port}` });
      expect(ws).toBeInstanceOf(WebSocket);
      (ws as WebSocket).terminate();
    }
    expect(await open('/nothing')).toBe(404);
  });

  it('carries QMP, the serial console and VNC', async () => {
    const qmp = (await open('/qmp')) as WebSocket;
    const version = until(qmp, /"package":"vmx-accel 1\.2\.3".*\r\n(.*\r\n)*.*"running"/);
    qmp.send('{"execute":"qmp_capabilities"}');
    qmp.send('{"execute":"query-status"}');
    await version;
    // Two watch the same console; who comes later sees what was printed.
    const a = (await open('/serial')) as WebSocket;
    const echoed = until(a, /hello/);
    a.send(Buffer.from('hello'));
    await echoed;
    const b = (await open('/serial')) as WebSocket;
    expect(await until(b, /hello/)).toContain('up');
    const vnc = (await open('/vnc')) as WebSocket;
    const security = until(vnc, /RFB 003\.008\n\x01\x01/);
    vnc.send(Buffer.from('RFB 003.008\n'));
    await security;
    // Nonsense ends a connection and nothing else.
    const bad = (await open('/qmp')) as WebSocket;
    const closed = new Promise((r) => bad.once('close', r));
    bad.send('GET / HTTP/1.1\r\n\r\n');
    await closed;
    const huge = (await open('/vnc')) as WebSocket;
    const gone = new Promise((r) => huge.once('close', r));
    huge.send(Buffer.alloc(5 * 1024 * 1024));
    await gone;
    const again = until(a, /again/);
    a.send(Buffer.from('again'));
    await again;
    for (const ws of [qmp, a, b, vnc]) ws.terminate();
  });

  it('offers VNC to pages of this host at a port of its own', async () => {
    const vnc = VncServer.create(vm, { password: 'secret' });
    const at = (await listenWebSocket(vnc, tcp())) as Tcp;
    for (const headers of [{}, { Origin: 'http://127.0.0.1:8000' }, { Origin: 'http://localhost' }]) {
      const ws = (await open('/websockify', headers, at.port, ['binary'])) as WebSocket;
      expect(ws.protocol).toBe('binary');
      const security = until(ws, /RFB 003\.008\n\x01\x02/);
      ws.send(Buffer.from('RFB 003.008\n'));
      await security;
      ws.terminate();
    }
    expect(await open('/', { Origin: 'https://evil.example' }, at.port)).toBe(403);
    expect(await open('/', { Host: 'evil.example', Origin: 'http://evil.example' }, at.port)).toBe(403);
    vnc.close();
  });

  it('takes a token of the user', () => {
    const file = join(dir, 'token');
    writeFileSync(file, 'a-token-of-some-length\nmore\n');
    expect(tokenFile(file)).toBe('a-token-of-some-length');
    for (const bad of ['', 'short', 'with spaces in the token', 'semicolon;semicolon;']) {
      writeFileSync(file, bad);
      expect(() => tokenFile(file)).toThrow(/^--display: token: /);
    }
    expect(() => tokenFile(join(dir, 'none'))).toThrow(/^--display: token: /);
  });
});
