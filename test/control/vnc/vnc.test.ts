/** The VNC server against a machine with a picture: handshakes, encodings, input, and clients that misbehave. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseEndpoint, VirtualMachine, VncServer } from '#lib/index.js';
import { keyOfKeycode, keyOfKeysym } from '#lib/control/vnc/keysyms.js';
import { encodeHextile, encodeRaw, zrleTiles } from '#lib/control/vnc/encodings.js';
import { DEFAULT_FORMAT, PixelWriter, readFormat, writeFormat } from '#lib/control/vnc/pixels.js';
import { noAddon, skipFor } from '../../boot/guests.js';
import { tinyKernel } from '../../boot/tiny.js';
import { randomFrom } from '../../devices/fuzz.js';
import { VncClient } from './client.js';

const at = (s: VncServer): number => (s.endpoint as { port: number }).port;

describe.skipIf(skipFor(noAddon))('VNC', () => {
  let dir: string;
  let vm: VirtualMachine;
  let open: VncServer;
  let locked: VncServer;
  const clients: VncClient[] = [];
  const client = async (s = open): Promise<VncClient> => {
    const c = await VncClient.open(at(s));
    clients.push(c);
    return c;
  };
  const picture = async (): Promise<{ width: number; height: number; rgb: Buffer }> => {
    const p = await vm.screen.picture();
    return { width: p.width, height: p.height, rgb: Buffer.from(p.rgba.filter((_, i) => i % 4 !== 3)) };
  };

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-vnc-'));
    writeFileSync(join(dir, 'kernel'), tinyKernel('up', { kind: 'spin' }));
    vm = await VirtualMachine.create({ kernel: join(dir, 'kernel'), memory: '16M', vga: 'std' });
    open = await VncServer.listen(vm, parseEndpoint('tcp:0', '--display'), { name: 'test' });
    locked = await VncServer.listen(vm, parseEndpoint('tcp:0', '--display'), { password: 'sesame12' });
    vm.start();
  });
  afterEach(() => {
    for (const c of clients.splice(0)) c.socket.destroy();
  });
  afterAll(async () => {
    await vm?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it.each([3, 7, 8])('speaks version 3.%i', async (minor) => {
    const c = await client();
    await c.start({ minor });
    expect([c.width, c.height, c.name]).toEqual([720, 400, 'test']);
  });

  it.each([
    ['raw', 0],
    ['hextile', 5],
    ['ZRLE', 16],
  ])('shows what the screenshot shows, in %s', async (_name, encoding) => {
    const c = await client();
    await c.start();
    c.setEncodings(encoding);
    c.request(false);
    const areas = await c.update();
    expect(areas.every((a) => a.encoding === encoding)).toBe(true);
    let p = await picture();
    expect([c.width, c.height]).toEqual([p.width, p.height]);
    // The text cursor may have blinked in between.
    for (let tries = 0; tries < 20 && !c.rgb().equals(p.rgb); tries++) {
      c.request(false);
      await c.update();
      p = await picture();
    }
    expect(c.rgb().equals(p.rgb)).toBe(true);
  });

  it('lets in who knows the password, and nobody else', async () => {
    const good = await client(locked);
    await good.start({ password: 'sesame12' });
    expect(good.width).toBe(720);
    const old = await client(locked);
    await old.start({ password: 'sesame12', minor: 3 });
    const bad = await client(locked);
    await expect(bad.start({ password: 'sesame13' })).rejects.toThrow('refused');
    const none = await client(locked);
    await none.take(12);
    none.socket.write('RFB 003.008\n');
    await none.take(2);
    none.send(1);
    await expect(none.take(1)).rejects.toThrow('closed');
  });

  it('announces the extensions a client knows', async () => {
    const c = await client();
    await c.start();
    c.setEncodings(0, -223, -257, -258);
    c.request(false);
    expect((await c.update()).map((a) => a.encoding)).toEqual(expect.arrayContaining([-257, -258, 0]));
  });

  it('sends what has changed, when it has', async () => {
    const c = await client();
    await c.start();
    c.request(false);
    await c.update();
    c.request(true);
    // The text cursor blinks, and that is all.
    const areas = await c.update();
    expect(areas.length).toBeGreaterThan(0);
    for (const a of areas) expect(a.width * a.height).toBeLessThan(9 * 16 + 1);
  });

  it('takes keys and movements', async () => {
    const c = await client();
    await c.start();
    c.send(4, 1, 0, 0, 0, 0, 0, 0x61, 4, 0, 0, 0, 0, 0, 0, 0x61);
    c.send(5, 0, 0, 10, 0, 10, 5, 1, 0, 20, 0, 20, 5, 0, 0, 20, 0, 20);
    c.send(255, 0, 0, 1, 0, 0, 0xff, 0x0d, 0, 0, 0, 0x1c, 255, 0, 0, 0, 0, 0, 0xff, 0x0d, 0, 0, 0, 0x1c);
    c.send(6, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 5);
    c.request(false);
    expect((await c.update()).length).toBeGreaterThan(0);
  });

  it.each([
    ['another protocol', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['an unknown message', 'RFB 003.008\n\x01\x01\xee'],
    ['a palette', 'RFB 003.008\n\x01\x01\x00\x00\x00\x00\x08\x08\x00\x00\x00\x07\x00\x07\x00\x03\x00\x03\x06\x00\x00\x00'],
    ['too many encodings', 'RFB 003.008\n\x01\x01\x02\x00\xff\xff'],
    ['a huge clipboard', 'RFB 003.008\n\x01\x01\x06\x00\x00\x00\xff\xff\xff\xff'],
  ])('closes the connection on %s', async (_what, bytes) => {
    const c = await client();
    c.socket.write(Buffer.from(bytes, 'latin1'));
    await expect(c.take(1e9)).rejects.toThrow('closed');
  });

  it('survives random bytes, and others do not notice', async () => {
    const random = randomFrom(3);
    const good = await client();
    await good.start();
    for (let i = 0; i < 60; i++) {
      const c = await client();
      c.socket.write('RFB 003.008\n\x01\x01');
      c.socket.write(Buffer.from(Array.from({ length: 400 }, () => random() & (random() & 1 ? 7 : 255))));
    }
    good.request(false);
    expect((await good.update()).length).toBeGreaterThan(0);
    expect(vm.state).toBe('running');
  });
});

describe('keys', () => {
  it('are found by keysym and by keycode', () => {
    expect([keyOfKeysym(0x61), keyOfKeysym(0x41), keyOfKeysym(0x21), keyOfKeysym(0x2d), keyOfKeysym(0x20), keyOfKeysym(0xff0d), keyOfKeysym(0xff51), keyOfKeysym(0xffc9), keyOfKeysym(0xffe4)]).toEqual([0x1e, 0x1e, 0x02, 0x0c, 0x39, 0x1c, 0xe04b, 0x58, 0xe01d]);
    expect([keyOfKeysym(0xe9), keyOfKeysym(0), keyOfKeysym(0x1000000)]).toEqual([-1, -1, -1]);
    expect([keyOfKeycode(0x1c), keyOfKeycode(0x9c), keyOfKeycode(0), keyOfKeycode(0x1ff)]).toEqual([0x1c, 0xe01c, -1, -1]);
    for (let k = 0x20; k < 0x7f; k++) expect(keyOfKeysym(k)).toBeGreaterThan(0);
  });
});

describe('pixels', () => {
  const image = { width: 70, height: 20, words: Uint32Array.from({ length: 1400 }, (_, i) => (0xff00_0000 | (i * 2654435761)) >>> 0) };
  const area = { x: 3, y: 2, width: 66, height: 17 };

  it('have the format a client asks for', () => {
    expect(readFormat(writeFormat(DEFAULT_FORMAT))).toEqual(DEFAULT_FORMAT);
    const rgb565 = new PixelWriter({ bitsPerPixel: 16, depth: 16, bigEndian: true, max: [31, 63, 31], shift: [11, 5, 0] });
    const out = new Uint8Array(2);
    rgb565.put(out, 0, rgb565.value(0xff00_00ff));
    expect([...out]).toEqual([0xf8, 0]);
    expect(rgb565.value(0xffff_ffff)).toBe(0xffff);
    const bgr233 = new PixelWriter({ bitsPerPixel: 8, depth: 8, bigEndian: false, max: [7, 7, 3], shift: [0, 3, 6] });
    expect(bgr233.value(0xff80_80ff)).toBe(7 | (4 << 3) | (2 << 6));
    const high = new PixelWriter({ bitsPerPixel: 32, depth: 24, bigEndian: false, max: [255, 255, 255], shift: [24, 16, 8] });
    const three = new Uint8Array(3);
    high.putCompact(three, 0, high.value(0xff03_0201));
    expect([high.compactBytes, ...three]).toEqual([3, 3, 2, 1]);
  });

  it('stay within the room that is reckoned for them', () => {
    const w = new PixelWriter(DEFAULT_FORMAT);
    expect(encodeRaw(image, area, w)).toHaveLength(66 * 17 * 4);
    expect(encodeHextile(image, area, w).length).toBeLessThanOrEqual(10 * (1 + 1024));
    expect(zrleTiles(image, area, w).length).toBe(2 + 66 * 17 * 3);
    const plain = { ...image, words: new Uint32Array(1400).fill(0xff11_2233) };
    expect(encodeHextile(plain, area, w)).toHaveLength(10 * 5);
    expect(zrleTiles(plain, area, w)).toHaveLength(2 * 4);
  });
});
