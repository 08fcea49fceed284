/** Viewers of Debian's packages (gvnccapture and gvncviewer, of gtk-vnc) show what the screenshot shows, type and point. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PNG } from 'pngjs';
import { afterEach, describe, expect, it } from 'vitest';
import { UsageError, VirtualMachine, VncServer } from '#lib/index.js';
import { guests, hostTool, noAddon, noGuests, skipFor } from '../../boot/guests.js';
import { noViewer, Viewer } from './gvncviewer.js';
import { READ_TABLET, TABLET_READ, tabletPlaces } from './tablet.js';

const freedos = process.env.VMX_FREEDOS ?? fileURLToPath(new URL('../../../../shared/guests/freedos722.img', import.meta.url));
const MINUTES = 60_000;
/** Viewers count displays from this port on. */
const FIRST_PORT = 5900;

async function listen(vm: VirtualMachine): Promise<number> {
  for (let display = 40; ; display++) {
    try {
      await VncServer.listen(vm, { kind: 'tcp', host: '127.0.0.1', port: FIRST_PORT + display });
      return display;
    } catch (e) {
      if (!(e instanceof UsageError) || display > 100) throw e;
    }
  }
}

async function capture(vm: VirtualMachine): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'vmx-viewer-'));
  try {
    await vm.pause();
    const file = join(dir, 'a.png');
    await promisify(execFile)('gvnccapture', ['-q', `127.0.0.1:${await listen(vm)}`, file], { timeout: 60_000 });
    const seen = PNG.sync.read(readFileSync(file));
    const want = await vm.screen.picture();
    expect({ width: seen.width, height: seen.height }).toEqual({ width: want.width, height: want.height });
    expect(Buffer.from(seen.data).equals(Buffer.from(want.rgba))).toBe(true);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const noFreedos = existsSync(freedos) ? null : 'no FreeDOS floppy';
const kernel = guests.kernelGeneric ?? '';
const initrd = guests.initramfsDesk ?? '';
const noLinux = noGuests ?? (existsSync(kernel) && existsSync(initrd) ? null : 'no kernel with all drivers: run node scripts/guests.mjs');

async function startFreedos(): Promise<VirtualMachine> {
  const vm = await VirtualMachine.create({ floppies: [`${freedos},snapshot`] });
  vm.start();
  await vm.screen.waitForText('A:\\>', { timeout: 2 * MINUTES });
  return vm;
}

async function startLinux(): Promise<VirtualMachine> {
  const vm = await VirtualMachine.create({ kernel, initrd, append: 'console=ttyS0 console=tty0 quiet', vga: 'std', devices: ['virtio-tablet'] });
  vm.start();
  await vm.screen.waitForText('~ #', { timeout: 5 * MINUTES });
  return vm;
}

describe.skipIf(skipFor(noAddon ?? hostTool('gvnccapture')))('gvnccapture', () => {
  it.skipIf(skipFor(noFreedos))('shows FreeDOS dot by dot', async () => {
    await using vm = await startFreedos();
    await capture(vm);
  }, 5 * MINUTES);

  it.skipIf(skipFor(noLinux))('shows a Linux console dot by dot', async () => {
    await using vm = await startLinux();
    await capture(vm);
  }, 10 * MINUTES);
});

describe.skipIf(skipFor(noAddon ?? noViewer))('gvncviewer', () => {
  let viewer: Viewer | null = null;
  afterEach(async () => {
    await viewer?.close();
    viewer = null;
  });

  /** What the window shows while the machine stands still is what the library says. */
  async function samePicture(vm: VirtualMachine, v: Viewer): Promise<void> {
    await vm.pause();
    const { width, height, rgba } = await vm.screen.picture();
    const want = Buffer.from(rgba.filter((_, i) => i % 4 !== 3));
    await expect.poll(async () => (await v.picture(width, height))?.rgb.equals(want), { timeout: 30_000, interval: 200 }).toBe(true);
    await vm.resume();
  }

  it.skipIf(skipFor(noFreedos))('shows FreeDOS, types and points', async () => {
    await using vm = await startFreedos();
    // FreeDOS has no tablet: what arrives at the machine's mouse is looked at.
    const moved = [0, 0];
    const { move } = vm.mouse;
    vm.mouse.move = (dx, dy, wheel): Promise<void> => {
      moved[0]! += dx;
      moved[1]! += dy;
      return move.call(vm.mouse, dx, dy, wheel);
    };
    viewer = await Viewer.open(await listen(vm));
    await samePicture(vm, viewer);
    await viewer.type('ver');
    await vm.screen.waitForText(/A:\\>ver\s+Free[^]*A:\\>/i, { timeout: MINUTES });
    await samePicture(vm, viewer);
    // A click catches the mouse, then ways count.
    await viewer.do('mousemove', '300', '200', 'click', '1', 'sleep', '1');
    for (let i = 0; i < 5; i++) await viewer.do('mousemove_relative', '--', '20', '10', 'sleep', '0.2');
    await expect.poll(() => moved[0]! > 0 && moved[1]! > 0, { timeout: 20_000 }).toBe(true);
  }, 5 * MINUTES);

  it.skipIf(skipFor(noLinux))('shows a Linux console, types and points', async () => {
    await using vm = await startLinux();
    viewer = await Viewer.open(await listen(vm));
    await viewer.type('echo linux on the screen');
    await vm.screen.waitForText(/^linux on the screen$/m, { timeout: MINUTES });
    await samePicture(vm, viewer);
    const { width, height } = await vm.screen.picture();
    const area = (await viewer.area(width, height))!;
    await viewer.type(READ_TABLET);
    await viewer.do('sleep', '2');
    for (let i = 1; i <= 8; i++) await viewer.do('mousemove', String(area.x + 20 * i), String(area.y + 10 * i), 'sleep', '0.2');
    // The first movement may come before the guest looks.
    const { xs, ys } = tabletPlaces(await vm.screen.waitForText(TABLET_READ, { timeout: MINUTES }), width, height);
    expect(xs.length).toBeGreaterThan(2);
    expect(xs.map((x) => x % 20)).toEqual(xs.map(() => 0));
    expect(ys).toEqual(xs.slice(0, ys.length).map((x) => x / 2));
  }, 10 * MINUTES);
});
