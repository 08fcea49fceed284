/** --disk, --cdrom and --floppy: what their text means, and what is chosen where it says nothing. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openImage } from '#lib/block/open.js';
import { type MachineOptions, parseDisk, resolveConfig } from '#lib/index.js';
import { noAddon, skipFor } from './guests.js';

/** An MBR with one partition of this type. */
function mbr(type: number): Buffer {
  const b = Buffer.alloc(1 << 20);
  b[450] = type;
  b.writeUInt16LE(0xaa55, 510);
  return b;
}

/** Locks are the addon's. */
describe.skipIf(skipFor(noAddon))('drives', () => {
  let dir: string;
  const at = (name: string): string => join(dir, name);
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-drives-'));
    writeFileSync(at('linux'), mbr(0x83));
    writeFileSync(at('windows'), mbr(7));
    writeFileSync(at('a,b'), mbr(0x83));
    writeFileSync(at('cd'), Buffer.alloc(1 << 16));
    writeFileSync(at('floppy'), Buffer.alloc(1440 * 1024));
    const gpt = mbr(0xee);
    gpt.write('EFI PART', 512);
    gpt.writeBigUInt64LE(2n, 512 + 72);
    gpt.writeUInt32LE(128, 512 + 80);
    gpt.writeUInt32LE(128, 512 + 84);
    Buffer.from('16e3c9e35c0bb84d817df92df00215ae', 'hex').copy(gpt, 1024);
    writeFileSync(at('windows-gpt'), gpt);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const drives = (o: MachineOptions): [string, string][] => resolveConfig({ firmware: 'seabios', memory: '16M', ...o }).disks.map((d) => [d.if, d.media]);

  it('are described in text', () => {
    expect(parseDisk('f,if=nvme,format=qcow2,readonly,snapshot=off,serial=S 1')).toEqual({ file: 'f', if: 'nvme', format: 'qcow2', readonly: true, snapshot: false, serial: 'S 1' });
    expect(parseDisk('a,,b,readonly=off')).toEqual({ file: 'a,b', readonly: false });
    expect(parseDisk('a,,,readonly')).toEqual({ file: 'a,', readonly: true });
    expect(() => parseDisk('f,if=')).toThrow('--disk: if needs a value');
    expect(() => parseDisk('f,serial', '--cdrom')).toThrow('--cdrom: serial needs a value');
  });

  it('go where their systems have drivers', () => {
    for (const machine of ['pc', 'q35'] as const) {
      const own = machine === 'pc' ? 'ide' : 'ahci';
      expect(drives({ machine, disks: [at('linux'), at('windows'), at('windows-gpt')] })).toEqual([['virtio', 'disk'], [own, 'disk'], [own, 'disk']]);
      expect(drives({ machine, disks: [`${at('a,b').replace(',', ',,')},if=scsi`], cdroms: [at('cd')], floppies: [at('floppy')] })).toEqual([['scsi', 'disk'], [own, 'cdrom'], ['floppy', 'floppy']]);
    }
  });

  it.each([
    ['a controller there is not', { disks: ['linux,if=mfm'] }, /^--disk: if=mfm is not available on machine pc \(virtio, scsi, nvme/],
    ['a disk in a floppy drive', { disks: ['linux,if=floppy'] }, /^--disk: if=floppy is not available/],
    ['a CD-ROM at a controller for disks', { cdroms: ['cd,if=nvme'] }, /^--cdrom: if=nvme is not available/],
    ['three floppies', { floppies: ['floppy', 'floppy', 'floppy'] }, /^--floppy: .*floppy: no more than 2 drives with if=floppy/],
    ['a serial number that is too long', { disks: ['linux,serial=012345678901234567890'] }, /^--disk: serial=.* is not 1 to 20 printable ASCII characters/],
    ['an image that is none of its format', { disks: ['linux,format=qcow2'] }, /^--disk: .*linux: is not a qcow2 image/],
  ] as [string, Pick<MachineOptions, 'disks' | 'cdroms' | 'floppies'>, RegExp][])('refuse %s', (_what, o, says) => {
    const full = (l: MachineOptions['disks']): string[] | undefined => l?.map((x) => at(x as string));
    expect(() => resolveConfig({ machine: 'pc', firmware: 'seabios', memory: '16M', disks: full(o.disks), cdroms: full(o.cdroms), floppies: full(o.floppies) })).toThrow(says);
  });

  it('do not become another format by what the guest writes', () => {
    const header = Buffer.alloc(512);
    header.write('QFI\xfb', 'latin1');
    const options = { file: at('linux'), readonly: false, snapshot: false, option: '--disk' } as const;
    const guessed = openImage({ ...options, format: 'auto' });
    expect(() => guessed.write(0, header)).toThrow(/refused to write the header of another image format/);
    guessed.write(512, header);
    guessed.close();
    const told = openImage({ ...options, format: 'raw' });
    told.write(0, header);
    told.close();
  });
});
