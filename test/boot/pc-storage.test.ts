/** The classic PC's disks as Linux drives them: PIIX IDE, AHCI, ATAPI CD-ROM, floppy. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, hostTool, noGuests, skipFor } from './guests.js';

const MINUTES = 60_000;
const md5 = (b: Buffer): string => createHash('md5').update(b).digest('hex');
const kernel = guests.kernelGeneric ?? '';
const initrd = guests.initramfsStorage ?? '';
const missing = noGuests ?? (existsSync(kernel) && existsSync(initrd) ? hostTool('xorriso') : 'no kernel with all drivers: run node scripts/guests.mjs');

describe.skipIf(skipFor(missing))('Linux finds', () => {
  let dir: string;
  let iso: string;
  let floppy: string;
  const payload = randomBytes(300_000);
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-pc-'));
    const files = join(dir, 'files');
    mkdirSync(files);
    writeFileSync(join(files, 'payload.bin'), payload);
    iso = join(dir, 'cd.iso');
    execFileSync('xorriso', ['-as', 'mkisofs', '-quiet', '-o', iso, files], { stdio: 'ignore' });
    floppy = join(dir, 'floppy.img');
    writeFileSync(floppy, randomBytes(1440 * 1024));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  for (const [machine, bus, driver] of [['pc', 'ide', 'ata_piix'], ['q35', 'ahci', 'ahci']] as const) {
    it(`${driver} disk, CD-ROM and floppy on ${machine}`, async () => {
      const disk = join(dir, `${machine}.img`);
      writeFileSync(disk, randomBytes(16 * 1024 * 1024));
      await using vm = await VirtualMachine.create({
        machine, kernel, initrd, append: 'console=ttyS0 quiet',
        disks: [{ file: disk, if: bus }], cdroms: [iso], floppies: [`${floppy},snapshot`],
      });
      const c = new Console(vm);
      vm.start();
      await c.until('~ # ');
      const sum = async (what: string): Promise<string> => (await c.run(`md5sum < ${what}`)).output.slice(0, 32);
      expect(await sum('/dev/sda')).toBe(md5(readFileSync(disk)));
      expect((await c.run('mount -t iso9660 /dev/sr0 /mnt')).status).toBe(0);
      expect(await sum('/mnt/payload.bin')).toBe(md5(payload));
      expect(await sum('/dev/fd0')).toBe(md5(readFileSync(floppy)));

      // Written, flushed, and read back past the page cache.
      expect((await c.run('dd if=/dev/urandom of=/dev/sda bs=64k count=128 conv=fsync && dd if=/dev/urandom of=/dev/fd0 bs=18k count=4 conv=fsync')).status).toBe(0);
      const [disk1, floppy1] = [await sum('/dev/sda'), await sum('/dev/fd0')];
      await c.run('echo 3 > /proc/sys/vm/drop_caches');
      expect([await sum('/dev/sda'), await sum('/dev/fd0')]).toEqual([disk1, floppy1]);
      expect(md5(readFileSync(disk))).toBe(disk1);

      expect((await c.run(`grep -cE '${driver}|floppy' /proc/interrupts`)).output).not.toBe('0');
      // Nothing timed out, was reset, or got lost.
      expect((await c.run("dmesg | grep -iE 'exception|failed command|lost interrupt|hard reset|soft reset|floppy.*(error|timeout)|I/O error'")).output).toBe('');
    }, 10 * MINUTES);
  }
});
