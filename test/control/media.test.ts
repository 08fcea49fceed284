/** Discs and floppies that change while the machine runs: by QMP, by the monitor, by the library, and as Linux sees it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseEndpoint, QmpServer, VirtualMachine } from '#lib/index.js';
import { Console } from '../boot/console.js';
import { guests, hostTool, noAddon, noGuests, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { QmpClient } from './qmp-client.js';

const MINUTES = 60_000;
let dir: string;
const at = (name: string): string => join(dir, name);
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-media-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.skipIf(skipFor(noAddon))('drives of a running machine', () => {
  it('are told of, opened, emptied and filled by QMP', async () => {
    writeFileSync(at('kernel'), tinyKernel('up', { kind: 'spin' }));
    for (const [name, bytes] of [['one.iso', 20480], ['two.iso', 40960], ['a.img', 1440 * 1024], ['b.img', 720 * 1024], ['c.img', 5000 * 512], ['d.img', 5000 * 512]] as const) writeFileSync(at(name), Buffer.alloc(bytes));
    await using vm = await VirtualMachine.create({ kernel: at('kernel'), memory: '16M', cdroms: [at('one.iso'), 'none'], floppies: [at('a.img')], disks: [at('c.img')] });
    await QmpServer.listen(vm, parseEndpoint(`unix:${at('qmp')}`, '--qmp'), '1.2.3');
    const c = await QmpClient.open(at('qmp'));
    await c.negotiate();
    const block = async (device: string): Promise<Record<string, unknown>> => ((await c.call('query-block')) as { return: { device: string }[] }).return.find((d) => d.device === device)!;
    expect(await block('cdrom0')).toMatchObject({ removable: true, locked: false, tray_open: false, inserted: { file: at('one.iso'), ro: true } });
    expect(await block('cdrom1')).toMatchObject({ removable: true });
    expect(await block('cdrom1')).not.toHaveProperty('inserted');
    expect(await block('disk0')).toMatchObject({ removable: false, inserted: { ro: false } });

    // Another disc: the tray opens and closes.
    expect(await c.call('blockdev-change-medium', { id: 'cdrom0', filename: at('two.iso') })).toMatchObject({ event: 'DEVICE_TRAY_MOVED', data: { device: 'cdrom0', 'tray-open': true } });
    expect(await c.next()).toMatchObject({ event: 'DEVICE_TRAY_MOVED', data: { 'tray-open': false } });
    expect(await c.next()).toMatchObject({ return: {} });
    expect(await block('cdrom0')).toMatchObject({ inserted: { file: at('two.iso'), image: { 'virtual-size': 40960 } } });

    expect(await c.call('blockdev-remove-medium', { id: 'cdrom0' })).toMatchObject({ error: { class: 'GenericError', desc: "Tray of device 'cdrom0' is not open" } });
    expect(await c.call('blockdev-open-tray', { id: 'cdrom0' })).toMatchObject({ event: 'DEVICE_TRAY_MOVED' });
    expect(await c.next()).toMatchObject({ return: {} });
    expect(await block('cdrom0')).toMatchObject({ tray_open: true, inserted: { file: at('two.iso') } });
    expect(await c.call('blockdev-remove-medium', { id: 'cdrom0' })).toMatchObject({ return: {} });
    expect(await block('cdrom0')).not.toHaveProperty('inserted');
    expect(await c.call('blockdev-close-tray', { id: 'cdrom0' })).toMatchObject({ event: 'DEVICE_TRAY_MOVED', data: { 'tray-open': false } });
    expect(await c.next()).toMatchObject({ return: {} });

    // A floppy drive has no tray.
    expect(await c.call('eject', { device: 'floppy0' })).toMatchObject({ return: {} });
    expect(await block('floppy0')).not.toHaveProperty('inserted');
    expect(await c.call('blockdev-change-medium', { device: 'floppy0', filename: at('b.img'), 'read-only-mode': 'read-only' })).toMatchObject({ return: {} });
    expect(await block('floppy0')).toMatchObject({ inserted: { file: at('b.img'), ro: true } });

    for (const [command, args, desc] of [
      ['eject', { device: 'disk0' }, 'cannot be taken out'],
      ['eject', { device: 'cdrom9' }, "there is no drive 'cdrom9' (did you mean cdrom0?)"],
      ['eject', {}, "Need exactly one of 'device' and 'id'"],
      ['blockdev-change-medium', { id: 'floppy0', filename: at('d.img') }, 'no size of a floppy disk'],
      ['blockdev-change-medium', { id: 'cdrom0', filename: at('missing') }, 'missing'],
      ['blockdev-change-medium', { id: 'cdrom0', filename: at('one.iso'), format: 'nonsense' }, 'does not accept'],
    ] as const) {
      expect(await c.call(command, args)).toMatchObject({ error: { desc: expect.stringContaining(desc) as string } });
    }
    // What could not be put in has not taken out what was there.
    expect(await block('floppy0')).toMatchObject({ inserted: { file: at('b.img') } });

    const ask = async (line: string): Promise<unknown> => {
      c.send('human-monitor-command', { 'command-line': line });
      for (;;) {
        const m = await c.next();
        if (m === null || 'return' in m) return m?.return;
      }
    };
    expect(await ask(`change cdrom1 ${at('one.iso')}`)).toBe('');
    expect(await ask('info block')).toContain(`cdrom1: ${at('one.iso')} (auto, read-only)\n`);
    expect(await ask('eject cdrom1')).toBe('');
    expect(await ask('info block')).toContain('cdrom1: empty, tray open\n');
    expect(await ask('eject')).toMatch(/^eject: from which drive/);
    // The same file comes back, although it is locked while it is in.
    await vm.disks.change('floppy0', at('b.img'), { readonly: false });
    expect(await vm.disks.list()).toContainEqual(expect.objectContaining({ id: 'floppy0', file: at('b.img'), readonly: false, size: 720 * 1024 }));
    c.socket.destroy();
  });
});

const kernel = guests.kernelGeneric ?? '';
const initrd = guests.initramfsStorage ?? '';
const missing = noGuests ?? (existsSync(kernel) && existsSync(initrd) ? hostTool('xorriso') : 'no kernel with all drivers: run node scripts/guests.mjs');

describe.skipIf(skipFor(missing))('Linux', () => {
  for (const [machine, bus] of [['pc', 'ide'], ['q35', 'ahci'], ['q35', 'scsi']] as const) {
    it(`notices another disc and floppy: ${bus} on ${machine}`, async () => {
      for (const name of ['first', 'second']) {
        mkdirSync(at(name), { recursive: true });
        writeFileSync(at(`${name}/name`), `${name} disc\n${'x'.repeat(name === 'first' ? 10 : 3_000_000)}`);
        execFileSync('xorriso', ['-as', 'mkisofs', '-quiet', '-o', at(`${name}.iso`), at(name)], { stdio: 'ignore' });
      }
      for (const n of [1, 2]) writeFileSync(at(`floppy${n}.img`), Buffer.alloc(1440 * 1024, n));
      await using vm = await VirtualMachine.create({
        machine, kernel, initrd, append: 'console=ttyS0 quiet',
        cdroms: [{ file: at('first.iso'), if: bus }], floppies: bus === 'ide' ? [`${at('floppy1.img')},snapshot`] : [],
      });
      const trays: boolean[] = [];
      vm.on('trayMoved', ({ open }) => trays.push(open));
      const c = new Console(vm);
      vm.start();
      await c.until('~ # ');
      const name = async (): Promise<string> => (await c.run('mount -t iso9660 -o ro /dev/sr0 /mnt && head -n 1 /mnt/name; umount /mnt')).output;
      expect(await name()).toBe('first disc');
      await vm.disks.change('cdrom0', at('second.iso'));
      expect(trays.splice(0)).toEqual([true, false]);
      expect(await name()).toBe('second disc');
      expect((await c.run('cat /sys/block/sr0/size')).output).not.toBe('0');

      // A mounted disc: the guest holds the tray; by force it comes out.
      expect((await c.run('mount -t iso9660 -o ro /dev/sr0 /mnt')).status).toBe(0);
      expect(await vm.disks.list()).toContainEqual(expect.objectContaining({ id: 'cdrom0', locked: true }));
      await expect(vm.disks.eject('cdrom0')).rejects.toMatchObject({ code: 'ERR_LOCKED' });
      expect((await c.run('umount /mnt')).status).toBe(0);
      await vm.disks.eject('cdrom0');
      expect(trays.splice(0)).toEqual([true]);
      expect((await c.run('dd if=/dev/sr0 of=/dev/null bs=2048 count=1')).status).not.toBe(0);
      await vm.disks.change('cdrom0', at('first.iso'));
      expect(await name()).toBe('first disc');

      // The guest opens the tray (here: its kernel, when the device is closed). Whoever opens the device closes the tray again, if
      // the guest's kernel is told to, which is its default: a read after an `eject` succeeds. (The first open finds that the disc
      // may be another one, and only the next one reads.)
      trays.length = 0;
      await c.run('cd /proc/sys/dev/cdrom; echo 0 > autoclose; echo 1 > autoeject; head -c 2048 /dev/sr0 > /dev/null; echo 0 > autoeject; cd');
      expect(trays.splice(0)).toEqual([true]);
      expect((await c.run('dd if=/dev/sr0 of=/dev/null bs=2048 count=1')).status).not.toBe(0);
      expect(await vm.disks.list()).toContainEqual(expect.objectContaining({ id: 'cdrom0', open: true, file: at('first.iso') }));
      await c.run('echo 1 > /proc/sys/dev/cdrom/autoclose');
      expect((await c.run('head -c 2048 /dev/sr0 > /dev/null; head -c 2048 /dev/sr0 > /dev/null')).status).toBe(0);
      expect(trays.splice(0)).toEqual([false]);

      if (bus === 'ide') {
        const sum = async (): Promise<string> => (await c.run('md5sum < /dev/fd0')).output.slice(0, 8);
        const before = await sum();
        await vm.disks.change('floppy0', at('floppy2.img'));
        expect(await sum()).not.toBe(before);
        await vm.disks.eject('floppy0');
        expect((await c.run('dd if=/dev/fd0 of=/dev/null bs=512 count=1')).status).not.toBe(0);
      }
      vm.serial.write('poweroff -f\n');
      await vm.wait();
    }, 10 * MINUTES);
  }
});
