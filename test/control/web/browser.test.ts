/** The web console in a browser: noVNC shows the very pixels, and keys and pointer arrive. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { parseEndpoint, VirtualMachine, WebConsole, type Endpoint } from '#lib/index.js';
import { guests, noAddon, noGuests, skipFor } from '../../boot/guests.js';
import { READ_TABLET, TABLET_READ, tabletPlaces } from '../vnc/tablet.js';
import { Chromium, noChromium } from './chromium.js';

const freedos = process.env.VMX_FREEDOS ?? fileURLToPath(new URL('../../../../shared/guests/freedos722.img', import.meta.url));
const MINUTES = 60_000;
const CANVAS = "document.querySelector('#screen canvas')";
let browser: Chromium | null = null;
afterEach(async () => {
  await browser?.close();
  browser = null;
});

async function openConsole(vm: VirtualMachine): Promise<Chromium> {
  const web = await WebConsole.listen(vm, parseEndpoint('tcp:0', '--display') as Extract<Endpoint, { kind: 'tcp' }>, { token: null, version: '0' });
  browser = await Chromium.open(web.url, 1000, 700);
  await browser.until(`${CANVAS} !== null && ${CANVAS}.width > 100 && document.querySelector('#state').textContent === 'running'`);
  return browser;
}

/** What the browser shows while the machine stands still is what the library says. */
async function samePicture(vm: VirtualMachine, b: Chromium): Promise<void> {
  await vm.pause();
  const { width, height, rgba } = await vm.screen.picture();
  const want = Buffer.from(rgba);
  let got = Buffer.alloc(0);
  for (let tries = 0; tries < 100 && !got.equals(want); tries++) {
    const r = await b.evaluate<{ width: number; height: number; data: string }>(`(() => {
      const c = ${CANVAS};
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      let s = '';
      for (let i = 0; i < d.length; i += 8192) s += String.fromCharCode(...d.subarray(i, i + 8192));
      return { width: c.width, height: c.height, data: btoa(s) };
    })()`);
    got = Buffer.from(r.data, 'base64');
    if (got.equals(want)) expect(r).toMatchObject({ width, height });
    else await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(got.equals(want)).toBe(true);
  await vm.resume();
}

describe.skipIf(skipFor(noAddon ?? noChromium ?? (existsSync(freedos) ? null : 'no FreeDOS floppy')))('a browser', () => {
  it('shows FreeDOS, types and points', async () => {
    await using vm = await VirtualMachine.create({ floppies: [`${freedos},snapshot`] });
    const places: [number, number][] = [];
    const { moveTo } = vm.mouse;
    vm.mouse.moveTo = (px, py, wheel): Promise<void> => {
      places.push([px, py]);
      return moveTo.call(vm.mouse, px, py, wheel);
    };
    vm.start();
    await vm.screen.waitForText('A:\\>', { timeout: 60_000 });
    const b = await openConsole(vm);
    await samePicture(vm, b);
    const { x, y, width } = await b.evaluate<{ x: number; y: number; width: number }>(`(({ x, y, width }) => ({ x, y, width }))(${CANVAS}.getBoundingClientRect())`);
    await b.mouse('mouseMoved', x + 100, y + 100);
    await b.mouse('mousePressed', x + 100, y + 100);
    await b.mouse('mouseReleased', x + 100, y + 100);
    await b.mouse('mouseMoved', x + 140, y + 120);
    await b.type('ver\n');
    await vm.screen.waitForText(/A:\\>ver\s+Free[^]*A:\\>/i);
    await samePicture(vm, b);
    // The page scales the picture: dots of the screen are not those of the window.
    const scale = (await vm.screen.picture()).width / width;
    const last = places.at(-1)!;
    expect(Math.abs(last[0] - 140 * scale)).toBeLessThanOrEqual(2);
    expect(Math.abs(last[1] - 120 * scale)).toBeLessThanOrEqual(2);

    // The buttons of the page.
    await b.until("document.getElementById('state').textContent === 'running'");
    await b.evaluate("document.getElementById('pause').click()");
    await b.until("document.getElementById('state').textContent === 'paused'");
    expect(vm.state).toBe('paused');
    await b.evaluate("document.getElementById('pause').click()");
    await b.until("document.getElementById('state').textContent === 'running'");
    expect(await b.evaluate<string>("document.getElementById('drive-list').textContent")).toContain('floppy0');
    await vm.disks.eject('floppy0');
    await b.evaluate("document.getElementById('cad').click()");
    await vm.screen.waitForText(/No bootable device|Boot failed/, { timeout: 60_000 });
    expect(b.log).toEqual([]);
  }, 5 * MINUTES);
});

const kernel = guests.kernelGeneric ?? '';
const initrd = guests.initramfsDesk ?? '';
describe.skipIf(skipFor(noGuests ?? noChromium ?? (existsSync(kernel) && existsSync(initrd) ? null : 'no kernel with all drivers: run node scripts/guests.mjs')))('a browser', () => {
  it('shows a Linux console, and the serial one', async () => {
    await using vm = await VirtualMachine.create({ kernel, initrd, append: 'console=ttyS0 console=tty0 quiet', vga: 'std', devices: ['virtio-tablet'] });
    vm.start();
    await vm.screen.waitForText('~ #', { timeout: 5 * MINUTES });
    const b = await openConsole(vm);
    await b.evaluate(`${CANVAS}.focus()`);
    await b.type('echo linux on the screen\n');
    await vm.screen.waitForText(/^linux on the screen$/m);
    await samePicture(vm, b);
    await vm.keyboard.type(`${READ_TABLET}\n`);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const at = await b.evaluate<{ x: number; y: number; width: number }>(`(({ x, y, width }) => ({ x, y, width }))(${CANVAS}.getBoundingClientRect())`);
    for (let i = 1; i <= 8; i++) {
      await b.mouse('mouseMoved', at.x + 20 * i, at.y + 10 * i);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const { width, height } = await vm.screen.picture();
    const { xs, ys } = tabletPlaces(await vm.screen.waitForText(TABLET_READ, { timeout: MINUTES }), width, height);
    // The page scales the picture.
    const scale = width / at.width;
    expect(xs.length).toBeGreaterThan(2);
    for (const places of [xs.map((v) => v / 20 / scale), ys.map((v) => v / 10 / scale)]) for (const v of places) expect(Math.abs(v - Math.round(v))).toBeLessThan(0.2);
    expect(Math.round(xs.at(-1)! / 20 / scale) - Math.round(xs[0]! / 20 / scale)).toBe(xs.length - 1);
    await b.evaluate("document.getElementById('tab-serial').click()");
    await vm.keyboard.type('echo serial-works > /dev/ttyS0\n');
    await b.until("document.getElementById('terminal').textContent.includes('serial-works')");
    expect(b.log).toEqual([]);
  }, 10 * MINUTES);
});
