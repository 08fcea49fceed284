/** A TAP interface: the host's kernel is at the other end, and answers. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from '../boot/console.js';
import { guests, noAddon, noGuests, hostTool, skipFor } from '../boot/guests.js';
import { parseNet } from '#lib/machine/net-config.js';
import { type FrameInfo, type NicEnd } from '#lib/net/port.js';
import { TapLink } from '#lib/net/tap-link.js';

const NAME = `vmxt${process.pid % 100_000}`;

function noTap(): string | null {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
  } catch (e) {
    return `TAP: /dev/net/tun: ${(e as Error).message}`;
  }
  return process.getuid?.() === 0 ? null : 'TAP: interfaces are made as root';
}

/** A card that keeps what arrives. */
class Card implements NicEnd {
  readonly abilities = { maxFrame: 1514, checksumFree: false };
  readonly frames: Uint8Array[] = [];
  room = true;
  receive(frame: Uint8Array, _info: Readonly<FrameInfo>): boolean {
    if (this.room) this.frames.push(frame.slice());
    return this.room;
  }
}

const PLAIN: FrameInfo = { gsoSize: 0, noChecksum: false };
const until = async (ok: () => boolean): Promise<void> => {
  for (let i = 0; i < 200 && !ok(); i++) await new Promise((r) => setTimeout(r, 25));
  expect(ok()).toBe(true);
};
/** Who has 198.51.100.1? Tell 198.51.100.2 (RFC 826). */
const ARP = Uint8Array.from([...new Array<number>(6).fill(255), 0x52, 0x54, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0, 0, 9, 198, 51, 100, 2, 0, 0, 0, 0, 0, 0, 198, 51, 100, 1, ...new Array<number>(18).fill(0)]);
const isReply = (f: Uint8Array): boolean => f[12] === 8 && f[13] === 6 && f[21] === 2;

describe.skipIf(skipFor(noAddon ?? noTap() ?? hostTool('ip')))('TAP', () => {
  it('carries frames both ways, waits for a card without room, and is free again after close', async () => {
    const log: string[] = [];
    const tap = new TapLink(NAME, (m) => log.push(m));
    const card = new Card();
    tap.attach(card);
    tap.open();
    try {
      execFileSync('ip', ['addr', 'add', '198.51.100.1/24', 'dev', NAME]);
      // Frames to an interface that is down are lost.
      tap.transmit(ARP, PLAIN);
      execFileSync('ip', ['link', 'set', NAME, 'up']);
      tap.transmit(ARP, PLAIN);
      await until(() => card.frames.some(isReply));
      card.frames.length = 0;
      card.room = false;
      tap.transmit(ARP, PLAIN);
      await new Promise((r) => setTimeout(r, 200));
      card.room = true;
      tap.room();
      expect(card.frames.some(isReply)).toBe(true);
      const second = new TapLink(NAME, () => {});
      expect(() => second.open()).toThrow(`--net: tap: ${NAME}: it is in use`);
      execFileSync('ip', ['link', 'delete', NAME]);
      await until(() => log.length > 0);
      expect(log[0]).toContain(`${NAME} is gone`);
      tap.transmit(ARP, PLAIN);
    } finally {
      tap.close();
    }
    tap.close();
    const again = new TapLink(NAME, () => {});
    again.open();
    again.close();
  });

  it.skipIf(skipFor(noGuests))('carries Linux to the host and back', async () => {
    const blob = randomBytes(1 << 20);
    const http = createHttp((_q, r) => r.end(blob));
    await using vm = await VirtualMachine.create({ kernel: guests.kernel, initrd: guests.initramfsModules, append: 'console=ttyS0 quiet', net: [`tap,ifname=${NAME}`] });
    try {
      execFileSync('ip', ['addr', 'add', '198.51.100.1/24', 'dev', NAME]);
      execFileSync('ip', ['link', 'set', NAME, 'up']);
      await new Promise<void>((resolve, reject) => http.once('error', reject).listen(0, '198.51.100.1', resolve));
      const c = new Console(vm);
      vm.start();
      await c.until('~ # ');
      await c.run('ifconfig eth0 198.51.100.2 up');
      expect((await c.run('ping -c 2 198.51.100.1')).output).toContain('2 packets received');
      expect((await c.run(`wget -q -O - http://198.51.100.1:${(http.address() as AddressInfo).port}/ | md5sum`)).output).toContain(createHash('md5').update(blob).digest('hex'));
      await c.run('(nc -l -p 23 -e /bin/cat) & sleep 1');
      const s = connect(23, '198.51.100.2');
      s.end('over the bridge');
      const parts: Buffer[] = [];
      for await (const d of s) parts.push(d as Buffer);
      expect(Buffer.concat(parts).toString()).toBe('over the bridge');
    } finally {
      http.close();
    }
  }, 300_000);

  it('refuses a name that is none', () => {
    expect(() => parseNet('tap', 0)).toThrow('tap needs ifname=');
    expect(() => parseNet('tap,ifname=a/b', 0)).toThrow('not the name of an interface');
    expect(() => parseNet('tap,ifnam=a', 0)).toThrow("no property 'ifnam' (did you mean ifname?)");
    expect(() => new TapLink('lo', () => {}).open()).toThrow('--net: tap: lo: ');
  });
});
