/** Kernel loaders: formats they take, and files that are damaged in every way, which must give UsageError and nothing else. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadKernel, type LoadRequest, Low } from '#lib/boot/loader.js';
import type { CpuStart } from '#lib/boards/board.js';
import { UsageError } from '#lib/errors.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { randomFrom } from '../devices/fuzz.js';
import { tinyKernel } from '../boot/tiny.js';

const RAM = 32 * 1024 * 1024;
let dir: string;
let memory: PhysicalMemory;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-loader-'));
  memory = new PhysicalMemory(new ArrayBuffer(RAM), 0);
  memory.mapRam(0, 0xa_0000, 0);
  memory.mapRam(0xc_0000, RAM - 0xc_0000, 0xc_0000);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function load(image: Buffer, more: Partial<LoadRequest> & { initrdBytes?: Buffer } = {}): CpuStart {
  const kernel = join(dir, 'kernel');
  writeFileSync(kernel, image);
  let initrd: string | null = null;
  if (more.initrdBytes !== undefined) writeFileSync((initrd = join(dir, 'initrd')), more.initrdBytes);
  return loadKernel({ memory, ramBytes: RAM, highBytes: 0, textMode: false, kernel, initrd, append: 'root=/dev/vda', rsdp: 0xf_0000, ...more });
}
const at = (pa: number, n: number): Buffer => {
  const b = Buffer.alloc(n);
  memory.readInto(pa, b);
  return b;
};
const text = (pa: number): string => at(pa, 4096).toString('latin1').split('\0')[0]!;

function bzImage(): Buffer {
  const b = Buffer.alloc(1024 + 8192);
  b[0x1f1] = 1;
  b.writeUInt32LE(8192 / 16, 0x1f4);
  b.writeUInt16LE(0xaa55, 0x1fe);
  b[0x201] = 0x66;
  b.write('HdrS', 0x202, 'latin1');
  b.writeUInt16LE(0x020f, 0x206);
  b[0x211] = 1;
  b.writeUInt32LE(0x10_0000, 0x214);
  b.writeUInt32LE(0x7fff_ffff, 0x22c);
  b.writeUInt32LE(0x20_0000, 0x230);
  b[0x234] = 1;
  b.writeUInt16LE(1, 0x236);
  b.writeUInt32LE(2047, 0x238);
  b.writeUInt32LE(0x100_0000, 0x258);
  b.writeUInt32LE(0x40_0000, 0x260);
  b.fill(0x90, 1024);
  return b;
}

interface ElfOptions {
  wide: boolean;
  machine?: number;
  note?: boolean;
}

/** An ELF kernel: a segment of 256 bytes (512 in memory) at 2 MiB, and a note with the PVH entry. */
function elf({ wide, machine = wide ? 62 : 3, note = true }: ElfOptions): Buffer {
  const b = Buffer.alloc(0x400);
  b.write('\x7fELF', 0, 'latin1');
  b[4] = wide ? 2 : 1;
  b[5] = b[6] = 1;
  b.writeUInt16LE(2, 16);
  b.writeUInt16LE(machine, 18);
  const [head, ent] = wide ? [64, 56] : [52, 32];
  if (wide) {
    b.writeUInt32LE(0x20_0000, 24);
    b.writeUInt32LE(head, 32);
    b.writeUInt16LE(ent, 54);
    b.writeUInt16LE(note ? 2 : 1, 56);
  } else {
    b.writeUInt32LE(0x20_0000, 24);
    b.writeUInt32LE(head, 28);
    b.writeUInt16LE(ent, 42);
    b.writeUInt16LE(note ? 2 : 1, 44);
  }
  const segment = (i: number, type: number, offset: number, addr: number, filesz: number, memsz: number): void => {
    const p = head + i * ent;
    b.writeUInt32LE(type, p);
    const [o, v, pa, f, m] = wide ? [8, 16, 24, 32, 40] : [4, 8, 12, 16, 20];
    [[o, offset], [v, addr], [pa, addr], [f, filesz], [m, memsz]].forEach(([k, x]) => b.writeUInt32LE(x!, p + k!));
  };
  segment(0, 1, 0x200, 0x20_0000, 256, 512);
  b.fill(0xcc, 0x200, 0x300);
  if (note) {
    segment(1, 4, 0x300, 0, 20, 20);
    b.writeUInt32LE(4, 0x300);
    b.writeUInt32LE(4, 0x304);
    b.writeUInt32LE(18, 0x308);
    b.write('Xen\0', 0x30c, 'latin1');
    b.writeUInt32LE(0x20_0040, 0x310);
  }
  return b;
}

describe('bzImage', () => {
  it('starts at the 64-bit entry with identity paging and boot parameters', () => {
    const s = load(bzImage(), { initrdBytes: Buffer.alloc(5000, 7) });
    expect(s).toMatchObject({ mode: 'long64', rip: 0x100_0200, regs: { rsi: Low.INFO }, cr3: Low.PAGE_TABLES });
    expect(at(0x100_0000, 8192).every((x) => x === 0x90)).toBe(true);
    const zp = at(Low.INFO, 4096);
    expect(zp.toString('latin1', 0x202, 0x206)).toBe('HdrS');
    expect(zp.readUInt32LE(0x228)).toBe(Low.CMDLINE);
    expect(text(Low.CMDLINE)).toBe('root=/dev/vda');
    expect(zp.readUInt32LE(0x070)).toBe(0xf_0000);
    const initrd = zp.readUInt32LE(0x218);
    expect(zp.readUInt32LE(0x21c)).toBe(5000);
    expect(initrd % 4096).toBe(0);
    expect(at(initrd, 5000).every((x) => x === 7)).toBe(true);
    // The memory map covers RAM without overlaps and leaves the hole at 640 KiB out.
    const map = Array.from({ length: zp[0x1e8]! }, (_, i) => ({ base: Number(zp.readBigUInt64LE(0x2d0 + i * 20)), size: Number(zp.readBigUInt64LE(0x2d8 + i * 20)), type: zp.readUInt32LE(0x2e0 + i * 20) }));
    map.slice(1).forEach((r, i) => expect(r.base).toBeGreaterThanOrEqual(map[i]!.base + map[i]!.size));
    expect(map.filter((r) => r.type === 1).at(-1)).toEqual({ base: 0x10_0000, size: RAM - 0x10_0000, type: 1 });
    // The page tables map the first 4 GiB to themselves.
    const tables = at(Low.PAGE_TABLES, 6 * 4096);
    for (const mib of [0, 2, 1022, 1024, 4094]) expect(tables.readBigUInt64LE(0x2000 + (mib / 2) * 8)).toBe(BigInt(mib) * 0x10_0000n + 0x83n);
  });

  it('starts at the 32-bit entry where there is no other', () => {
    const k = bzImage();
    k.writeUInt16LE(0, 0x236);
    expect(load(k)).toMatchObject({ mode: 'protected32', rip: 0x10_0000, regs: { rsi: Low.INFO } });
  });

  it('moves a relocatable kernel down where memory is small', () => {
    expect(load(bzImage(), { ramBytes: 16 * 1024 * 1024 })).toMatchObject({ rip: 0x20_0200 });
  });
});

describe('ELF', () => {
  it.each([true, false])('with a PVH note, 64-bit: %s', (wide) => {
    memory.writeFrom(0x20_0000, Buffer.alloc(1024, 0xff));
    const s = load(elf({ wide }), { initrdBytes: Buffer.alloc(100, 9) });
    expect(s).toMatchObject({ mode: 'protected32', rip: 0x20_0040 });
    expect(at(0x20_0000, 256).every((x) => x === 0xcc)).toBe(true);
    // BSS is zero, and nothing after it is touched.
    expect(at(0x20_0100, 256).every((x) => x === 0)).toBe(true);
    expect(at(0x20_0200, 16).every((x) => x === 0xff)).toBe(true);
    const info = at(s.regs.rbx!, 0x200);
    expect(info.readUInt32LE(0)).toBe(0x336e_c578);
    expect(info.readUInt32LE(12)).toBe(1);
    expect(text(info.readUInt32LE(24))).toBe('root=/dev/vda');
    expect(at(info.readUInt32LE(0x80), 100).every((x) => x === 9)).toBe(true);
  });

  it('without a note or for another machine is refused', () => {
    expect(() => load(elf({ wide: true, note: false }))).toThrow(/neither a PVH entry note nor a multiboot header/);
    expect(() => load(elf({ wide: true, machine: 183 }))).toThrow(/another architecture \(ELF machine 183\)/);
  });
});

describe('multiboot', () => {
  it('with address fields', () => {
    const s = load(tinyKernel('x', { kind: 'halt' }), { initrdBytes: Buffer.from('module') });
    expect(s).toMatchObject({ mode: 'protected32', rip: 0x10_0020, regs: { rax: 0x2bad_b002 } });
    const info = at(s.regs.rbx!, 0x400);
    expect(text(info.readUInt32LE(16))).toMatch(/kernel root=\/dev\/vda$/);
    expect(info.readUInt32LE(20)).toBe(1);
    const mods = info.readUInt32LE(24);
    const [start, end] = [at(mods, 8).readUInt32LE(0), at(mods, 8).readUInt32LE(4)];
    expect(at(start, end - start).toString()).toBe('module');
  });
});

describe('what cannot be loaded', () => {
  it('too long a command line, an initrd that does not fit, a kernel that does not fit', () => {
    expect(() => load(bzImage(), { append: 'x'.repeat(3000) })).toThrow(/^--append: /);
    expect(() => load(tinyKernel('', { kind: 'halt' }), { append: 'x'.repeat(70_000) })).toThrow(/^--append: /);
    expect(() => load(bzImage(), { initrdBytes: Buffer.alloc(RAM) })).toThrow(/^--initrd: /);
    expect(() => load(bzImage(), { ramBytes: 2 * 1024 * 1024 })).toThrow(/^--kernel: .*needs \d+M of memory/);
    const k = bzImage();
    k.writeUInt16LE(0x0205, 0x206);
    expect(() => load(k)).toThrow(/boot protocol 2\.05/);
  });

  const seeds: [string, () => Buffer][] = [
    ['bzImage', bzImage],
    ['ELF64', () => elf({ wide: true })],
    ['ELF32', () => elf({ wide: false })],
    ['multiboot', () => tinyKernel('x', { kind: 'halt' })],
    ['multiboot ELF', () => {
      const b = elf({ wide: false });
      [0x1bad_b002, 0, (-0x1bad_b002) >>> 0].forEach((w, i) => b.writeUInt32LE(w, 0x200 + i * 4));
      return b;
    }],
  ];
  it.each(seeds)('a damaged %s gives UsageError or loads', (_name, make) => {
    const random = randomFrom(42);
    const interesting = [0, 1, 0x7f, 0x80, 0xff];
    for (let i = 0; i < 400; i++) {
      let b = make();
      for (let n = 1 + (random() % 4); n > 0; n--) {
        // Headers more often than contents.
        const limit = random() % 4 === 0 ? b.length : Math.min(b.length, 0x280);
        const where = random() % limit;
        const kind = random() % 3;
        if (kind === 0) b[where] = random() & 0xff;
        else if (kind === 1) b[where] = interesting[random() % interesting.length]!;
        else if (where + 4 <= b.length) b.writeUInt32LE(random() % 2 === 0 ? 0xffff_ffff - (random() % 4) : random(), where);
      }
      if (random() % 5 === 0) b = b.subarray(0, random() % b.length);
      try {
        const s = load(b, random() % 3 === 0 ? { initrdBytes: Buffer.alloc(random() % 9000) } : {});
        expect(Number.isInteger(s.rip)).toBe(true);
      } catch (e) {
        if (!(e instanceof UsageError)) throw e;
      }
    }
  });
});
