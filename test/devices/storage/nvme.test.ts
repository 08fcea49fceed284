/** NVMe controller, driven from the driver's side. */
import { beforeEach, describe, expect, it } from 'vitest';
import { fuzzDevice } from '../fuzz.js';
import { MemoryDisk } from './memory-disk.js';
import { NvmeDriver, RAM } from './nvme-driver.js';

const SECTORS = 4096;
const PAGE = 4096;
const CSTS = 0x1c;
const CC = 0x14;
const READ = 2;
const WRITE = 1;

let d: NvmeDriver;
let disk: MemoryDisk;
beforeEach(() => {
  disk = new MemoryDisk(SECTORS * 512).numbered();
  d = new NvmeDriver(disk);
});

const bytes = (at: number, n: number): Buffer => Buffer.from(d.mem.ram8.slice(at, at + n));

describe('NVMe controller', () => {
  it('has its class code, capabilities and version', () => {
    d.probe();
    expect(d.config(8) >>> 8).toBe(0x01_0802);
    expect(d.read(0) & 0xffff).toBe(1023);
    expect(d.read(4) & 0x20).toBe(0x20);
    expect(d.read(8)).toBe(0x0001_0400);
  });

  it('becomes ready, shuts down, and forgets its queues when disabled', () => {
    d.start();
    expect(d.read(CSTS)).toBe(1);
    d.write(CC, d.read(CC) | 0x4000);
    expect(d.read(CSTS)).toBe(9);
    expect(disk.flushes).toBe(1);
    d.write(CC, 0);
    expect(d.read(CSTS)).toBe(0);
    d.ring(1);
    d.enable();
    expect(d.read(CSTS)).toBe(1);
    expect(d.createPair(1)).toEqual([0, 0]);
  });

  it.each([
    ['admin queues outside RAM', () => d.write(0x28, RAM)],
    ['a page size it has not', () => d.write(CC, 0x0046_0001 | (9 << 7))],
    ['a command set it has not', () => d.write(CC, 0x0046_0001 | (1 << 4))],
  ])('fails to start with %s', (_what, spoil) => {
    d.probe();
    d.write(0x24, 0x000f_000f);
    d.write(0x28, 0x1_0000);
    d.write(0x30, 0x2_0000);
    spoil();
    d.write(CC, d.read(CC) | 1);
    expect(d.read(CSTS)).toBe(2);
    d.write(CC, 0);
    d.enable();
    expect(d.read(CSTS)).toBe(1);
  });

  it('identifies itself, its namespace and lists', () => {
    d.start();
    const b = d.buffer(PAGE);
    const identify = (cns: number, nsid: number): number => d.admin({ opcode: 6, nsid, prp1: b, dw: [cns] }).status;
    expect(identify(1, 0)).toBe(0);
    const c = bytes(b, PAGE);
    expect(c.toString('latin1', 4, 24)).toBe('serial-1'.padEnd(20));
    expect([c[512], c[513], c.readUInt32LE(516), c[525]]).toEqual([0x66, 0x44, 1, 1]);
    expect(c.toString('latin1', 768, 800)).toContain('nqn.2014-08.org.nvmexpress:uuid:');
    expect(identify(0, 1)).toBe(0);
    expect(Number(bytes(b, 8).readBigUInt64LE())).toBe(SECTORS);
    expect(bytes(b, PAGE)[130]).toBe(9);
    expect(identify(0, 2)).toBe(0x0b);
    expect(identify(2, 0)).toBe(0);
    expect(bytes(b, 8).readUInt32LE()).toBe(1);
    expect(identify(3, 1)).toBe(0);
    expect(bytes(b, 2)).toEqual(Buffer.from([1, 8]));
    expect(identify(0x44, 1)).toBe(2);
  });

  it('refuses queues that are not valid', () => {
    d.start();
    const cq = (dw: number[], prp1 = 0x10_0000): number => d.admin({ opcode: 5, prp1, dw }).status;
    const sq = (dw: number[], prp1 = 0x10_0000): number => d.admin({ opcode: 1, prp1, dw }).status;
    expect(cq([1 | (15 << 16), 1])).toBe(0x101);
    expect(cq([0 | (15 << 16), 1])).toBe(0x101);
    expect(cq([17 | (15 << 16), 1])).toBe(0x101);
    expect(cq([2, 1])).toBe(0x102);
    expect(cq([2 | (5000 << 16), 1])).toBe(0x102);
    expect(cq([2 | (15 << 16), 1 | (17 << 16)])).toBe(0x108);
    expect(cq([2 | (15 << 16), 0])).toBe(2);
    expect(cq([2 | (15 << 16), 1], 0x10_0010)).toBe(2);
    expect(cq([2 | (15 << 16), 1], RAM)).toBe(2);
    expect(sq([2 | (15 << 16), 1 | (9 << 16)])).toBe(0x100);
    expect(sq([1 | (15 << 16), 1 | (1 << 16)])).toBe(0x101);
    // A completion queue goes after its submission queues.
    expect(d.admin({ opcode: 4, dw: [1] }).status).toBe(0x10c);
    expect(d.admin({ opcode: 0, dw: [1] }).status).toBe(0);
    expect(d.admin({ opcode: 4, dw: [1] }).status).toBe(0);
    expect(d.admin({ opcode: 4, dw: [1] }).status).toBe(0x101);
  });

  it('has features with current, default and supported values', () => {
    d.start();
    const get = (id: number, select = 0): { status: number; result: number } => d.admin({ opcode: 0x0a, dw: [id | (select << 8)] });
    const set = (id: number, v: number): { status: number; result: number } => d.admin({ opcode: 9, dw: [id, v] });
    expect(set(7, 0x000f_000f).status).toBe(0x0c);
    expect(get(7).result).toBe(0x000f_000f);
    expect(get(6).result).toBe(1);
    expect(set(6, 0).status).toBe(0);
    expect(get(6)).toMatchObject({ status: 0, result: 0 });
    expect(get(6, 1).result).toBe(1);
    expect(get(6, 3).result).toBe(4);
    expect(set(0x0b, 0x1ff).status).toBe(0);
    expect(get(0x0b).result).toBe(0x1ff);
    expect(set(0x77, 0).status).toBe(2);
    expect(d.admin({ opcode: 9, dw: [0x8000_0006 | 0, 0] }).status).toBe(0x10d);
    expect(disk.flushes).toBeGreaterThan(0);
  });

  it('tells the number of queues before there are any', () => {
    d.probe();
    d.enable();
    expect(d.admin({ opcode: 9, dw: [7, 0x0003_0003] })).toMatchObject({ status: 0, result: 0x000f_000f });
  });

  it('has log pages', () => {
    d.start();
    const b = d.buffer(PAGE);
    const log = (page: number, dwords: number, offset = 0): number => d.admin({ opcode: 2, nsid: 0xffff_ffff, prp1: b, dw: [page | ((dwords - 1) << 16), 0, offset, 0] }).status;
    expect(log(2, 128)).toBe(0);
    expect(bytes(b, 512).readUInt16LE(1)).toBe(300);
    expect(log(3, 128)).toBe(0);
    expect(log(5, 1024)).toBe(0);
    expect(log(2, 16, 32)).toBe(0);
    expect(log(2, 16, 4096)).toBe(2);
    expect(log(0x70, 16)).toBe(0x109);
  });

  it('answers abort and unknown commands', () => {
    d.start();
    expect(d.admin({ opcode: 8, dw: [1 | (7 << 16)] })).toMatchObject({ status: 0, result: 1 });
    expect(d.admin({ opcode: 0x7f }).status).toBe(1);
    expect(d.run(1, { opcode: 0x7f }).status).toBe(1);
    expect(d.run(1, { opcode: READ, flags: 0x40 }).status).toBe(2);
  });

  it('keeps asynchronous event requests until something happens', () => {
    d.start();
    const cid = d.put(0, { opcode: 0x0c });
    d.ring(0);
    expect(d.take(0)).toEqual([]);
    d.write(0x1000 + 9 * 8, 1);
    expect(d.take(0)).toMatchObject([{ cid, status: 0, result: 0x0001_0000 }]);
    // Once, until the log page has been read.
    d.write(0x1000 + 9 * 8, 1);
    d.put(0, { opcode: 0x0c });
    d.ring(0);
    expect(d.take(0)).toEqual([]);
    d.admin({ opcode: 2, prp1: d.buffer(PAGE), dw: [1 | (15 << 16)] });
    d.write(0x1008, 99);
    expect(d.take(0)).toMatchObject([{ result: 0x0001_0100 }]);
    for (let i = 0; i < 4; i++) d.put(0, { opcode: 0x0c });
    d.put(0, { opcode: 0x0c });
    d.ring(0);
    expect(d.take(0)).toMatchObject([{ status: 0x105 }]);
  });
});

describe('NVMe data', () => {
  const rw = (opcode: number, lba: number, blocks: number, prp1: number, prp2 = 0, flags = 0): number =>
    d.run(1, { opcode, prp1, prp2, dw: [lba % 2 ** 32, Math.floor(lba / 2 ** 32), (blocks - 1) | flags] }).status;

  beforeEach(() => d.start());

  it('reads and writes one page, two pages and lists', () => {
    const b = d.buffer(64 * 1024);
    const list = d.buffer(PAGE);
    expect(rw(READ, 5, 1, b)).toBe(0);
    expect(bytes(b, 512).equals(Buffer.from(disk.data.subarray(5 * 512, 6 * 512)))).toBe(true);
    // From the middle of one page into another, the pages apart.
    expect(rw(READ, 8, 8, b + 1024, b + 5 * PAGE)).toBe(0);
    expect(Buffer.concat([bytes(b + 1024, 3072), bytes(b + 5 * PAGE, 1024)]).equals(Buffer.from(disk.data.subarray(8 * 512, 16 * 512)))).toBe(true);
    // A list, pages in reverse order.
    for (let i = 0; i < 7; i++) {
      d.mem.write32(list + 256 + i * 8, b + (7 - i) * PAGE);
      d.mem.write32(list + 260 + i * 8, 0);
    }
    for (let i = 0; i < 8 * PAGE; i++) d.mem.ram8[b + i] = i * 3 + (i >> 8);
    expect(rw(WRITE, 100, 64, b, list + 256)).toBe(0);
    const want = [0, 7, 6, 5, 4, 3, 2, 1].map((p) => bytes(b + p * PAGE, PAGE));
    expect(Buffer.from(disk.data.subarray(100 * 512, 164 * 512)).equals(Buffer.concat(want))).toBe(true);
  });

  it('follows lists that go on in another page', () => {
    const b = d.buffer(512 * 1024);
    const a = d.buffer(PAGE);
    const c = d.buffer(PAGE);
    const pages = 128;
    // The list begins 4 entries before the end of its page: three pointers and the way on.
    for (let i = 0; i < pages - 1; i++) {
      const at = i < 3 ? a + PAGE - 32 + i * 8 : c + (i - 3) * 8;
      d.mem.write32(at, b + (i + 1) * PAGE);
      d.mem.write32(at + 4, 0);
    }
    d.mem.write32(a + PAGE - 8, c);
    d.mem.write32(a + PAGE - 4, 0);
    expect(rw(READ, 0, pages * 8, b, a + PAGE - 32)).toBe(0);
    expect(bytes(b, pages * PAGE).equals(Buffer.from(disk.data.subarray(0, pages * PAGE)))).toBe(true);
    expect(rw(READ, 0, pages * 8 + 1, b, a)).toBe(2);
  });

  it.each([
    ['beyond the end', () => rw(READ, SECTORS - 1, 2, d.buffer(PAGE)), 0x80],
    ['a block number of 64 bits', () => rw(READ, 2 ** 60, 1, d.buffer(PAGE)), 0x80],
    ['a buffer outside RAM', () => rw(READ, 0, 1, RAM), 4],
    ['a second page outside RAM', () => rw(READ, 0, 16, d.buffer(PAGE), RAM), 4],
    ['an address of 64 bits', () => rw(READ, 0, 1, 2 ** 60), 4],
    ['a misaligned second page', () => rw(READ, 0, 16, d.buffer(PAGE), 0x20_0010), 0x13],
    ['a list outside RAM', () => rw(READ, 0, 64, d.buffer(PAGE), RAM), 4],
    ['another namespace', () => d.run(1, { opcode: READ, nsid: 2, prp1: d.buffer(PAGE) }).status, 0x0b],
  ])('refuses %s', (_what, run, status) => {
    expect(run()).toBe(status);
    expect(rw(READ, 0, 1, 0x20_0000)).toBe(0);
  });

  it('reports errors of the disk', () => {
    disk.badSector = 10;
    expect(rw(READ, 8, 8, d.buffer(PAGE))).toBe(0x281);
    expect(rw(WRITE, 10, 1, d.buffer(PAGE))).toBe(0x280);
    expect(d.logs[0]).toContain('sector 10 is bad');
  });

  it('flushes when told to: command, forced unit access, no write cache', () => {
    const b = d.buffer(PAGE);
    rw(WRITE, 0, 1, b);
    expect(disk.flushes).toBe(0);
    expect(d.run(1, { opcode: 0, nsid: 0xffff_ffff }).status).toBe(0);
    expect(disk.flushes).toBe(1);
    rw(WRITE, 0, 1, b, 0, 0x4000_0000);
    expect(disk.flushes).toBe(2);
    d.admin({ opcode: 9, dw: [6, 0] });
    expect(disk.flushes).toBe(3);
    rw(WRITE, 0, 1, b);
    expect(disk.flushes).toBe(4);
  });

  it('writes zeroes and deallocates', () => {
    expect(d.run(1, { opcode: 8, dw: [3, 0, 9] }).status).toBe(0);
    expect(disk.data.subarray(3 * 512, 13 * 512).every((x) => x === 0)).toBe(true);
    expect(disk.data[13 * 512]).not.toBe(0);
    const b = d.buffer(PAGE);
    [0, 8, 100, 0, 0, 16, 200, 0].forEach((w, i) => d.mem.write32(b + i * 4, w));
    expect(d.run(1, { opcode: 9, prp1: b, dw: [1, 4] }).status).toBe(0);
    expect(disk.discarded).toEqual([[100 * 512, 8 * 512], [200 * 512, 16 * 512]]);
    d.mem.write32(b + 20, SECTORS);
    expect(d.run(1, { opcode: 9, prp1: b, dw: [1, 4] }).status).toBe(0x80);
    expect(disk.discarded).toHaveLength(2);
  });

  it('protects a read-only disk', () => {
    d = new NvmeDriver(new MemoryDisk(65536, true));
    d.start();
    expect(rw(WRITE, 0, 1, d.buffer(PAGE))).toBe(0x20);
    expect(d.run(1, { opcode: 8, dw: [0, 0, 0] }).status).toBe(0x20);
    const b = d.buffer(PAGE);
    d.admin({ opcode: 6, nsid: 1, prp1: b, dw: [0] });
    expect(bytes(b, PAGE)[99]).toBe(1);
  });

  it('wraps queues and waits while a completion queue is full', () => {
    for (let i = 0; i < 100; i++) expect(rw(READ, i, 1, 0x20_0000)).toBe(0);
    for (let n = 0; n < 15; n++) d.put(1, { opcode: 0 });
    d.ring(1);
    // All entries but one are taken; nothing more comes until the driver says that it has taken some.
    expect(d.take(1, false)).toHaveLength(15);
    for (let n = 0; n < 4; n++) d.put(1, { opcode: 0 });
    d.ring(1);
    expect(d.take(1, false)).toHaveLength(0);
    d.write(0x1004 + 8, d.pairs[1]!.head);
    expect(d.take(1)).toHaveLength(4);
  });

  it('interrupts by INTx with mask, and by MSI-X per queue', () => {
    d.put(1, { opcode: 0 });
    // Queue 1 has vector 1.
    d.ring(1);
    expect(d.intx).toBe(true);
    d.write(0x0c, 2);
    expect(d.intx).toBe(false);
    d.write(0x10, 2);
    expect(d.intx).toBe(true);
    d.take(1);
    expect(d.intx).toBe(false);
    d = new NvmeDriver(disk);
    d.start(true);
    d.messages.length = 0;
    d.put(1, { opcode: 0 });
    d.put(1, { opcode: 0 });
    d.ring(1);
    expect(d.messages).toEqual([0x41]);
    expect(d.intx).toBe(false);
  });

  it('comes back from a save in the middle of things', () => {
    for (let n = 0; n < 15; n++) d.put(1, { opcode: 0 });
    d.ring(1);
    d.take(1, false);
    d.put(1, { opcode: 0 });
    d.ring(1);
    const saved = JSON.stringify(d.dev.save());
    d.dev.reset();
    d.dev.restore(JSON.parse(saved) as ReturnType<typeof d.dev.save>);
    expect(JSON.stringify(d.dev.save())).toBe(saved);
    d.write(0x1004 + 8, d.pairs[1]!.head);
    expect(d.take(1)).toMatchObject([{ status: 0, sqid: 1 }]);
  });
});

describe('fuzz: nvme', () => {
  it.each([1, 2, 3])('registers, queues and commands, seed %i', (seed) => {
    fuzzDevice(() => {
      d = new NvmeDriver(new MemoryDisk(SECTORS * 512));
      d.start(true);
      const pick = [0, 0x10_0000, 0x20_0000, 0x20_0008, 0x20_0ff8, RAM - 8, RAM, 2 ** 51, 2 ** 63];
      return {
        device: d.dev,
        regions: [
          { io: { read: (o, s) => d.dev.configRead(o & ~(s - 1), s), write: (o, s, v) => d.dev.configWrite(o & ~(s - 1), s, v) }, length: 256 },
          { io: { read: (o, s) => d.mem.read(0xe000_0000 + o, s), write: (o, s, v) => d.mem.write(0xe000_0000 + o, s, v) }, length: 0x40 },
          { io: { read: (o, s) => d.mem.read(0xe000_1000 + o, s), write: (o, s, v) => d.mem.write(0xe000_1000 + o, s, v) }, length: 0x90, sizes: [4] },
        ],
        pokes: [
          (r) => d.mem.write32(0x1_0000 + (r % 0x10_0000 & ~3), r),
          // Lists of pages, and lists that lead to themselves.
          (r) => [0, 4].forEach((i) => d.mem.write32(0x20_0000 + (r % 4096 & ~7) + i, i === 0 ? pick[r % 5]! : 0)),
          (r) => {
            if (r % 4 !== 0) return;
            d.dev.reset();
            d.start(r % 8 === 0);
          },
          (r) => {
            const q = r & 1;
            if (d.pairs[q] === undefined) return;
            d.put(q, { opcode: (r >>> 1) % 16, nsid: r % 7 === 0 ? r : 1, prp1: pick[(r >>> 3) % pick.length], prp2: pick[(r >>> 5) % pick.length], dw: [r % 5000, r % 11 === 0 ? r : 0, r % 3 === 0 ? r : r & 0x3ff, r, r] });
            d.ring(q);
            d.take(q, (r & 16) !== 0);
          },
        ],
      };
    }, 4000, seed);
  });
});
