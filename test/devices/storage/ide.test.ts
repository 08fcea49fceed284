/** PIIX IDE with disks and a CD-ROM, driven through its ports as a driver does. */
import { beforeEach, describe, expect, it } from 'vitest';
import { MediaSlot } from '#lib/block/media.js';
import type { IoHandler } from '#lib/devices/device.js';
import { AtaDisk } from '#lib/devices/storage/ata/disk.js';
import { AtaPacketDevice } from '#lib/devices/storage/ata/packet.js';
import { PiixIde } from '#lib/devices/storage/piix-ide.js';
import { ScsiCdRom } from '#lib/devices/storage/scsi/cdrom.js';
import { fuzzDevice, TestLine } from '../fuzz.js';
import { TestMemory } from '../memory.js';
import { MemoryDisk } from './memory-disk.js';
import { placeBar, TestPciHost } from './pci-host.js';

const SECTORS = 4096;
const PRDT = 0x100;
const BUFFER = 0x1_0000;

let host: TestPciHost;
let memory: TestMemory;
let irqs: [TestLine, TestLine];
let disk: MemoryDisk;
let second: MemoryDisk;
let cd: MemoryDisk;
let slot: MediaSlot;
let ide: PiixIde;
let bm: IoHandler;
const decoded: boolean[] = [];
const log: string[] = [];

beforeEach(() => {
  host = new TestPciHost();
  memory = new TestMemory(0x8_0000);
  irqs = [new TestLine(), new TestLine()];
  disk = new MemoryDisk(SECTORS * 512).numbered();
  second = new MemoryDisk(64 * 512, true);
  cd = new MemoryDisk(100 * 2048).numbered();
  slot = new MediaSlot(cd);
  const logger = (m: string): void => void log.push(m);
  const devices = [
    new AtaDisk({ disk, serial: 'one', sata: false, log: logger }),
    new AtaDisk({ disk: second, serial: 'two', sata: false, log: logger }),
    new AtaPacketDevice({ unit: new ScsiCdRom(slot, 'cd', logger), serial: 'cd', sata: false, log: logger }),
    null,
  ];
  ide = new PiixIde(host, 9, { memory, irqs, devices, onDecode: (n, on) => (decoded[n] = on) });
  ide.reset();
  bm = placeBar(host, ide, 4, 'port', 0xc000);
});

const port = (n: number): IoHandler => ide.channels[n]!.command;
const out = (n: number, reg: number, v: number): void => port(n).write(reg, 1, v);
const get = (n: number, reg: number): number => port(n).read(reg, 1);
const alternate = (n: number): number => ide.channels[n]!.control.read(0, 1);

/** 28-bit task file and command. */
function command(n: number, device: number, code: number, lba = 0, count = 0, feature = 0): void {
  out(n, 6, 0xe0 | (device << 4) | ((lba >>> 24) & 15));
  out(n, 1, feature);
  out(n, 2, count & 0xff);
  out(n, 3, lba & 0xff);
  out(n, 4, (lba >>> 8) & 0xff);
  out(n, 5, (lba >>> 16) & 0xff);
  out(n, 7, code);
}

/** 48-bit. */
function commandExt(n: number, device: number, code: number, lba: number, count: number): void {
  out(n, 6, 0x40 | (device << 4));
  out(n, 2, count >>> 8);
  out(n, 2, count & 0xff);
  for (const [reg, shift] of [[3, 24], [4, 32], [5, 40], [3, 0], [4, 8], [5, 16]] as const) out(n, reg, Math.floor(lba / 2 ** shift) & 0xff);
  out(n, 7, code);
}

/** Reads words while the device has some. */
function readWords(n: number): Uint16Array {
  const words: number[] = [];
  while (alternate(n) & 8) words.push(port(n).read(0, 2));
  return Uint16Array.from(words);
}
const first32 = (words: Uint16Array, at: number): number => words[at * 256]! | (words[at * 256 + 1]! << 16);

function prdt(...entries: [address: number, bytes: number][]): void {
  entries.forEach(([a, bytes], i) => {
    memory.write32(PRDT + 8 * i, a);
    memory.write32(PRDT + 8 * i + 4, (bytes & 0xffff) + (i === entries.length - 1 ? 0x8000_0000 : 0));
  });
  bm.write(4, 4, PRDT);
}

describe('PIIX IDE', () => {
  it('decodes its ports when the timing registers say so', () => {
    expect(decoded).toEqual([true, true]);
    ide.configWrite(0x42, 2, 0);
    expect(decoded).toEqual([true, false]);
    ide.configWrite(0x42, 2, 0x8000);
    ide.configWrite(4, 2, 0);
    expect(decoded).toEqual([false, false]);
    ide.enable();
    expect(decoded).toEqual([true, true]);
    expect(ide.configRead(0x08, 4) >>> 8).toBe(0x010180);
  });

  it('shows what is there', () => {
    command(0, 0, 0xec);
    expect(irqs[0].level).toBe(true);
    expect(get(0, 7)).toBe(0x58);
    expect(irqs[0].level).toBe(false);
    const id = readWords(0);
    expect(id.length).toBe(256);
    expect(id[60]! | (id[61]! << 16)).toBe(SECTORS);
    expect(id[49]! & 0x300).toBe(0x300);
    expect(String.fromCharCode(...[...id.subarray(10, 12)].flatMap((w) => [w >> 8, w & 0xff]))).toBe('one ');
    expect([...new Uint8Array(id.buffer)].reduce((a, b) => (a + b) & 0xff)).toBe(0);
    expect(alternate(0)).toBe(0x50);
    // A packet device refuses, and says what it is.
    command(1, 0, 0xec);
    expect(get(1, 7) & 1).toBe(1);
    expect([get(1, 4), get(1, 5)]).toEqual([0x14, 0xeb]);
    command(1, 0, 0xa1);
    expect(readWords(1)[0]).toBe(0x85c0);
    // Nothing answers for the device that is not there, and commands to it are not carried out.
    command(1, 1, 0xec);
    expect(get(1, 7)).toBe(0);
    expect(irqs[1].level).toBe(false);
  });

  it('has a floating bus without devices', () => {
    const empty = new PiixIde(host, 10, { memory, irqs, devices: [], onDecode: () => {} });
    empty.channels[0].command.write(2, 1, 0x55);
    expect([1, 2, 6, 7].map((r) => empty.channels[0].command.read(r, 1))).toEqual([0x7f, 0x7f, 0x7f, 0x7f]);
    expect(empty.channels[0].command.read(0, 2)).toBe(0xffff);
  });

  it('resets by software, both devices at once', () => {
    command(0, 1, 0x20, 0, 1);
    ide.channels[0].control.write(0, 1, 4);
    expect(alternate(0)).toBe(0x80);
    ide.channels[0].control.write(0, 1, 0);
    expect([1, 2, 3, 4, 5, 7].map((r) => get(0, r))).toEqual([1, 1, 1, 0, 0, 0x50]);
    ide.channels[1].control.write(0, 1, 4);
    ide.channels[1].control.write(0, 1, 0);
    expect([1, 2, 3, 4, 5, 7].map((r) => get(1, r))).toEqual([1, 1, 1, 0x14, 0xeb, 0]);
  });

  it('reads by programmed I/O, one interrupt a sector', () => {
    const before = irqs[0].rises;
    command(0, 0, 0x20, 100, 3);
    const words = [];
    while (get(0, 7) & 8) for (let i = 0; i < 256; i++) words.push(port(0).read(0, 2));
    expect(irqs[0].rises - before).toBe(3);
    expect([0, 1, 2].map((i) => first32(Uint16Array.from(words), i))).toEqual([100, 101, 102]);
    // 32 bits at a time, and blocks of 16 sectors.
    command(0, 0, 0xc4, 7, 20);
    const rises = irqs[0].rises;
    expect(port(0).read(0, 4)).toBe(7);
    expect(readWords(0).length).toBe(20 * 256 - 2);
    expect(irqs[0].rises - rises).toBe(0);
    // Cylinder, head, sector.
    out(0, 6, 0xa1);
    out(0, 2, 1);
    out(0, 3, 2);
    out(0, 4, 0);
    out(0, 5, 0);
    out(0, 7, 0x20);
    expect(first32(readWords(0), 0)).toBe(63 + 1);
  });

  it('writes by programmed I/O', () => {
    command(0, 0, 0x30, 10, 2);
    expect(irqs[0].level).toBe(false);
    for (let i = 0; i < 256; i++) port(0).write(0, 2, i);
    expect(irqs[0].level).toBe(true);
    expect(get(0, 7)).toBe(0x58);
    for (let i = 0; i < 128; i++) port(0).write(0, 4, 0x1234_5678);
    expect(get(0, 7)).toBe(0x50);
    expect([...disk.data.subarray(5120, 5126)]).toEqual([0, 0, 1, 0, 2, 0]);
    expect([...disk.data.subarray(11 * 512, 11 * 512 + 4)]).toEqual([0x78, 0x56, 0x34, 0x12]);
    expect(disk.flushes).toBe(0);
    command(0, 0, 0xe7);
    expect(disk.flushes).toBe(1);
    // Without write cache each write is flushed.
    command(0, 0, 0xef, 0, 0, 0x82);
    command(0, 0, 0x30, 10, 1);
    for (let i = 0; i < 256; i++) port(0).write(0, 2, i);
    expect(disk.flushes).toBe(3);
  });

  it('refuses what does not exist', () => {
    command(0, 0, 0x20, SECTORS - 1, 2);
    expect([get(0, 7), get(0, 1)]).toEqual([0x51, 0x10]);
    command(0, 0, 0x9a);
    expect([get(0, 7), get(0, 1)]).toEqual([0x51, 0x04]);
    command(0, 1, 0x30, 0, 1);
    expect([get(0, 7), get(0, 1)]).toEqual([0x51, 0x04]);
    // Native command queuing is not for parallel ATA.
    command(0, 0, 0x60);
    expect([get(0, 7), get(0, 1)]).toEqual([0x51, 0x04]);
    command(0, 0, 0xa0);
    expect([get(0, 7), get(0, 1)]).toEqual([0x51, 0x04]);
  });

  it('moves data by bus master in both directions', () => {
    prdt([BUFFER, 1024], [0x2_0000, 512]);
    command(0, 0, 0xc8, 200, 3);
    expect(irqs[0].level).toBe(false);
    bm.write(0, 1, 9);
    expect(irqs[0].level).toBe(true);
    expect(bm.read(2, 1)).toBe(0x04);
    expect([BUFFER, BUFFER + 512, 0x2_0000].map((a) => memory.read32(a))).toEqual([200, 201, 202]);
    bm.write(0, 1, 0);
    bm.write(2, 1, 0x66);
    expect(bm.read(2, 1)).toBe(0x60);
    expect(get(0, 7)).toBe(0x50);
    // The bus master first, then the command; the table is longer than the data.
    memory.ram.fill(0x5a, BUFFER, BUFFER + 4096);
    prdt([BUFFER, 4096]);
    bm.write(0, 1, 1);
    commandExt(0, 0, 0x35, 300, 2);
    expect(bm.read(2, 1)).toBe(0x65);
    expect(disk.data.subarray(300 * 512, 302 * 512).every((b) => b === 0x5a)).toBe(true);
    expect(disk.data[302 * 512]).toBe(302 & 0xff);
  });

  it('ends a transfer as the tables say', () => {
    // Too short a table: the device waits for more.
    prdt([BUFFER, 512]);
    command(0, 0, 0xc8, 0, 2);
    bm.write(0, 1, 9);
    expect([bm.read(2, 1), irqs[0].level]).toEqual([0, false]);
    bm.write(0, 1, 0);
    prdt([BUFFER + 512, 512]);
    bm.write(0, 1, 9);
    expect([bm.read(2, 1), irqs[0].level]).toEqual([4, true]);
    expect(memory.read32(BUFFER + 512)).toBe(1);
    // Memory that is none.
    bm.write(0, 1, 0);
    bm.write(2, 1, 6);
    prdt([0x7000_0000, 512]);
    command(0, 0, 0xc8, 0, 1);
    bm.write(0, 1, 9);
    expect(bm.read(2, 1)).toBe(6);
    expect(get(0, 7) & 1).toBe(1);
    // A table that is nowhere.
    bm.write(0, 1, 0);
    bm.write(2, 1, 6);
    bm.write(4, 4, 0xffff_fff0);
    command(0, 0, 0xc8, 0, 1);
    bm.write(0, 1, 9);
    expect(bm.read(2, 1)).toBe(6);
    // No bus mastering, no transfer.
    ide.configWrite(4, 2, 1);
    bm = host.windows.get('port c000')!;
    bm.write(0, 1, 0);
    prdt([BUFFER, 512]);
    command(0, 0, 0xc8, 0, 1);
    bm.write(0, 1, 9);
    expect(irqs[0].level).toBe(false);
  });

  it('reports bad sectors', () => {
    disk.badSector = 5;
    command(0, 0, 0x20, 4, 4);
    for (let i = 0; i < 256; i++) port(0).read(0, 2);
    expect([get(0, 7), get(0, 1), get(0, 3)]).toEqual([0x51, 0x40, 5]);
    prdt([BUFFER, 4096]);
    command(0, 0, 0xc8, 5, 1);
    bm.write(0, 1, 9);
    expect([get(0, 7), get(0, 1), get(0, 3)]).toEqual([0x51, 0x40, 5]);
    command(0, 0, 0x40, 0, 8);
    expect([get(0, 7), get(0, 1)]).toEqual([0x51, 0x40]);
  });

  it('keeps interrupts of each device, and nIEN', () => {
    command(0, 0, 0xe7);
    expect(irqs[0].level).toBe(true);
    out(0, 6, 0xf0);
    expect(irqs[0].level).toBe(false);
    out(0, 6, 0xe0);
    expect(irqs[0].level).toBe(true);
    ide.channels[0].control.write(0, 1, 2);
    expect(irqs[0].level).toBe(false);
  });

  it('trims, sets modes, manages power and has the basics of SMART', () => {
    const v = new DataView(memory.ram.buffer, BUFFER, 512);
    v.setUint32(0, 100, true);
    v.setUint16(6, 50, true);
    prdt([BUFFER, 512]);
    bm.write(0, 1, 1);
    out(0, 1, 1);
    commandExt(0, 0, 0x06, 0, 1);
    expect(get(0, 7)).toBe(0x50);
    expect(disk.discarded).toEqual([[51200, 25600]]);
    command(0, 0, 0xef, 0, 0x22, 3);
    command(0, 0, 0xec);
    expect(readWords(0)[63]).toBe(0x0407);
    command(0, 0, 0xe0);
    command(0, 0, 0xe5);
    expect(get(0, 2)).toBe(0);
    command(0, 0, 0xe1);
    command(0, 0, 0xe5);
    expect(get(0, 2)).toBe(0xff);
    command(0, 0, 0xb0, 0xc24f00, 0, 0xda);
    expect([get(0, 7), get(0, 4), get(0, 5)]).toEqual([0x50, 0x4f, 0xc2]);
    command(0, 0, 0xb0, 0, 0, 0xd0);
    expect(get(0, 7)).toBe(0x51);
    command(0, 0, 0xf8);
    expect(get(0, 3) | (get(0, 4) << 8)).toBe(SECTORS - 1);
  });

  it('goes on after a save in the middle of a block', () => {
    command(0, 0, 0x20, 100, 2);
    for (let i = 0; i < 10; i++) port(0).read(0, 2);
    const saved = JSON.parse(JSON.stringify(ide.save()));
    readWords(0);
    ide.restore(saved);
    const rest = readWords(0);
    expect(rest.length).toBe(502);
    expect(rest[246]).toBe(101);
  });

  it('survives fuzzing', () => {
    for (let seed = 1; seed <= 4; seed++) fuzzDevice(fuzzIde, 6000, seed);
  });
});

/** A packet: command, then its twelve bytes. */
function packet(cdb: number[], feature = 0, limit = 0xfffe): void {
  command(1, 0, 0xa0, (limit & 0xff) << 8 | ((limit >> 8) << 16), 0, feature);
  expect(get(1, 2) & 3).toBe(1);
  for (let i = 0; i < 12; i += 2) port(1).write(0, 2, (cdb[i] ?? 0) | ((cdb[i + 1] ?? 0) << 8));
}
const packetBytes = (cdb: number[]): Uint8Array => {
  packet(cdb);
  return new Uint8Array(readWords(1).buffer);
};

describe('ATAPI CD-ROM', () => {
  beforeEach(() => {
    // Power-on and what else there is to say.
    packet([0]);
    expect(get(1, 7) & 1).toBe(1);
    expect(get(1, 1) >> 4).toBe(6);
    packet([0]);
    expect(get(1, 7) & 1).toBe(0);
  });

  it('reads by programmed I/O within the byte count limit', () => {
    const rises = irqs[1].rises;
    packet([0x28, 0, 0, 0, 0, 10, 0, 0, 2, 0], 0, 1024);
    const words = [];
    let blocks = 0;
    while (get(1, 7) & 8) {
      expect([get(1, 2) & 3, get(1, 4) | (get(1, 5) << 8)]).toEqual([2, 1024]);
      for (let i = 0; i < 512; i++) words.push(port(1).read(0, 2));
      blocks++;
    }
    expect(blocks).toBe(4);
    expect(irqs[1].rises - rises).toBe(5);
    expect([get(1, 2) & 3, get(1, 7)]).toEqual([3, 0x50]);
    expect([0, 1, 4].map((i) => first32(Uint16Array.from(words), i))).toEqual([40, 41, 44]);
  });

  it('reads by bus master', () => {
    bm.write(8 + 4, 4, PRDT);
    memory.write32(PRDT, BUFFER);
    memory.write32(PRDT + 4, 0x8000_0000 + 4096);
    packet([0xa8, 0, 0, 0, 0, 3, 0, 0, 0, 2], 1);
    bm.write(8, 1, 9);
    expect(bm.read(8 + 2, 1)).toBe(4);
    expect([memory.read32(BUFFER), memory.read32(BUFFER + 2048)]).toEqual([12, 16]);
    expect(get(1, 7)).toBe(0x50);
  });

  it('tells about itself and its disc', () => {
    expect(Buffer.from(packetBytes([0x12, 0, 0, 0, 36])).toString('latin1', 8, 32)).toBe('VMX     CD-ROM          ');
    expect([...packetBytes([0x25])]).toEqual([0, 0, 0, 99, 0, 0, 8, 0]);
    expect([...packetBytes([0x43, 2, 0, 0, 0, 0, 0, 0, 20])]).toEqual([0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 0, 3, 25]);
    expect([...packetBytes([0x43, 0, 1, 0, 0, 0, 0, 0, 12])]).toEqual([0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]);
    expect([...packetBytes([0x46, 2, 0, 0, 0, 0, 0, 0, 32])].slice(6, 8)).toEqual([0, 8]);
    expect(packetBytes([0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 64])[8]).toBe(0x2a);
    expect(packetBytes([0x51, 0, 0, 0, 0, 0, 0, 0, 34])[2]).toBe(0x0e);
    const large = new MediaSlot(new MemoryDisk(360001 * 2048));
    const dvd = new ScsiCdRom(large, 'dvd', () => {});
    dvd.command(Uint8Array.from([0x46, 2, 0, 0, 0, 0, 0, 0, 32]));
    const b = new Uint8Array(32);
    dvd.dataIn(b);
    expect(b[7]).toBe(0x10);
  });

  it('says what is wrong', () => {
    const sense = (): number[] => {
      const b = packetBytes([0x03, 0, 0, 0, 18]);
      return [b[2]!, b[12]!, b[13]!];
    };
    packet([0x28, 0, 0, 0, 0, 99, 0, 0, 2, 0]);
    expect([get(1, 7) & 1, get(1, 1) >> 4]).toEqual([1, 5]);
    expect(sense()).toEqual([5, 0x21, 0]);
    expect(sense()).toEqual([0, 0, 0]);
    packet([0xff]);
    expect(sense()).toEqual([5, 0x20, 0]);
    packet([0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0xf8]);
    expect(sense()).toEqual([5, 0x64, 0]);
    cd.badSector = 41;
    packet([0x28, 0, 0, 0, 0, 10, 0, 0, 1, 0]);
    expect(get(1, 7) & 1).toBe(1);
    expect(sense()).toEqual([3, 0x11, 0]);
  });

  it('follows the medium', () => {
    const event = (): number[] => [...packetBytes([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8])].slice(4, 6);
    event();
    // Locked, ejected, loaded, changed.
    packet([0x1e, 0, 0, 0, 1]);
    packet([0x1b, 0, 0, 0, 2]);
    expect(get(1, 1) >> 4).toBe(5);
    packet([0x1e, 0, 0, 0, 0]);
    packet([0x1b, 0, 0, 0, 2]);
    expect(get(1, 7) & 1).toBe(0);
    expect(slot.medium).toBeNull();
    expect(event()).toEqual([3, 1]);
    packet([0]);
    expect(get(1, 1) >> 4).toBe(2);
    expect([...packetBytes([0x03, 0, 0, 0, 18])].slice(12, 14)).toEqual([0x3a, 2]);
    slot.insert(new MemoryDisk(50 * 2048));
    expect(event()).toEqual([2, 2]);
    expect(event()).toEqual([0, 2]);
    packet([0]);
    expect(get(1, 1) >> 4).toBe(6);
    expect(packetBytes([0x25])[3]).toBe(49);
  });
});

function fuzzIde(env: Parameters<Parameters<typeof fuzzDevice>[0]>[0]): ReturnType<Parameters<typeof fuzzDevice>[0]> {
  const pci = new TestPciHost();
  const media = new MediaSlot(new MemoryDisk(64 * 2048).numbered());
  const nothing = (): void => {};
  const device = new PiixIde(pci, 9, {
    memory: env.memory,
    irqs: [env.line(), env.line()],
    devices: [
      new AtaDisk({ disk: new MemoryDisk(512 * 300), serial: 'f', sata: false, log: nothing }),
      null,
      new AtaPacketDevice({ unit: new ScsiCdRom(media, 'c', nothing), serial: 'c', sata: false, log: nothing }),
      new AtaDisk({ disk: new MemoryDisk(512 * 70, true), serial: 'g', sata: false, log: nothing }),
    ],
    onDecode: nothing,
  });
  const config: IoHandler = { read: (a, size) => device.configRead(a & ~(size - 1), size), write: (a, size, v) => device.configWrite(a & ~(size - 1), size, v) };
  const commands = [0x20, 0x24, 0x30, 0x34, 0xc4, 0xc5, 0xc8, 0x25, 0xca, 0x35, 0xa0, 0xa1, 0xec, 0xef, 0x06, 0xe7, 0xb0, 0x2f, 0x40, 0x90, 0x08];
  const packets = [0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0xa8, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x52, 0x55, 0x5a, 0xad, 0xbe];
  return {
    device,
    regions: [
      { io: device.channels[0].command, length: 8 },
      { io: device.channels[1].command, length: 8 },
      { io: device.channels[0].control, length: 1 },
      { io: device.channels[0].busMaster, length: 8 },
      { io: device.channels[1].busMaster, length: 8 },
      { io: config, length: 256 },
    ],
    pokes: [
      (r) => media.insert(r % 3 === 0 ? null : new MemoryDisk(2048 * (r % 100))),
      // A command that may well be valid, with the bus master set up.
      (r) => {
        const c = device.channels[r & 1]!;
        device.configWrite(4, 2, 5);
        c.busMaster.write(4, 4, (r >>> 3) & 0xfffc);
        c.busMaster.write(0, 1, r & 2 ? 9 : 1);
        c.command.write(6, 1, r & 4 ? 0xe0 : 0xf0);
        for (let i = 2; i < 6; i++) c.command.write(i, 1, (r >>> (i * 4)) & 15);
        c.command.write(7, 1, commands[(r >>> 8) % commands.length]!);
      },
      (r) => {
        const c = device.channels[1];
        c.command.write(6, 1, 0xa0);
        c.command.write(1, 1, r & 1);
        c.command.write(4, 1, r >>> 8);
        c.command.write(5, 1, r & 2 ? 0 : 8);
        c.command.write(7, 1, 0xa0);
        c.command.write(0, 2, packets[(r >>> 2) % packets.length]! | (r & 0x300));
        for (let i = 1; i < 6; i++) c.command.write(0, 2, r & (1 << i) ? 0 : r >>> (i * 3));
      },
    ],
  };
}
