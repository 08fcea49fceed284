/** ACPI tables: found from the RSDP, summed right, and taken apart by iasl without complaint. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type AcpiBoard, buildAcpi, placeAcpi } from '#lib/boot/acpi.js';
import { hostTool } from '../boot/guests.js';

const BASE = 0xf_0000;
const common = {
  cpus: 4, ioApicId: 0, ioApicBase: 0xfec0_0000, lapicBase: 0xfee0_0000, sciIrq: 9, smiCommand: 0xb2, resetPort: 0xcf9, resetValue: 6, hpetBase: 0xfed0_0000,
  pciHole64: [2 ** 32, 2 ** 39 - 1], pciGsiBase: 16, centuryRegister: 0x32,
} as const;
const BOARDS: Record<string, AcpiBoard> = {
  pc: {
    ...common, pmBase: 0x600, gpeBase: 0xafe0, gpeLength: 4, acpiEnable: 0xf1, acpiDisable: 0xf0, pciHoles: [[0xc000_0000, 0xfebf_ffff]], pirqs: 4,
    pirqOf: (device, pin) => (device + pin - 1) & 3, isaDevice: 1, ecam: null, floppies: [{ type: 4, tracks: 80, heads: 2, sectors: 18 }], serialPorts: [{ index: 1, base: 0x2f8, irq: 3 }], pvpanicPort: 0x505, hotplug: { base: 0xae00, bytes: 16, slots: [3, 4, 31], gpe: 1 }, s3Type: 1,
  },
  q35: {
    ...common, pmBase: 0x600, gpeBase: 0x620, gpeLength: 16, acpiEnable: 2, acpiDisable: 3, pciHoles: [[0xc000_0000, 0xdfff_ffff], [0xf000_0000, 0xfebf_ffff]],
    pirqs: 8, pirqOf: (device, pin) => (device + pin - 1) & 7, isaDevice: 31, ecam: { base: 0xe000_0000, buses: 256 }, floppies: [], serialPorts: [], pvpanicPort: null, hotplug: null, s3Type: null,
  },
};

describe.each(Object.keys(BOARDS))('ACPI tables of %s', (name) => {
  const { blob, rsdp } = placeAcpi(buildAcpi(BOARDS[name]!), BASE);
  const sum = (b: Uint8Array): number => b.reduce((a, x) => (a + x) & 0xff, 0);
  const table = (pa: number): Buffer => blob.subarray(pa - BASE, pa - BASE + blob.readUInt32LE(pa - BASE + 4));

  function tables(): Map<string, Buffer> {
    const root = blob.subarray(rsdp - BASE, rsdp - BASE + 36);
    const xsdt = table(Number(root.readBigUInt64LE(24)));
    const all = new Map<string, Buffer>([['XSDT', xsdt], ['RSDT', table(root.readUInt32LE(16))]]);
    for (let o = 36; o < xsdt.length; o += 8) {
      const t = table(Number(xsdt.readBigUInt64LE(o)));
      all.set(t.toString('latin1', 0, 4), t);
    }
    const fadt = all.get('FACP')!;
    all.set('DSDT', table(Number(fadt.readBigUInt64LE(140))));
    return all;
  }


  it('begin with an RSDP whose sums are right', () => {
    const root = blob.subarray(rsdp - BASE, rsdp - BASE + 36);
    expect(root.toString('latin1', 0, 8)).toBe('RSD PTR ');
    expect(rsdp % 16).toBe(0);
    expect(sum(root.subarray(0, 20))).toBe(0);
    expect(sum(root)).toBe(0);
  });

  it('have right lengths and sums, in the RSDT and in the XSDT', () => {
    const all = tables();
    expect([...all.keys()].sort()).toEqual(['APIC', 'DSDT', 'FACP', 'HPET', ...(BOARDS[name]!.ecam ? ['MCFG'] : []), 'RSDT', 'WAET', 'XSDT']);
    for (const [name, t] of all) {
      expect(t.toString('latin1', 0, 4)).toBe(name);
      expect(sum(t)).toBe(0);
    }
    const rsdt = all.get('RSDT')!;
    const xsdt = all.get('XSDT')!;
    const narrow = Array.from({ length: (rsdt.length - 36) / 4 }, (_, i) => rsdt.readUInt32LE(36 + i * 4));
    const wide = Array.from({ length: (xsdt.length - 36) / 8 }, (_, i) => Number(xsdt.readBigUInt64LE(36 + i * 8)));
    expect(narrow).toEqual(wide);
  });

  it('name every CPU in the MADT', () => {
    const madt = tables().get('APIC')!;
    const ids: number[] = [];
    for (let o = 44; o < madt.length; o += madt[o + 1]!) if (madt[o] === 0) ids.push(madt[o + 3]!);
    expect(ids).toEqual([0, 1, 2, 3]);
  });

  it('put the FACS on a 64-byte boundary', () => {
    const facs = tables().get('FACP')!.readUInt32LE(36);
    expect(facs % 64).toBe(0);
    expect(blob.toString('latin1', facs - BASE, facs - BASE + 4)).toBe('FACS');
  });

  const noIasl = hostTool('iasl');
  it.skipIf(noIasl !== null)(`are accepted by iasl${noIasl === null ? '' : ` (${noIasl})`}`, () => {
    const dir = mkdtempSync(join(tmpdir(), 'vmx-acpi-'));
    try {
      for (const [name, t] of tables()) {
        if (name === 'RSDT' || name === 'XSDT') continue;
        const file = join(dir, `${name}.aml`);
        writeFileSync(file, t);
        const out = execFileSync('iasl', ['-d', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
        expect(out).not.toMatch(/\b(error|warning)\b(?!s?: *0)/i);
        if (name !== 'DSDT') continue;
        // What was taken apart compiles again without an error.
        const again = execFileSync('iasl', ['-p', join(dir, 'again'), join(dir, 'DSDT.dsl')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
        expect(again).toMatch(/\b0 Errors/);
        expect(readFileSync(join(dir, 'DSDT.dsl'), 'utf8')).toContain('_S5');
      }
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
