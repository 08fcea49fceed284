/** PCI Express of the `virt` boards: a generic root complex with configuration space in memory. */
import type { FdtNode } from '../../boot/fdt.js';
import type { IrqLine } from '../../devices/device.js';
import { GenericHostBridge } from '../../devices/pci/gpex.js';
import type { BusParts } from './bus-parts.js';

export interface PcieMap {
  /** Configuration space, 1 MiB per bus. */
  ecam: { base: number; bytes: number };
  /** Where the 64 KiB of ports are seen in memory. */
  pio: { base: number; bytes: number };
  mmio32: { base: number; bytes: number };
  mmio64: { base: number; bytes: number };
}

/** Adds root complex and bus 0. @param irqs the four interrupts that pins are swizzled to. */
export function addPcie(p: BusParts, map: PcieMap, irqs: readonly IrqLine[]): void {
  p.add(p.pci);
  p.memory.mapMmio(map.ecam.base, map.ecam.bytes, p.pci.ecam);
  p.memory.mapMmio(map.pio.base, map.pio.bytes, {
    read: (offset, size) => p.memory.portIn(offset, size),
    write: (offset, size, value) => p.memory.portOut(offset, size, value),
  });
  p.portZero = true;
  p.pirq = { set: (n, level) => irqs[n]!.set(level) };
  p.addPci(new GenericHostBridge(p.pciHost));
}

export interface PcieInterrupts {
  /** phandle of the interrupt controller. */
  parent: number;
  /** Its #address-cells in the interrupt map. */
  addressCells: number;
  /** Interrupt specifier of PCI interrupt n. */
  cells(n: number): readonly number[];
}

/** Device tree node of the root complex; the caller adds `msi-map` where there are message-signalled interrupts. */
export function pcieNode(soc: FdtNode, map: PcieMap, irq: PcieInterrupts, pirqOf: (slot: number, pin: number) => number): FdtNode {
  const n = soc.node(`pci@${map.ecam.base.toString(16)}`);
  const wide = (v: number): number[] => [Math.floor(v / 2 ** 32), v % 2 ** 32];
  const window = (space: number, at: { base: number; bytes: number }, busAddress: number): number[] => [space, ...wide(busAddress), ...wide(at.base), ...wide(at.bytes)];
  const intMap: number[] = [];
  for (let slot = 0; slot < 4; slot++) {
    for (let pin = 1; pin <= 4; pin++) intMap.push(slot << 11, 0, 0, pin, irq.parent, ...new Array<number>(irq.addressCells).fill(0), ...irq.cells(pirqOf(slot, pin)));
  }
  return n
    .text('compatible', 'pci-host-ecam-generic')
    .text('device_type', 'pci')
    .cells('#address-cells', 3)
    .cells('#size-cells', 2)
    .cells('#interrupt-cells', 1)
    .cells('linux,pci-domain', 0)
    .cells('bus-range', 0, map.ecam.bytes / 0x10_0000 - 1)
    .cells64('reg', map.ecam.base, map.ecam.bytes)
    .flag('dma-coherent')
    .cells('ranges', ...window(0x0100_0000, map.pio, 0), ...window(0x0200_0000, map.mmio32, map.mmio32.base), ...window(0x0300_0000, map.mmio64, map.mmio64.base))
    .cells('interrupt-map', ...intMap)
    .cells('interrupt-map-mask', 0x1800, 0, 0, 7);
}
