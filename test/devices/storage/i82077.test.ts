import { beforeEach, describe, expect, it } from 'vitest';
import { MediaSlot } from '#lib/block/media.js';
import { ManualClock } from '#lib/devices/clock.js';
import { I8237 } from '#lib/devices/dma/i8237.js';
import { DriveType, FLOPPY_FORMATS, FloppyDrive, floppyFormat } from '#lib/devices/storage/floppy-drive.js';
import { I82077 } from '#lib/devices/storage/i82077.js';
import { fuzzDevice, TestLine } from '../fuzz.js';
import { TestMemory } from '../memory.js';
import { MemoryDisk } from './memory-disk.js';

const KIB = 1024;
const BUFFER = 0x1_0000;
const MS = 1_000_000;

let clock: ManualClock;
let memory: TestMemory;
let dma: I8237;
let irq: TestLine;
let disk: MemoryDisk;
let slot: MediaSlot;
let fdc: I82077;
const log: string[] = [];

function build(size = 1440 * KIB, type = DriveType.M1_44, readonly = false): void {
  clock = new ManualClock(1_000_000_000);
  memory = new TestMemory(0x4_0000);
  dma = new I8237({ memory });
  irq = new TestLine();
  disk = new MemoryDisk(size, readonly).numbered();
  slot = new MediaSlot(disk);
  log.length = 0;
  fdc = new I82077({ clock, irq, dma, drives: [new FloppyDrive(type, slot)], log: (m) => log.push(m) });
  // Out of reset, interrupts on; the four drives that polling finds; 500 kbit/s.
  out(2, 0x0c);
  for (let i = 0; i < 4; i++) expect(command(0x08)).toEqual([0xc0 | i, 0]);
  fdc.controlPort.write(0, 1, 0);
  command(0x03, 0xdf, 0x02);
}

const out = (port: number, v: number): void => fdc.ports.write(port, 1, v);
const status = (): number => fdc.ports.read(4, 1);

/** Writes a command as a driver does, and reads its result if there is one. */
function command(...bytes: number[]): number[] {
  for (const b of bytes) {
    expect(status() & 0xc0).toBe(0x80);
    out(5, b);
  }
  return result();
}

function result(): number[] {
  const r: number[] = [];
  while ((status() & 0xd0) === 0xd0) r.push(fdc.ports.read(5, 1));
  return r;
}

/** Channel 2 for so many bytes at BUFFER: 46h to memory, 4Ah from memory. */
function setUpDma(mode: 0x46 | 0x4a, bytes: number): void {
  dma.low.write(0x0a, 1, 6);
  dma.low.write(0x0c, 1, 0);
  dma.low.write(0x04, 1, 0);
  dma.low.write(0x04, 1, 0);
  dma.pages.write(1, 1, BUFFER >> 16);
  dma.low.write(0x05, 1, (bytes - 1) & 0xff);
  dma.low.write(0x05, 1, (bytes - 1) >> 8);
  dma.low.write(0x0b, 1, mode);
  dma.low.write(0x0a, 1, 2);
}

/** A data command: parameters, then its interrupt, then its result. */
function transfer(...bytes: number[]): number[] {
  expect(command(...bytes)).toEqual([]);
  expect(status()).toBe(0x10);
  clock.advance(MS);
  expect(irq.level).toBe(true);
  const r = result();
  expect(irq.level).toBe(false);
  return r;
}

function seek(track: number): void {
  command(0x0f, 0, track);
  clock.advance(MS);
  expect(command(0x08)).toEqual([0x20, track]);
}

const sectorAt = (at: number): number => new DataView(memory.ram.buffer).getUint32(BUFFER + at * 512, true);

describe('82077AA', () => {
  beforeEach(() => build());

  it('reports drives after a reset, and only then', () => {
    expect(command(0x08)).toEqual([0x80]);
    out(2, 0x08);
    expect(status()).toBe(0);
    out(2, 0x0c);
    expect(irq.level).toBe(true);
    expect(command(0x08)).toEqual([0xc0, 0]);
    expect(irq.level).toBe(false);
    // A reset through the data rate select register ends by itself.
    out(4, 0x80);
    expect(status()).toBe(0x80);
    expect(irq.level).toBe(true);
    // Without polling there is nothing to report.
    command(0x13, 0, 0x17, 0);
    command(0x94);
    out(2, 0x08);
    out(2, 0x0c);
    expect(irq.level).toBe(true);
  });

  it('identifies itself and keeps its settings', () => {
    expect(command(0x10)).toEqual([0x90]);
    command(0x13, 0, 0x57, 0x11);
    command(0x12, 0x84);
    expect(command(0x94)).toEqual([0x10]);
    expect(command(0x0e)).toEqual([0, 0, 0, 0, 0xdf, 0x02, 0, 0x84, 0x57, 0x11]);
    // LOCK keeps the FIFO's parameters over a software reset; polling and implied seeks go back.
    out(4, 0x80);
    expect(command(0x0e)).toEqual([0, 0, 0, 0, 0xdf, 0x02, 0, 0x84, 0x07, 0x11]);
    expect(command(0x14)).toEqual([0]);
    out(4, 0x80);
    expect(command(0x0e).slice(8)).toEqual([0x20, 0]);
  });

  it('answers unknown commands with 80h', () => {
    for (const c of [0x00, 0x01, 0x18, 0x33, 0x83, 0x4f, 0xff]) expect(command(c)).toEqual([0x80]);
    expect(irq.level).toBe(false);
  });

  it('reads by DMA until terminal count', () => {
    seek(3);
    setUpDma(0x46, 3 * 512);
    // Sectors 17, 18 of side 0 and 1 of side 1.
    expect(transfer(0xe6, 0, 3, 0, 17, 2, 18, 0x1b, 0xff)).toEqual([0x04, 0, 0, 3, 1, 2, 2]);
    expect([0, 1, 2].map(sectorAt)).toEqual([3 * 36 + 16, 3 * 36 + 17, 3 * 36 + 18]);
  });

  it('says where it would go on (table 5-5)', () => {
    setUpDma(0x46, 512);
    expect(transfer(0x66, 0, 0, 0, 18, 2, 18, 0x1b, 0xff).slice(3)).toEqual([1, 0, 1, 2]);
    setUpDma(0x46, 512);
    expect(transfer(0xe6, 4, 0, 1, 18, 2, 18, 0x1b, 0xff).slice(3)).toEqual([1, 0, 1, 2]);
  });

  it('ends at the end of the track without terminal count', () => {
    setUpDma(0x46, 3 * 512);
    expect(transfer(0x66, 0, 0, 0, 18, 2, 18, 0x1b, 0xff).slice(0, 3)).toEqual([0x40, 0x80, 0]);
  });

  it('writes by DMA, fills up a sector cut short, and flushes', () => {
    memory.ram.fill(0xa5, BUFFER, BUFFER + 1024);
    setUpDma(0x4a, 512 + 100);
    expect(transfer(0x45, 4, 0, 1, 1, 2, 18, 0x1b, 0xff)).toEqual([0x04, 0, 0, 0, 1, 3, 2]);
    expect([...disk.data.subarray(18 * 512, 18 * 512 + 2)]).toEqual([0xa5, 0xa5]);
    expect([...disk.data.subarray(19 * 512 + 98, 19 * 512 + 102)]).toEqual([0xa5, 0xa5, 0, 0]);
    expect(disk.data[20 * 512]).toBe(20);
    expect(disk.flushes).toBe(1);
  });

  it('moves bytes by programmed I/O', () => {
    command(0x03, 0xdf, 0x03);
    command(0x46, 0, 0, 0, 2, 2, 2, 0x1b, 0xff);
    clock.advance(MS);
    expect(irq.level).toBe(true);
    const got = [];
    while (status() === 0xf0) got.push(fdc.ports.read(5, 1));
    expect(got.length).toBe(512);
    expect(got.slice(0, 6)).toEqual([1, 0, 0, 0, 1, 1]);
    // Nobody can signal terminal count.
    expect(result()).toEqual([0x40, 0x80, 0, 1, 0, 1, 2]);
    command(0x45, 0, 0, 0, 1, 2, 1, 0x1b, 0xff);
    clock.advance(MS);
    for (let i = 0; status() === 0xb0; i++) out(5, i & 0xff);
    expect(result().slice(0, 3)).toEqual([0x40, 0x80, 0]);
    expect([...disk.data.subarray(510, 512)]).toEqual([0xfe, 0xff]);
  });

  it('waits for its DMA channel, but not for ever', () => {
    command(0x66, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    clock.advance(10 * MS);
    expect(irq.level).toBe(false);
    setUpDma(0x46, 512);
    clock.advance(2 * MS);
    expect(result().slice(0, 3)).toEqual([0, 0, 0]);
    command(0x66, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    clock.advance(300 * MS);
    expect(result().slice(0, 3)).toEqual([0x40, 0x10, 0]);
  });

  it('finds no sector where there is none', () => {
    const error = (...p: number[]): number[] => {
      setUpDma(0x46, 512);
      return transfer(0x66, ...p, 18, 0x1b, 0xff).slice(0, 3);
    };
    expect(error(0, 0, 0, 19, 2)).toEqual([0x40, 0x04, 0]);
    expect(error(0, 1, 0, 1, 2)).toEqual([0x40, 0x04, 0x10]);
    expect(error(0, 0, 1, 1, 2)).toEqual([0x40, 0x04, 0]);
    expect(error(0, 0, 0, 1, 3)).toEqual([0x40, 0x04, 0]);
    // Nothing is readable at another data rate, in FM, without a disk, or without a drive.
    fdc.controlPort.write(0, 1, 2);
    expect(error(0, 0, 0, 1, 2)).toEqual([0x40, 0x01, 0]);
    fdc.controlPort.write(0, 1, 0);
    setUpDma(0x46, 512);
    expect(transfer(0x26, 0, 0, 0, 1, 2, 18, 0x1b, 0xff).slice(0, 3)).toEqual([0x40, 0x01, 0]);
    expect(error(1, 0, 0, 1, 2)).toEqual([0x41, 0x01, 0]);
    slot.insert(null);
    expect(error(0, 0, 0, 1, 2)).toEqual([0x40, 0x01, 0]);
  });

  it('reports what the image cannot do', () => {
    disk.badSector = 4;
    setUpDma(0x46, 8 * 512);
    expect(transfer(0x66, 0, 0, 0, 1, 2, 18, 0x1b, 0xff)).toEqual([0x40, 0x20, 0x20, 0, 0, 5, 2]);
    expect(log.length).toBe(1);
    build(1440 * KIB, DriveType.M1_44, true);
    setUpDma(0x4a, 512);
    expect(transfer(0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff).slice(0, 3)).toEqual([0x40, 0x02, 0]);
    setUpDma(0x4a, 4);
    expect(transfer(0x4d, 0, 2, 1, 0x54, 0).slice(0, 3)).toEqual([0x40, 0x02, 0]);
    expect(command(0x04, 0)).toEqual([0x78]);
  });

  it('seeks, recalibrates and clears the disk change line', () => {
    expect(fdc.controlPort.read(0, 1) & 0x80).toBe(0x80);
    command(0x0f, 0, 40);
    expect(status()).toBe(0x81);
    clock.advance(MS);
    expect(irq.level).toBe(true);
    expect(command(0x08)).toEqual([0x20, 40]);
    expect(fdc.controlPort.read(0, 1) & 0x80).toBe(0);
    // Relative: out by 10, in by 4.
    command(0x8f, 0, 10);
    clock.advance(MS);
    expect(command(0x08)).toEqual([0x20, 30]);
    command(0xcf, 0, 4);
    clock.advance(MS);
    expect(command(0x08)).toEqual([0x20, 34]);
    expect(command(0x04, 0)).toEqual([0x28]);
    command(0x07, 0);
    clock.advance(MS);
    expect(command(0x08)).toEqual([0x20, 0]);
    expect(command(0x04, 4)).toEqual([0x3c]);
    // A drive that is not there has no track 0.
    command(0x07, 3);
    clock.advance(MS);
    expect(command(0x08)).toEqual([0x73, 0]);
    slot.insert(new MemoryDisk(720 * KIB).numbered());
    expect(fdc.controlPort.read(0, 1) & 0x80).toBe(0x80);
  });

  it('seeks by itself if told to', () => {
    command(0x13, 0, 0x40, 0);
    setUpDma(0x46, 512);
    expect(transfer(0x66, 0, 7, 0, 1, 2, 18, 0x1b, 0xff).slice(0, 3)).toEqual([0, 0, 0]);
    expect(sectorAt(0)).toBe(7 * 36);
  });

  it('formats', () => {
    for (let i = 0; i < 18; i++) memory.ram.set([0, 0, i + 1, 2], BUFFER + i * 4);
    setUpDma(0x4a, 72);
    expect(transfer(0x4d, 0, 2, 18, 0x54, 0xe5).slice(0, 3)).toEqual([0, 0, 0]);
    expect(disk.data.subarray(0, 18 * 512).every((b) => b === 0xe5)).toBe(true);
    expect(disk.data[18 * 512]).toBe(18);
  });

  it('verifies and compares', () => {
    expect(transfer(0xd6, 0x80, 0, 0, 1, 2, 18, 0x1b, 36).slice(0, 3)).toEqual([0x00, 0, 0]);
    expect(transfer(0xd6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff).slice(0, 3)).toEqual([0x00, 0, 0]);
    expect(transfer(0xd6, 0, 0, 0, 1, 2, 20, 0x1b, 0xff).slice(1, 3)).toEqual([0x04, 0]);
    expect(transfer(0x56, 0x80, 0, 0, 17, 2, 18, 0x1b, 3).slice(1, 3)).toEqual([0x80, 0]);
    // Equal at once; low or equal: the disk has less; not met up to the end of the track.
    memory.ram.set(disk.data.subarray(0, 512), BUFFER);
    setUpDma(0x4a, 512);
    expect(transfer(0x51, 0, 0, 0, 1, 2, 18, 0x1b, 1).slice(0, 3)).toEqual([0, 0, 0x08]);
    memory.ram.fill(0x7f, BUFFER, BUFFER + 512);
    setUpDma(0x4a, 512);
    expect(transfer(0x59, 0, 0, 0, 2, 2, 18, 0x1b, 1).slice(0, 3)).toEqual([0, 0, 0]);
    memory.ram.fill(0x7f, BUFFER, BUFFER + 1024);
    setUpDma(0x4a, 1024);
    expect(transfer(0x51, 0, 0, 0, 1, 2, 2, 0x1b, 1).slice(0, 3)).toEqual([0, 0, 0x04]);
  });

  it('keeps deleted data marks', () => {
    setUpDma(0x4a, 512);
    transfer(0x49, 0, 0, 0, 2, 2, 18, 0x1b, 0xff);
    // Reading ends after the sector with the other mark, or skips it.
    setUpDma(0x46, 2048);
    expect(transfer(0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff)).toEqual([0, 0, 0x40, 0, 0, 3, 2]);
    setUpDma(0x46, 1024);
    expect(transfer(0x66, 0, 0, 0, 1, 2, 18, 0x1b, 0xff)).toEqual([0, 0, 0x40, 0, 0, 4, 2]);
    expect([0, 1].map(sectorAt)).toEqual([0, 2]);
    setUpDma(0x46, 512);
    expect(transfer(0x4c, 0, 0, 0, 2, 2, 18, 0x1b, 0xff).slice(0, 3)).toEqual([0, 0, 0]);
  });

  it('reads a whole track and its addresses', () => {
    setUpDma(0x46, 18 * 512);
    expect(transfer(0x42, 0, 0, 0, 1, 2, 18, 0x1b, 0xff).slice(0, 3)).toEqual([0, 0, 0]);
    expect([0, 17].map(sectorAt)).toEqual([0, 17]);
    setUpDma(0x46, 512);
    expect(transfer(0x42, 0, 9, 0, 1, 2, 18, 0x1b, 0xff).slice(0, 3)).toEqual([0, 0x04, 0]);
    seek(5);
    const id = transfer(0x4a, 4);
    expect(id.slice(0, 5)).toEqual([0x04, 0, 0, 5, 1]);
    expect(id[5]).toBeGreaterThanOrEqual(1);
    expect(id[5]).toBeLessThanOrEqual(18);
  });

  it('needs the gate for its interrupt', () => {
    out(2, 0x04);
    command(0x0f, 0, 1);
    clock.advance(MS);
    expect(irq.level).toBe(false);
    out(2, 0x0c);
    expect(irq.level).toBe(true);
  });

  it('has the formats of image sizes', () => {
    for (const kib of [160, 180, 320, 360, 720, 1200, 1440, 1600, 1680, 1722, 1743, 2880]) expect(floppyFormat(kib * KIB), String(kib)).not.toBeNull();
    expect(floppyFormat(1000 * KIB)).toBeNull();
    for (const f of FLOPPY_FORMATS) {
      const size = f.tracks * f.heads * f.sectors * 512;
      expect(floppyFormat(size)).toBe(f);
      build(size, f.drive);
      fdc.controlPort.write(0, 1, f.rates[0]!);
      const [c, h, r] = [f.tracks - 1, f.heads - 1, f.sectors];
      seek(c);
      setUpDma(0x46, 512);
      expect(transfer(0x46, h << 2, c, h, r, 2, r, 0x1b, 0xff).slice(1, 3)).toEqual([0, 0]);
      expect(sectorAt(0)).toBe(size / 512 - 1);
    }
  });

  it('goes on after a save in the middle of a transfer', () => {
    command(0x03, 0xdf, 0x03);
    command(0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    clock.advance(MS);
    for (let i = 0; i < 100; i++) fdc.ports.read(5, 1);
    const saved = JSON.parse(JSON.stringify(fdc.save()));
    for (let i = 0; i < 1000; i++) fdc.ports.read(5, 1);
    fdc.restore(saved);
    const rest = [];
    for (let i = 0; i < 412 + 4; i++) rest.push(fdc.ports.read(5, 1));
    expect(rest.slice(-4)).toEqual([1, 0, 0, 0]);
  });

  it('survives fuzzing', () => {
    for (let seed = 1; seed <= 4; seed++) fuzzDevice(fuzzFloppy, 8000, seed);
  });
});

function fuzzFloppy(env: Parameters<Parameters<typeof fuzzDevice>[0]>[0]): ReturnType<Parameters<typeof fuzzDevice>[0]> {
  const channel = new I8237({ memory: new TestMemory(0x2_0000) });
  const media = new MediaSlot(new MemoryDisk(720 * KIB).numbered());
  const device = new I82077({ clock: env.clock, irq: env.line(), dma: channel, drives: [new FloppyDrive(DriveType.M1_44, media), new FloppyDrive(DriveType.K360, new MediaSlot(null))], log: () => {} });
  device.ports.write(2, 1, 0x0c);
  const opcodes = [0x66, 0xc5, 0x4d, 0x51, 0xd6, 0x42, 0x0f, 0x07, 0x08, 0x03, 0x4a, 0x13];
  return {
    device,
    regions: [{ io: device.ports, length: 6 }, { io: device.controlPort, length: 1 }],
    pokes: [
      (r) => media.insert(r & 1 ? null : new MemoryDisk((r & 2 ? 720 : 1440) * KIB)),
      // A command, more or less.
      (r) => {
        device.ports.write(2, 1, 0x0c);
        device.ports.write(5, 1, opcodes[r % opcodes.length]!);
        for (let i = 1; i < 9; i++) device.ports.write(5, 1, (r >>> (i * 3)) & 7);
      },
      (r) => {
        channel.low.write(0x0b, 1, r & 1 ? 0x46 : 0x4a);
        channel.low.write(0x0a, 1, 2);
        channel.low.write(0x05, 1, r >>> 8);
      },
    ],
  };
}
