/** virtio-scsi with disks and a CD-ROM, driven from the driver's side. */
import { beforeEach, describe, expect, it } from 'vitest';
import { MediaSlot } from '#lib/block/media.js';
import { ScsiCdRom } from '#lib/devices/storage/scsi/cdrom.js';
import { ScsiDisk } from '#lib/devices/storage/scsi/disk.js';
import { VirtioScsi } from '#lib/devices/virtio/scsi.js';
import { fuzzDevice } from '../fuzz.js';
import { MemoryDisk } from '../storage/memory-disk.js';
import { DESC, RAM_BYTES, VirtioDriver } from '../virtio-driver.js';

const EVENT_IDX = 1 << 29;
const SECTORS = 4096;
const CHECK = 2;
const SENSE = 96;

let d: VirtioDriver;
let disk: MemoryDisk;
let readonly: MemoryDisk;
let slot: MediaSlot;

function make(): VirtioScsi {
  disk = new MemoryDisk(SECTORS * 512).numbered();
  readonly = new MemoryDisk(65536, true);
  slot = new MediaSlot(new MemoryDisk(64 * 2048).numbered());
  const log = (m: string): void => void d.logs.push(m);
  return new VirtioScsi([
    { target: 0, lun: 0, unit: new ScsiDisk(disk, 'one', log) },
    { target: 0, lun: 5, unit: new ScsiDisk(readonly, 'two', log) },
    { target: 3, lun: 0, unit: new ScsiCdRom(slot, 'cd', log) },
  ], 2);
}

interface Reply {
  response: number;
  status: number;
  key: number;
  asc: number;
  residual: number;
  data: Buffer;
}

const be = (v: number, n: number): number[] => Array.from({ length: n }, (_, i) => Math.floor(v / 256 ** (n - 1 - i)) % 256);

function send(target: number, lun: number, cdb: number[], o: { in?: number[]; out?: Uint8Array[]; queue?: number } = {}): Reply {
  const header = new Uint8Array(19 + 32);
  header.set([1, target, 0x40 | (lun >> 8), lun & 0xff]);
  header.set(cdb, 19);
  const q = o.queue ?? 2;
  const pieces = d.add(q, [header, ...(o.out ?? [])], [12 + SENSE, ...(o.in ?? [])]);
  d.kick(q);
  expect(d.returned(q)).toHaveLength(1);
  const r = Buffer.from(d.bytes(pieces[0]!, 12 + SENSE));
  const data = Buffer.concat((o.in ?? []).map((n, i) => Buffer.from(d.bytes(pieces[i + 1]!, n))));
  return { response: r[11]!, status: r[10]!, residual: r.readUInt32LE(4), key: r[14]! & 15, asc: r.readUInt16BE(12 + 12), data };
}

describe('virtio-scsi', () => {
  beforeEach(() => {
    d = new VirtioDriver(make());
    d.start(16, EVENT_IDX);
    for (const [t, l] of [[0, 0], [0, 5], [3, 0]] as const) {
      // Each unit tells of the reset first.
      expect(send(t, l, [0])).toMatchObject({ response: 0, status: CHECK, key: 6, asc: 0x2900 });
      expect(send(t, l, [0])).toMatchObject({ response: 0, status: 0 });
    }
  });

  it('says how many queues, targets and units', () => {
    expect(d.queueCount()).toBe(4);
    expect([d.read(4, 0, 4), d.read(4, 20, 4), d.read(4, 24, 4), d.read(4, 30, 2)]).toEqual([2, 96, 32, 255]);
  });

  it('finds units by target and LUN, and lists them', () => {
    expect(send(0, 0, [0x12, 0, 0, 0, 36], { in: [36] }).data.toString('latin1', 8, 20)).toBe('VMX     DISK');
    expect(send(3, 0, [0x12, 0, 0, 0, 36], { in: [36] }).data[0]).toBe(5);
    expect(send(0, 1, [0x12, 0, 0, 0, 36], { in: [36] })).toMatchObject({ response: 3 });
    expect(send(9, 0, [0x12, 0, 0, 0, 36], { in: [36] })).toMatchObject({ response: 3 });
    const luns = send(0, 0, [0xa0, 0, 0, 0, 0, 0, ...be(64, 4)], { in: [64] });
    expect(luns).toMatchObject({ response: 0, residual: 40 });
    expect([luns.data.readUInt32BE(0), luns.data[9], luns.data[17]]).toEqual([16, 0, 5]);
  });

  it('reads and writes, in pieces, with commands of every length', () => {
    const data = Uint8Array.from({ length: 2048 }, (_, i) => i * 11 + (i >> 6));
    expect(send(0, 0, [0x2a, 0, ...be(7, 4), 0, 0, 4], { out: [data.subarray(0, 700), data.subarray(700)] })).toMatchObject({ status: 0, residual: 0 });
    expect(Buffer.from(disk.data.subarray(7 * 512, 11 * 512)).equals(data)).toBe(true);
    for (const cdb of [[0x08, 0, 0, 7, 4], [0x28, 0, ...be(7, 4), 0, 0, 4], [0xa8, 0, ...be(7, 4), ...be(4, 4)], [0x88, 0, ...be(7, 8), ...be(4, 4)]]) {
      const r = send(0, 0, cdb, { in: [100, 1948], queue: 3 });
      expect(r).toMatchObject({ status: 0, residual: 0 });
      expect(r.data.equals(data)).toBe(true);
    }
    // The driver's buffer is larger, or smaller, than the data.
    expect(send(0, 0, [0x28, 0, ...be(7, 4), 0, 0, 1], { in: [2000] })).toMatchObject({ status: 0, residual: 1488 });
    expect(send(0, 0, [0x28, 0, ...be(7, 4), 0, 0, 8], { in: [512] })).toMatchObject({ status: 0, residual: 0 });
  });

  it.each([
    ['beyond the end', [0x28, 0, ...be(SECTORS - 1, 4), 0, 0, 2], 5, 0x2100],
    ['64-bit block numbers', [0x88, 0, ...be(2 ** 62, 8), ...be(1, 4)], 5, 0x2100],
    ['unknown commands', [0xff], 5, 0x2000],
    ['unknown pages of vital data', [0x12, 1, 0xc0, 0, 255], 5, 0x2400],
    ['unknown mode pages', [0x1a, 0, 0x3e, 0, 255], 5, 0x2400],
    ['verification with data', [0x2f, 2, 0, 0, 0, 0, 0, 0, 1], 5, 0x2400],
  ])('refuses %s', (_what, cdb, key, asc) => {
    expect(send(0, 0, cdb, { in: [1024] })).toMatchObject({ response: 0, status: CHECK, key, asc });
  });

  it('protects read-only disks and reports errors', () => {
    expect(send(0, 5, [0x2a, 0, 0, 0, 0, 0, 0, 0, 1], { out: [new Uint8Array(512)] })).toMatchObject({ status: CHECK, key: 7, asc: 0x2700 });
    expect(send(0, 5, [0x1a, 0, 0x3f, 0, 255], { in: [255] }).data[2]! & 0x80).toBe(0x80);
    disk.badSector = 20;
    expect(send(0, 0, [0x28, 0, ...be(16, 4), 0, 0, 8], { in: [4096] })).toMatchObject({ status: CHECK, key: 3, asc: 0x1100 });
    expect(send(0, 0, [0x2a, 0, ...be(20, 4), 0, 0, 1], { out: [new Uint8Array(512)] })).toMatchObject({ status: CHECK, key: 3, asc: 0x0c00 });
  });

  it('tells capacity and limits', () => {
    expect(send(0, 0, [0x25], { in: [8] }).data.readUInt32BE(0)).toBe(SECTORS - 1);
    const c = send(0, 0, [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32], { in: [32] }).data;
    expect([c.readUInt32BE(4), c.readUInt32BE(8), c[13], c[14]]).toEqual([SECTORS - 1, 512, 3, 0x80]);
    expect([...send(0, 0, [0x12, 1, 0, 0, 255], { in: [255] }).data.subarray(3, 10)]).toEqual([6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    expect(send(0, 0, [0x12, 1, 0xb0, 0, 255], { in: [255] }).data.readUInt32BE(20)).toBe(0x20_0000);
  });

  it('unmaps and writes the same', () => {
    const list = Uint8Array.from([...be(38, 2), ...be(32, 2), 0, 0, 0, 0, ...be(100, 8), ...be(8, 4), 0, 0, 0, 0, ...be(300, 8), ...be(16, 4), 0, 0, 0, 0]);
    expect(send(0, 0, [0x42, 0, 0, 0, 0, 0, 0, 0, list.length], { out: [list] })).toMatchObject({ status: 0 });
    expect(disk.discarded).toEqual([[51200, 4096], [153_600, 8192]]);
    list.set(be(SECTORS, 8), 24);
    expect(send(0, 0, [0x42, 0, 0, 0, 0, 0, 0, 0, list.length], { out: [list] })).toMatchObject({ status: CHECK, asc: 0x2100 });
    expect(disk.discarded).toHaveLength(2);
    expect(send(0, 0, [0x93, 8, ...be(4, 8), ...be(3, 4)], { out: [new Uint8Array(512)] })).toMatchObject({ status: 0 });
    expect(disk.data.subarray(4 * 512, 7 * 512).every((x) => x === 0)).toBe(true);
    expect(send(0, 0, [0x41, 0, ...be(4, 4), 0, 0, 2], { out: [new Uint8Array(512).fill(9)] })).toMatchObject({ status: 0 });
    expect([disk.data[4 * 512], disk.data[6 * 512 - 1], disk.data[6 * 512]]).toEqual([9, 9, 0]);
    expect(send(0, 0, [0x93, 0, ...be(4, 8), ...be(0, 4)], { out: [new Uint8Array(512)] })).toMatchObject({ status: CHECK, asc: 0x2400 });
  });

  it('flushes: command, forced unit access, write cache switched off', () => {
    const write = (flags: number): Reply => send(0, 0, [0x2a, flags, 0, 0, 0, 0, 0, 0, 1], { out: [new Uint8Array(512)] });
    write(0);
    expect(disk.flushes).toBe(0);
    send(0, 0, [0x35]);
    expect(disk.flushes).toBe(1);
    write(8);
    expect(disk.flushes).toBe(2);
    const page = new Uint8Array(24);
    page.set([8, 18, 0], 4);
    expect(send(0, 0, [0x15, 0x10, 0, 0, 24], { out: [page] })).toMatchObject({ status: 0 });
    expect(disk.flushes).toBe(3);
    write(0);
    expect(disk.flushes).toBe(4);
    expect(send(0, 0, [0x1a, 0, 8, 0, 255], { in: [255] }).data[6]).toBe(0);
  });

  it('reads the CD-ROM and notices that it is another', () => {
    expect(send(3, 0, [0x28, 0, ...be(2, 4), 0, 0, 1], { in: [2048] }).data.readUInt32LE(0)).toBe(8);
    slot.insert(new MemoryDisk(32 * 2048));
    expect(send(3, 0, [0])).toMatchObject({ status: CHECK, key: 6, asc: 0x2800 });
    expect(send(3, 0, [0x25], { in: [8] }).data.readUInt32BE(0)).toBe(31);
  });

  it('manages tasks', () => {
    const tmf = (subtype: number, target: number, lun = 0): number => {
      const b = new Uint8Array(24);
      b.set([0, 0, 0, 0, subtype, 0, 0, 0, 1, target, 0x40, lun]);
      const [at] = d.add(0, [b], [1]);
      d.kick(0);
      expect(d.returned(0)).toHaveLength(1);
      return d.bytes(at!, 1)[0]!;
    };
    expect(tmf(0, 0)).toBe(0);
    expect(tmf(0, 7)).toBe(12);
    expect(tmf(99, 0)).toBe(11);
    expect(tmf(5, 0)).toBe(0);
    expect(send(0, 0, [0])).toMatchObject({ key: 6, asc: 0x2900 });
    expect(send(0, 5, [0])).toMatchObject({ status: 0 });
    expect(tmf(4, 0)).toBe(0);
    expect(send(0, 5, [0])).toMatchObject({ key: 6, asc: 0x2900 });
  });

  it('survives bad chains and memory that is none', () => {
    for (const [out, into] of [[[new Uint8Array(10)], [200]], [[new Uint8Array(51)], [50]], [[], [200]]] as [Uint8Array[], number[]][]) {
      d.add(2, out, into);
      d.kick(2);
      expect(d.returned(2)).toMatchObject([{ len: 0 }]);
    }
    const header = new Uint8Array(51);
    header.set([1, 0, 0x40, 0]);
    header.set([0x28, 0, 0, 0, 0, 0, 0, 0, 4], 19);
    const { desc } = d.rings[2]!;
    const status = d.buffer(108);
    d.setDesc(desc, 0, d.buffer(header), 51, DESC.NEXT, 1);
    d.setDesc(desc, 1, status, 108, DESC.WRITE | DESC.NEXT, 2);
    d.setDesc(desc, 2, RAM_BYTES, 2048, DESC.WRITE, 0);
    d.offer(2, 0);
    d.kick(2);
    expect(d.bytes(status + 11, 1)[0]).toBe(9);
    expect(d.status & 64).toBe(0);
  });

  it('comes back from a save', () => {
    const page = new Uint8Array(24);
    page.set([8, 18, 0], 4);
    send(0, 0, [0x15, 0x10, 0, 0, 24], { out: [page] });
    d.write(4, 20, 4, 18);
    const saved = JSON.stringify(d.pci.save());
    d.pci.reset();
    d.pci.restore(JSON.parse(saved) as ReturnType<typeof d.pci.save>);
    expect(JSON.stringify(d.pci.save())).toBe(saved);
    expect(d.read(4, 20, 4)).toBe(18);
  });
});

describe('fuzz: virtio-scsi', () => {
  it.each([1, 2, 3])('registers, rings and commands, seed %i', (seed) => {
    fuzzDevice(() => {
      d = new VirtioDriver(make());
      d.start(16);
      const bar = (n: number): { read: (o: number, s: number) => number; write: (o: number, s: number, v: number) => void } => ({
        read: (o, s) => d.mem.read(2 ** 32 + (d.config(0x10 + n * 4) & ~15) + o, s),
        write: (o, s, v) => d.mem.write(2 ** 32 + (d.config(0x10 + n * 4) & ~15) + o, s, v),
      });
      let n = 0;
      const header = new Uint8Array(51);
      return {
        device: d.pci,
        regions: [
          { io: bar(4), length: 0x40 },
          { io: bar(4), length: 0x4000 },
        ],
        pokes: [
          (r) => d.mem.write32(0x1_0000 + (r % 0x4_0000 & ~3), r),
          (r) => {
            if (d.rings[0] !== undefined && (r & 3) === 0) d.start(16);
          },
          // All commands, with fields of all kinds.
          (r) => {
            if (n++ > 4000) return;
            header.fill(0);
            header.set([1, r % 5 === 0 ? 3 : 0, 0x40, r % 3 === 0 ? 5 : 0]);
            header.set([(r >>> 3) & 0xff, (r >>> 11) & 0x1f, ...be(r % 7 === 0 ? r : r % 5000, 4), (r >>> 7) & 1, (r >>> 9) & 3, r & 0xff, r & 0xff, 0, 0, 0, r & 0xff], 19);
            d.add(2, [header, new Uint8Array(r % 512)], [108, r % 600]);
            d.kick(2);
          },
        ],
      };
    }, 3000, seed);
  });
});
