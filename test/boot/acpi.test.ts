/** ACPI and SMBIOS tables as kernels and firmware get them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type AcpiBoard, buildAcpi, placeAcpi } from '#lib/boot/acpi.js';
import { smbiosAnchor, smbiosTables } from '#lib/boot/smbios.js';
import { loaderScript, RSDP_FILE, TABLES_FILE } from '#lib/boot/table-loader.js';
import { hostTool, skipFor } from './guests.js';

const common = {
  cpus: 2, ioApicId: 0, ioApicBase: 0xfec0_0000, lapicBase: 0xfee0_0000, sciIrq: 9, smiCommand: 0xb2, resetPort: 0xcf9, resetValue: 6, hpetBase: 0xfed0_0000,
  pciHole64: [2 ** 32, 2 ** 40 - 1] as const, pciGsiBase: 16, centuryRegister: 0x32,
};
const boards: Record<string, AcpiBoard> = {
  pc: {
    ...common, pmBase: 0x600, gpeBase: 0xafe0, gpeLength: 4, acpiEnable: 0xf1, acpiDisable: 0xf0, pciHoles: [[0x8000_0000, 0xfebf_ffff]], pirqs: 4,
    pirqOf: (slot, pin) => (slot + pin - 2) & 3, isaDevice: 1, ecam: null, floppies: [{ type: 4, tracks: 80, heads: 2, sectors: 18 }], serialPorts: [{ index: 1, base: 0x2f8, irq: 3 }], pvpanicPort: 0x505, hotplug: { base: 0xae00, bytes: 16, slots: [3, 4, 31], gpe: 1 }, s3Type: 1,
  },
  q35: {
    ...common, pmBase: 0x600, gpeBase: 0x620, gpeLength: 16, acpiEnable: 2, acpiDisable: 3, pciHoles: [[0x8000_0000, 0xafff_ffff], [0xc000_0000, 0xfebf_ffff]], pirqs: 8,
    pirqOf: (slot, pin) => 4 + ((slot + pin - 1) & 3), isaDevice: 31, ecam: { base: 0xb000_0000, buses: 256 }, floppies: [], serialPorts: [], pvpanicPort: null, hotplug: null, s3Type: null,
  },
};

/** What firmware does with the script: allocates at the given addresses and runs the commands. */
function runLoader(script: Buffer, files: Record<string, Buffer>, places: Record<string, number>): void {
  const name = (at: number): string => script.toString('latin1', at, at + 56).replace(/\0.*$/s, '');
  for (let e = 0; e < script.length; e += 128) {
    const file = files[name(e + 4)]!;
    switch (script.readUInt32LE(e)) {
      case 1:
        expect(places[name(e + 4)]! % script.readUInt32LE(e + 60)).toBe(0);
        break;
      case 2: {
        const at = script.readUInt32LE(e + 116);
        const size = script[e + 120]!;
        const v = Number(size === 4 ? file.readUInt32LE(at) : file.readBigUInt64LE(at)) + places[name(e + 60)]!;
        if (size === 4) file.writeUInt32LE(v, at);
        else file.writeBigUInt64LE(BigInt(v), at);
        break;
      }
      case 3: {
        const at = script.readUInt32LE(e + 60);
        const start = script.readUInt32LE(e + 64);
        // The byte itself must be zero before: some firmware sums it up, too.
        expect(file[at]).toBe(0);
        file[at] = -file.subarray(start, start + script.readUInt32LE(e + 68)).reduce((a, b) => a + b, 0) & 0xff;
        break;
      }
      default:
        expect.fail(`command ${script.readUInt32LE(e)}`);
    }
  }
}

describe.each(Object.keys(boards))('ACPI tables of %s', (name) => {
  const board = boards[name]!;

  it('are the same through the table loader as placed directly', () => {
    const t = buildAcpi(board);
    const base = 0x7f_0000;
    const placed = placeAcpi(t, base);
    const files = { [TABLES_FILE]: Buffer.from(t.tables), [RSDP_FILE]: Buffer.from(t.rsdp) };
    runLoader(loaderScript(t), files, { [TABLES_FILE]: base + 64, [RSDP_FILE]: base });
    expect(files[TABLES_FILE]!.equals(placed.blob.subarray(64))).toBe(true);
    expect(files[RSDP_FILE]!.equals(placed.blob.subarray(0, 36))).toBe(true);
    expect(placed.blob.toString('latin1', placed.facs - base, placed.facs - base + 4)).toBe('FACS');
  });

  it('keep their length when registers move', () => {
    const moved = { ...board, pmBase: 0xb000, gpeBase: board.gpeBase + 0x100, ecam: board.ecam && { base: 0xe000_0000, buses: 256 } };
    expect(buildAcpi(moved).tables.length).toBe(buildAcpi(board).tables.length);
    expect(loaderScript(buildAcpi(moved)).equals(loaderScript(buildAcpi(board)))).toBe(true);
  });

  it.skipIf(skipFor(hostTool('iasl')))('are understood by iasl', () => {
    const dir = mkdtempSync(join(tmpdir(), 'vmx-acpi-'));
    const t = buildAcpi(board);
    const { blob } = placeAcpi(t, 0xf_0000);
    for (const c of t.checksums) {
      const table = blob.subarray(64 + c.start, 64 + c.start + c.length);
      const signature = table.toString('latin1', 0, 4);
      const file = join(dir, `${signature}.aml`);
      writeFileSync(file, table);
      execFileSync('iasl', ['-d', file], { stdio: 'pipe' });
      const text = readFileSync(join(dir, `${signature}.dsl`), 'latin1');
      expect(text).not.toMatch(/error|warning|invalid|unknown|incorrect/i);
      if (signature !== 'DSDT') continue;
      const out = execFileSync('iasl', ['-tc', join(dir, 'DSDT.dsl')], { stdio: 'pipe' }).toString();
      expect(out).toMatch(/0 Errors, 0 Warnings, 0 Remarks/);
    }
    rmSync(dir, { recursive: true, force: true });
  });
});

describe('SMBIOS', () => {
  const machine = { machine: 'pc', version: '1.0', cpus: 2, ram: { low: 0x8000_0000, high: 0x4000_0000 }, uuid: Uint8Array.from({ length: 16 }, (_, i) => i), uefi: true };

  it('has well-formed structures of the types systems look for', () => {
    const t = smbiosTables(machine);
    const seen: number[] = [];
    const lengths: Record<number, number> = { 0: 0x1a, 1: 0x1b, 3: 0x16, 4: 0x30, 16: 0x17, 17: 0x28, 19: 0x1f, 32: 0x0b, 127: 4 };
    let at = 0;
    while (at < t.length) {
      const type = t[at]!;
      seen.push(type);
      expect(t[at + 1]).toBe(lengths[type]);
      if (type === 1) expect([...t.subarray(at + 8, at + 16)]).toEqual([3, 2, 1, 0, 5, 4, 7, 6]);
      if (type === 17) expect(t.readUInt16LE(at + 12)).toBe(3072);
      at += t[at + 1]!;
      while (t[at] !== 0 || t[at + 1] !== 0) at++;
      at += 2;
    }
    expect(at).toBe(t.length);
    expect(seen).toEqual([0, 1, 3, 4, 4, 16, 17, 19, 19, 32, 127]);
  });

  it('has a 64-bit entry point with a checksum', () => {
    const t = smbiosTables(machine);
    const a = smbiosAnchor(t, 0x1234_5000);
    expect(a.toString('latin1', 0, 5)).toBe('_SM3_');
    expect(a.reduce((x, y) => x + y, 0) & 0xff).toBe(0);
    expect(a.readUInt32LE(12)).toBe(t.length);
    expect(a.readBigUInt64LE(16)).toBe(0x1234_5000n);
  });
});
