/** The DSDT of the PC boards (ACPI Specification 6.5). */
import type { AcpiBoard, FloppyInfo } from './acpi.js';
import * as aml from './aml.js';

/** Interrupts a PCI link device may be set to. */
const LINK_IRQS = [5, 10, 11];
const letter = (n: number): string => String.fromCharCode(0x41 + n);

/** _PRT for interrupts by the 8259A (names of link devices) and by the I/O APIC (global system interrupts). */
function routing(b: AcpiBoard): { pic: number[]; apic: number[] } {
  const pic: number[][] = [];
  const apic: number[][] = [];
  for (let dev = 0; dev < 32; dev++) {
    for (let pin = 0; pin < 4; pin++) {
      const n = b.pirqOf(dev, pin + 1);
      const head = [aml.integer(dev * 0x1_0000 + 0xffff), aml.integer(pin)];
      pic.push(aml.pkg(...head, aml.ref(`\\_SB_.PCI0.ISA_.LNK${letter(n)}`), aml.integer(0)));
      apic.push(aml.pkg(...head, aml.integer(0), aml.integer(b.pciGsiBase + n)));
    }
  }
  return { pic: aml.pkg(...pic), apic: aml.pkg(...apic) };
}

/** Link device n: its interrupt is in the bridge's routing register. */
function link(n: number): number[] {
  const reg = `PRQ${letter(n)}`;
  const disabled = aml.and(aml.ref(reg), aml.integer(0x80));
  return aml.device(
    `LNK${letter(n)}`,
    aml.name('_HID', aml.eisaId('PNP0C0F')),
    aml.name('_UID', aml.integer(n + 1)),
    aml.name('_PRS', aml.resources(aml.interrupts(...LINK_IRQS))),
    aml.name('BUF_', aml.resources(aml.interrupts(0))),
    aml.dwordField(aml.ref('BUF_'), 5, 'CURR'),
    aml.method('_STA', 0, aml.when(disabled, aml.ret(aml.integer(9))), aml.ret(aml.integer(0xb))),
    aml.method('_DIS', 0, aml.or(aml.ref(reg), aml.integer(0x80), aml.ref(reg))),
    aml.method('_CRS', 0, aml.when(disabled, aml.store(aml.integer(0), aml.ref('CURR'))), aml.otherwise(aml.and(aml.ref(reg), aml.integer(0xf), aml.ref('CURR'))), aml.ret(aml.ref('BUF_'))),
    aml.serialized('_SRS', 1, aml.dwordField(aml.arg(0), 5, 'WANT'), aml.store(aml.ref('WANT'), aml.ref(reg))),
  );
}

export function serialPort(p: AcpiBoard['serialPorts'][number]): number[] {
  const n = p.index + 1;
  return aml.device(`COM${n}`, aml.name('_HID', aml.eisaId('PNP0501')), aml.name('_UID', aml.integer(n)), aml.name('_STA', aml.integer(0xf)), aml.name('_CRS', aml.resources(aml.io(p.base, 8), aml.irq(p.irq))));
}

export const isaDevice = (path: string, hid: string, ...res: readonly aml.Aml[]): number[] =>
  aml.device(path, aml.name('_HID', aml.eisaId(hid)), aml.name('_STA', aml.integer(0xf)), aml.name('_CRS', aml.resources(...res)));

export const pvpanicDevice = (port: number): number[] =>
  aml.device('PEVT', aml.name('_HID', aml.string('QEMU0001')), aml.name('_STA', aml.integer(0xf)), aml.name('_CRS', aml.resources(aml.io(port, 1))));

function isaDevices(b: AcpiBoard): number[][] {
  const list = [
    isaDevice('RTC_', 'PNP0B00', aml.io(0x70, 2), aml.irq(8)),
    isaDevice('KBD_', 'PNP0303', aml.io(0x60, 1), aml.io(0x64, 1), aml.irq(1)),
    isaDevice('MOU_', 'PNP0F13', aml.irq(12)),
    ...[{ index: 0, base: 0x3f8, irq: 4 }, ...b.serialPorts].map(serialPort),
    ...(b.pvpanicPort === null ? [] : [pvpanicDevice(b.pvpanicPort)]),
  ];
  if (b.floppies.length > 0) {
    const present = [0, 1, 2, 3].map((i) => (i < b.floppies.length ? 1 : 0));
    list.push(
      aml.device(
        'FDC0',
        aml.name('_HID', aml.eisaId('PNP0700')),
        aml.name('_STA', aml.integer(0xf)),
        aml.name('_CRS', aml.resources(aml.io(0x3f2, 4), aml.io(0x3f7, 1), aml.irq(6), aml.dma(2))),
        aml.name('_FDE', aml.buffer([...present, NO_TAPE].flatMap(aml.le32))),
        ...b.floppies.map(floppyDrive),
      ),
    );
  }
  return list;
}

/** _FDE, fifth double word: there is never a tape drive. */
const NO_TAPE = 2;
/** The BIOS's table behind interrupt vector 1Eh (IBM PC/AT Technical Reference) for 18 sectors of 512 bytes, without its EOT. */
const DISK_TABLE = { specify: [0xaf, 0x02], motorWait: 0x25, sectorSize: 0x02, gap: 0x1b, dtl: 0xff, formatGap: 0x6c, fill: 0xf6, headSettle: 0x0f, motorStart: 0x08 };

/** A drive with _FDI: what INT 13h, function 8 says about it. */
function floppyDrive(f: FloppyInfo, n: number): number[] {
  const t = DISK_TABLE;
  const info = [
    n, f.type, f.tracks - 1, f.sectors, f.heads - 1, ...t.specify, t.motorWait, t.sectorSize, f.sectors, t.gap, t.dtl, t.formatGap, t.fill, t.headSettle, t.motorStart,
  ];
  return aml.device(`FLP${letter(n)}`, aml.name('_ADR', aml.integer(n)), aml.name('_FDI', aml.pkg(...info.map(aml.integer))));
}

const slotName = (slot: number): string => `S${slot.toString(16).toUpperCase().padStart(2, '0')}_`;

/** What belongs into PCI0 for hot-plug: a device per slot, with _EJ0, and a method that tells of those that come and go. */
function hotplugSlots(h: NonNullable<AcpiBoard['hotplug']>): number[][] {
  const tell = (register: string, value: number): number[][] => [aml.store(aml.ref(register), aml.local(0)), ...h.slots.map((n) => aml.when(aml.and(aml.local(0), aml.integer(2 ** n)), aml.notify(slotName(n), value)))];
  return [
    aml.region('PCST', aml.Space.IO, h.base, h.bytes),
    aml.dwordFields('PCST', 'PCIU', 'PCID', 'B0EJ'),
    ...h.slots.map((n) => aml.device(slotName(n), aml.name('_SUN', aml.integer(n)), aml.name('_ADR', aml.integer(n * 0x1_0000)), aml.serialized('_EJ0', 1, aml.store(aml.integer(2 ** n), aml.ref('B0EJ'))))),
    aml.serialized('PCNT', 0, ...tell('PCIU', DEVICE_CHECK), ...tell('PCID', EJECT_REQUEST)),
  ];
}

/** Notifications (5.6.6). */
const DEVICE_CHECK = 1;
const EJECT_REQUEST = 3;

export function dsdt(b: AcpiBoard): Buffer {
  const prt = routing(b);
  const express = b.ecam !== null;
  const links = Array.from({ length: b.pirqs }, (_, n) => n);
  // Routing registers: PIRQA-D at 60h, PIRQE-H at 68h of the bridge.
  const registers = links.length > 4 ? [...links.slice(0, 4), null, null, null, null, ...links.slice(4)] : links;
  const body = [
    ...aml.name('\\PICM', aml.integer(0)),
    ...aml.method('\\_PIC', 1, aml.store(aml.arg(0), aml.ref('\\PICM'))),
    ...aml.scope(
      '\\_SB_',
      aml.device(
        'PCI0',
        aml.name('_HID', aml.eisaId(express ? 'PNP0A08' : 'PNP0A03')),
        ...(express ? [aml.name('_CID', aml.eisaId('PNP0A03')), aml.pciOsc()] : []),
        aml.name('_UID', aml.integer(0)),
        aml.name(
          '_CRS',
          aml.resources(
            aml.busRange(0, 255),
            aml.io(0xcf8, 8),
            aml.ioRange(0x0000, 0x0cf7),
            aml.ioRange(0x0d00, 0xffff),
            aml.memoryRange(0xa_0000, 0xb_ffff),
            ...b.pciHoles.map(([from, to]) => aml.memoryRange(from, to)),
            aml.memoryRange64(b.pciHole64[0], b.pciHole64[1]),
          ),
        ),
        aml.device(
          'ISA_',
          aml.name('_ADR', aml.integer(b.isaDevice * 0x1_0000)),
          aml.region('PIRQ', aml.Space.PCI_CONFIG, 0x60, registers.length),
          aml.byteFields('PIRQ', registers.map((n) => (n === null ? null : `PRQ${letter(n)}`))),
          ...links.map(link),
          ...isaDevices(b),
        ),
        ...(b.hotplug === null ? [] : hotplugSlots(b.hotplug)),
        aml.name('PRTP', prt.pic),
        aml.name('PRTA', prt.apic),
        aml.method('_PRT', 0, aml.when(aml.ref('\\PICM'), aml.ret(aml.ref('PRTA'))), aml.ret(aml.ref('PRTP'))),
      ),
      aml.device('HPET', aml.name('_HID', aml.eisaId('PNP0103')), aml.name('_UID', aml.integer(0)), aml.name('_CRS', aml.resources(aml.memory32(b.hpetBase, 0x400, true)))),
      // The configuration window must be claimed by a motherboard resource (PCI Firmware Specification 3.3, 4.1.2).
      ...(b.ecam === null ? [] : [aml.device('MRES', aml.name('_HID', aml.eisaId('PNP0C02')), aml.name('_UID', aml.integer(1)), aml.name('_CRS', aml.resources(aml.memory32(b.ecam.base, b.ecam.buses * 0x10_0000, true))))]),
      aml.device('FWCF', aml.name('_HID', aml.string('QEMU0002')), aml.name('_STA', aml.integer(0xb)), aml.name('_CRS', aml.resources(aml.io(0x510, 12)))),
      ...(b.hotplug === null ? [] : [aml.device('PHPR', aml.name('_HID', aml.eisaId('PNP0A06')), aml.name('_UID', aml.integer(2)), aml.name('_STA', aml.integer(0xb)), aml.name('_CRS', aml.resources(aml.io(b.hotplug.base, b.hotplug.bytes))))]),
      ...Array.from({ length: b.cpus }, (_, i) => aml.device(`C${i.toString(16).toUpperCase().padStart(3, '0')}`, aml.name('_HID', aml.string('ACPI0007')), aml.name('_UID', aml.integer(i)))),
    ),
    ...(b.hotplug === null ? [] : aml.scope('\\_GPE', aml.method(`_E${b.hotplug.gpe.toString(16).toUpperCase().padStart(2, '0')}`, 0, aml.call('\\_SB_.PCI0.PCNT')))),
    ...(b.s3Type === null ? [] : aml.name('\\_S3_', aml.pkg(aml.integer(b.s3Type), aml.integer(b.s3Type), aml.integer(0), aml.integer(0)))),
    ...aml.name('\\_S5_', aml.pkg(aml.integer(0), aml.integer(0), aml.integer(0), aml.integer(0))),
  ];
  return Buffer.from(body);
}
