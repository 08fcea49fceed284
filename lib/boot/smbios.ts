/** SMBIOS tables (DMTF DSP0134, System Management BIOS Reference Specification 3.3) with the 64-bit entry point (5.2.2). */
import { checksum } from './acpi.js';
import type { RamLayout } from './e820.js';
import { HIGH_RAM } from './e820.js';

export interface SmbiosMachine {
  /** Board, for the product name. */
  machine: string;
  version: string;
  cpus: number;
  ram: RamLayout;
  /** 16 bytes, as text and RFC 4122 order would have them. */
  uuid: Uint8Array;
  /** The firmware is UEFI (type 0, characteristics extension). */
  uefi: boolean;
}

/** Handles. */
const enum Handle {
  BIOS = 0x0000,
  SYSTEM = 0x0100,
  CHASSIS = 0x0300,
  CPU = 0x0400,
  MEMORY_ARRAY = 0x1000,
  MEMORY_DEVICE = 0x1100,
  ARRAY_ADDRESS = 0x1300,
  BOOT = 0x2000,
  END = 0x7f00,
}

const MIB = 1024 * 1024;
const VENDOR = 'vmx-accel';
/** Value of "see the extended field". */
const EXTENDED_SIZE = 0x7fff;

/** Builds one structure: fixed part field by field, strings by number. */
class Structure {
  private readonly bytes: number[] = [];
  private readonly strings: string[] = [];

  constructor(private readonly type: number, private readonly handle: number) {}

  u8(...v: number[]): this {
    this.bytes.push(...v);
    return this;
  }

  u16(v: number): this {
    return this.u8(v & 0xff, v >>> 8);
  }

  u32(v: number): this {
    return this.u16(v & 0xffff).u16(v >>> 16);
  }

  u64(v: number): this {
    return this.u32(v >>> 0).u32(Math.floor(v / 0x1_0000_0000));
  }

  string(text: string): this {
    if (text === '') return this.u8(0);
    this.strings.push(text);
    return this.u8(this.strings.length);
  }

  build(): Buffer {
    const head = [this.type, 4 + this.bytes.length, this.handle & 0xff, this.handle >>> 8];
    const tail = this.strings.length === 0 ? '\0\0' : `${this.strings.map((s) => `${s}\0`).join('')}\0`;
    return Buffer.concat([Buffer.from([...head, ...this.bytes]), Buffer.from(tail, 'latin1')]);
  }
}

/** BIOS information (7.1). */
function bios(m: SmbiosMachine): Structure {
  const s = new Structure(0, Handle.BIOS).string(VENDOR).string(m.version).u16(0xe800).string('01/01/2025').u8(0);
  // Characteristics not supported (bit 3); extension: ACPI; targeted content, UEFI, virtual machine.
  return s.u64(8).u8(0x01, 0x04 | 0x10 | (m.uefi ? 0x08 : 0)).u8(0, 0, 0xff, 0xff).u16(0);
}

/** System information (7.2). The UUID's first three fields are little-endian. */
function system(m: SmbiosMachine): Structure {
  const u = [...m.uuid];
  const id = [...u.slice(0, 4).reverse(), ...u.slice(4, 6).reverse(), ...u.slice(6, 8).reverse(), ...u.slice(8)];
  return new Structure(1, Handle.SYSTEM).string(VENDOR).string(`vmx-accel ${m.machine}`).string(m.version).string('').u8(...id).u8(6).string('').string('Virtual Machine');
}

/** Enclosure (7.4): "other". */
const chassis = (): Structure =>
  new Structure(3, Handle.CHASSIS).string(VENDOR).u8(1).string('').string('').string('').u8(3, 3, 3, 2).u32(0).u8(0, 0, 0, 0).string('');

/** Processor (7.5): one socket per CPU. */
function cpu(m: SmbiosMachine, i: number): Structure {
  const s = new Structure(4, Handle.CPU + i).string(`CPU ${i}`).u8(3, 2).string(VENDOR).u64(0).string(m.version).u8(0).u16(0).u16(2000).u16(2000).u8(0x41, 1);
  // No cache information; one core, one thread; 64-bit capable.
  return s.u16(0xffff).u16(0xffff).u16(0xffff).string('').string('').string('').u8(1, 1, 1).u16(0x04).u16(2).u16(1).u16(1).u16(1);
}

/** Physical memory array (7.17), one device in it (7.18), and the addresses it answers (7.20). */
function memory(m: SmbiosMachine): Structure[] {
  const bytes = m.ram.low + m.ram.high;
  const mib = Math.floor(bytes / MIB);
  const array = new Structure(16, Handle.MEMORY_ARRAY).u8(1, 3, 6).u32(0x8000_0000).u16(0xfffe).u16(1).u64(bytes);
  const device = new Structure(17, Handle.MEMORY_DEVICE).u16(Handle.MEMORY_ARRAY).u16(0xfffe).u16(64).u16(64).u16(Math.min(mib, EXTENDED_SIZE)).u8(9, 0);
  device.string('DIMM 0').string('').u8(7).u16(2).u16(0).string(VENDOR).string('').string('').string('').u8(0).u32(mib >= EXTENDED_SIZE ? mib : 0).u16(0).u16(0).u16(0).u16(0);
  const ranges = [[0, m.ram.low], [HIGH_RAM, m.ram.high]].filter(([, n]) => n! > 0) as [number, number][];
  const mapped = ranges.map(([at, n], i) => {
    const s = new Structure(19, Handle.ARRAY_ADDRESS + i);
    return s.u32(at / 1024).u32((at + n) / 1024 - 1).u16(Handle.MEMORY_ARRAY).u8(1).u64(0).u64(0);
  });
  return [array, device, ...mapped];
}

/** All structures, one after the other. */
export function smbiosTables(m: SmbiosMachine): Buffer {
  const list = [
    bios(m),
    system(m),
    chassis(),
    ...Array.from({ length: m.cpus }, (_, i) => cpu(m, i)),
    ...memory(m),
    new Structure(32, Handle.BOOT).u8(0, 0, 0, 0, 0, 0, 0),
    new Structure(127, Handle.END),
  ];
  return Buffer.concat(list.map((s) => s.build()));
}

/** The 64-bit entry point; `address` is 0 where firmware fills it in. */
export function smbiosAnchor(tables: Buffer, address = 0): Buffer {
  const b = Buffer.alloc(24);
  b.write('_SM3_', 0, 'latin1');
  b[6] = b.length;
  b[7] = 3;
  b[8] = 3;
  b[10] = 1;
  b.writeUInt32LE(tables.length, 12);
  b.writeBigUInt64LE(BigInt(address), 16);
  b[5] = checksum(b);
  return b;
}
