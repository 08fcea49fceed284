/** Formats that are read only: images that qemu-img made, and damaged ones. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostTool, skipFor } from '../boot/guests.js';
import { randomFrom } from '../devices/fuzz.js';
import { contents, Folder, noImages, open, tool } from './host.js';

const MIB = 1 << 20;
const SIZE = 5 * MIB + 512 * 3;

const FORMATS: [what: string, qemu: string, options: string, name: string][] = [
  ['dynamic VHD', 'vpc', 'force_size=on', 'dynamic.vhd'],
  ['fixed VHD', 'vpc', 'subformat=fixed,force_size=on', 'fixed.vhd'],
  ['VHD with a size by geometry', 'vpc', '', 'geometry.vhd'],
  ['VHDX', 'vhdx', 'subformat=dynamic', 'dynamic.vhdx'],
  ['fixed VHDX', 'vhdx', 'subformat=fixed', 'fixed.vhdx'],
  ['VDI', 'vdi', '', 'dynamic.vdi'],
  ['fixed VDI', 'vdi', 'static=on', 'fixed.vdi'],
  ['sparse VMDK', 'vmdk', 'subformat=monolithicSparse', 'sparse.vmdk'],
  ['sparse VMDK with zero grains', 'vmdk', 'subformat=monolithicSparse,zeroed_grain=on', 'zero.vmdk'],
  ['VMDK in several extents', 'vmdk', 'subformat=twoGbMaxExtentSparse', 'extents.vmdk'],
  ['flat VMDK', 'vmdk', 'subformat=monolithicFlat', 'flat.vmdk'],
  ['stream-optimised VMDK', 'vmdk', 'subformat=streamOptimized', 'stream.vmdk'],
];

describe.skipIf(skipFor(noImages ?? hostTool('qemu-img')))('formats', () => {
  let dir: Folder;
  const raw = Buffer.alloc(SIZE);
  beforeAll(() => {
    dir = new Folder();
    // Blocks with data and without, also where formats have the edges of theirs.
    for (const at of [0, 65536, MIB - 512, 2 * MIB, 4 * MIB + 5120, SIZE - 1024]) for (let i = 0; i < 1024 && at + i < SIZE; i++) raw[at + i] = (i * 7 + at) >> 3;
    writeFileSync(dir.at('raw'), raw);
  });
  afterAll(() => dir.remove());

  it.each(FORMATS)('%s', (_what, format, options, name) => {
    tool('qemu-img', 'convert', '-O', format, ...(options === '' ? [] : ['-o', options]), dir.at('raw'), dir.at(name));
    expect(() => open(dir.at(name))).toThrow(/can be read only \(add ,readonly or ,snapshot/);
    const d = open(dir.at(name), { readonly: true });
    const all = contents(d);
    // Some formats round the size up.
    expect(all.length).toBeGreaterThanOrEqual(SIZE);
    expect(all.subarray(0, SIZE).equals(raw)).toBe(true);
    expect(all.subarray(SIZE).every((x) => x === 0)).toBe(true);
    expect(all.length).toBe((JSON.parse(tool('qemu-img', 'info', '--output=json', '-f', format, dir.at(name))) as { 'virtual-size': number })['virtual-size']);
    d.close();
    const s = open(dir.at(name), { snapshot: true });
    s.write(0, Buffer.alloc(512, 3));
    s.close();
    const again = open(dir.at(name), { readonly: true });
    expect(contents(again).equals(all)).toBe(true);
    again.close();
  });

  it.each(FORMATS)('damaged: %s', (_what, format, _options, name) => {
    const good = readFileSync(dir.at(name));
    const random = randomFrom(5);
    const bad = dir.at(`bad.${name.split('.')[1]!}`);
    let refused = 0;
    for (let n = 0; n < 16; n++) {
      const b = Buffer.from(n % 4 === 0 ? good.subarray(0, random() % good.length) : good);
      for (let k = 0; k <= random() % 8; k++) {
        // Headers at the front, tables behind them, footers at the end.
        const at = n % 3 === 0 ? random() % 100 : n % 3 === 1 ? b.length - 1 - (random() % 1536) : random() % Math.min(b.length, 3 * MIB);
        if (at >= 0 && at < b.length) b[at] = random();
      }
      writeFileSync(bad, b);
      try {
        const d = open(bad, { readonly: true, format: ({ vpc: 'vhd', vhdx: 'vhdx', vdi: 'vdi', vmdk: 'vmdk' } as const)[format as 'vpc'] });
        try {
          const piece = Buffer.alloc(65536);
          for (let at = 0; at + piece.length <= Math.min(d.size, 8 * MIB); at += piece.length) d.read(at, piece);
        } finally {
          d.close();
        }
      } catch (e) {
        expect((e as Error).message).not.toContain('\n');
        expect(['ERR_USAGE', 'ERR_IO']).toContain((e as { code?: string }).code);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(0);
  });

  it('a VHD whose footer is lost still has the one at its front', () => {
    copyFileSync(dir.at('dynamic.vhd'), dir.at('lost.vhd'));
    const b = readFileSync(dir.at('lost.vhd'));
    writeFileSync(dir.at('lost.vhd'), b.subarray(0, b.length - 512));
    const d = open(dir.at('lost.vhd'), { readonly: true });
    expect(contents(d).subarray(0, SIZE).equals(raw)).toBe(true);
    d.close();
  });
});
