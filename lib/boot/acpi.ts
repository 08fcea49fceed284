/**
 * ACPI tables of the PC boards (ACPI Specification 6.5, chapter 5; HPET: IA-PC HPET Specification 1.0a, 3.2.4; WAET: Windows
 * ACPI Emulated Devices Table).
 */
import * as aml from './aml.js';
import { dsdt } from './dsdt.js';

/** A floppy drive: type as in CMOS, and the format of its disk. */
export interface FloppyInfo {
  type: number;
  tracks: number;
  heads: number;
  sectors: number;
}

export interface AcpiBoard {
  cpus: number;
  ioApicId: number;
  ioApicBase: number;
  lapicBase: number;
  /** PM1a event block; control is at +4, timer at +8. */
  pmBase: number;
  gpeBase: number;
  gpeLength: number;
  sciIrq: number;
  smiCommand: number;
  acpiEnable: number;
  acpiDisable: number;
  /** Reset register port and value. */
  resetPort: number;
  resetValue: number;
  hpetBase: number;
  /** Memory windows of the PCI host bridge below 4 GiB, and the one above: first and last address. */
  pciHoles: readonly (readonly [number, number])[];
  pciHole64: readonly [number, number];
  /** PCI interrupts, 4 or 8, and which of them pin 1..4 of a device of bus 0 has. */
  pirqs: 4 | 8;
  pirqOf: (device: number, pin: number) => number;
  /** GSI of PCI interrupt 0. */
  pciGsiBase: number;
  /** Device number of the bridge to ISA, which has the routing registers. */
  isaDevice: number;
  /** Configuration window of PCI Express, or null. */
  ecam: { base: number; buses: number } | null;
  /** Drives of the floppy controller; none: there is no controller. */
  floppies: readonly FloppyInfo[];
  /** Serial ports besides COM1: index 1 is COM2. */
  serialPorts: readonly { index: number; base: number; irq: number }[];
  /** Port of pvpanic, or null. */
  pvpanicPort: number | null;
  /** Registers of PCI hot-plug, the slots of bus 0 that devices may come into, and the general-purpose event; null: there is none. */
  hotplug: { base: number; bytes: number; slots: readonly number[]; gpe: number } | null;
  centuryRegister: number;
  /** SLP_TYP of S3, or null: no suspend. */
  s3Type: number | null;
}

/** Signature .. creator revision; checksum filled in. */
export function table(signature: string, revision: number, body: Buffer): Buffer {
  const t = Buffer.alloc(36 + body.length);
  t.write(signature, 0, 'latin1');
  t.writeUInt32LE(t.length, 4);
  t[8] = revision;
  t.write('VMXACC', 10, 'latin1');
  t.write('VMXACCEL', 16, 'latin1');
  t.writeUInt32LE(1, 24);
  t.write('VMXA', 28, 'latin1');
  t.writeUInt32LE(1, 32);
  body.copy(t, 36);
  t[9] = checksum(t);
  return t;
}

/** Byte that makes the sum of all bytes zero (with the byte itself counted as it is now). */
export function checksum(b: Uint8Array): number {
  let s = 0;
  for (const x of b) s += x;
  return (256 - (s & 0xff)) & 0xff;
}

/** @param b `sciIrq` null: there is no fixed ACPI hardware */
export function madt(b: Pick<AcpiBoard, 'cpus' | 'ioApicId' | 'ioApicBase' | 'lapicBase'> & { sciIrq: number | null }): Buffer {
  const e: number[] = [...aml.le32(b.lapicBase), ...aml.le32(1)];
  for (let i = 0; i < b.cpus; i++) e.push(0, 8, i, i, ...aml.le32(1));
  e.push(1, 12, b.ioApicId, 0, ...aml.le32(b.ioApicBase), ...aml.le32(0));
  // IRQ0 is wired to pin 2; the SCI is level triggered, active high.
  e.push(2, 10, 0, 0, ...aml.le32(2), ...aml.le16(0));
  if (b.sciIrq !== null) e.push(2, 10, 0, b.sciIrq, ...aml.le32(b.sciIrq), ...aml.le16(0x000d));
  // LINT1 is NMI on all processors.
  e.push(4, 6, 0xff, ...aml.le16(0), 1);
  return table('APIC', 3, Buffer.from(e));
}

function fadt(b: AcpiBoard, dsdt: number, facs: number): Buffer {
  const t = Buffer.alloc(244 - 36);
  const at = (off: number): number => off - 36;
  t.writeUInt32LE(facs, at(36));
  t.writeUInt32LE(dsdt, at(40));
  t[at(45)] = 0;
  t.writeUInt16LE(b.sciIrq, at(46));
  t.writeUInt32LE(b.smiCommand, at(48));
  t[at(52)] = b.acpiEnable;
  t[at(53)] = b.acpiDisable;
  t.writeUInt32LE(b.pmBase, at(56));
  t.writeUInt32LE(b.pmBase + 4, at(64));
  t.writeUInt32LE(b.pmBase + 8, at(76));
  t.writeUInt32LE(b.gpeBase, at(80));
  t[at(88)] = 4;
  t[at(89)] = 2;
  t[at(91)] = 4;
  t[at(92)] = b.gpeLength;
  t.writeUInt16LE(0xfff, at(96));
  t.writeUInt16LE(0xfff, at(98));
  t[at(108)] = b.centuryRegister;
  // IAPC_BOOT_ARCH: legacy devices, 8042.
  t.writeUInt16LE(0x0003, at(109));
  // Flags: WBINVD, PROC_C1, SLP_BUTTON (control method), 32-bit PM timer, RESET_REG_SUP, fixed RTC wake unsupported.
  t.writeUInt32LE((1 << 0) | (1 << 2) | (1 << 5) | (1 << 8) | (1 << 10), at(112));
  gas(t, at(116), 1, 8, b.resetPort, 1);
  t[at(128)] = b.resetValue;
  t[at(131)] = 0;
  t.writeBigUInt64LE(BigInt(facs), at(132));
  t.writeBigUInt64LE(BigInt(dsdt), at(140));
  gas(t, at(148), 1, 32, b.pmBase, 2);
  gas(t, at(172), 1, 16, b.pmBase + 4, 2);
  gas(t, at(208), 1, 32, b.pmBase + 8, 3);
  gas(t, at(220), 1, b.gpeLength * 8, b.gpeBase, 1);
  return table('FACP', 3, t);
}

const HW_REDUCED_ACPI = 1 << 20;

/** FADT of a hardware-reduced platform, revision 6.3 (5.2.9). @param fill sets what the board has, at(offset in the table) in the buffer */
export function reducedFadt(dsdt: number, fill: (t: Buffer, at: (offset: number) => number) => void): Buffer {
  const t = Buffer.alloc(276 - 36);
  const at = (offset: number): number => offset - 36;
  t.writeUInt32LE(dsdt, at(40));
  t.writeUInt32LE(HW_REDUCED_ACPI, at(112));
  // Minor version.
  t[at(131)] = 3;
  t.writeBigUInt64LE(BigInt(dsdt), at(140));
  fill(t, at);
  return table('FACP', 6, t);
}

/** Generic Address Structure (5.2.3.2). */
export function gas(t: Buffer, at: number, space: number, bits: number, address: number, access: number): void {
  t[at] = space;
  t[at + 1] = bits;
  t[at + 2] = 0;
  t[at + 3] = access;
  t.writeBigUInt64LE(BigInt(address), at + 4);
}

function hpet(b: AcpiBoard): Buffer {
  const t = Buffer.alloc(56 - 36);
  // Event timer block id: revision 1, 3 comparators, 64-bit counter, legacy replacement, vendor 8086.
  t.writeUInt32LE(0x8086_a201, 0);
  gas(t, 4, 0, 64, b.hpetBase, 0);
  t[16] = 0;
  t.writeUInt16LE(100, 17);
  return table('HPET', 1, t);
}

/** RTC and PM timer are well behaved: no acknowledge and no repeated reads needed. */
const waet = (): Buffer => table('WAET', 1, Buffer.from(aml.le32(3)));

/** Memory mapped configuration space (PCI Firmware Specification 3.3, 4.1.2). */
export function mcfg(ecam: { base: number; buses: number }): Buffer {
  return table('MCFG', 1, Buffer.from([...new Array<number>(8).fill(0), ...aml.le64(ecam.base), ...aml.le16(0), 0, ecam.buses - 1, ...aml.le32(0)]));
}

/** A pointer inside the tables: `size` bytes at `at` hold the offset of their target. */
export interface Pointer {
  at: number;
  size: 4 | 8;
}

/** All tables in one piece; addresses in it are offsets from its start until it is placed. */
export interface AcpiTables {
  tables: Buffer;
  pointers: Pointer[];
  /** Tables with a checksum at byte 9: offset and length. */
  checksums: { start: number; length: number }[];
  /** The RSDP, by itself; its pointers lead into `tables`. Checksums: bytes 8 (over 20 bytes) and 32 (over all). */
  rsdp: Buffer;
  rsdpPointers: Pointer[];
  /** Where the FACS is in `tables`. */
  facs: number;
}

/** FACS alignment: the largest any table needs. */
export const ACPI_ALIGN = 64;

/** What a set of tables is put together from. */
export interface AcpiParts {
  /** There is a FACS (none on hardware-reduced platforms). */
  facs: boolean;
  dsdt: Buffer;
  /** Made when the offsets of DSDT and FACS (0: none) are known. */
  fadt: (dsdt: number, facs: number) => Buffer;
  /** All others. */
  tables: readonly Buffer[];
}

export function buildAcpi(b: AcpiBoard): AcpiTables {
  return assembleAcpi({ facs: true, dsdt: table('DSDT', 2, dsdt(b)), fadt: (d, f) => fadt(b, d, f), tables: [madt(b), hpet(b), waet(), ...(b.ecam === null ? [] : [mcfg(b.ecam)])] });
}

/** Puts tables into one piece, with the pointers between them and the RSDP. */
export function assembleAcpi(from: AcpiParts): AcpiTables {
  const parts: { at: number; bytes: Buffer }[] = [];
  const pointers: Pointer[] = [];
  const checksums: { start: number; length: number }[] = [];
  let next = 0;
  const add = (bytes: Buffer, to = 16): number => {
    const at = Math.ceil(next / to) * to;
    parts.push({ at, bytes });
    next = at + bytes.length;
    return at;
  };
  const addTable = (bytes: Buffer): number => {
    const at = add(bytes);
    // Zero until the table is placed: that is what firmware expects when it is told to compute it.
    bytes[9] = 0;
    checksums.push({ start: at, length: bytes.length });
    return at;
  };
  const facs = Buffer.alloc(64);
  facs.write('FACS', 0, 'latin1');
  facs.writeUInt32LE(64, 4);
  facs[32] = 1;
  const facsAt = from.facs ? add(facs, ACPI_ALIGN) : 0;
  const dsdtAt = addTable(from.dsdt);
  const fadtAt = addTable(from.fadt(dsdtAt, facsAt));
  if (from.facs) pointers.push({ at: fadtAt + 36, size: 4 });
  pointers.push({ at: fadtAt + 40, size: 4 });
  if (from.facs) pointers.push({ at: fadtAt + 132, size: 8 });
  pointers.push({ at: fadtAt + 140, size: 8 });
  const tables = [fadtAt, ...from.tables.map(addTable)];
  const rsdtAt = addTable(table('RSDT', 1, Buffer.from(tables.flatMap(aml.le32))));
  tables.forEach((_t, i) => pointers.push({ at: rsdtAt + 36 + 4 * i, size: 4 }));
  const xsdtAt = addTable(table('XSDT', 1, Buffer.from(tables.flatMap(aml.le64))));
  tables.forEach((_t, i) => pointers.push({ at: xsdtAt + 36 + 8 * i, size: 8 }));
  const blob = Buffer.alloc(next);
  for (const p of parts) p.bytes.copy(blob, p.at);
  const rsdp = Buffer.alloc(36);
  rsdp.write('RSD PTR ', 0, 'latin1');
  rsdp.write('VMXACC', 9, 'latin1');
  rsdp[15] = 2;
  rsdp.writeUInt32LE(rsdtAt, 16);
  rsdp.writeUInt32LE(36, 20);
  rsdp.writeBigUInt64LE(BigInt(xsdtAt), 24);
  return { tables: blob, pointers, checksums, rsdp, rsdpPointers: [{ at: 16, size: 4 }, { at: 24, size: 8 }], facs: facsAt };
}

/** The RSDP at the start of what is placed, the tables behind it. */
const RSDP_ROOM = 64;

/** Places the tables at physical address `base` (a multiple of 64), RSDP first. */
export function placeAcpi(t: AcpiTables, base: number): { blob: Buffer; rsdp: number; facs: number } {
  const tables = Buffer.from(t.tables);
  const rsdp = Buffer.from(t.rsdp);
  const move = (b: Buffer, { at, size }: Pointer): void => {
    const v = (size === 4 ? b.readUInt32LE(at) : Number(b.readBigUInt64LE(at))) + base + RSDP_ROOM;
    if (size === 4) b.writeUInt32LE(v, at);
    else b.writeBigUInt64LE(BigInt(v), at);
  };
  for (const p of t.pointers) move(tables, p);
  for (const p of t.rsdpPointers) move(rsdp, p);
  for (const { start, length } of t.checksums) {
    tables[start + 9] = 0;
    tables[start + 9] = checksum(tables.subarray(start, start + length));
  }
  rsdp[8] = checksum(rsdp.subarray(0, 20));
  rsdp[32] = checksum(rsdp);
  return { blob: Buffer.concat([rsdp, Buffer.alloc(RSDP_ROOM - rsdp.length), tables]), rsdp: base, facs: base + RSDP_ROOM + t.facs };
}
