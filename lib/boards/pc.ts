/** The `pc` board: 440FX, PIIX3/4, the PC's core devices and virtio on PCI. */
import { type AcpiBoard, buildAcpi, placeAcpi } from '../boot/acpi.js';
import { installBiosMemory, programLegacyDevices } from '../boot/bios.js';
import { loadKernel } from '../boot/loader.js';
import { AcpiPm } from '../devices/acpi/pm.js';
import type { Device } from '../devices/device.js';
import { I440fx } from '../devices/pci/i440fx.js';
import { Piix3, Piix4Pm } from '../devices/pci/piix.js';
import type { Uart16550 } from '../devices/serial/uart16550.js';
import type { InterruptSource } from '../engine/cpu.js';
import { ramLayout } from '../boot/e820.js';
import { UsageError, VmxError } from '../errors.js';
import type { Board, BoardHost, CpuStart } from './board.js';
import { addConsoles, addInterruptControllers, addLegacy, addTimers } from './parts/core.js';
import { addDisks } from './parts/disks.js';
import { addDeviceOptions } from './parts/extras.js';
import { addAcpiFiles, addFwCfg, addKernelItems, fillCmos, finishFwCfg, pciHole64 } from './parts/firmware.js';
import { Pc } from './parts/map.js';
import { movable, Parts } from './parts/parts.js';
import { addFirmwareRom } from './parts/rom.js';

/** Where things are on this board. */
const enum Place {
  /** Of the ACPI registers without firmware. */
  PM_BASE = 0x600,
  GPE_BASE = 0xafe0,
  GPE_BYTES = 4,
  ACPI_ENABLE = 0xf1,
  ACPI_DISABLE = 0xf0,
  /** Firmware puts PCI memory from here on, or from the end of RAM. */
  PCI_HOLE = 0x8000_0000,
  /** ACPI tables for direct kernel boot: inside the area where kernels look for the RSDP. */
  ACPI_TABLES = 0xf_0000,
  /** PCI devices: host bridge, PIIX. Slot 2 is the display's. */
  PIIX_SLOT = 1,
  DISPLAY_SLOT = 2,
}

const PM_BYTES = 12;
/** SLP_TYP of ACPI S3. */
const S3_TYPE = 1;

export class PcBoard implements Board {
  readonly devices: readonly Device[];
  readonly interruptSources: readonly InterruptSource[];
  onSerialRoom: () => void = () => {};
  private readonly p: Parts;
  private readonly uart: Uart16550;
  private readonly pm: AcpiPm;
  private readonly bridge: I440fx;
  private readonly pmFunction: Piix4Pm;
  /** Physical address of the FACS. */
  private facs = 0;

  constructor(private readonly host: BoardHost) {
    const p = (this.p = new Parts(host));
    this.devices = p.devices;
    this.interruptSources = p.interruptSources;
    addInterruptControllers(p);
    addTimers(p);
    fillCmos(p);
    addLegacy(p);
    this.uart = addConsoles(p, () => this.onSerialRoom());
    this.pm = this.addPowerManagement();
    [this.bridge, this.pmFunction] = this.addPci();
    addFwCfg(p);
    addDisks(p);
    addDeviceOptions(p);
    addAcpiFiles(p, () => this.acpi());
    addKernelItems(p);
    finishFwCfg(p);
  }

  private addPowerManagement(): AcpiPm {
    const { p, host: h } = this;
    const pm = p.add(
      new AcpiPm({
        clock: h.clock,
        sci: p.isa[Pc.SCI]!,
        onPowerOff: () => h.powerOff(),
        onReset: () => h.reset(),
        ...(h.config.firmware === null ? { s3Type: S3_TYPE } : {}),
        onSuspend: () => h.suspend(),
        onWake: () => h.wake(),
        acpiEnable: Place.ACPI_ENABLE,
        acpiDisable: Place.ACPI_DISABLE,
        gpeBytes: Place.GPE_BYTES / 2,
      }),
    );
    p.rtcAlarm.set = (level) => pm.setRtcAlarm(level);
    p.memory.mapPorts(Place.GPE_BASE, Place.GPE_BYTES, pm.gpe0);
    p.memory.mapPorts(Pc.SMI_COMMAND, 2, pm.smi);
    return pm;
  }

  private addPci(): [I440fx, Piix4Pm] {
    const { p, host: h } = this;
    p.add(p.pci);
    p.memory.mapPorts(0xcf8, 8, p.pci.ports);
    p.reservedSlots.add(Place.DISPLAY_SLOT);
    const bridge = p.addPci(new I440fx(p.pciHost, addFirmwareRom(p)));
    const piix = p.addPci(new Piix3(p.pciHost, Place.PIIX_SLOT, p.isa, () => h.reset()));
    p.memory.mapPorts(0xcf9, 1, piix.resetPort);
    const pmFunction = p.addPci(new Piix4Pm(p.pciHost, Place.PIIX_SLOT, movable(p, this.pm.pm, PM_BYTES)));
    // As firmware knows it: the PIRQ of pin INTA of device 1 is PIRQA.
    p.pirqOf = (slot, pin) => (slot - 1 + pin - 1) & 3;
    // A PCI interrupt has a GSI of its own and goes through PIIX3 to the 8259As.
    p.pirq = {
      set: (n, level) => {
        p.gsi[Pc.PCI_GSI + n]!.set(level);
        piix.setPirq(n, level);
      },
    };
    return [bridge, pmFunction];
  }

  private acpi(): AcpiBoard {
    const c = this.host.config;
    const base = this.pmFunction.pmBase;
    const ram = ramLayout(c.machine, c.memory);
    return {
      cpus: c.cpus, ioApicId: 0, ioApicBase: Pc.IOAPIC, lapicBase: Pc.LAPIC, pmBase: base < 0 ? Place.PM_BASE : base, gpeBase: Place.GPE_BASE, gpeLength: Place.GPE_BYTES,
      sciIrq: Pc.SCI, smiCommand: Pc.SMI_COMMAND, acpiEnable: Place.ACPI_ENABLE, acpiDisable: Place.ACPI_DISABLE, resetPort: 0xcf9, resetValue: 6,
      hpetBase: Pc.HPET, pciHoles: [[Math.max(ram.low, Place.PCI_HOLE), Pc.IOAPIC - 1]], pciHole64: pciHole64(ram), pirqs: 4, pirqOf: this.p.pirqOf,
      pciGsiBase: Pc.PCI_GSI, isaDevice: Place.PIIX_SLOT, ecam: null, floppy: this.p.floppy, centuryRegister: Pc.CENTURY,
      // Waking up is the firmware's business where there is one, and it is told that there is no S3.
      s3Type: c.firmware === null ? S3_TYPE : null,
    };
  }

  reset(): CpuStart | null {
    for (const d of this.devices) d.reset();
    const c = this.host.config;
    if (c.firmware !== null) return null;
    if (c.kernel === null) throw new VmxError('ERR_INTERNAL', 'neither firmware nor kernel');
    const m = this.host.memory;
    const ram = ramLayout(c.machine, c.memory);
    this.enableFunctions();
    installBiosMemory(m, ram.low);
    const acpi = placeAcpi(buildAcpi(this.acpi()), Place.ACPI_TABLES);
    if (!m.writeFrom(Place.ACPI_TABLES, acpi.blob)) throw new UsageError('--memory: too small for the ACPI tables');
    this.facs = acpi.facs;
    const start = loadKernel({ memory: m, ramBytes: ram.low, highBytes: ram.high, kernel: c.kernel, initrd: c.initrd, append: c.append, rsdp: acpi.rsdp });
    if (start.bios) programLegacyDevices((port, value) => m.portOut(port, 1, value));
    return start;
  }

  /** What firmware switches on before it starts a kernel. */
  private enableFunctions(): void {
    this.bridge.openShadow();
    this.pmFunction.enable(Place.PM_BASE);
  }

  /** ACPI 6.5, 16.3.1: the vector that the operating system has put into the FACS, in real mode. */
  resume(): CpuStart | null {
    for (const d of this.devices) d.reset();
    this.enableFunctions();
    programLegacyDevices((port, value) => this.host.memory.portOut(port, 1, value));
    this.pm.wake();
    const vector = this.host.memory.read32(this.facs + 12);
    return { mode: 'real16', cs: (vector >>> 4) & 0xffff, rip: vector & 15, regs: {}, cr3: 0, gdt: { base: 0, limit: 0xffff }, ds: 0 };
  }

  serialInput(bytes: Uint8Array): number {
    return this.uart.receive(bytes);
  }

  powerButton(): void {
    this.pm.powerButton();
  }

  close(): void {
    for (const close of this.p.onClose) close();
  }
}
