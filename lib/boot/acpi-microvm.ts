/** ACPI tables of the microvm board (ACPI Specification 6.5): hardware-reduced, no PCI, virtio devices at fixed addresses. */
import { GED_RESET, GED_S5_TYPE, GedEvent, GedRegister } from '../devices/acpi/ged.js';
import { type AcpiBoard, type AcpiTables, assembleAcpi, gas, madt, reducedFadt, table } from './acpi.js';
import * as aml from './aml.js';
import { isaDevice, pvpanicDevice, serialPort } from './dsdt.js';

export interface AcpiMicrovm extends Pick<AcpiBoard, 'cpus' | 'ioApicId' | 'ioApicBase' | 'lapicBase' | 'serialPorts' | 'pvpanicPort'> {
  /** Physical addresses of the Generic Event Device's word and of the sleep and reset registers, and its ISA interrupt. */
  events: number;
  registers: number;
  gedIrq: number;
  /** Windows with a device in them; the interrupts follow each other. */
  virtio: { base: number; bytes: number; count: number; gsi: number };
}

const RESET_REG_SUP = 1 << 10;
/** IAPC_BOOT_ARCH: there is no VGA to probe for. */
const NO_VGA = 1 << 2;
/** Offsets in the FADT (table 5.9). */
const enum Fadt { IAPC_BOOT_ARCH = 109, FLAGS = 112, RESET_REG = 116, RESET_VALUE = 128, SLEEP_CONTROL_REG = 244, SLEEP_STATUS_REG = 256 }

const fadt = (b: AcpiMicrovm, dsdt: number): Buffer =>
  reducedFadt(dsdt, (t, at) => {
    t.writeUInt16LE(NO_VGA, at(Fadt.IAPC_BOOT_ARCH));
    t.writeUInt32LE(t.readUInt32LE(at(Fadt.FLAGS)) | RESET_REG_SUP, at(Fadt.FLAGS));
    gas(t, at(Fadt.RESET_REG), 0, 8, b.registers + GedRegister.RESET, 1);
    t[at(Fadt.RESET_VALUE)] = GED_RESET;
    gas(t, at(Fadt.SLEEP_CONTROL_REG), 0, 8, b.registers + GedRegister.SLEEP_CONTROL, 1);
    gas(t, at(Fadt.SLEEP_STATUS_REG), 0, 8, b.registers + GedRegister.SLEEP_STATUS, 1);
  });

/** Notification of a power button that was pressed (table 5.164). */
const BUTTON_PRESSED = 0x80;

function dsdt(b: AcpiMicrovm): Buffer {
  const v = b.virtio;
  return Buffer.from([
    ...aml.scope(
      '\\_SB_',
      aml.device('FWCF', aml.name('_HID', aml.string('QEMU0002')), aml.name('_STA', aml.integer(0xb)), aml.name('_CRS', aml.resources(aml.io(0x510, 12)))),
      isaDevice('RTC_', 'PNP0B00', aml.io(0x70, 2), aml.irq(8)),
      ...[{ index: 0, base: 0x3f8, irq: 4 }, ...b.serialPorts].map(serialPort),
      ...(b.pvpanicPort === null ? [] : [pvpanicDevice(b.pvpanicPort)]),
      aml.region('EREG', aml.Space.MEMORY, b.events, 4),
      aml.dwordFields('EREG', 'ESEL'),
      aml.device('PWRB', aml.name('_HID', aml.eisaId('PNP0C0C')), aml.name('_UID', aml.integer(0))),
      aml.device(
        'GED_', aml.name('_HID', aml.string('ACPI0013')), aml.name('_UID', aml.integer(0)), aml.name('_CRS', aml.resources(aml.interruptsEdge(b.gedIrq))),
        aml.serialized('_EVT', 1, aml.store(aml.ref('ESEL'), aml.local(0)), aml.when(aml.and(aml.local(0), aml.integer(GedEvent.POWER_BUTTON)), aml.notify('PWRB', BUTTON_PRESSED))),
      ),
      ...Array.from({ length: v.count }, (_, i) =>
        aml.device(
          `VR${i.toString(16).toUpperCase().padStart(2, '0')}`, aml.name('_HID', aml.string('LNRO0005')), aml.name('_UID', aml.integer(i)), aml.name('_CCA', aml.integer(1)),
          aml.name('_CRS', aml.resources(aml.memory32(v.base + i * v.bytes, v.bytes, true), aml.interrupts(v.gsi + i))),
        ),
      ),
      ...Array.from({ length: b.cpus }, (_, i) => aml.device(`C${i.toString(16).toUpperCase().padStart(3, '0')}`, aml.name('_HID', aml.string('ACPI0007')), aml.name('_UID', aml.integer(i)))),
    ),
    ...aml.name('\\_S5_', aml.pkg(aml.integer(GED_S5_TYPE), aml.integer(0), aml.integer(0), aml.integer(0))),
  ]);
}

export function buildAcpiMicrovm(b: AcpiMicrovm): AcpiTables {
  return assembleAcpi({ facs: false, dsdt: table('DSDT', 2, dsdt(b)), fadt: (at) => fadt(b, at), tables: [madt({ ...b, sciIrq: null })] });
}
