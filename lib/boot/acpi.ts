/**
 * ACPI tables of the PC boards (ACPI Specification 6.5, chapter 5; HPET: IA-PC HPET Specification 1.0a, 3.2.4; WAET: Windows
 * ACPI Emulated Devices Table).
 */
import * as aml from './aml.js';

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
  /** First address of the PCI memory hole; it ends at the I/O APIC. */
  pciHole: number;
  /** GSI of pin INTA..INTD (0..3) of device d is gsiBase + ((d - 1 + pin) & 3). */
  pciGsiBase: number;
  centuryRegister: number;
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

function madt(b: AcpiBoard): Buffer {
  const e: number[] = [...aml.le32(b.lapicBase), ...aml.le32(1)];
  for (let i = 0; i < b.cpus; i++) e.push(0, 8, i, i, ...aml.le32(1));
  e.push(1, 12, b.ioApicId, 0, ...aml.le32(b.ioApicBase), ...aml.le32(0));
  // IRQ0 is wired to pin 2; the SCI is level triggered, active high.
  e.push(2, 10, 0, 0, ...aml.le32(2), ...aml.le16(0));
  e.push(2, 10, 0, b.sciIrq, ...aml.le32(b.sciIrq), ...aml.le16(0x000d));
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

/** Generic Address Structure (5.2.3.2). */
function gas(t: Buffer, at: number, space: number, bits: number, address: number, access: number): void {
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

function dsdt(b: AcpiBoard): Buffer {
  const prt: number[][] = [];
  for (let dev = 0; dev < 32; dev++) {
    for (let pin = 0; pin < 4; pin++) {
      prt.push(aml.pkg(aml.integer(dev * 0x1_0000 + 0xffff), aml.integer(pin), aml.integer(0), aml.integer(b.pciGsiBase + ((dev - 1 + pin) & 3))));
    }
  }
  const isa = (path: string, hid: string, ...res: readonly aml.Aml[]): number[] => aml.device(path, aml.name('_HID', aml.eisaId(hid)), aml.name('_STA', aml.integer(0xf)), aml.name('_CRS', aml.resources(...res)));
  const body = [
    ...aml.scope(
      '\\_SB_',
      aml.device(
        'PCI0',
        aml.name('_HID', aml.eisaId('PNP0A03')),
        aml.name('_UID', aml.integer(0)),
        aml.name('_ADR', aml.integer(0)),
        aml.name(
          '_CRS',
          aml.resources(
            aml.busRange(0, 255),
            aml.io(0xcf8, 8),
            aml.ioRange(0x0000, 0x0cf7),
            aml.ioRange(0x0d00, 0xffff),
            aml.memoryRange(0xa_0000, 0xb_ffff),
            aml.memoryRange(b.pciHole, b.ioApicBase - 1),
          ),
        ),
        aml.name('_PRT', aml.pkg(...prt)),
        aml.device(
          'ISA_',
          aml.name('_ADR', aml.integer(0x1_0000)),
          isa('RTC_', 'PNP0B00', aml.io(0x70, 2), aml.irq(8)),
          isa('KBD_', 'PNP0303', aml.io(0x60, 1), aml.io(0x64, 1), aml.irq(1)),
          isa('MOU_', 'PNP0F13', aml.irq(12)),
          aml.device('COM1', aml.name('_HID', aml.eisaId('PNP0501')), aml.name('_UID', aml.integer(1)), aml.name('_STA', aml.integer(0xf)), aml.name('_CRS', aml.resources(aml.io(0x3f8, 8), aml.irq(4)))),
        ),
      ),
      aml.device('HPET', aml.name('_HID', aml.eisaId('PNP0103')), aml.name('_UID', aml.integer(0)), aml.name('_CRS', aml.resources(aml.memory32(b.hpetBase, 0x400, true)))),
      ...Array.from({ length: b.cpus }, (_, i) => aml.device(`C${i.toString(16).toUpperCase().padStart(3, '0')}`, aml.name('_HID', aml.string('ACPI0007')), aml.name('_UID', aml.integer(i)))),
    ),
    ...aml.name('\\_S5_', aml.pkg(aml.integer(0), aml.integer(0), aml.integer(0), aml.integer(0))),
  ];
  return table('DSDT', 2, Buffer.from(body));
}

export interface AcpiTables {
  /** Tables as one blob, to be placed at `base`. */
  blob: Buffer;
  rsdp: number;
}

/** Lays all tables out from physical address `base` (16-byte aligned), RSDP first. */
export function buildAcpi(b: AcpiBoard, base: number): AcpiTables {
  const align = (n: number, to: number): number => Math.ceil(n / to) * to;
  const parts: { at: number; bytes: Buffer }[] = [];
  let next = base + 64;
  const add = (bytes: Buffer, to = 16): number => {
    next = align(next, to);
    parts.push({ at: next, bytes });
    next += bytes.length;
    return next - bytes.length;
  };
  const facs = Buffer.alloc(64);
  facs.write('FACS', 0, 'latin1');
  facs.writeUInt32LE(64, 4);
  facs[32] = 1;
  const facsAt = add(facs, 64);
  const dsdtAt = add(dsdt(b));
  const tables = [fadt(b, dsdtAt, facsAt), madt(b), hpet(b), waet()].map((t) => add(t));
  const rsdtAt = add(table('RSDT', 1, Buffer.from(tables.flatMap((a) => aml.le32(a)))));
  const xsdtAt = add(table('XSDT', 1, Buffer.from(tables.flatMap((a) => [...aml.le32(a), 0, 0, 0, 0]))));
  const rsdp = Buffer.alloc(36);
  rsdp.write('RSD PTR ', 0, 'latin1');
  rsdp.write('VMXACC', 9, 'latin1');
  rsdp[15] = 2;
  rsdp.writeUInt32LE(rsdtAt, 16);
  rsdp.writeUInt32LE(36, 20);
  rsdp.writeBigUInt64LE(BigInt(xsdtAt), 24);
  rsdp[8] = checksum(rsdp.subarray(0, 20));
  rsdp[32] = checksum(rsdp);
  parts.push({ at: base, bytes: rsdp });
  const blob = Buffer.alloc(next - base);
  for (const p of parts) p.bytes.copy(blob, p.at - base);
  return { blob, rsdp: base };
}
