/** USB as Linux's own drivers see it: keyboard, mouse, tablet, disk and CD-ROM at one controller. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { canRun } from '../engine/x64/jit.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';
import { inputEvents } from './input-events.js';

const MINUTES = 60_000;
const MIB = 1024 * 1024;
const { kernelGeneric: kernel, initramfsUsb: initrd } = guests;
const missing = noGuests ?? (kernel === undefined || initrd === undefined || !existsSync(kernel) || !existsSync(initrd) ? 'no generic kernel or initramfs with USB drivers: run node scripts/guests.mjs' : null);

describe.skipIf(skipFor(missing ?? (canRun ? null : 'no JIT')))('USB', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-usb-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('keyboard, mouse, tablet, disk and CD-ROM', async () => {
    const [disk, cd] = [join(dir, 'disk.img'), join(dir, 'cd.iso')];
    writeFileSync(disk, Buffer.alloc(16 * MIB));
    writeFileSync(cd, Buffer.alloc(4 * MIB, 'compact disc '));
    await using vm = await VirtualMachine.create({
      kernel: kernel!, initrd: initrd!, append: 'console=ttyS0 quiet', devices: ['usb-kbd', 'usb-mouse', 'usb-tablet'], disks: [{ file: disk, if: 'usb', format: 'raw' }, { file: cd, if: 'usb', media: 'cdrom' }],
    });
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    await c.run('for i in $(seq 100); do [ -b /dev/sda ] && [ -b /dev/sr0 ] && break; sleep 0.1; done');
    expect((await c.run('dmesg | grep -i -E "(usb|xhci).*(error|warn|timeout|not part|reset)"')).output).toBe('');

    // A, with Shift.
    expect(await inputEvents(c, 'USB keyboard', 12, () => vm.keyboard.type('A'))).toEqual(
      [[0xe1, 42, 1], [4, 30, 1], [4, 30, 0], [0xe1, 42, 0]].flatMap(([usage, code, value]) => [[4, 4, 0x7_0000 | usage!], [1, code, value], [0, 0, 0]]),
    );
    expect(await inputEvents(c, 'USB mouse', 3, () => vm.mouse.move(7, -4))).toEqual([[2, 0, 7], [2, 1, -4], [0, 0, 0]]);
    const tablet = await inputEvents(c, 'USB tablet', 2, () => vm.mouse.setAxis('x', 1000));
    expect(tablet).toEqual([[3, 0, 1000], [0, 0, 0]]);

    // Lamps go the other way: the console switches them, through the driver's control transfers.
    expect((await c.run('cat /sys/class/leds/*capslock/brightness; echo 1 > $(ls -d /sys/class/leds/*capslock | head -1)/brightness; cat /sys/class/leds/*capslock/brightness')).output).toMatch(/1/);

    const { output } = await c.run(
      'head -c 1048576 /dev/urandom > /tmp/r; for i in $(seq 12); do cat /tmp/r; done > /dev/sda; sync; echo 3 > /proc/sys/vm/drop_caches; for i in $(seq 12); do cat /tmp/r; done | md5sum; head -c 12582912 /dev/sda | md5sum',
    );
    const [want, got] = output.match(/[0-9a-f]{32}/g)!;
    expect(got).toBe(want);
    expect((await c.run('md5sum < /dev/sr0; cat /sys/block/sr0/size')).output).toContain('8192');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off' });
    expect(readFileSync(disk).subarray(0, MIB)).toEqual(readFileSync(disk).subarray(11 * MIB, 12 * MIB));
  }, 5 * MINUTES);
});
