/** A headless Chromium, driven by the DevTools protocol. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const found = (process.env.PATH ?? '').split(':').flatMap((d) => NAMES.map((n) => join(d, n))).find((f) => existsSync(f));

/** Why tests with a browser are skipped, or null. */
export const noChromium = found === undefined ? 'no Chromium installed' : null;

export class Chromium {
  private next = 1;
  private readonly waiting = new Map<number, { resolve: (v: Record<string, unknown>) => void; reject: (e: Error) => void }>();
  /** What went wrong in the page. */
  readonly log: string[] = [];

  private constructor(
    private readonly child: ChildProcess,
    private readonly profile: string,
    private readonly socket: WebSocket,
  ) {
    socket.on('message', (data: Buffer) => {
      const m = JSON.parse(data.toString()) as { id?: number; result?: Record<string, unknown>; error?: { message: string }; method?: string; params?: { entry?: { level: string } } };
      if (m.id === undefined) {
        if (m.method === 'Runtime.exceptionThrown' || m.params?.entry?.level === 'error') this.log.push(JSON.stringify(m.params));
        return;
      }
      const w = this.waiting.get(m.id);
      this.waiting.delete(m.id);
      if (m.error !== undefined) w?.reject(new Error(m.error.message));
      else w?.resolve(m.result ?? {});
    });
  }

  /** Opens `url` in a window of this size. */
  static async open(url: string, width: number, height: number): Promise<Chromium> {
    const profile = mkdtempSync(join(tmpdir(), 'vmx-chromium-'));
    const child = spawn(found!, ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--remote-debugging-port=0', `--user-data-dir=${profile}`, `--window-size=${width},${height}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    const port = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stderr!.on('data', (d: Buffer) => {
        text += d.toString();
        const m = /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)/.exec(text);
        if (m !== null) resolve(m[1]!);
      });
      child.once('exit', () => reject(new Error(`Chromium ended: ${text}`)));
    });
    const pages = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as { type: string; webSocketDebuggerUrl: string }[];
    const socket = new WebSocket(pages.find((p) => p.type === 'page')!.webSocketDebuggerUrl);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    const c = new Chromium(child, profile, socket);
    for (const domain of ['Runtime', 'Log', 'Page']) await c.send(`${domain}.enable`);
    await c.send('Page.navigate', { url });
    return c;
  }

  send(method: string, params: unknown = {}): Promise<Record<string, unknown>> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const r = (await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true })) as { result: { value: T }; exceptionDetails?: unknown };
    if (r.exceptionDetails !== undefined) throw new Error(JSON.stringify(r.exceptionDetails));
    return r.result.value;
  }

  /** Resolves when the expression becomes true. */
  async until(expression: string, ms = 30_000): Promise<void> {
    const end = Date.now() + ms;
    while (!(await this.evaluate<boolean>(expression))) {
      if (Date.now() > end) throw new Error(`the page does not come to ${expression}, it says: ${await this.evaluate<string>('document.body.innerText')}; log: ${this.log.join('\n')}`);
      await new Promise((r) => setTimeout(r, 50));
    }
  }

  async key(key: string, code: string, keyCode: number): Promise<void> {
    const common = { key, code, windowsVirtualKeyCode: keyCode };
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...common, ...(key.length === 1 ? { text: key } : {}) });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...common });
  }

  async type(text: string): Promise<void> {
    for (const c of text) {
      if (c === '\n') await this.key('Enter', 'Enter', 13);
      else await this.key(c, /[a-z]/.test(c) ? `Key${c.toUpperCase()}` : c === ' ' ? 'Space' : c === '.' ? 'Period' : c === '/' ? 'Slash' : c === '-' ? 'Minus' : `Digit${c}`, c.toUpperCase().charCodeAt(0));
    }
  }

  mouse(type: 'mouseMoved' | 'mousePressed' | 'mouseReleased', x: number, y: number): Promise<unknown> {
    return this.send('Input.dispatchMouseEvent', { type, x, y, button: type === 'mouseMoved' ? 'none' : 'left', clickCount: type === 'mouseMoved' ? 0 : 1 });
  }

  async close(): Promise<void> {
    this.socket.terminate();
    const gone = new Promise((r) => this.child.once('exit', r));
    // The whole group: its renderers and helpers would go on writing to the profile.
    process.kill(-this.child.pid!, 'SIGKILL');
    await gone;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
