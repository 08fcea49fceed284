/** Virtio over PCI, driven from the driver's side: transport, queues, hostile rings, and the device models. */
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtioBlk } from '#lib/devices/virtio/blk.js';
import { VirtioConsole } from '#lib/devices/virtio/console.js';
import { VirtioRng } from '#lib/devices/virtio/rng.js';
import { fuzzDevice } from '../fuzz.js';
import { MemoryDisk } from '../storage/memory-disk.js';
import { DESC, RAM_BYTES, VirtioDriver } from '../virtio-driver.js';

const EVENT_IDX = 1 << 29;
const NEEDS_RESET = 64;

function request(type: number, sector: number): Uint8Array {
  const h = new DataView(new ArrayBuffer(16));
  h.setUint32(0, type, true);
  h.setUint32(8, sector % 2 ** 32, true);
  h.setUint32(12, Math.floor(sector / 2 ** 32), true);
  return new Uint8Array(h.buffer);
}

describe('transport', () => {
  let d: VirtioDriver;
  beforeEach(() => {
    d = new VirtioDriver(new VirtioRng((b) => b.fill(0x5a)));
  });

  it('is found in configuration space', () => {
    expect(d.config(0)).toBe(0x1044_1af4);
    d.probe();
    expect([...d.caps.keys()].sort()).toEqual([1, 2, 3, 4]);
    expect(d.queueCount()).toBe(1);
    expect(d.status).toBe(0);
  });

  it('refuses features it did not offer and drivers without VERSION_1', () => {
    d.probe();
    const f = d.features();
    expect(f.hi & 1).toBe(1);
    expect(d.negotiate(f.lo, 0)).toBe(false);
    d.status = 0;
    expect(d.negotiate((f.lo | 1) >>> 0, f.hi)).toBe(false);
    d.status = 0;
    expect(d.negotiate(f.lo, f.hi)).toBe(true);
  });

  it('does nothing before DRIVER_OK, without bus mastering, and after a reset', () => {
    d.probe();
    const f = d.features();
    d.negotiate((f.lo & ~EVENT_IDX) >>> 0, f.hi);
    d.enable(0);
    d.add(0, [], [8]);
    d.kick(0);
    expect(d.returned(0)).toEqual([]);
    d.status = 15;
    d.setConfig(4, 2, 2);
    d.kick(0);
    expect(d.returned(0)).toEqual([]);
    d.setConfig(4, 6, 2);
    d.kick(0);
    expect(d.returned(0)).toHaveLength(1);
    d.status = 0;
    d.add(0, [], [8]);
    d.kick(0);
    expect(d.returned(0)).toEqual([]);
    expect(d.status).toBe(0);
  });

  it('interrupts by INTx until the ISR is read', () => {
    d.start(16, EVENT_IDX);
    d.add(0, [], [8]);
    d.kick(0);
    expect(d.intx).toBe(true);
    expect(d.config(6, 2) & 8).toBe(8);
    expect(d.read(3, 0, 1)).toBe(1);
    expect(d.intx).toBe(false);
    expect(d.read(3, 0, 1)).toBe(0);
  });

  it('interrupts by MSI-X with the queue vector', () => {
    d.start(16, EVENT_IDX);
    d.useMsix();
    d.add(0, [], [8]);
    d.kick(0);
    expect(d.messages).toEqual([{ address: 0xfee0_0000, data: 0x41 }]);
    expect(d.intx).toBe(false);
  });

  it('keeps quiet when the driver asks for that', () => {
    d.start(16, EVENT_IDX);
    d.mem.write16(d.rings[0]!.avail, 1);
    d.add(0, [], [8]);
    d.kick(0);
    expect(d.returned(0)).toHaveLength(1);
    expect(d.intx).toBe(false);
  });

  it('honours the event index', () => {
    d.start(16);
    // Interrupt after the third buffer.
    d.mem.write16(d.rings[0]!.avail + 4 + 16 * 2, 2);
    for (let i = 0; i < 3; i++) {
      d.add(0, [], [8]);
      d.kick(0);
      expect(d.intx).toBe(i === 2);
    }
    // The device says from which buffer on it wants notifications: the next one.
    expect(d.mem.read16(d.rings[0]!.used + 4 + 16 * 8)).toBe(3);
  });

  it('takes 70000 buffers through a ring of 4: indices wrap', () => {
    d.start(4, EVENT_IDX);
    const at = d.buffer(4);
    for (let i = 0; i < 4; i++) d.setDesc(d.rings[0]!.desc, i, at, 4, DESC.WRITE, 0);
    let n = 0;
    for (let i = 0; i < 70_000; i++) {
      d.offer(0, i % 4);
      d.kick(0);
      n += d.returned(0).length;
    }
    expect(n).toBe(70_000);
  });

  it('comes back from a save in the middle of things', () => {
    d.start(16, EVENT_IDX);
    d.add(0, [], [8]);
    d.kick(0);
    d.returned(0);
    const saved = JSON.stringify(d.pci.save());
    d.pci.reset();
    d.pci.restore(JSON.parse(saved) as ReturnType<typeof d.pci.save>);
    expect(JSON.stringify(d.pci.save())).toBe(saved);
    d.add(0, [], [8]);
    d.kick(0);
    expect(d.returned(0)).toEqual([{ id: 1, len: 8 }]);
  });
});

describe('hostile rings', () => {
  let d: VirtioDriver;
  beforeEach(() => {
    d = new VirtioDriver(new VirtioRng((b) => b.fill(1)));
    d.start(16, EVENT_IDX);
  });
  const broken = (why: RegExp): void => {
    d.kick(0);
    expect(d.status & NEEDS_RESET).toBe(NEEDS_RESET);
    expect(d.logs).toHaveLength(1);
    expect(d.logs[0]).toMatch(why);
    // Once is enough: nothing more happens, or is logged, until the driver resets.
    d.kick(0);
    expect(d.logs).toHaveLength(1);
    d.status = 0;
    expect(d.status).toBe(0);
    d.start(16, EVENT_IDX);
    d.mem.write32(d.rings[0]!.avail, 0);
    d.mem.write32(d.rings[0]!.used, 0);
    d.add(0, [], [8]);
    d.kick(0);
    expect(d.returned(0)).toEqual([{ id: 0, len: 8 }]);
  };
  const table = (): number => d.rings[0]!.desc;

  it('a chain that loops', () => {
    d.setDesc(table(), 0, 0x1000, 16, DESC.WRITE | DESC.NEXT, 1);
    d.setDesc(table(), 1, 0x1000, 16, DESC.WRITE | DESC.NEXT, 0);
    d.offer(0, 0);
    broken(/loops/);
  });
  it('a descriptor index out of range', () => {
    d.setDesc(table(), 0, 0x1000, 16, DESC.WRITE | DESC.NEXT, 16);
    d.offer(0, 0);
    broken(/out of range/);
  });
  it('a head out of range', () => {
    d.offer(0, 500);
    broken(/out of range/);
  });
  it('an available index that runs ahead', () => {
    d.mem.write16(d.rings[0]!.avail + 2, 17);
    broken(/runs ahead/);
  });
  it('a readable piece after a writable one', () => {
    d.setDesc(table(), 0, 0x1000, 16, DESC.WRITE | DESC.NEXT, 1);
    d.setDesc(table(), 1, 0x1000, 16, 0, 0);
    d.offer(0, 0);
    broken(/readable descriptor after/);
  });
  it('an address of 64 bits', () => {
    d.setDesc(table(), 0, 0, 16, DESC.WRITE, 0);
    d.mem.write32(table() + 4, 0xffff_ffff);
    d.offer(0, 0);
    broken(/address too large/);
  });
  it('an indirect table outside RAM', () => {
    d.setDesc(table(), 0, RAM_BYTES, 64, DESC.INDIRECT, 0);
    d.offer(0, 0);
    broken(/bad indirect/);
  });
  it('an indirect table of an odd size', () => {
    d.setDesc(table(), 0, 0x1000, 20, DESC.INDIRECT, 0);
    d.offer(0, 0);
    broken(/bad indirect/);
  });
  it('an indirect table within an indirect table', () => {
    const inner = d.buffer(32);
    d.setDesc(inner, 0, inner, 32, DESC.INDIRECT, 0);
    d.setDesc(table(), 0, inner, 32, DESC.INDIRECT, 0);
    d.offer(0, 0);
    broken(/bad indirect/);
  });
  it('an indirect chain that loops', () => {
    const inner = d.buffer(32);
    d.setDesc(inner, 0, 0x1000, 4, DESC.WRITE | DESC.NEXT, 1);
    d.setDesc(inner, 1, 0x1000, 4, DESC.WRITE | DESC.NEXT, 0);
    d.setDesc(table(), 0, inner, 32, DESC.INDIRECT, 0);
    d.offer(0, 0);
    broken(/loops/);
  });
  it('rings outside RAM', () => {
    d.status = 0;
    d.probe();
    const f = d.features();
    d.negotiate((f.lo & ~EVENT_IDX) >>> 0, f.hi);
    d.enable(0, 16, { used: RAM_BYTES - 16 });
    expect(d.status & NEEDS_RESET).toBe(NEEDS_RESET);
    expect(d.logs[0]).toMatch(/outside RAM/);
  });
  it('buffers outside RAM write nothing and end nothing', () => {
    d.setDesc(table(), 0, RAM_BYTES + 0x1000, 64, DESC.WRITE, 0);
    d.offer(0, 0);
    d.kick(0);
    expect(d.returned(0)).toEqual([{ id: 0, len: 0 }]);
  });
  it('buffers of 4 GiB', () => {
    d.setDesc(table(), 0, 0x1000, 0xffff_ffff, DESC.WRITE, 0);
    d.offer(0, 0);
    d.kick(0);
    expect(d.returned(0)[0]!.len).toBeLessThanOrEqual(4096);
  });
});

describe('virtio-rng', () => {
  it('fills what it is given, directly and through an indirect table', () => {
    let next = 1;
    const d = new VirtioDriver(new VirtioRng((b) => b.forEach((_, i) => (b[i] = next++))));
    d.start(16, EVENT_IDX);
    const [a] = d.add(0, [], [5]);
    const [b, c] = d.add(0, [], [2, 3], true);
    d.kick(0);
    expect(d.returned(0)).toEqual([{ id: 0, len: 5 }, { id: 1, len: 5 }]);
    expect([...d.bytes(a!, 5), ...d.bytes(b!, 2), ...d.bytes(c!, 3)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

describe('virtio-blk', () => {
  const SECTORS = 64;
  let disk: MemoryDisk;
  let d: VirtioDriver;
  const open = (readonly = false): void => {
    disk = new MemoryDisk(SECTORS * 512, readonly);
    d = new VirtioDriver(new VirtioBlk(disk, 'serial-number-longer-than-twenty', (m) => void d.logs.push(m)));
    d.start(16, EVENT_IDX);
  };
  beforeEach(() => open());

  /** Runs one request; @returns its status byte. */
  const run = (type: number, sector: number, out: Uint8Array[], into: number[]): { status: number; data: Uint8Array[]; len: number } => {
    const at = d.add(0, [request(type, sector), ...out], [...into, 1]);
    d.kick(0);
    const [r] = d.returned(0);
    return { status: d.bytes(at.at(-1)!, 1)[0]!, data: into.map((n, i) => d.bytes(at[i]!, n)), len: r!.len };
  };

  it('says how big it is', () => {
    expect(d.read(4, 0, 4)).toBe(SECTORS);
    expect(d.read(4, 4, 4)).toBe(0);
    expect(d.read(4, 20, 4)).toBe(512);
  });

  it('writes, reads back and flushes', () => {
    const data = Uint8Array.from({ length: 1024 }, (_, i) => i * 7);
    // Split where no sector ends.
    expect(run(1, 3, [data.subarray(0, 100), data.subarray(100)], [])).toMatchObject({ status: 0, len: 1 });
    expect(disk.data.subarray(1536, 2560)).toEqual(data);
    const r = run(0, 3, [], [700, 324]);
    expect(r).toMatchObject({ status: 0, len: 1025 });
    expect(Buffer.concat(r.data).equals(data)).toBe(true);
    expect(run(4, 0, [], [])).toMatchObject({ status: 0 });
    expect(disk.flushes).toBe(1);
  });

  it('tells its serial number, cut to 20 bytes', () => {
    const r = run(8, 0, [], [20]);
    expect(Buffer.from(r.data[0]!).toString()).toBe('serial-number-longer');
  });

  it('refuses what lies beyond the end, odd lengths and unknown requests', () => {
    expect(run(0, SECTORS, [], [512]).status).toBe(1);
    expect(run(0, SECTORS - 1, [], [1024]).status).toBe(1);
    expect(run(0, 2 ** 55, [], [512]).status).toBe(1);
    expect(run(1, SECTORS - 1, [new Uint8Array(1024)], []).status).toBe(1);
    expect(run(0, 0, [], [500]).status).toBe(1);
    expect(run(99, 0, [], []).status).toBe(2);
    expect(disk.data.every((b) => b === 0)).toBe(true);
  });

  it('reports errors of the disk', () => {
    disk.badSector = 2;
    expect(run(0, 0, [], [2048]).status).toBe(1);
    expect(d.logs[0]).toContain('sector 2 is bad');
  });

  it('refuses writes to a read-only disk', () => {
    open(true);
    expect(d.features().lo & 32).toBe(32);
    expect(run(1, 0, [new Uint8Array(512).fill(1)], []).status).toBe(1);
    expect(disk.data[0]).toBe(0);
  });

  const range = (sector: number, sectors: number, flags = 0): Uint8Array => {
    const v = new DataView(new ArrayBuffer(16));
    [sector, 0, sectors, flags].forEach((w, i) => v.setUint32(i * 4, w, true));
    return new Uint8Array(v.buffer);
  };

  it('discards and writes zeroes, several ranges at once or none of them', () => {
    disk.data.fill(7);
    expect(run(13, 0, [Buffer.concat([range(1, 2, 1), range(8, 1)])], [])).toMatchObject({ status: 0, len: 1 });
    expect([0, 1, 2, 3, 8, 9].map((s) => disk.data[s * 512])).toEqual([7, 0, 0, 7, 0, 7]);
    expect(run(11, 0, [Buffer.concat([range(4, 4), range(16, 8)])], []).status).toBe(0);
    expect(disk.discarded).toEqual([[2048, 2048], [8192, 4096]]);
    expect(run(11, 0, [Buffer.concat([range(4, 4), range(SECTORS, 1)])], []).status).toBe(1);
    expect(run(11, 0, [range(4, 4, 1)], []).status).toBe(2);
    expect(run(13, 0, [range(4, 4, 2)], []).status).toBe(2);
    expect(run(11, 0, [new Uint8Array(15)], []).status).toBe(1);
    expect(run(11, 0, [new Uint8Array(16 * 17)], []).status).toBe(1);
    expect(disk.discarded).toHaveLength(2);
    open(true);
    expect(run(13, 0, [range(0, 1)], []).status).toBe(1);
  });

  it('says what it can: topology, write cache, queues, limits', () => {
    expect(d.features().lo & 0x7640).toBe(0x6640);
    expect([d.read(4, 24, 1), d.read(4, 26, 2), d.read(4, 32, 1), d.read(4, 34, 2), d.read(4, 40, 4), d.read(4, 56, 1)]).toEqual([3, 8, 1, 1, 16, 1]);
  });

  it('flushes every write when the driver has switched the write cache off, or knows none', () => {
    const data = new Uint8Array(512);
    run(1, 0, [data], []);
    expect(disk.flushes).toBe(0);
    d.write(4, 32, 1, 0);
    expect(disk.flushes).toBe(1);
    run(1, 0, [data], []);
    expect(disk.flushes).toBe(2);
    const saved = JSON.stringify(d.pci.save());
    d.status = 0;
    d.pci.restore(JSON.parse(saved) as ReturnType<typeof d.pci.save>);
    expect(d.read(4, 32, 1)).toBe(0);
    d.status = 0;
    d.start(16, EVENT_IDX | 512);
    expect(d.read(4, 32, 1)).toBe(0);
  });

  it('serves several queues', () => {
    disk = new MemoryDisk(SECTORS * 512).numbered();
    d = new VirtioDriver(new VirtioBlk(disk, 's', () => {}, 3));
    d.start(16, EVENT_IDX);
    expect(d.queueCount()).toBe(3);
    for (const q of [2, 0, 1]) {
      const [data] = d.add(q, [request(0, q + 5)], [512, 1]);
      d.kick(q);
      expect(d.returned(q)).toHaveLength(1);
      expect(d.mem.read32(data!)).toBe(q + 5);
    }
  });

  it('survives chains without header or status', () => {
    for (const [out, into] of [[[], [1]], [[new Uint8Array(4)], [1]], [[request(0, 0)], []], [[new Uint8Array(16)], [0]]] as [Uint8Array[], number[]][]) {
      d.add(0, out, into);
      d.kick(0);
      expect(d.returned(0)).toHaveLength(1);
    }
    expect(d.status & NEEDS_RESET).toBe(0);
  });

  it('fails a read into memory that is none', () => {
    const header = d.buffer(request(0, 0));
    const status = d.buffer(1);
    const { desc } = d.rings[0]!;
    d.setDesc(desc, 0, header, 16, DESC.NEXT, 1);
    d.setDesc(desc, 1, RAM_BYTES, 512, DESC.WRITE | DESC.NEXT, 2);
    d.setDesc(desc, 2, status, 1, DESC.WRITE, 0);
    d.mem.write8(status, 0xff);
    d.offer(0, 0);
    d.kick(0);
    expect(d.mem.read8(status)).toBe(1);
  });
});

describe('virtio-console', () => {
  let out: string;
  let dev: VirtioConsole;
  let d: VirtioDriver;
  beforeEach(() => {
    out = '';
    dev = new VirtioConsole((b) => (out += Buffer.from(b).toString('latin1')));
    d = new VirtioDriver(dev);
    d.start(16, EVENT_IDX);
  });

  it('sends', () => {
    d.add(1, [Buffer.from('hello, '), Buffer.from('x'.repeat(5000))], []);
    d.kick(1);
    expect(out).toBe(`hello, ${'x'.repeat(5000)}`);
    expect(d.returned(1)).toHaveLength(1);
  });

  it('receives, into what buffers there are', () => {
    expect(dev.receive(Buffer.from('abcdef'))).toBe(6);
    const [a] = d.add(0, [], [4]);
    const [b] = d.add(0, [], [4]);
    d.kick(0);
    expect(d.returned(0)).toEqual([{ id: 0, len: 4 }, { id: 1, len: 2 }]);
    expect(Buffer.from(d.bytes(a!, 4)).toString() + Buffer.from(d.bytes(b!, 2)).toString()).toBe('abcdef');
  });

  it('keeps a bounded amount of input', () => {
    expect(dev.receive(new Uint8Array(100_000))).toBe(65536);
    expect(dev.receive(new Uint8Array(1))).toBe(0);
  });
});

describe.each([
  ['rng', () => new VirtioRng((b) => b.fill(3))],
  ['blk', () => new VirtioBlk(new MemoryDisk(65536), 'fuzz', () => {})],
  ['console', () => new VirtioConsole(() => {})],
] as const)('fuzz: virtio-%s', (_name, make) => {
  it.each([1, 2, 3])('registers and rings, seed %i', (seed) => {
    fuzzDevice(() => {
      const d = new VirtioDriver(make());
      d.start(16);
      const bar = (n: number): { read: (o: number, s: number) => number; write: (o: number, s: number, v: number) => void } => ({
        read: (o, s) => d.mem.read(2 ** 32 + (d.config(0x10 + n * 4) & ~15) + o, s),
        write: (o, s, v) => d.mem.write(2 ** 32 + (d.config(0x10 + n * 4) & ~15) + o, s, v),
      });
      return {
        device: d.pci,
        regions: [
          { io: { read: (o, s) => d.pci.configRead(o & ~(s - 1), s), write: (o, s, v) => d.pci.configWrite(o & ~(s - 1), s, v) }, length: 256 },
          { io: bar(4), length: 0x40 },
          { io: bar(4), length: 0x4000 },
          { io: bar(1), length: 0x1000 },
        ],
        pokes: [
          // Garbage where the rings are.
          (r) => d.mem.write32(0x1_0000 + (r % 0x2_0000 & ~3), r),
          (r) => {
            if (d.rings[0] !== undefined && (r & 3) === 0) d.start(16);
          },
          (r) => {
            d.add(0, [Uint8Array.of(r)], [r % 64]);
            d.kick(0);
          },
        ],
      };
    }, 3000, seed);
  });
});
