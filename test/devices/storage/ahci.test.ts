/** AHCI driven through its registers and command lists, as a driver does. */
import { beforeEach, describe, expect, it } from 'vitest';
import { MediaSlot } from '#lib/block/media.js';
import type { IoHandler } from '#lib/devices/device.js';
import { Ahci } from '#lib/devices/storage/ahci.js';
import { AtaDisk } from '#lib/devices/storage/ata/disk.js';
import { AtaPacketDevice } from '#lib/devices/storage/ata/packet.js';
import { ScsiCdRom } from '#lib/devices/storage/scsi/cdrom.js';
import { fuzzDevice } from '../fuzz.js';
import { TestMemory } from '../memory.js';
import { MemoryDisk } from './memory-disk.js';
import { placeBar, TestPciHost } from './pci-host.js';

const SECTORS = 4096;
const LIST = 0x1000;
const FISES = 0x2000;
const TABLES = 0x3000;
const BUFFER = 0x1_0000;

/** Generic and port registers. */
const GHC = 4;
const IS = 8;
const P = { CLB: 0, FB: 8, IS: 0x10, IE: 0x14, CMD: 0x18, TFD: 0x20, SIG: 0x24, SSTS: 0x28, SCTL: 0x2c, SERR: 0x30, SACT: 0x34, CI: 0x38 } as const;

let host: TestPciHost;
let memory: TestMemory;
let disk: MemoryDisk;
let cd: MemoryDisk;
let ahci: Ahci;
let abar: IoHandler;

const nothing = (): void => {};
const sataDisk = (d: MemoryDisk): AtaDisk => new AtaDisk({ disk: d, serial: 'sata', sata: true, log: nothing });
const sataCd = (d: MemoryDisk): AtaPacketDevice => new AtaPacketDevice({ unit: new ScsiCdRom(new MediaSlot(d), 'cd', nothing), serial: 'cd', sata: true, log: nothing });

beforeEach(() => {
  host = new TestPciHost();
  memory = new TestMemory(0x4_0000);
  disk = new MemoryDisk(SECTORS * 512).numbered();
  cd = new MemoryDisk(100 * 2048).numbered();
  ahci = new Ahci('ahci', host, 0xfa, { memory, devices: [sataDisk(disk), sataCd(cd)] });
  ahci.reset();
  abar = placeBar(host, ahci, 5, 'mmio', 0xfe00_0000);
  abar.write(GHC, 4, 2);
  for (const p of [0, 1]) {
    set(p, P.CLB, LIST + p * 0x400);
    set(p, P.FB, FISES + p * 0x100);
    set(p, P.SERR, 0xffff_ffff);
    set(p, P.IE, 0x7dc0_007f);
    set(p, P.CMD, 0x11);
  }
});

const get = (p: number, reg: number): number => abar.read(0x100 + p * 0x80 + reg, 4);
const set = (p: number, reg: number, v: number): void => abar.write(0x100 + p * 0x80 + reg, 4, v);

interface Command {
  code: number;
  lba?: number;
  count?: number;
  feature?: number;
  device?: number;
  /** Guest memory: address and bytes. */
  data?: [number, number][];
  packet?: number[];
}

/** Puts a command into a slot of port p. */
function prepare(p: number, slot: number, c: Command): void {
  const table = TABLES + (p * 32 + slot) * 0x100;
  const at = LIST + p * 0x400 + slot * 32;
  const data = c.data ?? [];
  memory.write32(at, 5 | (c.packet ? 0x20 : 0) | (data.length << 16));
  memory.write32(at + 4, 0xdead);
  memory.write32(at + 8, table);
  memory.write32(at + 12, 0);
  const lba = c.lba ?? 0;
  const b = (n: number): number => Math.floor(lba / 2 ** (8 * n)) & 0xff;
  const { feature = 0, count = 0 } = c;
  memory.ram.set([0x27, 0x80, c.code, feature & 0xff, b(0), b(1), b(2), c.device ?? 0x40, b(3), b(4), b(5), feature >> 8, count & 0xff, count >> 8, 0, 0, 0, 0, 0, 0], table);
  memory.ram.set(c.packet ?? [], table + 0x40);
  data.forEach(([address, bytes], i) => {
    memory.write32(table + 0x80 + 16 * i, address);
    memory.write32(table + 0x84 + 16 * i, 0);
    memory.write32(table + 0x8c + 16 * i, bytes - 1);
  });
}

function run(p: number, c: Command): void {
  prepare(p, 0, c);
  set(p, P.CI, 1);
}
const transferred = (p: number, slot = 0): number => memory.read32(LIST + p * 0x400 + slot * 32 + 4);
/** Register FIS from the device: type, flags, status, error. */
const fis = (p: number, at = 0x40): number[] => [...memory.ram.subarray(FISES + p * 0x100 + at, FISES + p * 0x100 + at + 4)];

describe('AHCI', () => {
  it('says what it can do and what is plugged in', () => {
    expect(abar.read(0, 4) & 0x1f).toBe(5);
    expect(abar.read(0, 4) >>> 30).toBe(3);
    expect(abar.read(0x0c, 4)).toBe(0x3f);
    expect(abar.read(0x10, 4)).toBe(0x1_0301);
    expect(abar.read(0x12, 2)).toBe(1);
    expect([0, 1, 2].map((p) => get(p, P.SSTS))).toEqual([0x123, 0x123, 0]);
    expect([0, 1, 2].map((p) => get(p, P.SIG))).toEqual([0x101, 0xeb14_0101, 0xffff_ffff]);
    expect([0, 1, 2].map((p) => get(p, P.TFD) & 0xff)).toEqual([0x50, 0, 0x7f]);
    expect(fis(0)).toEqual([0x34, 0, 0x50, 1]);
    expect(ahci.configRead(0x08, 4) >>> 8).toBe(0x010601);
  });

  it('reads and writes by DMA over several regions', () => {
    run(0, { code: 0x25, lba: 100, count: 4, data: [[BUFFER, 512], [BUFFER + 0x1000, 1024], [BUFFER + 0x4000, 512]] });
    expect(get(0, P.CI)).toBe(0);
    expect(transferred(0)).toBe(2048);
    expect([0, 0x1000, 0x1200, 0x4000].map((a) => memory.read32(BUFFER + a))).toEqual([100, 101, 102, 103]);
    expect([get(0, P.IS), abar.read(IS, 4), host.line.level]).toEqual([1, 1, true]);
    expect(fis(0)).toEqual([0x34, 0x40, 0x50, 0]);
    set(0, P.IS, 1);
    expect(host.line.level).toBe(true);
    abar.write(IS, 4, 1);
    expect(host.line.level).toBe(false);
    memory.ram.fill(0x77, BUFFER, BUFFER + 512);
    run(0, { code: 0x35, lba: 7, count: 1, data: [[BUFFER, 512]] });
    expect(disk.data.subarray(7 * 512, 8 * 512).every((b) => b === 0x77)).toBe(true);
    expect(disk.flushes).toBe(0);
    run(0, { code: 0xea });
    expect(disk.flushes).toBe(1);
    run(0, { code: 0x3d, lba: 7, count: 1, data: [[BUFFER, 512]] });
    expect(disk.flushes).toBe(2);
  });

  it('identifies by programmed I/O', () => {
    run(0, { code: 0xec, data: [[BUFFER, 512]] });
    expect(get(0, P.IS)).toBe(2);
    expect(fis(0, 0x20)).toEqual([0x5f, 0x60, 0x58, 0]);
    expect(memory.ram[FISES + 0x20 + 15]).toBe(0x50);
    expect(memory.read16(BUFFER + 75 * 2)).toBe(31);
    expect(memory.read16(BUFFER + 76 * 2) & 0x100).toBe(0x100);
    run(1, { code: 0xa1, data: [[BUFFER, 512]] });
    expect(memory.read16(BUFFER)).toBe(0x85c0);
    run(1, { code: 0xec, data: [[BUFFER, 512]] });
    expect(get(1, P.TFD) & 0xff).toBe(0x51);
    expect(get(1, P.IS) >>> 30).toBe(1);
  });

  it('runs queued commands and reports tags', () => {
    for (let tag = 0; tag < 3; tag++) prepare(0, tag, { code: 0x60, lba: 10 * tag, feature: 1, count: tag << 3, data: [[BUFFER + tag * 512, 512]] });
    set(0, P.SACT, 7);
    set(0, P.CI, 7);
    expect([get(0, P.SACT), get(0, P.CI), get(0, P.IS)]).toEqual([0, 0, 8]);
    expect([0, 1, 2].map((t) => memory.read32(BUFFER + t * 512))).toEqual([0, 10, 20]);
    expect([...memory.ram.subarray(FISES + 0x58, FISES + 0x60)]).toEqual([0xa1, 0x40, 0x50, 0, 4, 0, 0, 0]);
    memory.ram.fill(0x11, BUFFER, BUFFER + 1024);
    prepare(0, 5, { code: 0x61, lba: 50, feature: 2, count: 5 << 3, data: [[BUFFER, 1024]] });
    set(0, P.SACT, 32);
    set(0, P.CI, 32);
    expect(disk.data.subarray(50 * 512, 52 * 512).every((b) => b === 0x11)).toBe(true);
  });

  it('stops at a failed command until software starts it again', () => {
    disk.badSector = 20;
    for (const [tag, lba] of [[0, 10], [1, 20], [2, 30]] as const) prepare(0, tag, { code: 0x60, lba, feature: 1, count: tag << 3, data: [[BUFFER + tag * 512, 512]] });
    set(0, P.SACT, 7);
    set(0, P.CI, 7);
    expect(get(0, P.SACT)).toBe(6);
    expect(get(0, P.CI)).toBe(4);
    expect(get(0, P.IS) >>> 30).toBe(1);
    expect(get(0, P.TFD)).toBe(0x4051);
    // Recovery (6.2.2.2): stop, clear, start, read the log that names the tag.
    set(0, P.CMD, 0x10);
    expect([get(0, P.CI), get(0, P.SACT)]).toEqual([0, 0]);
    set(0, P.IS, 0xffff_ffff);
    set(0, P.CMD, 0x11);
    run(0, { code: 0x2f, lba: 0x10, count: 1, data: [[BUFFER, 512]] });
    expect([memory.ram[BUFFER], memory.ram[BUFFER + 4]]).toEqual([1, 20]);
    run(0, { code: 0x2f, lba: 0x10, count: 1, data: [[BUFFER, 512]] });
    expect(memory.ram[BUFFER]).toBe(0x80);
    run(0, { code: 0x25, lba: SECTORS, count: 1, data: [[BUFFER, 512]] });
    expect([get(0, P.CI), get(0, P.TFD)]).toEqual([1, 0x1051]);
    run(0, { code: 0xea });
    expect(get(0, P.CI)).toBe(1);
  });

  it('notices tables and memory that are not there', () => {
    const fatal = (): void => {
      expect(get(0, P.IS) & (1 << 29)).not.toBe(0);
      set(0, P.CMD, 0x10);
      set(0, P.IS, 0xffff_ffff);
      set(0, P.CMD, 0x11);
    };
    run(0, { code: 0x25, count: 1, data: [[0x7000_0000, 512]] });
    fatal();
    prepare(0, 0, { code: 0x25, count: 1 });
    memory.write32(LIST + 8, 0x7000_0000);
    set(0, P.CI, 1);
    fatal();
    prepare(0, 0, { code: 0x25, count: 1 });
    memory.write32(LIST + 12, 0xffff_ffff);
    set(0, P.CI, 1);
    fatal();
    set(0, P.CMD, 0x10);
    set(0, P.CLB, 0xffff_fc00);
    set(0, P.CMD, 0x11);
    set(0, P.CI, 1);
    fatal();
    set(0, P.CLB, LIST);
    // Too little memory for the data.
    run(0, { code: 0x25, count: 2, data: [[BUFFER, 512]] });
    expect(get(0, P.IS) & (1 << 30)).not.toBe(0);
    expect(transferred(0)).toBe(512);
  });

  it('carries packets', () => {
    run(1, { code: 0xa0, feature: 1, packet: [0] });
    expect(get(1, P.TFD)).toBe(0x6451);
    set(1, P.CMD, 0x10);
    set(1, P.CMD, 0x11);
    run(1, { code: 0xa0, feature: 1, packet: [0x28, 0, 0, 0, 0, 10, 0, 0, 2, 0], data: [[BUFFER, 4096]] });
    expect(get(1, P.CI)).toBe(0);
    expect([memory.read32(BUFFER), memory.read32(BUFFER + 2048)]).toEqual([40, 44]);
    expect(transferred(1)).toBe(4096);
    // By programmed I/O, and less data than there is room for.
    set(1, P.IS, 0xffff_ffff);
    run(1, { code: 0xa0, lba: 0xfffe00, packet: [0x25], data: [[BUFFER, 512]] });
    expect([...memory.ram.subarray(BUFFER, BUFFER + 8)]).toEqual([0, 0, 0, 99, 0, 0, 8, 0]);
    expect(get(1, P.IS)).toBe(3);
    expect(transferred(1)).toBe(8);
  });

  it('resets ports, devices and itself', () => {
    // COMRESET.
    set(0, P.SCTL, 1);
    expect(get(0, P.SSTS)).toBe(0);
    set(0, P.SCTL, 0);
    expect(get(0, P.SSTS)).toBe(0x123);
    expect(get(0, P.SERR)).toBe(0x0400_0000);
    expect(get(0, P.IS) & 0x40).toBe(0x40);
    set(0, P.SERR, 0xffff_ffff);
    expect(get(0, P.IS) & 0x40).toBe(0);
    // Software reset: two register FISes without a command.
    prepare(0, 0, { code: 0 });
    prepare(0, 1, { code: 0 });
    memory.ram[TABLES + 1] = memory.ram[TABLES + 0x101] = 0;
    memory.ram[TABLES + 15] = 4;
    memory.ram.fill(0, FISES, FISES + 0x100);
    set(0, P.CI, 3);
    expect(get(0, P.CI)).toBe(0);
    expect(fis(0)).toEqual([0x34, 0, 0x50, 1]);
    abar.write(GHC, 4, 1);
    expect(abar.read(GHC, 4)).toBe(0x8000_0000);
    expect([get(0, P.CMD) & 1, get(0, P.CLB), get(0, P.SIG)]).toEqual([0, LIST, 0x101]);
  });

  it('tells of devices that come and go', () => {
    set(0, P.IS, 0xffff_ffff);
    ahci.plug(0, null);
    expect(get(0, P.SSTS)).toBe(0);
    expect(get(0, P.IS)).toBe(1 << 22);
    expect(host.line.level).toBe(true);
    run(0, { code: 0xea });
    expect(get(0, P.CI)).toBe(1);
    ahci.plug(0, sataDisk(disk));
    expect(get(0, P.SERR)).toBe(0x0401_0000);
    expect(get(0, P.SSTS)).toBe(0x123);
    expect(get(0, P.SIG)).toBe(0x101);
  });

  it('sends messages once they are switched on', () => {
    const cap = ahci.configRead(0x34, 1);
    ahci.configWrite(cap + 4, 4, 0xfee0_1000);
    ahci.configWrite(cap + 12, 2, 0x41);
    ahci.configWrite(cap + 2, 2, 1);
    run(0, { code: 0xea });
    expect(host.messages).toEqual([[0xfee0_1000, 0x41]]);
    expect(host.line.level).toBe(false);
    // A second one while the first is not yet served, and what is left when that is cleared.
    run(1, { code: 0xe5 });
    expect(host.messages.length).toBe(2);
    set(0, P.IS, 1);
    abar.write(IS, 4, 1);
    expect(host.messages.length).toBe(3);
  });

  it('saves and restores', () => {
    run(0, { code: 0xef, feature: 0x82 });
    const saved = JSON.parse(JSON.stringify(ahci.save()));
    ahci.reset();
    ahci.restore(saved);
    expect(get(0, P.CLB)).toBe(LIST);
    memory.ram.fill(1, BUFFER, BUFFER + 512);
    abar = host.windows.get('mmio fe000000')!;
    run(0, { code: 0x35, count: 1, data: [[BUFFER, 512]] });
    // The write cache is still off.
    expect(disk.flushes).toBe(2);
  });

  it('survives fuzzing', () => {
    for (let seed = 1; seed <= 4; seed++) fuzzDevice(fuzzAhci, 6000, seed);
  });
});

function fuzzAhci(env: Parameters<Parameters<typeof fuzzDevice>[0]>[0]): ReturnType<Parameters<typeof fuzzDevice>[0]> {
  const pci = new TestPciHost();
  const device = new Ahci('ahci', pci, 0xfa, { memory: env.memory, devices: [sataDisk(new MemoryDisk(512 * 300)), sataCd(new MemoryDisk(64 * 2048)), null, sataDisk(new MemoryDisk(512 * 70, true))] });
  device.reset();
  const registers = placeBar(pci, device, 5, 'mmio', 0xfe00_0000);
  const config: IoHandler = { read: (a, size) => device.configRead(a & ~(size - 1), size), write: (a, size, v) => device.configWrite(a & ~(size - 1), size, v) };
  const codes = [0x25, 0x35, 0x60, 0x61, 0xa0, 0xa1, 0xec, 0xef, 0x06, 0xea, 0xb0, 0x2f, 0x47, 0x24, 0x34, 0xe5];
  const m = env.memory;
  return {
    device,
    regions: [{ io: registers, length: 0x400 }, { io: registers, length: 0x400, sizes: [4] }, { io: config, length: 256 }],
    pokes: [
      // A command that may well be valid.
      (r) => {
        const p = 0x100 + (r & 3) * 0x80;
        device.configWrite(4, 2, 6);
        for (const [reg, v] of [[P.CLB, 0x400], [P.FB, 0x800], [P.IE, 0xffff_ffff], [P.SCTL, 0], [P.CMD, 0], [P.CMD, 0x11]] as const) registers.write(p + reg, 4, v);
        m.write32(0x400, 0x20_0005 | (r & 0x20));
        m.write32(0x408, 0x1000);
        m.write32(0x40c, 0);
        m.ram.set([0x27, r & 0x700 ? 0x80 : 0, codes[(r >>> 2) & 15]!, r >>> 8, r >>> 12, 0, 0, 0x40, 0, 0, 0, 0, (r >>> 16) & 15, 0, 0, r & 4], 0x1000);
        m.ram.set([[0x28, 0x12, 0x43, 0x25, 0x4a, 0x5a, 0x46, 0xff][(r >>> 20) & 7]!, 2, 0, 0, 0, 1, 0, 0, 2], 0x1040);
        for (let i = 0; i < 0x20; i++) {
          m.write32(0x1080 + 16 * i, (r >>> (i & 15)) & 0xffff);
          m.write32(0x1084 + 16 * i, r & 0x8000_0000 ? 1 : 0);
          m.write32(0x108c + 16 * i, (r >>> i) & 0x1fff);
        }
        registers.write(p + P.SACT, 4, 1);
        registers.write(p + P.CI, 4, 1);
      },
      (r) => device.plug(2, r & 1 ? null : sataDisk(new MemoryDisk(512 * 64))),
    ],
  };
}
