/**
 * Images that people boot a PC from: a floppy with FreeDOS, memtest86+ and GRUB from CD by BIOS and by UEFI, Debian's installer.
 * Needs SeaBIOS, OVMF and Debian's packages; what is absent is skipped, and said.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findBios, findUefi } from '#lib/boot/firmware.js';
import type { Picture } from '#lib/display/png.js';
import { type MachineOptions, VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { hostTool, noAddon, skipFor } from './guests.js';
import { readPpm } from './ppm.js';

const MINUTES = 60_000;
const MEMTEST = { iso: '/usr/lib/memtest86+/memtest86+x64.iso', bin: '/boot/memtest86+x64.bin', efi: '/boot/memtest86+x64.efi' };
const INSTALLER = '/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64';
/** A boot floppy of 720 KB, from the guests beside the project, or wherever VMX_FREEDOS says. */
const FREEDOS = process.env.VMX_FREEDOS ?? fileURLToPath(new URL('../../../shared/guests/freedos722.img', import.meta.url));
/** The UUID that our firmware tables have, and SeaBIOS prints. */
const UUID = '766d782d-6163-6365-6c80-000000000001';

function without(find: () => unknown, ...files: string[]): string | null {
  if (noAddon !== null) return noAddon;
  const missing = files.find((f) => !existsSync(f));
  if (missing !== undefined) return `${missing} is not there`;
  try {
    find();
    return null;
  } catch (e) {
    return (e as Error).message;
  }
}

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-images-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const cdrom = (file: string): MachineOptions['disks'] => [{ file, media: 'cdrom' }];
const timeout = 10 * MINUTES;

/** Whether most of a picture has one colour, and which. */
function background(p: Picture): string {
  const seen = new Map<string, number>();
  for (let i = 0; i < p.rgba.length; i += 4) {
    const c = `${p.rgba[i]!},${p.rgba[i + 1]!},${p.rgba[i + 2]!}`;
    seen.set(c, (seen.get(c) ?? 0) + 1);
  }
  const [color, n] = [...seen].reduce((a, b) => (b[1] > a[1] ? b : a));
  return n * 2 > p.rgba.length / 4 ? color : '';
}

/** A picture by itself and again after it has changed. */
async function changes(vm: VirtualMachine, until: (p: Picture) => boolean): Promise<void> {
  let first: Picture | null = null;
  for (const end = Date.now() + timeout; Date.now() < end; await sleep(300)) {
    const p = await vm.screen.picture();
    if (!until(p)) continue;
    if (first !== null && !Buffer.from(p.rgba).equals(Buffer.from(first.rgba))) return;
    first ??= p;
  }
  expect.fail('the picture has not changed');
}

describe.skipIf(skipFor(without(findBios, FREEDOS)))('FreeDOS from a floppy', () => {
  const prompt = /^A:\\>$/m;
  let floppy: string;
  beforeAll(() => {
    // A copy: others may have the original in use.
    floppy = join(dir, 'freedos.img');
    writeFileSync(floppy, readFileSync(FREEDOS));
  });
  const boot = (machine: 'pc' | 'q35'): Promise<VirtualMachine> => VirtualMachine.create({ machine, disks: [{ file: floppy, media: 'floppy', snapshot: true }] });

  it('reads, writes and finds its files on q35', async () => {
    await using vm = await boot('q35');
    vm.start();
    await vm.screen.waitForText(prompt, { timeout });
    // A line at a time: the BIOS keeps fifteen keys, and no more while DOS is busy.
    for (const [line, answer] of [['echo some text >new.txt', /new\.txt\s+A:\\>$/], ['type new.txt', /^some text[^]*A:\\>$/m], ['dir new.txt', /1 file\(s\)/]] as const) {
      await vm.keyboard.type(`${line}\n`);
      await vm.screen.waitForText(answer, { timeout });
    }
    const text = await vm.screen.text();
    expect(text).toMatch(/NEW\s+TXT\s+12/);
  }, timeout);

  /** Pictures until `count` different ones have been seen: the cursor blinks. */
  async function phases(next: () => Promise<Picture>, count: number): Promise<Picture[]> {
    const seen: Picture[] = [];
    for (let i = 0; i < 60 && seen.length < count; i++) {
      const p = await next();
      if (!seen.some((s) => Buffer.from(s.rgba).equals(Buffer.from(p.rgba)))) seen.push(p);
      await sleep(70);
    }
    return seen;
  }

  it.skipIf(skipFor(hostTool('qemu-system-x86_64')))('shows the same picture as QEMU, dot by dot', async () => {
    await using vm = await boot('pc');
    vm.start();
    const text = await vm.screen.waitForText(prompt, { timeout });
    const ours = await phases(() => vm.screen.picture(), 2);
    const shot = join(dir, 'qemu.ppm');
    const q = spawn('qemu-system-x86_64', ['-M', 'pc,accel=tcg', '-m', '512', '-uuid', UUID, '-vga', 'std', '-display', 'none', '-monitor', 'stdio', '-nic', 'none', '-boot', 'a', '-drive', `file=${floppy},format=raw,if=floppy,snapshot=on`]);
    q.stdout.resume();
    const dump = async (): Promise<Picture> => {
      rmSync(shot, { force: true });
      q.stdin.write(`screendump ${shot}\n`);
      for (let i = 0; i < 200; i++) {
        await sleep(50);
        try {
          return readPpm(shot);
        } catch {
          // Not written yet, or half.
        }
      }
      throw new Error('QEMU has written no picture');
    };
    try {
      // It is there when it stays the same but for the cursor.
      let theirs: Picture[] = [];
      for (const end = Date.now() + timeout / 2; Date.now() < end; await sleep(500)) {
        theirs = await phases(dump, 2);
        if (theirs.some((t) => ours.some((p) => Buffer.from(p.rgba).equals(Buffer.from(t.rgba))))) break;
      }
      const same = theirs.filter((t) => ours.some((p) => Buffer.from(p.rgba).equals(Buffer.from(t.rgba))));
      expect(text.split('\n').length).toBeGreaterThan(15);
      expect(same.length, 'pictures that are equal').toBeGreaterThan(0);
    } finally {
      q.kill('SIGKILL');
    }
  }, timeout);
});

describe.skipIf(skipFor(without(findBios, ...Object.values(MEMTEST))))('memtest86+', () => {
  const firstPass = /Memtest86\+ v6[^]*Pass\s+\d+%[^]*Test\s+\d+%[^]*Testing: .*\d+[KM]B[^]*Errors: 0/;

  for (const machine of ['pc', 'q35'] as const) {
    it(`from CD by SeaBIOS on ${machine}`, async () => {
      await using vm = await VirtualMachine.create({ machine, memory: '64M', disks: cdrom(MEMTEST.iso) });
      expect(vm.config.firmware?.kind).toBe('bios');
      vm.start();
      await vm.screen.waitForText(firstPass, { timeout });
    }, timeout);
  }

  it('loaded as a kernel, on screen and on serial', async () => {
    await using vm = await VirtualMachine.create({ memory: '64M', kernel: MEMTEST.bin, append: 'console=ttyS0,115200', vga: 'std' });
    const c = new Console(vm);
    vm.start();
    await c.until(/Memtest86\+ v6/);
    await vm.screen.waitForText(firstPass, { timeout });
    await c.until(/Testing/);
  }, timeout);

  describe.skipIf(skipFor(without(findUefi)))('by UEFI', () => {
    const BLUE = '0,0,170';

    for (const machine of ['pc', 'q35'] as const) {
      it(`from CD on ${machine}`, async () => {
        await using vm = await VirtualMachine.create({ machine, memory: '256M', disks: cdrom(MEMTEST.iso), firmware: 'ovmf' });
        const c = new Console(vm);
        vm.start();
        await c.until(/starting Boot\d+ "UEFI VMX DVD-ROM/);
        await changes(vm, (p) => background(p) === BLUE);
      }, timeout);
    }

    it('loaded by the firmware', async () => {
      await using vm = await VirtualMachine.create({ memory: '256M', kernel: MEMTEST.efi, firmware: 'ovmf', vga: 'std' });
      vm.start();
      await changes(vm, (p) => background(p) === BLUE);
    }, timeout);
  });
});

describe.skipIf(skipFor(hostTool('grub-mkrescue', 'xorriso', 'mformat') ?? without(findBios)))('a GRUB rescue CD', () => {
  let iso: string;
  beforeAll(() => {
    const root = join(dir, 'grub');
    mkdirSync(join(root, 'boot/grub'), { recursive: true });
    const config = ['serial --unit=0 --speed=115200', 'terminal_input console serial', 'terminal_output console serial', 'set timeout=-1', "menuentry 'the only entry' { echo grub_platform is $grub_platform; sleep 600 }"];
    writeFileSync(join(root, 'boot/grub/grub.cfg'), `${config.join('\n')}\n`);
    iso = join(dir, 'grub.iso');
    execFileSync('grub-mkrescue', ['-o', iso, root], { stdio: 'ignore' });
  });

  const menu = async (o: MachineOptions, platform: string): Promise<void> => {
    await using vm = await VirtualMachine.create({ memory: '256M', disks: cdrom(iso), ...o });
    const c = new Console(vm);
    vm.start();
    await c.until('the only entry');
    if (platform === 'pc') await vm.screen.waitForText('the only entry', { timeout });
    c.type('\r');
    // By UEFI the serial port is also the firmware's console: every word comes twice.
    await c.until(new RegExp(`grub_platform.* is.*${platform}`));
  };

  for (const machine of ['pc', 'q35'] as const) {
    it(`boots by BIOS on ${machine}`, () => menu({ machine }, 'pc'), timeout);
    it.skipIf(skipFor(existsSync('/usr/lib/grub/x86_64-efi') ? without(findUefi) : 'grub-efi-amd64-bin is not installed'))(`boots by UEFI on ${machine}`, () => menu({ machine, firmware: 'ovmf' }, 'efi'), timeout);
  }
});

describe.skipIf(skipFor(without(() => null, join(INSTALLER, 'linux'), join(INSTALLER, 'initrd.gz'))))('the installer of Debian', () => {
  const files = { kernel: join(INSTALLER, 'linux'), initrd: join(INSTALLER, 'initrd.gz'), memory: '1G' };

  it('asks for the language on the serial console', async () => {
    await using vm = await VirtualMachine.create({ ...files, append: 'console=ttyS0 quiet' });
    const c = new Console(vm);
    vm.start();
    await c.until(/[Cc]hoose (?:the|a)? ?language/);
    await c.until('English');
  }, timeout);

  it('asks for the language on the screen', async () => {
    await using vm = await VirtualMachine.create({ ...files, append: 'nomodeset fb=false quiet', vga: 'std' });
    vm.start();
    expect(await vm.screen.waitForText(/[Ss]elect a language[^]*English/, { timeout })).toMatch(/Deutsch|French|Dutch/);
  }, timeout);
});

describe.skipIf(skipFor(without(findBios)))('what cannot be booted', () => {
  it('says so on the screen, and the machine stays usable', async () => {
    const image = join(dir, 'empty.img');
    writeFileSync(image, Buffer.alloc(8 * 1024 * 1024));
    await using vm = await VirtualMachine.create({ memory: '64M', disks: [{ file: image, if: 'ide', snapshot: true }] });
    vm.start();
    await vm.screen.waitForText(/No bootable device/, { timeout });
    // The keyboard still works: Ctrl-Alt-Del starts the machine again.
    const again = new Promise((resolve) => vm.once('reset', resolve));
    await vm.keyboard.press('ctrl-alt-del');
    await again;
    await vm.screen.waitForText(/No bootable device/, { timeout });
    expect(readFileSync(image).every((b) => b === 0)).toBe(true);
  }, timeout);
});
