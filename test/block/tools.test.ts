/** `image` commands: what they make is what qemu-img says it is, and the other way round. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkImage, commitImage, convertImage, type ConvertOptions, createImage, imageInfo } from '#lib/block/tools.js';
import { applySnapshot, deleteSnapshot, takeSnapshot } from '#lib/block/qcow2/snapshots.js';
import type { Qcow2Image } from '#lib/block/qcow2/image.js';
import { hostTool, skipFor } from '../boot/guests.js';
import { run } from '../cli/run.js';
import { randomFrom } from '../devices/fuzz.js';
import { contents, Folder, noImages, open, tool } from './host.js';

const MIB = 1 << 20;
const SIZE = 6 * MIB;
const option = 'image';

describe.skipIf(skipFor(noImages))('image', () => {
  let dir: Folder;
  let raw: Buffer;
  beforeAll(() => {
    dir = new Folder();
    raw = Buffer.alloc(SIZE);
    const random = randomFrom(9);
    for (let i = 0; i < 2 * MIB; i++) raw[MIB + i] = i & 0x400 ? random() : i >> 8;
    writeFileSync(dir.at('source.raw'), raw);
  });
  afterAll(() => dir.remove());

  const convert = (target: string, o: Partial<ConvertOptions>, source = 'source.raw'): void =>
    convertImage(dir.at(source), dir.at(target), { format: 'qcow2', sourceFormat: 'auto', option, progress: () => {}, ...o });
  const same = (file: string): void => {
    const d = open(dir.at(file), { readonly: true });
    expect(contents(d).equals(raw)).toBe(true);
    d.close();
  };
  const clean = (file: string): void => expect(checkImage(dir.at(file), 'auto', false, option)).toMatchObject({ corruptions: 0, leaks: 0 });

  it('converts between raw and qcow2, plain and compressed, and leaves zeros out', () => {
    convert('plain.qcow2', {});
    convert('small.qcow2', { compress: true, clusterSize: 16384 });
    convert('back.raw', { format: 'raw' }, 'small.qcow2');
    for (const f of ['plain.qcow2', 'small.qcow2', 'back.raw']) same(f);
    for (const f of ['plain.qcow2', 'small.qcow2']) clean(f);
    expect(readFileSync(dir.at('plain.qcow2')).length).toBeLessThan(2.5 * MIB);
    expect(readFileSync(dir.at('small.qcow2')).length).toBeLessThan(readFileSync(dir.at('plain.qcow2')).length - 0.4 * MIB);
    expect(checkImage(dir.at('small.qcow2'), 'auto', false, option).compressedClusters).toBeGreaterThan(50);
  });

  it('refuses to overwrite, and leaves nothing half-done', () => {
    expect(() => convert('plain.qcow2', {})).toThrow(/plain\.qcow2: exists already/);
    expect(() => convert('x.raw', { format: 'raw', compress: true })).toThrow(/only qcow2 images can be compressed/);
    expect(() => convert('x.qcow2', {}, 'nope')).toThrow(/nope: no such file/);
    expect(() => createImage(dir.at('y.qcow2'), { format: 'qcow2', size: MIB, clusterSize: 3000, option })).toThrow(/cluster size 3000/);
    expect(() => createImage(dir.at('y.qcow2'), { format: 'qcow2', option })).toThrow(/needs a size/);
    for (const f of ['x.raw', 'x.qcow2', 'y.qcow2']) expect(existsSync(dir.at(f))).toBe(false);
  });

  it('makes overlays, which take their size and format from what is behind, and commits them', () => {
    convert('base.qcow2', {});
    createImage(dir.at('over.qcow2'), { format: 'qcow2', backingFile: 'base.qcow2', option });
    expect(imageInfo(dir.at('over.qcow2'), 'auto', option)).toMatchObject({ format: 'qcow2', virtualSize: SIZE, backingFile: 'base.qcow2', backingFormat: 'qcow2' });
    const d = open(dir.at('over.qcow2'));
    const piece = Buffer.alloc(100_352, 0x77);
    d.write(512 * 3000, piece);
    d.writeZeroes(2 * MIB, 65536, true);
    d.close();
    const model = Buffer.from(raw);
    piece.copy(model, 512 * 3000);
    model.fill(0, 2 * MIB, 2 * MIB + 65536);
    expect(commitImage(dir.at('over.qcow2'), option, () => {})).toBeGreaterThan(100_352);
    for (const f of ['base.qcow2', 'over.qcow2']) {
      const b = open(dir.at(f), { readonly: true });
      expect(contents(b).equals(model)).toBe(true);
      b.close();
      clean(f);
    }
    expect(checkImage(dir.at('over.qcow2'), 'auto', false, option).allocatedClusters).toBe(0);
    expect(() => commitImage(dir.at('base.qcow2'), option, () => {})).toThrow(/has no backing file/);
  });

  it('takes, applies and deletes snapshots', () => {
    convert('snap.qcow2', { clusterSize: 4096 });
    const image = open(dir.at('snap.qcow2')) as Qcow2Image;
    takeSnapshot(image, 'before', option);
    image.write(MIB, Buffer.alloc(300_032, 1));
    takeSnapshot(image, 'after', option);
    image.write(MIB + 4096, Buffer.alloc(8192, 2));
    expect(() => takeSnapshot(image, 'after', option)).toThrow(/has a snapshot 'after' already/);
    expect(() => applySnapshot(image, 'never', option)).toThrow(/has no snapshot 'never'/);
    image.flush();
    image.close();
    clean('snap.qcow2');
    expect(imageInfo(dir.at('snap.qcow2'), 'auto', option).snapshots).toMatchObject([{ id: '1', name: 'before' }, { id: '2', name: 'after' }]);
    const again = open(dir.at('snap.qcow2')) as Qcow2Image;
    applySnapshot(again, 'after', option);
    expect(contents(again).subarray(MIB, MIB + 300_032).every((x) => x === 1)).toBe(true);
    applySnapshot(again, 'before', option);
    expect(contents(again).equals(raw)).toBe(true);
    again.write(0, Buffer.alloc(4096, 9));
    deleteSnapshot(again, 'after', option);
    applySnapshot(again, '1', option);
    expect(contents(again).equals(raw)).toBe(true);
    deleteSnapshot(again, 'before', option);
    again.close();
    clean('snap.qcow2');
    same('snap.qcow2');
  });

  it('finds damage, and repairs refcounts', () => {
    convert('hurt.qcow2', {});
    const b = readFileSync(dir.at('hurt.qcow2'));
    // The first refcount block is the third cluster: free what is used, use what is free.
    b.writeUInt16BE(0, 2 * 65536 + 2 * 5);
    b.writeUInt16BE(1, 2 * 65536 + 2 * 2000);
    writeFileSync(dir.at('hurt.qcow2'), b);
    expect(checkImage(dir.at('hurt.qcow2'), 'auto', false, option)).toMatchObject({ corruptions: 1, leaks: 1 });
    checkImage(dir.at('hurt.qcow2'), 'auto', true, option);
    clean('hurt.qcow2');
    same('hurt.qcow2');
  });

  describe.skipIf(skipFor(hostTool('qemu-img')))('and qemu-img', () => {
    it('agree about what is in the files', () => {
      for (const f of ['plain.qcow2', 'small.qcow2', 'snap.qcow2', 'base.qcow2', 'over.qcow2', 'hurt.qcow2']) {
        expect(tool('qemu-img', 'check', dir.at(f))).toContain('No errors were found');
        const theirs = JSON.parse(tool('qemu-img', 'info', '--output=json', dir.at(f))) as Record<string, unknown>;
        const data = (theirs['format-specific'] as { data: Record<string, unknown> }).data;
        const ours = imageInfo(dir.at(f), 'auto', option);
        expect([ours.format, ours.virtualSize, ours.clusterSize, ours.backingFile, ours.compat, ours.compression, ours.refcountBits, ours.actualSize]).toEqual(
          [theirs.format, theirs['virtual-size'], theirs['cluster-size'], theirs['backing-filename'], data.compat, data['compression-type'], data['refcount-bits'], theirs['actual-size']],
        );
      }
      for (const f of ['plain.qcow2', 'small.qcow2', 'back.raw', 'snap.qcow2']) expect(tool('qemu-img', 'compare', dir.at(f), dir.at('source.raw'))).toContain('identical');
    });

    it('read and delete each other\'s snapshots', () => {
      convert('mixed.qcow2', {});
      tool('qemu-img', 'snapshot', '-c', 'theirs', dir.at('mixed.qcow2'));
      const image = open(dir.at('mixed.qcow2')) as Qcow2Image;
      image.write(MIB, Buffer.alloc(65536, 4));
      takeSnapshot(image, 'ours', option);
      image.write(MIB, Buffer.alloc(65536, 5));
      image.close();
      expect(tool('qemu-img', 'snapshot', '-l', dir.at('mixed.qcow2'))).toMatch(/theirs[^]*ours/);
      tool('qemu-img', 'snapshot', '-a', 'ours', dir.at('mixed.qcow2'));
      tool('qemu-img', 'snapshot', '-d', 'ours', dir.at('mixed.qcow2'));
      const back = open(dir.at('mixed.qcow2')) as Qcow2Image;
      expect(contents(back).subarray(MIB, MIB + 65536).every((x) => x === 4)).toBe(true);
      applySnapshot(back, 'theirs', option);
      deleteSnapshot(back, 'theirs', option);
      back.close();
      same('mixed.qcow2');
      expect(tool('qemu-img', 'check', dir.at('mixed.qcow2'))).toContain('No errors were found');
    });
  });

  it('on the command line', async () => {
    const go = async (...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> => run(['image', ...args]);
    const file = dir.at('cli.qcow2');
    expect(await go('create', file, '10G')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(JSON.parse((await go('info', '--json', file)).stdout)).toMatchObject({ format: 'qcow2', virtualSize: 10 * 2 ** 30, clusterSize: 65536 });
    expect((await go('check', file)).stdout).toMatch(/^no errors\n0 of 163840 clusters have data/);
    expect(await go('create', file, '10G')).toMatchObject({ status: 2, stderr: `vmx-accel: image: ${file}: exists already\n` });
    expect(await go('create', dir.at('z'), '10G', '--format', 'vhd')).toMatchObject({ status: 2, stderr: "vmx-accel: --format: 'vhd' is not available (raw, qcow2 are)\n" });
    expect((await go('snapshot', '--create', 'one', file)).status).toBe(0);
    expect((await go('snapshot', file)).stdout).toMatch(/1 +one/);
    expect((await go('convert', dir.at('source.raw'), dir.at('cli2.qcow2'), '-c')).status).toBe(0);
    same('cli2.qcow2');
    expect(await go()).toMatchObject({ status: 2, stderr: expect.stringMatching(/image: a command is needed: create, info/) as string });
  }, 120_000);
});
