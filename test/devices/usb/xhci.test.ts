import { beforeEach, describe, expect, it } from 'vitest';
import { hidUsage } from '#lib/devices/usb/hid-usages.js';
import { UsbKeyboard, UsbMouse, UsbTablet } from '#lib/devices/usb/hid.js';
import { UsbStorage } from '#lib/devices/usb/storage.js';
import type { UsbDevice } from '#lib/devices/usb/usb-device.js';
import { ScsiCdRom } from '#lib/devices/storage/scsi/cdrom.js';
import { ScsiDisk } from '#lib/devices/storage/scsi/disk.js';
import { MediaSlot } from '#lib/block/media.js';
import { fuzzDevice } from '../fuzz.js';
import { MemoryDisk } from '../storage/memory-disk.js';
import { XhciDriver } from './xhci-driver.js';

const SECTORS = 256;
const [SUCCESS, TRB_ERROR, STALL, NO_SLOTS, SLOT_OFF, EP_OFF, SHORT, PARAMETER, CONTEXT_STATE, STOPPED] = [1, 5, 6, 9, 11, 12, 13, 17, 19, 26];
const BUFFER = 0x7_8000;
const log = (): void => {};
let disk: MemoryDisk;
let keyboard: UsbKeyboard;
let d: XhciDriver;

beforeEach(() => {
  disk = new MemoryDisk(SECTORS * 512).numbered();
  keyboard = new UsbKeyboard();
  d = new XhciDriver([keyboard, new UsbStorage(new ScsiDisk(disk, 'serial', log), 'stick')]);
  d.start();
});

const HID_IN = 3;
const BULK_IN = 3;
const BULK_OUT = 4;

/** An addressed and configured keyboard. */
function hid(port = 1): number {
  const slot = d.address(port);
  expect(d.configure(slot, HID_IN, 7, 8).code).toBe(SUCCESS);
  expect(d.control(slot, 0, 9, 1, 0, 0).code).toBe(SUCCESS);
  return slot;
}

function storage(): number {
  const slot = d.address(2);
  expect(d.configure(slot, BULK_IN, 6, 512).code).toBe(SUCCESS);
  expect(d.configure(slot, BULK_OUT, 2, 512).code).toBe(SUCCESS);
  expect(d.control(slot, 0, 9, 1, 0, 0).code).toBe(SUCCESS);
  return slot;
}

/** Command block wrapper of a command, sent. */
function send(slot: number, cdb: readonly number[], length: number, isIn: boolean, tag = 0x1234_5678): number {
  const b = Buffer.alloc(31);
  b.writeUInt32LE(0x4342_5355, 0);
  b.writeUInt32LE(tag, 4);
  b.writeUInt32LE(length, 8);
  b[12] = isIn ? 0x80 : 0;
  b[14] = cdb.length;
  b.set(cdb, 15);
  d.mem.writeFrom(BUFFER, b);
  return d.transfer(slot, BULK_OUT, BUFFER, 31)?.code ?? 0;
}

/** @returns residue and status */
function status(slot: number): [number, number] {
  expect(d.transfer(slot, BULK_IN, BUFFER, 13)?.code).toBe(SUCCESS);
  expect([d.mem.read32(BUFFER), d.mem.read32(BUFFER + 4)]).toEqual([0x5342_5355, 0x1234_5678]);
  return [d.mem.read32(BUFFER + 8), d.mem.read8(BUFFER + 12)];
}

/** Takes the unit attention after power-up. */
function ready(): number {
  const slot = storage();
  send(slot, [0, 0, 0, 0, 0, 0], 0, false);
  expect(status(slot)).toEqual([0, 1]);
  send(slot, [3, 0, 0, 0, 18, 0], 18, true);
  d.transfer(slot, BULK_IN, BUFFER, 18);
  expect(d.mem.read8(BUFFER + 2) & 15).toBe(6);
  status(slot);
  return slot;
}

describe('xHCI', () => {
  it('says what it is, and has its devices at USB 2 ports', () => {
    const cap = (at: number): number => d.bar.read(at, 4);
    expect([d.bar.read(0, 1), d.bar.read(2, 2), cap(4), cap(0x14), cap(0x18)]).toEqual([0x40, 0x100, 16 | (1 << 8) | (12 << 24), 0x2000, 0x1000]);
    expect([cap(0x20), cap(0x24), cap(0x28), cap(0x30), cap(0x38)]).toEqual([0x0200_0402, 0x2042_5355, 0x801, 0x0300_0002, 0x409]);
    expect([d.port(1) & 0x1ff, d.port(3) & 0x1ff]).toEqual([1 | (7 << 5), 5 << 5]);
    // Changes that were there before it ran.
    expect(d.events().map((e) => [e.type, e.pointer >>> 24])).toEqual([[34, 1], [34, 2]]);
    d.port(1, 0x2_0200);
    expect(d.port(1) & 0x2_0000).toBe(0);
    d.port(1, 0x210);
    expect(d.port(1)).toBe(0x203 | (3 << 10) | 0x20_0000);
    expect(d.events().map((e) => [e.type, e.pointer >>> 24])).toEqual([[34, 1]]);
    // Suspended, and awake again.
    d.port(1, 0x1_0260);
    expect((d.port(1) >>> 5) & 15).toBe(3);
    d.port(1, 0x1_0200);
    expect([(d.port(1) >>> 5) & 15, d.port(1) & 0x40_0000]).toEqual([0, 0x40_0000]);
    d.port(1, 0x202);
    expect(d.port(1) & 2).toBe(0);
    d.clock.advance(125_000 * 3);
    expect(d.bar.read(0x1000, 4)).toBe(11);
  });

  it('gives devices slots, addresses, endpoints, and takes them back', () => {
    const slot = d.address(1);
    expect([slot, d.context(slot, 0, 3), d.context(slot, 1, 0) & 7]).toEqual([1, (2 << 27) | 1, 1]);
    expect(d.configure(slot, HID_IN, 7, 8).code).toBe(SUCCESS);
    expect([d.context(slot, 0, 0) >>> 27, d.context(slot, 0, 3) >>> 27, d.context(slot, HID_IN, 0) & 7]).toEqual([3, 3, 1]);
    expect(d.command(17, 0, 0, slot).code).toBe(SUCCESS);
    expect([d.context(slot, 0, 3) >>> 27, d.context(slot, HID_IN, 0) & 7]).toEqual([1, 0]);
    expect(d.command(17, 0, 0, slot).code).toBe(CONTEXT_STATE);
    expect(d.command(10, 0, 0, slot).code).toBe(SUCCESS);
    expect(d.command(10, 0, 0, slot).code).toBe(SLOT_OFF);
    for (let n = 1; n <= 16; n++) expect(d.command(9)).toMatchObject({ code: SUCCESS, slot: n });
    expect(d.command(9).code).toBe(NO_SLOTS);
  });

  it('refuses commands that make no sense', () => {
    expect(d.command(23).code).toBe(SUCCESS);
    expect(d.command(40).code).toBe(TRB_ERROR);
    expect(d.command(11, 0, 0, 1).code).toBe(SLOT_OFF);
    expect(d.command(11, 0, 0, 200).code).toBe(SLOT_OFF);
    const slot = d.address(1);
    expect(d.command(14, 0, HID_IN << 16, slot).code).toBe(EP_OFF);
    expect(d.command(14, 0, 1 << 16, slot).code).toBe(CONTEXT_STATE);
    expect(d.command(16, 0x1_0001, 1 << 16, slot).code).toBe(CONTEXT_STATE);
    expect(d.command(12, 0x7fff_fff0, 0, slot).code).toBe(PARAMETER);
    expect(d.command(11, 0x5000, 0, slot).code).toBe(CONTEXT_STATE);
    // A port with nothing at it, and one whose device has a slot.
    const other = d.command(9).slot;
    d.mem.write32(0x5024, 9 << 16);
    d.mem.write32(0x5004, 3);
    expect(d.command(11, 0x5000, 0, other).code).toBe(PARAMETER);
    d.mem.write32(0x5024, 1 << 16);
    expect(d.command(11, 0x5000, 0, other).code).toBe(PARAMETER);
  });

  it('stops when its rings are not in memory', () => {
    d.op(0, 0);
    d.op(0x18, 0x7fff_0001);
    d.op(0, 5);
    d.bell(0, 0);
    expect([d.op(4) & 5, d.op(0) & 1, d.logs.length]).toEqual([5, 0, 1]);
    d.op(0, 5);
    expect(d.op(0) & 1).toBe(0);
    d.start();
    expect(d.command(23).code).toBe(SUCCESS);
  });

  it('interrupts by pin, once until the driver has taken what there is', () => {
    d.events();
    d.op(4, 8);
    d.bar.write(0x1020, 4, 3);
    expect(d.host.line.level).toBe(false);
    d.put(0, 0, 0, 0, 23 << 10);
    d.bell(0, 0);
    expect([d.host.line.level, d.op(4) & 8, d.bar.read(0x1020, 4), d.bar.read(0x1038, 4) & 8]).toEqual([true, 8, 3, 8]);
    d.bar.write(0x1020, 4, 3);
    expect(d.host.line.level).toBe(false);
    d.put(0, 0, 0, 0, 23 << 10);
    d.bell(0, 0);
    expect(d.host.line.level).toBe(false);
    // Busy ends before all is taken: once more.
    d.bar.write(0x1038, 4, 0x4010 | 8);
    d.bar.write(0x103c, 4, 0);
    expect(d.host.line.level).toBe(true);
  });

  it('waits for room in the ring of events', () => {
    for (let i = 0; i < 100; i++) d.put(0, i * 16, 0, 0, 23 << 10);
    d.bell(0, 0);
    const first = d.events().filter((e) => e.type === 33).length;
    expect(first).toBeLessThan(64);
    let all = first;
    for (let n = 0; n < 5; n++) all += d.events().length;
    expect(all).toBe(100);
  });

  it('follows links and their cycle bit', () => {
    const slot = hid();
    const ring = d.ring(slot, HID_IN);
    const target = 0x6_8000;
    d.put(ring, target, 0, 0, (6 << 10) | 2);
    // With the cycle bit of the next round: 0.
    [BUFFER, 0, 8, (1 << 10) | 0x24, 0, 0, 0, 1].forEach((v, i) => d.mem.write32(target + i * 4, v));
    d.bell(slot, HID_IN);
    keyboard.key(0x1e, true);
    expect(d.events().map((e) => [e.type, e.code, e.pointer])).toEqual([[32, SUCCESS, target]]);
    // A link to itself is no work at all.
    [target + 16, 0, 0, 6 << 10].forEach((v, i) => d.mem.write32(target + 16 + i * 4, v));
    d.bell(slot, HID_IN);
    expect(d.events().map((e) => e.code)).toEqual([TRB_ERROR]);
    expect(d.context(slot, HID_IN, 0) & 7).toBe(4);
  });
});

describe('USB devices', () => {
  it('describe themselves', () => {
    const slot = d.address(1);
    const get = (type: number, value: number, length: number): Buffer => d.control(slot, type, 6, value, 0, length).data;
    expect([...get(0x80, 0x100, 18)]).toEqual([18, 1, 0, 2, 0, 0, 0, 64, 0x27, 6, 1, 0, 0, 1, 1, 2, 3, 1]);
    // Of 255 bytes that were asked for, those that there are.
    const c = get(0x80, 0x200, 255);
    expect([c.length, c.readUInt16LE(2), c[9 + 5], c[9 + 6], c[9 + 7], [...c.subarray(18, 27)], [...c.subarray(27)]]).toEqual([
      34, 34, 3, 1, 1, [9, 0x21, 0x11, 1, 0, 1, 0x22, 65, 0], [7, 5, 0x81, 3, 8, 0, 7],
    ]);
    expect(get(0x80, 0x302, 255).subarray(2).toString('utf16le')).toBe('USB keyboard');
    expect(get(0x80, 0x300, 255)).toEqual(Buffer.from([4, 3, 9, 4]));
    expect(get(0x81, 0x2200, 255).length).toBe(65);
    expect(d.control(slot, 0x80, 6, 0x309, 0, 10).code).toBe(STALL);
    expect(d.context(slot, 1, 0) & 7).toBe(2);
    expect(d.command(14, 0, 1 << 16, slot).code).toBe(SUCCESS);
  });

  it('answer the standard requests', () => {
    const slot = hid();
    expect(d.control(slot, 0x80, 8, 0, 0, 1).data).toEqual(Buffer.from([1]));
    expect(d.control(slot, 0x80, 0, 0, 0, 2).data).toEqual(Buffer.from([1, 0]));
    expect(d.control(slot, 0, 3, 1, 0, 0).code).toBe(SUCCESS);
    expect(d.control(slot, 0x80, 0, 0, 0, 2).data).toEqual(Buffer.from([3, 0]));
    expect(d.control(slot, 2, 3, 0, 0x81, 0).code).toBe(SUCCESS);
    expect(d.control(slot, 0x82, 0, 0, 0x81, 2).data).toEqual(Buffer.from([1, 0]));
    keyboard.key(0x1e, true);
    expect(d.transfer(slot, HID_IN, BUFFER, 8)?.code).toBe(STALL);
    expect(d.control(slot, 2, 1, 0, 0x81, 0).code).toBe(SUCCESS);
    expect(d.command(14, 0, HID_IN << 16, slot).code).toBe(SUCCESS);
    // The transfer is still there.
    d.bell(slot, HID_IN);
    expect(d.events().map((e) => e.code)).toEqual([SUCCESS]);
    expect(d.control(slot, 1, 11, 0, 0, 0).code).toBe(SUCCESS);
    expect(d.control(slot, 0x81, 10, 0, 0, 1).data).toEqual(Buffer.from([0]));
  });
});

describe('HID', () => {
  it('keyboard: reports, roll-over, lamps', () => {
    const slot = hid();
    expect(keyboard.listening).toBe(true);
    expect(d.transfer(slot, HID_IN, BUFFER, 8)).toBeUndefined();
    keyboard.key(0x2a, true);
    const take = (): number[] => {
      expect(d.events().map((e) => [e.code, e.length])).toEqual([[SUCCESS, 0]]);
      return [...d.mem.ram.subarray(BUFFER, BUFFER + 8)];
    };
    expect(take()).toEqual([2, 0, 0, 0, 0, 0, 0, 0]);
    keyboard.key(0x1e, true);
    d.put(d.ring(slot, HID_IN), BUFFER, 0, 8, (1 << 10) | 0x24);
    d.bell(slot, HID_IN);
    expect(take()).toEqual([2, 0, 4, 0, 0, 0, 0, 0]);
    for (const c of [2, 3, 4, 5, 6, 7]) keyboard.key(c, true);
    expect(keyboard.waiting).toBe(6);
    for (let i = 0; i < 6; i++) d.put(d.ring(slot, HID_IN), BUFFER, 0, 8, (1 << 10) | 4);
    d.bell(slot, HID_IN);
    expect([...d.mem.ram.subarray(BUFFER, BUFFER + 8)]).toEqual([2, 0, 1, 1, 1, 1, 1, 1]);
    expect(d.control(slot, 0x21, 9, 0x200, 0, 1, Buffer.from([2])).code).toBe(SUCCESS);
    expect(keyboard.leds).toBe(2);
    expect(d.control(slot, 0xa1, 1, 0x100, 0, 8).data.length).toBe(8);
    expect(d.control(slot, 0x21, 10, 0x500, 0, 0).code).toBe(SUCCESS);
    expect(d.control(slot, 0xa1, 2, 0, 0, 1).data).toEqual(Buffer.from([5]));
  });

  it('keyboard: keys stay down over a reset and in saved state', () => {
    const one = new UsbKeyboard();
    one.key(0x2a, true);
    one.key(0x1e, true);
    one.key(0x1e, true);
    one.reset();
    const other = new UsbKeyboard();
    other.check(JSON.parse(JSON.stringify(one.save())) as Record<string, unknown>)();
    const down = (keyboard: UsbKeyboard): unknown => (keyboard.save().hid as { down: unknown }).down;
    expect(down(other)).toEqual([0xe1, 4]);
    other.key(0x1e, false);
    other.key(0x1e, false);
    expect(down(other)).toEqual([0xe1]);
  });

  it('keyboard: the usages of all keys differ', () => {
    const codes = [...Array.from({ length: 0x58 }, (_, i) => i + 1).filter((c) => c !== 0x55), ...[0x1c, 0x1d, 0x35, 0x38, 0x47, 0x48, 0x49, 0x4b, 0x4d, 0x4f, 0x50, 0x51, 0x52, 0x53, 0x5b, 0x5c, 0x5d].map((c) => 0xe000 | c), 0xe11d];
    const usages = codes.map(hidUsage);
    expect(usages).not.toContain(0);
    // Print Screen has two codes.
    expect(new Set(usages).size).toBe(codes.length);
    expect([hidUsage(1), hidUsage(0x39), hidUsage(0x53), hidUsage(0xe053), hidUsage(0), hidUsage(0x60)]).toEqual([0x29, 0x2c, 0x63, 0x4c, 0, 0]);
  });

  it('tablet and mouse', () => {
    const tablet = new UsbTablet();
    const mouse = new UsbMouse();
    d = new XhciDriver([tablet, mouse]);
    d.start();
    tablet.point(5, 5, 0, 0);
    const slot = hid(1);
    tablet.point(0x1234, 99_999, 1, -2);
    d.transfer(slot, HID_IN, BUFFER, 8);
    expect([...d.mem.ram.subarray(BUFFER, BUFFER + 6)]).toEqual([1, 0x34, 0x12, 0xff, 0x7f, 2]);
    const second = hid(2);
    mouse.setButtons(4);
    mouse.move(300, -5, 1);
    const seen: number[][] = [];
    for (let i = 0; i < 4; i++) {
      d.transfer(second, HID_IN, BUFFER, 4);
      seen.push([...d.mem.ram.subarray(BUFFER, BUFFER + 4)]);
    }
    expect(seen).toEqual([[4, 0, 0, 0], [4, 127, 0xfb, 0xff], [4, 127, 0, 0], [4, 46, 0, 0]]);
    // The boot protocol has three bytes.
    expect(d.control(second, 0x21, 11, 0, 0, 0).code).toBe(SUCCESS);
    mouse.move(1, 1);
    expect(d.transfer(second, HID_IN, BUFFER, 4)).toMatchObject({ code: SHORT, length: 1 });
  });

  it('says which transfer was waiting when it is stopped, and goes on from there', () => {
    const slot = hid();
    const at = d.put(d.ring(slot, HID_IN), BUFFER, 0, 8, (1 << 10) | 0x24);
    d.bell(slot, HID_IN);
    d.put(0, 0, 0, 0, (15 << 10) | (HID_IN << 16) | (slot << 24));
    d.bell(0, 0);
    expect(d.events().map((e) => [e.type, e.code, e.length])).toEqual([[32, STOPPED, 8], [33, SUCCESS, 0]]);
    expect([d.context(slot, HID_IN, 0) & 7, d.context(slot, HID_IN, 2)]).toEqual([3, at | 1]);
    keyboard.key(0x1e, true);
    expect(d.events()).toEqual([]);
    d.bell(slot, HID_IN);
    expect(d.events().map((e) => [e.type, e.code])).toEqual([[32, SUCCESS]]);
  });
});

describe('mass storage', () => {
  it('reads and writes, in one piece and in several', () => {
    const slot = ready();
    expect(send(slot, [0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0], 1024, true)).toBe(SUCCESS);
    const ring = d.ring(slot, BULK_IN);
    d.put(ring, BUFFER + 0x1000, 0, 500, (1 << 10) | 0x14);
    d.put(ring, BUFFER + 0x3000, 0, 524, (1 << 10) | 0x24);
    d.bell(slot, BULK_IN);
    expect(d.events().map((e) => [e.code, e.length])).toEqual([[SUCCESS, 0]]);
    expect([d.mem.read32(BUFFER + 0x1000), d.mem.read32(BUFFER + 0x3000 + 12)]).toEqual([7, 8]);
    expect(status(slot)).toEqual([0, 0]);
    d.mem.writeFrom(BUFFER + 0x1000, new Uint8Array(512).fill(0xa5));
    send(slot, [0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0], 512, false);
    d.transfer(slot, BULK_OUT, BUFFER + 0x1000, 512);
    expect(status(slot)).toEqual([0, 0]);
    expect([disk.data[3 * 512], disk.data[4 * 512 - 1], disk.data[4 * 512]]).toEqual([0xa5, 0xa5, 4]);
  });

  it('tells short data, residues and errors', () => {
    const slot = ready();
    // Of 100 bytes, 36 come.
    send(slot, [0x12, 0, 0, 0, 100, 0], 100, true);
    expect(d.transfer(slot, BULK_IN, BUFFER, 100)).toMatchObject({ code: SHORT, length: 64 });
    expect(d.mem.ram.subarray(BUFFER + 8, BUFFER + 11)).toEqual(Uint8Array.from(Buffer.from('VMX')));
    expect(status(slot)).toEqual([64, 0]);
    // A block that is not there.
    send(slot, [0x28, 0, 0, 1, 0, 0, 0, 0, 1, 0], 512, true);
    expect(d.transfer(slot, BULK_IN, BUFFER, 512)).toMatchObject({ code: SHORT, length: 512 });
    expect(status(slot)).toEqual([512, 1]);
    // Directions that do not agree.
    send(slot, [0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0], 512, true);
    d.transfer(slot, BULK_IN, BUFFER, 512);
    expect(status(slot)).toEqual([512, 2]);
    send(slot, [0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0], 512, false);
    d.transfer(slot, BULK_OUT, BUFFER, 512);
    expect(status(slot)[1]).toBe(2);
  });

  it('counts for Event Data, and reports a short packet once', () => {
    const slot = ready();
    send(slot, [0x12, 0, 0, 0, 100, 0], 100, true);
    const ring = d.ring(slot, BULK_IN);
    d.put(ring, BUFFER, 0, 20, (1 << 10) | 0x10);
    d.put(ring, BUFFER + 20, 0, 80, (1 << 10) | 0x10);
    d.put(ring, 0xcafe, 1, 0, (7 << 10) | 0x20);
    d.bell(slot, BULK_IN);
    expect(d.events()).toMatchObject([{ code: SHORT, length: 36, pointer: 0x1_0000_cafe, ed: true }]);
    status(slot);
    send(slot, [0x12, 0, 0, 0, 100, 0], 100, true);
    d.put(ring, BUFFER, 0, 50, (1 << 10) | 0x14);
    d.put(ring, BUFFER + 50, 0, 50, (1 << 10) | 0x24);
    d.bell(slot, BULK_IN);
    expect(d.events()).toMatchObject([{ code: SHORT, length: 14, ed: false }]);
    status(slot);
  });

  it('waits for the rest of a descriptor, and refuses memory that is none', () => {
    const slot = ready();
    send(slot, [0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0], 512, true);
    const ring = d.ring(slot, BULK_IN);
    d.put(ring, BUFFER, 0, 256, (1 << 10) | 0x14);
    d.bell(slot, BULK_IN);
    expect(d.events()).toEqual([]);
    d.put(ring, 0x8000_0000, 0, 256, (1 << 10) | 0x24);
    d.bell(slot, BULK_IN);
    expect(d.events().map((e) => e.code)).toEqual([TRB_ERROR]);
    expect(d.context(slot, BULK_IN, 0) & 7).toBe(4);
  });

  it('stalls after nonsense until it is reset', () => {
    const slot = ready();
    d.mem.writeFrom(BUFFER, Buffer.alloc(31, 1));
    expect(d.transfer(slot, BULK_OUT, BUFFER, 31)?.code).toBe(STALL);
    expect(d.transfer(slot, BULK_IN, BUFFER, 13)?.code).toBe(STALL);
    expect(d.control(slot, 0xa1, 0xfe, 0, 0, 1).data).toEqual(Buffer.from([0]));
    expect(d.control(slot, 0x21, 0xff, 0, 0, 0).code).toBe(SUCCESS);
    for (const dci of [BULK_IN, BULK_OUT]) {
      expect(d.command(14, 0, dci << 16, slot).code).toBe(SUCCESS);
      // Past the transfers that were refused.
      const next = d.put(d.ring(slot, dci), 0, 0, 0, 0);
      d.mem.writeFrom(next, new Uint8Array(16));
      expect(d.command(16, next + 16 + 1, dci << 16, slot).code).toBe(SUCCESS);
    }
    expect(send(slot, [0, 0, 0, 0, 0, 0], 0, false)).toBe(SUCCESS);
    expect(status(slot)).toEqual([0, 0]);
  });

  it('goes on from a saved state in the middle of a command', () => {
    const slot = ready();
    send(slot, [0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0], 1024, true);
    d.transfer(slot, BULK_IN, BUFFER, 512);
    const saved = JSON.parse(JSON.stringify(d.dev.save())) as ReturnType<typeof d.dev.save>;
    d.dev.reset();
    d.dev.restore(saved);
    expect(d.transfer(slot, BULK_IN, BUFFER, 512)?.code).toBe(SUCCESS);
    expect(d.mem.read32(BUFFER)).toBe(8);
    expect(status(slot)).toEqual([0, 0]);
  });
});

describe('fuzz: xhci', () => {
  it.each([1, 2, 3])('registers, rings, contexts, devices, seed %i', (seed) => {
    fuzzDevice(() => {
      const keys = new UsbKeyboard();
      const tablet = new UsbTablet();
      const list: UsbDevice[] = [keys, new UsbStorage(new ScsiDisk(new MemoryDisk(64 * 512), 's', log), 's'), tablet, new UsbStorage(new ScsiCdRom(new MediaSlot(new MemoryDisk(64 * 2048)), 'c', log), 'c')];
      const b = new XhciDriver(list);
      b.start();
      const setUp = (r: number): void => {
        try {
          b.start();
          const slot = b.address(1 + (r % 4));
          b.configure(slot, 3, r & 16 ? 7 : 6, 8);
          b.configure(slot, 4, 2, 512);
          b.control(slot, 0, 9, 1, 0, 0);
        } catch {
          // The state that fuzzing has left does not allow it this time.
        }
      };
      setUp(seed);
      const word = (at: number, v: number): void => b.mem.write32(at, v);
      const target = (o: number, s: number): number => o & ~(s - 1);
      return {
        device: b.dev,
        regions: [
          { io: { read: (o, s) => b.dev.configRead(target(o, s), s), write: (o, s, v) => b.dev.configWrite(target(o, s), s, v) }, length: 256 },
          { io: { read: (o, s) => b.bar.read(o, s), write: (o, s, v) => b.bar.write(o, s, v) }, length: 0x80 },
          { io: { read: (o, s) => b.bar.read(0x440 + o, s), write: (o, s, v) => b.bar.write(0x440 + o, s, v) }, length: 0xc0, sizes: [4] },
          { io: { read: (o, s) => b.bar.read(0x1000 + o, s), write: (o, s, v) => b.bar.write(0x1000 + o, s, v) }, length: 0x40, sizes: [4] },
        ],
        pokes: [
          setUp,
          (r) => b.bell(r % 5, (r >>> 4) % 6),
          (r) => keys.key(r % 0x60, (r & 0x100) !== 0),
          (r) => tablet.point(r & 0xffff, r >>> 16, r & 31, (r % 5) - 2),
          // Words that look like TRBs, in rings, contexts and tables.
          (r) => word(0x1000 + (r % 0x2_0000 & ~3), r),
          (r) => word(0x1000 + (r % 0x2_0000 & ~15) + 12, (((r >>> 8) % 34) << 10) | (r & 0xff) | ((r >>> 24) << 24)),
          (r) => word(0x1000 + (r % 0x2_0000 & ~15) + 8, r & 0xff),
          (r) => {
            for (const [ring, at] of [[0, 0x2000], [1, 0x1_1000], [3, 0x1_3000], [4, 0x1_4000]] as const) {
              if (r % 4 !== ring % 4) continue;
              word(at + 16 * ((r >>> 4) % 16), 0x1_0000 + (r % 0x1000));
              word(at + 16 * ((r >>> 4) % 16) + 12, (([1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17][r % 16]!) << 10) | ((r >>> 8) & 0x75) | 0x0101_0000);
            }
          },
          (r) => {
            b.mem.writeFrom(BUFFER, Buffer.from([0x55, 0x53, 0x42, 0x43, 0, 0, 0, 0, r & 0xff, (r >>> 8) & 3, 0, 0, r & 0x80, 0, 10, [0, 3, 0x12, 0x25, 0x28, 0x2a, 0x5a, 0x42][r % 8]!, 0, 0, 0, 0, r % 70, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]));
            b.put(36, BUFFER, 0, 31, (1 << 10) | 0x20);
            b.put(35, BUFFER + 64, 0, r % 1024, (1 << 10) | 0x24);
            b.bell(1, 4);
            b.bell(1, 3);
            b.events();
          },
        ],
      };
    }, 4000, seed);
  });
});
