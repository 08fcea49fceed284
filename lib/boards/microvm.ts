/**
 * The `microvm` board: what a Linux kernel needs and no more. No PCI and no firmware: virtio devices are at fixed addresses, which
 * hardware-reduced ACPI tells, and the kernel is started directly. Addresses and interrupts are those of QEMU's machine of that name.
 */
import { placeAcpi } from '../boot/acpi.js';
import { buildAcpiMicrovm } from '../boot/acpi-microvm.js';
import { installBiosMemory, programLegacyDevices } from '../boot/bios.js';
import { ramLayout } from '../boot/e820.js';
import { loadKernel } from '../boot/loader.js';
import { AcpiGed, GED_EVENT_BYTES, GED_REGISTER_BYTES } from '../devices/acpi/ged.js';
import type { Uart16550 } from '../devices/serial/uart16550.js';
import { VIRTIO_MMIO_BYTES } from '../devices/virtio/mmio-transport.js';
import { UsageError, VmxError } from '../errors.js';
import { SHADOW_BASE, SHADOW_END } from '../memory/shadow.js';
import type { CpuStart, PcBoardHost, PcBoardModel } from './board.js';
import { addConsoles, addInterruptControllers, addIntervalTimers, addPort92 } from './parts/core.js';
import { addDisks } from './parts/disks.js';
import { addDeviceOptions } from './parts/extras.js';
import { addFwCfg, fillCmos } from './parts/firmware.js';
import { Pc } from './parts/map.js';
import { addNets } from './parts/net.js';
import { Parts } from './parts/parts.js';
import { VirtioSlots } from './parts/virtio-slots.js';
import { X86Board } from './x86-board.js';

/** Where things are that PCs do not have. */
const enum At {
  GED = 0xfea0_0000,
  GED_REGISTERS = 0xfea0_0200,
  VIRTIO = 0xfeb0_0000,
  VIRTIO_SLOTS = 8,
  VIRTIO_GSI = 16,
  GED_IRQ = 9,
  /** Inside the area where kernels look for the RSDP. */
  ACPI_TABLES = 0xf_0000,
}

export class MicrovmBoard extends X86Board implements PcBoardModel {
  readonly pci = null;
  protected readonly uart: Uart16550;
  private readonly ged: AcpiGed;
  private readonly slots: VirtioSlots;

  constructor(private readonly host: PcBoardHost) {
    super(new Parts(host));
    const { p } = this;
    const m = p.memory;
    m.mapRam(SHADOW_BASE, SHADOW_END - SHADOW_BASE, SHADOW_BASE);
    addInterruptControllers(p);
    addIntervalTimers(p, p.isa[0]!, p.isa[8]!);
    fillCmos(p);
    // Linux restarts through the BIOS where ACPI is hardware-reduced, and boot/bios.ts resets by this port.
    addPort92(p);
    this.uart = addConsoles(p, () => this.onSerialRoom());
    this.ged = p.add(new AcpiGed({ irq: p.gsi[At.GED_IRQ]!, onPowerOff: () => host.powerOff(), onReset: () => host.reset() }));
    m.mapMmio(At.GED, GED_EVENT_BYTES, this.ged.events);
    m.mapMmio(At.GED_REGISTERS, GED_REGISTER_BYTES, this.ged.registers);
    p.slots = this.slots = new VirtioSlots(At.VIRTIO, p.gsi.slice(At.VIRTIO_GSI, At.VIRTIO_GSI + At.VIRTIO_SLOTS));
    addFwCfg(p);
    addDisks(p);
    addNets(p);
    addDeviceOptions(p);
  }

  reset(): CpuStart {
    for (const d of this.devices) d.reset();
    const c = this.host.config;
    const m = this.host.memory;
    const ram = ramLayout(c.machine, c.memory);
    if (c.kernel === null) throw new VmxError('ERR_INTERNAL', 'machine microvm without a kernel');
    installBiosMemory(m, ram.low);
    const acpi = placeAcpi(
      buildAcpiMicrovm({
        cpus: c.cpus, ioApicId: 0, ioApicBase: Pc.IOAPIC, lapicBase: Pc.LAPIC, events: At.GED, registers: At.GED_REGISTERS, gedIrq: At.GED_IRQ,
        virtio: { base: At.VIRTIO, bytes: VIRTIO_MMIO_BYTES, count: this.slots.count, gsi: At.VIRTIO_GSI }, serialPorts: this.p.serialPorts, pvpanicPort: this.p.pvpanicPort,
      }),
      At.ACPI_TABLES,
    );
    if (!m.writeFrom(At.ACPI_TABLES, acpi.blob)) throw new UsageError('--memory: too small for the ACPI tables');
    const start = loadKernel({ memory: m, ramBytes: ram.low, highBytes: ram.high, kernel: c.kernel, initrd: c.initrd, append: c.append, rsdp: acpi.rsdp, textMode: false });
    if (start.bios) programLegacyDevices((port, value) => m.portOut(port, 1, value));
    return start;
  }

  resume(): never {
    throw new VmxError('ERR_INTERNAL', 'machine microvm has no sleep states');
  }

  powerButton(): void {
    this.ged.powerButton();
  }
}
