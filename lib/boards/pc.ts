/** The `pc` board: 440FX, PIIX3/4, the PC's core devices and virtio on PCI; direct kernel boot. */
import { randomFillSync } from 'node:crypto';
import { buildAcpi } from '../boot/acpi.js';
import { loadKernel } from '../boot/loader.js';
import { memoryMap } from '../boot/e820.js';
import { MemoryOverlay, RawImage } from '../block/raw.js';
import type { BlockBackend } from '../block/backend.js';
import { AcpiPm } from '../devices/acpi/pm.js';
import type { Device, IrqLine } from '../devices/device.js';
import { I8237 } from '../devices/dma/i8237.js';
import { FwCfg } from '../devices/firmware/fw-cfg.js';
import { I8042 } from '../devices/input/i8042.js';
import { Ps2Keyboard } from '../devices/input/ps2-keyboard.js';
import { Ps2Mouse } from '../devices/input/ps2-mouse.js';
import { ApicBus } from '../devices/irq/apic-bus.js';
import { I8259 } from '../devices/irq/i8259.js';
import { IoApic } from '../devices/irq/ioapic.js';
import { LocalApic } from '../devices/irq/lapic.js';
import { DebugCon } from '../devices/misc/debugcon.js';
import { IsaDebugExit } from '../devices/misc/isa-debug-exit.js';
import { PcTestDev, TESTDEV_IRQS, TESTDEV_MEMORY } from '../devices/misc/pc-testdev.js';
import { Port61 } from '../devices/misc/port61.js';
import { Port92 } from '../devices/misc/port92.js';
import { I440fx } from '../devices/pci/i440fx.js';
import { PciBus, type PciHost } from '../devices/pci/pci.js';
import { Piix3, Piix4Pm } from '../devices/pci/piix.js';
import { Uart16550 } from '../devices/serial/uart16550.js';
import { Hpet } from '../devices/timer/hpet.js';
import { I8254 } from '../devices/timer/i8254.js';
import { Mc146818 } from '../devices/timer/mc146818.js';
import { VirtioBlk } from '../devices/virtio/blk.js';
import { VirtioConsole } from '../devices/virtio/console.js';
import { VirtioPci, type VirtioDevice } from '../devices/virtio/pci-transport.js';
import { VirtioRng } from '../devices/virtio/rng.js';
import type { InterruptSource } from '../engine/cpu.js';
import { UsageError } from '../errors.js';
import type { Board, BoardHost, CpuStart } from './board.js';
import { type DeviceOption, intProp, parseDevice } from './device-options.js';

/** Where things are. */
const enum Pc {
  LAPIC = 0xfee0_0000,
  IOAPIC = 0xfec0_0000,
  HPET = 0xfed0_0000,
  PM_BASE = 0x600,
  GPE_BASE = 0xafe0,
  GPE_BYTES = 4,
  SMI_COMMAND = 0xb2,
  ACPI_ENABLE = 0xf1,
  ACPI_DISABLE = 0xf0,
  SCI = 9,
  PCI_GSI = 16,
  PCI_HOLE = 0xc000_0000,
  /** ACPI tables for direct kernel boot: inside the area where kernels look for the RSDP. */
  ACPI_TABLES = 0xf_0000,
  TESTDEV = 0xff00_0000,
  CENTURY = 0x32,
}

export class PcBoard implements Board {
  readonly devices: Device[] = [];
  readonly interruptSources: InterruptSource[] = [];
  onSerialRoom: () => void = () => {};
  private readonly uart: Uart16550;
  private readonly pm: AcpiPm;
  private readonly disks: BlockBackend[] = [];
  private readonly pci = new PciBus();
  private readonly gsi: IrqLine[];
  private readonly isa: IrqLine[];
  private readonly piix: Piix3;
  /** Devices asserting each PCI interrupt line. */
  private readonly asserted: number[] = [0, 0, 0, 0];
  private readonly pinLevels = new Map<number, boolean>();
  private nextSlot = 2;
  private readonly lapics: readonly LocalApic[];
  /** Where each CPU has its local APIC's registers, null while they are not in memory. */
  private readonly lapicBase: (number | null)[] = [];
  private readonly lapicPages = new Set<number>();

  constructor(private readonly host: BoardHost) {
    const h = host;
    const m = h.memory;
    const add = <T extends Device>(d: T): T => {
      this.devices.push(d);
      return d;
    };

    // Interrupt controllers.
    const bus = new ApicBus();
    const lapics: LocalApic[] = [];
    const pic = add(new I8259({ out: { set: (level) => lapics[0]!.lint0.set(level) } }));
    for (let i = 0; i < h.config.cpus; i++) {
      lapics.push(
        add(
          new LocalApic({
            id: i,
            bsp: i === 0,
            clock: h.clock,
            bus,
            cpu: { onIntrChange: () => h.intrChanged(i), onNmi: () => h.nmi(i), onInit: () => h.init(i), onSipi: (v) => h.sipi(i, v), onSmi: () => h.log('SMI ignored') },
            tsc: {
              khz: h.tscKHz,
              read: (out) => {
                const t = h.tsc(i);
                out.lo = t % 0x1_0000_0000;
                out.hi = Math.floor(t / 0x1_0000_0000);
              },
            },
            extInt: pic,
            x2apic: h.x2apic,
            physBits: h.physBits,
            onBaseChange: (base, enabled) => this.moveLapic(i, enabled ? base : null),
          }),
        ),
      );
    }
    this.interruptSources.push(...lapics);
    this.lapics = lapics;
    this.mapLapic(Pc.LAPIC);
    const ioapic = add(new IoApic({ bus }));
    this.gsi = [...ioapic.pins];
    this.isa = pic.irqs.map((line, n) => {
      const pin = ioapic.pins[n === 0 ? 2 : n]!;
      return {
        set(level: boolean): void {
          line.set(level);
          pin.set(level);
        },
      };
    });
    m.mapPorts(0x20, 2, pic.master);
    m.mapPorts(0xa0, 2, pic.slave);
    m.mapPorts(0x4d0, 2, pic.elcr);
    m.mapMmio(Pc.IOAPIC, 0x1000, ioapic.mmio);

    // Timers.
    const hpet = add(new Hpet({ clock: h.clock, gsis: this.gsi, irq0: this.isa[0]!, irq8: this.isa[8]! }));
    m.mapMmio(Pc.HPET, 0x400, hpet.mmio);
    const pit = add(new I8254({ clock: h.clock, irq0: hpet.pitIrq0 }));
    m.mapPorts(0x40, 4, pit.ports);
    m.mapPorts(0x61, 1, add(new Port61({ clock: h.clock, pit })).ports);
    const rtc = add(new Mc146818({ clock: h.clock, wallClock: () => h.wallClock(), irq8: hpet.rtcIrq8 }));
    m.mapPorts(0x70, 2, rtc.ports);
    this.fillCmos(rtc);

    // Keyboard controller, DMA, system control.
    const kbd = add(new Ps2Keyboard({ clock: h.clock }));
    const mouse = add(new Ps2Mouse());
    const i8042 = add(new I8042({ irq1: this.isa[1]!, irq12: this.isa[12]!, keyboard: kbd, mouse, onReset: () => h.reset(), onA20: (on) => h.setA20(on) }));
    m.mapPorts(0x60, 1, i8042.dataPort);
    m.mapPorts(0x64, 1, i8042.commandPort);
    const dma = add(new I8237({ memory: m }));
    m.mapPorts(0x00, 0x10, dma.low);
    m.mapPorts(0xc0, 0x20, dma.high);
    m.mapPorts(0x80, 0x10, dma.pages);
    m.mapPorts(0x92, 1, add(new Port92({ onA20: (on) => h.setA20(on), onReset: () => h.reset() })).ports);

    // Consoles.
    this.uart = add(
      new Uart16550({ name: 'com1', clock: h.clock, irq: this.isa[4]!, backend: { write: (b) => h.serialOutput(b), onRoom: () => this.onSerialRoom() } }),
    );
    m.mapPorts(0x3f8, 8, this.uart.ports);
    const debugOut = (bytes: Uint8Array): void => bytes.forEach((b) => h.debugOutput(b));
    for (const port of [0xe9, 0x402]) m.mapPorts(port, 1, add(new DebugCon({ port, write: debugOut })).ports);

    // Power management.
    this.pm = add(
      new AcpiPm({
        clock: h.clock,
        sci: this.isa[Pc.SCI]!,
        onPowerOff: () => h.powerOff(),
        onReset: () => h.reset(),
        acpiEnable: Pc.ACPI_ENABLE,
        acpiDisable: Pc.ACPI_DISABLE,
        gpeBytes: Pc.GPE_BYTES / 2,
      }),
    );
    m.mapPorts(Pc.PM_BASE, 0x10, this.pm.pm);
    m.mapPorts(Pc.GPE_BASE, Pc.GPE_BYTES, this.pm.gpe0);
    m.mapPorts(Pc.SMI_COMMAND, 2, this.pm.smi);

    // PCI.
    const pciHost: PciHost = {
      bus: m,
      intx: (slot, pin, level) => this.intx(slot, pin, level),
      msi: (address, data) => void bus.msi(address, data),
    };
    add(this.pci);
    m.mapPorts(0xcf8, 8, this.pci.ports);
    this.pci.add(add(new I440fx(pciHost)));
    this.piix = add(new Piix3(pciHost, 1, this.isa, () => h.reset()));
    this.pci.add(this.piix);
    m.mapPorts(0xcf9, 1, this.piix.resetPort);
    this.pci.add(add(new Piix4Pm(pciHost, 1, Pc.PM_BASE)));
    h.config.disks.forEach((d, i) => {
      const raw = new RawImage(d.file, d.readonly || d.snapshot);
      const disk = d.snapshot ? new MemoryOverlay(raw) : raw;
      this.disks.push(disk);
      this.virtio(pciHost, `virtio-blk${i}`, new VirtioBlk(disk, `vmx-disk${i}`, (s) => h.log(s)), add);
    });
    const fw = add(new FwCfg({ memory: m, ramSize: h.config.memory, cpus: h.config.cpus }));
    this.fillFwCfg(fw);
    m.mapPorts(0x510, 12, fw.ports);
    for (const text of h.config.devices) this.option(parseDevice(text), pciHost, add);
  }

  /** A CPU's APIC_BASE has changed. A page once used stays claimed: CPUs that have their APIC elsewhere read ones there. */
  private moveLapic(i: number, base: number | null): void {
    this.lapicBase[i] = base;
    if (base !== null) this.mapLapic(base);
  }

  private mapLapic(base: number): void {
    if (this.lapicPages.has(base)) return;
    if (this.host.memory.pageOffset(base) >= 0) {
      this.host.log(`local APIC at 0x${base.toString(16)} would hide memory: ignored`);
      return;
    }
    this.lapicPages.add(base);
    const here = (): LocalApic | null => {
      const i = this.host.currentCpu();
      return (this.lapicBase[i] ?? base) === base ? this.lapics[i]! : null;
    };
    this.host.memory.mapMmio(base, 0x1000, {
      read: (offset, size) => here()?.mmio.read(offset, size) ?? (size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff),
      write: (offset, size, value) => here()?.mmio.write(offset, size, value),
    });
  }

  private virtio(pciHost: PciHost, name: string, dev: VirtioDevice, add: <T extends Device>(d: T) => T): void {
    if (this.nextSlot > 31) throw new UsageError('--device: all PCI slots are taken');
    this.pci.add(add(new VirtioPci(name, pciHost, this.nextSlot++, this.host.memory, dev, (s) => this.host.log(s))));
  }

  private option(o: DeviceOption, pciHost: PciHost, add: <T extends Device>(d: T) => T): void {
    const h = this.host;
    const m = h.memory;
    switch (o.name) {
      case 'isa-debug-exit':
        m.mapPorts(intProp(o, 'iobase', 0xf4, 0xffff), intProp(o, 'iosize', 4, 8), add(new IsaDebugExit({ onExit: (s) => h.exit(s) })).ports);
        break;
      case 'pc-testdev': {
        const t = add(new PcTestDev({ irqs: this.gsi.map((line, n) => (n < 16 ? this.isa[n]! : line)) }));
        m.mapPorts(0xe0, 4, t.echo);
        m.mapPorts(0xe4, 4, t.flush);
        m.mapPorts(0x2000, TESTDEV_IRQS, t.irqPorts);
        m.mapMmio(Pc.TESTDEV, TESTDEV_MEMORY, t.mmio);
        break;
      }
      case 'virtio-rng':
        this.virtio(pciHost, 'virtio-rng', new VirtioRng((dst) => randomFillSync(dst)), add);
        break;
      case 'virtio-console':
        this.virtio(pciHost, 'virtio-console', new VirtioConsole((b) => b.forEach((x) => h.debugOutput(x))), add);
        break;
      default:
        throw new UsageError(`--device: ${o.name} is not available on this board`);
    }
  }

  /** PIRQ (dev + pin) & 3 is the wire-OR of its devices; it goes to a GSI of its own and through PIIX3 to the 8259As. */
  private intx(slot: number, pin: number, level: boolean): void {
    const key = slot * 4 + (pin - 1);
    if ((this.pinLevels.get(key) ?? false) === level) return;
    this.pinLevels.set(key, level);
    const n = (slot + pin - 1) & 3;
    const before = this.asserted[n]! > 0;
    this.asserted[n]! += level ? 1 : -1;
    const after = this.asserted[n]! > 0;
    if (before === after) return;
    this.gsi[Pc.PCI_GSI + n]!.set(after);
    this.piix.setPirq(n, after);
  }

  private fillCmos(rtc: Mc146818): void {
    const bytes = this.host.config.memory;
    const put16 = (at: number, v: number): void => {
      rtc.setNvram(at, v & 0xff);
      rtc.setNvram(at + 1, (v >>> 8) & 0xff);
    };
    put16(0x15, 640);
    put16(0x17, Math.min(65535, Math.max(0, (bytes - 0x10_0000) / 1024)));
    put16(0x30, Math.min(65535, Math.max(0, (bytes - 0x10_0000) / 1024)));
    put16(0x34, Math.min(65535, Math.max(0, (bytes - 0x100_0000) / 65536)));
    rtc.setNvram(0x5f, this.host.config.cpus - 1);
  }

  private fillFwCfg(fw: FwCfg): void {
    const map = memoryMap(this.host.config.memory);
    const e820 = Buffer.alloc(map.length * 20);
    map.forEach((r, i) => {
      e820.writeBigUInt64LE(BigInt(r.base), i * 20);
      e820.writeBigUInt64LE(BigInt(r.length), i * 20 + 8);
      e820.writeUInt32LE(r.type, i * 20 + 16);
    });
    fw.addFile('etc/e820', e820);
  }

  reset(): CpuStart | null {
    for (const d of this.devices) d.reset();
    const c = this.host.config;
    if (c.kernel === null) throw new UsageError('--kernel: nothing to boot (booting images needs firmware, which this version does not support)');
    const acpi = buildAcpi(
      {
        cpus: c.cpus, ioApicId: 0, ioApicBase: Pc.IOAPIC, lapicBase: Pc.LAPIC, pmBase: Pc.PM_BASE, gpeBase: Pc.GPE_BASE, gpeLength: Pc.GPE_BYTES,
        sciIrq: Pc.SCI, smiCommand: Pc.SMI_COMMAND, acpiEnable: Pc.ACPI_ENABLE, acpiDisable: Pc.ACPI_DISABLE, resetPort: 0xcf9, resetValue: 6,
        hpetBase: Pc.HPET, pciHole: Pc.PCI_HOLE, pciGsiBase: Pc.PCI_GSI, centuryRegister: Pc.CENTURY,
      },
      Pc.ACPI_TABLES,
    );
    if (!this.host.memory.writeFrom(Pc.ACPI_TABLES, acpi.blob)) throw new UsageError('--memory: too small for the ACPI tables');
    return loadKernel({ memory: this.host.memory, ramBytes: c.memory, kernel: c.kernel, initrd: c.initrd, append: c.append, rsdp: acpi.rsdp });
  }

  serialInput(bytes: Uint8Array): number {
    return this.uart.receive(bytes);
  }

  powerButton(): void {
    this.pm.powerButton();
  }

  close(): void {
    for (const d of this.disks) d.close();
  }
}
