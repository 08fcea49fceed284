/**
 * The board `virt` for ARM64 guests. Address map, interrupt numbers and device tree follow QEMU's board of that name, so that
 * kernels and firmware made for it run (QEMU, docs/system/arm/virt.rst).
 */
import { readFileSync } from 'node:fs';
import { buildFdt, FdtNode, parseFdt } from '../boot/fdt.js';
import { buildAcpiArm64, POWER_PIN } from '../boot/acpi-arm64.js';
import { loadTreeBoot } from '../boot/linux-image.js';
import { Pl011 } from '../devices/arm/pl011.js';
import { Pl031 } from '../devices/arm/pl031.js';
import { Pl061 } from '../devices/arm/pl061.js';
import type { Device, IrqLine } from '../devices/device.js';
import type { ScreenSource } from '../display/screen-source.js';
import { FW_CFG_MMIO_BYTES, FwCfg } from '../devices/firmware/fw-cfg.js';
import type { BoardControls } from './controls.js';
import type { InputRouter } from '../devices/input/router.js';
import type { PciBus } from '../devices/pci/pci.js';
import { VIRTIO_MMIO_BYTES, VirtioMmio } from '../devices/virtio/mmio-transport.js';
import { UsageError } from '../errors.js';
import type { Board, BoardHost } from './board.js';
import { BusParts } from './parts/bus-parts.js';
import { addDisks } from './parts/disks.js';
import { addDeviceOptions } from './parts/extras.js';
import type { Drive } from './parts/drive.js';
import { addAcpiTables, addKernelItems } from './parts/firmware.js';
import { addGic, type ArmGic, gicNode, V2M_SPI, V2M_SPIS } from './parts/gic.js';
import { addNets, type NetConnection } from './parts/net.js';
import { addPcie, type PcieMap, pcieNode } from './parts/pcie.js';
import { addVirtFlash } from './parts/rom.js';

/** Physical address map. */
export const MAP = {
  /** Two chips: code, then variables. */
  flash: { base: 0, bytes: 0x0400_0000 },
  gicd: { base: 0x0800_0000, bytes: 0x1_0000 },
  gicc: { base: 0x0801_0000, bytes: 0x1_0000 },
  v2m: 0x0802_0000,
  its: 0x0808_0000,
  gicr: { base: 0x080a_0000, bytes: 0x00f6_0000 },
  uart: { base: 0x0900_0000, bytes: 0x1000 },
  rtc: { base: 0x0901_0000, bytes: 0x1000 },
  fwCfg: { base: 0x0902_0000, bytes: 0x18 },
  gpio: { base: 0x0903_0000, bytes: 0x1000 },
  virtioMmio: { base: 0x0a00_0000, bytes: 0x200 },
  pcieMmio: { base: 0x1000_0000, bytes: 0x2eff_0000 },
  pciePio: { base: 0x3eff_0000, bytes: 0x1_0000 },
  ecam: { base: 0x40_1000_0000, bytes: 0x1000_0000 },
  pcieHigh: { base: 0x80_0000_0000, bytes: 0x80_0000_0000 },
  ram: { base: 0x4000_0000 },
} as const;

const PCIE: PcieMap = { ecam: MAP.ecam, pio: MAP.pciePio, mmio32: MAP.pcieMmio, mmio64: MAP.pcieHigh };

/** SPI numbers (interrupt ID minus 32). */
export const SPI = { uart: 1, rtc: 2, pcie: 3, gpio: 7, virtioMmio: 16 } as const;
/** PPI numbers (interrupt ID minus 16): secure physical, physical, virtual and hypervisor timer. */
const PPI_TIMERS = [13, 14, 11, 10];
const PPI_PMU = 7;
const SPIS = 256;
const VIRTIO_SLOTS = 32;

/** Interrupt specifier cells. */
const GIC_SPI = 0;
const GIC_PPI = 1;
const LEVEL_HIGH = 4;
const EDGE_RISING = 1;

const enum Phandle { GIC = 1, CLOCK = 2, GPIO = 3, MSI = 4 }

export interface VirtHost extends BoardHost {
  /** The interrupt outputs of a CPU may have changed. */
  irqChanged(cpu: number): void;
  /** MPIDR affinity of a CPU. */
  affinity(cpu: number): number;
}

export interface DirectStart {
  entry: number;
  dtb: number;
}

export class VirtArm64Board implements Board {
  readonly devices: readonly Device[];
  readonly gic: ArmGic;
  onSerialRoom: () => void = () => {};
  private readonly p: BusParts;
  private readonly uart: Pl011;
  private readonly gpio: Pl061;

  constructor(private readonly host: VirtHost) {
    const p = (this.p = new BusParts(host));
    this.devices = p.devices;
    const { memory, config } = host;
    const gic = (this.gic = addGic(p, MAP, SPIS, { changed: (c) => host.irqChanged(c), affinity: (c) => host.affinity(c) }));
    const line = (spi: number): IrqLine => ({ set: (level) => gic.core.setSpi(spi, level) });
    this.uart = p.add(new Pl011({ irq: line(SPI.uart), output: (byte) => host.serialOutput(Uint8Array.of(byte)), onRoom: () => this.onSerialRoom() }));
    const rtc = p.add(new Pl031({ irq: line(SPI.rtc), clock: host.clock, wallClock: () => host.wallClock() }));
    this.gpio = p.add(new Pl061(line(SPI.gpio)));
    memory.mapMmio(MAP.uart.base, MAP.uart.bytes, this.uart);
    memory.mapMmio(MAP.rtc.base, MAP.rtc.bytes, rtc);
    memory.mapMmio(MAP.gpio.base, MAP.gpio.bytes, this.gpio);
    for (let i = 0; i < VIRTIO_SLOTS; i++) {
      const slot = p.add(new VirtioMmio({ name: `virtio-mmio${i}`, mem: memory, irq: line(SPI.virtioMmio + i), device: null, log: (s) => host.log(s) }));
      memory.mapMmio(MAP.virtioMmio.base + i * MAP.virtioMmio.bytes, VIRTIO_MMIO_BYTES, slot);
    }
    p.fw = p.add(new FwCfg({ memory, ramSize: config.memory, cpus: config.cpus }));
    memory.mapMmio(MAP.fwCfg.base, FW_CFG_MMIO_BYTES, p.fw.mmio);
    addPcie(p, PCIE, [0, 1, 2, 3].map((n) => line(SPI.pcie + n)));
    addDisks(p);
    addNets(p);
    addDeviceOptions(p);
    if (config.firmware === null) return;
    addVirtFlash(p, MAP.flash);
    addKernelItems(p);
    if (config.board.acpi) addAcpiTables(p, () => buildAcpiArm64(this.acpi()));
  }

  get pci(): PciBus {
    return this.p.pci;
  }

  get controls(): BoardControls {
    return this.p.controls;
  }

  get drives(): readonly Drive[] {
    return this.p.drives;
  }

  get input(): InputRouter {
    return this.p.input;
  }

  get nets(): readonly NetConnection[] {
    return this.p.nets;
  }

  get screen(): ScreenSource | null {
    return this.p.screen;
  }

  /** Puts every device into its reset state and the kernel (again) into memory. @returns where CPU 0 begins. */
  reset(): DirectStart {
    for (const d of this.devices) d.reset();
    const { config, memory } = this.host;
    const tree = config.dtb === null ? this.deviceTree() : parseFdt(readFileSync(config.dtb), `--dtb: ${config.dtb}`);
    if (config.firmware !== null) {
      // Firmware begins at the start of its flash and finds the device tree at the start of RAM.
      if (!memory.writeFrom(MAP.ram.base, buildFdt(tree))) throw new UsageError('--memory: too small for the device tree');
      return { entry: MAP.flash.base, dtb: MAP.ram.base };
    }
    const b = loadTreeBoot({
      memory, ram: { base: MAP.ram.base, bytes: config.memory }, kernel: config.kernel!, initrd: config.initrd, append: config.append,
      firmwareBytes: 0, flatOffset: 0x8_0000,
      tree,
    });
    return { entry: b.entry, dtb: b.dtb };
  }

  serialInput(bytes: Uint8Array): number {
    return this.uart.receive(bytes);
  }

  powerButton(): void {
    // A press: the key's line goes up and down.
    this.gpio.setInput(POWER_PIN, true);
    this.gpio.setInput(POWER_PIN, false);
  }

  close(): void {
    for (const close of this.p.onClose) close();
  }

  private acpi(): Parameters<typeof buildAcpiArm64>[0] {
    const { config } = this.host;
    const { v3, its } = this.gic;
    return {
      affinities: Array.from({ length: config.cpus }, (_, i) => this.host.affinity(i)),
      gicVersion: v3 === null ? 2 : 3,
      gicd: MAP.gicd, gicc: MAP.gicc, gicr: MAP.gicr,
      its: its ? { base: MAP.its, bytes: 0x2_0000 } : null,
      v2m: v3 === null ? { base: MAP.v2m, firstSpi: V2M_SPI, spis: V2M_SPIS } : null,
      uart: MAP.uart, rtc: MAP.rtc, gpio: MAP.gpio, fwCfg: MAP.fwCfg,
      virtioMmio: { ...MAP.virtioMmio, count: VIRTIO_SLOTS },
      ecam: MAP.ecam, pio: MAP.pciePio, mmio32: MAP.pcieMmio, mmio64: MAP.pcieHigh,
      spi: SPI, timers: PPI_TIMERS, pmu: PPI_PMU, pirqOf: this.p.pirqOf,
    };
  }

  private deviceTree(): FdtNode {
    const { config } = this.host;
    const root = new FdtNode('');
    root.cells('interrupt-parent', Phandle.GIC).cells('#size-cells', 2).cells('#address-cells', 2).text('compatible', 'linux,dummy-virt').text('model', 'linux,dummy-virt');
    root.node('psci').text('compatible', 'arm,psci-1.0', 'arm,psci-0.2', 'arm,psci').text('method', 'hvc').cells('cpu_on', 0xc400_0003).cells('cpu_off', 0x8400_0002).cells('cpu_suspend', 0xc400_0001).cells('migrate', 0xc400_0005);
    root.node(`memory@${MAP.ram.base.toString(16)}`).text('device_type', 'memory').cells64('reg', MAP.ram.base, config.memory);
    root.node('apb-pclk').text('compatible', 'fixed-clock').cells('#clock-cells', 0).cells('clock-frequency', 24_000_000).text('clock-output-names', 'clk24mhz').cells('phandle', Phandle.CLOCK);
    const cpus = root.node('cpus').cells('#size-cells', 0).cells('#address-cells', 1);
    for (let i = 0; i < config.cpus; i++) {
      const n = cpus.node(`cpu@${i}`).text('device_type', 'cpu').text('compatible', 'arm,armv8').cells('reg', this.host.affinity(i));
      if (config.cpus > 1) n.text('enable-method', 'psci');
    }
    root.node('timer').text('compatible', 'arm,armv8-timer').flag('always-on').cells('interrupts', ...PPI_TIMERS.flatMap((n) => [GIC_PPI, n, LEVEL_HIGH]));
    root.node('pmu').text('compatible', 'arm,armv8-pmuv3').cells('interrupts', GIC_PPI, PPI_PMU, LEVEL_HIGH);
    const msi = gicNode(root, MAP, this.gic, Phandle.GIC, Phandle.MSI);
    if (config.firmware !== null) {
      root.node('flash@0').text('compatible', 'cfi-flash').cells64('reg', MAP.flash.base, MAP.flash.bytes, MAP.flash.base + MAP.flash.bytes, MAP.flash.bytes).cells('bank-width', 4);
    }
    const uart = `pl011@${MAP.uart.base.toString(16)}`;
    this.primecell(root, uart, 'arm,pl011', MAP.uart.base, SPI.uart, ['uartclk', 'apb_pclk']);
    this.primecell(root, `pl031@${MAP.rtc.base.toString(16)}`, 'arm,pl031', MAP.rtc.base, SPI.rtc, ['apb_pclk']);
    this.primecell(root, `pl061@${MAP.gpio.base.toString(16)}`, 'arm,pl061', MAP.gpio.base, SPI.gpio, ['apb_pclk']).cells('#gpio-cells', 2).flag('gpio-controller').cells('phandle', Phandle.GPIO);
    root.node('gpio-keys').text('compatible', 'gpio-keys').node('poweroff').text('label', 'GPIO Key Poweroff').cells('linux,code', 116).cells('gpios', Phandle.GPIO, POWER_PIN, 0);
    for (let i = 0; i < VIRTIO_SLOTS; i++) {
      const base = MAP.virtioMmio.base + i * MAP.virtioMmio.bytes;
      root.node(`virtio_mmio@${base.toString(16)}`).text('compatible', 'virtio,mmio').cells64('reg', base, MAP.virtioMmio.bytes)
        .cells('interrupts', GIC_SPI, SPI.virtioMmio + i, EDGE_RISING).flag('dma-coherent');
    }
    root.node(`fw-cfg@${MAP.fwCfg.base.toString(16)}`).text('compatible', 'qemu,fw-cfg-mmio').cells64('reg', MAP.fwCfg.base, FW_CFG_MMIO_BYTES).flag('dma-coherent');
    const pci = pcieNode(root, PCIE, { parent: Phandle.GIC, addressCells: 2, cells: (n) => [GIC_SPI, SPI.pcie + n, LEVEL_HIGH] }, this.p.pirqOf);
    if (msi !== null) pci.cells('msi-map', 0, msi, 0, 0x1_0000);
    root.node('chosen').text('stdout-path', `/${uart}`).set('rng-seed', this.random(32)).set('kaslr-seed', this.random(8));
    return root;
  }

  /** Without a seed Linux has no random numbers until much later, and hashes for each one it needs (at every system call). */
  private random(bytes: number): Uint8Array {
    const seed = new Uint8Array(bytes);
    this.host.random(seed);
    return seed;
  }

  private primecell(root: FdtNode, name: string, compatible: string, base: number, spi: number, clocks: readonly string[]): FdtNode {
    return root.node(name).text('compatible', compatible, 'arm,primecell').cells64('reg', base, 0x1000).cells('interrupts', GIC_SPI, spi, LEVEL_HIGH)
      .cells('clocks', ...clocks.map(() => Phandle.CLOCK)).text('clock-names', ...clocks);
  }
}
