/** What a machine on a desk has besides, as Linux's own drivers see it: one guest with all of these devices. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { inputEvents } from './input-events.js';
import { guests, hostTool, noGuests, skipFor } from './guests.js';

const MINUTES = 60_000;
/** `VMX_TEST_LONG=1`: as many files as a project has; minutes on a busy host. */
const FILES = process.env.VMX_TEST_LONG === undefined ? 1000 : 10_000;
const P9 = 'trans=virtio,version=9p2000.L,msize=131072';
const contents = (i: number): string => `contents of ${i} ${'.'.repeat(i % 50)}\n`;
const { kernelGeneric: kernel, initramfsDesk: initrd } = guests;
const missing = noGuests ?? (kernel === undefined || initrd === undefined || !existsSync(kernel) || !existsSync(initrd) ? 'no generic kernel or initramfs for it: run node scripts/guests.mjs' : null);

describe.skipIf(skipFor(missing))("Linux's drivers", () => {
  let vm: VirtualMachine;
  let c: Console;
  let dir: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-desk-'));
    for (const d of ['rw/many', 'ro']) mkdirSync(join(dir, d), { recursive: true });
    for (let i = 0; i < FILES; i++) writeFileSync(join(dir, 'rw/many', `file-${i}`), contents(i));
    writeFileSync(join(dir, 'ro/file'), 'read only');
    writeFileSync(join(dir, 'secret'), 'secret');
    symlinkSync('../secret', join(dir, 'rw/leak'));
    vm = await VirtualMachine.create({
      kernel: kernel!,
      initrd: initrd!,
      append: 'console=ttyS0 quiet',
      shares: [`${join(dir, 'rw')},tag=rw`, `${join(dir, 'ro')},tag=ro,readonly`],
      devices: ['vmmouse', 'virtio-keyboard', 'virtio-mouse', 'virtio-tablet', 'virtio-gpu', 'virtio-vsock,cid=42', 'virtio-balloon', 'virtio-serial,ports=org.example.a:org.example.b', 'isa-serial', 'pvpanic', 'pvpanic,bus=pci', 'i6300esb,action=none'],
    });
    c = new Console(vm);
    vm.start();
    await c.until('~ # ');
  }, 5 * MINUTES);
  afterAll(async () => {
    await vm?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const events = (name: string, count: number, act: () => Promise<void>): Promise<number[][]> => inputEvents(c, name, count, act);

  it('virtio-input: keyboard, mouse and tablet get what programs send', async () => {
    expect(await events('virtio keyboard', 8, () => vm.keyboard.type('A'))).toEqual([[1, 42, 1], [0, 0, 0], [1, 30, 1], [0, 0, 0], [1, 30, 0], [0, 0, 0], [1, 42, 0], [0, 0, 0]]);
    expect(await events('virtio mouse', 3, () => vm.mouse.move(7, -4))).toEqual([[2, 0, 7], [2, 1, -4], [0, 0, 0]]);
    const tablet = await events('virtio tablet', 5, async () => {
      await vm.mouse.setAxis('x', 1000);
      await vm.mouse.setAxis('y', 20000);
      await vm.mouse.down();
    });
    expect(tablet).toEqual([[3, 0, 1000], [0, 0, 0], [3, 1, 20000], [0, 0, 0], [1, 0x110, 1]]);
    await vm.mouse.up();
  }, 2 * MINUTES);

  it('vmmouse: positions for a guest that has no other tablet', async () => {
    const tablet = (await c.run("basename $(readlink -f $(dirname $(grep -l 'virtio tablet' /sys/class/input/event*/device/name))/device)")).output;
    expect(tablet).toMatch(/^virtio\d+$/);
    await c.run(`echo ${tablet} > /sys/bus/virtio/drivers/virtio_input/unbind`);
    expect(await events('VMware VMMouse', 3, () => vm.mouse.setAxis('x', 3000))).toEqual([[3, 0, 6000], [3, 1, 40001], [0, 0, 0]]);
    await c.run(`echo ${tablet} > /sys/bus/virtio/drivers/virtio_input/bind`);
  }, 2 * MINUTES);

  it('virtio-balloon: the guest gives memory up, the host has it back, and the guest gets it again', async () => {
    const megabyte = 1024 * 1024;
    // Most of the guest's memory is in use. What is free again is reported and given back, too.
    await c.run('mount -t tmpfs -o size=400m tmpfs /mnt; dd if=/dev/zero of=/mnt/fill bs=1M count=300 2>/dev/null');
    const before = (await vm.stats())!.memory.rss;
    await c.run('rm /mnt/fill');
    await vm.balloon.setMemory(vm.config.memory - 256 * megabyte);
    const size = async (bytes: number): Promise<void> => {
      for (let i = 0; i < 100 && (await vm.balloon.info()).actual !== bytes; i++) await new Promise((r) => setTimeout(r, 100));
      expect((await vm.balloon.info()).actual).toBe(bytes);
    };
    await size(256 * megabyte);
    const { stats } = await vm.balloon.info();
    // A driver that takes pages back when memory runs out (DEFLATE_ON_OOM) goes on counting them as the system's.
    expect(stats.freeMemory).toBeGreaterThan(10 * megabyte);
    expect(stats.freeMemory).toBeLessThan(vm.config.memory - 256 * megabyte);
    expect(before - (await vm.stats())!.memory.rss).toBeGreaterThan(150 * megabyte);
    await vm.balloon.setMemory(vm.config.memory);
    await size(0);
    expect((await c.run('dd if=/dev/zero of=/mnt/fill bs=1M count=300 2>/dev/null && md5sum < /mnt/fill; rm /mnt/fill')).output).toContain(createHash('md5').update(Buffer.alloc(300 * megabyte)).digest('hex'));
  }, 2 * MINUTES);

  it("virtio-gpu: the picture is the console's, and what changes is sent alone", async () => {
    expect((await c.run('cat /sys/class/drm/card0/device/driver/module/drivers/*/module/refcnt 2>/dev/null; cat /proc/fb; cat /sys/class/drm/card0-Virtual-1/edid | head -c 8 | od -An -tx1')).output).toContain('00 ff ff ff ff ff ff 00');
    // Red all over, without a cursor.
    await c.run("printf '\\033[?25l\\033[41m\\033[2J' > /dev/tty1");
    const red = 0xff00_00aa;
    const words = async (): Promise<Uint32Array> => {
      const p = await vm.screen.picture();
      expect([p.width, p.height]).toEqual([1024, 768]);
      return new Uint32Array(p.rgba.buffer, p.rgba.byteOffset, p.width * p.height);
    };
    for (let i = 0; i < 50 && !(await words()).every((w) => w === red); i++) await new Promise((r) => setTimeout(r, 100));
    expect((await words()).every((w) => w === red)).toBe(true);
    const areas: { x: number; y: number; width: number; height: number }[] = [];
    let first: () => void;
    const begun = new Promise<void>((r) => (first = r));
    const changed = new Promise<void>((r) => {
      const stop = vm.screen.watch({ resized: () => first(), changed: (_, a) => (areas.push(a), stop(), r()) });
    });
    await begun;
    await c.run("printf '\\033[10;20HX' > /dev/tty1");
    await changed;
    // One character of 8 by 16 dots, in row 10, column 20.
    for (const a of areas) expect([a.x >= 152, a.y >= 144, a.x + a.width <= 160, a.y + a.height <= 160]).toEqual([true, true, true, true]);
  }, 2 * MINUTES);

  it(`virtio-9p: lists, reads and writes ${FILES} files of the host, and nothing beside them`, async () => {
    expect((await c.run(`mkdir -p /rw /ro; mount -t 9p -o ${P9} rw /rw && mount -t 9p -o ${P9} ro /ro`)).status).toBe(0);
    const { output } = await c.run("ls /rw/many | wc -l; find /rw/many -type f | sort | xargs cat | md5sum; cp -r /rw/many /rw/copy && mv /rw/copy /rw/moved; echo appended >> /rw/moved/file-7; rm /rw/moved/file-8; sync");
    const names = Array.from({ length: FILES }, (_, i) => `file-${i}`).sort();
    const sum = createHash('md5');
    for (const n of names) sum.update(contents(Number(n.slice(5))));
    expect(output.split('\n').map((l) => l.slice(0, 32))).toEqual([String(FILES), sum.digest('hex')]);
    const moved = join(dir, 'rw/moved');
    expect(readdirSync(moved).sort()).toEqual(names.filter((n) => n !== 'file-8'));
    for (let i = 0; i < FILES; i++) if (i !== 8) expect(readFileSync(join(moved, `file-${i}`), 'utf8')).toBe(contents(i) + (i === 7 ? 'appended\n' : ''));
    expect((await c.run('cat /ro/file; echo x > /ro/file; echo x > /ro/new; rm /ro/file')).output).toMatch(/^read only(.*Read-only file system[^]*){3}$/);
    // Links lead to what the guest has there.
    expect((await c.run('cat /rw/leak; ln -s / /rw/top; ls /rw/top/rw/many/file-1; cat /rw/../secret')).output).toMatch(/leak'?: No such file[^]*file-1\n[^]*secret'?: No such file/);
    expect(readFileSync(join(dir, 'secret'), 'utf8')).toBe('secret');
  }, 8 * MINUTES);

  it.skipIf(skipFor(hostTool('gcc')))('virtio-vsock: connections both ways, each byte where it belongs', async () => {
    execFileSync('gcc', ['-O1', '-static', '-o', join(dir, 'rw/vsock'), fileURLToPath(new URL('vsock.c', import.meta.url))]);
    await c.run(`mkdir -p /rw; grep -q ' /rw ' /proc/mounts || mount -t 9p -o ${P9} rw /rw; cp /rw/vsock /tmp/vsock`);
    // The guest connects: what it sends comes back.
    const stop = await vm.vsock.listen(1234, (s) => void s.pipe(s));
    const { output } = await c.run('dd if=/dev/urandom of=/tmp/blob bs=1000 count=1500 2>/dev/null; md5sum < /tmp/blob; /tmp/vsock connect 1234 < /tmp/blob > /tmp/back; md5sum < /tmp/back');
    const [sent, back] = output.split('\n');
    if (back !== sent) console.log('MISMATCH', sent, back, (await c.run('md5sum /tmp/blob /tmp/back; md5sum /tmp/blob /tmp/back; ls -l /tmp/blob /tmp/back; cmp -l /tmp/blob /tmp/back | wc -l; cmp -l /tmp/blob /tmp/back | head -5; cmp -l /tmp/blob /tmp/back | tail -3')).output);
    expect(back).toBe(sent);
    await stop();
    expect((await c.run('/tmp/vsock connect 1234 < /dev/null')).output).toMatch(/connect: (Connection reset|Connection refused)/);
    // The host connects.
    await expect(vm.vsock.connect(77)).rejects.toMatchObject({ code: 'ERR_REFUSED' });
    c.type('/tmp/vsock listen 77 &\n');
    await c.until(/listening\r?\n/);
    const s = await vm.vsock.connect(77);
    const data = randomBytes(1_500_000);
    const got: Buffer[] = [];
    s.end(data);
    for await (const b of s) got.push(b as Buffer);
    expect(Buffer.concat(got).equals(data)).toBe(true);
    await c.run('wait');
    await expect(vm.vsock.listen(-1, () => {})).rejects.toThrow('not a port');
  }, 2 * MINUTES);

  it('shell: commands over the serial console', async () => {
    const shell = vm.shell();
    expect(await Promise.all([shell.exec('echo one; echo two'), shell.exec('false'), shell.exec('exit_status() { return 7; }; exit_status')])).toEqual([{ output: 'one\ntwo', status: 0 }, { output: '', status: 1 }, { output: '', status: 7 }]);
    await expect(shell.exec('sleep 5', { timeout: 200 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    expect((await shell.exec('echo after')).output).toBe('after');
  }, 2 * MINUTES);

  it('virtio-serial: ports carry bytes both ways', async () => {
    const port = vm.port('org.example.b');
    const dev = (await c.run('grep -l org.example.b /sys/class/virtio-ports/*/name')).output.replace(/.*(vport\w+).*/s, '$1');
    port.write('from the host\n');
    expect((await c.run(`head -n 1 /dev/${dev}`)).output).toBe('from the host');
    const sum = createHash('md5');
    let got = 0;
    const done = new Promise<void>((resolve) => port.on('data', (b: Buffer) => (sum.update(b), (got += b.length) >= 2_000_000 && resolve())));
    const { output } = await c.run(`dd if=/dev/urandom of=/tmp/blob bs=1000 count=2000 2>/dev/null; md5sum < /tmp/blob; cat /tmp/blob > /dev/${dev}`);
    await done;
    expect(output.slice(0, 32)).toBe(sum.digest('hex'));
    expect(() => vm.port('org.example.c')).toThrow("no port 'org.example.c' (did you mean org.example.");
  }, 2 * MINUTES);

  it('isa-serial: the second serial port', async () => {
    const port = vm.port('serial1');
    const line = new Promise<string>((resolve) => port.once('data', (b: Buffer) => resolve(b.toString())));
    expect((await c.run('cat /proc/tty/driver/serial | grep 1:')).output).toContain('uart:16550A port:000002F8 irq:3');
    await c.run('stty -F /dev/ttyS1 raw -echo; (head -n 1 /dev/ttyS1 > /tmp/line) & sleep 1; printf hello > /dev/ttyS1');
    port.write('typed\n');
    expect(await line).toMatch(/^h/);
    expect((await c.run('wait; cat /tmp/line')).output).toBe('typed');
  }, 2 * MINUTES);

  it('i6300esb: bites when nobody feeds it', async () => {
    const bite = new Promise<string>((resolve) => vm.once('watchdog', resolve));
    expect((await c.run('cat /sys/class/watchdog/watchdog0/identity')).output).toContain('i6300ESB');
    await c.run('watchdog -F -T 2 -t 1 /dev/watchdog & sleep 3; kill -9 $!');
    expect(await bite).toBe('none');
  }, 2 * MINUTES);

  it('pvpanic: tells of a crash', async () => {
    const crash = new Promise<string>((resolve) => vm.once('guestPanic', resolve));
    expect((await c.run('cat /proc/ioports | grep -c 0505; cat /sys/bus/pci/drivers/pvpanic-pci/*/vendor')).output).toBe('1\n0x1b36');
    c.type('echo c > /proc/sysrq-trigger\n');
    expect(await crash).toBe('panicked');
  }, 2 * MINUTES);
});
