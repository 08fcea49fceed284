/** gvncviewer, of gtk-vnc, on an X server without a monitor (Xvfb), with somebody at its keyboard and mouse (xdotool). */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { hostTool } from '../../boot/guests.js';

const run = promisify(execFile);
/** Why tests with it are skipped, or null. */
export const noViewer = hostTool('gvncviewer', 'Xvfb', 'xdotool');

export interface Picture {
  width: number;
  height: number;
  /** Red, green, blue of each dot. */
  rgb: Buffer;
}

/** Offsets in the header of an X window dump, version 7 (XWDFile.h): words, most significant byte first. */
const Xwd = { HEADER_BYTES: 0, WIDTH: 16, HEIGHT: 20, BYTES_PER_LINE: 48, COLORS: 76 } as const;
const COLOR_BYTES = 12;

export class Viewer {
  private constructor(
    private readonly dir: string,
    private readonly x: ChildProcess,
    private readonly env: NodeJS.ProcessEnv,
    private readonly viewer: ChildProcess,
  ) {}

  /** @param display of the VNC server at 127.0.0.1: its port less 5900. */
  static async open(display: number): Promise<Viewer> {
    const dir = mkdtempSync(join(tmpdir(), 'vmx-x-'));
    const x = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-fbdir', dir, '-nolisten', 'tcp'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
    const n = await new Promise<string>((resolve, reject) => {
      let text = '';
      (x.stdio[3] as Readable).on('data', (d: Buffer) => {
        text += d.toString();
        if (text.endsWith('\n')) resolve(text.trim());
      });
      x.once('exit', () => reject(new Error('Xvfb ended')));
    });
    const env = { ...process.env, DISPLAY: `:${n}` };
    const v = new Viewer(dir, x, env, spawn('gvncviewer', [`127.0.0.1:${display}`], { env, stdio: 'ignore' }));
    // Without a window manager nobody gives it the keyboard.
    await v.do('search', '--sync', '--onlyvisible', '--name', 'GVncViewer', 'windowfocus', '--sync');
    return v;
  }

  /** What xdotool is told to do. @returns what it prints. */
  async do(...args: string[]): Promise<string> {
    return (await run('xdotool', args, { env: this.env, timeout: 60_000 })).stdout;
  }

  async type(line: string): Promise<void> {
    await this.do('type', '--delay', '100', line);
    await this.do('key', 'Return');
  }

  /** Where the picture of the machine is on the X screen: below the menu. */
  async area(width: number, height: number): Promise<{ x: number; y: number } | null> {
    const [w, h] = /Geometry: (\d+)x(\d+)/.exec(await this.do('search', '--onlyvisible', '--name', 'GVncViewer', 'getwindowgeometry'))!.slice(1).map(Number);
    return w! < width || h! < height ? null : { x: (w! - width) >> 1, y: h! - height };
  }

  /** What the viewer shows: the lowest `width` by `height` dots of its window; null while that is smaller. */
  async picture(width: number, height: number): Promise<Picture | null> {
    const area = await this.area(width, height);
    if (area === null) return null;
    const f = readFileSync(join(this.dir, 'Xvfb_screen0'));
    const line = f.readUInt32BE(Xwd.BYTES_PER_LINE);
    const first = f.readUInt32BE(Xwd.HEADER_BYTES) + f.readUInt32BE(Xwd.COLORS) * COLOR_BYTES;
    const rgb = Buffer.alloc(width * height * 3);
    for (let y = 0, to = 0; y < height; y++) {
      for (let at = first + (area.y + y) * line + area.x * 4, n = 0; n < width; n++, at += 4) {
        rgb[to++] = f[at + 2]!;
        rgb[to++] = f[at + 1]!;
        rgb[to++] = f[at]!;
      }
    }
    return { width, height, rgb };
  }

  async close(): Promise<void> {
    for (const p of [this.viewer, this.x]) {
      if (p.exitCode === null && p.signalCode === null) {
        p.kill();
        await new Promise((r) => p.once('exit', r));
      }
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}
