/**
 * The `virt` board for RISC-V: its address map is the one that kernels, firmware and tests know from QEMU's machine of that name.
 */
import { readFileSync } from 'node:fs';
import { buildFdt, FdtNode, parseFdt } from '../boot/fdt.js';
import { loadTreeBoot, type TreeBooted } from '../boot/linux-image.js';
import type { Device } from '../devices/device.js';
import type { ScreenSource } from '../display/screen-source.js';
import { FW_CFG_MMIO_BYTES, FwCfg, FwCfgKey } from '../devices/firmware/fw-cfg.js';
import type { BoardControls } from './controls.js';
import type { InputRouter } from '../devices/input/router.js';
import { ACLINT_BYTES, Aclint } from '../devices/riscv/aclint.js';
import { GOLDFISH_RTC_BYTES, GoldfishRtc } from '../devices/riscv/goldfish-rtc.js';
import { Htif } from '../devices/riscv/htif.js';
import { SIFIVE_TEST_BYTES, SifiveTest } from '../devices/riscv/sifive-test.js';
import type { PciBus } from '../devices/pci/pci.js';
import { Uart16550 } from '../devices/serial/uart16550.js';
import { VIRTIO_MMIO_BYTES, VirtioMmio } from '../devices/virtio/mmio-transport.js';
import { isaExtensions, isaString } from '../engine/guest/riscv/guest.js';
import { parseRiscvCpu } from '../engine/guest/riscv/model.js';
import { TIMEBASE_HZ } from '../engine/guest/riscv/cpu.js';
import { Irq } from '../engine/guest/riscv/defs.js';
import { UsageError } from '../errors.js';
import type { Board, BoardHost } from './board.js';
import { addRiscvIrq, type RiscvIrq } from './parts/aia.js';
import { BusParts } from './parts/bus-parts.js';
import { addDisks } from './parts/disks.js';
import type { Drive } from './parts/drive.js';
import { addKernelItems } from './parts/firmware.js';
import { addNets, type NetConnection } from './parts/net.js';
import { addDeviceOptions } from './parts/extras.js';
import { addPcie, type PcieMap, pcieNode } from './parts/pcie.js';
import { addVirtFlash } from './parts/rom.js';

/** Where things are. */
const enum At {
  MROM = 0x1000,
  MROM_BYTES = 0xf000,
  TEST = 0x10_0000,
  RTC = 0x10_1000,
  ACLINT = 0x200_0000,
  UART = 0x1000_0000,
  UART_BYTES = 0x100,
  VIRTIO = 0x1000_1000,
  VIRTIO_STRIDE = 0x1000,
  VIRTIO_SLOTS = 8,
  FW_CFG = 0x1010_0000,
  RAM = 0x8000_0000,
}
/** Two chips: code, then variables. */
const FLASH = { base: 0x2000_0000, bytes: 0x200_0000 };
const PCIE: PcieMap = {
  ecam: { base: 0x3000_0000, bytes: 0x1000_0000 },
  pio: { base: 0x300_0000, bytes: 0x1_0000 },
  mmio32: { base: 0x4000_0000, bytes: 0x4000_0000 },
  mmio64: { base: 0x4_0000_0000, bytes: 0x4_0000_0000 },
};
const enum Source { VIRTIO = 1, UART = 10, RTC = 11, PCIE = 32 }
const UART_HZ = 3_686_400;
/** Firmware and its heap: where kernels of 2 MiB alignment begin. */
const FIRMWARE_BYTES = 0x20_0000;
/** Where firmware in flash finds the device tree: this far below the end of RAM, or of its first 2 GiB. */
const TREE_BYTES = 0x20_0000;
const PAGE = 4096;

/** Registers and bits of the serial port that a look at it needs. */
const enum Uart { RBR = 0, LSR = 5, DR = 1 }

/** phandles. */
const enum Phandle { IRQ = 1, TEST = 2, APLIC_ROOT = 3, IMSIC_M = 4, IMSIC_S = 5, CPU = 16 }

export const RISCV_RAM: number = At.RAM;

export interface RiscvBoardHost extends BoardHost {
  /** Sets or clears interrupt lines of a hart: bits of mip. */
  setLines(hart: number, mask: number, on: boolean): void;
}

/** Where the harts begin after a reset. */
export interface RiscvStart {
  /** Address of the reset vector, in M-mode. */
  pc: number;
  /** The machine's own SBI: the kernel begins in S-mode at `entry`, and no code runs in M-mode. */
  supervisor: { entry: number; tree: number } | null;
}

export class VirtRiscvBoard implements Board {
  readonly devices: readonly Device[];
  onSerialRoom: () => void = () => {};
  readonly aclint: Aclint;
  private readonly p: BusParts;
  private readonly uart: Uart16550;
  readonly irq: RiscvIrq;
  /** The machine itself is the SBI: no code runs in M-mode. */
  readonly ownSbi: boolean;
  /** OpenSBI's file, or null. */
  private readonly openSbi: string | null;
  private readonly rom: { offset: number };
  /** Takes the page of `tohost` out of the way, once a program that has it was loaded. */
  private htif: Htif | null = null;

  constructor(private readonly host: RiscvBoardHost) {
    const p = (this.p = new BusParts(host));
    this.devices = p.devices;
    const m = p.memory;
    const { config } = host;
    const fw = config.firmware;
    this.openSbi = fw?.kind === 'opensbi' ? fw.code : (fw?.sbi ?? null);
    this.ownSbi = fw !== null && this.openSbi === null;
    const line = (hart: number, bit: Irq): { set(on: boolean): void } => ({ set: (on) => host.setLines(hart, bit, on) });
    const harts = Array.from({ length: config.cpus }, (_, i) => i);
    this.rom = { offset: host.extraRam(At.MROM_BYTES + PAGE) };
    m.mapRam(At.MROM, At.MROM_BYTES, this.rom.offset, true);
    this.aclint = p.add(new Aclint({ clock: host.clock, timebaseHz: TIMEBASE_HZ, msi: harts.map((h) => line(h, Irq.MSI)), mti: harts.map((h) => line(h, Irq.MTI)) }));
    m.mapMmio(At.ACLINT, ACLINT_BYTES, this.aclint.mmio);
    this.irq = addRiscvIrq(p, { mei: harts.map((h) => line(h, Irq.MEI)), sei: harts.map((h) => line(h, Irq.SEI)) });
    const { irqs } = this.irq;
    const test = p.add(new SifiveTest({ powerOff: () => host.powerOff(), reset: () => host.reset(), exit: (status) => host.exit(status) }));
    m.mapMmio(At.TEST, SIFIVE_TEST_BYTES, test.mmio);
    const rtc = p.add(new GoldfishRtc({ clock: host.clock, wallClock: () => host.wallClock(), irq: irqs[Source.RTC]! }));
    m.mapMmio(At.RTC, GOLDFISH_RTC_BYTES, rtc.mmio);
    this.uart = p.add(
      new Uart16550({ name: 'uart0', clock: host.clock, irq: irqs[Source.UART]!, gateByOut2: false, backend: { write: (b) => host.serialOutput(b), onRoom: () => this.onSerialRoom() } }),
    );
    m.mapMmio(At.UART, At.UART_BYTES, this.uart.ports);
    for (let i = 0; i < At.VIRTIO_SLOTS; i++) {
      const slot = p.add(new VirtioMmio({ name: `virtio-mmio${i}`, mem: m, irq: irqs[Source.VIRTIO + i]!, device: null, log: (s) => host.log(s) }));
      m.mapMmio(At.VIRTIO + i * At.VIRTIO_STRIDE, VIRTIO_MMIO_BYTES, slot);
    }
    p.fw = p.add(new FwCfg({ memory: m, ramSize: config.memory, cpus: config.cpus }));
    m.mapMmio(At.FW_CFG, FW_CFG_MMIO_BYTES, p.fw.mmio);
    addPcie(p, PCIE, [0, 1, 2, 3].map((n) => irqs[Source.PCIE + n]!));
    addDisks(p);
    addNets(p);
    addDeviceOptions(p);
    addVirtFlash(p, FLASH);
    if (fw?.kind === 'uefi') addKernelItems(p);
    else p.fw.addString(FwCfgKey.CMDLINE_DATA, config.append);
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

  serialInput(bytes: Uint8Array): number {
    return this.uart.receive(bytes);
  }

  powerButton(): void {
    this.host.log('this board has no power button');
  }

  close(): void {
    for (const close of this.p.onClose) close();
  }

  /** A byte that waits in the serial port, taken from its registers as firmware would; -1: none. */
  serialByte(): number {
    return this.uart.ports.read(Uart.LSR, 1) & Uart.DR ? this.uart.ports.read(Uart.RBR, 1) : -1;
  }

  /** Devices in their reset state, firmware and kernel in memory. */
  reset(): RiscvStart {
    for (const d of this.devices) d.reset();
    if (this.ownSbi) this.irq.handOver();
    const { openSbi } = this;
    if (openSbi !== null && !this.host.memory.writeFrom(At.RAM, readFileSync(openSbi))) throw new UsageError(`--firmware: ${openSbi} does not fit into memory (--memory)`);
    const booted = this.host.config.firmware?.kind === 'uefi' ? this.flashBoot() : this.kernelBoot();
    this.addHtif(booted);
    this.writeRom(openSbi === null ? booted.entry : At.RAM, booted);
    return { pc: At.MROM, supervisor: this.ownSbi ? { entry: booted.entry, tree: booted.dtb } : null };
  }

  private kernelBoot(): TreeBooted {
    const { config, memory } = this.host;
    if (config.kernel === null) throw new UsageError('--kernel: machine virt needs one, or UEFI firmware');
    return loadTreeBoot({
      // Kernels without a header are linked for where OpenSBI would leave room.
      memory, ram: { base: At.RAM, bytes: config.memory }, kernel: config.kernel, initrd: config.initrd, append: config.append,
      firmwareBytes: config.firmware === null ? 0 : FIRMWARE_BYTES, flatOffset: 0, tree: this.tree(),
    });
  }

  /** UEFI begins in S-mode at the start of its flash. */
  private flashBoot(): TreeBooted {
    const { config, memory } = this.host;
    const tree = buildFdt(this.tree());
    const dtb = At.RAM + Math.min(config.memory, 0x8000_0000) - TREE_BYTES;
    if (tree.length > TREE_BYTES || !memory.writeFrom(dtb, tree)) throw new UsageError('--memory: too small for the device tree');
    return { entry: FLASH.base, dtb, elf: null };
  }

  /**
   * Reset vector: a0 = hart, a1 = device tree, a2 = what OpenSBI's fw_dynamic wants to know (include/sbi/fw_dynamic.h), then to the
   * first program.
   */
  private writeRom(start: number, booted: TreeBooted): void {
    const b = Buffer.alloc(88);
    // auipc t0, 0; addi a2, t0, 40; csrr a0, mhartid; ld a1, 32(t0); ld t0, 24(t0); jr t0
    [0x0000_0297, 0x0282_8613, 0xf140_2573, 0x0202_b583, 0x0182_b283, 0x0002_8067].forEach((w, i) => b.writeUInt32LE(w, i * 4));
    // Then: magic, version, next address, next mode (S), options, boot hart.
    [start, booted.dtb, 0x4942_534f, 2, booted.entry, 1, 0, 0].forEach((v, i) => b.writeBigUInt64LE(BigInt(v), 24 + i * 8));
    this.host.memory.ram8.set(b, this.rom.offset);
  }

  /** Test programs say by their symbols that they end through `tohost`. */
  private addHtif(booted: TreeBooted): void {
    const tohost = booted.elf?.symbol('tohost') ?? null;
    if (tohost === null || this.htif !== null || this.host.memory.pageOffset(tohost) < 0) return;
    const page = tohost - (tohost % PAGE);
    const fromhost = booted.elf!.symbol('fromhost');
    this.htif = new Htif({
      tohost: tohost % PAGE,
      fromhost: fromhost !== null && fromhost - (fromhost % PAGE) === page ? fromhost % PAGE : null,
      exit: (code) => (code === 0 ? this.host.powerOff() : this.host.exit(Math.min(code, 255))),
      write: (b) => this.host.serialOutput(b),
    });
    this.p.add(this.htif);
    this.host.memory.unmapRam(page, PAGE);
    this.host.memory.mapMmio(page, PAGE, this.htif.mmio);
  }

  private tree(): FdtNode {
    const { config } = this.host;
    if (config.dtb !== null) return parseFdt(readFileSync(config.dtb), `--dtb: ${config.dtb}`);
    const root = new FdtNode('');
    root.cells('#address-cells', 2).cells('#size-cells', 2).text('compatible', 'riscv-virtio').text('model', 'riscv-virtio,qemu');
    const seed = new Uint8Array(32);
    this.host.random(seed);
    root.node('chosen').text('stdout-path', `/soc/serial@${At.UART.toString(16)}`).set('rng-seed', seed);
    root.node(`memory@${At.RAM.toString(16)}`).text('device_type', 'memory').cells64('reg', At.RAM, config.memory);
    const cpus = root.node('cpus').cells('#address-cells', 1).cells('#size-cells', 0).cells('timebase-frequency', TIMEBASE_HZ);
    const imsic = this.irq.imsics !== null;
    const { optional } = parseRiscvCpu(config.cpu);
    for (let i = 0; i < config.cpus; i++) {
      const cpu = cpus
        .node(`cpu@${i}`)
        .text('device_type', 'cpu')
        .cells('reg', i)
        .text('status', 'okay')
        .text('compatible', 'riscv')
        .text('riscv,isa', isaString(imsic, optional))
        .text('riscv,isa-base', 'rv64i')
        .text('riscv,isa-extensions', ...isaExtensions(imsic, optional))
        .text('mmu-type', 'riscv,sv57')
        .cells('riscv,cbom-block-size', 64)
        .cells('riscv,cboz-block-size', 64);
      cpu.node('interrupt-controller').cells('#interrupt-cells', 1).flag('interrupt-controller').text('compatible', 'riscv,cpu-intc').cells('phandle', Phandle.CPU + i);
    }
    if (config.firmware?.kind === 'uefi') root.node(`flash@${FLASH.base.toString(16)}`).text('compatible', 'cfi-flash').cells64('reg', FLASH.base, FLASH.bytes, FLASH.base + FLASH.bytes, FLASH.bytes).cells('bank-width', 4);
    this.soc(root);
    root.node('poweroff').text('compatible', 'syscon-poweroff').cells('regmap', Phandle.TEST).cells('offset', 0).cells('value', 0x5555);
    root.node('reboot').text('compatible', 'syscon-reboot').cells('regmap', Phandle.TEST).cells('offset', 0).cells('value', 0x7777);
    return root;
  }

  private soc(root: FdtNode): void {
    const { config } = this.host;
    const soc = root.node('soc').cells('#address-cells', 2).cells('#size-cells', 2).text('compatible', 'simple-bus').flag('ranges');
    const device = (name: string, base: number, bytes: number, ...compatible: string[]): FdtNode => soc.node(`${name}@${base.toString(16)}`).text('compatible', ...compatible).cells64('reg', base, bytes);
    const interrupt = (n: FdtNode, source: number): FdtNode => n.cells('interrupts', ...this.irq.cells(source)).cells('interrupt-parent', Phandle.IRQ);
    const each = (...numbers: number[]): number[] => Array.from({ length: config.cpus }, (_, i) => numbers.flatMap((n) => [Phandle.CPU + i, n])).flat();
    device('clint', At.ACLINT, ACLINT_BYTES, 'sifive,clint0', 'riscv,clint0').cells('interrupts-extended', ...each(3, 7));
    const msi = this.irq.nodes(soc, { irq: Phandle.IRQ, root: Phandle.APLIC_ROOT, machineImsic: Phandle.IMSIC_M, supervisorImsic: Phandle.IMSIC_S, harts: Phandle.CPU }, !this.ownSbi);
    device('test', At.TEST, SIFIVE_TEST_BYTES, 'sifive,test1', 'sifive,test0', 'syscon').cells('phandle', Phandle.TEST);
    interrupt(device('rtc', At.RTC, 0x1000, 'google,goldfish-rtc'), Source.RTC);
    interrupt(device('serial', At.UART, At.UART_BYTES, 'ns16550a'), Source.UART).cells('clock-frequency', UART_HZ);
    for (let i = 0; i < At.VIRTIO_SLOTS; i++) interrupt(device('virtio_mmio', At.VIRTIO + i * At.VIRTIO_STRIDE, At.VIRTIO_STRIDE, 'virtio,mmio'), Source.VIRTIO + i);
    device('fw-cfg', At.FW_CFG, FW_CFG_MMIO_BYTES, 'qemu,fw-cfg-mmio').flag('dma-coherent');
    const pci = pcieNode(soc, PCIE, { parent: Phandle.IRQ, addressCells: 0, cells: (n) => this.irq.cells(Source.PCIE + n) }, this.p.pirqOf);
    if (msi !== null) pci.cells('msi-parent', msi);
  }
}
