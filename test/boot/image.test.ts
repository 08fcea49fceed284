/** Images and firmware files are recognised by content. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultVarsFile, findBios, findUefi, firmwareFile } from '#lib/boot/firmware.js';
import { cdFirmware, diskFirmware, imageKind, type ImageReader } from '#lib/boot/image.js';
import { UsageError } from '#lib/errors.js';
import { tinyKernel } from './tiny.js';

const reader = (b: Buffer): ImageReader => ({ size: b.length, read: (o, dst) => void dst.set(b.subarray(o, o + dst.length)) });
const ESP = Buffer.from('28732ac11ff8d211ba4b00a0c93ec93b', 'hex');
const BIOS_BOOT = Buffer.from('4861682149646f6e744e656564454649', 'hex');
const DATA = Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex');

function mbr(types: [active: boolean, type: number][], code = true, size = 4 << 20): Buffer {
  const b = Buffer.alloc(size);
  if (code) b.write('boot code', 0);
  types.forEach(([active, type], i) => {
    b[446 + 16 * i] = active ? 0x80 : 0;
    b[450 + 16 * i] = type;
  });
  b.writeUInt16LE(0xaa55, 510);
  return b;
}

function gpt(partitions: { type: Buffer; attributes?: number }[], code: boolean): Buffer {
  const b = mbr([[false, 0xee]], code);
  b.write('EFI PART', 512);
  b.writeBigUInt64LE(2n, 512 + 72);
  b.writeUInt32LE(128, 512 + 80);
  b.writeUInt32LE(128, 512 + 84);
  partitions.forEach((p, i) => {
    p.type.copy(b, 1024 + 128 * i);
    b[1024 + 128 * i + 48] = p.attributes ?? 0;
  });
  return b;
}

/** El Torito: [platform, bootable] entries, the first in the validation entry. */
function iso(entries: [number, boolean][]): Buffer {
  const b = Buffer.alloc(20 * 2048);
  b.write('\x01CD001', 16 * 2048, 'latin1');
  b.write('\x00CD001\x01EL TORITO SPECIFICATION', 17 * 2048, 'latin1');
  b.writeUInt32LE(18, 17 * 2048 + 0x47);
  const at = 18 * 2048;
  entries.forEach(([platform, bootable], i) => {
    b[at + 64 * i] = i === 0 ? 1 : 0x91;
    b[at + 64 * i + 1] = platform;
    b[at + 64 * i + 32] = bootable ? 0x88 : 0;
  });
  return b;
}

describe('images', () => {
  it('are told apart', () => {
    const bz = Buffer.alloc(0x8000);
    bz.write('HdrS', 0x202);
    bz.writeUInt16LE(0xaa55, 510);
    expect(imageKind(reader(bz))).toBe('kernel');
    expect(imageKind(reader(tinyKernel('x', { kind: 'halt' })))).toBe('kernel');
    expect(imageKind(reader(Buffer.from('\x7fELF and so on', 'latin1')))).toBe('kernel');
    expect(imageKind(reader(Buffer.alloc(1440 * 1024)))).toBe('floppy');
    expect(imageKind(reader(mbr([[true, 0x83]])))).toBe('disk');
    expect(imageKind(reader(iso([[0, true]])))).toBe('cdrom');
    // GRUB on a disk has a multiboot header within the first 8 KiB.
    const grub = mbr([[true, 0x83]]);
    tinyKernel('x', { kind: 'halt' }).copy(grub, 512);
    expect(imageKind(reader(grub))).toBe('disk');
  });

  it('of disks choose their firmware', () => {
    const kind = (b: Buffer): string => diskFirmware(reader(b)).kind;
    expect(kind(mbr([[true, 0x83]]))).toBe('bios');
    expect(kind(mbr([[false, 0xef]], false))).toBe('uefi');
    expect(kind(gpt([{ type: ESP }, { type: DATA }], false))).toBe('uefi');
    // Some installers write boot code although only UEFI can start the system.
    expect(kind(gpt([{ type: ESP }], true))).toBe('uefi');
    expect(kind(gpt([{ type: BIOS_BOOT }, { type: ESP }], true))).toBe('bios');
    expect(kind(gpt([{ type: ESP }, { type: DATA, attributes: 4 }], true))).toBe('bios');
    expect(kind(Buffer.alloc(1 << 20))).toBe('bios');
    // Damaged tables do no harm.
    const bad = gpt([], false);
    bad.writeBigUInt64LE(2n ** 62n, 512 + 72);
    bad.writeUInt32LE(0xffff_ffff, 512 + 80);
    bad.writeUInt32LE(0xffff_ffff, 512 + 84);
    expect(kind(bad)).toBe('uefi');
    expect(kind(Buffer.alloc(10))).toBe('bios');
  });

  it('of CDs choose their firmware', () => {
    const kind = (b: Buffer): string => cdFirmware(reader(b)).kind;
    expect(kind(iso([[0, true], [0xef, true]]))).toBe('bios');
    expect(kind(iso([[0xef, true]]))).toBe('uefi');
    expect(kind(iso([[0, false], [0xef, true]]))).toBe('uefi');
    expect(kind(iso([]))).toBe('bios');
    const bad = iso([[0, true]]);
    bad.writeUInt32LE(0xffff_ffff, 17 * 2048 + 0x47);
    expect(kind(bad)).toBe('bios');
  });
});

describe('firmware files', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-fw-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const volume = (size: number): Buffer => {
    const b = Buffer.alloc(size);
    b.write('_FVH', 40);
    return b;
  };

  it('are found where distributions put them, with advice when they are not', () => {
    const empty = join(dir, 'empty');
    const full = join(dir, 'full');
    mkdirSync(empty);
    mkdirSync(full);
    writeFileSync(join(full, 'bios-256k.bin'), Buffer.alloc(0x4_0000));
    writeFileSync(join(full, 'OVMF_CODE_4M.fd'), volume(0x2_0000));
    expect(() => findUefi([empty, full])).toThrow(UsageError);
    writeFileSync(join(full, 'OVMF_VARS_4M.fd'), volume(0x1_0000));
    expect(findBios([empty, full]).code).toBe(join(full, 'bios-256k.bin'));
    expect(findUefi([empty, full])).toMatchObject({ code: join(full, 'OVMF_CODE_4M.fd'), varsTemplate: join(full, 'OVMF_VARS_4M.fd') });
    expect(() => findBios([empty])).toThrow(/SeaBIOS is not installed; .*--firmware FILE/);
  });

  it('named by the user are recognised', () => {
    const rom = join(dir, 'rom.bin');
    writeFileSync(rom, Buffer.alloc(0x2_0000));
    expect(firmwareFile(rom).kind).toBe('bios');
    writeFileSync(join(dir, 'OVMF_CODE.secboot.fd'), volume(0x2_0000));
    writeFileSync(join(dir, 'OVMF_VARS.fd'), volume(0x1_0000));
    expect(firmwareFile(join(dir, 'OVMF_CODE.secboot.fd'))).toMatchObject({ kind: 'uefi', varsTemplate: join(dir, 'OVMF_VARS.fd') });
    writeFileSync(rom, Buffer.alloc(1000));
    expect(() => firmwareFile(rom)).toThrow(/1000 bytes/);
    expect(() => firmwareFile(join(dir, 'none'))).toThrow(/no such file/);
  });

  it('have variables per machine and disk', () => {
    const fw = { kind: 'uefi' as const, code: '/x/OVMF_CODE_4M.fd', varsTemplate: '/x/V', vars: null };
    const a = defaultVarsFile('pc', fw, '/images/a disk.img');
    expect(a).toMatch(/vmx-accel.firmware-vars.a_disk\.img-[0-9a-f]{16}\.fd$/);
    expect(defaultVarsFile('pc', fw, '/images/a disk.img')).toBe(a);
    expect(defaultVarsFile('q35', fw, '/images/a disk.img')).not.toBe(a);
    expect(defaultVarsFile('pc', fw, '/other/a disk.img')).not.toBe(a);
  });
});
