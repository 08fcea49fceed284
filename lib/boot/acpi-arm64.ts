/**
 * ACPI tables of ARM64's board virt, by which UEFI describes it (ACPI Specification 6.5, 5.2; Server Base Boot Requirements; IORT: ARM
 * DEN 0049; SPCR: Microsoft's Serial Port Console Redirection table): hardware-reduced, power control by PSCI.
 */
import { type AcpiTables, assembleAcpi, gas, mcfg, reducedFadt, table } from './acpi.js';
import * as aml from './aml.js';

interface Window {
  base: number;
  bytes: number;
}

export interface AcpiArm64Board {
  /** MPIDR affinity of each CPU. */
  affinities: readonly number[];
  gicVersion: 2 | 3;
  gicd: Window;
  gicc: Window;
  gicr: Window;
  /** GICv3: the translation service; GICv2: the frame for messages, and its SPIs. Null: there is none. */
  its: Window | null;
  v2m: { base: number; firstSpi: number; spis: number } | null;
  uart: Window;
  rtc: Window;
  gpio: Window;
  fwCfg: Window;
  virtioMmio: { base: number; bytes: number; count: number };
  ecam: Window;
  pio: Window;
  mmio32: Window;
  mmio64: Window;
  /** SPI numbers. */
  spi: { uart: number; gpio: number; pcie: number; virtioMmio: number };
  /** PPIs of the timers: secure, physical, virtual, hypervisor; and the overflow of performance counters. */
  timers: readonly number[];
  pmu: number;
  pirqOf: (device: number, pin: number) => number;
}

/** Interrupt numbers: SPIs begin at 32, PPIs at 16. */
const gsi = (spi: number): number => 32 + spi;
const ppi = (n: number): number => 16 + n;

const enum Madt { GICC = 11, GICD = 12, MSI_FRAME = 13, GICR = 14, ITS = 15 }

function madt(b: AcpiArm64Board): Buffer {
  const v2 = b.gicVersion === 2;
  const e: number[] = [...aml.le32(0), ...aml.le32(0)];
  e.push(Madt.GICD, 24, 0, 0, ...aml.le32(0), ...aml.le64(b.gicd.base), ...aml.le32(0), b.gicVersion, 0, 0, 0);
  b.affinities.forEach((affinity, i) => {
    e.push(
      Madt.GICC, 80, 0, 0, ...aml.le32(i), ...aml.le32(i), ...aml.le32(1), ...aml.le32(0), ...aml.le32(ppi(b.pmu)), ...aml.le64(0), ...aml.le64(v2 ? b.gicc.base : 0), ...aml.le64(0),
      ...aml.le64(0), ...aml.le32(0), ...aml.le64(0), ...aml.le64(affinity), 0, 0, 0, 0,
    );
  });
  if (!v2) e.push(Madt.GICR, 16, 0, 0, ...aml.le64(b.gicr.base), ...aml.le32(b.gicr.bytes));
  if (b.its !== null) e.push(Madt.ITS, 20, 0, 0, ...aml.le32(0), ...aml.le64(b.its.base), ...aml.le32(0));
  if (b.v2m !== null) e.push(Madt.MSI_FRAME, 24, 0, 0, ...aml.le32(0), ...aml.le64(b.v2m.base), ...aml.le32(1), ...aml.le16(b.v2m.spis), ...aml.le16(gsi(b.v2m.firstSpi)));
  return table('APIC', 4, Buffer.from(e));
}

/** ARM_BOOT_ARCH: PSCI is there and called by HVC. */
const PSCI_BY_HVC = 3;

const fadt = (dsdt: number): Buffer => reducedFadt(dsdt, (t, at) => t.writeUInt16LE(PSCI_BY_HVC, at(129)));

/** Timers are level-triggered, active high, and go on in every power state. */
const TIMER_FLAGS = 4;
const NONE64 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

const gtdt = (b: AcpiArm64Board): Buffer =>
  table('GTDT', 2, Buffer.from([...NONE64, ...aml.le32(0), ...b.timers.flatMap((n) => [...aml.le32(ppi(n)), ...aml.le32(TIMER_FLAGS)]), ...NONE64, ...aml.le32(0), ...aml.le32(0)]));

const SPCR_PL011 = 3;
const SPCR_BY_GIC = 8;
const SPCR_115200 = 7;

function spcr(b: AcpiArm64Board): Buffer {
  const t = Buffer.alloc(80 - 36);
  t[0] = SPCR_PL011;
  gas(t, 4, 0, 32, b.uart.base, 3);
  t[16] = SPCR_BY_GIC;
  t.writeUInt32LE(gsi(b.spi.uart), 18);
  t[22] = SPCR_115200;
  t[24] = 1;
  // No PCI device.
  t.writeUInt32LE(0xffff_ffff, 28);
  return table('SPCR', 2, t);
}

/** Where nodes begin; the ITS group comes first. */
const IORT_NODES = 48;

/** Messages of every PCI function go to the translation service, with the requester's ID as device ID. */
function iort(): Buffer {
  const group = [0, ...aml.le16(24), 0, ...aml.le32(0), ...aml.le32(0), ...aml.le32(0), ...aml.le32(1), ...aml.le32(0)];
  const mapping = [...aml.le32(0), ...aml.le32(0xffff), ...aml.le32(0), ...aml.le32(IORT_NODES), ...aml.le32(0)];
  // Coherent, by attributes of the CPU; no ATS; segment 0.
  const root = [2, ...aml.le16(52), 0, ...aml.le32(1), ...aml.le32(1), ...aml.le32(32), ...aml.le32(1), 0, 0, 0, 3, ...aml.le32(0), ...aml.le32(0), ...mapping];
  return table('IORT', 0, Buffer.from([...aml.le32(2), ...aml.le32(IORT_NODES), ...aml.le32(0), ...group, ...root]));
}

/** Line of the power button at the PL061. */
export const POWER_PIN = 3;

/** Coherent with the CPU's caches. */
const coherent = (): number[] => aml.name('_CCA', aml.integer(1));

function peripherals(b: AcpiArm64Board): number[][] {
  const fixed = (name: string, hid: string, at: Window, ...more: readonly aml.Aml[]): number[] =>
    aml.device(name, aml.name('_HID', aml.string(hid)), aml.name('_UID', aml.integer(0)), aml.name('_CRS', aml.resources(aml.memory32(at.base, at.bytes, true), ...more)));
  return [
    fixed('COM0', 'ARMH0011', b.uart, aml.interrupts(gsi(b.spi.uart))),
    fixed('FWCF', 'QEMU0002', b.fwCfg),
    aml.device(
      'GPO0', aml.name('_HID', aml.string('ARMH0061')), aml.name('_UID', aml.integer(0)),
      aml.name('_CRS', aml.resources(aml.memory32(b.gpio.base, b.gpio.bytes, true), aml.interrupts(gsi(b.spi.gpio)))),
      aml.name('_AEI', aml.resources(aml.gpioInterrupt('GPO0', POWER_PIN))),
      aml.method(`_E0${POWER_PIN}`, 0, aml.notify('\\_SB_.PWRB', 0x80)),
    ),
    aml.device('PWRB', aml.name('_HID', aml.string('PNP0C0C')), aml.name('_UID', aml.integer(0))),
    ...Array.from({ length: b.virtioMmio.count }, (_, i) =>
      aml.device(
        `VR${i.toString(16).toUpperCase().padStart(2, '0')}`, aml.name('_HID', aml.string('LNRO0005')), aml.name('_UID', aml.integer(i)), coherent(),
        aml.name('_CRS', aml.resources(aml.memory32(b.virtioMmio.base + i * b.virtioMmio.bytes, b.virtioMmio.bytes, true), aml.interruptsEdge(gsi(b.spi.virtioMmio + i)))),
      ),
    ),
  ];
}

function pci(b: AcpiArm64Board): number[] {
  const routes: number[][] = [];
  for (let dev = 0; dev < 32; dev++) {
    for (let pin = 0; pin < 4; pin++) routes.push(aml.pkg(aml.integer(dev * 0x1_0000 + 0xffff), aml.integer(pin), aml.integer(0), aml.integer(gsi(b.spi.pcie + b.pirqOf(dev, pin + 1)))));
  }
  return aml.device(
    'PCI0',
    aml.name('_HID', aml.string('PNP0A08')),
    aml.name('_CID', aml.string('PNP0A03')),
    aml.name('_SEG', aml.integer(0)),
    aml.name('_BBN', aml.integer(0)),
    aml.name('_UID', aml.integer(0)),
    coherent(),
    aml.name('_PRT', aml.pkg(...routes)),
    aml.name(
      '_CRS',
      aml.resources(
        aml.busRange(0, b.ecam.bytes / 0x10_0000 - 1),
        aml.memoryRange(b.mmio32.base, b.mmio32.base + b.mmio32.bytes - 1),
        aml.ioWindow(0, b.pio.bytes - 1, b.pio.base),
        aml.memoryRange64(b.mmio64.base, b.mmio64.base + b.mmio64.bytes - 1),
      ),
    ),
    aml.pciOsc(),
  );
}

function dsdt(b: AcpiArm64Board): Buffer {
  return Buffer.from(
    aml.scope(
      '\\_SB_',
      ...b.affinities.map((_, i) => aml.device(`C${i.toString(16).toUpperCase().padStart(3, '0')}`, aml.name('_HID', aml.string('ACPI0007')), aml.name('_UID', aml.integer(i)))),
      ...peripherals(b),
      pci(b),
      // The configuration window is claimed by a motherboard resource (PCI Firmware Specification 3.3, 4.1.2).
      aml.device('RES0', aml.name('_HID', aml.string('PNP0C02')), aml.name('_UID', aml.integer(0)), aml.name('_CRS', aml.resources(aml.memoryRange64(b.ecam.base, b.ecam.base + b.ecam.bytes - 1)))),
    ),
  );
}

export function buildAcpiArm64(b: AcpiArm64Board): AcpiTables {
  return assembleAcpi({
    facs: false,
    dsdt: table('DSDT', 2, dsdt(b)),
    fadt: (at) => fadt(at),
    tables: [madt(b), gtdt(b), mcfg({ base: b.ecam.base, buses: b.ecam.bytes / 0x10_0000 }), spcr(b), ...(b.its === null ? [] : [iort()])],
  });
}
