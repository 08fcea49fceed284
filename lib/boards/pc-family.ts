/** What the PC boards have in common: the core devices around a chipset, and how they start. */
import { type AcpiBoard, buildAcpi, placeAcpi } from '../boot/acpi.js';
import { installBiosMemory, programLegacyDevices } from '../boot/bios.js';
import { ramLayout } from '../boot/e820.js';
import { loadKernel } from '../boot/loader.js';
import { AcpiPm } from '../devices/acpi/pm.js';
import type { PciBus } from '../devices/pci/pci.js';
import type { Uart16550 } from '../devices/serial/uart16550.js';
import { UsageError, VmxError } from '../errors.js';
import type { PcBoardHost, PcBoardModel, CpuStart } from './board.js';
import { addConsoles, addInterruptControllers, addLegacy, addTimers } from './parts/core.js';
import { addDisks } from './parts/disks.js';
import { addDisplay, type Display } from './parts/display.js';
import { addDeviceOptions } from './parts/extras.js';
import { addAcpiFiles, addFwCfg, addKernelItems, fillCmos, finishFwCfg, pciHole64 } from './parts/firmware.js';
import { Pc } from './parts/map.js';
import { HotPlug } from './parts/hotplug.js';
import { addNets } from './parts/net.js';
import { Parts } from './parts/parts.js';
import { X86Board } from './x86-board.js';

/** What ACPI tables say about the chipset. */
export type ChipsetAcpi = Pick<AcpiBoard, 'pmBase' | 'gpeBase' | 'gpeLength' | 'acpiEnable' | 'acpiDisable' | 'pciHoles' | 'pirqs' | 'isaDevice' | 'ecam'>;

export interface Chipset {
  readonly pm: AcpiPm;
  /** Device number of the display. */
  readonly displaySlot: number;
  /** What firmware switches on before it starts a kernel. */
  enable(): void;
  acpi(): ChipsetAcpi;
}

/** SLP_TYP of ACPI S3. */
const S3_TYPE = 1;
/** ACPI tables for direct kernel boot: inside the area where kernels look for the RSDP. */
const ACPI_TABLES = 0xf_0000;

/** The ACPI registers of a chipset, connected. Where they are is the chipset's business. */
export function addAcpiPm(p: Parts, o: { acpiEnable: number; acpiDisable: number; gpeBytes: number }): AcpiPm {
  const h = p.host;
  const pm = p.add(
    new AcpiPm({
      clock: h.clock,
      sci: p.isa[Pc.SCI]!,
      onPowerOff: () => h.powerOff(),
      onReset: () => h.reset(),
      // Waking up would be the firmware's business where there is one, and it is told that there is no S3.
      ...(h.config.firmware === null ? { s3Type: S3_TYPE } : {}),
      onSuspend: () => h.suspend(),
      onWake: () => h.wake(),
      ...o,
    }),
  );
  p.rtcAlarm.set = (level) => pm.setRtcAlarm(level);
  p.memory.mapPorts(Pc.SMI_COMMAND, 2, pm.smi);
  return pm;
}

export class PcFamilyBoard extends X86Board implements PcBoardModel {
  protected readonly uart: Uart16550;
  private readonly chipset: Chipset;
  private readonly display: Display | null;
  readonly hotplug: HotPlug;
  /** Physical address of the FACS. */
  private facs = 0;

  constructor(
    private readonly host: PcBoardHost,
    addChipset: (p: Parts) => Chipset,
  ) {
    super(new Parts(host));
    const { p } = this;
    addInterruptControllers(p);
    addTimers(p);
    fillCmos(p);
    addLegacy(p);
    this.uart = addConsoles(p, () => this.onSerialRoom());
    p.add(p.pci);
    p.memory.mapPorts(0xcf8, 8, p.pci.ports);
    this.chipset = addChipset(p);
    addFwCfg(p);
    this.display = addDisplay(p, this.chipset.displaySlot);
    p.reservedSlots.add(this.chipset.displaySlot);
    addDisks(p);
    addNets(p);
    addDeviceOptions(p);
    this.hotplug = new HotPlug(p, (n) => this.chipset.pm.raiseGpe(n), (id) => host.deviceRemoved(id));
    addAcpiFiles(p, () => this.acpi());
    addKernelItems(p);
    finishFwCfg(p);
  }

  private acpi(): AcpiBoard {
    const c = this.host.config;
    return {
      ...this.chipset.acpi(),
      cpus: c.cpus, ioApicId: 0, ioApicBase: Pc.IOAPIC, lapicBase: Pc.LAPIC, sciIrq: Pc.SCI, smiCommand: Pc.SMI_COMMAND, resetPort: 0xcf9, resetValue: 6,
      hpetBase: Pc.HPET, pciHole64: pciHole64(ramLayout(c.machine, c.memory), this.host.physBits), pirqOf: this.p.pirqOf, pciGsiBase: Pc.PCI_GSI, floppies: this.p.floppies, serialPorts: this.p.serialPorts, pvpanicPort: this.p.pvpanicPort, hotplug: this.hotplug.acpi,
      centuryRegister: Pc.CENTURY, s3Type: c.firmware === null ? S3_TYPE : null,
    };
  }

  reset(): CpuStart | null {
    this.hotplug.settle();
    for (const d of this.devices) d.reset();
    const c = this.host.config;
    if (c.firmware !== null) return null;
    if (c.kernel === null) throw new VmxError('ERR_INTERNAL', 'neither firmware nor kernel');
    const m = this.host.memory;
    const ram = ramLayout(c.machine, c.memory);
    this.chipset.enable();
    for (const on of this.p.onDirectBoot) on();
    installBiosMemory(m, ram.low);
    const acpi = placeAcpi(buildAcpi(this.acpi()), ACPI_TABLES);
    if (!m.writeFrom(ACPI_TABLES, acpi.blob)) throw new UsageError('--memory: too small for the ACPI tables');
    this.facs = acpi.facs;
    this.display?.startText();
    const start = loadKernel({ memory: m, ramBytes: ram.low, highBytes: ram.high, kernel: c.kernel, initrd: c.initrd, append: c.append, rsdp: acpi.rsdp, textMode: this.display !== null });
    if (start.bios) programLegacyDevices((port, value) => m.portOut(port, 1, value));
    return start;
  }

  /** ACPI 6.5, 16.3.1: the vector that the operating system has put into the FACS, in real mode. */
  resume(): CpuStart | null {
    for (const d of this.devices) d.reset();
    this.chipset.enable();
    for (const on of this.p.onDirectBoot) on();
    programLegacyDevices((port, value) => this.host.memory.portOut(port, 1, value));
    this.display?.startText();
    this.chipset.pm.wake();
    const vector = this.host.memory.read32(this.facs + 12);
    return { mode: 'real16', cs: (vector >>> 4) & 0xffff, rip: vector & 15, regs: {}, cr3: 0, gdt: { base: 0, limit: 0xffff }, ds: 0 };
  }

  get pci(): PciBus {
    return this.p.pci;
  }

  powerButton(): void {
    this.chipset.pm.powerButton();
  }
}
