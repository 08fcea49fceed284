/** The `pc` board: 440FX, PIIX3/4, the PC's core devices and virtio on PCI. */
import { buildAcpi } from '../boot/acpi.js';
import { installBiosMemory, programLegacyDevices } from '../boot/bios.js';
import { loadKernel } from '../boot/loader.js';
import { AcpiPm } from '../devices/acpi/pm.js';
import type { Device } from '../devices/device.js';
import type { VgaRenderer } from '../devices/display/vga-render.js';
import type { Ps2Keyboard } from '../devices/input/ps2-keyboard.js';
import type { Ps2Mouse } from '../devices/input/ps2-mouse.js';
import { I440fx } from '../devices/pci/i440fx.js';
import { Piix3, Piix4Pm } from '../devices/pci/piix.js';
import type { Uart16550 } from '../devices/serial/uart16550.js';
import type { InterruptSource } from '../engine/cpu.js';
import { UsageError } from '../errors.js';
import type { Board, BoardHost, CpuStart } from './board.js';
import { addConsoles, addInterruptControllers, addLegacy, addTimers } from './parts/core.js';
import { addDisplay, type Display } from './parts/display.js';
import { addDisks } from './parts/disks.js';
import { addDeviceOptions } from './parts/extras.js';
import { addFwCfg, fillCmos } from './parts/firmware.js';
import { Pc } from './parts/map.js';
import { Parts } from './parts/parts.js';

/** Where things are on this board. */
const enum Place {
  PM_BASE = 0x600,
  GPE_BASE = 0xafe0,
  GPE_BYTES = 4,
  ACPI_ENABLE = 0xf1,
  ACPI_DISABLE = 0xf0,
  PCI_HOLE = 0xc000_0000,
  /** ACPI tables for direct kernel boot: inside the area where kernels look for the RSDP. */
  ACPI_TABLES = 0xf_0000,
  /** PCI devices: host bridge, PIIX. Slot 2 is the display's. */
  PIIX_SLOT = 1,
  DISPLAY_SLOT = 2,
}

/** SLP_TYP of ACPI S3. */
const S3_TYPE = 1;

export class PcBoard implements Board {
  readonly devices: readonly Device[];
  readonly interruptSources: readonly InterruptSource[];
  onSerialRoom: () => void = () => {};
  private readonly p: Parts;
  private readonly uart: Uart16550;
  private readonly pm: AcpiPm;
  private readonly display: Display | null;
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
    this.addPci();
    addFwCfg(p);
    this.display = addDisplay(p, Place.DISPLAY_SLOT);
    addDisks(p);
    addDeviceOptions(p);
  }

  private addPowerManagement(): AcpiPm {
    const { p, host: h } = this;
    const pm = p.add(
      new AcpiPm({
        clock: h.clock,
        sci: p.isa[Pc.SCI]!,
        onPowerOff: () => h.powerOff(),
        onReset: () => h.reset(),
        s3Type: S3_TYPE,
        onSuspend: () => h.suspend(),
        onWake: () => h.wake(),
        acpiEnable: Place.ACPI_ENABLE,
        acpiDisable: Place.ACPI_DISABLE,
        gpeBytes: Place.GPE_BYTES / 2,
      }),
    );
    p.rtcAlarm.set = (level) => pm.setRtcAlarm(level);
    p.memory.mapPorts(Place.PM_BASE, 0x10, pm.pm);
    p.memory.mapPorts(Place.GPE_BASE, Place.GPE_BYTES, pm.gpe0);
    p.memory.mapPorts(Pc.SMI_COMMAND, 2, pm.smi);
    return pm;
  }

  private addPci(): void {
    const { p, host: h } = this;
    p.add(p.pci);
    p.memory.mapPorts(0xcf8, 8, p.pci.ports);
    p.reservedSlots.add(Place.DISPLAY_SLOT);
    p.addPci(new I440fx(p.pciHost));
    const piix = p.addPci(new Piix3(p.pciHost, Place.PIIX_SLOT, p.isa, () => h.reset()));
    p.memory.mapPorts(0xcf9, 1, piix.resetPort);
    p.addPci(new Piix4Pm(p.pciHost, Place.PIIX_SLOT, Place.PM_BASE));
    // A PCI interrupt has a GSI of its own and goes through PIIX3 to the 8259As.
    p.pirq = {
      set: (n, level) => {
        p.gsi[Pc.PCI_GSI + n]!.set(level);
        piix.setPirq(n, level);
      },
    };
  }

  reset(): CpuStart | null {
    for (const d of this.devices) d.reset();
    const c = this.host.config;
    if (c.kernel === null) throw new UsageError('--kernel: nothing to boot (booting images needs firmware, which this version does not support)');
    installBiosMemory(this.host.memory, c.memory);
    const acpi = buildAcpi(
      {
        cpus: c.cpus, ioApicId: 0, ioApicBase: Pc.IOAPIC, lapicBase: Pc.LAPIC, pmBase: Place.PM_BASE, gpeBase: Place.GPE_BASE, gpeLength: Place.GPE_BYTES,
        sciIrq: Pc.SCI, smiCommand: Pc.SMI_COMMAND, acpiEnable: Place.ACPI_ENABLE, acpiDisable: Place.ACPI_DISABLE, resetPort: 0xcf9, resetValue: 6,
        hpetBase: Pc.HPET, pciHole: Place.PCI_HOLE, pciGsiBase: Pc.PCI_GSI, centuryRegister: Pc.CENTURY, s3Type: S3_TYPE,
      },
      Place.ACPI_TABLES,
    );
    if (!this.host.memory.writeFrom(Place.ACPI_TABLES, acpi.blob)) throw new UsageError('--memory: too small for the ACPI tables');
    this.facs = acpi.facs;
    this.display?.startText();
    const start = loadKernel({ memory: this.host.memory, ramBytes: c.memory, kernel: c.kernel, initrd: c.initrd, append: c.append, rsdp: acpi.rsdp, textMode: this.display !== null });
    if (start.bios) programLegacyDevices((port, value) => this.host.memory.portOut(port, 1, value));
    return start;
  }

  /** ACPI 6.5, 16.3.1: the vector that the operating system has put into the FACS, in real mode. */
  resume(): CpuStart | null {
    for (const d of this.devices) d.reset();
    programLegacyDevices((port, value) => this.host.memory.portOut(port, 1, value));
    this.display?.startText();
    this.pm.wake();
    const vector = this.host.memory.read32(this.facs + 12);
    return { mode: 'real16', cs: (vector >>> 4) & 0xffff, rip: vector & 15, regs: {}, cr3: 0, gdt: { base: 0, limit: 0xffff }, ds: 0 };
  }

  get screen(): VgaRenderer | null {
    return this.p.screen;
  }

  get keyboard(): Ps2Keyboard {
    return this.p.keyboard;
  }

  get mouse(): Ps2Mouse {
    return this.p.mouse;
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
