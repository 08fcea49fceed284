/** Recognising and loading kernels of boards with a device tree. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archOfImage, kernelArch } from '#lib/boot/arch.js';
import { FdtNode, parseFdt } from '#lib/boot/fdt.js';
import { loadTreeBoot, type TreeBoot } from '#lib/boot/linux-image.js';
import { readElf64 } from '#lib/boot/elf64.js';
import { PhysicalMemory } from '#lib/memory/physical.js';

const MIB = 1024 * 1024;
const BASE = 0x8000_0000;
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-image-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function image(arch: 'riscv64' | 'aarch64', textOffset = 0x20_0000, size = 3 * MIB): Buffer {
  const b = Buffer.alloc(MIB);
  b.writeBigUInt64LE(BigInt(textOffset), 8);
  b.writeBigUInt64LE(BigInt(size), 16);
  if (arch === 'riscv64') b.write('RISCV\0\0\0RSC\x05', 48, 'latin1');
  else b.write('ARM\x64', 56, 'latin1');
  b.write('here', 0x1000);
  return b;
}

/** An executable with one segment and a symbol. */
function elf(pa: number, va: bigint, entry: bigint): Buffer {
  const b = Buffer.alloc(0x400);
  b.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  b.writeUInt16LE(2, 16);
  b.writeUInt16LE(243, 18);
  b.writeBigUInt64LE(entry, 24);
  b.writeBigUInt64LE(64n, 32);
  b.writeBigUInt64LE(0x200n, 40);
  b.writeUInt16LE(56, 54);
  b.writeUInt16LE(1, 56);
  b.writeUInt16LE(64, 58);
  b.writeUInt16LE(3, 60);
  b.writeUInt32LE(1, 64);
  b.writeBigUInt64LE(0x100n, 64 + 8);
  b.writeBigUInt64LE(va, 64 + 16);
  b.writeBigUInt64LE(BigInt(pa), 64 + 24);
  b.writeBigUInt64LE(16n, 64 + 32);
  b.writeBigUInt64LE(0x2000n, 64 + 40);
  b.write('segment contents', 0x100);
  // Sections: none, symbols (link 2), strings.
  b.writeUInt32LE(2, 0x240 + 4);
  b.writeBigUInt64LE(0x300n, 0x240 + 24);
  b.writeBigUInt64LE(48n, 0x240 + 32);
  b.writeUInt32LE(2, 0x240 + 40);
  b.writeBigUInt64LE(0x380n, 0x280 + 24);
  b.writeUInt32LE(1, 0x300 + 24);
  b.writeBigUInt64LE(0x8000_1000n, 0x300 + 32);
  b.write('\0tohost\0', 0x380);
  return b;
}

function boot(bytes: Buffer, more: Partial<TreeBoot> = {}): { memory: PhysicalMemory; r: ReturnType<typeof loadTreeBoot>; tree: FdtNode } {
  const kernel = join(dir, 'kernel');
  writeFileSync(kernel, bytes);
  const memory = new PhysicalMemory(new ArrayBuffer(64 * MIB), 0);
  memory.mapRam(BASE, 64 * MIB, 0);
  const tree = new FdtNode('');
  const r = loadTreeBoot({ memory, ram: { base: BASE, bytes: 64 * MIB }, kernel, initrd: null, append: 'a=1', firmwareBytes: MIB, tree, ...more });
  return { memory, r, tree };
}

describe('kernels', () => {
  it('are recognised by content, compressed or not', () => {
    expect(archOfImage(image('riscv64'))).toBe('riscv64');
    expect(archOfImage(image('aarch64'))).toBe('aarch64');
    expect(archOfImage(gzipSync(image('aarch64')).subarray(0, 600))).toBe('aarch64');
    expect(archOfImage(elf(BASE, 0n, 0n))).toBe('riscv64');
    expect(archOfImage(Buffer.alloc(4096))).toBeNull();
    const file = join(dir, 'gz');
    writeFileSync(file, gzipSync(image('riscv64')));
    expect(kernelArch(file, '--kernel')).toBe('riscv64');
  });

  it('are put where their header says, with initrd and tree', () => {
    const initrd = join(dir, 'initrd');
    writeFileSync(initrd, 'initrd contents');
    for (const bytes of [image('riscv64'), gzipSync(image('riscv64'))]) {
      const { memory, r } = boot(bytes, { initrd });
      expect(r.entry).toBe(BASE + 0x20_0000);
      expect(Buffer.from(memory.view(r.entry + 0x1000, 4)!).toString()).toBe('here');
      const back = parseFdt(memory.view(r.dtb, 4096)!, 'dtb');
      const chosen = back.at('chosen').props;
      expect(Buffer.from(chosen.get('bootargs')!).toString()).toBe('a=1\0');
      const start = Number(Buffer.from(chosen.get('linux,initrd-start')!).readBigUInt64BE(0));
      const end = Number(Buffer.from(chosen.get('linux,initrd-end')!).readBigUInt64BE(0));
      expect(Buffer.from(memory.view(start, end - start)!).toString()).toBe('initrd contents');
      expect(end).toBeLessThanOrEqual(r.dtb);
    }
  });

  it('do not overwrite firmware', () => {
    expect(boot(image('aarch64', 0)).r.entry).toBe(BASE + 0x20_0000);
    expect(boot(image('aarch64', 0), { firmwareBytes: 0 }).r.entry).toBe(BASE);
  });

  it('as ELF go to their physical addresses, and what follows their contents is zero', () => {
    const { memory, r } = boot(elf(BASE + 0x1000, 0xffff_ffff_8000_0000n, 0xffff_ffff_8000_0004n));
    expect(r.entry).toBe(BASE + 0x1004);
    expect(Buffer.from(memory.view(BASE + 0x1000, 16)!).toString()).toBe('segment contents');
    expect(r.elf!.symbol('tohost')).toBe(0x8000_1000);
    expect(r.elf!.symbol('nothing')).toBeNull();
  });

  it('that are damaged or too big are refused in one line', () => {
    expect(() => boot(image('riscv64', 0x20_0000, 1000 * MIB))).toThrow(/--kernel: .* leaves no room for the device tree/);
    expect(() => boot(image('riscv64', 2 ** 40))).toThrow(/damaged header/);
    expect(() => boot(Buffer.alloc(10, 1))).toThrow(/is no kernel/);
    expect(() => boot(gzipSync(image('riscv64')).subarray(0, 900))).toThrow(/--kernel: .*damaged/);
    expect(() => boot(elf(0x1000, 0n, 0n))).toThrow(/segment at 0x1000 does not fit/);
    expect(() => boot(elf(BASE, 0n, 0x9999n))).toThrow(/entry point lies in no segment/);
    const e = elf(BASE, 0n, 0n);
    for (let cut = 20; cut < e.length; cut += 7) {
      try {
        readElf64(e.subarray(0, cut), 'x');
      } catch (err) {
        expect((err as Error).message).toMatch(/^x: /);
      }
    }
  });
});
